"""Procedural projections in a program: which operator calls serve them, with which weights and delays."""

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .connectivity import fixed_probability
from .delivery import check_memory, place_of
from .distributions import normal
from .grid import to_steps
from .procedural_rule import ProceduralProjection, leaves, operator_rule
from .program import dtype


@dataclass(frozen=True, eq=False)
class Stream:
    """One operator call: one increment of one procedural projection."""

    index: int
    projection: ProceduralProjection
    key: str
    sends: str
    source: int  # global id of the first source cell
    start: int  # of the first target in the vector of receivers
    delay: int | None  # None: drawn per edge
    rule: Any
    sheet: int | None  # vector over all receivers that this call adds to; None: a ring of its own

    @property
    def tag(self):
        return f"procedural{self.index}"

    @property
    def span(self):
        return self.start, self.start + len(self.projection.post)

    @property
    def slots(self):
        return self.rule.delays.high + 1

    @property
    def normal(self):
        return isinstance(self.projection.weight_values, normal)


def delay_steps(p: ProceduralProjection, dt, strict, report) -> int | None:
    """The delay in whole steps, None where it is drawn per edge; one off the grid is reported."""
    if p.delay_drawn:
        return None
    steps, off = to_steps(p.delay_values, dt)
    if off:
        report(p.name, 1, float(abs(steps * dt - p.delay_values)), strict)
    return int(steps)


def plan(layout, projections, receivers, sends, steps, dt) -> list[Stream]:
    """The operator calls of all procedural projections; arguments as in `delivery.plan`."""
    place, made = {(r.kind, r.index, r.state): r for r in receivers}, []
    n_receive = sum(r.n for r in receivers)
    for p in projections:
        (group, member), (_, target) = layout.where[p.pre.name], layout.where[p.post.name]
        rule = operator_rule(p, dt)
        if rule.delays is not None:
            check_memory("ring", rule.delays.high + 1, len(p.post), 4, rule.delays.high * dt)
        for key, sent in sends[p.name].items():
            start = place[place_of(layout, p, key)].start + target.start + int(p.post.index[0])
            source = group.source_start + member.start + int(p.pre.index[0])
            sheet = None if rule.delays is not None else _free_sheet(made, start, start + len(p.post))
            there = rule if sheet is None else replace(rule, first_target=start)
            there.placed(p.name, len(p.post) if sheet is None else n_receive)
            made.append(Stream(len(made), p, key, sent, source, start, steps[p.name], there, sheet))
    return made


def _free_sheet(streams, start, stop) -> int:
    """The first sheet on which no call reaches these receivers: each receiver has one factor for its sum."""
    taken = {s.sheet for s in streams if s.span[0] < stop and start < s.span[1]}
    return next(i for i in range(len(streams) + 1) if i not in taken)


def sheets(program) -> list[list[Stream]]:
    """The calls that add to each sheet."""
    numbers = sorted({s.sheet for s in program.procedural} - {None})
    return [[s for s in program.procedural if s.sheet == i] for i in numbers]


def topology(program) -> dict:
    """Keys of the streams, and the starts of rows where the rule needs them."""
    from .ops.procedural import row_starts

    made = {}
    for stream in program.procedural:
        p = stream.projection
        made[stream.tag] = {"key": np.asarray(p.key)}
        if stream.rule.needs_starts:
            rule = replace(stream.rule, first_target=0)
            made[stream.tag]["starts"] = row_starts(p.key, rule, len(p.pre), len(p.post))
    return made


def longest(program) -> int:
    """Largest delay that is read from the history."""
    return max((s.delay for s in program.procedural if s.delay is not None), default=0)


def rings(program) -> dict:
    """Rings of future inputs, for delays per edge."""
    return {s.tag: jnp.zeros((s.slots, len(s.projection.post)), dtype()) for s in program.procedural if s.delay is None}


