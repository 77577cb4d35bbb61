"""Exact draws of positions: which of very many slots hold an edge. Vectorised, sorted, reproducible from a generator.

A slot is a whole number, such as pre * n_post + post. Times are for one core: 1e7 slots in 0.3 to 1 s.
"""

import math

import numpy as np


def bernoulli_slots(n: int, p: float, rng: np.random.Generator) -> np.ndarray:
    """Each of the slots 0 .. n-1 with probability p, independently: their number is exactly binomial(n, p).

    Gaps between successes are geometric: floor(E / -log(1 - p)) with E exponential has P(gap >= k) = (1 - p)**k. Work
    and memory follow the successes, not n.

    Args:
        n: number of slots.
        p: probability in [0, 1].

    Returns:
        Sorted int64 array of distinct slots.

    References:
        Fan, Muller & Rezucha (1962), 10.1080/01621459.1962.10480667 (skips); Batagelj & Brandes (2005),
        10.1103/PhysRevE.71.036113 (random graphs by skips).
    """
    if p <= 0 or n == 0:
        return np.empty(0, np.int64)
    if p >= 1:
        return np.arange(n, dtype=np.int64)
    scale, parts, last = -1 / math.log1p(-p), [], -1
    while last < n - 1:
        expected = (n - 1 - last) * p
        gaps = rng.standard_exponential(int(expected + 4 * math.sqrt(expected)) + 16)
        np.multiply(gaps, scale, out=gaps)
        np.minimum(gaps, n, out=gaps)  # a gap beyond the end must not overflow the sum
        slots = np.cumsum(gaps.astype(np.int64) + 1) + last
        last = int(slots[-1])
        parts.append(slots)
    slots = np.concatenate(parts)
    return slots[: np.searchsorted(slots, n)]


def distinct_in_rows(need, m, rng: np.random.Generator, taken=None) -> np.ndarray:
    """In every row r a uniform random subset of need[r] different values out of 0 .. m[r]-1.

    Args:
        need: (rows,) sizes of the subsets, at most ``m``.
        m: (rows,) numbers of values to choose from.
        taken: sorted keys that belong to the subsets already; they are not drawn again and count on top of ``need``.

    Returns:
        Sorted int64 keys row * max(m) + value, ``taken`` included.
    """
    need, m = np.asarray(need, np.int64).copy(), np.asarray(m, np.int64)
    if not need.any():
        return np.empty(0, np.int64) if taken is None else taken
    if taken is None and 2 * need.max() > m.max() + 1:  # the rest is smaller
        return _complement(distinct_in_rows(m - need, m, rng, np.empty(0, np.int64)), m)
    # Drawing until enough different values are there gives a uniform subset: nothing tells the values apart.
    stride, parts = int(m.max()), [] if taken is None else [taken]
    while need.any():
        row = np.repeat(np.arange(len(need)), need)
        new = _sorted_unique(row * stride + rng.integers(0, m[row]))
        for part in parts:
            new = new[~_contains(part, new)]
        need -= np.bincount(new // stride, minlength=len(need))
        parts.append(new)
        if len(parts) > 8:
            parts = [np.sort(np.concatenate(parts))]
    return np.sort(np.concatenate(parts))


def _complement(keys, m):
    """All keys row * max(m) + value that are not among the given ones."""
    left = np.arange(m.max()) < m[:, None]
    left.ravel()[keys] = False
    return np.flatnonzero(left)


def skip(values, holes):
    """Renames 0, 1, 2, ... so that the sorted `holes` are left out: r becomes the r-th number that is no hole."""
    return values + np.searchsorted(holes - np.arange(len(holes)), values, side="right")


def _sorted_unique(x):
    x = np.sort(x)  # numpy.unique hashes, which takes 50 times longer
    return x[np.concatenate([[True], x[1:] != x[:-1]])] if len(x) else x


def _contains(part, x):
    at = np.searchsorted(part, x)
    return (at < len(part)) & (part[np.minimum(at, len(part) - 1)] == x) if len(part) else np.zeros(len(x), bool)
