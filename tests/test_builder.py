"""Large networks: blocks of rows on threads, values drawn when they are needed, rows of several projections."""

import threading
import tracemalloc

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.stats
from samples import Pulse

import brainsim as bs
from brainsim import blocks, drawing, models, threads
from brainsim.connectivity import fixed_indegree, fixed_outdegree, fixed_probability, fixed_total_number, small_world
from brainsim.distributions import generator, stream, stream_key
from brainsim.drawing import CHUNK, Drawn, extent, for_chunks, values_range
from brainsim.edges import Edges, merge_rows
from brainsim.grid import to_steps
from brainsim.spatial import distance_dependent, gaussian

POINTS = generator(0, "points").uniform(0, 100, (300, 2))
RULES = [
    fixed_probability(0.1), fixed_probability(0.1, autapses=False), fixed_indegree(20), fixed_outdegree(20),
    fixed_indegree(20, multapses=False, autapses=False), fixed_outdegree(20, False, False),
    fixed_total_number(5000), fixed_total_number(5000, False, False), small_world(10, 0.2),
    distance_dependent(gaussian(30.0), autapses=False),
]  # fmt: skip
NORMAL = bs.normal(1.5, 0.75, low=0.05)


def draw(rule, n, seed=0, **options):
    return rule.edges(n, n, generator(seed, "draw"), same=True, **options)


def four_cores(monkeypatch):
    monkeypatch.setattr(threads, "cores", lambda: 4)


