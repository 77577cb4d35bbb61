"""One dt as a list of named substeps: deliver, integrate, detect, reset (recording follows in `simulate`)."""

import jax
import jax.numpy as jnp

from . import cell, integrate, ops
from .coupling import delayed_sums, sum_on_targets, weighted_sums
from .ops import random
from .program import Program, dtype, map_cells
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


def deliver(s: Step):
    """Spikes that arrive now move the states they act on."""
    program = s.program
    arrived = jnp.zeros((program.n_receive,), dtype())
    for bundle in program.bundles:
        arrived = arrived + _bundle_arrivals(s, bundle)
    for name, port in program.drives.items():
        for key, place in port.receivers.items():
            amount = jnp.broadcast_to(s.values[name], (place.n,)) * s.ready["drive_weights"][name][key]
            before = jax.lax.dynamic_slice(arrived, (place.start,), (place.n,))
            arrived = jax.lax.dynamic_update_slice(arrived, before + amount.astype(dtype()), (place.start,))
    for block in program.edge_blocks:
        arrived = _edge_events(s, block, arrived)
    for r in program.receivers:
        part = jax.lax.slice(arrived, (r.start,), (r.start + r.n,))
        group = r.index if r.kind == "cell" else program.layout.slots[r.index].group.index
        name = r.state if r.kind == "cell" else f"{program.layout.slots[r.index].tag}/{r.state}"
        if r.kind == "cell":
            part = (
                jnp.where(_held(s, program.groups[group], r.state), 0.0, part)
                if _can_hold(program.groups[group], r.state)
                else part
            )
        s.z[group][name] = s.z[group][name] + part
    s.arrived = {r.index: dict(s.z[r.index]) for r in program.receivers if r.kind == "cell"}


def _can_hold(group, state):
    rule = group.model.__refractory__
    return rule is not None and state in rule.holds


def _held(s, group, state=None):
    return s.old["refractory"][group.index] > 0


def _sent(s, sends, delay):
    """What the sources sent `delay` steps ago: spikes found at the end of step now - 1 - delay."""
    history = s.old["history"][sends]
    if history.shape[0] == 1:
        return history[0]
    row = jnp.mod(s.now - 1 - delay, history.shape[0])
    return jax.lax.dynamic_index_in_dim(history, row, keepdims=False)


def _bundle_arrivals(s, bundle):
    rows, weights = s.topology[bundle.tag], s.ready["weights"][bundle.tag]
    edge = weights["edge"]
    if bundle.delay is not None:
        sent = _sent(s, bundle.sends, bundle.delay)
        total = ops.event_csr(sent, edge, rows["indptr"], rows["indices"], n_post=s.program.n_receive)
    else:
        sent = _sent(s, bundle.sends, 0)
        ring = ops.ring_deliver(
            s.old["rings"][bundle.tag], sent, edge, rows["indptr"], rows["indices"], rows["delays"], s.now
        )
        slot = jnp.mod(s.now, ring.shape[0])
        total = jax.lax.dynamic_index_in_dim(ring, slot, keepdims=False)
        ring = jax.lax.dynamic_update_index_in_dim(ring, jnp.zeros_like(total), slot, 0)
        s.new["rings"] = {**s.new["rings"], bundle.tag: ring}
    return total if "scale" not in weights else total * weights["scale"]


def couplings(s: Step, z, t, fresh):
    """Environment of every group at the point z: drives, weighted sums, currents on edges, linearised in the target."""
    program = s.program
    env = {g.index: {"t": t, "dt": jnp.asarray(program.dt, dtype())} for g in program.groups}
    for g in program.groups:
        env[g.index].update({f"in/{n}": s.ready["inputs"][g.index][n] for n in g.model.__inputs__})
        env[g.index].update(s.ready["masks"].get(g.index, {}))
    for name, (_, _, place) in s.drives.items():
        if place is not None:
            group, member, key = place
            value = s.values[name]
            if member.n != group.n:
                value = jnp.zeros((group.n,), dtype()).at[member.start : member.stop].set(value)
            env[group.index][key] = env[group.index][key] + value
    sent = {}
    for c in program.couplings:
        sums = _coupling_sums(s, c, z, env, sent)
        for key, value in sums.items():
            name = f"{c.slot.tag}/sum/{key}"
            here = env[c.slot.group.index]
            here[name] = here[name] + value if name in here else value
    for block in program.edge_blocks:
        if block.on_edges:
            _edge_currents(s, block, z, env)
    return env


