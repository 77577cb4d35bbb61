"""Plasticity by events: only the edges of cells that spike are visited, with weights changed where they lie.

Between its visits an edge rests. Where its states are a linear system whose coefficients are the same for all edges
(decaying eligibilities under a global modulator), what has happened since is the propagator of that system: every cell
carries the one since its own last spike, and an edge takes that of the end that spiked last. So rest costs nothing per
edge and is exact, unless the weight would have met a bound on its way.
"""

from functools import partial

import jax
import jax.numpy as jnp

from . import edge_rules, ops
from .linearity import is_linear
from .program import dtype, map_cells


def possible(s, learner) -> bool:
    """Whether this run visits the edges by events."""
    if "ids" not in s.old["history"]:
        return False
    if learner.delay is None:
        return learner.axonal and not edge_rules.drifts(learner)
    return not edge_rules.drifts(learner) or "rest" in s.old["plastic"][learner.tag]


def linear(learner) -> bool:
    """Whether the rest of an edge is a linear system of its states, with coefficients that no cell enters."""
    if learner.spec.bounds.kind != "hard" and any(r.has("dw") for r in learner.rules):
        return False  # what a weight gains depends on where it is
    for rule in learner.rules:
        cls = rule.cls
        own = set(rule.states("edge"))
        shared = {*rule.states("projection"), *cls.__inputs__, "t", "dt"}
        for method in [*("d" + n for n in own if rule.has("d" + n)), *(["dw"] if rule.has("dw") else [])]:
            asked = cls.__methods__[method]
            if not set(asked) <= own | shared:
                return False
            value = lambda params, v, cls=cls, method=method: cls.__bind__(params).call(method, v)
            numbers = lambda names: {n: jnp.zeros((), dtype()) for n in names}
            if not is_linear(value, numbers(cls.__params__), numbers(asked), own):
                return False
    return True


def explained(learner) -> str:
    """How a plastic projection runs, in a line."""
    names = " and ".join(rule.cls.__name__ for rule in learner.rules)
    if not edge_rules.drifts(learner):
        how = "edges of cells that spike; nothing moves between their spikes"
    elif linear(learner) and learner.delay is not None:
        how = "edges of cells that spike; between their spikes the edges rest, by propagators kept at the cells"
    else:
        how = "all edges in every step, because what they do between spikes is no linear system shared by all"
    if learner.delay is None and not learner.axonal:
        how = "all edges in every step, because postsynaptic spikes reach each edge after its own delay"
    return f"  {learner.projection}: {learner.n_edges} edges learn by {names}: {how}"


# --- rest


def busy(program, feeds, drives) -> frozenset:
    """Tags of the projections whose modulators have one value per target."""
    found = set()
    for name, drive in drives.items():
        place = feeds[name].place
        if place is None or not place[2].startswith("rule/"):
            continue
        begin = drive.begin(feeds[name].n, dtype())
        value = partial(drive.value, dt=program.dt, n=feeds[name].n)
        key, step = jax.ShapeDtypeStruct((2,), jnp.uint32), jax.ShapeDtypeStruct((), jnp.int32)
        shape = jax.eval_shape(lambda s, k, c, value=value: value(s, key=k, carry=c)[0], step, key, begin).shape
        found |= {place[0].tag} if shape else set()
    for x in program.learners:
        sources = [v for k, v in x.spec.modulators.items() if k != "on_modulator"]
        found |= {x.tag for v in sources if program.layout.where[v.rpartition(".")[0]][1].n > 1}
    return frozenset(found)


def states_of(learner):
    """Edge states by name "k/x"."""
    return [f"{k}/{n}" for k, rule in enumerate(learner.rules) for n in rule.states("edge")]


@partial(jax.jit, static_argnums=(0, 2))
def enter(program, state, busy):
    """The state of a host run: with the propagators since the last spike of every cell.

    Args:
        busy: tags of learners with a modulator per target, whose edges must be visited in every step; None: all.
    """
    if busy is None:
        return state
    plastic = dict(state["plastic"])
    for learner in program.learners:
        if not edge_rules.drifts(learner) or learner.tag in busy or learner.delay is None or not linear(learner):
            continue
        rest = {end: _identity(learner, m.n) for end, m in (("pre", learner.pre), ("post", learner.post))}
        plastic[learner.tag] = {**plastic[learner.tag], "rest": rest}
    return {**state, "plastic": plastic}


