"""Runs of compiled networks from spike to spike: exact times and exact derivatives, for `adjoint=bs.EventGrad(...)`."""

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .adjoint import Adjoint
from .beginning import initial_state
from .drive import Constant
from .errors import ParameterError, RunError, UnknownNameError, unknown
from .event_cells import current, membrane, not_a_cell, not_a_current, not_a_source
from .events import SpikeTrains
from .names import match
from .prepare import arrival_values, derive, effective_weight
from .procedural_rule import is_procedural
from .program import dtype, expand_group, expand_slot
from .recorded import Spikes
from .signals import Nudge, as_drive

STEPS = "or run in steps, with adjoint=bs.BPTT()"


@dataclass(frozen=True)
class EventGrad(Adjoint):
    """Exact spike times and their exact derivatives: the run goes from spike to spike, without steps
    (`fitting.event_network.exact_spikes`; Wunderlich & Pehle 2021, 10.1038/s41598-021-91786-z).

    For networks of `LIF` cells with `ExpCurrent` synapses, or classes with the same equations, and `SpikeSource`
    populations that are given `bs.spike_trains`. `sim.run(..., adjoint=EventGrad(8))` returns an `ExactResult`, also
    outside of transformations. Delays are taken as written, not in steps: ordinary ones, and learnable ones as their
    parameter (the width of their kernel has no meaning here). Derivatives exist by all parameters, initial values,
    constant currents and given spike times; they hold while no spike appears or disappears.

    As dt falls the spikes of the run in steps come to these: that run finds a spike at the end of the step in which the
    threshold is crossed, at most dt later, rounds delays, given times and t_ref to steps, and passes such errors on.

    Args:
        most: spikes that each cell has room for.

    Raises:
        ParameterError: `most` is no whole number from 1.
        RunError: by the run: a part of the network that has no exact times, with its name; a cell that fires more than
            `most` spikes, or starts above its threshold. Under transformations all times are nan then, and the
            result is not `ok`.
    """

    most: int

    def __post_init__(self):
        if isinstance(self.most, bool) or not isinstance(self.most, int | np.integer) or self.most < 1:
            raise ParameterError(f"EventGrad: most={self.most!r}; give the spikes that a cell has room for, from 1")

    def run(self, sim, n, params, inputs, state, stream):
        check(sim, state, stream)
        trains, currents = _given(sim, inputs, n)
        block = _Block(sim, params, currents)
        sources, given, back = _connections(sim, block, trains)
        values = {k: block.cells[k] for k in ("tau_m", "tau_s", "threshold", "t_ref", "v_first", "v_reset", "begin")}
        from .fitting.event_network import trains as solve

        found, missed = solve(
            "level", int(self.most), (sources, *given), back, values, jnp.asarray(n * sim.dt, dtype())
        )
        above = jnp.maximum(values["v_first"], values["v_reset"]) >= values["threshold"]
        ok = ~(jnp.any(missed) | jnp.any(above) | jnp.any(jnp.isnan(found)))
        if not isinstance(ok, jax.core.Tracer) and not ok:
            _explain(sim, block, np.asarray(missed), np.asarray(above), self.most)
        found = jnp.where(ok, found, jnp.nan)
        spikes = {}
        for r in sim.recorders:
            times = trains.get(r.owner)
            if times is not None:
                times = jnp.sort(jnp.where(times > n * sim.dt, jnp.inf, times), axis=1)
            spikes[r.owner] = SpikeTimes(found[block.places[r.owner]] if times is None else times)
        return ExactResult(spikes, ok, dt=sim.dt)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SpikeTimes:
    """Exact spikes of a population: times (n, most) ms, in order, inf where a cell fires less."""

    times: Any

    @property
    def counts(self):
        """(n,) spikes of each cell; without derivative."""
        return jnp.sum(self.times < jnp.inf, -1)

    def filled(self, late):
        """Times (n, most) with `late` ms in the place of spikes that are missing."""
        return jnp.where(self.times == jnp.inf, jnp.asarray(late, self.times.dtype), self.times)

    def listed(self) -> Spikes:
        """The same as of a run in steps, outside of transformations: times and indices as flat NumPy arrays."""
        times = np.asarray(self.times, float)
        rows, _ = fires = np.nonzero(np.isfinite(times))
        return Spikes(times[fires], rows, len(times))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ExactResult:
    """What a run with `EventGrad` returns: spikes, name -> `SpikeTimes` of every recorded population; ok: all cells had
    room for their spikes."""

    spikes: dict
    ok: Any
    traces: dict = field(default_factory=dict)
    summaries: dict = field(default_factory=dict)
    dt: float = field(metadata={"static": True}, default=0.1)

    def __getitem__(self, name) -> SpikeTimes:
        if name.removesuffix(".spikes") in self.spikes:
            return self.spikes[name.removesuffix(".spikes")]
        raise UnknownNameError(unknown("record", name, self.spikes))


