"""Plasticity of one step: traces of the cells, continuous change of the edges, events at the end of the step.

All that happens at the end of step n, at time (n + 1) dt: presynaptic spikes that reach the synapse then, and
postsynaptic ones. What they deliver waits in an inbox for the next step. Here every edge is visited in every step: the
form for gradients, batches and rules whose edges never rest. `learn_events.py` visits the edges of cells that spike.
"""

import jax
import jax.numpy as jnp

from . import edge_rules, integrate, learn_events, ops
from . import history as past
from .chance import edge_key
from .edge_events import random_of
from .ops.fused import View
from .program import dtype, map_cells


def learn(s):
    """Update every plastic projection; called when the spikes of this step are known."""
    if s.program.learners:
        s.new["plastic"] = {x.tag: Learning(s, x).advance() for x in s.program.learners}


class Learning:
    """One plastic projection in one step."""

    def __init__(self, s, learner):
        self.s, self.learner = s, learner
        self.old = s.old["plastic"][learner.tag]
        self.rows = self.old.get("rows", s.topology[learner.tag])
        self.dt = jnp.asarray(s.program.dt, dtype())
        self.by_event = learn_events.possible(s, learner)
        self.past = dict(self.old["past"])  # histories of what edges read with a delay

    def advance(self):
        learner = self.learner
        new = {"rules": {}, **{k: self.old[k] for k in ("rows", "fresh") if k in self.old}}
        self.projection = self.shared_states()
        hits = {"pre": self.hits("pre"), "post": self.hits("post")}
        self.before, self.after = {}, {}
        for end in ("pre", "post"):
            self.before[end], self.after[end] = self.traces(end, hits[end])
        self.remember()
        edge = {"w": self.old["w"]}
        for k, rule in enumerate(learner.rules):
            edge.update({f"{k}/{n}": self.old["rules"][str(k)][n] for n in rule.states("edge")})
        if self.by_event:
            edge, inbox, rest = learn_events.edges(self, edge, hits)
            new.update({} if rest is None else {"rest": rest})
        else:
            edge, inbox = self.edges(edge, hits)
        new.update(w=edge["w"], inbox=inbox, past=self.past)
        for k, rule in enumerate(learner.rules):
            held = {f"{k}/{n}" for n in rule.states("pre", "post", "edge", "projection")}
            every = {**self.projection, **self.after["pre"], **self.after["post"], **edge}
            new["rules"][str(k)] = {n.partition("/")[2]: every[n] for n in held}
        return new

    # --- values

    def inputs(self, k):
        """Inputs of rule k: one value for all edges, or one per target."""
        learner, s = self.learner, self.s
        out = {n: jnp.asarray(i.default, dtype()) for n, i in learner.rules[k].cls.__inputs__.items()}
        for name, (_, _, place) in s.drives.items():
            if place is not None and place[0] is learner and place[2][5:] in out:
                out[place[2][5:]] = jnp.asarray(s.values[name], dtype())
        for name, source in learner.spec.modulators.items():
            if name in out:
                group, member = s.program.layout.where[source.rpartition(".")[0]]
                value = s.z[group.index][source.rpartition(".")[2]][member.start : member.stop]
                out[name] = value[0] if member.n == 1 else value
        return out

    def everywhere(self):
        """(shared, per target): parameters, inputs and states of the projection."""
        s, learner = self.s, self.learner
        shared, post = {"t": s.time(), "dt": self.dt}, {}
        for k, rule in enumerate(learner.rules):
            shared[f"{k}/params"] = {key: s.ready["bound"][learner.tag][str(k)][key] for key in rule.leaves}
            for n, value in self.inputs(k).items():
                (shared if jnp.ndim(value) == 0 else post)[f"{k}/{n}"] = value
            for event in (e for e in ("on_pre", "on_post") if rule.random(e)):
                shared[f"random/{k}/{event}"] = random_of(s, f"{learner.projection}/{k}/{event}")
        if learner.deposits:
            slot = s.program.layout.slot_of[learner.projection]
            for key, value in s.ready["bound"][slot.tag].items():
                local = value if jnp.ndim(value) == 0 else value[learner.post.start : learner.post.stop]
                (shared if jnp.ndim(value) == 0 else post)[f"syn/{key}"] = local
        return shared, post

    def shared_states(self):
        """States of the projection after the step and its modulating spikes."""
        learner = self.learner
        self.shared, self.per_target = self.everywhere()
        made = {}
        for k, rule in enumerate(learner.rules):
            names = rule.states("projection")
            if not names:
                continue
            z = {n: self.old["rules"][str(k)][n] for n in names}
            self.shared.update({f"{k}/{n}": x for n, x in z.items()})
            env = edge_rules.environment(learner, k, self.shared)
            bound = edge_rules.bound_rule(learner, k, self.shared)
            z = _stepped(bound, rule, names, env, z, self.dt)
            if rule.has("on_modulator"):
                changes, count = bound.call("on_modulator", {**env, **z}), self.modulating_spikes()
                z = {n: x + count * jnp.asarray(changes.get(n, 0.0), dtype()) for n, x in z.items()}
            made.update({f"{k}/{n}": x for n, x in z.items()})
        return made

    def modulating_spikes(self):
        """Number of spikes of the modulating population in this step."""
        group, member = self.s.program.layout.where[self.learner.spec.modulators["on_modulator"].rpartition(".")[0]]
        return jnp.sum(self.s.fired[group.index][member.start : member.stop].astype(dtype()))

    # --- cells

    def span(self, end):
        learner = self.learner
        return (learner.source, learner.pre) if end == "pre" else (learner.group, learner.post)

    def hits(self, end, kind="spikes"):
        """What reaches the synapse at the end of this step from spikes, one number per cell; None where cells never
        spike or nothing of this kind is kept."""
        (group, member), history = self.span(end), self.s.new["history"].get(kind)
        if group.source_start is None or history is None:
            return None
        delay = (self.learner.pre_delay if end == "pre" else self.learner.post_delay) or 0
        start = group.source_start + member.start
        return _row(history, self.s.now - delay)[start : start + member.n]

    def cells(self, end):
        """Variables of the cells that rules read: where the delay is one for all, as they were when it began."""
        group, member = self.span(end)
        learner, out = self.learner, {}
        delay = learner.pre_delay if end == "pre" else learner.post_delay
        for a in learner.variables(end):
            value = self.s.z[group.index][a.rpartition("_")[0]][member.start : member.stop]
            if a in self.past:
                self.past[a] = past.push(self.past[a], value, self.s.now)
            if delay:
                value = _row(self.past[a], self.s.now - delay)
            out[a] = value
        return out

    def traces(self, end, hit):
        """Variables of one side before and after the events at the end of the step, by name."""
        learner = self.learner
        n, values = self.span(end)[1].n, self.cells(end)
        if end == "post":
            values.update(self.per_target)
        z = {}
        for k, rule in enumerate(learner.rules):
            z.update({f"{k}/{n}": self.old["rules"][str(k)][n] for n in rule.states(end)})
        if not z:
            return values, values
        event = "on_" + end

        def one(z, values, shared, hit):
            before, after = {}, {}
            for k, rule in enumerate(learner.rules):
                names = rule.states(end)
                if not names:
                    continue
                bound = edge_rules.bound_rule(learner, k, shared)
                env = edge_rules.environment(learner, k, shared, values, z)
                own = _stepped(bound, rule, names, env, {n: z[f"{k}/{n}"] for n in names}, shared["dt"])
                before.update({f"{k}/{n}": x for n, x in own.items()})
                keys = [n for n in rule.cls.__increments__.get(event, ()) if n in names]
                if keys and hit is not None:
                    away = dict.fromkeys(rule.cls.__methods__[event], jnp.zeros((), dtype()))
                    if rule.random(event):
                        away["key"] = edge_key(*shared[f"random/{k}/{event}"], 0)  # no trace depends on it
                    changes = bound.call(event, {**away, **env, **own})
                    for n in keys:
                        change = jnp.asarray(changes[n], dtype())
                        now = jnp.where(hit, change, jnp.zeros_like(change)) if hit.dtype == bool else hit * change
                        after[f"{k}/{n}"] = own[n] + now
            return before, {**before, **after}

        before, after = map_cells(one, n, z, values, {**self.shared, **self.projection}, hit)
        return {**values, **before}, {**values, **after}

    def remember(self):
        """Write the traces that edges read with a delay into their histories."""
        for name in (n for n in self.past if "/" in n):
            side = self.after if name.startswith("after/") else self.before
            key = name.removeprefix("after/")
            self.past[name] = past.push(self.past[name], side["pre" if key in side["pre"] else "post"][key], self.s.now)

    # --- edges, all of them

    def seen(self, end, tied):
        """Values of one side as an edge sees them, one per edge.

        Args:
            tied: after the spikes of that side at this time, or before.
        """
        side = self.after[end] if tied else self.before[end]
        index = self.rows[end]
        if not self.learner.late(end):
            return {n: x if jnp.ndim(x) == 0 else x[index] for n, x in side.items()}
        out = {}
        for n, x in side.items():
            key = n if not tied or f"after/{n}" not in self.past else f"after/{n}"
            if key not in self.past:
                out[n] = x[index]
                continue
            out[n] = self.delayed(self.past[key], index)
        return out

    def hit_of(self, end, hits):
        """Whether the spike of one side reaches the edge now, one number per edge."""
        if hits[end] is None:
            return None
        if not self.learner.late(end):
            return hits[end][self.rows[end]]
        group, member = self.span(end)
        return self.delayed(self.s.new["history"]["spikes"], group.source_start + member.start + self.rows[end])

    def delayed(self, history, index):
        """Entries of a history (depth, n), each as it was when it left for its edge."""
        row = jnp.mod(self.s.now - self.rows["delays"], history.shape[0])
        return history.reshape(-1)[row * history.shape[1] + index]

    def edges(self, edge, hits):
        """(edge variables, inbox) after this step."""
        learner, n = self.learner, self.learner.n_edges
        shared = {**self.shared, **self.projection}
        if edge_rules.drifts(learner):
            drift = lambda shared, pre, post, edge: edge_rules.drift(learner, shared, pre, post, edge)
            edge = map_cells(drift, n, self.shared, self.seen("pre", False), self.seen("post", False), edge)
        sent = self.old["inbox"]
        numbers = [jnp.arange(n, dtype=jnp.int32)] if learner.random else []
        for end, other, tied in learner.passes:
            sees = {end: self.seen(end, False), other: self.seen(other, tied)}
            hit = self.hit_of(end, hits)
            old = edge
            if edge_rules.acts(learner, f"on_{end}"):
                change = lambda shared, pre, post, edge, hit, number=None, end=end: _blend(
                    hit, edge, edge_rules.event(learner, f"on_{end}", shared, pre, post, edge, number)
                )
                edge = map_cells(change, n, shared, sees["pre"], sees["post"], edge, hit, *numbers)
            if end == "pre" and learner.spiking:
                weight = edge["w"] if learner.spec.deliver == "new" else old["w"]
                sent = self.send(weight, hit, shared, sees["post"])
        return edge, sent

    def send(self, w, hit, shared, post):
        """The inboxes with what the spikes deliver."""
        learner, rows, n = self.learner, self.rows, self.learner.n_edges
        pre = {f"sent/{k}": self.sent_value(x) for k, x in learner.sends.items() if x != "spikes"}
        post = {k: v for k, v in post.items() if k.startswith("syn/")}
        one = lambda w, shared, pre, post: edge_rules.delivered(learner, w, shared, pre, post)
        amounts, out = map_cells(one, n, w, shared, pre, post), {}
        for key, receiver in learner.deposits:
            inbox, place = self.empty(key), rows["post"] + learner.post.start
            if learner.slots == 1 and learner.delay is not None:
                graph = (amounts[key], rows["indptr"], place)
                spikes, active = self.hits("pre"), self.hits("pre", "active")
                out[key] = ops.event_csr(spikes, *graph, n_post=receiver.n, active=active)[None]
                continue
            if learner.slots > 1:
                delay = learner.delay if learner.delay is not None else rows["delays"]
                place = place + receiver.n * jnp.mod(self.s.now + 1 + delay, learner.slots)
            amount = amounts[key] * hit.astype(dtype())
            out[key] = inbox.reshape(-1).at[place].add(amount).reshape(inbox.shape)
        return out

    def sent_value(self, name):
        """What the sources compute at their spikes, one value per edge."""
        learner, history = self.learner, self.s.new["history"][name]
        start = learner.source.source_start + learner.pre.start
        if learner.pre_delay is None:
            return self.delayed(history, start + self.rows["pre"])
        return self.hits("pre", name)[self.rows["pre"]]

    def empty(self, key):
        """The inbox that the next step reads from: in a ring, the slot that has been read is cleared."""
        inbox = self.old["inbox"][key]
        if inbox.shape[0] == 1:
            return jnp.zeros_like(inbox)
        zeros = jnp.zeros((inbox.shape[1],), inbox.dtype)
        return jax.lax.dynamic_update_index_in_dim(inbox, zeros, jnp.mod(self.s.now, inbox.shape[0]), 0)


