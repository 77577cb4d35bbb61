"""Eligibilities: derivatives of the states of cells by weights and parameters, carried forward in time.

With the cut of e-prop (`transmission.py`) a weight reaches the states of its target cell alone, and through its spikes
those of readouts. A *path* holds these derivatives for a number of entries, edges or cells that share a parameter:
`own` for the target cell, `out` for every readout it may reach, `line` for what its spikes have sent and is on its way.
"""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np

from ..delivery import every
from ..prepare import arriving_weight
from ..program import dtype
from ..transmission import reads_out


def ordinals(program) -> dict:
    """Receivers that spikes reach: place in the list of receivers -> (group, number among those of its group)."""
    reached = {r for b in program.bundles for r in b.receivers}
    out, count = {}, {}
    for k, r in enumerate(program.receivers):
        if r in reached:
            group = r.index if r.kind == "cell" else program.layout.slots[r.index].group.index
            out[k] = (group, count.get(group, 0))
            count[group] = count.get(group, 0) + 1
    return out


@dataclass(eq=False)
class Ends:
    """What arrives for the edges of one part of a projection, (m,) each, and what it does for a unit of the weight."""

    sends: str
    ordinal: int  # of the receiver in its group
    source: np.ndarray  # global ids
    target: np.ndarray  # cells of the group
    delay: np.ndarray  # steps
    slope: jax.Array
    ring: bool  # whether spikes wait where they are to arrive, not at their source


@dataclass(eq=False)
class Path:
    """Derivatives by a number of entries in one group of cells; those of edges have parts, those of cells have none.

    cell: (m,) target cells of the entries. weights: those to readouts (`readout_weights`), (m, n_readouts) each.
    """

    group: object
    cell: np.ndarray
    parts: list = field(default_factory=list)
    weights: dict = field(default_factory=dict)

    @property
    def source(self):
        """Global ids of the target cells as sources, (m,); None for readouts."""
        return None if self.group.source_start is None else self.group.source_start + self.cell

    def to_readouts(self, weights):
        if self.source is not None:
            self.weights = {key: w[:, self.source].T for key, w in weights.items()}
        return self


def edges_of(program, params, name, places) -> list[tuple]:
    """(group, `Ends`) of every part of the projection that has a weight."""
    out = []
    for b in program.bundles:
        for p in b.parts:
            if program.weights[p.name][1] != name:
                continue
            edges, group = p.projection.edges, program.layout.slot_of[p.name].group
            arriving = lambda w, b=b, p=p: arriving_weight(program, {**params, name: w}, b, p)
            slope = jax.jvp(arriving, (params[name],), (jnp.ones_like(params[name]),))[1]
            ordinal = places[program.receivers.index(p.receiver)][1]
            delay = every(p.steps, p.projection.n_edges)
            out.append(
                (
                    group,
                    Ends(b.sends, ordinal, p.source + edges.pre, p.offset + edges.post, delay, slope, b.delay is None),
                )
            )
    return out


def readout_weights(program, params, places) -> dict:
    """Dense weights from sources to readouts: (sends, delay, group, ordinal) -> (n_readouts, n_sources)."""
    out = {}
    for b in program.bundles:
        for p in b.parts:
            if not reads_out(program, p.receiver):
                continue
            group, ordinal = places[program.receivers.index(p.receiver)]
            edges, steps = p.projection.edges, every(p.steps, p.projection.n_edges)
            w = jnp.asarray(arriving_weight(program, params, b, p))
            w = w[edges.post] if not b.per_edge and w.ndim else jnp.broadcast_to(w, (p.projection.n_edges,))
            for delay in np.unique(steps):
                mine = np.nonzero(steps == delay)[0]
                key = (b.sends, int(delay), group, ordinal)
                zero = jnp.zeros((program.groups[group].n, program.layout.n_sources), dtype())
                at = (p.offset + edges.post[mine], p.source + edges.pre[mine])
                out[key] = out.get(key, zero).at[at].add(w[mine])
    return out


@dataclass(frozen=True, eq=False)
class Slopes:
    """Derivatives of one step, of all cells.

    moved: group -> (n, d, d) of the states after it (second axis) by those before it.
    added: group -> (n, d, receivers) of the states by what arrives.
    sent: what is sent -> (n_sources, d) by the states of the source, and `sent_added` (n_sources, receivers).
    """

    moved: dict
    added: dict
    sent: dict
    sent_added: dict


def begin(path, own, sizes, depth) -> dict:
    """Eligibilities before the first step. sizes: group of readouts -> (cells, states)."""
    m = len(path.cell)
    if path.source is None:
        return {"own": own}
    out = {q: jnp.zeros((m, *sizes[q]), dtype()) for q in {q for _, _, q, _ in path.weights}}
    lines = {"spikes": jnp.zeros((depth, m), dtype())}
    lines.update({sends: jnp.zeros((depth, m), dtype()) for sends, *_ in path.weights})
    return {"own": own, "out": out, "line": lines}


def advance(path, old, slopes, direct, direct_sent, now, decay):
    """(eligibilities after a step, derivative of the spikes of the target cells in it or None).

    Args:
        direct: (m, d) derivatives of the states in this step alone. direct_sent: the same of what is sent, (m,) each.
        decay: factor of all that is older, for every step of its age.
    """
    moved = slopes.moved[path.group.index][path.cell]
    own = decay * jnp.einsum("moi,mi->mo", moved, old["own"]) + direct
    if path.source is None:
        return {"own": own}, None
    made, line = {}, {}
    for sends, past in old["line"].items():
        by_state = slopes.sent[sends][path.source][:, : old["own"].shape[1]]
        made[sends] = decay * jnp.sum(by_state * old["own"], axis=1) + direct_sent[sends]
        line[sends] = jax.lax.dynamic_update_index_in_dim(past, made[sends], jnp.mod(now, past.shape[0]), 0)
    out = {q: decay * jnp.einsum("koi,mki->mko", slopes.moved[q], x) for q, x in old["out"].items()}
    for (sends, delay, q, ordinal), weight in path.weights.items():
        past = old["line"][sends]
        arrived = past[jnp.mod(now - 1 - delay, past.shape[0])] * decay ** (delay + 1)
        out[q] = out[q] + (weight * arrived[:, None])[:, :, None] * slopes.added[q][None, :, :, ordinal]
    return {"own": own, "out": out, "line": line}, made["spikes"]


def gradient(path, state, fired, by_state, by_spike):
    """(m,) derivative of the loss of this step by the entries; `by_state`, `by_spike`: its derivatives, by group."""
    g = path.group.index
    out = jnp.sum(by_state[g][path.cell] * state["own"], axis=1)
    if fired is None:
        return out
    out = out + by_spike[g][path.cell] * fired
    return out + sum(jnp.einsum("kd,mkd->m", by_state[q], x) for q, x in state["out"].items())
