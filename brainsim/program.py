"""The compiled network: static description, and pure functions of (params, topology, state, inputs) to the next state.

One step is a list of named substeps: deliver -> integrate -> detect -> reset -> record (docs/schedule.md).
"""

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

from .coupling import Coupling, EdgeBlock
from .delivery import Bundle, Receiver
from .layout import Group, Layout, Slot, Terminal
from .surrogate import Surrogate


@dataclass(eq=False)
class Program:
    """Static description of a compiled network; compared by identity, it is the key of the compile cache."""

    layout: Layout
    dt: float
    seed: int
    methods: dict[int, str]
    receivers: list[Receiver]
    bundles: list[Bundle]
    couplings: list[Coupling]
    edge_blocks: list[EdgeBlock]
    drives: dict[str, Any]
    history: int
    rings: dict[str, int]
    sent: dict[str, Any]
    surrogate: Surrogate
    smooth: bool
    derived: dict[str, Any]
    initial: tuple[str, ...]
    weights: dict[str, tuple]
    lists: bool = False  # a host run keeps lists of spikes, where they are native
    narrow: bool = False  # a host run keeps per-edge weights in bfloat16
    threads: int | None = None  # most threads of one operator call in a host run
    levels: tuple[int, ...] = ()  # steps whose delayed couplings are summed together, nested windows
    zero_states: dict[str, float] = field(default_factory=dict)
    learners: list[Any] = field(default_factory=list)  # plastic projections
    procedural: list[Any] = field(default_factory=list)  # calls for projections without stored edges
    lags: dict[str, Any] = field(default_factory=dict)  # entries of projections whose delays are learnable

    @property
    def groups(self) -> list[Group]:
        return self.layout.groups

    @property
    def window(self) -> int:
        """Steps of the longest window."""
        return self.levels[-1] if self.levels else 1

    @property
    def n_receive(self) -> int:
        return sum(r.n for r in self.receivers)

    def slots_of(self, group) -> list[Slot]:
        return [s for s in self.layout.slots if s.group is group]

    def terminals_of(self, group) -> list[Terminal]:
        return [t for t in self.layout.terminals if t.group is group]


def dtype():
    """Floating type of a run: float64 under x64, else float32."""
    return jnp.result_type(float)


def expand_group(group: Group, params: dict) -> dict:
    """Parameter values of a group: a scalar where all members share one scalar leaf, else one value per cell."""
    out = {}
    for key, names in group.leaves.items():
        leaves = [jnp.asarray(params[n], dtype()) for n in names]
        if len(set(names)) == 1 and leaves[0].ndim == 0:
            out[key] = leaves[0]
        else:
            out[key] = jnp.concatenate([jnp.broadcast_to(x, (m.n,)) for x, m in zip(leaves, group.members)])
    return out


def expand_slot(slot: Slot, params: dict) -> dict:
    """Parameter values of a slot, scalar or one per cell of the group; stretches without synapses take any value."""
    out = {}
    for key, spans in slot.leaves.items():
        names = list(spans.values())
        leaves = {n: jnp.asarray(params[n], dtype()) for n in names}
        if len(set(names)) == 1 and leaves[names[0]].ndim == 0:
            out[key] = leaves[names[0]]
            continue
        if any(x.ndim and x.shape[0] != span[1] - span[0] for span, n in spans.items() for x in [leaves[n]]):
            continue  # a value per source or per edge: not readable on the target side
        first = leaves[names[0]]
        whole = jnp.full((slot.group.n,), first if first.ndim == 0 else first[0], dtype())
        for (a, b), n in spans.items():
            whole = whole.at[a:b].set(jnp.broadcast_to(leaves[n], (b - a,)))
        out[key] = whole
    return out


def expand_terminal(terminal: Terminal, params: dict) -> dict:
    """Parameter values on the source side, scalar or one per cell of the group."""
    out, m = {}, terminal.member
    for key, name in terminal.leaves.items():
        leaf = jnp.asarray(params[name], dtype())
        if leaf.ndim == 0:
            out[key] = leaf
        elif leaf.shape[0] == m.n:
            whole = jnp.full((terminal.group.n,), leaf[0], dtype())
            out[key] = whole.at[m.start : m.stop].set(leaf)
    return out


def axes_of(tree):
    """in_axes of vmap: scalars are not mapped."""
    return jax.tree.map(lambda x: None if jnp.ndim(x) == 0 else 0, tree)


def map_cells(function, n, *args, kept=()):
    """Map a function of scalars over the n cells of a group; results that no mapped value reaches are broadcast.

    Args:
        kept: pairs of paths (into `args`, into the result) of one variable before and after: they may share memory.
    """
    from .ops.fused import map_scalars

    place = {jax.tree_util.keystr(k): i for i, (k, _) in enumerate(jax.tree_util.tree_leaves_with_path(args))}
    donate = []
    if kept:
        scalars = jax.tree.map(lambda x: jax.ShapeDtypeStruct((), jnp.result_type(x)), args)
        shape = jax.eval_shape(function, *scalars)
        result = {jax.tree_util.keystr(k): i for i, (k, _) in enumerate(jax.tree_util.tree_leaves_with_path(shape))}
        donate = [(place[a], result[b]) for a, b in kept if a in place and b in result]
    return map_scalars(function, n, *args, donate=donate)
