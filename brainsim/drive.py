"""Inputs over time. Every drive is a pytree whose float fields are leaves: gradients flow to them where they can.

A drive yields, for an integer step n, one value for all cells (scalar) or one per cell. Time windows are compared on
integer steps, and the phase of periodic drives is reduced on integers, so long runs stay exact in float32.
Drives that yield spikes are in `events.py`.
"""

from dataclasses import dataclass, field, fields, replace
from fractions import Fraction
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from .errors import ParameterError, RunError
from .units import converted, measured, to_canonical

FOREVER = 2**31 - 1


def drive(cls):
    """Make a drive class a frozen dataclass and a pytree; fields marked static are not leaves."""
    cls = dataclass(frozen=True, eq=False)(cls)
    static = [f.name for f in fields(cls) if f.metadata.get("static")]
    return jax.tree_util.register_dataclass(cls, [f.name for f in fields(cls) if f.name not in static], static)


def static(default=None) -> Any:
    return field(default=default, metadata={"static": True})


def stated(what, low=None, **values) -> dict:
    """Fields of a drive whose input is not known yet, with `units`: name and dimension of those that say theirs.

    Args:
        low: field -> least value.
    """
    units = []
    for name, value in values.items():
        values[name], unit = measured(value, f"{what} {name}")
        units += [] if unit is None else [(name, unit)]
        if low and name in low:
            clean(values[name], None, f"{what} {name}", low[name])
    return {**values, "units": tuple(units)}


def clean(value, unit, what, low=None):
    """A number or array at the door: converted, finite, not below `low`; tracers pass."""
    if isinstance(value, jax.core.Tracer):
        return value
    value = to_canonical(value, unit, what)
    if low is not None and np.any(np.asarray(value) < low):
        raise ParameterError(f"{what} = {np.min(value):g} is below {low:g}; give a value of at least {low:g}")
    return value


def step_of(time, dt):
    """Integer step of a time in ms on the host; 2**31 - 1 for infinity."""
    return FOREVER if time is None else int(min(FOREVER, np.rint(time / dt)))


class Drive:
    """Base of all drives."""

    events: ClassVar[bool] = False
    label: ClassVar[str] = "drive"
    parameters: ClassVar[dict] = {}  # values that appear among the parameters of a network: name -> declaration

    def in_unit(self, unit: str | None, what: str) -> "Drive":
        """The drive of an input that takes `unit`; UnitError where a value says a unit of another dimension."""
        said = getattr(self, "units", ())
        if not said:
            return self
        what = f"{what}: {type(self).__name__}"
        values = {name: converted(getattr(self, name), own, unit, f"{what} {name}") for name, own in said}
        return replace(self, units=(), **values)

    def prepare(self, dt: float, what: str) -> "Drive":
        """The drive on the grid of dt, with everything computed that the host must compute."""
        return self

    def check(self, n: int, dt: float, first: int, steps: int, what: str) -> None:
        """Raise before anything runs if the drive cannot serve n cells over the steps of a run."""

    def with_parameter(self, name: str, value) -> "Drive":
        """A copy with another value of one of its `parameters`."""
        return replace(self, **{name: value})

    def begin(self, n: int, dtype):
        """What the drive carries from step to step."""
        return ()

    def value(self, step, dt, n, key, carry):
        """Value in step `step`, scalar or (n,), and the new carry; `key` is two uint32 words of its own stream."""
        raise NotImplementedError

    def __add__(self, other):
        return Sum((self, other if isinstance(other, Drive) else constant(other)))

    __radd__ = __add__


def check_cells(value, n, what):
    if np.ndim(value) == 1 and np.shape(value) != (n,):
        raise RunError(f"{what} has {np.shape(value)[0]} values for {n} cells; give a number or {n} values")
    if np.ndim(value) > 1:
        raise RunError(
            f"{what} has shape {np.shape(value)}; give a number or ({n},). Values over time go into bs.array(values)"
        )


@drive
class Sum(Drive):
    parts: tuple

    def in_unit(self, unit, what):
        return Sum(tuple(part.in_unit(unit, what) for part in self.parts))

    def prepare(self, dt, what):
        return Sum(tuple(part.prepare(dt, what) for part in self.parts))

    def check(self, n, dt, first, steps, what):
        for part in self.parts:
            part.check(n, dt, first, steps, what)

    def begin(self, n, dtype):
        return tuple(part.begin(n, dtype) for part in self.parts)

    def value(self, step, dt, n, key, carry):
        total, out = 0.0, []
        for i, (part, c) in enumerate(zip(self.parts, carry)):
            value, c = part.value(step, dt, n, key + jnp.uint32(0x9E3779B9) * jnp.uint32(i), c)
            total, out = total + value, [*out, c]
        return total, tuple(out)


@drive
class Constant(Drive):
    amplitude: Any
    units: tuple = static(())

    def check(self, n, dt, first, steps, what):
        check_cells(self.amplitude, n, what)

    def value(self, step, dt, n, key, carry):
        return jnp.asarray(self.amplitude), carry


