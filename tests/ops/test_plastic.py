"""Plastic updates: values against loops, in place, derivatives through the clip, batches, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brainsim.ops.plastic import transpose_index, update_columns, update_rows

LOW, HIGH = -0.4, 0.6


@pytest.fixture(params=["xla", "native"])
def backend(request):
    """Those with a form of their own."""
    return request.param


def loop(w, s, x, rows, others, low=-np.inf, high=np.inf):
    """Edge by edge; `rows` spike, `others` hold the values."""
    w, low, high = np.array(w, float), np.broadcast_to(low, len(w)), np.broadcast_to(high, len(w))
    for e in range(len(w)):
        if s[rows[e]] != 0:
            w[e] = min(max(w[e] + float(s[rows[e]]) * float(x[others[e]]), low[e]), high[e])
    return w


def ends(graph):
    """(source, target) of every edge."""
    return np.repeat(np.arange(graph.n_pre), np.diff(graph.indptr)), graph.indices


def update(graph, kind, backend):
    """f(weights, spikes, values, low, high) by rows or by columns of the same graph."""
    if kind == "rows":
        return lambda w, s, x, low=None, high=None: update_rows(
            w, s, x, graph.indptr, graph.indices, low=low, high=high, backend=backend
        )
    index = transpose_index(graph.indptr, graph.indices, graph.n_post)
    return lambda w, s, y, low=None, high=None: update_columns(w, s, y, *index, low=low, high=high, backend=backend)


def case(graph, kind):
    """(spikes, values, spiking end, other end of every edge)."""
    sources, targets = ends(graph)
    if kind == "rows":
        return graph.spikes(graph.n_pre), graph.floats(graph.n_post), sources, targets
    return graph.spikes(graph.n_post), graph.floats(graph.n_pre), targets, sources


@pytest.mark.parametrize("bounds", ["none", "low", "high", "both", "per edge"])
@pytest.mark.parametrize("kind", ["rows", "columns"])
def test_values(x64, graph, backend, kind, bounds):
    s, x, spiking, other = case(graph, kind)
    w = graph.floats(graph.n_edges)
    low, high = graph.floats(graph.n_edges) - 1, graph.floats(graph.n_edges) + 1
    given = {
        "none": {}, "low": dict(low=LOW), "high": dict(high=HIGH), "both": dict(low=LOW, high=HIGH),
        "per edge": dict(low=np.minimum(low, high), high=np.maximum(low, high)),
    }[bounds]  # fmt: skip
    new = update(graph, kind, backend)(w, s, x, **given)
    np.testing.assert_allclose(new, loop(w, s, x, spiking, other, **given), rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("kind", ["rows", "columns"])
def test_bool_spikes_and_float32(graph, backend, kind):
    s, x, spiking, other = case(graph, kind)
    w, x, s = graph.floats(graph.n_edges, dtype=np.float32), x.astype(np.float32), s.astype(bool)
    new = update(graph, kind, backend)(w, s, x, low=LOW)
    assert new.dtype == "float32"
    np.testing.assert_allclose(new, loop(w, s, x, spiking, other, low=LOW), rtol=1e-6, atol=1e-7)


def test_silent_edges_are_neither_changed_nor_clipped(graph, backend):
    w, x = np.full(graph.n_edges, 5.0, np.float32), np.full(graph.n_post, np.inf, np.float32)
    new = update_rows(w, np.zeros(graph.n_pre, bool), x, graph.indptr, graph.indices, high=1.0, backend=backend)
    np.testing.assert_array_equal(new, w)


@pytest.mark.parametrize("kind", ["rows", "columns"])
def test_derivatives_equal_finite_differences(x64, graph, backend, kind):
    """By every argument, bounds included; random values stay away from the corners."""
    s, x, *_ = case(graph, kind)
    s = graph.spikes(len(s), fraction=0.8)
    f = jax.jit(update(graph, kind, backend))
    given = (graph.floats(graph.n_edges) * 0.3, s, x, np.full(graph.n_edges, LOW), np.asarray(HIGH))
    given = tuple(jnp.asarray(a) for a in given)
    tangents = [jnp.asarray(graph.floats(*a.shape)) for a in given]
    tangents[1] = jnp.where(given[1] != 0, tangents[1], 0.0)  # a silent row that starts to spike is not smooth here
    out, tangent = jax.jvp(f, given, tuple(tangents))
    clipped = np.sum((np.asarray(out) == LOW) | (np.asarray(out) == HIGH))
    assert 3 < clipped < graph.n_edges - 3
    h = 1e-6
    up, down = (f(*(a + sign * h * t for a, t in zip(given, tangents))) for sign in (1, -1))
    np.testing.assert_allclose(tangent, (up - down) / (2 * h), rtol=1e-6, atol=1e-8)
    ct = jnp.asarray(graph.floats(graph.n_edges))
    cotangents = jax.vjp(f, *given)[1](ct)
    right = sum(jnp.vdot(c, t) for c, t in zip(cotangents, tangents))
    np.testing.assert_allclose(jnp.vdot(ct, tangent), right, rtol=1e-12)


def test_a_silent_spike_has_the_slope_of_the_unclipped_update(x64, graph, backend):
    x = jnp.asarray(graph.floats(graph.n_post))
    w = jnp.asarray(graph.floats(graph.n_edges))

    def total(s):
        return jnp.sum(update_rows(w, s, x, graph.indptr, graph.indices, low=LOW, high=HIGH, backend=backend))

    expected = np.zeros(graph.n_pre)
    np.add.at(expected, ends(graph)[0], np.asarray(x)[graph.indices])
    np.testing.assert_allclose(jax.jit(jax.grad(total))(jnp.zeros(graph.n_pre)), expected, rtol=1e-12, atol=1e-12)


def test_an_update_that_ends_on_the_bound_is_not_clipped(backend):
    edge = (jnp.array([0, 1], jnp.int32), jnp.array([0], jnp.int32))

    def new(w, high):
        return update_rows(w, jnp.ones(1), jnp.full(1, 0.5), *edge, high=high, low=0.0, backend=backend)[0]

    by_w, by_high = jax.grad(new, (0, 1))(jnp.full(1, 0.5), jnp.asarray(1.0))
    assert (float(by_w[0]), float(by_high)) == (1.0, 0.0)
    by_w, by_high = jax.grad(new, (0, 1))(jnp.full(1, 0.75), jnp.asarray(1.0))
    assert (float(by_w[0]), float(by_high)) == (0.0, 1.0)


@pytest.mark.parametrize("backend", ["native", pytest.param("xla", marks=pytest.mark.slow)], indirect=True)
def test_second_derivatives(x64, graph, backend):
    """d2 / ds dx of an unclipped sum of squares, against the dense form by plain jax."""
    sources, targets = ends(graph)
    s, x, w = (jnp.asarray(v) for v in (graph.spikes(graph.n_pre), graph.floats(graph.n_post), graph.floats(60)))

    def ours(s, x):
        return jnp.sum(update_rows(w, s, x, graph.indptr, graph.indices, high=HIGH, backend=backend) ** 2)

    def dense(s, x):
        new = w + s[sources] * x[targets]
        return jnp.sum(jnp.where((s[sources] != 0) & (new > HIGH), HIGH, new) ** 2)

    for a, b in zip(
        jax.tree.leaves(jax.hessian(ours, (0, 1))(s, x)), jax.tree.leaves(jax.hessian(dense, (0, 1))(s, x))
    ):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)


AXES = [(0, 0, 0, None), (None, None, 0, 0)] + [
    pytest.param(axes, marks=pytest.mark.slow) for axes in ((0, None, None, None), (None, 0, None, None), (0, 0, 0, 0))
]


@pytest.mark.parametrize("kind", ["rows", "columns"])
@pytest.mark.parametrize("axes", AXES)
def test_batches(x64, graph, backend, kind, axes):
    n, f = 3, update(graph, kind, backend)
    s, x, spiking, other = case(graph, kind)
    full = [
        graph.floats(n, graph.n_edges), graph.spikes(n, len(s)), graph.floats(n, len(x)),
        0.3 + 0.2 * np.arange(n)[:, None] + np.zeros(graph.n_edges),
    ]  # fmt: skip
    given = [jnp.asarray(v if a == 0 else v[0]) for v, a in zip(full, axes)]
    high = lambda w, s, x, b: f(w, s, x, None, b)
    out = jax.jit(jax.vmap(high, axes))(*given)
    for b in range(n):
        w1, s1, x1, high1 = (np.asarray(v if a is None else v[b]) for v, a in zip(given, axes))
        np.testing.assert_allclose(out[b], loop(w1, s1, x1, spiking, other, high=high1), rtol=1e-13, atol=1e-13)
    gradient = jax.jit(jax.grad(lambda *v: jnp.sum(jnp.sin(jax.vmap(high, axes)(*v))), (0, 1, 2)))(*given)
    single = jax.jit(jax.grad(lambda *v: jnp.sum(jnp.sin(high(*v))), (0, 1, 2)))
    parts = [single(*(v if a is None else v[b] for v, a in zip(given, axes))) for b in range(n)]
    for i, axis in enumerate(axes[:3]):
        expected = np.stack([p[i] for p in parts]) if axis == 0 else sum(p[i] for p in parts)
        np.testing.assert_allclose(gradient[i], expected, rtol=1e-11, atol=1e-11)


def test_a_scan_holds_no_copy_of_the_weights(graph):
    """Both updates in one loop: input and output are one buffer, and the caller's array does not change."""
    rows, columns = update(graph, "rows", "native"), update(graph, "columns", "native")
    pre, post = jnp.ones(graph.n_pre, bool), jnp.ones(graph.n_post, bool)

    def step(w, n):
        w = rows(w, pre, jnp.full(graph.n_post, -0.25), 0.0)
        return columns(w, post, jnp.ones(graph.n_pre), None, 8.0), None

    @jax.jit
    def run(w):
        return jax.lax.scan(step, w, jnp.arange(4))[0]

    w = jnp.zeros(graph.n_edges)
    computations = run.lower(w).compile().as_text().split("\n\n")
    (body,) = [c for c in computations if c.count("brainsim_plastic") >= 2 and "ENTRY" not in c]
    shape = f"f32[{graph.n_edges}]"
    assert body.count("output_to_operand_aliasing") == 2 and shape in body
    assert not [line for line in body.splitlines() if " copy(" in line and shape in line]
    np.testing.assert_array_equal(run(w), np.full(graph.n_edges, 1.0 + 3 * 0.75))
    np.testing.assert_array_equal(w, np.zeros(graph.n_edges))


