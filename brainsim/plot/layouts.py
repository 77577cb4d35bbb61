"""Where the cells of a connectome are drawn."""

import numpy as np

from .. import extras
from ..errors import ParameterError
from ..names import match

LAYOUTS = ("body", "circular", "spring")


def place_cells(connectome, layout, groups) -> np.ndarray:
    """Coordinates (n, 2) of the cells, see `graph`."""
    n = len(connectome.names)
    if not isinstance(layout, str):
        place = np.asarray(layout, float)
        if place.shape != (n, 2) or not np.isfinite(place).all():
            raise ParameterError(f"layout has shape {place.shape}; give ({n}, 2) finite coordinates")
        return place
    match(layout, LAYOUTS, "layout")
    if layout == "circular":
        return circle(groups)
    if layout == "spring":
        return spring(connectome)
    if connectome.positions is None:
        raise ParameterError("layout='body' needs positions, which are absent; use layout='circular' or 'spring'")
    return body(np.asarray(connectome.positions, float), groups)


def body(positions, groups) -> np.ndarray:
    """In the order of the longest axis, crowded stretches widened; sideways stacked by group, so that none overlap.

    Cells of unknown position stand at the end.

    Args:
        positions: (n, 2 or 3). groups: (n,) labels.

    Returns:
        (n, 2) without unit: 0 .. 1 along the body, and a fifth of that across where it is crowded.
    """
    known = np.isfinite(positions).all(axis=1)
    extent = np.ptp(positions[known], axis=0) if known.any() else np.zeros(positions.shape[1])
    axis, n = int(np.argmax(extent)), len(positions)
    place = np.full(n, 1.05)
    place[known] = (positions[known, axis] - positions[known, axis].min()) / (float(extent[axis]) or 1.0)
    order = np.argsort(place, kind="stable")
    place[order] = 0.3 * place[order] + 0.7 * np.arange(n) / max(n - 1, 1)
    height = {g: k for k, g in enumerate(sorted(set(groups)))}
    n_columns = max(int(np.sqrt(4.0 * n)), 2)
    column, across = np.floor(place * n_columns).astype(int), np.zeros(n)
    for c in np.unique(column):
        cells = np.flatnonzero(column == c)
        cells = cells[np.lexsort((place[cells], np.array([height[groups[i]] for i in cells])))]
        across[cells] = np.arange(len(cells)) - (len(cells) - 1) / 2
    return np.stack([place, -across / max(np.ptp(across), 8.0) / 5], axis=1)


def circle(groups) -> np.ndarray:
    """On a circle, groups together, from the top clockwise."""
    rank = {g: k for k, g in enumerate(sorted(set(groups)))}
    order = np.argsort([rank[g] for g in groups], kind="stable")
    seat = np.empty(len(groups))
    seat[order] = np.arange(len(groups))
    angle = np.pi / 2 - 2 * np.pi * seat / max(len(groups), 1)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def spring(connectome) -> np.ndarray:
    """Springs along the edges (networkx, always the same)."""
    networkx = extras.load("networkx")
    net = networkx.Graph()
    net.add_nodes_from(range(len(connectome.names)))
    for table in (connectome.chem, connectome.gap):
        net.add_edges_from(zip(np.asarray(table.pre).tolist(), np.asarray(table.post).tolist()))
    net.remove_edges_from(list(networkx.selfloop_edges(net)))
    place = networkx.spring_layout(net, seed=0, k=2.5 / np.sqrt(max(len(net), 1)), iterations=100)
    return np.array([place[i] for i in range(len(net))]).reshape(-1, 2)
