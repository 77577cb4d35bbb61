"""The public operators: argument checks in front of the primitives.

Graph in compressed rows: the edges of row i are indptr[i] ... indptr[i + 1] - 1, edge e ends at indices[e]. Duplicate
edges add up. Operators take one network; `jax.vmap` over any arguments, nested in any way, gives batches.
"""

import jax.numpy as jnp
import numpy as np

from . import arguments, dispatch
from .arguments import FLOATS
from .primitives import EDGES


def event_csr(spikes, weights, indptr, indices, *, n_post, active=None, backend=None):
    """Sum what the spiking rows send to each target: out[indices[e]] += spikes[row(e)] * weights[e].

    Rows with a zero spike are skipped, so the work follows activity; nan is not zero and spreads. Linear in spikes and
    in weights, differentiable to any order. Native sums run in edge order: the same inputs give the same bits.

    Args:
        spikes: (n_pre,) bool, float32 or float64; a spike of value s sends s times the weight.
        weights: () one for all edges or (n_edges,); float32, float64 or bfloat16. The unit of the result.
        indptr: (n_pre + 1,) int32, rising from 0 to n_edges.
        indices: (n_edges,) int32 in [0, n_post).
        n_post: number of targets, static.
        active: (n_pre,) bool, rows whose derivative by `spikes` is wanted, for instance where the surrogate derivative
            is not zero; elsewhere it is returned as zero and costs nothing. Default: all.
        backend: "native", "xla", "reference", "pallas" or "pallas_deterministic" for this call; default: by platform
            or BRAINSIM_OPS (`dispatch.py`).

    Returns:
        (n_post,) in the wider dtype of spikes and weights; bool spikes: the dtype of the weights. bfloat16 weights are
        summed in float32.

    Raises:
        ValueError: a shape or dtype does not fit (while tracing).
        jax.errors.JaxRuntimeError: an edge points outside (native form only; the others drop it).

    >>> import jax.numpy as jnp
    >>> indptr, indices = jnp.array([0, 2, 3], jnp.int32), jnp.array([0, 1, 1], jnp.int32)
    >>> event_csr(jnp.array([True, True]), jnp.array([1.0, 2.0, 3.0]), indptr, indices, n_post=2)
    Array([1., 5.], dtype=float32)
    """
    what = "event_csr"
    n_post = arguments.size(what, n_post)
    indptr, indices = arguments.graph_of(what, indptr, indices)
    spikes = arguments.rows_of(what, "spikes", spikes, indptr, ("bool", *FLOATS))
    weights = arguments.weights_of(what, weights, indices, spikes)
    stated, inner = arguments.result_dtypes(spikes, weights)
    spikes = spikes if spikes.dtype == bool else spikes.astype(inner)
    out = EDGES.bind(
        "scatter",
        spikes,
        weights,
        indptr,
        indices,
        jnp.zeros((0,), jnp.int32),
        jnp.zeros((), jnp.int32),
        arguments.active_of(what, active, spikes.shape[0]),
        shape=(1, n_post),
        dtype=inner,
        backend=dispatch.requested(backend),
    )
    return out.reshape(n_post).astype(stated)


