"""Values of very many edges that are drawn when they are asked for, instead of being kept.

Edges are cut into chunks of fixed size, and every chunk has a random stream of its own, keyed by the name of the values
and the number of the chunk. The value of an edge therefore depends on the key and on the edge alone: any range can be
drawn at any time, again, and on any number of threads.
"""

import math
from collections.abc import Callable

import numpy as np

from .distributions import Distribution, stream
from .threads import for_all, in_order

__all__ = ["CHUNK", "Drawn", "extent", "for_chunks", "values_range"]

CHUNK = 2**14  # edges: 128 kB of float64 stay in the cache, and starting a stream costs 5 % of drawing it
KEPT = 10_000_000  # up to so many values are kept once they were asked for as a whole


def chunks(n: int, size: int = CHUNK):
    """Ranges (lo, hi) of so many edges that cover 0 .. n-1."""
    return ((lo, min(lo + size, n)) for lo in range(0, n, size))


def for_chunks(function: Callable[[int, int], None], n: int, size: int = 2 * CHUNK) -> None:
    """Call function(lo, hi) for ranges that cover 0 .. n-1, on all cores.

    Args:
        function: must not write to the same place for different ranges.
        n: number of edges.
        size: of a range; a multiple of `CHUNK`, so that no chunk is drawn twice.
    """
    for_all(lambda span: function(*span), chunks(n, size))


class Drawn:
    """Values of a distribution, one per edge.

    Args:
        distribution: with plain numbers (`Distribution.in_unit` was called).
        key: 128-bit whole number, such as `brainsim.distributions.stream_key(seed, "exc->inh", "weight")`.
        n: number of edges.
    """

    ndim = 1

    def __init__(self, distribution: Distribution, key: int, n: int):
        self.distribution, self.key, self.size = distribution, key, int(n)
        self._kept: dict[np.dtype, np.ndarray] = {}
        self._extent = None

    @property
    def shape(self) -> tuple[int]:
        return (self.size,)

    def __len__(self):
        return self.size

    def draw(self, lo: int, hi: int, out=None, dtype=np.float32) -> np.ndarray:
        """Values of the edges lo .. hi-1, shape (hi - lo,).

        Args:
            lo, hi: any range within 0 .. n; cheapest if both are multiples of `CHUNK`.
            out: array to fill and return; default a new one.
            dtype: of the new array. Values are drawn in float64 and rounded to it.
        """
        if not 0 <= lo <= hi <= self.size:
            raise IndexError(f"edges {lo} to {hi} of {self.size}")
        out = np.empty(hi - lo, dtype) if out is None else out
        for chunk in range(lo // CHUNK, -(-hi // CHUNK)):
            start = chunk * CHUNK
            values = self.distribution.sample(stream(self.key, chunk), min(CHUNK, self.size - start))
            a, b = max(lo, start), min(hi, start + CHUNK)
            out[a - lo : b - lo] = values[a - start : b - start]
        return out

    def array(self, dtype=np.float64) -> np.ndarray:
        """All values, read-only, shape (n,); kept for the next time if they are fewer than 1e7."""
        dtype = np.dtype(dtype)
        if dtype in self._kept:
            return self._kept[dtype]
        made = np.empty(self.size, dtype)
        for_chunks(lambda lo, hi: self.draw(lo, hi, made[lo:hi]), self.size)
        made.flags.writeable = False
        if self.size < KEPT:
            self._kept[dtype] = made
        return made

    def __array__(self, dtype=None, copy=None):
        made = self.array(np.float64 if dtype is None else dtype)
        return made.copy() if copy else made

    def extent(self) -> tuple[float, float]:
        """Smallest and largest value, exactly; nan if there are no edges. All are drawn the first time."""
        if self._extent is None:
            spans = lambda span: (lambda x: (x.min(), x.max()))(self.draw(*span, dtype=np.float64))
            found = np.array([*in_order(spans, chunks(self.size, 4 * CHUNK))]).reshape(-1, 2)
            self._extent = (float(found[:, 0].min()), float(found[:, 1].max())) if len(found) else (math.nan, math.nan)
        return self._extent

    def __repr__(self):
        return f"Drawn({self.distribution!r}, {self.size} edges)"


def values_range(values, lo: int, hi: int, dtype=np.float32, out=None) -> np.ndarray:
    """Values of the edges lo .. hi-1, from a number, an array of one value per edge, or `Drawn`; shape (hi - lo,)."""
    if isinstance(values, Drawn):
        return values.draw(lo, hi, out, dtype)
    out = np.empty(hi - lo, dtype) if out is None else out
    out[:] = values if np.ndim(values) == 0 else values[lo:hi]
    return out


def extent(values) -> tuple[float, float]:
    """Smallest and largest of a number, an array, or `Drawn`; nan if there are none."""
    if isinstance(values, Drawn):
        return values.extent()
    return (float(np.min(values)), float(np.max(values))) if np.size(values) else (math.nan, math.nan)
