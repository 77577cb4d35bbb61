"""Native CPU handlers: compiled, cached on disk, and registered with XLA's FFI. Imports numba when first used.

The machine code of a handler comes from one of two sources: a factory in a `*_kernels.py`, compiled by numba
(`target`), or LLVM IR that was emitted for one kernel (`register`, called by `emit.py`).
"""

import ctypes
import functools
import hashlib
import importlib
import re
import threading
from pathlib import Path

import jax
import numpy as np

from . import parallel

# dtype name -> (XLA_FFI_DataType code, numba scalar type, unsigned type of that size, bits that make it non-zero)
STORED = {
    "bool": (1, np.uint8, np.uint8, 0xFF),
    "float32": (11, np.float32, np.uint32, 0x7FFFFFFF),
    "float64": (12, np.float64, np.uint64, 0x7FFFFFFFFFFFFFFF),
    "bfloat16": (16, np.uint16, np.uint16, 0x7FFF),
}
IMPORTS = re.compile(r"^from \.(\w*) import (\([^)]*\)|[^#\n]*)", re.MULTILINE)

_LOCK = threading.Lock()
_HANDLERS = {}  # name -> owner of the machine code: XLA holds bare addresses, so it must live as long as the process


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


def register(name: str, source) -> str:
    """Register an FFI target once. `source()` returns (owner of the machine code, address of the handler)."""
    with _LOCK:  # numba compiles one function at a time, and a name is registered once
        if name not in _HANDLERS:
            owner, address = source()
            capsule = ctypes.pythonapi.PyCapsule_New
            capsule.restype, capsule.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
            jax.ffi.register_ffi_target(name, capsule(address, None, None), platform="cpu", api_version=1)
            _HANDLERS[name] = owner
    return name


def target(module: str, operator: str, dtypes=(), extra=()) -> str:
    """Name of the registered FFI target of an operator for the dtypes that its buffers may have.

    The factory of that name in `module` takes what `STORED` says of every dtype, then `extra` (ints), then the version
    of the FFI and a number that stands for its name and sources; it returns the handler as a Python function of the
    call frame. Its closure may hold what numba can hash: numbers and numpy scalar types, but no jitted function.
    """
    name = "_".join(("brainsim", operator, *dtypes, *map(str, extra)))
    spec = *(STORED[d] for d in dtypes), *extra

    def compiled():
        handler = _compiled(name, module, operator, spec)
        return handler, handler.address

    return register(name, compiled)


def callee(name: str, module: str, operator: str) -> str:
    """The name by which emitted code calls a compiled function of int64 words that is no handler of its own."""
    import llvmlite.binding as llvm

    with _LOCK:
        if name not in _HANDLERS:
            _HANDLERS[name] = _compiled(name, module, operator, ())
            llvm.add_symbol(name, _HANDLERS[name].address)
    return name


def _compiled(name, module, operator, spec):
    """A handler from its factory; compiled anew in every process where numba finds no folder for its cache."""
    from numba import cfunc, types

    parallel.address()  # the handlers call it by name
    make = getattr(importlib.import_module(f".{module}", __package__), operator)
    function = make(*spec, *api_version(), _tag(name, module))
    # Part of the names of its files in numba's cache, which does not guard a file against two processes that compile
    # different functions into it.
    function.__qualname__ = name
    compile_with = functools.partial(cfunc, types.intp(types.CPointer(types.int64)), error_model="numpy")
    try:
        return compile_with(cache=True)(function)
    except RuntimeError as problem:
        if "cache" not in str(problem):
            raise
    return compile_with()(function)


def _tag(name, module) -> int:
    """Number of a handler that changes with its sources: numba's own stamp sees only the file of the handler."""
    text = name + "".join(_text(file) for file in sorted(_sources(module)))
    return int(hashlib.sha256(text.encode()).hexdigest()[:12], 16) + 1


def _sources(module):
    """Names of the files of this folder that a module is made of: its own and those that it imports."""
    found, left = set(), [module]
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            for parent, names in IMPORTS.findall(_text(name)):
                left += [parent] if parent else re.findall(r"(\w+)(?: as \w+)?", names)
    return found


@functools.cache
def _text(module) -> str:
    return (Path(__file__).parent / f"{module}.py").read_text()


def lower(module, operator, ctx, *operands, dtypes=None, extra=(), aliases=None, **attributes):
    """MLIR of one call of a handler.

    Args:
        dtypes: names of the dtypes that the handler is made for; default: of two operands and the first result.
        aliases: operand number -> number of the result with the same memory.
        attributes: ints that the handler reads from its call frame.
    """
    if dtypes is None:
        dtypes = (*(a.dtype.name for a in ctx.avals_in[:2]), ctx.avals_out[0].dtype.name)
    attributes = {name: np.int64(value) for name, value in attributes.items()}
    name = target(module, operator, dtypes, tuple(extra))
    return jax.ffi.ffi_lowering(name, operand_output_aliases=aliases)(ctx, *operands, **attributes)
