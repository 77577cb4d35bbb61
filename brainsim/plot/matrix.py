"""Weights as a matrix: sources down, targets to the right."""

import numpy as np

from .. import extras
from ..errors import ParameterError
from . import style

DENSE = 500  # cells a side up to which every weight is a pixel
BINS = 250  # pixels a side above that


def weights(what, ax=None, *, kind="chem", unit=None, labels=None, colorbar=True):
    """Weights of a matrix, a projection, a network or a connectome. Row = source (pre), column = target (post).

    Args:
        what: (n_pre, n_post) array with 0 where there is no edge, sparse or dense; a projection; a network, whose
            populations stand beside each other (drives, which have no sources, are left out); or a connectome.
        ax: axes; default a new figure.
        kind: for a connectome "chem" (times the sign where it is known) or "gap".
        unit: of the weights, for the label; default that of the projection or connectome.
        labels: names of rows and columns, shown for 60 cells or fewer; default those of the connectome.
        colorbar: draw the scale.

    Returns:
        The axes. Above 500 cells a side a pixel is the mean weight over all pairs of a block, absent edges as 0.

    Raises:
        ParameterError: nothing that has weights, or a network whose weights differ in unit.
    """
    pre, post, weight, shape, facts = _edges(what, kind)
    names = facts["labels"] if labels is None else labels
    binned = max(shape) > DENSE
    image = _block_means(pre, post, weight, shape) if binned else _sums(pre, post, weight, shape)
    ax = style.new_axes(ax, (4.8, 4.0))
    map_, limits = _scale(image)
    extent = (-0.5, shape[1] - 0.5, shape[0] - 0.5, -0.5)
    drawn = ax.imshow(image, cmap=map_, **limits, extent=extent, interpolation="nearest")
    ax.set_aspect("equal" if 0.5 <= shape[0] / max(shape[1], 1) <= 2 else "auto")
    style.tidy(ax, f"to {facts['post']}", f"from {facts['pre']}")
    ax.spines[["top", "right"]].set(visible=True, color=style.GREY, linewidth=0.8)
    if "populations" in facts:
        middle, populations = facts["populations"]
        ax.set_xticks(middle, populations, rotation=90, fontsize=7)
        ax.set_yticks(middle, populations, fontsize=7)
    elif names is not None and max(shape) <= 60:
        ax.set_xticks(range(shape[1]), names, rotation=90, fontsize=6.5)
        ax.set_yticks(range(shape[0]), names, fontsize=6.5)
    if colorbar:
        label = style.with_unit("mean weight of a pair" if binned else "weight", unit or facts["unit"])
        top = max(limits["vmax"], -limits["vmin"])
        extra = np.ma.max(np.ma.abs(image)) > top * (1 + 1e-9) if image.count() else False
        bar = ax.figure.colorbar(drawn, ax=ax, shrink=0.85, pad=0.02, extend=_extension(extra, limits))
        bar.set_label(label, fontsize=10, color=style.INK)
        bar.outline.set(edgecolor=style.GREY, linewidth=0.8)
        bar.ax.tick_params(color=style.GREY, labelcolor=style.INK, labelsize=9)
    return ax


def _extension(beyond, limits) -> str:
    if not beyond:
        return "neither"
    return "max" if limits["vmin"] == 0 else "min" if limits["vmax"] == 0 else "both"


def _edges(what, kind):
    """Indices, weights, shape and labels of whatever was given."""
    if getattr(what, "chem", None) is not None:
        table = getattr(what, kind)
        pre, post, weight, n = table.pre, table.post, np.array(table.weight, float), len(what.names)
        if kind == "gap":
            pre, post, weight = np.r_[pre, post], np.r_[post, pre], np.r_[weight, weight]
        elif np.any(table.sign):
            weight = weight * np.where(table.sign == 0, 1, table.sign)
        facts = {"pre": "cell", "post": "cell", "unit": table.weight_unit, "labels": what.names}
        return pre, post, weight, (n, n), facts
    if hasattr(what, "projections"):
        return _network_edges(what)
    if hasattr(what, "edges") and hasattr(what, "synapse"):
        pre, post, weight = _projection_edges(what)
        names = {"pre": f"{what.pre.name} (cell)", "post": f"{what.post.name} (cell)", "labels": None}
        return pre, post, weight, (what.pre.n, what.post.n), {**names, "unit": _unit(what)}
    try:
        matrix = np.asarray(what.toarray() if hasattr(what, "toarray") else what, float)
    except Exception:  # whatever an object raises that is no array
        matrix = np.zeros(())
    if matrix.ndim != 2:
        given = f"an array of shape {matrix.shape}" if matrix.ndim else f"{what!r:.60}"
        raise ParameterError(
            f"weights: {given} is no matrix; give (n_pre, n_post), a projection such as net['a->b'], a "
            f"network or a connectome"
        )
    pre, post = np.nonzero(matrix)
    facts = {"pre": "source cell", "post": "target cell", "unit": None, "labels": None}
    return pre, post, matrix[pre, post], matrix.shape, facts


