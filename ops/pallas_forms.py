"""Pallas forms of the four primitives for the GPU (Triton); in interpret mode they run on any platform.

`scatter`, `deliver` and `outer` follow activity: a prefix sum over the spikes makes a list of tiles of edges (two
launches, one for up to 8192 rows), and a fixed number of programs walk it up to the count that is known on the device
(one launch). `deliver` adds into the memory of the ring. `gather` is one launch over all rows.

Additions into targets are atomic: their order, and so the last bits of float sums, is left to the device. With
`deterministic=True` the edges are sorted by target instead and every target sums its own edges in a fixed order; this
sorts and touches all edges in every call: for comparing bits, not for speed. `gather` and `outer` are always
deterministic.
Edges that point outside are dropped, as in the XLA form.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import pallas as pl

from . import pallas_rows
from .pallas_plan import (
    INTERPRETED,
    RESIDENT,
    add,
    addresses,
    call,
    compose,
    div,
    load,
    loop,
    plan_of,
    position,
    rem,
    span,
    store,
    sum_shared,
    weights,
)
from .pallas_worklist import work_list


def scatter(
    s,
    w,
    indptr,
    indices,
    delays,
    step,
    active,
    *,
    n_slots,
    n_post,
    batch,
    dtype,
    interpret=False,
    deterministic=False,
):
    """out[address(e)] = sum of s[row(e)] * w[e], shape (*batch, n_slots, n_post)."""
    del active  # it restricts derivatives only
    ring = jnp.zeros((*batch, n_slots, n_post), dtype)
    return _into_ring(ring, s, w, indptr, indices, delays, step, interpret, deterministic)


def deliver(s, w, indptr, indices, delays, step, active, ring, *, interpret=False, deterministic=False):
    """The ring plus what `scatter` would return; shape of the ring, in its memory where XLA allows."""
    del active
    return _into_ring(ring, s, w, indptr, indices, delays, step, interpret, deterministic)


def gather(x, w, indptr, indices, delays, step, active, *, batch, interpret=False, deterministic=False):
    """y[row] = sum over the row of w[e] * x[address(e)], shape (*batch, n_rows); zero where `active` says so."""
    del deterministic
    operands = _graph(indptr, indices, delays, step) | {"x": x, "w": w, "active": active}
    return pallas_rows.gather(operands, x.shape[-2:], batch, x.dtype, interpret)


def outer(s, x, indptr, indices, delays, step, active, *, n_weights, batch, interpret=False, deterministic=False):
    """g[e] = s[row(e)] * x[address(e)], shape (*batch, n_weights); summed over all edges where n_weights is 1."""
    del active, deterministic
    graph = _graph(indptr, indices, delays, step)
    if n_weights != indices.shape[-1]:
        return pallas_rows.outer_total(s, x, graph, batch, interpret)
    operands = graph | {"s": s, "x": x}
    plan, refs = plan_of(batch, *x.shape[-2:], operands, interpret)
    if any(p > 1 and o == 1 for p, o in zip(plan.batches["indptr"], plan.out)):  # elements with other rows
        each = outer(s, x, *graph.values(), indptr[..., :0], n_weights=n_weights, batch=plan.full, interpret=interpret)
        return sum_shared(each, plan.full, batch)
    out = jnp.zeros((plan.n_out * n_weights,), x.dtype)
    if not plan.is_empty:
        out = _walk(_outer_tile, out, refs, plan)
    return out.reshape(*batch, n_weights)


def probe(platform):
    """Lower a small delivery for "cuda" or "rocm"; raises what jax raises where its Triton back end is not usable."""
    kinds = {"int32": [(5,), (8,), (0,), ()], "bool": [(0,)], "float32": [(1, 4)]}
    graph = [jax.ShapeDtypeStruct(shape, dtype) for dtype, shapes in kinds.items() for shape in shapes]
    spikes, weights = (jax.ShapeDtypeStruct((n,), jnp.float32) for n in (4, 8))
    jax.jit(deliver).trace(spikes, weights, *graph).lower(lowering_platforms=(platform,))


def _graph(indptr, indices, delays, step):
    return {"indptr": indptr, "indices": indices, "delays": delays, "step": step}


def _into_ring(ring, s, w, indptr, indices, delays, step, interpret, deterministic):
    *batch, n_slots, n_post = ring.shape
    operands = _graph(indptr, indices, delays, step) | {"s": s, "w": w}
    plan, refs = plan_of(batch, n_slots, n_post, operands, interpret)
    if plan.is_empty:
        return ring
    if deterministic:
        return ring + pallas_rows.sum_by_target(operands, n_slots, n_post, tuple(batch), ring.dtype, interpret)
    # every element of the whole batch has a list of its own: its rows may end at targets of its own
    walked = dataclasses.replace(plan, out=plan.full)
    return _walk(functools.partial(_scatter_tile, plan.out), ring.reshape(-1), refs, walked).reshape(ring.shape)


# --- walking the work list


def _walk(tile_of_edges, out, refs, plan):
    """`out` after `tile_of_edges(work item, refs, out, plan)` for every entry of the work list of the spikes."""
    work = work_list(refs, plan)
    warps = max(1, plan.tile // 128)
    programs = min(work["row"].shape[0], INTERPRETED if plan.interpret else RESIDENT // warps)

    def brainsim_walk(old, work, refs, out):
        del old  # the same memory as out
        first = pl.program_id(0)
        count = jnp.minimum(work["count"][np.int32(0)], np.int32(work["row"].shape[0]))

        def turn(k, carry):
            i = first + k * programs
            tile_of_edges(work["row"][i], work["start"][i], work["stop"][i], refs, out, plan)
            return carry

        loop(div(jnp.maximum(count - first + (programs - 1), 0), programs), turn)

    (out,) = call(
        brainsim_walk, programs, [(out.size, out.dtype)], out, work, refs, plan=plan, warps=warps, aliases={0: 0}
    )
    return out


def _scatter_tile(batch, flat, start, stop, refs, out, plan):
    element, row = div(flat, plan.n_rows), rem(flat, plan.n_rows)
    value = refs["s"][plan.at("s", element) * plan.n_rows + row].astype(out.dtype)
    edge = span(start, plan.tile)
    address, inside = addresses(refs, plan, element, edge, edge < stop)
    w = weights(refs, plan, element, edge, inside, out.dtype)
    place = position(element, batch, plan.full) * plan.cells
    add(plan, out, place + address, value * w, inside)


def _outer_tile(flat, start, stop, refs, out, plan):
    """The elements that share the result are summed here, so that one program owns each edge."""
    where, row = div(flat, plan.n_rows), rem(flat, plan.n_rows)
    edge = span(start, plan.tile)

    def one(i, total):
        element = compose(where, i, plan.out, plan.full)
        spike = refs["s"][plan.at("s", element) * plan.n_rows + row].astype(out.dtype)
        address, inside = addresses(refs, plan, element, edge, (edge < stop) & (spike != 0))
        x = load(refs["x"], plan.at("x", element) * plan.cells + address, inside)
        return total + jnp.where(inside, spike * x, jnp.zeros((), out.dtype))

    total = loop(np.int32(plan.inner), one, jnp.zeros((plan.tile,), out.dtype))
    store(out, where * plan.n_edges + edge, total, edge < stop)
