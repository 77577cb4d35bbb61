"""Connectivity: rules that say which cells are connected.

A rule draws exactly what its name says: `fixed_probability` gives a binomial number of edges also for small populations
and small p, `fixed_indegree` exactly k edges for every target. The same generator gives the same edges, on any number
of cores: rows are drawn in blocks that have their own streams (`blocks.py`).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .blocks import from_slots, row_blocks, transposed
from .edges import Edges, check_ends
from .errors import ConnectError, ParameterError
from .rule import CheckedRule, Rule
from .sampling import bernoulli_slots, distinct_in_rows, skip, slot_type, spread, spread_distinct, without
from .spatial import distance_dependent

__all__ = [
    "Edges", "Rule", "all_to_all", "distance_dependent", "fixed_indegree", "fixed_outdegree", "fixed_probability",
    "fixed_total_number", "from_edges", "from_matrix", "one_to_one", "small_world",
]  # fmt: skip


@dataclass(frozen=True)
class all_to_all(CheckedRule):
    """Every source with every target.

    Args:
        autapses: whether a cell connects to itself.
    """

    autapses: bool = True

    def _expected(self, sides):
        return sides.n_pre * sides.n_post - (0 if self.autapses else len(sides.autapses))

    def _draw(self, sides, streams):
        return _bernoulli(sides, 1.0, self.autapses, streams)


@dataclass(frozen=True)
class one_to_one(CheckedRule):
    """Source i with target i; both sides have the same size."""

    def _expected(self, sides):
        if sides.n_pre != sides.n_post:
            raise ConnectError(
                f"one_to_one needs sides of one size, got {sides.n_pre} sources and {sides.n_post} targets; "
                f"connect parts of one size, such as exc[:{min(sides.n_pre, sides.n_post)}]"
            )
        return sides.n_pre

    def _draw(self, sides, streams):
        n = sides.n_pre
        return Edges.from_rows(np.arange(n + 1), np.arange(n, dtype=np.int32), n, n)


@dataclass(frozen=True)
class fixed_probability(CheckedRule):
    """Every pair with probability p, independently: the number of edges is exactly binomial.

    Args:
        p: probability of a pair.
        autapses: whether a cell may connect to itself.
    """

    p: float
    autapses: bool = True

    def _expected(self, sides):
        return self.p * (sides.n_pre * sides.n_post - (0 if self.autapses else len(sides.autapses)))

    def _draw(self, sides, streams):
        return _bernoulli(sides, self.p, self.autapses, streams)


def _bernoulli(sides, p, autapses, streams):
    """Every pair with probability p."""

    def slots(block, start, stop):
        hits = bernoulli_slots((stop - start) * sides.n_post, p, streams(block))
        return without(hits, sides.holes(start, stop, autapses))

    blocks = row_blocks(sides.n_pre, p * sides.n_post)
    return from_slots(sides.n_pre, sides.n_post, blocks, slots, p * sides.n_pre * sides.n_post)


class _FixedDegree(CheckedRule):
    """k partners for every cell of one side, drawn from the other side."""

    def _partners(self, sides):
        """(cells, partners, own): sizes, and for each cell the partner that is the same cell, or -1."""
        raise NotImplementedError

    def _expected(self, sides):
        cells, partners, own = self._partners(sides)
        available = (partners - (own >= 0)).min(initial=partners)
        if cells and self.k and (available < 1 or (not self.multapses and available < self.k)):
            why = "" if self.multapses else " without multapses (repeated edges)"
            raise ConnectError(
                f"{self!r}: {self.k} edges per cell are impossible{why}: there are only {available} partners; "
                f"write k={available}" + ("" if self.multapses or not available else " or multapses=True")
            )
        return cells * self.k

    def _drawn(self, sides, streams):
        """draw(number, start, stop): (stop - start, k) partners of these cells, unsigned."""
        _, partners, own = self._partners(sides)
        kind = slot_type(partners)

        def draw(block, start, stop):
            mine, rows = own[start:stop, None], stop - start
            available = np.where(mine < 0, partners, partners - 1)
            if not self.multapses:
                keys = distinct_in_rows(np.full(rows, self.k), available[:, 0], streams(block))
                drawn = (keys % keys.dtype.type(available.max(initial=1))).reshape(rows, self.k).astype(kind)
            else:
                same = np.all(available == available[0, 0])
                limit = max(1, int(available[0, 0])) if same else available
                drawn = streams(block).integers(0, limit, (rows, self.k), kind)
            if np.all(mine < 0):
                return drawn
            return drawn + (drawn >= np.where(mine < 0, partners, mine).astype(kind))  # the cell itself is left out

        return draw


@dataclass(frozen=True)
class fixed_indegree(_FixedDegree):
    """Every target receives exactly k edges from sources drawn at random.

    With multapses sources are drawn with replacement, so that out-degrees are binomial(k * n_post, 1 / n_pre).

    Args:
        k: edges per target.
        multapses: whether a pair may be connected more than once.
        autapses: whether a cell may connect to itself.
    """

    k: int
    multapses: bool = True
    autapses: bool = True

    def _partners(self, sides):
        own = np.full(sides.n_post, -1) if self.autapses or sides.own is None else sides.own
        return sides.n_post, sides.n_pre, own

    def _draw(self, sides, streams):
        return transposed(sides.n_pre, sides.n_post, self.k, self._drawn(sides, streams))


@dataclass(frozen=True)
class fixed_outdegree(_FixedDegree):
    """Every source sends exactly k edges to targets drawn at random; see `fixed_indegree`."""

    k: int
    multapses: bool = True
    autapses: bool = True

    def _partners(self, sides):
        own = np.full(sides.n_pre, -1)
        if not self.autapses and sides.own is not None:
            post = np.flatnonzero(sides.own >= 0)
            own[sides.own[post]] = post
        return sides.n_pre, sides.n_post, own

    def _draw(self, sides, streams):
        draw = self._drawn(sides, streams)

        def slots(block, start, stop):
            kind = slot_type((stop - start) * sides.n_post)
            first = np.arange(stop - start, dtype=kind)[:, None] * kind.type(sides.n_post)
            return np.sort(draw(block, start, stop) + first, axis=None)

        blocks = row_blocks(sides.n_pre, self.k)
        return from_slots(sides.n_pre, sides.n_post, blocks, slots, sides.n_pre * self.k)


@dataclass(frozen=True)
class fixed_total_number(CheckedRule):
    """Exactly n edges between pairs drawn at random.

    Args:
        n: number of edges.
        multapses: whether a pair may be connected more than once.
        autapses: whether a cell may connect to itself.
    """

    n: int
    multapses: bool = True
    autapses: bool = True

    def _expected(self, sides):
        pairs = sides.n_pre * sides.n_post - (0 if self.autapses else len(sides.autapses))
        if self.n and (pairs < 1 or (not self.multapses and pairs < self.n)):
            raise ConnectError(f"{self!r}: impossible, there are only {pairs} pairs; write n={pairs} or less")
        return self.n

    def _draw(self, sides, streams):
        blocks = row_blocks(sides.n_pre, self.n / max(1, sides.n_pre))
        free = lambda a, b: (b - a) * sides.n_post - len(sides.holes(a, b, self.autapses))
        pairs = np.array([free(a, b) for _, a, b in blocks], np.int64)
        count = (spread if self.multapses else spread_distinct)(self.n, pairs, streams(0))

        def slots(block, start, stop):
            n, m, rng = int(count[block - 1]), int(pairs[block - 1]), streams(block)
            kind = slot_type((stop - start) * sides.n_post)
            drawn = np.sort(rng.integers(0, max(1, m), n, kind)) if self.multapses else distinct_in_rows([n], [m], rng)
            return skip(drawn.astype(kind), sides.holes(start, stop, self.autapses))

        return from_slots(sides.n_pre, sides.n_post, blocks, slots, self.n)


@dataclass(frozen=True)
class small_world(CheckedRule):
    """Directed Watts-Strogatz graph on a ring: k nearest neighbours, each edge rewired with probability p_rewire.

    A rewired edge keeps its source; its target is drawn from all cells to which the source does not connect yet. There
    are no autapses and no multapses, every out-degree is k; p_rewire=1 gives a random graph.

    Args:
        k: even number of neighbours, k/2 on each side.
        p_rewire: probability that an edge is rewired.

    References:
        Watts & Strogatz (1998), Collective dynamics of small-world networks, 10.1038/30918.
    """

    k: int
    p_rewire: float

    def _expected(self, sides):
        n = sides.n_pre
        if sides.own is None or n != sides.n_post or np.any(sides.own != np.arange(n)):
            raise ConnectError(f"{self!r} is a graph within one population, got two; connect a population to itself")
        if self.k % 2 or self.k >= n:
            k = min(self.k, max(n - 1, 0)) // 2 * 2
            raise ConnectError(f"{self!r}: k must be even and below the number of cells, {n}; write k={k}")
        return n * self.k

    def _draw(self, sides, streams):
        n = sides.n_pre
        steps = np.concatenate([np.arange(1, self.k // 2 + 1), n - np.arange(1, self.k // 2 + 1)])

        def slots(block, start, stop):
            rng, rows = streams(block), stop - start
            # In these keys, row * (n - 1) + (target - source - 1) mod n, a cell itself does not occur.
            kept = rng.random((rows, self.k)) >= self.p_rewire
            keys = (np.arange(rows)[:, None] * (n - 1) + steps - 1)[kept]
            keys = distinct_in_rows(self.k - kept.sum(1), np.full(rows, n - 1), rng, taken=np.sort(keys))
            row, step = np.divmod(keys.astype(np.int64), max(1, n - 1))
            return np.sort((row * n + (start + row + step + 1) % n).astype(slot_type(rows * n)))

        return from_slots(n, n, row_blocks(n, self.k), slots, n * self.k)


@dataclass(frozen=True, eq=False, repr=False)
class from_edges(Rule):
    """Edges given as lists.

    Args:
        pre, post: (n_edges,) indices from 0; pairs may repeat.
        weight, delay: (n_edges,) values in the unit of the synapse and in ms, or one number, or None.
    """

    pre: Any
    post: Any
    weight: Any = None
    delay: Any = None

    def __post_init__(self):
        for name in ("pre", "post"):
            object.__setattr__(self, name, np.array(getattr(self, name)))
        n = 2**31 - 1  # the sizes of the populations are not known yet, everything else can be checked
        if self.pre.size or self.post.size:
            pre, post, *_ = check_ends(self.pre, self.post, n, n, self.weight, self.delay)
            object.__setattr__(self, "pre", pre)
            object.__setattr__(self, "post", post)

    def _expected(self, sides):
        return len(self.pre)

    def _draw(self, sides, streams):
        if not self.pre.size:
            return Edges([], [], sides.n_pre, sides.n_post)
        return Edges(self.pre, self.post, sides.n_pre, sides.n_post, self.weight, self.delay)

    def __repr__(self):
        return f"from_edges({len(self.pre)} edges)"


@dataclass(frozen=True, eq=False, repr=False)
class from_matrix(Rule):
    """Edges and weights given as a matrix [pre, post]: rows are sources.

    Args:
        matrix: (n_pre, n_post), dense or scipy.sparse. Entries that are not 0 are edges with that weight, entries that
            a sparse matrix stores are edges even if 0, a boolean matrix gives edges without weight.
    """

    matrix: Any

    def __post_init__(self):
        if callable(getattr(self.matrix, "tocoo", None)):
            coo = self.matrix.tocoo(copy=True)
            coo.sum_duplicates()
            table = (coo.row, coo.col, coo.data)
        else:
            dense = np.asarray(self.matrix)
            if dense.ndim != 2:
                raise ConnectError(f"from_matrix needs a matrix [pre, post], got shape {dense.shape}")
            table = (*np.nonzero(dense), dense[np.nonzero(dense)])
        pre, post, weight = table
        if weight.dtype.kind not in "biuf":
            raise ConnectError(f"from_matrix needs numbers, got {weight.dtype}")
        bad = np.flatnonzero(~np.isfinite(weight))
        if bad.size:
            at = f"[{pre[bad[0]]}, {post[bad[0]]}]"
            raise ParameterError(f"from_matrix: the entry {at} is {weight[bad[0]]}; write 0 where there is no edge")
        object.__setattr__(self, "_table", (pre, post, None if weight.dtype == bool else weight))

    def _expected(self, sides):
        shape, need = np.shape(self.matrix), (sides.n_pre, sides.n_post)
        if shape != need:
            hint = "it seems transposed, write from_matrix(matrix.T)" if shape == need[::-1] else "rows are sources"
            raise ConnectError(f"the matrix has shape {shape}, but [pre, post] are {need} cells; {hint}")
        return None

    def _draw(self, sides, streams):
        pre, post, weight = self._table
        return Edges(pre, post, sides.n_pre, sides.n_post, weight)

    def __repr__(self):
        return f"from_matrix({' x '.join(map(str, np.shape(self.matrix)))}, {len(self._table[0])} edges)"
