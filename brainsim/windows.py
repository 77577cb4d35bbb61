"""Windows of steps: what delayed couplings send is summed once for all steps shorter than the delay.

Within a window shorter than the shortest delay no cell sees what another one does in it (Morrison et al. 2005,
10.1162/0899766054026648), so every edge reads one contiguous slice of the history of its source instead of single
values at random places. Windows are nested: an edge belongs to the longest *level* that its delay allows. Edges with
delays shorter than the shortest level stay *near*: they are summed in every step.

Between runs the history of what is sent is a ring, column (step % depth). A host run unrolls it for a stretch of steps
into columns in the order of time, so that no slice wraps around.
"""

import jax
import jax.numpy as jnp
import numpy as np

from . import ops
from .delivery import every
from .transmission import from_others

LONGEST = 64  # steps of a window: longer ones gain nothing, and their sums leave the cache
BLOCK = 8  # steps of the shortest level where its steps are one function (`block.py`): code grows with it
NEAR, FAR, ONCE = 1.4, 0.037, 1.15  # ns per edge: a single value; a slice, for every step of its tile and at all
TILES = (8, 16, 32, 64)  # steps of the slices as they are read
ROW, SUM = 5.0, 0.4  # ns: beginning the sums of one target, keeping one of them
STEP, INSIDE, CALL = 1200.0, 150.0, 500.0  # ns: a step on its own, one in a block of steps, one window of a level
STRETCH = 256  # steps at least for which the ring is unrolled


def choose_levels(couplings, projections, steps, blocks: bool, given=None) -> tuple[int, ...]:
    """Lengths of the nested windows with the least work, each a divisor of the next one.

    Args:
        steps: delays by projection.
        blocks: whether the steps of the shortest level can be one function.
        given: levels to take where there are delayed couplings.

    Returns:
        Steps, ascending; (): there are no delayed couplings, or too short ones.
    """
    ranked = rank_levels(couplings, projections, steps, blocks)
    return (ranked[0] if given is None else tuple(given)) if ranked else ()


def rank_levels(couplings, projections, steps, blocks: bool) -> list[tuple[int, ...]]:
    """All that `choose_levels` weighs, from the least work on; [] without delayed couplings."""
    waits = [
        every(steps[c.projection], projections[c.projection].n_edges) + 1
        for c in couplings
        if c.moving and c.delay != 0 and projections[c.projection].n_edges and c.learner is None
        if projections[c.projection].learnable is None
    ]
    if not waits:
        return []
    rows = sum(c.slot.group.n for c in couplings if c.moving and c.delay != 0)
    waits = np.sort(np.concatenate(waits))
    shorter = np.searchsorted(waits, np.arange(LONGEST + 1))  # number of edges that a window of k steps leaves out

    def cost(levels):
        if not levels:
            return NEAR * len(waits) + STEP
        own = np.diff([*shorter[list(levels)], len(waits)])
        whole = blocks and shorter[levels[0]] == 0 and levels[0] <= BLOCK
        total = NEAR * shorter[levels[0]] + (INSIDE + CALL / levels[0] if whole else STEP)
        read = {size: next(t for t in TILES if t >= size) for size in levels}
        call = lambda m, size: m * (FAR * read[size] + ONCE) + rows * (ROW + SUM * size) + CALL
        return total + sum(call(m, size) / size for m, size in zip(own, levels) if m)

    return sorted(_candidates(), key=cost)


