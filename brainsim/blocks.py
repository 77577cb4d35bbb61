"""Edges drawn in blocks of rows: the random stream of a block depends on its number alone."""

import math

import numpy as np

from .edges import Edges
from .errors import ConnectError
from .sampling import slot_type
from .threads import for_all, in_order

EDGES = 2**17  # of a block: sorted in the cache, and many more than what starting a block costs
ROWS = 2**20  # of a block at most


def row_blocks(n_rows: int, per_row: float, least: int = 0) -> list[tuple[int, int, int]]:
    """(number, first row, end) of blocks of about `EDGES` edges, or `least`, if a row has `per_row`; from number 1."""
    rows = min(ROWS, max(1, int(max(EDGES, least) / max(per_row, 1e-9))))
    return [(1 + i, start, min(start + rows, n_rows)) for i, start in enumerate(range(0, n_rows, rows))]


def from_slots(n_pre: int, n_post: int, blocks, draw, expected: float) -> Edges:
    """Edges from the slots of each block.

    Args:
        n_pre, n_post: numbers of cells.
        blocks: what `row_blocks` gave for the sources.
        draw: draw(number, start, stop) returns the sorted slots (row - start) * n_post + post of a block, unsigned.
        expected: number of edges, about.
    """
    indptr = np.zeros(n_pre + 1, np.int64)
    post, n = np.empty(int(expected + 8 * math.sqrt(expected)) + 64, np.int32), 0  # untouched memory costs nothing

    def rows(block):
        slots = draw(*block)
        row = slots // slots.dtype.type(max(1, n_post))
        starts = np.arange(1, block[2] - block[1], dtype=slots.dtype) * slots.dtype.type(n_post)
        counts = np.diff(np.searchsorted(slots, starts), prepend=0, append=len(slots))
        row *= slots.dtype.type(n_post)
        return counts, np.subtract(slots, row, out=row).astype(np.int32)

    for (_, start, stop), (counts, part) in zip(blocks, in_order(rows, blocks)):
        if n + len(part) > len(post):
            post = _longer(post, n, n + len(part))
        post[n : n + len(part)] = part
        indptr[start + 1 : stop + 1] = counts
        n += len(part)
    _check_number(n)
    return Edges.from_rows(np.cumsum(indptr, out=indptr), post[:n], n_pre, n_post)


def _longer(values, n, need):
    longer = np.empty(max(need, 2 * len(values)), values.dtype)
    longer[:n] = values[:n]
    return longer


def _check_number(n):
    if n > 2**31 - 1:
        raise ConnectError(f"{n} edges were drawn; one projection holds at most 2**31 - 1, so connect in parts")


def transposed(n_pre: int, n_post: int, k: int, draw) -> Edges:
    """Edges of which the sources of every target are drawn.

    All blocks are drawn twice: to count the edges of every source, and to put them into its row. Targets come in order,
    so that rows are sorted, and nothing but the result is kept.

    Args:
        n_pre, n_post, k: numbers of sources and targets, and of edges per target.
        draw: draw(number, start, stop) returns (stop - start, k) sources of these targets, unsigned.
    """
    blocks = row_blocks(n_post, k, least=n_pre)  # no block is smaller than the counts that are made for it
    degree = np.zeros(n_pre, np.int64)
    for counts in in_order(lambda block: np.bincount(draw(*block).ravel().astype(np.int64), minlength=n_pre), blocks):
        degree += counts
    indptr = np.concatenate([[0], np.cumsum(degree)])
    _check_number(int(indptr[-1]))
    post, place = np.empty(int(indptr[-1]), np.int32), indptr[:-1].copy()

    def by_source(block):
        _, start, stop = block
        kind = slot_type(n_pre * (stop - start))
        rows = kind.type(stop - start)
        keys = draw(*block).astype(kind) * rows + np.arange(stop - start, dtype=kind)[:, None]
        keys = np.sort(keys, axis=None)
        source = keys // rows
        keys -= source * rows
        return np.bincount(source.astype(np.int64), minlength=n_pre), keys.astype(np.int32) + np.int32(start)

    def placed():
        for counts, targets in in_order(by_source, blocks):
            yield place - (np.cumsum(counts) - counts), counts, targets
            np.add(place, counts, out=place)

    def put(job):
        moved, counts, targets = job
        post[np.arange(len(targets)) + np.repeat(moved, counts)] = targets

    for_all(put, placed())
    return Edges.from_rows(indptr, post, n_pre, n_post)
