"""Native CPU forms of the procedural operators, as typed XLA FFI handlers.

Imports numba, so import it only through `native.py`. Rows and draws are walked in order on the calling thread: the
same inputs give the same bits. Rows depend on nothing but their number, so that ranges of them may be given to threads.
"""

import numpy as np
from numba import njit

from .call_frame import ARGUMENTS, RESULTS, buffer, dim, last, on_stack
from .kernel_frame import INT32, PRED, UINT32, any_set, element, handler_of
from .kernel_rows import ring_base
from .procedural_rows import ROOM, row_sums, scatter_row, threefry2x32
from .procedural_rules import ROUND_KEYS, ROUNDS

KEY, STARTS, TABLES, STEP, ACTIVE, RULE, RING = 2, 3, 4, 5, 6, 7, 8  # argument numbers
GRAPH = ((UINT32, 1), (UINT32, 1), (UINT32, 1), (INT32, 0), (PRED, 1), (INT32, 1))
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
def scatter_rows(frame, n_batch, flat, kinds):
    """Add the rows of one batch element that spike to its result; False where `starts` does not fit."""
    s_type, bits_type, mask, w_type, out_type = kinds
    n_slots, n_post = dim(buffer(frame, RESULTS, 0), n_batch), dim(buffer(frame, RESULTS, 0), n_batch + 1)
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
def gather_rows(frame, n_batch, flat, kinds):
    """Add the weighted sum of every row (of the active rows, where a mask is given), for one batch element."""
    w_type, out_type = kinds
    n_slots, n_post = dim(buffer(frame, ARGUMENTS, 0), n_batch), dim(buffer(frame, ARGUMENTS, 0), n_batch + 1)
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
def outer_rows(frame, n_batch, flat, kinds):
    """Add spike times the sums of the rows that spike to the derivative by the weights, for one batch element."""
    s_type, bits_type, mask, out_type = kinds
    n_slots, n_post = dim(buffer(frame, ARGUMENTS, 1), n_batch), dim(buffer(frame, ARGUMENTS, 1), n_batch + 1)
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


def procedural_scatter(first, second, out, *stamp):
    """(spikes, weights, *graph) -> (n_slots, n_post)."""
    (s_code, s_type, bits_type, mask), (w_code, w_type, *_), (code, kind, *_) = first, second, out
    kinds = s_type, bits_type, mask, w_type, kind
    return handler_of(scatter_rows, kinds, ((s_code, 1), (w_code, 1), *GRAPH), (code, 2), stamp)


def procedural_deliver(first, second, out, *stamp):
    """(spikes, weights, *graph, ring) -> ring."""
    (s_code, s_type, bits_type, mask), (w_code, w_type, *_), (code, kind, *_) = first, second, out
    kinds = s_type, bits_type, mask, w_type, kind
    arguments = (s_code, 1), (w_code, 1), *GRAPH, (code, 2)
    return handler_of(scatter_rows, kinds, arguments, (code, 2), stamp, begin=RING)


def procedural_gather(first, second, out, *stamp):
    """(x, weights, *graph) -> (n_pre,)."""
    (w_code, w_type, *_), (code, kind, *_) = second, out
    return handler_of(gather_rows, (w_type, kind), ((code, 2), (w_code, 1), *GRAPH), (code, 1), stamp)


def procedural_outer(first, second, out, *stamp):
    """(spikes, x, *graph) -> derivative by the one or two parameters of the weights."""
    (s_code, s_type, bits_type, mask), (code, kind, *_) = first, out
    kinds = s_type, bits_type, mask, kind
    return handler_of(outer_rows, kinds, ((s_code, 1), (code, 2), *GRAPH), (code, 1), stamp)
