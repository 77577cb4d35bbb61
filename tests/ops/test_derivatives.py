"""Derivative rules of every operator and back end: finite differences, dot products, the dense oracle, second order."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brainsim import ops
from brainsim.ops import reference

OPERATORS = ("event_csr", "event_csr scalar", "ring_deliver", "gather_csr", "ring_gather", "edge_outer")


def pair(name, graph, backend):
    """(fast function, dense function, float64 arguments) of one operator; all arguments differentiable."""
    edges = (graph.indptr, graph.indices)
    delays, step = graph.delays, jnp.int32(6)
    s, w = graph.spikes(graph.n_pre), graph.floats(graph.n_edges)
    x, ring = graph.floats(graph.n_post), graph.floats(graph.n_slots, graph.n_post)
    zero = jnp.zeros_like(jnp.asarray(graph.indices))
    kind = {"n_post": graph.n_post}
    table = {
        "event_csr": (
            lambda s, w: ops.event_csr(s, w, *edges, **kind, backend=backend),
            lambda s, w: reference.event_csr(s, w, *edges, **kind),
            (s, w),
        ),
        "ring_deliver": (
            lambda r, s, w: ops.ring_deliver(r, s, w, *edges, delays, step, backend=backend),
            lambda r, s, w: reference.ring_deliver(r, s, w, *edges, delays, step),
            (ring, s, w),
        ),
        "gather_csr": (
            lambda x, w: ops.gather_csr(x, w, *edges, backend=backend),
            lambda x, w: reference.gather_csr(x, w, *edges),
            (x, w),
        ),
        "ring_gather": (
            lambda r, w: ops.ring_gather(r, w, *edges, delays, step, backend=backend),
            lambda r, w: reference.ring_gather(r, w, *edges, delays, step),
            (ring, w),
        ),
        "edge_outer": (
            lambda s, x: ops.edge_outer(s, x, *edges, backend=backend),
            lambda s, x: reference.edge_outer(s, x[None], *edges, zero, jnp.int32(0)),
            (s, x),
        ),
    }
    table["event_csr scalar"] = (*table["event_csr"][:2], (s, np.float64(0.7)))
    fast, dense, arguments = table[name]
    return jax.jit(fast), jax.jit(dense), tuple(jnp.asarray(a) for a in arguments)


def like(graph, tree):
    return jax.tree.map(lambda a: jnp.asarray(graph.floats(*a.shape)), tree)


@pytest.mark.parametrize("name", OPERATORS)
def test_jvp_equals_finite_differences(x64, graph, native, name):
    """Silent rows included: away from zero the skipped rows are linear too."""
    fast, _, arguments = pair(name, graph, native)
    tangents = like(graph, arguments)
    out, tangent = jax.jvp(fast, arguments, tangents)
    np.testing.assert_array_equal(out, fast(*arguments))
    h = 1e-5
    up, down = (fast(*(a + sign * h * t for a, t in zip(arguments, tangents))) for sign in (1, -1))
    np.testing.assert_allclose(tangent, (up - down) / (2 * h), rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("name", OPERATORS)
def test_vjp(x64, graph, backend, name):
    """<ct, J t> = <J' ct, t>, and J' ct is what plain jax finds through the dense form."""
    fast, dense, arguments = pair(name, graph, backend)
    tangents = like(graph, arguments)
    out, pull = jax.vjp(fast, *arguments)
    ct = like(graph, out)
    cotangents = pull(ct)
    tangent = jax.jvp(fast, arguments, tangents)[1]
    right = sum(jnp.vdot(c, t) for c, t in zip(cotangents, tangents))
    np.testing.assert_allclose(jnp.vdot(ct, tangent), right, rtol=1e-12)
    for ours, theirs, argument in zip(cotangents, jax.vjp(dense, *arguments)[1](ct), arguments):
        assert ours.shape == argument.shape and ours.dtype == argument.dtype
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["event_csr scalar", "ring_deliver", "edge_outer"])
def test_second_derivatives(x64, graph, native, name):
    fast, dense, arguments = pair(name, graph, native)
    tangents = like(graph, arguments)

    def curvature(f):
        gradient = jax.grad(lambda *a: jnp.sum(jnp.sin(f(*a))), argnums=tuple(range(len(arguments))))
        return jax.jit(lambda: jax.jvp(gradient, arguments, tangents)[1])()  # forward over reverse

    for ours, theirs in zip(curvature(fast), curvature(dense)):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-10)


def test_reverse_over_reverse_and_over_forward(x64, graph, native):
    fast, dense, (s, w) = pair("event_csr", graph, native)

    def loss(f, w):
        return jnp.sum(f(s, w) ** 3)

    def norm(f, w):
        return jnp.sum(jax.grad(loss, argnums=1)(f, w) ** 2) + jax.jvp(lambda v: loss(f, v), (w,), (w,))[1]

    ours, theirs = (jax.jit(jax.grad(lambda v, f=f: norm(f, v)))(w) for f in (fast, dense))
    np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-10)


def test_jacobians_by_columns_and_rows(x64, graph, native):
    fast, dense, (s, w) = pair("event_csr", graph, native)
    for expected, ours in ((jax.jacrev(dense), jax.jacfwd(fast)), (jax.jacrev(dense, 1), jax.jacrev(fast, 1))):
        np.testing.assert_allclose(jax.jit(ours)(s, w), jax.jit(expected)(s, w), rtol=1e-12, atol=1e-12)


def test_linear_transpose(x64, graph, native):
    fast, dense, (ring, s, w) = pair("ring_deliver", graph, native)
    ct = like(graph, ring)
    ours = jax.linear_transpose(lambda r, v: fast(r, v, w), ring, s)(ct)
    theirs = jax.vjp(lambda r, v: dense(r, v, w), ring, s)[1](ct)
    for a, b in zip(ours, theirs):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_bool_spikes_and_bfloat16_weights(graph, backend):
    """The gradient has the dtype of the weights; bool spikes have none and do not stand in the way."""
    spikes = jnp.asarray(graph.spikes(graph.n_pre).astype(bool))
    weights = jnp.asarray(graph.floats(graph.n_edges)).astype("bfloat16")
    ring = jnp.zeros((graph.n_slots, graph.n_post))

    def loss(w):
        once = ops.ring_deliver(ring, spikes, w, graph.indptr, graph.indices, graph.delays, 1, backend=backend)
        return jnp.sum(once * 2)

    gradient = jax.jit(jax.grad(loss))(weights)
    assert gradient.dtype == "bfloat16"
    np.testing.assert_array_equal(gradient, 2 * np.repeat(np.asarray(spikes, int), np.diff(graph.indptr)))


def test_active_rows_restrict_the_derivative_by_spikes(x64, graph, backend):
    """The value and the weights' gradient are untouched; outside the active set the spikes' derivative is zero."""
    s, w = jnp.asarray(graph.spikes(graph.n_pre)), jnp.asarray(graph.floats(graph.n_edges))
    active = jnp.asarray(np.arange(graph.n_pre) % 3 == 0)

    def value(s, w, active=None):
        out = ops.event_csr(s, w, graph.indptr, graph.indices, n_post=graph.n_post, active=active, backend=backend)
        return jnp.sum(jnp.sin(out))

    np.testing.assert_array_equal(value(s, w), value(s, w, active))
    gradient = jax.jit(jax.grad(value, (0, 1)))
    (by_s, by_w), (active_by_s, active_by_w) = gradient(s, w), gradient(s, w, active)
    np.testing.assert_allclose(active_by_s, jnp.where(active, by_s, 0.0), rtol=1e-13)
    np.testing.assert_array_equal(active_by_w, by_w)
    tangent = jnp.asarray(graph.floats(graph.n_pre))
    forward = jax.jit(lambda: jax.jvp(lambda s: value(s, w, active), (s,), (tangent,))[1])()
    np.testing.assert_allclose(forward, jnp.vdot(active_by_s, tangent), rtol=1e-12)


def test_gradient_through_a_scan(x64, graph_of, backend):
    """Backpropagation through a ring in the carry of a loop, against the dense form."""
    graph = graph_of(9, 9, 40)

    def loss(deliver, w, v):
        def step(carry, n):
            v, ring = carry
            slot = n % graph.n_slots
            v = 0.9 * v + jax.lax.dynamic_index_in_dim(ring, slot, keepdims=False)
            ring = jax.lax.dynamic_update_index_in_dim(ring, jnp.zeros_like(v), slot, 0)
            ring = deliver(ring, jax.nn.relu(v), w, graph.indptr, graph.indices, graph.delays % 3 + np.int32(1), n)
            return (v, ring), v

        start = (v, jnp.zeros((graph.n_slots, v.shape[0])))
        return jnp.sum(jax.lax.scan(step, start, jnp.arange(12, dtype=jnp.int32))[1] ** 2)

    def fast(*arguments):
        return ops.ring_deliver(*arguments, backend=backend)

    w, v = jnp.asarray(0.3 * graph.floats(graph.n_edges)), jnp.asarray(graph.floats(9))
    ours = jax.jit(jax.grad(lambda *a: loss(fast, *a), (0, 1)))(w, v)
    theirs = jax.jit(jax.grad(lambda *a: loss(reference.ring_deliver, *a), (0, 1)))(w, v)
    for a, b in zip(ours, theirs):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)
