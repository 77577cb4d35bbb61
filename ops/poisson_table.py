"""Poisson counts by inversion of one 32-bit word, in operations that every machine rounds alike.

A rate below 8 goes through its probabilities p(j) 2**32, made by the recursion p(j) = p(j - 1) (rate / j) in float32:
products only, with 1 / j from a table and exp(-rate) as a product of table entries, so that there is no sum that a
compiler could contract. Each is rounded to an integer, and the sums and comparisons are of integers. The count is the
number of k with word < 2**32 P(count > k). Larger rates are split, rate = 8 d0 + 128 d1 + 2048 d2 + rest with digits
0 ... 15: a sum of independent Poisson counts is one, and the counts of the whole parts come from tables made on the
host in float64, each with a word of its own stream.

Every P(count > k) is within 2e-6 (relative) plus 4e-9 of the Poisson one: at rates below 1e-4 the steps of 2**-32 of
the words dominate, and the mean of a rate of 1e-6 is right to 1e-4. Counts end where a probability falls below
2**-33.
"""

import functools
import math

import jax.numpy as jnp
import numpy as np
from jax import lax

from . import threefry

SPLIT = 8.0  # rates below it need no table of their own: exp(-8) is far above the rounding of a sum
HIGHEST = 32768.0
TERMS = 33  # p(j) 2**32 rounds to 0 from here on for rates below SPLIT
FINE = 26  # exp(-rate) is read with the rate cut to multiples of 2**-26
LOW, MIDDLE = 13, 9  # bits of the last factor and of the second table
DIGITS = 16
SAMPLES = 32  # entries of a row that the native form keeps in registers
SEARCH = 12  # bisections that cover the longest row
STREAMS = (0x85EBCA6B, 0xC2B2AE35, 0x27D4EB2F)  # key tweaks of the words for d0, d1, d2


@functools.cache
def exponentials() -> tuple[np.ndarray, np.ndarray]:
    """exp(-i / 16) 2**32 for the leading bits of a rate below 8, and exp(-i / 2**13) for the following 9."""
    leading = np.exp(-np.arange(int(SPLIT) * 2 ** (FINE - LOW - MIDDLE)) / 2.0 ** (FINE - LOW - MIDDLE))
    following = np.exp(-np.arange(2**MIDDLE) / 2.0 ** (FINE - LOW))
    return (leading * 2.0**32).astype(np.float32), following.astype(np.float32)


@functools.cache
def inverses() -> np.ndarray:
    """1 / j, (TERMS,), entry 0 unused."""
    return np.concatenate([[0.0], 1.0 / np.arange(1, TERMS)]).astype(np.float32)


def constants() -> np.ndarray:
    """Both tables of exponentials and the inverses as one uint32 array, for the native form."""
    return np.concatenate([*exponentials(), inverses()]).view(np.uint32)


def survival(rate) -> np.ndarray:
    """P(count > k) for k = 0, 1, ... in float64, each summed from its small end, to where it is below 2**-60."""
    counts = np.arange(int(rate + 12 * math.sqrt(rate) + 40), dtype=np.float64)
    log_factorial = np.array([math.lgamma(k + 1) for k in counts])
    mass = np.exp(counts * math.log(rate) - rate - log_factorial) if rate > 0 else (counts == 0).astype(float)
    return (np.cumsum(mass[::-1])[::-1] - mass).clip(0, 1)


@functools.cache
def levels() -> tuple[np.ndarray, np.ndarray]:
    """Tables of the whole parts 8 * 16**level * digit; zeros fill every row up to a multiple of SAMPLES entries.

    Returns:
        (48, 3) int32: smallest count, start and length of row 16 * level + digit; (total,) uint32: falling thresholds
        of all rows.
    """
    rows, entries, start = [], [], 0
    for level in range(3):
        for digit in range(DIGITS):
            tails = np.rint(survival(SPLIT * DIGITS**level * digit) * 2.0**32)
            first = int(np.count_nonzero(tails >= 2.0**32))
            kept = tails[first : np.count_nonzero(tails > 0)] if digit else tails[:0]
            rows.append((first, start, len(kept)))
            entries.append(np.zeros(SAMPLES * (len(kept) // SAMPLES + 1), np.uint32))
            entries[-1][: len(kept)] = kept
            start += len(entries[-1])
    assert max(length for _, _, length in rows) < 2**SEARCH
    return np.array(rows, np.int32), np.concatenate(entries)


def packed_levels() -> np.ndarray:
    """`levels` as one uint32 array, for the native form."""
    rows, entries = levels()
    return np.concatenate([rows.reshape(-1).view(np.uint32), entries])


def counts(key0, key1, step, rate, of, is_wide):
    """Poisson counts, int32; -1 where the rate is negative, nan, or too high: SPLIT, or HIGHEST where `is_wide`."""
    rate = jnp.asarray(rate, jnp.float32)
    valid = (rate >= 0) & (rate < np.float32(HIGHEST if is_wide else SPLIT))
    rate = jnp.where(valid, rate, np.float32(0))
    word = threefry.words(key0, key1, step, of)
    if not is_wide:
        return jnp.where(valid, _small(word, rate), -1)
    whole = rate.astype(jnp.int32) >> 3
    count = _small(word, rate - (whole << 3).astype(jnp.float32))  # the difference is exact
    add = lambda count: count + _whole(key0, key1, step, whole, of)
    return jnp.where(valid, lax.cond(jnp.any(whole > 0), add, lambda count: count, count), -1)


def _small(word, rate):
    """Counts for rates in [0, SPLIT)."""
    leading, following = (jnp.asarray(table) for table in exponentials())
    place = (rate * np.float32(2.0**FINE)).astype(jnp.int32)
    low = (place & (2**LOW - 1)).astype(jnp.float32) * np.float32(2.0**-FINE)
    start = leading[place >> (LOW + MIDDLE)] * following[(place >> LOW) & (2**MIDDLE - 1)] * (np.float32(1) - low)
    inverse = inverses()
    masses, mass = [], start
    for j in range(1, TERMS):
        mass = mass * (rate * inverse[j])
        masses.append(lax.round(mass, lax.RoundingMethod.TO_NEAREST_EVEN).astype(jnp.int32).astype(jnp.uint32))
    tail = functools.reduce(jnp.add, masses)
    count = jnp.zeros(jnp.broadcast_shapes(word.shape, rate.shape), jnp.int32)
    for mass in masses:
        count = count + (word < tail).astype(jnp.int32)
        tail = tail - mass
    return count


def _whole(key0, key1, step, whole, of):
    """Counts of rate 8 * whole."""
    rows, entries = (jnp.asarray(table) for table in levels())
    total = 0
    for level, stream in enumerate(STREAMS):
        word = threefry.words(key0 ^ jnp.uint32(stream), key1, step, of)
        row = rows[((whole >> (4 * level)) & (DIGITS - 1)) + DIGITS * level]
        first, start, length = row[..., 0], row[..., 1], row[..., 2]
        found = lax.fori_loop(0, SEARCH, _bisect(word, entries, start, length), jnp.zeros(word.shape, jnp.int32))
        total = total + first + found
    return total


def _bisect(word, entries, start, length):
    """One step of the search for how many of `length` falling thresholds from `start` on are above a word."""

    def body(i, found):
        ahead = found + (jnp.int32(2**SEARCH // 2) >> jnp.asarray(i, jnp.int32))
        inside = ahead <= length
        above = word < entries[jnp.where(inside, start + ahead - 1, 0)]
        return jnp.where(inside & above, ahead, found)

    return body
