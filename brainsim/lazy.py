"""Arrays that stay in their file until they are used: the records of a large streamed run."""

from pathlib import Path

import numpy as np

from .errors import FileFormatError, RunError
from .hdf5 import child, read, reading
from .memory import free_memory, in_words

LARGE = 2**30  # bytes of a file above which a streamed run leaves its records there


def is_large(path) -> bool:
    """Whether a file is better left where it is: above 1 GiB, or above a quarter of the free memory."""
    return Path(path).stat().st_size > min(LARGE, free_memory() / 4)


class FileArray(np.lib.mixins.NDArrayOperatorsMixin):
    """A read-only array in the file of a result, read anew whenever it is used.

    Numbers and slices (`values[1000:2000]`, `values[:, 3]`) read that part alone. All else, from `values.mean(0)` and
    arithmetic to `np.sort(values)` and lists of indices, reads the whole array first.

    Args:
        path: of the file. place: of the data set inside it.
        mark: the meta data of the file, by which another one under the same path is noticed.
        dtype: of what is read; default that of the file.

    Raises (when read):
        FileNotFoundError: the file is not there any more.
        FileFormatError: it is damaged or another one. RunError: the whole does not fit into the memory.
    """

    def __init__(self, path, place: str, shape: tuple, dtype, mark: str):
        self.path, self.place, self.mark = Path(path).absolute(), place, mark
        self.shape, self.dtype = tuple(shape), np.dtype(dtype)

    @classmethod
    def of(cls, dataset, dtype=None) -> "FileArray":
        """The array of an open HDF5 data set."""
        file = dataset.file
        return cls(file.filename, dataset.name, dataset.shape, dtype or dataset.dtype, file.attrs["meta"])

    @property
    def ndim(self):
        return len(self.shape)

    @property
    def size(self):
        return int(np.prod(self.shape))

    @property
    def nbytes(self):
        return self.size * self.dtype.itemsize

    def __len__(self):
        return self.shape[0]

    def __repr__(self):
        return f"FileArray({self.place} of {self.path}: {self.dtype} {self.shape}, {in_words(self.nbytes)})"

    def _from_file(self, take):
        if not self.path.is_file():
            raise FileNotFoundError(
                f"{self.path} is gone, but this result reads {self.place} from it; put the file back, or load it from "
                f"where it is now: bs.load(path, lazy=True)"
            )
        with reading(self.path, "result") as file:
            if file.attrs["meta"] != self.mark:
                raise FileFormatError(
                    f"{self.path} was written again since this result was made, and holds another run now; load that "
                    f"one with bs.load(path), and give every run a file of its own"
                )
            return take(child(file, self.place))

    def __getitem__(self, key):
        keys = key if isinstance(key, tuple) else (key,)
        plain = all(isinstance(k, int | np.integer) or (isinstance(k, slice) and (k.step or 1) > 0) for k in keys)
        if not plain or len(keys) > self.ndim:
            return np.asarray(self)[key]
        return self._from_file(lambda data: np.asarray(data[keys]).astype(self.dtype, copy=False)[()])

    def __array__(self, dtype=None, copy=None):
        if copy is False:
            raise ValueError(f"{self!r} is in a file, so that an array of it is a copy; leave copy=False out")
        if self.nbytes > free_memory():
            raise RunError(
                f"{self.place} of {self.path} takes {in_words(self.nbytes)}, {in_words(free_memory())} are free; read "
                f"a part of it, for example values[:1000], or the column of one cell, values[:, 0]"
            )
        whole = self._from_file(lambda data: read(data.parent, data.name.rpartition("/")[2]))
        return whole.astype(self.dtype if dtype is None else dtype, copy=False)

    def __iter__(self):
        return iter(np.asarray(self))

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        inputs = [np.asarray(x) if isinstance(x, FileArray) else x for x in inputs]
        return getattr(ufunc, method)(*inputs, **options)

    def __getattr__(self, name):
        if name.startswith("_") or not hasattr(np.ndarray, name):
            raise AttributeError(f"an array has no attribute {name!r}")
        return getattr(np.asarray(self), name)