def outputs(s, terminal, z, env, keys):
    """What every cell of the source group sends."""
    g = terminal.group

    def one(zc, envc, bound):
        synapse = terminal.synapse.__bind__(bound)
        sent = synapse.call("output", cell.terminal_values(terminal, zc, envc))
        return {k: jnp.asarray(sent[k], dtype()) for k in keys}

    return map_cells(one, g.n, z[g.index], _plain(env[g.index]), s.ready["bound"][terminal.tag])


def _plain(env):
    return {"t": env["t"], "dt": env["dt"]}


def _coupling_sums(s, c, z, env, sent):
    rows, weights = s.topology[c.tag], s.ready["weights"][c.tag]["edge"]
    total = dict(s.ready["fixed"].get(c.tag, {}))
    if not c.moving:
        return total
    if c.delay == 0:
        if (c.terminal.tag, c.moving) not in sent:
            sent[c.terminal.tag, c.moving] = outputs(s, c.terminal, z, env, c.moving)
        return {**total, **weighted_sums(sent[c.terminal.tag, c.moving], weights, rows)}
    history = s.old["sent"][c.tag]
    if c.delay is None:
        return {**total, **delayed_sums(history, s.now - 1, weights, rows, c.depth)}
    row = jnp.mod(s.now - c.delay, c.depth)
    x = {k: jax.lax.dynamic_index_in_dim(h, row, keepdims=False) for k, h in history.items()}
    return {**total, **weighted_sums(x, weights, rows)}


def _edge_environment(s, block, z):
    """Everything an equation on an edge can ask for, one value per edge."""
    rows = s.topology[block.tag]
    asked = {a for args in block.synapse.__methods__.values() for a in args}
    source, target = z[block.source.index], z[block.group.index]
    slot = s.program.layout.slot_of[block.projection]
    terminal = s.program.layout.terminal_of.get(block.projection)
    env = dict(s.edges[block.tag])
    for name, spec in block.synapse.__states__.items():
        if name in asked and spec.on == "post":
            env[name] = target[f"{slot.tag}/{name}"][rows["post"]]
        if name in asked and spec.on == "pre":
            env[name] = source[f"{terminal.tag}/{name}"][rows["pre"]]
    for a in asked:
        if a.endswith("_pre") and a[:-4] in source:
            env[a] = source[a[:-4]][rows["pre"]]
        if a.endswith("_post") and a[:-5] in target:
            env[a] = target[a[:-5]][rows["post"]]
    return {**env, "w": s.ready["weights"][block.tag]["edge"]}


def _edge_currents(s, block, z, env):
    rows, here = s.topology[block.tag], env[block.group.index]
    point = _edge_environment(s, block, z)
    point.update(t=here["t"], dt=here["dt"])
    posts = {f"{x}_post": point[f"{x}_post"] for x in block.reads_post}

    def one(values, bound):
        synapse = block.synapse.__bind__(bound)
        current = lambda p: synapse.call("current", {**values, **p})
        own = {k: values[k] for k in posts}
        slopes = {k: jax.jvp(lambda x, k=k: current({k: x}), (own[k],), (jnp.ones_like(own[k]),))[1] for k in posts}
        return current({}), slopes

    value, slopes = map_cells(one, rows["post"].shape[0], point, s.ready["bound"][block.tag])
    here[f"{block.tag}/value"] = sum_on_targets(value, rows)
    for x in block.reads_post:
        here[f"{block.tag}/slope/{x}"] = sum_on_targets(slopes[f"{x}_post"], rows)
        here[f"{block.tag}/at/{x}"] = z[block.group.index][x]