# ---- threads ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 4])
def test_in_order(workers, monkeypatch):
    monkeypatch.setattr(threads, "cores", lambda: workers)
    given, used = [], set()

    def jobs():
        for k in range(200):
            given.append(k)
            yield k

    def work(k):
        used.add(threading.get_ident())
        return -k

    for done, result in enumerate(threads.in_order(work, jobs())):
        assert result == -done and len(given) <= done + 2 * workers + 2  # few jobs are ahead
    assert done == 199 and (threading.get_ident() in used) == (workers == 1)
    with pytest.raises(ZeroDivisionError):
        threads.for_all(lambda k: 1 // (5 - k), range(100))
    assert list(threads.in_order(work, [])) == []


def test_cores(monkeypatch):
    monkeypatch.delenv("NPROC", raising=False)
    all_ = threads.cores()
    assert all_ >= 1
    for text, expected in (("1", 1), ("100000", all_), ("0", all_), ("", all_), ("x", all_)):
        monkeypatch.setenv("NPROC", text)
        assert threads.cores() == expected


# ---- blocks of rows --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_threads_change_nothing(rule, monkeypatch):
    monkeypatch.setattr(blocks, "EDGES", 100)
    monkeypatch.setattr("brainsim.spatial.ROWS", 7)
    options = dict(pre_positions=POINTS, post_positions=POINTS)
    monkeypatch.setattr(threads, "cores", lambda: 1)
    one = draw(rule, 300, **options)
    four_cores(monkeypatch)
    four = draw(rule, 300, **options)
    np.testing.assert_array_equal(one.indptr, four.indptr)
    np.testing.assert_array_equal(one.post, four.post)
    assert one.post.dtype == np.int32 and one.indptr.dtype == np.int64 and one.indptr[-1] == len(one.post)
    rows = [one.post[a:b] for a, b in zip(one.indptr[:-1], one.indptr[1:])]
    assert all(np.all(np.diff(row) >= 0) for row in rows)


@pytest.mark.parametrize("rule", [r for r in RULES if isinstance(r, (fixed_probability, fixed_outdegree))], ids=repr)
def test_a_row_depends_on_its_block_alone(rule, monkeypatch):
    """More sources leave the edges of the first ones as they are."""
    monkeypatch.setattr(blocks, "EDGES", 100)
    few, many = (rule.edges(n, 300, generator(0, "draw")) for n in (250, 300))
    whole = (250 // blocks.row_blocks(300, 0.1 * 300 if isinstance(rule, fixed_probability) else 20)[0][2] - 1) * 3
    np.testing.assert_array_equal(few.indptr[: whole + 1], many.indptr[: whole + 1])
    last = few.indptr[whole]
    assert last > 100
    np.testing.assert_array_equal(few.post[:last], many.post[:last])


def test_pinned_edges():
    """If these numbers change, the networks of every user change with them."""
    drawn = [draw(rule, 300, seed=7) for rule in (fixed_total_number(20), fixed_indegree(2), fixed_outdegree(2))]
    assert [int((e.pre.astype(np.int64) * e.post).sum()) for e in drawn] == [504003, 13256071, 13256071]
    assert drawn[0].post[:5].tolist() == [177, 8, 44, 104, 293]


@pytest.mark.parametrize("multapses", [True, False])
def test_degrees_over_many_blocks(multapses, monkeypatch):
    """Degrees of 2000 cells drawn in some 60 blocks: binomial, and hypergeometric where pairs do not repeat."""
    monkeypatch.setattr(blocks, "EDGES", 2**12)
    n, m = 2000, 250_000
    edges = draw(fixed_total_number(m, multapses=multapses), n)
    oracle = scipy.stats.binom(m, 1 / n) if multapses else scipy.stats.hypergeom(n * n, n, m)
    cuts = oracle.ppf(np.linspace(0.05, 0.95, 10))
    expected = np.diff(oracle.cdf(cuts), prepend=0, append=1) * n
    for degree in (edges.in_degree, edges.out_degree):
        counts = np.bincount(np.searchsorted(cuts, degree), minlength=len(expected))
        assert scipy.stats.chisquare(counts, expected).pvalue > 1e-4
    repeated = m - len(np.unique(edges.pre.astype(np.int64) * n + edges.post))
    assert edges.duplicates == repeated and (repeated > 0) == multapses
    if multapses:
        mean = m * (m - 1) / 2 / n**2  # pairs of edges that coincide
        assert abs(repeated - mean) < 0.02 * mean + 5 * np.sqrt(mean)


@pytest.mark.parametrize("rule", [
    fixed_probability(2e-9), fixed_outdegree(4), fixed_outdegree(4, multapses=False), fixed_total_number(20_000),
    fixed_total_number(20_000, multapses=False),
], ids=repr)  # fmt: skip
def test_more_pairs_than_32_bits_count(rule):
    n_pre, n_post = 5000, 2_000_000_000
    edges = rule.edges(n_pre, n_post, generator(0, "wide"))
    assert abs(len(edges) - 20_000) < 5 * np.sqrt(20_000)
    assert scipy.stats.kstest(edges.post / n_post, "uniform").pvalue > 1e-4
    assert scipy.stats.kstest((edges.pre + 0.5) / n_pre, "uniform").pvalue > 1e-4
    assert np.all(edges.post >= 0) and np.all(edges.pre < n_pre)


def test_in_degrees_from_very_many_sources():
    edges = fixed_indegree(50).edges(3_000_000, 2000, generator(0, "wide"))
    assert edges.in_degree.tolist() == [50] * 2000 and edges.indptr[-1] == 100_000
    assert scipy.stats.kstest((edges.pre + 0.5) / 3e6, "uniform").pvalue > 1e-4


def test_peak_memory_is_that_of_the_targets():
    """4 bytes per edge and a few blocks; sources, slots and masks of all edges took 40."""
    n = 4_000_000
    for rule in (fixed_total_number(n), fixed_probability(1 / 64), fixed_indegree(250)):
        tracemalloc.start()
        edges = draw(rule, 16_000)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert abs(len(edges) - n) < 0.01 * n and peak < 4 * n + 2**25


# ---- values that are drawn when needed -------------------------------------------------------------------------------


def drawn(n=3 * CHUNK + 17, distribution=NORMAL, name="w"):
    return Drawn(distribution, stream_key(3, name), n)


@hypothesis.given(ends=st.lists(st.integers(0, 3 * CHUNK + 17), min_size=2, max_size=2).map(sorted))
def test_any_range_can_be_drawn(ends):
    lo, hi = ends
    whole = drawn().draw(0, 3 * CHUNK + 17, dtype=np.float64)
    part = drawn().draw(lo, hi)
    assert part.dtype == np.float32
    np.testing.assert_array_equal(part, whole[lo:hi].astype(np.float32))


def test_drawn_is_an_array_on_demand(monkeypatch):
    values = drawn()
    whole = np.asarray(values)
    assert np.shape(values) == whole.shape == (len(values),) and np.ndim(values) == 1 and np.size(values) == len(whole)
    assert whole is values.array() and not whole.flags.writeable  # kept
    assert np.array(values).flags.writeable
    assert np.asarray(values, np.float32).dtype == np.float32
    assert values.extent() == (whole.min(), whole.max()) and extent(values) == values.extent()
    monkeypatch.setattr(drawing, "KEPT", 10)
    assert drawn().array() is not drawn().array()
    first = np.empty(5, np.float64)
    assert values.draw(2, 7, out=first) is first and np.array_equal(first, whole[2:7])
    with pytest.raises(IndexError):
        values.draw(0, len(values) + 1)
    empty = drawn(0)
    assert np.asarray(empty).shape == (0,) and np.isnan(empty.extent()).all()
    assert repr(values) == f"Drawn(normal(1.5, 0.75, low=0.05), {3 * CHUNK + 17} edges)"


def test_small_projections_have_one_stream():
    np.testing.assert_array_equal(drawn(100), NORMAL.sample(generator(3, "w"), 100))


def test_chunks_are_independent_and_have_the_distribution():
    whole = np.asarray(drawn(16 * CHUNK))
    oracle = scipy.stats.truncnorm(-1.45 / 0.75, np.inf, 1.5, 0.75)
    assert scipy.stats.kstest(whole, oracle.cdf).pvalue > 1e-4
    table = whole.reshape(16, CHUNK)
    assert len(np.unique(table)) == table.size
    assert abs(np.corrcoef(table)[~np.eye(16, dtype=bool)]).max() < 5 / np.sqrt(CHUNK)
    other = np.asarray(drawn(16 * CHUNK, name="d"))
    assert abs(np.corrcoef(whole, other)[0, 1]) < 5 / np.sqrt(len(whole))


def test_streams_do_not_overlap():
    key = stream_key(0, "a")
    first = {int(x) for block in range(50) for x in stream(key, block).integers(0, 2**63, 20)}
    assert len(first) == 1000
    assert stream(key).integers(2**62) == generator(0, "a").integers(2**62)


def test_ranges_of_numbers_arrays_and_drawn_values():
    array = np.arange(10.0)
    assert values_range(2.5, 3, 6).tolist() == [2.5] * 3 and values_range(array, 3, 6).tolist() == [3, 4, 5]
    out = np.empty(3, np.float64)
    assert values_range(array, 0, 3, out=out) is out
    assert values_range(array, 0, 3).dtype == np.float32
    assert extent(2.0) == (2.0, 2.0) and extent(array) == (0.0, 9.0) and np.isnan(extent(np.empty(0))).all()


def test_for_chunks_covers_everything_once(monkeypatch):
    four_cores(monkeypatch)
    seen = np.zeros(5 * CHUNK + 3, int)
    for_chunks(lambda lo, hi: np.add(seen[lo:hi], 1, out=seen[lo:hi]), len(seen), CHUNK)
    assert np.all(seen == 1)
    for_chunks(lambda lo, hi: pytest.fail(), 0)


# ---- projections -----------------------------------------------------------------------------------------------------


def network(rule=None, **values):
    net = bs.Network(seed=4)
    net.add("a", models.SpikeSource(), 200)
    net.add("b", models.LIF(), 300)
    net.connect("a", "b", Pulse(), rule or fixed_total_number(2 * CHUNK), name="x", **values)
    return net


@pytest.mark.parametrize("x64", [False, True])
def test_a_projection_shows_what_the_simulation_uses(x64):
    import jax

    with jax.enable_x64(x64):
        net = network(weight=bs.normal(2.0, 0.5), delay=NORMAL)
        p = net["x"]
        assert isinstance(p.weight_values, Drawn) and p.delay_drawn
        assert p.weight.dtype == (np.float64 if x64 else np.float32) and p.delay.dtype == np.float64
        assert p.weight is p.weight and scipy.stats.kstest(p.weight, scipy.stats.norm(2, 0.5).cdf).pvalue > 1e-4
        assert p.delay.min() > 0.05 and abs(np.corrcoef(p.weight, p.delay)[0, 1]) < 5 / np.sqrt(len(p.weight))
        np.testing.assert_array_equal(np.asarray(net.compile().params["x.weight"]), p.weight)
    steps = to_steps(p.delay, 0.1)[0]
    np.testing.assert_array_equal(p.delay_steps_range(100, 2 * CHUNK - 5, 0.1), steps[100:-5])
    assert p.delay_steps_extent(0.1) == (steps.min(), steps.max())
    assert repr(p).endswith("delay normal(1.5, 0.75, low=0.05) ms)")
    assert "normal(2.0, 0.5)" in net._repr_html_() and "normal(1.5, 0.75, low=0.05) ms" in net._repr_html_()


def test_delays_that_are_given():
    p = network(bs.from_edges([0, 0, 3], [1, 2, 0]), weight=np.float32([1, 2, 3]), delay=[1.0, 0.5, 2.0])["x"]
    assert p.weight.dtype == np.float32 and not p.delay_drawn
    assert p.delay_steps_range(1, 3, 0.1).tolist() == [5, 20] and p.delay_steps_extent(0.1) == (5, 20)
    assert "delay 0.5..2 ms" in repr(p)
    assert network(weight=1.0, delay=0.7)["x"].delay_steps_extent(0.1) == (7, 7)
    carried = network(bs.from_edges([3, 0], [1, 2], weight=[1.0, 2.0], delay=1.0), weight=None)["x"]
    assert carried.edges.weight is carried.weight and carried.weight.tolist() == [2.0, 1.0]


def test_drawn_delays_are_checked():
    with pytest.raises(bs.errors.ParameterError, match=r"x: delay -\S+ ms is negative"):
        network(weight=1.0, delay=bs.normal(0.5, 1.0))
    assert network(weight=1.0, delay=bs.normal(5.0, 0.1))["x"].delay.min() > 0


def test_lengths_are_measured_only_for_those_who_ask(monkeypatch):
    net = bs.Network(seed=0)
    net.add("a", models.LIF(), 300, positions=POINTS)
    calls = []
    monkeypatch.setattr("brainsim.spatial.distances", lambda *x: calls.append(1))
    net.connect("a", "a", Pulse(), fixed_probability(0.1), weight=1.0)
    assert not calls


# ---- compressed rows -------------------------------------------------------------------------------------------------


def some_edges(seed, n_pre, n_post, n):
    rng = generator(seed, "some")
    return Edges(rng.integers(0, n_pre, n), rng.integers(0, n_post, n), n_pre, n_post)


@hypothesis.given(
    seed=st.integers(0, 20), n=st.integers(0, 60), span=st.lists(st.integers(0, 60), min_size=2, max_size=2)
)
def test_rows_agree_with_lists(seed, n, span):
    edges = some_edges(seed, 7, 9, n)
    lo, hi = sorted(min(x, n) for x in span)
    pairs = list(zip(edges.pre.tolist(), edges.post.tolist()))
    assert pairs == sorted(pairs) and len(edges) == n and edges.duplicates == n - len(set(pairs))
    assert edges.pre_range(lo, hi).tolist() == edges.pre[lo:hi].tolist()
    shift = np.arange(7) * 100
    assert edges.places(lo, hi, shift).tolist() == (np.arange(lo, hi) + shift[edges.pre[lo:hi]]).tolist()
    assert edges.out_degree.tolist() == np.bincount(edges.pre, minlength=7).tolist()
    assert edges.in_degree.tolist() == np.bincount(edges.post, minlength=9).tolist()


@hypothesis.given(seed=st.integers(0, 30), ordered=st.booleans())
def test_edges_of_parts(seed, ordered):
    rng = generator(seed, "parts")
    pre_ids, post_ids = rng.permutation(30)[:7], rng.permutation(40)[:9]
    if ordered:
        pre_ids, post_ids = np.sort(pre_ids), np.sort(post_ids)
    part = some_edges(seed, 7, 9, 25)
    weighted = Edges(part.pre, part.post, 7, 9, weight=np.arange(25.0))
    whole = weighted.within(pre_ids, post_ids, 30, 40)
    expected = Edges(pre_ids[part.pre], post_ids[part.post], 30, 40, weight=np.arange(25.0))
    assert (whole.n_pre, whole.n_post) == (30, 40)
    for name in ("indptr", "post", "pre", "weight"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(expected, name))
    plain = part.within(pre_ids, post_ids, 30, 40)
    np.testing.assert_array_equal([plain.pre, plain.post], [expected.pre, expected.post])


def test_rows_of_several_projections():
    """As a stable sort by source of all edges one after the other."""
    parts = [(some_edges(0, 5, 9, 40), 0), (some_edges(1, 8, 4, 30), 3), (some_edges(2, 5, 4, 0), 2),
             (some_edges(3, 5, 9, 20), 0)]  # fmt: skip
    indptr, shifts = merge_rows(parts, 12)
    source = np.concatenate([e.pre + first for e, first in parts])
    order = np.argsort(source, kind="stable")
    assert indptr.tolist() == np.searchsorted(source[order], np.arange(13)).tolist()
    posts = np.full(len(order), -1)
    for (edges, _), shift in zip(parts, shifts):
        posts[edges.places(0, len(edges), shift)] = edges.post
    np.testing.assert_array_equal(posts, np.concatenate([e.post for e, _ in parts])[order])


def test_edges_cannot_be_written_and_can_be_copied():
    import copy
    import pickle

    edges = some_edges(0, 5, 9, 40)
    for twin in (copy.deepcopy(edges), pickle.loads(pickle.dumps(edges))):
        np.testing.assert_array_equal([twin.pre, twin.post], [edges.pre, edges.post])
    with pytest.raises(ValueError):
        edges.post[0] = 1
