"""Features of spike trains and their times, as functions of floats that gradients pass through.

A spike train is an array (steps, n) or (steps,) of 0 and 1, as `sim.run` returns under jax transformations; step k
(from 0) has time (k+1) dt. Counts and rates are linear in it. What is not (latency, intervals) is continued to numbers
between
0 and 1 as the expectation if each step spiked independently with probability s: a polynomial, linear in each s, that is
exact for 0 and 1. Its derivative with respect to a silent step is the change a spike there would make; the surrogate of
the spike carries it on to the voltage. Exact derivatives of spike times come from `crossing_times`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..errors import ParameterError
from ..grid import to_steps
from ..statistics import MS_PER_S
from .losses_checks import number, series, whole
from .losses_signal import low_pass, root


def spike_array(times, indices, n: int, steps: int, dt) -> np.ndarray:
    """Measured spikes as an array, to compare with simulated ones.

    Args:
        times: (n_spikes,) ms, rounded to whole steps. indices: (n_spikes,) the cell of each.
        n: cells. steps: steps of the run. dt: ms.

    Returns:
        (steps, n) counts as numpy float64: 1 for a spike, 2 where two fall into one step.

    Raises:
        ParameterError: a spike outside of the record or of the cells.

    Example:
        >>> spike_array([0.1, 0.3], [0, 1], n=2, steps=3, dt=0.1).tolist()
        [[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]]
    """
    dt, n, steps = number(dt, "ms", "dt"), whole(n, "n"), whole(steps, "steps")
    times, indices = np.atleast_1d(np.asarray(times, float)), np.atleast_1d(np.asarray(indices, int))
    if times.shape != indices.shape or times.ndim != 1:
        raise ParameterError(f"times {times.shape} and indices {indices.shape} must be flat and of one length")
    at = to_steps(times, dt)[0] - 1
    if bad := np.flatnonzero(~((at >= 0) & (at < steps) & (indices >= 0) & (indices < n))).tolist():
        raise ParameterError(
            f"spike {bad[0]} of cell {indices[bad[0]]} at {times[bad[0]]:g} ms lies outside of {n} cells or of the "
            f"record, which holds times from {dt:g} to {steps * dt:g} ms; select the spikes first, or shift their times"
        )
    out = np.zeros((steps, n))
    np.add.at(out, (at.astype(int), indices), 1.0)
    return out


def spike_count(spikes):
    """Number of spikes (n,) of an array (steps, n)."""
    return jnp.sum(series(spikes, "spikes"), axis=0)


def firing_rate(spikes, dt):
    """Mean firing rate (n,) in Hz of spikes (steps, n); dt in ms.

    Example:
        >>> float(firing_rate([0, 1, 0, 1], dt=1.0))
        500.0
    """
    spikes, dt = series(spikes, "spikes"), number(dt, "ms", "dt")
    return jnp.mean(spikes, axis=0) * (MS_PER_S / dt)


def smoothed_rate(spikes, dt, tau):
    """Firing rate over time (steps, n) in Hz: spikes through a causal exponential filter of time constant tau.

    Args:
        spikes: (steps, n). dt, tau: ms; as in `low_pass`. The rate of the population is the mean over cells.
    """
    return low_pass(series(spikes, "spikes"), dt, tau) * (MS_PER_S / number(dt, "ms", "dt"))


def first_spike_time(spikes, dt, silent=None):
    """Latency: time of the first spike of each cell.

    sum_k t_k s_k prod_(j<k) (1 - s_j) + silent prod_j (1 - s_j), t_k = (k+1) dt: the latency of a train of 0 and 1.

    Args:
        spikes: (steps, n). dt: ms.
        silent: latency in ms of a cell without spikes; default (steps + 1) dt, one step after the end, so that a spike
            in any step comes earlier. The derivative of a silent cell is t_k - silent: it pulls towards a spike.

    Returns:
        (n,) ms.

    Example:
        >>> first_spike_time([[0, 0], [1, 0], [1, 0]], dt=1.0).tolist()
        [2.0, 4.0]
    """
    spikes, dt = series(spikes, "spikes"), number(dt, "ms", "dt")
    late = spikes.shape[0] + 1 if silent is None else number(silent, "ms", "silent") / dt

    def step(latency, now):  # Horner's scheme, from the last step to the first
        s, k = now
        return s * k + (1.0 - s) * latency, None

    numbers = jnp.arange(1, spikes.shape[0] + 1, dtype=spikes.dtype)
    start = jnp.full(spikes.shape[1:], late, spikes.dtype)
    return jax.lax.scan(step, start, (spikes, numbers), reverse=True)[0] * dt


def _interval_moments(spikes):
    """Sums over the spikes before each step, of the chance that one was the last times (elapsed steps)^0, ^1, ^2.

    Returns three arrays (steps, n) as one.
    """

    def step(carry, s):
        zeroth, first, second = carry
        silent = 1.0 - s
        after = (silent * zeroth + s, silent * (first + zeroth) + s, silent * (second + 2.0 * first + zeroth) + s)
        return after, jnp.stack(carry)

    zero = jnp.zeros(spikes.shape[1:], spikes.dtype)
    return jnp.moveaxis(jax.lax.scan(step, (zero, zero, zero), spikes)[1], 1, 0)


def _checked_fill(empty):
    return number(empty, None, "empty", above=None, infinite=True)


def isi_mean(spikes, dt, empty=jnp.nan):
    """Mean inter-spike interval of each cell.

    Args:
        spikes: (steps, n). dt: ms.
        empty: value in ms of a cell without an interval (fewer than two spikes); its derivative is 0. The default, nan,
            is meant to be noticed: give a number in a loss, and beside it a loss that makes silent cells fire.

    Returns:
        (n,) ms: sum of intervals / number of intervals, both expectations as the module says.

    Example:
        >>> float(isi_mean([1, 0, 1, 0, 0, 0, 1], dt=1.0))
        3.0
    """
    spikes, dt = series(spikes, "spikes"), number(dt, "ms", "dt")
    zeroth, first, _ = _interval_moments(spikes)
    count, total = jnp.sum(spikes * zeroth, axis=0), jnp.sum(spikes * first, axis=0)
    some = count > 0
    return jnp.where(some, total / jnp.where(some, count, 1.0) * dt, _checked_fill(empty))


def isi_cv(spikes, empty=jnp.nan):
    """Coefficient of variation of the inter-spike intervals of each cell: 0 for a clock, 1 for a Poisson process.

    Args:
        spikes: (steps, n).
        empty: value for a cell with one interval or none (fewer than three spikes), as in `isi_mean`.

    Returns:
        (n,) sd(ISI) / mean(ISI), the standard deviation divided by the number of intervals, as in `bs.statistics.cv`.
        At CV = 0, where the derivative is infinite, it is set to 0.
    """
    spikes = series(spikes, "spikes")
    zeroth, first, second = _interval_moments(spikes)
    count, total = jnp.sum(spikes * zeroth, axis=0), jnp.sum(spikes * first, axis=0)
    some = count > 1
    count = jnp.where(some, count, 1.0)
    mean = jnp.where(some, total / count, 1.0)
    # About a whole number near the mean the squares are whole: float32 loses nothing up to 4096 steps.
    near = jax.lax.stop_gradient(jnp.round(mean))
    centred = second - 2.0 * near[None] * first + near[None] ** 2 * zeroth
    variance = jnp.sum(spikes * centred, axis=0) / count - (mean - near) ** 2
    return jnp.where(some, root(variance) / mean, _checked_fill(empty))


class Crossings(NamedTuple):
    """Upward crossings of a threshold, from `crossing_times`.

    Attributes:
        times: (most, ...) ms, in order; nan where there are fewer.
        found: (most, ...) bool, which of them exist.
        count: (...) how many there are in the trace. Where it exceeds `most`, the later ones are not in `times`.
    """

    times: jax.Array
    found: jax.Array
    count: jax.Array


def crossing_times(v, threshold, dt, most: int, start=None) -> Crossings:
    """Times at which a voltage crosses a threshold upwards, by linear interpolation between two samples.

    t = t_k + dt (threshold - v_k) / (v_(k+1) - v_k) where v_k < threshold <= v_(k+1). Its derivative is exact for the
    interpolated trace: a shift of the voltage moves the time by -1/v', a shift of the threshold by 1/v'. For models
    whose recorded voltage passes the threshold (Hodgkin-Huxley type); one that is reset within the step never shows a
    crossing.

    Args:
        v: (steps,) or (steps, n) mV, every step. threshold: mV, may be traced. dt: ms.
        most: size of the result, the largest number of crossings to return.
        start: time of the first sample in ms; default dt, as in a recorded trace.

    Returns:
        `Crossings`. The derivative of a crossing that is not found is 0; mask with `found` before comparing times.

    Raises:
        ParameterError: v has fewer than 2 steps or more than two axes, or most is not a whole number of at least 1.

    Example:
        >>> crossing_times([-1.0, 3.0, -1.0, 1.0], 0.0, dt=1.0, most=2).times.tolist()
        [1.25, 3.5]
    """
    v, dt, most = series(v, "v", 2), number(dt, "ms", "dt"), whole(most, "most")
    threshold = number(threshold, "mV", "threshold", above=None)
    start = dt if start is None else number(start, "ms", "start", above=None)
    if v.ndim == 1:
        return _crossings(v, threshold, dt, start, most)
    if v.ndim > 2:
        raise ParameterError(f"v has shape {v.shape}; give (steps,) or (steps, n), and use jax.vmap for more axes")
    if np.ndim(threshold):
        raise ParameterError(f"threshold has shape {np.shape(threshold)}; give one number, and use jax.vmap for more")
    return jax.vmap(lambda one: _crossings(one, threshold, dt, start, most), 1, -1)(v)


def _crossings(v, threshold, dt, start, most):
    up = (v[:-1] < threshold) & (v[1:] >= threshold)
    count = jnp.sum(up)
    (at,) = jnp.nonzero(up, size=most, fill_value=0)
    found = jnp.arange(most) < count
    before, rise = v[at], v[at + 1] - v[at]
    part = (threshold - before) / jnp.where(found, rise, 1.0)
    return Crossings(jnp.where(found, start + (at + part) * dt, jnp.nan), found, count)
