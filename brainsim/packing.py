"""Arrays of the operator calls that deliver spikes: rows, packed words of receiver and delay, blocks of receivers.

Two layouts. *Merged*: one row per source, with the edges of all projections one after the other; per-edge weights are
permuted once per run. *In parts*: every projection keeps its own rows and the order of its edges, so that nothing is
permuted and no index is kept: for networks whose weights alone fill a good part of the memory.

A row may be divided into blocks, stretches of receivers that fit the cache of a core together with their future (the
ring). Spikes are then delivered block by block, and blocks are what threads share out. Edges are sorted by target
within a row, so a block is a stretch of the row and needs only its first edge.
"""

import numpy as np

from .delivery import Bundle, Steps, span
from .design import Design
from .drawing import for_chunks
from .edges import merge_rows


def choose(bundle: Bundle, n_receive: int, design: Design, itemsize: int) -> None:
    """Layout, number of blocks and depth of the ring of a bundle, and why.

    Args:
        n_receive: receivers of all bundles.
        itemsize: bytes of what a receiver holds.
    """
    bundle.slots = 1 if bundle.delay is not None else max(span(p.steps)[1] for p in bundle.parts) + 1
    bundle.packed = bundle.slots * n_receive < 2**31 and bundle.kernel != "linear"  # whose lags are not known yet
    width, crossed = itemsize * bundle.slots * n_receive, overlap(bundle)
    permuted = bundle.per_edge and len(bundle.parts) > 1
    merged = not permuted or bundle.n_edges <= design.permuted
    if width > design.cache and crossed:
        merged = False  # a row of several projections onto the same receivers is not sorted
    bundle.merged = design.merged.get(bundle.index, merged)
    # in parts, too, sums follow the sources
    bundle.parts.sort(key=lambda p: p.start if bundle.merged else (p.source, p.start))
    fan = bundle.n_edges / max(_n_rows(bundle), 1)
    blocks = max(1, min(-(-width // design.cache), fan * (1 if bundle.merged else 4) // design.shortest))
    most = 1 if bundle.merged and crossed else max(1, n_receive)
    bundle.n_blocks = int(min(design.blocks.get(bundle.index, blocks), most))
    bundle.listed = design.lists and bundle.sends == "spikes"
    bundle.why = (
        f"{bundle.n_edges} edges, {fan:.0f} a row; receivers{' and their future' * (bundle.slots > 1)} take "
        f"{width / 2**20:.2g} MiB of {design.cache / 2**20:.2g} that stay in cache"
    )


def overlap(bundle) -> bool:
    """Whether a source has several projections onto the same receivers.

    Then its merged row is not sorted by receiver, and sums have another order in merged rows than in parts.
    """
    low, high = np.array([p.span for p in bundle.parts]).T
    first, end = np.array([(a, a + n) for a, n in bundle.sides]).T
    meet = lambda k: (low < high[k]) & (low[k] < high) & (first < end[k]) & (first[k] < end)
    return any(np.count_nonzero(meet(k)) > 1 for k in range(len(low)))


def _n_rows(bundle):
    if not bundle.merged:
        return sum(p.projection.edges.n_pre for p in bundle.parts)
    return sum(dict((p.source, p.projection.edges.n_pre) for p in bundle.parts).values())


def pack(bundle: Bundle, n_sources: int, n_receive: int) -> dict:
    """int32 arrays of a bundle.

    Returns:
        `indptr` (n_rows * n_blocks + 1,): first edge of every row and block, rows outermost; `indices` (n_edges,):
        delay * n_receive + receiver, or the receiver alone beside `delays` where the product passes int32; `parts`
        (n_parts, 3): first source, number of sources, first row; `order` (n_edges,), where merged weights
        must be permuted: the place of every edge in the concatenation of the projections.
    """
    sides = [(p.edges, p.source) for p in bundle.parts]
    starts, n_edges = places(bundle)
    made = {"indices": aligned(n_edges, np.int32)}
    if bundle.merged:
        indptr, shifts = merge_rows(sides, n_sources)
        if bundle.per_edge and len(sides) > 1:
            made["order"] = aligned(bundle.n_edges, np.int32)
        made["parts"] = np.array([[0, n_sources, 0]], np.int32)
    else:
        indptr, made["parts"] = _rows_in_parts(sides, starts, n_edges)
        shifts = None
    if not bundle.packed:
        made["delays"] = aligned(n_edges, np.int32)
        made["delays"][:] = 0
    for k, (part, first) in enumerate(zip(bundle.parts, starts)):
        _fill(bundle, part, made, first, None if shifts is None else shifts[k], n_receive)
        end = starts[k + 1] if k + 1 < len(starts) else n_edges
        made["indices"][first + part.n_edges : end] = n_receive - 1  # of the last block, as the end of a row must be
    made["indptr"] = _divide(bundle, indptr, made["indices"], n_receive)
    return made


def places(bundle: Bundle) -> tuple[list[int], int]:
    """First edge of every part in the arrays of a bundle, and their length.

    In parts, a part starts at a multiple of 64 bytes, so that the weights of a projection can be a view of those of
    the bundle. What fills the gap belongs to the last row before it and has weight 0.
    """
    step, starts, n = 1 if bundle.merged else 16, [], 0
    for part in bundle.parts:
        starts.append(n)
        n += -(-part.n_edges // step) * step
    return starts, n


def _rows_in_parts(sides, starts, n_edges):
    table, row = [], 0
    for edges, source in sides:
        table.append((source, edges.n_pre, row))
        row += edges.n_pre
    pointers = [e.indptr[:-1] + first for (e, _), first in zip(sides, starts)]
    return np.concatenate([*pointers, [n_edges]]), np.asarray(table, np.int32)


def _fill(bundle, part, made, first, shift, n_receive):
    """Write the edges of one part to their places."""
    edges = part.edges

    def fill(low, high):
        at = slice(first + low, first + high) if shift is None else edges.places(low, high, shift)
        receiver = edges.post[low:high] + np.int32(part.start)
        steps = 0
        if bundle.delay is None:
            steps = part.steps.between(low, high) if isinstance(part.steps, Steps) else np.int32(part.steps)
        made["indices"][at] = receiver + steps * np.int32(n_receive) if bundle.packed else receiver
        if not bundle.packed:
            made["delays"][at] = steps
        if "order" in made:
            made["order"][at] = np.arange(first + low, first + high, dtype=np.int32)

    for_chunks(fill, part.n_edges)


def _divide(bundle, indptr, words, n_receive):
    """Row pointers, refined by the blocks of receivers."""
    if bundle.n_blocks == 1:
        return indptr.astype(np.int32)
    n_rows, size = len(indptr) - 1, -(-n_receive // bundle.n_blocks)
    counts = np.zeros((n_rows, bundle.n_blocks), np.int32)

    def count(low, high):
        for a in range(low, high, 4096):  # rows
            b = min(a + 4096, high)
            receiver = words[indptr[a] : indptr[b]]
            receiver = receiver - receiver // np.int32(n_receive) * np.int32(n_receive)
            block = receiver // np.int32(size)
            row = np.repeat(np.arange(b - a, dtype=np.int32), np.diff(indptr[a : b + 1]))
            found = np.bincount(row * np.int32(bundle.n_blocks) + block, minlength=(b - a) * bundle.n_blocks)
            counts[a:b] = found.reshape(b - a, bundle.n_blocks)

    for_chunks(count, n_rows, 8192)
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int32)


def aligned(n, kind) -> np.ndarray:
    """Uninitialised array that jax can use without a copy."""
    kind = np.dtype(kind)
    raw = np.empty(n * kind.itemsize + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + n * kind.itemsize].view(kind)
