"""Functions of float32 that are computed in float64 and rounded once: powers and circular functions, without branches.

The argument x of sin and cos is reduced by the digits of 2 / pi in pieces of 24 bits (Payne & Hanek 1983,
10.1145/1057600.1057602): a product of x and a piece is exact, and so is its remainder modulo 4 quarter turns.
"""

import math

import numpy as np

from . import emit_math
from .emit_lanes import FLOATS

DOUBLE = np.dtype(np.float64)
PI = 31415926535897932384626433832795028841971693993751058209749445923078164062862089986  # times 10^82
PIECES = 8  # 2^128, above every float32, times 2^-192 is below any digit that counts
_DIGITS = ((2 * 10**82) << (24 * PIECES)) // PI
TWO_BY_PI = [float((_DIGITS >> (24 * (PIECES - j - 1))) & 0xFFFFFF) * 2.0 ** (-24 * (j + 1)) for j in range(PIECES)]
SIN = [(-1) ** k / math.factorial(2 * k + 1) for k in range(6)][::-1]
COS = [(-1) ** k / math.factorial(2 * k) for k in range(7)][::-1]


def _wide(g, x):
    return g.b.fpext(x, g.type(FLOATS[8]))


def _quarters(g, x):
    """(n, r): x = (n + r) pi / 2 modulo whole turns, |r| <= 1/2; n in the lowest bits of an integer."""
    n, r = g.ints(DOUBLE, 0), g.const(DOUBLE, 0)
    for piece in TWO_BY_PI:
        product = g.b.fmul(x, g.const(DOUBLE, piece))
        turns = g.unary("roundeven", g.b.fmul(product, g.const(DOUBLE, 0.25)))
        r = g.b.fadd(r, g.fma(turns, g.const(DOUBLE, -4), product))
        whole, bits = emit_math.nearest(g, r, DOUBLE)
        n, r = g.b.add(n, bits), g.b.fsub(r, whole)
    return n, r


def _circular(g, x, shift):
    n, r = _quarters(g, _wide(g, x))
    n = g.b.add(n, g.ints(DOUBLE, shift))
    r = g.b.fmul(r, g.const(DOUBLE, math.pi / 2))
    square = g.b.fmul(r, r)
    sine, cosine = g.b.fmul(r, g.horner(square, SIN, DOUBLE)), g.horner(square, COS, DOUBLE)
    is_set = lambda bit: g.b.icmp_unsigned("!=", g.b.and_(n, g.ints(DOUBLE, bit)), g.ints(DOUBLE, 0))
    y = g.b.select(is_set(1), cosine, sine)
    return g.b.fptrunc(g.b.select(is_set(2), g.b.fneg(y), y), x.type)


def sin(g, eqn, x):
    tiny = g.below(g.unary("fabs", x), g.const(np.float32, 2.0**-13))
    return g.b.select(tiny, x, _circular(g, x, 0))


def cos(g, eqn, x):
    return _circular(g, x, 1)


def power(g, eqn, x, y):
    """x^y = e^(y log|x|), with the special values of IEEE 754."""
    base, exponent = _wide(g, x), _wide(g, y)
    zero, one = g.const(DOUBLE, 0), g.const(DOUBLE, 1)
    size = g.unary("fabs", base)
    made = emit_math.exp(g, g.b.fmul(exponent, emit_math.log(g, size, DOUBLE)), DOUBLE)
    is_whole = lambda v: g.b.fcmp_ordered("==", v, g.unary("floor", v))
    whole = is_whole(exponent)
    odd = g.b.and_(whole, g.b.not_(is_whole(g.b.fmul(exponent, g.const(DOUBLE, 0.5)))))
    signed = g.intrinsic(f"llvm.copysign.{g.suffix(made.type)}", made.type, made, base)
    made = g.b.select(odd, signed, made)
    finite = g.below(size, g.const(DOUBLE, np.inf))
    undefined = g.b.and_(g.b.and_(g.below(base, zero), finite), g.b.not_(whole))
    made = g.b.select(undefined, g.const(DOUBLE, np.nan), made)
    endless = g.b.fcmp_ordered("==", g.unary("fabs", exponent), g.const(DOUBLE, np.inf))
    is_one = g.b.or_(
        g.b.or_(g.b.fcmp_ordered("==", exponent, zero), g.b.fcmp_ordered("==", base, one)),
        g.b.and_(g.b.fcmp_ordered("==", size, one), endless),
    )
    return g.b.fptrunc(g.b.select(is_one, one, made), x.type)
