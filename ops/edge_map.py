"""`map_edges`: a function of scalars on the edges of the cells that spiked, for plasticity that follows events.

A rule such as spike-timing-dependent plasticity changes the outgoing edges of a cell when it spikes (a row pass) and
its incoming ones (a column pass); both are one call each, on the list of spikes. The native form visits listed rows
only and changes the arrays of the edges in their memory.
"""

import jax
import jax.numpy as jnp
from jax.interpreters import partial_eval as pe

from . import arguments, dispatch, scalar_graph
from .arguments import FLOATS, refuse
from .edge_map_primitive import map_edges_p, xla_form

WHAT = "map_edges"


def map_edges(
    function,
    ids,
    counts,
    step,
    indptr,
    far,
    *,
    span,
    shared=(),
    near=(),
    across=(),
    edge=(),
    into=(),
    order=None,
    n_delays=1,
    packed=None,
    backend=None,
):
    """Evaluate a function of scalars on every edge of the rows whose cells spiked, and keep and send what it returns.

    Row r holds the edges indptr[r] to indptr[r + 1] - 1 of near cell r, which is the listed cell span[0] + r; far[k] is
    the cell at the other end. Rows may be the outgoing edges of sources (`order` None: edge k has number k) or the
    incoming edges of targets (`order` the numbers of the edges, as `transpose_index` returns them). With axonal delays,
    n_delays = D, row r has D pieces, and piece b (indptr[r * D + b] to indptr[r * D + b + 1] - 1) is visited b steps
    after the spike. Edges are visited by b, then by cell, then by k: sums have one order, on any number of threads.

    In the carry of a loop the arrays of `edge` and `into` are updated in place. Large calls without `into` use threads.
    There is no derivative: asking for one is an error.

    Args:
        function: (shared, near, across, edge) -> (new edge, into), pytrees of scalars: the new values of the edge, and
            what is added at its far cell. It may close over (traced) arrays. The native form needs elementwise
            primitives (`scalar_graph.RULES`); with others the XLA form runs, which visits all edges.
        ids: (depth, capacity) int32, history of lists of spikes, ascending in a row, as `push_list` writes it.
        counts: (depth,) int32.
        step: () int32, any value; piece b is visited for the list in row (step - b) % depth.
        indptr: (n_near * n_delays + 1,) int32.
        far: (n_entries,) int32 in [0, n_far), or packed: delay * n_far + cell.
        span: (first, n_near), static: the numbers first ... first + n_near - 1 in the lists are the near cells.
        shared: leaves (), the same for all edges.
        near: leaves (n_near,), or histories (depth, n_near) that are read at row (step - b) % depth.
        across: leaves (n_far,), or histories (far_depth, n_far), all as deep, read at row (step - delay) % far_depth.
        edge: leaves (n_edges,), read and replaced. A leaf that the function returns as it is costs no write.
        into: leaves (n_far,) float32 or float64, added to.
        order: (n_entries,) int32 in [0, n_edges), each at most once; None: n_entries = n_edges, edge k has number k.
        n_delays: pieces of each row, at most depth; static.
        packed: whether `far` holds delays; default: where a leaf of `across` is a history.
        backend: "native" or "xla" ("reference" and "pallas" mean xla); default: by platform or BRAINSIM_OPS.

    Returns:
        (new edge, new into), pytrees as `edge` and `into`.

    Raises:
        ValueError: a shape, a dtype or what the function returns does not fit (while tracing), or a derivative is
            asked for.
        jax.errors.JaxRuntimeError: a list has overflowed or does not ascend, or an edge points outside (native form
            only; the XLA form drops it).

    >>> import jax.numpy as jnp
    >>> ids, counts = jnp.array([[1, 0]], jnp.int32), jnp.array([1], jnp.int32)  # cell 1 spikes
    >>> indptr, far = jnp.array([0, 1, 3], jnp.int32), jnp.array([0, 0, 1], jnp.int32)
    >>> def depress(rate, near, trace, w):
    ...     w = jnp.maximum(w - rate * trace, 0.0)
    ...     return w, w  # the new weight, and what the spike sends with it
    >>> weights, trace, current = jnp.ones(3), jnp.array([0.5, 2.0]), jnp.zeros(2)
    >>> step, rows = jnp.int32(0), dict(span=(0, 2), shared=1.0, across=trace, edge=weights, into=current)
    >>> map_edges(depress, ids, counts, step, indptr, far, **rows)
    (Array([1. , 0.5, 0. ], dtype=float32), Array([0.5, 0. ], dtype=float32))
    """
    groups, trees = _flattened(shared=shared, near=near, across=across, edge=edge, into=into)
    lists = _lists(ids, counts, step)
    depth, (first, n_near) = lists[0].shape[0], _span(span)
    n_delays = arguments.size(WHAT, n_delays, "n_delays")
    if not 1 <= n_delays <= depth:
        refuse(
            WHAT, f"n_delays is {n_delays}", f"the history has {depth} rows", f"pass 1 to {depth}, or a deeper history"
        )
    graph = _graph(indptr, far, order, n_near * n_delays)
    n_far, deep = _check_leaves(groups, depth, n_near, graph)
    packed = _is_packed(packed, deep, n_far)
    asked = dispatch.requested(backend)
    jaxpr, consts = _trace(function, groups, trees)
    if 0 in (n_near, graph[1].shape[0]):
        return jax.tree.unflatten(trees["edge"], groups["edge"]), jax.tree.unflatten(trees["into"], groups["into"])
    form = dict(first=first, n_delays=n_delays, packed=packed)
    edges, sums = _call(jaxpr, consts, groups, (*lists, *graph), form, asked)
    return jax.tree.unflatten(trees["edge"], edges), jax.tree.unflatten(trees["into"], sums)


