"""Values of every operator and back end against the dense oracle."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brainsim import ops
from brainsim.ops import reference

DTYPES = [("bool", "float32"), ("float32", "float32"), ("bool", "bfloat16"), ("float32", "bfloat16")]
WIDE = [("bool", "float64"), ("float64", "bfloat16")] + [
    pytest.param(pair, marks=pytest.mark.slow) for pair in (("float64", "float64"), ("float64", "float32"))
]


def values(graph, spike_dtype, weight_dtype, scalar):
    spikes = jnp.asarray(graph.spikes(graph.n_pre)).astype(spike_dtype)
    weights = jnp.asarray(graph.floats(*(() if scalar else (graph.n_edges,)))).astype(weight_dtype)
    return spikes, weights


@pytest.mark.parametrize("scalar", [False, True])
@pytest.mark.parametrize("dtypes", DTYPES)
def test_event_csr(graph, backend, dtypes, scalar):
    spikes, weights = values(graph, *dtypes, scalar)
    out = ops.event_csr(spikes, weights, graph.indptr, graph.indices, n_post=graph.n_post, backend=backend)
    wide = spikes if spikes.dtype == bool else spikes.astype("float32")
    expected = reference.event_csr(wide, weights.astype("float32"), graph.indptr, graph.indices, n_post=graph.n_post)
    assert out.shape == (graph.n_post,)
    assert out.dtype == (weights.dtype if dtypes[0] == "bool" else "float32")
    rtol = 1e-2 if out.dtype == "bfloat16" else 1e-5
    np.testing.assert_allclose(out.astype("float32"), expected, rtol=rtol, atol=1e-6)


@pytest.mark.parametrize("scalar", [False, True])
@pytest.mark.parametrize("dtypes", WIDE)
def test_event_csr_float64(x64, graph, backend, dtypes, scalar):
    spikes, weights = values(graph, *dtypes, scalar)
    out = ops.event_csr(spikes, weights, graph.indptr, graph.indices, n_post=graph.n_post, backend=backend)
    expected = reference.event_csr(spikes, weights.astype("float64"), graph.indptr, graph.indices, n_post=graph.n_post)
    assert out.dtype == "float64"
    np.testing.assert_allclose(out, expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dtypes", DTYPES)
def test_ring_deliver(graph, backend, dtypes, packed):
    spikes, weights = values(graph, *dtypes, False)
    ring = graph.floats(graph.n_slots, graph.n_post, dtype=np.float32)
    indices, delays = graph.indices, graph.delays
    if packed:
        indices, delays = ops.pack_edges(indices, delays, graph.n_post, graph.n_slots), None
    deliver = jax.jit(
        lambda n: ops.ring_deliver(ring, spikes, weights, graph.indptr, indices, delays, n, backend=backend)
    )
    for step in (0, 3, 2**31 - 1, -1):
        expected = reference.ring_deliver(
            jnp.asarray(ring),
            spikes,
            weights,
            graph.indptr,
            graph.indices,
            graph.delays,
            jnp.int32(step % graph.n_slots),
        )
        np.testing.assert_allclose(deliver(np.int32(step)), expected, rtol=1e-5, atol=1e-6)


def test_delays_beyond_the_ring_wrap(graph, backend):
    ring = jnp.zeros((graph.n_slots, graph.n_post))
    spikes = jnp.ones(graph.n_pre)
    far = graph.delays + np.int32(3 * graph.n_slots) * np.where(graph.indices % 2 == 0, 1, -1).astype(np.int32)
    near, other = (
        ops.ring_deliver(ring, spikes, 1.5, graph.indptr, graph.indices, d, 2, backend=backend)
        for d in (graph.delays, far)
    )
    np.testing.assert_array_equal(near, other)


@pytest.mark.parametrize("weight_dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("scalar", [False, True])
def test_gathers(graph, backend, weight_dtype, scalar):
    _, weights = values(graph, "bool", weight_dtype, scalar)
    ring = graph.floats(graph.n_slots, graph.n_post, dtype=np.float32)
    y = ops.gather_csr(ring[0], weights, graph.indptr, graph.indices, backend=backend)
    expected = reference.gather_csr(jnp.asarray(ring[0]), weights, graph.indptr, graph.indices)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)
    past = (-graph.delays).astype(np.int32)
    y = ops.ring_gather(ring, weights, graph.indptr, graph.indices, past, 5, backend=backend)
    expected = reference.ring_gather(jnp.asarray(ring), weights, graph.indptr, graph.indices, past, 5)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)


def test_edge_outer(graph, backend):
    spikes, x = graph.spikes(graph.n_pre, dtype=np.float32), graph.floats(graph.n_post, dtype=np.float32)
    g = ops.edge_outer(spikes, x, graph.indptr, graph.indices, backend=backend)
    for e in range(graph.n_edges):
        row = np.searchsorted(graph.indptr, e, side="right") - 1
        assert g[e] == np.float32(spikes[row] * x[graph.indices[e]])


def test_against_loops(graph, backend):
    """The oracle itself, and the fast forms, against plain Python."""
    spikes, weights = graph.spikes(graph.n_pre, dtype=np.float32), graph.floats(graph.n_edges, dtype=np.float32)
    ring = np.zeros((graph.n_slots, graph.n_post))
    for i in range(graph.n_pre):
        for e in range(graph.indptr[i], graph.indptr[i + 1]):
            ring[(2 + graph.delays[e]) % graph.n_slots, graph.indices[e]] += float(spikes[i]) * float(weights[e])
    for chosen in (backend, "reference"):
        out = ops.ring_deliver(
            np.zeros_like(ring, np.float32),
            spikes,
            weights,
            graph.indptr,
            graph.indices,
            graph.delays,
            2,
            backend=chosen,
        )
        np.testing.assert_allclose(out, ring, rtol=1e-5, atol=1e-6)
        out = ops.event_csr(spikes, weights, graph.indptr, graph.indices, n_post=graph.n_post, backend=chosen)
        np.testing.assert_allclose(out, ring.sum(axis=0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("sizes", [(5, 4, 0), (0, 4, 0), (1, 1, 1), (40, 3, 100)])
def test_sizes(graph_of, backend, sizes):
    """No edges, no rows, one of everything, more than one block of rows; spikes of silence give zero."""
    graph = graph_of(*sizes)
    spikes, weights = jnp.ones(graph.n_pre), jnp.ones(graph.n_edges)
    out = ops.event_csr(spikes, weights, graph.indptr, graph.indices, n_post=graph.n_post, backend=backend)
    np.testing.assert_array_equal(out, np.bincount(graph.indices, minlength=graph.n_post).astype(np.float32))
    silent = ops.event_csr(spikes * 0, weights, graph.indptr, graph.indices, n_post=graph.n_post, backend=backend)
    assert not np.any(silent)
    y = ops.gather_csr(jnp.ones(graph.n_post), weights, graph.indptr, graph.indices, backend=backend)
    np.testing.assert_array_equal(y, np.diff(graph.indptr))
    g = ops.edge_outer(spikes, jnp.ones(graph.n_post), graph.indptr, graph.indices, backend=backend)
    np.testing.assert_array_equal(g, np.ones(graph.n_edges))


def test_more_edges_than_one_turn_of_the_xla_loop(graph_of, backend):
    graph = graph_of(200, 50, 5000)
    spikes, weights = graph.spikes(200, dtype=np.float32, fraction=0.9), graph.floats(5000, dtype=np.float32)
    out = ops.event_csr(spikes, weights, graph.indptr, graph.indices, n_post=50, backend=backend)
    expected = np.zeros(50)
    np.add.at(expected, graph.indices, np.repeat(spikes, np.diff(graph.indptr)).astype(float) * weights)
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-4)


def test_nan_spreads_and_silence_hides(graph, backend):
    spikes = np.zeros(graph.n_pre, np.float32)
    spikes[2] = np.nan
    weights = np.full(graph.n_edges, np.inf, np.float32)
    out = ops.event_csr(spikes, weights, graph.indptr, graph.indices, n_post=graph.n_post, backend=backend)
    hit = np.isin(np.arange(graph.n_post), graph.indices[graph.indptr[2] : graph.indptr[3]])
    np.testing.assert_array_equal(np.isnan(out), hit)
    out = ops.event_csr(
        -0.0 * np.ones_like(spikes), weights, graph.indptr, graph.indices, n_post=graph.n_post, backend=backend
    )
    np.testing.assert_array_equal(out, np.zeros(graph.n_post))


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=40, max_size=40), st.integers(0, 2**31 - 1))
def test_spike_patterns(pattern, seed):
    """Any pattern over more than one block of rows, fixed shapes: integers add without rounding."""
    rng = np.random.default_rng(seed)
    indptr = np.sort(np.concatenate([[0, 100], rng.integers(0, 101, 39)])).astype(np.int32)
    indices = rng.integers(0, 7, 100).astype(np.int32)
    expected = np.zeros(7)
    np.add.at(expected, indices, np.repeat(np.asarray(pattern), np.diff(indptr)))
    for backend in ("xla", "native"):
        out = ops.event_csr(np.asarray(pattern, np.float32), 1.0, indptr, indices, n_post=7, backend=backend)
        np.testing.assert_array_equal(out, expected)


def test_weak_scalars_follow_the_spikes(x64, graph):
    out = ops.event_csr(graph.spikes(graph.n_pre, dtype=np.float32), 0.5, graph.indptr, graph.indices, n_post=9)
    assert out.dtype == "float32"
    assert not out.weak_type
    stepped = jax.jit(
        lambda s: ops.ring_deliver(jnp.zeros((2, 9), "float32"), s, 1, graph.indptr, graph.indices, graph.delays, 3)
    )
    assert stepped(np.ones(graph.n_pre, bool)).dtype == "float32"
