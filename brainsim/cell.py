"""The equations of one cell with everything attached to it, as one system of scalars that the integrators step: its own
states, the target side of its incoming synapses and the source side of its outgoing ones."""

from .layout import Group
from .program import Program


def state_names(program: Program, group: Group) -> list[str]:
    """Names of the scalar states of one cell: "v", "slot0/g", "terminal1/s"."""
    names = list(group.model.__states__)
    for slot in program.slots_of(group):
        names += [f"{slot.tag}/{s}" for s, spec in slot.synapse.__states__.items() if spec.on == "post"]
    for terminal in program.terminals_of(group):
        names += [f"{terminal.tag}/{s}" for s, spec in terminal.synapse.__states__.items() if spec.on == "pre"]
    return names


def per_target(synapse) -> bool:
    """Whether the current of a synapse can be evaluated once per target cell."""
    edge = {n for n, s in synapse.__states__.items() if s.on in ("edge", "pre")}
    return not any(a == "w" or a in edge or a.endswith("_pre") for a in synapse.__methods__.get("current", ()))


def partner(args, end, z):
    """Values of the `<state>_pre` or `<state>_post` arguments from the states of the cell."""
    return {a: z[a[: -len(end)]] for a in args if a.endswith(end)}


def inputs_of(program: Program, group: Group, z: dict, env: dict, bound: dict) -> dict:
    """Every input of one cell: drives, currents of its synapses, and the linearised currents evaluated on edges."""
    inputs = {name: env[f"in/{name}"] for name in group.model.__inputs__}
    for slot in program.slots_of(group):
        if "current" not in slot.synapse.__methods__ or not per_target(slot.synapse):
            continue
        synapse = slot.synapse.__bind__(bound[slot.tag])
        available = slot_values(slot, z, env)
        current = synapse.call("current", available)
        if slot.tag + "/mask" in env:
            current = current * env[slot.tag + "/mask"]
        inputs[slot.into] = inputs[slot.into] + current
    for block in program.edge_blocks:
        if block.group is group and f"{block.tag}/value" in env:
            value = env[f"{block.tag}/value"]
            for state in block.reads_post:
                value = value + env[f"{block.tag}/slope/{state}"] * (z[state] - env[f"{block.tag}/at/{state}"])
            inputs[block.into] = inputs[block.into] + value
    return inputs


def slot_values(slot, z, env):
    """What the methods of a synapse can ask for on the target side."""
    own = {s: z[f"{slot.tag}/{s}"] for s, spec in slot.synapse.__states__.items() if spec.on == "post"}
    sums = {k: env[f"{slot.tag}/sum/{k}"] for k in slot.synapse.__outputs__}
    asked = {a for args in slot.synapse.__methods__.values() for a in args}
    seen = {a: z[a[:-5]] for a in asked if a.endswith("_post") and a[:-5] in z}
    return {**sums, **own, **seen, "t": env["t"], "dt": env["dt"]}


def terminal_values(terminal, z, env):
    """What the methods of a synapse can ask for on the source side."""
    own = {s: z[f"{terminal.tag}/{s}"] for s, spec in terminal.synapse.__states__.items() if spec.on == "pre"}
    asked = {a for args in terminal.synapse.__methods__.values() for a in args}
    seen = {a: z[a[:-4]] for a in asked if a.endswith("_pre") and a[:-4] in z}
    return {**own, **seen, "t": env["t"], "dt": env["dt"]}


def derivative(program: Program, group: Group, z: dict, env: dict, bound: dict) -> dict:
    """Time derivative of every continuous state of one cell."""
    neuron = group.model.__bind__(bound["cell"])
    own = {s: z[s] for s in group.model.__states__}
    available = {
        **own,
        **inputs_of(program, group, z, env, bound),
        "t": env["t"],
        "dt": env["dt"],
        "key": env.get("key"),
    }
    out = {s: neuron.call("d" + s, available) for s in own if "d" + s in group.model.__methods__}
    for place, on, values in (
        *((s, "post", slot_values) for s in program.slots_of(group)),
        *((t, "pre", terminal_values) for t in program.terminals_of(group)),
    ):
        names = [n for n, spec in place.synapse.__states__.items() if spec.on == on and not spec.jump]
        if names:
            synapse, here = place.synapse.__bind__(bound[place.tag]), values(place, z, env)
            out.update({f"{place.tag}/{n}": synapse.call("d" + n, here) for n in names})
    return out


def diffusion(program: Program, group: Group, z: dict, env: dict, bound: dict) -> dict:
    """Diffusion coefficients of the noisy states of one cell, in unit/sqrt(ms)."""
    methods = [m for m in group.model.__methods__ if m.startswith("noise_")]
    if not methods:
        return {}
    neuron = group.model.__bind__(bound["cell"])
    own = {s: z[s] for s in group.model.__states__}
    available = {**own, **inputs_of(program, group, z, env, bound), "t": env["t"], "dt": env["dt"]}
    return {m[len("noise_") :]: neuron.call(m, available) for m in methods}
