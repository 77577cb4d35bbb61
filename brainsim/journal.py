"""Streaming results: every finished chunk survives a crash, a kill or a full disk.

HDF5 cannot promise that a file which is being written is readable after a kill. So a run streams to a journal: a file
of frames (length, checksum, payload), appended and flushed one by one. `load` ignores a frame that was cut short; all
before it are whole. `close` turns the journal into an ordinary HDF5 result under the same path, by an atomic rename.
"""

import io
import json
import os
import struct
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from .errors import FileFormatError, RunError
from .hdf5 import as_json, replacing, write_failed
from .recorded import Spikes, Trace
from .result import Result, check_follows, joined_meta

SIGNATURE = b"brainsim journal 1\n"
FRAME = struct.Struct("<4sQI")  # mark, length of the payload, its CRC-32; the CRC-32 of these three follows
SUM = struct.Struct("<I")
MARK = b"CHNK"


def is_journal(path) -> bool:
    """Whether a file is a journal, that is, a streamed run that was not closed."""
    try:
        with open(path, "rb") as file:
            return file.read(len(SIGNATURE)) == SIGNATURE
    except (FileNotFoundError, IsADirectoryError):
        return False


def _pack(facts: dict, arrays: dict[str, np.ndarray]) -> bytes:
    columns: dict[str, Any] = {"facts": np.array(as_json(facts, "a chunk"))}
    columns |= {f"a{i}": a for i, a in enumerate(arrays.values())}
    payload = io.BytesIO()
    np.savez(payload, **columns)
    body = payload.getvalue()
    head = FRAME.pack(MARK, len(body), zlib.crc32(body))
    return head + SUM.pack(zlib.crc32(head)) + body


def _pack_result(part: Result) -> bytes:
    arrays: dict[str, np.ndarray] = {}

    def keep(x) -> Any:
        """Replace arrays in nested containers by references to `arrays`."""
        if isinstance(x, dict):
            return {"dict": [[k, keep(v)] for k, v in x.items()]}
        if isinstance(x, list | tuple):
            return {type(x).__name__: [keep(v) for v in x]}
        if isinstance(x, bool | int | float | str | None):
            return x
        arrays[str(len(arrays))] = np.asarray(x)
        return {"scalar" if isinstance(x, np.generic) else "array": len(arrays) - 1}

    facts = {k: getattr(part, k) for k in ("duration", "t_start", "dt", "seed", "ok", "meta")}
    spikes = {k: (s.times, s.indices, s.n_cells) for k, s in part.spikes.items()}
    traces = {k: (t.values, t.times, t.indices, t.unit) for k, t in part.traces.items()}
    held = {"spikes": spikes, "traces": traces, "summaries": part.summaries}
    return _pack({"facts": facts, "held": keep(held)}, arrays)


def _unpack(body: bytes) -> tuple[dict, list[np.ndarray]]:
    with np.load(io.BytesIO(body), allow_pickle=False) as archive:
        return json.loads(str(archive["facts"])), [archive[f"a{i}"] for i in range(len(archive.files) - 1)]


def _unpack_result(body: bytes) -> Result:
    content, arrays = _unpack(body)

    def restore(x) -> Any:
        if not isinstance(x, dict):
            return x
        ((kind, value),) = x.items()
        if kind == "dict":
            return {k: restore(v) for k, v in value}
        if kind in ("array", "scalar"):
            return arrays[value] if kind == "array" else arrays[value][()]
        return (list if kind == "list" else tuple)(restore(v) for v in value)

    held = restore(content["held"])
    spikes = {k: Spikes(*v) for k, v in held["spikes"].items()}
    traces = {k: Trace(*v) for k, v in held["traces"].items()}
    return Result(spikes, traces, held["summaries"], **content["facts"])


def frames(path) -> Iterator[bytes]:
    """Payloads of a journal; the first is the header. Stops before the first frame that is cut short or damaged."""
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        if file.read(len(SIGNATURE)) != SIGNATURE:
            raise FileFormatError(f"{path} is not a brainsim journal")
        number = -1  # of the header
        while len(head := file.read(FRAME.size + SUM.size)) == FRAME.size + SUM.size:
            _, length, checksum = FRAME.unpack_from(head)
            sound = SUM.pack(zlib.crc32(head[: FRAME.size])) == head[FRAME.size :]
            if sound and file.tell() + length > size:
                return
            body = file.read(length) if sound else b""
            if not sound or zlib.crc32(body) != checksum:
                if file.read().strip(b"\0"):  # zeros are a tail that never reached the disk
                    warnings.warn(f"{path}: chunk {number} is damaged; only those before it were read", stacklevel=2)
                return
            yield body
            number += 1


