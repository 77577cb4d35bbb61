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
    """Along the longest axis cells stay where they are; sideways they are spread so that they do not overlap.

    Cells of one stretch of the body form a column, ordered by group. Cells of unknown position stand at the end.

    Args:
        positions: (n, 2 or 3). groups: (n,) labels, in columns in the order of their first occurrence.

    Returns:
        (n, 2): the first column in the units of the positions, the second without meaning, about 1/6 as long.
    """
    known = np.isfinite(positions).all(axis=1)
    extent = np.ptp(positions[known], axis=0) if known.any() else np.zeros(positions.shape[1])
    axis = int(np.argmax(extent))
    length = float(extent[axis]) or 1.0
    along = positions[:, axis].copy()
    along[~known] = (along[known].max() if known.any() else 0.0) + 0.06 * length
    rank = {g: k for k, g in enumerate(dict.fromkeys(groups))}
    column = np.floor((along - along.min()) / length * 90).astype(int)
    across = np.zeros(len(along))
    for c in np.unique(column):
        cells = np.flatnonzero(column == c)
        cells = cells[np.lexsort((along[cells], [rank[groups[i]] for i in cells]))]
        across[cells] = np.arange(len(cells)) - (len(cells) - 1) / 2
    return np.stack([along, -across * length / 90], axis=1)


def circle(groups) -> np.ndarray:
    """On a circle, groups together, from the top clockwise."""
    rank = {g: k for k, g in enumerate(dict.fromkeys(groups))}
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
