"""Spikes on their way: what arrives in a step, and what a step sends into the histories."""

import jax
import jax.numpy as jnp
import numpy as np

from . import cell, edge_events, ops, procedural_calls, transmission
from . import history as past
from .cell_step import arrive
from .environment import outputs
from .learn import arrivals
from .ops.fused import View
from .program import dtype, map_cells
from .windows import write


def deliver(s):
    """Spikes that arrive now move the states they act on.

    What arrives for a state is a sum of terms (stretch of a vector, factor), which the loop over the cells adds up.
    """
    program = s.program
    s.parts = {}
    rest, sums, reached = _other_arrivals(s), {}, {b.tag: b.receivers for b in program.bundles}
    for b in program.bundles:
        # where weights are applied on the way, one vector can take everything
        together = rest is not None and b.per_edge and b.delay is not None and _lists(s, b)
        sums[b.tag] = _bundle_arrivals(s, b, rest if together else None)
        if together:
            rest, reached[b.tag] = None, set(program.receivers)
    for k, r in enumerate(program.receivers):
        terms = [] if rest is None else [(View(rest, r.start), None)]
        for b in program.bundles:
            if r in reached[b.tag]:
                scales = s.ready["weights"][b.tag].get("scale", {})
                terms.append((View(sums[b.tag], r.start), scales.get(k)))
        route = s.ready.get("route")
        if route is not None and route.added is not None and terms:
            terms.append((View(route.added, r.start), None))
        for term in terms:
            _add_term(s, r, term)
    for learner in program.learners:
        for key, r in learner.deposits:
            _add_term(s, r, (arrivals(s, learner, key), None))
    s.begin = {group: dict(z) for group, z in s.z.items()}
    for group, parts in s.parts.items():
        g = program.groups[group]
        cut = lambda v, n=g.n: jax.lax.slice_in_dim(v.array, v.start, v.start + n)
        plain = {name: [(cut(v), scale) for v, scale in terms] for name, terms in parts.items()}
        s.z[group] = arrive(g, s.z[group], plain, {"refractory": s.old["refractory"].get(group)})


def _add_term(s, receiver, term):
    """Note that something arrives for a state: (stretch of a vector, factor)."""
    slot = None if receiver.kind == "cell" else s.program.layout.slots[receiver.index]
    group = receiver.index if slot is None else slot.group.index
    name = receiver.state if slot is None else f"{slot.tag}/{receiver.state}"
    s.parts.setdefault(group, {}).setdefault(name, []).append(term)


def _other_arrivals(s):
    """What arrives from drives, through procedural projections and from equations on edges, for all receivers."""
    program = s.program
    ports = [(n, port, key, place) for n, port in program.drives.items() for key, place in port.receivers.items()]
    few = [x for x in ports if x[3].cells is not None]
    for name, port, key, place in few:
        _add_to_few(s, port, place, s.values[name], s.ready["drive_weights"][name][key])
    if len(ports) == len(few) and not (program.edge_blocks or program.procedural):
        return None
    arrived = procedural_calls.arrive(s, jnp.zeros((program.n_receive,), dtype()), _sent)
    for name, _, key, place in (x for x in ports if x[3].cells is None):
        arrived = _add_events(arrived, place, s.values[name], s.ready["drive_weights"][name][key])
    for block in program.edge_blocks:
        arrived = edge_events.arrive(s, block, arrived)
    return arrived


def _add_events(arrived, place, value, weight):
    """Events of a drive that reaches a whole population."""
    before = jax.lax.slice_in_dim(arrived, place.start, place.start + place.n)
    amount = jnp.broadcast_to(value, (place.n,)) * weight
    return jax.lax.dynamic_update_slice(arrived, before + amount.astype(dtype()), (place.start,))


def _add_to_few(s, port, place, value, weight):
    """Events of a drive that reaches few cells are added to their states: work follows the trains."""
    value = jnp.broadcast_to(value, (port.trains,))[np.argsort(port.cells)]  # weights are kept by cell
    amount, rule = (value * weight).astype(dtype()), s.program.groups[place.group].model.__refractory__
    if rule is not None and place.state in rule.holds:
        amount = jnp.where(s.old["refractory"][place.group][place.cells] > 0, 0.0, amount)
    z = s.z[place.group]
    z[place.state] = z[place.state].at[place.cells].add(amount, unique_indices=True, indices_are_sorted=True)
    s.parts.setdefault(place.group, {}).setdefault(place.state, [])


def _sent(s, sends, delay):
    """What the sources sent `delay` steps ago: spikes found at the end of step now - 1 - delay."""
    history = s.old["history"][sends]
    if history.shape[0] == 1:
        return history[0]
    row = jnp.mod(s.now - 1 - delay, history.shape[0])
    return jax.lax.dynamic_index_in_dim(history, row, keepdims=False)


def _lists(s, bundle):
    return bundle.listed and "ids" in s.old["history"]


