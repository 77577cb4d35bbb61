"""Pallas kernel that sums dense values over rows, and the operators that are such sums in disguise. Deterministic."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import pallas as pl

from . import xla
from .pallas_plan import (
    addresses,
    call,
    compose,
    div,
    load,
    loop,
    plan_of,
    power_of_two,
    rem,
    span,
    store,
    sum_shared,
    weights,
)

AT_ONCE = 512  # edges that one program reads at once
ENOUGH = 1024  # programs that fill a large GPU: with fewer, rows are split


def gather(operands, shape, batch, dtype, interpret, skip_zeros=False):
    """y[row] = sum over the row of w[e] * x[address(e)], shape (*batch, n_rows).

    A program takes a few rows and reads a piece of each at once; where rows are few and long, several programs share
    them and their parts are summed afterwards.

    Args:
        operands: x, indptr, indices, delays, step, and perhaps w (else all weights are one) and active.
        shape: (n_slots, n_post) of x.
        batch: of the result.
        dtype: of x and the result.
        interpret: run as an XLA program.
        skip_zeros: leave out the edges whose x is zero, also where their weight is not finite.
    """
    plan, refs = plan_of(batch, *shape, operands, interpret)
    if plan.is_empty:
        return jnp.zeros((*batch, plan.n_rows), dtype)
    fan = -(-plan.n_edges // plan.n_rows)
    columns = power_of_two(fan, 8, AT_ONCE)
    rows = AT_ONCE // columns
    tiles = -(-plan.n_rows // rows)
    splits = min(power_of_two(ENOUGH // (plan.n_out * tiles), 1, ENOUGH), power_of_two(fan // (4 * columns), 1, ENOUGH))

    def brainsim_rows(refs, y):
        program = pl.program_id(0)
        split, rest = rem(program, splits), div(program, splits)
        out, row = div(rest, tiles), span(rem(rest, tiles) * rows, rows)

        def element_sum(i, total):
            element = compose(out, i, plan.out, plan.full)
            return _rows_sum(refs, plan, element, row, split, splits, total, skip_zeros)

        zero = jnp.zeros((rows, columns), dtype)
        total = loop(np.int32(plan.inner), element_sum, zero) if plan.inner > 1 else element_sum(np.int32(0), zero)
        place = (split * plan.n_out + out) * plan.n_rows + row
        store(y, place, jnp.sum(total, axis=1), row < plan.n_rows)

    size = splits * plan.n_out * plan.n_rows
    (y,) = call(brainsim_rows, plan.n_out * tiles * splits, [(size, dtype)], refs, plan=plan)
    return jnp.sum(y.reshape(splits, *batch, plan.n_rows), axis=0) if splits > 1 else y.reshape(*batch, plan.n_rows)


def _rows_sum(refs, plan, element, row, split, splits, total, skip_zeros):
    """total (rows, columns) plus the products of every `splits`-th piece of the rows of one batch element."""
    columns, on = total.shape[1], row < plan.n_rows
    if "active" in refs:
        on &= load(refs["active"], plan.at("active", element) * plan.n_rows + row, on)
    first = plan.at("indptr", element) * (plan.n_rows + 1) + row
    lo = jnp.maximum(load(refs["indptr"], first, on), 0)
    hi = jnp.minimum(load(refs["indptr"], first + 1, on), np.int32(plan.n_edges))
    pieces = div(jnp.maximum(jnp.max(hi - lo), 0) + (columns - 1), columns)

    def piece(k, total):
        edge = jnp.expand_dims(lo, 1) + jnp.expand_dims(span((split + k * splits) * columns, columns), 0)
        address, inside = addresses(refs, plan, element, edge, edge < jnp.expand_dims(hi, 1))
        x = load(refs["x"], plan.at("x", element) * plan.cells + address, inside)
        inside = inside & (x != 0) if skip_zeros else inside
        product = weights(refs, plan, element, edge, inside, total.dtype) * x
        return total + jnp.where(inside, product, jnp.zeros((), total.dtype))

    return loop(div(jnp.maximum(pieces - split + (splits - 1), 0), splits), piece, total)


def outer_total(s, x, graph, batch, interpret):
    """`outer` summed over all edges, shape (*batch, 1): the spikes times the row sums of x, of rows that spike."""
    on = s.astype(bool)
    operands = graph | {"x": x, "active": on}
    full = plan_of(batch, *x.shape[-2:], operands, interpret)[0].full
    sums = gather(operands, x.shape[-2:], full, x.dtype, interpret)
    terms = jnp.where(on, s.astype(x.dtype) * sums, jnp.zeros((), x.dtype))
    return sum_shared(jnp.sum(terms, axis=-1, keepdims=True), full, batch)


def sum_by_target(operands, n_slots, n_post, batch, dtype, interpret):
    """`scatter` without atomics, shape (*batch, n_slots, n_post): a gather over the edges sorted by their target."""
    graph = [operands[name] for name in ("indptr", "indices", "delays")]
    step, s, w = (operands[name] for name in ("step", "s", "w"))
    starts, rows, order = _by_target(*graph, n_slots, n_post)
    if w.shape[-1] == order.shape[-1]:
        own = np.broadcast_shapes(w.shape[:-1], order.shape[:-1])
        w, order = (jnp.broadcast_to(a, (*own, a.shape[-1])) for a in (w, order))
        w = jnp.take_along_axis(w, order, axis=-1)
    alone = (1,) * step.ndim
    turned = {
        "indptr": starts,
        "indices": rows,
        "delays": jnp.zeros((*alone, 0), jnp.int32),
        "step": jnp.zeros(alone, jnp.int32),
        "x": s.astype(dtype)[..., None, :],
        "w": w,
    }
    # elements at different steps turn the ring differently, so they are summed only afterwards
    mine = batch if step.size == 1 else np.broadcast_shapes(batch, step.shape, *(a.shape[:-1] for a in (*graph, s, w)))
    y = gather(turned, (1, s.shape[-1]), mine, dtype, interpret, skip_zeros=True).reshape(*mine, n_slots, n_post)
    slot = jax.lax.broadcasted_iota(jnp.int32, (*step.shape, n_slots), step.ndim)
    slot = jnp.mod(slot - step[..., None], jnp.int32(n_slots))
    y = jnp.take_along_axis(y, jnp.broadcast_to(slot[..., None], (*mine, n_slots, 1)), axis=-2)
    return sum_shared(y, mine, batch)


def _by_target(indptr, indices, delays, n_slots, n_post):
    """(first edge of every cell of a ring at step 0, row of every edge, its number), edges sorted by cell."""
    n_edges, cells, n_rows = indices.shape[-1], n_slots * n_post, indptr.shape[-1] - 1
    batch = np.broadcast_shapes(*(a.shape[:-1] for a in (indptr, indices, delays)))

    def one(indptr, indices, delays):
        address, inside = xla.addresses(indices, delays, jnp.int32(0), n_slots, n_post)
        row, edge = xla.row_of_edges(indptr, n_edges), jnp.arange(n_edges, dtype=jnp.int32)
        inside &= (row < n_rows) & (edge >= indptr[0])
        cell = jnp.where(inside, address, jnp.int32(cells))
        cell, row, edge = jax.lax.sort((cell, row, edge), num_keys=1, is_stable=True)
        starts = jnp.searchsorted(cell, jnp.arange(cells + 1, dtype=jnp.int32)).astype(jnp.int32)
        return starts, row, edge

    flat = [jnp.broadcast_to(a, (*batch, a.shape[-1])).reshape(math.prod(batch), -1) for a in (indptr, indices)]
    flat.append(jnp.broadcast_to(delays, (*batch, delays.shape[-1])).reshape(math.prod(batch), delays.shape[-1]))
    return [a.reshape(*batch, -1) for a in jax.vmap(one)(*flat)]
