"""Which form of an operator runs: chosen per platform when the program is lowered, or forced.

`BRAINSIM_OPS=reference|xla|native|pallas|pallas_deterministic` forces one for all calls, the argument `backend=` of an
operator for one. The variable is read by `requested` alone, whenever a call is traced: a compiled program keeps the
form that it was traced with. Unforced: native on the CPU, pallas on a GPU, xla everywhere else.
On the CPU the pallas forms run in interpret mode, far slower than any other: for tests of the kernels.
"""

import functools
import os
import warnings

from . import native

# those with pallas forms; `event_fan_out` and `deliver_list` are calls of `event_csr` and `ring_deliver` there
KERNELS = ("event_csr", "event_fan_out", "ring_deliver", "deliver_list", "gather_csr", "ring_gather", "edge_outer")
# those whose oracle is a test in NumPy or jax: their reference form is the xla one
NO_REFERENCE = ("update_rows", "update_columns", "map_edges", "map_scalars", "random")
OPERATORS = (
    *KERNELS,
    "event_csc",
    "event_fan_in",
    "event_dense",
    "event_blocks",
    "window_gather",
    "event_procedural",
    "ring_deliver_procedural",
    "gather_procedural",
    "compact",
    "push_list",
    "append_list",
    *NO_REFERENCE,
)
PALLAS = ("pallas", "pallas_deterministic")
BACKENDS = ("reference", "xla", "native", *PALLAS)
GPUS = ("cuda", "rocm")
AUTO = "auto"
VARIABLE = "BRAINSIM_OPS"


def requested(backend: str | None = None) -> str:
    """The back end asked for by argument or, when this is called, by the environment; `"auto"` where neither asks.

    Raises:
        ValueError: the name is unknown.
    """
    name, source = (backend, "backend=") if backend is not None else (os.environ.get(VARIABLE) or AUTO, VARIABLE)
    if name not in (*BACKENDS, AUTO):
        raise ValueError(
            f"{source} is {name!r}, which names no back end of brainsim.ops; "
            f"write one of {', '.join(BACKENDS)}, or leave it out for the choice by platform"
        )
    return name


def chosen(platform: str) -> str:
    """The back end of operators without kernels of their own that are traced now, without `backend=`."""
    return resolve(requested(), platform)


def resolve(asked: str, platform: str, kernels: bool = False) -> str:
    """The back end that a program for `platform` gets; `kernels`: the operator has a pallas form, else xla stands in.

    Raises:
        RuntimeError: native or pallas was asked for and cannot run there.
    """
    if asked == "native":
        reason = native.why_not() if platform == "cpu" else f"it runs on the cpu only, this program is for {platform}"
        if reason:
            raise RuntimeError(f"brainsim.ops: native was asked for, but {reason}. Use {VARIABLE}=xla instead")
        return "native"
    if asked in PALLAS and not kernels:
        return "xla"
    if asked in PALLAS:
        reason = _why_not_pallas(platform)
        if reason:
            raise RuntimeError(f"brainsim.ops: {asked} was asked for, but {reason}. Use {VARIABLE}=xla instead")
        return asked
    if asked != AUTO:
        return asked
    if platform in GPUS and kernels:
        reason = _why_not_pallas(platform)
        if reason:
            _warn_gpu(reason)
        return "xla" if reason else "pallas"
    if platform != "cpu":
        return "xla"
    reason = native.why_not()
    if reason:
        _warn_slow(reason)
    return "xla" if reason else "native"


@functools.cache
def _why_not_pallas(platform: str) -> str:
    """Reason why the Pallas kernels cannot be used for a platform; empty where they can. Imports Pallas, compiles one.

    "gpu" asks for any GPU without compiling for one.
    """
    if platform not in ("cpu", "gpu", *GPUS):
        return f"its kernels are for GPUs (and the cpu, interpreted), this program is for {platform}"
    try:
        from . import pallas_forms

        if platform in GPUS:
            pallas_forms.probe(platform)
    except Exception as problem:  # jax may change Pallas in any release: whatever fails, there is another form
        return f"Pallas does not work for {platform} ({type(problem).__name__}: {str(problem)[:200]})"
    return ""


@functools.cache
def _warn_gpu(reason: str) -> None:
    warnings.warn(
        f"brainsim.ops runs its pure XLA form on the GPU, slower than its own kernels: {reason}. "
        f"Set {VARIABLE}=xla to accept this silently",
        RuntimeWarning,
        stacklevel=2,
    )


@functools.cache
def _warn_slow(reason: str) -> None:
    warnings.warn(
        f"brainsim.ops runs its pure XLA form on the CPU, 10 to 50 times slower than the native one: {reason}. "
        f"Set {VARIABLE}=xla to accept this silently",
        RuntimeWarning,
        stacklevel=2,
    )


def backends() -> dict[str, dict[str, str]]:
    """What can run here: {operator: {backend: "available ..." or "not available: reason"}}, initialising no device.

    The key `"choice"` holds what an unforced (or, with BRAINSIM_OPS, the forced) program gets on `"cpu"`, `"gpu"` and
    `"other"` platforms: on a GPU that is where the operator has a form of that kind, else xla. Imports numba and Pallas
    to see whether they work.

    >>> backends()["event_csc"]["pallas"]
    'the same as xla (no kernel of its own)'
    """
    reason, no_kernels = native.why_not(), _why_not_pallas("gpu")
    where = "gpu; on the cpu in interpret mode, for tests"
    kernels = f"not available: {no_kernels}" if no_kernels else f"available ({where})"
    state = {
        "reference": "available (dense, small sizes only)",
        "xla": "available (any platform)",
        "native": f"not available: {reason}" if reason else f"available (cpu, numba {_numba_version()})",
        **dict.fromkeys(PALLAS, kernels),
    }
    asked = requested()
    on_cpu = asked if asked != AUTO else ("xla" if reason else "native")
    table = {operator: dict(state) for operator in OPERATORS}
    for operator in set(OPERATORS) - set(KERNELS):
        table[operator] |= dict.fromkeys(PALLAS, "the same as xla (no kernel of its own)")
    for operator in NO_REFERENCE:
        table[operator]["reference"] = "the same as xla (no dense form of its own)"
    on_gpu = "xla" if no_kernels else "pallas"
    table["choice"] = {
        "cpu": on_cpu,
        "gpu": on_gpu if asked in (AUTO, "native") else asked,
        "other": "xla" if asked in (AUTO, "native", *PALLAS) else asked,
    }
    return table


def _numba_version() -> str:
    import numba

    return numba.__version__
