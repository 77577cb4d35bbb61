"""The edges of procedural connectivity: against a plain-integer oracle, and their distributions."""

import math
from statistics import NormalDist

import jax.numpy as jnp
import numpy as np
import pytest

from brainsim.ops import procedural as proc
from brainsim.ops import random
from brainsim.ops.procedural_draws import normal_of
from brainsim.ops.procedural_rules import constants

KEY, N_POST = random.key_of(3, "edges"), 19


def oracle_words(row, counter, key=KEY):
    """Threefry-2x32, 13 rounds, in Python integers."""
    m, key0, key1 = 0xFFFFFFFF, int(key[0]), int(key[1])
    keys = (key0, key1, key0 ^ key1 ^ 0x1BD11BDA)
    a, b = (row + key0) & m, (counter + key1) & m
    for i in range(13):
        r = ((13, 15, 26, 6), (17, 29, 16, 24))[i // 4 % 2][i % 4]
        a = (a + b) & m
        b = (((b << r) | (b >> (32 - r))) & m) ^ a
        if i % 4 == 3:
            a, b = (a + keys[(i // 4 + 1) % 3]) & m, (b + keys[(i // 4 + 2) % 3] + i // 4 + 1) & m
    return a, b


def test_targets_of_a_uniform_rule_are_as_documented():
    made = proc.procedural_edges(KEY, proc.fixed_outdegree(5, own=0, first_row=4, first_target=2), 3, N_POST)
    n = N_POST - 2
    for i in range(3):
        row = i + 4
        for j in range(5):
            target = oracle_words(row, j // 2)[j % 2] * (n - 1) >> 32
            target += target >= row  # its own cell is left out
            assert made.indices[5 * i + j] == target + 2


def test_targets_of_a_probability_are_skips_by_the_alias_table():
    p, rule = 0.3, proc.fixed_probability(0.3).placed("test", N_POST)
    tables, spec = constants(rule)
    bits, at = int(spec[7]), int(spec[8])
    made = proc.procedural_edges(KEY, rule, 4, N_POST)
    for row in range(4):
        position, j, expected = 0, 0, []
        while position < N_POST:
            a, b = oracle_words(row, j)
            entry, j = a >> (32 - bits), j + 1
            gap = entry if b < tables[at + 2 * entry] else int(tables[at + 2 * entry + 1])
            if gap == 2**bits - 1:
                position += gap
                continue
            expected.append(position + gap)
            position += gap + 1
        expected = [t for t in expected if t < N_POST]
        np.testing.assert_array_equal(made.indices[made.indptr[row] : made.indptr[row + 1]], expected)
    # the table holds the geometric distribution
    q = np.zeros(2**bits)
    for i in range(2**bits):
        kept = float(tables[at + 2 * i]) / 2**32
        q[i] += kept / 2**bits
        q[tables[at + 2 * i + 1]] += (1 - kept) / 2**bits
    g = np.arange(2**bits - 1)
    np.testing.assert_allclose(q[:-1], p * (1 - p) ** g, atol=1e-9)
    np.testing.assert_allclose(q[-1], (1 - p) ** (2**bits - 1), atol=1e-9)


def degrees(rule, n_pre, n_post, seed=0):
    key = random.key_of(seed, "degrees")
    made = proc.procedural_edges(key, rule, n_pre, n_post)
    return np.diff(made.indptr), np.bincount(made.indices, minlength=n_post), made


def chi_square(counts, probabilities):
    """(statistic - mean) / standard deviation, of a chi-square test; cells of small expectation are joined."""
    counts, expected = np.asarray(counts, float), np.asarray(probabilities) * np.sum(counts)
    order = np.argsort(-expected)
    big = order[expected[order] >= 5]
    o, e = counts[big], expected[big]
    o, e = np.append(o, counts.sum() - o.sum()), np.append(e, expected.sum() - e.sum())
    o, e = (o, e) if e[-1] > 1 else (o[:-1], e[:-1])
    freedom = len(o) - 1
    return (np.sum((o - e) ** 2 / e) - freedom) / math.sqrt(2 * freedom)


def binomial(n, p):
    k = np.arange(n + 1)
    logs = np.array([math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) for i in k])
    return np.exp(logs + k * math.log(p) + (n - k) * math.log1p(-p))


def test_degrees_of_fixed_outdegree():
    out, into, _ = degrees(proc.fixed_outdegree(20), 3000, 500)
    assert set(out) == {20}
    assert abs(chi_square(into, np.full(500, 1 / 500))) < 5  # multinomial over targets
    out, into, made = degrees(proc.fixed_outdegree(20, own=0), 500, 500)
    assert not np.any(np.repeat(np.arange(500), out) == made.indices)
    assert set(out) == {20} and abs(chi_square(into, np.full(500, 1 / 500))) < 5


@pytest.mark.parametrize("p", [0.003, 0.1, 0.7])
def test_degrees_of_fixed_probability_are_binomial(p):
    n_pre, n_post = 6000, 400
    out, into, made = degrees(proc.fixed_probability(p), n_pre, n_post)
    assert abs(chi_square(np.bincount(out, minlength=n_post + 1), binomial(n_post, p))) < 5
    assert abs(np.sum((into - n_pre * p) ** 2) / (n_pre * p * (1 - p)) - n_post) < 5 * math.sqrt(2 * n_post)
    row = np.repeat(np.arange(n_pre), out)
    pairs = row * n_post + made.indices
    assert np.all(np.diff(pairs) > 0)  # sorted and no pair twice


def test_gaps_longer_than_the_table_go_on():
    """p so small that most draws only skip; positions of the few edges are uniform."""
    p, n_pre, n_post = 2e-5, 4000, 30_000
    out, _, made = degrees(proc.fixed_probability(p), n_pre, n_post)
    assert abs(out.sum() - n_pre * n_post * p) < 5 * math.sqrt(n_pre * n_post * p)
    assert abs(chi_square(np.histogram(made.indices, 20, (0, n_post))[0], np.full(20, 0.05))) < 5
    assert len(proc.procedural_edges(KEY, proc.fixed_probability(0.0), 50, 100_000).indices) == 0


def test_degrees_of_fixed_indegree_and_total_number():
    out, into, made = degrees(proc.fixed_indegree(12), 700, 900)
    assert set(into) == {12}
    assert abs(chi_square(out, np.full(700, 1 / 700))) < 5  # multinomial over sources
    row = np.repeat(np.arange(700), out)
    joint = np.bincount((row // 35) * 20 + made.indices // 45, minlength=400)  # sources and targets are independent
    assert abs(chi_square(joint, np.full(400, 1 / 400))) < 5
    out, into, made = degrees(proc.fixed_total_number(20_000, own=3), 300, 300)
    assert out.sum() == 20_000 and not np.any(np.repeat(np.arange(300), out) + 3 == made.indices)
    pairs = np.full(300, 300.0)
    pairs[:297] -= 1
    assert abs(chi_square(out, pairs / pairs.sum())) < 5


def test_two_edges_of_a_dealt_target_are_independent():
    """The permutation behind fixed_indegree: rows of the first and of the second edge of a target are uncorrelated."""
    n = 400
    _, _, made = degrees(proc.fixed_indegree(2), 10, n)
    row = np.repeat(np.arange(10), np.diff(made.indptr))
    order = np.argsort(made.indices, kind="stable")
    pairs = row[order].reshape(n, 2)
    counts = np.bincount(pairs.min(1) * 10 + pairs.max(1), minlength=100)
    expected = np.array([0 if a > b else (1 if a == b else 2) for a in range(10) for b in range(10)]) / 100
    assert abs(chi_square(counts, expected)) < 5


def test_normal_numbers():
    made = proc.procedural_edges(KEY, proc.fixed_outdegree(400), 1000, 10)
    z = made.normal.astype(float)
    assert abs(z.mean()) < 5 / math.sqrt(len(z)) and abs(z.var() - 1) < 5 * math.sqrt(2 / len(z))
    assert abs((z**4).mean() - 3) < 5 * math.sqrt(96 / len(z))
    cuts = np.linspace(-4, 4, 41)
    below = [0.5 * math.erfc(-c / math.sqrt(2)) for c in cuts]
    counts = np.histogram(z, [-10, *cuts, 10])[0]
    assert abs(chi_square(counts, np.diff([0, *below, 1]))) < 5
    assert abs(np.mean(z[1:] * z[:-1])) < 5 / math.sqrt(len(z))
    # straight pieces between exact quantiles
    words = np.concatenate([np.arange(200), np.geomspace(200, 2**31 - 1, 500)]).astype(np.uint32)
    exact = [-NormalDist().inv_cdf((int(w) + 0.5) / 2**32) for w in words]
    tables, _ = constants(proc.fixed_outdegree(1).placed("test", 1))
    ours = np.asarray(normal_of(jnp.asarray(tables), jnp.asarray(words))) * 2.0**-21
    np.testing.assert_allclose(ours, exact, atol=2e-5)
    mirrored = normal_of(jnp.asarray(tables), jnp.asarray(words | np.uint32(2**31)))
    np.testing.assert_array_equal(np.asarray(mirrored) * 2.0**-21, -ours)


@pytest.mark.parametrize("delays", [proc.Delays(3, 9), proc.Delays(1, 5, (0.1, 0.4, 0.0, 0.3, 0.2))])
def test_delays(delays):
    made = proc.procedural_edges(KEY, proc.fixed_outdegree(100, delays=delays), 300, 10)
    counts = np.bincount(made.delays - delays.low, minlength=delays.high - delays.low + 1)
    p = delays.probabilities or np.full(7, 1 / 7)
    assert len(counts) == len(p) and abs(chi_square(counts, p)) < 5
    assert np.all(counts[np.asarray(p) == 0] == 0)


def test_other_keys_give_other_edges():
    rule = proc.fixed_outdegree(50)
    a, b = (proc.procedural_edges(random.key_of(s), rule, 20, 1000).indices for s in (0, 1))
    assert np.mean(a == b) < 0.01
