"""The state before the first step: of cells, synapses and edges, empty rings and histories, what has been sent."""

import jax.numpy as jnp

from . import cell, learn, procedural_calls
from .declare import Const
from .errors import CompileError
from .prepare import derive
from .program import Program, dtype, expand_slot, expand_terminal, map_cells


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