def _bundle_arrivals(s, bundle, begin):
    """What a bundle brings to every receiver in this step, added to `begin` if given."""
    weights = s.ready["weights"][bundle.tag]
    deliver = _from_list if _lists(s, bundle) else _from_vector
    if begin is not None:
        total = _from_list(s, bundle, weights["edge"], begin[None])[0]
    elif bundle.delay is not None:
        total = deliver(s, bundle, weights["edge"], None)
    else:
        # the slot read in the last step is emptied here: emptied after reading it, XLA would copy the whole ring
        ring = empty_slot(s.old["rings"][bundle.tag], s.now - 1)
        ring = deliver(s, bundle, weights["edge"], ring)
        total = jax.lax.dynamic_index_in_dim(ring, jnp.mod(s.now, ring.shape[0]), keepdims=False)
        s.new["rings"] = {**s.new["rings"], bundle.tag: ring}
    return total


def empty_slot(ring, step):
    zeros = jnp.zeros((ring.shape[1],), ring.dtype)
    return jax.lax.dynamic_update_index_in_dim(ring, zeros, jnp.mod(step, ring.shape[0]), 0)


def _from_vector(s, bundle, weights, ring):
    """Delivery from one number per source."""
    rows, delay = s.topology[bundle.tag], bundle.delay or 0
    sent = _sent(s, bundle.sends, delay)
    # what a source computes at a spike has a derivative of its own, wherever the spike's is zero
    tracked = bundle.sends == "spikes" and "active" in s.old["history"]
    active = _sent(s, "active", delay) if tracked else None
    indptr = rows["indptr"] if bundle.n_blocks == 1 else rows["indptr"][:: bundle.n_blocks]
    if not bundle.merged:
        by_part = lambda x: jnp.concatenate([jax.lax.slice_in_dim(x, a, a + n) for a, n in bundle.sides])
        sent, active = by_part(sent), None if active is None else by_part(active)
    if ring is None and s.program.narrow:
        sent = sent.astype(dtype())  # sums have the dtype of the wider factor, and are not to be rounded to bfloat16
    rest = (indptr, rows["indices"], None if ring is None else _delays(s, bundle), s.now, active)
    return transmission.deliver(s, bundle, sent, weights, ring, rest)


def _delays(s, bundle):
    """Steps of every entry where they are not packed: made from parameters, or known when compiled."""
    return s.ready["delays"].get(bundle.tag, s.topology[bundle.tag].get("delays"))


def _from_list(s, bundle, weights, ring):
    """Delivery from the list of the cells that fired."""
    rows, history = s.topology[bundle.tag], s.old["history"]
    into = jnp.zeros((1, s.program.n_receive), dtype()) if ring is None else ring
    graph = (rows["parts"], rows["indptr"], rows["indices"], _delays(s, bundle), s.now)
    into = ops.deliver_list(
        into,
        history["ids"],
        history["counts"],
        weights,
        *graph,
        n_blocks=bundle.n_blocks,
        row=s.now - 1 - (bundle.delay or 0),
    )
    return into[0] if ring is None else into


def remember(s, spikes):
    """Write what was sent in this step into the histories."""
    program = s.program
    history = dict(s.old["history"])
    if spikes:
        active = all_spikes(program, s.active) if s.active else None
        history = past.remember(history, all_spikes(program, spikes), active, s.now)
    terminals = {sender.terminal.tag: sender.terminal for sender in program.sent.values()}
    # all of them before any state changes: what is sent is the value at the spike
    increments = {tag: _at_spikes(s, terminal, spikes) for tag, terminal in terminals.items()}
    for name, sender in program.sent.items():
        g, made = sender.terminal.group, increments[sender.terminal.tag]
        if sender.key is not None:
            whole = jnp.zeros((program.layout.n_sources,), dtype())
            whole = jax.lax.dynamic_update_slice(whole, made[sender.key], (g.source_start,))
            history[name] = past.push(history[name], whole, s.now)
        for key in sender.own:
            state = f"{sender.terminal.tag}/{key}"
            s.z[g.index][state] = s.z[g.index][state] + made[key]
    s.new["history"] = history
    sent = dict(s.old["sent"])
    for c in program.couplings:
        if c.depth:
            clock = {"t": s.time() + program.dt, "dt": jnp.asarray(program.dt, dtype())}
            env = {g.index: clock for g in program.groups}
            now = outputs(s, c.terminal, s.z, env, c.moving)
            sent[c.tag] = {k: write(h, now[k], s.place) for k, h in sent[c.tag].items()}
    s.new["sent"] = sent


def all_spikes(program, spikes):
    """Spikes of all sources by their global id."""
    sources = [spikes[g.index] for g in program.groups if g.source_start is not None]
    return sources[0] if len(sources) == 1 else jnp.concatenate(sources)


def _at_spikes(s, terminal, spikes):
    """What `on_pre` computes at the sources for unit weight, where they fired."""
    g, time = terminal.group, {"t": s.time() + s.program.dt, "dt": jnp.asarray(s.program.dt, dtype())}

    def one(z, bound):
        values = {**cell.terminal_values(terminal, z, time), "w": jnp.ones((), dtype())}
        made = terminal.synapse.__bind__(bound).call("on_pre", values)
        return {k: jnp.asarray(v, dtype()) for k, v in made.items()}

    made = map_cells(one, g.n, s.z[g.index], s.ready["bound"][terminal.tag])
    return {k: edge_events.where_hit(spikes[g.index], v) for k, v in made.items()}
