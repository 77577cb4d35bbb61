"""What `map_scalars` asks of a jaxpr of scalars before any code is made of it. Imports neither numba nor llvmlite."""

import jax
import numpy as np
from jax.extend import core

DTYPES = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64")

FLOAT, INTEGER, NUMBER, BITS, BOOL = "f", "iu", "fiu", "iub", "b"

# primitive name -> kinds its first operand may have (numpy dtype kinds)
RULES = {
    **dict.fromkeys(("add", "add_any", "sub", "mul", "div", "neg", "abs", "sign", "max", "min", "clamp"), NUMBER),
    **dict.fromkeys(("integer_pow", "square"), NUMBER),
    **dict.fromkeys(("exp", "exp2", "expm1", "log", "log1p", "logistic", "tanh", "sqrt", "rsqrt"), FLOAT),
    **dict.fromkeys(("floor", "ceil", "round", "is_finite", "pow", "sin", "cos"), FLOAT),
    **dict.fromkeys(("rem", "shift_left", "shift_right_logical", "shift_right_arithmetic"), INTEGER),
    **dict.fromkeys(("and", "or", "xor", "not"), BITS),
    **dict.fromkeys(("eq", "ne", "lt", "le", "gt", "ge", "convert_element_type"), NUMBER + BOOL),
    **dict.fromkeys(("copy", "copy_p", "stop_gradient"), NUMBER + BOOL),
    **dict.fromkeys(("broadcast_in_dim", "reshape", "squeeze"), NUMBER + BOOL),
    "select_n": BOOL,
}
FLOAT32_ONLY = ("pow", "sin", "cos")  # these compute in float64 inside (`emit_wide`)
# primitives that call a jaxpr, which is inlined -> the parameter that holds it
CALLS = {
    **dict.fromkeys(("jit", "pjit", "remat2", "checkpoint"), "jaxpr"),
    **dict.fromkeys(("closed_call", "core_call", "custom_jvp_call", "custom_vjp_call"), "call_jaxpr"),
}


def inner(eqn):
    """The jaxpr that an equation calls, as (jaxpr, consts); None for an elementwise equation."""
    called = eqn.params.get(CALLS.get(eqn.primitive.name, ""))
    if called is None:
        return None
    return (called.jaxpr, called.consts) if isinstance(called, core.ClosedJaxpr) else (called, ())


def _fits(atom):
    aval = atom.aval
    return getattr(aval, "shape", None) == () and getattr(aval.dtype, "name", "") in DTYPES


def _known(eqn):
    if not all(_fits(a) for a in (*eqn.invars, *eqn.outvars)):
        return False
    called = inner(eqn)
    if called is not None:
        return supported(called[0]) and all(np.shape(c) == () for c in called[1])
    name = eqn.primitive.name
    if name in FLOAT32_ONLY and any(a.aval.dtype != np.float32 for a in eqn.invars):
        return False
    return name in RULES and eqn.invars[0].aval.dtype.kind in RULES[name]


def supported(jaxpr) -> bool:
    """True where every equation has a native rule for scalars of its dtypes."""
    atoms = (*jaxpr.constvars, *jaxpr.invars, *jaxpr.outvars)
    return not jaxpr.effects and all(_fits(a) for a in atoms) and all(_known(e) for e in jaxpr.eqns)


def _is_literal(atom):
    return isinstance(atom, core.Literal)


def without_consts(jaxpr):
    """The jaxpr with its constvars as first invars."""
    invars, info = [*jaxpr.constvars, *jaxpr.invars], jaxpr.debug_info.with_unknown_names()
    return jaxpr.replace(constvars=[], invars=invars, debug_info=info)


def hoist(jaxpr, mapped):
    """Split off the equations without a native rule that no mapped value reaches: they run once, in XLA.

    Args:
        jaxpr: open jaxpr without constvars.
        mapped: one flag per invar.

    Returns:
        (once, rest, kept): `once` takes the shared invars; `rest` the kept invars of `jaxpr`, one flag each, and the
        results of `once`. None where that does not make `rest` supported.
    """
    known = {v for v, m in zip(jaxpr.invars, mapped) if not m}
    once, rest = [], []
    for eqn in jaxpr.eqns:
        shared = all(_is_literal(a) or a in known for a in eqn.invars) and not eqn.effects
        (once if shared else rest).append(eqn)
        known.update(eqn.outvars if shared else ())
    read = dict.fromkeys(a for a in (*(a for e in rest for a in e.invars), *jaxpr.outvars) if not _is_literal(a))
    made = {v for e in once for v in e.outvars}
    wanted, kept = [v for v in read if v in made], [v in read for v in jaxpr.invars]
    shared = [v for v, m in zip(jaxpr.invars, mapped) if not m]
    info = jaxpr.debug_info.with_unknown_names()
    invars = [*(v for v, k in zip(jaxpr.invars, kept) if k), *wanted]
    last = jaxpr.replace(eqns=rest, invars=invars, debug_info=info)
    if not supported(last):
        return None
    return jaxpr.replace(eqns=once, invars=shared, outvars=wanted, debug_info=info), last, kept


