"""Event x procedural connectivity: no edge is stored; the edges of a row are drawn again whenever it spikes.

Targets, weights and delays are functions of a key, the row and the number of the draw, by a counter-based generator, so
that memory does not grow with the number of edges, and every back end has the same edges, bit for bit. Rules come from
`fixed_outdegree`, `fixed_probability`, `fixed_total_number` and `fixed_indegree` (`procedural_rules.py`).

Weights are one number for all edges, or mean and standard deviation of a normal distribution: w(e) = mean + sd * z(e),
z regenerated like the target. z has 2**-21 resolution, lies within 2e-5 of the exact quantile and never beyond 6.34, so
weights with sd < mean / 6.34 keep their sign.

References:
    Knight & Nowotny (2021), Larger GPU-accelerated brain simulations with procedural connectivity,
    10.1038/s43588-020-00022-7.
"""

import functools

import jax.numpy as jnp
import numpy as np

from . import arguments, dispatch, native, procedural_reference, procedural_xla
from .arguments import FLOATS
from .procedural_draws import EdgeList as EdgeList
from .procedural_draws import procedural_edges as procedural_edges
from .procedural_rules import Delays as Delays
from .procedural_rules import Rule, constants
from .procedural_rules import fixed_indegree as fixed_indegree
from .procedural_rules import fixed_outdegree as fixed_outdegree
from .procedural_rules import fixed_probability as fixed_probability
from .procedural_rules import fixed_total_number as fixed_total_number
from .procedural_rules import row_starts as row_starts
from .trilinear import Family


def event_procedural(spikes, weights, key, rule, *, n_post, starts=None, active=None, backend=None):
    """Sum what the spiking rows send to each target, over edges that are drawn again: `event_csr` without a graph.

    Linear in spikes and in weights, differentiable to any order in both; `jax.vmap` over spikes, weights, key, starts.

    Args:
        spikes: (n_pre,) bool, float32 or float64; a spike of value s sends s times the weight.
        weights: () one for all edges, or (2,) mean and standard deviation; float32 or float64. The unit of the result.
        key: (2,) uint32, from `random.key_of`.
        rule: from `fixed_outdegree` and its like; static, without delays.
        n_post: number of targets, static.
        starts: (n_pre + 1,) uint32 from `row_starts`, for the rules that need it.
        active: (n_pre,) bool, rows whose derivative by `spikes` is wanted; elsewhere it is zero and costs nothing.
        backend: "native", "xla" or "reference" for this call ("pallas": xla); default: by platform or BRAINSIM_OPS.

    Returns:
        (n_post,) in the wider dtype of spikes and weights; bool spikes: the dtype of the weights.

    Raises:
        ValueError: a shape, dtype or rule does not fit (while tracing).
        jax.errors.JaxRuntimeError: `starts` reaches beyond the edges (native form only; the others drop those edges).

    >>> import jax.numpy as jnp
    >>> from brainsim.ops.random import key_of
    >>> sent = event_procedural(jnp.array([True, False]), 0.5, key_of(0), fixed_outdegree(8), n_post=4)
    >>> float(sent.sum())
    4.0
    """
    what = "event_procedural"
    n_post = arguments.size(what, n_post)
    if _rule(what, rule, n_post).delays is not None:
        arguments.refuse(what, "the rule has delays", "nothing is kept here", "use ring_deliver_procedural")
    spikes = arguments.array(what, "spikes", spikes, ("bool", *FLOATS), 1)
    weights = _weights(what, weights, spikes)
    dtype, _ = arguments.result_dtypes(spikes, weights)
    spikes = spikes if spikes.dtype == bool else spikes.astype(dtype)
    rule, graph = _graph(what, rule, n_post, key, starts, 0, active, spikes.shape[0])
    kind = dict(shape=(1, n_post), dtype=dtype, static=rule, backend=dispatch.requested(backend))
    return FAMILY.bind("scatter", spikes, weights.astype(dtype), *graph, **kind).reshape(n_post)


def ring_deliver_procedural(ring, spikes, weights, key, rule, step, *, starts=None, active=None, backend=None):
    """Deliver spikes into a ring: ring[(step + delay) % n_slots, target] += s * weight over edges drawn again.

    The native form updates the ring in place, as `ring_deliver` does. Linear in ring, spikes and weights.

    Args:
        ring: (n_slots, n_post) float32 or float64.
        spikes: (n_pre,) bool or float, not wider than the ring.
        weights: () or (2,) mean and standard deviation; not wider than the ring.
        key: (2,) uint32.
        rule: as in `event_procedural`; its `delays` (none: 0) are taken modulo n_slots.
        step: () int32, the current step; any value.
        starts, active, backend: as in `event_procedural`.

    Returns:
        The new ring, shape and dtype of the old.

    Raises:
        ValueError: a shape, dtype or rule does not fit (while tracing).
        jax.errors.JaxRuntimeError: as in `event_procedural`.

    >>> import jax.numpy as jnp
    >>> from brainsim.ops.random import key_of
    >>> rule = fixed_outdegree(8, delays=Delays(1, 1))
    >>> sent = ring_deliver_procedural(jnp.zeros((4, 3)), jnp.array([True, False]), 0.5, key_of(0), rule, 2)
    >>> sent.sum(1)  # all after one step, in slot 3
    Array([0., 0., 0., 4.], dtype=float32)
    """
    what = "ring_deliver_procedural"
    ring = arguments.ring_of(what, ring)
    spikes = arguments.array(what, "spikes", spikes, ("bool", *FLOATS), 1)
    weights = _weights(what, weights, ring)
    arguments.not_wider(what, "spikes", spikes, ring), arguments.not_wider(what, "weights", weights, ring)
    spikes = spikes if spikes.dtype == bool else spikes.astype(ring.dtype)
    rule, graph = _graph(what, rule, ring.shape[1], key, starts, step, active, spikes.shape[0])
    weights = weights.astype(ring.dtype)
    return FAMILY.deliver(spikes, weights, *graph, ring=ring, static=rule, backend=dispatch.requested(backend))


