"""One dt as a list of named substeps: deliver, integrate, detect, reset (recording follows in `simulate`)."""

import jax
import jax.numpy as jnp

from . import cell, integrate
from .arrivals import deliver, held, remember
from .environment import clock, couplings, drives_only, edge_environment
from .ops import random
from .program import Program, axes_of, dtype, map_cells
from .surrogate import blend, spike


class Step:
    """What the substeps of one step share; made anew inside the loop body, holds no state across steps."""

    def __init__(self, program: Program, topology, ready, state, drives, seed):
        self.program, self.topology, self.ready, self.drives, self.seed = program, topology, ready, drives, seed
        self.old = state
        self.now = state["step"]
        self.z = {g: dict(z) for g, z in state["z"].items()}
        self.edges = {k: dict(v) for k, v in state["edges"].items()}
        self.new = dict(state)

    def time(self):
        return self.now.astype(dtype()) * self.program.dt

    def stream(self, name):
        return random.key_of(self.program.seed, name) ^ self.seed


def advance(program, topology, ready, state, drives, seed):
    """The next state, and the spikes of every group in this step."""
    s = Step(program, topology, ready, state, drives, seed)
    run_drives(s)
    deliver(s)
    integrate_all(s)
    spikes = detect_and_reset(s)
    remember(s, spikes)
    s.new.update(z=s.z, edges=s.edges, step=s.now + 1)
    return s.new, spikes


def run_drives(s: Step):
    """Value of every drive in this step; events of connected drives go to their receivers."""
    s.values, carries = {}, {}
    for name, (drive, n, place) in s.drives.items():
        # a spike given to a source at time t is found at the end of the step that ends at t
        offset = s.program.drives[name].delay if place is None else -1 if drive.events else 0
        key = s.stream(name)
        s.values[name], carries[name] = drive.value(s.now - offset, s.program.dt, n, key, s.old["drives"][name])
    s.new["drives"] = carries


def integrate_all(s: Step):
    """Advance every continuous state by dt; each group by its own method."""
    program, dt = s.program, s.program.dt
    t = s.time()
    env = couplings(s, s.z, t)
    start = {g: dict(z) for g, z in s.z.items()}
    staged: dict[str, list] = {}
    for g in program.groups:
        method = program.methods[g.index]
        if method in integrate.LOCAL:
            s.z[g.index] = _local_step(s, g, env[g.index])
        else:
            staged.setdefault(method, []).append(g)
    for method, groups in staged.items():
        _staged(s, method, groups, start, t, dt)
    for block in program.edge_blocks:
        _edge_step(s, block, start, env)
    for g in program.groups:
        _clamp(s, g, start[g.index])


def _mapped(env):
    return {k: v for k, v in env.items() if not k.startswith("key")}


def _local_step(s, g, env):
    """Exact propagation of the linear states of every cell, exponential Euler of the others."""
    program, dt = s.program, jnp.asarray(s.program.dt, dtype())
    bound = {"cell": s.ready["bound"][f"group{g.index}"], **{k: s.ready["bound"][k] for k in _tags(program, g)}}
    noisy = [m[6:] for m in g.model.__methods__ if m.startswith("noise_")]
    xi = {n: random.normal(s.stream(f"{g.label}.{n}"), s.now, g.n).astype(dtype()) for n in noisy}
    table = s.ready["propagators"].get(g.index, {"free": {}})
    clamped = {"held": held(s, g)} if "held" in table else {}

    def one(z, env, bound, xi, table, clamped):
        linear = {k: z[k] for k in z if f"{k}<{k}" in table["free"]}
        f = lambda z: cell.derivative(program, g, z, env, bound)
        out = integrate.exponential_euler(f, z, dt, cell.diffusion(program, g, z, env, bound), xi, skip=linear)
        if linear:
            b = f({**z, **{k: jnp.zeros_like(v) for k, v in linear.items()}})
            out.update(integrate.exact_step(linear, b, table, clamped.get("held")))
        return out

    return map_cells(one, g.n, s.z[g.index], _mapped(env), bound, xi, table, clamped)


def _tags(program, g):
    return {x.tag for x in (*program.slots_of(g), *program.terminals_of(g))}


def _staged(s, method, groups, start, t, dt):
    """Groups that share a multi-stage method step together; couplings are evaluated again at every stage."""
    program = s.program
    mine = {g.index: start[g.index] for g in groups}

    def slope(z, t):
        everything = {**start, **z}
        env = couplings(s, everything, t)
        out = {}
        for g in groups:
            bound = {"cell": s.ready["bound"][f"group{g.index}"], **{k: s.ready["bound"][k] for k in _tags(program, g)}}
            one = lambda z, env, bound, g=g: cell.derivative(program, g, z, env, bound)
            moved = map_cells(one, g.n, everything[g.index], _mapped(env[g.index]), bound)
            out[g.index] = {k: moved.get(k, jnp.zeros_like(v)) for k, v in everything[g.index].items()}
        return out

    moved = integrate.staged_step(method, slope, mine, t, jnp.asarray(dt, dtype()), _kick(s, groups, t))
    s.z.update(moved)


