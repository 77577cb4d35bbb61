"""Losses of many signals at once: synchrony, spectra, functional connectivity and its dynamics, distributions.

Signals have time as their first axis: (steps,) or (steps, n).
"""

import jax
import jax.numpy as jnp
import numpy as np

from ..errors import ParameterError
from ..statistics import MS_PER_S
from .losses_checks import floats, number, plain, series, steps_of
from .losses_signal import root


def synchrony(x):
    """Synchrony of a population: chi = sqrt(var_t(mean_i x_i) / mean_i var_t(x_i)).

    1 where all cells follow one course, about 1/sqrt(n) where they are independent (Golomb & Rinzel 1994,
    https://doi.org/10.1016/0167-2789(94)90214-3).

    Args:
        x: (steps, n) voltages, or rates over time (`smoothed_rate`).

    Returns:
        A number; nan if no cell ever varies. At chi = 0, where the derivative is infinite, it is set to 0.

    Raises:
        ParameterError: x has not two axes, or a single step.
    """
    x = _cells(x, 1)
    return root(jnp.var(jnp.mean(x, axis=1)) / jnp.mean(jnp.var(x, axis=0)))


def _cells(x, least, what="x"):
    x = series(x, what, 2)
    if x.ndim != 2 or x.shape[1] < least:
        raise ParameterError(f"{what} has shape {x.shape}; give (steps, n) with n of at least {least}")
    return x


def psd(x, dt, segment=None):
    """Power spectral density by Welch's method: Hann windows, half overlapping, mean of each removed, one-sided.

    Welch 1967, https://doi.org/10.1109/TAU.1967.1161901. What `bs.statistics.psd` gives, differentiable.

    Args:
        x: (steps, ...). dt: time between samples in ms.
        segment: length of a window in ms, rounded to whole samples (resolution 1000/segment Hz); default the whole
            signal, at most 512 samples.

    Returns:
        frequencies (m,) in Hz and density (m, ...) in unit(x)^2/Hz; its integral is the variance of the signal.

    Raises:
        ParameterError: fewer than 2 samples in a window, or a window longer than the signal.
    """
    x = series(x, "x", 2)
    frequencies, power = _welch(x, dt, segment)
    return jnp.asarray(frequencies, x.dtype), power


