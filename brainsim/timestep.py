"""One dt as a list of named substeps: deliver, integrate, detect, reset (recording follows in `simulate`).

Groups with a local method (exact, exponential Euler) do all but the delivery in one function of the cell (`cell_step`).
"""

import jax
import jax.numpy as jnp

from . import cell, cell_step, integrate
from .arrivals import deliver, remember
from .environment import clock, couplings, edge_environment
from .learn import learn
from .ops import random
from .program import Program, axes_of, dtype, map_cells


class Step:
    """What the substeps of one step share; made anew inside the loop body, holds no state across steps."""

    def __init__(self, program: Program, topology, ready, state, drives, seed, far, place=None):
        self.program, self.topology, self.ready, self.drives, self.seed = program, topology, ready, drives, seed
        self.old, self.far = state, far
        self.now = state["step"]
        self.place = self.now if place is None else place  # column of this step in the histories of what is sent
        self.z = {g: dict(z) for g, z in state["z"].items()}
        self.edges = {k: dict(v) for k, v in state["edges"].items()}
        self.new = dict(state)
        # spikes are floats where derivatives may flow through them, else one byte each
        self.binary = "ids" in state["history"] or state["history"].get("spikes", jnp.zeros(0)).dtype == bool
        self.active = {}

    def time(self):
        return self.now.astype(dtype()) * self.program.dt

    def stream(self, name):
        return random.key_of(self.program.seed, name) ^ self.seed


def advance(program, topology, ready, state, drives, seed, far, place=None):
    """The next state, and the spikes of every group in this step.

    Args:
        far: sums of delayed couplings that a window of steps has made beforehand (`windows.py`).
        place: column of this step in the histories of what is sent; None: the number of the step, modulo their length.
    """
    s = Step(program, topology, ready, state, drives, seed, far, place)
    run_drives(s)
    deliver(s)
    s.fired = spikes = step_cells(s)
    remember(s, spikes)
    learn(s)
    s.new.update(z=s.z, edges=s.edges, step=s.now + 1)
    return s.new, spikes


def run_drives(s: Step):
    """Value of every drive in this step; events of connected drives go to their receivers."""
    s.values, carries = {}, {}
    for name, (drive, n, place) in s.drives.items():
        port = s.program.drives[name] if place is None else None
        # a spike given to a source at time t is found at the end of the step that ends at t
        offset = port.delay if port is not None else -1 if drive.events else 0
        key = s.stream(name)
        value, carries[name] = drive.value(s.now - offset, s.program.dt, n, key, s.old["drives"][name])
        s.values[name] = value
    s.new["drives"] = carries


def step_cells(s: Step):
    """Integrate, detect, reset; each group by its own method. Returns the spikes of every spiking group."""
    program = s.program
    t = s.time()
    env = couplings(s, s.z, t)
    start = {g: dict(z) for g, z in s.z.items()}
    staged: dict[str, list] = {}
    done = {}
    for g in program.groups:
        method = program.methods[g.index]
        if is_local(program, g):
            done[g.index] = _local_step(s, g, env[g.index])
        else:
            staged.setdefault(method, []).append(g)
    moved = {}
    for method, groups in staged.items():
        moved.update(_staged(s, method, groups, start, t))
    for block in program.edge_blocks:
        _edge_step(s, block, start, env)
    for g in program.groups:
        if g.index in moved:
            done[g.index] = _fire(s, g, start[g.index], moved[g.index], env[g.index])
    return _take(s, done)


def _take(s, done):
    """Put the outcome of every group into the new state."""
    refractory, distance, spikes = dict(s.old["refractory"]), dict(s.old["distance"]), {}
    for index, out in done.items():
        s.z[index] = out["z"]
        if "refractory" in out:
            refractory[index] = out["refractory"]
        if "distance" in out:
            distance[index] = out["distance"]
        if "fired" in out:
            spikes[index] = out["fired"]
        if "active" in out:
            s.active[index] = out["active"]
    s.new.update(refractory=refractory, distance=distance)
    return spikes


def is_local(program, g):
    """Whether a step of a group is one function of its cells."""
    method = program.methods[g.index]
    return not _wants_key(g) and (method in integrate.LOCAL or _separable(program, method))


def _separable(program, method):
    """Whether no cell stepped by a multi-stage method sees another one between the stages."""
    if method not in integrate.EXPLICIT:
        return False
    mine = [g for g in program.groups if program.methods[g.index] == method]
    if any(_wants_key(g) for g in mine):
        return False
    touched = [c.slot.group for c in program.couplings if c.moving and c.delay == 0]
    touched += [b.group for b in program.edge_blocks if b.on_edges]
    return method == "euler" or not any(g is t for g in mine for t in touched)


def _wants_key(g):
    return "key" in g.model.__methods__.get("spike", ())


def bound_of(s, g):
    """Parameters of a group and of the synapses at its cells."""
    places = (*s.program.slots_of(g), *s.program.terminals_of(g))
    return {"cell": s.ready["bound"][f"group{g.index}"], **{x.tag: s.ready["bound"][x.tag] for x in places}}


