"""Recorders: what is kept of a run. They only read, so adding one changes no other number."""

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from . import cell
from .errors import CompileError, ConnectError, RunError, UnknownNameError, unknown
from .grid import to_steps
from .layout import Group
from .memory import free_memory, in_words
from .names import match
from .population import Population, select
from .program import Program, dtype, map_cells
from .units import to_canonical


@dataclass(frozen=True)
class Spec:
    """What the user asked for."""

    name: str
    kind: str = "any"  # any, spikes, trace, mean
    every: float | None = None
    of: tuple | slice | None = None  # cells by number, label or mask
    part_of: str | None = None  # the population of a part that was given as `of`


def spikes(name: str) -> Spec:
    """Record the spikes of a population (name or pattern)."""
    return Spec(f"{name}.spikes" if not name.endswith(".spikes") else name, "spikes")


def trace(name: str, every=None, of=None) -> Spec:
    """Record a variable over time.

    Args:
        name: "<population>.<state>", "<projection>.<state>" or "<projection>.current"; wildcards allowed. Projections
            that share a synapse object and a target share its state, so each of their traces is that of their sum.
        every: sampling interval in ms, a multiple of dt; the sample is the value at its end. Default: every step.
        of: cells (or edges) to record: indices, labels, a slice, a mask, or a part of the population. Default: all.
    """
    every = None if every is None else float(to_canonical(every, "ms", f"trace({name!r}) every"))
    return Spec(name, "trace", every, *_selection(of, f"trace({name!r})"))


def _selection(of, what):
    """A selection of cells in a form that compares by value, and the population it belongs to."""
    if isinstance(of, Population):
        return None if of.ids is None else tuple(of.ids.tolist()), of.name
    if of is None or isinstance(of, slice):
        return of, None
    if np.ndim(of) > 1 or not np.size(of):
        raise CompileError(
            f"{what}: of has shape {np.shape(of)}; give a list of cells, a slice or a part of the population"
        )
    return tuple(np.atleast_1d(np.asarray(of)).tolist()), None


def mean(name: str) -> Spec:
    """Mean of a variable over the run, with memory for one value per cell; lands in `result.summaries`.

    Sums are compensated: the relative error stays near 1e-7 of the mean magnitude however long the run is. How a run
    is divided internally changes no bit; means of runs joined by `Result.join` agree to the rounding of float64.
    """
    return Spec(name, "mean")


def zero_sum(n: int) -> tuple:
    """A running sum of vectors (n,): the sum so far, and what rounding has taken from it."""
    return jnp.zeros((n,), dtype()), jnp.zeros((n,), dtype())


def add_to(total: tuple, value) -> tuple:
    """The running sum after one more value, with the rounding error of the addition kept.

    The error is exact (Knuth's two-sum; Ogita, Rump & Oishi 2005, 10.1137/030601818), provided that the compiler keeps
    the order of the operations, as XLA does.
    """
    old, lost = total
    new = old + value
    gained = new - old
    return new, lost + ((old - (new - gained)) + (value - gained))


def mean_of(total: tuple, steps: int):
    """The mean of `steps` summed values; of none, 0. NumPy sums are joined in float64."""
    first, lost = total
    if isinstance(first, np.ndarray):
        first, lost = first.astype(np.float64), lost.astype(np.float64)
    return (first + lost) / max(steps, 1)


@dataclass(eq=False)
class Recorder:
    """One resolved recorder."""

    name: str
    kind: str  # spikes, trace, mean
    group: Group | None
    start: int
    n: int
    path: tuple  # where the value stands: ("z", key), ("edges", tag, key) or ("current", slot)
    ids: np.ndarray
    every: int
    unit: str

    @property
    def owner(self) -> str:
        return self.name.rpartition(".")[0]

    @property
    def first_source(self) -> int:
        """Global id of the first cell of a population whose spikes are recorded."""
        return self.group.source_start + self.start

    def read(self, program, ready, state, fired):
        """The value in this step, one per recorded cell."""
        if self.path == ("rate",):
            return fired[self.group.index][self.start : self.start + self.n] * (1e3 / program.dt)
        if self.kind == "spikes":
            return fired[self.group.index][self.start : self.start + self.n]
        if self.path[0] == "plastic":
            whole = state["plastic"][self.path[1]]
            whole = whole["w"] if self.path[2] is None else whole["rules"][self.path[2]][self.path[3]]
            whole = jnp.atleast_1d(whole)
        elif self.path[0] == "edges":
            whole = state["edges"][self.path[1]][self.path[2]]
        elif self.path[0] == "current":
            whole = _current(program, self.path[1], ready, state)[self.start : self.start + self.n]
        else:
            whole = state["z"][self.group.index][self.path[1]][self.start : self.start + self.n]
        return whole if len(self.ids) == self.n else whole[jnp.asarray(self.ids)]


