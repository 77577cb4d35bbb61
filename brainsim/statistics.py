"""Statistics of spike trains, in plain NumPy.

A set of spike trains is given by `times` (n,) in ms and `indices` (n,), the cell of each spike. A spike found at the
end of step k has time (k+1) dt, so a bin holds the spikes in (start, stop]; the first bin also holds its left edge.
Only whole bins are used: what is left over at the end of the recording is not counted. Rates are in Hz.

References: Dayan & Abbott (2001) Theoretical Neuroscience, chapter 1; Holt et al. (1996) 10.1152/jn.1996.75.5.1806
(CV2); Shadlen & Newsome (1998) 10.1523/JNEUROSCI.18-10-03870.1998 (CV, Fano factor); Welch (1967)
10.1109/TAU.1967.1161901.
"""

import numpy as np

from .errors import ParameterError

MS_PER_S = 1000.0
_ROUNDING = 1e-6  # of a bin: times on the grid carry rounding errors


def n_bins(bin: float, t_start: float, t_stop: float) -> int:
    """Number of whole bins of `bin` ms between t_start and t_stop (ms)."""
    if not (np.isfinite(bin) and bin > 0):
        raise ParameterError(f"bin = {bin!r} ms cannot be: write a width > 0, for example bin=1.0")
    count = int(np.floor((t_stop - t_start) / bin + _ROUNDING))
    if count < 1:
        raise ParameterError(f"bin = {bin:g} ms is wider than the whole {t_stop - t_start:g} ms; write a smaller bin")
    return count


def bin_index(times, bin: float, t_start: float) -> np.ndarray:
    """Bin (n,) of each time: k for t_start + k bin < t <= t_start + (k+1) bin."""
    position = (np.asarray(times, np.float64) - t_start) / bin
    index = np.ceil(position - _ROUNDING).astype(np.int64) - 1
    return np.where(np.abs(position) <= _ROUNDING, 0, index)


def bin_centres(bin: float, t_start: float, t_stop: float) -> np.ndarray:
    """Centres (n_bins,) of the bins in ms."""
    return t_start + (np.arange(n_bins(bin, t_start, t_stop)) + 0.5) * bin


def binned(times, indices, n_cells: int, bin: float, t_start: float, t_stop: float) -> np.ndarray:
    """Spike counts (n_cells, n_bins), int64."""
    count = n_bins(bin, t_start, t_stop)
    column = bin_index(times, bin, t_start)
    inside = (column >= 0) & (column < count)
    flat = np.asarray(indices, np.int64)[inside] * count + column[inside]
    return np.bincount(flat, minlength=n_cells * count).reshape(n_cells, count)


def rates(indices, n_cells: int, duration: float) -> np.ndarray:
    """Mean firing rate (n_cells,) in Hz over `duration` ms: spike count / duration."""
    counts = np.bincount(np.asarray(indices, np.int64), minlength=n_cells)
    return counts * (MS_PER_S / duration) if duration > 0 else np.full(n_cells, np.nan)


def population_rate(times, n_cells: int, bin: float, t_start: float, t_stop: float) -> tuple[np.ndarray, np.ndarray]:
    """Firing rate per cell over time.

    Returns:
        centres (n_bins,) in ms and rate (n_bins,) in Hz: spikes in the bin / (n_cells bin).
    """
    zeros = np.zeros(len(times), np.int64)
    counts = binned(times, zeros, 1, bin, t_start, t_stop)[0]
    return bin_centres(bin, t_start, t_stop), counts * (MS_PER_S / (max(n_cells, 1) * bin))


def smooth(signal, sigma: float) -> np.ndarray:
    """Gaussian smoothing of `signal` (n,) with standard deviation `sigma` in samples; ends are renormalised."""
    signal = np.asarray(signal, np.float64)
    if sigma <= 0 or not len(signal):
        return signal
    reach = min(int(np.ceil(4 * sigma)), len(signal) - 1)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    total = np.convolve(np.ones(len(signal)), kernel, mode="full")[reach : reach + len(signal)]
    return np.convolve(signal, kernel, mode="full")[reach : reach + len(signal)] / total


def isi(times, indices) -> tuple[np.ndarray, np.ndarray]:
    """Inter-spike intervals of all cells.

    Returns:
        intervals (m,) in ms and the cell (m,) of each, ordered by cell and then by time.
    """
    times, indices = np.asarray(times, np.float64), np.asarray(indices)
    order = np.lexsort((times, indices))
    times, indices = times[order], indices[order]
    same = indices[1:] == indices[:-1]
    return np.diff(times)[same], indices[1:][same]


def _mean_by_cell(values, cells, n_cells: int) -> tuple[np.ndarray, np.ndarray]:
    count = np.bincount(cells, minlength=n_cells)
    total = np.bincount(cells, weights=values, minlength=n_cells)
    return np.divide(total, count, out=np.full(n_cells, np.nan), where=count > 0), count


