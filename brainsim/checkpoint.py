"""Checkpoints: the whole state of a simulation in one file; a run that continues from it is the same bit for bit."""

import jax
import jax.numpy as jnp
import numpy as np

from .errors import FileFormatError


def shapes(tree) -> dict:
    """Path -> (shape, dtype) of every leaf: what two states of one network share."""
    return {jax.tree_util.keystr(k): (v.shape, str(v.dtype)) for k, v in jax.tree_util.tree_leaves_with_path(tree)}


def save(path, state, dt, seed):
    """Write a state.

    Raises:
        OSError: the file cannot be written; an older file stays as it was.
    """
    from .storage import save_tree

    leaves = {jax.tree_util.keystr(k): np.asarray(v) for k, v in jax.tree_util.tree_leaves_with_path(state)}
    save_tree(path, {"leaves": leaves, "dt": dt, "seed": seed}, "checkpoint")


def load(path, template, dt, seed):
    """Read a state that fits a network.

    Args:
        template: state of the network with the drives of the run, as arrays or shapes.

    Raises:
        FileFormatError: another dt or seed, or a state that belongs to another network.
    """
    from .storage import load_tree

    tree = load_tree(path, "checkpoint")
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
    extra = [n for n in found if n not in names and not n.startswith("['drives']")]
    if extra:
        raise FileFormatError(
            f"{path}: holds state{extra[0]}, which this network does not have; is it the same network?"
        )
    return jax.tree.unflatten(jax.tree.structure(template), [jnp.asarray(found[name]) for name, _ in wanted])
