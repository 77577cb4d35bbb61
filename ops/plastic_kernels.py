"""Native CPU form of plastic updates: weights changed in place on the edges of the rows that spike, as FFI handlers.

Imports numba, so import it only through `handlers.py`. Rows and edges are walked in order on the calling thread: the
same inputs give the same bits.
"""

import numpy as np
from numba import cfunc, njit

from .call_frame import ARGUMENTS, RESULTS, answered_metadata_query, at, batch_total, buffer, dim, is_wrong, last
from .kernel_frame import (
    INT32,
    SIGNATURE,
    any_set,
    outside,
    wrong_buffer,
    wrong_counts,
)
from .kernel_rows import element

WEIGHTS, SPIKES, X, INDPTR, INDICES, EDGES, LOW, HIGH = range(8)  # argument numbers
BLOCK = 32  # spikes tested at once


@njit(error_model="numpy")
def start_from_weights(frame, kind):
    """Result 0 holds the weights: nothing to do where XLA gave both the same memory, a copy where it did not."""
    weights, out = buffer(frame, ARGUMENTS, WEIGHTS), buffer(frame, RESULTS, 0)
    if weights[3] == out[3]:
        return
    size = 1
    for axis in range(out[4]):
        size *= dim(out, axis)
    source, target = at(weights[3], 0, kind), at(out[3], 0, kind)
    for i in range(size):
        target[i] = source[i]


@njit(error_model="numpy")
def graph_is_wrong(frame, n_batch, code):
    return (
        is_wrong(frame, ARGUMENTS, INDPTR, INT32, n_batch + 1)
        or is_wrong(frame, ARGUMENTS, INDICES, INT32, n_batch + 1)
        or is_wrong(frame, ARGUMENTS, EDGES, INT32, n_batch + 1)
        or is_wrong(frame, ARGUMENTS, LOW, code, n_batch + 1)
        or is_wrong(frame, ARGUMENTS, HIGH, code, n_batch + 1)
    )


@njit(error_model="numpy")
def update_row(lo, hi, value, w, n_edges, x, n_x, indices, edges, mapped, low, low_step, high, high_step):
    """w[e] += value * x[indices[k]], clipped; a step of -1 means no bound. False at the first edge outside."""
    for k in range(lo, hi):
        i, e = np.int64(indices[k]), np.int64(edges[k]) if mapped else k
        if i < 0 or i >= n_x or e < 0 or e >= n_edges:
            return False
        new = w[e] + value * x[i]
        if low_step >= 0 and new < low[e * low_step]:
            new = low[e * low_step]
        if high_step >= 0 and new > high[e * high_step]:
            new = high[e * high_step]
        w[e] = new
    return True


@njit(error_model="numpy", inline="always")
def bound_step(frame, number, n_edges):
    """Stride of a bound: -1 where there is none, 0 where all edges share it."""
    size = last(buffer(frame, ARGUMENTS, number))
    return -1 if size == 0 else 1 if size == n_edges else 0


@njit(error_model="numpy")
def update_rows(frame, n_batch, flat, s_type, bits_type, mask, kind):
    """Change the weights of one batch element; False at a row or edge outside."""
    s = element(frame, ARGUMENTS, SPIKES, n_batch, flat, 1, s_type)
    bits = element(frame, ARGUMENTS, SPIKES, n_batch, flat, 1, bits_type)
    x, w = element(frame, ARGUMENTS, X, n_batch, flat, 1, kind), element(frame, RESULTS, 0, n_batch, flat, 1, kind)
    indptr = element(frame, ARGUMENTS, INDPTR, n_batch, flat, 1, np.int32)
    indices = element(frame, ARGUMENTS, INDICES, n_batch, flat, 1, np.int32)
    edges = element(frame, ARGUMENTS, EDGES, n_batch, flat, 1, np.int32)
    low = element(frame, ARGUMENTS, LOW, n_batch, flat, 1, kind)
    high = element(frame, ARGUMENTS, HIGH, n_batch, flat, 1, kind)
    n_entries, n_edges = last(buffer(frame, ARGUMENTS, INDICES)), last(buffer(frame, RESULTS, 0))
    mapped = last(buffer(frame, ARGUMENTS, EDGES)) > 0
    low_step, high_step = bound_step(frame, LOW, n_edges), bound_step(frame, HIGH, n_edges)
    n_rows, n_x = last(buffer(frame, ARGUMENTS, SPIKES)), last(buffer(frame, ARGUMENTS, X))
    for start in range(0, n_rows, BLOCK):
        count = min(BLOCK, n_rows - start)
        if not any_set(bits, start, count, mask):
            continue
        for row in range(start, start + count):
            if bits[row] & mask == 0:
                continue
            lo, hi, value = np.int64(indptr[row]), np.int64(indptr[row + 1]), kind(s[row])
            if lo < 0 or hi > n_entries:
                return False
            if not update_row(
                lo, hi, value, w, n_edges, x, n_x, indices, edges, mapped, low, low_step, high, high_step
            ):
                return False
    return True


def update(first, second, out, major, minor, tag):
    """Handler: (weights, spikes, x, indptr, indices, edges, low, high) -> weights."""
    (s_code, s_type, bits_type, mask), (code, kind, _, _) = second, out

    @cfunc(SIGNATURE, cache=True, error_model="numpy")
    def handler(frame):
        if answered_metadata_query(frame, major, minor) or tag == 0:
            return 0
        n_batch = buffer(frame, ARGUMENTS, WEIGHTS)[4] - 1
        error = wrong_counts(frame, 8, 1, n_batch)
        if error != 0:
            return error
        wrong = (
            is_wrong(frame, ARGUMENTS, WEIGHTS, code, n_batch + 1)
            or is_wrong(frame, ARGUMENTS, SPIKES, s_code, n_batch + 1)
            or is_wrong(frame, ARGUMENTS, X, code, n_batch + 1)
            or is_wrong(frame, RESULTS, 0, code, n_batch + 1)
        )
        if wrong or graph_is_wrong(frame, n_batch, code):
            return wrong_buffer(frame)
        start_from_weights(frame, kind)
        for flat in range(batch_total(frame, n_batch)):
            if not update_rows(frame, n_batch, flat, s_type, bits_type, mask, kind):
                return outside(frame)
        return 0

    return handler
