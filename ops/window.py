"""Delayed sums for a whole block of steps: every edge reads one contiguous slice of the history of its source.

Within a window shorter than the shortest delay the cells do not interact (Morrison et al. 2005,
10.1162/0899766054026648), so that all inputs of the window can be summed at once, from slices instead of single values.
One trilinear form: T(c, w, h) = sum over steps k and edges e of c[k, row(e)] * w[e] * h[source(e), column(e, k)].
"""

import functools

import jax
import jax.numpy as jnp

from . import arguments, dispatch, native, xla
from .trilinear import Family

TRAILING = {"scatter": (2, 1), "gather": (2, 1), "outer": (2, 2)}  # ranks of the two factors of every member
GRAPH = (1, 1, 1, 0)  # ranks of indptr, indices, delays, step


def window_gather(history, weights, indptr, indices, delays, step, *, block, backend=None):
    """Weighted sums of delayed values for `block` steps: y[k, row] = sum of weights[e] * history[indices[e], c(e, k)].

    c(e, k) = (step + k + delays[e]) % width: the history is a ring in its second axis, and negative delays read the
    past, as in `ring_gather`, whose block of one step on the transposed ring this is. With column t % width holding
    the value of step t, a window of steps `step` ... `step + block - 1` needs -delays >= block, and width >= the
    longest delay. Linear in history and weights, differentiable to any order; the same inputs give the same bits.

    Args:
        history: (n_sources, width) float32 or float64; one contiguous row per source.
        weights: () one for all edges or (n_edges,); float32, float64 or bfloat16, not wider than the history.
        indptr: (n_rows + 1,) int32, rising from 0 to n_edges: edges sorted by target.
        indices: (n_edges,) int32 sources in [0, n_sources).
        delays: (n_edges,) int32 in steps, taken modulo width.
        step: () int32, first step of the window; any value, taken modulo width.
        block: number of steps, static, 1 ... width.
        backend: "native", "xla" or "reference" for this call ("pallas": xla); default: by platform or BRAINSIM_OPS.

    Returns:
        (block, n_rows) in the dtype of the history.

    Raises:
        ValueError: a shape or dtype does not fit (while tracing).
        jax.errors.JaxRuntimeError: an edge points outside (native form only; the others drop it).

    >>> import jax.numpy as jnp
    >>> history = jnp.arange(8.0).reshape(1, 8)  # one source, step t in column t
    >>> indptr, zero = jnp.array([0, 2], jnp.int32), jnp.zeros(2, jnp.int32)
    >>> window_gather(history, 1.0, indptr, zero, jnp.array([-3, -5], jnp.int32), 6, block=3)[:, 0]
    Array([4., 6., 8.], dtype=float32)
    """
    what = "window_gather"
    history = arguments.ring_of(what, history)
    block = _block(what, block, history)
    indptr, indices = arguments.graph_of(what, indptr, indices)
    weights = arguments.weights_of(what, weights, indices, history)
    arguments.not_wider(what, "weights", weights, history)
    if delays is None:
        arguments.refuse(what, "delays is None", "every edge has its own slice", "pass (n_edges,) int32 delays")
    graph = (indptr, indices, arguments.delays_of(what, delays, indices), arguments.step_of(what, step))
    shape, asked = (block, indptr.shape[0] - 1), dispatch.requested(backend)
    return WINDOW.bind("gather", history, weights, *graph, shape=shape, dtype=history.dtype, backend=asked)


def _block(what, block, history):
    block = arguments.size(what, block, "block")
    if not 1 <= block <= history.shape[1]:
        arguments.refuse(
            what,
            f"block is {block} and the history holds {history.shape[1]} steps",
            "a window of that many steps would read a column twice or nothing",
            "pass 1 ... width, or a longer history",
        )
    return block


# --- forms: single networks in jnp


def _starts(delays, step, width):
    """First column that every edge reads."""
    return jnp.mod(jnp.mod(step, jnp.int32(width)) + jnp.mod(delays, jnp.int32(width)), jnp.int32(width))


def _windows(x, indices, delays, step, block):
    """(n_edges, block) slices of the history; zero where the source is outside."""
    n_sources, width = x.shape
    doubled = jnp.concatenate([x, x[:, : block - 1]], axis=1)  # so that no slice wraps
    sources = jnp.clip(indices, 0, n_sources - 1)
    place = jnp.stack([sources, _starts(delays, step, width)], axis=1)
    dims = jax.lax.GatherDimensionNumbers(offset_dims=(1,), collapsed_slice_dims=(0,), start_index_map=(0, 1))
    seen = jax.lax.gather(doubled, place, dims, (1, block), mode="promise_in_bounds")
    return jnp.where((indices == sources)[:, None], seen, jnp.zeros((), x.dtype))


