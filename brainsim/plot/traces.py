"""Variables over time."""

import numpy as np

from ..errors import ParameterError, UnknownNameError, unknown
from . import style

SINGLE = 8  # up to this many cells get a line of their own
MAX_SAMPLES = 20_000  # longer lines are drawn by the extremes of short stretches


def trace(result, name: str, cells=None, ax=None, *, spikes="auto", stack=None, window=None, color=None):
    """A recorded variable over time, a line a cell.

    Args:
        result: a `Result`. name: of the trace, for example "exc.v".
        cells: indices in the population; default all recorded. Above 8, faint lines and their mean.
        ax: axes; default a new figure.
        spikes: True paints a line upwards at every spike of a cell; "auto" does so for voltages in mV that stay below
            -20 mV (integrate-and-fire models, whose spikes are not in the voltage); False never.
        stack: lines below each other with a scale bar instead of on one axis; default for 2 to 8 spiking cells.
        window: (start, stop) in ms; default all.
        color: of the lines; default that of the population.
    """
    if name not in result.traces:
        raise UnknownNameError(unknown("trace", name, result.traces))
    record, population = result.traces[name], name.rpartition(".")[0]
    cells = record.indices if cells is None else np.atleast_1d(cells)
    if not len(cells):
        raise ParameterError(f"no cell of {name} to draw; it holds {record.indices.tolist()[:20]}")
    start, stop = window or (result.t_start, result.t_stop)
    inside = (record.times >= start) & (record.times <= stop)
    times, values = record.times[inside], np.stack([record.of(int(c))[inside] for c in cells], axis=1)
    ax, colour = style.new_axes(ax, (7.2, 2.6)), color or style.colour_of(population, style.colours(result))
    painted = _painted(result, population, record, values, spikes)
    stack = (painted is not None and 1 < len(cells) <= SINGLE) if stack is None else stack
    step = _spread(values, painted) if stack else 0.0
    if len(cells) > SINGLE and not stack:
        _draw_crowd(ax, times, values, colour)
    else:
        _draw_lines(ax, times, values - step * np.arange(len(cells)), cells, colour, painted, (start, stop))
    ax.set_xlim(start, stop)
    label = style.with_unit(name, record.unit)
    if stack and len(cells) > 1:
        _stacked_axis(ax, values, step, cells, record.unit)
    elif 1 < len(cells) <= SINGLE:
        style.legend(ax, title="cell", title_fontsize=8.5, loc="center left", bbox_to_anchor=(1.0, 0.5))
    elif len(cells) == 1:
        label = style.with_unit(f"{population}[{cells[0]}].{name.rpartition('.')[2]}", record.unit)
    return style.tidy(ax, "time (ms)", label)


def _painted(result, population, record, values, spikes):
    """Spikes to paint, and how far above the values; None for none."""
    train = result.spikes.get(population)
    if train is None or not values.size or spikes is False:
        return None
    low, high = np.nanmin(values), np.nanmax(values)
    if spikes == "auto" and not (record.unit == "mV" and high < -20.0):
        return None
    return train, 0.6 * max(high - low, 1e-12)


def _spread(values, painted) -> float:
    if not values.size:
        return 1.0
    return 1.15 * (float(np.nanmax(values) - np.nanmin(values)) + (painted[1] if painted else 0.0)) or 1.0


def extremes(times, values, most: int = MAX_SAMPLES) -> tuple[np.ndarray, np.ndarray]:
    """A line of at most about `most` points that looks the same: lowest and highest sample of short stretches."""
    if len(times) <= most:
        return times, values
    width = int(np.ceil(2 * len(times) / most))
    whole = len(times) // width * width
    blocks = values[:whole].reshape(-1, width)
    pair = np.sort(np.stack([blocks.argmin(axis=1), blocks.argmax(axis=1)]), axis=0)
    keep = (pair + np.arange(0, whole, width)).T.ravel()
    return times[keep], values[keep]


def _draw_lines(ax, times, values, cells, colour, painted, window):
    for column, (cell, shade) in enumerate(zip(cells, style.shades(colour, len(cells)))):
        ax.plot(*extremes(times, values[:, column]), color=shade, linewidth=1.0, label=str(cell))
        if painted is not None and len(times):
            train, height = painted
            at = train.of(int(cell))
            at = at[(at >= window[0]) & (at <= window[1])]
            foot = values[np.clip(np.searchsorted(times, at - 1e-9), 0, len(times) - 1), column]
            ax.vlines(at, foot, np.nanmax(values[:, column]) + height, color=shade, linewidth=1.0)


def _draw_crowd(ax, times, values, colour):
    for column in values.T[:200]:
        ax.plot(*extremes(times, column, 4000), color=colour, linewidth=0.5, alpha=0.18, rasterized=True)
    ax.plot(*extremes(times, values.mean(axis=1)), color=style.INK, linewidth=1.4, label="mean")
    shown = f"200 of {values.shape[1]:,}" if values.shape[1] > 200 else f"{values.shape[1]:,}"
    style.note(ax, f"{shown} cells, mean in black")


def _stacked_axis(ax, values, step, cells, unit):
    middle = float(np.nanmedian(values)) if values.size else 0.0
    ax.set_yticks(middle - step * np.arange(len(cells)), [f"cell {c}" for c in cells])
    length = _round_down(0.5 * step)
    top = middle + 0.5 * step
    ax.plot(
        [1.01, 1.01], [top - length, top], transform=ax.get_yaxis_transform(), color=style.INK, lw=1.5, clip_on=False
    )
    bar = {"transform": ax.get_yaxis_transform(), "va": "center", "fontsize": 8.5, "color": style.INK}
    ax.text(1.02, top - length / 2, f"{length:g} {'' if unit == '1' else unit}", **bar)


def _round_down(x: float) -> float:
    """The largest 1, 2 or 5 times a power of ten that is not above x."""
    power = 10.0 ** np.floor(np.log10(max(x, 1e-300)))
    return float(power * max(m for m in (1, 2, 5) if m * power <= x * (1 + 1e-9)))
