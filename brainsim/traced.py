"""The loop of a traced run: scans over nested blocks of steps, each computed again in the backward pass.

Reverse mode keeps what every step of a scan was given: 100 kB for 4000 cells. In blocks it keeps that for the steps of
one block and the state at the start of every block: memory grows with the square root of the duration, and what is
kept stays in cache, so that the second computation costs less than the traffic that it saves (Griewank & Walther 2000,
10.1145/347837.347846, is the general theory). Which blocks, and where derivatives are cut, is the adjoint's to say.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from . import windows
from .dependence import reached

SUMS = ("sums",)  # of recorded means: outputs, which no cut reaches
ON_THE_WAY = ("history", "rings", "sent")  # what cells have sent


class Cost(NamedTuple):
    """Bytes of the carried state, of what the backward pass of one step keeps of it, and of the outputs of one step."""

    carry: float
    step: float
    outputs: float

    def kept(self, n, sizes) -> float:
        """Bytes that the backward pass of n steps in nested blocks keeps at most: starts of blocks, level by level,
        the steps of one innermost block, the outputs and their derivatives."""
        total, length = 2.0 * self.outputs * n, n
        for size in sizes:
            total, length = total + self.carry * -(-length // size), size
        return total + self.step * length


def scan(program, topology, ready, body, state, n, adjoint):
    """jax.lax.scan of body(state, far sums) over n steps, with the derivative that an adjoint says."""
    if adjoint.forgets:
        whole, body = body, lambda state, far: whole(cut(state, (*SUMS, *ON_THE_WAY)), far)

    def some(state, steps):
        if program.window > 1:
            return windows.scan(program, topology, ready, body, state, steps)
        return jax.lax.scan(lambda state, _: body(state, {}), state, None, length=steps)

    segment = adjoint.segment(n, program.dt)
    sizes = adjoint.blocks(n, segment, program.window, lambda: cost_of(some, state, program.window))
    if segment >= n:
        return nested(some, state, n, sizes)

    def stretch(state, steps, first=False):
        state = jax.tree.map(lambda x, y: jnp.where(first, x, y), state, cut(state, SUMS))
        return nested(some, state, steps, tuple(b for b in sizes if b <= steps))

    return joined(stretch, state, n, segment, number=True)


def nested(some, state, n, sizes):
    """Run n steps by `some(state, steps)` in nested blocks of these lengths, the longest first."""
    if not sizes:
        return some(state, n)
    # inside a scan nothing can be merged with the first computation, so no barrier is needed
    block = jax.checkpoint(
        lambda state, steps: nested(some, state, steps, sizes[1:]), prevent_cse=False, static_argnums=(1,)
    )
    return joined(block, state, n, sizes[0])


def joined(run, state, n, size, number=False):
    """Run n steps by `run(state, steps)` in parts of `size` steps; a rest is run last.

    Args:
        number: tell `run` as a third argument whether it is the first part.
    """
    whole = n // size
    one = lambda state, k: run(state, size, k == 0) if number else run(state, size)
    state, ys = jax.lax.scan(one, state, jnp.arange(whole))
    ys = jax.tree.map(lambda y: y.reshape(whole * size, *y.shape[2:]), ys)
    if n == whole * size:
        return state, ys
    rest = (state, n - whole * size, not whole) if number else (state, n - whole * size)
    state, last = run(*rest)
    return state, jax.tree.map(lambda a, b: jnp.concatenate([a, b]), ys, last)


def cut(state, kept):
    """The state without derivatives, but for the parts named in `kept`."""
    return {k: v if k in kept else jax.tree.map(jax.lax.stop_gradient, v) for k, v in state.items()}


# --- what the backward pass keeps


def cost_of(some, state, window) -> Cost:
    """Read from the traced steps of one window: residuals that the state reaches, as shapes; nothing is computed."""

    run, params = jax.closure_convert(lambda state: some(state, window), state)  # what is differentiated outside

    def residuals(state):
        _, back, ys = jax.vjp(run, state, *params, has_aux=True)
        return jax.tree.leaves(back), ys

    kept, ys = jax.eval_shape(residuals, state)
    moving = reached(lambda state: residuals(state)[0], state)
    per_step = sum(_bytes(x) for x, moves in zip(kept, moving, strict=True) if moves) / window
    outputs = sum(_bytes(y) for y in jax.tree.leaves(ys)) / window
    carry = sum(_bytes(x) for x in jax.tree.leaves(state))
    return Cost(carry, per_step, outputs)


def _bytes(x):
    return x.size * x.dtype.itemsize
