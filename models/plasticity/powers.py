"""Dependence of a change on the weight itself."""

import jax.numpy as jnp

TINY = 1e-30


def power(share, exponent):
    """share^exponent for a share of an interval in [0, 1]; finite in value and gradient at 0, where 0^0 is 1."""
    share = jnp.clip(share, 0.0, 1.0)
    inside = share > TINY
    return jnp.where(inside, jnp.where(inside, share, 1.0) ** exponent, jnp.where(exponent > 0, 0.0, 1.0))