def _xla_gather(x, w, indptr, indices, delays, step, shape):
    products = w.astype(x.dtype)[:, None] * _windows(x, indices, delays, step, shape[0])
    rows = xla.row_of_edges(indptr, indices.shape[0])
    total = jnp.zeros((shape[1], shape[0]), x.dtype)
    return total.at[rows].add(products, indices_are_sorted=True, mode="drop").T


def _of_rows(s, indptr, indices):
    """(n_edges, block): the cotangent of the row of every edge, zero for edges of no row."""
    rows = xla.row_of_edges(indptr, indices.shape[0])
    return s.T.at[rows].get(mode="fill", fill_value=0, indices_are_sorted=True)


def _xla_scatter(s, w, indptr, indices, delays, step, shape):
    (n_sources, width), (block, _) = shape, s.shape
    values = w.astype(s.dtype)[:, None] * _of_rows(s, indptr, indices)
    place = jnp.stack([indices, _starts(delays, step, width)], axis=1)
    dims = jax.lax.ScatterDimensionNumbers((1,), (0,), (0, 1))
    doubled = jnp.zeros((n_sources, width + block - 1), s.dtype)
    doubled = jax.lax.scatter_add(doubled, place, values, dims, mode=jax.lax.GatherScatterMode.FILL_OR_DROP)
    return doubled[:, :width].at[:, : block - 1].add(doubled[:, width:])


def _xla_outer(s, x, indptr, indices, delays, step, shape):
    g = jnp.sum(_of_rows(s, indptr, indices) * _windows(x, indices, delays, step, s.shape[0]), axis=1)
    return g if shape == indices.shape else jnp.sum(g, keepdims=True)


def _reference_gather(x, w, indptr, indices, delays, step, shape):
    return _dense(x, w, indptr, indices, delays, step, shape[0])


def _reference_scatter(s, w, indptr, indices, delays, step, shape):
    linear = lambda x: _dense(x, w.astype(s.dtype), indptr, indices, delays, step, s.shape[0])
    return jax.linear_transpose(linear, jax.ShapeDtypeStruct(shape, s.dtype))(s)[0]


def _reference_outer(s, x, indptr, indices, delays, step, shape):
    linear = lambda w: _dense(x, w, indptr, indices, delays, step, s.shape[0])
    return jax.linear_transpose(linear, jax.ShapeDtypeStruct(shape, s.dtype))(s)[0]


def _dense(x, w, indptr, indices, delays, step, block):
    """Element by element: which edge belongs to which row is a matrix of zeros and ones."""
    edges = jnp.arange(indices.shape[0], dtype=jnp.int32)
    belongs = (edges[None] >= indptr[:-1, None]) & (edges[None] < indptr[1:, None])
    steps, width = jnp.arange(block, dtype=jnp.int32), x.shape[1]
    seen = x[indices[:, None], (_starts(delays, step, width)[:, None] + steps[None, :]) % jnp.int32(width)]
    products = jnp.broadcast_to(w.astype(x.dtype), edges.shape)[:, None] * seen
    zero = jnp.zeros((), x.dtype)
    return jnp.sum(jnp.where(belongs[:, :, None], products[None], zero), axis=1).T


def _batched(member, single):
    def form(*operands, shape, batch, dtype, static):
        one = functools.partial(single, shape=shape)
        return xla._batched(one, batch, len(shape), *operands, trailing=(*TRAILING[member], *GRAPH)).astype(dtype)

    return form


def _native(member, ctx, *operands, static):
    result, first = ctx.avals_out[0], ctx.avals_in[0]
    block = result.shape[-2] if member == "gather" else first.shape[-2]
    largest = 256 // result.dtype.itemsize  # four registers of 512 bits
    tile = next((t for t in (8, 16, 32) if block <= t <= largest), largest)
    return native.lower("window_kernels", f"window_{member}", ctx, *operands, extra=(tile,))


def _forms(gather, scatter, outer):
    return {m: _batched(m, f) for m, f in (("gather", gather), ("scatter", scatter), ("outer", outer))}


WINDOW = Family(
    "window",
    {"s": 2, "w": 1, "x": 2},
    _forms(_xla_gather, _xla_scatter, _xla_outer),
    _forms(_reference_gather, _reference_scatter, _reference_outer),
    _native,
)
