"""Propagation of units through the primitives of a jaxpr; the rules behind `brainsim.dimensions`.

Sums and comparisons need equal units, factors included (Hz and 1/ms do not add); exponentials need plain numbers; a
literal 0 fits anything and every other literal is a plain number. What a primitive that is not listed here makes of a
unit is unknown and fits anything: what cannot be judged is not refused. Nothing is computed, no backend initialised.

References:
    Kennedy (1994), Dimension types, 10.1007/3-540-57880-3_23.
"""

import linecache
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jax.extend.core import Literal

from .errors import UnitError
from .units import Dimension


class _Fits(str):
    """What fits every unit: `ANY` a zero or infinity, `UNKNOWN` something that cannot be judged."""


PLAIN, ANY, UNKNOWN = Dimension(text="1"), _Fits("any"), _Fits("unknown")


class _Term(NamedTuple):
    dim: "Dimension | _Fits"
    name: str = ""  # of the argument it is, if it is one
    value: float | None = None  # of a literal


_KEEP = set(
    """convert_element_type broadcast_in_dim reshape squeeze expand_dims stop_gradient copy copy_p neg abs real
    rev transpose slice dynamic_slice gather reduce_precision reduce_sum reduce_max reduce_min cumsum cummax cummin
    device_put optimization_barrier pvary""".split()
)
_NUMBER = set(
    """exp exp2 expm1 log log1p tanh logistic sin cos tan asin acos atan sinh cosh asinh acosh atanh erf erfc
    erf_inv lgamma digamma floor ceil round""".split()
)
_COMPARE = {**dict.fromkeys("eq ne lt le gt ge".split(), "compares"), "atan2": "takes the angle of"}
_ALIKE = {
    **_COMPARE,
    **{"add": "adds", "add_any": "adds", "sub": "subtracts", "rem": "divides with rest", "clamp": "clips"},
    **{"max": "takes the larger of", "min": "takes the smaller of", "select_n": "chooses between"},
}
_ROOTS = {"sqrt": 1 / 2, "rsqrt": -1 / 2, "cbrt": 1 / 3, "square": 2}
_CALLS = set("jit pjit closed_call core_call remat remat2 checkpoint custom_jvp_call custom_vjp_call".split())


def units_of_result(call, names, units, shapes, where, code):
    """Traces a function and gives the units of its result.

    Args:
        call: function of positional jax arrays.
        names, units, shapes: of its arguments; units are `Dimension`, ``ANY`` or ``UNKNOWN``.
        where, code: name of the user's function for messages, and its code object (None if there is none).

    Returns:
        A pytree like the result.
    """
    closed, result = jax.make_jaxpr(call, return_shape=True)(*shapes)
    analysis = _Analysis(where, code)
    terms = analysis.run(closed.jaxpr, closed.consts, [_Term(u, n) for u, n in zip(units, names)])
    return jax.tree.unflatten(jax.tree.structure(result), [t.dim for t in terms])


def times(a, b):
    """Unit of a product."""
    if ANY in (a, b):
        return ANY
    if UNKNOWN in (a, b):
        return UNKNOWN
    return a if b.plain else b if a.plain else a * b


def _over(a, b):
    if a is ANY or isinstance(b, _Fits):
        return ANY if a is ANY else UNKNOWN
    return a if b.plain or a is UNKNOWN else a / b


def bridge(subject, have, need):
    """How a term in `have` becomes one in `need`, as advice."""
    factor, inverse = need / have, have / need
    if not any(factor.powers):
        return f"both are of one kind, but a factor {inverse.scale:g} apart: declare them in the same unit"
    if have.plain:
        return f"declare the number with its unit {need}, by bs.const or bs.param"
    divide = inverse.kind == "time" or factor.kind.startswith("value")
    word, way = (inverse, "divide") if divide else (factor, "multiply")
    if word.kind.startswith("value"):
        return "correct a declared unit"
    return f"{way} {subject} by a {word.kind} ({Dimension(1.0, word.powers)}) or correct a declared unit"


def shown(dim, name=""):
    """A unit in a message, with the name of the argument that has it."""
    unit = "a plain number" if dim.plain else str(dim) if any(dim.powers) else f"a plain number times {dim}"
    return f"{unit} ({name})" if name else unit


def _constant(value):
    """A literal: 0, inf, nan and the largest floats fit anything, other numbers are plain."""
    try:
        numbers = np.abs(np.asarray(value, np.float64))
    except (TypeError, ValueError):
        return _Term(PLAIN)
    free = np.all((numbers == 0) | ~(numbers < 3e38))
    return _Term(ANY if free else PLAIN, value=float(value) if numbers.ndim == 0 else None)


