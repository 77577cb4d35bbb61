"""Lists of spikes: compaction, a history of lists, and delivery from a list instead of a vector of spikes.

A scan of all cells for their spikes costs more than the delivery of a few spikes. So a step lists its spikes once
(`compact`, or `push_list` where they wait for a delay), and every delivery (`deliver_list`) touches listed rows only.

Edges may be split by target blocks (`block_edges`): then row r has n_blocks pieces, the edges of piece b are
indptr[r * n_blocks + b] ... indptr[r * n_blocks + b + 1] - 1, and block b owns the targets from b * size to
(b + 1) * size, size = ceil(n_post / n_blocks). Threads share the blocks; sums and bits do not depend on either.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from . import arguments, dispatch
from .arguments import FLOATS, refuse
from .list_primitives import append_list_p, compact_p, deliver_list_p, push_list_p


class SpikeList(NamedTuple):
    """What `compact` returns."""

    ids: jax.Array  # (capacity,) int32: the numbers of the cells that spike, ascending; -1 behind them
    count: jax.Array  # () int32: how many ids are valid
    overflow: jax.Array  # () bool: more spikes than capacity
    total: jax.Array  # () int32: how many cells spike


def compact(spikes, capacity=None, *, backend=None) -> SpikeList:
    """The numbers of the cells that spike.

    Args:
        spikes: (n,) bool, float32 or float64; what is not zero is a spike, nan too.
        capacity: length of the list, static; default n, which cannot overflow.
        backend: "native", "xla" or "reference" for this call; default: by platform or BRAINSIM_OPS.

    Returns:
        ids (capacity,) int32, ascending, -1 behind the last; count () int32 = min(total, capacity); overflow () bool,
        true where spikes are missing (those with the highest numbers); total () int32, the number of spikes.

    Raises:
        ValueError: a shape or dtype does not fit, or capacity is no count (while tracing).

    >>> import jax.numpy as jnp
    >>> compact(jnp.array([0.0, 1.0, 0.0, 2.0, 3.0]), 2)[:4]
    (Array([1, 3], dtype=int32), Array(2, dtype=int32), Array(True, dtype=bool), Array(3, dtype=int32))
    """
    spikes = arguments.array("compact", "spikes", spikes, ("bool", *FLOATS), 1)
    capacity = spikes.shape[0] if capacity is None else _count_of("compact", "capacity", capacity, 0)
    return SpikeList(*compact_p.bind(spikes, capacity=capacity, backend=dispatch.requested(backend)))


def push_list(history_ids, counts, spikes, step, *, backend=None):
    """Write the list of this step into a history of lists, row step % depth.

    The native form updates both arrays in place and writes only the ids that are there: entries behind the count of a
    row keep what they held.

    Args:
        history_ids: (depth, capacity) int32.
        counts: (depth,) int32.
        spikes: (n,) bool, float32 or float64.
        step: () int32, any value.
        backend: as in `compact`.

    Returns:
        (history_ids, counts). counts[row] is the true number of spikes: where it is larger than the capacity the list
        has overflowed, and `deliver_list` refuses it.

    Raises:
        ValueError: a shape or dtype does not fit (while tracing).

    >>> import jax.numpy as jnp
    >>> ids, counts = jnp.zeros((2, 3), jnp.int32), jnp.zeros(2, jnp.int32)
    >>> push_list(ids, counts, jnp.array([False, True, True]), 5)  # row 5 % 2
    (Array([[0, 0, 0],
           [1, 2, 0]], dtype=int32), Array([0, 2], dtype=int32))
    """
    what = "push_list"
    history_ids = arguments.array(what, "history_ids", history_ids, ("int32",), 2)
    counts = _counts_of(what, counts, history_ids)
    spikes = arguments.array(what, "spikes", spikes, ("bool", *FLOATS), 1)
    step = arguments.step_of(what, step)
    return tuple(push_list_p.bind(history_ids, counts, spikes, step, backend=dispatch.requested(backend)))


def append_list(ids, fill, spikes, *, backend=None):
    """Write the list of this step behind what a buffer holds already: a record of spikes that costs what it holds.

    The native form updates the buffer in place.

    Args:
        ids: (capacity,) int32.
        fill: () int32, how many entries are in use.
        spikes: (n,) bool, float32 or float64.
        backend: as in `compact`.

    Returns:
        (ids, fill). What does not fit is not written, but counted: fill > capacity says that spikes were lost.

    Raises:
        ValueError: a shape or dtype does not fit (while tracing).

    >>> import jax.numpy as jnp
    >>> append_list(jnp.array([7, 0, 0], jnp.int32), jnp.int32(1), jnp.array([True, False, True]))
    (Array([7, 0, 2], dtype=int32), Array(3, dtype=int32))
    """
    what = "append_list"
    ids, fill = arguments.array(what, "ids", ids, ("int32",), 1), arguments.array(what, "fill", fill, ("int32",), 0)
    spikes = arguments.array(what, "spikes", spikes, ("bool", *FLOATS), 1)
    return tuple(append_list_p.bind(ids, fill, spikes, backend=dispatch.requested(backend)))


def deliver_list(
    ring, ids, count, weights, parts, indptr, indices, delays, step, *, n_blocks=1, row=None, backend=None
):
    """Deliver listed spikes into a ring: ring[(step + delays[e]) % n_slots, indices[e]] += weights[e]; values are 1.

    Source i of the part (first, number, first_row) has row first_row + i - first, first <= i < first + number. A source
    in several parts is delivered by each. The native form updates the ring in place and works on several threads where
    there are several blocks; every target sums by part, then by source, so blocks and threads change no bit.
    Linear in ring and weights, with derivatives of any order by both; the list has none.

    Args:
        ring: (n_slots, n_post) float32 or float64; one slot is plain accumulation.
        ids: (capacity,) int32, ascending, as `compact` returns them; with `row` a history (depth, capacity).
        count: () int32, how many ids are valid; with `row` (depth,).
        weights: () or (n_edges,); float32, float64 or bfloat16, not wider than the ring.
        parts: (n_parts, 3) int32.
        indptr: (n_rows * n_blocks + 1,) int32.
        indices: (n_edges,) int32 in [0, n_post), or what `pack_edges` returned.
        delays: (n_edges,) int32 in steps, taken modulo n_slots; None where indices are packed.
        step: () int32, any value.
        n_blocks: pieces of each row, see `block_edges`; static.
        row: () int32, the row of the history to deliver, modulo depth: (step - 1 - delay) for a list pushed by
            `push_list` delay steps before. The row is read where it lies.
        backend: as in `compact`.

    Returns:
        The new ring, shape and dtype of the old.

    Raises:
        ValueError: a shape or dtype does not fit (while tracing).
        jax.errors.JaxRuntimeError: count is larger than capacity, the ids do not ascend, or a part or an edge points
            outside (native form only; the others drop it).

    >>> import jax.numpy as jnp
    >>> indptr, targets, delays = (jnp.array(a, jnp.int32) for a in ([0, 2, 3], [0, 1, 1], [1, 1, 0]))
    >>> parts = jnp.array([[0, 2, 0]], jnp.int32)  # sources 0 and 1 have rows 0 and 1
    >>> spikes = compact(jnp.array([True, False]))
    >>> deliver_list(jnp.zeros((2, 2)), spikes.ids, spikes.count, 0.5, parts, indptr, targets, delays, 2)  # slot 3 % 2
    Array([[0. , 0. ],
           [0.5, 0.5]], dtype=float32)
    """
    what = "deliver_list"
    ring, (ids, count, row) = arguments.ring_of(what, ring), _listed(what, ids, count, row)
    parts = arguments.array(what, "parts", parts, ("int32",), 2)
    if parts.shape[1] != 3:
        refuse(what, f"parts have shape {parts.shape}", "a part is (first, number, first row)", "pass (n_parts, 3)")
    indptr, indices = arguments.graph_of(what, indptr, indices)
    n_blocks = _count_of(what, "n_blocks", n_blocks, 1)
    if (indptr.shape[0] - 1) % n_blocks:
        refuse(
            what,
            f"indptr has length {indptr.shape[0]}",
            f"{n_blocks} blocks split every row",
            "pass n_rows * n_blocks + 1 entries, as block_edges returns them",
        )
    weights = arguments.weights_of(what, weights, indices, ring)
    arguments.not_wider(what, "weights", weights, ring)
    graph = indptr, indices, arguments.delays_of(what, delays, indices), arguments.step_of(what, step)
    asked = dispatch.requested(backend)
    return deliver_list_p.bind(ids, count, row, weights, parts, *graph, ring, n_blocks=n_blocks, backend=asked)


def block_edges(indptr, targets, n_post, n_blocks):
    """Split every row of a graph by target blocks; on the host, once.

    Args:
        indptr: (n_rows + 1,) int, rising from 0 to n_edges, concrete.
        targets: (n_edges,) int in [0, n_post), concrete; without delay (of packed words: `words % n_post`).
        n_post: number of targets.
        n_blocks: number of blocks.

    Returns:
        (indptr, order): (n_rows * n_blocks + 1,) int32, and (n_edges,) the old number of every edge in its new place:
        pass `indices[order]`, `weights[order]`, `delays[order]`. The order within a row and block is kept.

    Raises:
        ValueError: n_blocks is no count, indptr does not fit the edges, or a target is outside.

    >>> block_edges([0, 3], [5, 1, 4], n_post=6, n_blocks=2)
    (array([0, 1, 3], dtype=int32), array([1, 0, 2]))
    """
    what = "block_edges"
    n_post, n_blocks = arguments.size(what, n_post), _count_of(what, "n_blocks", n_blocks, 1)
    indptr, targets = np.asarray(indptr, np.int64), np.asarray(targets, np.int64)
    if indptr.ndim != 1 or targets.ndim != 1 or not indptr.size or indptr[0] or indptr[-1] != targets.size:
        refuse(what, "indptr does not fit the targets", "it rises from 0 to n_edges", "pass the rows of this graph")
    if np.any(np.diff(indptr) < 0):
        refuse(what, "indptr falls", "the edges of a row follow each other", "pass the rows of this graph")
    bad = np.flatnonzero((targets < 0) | (targets >= n_post))
    if bad.size:
        given = f"targets[{bad[0]}] = {targets[bad[0]]}"
        refuse(what, given, f"it is outside [0, {n_post})", "pass targets without delays (packed: words % n_post)")
    n_rows, size = indptr.size - 1, max(-(-n_post // n_blocks), 1)
    piece = np.repeat(np.arange(n_rows), np.diff(indptr)) * n_blocks + targets // size
    ends = np.cumsum(np.bincount(piece, minlength=n_rows * n_blocks))
    return np.concatenate([[0], ends]).astype(np.int32), np.argsort(piece, kind="stable")


def _count_of(what, name, n, least):
    try:
        n = int(n.__index__())
    except (AttributeError, TypeError, jax.errors.TracerIntegerConversionError):
        refuse(what, f"{name} is {n!r}", "it is static", "pass a Python int")
    if n < least:
        refuse(what, f"{name} is {n}", f"it is at least {least}", f"pass {least} or more")
    return n


def _counts_of(what, counts, history):
    counts = arguments.array(what, "counts", counts, ("int32",), 1)
    if history.shape[0] == 0:
        refuse(what, f"the history has shape {history.shape}", "it needs a row", "make depth the largest delay + 1")
    if counts.shape[0] != history.shape[0]:
        refuse(
            what,
            f"counts have length {counts.shape[0]}",
            f"the history has {history.shape[0]} rows",
            f"pass one count per row, shape ({history.shape[0]},)",
        )
    return counts


def _listed(what, ids, count, row):
    """(history, counts, row): a plain list is a history of one row."""
    if row is None:
        ids = arguments.array(what, "ids", ids, ("int32",), 1)
        count = arguments.array(what, "count", count, ("int32",), 0)
        return ids[None, :], count[None], jnp.zeros((), jnp.int32)
    ids = arguments.array(what, "ids", ids, ("int32",), 2)
    return ids, _counts_of(what, count, ids), arguments.step_of(what, row)
