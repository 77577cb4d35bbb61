"""The jax primitives behind the operators, with their derivative, transpose and batching rules.

All four are one trilinear form over the edges e of a graph,

    T(s, w, x) = sum over the batch b and the edges e of  s[b, row(e)] * w[b, e] * x[b, address(e)],

and are its derivatives by each factor: `scatter` = dT/dx, `gather` = dT/ds, `outer` = dT/dw; `deliver` is a ring plus
`scatter`, updated in place. So the rule of each is a call of the others, and derivatives of every order are closed.

Operands have k batch axes in front, each of the common length or 1 (shared); `batch` is that shape for the result,
which is summed over the axes it shares. vmap adds an axis and copies nothing: edges and shared weights are never
broadcast, and the gradient of shared weights is summed over trials inside the operator.

Operands after the two factors, the graph: indptr (n_rows + 1), indices (n_edges), delays (n_edges, or 0 where indices
hold delay * n_post + target), step (), active (n_rows, or 0: rows whose derivative by s is wanted, all where empty).
x has shape (n_slots, n_post), address(e) = ((step + delay) % n_slots, target).
"""

import functools

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from . import dispatch, native, reference, xla
from .rules import define_impl, is_zero, with_batch_axis

scatter_p = Primitive("brainsim_scatter")  # (s, w, *graph) -> (*batch, n_slots, n_post)
deliver_p = Primitive("brainsim_deliver")  # (s, w, *graph, ring) -> ring
gather_p = Primitive("brainsim_gather")  # (x, w, *graph) -> (*batch, n_rows)
outer_p = Primitive("brainsim_outer")  # (s, x, *graph) -> (*batch, n_weights)

ACTIVE = 4  # position of `active` in the graph


def _batch_of(operand, n_trailing=1):
    return tuple(operand.shape[: operand.ndim - n_trailing])


def _silence_inactive(s, graph):
    """s with the rows outside the active set at zero."""
    active = graph[ACTIVE]
    return jnp.where(active, s, jnp.zeros((), s.dtype)) if active.shape[-1] else s


def _shaped(shape, dtype):
    return jax.core.ShapedArray(tuple(shape), dtype)


def _scatter_shape(s, w, *graph, n_slots, n_post, batch, dtype, backend):
    return _shaped((*batch, n_slots, n_post), dtype)


def _deliver_shape(*operands, backend):
    return _shaped(operands[-1].shape, operands[-1].dtype)


def _gather_shape(x, w, indptr, *rest, batch, backend):
    return _shaped((*batch, indptr.shape[-1] - 1), x.dtype)


def _outer_shape(s, x, *graph, n_weights, batch, backend):
    return _shaped((*batch, n_weights), x.dtype)


# --- forward derivatives


def _sum_tangents(parts, result):
    total = functools.reduce(ad.add_tangents, parts, ad.Zero(jax.typeof(result).to_tangent_aval()))
    return result, total


def _spikes_jvp(primitive, primals, tangents, **params):
    """Of `scatter` and `outer`: their first factor is s, whose derivative lives on the active rows."""
    (s, other, *graph), (ds, d_other, *_) = primals, tangents
    parts = []
    if not is_zero(ds):
        parts.append(primitive.bind(_silence_inactive(ds, graph), other, *graph, **params))
    if not is_zero(d_other):
        parts.append(primitive.bind(s, d_other, *graph, **params))
    return _sum_tangents(parts, primitive.bind(s, other, *graph, **params))


def _deliver_jvp(primals, tangents, *, backend):
    (s, w, *graph, ring), (ds, dw, *_, total) = primals, tangents
    for first, second in ((ds, w), (s, dw)):
        if first is ds and not is_zero(ds):
            first = _silence_inactive(ds, graph)
        if is_zero(first) or is_zero(second):
            continue
        if is_zero(total):
            n_slots, n_post = ring.shape[-2:]
            total = scatter_p.bind(
                first,
                second,
                *graph,
                n_slots=n_slots,
                n_post=n_post,
                batch=_batch_of(ring, 2),
                dtype=ring.dtype,
                backend=backend,
            )
        else:
            total = deliver_p.bind(first, second, *graph, total, backend=backend)
    return deliver_p.bind(s, w, *graph, ring, backend=backend), total


def _gather_jvp(primals, tangents, **params):
    (x, w, *graph), (dx, dw, *_) = primals, tangents
    parts = []
    if not is_zero(dx):
        parts.append(gather_p.bind(dx, w, *graph, **params))
    if not is_zero(dw):
        parts.append(gather_p.bind(x, dw, *graph, **params))
    return _sum_tangents(parts, gather_p.bind(x, w, *graph, **params))


