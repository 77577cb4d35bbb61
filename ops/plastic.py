"""Plastic updates of weights in place: only the edges of cells that spike are read and written.

The native form changes the weights in their memory: under `jit`, in a `scan` carry or donated, XLA gives input and
output one buffer. Derivatives visit all edges.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from . import arguments, dispatch, native, xla
from .operators import edge_outer
from .rules import define_impl, define_lowering, is_zero, with_batch_axis

update_p = Primitive("brainsim_update")  # (weights, s, x, indptr, indices, edges, low, high) -> weights
TRAILING = (1,) * 8


def update_rows(weights, spikes, x, indptr, indices, *, low=None, high=None, backend=None):
    """Change the outgoing weights of cells that spike: w[e] += spikes[row(e)] * x[indices[e]], clipped to [low, high].

    Edges of silent rows are not touched, nor clipped. Piecewise linear: where an update is clipped, the derivatives by
    weights, spikes and x are zero and that by the bound is one; an update that ends exactly on a bound counts as not
    clipped. The derivative by a silent spike is that of the unclipped update.

    Args:
        weights: (n_edges,) float32 or float64; bfloat16 is refused, for it would lose small changes.
        spikes: (n_pre,) bool or float, not wider than the weights.
        x: (n_post,) in the dtype of the weights, for instance a postsynaptic trace times a rate.
        indptr: (n_pre + 1,) int32.
        indices: (n_edges,) int32 in [0, n_post).
        low, high: None, () or (n_edges,) bounds in the dtype of the weights; low <= high is the caller's duty, else
            `high` wins.
        backend: "native" or "xla" ("reference" and "pallas" mean xla); default: by platform or BRAINSIM_OPS.

    Returns:
        (n_edges,) new weights.

    Raises:
        ValueError: a shape or dtype does not fit (while tracing).
        jax.errors.JaxRuntimeError: an edge points outside (native form only; the xla form drops it).

    >>> import jax.numpy as jnp
    >>> indptr, indices = jnp.array([0, 2, 3], jnp.int32), jnp.array([0, 1, 1], jnp.int32)
    >>> update_rows(jnp.ones(3), jnp.array([True, False]), jnp.array([0.5, 5.0]), indptr, indices, high=2.0)
    Array([1.5, 2. , 1. ], dtype=float32)
    """
    return _update("update_rows", weights, spikes, x, indptr, indices, None, low, high, backend)


def update_columns(weights, spikes, y, csc_indptr, csc_rows, csc_edges, *, low=None, high=None, backend=None):
    """Change the incoming weights of cells that spike: w[csc_edges[k]] += spikes[col(k)] * y[csc_rows[k]], clipped.

    The weights stay sorted by source; the last three arguments are what `transpose_index` returns. Everything else as
    in `update_rows`.

    Args:
        weights: (n_edges,) float32 or float64.
        spikes: (n_post,) bool or float, not wider than the weights.
        y: (n_pre,) in the dtype of the weights, for instance a presynaptic trace times a rate.
        csc_indptr: (n_post + 1,) int32.
        csc_rows: (n_edges,) int32 sources in [0, n_pre).
        csc_edges: (n_edges,) int32, a permutation: every edge once.
        low, high, backend: as in `update_rows`.

    Returns:
        (n_edges,) new weights.

    Raises:
        ValueError: a shape or dtype does not fit (while tracing).
        jax.errors.JaxRuntimeError: an edge points outside (native form only; the xla form drops it).

    >>> import jax.numpy as jnp
    >>> columns = transpose_index([0, 2, 3], [0, 1, 1], n_post=2)  # edges 1 and 2 end at target 1
    >>> update_columns(jnp.ones(3), jnp.array([False, True]), jnp.array([0.5, -2.0]), *columns, low=0.0)
    Array([1. , 1.5, 0. ], dtype=float32)
    """
    edges = arguments.array("update_columns", "csc_edges", csc_edges, ("int32",), 1)
    return _update("update_columns", weights, spikes, y, csc_indptr, csc_rows, edges, low, high, backend)


def transpose_index(indptr, indices, n_post):
    """The same edges sorted by target, on the host.

    Args:
        indptr: (n_pre + 1,) int, concrete.
        indices: (n_edges,) int targets in [0, n_post), concrete.
        n_post: number of targets.

    Returns:
        (csc_indptr (n_post + 1,), csc_rows (n_edges,), csc_edges (n_edges,)) int32 NumPy arrays: the edges of every
        target, their sources, and their numbers in the given order; edges of one target keep their order.

    Raises:
        ValueError: indptr and indices do not fit, or a target is outside.

    >>> [a.tolist() for a in transpose_index([0, 2, 3], [0, 1, 0], 2)]
    [[0, 2, 3], [0, 1, 0], [0, 2, 1]]
    """
    indptr, indices = np.asarray(indptr), np.asarray(indices)
    if indptr.ndim != 1 or len(indptr) == 0 or indptr[-1] != len(indices) or np.any(np.diff(indptr) < 0):
        why = "it must rise from 0 to n_edges"
        arguments.refuse("transpose_index", f"indptr of {len(indices)} edges is {indptr}", why, "pass csr rows")
    bad = np.flatnonzero((indices < 0) | (indices >= n_post))
    if bad.size:
        given = f"indices[{bad[0]}] = {indices[bad[0]]}"
        arguments.refuse("transpose_index", given, f"it is outside [0, {n_post})", "give all n_post")
    order = np.argsort(indices, kind="stable").astype(np.int32)
    rows = np.repeat(np.arange(len(indptr) - 1, dtype=np.int32), np.diff(indptr))[order]
    counts = np.bincount(indices, minlength=n_post)
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int32), rows, order


def _update(what, weights, spikes, x, indptr, indices, edges, low, high, backend):
    weights = arguments.array(what, "weights", weights, arguments.FLOATS, 1)
    indptr, indices = arguments.graph_of(what, indptr, indices)
    spikes = arguments.rows_of(what, "spikes", spikes, indptr, ("bool", *arguments.FLOATS))
    arguments.not_wider(what, "spikes", spikes, weights)
    spikes = spikes if spikes.dtype == bool else spikes.astype(weights.dtype)
    x = arguments.array(what, "the values", x, (weights.dtype.name,), 1)
    for name, array in (("indices", indices), ("csc_edges", indices if edges is None else edges)):
        if array.shape != weights.shape:
            why = f"there are {weights.shape[0]} weights"
            arguments.refuse(what, f"{name} has length {array.shape[0]}", why, "pass one entry per edge")
    edges = jnp.zeros((0,), jnp.int32) if edges is None else edges
    bounds = [_bound(what, name, b, weights) for name, b in (("low", low), ("high", high))]
    return update_p.bind(weights, spikes, x, indptr, indices, edges, *bounds, backend=dispatch.requested(backend))


def _bound(what, name, value, weights):
    """(0,), (1,) or (n_edges,) in the dtype of the weights."""
    if value is None:
        return jnp.zeros((0,), weights.dtype)
    if isinstance(value, (int, float)) or getattr(getattr(value, "aval", None), "weak_type", False):
        value = jnp.asarray(value, weights.dtype)
    if value.dtype != weights.dtype or value.shape not in ((), weights.shape):
        given = f"{name} is {value.dtype.name}{value.shape}"
        why = f"the weights are {weights.dtype.name}{weights.shape}"
        arguments.refuse(what, given, why, "pass None, a scalar or one bound per edge in that dtype")
    return jnp.asarray(value).reshape(-1)


# --- forms and rules


def _in_edge_order(g, edges):
    """One value per entry of the rows, moved to the order of the weights."""
    if not edges.shape[0]:
        return g
    return jnp.zeros_like(g).at[edges].set(g, mode="drop", unique_indices=True)


def _clipped(unclipped, low, high):
    new = jnp.maximum(unclipped, low) if low.shape[0] else unclipped
    return jnp.minimum(new, high) if high.shape[0] else new


def _touched(s, indptr, indices, edges):
    """(n_edges,) True on the edges of rows that spike."""
    sends = s if s.dtype == bool else s != 0
    rows = xla.row_of_edges(indptr, indices.shape[0])
    return _in_edge_order(sends.at[rows].get(mode="fill", fill_value=False), edges)


def _single(w, s, x, indptr, indices, edges, low, high):
    """The update of one network in jnp."""
    inside = (indices >= 0) & (indices < x.shape[0])
    spike = s.at[xla.row_of_edges(indptr, indices.shape[0])].get(mode="fill", fill_value=0).astype(w.dtype)
    change = spike * x.at[indices].get(mode="clip")
    change, inside = _in_edge_order(change, edges), _in_edge_order(inside, edges)
    touched = _touched(s, indptr, indices, edges) & inside
    return jnp.where(touched, _clipped(w + change, low, high), w)


def _xla(*operands, backend):
    return xla._batched(_single, operands[0].shape[:-1], 1, *operands, trailing=TRAILING)


def _jvp(primals, tangents, *, backend):
    w = primals[0]
    new = update_p.bind(*primals, backend=backend)
    moving = [i for i, t in enumerate(tangents) if not is_zero(t)]
    if not moving:
        return new, ad.Zero(jax.typeof(w).to_tangent_aval())
    full = [tangents[i] if i in moving else jnp.zeros(p.shape, p.dtype) for i, p in enumerate(primals)]
    one = functools.partial(_tangent, backend=backend, moving=tuple(moving))
    operands = (*primals, *(full[i] for i in (0, 1, 2, 6, 7)))
    return new, xla._batched(one, w.shape[:-1], 1, *operands, trailing=(1,) * 13)


def _tangent(w, s, x, indptr, indices, edges, low, high, dw, ds, dx, dlow, dhigh, *, moving, backend):
    """The derivative of one network, made of operators that have all their rules."""
    pair = lambda a, b: _in_edge_order(edge_outer(a, b, indptr, indices, backend=backend), edges)
    moved = dw
    moved = moved + pair(ds, x) if 1 in moving else moved
    moved = moved + pair(s, dx) if 2 in moving else moved
    if not (low.shape[0] or high.shape[0]):
        return moved
    unclipped, touched = w + pair(s, x), _touched(s, indptr, indices, edges)
    if high.shape[0]:
        raised = jnp.maximum(unclipped, low) if low.shape[0] else unclipped
        above = touched & (raised > high)
    if low.shape[0]:
        moved = jnp.where(touched & (unclipped < low), dlow, moved)
    return jnp.where(above, dhigh, moved) if high.shape[0] else moved


def _batch(operands, dims, *, backend):
    """One more leading axis; the weights become one array per batch element, edges and shared values stay shared."""
    size, moved = with_batch_axis(operands, dims)
    moved[0] = jnp.broadcast_to(moved[0], (size, *moved[0].shape[1:]))
    return update_p.bind(*moved, backend=backend), 0


def _lower(platform, ctx, *operands, backend):
    if dispatch.resolve(backend, platform) == "native":
        return native.lower("plastic_kernels", "plastic_update", ctx, *operands, aliases={0: 0})
    return mlir.lower_fun(functools.partial(_xla, backend=backend), multiple_results=False)(ctx, *operands)


define_impl(update_p)
update_p.def_abstract_eval(lambda w, *rest, backend: jax.core.ShapedArray(w.shape, w.dtype))
ad.primitive_jvps[update_p] = _jvp
batching.primitive_batchers[update_p] = _batch
define_lowering(update_p, _lower, "cpu")
