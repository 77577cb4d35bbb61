"""Nested dicts of arrays in a file, bit for bit: checkpoints, tables, summaries."""

import json

import numpy as np

from .errors import FileFormatError, ParameterError
from .hdf5 import child, escape, read, reading, unescape, write, writing

PLAIN = (bool, int, float, str, type(None))
CONTAINERS = {"dict": dict, "list": list, "tuple": tuple}


def write_tree(group, tree) -> None:
    """Write a dict, list or tuple into an open HDF5 group; see `save_tree`."""
    kind = next((k for k, c in CONTAINERS.items() if isinstance(tree, c)), None)
    if kind is None:
        raise ParameterError(f"a tree is a dict, list or tuple; got {type(tree).__name__}")
    group.attrs["tree"] = kind
    items = tree.items() if kind == "dict" else ((f"{i:06d}", x) for i, x in enumerate(tree))
    for key, value in items:
        name = escape(key)
        if isinstance(value, dict | list | tuple):
            write_tree(group.create_group(name, track_order=True), value)
        else:
            _write_leaf(group, name, value)


def _write_leaf(group, name, value):
    if isinstance(value, PLAIN) and not isinstance(value, np.generic):
        group.create_dataset(name, data=json.dumps(value)).attrs["leaf"] = "json"
        return
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as error:
        raise ParameterError(f"{group.name}/{name}: {type(value).__name__} is no array: {error}") from error
    if array.dtype == object:
        raise ParameterError(
            f"{group.name}/{name}: {type(value).__name__} cannot be saved; give arrays, numbers or text"
        )
    write(group, name, array).attrs["leaf"] = "scalar" if isinstance(value, np.generic) else "array"


def read_tree(group):
    """The inverse of `write_tree`."""
    kind = group.attrs.get("tree")
    if kind not in CONTAINERS:
        raise FileFormatError(f"{group.file.filename}: {group.name} has tree = {kind!r}, not dict, list or tuple")
    values = {unescape(name): _read_node(group, name) for name in group}
    return values if kind == "dict" else CONTAINERS[kind](values[k] for k in sorted(values))


def _read_node(group, name):
    node = child(group, name)
    if "tree" in node.attrs:
        return read_tree(node)
    leaf = node.attrs.get("leaf")
    if leaf == "json":
        return json.loads(node.asstr()[()])
    values = read(group, name)
    return values[()] if leaf == "scalar" else values


def save_tree(path, tree: dict, kind: str) -> None:
    """Write a nested dict to an HDF5 file that is either whole or absent.

    Args:
        path: the file; an existing one is replaced when the new one is complete.
        tree: dicts (keys are text), lists and tuples of arrays of any numeric dtype and shape, bools, ints, floats,
            text and None. All come back with the same type, dtype, shape and bits; JAX arrays come back as NumPy.
        kind: what it is, for example "checkpoint"; `load_tree` checks it.
    """
    with writing(path, kind) as file:
        write_tree(file.create_group("tree", track_order=True), tree)


def load_tree(path, kind: str | None = None) -> dict:
    """Read what `save_tree` wrote; `kind` must match unless it is None."""
    with reading(path, kind) as file:
        return read_tree(child(file, "tree"))