def _current(program, slot, ready, state):
    """Current of a slot at the end of the step; needs no weighted sums."""
    g = slot.group

    def one(z, bound):
        env = {"t": state["step"].astype(dtype()) * program.dt, "dt": jnp.asarray(program.dt, dtype())}
        return jnp.asarray(slot.synapse.__bind__(bound).call("current", cell.slot_values(slot, z, env)), dtype())

    return map_cells(one, g.n, state["z"][g.index], ready["bound"][slot.tag])


def known_records(program: Program) -> dict[str, tuple]:
    """Every name that can be recorded: name -> (kind, group, start, n, path, unit)."""
    out, layout = {}, program.layout
    for g in layout.groups:
        for m in g.members:
            if "spike" in g.model.__methods__:
                out[f"{m.name}.spikes"] = ("spikes", g, m.start, m.n, (), "1")
                out[f"{m.name}.rate"] = ("mean", g, m.start, m.n, ("rate",), "Hz")
            for s, spec in g.model.__states__.items():
                out[f"{m.name}.{s}"] = ("trace", g, m.start, m.n, ("z", s), spec.unit or "1")
    for slot in layout.slots:
        for name in slot.projections:
            a, b = slot.spans[name]
            for s, spec in slot.synapse.__states__.items():
                if spec.on == "post":
                    out[f"{name}.{s}"] = ("trace", slot.group, a, b - a, ("z", f"{slot.tag}/{s}"), spec.unit or "1")
            if "current" in slot.synapse.__methods__ and not slot.synapse.__outputs__ and cell.per_target(slot.synapse):
                unit = slot.group.model.__inputs__[slot.into].unit or "1"
                out[f"{name}.current"] = ("trace", slot.group, a, b - a, ("current", slot), unit)
    for t in layout.terminals:
        for name in t.projections:
            for s, spec in t.synapse.__states__.items():
                if spec.on == "pre":
                    out[f"{name}.{s}"] = (
                        "trace",
                        t.group,
                        t.member.start,
                        t.member.n,
                        ("z", f"{t.tag}/{s}"),
                        spec.unit or "1",
                    )
    for x in program.learners:
        size = {"pre": x.pre.n, "post": x.post.n, "edge": x.n_edges, "projection": 1}
        unit = x.synapse.__weight__.unit if x.synapse.__weight__ else None
        out[f"{x.projection}.w"] = ("trace", None, 0, x.n_edges, ("plastic", x.tag, None), unit or "1")
        for k, rule in enumerate(x.rules):
            for s, spec in rule.cls.__states__.items():
                path = ("plastic", x.tag, str(k), s)
                out[f"{x.projection}.{s}"] = ("trace", None, 0, size[spec.on], path, spec.unit or "1")
    for e in program.edge_blocks:
        for s in e.states:
            out[f"{e.projection}.{s}"] = (
                "trace",
                None,
                0,
                e.n_edges,
                ("edges", e.tag, s),
                e.synapse.__states__[s].unit or "1",
            )
    return out


def _offered(spec, name, kind) -> bool:
    """Whether a pattern may pick a record: patterns of variables leave spikes and rates out."""
    if name == spec.name:
        return True
    if kind == "mean":
        return spec.name.endswith(".rate")
    return spec.kind not in ("trace", "mean") or kind != "spikes"


def resolve(net, program: Program, record) -> list[Recorder]:
    """Recorders for what the user listed.

    Raises:
        UnknownNameError: a name fits nothing that can be recorded.
        CompileError: `every` is off the grid, `of` selects cells that do not exist.
    """
    known = known_records(program)
    out: dict[str, Recorder] = {}
    for item in [record] if isinstance(record, str | Spec) else record:
        spec = item if isinstance(item, Spec) else Spec(item)
        if not isinstance(spec.name, str):
            raise CompileError(
                f"record: {item!r} is no name; write for example 'exc.spikes' or bs.trace('exc.v', every=1.0)"
            )
        if spec.name not in known:
            _refuse_weights(net, spec.name)
        # a pattern that asks for variables does not mean spikes; the plain name of spikes is refused below
        fitting = [n for n in known if _offered(spec, n, known[n][0])]
        for name in match(spec.name, fitting, "record"):
            kind, group, start, n, path, unit = known[name]
            if kind == "spikes" and (spec.kind == "mean" or (spec.every, spec.of) != (None, None)):
                raise CompileError(
                    f"{spec.kind}({name!r}): spikes are kept one by one, of all cells; write "
                    f"bs.spikes({name.removesuffix('.spikes')!r}) and take rates from the result"
                )
            kind = "mean" if spec.kind == "mean" else kind
            key = f"mean {name}" if kind == "mean" else name
            made = Recorder(
                name, kind, group, start, n, path, _cells(net, name, spec, n), _stride(spec, program.dt), unit
            )
            _check_again(out.get(key), made)
            out[key] = made
    return list(out.values())


