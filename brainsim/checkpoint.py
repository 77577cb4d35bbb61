"""Checkpoints: the whole state of a simulation in one file; a run that continues from it is the same bit for bit."""

from itertools import zip_longest

import jax
import jax.numpy as jnp
import numpy as np

from .checks import check_state
from .errors import FileFormatError


def shapes(tree) -> dict:
    """Path -> (shape, dtype) of every leaf: what two states of one network share."""
    return {jax.tree_util.keystr(k): (v.shape, str(v.dtype)) for k, v in jax.tree_util.tree_leaves_with_path(tree)}


def parts(program) -> list[str]:
    """What a network consists of: "exc (100 LIF)", "exc->exc (Delta)", "in->exc (Delta, learns by STDP)"."""
    cells = [f"{m.name} ({m.n} {g.model.__name__})" for g in program.groups for m in g.members]
    by = {x.projection: " and ".join(rule.cls.__name__ for rule in x.rules) for x in program.learners}
    learns = {name: f", learns by {rules}" if rules else ", rewires" for name, rules in by.items()}
    return cells + [f"{name} ({cls.__name__}{learns.get(name, '')})" for name, (cls, _) in program.weights.items()]


def save(path, state, program):
    """Write a state.

    Raises:
        OSError: the file cannot be written; an older file stays as it was.
    """
    from .storage import save_tree

    leaves = {jax.tree_util.keystr(k): np.asarray(v) for k, v in jax.tree_util.tree_leaves_with_path(state)}
    save_tree(
        path,
        {"leaves": leaves, "dt": program.dt, "seed": program.seed, "parts": "\n".join(parts(program))},
        "checkpoint",
    )


def load(path, template, program):
    """Read a state that fits a network.

    Args:
        template: state of the network with the drives of the run, as arrays or shapes.

    Raises:
        FileFormatError: another dt or seed, a state that belongs to another network, or plastic weights outside of the
            bounds of this one.
    """
    from .storage import load_tree

    tree, dt, seed = load_tree(path, "checkpoint"), program.dt, program.seed
    for there, here in zip_longest(tree["parts"].split("\n"), parts(program), fillvalue="nothing"):
        if there != here:
            raise FileFormatError(f"{path}: made by another network: it has {there} where this one has {here}")
    if tree["dt"] != dt or tree["seed"] != seed:
        raise FileFormatError(
            f"{path}: made with dt = {tree['dt']:g} ms and seed {tree['seed']}, this simulation has {dt:g} and {seed}"
        )
    found = tree["leaves"]
    wanted = [(jax.tree_util.keystr(k), leaf) for k, leaf in jax.tree_util.tree_leaves_with_path(template)]
    for name, leaf in wanted:
        if name not in found:
            hint = "; give restore() the inputs of the run that made it" if name.startswith("['drives']") else ""
            raise FileFormatError(f"{path}: has no state{name}; is it the same network?{hint}")
        if (found[name].shape, found[name].dtype) != (leaf.shape, leaf.dtype):
            raise FileFormatError(
                f"{path}: state{name} is {found[name].dtype}{found[name].shape} in the file, but "
                f"{leaf.dtype}{leaf.shape} here; is it the same network?"
            )
    names = {name for name, _ in wanted}
    extra = [n for n in found if n not in names]
    if extra and extra[0].startswith("['drives']"):
        raise FileFormatError(
            f"{path}: holds state{extra[0]} of an input; give restore() the inputs of the run that made it"
        )
    if extra:
        raise FileFormatError(
            f"{path}: holds state{extra[0]}, which this network does not have; is it the same network?"
        )
    state = jax.tree.unflatten(jax.tree.structure(template), [jnp.asarray(found[name]) for name, _ in wanted])
    check_state(program, state, f"{path}: ", FileFormatError)
    return state