def _identity(learner, n):
    names = states_of(learner)
    out = {f"{a}<{b}": jnp.full((n,), float(a == b), dtype()) for a in (*names, "w") for b in names}
    return {**out, "last": jnp.full((n,), -1, jnp.int32)}


@partial(jax.jit, static_argnums=0)
def awake(program, topology, state):
    """The state with the rest of every edge made up for; without propagators."""
    plastic = dict(state["plastic"])
    for learner in program.learners:
        mine = dict(plastic[learner.tag])
        rest = mine.pop("rest", None)
        if rest is None:
            continue
        rows, edge = mine.get("rows", topology[learner.tag]), _edge_of(learner, mine)
        sides = [{k: x[rows[end]] for k, x in rest[end].items()} for end in ("pre", "post")]
        made = map_cells(partial(_woken, learner), learner.n_edges, edge, *sides)
        rules = {k: dict(v) for k, v in mine["rules"].items()}
        for key in states_of(learner):
            k, _, n = key.partition("/")
            rules[k][n] = made[key]
        plastic[learner.tag] = {**mine, "w": made["w"], "rules": rules}
    return {**state, "plastic": plastic}


def _edge_of(learner, state):
    out = {"w": state["w"]}
    for key in states_of(learner):
        k, _, n = key.partition("/")
        out[key] = state["rules"][k][n]
    return out


def _woken(learner, edge, pre, post):
    """One edge after its rest: the end that spiked last has the propagator since then."""
    names = states_of(learner)
    late = pre["last"] > post["last"]
    since = lambda key: jnp.where(late, pre[key], post[key])
    out = {a: sum(since(f"{a}<{b}") * edge[b] for b in names) for a in names}
    change = sum(since(f"w<{b}") * edge[b] for b in names)
    return {**out, "w": learner.spec.bounds.apply(edge["w"], change)}


def _one_step(learner, shared):
    """Propagator of the rest over one step, "a<b" -> scalar."""
    names, out = states_of(learner), {}
    for b in names:
        unit = {a: jnp.asarray(float(a == b), dtype()) for a in (*names, "w")}
        unit["w"] = jnp.zeros((), dtype())
        moved, change = edge_rules.flow(learner, shared, {}, {}, unit)
        out.update({f"{a}<{b}": moved[a] for a in names})
        out[f"w<{b}"] = change
    return out


def _continued(learner, n, rest, step):
    """Propagators of the cells after one more step."""
    names = states_of(learner)

    def one(rest, step):
        out = {f"{a}<{b}": sum(step[f"{a}<{c}"] * rest[f"{c}<{b}"] for c in names) for a in names for b in names}
        for b in names:
            out[f"w<{b}"] = rest[f"w<{b}"] + sum(step[f"w<{c}"] * rest[f"{c}<{b}"] for c in names)
        return {**out, "last": rest["last"]}

    return map_cells(one, n, rest, step)


def _restarted(learner, n, rest, hit, now):
    """Propagators after the spikes of this step."""

    def one(rest, hit, now):
        fresh = {k: jnp.asarray(float(k.split("<")[0] == k.split("<")[-1]), dtype()) for k in rest if k != "last"}
        return {k: jnp.where(hit, now if k == "last" else fresh[k], x) for k, x in rest.items()}

    return map_cells(one, n, rest, hit, now)


# --- one step


def edges(step, edge, hits):
    """(edge variables, inbox, propagators or None) after this step; `step` is a `learn.Learning`."""
    learner, s = step.learner, step.s
    shared, rest = {**step.shared, **step.projection}, step.old.get("rest")
    if rest is not None:
        once = _one_step(learner, step.shared)
        size = {"pre": learner.pre.n, "post": learner.post.n}
        rest = {end: _continued(learner, size[end], rest[end], once) for end in rest}
    inbox = step.old["inbox"]
    for end, other, tied in learner.passes:
        sends = end == "pre" and learner.spiking
        if not edge_rules.acts(learner, f"on_{end}") and not sends:
            continue
        near, across = _values(step, end, False), _values(step, other, tied)
        if rest is not None:
            near["rest"], across["rest"] = rest[end], rest[other]
        edge, sent = _visit(step, end, shared, near, across, edge, sends)
        inbox = sent if sends else inbox
        if rest is not None:
            rest = {**rest, end: _restarted(learner, size[end], rest[end], hits[end], s.now)}
    return edge, inbox, rest


