"""The jax primitive behind `map_edges`, with its pure jnp form, batches and lowering.

Operands: ids, counts, step, indptr, far, order (of length 0 without one), then leaves: shared, near, across, edge and
those that are added to. Results: the edge leaves `written`, then the sums.
"""

import functools

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from . import arguments, dispatch, edge_map_layout, scalar_graph, xla
from .edge_map_layout import OPERANDS
from .rules import is_zero

map_edges_p = Primitive("brainsim_map_edges")
map_edges_p.multiple_results = True


def split(leaves, groups):
    """Leaves by kind: shared, near, across, edge, added to."""
    parts = iter(leaves)
    return [[next(parts) for _ in range(n)] for n in groups]


def _shapes(*operands, groups, written, **params):
    *_, edge, into = split(operands[OPERANDS:], groups)
    return [jax.core.ShapedArray(x.shape, x.dtype) for x in (*(edge[k] for k in written), *into)]


# --- pure jnp form: all edges, with a mask


def xla_form(*operands, jaxpr, groups, written, first, n_delays, packed):
    """The function on all edges; what its edges give counts where their near cell is listed."""
    ids, counts, step, indptr, far, order = operands[:OPERANDS]
    shared, near, across, edge, into = split(operands[OPERANDS:], groups)
    n_entries, i32 = far.shape[0], jnp.int32
    place = jnp.arange(n_entries, dtype=jnp.int32)
    piece = xla.row_of_edges(indptr, n_entries)
    cell, b = piece // i32(n_delays), piece % i32(n_delays)
    rows = _row(step, jnp.arange(n_delays, dtype=jnp.int32), ids.shape[0])
    hit = _listed(ids[rows], counts[rows], first, (indptr.shape[0] - 1) // n_delays)
    hit = hit.at[b, cell].get(mode="fill", fill_value=False) & (place >= indptr[0])
    values = [*shared, *(x[cell] if x.ndim == 1 else x[rows[b], cell] for x in near)]
    if across or into:
        n_far = (*across, *into)[0].shape[-1]
        depth = next((x.shape[0] for x in across if x.ndim == 2), None)
        hit, far, delay = _far_end(far, hit, n_far, depth, packed)
        values += [x[far] if x.ndim == 1 else x[_row(step, delay, depth), far] for x in across]
    if edge:
        e = order if order.shape[0] else place
        hit &= (e >= 0) & (e < edge[0].shape[0])
        values += [x[e] for x in edge]
    mapped = [k >= len(shared) for k in range(len(values))]
    made = scalar_graph.mapped_form(jaxpr, mapped, n_entries, *values)
    made, sent = made[: len(written)], made[len(written) :]
    changed = [_put(edge[k], e, hit, new) for k, new in zip(written, made)]
    into = [x.at[jnp.where(hit, far, i32(x.shape[0]))].add(s, mode="drop") for x, s in zip(into, sent)]
    return [*changed, *into]


def _row(step, back, depth):
    """Row of a history that holds what was `back` steps ago."""
    return jnp.mod(jnp.mod(step, jnp.int32(depth)) - back, jnp.int32(depth))


def _listed(ids, counts, first, number):
    """(n_delays, number) True where a list names the cell."""

    def one(ids, count):
        cell = ids - jnp.int32(first)
        valid = (jnp.arange(ids.shape[0], dtype=jnp.int32) < count) & (cell >= 0) & (cell < number)
        return jnp.zeros((number,), bool).at[jnp.where(valid, cell, jnp.int32(number))].set(True, mode="drop")

    return jax.vmap(one)(ids, counts)


def _far_end(far, hit, n_far, depth, packed):
    """(hit without what is outside, far cells, delays)."""
    if not packed:
        return hit & (far >= 0) & (far < n_far), far, None
    delay, cell = far // jnp.int32(n_far), far % jnp.int32(n_far)
    inside = far >= 0 if depth is None else (far >= 0) & (delay < depth)
    return hit & inside, cell, delay


def _put(array, e, hit, new):
    return array.at[jnp.where(hit, e, jnp.int32(array.shape[0]))].set(new, mode="drop")


# --- rules


def _jvp(primals, tangents, **params):
    if not all(is_zero(t) for t in tangents):
        arguments.refuse(
            "map_edges",
            "a derivative by one of its arguments was asked for",
            "an update at spikes that are listed has none: lists are integers",
            "use the clock-driven form of the rule, which brainsim compiles under grad, or stop the derivative with "
            "jax.lax.stop_gradient",
        )
    made = map_edges_p.bind(*primals, **params)
    return made, [ad.Zero(jax.typeof(x).to_tangent_aval()) for x in made]


def _batch(operands, dims, *, backend, **form):
    made = jax.vmap(functools.partial(xla_form, **form), in_axes=dims)(*operands)
    return made, [0] * len(made)


def _fits(jaxpr, groups, leaves):
    """True where there is a native form of the function."""
    mapped = leaves[groups[0] + groups[1] :]
    few = len(leaves) <= edge_map_layout.MAX_LEAVES and edge_map_layout.chunk_of([x.dtype for x in mapped]) > 0
    return few and scalar_graph.supported(jaxpr)


def _lower(platform, ctx, *operands, backend, **form):
    fits = _fits(form["jaxpr"], form["groups"], ctx.avals_in[OPERANDS:])
    function = xla_form
    if dispatch.resolve(backend, platform) == "native" and fits:
        from . import edge_map_emit

        function = edge_map_emit.native_form
    return mlir.lower_fun(functools.partial(function, **form), multiple_results=True)(ctx, *operands)


_COMPILED = {}  # what a call outside `jit` needs again: every call traces a new but equal jaxpr


def _run(*operands, **params):
    kept = tuple((k, v) for k, v in params.items() if k != "jaxpr")
    key = (str(params["jaxpr"]), kept, jax.config.jax_enable_x64)
    if key not in _COMPILED:
        _COMPILED[key] = jax.jit(functools.partial(map_edges_p.bind, **params))
    return _COMPILED[key](*operands)


map_edges_p.def_impl(_run)
map_edges_p.def_abstract_eval(_shapes)
ad.primitive_jvps[map_edges_p] = _jvp
batching.primitive_batchers[map_edges_p] = _batch
mlir.register_lowering(map_edges_p, functools.partial(_lower, "other"))
mlir.register_lowering(map_edges_p, functools.partial(_lower, "cpu"), platform="cpu")
