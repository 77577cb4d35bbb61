"""Who lives where: populations of one model class become one array, synapses with shared dynamics one state per target.

Merging goes by class, integrator and shared parameter leaf, never by equal values, which gradients and sweeps would
separate.
"""

from dataclasses import dataclass, field

import numpy as np

from .errors import ParameterError
from .network import Network


@dataclass(frozen=True)
class Member:
    """A population inside a group."""

    name: str
    start: int
    n: int

    @property
    def stop(self):
        return self.start + self.n


@dataclass(eq=False)
class Group:
    """Populations of one model class in one array of n cells."""

    index: int
    model: type
    method: str | None
    members: list[Member] = field(default_factory=list)
    leaves: dict[str, list[str]] = field(default_factory=dict)
    source_start: int | None = None

    @property
    def n(self):
        return sum(m.n for m in self.members)

    @property
    def label(self):
        return "+".join(m.name for m in self.members)


@dataclass(eq=False)
class Slot:
    """Target side of synapses: post states, weighted sums and current, one per cell of a group."""

    index: int
    synapse: type
    group: Group
    into: str
    pieces: list[tuple[int, int, str]] = field(default_factory=list)
    leaves: dict[str, dict[tuple[int, int], str]] = field(default_factory=dict)
    projections: list[str] = field(default_factory=list)
    spans: dict[str, tuple[int, int]] = field(default_factory=dict)
    models: dict[tuple[int, int], object] = field(default_factory=dict)  # the synapse object of every piece

    @property
    def tag(self):
        return f"slot{self.index}"


@dataclass(eq=False)
class Terminal:
    """Source side of synapses: pre states and outputs of one population."""

    index: int
    synapse: type
    group: Group
    member: Member
    leaves: dict[str, str] = field(default_factory=dict)
    projections: list[str] = field(default_factory=list)

    @property
    def tag(self):
        return f"terminal{self.index}"


@dataclass(eq=False)
class Layout:
    groups: list[Group]
    slots: list[Slot]
    terminals: list[Terminal]
    where: dict[str, tuple[Group, Member]]
    slot_of: dict[str, Slot]
    terminal_of: dict[str, Terminal]
    params: dict[str, np.ndarray]
    alias: dict[str, str]
    patterns: dict[int, dict] = field(default_factory=dict)

    @property
    def n_sources(self):
        return sum(g.n for g in self.groups if g.source_start is not None)


def owner_leaves(entries):
    """Leaf name of every parameter of every owner: owners that hold one model object share its leaves.

    Args:
        entries: (owner name, model, values drawn for this owner) in the order of definition.
    """
    first: dict[int, str] = {}
    leaf: dict[tuple[str, str], str] = {}
    params, alias = {}, {}
    for name, model, drawn in entries:
        owner = first.setdefault(id(model), name)
        for key in type(model).__params__:
            own = f"{name}.{key}"
            if key in drawn:
                leaf[name, key], params[own] = own, drawn[key]
            else:
                shared = f"{owner}.{key}"
                leaf[name, key], params[shared] = shared, np.asarray(getattr(model, key), float)
                if shared != own:
                    alias[own] = shared
    return leaf, params, alias


def lay_out(net: Network) -> Layout:
    """Groups, slots and terminals of a network, and its parameters by name."""
    leaf, params, alias = owner_leaves([(p.name, p.model, p.values) for p in net.populations.values()])
    groups: dict[tuple, Group] = {}
    where = {}
    for p in net.populations.values():
        group = groups.setdefault((type(p.model), p.method), Group(len(groups), type(p.model), p.method))
        member = Member(p.name, group.n, p.n)
        group.members.append(member)
        where[p.name] = (group, member)
        for key in type(p.model).__params__:
            group.leaves.setdefault(key, []).append(leaf[p.name, key])
    start = 0
    for group in groups.values():
        if "spike" in group.model.__methods__:
            group.source_start, start = start, start + group.n
    leaf, more, other = owner_leaves([(p.name, p.synapse, p.values) for p in net.projections.values()])
    params, alias = {**params, **more}, {**alias, **other}
    layout = Layout(list(groups.values()), [], [], where, {}, {}, params, alias)
    for projection in net.projections.values():
        _place_target(layout, projection, leaf)
        if projection.pre is not None and has_terminal(projection.synapse):
            _place_source(layout, projection, leaf)
    return layout


def has_terminal(synapse) -> bool:
    """Whether a synapse has anything on its source side."""
    cls = type(synapse)
    return "output" in cls.__methods__ or any(s.on == "pre" for s in cls.__states__.values())


def _place_target(layout, projection, leaf):
    group, member = layout.where[projection.post.name]
    cls, span = type(projection.synapse), (member.start, member.stop)
    mine = {k: leaf[projection.name, k] for k in cls.__params__}
    for slot in layout.slots:
        if slot.synapse is cls and slot.group is group and slot.into == projection.into:
            taken = {k: names.get(span) for k, names in slot.leaves.items()}
            if span not in slot.models or (taken == mine and slot.models[span] is projection.synapse):
                break
    else:
        slot = Slot(len(layout.slots), cls, group, projection.into)
        layout.slots.append(slot)
    if span not in slot.models:
        slot.models[span] = projection.synapse
        slot.pieces.append((*span, projection.name))
    for key, name in mine.items():
        slot.leaves.setdefault(key, {})[span] = name
    slot.projections.append(projection.name)
    slot.spans[projection.name] = span
    layout.slot_of[projection.name] = slot


def _place_source(layout, projection, leaf):
    group, member = layout.where[projection.pre.name]
    cls = type(projection.synapse)
    mine = {k: leaf[projection.name, k] for k in cls.__params__}
    for terminal in layout.terminals:
        if terminal.synapse is cls and terminal.member.name == member.name and terminal.leaves == mine:
            break
    else:
        terminal = Terminal(len(layout.terminals), cls, group, member, mine)
        layout.terminals.append(terminal)
    terminal.projections.append(projection.name)
    layout.terminal_of[projection.name] = terminal


def check_array_parameters(net: Network, layout: Layout):
    """Array parameters of a synapse must have one value per source, target or edge."""
    for p in net.projections.values():
        sizes = {"targets": p.post.n, "edges": p.n_edges} | ({"sources": p.pre.n} if p.pre else {})
        for key in type(p.synapse).__params__:
            shape = np.shape(getattr(p.synapse, key))
            if shape and (len(shape) != 1 or shape[0] not in sizes.values()):
                counts = ", ".join(f"{n} {what}" for what, n in sizes.items())
                raise ParameterError(f"{p.name}.{key} has shape {shape}; the projection has {counts}")