def _old(s, g):
    """What a cell remembers of its last spike."""
    out = {}
    if g.model.__refractory__ is not None and "spike" in g.model.__methods__:
        out.update(refractory=s.old["refractory"][g.index], count=s.ready["refractory"][g.index])
    if g.index in s.old["distance"]:
        out["distance"] = s.old["distance"][g.index]
    return out


def _local_step(s, g, env):
    xi, table = noise_of(s, g), s.ready["propagators"].get(g.index, {})

    def one(z, parts, env, bound, xi, table, old):
        return _as_spikes(s, cell_step.integrate_and_fire(s.program, g, z, parts, env, bound, xi, table, old))

    before, old = s.begin[g.index], _old(s, g)
    kept = [(f"[0]['{k}']", f"['z']['{k}']") for k in before]
    kept += [(f"[6]['{k}']", f"['{k}']") for k in ("refractory", "distance") if k in old]
    return map_cells(one, g.n, before, s.parts.get(g.index, {}), env, bound_of(s, g), xi, table, old, kept=kept)


def _as_spikes(s, out):
    """Spikes in the form that the histories keep; the active set where one is kept."""
    if "fired" not in out:
        return out
    out = {k: v for k, v in out.items() if k != "active" or "active" in s.old["history"]}
    return {**out, "fired": out["fired"] > 0.5} if s.binary else out


def noise_of(s, g):
    """Standard normal numbers of this step for every noisy state of a group."""
    noisy = [m[len("noise_") :] for m in g.model.__methods__ if m.startswith("noise_")]
    return {n: _normal(s, g, n) for n in noisy}


def _normal(s, g, name):
    """Standard normal numbers for a noisy state; every population has its own stream, so that others change nothing."""
    return jnp.concatenate([random.normal(s.stream(f"{m.name}.{name}"), s.now, m.n, dtype()) for m in g.members])


def _fire(s, g, start, moved, env):
    """Clamp, threshold and reset of a group that a multi-stage method has moved."""
    parts, old = s.parts.get(g.index, {}), _old(s, g)

    def one(start, moved, env, bound, old, key):
        held = old["refractory"] > 0 if "refractory" in old else None
        held_back = cell_step.clamp(g, start, cell_step.pulled(moved, env), held)
        return _as_spikes(s, cell_step.fire(s.program, g, start, held_back, parts, env, bound, old, key))

    if not _wants_key(g):
        return map_cells(lambda *args: one(*args, None), g.n, start, moved, env, bound_of(s, g), old)
    words = [jnp.stack(random.bits(s.stream(f"{m.name}.spike"), s.now, m.n), -1) for m in g.members]
    keys = jax.random.wrap_key_data(jnp.concatenate(words), impl="threefry2x32")  # a name for 64 random bits
    args = (start, moved, env, bound_of(s, g), old)
    return jax.vmap(one, in_axes=(*map(axes_of, args), 0), axis_size=g.n)(*args, keys)


def _staged(s, method, groups, start, t):
    """Groups that share a multi-stage method step together; couplings are evaluated again at every stage."""
    program = s.program
    mine = {g.index: start[g.index] for g in groups}

    def slope(z, t):
        everything = {**start, **z}
        env = couplings(s, everything, t)
        out = {}
        for g in groups:
            bound = bound_of(s, g)
            one = lambda z, env, bound, g=g: cell.derivative(program, g, z, env, bound)
            moved = map_cells(one, g.n, everything[g.index], env[g.index], bound)
            out[g.index] = {k: moved.get(k, jnp.zeros_like(v)) for k, v in everything[g.index].items()}
        return out

    dt = jnp.asarray(program.dt, dtype())
    if method in integrate.LOCAL:
        return {g.index: _local_move(s, g, start[g.index], t) for g in groups}
    return integrate.staged_step(method, slope, mine, t, dt, _kick(s, groups, t))


def _local_move(s, g, start, t):
    """Integration alone, for groups whose threshold draws random numbers."""
    env = couplings(s, s.z, t)[g.index]

    def one(z, env, bound):
        f = lambda z: cell.derivative(s.program, g, z, env, bound)
        return integrate.exponential_euler(f, z, jnp.asarray(s.program.dt, dtype()), {}, {})

    return map_cells(one, g.n, start, env, bound_of(s, g)) if start else {}


def _kick(s, groups, t):
    """Diffusion times the Wiener increment of this step, as a function of the point; None without noise."""
    if not any(m.startswith("noise_") for g in groups for m in g.model.__methods__):
        return None
    program = s.program

    def kick(z):
        env = couplings(s, {**s.z, **z}, t)
        out = {}
        for g in groups:
            bound = bound_of(s, g)
            one = lambda z, env, bound, g=g: cell.diffusion(program, g, z, env, bound)
            size = map_cells(one, g.n, z[g.index], env[g.index], bound)
            xi = {n: _normal(s, g, n) for n in size}
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
