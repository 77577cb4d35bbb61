"""Distributions of parameters, weights, delays and initial values, sampled on the host.

A distribution is a frozen description; numbers come out when it meets a generator. Generators are keyed by a seed and
by names, never by the order of creation, so adding a population or a recorder changes no other number.
"""

import hashlib
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields, replace
from typing import ClassVar

import numpy as np

from .errors import ParameterError
from .units import to_canonical

__all__ = ["Distribution", "as_values", "choice", "exponential", "gamma", "generator", "lognormal", "normal", "uniform"]


def stream_key(seed: int, *names: str | int) -> int:
    """A 128-bit key that depends on a seed and on names, and on nothing else; see `generator`."""
    whole = (int, np.integer)
    for part, allowed in [(seed, whole), *((name, (str, *whole)) for name in names)]:
        if isinstance(part, bool) or not isinstance(part, allowed):
            raise ParameterError(f"a generator needs a whole number and names, got {part!r}; write generator(0, 'exc')")
    text = repr([p if isinstance(p, str) else int(p) for p in (seed, *names)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "little")


def stream(key: int, block: int = 0) -> np.random.Generator:
    """The random stream of one block of numbers under a 128-bit key; streams of different blocks never overlap.

    Philox is counter-based (Salmon et al. 2011, 10.1145/2063384.2063405): the block is the highest of the four 64-bit
    words of its counter, so that 2**192 numbers belong to every block.
    """
    return np.random.Generator(np.random.Philox(key=key, counter=block << 192))


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """A random generator that depends on a seed and on names, and on nothing else.

    Philox is counter-based and keyed by a hash, so streams of different names are independent and the same in every
    process and on every machine.

    Args:
        seed: any whole number.
        names: what the numbers are for, such as ``"exc", "v"``.

    Example:
        >>> int(generator(0, "exc", "v").integers(1000)) == int(generator(0, "exc", "v").integers(1000))
        True
    """
    return stream(stream_key(seed, *names))


@dataclass(frozen=True, repr=False)
class Distribution(ABC):
    """What can be sampled. Arguments are numbers in the unit of the parameter, or strings such as ``"5 ms"``."""

    PURE: ClassVar[tuple[str, ...]] = ()  # arguments without a unit

    def __post_init__(self):
        numbers = [getattr(self, f.name) for f in fields(self)]
        if all(x is None or isinstance(x, (int, float, np.number)) for x in numbers):
            self._checked(repr(self))

    def in_unit(self, unit, what: str):
        """The same distribution with plain floats in a declared unit.

        Args:
            unit: declared unit of the parameter, such as ``"ms"``.
            what: name of the parameter for messages.

        Raises:
            UnitError, ParameterError: wrong dimension, not finite, or impossible arguments.
        """
        made = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None:
                known = "1" if field.name in self.PURE else unit
                value = to_canonical(value, known, f"{what}: {field.name} of {type(self).__name__}")
                if np.ndim(value) != isinstance(getattr(self, field.name), tuple):
                    raise ParameterError(f"{what}: {field.name} of {self!r} must be one number")
                made[field.name] = tuple(value.tolist()) if np.ndim(value) else float(value)
        try:
            return replace(self, **made)
        except ParameterError as err:
            raise ParameterError(f"{what}: {err}") from None

    def _checked(self, what):
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and not np.all(np.isfinite(value)):
                raise ParameterError(f"{what}: {field.name} must be finite, got {value}; write a number")
        problem = self._problem()
        if problem:
            raise ParameterError(f"{what}: {problem}")
        return self

    @abstractmethod
    def _problem(self) -> str | None:
        """Why these arguments cannot be and what to write, or None."""

    def support(self) -> tuple[float, float]:
        """All values lie between these two; arguments are floats."""
        return -math.inf, math.inf

    @abstractmethod
    def _draw(self, rng, n) -> np.ndarray:
        """n values; arguments are floats."""

    def sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """n values, shape (n,), float64. Arguments given with a unit must have met `in_unit` before."""
        if any(isinstance(getattr(self, f.name), str) for f in fields(self)):
            raise ParameterError(f"{self!r} still has units; call its in_unit(unit, what) before sample")
        return np.asarray(self._draw(rng, int(n)), np.float64)

    def __repr__(self):
        given = [(f, getattr(self, f.name)) for f in fields(self)]
        shown = [f"{f.name}={v!r}" if f.kw_only or f.default is None else f"{v!r}" for f, v in given if v is not None]
        return f"{type(self).__name__}({', '.join(shown)})"


@dataclass(frozen=True, repr=False)
class uniform(Distribution):
    """Uniform between low and high.

    Example:
        >>> uniform(0.5, 2.0)
        uniform(0.5, 2.0)
    """

    low: float
    high: float

    def _problem(self):
        return None if self.low < self.high else f"low must be below high; write uniform({self.high}, {self.low})"

    def support(self):
        return self.low, self.high

    def _draw(self, rng, n):
        return rng.uniform(self.low, self.high, n)


@dataclass(frozen=True, repr=False)
class normal(Distribution):
    """Gaussian with a mean and a standard deviation; values outside [low, high] are drawn again.

    Example:
        >>> normal(1.5, 0.75, low=0.1)
        normal(1.5, 0.75, low=0.1)
    """

    mean: float
    sd: float
    low: float | None = None
    high: float | None = None

    def _problem(self):
        if self.sd < 0:
            return f"sd must be at least 0, got {self.sd}; write normal({self.mean}, {-self.sd})"
        low, high = self.support()
        if not low < high:
            return f"low must be below high, got low={self.low}, high={self.high}"
        if self.sd == 0:
            return None if low <= self.mean <= high else "sd is 0 and the mean lies outside [low, high]; move the mean"
        inside = _tail((low - self.mean) / self.sd) - _tail((high - self.mean) / self.sd)
        if inside < 1e-4:  # redrawing would hardly end
            return f"only a fraction {inside:.1g} of values lies between low and high; move the mean or the limits"
        return None

    def support(self):
        return -math.inf if self.low is None else self.low, math.inf if self.high is None else self.high

    def _draw(self, rng, n):
        low, high = self.support()
        values = rng.standard_normal(n)
        values *= self.sd
        values += self.mean
        bad = np.flatnonzero((values < low) | (values > high))
        while bad.size:
            values[bad] = rng.normal(self.mean, self.sd, bad.size)
            bad = bad[(values[bad] < low) | (values[bad] > high)]
        return values


def _tail(z):
    """Probability that a standard normal exceeds z."""
    return 0.5 * math.erfc(z / math.sqrt(2))


@dataclass(frozen=True, repr=False)
class lognormal(Distribution):
    """Log-normal with the mean and standard deviation OF THE VALUES (NumPy and NEST take those of the logarithm).

    The logarithm has variance s2 = log(1 + (sd/mean)**2) and mean log(mean) - s2/2.
    """

    mean: float
    sd: float

    def _problem(self):
        if self.mean <= 0:
            return f"mean must be above 0, got {self.mean}: log-normal values are positive; apply a sign to the weight"
        return None if self.sd >= 0 else f"sd must be at least 0, got {self.sd}"

    def support(self):
        return 0.0, math.inf

    def _draw(self, rng, n):
        variance = math.log1p((self.sd / self.mean) ** 2)
        return rng.lognormal(math.log(self.mean) - variance / 2, math.sqrt(variance), n)


@dataclass(frozen=True, repr=False)
class exponential(Distribution):
    """Exponential with the given mean."""

    mean: float

    def _problem(self):
        return None if self.mean > 0 else f"mean must be above 0, got {self.mean}"

    def support(self):
        return 0.0, math.inf

    def _draw(self, rng, n):
        return rng.exponential(self.mean, n)


@dataclass(frozen=True, repr=False)
class gamma(Distribution):
    """Gamma with a shape (plain number) and a scale: mean shape*scale, variance shape*scale**2."""

    PURE: ClassVar[tuple[str, ...]] = ("shape",)
    shape: float
    scale: float

    def _problem(self):
        return None if min(self.shape, self.scale) > 0 else f"shape and scale must be above 0, got {self!r}"

    def support(self):
        return 0.0, math.inf

    def _draw(self, rng, n):
        return rng.gamma(self.shape, self.scale, n)


@dataclass(frozen=True, repr=False)
class choice(Distribution):
    """One of a list of values, with probabilities p (equal if not given)."""

    PURE: ClassVar[tuple[str, ...]] = ("p",)
    values: tuple
    p: tuple | None = None

    def __post_init__(self):
        for name in ("values", "p"):
            given = getattr(self, name)
            if given is not None:
                object.__setattr__(self, name, tuple(given))
        if not any(isinstance(v, str) for v in self.values):
            self._checked(repr(self))

    def _problem(self):
        if not self.values:
            return "choice needs at least one value; write choice([1.0, 2.0])"
        if self.p is None:
            return None
        if len(self.p) != len(self.values):
            return f"{len(self.values)} values but {len(self.p)} probabilities; give one p for each value"
        if min(self.p) < 0 or not math.isclose(math.fsum(self.p), 1.0, abs_tol=1e-8):
            return f"p must be at least 0 and sum to 1, got {self.p} with sum {math.fsum(self.p):g}"
        return None

    def support(self):
        return min(self.values), max(self.values)

    def _draw(self, rng, n):
        return rng.choice(np.asarray(self.values, np.float64), n, p=self.p)


def as_values(spec, n: int, rng: np.random.Generator, unit, what: str, distance=None):
    """Values of a parameter, from whatever a user may write for it.

    Args:
        spec: number, ``"5 ms"``, array of length n, distribution, or function of the distance in um.
        n: how many values are needed.
        rng: generator, used by distributions only.
        unit: declared unit.
        what: name for messages.
        distance: (n,) distances in um, for functions of distance.

    Returns:
        A scalar (float64), or an array of shape (n,). JAX arrays pass as they are.
    """
    if isinstance(spec, Distribution):
        return spec.in_unit(unit, what).sample(rng, n)
    if isinstance(spec, type) and issubclass(spec, Distribution):
        raise ParameterError(f"{what} is {spec.__name__} without arguments; write bs.{spec.__name__}(...)")
    if callable(spec):
        if distance is None:
            raise ParameterError(f"{what} is a function of distance: give positions= to net.add, or values instead")
        spec = spec(np.asarray(distance, np.float64))
    values = to_canonical(spec, unit, what)
    if np.ndim(values) == 0 or np.shape(values) == (n,):
        return values
    given = f"{np.shape(values)[0]} values" if np.ndim(values) == 1 else f"values of shape {np.shape(values)}"
    hint = "" if np.ndim(values) == 1 else "; a matrix [pre, post] goes through bs.from_matrix"
    raise ParameterError(f"{what} has {given}, but {n} are needed; give one number, or an array of length {n}{hint}")
