"""Inverse of the normal distribution function by tables, in integers: the same bits on every machine.

float32. The odd integer s = word | 1, with sign, stands for the tail probability p = |s| / 2**32. Exponent and two
leading bits of s as a float choose a cell (four in every octave of p), the next 16 bits are the place t in it, and
|z| = c0 + (c1 t + c2 t**2 + c3 t**3 + c4 t**4) 2**-33 with t and its powers as signed integers of 16 bits: three words
of table per cell. Three tables of 32 words hold all cells with p > 2**-9 and fit into registers.
float64. A random integer u of 63 bits stands for p = (u + 1/2) / 2**64, a further bit for the sign; 32 cells in every
octave, 32 bits of t, degree 4, in unsigned fixed point.

Products of integers are exact, and the only float product that enters a sum is one by a power of two: no compiler can
change a bit by contracting, reassociating or vectorising.

float32, summed over all 2**32 words: the distribution function is within 7.6e-7 of the normal one (1e9 numbers show
4e-5), the mean is 0, the variance 1 + 2.4e-8, the fourth, sixth and eighth moments are off by 3e-8, 2.3e-7 and 1.7e-6
(relative), P(|z| > x) by 1.4e-6 for x to 3, 8e-6 at 4, 7e-4 at 5, 6 % at 6, where it counts 4 words; |z| reaches 6.23.
float64: quantiles are within 3e-11, |z| reaches 9.16.
"""

import functools

import jax.numpy as jnp
import numpy as np
from jax import lax

OCTAVES, CELLS = 32, 4  # float32
NEAR = 32  # the last cells, those of p > 2**-9
POINT = 33  # the polynomial counts 2**-POINT
# maps |s| in [2**23, 2**31) to [2, 512): bit 30 of the float tells those, and cell = bits 21 ... 29 less an offset;
# the factor is below a power of two by half a unit in the last place, so that no |s| reaches 512
SCALE = float(np.float32(2.0**-22 * (1 - 2.0**-24)))
CELL_SHIFT, PLACE_SHIFT, HALF = 21, 5, 1 << 15
FIRST = 104 * CELLS  # exponent of the smallest |s| times SCALE
CELL_BITS = 5  # float64, from here on
POINT64 = 59  # |z| is an integer times 2**-POINT64
# t has 32 bits, coefficients of t, t**2 ... count 2**-37, 2**-42, 2**-47, 2**-52
SLOPE64, STEP64 = 37, 5
TERM_SHIFT64 = 32 + STEP64
SHIFT64 = 32 + SLOPE64 - POINT64
OFFSET64 = 1022 << CELL_BITS  # exponent and cell bits of the float 1/2


def powers(t):
    """t, t**2, t**3, t**4 of signed integers of 16 bits, the powers divided by 2**16, 2**32, 2**48 on the way."""
    second = t * t >> 16
    return t, second, t * second >> 16, second * second >> 16


def _fitted(quantile, start, width):
    """c0 and the integers c1 ... c4 of the cell that begins at p = start.

    Each integer is rounded in turn and the free coefficients are fitted again, so that they take up its rounding.
    """
    n = 32
    t = np.rint(32767.5 * np.cos(np.pi * (np.arange(n) + 0.5) / n) - 0.5).astype(np.int64)
    # 33 of the 64 floats of a place remain on the average, for SCALE takes one unit
    p = start + width * (t + HALF + 33 / 64) / 2**16
    left = np.array([-quantile(x) for x in p.tolist()]) * 2.0**POINT
    terms, found = np.stack(powers(t)).astype(np.float64), {}
    for i in (0, 2, 1, 3):
        free = [j for j in range(4) if j not in found]
        columns = np.stack([np.ones(n), *terms[free]], 1)
        size = np.abs(columns).max(0)
        fit = np.linalg.lstsq(columns / size, left, rcond=None)[0] / size
        found[i] = int(np.rint(fit[1 + free.index(i)]))
        left = left - found[i] * terms[i]
    return (left.max() + left.min()) / 2 * 2.0**-POINT, *(found[i] for i in range(4))


@functools.cache
def table32() -> np.ndarray:
    """(128, 4) uint32: the float32 c0, c2 << 16 | c1, c4 << 16 | c3, 0; c1 ... c4 are signed."""
    from statistics import NormalDist

    quantile, rows = NormalDist().inv_cdf, []
    for octave in range(OCTAVES):
        width = 2.0 ** (octave - 33) / CELLS
        rows += [_fitted(quantile, 2.0 ** (octave - 33) + i * width, width) for i in range(CELLS)]
    start = np.array([row[0] for row in rows], np.float32).view(np.uint32)
    c = np.array([row[1:] for row in rows])
    assert np.abs(c).max() < HALF and np.abs(c).sum(0).max() < 2**31
    c = c.astype(np.int16).view(np.uint16).astype(np.uint32)
    return np.stack([start, c[:, 1] << 16 | c[:, 0], c[:, 3] << 16 | c[:, 2], np.zeros_like(start)], 1)


