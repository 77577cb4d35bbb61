"""Drawings of connectomes: cells as dots, chemical edges as bent lines, gap junctions dashed."""

import numpy as np

from .. import extras
from ..errors import ParameterError
from ..names import match
from . import style
from .layouts import place_cells

NAMED = 60  # up to this many cells all names are written
ARROWS = 80  # up to this many chemical edges have arrow heads
SIGN_COLOURS = {1: style.PALETTE[0], -1: style.PALETTE[1], 0: style.GREY}
SIGN_NAMES = {1: "excitatory", -1: "inhibitory", 0: "sign unknown"}


def graph(
    connectome, ax=None, *, layout=None, color="type", size="degree", edges="source", min_weight=0.0, labels=None
):
    """Draw a connectome.

    Args:
        connectome: has `names` (n,), `positions` (n, 2 or 3) or None, `columns` of (n,) values, and the edge tables
            `chem` and `gap` with `pre`, `post`, `weight` and `sign`.
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
    """
    match(edges, ("source", "sign"), "colour of edges")
    layout = layout if layout is not None else "circular" if connectome.positions is None else "body"
    groups = _groups(connectome, color)
    place = place_cells(connectome, layout, groups)
    kept = {kind: _kept(getattr(connectome, kind), min_weight) for kind in ("chem", "gap")}
    degree = sum(np.bincount(end, minlength=len(place)) for e in kept.values() for end in e[:2])
    area = _areas(size, degree)
    table = {name: style.PALETTE[k % len(style.PALETTE)] for k, name in enumerate(dict.fromkeys(groups))}
    fill = np.array([table[g] for g in groups])
    ax = style.new_axes(ax, (9.5, 3.6) if isinstance(layout, str) and layout == "body" else (6.4, 6.0))
    lines = _edge_colours(kept["chem"], fill, edges)
    _draw_chemical(ax, place, kept["chem"], lines, area, inward=isinstance(layout, str) and layout == "circular")
    _draw_gaps(ax, place, kept["gap"])
    ax.scatter(*place.T, s=area, c=fill, edgecolors="white", linewidths=0.6, zorder=4)
    ax.margins(0.05)
    if not (isinstance(layout, str) and layout == "body"):
        ax.set_aspect("equal")
    _write_names(ax, connectome.names, place, degree, labels, area)
    _graph_legend(ax, table if len(table) > 1 else {}, kept, edges)
    ax.set_axis_off()
    return ax


def _groups(connectome, color) -> list[str]:
    columns = getattr(connectome, "columns", {})
    if color is None or (color == "type" and color not in columns):
        return ["cell"] * len(connectome.names)
    match(color, columns, "column of the node table")
    return [str(v) for v in columns[color]]


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


def _draw_chemical(ax, place, chem, colours, area, inward):
    pre, post, weight, _ = chem
    if not len(pre):
        return
    strength, many = _strength(weight), len(pre) > ARROWS
    width = (0.25 + 1.1 * strength) if many else (0.8 + 2.2 * strength)
    alpha = float(np.clip(14.0 / np.sqrt(len(pre)), 0.18, 0.85))
    if not many:
        arrow = extras.load("matplotlib.patches").FancyArrowPatch
        for k in range(len(pre)):
            gaps = {"shrinkA": np.sqrt(area[pre[k]]) / 2, "shrinkB": np.sqrt(area[post[k]]) / 2 + 1}
            shape = {"arrowstyle": "-|>", "mutation_scale": 9, "connectionstyle": "arc3,rad=-0.18", **gaps}
            line = {"color": str(colours[k]), "linewidth": width[k], "alpha": alpha, "zorder": 2}
            ax.add_patch(arrow(place[pre[k]], place[post[k]], **shape, **line))
        return
    curves = _bends(place[pre], place[post], 0.18)
    if inward:  # chords of a circle are drawn towards its centre
        t = np.linspace(0, 1, 16)[None, :, None]
        control = 0.35 * (place[pre] + place[post])[:, None] / 2
        curves = (1 - t) ** 2 * place[pre][:, None] + 2 * t * (1 - t) * control + t**2 * place[post][:, None]
    lines = extras.load("matplotlib.collections").LineCollection
    made = lines(curves, colors=colours.tolist(), linewidths=width, alpha=alpha, zorder=2, rasterized=True)
    ax.add_collection(made)


def _draw_gaps(ax, place, gap):
    pre, post, weight, _ = gap
    if not len(pre):
        return
    width = (0.5 + 0.8 * _strength(weight)) * (1.0 if len(pre) > ARROWS else 1.8)
    alpha = float(np.clip(10.0 / np.sqrt(len(pre)), 0.4, 0.9))
    dash = (0, (2.5, 1.8))
    lines = extras.load("matplotlib.collections").LineCollection(
        np.stack([place[pre], place[post]], axis=1), colors=style.INK, linewidths=width, linestyles=[dash], zorder=3
    )
    lines.set(alpha=alpha, rasterized=len(pre) > ARROWS)
    ax.add_collection(lines)


def _write_names(ax, names, place, degree, labels, area):
    names = list(names)
    if labels is None:
        shown = range(len(names)) if len(names) <= NAMED else np.argsort(-degree, kind="stable")[:10]
    else:
        unknown = [name for name in labels if name not in names]
        if unknown:
            match(unknown[0], names, "cell")
        shown = [names.index(name) for name in labels]
    halo = extras.load("matplotlib.patheffects").withStroke(linewidth=2.2, foreground="white", alpha=0.85)
    for i in shown:
        offset = (0, np.sqrt(area[i]) / 2 + 1.5)
        at = {"xytext": offset, "textcoords": "offset points", "ha": "center", "va": "bottom"}
        ax.annotate(names[i], place[i], fontsize=7.5, color=style.INK, path_effects=[halo], zorder=6, **at)


def _graph_legend(ax, table, kept, edges):
    line = extras.load("matplotlib.lines").Line2D
    dot = {"linestyle": "none", "marker": "o", "ms": 6, "mec": "white"}
    handles = [line([], [], mfc=colour, label=name, **dot) for name, colour in table.items()]
    chem, gap = kept["chem"], kept["gap"]
    if len(chem[0]) and edges == "sign":
        for sign in (1, -1, 0):
            n = int(np.sum(np.sign(chem[3]) == sign))
            if n:
                handles.append(line([], [], color=SIGN_COLOURS[sign], label=f"{n:,} {SIGN_NAMES[sign]}"))
    elif len(chem[0]):
        handles.append(line([], [], color=style.GREY, label=f"{len(chem[0]):,} chemical"))
    if len(gap[0]):
        dashed = {"color": style.INK, "linestyle": (0, (2.5, 1.8)), "linewidth": 1.2}
        handles.append(line([], [], label=f"{len(gap[0]):,} gap junctions", **dashed))
    if handles:
        style.legend(ax, handles=handles, loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=min(len(handles), 7))
