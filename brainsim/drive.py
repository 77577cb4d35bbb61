"""Inputs over time. Every drive is a pytree whose float fields are leaves: gradients flow to them where they can.

A drive yields, for an integer step n, one value for all cells (scalar) or one per cell. Time windows are compared on
integer steps, and the phase of periodic drives is reduced on integers, so long runs stay exact in float32.
Event drives (`poisson`, `spike_train`, `spike_trains`) yield numbers of spikes; connect them like a population, or give
them as the input `spikes` of a `SpikeSource`.
"""

import warnings
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from .errors import ParameterError, RunError
from .units import to_canonical

FOREVER = 2**31 - 1


def drive(cls):
    """Make a drive class a frozen dataclass and a pytree; fields marked static are not leaves."""
    cls = dataclass(frozen=True, eq=False)(cls)
    static = [f.name for f in fields(cls) if f.metadata.get("static")]
    return jax.tree_util.register_dataclass(cls, [f.name for f in fields(cls) if f.name not in static], static)


def static(default=None) -> Any:
    return field(default=default, metadata={"static": True})


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
    return FOREVER if time is None or not np.isfinite(time) else int(np.rint(time / dt))


class Drive:
    """Base of all drives."""

    events: ClassVar[bool] = False
    label: ClassVar[str] = "drive"
    unit_of_amplitude: ClassVar[bool] = True

    def prepare(self, dt: float, what: str) -> "Drive":
        """The drive on the grid of dt, with everything computed that the host must compute."""
        return self

    def check(self, n: int, dt: float, first: int, steps: int, what: str) -> None:
        """Raise before anything runs if the drive cannot serve n cells over the steps of a run."""

    def begin(self, n: int, dtype):
        """What the drive carries from step to step."""
        return ()

    def value(self, step, dt, n, key, carry):
        """Value in step `step`: scalar or (n,); and the new carry. `key`: two uint32 words of the drive's own stream."""
        raise NotImplementedError

    def __add__(self, other):
        return Sum((self, other if isinstance(other, Drive) else constant(other)))

    __radd__ = __add__


def check_cells(value, n, what):
    if np.ndim(value) == 1 and np.shape(value) != (n,):
        raise RunError(f"{what} has {np.shape(value)[0]} values for {n} cells; give a number or {n} values")
    if np.ndim(value) > 1:
        raise RunError(
            f"{what} has shape {np.shape(value)}; give a number or ({n},). Values over time go into bs.array(values, every=dt)"
        )


@drive
class Sum(Drive):
    parts: tuple

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

    def check(self, n, dt, first, steps, what):
        check_cells(self.amplitude, n, what)

    def value(self, step, dt, n, key, carry):
        return jnp.asarray(self.amplitude), carry


@drive
class Step(Drive):
    amplitude: Any
    start: float = static(0.0)
    stop: float | None = static(None)

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

    def check(self, n, dt, first, steps, what):
        check_cells(self.first, n, what), check_cells(self.last, n, what)

    def value(self, step, dt, n, key, carry):
        begin, end = step_of(self.start, dt), step_of(self.stop, dt)
        part = jnp.clip((step - begin) / jnp.asarray(end - begin, jnp.result_type(float)), 0.0, 1.0)
        return self.first + part * (jnp.asarray(self.last) - self.first), carry


@drive
class Sine(Drive):
    amplitude: Any
    frequency: Any
    phase: Any
    offset: Any

    def check(self, n, dt, first, steps, what):
        for value in (self.amplitude, self.frequency, self.phase, self.offset):
            check_cells(value, n, what)

    def value(self, step, dt, n, key, carry):
        # cycles per step as a 32-bit fraction: the product wraps exactly, whatever the step
        cycles = jnp.asarray(self.frequency, jnp.result_type(float)) * (1e-3 * dt)
        fixed = jax.lax.stop_gradient(jnp.mod(cycles, 1.0))
        high = jnp.floor(fixed * 65536.0)
        low = jnp.floor((fixed * 65536.0 - high) * 65536.0)
        word = (high.astype(jnp.uint32) << 16) | low.astype(jnp.uint32)
        turn = (step.astype(jnp.uint32) * word).astype(jnp.result_type(float)) / 4294967296.0
        # the same value, with the derivative with respect to the frequency
        turn = turn + (cycles - jax.lax.stop_gradient(cycles)) * step
        return self.offset + self.amplitude * jnp.sin(2.0 * jnp.pi * turn + self.phase), carry


