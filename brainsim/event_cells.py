"""Which cells and synapses have exact spike times: found from their equations, and with them the numbers of the closed
forms. A cell is a leaky membrane that is linear in its input, with a threshold and a fixed voltage after a spike; a
synapse is a current that jumps and decays exponentially. Classes of one's own with such equations count as well.
"""

from functools import cache

import jax
import jax.numpy as jnp

from .declare import returned_keys
from .dependence import affine
from .linearity import is_linear
from .program import dtype
from .wiring import by_default, needs_edges


@cache
def not_a_cell(cls) -> str | None:
    """What keeps a neuron class from having exact spike times; None: it has."""
    states, methods = list(cls.__states__), cls.__methods__
    if "spike" not in methods:
        return "does not spike"
    if len(states) != 1 or f"d{states[0]}" not in methods:
        return f"has {len(states)} states ({', '.join(states)}), not one membrane voltage" if states else "has no state"
    (v,), flow = states, methods[f"d{states[0]}"]
    odd = sorted({*flow} - {v, *cls.__inputs__} | {*methods["spike"]} - {v} | {*methods.get("reset", ())})
    if odd:
        return f"asks for {', '.join(odd)} in its equations"
    if f"noise_{v}" in methods:
        return "has noise"
    if cls.spike_on != "level" or "reset" not in methods or returned_keys(cls, "reset") != (v,):
        return f"does not reset {v} when it is above its threshold"
    if cls.__refractory__ is not None and tuple(cls.__refractory__.holds) != (v,):
        return f"does not hold {v} while it is refractory"
    made = by_default(cls)
    inputs = [name for name in flow if name != v]
    if not affine(lambda z: {"": made.call(f"d{v}", z)}, [v, *inputs], []):
        return f"is not linear in {', '.join(flow)}"
    if not affine(lambda z: {"": made.call("spike", z)}, [v], []):
        return "has a threshold that is not a level of v"
    zeros = dict.fromkeys(inputs, 0.0)
    if not _slope(lambda x: made.call(f"d{v}", {**zeros, v: x})) < 0:
        return "has no leak"
    return None if _slope(lambda x: made.call("spike", {v: x})) > 0 else "does not fire upwards"


@cache
def not_a_source(cls) -> str | None:
    """What keeps a neuron class from being a source of given spikes; None: it is one."""
    asked = cls.__methods__.get("spike", ())
    given = len(asked) == 1 and asked[0] in cls.__inputs__ and not cls.__states__
    return None if given else "does not take its spikes as an input"


@cache
def not_a_current(cls) -> str | None:
    """What keeps a synapse class from being an exponential current; None: it is one."""
    states, methods = list(cls.__states__), cls.__methods__
    if len(states) != 1 or cls.__states__[states[0]].on != "post" or needs_edges(cls) or "output" in methods:
        return "is not one current per target"
    (i,) = states
    if tuple(cls.__increments__) != (i,) or {*methods["on_pre"]} - {"w"}:
        return f"does not add its weight to {i} when a spike arrives"
    if methods.get(f"d{i}") != (i,) or methods.get("current") != (i,):
        return f"is not driven by {i} alone"
    params = dict.fromkeys(cls.__params__, 1.0)
    for method in (f"d{i}", "current"):
        if not is_linear(lambda p, z, m=method: cls.__bind__(p).call(m, z), params, {i: 1.0}, {i}):
            return f"is not linear in {i}"
    made = by_default(cls)
    return None if _slope(lambda x: made.call(f"d{i}", {i: x})) < 0 else "does not decay"


def _slope(function) -> float:
    with jax.ensure_compile_time_eval():
        return float(jax.grad(lambda x: jnp.asarray(function(x), dtype()))(0.0))


def membrane(cls, values, n) -> dict:
    """Numbers of n cells, (n,) each, from parameters that are scalars or (n,): tau_m and t_ref in ms; rest, threshold
    and v_reset in mV; gains, how much one unit of each input raises v in the end."""
    (v,) = cls.__states__
    inputs = [name for name in cls.__methods__[f"d{v}"] if name != v]
    zero = jnp.zeros((), dtype())

    def one(values):
        model = cls.__bind__(values)
        moves = lambda x, given: model.call(f"d{v}", {v: x, **given})
        flow, (slope, gains) = jax.value_and_grad(moves, argnums=(0, 1))(zero, dict.fromkeys(inputs, zero))
        below, steep = jax.value_and_grad(lambda x: model.call("spike", {v: x}))(zero)
        tau = -1.0 / slope
        made = {"tau_m": tau, "rest": flow * tau, "threshold": -below / steep}
        gains = {name: gain * tau for name, gain in gains.items()}
        return {**made, "v_reset": jnp.asarray(model.call("reset", {})[v], dtype()), "gains": gains}

    made = jax.vmap(one, axis_size=n)(_per_cell(values, n))
    rule = cls.__refractory__
    return {**made, "t_ref": jnp.broadcast_to(0.0 if rule is None else values[rule.t_ref], (n,)).astype(dtype())}


def current(cls, values, n):
    """(time constant in ms, current per unit of the state), (n,) each, of a synapse onto n cells."""
    (i,) = cls.__states__
    zero = jnp.zeros((), dtype())

    def one(values):
        model = cls.__bind__(values)
        return tuple(jax.grad(lambda x, m=m: model.call(m, {i: x}))(zero) for m in (f"d{i}", "current"))

    decay, gain = jax.vmap(one, axis_size=n)(_per_cell(values, n))
    return -1.0 / decay, gain


def _per_cell(values, n):
    return {k: jnp.broadcast_to(jnp.asarray(x, dtype()), (n,)) for k, x in values.items()}
