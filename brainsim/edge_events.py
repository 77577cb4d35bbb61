"""`on_pre` of synapses with variables on edges: increments of the edges, and what reaches the targets.

Where nothing happens on an edge between its spikes, a host run visits the outgoing edges of cells that have spiked
(`ops.map_edges`); all other runs evaluate all edges in every step. Numbers that edges draw are those of their place in
the projection and of the step, so both forms draw the same.
"""

import jax
import jax.numpy as jnp
import numpy as np

from . import delay_kernels, ops
from .coupling import sum_on_targets
from .delivery import every, span
from .environment import edge_ends, edge_environment, edge_weights
from .program import dtype, map_cells
from .transmission import from_others


def by_source(block, projection, steps, rows) -> dict:
    """Index arrays of the outgoing edges of every source; where each edge has a delay, in pieces of one delay each.

    Returns:
        dict of int32 arrays `rows` (n_pre + 1,), or `pieces`, `piece_post` and `piece_order` as `in_pieces` makes them
        from the cells `rows["post"]`.
    """
    edges = projection.edges
    if block.delay is not None:
        return {"rows": edges.indptr.astype(np.int32)}
    return in_pieces(edges.pre, rows["post"], every(steps, block.n_edges), edges.n_pre, span(steps)[1] + 1)


def in_pieces(pre, post, delays, n_pre, depth) -> dict:
    """Rows of sources cut into pieces of one delay each: pointers, targets, and which edge each entry is."""
    order = np.lexsort((np.arange(len(pre)), delays, pre)).astype(np.int32)
    counts = np.bincount(pre.astype(np.int64) * depth + delays, minlength=n_pre * depth)
    ends = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return {"pieces": ends, "piece_post": post[order], "piece_order": order}


def arrive(s, block, arrived):
    """The vector of what arrives with what the spikes bring that reach the edges of a block now."""
    if "on_pre" not in block.synapse.__methods__:
        return arrived
    if block.rests and "ids" in s.old["history"]:
        return _on_some(s, block, arrived)
    return _on_all(s, block, arrived)


def _shared(s, block) -> dict:
    """What all edges see: time, and the stream of their random numbers."""
    out = {"t": s.time(), "dt": jnp.asarray(s.program.dt, dtype())}
    return {**out, "/random": random_of(s, f"{block.projection}/on_pre")} if block.random else out


def random_of(s, name) -> tuple:
    """(words of a stream of random numbers, step)."""
    stream = s.stream(name)
    return (stream[0], stream[1]), s.now


def _increments(block, values, bound):
    """What a spike changes on one edge and brings to its target."""
    if block.random:
        from .chance import edge_key

        stream, step = values["/random"]
        values = {**values, "key": edge_key(stream, step, values["/number"])}
    made = block.synapse.__bind__(bound).call("on_pre", values)
    return {k: jnp.asarray(x, dtype()) for k, x in made.items()}


# --- all edges, with what has spiked as a factor


def _on_all(s, block, arrived):
    rows = s.topology[block.tag]
    hit = _hits(s, block, rows)
    env = {**edge_environment(s, block, s.z), **_shared(s, block)}
    n = rows["post"].shape[0]
    if block.random:
        env["/number"] = jnp.arange(n, dtype=jnp.int32)
    increments = map_cells(lambda values, bound: _increments(block, values, bound), n, env, s.ready["bound"][block.tag])
    for key, amount in increments.items():
        if key in block.states:
            s.edges[block.tag][key] = s.edges[block.tag][key] + where_hit(hit, amount)
        elif key in block.deposits:
            total = sum_on_targets(where_hit(hit, amount), rows)
            start = block.deposits[key]
            arrived = arrived.at[start : start + block.group.n].add(total)
    return arrived


def _hits(s, block, rows):
    """What the source of every edge sent when its spikes that arrive now were found: end of step now - 1 - delay."""
    history = from_others(s.ready, block.group, s.old["history"]["spikes"])
    if block.tag in s.ready["hits"]:
        lags = s.ready["delays"].get(block.tag, rows["delays"])
        return delay_kernels.hits(history, s.now, rows["source"], lags, s.ready["hits"][block.tag])
    delay = rows["delays"] if block.delay is None else block.delay
    row = jnp.mod(s.now - 1 - delay, history.shape[0])
    if block.delay is None:
        return history.reshape(-1)[row * history.shape[1] + rows["source"]]
    return jax.lax.dynamic_index_in_dim(history, row, keepdims=False)[rows["source"]]


def where_hit(hit, amount):
    """hit * amount, where an amount that is not finite does not matter without a spike: 0 * inf would be nan."""
    return hit * jnp.where((hit != 0) | jnp.isfinite(amount), amount, 0.0)


# --- edges of the cells that have spiked


def _on_some(s, block, arrived):
    rows, history = s.topology[block.tag], s.old["history"]
    near, across = edge_ends(s, block, s.z, block.synapse.__methods__["on_pre"])
    near = {k: x[block.pre.start : block.pre.stop] for k, x in near.items()}
    bound, weight = s.ready["bound"][block.tag], edge_weights(s, block)
    shared = {"values": _shared(s, block), "bound": {k: x for k, x in bound.items() if jnp.ndim(x) == 0}}
    held = {f"bound/{k}": x for k, x in bound.items() if jnp.ndim(x)}
    if jnp.ndim(weight):
        held["w"] = weight
    else:
        shared["values"]["w"] = weight
    if block.random:
        held["/number"] = rows["number"]
    cut = lambda start: jax.lax.slice_in_dim(arrived, start, start + block.group.n)
    made, sums = ops.map_edges(
        lambda *values: _visited(block, *values),
        history["ids"],
        history["counts"],
        s.now - 1 - (block.delay or 0),
        **_graph(block, rows),
        span=(block.source.source_start + block.pre.start, block.pre.n),
        shared=shared,
        near=near,
        across=across,
        edge={**s.edges[block.tag], **held},
        into={k: cut(start) for k, start in block.deposits.items()},
    )
    s.edges[block.tag] = {k: made[k] for k in block.states}
    for key, total in sums.items():
        arrived = jax.lax.dynamic_update_slice(arrived, total, (block.deposits[key],))
    return arrived


def _graph(block, rows):
    if block.delay is not None:
        return dict(indptr=rows["rows"], far=rows["post"])
    n_delays = (rows["pieces"].shape[0] - 1) // block.pre.n
    return dict(indptr=rows["pieces"], far=rows["piece_post"], order=rows["piece_order"], n_delays=n_delays)


def _visited(block, shared, near, across, edge):
    """One edge that a spike reaches: (its variables, what it brings)."""
    per_edge = {k.removeprefix("bound/"): x for k, x in edge.items() if k.startswith("bound/")}
    made = _increments(block, {**shared["values"], **near, **across, **edge}, {**shared["bound"], **per_edge})
    new = {k: x + made[k] if k in block.states and k in made else x for k, x in edge.items()}
    return new, {k: made[k] for k in block.deposits}