# --- transposes


def _by_s(aval, x, w, graph, backend):
    """dT/ds for a factor s of this aval."""
    return gather_p.bind(x, w, *graph, batch=_batch_of(aval), backend=backend).astype(aval.dtype)


def _by_w(aval, s, x, graph, backend):
    """dT/dw for a factor w of this aval (scalar weights: the sum over edges)."""
    g = outer_p.bind(s, x, *graph, n_weights=aval.shape[-1], batch=_batch_of(aval), backend=backend)
    return g.astype(aval.dtype)


def _by_x(aval, s, w, graph, backend):
    """dT/dx for a factor x of this aval."""
    n_slots, n_post = aval.shape[-2:]
    return scatter_p.bind(
        s, w, *graph, n_slots=n_slots, n_post=n_post, batch=_batch_of(aval, 2), dtype=aval.dtype, backend=backend
    )


def _pair(a, b, by_a, by_b, n_rest):
    """Cotangents of a bilinear primitive: of the one factor that is linear."""
    first = by_a() if ad.is_undefined_primal(a) else None
    second = by_b() if ad.is_undefined_primal(b) else None
    return [first, second, *[None] * n_rest]


def _scatter_transpose(ct, s, w, *graph, backend, **params):
    if type(ct) is ad.Zero:
        return [None] * (2 + len(graph))
    return _pair(
        s, w, lambda: _by_s(s.aval, ct, w, graph, backend), lambda: _by_w(w.aval, s, ct, graph, backend), len(graph)
    )


def _deliver_transpose(ct, s, w, *rest, backend):
    *graph, ring = rest
    if type(ct) is ad.Zero:
        return [None] * (2 + len(rest))
    cts = _scatter_transpose(ct, s, w, *graph, backend=backend)
    return [*cts, ct if ad.is_undefined_primal(ring) else None]


def _gather_transpose(ct, x, w, *graph, backend, **params):
    if type(ct) is ad.Zero:
        return [None] * (2 + len(graph))
    ct = _silence_inactive(ct, graph)
    return _pair(
        x, w, lambda: _by_x(x.aval, ct, w, graph, backend), lambda: _by_w(w.aval, ct, x, graph, backend), len(graph)
    )


def _outer_transpose(ct, s, x, *graph, backend, **params):
    if type(ct) is ad.Zero:
        return [None] * (2 + len(graph))
    return _pair(
        s, x, lambda: _by_s(s.aval, x, ct, graph, backend), lambda: _by_x(x.aval, s, ct, graph, backend), len(graph)
    )


# --- batching


def _batch_rule(primitive, operands, dims, **params):
    """One more leading axis on every operand: of full length where it is mapped, of length 1 where it is shared."""
    size, moved = with_batch_axis(operands, dims)
    if primitive is deliver_p:
        moved[-1] = jnp.broadcast_to(moved[-1], (size, *moved[-1].shape[1:]))
    else:
        params["batch"] = (size, *params["batch"])
    return primitive.bind(*moved, **params), 0


# --- lowering


def _lower(name, platform, ctx, *operands, backend, **params):
    chosen = dispatch.resolve(backend, platform, kernels=True)
    if chosen == "native":
        return native.lower(name, ctx, *operands)
    if chosen in dispatch.PALLAS:
        from . import pallas_forms  # imports Pallas: only where it is used

        kind = {"interpret": platform == "cpu", "deterministic": chosen == "pallas_deterministic"}
        form = functools.partial(getattr(pallas_forms, name), **kind)
    else:
        form = getattr(reference if chosen == "reference" else xla, name)
    return mlir.lower_fun(functools.partial(form, **params), multiple_results=False)(ctx, *operands)


def _define(primitive, name, shape, jvp, transpose):
    primitive.def_abstract_eval(shape)
    define_impl(primitive)
    ad.primitive_jvps[primitive] = jvp
    ad.primitive_transposes[primitive] = transpose
    batching.primitive_batchers[primitive] = functools.partial(_batch_rule, primitive)
    mlir.register_lowering(primitive, functools.partial(_lower, name, "other"))
    for platform in ("cpu", *dispatch.GPUS):
        mlir.register_lowering(primitive, functools.partial(_lower, name, platform), platform=platform)


_define(scatter_p, "scatter", _scatter_shape, functools.partial(_spikes_jvp, scatter_p), _scatter_transpose)
_define(deliver_p, "deliver", _deliver_shape, _deliver_jvp, _deliver_transpose)
_define(gather_p, "gather", _gather_shape, _gather_jvp, _gather_transpose)
_define(outer_p, "outer", _outer_shape, functools.partial(_spikes_jvp, outer_p), _outer_transpose)
