"""What an equation depends on, read from its jaxpr: which names reach which result, and whether it is linear."""

import jax
import jax.numpy as jnp
from jax.extend.core import Literal

_ENTERED = ("jaxpr", "call_jaxpr", "fun_jaxpr")


def _propagate(jaxpr, known):
    """Sets of input names that reach each output of a jaxpr; calls are entered, loops are taken as a whole."""
    env = dict(zip(jaxpr.invars, known))
    read = lambda v: frozenset() if isinstance(v, Literal) else env.get(v, frozenset())
    for eqn in jaxpr.eqns:
        sets = [read(v) for v in eqn.invars]
        inner = next((eqn.params[k] for k in _ENTERED if k in eqn.params), None)
        inner = getattr(inner, "jaxpr", inner)
        if inner is not None and len(inner.invars) == len(sets) and eqn.primitive.name not in ("scan", "while"):
            outs = _propagate(inner, sets)
        else:
            outs = [frozenset().union(*sets)] * len(eqn.outvars)
        env.update(zip(eqn.outvars, outs))
    return [read(v) for v in jaxpr.outvars]


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
    moving = set(jaxpr.invars)
    for eqn in jaxpr.eqns:
        if any(v in moving for v in eqn.invars if not isinstance(v, Literal)):
            moving.update(eqn.outvars)
    return [not isinstance(v, Literal) and v in moving for v in jaxpr.outvars]
