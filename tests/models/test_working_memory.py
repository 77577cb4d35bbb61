"""Delayed match-to-sample: the task, the network against a dense reference, and learning."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainsim as bs
from brainsim.errors import ParameterError
from brainsim.models.circuits import working_memory as library


def test_the_task():
    trials = library.match_task(4000, seed=3)
    same = trials["sample"] == trials["test"]
    np.testing.assert_array_equal(trials["match"], same)
    assert abs(same.mean() - 0.5) < 0.04
    assert np.all(np.abs(np.bincount(trials["sample"]) / 500.0 - 1.0) < 0.25)
    other = np.bincount((trials["test"] - trials["sample"])[~same] % 8, minlength=8)
    assert other[0] == 0 and np.all(other[1:] > 200)
    with pytest.raises(ParameterError, match="nothing is to be told apart"):
        library.Task(directions=1)


def test_rates_of_a_trial():
    rates = np.asarray(library.rates(2, 5))
    preferred = 2 * np.pi * np.arange(24) / 24
    tuned = [1.0 + 40.0 * np.exp(2.0 * np.cos(np.pi / 4 * d - preferred)) / np.exp(2.0) for d in (2, 5)]
    expected = np.ones((2500, 24))
    expected[500:1000], expected[2000:] = tuned
    np.testing.assert_allclose(rates, expected, rtol=1e-5)


def dense(params, spikes, tau2, n_exc):
    """Spikes of the cells and the readout, from the equations of the published program; decays are exponential."""
    n, steps = len(tau2), len(spikes)
    w_in, w_rec, w_out = np.zeros((24, n)), np.zeros((n, n)), np.zeros((n, 2))
    part = {"exc": slice(0, n_exc), "inh": slice(n_exc, n)}
    for post, there in part.items():
        w_in[:, there] = np.asarray(params[f"input->{post}.weight"]).reshape(24, -1)
        w_out[there] = np.asarray(params[f"{post}->out.weight"]).reshape(-1, 2)
        for pre, here in part.items():
            block = np.zeros((here.stop - here.start, there.stop - there.start))
            allowed = ~np.eye(len(block), dtype=bool) if pre == post else np.ones(block.shape, bool)
            block[allowed] = np.asarray(params[f"{pre}->{post}.weight"])
            w_rec[here, there] = block
    assert (w_rec[:n_exc] >= 0).all() and (w_rec[n_exc:] <= 0).all() and np.all(np.diag(w_rec) == 0)
    A1, bias = np.repeat([0.0, 1.0], [n_exc, n - n_exc]), np.concatenate([params["exc.bias"], params["inh.bias"]])
    v, I, I1, I2, y = np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(2)
    sent, out = np.zeros((steps, n)), np.zeros((steps, 2))
    leak = np.exp(-1.0 / 20.0)
    # a current that decays with tau moves a membrane by this in a step
    share = lambda tau: (np.exp(-1.0 / tau) - leak) / (20.0 * (1.0 / 20.0 - 1.0 / tau))
    for k in range(steps):
        if k:
            I, y = I + spikes[k - 1] @ w_in + sent[k - 1] @ w_rec, y + sent[k - 1] @ w_out
        v = v * leak + bias * (1 - leak) + I * share(100.0) + I1 * share(10.0) + I2 * share(tau2)
        I, I1, I2, y = I * np.exp(-0.01), I1 * np.exp(-0.1), I2 * np.exp(-1.0 / tau2), y * np.exp(-0.1)
        fired = v > 1.0
        v, I1, I2 = v - fired, np.where(fired, A1, I1), I2 - 0.6 * fired
        sent[k], out[k] = fired, y
    return sent, out


def test_the_network_is_the_published_map(x64):
    net = library.memory_network(library.PAPER, 16, 4, scale=1.5, seed=2)
    sim = net.compile(dt=1.0, record=["exc.spikes", "inh.spikes", "out.v"])
    params = sim.params | {"exc.bias": np.linspace(0.0, 2.0, 16), "inh.bias": np.full(4, 1.0)}
    spikes = (np.random.default_rng(0).random((600, 24)) < 0.02).astype(float)
    r = jax.jit(lambda p: sim.run(600.0, params=p, inputs={"input.spikes": bs.array(spikes)}))(params)
    tau2 = np.concatenate([sim.params["exc.tau2"], sim.params["inh.tau2"]])
    sent, out = dense(params, spikes, tau2, 16)
    assert sent[:, :16].sum() > 100 and sent[:, 16:].sum() > 20
    np.testing.assert_array_equal(np.concatenate([r.spikes["exc"], r.spikes["inh"]], axis=1), sent)
    np.testing.assert_allclose(r["out.v"], out, atol=1e-9)


def test_the_loss(x64):
    task, rng, match = library.SHORT, np.random.default_rng(1), np.array([0, 1, 1])
    steps = round(task.duration)
    y, v = rng.normal(size=(3, steps, 2)), rng.normal(0.0, 2.0, (3, steps, 5))
    fired = (rng.random((3, steps, 5)) < 0.02 * np.arange(5)).astype(float)
    late = np.exp(y[:, -round(task.test) :].mean(1))
    x = v - 1.0
    outside = np.mean(np.maximum(x - 0.4, 0) ** 2 + np.maximum(-2.0 - x, 0) ** 2, axis=(1, 2))
    rate = fired.sum((0, 1)) / (3 * steps * 1e-3)
    expected = np.mean(-np.log(late[range(3), match] / late.sum(1)) + 0.7 * outside**2)
    expected += 0.2 * np.mean((rate / 10.0 - 1.0) ** 2)

    class Batch(dict):
        pass

    batch = Batch({"out.v": jnp.asarray(y), "exc.v": jnp.asarray(v[..., :3]), "inh.v": jnp.asarray(v[..., 3:])})
    batch.spikes = {"exc": jnp.asarray(fired[..., :3]), "inh": jnp.asarray(fired[..., 3:])}
    assert library.loss_of(task, 0.7, 0.2)(batch, {"match": match}) == pytest.approx(expected, rel=1e-9)


@pytest.mark.slow
def test_a_short_task_is_learned_and_signs_are_kept():
    """Two directions and 40 ms; chance is 0.5, also for a network that sees the second direction alone."""
    net = library.memory_network(library.SHORT, 24, 6, seed=0)
    settings = dict(iterations=150, batch=32, tested=256, criterion=0.05)
    trained = library.train(library.SHORT, net=net, **settings)
    assert trained.error < 0.05 and trained.reached == trained.fit.steps
    before = library.error_of_task(trained.sim, library.SHORT, 256)
    assert before(trained.sim.params) > 0.3
    assert before(trained.params) == pytest.approx(trained.error)
    for pre, sign in (("exc", 1.0), ("inh", -1.0)):
        for post in ("exc", "inh"):
            assert np.all(sign * np.asarray(trained.params[f"{pre}->{post}.weight"]) > 0)


@pytest.mark.slow
def test_the_published_task_is_learned():
    """The published figure: at most 5 % of the trials are wrong; chance is 50 %."""
    trained = library.train(library.PAPER, seed=0)
    assert library.error_of_task(trained.sim, library.PAPER, 2048, seed=1)(trained.params) <= 0.05
