"""Pure jnp forms of the four primitives, for any platform.

Operands have k leading batch axes (k may be 0), each of the common length or 1; edges are never broadcast.
Delivery follows activity: the edges of the rows that spike are walked in chunks by a `while_loop`, whose number of
turns depends on the spikes. Targets outside their array are dropped. On a GPU scatter-add leaves the order of sums,
and so the last bits, to the device.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

CHUNK = 1024  # edges per turn: small enough for few spikes, large enough to amortise a turn


def scatter(s, w, indptr, indices, delays, step, active, *, n_slots, n_post, batch, dtype):
    """out[address(e)] = sum of s[row(e)] * w[e], shape (*batch, n_slots, n_post)."""
    del active  # it restricts derivatives only
    out = jnp.zeros((int(np.prod(batch)) * n_slots * n_post,), dtype)
    out = _add_events(out, s, w, indptr, indices, delays, step, n_slots, n_post, batch)
    return out.reshape(*batch, n_slots, n_post)


def deliver(s, w, indptr, indices, delays, step, active, ring):
    """The ring plus what `scatter` would return; shape of the ring."""
    del active
    *batch, n_slots, n_post = ring.shape
    out = _add_events(ring.reshape(-1), s, w, indptr, indices, delays, step, n_slots, n_post, tuple(batch))
    return out.reshape(ring.shape)


def gather(x, w, indptr, indices, delays, step, active, *, batch):
    """y[row] = sum over the row of w[e] * x[address(e)], shape (*batch, n_rows); zero where `active` says so."""
    n_slots, n_post = x.shape[-2:]

    def single(x, w, indptr, indices, delays, step, active):
        address, inside = addresses(indices, delays, step, n_slots, n_post)
        products = jnp.where(inside, w.astype(x.dtype) * x.reshape(-1)[address], jnp.zeros((), x.dtype))
        rows = row_of_edges(indptr, indices.shape[0])
        y = jnp.zeros((indptr.shape[0] - 1,), x.dtype).at[rows].add(products, indices_are_sorted=True, mode="drop")
        return jnp.where(active, y, jnp.zeros((), y.dtype)) if active.shape[0] else y

    return _batched(single, batch, 1, x, w, indptr, indices, delays, step, active, trailing=(2, 1, 1, 1, 1, 0, 1))


def outer(s, x, indptr, indices, delays, step, active, *, n_weights, batch):
    """g[e] = s[row(e)] * x[address(e)], shape (*batch, n_weights); summed over all edges where n_weights is 1."""
    del active
    n_slots, n_post = x.shape[-2:]

    def single(s, x, indptr, indices, delays, step):
        address, inside = addresses(indices, delays, step, n_slots, n_post)
        spike = s.at[row_of_edges(indptr, indices.shape[0])].get(mode="fill", fill_value=0)  # edges of no row
        product = spike.astype(x.dtype) * x.reshape(-1)[address]
        g = jnp.where(inside & spike.astype(bool), product, jnp.zeros((), x.dtype))
        return g if n_weights == indices.shape[0] else jnp.sum(g, keepdims=True)

    return _batched(single, batch, 1, s, x, indptr, indices, delays, step, trailing=(1, 2, 1, 1, 1, 0))


def addresses(indices, delays, step, n_slots, n_post):
    """(flat target of every edge in (n_slots, n_post), whether it lies inside); packed where `delays` is empty."""
    slot = jnp.mod(step, jnp.int32(n_slots))
    if delays.shape[0]:
        inside = (indices >= 0) & (indices < n_post)
        return jnp.mod(slot + delays, jnp.int32(n_slots)) * jnp.int32(n_post) + indices, inside
    inside = (indices >= 0) & (indices < n_slots * n_post)
    if n_slots == 1:
        return indices, inside
    address = indices + slot * jnp.int32(n_post)
    return jnp.where(address >= n_slots * n_post, address - jnp.int32(n_slots * n_post), address), inside


def row_of_edges(indptr, n_edges):
    """(n_edges,) int32: the row of every edge."""
    starts = jnp.zeros((n_edges + 1,), jnp.int32).at[indptr[1:]].add(jnp.int32(1), mode="drop")
    return jnp.cumsum(starts[:n_edges], dtype=jnp.int32)


def _add_events(out, s, w, indptr, indices, delays, step, n_slots, n_post, batch):
    """out (flat) plus the contributions of all rows that spike, CHUNK edges at a time."""
    full = np.broadcast_shapes(batch, *(a.shape[:-1] for a in (s, w, indptr, indices, delays)), step.shape)
    n_rows, n_edges = s.shape[-1], indices.shape[-1]
    if 0 in (n_edges, n_rows, n_slots * n_post, *full):
        return out
    if int(np.prod(full)) * n_edges >= 2**31:
        raise ValueError(
            f"the batch {full} times {n_edges} edges passes 2**31, more than the xla form can number; "
            "map over a part of the batch at a time, or use the native form"
        )
    spikes, ptr = _spread(s, full), _spread(indptr, full)
    first = ptr[:, :-1].reshape(-1)
    fan = jnp.where(spikes.astype(bool), ptr[:, 1:] - ptr[:, :-1], jnp.int32(0)).reshape(-1)
    spikes = spikes.reshape(-1)
    ends = jnp.cumsum(fan, dtype=jnp.int32)
    out_part = _positions(batch, full)

    def turn(i, out):
        event = i * jnp.int32(CHUNK) + jnp.arange(CHUNK, dtype=jnp.int32)
        row = jnp.searchsorted(ends, event, side="right").astype(jnp.int32)
        row = jnp.minimum(row, jnp.int32(fan.shape[0] - 1))
        edge = first[row] + event - (ends[row] - fan[row])
        element = row // jnp.int32(n_rows)
        weight = _pick(w, full, element, edge if w.shape[-1] == n_edges else jnp.zeros_like(edge))
        delay = _pick(delays, full, element, edge) if delays.shape[-1] else delays.reshape(-1)[:0]
        when = step.reshape(-1)[_positions(step.shape, full)[element]] if step.ndim else step
        address, inside = addresses(_pick(indices, full, element, edge), delay, when, n_slots, n_post)
        address = address + out_part[element] * jnp.int32(n_slots * n_post)
        address = jnp.where(inside & (event < ends[-1]), address, jnp.int32(out.shape[0]))
        return out.at[address].add(spikes[row].astype(out.dtype) * weight.astype(out.dtype), mode="drop")

    turns = (ends[-1] + jnp.int32(CHUNK - 1)) // jnp.int32(CHUNK)
    return lax.while_loop(lambda c: c[0] < turns, lambda c: (c[0] + jnp.int32(1), turn(*c)), (jnp.int32(0), out))[1]


def _positions(batch, full):
    """(elements of full,) int32: the flat position in `batch` of every element of the whole batch."""
    own = np.arange(int(np.prod(batch)), dtype=np.int32).reshape(batch)
    return jnp.asarray(np.broadcast_to(own, full).reshape(-1))


def _spread(a, full):
    """One row of `a` for every element of the whole batch."""
    return jnp.broadcast_to(a, (*full, a.shape[-1])).reshape(-1, a.shape[-1])


def _pick(a, full, element, position):
    """a[element, position] without copying `a` to the whole batch."""
    if int(np.prod(a.shape[:-1])) == 1:
        return a.reshape(-1)[position]
    return a.reshape(-1, a.shape[-1])[_positions(a.shape[:-1], full)[element], position]


def _batched(single, batch, n_trailing, *operands, trailing):
    """`single` mapped over the batch axes, shared operands left alone, then summed where the result is shared."""
    batches = [a.shape[: a.ndim - t] for a, t in zip(operands, trailing)]
    mapped = [
        a.reshape(tuple(d for d in b if d != 1) + a.shape[a.ndim - t :]) for a, b, t in zip(operands, batches, trailing)
    ]
    for axis in reversed(range(len(batch))):  # the innermost map is the last axis
        in_axes = tuple(0 if b[axis] != 1 else None for b in batches)
        if any(i == 0 for i in in_axes):
            single = jax.vmap(single, in_axes)
    result = single(*mapped)
    operands_full = np.broadcast_shapes(*batches)
    full = np.broadcast_shapes(operands_full, batch)
    tail = result.shape[result.ndim - n_trailing :]
    result = jnp.broadcast_to(result.reshape(*operands_full, *tail), (*full, *tail))
    shared = tuple(i for i in range(len(batch)) if batch[i] == 1 and full[i] != 1)
    return jnp.sum(result, axis=shared, keepdims=True) if shared else result
