"""Compiles, registers and lowers to the native CPU form of the random numbers. Imports numba on first use."""

import ctypes
import functools
import hashlib
import threading
from pathlib import Path

import jax
import numpy as np
from jax.interpreters import mlir

from . import native, normal_table, poisson_table

KINDS = ("word", "uniform", "normal", "pair", "uniform64", "normal64", "poisson", "poisson_wide")
TARGET = "brainsim_random"
_SOURCES = (
    "call_frame.py",
    "normal_table.py",
    "parallel.py",
    "poisson_table.py",
    "random_kernels.py",
    "random_lanes.py",
    "threefry.py",
)
_LOCK = threading.Lock()


@functools.cache
def _handler():
    from . import random_kernels

    text = b"".join((Path(__file__).parent / name).read_bytes() for name in _SOURCES)
    tag = int(hashlib.sha256(text).hexdigest()[:12], 16) + 1
    handler = native._compiled(random_kernels.handler_of, tag)
    capsule = ctypes.pythonapi.PyCapsule_New
    capsule.restype, capsule.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    jax.ffi.register_ffi_target(TARGET, capsule(handler.address, None, None), platform="cpu", api_version=1)
    return handler  # kept by the cache: XLA holds the bare address


def tables(kind) -> tuple[np.ndarray, np.ndarray]:
    """What a kind looks up, as two uint32 arrays."""
    none = np.zeros(1, np.uint32)
    if kind == "normal":
        return normal_table.table32().reshape(-1), none
    if kind == "normal64":
        return normal_table.table64().reshape(-1).view(np.uint32), none
    if kind.startswith("poisson"):
        return poisson_table.constants(), poisson_table.packed_levels() if kind == "poisson_wide" else none
    return none, none


def lower(ctx, key, step, *rate, kind):
    """MLIR of one call."""
    with _LOCK:  # numba compiles one function at a time, and a name is registered once
        _handler()
    numbers = [] if rate else [np.zeros((1, 1), np.float32)]
    numbers += [np.array([KINDS.index(kind)], np.uint32), *tables(kind)]
    constants = [mlir.ir_constant(x) for x in numbers]
    avals = [*ctx.avals_in, *(jax.core.ShapedArray(x.shape, x.dtype) for x in numbers)]
    return jax.ffi.ffi_lowering(TARGET)(ctx.replace(avals_in=avals), key, step, *rate, *constants)
