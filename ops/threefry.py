"""Threefry-2x32 (Salmon et al. 2011, 10.1145/2063384.2063405) in plain jnp, and which of its words an entity gets.

Entity e gets one word of the block with counter (16 (e // 32) + e % 16, step): the first where e % 32 < 16, else the
second. So both words are used, 16 blocks side by side fill 32 neighbours, and the number of an entity depends neither
on how many there are nor on the width of a vector register. A draw of 64 bits takes both words of the counter (e,
step).
"""

import jax.numpy as jnp
import numpy as np

ROUNDS = 13  # the smallest count that the authors found to pass BigCrush; 20 rounds give the published test vectors
ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = 0x1BD11BDA
LANES = 16  # counters that stand side by side


def threefry2x32(key0, key1, counter0, counter1, rounds: int = ROUNDS):
    """The Threefry-2x32 block function.

    Args:
        key0, key1, counter0, counter1: uint32 arrays that broadcast together.
        rounds: 1 ... 20, static.

    Returns:
        two uint32 arrays.

    Raises:
        ValueError: rounds out of range.
    """
    if not 1 <= rounds <= 20:
        raise ValueError(
            f"threefry2x32: rounds is {rounds}, but the function is defined for 1 to 20; leave it out for {ROUNDS}"
        )
    key0, key1, counter0, counter1 = (jnp.asarray(word) for word in (key0, key1, counter0, counter1))
    keys = (key0, key1, key0 ^ key1 ^ jnp.uint32(PARITY))
    x0, x1 = counter0 + keys[0], counter1 + keys[1]
    for i in range(rounds):
        distance = ROTATIONS[i // 4 % 2][i % 4]
        x0 = x0 + x1
        x1 = ((x1 << jnp.uint32(distance)) | (x1 >> jnp.uint32(32 - distance))) ^ x0
        if i % 4 == 3:
            turn = i // 4 + 1
            x0 = x0 + keys[turn % 3]
            x1 = x1 + keys[(turn + 1) % 3] + jnp.uint32(turn)
    return x0, x1


def words(key0, key1, step, of):
    """32 bits per entity: (n,) for a number of entities n, or the shape of an array of indices."""
    if isinstance(of, int):
        counters = jnp.arange(-(-of // (2 * LANES)) * LANES, dtype=jnp.uint32).reshape(-1, LANES)
        return jnp.stack(threefry2x32(key0, key1, counters, step), axis=1).reshape(-1)[:of]
    counter = (of >> jnp.uint32(5) << jnp.uint32(4)) | (of & jnp.uint32(LANES - 1))
    first, second = threefry2x32(key0, key1, counter, step)
    return jnp.where((of & jnp.uint32(LANES)) == 0, first, second)


def word_pairs(key0, key1, step, of):
    """64 bits per entity, as two words."""
    entity = jnp.arange(of, dtype=jnp.uint32) if isinstance(of, int) else of
    return threefry2x32(key0, key1, entity, step)


def key_words(key):
    """The two words of a key, as uint32 scalars."""
    return jnp.asarray(key[0]).astype(jnp.uint32), jnp.asarray(key[1]).astype(jnp.uint32)


def uint32(number):
    """A step, an entity or a number of a stream, modulo 2**32.

    Raises:
        ValueError: it is not an integer.
    """
    if isinstance(number, (int, np.integer)):
        return jnp.uint32(int(number) % 2**32)
    if getattr(number, "dtype", np.dtype(float)).kind not in "iu":
        raise ValueError(
            f"a step, entity or number of a random stream is {number!r}, but it must be an integer or an "
            "integer array; convert it with .astype('int32')"
        )
    return number.astype(jnp.uint32)
