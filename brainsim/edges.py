"""Edges between two sets of cells: compressed rows, checked where they are given."""

import numpy as np

from .errors import ConnectError, ParameterError

__all__ = ["Edges", "check_ends", "merge_rows"]

PART = 2**22  # edges looked at together where all of them would need much memory


class Edges:
    """Directed edges, sorted by (pre, post). Edges between the same two cells may repeat.

    They are kept as compressed rows: the edges of source r are those from ``indptr[r]`` to ``indptr[r + 1] - 1``.

    Args:
        pre, post: (n_edges,) indices.
        n_pre, n_post: numbers of cells on both sides.
        weight, delay: (n_edges,) values in the order in which `pre` and `post` are given, or None. Floats keep their
            dtype.

    Attributes:
        indptr: (n_pre + 1,) int64.
        post: (n_edges,) int32, rising within a row; read-only.

    Raises:
        ConnectError: index out of range or not whole (the first bad row is named), arrays of different lengths.
        ParameterError: a weight or delay that is not finite, a negative delay.
    """

    __slots__ = ("delay", "indptr", "n_post", "n_pre", "post", "weight")

    def __init__(self, pre, post, n_pre, n_post, weight=None, delay=None):
        pre, post, weight, delay = check_ends(pre, post, n_pre, n_post, weight, delay)
        if np.any((pre[1:] < pre[:-1]) | ((pre[1:] == pre[:-1]) & (post[1:] < post[:-1]))):
            key = pre.astype(np.int64) * n_post + post
            if weight is None and delay is None:
                key.sort()  # many times faster than sorting indices
                pre, post = (x.astype(np.int32) for x in np.divmod(key, n_post))
            else:
                order = np.argsort(key, kind="stable")
                pre, post = pre[order], post[order]
                weight, delay = (None if x is None else x[order] for x in (weight, delay))
        self._set(_pointers(_counts(pre, n_pre)), post, n_pre, n_post, weight, delay)

    @classmethod
    def from_rows(cls, indptr, post, n_pre, n_post, weight=None, delay=None) -> "Edges":
        """Edges from compressed rows; nothing is checked or copied."""
        made = object.__new__(cls)
        made._set(indptr, post, n_pre, n_post, weight, delay)
        return made

    def _set(self, indptr, post, n_pre, n_post, weight, delay):
        post.flags.writeable = indptr.flags.writeable = False
        values = {"indptr": indptr, "post": post, "n_pre": n_pre, "n_post": n_post, "weight": weight, "delay": delay}
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def __setattr__(self, name, value):
        raise AttributeError(f"edges are not changed; make new ones ({name})")

    def __reduce__(self):
        return Edges.from_rows, (self.indptr, self.post, self.n_pre, self.n_post, self.weight, self.delay)

    def __len__(self):
        return len(self.post)

    @property
    def pre(self) -> np.ndarray:
        """(n_edges,) int32 sources, made on demand."""
        return np.repeat(np.arange(self.n_pre, dtype=np.int32), np.diff(self.indptr))

    def pre_range(self, lo: int, hi: int) -> np.ndarray:
        """(hi - lo,) int32 sources of the edges lo .. hi-1."""
        rows, counts = self._rows(lo, hi)
        return np.repeat(np.arange(rows.start, rows.stop, dtype=np.int32), counts)

    def places(self, lo: int, hi: int, shift: np.ndarray) -> np.ndarray:
        """(hi - lo,) int64: the edges lo .. hi-1 moved by (n_pre,) `shift` of their rows; see `merge_rows`."""
        rows, counts = self._rows(lo, hi)
        return np.arange(lo, hi) + np.repeat(shift[rows], counts)

    def _rows(self, lo, hi):
        """Rows that have edges in lo .. hi-1, and how many of these edges each of them has."""
        first = np.searchsorted(self.indptr, lo, side="right") - 1
        last = max(first, np.searchsorted(self.indptr, hi, side="left"))
        return slice(int(first), int(last)), np.diff(np.clip(self.indptr[first : last + 1], lo, hi))

    @property
    def duplicates(self) -> int:
        """Number of edges that repeat an earlier pair (pre, post)."""
        equal = self.post[1:] == self.post[:-1]
        starts = self.indptr[1:-1]
        starts = np.unique(starts[(starts > 0) & (starts < len(self))])  # the first edge of a row repeats none
        return int(np.count_nonzero(equal) - np.count_nonzero(equal[starts - 1]))

    @property
    def in_degree(self) -> np.ndarray:
        """(n_post,) number of edges that reach each target."""
        return _counts(self.post, self.n_post)

    @property
    def out_degree(self) -> np.ndarray:
        """(n_pre,) number of edges that leave each source."""
        return np.diff(self.indptr)

    def within(self, pre_ids, post_ids, n_pre: int, n_post: int) -> "Edges":
        """The same edges between larger sets, of which source i is `pre_ids[i]` and target j is `post_ids[j]`."""
        if np.any(np.diff(pre_ids) < 0) or np.any(np.diff(post_ids) < 0):
            return Edges(pre_ids[self.pre], post_ids[self.post], n_pre, n_post, self.weight, self.delay)
        degree = np.zeros(n_pre, np.int64)
        degree[pre_ids] = self.out_degree
        same = len(post_ids) == n_post
        post = self.post if same else np.asarray(post_ids, np.int32)[self.post]
        return Edges.from_rows(_pointers(degree), post, n_pre, n_post, self.weight, self.delay)

    def repeated(self, times: int) -> "Edges":
        """Every edge so many times, without weights and delays."""
        if times == 1:
            return self
        return Edges.from_rows(self.indptr * times, np.repeat(self.post, times), self.n_pre, self.n_post)

    def __repr__(self):
        more = "".join(f", with {name}" for name in ("weight", "delay") if getattr(self, name) is not None)
        return f"Edges({self.n_pre} -> {self.n_post} cells, {len(self)} edges, {self.duplicates} duplicates{more})"


