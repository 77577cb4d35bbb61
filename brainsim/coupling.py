"""Continuous couplings: weighted sums of what sources send, and equations that live on single edges."""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np

from .layout import Group, Member, Slot, Terminal


@dataclass(eq=False)
class Coupling:
    """One projection whose synapse has an `output`: sums over incoming edges reach `current` of its slot."""

    index: int
    projection: str
    terminal: Terminal
    slot: Slot
    symmetric: bool
    delay: int | None  # steps; None: one per edge
    depth: int  # rows of history kept
    moving: tuple[str, ...] = ()  # outputs that change during a run
    fixed: tuple[str, ...] = ()
    learner: str | None = None  # tag of the plastic projection whose weights these are

    @property
    def tag(self):
        return f"coupling{self.index}"


@dataclass(eq=False)
class EdgeBlock:
    """One projection with variables or currents on its edges."""

    index: int
    projection: str
    synapse: type
    source: Group
    group: Group
    into: str
    reads_post: tuple[str, ...]
    on_edges: bool  # the current is evaluated per edge
    n_edges: int
    delay: int | None
    leaves: dict[str, str] = field(default_factory=dict)
    deposits: dict[str, int] = field(default_factory=dict)  # increments made per edge -> first receiver
    learner: str | None = None
    pre: Member | None = None
    rests: bool = False  # nothing happens on an edge between its spikes

    @property
    def tag(self):
        return f"edges{self.index}"

    @property
    def random(self):
        """Whether its edges draw random numbers when a spike arrives."""
        return "key" in self.synapse.__methods__.get("on_pre", ())

    @property
    def states(self):
        return [n for n, s in self.synapse.__states__.items() if s.on == "edge"]


def target_rows(pre, post, n_post, source_start, target_start, steps=None, symmetric=False):
    """Edges sorted by target: row pointers, source indices, and which edge each entry is.

    Returns:
        dict of int32 arrays `indptr` (n_post + 1,), `indices` (n_entries,), `order` (n_entries,), `delays` if per edge.
    """
    edge = np.arange(len(pre), dtype=np.int32)
    rows, sources = post + target_start, pre + source_start
    if symmetric:
        rows, sources, edge = (
            np.concatenate([rows, sources]),
            np.concatenate([sources, rows]),
            np.concatenate([edge, edge]),
        )
    order = np.lexsort((sources, rows))
    counts = np.bincount(rows, minlength=n_post)
    made = {
        "indptr": np.concatenate([[0], np.cumsum(counts)]).astype(np.int32),
        "indices": sources[order].astype(np.int32),
        "order": edge[order],
    }
    if steps is not None:
        made["delays"] = np.broadcast_to(steps, pre.shape)[edge[order]].astype(np.int32)
    return made


def weighted_sums(x, weights, rows):
    """Sums of w * x over the incoming edges of every target.

    Args:
        x: dict name -> (n_pre,) values.
        weights: scalar or one per entry of the rows.
    """
    from . import ops

    if not x:
        return {}
    names = list(x)
    stacked = jnp.stack([x[n] for n in names])
    one = lambda v: ops.gather_csr(v, weights, rows["indptr"], rows["indices"])
    return dict(zip(names, one(stacked[0])[None] if len(names) == 1 else jax.vmap(one)(stacked)))


def delayed_sums(history, now, weights, rows):
    """The same with one delay per edge, read from what the sources sent.

    Args:
        history: dict name -> (n_pre, depth), column (step % depth) is the newest. now: int32 step.
    """
    from . import ops

    if not history or not rows["indices"].shape[0]:
        return {}
    graph = (rows["indptr"], rows["indices"], -1 - rows["delays"], now)
    return {n: ops.window_gather(h, weights, *graph, block=1)[0] for n, h in history.items()}


def sum_on_targets(values, rows):
    """Sum one value per edge onto the targets."""
    from . import ops

    return ops.gather_csr(values, jnp.ones((), values.dtype), rows["indptr"], rows["order"])