def _projection_edges(projection):
    pre, post = np.asarray(projection.edges.pre), np.asarray(projection.edges.post)
    weight = 1.0 if projection.weight is None else projection.weight
    return pre, post, np.broadcast_to(np.asarray(weight, float), pre.shape)


def _unit(projection):
    return getattr(getattr(type(projection.synapse), "__weight__", None), "unit", None)


def _network_edges(net):
    """Edges between all cells of a network, counted population after population."""
    projections = [p for p in net.projections.values() if p.pre is not None]
    units = {p.name: _unit(p) or "1" for p in projections}
    if len(set(units.values())) != 1:
        told = ", ".join(f"{name} in {unit}" for name, unit in units.items()) or "there is no projection"
        first = next(iter(units), "a->b")
        raise ParameterError(
            f"weights of a network: {told}, but one scale shows one unit; draw a projection: weights(net[{first!r}])"
        )
    sizes = [p.n for p in net.populations.values()]
    first = dict(zip(net.populations, np.cumsum([0, *sizes])))
    columns = []
    for p in projections:
        pre, post, weight = _projection_edges(p)
        columns.append((pre.astype(np.int64) + first[p.pre.name], post.astype(np.int64) + first[p.post.name], weight))
    middle = [first[name] + (n - 1) / 2 for name, n in zip(net.populations, sizes)]
    facts = {"pre": "population", "post": "population", "labels": None, "populations": (middle, list(net.populations))}
    unit = next(iter(units.values()))
    shape = (sum(sizes), sum(sizes))
    return *map(np.concatenate, zip(*columns)), shape, {**facts, "unit": None if unit == "1" else unit}


def _sums(pre, post, weight, shape):
    image = np.bincount(pre * shape[1] + post, weight, shape[0] * shape[1]).reshape(shape)
    there = np.zeros(shape, bool)
    there[pre, post] = True
    return np.ma.array(image, mask=~there)


def _block_means(pre, post, weight, shape):
    counts = [min(n, BINS) for n in shape]
    row, column = (np.asarray(i, np.int64) * c // n for i, c, n in zip((pre, post), counts, shape))
    total = np.bincount(row * counts[1] + column, weight, counts[0] * counts[1]).reshape(counts)
    sizes = [np.bincount(np.arange(n) * c // n, minlength=c) for n, c in zip(shape, counts)]
    return np.ma.array(total / np.outer(*sizes), mask=False)


def _scale(image):
    """Colours and limits: diverging around 0, darker = stronger; outliers clipped, an absent sign takes no colours."""
    colors = extras.load("matplotlib.colors")
    maps = extras.load("matplotlib").colormaps
    values = image.compressed()
    top = float(np.percentile(np.abs(values), 99.5)) if values.size else 1.0
    top = top or float(np.max(np.abs(values), initial=0.0)) or 1.0
    if np.any(values < 0) and np.any(values > 0):
        return maps["RdBu_r"].with_extremes(bad="white"), {"vmin": -top, "vmax": top}
    if np.any(values < 0):  # the blue half, away from white where white is an absent edge
        blue = maps["RdBu_r"](np.linspace(0.0, 0.4 if np.ma.is_masked(image) else 0.5, 256))
        return colors.ListedColormap(blue).with_extremes(bad="white"), {"vmin": -top, "vmax": 0.0}
    strong = maps["YlGnBu"](np.linspace(0.3, 1.0, 256))
    if not np.ma.is_masked(image):  # blocks: nothing is white
        strong[:64] = 1 + (strong[64] - 1) * np.linspace(0, 1, 64)[:, None]
    return colors.ListedColormap(strong).with_extremes(bad="white"), {"vmin": 0.0, "vmax": top}
