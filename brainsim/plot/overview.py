"""Everything a run recorded, in one figure."""

from ..errors import ParameterError
from . import style
from .activity import raster
from .traces import SINGLE, trace

HEIGHT = {"raster": 2.6, "rate": 0.95, "trace": 1.25}


def plot_result(result, *, traces=None, max_traces: int = 4, order="index", window=None, bin=None, size=None) -> dict:
    """Raster coloured by population, population rates and recorded variables above each other.

    Args:
        result: a `Result`.
        traces: names of traces to show; default the first `max_traces` recorded.
        order: of the cells in the raster, "index" or "rate".
        window: (start, stop) in ms; default all. bin: width in ms for the rates.
        size: (width, height) of the figure in inches.

    Returns:
        Axes by name: "raster", "rate" and one for each trace; the figure is `axes["raster"].figure`.
    """
    wanted = list(result.traces)[:max_traces] if traces is None else list(traces)
    rows = (["raster", "rate"] if result.spikes else []) + wanted
    if not rows:
        raise ParameterError('nothing was recorded, so there is nothing to plot; record=["exc.spikes", "exc.v"] does')
    heights = [HEIGHT.get(row, HEIGHT["trace"]) for row in rows]
    heights[0] += 0.15 * max(len(result.spikes) - 4, 0)
    figure = style.new_figure(size or (7.2, 0.55 + sum(heights)))
    grid = figure.add_gridspec(len(rows), 1, height_ratios=heights, hspace=0.05)
    axes = {}
    for k, row in enumerate(rows):
        axes[row] = figure.add_subplot(grid[k], sharex=next(iter(axes.values()), None))
    if result.spikes:
        raster(result, ax={k: axes[k] for k in ("raster", "rate")}, order=order, window=window, bin=bin)
    for name in wanted:
        few = 1 < len(result.traces[name].indices) <= SINGLE
        trace(result, name, ax=axes[name], window=window, stack=few)
    for row in rows[:-1]:
        axes[row].set_xlabel("")
        axes[row].tick_params(labelbottom=False)
    figure.align_ylabels([ax for row, ax in axes.items() if row != "raster"])
    if wanted[: len(result.traces)] != list(result.traces) and traces is None:
        style.note(axes[rows[-1]], f"{len(wanted)} of {len(result.traces)} traces shown", "lower right")
    return axes
