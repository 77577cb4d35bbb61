"""Compiled plastic projections: who learns what, from which spikes, and the index arrays for it."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .delivery import Steps, every, place_of, span
from .dependence import dependencies
from .edge_events import in_pieces
from .errors import CompileError
from .grid import to_steps
from .layout import Group, Member, owner_leaves
from .plastic import Plastic
from .structure import index_arrays
from .wiring import by_default, needs_edges


@dataclass(eq=False)
class Rule:
    """One rule of a projection; `leaves` are its parameters by name."""

    cls: type
    leaves: dict[str, str]

    def states(self, *places):
        return [n for n, s in self.cls.__states__.items() if s.on in places]

    def has(self, method):
        return method in self.cls.__methods__

    def random(self, event):
        """Whether every edge draws random numbers at this event."""
        return "key" in self.cls.__methods__.get(event, ())


@dataclass(eq=False)
class Learner:
    """One plastic projection."""

    index: int
    projection: str
    synapse: type
    spec: Plastic
    rules: list[Rule]
    source: Group
    pre: Member
    group: Group
    post: Member
    delay: int | None  # steps; None: one per edge
    longest: int
    n_edges: int
    weight: str  # name of the initial weights
    deposits: list[tuple[str, Any]] = field(default_factory=list)  # increments at the target, and their receivers
    sends: dict[str, str] = field(default_factory=dict)  # what is sent for each of them

    @property
    def tag(self):
        return f"learner{self.index}"

    @property
    def axonal(self):
        return self.spec.delay_at == "axon"

    @property
    def pre_delay(self):
        """Steps after which the rules see a presynaptic spike; None: one delay per edge."""
        return self.delay if self.axonal else 0

    @property
    def post_delay(self):
        return 0 if self.axonal else self.delay

    @property
    def slots(self):
        """Depth of the ring that takes what is delivered: 1 where it acts at once."""
        return 1 if self.axonal else self.longest + 1

    @property
    def passes(self):
        """(end that spikes, other end, whether its values are those after its own spikes of this time), in order."""
        ties = self.spec.ties
        order = ("pre", "post") if ties in ("pre_first", "both") else ("post", "pre")
        return [(order[i], order[1 - i], ties == "both" or (i == 1 and ties != "neither")) for i in (0, 1)]

    def late(self, end):
        """Whether spikes and values of this end reach every edge after a delay of its own."""
        return self.delay is None and (end == "pre") == self.axonal

    @property
    def random(self):
        return any(rule.random(event) for rule in self.rules for event in ("on_pre", "on_post"))

    @property
    def spiking(self):
        """Whether its spikes move anything at the target."""
        return bool(self.deposits)

    def variables(self, end):
        """States of the cells at one end ("pre", "post") that rules read."""
        group, suffix = (self.source, "_pre") if end == "pre" else (self.group, "_post")
        asked = {a for r in self.rules for args in r.cls.__methods__.values() for a in args}
        own = {n for r in self.rules for n in r.cls.__states__}
        return sorted(a for a in asked - own if a.endswith(suffix) and a[: -len(suffix)] in group.model.__states__)


def learners(net, layout, receivers, steps, sends, dt) -> list[Learner]:
    """Every plastic projection of a network, in the order of definition."""
    plastic, made = [p for p in net.projections.values() if p.plastic is not None], []
    leaf, params, alias = owner_leaves([(p.name, rule, {}) for p in plastic for rule in p.plastic.rules])
    layout.params.update(params)
    layout.alias.update(alias)
    for p in plastic:
        rules = []
        for cls in map(type, p.plastic.rules):
            _check_increments(p.name, cls)
            rules.append(Rule(cls, {k: leaf[p.name, k] for k in cls.__params__}))
        d = steps[p.name]
        learner = Learner(
            len(made),
            p.name,
            type(p.synapse),
            p.plastic,
            rules,
            *layout.where[p.pre.name],
            *layout.where[p.post.name],
            None if isinstance(d, Steps) else d,
            span(d)[1],
            p.n_edges,
            f"{p.name}.weight",
        )
        if p.plastic.rewiring is not None:
            _check_rewiring(learner, p, dt)
        if p.name in sends:
            place = {(r.kind, r.index, r.state): r for r in receivers}
            for key, send in sends[p.name].items():
                learner.deposits.append((key, place[place_of(layout, p, key)]))
                learner.sends[key] = send
        made.append(learner)
    return made


def _check_rewiring(learner, p, dt):
    stride, off = to_steps(p.plastic.rewiring.every, dt)
    if off or stride < 1:
        raise CompileError(
            f"{p.name}: rewiring(every={p.plastic.rewiring.every:g}) is not a multiple of dt = {dt:g} ms; "
            f"write every={max(1, int(stride)) * dt:g}"
        )
    if learner.delay is None or "on_pre" not in type(p.synapse).__methods__ or needs_edges(type(p.synapse)):
        raise CompileError(
            f"{p.name}: only synapses that act on spikes at their target, with one delay for all edges, can rewire; "
            f"give one delay, or leave rewiring out"
        )


def _check_increments(name, cls):
    """What an event adds to the traces of a side is known on that side."""
    for event, end in (("on_pre", "pre"), ("on_post", "post")):
        mine = [k for k in cls.__increments__.get(event, ()) if k in cls.__states__ and cls.__states__[k].on == end]
        if not mine:
            continue
        asked = cls.__methods__[event]
        reached = dependencies(lambda v, event=event: by_default(cls).call(event, v), asked)
        states = cls.__states__
        for key in mine:
            for a in sorted(reached[key]):
                near = states[a].on in (end, "projection") if a in states else a in cls.__inputs__ or a in ("t", "dt")
                if not near and not a.endswith("_" + end):
                    raise CompileError(
                        f"{name}: {cls.__name__}.{event} adds to {key!r}, which lives on='{end}', something that "
                        f"depends on {a!r}, which is not known there; declare {key!r} on='edge'"
                    )


def topology(learner, projection, steps) -> dict:
    """Index arrays of a plastic projection; its edges are sorted by source.

    Returns:
        dict of int32 arrays: `indptr` (n_pre + 1,), `pre`, `post` (n_edges,) cells within their populations; by target:
        `columns` (n_post + 1,), `sources`, `order` (n_edges,) the edge of every entry; where each edge has a delay:
        `delays`, and on the axon `pieces`, `piece_post`, `piece_order`; where edges draw random numbers: `number`.
    """
    edges = projection.edges
    pre = np.repeat(np.arange(edges.n_pre, dtype=np.int32), np.diff(edges.indptr))
    made = index_arrays(pre, np.asarray(edges.post, np.int32), edges.n_pre, edges.n_post)
    if learner.random:
        made["number"] = np.arange(learner.n_edges, dtype=np.int32)
    if learner.delay is not None:
        return made
    order = made["order"]
    made["delays"] = delays = every(steps, learner.n_edges)
    if learner.axonal:
        # a row in pieces of one delay each; by target, an entry names source and delay in one word
        made.update(in_pieces(pre, made["post"], delays, edges.n_pre, learner.longest + 1))
        made["sources"] = made["sources"] + delays[order] * np.int32(edges.n_pre)
    return made
