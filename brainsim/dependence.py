"""What an equation depends on, read from its jaxpr: which names reach which result, and whether it is linear."""

import jax
import jax.numpy as jnp
from jax.extend.core import Literal

_ENTERED = ("jaxpr", "call_jaxpr", "fun_jaxpr")


def _propagate(jaxpr, known):
    """Sets of input names that reach each output of a jaxpr; calls, loops and branches are entered."""
    env = dict(zip(jaxpr.invars, known))
    read = lambda v: frozenset() if isinstance(v, Literal) else env.get(v, frozenset())
    for eqn in jaxpr.eqns:
        env.update(zip(eqn.outvars, _through(eqn, [read(v) for v in eqn.invars])))
    return [read(v) for v in jaxpr.outvars]


def _through(eqn, sets):
    """Sets that reach the outputs of one equation."""
    name, params = eqn.primitive.name, eqn.params
    if name == "scan":
        n, end = params["num_consts"], params["num_consts"] + params["num_carry"]
        consts, xs, carry = sets[:n], sets[end:], sets[n:end]
        while True:
            outs = _propagate(params["jaxpr"].jaxpr, [*consts, *carry, *xs])
            grown = [a | b for a, b in zip(carry, outs)]
            if grown == carry:
                return outs
            carry = grown
    if name == "while":
        n, end = params["cond_nconsts"], params["cond_nconsts"] + params["body_nconsts"]
        first, consts, carry = sets[:n], sets[n:end], sets[end:]
        while True:
            ends = _propagate(params["cond_jaxpr"].jaxpr, [*first, *carry])[0]
            outs = _propagate(params["body_jaxpr"].jaxpr, [*consts, *carry])
            grown = [a | b | ends for a, b in zip(carry, outs)]
            if grown == carry:
                return carry
            carry = grown
    if name == "cond":
        each = [_propagate(branch.jaxpr, sets[1:]) for branch in params["branches"]]
        return [sets[0].union(*outs) for outs in zip(*each)]
    inner = next((params[k] for k in _ENTERED if k in params), None)
    inner = getattr(inner, "jaxpr", inner)
    if inner is not None and len(inner.invars) == len(sets):
        return _propagate(inner, sets)
    return [frozenset().union(*sets)] * len(eqn.outvars)


def dependencies(function, names, keys=("key",)) -> dict:
    """Which of `names` reach each entry of the dict that `function(**values)` returns.

    Args:
        function: takes a dict name -> scalar, returns a dict of scalars.
        names: the names to trace; those in `keys` are traced as random keys.
    """
    scalars = _scalars(names, keys)
    closed, shape = jax.make_jaxpr(lambda values: function(values), return_shape=True)(scalars)
    order = sorted(scalars)
    reached = _propagate(closed.jaxpr, [frozenset([n]) for n in order])
    return dict(zip(sorted(shape), reached))


def _scalars(names, keys):
    plain = jax.ShapeDtypeStruct((), jnp.result_type(float))
    key = jax.eval_shape(lambda: jax.random.key(0))
    return {n: (key if n in keys else plain) for n in names}


def affine(function, names, others) -> set:
    """Which results of `function` are affine in `names` with coefficients that `others` do not enter either.

    The Jacobian is taken symbolically: its entries may depend on parameters only.
    """

    def tangent(values):
        point = {n: values[n] for n in names}
        push = {n: values["d:" + n] for n in names}
        rest = {n: values[n] for n in others}
        return jax.jvp(lambda p: function({**p, **rest}), (point,), (push,))[1]

    reached = dependencies(tangent, [*names, *others, *("d:" + n for n in names)])
    forbidden = frozenset([*names, *others])
    return {key for key, sets in reached.items() if not sets & forbidden}


def reached(function, x) -> list[bool]:
    """Which leaves of `function(x)` depend on any leaf of x."""
    jaxpr = jax.make_jaxpr(function)(x).jaxpr
    return [bool(sets) for sets in _propagate(jaxpr, [frozenset("x")] * len(jaxpr.invars))]
