"""Elementary functions as LLVM IR without calls and branches: polynomials, within 2 ulp of the exact value.

exp after Cephes (Moshier), log after fdlibm (Sun Microsystems); both are reductions to a small interval and a series.
"""

import math

import numpy as np

LOG2E = 1.4426950408889634
LN2 = {4: (0.693359375, -2.12194440054690583e-4), 8: (6.93145751953125e-1, 1.42860682030941723212e-6)}
LN2_LOG = {4: (6.9313812256e-01, 9.0580006145e-06), 8: (6.93147180369123816490e-01, 1.90821492927058770002e-10)}
LOG_SERIES = {
    4: (0.24279078841, 0.28498786688, 0.40000972152, 0.66666662693),
    8: (
        1.479819860511658591e-01,
        1.531383769920937332e-01,
        1.818357216161805012e-01,
        2.222219843214978396e-01,
        2.857142874366239149e-01,
        3.999999999940941908e-01,
        6.666666666666735130e-01,
    ),
}


def _series(dtype):
    """Coefficients of (e^r - 1 - r) / r^2 for |r| <= ln(2) / 2, highest power first."""
    if dtype.itemsize == 4:
        return (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)
    return tuple(1 / math.factorial(n) for n in range(13, 1, -1))


def nearest(g, x, dtype):
    """x rounded to an integer, as a float and in the lowest bits of an integer of the same width; |x| < 2^21."""
    magic = g.const(dtype, 1.5 * 2.0 ** np.finfo(dtype).nmant)
    shifted = g.b.fadd(x, magic)
    return g.b.fsub(shifted, magic), g.as_bits(shifted, dtype)


def _half_power(g, k, dtype):
    """2^(k - 1) where only the lowest bits of k count; k - 1 in the normal range."""
    info = np.finfo(dtype)
    exponent = g.b.add(g.b.shl(k, g.ints(dtype, info.nmant)), g.ints(dtype, -info.minexp << info.nmant))
    return g.as_float(exponent, dtype)


def _below(g, x, high, dtype):
    """x limited from above; nan stays nan."""
    high = g.const(dtype, high)
    return g.b.select(g.below(high, x), high, x)


def _reduced(g, x, dtype):
    """(k, r) with x = k ln(2) + r; k in the lowest bits."""
    n, k = nearest(g, g.b.fmul(x, g.const(dtype, LOG2E)), dtype)
    high, low = LN2[dtype.itemsize]
    r = g.fma(n, g.const(dtype, -high), x)
    r = g.fma(n, g.const(dtype, -low), r)
    return k, r


def _exp_minus_one(g, r, dtype):
    return g.fma(g.b.fmul(r, r), g.horner(r, _series(dtype), dtype), r)


def _two_to(g, k, r, x, low, high, dtype):
    """2^k e^r, k added to the exponent: inf where x is above `high`, nan at nan, and 0 where x is below `low`.

    A result below the smallest normal number is flushed, as XLA does.
    """
    p = g.b.fadd(_exp_minus_one(g, r, dtype), g.const(dtype, 1))
    y = g.b.add(g.as_bits(p, dtype), g.b.shl(k, g.ints(dtype, np.finfo(dtype).nmant)))
    inside = g.b.fcmp_ordered("<=", x, g.const(dtype, high))
    y = g.b.select(inside, g.as_float(y, dtype), g.b.fadd(x, g.const(dtype, np.inf)))
    return g.b.select(g.below(x, g.const(dtype, low)), g.const(dtype, 0), y)


def exp(g, x, dtype):
    low, high = (-87.33654, 88.72283) if dtype.itemsize == 4 else (-708.3964185322641, 709.782712893384)
    return _two_to(g, *_reduced(g, x, dtype), x, low, high, dtype)


def exp2(g, x, dtype):
    n, k = nearest(g, x, dtype)
    r = g.b.fmul(g.b.fsub(x, n), g.const(dtype, math.log(2)))
    info = np.finfo(dtype)
    high = np.nextafter(np.asarray(info.maxexp, dtype), np.asarray(0, dtype))
    return _two_to(g, k, r, x, info.minexp, high, dtype)


def expm1(g, x, dtype):
    """2^k (e^r - 1) + (2^k - 1), in halves; -1 below `low`."""
    low, high, tiny = (-20.0, 89.0, 2.0**-25) if dtype.itemsize == 4 else (-40.0, 710.0, 2.0**-54)
    k, r = _reduced(g, _below(g, x, high, dtype), dtype)
    half = _half_power(g, k, dtype)
    y = g.fma(half, _exp_minus_one(g, r, dtype), g.b.fsub(half, g.const(dtype, 0.5)))
    y = g.b.select(g.below(x, g.const(dtype, low)), g.const(dtype, -1), g.b.fadd(y, y))
    return g.b.select(g.below(g.unary("fabs", x), g.const(dtype, tiny)), x, y)