def _welch(x, dt, segment):
    dt, length = plain(dt, "ms", "dt"), min(x.shape[0], 512)
    if segment is not None:
        length = round(plain(segment, "ms", "segment") / dt)
    if not 2 <= length <= x.shape[0]:
        raise ParameterError(
            f"segment = {segment} is {length} samples of {dt:g} ms, but a window needs 2 to {x.shape[0]}, the whole "
            f"signal; write segment={x.shape[0] * dt:g} or less"
        )
    hann = np.sin(np.pi * np.arange(length) / length) ** 2
    sides = np.full(length // 2 + 1, 2.0)
    sides[0] = 1.0
    if length % 2 == 0:
        sides[-1] = 1.0
    per_axis = [1] * (x.ndim - 1)
    starts = np.arange(0, x.shape[0] - length + 1, length - length // 2)
    pieces = x[starts[:, None] + np.arange(length)]
    pieces = pieces - jnp.mean(pieces, axis=1, keepdims=True)
    spectrum = jnp.fft.rfft(pieces * jnp.asarray(hann, x.dtype).reshape(1, -1, *per_axis), axis=1)
    power = jnp.mean(spectrum.real**2 + spectrum.imag**2, axis=0)
    scale = jnp.asarray(sides * (dt / MS_PER_S / np.sum(hann**2)), x.dtype)
    return np.fft.rfftfreq(length, dt / MS_PER_S), power * scale.reshape(-1, *per_axis)


def psd_residual(x, data, dt, segment=None, band=None, floor: float = 1e-9):
    """Difference of log10 power spectra, as a vector for least squares.

    Args:
        x: simulated, (steps, ...). data: measured at the same dt, same cells; another length is allowed.
        dt, segment: as in `psd`. band: (lowest, highest) frequency in Hz; default all above 0, which holds no power.
        floor: added to both spectra, as a part of the largest power of the data: what is far below counts little.

    Returns:
        (frequencies x cells,), decades.

    Raises:
        ParameterError: the spectra have different frequencies or cells, no frequency is in the band, or as in `psd`.
    """
    frequencies, power = _welch(series(x, "x", 2), dt, segment)
    _, wanted = _welch(series(data, "data", 2, data=True), dt, segment)
    if power.shape != wanted.shape:
        raise ParameterError(
            f"the spectra have shapes {power.shape} and {wanted.shape}: data have other cells, or windows of another "
            f"length; give segment= in ms, at most the length of the shorter signal"
        )
    low, high = (0.0, np.inf) if band is None else (number(f, "Hz", "band", least=0.0, infinite=True) for f in band)
    kept = np.flatnonzero((frequencies > 0) & (frequencies >= low) & (frequencies <= high))
    if not kept.size:
        raise ParameterError(
            f"band = {band} Hz holds none of the {len(frequencies)} frequencies, which are {frequencies[1]:g} Hz apart "
            f"up to {frequencies[-1]:g} Hz; widen it, or write a longer segment"
        )
    wanted = wanted.astype(power.dtype)
    small = number(floor, None, "floor") * jnp.max(wanted)
    return (jnp.log10(power[kept] + small) - jnp.log10(wanted[kept] + small)).ravel()


def psd_loss(x, data, dt, segment=None, band=None, floor: float = 1e-9):
    """Mean squared difference of log10 power spectra: mean of `psd_residual` squared. Arguments as there."""
    return jnp.mean(psd_residual(x, data, dt, segment, band, floor) ** 2)


def functional_connectivity(x):
    """Functional connectivity: Pearson correlation (n, n) of signals x (steps, n), such as BOLD or binned counts.

    A signal that never varies has no correlation: its row and column are nan, as in `numpy.corrcoef`.
    """
    return _correlation(_cells(x, 2))


def _correlation(x):
    centred = x - jnp.mean(x, axis=0, keepdims=True)
    unit = centred / jnp.sqrt(jnp.sum(centred**2, axis=0, keepdims=True))
    return jnp.matmul(unit.T, unit, precision=jax.lax.Precision.HIGHEST)


def functional_connectivity_dynamics(x, dt, window, step):
    """Functional connectivity dynamics: correlation (windows, windows) of the connectivity in sliding windows.

    The entries above the diagonal of `functional_connectivity` of each window, correlated between windows (Hansen et
    al. 2015, https://doi.org/10.1016/j.neuroimage.2014.11.001).

    Args:
        x: (steps, n), n of at least 3. dt: time between samples in ms.
        window: length of a window in ms. step: from one window to the next in ms. Both are multiples of dt. Samples
            after the last whole window are not in any.

    Raises:
        ParameterError: fewer than two windows, windows of fewer than two samples, or an interval off the grid of dt.
    """
    x, length, hop = _cells(x, 3), steps_of(window, dt, "window"), steps_of(step, dt, "step")
    count = (x.shape[0] - length) // hop + 1
    if length < 2 or count < 2:
        raise ParameterError(
            f"window = {window} and step = {step} are {length} and {hop} samples of a signal of {x.shape[0]}: at least "
            f"two windows of at least two samples are needed; write a shorter window or step"
        )
    rows, columns = np.triu_indices(x.shape[1], 1)
    starts = np.arange(count) * hop
    return _correlation(jax.vmap(_correlation)(x[starts[:, None] + np.arange(length)])[:, rows, columns].T)


def upper_triangle(matrix):
    """The entries (n (n - 1) / 2,) above the diagonal of a square matrix (n, n), row by row.

    Raises:
        ParameterError: not a square matrix of 2 rows or more.
    """
    matrix = floats(matrix, "matrix")
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or len(matrix) < 2:
        raise ParameterError(f"matrix has shape {matrix.shape}; give a square one of 2 rows or more")
    return matrix[np.triu_indices(len(matrix), 1)]


def _pair(x, data):
    x, data = floats(x, "x"), floats(data, "data", data=True)
    if x.shape != data.shape or x.size < 2:
        raise ParameterError(
            f"x has shape {x.shape}, data {data.shape}: they are compared entry by entry and must have one shape, with "
            f"two entries or more; select the same entries of both"
        )
    return x.ravel(), data.ravel().astype(x.dtype)


def correlation_distance(x, data):
    """1 - Pearson correlation of two arrays of one shape: 0 for a linear rise, 1 for none, 2 for a fall.

    Example:
        >>> round(float(correlation_distance([1.0, 2.0, 4.0], [3.0, 5.0, 9.0])), 5)
        0.0
    """
    x, data = _pair(x, data)
    return 1.0 - _correlation(jnp.stack([x, data], axis=1))[0, 1]


def rmse(x, data):
    """Root mean squared difference of two arrays of one shape; its derivative where it is 0 is set to 0."""
    x, data = _pair(x, data)
    return root(jnp.mean((x - data) ** 2))


def _samples(x, data):
    x, data = floats(x, "x").ravel(), floats(data, "data", data=True).ravel()
    if not (x.size and data.size):
        raise ParameterError(f"x has {x.size} samples, data {data.size}; a distribution needs one or more")
    return x, data.astype(x.dtype)


def _cumulative(x, at):
    return jnp.searchsorted(jnp.sort(x), at, side="right").astype(x.dtype) / x.size


def wasserstein(x, data):
    """Wasserstein-1 distance of two distributions: int |F - G|, F and G the cumulative distributions of the samples.

    Differentiable by sorting: equal numbers of samples are paired in order (`scipy.stats.wasserstein_distance`).

    Args:
        x, data: samples, arrays of any shape and size.

    Returns:
        A number in the unit of x.

    Example:
        >>> float(wasserstein([0.0, 1.0, 3.0], [5.0, 6.0, 8.0]))
        5.0
    """
    x, data = _samples(x, data)
    both = jnp.sort(jnp.concatenate([x, data]))
    return jnp.sum(jnp.abs(_cumulative(x, both[:-1]) - _cumulative(data, both[:-1])) * jnp.diff(both))


@jax.custom_jvp
def _largest_gap(x, data):
    both = jnp.concatenate([x, data])
    return jnp.max(jnp.abs(_cumulative(x, both) - _cumulative(data, both)))


@_largest_gap.defjvp
def _largest_gap_jvp(primals, tangents):
    raise ParameterError(
        "kolmogorov_smirnov is a metric: it counts samples, so its derivative is 0 almost everywhere; use wasserstein"
    )


def kolmogorov_smirnov(x, data):
    """Kolmogorov-Smirnov distance of two distributions: max |F - G|, between 0 and 1. A metric.

    It works under jit and vmap, so also in a gradient-free fit; a derivative is refused, because it would be 0.

    Args:
        x, data: samples, arrays of any shape and size.

    Raises:
        ParameterError: when it is differentiated.

    Example:
        >>> round(float(kolmogorov_smirnov([0.0, 1.0, 2.0], [1.5, 2.5, 3.5])), 4)
        0.6667
    """
    return _largest_gap(*_samples(x, data))


def fc_loss(x, target, distance=correlation_distance):
    """Distance of the functional connectivity of signals from a measured one, over the entries above the diagonal.

    Args:
        x: (steps, n). target: (n, n) measured connectivity. distance: `correlation_distance` (blind to a common scale
            and offset), `rmse` (not blind), or any function of two vectors.

    Raises:
        ParameterError: target is of another number of regions.
    """
    found, target = upper_triangle(functional_connectivity(x)), upper_triangle(target)
    if found.shape != target.shape:
        n, m = np.shape(x)[1], round((1 + np.sqrt(1 + 8 * target.size)) / 2)
        raise ParameterError(f"x has {n} regions, target has {m}; select the regions that both have")
    return distance(found, target)


def fcd_loss(x, target, dt, window, step, distance=wasserstein):
    """Distance of the distributions of functional connectivity dynamics, over the entries above the diagonals.

    Args:
        x: (steps, n). target: (m, m) measured dynamics; another number of windows is allowed.
        dt, window, step: ms, as in `functional_connectivity_dynamics`. distance: `wasserstein`, or `kolmogorov_smirnov`
            where no derivative is taken.
    """
    return distance(upper_triangle(functional_connectivity_dynamics(x, dt, window, step)), upper_triangle(target))
