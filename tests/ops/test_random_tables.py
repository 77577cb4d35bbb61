"""What the tables of the random numbers say exactly: every value of the normal ones counted, Poisson tails, bits."""

import hashlib
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.special import ndtr, ndtri

from brainsim.ops import normal_table, poisson_table, random

KEY = random.key_of(0, "test")


def places(u):
    """What selects cell and place in the cell for |word as odd integer| = 2 u + 1, in plain NumPy."""
    odd = (2 * np.asarray(u) + 1).astype(np.int32).astype(np.float32)
    return (odd * np.float32(2.0**-22 * (1 - 2.0**-24))).view(np.uint32).astype(np.int64) >> 5


def quantiles(place):
    """|z| of a place, in 64-bit integers up to the last sum, which is of float32."""
    table = normal_table.table32()
    cell, t = (place >> 16) - 4 * 104, (place & 0xFFFF) - 2**15
    c = table[:, 1:3].copy().view(np.int16).astype(np.int64)[cell]
    second = t * t // 2**16
    powers = t, second, t * second // 2**16, second * second // 2**16
    total = sum(c[..., k] * power for k, power in enumerate(powers))
    assert np.abs(total).max() < 2**31
    return table[:, 0].copy().view(np.float32)[cell] + total.astype(np.float32) * np.float32(2.0**-33)


def atoms(first, last):
    """Every |z| that the integers first ... last - 1 give, and the first integer of each: the map is monotone."""
    place = np.arange(places([first])[0], places([last - 1])[0] + 1)
    middle = (place << 5).astype(np.uint32).view(np.float32).astype(np.float64) * 2.0**21
    low = np.maximum(np.floor(middle * (1 - 2.0**-20)).astype(np.int64) - 2, first - 1)
    high = np.minimum(np.ceil(middle * (1 + 2.0**-20)).astype(np.int64) + 2, last - 1)
    low = np.minimum(low, high - 1)
    while np.any(high - low > 1):
        middle = (low + high) // 2
        inside = places(middle) >= place
        low, high = np.where(inside, low, middle), np.where(inside, middle, high)
    return quantiles(place), np.append(np.maximum(high, first), last)


def test_exact_distribution_of_the_normal_numbers():
    """Moments to the eighth and the distribution function, summed over every number there is."""
    moments, worst, highest = np.zeros(9), 0.0, np.inf
    for first, last in itertools.pairwise([0, *(2**k for k in range(12, 31))]):
        z, start = atoms(first, last)
        weight = np.diff(start) * 2.0**-30
        assert np.all(weight >= 0) and np.all(z[weight > 0] >= 0)
        assert np.all(np.diff(z) <= 2e-6) and z[0] <= highest + 2e-6  # cells meet within that
        highest = z[-1]
        for k in range(9):
            moments[k] += weight.sum()
            weight = weight * z
        worst = max(worst, *(np.abs(ndtr(-z) - edge / 2.0**31).max() for edge in (start[:-1], start[1:])))
    assert moments[0] == 1
    assert worst < 8e-7
    assert abs(moments[2] - 1) < 2e-7
    for power, exact, error in ((1, math.sqrt(2 / math.pi), 2e-7), (4, 3, 1e-6), (6, 15, 1e-6), (8, 105, 1e-5)):
        assert abs(moments[power] / exact - 1) < error


@pytest.mark.parametrize("x, error", [(1, 1e-6), (2, 1e-6), (3, 3e-6), (4, 2e-5), (4.5, 1e-4), (5, 1e-3), (6, 0.1)])
def test_exact_tails_of_the_normal_numbers(x, error):
    low, high = 0, 2**30 - 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if quantiles(places([middle]))[0] > x else (low, middle)
    assert abs(high / 2.0**31 / ndtr(-x) - 1) < error


def test_table_is_the_same_everywhere():
    """It is fitted where it is used: another sum here would be another stream of numbers."""
    assert hashlib.sha256(normal_table.table32().astype("<u4").tobytes()).hexdigest()[:16] == "8823cd0627421bfd"


def test_numbers_are_those_of_the_table():
    word = np.asarray(random.word(KEY, 7, 5000))
    odd = (word | 1).view(np.int32).astype(np.int64)
    expected = np.sign(odd) * quantiles(places(np.abs(odd) // 2))
    np.testing.assert_array_equal(random.normal(KEY, 7, 5000), expected.astype(np.float32))
    ends = normal_table.normal32(jnp.array([0, 1, 2**32 - 1, 2**31 - 1, 2**31], jnp.uint32))
    np.testing.assert_allclose(ends, [6.229, 6.229, -6.229, 0, 0], atol=2e-3)


def test_quantiles_of_64_bits():
    rng = np.random.default_rng(0)
    high, low = (np.concatenate([rng.integers(0, 2**32, 20_000), [0, 2**31 - 1, 2**31]]) for _ in range(2))
    high[:10_000] >>= rng.integers(0, 31, 10_000)
    p = (((high & 0x7FFFFFFF) << 32 | low) + 0.5) / 2.0**64
    with jax.enable_x64(True):
        z = np.asarray(normal_table.normal64(jnp.asarray(high, jnp.uint32), jnp.asarray(low, jnp.uint32)))
    np.testing.assert_allclose(z, np.where(high >> 31, 1, -1) * ndtri(p), atol=3e-11)


@pytest.mark.parametrize("rate", [1e-6, 1e-3, 0.01, 0.3, 1.3, 4.0, 7.999])
def test_thresholds_of_low_rates(rate):
    """The counts change at 2**32 P(count > k): bisect the words for every k."""
    draw = jax.jit(lambda word: poisson_table._small(word, jnp.full(word.shape, rate, jnp.float32)))
    k = np.arange(poisson_table.TERMS - 1)
    low, high = np.full(k.shape, -1), np.full(k.shape, 2**32)
    for _ in range(33):
        middle = (low + high) // 2
        above = np.asarray(draw(jnp.asarray(np.clip(middle, 0, 2**32 - 1), jnp.uint32))) > k
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    tail = stats.poisson.sf(k, np.float64(np.float32(rate)))
    np.testing.assert_allclose(high / 2.0**32, tail, rtol=2e-6, atol=4e-9)
    assert stats.poisson.pmf(poisson_table.TERMS - 1, rate) < 2.0**-33


def test_thresholds_of_whole_parts():
    rows, entries = poisson_table.levels()
    for row in (1, 15, 17, 31, 33, 47):
        rate = 8.0 * 16 ** (row // 16) * (row % 16)
        first, start, length = rows[row]
        k = first + np.arange(length)
        np.testing.assert_allclose(entries[start : start + length] / 2.0**32, stats.poisson.sf(k, rate), atol=1e-9)
        assert stats.poisson.cdf(first - 1, rate) < 2.0**-31 and stats.poisson.sf(k[-1] + 1, rate) < 2.0**-31
