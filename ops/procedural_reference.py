"""The oracle of the procedural operators: all edges of all rows drawn at once, then the dense sums of `reference.py`.

Memory rows x largest possible row x targets: small sizes only.
"""

import jax
import jax.numpy as jnp
import numpy as np

from . import reference
from .procedural_draws import as_float, draw, extras, rows_of

RANKS = {"scatter": (1, 1), "gather": (2, 1), "outer": (1, 2)}


def dense(member, a, b, *graph, shape, batch, dtype, static):
    """`scatter`, `gather` or `outer`, every batch element for itself, summed where the result is shared."""
    operands, ranks = (a, b, *graph), (*RANKS[member], 1, 1, 1, 0, 1, 1)
    batches = [v.shape[: v.ndim - r] for v, r in zip(operands, ranks)]
    full = np.broadcast_shapes(tuple(batch), *batches)
    flat = [
        jnp.broadcast_to(v, full + v.shape[v.ndim - r :]).reshape((int(np.prod(full)), *v.shape[v.ndim - r :]))
        for v, r in zip(operands, ranks)
    ]
    made = jax.vmap(lambda *v: _one(member, static, shape, dtype, *v))(*flat).reshape(*full, *shape)
    shared = tuple(i for i in range(len(full)) if batch[i] == 1 and full[i] != 1)
    return jnp.sum(made, axis=shared, keepdims=True) if shared else made


def deliver(*operands, static):
    """Dense form of `deliver`; the ring is the last operand."""
    *rest, ring = operands
    return ring + dense("scatter", *rest, shape=ring.shape[-2:], batch=ring.shape[:-2], dtype=ring.dtype, static=static)


def _one(member, rule, shape, dtype, a, b, key, starts, tables, step, active, spec):
    n_rows = shape[0] if member == "gather" else a.shape[0]
    n_slots, n_post = {"scatter": shape, "gather": a.shape, "outer": b.shape}[member]
    row, target, delay, z, valid = _everything(rule, key, starts, tables, n_rows)
    n = jnp.int32(n_slots)
    slot, z = jnp.mod(jnp.mod(step, n) + delay, n), as_float(z, dtype)
    no_row = jnp.where(valid, row, jnp.int32(n_rows))  # draws that are no edge belong to no row
    if member == "outer":
        x = b[slot, jnp.where(valid, target, 0)]
        spike = jnp.where(valid, a.astype(dtype)[row], jnp.zeros((), dtype))
        g = spike * reference._unless_silent(spike, x)
        return jnp.stack([jnp.sum(g), jnp.sum(g * z)][: shape[0]])
    w = b[0] if b.shape[0] == 1 else b[0] + b[1] * z
    if member == "gather":
        product = jnp.where(valid, w * a[slot, jnp.where(valid, target, 0)], jnp.zeros((), dtype))
        y = jax.ops.segment_sum(product, no_row, n_rows)
        return jnp.where(active, y, jnp.zeros((), dtype)) if active.shape[0] else y
    spike = jnp.where(valid, a.astype(dtype)[row], jnp.zeros((), dtype))
    place = jnp.where(valid & (spike != 0), slot * jnp.int32(n_post) + target, jnp.int32(n_slots * n_post))
    return jax.ops.segment_sum(spike * w, place, n_slots * n_post + 1)[:-1].reshape(shape)


def _everything(rule, key, starts, tables, n_rows):
    """(row, target, delay, normal number, whether it is an edge) of the largest possible number of draws."""
    most = {"outdegree": rule.k, "total": rule.k, "probability": rule.n_targets, "indegree": rule.k * rule.n_targets}
    count = max(2, 2 * -(-most[rule.kind] // 2))
    row = jnp.arange(n_rows, dtype=jnp.int32)
    ends = (starts[:-1], starts[1:]) if rule.needs_starts else (None, None)
    rows = rows_of(rule, *(jnp.broadcast_to(word, (n_rows,)) for word in key), row, *ends)
    made = draw(rule, tables, rows, jnp.int32(0), jnp.zeros((n_rows,), jnp.int32), count)
    z, delay = extras(rule, tables, rows, jnp.int32(0), count)
    columns = (jnp.broadcast_to(row[:, None], (n_rows, count)), made.target + jnp.int32(rule.first_target), delay, z)
    return (*(c.reshape(-1) for c in columns), made.valid.reshape(-1))