def _row(history, step):
    return history[0] if history.shape[0] == 1 else history[jnp.mod(step, history.shape[0])]


def _stepped(bound, rule, names, env, z, dt):
    """Exponential Euler of traces; jumps stay."""
    moving = [n for n in names if rule.has("d" + n)]
    if not moving:
        return z
    f = lambda z: {n: jnp.asarray(bound.call("d" + n, {**env, **z}), dtype()) for n in moving}
    return integrate.exponential_euler(f, z, dt, {}, {})


def _blend(hit, old, new):
    """New values where a spike came; between both for the smooth spikes of a differentiable run."""
    if hit.dtype == bool:
        return {k: jnp.where(hit, new[k], old[k]) for k in old}
    return {k: old[k] + hit * (new[k] - old[k]) for k in old}


def arrivals(s, learner, key):
    """What a plastic projection brings to its receiver in this step."""
    inbox = s.old["plastic"][learner.tag]["inbox"][key]
    if inbox.shape[0] == 1:
        return View(inbox[0], 0)
    return View(jax.lax.dynamic_index_in_dim(inbox, jnp.mod(s.now, inbox.shape[0]), keepdims=False), 0)


def initial(program, learner, params, z) -> dict:
    """State of a plastic projection before the first step; `z` are the cells."""
    real, out = dtype(), {"rules": {}, "inbox": {}, "past": {}}
    out["w"] = jnp.broadcast_to(jnp.asarray(params[learner.weight], real), (learner.n_edges,))
    size = {"pre": (learner.pre.n,), "post": (learner.post.n,), "edge": (learner.n_edges,), "projection": ()}
    for k, rule in enumerate(learner.rules):
        out["rules"][str(k)] = {}
        for n, spec in rule.cls.__states__.items():
            user = params.get(f"{learner.projection}.{n}(0)")
            if user is None:
                user = params[rule.leaves[spec.initial]] if isinstance(spec.initial, str) else spec.initial
            out["rules"][str(k)][n] = jnp.broadcast_to(jnp.asarray(user, real), size[spec.on])
    for key, receiver in learner.deposits:
        out["inbox"][key] = jnp.zeros((learner.slots, receiver.n), real)
    if learner.longest:
        out["past"] = _initial_past(learner, out, z, program.history)
    return out


def _initial_past(learner, state, z, depth):
    """Before the run everything was as at its start; as deep as the history of spikes."""
    end = "pre" if learner.axonal else "post"
    group, member = (learner.source, learner.pre) if end == "pre" else (learner.group, learner.post)
    values = {a: z[group.index][a.rpartition("_")[0]][member.start : member.stop] for a in learner.variables(end)}
    if learner.delay is None:
        for k, rule in enumerate(learner.rules):
            mine = {f"{k}/{n}": state["rules"][str(k)][n] for n in rule.states(end)}
            values.update({**mine, **{f"after/{n}": x for n, x in mine.items()}})
    return {n: jnp.broadcast_to(x, (depth, *x.shape)) for n, x in values.items()}
