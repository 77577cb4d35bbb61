"""Every function of equations: right value and gradient against 80-bit arithmetic, finite everywhere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brainsim import functions

NEAR = np.concatenate([np.linspace(-3, 3, 1201), [0.0, 1e-12, -1e-12, 0.1, -0.1, 0.5, -0.5, 30.0, -30.0]])
FAR = [0.0, -0.0, 1e-40, 1e-30, 49.9, 50.0, 50.1, 88.0, 89.0, 700.0, 1e4, 1e8]
BOUNDED = [functions.exp, functions.exprel, functions.phi1, functions.linoid, functions.sigmoid, functions.softplus]


def precise(name, x):
    """Value and derivative in long double; 0/0 cases by their series."""
    x = np.asarray(x, np.longdouble)
    small = np.abs(x) < 1e-3
    z = np.where(small, 1, x)
    if name == "exp":
        return np.exp(x), np.exp(x)
    if name in ("exprel", "phi1"):
        value = np.where(small, 1 + x / 2 + x**2 / 6 + x**3 / 24 + x**4 / 120, np.expm1(z) / z)
        slope = np.where(small, 0.5 + x / 3 + x**2 / 8 + x**3 / 30 + x**4 / 144, (np.exp(z) * (z - 1) + 1) / z**2)
        return value, slope
    if name == "linoid":
        below = -np.expm1(-z)
        value = np.where(small, 1 + x / 2 + x**2 / 12 - x**4 / 720, z / below)
        slope = np.where(small, 0.5 + x / 6 - x**3 / 180, (below - z * np.exp(-z)) / below**2)
        return value, slope
    logistic = 1 / (1 + np.exp(-x))
    return (logistic, logistic * (1 - logistic)) if name == "sigmoid" else (np.log1p(np.exp(x)), logistic)


@pytest.mark.parametrize("function", BOUNDED, ids=lambda f: f.__name__)
@pytest.mark.parametrize("dtype, rtol", [(np.float32, 3e-6), (np.float64, 3e-13)])
def test_value_and_gradient(function, dtype, rtol):
    with jax.enable_x64(dtype == np.float64):
        x = jnp.asarray(NEAR.astype(dtype))
        value, slope = precise(function.__name__, NEAR.astype(dtype))
        np.testing.assert_allclose(function(x), value.astype(float), rtol=rtol)
        np.testing.assert_allclose(jax.vmap(jax.grad(function))(x), slope.astype(float), rtol=10 * rtol, atol=rtol)


@pytest.mark.parametrize("function", BOUNDED, ids=lambda f: f.__name__)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_finite_everywhere(function, dtype):
    with jax.enable_x64(dtype == np.float64):
        x = jnp.asarray(np.concatenate([FAR, np.negative(FAR)]).astype(dtype))
        for derivative in (function, jax.grad(function), jax.grad(jax.grad(function))):
            values = jax.vmap(derivative)(x)
            assert values.dtype == dtype
            assert np.isfinite(values).all(), f"{function.__name__}: {x[~np.isfinite(values)]}"


@pytest.mark.parametrize("function", BOUNDED, ids=lambda f: f.__name__)
def test_forward_equals_reverse_mode(function):
    x = jnp.asarray([-60.0, -1.0, 0.0, 0.05, 2.0, 60.0])
    np.testing.assert_allclose(jax.vmap(jax.jacfwd(function))(x), jax.vmap(jax.grad(function))(x), rtol=1e-6)


def test_plain_numbers():
    assert float(functions.linoid(0)) == 1.0
    assert float(functions.exprel(0)) == 1.0
    assert float(functions.sigmoid(0.0)) == 0.5
