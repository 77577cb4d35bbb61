"""Checks at the door: what a network needs of memory, and the parameters of a run."""

import jax
import jax.numpy as jnp
import numpy as np

from . import learnable_delays
from .declare import Param, check_bounds
from .errors import CompileError, ParameterError, UnknownNameError, unknown
from .memory import free_memory, in_words
from .procedural_rule import is_procedural, specs
from .program import Program, dtype
from .units import to_canonical


def check_size(net):
    """Refuse a network whose states cannot fit: three copies of the state exist at times, one during every step."""
    width = 3 * np.dtype(dtype()).itemsize
    need = {p.name: width * p.n * (len(type(p.model).__states__) + 2) for p in net.populations.values()}
    for p in net.projections.values():
        size = {"post": p.post.n, "pre": p.pre.n if p.pre else 0, "edge": p.n_edges}
        stored = 0 if is_procedural(p) else 16 * p.n_edges
        need[p.name] = stored + width * sum(size[s.on] for s in type(p.synapse).__states__.values())
    total, free = sum(need.values()), free_memory()
    if total > free:
        name = max(need, key=need.get)
        made, cells = net[name], sum(p.n for p in net.populations.values())
        what = f"{type(made.model).__name__}, {made.n} cells" if name in net.populations else f"{made.n_edges} edges"
        raise CompileError(
            f"{cells} cells, with {name} ({what}) as the largest part, need about {in_words(total)}; "
            f"{in_words(free)} are free; simulate fewer cells or edges"
        )


def bound_specs(net, program: Program, params) -> dict:
    """Declaration and possible shapes of every parameter: name -> (spec, shapes)."""
    out, alias = {}, program.layout.alias

    def add(name, spec, shapes):
        name = alias.get(name, name)
        out[name] = (spec, out[name][1] & shapes if name in out else shapes)

    for p in net.populations.values():
        for key, spec in type(p.model).__params__.items():
            add(f"{p.name}.{key}", spec, {(), (p.n,)})
        for key, state in type(p.model).__states__.items():
            out[f"{p.name}.{key}(0)"] = (Param(0.0, state.unit), {(), (p.n,)})
    for p in net.projections.values():
        sizes = {"edge": p.n_edges, "post": p.post.n} | ({"pre": p.pre.n} if p.pre else {})
        for key, spec in type(p.synapse).__params__.items():
            add(f"{p.name}.{key}", spec, {(), *((n,) for n in sizes.values())})
        for key, state in type(p.synapse).__states__.items():
            out[f"{p.name}.{key}(0)"] = (Param(0.0, state.unit), {(), (sizes.get(state.on, 0),)})
        for rule in () if p.plastic is None else p.plastic.rules:
            for key, spec in type(rule).__params__.items():
                add(f"{p.name}.{key}", spec, {()})
            for key, state in type(rule).__states__.items():
                out[f"{p.name}.{key}(0)"] = (Param(0.0, state.unit), {(), (sizes.get(state.on, 1),)})
        if is_procedural(p):
            out.update(specs(p))
            continue
        out.update(learnable_delays.specs(p))
        out[f"{p.name}.weight"] = (type(p.synapse).__weight__ or Param(0.0), {np.shape(p.weight_values)})
        for key, spec in p.source.parameters.items() if p.source is not None else ():
            out[f"{p.name}.{key}"] = (spec, {(), (len(p.post),)})
    for name, value in params.items():
        out.setdefault(name, (Param(0.0), {(), np.shape(value)}))
    return out


def merge(net, program: Program, specs, known: dict, given) -> dict:
    """All parameters of a run: those that are given, checked and in their units, and the others as they are.

    Raises:
        UnknownNameError: a name that is no parameter.
        ParameterError, UnitError: a value that is not finite, out of bounds, or of the wrong shape or dimension.
    """
    if given is None:
        return dict(known)
    if not isinstance(given, dict):
        raise ParameterError(f"params is {given!r:.60}; give a dict such as {{'{next(iter(known), 'exc.tau')}': 1.0}}")
    values, learning = {}, {x.weight: x for x in program.learners}
    for name, value in given.items():
        if name not in known:
            raise UnknownNameError(_no_parameter(program, known, name))
        spec, shapes = specs[name]
        if not isinstance(value, jax.core.Tracer):
            value = to_canonical(value, spec.unit, name)
        if tuple(np.shape(value)) not in shapes:
            wanted = "a number" if shapes == {()} else " or ".join(str(s) for s in sorted(shapes))
            raise ParameterError(f"{name} has shape {np.shape(value)}; give {wanted}{_why_one(net, name, shapes)}")
        if not isinstance(value, jax.core.Tracer):
            check_bounds(np.asarray(value, float), spec, name)
        # not jnp.asarray: under jit it would turn a known value into a traced one
        narrow = isinstance(value, jax.Array) and value.dtype == known[name].dtype == jnp.bfloat16
        kind = jnp.bfloat16 if narrow else dtype()  # as it is, for it may share the memory of the operators
        values[name] = jnp.asarray(value, kind) if isinstance(value, jax.Array) else np.asarray(value, kind)
        if name in learning and not isinstance(value, jax.core.Tracer):
            check_plastic(learning[name], values[name], name)
    merged = {**known, **values}
    _check_between(net, program, values, merged)
    return merged


