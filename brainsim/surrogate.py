"""Spikes and their derivatives.

A spike is a Heaviside step of the signed distance x to threshold. Forward it is exactly 0 or 1; its derivative is
replaced by a pseudo-derivative psi(x) (Neftci, Mostafa & Zenke 2019, 10.1109/MSP.2019.2931595). All are `custom_jvp`,
so forward and reverse mode work. The smooth form replaces the step itself by the integral of psi: finite differences of
the smooth form check the gradients.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp

from .errors import ParameterError, unknown


@dataclass(frozen=True)
class Surrogate:
    """A pseudo-derivative psi(x) and its integral, as functions of x scaled by `width` (in units of the distance, mV).

    Args:
        name: "fast_sigmoid", "sigmoid", "arctan" or "triangular".
        width: scale in the unit of `spike(...)`; psi(x) = shape(x / width) / width, of unit area.
        detach_reset: no gradient through the reset. With small steps a cell is near its threshold for many of them, and
            the derivatives of its resets multiply to overflow (Zenke & Vogels 2021, 10.1162/neco_a_01367). The smooth
            form keeps it, so that finite differences agree.
    """

    name: str = "sigmoid"
    width: float = 1.0
    detach_reset: bool = True

    def __post_init__(self):
        if self.name not in SHAPES:
            raise ParameterError(unknown("surrogate", self.name, SHAPES))
        if not self.width > 0:
            raise ParameterError(f"surrogate width {self.width} must be positive; it is a scale in mV such as 1.0")

    def derivative(self, x):
        return SHAPES[self.name][0](x / self.width) / self.width

    def reaches(self, x):
        """Where the derivative is not zero: the backward pass of delivery visits the edges of these cells only."""
        return self.derivative(x) != 0

    def integral(self, x):
        return SHAPES[self.name][1](x / self.width)


def _triangle_integral(x):
    x = jnp.clip(x, -1.0, 1.0)
    return 0.5 + x - 0.5 * x * jnp.abs(x)


# shape (area 1) and its integral from -inf
SHAPES: dict[str, tuple[Callable, Callable]] = {
    "sigmoid": (lambda x: jax.nn.sigmoid(x) * jax.nn.sigmoid(-x), jax.nn.sigmoid),
    "fast_sigmoid": (lambda x: 0.5 / (1.0 + jnp.abs(x)) ** 2, lambda x: 0.5 * (1.0 + x / (1.0 + jnp.abs(x)))),
    "arctan": (lambda x: 1.0 / (jnp.pi * (1.0 + x * x)), lambda x: 0.5 + jnp.arctan(x) / jnp.pi),
    "triangular": (lambda x: jnp.maximum(0.0, 1.0 - jnp.abs(x)), _triangle_integral),
}


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def hard_spike(x, surrogate: Surrogate):
    """1 where x > 0, else 0, in the dtype of x."""
    return (x > 0).astype(x.dtype)


@hard_spike.defjvp
def _hard_spike_jvp(surrogate, primals, tangents):
    (x,), (dx,) = primals, tangents
    return hard_spike(x, surrogate), surrogate.derivative(x) * dx


def spike(x, surrogate: Surrogate, smooth: bool):
    """Spike value of a signed distance: a step with a pseudo-derivative, or the smooth form."""
    return surrogate.integral(x) if smooth else hard_spike(x, surrogate)


@jax.custom_jvp
def _hard_blend(s, x, changed):
    # `where` and not arithmetic: 0 * inf of a runaway exponential would be nan
    return jnp.where(s > 0.5, changed, x)


@_hard_blend.defjvp
def _hard_blend_jvp(primals, tangents):
    (s, x, changed), (ds, dx, dchanged) = primals, tangents
    fired = s > 0.5
    jump = jnp.where(jnp.isfinite(changed - x), changed - x, 0.0)
    return jnp.where(fired, changed, x), jnp.where(fired, dchanged, dx) + ds * jump


def blend(s, x, changed, surrogate: Surrogate, smooth: bool):
    """Reset: x + s (changed - x), the value after a spike of size s."""
    if surrogate.detach_reset and not smooth:
        s = jax.lax.stop_gradient(s)
    x, changed = jnp.asarray(x), jnp.asarray(changed)
    changed = jnp.broadcast_to(changed, x.shape).astype(x.dtype)
    return x + s * (changed - x) if smooth else _hard_blend(s, x, changed)
