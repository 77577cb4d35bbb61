"""Dependence of a change on the weight itself."""

import jax
import jax.numpy as jnp

TINY = 1e-30


def _power(share, exponent):
    inside = share > TINY
    return jnp.where(inside, jnp.where(inside, share, 1.0) ** exponent, jnp.where(exponent > 0, 0.0, 1.0))


@jax.custom_jvp
def _cheap(share, exponent):
    """The same value; where no lane has an exponent, the native loop skips the power."""
    inside = (share > TINY) & (exponent != 0)
    return jnp.where(inside, jnp.where(inside, share, 1.0) ** exponent, jnp.where(exponent > 0, 0.0, 1.0))


@_cheap.defjvp
def _slope(primals, tangents):
    return jax.jvp(_power, primals, tangents)


def power(share, exponent):
    """share^exponent for a share of an interval in [0, 1]; finite in value and gradient at 0, where 0^0 is 1."""
    return _cheap(jnp.clip(share, 0.0, 1.0), jnp.asarray(exponent))
