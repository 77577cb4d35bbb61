"""The LLVM IR of every primitive in `scalar_graph.RULES`: rule(g, eqn, *values) -> value; g is a `Lanes`."""

import numpy as np

from . import emit_math, emit_wide
from .emit_lanes import register_type

COMPARE = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}


def _dtype(eqn, i=0):
    return np.dtype(eqn.invars[i].aval.dtype)


def _is_float(eqn):
    return _dtype(eqn).kind == "f"


def _arithmetic(name):
    def rule(g, eqn, x, y):
        return getattr(g.b, ("f" if _is_float(eqn) else "") + name)(x, y)

    return rule


def _compare(g, dtype, op, x, y):
    if dtype.kind == "f":
        return (g.b.fcmp_unordered if op == "!=" else g.b.fcmp_ordered)(op, x, y)
    return (g.b.icmp_signed if dtype.kind == "i" else g.b.icmp_unsigned)(op, x, y)


def _comparison(op):
    return lambda g, eqn, x, y: _compare(g, _dtype(eqn), op, x, y)


def _extreme(g, dtype, op, x, y):
    """max or min; nan in either operand is the result."""
    if dtype.kind != "f":
        return g.b.select(_compare(g, dtype, op, x, y), x, y)
    if g.is_number(x) and not g.is_number(y):
        x, y = y, x
    if g.is_number(y):  # one instruction
        return g.b.select(_compare(g, dtype, op, y, x), y, x)
    wins = g.b.or_(_compare(g, dtype, op, x, y), g.b.fcmp_unordered("uno", x, x))
    return g.b.select(wins, x, y)


def _max(g, eqn, x, y):
    return _extreme(g, _dtype(eqn), ">", x, y)


def _min(g, eqn, x, y):
    return _extreme(g, _dtype(eqn), "<", x, y)


def _clamp(g, eqn, low, x, high):
    return _extreme(g, _dtype(eqn), "<", _extreme(g, _dtype(eqn), ">", x, low), high)


def _neg(g, eqn, x):
    return g.b.fneg(x) if _is_float(eqn) else g.b.sub(g.const(_dtype(eqn), 0), x)


def _abs(g, eqn, x):
    dtype = _dtype(eqn)
    if dtype.kind == "f":
        return g.unary("fabs", x)
    return g.b.select(_compare(g, dtype, "<", x, g.const(dtype, 0)), _neg(g, eqn, x), x)


def _sign(g, eqn, x):
    """-1, 0 or 1; a float zero keeps its sign, nan stays nan."""
    dtype = _dtype(eqn)
    zero = g.const(dtype, 0)
    y = g.b.select(_compare(g, dtype, ">", x, zero), g.const(dtype, 1), x)
    return y if dtype.kind == "u" else g.b.select(_compare(g, dtype, "<", x, zero), g.const(dtype, -1), y)


def _divided(g, dtype, x, y, remainder):
    """Integer division as in XLA: x / 0 = -1, x % 0 = x, smallest / -1 = smallest, smallest % -1 = 0."""
    zero, one = g.const(dtype, 0), g.const(dtype, 1)
    by_zero = g.b.icmp_unsigned("==", y, zero)
    safe = g.b.select(by_zero, one, y)
    if dtype.kind == "u":
        made = (g.b.urem if remainder else g.b.udiv)(x, safe)
    else:
        minus = g.b.icmp_signed("==", y, g.const(dtype, -1))
        safe = g.b.select(minus, one, safe)
        made = (g.b.srem if remainder else g.b.sdiv)(x, safe)
        made = made if remainder else g.b.select(minus, g.b.sub(zero, x), made)
    limit = np.iinfo(dtype).max if dtype.kind == "u" else -1
    return g.b.select(by_zero, x if remainder else g.const(dtype, limit), made)


def _div(g, eqn, x, y):
    return g.b.fdiv(x, y) if _is_float(eqn) else _divided(g, _dtype(eqn), x, y, False)


def _rem(g, eqn, x, y):
    return _divided(g, _dtype(eqn), x, y, True)


def _integer_pow(g, eqn, x):
    dtype, y = _dtype(eqn), eqn.params["y"]
    one = g.const(dtype, 1)
    multiply = g.b.fmul if dtype.kind == "f" else g.b.mul
    made = emit_math.integer_power(g, x, y, one, multiply)
    if y >= 0:
        return made
    return g.b.fdiv(one, made) if dtype.kind == "f" else _divided(g, dtype, one, made, False)