def weights(program, params, at_arrival, effective_weight) -> dict:
    """Weights of every call; and what its sums are multiplied by, for sheets as one vector over all receivers."""
    made = {}
    for stream in program.procedural:
        p, cls, scale = stream.projection, type(stream.projection.synapse), jnp.ones((), dtype())
        given = [jnp.asarray(params[name], dtype()) for name in leaves(p)]
        w = jnp.ones((), dtype()) if stream.normal else given[0]
        if stream.sends == "spikes":
            values = at_arrival(params, program.layout.slot_of[p.name], p.name, None, p.post.n)
            scale = effective_weight(program.dt, cls, w, values, stream.key, p.post.n)
            scale = scale[p.post.index[0] : p.post.index[0] + len(p.post)] if jnp.ndim(scale) else scale
        elif not stream.normal:
            scale = w
        made[stream.tag] = {"edge": jnp.stack(given) if stream.normal else jnp.ones((), dtype()), "scale": scale}
    for i, members in enumerate(sheets(program)):
        whole = jnp.zeros((program.n_receive,), dtype())
        for s in members:
            part = jnp.broadcast_to(made[s.tag].pop("scale"), (len(s.projection.post),))
            whole = jax.lax.dynamic_update_slice(whole, part, (s.start,))
        made[f"sheet{i}"] = {"scale": whole}
    return made


def arrive(s, arrived, sent_of):
    """What arrives through procedural projections in this step, added to the receivers."""
    for i, members in enumerate(sheets(s.program)):
        sheet = jnp.zeros((1, s.program.n_receive), dtype())
        for stream in members:
            sheet = _deliver(s, stream, sheet, sent_of)
        arrived = arrived + sheet[0] * s.ready["weights"][f"sheet{i}"]["scale"]
    for stream in s.program.procedural:
        if stream.sheet is not None:
            continue
        ring = _deliver(s, stream, s.old["rings"][stream.tag], sent_of)
        slot = jnp.mod(s.now, ring.shape[0])
        total = jax.lax.dynamic_index_in_dim(ring, slot, keepdims=False)
        ring = jax.lax.dynamic_update_index_in_dim(ring, jnp.zeros_like(total), slot, 0)
        s.new["rings"] = {**s.new["rings"], stream.tag: ring}
        total = jax.lax.slice_in_dim(arrived, *stream.span) + total * s.ready["weights"][stream.tag]["scale"]
        arrived = jax.lax.dynamic_update_slice(arrived, total, (stream.start,))
    return arrived


def _deliver(s, stream, ring, sent_of):
    """The ring with what the sources of one call sent."""
    from .ops.procedural import ring_deliver_procedural

    rows, weight = s.topology[stream.tag], s.ready["weights"][stream.tag]["edge"]
    first, last = stream.source, stream.source + len(stream.projection.pre)
    mine = lambda what: jax.lax.slice_in_dim(sent_of(s, what, stream.delay or 0), first, last)
    # what a source computes at a spike has a derivative of its own, wherever the spike's is zero
    tracked = stream.sends == "spikes" and "active" in s.old["history"]
    sent, active = mine(stream.sends), mine("active") if tracked else None
    more = dict(starts=rows.get("starts"), active=active)
    return ring_deliver_procedural(ring, sent, weight, rows["key"], stream.rule, s.now, **more)


def explained(program) -> list[str]:
    """Lines of `sim.explain()`."""
    lines = []
    for s in program.procedural:
        p = s.projection
        when = "one delay per edge, drawn with it" if s.delay is None else f"after {s.delay * program.dt:g} ms"
        weight = "normal weights, drawn with the edges" if s.normal else "one weight, applied to the sums"
        about = "about " * isinstance(p.rule, fixed_probability)
        lines += [
            f"  {p.name}: {about}{p.n_edges} edges of {p.rule!r}, not stored",
            f"    procedural: the targets of a row are drawn again whenever it spikes; {when}; {weight}",
        ]
    return lines
