"""Spikes over edges sorted by target, and over edges with the same number per cell.

T(s, w, x) = sum over rows (targets) and their edges of s[indices[e]] * w[e] * x[row(e)].
"""

import functools

import jax.numpy as jnp
import numpy as np

from . import arguments, dispatch, native, xla
from .operators import event_csr
from .trilinear import Family

TRAILING = (1, 1, 1, 1, 1)  # both factors, indptr, indices, active


def event_csc(spikes, weights, indptr, indices, *, active=None, backend=None):
    """Sum what the spiking sources send to each target: out[row] = sum of spikes[indices[e]] * weights[e] over its row.

    `event_csr` on the transposed graph: every edge is visited whatever the activity and nothing is scattered, so it is
    the faster one where many cells spike. Silent sources are skipped (an infinite weight behind them does not count);
    nan is not zero and spreads. Linear in spikes and in weights, differentiable to any order; every target is summed
    in the order of its edges, so its bits depend on nothing else.

    Args:
        spikes: (n_pre,) bool, float32 or float64.
        weights: () one for all edges or (n_edges,); float32, float64 or bfloat16.
        indptr: (n_post + 1,) int32, rising from 0 to n_edges: the edges of one target after the other.
        indices: (n_edges,) int32 sources in [0, n_pre).
        active: (n_pre,) bool, sources whose derivative by `spikes` is wanted; elsewhere it is zero. Default: all.
        backend: "native", "xla" or "reference" for this call ("pallas": xla); default: by platform or BRAINSIM_OPS.

    Returns:
        (n_post,) in the wider dtype of spikes and weights; bool spikes: the dtype of the weights. bfloat16 weights are
        summed in float32.

    Raises:
        ValueError: a shape or dtype does not fit (while tracing).
        jax.errors.JaxRuntimeError: an edge points outside (native form only; the others drop it).

    >>> import jax.numpy as jnp
    >>> indptr, indices = jnp.array([0, 2, 3], jnp.int32), jnp.array([0, 1, 1], jnp.int32)
    >>> event_csc(jnp.array([False, True]), jnp.array([1.0, 2.0, 3.0]), indptr, indices)
    Array([2., 3.], dtype=float32)
    """
    what = "event_csc"
    indptr, indices = arguments.graph_of(what, indptr, indices)
    spikes = arguments.array(what, "spikes", spikes, ("bool", *arguments.FLOATS), 1)
    weights = arguments.weights_of(what, weights, indices, spikes)
    stated, inner = arguments.result_dtypes(spikes, weights)
    graph = (indptr, indices, arguments.active_of(what, active, spikes.shape[0]))
    shape, asked = (indptr.shape[0] - 1,), dispatch.requested(backend)
    return CSC.bind("scatter", spikes.astype(inner), weights, *graph, shape=shape, dtype=inner, backend=asked).astype(
        stated
    )


def event_fan_out(spikes, weights, indices, *, n_post, active=None, backend=None):
    """`event_csr` where every source has the same number of edges k: out[indices[i, j]] += spikes[i] * weights[i, j].

    Args:
        spikes: (n_pre,) bool or float.
        weights: () one for all edges or (n_pre, k); float32, float64 or bfloat16.
        indices: (n_pre, k) int32 targets in [0, n_post).
        n_post, active, backend: as in `event_csr`.

    Returns:
        (n_post,), dtype as in `event_csr`.

    Raises:
        ValueError: a shape or dtype does not fit (while tracing).
        jax.errors.JaxRuntimeError: an edge points outside (native form only; the others drop it).

    >>> import jax.numpy as jnp
    >>> event_fan_out(jnp.array([True, False]), 2.0, jnp.array([[0, 2], [1, 1]], jnp.int32), n_post=3)
    Array([2., 0., 2.], dtype=float32)
    """
    indptr, flat, weights = _fan("event_fan_out", weights, indices)
    return event_csr(spikes, weights, indptr, flat, n_post=n_post, active=active, backend=backend)


def event_fan_in(spikes, weights, indices, *, active=None, backend=None):
    """`event_csc` where every target has k edges: out[i] = sum over j of spikes[indices[i, j]] * weights[i, j].

    Args:
        spikes: (n_pre,) bool or float.
        weights: () one for all edges or (n_post, k); float32, float64 or bfloat16.
        indices: (n_post, k) int32 sources in [0, n_pre).
        active, backend: as in `event_csc`.

    Returns:
        (n_post,), dtype as in `event_csc`.

    Raises:
        ValueError: a shape or dtype does not fit (while tracing).
        jax.errors.JaxRuntimeError: an edge points outside (native form only; the others drop it).

    >>> import jax.numpy as jnp
    >>> event_fan_in(jnp.array([True, False]), 2.0, jnp.array([[0, 0], [0, 1]], jnp.int32))
    Array([4., 2.], dtype=float32)
    """
    indptr, flat, weights = _fan("event_fan_in", weights, indices)
    return event_csc(spikes, weights, indptr, flat, active=active, backend=backend)


