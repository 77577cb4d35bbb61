"""Checks of operators that send spikes through weights, against the matrix that the weights stand for.

An operator is f(spikes, weights, active=None) -> (n_post,); `matrix(weights)` is the same as a NumPy matrix, linear in
the weights.
"""

import jax
import jax.numpy as jnp
import numpy as np


def check_dtypes(graph, f, matrix, weights):
    """Float32 and bfloat16 weights, bool and float spikes; the result takes the wider dtype."""
    spikes = graph.spikes(graph.n_pre)
    for spike_dtype, weight_dtype in (
        ("bool", "float32"),
        ("float32", "float32"),
        ("bool", "bfloat16"),
        ("float32", "bfloat16"),
    ):
        s, w = jnp.asarray(spikes).astype(spike_dtype), jnp.asarray(weights).astype(weight_dtype)
        out = f(s, w)
        assert out.dtype == (weight_dtype if spike_dtype == "bool" else "float32")
        expected = np.asarray(s).astype(float) @ matrix(np.asarray(w.astype("float32")).astype(float))
        rtol = 1e-2 if out.dtype == "bfloat16" else 1e-5
        np.testing.assert_allclose(out.astype("float32"), expected, rtol=rtol, atol=rtol)


def check_float64(graph, f, matrix, weights):
    for s in (graph.spikes(graph.n_pre), graph.spikes(graph.n_pre, fraction=1.0), np.zeros(graph.n_pre)):
        np.testing.assert_allclose(jax.jit(f)(s, weights), s @ matrix(weights), rtol=1e-12, atol=1e-12)


def check_silence(graph, f, matrix, weights):
    """Silence hides infinite weights, nan spreads to the targets of its source."""
    weights = np.full_like(weights, np.inf, dtype=np.float32)
    for zero in (np.zeros(graph.n_pre, np.float32), -np.zeros(graph.n_pre, np.float32), np.zeros(graph.n_pre, bool)):
        np.testing.assert_array_equal(f(zero, weights), np.zeros(f(zero, weights).shape))
    spikes = np.zeros(graph.n_pre, np.float32)
    spikes[2] = np.nan
    hit = matrix(np.ones_like(weights))[2] != 0
    np.testing.assert_array_equal(np.isnan(f(spikes, weights)), hit)
    by_weights = jax.vjp(lambda w: f(np.zeros(graph.n_pre, np.float32), w), jnp.asarray(weights))
    assert not np.any(by_weights[1](jnp.full(by_weights[0].shape, jnp.inf))[0])


def check_derivatives(graph, f, matrix, weights):
    """First and second derivatives in closed form: f is s @ matrix(w)."""
    s, w = jnp.asarray(graph.spikes(graph.n_pre)), jnp.asarray(weights)
    ds, dw = graph.floats(*s.shape), graph.floats(*w.shape)
    f = jax.jit(f)
    out, tangent = jax.jvp(f, (s, w), (jnp.asarray(ds), jnp.asarray(dw)))
    np.testing.assert_allclose(tangent, ds @ matrix(np.asarray(w)) + np.asarray(s) @ matrix(dw), rtol=1e-10, atol=1e-10)
    ct = graph.floats(*out.shape)
    by_s, by_w = jax.vjp(f, s, w)[1](jnp.asarray(ct))
    assert by_s.dtype == s.dtype and by_w.shape == w.shape
    np.testing.assert_allclose(by_s, matrix(np.asarray(w)) @ ct, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(jnp.vdot(by_w, dw), np.asarray(s) @ matrix(dw) @ ct, rtol=1e-10)
    gradient = jax.grad(lambda s, w: jnp.sum(f(s, w) ** 2) / 2, (0, 1))
    _, (by_ss, _) = jax.jvp(gradient, (s, w), (jnp.asarray(ds), jnp.zeros_like(w)))
    m = matrix(np.asarray(w))
    np.testing.assert_allclose(by_ss, m @ (ds @ m), rtol=1e-10, atol=1e-10)
    _, (by_sw, by_ww) = jax.jvp(gradient, (s, w), (jnp.zeros_like(s), jnp.asarray(dw)))
    dm = matrix(dw)
    np.testing.assert_allclose(by_sw, dm @ (np.asarray(s) @ m) + m @ (np.asarray(s) @ dm), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(jnp.vdot(by_ww, dw), np.sum((np.asarray(s) @ dm) ** 2), rtol=1e-10)


def check_active(graph, f, weights):
    s, w = jnp.asarray(graph.spikes(graph.n_pre)), jnp.asarray(weights)
    active = jnp.asarray(np.arange(graph.n_pre) % 3 == 0)
    loss = lambda s, w, active=None: jnp.sum(jnp.sin(f(s, w, active)))
    gradient = jax.jit(jax.grad(loss, (0, 1)))
    (by_s, by_w), (active_by_s, active_by_w) = gradient(s, w), gradient(s, w, active)
    np.testing.assert_allclose(active_by_s, jnp.where(active, by_s, 0.0), rtol=1e-12)
    np.testing.assert_array_equal(active_by_w, by_w)
    t = jnp.asarray(graph.floats(*s.shape))
    forward = jax.jit(lambda: jax.jvp(lambda s: loss(s, w, active), (s,), (t,))[1])()
    np.testing.assert_allclose(forward, jnp.vdot(active_by_s, t), rtol=1e-12)


def check_batches(graph, f, matrix, weights, trials=3, fraction=0.4):
    """vmap over spikes, weights, both and nested, with the gradients of shared operands summed over trials."""
    s = jnp.asarray(graph.spikes(trials, graph.n_pre, fraction=fraction))
    w = jnp.asarray(graph.floats(trials, *weights.shape))
    for axes in ((0, None), (None, 0), (0, 0)):
        given = [v if a == 0 else v[0] for v, a in zip((s, w), axes)]
        every = [np.broadcast_to(v if a == 0 else v[None], (trials, *v.shape[a == 0 :])) for v, a in zip(given, axes)]
        expected = np.stack([np.asarray(a) @ matrix(np.asarray(b)) for a, b in zip(*every)])
        g = jax.vmap(f, axes)
        np.testing.assert_allclose(jax.jit(g)(*given), expected, rtol=1e-11, atol=1e-11)
        by_s, by_w = jax.jit(jax.grad(lambda s, w, g=g: jnp.sum(g(s, w) ** 2) / 2, (0, 1)))(*given)
        full = np.stack([matrix(np.asarray(b)) @ y for b, y in zip(every[1], expected)])
        np.testing.assert_allclose(by_s, full if axes[0] == 0 else full.sum(0), rtol=1e-10, atol=1e-10)
        t = graph.floats(*given[1].shape)
        moved = np.broadcast_to(t if axes[1] == 0 else t[None], every[1].shape)
        right = sum(np.asarray(a) @ matrix(b) @ y for a, b, y in zip(every[0], moved, expected))
        np.testing.assert_allclose(jnp.vdot(by_w, t), right, rtol=1e-9)
    nested = jax.jit(jax.vmap(jax.vmap(f, (0, None)), (None, 0)))(s, w)
    expected = np.stack([np.asarray(s) @ matrix(np.asarray(one)) for one in w])
    np.testing.assert_allclose(nested, expected, rtol=1e-11, atol=1e-11)


def check_bits(graph, f, weights):
    s, w = graph.spikes(graph.n_pre, dtype=np.float32), np.asarray(weights, np.float32)
    run = jax.jit(f)
    assert np.asarray(run(s, w)).tobytes() == np.asarray(run(s, w)).tobytes()
