"""Connectivity: rules that say which cells are connected, and `Edges`, what they make.

A rule draws exactly what its name says: `fixed_probability` gives a binomial number of edges also for small populations and
small p, `fixed_indegree` exactly k edges for every target. The same generator gives the same edges.
"""

import math
import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from .errors import ConnectError, ParameterError
from .sampling import bernoulli_slots, distinct_in_rows, skip
from .spatial import pairs_within, positions_of
from .units import to_canonical

__all__ = [
    "Edges", "Rule", "all_to_all", "distance_dependent", "fixed_indegree", "fixed_outdegree", "fixed_probability",
    "fixed_total_number", "from_edges", "from_matrix", "one_to_one", "small_world",
]  # fmt: skip
BYTES = 40  # of memory per edge while edges are drawn: the slots, both indices, and a mask


@dataclass(frozen=True, eq=False)
class Edges:
    """Directed edges, sorted by (pre, post). Edges between the same two cells may repeat.

    Args:
        pre, post: (n_edges,) indices; kept as int32.
        n_pre, n_post: numbers of cells on both sides.
        weight, delay: (n_edges,) values in the order in which `pre` and `post` are given, or None; kept as float64.

    Raises:
        ConnectError: index out of range or not whole (the first bad row is named), arrays of different lengths.
        ParameterError: a weight or delay that is not finite, a negative delay.
    """

    pre: np.ndarray
    post: np.ndarray
    n_pre: int
    n_post: int
    weight: np.ndarray | None = None
    delay: np.ndarray | None = None

    def __post_init__(self):
        pre, post = _indices(self.pre, self.n_pre, "pre"), _indices(self.post, self.n_post, "post")
        if len(pre) != len(post):
            raise ConnectError(f"{len(pre)} values of pre but {len(post)} of post; give both ends of every edge")
        made = {"pre": pre, "post": post, "weight": _column(self.weight, len(pre), "weight"),
                "delay": _column(self.delay, len(pre), "delay")}  # fmt: skip
        key = pre.astype(np.int64) * self.n_post + post
        if np.any(key[1:] < key[:-1]):
            order = np.argsort(key, kind="stable")
            made = {name: None if x is None else x[order] for name, x in made.items()}
        for name, x in made.items():
            object.__setattr__(self, name, x)

    def __len__(self):
        return len(self.pre)

    @property
    def duplicates(self) -> int:
        """Number of edges that repeat an earlier pair (pre, post)."""
        return int(np.count_nonzero((self.pre[1:] == self.pre[:-1]) & (self.post[1:] == self.post[:-1])))

    @property
    def in_degree(self) -> np.ndarray:
        """(n_post,) number of edges that reach each target."""
        return np.bincount(self.post, minlength=self.n_post)

    @property
    def out_degree(self) -> np.ndarray:
        """(n_pre,) number of edges that leave each source."""
        return np.bincount(self.pre, minlength=self.n_pre)

    def __repr__(self):
        more = "".join(f", with {name}" for name in ("weight", "delay") if getattr(self, name) is not None)
        return f"Edges({self.n_pre} -> {self.n_post} cells, {len(self)} edges, {self.duplicates} duplicates{more})"


def _whole(values, side):
    """One-dimensional whole numbers; floats without a fraction are accepted because text files give floats."""
    values = np.asarray(values)
    if values.ndim != 1 or values.dtype.kind not in "iuf":
        kind = "a mask; write numpy.flatnonzero(mask)" if values.dtype == bool else f"{values.dtype} of shape {values.shape}"
        raise ConnectError(f"{side} must be a list of indices, got {kind}")
    if values.dtype.kind == "f":
        bad = np.flatnonzero(~(values == np.floor(values)) | np.isinf(values))
        if bad.size:
            raise ConnectError(f"row {bad[0]}: {side}={values[bad[0]]} is not an index; give whole numbers")
    return values


def _indices(values, n, side):
    """Indices as int32, checked on the host: jax would clamp or drop what is out of range."""
    values = _whole(values, side)
    bad = np.flatnonzero((values < 0) | (values >= n))
    if bad.size:
        cells = f"there are {n} {side} cells, with indices 0 to {n - 1}" if n else f"there are no {side} cells"
        more = f" ({bad.size} rows are out of range)" if bad.size > 1 else ""
        raise ConnectError(f"row {bad[0]}: {side}={int(values[bad[0]])}, but {cells}{more}; counting starts at 0")
    return values.astype(np.int32)