def cv(times, indices, n_cells: int, min_spikes: int = 3) -> np.ndarray:
    """Coefficient of variation of the inter-spike intervals (n_cells,).

    CV = sd(ISI) / mean(ISI), with the standard deviation of the sample (divided by its size): 0 for a clock, 1 for a
    Poisson process. Cells with fewer than `min_spikes` spikes (at least 3) are nan.
    """
    intervals, cells = isi(times, indices)
    mean, count = _mean_by_cell(intervals, cells, n_cells)
    variance, _ = _mean_by_cell((intervals - mean[cells]) ** 2, cells, n_cells)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(count >= max(min_spikes, 3) - 1, np.sqrt(variance) / mean, np.nan)


def cv2(times, indices, n_cells: int, min_spikes: int = 3) -> np.ndarray:
    """Local variability of the intervals (n_cells,): mean of 2 |I(k+1) - I(k)| / (I(k+1) + I(k)) over neighbours.

    1 for a Poisson process, 0 for a clock; unlike the CV it does not grow when the rate changes slowly (Holt et al.).
    """
    intervals, cells = isi(times, indices)
    same = cells[1:] == cells[:-1]
    first, second = intervals[:-1][same], intervals[1:][same]
    with np.errstate(divide="ignore", invalid="ignore"):
        local = np.where(first + second > 0, 2 * np.abs(second - first) / (first + second), 0.0)
    mean, count = _mean_by_cell(local, cells[1:][same], n_cells)
    return np.where(count >= max(min_spikes, 3) - 2, mean, np.nan)


def fano(times, indices, n_cells: int, window: float, t_start: float, t_stop: float) -> np.ndarray:
    """Fano factor (n_cells,): variance (unbiased) / mean of the spike counts in windows of `window` ms.

    1 for a Poisson process. Needs two windows; cells without spikes are nan.
    """
    counts = binned(times, indices, n_cells, window, t_start, t_stop)
    if counts.shape[1] < 2:
        raise ParameterError(f"window = {window:g} ms fits only once into the recording; a variance needs two windows")
    mean = counts.mean(axis=1)
    return np.divide(counts.var(axis=1, ddof=1), mean, out=np.full(n_cells, np.nan), where=mean > 0)


def psd(signal, dt: float, segment: float | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Power spectral density by Welch's method: Hann windows, half overlapping, mean of each removed, one-sided.

    Args:
        signal: (n,) equally spaced samples, for example a population rate in Hz.
        dt: time between samples in ms.
        segment: length of a window in ms (resolution 1000/segment Hz); default the whole signal, at most 512 samples.

    Returns:
        frequencies (m,) in Hz and density (m,) in unit(signal)^2/Hz; its integral is the variance of the signal.
    """
    signal = np.asarray(signal, np.float64)
    length = min(len(signal), 512 if segment is None else round(segment / dt))
    if length < 2:
        raise ParameterError(f"a spectrum needs 2 samples or more; there are {len(signal)}, segment = {segment} ms")
    window = np.sin(np.pi * np.arange(length) / length) ** 2
    starts = range(0, len(signal) - length + 1, max(length - length // 2, 1))
    pieces = np.stack([signal[i : i + length] for i in starts])
    pieces = (pieces - pieces.mean(axis=1, keepdims=True)) * window
    power = np.mean(np.abs(np.fft.rfft(pieces, axis=1)) ** 2, axis=0) * (dt / MS_PER_S / np.sum(window**2))
    power[1 : None if length % 2 else -1] *= 2.0
    return np.fft.rfftfreq(length, dt / MS_PER_S), power


def correlations(counts) -> np.ndarray:
    """Pearson correlation (n_cells, n_cells) of spike counts (n_cells, n_bins); nan for cells that never vary."""
    counts = np.asarray(counts, np.float64)
    centred = counts - counts.mean(axis=1, keepdims=True)
    norm = np.sqrt(np.sum(centred**2, axis=1))
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = np.where(norm[:, None] > 0, centred / norm[:, None], np.nan)
    return np.clip(scaled @ scaled.T, -1.0, 1.0)


def mean_correlation(counts) -> float:
    """Mean of `correlations` over all pairs of different cells; cells that never vary are left out."""
    matrix = correlations(counts)
    pairs = matrix[np.triu_indices(len(matrix), k=1)]
    return float(np.nanmean(pairs)) if np.isfinite(pairs).any() else float("nan")


def psth(times, events, n_cells: int, before: float, after: float, bin: float) -> tuple[np.ndarray, np.ndarray]:
    """Peri-stimulus time histogram: firing rate around events, averaged over events and cells.

    Args:
        times: (n,) spike times in ms. events: (n_events,) in ms. n_cells: cells that `times` belong to.
        before: ms before the event. after: ms after it. bin: width in ms.

    Returns:
        centres (n_bins,) in ms relative to the event and rate (n_bins,) in Hz.
    """
    times, events = np.sort(np.asarray(times, np.float64)), np.atleast_1d(np.asarray(events, np.float64))
    if not events.size:
        raise ParameterError("psth needs at least one event time")
    total = np.zeros(n_bins(bin, -before, after))
    for event in events:
        low, high = np.searchsorted(times, [event - before - bin, event + after + bin])
        index = bin_index(times[low:high] - event, bin, -before)
        total += np.bincount(index[(index >= 0) & (index < len(total))], minlength=len(total))
    return bin_centres(bin, -before, after), total * (MS_PER_S / (bin * n_cells * len(events)))
