"""Which form of an operator runs: chosen per platform when the program is lowered, or forced.

`BRAINSIM_OPS=reference|xla|native` (read while tracing) forces one for the whole process, the argument `backend=` of
an operator for one call. Unforced: native on the CPU, xla everywhere else.
"""

import functools
import os
import warnings

from . import native

OPERATORS = ("event_csr", "ring_deliver", "gather_csr", "ring_gather", "edge_outer", "map_scalars")
BACKENDS = ("reference", "xla", "native")
AUTO = "auto"
VARIABLE = "BRAINSIM_OPS"


def requested(backend: str | None = None) -> str:
    """The back end asked for by argument or environment, `"auto"` where neither asks.

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


def resolve(asked: str, platform: str) -> str:
    """The back end that a program for `platform` gets.

    Raises:
        RuntimeError: native was asked for and cannot run there.
    """
    if asked == "native":
        reason = native.why_not() if platform == "cpu" else f"it runs on the cpu only, this program is for {platform}"
        if reason:
            raise RuntimeError(f"brainsim.ops: native was asked for, but {reason}. Use {VARIABLE}=xla instead")
        return "native"
    if asked != AUTO:
        return asked
    if platform != "cpu":
        return "xla"
    reason = native.why_not()
    if reason:
        _warn_slow(reason)
    return "xla" if reason else "native"


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

    The key `"choice"` holds what an unforced (or, with BRAINSIM_OPS, the forced) program gets on `"cpu"` and on
    `"other"` platforms. Imports numba to see whether it works.
    """
    reason = native.why_not()
    state = {
        "reference": "available (dense, small sizes only)",
        "xla": "available (any platform)",
        "native": f"not available: {reason}" if reason else f"available (cpu, numba {_numba_version()})",
    }
    asked = requested()
    on_cpu = asked if asked != AUTO else ("xla" if reason else "native")
    table = {operator: dict(state) for operator in OPERATORS}
    table["choice"] = {"cpu": on_cpu, "other": "xla" if asked in (AUTO, "native") else asked}
    return table


def _numba_version() -> str:
    import numba

    return numba.__version__
