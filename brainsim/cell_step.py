"""What one cell does in one step, as a function of scalars: arrivals, integration, threshold, reset, refractoriness.

It is mapped over the cells of a group as a whole, so that a step is one pass over the memory of a population.
"""

import jax
import jax.numpy as jnp

from . import cell, integrate
from .program import dtype
from .surrogate import blend, spike


def integrate_and_fire(program, g, z, parts, env, bound, xi, table, old):
    """One step of a cell by the method of its group: the stages of an explicit method, or exact propagation of its
    linear states and exponential Euler of the others.

    Args:
        z: states at the start of the step. parts: what arrives for some of them.
        table: entries of the propagators of the linear states.
        old: "refractory" steps left, "count" of steps after a spike, "distance" to threshold of the last step; those
            that the model has.

    Returns:
        dict with "z", "fired", "active" (whether the surrogate derivative is not zero) and the new entries of `old`.
    """
    start = arrive(g, z, parts, old)
    held = old["refractory"] > 0 if "refractory" in old else None
    if program.methods[g.index] in integrate.EXPLICIT:
        moved = _stages(program, g, start, env, bound, xi)
        return fire(program, g, start, clamp(g, start, pulled(moved, env), held), parts, env, bound, old)
    linear = {k: start[k] for k in start if f"{k}<{k}" in table.get("free", {})}
    dt = jnp.asarray(program.dt, dtype())
    f = lambda z: cell.derivative(program, g, z, env, bound)
    moved = integrate.exponential_euler(f, start, dt, cell.diffusion(program, g, start, env, bound), xi, skip=linear)
    if linear:
        moved.update(integrate.exact_step(linear, f(start), table, held))
    return fire(program, g, start, clamp(g, start, pulled(moved, env), held), parts, env, bound, old)


def _stages(program, g, start, env, bound, xi):
    """An explicit step of a cell that sees constant inputs between its stages."""
    dt = jnp.asarray(program.dt, dtype())
    still = {k: jnp.zeros_like(v) for k, v in start.items()}
    slope = lambda z, t: {**still, **cell.derivative(program, g, z, {**env, "t": t}, bound)}

    def kick(z):
        size = cell.diffusion(program, g, z, env, bound)
        return {**still, **{k: size[k] * xi[k] * jnp.sqrt(dt) for k in size}}

    return integrate.staged_step(program.methods[g.index], slope, start, env["t"], dt, kick if xi else None)


def arrive(g, z, parts, old):
    """States after the arrivals of this step; what a synapse adds directly to a held state is dropped."""
    out, rule = dict(z), g.model.__refractory__
    for name, terms in parts.items():
        part = sum_of(terms)
        if part is None:
            continue
        if rule is not None and name in rule.holds:
            part = jnp.where(old["refractory"] > 0, jnp.zeros_like(part), part)
        out[name] = out[name] + part
    return out


def sum_of(terms):
    """Sum of value times factor (None: 1)."""
    total = None
    for value, scale in terms:
        term = value if scale is None else value * scale
        total = term if total is None else total + term
    return total


def pulled(moved, env):
    """States with the pull of `bs.nudge` over this step, after all else; a rate of 0 changes no bit."""
    out = dict(moved)
    for name, x in moved.items():
        if f"nudge/{name}/rate" in env:
            out[name] = x - (env[f"nudge/{name}/value"] - x) * jnp.expm1(-env[f"nudge/{name}/rate"] * env["dt"])
    return out


def clamp(g, start, moved, held):
    """Refractory cells keep their held states."""
    if held is None:
        return moved
    return {**moved, **{n: jnp.where(held, start[n], moved[n]) for n in g.model.__refractory__.holds}}


def fire(program, g, start, z, parts, env, bound, old, key=None):
    """Threshold, reset and refractoriness of a cell whose states have moved from `start` to `z`."""
    out = {"z": z}
    if "spike" not in g.model.__methods__:
        return out
    after = {**env, "t": env["t"] + env["dt"]}
    neuron = g.model.__bind__(bound["cell"])
    far = lambda z: jnp.asarray(neuron.call("spike", {**_available(g, z, after), "key": key}), dtype())
    distance = far(z)
    if g.model.spike_on == "crossing":
        fired = spike(distance, program.surrogate, program.smooth and g.model.graded)
        fired = jnp.where(old["distance"] <= 0, fired, jnp.zeros_like(fired))
        out["distance"] = jax.lax.stop_gradient(distance)
    else:
        if set(parts) & set(g.model.__states__):
            # a jump crosses the threshold when it arrives; at the end of the step part of it has decayed already
            distance = jnp.maximum(distance, far(start))
        fired = spike(distance, program.surrogate, program.smooth and g.model.graded)
    if "refractory" in old:
        fired = jnp.where(old["refractory"] > 0, jnp.zeros_like(fired), fired)
        left = jnp.maximum(old["refractory"] - 1, 0)
        out["refractory"] = jnp.where(fired > 0.5, jnp.asarray(old["count"], left.dtype), left)
    if "reset" in g.model.__methods__:
        changed = neuron.call("reset", _available(g, z, after))
        out["z"] = {
            **z,
            **{
                k: blend(fired, z[k], jnp.asarray(v, dtype()), program.surrogate, program.smooth, k)
                for k, v in changed.items()
            },
        }
    return {**out, "fired": fired, "active": program.surrogate.reaches(jax.lax.stop_gradient(distance))}


def _available(g, z, env):
    """What spike and reset methods can ask for; as inputs they see the drives alone."""
    states = {n: z[n] for n in g.model.__states__}
    return {**states, **{n: env[f"in/{n}"] for n in g.model.__inputs__}, "t": env["t"], "dt": env["dt"]}
