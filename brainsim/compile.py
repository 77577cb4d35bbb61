"""Network -> Program (static) + params (floats by name) + topology (int arrays)."""

import warnings
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from . import cell, integrate
from .coupling import Coupling, EdgeBlock, target_rows
from .delivery import Receiver, check_memory, delay_steps, plan, receivers_of, rows
from .dependence import affine, dependencies
from .drive import Drive
from .errors import CompileError
from .layout import Group, check_array_parameters, has_terminal, lay_out
from .network import Network
from .program import Program
from .surrogate import Surrogate
from .units import to_canonical

MAX_STEPS = 2**31 - 2


@dataclass(eq=False)
class Port:
    """A drive connected through a synapse: one train per target cell."""

    drive: Drive
    n: int
    delay: int
    receivers: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Place:
    """Part of a receiver that belongs to one population (or its listed cells)."""

    start: int
    n: int
    cells: Any


@dataclass(eq=False)
class Sender:
    """What a source population computes at its spikes: increments of its own states, and a value that is sent."""

    terminal: Any
    key: str | None
    own: tuple[str, ...]


def build(net: Network, dt, method, surrogate: Surrogate, smooth: bool, strict: bool) -> tuple[Program, dict, dict]:
    """Compile the static description; no XLA yet.

    Returns:
        program, topology (dict of dicts of int32 arrays), params (dict name -> float array).

    Raises:
        CompileError: dt not positive, delays that do not fit, integrators that cannot work.
    """
    dt = check_dt(dt)
    if not net.populations:
        raise CompileError("the network is empty; add a population with net.add('exc', LIF(), 100)")
    integrate.check_method(method)
    layout = lay_out(net)
    check_array_parameters(net, layout)
    steps = _delays(net, dt, strict)
    projections = [p for p in net.projections.values() if p.source is None]
    on_edges = {p.name for p in projections if needs_edges(type(p.synapse))}
    events = [p for p in projections if "on_pre" in type(p.synapse).__methods__ and p.name not in on_edges]
    receivers = receivers_of(layout, [p for p in net.projections.values() if "on_pre" in type(p.synapse).__methods__])
    sent, sends = _senders(layout, events)
    with_parts = [p for p in events if sends[p.name]]
    bundles = plan(layout, with_parts, receivers, sends, steps)
    params = {k: np.asarray(v, float) for k, v in layout.params.items()}
    weights = _weight_leaves(net, params)
    initial = _initial_leaves(net, params)
    program = Program(
        layout,
        dt,
        net.seed,
        {},
        receivers,
        bundles,
        _couplings(layout, projections, steps, on_edges),
        _edge_blocks(layout, [p for p in projections if p.name in on_edges], receivers, steps),
        _ports(net, layout, receivers, steps, params),
        1,
        {},
        sent,
        surrogate,
        smooth,
        dict(net.derived),
        initial,
        weights,
    )
    topology = _topology(program, {p.name: p for p in projections}, steps)
    _buffers(program, topology, steps, net)
    _split_outputs(program)
    _methods(program, method)
    _check_derived(program, params)
    return program, topology, params


def check_dt(dt) -> float:
    dt = to_canonical(dt, "ms", "dt")
    if np.ndim(dt) or not dt > 0:
        raise CompileError(f"dt = {dt} ms must be a positive number, for example dt=0.1")
    return float(dt)


def _delays(net, dt, strict):
    off = []
    report = lambda name, count, shift, strict: off.append((name, count, shift))
    steps = {p.name: delay_steps(p, dt, strict, report) for p in net.projections.values()}
    if off:
        where = ", ".join(f"{name} ({count})" for name, count, _ in off)
        text = f"delays off the grid of dt = {dt:g} ms: {where}; largest shift {max(s for *_, s in off):.3g} ms"
        if strict:
            raise CompileError(
                f"{text}. Choose delays that are multiples of dt, or compile with strict=False to round them"
            )
        warnings.warn(f"{text}. They act at the nearest step", stacklevel=5)
    return steps


