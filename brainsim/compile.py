"""Network -> Program (static) + params (floats by name) + topology (int arrays)."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from . import edge_events, integrate, learnable_delays, learning, procedural_calls
from .block import may_be_blocks
from .checks import check_size
from .coupling import target_rows
from .delay_kernels import Lags, lags_of
from .delivery import check_memory, delay_steps, every, place_of, plan, receivers_of, span
from .design import Design
from .drawing import for_chunks, values_range
from .drive import Drive
from .errors import CompileError, warn
from .layout import check_array_parameters, lay_out
from .learning import learners
from .method import choose_methods
from .network import Network
from .packing import aligned, choose, pack, places
from .prepare import keeps_weights
from .procedural_rule import is_procedural, leaves
from .program import Program, dtype
from .stability import warn_if_unstable
from .surrogate import Surrogate
from .units import to_canonical
from .windows import choose_levels, split
from .wiring import couplings, edge_blocks, needs_edges, senders, split_outputs

MAX_STEPS = 2**31 - 2


@dataclass(eq=False)
class Port:
    """A drive connected through a synapse: one train per target cell.

    Trains are counted within the part of the population that is connected (`cells`; None: all n of them).
    """

    drive: Drive
    n: int
    delay: int
    trains: int
    cells: Any = None
    receivers: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Place:
    """Where the events of a drive arrive: part of a receiver; for listed cells the state itself, by group and name."""

    start: int
    n: int
    cells: Any
    group: int
    state: str


def build(
    net: Network, dt, method, surrogate: Surrogate, smooth: bool, strict: bool, narrow: bool, design: Design
) -> tuple[Program, dict, dict]:
    """Compile the static description; no XLA yet.

    Args:
        narrow: a host run keeps per-edge weights in bfloat16.
        design: what the choice of layouts goes by.

    Returns:
        program, topology (dict of dicts of int32 arrays), params (dict name -> float array).

    Raises:
        CompileError: dt not positive, delays that do not fit, integrators that cannot work, more than the memory holds.
    """
    dt = check_dt(dt)
    _check(net, dt, method)
    layout = lay_out(net)
    check_array_parameters(net, layout)
    steps = delays_in_steps(net, dt, strict)
    projections = [p for p in net.projections.values() if p.source is None]
    on_edges = {p.name for p in projections if needs_edges(type(p.synapse))}
    sent = _sent(net, layout, [p for p in projections if p.name not in on_edges], steps, dt, design)
    params = {k: np.asarray(v, float) for k, v in layout.params.items()}
    weights = _weight_leaves(net, params, _lay_weights(layout, dt, sent.bundles, narrow, design))
    program = Program(
        layout,
        dt,
        net.seed,
        {},
        sent.receivers,
        sent.bundles,
        couplings(layout, projections, steps, on_edges),
        edge_blocks(layout, [p for p in projections if p.name in on_edges], sent.receivers, steps),
        _ports(net, layout, sent.receivers, steps, params),
        1,
        {},
        sent.senders,
        surrogate,
        smooth,
        dict(net.derived),
        _initial_leaves(net, params),
        weights,
        procedural=sent.calls,
        learners=sent.learners,
        narrow=narrow,
        threads=design.threads,
        lags={name: d for name, d in steps.items() if isinstance(d, Lags)},
    )
    for each in (*program.couplings, *program.edge_blocks):
        each.learner = next((x.tag for x in sent.learners if x.projection == each.projection), None)
    split_outputs(program)
    by_name = {p.name: p for p in projections}
    by_spikes = any(b.listed for b in sent.bundles) or sent.learners or any(e.rests for e in program.edge_blocks)
    program.lists = bool(by_spikes) and not smooth
    program.levels = choose_levels(program.couplings, by_name, steps, may_be_blocks(program), design.levels)
    topology = {**_topology(program, by_name, steps), **procedural_calls.topology(program)}
    topology.update({x.tag: learning.topology(x, by_name[x.projection], steps[x.projection]) for x in sent.learners})
    _buffers(program, topology, steps, net)
    choose_methods(program, method)
    warn_if_unstable(program, params)
    _check_derived(program, params)
    return program, topology, params


class _Sent(NamedTuple):
    """Who takes what spikes bring, and the calls that bring it: stored edges, edges that learn, procedural ones."""

    receivers: list
    senders: dict
    bundles: list
    learners: list
    calls: list


def _sent(net, layout, projections, steps, dt, design) -> _Sent:
    """Plan the delivery of spikes; `projections` are those without equations on edges."""
    events = [p for p in projections if "on_pre" in type(p.synapse).__methods__]
    on_spikes = [p for p in net.projections.values() if "on_pre" in type(p.synapse).__methods__]
    receivers = receivers_of(layout, [p for p in on_spikes if not _drives_few(p, layout.where[p.post.name][1])])
    made, sends = senders(layout, events)
    with_parts = [p for p in events if sends[p.name]]
    fixed = [p for p in with_parts if not is_procedural(p) and p.plastic is None]
    bundles = plan(layout, fixed, receivers, sends, steps)
    learn = learners(net, layout, receivers, steps, sends, dt)
    calls = procedural_calls.plan(layout, [p for p in with_parts if is_procedural(p)], receivers, sends, steps, dt)
    for b in bundles:
        choose(b, sum(r.n for r in receivers), design, np.dtype(dtype()).itemsize)
    return _Sent(receivers, made, bundles, learn, calls)


def _check(net, dt, method):
    """Refuse what cannot be compiled, before any work."""
    if not net.populations:
        raise CompileError("the network is empty; add a population with net.add('exc', LIF(), 100)")
    check_size(net)
    integrate.check_method(method)
    for p in net.populations.values():
        p.model.check_step(dt, {k: p.values.get(k, getattr(p.model, k)) for k in type(p.model).__params__})


def check_dt(dt) -> float:
    dt = to_canonical(dt, "ms", "dt")
    if np.ndim(dt) or not dt > 0:
        raise CompileError(f"dt = {dt} ms must be a positive number, for example dt=0.1")
    return float(dt)


def check_weights(weights) -> bool:
    """Whether per-edge weights are kept in bfloat16.

    Raises:
        CompileError: a precision that a run cannot keep weights in.
    """
    run = np.dtype(dtype()).name
    if weights is None or weights == run:
        return False
    if weights == "bfloat16" and run == "float32":
        return True
    why = f"the run is {run}" + (": sums of rounded numbers gain nothing from it" if run == "float64" else "")
    known = "'float32' or 'bfloat16'" if run == "float32" else "'float64'"
    raise CompileError(f"weights={weights!r} is not a precision for weights here; {why}; write weights={known}")


def delays_in_steps(net, dt, strict) -> dict:
    """Delays of every projection by name, int or `Steps`; warns of those off the grid."""
    off = []
    report = lambda name, count, shift, strict: off.append((name, count, shift))
    steps = {}
    for p in net.projections.values():
        if is_procedural(p):
            steps[p.name] = procedural_calls.delay_steps(p, dt, strict, report)
        else:
            steps[p.name] = delay_steps(p, dt, strict, report) if p.learnable is None else lags_of(p, dt)
    if off:
        where = ", ".join(f"{name} ({count})" for name, count, _ in off)
        text = f"delays off the grid of dt = {dt:g} ms: {where}; largest shift {max(s for *_, s in off):.3g} ms"
        if strict:
            raise CompileError(
                f"{text}. Choose delays that are multiples of dt, or compile with strict=False to round them"
            )
        warn(f"{text}. They act at the nearest step")
    return steps


def _lay_weights(layout, dt, bundles, narrow, design):
    """Memory for the weights of bundles in parts, of which the parameters will be views: projection -> array.

    Where weights are narrow, these parameters are, too: only so does memory fall.
    """
    views = {}
    for b in bundles:
        alone = narrow and b.per_edge and len(b.parts) == 1 and b.n_edges > design.permuted
        if (b.merged and not alone) or b.sends != "spikes" or b.kernel:
            continue
        if narrow and not keeps_weights(layout, dt, b):
            continue  # what arrives is to be rounded once
        starts, n = places(b)
        b.laid = aligned(n, jnp.bfloat16 if narrow else dtype())
        for part, start, end in zip(b.parts, starts, [*starts[1:], n]):
            b.laid[start + part.n_edges : end] = 0
            if np.ndim(part.projection.weight_values) and part.name not in views:
                views[part.name] = b.laid[start : start + part.n_edges]
    return views


def _weight_leaves(net, params, views):
    for p in net.projections.values():
        if is_procedural(p):
            params.update(leaves(p))
            continue
        params[f"{p.name}.weight"] = _whole(p.weight_values, p.n_edges, views.get(p.name))
        params.update(learnable_delays.leaves(p))
        if p.source is not None:
            values = {k: getattr(p.source, k) for k in p.source.parameters}
            params.update(
                {f"{p.name}.{k}": np.asarray(v, float) for k, v in values.items() if not isinstance(v, Drive)}
            )
    return {p.name: (type(p.synapse), f"{p.name}.weight") for p in net.projections.values()}


def _whole(values, n, out):
    """All values of a parameter; in the precision of the run where there is one per edge, unless `out` is narrower."""
    if np.ndim(values) == 0:
        return np.asarray(values, float)
    out = aligned(n, dtype()) if out is None else out

    def fill(low, high):
        if out.dtype == dtype():
            values_range(values, low, high, out.dtype, out[low:high])
        else:
            out[low:high] = values_range(values, low, high, dtype())

    for_chunks(fill, n)
    return out


def _initial_leaves(net, params):
    for name, value in net.initial.items():
        params[f"{name}(0)"] = np.asarray(value, float)
    return tuple(net.initial)


def _drives_few(projection, member):
    """Whether a drive reaches some cells of a population only: its events are added to their states one by one. A
    population in another order counts as some cells: trains are numbered in the order of the cells given."""
    ids = projection.post.ids
    whole = ids is None or np.array_equal(ids, np.arange(member.n))
    return projection.source is not None and not whole


def _ports(net, layout, receivers, steps, params):
    ports = {}
    place = {(r.kind, r.index, r.state): r for r in receivers}
    for p in net.projections.values():
        if p.source is None:
            continue
        member = layout.where[p.post.name][1]
        port = Port(p.source, member.n, int(steps[p.name]), len(p.post), p.post.ids)
        for key in type(p.synapse).__increments__:
            kind, _, state = where = place_of(layout, p, key)
            slot = layout.slot_of[p.name]
            name = state if kind == "cell" else f"{slot.tag}/{state}"
            cells = p.edges.post + member.start if _drives_few(p, member) else None
            start = place[where].start + member.start if cells is None else 0
            port.receivers[key] = Place(start, member.n, cells, slot.group.index, name)
        ports[p.name] = port
    return ports


def _topology(program, projections, steps):
    layout, made = program.layout, {}
    for b in program.bundles:
        made[b.tag] = pack(b, layout.n_sources, program.n_receive)
    for c in program.couplings:
        p, lags = projections[c.projection], program.lags.get(c.projection)
        edges = p.edges if lags is None else p.edges.repeated(lags.entries)
        made[c.tag] = target_rows(
            edges.pre,
            edges.post,
            c.slot.group.n,
            layout.where[p.pre.name][1].start,
            layout.where[p.post.name][1].start,
            every(steps[p.name], p.n_edges) if c.delay != 0 else None,
            c.symmetric,
        )
        if program.levels and c.moving and c.delay != 0 and c.learner is None and lags is None:
            made[c.tag].update(split(made[c.tag], program.levels))
    for e in program.edge_blocks:
        p = projections[e.projection]
        source, target = layout.where[p.pre.name][1].start, layout.where[p.post.name][1].start
        made[e.tag] = target_rows(np.arange(p.n_edges, dtype=np.int32), p.edges.post, e.group.n, 0, target)
        made[e.tag].update(pre=(p.edges.pre + source).astype(np.int32), post=(p.edges.post + target).astype(np.int32))
        if e.source.source_start is not None:
            made[e.tag]["source"] = (made[e.tag]["pre"] + e.source.source_start).astype(np.int32)
        if e.delay is None:
            made[e.tag]["delays"] = every(steps[p.name], p.n_edges)
        if e.rests:
            made[e.tag].update(edge_events.by_source(e, p, steps[e.projection], made[e.tag]))
        if e.random:
            made[e.tag]["number"] = np.arange(p.n_edges, dtype=np.int32)
    return made


def _buffers(program, topology, steps, net):
    """How many steps of the past are kept."""
    longest, size = procedural_calls.longest(program), np.dtype(dtype()).itemsize
    for b in program.bundles:
        if b.delay is not None:
            longest = max(longest, b.delay)
        else:
            program.rings[b.tag] = b.slots
            check_memory("ring", program.rings[b.tag], program.n_receive, size, program.rings[b.tag] * program.dt)
    for e in program.edge_blocks:
        longest = max(longest, span(steps[e.projection])[1])
    longest = max([longest, *(x.longest for x in program.learners)])
    for c in program.couplings:
        check_memory(
            "history of outputs",
            c.depth,
            c.terminal.group.n,
            size * max(1, len(c.slot.synapse.__outputs__)),
            c.depth * program.dt,
        )
    program.history = longest + 1
    check_memory("history of spikes", program.history, program.layout.n_sources, size, longest * program.dt)


def _check_derived(program, params):
    from .names import match

    for name in program.derived:
        match(name, params, "parameter")
