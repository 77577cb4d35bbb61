"""Lists of spikes against NumPy: values, overflow, history, blocks, derivatives, batches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brainsim import ops
from brainsim.ops import lists, parallel

ALL = ("native", "xla", "reference")


@pytest.fixture(params=ALL)
def form(request):
    return request.param


def listed(spikes, capacity):
    """(ids, count, overflow, total) by NumPy."""
    found = np.flatnonzero(np.asarray(spikes))
    ids = np.full(capacity, -1, np.int32)
    count = min(len(found), capacity)
    ids[:count] = found[:count]
    return ids, count, len(found) > capacity, len(found)


# --- compact, push_list


@pytest.mark.parametrize("n", [0, 65, 2100])
@pytest.mark.parametrize("dtype", ["bool", "float32", "float64"])
def test_compact(form, x64, n, dtype):
    rng = np.random.default_rng(n)
    for fraction in (0.0, 0.1, 1.0):
        spikes = (rng.normal(size=n) * (rng.random(n) < fraction)).astype(dtype)
        for capacity in (3, n + 5):
            for got, want in zip(lists.compact(spikes, capacity, backend=form), listed(spikes, capacity)):
                np.testing.assert_array_equal(got, want)
                assert got.dtype in (np.int32, np.bool_)


def test_compact_takes_nan_as_a_spike_and_minus_zero_as_none(form):
    got = lists.compact(np.array([-0.0, np.nan, 0.0, -1.0, np.inf], np.float32), backend=form)
    np.testing.assert_array_equal(got.ids, [1, 3, 4, -1, -1])


def test_compact_maps_over_batches(form):
    spikes = np.random.default_rng(0).random((2, 3, 70)) < 0.2
    got = jax.vmap(jax.vmap(lambda s: lists.compact(s, 12, backend=form)))(spikes)
    for i in np.ndindex(2, 3):
        for part, want in zip(got, listed(spikes[i], 12)):
            np.testing.assert_array_equal(part[i], want)


def test_lists_have_no_derivative(form):
    def f(s):
        ids, count, _, _ = lists.compact(s, backend=form)
        history, counts = lists.push_list(jnp.zeros((2, 4), jnp.int32), jnp.zeros(2, jnp.int32), s, 0, backend=form)
        return jnp.sum(s) + (jnp.sum(ids) + count + jnp.sum(history) + jnp.sum(counts)).astype(s.dtype)

    np.testing.assert_array_equal(jax.grad(f)(jnp.array([0.0, 2.0, 1.0])), np.ones(3))


def test_push_list_writes_one_row_and_counts_all(form):
    rng = np.random.default_rng(0)
    history, counts = rng.integers(0, 99, (3, 5)).astype(np.int32), np.zeros(3, np.int32)
    want, want_counts = history.copy(), counts.copy()
    for step in (-1, 0, 1, 2, 3, 7):
        spikes = rng.random(40) < (0.05 if step % 2 else 0.4)
        ids, count, _, total = listed(spikes, 5)
        want[step % 3, :count], want_counts[step % 3] = ids[:count], total
        history, counts = lists.push_list(history, counts, spikes, step, backend=form)
        np.testing.assert_array_equal(history, want)
        np.testing.assert_array_equal(counts, want_counts)
    assert max(want_counts) > 5


def test_push_list_is_in_place_inside_a_scan():
    history, counts, spikes = jnp.zeros((7, 11), jnp.int32), jnp.zeros(7, jnp.int32), jnp.ones(5, bool)

    def step(carry, n):
        return lists.push_list(*carry, spikes, n, backend="native"), None

    loop = jax.jit(lambda c: jax.lax.scan(step, c, jnp.arange(50, dtype=jnp.int32))[0])
    computations = loop.lower((history, counts)).compile().as_text().split("\n\n")
    (body,) = [c for c in computations if "brainsim_push_list" in c and "custom-call(" in c]
    assert not [line for line in body.splitlines() if " copy(" in line and "s32[7,11]" in line]
    np.testing.assert_array_equal(loop((history, counts))[0][:, :5], np.tile(np.arange(5), (7, 1)))


# --- deliver_list


PARTS = ((2, 10, 1), (0, 5, 11), (4, 16, 0), (30, 0, 0))  # overlapping, one empty; 16 rows


def network(n_rows=16, n_post=23, n_edges=300, n_slots=5, seed=0):
    """Rows with duplicates, some empty; targets, delays."""
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.integers(0, n_rows - 2, n_edges))
    rows[rows == 3] = 4
    indptr = np.searchsorted(rows, np.arange(n_rows + 1)).astype(np.int32)
    targets, delays = (rng.integers(0, n, n_edges).astype(np.int32) for n in (n_post, n_slots))
    return rng, indptr, targets, delays, n_post, n_slots


def dense(ring, ids, weights, parts, indptr, targets, delays, step):
    """The definition, one event at a time."""
    out, weights = np.array(ring, np.float64), np.broadcast_to(np.asarray(weights, np.float64), targets.shape)
    for first, number, row in parts:
        for i in ids:
            if first <= i < first + number:
                for e in range(indptr[row + i - first], indptr[row + i - first + 1]):
                    out[(step + delays[e]) % len(out), targets[e]] += weights[e]
    return out


def blocked(indptr, targets, n_post, n_blocks, *arrays):
    indptr, order = lists.block_edges(indptr, targets, n_post, n_blocks)
    return indptr, *(a[order] for a in (targets, *arrays))


def dtypes_of_forms():
    """Every pair natively; the other forms, which compile for long, with two of them quickly."""
    quick = [("bfloat16", "float32"), ("float64", "float64")]
    pairs = [*quick, ("float32", "float32"), ("float32", "float64"), ("bfloat16", "float64")]
    slow = lambda form, pair: pytest.mark.slow if form != "native" and pair not in quick else ()
    return [pytest.param(form, *pair, marks=slow(form, pair)) for form in ALL for pair in pairs]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("n_blocks", [1, 4])
@pytest.mark.parametrize("form, w_dtype, ring_dtype", dtypes_of_forms())
def test_deliver_list_values(form, x64, w_dtype, ring_dtype, n_blocks, packed):
    rng, indptr, targets, delays, n_post, n_slots = network()
    ring = rng.normal(size=(n_slots, n_post)).astype(ring_dtype)
    w = jnp.asarray(rng.normal(size=targets.shape), w_dtype)
    pieces, to, late, per_edge = blocked(indptr, targets, n_post, n_blocks, delays, w)
    words, late = (ops.pack_edges(to, late, n_post, n_slots), None) if packed else (to, late)
    parts = np.array(PARTS, np.int32)
    for ids in ([], [0], [3, 4, 6, 9, 15, 19], np.arange(20)):
        held = np.concatenate([ids, np.full(24 - len(ids), 7)]).astype(np.int32)  # behind the count: anything
        for step in (13, -2):
            for weights, given in ((w, per_edge), (w[0], w[0])):
                want = dense(ring, ids, np.asarray(weights, float), PARTS, indptr, targets, delays, step)
                got = lists.deliver_list(
                    ring,
                    held,
                    np.int32(len(ids)),
                    given,
                    parts,
                    pieces,
                    words,
                    late,
                    step,
                    n_blocks=n_blocks,
                    backend=form,
                )
                assert got.dtype == ring_dtype
                np.testing.assert_allclose(got, want, rtol=1e-12 if ring_dtype == "float64" else 2e-5, atol=1e-5)


def test_one_slot_is_plain_accumulation(form):
    rng, indptr, targets, _, n_post, _ = network()
    w, ring = rng.normal(size=targets.shape).astype(np.float32), np.zeros((1, n_post), np.float32)
    ids, none = np.array([2, 5, 11], np.int32), np.zeros_like(targets)
    got = lists.deliver_list(
        ring, ids, np.int32(3), w, np.array([[0, 16, 0]], np.int32), indptr, targets, None, 9, backend=form
    )
    np.testing.assert_allclose(got, dense(ring, ids, w, [(0, 16, 0)], indptr, targets, none, 0), rtol=1e-5, atol=1e-6)


def test_a_list_of_the_past_is_read_from_the_history(form):
    """What `push_list` wrote d steps ago is delivered now; the same as `ring_deliver` of the spikes of then."""
    rng, indptr, targets, delays, n_post, n_slots = network()
    history, counts, depth, late = jnp.zeros((4, 16), jnp.int32), jnp.zeros(4, jnp.int32), 4, 2
    w, spikes = rng.normal(size=targets.shape).astype(np.float32), rng.random((9, 16)) < 0.3
    parts, edges = np.array([[0, 16, 0]], np.int32), (indptr, targets, delays)
    for step in range(9):
        history, counts = lists.push_list(history, counts, spikes[step], step, backend=form)
        if step < late:
            continue
        ring = np.zeros((n_slots, n_post), np.float32)
        got = lists.deliver_list(
            ring, history, counts, w, parts, *edges, step, row=jnp.int32(step - late) % depth, backend=form
        )
        want = ops.ring_deliver(ring, spikes[step - late], w, *edges, step, backend="reference")
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def heavy(n_blocks, w_dtype):
    """A delivery large enough for threads, as a function without arguments."""
    rng, indptr, targets, delays, n_post, n_slots = network(200, 300, 40000, 6)
    w = jnp.asarray(rng.normal(size=targets.shape), w_dtype)
    pieces, to, late, w = blocked(indptr, targets, n_post, n_blocks, delays, w)
    ids, count, _, _ = lists.compact(rng.random(200) < 0.9)
    parts, ring = np.array([[0, 150, 0], [100, 100, 100]], np.int32), np.ones((n_slots, n_post), np.float32)
    return jax.jit(
        lambda: lists.deliver_list(ring, ids, count, w, parts, pieces, to, late, 3, n_blocks=n_blocks, backend="native")
    )


@pytest.mark.parametrize("w_dtype", ["float32", "bfloat16"])
def test_blocks_and_threads_change_no_bit(w_dtype):
    before, seen = parallel.threads(), set()
    try:
        for n_blocks in (1, 2, 7, 32, 400):  # more blocks than targets too
            call = heavy(n_blocks, w_dtype)
            for n in (1, 2, 3):
                parallel.use_threads(n)
                seen |= {np.asarray(call()).tobytes() for _ in range(4)}
    finally:
        parallel.use_threads(before)
    assert len(seen) == 1


def test_few_events_in_a_large_ring_change_no_bit_either():
    """Targets far apart take the other division into tasks."""
    rng, indptr, targets, delays, n_post, n_slots = network(50, 9000, 50000, 40)
    ids, parts, ring = (
        np.arange(0, 50, 3, dtype=np.int32),
        np.array([[0, 50, 0]], np.int32),
        np.zeros((n_slots, n_post), np.float32),
    )
    w, before, seen = rng.normal(size=targets.shape).astype(np.float32), parallel.threads(), set()
    try:
        for n_blocks in (1, 3, 16):
            pieces, to, late, weights = blocked(indptr, targets, n_post, n_blocks, delays, w)
            words = ops.pack_edges(to, late, n_post, n_slots)
            for n in (1, 2):
                parallel.use_threads(n)
                got = lists.deliver_list(
                    ring,
                    ids,
                    np.int32(len(ids)),
                    weights,
                    parts,
                    pieces,
                    words,
                    None,
                    7,
                    n_blocks=n_blocks,
                    backend="native",
                )
                seen.add(np.asarray(got).tobytes())
    finally:
        parallel.use_threads(before)
    assert len(seen) == 1
    np.testing.assert_allclose(got, dense(ring, ids, w, parts, indptr, targets, delays, 7), rtol=1e-4, atol=1e-5)


def test_ring_is_updated_in_place_and_the_history_is_not_copied():
    _, indptr, targets, delays, n_post, n_slots = network()
    history, counts = jnp.tile(jnp.arange(16, dtype=jnp.int32), (3, 1)), jnp.full(3, 16, jnp.int32)
    parts, ring = np.array([[0, 16, 0]], np.int32), jnp.zeros((n_slots, n_post))

    def step(ring, n):
        edges = (indptr, targets, delays)
        return lists.deliver_list(ring, history, counts, 1.0, parts, *edges, n, row=n - 1, backend="native"), None

    loop = jax.jit(lambda ring: jax.lax.scan(step, ring, jnp.arange(50, dtype=jnp.int32))[0])
    computations = loop.lower(ring).compile().as_text().split("\n\n")
    (body,) = [c for c in computations if "brainsim_deliver_list" in c and "custom-call(" in c]
    made = [line.split(" = ")[1].split("(")[0] for line in body.splitlines() if " = " in line]
    moved = [x for x in made if "copy" in x or "slice" in x or "fusion" in x]
    assert "output_to_operand_aliasing" in body
    assert not [x for x in moved if x.startswith((f"f32[{n_slots},{n_post}]", "s32[3,16]", "s32[16]", "s32[1,16]"))]
    assert float(loop(ring).sum()) == 50 * len(targets)


# --- derivatives, batches


@pytest.mark.parametrize("n_blocks", [1, 3])
def test_derivatives_by_ring_and_weights(form, x64, n_blocks):
    """The operator is linear in each: against the dense sum of the tangents, and the transpose by the dot product."""
    rng, indptr, targets, delays, n_post, n_slots = network()
    pieces, to, late, order = blocked(indptr, targets, n_post, n_blocks, delays, np.arange(len(targets)))
    ids, parts = np.array([1, 2, 4, 9, 17], np.int32), np.array(PARTS, np.int32)
    ring, d_ring, ct = rng.normal(size=(3, n_slots, n_post))
    w, dw = rng.normal(size=(2, len(targets)))

    def f(ring, w):
        args = (ring, ids, np.int32(5), w, parts, pieces, to, late, 4)
        return lists.deliver_list(*args, n_blocks=n_blocks, backend=form)

    value, tangent = jax.jvp(f, (ring, w[order]), (d_ring, dw[order]))
    for got, r, v in ((value, ring, w), (tangent, d_ring, dw)):
        np.testing.assert_allclose(got, dense(r, ids, v, PARTS, indptr, targets, delays, 4), rtol=1e-10, atol=1e-10)
    got_ring, got_w = jax.vjp(f, ring, w[order])[1](ct)
    np.testing.assert_allclose(got_ring, ct)
    np.testing.assert_allclose(
        jnp.sum(got_w * dw[order]) + jnp.sum(got_ring * d_ring), jnp.sum(ct * tangent), rtol=1e-9
    )
    assert np.count_nonzero(got_w) not in (0, len(targets))
    g = jax.grad(lambda w: jnp.sum(ct * f(ring, w)))(w[0])  # one weight for all edges
    ones = dense(np.zeros_like(ring), ids, 1.0, PARTS, indptr, targets, delays, 4)
    np.testing.assert_allclose(g, np.sum(ct * ones), rtol=1e-9)
    second = jax.grad(lambda w: jnp.sum(jax.grad(lambda v: jnp.sum(f(ring, v) ** 2))(w) * dw[order]))(w[order])
    forward = jax.jvp(jax.grad(lambda v: jnp.sum(f(ring, v) ** 2)), (w[order],), (dw[order],))[1]
    np.testing.assert_allclose(second, forward, rtol=1e-9)


def test_bfloat16_weights_have_bfloat16_gradients(form):
    _, indptr, targets, delays, n_post, n_slots = network()
    ids, ring = np.array([1, 2], np.int32), np.zeros((n_slots, n_post), np.float32)

    def f(w):
        args = (ring, ids, np.int32(2), w, np.array(PARTS, np.int32), indptr, targets, delays, 0)
        return jnp.sum(lists.deliver_list(*args, backend=form))

    g = jax.grad(f)(jnp.ones(len(targets), jnp.bfloat16))
    assert g.dtype == jnp.bfloat16
    count = dense(ring, ids, 1.0, PARTS, indptr, targets, delays, 0).sum()
    assert float(jnp.sum(g.astype(jnp.float32))) == count


@pytest.mark.parametrize("mapped", ["ring", "ids", "weights", "step", "all"])
def test_batches(form, mapped):
    rng, indptr, targets, delays, n_post, n_slots = network()
    axis = lambda name: 0 if mapped in (name, "all") else None
    ring = rng.normal(size=(3, n_slots, n_post)).astype(np.float32)
    w = rng.normal(size=(3, len(targets))).astype(np.float32)
    ids, count = np.array([[0, 3, 9, 0], [1, 2, 4, 7], [5, 0, 0, 0]], np.int32), np.array([3, 4, 1], np.int32)
    steps = np.array([0, 3, 8], np.int32)
    pieces, to, late, order = blocked(indptr, targets, n_post, 4, delays, np.arange(len(targets)))

    def f(ring, ids, count, w, step):
        args = (ring, ids, count, w, np.array(PARTS, np.int32), pieces, to, late, step)
        return lists.deliver_list(*args, n_blocks=4, backend=form)

    axes = (axis("ring"), axis("ids"), axis("ids"), axis("weights"), axis("step"))
    given = [a if x == 0 else a[1] for a, x in zip((ring, ids, count, w[:, order], steps), axes)]
    got = jax.vmap(f, axes)(*given)
    for i in range(3):
        r, listed_ids, n, v, step = (a[i if x == 0 else 1] for a, x in zip((ring, ids, count, w, steps), axes))
        want = dense(r, listed_ids[:n], v, PARTS, indptr, targets, delays, step)
        np.testing.assert_allclose(got[i], want, rtol=1e-5, atol=1e-5)


def test_block_edges_keeps_rows_and_their_order():
    _, indptr, targets, _, n_post, _ = network()
    for n_blocks in (1, 2, 5, 40):
        pieces, order = lists.block_edges(indptr, targets, n_post, n_blocks)
        size = -(-n_post // n_blocks)
        assert pieces.dtype == np.int32 and len(pieces) == 16 * n_blocks + 1
        for row in range(16):
            for block in range(n_blocks):
                piece = order[pieces[row * n_blocks + block] : pieces[row * n_blocks + block + 1]]
                edges = np.arange(indptr[row], indptr[row + 1])
                np.testing.assert_array_equal(piece, edges[targets[edges] // size == block])