def fan_rows(indices):
    """(indptr, flat indices) of rows with the same number of edges, for every operator over compressed rows.

    The rows of `ring_deliver`, `gather_csr` and the others may have a fixed fan too; weights and delays are then
    reshaped to (n_rows * k,).

    Args:
        indices: (n_rows, k) int32.

    Returns:
        indptr (n_rows + 1,) int32 NumPy array, a constant of the program; indices (n_rows * k,).

    Raises:
        ValueError: the array is not (n_rows, k) int32, or holds more than 2**31 - 1 edges.

    >>> import numpy as np
    >>> fan_rows(np.zeros((3, 2), np.int32))[0]
    array([0, 2, 4, 6], dtype=int32)
    """
    indices = arguments.array("fan_rows", "indices", indices, ("int32",), 2)
    n_rows, k = indices.shape
    if n_rows * k > 2**31 - 1:
        arguments.refuse("fan_rows", f"{n_rows} rows x {k} edges", "indptr is int32", "split the rows")
    return (np.arange(n_rows + 1, dtype=np.int64) * k).astype(np.int32), indices.reshape(-1)


def _fan(what, weights, indices):
    indices = arguments.array(what, "indices", indices, ("int32",), 2)
    if getattr(weights, "ndim", 0) and weights.shape != indices.shape:
        arguments.refuse(
            what,
            f"weights have shape {weights.shape}",
            f"the indices have shape {indices.shape}",
            "pass a scalar of shape () or one weight per edge in the same shape",
        )
    weights = weights.reshape(-1) if getattr(weights, "ndim", 0) else weights
    return (*fan_rows(indices), weights)


# --- forms: single networks in jnp


def _edges(indptr, indices, n_pre):
    """(row of every edge, a source that exists, whether it is the one asked for)."""
    sources = jnp.clip(indices, 0, max(n_pre - 1, 0))
    rows = xla.row_of_edges(indptr, indices.shape[0])
    return rows, sources, (sources == indices) & (rows < indptr.shape[0] - 1)


def _of_edges(s, sources, known):
    """(spike of the source of every edge, whether it is not zero)."""
    spike = s.at[sources].get(mode="fill", fill_value=0)
    return spike, known & (spike != 0)


def _scatter(s, w, indptr, indices, active, shape, dtype):
    rows, sources, known = _edges(indptr, indices, s.shape[0])
    spike, sends = _of_edges(s, sources, known)
    products = jnp.where(sends, spike * w.astype(dtype), jnp.zeros((), dtype))
    return jnp.zeros(shape, dtype).at[rows].add(products, indices_are_sorted=True, mode="drop")


def _gather(x, w, indptr, indices, active, shape, dtype):
    rows, sources, known = _edges(indptr, indices, shape[0])
    products = x.at[rows].get(mode="fill", fill_value=0) * w.astype(dtype)
    y = jnp.zeros(shape, dtype).at[sources].add(jnp.where(known, products, jnp.zeros((), dtype)), mode="drop")
    return jnp.where(active, y, jnp.zeros((), dtype)) if active.shape[0] else y


def _outer(s, x, indptr, indices, active, shape, dtype):
    rows, sources, known = _edges(indptr, indices, s.shape[0])
    spike, sends = _of_edges(s, sources, known)
    g = jnp.where(sends, spike * x.at[rows].get(mode="fill", fill_value=0), jnp.zeros((), dtype))
    return g if shape == indices.shape else jnp.sum(g, keepdims=True)


def _matrices(indptr, indices, n_pre):
    """(edges x rows, edges x sources) matrices of bools: who belongs where."""
    edges = jnp.arange(indices.shape[0], dtype=jnp.int32)[:, None]
    belongs = (edges >= indptr[None, :-1]) & (edges < indptr[None, 1:])
    return belongs, indices[:, None] == jnp.arange(n_pre, dtype=jnp.int32)[None, :]


def _sum_where(mask, values, axis):
    return jnp.sum(jnp.where(mask, values, jnp.zeros((), values.dtype)), axis=axis)


def _dense_scatter(s, w, indptr, indices, active, shape, dtype):
    rows, sources = _matrices(indptr, indices, s.shape[0])
    spike = _sum_where(sources, s[None, :], 1)
    return _sum_where(rows & (spike != 0)[:, None], (spike * w.astype(dtype))[:, None], 0)


def _dense_gather(x, w, indptr, indices, active, shape, dtype):
    rows, sources = _matrices(indptr, indices, shape[0])
    y = _sum_where(sources, (_sum_where(rows, x[None, :], 1) * w.astype(dtype))[:, None], 0)
    return jnp.where(active, y, jnp.zeros((), dtype)) if active.shape[0] else y


def _dense_outer(s, x, indptr, indices, active, shape, dtype):
    rows, sources = _matrices(indptr, indices, s.shape[0])
    spike = _sum_where(sources, s[None, :], 1)
    g = jnp.where(spike != 0, spike * _sum_where(rows, x[None, :], 1), jnp.zeros((), dtype))
    return g if shape == indices.shape else jnp.sum(g, keepdims=True)


def _forms(scatter, gather, outer):
    def batched(single):
        def form(*operands, shape, batch, dtype, static):
            one = functools.partial(single, shape=shape, dtype=dtype)
            return xla._batched(one, batch, 1, *operands, trailing=TRAILING)

        return form

    return {"scatter": batched(scatter), "gather": batched(gather), "outer": batched(outer)}


def _native(member, ctx, *operands, static):
    return native.lower("csc_kernels", f"csc_{member}", ctx, *operands)


CSC = Family(
    "csc",
    {"s": 1, "w": 1, "x": 1},
    _forms(_scatter, _gather, _outer),
    _forms(_dense_scatter, _dense_gather, _dense_outer),
    _native,
    active=2,
)