def _column(values, n, name):
    """Weights or delays of given edges."""
    if values is None:
        return None
    values = np.asarray(values)
    if values.dtype.kind not in "iuf" or values.shape not in ((), (n,)):
        raise ConnectError(f"{name} has shape {values.shape} and type {values.dtype}, but there are {n} edges; give {n} numbers")
    values = np.broadcast_to(values, (n,)).astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(values) | ((values < 0) if name == "delay" else False))
    if bad.size:
        need = "finite and at least 0 ms" if name == "delay" else "finite"
        raise ParameterError(f"row {bad[0]}: {name}={values[bad[0]]} must be {need}")
    return values


@dataclass(frozen=True, eq=False)
class _Sides:
    """What a rule knows about both sides. `own` is, for each target, the source that is the same cell, or -1."""

    n_pre: int
    n_post: int
    own: np.ndarray | None
    pre_positions: Any
    post_positions: Any

    @property
    def autapses(self):
        """Sorted slots pre * n_post + post at which a cell would meet itself."""
        if self.own is None:
            return np.empty(0, np.int64)
        post = np.flatnonzero(self.own >= 0)
        return np.sort(self.own[post] * self.n_post + post)

    def edges(self, slots, keep_autapses=True):
        """Edges from slots."""
        pre, post = np.divmod(slots, max(1, self.n_post))
        if not keep_autapses and self.own is not None:
            other = self.own[post] != pre
            pre, post = pre[other], post[other]
        return Edges(pre, post, self.n_pre, self.n_post)


def _own(n_pre, n_post, pre_ids, post_ids):
    pre_ids = np.arange(n_pre) if pre_ids is None else np.asarray(pre_ids, np.int64)
    post_ids = np.arange(n_post) if post_ids is None else np.asarray(post_ids, np.int64)
    where = np.full(max(pre_ids.max(initial=0), post_ids.max(initial=0)) + 1, -1, np.int64)
    where[pre_ids] = np.arange(len(pre_ids))
    return where[post_ids]


class Rule(ABC):
    """A connectivity rule: a frozen description that draws edges when it meets a generator."""

    def edges(self, n_pre, n_post, rng, *, pre_ids=None, post_ids=None, same=False, pre_positions=None, post_positions=None):
        """Draw edges.

        Args:
            n_pre, n_post: numbers of source and target cells; edges are numbered 0 .. n-1 on each side.
            rng: numpy.random.Generator, such as `brainsim.distributions.generator(seed, name)`.
            pre_ids, post_ids: (n_pre,) and (n_post,) numbers of the cells in their population, for parts of one.
            same: both sides belong to one population, so that equal ids are one cell: an edge between them is an autapse.
            pre_positions, post_positions: (n, d) positions in um, for rules of distance.

        Returns:
            Edges.
        """
        own = _own(n_pre, n_post, pre_ids, post_ids) if same else None
        sides = _Sides(int(n_pre), int(n_post), own, pre_positions, post_positions)
        expected = self._expected(sides)
        self._check_memory(expected, sides)
        made = self._draw(sides, rng)
        if not len(made) and (expected is None or expected > 0):
            hint = "" if expected is None else f", {expected:.3g} were expected"
            warnings.warn(f"{self!r} from {n_pre} to {n_post} cells drew no edges{hint}", stacklevel=2)
        return made

    def _check_memory(self, expected, sides):
        need, free = (expected or 0) * BYTES, _free_memory()
        if (expected or 0) >= 2**31 or need > free:
            limit = "more than 2**31 - 1" if expected >= 2**31 else f"more than the {free / 1e9:.3g} GB of free memory"
            raise ConnectError(
                f"{self!r} from {sides.n_pre} to {sides.n_post} cells makes about {expected:.3g} edges ({need:.3g} bytes while"
                f" they are drawn), {limit}; connect fewer cells or fewer pairs"
            )

    @abstractmethod
    def _expected(self, sides) -> float | None:
        """Expected number of edges; None if it is not known beforehand. Raises ConnectError if the rule cannot be met."""

    @abstractmethod
    def _draw(self, sides, rng) -> Edges: ...


def _free_memory():
    try:
        with open("/proc/meminfo") as lines:
            return next(int(line.split()[1]) * 1024.0 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return math.inf  # other systems: not known
