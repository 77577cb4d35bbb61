"""Spikes to synapses: which operator call serves which projections, with which weights and delays.

Every place where spikes add something is a *receiver*: one number per cell of a target group (a post state of a slot,
or a state of the cells themselves). All receivers lie side by side in one flat vector, so one operator call serves many
projections. Calls differ by what they send (plain spikes, or values computed at the source), by delay (none or one for
all edges: read from the history of the sources; one per edge: a ring over the receivers) and by weights (one per edge,
or one per receiver, applied to the sums outside).
"""

from dataclasses import dataclass, field

import numpy as np

from .errors import CompileError
from .grid import to_steps
from .ops import pack_edges

MAX_HISTORIES = 4  # distinct delays read from the history; more go through the ring
MAX_BYTES = 4 * 2**30


@dataclass(frozen=True)
class Receiver:
    """A stretch of the flat vector: what arrives for one state of one target."""

    kind: str  # "slot" or "cell"
    index: int  # slot or group
    state: str
    start: int
    n: int


@dataclass(eq=False)
class Part:
    """The edges of one projection that feed one receiver."""

    projection: str
    key: str
    receiver: Receiver
    offset: int  # of the target population inside the receiver
    source: int  # global id of the first source cell
    pre: np.ndarray
    post: np.ndarray
    per_edge: bool
    steps: np.ndarray | int  # delay
    span: tuple[int, int]


@dataclass(eq=False)
class Bundle:
    """One operator call."""

    index: int
    sends: str  # "spikes" or the projection whose `on_pre` computes what is sent
    delay: int | None  # None: one per edge
    per_edge: bool
    parts: list[Part] = field(default_factory=list)
    slots: int = 1  # depth of the ring

    @property
    def tag(self):
        return f"bundle{self.index}"


def receivers_of(layout, projections) -> list[Receiver]:
    """All receivers, in order of first use."""
    found: dict[tuple, Receiver] = {}
    start = 0
    for p in projections:
        slot = layout.slot_of[p.name]
        for key in type(p.synapse).__increments__:
            if key.endswith("_post") and key not in type(p.synapse).__states__:
                place = ("cell", slot.group.index, key[: -len("_post")])
            elif type(p.synapse).__states__[key].on == "post":
                place = ("slot", slot.index, key)
            else:
                continue
            if place not in found:
                found[place] = Receiver(*place, start, slot.group.n)
                start += slot.group.n
    return list(found.values())


def plan(layout, projections, receivers, sends, delays) -> list[Bundle]:
    """Sort the edges of all event-driven projections into few operator calls.

    Args:
        projections: those whose increments arrive at target-side states.
        sends: projection name -> key -> "spikes" or the projection name (values computed at the source).
        delays: projection name -> int steps or int array per edge.
    """
    place = {(r.kind, r.index, r.state): r for r in receivers}
    parts = []
    for p in projections:
        group, member = layout.where[p.pre.name]
        _, target = layout.where[p.post.name]
        slot = layout.slot_of[p.name]
        for key in sends[p.name]:
            cell = key.endswith("_post") and key not in type(p.synapse).__states__
            r = place["cell", slot.group.index, key[:-5]] if cell else place["slot", slot.index, key]
            parts.append(
                (
                    sends[p.name][key],
                    Part(
                        p.name,
                        key,
                        r,
                        target.start,
                        group.source_start + member.start,
                        p.edges.pre,
                        p.edges.post,
                        bool(np.ndim(p.weight)) or _varies(p),
                        delays[p.name],
                        (r.start + target.start, r.start + target.stop),
                    ),
                )
            )
    many = len({int(p.steps) for _, p in parts if np.ndim(p.steps) == 0}) > MAX_HISTORIES
    bundles: list[Bundle] = []
    for send, part in parts:
        delay = None if np.ndim(part.steps) or (many and part.steps > 0) else int(part.steps)
        _assign(bundles, send, part, delay)
    for b in bundles:
        count = sum(len(p.post) for p in b.parts)
        if count > 2**31 - 1:
            raise CompileError(
                f"{count} edges in one operator call ({[p.projection for p in b.parts]}); at most 2**31 - 1"
            )
    return bundles


