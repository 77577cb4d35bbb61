"""Pure jnp forms of the procedural operators, for any platform: rows that spike are redrawn in turns of a `while_loop`.

Operands as in `trilinear.py`: two factors, then key (2,), starts (n_rows + 1, or 0), tables, step (), active (n_rows,
or 0), spec (read by the native form only); each with k batch axes in front, of the common length or 1.
"""

import jax.numpy as jnp
import numpy as np
from jax import lax

from .procedural_draws import as_float, draw, extras, rows_of, turn_size
from .xla import _positions


def add_rows(out, s, w, key, starts, tables, step, active, spec, rule, n_slots, n_post, batch):
    """out (flat, batch x n_slots x n_post) plus what the rows that spike send."""
    del active  # it restricts derivatives only
    walk = _Walk(rule, (key, starts, tables, step), n_slots, n_post, batch, s=s, w=w)
    spikes, weights, mine = walk.flat(s), walk.of(w), _positions(batch, walk.full)

    def visit(out, flat, element, address, valid, z):
        amount = spikes[flat].astype(out.dtype)[:, None] * _weights(weights(element).astype(out.dtype), z)
        address = address + (mine[element] * jnp.int32(n_slots * n_post))[:, None]
        return out.at[jnp.where(valid, address, jnp.int32(out.shape[0]))].add(amount, mode="drop")

    return walk.over(spikes.astype(bool), visit, out, weights(jnp.zeros(1, jnp.int32)).shape[-1] > 1)


def scatter(s, w, *graph, shape, batch, dtype, static):
    """out[address(e)] = sum of s[row(e)] * w[e], shape (*batch, n_slots, n_post)."""
    out = jnp.zeros((int(np.prod((*batch, *shape))),), dtype)
    return add_rows(out, s, w, *graph, static, *shape, batch).reshape(*batch, *shape)


def deliver(*operands, static):
    """The ring (the last operand) plus what `scatter` would return."""
    *rest, ring = operands
    *batch, n_slots, n_post = ring.shape
    return add_rows(ring.reshape(-1), *rest, static, n_slots, n_post, tuple(batch)).reshape(ring.shape)


def gather(x, w, key, starts, tables, step, active, spec, *, shape, batch, dtype, static):
    """y[row] = sum over the row of w[e] * x[address(e)], shape (*batch, n_rows); zero where `active` says so."""
    n_slots, n_post = x.shape[-2:]
    walk = _Walk(static, (key, starts, tables, step), n_slots, n_post, batch, n_rows=shape[0], x=x, w=w, a=active)
    wanted = walk.everything() if not active.shape[-1] else walk.flat(active)
    values, weights, mine = walk.values(x), walk.of(w), _positions(batch, walk.full)

    def visit(y, flat, element, address, valid, z):
        product = _weights(weights(element).astype(dtype), z) * values(element, address)
        product = jnp.where(valid, product, jnp.zeros((), dtype))
        place = mine[element] * jnp.int32(shape[0]) + flat % jnp.int32(shape[0])
        return y.at[place].add(jnp.sum(product, axis=1))

    y = jnp.zeros((int(np.prod((*batch, *shape))),), dtype)
    return walk.over(wanted, visit, y, w.shape[-1] > 1).reshape(*batch, *shape)


def outer(s, x, key, starts, tables, step, active, spec, *, shape, batch, dtype, static):
    """(sum of s[row(e)] * x[address(e)], the same times the normal number of the edge), shape (*batch, 1 or 2)."""
    del active
    n_slots, n_post = x.shape[-2:]
    walk = _Walk(static, (key, starts, tables, step), n_slots, n_post, batch, s=s, x=x)
    spikes, values, mine = walk.flat(s), walk.values(x), _positions(batch, walk.full)

    def visit(g, flat, element, address, valid, z):
        product = spikes[flat].astype(dtype)[:, None] * values(element, address)
        product = jnp.where(valid, product, jnp.zeros((), dtype))
        sums = [jnp.sum(product, axis=1)] + ([jnp.sum(product * z, axis=1)] if shape[0] > 1 else [])
        return g.at[mine[element]].add(jnp.stack(sums, axis=1))

    g = jnp.zeros((int(np.prod(batch)), *shape), dtype)
    return walk.over(spikes.astype(bool), visit, g, shape[0] > 1).reshape(*batch, *shape)


def _weights(w, z):
    """(R, 1 or C) weights of edges from (R, 1 or 2) parameters: one for all, or mean and standard deviation."""
    return w if w.shape[-1] == 1 else w[:, :1] + w[:, 1:] * z


