"""How much memory there is, and sizes in words."""

import math


def free_memory() -> float:
    """Bytes of memory that the system can give without swapping; infinite where that is not known."""
    try:
        with open("/proc/meminfo") as lines:
            return next(int(line.split()[1]) * 1024.0 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return math.inf


def in_words(size: float) -> str:
    """12.3 GB for 12.3e9 bytes."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:.3g} {unit}"
    return f"{size:.0f} bytes"