def _refuse_weights(net, name):
    """Weights change, and can be recorded, where a projection learns, under the name w."""
    owner, _, key = name.rpartition(".")
    if key in ("w", "weight") and owner in net.projections:
        learns = net.projections[owner].plastic is not None
        way = f"write '{owner}.w'" if learns else f"it does not learn, so they stay; read sim.params['{owner}.weight']"
        raise UnknownNameError(f"record: {name!r}: weights of {owner!r}: {way}")


def _check_again(before, now):
    """A name can be recorded once; the same record twice, as by two patterns, is harmless."""
    if before is not None and (before.every != now.every or not np.array_equal(before.ids, now.ids)):
        raise CompileError(
            f"record: {now.name!r} is asked for twice, with other cells or another interval; a result holds one trace "
            f"of a name: list all cells in one bs.trace({now.name!r}, of=[...])"
        )


def _stride(spec, dt):
    if spec.every is None:
        return 1
    stride, off = to_steps(spec.every, dt)
    if off or stride < 1:
        raise CompileError(
            f"trace({spec.name!r}, every={spec.every:g}): not a multiple of dt = {dt:g} ms; "
            f"write every={max(1, stride) * dt:g}"
        )
    return int(stride)


def _cells(net, name, spec, n):
    """Positions of the recorded cells or edges."""
    owner, of, what = name.rpartition(".")[0], spec.of, f"{spec.kind}({name!r}, of={_short(spec.of)})"
    if spec.part_of not in (None, owner):
        raise CompileError(f"{what}: the part belongs to {spec.part_of!r}; take cells of {owner!r}")
    if of is None:
        return np.arange(n)
    try:
        if owner in net.populations:
            return np.asarray(net.populations[owner][of if isinstance(of, slice) else list(of)].index)
        return np.arange(n)[of] if isinstance(of, slice) else select(list(of), n, owner)
    except ConnectError as error:
        raise CompileError(f"{what}: {error}") from None


def _short(of):
    return f"[{of[0]}, ... {len(of)} of them]" if isinstance(of, tuple) and len(of) > 5 else of


def check_memory(recorders, steps, streamed):
    """Refuse traces that do not fit the memory; they are kept in pieces, which are joined at the end."""
    sizes = {
        r.name: 2 * np.dtype(dtype()).itemsize * len(r.ids) * (steps // r.every) for r in recorders if r.kind == "trace"
    }
    need, free = sum(sizes.values()), free_memory()
    if need > free and not streamed:
        largest = max(sizes, key=sizes.get)
        raise RunError(
            f"the traces of {steps} steps need {in_words(need)} ({largest!r} {in_words(sizes[largest])}), "
            f"{in_words(free)} are free; record fewer cells (of=), less often (every=), a bs.mean(...), or run in "
            f"parts with stream='run.h5'"
        )


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TracedTrace:
    """A trace inside a traced run: jax arrays. values (n_samples, n), times (n_samples,) ms."""

    values: Any
    times: Any


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TracedResult:
    """What `sim.run` returns under jax transformations: a pytree of jax arrays.

    spikes: name -> (n_steps, n) floats; traces: name -> TracedTrace; summaries; state; ok: no state became non-finite;
    dt: ms.
    """

    spikes: dict
    traces: dict
    summaries: dict
    state: Any
    ok: Any
    dt: float = field(metadata={"static": True}, default=0.1)

    def rates(self) -> dict:
        """Mean firing rate of every recorded population in Hz, as `Result.rates`, with its gradient."""
        return {name: jnp.mean(s) * (1e3 / self.dt) for name, s in self.spikes.items()}

    def __getitem__(self, name):
        if name in self.traces:
            return self.traces[name].values
        for held in (self.summaries, self.spikes):
            if name.removesuffix(".spikes") in held:
                return held[name.removesuffix(".spikes")]
        raise UnknownNameError(unknown("record", name, [*self.spikes, *self.traces, *self.summaries]))
