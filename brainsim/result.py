"""What a run leaves behind: spikes, traces and where they came from. Plain NumPy, labelled by name."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from . import statistics
from .errors import RunError, UnknownNameError, unknown
from .names import match
from .recorded import Spikes, Trace

__all__ = ["PopulationRate", "Result", "Spikes", "Trace"]


class PopulationRate(NamedTuple):
    """Bin centres (n_bins,) in ms and firing rate per cell (n_bins,) in Hz."""

    times: np.ndarray
    rate: np.ndarray


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """Everything a run recorded. `result["exc"]` are spikes, `result["exc.v"]` the values of a trace.

    Attributes:
        spikes: population name -> `Spikes`.
        traces: "population.variable" -> `Trace`.
        summaries: name -> array or nested dict, what running recorders accumulated (means, covariances, ...).
        duration: ms. t_start: ms. dt: ms. seed: of the run.
        state: where the run ended, as the engine keeps it; not saved to files.
        ok: False when a state stopped being finite.
        meta: versions, device, dtype, wall_s, compile_s, populations {name: n}, complete (False if interrupted), ...

    A streamed run whose file is large (above 1 GiB or a quarter of the free memory) is not read back: its spikes and
    traces are `FileArray`s, which read from the file when they are used, a slice as that part alone. Keep the file
    where it is as long as such a result is in use.
    """

    spikes: dict[str, Spikes] = field(default_factory=dict)
    traces: dict[str, Trace] = field(default_factory=dict)
    summaries: dict[str, Any] = field(default_factory=dict)
    duration: float = 0.0
    t_start: float = 0.0
    dt: float = 0.1
    seed: int | None = None
    state: Any = None
    ok: bool = True
    meta: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        object.__setattr__(self, "ok", bool(self.ok))
        for name in ("duration", "t_start", "dt"):
            object.__setattr__(self, name, float(getattr(self, name)))

    @property
    def t_stop(self) -> float:
        """End of the run in ms."""
        return self.t_start + self.duration

    @property
    def complete(self) -> bool:
        """False when the run was interrupted before its end."""
        return bool(self.meta.get("complete", True))

    @property
    def populations(self) -> dict[str, int]:
        """Population name -> number of cells, in the order of the network; recorded ones where the run did not say."""
        return {**self.meta.get("populations", {}), **{k: s.n_cells for k, s in self.spikes.items()}}

    def __getitem__(self, name: str):
        """Spikes of a population, values of a trace, or a summary."""
        if name in self.traces:
            return self.traces[name].values
        if name in self.summaries:
            return self.summaries[name]
        return self._spikes(name.removesuffix(".spikes"))

    def __contains__(self, name):
        return any(name in known for known in (self.spikes, self.traces, self.summaries))

    def _spikes(self, name: str) -> Spikes:
        if name not in self.spikes:
            raise UnknownNameError(unknown("record", name, [*self.spikes, *self.traces, *self.summaries]))
        return self.spikes[name]

    def _select(self, pattern: str | None) -> dict[str, Spikes]:
        names = self.spikes if pattern is None else match(pattern, self.spikes, "population with spikes")
        return {name: self.spikes[name] for name in names}

    def rates(self, bin: float | None = None, name: str | None = None) -> dict[str, Any]:
        """Mean firing rates in Hz: {population: rate}.

        Args:
            bin: with a width in ms the rates are arrays (n_bins,) over time instead of one number.
            name: population or wildcard; default all.
        """
        chosen = self._select(name)
        if bin is not None:
            return {k: self.population_rate(k, bin).rate for k in chosen}
        return {k: float(statistics.rates(s.indices, s.n_cells, self.duration).mean()) for k, s in chosen.items()}

    def population_rate(self, name: str, bin: float = 1.0) -> PopulationRate:
        """Firing rate per cell of one population in bins of `bin` ms: (times (n_bins,) ms, rate (n_bins,) Hz)."""
        spikes = self._spikes(name)
        return PopulationRate(*statistics.population_rate(spikes.times, spikes.n_cells, bin, self.t_start, self.t_stop))

    def isi(self, name: str) -> np.ndarray:
        """Inter-spike intervals (m,) of all cells of a population in ms, ordered by cell and then by time."""
        spikes = self._spikes(name)
        return statistics.isi(spikes.times, spikes.indices)[0]

    def cv(self, name: str, min_spikes: int = 3) -> float:
        """Mean over cells of the coefficient of variation of the intervals; nan if no cell has `min_spikes` spikes."""
        spikes = self._spikes(name)
        values = statistics.cv(spikes.times, spikes.indices, spikes.n_cells, min_spikes)
        return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")

    @staticmethod
    def join(parts: Iterable["Result"]) -> "Result":
        """One result of consecutive chunks of one run. Means are those of the whole; the state is that of the last."""
        parts = list(parts)
        if not parts:
            raise RunError("there is nothing to join: give at least one result")
        for before, after in pairwise(parts):
            check_follows(before, after)
        first, last = parts[0], parts[-1]

        def joined(kind, name, attribute):
            return np.concatenate([getattr(getattr(p, kind)[name], attribute) for p in parts])

        spikes = {
            k: Spikes(joined("spikes", k, "times"), joined("spikes", k, "indices"), s.n_cells)
            for k, s in first.spikes.items()
        }
        traces = {
            k: Trace(joined("traces", k, "values"), joined("traces", k, "times"), t.indices, t.unit)
            for k, t in first.traces.items()
        }
        return replace(
            last,
            spikes=spikes,
            traces=traces,
            summaries=joined_means(parts),
            duration=last.t_stop - first.t_start,
            t_start=first.t_start,
            seed=first.seed,
            ok=all(p.ok for p in parts),
            meta=joined_meta([p.meta for p in parts]),
        )

    def save(self, path) -> None:
        """Write an HDF5 file (spikes in SONATA layout); an existing file is replaced only when the new one is whole."""
        from .storage import save_result

        save_result(path, self)

    @staticmethod
    def load(path, lazy: bool = False) -> "Result":
        """Read what `save` or a streamed run wrote; `lazy` leaves spikes and traces in the file until they are used."""
        from .storage import load_result

        return load_result(path, lazy)

    def to_pandas(self) -> dict:
        """Tables {"spikes": time_ms, population, cell; trace name: samples x cells}. Needs pandas."""
        from .export import to_pandas

        return to_pandas(self)

    def to_xarray(self):
        """An xarray Dataset of traces and spikes with labelled dimensions. Needs xarray."""
        from .export import to_xarray

        return to_xarray(self)

    def to_neo(self):
        """A neo Block with one segment: spike trains and analog signals with units. Needs neo."""
        from .export import to_neo

        return to_neo(self)

    def plot(self, **options) -> dict:
        """Raster, rates and traces in one figure; returns its axes by name. Needs matplotlib."""
        from .plot import plot_result

        return plot_result(self, **options)

    def __repr__(self):
        from .describe import as_text

        return as_text(self)

    def _repr_html_(self):
        from .describe import as_html

        return as_html(self)


def joined_means(parts: list["Result"]) -> dict:
    """Running means of consecutive chunks, weighted by their durations; what not all chunks hold is the last one's."""
    last, total = parts[-1].summaries, sum(p.duration for p in parts)
    out = dict(last)
    for name, value in last.items():
        values = [p.summaries.get(name) for p in parts]
        if total and isinstance(value, np.ndarray) and all(np.shape(v) == value.shape for v in values):
            out[name] = sum(p.duration * v for p, v in zip(parts, values)) / total
    return out


