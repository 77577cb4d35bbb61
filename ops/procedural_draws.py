"""Regenerating rows in jnp: targets, delays and normal numbers of many rows at once; and whole graphs as arrays.

The same integers come out of `procedural_kernels.py`; `procedural_rules.py` says how they are defined.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from . import random
from .arguments import refuse
from .procedural_rules import EXTRA, FRACTION, MIX, ROUND_KEYS, ROUNDS, SEGMENTS, SPEC, Rule, constants, row_starts

u32 = jnp.uint32


class Rows(NamedTuple):
    """R rows to be drawn: two words of the key, number of the row, first position and length, target that is its own
    cell (n_targets: none). All (R,); the first four uint32, the others int32."""

    key0: jax.Array
    key1: jax.Array
    row: jax.Array
    first: jax.Array
    length: jax.Array
    own: jax.Array


class Draws(NamedTuple):
    """(R, C) targets, whether each draw is an edge; and (R,) state of the walk, whether the row has ended."""

    target: jax.Array
    valid: jax.Array
    position: jax.Array
    ended: jax.Array


def rows_of(rule: Rule, key0, key1, row, first, last) -> Rows:
    """The rows with these numbers (int32, counted from `first_row`); first, last: their starts, or None."""
    row = row + jnp.int32(rule.first_row)
    n = jnp.int32(rule.n_targets)
    own = jnp.full(row.shape, n) if rule.own is None else row + jnp.int32(rule.own)
    own = jnp.where((own < 0) | (own >= n), n, own)
    if rule.kind == "outdegree":
        length = jnp.full(row.shape, rule.k, jnp.int32)
    elif rule.kind == "probability":
        length = jnp.full(row.shape, n)
    else:
        length = (last - first).astype(jnp.int32)
    if rule.kind in ("outdegree", "total"):
        length = jnp.where(n - (own < n).astype(jnp.int32) > 0, length, jnp.int32(0))
    first = jnp.zeros(row.shape, u32) if first is None else first
    return Rows(key0, key1, row.astype(u32), first, length, own)


def draw(rule: Rule, tables, rows: Rows, start, position, count: int) -> Draws:
    """Draws start ... start + count - 1 of every row (both even)."""
    if rule.kind == "probability":
        return _by_gaps(rule, tables, rows, start, position, count)
    j = start + jnp.arange(count, dtype=jnp.int32)
    valid = j[None] < rows.length[:, None]
    ended = start + jnp.int32(count) >= rows.length
    if rule.kind == "indegree":
        target, inside = _dealt(rule, rows, j, valid)
        return Draws(target, valid & inside, position, ended)
    block = (start // 2).astype(u32) + jnp.arange(count // 2, dtype=u32)
    words = jnp.stack(_threefry(rows, block), axis=-1).reshape(-1, count)
    own = rows.own[:, None]
    available = rule.n_targets - (own < rule.n_targets).astype(jnp.int32)
    target = high_product(words, available.astype(u32)).astype(jnp.int32)
    return Draws(target + (target >= own).astype(jnp.int32), valid, position, ended)


def _threefry(rows, counter):
    return random.threefry2x32(rows.key0[:, None], rows.key1[:, None], rows.row[:, None], counter[None])


def _by_gaps(rule, tables, rows, start, position, count):
    """Skips over the targets; the last entry of the table is a longer skip, which goes on with the next draw."""
    spec = dict(zip(SPEC, constants(rule)[1].tolist()))
    first, second = _threefry(rows, start.astype(u32) + jnp.arange(count, dtype=u32))
    gap = _alias(tables, spec["gap_at"], spec["gap_bits"], first, second)
    last = jnp.int32(2 ** spec["gap_bits"] - 1)
    advance = jnp.minimum(gap + jnp.int32(1), last)
    ends = position[:, None] + jnp.cumsum(advance, axis=1, dtype=jnp.int32)
    target = ends - advance + gap
    n = jnp.int32(rule.n_targets)
    valid = (gap < last) & (target < n) & (target != rows.own[:, None])
    return Draws(target, valid, jnp.minimum(ends[:, -1], n), ends[:, -1] >= n)


def _alias(tables, at, bits, index_word, threshold_word):
    entry = (index_word >> u32(32 - bits)).astype(jnp.int32)
    pair = jnp.int32(at) + 2 * entry
    kept = threshold_word < tables[pair]
    return jnp.where(kept, entry, tables[pair + 1].astype(jnp.int32))


def _dealt(rule, rows, j, valid):
    """Targets of ends dealt by the permutation of all n_stubs ends; False where `starts` reaches beyond them."""
    spec = dict(zip(SPEC, constants(rule)[1].tolist()))
    n, left_size, right_size = (u32(spec[name]) for name in ("n_stubs", "left_size", "right_size"))
    place = rows.first[:, None] + j[None].astype(u32)
    inside = valid & (place < n)
    turns = jnp.arange(ROUNDS // 2, dtype=u32)[None]
    keys = random.threefry2x32(rows.key0[:, None], rows.key1[:, None], turns, u32(ROUND_KEYS))

    def permuted(x):
        left, right = x // right_size, x % right_size
        for i in range(ROUNDS):
            key = keys[i % 2][:, i // 2][:, None]
            if i % 2 == 0:
                left = left + high_product(_mixed(right ^ key), left_size)
                left = jnp.where(left >= left_size, left - left_size, left)
            else:
                right = right + high_product(_mixed(left ^ key), right_size)
                right = jnp.where(right >= right_size, right - right_size, right)
        return left * right_size + right

    end = jnp.zeros_like(place)
    if spec["n_stubs"]:
        again = lambda x: jnp.where(x >= n, permuted(x), x)
        end = lax.while_loop(lambda x: jnp.any(x >= n), again, permuted(jnp.where(inside, place, u32(0))))
    return (end // u32(max(rule.k, 1))).astype(jnp.int32), inside


def _mixed(x):
    x = (x ^ (x >> u32(16))) * u32(MIX[0])
    x = (x ^ (x >> u32(15))) * u32(MIX[1])
    return x ^ (x >> u32(16))


def extras(rule: Rule, tables, rows: Rows, start, count: int):
    """(normal numbers as integers, delays) of the same draws, each (R, count) int32."""
    counter = (start.astype(u32) + jnp.arange(count, dtype=u32)) | u32(EXTRA)
    first, second = _threefry(rows, counter)
    return normal_of(tables, first), delay_of(rule, tables, second)


def normal_of(tables, word):
    """2**FRACTION times a standard normal number from one word: sign, and a quantile by straight pieces."""
    u = word & u32(0x7FFFFFFF)
    shift = u32(31 - SEGMENTS) - lax.clz(u | u32(2**SEGMENTS))
    node = ((shift << u32(SEGMENTS)) + (u >> shift)).astype(jnp.int32)
    part = ((u << (u32(31) - shift)) << u32(1)) >> u32(16)
    high, low = tables[node], tables[node + 1]
    z = (high - (((high - low) * part) >> u32(16))).astype(jnp.int32)
    return jnp.where(word >> u32(31) == 1, -z, z)


def delay_of(rule, tables, word):
    """Delay in steps from one word."""
    if rule.delays is None:
        return jnp.zeros(word.shape, jnp.int32)
    spec = dict(zip(SPEC, constants(rule)[1].tolist()))
    if rule.delays.probabilities is None:
        return jnp.int32(spec["delay_low"]) + high_product(word, u32(spec["delay_count"])).astype(jnp.int32)
    bits = spec["delay_bits"]
    return jnp.int32(spec["delay_low"]) + _alias(tables, spec["delay_at"], bits, word, word << u32(bits))


def high_product(a, b):
    """The high 32 bits of the product of two uint32."""
    a1, a0, b1, b0 = a >> u32(16), a & u32(0xFFFF), b >> u32(16), b & u32(0xFFFF)
    middle, other = a1 * b0, a0 * b1
    carry = ((a0 * b0) >> u32(16)) + (middle & u32(0xFFFF)) + (other & u32(0xFFFF))
    return a1 * b1 + (middle >> u32(16)) + (other >> u32(16)) + (carry >> u32(16))


def as_float(z, dtype):
    """Normal numbers as floats; exact in float32 and float64."""
    return z.astype(dtype) * jnp.dtype(dtype).type(2.0**-FRACTION)


def turn_size(rule: Rule) -> tuple[int, int]:
    """(rows, draws) of one turn of a loop: about 4096 draws, and rows that end early waste few."""
    each = rule.n_targets * rule.p if rule.kind == "probability" else rule.k
    count = int(min(256, max(16, 2 ** int(np.ceil(np.log2(each + 1))))))
    return 4096 // count, count


class EdgeList(NamedTuple):
    """Edges in compressed rows, in the order in which they are drawn (targets of a row are not sorted).

    indptr (n_pre + 1,) int64; indices (n_edges,) int32; delays (n_edges,) int32 steps or None; normal (n_edges,)
    float32, the standard normal number of every edge: its weight is mean + sd * normal.
    """

    indptr: np.ndarray
    indices: np.ndarray
    delays: np.ndarray | None
    normal: np.ndarray


def procedural_edges(key, rule: Rule, n_pre: int, n_post: int, *, starts=None) -> EdgeList:
    """The edges that the procedural operators regenerate, as arrays: for tests, plots, and to run them stored.

    Args:
        key: (2,) uint32, concrete.
        rule: as for `event_procedural`.
        n_pre, n_post: numbers of rows and targets.
        starts: as for `event_procedural`; default: `row_starts` where the rule needs them.

    Returns:
        EdgeList, of 16 bytes an edge.

    Raises:
        ValueError: the rule does not fit n_post.
    """
    rule = rule.placed("procedural_edges", n_post)
    if rule.needs_starts:
        starts = np.asarray(row_starts(key, rule, n_pre, n_post) if starts is None else starts)
        if starts.shape != (n_pre + 1,):
            refuse("procedural_edges", f"starts have shape {starts.shape}", f"there are {n_pre} rows", "give n_pre + 1")
    size, count = 2048, 2 * turn_size(rule)[1]
    step = jax.jit(lambda rows, start, position: _turn(rule, rows, start, position, count))
    parts = []
    for low in range(0, n_pre, size):
        rows = np.minimum(np.arange(low, low + size), n_pre - 1).astype(np.int32)  # one shape for all; repeats unused
        ends = (starts[rows], starts[rows + 1]) if rule.needs_starts else (None, None)
        words = np.asarray(key, np.uint32)
        described = rows_of(rule, *(jnp.full(size, w) for w in words), jnp.asarray(rows), *ends)
        parts.append(_drawn(step, described, low, min(size, n_pre - low)))
    row, target, delay, normal = (np.concatenate(column) for column in zip(*parts)) if parts else [np.zeros(0, int)] * 4
    indptr = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=n_pre))])
    delays = None if rule.delays is None else delay.astype(np.int32)
    normal = np.asarray(normal, np.float32) * np.float32(2.0**-FRACTION)
    return EdgeList(indptr, (target + rule.first_target).astype(np.int32), delays, normal)


def _turn(rule, rows, start, position, count):
    tables = jnp.asarray(constants(rule)[0])
    return draw(rule, tables, rows, start, position, count), extras(rule, tables, rows, start, count)


def _drawn(step, rows, low, size):
    """(row, target, delay, normal) of the edges of some rows, by row."""
    start, position, parts, ended = 0, jnp.zeros(len(rows.row), jnp.int32), [], False
    while not ended:
        made, (normal, delay) = step(rows, jnp.int32(start), position)
        row, draw_ = np.nonzero(np.asarray(made.valid)[:size])
        pick = lambda a: np.asarray(a)[row, draw_]  # noqa: B023 (used at once)
        parts.append((row + low, pick(made.target), pick(delay), pick(normal)))
        position, ended = made.position, bool(np.asarray(made.ended)[:size].all())
        start += made.target.shape[1]
    columns = [np.concatenate(column) for column in zip(*parts)]
    order = np.argsort(columns[0], kind="stable")
    return [c[order] for c in columns]
