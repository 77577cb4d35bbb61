"""Spikes over time: raster, population rates, spectra."""

import numpy as np

from .. import statistics
from ..names import match
from . import style

FEW_CELLS = 40  # up to here spikes are ticks, above dots


def chosen(result, names) -> list[str]:
    """Population names of a result: all, or those that fit a name, a wildcard or a list of them."""
    if names is None:
        return list(result.spikes)
    patterns = [names] if isinstance(names, str) else names
    return list(dict.fromkeys(name for p in patterns for name in match(p, result.spikes, "population with spikes")))


def raster(result, names=None, ax=None, *, order="index", strip=True, window=None, bin=None, max_points=None) -> dict:
    """Raster of spikes, one band a population, with the population rates below.

    Args:
        result: a `Result` with spikes.
        names: populations (names or wildcards), first on top; default all.
        ax: axes to draw in, or {"raster": ax, "rate": ax}; default a new figure.
        order: "index" or "rate" (cells with the highest rate on top of their band).
        strip: draw the rates below; with a single `ax` given only if it belongs to a grid, which is then divided.
        window: (start, stop) in ms; default all.
        bin: width in ms of the bins of the rates; default 1/200 of the time, more where spikes are few.
        max_points: more spikes than this are thinned at random, and a note says so; default 50,000.

    Returns:
        {"raster": axes, "rate": axes}; "rate" is missing without a strip.
    """
    match(order, ("index", "rate"), "order of the raster")
    names = chosen(result, names)
    axes = _raster_axes(ax, strip)
    window = window or (result.t_start, result.t_stop)
    style.tidy(axes["raster"])
    _draw_bands(axes["raster"], result, names, order, window, style.MAX_POINTS if max_points is None else max_points)
    axes["raster"].set_xlim(window)
    if "rate" in axes:
        axes["raster"].tick_params(labelbottom=False)
        rate(result, names, axes["rate"], bin=bin, window=window, legend=False)
    else:
        axes["raster"].set_xlabel("time (ms)", color=style.INK, fontsize=10)
    return axes


def _raster_axes(ax, strip) -> dict:
    if isinstance(ax, dict):
        return ax
    if ax is None:
        figure = style.new_figure((7.2, 4.4 if strip else 3.4))
        ax = figure.add_subplot()
    place = ax.get_subplotspec()
    if not strip or place is None:
        return {"raster": ax}
    upper, lower = place.subgridspec(2, 1, height_ratios=(3, 1), hspace=0.04)
    ax.set_subplotspec(upper)
    return {"raster": ax, "rate": ax.figure.add_subplot(lower, sharex=ax)}


def _draw_bands(ax, result, names, order, window, max_points):
    table, spikes = style.colours(result), {k: result.spikes[k].between(*window) for k in names}
    if window[0] <= result.t_start:
        spikes = {k: result.spikes[k].between(-np.inf, window[1]) for k in names}
    total, n_cells = sum(map(len, spikes.values())), sum(s.n_cells for s in spikes.values())
    gap = max(0.02 * n_cells, 1.0) if len(names) > 1 else 0.0
    height = ax.get_window_extent().height * 72 / ax.figure.dpi / max(n_cells, 1)
    bottom, bands = 0.0, []
    for name, s in spikes.items():
        rows = _rows(s, order) if order == "rate" else s.indices
        keep = style.thin(len(s), int(np.ceil(max_points * len(s) / total)) if total > max_points else len(s))
        marks = _marks(n_cells, height, min(total, max_points))
        ax.scatter(s.times[keep], bottom + rows[keep], color=style.colour_of(name, table), label=name, **marks)
        if bands:
            ax.axhline(bottom - (1 + gap) / 2, color=style.FAINT, linewidth=0.8)
        bands.append((bottom + (s.n_cells - 1) / 2, name, s.n_cells, style.colour_of(name, table)))
        bottom += s.n_cells + gap
    ax.set_ylim(bottom - gap - 0.5, -0.5)
    _name_bands(ax, bands, height)
    if total > max_points:
        style.note(ax, f"{max_points:,} of {total:,} spikes shown")
    if not total:
        style.note(ax, "no spikes")


def _name_bands(ax, bands, height):
    """Name and size of each band at its side, in its colour; names of narrow bands move apart."""
    lines = 2 if all(n * height > 24 for _, _, n, _ in bands) else 1
    space, places = 12.0 * lines / max(height, 1e-9), []
    for centre, *_ in bands:
        places.append(max(centre, places[-1] + space) if places else centre)
    excess = places[-1] - ax.get_ylim()[0] if places else 0.0
    if excess > 0:  # the last names would fall below the axes: move up what is in the way
        limit = ax.get_ylim()[0]
        for k in range(len(places) - 1, -1, -1):
            places[k] = min(places[k], limit)
            limit = places[k] - space
    texts = [f"{name}\n{n:,}" if lines == 2 else name for _, name, n, _ in bands]
    ax.set_yticks(places, texts, fontsize=9)
    ax.tick_params(axis="y", length=0)
    for label, (*_, colour) in zip(ax.get_yticklabels(), bands):
        label.set_color(style.readable(colour))


