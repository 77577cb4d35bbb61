"""HDF5 files that are either whole or absent: atomic writing, checked reading, nested dicts of arrays.

A file is written beside its final place, flushed to disk and renamed, so a crash or a full disk never leaves half a
file and never harms the one that was there. Reading reports what is wrong as `FileFormatError` with the path inside the
file.
"""

import json
import os
import uuid
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from . import extras
from .errors import FileFormatError, ParameterError

MAGIC = 0x0A7A  # of SONATA files
VERSION = (0, 1)  # of the SONATA layout
SCHEMA = 1  # of what brainsim adds to it


def escape(name: str) -> str:
    """A name as HDF5 accepts it for one link: "/" and "%" are written %2F and %25 ("L2/3E" is a fine population)."""
    if not isinstance(name, str) or not name:
        raise ParameterError(f"{name!r} cannot name something in a file; names are non-empty strings")
    quoted = name.replace("%", "%25").replace("/", "%2F")
    return "%2E" + quoted[1:] if quoted in (".", "..") else quoted


def unescape(name: str) -> str:
    """The inverse of `escape`."""
    return name.replace("%2E", ".").replace("%2F", "/").replace("%25", "%")


def flush_to_disk(path: Path) -> None:
    """fsync a file or a folder; folders cannot be synced on every system."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        if not path.is_dir():
            raise
    finally:
        os.close(handle)


def write_failed(path, error: OSError, kept: str) -> OSError:
    """The same kind of error with a message for humans; `kept` says what is still safe."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    return OSError(error.errno or 0, f"cannot write {path}: {reason}. {kept}")


@contextmanager
def replacing(path):
    """Yield a temporary path in the folder of `path`; on success it is flushed and takes the place of `path`."""
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"cannot write {path}: there is no folder {path.parent}; make it first")
    temporary = path.parent / f".{path.name}.{uuid.uuid4().hex[:8]}.tmp"
    try:
        yield temporary
        flush_to_disk(temporary)
        os.replace(temporary, path)
        flush_to_disk(path.parent)
    except FileFormatError:
        raise
    except (OSError, RuntimeError) as error:
        error = error if isinstance(error, OSError) else OSError(str(error))
        raise write_failed(path, error, "What was there before is untouched.") from error
    finally:
        temporary.unlink(missing_ok=True)


class _Sink:
    """A binary file for HDF5 that never fails: the library crashes the process when a write does.

    The first error is kept and raised by `check`; what HDF5 writes after it is thrown away.
    """

    def __init__(self, path):
        self.file, self.error = open(path, "w+b", buffering=0), None

    def _try(self, action, *arguments):
        if self.error is None:
            try:
                return action(*arguments)
            except OSError as error:
                self.error = error
        return None

    def write(self, data):
        rest, end = memoryview(data).cast("B"), self.file.tell() + len(data)
        while rest and self.error is None:
            rest = rest[self._try(self.file.write, rest) or 0 :]
        self.file.seek(end)
        return len(data)

    def truncate(self, size=None):
        self._try(self.file.truncate, size)
        return size

    def read(self, size=-1):
        return self.file.read(size)

    def readinto(self, buffer):
        return self.file.readinto(buffer)

    def seek(self, offset, whence=0):
        return self.file.seek(offset, whence)

    def tell(self):
        return self.file.tell()

    def flush(self):
        pass

    def check(self):
        if self.error is not None:
            raise self.error


@contextmanager
def writing(path, kind: str):
    """Yield an open HDF5 file with the root attributes set; it appears under `path` when the block ends well."""
    h5py = extras.load("h5py")
    with replacing(path) as temporary:
        sink = _Sink(temporary)
        try:
            with h5py.File(sink, "w", libver=("v108", "v110")) as file:
                file.attrs["magic"] = np.uint32(MAGIC)
                file.attrs["version"] = np.array(VERSION, np.uint32)
                file.attrs["brainsim_kind"] = kind
                file.attrs["brainsim_schema"] = np.uint32(SCHEMA)
                yield file
        finally:
            sink.file.close()
            sink.check()


