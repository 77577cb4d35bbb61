"""What one edge of a plastic projection does, as functions of scalars: continuous change, events, what it delivers.

Values come in four dicts: `shared` by all edges, of the `pre` cell, of the `post` cell, and of the edge itself. A state
`x` of rule k is written "k/x", so that several rules can act on one weight.
"""

import jax
import jax.numpy as jnp

from .chance import edge_key
from .functions import phi1, phi2
from .program import dtype


def bound_rule(learner, k, shared):
    return learner.rules[k].cls.__bind__(shared[f"{k}/params"])


def environment(learner, k, shared, *sides) -> dict:
    """What the methods of rule k can ask for; the sides are dicts of scalars."""
    out = {"t": shared["t"], "dt": shared["dt"]}
    for side in (shared, *sides):
        for name, value in side.items():
            owner, _, rest = name.rpartition("/")
            if owner in ("", str(k)) and rest != "params":
                out[rest] = value
    return out


def flow(learner, shared, pre, post, edge):
    """(edge variables after a step without events, change of the weight that it asks for).

    Edge states move by exponential Euler; `dw` sees their means over the step, so that a weight that integrates a
    decaying eligibility is exact.
    """
    out, change = {k: x for k, x in edge.items() if k != "w"}, jnp.zeros_like(edge["w"])
    for k, rule in enumerate(learner.rules):
        names = [n for n in rule.states("edge") if rule.has("d" + n)]
        if not names and not rule.has("dw"):
            continue
        made, dt = bound_rule(learner, k, shared), shared["dt"]
        env = environment(learner, k, shared, pre, post, edge)
        means = {}
        for n in names:
            f = lambda x, n=n, made=made, env=env: jnp.asarray(made.call("d" + n, {**env, n: x}), dtype())
            value, a = jax.jvp(f, (env[n],), (jnp.ones_like(env[n]),))
            out[f"{k}/{n}"] = env[n] + value * dt * phi1(a * dt)
            means[n] = env[n] + value * dt * phi2(a * dt)
        if rule.has("dw"):
            f = lambda w, made=made, env=env, means=means: (
                env["learning"] * jnp.asarray(made.call("dw", {**env, **means, "w": w}), dtype())
            )
            w = edge["w"] + change
            value, a = jax.jvp(f, (w,), (jnp.ones_like(w),))
            change = change + value * dt * phi1(a * dt)
    return out, change


def drift(learner, shared, pre, post, edge) -> dict:
    """Edge variables after a step without events, the weight within its bounds."""
    out, change = flow(learner, shared, pre, post, edge)
    return {**out, "w": learner.spec.bounds.apply(edge["w"], change)}


def event(learner, name, shared, pre, post, edge, number=None) -> dict:
    """Edge variables after one spike.

    Args:
        name: "on_pre" or "on_post".
        number: of the edge, where a rule draws random numbers.
    """
    out = dict(edge)
    for k, rule in enumerate(learner.rules):
        if not rule.has(name):
            continue
        env = environment(learner, k, shared, pre, post, {**edge, "w": out["w"]})
        if rule.random(name):
            env["key"] = edge_key(*shared[f"random/{k}/{name}"], number)
        changes = bound_rule(learner, k, shared).call(name, env)
        for key, change in changes.items():
            if key == "w":
                change = env["learning"] * jnp.asarray(change, dtype())
                out["w"] = learner.spec.bounds.apply(out["w"], change)
            elif rule.cls.__states__[key].on == "edge":
                out[f"{k}/{key}"] = out[f"{k}/{key}"] + jnp.asarray(change, dtype())
    return out


def delivered(learner, w, shared, pre, post) -> dict:
    """What one presynaptic spike adds at the target, by increment."""
    cls = learner.synapse
    values = {name[4:]: x for side in (shared, post) for name, x in side.items() if name.startswith("syn/")}
    rest = {a: jnp.ones((), dtype()) for a in cls.__methods__["on_pre"]} | {"dt": shared["dt"]}
    made = cls.__bind__(values).call("on_pre", {**rest, "w": w})
    out = {}
    for key, _ in learner.deposits:
        # what the source computes is made for unit weight, and proportional to it
        sent = w * pre[f"sent/{key}"] if learner.sends[key] != "spikes" else made[key]
        out[key] = jnp.asarray(sent, dtype())
    return out


def acts(learner, name) -> bool:
    """Whether an event changes anything on an edge."""
    for rule in learner.rules:
        keys = rule.cls.__increments__.get(name, ())
        if any(key == "w" or rule.cls.__states__[key].on == "edge" for key in keys):
            return True
    return False


def drifts(learner) -> bool:
    """Whether edges change without events."""
    return any(r.has("dw") or any(r.has("d" + n) for n in r.states("edge")) for r in learner.rules)