def joined_meta(metas: list[dict]) -> dict:
    """Meta data of consecutive chunks: the last one's, with wall and compile times summed; complete if all are."""
    joined = {k: v for meta in metas for k, v in meta.items()}
    for key in ("wall_s", "compile_s"):
        if key in joined:
            joined[key] = float(sum(meta.get(key) or 0.0 for meta in metas))
    if "complete" in joined:
        joined["complete"] = all(meta.get("complete", True) for meta in metas)
    return joined


def check_follows(before: Result, after: Result) -> None:
    """Raise RunError unless `after` continues `before`: contiguous in time, same dt, same records."""
    if abs(before.dt - after.dt) > 1e-9 * before.dt:
        raise RunError(f"chunks of one run have one dt; got {before.dt:g} and then {after.dt:g} ms")
    if abs(after.t_start - before.t_stop) > 0.01 * before.dt:
        raise RunError(
            f"a chunk that ends at {before.t_stop:g} ms cannot be followed by one that starts at {after.t_start:g} ms: "
            f"give consecutive chunks in their order"
        )
    for what in ("spikes", "traces"):
        old, new = getattr(before, what), getattr(after, what)
        if set(old) != set(new):
            raise RunError(f"chunks of one run record the same {what}; got {sorted(old)} and then {sorted(new)}")
    for name, trace in before.traces.items():
        if trace.unit != after.traces[name].unit or not np.array_equal(trace.indices, after.traces[name].indices):
            raise RunError(f"chunks of one run record the same cells in the same unit; {name} changes between chunks")
