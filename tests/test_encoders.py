"""Encoders against their definitions, statistics and closed forms; a leaky readout against the exponential."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainsim as bs
from brainsim.errors import ParameterError
from brainsim.fitting import encoders
from brainsim.models import Delta, LeakyReadout, SpikeSource


def test_poisson_has_the_chances_that_were_asked_for():
    rate = np.stack([np.full(20000, 5.0), np.full(20000, 200.0), np.repeat([0.0, 1000.0], 10000)], axis=1)
    spikes = np.asarray(encoders.poisson(jax.random.key(1), rate, 1.0))
    assert spikes.shape == rate.shape and set(np.unique(spikes)) == {0.0, 1.0}
    expected = rate.sum(0) * 1e-3
    deviation = np.sqrt((rate * 1e-3 * (1 - rate * 1e-3)).sum(0))
    assert np.all(np.abs(spikes.sum(0) - expected)[:2] < 4 * deviation[:2])
    np.testing.assert_array_equal(spikes[:, 2], rate[:, 2] > 0)  # chances 0 and 1
    assert abs(np.corrcoef(spikes[:-1, 1], spikes[1:, 1])[0, 1]) < 0.03  # steps are independent


def test_poisson_keys():
    constant = lambda key: encoders.poisson(key, [20.0, 60.0], 0.5, steps=300)
    words = jnp.array([3, 9], jnp.uint32)
    np.testing.assert_array_equal(constant(words), constant(jax.random.wrap_key_data(words, impl="threefry2x32")))
    assert constant(jax.random.key(0)).shape == (300, 2)
    assert np.any(constant(jax.random.key(0)) != constant(jax.random.key(1)))
    many = jax.jit(jax.vmap(constant))(jax.random.split(jax.random.key(0), 3))
    np.testing.assert_array_equal(many[1], constant(jax.random.split(jax.random.key(0), 3)[1]))


@pytest.mark.parametrize("rate", [[-1.0], [1001.0]])
def test_poisson_refuses(rate):
    with pytest.raises(ParameterError, match="no chance"):
        encoders.poisson(jax.random.key(0), rate, 1.0, steps=10)
    with pytest.raises(ParameterError, match="give rates over time"):
        encoders.poisson(jax.random.key(0), [5.0], 1.0)
    with pytest.raises(ParameterError, match="key"):
        encoders.poisson(3, [5.0], 1.0, steps=10)


def rows(spikes):
    """Row of the spike of every channel, -1 for none; one at most."""
    assert np.all(np.sum(spikes, axis=0) <= 1)
    return np.where(np.any(spikes, axis=0), np.argmax(spikes, axis=0), -1)


def test_linear_latency():
    x = np.array([1.0, 0.5, 0.0, 0.81])
    np.testing.assert_array_equal(rows(encoders.latency(x, 101, 0.1)), [0, 50, 100, 19])
    np.testing.assert_array_equal(rows(encoders.latency(x, 101, 0.1, last="4 ms")), [0, 20, 40, 7])
    assert rows(encoders.latency([0.0], 10, 1.0, last=20.0))[0] == -1  # after the last row
    with pytest.raises(ParameterError, match=r"0 \.\.\. 1"):
        encoders.latency([1.2], 10, 1.0)
    with pytest.raises(ParameterError, match="scale"):
        encoders.latency([0.2], 10, 1.0, scale="cubic")


def test_log_latency_is_that_of_a_leaky_integrator(x64):
    """tau v' = x - v from 0 crosses the threshold within the step of the spike."""
    x, tau, threshold, dt = np.array([3.0, 1.0, 0.3, 0.2001, 0.2, 0.1]), 15.0, 0.2, 0.1
    found = rows(encoders.latency(x, 2000, dt, scale="log", tau=tau, threshold=threshold))
    t = np.arange(2001) * dt
    v = x * (1 - np.exp(-t[:, None] / tau))
    crossed = np.where(v[-1] > threshold, np.argmax(v > threshold, axis=0) - 1, -1)
    np.testing.assert_array_equal(found, crossed)
    assert list(found[-2:]) == [-1, -1] and found[3] > 1000


