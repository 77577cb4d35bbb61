"""Edges between two sets of cells: checked index arrays in a fixed order."""

from dataclasses import dataclass

import numpy as np

from .errors import ConnectError, ParameterError

__all__ = ["Edges"]


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
        hint = "; write numpy.flatnonzero(mask)" if values.dtype == bool else ""
        raise ConnectError(f"{side} must be a list of indices, got {values.dtype} of shape {values.shape}{hint}")
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
        given = f"{len(values)} values" if values.ndim == 1 else f"shape {values.shape}"
        raise ConnectError(f"{name} has {given} ({values.dtype}), but there are {n} edges; give {n} numbers")
    values = np.broadcast_to(values, (n,)).astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(values) | ((values < 0) if name == "delay" else False))
    if bad.size:
        need = "finite and at least 0 ms" if name == "delay" else "finite"
        raise ParameterError(f"row {bad[0]}: {name}={values[bad[0]]} must be {need}")
    return values