def _candidates():
    """Up to three levels with a common ratio."""
    found = {()}
    for first in range(2, LONGEST + 1):
        found |= {(first,)}
        for ratio in range(2, LONGEST // first + 1):
            levels = [first * ratio**k for k in range(3) if first * ratio**k <= LONGEST]
            found |= {tuple(levels), tuple(levels[:2])}
    return sorted(found)


def far_sums(program, topology, ready, sent, level, place) -> dict:
    """Weighted sums of all edges of one level for its next steps: tag -> key -> (steps of the level, n_post).

    Args:
        sent: histories by tag. place: column of the next step in them.
    """
    out = {}
    for c in program.couplings:
        rows = topology[c.tag].get(f"far{level}")
        if rows is None or not rows["indices"].shape[0]:
            continue
        graph = (rows["indptr"], rows["indices"], -1 - rows["delays"], place)
        weights, size = ready["weights"][c.tag][f"far{level}"], program.levels[level]
        past = from_others(ready, c.slot.group, sent[c.tag])
        out[c.tag] = {k: ops.window_gather(h, weights, *graph, block=size) for k, h in past.items()}
    return out


def _plus(a, b):
    """Sums of two levels; either may lack a coupling."""
    both = {t: jax.tree.map(jnp.add, a[t], b[t]) for t in a if t in b}
    return {**a, **b, **both}


def at(far, k) -> dict:
    """The sums of step k of a window."""
    return jax.tree.map(lambda x: jax.lax.dynamic_index_in_dim(x, k, keepdims=False), far)


def loop(program, topology, ready, one, block, carry, n, room):
    """Steps of a host run until `n` are done or the room for spikes is used up.

    Args:
        one: (carry, far sums, column) -> carry of the next step; carry is (steps done, fill, state, buffers).
        block: the same for all steps of the shortest level, which gets their sums; or None.
        room: carry -> whether the steps of a whole window fit.
    """
    if not program.levels:
        return jax.lax.while_loop(lambda c: (c[0] < n) & room(c), lambda c: one(c, {}, None), carry)

    def stretch(carry):
        start, end = carry[0], jnp.minimum(n, carry[0] + _stretch(program))
        column = lambda carry: _lead(program) + carry[0] - start
        steps = _nest(program, topology, ready, one, block, column)
        carry = (*carry[:2], {**carry[2], "sent": _unrolled(program, carry[2])}, *carry[3:])
        carry = steps(len(program.levels), carry, {}, end, room)
        return (*carry[:2], {**carry[2], "sent": _rolled(program, carry[2], column(carry))}, *carry[3:])

    return jax.lax.while_loop(lambda c: (c[0] < n) & room(c), stretch, carry)


def _nest(program, topology, ready, one, block, column):
    """The function (level, carry, sums of the longer levels, step at which to stop, condition) -> carry."""

    def steps(level, carry, far, stop, room=lambda carry: True):
        first = carry[0]
        if level == 0:
            alone = lambda carry: one(carry, at(far, carry[0] - first), column(carry))
            return jax.lax.while_loop(lambda c: c[0] < stop, alone, carry)
        size = program.levels[level - 1]

        def window(carry, whole=False):
            cut = lambda x: jax.lax.dynamic_slice_in_dim(x, carry[0] - first, size)
            here = far_sums(program, topology, ready, carry[2]["sent"], level - 1, column(carry))
            here = _plus(jax.tree.map(cut, far), here)
            if whole:
                return block(carry, here, column(carry))
            return steps(level - 1, carry, here, jnp.minimum(stop, carry[0] + size))

        if level == 1 and block is not None:
            carry = jax.lax.while_loop(lambda c: c[0] + size <= stop, lambda c: window(c, True), carry)
        return jax.lax.while_loop(lambda c: (c[0] < stop) & room(c), window, carry)

    return steps


def scan(program, topology, ready, body, state, n):
    """jax.lax.scan of body(state, far sums) over n steps, in windows."""

    def steps(level, state, far, n):
        if level == 0:
            return jax.lax.scan(body, state, far, length=n)
        size = program.levels[level - 1]

        def some(count):
            def window(state, far):
                here = far_sums(program, topology, ready, state["sent"], level - 1, state["step"])
                return steps(level - 1, state, _plus(far, jax.tree.map(lambda x: x[:count], here)), count)

            return window

        whole, made = n // size, []
        if whole:
            fold = lambda x: x[: whole * size].reshape(whole, size, *x.shape[1:])
            state, ys = jax.lax.scan(some(size), state, jax.tree.map(fold, far), length=whole)
            made.append(jax.tree.map(lambda y: y.reshape(whole * size, *y.shape[2:]), ys))
        if n > whole * size or not whole:
            rest = jax.tree.map(lambda x: x[whole * size :], far)
            state, ys = some(n - whole * size)(state, rest)
            made.append(ys)
        return state, jax.tree.map(lambda *ys: jnp.concatenate(ys), *made) if len(made) > 1 else made[0]

    return steps(len(program.levels), state, {}, n)


def split(rows, levels) -> dict:
    """Rows of the near edges and of those of every level: the longest one that their delay lets pass."""
    bounds = [*levels, np.iinfo(np.int32).max]
    wait = rows["delays"] + 1
    out = {f"far{k}": _rows_of(rows, (wait >= low) & (wait < bounds[k + 1])) for k, low in enumerate(levels)}
    near = wait < levels[0]
    return {**out, "near": _rows_of(rows, near)}


def _rows_of(rows, kept):
    before = np.concatenate([[0], np.cumsum(kept)]).astype(np.int32)
    return {"indptr": before[rows["indptr"]], **{k: v[kept] for k, v in rows.items() if k != "indptr"}}


# --- histories of what is sent


def write(history, values, place):
    """Put what every source sends into the column of this step."""
    return jax.lax.dynamic_update_index_in_dim(history, values, jnp.mod(place, history.shape[1]), 1)


def write_block(history, values, place):
    """The same for a block of steps, (n_pre,) values each, in columns that do not wrap."""
    return jax.lax.dynamic_update_slice_in_dim(history, jnp.stack(values, axis=1), place, 1)


def read(history, place, delay):
    """What every source sent `delay` steps before the end of the last step."""
    return jax.lax.dynamic_index_in_dim(history, jnp.mod(place - 1 - delay, history.shape[1]), 1, keepdims=False)


def _lead(program) -> int:
    """Columns of the past before those of a stretch."""
    return max(c.depth for c in program.couplings)


def _stretch(program) -> int:
    """Steps of a stretch, whole windows: about as many as are copied to begin it."""
    return -(-max(_lead(program), STRETCH) // program.window) * program.window


def _unrolled(program, state):
    """Histories with columns in the order of time: the next step has column `_lead`."""
    room = _stretch(program) + LONGEST  # vectors may be read beyond the last column that is written

    def one(ring):
        past = jnp.roll(ring, -jnp.mod(state["step"], ring.shape[1]), axis=1)
        return jnp.pad(past, ((0, 0), (_lead(program) - ring.shape[1], room)))

    return jax.tree.map(one, state["sent"])


def _rolled(program, state, place):
    """The rings again, of which the next step would have had column `place`."""
    depths = {c.tag: c.depth for c in program.couplings if c.depth}

    def one(history, depth):
        past = jax.lax.dynamic_slice_in_dim(history, place - depth, depth, 1)
        return jnp.roll(past, jnp.mod(state["step"], depth), axis=1)

    return {tag: {k: one(h, depths[tag]) for k, h in sent.items()} for tag, sent in state["sent"].items()}
