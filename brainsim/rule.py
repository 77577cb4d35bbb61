"""What all connectivity rules share: what they know about both sides, the checks, and the door `Rule.edges`."""

import functools
import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from .distributions import stream
from .edges import Edges
from .errors import ConnectError, ParameterError
from .memory import free_memory, in_words
from .units import to_canonical

__all__ = ["CheckedRule", "Rule", "Sides"]
BYTES = 4  # of memory per edge: the target; the source is a row
WORK = 24  # per edge of a row while it is drawn, because a row is not divided


@dataclass(frozen=True, eq=False)
class Sides:
    """What a rule knows about both sides. `own` is, for each target, the source that is the same cell, or -1."""

    n_pre: int
    n_post: int
    own: np.ndarray | None
    pre_positions: Any
    post_positions: Any

    @functools.cached_property
    def autapses(self):
        """Sorted slots pre * n_post + post at which a cell would meet itself."""
        if self.own is None:
            return np.empty(0, np.int64)
        post = np.flatnonzero(self.own >= 0)
        return np.sort(self.own[post] * self.n_post + post)

    def holes(self, start, stop, autapses):
        """Slots of the rows start .. stop-1, counted from their first, that must stay free."""
        if autapses:
            return np.empty(0, np.int64)
        lo, hi = np.searchsorted(self.autapses, [start * self.n_post, stop * self.n_post])
        return self.autapses[lo:hi] - start * self.n_post


def _own(n_pre, n_post, pre_ids, post_ids):
    pre_ids = np.arange(n_pre) if pre_ids is None else np.asarray(pre_ids, np.int64)
    post_ids = np.arange(n_post) if post_ids is None else np.asarray(post_ids, np.int64)
    where = np.full(max(pre_ids.max(initial=0), post_ids.max(initial=0)) + 1, -1, np.int64)
    where[pre_ids] = np.arange(len(pre_ids))
    return where[post_ids]


class Rule(ABC):
    """A connectivity rule: a frozen description that draws edges when it meets a generator."""

    def edges(
        self, n_pre, n_post, rng, *, pre_ids=None, post_ids=None, same=False, pre_positions=None, post_positions=None
    ) -> Edges:
        """Draw edges.

        Args:
            n_pre, n_post: numbers of source and target cells; edges are numbered 0 .. n-1 on each side.
            rng: numpy.random.Generator, such as `brainsim.distributions.generator(seed, name)`. It gives the key of
                the streams from which blocks of rows are drawn, in parallel.
            pre_ids, post_ids: (n_pre,) and (n_post,) numbers of the cells in their population, for parts of one.
            same: both sides belong to one population, so that equal ids are one cell (and its edge an autapse).
            pre_positions, post_positions: (n, d) positions in um, for rules of distance.

        Returns:
            Edges.
        """
        own = _own(n_pre, n_post, pre_ids, post_ids) if same else None
        sides = Sides(int(n_pre), int(n_post), own, pre_positions, post_positions)
        expected = self._expected(sides)
        self._check_memory(expected, sides)
        made = self._draw(sides, functools.partial(stream, int.from_bytes(rng.bytes(16), "little")))
        if not len(made) and (expected is None or expected > 0):
            hint = "" if expected is None else f", {expected:.3g} were expected"
            warnings.warn(f"{self!r} from {n_pre} to {n_post} cells drew no edges{hint}", stacklevel=2)
        return made

    def _check_memory(self, expected, sides):
        if expected is None:
            return
        need = expected * BYTES + 8 * sides.n_pre + WORK * expected / max(1, sides.n_pre)
        free = free_memory()
        if expected < 2**31 and need < free:
            return
        limit = "2**31 - 1 edges" if expected >= 2**31 else f"the {in_words(free)} of free memory"
        raise ConnectError(
            f"{self!r} from {sides.n_pre} to {sides.n_post} cells makes about {expected:.3g} edges, which need "
            f"{in_words(need)}: more than {limit}; connect fewer cells or fewer pairs"
        )

    @abstractmethod
    def _expected(self, sides) -> float | None:
        """Expected number of edges, None if not known beforehand. Raises ConnectError if the rule cannot be met."""

    @abstractmethod
    def _draw(self, sides, streams) -> Edges:
        """Edges; streams(i) is the generator of block i, 0 that of the rule as a whole."""


def _probability(p, what):
    p = float(to_canonical(p, "1", what))
    if not 0 <= p <= 1:
        raise ParameterError(f"{what} must lie between 0 and 1, got {p:g}; write for example 0.1 for 10 percent")
    return p


def _count(k, what):
    """A whole number; 80.0 is accepted, because 0.1 * 800 gives a float."""
    number = float(to_canonical(k, "1", what))
    if number < 0 or number != int(number):
        raise ParameterError(f"{what} must be a whole number of at least 0, got {k!r}; write {abs(round(number))}")
    return int(number)


def _flag(x, what):
    if not isinstance(x, (bool, np.bool_)):
        raise ParameterError(f"{what} must be True or False, got {x!r}")


class CheckedRule(Rule):
    """Rules that check and normalise their arguments by the names of the fields."""

    def __post_init__(self):
        for name, value in vars(self).copy().items():
            what = f"{type(self).__name__}: {name}"
            if name in ("p", "p_rewire"):
                object.__setattr__(self, name, _probability(value, what))
            elif name in ("k", "n"):
                object.__setattr__(self, name, _count(value, what))
            elif name in ("autapses", "multapses"):
                _flag(value, what)
