"""Compiles and registers the numba handlers of any `*_kernels.py`. Imports numba on first use.

A factory `make(first, second, out, extra..., major, minor, tag)` returns the handler; first, second, out are what
`stored` says of a dtype. See `kernels.py` for what its closure may hold.
"""

import ctypes
import functools
import hashlib
import importlib
import threading
from pathlib import Path

import jax

from . import native

SHARED = ("call_frame.py", "kernel_rows.py", "kernel_frame.py")
_LOCK = threading.Lock()
_HANDLERS = {}  # XLA holds bare addresses: the compiled code must live as long as the process


def stored(dtype):
    """(XLA_FFI_DataType code, numba type, unsigned type of that size, bits that make it non-zero) of a dtype name."""
    return native._STORED[dtype]


@functools.cache
def _tag(module: str) -> int:
    """Number that changes with the sources: numba's own stamp sees only the file of the handler."""
    folder = Path(__file__).parent
    text = b"".join((folder / name).read_bytes() for name in (*SHARED, f"{module}.py"))
    return int(hashlib.sha256(text).hexdigest()[:12], 16) + 1


def _compiled(module, maker, *spec):
    """A handler from its factory; compiled anew in every process where numba finds no folder for its cache."""
    kernels = importlib.import_module(f".{module}", __package__)
    make, last = getattr(kernels, maker), (*native.api_version(), _tag(module))
    try:
        return make(*spec, *last)
    except RuntimeError as problem:
        if "cache" not in str(problem):
            raise
    cached = kernels.cfunc
    kernels.cfunc = lambda signature, cache, **options: cached(signature, **options)
    try:
        return make(*spec, *last)
    finally:
        kernels.cfunc = cached


def target(module: str, maker: str, dtypes: tuple[str, ...], extra: tuple[int, ...] = ()) -> str:
    """Name of the registered FFI target of one factory for the dtypes of its buffers."""
    name = "_".join(("brainsim", module.removesuffix("_kernels"), maker, *dtypes, *map(str, extra)))
    with _LOCK:  # a name is registered once
        if name not in _HANDLERS:
            handler = _compiled(module, maker, *(stored(d) for d in dtypes), *extra)
            new = ctypes.pythonapi.PyCapsule_New
            new.restype, new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
            jax.ffi.register_ffi_target(name, new(handler.address, None, None), platform="cpu", api_version=1)
            _HANDLERS[name] = handler
    return name


def lower(module, maker, ctx, *operands, extra=(), aliases=None):
    """MLIR of one call; the handler is made for the dtypes of the first two operands and of the first result."""
    dtypes = (*(a.dtype.name for a in ctx.avals_in[:2]), ctx.avals_out[0].dtype.name)
    name = target(module, maker, dtypes, tuple(extra))
    return jax.ffi.ffi_lowering(name, operand_output_aliases=aliases)(ctx, *operands)
