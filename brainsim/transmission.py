"""What derivatives pass from cell to cell: the cut of e-prop (Bellec et al. 2020, 10.1038/s41467-020-17236-y).

With a `Route`, what a cell of a spiking population receives from cells has no derivative by them; the derivatives by
weights, and within a cell and its synapses, stay. What reaches populations without a `spike` method, the readouts,
keeps its derivative, which may be taken with other weights, those of the feedback.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from . import ops
from .delivery import Bundle
from .errors import RunError


class Route:
    """Where derivatives pass.

    Args:
        feedback: tag of a bundle -> weights in operator order, by which derivatives by spikes return from readouts.
        added: numbers that arrive in every step beside the others, one per receiver: zeros with derivatives, or None.
    """

    def __init__(self, feedback=None, added=None):
        self.feedback, self.added = feedback or {}, added


def spikes(group) -> bool:
    return "spike" in group.model.__methods__


def from_others(ready, group, values):
    """What the cells of a group see of others."""
    return jax.tree.map(jax.lax.stop_gradient, values) if ready.get("route") and spikes(group) else values


def reads_out(program, receiver) -> bool:
    """Whether a receiver belongs to a readout."""
    if receiver.kind == "cell":
        return not spikes(program.groups[receiver.index])
    return not spikes(program.layout.slots[receiver.index].group)


def deliver(s, bundle: Bundle, sent, weights, ring, rest):
    """What one operator call brings, (n_receive,), or the ring with it; see `ops.event_csr` and `ops.ring_deliver`.

    Args:
        rest: indptr, indices, delays, step, active.
    """
    route, call = s.ready.get("route"), partial(_call, s.program.n_receive)
    outs = [reads_out(s.program, r) for r in bundle.receivers]
    if route is None or (all(outs) and bundle.tag not in route.feedback):
        return call(sent, weights, ring, rest)
    if not any(outs):
        return call(jax.lax.stop_gradient(sent), weights, ring, rest)
    passes = np.zeros(s.program.n_receive)
    for r in bundle.receivers:
        passes[r.start : r.start + r.n] = reads_out(s.program, r)
    back = jax.lax.stop_gradient(route.feedback.get(bundle.tag, weights))
    return _routed(call, sent, weights, back, jnp.asarray(passes, sent.dtype), ring, rest)


def _call(n_receive, sent, weights, ring, rest):
    indptr, indices, delays, step, active = rest
    if ring is None:
        return ops.event_csr(sent, weights, indptr, indices, n_post=n_receive, active=active)
    return ops.ring_deliver(ring, sent, weights, indptr, indices, delays, step, active=active)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _routed(call, sent, weights, back, passes, ring, rest):
    """call(sent, weights, ring, rest), of which the derivative by `sent` is taken with the weights `back` and reaches
    receivers where `passes` is 1."""
    return call(sent, weights, ring, rest)


@_routed.defjvp
def _routed_jvp(call, primals, tangents):
    sent, weights, back, passes, ring, rest = primals
    dsent, dweights, _, _, dring, _ = tangents
    still, move = (weights, ring), (dweights, dring)
    out, slope = jax.jvp(lambda w, r: call(sent, w, r, rest), still, move)
    empty = None if ring is None else jnp.zeros_like(ring)
    through = jax.jvp(lambda x: call(x, back, empty, rest), (sent,), (dsent,))[1]
    return out, slope + jnp.broadcast_to(passes, through.shape) * through


# --- feedback weights of e-prop


def feedback_weights(program, topology, params, first, adjoint) -> dict:
    """Weights in operator order by which learning signals return: tag of a bundle -> array.

    Args:
        first: the parameters that the simulation was compiled with: adaptive feedback moves with the weights from them.
        adjoint: `EProp`.

    Raises:
        RunError: a readout that has one weight for all its edges; given weights of unknown names or wrong shapes.
    """
    from .prepare import derive, ordered_weights

    into = [b for b in program.bundles if any(reads_out(program, r) for r in b.receivers)]
    parts = {p.name: (b, p) for b in into for p in b.parts if reads_out(program, p.receiver)}
    values, first = derive(program, params), derive(program, first)
    given = adjoint.given_feedback(parts)
    for name, (bundle, part) in parts.items():
        if not bundle.per_edge:
            raise RunError(
                f"EProp(feedback={adjoint.feedback!r}): {name!r} has one weight for all edges, so there is nothing to "
                f"replace edge by edge; connect it with an array of {part.projection.n_edges} weights, or take "
                f"feedback='symmetric'"
            )
        leaf, n = program.weights[name][1], part.projection.n_edges
        own = adjoint.drawn(name, n) if given is None else jnp.asarray(given[name], values[leaf].dtype)
        if own.shape != (n,):
            raise RunError(f"feedback of {name!r} has shape {own.shape}; it needs one weight per edge, ({n},)")
        values[leaf] = own + (values[leaf] - first[leaf] if adjoint.feedback == "adaptive" else 0.0)
    made = ordered_weights(program, topology, values)
    return {b.tag: made[b.tag]["edge"] for b in into}
