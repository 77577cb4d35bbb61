"""Drawings of connectomes: cells as dots, chemical edges as bent lines, gap junctions dashed."""

import numpy as np

from .. import extras
from ..errors import ParameterError
from ..names import match
from . import style
from .layouts import place_cells

DASHES = (0, (2.5, 1.8))
NAMED = 60  # up to this many cells all names are written
ARROWS = 80  # up to this many chemical edges have arrow heads
TYPE_COLOURS = {
    "sensory": style.PALETTE[2],
    "inter": style.PALETTE[0],
    "motor": style.PALETTE[1],
    "cell": style.PALETTE[0],
}
MOST_IN_LEGEND = 10
SIGN_COLOURS = {1: style.PALETTE[0], -1: style.PALETTE[1], 0: style.GREY}
SIGN_NAMES = {1: "excitatory", -1: "inhibitory", 0: "sign unknown"}


def graph(connectome, ax=None, *, layout=None, color="type", size="degree", edges="source", min_weight=0, labels=None):
    """Draw a connectome.

    Args:
        connectome: has `names`, `positions` or None, `columns`, and the edge tables `chem` and `gap`.
        ax: axes; default a new figure.
        layout: "body" (along the longest axis of the positions; sideways spread so that cells do not overlap),
            "circular" (groups together), "spring" (needs networkx), or (n, 2) coordinates. Default "body" if there are
            positions, else "circular".
        color: column of the node table that colours the cells; None for one colour.
        size: "degree" (area grows with the number of partners) or points^2: a number or (n,) of them.
        edges: colour of chemical edges: "source" as the cell they leave, or "sign".
        min_weight: edges with less are left out.
        labels: names to write; default all up to 60 cells, else the ten best connected; [] for none.

    Returns:
        The axes. Chemical edges bend to the left of their way from source to target; gap junctions are dashed.

    Raises:
        ParameterError, UnknownNameError: no connectome, or options that do not fit it.
    """
    if not hasattr(connectome, "chem"):
        kind = type(connectome).__name__
        shown = "bs.plot.weights(net) shows all weights of a network; " if hasattr(connectome, "projections") else ""
        raise ParameterError(
            f"graph: this is a {kind}, but a graph is drawn of a connectome, which names its cells; {shown}"
            f"bs.Connectome.from_edges(names, chem=[('a', 'b', 1.0)]) makes a connectome"
        )
    match(edges, ("source", "sign"), "colour of edges")
    layout = ("circular" if connectome.positions is None else "body") if layout is None else layout
    name = layout if isinstance(layout, str) else "given"
    groups = _groups(connectome, color)
    place = place_cells(connectome, layout, groups)
    kept = {kind: _kept(getattr(connectome, kind), min_weight) for kind in ("chem", "gap")}
    degree = sum(np.bincount(end, minlength=len(place)) for e in kept.values() for end in e[:2])
    area = _areas(size, degree)
    table = _group_colours(groups)
    fill = np.array([table[g] for g in groups])
    ax = style.new_axes(ax, (9.5, 3.6) if name == "body" else (6.4, 6.0))
    round_ = name == "circular"
    _draw_chemical(ax, place, kept["chem"], _edge_colours(kept["chem"], fill, edges), area, round_)
    _draw_gaps(ax, place, kept["gap"], round_)
    ax.scatter(*place.T, s=area, c=fill, edgecolors="white", linewidths=0.6, zorder=4)
    ax.margins(0.05)
    ax.set(aspect="auto" if name == "body" else "equal")
    shown = _cells_to_name(ax, connectome.names, place, degree, labels)
    _write_names(ax, connectome.names, place, shown, area, round_)
    _graph_legend(ax, table if len(table) > 1 else {}, kept, edges)
    ax.set_axis_off()
    return ax


def _groups(connectome, color) -> list[str]:
    columns = getattr(connectome, "columns", {})
    if color is None or (color == "type" and color not in columns):
        return ["cell"] * len(connectome.names)
    match(color, columns, "column of the node table")
    return [str(v) for v in columns[color]]


def _group_colours(groups) -> dict[str, str]:
    """Colour of each group; sensory, inter and motor have the same in every picture."""
    names = sorted(set(groups))
    free = [c for c in style.PALETTE if c not in {TYPE_COLOURS.get(name) for name in names}]
    strangers = [name for name in names if name not in TYPE_COLOURS]
    table = TYPE_COLOURS | {name: free[k % len(free)] for k, name in enumerate(strangers)}
    return {name: table[name] for name in names}


def _kept(table, min_weight):
    """pre, post, weight, sign of the edges to draw, the strongest last; self-edges are not drawn."""
    columns = [np.asarray(getattr(table, name)) for name in ("pre", "post", "weight")]
    sign = getattr(table, "sign", None)
    columns.append(np.zeros(len(columns[0]), int) if sign is None else np.asarray(sign))
    keep = (columns[2] > 0) & (columns[2] >= min_weight) & (columns[0] != columns[1])
    order = np.argsort(columns[2][keep], kind="stable")
    return [c[keep][order] for c in columns]


def _areas(size, degree) -> np.ndarray:
    if not isinstance(size, str):
        return np.broadcast_to(np.asarray(size, float), degree.shape)
    match(size, ("degree",), "size of cells")
    least = 90.0 if len(degree) <= NAMED else 22.0
    return least * (0.5 + 2.0 * degree / max(degree.max(initial=1), 1))


def _edge_colours(chem, fill, edges) -> np.ndarray:
    pre, _, _, sign = chem
    return fill[pre] if edges == "source" else np.array([SIGN_COLOURS[int(np.sign(s))] for s in sign], dtype=object)


