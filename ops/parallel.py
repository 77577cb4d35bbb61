"""A loop over independent tasks on the threads of XLA, from inside a native CPU handler: no Python, no lock.

    void brainsim_parallel_for(int64 *frame, int64 task, int64 context, int64 n_tasks)
    int64 brainsim_threads(int64 *frame)        how many threads such a loop has, at least 1

`task` is the address of void (*)(int64 context, int64 i), `frame` the XLA FFI call frame of the handler: the tasks go
to the thread pool that XLA lends through it (its threads are awake while it works, flush denormals, and end with it),
so brainsim keeps no threads of its own. The caller and its helpers claim tasks from one counter until none is left,
hence a helper that comes late, or never, costs nothing: the caller does the work alone. A call inside a task works the
same way. Every task must own what it writes; then the number of threads changes no bit of the result.

The loop is LLVM IR (`parallel_ir.py`), compiled once per process. numba handlers reach it as an external symbol
(`call_frame.parallel_loop`), emitted code by its `address()`. `BRAINSIM_THREADS` limits the threads of a call; 1
switches them off. Imports llvmlite when first used.
"""

import ctypes
import functools
import os
import platform

VARIABLE = "BRAINSIM_THREADS"
LOOP, THREADS = "brainsim_parallel_for", "brainsim_threads"
MAX_THREADS = 1024

_LIMIT = ctypes.c_int64(0)  # the compiled loop reads it


def available() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def requested() -> int:
    """Threads asked for by BRAINSIM_THREADS, else one per available core.

    Raises:
        ValueError: the variable is not a whole number from 1 to 1024.
    """
    text = os.environ.get(VARIABLE)
    if text is None:
        return min(available(), MAX_THREADS)
    return _checked(text, VARIABLE)


def threads() -> int:
    """The most threads that one native operator call uses; XLA's pool may have fewer."""
    return _LIMIT.value or requested()


def use_threads(n: int) -> int:
    """Set the most threads that one native operator call uses, from now on; returns the number before.

    Results do not depend on it. More threads than XLA's pool has (one per core) are never used.

    Raises:
        ValueError: n is not a whole number from 1 to 1024.
    """
    before = threads()
    _LIMIT.value = _checked(n, "n")
    return before


def _checked(value, name):
    try:
        n = int(value) if isinstance(value, str) else value.__index__()
    except (ValueError, AttributeError, TypeError):
        n = 0
    if not 1 <= n <= MAX_THREADS:
        raise ValueError(
            f"{name} is {value!r}, but a number of threads is a whole number from 1 to {MAX_THREADS}; "
            f"write 1 to switch threads off, or leave {VARIABLE} unset for one thread per core"
        )
    return n


@functools.cache
def address() -> int:
    """Address of the compiled loop; also makes both symbols known to code that is compiled or loaded later."""
    import llvmlite.binding as llvm

    from . import parallel_ir

    _LIMIT.value = _LIMIT.value or requested()
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(opt=2, codemodel="jitdefault", jit=True)
    module = llvm.parse_assembly(
        parallel_ir.text(LOOP, THREADS, llvm.get_default_triple(), platform.machine().lower(), ctypes.addressof(_LIMIT))
    )
    module.verify()
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    _ENGINES.append(engine)
    for symbol in (LOOP, THREADS):
        llvm.add_symbol(symbol, engine.get_function_address(symbol))
    return engine.get_function_address(LOOP)


_ENGINES = []  # callers hold bare addresses: the compiled code must live as long as the process