def _check_root(file, path, kind):
    magic, found = file.attrs.get("magic"), file.attrs.get("brainsim_kind")
    if magic is None or int(np.ravel(magic)[0]) != MAGIC:
        raise FileFormatError(f"{path}: root attribute 'magic' is {magic!r}, not 0x{MAGIC:04X}: not a brainsim file")
    version = tuple(np.ravel(file.attrs.get("version", ())).tolist())
    if version[:1] != VERSION[:1]:
        raise FileFormatError(f"{path}: root attribute 'version' is {version}; this reads SONATA {VERSION[0]}.x")
    schema = int(file.attrs.get("brainsim_schema", 0))
    if not 1 <= schema <= SCHEMA:
        raise FileFormatError(f"{path}: brainsim_schema is {schema}, this reads 1 .. {SCHEMA}; use a newer brainsim")
    if kind is not None and found != kind:
        raise FileFormatError(f"{path} holds a {found!r}, not a {kind!r}; bs.load(path) reads any kind")


@contextmanager
def reading(path, kind: str | None = None):
    """Yield a checked, open HDF5 file of this `kind` (None: any)."""
    h5py, path = extras.load("h5py"), Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise FileFormatError(f"{path} is truncated or no HDF5 file: {error}") from error
    with file:
        try:
            _check_root(file, path, kind)
            yield file
        except (FileFormatError, ParameterError):
            raise
        except (OSError, RuntimeError, KeyError, ValueError) as error:
            raise FileFormatError(f"{path} is damaged: {error}") from error


def child(group, name: str):
    """Group or data set `name` of a group, or FileFormatError with the path inside the file."""
    try:
        found = group[name]
    except KeyError:
        found = None
    if found is None:
        inside = f"{group.name.rstrip('/')}/{name}"
        raise FileFormatError(f"{group.file.filename}: {inside} is missing; it has {sorted(group) or 'nothing'}")
    return found


def read(group, name: str) -> np.ndarray:
    """Values of a data set, bit for bit."""
    dataset = child(group, name)
    try:
        if dataset.dtype.kind == "O":
            return np.asarray(dataset.asstr()[()]).astype(dataset.attrs["dtype"])
        values = np.asarray(dataset[()])
        return values.view(_extended(dataset.attrs["dtype"])) if "dtype" in dataset.attrs else values
    except (OSError, RuntimeError, TypeError, AttributeError) as error:
        raise FileFormatError(f"{group.file.filename}: {dataset.name} cannot be read: {error}") from error


def _extended(name: str) -> np.dtype:
    return np.dtype(getattr(extras.load("ml_dtypes"), name))


def write(group, name: str, values, **options):
    """Store an array as data set `name`, with a checksum per block; returns the data set."""
    values = np.asarray(values)
    if values.dtype.kind == "U":
        dataset = group.create_dataset(name, data=values.astype(object), dtype=extras.load("h5py").string_dtype())
        dataset.attrs["dtype"] = values.dtype.str
        return dataset
    stored, special = values, None
    if values.dtype.kind == "V" and values.dtype.names is None:  # bfloat16 and the like, unknown to HDF5
        special, stored = values.dtype.name, values.view(f"u{values.dtype.itemsize}")
    if stored.dtype.kind not in "biufc":
        raise ParameterError(
            f"{group.name}/{name}: arrays of {values.dtype} cannot be saved; give numbers, bools or text"
        )
    checked = {"fletcher32": True} if stored.ndim and stored.size else {}
    dataset = group.create_dataset(name, data=stored, **checked, **options)
    if special:
        dataset.attrs["dtype"] = special
    return dataset


def as_json(value, what: str) -> str:
    """JSON of plain values; NumPy numbers and arrays become numbers and lists, anything else its text."""

    def plain(x):
        return x.tolist() if isinstance(x, np.generic | np.ndarray) else str(x)

    try:
        return json.dumps(value, default=plain)
    except (TypeError, ValueError) as error:
        raise ParameterError(f"{what} cannot be written as JSON: {error}") from error
