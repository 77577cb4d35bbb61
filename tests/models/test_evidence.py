"""Evidence accumulation: the task, the network against a dense reference, and learning."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainsim as bs
from brainsim.errors import ParameterError
from brainsim.models.circuits import evidence as library
from brainsim.models.circuits.lsnn import lsnn


def test_the_task():
    """Both sides are as likely, the majority is right, and a favoured side has its share of cues."""
    trials = library.evidence_task(4000, seed=3)
    cues, side = trials["cues"], trials["side"]
    assert cues.shape == (4000, 7) and library.PAPER.duration == 2250.0
    np.testing.assert_array_equal(side, np.median(cues, axis=1))
    assert abs(side.mean() - 0.5) < 0.04
    # two cues agree with chance 0.7^2 + 0.3^2
    assert abs((cues[:, 0] == cues[:, 4]).mean() - 0.58) < 0.04
    with pytest.raises(ParameterError, match="no majority"):
        library.Task(cues=4)


def test_rates_of_a_trial():
    rates = np.asarray(library.rates(np.array([0, 1, 1, 0, 1, 0, 1]), library.PAPER))
    expected = np.zeros((2250, 40))
    for k, side in enumerate([0, 1, 1, 0, 1, 0, 1]):
        expected[150 * k + 50 : 150 * (k + 1), 10 * side : 10 * (side + 1)] = 40.0
    expected[2100:, 20:30] = 40.0
    expected[:, 30:] = 10.0
    np.testing.assert_array_equal(rates, expected)


def dense(params, spikes, v_th, t_ref, tau_a, beta, delay):
    """Spikes of the recurrent cells and the readout: leak, threshold that rises with spikes, refractory cells hold."""
    n, steps = len(beta), len(spikes)
    decay, slow = np.exp(-1.0 / 20.0), np.exp(-1.0 / tau_a)
    w_rec = np.zeros((n, n))
    w_rec[~np.eye(n, dtype=bool)] = np.asarray(params["rec->rec.weight"])
    w_in, w_out = (np.asarray(params[k]).reshape(-1, m) for k, m in (("input->rec.weight", n), ("rec->out.weight", 2)))
    v, a, held, y = np.zeros(n), np.zeros(n), np.zeros(n, int), np.zeros(2)
    sent, out = np.zeros((steps, n)), np.zeros((steps, 2))
    for k in range(steps):
        arrived = spikes[k - 1] @ w_in if k else np.zeros(n)
        arrived = arrived + (sent[k - 1 - delay] @ w_rec if k > delay else 0.0)
        start = v + np.where(held > 0, 0.0, arrived)
        threshold, a_next = v_th + beta * a, a * slow
        v = np.where(held > 0, v, start * decay)
        far = np.maximum(v - (v_th + beta * a_next), start - threshold)
        fired = (far > 0) & (held == 0)
        held = np.where(fired, t_ref, np.maximum(held - 1, 0))
        v, a = v - fired * v_th, a_next + fired
        y = (y + (sent[k - 1] @ w_out if k else 0.0)) * np.exp(-1.0 / 20.0)
        sent[k], out[k] = fired, y
    return sent, out


@pytest.mark.parametrize("delay", [0, 3])
def test_the_network_is_the_published_map(x64, delay):
    spikes = np.random.default_rng(0).random((300, 12)) < 0.05
    settings = dict(t_ref=4.0, tau_a=150.0, beta=0.1, delay=float(delay))
    sim = library.compile_for(lsnn(12, 6, 8, 2, gain=1.5, seed=4, **settings))
    r = jax.jit(lambda p: sim.run(300.0, params=p, inputs={"input.spikes": bs.array(spikes.astype(float))}))(sim.params)
    expected = dense(sim.params, spikes, 0.6, 4, 150.0, np.repeat([0.0, 0.1], [6, 8]), delay)
    assert expected[0][:, :6].sum() > 50 and expected[0][:, 6:].sum() > 50
    np.testing.assert_array_equal(r.spikes["rec"], expected[0])
    np.testing.assert_allclose(r["out.v"], expected[1], atol=1e-9)


def test_sizes():
    net = lsnn(4, 3, 0, 1)
    assert net["rec"].n == 3 and np.all(net.compile(dt=1.0).params["rec.beta"] == 0)
    assert lsnn(4, 2, 3, 1, tau_a=np.array([100.0, 200.0, 300.0])).compile(dt=1.0).params["rec.tau_a"].shape == (5,)
    with pytest.raises(ParameterError, match="at least one recurrent cell"):
        lsnn(4, 0, 0, 1)


def test_the_loss(x64):
    """Against its formula, for two trials of a readout and spikes written down here."""
    task = dataclasses.replace(library.PAPER, cues=1, delay=0.0, recall=20.0)
    rng, steps = np.random.default_rng(1), 170
    y, spikes = rng.normal(size=(2, steps, 2)), rng.random((2, steps, 5)) < 0.02

    class Run(dict):
        pass

    run = Run({"out.v": jnp.asarray(y)})
    run.spikes = {"rec": jnp.asarray(spikes, float)}
    late = np.exp(y[:, -20:])
    right = np.stack([late[0, :, 1], late[1, :, 0]]) / late.sum(2)
    expected = -np.mean(np.log(right)) + 0.5 * 300.0 * np.sum((spikes.mean((0, 1)) - 0.01) ** 2)
    assert library.loss_of(task, 300.0)(run, {"side": jnp.array([1, 0])}) == pytest.approx(expected, rel=1e-9)


SMALL = dict(tau_a=200.0, beta=0.1, t_ref=2.0)


def test_a_short_task_is_learned_with_random_feedback():
    """3 cues and 50 ms: chance is 0.5, and a network that only sees the last cue is wrong in about a third."""
    net = library.evidence_network(library.SHORT, 20, 40, seed=0, **SMALL)
    settings = dict(iterations=150, batch=32, rate=0.01, firing=30.0, tested=256, criterion=0.1)
    trained = library.train(library.SHORT, net=net, **settings)
    assert trained.error < 0.1 and trained.reached == trained.errors[-1][0] == trained.fit.steps
    assert [step for step, _ in trained.errors] == list(range(25, trained.fit.steps + 1, 25))
    before = library.error_of_task(trained.sim, library.SHORT, 256)
    assert before(trained.sim.params) > 0.3
    assert before(trained.params) == pytest.approx(trained.error)


@pytest.mark.slow
def test_the_criterion_of_the_paper_is_met():
    trained = library.train(library.PAPER, seed=0)
    assert trained.reached is not None and trained.reached <= 500
    assert library.error_of_task(trained.sim, library.PAPER, 1024, seed=1)(trained.params) < 0.1
