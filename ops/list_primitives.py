"""The jax primitives behind the operators on lists of spikes, with their rules and their pure jnp forms.

`deliver_list` is `deliver` (see `primitives.py`) with spikes that are a list: its derivatives, batches and forms for
other platforms turn the list into a mask of rows and call the primitives there. The pieces of a row (target blocks) are
rows of their own to those primitives.
"""

import functools

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from . import dispatch, native
from .primitives import EDGES
from .rules import define_impl, define_lowering, is_zero

compact_p = Primitive("brainsim_compact")  # spikes -> ids, count, overflow, total
push_list_p = Primitive("brainsim_push_list")  # (ids, counts, spikes, step) -> ids, counts
append_list_p = Primitive("brainsim_append_list")  # (ids, fill, spikes) -> ids, fill
deliver_list_p = Primitive("brainsim_deliver_list")  # (ids, counts, row, w, parts, indptr, indices, delays, step, ring)
WEIGHTS, RING = 3, 9  # operands of `deliver_list` in which it is linear


def _shaped(shape, dtype):
    return jax.core.ShapedArray(tuple(shape), jnp.dtype(dtype))


def _compact_shape(spikes, *, capacity, backend):
    return [_shaped((capacity,), "int32"), _shaped((), "int32"), _shaped((), bool), _shaped((), "int32")]


def _push_list_shape(ids, counts, spikes, step, *, backend):
    return [_shaped(ids.shape, ids.dtype), _shaped(counts.shape, counts.dtype)]


def _append_list_shape(ids, fill, spikes, *, backend):
    return [_shaped(ids.shape, ids.dtype), _shaped((), "int32")]


def _deliver_list_shape(*operands, n_blocks, backend):
    return _shaped(operands[RING].shape, operands[RING].dtype)


# --- pure jnp forms


def compact(spikes, *, capacity, backend):
    """The place of a spike is the number of spikes before it; `reference` sorts instead."""
    hit = spikes.astype(bool)  # nan too
    total = jnp.sum(hit, dtype=jnp.int32)
    count = jnp.minimum(total, jnp.int32(capacity))
    if backend == "reference":
        order = jnp.argsort(~hit, stable=True).astype(jnp.int32)
        order = jnp.pad(order, (0, max(capacity - hit.shape[0], 0)))[:capacity]
        ids = jnp.where(jnp.arange(capacity, dtype=jnp.int32) < count, order, jnp.int32(-1))
    else:
        place = jnp.where(hit, jnp.cumsum(hit, dtype=jnp.int32) - jnp.int32(1), jnp.int32(capacity))
        ids = jnp.full((capacity,), -1, jnp.int32)
        ids = ids.at[place].set(jnp.arange(hit.shape[0], dtype=jnp.int32), mode="drop")
    return [ids, count, total > capacity, total]


def push_list(ids, counts, spikes, step, *, backend):
    row = jnp.mod(step, jnp.int32(ids.shape[0]))
    listed, count, _, total = compact(spikes, capacity=ids.shape[1], backend=backend)
    listed = jnp.where(jnp.arange(ids.shape[1], dtype=jnp.int32) < count, listed, ids[row])
    return [jax.lax.dynamic_update_slice(ids, listed[None], (row, jnp.zeros_like(row))), counts.at[row].set(total)]


def append_list(ids, fill, spikes, *, backend):
    hit = spikes.astype(bool)
    place = jnp.where(hit, fill + jnp.cumsum(hit, dtype=jnp.int32) - jnp.int32(1), jnp.int32(ids.shape[0]))
    listed = ids.at[place].set(jnp.arange(hit.shape[0], dtype=jnp.int32), mode="drop")
    return [listed, fill + jnp.sum(hit, dtype=jnp.int32)]


def deliver_list(*operands, n_blocks, backend):
    w, ring = operands[WEIGHTS], operands[RING]
    return EDGES.deliver(_mask(operands, n_blocks), w, *_graph(operands), ring=ring, backend=backend)


def _graph(operands):
    return (*operands[5:9], jnp.zeros((0,), bool))