def needs_edges(cls) -> bool:
    """Whether a synapse has anything that must be evaluated on every edge."""
    if any(s.on == "edge" for s in cls.__states__.values()):
        return True
    if "current" in cls.__methods__ and not cell.per_target(cls):
        return True
    post = {n for n, s in cls.__states__.items() if s.on == "post"}
    return any(a in post or a.endswith("_post") for a in cls.__methods__.get("on_pre", ()))


def _senders(layout, events):
    """Which increments depend on states of the source; those are computed there and sent as values."""
    sent, sends, applied = {}, {}, set()
    for p in events:
        cls = type(p.synapse)
        pre = {n for n, s in cls.__states__.items() if s.on == "pre"}
        own = tuple(k for k in cls.__increments__ if k in pre)
        out = {k: "spikes" for k in cls.__increments__ if k not in pre}
        asked = cls.__methods__["on_pre"]
        if has_terminal(p.synapse):
            terminal = layout.terminal_of[p.name]
            reached = _increment_sources(cls, asked)
            for key in out:
                if reached.get(key, set()) & {a for a in asked if a in pre or a.endswith("_pre")}:
                    _check_proportional(cls, key, asked)
                    out[key] = f"{terminal.tag}/{key}"
                    sent.setdefault(out[key], Sender(terminal, key, () if terminal.tag in applied else own))
                    applied.add(terminal.tag)
            if own and terminal.tag not in applied:
                sent[terminal.tag] = Sender(terminal, None, own)
                applied.add(terminal.tag)
        sends[p.name] = out
    return sent, sends


def _default(cls):
    return cls.__bind__({k: np.float32(np.mean(s.default)) for k, s in cls.__params__.items()})


def _increment_sources(cls, asked):
    return dependencies(lambda values: cls.call(_default(cls), "on_pre", values), asked)


def _check_proportional(cls, key, asked):
    at = lambda w: float(cls.call(_default(cls), "on_pre", {**dict.fromkeys(asked, 0.37), "w": w})[key])
    if at(0.0) != 0.0 or abs(at(2.0) - 2.0 * at(1.0)) > 1e-5 * abs(at(1.0)):
        raise CompileError(
            f"{cls.__name__}.on_pre: {key!r} depends on states of the source and not in proportion to w; "
            f"declare a state on='edge', so that it is computed on every edge"
        )


def _weight_leaves(net, params):
    for p in net.projections.values():
        params[f"{p.name}.weight"] = np.asarray(p.weight, float)
        if p.source is not None:
            values = {k: getattr(p.source, k) for k in p.source.parameters}
            params.update(
                {f"{p.name}.{k}": np.asarray(v, float) for k, v in values.items() if not isinstance(v, Drive)}
            )
    return {p.name: (type(p.synapse), f"{p.name}.weight") for p in net.projections.values()}


def _initial_leaves(net, params):
    for name, value in net.initial.items():
        params[f"{name}(0)"] = np.asarray(value, float)
    return tuple(net.initial)


def _couplings(layout, projections, steps, on_edges):
    made = []
    for p in projections:
        if "output" not in type(p.synapse).__methods__:
            continue
        d = steps[p.name]
        delay = None if np.ndim(d) else int(d)
        depth = int(np.max(d)) + 1 if (delay is None or delay > 0) else 0
        made.append(
            Coupling(
                len(made),
                p.name,
                layout.terminal_of[p.name],
                layout.slot_of[p.name],
                type(p.synapse).symmetric,
                delay,
                depth,
            )
        )
        if made[-1].symmetric and layout.where[p.pre.name][0] is not layout.where[p.post.name][0]:
            raise CompileError(f"{p.name}: a symmetric synapse needs both ends in populations of one model class")
    return made