def check(sim, state, stream):
    """Refuse, by name, what has no exact times."""
    net, program = sim.network, sim.program
    for what, why in (
        (state is not None, "state= is given, but an exact run begins at 0 ms; leave it out"),
        (stream is not None, "stream= is given, but exact runs keep their spikes in memory; leave it out"),
        (sim.options["version"] != net._version, "the network has changed since it was compiled; compile it again"),
        (program.smooth, "the network is compiled with smooth=True, which has no spikes; compile it without"),
        (program.narrow, "weights are kept in bfloat16; compile without weights='bfloat16'"),
    ):
        if what:
            raise RunError(f"EventGrad: {why}, {STEPS}")
    for r in sim.recorders:
        if r.kind != "spikes":
            raise RunError(
                f"EventGrad: {r.name!r} is recorded, but an exact run has spikes only; leave it out, {STEPS}"
            )
    for p in net.populations.values():
        cls = type(p.model)
        if not_a_cell(cls) and not_a_source(cls):
            raise RunError(
                f"EventGrad: population {p.name!r}: {cls.__name__} {not_a_cell(cls)}; exact times need LIF cells, or "
                f"SpikeSource for given spikes; change it, {STEPS}"
            )
    for p in net.projections.values():
        problem = _no_connection(p)
        if problem:
            raise RunError(f"EventGrad: projection {p.name!r} {problem}, {STEPS}")


def _no_connection(p) -> str | None:
    cls = type(p.synapse)
    if p.source is not None:
        return f"is a drive ({type(p.source).__name__}); connect a SpikeSource and give it bs.spike_trains"
    if p.plastic is not None:
        return "learns while it runs; connect it without plasticity= and rewiring="
    if is_procedural(p):
        return "has edges that are not stored; connect it with a rule that is not bs.procedural(...)"
    if not_a_current(cls):
        return f"has the synapse {cls.__name__}, which {not_a_current(cls)}; exact times need ExpCurrent"
    if not_a_cell(type(p.post.model)):
        return f"leads to {p.post.name!r}, whose spikes are given; leave it out"
    return None


def _given(sim, inputs, n):
    """Spikes of sources, name -> (n, m) ms, and constant inputs of cells, "population.input" -> () or (n,)."""
    known = {k: f for k, f in sim.feeds.items() if f.place is not None and f.place[2].startswith("in/")}
    drives = {}
    if inputs is not None and not isinstance(inputs, dict):
        raise RunError(f"inputs is {inputs!r:.60}; give a dict such as {{'{next(iter(known), 'exc.I')}': 20.0}}")
    for pattern, given in (inputs or {}).items():
        if isinstance(given, Nudge):
            raise RunError(f"EventGrad: the state {pattern!r} is pulled by bs.nudge; leave that out, {STEPS}")
        for name in match(pattern, known, "input"):
            if name in drives:
                raise RunError(f"the input {name!r} is given twice; give one drive")
            drives[name] = given
    trains = {}
    for p in sim.network.populations.values():
        if not_a_cell(type(p.model)):
            name = f"{p.name}.{type(p.model).__methods__['spike'][0]}"
            trains[p.name] = _table(name, drives.pop(name, None), p.n)
    return trains, {
        name: _constant(name, given, known[name], n, sim.dt)
        for name, given in drives.items()
        if name.rpartition(".")[0] not in trains
    }


def _table(name, given, n):
    """Given spikes (n, m) ms, inf where a cell has fewer."""
    if given is None:
        return jnp.full((n, 1), jnp.inf, dtype())
    if not isinstance(given, SpikeTrains):
        raise RunError(
            f"EventGrad: input {name!r} is {type(given).__name__}; give its spikes as bs.spike_trains(times, indices), "
            f"{STEPS}"
        )
    given.check(n, None, 0, 0, f"input {name}")
    if not isinstance(given.times, jax.core.Tracer):
        _refuse_twice(name, given)
    times = jnp.asarray(given.times, dtype())
    if given.indices is None:
        return jnp.broadcast_to(times, (n, times.size))
    order = np.argsort(given.indices, kind="stable")
    rows = given.indices[order]
    column = np.arange(len(rows)) - np.searchsorted(rows, rows)
    empty = jnp.full((n, 1 + column.max(initial=0)), jnp.inf, dtype())
    return empty.at[rows, column].set(times[order])


def _refuse_twice(name, given):
    """A source sends one spike at a time, which a run in steps counts once."""
    rows = np.zeros(len(given.times), int) if given.indices is None else given.indices
    pairs, count = np.unique(np.stack([rows, given.times]), axis=1, return_counts=True)
    twice = (count > 1) & np.isfinite(pairs[1])
    if twice.any():
        row, time = pairs[:, np.argmax(twice)]
        raise RunError(f"EventGrad: input {name!r}: cell {int(row)} fires twice at {time:g} ms; leave one spike")