def test_donated_weights_keep_their_memory(graph):
    f = jax.jit(update(graph, "columns", "native"), donate_argnums=0)
    w = jnp.zeros(graph.n_edges)
    address = w.unsafe_buffer_pointer()
    new = f(w, jnp.ones(graph.n_post, bool), jnp.ones(graph.n_pre))
    assert new.unsafe_buffer_pointer() == address
    np.testing.assert_array_equal(new, np.ones(graph.n_edges))


def test_transpose_index(graph):
    sources, targets = ends(graph)
    indptr, rows, edges = transpose_index(graph.indptr, graph.indices, graph.n_post)
    assert sorted(edges) == list(range(graph.n_edges)) and indptr[0] == 0 and len(indptr) == graph.n_post + 1
    for j in range(graph.n_post):
        mine = edges[indptr[j] : indptr[j + 1]]
        assert list(mine) == sorted(np.flatnonzero(targets == j))
        np.testing.assert_array_equal(rows[indptr[j] : indptr[j + 1]], sources[mine])
    with pytest.raises(ValueError, match="outside"):
        transpose_index(graph.indptr, graph.indices, graph.n_post - 3)
    with pytest.raises(ValueError, match="rise"):
        transpose_index(graph.indptr[::-1], graph.indices, graph.n_post)


