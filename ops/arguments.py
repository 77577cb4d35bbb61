"""Checks of operator arguments while tracing: shape, dtype, length. Every refusal is a ValueError in three parts."""

import jax
import jax.numpy as jnp
import numpy as np

FLOATS = ("float32", "float64")
WEIGHTS = (*FLOATS, "bfloat16")


def refuse(what, given, why, instead):
    raise ValueError(f"{what}: {given}, but {why}; {instead}")


def width(dtype):
    return {"bfloat16": 2, "float32": 4, "float64": 8}.get(np.dtype(dtype).name, 0)


def array(what, name, value, dtypes, ndim):
    """`value` as a jax array of one of the dtypes and this rank. Its own dtype is judged, before jax narrows it."""
    own = value.dtype if hasattr(value, "dtype") else np.asarray(value).dtype
    if own.name not in dtypes:
        refuse(
            what,
            f"{name} has dtype {own.name}",
            f"it must be {' or '.join(dtypes)}",
            f"convert once, outside the loop: {name}.astype({dtypes[0]!r})",
        )
    value = jnp.asarray(value)
    if value.ndim != ndim:
        axes = {0: "a scalar", 1: "one axis", 2: "two axes"}[ndim]
        refuse(what, f"{name} has shape {value.shape}", f"it must have {axes}", "use jax.vmap for batches")
    return value


def size(what, n, name="n_post"):
    try:
        n = int(n.__index__())
    except (AttributeError, TypeError, jax.errors.TracerIntegerConversionError):
        refuse(what, f"{name} is {n!r}", "shapes are static", "pass a Python int")
    if n < 0:
        refuse(what, f"{name} is {n}", "a number is not negative", "pass 0 or more")
    return n


def graph_of(what, indptr, indices):
    indptr = array(what, "indptr", indptr, ("int32",), 1)
    if indptr.shape[0] == 0:
        refuse(what, "indptr is empty", "it has one entry more than rows", "pass [0] for no rows")
    return indptr, array(what, "indices", indices, ("int32",), 1)


def rows_of(what, name, value, indptr, dtypes):
    value = array(what, name, value, dtypes, 1)
    if value.shape[0] != indptr.shape[0] - 1:
        refuse(
            what,
            f"{name} has length {value.shape[0]}",
            f"indptr describes {indptr.shape[0] - 1} rows",
            f"pass {name} of shape (len(indptr) - 1,)",
        )
    return value


def weights_of(what, value, indices, like):
    """(1,) or (n_edges,) weights; a Python number or weakly typed scalar takes the float dtype of `like`."""
    weak = isinstance(value, (int, float)) or getattr(getattr(value, "aval", None), "weak_type", False)
    if weak:
        value = jnp.asarray(value, like.dtype if like.dtype != bool else jnp.result_type(float))
    own = value.dtype if hasattr(value, "dtype") else np.asarray(value).dtype
    if own.name not in WEIGHTS:
        refuse(
            what,
            f"weights have dtype {own.name}",
            f"they must be {' or '.join(WEIGHTS)}",
            "convert once, outside the loop: weights.astype('float32')",
        )
    value = jnp.asarray(value)
    if value.shape not in ((), indices.shape):
        refuse(
            what,
            f"weights have shape {value.shape}",
            f"there are {indices.shape[0]} edges",
            f"pass a scalar of shape () or one weight per edge, shape {indices.shape}",
        )
    return value.reshape(1) if value.ndim == 0 else value


def ring_of(what, ring):
    ring = array(what, "ring", ring, FLOATS, 2)
    if ring.shape[0] == 0:
        refuse(what, f"ring has shape {ring.shape}", "it needs a slot", "make n_slots the largest delay + 1")
    if ring.shape[0] * ring.shape[1] > 2**31 - 1:
        refuse(what, f"ring has shape {ring.shape}", "it has more than 2**31 - 1 cells", "split the targets")
    return ring


def not_wider(what, name, value, like):
    if width(value.dtype) > width(like.dtype):
        refuse(
            what,
            f"{name} are {value.dtype.name}",
            f"the values they meet are {like.dtype.name}",
            f"convert once, outside the loop: {name}.astype({like.dtype.name!r})",
        )


def delays_of(what, delays, indices):
    if delays is None:
        return jnp.zeros((0,), jnp.int32)
    delays = array(what, "delays", delays, ("int32",), 1)
    if delays.shape != indices.shape:
        refuse(
            what,
            f"delays have length {delays.shape[0]}",
            f"there are {indices.shape[0]} edges",
            "pass one delay per edge, or None with indices from pack_edges",
        )
    return delays


def step_of(what, step):
    if isinstance(step, int):
        if not -(2**31) <= step < 2**31:
            refuse(what, f"step is {step}", "it must fit int32", "pass it modulo the number of slots")
        return jnp.asarray(step, jnp.int32)
    if getattr(getattr(step, "aval", None), "weak_type", False):
        step = step.astype(jnp.int32)
    return array(what, "step", step, ("int32",), 0)


def active_of(what, active, n_rows):
    """(n_rows,) bool, or (0,) for all."""
    if active is None:
        return jnp.zeros((0,), bool)
    active = array(what, "active", active, ("bool",), 1)
    if active.shape[0] != n_rows:
        refuse(what, f"active has length {active.shape[0]}", f"there are {n_rows} rows", "pass one bool per row")
    return active


def result_dtypes(spikes, weights):
    """(dtype of the result, dtype of the sums) of spikes over weights."""
    wider = np.dtype(max(spikes.dtype, weights.dtype, key=width))
    stated = weights.dtype if spikes.dtype == bool else wider
    return stated, np.dtype("float32") if stated == jnp.bfloat16 else stated
