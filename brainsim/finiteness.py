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
                    value = _word(np.asarray(values)[here[0] + m.start])
                    return f"{owner}.{name} became {value} in cells {_listed(here)}"
    for e in program.edge_blocks:
        for key, values in state["edges"][e.tag].items():
            bad = np.flatnonzero(~np.isfinite(np.asarray(values)))
            if len(bad):
                return f"{e.projection}.{key} became non-finite on edges {', '.join(map(str, bad[:3]))}"
    for x in program.learners:
        found = _of_learner(x, state["plastic"][x.tag])
        if found:
            return found
    return "a state became non-finite"


def _of_learner(learner, state) -> str | None:
    """The first variable of a plastic projection that is not finite: states of its rules, then its weights."""
    name = learner.projection
    for k, rule in enumerate(learner.rules):
        for n, spec in rule.cls.__states__.items():
            bad = _bad(state["rules"][str(k)][n])
            if len(bad):
                value = _word(np.ravel(state["rules"][str(k)][n])[bad[0]])
                place = {"pre": f" in source cells {_listed(bad)}", "post": f" in target cells {_listed(bad)}"}
                place["edge"] = f" on edges {_listed(bad)}"
                return f"{name}.{n}, a state of the rule {rule.cls.__name__}, became {value}{place.get(spec.on, '')}"
    bad = _bad(state["w"])
    if len(bad):
        by = " and ".join(rule.cls.__name__ for rule in learner.rules)
        value = _word(np.asarray(state["w"])[bad[0]])
        return f"{name}.w, which {by or 'rewiring'} changes, became {value} on edges {_listed(bad)}"
    for key, what in (("rest", "the change of resting edges"), ("inbox", "what spikes deliver"), ("past", "a history")):
        if any(len(_bad(x)) for x in jax.tree.leaves(state.get(key, {}))):
            return f"{name}: {what} became non-finite"
    return None


def _bad(values):
    values = np.ravel(np.asarray(values))
    return np.flatnonzero(~np.isfinite(values)) if np.issubdtype(values.dtype, np.floating) else np.zeros(0, int)


def _word(value):
    return "nan" if np.isnan(value) else "infinite"


def _listed(numbers):
    return ", ".join(map(str, numbers[:3])) + (", ..." if len(numbers) > 3 else "")