def test_edges_outside_are_an_error(graph):
    edges = [np.asarray(a).copy() for a in transpose_index(graph.indptr, graph.indices, graph.n_post)]
    w, s, y = np.ones(60, np.float32), np.ones(graph.n_post, bool), np.ones(graph.n_pre, np.float32)
    for which, bad in ((1, graph.n_pre), (1, -1), (2, 60), (2, -1)):
        broken = [a.copy() for a in edges]
        broken[which][7] = bad
        with pytest.raises((ValueError, jax.errors.JaxRuntimeError), match="an edge points outside"):
            jax.block_until_ready(update_columns(w, s, y, *broken, backend="native"))


@pytest.mark.parametrize("change, message", [
    (dict(weights=np.ones(3, np.float32)), "there are 3 weights"), (dict(weights=jnp.ones(60, "bfloat16")), "bfloat16"),
    (dict(x=np.ones(9, np.int32)), "int32"), (dict(spikes=np.ones(4, bool)), "13 rows"),
    (dict(low=np.ones(5, np.float32)), "low is float32"), (dict(high=np.ones(60, np.float16)), "high is float16"),
])  # fmt: skip
def test_refusals(graph, change, message):
    given = dict(weights=np.ones(60, np.float32), spikes=np.ones(13, bool), x=np.ones(9, np.float32)) | change
    with pytest.raises(ValueError, match=message):
        update_rows(indptr=graph.indptr, indices=graph.indices, **given)
