"""Edges sorted by target, and edges with a fixed number per cell."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matrix_battery import (
    check_active,
    check_batches,
    check_bits,
    check_derivatives,
    check_dtypes,
    check_float64,
    check_silence,
)

from brainsim import ops
from brainsim.ops.csc import event_csc, event_fan_in, event_fan_out, fan_rows
from brainsim.ops.plastic import transpose_index

OPERATORS = ("event_csc", "event_fan_in", "event_fan_out")
FAN = 21  # more than one vector of edges, with a rest


@pytest.fixture(params=["xla", "native"])
def backend(request):
    return request.param


def make(name, graph, backend):
    """(f(spikes, weights, active), matrix(weights), weights) of one operator."""
    if name == "event_csc":
        indptr, rows, edges = transpose_index(graph.indptr, graph.indices, graph.n_post)
        f = lambda s, w, active=None: event_csc(s, w, indptr, rows, active=active, backend=backend)
        ends, shape = (rows, graph.indices[edges]), (graph.n_edges,)
    elif name == "event_fan_in":
        sources = graph.rng.integers(0, graph.n_pre, (graph.n_post, FAN)).astype(np.int32)
        f = lambda s, w, active=None: event_fan_in(s, w, sources, active=active, backend=backend)
        ends, shape = (sources, np.arange(graph.n_post)[:, None]), sources.shape
    else:
        targets = graph.rng.integers(0, graph.n_post, (graph.n_pre, FAN)).astype(np.int32)
        kind = dict(n_post=graph.n_post, backend=backend)
        f = lambda s, w, active=None: event_fan_out(s, w, targets, active=active, **kind)
        ends, shape = (np.arange(graph.n_pre)[:, None], targets), targets.shape

    def matrix(weights):
        made = np.zeros((graph.n_pre, graph.n_post))
        np.add.at(made, np.broadcast_arrays(*ends), np.broadcast_to(weights, shape))
        return made

    return f, matrix, graph.floats(*shape)


@pytest.mark.parametrize("name", OPERATORS)
def test_dtypes_and_silence(graph, backend, name):
    given = make(name, graph, backend)
    check_dtypes(graph, *given)
    check_silence(graph, *given)
    check_bits(graph, given[0], given[2])


@pytest.mark.parametrize("name", OPERATORS)
def test_derivatives(x64, graph, backend, name):
    f, matrix, weights = make(name, graph, backend)
    check_float64(graph, f, matrix, weights)
    check_derivatives(graph, f, matrix, weights)
    check_derivatives(graph, f, matrix, np.float64(0.7))
    check_active(graph, f, weights)


@pytest.mark.parametrize("name", OPERATORS)
def test_batches(x64, graph, backend, name):
    f, matrix, weights = make(name, graph, backend)
    check_batches(graph, f, matrix, weights)


def test_csc_is_csr_of_the_transposed_graph(x64, graph, backend):
    indptr, rows, edges = transpose_index(graph.indptr, graph.indices, graph.n_post)
    s, w = graph.spikes(graph.n_pre), graph.floats(graph.n_edges)
    expected = ops.event_csr(s, w, graph.indptr, graph.indices, n_post=graph.n_post, backend=backend)
    np.testing.assert_allclose(event_csc(s, w[edges], indptr, rows, backend=backend), expected, rtol=1e-13, atol=1e-13)


def test_bits_of_a_target_depend_on_its_own_edges_alone(graph):
    """A target gets the same bits among others, alone, and in a batch."""
    sources = graph.rng.integers(0, graph.n_pre, (graph.n_post, FAN)).astype(np.int32)
    w = graph.floats(graph.n_post, FAN, dtype=np.float32)
    s = graph.spikes(2, graph.n_pre, dtype=np.float32)
    full = np.asarray(jax.vmap(lambda s: event_fan_in(s, w, sources, backend="native"))(s))
    for target in range(graph.n_post):
        one = event_fan_in(s[1], w[target : target + 1], sources[target : target + 1], backend="native")
        assert np.asarray(one).tobytes() == full[1, target : target + 1].tobytes()


def test_fan_rows_serve_the_ring(graph, backend):
    targets = graph.rng.integers(0, 9, (13, 4)).astype(np.int32)
    indptr, flat = fan_rows(targets)
    ring, delays = np.zeros((3, 9), np.float32), (targets.reshape(-1) % 3).astype(np.int32)
    out = ops.ring_deliver(ring, np.ones(13, bool), 1.0, indptr, flat, delays, 1, backend=backend)
    expected = np.zeros((3, 9))
    np.add.at(expected, ((1 + delays) % 3, targets.reshape(-1)), 1.0)
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("fan", [0, 1])
def test_sizes(graph, backend, fan):
    indices = np.zeros((5, fan), np.int32)
    out = event_fan_in(np.ones(3, np.float32), 2.0, indices, backend=backend)
    np.testing.assert_array_equal(out, np.full(5, 2.0 * fan))
    out = event_fan_out(np.ones(5, np.float32), 2.0, indices, n_post=2, backend=backend)
    np.testing.assert_array_equal(out, [10.0 * fan, 0])


def test_edges_outside_are_an_error(graph):
    for bad in (-1, 13):
        indices = np.full((4, 20), 3, np.int32)
        indices[2, 18] = bad
        with pytest.raises((ValueError, jax.errors.JaxRuntimeError), match="an edge points outside"):
            jax.block_until_ready(event_fan_in(np.ones(13, np.float32), 1.0, indices, backend="native"))
        kept = event_fan_in(np.ones(13, np.float32), 1.0, indices, backend="xla")
        np.testing.assert_array_equal(kept, [20, 20, 19, 20])


def test_refusals():
    s, indices = np.ones(3, np.float32), np.zeros((3, 2), np.int32)
    with pytest.raises(ValueError, match="weights have shape"):
        event_fan_in(s, np.ones((2, 3), np.float32), indices)
    with pytest.raises(ValueError, match="two axes"):
        event_fan_out(s, 1.0, np.zeros(4, np.int32), n_post=2)
    with pytest.raises(ValueError, match="indptr describes"):
        event_fan_out(jnp.ones(4), 1.0, indices, n_post=2)
    with pytest.raises(ValueError, match="active has length"):
        event_fan_in(s, 1.0, indices, active=np.ones(2, bool))
