"""Results in HDF5 files, spikes in SONATA layout; `load` reads every kind of file brainsim writes.

Layout: root attributes `magic`, `version` (SONATA), `brainsim_kind`, `brainsim_schema`, `meta` (JSON);
`/spikes/<population>/{timestamps, node_ids}` with units "ms", sorted by time; `/traces/<name>/{values, times, indices}`
with the attribute `unit`; `/summaries`. In names "/" is written %2F.
"""

import json
from collections.abc import Iterable

import numpy as np

from . import extras
from .errors import FileFormatError, ParameterError
from .hdf5 import as_json, child, escape, read, reading, unescape, write, writing
from .journal import StreamWriter, is_journal, load_journal
from .lazy import FileArray
from .recorded import Spikes, Trace
from .result import Result
from .tree import load_tree, read_tree, save_tree, write_tree

__all__ = ["StreamWriter", "load", "load_result", "load_tree", "save_result", "save_tree"]

SORTING = {"none": 0, "by_id": 1, "by_time": 2}
PIECE = 2**26  # bytes that are written at once


def load(path, lazy: bool = False):
    """Read any file brainsim wrote: a `Result` (also of a run that was killed) or the tree of a checkpoint.

    Args:
        lazy: of a finished result read names and sizes alone; spikes and traces are read from the file when they are
            used, so keep it where it is.
    """
    if is_journal(path):
        return load_journal(path)
    with reading(path) as file:
        kind = file.attrs.get("brainsim_kind")
    return load_result(path, lazy) if kind == "result" else load_tree(path, kind)


def save_result(path, result: Result) -> None:
    """Write a result; its `state` is not part of the file (see checkpoints)."""
    sizes = {k: len(s) for k, s in result.spikes.items()} | {k: len(t) for k, t in result.traces.items()}
    save_parts(path, [result], result, sizes)


def save_parts(path, parts: Iterable[Result], whole: Result, sizes: dict[str, int]) -> None:
    """Write consecutive chunks as one result without holding them in memory together.

    Args:
        parts: the chunks, in order, read once.
        whole: a result with the meta data, times and summaries of the whole run; its spikes and traces are templates.
        sizes: name -> number of spikes or of samples in all parts.
    """
    with writing(path, "result") as file:
        file.attrs["meta"] = as_json(_facts(whole), "meta")
        write_tree(file.create_group("summaries", track_order=True), whole.summaries)
        columns = _make_spikes(file, whole, sizes) | _make_traces(file, whole, sizes)
        filled = dict.fromkeys(sizes, 0)
        for part in parts:
            for name, arrays in _columns(part).items():
                start = filled[name]
                for dataset, values in zip(columns[name], arrays):
                    _write_rows(dataset, start, values)
                filled[name] = start + len(arrays[0])


def _write_rows(dataset, start, values):
    """Write rows from `start` on, in pieces, because `values` may be in another file."""
    piece = max(1, PIECE * len(values) // max(values.nbytes, 1))
    for low in range(0, len(values), piece):
        part = values[low : low + piece]
        dataset[start + low : start + low + len(part)] = part


def _facts(result: Result) -> dict:
    facts = {k: getattr(result, k) for k in ("duration", "t_start", "dt", "seed", "ok")}
    return {**facts, "meta": result.meta}


def _columns(part: Result) -> dict[str, tuple[np.ndarray, ...]]:
    spikes = {k: (s.times, s.indices) for k, s in part.spikes.items()}
    return spikes | {k: (t.times, t.values) for k, t in part.traces.items()}


def _empty(group, name, shape, dtype):
    if dtype.kind not in "biufc":
        raise ParameterError(f"{group.name}: traces of {dtype} cannot be saved; convert them to float32 first")
    options = {"chunks": True, "fletcher32": True} if np.prod(shape) else {}
    return group.create_dataset(name, shape, dtype, **options)


def _make_spikes(file, whole, sizes):
    h5py = extras.load("h5py")
    enum = h5py.enum_dtype(SORTING, basetype="u1")  # libsonata reads nothing else
    columns, root = {}, file.create_group("spikes", track_order=True)
    for name, spikes in whole.spikes.items():
        group = root.create_group(escape(name))
        group.attrs.create("sorting", SORTING["by_time"], dtype=enum)
        group.attrs["n_cells"] = spikes.n_cells
        times = _empty(group, "timestamps", (sizes[name],), np.dtype(np.float64))
        times.attrs["units"] = "ms"
        columns[name] = (times, _empty(group, "node_ids", (sizes[name],), np.dtype(np.uint64)))
    return columns


def _make_traces(file, whole, sizes):
    columns, root = {}, file.create_group("traces", track_order=True)
    for name, trace in whole.traces.items():
        group = root.create_group(escape(name))
        group.attrs["unit"] = trace.unit
        write(group, "indices", trace.indices)
        times = _empty(group, "times", (sizes[name],), np.dtype(np.float64))
        times.attrs["units"] = "ms"
        columns[name] = (times, _empty(group, "values", (sizes[name], len(trace.indices)), trace.values.dtype))
    return columns


def load_result(path, lazy: bool = False) -> Result:
    """Read a result; of a streamed run that was killed, every finished chunk with `complete` False.

    Args:
        lazy: leave spikes and traces in the file until they are used; a run that was killed is read at once.

    Raises:
        FileFormatError: truncated file, wrong magic or version, missing data set; names the path inside the file.
    """
    if is_journal(path):
        return load_journal(path)
    with reading(path, "result") as file:
        facts = _read_facts(file)
        spikes = {unescape(k): _read_spikes(group, lazy) for k, group in child(file, "spikes").items()}
        traces = {unescape(k): _read_trace(group, lazy) for k, group in child(file, "traces").items()}
        return Result(spikes, traces, read_tree(child(file, "summaries")), **facts)


def _read_facts(file) -> dict:
    try:
        facts = json.loads(file.attrs["meta"])
        return {k: facts[k] for k in ("duration", "t_start", "dt", "seed", "ok", "meta")}
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise FileFormatError(f"{file.filename}: root attribute 'meta' is missing or damaged: {error!r}") from error


def _read_spikes(group, lazy) -> Spikes:
    lazy = lazy and "n_cells" in group.attrs and group.attrs.get("sorting") == SORTING["by_time"]
    if lazy:
        times, cells = FileArray.of(child(group, "timestamps")), FileArray.of(child(group, "node_ids"), np.int32)
    else:
        times, cells = read(group, "timestamps"), read(group, "node_ids")
    units = child(group, "timestamps").attrs.get("units", "ms")
    if units not in ("ms", "milliseconds"):
        raise FileFormatError(f"{group.file.filename}: {group.name}/timestamps is in {units!r}, not ms")
    n_cells = group.attrs["n_cells"] if "n_cells" in group.attrs else int(cells.max(initial=-1)) + 1
    try:
        return Spikes(times, cells, int(n_cells))
    except ParameterError as error:
        raise FileFormatError(f"{group.file.filename}: {group.name}: {error}") from error


def _read_trace(group, lazy) -> Trace:
    take = (lambda group, name: FileArray.of(child(group, name))) if lazy else read
    values, times, indices = take(group, "values"), take(group, "times"), read(group, "indices")
    try:
        return Trace(values, times, indices, group.attrs.get("unit", "1"))
    except ParameterError as error:
        raise FileFormatError(f"{group.file.filename}: {group.name}: {error}") from error