def _constant(name, given, feed, n, dt):
    drive = as_drive(given, feed.n, n, feed.spec.unit or "1", f"input {name}")
    if not isinstance(drive, Constant):
        raise RunError(
            f"EventGrad: input {name!r} is {type(drive).__name__}, which changes with time; give a number or one value "
            f"per cell, {STEPS}"
        )
    drive.check(feed.n, dt, 0, n, f"input {name}")
    return jnp.asarray(drive.amplitude, dtype())


class _Block:
    """All cells side by side. places: population -> slice; starts: index of a group -> its first cell; gains: the same
    -> input -> (n_group,); cells: values (n,), voltages above those that v goes to without spikes."""

    def __init__(self, sim, params, currents):
        program, self.params = sim.program, params
        self.values = derive(program, params)
        self.groups = [g for g in program.groups if not not_a_cell(g.model)]
        self.initial = initial_state(program, params, {})["z"]
        self.starts, self.places, self.gains, pieces, self.n = {}, {}, {}, [], 0
        for g in self.groups:
            made = membrane(g.model, expand_group(g, self.values), g.n)
            made["v_first"] = self.initial[g.index][next(iter(g.model.__states__))]
            for m in g.members:
                self.places[m.name] = slice(self.n + m.start, self.n + m.stop)
            self.starts[g.index], self.gains[g.index] = self.n, made.pop("gains")
            made["rest"] += sum(gain * _inputs(g, name, currents) for name, gain in self.gains[g.index].items())
            pieces.append(made)
            self.n += g.n
        if not pieces:
            raise RunError("EventGrad: the network has no cells, only sources; add a population of LIF")
        self.cells = {k: jnp.concatenate([piece[k] for piece in pieces]) for k in pieces[0]}
        rest = self.cells.pop("rest")
        for k in ("threshold", "v_reset", "v_first"):
            self.cells[k] = self.cells[k] - rest
        self.cells["begin"] = jnp.zeros((self.n,), dtype())

    def owner(self, cell) -> str:
        name, place = next((k, s) for k, s in self.places.items() if s.start <= cell < s.stop)
        return f"cell {cell - place.start} of {name!r}"


def _inputs(g, name, currents):
    """Constant input of all cells of a group."""
    default = g.model.__inputs__[name].default
    each = [jnp.asarray(currents.get(f"{m.name}.{name}", default), dtype()) for m in g.members]
    return jnp.concatenate([jnp.broadcast_to(x, (m.n,)) for x, m in zip(each, g.members)])


def _connections(sim, block, trains):
    """(times of sources (n_sources, m), table of edges from them, table of edges between cells or None).

    The last source fires at 0 ms: what it sends are the currents that synapses begin with.
    """
    most = max([x.shape[1] for x in trains.values()], default=1)
    rows, first = [], {}
    for name, times in trains.items():
        first[name] = sum(len(x) for x in rows)
        rows.append(jnp.pad(times, ((0, 0), (0, most - times.shape[1])), constant_values=jnp.inf))
    start = jnp.full((1, most), jnp.inf, dtype()).at[0, 0].set(0.0)
    sources = jnp.concatenate([*rows, start])
    edges, served = {"given": [], "back": []}, np.full(block.n, -1)
    block.cells["tau_s"] = jnp.ones((block.n,), dtype())
    for slot in sim.program.layout.slots:
        gain, shift = _decay(sim, block, slot, served), block.starts[slot.group.index]
        for name in slot.projections:
            p = sim.network.projections[name]
            post = p.edges.post + sim.program.layout.where[p.post.name][1].start
            weight = _weight(sim, block, slot, p) * gain[post]
            kind = "given" if p.pre.name in trains else "back"
            pre = p.edges.pre + (first[p.pre.name] if kind == "given" else block.places[p.pre.name].start)
            edges[kind].append((pre, post + shift, weight, _delays(block, p)))
        (i,) = slot.synapse.__states__
        if slot.synapse.__states__[i].initial != 0.0 or any(f"{p}.{i}(0)" in block.values for p in slot.projections):
            cells = np.concatenate([np.arange(a, b) for a, b, _ in slot.pieces])
            now = (block.initial[slot.group.index][f"{slot.tag}/{i}"] * gain)[cells]
            edges["given"].append((np.full(len(cells), len(sources) - 1), cells + shift, now, jnp.zeros_like(now)))
    back = _rows(edges["back"], block.n) if edges["back"] else None
    return sources, _rows(edges["given"], block.n), back


