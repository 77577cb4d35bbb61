"""`SLTT` in one forward pass: vector-Jacobian products of stretches of steps, added to the gradient at once."""

import jax
import jax.numpy as jnp

from .. import history
from ..delivery import span
from ..errors import RunError
from ..grid import to_steps
from ..prepare import prepare
from ..program import dtype
from ..traced import ON_THE_WAY, cut
from .online_frame import seen_by

SHORTEST, ENOUGH = 8, 32  # steps of a stretch at least, and where memory counts more than what is computed again


def run(sim, loss, names, n, adjoint, params, drives, state, seed):
    """(loss, gradient by name).

    A stretch begins `reach` steps before the steps whose loss it differentiates, so that every spike is followed back
    to where it came from; between the steps of a stretch nothing but what is on its way keeps its derivative.
    """
    reach = min(n, reach_of(sim, adjoint))
    size = max(SHORTEST, min(4 * reach, ENOUGH), reach)
    chosen = {k: params[k] for k in names}

    def losses(chosen, state, first, ahead, count):
        """Loss of the last `count` of ahead + count steps, and the state after the first `count` ones."""
        ready = prepare(sim.program, sim.topology, {**params, **chosen})
        step = sim.chunk.step(ready, sim.topology, drives, seed)

        def one(state, k):
            state, fired = step(cut(state, ON_THE_WAY), {})
            return state, loss(seen_by(sim, ready, state, fired), k)

        middle, early = jax.lax.scan(one, state, first + jnp.arange(count))
        _, late = jax.lax.scan(one, middle, first + count + jnp.arange(ahead))
        return jnp.sum(jnp.concatenate([early, late])[ahead:]), middle

    def add(carry, first, ahead, count):
        state, total, slopes = carry
        (value, middle), slope = jax.value_and_grad(losses, has_aux=True)(chosen, state, first, ahead, count)
        return middle, total + value, jax.tree.map(jnp.add, slopes, slope)

    begun = history.track(sim._begin(params, drives, state, sim._initial))
    carry = (begun, jnp.zeros((), dtype()), jax.tree.map(jnp.zeros_like, chosen))
    if reach:
        carry = (begun, *add(carry, 0, 0, reach)[1:])  # the next stretch begins here again
    whole, rest = divmod(n - reach, size)
    carry, _ = jax.lax.scan(lambda c, k: (add(c, k * size, reach, size), None), carry, jnp.arange(whole))
    if rest:
        carry = add(carry, whole * size, reach, rest)
    return carry[1:]


def reach_of(sim, adjoint) -> int:
    """Steps from what a cell sends to the last thing that spikes make of it elsewhere."""
    if adjoint.reach is not None:
        steps, off = to_steps(adjoint.reach, sim.dt)
        if off or steps < 0:
            nearest = max(0, int(steps)) * sim.dt
            what = f"reach = {adjoint.reach:g} ms is no multiple of dt = {sim.dt:g} ms"
            raise RunError(f"{what}; write reach={nearest:g}")
        return int(steps)
    links = {}
    for p in (p for b in sim.program.bundles for p in b.parts):
        ends = p.projection.pre.name, p.projection.post.name
        links[ends] = max(links.get(ends, 0), 1 + span(p.steps)[1])
    for e in sim.program.edge_blocks:
        p = sim.network.projections[e.projection]
        links[p.pre.name, p.post.name] = 1 + p.delay_steps_extent(sim.dt)[1]
    longest = dict.fromkeys((name for ends in links for name in ends), 0)
    for _ in longest:
        before = dict(longest)
        for (pre, post), steps in links.items():
            longest[post] = max(longest[post], longest[pre] + steps)
        if longest == before:
            return max(longest.values(), default=0)
    if not longest:
        return 0
    loop = " and ".join(sorted({pre for pre, post in links if longest[pre] > before[pre]}))
    raise RunError(
        f"spikes of {loop} come back to where they came from, so they reach on for ever; give SLTT(reach=...) in ms, "
        f"after which they are cut"
    )
