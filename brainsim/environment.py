"""What the equations of a cell can read at one point in time: drives, weighted sums, currents evaluated on edges."""

import jax
import jax.numpy as jnp

from . import cell, windows
from .coupling import delayed_sums, sum_on_targets, weighted_sums
from .program import dtype, map_cells
from .transmission import from_others


def couplings(s, z, t):
    """Environment of every group at the point z: drives, weighted sums, currents on edges, linearised in the target."""
    program = s.program
    env = {g.index: {"t": t, "dt": jnp.asarray(program.dt, dtype())} for g in program.groups}
    for g in program.groups:
        env[g.index].update({f"in/{n}": s.ready["inputs"][g.index][n] for n in g.model.__inputs__})
        env[g.index].update(s.ready["masks"].get(g.index, {}))
    for name, (_, _, place) in s.drives.items():
        if place is not None and not place[2].startswith("rule/"):
            group, member, key = place
            value = s.values[name]
            if key.startswith("nudge/"):
                _nudge(env[group.index], key, group, member, value)
                continue
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


def _nudge(env, key, group, member, value):
    """Rate and value for the cells of one population, 0 for the others of its group."""
    for part, x in zip(("rate", "value"), value, strict=True):
        have = env.get(f"{key}/{part}", jnp.zeros((group.n,), dtype()))
        env[f"{key}/{part}"] = have.at[member.start : member.stop].set(x)


def clock(env):
    return {"t": env["t"], "dt": env["dt"]}


def outputs(s, terminal, z, env, keys):
    """What every cell of the source group sends."""
    g = terminal.group
    one = lambda zc, envc, bound: outputs_of(terminal, zc, envc, bound, keys)
    return map_cells(one, g.n, z[g.index], clock(env[g.index]), s.ready["bound"][terminal.tag])


def outputs_of(terminal, z, env, bound, keys):
    """What one cell sends."""
    sent = terminal.synapse.__bind__(bound).call("output", cell.terminal_values(terminal, z, env))
    return {k: jnp.asarray(sent[k], dtype()) for k in keys}


def _coupling_sums(s, c, z, env, sent):
    rows = s.topology[c.tag]
    weights = s.ready["weights"][c.tag]["edge"] if c.learner is None else weights_now(s, c)[rows["order"]]
    total = dict(s.ready["fixed"].get(c.tag, {}))
    if not c.moving:
        return total
    if c.delay == 0:
        if (c.terminal.tag, c.moving) not in sent:
            sent[c.terminal.tag, c.moving] = outputs(s, c.terminal, z, env, c.moving)
        values = from_others(s.ready, c.slot.group, sent[c.terminal.tag, c.moving])
        return {**total, **weighted_sums(values, weights, rows)}
    history, far = from_others(s.ready, c.slot.group, s.old["sent"][c.tag]), s.far.get(c.tag, {})
    if c.tag in s.ready["delays"]:
        rows = {**rows, "delays": s.ready["delays"][c.tag]}
    if "near" in rows:
        near = delayed_sums(history, s.place, s.ready["weights"][c.tag]["near"], rows["near"])
    elif c.delay is None:
        near = delayed_sums(history, s.place, weights, rows)
    else:
        near = weighted_sums({k: windows.read(h, s.place, c.delay) for k, h in history.items()}, weights, rows)
    both = {k: near[k] + far[k] if k in near and k in far else near.get(k, far.get(k)) for k in (*near, *far)}
    return {**total, **{k: jnp.zeros((c.slot.group.n,), dtype()) for k in c.moving}, **both}


def edge_environment(s, block, z):
    """Everything an equation on an edge can ask for, one value per edge."""
    rows = s.topology[block.tag]
    near, across = edge_ends(s, block, z, {a for args in block.synapse.__methods__.values() for a in args})
    env = {**s.edges[block.tag], **{k: x[rows["pre"]] for k, x in near.items()}}
    env.update({k: x[rows["post"]] for k, x in across.items()})
    return {**env, "w": edge_weights(s, block)}


def edge_ends(s, block, z, asked):
    """(values of the source group, values of the target group) that are among the names `asked`."""
    source, target = z[block.source.index], z[block.group.index]
    slot = s.program.layout.slot_of[block.projection]
    terminal = s.program.layout.terminal_of.get(block.projection)
    on = {name: spec.on for name, spec in block.synapse.__states__.items() if name in asked}
    near = {name: source[f"{terminal.tag}/{name}"] for name, end in on.items() if end == "pre"}
    across = {name: target[f"{slot.tag}/{name}"] for name, end in on.items() if end == "post"}
    near.update({a: source[a[:-4]] for a in asked if a.endswith("_pre") and a[:-4] in source})
    across.update({a: target[a[:-5]] for a in asked if a.endswith("_post") and a[:-5] in target})
    return from_others(s.ready, block.group, near), across


def edge_weights(s, block):
    return s.ready["weights"][block.tag]["edge"] if block.learner is None else weights_now(s, block)


def weights_now(s, plastic):
    """Weights that learn, in the order of their edges."""
    return s.old["plastic"][plastic.learner]["w"]


def _edge_currents(s, block, z, env):
    rows, here = s.topology[block.tag], env[block.group.index]
    point = edge_environment(s, block, z)
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
