"""Spikes over a matrix of dense blocks: clustered connectivity without an index per edge.

T(s, w, x) = sum over the blocks (I, J) and their entries of s[I * b_pre + p] * w[block, p, q] * x[J * b_post + q].
"""

import functools

import jax.numpy as jnp
import numpy as np

from . import arguments, dispatch, native, xla
from .trilinear import Family

TRAILING = {"scatter": (1, 3, 1, 1, 1), "gather": (1, 3, 1, 1, 1), "outer": (1, 1, 1, 1, 1)}
RESULT_RANK = {"scatter": 1, "gather": 1, "outer": 3}


def event_blocks(spikes, blocks, block_indptr, block_indices, *, n_post, active=None, backend=None):
    """Sum what the spiking rows send through a matrix of dense blocks; absent blocks are zero.

    Only blocks with a spike among their rows are read, and of these the rows that spike. A silent row does not count,
    even where a block is infinite; nan is not zero and spreads. Linear in both factors, differentiable to any order.

    Args:
        spikes: (n_pre,) bool, float32 or float64.
        blocks: (n_blocks, b_pre, b_post) float32, float64 or bfloat16. What sticks out of (n_pre, n_post) is ignored.
        block_indptr: (ceil(n_pre / b_pre) + 1,) int32, rising from 0 to n_blocks: the blocks of one row of blocks
            after the other.
        block_indices: (n_blocks,) int32 in [0, ceil(n_post / b_post)), the column of every block.
        n_post: number of targets, static.
        active: (n_pre,) bool, rows whose derivative by `spikes` is wanted; elsewhere it is zero. Default: all.
        backend: "native", "xla" or "reference" for this call ("pallas": xla); default: by platform or BRAINSIM_OPS.

    Returns:
        (n_post,) in the wider dtype of spikes and blocks; bool spikes: the dtype of the blocks. bfloat16 blocks are
        summed in float32.

    Raises:
        ValueError: a shape or dtype does not fit (while tracing).
        jax.errors.JaxRuntimeError: a block lies outside (native form only; the others drop it).

    >>> import jax.numpy as jnp
    >>> blocks, row = jnp.ones((1, 2, 2)), jnp.array([0, 1], jnp.int32)
    >>> event_blocks(jnp.array([True, True]), blocks, row, jnp.array([1], jnp.int32), n_post=4)
    Array([0., 0., 2., 2.], dtype=float32)
    """
    what = "event_blocks"
    n_post = arguments.size(what, n_post)
    spikes = arguments.array(what, "spikes", spikes, ("bool", *arguments.FLOATS), 1)
    blocks = _blocks(what, blocks)
    indptr, indices = arguments.graph_of(what, block_indptr, block_indices)
    expected = (-(-spikes.shape[0] // blocks.shape[1]) + 1, blocks.shape[0])
    if (indptr.shape[0], indices.shape[0]) != expected:
        arguments.refuse(
            what,
            f"block_indptr has length {indptr.shape[0]} and block_indices {indices.shape[0]}",
            f"{spikes.shape[0]} spikes in blocks of shape {blocks.shape} need {expected[0]} and {expected[1]}",
            "build all three with to_blocks",
        )
    stated, inner = arguments.result_dtypes(spikes, blocks)
    spikes = spikes if spikes.dtype == bool else spikes.astype(inner)
    given = (spikes, blocks, indptr, indices, arguments.active_of(what, active, spikes.shape[0]))
    asked = dispatch.requested(backend)
    return BLOCKS.bind("scatter", *given, shape=(n_post,), dtype=inner, backend=asked).astype(stated)


def _blocks(what, blocks):
    own = blocks.dtype if hasattr(blocks, "dtype") else np.asarray(blocks).dtype
    if own.name not in arguments.WEIGHTS or np.ndim(blocks) != 3 or 0 in np.shape(blocks)[1:]:
        arguments.refuse(
            what,
            f"blocks are {own.name}{np.shape(blocks)}",
            f"they must be (n_blocks, b_pre, b_post) of {' or '.join(arguments.WEIGHTS)}",
            "build them with to_blocks",
        )
    return jnp.asarray(blocks)


def to_blocks(indptr, indices, weights, block, *, n_post):
    """Compressed rows as dense blocks, on the host.

    Args:
        indptr: (n_pre + 1,) int, concrete.
        indices: (n_edges,) int targets in [0, n_post), concrete. Duplicate edges add up.
        weights: () or (n_edges,) float, concrete.
        block: int, or (b_pre, b_post).
        n_post: number of targets.

    Returns:
        (blocks (n_blocks, b_pre, b_post), block_indptr, block_indices) NumPy arrays for `event_blocks`, in the dtype of
        the weights (float32 where they are a Python number); every block holds at least one edge.

    Raises:
        ValueError: the graph is not one, or a block size is not positive.

    >>> blocks, block_indptr, block_indices = to_blocks([0, 1, 2], [3, 2], 1.0, 2, n_post=4)
    >>> blocks.tolist(), block_indptr.tolist(), block_indices.tolist()
    ([[[0.0, 1.0], [1.0, 0.0]]], [0, 1], [1])
    """
    b_pre, b_post = (block, block) if isinstance(block, (int, np.integer)) else block
    indptr, indices = np.asarray(indptr, np.int64), np.asarray(indices, np.int64)
    values = np.asarray(weights, np.float32 if isinstance(weights, (int, float)) else None)
    _check_graph(indptr, indices, values, (b_pre, b_post), n_post)
    n_pre = len(indptr) - 1
    rows, n_columns = np.repeat(np.arange(n_pre), np.diff(indptr)), -(-n_post // b_post)
    place = rows // b_pre * n_columns + indices // b_post
    used, number = np.unique(place, return_inverse=True)
    blocks = np.zeros((len(used), b_pre, b_post), values.dtype)
    np.add.at(blocks, (number, rows % b_pre, indices % b_post), values)
    starts = np.searchsorted(used, np.arange(-(-n_pre // b_pre) + 1) * n_columns)
    return blocks, starts.astype(np.int32), (used % max(n_columns, 1)).astype(np.int32)


def _check_graph(indptr, indices, values, block, n_post):
    if min(block) < 1:
        arguments.refuse("to_blocks", f"block is {block}", "a block has rows and columns", "pass positive sizes")
    rising = indptr.ndim == 1 and len(indptr) and indptr[0] == 0 and np.all(np.diff(indptr) >= 0)
    if not rising or indptr[-1] != len(indices):
        arguments.refuse(
            "to_blocks", "indptr is not one", "it rises from 0 to n_edges", "pass the rows of a graph of int arrays"
        )
    if values.shape not in ((), indices.shape) or values.dtype.name not in arguments.WEIGHTS:
        arguments.refuse(
            "to_blocks",
            f"weights are {values.dtype.name}{values.shape}",
            f"there are {len(indices)} edges",
            f"pass () or ({len(indices)},) of {' or '.join(arguments.WEIGHTS)}",
        )
    bad = np.flatnonzero((indices < 0) | (indices >= n_post))
    if bad.size:
        arguments.refuse(
            "to_blocks",
            f"indices[{bad[0]}] = {indices[bad[0]]}",
            f"it is outside [0, {n_post})",
            "give the true n_post",
        )


# --- forms: single networks in jnp


def _padded(values, size, count):
    """(count, size) values in blocks, zeros behind the end."""
    return jnp.pad(values, (0, count * size - values.shape[0])).reshape(count, size)


def _places(indptr, indices, n_columns):
    """(row of blocks, column of blocks that exists, whether both do) of every block."""
    rows = xla.row_of_edges(indptr, indices.shape[0])
    existing = jnp.clip(indices, 0, max(n_columns - 1, 0))
    return rows, existing, (rows < indptr.shape[0] - 1) & (existing == indices)


def _of_blocks(values, size, count, place, known):
    """(n_blocks, size) values of the row or column of every block, zero where there is none."""
    picked = _padded(values, size, count).at[place].get(mode="fill", fill_value=0)
    return jnp.where(known[:, None], picked, jnp.zeros((), values.dtype))


def _sends(s):
    return s if s.dtype == bool else s != 0


def _scatter(s, w, indptr, indices, active, shape, dtype):
    (_, b_pre, b_post), n_columns = w.shape, -(-shape[0] // w.shape[2])
    rows, place, known = _places(indptr, indices, n_columns)
    spikes = _of_blocks(s, b_pre, indptr.shape[0] - 1, rows, known)[:, :, None]
    products = jnp.where(_sends(spikes), spikes.astype(dtype) * w.astype(dtype), jnp.zeros((), dtype))
    out = jnp.zeros((n_columns, b_post), dtype).at[place].add(jnp.sum(products, axis=1), mode="drop")
    return out.reshape(-1)[: shape[0]]


def _gather(x, w, indptr, indices, active, shape, dtype):
    (_, b_pre, b_post), n_columns = w.shape, -(-x.shape[0] // w.shape[2])
    rows, place, known = _places(indptr, indices, n_columns)
    values = _of_blocks(x, b_post, n_columns, place, known)
    real = (place[:, None] * b_post + jnp.arange(b_post, dtype=jnp.int32)[None, :] < x.shape[0]) & known[:, None]
    products = jnp.where(real[:, None, :], values[:, None, :] * w.astype(dtype), jnp.zeros((), dtype))
    y = jnp.zeros((indptr.shape[0] - 1, b_pre), dtype).at[rows].add(jnp.sum(products, axis=2), mode="drop")
    y = y.reshape(-1)[: shape[0]]
    return jnp.where(active, y, jnp.zeros((), dtype)) if active.shape[0] else y


def _outer(s, x, indptr, indices, active, shape, dtype):
    (_, b_pre, b_post), n_columns = shape, -(-x.shape[0] // shape[2])
    rows, place, known = _places(indptr, indices, n_columns)
    spikes = _of_blocks(s, b_pre, indptr.shape[0] - 1, rows, known)[:, :, None]
    values = _of_blocks(x, b_post, n_columns, place, known)[:, None, :]
    return jnp.where(_sends(spikes), spikes.astype(dtype) * values, jnp.zeros((), dtype))


# --- the oracle: the matrix, entry by entry


def _entries(indptr, indices, shape, n_pre, n_post):
    """(n_blocks, b_pre, b_post) source and target of every entry, n_pre or n_post where it has none."""
    count, b_pre, b_post = shape
    block = jnp.arange(count, dtype=jnp.int32)
    row = jnp.sum(indptr[1:][None, :] <= block[:, None], axis=1, dtype=jnp.int32)
    sources = row[:, None] * b_pre + jnp.arange(b_pre, dtype=jnp.int32)[None, :]
    targets = indices[:, None] * b_post + jnp.arange(b_post, dtype=jnp.int32)[None, :]
    sources = jnp.where(row[:, None] < indptr.shape[0] - 1, jnp.minimum(sources, n_pre), n_pre)
    targets = jnp.where((targets >= 0) & (targets < n_post), targets, n_post)
    return jnp.broadcast_to(sources[:, :, None], shape), jnp.broadcast_to(targets[:, None, :], shape)


def _at(values, place):
    return values.at[place].get(mode="fill", fill_value=0)


def _dense_scatter(s, w, indptr, indices, active, shape, dtype):
    sources, targets = _entries(indptr, indices, w.shape, s.shape[0], shape[0])
    spikes = _at(s.astype(dtype), sources)
    products = jnp.where(spikes != 0, spikes * w.astype(dtype), jnp.zeros((), dtype))
    return jnp.zeros(shape, dtype).at[targets].add(products, mode="drop")


def _dense_gather(x, w, indptr, indices, active, shape, dtype):
    sources, targets = _entries(indptr, indices, w.shape, shape[0], x.shape[0])
    products = jnp.where(targets < x.shape[0], _at(x, targets) * w.astype(dtype), jnp.zeros((), dtype))
    y = jnp.zeros(shape, dtype).at[sources].add(products, mode="drop")
    return jnp.where(active, y, jnp.zeros((), dtype)) if active.shape[0] else y


def _dense_outer(s, x, indptr, indices, active, shape, dtype):
    sources, targets = _entries(indptr, indices, shape, s.shape[0], x.shape[0])
    spikes = _at(s.astype(dtype), sources)
    return jnp.where(spikes != 0, spikes * _at(x, targets), jnp.zeros((), dtype))


def _forms(scatter, gather, outer):
    def batched(member, single):
        def form(*operands, shape, batch, dtype, static):
            one = functools.partial(single, shape=shape, dtype=dtype)
            return xla._batched(one, batch, RESULT_RANK[member], *operands, trailing=TRAILING[member])

        return form

    return {m: batched(m, f) for m, f in (("scatter", scatter), ("gather", gather), ("outer", outer))}


def _native(member, ctx, *operands, static):
    return native.lower("block_kernels", f"blocks_{member}", ctx, *operands)


BLOCKS = Family(
    "blocks",
    {"s": 1, "w": 3, "x": 1},
    _forms(_scatter, _gather, _outer),
    _forms(_dense_scatter, _dense_gather, _dense_outer),
    _native,
    active=2,
)
