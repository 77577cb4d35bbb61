"""From spikes to a list of work by a prefix sum on the device: no atomics, no host, entries in order of rows.

A row that spikes becomes one entry per tile of its edges, so that long rows are shared by many programs. The list has
a static capacity that cannot overflow; how much of it is filled is a number on the device.
"""

import jax.numpy as jnp
import numpy as np
from jax.experimental import pallas as pl

from .pallas_plan import Plan, call, compose, div, load, loop, power_of_two, rem, span, store

ONE_BLOCK = 8192  # rows up to which one program does it all: a launch less


def compact(mask, capacity, *, interpret=False):
    """Indices of the set bits of a mask, in order.

    Args:
        mask: (n,) bool, n > 0.
        capacity: length of the list, static, > 0.
        interpret: run as an XLA program on any platform instead of on the GPU.

    Returns:
        list (capacity,) int32, of which the first min(count, capacity) entries hold indices and the rest n;
        count () int32, number of set bits; overflow () bool, count > capacity.
    """
    n = mask.shape[0]
    plan = Plan((), (), {"s": ()}, n, 1, 1, 1, interpret)
    (found, count) = _prefix_sum({"s": mask}, plan, n, capacity, _one_each, 1)
    count = count[0]
    return jnp.where(span(np.int32(0), capacity) < count, found, np.int32(n)), count, count > capacity


def work_list(refs, plan):
    """{"row", "start", "stop", "count"}: tiles of edges of the rows that spike.

    `row` numbers the rows of all elements of `plan.out` (element * n_rows + row); a row is in the list where it spikes
    in any of the elements that are summed there. Tile i holds the edges start[i] ... stop[i] - 1.
    """
    total = plan.n_out * plan.n_rows
    capacity = total + plan.n_out * plan.n_edges // plan.tile
    names = ("s", "indptr")
    entries = _prefix_sum({name: refs[name] for name in names}, plan, total, capacity, _tiles, 3)
    return dict(zip(("row", "start", "stop", "count"), entries))


def _one_each(refs, plan, flat, inside):
    spikes = load(refs["s"], flat, inside)
    return spikes.astype(jnp.int32), lambda c: (flat,)


def _tiles(refs, plan, flat, inside):
    """How many tiles each row sends, and what entry number c of each row holds."""
    out, row = div(flat, plan.n_rows), rem(flat, plan.n_rows)

    def spiking(i, found):
        element = compose(out, i, plan.out, plan.full)
        s = load(refs["s"], plan.at("s", element) * plan.n_rows + row, inside)
        return found | (s if s.dtype == bool else s != 0)

    on = loop(np.int32(plan.inner), spiking, flat < 0) if plan.inner > 1 else spiking(np.int32(0), flat < 0)
    first = plan.at("indptr", compose(out, np.int32(0), plan.out, plan.full)) * (plan.n_rows + 1) + row
    lo = jnp.maximum(load(refs["indptr"], first, on), 0)
    hi = jnp.minimum(load(refs["indptr"], first + 1, on), np.int32(plan.n_edges))
    count = div(jnp.maximum(hi - lo, 0) + (plan.tile - 1), plan.tile)

    def entry(c):
        start = lo + c * plan.tile
        return flat, start, jnp.minimum(start + plan.tile, hi)

    return count, entry


def _prefix_sum(refs, plan, total, capacity, entries_of, width):
    """`width` lists of the entries of `total` rows, packed without gaps, and how many there are (may pass capacity)."""
    block = power_of_two(total, 32, ONE_BLOCK)
    if total > ONE_BLOCK:
        block = power_of_two(total // 4096, 1024, 8192)
    blocks, warps = -(-total // block), max(1, min(16, block // 256))

    def counts_of(refs, program):
        flat = span(program * block, block)
        return flat, *entries_of(refs, plan, flat, flat < total)

    def brainsim_count(refs, out):
        program = pl.program_id(0)
        out[program] = jnp.sum(counts_of(refs, program)[1], dtype=jnp.int32)

    def brainsim_list(refs, sums_of, *out):
        program = pl.program_id(0)
        _, count, entry = counts_of(refs, program)
        base = _sum_before(sums_of[0], program, blocks) if sums_of else np.int32(0)
        place = base + jnp.cumsum(count, dtype=jnp.int32) - count

        def put(c, carry):
            for ref, value in zip(out[:-1], entry(c)):
                store(ref, place + c, value, (c < count) & (place + c < capacity))
            return carry

        loop(jnp.max(count), put)

        @pl.when(program == blocks - 1)
        def _():
            out[-1][np.int32(0)] = base + jnp.sum(count, dtype=jnp.int32)

    sums_of = call(brainsim_count, blocks, [(blocks, jnp.int32)], refs, plan=plan, warps=warps) if blocks > 1 else ()
    results = [(capacity, jnp.int32)] * width + [(1, jnp.int32)]
    return call(brainsim_list, blocks, results, refs, tuple(sums_of), plan=plan, warps=warps)


def _sum_before(counts, program, blocks):
    """Sum of the counts of all earlier programs."""
    chunk = power_of_two(blocks, 32, 1024)

    def more(i, total):
        block = span(i * chunk, chunk)
        return total + jnp.sum(load(counts, block, block < program), dtype=jnp.int32)

    return loop(div(program + (chunk - 1), chunk), more)
