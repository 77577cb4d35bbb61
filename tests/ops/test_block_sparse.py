"""Spikes over a matrix of dense blocks."""

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
from brainsim.ops.block_sparse import event_blocks, to_blocks

BLOCKS = [(4, 5), (1, 1), (2, 40), (16, 3)]  # blocks that divide neither axis, and larger than one


@pytest.fixture(params=["xla", "native"])
def backend(request):
    return request.param


def make(graph, block, backend):
    """(f(spikes, blocks, active), matrix(blocks), blocks) of a random pattern of full blocks."""
    _, indptr, indices = to_blocks(graph.indptr, graph.indices, 1.0, block, n_post=graph.n_post)
    rows = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))

    def matrix(blocks):
        padded = np.zeros((max(len(indptr) * block[0], graph.n_pre), (graph.n_post // block[1] + 1) * block[1]))
        for (p, q), values in zip(zip(rows, indices), blocks):
            padded[p * block[0] : (p + 1) * block[0], q * block[1] : (q + 1) * block[1]] += values
        return padded[: graph.n_pre, : graph.n_post]

    def f(s, w, active=None):
        return event_blocks(s, w, indptr, indices, n_post=graph.n_post, active=active, backend=backend)

    return f, matrix, graph.floats(len(indices), *block)


@pytest.mark.parametrize("block", BLOCKS)
def test_dtypes_and_silence(graph, backend, block):
    given = make(graph, block, backend)
    check_dtypes(graph, *given)
    check_silence(graph, *given)
    check_bits(graph, given[0], given[2])


@pytest.mark.parametrize("block", BLOCKS[:2])
def test_derivatives(x64, graph, backend, block):
    f, matrix, blocks = make(graph, block, backend)
    check_float64(graph, f, matrix, blocks)
    check_derivatives(graph, f, matrix, blocks)
    check_active(graph, f, blocks)


def test_batches(x64, graph, backend):
    check_batches(graph, *make(graph, (4, 5), backend))


@pytest.mark.parametrize("block", [*BLOCKS, 8])
def test_to_blocks_holds_the_same_network(x64, graph, backend, block):
    s, w = graph.spikes(graph.n_pre), graph.floats(graph.n_edges)
    blocks, indptr, indices = to_blocks(graph.indptr, graph.indices, w, block, n_post=graph.n_post)
    assert np.all(np.any(blocks != 0, axis=(1, 2)))
    expected = ops.event_csr(s, w, graph.indptr, graph.indices, n_post=graph.n_post, backend="reference")
    out = event_blocks(s, blocks, indptr, indices, n_post=graph.n_post, backend=backend)
    np.testing.assert_allclose(out, expected, rtol=1e-12, atol=1e-12)


def test_what_sticks_out_is_ignored(backend):
    """Entries of a block beyond the last row or target reach nothing, whatever they hold."""
    blocks = np.full((1, 2, 2), np.nan, np.float32)
    blocks[0, 0, 0] = 3
    row = (np.array([0, 1], np.int32), np.array([0], np.int32))

    def f(s, w):
        return event_blocks(s, w, *row, n_post=1, backend=backend)

    np.testing.assert_array_equal(f(np.ones(1, np.float32), blocks), [3])
    by_s, by_w = jax.vjp(f, jnp.ones(1), jnp.asarray(blocks))[1](jnp.ones(1))
    np.testing.assert_array_equal(by_s, [3])
    np.testing.assert_array_equal(by_w, [[[1, 0], [0, 0]]])


def test_sizes_of_nothing(backend):
    blocks, indptr, indices = to_blocks([0, 0, 0], [], 1.0, 4, n_post=3)
    assert blocks.shape == (0, 4, 4) and indptr.tolist() == [0, 0]
    out = event_blocks(np.ones(2, np.float32), blocks, indptr, indices, n_post=3, backend=backend)
    np.testing.assert_array_equal(out, np.zeros(3))


def test_a_block_outside_is_an_error():
    blocks, row = np.ones((1, 2, 2), np.float32), np.array([0, 1], np.int32)
    for bad in (-1, 2):
        with pytest.raises((ValueError, jax.errors.JaxRuntimeError), match="an edge points outside"):
            out = event_blocks(np.ones(2, bool), blocks, row, np.array([bad], np.int32), n_post=3, backend="native")
            jax.block_until_ready(out)


def test_refusals(graph):
    s, blocks, row = np.ones(4, bool), np.ones((1, 2, 2), np.float32), np.zeros(1, np.int32)
    with pytest.raises(ValueError, match="need 3 and 1"):
        event_blocks(s, blocks, np.array([0, 1], np.int32), row, n_post=2)
    with pytest.raises(ValueError, match="n_blocks, b_pre, b_post"):
        event_blocks(s, blocks[0], np.array([0, 1, 1], np.int32), row, n_post=2)
    for bad, message in (((graph.indptr[::-1], graph.indices, 1.0, 2), "indptr is not one"),
                         ((graph.indptr, graph.indices + 9, 1.0, 2), "outside"),
                         ((graph.indptr, graph.indices, np.ones(3), 2), "60 edges"),
                         ((graph.indptr, graph.indices, 1.0, 0), "positive")):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            to_blocks(*bad, n_post=graph.n_post)
