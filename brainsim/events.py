"""Drives that yield numbers of spikes: connect them like a population, or give them to a `SpikeSource` as `spikes`."""

from dataclasses import replace
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from .declare import Param
from .drive import FOREVER, Drive, check_cells, clean, drive, static, step_of, window
from .errors import ParameterError, RunError, warn
from .grid import to_steps

FEWEST, SHORTEST = 4, 64  # spikes of one step, and in all, that a program of given spikes is made for


@drive
class Poisson(Drive):
    rate: Any
    n: int = static(1)
    start: float = static(0.0)
    stop: float | None = static(None)
    most: float | None = static(None)
    events: ClassVar[bool] = True
    label: ClassVar[str] = "poisson"
    parameters: ClassVar[dict] = {"rate": Param(0.0, "Hz", (0, None), closed=True)}

    def check(self, n, dt, first, steps, what):
        if isinstance(self.rate, Drive):
            self.rate.check(n, dt, first, steps, f"{what}.rate")
        else:
            check_cells(self.rate, n, f"{what}.rate")

    def prepare(self, dt, what):
        return replace(self, rate=self.rate.prepare(dt, what)) if isinstance(self.rate, Drive) else self

    def with_parameter(self, name, value):
        made = replace(self, **{name: value})
        if isinstance(value, jax.core.Tracer):
            return made
        most = float(np.max(np.asarray(value), initial=0.0))
        # a power of two, so that a slowly growing rate is not compiled again and again
        return made if most <= (self.most or 0.0) * (1 + 1e-5) else replace(made, most=2.0 ** np.ceil(np.log2(most)))

    def begin(self, n, dtype):
        return self.rate.begin(n, dtype) if isinstance(self.rate, Drive) else ()

    def value(self, step, dt, n, key, carry):
        from .ops import random

        rate, most = self.rate, self._bound()
        if isinstance(rate, Drive):
            rate, carry = rate.value(step, dt, n, key ^ jnp.uint32(0x5BD1E995), carry)
            rate = jnp.maximum(rate, 0.0)
        on = (step >= step_of(self.start, dt)) & (step < step_of(self.stop, dt))
        rate = jax.lax.stop_gradient(jnp.asarray(rate, jnp.float32))
        expected = 1e-3 * dt * self.n  # counts per Hz
        counts = random.poisson(key, step, rate * expected, n, most=most * expected)
        # no count is negative: -1 says that the generator cannot serve the rate
        wrong = (rate > most) | (counts < 0)
        return jnp.where(wrong, jnp.nan, jnp.where(on, counts, 0).astype(jnp.result_type(float))), carry

    def _bound(self):
        """The largest rate, which must be known before compiling; rounding of a rate is no excess."""
        if self.most is None:
            raise RunError("poisson: the rate is traced or changes with time; say most=, its upper bound in Hz")
        return self.most * (1 + 1e-5)


@drive
class SpikeTrains(Drive):
    """Given spikes: `steps` sorted, `cells` None for the same spikes to all; made by `prepare` from times in ms.

    Both are filled up to a power of two, at steps that never come, and so is `most`, the spikes of one step: other
    spikes are mostly other values of one program.
    """

    times: Any = None
    indices: Any = None
    steps: Any = None
    cells: Any = None
    most: int = static(0)
    strict: bool = static(False)
    events: ClassVar[bool] = True
    label: ClassVar[str] = "spikes"

    def prepare(self, dt, what):
        if isinstance(self.times, jax.core.Tracer):
            raise RunError(
                f"{what}: spike times are traced, but a run in steps must know their steps; take them out of the "
                f"transformation, or run with adjoint=bs.EventGrad(...)"
            )
        steps, off = to_steps(self.times, dt)
        if len(steps) and steps.max() >= FOREVER:
            raise RunError(
                f"{what}: a spike at {self.times.max():g} ms is at step {steps.max():.4g}; there are {FOREVER - 1} "
                f"steps of {dt:g} ms"
            )
        if off.any():
            shift = np.abs(self.times - steps * dt).max()
            text = f"{what}: {off.sum()} spike times are off the grid of dt = {dt:g} ms, moved by up to {shift:.3g} ms"
            if self.strict:
                raise RunError(f"{text}; round them, choose a dt that fits, or say strict=False")
            warn(text)
        order = np.argsort(steps, kind="stable")
        steps = steps[order].astype(np.int32)
        most = _power(np.unique(steps, return_counts=True)[1].max(initial=0), FEWEST)
        rest, cells = _power(len(steps) + most, SHORTEST) - len(steps), self.indices
        if cells is not None:
            cells = np.append(cells[order].astype(np.int32), np.zeros(rest, np.int32))
        steps = np.append(steps, np.full(rest, FOREVER, np.int32))
        return SpikeTrains(steps=steps, cells=cells, most=most, strict=self.strict)

    @property
    def n(self) -> int:
        """Number of spikes, once they are prepared."""
        return int(np.searchsorted(self.steps, FOREVER))

    def check(self, n, dt, first, steps, what):
        indices = self.cells if self.indices is None else self.indices
        if indices is not None and len(indices) and indices.max() >= n:
            bad = int(np.argmax(indices >= n))
            raise RunError(f"{what}: spike {bad} is of cell {indices[bad]}, but there are {n} cells (0..{n - 1})")

    def value(self, step, dt, n, key, carry):
        real = jnp.result_type(float)
        steps = jnp.asarray(self.steps)
        rows = jnp.searchsorted(steps, step, side="left") + jnp.arange(self.most)
        hit = (steps[rows] == step).astype(real)
        if self.cells is None:
            return jnp.full((n,), jnp.sum(hit)), carry
        return jnp.zeros((n,), real).at[jnp.asarray(self.cells)[rows]].add(hit), carry