class _Walk:
    """A loop over the edges of some rows of a batch, a block of rows and draws at a time."""

    def __init__(self, rule, graph, n_slots, n_post, batch, *, n_rows=None, s=None, w=None, x=None, a=None):
        self.rule, self.n_slots, self.n_post = rule, n_slots, n_post
        self.key, self.starts, self.tables, self.step = graph
        ranks = ((s, 1), (w, 1), (x, 2), (a, 1), (self.key, 1), (self.starts, 1), (self.step, 0))
        self.full = np.broadcast_shapes(batch, *(v.shape[: v.ndim - r] for v, r in ranks if v is not None))
        self.n_rows = s.shape[-1] if n_rows is None else n_rows

    def everything(self):
        return jnp.ones((int(np.prod(self.full)) * self.n_rows,), bool)

    def flat(self, a):
        """One value for every row of every element."""
        return jnp.broadcast_to(a, (*self.full, a.shape[-1])).reshape(-1)

    def of(self, a, rank=1):
        """element -> its row of `a`."""
        tail = a.shape[a.ndim - rank :]
        flat, mine = a.reshape(-1, *tail), _positions(a.shape[: a.ndim - rank], self.full)
        return lambda element: flat[mine[element]]

    def values(self, x):
        """(element, address) -> x there."""
        flat, mine, size = x.reshape(-1), _positions(x.shape[:-2], self.full), jnp.int32(self.n_slots * self.n_post)
        return lambda element, address: flat[(mine[element] * size)[:, None] + address]

    def over(self, wanted, visit, carry, with_normal):
        """Fold `visit(carry, flat row, element, address, valid, z)` over all edges of the rows that are wanted."""
        total = wanted.shape[0]
        if 0 in (total, self.n_slots * self.n_post) or self.rule.n_targets == 0:
            return carry
        if total >= 2**31 - 2**13:
            raise ValueError(f"the batch {self.full} times {self.n_rows} rows passes 2**31; map over a part at a time")
        size, count = turn_size(self.rule)
        listed = jnp.nonzero(wanted, size=total + size, fill_value=total)[0].astype(jnp.int32)
        n_listed = jnp.sum(wanted, dtype=jnp.int32)

        def turn(state):
            block, start, position, carry = state
            flat = lax.dynamic_slice(listed, (block * jnp.int32(size),), (size,))
            made, drawn = self._edges(jnp.minimum(flat, total - 1), flat < total, start, position, count, with_normal)
            more = jnp.any((flat < total) & ~made.ended)
            carry = visit(carry, *drawn[:-1], as_float(drawn[-1], carry.dtype))
            position = made.position
            return (
                jnp.where(more, block, block + jnp.int32(1)),
                jnp.where(more, start + jnp.int32(count), jnp.int32(0)),
                jnp.where(more, position, jnp.zeros_like(position)),
                carry,
            )

        begin = (jnp.int32(0), jnp.int32(0), jnp.zeros((size,), jnp.int32), carry)
        return lax.while_loop(lambda state: state[0] * jnp.int32(size) < n_listed, turn, begin)[3]

    def _edges(self, flat, live, start, position, count, with_normal):
        """(the draws, (flat row, element, address, valid, normal numbers as integers)) of one turn."""
        element, row = flat // jnp.int32(self.n_rows), flat % jnp.int32(self.n_rows)
        key = self.of(self.key)(element)
        ends = (None, None)
        if self.rule.needs_starts:
            at = _positions(self.starts.shape[:-1], self.full)[element] * jnp.int32(self.n_rows + 1) + row
            ends = tuple(self.starts.reshape(-1)[at + jnp.int32(i)] for i in (0, 1))
        rows = rows_of(self.rule, key[:, 0], key[:, 1], row, *ends)
        tables = self.tables.reshape(-1)
        made = draw(self.rule, tables, rows, start, position, count)
        z, delay = jnp.zeros((1, 1), jnp.int32), jnp.zeros((1, 1), jnp.int32)
        if with_normal or self.rule.delays is not None:
            z, delay = extras(self.rule, tables, rows, start, count)
        slot = jnp.mod(self.of(self.step, 0)(element)[:, None], jnp.int32(self.n_slots))
        slot = jnp.mod(slot + delay, jnp.int32(self.n_slots))
        valid = made.valid & live[:, None]
        address = slot * jnp.int32(self.n_post) + jnp.int32(self.rule.first_target) + made.target
        return made, (flat, element, jnp.where(valid, address, jnp.int32(0)), valid, z)