def packed32() -> np.ndarray:
    """The three columns of the last NEAR cells, then `table32`, as one uint32 array for the native form."""
    return np.concatenate([table32()[-NEAR:, :3].T.reshape(-1), table32().reshape(-1)])


def _coefficients(octaves, degree):
    """|z| = c0 - c1 t + c2 t**2 - ... in every cell, interpolated at the Chebyshev points; (cells, degree + 1)."""
    from statistics import NormalDist

    quantile = NormalDist().inv_cdf
    t = 0.5 - 0.5 * np.cos(np.pi * (np.arange(degree + 1) + 0.5) / (degree + 1))
    solve = np.linalg.inv(np.vander(t, increasing=True))
    cells = []
    for octave in range(octaves):
        scale = 2.0 ** (octave - octaves - 1)  # p at the start of the octave; the last one ends at 1/2
        p = scale * (1 + (np.arange(1 << CELL_BITS)[:, None] + t) / (1 << CELL_BITS))
        cells.append([[-quantile(x) for x in row] for row in p.tolist()])
    made = np.array(cells).reshape(-1, degree + 1) @ solve.T
    return made * (-1.0) ** np.arange(degree + 1)


@functools.cache
def table64() -> np.ndarray:
    """(64 * 32 + 1, 3) uint64: c0, c1 << 32 | c2, c3 << 32 | c4; the last cell is p = 1/2."""
    c = _coefficients(64, 4)
    scaled = np.rint(c[:, 1:] * 2.0 ** (SLOPE64 + STEP64 * np.arange(4)))
    assert scaled.min() >= 0 and scaled.max() < 2.0**32
    c1, c2, c3, c4 = scaled.astype(np.uint64).T
    start = np.rint(c[:, 0] * 2.0**POINT64).astype(np.uint64)
    shift = np.uint64(32)
    table = np.stack([start, c1 << shift | c2, c3 << shift | c4], 1)
    return np.concatenate([table, np.zeros((1, 3), np.uint64)])


def normal32(word):
    """Standard normal numbers (float32) from words of 32 bits (uint32), of any shape."""
    table, n, i = jnp.asarray(table32()), jnp.uint32, jnp.int32
    odd = lax.bitcast_convert_type(word | n(1), i)
    place = lax.bitcast_convert_type(odd.astype(jnp.float32) * np.float32(SCALE), n)
    t = ((place >> n(PLACE_SHIFT)) & n(0xFFFF)).astype(i) - i(HALF)
    entry = table[((place >> n(CELL_SHIFT)) & n(0x3FF)).astype(i) - i(FIRST)]
    c21, c43 = (lax.bitcast_convert_type(entry[..., k], i) for k in (1, 2))
    c = (c21 << i(16)) >> i(16), c21 >> i(16), (c43 << i(16)) >> i(16), c43 >> i(16)
    total = functools.reduce(jnp.add, (a * b for a, b in zip(c, powers(t))))
    z = lax.bitcast_convert_type(entry[..., 0], jnp.float32) + total.astype(jnp.float32) * np.float32(2.0**-POINT)
    sign = word & n(0x80000000)
    return lax.bitcast_convert_type(lax.bitcast_convert_type(z, n) ^ sign, jnp.float32)


def normal64(high, low):
    """Standard normal numbers (float64) from pairs of words; needs jax_enable_x64."""
    table, n = jnp.asarray(table64()), jnp.uint64
    word = high.astype(n) << n(32) | low.astype(n)
    u = (word & n(2**63 - 1)).astype(jnp.int64).astype(jnp.float64) + np.float64(0.5)
    place = lax.bitcast_convert_type(u, n)
    cell = (place >> n(52 - CELL_BITS)) - n(OFFSET64)
    t = (place >> n(20 - CELL_BITS)) & n(2**32 - 1)
    entry = table[cell.astype(jnp.int32)]
    c1, c2 = entry[..., 1] >> n(32), entry[..., 1] & n(2**32 - 1)
    c3, c4 = entry[..., 2] >> n(32), entry[..., 2] & n(2**32 - 1)
    for c in (c3, c2, c1):
        c4 = c - (c4 * t >> n(TERM_SHIFT64))
    z = (entry[..., 0] - (c4 * t >> n(SHIFT64))).astype(jnp.int64).astype(jnp.float64) * np.float64(2.0**-POINT64)
    return lax.bitcast_convert_type(lax.bitcast_convert_type(z, n) ^ (word & n(2**63)), jnp.float64)
