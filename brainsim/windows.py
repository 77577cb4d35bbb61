"""Windows of steps: what delayed couplings send is summed once for all steps shorter than the shortest delay.

Within such a window no cell sees what another one does in it (Morrison et al. 2005, 10.1162/0899766054026648), so every
edge reads one contiguous slice of the history of its source instead of single values at random places. Edges with
shorter delays stay *near*: they are summed in every step.
"""

import jax
import jax.numpy as jnp
import numpy as np

from . import ops
from .delivery import every

LONGEST = 64  # steps of a window: longer ones gain nothing, and their sums leave the cache
NEAR, FAR, ONCE = 2.5, 0.27, 2.2  # ns per edge and step: a single value, one of a slice, beginning a slice


def choose_window(couplings, projections, steps) -> int:
    """Number of steps of a window with the least work; 1: there are no delayed couplings, or too short ones."""
    waits = [
        every(steps[c.projection], projections[c.projection].n_edges) + 1
        for c in couplings
        if c.moving and c.delay != 0 and projections[c.projection].n_edges
    ]
    if not waits:
        return 1
    waits = np.sort(np.concatenate(waits))
    found = {int(min(LONGEST, waits[int(q * (len(waits) - 1))])) for q in (0.0, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5)}

    def cost(window):
        near = np.searchsorted(waits, window) / len(waits)
        return NEAR if window == 1 else near * NEAR + (1 - near) * (FAR + ONCE / window)

    return min(sorted(found | {1}), key=cost)


def far_sums(program, topology, ready, state) -> dict:
    """Weighted sums of all far edges for the next `program.window` steps: tag -> key -> (window, n_post)."""
    out = {}
    for c in program.couplings:
        rows = topology[c.tag].get("far")
        if rows is None:
            continue
        weights = ready["weights"][c.tag]["far"]

        def sums(history, rows=rows, weights=weights):
            graph = (rows["indptr"], rows["indices"], -1 - rows["delays"], state["step"])
            return ops.window_gather(history, weights, *graph, block=program.window)

        out[c.tag] = {key: sums(history) for key, history in state["sent"][c.tag].items()}
    return out


def at(far, k) -> dict:
    """The sums of step k of a window."""
    return jax.tree.map(lambda x: jax.lax.dynamic_index_in_dim(x, k, keepdims=False), far)


def scan(program, topology, ready, body, state, n):
    """jax.lax.scan of body(state, far sums) over n steps, window by window; the steps of a window are computed again in
    the backward pass, from the state at its start."""
    size = program.window
    if size == 1:
        return jax.lax.scan(lambda state, _: body(state, {}), state, None, length=n)

    def some(steps):
        @jax.checkpoint
        def window(state, _):
            far = far_sums(program, topology, ready, state)
            return jax.lax.scan(body, state, jax.tree.map(lambda x: x[:steps], far), length=steps)

        return window

    whole = n // size
    state, ys = jax.lax.scan(some(size), state, None, length=whole)
    state, rest = some(n - whole * size)(state, None)
    join = lambda a, b: jnp.concatenate([a.reshape(whole * size, *a.shape[2:]), b])
    return state, jax.tree.map(join, ys, rest)


def split(rows, window) -> tuple[dict, dict]:
    """Rows of the near and of the far edges, those whose delay lets a whole window pass."""
    return _rows_of(rows, rows["delays"] + 1 < window), _rows_of(rows, rows["delays"] + 1 >= window)


def _rows_of(rows, kept):
    before = np.concatenate([[0], np.cumsum(kept)]).astype(np.int32)
    return {"indptr": before[rows["indptr"]], **{k: v[kept] for k, v in rows.items() if k != "indptr"}}


def write(history, values, now):
    """Put what every source sends into the column of this step."""
    return jax.lax.dynamic_update_index_in_dim(history, values, jnp.mod(now, history.shape[1]), 1)


def read(history, now, delay):
    """What every source sent `delay` steps before the end of the last step."""
    return jax.lax.dynamic_index_in_dim(history, jnp.mod(now - 1 - delay, history.shape[1]), 1, keepdims=False)
