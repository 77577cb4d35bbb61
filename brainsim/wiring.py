"""How synapses are served: by operator calls on spikes, by weighted sums of outputs, or by equations on every edge."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from . import cell
from .coupling import Coupling, EdgeBlock
from .delivery import Steps, place_of, span
from .dependence import dependencies
from .errors import CompileError
from .layout import has_terminal


@dataclass(eq=False)
class Sender:
    """What a source population computes at its spikes: increments of its own states, and a value that is sent."""

    terminal: Any
    key: str | None
    own: tuple[str, ...]


def needs_edges(cls) -> bool:
    """Whether a synapse has anything that must be evaluated on every edge."""
    if any(s.on == "edge" for s in cls.__states__.values()):
        return True
    if "current" in cls.__methods__ and not cell.per_target(cls):
        return True
    post = {n for n, s in cls.__states__.items() if s.on == "post"}
    return any(a in post or a.endswith("_post") or a in ("t", "key") for a in cls.__methods__.get("on_pre", ()))


def rests(cls) -> bool:
    """Whether nothing happens on an edge between its spikes."""
    jumps = all(s.jump for s in cls.__states__.values() if s.on == "edge")
    return "on_pre" in cls.__methods__ and jumps and ("current" not in cls.__methods__ or cell.per_target(cls))


def senders(layout, events):
    """Which increments depend on states of the source; those are computed there and sent as values."""
    sent, sends, applied = {}, {}, set()
    for p in events:
        cls = type(p.synapse)
        pre = {n for n, s in cls.__states__.items() if s.on == "pre"}
        own = tuple(k for k in cls.__increments__ if k in pre)
        out = {k: "spikes" for k in cls.__increments__ if k not in pre}
        asked = cls.__methods__["on_pre"]
        if has_terminal(p.synapse):
            terminal = layout.terminal_of[p.name]
            reached = _increment_sources(cls, asked)
            for key in out:
                if reached.get(key, set()) & {a for a in asked if a in pre or a.endswith("_pre")}:
                    _check_proportional(cls, key, asked)
                    out[key] = f"{terminal.tag}/{key}"
                    sent.setdefault(out[key], Sender(terminal, key, () if terminal.tag in applied else own))
                    applied.add(terminal.tag)
            if own and terminal.tag not in applied:
                sent[terminal.tag] = Sender(terminal, None, own)
                applied.add(terminal.tag)
        sends[p.name] = out
    return sent, sends


def by_default(cls):
    """A model with the default values of its parameters, unchecked."""
    return cls.__bind__({k: np.float32(np.mean(s.default)) for k, s in cls.__params__.items()})


def _increment_sources(cls, asked):
    return dependencies(lambda values: cls.call(by_default(cls), "on_pre", values), asked)


def _check_proportional(cls, key, asked):
    at = lambda w: float(cls.call(by_default(cls), "on_pre", {**dict.fromkeys(asked, 0.37), "w": w})[key])
    if at(0.0) != 0.0 or abs(at(2.0) - 2.0 * at(1.0)) > 1e-5 * abs(at(1.0)):
        raise CompileError(
            f"{cls.__name__}.on_pre: {key!r} depends on states of the source and not in proportion to w; "
            f"declare a state on='edge', so that it is computed on every edge"
        )


def couplings(layout, projections, steps, on_edges):
    made = []
    for p in projections:
        if "output" not in type(p.synapse).__methods__:
            continue
        d = steps[p.name]
        delay = None if isinstance(d, Steps) else d
        depth = span(d)[1] + 1 if delay != 0 else 0
        made.append(
            Coupling(
                len(made),
                p.name,
                layout.terminal_of[p.name],
                layout.slot_of[p.name],
                type(p.synapse).symmetric,
                delay,
                depth,
            )
        )
        if made[-1].symmetric and layout.where[p.pre.name][0] is not layout.where[p.post.name][0]:
            raise CompileError(f"{p.name}: a symmetric synapse needs both ends in populations of one model class")
    return made


def edge_blocks(layout, projections, receivers, steps):
    made = []
    for p in projections:
        cls, slot = type(p.synapse), layout.slot_of[p.name]
        if cls.symmetric:
            raise CompileError(
                f"{p.name}: {cls.__name__} is symmetric and evaluated on edges; write output(...) "
                f"and current(...) instead"
            )
        asked = {*cls.__methods__.get("on_pre", ()), *cls.__increments__}
        away = sorted(n for n, s in cls.__states__.items() if s.on == "pre" and n in asked)
        if away:
            why = "key is that of an edge" if "key" in asked else "is evaluated on edges when a spike arrives"
            raise CompileError(
                f"{p.name}: {cls.__name__}.on_pre uses {', '.join(away)}, which lives on the source, but {why}; "
                f"declare it on='edge'"
            )
        _check_undelayed(p, cls, steps[p.name])
        args = cls.__methods__.get("current", ())
        on = "current" in cls.__methods__ and not cell.per_target(cls)
        deposits = {}
        for r in receivers:
            for key in cls.__increments__:
                if (r.kind, r.index, r.state) == place_of(layout, p, key):
                    deposits[key] = r.start
        leaves = {k: f"{p.name}.{k}" for k in cls.__params__}
        made.append(
            EdgeBlock(
                len(made),
                p.name,
                cls,
                layout.where[p.pre.name][0],
                slot.group,
                p.into,
                tuple(sorted({a[:-5] for a in args if a.endswith("_post")})) if on else (),
                on,
                p.n_edges,
                None if isinstance(steps[p.name], Steps) else steps[p.name],
                {k: layout.alias.get(v, v) for k, v in leaves.items()},
                deposits,
                pre=layout.where[p.pre.name][1],
                rests=rests(cls) and p.learnable is None,
            )
        )
    return made


def _check_undelayed(p, cls, steps):
    """Equations on edges read the source as it is now."""
    on = {n: s.on for n, s in cls.__states__.items()}
    methods = ["current", *("d" + n for n, where in on.items() if where == "edge")]
    read = {a for m in methods for a in cls.__methods__.get(m, ())}
    late = sorted(a for a in read if a.endswith("_pre") or on.get(a) == "pre")
    if late and span(steps)[1] > 0:
        raise CompileError(
            f"{p.name}: {cls.__name__} reads {', '.join(late)} on every edge, without a delay, but the projection has "
            f"one; send it through output(...), which is delayed, or connect with delay=0.0"
        )


def split_outputs(program):
    """Outputs that no state reaches are summed once per run."""
    for i, c in enumerate(program.couplings):
        cls, asked = c.terminal.synapse, c.terminal.synapse.__methods__["output"]
        reached = dependencies(lambda values, cls=cls: cls.call(by_default(cls), "output", values), asked)
        moving = tuple(k for k in cls.__outputs__ if reached[k] or c.learner)
        fixed = tuple(k for k in cls.__outputs__ if k not in moving)
        program.couplings[i] = replace(c, moving=moving, fixed=fixed)
