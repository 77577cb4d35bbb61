"""Losses of spike trains: rates, van Rossum distance, classification, and the Victor-Purpura metric.

Spike trains are arrays (steps, n), as in `losses_spikes`.
"""

import jax
import jax.numpy as jnp
import numpy as np

from ..errors import ParameterError
from ..units import to_canonical
from .losses_checks import alike, floats, known, number, per_cell, series
from .losses_signal import decay, exponential_filter
from .losses_spikes import firing_rate, spike_count


def _rates(spikes, dt, per):
    rate = firing_rate(spikes, dt)
    if per == "cell":
        return rate
    if per == "population":
        return jnp.mean(rate)
    raise ParameterError(f"per = {per!r} is not known; write per='cell' or per='population'")


def rate_residual(spikes, dt, target, per: str = "cell", relative: bool = False):
    """Firing rate minus target, as a vector for least squares.

    Args:
        spikes: (steps, n). dt: ms.
        target: Hz (text such as "5 Hz" too), one number or, per cell, (n,).
        per: "cell", or "population" for the mean rate over cells.
        relative: divide by the target, which must then be positive.

    Returns:
        (n,), or (1,) of the population; Hz, or dimensionless if relative.

    Raises:
        ParameterError: target is negative, of another number of cells, or 0 where it divides.
    """
    rate = _rates(spikes, dt, per)
    target = number(target, "Hz", "target", least=None if relative else 0.0)
    if np.ndim(target) and np.shape(target) != rate.shape:
        raise ParameterError(
            f"target has shape {np.shape(target)}, but there are rates of shape {rate.shape} (per={per!r}); give one "
            f"number" + (f", or one for each of {rate.size} cells" if per == "cell" else "")
        )
    target = jnp.asarray(target, rate.dtype)
    return jnp.ravel((rate - target) / target if relative else rate - target)


def rate_loss(spikes, dt, target, per: str = "cell", relative: bool = False):
    """Mean squared error of the firing rate, Hz^2 or relative: mean of `rate_residual` squared. Arguments as there."""
    return jnp.mean(rate_residual(spikes, dt, target, per, relative) ** 2)


def rate_regulariser(spikes, dt, lower=None, upper=None, per: str = "cell"):
    """Penalty on rates outside of a range: mean of max(0, lower - r)^2 + max(0, r - upper)^2, in Hz^2.

    Args:
        spikes: (steps, n). dt: ms. lower, upper: Hz, one number or (n,); None for no limit. per: as in `rate_residual`.

    Raises:
        ParameterError: neither limit is given, or lower exceeds upper.
    """
    if lower is None and upper is None:
        raise ParameterError("rate_regulariser got neither limit, so it would be 0 always; give lower=, upper= or both")
    rate = _rates(spikes, dt, per)
    low, high = (
        None if x is None else number(x, "Hz", name, least=0.0) for x, name in ((lower, "lower"), (upper, "upper"))
    )
    both = low is not None and high is not None and known(low) and known(high)
    if both and np.any(np.asarray(low) > np.asarray(high)):
        raise ParameterError(f"lower = {lower!r} exceeds upper = {upper!r}, so no rate is free of penalty; swap them")
    below = 0.0 if low is None else jax.nn.relu(per_cell(low, rate.shape, rate.dtype, "lower") - rate)
    beyond = 0.0 if high is None else jax.nn.relu(rate - per_cell(high, rate.shape, rate.dtype, "upper"))
    return jnp.mean(below**2 + beyond**2)


def van_rossum(spikes, data, dt, tau):
    """Squared van Rossum distance of two sets of spike trains, mean over cells.

    D^2 = 1/tau int_0^inf (f - g)^2 dt, where f and g are the trains convolved with exp(-t/tau) for t >= 0 (van Rossum
    2001, https://doi.org/10.1162/089976601300014321). The integral is exact for spikes on the grid, with the tail
    after the last step: D^2 is 1/2 for one spike against none and 1 - exp(-|t1 - t2|/tau) for one against one.

    Args:
        spikes: simulated, (steps, n) or (steps,). data: measured, same shape; see `spike_array`.
        dt: ms. tau: time constant in ms, one number or (n,). Short ones count coincidences, long ones compare counts.

    Returns:
        A number, dimensionless.

    Raises:
        ParameterError: another number of steps or cells; dt or tau is not positive.

    Example:
        >>> round(float(van_rossum([1, 0, 0], [0, 0, 1], dt=1.0, tau="2 ms")), 4)  # 1 - 1/e
        0.6321
    """
    spikes, data = alike(spikes, data, ("spikes", "data"))
    a, rest = decay(spikes, dt, tau)
    square = exponential_filter(spikes - data, a) ** 2
    # a step of the decaying difference holds (1 - a^2)/2 of its square; the last decays for ever
    return jnp.mean(0.5 * (rest * (1.0 + a) * jnp.sum(square[:-1], axis=0) + square[-1]))