def logistic(g, x, dtype):
    one = g.const(dtype, 1)
    return g.b.fdiv(one, g.b.fadd(one, exp(g, g.b.fneg(x), dtype)))


def tanh(g, x, dtype):
    """t / (t + 2) with t = e^2|x| - 1, with the sign of x."""
    size = _below(g, g.unary("fabs", x), 20.0, dtype)
    t = expm1(g, g.b.fadd(size, size), dtype)
    y = g.b.fdiv(t, g.b.fadd(t, g.const(dtype, 2)))
    return g.intrinsic(f"llvm.copysign.{g.suffix(x.type)}", x.type, y, x)


def log(g, x, dtype):
    info = np.finfo(dtype)
    grow = info.nmant + 1
    small = g.below(x, g.const(dtype, info.tiny))
    y = g.b.select(small, g.b.fmul(x, g.const(dtype, 2.0**grow)), x)
    # y = 2^k m with m in [sqrt(1/2), sqrt(2)): the exponent is taken after moving sqrt(1/2) to a power of two
    bits = g.as_bits(y, dtype)
    start = int(np.asarray(math.sqrt(0.5), dtype).view(f"int{8 * dtype.itemsize}"))
    k = g.b.ashr(g.b.sub(bits, g.ints(dtype, start)), g.ints(dtype, info.nmant))
    m = g.as_float(g.b.sub(bits, g.b.shl(k, g.ints(dtype, info.nmant))), dtype)
    k = g.b.sub(k, g.b.select(small, g.ints(dtype, grow), g.ints(dtype, 0)))
    y = _log_of(g, g.b.fsub(m, g.const(dtype, 1)), g.b.sitofp(k, x.type), dtype)
    zero, infinity = g.const(dtype, 0), g.const(dtype, np.inf)
    y = g.b.select(g.b.fcmp_ordered("==", x, infinity), infinity, y)
    y = g.b.select(g.b.fcmp_ordered("==", x, zero), g.const(dtype, -np.inf), y)
    return g.b.select(g.b.fcmp_unordered("<", x, zero), g.const(dtype, np.nan), y)


def _log_of(g, f, k, dtype):
    """log(1 + f) + k ln(2) for 1 + f in [sqrt(1/2), sqrt(2))."""
    s = g.b.fdiv(f, g.b.fadd(f, g.const(dtype, 2)))
    z = g.b.fmul(s, s)
    r = g.b.fmul(z, g.horner(z, LOG_SERIES[dtype.itemsize], dtype))
    half_square = g.b.fmul(g.b.fmul(f, f), g.const(dtype, 0.5))
    high, low = LN2_LOG[dtype.itemsize]
    inside = g.fma(s, g.b.fadd(half_square, r), g.b.fmul(k, g.const(dtype, low)))
    return g.fma(k, g.const(dtype, high), g.b.fsub(f, g.b.fsub(half_square, inside)))


def log1p(g, x, dtype):
    """log(u) + (x - (u - 1)) / u with u the rounded 1 + x."""
    one, zero = g.const(dtype, 1), g.const(dtype, 0)
    u = g.b.fadd(one, x)
    large = g.b.fcmp_ordered(">=", x, one)
    missed = g.b.select(large, g.b.fsub(one, g.b.fsub(u, x)), g.b.fsub(x, g.b.fsub(u, one)))
    plain = g.b.or_(g.b.fcmp_ordered("==", u, zero), g.b.fcmp_ordered("==", u, g.const(dtype, np.inf)))
    logarithm = log(g, u, dtype)
    y = g.b.select(plain, logarithm, g.b.fadd(logarithm, g.b.fdiv(missed, u)))
    tiny = g.const(dtype, 2.0 ** -(np.finfo(dtype).nmant + 2))
    return g.b.select(g.below(g.unary("fabs", x), tiny), x, y)


def integer_power(g, x, y, one, multiply):
    """x^|y| by squaring, multiplied in the order of XLA."""
    total, power, rest = None, x, abs(y)
    while rest:
        if rest & 1:
            total = power if total is None else multiply(total, power)
        rest >>= 1
        if rest:
            power = multiply(power, power)
    return one if total is None else total