def ring_deliver(ring, spikes, weights, indptr, indices, delays, step, *, active=None, backend=None):
    """Deliver spikes into a ring of future inputs: ring[(step + delays[e]) % n_slots, indices[e]] += s * weights[e].

    The native form updates the ring in place: under `jit`, in a `scan` carry or donated, XLA gives input and output
    the same memory. Linear in ring, spikes and weights.

    Args:
        ring: (n_slots, n_post) float32 or float64; slot-major, so that the reader of a slot reads contiguous memory.
        spikes: (n_pre,) bool or float, not wider than the ring.
        weights: () or (n_edges,); float32, float64 or bfloat16, not wider than the ring.
        indptr: (n_pre + 1,) int32.
        indices: (n_edges,) int32 in [0, n_post), or what `pack_edges` returned.
        delays: (n_edges,) int32 in steps, taken modulo n_slots; None where indices are packed.
        step: () int32, the current step; any value, taken modulo n_slots.
        active: as in `event_csr`.
        backend: as in `event_csr`.

    Returns:
        The new ring, shape and dtype of the old.

    Raises:
        ValueError: a shape or dtype does not fit (while tracing).
        jax.errors.JaxRuntimeError: an edge points outside (native form only; the others drop it).

    >>> import jax.numpy as jnp
    >>> indptr, indices, delays = (jnp.array(a, jnp.int32) for a in ([0, 2], [0, 1], [1, 3]))
    >>> ring_deliver(jnp.zeros((4, 2)), jnp.array([True]), 0.5, indptr, indices, delays, 2)  # slots 3 and 5 % 4
    Array([[0. , 0. ],
           [0. , 0.5],
           [0. , 0. ],
           [0.5, 0. ]], dtype=float32)
    """
    what = "ring_deliver"
    ring = arguments.ring_of(what, ring)
    indptr, indices = arguments.graph_of(what, indptr, indices)
    spikes = arguments.rows_of(what, "spikes", spikes, indptr, ("bool", *FLOATS))
    weights = arguments.weights_of(what, weights, indices, ring)
    arguments.not_wider(what, "spikes", spikes, ring), arguments.not_wider(what, "weights", weights, ring)
    spikes = spikes if spikes.dtype == bool else spikes.astype(ring.dtype)
    delays, step = arguments.delays_of(what, delays, indices), arguments.step_of(what, step)
    graph = (indptr, indices, delays, step, arguments.active_of(what, active, spikes.shape[0]))
    return EDGES.deliver(spikes, weights, *graph, ring=ring, backend=dispatch.requested(backend))


def gather_csr(x, weights, indptr, indices, *, backend=None):
    """Weighted sum over every row: y[row] = sum of weights[e] * x[indices[e]] over the edges of the row.

    Args:
        x: (n,) float32 or float64, dense.
        weights: () or (n_edges,); float32, float64 or bfloat16, not wider than x.
        indptr: (n_rows + 1,) int32.
        indices: (n_edges,) int32 in [0, n).
        backend: as in `event_csr`.

    Returns:
        (n_rows,) in the dtype of x.

    Raises:
        ValueError: a shape or dtype does not fit (while tracing).
        jax.errors.JaxRuntimeError: an edge points outside (native form only; the others drop it).

    >>> import jax.numpy as jnp
    >>> indptr, indices = jnp.array([0, 2, 3], jnp.int32), jnp.array([0, 1, 1], jnp.int32)
    >>> gather_csr(jnp.array([1.0, 10.0]), 2.0, indptr, indices)
    Array([22., 20.], dtype=float32)
    """
    what = "gather_csr"
    x = arguments.array(what, "x", x, FLOATS, 1)
    return _gather(what, x[None, :], weights, indptr, indices, jnp.zeros((0,), jnp.int32), 0, backend)


def ring_gather(ring, weights, indptr, indices, delays, step, *, backend=None):
    """Weighted sum over every row of delayed values: y[row] = sum of weights[e] * ring[slot(e), indices[e]].

    slot(e) = (step + delays[e]) % n_slots. Negative delays read the past: with slot `step % n_slots` holding the
    present, -d is d steps ago.

    Args:
        ring: (n_slots, n) float32 or float64, a history.
        weights: () or (n_edges,); float32, float64 or bfloat16, not wider than the ring.
        indptr: (n_rows + 1,) int32.
        indices: (n_edges,) int32 in [0, n), or what `pack_edges` returned.
        delays: (n_edges,) int32 in steps, taken modulo n_slots; None where indices are packed.
        step: () int32.
        backend: as in `event_csr`.

    Returns:
        (n_rows,) in the dtype of the ring.

    Raises:
        ValueError: a shape or dtype does not fit (while tracing).
        jax.errors.JaxRuntimeError: an edge points outside (native form only; the others drop it).

    >>> import jax.numpy as jnp
    >>> history = jnp.array([[0.0], [10.0], [20.0], [30.0]])  # the value of step t in slot t
    >>> indptr, indices, delays = (jnp.array(a, jnp.int32) for a in ([0, 2], [0, 0], [-1, -3]))
    >>> ring_gather(history, 1.0, indptr, indices, delays, 3)  # the values of steps 2 and 0
    Array([20.], dtype=float32)
    """
    what = "ring_gather"
    ring = arguments.ring_of(what, ring)
    return _gather(what, ring, weights, indptr, indices, delays, step, backend)


