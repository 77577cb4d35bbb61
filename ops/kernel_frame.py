"""What the native kernels share: parts of a batch element, checks, how a result begins, the frame of a handler.

Imports numba, so import it only from a `*_kernels.py` or `kernel_rows.py`. A kernel that walks its batch on the
calling thread is a row loop in the frame of `handler_of`. A factory of handlers closes over plain numbers and numpy
scalar types only: numba hashes them into its cache key, so a second process loads the compiled code, and `tag` (see
`native.target`) retires it when a source changes.
"""

from numba import njit
from numba.extending import overload

from .call_frame import (
    ARGUMENTS,
    MAX_BATCH_AXES,
    RESULTS,
    answered_metadata_query,
    at,
    batch_index,
    batch_total,
    buffer,
    dim,
    is_wrong,
    new_error,
)

PRED, INT32, UINT32 = 1, 4, 8  # XLA_FFI_DataType codes
FROM_ZERO, UNSET = -1, -2  # how a result begins, besides as an argument
_LOOPS = {}  # tag of a handler -> row loop, what it is compiled for


@njit(error_model="numpy")
def element(frame, side, i, n_batch, flat, n_trailing, dtype):
    """Pointer to the part of buffer `i` that belongs to batch element `flat`."""
    buf = buffer(frame, side, i)
    size = 1
    for axis in range(n_batch, n_batch + n_trailing):
        size *= dim(buf, axis)
    return at(buf[3], batch_index(frame, buf, n_batch, flat) * size, dtype)


@njit(error_model="numpy")
def size_of(buf):
    size = 1
    for axis in range(buf[4]):
        size *= dim(buf, axis)
    return size


@njit(error_model="numpy", inline="always")
def any_set(bits, start, count, mask):
    """True where one of `count` spikes is not zero; -0.0 is zero, nan is not. Vectorises, unlike a test per spike."""
    found = bits[start] & mask
    for i in range(start + 1, start + count):
        found |= bits[i] & mask
    return found != 0


# --- checks


@njit(error_model="numpy")
def refused(frame, n_batch, arguments, results):
    """Address of an error where the frame is not what the handler was made for, else 0.

    `arguments`, `results`: (XLA_FFI_DataType code, rank without batch axes) of every buffer.
    """
    if frame[ARGUMENTS - 2] != len(arguments) or frame[RESULTS - 2] != len(results):
        return new_error(frame[2], "brainsim.ops: wrong number of arguments or results")
    if n_batch < 0 or n_batch > MAX_BATCH_AXES:
        return new_error(frame[2], "brainsim.ops: at most 8 batch axes are supported; merge some before the call")
    wrong = False
    for i in range(len(arguments)):
        wrong |= is_wrong(frame, ARGUMENTS, i, arguments[i][0], n_batch + arguments[i][1])
    for i in range(len(results)):
        wrong |= is_wrong(frame, RESULTS, i, results[i][0], n_batch + results[i][1])
    return wrong_buffer(frame) if wrong else 0


@njit(error_model="numpy")
def wrong_buffer(frame):
    return new_error(frame[2], "brainsim.ops: a buffer has another dtype or rank than the operator was compiled for")


@njit(error_model="numpy")
def outside(frame):
    return new_error(
        frame[2], "brainsim.ops: an edge points outside: indptr must lie in [0, n_edges], indices in [0, n_targets)"
    )


# --- how a result begins


@njit(error_model="numpy")
def zero(out, start, end, dtype):
    for k in range(start, end):
        out[k] = dtype(0)


@njit(error_model="numpy")
def clear(frame, dtype):
    """Result 0 at zero."""
    buf = buffer(frame, RESULTS, 0)
    zero(at(buf[3], 0, dtype), 0, size_of(buf), dtype)


@njit(error_model="numpy")
def start_from(frame, number, dtype):
    """Result 0 holds an argument: nothing to do where XLA gave both the same memory, a copy where it did not."""
    given, out = buffer(frame, ARGUMENTS, number), buffer(frame, RESULTS, 0)
    if given[3] == out[3]:
        return
    source, target = at(given[3], 0, dtype), at(out[3], 0, dtype)
    for i in range(size_of(out)):
        target[i] = source[i]


# --- the frame of a handler


def row_loop(tag, frame, n_batch, flat):
    """Calls the row loop of the handler with this tag, a constant: numba caches no code that closes over a function."""
    raise NotImplementedError


@overload(row_loop, prefer_literal=True)
def _row_loop(tag, frame, n_batch, flat):
    rows, kinds, constant = _LOOPS[tag.literal_value]
    if constant is None:
        return lambda tag, frame, n_batch, flat: rows(frame, n_batch, flat, kinds)
    return lambda tag, frame, n_batch, flat: rows(frame, n_batch, flat, kinds, constant)


def handler_of(rows, kinds, arguments, result, stamp, begin=FROM_ZERO, constant=None):
    """A handler that checks its buffers and calls a row loop for every element of the batch.

    Args:
        rows: jitted, rows(frame, n_batch, flat, kinds), with a constant behind them where one is given: the work for
            batch element `flat`; False where an edge points outside.
        kinds: numpy scalar types and numbers that it is compiled for; the last is the type of the result.
        arguments, result: (XLA_FFI_DataType code, rank without batch axes) of every argument, and of the one result.
        stamp: (major, minor, tag) from `native.target`.
        begin: how the result begins: FROM_ZERO, UNSET, or the number of the argument that it starts from.
    """
    (major, minor, tag), rank, dtype, results = stamp, result[1], kinds[-1], (result,)
    _LOOPS[tag] = rows, kinds, constant

    def handler(frame):
        if answered_metadata_query(frame, major, minor):
            return 0
        n_batch = buffer(frame, RESULTS, 0)[4] - rank
        error = refused(frame, n_batch, arguments, results)
        if error != 0:
            return error
        if begin >= 0:
            start_from(frame, begin, dtype)
        elif begin == FROM_ZERO:
            clear(frame, dtype)
        for flat in range(batch_total(frame, n_batch)):
            if not row_loop(tag, frame, n_batch, flat):
                return outside(frame)
        return 0

    return handler