def _decay(sim, block, slot, served):
    """What one unit of the state of a synapse raises v by, (n_group,); sets tau_s of the cells that it reaches."""
    g = slot.group
    values = expand_slot(slot, block.values)
    if lacking := [key for key in slot.leaves if key not in values]:
        raise RunError(
            f"EventGrad: projection {slot.projections[0]!r} has one {lacking[0]!r} per source or edge; give one per "
            f"target, {STEPS}"
        )
    tau, gain = current(slot.synapse, values, g.n)
    mine = np.zeros(block.n, bool)
    for name in slot.projections:
        p = sim.network.projections[name]
        mine[p.edges.post + block.places[p.post.name].start] = True
    for other in np.unique(served[mine & (served >= 0)]):
        _check_same(sim, block, slot, sim.program.layout.slots[other], mine & (served == other))
    here = slice(block.starts[g.index], block.starts[g.index] + g.n)
    block.cells["tau_s"] = (
        block.cells["tau_s"].at[here].set(jnp.where(mine[here] & (served[here] < 0), tau, block.cells["tau_s"][here]))
    )
    served[mine & (served < 0)] = slot.index
    inputs = block.gains[g.index]
    if slot.into not in inputs:
        raise RunError(f"EventGrad: projection {slot.projections[0]!r} acts on {slot.into!r}, which no equation reads")
    return gain * inputs[slot.into]


def _check_same(sim, block, one, two, cells):
    """Two synapses of one cell need one time constant: the same parameter, or known equal values."""
    taus = [_known_tau(sim, block, slot) for slot in (one, two)]
    here = np.flatnonzero(cells) - block.starts[one.group.index]
    if any(t is None for t in taus) or np.any(taus[0][here] != taus[1][here]):
        raise RunError(
            f"EventGrad: projections {two.projections[0]!r} and {one.projections[0]!r} reach the same cells with time "
            f"constants of their own; exact times need one per cell: give both the same synapse object, {STEPS}"
        )


def _known_tau(sim, block, slot):
    names = {leaf for spans in slot.leaves.values() for leaf in spans.values()}
    if names & set(sim.program.derived) or any(isinstance(block.params[k], jax.core.Tracer) for k in names):
        return None
    with jax.ensure_compile_time_eval():
        return np.asarray(current(slot.synapse, expand_slot(slot, block.params), slot.group.n)[0])


def _weight(sim, block, slot, p):
    """(n_edges,) what each spike adds to the state of the synapse."""
    (i,), leaf = slot.synapse.__states__, sim.program.weights[p.name][1]
    values = arrival_values(block.values, slot, p.name, p.edges, p.post.n)
    weight = effective_weight(sim.dt, slot.synapse, block.values[leaf], values, i, p.n_edges)
    return jnp.broadcast_to(weight, (p.n_edges,))


def _delays(block, p):
    """(n_edges,) ms, as written; nan where a parameter is outside of 0 ... longest."""
    if p.learnable is None:
        return jnp.broadcast_to(jnp.asarray(p.delay, dtype()), (p.n_edges,))
    delay = jnp.broadcast_to(block.values[f"{p.name}.delay"], (p.n_edges,))
    return jnp.where((delay >= 0) & (delay <= p.learnable.longest), delay, jnp.nan)


def _rows(edges, n):
    """Edges as rows (most of one target, n): weights, delays and sources; what is empty never arrives."""
    if not edges:
        none = jnp.zeros((0, n), dtype())
        return none, none, np.zeros((0, n), np.int32)
    pre, post = (np.concatenate([e[k] for e in edges]) for k in (0, 1))
    weight, delay = (jnp.concatenate([e[k] for e in edges]) for k in (2, 3))
    order = np.argsort(post, kind="stable")
    row = np.arange(len(post)) - np.searchsorted(post[order], post[order])
    edge = np.full((1 + row.max(initial=-1), n), len(post), np.int32)
    edge[row, post[order]] = order
    end = lambda x, last: jnp.append(x, jnp.full((1,), last, x.dtype))[edge]
    return end(weight, 0.0), end(delay, jnp.inf), np.append(pre, 0)[edge].astype(np.int32)


def _explain(sim, block, missed, above, most):
    """Why the times of a run that is not `ok` cannot be given."""
    if above.any():
        raise RunError(
            f"EventGrad: {block.owner(int(np.argmax(above)))} starts, or is reset, above its threshold; lower "
            f"net.init(...) or v_reset, or raise v_th"
        )
    if missed.any():
        who = block.owner(int(np.argmax(missed)))
        raise RunError(f"EventGrad: {who} fires more than most={most} spikes; give more room, or less time")
    from .fitting.event_network import UNSETTLED

    raise RunError(
        f"EventGrad: times are nan: a parameter, input or learnable delay is nan or out of its bounds; or {UNSETTLED}"
    )