def _mask(operands, n_blocks):
    """How often every row piece is delivered, in the dtype of the ring."""
    ids, counts, row, _, parts, indptr = operands[:6]
    n_rows = (indptr.shape[0] - 1) // n_blocks
    row = jnp.mod(row, jnp.int32(ids.shape[0]))
    ids, valid = ids[row][None, :], jnp.arange(ids.shape[1], dtype=jnp.int32)[None, :] < counts[row]
    first, number, first_row = (parts[:, i, None] for i in range(3))
    rows = ids - first + first_row
    hit = valid & (ids >= first) & (ids - first < number) & (rows >= 0)
    mask = jnp.zeros((n_rows,), operands[RING].dtype)
    mask = mask.at[jnp.where(hit, rows, jnp.int32(n_rows))].add(jnp.ones((), mask.dtype), mode="drop")
    return jnp.repeat(mask, n_blocks, total_repeat_length=n_rows * n_blocks)


# --- rules


def _no_derivative(primitive, primals, tangents, **params):
    """Integers have none."""
    results = primitive.bind(*primals, **params)
    return results, [ad.Zero(jax.typeof(r).to_tangent_aval()) for r in results]


def _deliver_list_jvp(primals, tangents, **params):
    result, dw, total = deliver_list_p.bind(*primals, **params), tangents[WEIGHTS], tangents[RING]
    if not is_zero(dw):
        total = jnp.zeros_like(primals[RING]) if is_zero(total) else total
        total = deliver_list_p.bind(*primals[:WEIGHTS], dw, *primals[WEIGHTS + 1 : RING], total, **params)
    return result, ad.Zero(jax.typeof(result).to_tangent_aval()) if is_zero(total) else total


def _deliver_list_transpose(ct, *operands, n_blocks, backend):
    cts = [None] * len(operands)
    if type(ct) is ad.Zero:
        return cts
    w, ring = operands[WEIGHTS], operands[RING]
    if ad.is_undefined_primal(ring):
        cts[RING] = ct
    if ad.is_undefined_primal(w):
        known = (*operands[:RING], ct)
        factors, kind = (_mask(known, n_blocks), ct), dict(shape=w.aval.shape, dtype=ct.dtype, backend=backend)
        g = EDGES.bind("outer", *factors, *_graph(known), **kind)
        cts[WEIGHTS] = g.astype(w.aval.dtype)
    return cts


def _batch_rule(form, operands, dims, **params):
    """The jnp form, mapped: delivery goes on through `deliver`, whose batches are native."""
    result = jax.vmap(functools.partial(form, **params), in_axes=dims)(*operands)
    return result, [0] * len(result) if isinstance(result, list) else 0


# --- lowering


# operands whose dtypes the handler is made for, operand -> result with the same memory
NATIVE = {
    compact_p: ((0,), {}),
    push_list_p: ((2,), {0: 0, 1: 1}),
    append_list_p: ((2,), {0: 0}),
    deliver_list_p: ((WEIGHTS, RING), {RING: 0}),
}


def _lower(primitive, form, platform, ctx, *operands, backend, **params):
    chosen = dispatch.resolve(backend, platform)
    if chosen == "native":
        typed, aliases = NATIVE[primitive]
        kind = dict(dtypes=[ctx.avals_in[i].dtype.name for i in typed], aliases=aliases)
        attributes = params if primitive is deliver_list_p else {}
        return native.lower("list_kernels", form.__name__, ctx, *operands, **kind, **attributes)
    backend = chosen if primitive is not deliver_list_p else backend  # `deliver` makes a choice of its own
    form = functools.partial(form, **params, backend=backend)
    return mlir.lower_fun(form, multiple_results=primitive.multiple_results)(ctx, *operands)


def _define(primitive, form, shape, jvp):
    primitive.def_abstract_eval(shape)
    define_impl(primitive)
    ad.primitive_jvps[primitive] = jvp
    batching.primitive_batchers[primitive] = functools.partial(_batch_rule, form)
    define_lowering(primitive, functools.partial(_lower, primitive, form), "cpu", *dispatch.GPUS)


compact_p.multiple_results = push_list_p.multiple_results = append_list_p.multiple_results = True
_define(compact_p, compact, _compact_shape, functools.partial(_no_derivative, compact_p))
_define(push_list_p, push_list, _push_list_shape, functools.partial(_no_derivative, push_list_p))
_define(append_list_p, append_list, _append_list_shape, functools.partial(_no_derivative, append_list_p))
_define(deliver_list_p, deliver_list, _deliver_list_shape, _deliver_list_jvp)
ad.primitive_transposes[deliver_list_p] = _deliver_list_transpose
