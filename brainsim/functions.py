"""Functions for equations whose value and gradient stay finite for every finite argument.

The textbook forms of exponentials and rate functions overflow (`exp`), are 0/0 at one voltage (`x / (1 - exp(-x))`)
or have a finite value and a `nan` gradient. These do not. Arguments and results are dimensionless, the dtype of the
argument is kept, and everything is plain `jnp`: it works under `jit`, `vmap`, `jvp` and `grad` of any order.
"""

from math import factorial

import jax
import jax.numpy as jnp

__all__ = ["exp", "exprel", "linoid", "phi1", "sigmoid", "softplus"]

LIMIT = 50.0  # e^50 = 5e21: times any physiological number it still fits float32

_EXPREL = tuple(1.0 / factorial(n + 1) for n in range(15))
_BERNOULLI = (1 / 12, -1 / 720, 1 / 30240, -1 / 1209600, 1 / 47900160, -691 / 1307674368000, 1 / 74724249600)


def exp(x, limit=LIMIT):
    """Exponential that stays constant above `limit`: e^min(x, limit).

    >>> float(exp(1e9)) == float(exp(50.0))
    True
    """
    return jnp.exp(jnp.minimum(x, limit))


def exprel(x, limit=LIMIT):
    """Relative exponential (e^x - 1) / x, which is 1 at x = 0; constant above `limit`.

    >>> float(exprel(0.0))
    1.0
    """
    x = jnp.minimum(x, limit)
    # a wide series and a plain exp: expm1 is several times slower, and this is the hot loop of exponential Euler
    near = jnp.abs(x) < 0.5
    small, far = jnp.where(near, x, 0.0), jnp.where(near, 1.0, x)
    terms = _EXPREL if jnp.result_type(x) == jnp.float64 else _EXPREL[:9]
    return jnp.where(near, _series(small, terms), (jnp.exp(far) - 1.0) / far)


def phi1(x):
    """First phi function of exponential integrators: `exprel` under the name used there.

    >>> float(phi1(0.0))
    1.0
    """
    return exprel(x)


def phi2(x):
    """Second phi function (e^x - 1 - x) / x^2, which is 1/2 at x = 0: the mean of phi1 over a step, weighted by time.

    >>> float(phi2(0.0))
    0.5
    """
    x = jnp.minimum(x, LIMIT)
    near = jnp.abs(x) < 0.5
    small, far = jnp.where(near, x, 0.0), jnp.where(near, 1.0, x)
    terms = tuple(1.0 / factorial(n + 2) for n in range(15 if jnp.result_type(x) == jnp.float64 else 9))
    return jnp.where(near, _series(small, terms), (exprel(far) - 1.0) / far)


def linoid(x):
    """Linoid rate x / (1 - e^-x), which is 1 at x = 0: near x for large x, near 0 for very negative x.

    The Hodgkin-Huxley rate a (v - b) / (1 - exp(-(v - b) / c)) is `a * c * linoid((v - b) / c)`.

    >>> float(linoid(0.0))
    1.0
    """
    x = jnp.asarray(x)
    near = jnp.abs(x) < 0.5
    small, far = jnp.where(near, x, 0.0), jnp.where(near, 1.0, x)
    decay = jnp.exp(-jnp.abs(far))  # in (0, 1): neither sign of x overflows
    rate = jnp.abs(far) / (1.0 - decay) * jnp.where(far > 0.0, 1.0, decay)
    square = small * small
    return jnp.where(near, 1.0 + 0.5 * small + square * _series(square, _BERNOULLI), rate)


def sigmoid(x):
    """Logistic function 1 / (1 + e^-x).

    >>> float(sigmoid(0.0))
    0.5
    """
    return jax.lax.logistic(jnp.asarray(x))


def softplus(x):
    """Smooth rectifier log(1 + e^x): near 0 for very negative x, near x for large x.

    >>> float(softplus(100.0))
    100.0
    """
    return jnp.logaddexp(x, 0.0)


def _series(x, coefficients):
    """Polynomial in x, constant term first (Horner)."""
    total = coefficients[-1]
    for coefficient in coefficients[-2::-1]:
        total = total * x + coefficient
    return total
