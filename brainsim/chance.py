"""Random numbers inside the equation of one cell, from the `key` that its method `spike` may ask for.

A cell gets a fresh key in every step: 64 random bits of the counter-based generator. The functions here read those bits
directly, several times cheaper than `jax.random`, which hashes the key again; for more than one number of a kind, and
for other distributions, use `jax.random.split(key)` and `jax.random` as usual.
"""

import jax
import jax.numpy as jnp

from .ops.normal_table import normal32

__all__ = ["normal_of", "uniform_of"]


def uniform_of(key):
    """The uniform number in [0, 1) that a key stands for; steps of 2**-31 near 0, so that rare events stay exact.

    Args:
        key: (), from `spike`, or any `jax.random.key` of the threefry2x32 kind that `jax.random.split` has made.

    Returns:
        () float.

    >>> import jax
    >>> 0.0 <= float(uniform_of(jax.random.split(jax.random.key(1))[0])) < 1.0
    True
    """
    word, real = jax.random.key_data(key)[..., 0], jnp.result_type(float)
    number = (word >> jnp.uint32(1)).astype(jnp.int32).astype(real) * real.type(2.0**-31)
    return jnp.minimum(number, real.type(1 - 2.0**-24))  # the largest words round up to 1


def normal_of(key):
    """The standard normal number that a key stands for, independent of its uniform one (`ops/normal_table.py`).

    Args:
        key: as in `uniform_of`.

    Returns:
        () float, of float32 resolution.
    """
    return normal32(jax.random.key_data(key)[..., 1]).astype(jnp.result_type(float))
