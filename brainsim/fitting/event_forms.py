"""A LIF cell with exponential currents between two events: v and i after a time, the peak of v, the time of a level.

    tau_m v' = -v + i,   tau_s i' = -i:   v(s) = v0 exp(-s/tau_m) + i0 k(s),   i(s) = i0 exp(-s/tau_s)

A form is a set of these solutions for time constants in some relation: "any", "equal" (tau_m = tau_s) and "double"
(tau_m = 2 tau_s). A cell below a positive level can reach it only while i > v; until its peak, where i = v, v is
concave and rises. "level" is "any" for a level of either sign; v has at most one peak (i > 0) or trough (i < 0).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from ..functions import exprel


class Form(NamedTuple):
    """
    kernel(s, tau_m, tau_s): v after a unit jump of i, s >= 0.
    peak(v, i, tau_m, tau_s): (time to the peak, v there) for i > max(v, 0).
    rise(v, i, level, most, tau_m, tau_s): first time that v is at the level, which it reaches within `most`.
    """

    kernel: object
    peak: object
    rise: object


def slope(kernel, s, tau_m, tau_s):
    """Derivative of a kernel by time."""
    return (jnp.exp(-s / tau_s) - kernel) / tau_m


# --- any time constants


def kernel_any(s, tau_m, tau_s):
    """tau_s / (tau_m - tau_s) (exp(-s/tau_m) - exp(-s/tau_s)), smooth where the time constants are equal."""
    x = s * (1.0 / tau_s - 1.0 / tau_m)
    slow = x > 0  # the membrane is the slower one; what is exponentiated is never positive
    left = jnp.exp(-s / tau_m) * exprel(jnp.where(slow, -x, 0.0))
    right = jnp.exp(-s / tau_s) * exprel(jnp.where(slow, 0.0, x))
    return s / tau_m * jnp.where(slow, left, right)


def peak_any(v, i, tau_m, tau_s):
    h, q = tau_m / tau_s - 1.0, v / i
    bend = 1.0 + q * h
    ends = bend > 0  # else v stays below 0: its slow part is negative
    x = jnp.where(ends, h * (1.0 - q) / jnp.where(ends, bend, 1.0), 1.0)
    near = jnp.abs(x) < 1e-4
    ratio = jnp.where(near, 1.0 - x / 2 + x * x / 3, jnp.log1p(x) / jnp.where(near, 1.0, x))
    time = jnp.where(ends, tau_m * (1.0 - q) / jnp.where(ends, bend, 1.0) * ratio, jnp.inf)
    return time, i * jnp.exp(-time / tau_s)


def rise_any(v, i, level, most, tau_m, tau_s):
    return _bracketed(v, i, level, jnp.minimum(peak_any(v, i, tau_m, tau_s)[0], most), tau_m, tau_s, 12)


def _bracketed(v, i, level, high, tau_m, tau_s, rounds):
    """Roots of the parabola at a point (third order, also where the level is the peak), kept in a bracket."""
    low = jnp.zeros_like(high)

    def step(_, bracket):
        s, low, high = bracket
        k, e = kernel_any(s, tau_m, tau_s), jnp.exp(-s / tau_s)
        now, flow = v * jnp.exp(-s / tau_m) + i * k, i * e
        f, first = now - level, (flow - now) / tau_m
        second = (-flow / tau_s - first) / tau_m
        low, high = jnp.where(f <= 0, s, low), jnp.where(f > 0, s, high)
        root = first + jnp.sqrt(jnp.maximum(first * first - 2.0 * f * second, 0.0))
        new = s - 2.0 * f / jnp.where(root > 0, root, 1.0)
        inside = (new >= low) & (new <= high) & (root > 0)
        return jnp.where(inside, new, 0.5 * (low + high)), low, high

    return jax.lax.fori_loop(0, rounds, step, (low, low, high))[0]


def rise_level(v, i, level, most, tau_m, tau_s):
    """The same for a level of any sign: below 0 v returns to 0, and may fall before it rises."""
    peaks = (i > 0) & (i > v)
    peak = peak_any(jnp.where(peaks, v, 0.0), jnp.where(peaks, i, 1.0), tau_m, tau_s)[0]
    slow = jnp.maximum(tau_m, tau_s)
    # |v(s)| <= (|v| + |i| s/tau_m) exp(-s/slow) <= (|v| + |i| slow/tau_m) exp(-s/(2 slow))
    far = (jnp.abs(v) + jnp.abs(i) * slow / tau_m) / jnp.where(level < 0, -level, 1.0)
    ends = jnp.where(level < 0, 2.0 * slow * jnp.log(jnp.maximum(far, 1.0)), jnp.inf)
    high = jnp.minimum(jnp.minimum(jnp.where(peaks, peak, jnp.inf), most), ends)
    return _bracketed(v, i, level, high, tau_m, tau_s, 40)


# --- equal time constants


def kernel_equal(s, tau_m, tau_s):
    return s / tau_m * jnp.exp(-s / tau_m)


def peak_equal(v, i, tau_m, tau_s):
    time = 1.0 - v / i
    return tau_m * time, i * jnp.exp(-time)


def rise_equal(v, i, level, most, tau_m, tau_s):
    """With z = s/tau + v/i: z exp(-z) = level/i exp(-v/i), so z = -W(-level/i exp(-v/i)), principal branch."""
    q = v / i
    z = -_lambert(jnp.log(level / i) - q)
    return tau_m * (z - q)


def _lambert(log_y):
    """W0(-y) of the logarithm of y <= 1/e: series at the branch point or at 0, then Halley's steps."""
    y = jnp.exp(log_y)
    p = jnp.sqrt(jnp.maximum(-2.0 * jnp.expm1(1.0 + log_y), 0.0))
    branch = -1.0 + p * (1.0 + p * (-1.0 / 3.0 + p * (11.0 / 72.0 - p * 43.0 / 540.0)))
    w = jnp.where(y > 0.2, branch, -y * (1.0 + y * (1.0 + 1.5 * y)))
    for _ in range(4):
        e = jnp.exp(w)
        f = w * e + y
        up = jnp.maximum(w + 1.0, jnp.finfo(w.dtype).tiny)
        bottom = e * up - 0.5 * (w + 2.0) * f / up
        # at the branch point the series is exact to rounding, and a step would divide rounding by 0
        w = jnp.where(p > 0.01, w - f / jnp.where(bottom > 0, bottom, 1.0), w)
    return w


# --- membrane twice as slow as the current


def kernel_double(s, tau_m, tau_s):
    e = jnp.exp(-s / tau_m)
    return e - e * e


def peak_double(v, i, tau_m, tau_s):
    e = 0.5 * (1.0 + v / i)
    time = jnp.where(e > 0, -tau_m * jnp.log(jnp.where(e > 0, e, 1.0)), jnp.inf)
    return time, jnp.where(e > 0, i * e * e, 0.0)


def rise_double(v, i, level, most, tau_m, tau_s):
    """i x^2 - (v + i) x + level = 0 with x = exp(-s/tau_m): the larger root is the earlier time."""
    a = v + i
    x = (a + jnp.sqrt(jnp.maximum(a * a - 4.0 * i * level, 0.0))) / (2.0 * i)
    return -tau_m * jnp.log(x)


FORMS = {
    "any": Form(kernel_any, peak_any, rise_any),
    "level": Form(kernel_any, peak_any, rise_level),
    "equal": Form(kernel_equal, peak_equal, rise_equal),
    "double": Form(kernel_double, peak_double, rise_double),
}