def _edge_events(s, block, arrived):
    """on_pre of synapses with variables on edges: increments of edge states, and what reaches the target."""
    if "on_pre" not in block.synapse.__methods__:
        return arrived
    rows = s.topology[block.tag]
    if block.delay is None:
        history = s.old["history"]["spikes"]
        row = jnp.mod(s.now - 1 - rows["delays"], history.shape[0])
        hit = history.reshape(-1)[row * history.shape[1] + rows["source"]]
    else:
        hit = _sent(s, "spikes", block.delay)[rows["source"]]
    env = _edge_environment(s, block, s.z)
    env.update(t=s.time(), dt=jnp.asarray(s.program.dt, dtype()))
    one = lambda values, bound: block.synapse.__bind__(bound).call("on_pre", values)
    increments = map_cells(one, rows["post"].shape[0], env, s.ready["bound"][block.tag])
    for key, amount in increments.items():
        if key in block.states:
            s.edges[block.tag][key] = s.edges[block.tag][key] + hit * amount
        elif key in block.deposits:
            total = sum_on_targets(hit * amount, rows)
            start = block.deposits[key]
            arrived = arrived.at[start : start + block.group.n].add(total)
    return arrived


def integrate_all(s: Step):
    """Advance every continuous state by dt; each group by its own method."""
    program, dt = s.program, s.program.dt
    t = s.time()
    env = couplings(s, s.z, t, True)
    start = {g: dict(z) for g, z in s.z.items()}
    staged: dict[str, list] = {}
    for g in program.groups:
        method = program.methods[g.index]
        if method in integrate.LOCAL:
            s.z[g.index] = _local_step(s, g, method, env[g.index])
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


def _local_step(s, g, method, env):
    program, dt = s.program, jnp.asarray(s.program.dt, dtype())
    bound = {k: v for k, v in s.ready["bound"].items() if k in _tags(program, g)}
    noisy = [m[6:] for m in g.model.__methods__ if m.startswith("noise_")]
    xi = {n: random.normal(s.stream(f"{g.label}.{n}"), s.now, g.n).astype(dtype()) for n in noisy}
    if method == "exact":
        table = s.ready["propagators"][g.index]
        held = {"held": _held(s, g)} if "held" in table else {}

        def one(z, env, bound, table, held):
            moving = {k: z[k] for k in z if f"{k}<{k}" in table["free"]}
            b = cell.derivative(program, g, {**z, **{k: jnp.zeros_like(v) for k, v in moving.items()}}, env, bound)
            return {**z, **integrate.exact_step(moving, b, table, held.get("held"))}

        return map_cells(one, g.n, s.z[g.index], _mapped(env), {"cell": s.ready["bound"][f"group{g.index}"], **bound}, table, held)

    def one(z, env, bound, xi):
        f = lambda z: cell.derivative(program, g, z, env, bound)
        return integrate.exponential_euler(f, z, dt, cell.diffusion(program, g, z, env, bound), xi)

    return map_cells(one, g.n, s.z[g.index], _mapped(env), {"cell": s.ready["bound"][f"group{g.index}"], **bound}, xi)


def _tags(program, g):
    return {x.tag for x in (*program.slots_of(g), *program.terminals_of(g))}


def _staged(s, method, groups, start, t, dt):
    """Groups that share a multi-stage method step together; couplings are evaluated again at every stage."""
    program = s.program
    mine = {g.index: start[g.index] for g in groups}

    def slope(z, t):
        everything = {**start, **z}
        env = couplings(s, everything, t, False)
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
        env = couplings(s, {**s.z, **z}, t, False)
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
    values = {**_edge_environment(s, block, start), **_plain(env[block.group.index])}

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
    held = _held(s, g)
    for name in rule.holds:
        s.z[g.index][name] = jnp.where(held, start[name], s.z[g.index][name])


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
            env = couplings_light(s)
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
            fired = jnp.where(_held(s, g), jnp.zeros_like(fired), fired)
            count = jnp.maximum(s.old["refractory"][g.index] - 1, 0)
            refractory[g.index] = jnp.where(fired > 0.5, s.ready["refractory"][g.index], count)
        if "reset" in g.model.__methods__:
            _reset(s, g, fired, env[g.index])
        spikes[g.index] = fired
    s.new["refractory"] = refractory
    return spikes


