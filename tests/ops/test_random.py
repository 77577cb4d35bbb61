"""Counter-based numbers: published vectors, moments, chi-square, independence, refusals."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from brainsim.ops import random

KEY = random.key_of(0, "test")
ALARM = 1e-4  # p-value of a failure; seeds are fixed, so a test that passes keeps passing


@pytest.mark.parametrize(
    "counter, key, expected",
    [
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
        ((0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_published_vectors(counter, key, expected):
    """Random123, Threefry-2x32 with 20 rounds."""
    words = random.threefry2x32(*map(np.uint32, key), *map(np.uint32, counter), rounds=20)
    assert tuple(map(int, words)) == expected


def test_thirteen_rounds_against_python_integers():
    """The default, with a plain-integer Threefry (three subkeys, injection after every fourth round)."""
    key, counter = [int(k) for k in KEY], [7, 2**31 - 1]
    keys = [*key, key[0] ^ key[1] ^ 0x1BD11BDA]
    x = [(c + k) % 2**32 for c, k in zip(counter, keys)]
    for i in range(13):
        turn = [13, 15, 26, 6, 17, 29, 16, 24][i % 8]
        x[0] = (x[0] + x[1]) % 2**32
        x[1] = ((x[1] << turn | x[1] >> (32 - turn)) % 2**32) ^ x[0]
        if i % 4 == 3:
            x = [(x[0] + keys[(i // 4 + 1) % 3]) % 2**32, (x[1] + keys[(i // 4 + 2) % 3] + i // 4 + 1) % 2**32]
    assert [int(w[0]) for w in random.bits(KEY, 2**31 - 1, np.array([7]))] == x


def test_keys_depend_on_names_not_on_order():
    keys = {
        tuple(random.key_of(*parts))
        for parts in [
            (0,),
            (1,),
            (0, "a"),
            (0, "b"),
            (0, "a", "b"),
            (0, "ab"),
            (0, 1),
            (0, "1"),
            (-1,),
            (2**80,),
            (0, "a", ""),
            (0, "", "a"),
        ]
    }
    assert len(keys) == 12
    assert random.key_of(0, "noise", "exc").tolist() == [855840741, 4250648023]  # a change would change every seed
    folded = {tuple(np.asarray(random.fold_in(KEY, n)).tolist()) for n in range(100)}
    assert len(folded) == 100


def test_entities_are_addressed_not_enumerated():
    """A larger population, a part of it, a jitted or batched call: the same numbers."""
    whole = np.asarray(random.bits(KEY, 5, 100)[0])
    np.testing.assert_array_equal(random.bits(KEY, 5, 40)[0], whole[:40])
    np.testing.assert_array_equal(random.bits(KEY, np.int32(5), np.array([3, 99], np.int32))[0], whole[[3, 99]])
    np.testing.assert_array_equal(jax.jit(lambda n: random.bits(KEY, n, 100)[0])(5), whole)
    batch = jax.vmap(lambda k, n: random.bits(k, n, 100)[0], (0, 0))(jnp.stack([KEY, KEY]), jnp.array([4, 5]))
    np.testing.assert_array_equal(batch[1], whole)
    np.testing.assert_array_equal(random.bits(KEY, 2**32 + 5, 100)[0], whole)


DRAWS = {
    "word": random.word,
    "uniform": random.uniform,
    "normal": random.normal,
    "bernoulli": lambda key, step, of: random.bernoulli(key, step, 0.3, of),
    "poisson": lambda key, step, of: random.poisson(key, step, 1.6, of),
    "poisson of high rate": lambda key, step, of: random.poisson(key, step, 3000.7, of),
}


@pytest.mark.parametrize("name", DRAWS)
def test_numbers_belong_to_entities(name):
    """A larger population, single indices, a jitted and a batched call: the same numbers."""
    draw = DRAWS[name]
    whole = np.asarray(draw(KEY, 5, 100))
    for n in (1, 31, 32, 33, 47):
        np.testing.assert_array_equal(draw(KEY, 5, n), whole[:n])
    chosen = np.array([99, 3, 15, 16, 31, 32], np.int32)
    np.testing.assert_array_equal(draw(KEY, 5, chosen), whole[chosen])
    keys, steps = jnp.stack([KEY, KEY ^ 1, KEY]), jnp.array([4, 5, 6])
    batch = jax.jit(jax.vmap(lambda k: jax.vmap(lambda n: draw(k, n, 100))(steps)))(keys)
    np.testing.assert_array_equal(batch[0, 1], whole)
    np.testing.assert_array_equal(batch[2, 1], whole)
    np.testing.assert_array_equal(batch[1, 2], draw(KEY ^ 1, 6, 100))
    assert np.any(batch[0, 0] != whole) and np.any(batch[1, 1] != whole)


def test_words_of_entities():
    """Entity e reads word e // 16 % 2 of the block 16 (e // 32) + e % 16."""
    words = np.asarray(random.word(KEY, 9, 100))
    for e in (0, 15, 16, 31, 32, 47, 48, 99):
        block = random.threefry2x32(KEY[0], KEY[1], np.uint32(16 * (e // 32) + e % 16), np.uint32(9))
        assert int(block[e // 16 % 2]) == words[e]


def test_equal_under_64_bits():
    def draws():
        numbers = [random.uniform(KEY, 3, 50), random.normal(KEY, 3, 50), random.bernoulli(KEY, 3, 0.3, 50)]
        return [np.asarray(a) for a in (*numbers, random.poisson(KEY, 3, 1.6, 50), random.fold_in(KEY, 3))]

    narrow = draws()
    with jax.enable_x64(True):
        wide = draws()
    for a, b in zip(narrow, wide):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("step", [0, 1, 2**31])
def test_uniform(step):
    u = np.asarray(random.uniform(KEY, step, 400_000))
    assert u.min() >= 0 and u.max() < 1 and u.dtype == np.float32
    assert stats.kstest(u, "uniform").pvalue > ALARM
    for shift in (0, 12):  # upper and middle bits
        counts = np.bincount((u * 2.0 ** (8 + shift)).astype(np.int64) % 256, minlength=256)
        assert stats.chisquare(counts).pvalue > ALARM


def test_steps_entities_and_streams_are_independent():
    """Every pair of neighbours in step, entity and key: a 16 x 16 table of joint counts, and the bit changes."""
    n = 200_000
    here, other = (np.asarray(w) for w in random.bits(KEY, 2**31 - 1, n))
    near_key = np.asarray(KEY) ^ np.array([1, 0], np.uint32)
    pairs = {
        "words": other,
        "step": np.asarray(random.bits(KEY, 2**31, n)[0]),
        "entity": np.roll(here, 1),
        "key": np.asarray(random.bits(near_key, 2**31 - 1, n)[0]),
        "name": np.asarray(random.bits(random.key_of(0, "tesu"), 2**31 - 1, n)[0]),
    }
    for name, there in pairs.items():
        table = np.bincount((here >> 28) * 16 + (there >> 28), minlength=256).reshape(16, 16)
        assert stats.chi2_contingency(table).pvalue > ALARM, name
        flips = np.array([np.mean((here ^ there) >> np.uint32(b) & np.uint32(1)) for b in range(32)])
        assert np.abs(flips - 0.5).max() < 5 * 0.5 / math.sqrt(n), name


def test_normal():
    z = np.concatenate([np.asarray(random.normal(KEY, n, 200_000), np.float64) for n in range(5)])
    for power, mean, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs(np.mean(z**power) - mean) < 4.5 * math.sqrt(variance / z.size)
    assert stats.kstest(z, "norm").pvalue > ALARM
    beyond = 4e-5 < np.mean(np.abs(z) > 4) < 9e-5  # 6.3e-5
    assert beyond


def test_normal_of_64_bits():
    with jax.enable_x64(True):
        z = np.asarray(random.normal(KEY, 0, 200_000, np.float64))
        u = np.asarray(random.uniform(KEY, 0, 200_000, np.float64))
    assert stats.kstest(z, "norm").pvalue > ALARM and stats.kstest(u, "uniform").pvalue > ALARM
    assert len(np.unique(u)) == u.size and len(np.unique(z)) == z.size and z.dtype == np.float64


def test_bernoulli():
    for p in (0.001, 0.3, 0.9):
        hits = int(np.asarray(random.bernoulli(KEY, 9, p, 300_000)).sum())
        assert stats.binomtest(hits, 300_000, p).pvalue > ALARM
    assert np.all(random.bernoulli(KEY, 1, 1.0, 10_000)) and not np.any(random.bernoulli(KEY, 1, 0.0, 10_000))
    traced = jax.jit(lambda p: random.bernoulli(KEY, 1, p, 4))(jnp.array([0.0, 1.0, -1.0, jnp.nan]))
    np.testing.assert_array_equal(traced, [False, True, False, False])


@pytest.mark.parametrize("rate", [0.0, 1e-3, 0.01, 1.6, 7.9, 8.0, 20.0, 300.0, 1000.0, 30_000.0])
def test_poisson_counts(rate):
    """Chi-square against the probabilities."""
    n = 200_000
    counts = np.asarray(random.poisson(KEY, 2**31, rate, n))
    assert counts.dtype == np.int32
    if rate == 0:
        assert not counts.any()
        return
    k = np.unique(np.round(stats.poisson.ppf(np.linspace(1e-4, 1 - 1e-4, 60), rate)))
    edges = np.concatenate([[-1], k, [counts.max() + k[-1] + 1]])
    observed = np.histogram(counts, edges + 0.5)[0]
    expected = np.diff(np.concatenate([[0], stats.poisson.cdf(k, rate), [1]])) * n
    keep = expected > 5
    assert stats.chisquare(observed[keep], expected[keep] * observed[keep].sum() / expected[keep].sum()).pvalue > ALARM
    assert abs(counts.mean() - rate) < 4.5 * math.sqrt(rate / n)


def test_small_rates_are_not_lost():
    """4e7 draws at 1e-6: 40 events."""
    draw = jax.jit(lambda step: random.poisson(KEY, step, 1e-6, 400_000).sum())
    events = sum(int(draw(step)) for step in range(100))
    assert stats.poisson.cdf(events, 40) > ALARM and stats.poisson.sf(events - 1, 40) > ALARM


def test_poisson_forms_agree():
    """A concrete and a traced rate, one for all and one per entity: the same counts, at low and at high rates."""
    n = 3000
    for rate in (0.02, 3.2, 41.5):
        first = np.asarray(random.poisson(KEY, 4, rate, n))
        for other in (
            random.poisson(KEY, 4, np.full(n, rate), n),
            jax.jit(lambda r: random.poisson(KEY, 4, r, n))(rate),
            jax.jit(lambda r: random.poisson(KEY, 4, r, n, most=50.0))(np.full(n, rate, np.float32)),
        ):
            np.testing.assert_array_equal(other, first)
    rates = np.array([0.0, 0.1, 30.0, 2500.0], np.float32)
    batch = jax.vmap(lambda r: random.poisson(KEY, 4, r, 40))(jnp.asarray(rates))
    for row, rate in zip(batch, rates):
        np.testing.assert_array_equal(row, random.poisson(KEY, 4, rate, 40))


@pytest.mark.parametrize("rate", [-1.0, -1e-6, np.nan, np.inf, 32768.0])
@pytest.mark.parametrize("n", [1, 40])
def test_traced_rates_out_of_range_are_marked(rate, n):
    draw = jax.jit(lambda r: random.poisson(KEY, 4, r, n))
    assert np.all(np.asarray(draw(rate)) == -1)
    mixed = np.asarray(draw(jnp.array([rate] + [2.0] * (n - 1), jnp.float32)))
    assert mixed[0] == -1 and np.all(mixed[1:] >= 0)
    narrow = jax.jit(lambda r: random.poisson(KEY, 4, r, n, most=5.0))
    assert np.all(np.asarray(narrow(8.0)) == -1) and np.all(np.asarray(narrow(5.0)) >= 0)


def test_no_derivative():
    z, moved = jax.jvp(lambda x: x * random.normal(KEY, 3, 5), (2.0,), (1.0,))
    np.testing.assert_array_equal(moved, z / 2)
    slope = jax.grad(lambda r: random.poisson(KEY, 3, r, 5).astype(jnp.float32).sum())(2.0)
    assert slope == 0
    stacked = jax.grad(lambda x: jax.vmap(lambda i: x * random.uniform(KEY, i, 5))(jnp.arange(3)).sum())(1.0)
    assert np.isclose(stacked, sum(random.uniform(KEY, i, 5).sum() for i in range(3)))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: random.key_of("exc"), r"write key_of\(0, 'exc'\)"),
        (lambda: random.key_of(0, 1.5), "made of ints and strings"),
        (lambda: random.key_of(True), "made of ints and strings"),
        (lambda: random.threefry2x32(1, 2, 3, 4, rounds=21), "1 to 20"),
        (lambda: random.uniform(KEY, 0, 4, "int32"), "float32 or float64"),
        (lambda: random.normal(KEY, 0, 4, "float64"), "jax_enable_x64"),
        (lambda: random.bits(KEY, 0.5, 4), "must be an integer"),
        (lambda: random.bernoulli(KEY, 0, 1.2, 4), r"lies in \[0, 1\]"),
        (lambda: random.poisson(KEY, 0, -1.0, 2), "rate \\* dt >= 0"),
        (lambda: random.poisson(KEY, 0, float("nan"), 2), "not finite"),
        (lambda: random.poisson(KEY, 0, 32768.0, 2), "32768 and more"),
        (lambda: random.poisson(KEY, 0, np.array([1.0, -1.0]), 2), "negative, not finite"),
        (lambda: random.poisson(KEY, 0, np.ones(3), 2), r"shape \(3,\) for numbers of shape \(2,\)"),
        (lambda: random.normal(KEY, 0, 4, backend="fast"), "names no back end"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()
