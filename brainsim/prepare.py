"""What a run needs once: parameters as arrays, weights in the order of the operators, propagators, initial state."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from . import cell, integrate, learn, procedural_calls
from .coupling import weighted_sums
from .declare import Const
from .errors import CompileError
from .method import environment_names
from .packing import places
from .program import Program, dtype, expand_group, expand_slot, expand_terminal, map_cells


class Ends(NamedTuple):
    """Which cells every edge joins."""

    pre: np.ndarray
    post: np.ndarray


class Parameters(dict):
    """Parameters by name, as functions of `Network.derive` see them; aliases resolve to the shared leaf."""

    def __init__(self, values, alias):
        super().__init__(values)
        self.alias = alias

    def __missing__(self, name):
        if name in self.alias:
            return self[self.alias[name]]
        from .errors import UnknownNameError, unknown

        raise UnknownNameError(unknown("parameter", name, self))


def derive(program: Program, params: dict) -> dict:
    """Parameters with the derived ones computed, in the order of their definition."""
    out = Parameters({k: jnp.asarray(v, dtype()) for k, v in params.items()}, program.layout.alias)
    for name, function in program.derived.items():
        out[name] = jnp.asarray(function(out), dtype())
    return out


def prepare(program: Program, topology: dict, params: dict, laid: frozenset = frozenset()) -> dict:
    """Everything the loop reads that does not change in it; differentiable in the parameters.

    Args:
        laid: tags of bundles whose weights lie in operator order already; they are left out.
    """
    params = derive(program, params)
    layout = program.layout
    bound = {f"group{g.index}": expand_group(g, params) for g in layout.groups}
    bound.update({s.tag: expand_slot(s, params) for s in layout.slots})
    bound.update({t.tag: expand_terminal(t, params) for t in layout.terminals})
    bound.update({e.tag: _expand_edges(e, params, topology) for e in program.edge_blocks})
    bound.update({x.tag: _rule_parameters(x, params) for x in program.learners})
    ready = {
        "bound": bound,
        "weights": _weights(program, topology, params, laid),
        "drive_weights": _drive_weights(program, params),
        "inputs": {
            g.index: {n: jnp.asarray(i.default, dtype()) for n, i in g.model.__inputs__.items()} for g in layout.groups
        },
        "masks": {g.index: _masks(program, g) for g in layout.groups},
        "refractory": _refractory(program, bound),
    }
    ready["fixed"] = _fixed_sums(program, topology, ready, bound)
    ready["propagators"] = {
        g.index: _propagators(program, g, bound) for g in layout.groups if g.index in layout.patterns
    }
    return ready


def _expand_edges(block, params, topology):
    """Parameters of a synapse on its edges: a value per edge as it is, per source or target gathered."""
    rows, out = topology[block.tag], {}
    n = rows["post"].shape[0]
    for key, name in block.leaves.items():
        leaf = params[name]
        if leaf.ndim and leaf.shape[0] != n:
            raise CompileError(
                f"{name}: synapses evaluated on edges take a number or one value per edge ({n}), got {leaf.shape}"
            )
        out[key] = leaf
    return out


def _rule_parameters(learner, params):
    return {str(k): {key: params[leaf] for key, leaf in rule.leaves.items()} for k, rule in enumerate(learner.rules)}


def effective_weight(program, cls, w, values, key, n):
    """What one spike adds: the increment `on_pre(w)[key]`; a scalar if weight and parameters are, else one of n."""
    rest = {a: jnp.ones((), dtype()) for a in cls.__methods__["on_pre"]} | {"dt": jnp.asarray(program.dt, dtype())}

    def one(w, values):
        return jnp.asarray(cls.__bind__(values).call("on_pre", {**rest, "w": w})[key], dtype())

    scalar = all(jnp.ndim(x) == 0 for x in (w, *values.values()))
    return one(w, values) if scalar else map_cells(one, n, w, values)


def _weights(program, topology, params, laid):
    out = procedural_calls.weights(program, params, _at_arrival, effective_weight)
    for b in program.bundles:
        if b.tag in laid:
            continue
        weights = []
        for part in b.parts:
            cls, leaf = program.weights[part.name]
            w = jnp.asarray(params[leaf], dtype())
            if b.sends == "spikes":
                slot, n = program.layout.slot_of[part.name], part.projection.post.n
                edges = part.projection.edges if b.per_edge else None
                values = _at_arrival(params, slot, part.name, edges, n)
                w = effective_weight(program, cls, w, values, part.key, part.n_edges if b.per_edge else n)
            weights.append(w)
        if b.per_edge:
            edge = _side_by_side(b, weights)
            order = topology[b.tag].get("order")
            out[b.tag] = {"edge": edge if order is None else edge[order]}
        else:
            scales = {k: _scale(r, b, weights) for k, r in enumerate(program.receivers) if r in b.receivers}
            out[b.tag] = {"edge": jnp.ones((), dtype()), "scale": scales}
    for c in program.couplings:
        w = params[program.weights[c.projection][1]]
        rows = topology[c.tag]
        out[c.tag] = {k: w if w.ndim == 0 else w[r["order"]] for k, r in (("edge", rows), *_divided(rows))}
    for e in program.edge_blocks:
        out[e.tag] = {"edge": params[program.weights[e.projection][1]]}
    return out


def _side_by_side(bundle, weights):
    """Weights of all edges of a bundle, with zeros in the gaps between its parts."""
    starts, n = places(bundle)
    pieces = []
    for w, part, first, end in zip(weights, bundle.parts, starts, [*starts[1:], n]):
        pieces.append(jnp.broadcast_to(w, (part.n_edges,)))
        if end - first > part.n_edges:
            pieces.append(jnp.zeros((end - first - part.n_edges,), w.dtype))
    return pieces[0] if len(pieces) == 1 else jnp.concatenate(pieces)


def laid_weights(program, params) -> dict:
    """Weights that the host has laid out already: tag -> (weights, the parameters they were made of)."""
    out = {}
    for b in program.bundles:
        whole, b.laid = b.laid, None
        names = {program.weights[p.name][1] for p in b.parts}
        if whole is None or len(names) < len(b.parts) or names & set(program.derived) or not _keeps_weights(program, b):
            continue
        if all(params[n].ndim for n in names):
            out[b.tag] = jax.device_put(whole), {n: params[n] for n in names}
    return out


def _keeps_weights(program, bundle) -> bool:
    """Whether the weights of a bundle are those of its projections as they are: `on_pre` gives `w` unchanged."""
    for part in bundle.parts:
        cls, slot = program.weights[part.name][0], program.layout.slot_of[part.name]
        values = {k: jnp.zeros(()) for k in slot.leaves}
        one = lambda w, cls=cls, values=values, key=part.key: effective_weight(program, cls, w, values, key, 1)
        jaxpr = jax.make_jaxpr(one)(jnp.zeros((), dtype())).jaxpr
        if jaxpr.outvars[0] is not jaxpr.invars[0]:
            return False
    return True


def _scale(receiver, bundle, weights):
    """What the sums of one receiver are multiplied by: a number where one weight serves all of its cells."""
    mine = [(w, p) for w, p in zip(weights, bundle.parts) if p.receiver is receiver]
    if len(mine) == 1 and mine[0][1].projection.post.n == receiver.n:
        return mine[0][0]
    whole = jnp.zeros((receiver.n,), dtype())
    for w, p in mine:
        n = p.projection.post.n
        whole = jax.lax.dynamic_update_slice(whole, jnp.broadcast_to(w, (n,)), (p.offset,))
    return whole


def with_shared_factors(ready: dict) -> dict:
    """The same, with one number for the factors of a receiver that are all equal: that is an array less to read."""
    weights = {tag: dict(w) for tag, w in ready["weights"].items()}
    for w in weights.values():
        if "scale" in w:
            w["scale"] = {k: _shared(np.asarray(x), x) for k, x in w["scale"].items()}
    return {**ready, "weights": weights}


def _shared(values, x):
    return jnp.asarray(values[0]) if values.ndim and np.all(values == values[0]) else x


def _divided(rows):
    return [(k, part) for k, part in rows.items() if isinstance(part, dict)]  # near, far0, far1, ...


def _at_arrival(params, slot, projection, edges, n_post):
    """Parameters of the synapse of one projection as `on_pre` sees them: scalars, or one per edge.

    Args:
        edges: whose `pre` and `post` say which cells an edge joins; None: one value per target is enough.
    """
    values = {}
    for key, spans in slot.leaves.items():
        name = spans[slot.spans[projection]]
        x = jnp.asarray(params[name], dtype())
        if x.ndim and edges is not None:
            x = x[edges.post] if x.shape[0] == n_post else x if x.shape[0] == len(edges.post) else x[edges.pre]
        elif x.ndim and x.shape[0] != n_post:
            raise CompileError(
                f"{name} has shape {x.shape}: a value per source or edge needs an array of weights too, one per edge; "
                f"give {projection}.weight as an array when connecting"
            )
        values[key] = x
    return values


def _drive_weights(program, params):
    out = {}
    for name, port in program.drives.items():
        cls, leaf = program.weights[name]
        slot, cells = program.layout.slot_of[name], np.arange(port.n)
        for key, place in port.receivers.items():
            cells = cells if place.cells is None else np.sort(port.cells)
            values = _at_arrival(params, slot, name, Ends(cells, cells), port.n)
            w = effective_weight(program, cls, jnp.asarray(params[leaf], dtype()), values, key, len(cells))
            out.setdefault(name, {})[key] = w
    return out


def _masks(program, g):
    """1 where a slot has synapses; only for slots that do not cover their whole group."""
    out = {}
    for slot in program.slots_of(g):
        if sum(b - a for a, b, _ in slot.pieces) < g.n:
            mask = np.zeros(g.n)
            for a, b, _ in slot.pieces:
                mask[a:b] = 1.0
            out[f"{slot.tag}/mask"] = jnp.asarray(mask, dtype())
    return out


def _refractory(program, bound):
    """Whole clamped steps after a spike, scalar or one per cell; no gradient."""
    out = {}
    for g in program.groups:
        rule = g.model.__refractory__
        if rule is not None:
            t_ref = jax.lax.stop_gradient(bound[f"group{g.index}"][rule.t_ref])
            out[g.index] = jnp.round(t_ref / program.dt).astype(jnp.int32)
    return out


def _fixed_sums(program, topology, ready, bound):
    out = {}
    for c in program.couplings:
        if not c.fixed:
            continue
        cls, asked = c.terminal.synapse, c.terminal.synapse.__methods__["output"]

        def one(values, c=c, cls=cls, asked=asked):
            sent = cls.__bind__(values).call("output", {a: jnp.zeros((), dtype()) for a in asked})
            return {k: jnp.asarray(sent[k], dtype()) for k in c.fixed}

        sent = map_cells(one, c.terminal.group.n, bound[c.terminal.tag])
        out[c.tag] = weighted_sums(sent, ready["weights"][c.tag]["edge"], topology[c.tag])
    return out


def _propagators(program, g, bound):
    names = sorted(program.layout.patterns[g.index])
    pattern = program.layout.patterns[g.index]
    places = (*program.slots_of(g), *program.terminals_of(g))
    mine = {"cell": bound[f"group{g.index}"], **{p.tag: bound[p.tag] for p in places}}
    zero = jnp.zeros((), dtype())
    env = {n: zero for n in environment_names(program, g)}
    rest = {n: zero for n in cell.state_names(program, g) if n not in pattern}
    rule = g.model.__refractory__
    held = tuple(h for h in rule.holds if h in pattern) if rule else ()
    # held states matter for the others only if the others read them
    couples = any(h in pattern[n] for h in held for n in names if n not in held)

    def tables(values):
        f = lambda z: cell.derivative(program, g, {**z, **rest}, env, values)
        made = {"free": integrate.entries(integrate.propagator(f, names, program.dt), names, pattern)}
        if couples:
            made["held"] = integrate.entries(integrate.propagator(f, names, program.dt, held), names, pattern)
        return made

    if all(v.ndim == 0 for v in jax.tree.leaves(mine)):
        return tables(mine)
    return map_cells(tables, g.n, mine)


def initial_state(program: Program, params: dict, drives: dict) -> dict:
    """State before the first step."""
    params = derive(program, params)
    real = dtype()
    layout = program.layout
    z = {g.index: {} for g in layout.groups}
    for g in layout.groups:
        pieces = [_initial_cells(g, m, params) for m in g.members]
        z[g.index] = {k: jnp.concatenate([p[k] for p in pieces]) for k in pieces[0]}
    for place, on in (*((s, "post") for s in layout.slots), *((t, "pre") for t in layout.terminals)):
        for name, spec in place.synapse.__states__.items():
            if spec.on == on:
                z[place.group.index][f"{place.tag}/{name}"] = _initial_synapse(program, place, on, name, spec, params)
    state = {"step": jnp.zeros((), jnp.int32), "z": z, "edges": {}, "refractory": {}, "distance": {}}
    for e in program.edge_blocks:
        state["edges"][e.tag] = {n: _initial_edges(e, n, params) for n in e.states}
    for g in layout.groups:
        if g.model.__refractory__ is not None:
            state["refractory"][g.index] = jnp.zeros((g.n,), jnp.int32)
        if "spike" in g.model.__methods__ and g.model.spike_on == "crossing":
            # a cell that starts above threshold has not crossed it
            state["distance"][g.index] = jnp.ones((g.n,), real)
    n = layout.n_sources
    state["history"] = {"spikes": jnp.zeros((program.history, n), real)} if n else {}
    for name, sender in program.sent.items():
        if sender.key is not None:
            state["history"][name] = jnp.zeros((program.history, n), real)
    state["rings"] = {tag: jnp.zeros((depth, program.n_receive), real) for tag, depth in program.rings.items()}
    state["rings"].update(procedural_calls.rings(program))
    state["sent"] = {c.tag: {} for c in program.couplings if c.depth}
    for c in program.couplings:
        if c.depth:
            state["sent"][c.tag] = _initial_outputs(program, c, state, params)
    state["plastic"] = {x.tag: learn.initial(program, x, params, z) for x in program.learners}
    state["drives"] = {name: drive.begin(n, real) for name, (drive, n, _) in drives.items()}
    return state


def _initial_cells(g, member, params):
    """Initial values of one population: set by the user, by `init_<state>`, or as declared."""
    i = g.members.index(member)
    values = {k: params[names[i]] for k, names in g.leaves.items()}
    made = {}
    waiting = list(g.model.__states__)
    while waiting:
        for name in list(waiting):
            spec, user = g.model.__states__[name], params.get(f"{member.name}.{name}(0)")
            asked = g.model.__methods__.get(f"init_{name}", ())
            if user is not None:
                made[name] = jnp.broadcast_to(user, (member.n,))
            elif f"init_{name}" in g.model.__methods__:
                if not set(asked) <= set(made):
                    continue
                one = lambda v, z, name=name: g.model.__bind__(v).call(f"init_{name}", z)
                made[name] = map_cells(one, member.n, values, {a: made[a] for a in asked}).astype(dtype())
            else:
                value = _declared(spec, g.model, values)
                made[name] = jnp.broadcast_to(value, (member.n,))
            waiting.remove(name)
            break
        else:
            raise CompileError(
                f"{g.model.__name__}: init methods of {waiting} wait for each other; give one a declared value"
            )
    return made


def _declared(spec, cls, values):
    if not isinstance(spec.initial, str):
        return jnp.asarray(spec.initial, dtype())
    declared = vars(cls).get(spec.initial) or getattr(cls, spec.initial)
    return jnp.asarray(declared.value if isinstance(declared, Const) else values[spec.initial], dtype())


def _initial_synapse(program, place, on, name, spec, params):
    group = place.group
    values = expand_slot(place, params) if on == "post" else expand_terminal(place, params)
    whole = jnp.broadcast_to(_declared(spec, place.synapse, values), (group.n,))
    for projection in place.projections:
        user = params.get(f"{projection}.{name}(0)")
        if user is not None:
            a, b = place.spans[projection] if on == "post" else (place.member.start, place.member.stop)
            whole = whole.at[a:b].set(jnp.broadcast_to(user, (b - a,)))
    return whole


def _initial_edges(block, name, params):
    spec = block.synapse.__states__[name]
    user = params.get(f"{block.projection}.{name}(0)")
    values = {k: params[v] for k, v in block.leaves.items()}
    n = block.n_edges
    return jnp.broadcast_to(user if user is not None else _declared(spec, block.synapse, values), (n,))


def _initial_outputs(program, c, state, params):
    """Before the run every source has sent what it sends in its initial state."""
    g = c.terminal.group
    bound = expand_terminal(c.terminal, params)

    def one(z, bound):
        env = {"t": jnp.zeros((), dtype()), "dt": jnp.asarray(program.dt, dtype())}
        sent = c.terminal.synapse.__bind__(bound).call("output", cell.terminal_values(c.terminal, z, env))
        return {k: jnp.asarray(sent[k], dtype()) for k in c.moving}

    now = map_cells(one, g.n, state["z"][g.index], bound)
    return {k: jnp.broadcast_to(v[:, None], (g.n, c.depth)) for k, v in now.items()}