def _power(n, least) -> int:
    """The power of two that is at least n, from `least` on."""
    return max(least, 1 << max(0, int(n) - 1).bit_length())


def has_bound(drive) -> bool:
    """Whether a drive makes nan where its rate, which changes with time, is above the bound that the user gave."""
    return isinstance(drive, Poisson) and isinstance(drive.rate, Drive)


def poisson(rate, n=1, start=0.0, stop=None, most=None) -> Drive:
    """Independent Poisson trains, one per target cell: the sum of `n` trains of `rate`.

    Args:
        rate: Hz, at least 0: a number, one per target, or a drive (inhomogeneous; negative values count as 0).
        n: number of superposed trains per target.
        start, stop: ms.
        most: upper bound of the rate in Hz; needed when the rate is a drive or traced. Where the rate is higher, the
            numbers of spikes are nan, and the run ends with an error.
    """
    span = window(start, stop, "poisson")
    if not isinstance(n, int | np.integer) or isinstance(n, bool) or n < 1:
        raise ParameterError(f"poisson: n = {n!r} trains; give a whole number of at least 1")
    if isinstance(rate, Drive):
        if rate.events:
            raise ParameterError(
                f"poisson: the rate is {type(rate).__name__}, which yields spikes; give a drive of values in Hz"
            )
        if most is None:
            raise ParameterError("poisson: the rate changes with time; say most=, its upper bound in Hz")
        rate = rate.in_unit("Hz", "poisson rate")
    else:
        rate = clean(rate, "Hz", "poisson rate", low=0.0)
        most = float(np.max(rate)) if most is None and not isinstance(rate, jax.core.Tracer) else most
    most = None if most is None else float(clean(most, "Hz", "poisson most", low=0.0))
    if most is not None and not isinstance(rate, Drive | jax.core.Tracer) and np.max(rate) > most:
        raise ParameterError(f"poisson: the rate {np.max(rate):g} Hz is above most = {most:g} Hz; leave most= out")
    return Poisson(rate, int(n), **span, most=most)


def _times(times, what):
    times = clean(times, "ms", what, low=0.0)
    return jnp.ravel(times) if isinstance(times, jax.core.Tracer) else np.asarray(times, float).ravel()


def spike_train(times, strict=False) -> Drive:
    """The same spikes for every target cell, at `times` in ms, in any order.

    A time off the grid is rounded with a warning, or an error with `strict=True`.
    """
    return SpikeTrains(times=_times(times, "spike times"), strict=bool(strict))


def spike_trains(times, indices, strict=False) -> Drive:
    """Spikes of single cells: `times` in ms, `indices` of the target cells, of equal length, any order.

    Under `bs.EventGrad` times may be traced, and have a derivative; inf is no spike.
    """
    times, indices = _times(times, "spike times"), np.asarray(indices).ravel()
    if len(times) != len(indices):
        raise ParameterError(f"spike_trains: {len(times)} times but {len(indices)} indices; give one index per time")
    indices = indices if len(indices) else indices.astype(int)
    if len(indices) and (indices.dtype.kind not in "iu" or indices.min() < 0):
        raise ParameterError(
            f"spike_trains: indices must be whole numbers of at least 0, got {indices.dtype} from {indices.min()}"
        )
    return SpikeTrains(times=times, indices=indices, strict=bool(strict))
