"""The spikes of the last steps, in the form that suits a run.

Between runs a state keeps them as floats, one row per step. So does a traced run, because derivatives flow through
them, with a second array that says which of them have a derivative at all. A host run keeps one byte per cell and step,
or, for large networks, the list of the cells that fired.
"""

from functools import partial

import jax
import jax.numpy as jnp

from . import ops
from .ops.dispatch import chosen
from .program import dtype


def counter(ready, state) -> str:
    """The narrowest integer that holds every count of refractory steps: counts are read and written in every step."""
    counts = [*ready["refractory"].values(), *state["refractory"].values()]
    most = max((int(jnp.max(x)) for x in counts), default=0)
    return next(name for name in ("int8", "int16", "int32") if most <= jnp.iinfo(name).max)


def _counted(state, kind):
    return {**state, "refractory": {g: x.astype(kind) for g, x in state["refractory"].items()}}


@partial(jax.jit, static_argnums=(0, 2))
def enter(program, state, kind="int32"):
    """The state of a host run from a state between runs; `kind`: of the refractory counts."""
    state = _counted(state, kind)
    if "spikes" not in state["history"] or program.smooth:
        return state
    hit = state["history"]["spikes"] > 0.5
    history = {**state["history"], "spikes": hit}
    if not keeps_lists(program):
        return {**state, "history": history}
    listed = jax.vmap(ops.compact)(hit)
    if not program.edge_blocks and not program.learners:
        del history["spikes"]
    return {**state, "history": {**history, "ids": listed.ids, "counts": listed.count}}


def keeps_lists(program) -> bool:
    """Whether a host run that is traced now keeps lists of spikes: native code makes them fast."""
    return program.lists and chosen(jax.default_backend()) == "native"


@partial(jax.jit, static_argnums=0)
def leave(program, state):
    """The state between runs from that of a host run."""
    state = _counted(state, "int32")
    history = {k: v for k, v in state["history"].items() if k not in ("ids", "counts")}
    if "ids" in state["history"] and "spikes" not in history:
        ids, counts = state["history"]["ids"], state["history"]["counts"]
        n = ids.shape[1]
        valid = jnp.where(jnp.arange(n)[None, :] < counts[:, None], ids, n)
        rows = jnp.arange(ids.shape[0])[:, None]
        history["spikes"] = jnp.zeros(ids.shape, dtype()).at[rows, valid].set(1.0, mode="drop")
    if "spikes" in history:
        history["spikes"] = history["spikes"].astype(dtype())
    return {**state, "history": history}


def track(state):
    """The state of a traced run: with the cells whose spikes have a derivative; before the run that is all of them."""
    history = state["history"]
    if "spikes" not in history:
        return state
    return {**state, "history": {**history, "active": jnp.ones(history["spikes"].shape, bool)}}


def untrack(state):
    return {**state, "history": {k: v for k, v in state["history"].items() if k != "active"}}


def remember(history, spikes, active, now) -> dict:
    """The history with the spikes of this step; `active` may be None."""
    out = dict(history)
    if "spikes" in out:
        out["spikes"] = push(out["spikes"], spikes, now)
    if "active" in out:
        out["active"] = push(out["active"], active, now)
    if "ids" in out:
        out["ids"], out["counts"] = ops.push_list(out["ids"], out["counts"], spikes, now)
    return out


def push(history, row, now):
    if history.shape[0] == 1:
        return row[None]
    return jax.lax.dynamic_update_index_in_dim(history, row, jnp.mod(now, history.shape[0]), 0)
