"""How a parameter varies: a map from an unbounded number u to a value within its bounds, and what is known beforehand.

Values start and are compared in u, where steps of size one are large for every parameter.
"""

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..distributions import Distribution, exponential, gamma, lognormal, normal, uniform
from ..errors import ParameterError
from ..units import to_canonical

REACH = 8.0  # |u| of a bounded parameter: within 0.03 % of the range of its bounds


@dataclass(frozen=True, eq=False)
class Transform:
    """Base: what all kinds share.

    Args:
        per: None (as many values as the parameter has), "all" (one for all), "neuron", "edge", or for projections
            "pre",
            "post": one value per cell at that end.
        mask: bool array of the parameter's shape; False keeps its value.
        prior: `bs.normal(...)` and others, a distribution of the value; default: see the class.
        relative: what varies is a factor on the present values.
    """

    per: str | None = None
    mask: Any = None
    prior: Distribution | None = None
    relative: bool = False

    reach = np.inf

    def __post_init__(self):
        if self.per not in (None, "all", "neuron", "edge", "pre", "post"):
            raise ParameterError(f"per={self.per!r}; give 'all', 'neuron', 'edge', 'pre' or 'post'")
        if self.prior is not None and not isinstance(self.prior, DENSE):
            raise ParameterError(f"prior={self.prior!r:.60} has no density here; give bs.normal(...), bs.uniform(...)")

    def in_unit(self, unit, what):
        """With plain numbers in the unit of the parameter."""
        unit = "1" if self.relative else unit
        changed = {k: float(to_canonical(getattr(self, k), unit, f"{what}: {k}")) for k in self._with_unit()}
        if self.prior is not None:
            changed["prior"] = self.prior.in_unit(unit, what)
        return replace(self, **changed)

    def _with_unit(self):
        return ()

    def limits(self) -> tuple[float, float]:
        """Open interval of all values."""
        return -np.inf, np.inf

    def size(self, n: int) -> int:
        """Numbers u behind n values."""
        return n

    def value(self, u):
        raise NotImplementedError

    def inverse(self, value):
        raise NotImplementedError

    def draw(self, rng, n: int):
        """n values u from the prior."""
        if self.prior is None:
            return self._usual(rng, n)
        low, high = self.limits()
        values = self.prior.sample(rng, n)
        outside = (values <= low) | (values >= high)
        if outside.any():
            raise ParameterError(
                f"the prior {self.prior!r} yields {values[outside][0]:g}, outside of the bounds ({low:g}, {high:g}); "
                f"give it low= and high=, or wider bounds"
            )
        return np.asarray(self.inverse(values))

    def _usual(self, rng, n):
        return rng.standard_normal(n)

    def log_density(self, u):
        """Logarithm of the prior density of u, (n,) -> scalar, up to a constant."""
        if self.prior is None:
            return jnp.sum(self._usual_density(u))
        slope = jax.vmap(jax.grad(lambda x: self.value(x[None])[0]))(u)
        return jnp.sum(_log_density(self.prior, self.value(u)) + jnp.log(jnp.abs(slope)))

    def _usual_density(self, u):
        return -0.5 * u**2


@dataclass(frozen=True, eq=False)
class Bounded(Transform):
    low: Any = 0.0
    high: Any = 1.0
    log: bool = False

    reach = REACH

    def __post_init__(self):
        super().__post_init__()
        if isinstance(self.low, (int, float)) and isinstance(self.high, (int, float)):
            if not self.low < self.high:
                raise ParameterError(f"bounded({self.low:g}, {self.high:g}): the first must be below the second")
            if self.log and not self.low > 0:
                raise ParameterError(f"bounded({self.low:g}, {self.high:g}, log=True): the lower bound must be above 0")

    def _with_unit(self):
        return "low", "high"

    def limits(self):
        return self.low, self.high

    def _ends(self):
        return (np.log(self.low), np.log(self.high)) if self.log else (self.low, self.high)

    def value(self, u):
        a, b = self._ends()
        # from the nearer end, so that values near 0 keep their digits
        x = jnp.where(u < 0, a + (b - a) * jax.nn.sigmoid(u), b - (b - a) * jax.nn.sigmoid(-u))
        return jnp.exp(x) if self.log else x

    def inverse(self, value):
        a, b = self._ends()
        x = np.log(value) if self.log else np.asarray(value, float)
        return np.log(x - a) - np.log(b - x)

    def _usual(self, rng, n):
        return rng.logistic(size=n)  # uniform between the bounds, or uniform in the logarithm

    def _usual_density(self, u):
        return jax.nn.log_sigmoid(u) + jax.nn.log_sigmoid(-u)