def load_journal(path) -> Result:
    """Every finished chunk of a streamed run that was not closed, joined; `complete` is False."""
    payloads = frames(path)
    header = next(payloads, None)
    if header is None:
        raise FileFormatError(f"{path}: the header of the journal is damaged")
    facts, _ = _unpack(header)
    parts = [_unpack_result(body) for body in payloads]
    whole = Result.join(parts) if parts else _empty_result(facts)
    return replace(whole, meta={**_meta_of(facts), **whole.meta, "complete": False})


FACTS = ("t_start", "dt", "seed")  # of the header; the rest of it is meta data


def _empty_result(header: dict) -> Result:
    return Result(**{k: header[k] for k in FACTS if header.get(k) is not None})


def _meta_of(header: dict) -> dict:
    rest = {k: v for k, v in header.items() if k not in (*FACTS, "meta")}
    return {**rest, **header.get("meta", {})}


class StreamWriter:
    """Writes the chunks of a run to disk as they finish.

    ```python
    with StreamWriter("run.h5", dict(dt=0.1, seed=0, meta=dict(device="cpu"))) as stream:
        for chunk in chunks:
            stream.append(chunk)
    ```

    After each `append` the chunk is on disk, and `bs.load(path)` reads all finished ones from any process at any time.
    Memory holds one chunk.

    Args:
        path: the file; it is replaced at once, so that an old result is never taken for this run.
        header: what is known before the first chunk: t_start (ms), dt (ms), seed, and `meta` of the result.
    """

    def __init__(self, path, header: dict | None = None):
        self.path, self.header, self.n_chunks = Path(path), dict(header or {}), 0
        self._whole: Result | None = None
        self._sizes: dict[str, int] = {}
        self._closed = False
        start = SIGNATURE + _pack(self.header, {})
        with replacing(self.path) as temporary:
            temporary.write_bytes(start)
        self._file, self._end = open(self.path, "r+b", buffering=0), len(start)
        self._file.seek(self._end)

    def _write(self, data: bytes):
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
            os.fsync(self._file.fileno())
        except BaseException:
            self._file.truncate(self._end)
            self._file.seek(self._end)
            raise
        self._end += len(data)

    def append(self, part: Result) -> None:
        """Write one chunk, the continuation of the one before; on return it is on disk.

        Raises:
            OSError: the disk is full or failing; earlier chunks stay readable, and `append` may be tried again.
        """
        if self._closed or self._file.closed:
            raise RunError(f"{self.path} is closed; make a new StreamWriter")
        if self._whole is not None:
            check_follows(self._whole, part)
        try:
            self._write(_pack_result(part))
        except OSError as error:
            raise write_failed(
                self.path, error, f"The {self.n_chunks} finished chunks are safe: bs.load reads them."
            ) from error
        self.n_chunks += 1
        for name, record in (part.spikes | part.traces).items():
            self._sizes[name] = self._sizes.get(name, 0) + len(record)
        self._remember(part)

    def _remember(self, part: Result):
        """Keep what describes the run so far, without its data."""
        first = self._whole or part
        spikes = {k: Spikes(s.times[:0], s.indices[:0], s.n_cells) for k, s in part.spikes.items()}
        traces = {k: Trace(t.values[:0], t.times[:0], t.indices, t.unit) for k, t in part.traces.items()}
        self._whole = replace(
            part,
            spikes=spikes,
            traces=traces,
            duration=part.t_stop - first.t_start,
            t_start=first.t_start,
            seed=first.seed,
            state=None,
            ok=first.ok and part.ok,
            meta=joined_meta([first.meta, part.meta]) if self._whole else dict(part.meta),
        )

    def close(self, complete: bool = True, *, meta: dict | None = None, summaries: dict | None = None) -> None:
        """Turn the journal into an HDF5 result.

        Args:
            complete: False when the run stopped before its end.
            meta: what is known only now (wall_s, ...), added to that of header and chunks.
            summaries: of the whole run; default those of the last chunk.

        Raises:
            OSError: no room for the second copy; the journal stays under the same path, whole and readable, and `close`
                may be tried again.
        """
        from .storage import save_parts

        if self._closed:
            return
        self._file.close()
        whole = self._whole or _empty_result(self.header)
        merged = {**_meta_of(self.header), **whole.meta, **(meta or {})}
        merged["complete"] = complete and merged.get("complete", True)
        whole = replace(whole, meta=merged, summaries=whole.summaries if summaries is None else summaries)
        save_parts(self.path, self._parts(), whole, self._sizes)
        self._closed = True

    def _parts(self) -> Iterator[Result]:
        read = 0
        for read, body in enumerate(frames(self.path)):
            if read:  # the first is the header
                yield _unpack_result(body)
        if read != self.n_chunks:
            raise FileFormatError(f"{self.path}: {self.n_chunks} chunks were written but only {read} can be read back")

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        self.close(complete=kind is None)