def _varies(projection) -> bool:
    """Whether a parameter of the synapse has one value per source or edge."""
    shapes = {np.shape(getattr(projection.synapse, key)) for key in type(projection.synapse).__params__}
    return bool(shapes - {(), (projection.post.n,)})


def _assign(bundles, send, part, delay):
    """Put a part into the first call that fits: scalar weights conflict where two meet at one receiver."""
    for b in bundles:
        if (b.sends, b.delay, b.per_edge) != (send, delay, part.per_edge):
            continue
        clash = any(q.span[0] < part.span[1] and part.span[0] < q.span[1] for q in b.parts)
        if part.per_edge or not clash:
            b.parts.append(part)
            return
    same = [b for b in bundles if (b.sends, b.delay) == (send, delay) and not b.per_edge]
    if not part.per_edge and len(same) >= 2:
        part.per_edge = True
        return _assign(bundles, send, part, delay)
    bundles.append(Bundle(len(bundles), send, delay, part.per_edge, [part]))


def rows(bundle, n_sources, n_receive):
    """Row pointers, receiver indices and delays of a bundle as arrays sorted by source; and the order of its edges.

    Returns:
        dict of int32 arrays `indptr` (n_sources + 1,), `indices` (n_edges,), `delays` if one per edge, `order` if the
        edges had to be permuted.
    """
    pre = np.concatenate([p.pre.astype(np.int32) + np.int32(p.source) for p in bundle.parts])
    post = np.concatenate([p.post.astype(np.int64) + p.receiver.start + p.offset for p in bundle.parts])
    made = {}
    order = None
    if len(bundle.parts) > 1 and np.any(np.diff(pre) < 0):
        order = np.argsort(pre, kind="stable").astype(np.int32)
        pre, post = pre[order], post[order]
        made["order"] = order
    counts = np.bincount(pre, minlength=n_sources)
    made["indptr"] = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    made["indices"] = post.astype(np.int32)
    if bundle.delay is None:
        steps = np.concatenate([np.broadcast_to(np.asarray(p.steps, np.int32), p.post.shape) for p in bundle.parts])
        steps = (steps if order is None else steps[order]).astype(np.int32)
        bundle.slots = int(steps.max(initial=0)) + 1
        if bundle.slots * n_receive < 2**31:
            # target and delay in one word: half the memory traffic of the hot loop
            made["indices"] = pack_edges(made["indices"], steps, n_receive, bundle.slots)
        else:
            made["delays"] = steps
    return made


def delay_steps(projection, dt, strict, report):
    """Delays in whole steps, checked; explicit values off the grid are reported."""
    delay = np.asarray(projection.delay, float)
    steps, off = to_steps(delay, dt)
    shift = np.abs(steps * dt - delay)
    if off.any() and not projection.delay_drawn:
        report(projection.name, int(off.sum()), float(shift.max()), strict)
    if steps.size and steps.max() > 2**30:
        raise CompileError(
            f"{projection.name}: a delay of {delay.max():g} ms is {steps.max():.3g} steps of {dt:g} ms; at most {2**30}"
        )
    steps = steps.astype(np.int32)
    return int(steps) if steps.ndim == 0 else steps


def check_memory(what, rows, cells, itemsize, longest):
    """Refuse buffers that cannot be meant."""
    need = rows * cells * itemsize
    if need > MAX_BYTES:
        raise CompileError(
            f"a delay of {longest:g} ms needs a {what} of {rows} steps x {cells} cells = {need / 2**30:.1f} GiB; "
            f"the limit is {MAX_BYTES / 2**30:.0f} GiB. Shorten the delay or enlarge dt"
        )
