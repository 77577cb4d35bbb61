"""Rates that are 0/0 as published: value and slope at and around the singular voltage are those of the limit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brainsim.models import DualExpCurrent, HodgkinHuxley, TraubMiles, WangBuzsaki
from brainsim.models.synapses.dual_exponential import unit_peak

# class, rate function, which of (alpha, beta), voltage, value there (1/ms), slope there (1/ms/mV), width (mV)
SINGULAR = [
    (HodgkinHuxley, "_rates_m", 0, -40.0, 1.0, 0.05, 10.0),
    (HodgkinHuxley, "_rates_n", 0, -55.0, 0.1, 0.005, 10.0),
    (TraubMiles, "_rates_m", 0, -50.0, 1.28, 0.16, 4.0),
    (TraubMiles, "_rates_m", 1, -23.0, 1.4, -0.14, 5.0),
    (TraubMiles, "_rates_n", 0, -48.0, 0.16, 0.016, 5.0),
    (WangBuzsaki, "_rates_n", 0, -34.0, 0.1, 0.005, 10.0),
]


def one_rate(cls, rates, which):
    return lambda v: getattr(cls(), rates)(v)[which]


@pytest.mark.parametrize("cls, rates, which, v, value, slope, width", SINGULAR)
def test_value_and_slope_at_the_singular_voltage(cls, rates, which, v, value, slope, width, x64):
    rate = one_rate(cls, rates, which)
    np.testing.assert_allclose(rate(v), value, rtol=1e-14)
    np.testing.assert_allclose(jax.grad(rate)(v), slope, rtol=1e-12)
    np.testing.assert_allclose(jax.grad(jax.grad(rate))(v), value / (6.0 * width**2), rtol=1e-9)


@pytest.mark.parametrize("cls, rates, which, v, value, slope, width", SINGULAR)
def test_smooth_around_it_in_float32(cls, rates, which, v, value, slope, width):
    rate, away = one_rate(cls, rates, which), np.geomspace(1e-5, 10, 60)
    near = jnp.asarray(v + np.concatenate([-away[::-1], [0.0], away]), jnp.float32)
    found, steep = jax.vmap(rate)(near), jax.vmap(jax.grad(rate))(near)
    x = np.sign(slope) * (np.asarray(near, float) - v) / width
    expected = value * np.where(np.abs(x) < 1e-6, 1 + x / 2, x / -np.expm1(-np.where(x == 0, 1, x)))
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert np.all(np.sign(steep) == np.sign(slope))
    assert np.all(np.isfinite(steep))


def test_wang_buzsaki_activation_at_minus_35(x64):
    m_inf = WangBuzsaki()._m_inf
    beta = 4.0 * np.exp(-25.0 / 18.0)
    np.testing.assert_allclose(m_inf(-35.0), 1.0 / (1.0 + beta), rtol=1e-14)
    assert np.isfinite(jax.grad(m_inf)(-35.0))


def test_equal_time_constants_of_a_dual_exponential(x64):
    """The peak is the weight for every pair of time constants, in the alpha limit too, with a finite gradient."""
    np.testing.assert_allclose(unit_peak(5.0, 5.0), np.e, rtol=1e-15)
    slope = jax.grad(unit_peak, argnums=(0, 1))(5.0, 5.0)
    np.testing.assert_allclose(slope, (-np.e / 10.0, np.e / 10.0), rtol=1e-12)
    near = jnp.asarray([5.0 - 1e-3, 5.0 - 1e-9, 5.0 + 1e-9, 5.0 + 1e-3])
    np.testing.assert_allclose(jax.vmap(lambda r: unit_peak(r, 5.0))(near), np.e, rtol=2e-4)
    np.testing.assert_allclose(jax.vmap(jax.grad(lambda r: unit_peak(r, 5.0)))(near), -np.e / 10.0, rtol=1e-3)
    for rise, decay in ((1.0, 5.0), (5.0, 1.0), (2.0, 100.0), (0.1, 500.0)):
        at = np.log(decay / rise) * rise * decay / (decay - rise)
        response = rise / (decay - rise) * (np.exp(-at / decay) - np.exp(-at / rise))  # of tau_decay y' = x - y
        np.testing.assert_allclose(unit_peak(rise, decay) * response, 1.0, rtol=1e-12)
    both = DualExpCurrent(tau_rise=5.0, tau_decay=5.0)
    np.testing.assert_allclose(both.di(0.0, 1.0), np.e / 5.0, rtol=1e-15)
