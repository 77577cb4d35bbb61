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
        name: "sigmoid", "fast_sigmoid" (SuperSpike), "arctan", "triangular", "gaussian", "boxcar", "exponential"
            (SLAYER), "erfc", "multi_gaussian", "q_pseudospike"; or a `Shape` of your own.
        width: scale in the unit of `spike(...)`; psi(x) = shape(x / width) / width, of unit area.
        detach_reset: no gradient through the reset. With small steps a cell is near its threshold for many of them, and
            the derivatives of its resets multiply to overflow (Zenke & Vogels 2021, 10.1162/neco_a_01367). The smooth
            form keeps it, so that finite differences agree. Names of states: through the reset of these only; e-prop
            takes ("v",), so that an adaptation learns of the spikes that raise it.
        gain: factor of psi; 0.3 in Bellec et al. 2020 (10.1038/s41467-020-17236-y).
    """

    name: "str | Shape" = "sigmoid"
    width: float = 1.0
    detach_reset: bool | tuple[str, ...] = True
    gain: float = 1.0

    def __post_init__(self):
        if not isinstance(self.name, Shape) and self.name not in SHAPES:
            raise ParameterError(
                unknown("surrogate", self.name, SHAPES) + "; or give a bs.surrogate.Shape(psi, integral)"
            )
        if not self.width > 0:
            raise ParameterError(f"surrogate width {self.width} must be positive; it is a scale in mV such as 1.0")
        if not self.gain > 0:
            raise ParameterError(f"surrogate gain {self.gain} must be positive; write 1.0 for psi of unit area")
        if isinstance(self.detach_reset, str):
            raise ParameterError(f"detach_reset = {self.detach_reset!r}; write a tuple, ({self.detach_reset!r},)")

    def detaches(self, state) -> bool:
        """Whether the reset of a state has no gradient by the spike."""
        return self.detach_reset if isinstance(self.detach_reset, bool) else state in self.detach_reset

    def derivative(self, x):
        return self.gain * self._shape.psi(x / self.width) / self.width

    def reaches(self, x):
        """Where the derivative is not zero: the backward pass of delivery visits the edges of these cells only."""
        return self.derivative(x) != 0

    def integral(self, x):
        return self.gain * self._shape.integral(x / self.width)

    @property
    def _shape(self):
        return self.name if isinstance(self.name, Shape) else SHAPES[self.name]


@dataclass(frozen=True)
class Shape:
    """A pseudo-derivative and its integral from minus infinity, as functions of an array; `integral` serves the smooth
    form."""

    psi: Callable
    integral: Callable


def _triangle_integral(x):
    x = jnp.clip(x, -1.0, 1.0)
    return 0.5 + x - 0.5 * x * jnp.abs(x)


def _exponential_integral(x):
    return jnp.where(x < 0, 0.5 * jnp.exp(-jnp.abs(x)), 1.0 - 0.5 * jnp.exp(-jnp.abs(x)))


Q = 2.5  # exponent of the q-pseudospike


def _q_integral(x):
    tail = 0.5 * (1.0 + 2.0 * jnp.abs(x) / (Q - 1.0)) ** (1.0 - Q)
    return jnp.where(x < 0, tail, 1.0 - tail)


HEIGHT, WIDENING = 0.15, 6.0  # of the negative side lobes of the multi-Gaussian


def _multi_gaussian(f, scale):
    """(1 + h) f(x) - h f of the lobes around +-1; `scale` divides the lobes."""
    lobes = lambda x: f((x - 1.0) / WIDENING) + f((x + 1.0) / WIDENING)
    return lambda x: (1.0 + HEIGHT) * f(x) - HEIGHT * lobes(x) / scale


# Area 1, but for the multi-Gaussian: 1 - 0.15. Sources: sigmoid, fast_sigmoid: Zenke & Ganguli 2018,
# 10.1162/neco_a_01086; arctan: Fang et al. 2021, arXiv:2007.05785; triangular: Bellec et al. 2018, arXiv:1803.09574;
# exponential: Shrestha & Orchard 2018, arXiv:1810.08646; multi_gaussian: Yin, Corradi & Bohte 2021,
# 10.1038/s42256-021-00397-w; q_pseudospike: Herranz-Celotti & Rouat 2022, arXiv:2202.00282. `width` is 1 / slope where
# authors give a slope.
SHAPES: dict[str, Shape] = {
    "sigmoid": Shape(lambda x: jax.nn.sigmoid(x) * jax.nn.sigmoid(-x), jax.nn.sigmoid),
    "fast_sigmoid": Shape(lambda x: 0.5 / (1.0 + jnp.abs(x)) ** 2, lambda x: 0.5 * (1.0 + x / (1.0 + jnp.abs(x)))),
    "arctan": Shape(lambda x: 1.0 / (jnp.pi * (1.0 + x * x)), lambda x: 0.5 + jnp.arctan(x) / jnp.pi),
    "triangular": Shape(lambda x: jnp.maximum(0.0, 1.0 - jnp.abs(x)), _triangle_integral),
    "gaussian": Shape(jax.scipy.stats.norm.pdf, jax.scipy.stats.norm.cdf),
    "boxcar": Shape(
        lambda x: jnp.where(jnp.abs(x) < 1.0, jnp.ones_like(x) / 2, jnp.zeros_like(x)),
        lambda x: 0.5 + 0.5 * jnp.clip(x, -1.0, 1.0),
    ),
    "exponential": Shape(lambda x: 0.5 * jnp.exp(-jnp.abs(x)), _exponential_integral),
    "erfc": Shape(lambda x: jnp.exp(-x * x) / jnp.sqrt(jnp.pi), lambda x: 0.5 * jax.lax.erfc(-x)),
    "multi_gaussian": Shape(
        _multi_gaussian(jax.scipy.stats.norm.pdf, WIDENING), _multi_gaussian(jax.scipy.stats.norm.cdf, 1.0)
    ),
    "q_pseudospike": Shape(lambda x: (1.0 + 2.0 * jnp.abs(x) / (Q - 1.0)) ** -Q, _q_integral),
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


def blend(s, x, changed, surrogate: Surrogate, smooth: bool, state: str):
    """Reset of a state: x + s (changed - x), the value after a spike of size s."""
    if surrogate.detaches(state) and not smooth:
        s = jax.lax.stop_gradient(s)
    x, changed = jnp.asarray(x), jnp.asarray(changed)
    changed = jnp.broadcast_to(changed, x.shape).astype(x.dtype)
    return x + s * (changed - x) if smooth else _hard_blend(s, x, changed)