# --- checks


def _flattened(**operands):
    """({kind: leaves as arrays}, {kind: tree})."""
    flat = {kind: jax.tree.flatten(tree) for kind, tree in operands.items()}
    for kind, (leaves, _) in flat.items():
        for k, x in enumerate(leaves):
            name = (x if hasattr(x, "dtype") else jnp.asarray(x)).dtype.name
            if name not in (FLOATS if kind == "into" else scalar_graph.DTYPES):
                wanted = "float32 or float64" if kind == "into" else "float32, float64, an integer or bool"
                refuse(
                    WHAT, f"leaf {k} of {kind} has dtype {name}", f"it must be {wanted}", "convert it before the loop"
                )
    return {k: [jnp.asarray(x) for x in v[0]] for k, v in flat.items()}, {k: v[1] for k, v in flat.items()}


def _lists(ids, counts, step):
    ids = arguments.array(WHAT, "ids", ids, ("int32",), 2)
    counts = arguments.array(WHAT, "counts", counts, ("int32",), 1)
    if ids.shape[0] == 0 or counts.shape[0] != ids.shape[0]:
        given = f"ids have shape {ids.shape} and counts {counts.shape}"
        refuse(WHAT, given, "a history has a count for each of its rows, at least one", "pass what push_list returned")
    return ids, counts, arguments.step_of(WHAT, step)


def _span(span):
    try:
        first, n_near = span
    except (TypeError, ValueError):
        refuse(WHAT, f"span is {span!r}", "it names the near cells", "pass (number of the first, how many)")
    first, n_near = (
        arguments.size(WHAT, first, "the first cell of span"),
        arguments.size(WHAT, n_near, "the length of span"),
    )
    if first + n_near > 2**31 - 1:
        refuse(WHAT, f"span is {(first, n_near)}", "cells are numbered in int32", "pass less than 2**31 - 1 cells")
    return first, n_near


def _graph(indptr, far, order, n_pieces):
    """(indptr, far, order), an order of length 0 where there is none."""
    indptr, far = (
        arguments.array(WHAT, "indptr", indptr, ("int32",), 1),
        arguments.array(WHAT, "far", far, ("int32",), 1),
    )
    if indptr.shape[0] != n_pieces + 1:
        why = f"the near cells have {n_pieces} pieces in all"
        refuse(
            WHAT, f"indptr has length {indptr.shape[0]}", why, f"pass n_near * n_delays + 1 = {n_pieces + 1} entries"
        )
    if order is None:
        return indptr, far, jnp.zeros((0,), jnp.int32)
    order = arguments.array(WHAT, "order", order, ("int32",), 1)
    if order.shape != far.shape:
        why = f"far has {far.shape[0]} entries"
        refuse(WHAT, f"order has length {order.shape[0]}", why, "pass one edge number per entry of far")
    return indptr, far, order


def _check_leaves(groups, depth, n_near, graph):
    """(number of far cells, None where none is read; depth of the histories of `across`, None without one)."""
    _, far, order = graph
    ends = [*groups["across"], *groups["into"]]
    n_far = ends[0].shape[-1] if ends and ends[0].ndim else 0
    deep = next((x.shape[0] for x in groups["across"] if x.ndim == 2), None)
    n_edges = (
        groups["edge"][0].shape[-1] if order.shape[0] and groups["edge"] and groups["edge"][0].ndim else far.shape[0]
    )
    allowed = {
        "shared": [()],
        "near": [(n_near,), (depth, n_near)],
        "across": [(n_far,), (deep, n_far)],
        "edge": [(n_edges,)],
        "into": [(n_far,)],
    }
    for kind, shapes in allowed.items():
        for k, x in enumerate(groups[kind]):
            if x.shape not in shapes:
                wanted = " or ".join(str(s) for s in shapes if None not in s)
                refuse(
                    WHAT, f"leaf {k} of {kind} has shape {x.shape}", f"it must be {wanted}", "pass one value for each"
                )
    if far.shape[0] and ((ends and n_far == 0) or (order.shape[0] and groups["edge"] and n_edges == 0) or deep == 0):
        given = f"there are {far.shape[0]} entries of far"
        refuse(WHAT, given, "an array at their far cells or edges has no values", "pass the arrays of this graph")
    return n_far if ends else None, deep


