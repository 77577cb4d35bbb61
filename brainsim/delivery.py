"""Spikes to synapses: which operator call serves which projections, with which weights and delays.

Every place where spikes add something is a *receiver*: one number per cell of a target group (a post state of a slot,
or a state of the cells themselves). All receivers lie side by side in one flat vector, so one operator call serves many
projections. Calls differ by what they send (plain spikes, or values computed at the source), by delay (none or one for
all edges: read from the history of the sources; one per edge: a ring over the receivers) and by weights (one per edge,
or one per receiver, applied to the sums outside). `packing.py` lays out their arrays.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from .errors import CompileError
from .grid import to_steps

MAX_HISTORIES = 4  # distinct delays read from the history; more go through the ring
MAX_BYTES = 4 * 2**30
MAX_DELAY = 2**30


@dataclass(frozen=True)
class Receiver:
    """A stretch of the flat vector: what arrives for one state of one target."""

    kind: str  # "slot" or "cell"
    index: int  # slot or group
    state: str
    start: int
    n: int


@dataclass(frozen=True, eq=False)
class Steps:
    """One delay per edge in whole steps, made in pieces when they are needed."""

    projection: Any
    dt: float
    least: int
    most: int
    entries: ClassVar[int] = 1  # of an operator for every edge; more where delays are learnable (`delay_kernels.py`)
    kernel: ClassVar[str | None] = None

    def between(self, low, high) -> np.ndarray:
        """(high - low,) int32, of the edges low ... high - 1."""
        return self.projection.delay_steps_range(low, high, self.dt)

    def all(self) -> np.ndarray:
        return self.between(0, self.projection.n_edges)


def every(steps, n) -> np.ndarray:
    """(n,) int32 steps of every edge."""
    return steps.all() if isinstance(steps, Steps) else np.full(n, steps, np.int32)


def span(steps) -> tuple[int, int]:
    """Least and most steps."""
    return (steps.least, steps.most) if isinstance(steps, Steps) else (int(steps), int(steps))


@dataclass(eq=False)
class Part:
    """The edges of one projection that feed one receiver."""

    projection: Any
    key: str
    receiver: Receiver
    offset: int  # of the target population inside the receiver
    source: int  # global id of the first source cell
    per_edge: bool
    steps: Steps | int

    @property
    def name(self):
        return self.projection.name

    @cached_property
    def edges(self):
        """Edges as the operator sees them."""
        return self.projection.edges.repeated(getattr(self.steps, "entries", 1))

    @property
    def kernel(self):
        """Of learnable delays, or None."""
        return getattr(self.steps, "kernel", None)

    @property
    def n_edges(self):
        return len(self.edges)

    @property
    def start(self):
        """Receiver of target 0 in the flat vector."""
        return self.receiver.start + self.offset

    @property
    def span(self):
        return self.start, self.start + self.projection.post.n


@dataclass(eq=False)
class Bundle:
    """One operator call."""

    index: int
    sends: str  # "spikes" or the projection whose `on_pre` computes what is sent
    delay: int | None  # None: one per edge
    per_edge: bool
    kernel: str | None = None  # of learnable delays
    parts: list[Part] = field(default_factory=list)
    slots: int = 1  # depth of the ring
    merged: bool = True  # one row per source; else one per source and part, in the order of the parts
    n_blocks: int = 1  # stretches of receivers that a row is divided into
    packed: bool = True  # delay and receiver in one word
    listed: bool = False  # a host run delivers from the list of spikes, not from one number per source
    why: str = ""
    laid: Any = None  # weights in operator order, shared with the parameters that are views of it

    @property
    def tag(self):
        return f"bundle{self.index}"

    @property
    def n_edges(self):
        return sum(p.n_edges for p in self.parts)

    @property
    def receivers(self):
        return {p.receiver for p in self.parts}

    @property
    def sides(self):
        """First source and number of sources of every part."""
        return [(p.source, p.projection.edges.n_pre) for p in self.parts]


def place_of(layout, projection, key) -> tuple:
    """Kind, index and state of the receiver that an increment of a synapse reaches."""
    slot = layout.slot_of[projection.name]
    if key.endswith("_post") and key not in type(projection.synapse).__states__:
        return "cell", slot.group.index, key[: -len("_post")]
    return "slot", slot.index, key


def receivers_of(layout, projections) -> list[Receiver]:
    """All receivers, in order of first use."""
    found: dict[tuple, Receiver] = {}
    start = 0
    for p in projections:
        states, n = type(p.synapse).__states__, layout.slot_of[p.name].group.n
        for key in type(p.synapse).__increments__:
            place = place_of(layout, p, key)
            if place in found or (place[0] == "slot" and states[key].on != "post"):
                continue
            found[place] = Receiver(*place, start, n)
            start += n
    return list(found.values())


def plan(layout, projections, receivers, sends, delays) -> list[Bundle]:
    """Sort the edges of all event-driven projections into few operator calls.

    Args:
        projections: those whose increments arrive at target-side states.
        sends: projection name -> key -> "spikes" or the projection name (values computed at the source).
        delays: projection name -> int steps or `Steps`.
    """
    place = {(r.kind, r.index, r.state): r for r in receivers}
    parts = []
    for p in projections:
        group, member = layout.where[p.pre.name]
        offset, source = layout.where[p.post.name][1].start, group.source_start + member.start
        per_edge = bool(np.ndim(p.weight_values)) or _varies(p) or p.learnable is not None
        for key, send in sends[p.name].items():
            r = place[place_of(layout, p, key)]
            parts.append((send, Part(p, key, r, offset, source, per_edge, delays[p.name])))
    many = len({p.steps for _, p in parts if not isinstance(p.steps, Steps)}) > MAX_HISTORIES
    bundles: list[Bundle] = []
    for send, part in parts:
        delay = None if isinstance(part.steps, Steps) or (many and part.steps > 0) else part.steps
        _assign(bundles, send, part, delay)
    for b in bundles:
        if b.n_edges > 2**31 - 1:
            raise CompileError(
                f"{b.n_edges} edges in one operator call ({[p.name for p in b.parts]}); at most 2**31 - 1"
            )
    return bundles


def _varies(projection) -> bool:
    """Whether a parameter of the synapse has one value per source or edge."""
    shapes = {np.shape(getattr(projection.synapse, key)) for key in type(projection.synapse).__params__}
    return bool(shapes - {(), (projection.post.n,)})


def _assign(bundles, send, part, delay):
    """Put a part into the first call that fits: scalar weights conflict where two meet at one receiver."""
    for b in bundles:
        if (b.sends, b.delay, b.per_edge, b.kernel) != (send, delay, part.per_edge, part.kernel):
            continue
        clash = any(q.span[0] < part.span[1] and part.span[0] < q.span[1] for q in b.parts)
        if part.per_edge or not clash:
            b.parts.append(part)
            return
    same = [b for b in bundles if (b.sends, b.delay) == (send, delay) and not b.per_edge]
    if not part.per_edge and len(same) >= 2:
        part.per_edge = True
        return _assign(bundles, send, part, delay)
    bundles.append(Bundle(len(bundles), send, delay, part.per_edge, part.kernel, [part]))


def delay_steps(projection, dt, strict, report):
    """Delays in whole steps, checked: int or `Steps`; explicit values off the grid are reported."""
    if not projection.delay_drawn:
        delay = np.asarray(projection.delay_values, float)
        steps, off = to_steps(delay, dt)
        if off.any():
            report(projection.name, int(off.sum()), float(np.abs(steps * dt - delay).max()), strict)
    least, most = projection.delay_steps_extent(dt)
    if most > MAX_DELAY:
        raise CompileError(
            f"{projection.name}: a delay of {most * dt:g} ms is {most:.3g} steps of {dt:g} ms; at most {MAX_DELAY}"
        )
    return Steps(projection, dt, least, most) if np.ndim(projection.delay_values) else least


def check_memory(what, rows, cells, itemsize, longest):
    """Refuse buffers that cannot be meant."""
    need = rows * cells * itemsize
    if need > MAX_BYTES:
        raise CompileError(
            f"a delay of {longest:g} ms needs a {what} of {rows} steps x {cells} cells = {need / 2**30:.1f} GiB; "
            f"the limit is {MAX_BYTES / 2**30:.0f} GiB. Shorten the delay or enlarge dt"
        )
