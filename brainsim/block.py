"""All steps of a window as one function of the cell, where no cell sees another one within them.

The equations of a few hundred cells cost less than the calls that a step consists of. Here one call makes
`program.levels[0]` steps: it gets the sums of the couplings of all of them, and gives back what each of them sends and
what is recorded.
"""

import jax
import jax.numpy as jnp

from .cell_step import integrate_and_fire
from .environment import couplings, outputs_of
from .ops.dispatch import chosen
from .ops.fused import View
from .ops.fused_primitive import map_scalars_p
from .program import dtype, map_cells
from .timestep import Step, bound_of, is_local, noise_of
from .windows import BLOCK, write_block


def may_be_blocks(program) -> bool:
    """Whether steps of this network interact through delayed couplings alone: nothing spikes, is driven by events,
    lives on edges, or acts without delay. The methods of the groups are asked later, by `makes_blocks`."""
    others = (program.receivers, program.edge_blocks, program.procedural, program.drives, program.sent, program.lags)
    spiking = any("spike" in g.model.__methods__ for g in program.groups)
    moving = [c for c in program.couplings if c.moving]
    # what is computed from the time may be rounded in another way
    timed = any("t" in c.terminal.synapse.__methods__["output"] for c in moving)
    return not any((*others, program.learners)) and not spiking and not timed and all(c.delay != 0 for c in moving)


def makes_blocks(program, topology, ready, state, seed, recorders, drives) -> bool:
    """Whether the loop of a run can go in blocks; only native functions have the same bits in a block as alone."""
    if not _might(program, topology, recorders, drives):
        return False
    sums = lambda c: {k: jnp.zeros((program.levels[0], c.slot.group.n), dtype()) for k in c.moving}
    far = {c.tag: sums(c) for c in program.couplings}
    block = lambda state: advance_block(program, topology, ready, state, seed, far, 0, {})
    found = [e for e in jax.make_jaxpr(block)(state).eqns if e.primitive is map_scalars_p]
    return len(found) == len(program.groups)  # a function without a native form is none of them


def _might(program, topology, recorders, drives) -> bool:
    if not program.levels or program.levels[0] > BLOCK or drives or not may_be_blocks(program):
        return False
    near = any(topology[c.tag]["near"]["indices"].shape[0] for c in program.couplings if c.depth and c.moving)
    seen = all(r.path[:1] == ("z",) for r in recorders)
    native = chosen(jax.default_backend()) == "native"
    return native and seen and not near and all(is_local(program, g) for g in program.groups)


def advance_block(program, topology, ready, state, seed, far, place, recorded):
    """The state after all steps of the shortest window, and the recorded states after every step.

    Args:
        far: tag -> key -> (steps, n_post) sums of the couplings.
        place: column of the first step in the histories of what is sent.
        recorded: group index -> names of states.

    Returns:
        state, [group index -> name -> (n,) for every step].
    """
    steps = [_one_step(program, topology, ready, state, seed, far, k) for k in range(program.levels[0])]
    new, sent, seen = {}, [{} for _ in steps], [{} for _ in steps]
    for g in program.groups:
        made = _group(program, g, steps, recorded.get(g.index, ()))
        new[g.index] = made["z"]
        for k in range(len(steps)):
            sent[k].update(made["sent"][k])
            seen[k][g.index] = made["seen"][k]
    histories = dict(state["sent"])
    for c in program.couplings:
        if c.depth:
            values = lambda key, c=c: [one[c.tag][key] for one in sent]
            histories[c.tag] = {key: write_block(h, values(key), place) for key, h in histories[c.tag].items()}
    return {**state, "z": new, "sent": histories, "step": state["step"] + len(steps)}, seen


def _one_step(program, topology, ready, state, seed, far, k):
    """What step k shares with others, and its environment."""
    shared = [c.slot.tag for c in program.couplings]
    row = lambda x: View(x.reshape(-1), k * x.shape[1])
    alone = {c.tag for c in program.couplings if shared.count(c.slot.tag) == 1}
    sums = {tag: jax.tree.map(row if tag in alone else lambda x: x[k], own) for tag, own in far.items()}
    s = Step(program, topology, ready, {**state, "step": state["step"] + k}, {}, seed, sums)
    s.values = {}
    return s, couplings(s, s.z, s.time())


def _group(program, g, steps, recorded):
    """All steps of one group in one call."""
    first, common = steps[0][0], steps[0][1][g.index]
    same = {k for k in common if all(env[g.index][k] is common[k] for _, env in steps)} | {"dt"}
    own = [{k: v for k, v in env[g.index].items() if k not in same} for _, env in steps]
    common = {k: v for k, v in common.items() if k in same}
    leaving = [c for c in program.couplings if c.depth and c.terminal.group is g]
    after = [{"t": s.time() + program.dt, "dt": jnp.asarray(program.dt, dtype())} for s, _ in steps]

    def one(z, common, own, bound, xi, table, after):
        sent, seen = [], []
        for here, noise, clock in zip(own, xi, after):
            z = integrate_and_fire(program, g, z, {}, {**common, **here}, bound, noise, table, {})["z"]
            sent.append({c.tag: outputs_of(c.terminal, z, clock, bound[c.terminal.tag], c.moving) for c in leaving})
            seen.append({k: z[k] for k in recorded})
        return {"z": z, "sent": sent, "seen": seen}

    before, xi = first.z[g.index], [noise_of(s, g) for s, _ in steps]
    kept = [(f"[0]['{k}']", f"['z']['{k}']") for k in before]
    table = first.ready["propagators"].get(g.index, {})
    return map_cells(one, g.n, before, common, own, bound_of(first, g), xi, table, after, kept=kept)
