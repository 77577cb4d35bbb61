"""window_gather: values, wrap-around, derivatives, batches, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brainsim import ops
from brainsim.ops.window import window_gather

WIDTH, STEP = 23, 101


@pytest.fixture(params=["xla", "native"])
def backend(request):
    """Those with a form of their own."""
    return request.param


class Case:
    """Edges sorted by target with empty rows and duplicates, and a history; the oracle is a Python loop."""

    def __init__(self, block=6, width=WIDTH, n_rows=7, n_sources=5, n_edges=40, seed=0):
        rng = np.random.default_rng(seed)
        self.block, self.width, self.n_rows, self.rng = block, width, n_rows, rng
        self.rows = np.sort(rng.integers(1, max(n_rows - 1, 2), n_edges))
        self.indptr = np.searchsorted(self.rows, np.arange(n_rows + 1)).astype(np.int32)
        self.indices = rng.integers(0, n_sources, n_edges).astype(np.int32)
        self.delays = -rng.integers(1, width + 1, n_edges).astype(np.int32)
        self.history, self.weights = rng.normal(size=(n_sources, width)), rng.normal(size=n_edges)

    def gather(self, backend, history, weights, step=STEP, delays=None):
        delays = self.delays if delays is None else delays
        return window_gather(
            history, weights, self.indptr, self.indices, delays, step, block=self.block, backend=backend
        )

    def loop(self, history, weights, step=STEP):
        y, weights = np.zeros((self.block, self.n_rows)), np.broadcast_to(weights, self.rows.shape)
        for e, row in enumerate(self.rows):
            for k in range(self.block):
                y[k, row] += weights[e] * history[self.indices[e], (int(step) + k + int(self.delays[e])) % self.width]
        return y


@pytest.mark.parametrize("step", [0, 7, STEP, 2**31 - 1, -3])
@pytest.mark.parametrize("backend", ["native", "xla", "reference"])
def test_values(backend, step):
    case = Case()
    history, weights = case.history.astype(np.float32), case.weights.astype(np.float32)
    y = case.gather(backend, history, weights, np.int32(step))
    assert y.shape == (case.block, case.n_rows) and y.dtype == "float32"
    np.testing.assert_allclose(y, case.loop(history, weights, step), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("block, width", [(1, 1), (1, 40), (8, 9), (17, 50), (29, 58), (64, 64), (70, 200), (100, 100)])
def test_every_tile_and_the_tail(x64, backend, block, width):
    """Blocks of less than a tile, several tiles, and windows as long as the history."""
    case = Case(block, width)
    y = case.gather(backend, case.history, case.weights)
    np.testing.assert_allclose(y, case.loop(case.history, case.weights), rtol=1e-12, atol=1e-12)


def test_scalar_and_narrow_weights(x64, backend):
    case = Case()
    y = case.gather(backend, case.history, 0.5)
    np.testing.assert_allclose(y, case.loop(case.history, 0.5), rtol=1e-12, atol=1e-12)
    narrow = jnp.asarray(case.weights).astype("bfloat16")
    expected = case.loop(case.history, np.asarray(narrow.astype("float64")))
    np.testing.assert_allclose(case.gather(backend, case.history, narrow), expected, rtol=1e-12, atol=1e-12)


def test_delays_wrap_like_the_ring(backend):
    case = Case()
    history, weights = case.history.astype(np.float32), case.weights.astype(np.float32)
    near = case.gather(backend, history, weights)
    for turns in (1, 2, 5):
        far = case.delays + np.int32(WIDTH * turns) * np.where(case.indices % 2 == 0, 1, -1).astype(np.int32)
        np.testing.assert_array_equal(case.gather(backend, history, weights, delays=far), near)


def test_a_block_of_one_is_ring_gather(backend):
    case = Case(block=1)
    history, weights = case.history.astype(np.float32), case.weights.astype(np.float32)
    edges = (case.indptr, case.indices, case.delays, STEP)
    expected = ops.ring_gather(np.ascontiguousarray(history.T), weights, *edges, backend="xla")
    np.testing.assert_allclose(case.gather(backend, history, weights)[0], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("block", [6, 40])
def test_derivatives(x64, backend, block):
    """<ct, J t> = <J' ct, t>; J t is the loop itself, for T is bilinear."""
    case = Case(block, width=50)
    f = jax.jit(lambda h, w: case.gather(backend, h, w))
    h, w = jnp.asarray(case.history), jnp.asarray(case.weights)
    dh, dw = case.rng.normal(size=h.shape), case.rng.normal(size=w.shape)
    out, tangent = jax.jvp(f, (h, w), (jnp.asarray(dh), jnp.asarray(dw)))
    expected = case.loop(dh, case.weights) + case.loop(case.history, dw)
    np.testing.assert_allclose(tangent, expected, rtol=1e-11, atol=1e-11)
    ct = jnp.asarray(case.rng.normal(size=out.shape))
    by_h, by_w = jax.vjp(f, h, w)[1](ct)
    np.testing.assert_allclose(jnp.vdot(by_h, dh), np.vdot(ct, case.loop(dh, case.weights)), rtol=1e-11)
    np.testing.assert_allclose(jnp.vdot(by_w, dw), np.vdot(ct, case.loop(case.history, dw)), rtol=1e-11)
    by_scalar = jax.jit(jax.grad(lambda s: jnp.vdot(ct, case.gather(backend, h, s))))(0.3)
    np.testing.assert_allclose(by_scalar, np.vdot(ct, case.loop(case.history, 1.0)), rtol=1e-11)


