"""The oracle: every operator as a dense masked sum in plain jnp, slow and obviously right.

Plain functions of one network (no batch axes); `jax.grad`, `jvp` and `vmap` go through them by jax's own rules, so
they check the values and the derivative rules of the fast forms. Memory n_edges * n_targets: small sizes only.
"""

import jax
import jax.numpy as jnp
import numpy as np


def event_csr(spikes, weights, indptr, indices, *, n_post):
    """out[j] = sum over edges e of spiking rows with indices[e] = j of spikes[row(e)] * weights[e]; (n_post,)."""
    dtype = _result_dtype(spikes, weights)
    ring = jnp.zeros((1, n_post), dtype)
    return ring_deliver(ring, spikes, weights, indptr, indices, jnp.zeros_like(indices), jnp.int32(0))[0]


def ring_deliver(ring, spikes, weights, indptr, indices, delays, step):
    """ring[(step + delays[e]) % n_slots, indices[e]] + spikes[row(e)] * weights[e] over spiking rows."""
    n_slots, n_post = ring.shape
    spike = _spike_of_edges(spikes, indptr, indices).astype(ring.dtype)
    contribution = spike * _unless_silent(spike, jnp.asarray(weights).astype(ring.dtype))
    cells = jnp.arange(n_slots * n_post, dtype=jnp.int32)
    hits = _target(indices, delays, step, n_slots, n_post)[:, None] == cells[None, :]
    added = jnp.sum(jnp.where(hits, contribution[:, None], jnp.zeros((), ring.dtype)), axis=0)
    return ring + added.reshape(ring.shape)


def gather_csr(x, weights, indptr, indices):
    """y[row] = sum over the edges of the row of weights[e] * x[indices[e]]; (n_rows,)."""
    return ring_gather(x[None, :], weights, indptr, indices, jnp.zeros_like(indices), jnp.int32(0))


def ring_gather(ring, weights, indptr, indices, delays, step):
    """y[row] = sum over the row of weights[e] * ring[(step + delays[e]) % n_slots, indices[e]]; (n_rows,)."""
    n_rows = indptr.shape[0] - 1
    values = ring.reshape(-1)[_target(indices, delays, step, *ring.shape)]
    product = jnp.asarray(weights).astype(ring.dtype) * values
    hits = _row(indptr, indices)[:, None] == jnp.arange(n_rows, dtype=jnp.int32)[None, :]
    return jnp.sum(jnp.where(hits, product[:, None], jnp.zeros((), ring.dtype)), axis=0)


def edge_outer(spikes, ring, indptr, indices, delays, step):
    """g[e] = spikes[row(e)] * ring[(step + delays[e]) % n_slots, indices[e]], zero where the row is silent."""
    spike = _spike_of_edges(spikes, indptr, indices).astype(ring.dtype)
    values = ring.reshape(-1)[_target(indices, delays, step, *ring.shape)]
    return spike * _unless_silent(spike, values)


def _unless_silent(spike, values):
    """The values, with nan and inf at zero where the spike is zero: silence hides them, and its derivative is kept."""
    return jnp.where((spike != 0) | jnp.isfinite(values), values, jnp.zeros((), values.dtype))


def _spike_of_edges(spikes, indptr, indices):
    """The spike of the row of every edge; zero for edges behind the last row."""
    return spikes.at[_row(indptr, indices)].get(mode="fill", fill_value=0)


def _row(indptr, indices):
    """Row of every edge: how many rows end at or before it."""
    edges = jnp.arange(indices.shape[0], dtype=indptr.dtype)
    return jnp.sum(indptr[1:][:, None] <= edges[None, :], axis=0, dtype=jnp.int32)


def _target(indices, delays, step, n_slots, n_post):
    return (step + delays) % n_slots * n_post + indices


def _result_dtype(spikes, weights):
    """bool spikes take the dtype of the weights, float spikes the wider of both."""
    weights = jnp.asarray(weights)
    if spikes.dtype == jnp.bool_:
        return weights.dtype
    return np.dtype(max((spikes.dtype, weights.dtype), key=lambda d: (d.itemsize, d == spikes.dtype)))


# The four primitives, one batch element at a time (see `primitives.py` for their operands).


def scatter(s, w, *graph, n_slots, n_post, batch, dtype):
    """Dense form of the primitive `scatter`."""

    def one(s, w, indptr, indices, delays, step, active):
        indices, delays = _unpacked(indices, delays, n_post)
        return ring_deliver(jnp.zeros((n_slots, n_post), dtype), s, w, indptr, indices, delays, step)

    return _every_element(one, batch, (1, 1), s, w, *graph)


def deliver(*operands):
    """Dense form of the primitive `deliver`; the ring is its last operand."""
    ring = operands[-1]
    return ring + scatter(
        *operands[:-1], n_slots=ring.shape[-2], n_post=ring.shape[-1], batch=ring.shape[:-2], dtype=ring.dtype
    )


def gather(x, w, *graph, batch):
    """Dense form of the primitive `gather`."""

    def one(x, w, indptr, indices, delays, step, active):
        y = ring_gather(x, w, indptr, *_unpacked(indices, delays, x.shape[-1]), step)
        return jnp.where(active, y, jnp.zeros((), y.dtype)) if active.shape[0] else y

    return _every_element(one, batch, (2, 1), x, w, *graph)


def outer(s, x, *graph, n_weights, batch):
    """Dense form of the primitive `outer`."""

    def one(s, x, indptr, indices, delays, step, active):
        g = edge_outer(s, x, indptr, *_unpacked(indices, delays, x.shape[-1]), step)
        return g if n_weights == g.shape[0] else jnp.sum(g, keepdims=True)

    return _every_element(one, batch, (1, 2), s, x, *graph)


def _unpacked(indices, delays, n_post):
    return (indices, delays) if delays.shape[0] else (indices % max(n_post, 1), indices // max(n_post, 1))


def _every_element(one, batch, trailing, *operands):
    """Copies every operand to the whole batch, maps `one`, sums where the result is shared."""
    trailing = (*trailing, 1, 1, 1, 0, 1)
    batches = [a.shape[: a.ndim - t] for a, t in zip(operands, trailing)]
    full = np.broadcast_shapes(tuple(batch), *batches)
    flat = [
        jnp.broadcast_to(a, full + a.shape[a.ndim - t :]).reshape((int(np.prod(full)), *a.shape[a.ndim - t :]))
        for a, t in zip(operands, trailing)
    ]
    result = jax.vmap(one)(*flat)
    result = result.reshape(full + result.shape[1:])
    shared = tuple(i for i in range(len(full)) if batch[i] == 1 and full[i] != 1)
    return jnp.sum(result, axis=shared, keepdims=True) if shared else result
