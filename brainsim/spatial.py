"""Distances between cells, profiles of distance (for probabilities, weights, delays), and the rule that uses them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .blocks import from_slots
from .errors import ConnectError, ParameterError
from .rule import CheckedRule
from .sampling import slot_type, without
from .units import to_canonical

__all__ = ["distance_dependent", "distances", "exponential_decay", "gaussian", "pairs_within"]

BLOCK = 2_000_000  # pairs looked at together
ROWS = 1024  # sources that share a random stream, and whose neighbours are looked up together


@dataclass(frozen=True)
class gaussian:
    """p_max * exp(-distance**2 / (2 sigma**2)).

    Args:
        sigma: width in um, a number or ``"100 um"``.
        p_max: value at distance 0.

    Example:
        >>> float(gaussian("0.1 mm", 0.5)(0.0))
        0.5
    """

    sigma: float
    p_max: float = 1.0

    def __post_init__(self):
        object.__setattr__(self, "sigma", _positive(self.sigma, "gaussian: sigma"))
        object.__setattr__(self, "p_max", float(to_canonical(self.p_max, "1", "gaussian: p_max")))

    def __call__(self, distance):
        return self.p_max * np.exp(-0.5 * (np.asarray(distance, np.float64) / self.sigma) ** 2)


@dataclass(frozen=True)
class exponential_decay:
    """``p_max * exp(-distance / lambda_)``.

    Args:
        lambda_: length constant in um, a number or ``"100 um"``.
        p_max: value at distance 0.
    """

    lambda_: float
    p_max: float = 1.0

    def __post_init__(self):
        object.__setattr__(self, "lambda_", _positive(self.lambda_, "exponential_decay: lambda_"))
        object.__setattr__(self, "p_max", float(to_canonical(self.p_max, "1", "exponential_decay: p_max")))

    def __call__(self, distance):
        return self.p_max * np.exp(-np.asarray(distance, np.float64) / self.lambda_)


def _positive(x, what):
    x = float(to_canonical(x, "um", what))
    if x <= 0:
        raise ParameterError(f"{what} must be above 0 um, got {x:g}")
    return x


def positions_of(positions, n: int, side: str, rule) -> np.ndarray:
    """Positions of one side, checked: (n, d) finite floats in um."""
    if positions is None:
        raise ConnectError(f"{rule!r} needs positions of the {side} cells; give net.add positions= of shape ({n}, 2)")
    positions = np.asarray(to_canonical(positions, "um", f"positions of the {side} cells"))
    if positions.ndim != 2 or len(positions) != n:
        raise ConnectError(f"positions of the {side} cells have shape {positions.shape}; give ({n}, 2) or ({n}, 3)")
    return positions


def distances(a, b, periodic=None) -> np.ndarray:
    """Euclidean distances between positions, along the last axis.

    Args:
        a, b: (..., d) positions in um.
        periodic: edge lengths of a box that repeats, (d,) or one number, in um; the shortest way counts.
    """
    step = np.asarray(a, np.float64) - np.asarray(b, np.float64)
    if periodic is not None:
        step -= np.asarray(periodic) * np.round(step / periodic)
    return np.sqrt(np.einsum("...d,...d->...", step, step))


def pairs_within(pre, post, max_distance=None, periodic=None):
    """All pairs of cells not farther apart than `max_distance`, in blocks, sorted by (pre, post).

    Args:
        pre, post: (n_pre, d) and (n_post, d) positions in um.
        max_distance: in um; None takes all pairs.
        periodic: as in `distances`.

    Yields:
        (pre, post, distance) of a block: index arrays and um. A search tree (scipy, imported here) finds the pairs of
        large populations; the result is the same without it.
    """
    near = _Neighbours(post, max_distance, periodic, len(pre) * len(post) > BLOCK)
    for start in range(0, len(pre), ROWS):
        for i, j, d in near.of(pre[start : start + ROWS]):
            yield i + start, j, d


class _Neighbours:
    """Finds the targets within a distance of some sources."""

    def __init__(self, post, max_distance, periodic, large):
        self.post, self.max_distance, self.periodic = post, max_distance, periodic
        self.box = None if periodic is None else np.broadcast_to(np.asarray(periodic, np.float64), post.shape[1:])
        self.tree = self._tree(post) if large and max_distance is not None else None

    def _tree(self, points):
        from scipy.spatial import cKDTree

        box = self.box
        return cKDTree(points if box is None else np.mod(points, box) % box, boxsize=box)  # twice: -1e-20 % 1 is 1

    def of(self, pre):
        """Yields (pre, post, distance) of the pairs, sorted."""
        if self.tree is None:
            rows = max(1, BLOCK // max(1, len(self.post)))
            for start in range(0, len(pre), rows):
                d = distances(pre[start : start + rows, None], self.post[None], self.periodic)
                i, j = np.nonzero(np.ones(d.shape, bool) if self.max_distance is None else d <= self.max_distance)
                yield i + start, j, d[i, j]
            return
        reach = self.max_distance * (1 + 1e-9)
        found = self._tree(pre).sparse_distance_matrix(self.tree, reach, output_type="ndarray")
        order = np.lexsort((found["j"], found["i"]))
        i, j = found["i"][order], found["j"][order]
        d = distances(pre[i], self.post[j], self.periodic)  # the same numbers as without a tree
        keep = d <= self.max_distance
        yield i[keep], j[keep], d[keep]


@dataclass(frozen=True)
class distance_dependent(CheckedRule):
    """Every pair with a probability that is a function of the distance.

    Args:
        profile: function of an array of distances in um that gives probabilities, such as `gaussian` or a lambda.
        max_distance: no edges beyond it, in um or ``"1 mm"``; makes large populations fast.
        periodic: edge lengths in um of a box that repeats, (d,) or one number.
        autapses: whether a cell may connect to itself.
    """

    profile: Callable
    max_distance: float | None = None
    periodic: Any = None
    autapses: bool = True

    def __post_init__(self):
        if not callable(self.profile):
            raise ParameterError(f"distance_dependent needs a function, got {self.profile!r}; write bs.gaussian(100.0)")
        super().__post_init__()
        if self.max_distance is not None:
            object.__setattr__(self, "max_distance", _positive(self.max_distance, "distance_dependent: max_distance"))
        if self.periodic is not None:
            box = np.atleast_1d(to_canonical(self.periodic, "um", "distance_dependent: periodic"))
            if np.any(box <= 0):
                raise ParameterError(f"distance_dependent: periodic must be above 0 um, got {self.periodic}")
            object.__setattr__(self, "periodic", tuple(box.tolist()))

    def _expected(self, sides):
        return None

    def _draw(self, sides, streams):
        a = positions_of(sides.pre_positions, sides.n_pre, "pre", self)
        b = positions_of(sides.post_positions, sides.n_post, "post", self)
        near = _Neighbours(b, self.max_distance, self.periodic, len(a) * len(b) > BLOCK)

        def slots(block, start, stop):
            rng, kind = streams(block), slot_type((stop - start) * sides.n_post)
            found = [np.empty(0, kind)]
            for pre, post, d in near.of(a[start:stop]):
                hit = rng.random(len(d)) < self._probabilities(d)
                found.append((pre[hit].astype(np.int64) * sides.n_post + post[hit]).astype(kind))
            return without(np.concatenate(found), sides.holes(start, stop, self.autapses))

        blocks = [(1 + i, start, min(start + ROWS, len(a))) for i, start in enumerate(range(0, len(a), ROWS))]
        return from_slots(sides.n_pre, sides.n_post, blocks, slots, 0)

    def _probabilities(self, d):
        p = np.asarray(to_canonical(self.profile(d), "1", f"{self!r}: the profile"))
        if p.shape not in ((), d.shape):
            raise ConnectError(f"{self!r}: the profile gives shape {p.shape} for {len(d)} distances; return one each")
        p = np.broadcast_to(p, d.shape)
        bad = np.flatnonzero((p < 0) | (p > 1))
        if bad.size:
            i = bad[0]
            raise ParameterError(f"{self!r}: the profile gives {p[i]:g} at {d[i]:g} um; it must lie between 0 and 1")
        return p
