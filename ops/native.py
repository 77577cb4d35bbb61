"""Native CPU form: compiles, registers and lowers to the numba handlers of `kernels.py`. Imports numba on first use."""

import ctypes
import functools
import hashlib
import re
import sys
import threading
from pathlib import Path

import jax
import numpy as np

from . import parallel

# dtype name -> (XLA_FFI_DataType code, numba scalar type, unsigned type of that size, bits that make it non-zero)
_STORED = {
    "bool": (1, np.uint8, np.uint8, 0xFF),
    "float32": (11, np.float32, np.uint32, 0x7FFFFFFF),
    "float64": (12, np.float64, np.uint64, 0x7FFFFFFFFFFFFFFF),
    "bfloat16": (16, np.uint16, np.uint16, 0x7FFF),
}


_SOURCES = ("call_frame.py", "kernel_rows.py", "kernels.py", "list_kernels.py", "parallel.py")


@functools.cache
def why_not() -> str:
    """Reason why the native form cannot be used here; empty where it can. Imports numba."""
    try:
        import numba  # noqa: F401
    except Exception as problem:
        return f"numba does not import ({type(problem).__name__}: {problem}); install it: pip install 'numba>=0.61'"
    try:
        major, minor = api_version()
    except (OSError, ValueError) as problem:
        return f"the FFI header of jaxlib cannot be read ({problem})"
    if major != 0:
        return f"jaxlib speaks FFI {major}.{minor}; the handlers know the call frame of 0.x"
    return ""


@functools.cache
def api_version() -> tuple[int, int]:
    """(major, minor) of the XLA FFI of the installed jaxlib, from its header."""
    text = (Path(jax.ffi.include_dir()) / "xla" / "ffi" / "api" / "c_api.h").read_text()
    found = [re.search(rf"#define XLA_FFI_API_{part} (\d+)", text) for part in ("MAJOR", "MINOR")]
    if None in found:
        raise ValueError("c_api.h does not define XLA_FFI_API_MAJOR and XLA_FFI_API_MINOR")
    return int(found[0][1]), int(found[1][1])


@functools.cache
def _tag() -> int:
    """Number that changes with the sources: numba's own stamp sees only the file of the handler."""
    folder = Path(__file__).parent
    text = b"".join((folder / name).read_bytes() for name in _SOURCES)
    return int(hashlib.sha256(text).hexdigest()[:12], 16) + 1


def _compiled(make, *spec):
    """A handler from its factory; compiled anew in every process where numba finds no folder for its cache."""
    from numba import cfunc

    parallel.address()  # the handlers call it by name
    try:
        return make(*spec, *api_version(), _tag())
    except RuntimeError as problem:
        if "cache" not in str(problem):
            raise
    module = sys.modules[make.__module__]
    module.cfunc = functools.partial(_uncached, cfunc)
    try:
        return make(*spec, *api_version(), _tag())
    finally:
        module.cfunc = cfunc


def _uncached(cfunc, signature, cache, **options):
    return cfunc(signature, **options)


def target(operator: str, *dtypes: str) -> str:
    """Name of the registered FFI target of an operator for the dtypes that its buffers may have."""
    name = "_".join(("brainsim", operator, *dtypes))
    with _LOCK:  # numba compiles one function at a time, and a name is registered once
        if name not in _HANDLERS:
            _HANDLERS[name] = _register(name, operator, dtypes)
    return name


def _register(name, operator, dtypes):
    handler = _of_list(operator, *dtypes) if operator in _LISTS else _of_vector(operator, *dtypes)
    capsule = ctypes.pythonapi.PyCapsule_New
    capsule.restype, capsule.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    jax.ffi.register_ffi_target(name, capsule(handler.address, None, None), platform="cpu", api_version=1)
    return handler


def _of_vector(operator, first, second, out):
    """Handler of a primitive of `primitives.py` for the dtypes of its two factors and its result."""
    from . import kernels

    a_code, a_type, a_bits, a_mask = _STORED[first]
    b_code, b_type, _, _ = _STORED[second]
    out_code, out_type, _, _ = _STORED[out]
    if operator in ("scatter", "deliver"):
        spec = ((a_code, b_code, out_code), a_type, a_bits, a_mask, b_type, out_type, operator == "deliver")
        return _compiled(kernels.scatter_handler, *spec)
    if operator == "gather":
        return _compiled(kernels.gather_handler, (out_code, b_code), b_type, out_type)
    return _compiled(kernels.outer_handler, (a_code, out_code), a_type, a_bits, a_mask, out_type)


_LISTS = ("compact", "push_list", "append_list", "deliver_list")


def _of_list(operator, first, out=None):
    """Handler of a primitive of `list_primitives.py` for the dtype of its spikes, or of its weights and its ring."""
    from . import list_kernels

    code, stored, bits, mask = _STORED[first]
    if operator == "deliver_list":
        out_code, out_type, _, _ = _STORED[out]
        return _compiled(list_kernels.deliver_list_handler, (code, out_code), stored, out_type)
    return _compiled(getattr(list_kernels, f"{operator}_handler"), code, bits, mask)


_LOCK = threading.Lock()
_HANDLERS = {}  # XLA holds bare addresses: the compiled code must live as long as the process


def lower(operator: str, ctx, *operands):
    """MLIR of one call; `deliver` gives its ring (operand 7) and its result the same memory."""
    dtypes = ctx.avals_in[0].dtype.name, ctx.avals_in[1].dtype.name, ctx.avals_out[0].dtype.name
    return call(operator, dtypes, {7: 0} if operator == "deliver" else None, ctx, *operands)


def call(operator: str, dtypes, aliases, ctx, *operands, **attributes):
    """MLIR of one call of a handler; `aliases`: operand number -> number of the result with the same memory."""
    attributes = {name: np.int64(value) for name, value in attributes.items()}
    name = target(operator, *dtypes)
    return jax.ffi.ffi_lowering(name, operand_output_aliases=aliases)(ctx, *operands, **attributes)
