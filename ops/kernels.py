"""Native CPU forms of the four primitives: numba functions that are themselves typed XLA FFI handlers.

Imports numba, so import it only through `native.py`. No Python, no lock and no allocation in the path. Batch elements,
rows and edges are walked in order on the calling thread: the same inputs give the same bits.
Every handler is made by a factory that closes over plain numbers and numpy scalar types only: numba hashes them into
its cache key, so a second process loads the compiled code (`cache=True`), and `tag` retires it when a source changes.
"""

import numpy as np
from numba import cfunc, njit, types

from .call_frame import (
    ARGUMENTS,
    MAX_BATCH_AXES,
    RESULTS,
    answered_metadata_query,
    at,
    batch_total,
    buffer,
    dim,
    is_wrong,
    last,
    new_error,
)
from .kernel_rows import (
    ACTIVE,
    DELAYS,
    INDICES,
    INDPTR,
    element,
    fill_zero,
    gather_row,
    graph_is_wrong,
    outer_row,
    ring_base,
    scatter_row,
)

SIGNATURE = types.intp(types.CPointer(types.int64))
RING = 7  # argument number of the ring that `deliver` updates
BLOCK = 32  # spikes tested at once


@njit(error_model="numpy")
def graph(frame, n_batch, flat, n_slots):
    """What all row loops need: indptr, indices, delays, whether delays are separate, the current slot."""
    indptr = element(frame, ARGUMENTS, INDPTR, n_batch, flat, 1, np.int32)
    indices = element(frame, ARGUMENTS, INDICES, n_batch, flat, 1, np.int32)
    delays = element(frame, ARGUMENTS, DELAYS, n_batch, flat, 1, np.int32)
    has_delays = last(buffer(frame, ARGUMENTS, DELAYS)) > 0
    return indptr, indices, delays, has_delays, ring_base(frame, n_batch, flat, n_slots)


@njit(error_model="numpy", inline="always")
def any_set(bits, start, count, mask):
    """True where one of `count` spikes is not zero; -0.0 is zero, nan is not. Vectorises, unlike a test per spike."""
    found = bits[start] & mask
    for i in range(start + 1, start + count):
        found |= bits[i] & mask
    return found != 0


@njit(error_model="numpy")
def scatter_rows(frame, n_batch, flat, s_type, bits_type, mask, w_type, out_type, n_slots, n_post):
    """Add the rows of one batch element that spike to its result; False at a row or target outside."""
    s = element(frame, ARGUMENTS, 0, n_batch, flat, 1, s_type)
    bits = element(frame, ARGUMENTS, 0, n_batch, flat, 1, bits_type)
    w = element(frame, ARGUMENTS, 1, n_batch, flat, 1, w_type)
    out = element(frame, RESULTS, 0, n_batch, flat, 2, out_type)
    indptr, indices, delays, has_delays, slot = graph(frame, n_batch, flat, n_slots)
    n_edges = last(buffer(frame, ARGUMENTS, INDICES))
    w_step = 1 if last(buffer(frame, ARGUMENTS, 1)) == n_edges else 0
    n_rows = last(buffer(frame, ARGUMENTS, 0))
    for start in range(0, n_rows, BLOCK):
        count = min(BLOCK, n_rows - start)
        if not any_set(bits, start, count, mask):
            continue
        for row in range(start, start + count):
            if bits[row] & mask == 0:
                continue
            lo, hi = np.int64(indptr[row]), np.int64(indptr[row + 1])
            if lo < 0 or hi > n_edges:
                return False
            value = out_type(s[row])
            if not scatter_row(lo, hi, value, w, w_step, indices, delays, has_delays, slot, n_slots, n_post, out):
                return False
    return True


@njit(error_model="numpy")
def outer_rows(frame, n_batch, flat, s_type, bits_type, mask, out_type, n_slots, n_post):
    """Add spike times cotangent to every edge of the rows that spike, for one batch element."""
    s = element(frame, ARGUMENTS, 0, n_batch, flat, 1, s_type)
    bits = element(frame, ARGUMENTS, 0, n_batch, flat, 1, bits_type)
    x = element(frame, ARGUMENTS, 1, n_batch, flat, 2, out_type)
    g = element(frame, RESULTS, 0, n_batch, flat, 1, out_type)
    indptr, indices, delays, has_delays, slot = graph(frame, n_batch, flat, n_slots)
    n_edges = last(buffer(frame, ARGUMENTS, INDICES))
    g_step = 1 if last(buffer(frame, RESULTS, 0)) == n_edges else 0
    for row in range(last(buffer(frame, ARGUMENTS, 0))):
        if bits[row] & mask == 0:
            continue
        lo, hi = np.int64(indptr[row]), np.int64(indptr[row + 1])
        if lo < 0 or hi > n_edges:
            return False
        value = out_type(s[row])
        if not outer_row(lo, hi, value, x, g_step, indices, delays, has_delays, slot, n_slots, n_post, g):
            return False
    return True


