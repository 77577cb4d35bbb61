"""Connectivity: degree statistics at small N, exactness, positions, errors."""

import itertools
import math
import time
import warnings

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.sparse
import scipy.stats

import brainsim.rule
from brainsim import blocks, threads
from brainsim.connectivity import (
    Rule,
    all_to_all,
    distance_dependent,
    fixed_indegree,
    fixed_outdegree,
    fixed_probability,
    fixed_total_number,
    from_edges,
    from_matrix,
    one_to_one,
    small_world,
)
from brainsim.distributions import generator
from brainsim.errors import BrainsimError, ConnectError, ParameterError
from brainsim.sampling import bernoulli_slots, distinct_in_rows, skip, spread, spread_distinct, without
from brainsim.spatial import gaussian

SEEDS = range(400)


@pytest.fixture(params=[blocks.EDGES, 8], ids=["one block", "many blocks"])
def block(request, monkeypatch):
    """Rows drawn at once, and in blocks of a few edges: the distributions are the same."""
    monkeypatch.setattr(blocks, "EDGES", request.param)
    monkeypatch.setattr(threads, "cores", lambda: 1)  # threads change nothing, test_builder.py shows


in_blocks = pytest.mark.usefixtures("block")


def draw(rule, n_pre, n_post, seed=0, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return rule.edges(n_pre, n_post, generator(seed, "draw"), **options)


def pairs(edges):
    return list(zip(edges.pre.tolist(), edges.post.tolist()))


def refused(call):
    with pytest.raises(BrainsimError) as error:
        call()
    return str(error.value)


def uniform_over(counts):
    """p-value of the hypothesis that all outcomes are equally likely."""
    return scipy.stats.chisquare(list(counts)).pvalue


# Rules: what every one of them promises.

POINTS = generator(0, "points").uniform(0, 100, (12, 2))
RULES = [
    all_to_all(), all_to_all(autapses=False), one_to_one(),
    fixed_probability(0.3), fixed_probability(0.3, autapses=False),
    fixed_indegree(5), fixed_indegree(5, multapses=False), fixed_indegree(9, multapses=False, autapses=False),
    fixed_indegree(5, autapses=False), fixed_outdegree(5), fixed_outdegree(5, multapses=False, autapses=False),
    fixed_total_number(40), fixed_total_number(40, multapses=False), fixed_total_number(100, False, False),
    distance_dependent(gaussian(50)), distance_dependent(gaussian(50), max_distance=40, periodic=100, autapses=False),
    small_world(4, 0.3), from_edges([3, 1, 1], [0, 2, 2], weight=[1, 2, 3]), from_matrix(np.eye(12) * 2),
]  # fmt: skip


@in_blocks
@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_every_rule(rule):
    options = dict(same=True, pre_positions=POINTS, post_positions=POINTS)
    edges, again, other = (draw(rule, 12, 12, seed, **options) for seed in (0, 0, 1))
    assert pairs(edges) == pairs(again) == sorted(pairs(edges)) and len(edges) > 0
    if not isinstance(rule, (all_to_all, one_to_one, from_edges, from_matrix)):
        assert pairs(edges) != pairs(other)
    assert isinstance(rule, Rule) and (edges.n_pre, edges.n_post) == (12, 12)
    if not getattr(rule, "autapses", True) or isinstance(rule, small_world):
        assert not np.any(edges.pre == edges.post)
    if not getattr(rule, "multapses", isinstance(rule, from_edges)):
        assert edges.duplicates == 0
    with pytest.raises(AttributeError):
        rule.k = 1


@in_blocks
@pytest.mark.parametrize("rule", [r for r in RULES if not getattr(r, "autapses", True)], ids=repr)
def test_autapses_of_parts(rule):
    """Parts of one population: a cell is itself where the ids agree, wherever it stands in the part."""
    pre_ids = np.array([7, 2, 9, 4, 0, 1, 3, 5, 11, 30, 31, 32])
    post_ids = np.array([4, 20, 7, 0, 21, 22, 23, 24, 25, 26])
    options = dict(pre_ids=pre_ids, post_ids=post_ids, pre_positions=POINTS, post_positions=POINTS[:10])
    seen = [draw(rule, 12, 10, seed, same=True, **options) for seed in range(20)]
    assert not any(np.any(pre_ids[e.pre] == post_ids[e.post]) for e in seen)
    apart = [draw(rule, 12, 10, seed, **options) for seed in range(20)]  # two populations: equal ids mean nothing
    assert any(np.any(pre_ids[e.pre] == post_ids[e.post]) for e in apart)


@in_blocks
def test_all_to_all_and_one_to_one():
    assert pairs(draw(all_to_all(), 2, 3)) == list(itertools.product(range(2), range(3)))
    assert pairs(draw(all_to_all(False), 2, 2, same=True)) == [(0, 1), (1, 0)]
    assert len(draw(all_to_all(False), 2, 2)) == 4
    assert pairs(draw(one_to_one(), 3, 3)) == [(0, 0), (1, 1), (2, 2)]


# Exact statistics at small N.


@in_blocks
@pytest.mark.parametrize("p", [1e-3, 0.05, 0.3, 0.5, 0.95])
def test_number_of_edges_is_binomial(p):
    n = 20 * 30
    counts = np.array([len(draw(fixed_probability(p), 20, 30, seed)) for seed in SEEDS])
    mean, variance = n * p, n * p * (1 - p)
    kurtosis = (1 - 6 * p * (1 - p)) / variance
    assert abs(counts.mean() - mean) < 4 * math.sqrt(variance / len(counts))
    assert abs(counts.var(ddof=1) - variance) < 4 * variance * math.sqrt((2 + kurtosis) / len(counts))


def test_the_whole_distribution_for_twelve_pairs():
    counts = np.bincount([len(bernoulli_slots(12, 0.3, generator(s, "x"))) for s in range(4000)], minlength=13)
    expected = scipy.stats.binom.pmf(np.arange(13), 12, 0.3) * 4000
    assert scipy.stats.chisquare([*counts[:7], counts[7:].sum()], [*expected[:7], expected[7:].sum()]).pvalue > 1e-4


@in_blocks
def test_every_pair_has_probability_p_independently():
    hits = np.zeros((4, 5))
    both = 0
    for seed in range(3000):
        edges = draw(fixed_probability(0.4), 4, 5, seed)
        hits[edges.pre, edges.post] += 1
        both += {(0, 0), (0, 1)} <= set(pairs(edges))
    assert np.all(abs(hits - 1200) < 4.5 * math.sqrt(3000 * 0.4 * 0.6))
    assert abs(both - 3000 * 0.16) < 4 * math.sqrt(3000 * 0.16 * 0.84)


def test_less_than_one_edge_per_cell_still_gives_edges():
    """p * N_post < 1: rules that round the out-degree draw nothing here (peers.md T11)."""
    edges = draw(fixed_probability(5e-4), 1000, 1000)
    assert abs(len(edges) - 500) < 4 * math.sqrt(500) and edges.out_degree.max() > 1


def test_thousand_cells():
    edges = draw(fixed_probability(0.1), 1000, 1000)
    assert abs(len(edges) - 1e5) < 4 * 300
    for degree in (edges.in_degree, edges.out_degree):
        assert abs(degree.var() - 90) < 4 * 90 * math.sqrt(2 / 1000)


@in_blocks
def test_certain_and_impossible():
    assert pairs(draw(fixed_probability(1.0), 3, 4)) == pairs(draw(all_to_all(), 3, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # p = 0 is what the user said: no warning
        assert len(fixed_probability(0.0).edges(3, 4, generator(0))) == 0
        assert len(fixed_probability(0.5).edges(0, 4, generator(0))) == 0
        assert len(fixed_probability(0.5).edges(4, 0, generator(0))) == 0


@pytest.mark.parametrize("p, n", [(1e-300, 10**12), (1e-9, 10**12), (0.999999, 1000)])
def test_extreme_probabilities(p, n):
    slots = bernoulli_slots(n, p, generator(0))
    assert abs(len(slots) - n * p) <= 5 * math.sqrt(n * p * (1 - p)) + 1
    assert np.all(np.diff(slots) > 0) and (not len(slots) or 0 <= slots[0] <= slots[-1] < n)


@in_blocks
@pytest.mark.parametrize("multapses", [True, False])
@pytest.mark.parametrize("k", [0, 1, 4, 9])
def test_fixed_degrees_are_exact(k, multapses):
    into = draw(fixed_indegree(k, multapses=multapses), 10, 7)
    out = draw(fixed_outdegree(k, multapses=multapses), 7, 10)
    assert into.in_degree.tolist() == [k] * 7 and out.out_degree.tolist() == [k] * 7
    if not multapses:
        assert into.duplicates == out.duplicates == 0


@in_blocks
def test_fixed_indegree_with_multapses_has_binomial_out_degrees():
    n_pre, n_post, k = 50, 40, 10
    degrees = np.array([draw(fixed_indegree(k), n_pre, n_post, s).out_degree for s in SEEDS])
    mean, variance = k * n_post / n_pre, k * n_post / n_pre * (1 - 1 / n_pre)
    samples = degrees.size
    assert degrees.mean() == mean
    assert abs(degrees.var() - variance) < 4 * variance * math.sqrt(2.2 / samples)
    turned = np.array([draw(fixed_outdegree(k), n_post, n_pre, s).in_degree for s in SEEDS])
    assert abs(turned.var() - variance) < 4 * variance * math.sqrt(2.2 / samples)


@in_blocks
def test_fixed_indegree_without_multapses_has_hypergeometric_pairs():
    """In-degree k of n sources, no repeats: a pair of sources is hit together with probability k(k-1)/(n(n-1))."""
    n, k = 10, 4
    together = sum(
        {(0, 0), (1, 0)} <= set(pairs(draw(fixed_indegree(k, multapses=False), n, 1, s))) for s in range(3000)
    )
    p = k * (k - 1) / (n * (n - 1))
    assert abs(together - 3000 * p) < 4 * math.sqrt(3000 * p * (1 - p))


@in_blocks
@pytest.mark.parametrize("k", [1, 2, 3, 4])
@pytest.mark.parametrize("rule", [fixed_indegree, fixed_outdegree])
def test_subsets_are_uniform(rule, k):
    """Every subset of partners is equally likely, with and without the cell itself, for few and for many partners."""
    for autapses, partners in ((True, [0, 1, 2, 3, 4]), (False, [0, 1, 3, 4])):
        seen = dict.fromkeys(itertools.combinations(partners, k), 0)
        for seed in range(800):
            edges = draw(rule(k, multapses=False, autapses=autapses), 5, 5, seed, same=True)
            cell, partner = (edges.post, edges.pre) if rule is fixed_indegree else (edges.pre, edges.post)
            seen[tuple(partner[cell == 2].tolist())] += 1
        assert uniform_over(seen.values()) > 1e-4 if len(seen) > 1 else True


@in_blocks
@pytest.mark.parametrize("multapses", [True, False])
def test_total_number_is_exact_and_uniform(multapses):
    hits = np.zeros((4, 4))
    for seed in range(2000):
        edges = draw(fixed_total_number(5, multapses=multapses, autapses=False), 4, 4, seed, same=True)
        assert len(edges) == 5
        np.add.at(hits, (edges.pre, edges.post), 1)
    assert np.all(hits.diagonal() == 0)
    assert uniform_over(hits[~np.eye(4, dtype=bool)]) > 1e-4
    assert len(draw(fixed_total_number(0), 4, 4)) == len(draw(fixed_total_number(0, False), 4, 4)) == 0


@hypothesis.given(
    m=st.lists(st.integers(1, 9), min_size=1, max_size=6), fraction=st.floats(0, 1), seed=st.integers(0, 99)
)
def test_distinct_in_rows(m, fraction, seed):
    need = [round(fraction * x) for x in m]
    keys = distinct_in_rows(need, m, generator(seed))
    row, value = np.divmod(keys, max(m))
    assert np.all(np.diff(keys) > 0) and np.bincount(row, minlength=len(m)).tolist() == need
    assert np.all(value < np.array(m)[row])


def test_distinct_in_rows_leaves_out_what_is_taken():
    keys = distinct_in_rows([2, 0, 3], [5, 5, 5], generator(0), taken=np.array([0, 3, 6, 10, 14]))
    assert set(keys) >= {0, 3, 6, 10, 14} and np.bincount(keys // 5).tolist() == [4, 1, 5] and np.all(np.diff(keys) > 0)


@pytest.mark.parametrize("m", [2**32 - 1, 2**32, 2**32 + 1, 2**50])
def test_distinct_numbers_at_the_end_of_32_bits(m):
    keys = distinct_in_rows([2000], [m], generator(0))
    assert len(np.unique(keys)) == 2000 and int(keys.max()) < m
    assert scipy.stats.kstest(keys / m, "uniform").pvalue > 1e-4


@hypothesis.given(holes=st.sets(st.integers(0, 30), max_size=10))
def test_skip(holes):
    left = [x for x in range(40) if x not in holes]
    assert skip(np.arange(len(left)), np.array(sorted(holes), np.int64)).tolist() == left


@hypothesis.given(holes=st.sets(st.integers(0, 30), max_size=10), values=st.sets(st.integers(0, 40)))
def test_without(holes, values):
    left = without(np.array(sorted(values), np.uint32), np.array(sorted(holes), np.int64))
    assert left.tolist() == sorted(values - holes)


@pytest.mark.parametrize("n", [0, 1, 5, 11, 12])
def test_numbers_drawn_from_stretches(n):
    """Without replacement they are hypergeometric, with replacement multinomial."""
    room = np.array([2, 7, 0, 3])
    drawn = np.array([spread_distinct(n, room, generator(s)) for s in range(3000)])
    assert np.all(drawn.sum(1) == n) and np.all(drawn >= 0) and np.all(drawn <= room)
    several = np.array([spread(n, room, generator(s)) for s in range(3000)])
    assert np.all(several.sum(1) == n) and np.all(several[:, 2] == 0)
    for k in (0, 1, 3):
        for found, oracle in (
            (drawn[:, k], scipy.stats.hypergeom(12, room[k], n)),
            (several[:, k], scipy.stats.binom(n, room[k] / 12)),
        ):
            expected = oracle.pmf(np.arange(n + 1)) * 3000
            likely = expected > 5
            counts = np.bincount(found, minlength=n + 1)
            parts = [[*x[likely], x[~likely].sum()] for x in (counts, expected)]
            keep = np.array(parts[1]) > 0
            assert counts[expected == 0].sum() == 0
            assert keep.sum() < 2 or scipy.stats.chisquare(*(np.array(x)[keep] for x in parts)).pvalue > 1e-4


def test_numbers_drawn_from_very_many_places():
    """More places than NumPy's hypergeometric numbers allow, and nearly all of them."""
    room = np.array([10**12, 10**6, 3 * 10**12])
    drawn = spread_distinct(10**6, room, generator(0))
    assert drawn.sum() == 10**6 and abs(drawn[0] - 250_000) < 5 * math.sqrt(187_500)
    room = np.array([3 * 10**5, 10**5])
    left = room - spread_distinct(4 * 10**5 - 3, room, generator(0))
    assert left.sum() == 3 and left.min() >= 0


# Small world.


@in_blocks
def test_small_world_without_rewiring_is_a_ring():
    assert pairs(draw(small_world(4, 0.0), 6, 6, same=True)) == sorted(
        (i, (i + s) % 6) for i in range(6) for s in (-2, -1, 1, 2)
    )


@in_blocks
@pytest.mark.parametrize("n, k", [(30, 4), (11, 10), (10, 8)])
def test_small_world_degrees(n, k):
    for seed in range(20):
        edges = draw(small_world(k, 0.5), n, n, seed, same=True)
        assert edges.out_degree.tolist() == [k] * n and edges.duplicates == 0 and not np.any(edges.pre == edges.post)


@in_blocks
def test_small_world_rewires_with_probability_p():
    n, k, p = 100, 6, 0.2
    far = 0
    for seed in range(50):
        edges = draw(small_world(k, p), n, n, seed, same=True)
        step = (edges.post - edges.pre) % n
        far += np.sum((step > k // 2) & (step < n - k // 2))
    # of n-1 cells, k lie near; k(1-p) of those are taken, so that an edge stays near with probability kp/(n-1-k(1-p))
    rate = p * (1 - k * p / (n - 1 - k * (1 - p)))
    assert abs(far / (50 * n * k) - rate) < 4 * math.sqrt(rate * (1 - rate) / (50 * n * k)) + 5e-4


@in_blocks
def test_small_world_fully_rewired_is_random():
    hits = np.zeros(9)
    for seed in range(1000):
        edges = draw(small_world(2, 1.0), 10, 10, seed, same=True)
        np.add.at(hits, (edges.post - edges.pre) % 10 - 1, 1)
    assert uniform_over(hits) > 1e-4


# Given edges.


def test_from_edges():
    edges = draw(from_edges([2, 0], [1, 1], weight=[5.0, 7.0], delay=2.0), 3, 2)
    assert (
        pairs(edges) == [(0, 1), (2, 1)] and edges.weight.tolist() == [7.0, 5.0] and edges.delay.tolist() == [2.0, 2.0]
    )
    mine = np.array([0, 1])
    rule = from_edges(mine, [0, 0])
    mine[:] = 99
    assert pairs(draw(rule, 2, 1)) == [(0, 0), (1, 0)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(from_edges([], []).edges(3, 3, generator(0))) == 0
    assert "row 1: pre=5, but there are 3 pre cells" in refused(lambda: draw(from_edges([0, 5], [0, 0]), 3, 3))


@pytest.mark.parametrize("make, text", [
    (lambda: from_edges([0, 1], [0]), "2 values of pre but 1 of post"),
    (lambda: from_edges([-1], [0]), "row 0: pre=-1"),
    (lambda: from_edges([0.5], [0]), "row 0: pre=0.5 is not an index"),
    (lambda: from_edges([0, 1], [0, 1], weight=[1.0]), "weight has 1 values (float64), but there are 2 edges"),
    (lambda: from_edges([0, 1], [0, 1], delay=[1.0, np.nan]), "row 1: delay=nan must be finite and at least 0 ms"),
])  # fmt: skip
def test_bad_edges_are_refused_when_the_rule_is_made(make, text):
    assert text in refused(make)


MATRIX = np.array([[0.0, 2.0, 0.0], [-1.0, 0.0, 3.0]])


@pytest.mark.parametrize("matrix", [
    MATRIX, MATRIX.tolist(), scipy.sparse.csr_matrix(MATRIX), scipy.sparse.coo_array(MATRIX),
    scipy.sparse.csc_array(MATRIX),
], ids=["dense", "list", "csr", "coo", "csc"])  # fmt: skip
def test_from_matrix(matrix):
    edges = draw(from_matrix(matrix), 2, 3)
    assert pairs(edges) == [(0, 1), (1, 0), (1, 2)] and edges.weight.tolist() == [2.0, -1.0, 3.0]


def test_from_matrix_masks_counts_and_sparse_details():
    assert draw(from_matrix(MATRIX != 0), 2, 3).weight is None
    assert draw(from_matrix((MATRIX != 0).astype(int)), 2, 3).weight.tolist() == [1.0, 1.0, 1.0]
    sparse = scipy.sparse.coo_array(([1.0, 2.0, 0.0], ([0, 0, 1], [1, 1, 1])), shape=(2, 2))
    edges = draw(from_matrix(sparse), 2, 2)
    assert pairs(edges) == [(0, 1), (1, 1)] and edges.weight.tolist() == [3.0, 0.0] and sparse.nnz == 3
    assert repr(from_matrix(MATRIX)) == "from_matrix(2 x 3, 3 edges)"


@pytest.mark.parametrize("call, text", [
    (lambda: draw(from_matrix(MATRIX), 3, 2),
     "shape (2, 3), but [pre, post] are (3, 2) cells; it seems transposed, write from_m"),
    (lambda: draw(from_matrix(MATRIX), 4, 4),
     "the matrix has shape (2, 3), but [pre, post] are (4, 4) cells; rows are sources"),
    (lambda: from_matrix(np.array([[0, np.nan]])), "the entry [0, 1] is nan; write 0 where there is no edge"),
    (lambda: from_matrix(np.ones(3)), "needs a matrix [pre, post], got shape (3,)"),
    (lambda: from_matrix(np.array([["a"]])), "needs numbers"),
    (lambda: from_matrix(np.ones((1, 1)) * 1j), "needs numbers"),
])  # fmt: skip
def test_bad_matrices(call, text):
    assert text in refused(call)


# Bad arguments.


@pytest.mark.parametrize("make, text", [
    (lambda: fixed_probability(1.5),
     "fixed_probability: p must lie between 0 and 1, got 1.5; write for example 0.1 for 10 p"),
    (lambda: fixed_probability(-0.1), "must lie between 0 and 1, got -0.1"),
    (lambda: fixed_probability(np.nan), "fixed_probability: p must be finite, got nan"),
    (lambda: fixed_probability("0.1"), "a string without a unit; write 0.1"),
    (lambda: fixed_probability(True), "got True (bool)"), (lambda: fixed_probability(None), "got None"),
    (lambda: fixed_probability(0.1, autapses=0), "fixed_probability: autapses must be True or False, got 0"),
    (lambda: fixed_indegree(2.5), "fixed_indegree: k must be a whole number of at least 0, got 2.5; write 2"),
    (lambda: fixed_indegree(-1), "got -1; write 1"), (lambda: fixed_outdegree(np.nan), "k must be finite"),
    (lambda: fixed_total_number(1.5), "fixed_total_number: n must be a whole number"),
    (lambda: fixed_indegree(2, multapses=None), "multapses must be True or False"),
    (lambda: small_world(4, 2.0), "small_world: p_rewire must lie between 0 and 1"),
    (lambda: distance_dependent(0.1), "needs a function, got 0.1; write bs.gaussian(100.0)"),
    (lambda: distance_dependent(gaussian(1), max_distance=-1), "max_distance must be above 0 um"),
    (lambda: distance_dependent(gaussian(1), periodic=0), "periodic must be above 0 um"),
])  # fmt: skip
def test_bad_arguments_of_rules(make, text):
    with pytest.raises((ParameterError, BrainsimError)) as error:
        make()
    assert text in str(error.value)


@pytest.mark.parametrize("rule, n_pre, n_post, text", [
    (one_to_one(), 3, 4,
     "one_to_one needs sides of one size, got 3 sources and 4 targets; connect parts of one size, such as exc[:3]"),
    (fixed_indegree(5, multapses=False), 4, 9,
     "5 edges per cell are impossible without multapses (repeated edges): there are only 4"),
    (fixed_indegree(5, multapses=False), 4, 9, "write k=4 or multapses=True"),
    (fixed_indegree(4, multapses=False, autapses=False), 4, 4, "there are only 3 partners"),
    (fixed_outdegree(5, multapses=False), 9, 4, "there are only 4 partners"),
    (fixed_indegree(1), 0, 4, "there are only 0 partners"),
    (fixed_indegree(1, autapses=False), 1, 1, "only 0 partners"),
    (fixed_total_number(17, multapses=False), 4, 4, "there are only 16 pairs; write n=16 or less"),
    (fixed_total_number(13, multapses=False, autapses=False), 4, 4, "there are only 12 pairs"),
    (fixed_total_number(1), 0, 4, "there are only 0 pairs"),
    (small_world(3, 0.1), 6, 6, "k must be even and below the number of cells, 6; write k=2"),
    (small_world(6, 0.1), 6, 6, "write k=4"), (small_world(2, 0.1), 6, 5, "is a graph within one population, got two"),
])  # fmt: skip
def test_rules_that_cannot_be_met(rule, n_pre, n_post, text):
    with pytest.raises(ConnectError) as error:
        draw(rule, n_pre, n_post, same=True)
    assert text in str(error.value)


def test_small_world_between_two_populations():
    assert "got two; connect a population to itself" in refused(lambda: draw(small_world(2, 0.1), 6, 6))
    assert len(draw(fixed_indegree(80.0, multapses=True), 10, 1)) == 80  # 0.1 * 800 is a float


def test_no_edges_warn_with_the_expected_number():
    with pytest.warns(UserWarning, match=r"\(p=1e-09.* from 10 to 20 cells drew no edges, 2e-07 were expected"):
        fixed_probability(1e-9).edges(10, 20, generator(0))
    with pytest.warns(UserWarning, match="drew no edges"):
        distance_dependent(gaussian(1.0), 1.0).edges(1, 1, generator(0), pre_positions=[[0.0]], post_positions=[[9.0]])
    with pytest.warns(UserWarning, match=r"from_matrix\(2 x 2, 0 edges\)"):
        from_matrix(np.zeros((2, 2))).edges(2, 2, generator(0))


def test_too_many_edges_are_refused_before_anything_is_allocated(monkeypatch):
    start = time.perf_counter()
    text = refused(lambda: draw(all_to_all(), 10**6, 10**6))
    assert "makes about 1e+12 edges, which need 4e+03 GB" in text and "more than 2**31 - 1 edges" in text
    assert time.perf_counter() - start < 5.0
    monkeypatch.setattr(brainsim.rule, "free_memory", lambda: 3e5)
    text = refused(lambda: draw(fixed_probability(0.1), 1000, 1000))
    assert "more than the 300 kB of free memory; connect fewer" in text
    assert len(draw(fixed_probability(0.01), 1000, 1000)) > 0