def edge_outer(spikes, x, indptr, indices, *, backend=None):
    """One value per edge: g[e] = spikes[row(e)] * x[indices[e]], zero for rows without a spike.

    The derivative of `event_csr` by its weights, and the update of a rule that pairs a spike with a postsynaptic trace.

    Args:
        spikes: (n_pre,) bool or float, not wider than x.
        x: (n_post,) float32 or float64.
        indptr: (n_pre + 1,) int32.
        indices: (n_edges,) int32 in [0, n_post).
        backend: as in `event_csr`.

    Returns:
        (n_edges,) in the dtype of x.

    Raises:
        ValueError: a shape or dtype does not fit (while tracing).
        jax.errors.JaxRuntimeError: an edge points outside (native form only; the others give zero).

    >>> import jax.numpy as jnp
    >>> indptr, indices = jnp.array([0, 2, 3], jnp.int32), jnp.array([0, 1, 1], jnp.int32)
    >>> edge_outer(jnp.array([True, False]), jnp.array([0.5, 2.0]), indptr, indices)
    Array([0.5, 2. , 0. ], dtype=float32)
    """
    what = "edge_outer"
    indptr, indices = arguments.graph_of(what, indptr, indices)
    x = arguments.array(what, "x", x, FLOATS, 1)
    spikes = arguments.rows_of(what, "spikes", spikes, indptr, ("bool", *FLOATS))
    arguments.not_wider(what, "spikes", spikes, x)
    spikes = spikes if spikes.dtype == bool else spikes.astype(x.dtype)
    empty = jnp.zeros((0,), jnp.int32)
    return EDGES.bind(
        "outer",
        spikes,
        x[None, :],
        indptr,
        indices,
        empty,
        jnp.zeros((), jnp.int32),
        jnp.zeros((0,), bool),
        shape=indices.shape,
        dtype=x.dtype,
        backend=dispatch.requested(backend),
    )


def pack_edges(indices, delays, n_post, n_slots):
    """Target and delay of every edge in one int32, delay * n_post + target: the faster form for `ring_deliver`.

    Args:
        indices: (n_edges,) int, concrete (not traced), in [0, n_post).
        delays: (n_edges,) int in [0, n_slots), concrete.
        n_post: number of targets.
        n_slots: number of slots of the ring that the edges will be used with.

    Returns:
        (n_edges,) int32 NumPy array, to be passed as `indices` with `delays=None`.

    Raises:
        ValueError: lengths differ, a value is out of range, or n_slots * n_post passes 2**31 - 1.

    >>> pack_edges([0, 2], [1, 0], n_post=3, n_slots=2)
    array([3, 2], dtype=int32)
    """
    indices, delays = np.asarray(indices, np.int64), np.asarray(delays, np.int64)
    if indices.shape != delays.shape or indices.ndim != 1:
        arguments.refuse(
            "pack_edges",
            f"indices have shape {indices.shape}, delays {delays.shape}",
            "one delay belongs to each edge",
            "pass two arrays of shape (n_edges,)",
        )
    if n_slots * n_post > 2**31 - 1:
        arguments.refuse(
            "pack_edges",
            f"{n_slots} slots x {n_post} targets",
            "their product passes int32",
            "keep the delays as a separate array",
        )
    for name, values, end in (("indices", indices, n_post), ("delays", delays, n_slots)):
        bad = np.flatnonzero((values < 0) | (values >= end))
        if bad.size:
            arguments.refuse(
                "pack_edges",
                f"{name}[{bad[0]}] = {values[bad[0]]}",
                f"it is outside [0, {end})",
                f"correct {bad.size} edge(s), or give the true sizes",
            )
    return (delays * n_post + indices).astype(np.int32)


def _gather(what, ring, weights, indptr, indices, delays, step, backend):
    indptr, indices = arguments.graph_of(what, indptr, indices)
    weights = arguments.weights_of(what, weights, indices, ring)
    arguments.not_wider(what, "weights", weights, ring)
    delays = delays if what == "gather_csr" else arguments.delays_of(what, delays, indices)
    graph = (indptr, indices, delays, arguments.step_of(what, step), jnp.zeros((0,), bool))
    shape, asked = (indptr.shape[0] - 1,), dispatch.requested(backend)
    return EDGES.bind("gather", ring, weights, *graph, shape=shape, dtype=ring.dtype, backend=asked)
