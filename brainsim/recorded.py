"""Spikes of a population and traces of a variable: what a `Result` holds by name. Plain NumPy."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .errors import ParameterError, UnknownNameError, unknown
from .lazy import FileArray


def _fixed(values, dtype=None):
    if isinstance(values, FileArray):
        return values
    view = np.asarray(values, dtype).view()
    view.flags.writeable = False
    return view


@dataclass(frozen=True, eq=False)
class Spikes:
    """Spikes of one population, sorted by time and then by cell.

    Attributes:
        times: (n_spikes,) float64, ms. A spike found at the end of step k has time (k+1) dt.
        indices: (n_spikes,) int32, the cell of each spike, 0 .. n_cells - 1.
        n_cells: size of the population, silent cells included.

    Of a large streamed run, times and indices are a `FileArray` (see `Result`).
    """

    times: np.ndarray
    indices: np.ndarray
    n_cells: int

    def __post_init__(self):
        if self.in_file:  # what was written is sorted
            return
        times, indices = np.asarray(self.times, np.float64), np.asarray(self.indices, np.int32)
        if times.ndim != 1 or times.shape != indices.shape:
            raise ParameterError(
                f"spike times {times.shape} and indices {indices.shape}: both must be flat and of equal length"
            )
        if not np.isfinite(times).all():
            raise ParameterError("spike times must be finite; drop the nan or infinite ones")
        if len(indices) and not (indices.min() >= 0 and indices.max() < self.n_cells):
            raise ParameterError(
                f"spikes of cells {indices.min()} .. {indices.max()} in a population of {self.n_cells}: "
                f"indices go from 0 to n_cells - 1"
            )
        step, ahead = np.diff(times), np.diff(indices) >= 0
        if not np.all((step > 0) | ((step == 0) & ahead)):
            order = np.lexsort((indices, times))
            times, indices = times[order], indices[order]
        object.__setattr__(self, "times", _fixed(times))
        object.__setattr__(self, "indices", _fixed(indices))
        object.__setattr__(self, "n_cells", int(self.n_cells))

    def __len__(self):
        return len(self.times)

    def __repr__(self):
        return f"Spikes({len(self):,} of {self.n_cells:,} cells)"

    @property
    def in_file(self) -> bool:
        """Whether the spikes are read from their file when they are used."""
        return isinstance(self.times, FileArray)

    @cached_property
    def _by_cell(self):
        order = np.argsort(self.indices, kind="stable")
        return self.times[order], np.searchsorted(self.indices[order], np.arange(self.n_cells + 1))

    def of(self, cell: int) -> np.ndarray:
        """Spike times (n,) of one cell in ms."""
        if not 0 <= cell < self.n_cells:
            raise UnknownNameError(f"there is no cell {cell}: this population has cells 0 .. {self.n_cells - 1}")
        times, start = self._by_cell
        return times[start[cell] : start[cell + 1]]

    def counts(self) -> np.ndarray:
        """Number of spikes of each cell (n_cells,), int64."""
        return np.bincount(self.indices, minlength=self.n_cells)

    def between(self, start: float, stop: float) -> "Spikes":
        """Spikes with start < time <= stop (ms)."""
        low, high = np.searchsorted(self.times, [start, stop], side="right")
        return Spikes(self.times[low:high], self.indices[low:high], self.n_cells)


@dataclass(frozen=True, eq=False)
class Trace:
    """A variable over time.

    Attributes:
        values: (n_samples, n) as recorded, one column a cell (or an edge).
        times: (n_samples,) float64, ms. A sample taken in step k has time (k+1) dt.
        indices: (n,) which cells (or edges) of the population were recorded.
        unit: unit string; "1" is dimensionless.

    Of a large streamed run, values and times are a `FileArray` (see `Result`).
    """

    values: np.ndarray
    times: np.ndarray
    indices: np.ndarray
    unit: str = "1"

    def __post_init__(self):
        values, times, indices = self.values, self.times, np.asarray(self.indices)
        if not self.in_file:
            values, times = np.asarray(values), np.asarray(times, np.float64)
        if values.ndim == 1 and indices.shape == (1,):
            values = values[:, None]
        if values.shape != (*times.shape, *indices.shape) or values.ndim != 2:
            raise ParameterError(
                f"values {values.shape} do not fit {times.size} times and {indices.size} indices: give (n_samples, n)"
            )
        object.__setattr__(self, "values", _fixed(values))
        object.__setattr__(self, "times", _fixed(times))
        object.__setattr__(self, "indices", _fixed(indices.astype(np.int64)))
        object.__setattr__(self, "unit", str(self.unit or "1"))

    def __len__(self):
        return len(self.times)

    def __repr__(self):
        return f"Trace({len(self):,} samples of {len(self.indices):,}, {self.unit})"

    @property
    def in_file(self) -> bool:
        """Whether values are read from their file when they are used."""
        return isinstance(self.values, FileArray)

    def of(self, cell: int) -> np.ndarray:
        """Values (n_samples,) of one recorded cell, by its index in the population."""
        column = np.flatnonzero(self.indices == cell)
        if not column.size:
            raise UnknownNameError(unknown("recorded cell", str(cell), [str(i) for i in self.indices]))
        return self.values[:, column[0]]