def test_second_derivatives_equal_those_of_the_reference(x64, backend):
    case = Case()
    h, w = jnp.asarray(case.history), jnp.asarray(case.weights)
    t = (jnp.asarray(case.rng.normal(size=h.shape)), jnp.asarray(case.rng.normal(size=w.shape)))

    def curvature(chosen):
        gradient = jax.grad(lambda h, w: jnp.sum(jnp.sin(case.gather(chosen, h, w))), (0, 1))
        return jax.jit(lambda: jax.jvp(gradient, (h, w), t)[1])()

    for ours, theirs in zip(curvature(backend), curvature("reference")):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-10)


AXES = [(0, None, None), (None, 0, None), (0, 0, None), (None, None, 0), (0, 0, 0)]


@pytest.mark.parametrize("axes", AXES)
def test_batches_and_their_gradients(x64, backend, axes):
    case, n = Case(), 3
    values = [case.rng.normal(size=(n, *case.history.shape)), case.rng.normal(size=(n, len(case.weights)))]
    values = [v if a == 0 else v[0] for v, a in zip(values, axes)] + [np.arange(n, dtype=np.int32) * 9]
    values[2] = values[2] if axes[2] == 0 else values[2][1]
    values = [jnp.asarray(v) for v in values]

    def loss(chosen):
        return lambda h, w, n: jnp.sum(jnp.sin(jax.vmap(lambda h, w, n: case.gather(chosen, h, w, n), axes)(h, w, n)))

    out = jax.jit(jax.vmap(lambda h, w, n: case.gather(backend, h, w, n), axes))(*values)
    for b in range(n):
        one = [np.asarray(v if a is None else v[b]) for v, a in zip(values, axes)]
        np.testing.assert_allclose(out[b], case.loop(*one[:2], int(one[2])), rtol=1e-11, atol=1e-11)
    ours, theirs = (jax.jit(jax.grad(loss(c), (0, 1)))(*values) for c in (backend, "reference"))
    for a, b in zip(ours, theirs):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)


def test_infinite_values_stay_in_their_window(backend):
    """Tiles are wider than windows: what lies beside a window never reaches a sum or a cotangent."""
    history = np.full((1, 40), np.nan, np.float32)
    history[0, 10:13] = [1, 2, 3]
    edges = (np.array([0, 1], np.int32), np.zeros(1, np.int32), np.array([-10], np.int32), 20)

    def f(h, w):
        return window_gather(h, w, *edges, block=3, backend=backend)[:, 0]

    np.testing.assert_array_equal(f(history, np.ones(1, np.float32)), [1, 2, 3])
    by_h, by_w = jax.vjp(f, jnp.asarray(history), jnp.full(1, jnp.inf))[1](jnp.ones(3))
    np.testing.assert_array_equal(by_w, [6])
    expected = np.zeros((1, 40))
    expected[0, 10:13] = np.inf
    np.testing.assert_array_equal(by_h, expected)


def test_sizes_of_nothing(backend):
    none, history = np.zeros(0, np.int32), np.ones((3, 8), np.float32)
    y = window_gather(history, 1.0, np.zeros(5, np.int32), none, none, 0, block=2, backend=backend)
    np.testing.assert_array_equal(y, np.zeros((2, 4)))
    y = window_gather(history, 1.0, np.zeros(1, np.int32), none, none, 0, block=2, backend=backend)
    assert y.shape == (2, 0)


def test_same_bits_and_edges_outside():
    case = Case()
    f = jax.jit(lambda h, w: case.gather("native", h, w))
    values = case.history.astype(np.float32), case.weights.astype(np.float32)
    assert np.asarray(f(*values)).tobytes() == np.asarray(f(*values)).tobytes()
    case.indices[3] = 5
    with pytest.raises((ValueError, jax.errors.JaxRuntimeError), match="an edge points outside"):
        jax.block_until_ready(jax.jit(lambda h, w: case.gather("native", h, w))(*values))


@pytest.mark.parametrize("change, message", [
    (dict(block=24), "a window of that many steps"), (dict(block=0), "a window"), (dict(block=1.5), "shapes are static"),
    (dict(delays=None), "every edge has its own slice"), (dict(history=np.ones(4, np.float32)), "two axes"),
    (dict(history=np.ones((5, 4), np.float16)), "float16"), (dict(weights=np.ones(3, np.float32)), "40 edges"),
    (dict(delays=np.zeros(3, np.int32)), "40 edges"),
])  # fmt: skip
def test_refusals(change, message):
    case = Case()
    given = dict(history=case.history.astype(np.float32), weights=np.ones(40, np.float32), delays=case.delays, block=6)
    given |= change
    history, weights, delays = (given.pop(name) for name in ("history", "weights", "delays"))
    with pytest.raises(ValueError, match=message):
        window_gather(history, weights, case.indptr, case.indices, delays, 0, **given)