def _is_packed(packed, deep, n_far):
    if packed is None:
        return deep is not None
    if deep is not None and not packed:
        why = "a leaf of across is a history, which is read at the delay of the edge"
        refuse(WHAT, "packed is False", why, "leave it out and pack far as delay * n_far + cell")
    return bool(packed) and n_far is not None


# --- the call


def _trace(function, groups, trees):
    """(jaxpr of all leaves but `into` -> new edge values, sent values; what the function closes over in front)."""
    kinds = ("shared", "near", "across", "edge")
    weak = lambda x: getattr(jax.typeof(x), "weak_type", False)
    given = [[jax.ShapeDtypeStruct((), x.dtype, weak_type=weak(x)) for x in groups[k]] for k in kinds]

    def scalar(*leaves):
        return function(*(jax.tree.unflatten(trees[k], x) for k, x in zip(kinds, leaves)))

    closed, made = jax.make_jaxpr(scalar, return_shape=True)(*given)
    if not isinstance(made, tuple) or len(made) != 2:
        given = f"the function returns {jax.tree.structure(made)}"
        refuse(WHAT, given, "it returns two things", "return (new edge, what is added into the far cell), () for none")
    for kind, part in zip(("edge", "into"), made):
        _check_results(kind, part, groups[kind], trees[kind])
    return scalar_graph.without_consts(closed.jaxpr), closed.consts


def _check_results(kind, made, leaves, tree):
    if jax.tree.structure(made) != tree:
        given = f"the function returns {jax.tree.structure(made)} for {kind}"
        refuse(WHAT, given, f"{kind} is {tree}", "return one scalar for each of its leaves, in the same tree")
    for k, (got, x) in enumerate(zip(jax.tree.leaves(made), leaves)):
        if got.shape != () or got.dtype != x.dtype:
            given = f"the function returns {got.dtype.name}{got.shape} for leaf {k} of {kind}"
            refuse(WHAT, given, f"the array holds {x.dtype.name}", f"return a scalar, .astype({x.dtype.name!r})")


def _call(jaxpr, consts, groups, front, form, asked):
    """(new edge leaves, new into leaves): what the function leaves alone is not part of the call."""
    n_edge, shared = len(groups["edge"]), [*map(jnp.asarray, consts), *groups["shared"]]
    kinds = [shared, groups["near"], groups["across"], groups["edge"]]
    edges = jaxpr.invars[len(jaxpr.invars) - n_edge :] if n_edge else []
    written = [k for k in range(n_edge) if jaxpr.outvars[k] is not edges[k]]
    if not written and not groups["into"]:
        return groups["edge"], []
    wanted = [*(k in written for k in range(n_edge)), *[True] * len(groups["into"])]
    keep = [*[False] * sum(map(len, kinds[:3])), *(k in written for k in range(n_edge))]
    jaxpr, used = pe.dce_jaxpr(jaxpr, wanted, instantiate=keep)
    flags, kept, numbers = iter(used), [], []
    for kind in kinds:
        mine = [next(flags) for _ in kind]
        kept.append([x for x, u in zip(kind, mine) if u])
        numbers.append([k for k, u in enumerate(mine) if u])
    if not scalar_graph.supported(jaxpr):
        jaxpr, kept[0] = _hoisted(jaxpr, kept)
    params = dict(
        jaxpr=jaxpr,
        groups=(*map(len, kept), len(groups["into"])),
        written=tuple(numbers[3].index(k) for k in written),
        **form,
    )
    operands = [*front, *(x for kind in kept for x in kind), *groups["into"]]
    if asked in ("xla", "reference"):
        made = xla_form(*operands, **params)
    else:
        made = map_edges_p.bind(*operands, **params, backend=asked)
    new = dict(zip(written, made))
    return [new.get(k, x) for k, x in enumerate(groups["edge"])], made[len(written) :]


def _hoisted(jaxpr, kept):
    """The jaxpr and its shared operands with what the shared ones alone give computed once, where that helps."""
    n_shared = len(kept[0])
    parts = scalar_graph.hoist(jaxpr, [k >= n_shared for k in range(len(jaxpr.invars))])
    if parts is None:
        return jaxpr, kept[0]
    once, rest, left = parts
    mine, made = left[:n_shared], rest.invars[sum(left) :]
    invars = [*(v for v, k in zip(jaxpr.invars, mine) if k), *made, *jaxpr.invars[n_shared:]]
    info = rest.debug_info.with_unknown_names()
    shared = [*(x for x, k in zip(kept[0], mine) if k), *scalar_graph.evaluate(once, *kept[0])]
    return rest.replace(invars=invars, debug_info=info), shared