def spike_count_cross_entropy(spikes, label, scale=1.0):
    """Cross-entropy of the softmax of spike counts: the class whose cell fires most.

    Args:
        spikes: (steps, classes), or (steps, trials, classes). label: the class, a whole number or (trials,) of them, or
            probabilities (classes,) or (trials, classes). scale: logits are scale times counts.

    Returns:
        Mean over trials of -log p(label), in nats.

    Raises:
        ParameterError: no such class, another number of trials or classes, or scale is not positive.
    """
    counts = spike_count(spikes)
    return _cross_entropy(number(scale, None, "scale") * counts, label)


def max_over_time_cross_entropy(v, label, scale=1.0):
    """Cross-entropy of the softmax of the largest value over time, for readouts that do not spike.

    Cramer et al. 2022, https://doi.org/10.1109/TNNLS.2020.3044364. v: (steps, classes) or (steps, trials, classes);
    scale: logits are scale times the maximum (1/mV for a voltage); the rest as in `spike_count_cross_entropy`.
    """
    return _cross_entropy(number(scale, None, "scale") * jnp.max(series(v, "v"), axis=0), label)


def first_spike_cross_entropy(times, label, tau):
    """Time-to-first-spike cross-entropy: the class whose cell fires first, p = softmax(-t/tau).

    Mostafa 2018, https://doi.org/10.1109/TNNLS.2017.2726060; Goeltz et al. 2021,
    https://doi.org/10.1038/s42256-021-00388-x.

    Args:
        times: (classes,) or (trials, classes) ms, finite also for silent cells: from `first_spike_time`, or exact ones.
        label: as in `spike_count_cross_entropy`. tau: ms, the lead that counts.

    Returns:
        Mean over trials of -log p(label), in nats.

    Raises:
        ParameterError: times that are known are not finite; tau is not positive; or label does not fit.

    Example:
        >>> round(float(first_spike_cross_entropy([5.0, 15.0], 0, tau="5 ms")), 4)  # log(1 + exp(-2))
        0.1269
    """
    times = floats(times, "times", data=True)
    return _cross_entropy(-times / number(tau, "ms", "tau"), label)


def _cross_entropy(logits, label):
    if logits.ndim < 1 or logits.shape[-1] < 2:
        raise ParameterError(f"classes are the last axis, which is missing or single in {logits.shape}; give 2 or more")
    logs, raw, label = jax.nn.log_softmax(logits, axis=-1), label, jnp.asarray(label)
    if label.shape == logits.shape:
        total = np.asarray(raw).sum(-1) if known(raw) else 1.0
        if not np.allclose(total, 1.0, atol=1e-3):
            raise ParameterError(f"label has the shape of probabilities, which sum to {total}; they must sum to 1")
        return -jnp.mean(jnp.sum(label.astype(logs.dtype) * logs, axis=-1))
    if label.shape != logits.shape[:-1] or not jnp.issubdtype(label.dtype, jnp.integer):
        raise ParameterError(
            f"label of shape {label.shape} and type {label.dtype} does not fit classes of shape {logits.shape}; give "
            f"whole numbers of shape {logits.shape[:-1]}, or probabilities of shape {logits.shape}"
        )
    if known(raw) and not ((np.asarray(raw) >= 0) & (np.asarray(raw) < logits.shape[-1])).all():
        raise ParameterError(f"label = {raw} is no class: they go from 0 to {logits.shape[-1] - 1}; renumber them")
    return -jnp.mean(jnp.take_along_axis(logs, label[..., None], axis=-1))


def victor_purpura(times, data, q) -> float:
    """Victor-Purpura distance of two spike trains: the least cost of making one from the other. A metric, in NumPy.

    Adding or removing a spike costs 1, shifting it by t costs q t (Victor & Purpura 1996,
    https://doi.org/10.1152/jn.1996.76.2.1310). q = 0 gives the difference of counts, a large q the number of spikes
    that do not coincide. It has no derivative to descend: use `van_rossum` in a loss, this one to judge the fit.

    Args:
        times, data: (n,), (m,) ms. q: cost of a shift, 1/ms (text such as "0.1/ms" or "50 Hz" too), 0 or more.

    Raises:
        ParameterError: inside a jax transformation; times that are not flat and finite; a negative q.

    Example:
        >>> victor_purpura([10.0, 30.0], [12.0], q=0.1)
        1.2
    """
    if not all(map(known, (times, data, q))):
        raise ParameterError(
            "victor_purpura is a metric in NumPy and cannot be traced by jax; use bs.losses.van_rossum in a loss, and "
            "call this after the fit"
        )
    a, b = (np.sort(np.asarray(to_canonical(x, "ms", name), float)) for x, name in ((times, "times"), (data, "data")))
    if a.ndim != 1 or b.ndim != 1:
        raise ParameterError(
            f"spike times have shapes {a.shape} and {b.shape}; give those of one cell each, (n,) and (m,)"
        )
    q = float(number(q, "1/ms", "q", least=0.0))
    places = np.arange(len(b) + 1.0)
    cost = places
    for i, t in enumerate(a, 1):
        without = np.concatenate([[i], np.minimum(cost[1:] + 1.0, cost[:-1] + q * np.abs(t - b))])
        cost = places + np.minimum.accumulate(without - places)  # adding spikes of b one after the other
    return float(cost[-1])
