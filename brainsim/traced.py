"""The loop of a traced run: one scan over blocks of steps, each of them computed again in the backward pass.

Reverse mode keeps what every step of a scan was given: 100 kB for 4000 cells. In blocks it keeps that for the steps of
one block and the state at the start of every block: memory grows with the square root of the duration, and what is
kept stays in cache, so that the second computation costs less than the traffic that it saves (Griewank & Walther 2000,
10.1145/347837.347846, is the general theory).
"""

import math

import jax
import jax.numpy as jnp

from . import windows


def scan(program, topology, ready, body, state, n):
    """jax.lax.scan of body(state, far sums) over n steps."""
    if program.window > 1:
        return windows.scan(program, topology, ready, body, state, n)
    size = block_of(n)

    def some(steps):
        return lambda state: jax.lax.scan(lambda state, _: body(state, {}), state, None, length=steps)

    if size <= 1 or size >= n:
        return some(n)(state)
    # inside a scan nothing can be merged with the first computation, so no barrier is needed
    block = jax.checkpoint(some(size), prevent_cse=False)
    whole = n // size
    state, ys = jax.lax.scan(lambda state, _: block(state), state, None, length=whole)
    ys = jax.tree.map(lambda y: y.reshape(whole * size, *y.shape[2:]), ys)
    if n == whole * size:
        return state, ys
    state, rest = some(n - whole * size)(state)
    return state, jax.tree.map(lambda a, b: jnp.concatenate([a, b]), ys, rest)


def block_of(n: int) -> int:
    """Steps of a block: about the square root of all, and a divisor where one is near, so that no rest is left."""
    root = max(1, math.isqrt(n))
    near = [k for k in range(max(1, root // 2), 2 * root + 1) if n % k == 0]
    return min(near, key=lambda k: abs(k - root), default=root)
