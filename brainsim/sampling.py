"""Exact draws of positions: which of very many slots hold an edge. Vectorised, sorted, reproducible from a generator.

A slot is a whole number, such as pre * n_post + post. Slots are uint32 where they fit: half the memory, and NumPy sorts
them several times faster than int64.
"""

import math

import numpy as np


def slot_type(n: int) -> np.dtype:
    """The unsigned type in which the slots 0 .. n-1 are counted."""
    return np.dtype(np.uint32 if n < 2**32 else np.uint64)


def bernoulli_slots(n: int, p: float, rng: np.random.Generator) -> np.ndarray:
    """Each of the slots 0 .. n-1 with probability p, independently: their number is exactly binomial(n, p).

    Gaps between successes are geometric: floor(E / -log(1 - p)) with E exponential has P(gap >= k) = (1 - p)**k. Work
    and memory follow the successes, not n.

    Args:
        n: number of slots, below 2**53.
        p: probability in [0, 1].

    Returns:
        Sorted array of distinct slots, of `slot_type(n)`.

    References:
        Fan, Muller & Rezucha (1962), 10.1080/01621459.1962.10480667 (skips); Batagelj & Brandes (2005),
        10.1103/PhysRevE.71.036113 (random graphs by skips).
    """
    if p <= 0 or n == 0:
        return np.empty(0, slot_type(n))
    if p >= 1:
        return np.arange(n, dtype=slot_type(n))
    scale, parts, last = -1 / math.log1p(-p), [], -1.0
    while last < n - 1:
        expected = (n - 1 - last) * p
        slots = rng.standard_exponential(int(expected + 4 * math.sqrt(expected)) + 16)
        np.floor(np.multiply(slots, scale, out=slots), out=slots)
        slots += 1
        slots[0] += last
        np.cumsum(slots, out=slots)  # whole numbers below 2**53 are exact in float64
        last = float(slots[-1])
        parts.append(slots[: np.searchsorted(slots, n)].astype(slot_type(n)))
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def distinct_in_rows(need, m, rng: np.random.Generator, taken=None) -> np.ndarray:
    """In every row r a uniform random subset of need[r] different values out of 0 .. m[r]-1.

    Args:
        need: (rows,) sizes of the subsets, at most ``m``.
        m: (rows,) numbers of values to choose from.
        taken: sorted keys that belong to the subsets already; they are not drawn again and count on top of ``need``.

    Returns:
        Sorted keys row * max(m) + value, ``taken`` included, of `slot_type`.
    """
    need, m = np.asarray(need, np.int64).copy(), np.asarray(m, np.int64)
    stride = int(m.max(initial=0))
    kind = slot_type(len(need) * stride)
    taken = np.empty(0, kind) if taken is None else np.asarray(taken, kind)
    if not need.any():
        return taken
    if not len(taken) and 2 * need.max() > stride + 1:  # the rest is smaller
        return _complement(distinct_in_rows(m - need, m, rng), m, kind)
    # Drawing until enough different values are there gives a uniform subset: nothing tells the values apart.
    parts = [taken] if len(taken) else []
    same, start = bool(np.all(m == stride)), np.arange(len(need), dtype=kind) * kind.type(stride)
    while need.any():
        limit = stride if same else np.repeat(m, need)
        new = np.repeat(start, need) + rng.integers(0, limit, int(need.sum()), kind)
        new = _sorted_unique(new)
        for part in parts:
            new = new[~_contains(part, new)]
        need -= np.bincount((new // kind.type(stride)).astype(np.int64), minlength=len(need))
        parts.append(new)
        if len(parts) > 8:
            parts = [np.sort(np.concatenate(parts))]
    return parts[0] if len(parts) == 1 else np.sort(np.concatenate(parts))


def _complement(keys, m, kind):
    """All keys row * max(m) + value that are not among the given ones."""
    left = np.arange(m.max()) < m[:, None]
    left.ravel()[keys] = False
    return np.flatnonzero(left).astype(kind)


def skip(values, holes):
    """Renames 0, 1, 2, ... so that the sorted `holes` are left out: r becomes the r-th number that is no hole.

    Args:
        values: sorted numbers.
    """
    if not len(holes):
        return values
    at = np.searchsorted(values, (holes - np.arange(len(holes))).astype(values.dtype))  # from here on past the hole
    passed = np.diff(at, prepend=0, append=len(values))
    return values + np.repeat(np.arange(len(holes) + 1, dtype=values.dtype), passed)


def without(values, holes):
    """The sorted distinct `values` that are not among the sorted `holes`."""
    at = np.searchsorted(values, holes.astype(values.dtype))
    inside = at < len(values)
    at, holes = at[inside], holes[inside]
    return np.delete(values, at[values[at] == holes])


def _sorted_unique(x):
    x = np.sort(x)  # numpy.unique hashes, which takes 50 times longer
    return x[np.concatenate([[True], x[1:] != x[:-1]])] if len(x) else x


def _contains(part, x):
    at = np.searchsorted(part, x)
    return (at < len(part)) & (part[np.minimum(at, len(part) - 1)] == x) if len(part) else np.zeros(len(x), bool)


def spread(n: int, room, rng: np.random.Generator) -> np.ndarray:
    """How many of n draws with replacement from 0 .. sum(room)-1 fall into each of the consecutive stretches `room`."""
    return rng.multinomial(n, room / max(1, room.sum())) if n else np.zeros(len(room), np.int64)


def spread_distinct(n: int, room, rng: np.random.Generator) -> np.ndarray:
    """The same for draws without replacement (multivariate hypergeometric), for stretches of any length.

    Every place is taken independently with probability n / sum(room); given their number M the taken places are a
    uniform subset, so that M - n of them leave it, or n - M free places join it, at random. NumPy draws hypergeometric
    numbers for up to 1e9 places only.
    """
    total = int(room.sum())
    if not n:
        return np.zeros(len(room), np.int64)
    taken = rng.binomial(room, n / total)
    more = n - int(taken.sum())
    source = room - taken if more > 0 else taken
    moved = distinct_in_rows([abs(more)], [int(source.sum())], rng).astype(np.int64)
    return taken + np.sign(more) * np.diff(np.searchsorted(moved, np.cumsum(source)), prepend=0)
