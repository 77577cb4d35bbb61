"""The native CPU form of the random numbers: what its handler looks up, and its calls."""

import jax
import numpy as np
from jax.interpreters import mlir

from . import native, normal_table, poisson_table

KINDS = ("word", "uniform", "normal", "pair", "uniform64", "normal64", "poisson", "poisson_wide")


def tables(kind) -> tuple[np.ndarray, np.ndarray]:
    """What a kind looks up, as two uint32 arrays."""
    none = np.zeros(1, np.uint32)
    if kind == "normal":
        return normal_table.packed32(), none
    if kind == "normal64":
        return normal_table.table64().reshape(-1).view(np.uint32), none
    if kind.startswith("poisson"):
        return poisson_table.constants(), poisson_table.packed_levels() if kind == "poisson_wide" else none
    return none, none


def lower(ctx, key, step, *rate, kind):
    """MLIR of one call."""
    numbers = [] if rate else [np.zeros((1, 1), np.float32)]
    numbers += [np.array([KINDS.index(kind)], np.uint32), *tables(kind)]
    avals = [*ctx.avals_in, *(jax.core.ShapedArray(x.shape, x.dtype) for x in numbers)]
    operands = key, step, *rate, *(mlir.ir_constant(x) for x in numbers)
    return native.lower("random_kernels", "random", ctx.replace(avals_in=avals), *operands, dtypes=())