@dataclass(frozen=True, eq=False)
class Signed(Transform):
    scale: Any = 1.0
    sign: int = 1

    def __post_init__(self):
        super().__post_init__()
        _check_scale(self, "scale", self.scale)

    def _with_unit(self):
        return ("scale",)

    def limits(self):
        return (0.0, np.inf) if self.sign > 0 else (-np.inf, 0.0)

    def value(self, u):
        return self.sign * self.scale / np.log(2.0) * jax.nn.softplus(u)

    def inverse(self, value):
        x = np.asarray(value, float) * self.sign * np.log(2.0) / self.scale
        return x + np.log(-np.expm1(-x))


@dataclass(frozen=True, eq=False)
class Free(Transform):
    scale: Any = 1.0

    def __post_init__(self):
        super().__post_init__()
        _check_scale(self, "scale", self.scale)

    def _with_unit(self):
        return ("scale",)

    def value(self, u):
        return self.scale * u

    def inverse(self, value):
        return np.asarray(value, float) / self.scale


@dataclass(frozen=True, eq=False)
class Simplex(Transform):
    total: Any = 1.0

    def __post_init__(self):
        super().__post_init__()
        _check_scale(self, "total", self.total)

    def _with_unit(self):
        return ("total",)

    def limits(self):
        return 0.0, self.total

    def size(self, n):
        return n - 1

    def value(self, u):
        return self.total * jax.nn.softmax(jnp.append(u, 0.0))

    def inverse(self, value):
        value = np.asarray(value, float)
        if abs(value.sum() - self.total) > 1e-5 * abs(self.total):
            raise ParameterError(f"values of a simplex sum to {value.sum():g}, not to total={self.total:g}")
        return np.log(value[:-1]) - np.log(value[-1])


def _check_scale(how, name, value):
    if isinstance(value, (int, float)) and not value > 0:
        sign = "; the sign is that of bs.negative itself" if getattr(how, "sign", 1) < 0 else ""
        raise ParameterError(f"{name}={value:g} must be positive{sign}")


@dataclass(frozen=True)
class Tied:
    """Always a multiple of another parameter."""

    to: str
    by: float = 1.0


DENSE = (uniform, normal, lognormal, exponential, gamma)


def _log_density(prior, x):
    """Logarithm of a density, up to a constant."""
    low, high = prior.support()
    inside = (x > low) & (x < high)
    if isinstance(prior, uniform):
        out = jnp.zeros_like(x)
    elif isinstance(prior, normal):
        out = -0.5 * ((x - prior.mean) / prior.sd) ** 2
    else:
        safe = jnp.where(inside, x, 1.0)
        if isinstance(prior, lognormal):
            variance = np.log1p((prior.sd / prior.mean) ** 2)
            out = -jnp.log(safe) - (jnp.log(safe) - np.log(prior.mean) + variance / 2) ** 2 / (2 * variance)
        elif isinstance(prior, exponential):
            out = -safe / prior.mean
        else:
            out = (prior.shape - 1) * jnp.log(safe) - safe / prior.scale
    return jnp.where(inside, out, -jnp.inf)


def bounded(low, high, *, log=False, per=None, mask=None, prior=None, relative=False) -> Transform:
    """Between two bounds, by a logistic function; with `log`, of the logarithm. Prior: uniform (in the logarithm).

    Args:
        low, high: numbers in the unit of the parameter, or text such as "5 ms".
        per, mask, prior, relative: see `brainsim.fitting.transforms.Transform`.
    """
    return Bounded(per, mask, prior, relative, low, high, bool(log))


def positive(scale=1.0, *, per=None, mask=None, prior=None, relative=False) -> Transform:
    """Above 0: scale * softplus(u) / log 2. Prior: u standard normal, so values around `scale`."""
    return Signed(per, mask, prior, relative, scale, 1)


def negative(scale=1.0, *, per=None, mask=None, prior=None, relative=False) -> Transform:
    """Below 0: the mirror image of `positive`; `scale` is a positive number."""
    return Signed(per, mask, prior, relative, scale, -1)


def fraction(**options) -> Transform:
    """Between 0 and 1."""
    return bounded(0.0, 1.0, **options)


def free(scale=1.0, *, per=None, mask=None, prior=None, relative=False) -> Transform:
    """Any number: scale * u. Prior: normal with standard deviation `scale`."""
    return Free(per, mask, prior, relative, scale)


def simplex(total=1.0, *, mask=None) -> Transform:
    """Positive values with a given sum: those of one parameter, or of several whose names are given as a tuple.

    Prior: logistic-normal.
    """
    return Simplex(None, mask, None, False, total)


def tied(to: str, by: float = 1.0) -> Tied:
    """Equal to another parameter, times `by`."""
    return Tied(str(to), float(by))