def _counts(cells, n):
    """(n,) how often each cell occurs; numpy.bincount makes an int64 copy, here of a part only."""
    degree = np.zeros(n, np.int64)
    for lo in range(0, len(cells), PART):
        degree += np.bincount(cells[lo : lo + PART], minlength=n)
    return degree


def _pointers(degree):
    """Row pointers from the lengths of the rows."""
    indptr = np.zeros(len(degree) + 1, np.int64)
    np.cumsum(degree, out=indptr[1:])
    return indptr


def merge_rows(parts, n_sources: int):
    """Where the edges of several projections stand in rows that they share.

    Args:
        parts: (edges, first) pairs: cell 0 of the sources of these edges is row `first`. In every row the parts follow
            each other in this order.
        n_sources: number of shared rows.

    Returns:
        indptr: (n_sources + 1,) int64 pointers of the shared rows.
        shifts: for every part (n_pre,) int64: edge e of its row r stands at ``e + shift[r]``, see `Edges.places`.
    """
    degree = np.zeros(n_sources, np.int64)
    before = []  # edges of earlier parts in the same row
    for edges, first in parts:
        rows = slice(first, first + edges.n_pre)
        before.append(degree[rows].copy())
        degree[rows] += edges.out_degree
    indptr = _pointers(degree)
    shifts = [
        indptr[first : first + edges.n_pre] + earlier - edges.indptr[:-1]
        for (edges, first), earlier in zip(parts, before)
    ]
    return indptr, shifts


def check_ends(pre, post, n_pre, n_post, weight=None, delay=None):
    """pre and post as int32, weight and delay as floats, checked; see `Edges`."""
    pre, post = _indices(pre, n_pre, "pre"), _indices(post, n_post, "post")
    if len(pre) != len(post):
        raise ConnectError(f"{len(pre)} values of pre but {len(post)} of post; give both ends of every edge")
    if len(pre) > 2**31 - 1:
        raise ConnectError(f"{len(pre)} edges; one projection holds at most 2**31 - 1, so connect in parts")
    return pre, post, _column(weight, len(pre), "weight"), _column(delay, len(pre), "delay")


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
    kept = values.dtype if values.dtype in (np.float32, np.float64) else np.float64
    values = np.broadcast_to(values, (n,)).astype(kept)
    bad = np.flatnonzero(~np.isfinite(values) | ((values < 0) if name == "delay" else False))
    if bad.size:
        need = "finite and at least 0 ms" if name == "delay" else "finite"
        raise ParameterError(f"row {bad[0]}: {name}={values[bad[0]]} must be {need}")
    return values