def _kick(s, groups, t):
    """Diffusion times the Wiener increment of this step, as a function of the point; None without noise."""
    if not any(m.startswith("noise_") for g in groups for m in g.model.__methods__):
        return None
    program = s.program

    def kick(z):
        env = couplings(s, {**s.z, **z}, t)
        out = {}
        for g in groups:
            bound = {"cell": s.ready["bound"][f"group{g.index}"], **{k: s.ready["bound"][k] for k in _tags(program, g)}}
            one = lambda z, env, bound, g=g: cell.diffusion(program, g, z, env, bound)
            size = map_cells(one, g.n, z[g.index], _mapped(env[g.index]), bound)
            xi = {n: random.normal(s.stream(f"{g.label}.{n}"), s.now, g.n).astype(dtype()) for n in size}
            out[g.index] = {
                k: size[k] * xi[k] * jnp.sqrt(jnp.asarray(program.dt, dtype())) if k in size else jnp.zeros_like(v)
                for k, v in z[g.index].items()
            }
        return out

    return kick


def _edge_step(s, block, start, env):
    """Exponential Euler of the states on edges, reading both ends at the start of the step."""
    names = [n for n in block.states if not block.synapse.__states__[n].jump]
    if not names:
        return
    values = {**edge_environment(s, block, start), **clock(env[block.group.index])}

    def one(own, values, bound):
        synapse = block.synapse.__bind__(bound)
        f = lambda z: {n: synapse.call("d" + n, {**values, **z}) for n in names}
        return integrate.exponential_euler(f, own, jnp.asarray(s.program.dt, dtype()), {}, {})

    rest = {k: v for k, v in values.items() if k not in names}
    own = {n: s.edges[block.tag][n] for n in names}
    moved = map_cells(one, next(iter(own.values())).shape[0], own, rest, s.ready["bound"][block.tag])
    s.edges[block.tag].update(moved)


def _clamp(s, g, start):
    """Refractory cells keep their held states."""
    rule = g.model.__refractory__
    if rule is None:
        return
    clamped = held(s, g)
    for name in rule.holds:
        s.z[g.index][name] = jnp.where(clamped, start[name], s.z[g.index][name])


def detect_and_reset(s: Step):
    """Spikes of every group; reset and the start of refractoriness."""
    program, spikes = s.program, {}
    refractory = dict(s.old["refractory"])
    env = None
    for g in program.groups:
        rule = g.model.__refractory__
        if "spike" not in g.model.__methods__:
            continue
        if env is None:
            env = drives_only(s)
        # one pass over the cells: without the barrier XLA computes the step again for every reader of the spikes
        s.z[g.index] = jax.lax.optimization_barrier(s.z[g.index])
        distance = _distance(s, g, s.z[g.index], env[g.index])
        if g.index in s.arrived and g.model.spike_on == "level":
            # a jump crosses the threshold when it arrives; at the end of the step part of it has decayed already
            distance = jnp.maximum(distance, _distance(s, g, s.arrived[g.index], env[g.index]))
        fired = spike(distance, program.surrogate, program.smooth)
        if g.model.spike_on == "crossing":
            fired = fired * (s.old["distance"][g.index] <= 0)
            s.new["distance"] = {**s.new["distance"], g.index: jax.lax.stop_gradient(distance)}
        if rule is not None:
            fired = jnp.where(held(s, g), jnp.zeros_like(fired), fired)
            count = jnp.maximum(s.old["refractory"][g.index] - 1, 0)
            refractory[g.index] = jnp.where(fired > 0.5, s.ready["refractory"][g.index], count)
        if "reset" in g.model.__methods__:
            _reset(s, g, fired, env[g.index])
        spikes[g.index] = fired
    s.new["refractory"] = refractory
    return spikes


def _available(g, z, env):
    return {
        **{n: z[n] for n in g.model.__states__},
        **{n: env[f"in/{n}"] for n in g.model.__inputs__},
        "t": env["t"],
        "dt": env["dt"],
    }


def _distance(s, g, z, env):
    wants_key = "key" in g.model.__methods__["spike"]
    keys = None
    if wants_key:
        base = jax.random.wrap_key_data(s.stream(f"{g.label}.spike"), impl="threefry2x32")
        keys = jax.random.split(jax.random.fold_in(base, s.now), g.n)

    def one(z, env, bound, key):
        values = {**_available(g, z, env), "key": key}
        return jnp.asarray(g.model.__bind__(bound).call("spike", values), dtype())

    bound = s.ready["bound"][f"group{g.index}"]
    if not wants_key:
        return map_cells(lambda z, e, b: one(z, e, b, None), g.n, z, env, bound)
    return jax.vmap(one, in_axes=(axes_of(z), axes_of(env), axes_of(bound), 0), axis_size=g.n)(z, env, bound, keys)


def _reset(s, g, fired, env):
    def one(z, env, bound):
        changed = g.model.__bind__(bound).call("reset", _available(g, z, env))
        return {k: jnp.asarray(v, dtype()) for k, v in changed.items()}

    z = s.z[g.index]
    changed = map_cells(one, g.n, z, env, s.ready["bound"][f"group{g.index}"])
    for name, value in changed.items():
        z[name] = blend(fired, z[name], value, s.program.smooth)