def couplings_light(s):
    """Inputs as spike and reset methods see them: drives only."""
    env = {}
    t = s.time() + s.program.dt
    for g in s.program.groups:
        env[g.index] = {
            "t": t,
            "dt": jnp.asarray(s.program.dt, dtype()),
            **{f"in/{n}": s.ready["inputs"][g.index][n] for n in g.model.__inputs__},
        }
    for name, (_, _, place) in s.drives.items():
        if place is not None:
            group, member, key = place
            value = s.values[name]
            if member.n != group.n:
                value = jnp.zeros((group.n,), dtype()).at[member.start : member.stop].set(value)
            env[group.index][key] = env[group.index][key] + value
    return env


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
    from .program import axes_of

    return jax.vmap(one, in_axes=(axes_of(z), axes_of(env), axes_of(bound), 0), axis_size=g.n)(z, env, bound, keys)


def _reset(s, g, fired, env):
    def one(z, env, bound):
        changed = g.model.__bind__(bound).call("reset", _available(g, z, env))
        return {k: jnp.asarray(v, dtype()) for k, v in changed.items()}

    z = s.z[g.index]
    changed = map_cells(one, g.n, z, env, s.ready["bound"][f"group{g.index}"])
    for name, value in changed.items():
        z[name] = blend(fired, z[name], value, s.program.smooth)


def remember(s: Step, spikes):
    """Write what was sent in this step into the histories."""
    program = s.program
    history = dict(s.old["history"])
    if "spikes" in history:
        history["spikes"] = _push(history["spikes"], all_spikes(program, spikes), s.now)
    for name, sender in program.sent.items():
        values = _values_at_source(s, sender, spikes)
        if values is not None:
            history[name] = _push(history[name], values, s.now)
    s.new["history"] = history
    sent = dict(s.old["sent"])
    env = None
    for c in program.couplings:
        if c.depth:
            env = env or {g.index: {"t": s.time(), "dt": jnp.asarray(program.dt, dtype())} for g in program.groups}
            now = outputs(s, c.terminal, s.z, env, c.moving)
            sent[c.tag] = {k: _push(h, now[k], s.now) for k, h in sent[c.tag].items()}
    s.new["sent"] = sent


def all_spikes(program, spikes):
    """Spikes of all sources by their global id."""
    sources = [spikes[g.index] for g in program.groups if g.source_start is not None]
    return sources[0] if len(sources) == 1 else jnp.concatenate(sources)


def _push(history, row, now):
    if history.shape[0] == 1:
        return row[None]
    return jax.lax.dynamic_update_index_in_dim(history, row, jnp.mod(now, history.shape[0]), 0)


def _values_at_source(s, sender, spikes):
    """Spikes times what `on_pre` computes at the source, for unit weight; and the increments of source states."""
    g, terminal = sender.terminal.group, sender.terminal
    fired = spikes[g.index]

    def one(z, bound):
        synapse = terminal.synapse.__bind__(bound)
        values = {
            **cell.terminal_values(terminal, z, {"t": s.time(), "dt": jnp.asarray(s.program.dt, dtype())}),
            "w": jnp.ones((), dtype()),
        }
        return {k: jnp.asarray(v, dtype()) for k, v in synapse.call("on_pre", values).items()}

    made = map_cells(one, g.n, s.z[g.index], s.ready["bound"][terminal.tag])
    for key in sender.own:
        name = f"{terminal.tag}/{key}"
        s.z[g.index][name] = s.z[g.index][name] + fired * made[key]
    if sender.key is None:
        return None
    whole = jnp.zeros((s.program.layout.n_sources,), dtype())
    return jax.lax.dynamic_update_slice(whole, fired * made[sender.key], (g.source_start,))
