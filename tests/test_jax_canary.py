"""Fails on a jaxlib that computes wrong numbers."""

import jax
import jax.numpy as jnp


def test_jaxlib_computes_batched_matvec():
    rows = jnp.zeros((32769, 3), jnp.float32).at[:, 0].set(jnp.arange(32769.0))
    squared_norms = jax.jit(jax.vmap(lambda row: jnp.sum((jnp.eye(3) @ row) ** 2)))(rows)
    assert squared_norms[-1] == 32768.0**2, f"jax {jax.__version__} miscompiles on this CPU (jax#39103)"
