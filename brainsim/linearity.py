"""Whether an equation is linear in some of its arguments, without a constant part: read from its jaxpr, operation by
operation. Derivatives at points could not tell: those of sign, round or a threshold are those of a linear function
almost everywhere.
"""

import jax
import numpy as np
from jax.extend.core import Literal

FREE, LINEAR, ZERO, OTHER = "free of them", "linear", "zero", "anything else"
SHAPING = {"neg", "copy", "copy_p", "broadcast_in_dim", "reshape", "squeeze", "convert_element_type", "stop_gradient"}
INNER = ("jaxpr", "call_jaxpr", "fun_jaxpr")


def is_linear(function, params, values, own) -> bool:
    """Whether function(params, values) is linear in the entries `own` of `values`, and zero where these are.

    Args:
        function: returns a number. params, values: dicts of scalars; only their shapes count.
    """
    closed = jax.make_jaxpr(function)(params, values)
    kinds = [FREE] * len(params) + [LINEAR if name in own else FREE for name in sorted(values)]
    return _walk(closed, kinds)[0] in (LINEAR, ZERO)


def _walk(closed, kinds) -> list[str]:
    jaxpr = closed.jaxpr
    known = dict(zip(jaxpr.invars, kinds, strict=True))
    known |= {
        v: ZERO if np.ndim(c) == 0 and c == 0 else FREE for v, c in zip(jaxpr.constvars, closed.consts, strict=True)
    }
    kind = lambda v: (ZERO if np.all(v.val == 0) else FREE) if isinstance(v, Literal) else known[v]
    for eqn in jaxpr.eqns:
        found = _kinds(eqn, [kind(v) for v in eqn.invars])
        known.update(zip(eqn.outvars, found, strict=True))
    return [kind(v) for v in jaxpr.outvars]


def _kinds(eqn, given) -> list[str]:
    """What the results of one operation are."""
    name, n = eqn.primitive.name, len(eqn.outvars)
    inner = next((eqn.params[k] for k in INNER if k in eqn.params), None)
    if inner is not None and hasattr(inner, "jaxpr") and len(inner.jaxpr.invars) == len(given):
        return _walk(inner, given)
    if name == "mul":
        return [_product(*given)]
    if name == "div":
        return [given[0] if given[1] == FREE else OTHER] if LINEAR in given or OTHER in given else [_quotient(*given)]
    if name in ("add", "sub", "add_any"):
        return [_sum(given)]
    if name == "select_n":
        return [_sum(given[1:]) if given[0] in (FREE, ZERO) else OTHER]
    if not {LINEAR, OTHER} & set(given):
        # a function of zeros need not be zero
        return [ZERO if name in SHAPING and set(given) == {ZERO} else FREE] * n
    if name in SHAPING and len(given) == 1 and _keeps_floats(eqn):
        return given * n
    if name == "integer_pow" and eqn.params["y"] == 1:
        return given * n
    return [OTHER] * n


def _keeps_floats(eqn) -> bool:
    return all(np.issubdtype(v.aval.dtype, np.floating) for v in (*eqn.invars, *eqn.outvars))


def _sum(given) -> str:
    kinds = set(given) - {ZERO}
    if not kinds:
        return ZERO
    return kinds.pop() if len(kinds) == 1 else OTHER


def _product(a, b) -> str:
    if ZERO in (a, b):
        return ZERO
    if OTHER in (a, b) or a == b == LINEAR:
        return OTHER
    return LINEAR if LINEAR in (a, b) else FREE


def _quotient(a, b) -> str:
    return ZERO if a == ZERO and b == FREE else FREE
