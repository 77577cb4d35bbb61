"""Structural plasticity at a fixed budget: from time to time weak edges are given up, and as many grow elsewhere.

The edges of a projection that rewires are part of the state: runs in parts and checkpoints go on with those there are.
"""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from .distributions import generator
from .errors import ConnectError
from .units import to_canonical

KEEP = ("projection", "source", "target")


@dataclass(frozen=True)
class Rewiring:
    """When and how a projection rewires; made by `rewiring`."""

    every: float
    below: float | None
    fraction: float | None
    weight: float
    keep: str


def rewiring(every, *, below=None, fraction=None, weight=0.0, keep="projection") -> Rewiring:
    """Structural plasticity of `net.connect(..., rewiring=...)`: the number of edges stays.

    Args:
        every: interval in ms, a multiple of dt; the first time after one interval.
        below: edges are given up whose absolute weight is at most this, in the unit of the weight.
        fraction: or: this share of all edges, those with the smallest absolute weights.
        weight: of new edges; their other variables start as declared.
        keep: what has a budget: the "projection" (both ends of a new edge are random), every "source" or every "target"
            (their numbers of edges stay). New edges join pairs that have none, and no cell with itself.

    Raises:
        ConnectError: neither or both of below and fraction, or a value outside its range.

    References:
        Butz, Woergoetter & van Ooyen 2009, 10.1016/j.brainresrev.2008.12.023, for rewiring at constant numbers;
        Bellec et al. 2018, arXiv:1711.05136, for random regrowth of the weakest.
    """
    every = float(to_canonical(every, "ms", "rewiring: every"))
    if not every > 0:
        raise ConnectError(f"rewiring: every = {every:g} ms; give a positive interval")
    if (below is None) == (fraction is None):
        raise ConnectError("rewiring: say which edges are given up: below=0.1 (a weight), or fraction=0.05 of them")
    if fraction is not None and not 0 < fraction < 1:
        raise ConnectError(f"rewiring: fraction = {fraction}; it is a share of the edges between 0 and 1")
    if below is not None and not (np.isfinite(below) and below >= 0):
        raise ConnectError(f"rewiring: below = {below}; it is an absolute weight, at least 0")
    if keep not in KEEP:
        raise ConnectError(f"rewiring: keep = {keep!r}; write one of {KEEP}")
    return Rewiring(every, below, fraction, float(weight), keep)


def index_arrays(pre, post, n_pre, n_post) -> dict:
    """Row and column pointers of edges that are sorted by (pre, post)."""
    order = np.argsort(post, kind="stable").astype(np.int32)
    ends = lambda cells, n: np.concatenate([[0], np.cumsum(np.bincount(cells, minlength=n))]).astype(np.int32)
    made = {"indptr": ends(pre, n_pre), "pre": pre.astype(np.int32), "post": post.astype(np.int32)}
    return {**made, "columns": ends(post, n_post), "sources": made["pre"][order], "order": order}


def placed(program, topology, state) -> dict:
    """The initial state with the edges that rewire, and what their variables start with."""
    plastic = dict(state["plastic"])
    for learner in program.learners:
        if learner.spec.rewiring is None or not learner.n_edges:
            continue
        mine = plastic[learner.tag]
        edge = [(k, n) for k, rule in enumerate(learner.rules) for n in rule.states("edge")]
        fresh = {f"{k}/{n}": mine["rules"][str(k)][n][0] for k, n in edge}
        rows = {k: jnp.asarray(x) for k, x in topology[learner.tag].items()}
        plastic[learner.tag] = {**mine, "rows": rows, "fresh": fresh}
    return {**state, "plastic": plastic}


def due(program, step: int) -> int:
    """Steps from `step` until a projection rewires next; a large number if none does."""
    return min((n - step % n for n in intervals(program).values()), default=2**31)


def intervals(program) -> dict:
    """Steps between the rewirings of every projection that has any."""
    every = {x.tag: x.spec.rewiring.every for x in program.learners if x.spec.rewiring is not None}
    return {tag: round(ms / program.dt) for tag, ms in every.items()}


def is_due(program, step: int) -> bool:
    """Whether a projection rewires at this step."""
    return any(step % n == 0 for n in intervals(program).values())


def apply(program, state, step: int):
    """The state after the rewirings that are due at its step; edges must be awake (`learn_events.awake`)."""
    plastic, strides = dict(state["plastic"]), intervals(program)
    for learner in program.learners:
        if learner.tag in strides and step % strides[learner.tag] == 0:
            plastic[learner.tag] = rewired(program, learner, plastic[learner.tag], step)
    return {**state, "plastic": plastic}


def rewired(program, learner, state, step) -> dict:
    """State of a projection after edges were given up and grown; `step` keys the random numbers."""
    how, rows = learner.spec.rewiring, state["rows"]
    pre, post, w = (np.asarray(x) for x in (rows["pre"], rows["post"], state["w"]))
    lost = _given_up(how, np.abs(w))
    if not lost.any():
        return state
    rng = generator(program.seed, learner.projection, f"rewiring {step}")
    pre, post = pre.copy(), post.copy()
    same = learner.source is learner.group and learner.pre == learner.post
    _grow(rng, how.keep, pre, post, lost, learner.pre.n, learner.post.n, same, learner.projection)
    order = np.lexsort((post, pre))
    move = lambda x, new: jnp.asarray(np.where(lost, new, np.asarray(x))[order], x.dtype)
    rules = {}
    for k, rule in enumerate(learner.rules):
        mine = dict(state["rules"][str(k)])
        for n in rule.states("edge"):
            mine[n] = move(mine[n], state["fresh"][f"{k}/{n}"])
        rules[str(k)] = mine
    made = index_arrays(pre[order], post[order], learner.pre.n, learner.post.n)
    made = {**rows, **{k: jnp.asarray(x) for k, x in made.items()}}
    return {**state, "w": move(state["w"], how.weight), "rules": rules, "rows": made}


def _given_up(how, size):
    if how.below is not None:
        return size <= how.below
    lost = np.zeros(len(size), bool)
    lost[np.argsort(size, kind="stable")[: round(how.fraction * len(size))]] = True
    return lost


def _grow(rng, keep, pre, post, lost, n_pre, n_post, same, name):
    """New ends for the lost edges, in place: every pair at most once, beside those that stay."""
    taken = set((pre[~lost].astype(np.int64) * n_post + post[~lost]).tolist())
    for e in np.flatnonzero(lost):
        for _ in range(100):
            i = pre[e] if keep == "source" else rng.integers(n_pre)
            j = post[e] if keep == "target" else rng.integers(n_post)
            if int(i) * n_post + int(j) not in taken and not (same and i == j):
                break
        else:
            i, j = _any_free(rng, keep, int(pre[e]), int(post[e]), taken, n_pre, n_post, same, name)
        pre[e], post[e] = i, j
        taken.add(int(i) * n_post + int(j))


def _any_free(rng, keep, i, j, taken, n_pre, n_post, same, name):
    """A random one of the few pairs that are left."""
    sources = [i] if keep == "source" else range(n_pre)
    targets = [j] if keep == "target" else range(n_post)
    free = [(a, b) for a in sources for b in targets if a * n_post + b not in taken and not (same and a == b)]
    if not free:
        raise ConnectError(
            f"{name}: there is no free pair of cells left for a new edge (keep={keep!r}); connect fewer edges"
        )
    return free[rng.integers(len(free))]
