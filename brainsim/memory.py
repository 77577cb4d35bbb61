"""How much memory there is, and sizes in words."""

import math
from pathlib import Path

# of the container this process may run in: limit, use, and statistics (version 2 of control groups, then version 1)
_GROUPS = (
    ("/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file "),
    ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file "),
)


def free_memory() -> float:
    """Bytes of memory that can be had without swapping; infinite where that is not known."""
    return min(_field("/proc/meminfo", "MemAvailable:") * 1024.0, *(_free_in_group(*group) for group in _GROUPS))


def _free_in_group(folder, limit, used, cached):
    try:
        most, now = (float((Path(folder) / name).read_text()) for name in (limit, used))
    except (OSError, ValueError):  # no such group, or "max": no limit
        return math.inf
    reclaimable = _field(f"{folder}/memory.stat", cached)
    return most - now + (0.0 if math.isinf(reclaimable) else reclaimable)


def _field(path, start):
    """First number behind a word at the start of a line."""
    try:
        lines = Path(path).read_text().splitlines()
        return next(float(line.removeprefix(start).split()[0]) for line in lines if line.startswith(start))
    except (OSError, StopIteration):
        return math.inf


def in_words(size: float) -> str:
    """12.3 GB for 12.3e9 bytes."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:.3g} {unit}"
    return f"{size:.0f} bytes"
