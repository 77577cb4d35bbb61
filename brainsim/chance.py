"""Random numbers inside the equations of one cell or edge, from the `key` that their methods may ask for.

A cell (in `spike`) or an edge (in `on_pre`, `on_post`) gets a fresh key in every step: 64 random bits of the
counter-based generator. The functions here read those bits directly, several times cheaper than `jax.random`, which
hashes the key again; for other distributions use `jax.random`, on an edge with `bs.jax_key(key)`.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from .errors import DefinitionError
from .ops import threefry
from .ops.normal_table import normal32

__all__ = ["binomial_of", "fold_of", "jax_key", "normal_of", "uniform_of"]

GROUP = 64  # trials of one inversion: 2**-64, the least chance of no success, is far from the least float32
LAST = 0xFFFFFFFF  # as in `ops.random.fold_in`: no step counter of a run


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class EdgeKey:
    """The key of one edge in one step: two uint32 scalars, so that loops over edges need no arrays for it."""

    first: object
    second: object

    def __repr__(self):
        return "the key of an edge, read by bs.uniform_of(key); for jax.random write bs.jax_key(key)"


def edge_key(stream, step, number) -> EdgeKey:
    """Key of edge `number` in a step: the bits of `ops.random.bits(stream, step, n_edges)`.

    Args:
        stream: (first, second) uint32 words of the projection and method.
        step, number: () int32.
    """
    return EdgeKey(*threefry.threefry2x32(*stream, threefry.uint32(number), threefry.uint32(step)))


def abstract_call(model, method, asked) -> dict:
    """What a method that asks for a key returns, as shapes: nothing is computed, no back end is initialised."""
    word, plain = jax.ShapeDtypeStruct((), jnp.uint32), jax.ShapeDtypeStruct((), jnp.float32)
    values = {a: EdgeKey(word, word) if a == "key" else plain for a in asked}
    try:
        return jax.eval_shape(lambda values: getattr(model, method)(**values), values)
    except TypeError as error:
        if EdgeKey.__name__ not in str(error):
            raise
        where = f"{type(model).__name__}.{method}"
        raise DefinitionError(
            f"{where}: {error}. The key of an edge is read by bs.uniform_of(key); for jax.random, write bs.jax_key(key)"
        ) from None


def _words(key):
    if isinstance(key, EdgeKey):
        return key.first, key.second
    data = jax.random.key_data(key)
    return data[..., 0], data[..., 1]


def jax_key(key):
    """The key of an edge as one of `jax.random`, which visits every edge in every step: no native loop knows it.

    Args:
        key: as in `uniform_of`; that of a cell is one already.

    Returns:
        () `jax.random.key` of the same 64 bits.

    >>> import jax
    >>> jax_key(jax.random.key(1)) == jax.random.key(1)
    Array(True, dtype=bool)
    """
    if not isinstance(key, EdgeKey):
        return key
    return jax.random.wrap_key_data(jnp.stack([key.first, key.second]), impl="threefry2x32")


def uniform_of(key):
    """The uniform number in [0, 1) that a key stands for; steps of 2**-31 near 0, so that rare events stay exact.

    Args:
        key: (), from `spike`, `on_pre` or `on_post`, or any `jax.random.key` of the threefry2x32 kind that
            `jax.random.split` has made.

    Returns:
        () float.

    >>> import jax
    >>> 0.0 <= float(uniform_of(jax.random.split(jax.random.key(1))[0])) < 1.0
    True
    """
    word, real = _words(key)[0], jnp.result_type(float)
    number = (word >> jnp.uint32(1)).astype(jnp.int32).astype(real) * real.type(2.0**-31)
    return jnp.minimum(number, real.type(1 - 2.0**-24))  # the largest words round up to 1


def normal_of(key):
    """The standard normal number that a key stands for, independent of its uniform one (`ops/normal_table.py`).

    It is read from a table: on edges, all of them are visited in every step.

    Args:
        key: as in `uniform_of`.

    Returns:
        () float, of float32 resolution.
    """
    return normal32(_words(key)[1]).astype(jnp.result_type(float))


def fold_of(key, number):
    """A further key, independent of the numbers of the first one and of those with another `number`.

    Args:
        key: as in `uniform_of`. number: int or () integer.

    Returns:
        A key of the same kind.

    >>> import jax
    >>> key = jax.random.split(jax.random.key(1))[0]
    >>> bool(uniform_of(fold_of(key, 0)) != uniform_of(fold_of(key, 1)))
    True
    """
    made = EdgeKey(*threefry.threefry2x32(*_words(key), threefry.uint32(number), jnp.uint32(LAST)))
    return made if isinstance(key, EdgeKey) else jax_key(made)


def binomial_of(key, n, p, most):
    """The number of successes in n trials of probability p, by inversion of the uniform number of a key.

    Probabilities are sums in the float of the run: exact to about 1e-6 in float32. Above 64 trials it also reads
    `fold_of(key, 1)`, `fold_of(key, 2)`, ... No derivative.

    Args:
        key: as in `uniform_of`.
        n: () float, a whole number from 0 to `most`. nan comes back where it is none.
        p: () float in [0, 1].
        most: int; the work is proportional to it.

    Returns:
        () float.

    >>> import jax
    >>> keys = jax.random.split(jax.random.key(1), 10_000)
    >>> counts = jax.vmap(lambda key: binomial_of(key, 5.0, 0.3, most=8))(keys)
    >>> abs(float(counts.mean()) - 1.5) < 0.05
    True
    """
    real = jnp.result_type(float)
    n, p = jnp.asarray(n, real), jax.lax.stop_gradient(jnp.asarray(p, real))
    # counts the rarer outcome, from its end of the distribution: the chance of none is no small number
    swapped = p > 0.5
    q, total = jnp.where(swapped, 1.0 - p, p), jnp.zeros((), real)
    for group, first in enumerate(range(0, most, GROUP)):
        u, size = uniform_of(fold_of(key, group) if group else key), min(GROUP, most - first)
        total = total + _inverted(jnp.where(swapped, 1.0 - u, u), jnp.clip(n - first, 0.0, size), q, size)
    whole = (n >= 0.0) & (n <= most) & (n == jnp.floor(n))
    return jnp.where(whole, jnp.where(swapped, n - total, total), jnp.nan)


def _inverted(u, n, q, most):
    """Least k with u < P(at most k successes), q <= 1/2."""
    odds, chance = q / (1.0 - q), jnp.exp(n * jnp.log1p(-q))
    below, k = chance, jnp.zeros_like(n)
    for j in range(most):
        k = k + jnp.where((u >= below) & (j < n), 1.0, 0.0).astype(n.dtype)
        chance = chance * odds * ((n - j) * n.dtype.type(1.0 / (j + 1)))
        below = below + chance
    return k