def _edge_blocks(layout, projections, receivers, steps):
    made = []
    for p in projections:
        cls, slot = type(p.synapse), layout.slot_of[p.name]
        if cls.symmetric:
            raise CompileError(
                f"{p.name}: {cls.__name__} is symmetric and evaluated on edges; write output(...) "
                f"and current(...) instead"
            )
        args = cls.__methods__.get("current", ())
        on = "current" in cls.__methods__ and not cell.per_target(cls)
        deposits = {}
        for r in receivers:
            for key in cls.__increments__:
                place = (
                    ("cell", slot.group.index, key[:-5])
                    if key.endswith("_post") and key not in cls.__states__
                    else ("slot", slot.index, key)
                )
                if (r.kind, r.index, r.state) == place:
                    deposits[key] = r.start
        leaves = {k: f"{p.name}.{k}" for k in cls.__params__}
        made.append(
            EdgeBlock(
                len(made),
                p.name,
                cls,
                layout.where[p.pre.name][0],
                slot.group,
                p.into,
                tuple(sorted({a[:-5] for a in args if a.endswith("_post")})) if on else (),
                on,
                p.n_edges,
                None if np.ndim(steps[p.name]) else int(steps[p.name]),
                {k: layout.alias.get(v, v) for k, v in leaves.items()},
                deposits,
            )
        )
    return made


def _ports(net, layout, receivers, steps, params):
    ports = {}
    place = {(r.kind, r.index, r.state): r for r in receivers}
    for p in net.projections.values():
        if p.source is None:
            continue
        if not p.source.events:
            raise CompileError(
                f"{p.name}: {type(p.source).__name__} yields no events; give it as an input: "
                f"inputs={{'{p.post.name}.I': ...}}"
            )
        if np.ndim(steps[p.name]):
            raise CompileError(f"{p.name}: a drive takes one delay for all targets")
        slot, (_, member) = layout.slot_of[p.name], layout.where[p.post.name]
        port = Port(p.source, member.n, int(steps[p.name]))
        for key in type(p.synapse).__increments__:
            cell_state = key.endswith("_post") and key not in type(p.synapse).__states__
            r: Receiver = place["cell", slot.group.index, key[:-5]] if cell_state else place["slot", slot.index, key]
            cells = None if len(p.edges.post) == member.n else p.edges.post
            port.receivers[key] = Place(r.start + member.start, member.n, cells)
        ports[p.name] = port
    return ports


def _topology(program, projections, steps):
    layout, made = program.layout, {}
    for b in program.bundles:
        made[b.tag] = rows(b, layout.n_sources, program.n_receive)
    for c in program.couplings:
        p = projections[c.projection]
        made[c.tag] = target_rows(
            p.edges.pre,
            p.edges.post,
            c.slot.group.n,
            layout.where[p.pre.name][1].start,
            layout.where[p.post.name][1].start,
            steps[p.name] if c.delay is None else None,
            c.symmetric,
        )
    for e in program.edge_blocks:
        p = projections[e.projection]
        source, target = layout.where[p.pre.name][1].start, layout.where[p.post.name][1].start
        made[e.tag] = target_rows(np.arange(p.n_edges, dtype=np.int32), p.edges.post, e.group.n, 0, target)
        made[e.tag].update(pre=(p.edges.pre + source).astype(np.int32), post=(p.edges.post + target).astype(np.int32))
        if e.source.source_start is not None:
            made[e.tag]["source"] = (made[e.tag]["pre"] + e.source.source_start).astype(np.int32)
        if e.delay is None:
            made[e.tag]["delays"] = np.asarray(steps[p.name], np.int32)
    return made


def _buffers(program, topology, steps, net):
    """How many steps of the past are kept."""
    longest = 0
    for b in program.bundles:
        if b.delay is not None:
            longest = max(longest, b.delay)
        else:
            program.rings[b.tag] = b.slots
            check_memory("ring", program.rings[b.tag], program.n_receive, 4, program.rings[b.tag] * program.dt)
    for e in program.edge_blocks:
        longest = max(longest, int(np.max(steps[e.projection])))
    for c in program.couplings:
        check_memory(
            "history of outputs",
            c.depth,
            c.terminal.group.n,
            4 * max(1, len(c.slot.synapse.__outputs__)),
            c.depth * program.dt,
        )
    program.history = longest + 1
    check_memory("history of spikes", program.history, program.layout.n_sources, 4, longest * program.dt)