def _square(g, eqn, x):
    return g.b.fmul(x, x) if _is_float(eqn) else g.b.mul(x, x)


def _shift(name, fill_sign=False):
    """Shift; an amount outside the width gives 0, or the sign everywhere."""

    def rule(g, eqn, x, amount):
        bits = 8 * _dtype(eqn).itemsize
        inside = g.b.icmp_unsigned("<", amount, g.const(_dtype(eqn), bits))
        limit = bits - 1 if fill_sign else 0
        made = getattr(g.b, name)(x, g.b.select(inside, amount, g.const(_dtype(eqn), limit)))
        return made if fill_sign else g.b.select(inside, made, g.const(_dtype(eqn), 0))

    return rule


def _convert(g, eqn, x):
    old, new = _dtype(eqn), np.dtype(eqn.outvars[0].aval.dtype)
    if old == new:
        return x
    if new.kind == "b":
        return _compare(g, old, "!=", x, g.const(old, 0))
    kind = g.type(register_type(new))
    if new.kind == "f":
        if old.kind == "f":
            return (g.b.fpext if new.itemsize > old.itemsize else g.b.fptrunc)(x, kind)
        if old.kind == "b":
            return g.b.select(x, g.const(new, 1), g.const(new, 0))
        return (g.b.sitofp if old.kind == "i" else g.b.uitofp)(x, kind)
    if old.kind == "f":
        name = "fptosi" if new.kind == "i" else "fptoui"
        return g.intrinsic(f"llvm.{name}.sat.{g.suffix(kind)}.{g.suffix(x.type)}", kind, x)
    if old.kind != "b" and new.itemsize <= old.itemsize:
        return x if new.itemsize == old.itemsize else g.b.trunc(x, kind)
    return (g.b.sext if old.kind == "i" else g.b.zext)(x, kind)


def _is_finite(g, eqn, x):
    return g.below(g.unary("fabs", x), g.const(_dtype(eqn), np.inf))


def _round(g, eqn, x):
    even = int(eqn.params["rounding_method"]) == 1
    return g.unary("roundeven" if even else "round", x)


def _rsqrt(g, eqn, x):
    return g.b.fdiv(g.const(_dtype(eqn), 1), g.unary("sqrt", x))


def _select(g, eqn, which, no, yes):
    return g.b.select(which, yes, no)


def _same(g, eqn, x, *_):
    return x


def _math(function):
    return lambda g, eqn, x: function(g, x, _dtype(eqn))


def _unary(name):
    return lambda g, eqn, x: g.unary(name, x)


MATH = ("exp", "exp2", "expm1", "log", "log1p", "logistic", "tanh")
EMIT = {
    "add": _arithmetic("add"),
    "add_any": _arithmetic("add"),
    "sub": _arithmetic("sub"),
    "mul": _arithmetic("mul"),
    "div": _div,
    "rem": _rem,
    "neg": _neg,
    "abs": _abs,
    "sign": _sign,
    "max": _max,
    "min": _min,
    "clamp": _clamp,
    "integer_pow": _integer_pow,
    "square": _square,
    "sqrt": _unary("sqrt"),
    "rsqrt": _rsqrt,
    "floor": _unary("floor"),
    "ceil": _unary("ceil"),
    "round": _round,
    "is_finite": _is_finite,
    "and": lambda g, eqn, x, y: g.b.and_(x, y),
    "or": lambda g, eqn, x, y: g.b.or_(x, y),
    "xor": lambda g, eqn, x, y: g.b.xor(x, y),
    "not": lambda g, eqn, x: g.b.xor(
        x, g.const(_dtype(eqn), True if _dtype(eqn).kind == "b" else ~_dtype(eqn).type(0))
    ),
    "shift_left": _shift("shl"),
    "shift_right_logical": _shift("lshr"),
    "shift_right_arithmetic": _shift("ashr", fill_sign=True),
    "convert_element_type": _convert,
    "select_n": _select,
    "pow": emit_wide.power,
    "sin": emit_wide.sin,
    "cos": emit_wide.cos,
    **{name: _math(getattr(emit_math, name)) for name in MATH},
    **{name: _comparison(op) for name, op in COMPARE.items()},
    **dict.fromkeys(("copy", "copy_p", "stop_gradient", "broadcast_in_dim", "reshape", "squeeze"), _same),
}
