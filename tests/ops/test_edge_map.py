"""map_edges: values against a loop over listed edges, in place, threads, batches, refusals."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brainsim import ops
from brainsim.ops import map_edges, parallel

FIRST = 5  # number of the first near cell; lists name others too


@pytest.fixture(params=["xla", "native"])
def backend(request):
    return request.param


@dataclasses.dataclass
class Walk:
    """Rows of random edges, lists of spikes, and what the operator takes beside function and leaves."""

    sizes: tuple  # edges of every piece of every near cell
    n_far: int = 9
    n_delays: int = 1
    depth: int = 4
    far_depth: int = 0  # far cells are packed with delays below it, where not 0
    ordered: bool = False
    listed: float = 0.5
    seed: int = 0

    def __post_init__(self):
        self.rng = rng = np.random.default_rng(self.seed)
        self.n_near, self.n_edges = len(self.sizes) // self.n_delays, sum(self.sizes)
        self.indptr = np.concatenate([[0], np.cumsum(self.sizes)]).astype(np.int32)
        self.cell, self.delay = rng.integers(0, self.n_far, self.n_edges), rng.integers(0, 99, self.n_edges)
        self.delay = self.delay % max(self.far_depth, 1)
        self.far = (self.delay * self.n_far + self.cell).astype(np.int32)
        self.order = rng.permutation(self.n_edges).astype(np.int32) if self.ordered else None
        names = self.n_near + 2 * FIRST
        self.hits = [np.flatnonzero(rng.random(names) < self.listed) for _ in range(self.depth)]
        self.ids = np.full((self.depth, names), 2**31 - 1, np.int32)
        for row, hits in zip(self.ids, self.hits):
            row[: len(hits)] = hits
        self.counts = np.array([len(h) for h in self.hits], np.int32)

    def visits(self, step):
        """(near cell, piece, row of the near history, place) in the order that sums have."""
        for b in range(self.n_delays):
            row = (step - b) % self.depth
            for near in self.hits[row] - FIRST:
                if 0 <= near < self.n_near:
                    piece = near * self.n_delays + b
                    for k in range(self.indptr[piece], self.indptr[piece + 1]):
                        yield near, b, row, k

    def loop(self, function, step, shared=(), near=(), across=(), edge=(), into=()):
        """One listed edge after the other in Python."""
        near, across, edge, into = (jax.tree.map(np.array, x) for x in (near, across, edge, into))
        for i, _, row, k in self.visits(step):
            j, e = self.cell[k], k if self.order is None else self.order[k]
            slot = (step - self.delay[k]) % max(self.far_depth, 1)
            mine = jax.tree.map(lambda x: x[i] if x.ndim == 1 else x[row, i], near)  # noqa: B023
            theirs = jax.tree.map(lambda x: x[j] if x.ndim == 1 else x[slot, j], across)  # noqa: B023
            new, sent = function(shared, mine, theirs, jax.tree.map(lambda x: x[e], edge))  # noqa: B023
            for x, v in zip(jax.tree.leaves(edge), jax.tree.leaves(new)):
                x[e] = v
            for x, v in zip(jax.tree.leaves(into), jax.tree.leaves(sent)):
                x[j] += v
        return edge, into

    def run(self, function, step, backend, **leaves):
        graph = dict(span=(FIRST, self.n_near), order=self.order, n_delays=self.n_delays, backend=backend)
        return map_edges(function, self.ids, self.counts, step, self.indptr, self.far, **graph, **leaves)

    def check(self, rule, backend, steps=(0, 7, -1), rtol=2e-6, **leaves):
        run = jax.jit(lambda step, leaves: self.run(rule(jnp), step, backend, **leaves))
        for step in steps:
            wanted, got = self.loop(rule(np), step, **leaves), run(step, leaves)
            assert jax.tree.structure(got) == jax.tree.structure(wanted)
            for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(wanted)):
                assert a.dtype == b.dtype
                np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol)

    def floats(self, *shape, dtype=np.float32):
        return self.rng.normal(size=shape).astype(dtype)


def sizes(n, seed=1, most=12):
    return tuple(int(x) for x in np.random.default_rng(seed).integers(0, most, n))


def clipped(xp):
    """Depression by a trace at the far end, clipped, which sends the new weight."""

    def function(rate, near, y, w):
        w = xp.minimum(xp.maximum(w + rate * y, -0.5), 0.5)
        return w, w

    return function


def silent(xp):
    return lambda *scalars: (clipped(xp)(*scalars)[0], ())


def rich(xp):
    """All kinds of leaves, several dtypes, one that is only read, one that is only written, two sums."""

    def function(shared, near, across, edge):
        change = shared["rate"] * near["x"] * across["y"]
        w = edge["w"] + xp.where(edge["on"], change, -change) * edge["scale"]
        count = edge["count"] + near["spikes"]
        stamp = near["x"] + across["y"]
        on = (count % 3 == 0) | (across["flag"] & edge["on"])
        new = dict(w=w, count=count, on=on, scale=edge["scale"], stamp=stamp)
        return new, (w * shared["gain"], xp.where(on, change, w))

    return function


def rich_leaves(walk, dtype):
    f = lambda *shape: walk.floats(*shape, dtype=dtype)
    n = walk.n_edges
    near = f(walk.depth, walk.n_near) if walk.n_delays > 1 else f(walk.n_near)
    across = f(walk.far_depth, walk.n_far) if walk.far_depth else f(walk.n_far)
    return dict(
        shared=dict(rate=dtype(0.3), gain=dtype(-2.0)),
        near=dict(x=near, spikes=walk.rng.integers(0, 5, walk.n_near).astype(np.int32)),
        across=dict(y=across, flag=walk.rng.random(walk.n_far) < 0.5),
        edge=dict(
            w=f(n),
            count=walk.rng.integers(0, 9, n).astype(np.int32),
            on=walk.rng.random(n) < 0.5,
            scale=f(n),
            stamp=f(n),
        ),
        into=(f(walk.n_far), f(walk.n_far)),
    )


# --- values


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("listed", [0.0, 0.5, 1.0])
def test_rows_and_columns(backend, ordered, listed):
    walk = Walk(sizes(20), ordered=ordered, listed=listed)
    leaves = dict(shared=np.float32(0.7), across=walk.floats(9), edge=walk.floats(walk.n_edges))
    walk.check(silent, backend, **leaves)
    walk.check(clipped, backend, **leaves, into=walk.floats(9))


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("n_delays, far_depth", [(1, 0), (3, 0), (1, 5), (3, 5)])
def test_all_leaves_and_delays(backend, ordered, n_delays, far_depth):
    walk = Walk(sizes(24), n_delays=n_delays, far_depth=far_depth, ordered=ordered)
    walk.check(rich, backend, **rich_leaves(walk, np.float32))


def test_float64(x64, backend):
    walk = Walk(sizes(24), n_delays=2, far_depth=3, ordered=True)
    walk.check(rich, backend, rtol=1e-14, **rich_leaves(walk, np.float64))


@pytest.mark.parametrize("ordered", [False, True])
def test_borders_of_blocks_and_chunks(backend, ordered):
    walk = Walk((1, 63, 0, 64, 65, 0, 256, 257, 1000, 1), n_far=300, far_depth=2, ordered=ordered, listed=1.0)
    walk.check(rich, backend, steps=(0,), rtol=1e-5, **rich_leaves(walk, np.float32))


def test_more_bytes_per_edge_than_a_whole_chunk_has_room_for(x64):
    """40 arrays of float64: shorter chunks; 60 leaves."""
    walk = Walk((300, 5, 70), n_far=20, listed=1.0)
    edge = [walk.floats(walk.n_edges, dtype=np.float64) for _ in range(40)]

    def rule(xp):
        return lambda shared, near, across, edge: ([w + (k + 1) * across for k, w in enumerate(edge)], [])

    walk.check(rule, "native", steps=(0,), across=walk.floats(20, dtype=np.float64), edge=edge, into=[])


def test_sums_over_edges_with_one_target(backend):
    walk = Walk((700,), n_far=1, listed=1.0)
    new, total = walk.run(lambda s, n, a, w: (w, w), 0, backend, edge=np.ones(700, np.float32), into=jnp.zeros(1))
    assert total == 700 and new.sum() == 700


def test_sums_have_one_order():
    """By delay, cell and edge: the bits of the loop."""
    walk = Walk(sizes(90, most=80), n_far=2, n_delays=3, listed=0.9)
    w, total = walk.floats(walk.n_edges), walk.floats(2)
    rule = lambda shared, near, across, w: (w, w)
    for step in range(4):
        _, got = walk.run(rule, step, "native", edge=w, into=total)
        np.testing.assert_array_equal(got, walk.loop(rule, step, edge=w, into=total)[1])


@pytest.mark.parametrize("far_depth", [0, 3])
def test_leaves_that_are_not_there(backend, far_depth):
    """Sums alone, edges alone, delays that no history reads."""
    walk = Walk(sizes(20), far_depth=far_depth)
    x, w = walk.floats(walk.n_near), walk.floats(walk.n_edges)
    packed = dict(packed=far_depth > 0)
    for rule, leaves in (
        (lambda shared, x, across, edge: ((), x), dict(near=x, into=walk.floats(9))),
        (lambda shared, x, across, w: (w * x, ()), dict(near=x, edge=w)),
        (
            lambda shared, x, across, w: (w * x, across),
            dict(near=x, edge=w, across=walk.floats(9), into=walk.floats(9)),
        ),
        (lambda shared, x, across, w: (w, w * x), dict(near=x, edge=w, into=walk.floats(9))),
    ):
        wanted = walk.loop(rule, 3, **{"near": (), "edge": (), "across": (), **leaves})
        got = walk.run(rule, 3, backend, **leaves, **packed)
        for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6)


def test_nan_and_infinity_stay_on_their_edges(backend):
    walk = Walk(sizes(30), n_far=40, ordered=True)
    w, y = walk.floats(walk.n_edges), walk.floats(40)
    w[::7], w[1::7], y[3], y[4] = np.nan, np.inf, np.nan, -np.inf

    def rule(xp):
        return lambda shared, near, y, w: (w * y, w * y)

    with np.errstate(invalid="ignore"):
        walk.check(rule, backend, across=y, edge=w, into=walk.floats(40))


def test_silent_edges_keep_their_bits(backend):
    walk = Walk(sizes(20), listed=0.3)
    w = walk.floats(walk.n_edges)
    new, _ = walk.run(lambda s, n, a, w: (w + 1, ()), 2, backend, edge=w)
    visited = np.zeros(walk.n_edges, bool)
    visited[[k for *_, k in walk.visits(2)]] = True
    assert 0 < visited.sum() < walk.n_edges
    np.testing.assert_array_equal(np.asarray(new) != w, visited)


@pytest.mark.parametrize("backend", ["native", None])
def test_a_function_without_native_form(backend):
    """A table that is read at an edge: the XLA form; at a shared index: it is read once."""
    walk, table = Walk(sizes(20)), jnp.arange(5.0)
    leaves = dict(shared=np.int32(3), edge=walk.floats(walk.n_edges), across=walk.floats(9))
    numbers = np.arange(5, dtype=np.float32)

    def by_edge(xp):
        values = table if xp is jnp else numbers
        return lambda i, near, y, w: (w + values[xp.where(w > 0, 1, 2)], ())

    def by_index(xp):
        values = table if xp is jnp else numbers
        return lambda i, near, y, w: (values[i] * y, ())

    def is_native(rule):
        run = jax.jit(lambda leaves: walk.run(rule(jnp), 0, backend, **leaves))
        return "brainsim" in run.lower(leaves).compile().as_text()

    for rule in (by_edge, by_index):
        walk.check(rule, backend, **leaves)
    assert not is_native(by_edge) and is_native(by_index)


def test_what_the_function_closes_over(backend):
    walk, rate = Walk(sizes(20)), np.float32(0.25)
    w = walk.floats(walk.n_edges)

    @jax.jit
    def run(rate):
        return walk.run(lambda s, n, a, w: (w + rate, ()), 0, backend, edge=w)[0]

    np.testing.assert_allclose(run(rate), walk.loop(lambda s, n, a, w: (w + rate, ()), 0, edge=w)[0], rtol=1e-6)


# --- transformations


def test_batches(backend):
    walk = Walk(sizes(24), n_delays=2, far_depth=3, ordered=True)
    leaves = rich_leaves(walk, np.float32)
    rate, weights = walk.floats(3), walk.floats(3, walk.n_edges)

    def run(step, rate, w):
        given = leaves | dict(shared=leaves["shared"] | dict(rate=rate), edge=leaves["edge"] | dict(w=w))
        return walk.run(rich(jnp), step, backend, **given)

    for steps, axes in ((np.array([1, 2, 3], np.int32), (0, 0, 0)), (np.int32(1), (None, None, 0))):
        got = jax.jit(jax.vmap(run, axes))(steps, rate if axes[1] == 0 else rate[0], weights)
        for k in range(3):
            rate_k, step = (rate[k], int(steps[k])) if axes[1] == 0 else (rate[0], 1)
            given = leaves | dict(shared=leaves["shared"] | dict(rate=rate_k), edge=leaves["edge"] | dict(w=weights[k]))
            wanted = walk.loop(rich(np), step, **given)
            for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
                np.testing.assert_allclose(a[k], b, rtol=5e-6, atol=5e-6)


@pytest.mark.parametrize("ordered", [False, True])
def test_a_loop_holds_no_copy_of_edges_and_sums(ordered):
    walk = Walk(sizes(60), n_far=77, ordered=ordered, listed=1.0)
    n, y = walk.n_edges, jnp.ones(77)

    def step(t, arrays):
        w, total = arrays
        return walk.run(lambda s, n, y, w: (w + y, w), t, "native", across=y, edge=w, into=total)

    run = jax.jit(lambda w, total: jax.lax.fori_loop(0, 5, step, (w, total)))
    w, total = jnp.zeros(n), jnp.zeros(77)
    computations = run.lower(w, total).compile().as_text().split("\n\n")
    (body,) = [c for c in computations if "brainsim_" in c and "custom-call(" in c]
    assert "output_to_operand_aliasing" in body
    assert not [x for x in body.splitlines() if " copy(" in x and (f"f32[{n}]" in x or "f32[77]" in x)]
    new, sums = run(w, total)
    np.testing.assert_array_equal(new, np.full(n, 5.0))
    np.testing.assert_array_equal(sums, np.bincount(walk.cell, minlength=77) * (0 + 1 + 2 + 3 + 4))
    np.testing.assert_array_equal(w, np.zeros(n))


@pytest.mark.parametrize("ordered, n_delays", [(False, 1), (True, 2)])
def test_threads_change_no_bit(ordered, n_delays):
    walk = Walk(sizes(400, most=100), n_far=50, n_delays=n_delays, ordered=ordered, listed=0.8)
    leaves = dict(shared=np.float32(0.7), across=walk.floats(50), edge=walk.floats(walk.n_edges))
    assert len(list(walk.visits(1))) > 2 * 8192 / n_delays
    before, seen = parallel.threads(), set()
    try:
        for n in (1, 2, 2, 3):
            parallel.use_threads(n)
            seen.add(np.asarray(walk.run(silent(jnp), 1, "native", **leaves)[0]).tobytes())
    finally:
        parallel.use_threads(before)
    assert len(seen) == 1
    walk.check(silent, "native", steps=(1,), **leaves)


def test_a_history_that_push_list_writes():
    """Three cells in a row, the middle one spikes in step 1; the delay of its edges is two steps."""
    ids, counts = jnp.zeros((3, 3), jnp.int32), jnp.zeros(3, jnp.int32)
    indptr = np.array([0, 0, 0, 1, 1, 1, 3, 3, 3, 4], np.int32)  # three pieces for each cell, all but the third empty
    w, seen = jnp.zeros(4), []
    for step in range(5):
        spikes = jnp.array([False, step == 1, False])
        ids, counts = ops.push_list(ids, counts, spikes, np.int32(step))
        w, _ = map_edges(
            lambda s, n, a, w: (w + 1, ()),
            ids,
            counts,
            step,
            indptr,
            np.zeros(4, np.int32),
            span=(0, 3),
            edge=w,
            n_delays=3,
        )
        seen.append(w.tolist())
    assert seen == [[0, 0, 0, 0]] * 3 + [[0, 1, 1, 0]] * 2


def test_derivatives_are_refused():
    walk = Walk(sizes(20))
    w, y = jnp.asarray(walk.floats(walk.n_edges)), jnp.ones(9)
    run = lambda w: walk.run(lambda s, n, y, w: (w * y, ()), 0, None, across=y, edge=w)[0]
    with pytest.raises(ValueError, match="clock-driven"):
        jax.grad(lambda w: run(w).sum())(w)
    assert jax.grad(lambda v: (v * jax.lax.stop_gradient(run(w))).sum())(w).shape == w.shape
    np.testing.assert_array_equal(jax.grad(lambda v: v * run(w).sum())(2.0), run(w).sum())