def _split_outputs(program):
    """Outputs that no state reaches are summed once per run."""
    for i, c in enumerate(program.couplings):
        cls, asked = c.terminal.synapse, c.terminal.synapse.__methods__["output"]
        reached = dependencies(lambda values, cls=cls: cls.call(_default(cls), "output", values), asked)
        moving = tuple(k for k in cls.__outputs__ if reached[k])
        fixed = tuple(k for k in cls.__outputs__ if not reached[k])
        program.couplings[i] = replace(c, moving=moving, fixed=fixed)


def environment_names(program: Program, group: Group) -> list[str]:
    names = [f"in/{n}" for n in group.model.__inputs__] + ["t", "dt"]
    for slot in program.slots_of(group):
        names += [f"{slot.tag}/sum/{k}" for k in slot.synapse.__outputs__]
    return names


def _methods(program, method):
    """Integrator of every group; `auto` takes the exact propagator for the states that form a linear system."""
    for g in program.groups:
        asked = integrate.check_method(g.method or method)
        if asked in ("auto", "exact"):
            moving = set(moving_states(program, g))
            linear = _linear_part(program, g)
            if asked == "exact" and (linear != moving or not moving):
                bad = ", ".join(sorted(moving - linear)) or "it has no equations"
                raise CompileError(
                    f"{g.label}: the exact propagator needs linear equations without noise, which "
                    f"{g.model.__name__} has not ({bad}); use method='exp_euler'"
                )
            asked = "exact" if linear == moving and moving else "exp_euler"
        program.methods[g.index] = asked
        if asked == "rosenbrock":
            _check_rosenbrock(program, g, method)


def _check_rosenbrock(program, g, method):
    size = sum(h.n * len(cell.state_names(program, h)) for h in program.groups if (h.method or method) == "rosenbrock")
    if size > integrate.ROSENBROCK_LIMIT:
        raise CompileError(
            f"rosenbrock solves a dense system of {size} states; the limit is {integrate.ROSENBROCK_LIMIT}. "
            f"Use 'exp_euler'"
        )
    if any(m.startswith("noise_") for m in g.model.__methods__):
        raise CompileError(f"{g.label}: rosenbrock takes no noise; use 'heun' or 'exp_euler'")


def _linear_part(program, g) -> set:
    """States that form a linear system of their own: affine, without noise, and not driven by any other state.

    Currents evaluated on edges enter with a slope that changes from step to step, so their targets are not linear.
    """
    names = moving_states(program, g)
    others = environment_names(program, g)
    still = [n for n in cell.state_names(program, g) if n not in names]
    bound = example_bound(program, g)
    f = lambda v: cell.derivative(program, g, v, v, bound)
    noisy = {m[len("noise_") :] for m in g.model.__methods__ if m.startswith("noise_")}
    onto = {e.into for e in program.edge_blocks if e.group is g and e.on_edges}
    direct = dependencies(f, [*names, *others, *still]) if names else {}
    part = affine(f, names, [*others, *still]) - noisy if names else set()
    part = {n for n in part if not direct[n] & {f"in/{i}" for i in onto}}
    while any(direct[n] & set(names) - part for n in part):
        part = {n for n in part if not direct[n] & set(names) - part}
    if part:
        program.layout.patterns[g.index] = integrate.reach({n: direct[n] for n in sorted(part)})
    return part


def moving_states(program, g):
    """States of one cell that have a derivative."""
    names = [n for n in g.model.__states__ if "d" + n in g.model.__methods__]
    for place, on in (*((s, "post") for s in program.slots_of(g)), *((t, "pre") for t in program.terminals_of(g))):
        names += [f"{place.tag}/{n}" for n, spec in place.synapse.__states__.items() if spec.on == on and not spec.jump]
    return names


def example_bound(program, g):
    """Default parameter values as constants: only the form of the equations matters."""
    values = lambda cls: {k: np.float32(np.mean(s.default)) for k, s in cls.__params__.items()}
    places = (*program.slots_of(g), *program.terminals_of(g))
    return {"cell": values(g.model), **{p.tag: values(p.synapse) for p in places}}


def _check_derived(program, params):
    from .names import match

    for name in program.derived:
        match(name, params, "parameter")
