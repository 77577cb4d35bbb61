"""Functions for equations whose value and gradient stay finite for every finite argument.

The textbook forms of exponentials and rate functions overflow (`exp`), are 0/0 at one voltage (`x / (1 - exp(-x))`) or have a
finite value and a `nan` gradient. Here they do not. All take and return dimensionless numbers, keep the dtype of their
argument, and are plain `jnp`: they work under `jit`, `vmap`, `grad` and `jvp`.
"""

import jax
import jax.numpy as jnp

__all__ = ["exp", "exprel", "linoid", "phi1", "sigmoid", "softplus"]

LIMIT = 50.0  # exp(50) = 5e21: its product with any physiological number fits float32


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
    near = jnp.abs(x) < 0.1
    far = jnp.where(near, 1.0, x)
    return jnp.where(near, _series(jnp.where(near, x, 0.0), _EXPREL), jnp.expm1(far) / far)


phi1 = exprel
"""The first phi function of exponential integrators: another name of `exprel`."""


def linoid(x):
    """Linear-to-zero rate x / (1 - e^-x), which is 1 at x = 0: about x for large x, about 0 for very negative x.

    The Hodgkin-Huxley rate a (v - b) / (1 - exp(-(v - b) / c)) is `a * c * linoid((v - b) / c)`.

    >>> float(linoid(0.0))
    1.0
    """
    x = jnp.asarray(x)
    near = jnp.abs(x) < 0.5
    far = jnp.where(near, 1.0, x)
    small = jnp.where(near, x, 0.0)
    decay = jnp.exp(-jnp.abs(far))                                   # in (0, 1): neither sign of x overflows
    rate = jnp.abs(far) / (1.0 - decay) * jnp.where(far > 0, 1.0, decay)
    return jnp.where(near, 1.0 + 0.5 * small + _series(small * small, _BERNOULLI), rate)


def sigmoid(x):
    """Logistic function 1 / (1 + e^-x).

    >>> float(sigmoid(0.0))
    0.5
    """
    return jax.lax.logistic(jnp.asarray(x))


def softplus(x):
    """Smooth rectifier log(1 + e^x): about 0 for very negative x, about x for large x.

    >>> float(softplus(100.0))
    100.0
    """
    return jnp.logaddexp(x, 0.0)


_EXPREL = tuple(1.0 / jax.numpy.prod.__globals__["np"].prod(range(1, n + 2)) for n in range(11)) if False else ()
_BERNOULLI = ()


def _series(x, coefficients):
    total = coefficients[-1]
    for coefficient in coefficients[-2::-1]:
        total = total * x + coefficient
    return total