class _Analysis:
    """Walks the equations of one function; an error names the outermost line of the user's own code."""

    def __init__(self, where, code):
        self.where, self.code, self.line, self.depth = where, code, "", 0

    def run(self, jaxpr, consts, terms):
        """Terms of the results of a jaxpr, from the terms of its arguments."""
        known = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*map(_constant, consts), *terms]))

        def read(atom):
            return _constant(atom.val) if isinstance(atom, Literal) else known[atom]

        for equation in jaxpr.eqns:
            if self.depth == 0:
                self.line = _source(equation.source_info.traceback, self.code)
            known.update(zip(equation.outvars, self.equation(equation, [read(atom) for atom in equation.invars])))
        return [read(atom) for atom in jaxpr.outvars]

    def equation(self, equation, terms):
        """Terms of the results of one primitive."""
        name, options = equation.primitive.name, equation.params
        if name in _CALLS:
            return self.call(options, terms)
        if name == "cond":
            branches = [self.call({"jaxpr": branch}, terms[1:]) for branch in options["branches"]]
            return [_Term(self.alike("chooses between", results)) for results in zip(*branches)]
        if name in _KEEP:
            known = name in ("convert_element_type", "broadcast_in_dim", "reshape")  # these leave a literal what it is
            return [_Term(t.dim, t.name, t.value if known else None) for t in terms[: len(equation.outvars)]]
        return [_Term(self.one(name, options, terms))] * len(equation.outvars)

    def call(self, options, terms):
        """A function inside the function. jnp.hypot is taken as a whole: it compares with 1 inside, harmlessly."""
        if options.get("name") == "hypot":
            return [_Term(self.alike("takes the length of", terms))]
        inner = next(options[k] for k in ("jaxpr", "call_jaxpr", "fun_jaxpr") if k in options)
        self.depth += 1
        try:
            return self.run(getattr(inner, "jaxpr", inner), getattr(inner, "consts", ()), terms)
        finally:
            self.depth -= 1

    def one(self, name, options, terms):
        """Unit of the only result of a primitive."""
        dims = [t.dim for t in terms]
        if name in _ALIKE:
            common = self.alike(_ALIKE[name], terms[1:] if name == "select_n" else terms)
            return PLAIN if name in _COMPARE else common
        if name in _NUMBER:
            self.number(f"takes {name} of", terms[0])
            return PLAIN
        if name in ("mul", "dot_general"):
            return times(*dims)
        if name == "div":
            return _over(*dims)
        if name in _ROOTS or name == "integer_pow":
            return dims[0] if isinstance(dims[0], _Fits) else dims[0] ** (_ROOTS.get(name) or options["y"])
        if name == "pow":
            return self.power(*terms)
        plain = all(d is ANY or (isinstance(d, Dimension) and d.plain) for d in dims)
        return PLAIN if plain or name in ("sign", "is_finite") else UNKNOWN

    def power(self, base, exponent):
        """A power; only a literal exponent gives a unit."""
        if exponent.value is not None:
            return base.dim if isinstance(base.dim, _Fits) else base.dim**exponent.value
        self.number("uses an exponent of", exponent)
        self.number("takes a variable power of", base)
        return PLAIN

    def alike(self, verb, terms):
        """The one unit of terms that must agree."""
        judged = [t for t in terms if isinstance(t.dim, Dimension)]
        if not judged:
            return UNKNOWN if any(t.dim is UNKNOWN for t in terms) else ANY
        first = judged[0]
        for other in judged[1:]:
            if other.dim != first.dim:
                keep, change = (other, first) if first.dim.plain else (first, other)
                problem = f"{verb} {shown(first.dim, first.name)} and {shown(other.dim, other.name)}"
                self.fail(problem, bridge(f"the {change.dim} term", change.dim, keep.dim))
        return first.dim

    def number(self, verb, term):
        """Refuses anything but a plain number."""
        if not isinstance(term.dim, Dimension) or term.dim.plain:
            return
        advice = "divide by a parameter of the same unit first"
        if not any(term.dim.powers):
            advice = "the factor is left over from units such as Hz and ms: declare rates in 1/ms or kHz"
        self.fail(f"{verb} {shown(term.dim, term.name)}, where only a plain number has a meaning", advice)

    def fail(self, problem, advice):
        raise UnitError(f"{self.where} {problem}{self.line}; {advice}")


def _source(traceback, code):
    """Where an equation stands in the user's function: " (lif.py:31: (self.E_L - v) + I)"; "" if that is not known."""
    frames = zip(*traceback.raw_frames()) if traceback is not None and code is not None else ()
    found = next(((c, at) for c, at in frames if c.co_filename == code.co_filename), None)
    line, end, start_column, end_column = list(found[0].co_positions())[found[1] // 2] if found else (None,) * 4
    if line is None:
        return ""
    text = [linecache.getline(code.co_filename, i).encode() for i in range(line, (end or line) + 1)]  # columns in bytes
    if end_column is not None:
        text[-1] = text[-1][:end_column]
        text[0] = text[0][start_column:]
    words = " ".join(b"".join(text).decode(errors="replace").split())
    return f" ({Path(code.co_filename).name}:{line}{': ' if words else ''}{words[:80]})"
