"""A trial of the equations of a plasticity rule when it is defined: errors in them name the method and the line.

Every method is traced on numbers, as a run does it, so what would fail then fails now. It is traced twice: a constant
that differs, as `np.random` gives one, would be the same for all edges in all steps of a run.
"""

import inspect
import linecache
import random
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Literal

from .chance import EdgeKey
from .errors import BrainsimError, DefinitionError, unknown

EVENTS = ("on_pre", "on_post", "on_modulator")
BRANCH = (
    "if, and, or, min() and max() cannot look at values that are known only in a run; write jnp.where(condition, a, b) "
    "instead of if, jnp.maximum instead of max, & and | instead of and and or"
)
NUMPY = (
    "NumPy cannot compute with values that are known only in a run; write jnp.exp instead of np.exp "
    "(import jax.numpy as jnp)"
)
KNOWN = (
    "float(), int(), range(), indices and the math module need values that are known before a run; write jnp.exp "
    "instead of math.exp, jnp.where instead of an index"
)


def try_method(cls, method: str, asked):
    """Trace one method of a rule on numbers.

    Args:
        asked: names of its arguments.

    Raises:
        DefinitionError: it cannot be evaluated, returns something else than numbers, or draws random numbers that
            a run would not draw anew.
    """
    where = f"{cls.__name__}.{method}"
    before = _generators()
    first, second = (_traced(cls, method, asked, where) for _ in range(2))
    used = [name for name, was in before.items() if was != _generators()[name]]
    if used or _constants(first) != _constants(second):
        what = f"draws from {' and '.join(used)}" if used else "gives other constants each time it is called"
        _refuse_frozen(method, f"{where} {what}")
    if "key" not in asked and _seeded(first):
        _refuse_frozen(method, f"{where} draws from a key of its own")


def _traced(cls, method, asked, where):
    real = jax.ShapeDtypeStruct((), jnp.result_type(float))
    word = jax.ShapeDtypeStruct((), jnp.uint32)
    values = {a: EdgeKey(word, word) if a == "key" else real for a in asked}
    own = method[1:] if method not in EVENTS else None

    def call(params, values):
        return _numbers(method, where, getattr(cls.__bind__(params), method)(**values))

    def sloped(params, values):  # a run steps these by their slope
        f = lambda x: call(params, {**values, own: x})
        return jax.jvp(f, (values[own],), (jnp.ones_like(values[own]),))

    try:
        return jax.make_jaxpr(sloped if own in asked else call)(dict.fromkeys(cls.__params__, real), values)
    except BrainsimError:
        raise
    except Exception as error:
        cause = (str(error).strip() or "no message").splitlines()[0].rstrip(".")[:200]
        at = _line(cls, method, error)
        raise DefinitionError(f"{where}{at}: {type(error).__name__}: {cause}; {_advice(cls, error)}") from error


def _advice(cls, error) -> str:
    if isinstance(error, jax.errors.TracerBoolConversionError):
        return BRANCH
    if isinstance(error, jax.errors.TracerArrayConversionError):
        return NUMPY
    if EdgeKey.__name__ in str(error):
        return "the key of an edge is read by bs.uniform_of(key); for jax.random, write bs.jax_key(key)"
    if isinstance(error, jax.errors.ConcretizationTypeError | jax.errors.TracerIntegerConversionError):
        return KNOWN
    if isinstance(error, TypeError) and "integer scalar arrays" in str(error):
        return KNOWN
    if isinstance(error, AttributeError) and isinstance(getattr(error, "obj", None), cls):
        return unknown("parameter", error.name, {*cls.__params__, *cls.__consts__})
    return "correct the equation: it is called with one number for every argument and parameter"


def _line(cls, method, error) -> str:
    """Where the user's code was: " (rules.py:12: if w > 0:)"."""
    code = inspect.unwrap(getattr(cls, method)).__code__
    found, step = None, error.__traceback__
    while step is not None:
        if step.tb_frame.f_code.co_filename == code.co_filename:
            found = step.tb_lineno
        step = step.tb_next
    if found is None:
        return ""
    text = linecache.getline(code.co_filename, found).strip()[:80]
    return f" ({Path(code.co_filename).name}:{found}{': ' if text else ''}{text})"


# --- what a method returns


def _numbers(method, where, result):
    """The result as numbers of a run, checked."""
    if method not in EVENTS:
        return _number(where, "", result, "return the derivative as one number")
    if not isinstance(result, dict):
        got = "None (is the return missing?)" if result is None else type(result).__name__
        raise DefinitionError(f"{where} must return a dict of names, got {got}; write return dict(w=...)")
    return {k: _number(where, f" for {k!r}", x, f"write {k}=... with one number") for k, x in result.items()}


def _number(where, what, value, instead):
    problem = None
    if value is None:
        problem = "None" + ("" if what else " (is the return missing?)")
    elif not isinstance(value, bool | int | float | complex | np.generic | np.ndarray | jax.Array):
        problem = f"a {type(value).__name__}"
    elif np.shape(value):
        problem, instead = f"an array of shape {np.shape(value)}", f"an equation is that of ONE edge or cell: {instead}"
    elif jnp.issubdtype(jnp.result_type(value), jnp.complexfloating):
        problem, instead = "a complex number", "take its real part, .real, or its size, jnp.abs"
    elif not jnp.issubdtype(jnp.result_type(value), jnp.number) and not jnp.issubdtype(
        jnp.result_type(value), jnp.bool_
    ):
        problem = f"a value of type {jnp.result_type(value)}"
    if problem:
        raise DefinitionError(f"{where} returns {problem}{what}; {instead}")
    return jnp.asarray(value, jnp.result_type(float))


# --- random numbers that tracing freezes


def _generators() -> dict:
    """States of the global random number generators."""
    kind, words, place, *rest = np.random.get_state()  # noqa: NPY002 - what users may draw from
    return {"np.random": (kind, words.tobytes(), place, *rest), "Python's random": random.getstate()}


def _refuse_frozen(method, problem):
    way = (
        f"ask for key and write bs.uniform_of(key), as in def {method}(self, key)"
        if method in ("on_pre", "on_post")
        else "draw in on_pre or on_post, which may ask for key (bs.uniform_of(key))"
    )
    raise DefinitionError(
        f"{problem}, but an equation is traced once, before the run: every edge would see the same number in every "
        f"step; {way}"
    )


def _inner(jaxpr):
    """A jaxpr and all that its equations call."""
    yield jaxpr
    for equation in jaxpr.eqns:
        for value in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda x: hasattr(x, "eqns")):
            if hasattr(value, "eqns"):
                yield from _inner(getattr(value, "jaxpr", value))


def _constants(closed) -> list:
    """Operations and numbers that stand in a traced equation, in order."""
    found = [np.asarray(c).tobytes() for c in closed.consts if not _is_key(c)]
    for jaxpr in _inner(closed.jaxpr):
        for equation in jaxpr.eqns:
            found.append(equation.primitive.name)
            found += [np.asarray(v.val).tobytes() for v in equation.invars if isinstance(v, Literal)]
        found += [np.asarray(v.val).tobytes() for v in jaxpr.outvars if isinstance(v, Literal)]
    return found


def _is_key(x) -> bool:
    return jnp.issubdtype(jnp.result_type(x), jax.dtypes.prng_key)


def _seeded(closed) -> bool:
    """Whether an equation makes a key of a fixed number, or has one from outside."""
    made = (e for jaxpr in _inner(closed.jaxpr) for e in jaxpr.eqns if e.primitive.name == "random_seed")
    return any(all(isinstance(v, Literal) for v in e.invars) for e in made) or any(map(_is_key, closed.consts))
