"""What and when: readouts and rules against NumPy, and what the network learns of two events."""

import numpy as np
import pytest

from brainsim.errors import ParameterError
from brainsim.models.circuits import what_when as library


@pytest.fixture(scope="module")
def small():
    """Trials of a small network with two blocks, in which A and B come."""
    made = library.WhatWhen(library.what_when(n=100, blocks=2, seed=3), seed=3)
    made.trial(np.array([0, 1]))
    return made


def raster(trials):
    n = trials.network["reservoir"].n
    out = np.zeros((len(trials.times), n))
    at = np.rint(np.asarray(trials.spikes.times) / library.DT).astype(int) - 1
    np.add.at(out, (at, np.asarray(trials.spikes.indices)), 1.0)
    return out


def rates(spikes):
    """(steps, n) fast minus slow traces and means of the fast ones, before the spikes of each step; Euler steps."""
    dt, x, s = library.DT, np.zeros(spikes.shape[1]), np.zeros(spikes.shape[1])
    z, m, sums = [], [], np.zeros(spikes.shape[1])
    for k, fired in enumerate(spikes):
        z.append(x - s), m.append(sums.copy())
        sums = sums + (dt * x / (library.TRIAL - library.CUE) if k * dt >= library.CUE else 0.0)
        x, s = (
            x * (1 - dt / library.TAU) + fired,
            s * (1 - dt / library.TAU_SLOW) + fired * library.TAU / library.TAU_SLOW,
        )
    return np.array(z), np.array(m)


def test_readouts_are_weighted_traces(small):
    before = {k: np.asarray(w).reshape(100, 4) for k, w in small.weights.items()}
    p = small.trial()
    z, m = rates(raster(small))
    assert np.abs(p.when).max() > 0.05 and p.what.max() > 0.03
    after = small.times > 0
    np.testing.assert_allclose(p.when.reshape(-1, 4), z[after] @ before["learn_when.weight"], atol=2e-5)
    np.testing.assert_allclose(p.what.ravel(), m[-1] @ before["learn_what.weight"], atol=2e-5)
    for k, w in small.weights.items():
        np.testing.assert_array_equal(np.asarray(w).reshape(100, 4), before[k])  # a test learns nothing


def test_rules_are_normalised_least_mean_squares():
    """One trial of learning from zero weights, step by step; only the channel that occurred learns."""
    trials = library.WhatWhen(library.what_when(n=100, blocks=2, seed=4), seed=4)
    p = trials.trial(np.array([0, 1]))
    spikes = raster(trials)
    z, m = rates(spikes)  # of the synapses
    dt, w, y = library.DT, np.zeros((100, 4)), []
    x, s, goal = np.zeros(100), np.zeros(100), np.tile(library.targets(trials.times), 2)
    on = np.array([1.0, 0.0, 0.0, 1.0])
    for k in range(len(spikes)):
        x, s = x * np.exp(-dt / library.TAU), s * np.exp(-dt / library.TAU_SLOW)
        y.append(z[k] @ w)
        power = np.sum(z[k] ** 2)
        if trials.times[k] > 0 and power > 1:
            w += dt * 0.5 * np.outer(x - s, on * (goal[k] - y[k])) / power
        x, s = x + spikes[k], s + spikes[k] * library.TAU / library.TAU_SLOW
    found = np.asarray(trials.weights["learn_when.weight"]).reshape(100, 4)
    np.testing.assert_allclose(found, w, atol=2e-3 * np.abs(w).max())
    assert np.all(found[:, 1] == 0) and np.all(found[:, 2] == 0) and np.abs(found).max() > 0.01
    np.testing.assert_allclose(p.when.reshape(-1, 4), np.array(y)[trials.times > 0], atol=2e-3)
    share = 0.05 * m[-1] / np.sum(m[-1] ** 2)
    found = np.asarray(trials.weights["learn_what.weight"]).reshape(100, 4)
    np.testing.assert_allclose(found, share[:, None] * on, atol=0.01 * share.max())


def test_network():
    net = library.what_when(n=200, seed=1)
    e = net["recurrent"].edges
    pre, w = np.repeat(np.arange(200), np.diff(e.indptr)), np.asarray(net["recurrent"].weight_values)
    assert np.all(w[pre < 160] > 0) and np.all(w[pre >= 160] < 0) and not np.any(pre == e.post)
    assert len(pre) == pytest.approx(0.1 * 200 * 199, rel=0.1)
    assert -w[pre >= 160].mean() == pytest.approx(4 * w[pre < 160].mean(), rel=0.15)
    with pytest.raises(ParameterError, match="at least 10 cells"):
        library.what_when(n=5)


def test_prediction_and_baseline():
    times = np.arange(0.5, 900.0, 0.5)
    goal = library.targets(times)
    p = library.Prediction(times, goal[:, None], np.array([[0.8, 1.3]]))
    height, at = p.peaks()
    np.testing.assert_allclose(height, [[0.8, 1.0]])
    np.testing.assert_allclose(at, [[300.0, 600.0]])
    wrong = np.sqrt(np.mean((goal * [0.0, 0.8]) ** 2))
    np.testing.assert_allclose(p.error(0.8), wrong)
    traces = np.concatenate([goal, np.random.default_rng(0).random((len(times), 5))], 1)
    np.testing.assert_allclose(library.least_squares(traces, times, 0.8, ridge=1e-9), goal * [0.8, 0.2], atol=1e-4)


def learn(trials, events, **options):
    for e in events:
        trials.trial(e, **options)
    return trials.trial(**options)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_amplitude_is_probability(seed):
    """11 levels of probability, 100 trials each, side by side on one reservoir."""
    p = np.linspace(0, 1, 11)
    trials = library.WhatWhen(library.what_when(blocks=11, seed=seed), seed=seed)
    events = (np.random.default_rng([seed, 99]).random((100, 11)) >= p).astype(int)
    first = learn(trials, events[:1]).error(p)
    last = learn(trials, events[1:])
    height, at = last.peaks()
    assert np.corrcoef(height[:, 0], p)[0, 1] >= 0.95
    assert np.corrcoef(height[:, 1], p)[0, 1] <= -0.95
    assert np.all(np.abs(at[1:, 0] - 300.0) <= 15.0) and np.all(np.abs(at[:-1, 1] - 600.0) <= 15.0)
    assert np.all(last.error(p) <= 0.5 * first)


@pytest.mark.slow
def test_switches():
    """A .8 -> .2 in 50 trials for every one of 11 sequences of events; then other latencies."""
    trials, rng = library.WhatWhen(library.what_when(blocks=11)), np.random.default_rng(5)
    draw = lambda n, p: (rng.random((n, 11)) >= p).astype(int)
    before, _ = learn(trials, draw(100, 0.8)).peaks()
    after, _ = learn(trials, draw(50, 0.2)).peaks()
    assert np.all(before[:, 0] > before[:, 1]) and np.all(after[:, 0] < after[:, 1])
    new = (500.0, 200.0)
    wrong = trials.trial().error(0.2, new)
    moved = learn(trials, draw(50, 0.2), latency=new)
    assert np.all(moved.error(0.2, new) < 0.5 * wrong)
    assert np.all(np.abs(moved.peaks()[1] - new) <= 15.0)