@drive
class Array(Drive):
    values: Any
    every: float | None = static(None)
    hold: bool = static(False)

    def check(self, n, dt, first, steps, what):
        shape = np.shape(self.values)
        if len(shape) not in (1, 2) or (len(shape) == 2 and shape[1] != n):
            raise RunError(f"{what}: values over time have shape {shape}; give (time,) or (time, {n})")
        if not isinstance(self.values, jax.core.Tracer) and not np.isfinite(np.asarray(self.values)).all():
            bad = np.argwhere(~np.isfinite(np.asarray(self.values)))[0]
            raise RunError(f"{what}: value {tuple(int(i) for i in bad)} over time is not finite")
        stride = self._stride(dt)
        if (first + steps - 1) // stride >= shape[0] and not self.hold:
            have, need = shape[0] * stride * dt, (first + steps) * dt
            raise RunError(
                f"{what}: the values cover {have:g} ms but the run ends at {need:g} ms; give more values, or hold=True to "
                f"keep the last one"
            )

    def _stride(self, dt):
        every = dt if self.every is None else self.every
        stride = max(1, int(np.rint(every / dt)))
        if abs(stride * dt - every) > 1e-6 * every:
            raise RunError(f"array(every={every:g}) is not a multiple of dt = {dt:g} ms; resample the values")
        return stride

    def value(self, step, dt, n, key, carry):
        row = jnp.minimum(step // self._stride(dt), np.shape(self.values)[0] - 1)
        return jax.lax.dynamic_index_in_dim(jnp.asarray(self.values), row, keepdims=False), carry


@drive
class OUNoise(Drive):
    mean: Any
    sd: Any
    tau: Any
    shared: bool = static(False)

    def check(self, n, dt, first, steps, what):
        for value in (self.mean, self.sd, self.tau):
            check_cells(value, n, what)

    def begin(self, n, dtype):
        return {"x": jnp.zeros((1 if self.shared else n,), dtype), "begun": jnp.zeros((), bool)}

    def value(self, step, dt, n, key, carry):
        from .ops import random

        xi = random.normal(key, step, 1 if self.shared else n).astype(carry["x"].dtype)
        keep = jnp.exp(-dt / jnp.asarray(self.tau, carry["x"].dtype))
        # exact update of the stationary process; the first value is drawn from its distribution
        moved = keep * carry["x"] + jnp.sqrt(1.0 - keep**2) * xi
        x = jnp.where(carry["begun"], moved, xi)
        value = self.mean + self.sd * x
        return (value[0] if self.shared and value.ndim else value), {"x": x, "begun": jnp.ones((), bool)}


@drive
class Poisson(Drive):
    rate: Any
    n: int = static(1)
    start: float = static(0.0)
    stop: float | None = static(None)
    most: float | None = static(None)
    events: ClassVar[bool] = True
    label: ClassVar[str] = "poisson"

    def check(self, n, dt, first, steps, what):
        if isinstance(self.rate, Drive):
            self.rate.check(n, dt, first, steps, f"{what}.rate")
        else:
            check_cells(self.rate, n, f"{what}.rate")

    def prepare(self, dt, what):
        return replace(self, rate=self.rate.prepare(dt, what)) if isinstance(self.rate, Drive) else self

    def begin(self, n, dtype):
        return self.rate.begin(n, dtype) if isinstance(self.rate, Drive) else ()

    def value(self, step, dt, n, key, carry):
        from .ops import random

        rate = self.rate
        if isinstance(rate, Drive):
            rate, carry = rate.value(step, dt, n, key ^ jnp.uint32(0x5BD1E995), carry)
            rate = jnp.maximum(rate, 0.0)
        on = (step >= step_of(self.start, dt)) & (step < step_of(self.stop, dt))
        per_step = jax.lax.stop_gradient(jnp.asarray(rate, jnp.float32)) * (1e-3 * dt * self.n)
        counts = random.poisson(key, step, per_step, n, size=self._terms(dt))
        return jnp.where(on, counts, 0).astype(jnp.result_type(float)), carry

    def _terms(self, dt):
        """Length of the cumulative table: from the largest rate, which must be known before compiling."""
        most = self.most
        if most is None:
            raise RunError("poisson: the rate is traced or changes with time; say most=, its upper bound in Hz")
        mean = most * 1e-3 * dt * self.n
        return int(np.ceil(mean + 8.0 * np.sqrt(mean) + 12.0))


@drive
class SpikeTrains(Drive):
    """Given spikes: `steps` sorted, `cells` None for the same spikes to all; made by `prepare` from times in ms."""

    times: Any = None
    indices: Any = None
    steps: Any = None
    cells: Any = None
    most: int = static(0)
    strict: bool = static(False)
    events: ClassVar[bool] = True
    label: ClassVar[str] = "spikes"

    def prepare(self, dt, what):
        exact = self.times / dt
        steps = np.rint(exact)
        off = np.abs(exact - steps) > 1e-6 * np.maximum(1.0, steps)
        if off.any():
            shift = np.abs(exact - steps).max() * dt
            text = f"{what}: {int(off.sum())} spike times are off the grid of dt = {dt:g} ms, shifted by up to {shift:.3g} ms"
            if self.strict:
                raise RunError(f"{text}; round them, choose a dt that fits, or say strict=False")
            warnings.warn(text, stacklevel=4)
        order = np.argsort(steps, kind="stable")
        steps = steps[order].astype(np.int32)
        most = int(np.unique(steps, return_counts=True)[1].max()) if len(steps) else 0
        pad = np.full(most, -1, np.int32)
        cells = (
            None if self.indices is None else np.append(self.indices[order].astype(np.int32), np.zeros(most, np.int32))
        )
        return SpikeTrains(steps=np.append(steps, pad), cells=cells, most=most, strict=self.strict)

    def check(self, n, dt, first, steps, what):
        indices = self.cells if self.indices is None else self.indices
        if indices is not None and len(indices) and indices.max() >= n:
            bad = int(np.argmax(indices >= n))
            raise RunError(f"{what}: spike {bad} belongs to cell {indices[bad]}, but there are {n} cells (0..{n - 1})")

    def value(self, step, dt, n, key, carry):
        real = jnp.result_type(float)
        if self.most == 0:
            return jnp.zeros((n,), real), carry
        steps = jnp.asarray(self.steps)
        first = jnp.searchsorted(steps[: -self.most], step, side="left")
        rows = first + jnp.arange(self.most)
        hit = (steps[rows] == step).astype(real)
        if self.cells is None:
            return jnp.full((n,), jnp.sum(hit)), carry
        return jnp.zeros((n,), real).at[jnp.asarray(self.cells)[rows]].add(hit), carry


def constant(amplitude) -> Drive:
    """The same value at all times: a number or one per cell, in the unit of the input it is given to."""
    return Constant(clean(amplitude, None if not isinstance(amplitude, str) else "pA", "constant amplitude"))


def _window(start, stop, what):
    start = float(clean(start, "ms", f"{what} start", low=0.0))
    stop = None if stop is None else float(clean(stop, "ms", f"{what} stop", low=0.0))
    if stop is not None and stop <= start:
        raise ParameterError(f"{what}: stop = {stop:g} ms is not after start = {start:g} ms")
    return start, stop


def step(amplitude, start, stop=None) -> Drive:
    """`amplitude` from `start` to `stop` (ms, in steps start/dt <= n < stop/dt), else 0."""
    return Step(
        clean(amplitude, None if not isinstance(amplitude, str) else "pA", "step amplitude"),
        *_window(start, stop, "step"),
    )


def ramp(first, last, start, stop) -> Drive:
    """Linear from `first` at `start` to `last` at `stop` (ms), constant outside."""
    return Ramp(clean(first, None, "ramp first"), clean(last, None, "ramp last"), *_window(start, stop, "ramp"))


def sine(amplitude, frequency, phase=0.0, offset=0.0) -> Drive:
    """offset + amplitude sin(2 pi frequency t + phase); frequency in Hz, phase in rad."""
    return Sine(
        clean(amplitude, None, "sine amplitude"),
        clean(frequency, "Hz", "sine frequency"),
        clean(phase, None, "sine phase"),
        clean(offset, None, "sine offset"),
    )


def array(values, every=None, hold=False) -> Drive:
    """Values over time, (time,) or (time, n).

    Args:
        values: one row per `every` ms (default: per step), piecewise constant.
        every: sampling interval in ms, a multiple of dt.
        hold: keep the last value when the run is longer; otherwise a longer run is an error.
    """
    values = values if isinstance(values, jax.Array) else np.asarray(values, float)
    return Array(values, None if every is None else float(clean(every, "ms", "array every")), bool(hold))


def ou_noise(mean, sd, tau, shared=False) -> Drive:
    """Ornstein-Uhlenbeck noise, updated exactly; starts in its stationary distribution.

    Args:
        mean, sd: of the stationary distribution, in the unit of the input.
        tau: correlation time in ms, > 0.
        shared: one process for all cells instead of independent ones.
    """
    tau = clean(tau, "ms", "ou_noise tau")
    if not isinstance(tau, jax.core.Tracer) and np.any(np.asarray(tau) <= 0):
        raise ParameterError(f"ou_noise tau = {np.min(tau):g} ms must be positive")
    return OUNoise(clean(mean, None, "ou_noise mean"), clean(sd, None, "ou_noise sd", low=0.0), tau, bool(shared))


def poisson(rate, n=1, start=0.0, stop=None, most=None) -> Drive:
    """Independent Poisson trains, one per target cell: the sum of `n` trains of `rate`.

    Args:
        rate: Hz, at least 0: a number, one per target, or a drive (inhomogeneous; negative values count as 0).
        n: number of superposed trains per target.
        start, stop: ms.
        most: upper bound of the rate in Hz; needed when the rate is a drive or traced.
    """
    start, stop = _window(start, stop, "poisson")
    if not isinstance(n, int | np.integer) or isinstance(n, bool) or n < 1:
        raise ParameterError(f"poisson: n = {n!r} trains; give a whole number of at least 1")
    if isinstance(rate, Drive):
        if most is None:
            raise ParameterError("poisson: the rate changes with time; say most=, its upper bound in Hz")
    else:
        rate = clean(rate, "Hz", "poisson rate", low=0.0)
        most = float(np.max(rate)) if most is None and not isinstance(rate, jax.core.Tracer) else most
    return Poisson(rate, int(n), start, stop, None if most is None else float(most))


def _times(times, what):
    times = np.asarray(clean(np.asarray(times, float), "ms", what, low=0.0), float).ravel()
    return times


def spike_train(times, strict=False) -> Drive:
    """The same spikes for every target cell, at `times` in ms (any order; a time off the grid is rounded with a warning)."""
    return SpikeTrains(times=_times(times, "spike times"), strict=strict)


def spike_trains(times, indices, strict=False) -> Drive:
    """Spikes of single cells: `times` in ms, `indices` of the target cells, of equal length, any order."""
    times, indices = _times(times, "spike times"), np.asarray(indices).ravel()
    if len(times) != len(indices):
        raise ParameterError(f"spike_trains: {len(times)} times but {len(indices)} indices; give one index per time")
    if len(indices) and (indices.dtype.kind not in "iu" or indices.min() < 0):
        raise ParameterError(
            f"spike_trains: indices must be whole numbers of at least 0, got {indices.dtype} from {indices.min()}"
        )
    return SpikeTrains(times=times, indices=indices, strict=strict)


def as_drive(given, n, steps, what) -> Drive:
    """What the user gave as an input: a drive, a number, one value per cell, values over time, or a list of drives."""
    if isinstance(given, Drive):
        return given
    if isinstance(given, list | tuple) and given and any(isinstance(g, Drive) for g in given):
        return Sum(tuple(as_drive(g, n, steps, what) for g in given))
    if isinstance(given, str):
        raise RunError(f"{what}: {given!r} is text; give a number or a drive such as bs.step(100.0, start=50.0)")
    shape = np.shape(given)
    if len(shape) == 2:
        return Array(given)
    if len(shape) == 1:
        if shape[0] == n == steps:
            raise RunError(
                f"{what}: {n} values could be one per cell or one per step; say bs.constant(...) or bs.array(...)"
            )
        if shape[0] == steps:
            return Array(given)
        if shape[0] != n:
            raise RunError(
                f"{what}: {shape[0]} values for {n} cells and {steps} steps; give a number, {n} or {steps} values"
            )
    if not isinstance(given, jax.core.Tracer):
        values = np.asarray(given, float)
        if not np.isfinite(values).all():
            raise RunError(f"{what} is not finite; give finite values")
    return Constant(given)


def with_leaf(given: Drive, name: str, value) -> Drive:
    """A copy of a drive with one of its values replaced."""
    return replace(given, **{name: value})
