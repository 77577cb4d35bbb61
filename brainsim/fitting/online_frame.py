"""One step of `DRTRL` and `ESDRTRL`: the step of the network, its derivatives cell by cell, and all eligibilities.

With transmission cut, cells are independent within a step. So d directional derivatives, each along one state of all
cells at once, give the d x d blocks of the Jacobian of every cell; one more for every number that a cell may receive.
"""

import jax
import jax.numpy as jnp
import numpy as np

from ..adjoint import ESDRTRL
from ..dependence import reached
from ..prepare import prepare
from ..program import dtype
from ..transmission import Route, spikes
from .online_checks import stretches
from .online_paths import Path, Slopes, advance, begin, edges_of, gradient, ordinals, readout_weights


def seen_by(sim, ready, state, fired) -> dict:
    """Values of all records at the end of a step, by name."""
    return {r.name: r.read(sim.program, ready, state, fired) for _, r in sim.chunk.keyed("spikes", "trace", "mean")}


class Frame:
    """What does not change during a run, and the functions of what does: a dict of

    state: of the network. sent: what sources sent, or traces of it. first: step at which the run began.
    edges: name -> eligibilities of its paths. sums: name -> the gradient so far.
    cells: group -> eligibilities of the other parameters, stacked. slopes: the gradient so far, group -> (names, n).
    rings: derivative of what is on its way by these parameters, stacked.
    """

    def __init__(self, sim, names, adjoint, params, drives, state, seed):
        self.sim, self.program, self.params, self.names = sim, sim.program, params, names
        self.drives, self.seed = drives, seed
        self.rank_one = isinstance(adjoint, ESDRTRL)
        self.decay = adjoint.decay if self.rank_one else 1.0
        self.start = lambda params: sim._begin(params, drives, state, sim._initial)
        self.places = ordinals(self.program)
        self.weights = readout_weights(self.program, params, self.places)
        self.states = {g: sorted(z) for g, z in jax.eval_shape(self.start, params)["z"].items() if z}
        held = {self.program.weights[p.name][1] for b in self.program.bundles for p in b.parts if b.per_edge}
        self.edges = {n: self.paths_of(n) for n in names if n in held and jnp.ndim(params[n])}
        self.shared = [n for n in names if n not in self.edges]
        groups = [g for g in self.program.groups if g.index in self.states]
        self.cells = {g.index: Path(g, np.arange(g.n)).to_readouts(self.weights) for g in groups}
        delays = [int(e.delay.max(initial=0)) for paths in self.edges.values() for p in paths for e in p.parts]
        self.longest = 1 + max(delays, default=0)
        self.sends = ["spikes", *sorted({sends for sends, *_ in self.weights} - {"spikes"})]
        if not any(spikes(g) for g in groups):
            self.sends = []
        self.basis()
        self.vary()

    def paths_of(self, name):
        """Paths of the edges of one projection: their own, or, of rank one, those of their targets, part by part."""
        parts = edges_of(self.program, self.params, name, self.places)
        if self.rank_one:
            made = [Path(group, np.arange(group.n), [ends]) for group, ends in parts]
        else:
            made = [Path(parts[0][0], parts[0][1].target, [ends for _, ends in parts])]
        return [path.to_readouts(self.weights) for path in made]

    def basis(self):
        """Directions of the derivatives of a step: along every state, then along what every receiver gets."""
        self.d = max(len(names) for names in self.states.values())
        n_ordinals = 1 + max((k for _, k in self.places.values()), default=-1)
        size = self.d + n_ordinals
        along = lambda g, k: np.eye(size, dtype=dtype())[:, k, None].repeat(self.program.groups[g].n, 1)
        self.along = {g: {n: along(g, k) for k, n in enumerate(names)} for g, names in self.states.items()}
        self.added = np.zeros((size, self.program.n_receive), dtype())
        for k, (_, ordinal) in self.places.items():
            r = self.program.receivers[k]
            self.added[self.d + ordinal, r.start : r.start + r.n] = 1.0

    def vary(self):
        """Derivatives of what the loop reads by the parameters that are not weights of edges."""
        flat = lambda params: jax.tree.flatten(prepare(self.program, self.sim.topology, params))
        leaves, self.tree = flat(self.params)
        with_value = lambda n: lambda x: {**self.params, n: x}
        moving = np.zeros(len(leaves), bool)
        for n in self.shared:
            moving |= reached(lambda x, n=n: flat(with_value(n)(x))[0], self.params[n])
        real = [jnp.issubdtype(jnp.result_type(x), jnp.floating) for x in leaves]
        self.moving = np.nonzero(moving & np.array(real))[0]
        self.leaves = leaves

        def along(n):
            one = lambda x: ([flat(with_value(n)(x))[0][i] for i in self.moving], self.start(with_value(n)(x))["z"])
            return jax.jvp(one, (self.params[n],), (jnp.ones_like(self.params[n]),))[1]

        if self.shared:
            self.varied, self.begun = jax.tree.map(lambda *x: jnp.stack(x), *map(along, self.shared))

    def stacked(self, z) -> dict:
        """Group -> (..., n, d) of states by name."""
        return {g: jnp.stack([z[g][n] for n in names], axis=-1) for g, names in self.states.items()}

    def begin(self) -> dict:
        state = self.start(self.params)
        sizes = {g: (self.program.groups[g].n, len(names)) for g, names in self.states.items()}
        depth = 1 + max((delay for _, delay, *_ in self.weights), default=0)
        zero = lambda path: jnp.zeros((len(path.cell), len(self.states[path.group.index])), dtype())
        out = {
            "state": state,
            "first": state["step"],
            "sent": {k: self.unrolled(h, state["step"]) for k, h in state["history"].items()},
            "edges": {n: [begin(p, zero(p), sizes, depth) for p in paths] for n, paths in self.edges.items()},
            "sums": {n: jnp.zeros_like(self.params[n]) for n in self.edges},
        }
        if self.shared:
            many = lambda path: jax.vmap(lambda own: begin(path, own, sizes, depth))
            own = self.stacked(self.begun)
            out["cells"] = {g: many(path)(own[g]) for g, path in self.cells.items()}
            out["rings"] = jax.tree.map(lambda x: jnp.zeros((len(self.shared), *x.shape), x.dtype), state["rings"])
            out["slopes"] = {g: jnp.zeros((len(self.shared), self.program.groups[g].n), dtype()) for g in self.cells}
        return out

    def unrolled(self, history, now):
        """What sources have sent, for the longest delay of the edges, and the traces of it, if of rank one."""
        ages = jnp.arange(min(history.shape[0], self.longest), 0, -1)
        rows = history[jnp.mod(now - ages, history.shape[0])]
        if self.rank_one:
            grow = lambda trace, row: ((new := self.decay * trace + row), new)
            rows = jax.lax.scan(grow, jnp.zeros_like(rows[0]), rows)[1]
        return (
            jnp.zeros((self.longest, history.shape[1]), history.dtype).at[jnp.mod(now - ages, self.longest)].set(rows)
        )

    # --- a step

    def network(self, state, z, added, leaves, rings):
        """One step: (states, what is sent, what is on its way), and (state, spikes)."""
        every = list(self.leaves)
        for i, x in zip(self.moving, leaves, strict=True):
            every[i] = x
        ready = {**jax.tree.unflatten(self.tree, every), "route": Route(added=added)}
        step = self.sim.chunk.step(ready, self.sim.topology, self.drives, self.seed)
        new, fired = step({**state, "z": z, "rings": rings}, {})
        sent = {k: _row(new["history"][k], state["step"]) for k in self.sends}
        return (new["z"], sent, new["rings"]), (new, fired)

    def slopes(self, state):
        """Derivatives of a step (`Slopes`), and what it makes."""
        still = [self.leaves[i] for i in self.moving]
        quiet = jnp.zeros((self.program.n_receive,), dtype())
        one = lambda z, added: self.network(state, z, added, still, state["rings"])
        _, push, (new, fired) = jax.linearize(one, state["z"], quiet, has_aux=True)
        z, sent, _ = jax.vmap(push)(self.along_all(state["z"]), self.added)
        moved, added = {}, {}
        for g, x in self.stacked(z).items():
            moved[g] = jnp.transpose(x[: len(self.states[g])], (1, 2, 0))
            added[g] = jnp.transpose(x[self.d :], (1, 2, 0))
        by_state = {k: x[: self.d].T for k, x in sent.items()}
        return Slopes(moved, added, by_state, {k: x[self.d :].T for k, x in sent.items()}), new, fired

    def along_all(self, z):
        return {g: self.along.get(g, {}) for g in z}

    def step(self, online, loss):
        """(what changes, the loss) after a step."""
        state, now = online["state"], online["state"]["step"]
        slopes, new, fired = self.slopes(state)
        ready = jax.tree.unflatten(self.tree, self.leaves)
        of = lambda z, fired: loss(seen_by(self.sim, ready, {**new, "z": z}, fired))
        value, (by_state, by_spike) = jax.value_and_grad(of, (0, 1))(new["z"], fired)
        by = self.stacked(by_state), by_spike
        out = {**online, "state": new, "sums": {}, "edges": {}}
        for n, paths in self.edges.items():
            out["edges"][n], slope = self.step_edges(online, n, paths, slopes, by)
            out["sums"][n] = online["sums"][n] + slope
        if self.shared:
            out.update(self.step_cells(online, slopes, by))
        out["sent"] = {k: self.push(x, new["history"][k], now) for k, x in online["sent"].items()}
        return out, value

    def push(self, sent, history, now):
        made = _row(history, now)
        if self.rank_one:
            made = made + self.decay * _row(sent, now - 1)
        return jax.lax.dynamic_update_index_in_dim(sent, made, jnp.mod(now, sent.shape[0]), 0)

    def arriving(self, online, ends):
        """What the sources of edges sent when it left to arrive now; what a ring held before the run is unknown."""
        past, left = online["sent"][ends.sends], online["state"]["step"] - 1 - ends.delay
        x = past[jnp.mod(left, past.shape[0]), ends.source]
        return jnp.where(left >= online["first"] - 1, x, 0.0) if ends.ring else x

    def step_edges(self, online, name, paths, slopes, by):
        kept, total = [], 0.0
        for path, old in zip(paths, online["edges"][name], strict=True):
            direct, sent = 0.0, dict.fromkeys(self.sends, 0.0)
            for ends in path.parts:
                arrived = ends.slope * self.arriving(online, ends)
                size = jnp.full(path.cell.shape, 1.0 - self.decay, dtype()) if self.rank_one else arrived
                by_input = slopes.added[path.group.index][path.cell][:, :, ends.ordinal]
                direct = direct + by_input * size[:, None]
                if path.source is not None:
                    sent = {k: x + slopes.sent_added[k][path.source, ends.ordinal] * size for k, x in sent.items()}
            new, fired = advance(path, old, slopes, direct, sent, online["state"]["step"], self.decay)
            slope = gradient(path, new, fired, *by)
            total = total + (slope[ends.target] * arrived if self.rank_one else slope)
            kept.append(new)
        return kept, total

    def step_cells(self, online, slopes, by):
        """Parameters of cells: their derivatives are those of `DRTRL`, of rank one or not."""
        state = online["state"]
        still = [self.leaves[i] for i in self.moving]
        quiet = jnp.zeros((self.program.n_receive,), dtype())
        one = lambda leaves, rings: self.network(state, state["z"], quiet, leaves, rings)[0]
        _, push = jax.linearize(one, still, state["rings"])
        z, sent, rings = jax.vmap(push)(self.varied, online["rings"])
        direct, cells, sums = self.stacked(z), {}, {}
        for g, path in self.cells.items():
            mine = {} if path.source is None else {k: x[:, path.source] for k, x in sent.items()}

            def grow(old, direct, mine, path=path):
                new, fired = advance(path, old, slopes, direct, mine, state["step"], 1.0)
                return new, gradient(path, new, fired, *by)

            cells[g], slope = jax.vmap(grow)(online["cells"][g], direct[g], mine)
            sums[g] = online["slopes"][g] + slope
        return {"cells": cells, "rings": rings, "slopes": sums}

    def collect(self, online) -> dict:
        """The gradient by name, in the shapes of the parameters."""
        out = dict(online["sums"])
        for k, n in enumerate(self.shared):
            if jnp.ndim(self.params[n]) == 0:
                out[n] = sum(jnp.sum(x[k]) for x in online["slopes"].values())
            else:
                out[n] = sum(online["slopes"][g][k, a:b] for g, a, b in stretches(self.program, n))
        return {n: out[n] for n in self.names}


def _row(history, step):
    return jax.lax.dynamic_index_in_dim(history, jnp.mod(step, history.shape[0]), keepdims=False)
