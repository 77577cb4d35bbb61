"""What losses do with a signal before they compare it: filter it, cut it into windows, take a root."""

import jax
import jax.numpy as jnp

from ..errors import ParameterError
from .losses_checks import number, per_cell, series, steps_of


def exponential_filter(x, a):
    """y_k = a y_(k-1) + x_k from y = 0; x (steps, ...), a a number or (...)."""

    def step(y, now):
        y = a * y + now
        return y, y

    return jax.lax.scan(step, jnp.zeros(x.shape[1:], x.dtype), x)[1]


def decay(x, dt, tau):
    """a = exp(-dt/tau) and 1 - a, which keeps its digits where tau is long; tau is one number or one per cell."""
    dt, tau = number(dt, "ms", "dt"), number(tau, "ms", "tau")
    rate = per_cell(-dt / tau, x.shape[1:], x.dtype, "tau")
    return jnp.exp(rate), -jnp.expm1(rate)


def low_pass(x, dt, tau):
    """Exponential low-pass filter, exact for a signal that is constant within a step.

    y_k = a y_(k-1) + (1 - a) x_k with a = exp(-dt/tau), from y = 0 before the first step.

    Args:
        x: (steps, ...). dt: ms. tau: time constant in ms, one number or one per cell (...); may be traced.

    Returns:
        (steps, ...), in the unit of x.

    Raises:
        ParameterError: dt or tau is known and not positive.

    Example:
        >>> [round(float(y), 3) for y in low_pass([1.0, 1.0, 1.0], dt=1.0, tau="1 ms")]
        [0.632, 0.865, 0.95]
    """
    x = series(x, "x")
    a, rest = decay(x, dt, tau)
    return exponential_filter(jnp.expand_dims(rest, 0) * x if rest.ndim else rest * x, a)


def windows(x, dt, window, what: str = "v"):
    """Consecutive windows (windows, steps of one, ...) of x (steps, ...)."""
    x, length = series(x, what), steps_of(window, dt, "window")
    if x.shape[0] % length:
        whole = x.shape[0] // length * length
        raise ParameterError(
            f"{what} has {x.shape[0]} steps, which is no whole number of windows of {length} steps, and the rest would "
            f"be lost; write another window, or "
            + (f"cut it: {what}[:{whole}]" if whole else "one of at most its length")
        )
    return x.reshape(-1, length, *x.shape[1:])


def root(x):
    """Square root with the derivative 0 at 0, where the true one is infinite."""
    zero = x <= 0  # of a variance: a negative one is a rounding error; nan stays nan
    return jnp.where(zero, 0.0, jnp.sqrt(jnp.where(zero, 1.0, x)))
