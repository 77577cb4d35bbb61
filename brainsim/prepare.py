"""What a run needs once: parameters as arrays, weights in the order of the operators, propagators."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from . import cell, delay_kernels, integrate, procedural_calls
from .coupling import weighted_sums
from .errors import CompileError
from .method import environment_names
from .packing import places
from .program import Program, dtype, expand_group, expand_slot, expand_terminal, map_cells


class Ends(NamedTuple):
    """Which cells every edge joins."""

    pre: np.ndarray
    post: np.ndarray


class Parameters(dict):
    """Parameters by name, as functions of `Network.derive` see them; aliases resolve to the shared leaf."""

    def __init__(self, values, alias):
        super().__init__(values)
        self.alias = alias

    def __missing__(self, name):
        if name in self.alias:
            return self[self.alias[name]]
        from .errors import UnknownNameError, unknown

        raise UnknownNameError(unknown("parameter", name, self))


def derive(program: Program, params: dict) -> dict:
    """Parameters with the derived ones computed, in the order of their definition."""
    out = Parameters({k: jnp.asarray(v, dtype()) for k, v in params.items()}, program.layout.alias)
    for name, function in program.derived.items():
        out[name] = jnp.asarray(function(out), dtype())
    return out


def prepare(program: Program, topology: dict, params: dict, laid: frozenset = frozenset(), host: bool = False) -> dict:
    """Everything the loop reads that does not change in it; differentiable in the parameters.

    Args:
        laid: tags of bundles whose weights lie in operator order already; they are left out.
        host: for a host run: narrow weights are kept in bfloat16. Else they are rounded to it and stay as wide as the
            run, so that derivatives, which add up over the steps, keep their precision.
    """
    params = derive(program, params)
    layout = program.layout
    bound = {f"group{g.index}": expand_group(g, params) for g in layout.groups}
    bound.update({s.tag: expand_slot(s, params) for s in layout.slots})
    bound.update({t.tag: expand_terminal(t, params) for t in layout.terminals})
    bound.update({e.tag: _expand_edges(e, params, topology) for e in program.edge_blocks})
    bound.update({x.tag: _rule_parameters(x, params) for x in program.learners})
    ready = {
        "bound": bound,
        "weights": ordered_weights(program, topology, params, laid, host),
        "delays": _delays(program, topology, params),
        "hits": {
            e.tag: delay_kernels.factors(program.lags[e.projection], params)
            for e in program.edge_blocks
            if e.projection in program.lags
        },
        "drive_weights": _drive_weights(program, params),
        "inputs": {
            g.index: {n: jnp.asarray(i.default, dtype()) for n, i in g.model.__inputs__.items()} for g in layout.groups
        },
        "masks": {g.index: _masks(program, g) for g in layout.groups},
        "refractory": _refractory(program, bound),
    }
    ready["fixed"] = _fixed_sums(program, topology, ready, bound)
    ready["propagators"] = {
        g.index: _propagators(program, g, bound) for g in layout.groups if g.index in layout.patterns
    }
    return ready


def _expand_edges(block, params, topology):
    """Parameters of a synapse on its edges: a value per edge as it is, per source or target gathered."""
    rows, out = topology[block.tag], {}
    n = rows["post"].shape[0]
    for key, name in block.leaves.items():
        leaf = params[name]
        if leaf.ndim and leaf.shape[0] != n:
            raise CompileError(
                f"{name}: synapses evaluated on edges take a number or one value per edge ({n}), got {leaf.shape}"
            )
        out[key] = leaf
    return out


def _rule_parameters(learner, params):
    return {str(k): {key: params[leaf] for key, leaf in rule.leaves.items()} for k, rule in enumerate(learner.rules)}


def effective_weight(dt, cls, w, values, key, n):
    """What one spike adds: the increment `on_pre(w)[key]`; a scalar if weight and parameters are, else one of n."""
    rest = {a: jnp.ones((), dtype()) for a in cls.__methods__["on_pre"]} | {"dt": jnp.asarray(dt, dtype())}

    def one(w, values):
        return jnp.asarray(cls.__bind__(values).call("on_pre", {**rest, "w": w})[key], dtype())

    scalar = all(jnp.ndim(x) == 0 for x in (w, *values.values()))
    return one(w, values) if scalar else map_cells(one, n, w, values)


def arriving_weight(program, params, bundle, part):
    """What one unit of what the sources send adds to the receiver of a part; a scalar, or one per target or edge."""
    cls, leaf = program.weights[part.name]
    w = jnp.asarray(params[leaf], dtype())
    if bundle.sends != "spikes":
        return w
    n = part.projection.post.n
    edges = part.projection.edges if bundle.per_edge else None
    values = arrival_values(params, program.layout.slot_of[part.name], part.name, edges, n)
    n = part.projection.n_edges if bundle.per_edge else n
    return effective_weight(program.dt, cls, w, values, part.key, n)


def ordered_weights(program, topology, params, laid=frozenset(), host=False) -> dict:
    """Weights in the order of the operators, by tag; see `prepare`."""
    out = procedural_calls.weights(program, params, arrival_values, effective_weight)
    for b in program.bundles:
        if b.tag in laid:
            continue
        weights = []
        for part in b.parts:
            w = arriving_weight(program, params, b, part)
            weights.append(w if part.kernel is None else delay_kernels.spread(part.steps, params, w))
        if b.per_edge:
            edge = _side_by_side(b, weights)
            if program.narrow:
                edge = edge.astype(jnp.bfloat16) if host else rounded(edge)
            order = topology[b.tag].get("order")
            out[b.tag] = {"edge": edge if order is None else edge[order]}
        else:
            scales = {k: _scale(r, b, weights) for k, r in enumerate(program.receivers) if r in b.receivers}
            out[b.tag] = {"edge": jnp.ones((), dtype()), "scale": scales}
    for c in program.couplings:
        w, lags = params[program.weights[c.projection][1]], program.lags.get(c.projection)
        w = w if lags is None else delay_kernels.spread(lags, params, w)
        rows = topology[c.tag]
        out[c.tag] = {k: w if w.ndim == 0 else w[r["order"]] for k, r in (("edge", rows), *_divided(rows))}
    for e in program.edge_blocks:
        out[e.tag] = {"edge": params[program.weights[e.projection][1]]}
    return out


def _delays(program, topology, params):
    """Lags of the entries of learnable delays, where they follow from the parameters: tag -> (n_entries,) int32."""
    out, first = {}, lambda lags: delay_kernels.first_lags(lags, params)
    for b in program.bundles:
        if b.kernel == "linear":
            moved, order = _side_by_side(b, [first(p.steps) for p in b.parts]), topology[b.tag].get("order")
            out[b.tag] = topology[b.tag]["delays"] + (moved if order is None else moved[order])
    for x in (*program.couplings, *program.edge_blocks):
        lags = program.lags.get(x.projection)
        if lags is not None and lags.kernel == "linear":
            rows, moved = topology[x.tag], first(lags)
            out[x.tag] = rows["delays"] + (moved[rows["order"]] if x in program.couplings else moved)
    return out


@jax.custom_jvp
def rounded(weights):
    """Weights rounded to bfloat16, in their own dtype; the derivative is that of the weights as they were."""
    return jax.lax.reduce_precision(weights, exponent_bits=8, mantissa_bits=7)  # a cast to and fro is optimised away


rounded.defjvps(lambda slope, _, weights: slope)


def _side_by_side(bundle, weights):
    """Weights of all edges of a bundle, with zeros in the gaps between its parts."""
    starts, n = places(bundle)
    pieces = []
    for w, part, first, end in zip(weights, bundle.parts, starts, [*starts[1:], n]):
        pieces.append(jnp.broadcast_to(w, (part.n_edges,)))
        if end - first > part.n_edges:
            pieces.append(jnp.zeros((end - first - part.n_edges,), w.dtype))
    return pieces[0] if len(pieces) == 1 else jnp.concatenate(pieces)


def laid_weights(program, params) -> dict:
    """Weights that the host has laid out already: tag -> (weights, the parameters they were made of).

    Where they are narrow, so are the parameters that share their memory.
    """
    out = {}
    for b in program.bundles:
        whole, b.laid = b.laid, None
        names = {program.weights[p.name][1] for p in b.parts}
        if whole is None or len(names) < len(b.parts) or names & set(program.derived):
            continue
        if not keeps_weights(program.layout, program.dt, b):
            continue
        if all(params[n].ndim for n in names):
            out[b.tag] = jax.device_put(whole), {n: params[n] for n in names}
    return out


def keeps_weights(layout, dt, bundle) -> bool:
    """Whether the weights of a bundle are those of its projections as they are: `on_pre` gives `w` unchanged."""
    if bundle.kernel:
        return False
    for part in bundle.parts:
        cls, slot = type(part.projection.synapse), layout.slot_of[part.name]
        values = {k: jnp.zeros(()) for k in slot.leaves}
        one = lambda w, cls=cls, values=values, key=part.key: effective_weight(dt, cls, w, values, key, 1)
        jaxpr = jax.make_jaxpr(one)(jnp.zeros((), dtype())).jaxpr
        if jaxpr.outvars[0] is not jaxpr.invars[0]:
            return False
    return True


def _scale(receiver, bundle, weights):
    """What the sums of one receiver are multiplied by: a number where one weight serves all of its cells."""
    mine = [(w, p) for w, p in zip(weights, bundle.parts) if p.receiver is receiver]
    if len(mine) == 1 and mine[0][1].projection.post.n == receiver.n:
        return mine[0][0]
    whole = jnp.zeros((receiver.n,), dtype())
    for w, p in mine:
        n = p.projection.post.n
        whole = jax.lax.dynamic_update_slice(whole, jnp.broadcast_to(w, (n,)), (p.offset,))
    return whole


def with_shared_factors(ready: dict) -> dict:
    """The same, with one number for the factors of a receiver that are all equal: that is an array less to read."""
    weights = {tag: dict(w) for tag, w in ready["weights"].items()}
    for w in weights.values():
        if isinstance(w.get("scale"), dict):
            w["scale"] = {k: _shared(np.asarray(x), x) for k, x in w["scale"].items()}
    return {**ready, "weights": weights}


def _shared(values, x):
    return jnp.asarray(values[0]) if values.ndim and np.all(values == values[0]) else x


def _divided(rows):
    return [(k, part) for k, part in rows.items() if isinstance(part, dict)]  # near, far0, far1, ...


def arrival_values(params, slot, projection, edges, n_post):
    """Parameters of the synapse of one projection as `on_pre` sees them: scalars, or one per edge.

    Args:
        edges: whose `pre` and `post` say which cells an edge joins; None: one value per target is enough.
    """
    values = {}
    for key, spans in slot.leaves.items():
        name = spans[slot.spans[projection]]
        x = jnp.asarray(params[name], dtype())
        if x.ndim and edges is not None:
            x = x[edges.post] if x.shape[0] == n_post else x if x.shape[0] == len(edges.post) else x[edges.pre]
        elif x.ndim and x.shape[0] != n_post:
            raise CompileError(
                f"{name} has shape {x.shape}: a value per source or edge needs an array of weights too, one per edge; "
                f"give {projection}.weight as an array when connecting"
            )
        values[key] = x
    return values


def _drive_weights(program, params):
    out = {}
    for name, port in program.drives.items():
        cls, leaf = program.weights[name]
        slot, cells = program.layout.slot_of[name], np.arange(port.n)
        for key, place in port.receivers.items():
            cells = cells if place.cells is None else np.sort(port.cells)
            values = arrival_values(params, slot, name, Ends(cells, cells), port.n)
            w = effective_weight(program.dt, cls, jnp.asarray(params[leaf], dtype()), values, key, len(cells))
            out.setdefault(name, {})[key] = w
    return out


def _masks(program, g):
    """1 where a slot has synapses; only for slots that do not cover their whole group."""
    out = {}
    for slot in program.slots_of(g):
        if sum(b - a for a, b, _ in slot.pieces) < g.n:
            mask = np.zeros(g.n)
            for a, b, _ in slot.pieces:
                mask[a:b] = 1.0
            out[f"{slot.tag}/mask"] = jnp.asarray(mask, dtype())
    return out


def _refractory(program, bound):
    """Whole clamped steps after a spike, scalar or one per cell; no gradient."""
    out = {}
    for g in program.groups:
        rule = g.model.__refractory__
        if rule is not None:
            t_ref = jax.lax.stop_gradient(bound[f"group{g.index}"][rule.t_ref])
            out[g.index] = jnp.round(t_ref / program.dt).astype(jnp.int32)
    return out


def _fixed_sums(program, topology, ready, bound):
    out = {}
    for c in program.couplings:
        if not c.fixed:
            continue
        cls, asked = c.terminal.synapse, c.terminal.synapse.__methods__["output"]

        def one(values, c=c, cls=cls, asked=asked):
            sent = cls.__bind__(values).call("output", {a: jnp.zeros((), dtype()) for a in asked})
            return {k: jnp.asarray(sent[k], dtype()) for k in c.fixed}

        sent = map_cells(one, c.terminal.group.n, bound[c.terminal.tag])
        out[c.tag] = weighted_sums(sent, ready["weights"][c.tag]["edge"], topology[c.tag])
    return out


def _propagators(program, g, bound):
    names = sorted(program.layout.patterns[g.index])
    pattern = program.layout.patterns[g.index]
    places = (*program.slots_of(g), *program.terminals_of(g))
    mine = {"cell": bound[f"group{g.index}"], **{p.tag: bound[p.tag] for p in places}}
    zero = jnp.zeros((), dtype())
    env = {n: zero for n in environment_names(program, g)}
    rest = {n: zero for n in cell.state_names(program, g) if n not in pattern}
    rule = g.model.__refractory__
    held = tuple(h for h in rule.holds if h in pattern) if rule else ()
    # held states matter for the others only if the others read them
    couples = any(h in pattern[n] for h in held for n in names if n not in held)

    def tables(values):
        f = lambda z: cell.derivative(program, g, {**z, **rest}, env, values)
        made = {"free": integrate.entries(integrate.propagator(f, names, program.dt), names, pattern)}
        if couples:
            made["held"] = integrate.entries(integrate.propagator(f, names, program.dt, held), names, pattern)
        return made

    if all(v.ndim == 0 for v in jax.tree.leaves(mine)):
        return tables(mine)
    return map_cells(tables, g.n, mine)
