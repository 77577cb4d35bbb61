"""Spikes over a dense matrix."""

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

from brainsim.ops import dense
from brainsim.ops.dense import event_dense


@pytest.fixture(params=["xla", "native"])
def backend(request):
    return request.param


def make(backend):
    return lambda s, w, active=None: event_dense(s, w, active=active, backend=backend)


@pytest.mark.parametrize("n_post", [9, 75])
def test_dtypes_and_silence(graph_of, backend, n_post):
    """Fewer targets than one vector, and two with a rest."""
    graph = graph_of(21, n_post)
    weights = graph.floats(21, n_post)
    check_dtypes(graph, make(backend), np.asarray, weights)
    check_silence(graph, make(backend), np.asarray, weights)
    check_bits(graph, make(backend), weights)


@pytest.mark.parametrize("sizes", [(13, 9), (100, 70)])
def test_derivatives(x64, graph_of, backend, sizes):
    graph = graph_of(*sizes)
    weights = graph.floats(*sizes)
    check_float64(graph, make(backend), np.asarray, weights)
    check_derivatives(graph, make(backend), np.asarray, weights)
    check_active(graph, make(backend), weights)


@pytest.mark.parametrize("trials, fraction", [(3, 0.4), (dense.PRODUCT_FROM, 0.6), (dense.PRODUCT_FROM, 0.05)])
def test_batches(x64, graph, backend, trials, fraction):
    """Few trials, many that are multiplied as matrices, and many that are too silent for that."""
    check_batches(graph, make(backend), np.asarray, graph.floats(13, 9), trials, fraction)


def test_few_rows_of_many(x64, graph_of, backend):
    """The xla form takes rows in turns where few cells spike: here three turns."""
    graph = graph_of(900, 5)
    spikes, matrix = np.zeros(900), graph.floats(900, 5)
    spikes[::11] = graph.floats(82)
    np.testing.assert_allclose(make(backend)(spikes, matrix), spikes @ matrix, rtol=1e-12, atol=1e-12)


def test_a_product_of_silent_rows_and_infinity_is_corrected(backend):
    """Where a batch is multiplied as matrices, 0 * inf would be nan."""
    trials = dense.PRODUCT_FROM
    spikes = np.ones((trials, 4), np.float32)
    spikes[:, 1] = 0
    matrix = np.ones((4, 3), np.float32)
    matrix[1] = np.inf
    f = jax.jit(lambda s, w: jax.vmap(lambda s: event_dense(s, w, backend=backend))(s))
    np.testing.assert_array_equal(f(spikes, matrix), np.full((trials, 3), 3.0))
    ct = np.full((trials, 3), np.inf, np.float32)
    by_matrix = jax.vjp(lambda w: f(spikes, w), jnp.asarray(matrix))[1](jnp.asarray(ct))[0]
    expected = np.full((4, 3), np.inf)
    expected[1] = 0
    np.testing.assert_array_equal(by_matrix, expected)


def test_sizes(backend):
    assert event_dense(np.ones(0, np.float32), np.ones((0, 3), np.float32), backend=backend).tolist() == [0, 0, 0]
    assert event_dense(np.ones(2, np.float32), np.ones((2, 0), np.float32), backend=backend).shape == (0,)
    assert event_dense(np.ones(1, bool), np.full((1, 1), 2.0, np.float32), backend=backend).tolist() == [2]


def test_refusals():
    with pytest.raises(ValueError, match="the matrix has 3 rows"):
        event_dense(np.ones(2, np.float32), np.ones((3, 2), np.float32))
    with pytest.raises(ValueError, match="two axes"):
        event_dense(np.ones(2, np.float32), np.ones(2, np.float32))
    with pytest.raises(ValueError, match="float16"):
        event_dense(np.ones(2, np.float32), np.ones((2, 2), np.float16))