def test_delta_follows_its_signal():
    """The baseline, summed from the spikes, stays within the threshold of a slow signal."""
    t, threshold = np.arange(1000) * 1e-2, np.array([0.05, 0.1])
    signal = np.stack([np.sin(t), np.cos(2.0 * t)], axis=1)
    spikes = np.asarray(encoders.delta(signal, threshold))
    assert spikes.shape == (1000, 4) and spikes[:, 0].sum() > 20 and spikes[:, 3].sum() > 10
    base = signal[0] + threshold * np.cumsum(spikes[:, :2] - spikes[:, 2:], axis=0)
    assert np.all(np.abs(base - signal) <= threshold + 1e-5)
    silent = encoders.delta(np.ones((50, 1)), 0.1)
    assert np.sum(silent) == 0 and np.sum(encoders.delta(np.ones((50, 1)), 0.1, start=[0.55])) == 4
    with pytest.raises(ParameterError, match="threshold"):
        encoders.delta(signal, 0.0)
    with pytest.raises(ParameterError, match="signal"):
        encoders.delta(signal[:, 0], 0.1)


def test_population():
    """Largest where the value is; width: the distance of centres over 1.5; the derivative is that of a Gaussian."""
    centres = np.linspace(-1.0, 1.0, 5)
    activity = np.asarray(encoders.population(centres, 5, -1.0, 1.0))
    np.testing.assert_allclose(activity, np.exp(-0.5 * ((centres[:, None] - centres) / (0.5 / 1.5)) ** 2), rtol=1e-5)
    wide = lambda x: encoders.population(x, 3, 0.0, 2.0, width=0.7)[2]
    assert jax.grad(wide)(1.2) == pytest.approx(0.8 / 0.49 * np.exp(-0.5 * (0.8 / 0.7) ** 2), rel=1e-4)
    for bad in (dict(n=1, low=0.0, high=1.0), dict(n=4, low=1.0, high=1.0), dict(n=4, low=0.0, high=1.0, width=0.0)):
        with pytest.raises(ParameterError):
            encoders.population(0.5, **bad)


def test_directions_are_on_a_circle():
    activity = np.asarray(encoders.directions(np.array([0.0, np.pi, 2 * np.pi]), 24, kappa=2.0))
    np.testing.assert_allclose(activity[0], activity[2], rtol=1e-4)
    np.testing.assert_allclose(activity[1], np.roll(activity[0], 12), rtol=1e-4)
    assert activity[0].argmax() == 0 and activity[0].min() == pytest.approx(np.exp(-4.0), rel=1e-4)


def test_a_readout_is_the_filtered_sum_of_what_an_encoder_sends(x64):
    """Spikes drive a source, which reaches a leaky readout a step later: v = sum of w exp(-(t - t_arrival) / tau)."""
    spikes = np.asarray(encoders.poisson(jax.random.key(2), [80.0, 30.0, 50.0], 1.0, steps=200))
    net, w = bs.Network(), np.array([[1.0, -2.0], [0.5, 0.3], [2.0, 1.0]])
    net.add("in", SpikeSource(), 3)
    net.add("out", LeakyReadout(tau=12.0, bias=0.0), 2)
    net.connect("in", "out", Delta(), bs.all_to_all(), weight=w.ravel())
    v = net.compile(dt=1.0, record=["out.v"]).run(200.0, inputs={"in.spikes": bs.array(spikes)})["out.v"]
    expected, now = np.zeros((200, 2)), np.zeros(2)
    for k in range(200):
        now = (now + (spikes[k - 1] @ w if k else 0.0)) * np.exp(-1.0 / 12.0)
        expected[k] = now
    np.testing.assert_allclose(v, expected, atol=1e-12)


def test_a_readout_goes_to_its_bias():
    net = bs.Network()
    net.add("out", LeakyReadout(tau=8.0, bias=3.0, R=2.0), 1)
    v = net.compile(dt=0.5, record=["out.v"]).run(20.0, inputs={"out.I": 0.5})["out.v"][:, 0]
    t = np.arange(1, 41) * 0.5
    np.testing.assert_allclose(v, 4.0 * (1 - np.exp(-t / 8.0)), rtol=1e-5)
