"""Gradients that go forward with the run, for losses that are sums over steps: memory does not grow with the run.

slope = online.value_and_grad(sim, loss, ["in->rec.weight", "rec.tau"], 1000.0, adjoint=bs.adjoint.DRTRL())
value, gradient = jax.jit(slope)(params)
"""

import jax
import jax.numpy as jnp

from ..adjoint import DRTRL, ESDRTRL, SLTT
from ..checks import merge
from ..errors import RunError
from ..feeds import drives_of, seed_words
from ..names import match
from ..program import dtype
from . import online_spatial
from .online_checks import check
from .online_frame import Frame


def value_and_grad(sim, loss, names, duration, *, adjoint=None):
    """The function of parameters that runs a simulation and returns a loss and its gradient, both made while it runs.

    The loss is the sum over the steps of `loss(seen, k, *rest)`, a scalar: `seen` maps the names of the records, as in
    `compile`, to their values at the end of step k (of every step, whatever their interval), (n,) each; spikes are
    floats. Records of states, spikes and rates can be used.

    Args:
        sim: compiled network.
        loss: see above.
        names: parameters to differentiate by, wildcards allowed: weights of projections of spikes with any delays;
            parameters of cells and synapses, one value for all or one per cell; initial values.
        duration: ms.
        adjoint: `DRTRL()` (default), `ESDRTRL(decay)` or `SLTT()`.

    Returns:
        f(params=None, *rest, inputs=None, state=None, key=0) -> (loss, dict name -> gradient), with the arguments of
        `sim.run`, and `rest` for `loss`. To be put under `jax.jit`; works under `vmap`.

        A step of DRTRL takes one derivative of the step for every state of a cell, every receiver and every parameter
        that is no array of weights; memory is (states of a cell + readouts times their states) numbers per edge, for
        ESDRTRL per target and projection.

    Raises:
        RunError: another adjoint; couplings, edges or rules that these derivatives do not cover.
        UnknownNameError: a name that fits no parameter.
    """
    adjoint = DRTRL() if adjoint is None else adjoint
    if not isinstance(adjoint, DRTRL | ESDRTRL | SLTT):
        raise RunError(
            f"adjoint = {adjoint!r} does not go forward with the run; write DRTRL(), ESDRTRL() or SLTT(), or "
            f"differentiate sim.run(..., adjoint={adjoint!r})"
        )
    patterns = [names] if isinstance(names, str) else list(names)
    names = list(dict.fromkeys(n for pattern in patterns for n in match(pattern, sim.params, "parameter")))
    check(sim, names, adjoint)
    n = sim._steps(duration)
    run = online_spatial.run if isinstance(adjoint, SLTT) else _run

    def f(params=None, *rest, inputs=None, state=None, key=0):
        params = merge(sim.network, sim.program, sim.specs, sim.params, params)
        known = state is not None and not isinstance(state["step"], jax.core.Tracer)
        drives = drives_of(sim.program, sim.feeds, inputs, params, int(state["step"]) if known else 0, n)
        one = lambda seen, k: loss(seen, k, *rest)
        return run(sim, one, names, n, adjoint, params, drives, state, seed_words(key))

    return f


def _run(sim, loss, names, n, adjoint, params, drives, state, seed):
    """Eligibilities step by step; see `online_frame.py`."""
    frame = Frame(sim, names, adjoint, params, drives, state, seed)

    def step(carry, k):
        online, total = carry
        online, value = frame.step(online, lambda seen: loss(seen, k))
        return (online, total + value), None

    (online, total), _ = jax.lax.scan(step, (frame.begin(), jnp.zeros((), dtype())), jnp.arange(n))
    return total, frame.collect(online)
