"""Bounds of plastic weights: what becomes of a change that a rule asks for."""

from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp
import numpy as np

from .errors import ConnectError
from .units import has_unit, to_canonical

__all__ = ["hard", "multiplicative", "soft", "unbounded"]


@dataclass(frozen=True)
class Bounds:
    """Interval of a weight and how it is approached; made by `hard`, `soft`, `multiplicative`, `unbounded`."""

    kind: str
    low: float
    high: float
    exponent: float = 0.0
    dale: bool = False  # nobody said bounds: the sign of the weights is kept

    def apply(self, w, change):
        """The weight after a change, inside the interval."""
        if self.kind != "hard":
            share = jnp.clip((w - self.low) / (self.high - self.low), 0.0, 1.0)
            down = share**self.exponent if self.exponent != 1.0 else share
            up = 1.0 - share
            up = 1.0 if self.kind == "multiplicative" else up if self.exponent == 1.0 else up**self.exponent
            change = jnp.where(change > 0, up * change, down * change)
        return self.clip(w + change)

    def clip(self, w):
        w = w if self.low == -np.inf else jnp.maximum(w, self.low)
        return w if self.high == np.inf else jnp.minimum(w, self.high)

    def or_nan(self, w):
        """Traced weights, which cannot be refused: nan where they lie outside by more than rounding."""
        for bound, outside in ((self.low, w < self.low), (self.high, w > self.high)):
            if np.isfinite(bound):
                room = 8.0 * float(jnp.finfo(w.dtype).eps) * abs(bound)
                w = jnp.where(outside, jnp.where(jnp.abs(w - bound) <= room, bound, jnp.nan), w)
        return w

    def check(self, name, low, high):
        """Refuse initial weights outside; of float32 arrays, only those outside of the bounds in float32."""
        f = np.float32
        if (low < self.low and f(low) < f(self.low)) or (high > self.high and f(high) > f(self.high)):
            raise ConnectError(
                f"{name}: initial weights lie in [{low:g}, {high:g}], outside the bounds [{self.low:g}, {self.high:g}] "
                f"of a plastic weight; give weights inside, or wider bounds="
            )


def _interval(what, low, high, finite):
    """Two checked numbers; `what` is the word before them."""
    pair = []
    for side, given, none in (("low", low, -np.inf), ("high", high, np.inf)):
        if np.ndim(given):
            raise ConnectError(
                f"{what.rstrip('=')}: {side} has shape {np.shape(given)}; bounds are two numbers for all edges of a "
                f"projection; make a projection for each pair of bounds"
            )
        try:
            pair.append(none if given is None else float(given))
        except (TypeError, ValueError):
            raise ConnectError(
                f"{what.rstrip('=')}: {side} = {given!r} is no number; write one in the unit of the weight, or "
                f"None for no bound"
            ) from None
        if np.isnan(pair[-1]):
            raise ConnectError(f"{what.rstrip('=')}: {side} is nan; write a number, or None for no bound")
    low, high = pair
    if not low < high:
        order = "equal, so that no weight could change" if low == high else "in the wrong order"
        word = what.rpartition(" ")[2]
        raise ConnectError(f"{what}({low:g}, {high:g}): bounds are {order}; write {word}(low, high), low below high")
    if finite and not np.isfinite(high - low):
        raise ConnectError(
            f"{what}({low:g}, {high:g}): changes scale with the distance to both bounds; give two numbers"
        )
    return low, high


def hard(low=None, high=None) -> Bounds:
    """The weight is clipped: additive rules. None: no bound on this side."""
    return Bounds("hard", *_interval("hard", low, high, False))


def soft(low, high, exponent=1.0) -> Bounds:
    """Increases scale with ((high - w) / (high - low))^exponent, decreases with ((w - low) / (high - low))^exponent.

    0 is additive, 1 multiplicative on both sides (Guetig et al. 2003, 10.1523/JNEUROSCI.23-09-03697.2003). The weight
    is clipped as well, because a large change may pass a bound.
    """
    low, high = _interval("soft", low, high, True)
    if not isinstance(exponent, int | float | np.number) or not (np.isfinite(exponent) and exponent >= 0):
        raise ConnectError(f"soft: exponent = {exponent!r}; it is 0 (additive) to 1 (multiplicative), or larger")
    return Bounds("soft", low, high, float(exponent))


def multiplicative(low, high) -> Bounds:
    """Decreases scale with (w - low) / (high - low), increases do not (van Rossum et al. 2000,
    10.1523/JNEUROSCI.20-23-08812.2000); clipped."""
    return Bounds("multiplicative", *_interval("multiplicative", low, high, True), 1.0)


def unbounded() -> Bounds:
    """No bound: weights may change their sign."""
    return Bounds("hard", -np.inf, np.inf)


def bounds_of(name: str, given: Any, declared, low: float, high: float) -> Bounds:
    """Bounds of a projection with initial weights in [low, high].

    Args:
        given: `Bounds`, (low, high), or None: those of the synapse class, else the sign of the weights is kept (Dale).
    """
    if isinstance(given, tuple | list) and len(given) == 2:
        # here the unit is known: "3 pA" is converted, as for the weight
        unit = None if declared is None else declared.unit
        sides = zip(("low", "high"), given)
        pair = [to_canonical(x, unit, f"{name}: bounds, {k}") if has_unit(x) else x for k, x in sides]
        given = Bounds("hard", *_interval(f"{name}: bounds=", *pair, False))
    if given is None:
        own = (None, None) if declared is None else declared.bounds
        if own == (None, None):
            if low < 0 < high:
                raise ConnectError(
                    f"{name}: initial weights have both signs, so there is no sign to keep; say "
                    f"bounds=bs.hard(low, high) or bounds=bs.unbounded()"
                )
            own = (None, 0.0) if high <= 0 and low < 0 else (0.0, None)
        given = replace(hard(*own), dale=declared is None or declared.bounds == (None, None))
    if not isinstance(given, Bounds):
        raise ConnectError(
            f"{name}: bounds={given!r}; write (low, high), bs.hard(low, high), bs.soft, bs.multiplicative"
        )
    given.check(name, low, high)
    return given
