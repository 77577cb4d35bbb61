"""Inputs with values over time or a state: arrays, noise, pulls towards data; and what a user may write as an input."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from .drive import Constant, Drive, Sum, check_cells, clean, drive, stated, static, window
from .errors import ParameterError, RunError
from .grid import to_steps
from .units import has_unit, to_canonical


@drive
class Array(Drive):
    values: Any
    every: float | None = static(None)
    hold: bool = static(False)
    start: float = static(0.0)
    units: tuple = static(())

    def check(self, n, dt, first, steps, what):
        shape = np.shape(self.values)
        if len(shape) not in (1, 2) or (len(shape) == 2 and shape[1] != n):
            raise RunError(f"{what}: values over time have shape {shape}; give (time,) or (time, {n})")
        if not shape[0]:
            raise RunError(f"{what}: there are no values over time; give at least one")
        if not isinstance(self.values, jax.core.Tracer) and not np.isfinite(np.asarray(self.values)).all():
            bad = np.argwhere(~np.isfinite(np.asarray(self.values)))[0]
            raise RunError(f"{what}: value {tuple(int(i) for i in bad)} over time is not finite")
        stride, begin = self._stride(dt), self._begin(dt)
        if (first + steps - 1 - begin) // stride >= shape[0] and not self.hold:
            have, need = (begin + shape[0] * stride) * dt, (first + steps) * dt
            raise RunError(
                f"{what}: the values cover {have:g} ms but the run ends at {need:g} ms; give more values, or hold=True "
                f"to keep the last one"
            )

    def _stride(self, dt):
        every = dt if self.every is None else self.every
        stride, off = to_steps(every, dt)
        if off or stride < 1:
            raise RunError(f"array(every={every:g}) is not a multiple of dt = {dt:g} ms; resample the values")
        return int(stride)

    def _begin(self, dt):
        begin, off = to_steps(self.start, dt)
        if off:
            raise RunError(
                f"array(start={self.start:g}) is not a multiple of dt = {dt:g} ms; write start={int(begin) * dt:g}"
            )
        return int(begin)

    def value(self, step, dt, n, key, carry):
        begin = self._begin(dt)
        row = jnp.clip((step - begin) // self._stride(dt), 0, np.shape(self.values)[0] - 1)
        value = jax.lax.dynamic_index_in_dim(jnp.asarray(self.values), row, keepdims=False)
        return (jnp.where(step < begin, jnp.zeros_like(value), value) if begin else value), carry


@drive
class OUNoise(Drive):
    mean: Any
    sd: Any
    tau: Any
    shared: bool = static(False)
    units: tuple = static(())

    def check(self, n, dt, first, steps, what):
        for value in (self.mean, self.sd, self.tau):
            check_cells(value, n, what)

    def begin(self, n, dtype):
        return {"x": jnp.zeros((1 if self.shared else n,), dtype), "begun": jnp.zeros((), bool)}

    def value(self, step, dt, n, key, carry):
        from .ops import random

        xi = random.normal(key, step, 1 if self.shared else n).astype(carry["x"].dtype)
        ratio = dt / jnp.asarray(self.tau, carry["x"].dtype)
        # exact update of the stationary process; the first value is drawn from its distribution
        moved = jnp.exp(-ratio) * carry["x"] + jnp.sqrt(-jnp.expm1(-2.0 * ratio)) * xi
        x = jnp.where(carry["begun"], moved, xi)
        return self.mean + self.sd * (x[0] if self.shared else x), {"x": x, "begun": jnp.ones((), bool)}


@drive
class Nudge(Drive):
    """Pulls a state towards values over time; its value is (2, n): rates and values."""

    label: ClassVar[str] = "nudge"
    values: Any
    rate: Any
    units: tuple = static(())

    def check(self, n, dt, first, steps, what):
        if np.ndim(self.values):
            Array(self.values).check(n, dt, first, steps, what)
        check_cells(self.rate, n, what)

    def value(self, step, dt, n, key, carry):
        now = Array(self.values).value(step, dt, n, key, carry)[0] if np.ndim(self.values) else self.values
        rate = jnp.broadcast_to(jnp.asarray(self.rate, jnp.result_type(float)), (n,))
        return jnp.stack([rate, jnp.broadcast_to(now, (n,)).astype(rate.dtype)]), carry


def array(values, every=None, hold=False, start=0.0) -> Drive:
    """Values over time, (time,) or (time, n).

    Args:
        values: one row per `every` ms (default: per step), piecewise constant.
        every: sampling interval in ms, a multiple of dt.
        hold: keep the last value when the run is longer; otherwise a longer run is an error.
        start: ms, a multiple of dt: when the first value begins, in the time of the simulation; 0 before.

    Raises:
        ParameterError: every or start is no time, or start is negative.
    """
    units = ()
    if has_unit(values):
        values, units = stated("array", values=values).values()
    values = values if isinstance(values, jax.Array) else np.asarray(values, float)
    every = None if every is None else float(clean(every, "ms", "array every"))
    return Array(values, every, bool(hold), window(start, None, "array")["start"], units)


def nudge(values, rate) -> Drive:
    """Pulls a state towards values: `inputs={"hh.v": bs.nudge(v_data, 1.0)}`.

    Equation, after each step: state += (value - state) (1 - exp(-rate dt)); this is the term rate (value - state) in
    the equation of the state, split off. So a rate of 0 changes no bit, and with a large one the state is clamped to
    the values. In a fit the rate is annealed to 0, so that a model which would run away from the data is led along them
    (nudging of data assimilation; Abarbanel et al. 2009, 10.1137/080718450).

    Args:
        values: in the unit of the state: a number, or values over time, (time,) or (time, n); the value of a step is
            that at its end, as a recorded trace has it.
        rate: in 1/ms, at least 0.
    """
    values, units = stated("nudge", values=values).values()
    values = values if isinstance(values, jax.Array) else np.asarray(values, float)
    return Nudge(values, clean(rate, "1/ms", "nudge rate", low=0.0), units)


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
    return OUNoise(tau=tau, shared=bool(shared), **stated("ou_noise", {"sd": 0.0}, mean=mean, sd=sd))


def as_drive(given, n, steps, unit, what) -> Drive:
    """What the user gave as an input: a drive, a number, one value per cell, values over time, or a list of drives.

    Args:
        n: number of cells. steps: of the run. unit: of the input.
    """
    if isinstance(given, Drive):
        return given.in_unit(unit, what)
    if isinstance(given, list | tuple) and given and any(isinstance(g, Drive) for g in given):
        return Sum(tuple(as_drive(g, n, steps, unit, what) for g in given))
    if has_unit(given):
        given = to_canonical(given, unit, what)
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
        try:
            values = np.asarray(given, float)
        except (TypeError, ValueError):
            values = np.asarray(None)
        if values.dtype.kind != "f" or given is None:
            raise RunError(f"{what} is {given!r:.60}; give a number, values over time, or a drive such as bs.step(...)")
        if not np.isfinite(values).all():
            raise RunError(f"{what} is not finite; give finite values")
        given = given if isinstance(given, jax.Array) else values
    return Constant(given)