def check_plastic(learner, weights, what, error=ParameterError, graph=None):
    """Refuse plastic weights outside of their bounds: the first spike at an edge would clip them, without a word.

    Args:
        weights: () or (n_edges,), in the precision of the run, in which the bounds are compared.
        graph: the index arrays `pre` and `post` of the edges, which name the cells of the first; None: not known.
    """
    bounds, values = learner.spec.bounds, np.atleast_1d(np.asarray(weights))
    outside = (values < values.dtype.type(bounds.low)) | (values > values.dtype.type(bounds.high))
    if not outside.any():
        return
    first, unit = int(np.argmax(outside)), learner.synapse.__weight__ and learner.synapse.__weight__.unit
    cells = "" if graph is None else f" (cell {int(graph['pre'][first])} to {int(graph['post'][first])})"
    many = f"{int(outside.sum())} of {values.size} edges, first edge {first}{cells} = " if np.ndim(weights) else ""
    sign = " (no bounds= were given: a weight keeps its sign, Dale's law)" if bounds.dale else ""
    raise error(
        f"{what}: {many}{values[first]:g} lies outside the bounds [{bounds.low:g}, {bounds.high:g}]"
        f"{f' {unit}' if unit else ''} of the plastic weights of {learner.projection!r}{sign}; give weights inside, or "
        f"connect with wider bounds= (bs.unbounded() has none)"
    )


@jax.jit
def _any_outside(values, low, high):
    return jnp.any((values < low) | (values > high))


def check_state(program: Program, state, what, error=ParameterError):
    """Refuse a state whose plastic weights lie outside of their bounds; nothing is copied where they do not."""
    for x in program.learners:
        mine, bounds = state["plastic"][x.tag], x.spec.bounds
        if x.n_edges and bool(_any_outside(mine["w"], bounds.low, bounds.high)):
            check_plastic(x, mine["w"], f"{what}{x.projection}.w", error, mine.get("rows"))


def mark_state(program: Program, state):
    """The state a traced run begins with; plastic weights outside of their bounds, which it cannot refuse, are nan."""
    marked = {
        x.tag: {**state["plastic"][x.tag], "w": x.spec.bounds.or_nan(state["plastic"][x.tag]["w"])}
        for x in program.learners
    }
    return {**state, "plastic": state["plastic"] | marked}


def _why_one(net, name, shapes) -> str:
    """Why there is one number for all edges."""
    owner, _, key = name.rpartition(".")
    projection = net.projections.get(owner)
    if shapes != {()} or projection is None:
        return ""
    if key == "weight":
        return f": {owner!r} was connected with one weight for all edges; connect with an array, one value per edge"
    own = () if projection.plastic is None else (type(r).__params__ for r in projection.plastic.rules)
    return ": a parameter of a rule is one number for all edges" if any(key in names for names in own) else ""


def _no_parameter(program, known, name) -> str:
    shared = program.layout.alias.get(name)
    if shared:
        return f"{name!r} is shared with {shared!r} (one model object); set {shared!r}, or give it a model of its own"
    if name in program.derived:
        return f"{name!r} is derived from other parameters by net.derive; set those"
    if str(name).endswith(".delay"):
        return (
            f"{name!r} is compiled into whole steps and cannot change between runs; connect with another delay=, or "
            f"with delay=bs.learnable_delay(...), which makes it a parameter"
        )
    if str(name).endswith(".w") and f"{name}eight" in known:
        return f"there is no parameter {name!r}; did you mean '{name}eight'? The initial weights have this name"
    return unknown("parameter", name, known)


def _check_between(net, program, given, merged):
    """Checks between parameters (`validate`) of every model that has a new value."""
    alias = program.layout.alias
    rules = [(p, rule) for p in net.projections.values() if p.plastic is not None for rule in p.plastic.rules]
    cells = [(p, p.model) for p in net.populations.values()]
    for p, model in (*cells, *((p, p.synapse) for p in net.projections.values()), *rules):
        names = {key: alias.get(f"{p.name}.{key}", f"{p.name}.{key}") for key in type(model).__params__}
        if not given.keys() & set(names.values()):
            continue
        values = {key: merged.get(name) for key, name in names.items()}
        known = {k: v if v is None or isinstance(v, jax.core.Tracer) else np.asarray(v) for k, v in values.items()}
        try:
            type(model).__bind__(known).validate()
        except ParameterError as error:
            raise ParameterError(f"{p.name}: {error}") from None
