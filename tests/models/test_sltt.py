"""SLTT: the network and its gradients against the equations in NumPy; memory; accuracies (slow)."""

from pathlib import Path

import numpy as np
import pytest

import brainsim as bs
from brainsim.errors import ParameterError
from brainsim.models.circuits import sltt

DIGITS = Path(__file__).parents[1] / "reference" / "digits.npz"
SIZES = {"hidden": 16, "pixels": 12, "classes": 4}
T = 6


def digits(split):
    file = np.load(DIGITS)
    rows = file[split]
    return (file["images"].reshape(-1, 64)[rows] / 16.0).astype(np.float32), file["labels"][rows].astype(np.int32)


def by_hand(weights, x, y, lam, temporal):
    """Spikes of both layers (T, ...), outputs, and the gradient of the mean loss; `temporal`: with the way through v."""
    w1, w2, w3 = weights
    v1, v2, s1, s2, kept = 0.0, 0.0, 0.0, 0.0, []
    for _ in range(T):
        v1 = lam * (1 - s1) * v1 + x @ w1
        s1 = (v1 > 1).astype(float)
        v2 = lam * (1 - s2) * v2 + s1 @ w2
        s2 = (v2 > 1).astype(float)
        kept.append((v1, s1, v2, s2, s2 @ w3))
    slopes, g1, g2, loss = [np.zeros_like(w) for w in weights], 0.0, 0.0, 0.0
    rectangle = lambda v: (np.abs(v - 1) < 0.5).astype(float)
    for v1, s1, v2, s2, o in reversed(kept):
        p = np.exp(o) / np.exp(o).sum(1, keepdims=True)
        loss -= np.log(p[np.arange(len(y)), y]).mean() / T
        error = (p - np.eye(o.shape[1])[y]) / T / len(y)
        slopes[2] += s2.T @ error
        g2 = error @ w3.T * rectangle(v2) + temporal * lam * (1 - s2) * g2
        slopes[1] += s1.T @ g2
        g1 = g2 @ w2.T * rectangle(v1) + temporal * lam * (1 - s1) * g1
        slopes[0] += x.T @ g1
    return [np.array([step[k] for step in kept]) for k in (1, 3, 4)], loss, slopes


@pytest.fixture(scope="module")
def small():
    rng = np.random.default_rng(0)
    return rng.uniform(0, 1, (5, 12)), rng.integers(0, 4, 5)


@pytest.mark.parametrize("lam", [0.1, 0.9])
def test_the_network_is_that_of_the_equations(lam, small, x64):
    x, y = small
    sim = sltt.compiled(lam, record=["first.spikes", "second.spikes", "out.o"], **SIZES)
    shapes = ((12, 16), (16, 16), (16, 4))
    weights = [np.asarray(sim.params[k]).reshape(s) for k, s in zip(sltt.WEIGHTS, shapes)]
    for adjoint, temporal in ((bs.SLTT(), 0.0), (bs.BPTT(), 1.0)):
        seen, loss, slopes = by_hand(weights, x, y, lam, temporal)
        value, found = sltt.gradient(sim, T, adjoint)(sim.params, x, y)
        np.testing.assert_allclose(value, loss, rtol=1e-7)
        for k, slope in zip(sltt.WEIGHTS, slopes):
            assert np.abs(slope).max() > 1e-3
            np.testing.assert_allclose(found[k].reshape(slope.shape), slope, atol=1e-8)
    assert seen[0].any() and seen[1].any()
    for k in range(len(y)):
        result = sim.run(T + 3.0, inputs={"pixels.I": x[k]})
        for name, spikes, first in (("first", seen[0], 1), ("second", seen[1], 2)):
            train, steps = result.spikes[name], np.zeros((T + 3, 16))
            steps[np.rint(train.times).astype(int) - 1, train.indices] = 1.0
            np.testing.assert_array_equal(steps[first : first + T], spikes[:, k])
        np.testing.assert_allclose(result["out.o"][3:], seen[2][:, k], atol=1e-7)


def test_made_while_the_network_runs_it_is_the_same(small, x64):
    sim = sltt.compiled(**SIZES)
    whole = sltt.gradient(sim, 20, bs.SLTT())(sim.params, *small)
    online = sltt.online_gradient(sim, 20)(sim.params, *small)
    np.testing.assert_allclose(online[0], whole[0], rtol=1e-10)
    for k in sltt.WEIGHTS:
        np.testing.assert_allclose(online[1][k], whole[1][k], atol=1e-10)


def test_cosine_to_backpropagation_through_time():
    """Published-size network, as it begins; the last layer has no past."""
    sim, (x, y) = sltt.compiled(), digits("train")
    slopes = [sltt.gradient(sim, T, adjoint) for adjoint in (bs.SLTT(), bs.BPTT())]
    for lam, least in ((0.5, 0.94), (0.1, 0.99)):
        a, b = (f({**sim.params, **sltt.leak(lam)}, x[:128], y[:128])[1] for f in slopes)
        last = sltt.WEIGHTS[-1]
        np.testing.assert_allclose(a[last], b[last], atol=1e-6)
        a, b = (np.concatenate([g[k] for k in sltt.WEIGHTS]) for g in (a, b))
        assert least <= a @ b / np.linalg.norm(a) / np.linalg.norm(b) < 0.9999


def test_memory_does_not_grow_with_the_steps():
    sim, (x, y) = sltt.compiled(hidden=32), digits("train")
    size = lambda n: (
        sltt.online_gradient(sim, n).lower(sim.params, x[:8], y[:8]).compile().memory_analysis().temp_size_in_bytes
    )
    assert size(64) <= 1.2 * size(8)


def test_bad_input():
    with pytest.raises(ParameterError, match=r"lam = 1\.0"):
        sltt.network(1.0)
    with pytest.raises(ParameterError, match="do not fill a batch"):
        sltt.train((np.zeros((3, 64)), np.zeros(3)), (np.zeros((3, 64)), np.zeros(3)))


@pytest.mark.slow
def test_accuracy_is_that_of_backpropagation_through_time():
    train, test = digits("train"), digits("test")
    spatial, full = (sltt.train(train, test, 0.5, adjoint).accuracy for adjoint in (bs.SLTT(), bs.BPTT()))
    assert spatial >= 0.96 and spatial >= full - 0.015