@njit(error_model="numpy")
def gather_rows(frame, n_batch, flat, w_type, out_type, n_slots, n_post):
    """Add the weighted sum of every row (of the active rows, where a mask is given), for one batch element."""
    x = element(frame, ARGUMENTS, 0, n_batch, flat, 2, out_type)
    w = element(frame, ARGUMENTS, 1, n_batch, flat, 1, w_type)
    active = element(frame, ARGUMENTS, ACTIVE, n_batch, flat, 1, np.uint8)
    masked = last(buffer(frame, ARGUMENTS, ACTIVE)) > 0
    y = element(frame, RESULTS, 0, n_batch, flat, 1, out_type)
    indptr, indices, delays, has_delays, slot = graph(frame, n_batch, flat, n_slots)
    n_edges = last(buffer(frame, ARGUMENTS, INDICES))
    w_step = 1 if last(buffer(frame, ARGUMENTS, 1)) == n_edges else 0
    zero = out_type(0)
    for row in range(last(buffer(frame, RESULTS, 0))):
        if masked and active[row] == 0:
            continue
        lo, hi = np.int64(indptr[row]), np.int64(indptr[row + 1])
        if lo < 0 or hi > n_edges:
            return False
        total, inside = gather_row(lo, hi, zero, x, w, w_step, indices, delays, has_delays, slot, n_slots, n_post)
        if not inside:
            return False
        y[row] += total
    return True


@njit(error_model="numpy")
def refused(frame, n_arguments, a_code, a_rank, b_code, b_rank, out_code, out_rank, n_batch):
    """Address of an error where the frame is not what the handler was made for, else 0."""
    if frame[ARGUMENTS - 2] != n_arguments or frame[RESULTS - 2] != 1:
        return new_error(frame[2], "brainsim.ops: wrong number of arguments or results")
    if n_batch < 0 or n_batch > MAX_BATCH_AXES:
        return new_error(frame[2], "brainsim.ops: at most 8 batch axes are supported; merge some before the call")
    wrong = (
        is_wrong(frame, ARGUMENTS, 0, a_code, n_batch + a_rank)
        or is_wrong(frame, ARGUMENTS, 1, b_code, n_batch + b_rank)
        or is_wrong(frame, RESULTS, 0, out_code, n_batch + out_rank)
        or graph_is_wrong(frame, n_batch)
    )
    if wrong:
        return new_error(
            frame[2], "brainsim.ops: a buffer has another dtype or rank than the operator was compiled for"
        )
    return 0


@njit(error_model="numpy")
def outside(frame):
    return new_error(
        frame[2], "brainsim.ops: an edge points outside: indptr must lie in [0, n_edges], indices in [0, n_targets)"
    )


@njit(error_model="numpy")
def start_from_ring(frame, out_type):
    """Result 0 holds the ring: nothing to do where XLA gave both the same memory, a copy where it did not."""
    ring, out = buffer(frame, ARGUMENTS, RING), buffer(frame, RESULTS, 0)
    if ring[3] == out[3]:
        return
    size = 1
    for axis in range(out[4]):
        size *= dim(out, axis)
    source, target = at(ring[3], 0, out_type), at(out[3], 0, out_type)
    for i in range(size):
        target[i] = source[i]


def scatter_handler(codes, s_type, bits_type, mask, w_type, out_type, into_ring, major, minor, tag):
    """Handler of `scatter` (result starts at zero) or `deliver` (result starts as the ring)."""
    s_code, w_code, out_code = codes
    n_arguments = 8 if into_ring else 7

    @cfunc(SIGNATURE, cache=True, error_model="numpy")
    def handler(frame):
        if answered_metadata_query(frame, major, minor) or tag == 0:
            return 0
        out = buffer(frame, RESULTS, 0)
        n_batch = out[4] - 2
        error = refused(frame, n_arguments, s_code, 1, w_code, 1, out_code, 2, n_batch)
        if error != 0:
            return error
        if into_ring:
            if is_wrong(frame, ARGUMENTS, RING, out_code, n_batch + 2):
                return new_error(frame[2], "brainsim.ops: the ring has another dtype or rank than its result")
            start_from_ring(frame, out_type)
        else:
            fill_zero(frame, out_type)
        n_slots, n_post = dim(out, n_batch), dim(out, n_batch + 1)
        for flat in range(batch_total(frame, n_batch)):
            if not scatter_rows(frame, n_batch, flat, s_type, bits_type, mask, w_type, out_type, n_slots, n_post):
                return outside(frame)
        return 0

    return handler


def gather_handler(codes, w_type, out_type, major, minor, tag):
    """Handler of `gather`: weighted sums of dense values over the rows."""
    out_code, w_code = codes

    @cfunc(SIGNATURE, cache=True, error_model="numpy")
    def handler(frame):
        if answered_metadata_query(frame, major, minor) or tag == 0:
            return 0
        x = buffer(frame, ARGUMENTS, 0)
        n_batch = x[4] - 2
        error = refused(frame, 7, out_code, 2, w_code, 1, out_code, 1, n_batch)
        if error != 0:
            return error
        fill_zero(frame, out_type)
        n_slots, n_post = dim(x, n_batch), dim(x, n_batch + 1)
        for flat in range(batch_total(frame, n_batch)):
            if not gather_rows(frame, n_batch, flat, w_type, out_type, n_slots, n_post):
                return outside(frame)
        return 0

    return handler


def outer_handler(codes, s_type, bits_type, mask, out_type, major, minor, tag):
    """Handler of `outer`: spike times cotangent per edge, or summed where the weight is a scalar."""
    s_code, out_code = codes

    @cfunc(SIGNATURE, cache=True, error_model="numpy")
    def handler(frame):
        if answered_metadata_query(frame, major, minor) or tag == 0:
            return 0
        x = buffer(frame, ARGUMENTS, 1)
        n_batch = x[4] - 2
        error = refused(frame, 7, s_code, 1, out_code, 2, out_code, 1, n_batch)
        if error != 0:
            return error
        fill_zero(frame, out_type)
        n_slots, n_post = dim(x, n_batch), dim(x, n_batch + 1)
        for flat in range(batch_total(frame, n_batch)):
            if not outer_rows(frame, n_batch, flat, s_type, bits_type, mask, out_type, n_slots, n_post):
                return outside(frame)
        return 0

    return handler
