"""Whether a state is finite, and if not, what went wrong where."""

import jax
import jax.numpy as jnp
import numpy as np

from .program import Program


def finite(state):
    """Whether every float of the cells, synapses and edges is finite."""
    every = jax.tree.leaves((state["z"], state["edges"], state["plastic"]))
    leaves = [x for x in every if jnp.issubdtype(x.dtype, jnp.floating)]
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(x)) for x in leaves])) if leaves else jnp.asarray(True)


def which_is_not(program: Program, state) -> str:
    """Names the first variable that is not finite, its value and its first cells."""
    tags = {s.tag: s for s in program.layout.slots} | {t.tag: t for t in program.layout.terminals}
    for g in program.groups:
        for key, values in state["z"][g.index].items():
            bad = np.flatnonzero(~np.isfinite(np.asarray(values)))
            if not len(bad):
                continue
            for m in g.members:
                here = bad[(bad >= m.start) & (bad < m.stop)] - m.start
                if len(here):
                    tag, _, name = key.rpartition("/")
                    owner = tags[tag].projections[0] if tag else m.name
                    value = "nan" if np.isnan(np.asarray(values)[here[0] + m.start]) else "infinite"
                    cells = ", ".join(map(str, here[:3])) + (", ..." if len(here) > 3 else "")
                    return f"{owner}.{name} became {value} in cells {cells}"
    for e in program.edge_blocks:
        for key, values in state["edges"][e.tag].items():
            bad = np.flatnonzero(~np.isfinite(np.asarray(values)))
            if len(bad):
                return f"{e.projection}.{key} became non-finite on edges {', '.join(map(str, bad[:3]))}"
    for x in program.learners:
        bad = np.flatnonzero(~np.isfinite(np.asarray(state["plastic"][x.tag]["w"])))
        if len(bad):
            return f"{x.projection}.w became non-finite on edges {', '.join(map(str, bad[:3]))}"
    return "a state became non-finite"
