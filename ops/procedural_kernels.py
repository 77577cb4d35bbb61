"""Native CPU forms of the procedural operators, as typed XLA FFI handlers.

Imports numba, so import it only through `handlers.py`. Rows and draws are walked in order on the calling thread: the
same inputs give the same bits. Rows depend on nothing but their number, so that ranges of them may be given to threads.
"""

import numpy as np
from numba import cfunc, njit

from .call_frame import (
    ARGUMENTS,
    RESULTS,
    answered_metadata_query,
    at,
    batch_total,
    buffer,
    dim,
    is_wrong,
    last,
    on_stack,
)
from .kernel_frame import (
    INT32,
    PRED,
    SIGNATURE,
    any_set,
    clear,
    outside,
    wrong_buffer,
    wrong_counts,
    wrong_factors,
)
from .kernel_rows import element, ring_base
from .procedural_rows import ROOM, row_sums, scatter_row, threefry2x32
from .procedural_rules import ROUND_KEYS, ROUNDS

UINT32 = 8  # XLA_FFI_DataType code
KEY, STARTS, TABLES, STEP, ACTIVE, RULE, RING = 2, 3, 4, 5, 6, 7, 8  # argument numbers
SPIKES = 32  # tested at once


@njit(error_model="numpy")
def graph_of(frame, n_batch, flat, round_keys):
    """(spec, tables, starts, two words of the key) of one batch element; fills the keys of the permutation."""
    spec = element(frame, ARGUMENTS, RULE, n_batch, flat, 1, np.int32)
    key = element(frame, ARGUMENTS, KEY, n_batch, flat, 1, np.uint32)
    for i in range(ROUNDS // 2):
        x0, x1 = threefry2x32(key[0], key[1], np.uint32(i), np.uint32(ROUND_KEYS))
        round_keys[2 * i], round_keys[2 * i + 1] = x0, x1
    tables = element(frame, ARGUMENTS, TABLES, n_batch, flat, 1, np.uint32)
    return spec, tables, element(frame, ARGUMENTS, STARTS, n_batch, flat, 1, np.uint32), key[0], key[1]


@njit(error_model="numpy")
def scatter_rows(frame, n_batch, flat, s_type, bits_type, mask, w_type, out_type, n_slots, n_post):
    """Add the rows of one batch element that spike to its result; False where `starts` does not fit."""
    s = element(frame, ARGUMENTS, 0, n_batch, flat, 1, s_type)
    bits = element(frame, ARGUMENTS, 0, n_batch, flat, 1, bits_type)
    w = element(frame, ARGUMENTS, 1, n_batch, flat, 1, w_type)
    out = element(frame, RESULTS, 0, n_batch, flat, 2, out_type)
    scratch = (
        on_stack(ROOM, np.int32),
        on_stack(ROOM, np.uint32),
        on_stack(ROOM, np.uint32),
        on_stack(ROUNDS, np.uint32),
    )
    graph = graph_of(frame, n_batch, flat, scratch[3])
    with_normal, slot = last(buffer(frame, ARGUMENTS, 1)) > 1, ring_base(frame, n_batch, flat, n_slots)
    w0, w1 = out_type(w[0]), out_type(w[1] if with_normal else 0)
    n_rows = last(buffer(frame, ARGUMENTS, 0))
    for start in range(0, n_rows, SPIKES):
        count = min(SPIKES, n_rows - start)
        if not any_set(bits, start, count, mask):
            continue
        for row in range(start, start + count):
            if bits[row] & mask != 0:
                value = out_type(s[row])
                if not scatter_row(row, value, w0, w1, with_normal, scratch, graph, slot, n_slots, n_post, out):
                    return False
    return True


@njit(error_model="numpy")
def gather_rows(frame, n_batch, flat, w_type, out_type, n_slots, n_post):
    """Add the weighted sum of every row (of the active rows, where a mask is given), for one batch element."""
    x = element(frame, ARGUMENTS, 0, n_batch, flat, 2, out_type)
    w = element(frame, ARGUMENTS, 1, n_batch, flat, 1, w_type)
    y = element(frame, RESULTS, 0, n_batch, flat, 1, out_type)
    active = element(frame, ARGUMENTS, ACTIVE, n_batch, flat, 1, np.uint8)
    masked = last(buffer(frame, ARGUMENTS, ACTIVE)) > 0
    scratch = (
        on_stack(ROOM, np.int32),
        on_stack(ROOM, np.uint32),
        on_stack(ROOM, np.uint32),
        on_stack(ROUNDS, np.uint32),
    )
    graph = graph_of(frame, n_batch, flat, scratch[3])
    with_normal, slot = last(buffer(frame, ARGUMENTS, 1)) > 1, ring_base(frame, n_batch, flat, n_slots)
    w0, w1 = out_type(w[0]), out_type(w[1] if with_normal else 0)
    for row in range(last(buffer(frame, RESULTS, 0))):
        if masked and active[row] == 0:
            continue
        total, moment, fits = row_sums(row, out_type(0), x, with_normal, scratch, graph, slot, n_slots, n_post)
        if not fits:
            return False
        y[row] += w0 * total + w1 * moment if with_normal else w0 * total
    return True


@njit(error_model="numpy")
def outer_rows(frame, n_batch, flat, s_type, bits_type, mask, out_type, n_slots, n_post):
    """Add spike times the sums of the rows that spike to the derivative by the weights, for one batch element."""
    s = element(frame, ARGUMENTS, 0, n_batch, flat, 1, s_type)
    bits = element(frame, ARGUMENTS, 0, n_batch, flat, 1, bits_type)
    x = element(frame, ARGUMENTS, 1, n_batch, flat, 2, out_type)
    g = element(frame, RESULTS, 0, n_batch, flat, 1, out_type)
    scratch = (
        on_stack(ROOM, np.int32),
        on_stack(ROOM, np.uint32),
        on_stack(ROOM, np.uint32),
        on_stack(ROUNDS, np.uint32),
    )
    graph = graph_of(frame, n_batch, flat, scratch[3])
    with_normal, slot = last(buffer(frame, RESULTS, 0)) > 1, ring_base(frame, n_batch, flat, n_slots)
    for row in range(last(buffer(frame, ARGUMENTS, 0))):
        if bits[row] & mask == 0:
            continue
        total, moment, fits = row_sums(row, out_type(0), x, with_normal, scratch, graph, slot, n_slots, n_post)
        if not fits:
            return False
        g[0] += out_type(s[row]) * total
        if with_normal:
            g[1] += out_type(s[row]) * moment
    return True


@njit(error_model="numpy")
def refused(frame, n_arguments, n_batch, a_code, a_rank, b_code, b_rank, out_code, out_rank):
    """Address of an error where the frame is not what the handler was made for, else 0."""
    error = wrong_counts(frame, n_arguments, 1, n_batch)
    if error != 0:
        return error
    wrong = (
        wrong_factors(frame, n_batch, a_code, a_rank, b_code, b_rank, out_code, out_rank)
        or is_wrong(frame, ARGUMENTS, KEY, UINT32, n_batch + 1)
        or is_wrong(frame, ARGUMENTS, STARTS, UINT32, n_batch + 1)
        or is_wrong(frame, ARGUMENTS, TABLES, UINT32, n_batch + 1)
        or is_wrong(frame, ARGUMENTS, STEP, INT32, n_batch)
        or is_wrong(frame, ARGUMENTS, ACTIVE, PRED, n_batch + 1)
        or is_wrong(frame, ARGUMENTS, RULE, INT32, n_batch + 1)
    )
    return wrong_buffer(frame) if wrong else 0


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


def scatter(first, second, out, sources, into_ring, major, minor, tag):
    """Handler of `scatter` (the result starts at zero) or, into a ring, `deliver` (it starts as the ring)."""
    s_code, s_type, bits_type, mask = first
    w_code, w_type = second[:2]
    out_code, out_type = out[:2]
    n_arguments = 9 if into_ring else 8

    @cfunc(SIGNATURE, cache=True, error_model="numpy")
    def handler(frame):
        if answered_metadata_query(frame, major, minor) or tag == 0 or sources == 0:
            return 0
        result = buffer(frame, RESULTS, 0)
        n_batch = result[4] - 2
        error = refused(frame, n_arguments, n_batch, s_code, 1, w_code, 1, out_code, 2)
        if error != 0:
            return error
        if into_ring:
            if is_wrong(frame, ARGUMENTS, RING, out_code, n_batch + 2):
                return wrong_buffer(frame)
            start_from_ring(frame, out_type)
        else:
            clear(frame, out_type)
        n_slots, n_post = dim(result, n_batch), dim(result, n_batch + 1)
        for flat in range(batch_total(frame, n_batch)):
            if not scatter_rows(frame, n_batch, flat, s_type, bits_type, mask, w_type, out_type, n_slots, n_post):
                return outside(frame)
        return 0

    return handler


def gather(first, second, out, sources, major, minor, tag):
    """Handler of `gather`: weighted sums of dense values over the rows."""
    w_code, w_type = second[:2]
    out_code, out_type = out[:2]

    @cfunc(SIGNATURE, cache=True, error_model="numpy")
    def handler(frame):
        if answered_metadata_query(frame, major, minor) or tag == 0 or sources == 0:
            return 0
        x = buffer(frame, ARGUMENTS, 0)
        n_batch = x[4] - 2
        error = refused(frame, 8, n_batch, out_code, 2, w_code, 1, out_code, 1)
        if error != 0:
            return error
        clear(frame, out_type)
        n_slots, n_post = dim(x, n_batch), dim(x, n_batch + 1)
        for flat in range(batch_total(frame, n_batch)):
            if not gather_rows(frame, n_batch, flat, w_type, out_type, n_slots, n_post):
                return outside(frame)
        return 0

    return handler


def outer(first, second, out, sources, major, minor, tag):
    """Handler of `outer`: derivative by the one or two parameters of the weights."""
    s_code, s_type, bits_type, mask = first
    out_code, out_type = out[:2]

    @cfunc(SIGNATURE, cache=True, error_model="numpy")
    def handler(frame):
        if answered_metadata_query(frame, major, minor) or tag == 0 or sources == 0:
            return 0
        x = buffer(frame, ARGUMENTS, 1)
        n_batch = x[4] - 2
        error = refused(frame, 8, n_batch, s_code, 1, out_code, 2, out_code, 1)
        if error != 0:
            return error
        clear(frame, out_type)
        n_slots, n_post = dim(x, n_batch), dim(x, n_batch + 1)
        for flat in range(batch_total(frame, n_batch)):
            if not outer_rows(frame, n_batch, flat, s_type, bits_type, mask, out_type, n_slots, n_post):
                return outside(frame)
        return 0

    return handler
