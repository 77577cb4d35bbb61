"""Blocks of steps that the backward pass of a run computes again: their lengths, from the number of steps or a budget.

Of n steps in blocks of b, about n / b states and b steps are kept; least for b near the square root of n (Griewank &
Walther 2000, 10.1145/347837.347846). Blocks of blocks need less, for a second computation more.
"""

import math
import re

from .errors import RunError
from .memory import in_words


def block_of(n: int, root: float | None = None) -> int:
    """Steps of a block: about the square root of all (or `root`), and a divisor where one is near, so that no rest is
    left."""
    root = max(1, min(n, round(root or math.isqrt(n))))
    near = [k for k in range(max(1, root // 2), min(n, 2 * root) + 1) if n % k == 0]
    return min(near, key=lambda k: abs(k - root), default=root)


def whole_windows(length, segment, window):
    """A block length near `length` that windows of delayed couplings divide."""
    return length if window == 1 else min(segment, max(1, round(length / window)) * window)


def blocks_of(checkpoint, n, segment, window):
    """Block lengths for a `checkpoint`, see `BPTT`."""
    if checkpoint is None:
        return ()
    if checkpoint == "nested":
        inner = whole_windows(block_of(segment, n ** (1 / 3)), segment, window)
        outer = min(segment, inner * max(2, round(n ** (1 / 3))))
        return tuple(b for b in (outer, inner) if b < n)
    if checkpoint == "auto":
        checkpoint = whole_windows(block_of(segment, math.isqrt(n)), segment, window)
    return (min(checkpoint, segment),) if 1 < checkpoint < n else ()


def fitting(n, segment, window, cost, budget):
    """The blocks that fit a budget in bytes, see `BPTT`.

    Raises:
        RunError: even the blocks that keep least need more.
    """
    best = math.sqrt(n * cost.carry / max(cost.step, 1))
    tried = [blocks_of("auto", n, segment, window)]
    tried.append((whole_windows(block_of(segment, min(max(best, 1), segment)), segment, window),))
    tried.append(blocks_of("nested", n, segment, window))
    for sizes in tried:
        if cost.kept(n, sizes) <= budget:
            return sizes
    least = min(cost.kept(n, sizes) for sizes in tried)
    raise RunError(
        f"memory = {in_words(budget)} is too little for the gradient of {n} steps: the blocks that keep least need "
        f"{in_words(least)} ({in_words(cost.outputs * n)} for what is recorded, {in_words(cost.step)} for a step); "
        f"write memory={in_words(1.05 * least)!r}, record less, or take a shorter run or Forward()"
    )


def to_bytes(memory) -> float:
    """Bytes of a number or of words such as "500 MB"."""
    found = re.fullmatch(r"\s*([0-9.]+(?:e[0-9]+)?)\s*([kMGT]?i?B)\s*", memory) if isinstance(memory, str) else None
    scales = {"B": 1, **{f"{u}B": 1e3 ** (k + 1) for k, u in enumerate("kMGT")}}
    scales.update({f"{u}iB": 1024 ** (k + 1) for k, u in enumerate("kMGT")})
    size = float(found[1]) * scales.get(found[2], math.nan) if found else memory
    if isinstance(size, str) or not size > 0:
        raise RunError(f"memory = {memory!r} is no size; write bytes, or words such as '500 MB' or '2 GB'")
    return float(size)


def check_checkpoint(checkpoint):
    whole = isinstance(checkpoint, int) and not isinstance(checkpoint, bool) and checkpoint >= 1
    if not whole and checkpoint not in ("auto", "nested", None):
        raise RunError(
            f"checkpoint = {checkpoint!r} is unknown; write 'auto', 'nested', a number of steps of at least 1, or None"
        )