def evaluate(jaxpr, *operands):
    """The results of an open jaxpr without constvars, as a list; custom derivatives stay what they are."""
    return core.jaxpr_as_fun(core.ClosedJaxpr(jaxpr, ()))(*operands)


def mapped_form(jaxpr, mapped, n, *operands):
    """The pure XLA form: jax.vmap over the operands whose flag is set, results broadcast to (n, ...)."""
    axes = tuple(0 if m else None for m in mapped)
    if not any(mapped):
        return [jax.numpy.broadcast_to(x, (n, *np.shape(x))) for x in evaluate(jaxpr, *operands)]
    return jax.vmap(lambda *xs: evaluate(jaxpr, *xs), in_axes=axes, axis_size=n)(*operands)


def calls(jaxpr, name):
    """True where the jaxpr, or one that it calls, has an equation of this primitive."""
    return any(e.primitive.name == name or (inner(e) and calls(inner(e)[0], name)) for e in jaxpr.eqns)


def _structs(atoms):
    return [jax.ShapeDtypeStruct((), a.aval.dtype, weak_type=a.aval.weak_type) for a in atoms]


def _traced(function, *arguments):
    """(jaxpr without constvars, constants that are its first operands, positions of the results that can move).

    Results that are the literal zero are left out.
    """
    closed = jax.make_jaxpr(function)(*arguments)
    jaxpr = without_consts(closed.jaxpr)
    kept = [k for k, a in enumerate(jaxpr.outvars) if not (_is_literal(a) and a.val == 0)]
    info = jaxpr.debug_info.with_unknown_names()
    jaxpr = jaxpr.replace(outvars=[jaxpr.outvars[k] for k in kept], debug_info=info)
    return jaxpr, [jax.numpy.asarray(c) for c in closed.consts], kept


def tangents(jaxpr, moving):
    """Forward derivative: a jaxpr (*invars, *tangents of the `moving` ones) -> tangents of float results.

    Returns:
        (jaxpr, constants in front of its operands, the results whose tangents it has: the others are zero).
    """
    floats = [o for o, a in enumerate(jaxpr.outvars) if a.aval.dtype.kind == "f"]

    def along(primals, moved):
        def partial(*values):
            return evaluate(jaxpr, *_merged(primals, moving, values))

        made = jax.jvp(partial, [primals[i] for i in moving], moved)[1]
        return [made[o] for o in floats]

    made, consts, kept = _traced(along, _structs(jaxpr.invars), _structs(jaxpr.invars[i] for i in moving))
    return made, consts, [floats[k] for k in kept]


def cotangents(jaxpr, linear, given):
    """Transpose by the invars `linear`: a jaxpr (*other invars, *cotangents of the results `given`) -> cotangents.

    The other invars come in again and whatever the cotangents need of them is computed anew.

    Returns:
        (jaxpr, constants in front of its operands, those of `linear` whose cotangents it has: the others are zero).
    """
    others = [i for i in range(len(jaxpr.invars)) if i not in linear]

    def pulled(known, cts):
        def of_linear(*values):
            primals = _merged([None] * len(jaxpr.invars), (*others, *linear), (*known, *values))
            made = evaluate(jaxpr, *primals)
            return [made[o] for o in given]

        return jax.linear_transpose(of_linear, *_structs(jaxpr.invars[i] for i in linear))(cts)

    known, cts = _structs(jaxpr.invars[i] for i in others), _structs(jaxpr.outvars[o] for o in given)
    made, consts, kept = _traced(pulled, known, cts)
    return made, consts, [linear[k] for k in kept]


def _merged(values, places, changed):
    """`values` with those at `places` replaced."""
    out = list(values)
    for place, value in zip(places, changed):
        out[place] = value
    return out
