"""What the online derivatives cover; every other network is refused with what to write instead."""

import jax.numpy as jnp

from ..adjoint import SLTT
from ..errors import RunError
from ..transmission import spikes


def check(sim, names, adjoint):
    """Raise RunError for networks, records and parameters whose online derivatives would be wrong or incomplete."""
    program, what = sim.program, type(adjoint).__name__
    other = "differentiate sim.run(..., adjoint=bs.BPTT())"
    if program.learners:
        raise RunError(f"{what} is not defined where {program.learners[0].projection!r} learns; {other}")
    for c in program.couplings:
        if c.depth:
            raise RunError(
                f"{what} cannot follow {c.projection!r}: its cells send values with a delay; use delay=0, or {other}"
            )
    if isinstance(adjoint, SLTT):
        return
    for c in program.couplings:
        if not spikes(c.slot.group):
            raise RunError(
                f"{what} cannot follow {c.projection!r}: the readout {c.slot.group.label!r} receives values and not "
                f"spikes; {other}"
            )
    for e in program.edge_blocks:
        raise RunError(f"{what} cannot follow {e.projection!r}: it has equations on its edges; {other}")
    for x in program.procedural:
        raise RunError(f"{what} cannot follow {x.projection.name!r}: it regenerates its edges; {other}")
    for b in program.bundles:
        for p in b.parts:
            if p.kernel is not None:
                raise RunError(f"{what} cannot follow the learnable delays of {p.name!r}; give fixed ones, or {other}")
    for r in sim.recorders:
        if r.kind != "spikes" and r.path[0] not in ("z", "rate"):
            raise RunError(f"{what} cannot use the record {r.name!r}; record states of cells and spikes, or {other}")
    for name in names:
        _check_name(sim, name, what, other)


def _check_name(sim, name, what, other):
    program, x = sim.program, sim.params[name]
    coupled = {program.weights[c.projection][1]: c.projection for c in program.couplings}
    if name in coupled and jnp.ndim(x):
        raise RunError(f"{what} has no eligibilities for {name!r}, weights of a coupling by values; {other}")
    if name.rpartition(".")[0] in program.drives:
        raise RunError(f"{what} cannot differentiate by {name!r}, a parameter of an input; {other}")
    if not jnp.ndim(x) or name in {program.weights[p.name][1] for b in program.bundles for p in b.parts if b.per_edge}:
        if jnp.ndim(x) and program.derived:
            raise RunError(f"{what} needs to know what {name!r} enters, but parameters are derived; {other}")
        return
    found = stretches(program, name)
    if not found or program.derived or any(b - a != x.shape[0] for _, a, b in found):
        raise RunError(
            f"{what} needs one value per target cell in {name!r}, which has shape {x.shape}; give one value for all, "
            f"or {other}"
        )


def stretches(program, name) -> list[tuple[int, int, int]]:
    """Where the entries of an array parameter act: (group, first cell, end)."""
    out, layout = [], program.layout
    for g in layout.groups:
        for names in g.leaves.values():
            out += [(g.index, m.start, m.stop) for m, leaf in zip(g.members, names, strict=True) if leaf == name]
        for m in g.members:
            out += [(g.index, m.start, m.stop) for s in g.model.__states__ if f"{m.name}.{s}(0)" == name]
    for slot in layout.slots:
        for spans in slot.leaves.values():
            out += [(slot.group.index, *span) for span, leaf in spans.items() if leaf == name]
        for p in slot.projections:
            mine = [s for s, spec in slot.synapse.__states__.items() if spec.on == "post" and f"{p}.{s}(0)" == name]
            out += [(slot.group.index, *slot.spans[p]) for _ in mine]
    for t in layout.terminals:
        own = name in t.leaves.values()
        own |= any(
            f"{p}.{s}(0)" == name for p in t.projections for s, x in t.synapse.__states__.items() if x.on == "pre"
        )
        out += [(t.group.index, t.member.start, t.member.stop)] if own else []
    for b in program.bundles:
        for p in b.parts:
            if program.weights[p.name][1] == name and not b.per_edge:
                out.append((layout.slot_of[p.name].group.index, p.offset, p.offset + p.projection.post.n))
    return list(dict.fromkeys(out))