def gather_procedural(x, weights, key, rule, *, n_pre, starts=None, backend=None):
    """Weighted sum over every row: y[row] = sum of weight * x[target] over the edges of the row, drawn again.

    The transpose of `event_procedural`. Work follows n_pre and the length of rows.

    Args:
        x: (n_post,) float32 or float64.
        weights: () or (2,) mean and standard deviation; not wider than x.
        key, rule, starts, backend: as in `event_procedural`.
        n_pre: number of rows, static.

    Returns:
        (n_pre,) in the dtype of x.

    Raises:
        ValueError: a shape, dtype or rule does not fit (while tracing).
        jax.errors.JaxRuntimeError: as in `event_procedural`.

    >>> import jax.numpy as jnp
    >>> from brainsim.ops.random import key_of
    >>> gather_procedural(jnp.ones(4), 0.5, key_of(0), fixed_outdegree(8), n_pre=2)
    Array([4., 4.], dtype=float32)
    """
    what = "gather_procedural"
    x = arguments.array(what, "x", x, FLOATS, 1)
    weights = _weights(what, weights, x)
    arguments.not_wider(what, "weights", weights, x)
    n_pre = arguments.size(what, n_pre, "n_pre")
    rule, graph = _graph(what, rule, x.shape[0], key, starts, 0, None, n_pre)
    kind = dict(shape=(n_pre,), dtype=x.dtype, static=rule, backend=dispatch.requested(backend))
    return FAMILY.bind("gather", x[None], weights.astype(x.dtype), *graph, **kind)


# --- arguments


def _rule(what, rule, n_post) -> Rule:
    if not isinstance(rule, Rule):
        arguments.refuse(what, f"the rule is {rule!r}", "its rows cannot be drawn again", "give fixed_outdegree(80)")
    return rule.placed(what, n_post)


def _weights(what, value, like):
    """(1,) or (2,); a Python number or weakly typed scalar takes the float dtype of `like`."""
    if isinstance(value, (int, float)) or getattr(getattr(value, "aval", None), "weak_type", False):
        value = jnp.asarray(value, like.dtype if like.dtype != bool else jnp.result_type(float))
    own = value.dtype if hasattr(value, "dtype") else np.asarray(value).dtype
    if own.name not in FLOATS or np.shape(value) not in ((), (2,)):
        given, why = f"weights are {own.name} of shape {np.shape(value)}", "no weight is stored per edge"
        arguments.refuse(what, given, why, "give one float32 or float64 number, or (mean, standard deviation)")
    value = jnp.asarray(value)
    return value.reshape(1) if value.ndim == 0 else value


def _graph(what, rule, n_post, key, starts, step, active, n_pre):
    """(placed rule, operands behind the two factors)."""
    rule = _rule(what, rule, n_post)
    key = arguments.array(what, "key", key, ("uint32",), 1)
    if key.shape != (2,):
        arguments.refuse(what, f"key has shape {key.shape}", "a key is two words", "make it with random.key_of(seed)")
    if rule.needs_starts != (starts is not None):
        given = f"a rule of fixed {rule.kind} {'without' if rule.needs_starts else 'with'} starts"
        why = "its rows differ in length" if rule.needs_starts else "all its rows are alike"
        arguments.refuse(what, given, why, "pass starts=row_starts(...) for fixed_total_number and fixed_indegree only")
    starts = jnp.zeros(0, "uint32") if starts is None else arguments.array(what, "starts", starts, ("uint32",), 1)
    if rule.needs_starts and starts.shape != (n_pre + 1,):
        arguments.refuse(what, f"starts have shape {starts.shape}", f"there are {n_pre} rows", "pass n_pre + 1 values")
    active = arguments.active_of(what, active, n_pre)
    tables, spec = constants(rule)
    return rule, (key, starts, jnp.asarray(tables), arguments.step_of(what, step), active, jnp.asarray(spec))


# --- primitives


def _native(member, ctx, *operands, static):
    aliases = {len(operands) - 1: 0} if member == "deliver" else None
    return native.lower("procedural_kernels", f"procedural_{member}", ctx, *operands, aliases=aliases)


MEMBERS = ("scatter", "gather", "outer")
FAMILY = Family(
    "procedural",
    {"s": 1, "w": 1, "x": 2},
    {member: getattr(procedural_xla, member) for member in (*MEMBERS, "deliver")},
    {m: functools.partial(procedural_reference.dense, m) for m in MEMBERS} | {"deliver": procedural_reference.deliver},
    _native,
    active=4,  # of key, starts, tables, step, active, spec
)