def _strength(weight) -> np.ndarray:
    """Weights (n,) squeezed into 0 .. 1 by their square root."""
    return np.sqrt(weight / max(weight.max(initial=0.0), 1e-300))


def _bends(start, end, amount) -> np.ndarray:
    """Quadratic curves (n, 16, 2) from start (n, 2) to end, bent to the left by `amount` of their length."""
    chord = end - start
    control = (start + end) / 2 + amount * np.stack([-chord[:, 1], chord[:, 0]], axis=1)
    t = np.linspace(0, 1, 16)[None, :, None]
    return (1 - t) ** 2 * start[:, None] + 2 * t * (1 - t) * control[:, None] + t**2 * end[:, None]


def _chords(start, end) -> np.ndarray:
    """Quadratic curves (n, 16, 2) drawn towards the origin."""
    t = np.linspace(0, 1, 16)[None, :, None]
    control = 0.35 * (start + end)[:, None] / 2
    return (1 - t) ** 2 * start[:, None] + 2 * t * (1 - t) * control + t**2 * end[:, None]


def _draw_chemical(ax, place, chem, colours, area, round_):
    pre, post, weight, _ = chem
    if not len(pre):
        return
    strength, many = _strength(weight), len(pre) > ARROWS
    width = (0.25 + 1.3 * strength) if many else (0.8 + 2.2 * strength)
    alpha = float(np.clip(10.0 / np.sqrt(len(pre)), 0.12, 0.85))
    if not many:
        arrow = extras.load("matplotlib.patches").FancyArrowPatch
        for k in range(len(pre)):
            gaps = {"shrinkA": np.sqrt(area[pre[k]]) / 2, "shrinkB": np.sqrt(area[post[k]]) / 2 + 1}
            shape = {"arrowstyle": "-|>", "mutation_scale": 9, "connectionstyle": "arc3,rad=-0.18", **gaps}
            line = {"color": str(colours[k]), "linewidth": width[k], "alpha": alpha, "zorder": 2}
            ax.add_patch(arrow(place[pre[k]], place[post[k]], **shape, **line))
        return
    curves = _chords(place[pre], place[post]) if round_ else _bends(place[pre], place[post], 0.18)
    lines = extras.load("matplotlib.collections").LineCollection
    made = lines(curves, colors=colours.tolist(), linewidths=width, alpha=alpha, zorder=2, rasterized=True)
    ax.add_collection(made)


def _draw_gaps(ax, place, gap, round_):
    pre, post, weight, _ = gap
    if not len(pre):
        return
    many = len(pre) > ARROWS
    width = (0.45 + 0.6 * _strength(weight)) * (1.0 if many else 2.2)
    curves = _chords(place[pre], place[post]) if round_ and many else np.stack([place[pre], place[post]], axis=1)
    look = {"colors": style.INK, "linewidths": width, "linestyles": [DASHES], "zorder": 3, "rasterized": many}
    lines = extras.load("matplotlib.collections").LineCollection(curves, **look)
    lines.set_alpha(float(np.clip(7.0 / np.sqrt(len(pre)), 0.25, 0.9)))
    ax.add_collection(lines)


def _cells_to_name(ax, names, place, degree, labels) -> list[int]:
    """Indices of the cells to name: all, the ones asked for, or the best connected that do not crowd each other."""
    names = list(names)
    if labels is not None:
        return [names.index(match(name, names, "cell")[0]) for name in labels]
    if len(names) <= NAMED:
        return list(range(len(names)))
    ax.autoscale_view()
    points = ax.transData.transform(place) * 72 / ax.figure.dpi
    shown: list[int] = []
    for i in np.argsort(-degree, kind="stable")[:60]:
        away = np.abs(points[shown] - points[i]) > (30, 11)
        if len(shown) < 10 and away.any(axis=1).all():
            shown.append(int(i))
    return shown


def _write_names(ax, names, place, shown, area, round_):
    halo = extras.load("matplotlib.patheffects").withStroke(linewidth=2.2, foreground="white", alpha=0.85)
    for i in shown:
        away = place[i] / (np.hypot(*place[i]) or 1.0) if round_ else np.array([0.0, 1.0])
        sides = (("right", "center", "left"), ("top", "center", "bottom"))
        ha, va = (names_[1 + (d > 0.35) - (d < -0.35)] for names_, d in zip(sides, away))
        at = {"xytext": away * (np.sqrt(area[i]) / 2 + 2.0), "textcoords": "offset points", "ha": ha, "va": va}
        ax.annotate(names[i], place[i], fontsize=7.5, color=style.INK, path_effects=[halo], zorder=6, **at)


def _graph_legend(ax, table, kept, edges):
    line = extras.load("matplotlib.lines").Line2D
    dot = {"linestyle": "none", "marker": "o", "ms": 6, "mec": "white"}
    shown = table if len(table) <= MOST_IN_LEGEND else {}
    handles = [line([], [], mfc=colour, label=name, **dot) for name, colour in shown.items()]
    chem, gap = kept["chem"], kept["gap"]
    if len(chem[0]) and edges == "sign":
        for sign in (1, -1, 0):
            n = int(np.sum(np.sign(chem[3]) == sign))
            if n:
                handles.append(line([], [], color=SIGN_COLOURS[sign], label=f"{n:,} {SIGN_NAMES[sign]}"))
    elif len(chem[0]):
        handles.append(line([], [], color=style.GREY, label=f"{len(chem[0]):,} chemical"))
    if len(gap[0]):
        dashed = {"color": style.INK, "linestyle": DASHES, "linewidth": 1.2}
        handles.append(line([], [], label=f"{len(gap[0]):,} gap junctions", **dashed))
    if handles:
        style.legend(ax, handles=handles, loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=min(len(handles), 7))
