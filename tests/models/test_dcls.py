"""The DCLS network against its kernel formula and a dense convolution written out in NumPy."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainsim as bs
from brainsim.delay_kernels import gaussian
from brainsim.errors import ParameterError
from brainsim.learnable_delays import round_delays
from brainsim.models.circuits import dcls as library

SMALL = library.Parameters(n_inputs=12, hidden=(10, 8), n_outputs=3, lags=9)


def test_the_kernel_is_that_of_the_published_program(x64):
    """X_k = exp(-((k - (P + T//2)) / (|sigma| + 0.27))^2 / 2), K = X / (sum X + 1e-7); lag = T - 1 - k."""
    rng, T = np.random.default_rng(0), 25
    for sigma in (12.0, 3.0, 0.5, 0.23):
        delay = rng.uniform(0, T - 1, 40)
        P = T - 1 - delay - T // 2
        x = np.exp(-0.5 * ((np.arange(T) - (P[:, None] + T // 2)) / (abs(sigma) + 0.27)) ** 2)
        expected = (x / (x.sum(1, keepdims=True) + 1e-7))[:, ::-1]
        np.testing.assert_allclose(gaussian(jnp.asarray(delay), jnp.asarray(sigma + 0.27), T), expected, atol=1e-6)


def test_annealing():
    assert library.annealed_width(0.0) == pytest.approx(10.0 * 12.27)
    assert library.annealed_width(0.125) == pytest.approx(10.0 * (np.sqrt(12 * 0.23) + 0.27))
    assert library.annealed_width(0.25) == library.annealed_width(1.0) == pytest.approx(5.0)
    with pytest.raises(ParameterError, match="part of the training"):
        library.annealed_width(30)


def dense(params, raster, width):
    """Spikes of the hidden layers and the output, layer by layer: convolution over the lags, leak, threshold, reset."""
    steps, decay, sent, found = len(raster), np.exp(-library.STEP / SMALL.tau), raster.astype(float), {}
    names = library.layers(SMALL)
    for pre, post in pairwise(names):
        shape = (sent.shape[1], -1)
        w, d = (np.asarray(params[f"{pre}->{post}.{k}"]).reshape(shape) for k in ("weight", "delay"))
        lag = np.arange(SMALL.lags) * library.STEP
        x = (
            np.exp(-0.5 * ((lag - d[..., None]) / width) ** 2)
            if width
            else np.rint(d / library.STEP)[..., None] * library.STEP == lag
        )
        kernel = w[..., None] * x / x.sum(-1, keepdims=True)
        v, made, trace = np.zeros(w.shape[1]), np.zeros((steps, w.shape[1])), np.zeros((steps, w.shape[1]))
        for t in range(steps):
            for k in range(min(SMALL.lags, t)):
                v = v + sent[t - 1 - k] @ kernel[..., k]
            jumped, v = v, v * decay
            if post != "output":
                made[t] = jumped > SMALL.v_th
                v = np.where(made[t] > 0, 0.0, v)
            trace[t] = v
        found[post], sent = (trace if post == "output" else made), made
    return found


@pytest.mark.parametrize("rounded", [False, True])
def test_the_network_is_a_dense_convolution(rounded, x64):
    net, rng = library.dcls(SMALL, gain=5.0, seed=3), np.random.default_rng(1)
    sim = net.compile(dt=library.STEP, record=["hidden1.spikes", "hidden2.spikes", "output.v"])
    raster = rng.random((60, SMALL.n_inputs)) < 0.15
    steps, cells = np.nonzero(raster)
    inputs = {"input.spikes": bs.spike_trains((steps + 1) * library.STEP, cells)}
    params = round_delays(sim) if rounded else sim.params
    traced = jax.jit(lambda p: sim.run(600.0, params=p, inputs=inputs))(params)
    host = sim.run(600.0, params=params, inputs=inputs)
    expected = dense(params, raster, 0.0 if rounded else library.annealed_width(0.0, SMALL))
    for name in ("hidden1", "hidden2"):
        assert expected[name].sum() > 10
        np.testing.assert_array_equal(traced.spikes[name], expected[name])
        assert len(host.spikes[name].times) == expected[name].sum()
    np.testing.assert_allclose(traced["output.v"], expected["output"], atol=1e-12)
    np.testing.assert_allclose(host["output.v"], expected["output"], atol=1e-12)


def test_every_layer_has_a_gradient_of_its_delays():
    net = library.dcls(SMALL, gain=5.0, seed=3)
    sim = net.compile(dt=library.STEP, record=["output.v"], surrogate=bs.Surrogate("arctan", 0.3))
    inputs = {"input.spikes": bs.spike_trains(np.arange(1, 31) * library.STEP, np.arange(30) % SMALL.n_inputs)}

    def cross_entropy(params):
        shares = jax.nn.softmax(sim.run(400.0, params=params, inputs=inputs)["output.v"], axis=1)
        return -jax.nn.log_softmax(jnp.sum(shares, axis=0))[1]

    slope = jax.jit(jax.grad(cross_entropy))(sim.params)
    delays = [k for k in slope if k.endswith(".delay")]
    assert len(delays) == 3
    for key in (*delays, *(f"{k}_width" for k in delays)):
        assert np.isfinite(slope[key]).all() and np.abs(slope[key]).max() > 0


def test_fixed_delays_and_impossible_sizes():
    net = library.dcls(SMALL, delay=0.0)
    assert not [k for k in net.compile(dt=library.STEP).params if "delay" in k]
    with pytest.raises(ParameterError, match="at least one hidden layer"):
        library.dcls(library.Parameters(hidden=()))
