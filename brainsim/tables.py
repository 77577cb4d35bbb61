"""Models and networks in words and tables: `explain(AdEx)`, `_repr_html_`."""

import html
import inspect

import numpy as np

from .declare import Model
from .distributions import Distribution
from .drawing import Drawn
from .errors import ParameterError


def _facts(model):
    cls = model if isinstance(model, type) else type(model)
    if not (isinstance(cls, type) and issubclass(cls, Model)):
        raise ParameterError(f"explain({model!r}): give a model class or instance, for example explain(AdEx)")
    return cls, None if isinstance(model, type) else model


def _equation(cls, method) -> str:
    """Right-hand side of an equation as it stands in the source."""
    try:
        source = inspect.getsource(getattr(cls, method))
    except (OSError, TypeError):
        return ""
    body = source.split(":", 1)[1] if source.lstrip().startswith("def") else source
    lines = [line.strip() for line in body.strip().splitlines() if not line.strip().startswith(('"""', "#"))]
    return " ".join(lines).replace("return ", "").replace("self.", "")


def _rows(cls, instance):
    for name, spec in cls.__params__.items():
        value = getattr(instance, name) if instance is not None else spec.default
        yield "parameter", name, _number(value), spec.unit or "", _bounds(spec)
    for name, spec in cls.__consts__.items():
        yield "constant", name, _number(spec.value), spec.unit or "", ""
    for name, spec in cls.__states__.items():
        yield "state", name, str(spec.initial), spec.unit or "", f"on {spec.on}" if spec.on else ""
    for name, spec in cls.__inputs__.items():
        yield "input", name, _number(spec.default), spec.unit or "", ""


def _number(value):
    return f"{value:g}" if np.ndim(value) == 0 and isinstance(value, int | float | np.number) else str(value)


def _bounds(spec):
    low, high = spec.bounds
    if low is None and high is None:
        return ""
    left, right = ("[", "]") if spec.closed else ("(", ")")
    return f"{left}{'-inf' if low is None else low}, {'inf' if high is None else high}{right}"


def _symbol(method):
    return f"d{method[1:]}/dt" if method[0] == "d" else method


class Explanation(str):
    """Text that shows as it is written, in a terminal and in a notebook."""

    def __repr__(self):
        return str(self)

    def _repr_html_(self):
        return f"<pre>{html.escape(self)}</pre>"


def explain(model) -> str:
    """Equations, parameters with units and bounds, states and reference of a model class or instance, as text."""
    cls, instance = _facts(model)
    lines = [f"{cls.__name__} ({cls.KIND})", inspect.getdoc(cls) or "", "", "equations"]
    lines += [f"  {_symbol(m):12s} = {_equation(cls, m)}" for m in cls.__methods__]
    if cls.__refractory__ is not None:
        lines.append(f"  after a spike {', '.join(cls.__refractory__.holds)} held for {cls.__refractory__.t_ref}")
    lines += ["", f"  {'kind':10s} {'name':10s} {'value':>10s} unit"]
    lines += [
        f"  {kind:10s} {name:10s} {value:>10s} {unit:8s} {note}".rstrip()
        for kind, name, value, unit, note in _rows(cls, instance)
    ]
    return Explanation("\n".join(lines))


def _table(head, rows):
    cell = lambda tag, x: f"<{tag} style='text-align:left'>{html.escape(str(x))}</{tag}>"
    top = "".join(cell("th", h) for h in head)
    return (
        f"<table><tr>{top}</tr>"
        + "".join(f"<tr>{''.join(cell('td', x) for x in row)}</tr>" for row in rows)
        + "</table>"
    )


def model_html(model) -> str:
    """Table of a model for notebooks, folded."""
    cls, instance = _facts(model)
    equations = [(_symbol(m), _equation(cls, m)) for m in cls.__methods__]
    summary = html.escape((inspect.getdoc(cls) or cls.__name__).splitlines()[0])
    return (
        f"<details><summary><b>{cls.__name__}</b>: {summary}</summary>{_table(('', 'equation'), equations)}"
        f"{_table(('kind', 'name', 'value', 'unit', ''), _rows(cls, instance))}</details>"
    )


def network_html(net) -> str:
    """Tables of the populations and projections of a network."""
    populations = [(p.name, p.n, type(p.model).__name__, p.method or "auto") for p in net.populations.values()]
    projections = []
    for p in net.projections.values():
        possible = max(1, (p.pre.n if p.pre else 1) * p.post.n)
        span = lambda v, unit: (
            f"{getattr(v, 'distribution', v)!r} {unit}"
            if isinstance(v, Drawn | Distribution)
            else f"{np.min(v):g} … {np.max(v):g} {unit}"
            if np.size(v) > 1
            else f"{np.mean(v) if np.size(v) else 0:g} {unit}"
        )
        weight = type(p.synapse).__weight__
        projections.append(
            (
                p.name,
                type(p.synapse).__name__,
                p.n_edges,
                f"{p.n_edges / possible:.3g}",
                span(p.weight_values, weight.unit or "" if weight else ""),
                span(p.delay_values, "ms"),
            )
        )
    return (
        f"<b>Network</b> (seed {net.seed})"
        + _table(("population", "cells", "model", "method"), populations)
        + _table(("projection", "synapse", "edges", "density", "weight", "delay"), projections)
    )
