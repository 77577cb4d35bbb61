"""vmap over any operand, in any nesting and order with derivatives, without copies of the edges."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brainsim import ops
from brainsim.ops import reference

B, C = 3, 2


def deliver(graph, backend, step=6):
    """(ring, spikes, weights) -> ring, fast or (backend None) dense."""
    if backend is None:
        return lambda r, s, w: reference.ring_deliver(
            r, s, w, graph.indptr, graph.indices, graph.delays, jnp.int32(step)
        )
    return lambda r, s, w: ops.ring_deliver(r, s, w, graph.indptr, graph.indices, graph.delays, step, backend=backend)


def operands(graph, *batches):
    """ring, spikes, weights with the given batch shapes."""
    sizes = ((graph.n_slots, graph.n_post), (graph.n_pre,), (graph.n_edges,))
    values = [graph.floats(*b, *n) for b, n in zip(batches, sizes)]
    values[1] = graph.spikes(*batches[1], graph.n_pre)
    return [jnp.asarray(v) for v in values]


@pytest.mark.parametrize(
    "mapped", [(0, 0, 0), (None, 0, None), (None, None, 0), (None, 0, 0), (0, None, None), (0, 0, None), (2, 1, 1)]
)
def test_one_axis(x64, graph, backend, mapped):
    batches = [() if m is None else (B,) for m in mapped]
    values = operands(graph, *batches)
    moved = [v if not m else jnp.moveaxis(v, 0, m) for v, m in zip(values, mapped)]
    out = jax.jit(jax.vmap(deliver(graph, backend), mapped))(*moved)
    dense = jax.jit(deliver(graph, None))
    for b in range(B):
        one = [v if m is None else v[b] for v, m in zip(values, mapped)]
        np.testing.assert_allclose(out[b], dense(*one), rtol=1e-12, atol=1e-12)


NESTED = [((0, 0, None), (None, 0, 0))] + [
    pytest.param(axes, marks=pytest.mark.slow)
    for axes in (((None, 0, None), (None, None, 0)), ((None, None, 0), (0, None, None)))
]


@pytest.mark.parametrize("axes", NESTED)
def test_two_axes_and_the_gradient_through_them(x64, graph, backend, axes):
    """Inner and outer vmap over different operands; the gradient of a shared operand is summed over the batch."""
    inner, outer = axes
    batches = [(C,) * (o is not None) + (B,) * (i is not None) for i, o in zip(inner, outer)]
    values = operands(graph, *batches)
    results = []
    for f in (deliver(graph, backend), deliver(graph, None)):
        both = jax.vmap(jax.vmap(f, inner), outer)
        gradient = jax.grad(lambda *v, both=both: jnp.sum(jnp.sin(both(*v))), (0, 1, 2))
        results.append((jax.jit(both)(*values), *jax.jit(gradient)(*values)))
    for ours, theirs in zip(*results):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-11)


def test_vmap_of_grad(x64, graph, native):
    ring, spikes, weights = operands(graph, (), (B,), ())

    def per_trial(f):
        gradient = jax.grad(lambda s, w: jnp.sum(jnp.cos(f(ring, s, w))), (0, 1))
        return jax.jit(jax.vmap(gradient, (0, None)))(spikes, weights)

    for ours, theirs in zip(per_trial(deliver(graph, native)), per_trial(deliver(graph, None))):
        np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-11)


def test_hessian_of_a_batched_loss(x64, graph_of, native):
    graph = graph_of(5, 4, 8)
    ring, spikes, weights = operands(graph, (), (B,), ())

    def hessian(f):
        return jax.jit(jax.hessian(lambda w: jnp.sum(jax.vmap(f, (None, 0, None))(ring, spikes, w) ** 3)))(weights)

    np.testing.assert_allclose(hessian(deliver(graph, native)), hessian(deliver(graph, None)), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("backend", ["native", pytest.param("xla", marks=pytest.mark.slow)], indirect=True)
def test_scalar_weights_and_gather_in_batches(x64, graph, backend):
    spikes, scalars = jnp.asarray(graph.spikes(B, graph.n_pre)), jnp.asarray(graph.floats(B))
    x = jnp.asarray(graph.floats(B, graph.n_post))
    edges = (graph.indptr, graph.indices)

    def loss(s, w, x, chosen):
        sent = chosen.event_csr(s, w, *edges, n_post=graph.n_post)
        return jnp.sum(jnp.sin(sent)) + jnp.sum(jnp.cos(chosen.gather_csr(x, w, *edges)))

    class Fast:
        @staticmethod
        def event_csr(*a, **k):
            return ops.event_csr(*a, **k, backend=backend)

        @staticmethod
        def gather_csr(*a):
            return ops.gather_csr(*a, backend=backend)

    for axes, w in (((0, 0, 0), scalars), ((0, None, None), scalars[0]), ((None, 0, None), scalars)):
        values = [v if a == 0 else (v[0] if v.ndim == 2 else v) for v, a in zip((spikes, w, x), axes)]
        ours, theirs = (
            jax.jit(jax.vmap(jax.grad(lambda *v, c=c: loss(*v, c), (0, 1, 2)), axes))(*values)
            for c in (Fast, reference)
        )
        for a, b in zip(ours, theirs):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)


def test_steps_and_edges_in_batches(x64, graph, backend):
    """Trials at different steps, and rewired graphs of one size."""
    ring, spikes, weights = operands(graph, (), (), ())
    steps = jnp.asarray([0, 5, -3], jnp.int32)
    indices = jnp.asarray(graph.rng.integers(0, graph.n_post, (B, graph.n_edges)), jnp.int32)

    def at(chosen, step, indices, **k):
        return chosen(ring, spikes, weights, graph.indptr, indices, graph.delays, step, **k)

    ours = jax.jit(jax.vmap(lambda n, i: at(ops.ring_deliver, n, i, backend=backend)))(steps, indices)
    theirs = jax.jit(jax.vmap(lambda n, i: at(reference.ring_deliver, n, i)))(steps, indices)
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)


def test_active_rows_in_batches(x64, graph, backend):
    _, spikes, weights = operands(graph, (), (B,), ())
    active = jnp.asarray(graph.rng.random((B, graph.n_pre)) < 0.5)

    def loss(s, a):
        out = ops.event_csr(s, weights, graph.indptr, graph.indices, n_post=graph.n_post, active=a, backend=backend)
        return jnp.sum(jnp.sin(out))

    everywhere = jax.jit(jax.vmap(jax.grad(loss), (0, None)))(spikes, None)
    expected = np.where(active, everywhere, 0.0)
    np.testing.assert_allclose(jax.jit(jax.vmap(jax.grad(loss)))(spikes, active), expected, rtol=1e-12)
    total = jax.jit(jax.grad(lambda s: jnp.sum(jax.vmap(loss)(s, active))))(spikes)
    np.testing.assert_allclose(total, expected, rtol=1e-12)


def test_empty_batch_and_unbatched_results(graph, backend):
    spikes = jnp.zeros((0, graph.n_pre))
    out = jax.vmap(lambda s: ops.event_csr(s, 1.0, graph.indptr, graph.indices, n_post=9, backend=backend))(spikes)
    assert out.shape == (0, 9)


def test_edges_are_never_broadcast(graph_of):
    """Forward and backward programs of a batch hold nothing of size batch x edges (native form)."""
    graph, trials = graph_of(20, 10, 500), 7
    spikes, weights = jnp.asarray(graph.spikes(trials, 20, dtype=np.float32)), jnp.ones(500)

    def loss(s, w):
        send = jax.vmap(lambda s: ops.event_csr(s, w, graph.indptr, graph.indices, n_post=10, backend="native"))
        return jnp.sum(send(s) ** 2)

    program = jax.make_jaxpr(jax.grad(loss, (0, 1)))(spikes, weights)
    sizes = [v.aval.size for eqn in program.jaxpr.eqns for v in eqn.outvars]
    assert max(sizes) < trials * 500