def _values(step, end, tied):
    """Variables of one side, before or after the spikes at this time; histories where each edge has its own delay."""
    side = dict((step.after if tied else step.before)[end])
    if step.learner.late(end):
        side.update({k: step.past.get(f"after/{k}" if tied and "/" in k else k, x) for k, x in side.items()})
    return side


def _graph(step, end):
    """Where the edges of a cell at one end are, and the cells at the other."""
    rows, late = step.rows, step.learner.delay is None
    if end == "post":
        return dict(indptr=rows["columns"], far=rows["sources"], order=rows["order"], packed=late)
    if not late:
        return dict(indptr=rows["indptr"], far=rows["post"])
    n_delays = (rows["pieces"].shape[0] - 1) // step.learner.pre.n
    return dict(indptr=rows["pieces"], far=rows["piece_post"], order=rows["piece_order"], n_delays=n_delays)


def _visit(step, end, shared, near, across, edge, sends):
    """One pass over the edges of the cells at one end that spike."""
    learner, history = step.learner, step.s.new["history"]
    group, member = step.span(end)
    delay = (learner.pre_delay if end == "pre" else learner.post_delay) or 0
    near = {k: x for k, x in near.items() if k == "rest" or jnp.ndim(x)}
    across = {k: x for k, x in across.items() if k == "rest" or jnp.ndim(x)}
    if sends:
        near.update(_values_sent(step))
    one = partial(_visited, learner, end, sends)
    drawn = {"number": step.s.topology[learner.tag]["number"]} if learner.random else {}
    made, sums = ops.map_edges(
        one,
        history["ids"],
        history["counts"],
        step.s.now - delay,
        **_graph(step, end),
        span=(group.source_start + member.start, member.n),
        shared=shared,
        near=near,
        across=across,
        edge={**edge, **drawn},
        into={k: _part(step, k, r) for k, r in learner.deposits} if sends else {},
    )
    return {k: x for k, x in made.items() if k not in drawn}, {k: _whole(step, k, x) for k, x in sums.items()}


def _visited(learner, end, sends, shared, near, across, edge):
    """One edge whose cell at `end` has spiked: (edge variables, what it delivers)."""
    pre, post = (near, across) if end == "pre" else (across, near)
    drawn = {k: edge[k] for k in edge if k == "number"}
    edge = {k: x for k, x in edge.items() if k not in drawn}
    if "rest" in pre:
        edge = _woken(learner, edge, pre["rest"], post["rest"])
    plain = lambda side: {k: x for k, x in side.items() if k != "rest"}
    new = edge_rules.event(learner, f"on_{end}", shared, plain(pre), plain(post), edge, **drawn)
    if not sends:
        return {**new, **drawn}, {}
    w = new["w"] if learner.spec.deliver == "new" else edge["w"]
    # written back even if unchanged: nothing else orders this pass and the other one, and XLA would copy all weights
    new["w"] = jnp.where(new["w"] == new["w"], new["w"], new["w"])
    return {**new, **drawn}, edge_rules.delivered(learner, w, shared, plain(pre), plain(post))


def _values_sent(step):
    """What the sources compute at their spikes: one value per cell, or its history where each edge has a delay."""
    learner, history = step.learner, step.s.new["history"]
    first = learner.source.source_start + learner.pre.start
    late = lambda name: history[name][:, first : first + learner.pre.n]
    named = {key: name for key, name in learner.sends.items() if name != "spikes"}
    return {f"sent/{key}": late(name) if learner.late("pre") else step.hits("pre", name) for key, name in named.items()}


def _slot(step):
    learner = step.learner
    return jnp.mod(step.s.now + 1 + (learner.delay or 0), jnp.int32(learner.slots))


def _part(step, key, receiver):
    """The stretch of an inbox that the targets read."""
    learner = step.learner
    if learner.slots == 1:
        return jnp.zeros((learner.post.n,), dtype())
    row = jax.lax.dynamic_index_in_dim(step.empty(key), _slot(step), keepdims=False)
    return row[learner.post.start : learner.post.stop]


def _whole(step, key, part):
    """The inbox with that stretch in its place."""
    learner, inbox = step.learner, step.empty(key)
    if learner.slots == 1 and inbox.shape[1] == learner.post.n:
        return part[None]
    return jax.lax.dynamic_update_slice(inbox, part[None], (_slot(step), jnp.int32(learner.post.start)))