@drive
class Step(Drive):
    amplitude: Any
    start: float = static(0.0)
    stop: float | None = static(None)
    units: tuple = static(())

    def check(self, n, dt, first, steps, what):
        check_cells(self.amplitude, n, what)

    def value(self, step, dt, n, key, carry):
        on = (step >= step_of(self.start, dt)) & (step < step_of(self.stop, dt))
        amplitude = jnp.asarray(self.amplitude)
        return jnp.where(on, amplitude, jnp.zeros_like(amplitude)), carry


@drive
class Ramp(Drive):
    first: Any
    last: Any
    start: float = static(0.0)
    stop: float = static(1.0)
    units: tuple = static(())

    def check(self, n, dt, first, steps, what):
        check_cells(self.first, n, what), check_cells(self.last, n, what)

    def value(self, step, dt, n, key, carry):
        begin, end = step_of(self.start, dt), step_of(self.stop, dt)
        part = jnp.clip((step - begin) / jnp.asarray(max(1, end - begin), jnp.result_type(float)), 0.0, 1.0)
        return self.first + part * (jnp.asarray(self.last) - self.first), carry


@drive
class Sine(Drive):
    amplitude: Any
    frequency: Any
    phase: Any
    offset: Any
    turn: Any = None  # cycles per step as two 32-bit words, made by `prepare` where the frequency is known
    units: tuple = static(())

    def check(self, n, dt, first, steps, what):
        for value in (self.amplitude, self.frequency, self.phase, self.offset):
            check_cells(value, n, what)

    def prepare(self, dt, what):
        if isinstance(self.frequency, jax.core.Tracer):
            return self
        return replace(self, turn=turn_words(np.asarray(self.frequency, float), dt))

    def value(self, step, dt, n, key, carry):
        real = jnp.result_type(float)
        cycles = jnp.asarray(self.frequency, real) * (1e-3 * dt)
        fixed = jax.lax.stop_gradient(cycles)
        if self.turn is not None:
            turn = turned(step, *self.turn, real)
        elif real == jnp.float64:
            turn = jnp.mod(fixed * step, 1.0)
        else:
            high = jnp.floor(jnp.mod(fixed, 1.0) * 65536.0)
            low = jnp.floor((jnp.mod(fixed, 1.0) * 65536.0 - high) * 65536.0)
            turn = turned(step, (high.astype(jnp.uint32) << 16) | low.astype(jnp.uint32), jnp.uint32(0), real)
        # the same value, with the derivative with respect to the frequency
        turn = turn + (cycles - fixed) * step
        return self.offset + self.amplitude * jnp.sin(2.0 * jnp.pi * turn + self.phase), carry


def turn_words(frequency, dt):
    """Fraction of a cycle per step of every frequency (Hz), rounded to 64 bits: the upper and the lower 32."""
    part = Fraction(repr(dt)) / 1000 * 2**64
    distinct, where = np.unique(frequency, return_inverse=True)
    words = [round(Fraction(f) * part) % 2**64 for f in distinct.tolist()]
    split = np.array([[w >> 32 for w in words], [w & 0xFFFFFFFF for w in words]], np.uint32)
    return tuple(split[:, where].reshape(2, *frequency.shape))


def turned(step, high, low, real):
    """Fractional part of step times the 64-bit fraction (high, low): products of 16-bit halves, which wrap exactly."""
    step, high, low = (jnp.asarray(x).astype(jnp.uint32) for x in (step, high, low))
    a, b, c, d = step >> 16, step & 0xFFFF, low >> 16, low & 0xFFFF
    middle = a * d + (b * d >> 16)
    carried = a * c + (middle >> 16) + ((b * c + (middle & 0xFFFF)) >> 16)
    return ((step * high + carried).astype(real) + (step * low).astype(real) * 2.0**-32) * 2.0**-32


def constant(amplitude) -> Drive:
    """The same value at all times: a number or one per cell.

    Numbers of all drives are in the unit of the input that the drive is given to. Text and quantities ("2 nA", "1 mV")
    are converted to it; where their dimension is another one, the run refuses them.
    """
    return Constant(**stated("constant", amplitude=amplitude))


def window(start, stop, what):
    start = float(clean(start, "ms", f"{what} start", low=0.0))
    stop = None if stop is None else float(clean(stop, "ms", f"{what} stop", low=0.0))
    if stop is not None and stop <= start:
        raise ParameterError(f"{what}: stop = {stop:g} ms is not after start = {start:g} ms")
    return {"start": start, "stop": stop}


def step(amplitude, start=0.0, stop=None) -> Drive:
    """`amplitude` from `start` to `stop` (ms, rounded to whole steps), else 0."""
    return Step(**stated("step", amplitude=amplitude), **window(start, stop, "step"))


def ramp(first, last, start, stop) -> Drive:
    """Linear from `first` at `start` to `last` at `stop` (ms), constant outside."""
    return Ramp(**stated("ramp", first=first, last=last), **window(start, stop, "ramp"))


def sine(amplitude, frequency, phase=0.0, offset=0.0) -> Drive:
    """offset + amplitude sin(2 pi frequency t + phase); frequency in Hz, phase in rad."""
    frequency, phase = clean(frequency, "Hz", "sine frequency"), clean(phase, None, "sine phase")
    return Sine(frequency=frequency, phase=phase, **stated("sine", amplitude=amplitude, offset=offset))