def _rows(spikes, order) -> np.ndarray:
    rank = np.empty(spikes.n_cells, np.int64)
    rank[np.argsort(-spikes.counts(), kind="stable")] = np.arange(spikes.n_cells)
    return rank[spikes.indices]


def _marks(n_cells, height, n_spikes) -> dict:
    """Marker of a spike: a tick if few cells share the axes, else a dot that shrinks with their number."""
    if n_cells <= FEW_CELLS:
        return {"marker": "|", "s": (0.75 * height) ** 2, "linewidths": 0.9, "rasterized": True}
    size = float(np.clip((1.3 * height) ** 2, 1.0, 12.0) * np.clip((20_000 / max(n_spikes, 1)) ** 0.5, 0.5, 2.2))
    return {"marker": "o", "s": size, "linewidths": 0, "alpha": 0.8, "rasterized": True}


def default_bin(result, window) -> float:
    """Bin in ms that shows a window well: 1/200 of it, wider (up to 1/40) where the spikes are few."""
    length = window[1] - window[0]
    rarest = min((len(s) for s in result.spikes.values() if len(s)), default=1) / max(result.duration, 1e-12)
    wanted = np.clip(6.0 / rarest, max(length / 200, min(1.0, length / 40)), length / 40)
    power = 10.0 ** np.floor(np.log10(wanted))
    even = power * min((1, 2, 5, 10), key=lambda m: abs(np.log(m * power / wanted)))
    return max(round(even / result.dt), 1) * result.dt


def rate(result, names=None, ax=None, *, bin=None, smooth=None, window=None, legend=True):
    """Firing rate per cell of each population over time.

    Args:
        result: a `Result` with spikes. names: populations; default all. ax: axes; default a new figure.
        bin: width in ms; default 1/200 of the time, more where spikes are few.
        smooth: standard deviation in ms of a Gaussian that smooths the rates; default none.
        window: (start, stop) in ms; default all.

    Returns:
        The axes.
    """
    ax, table = style.new_axes(ax, (7.2, 2.4)), style.colours(result)
    window = window or (result.t_start, result.t_stop)
    bin = default_bin(result, window) if bin is None else bin
    names = chosen(result, names)
    for name in names:
        times, values = result.population_rate(name, bin)
        inside = (times >= window[0]) & (times <= window[1])
        values = statistics.smooth(values, smooth / bin) if smooth else values
        colour = style.colour_of(name, table)
        ax.plot(times[inside], values[inside], color=colour, linewidth=1.1, label=name)
        if len(names) == 1:
            ax.fill_between(times[inside], values[inside], color=colour, alpha=0.15, linewidth=0)
    ax.set_xlim(window)
    ax.set_ylim(bottom=0)
    style.note(ax, f"{bin:.3g} ms bins")
    if legend and len(ax.lines) > 1:
        style.legend(ax, loc="upper left", ncols=4)
    return style.tidy(ax, "time (ms)", "rate (Hz)")


def psd(result, names=None, ax=None, *, bin=1.0, segment=None, f_max=None):
    """Power spectral density of the population rates (Welch).

    Args:
        result: a `Result` with spikes. names: populations; default all. ax: axes; default a new figure.
        bin: width in ms of the bins of the rates; frequencies go up to 500/bin Hz.
        segment: length in ms of Welch's windows (resolution 1000/segment Hz); default at most 512 bins.
        f_max: highest frequency shown in Hz.

    Returns:
        The axes.
    """
    ax, table = style.new_axes(ax, (5.2, 3.4)), style.colours(result)
    for name in chosen(result, names):
        frequency, power = statistics.psd(result.population_rate(name, bin).rate, bin, segment)
        keep = (frequency > 0) & (frequency <= (f_max or np.inf))
        ax.plot(frequency[keep], power[keep], color=style.colour_of(name, table), linewidth=1.3, label=name)
    if any(np.any(line.get_ydata() > 0) for line in ax.lines):
        ax.set_yscale("log")
    ax.set_xlim(left=0)
    ax.grid(True, color=style.FAINT, linewidth=0.5, alpha=0.6)
    if len(ax.lines) > 1:
        style.legend(ax)
    return style.tidy(ax, "frequency (Hz)", "power density of the rate (Hz²/Hz)")
