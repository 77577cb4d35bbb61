"""Native CPU form of plastic updates: weights changed in place on the edges of the rows that spike, as FFI handlers.

Imports numba, so import it only through `native.py`. Rows and edges are walked in order on the calling thread: the
same inputs give the same bits.
"""

import numpy as np
from numba import njit

from .call_frame import ARGUMENTS, RESULTS, buffer, last
from .kernel_frame import INT32, any_set, element, handler_of

WEIGHTS, SPIKES, X, INDPTR, INDICES, EDGES, LOW, HIGH = range(8)  # argument numbers
BLOCK = 32  # spikes tested at once


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
def update_rows(frame, n_batch, flat, kinds):
    """Change the weights of one batch element; False at a row or edge outside."""
    s_type, bits_type, mask, kind = kinds
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


def plastic_update(first, second, out, *stamp):
    """(weights, spikes, x, indptr, indices, edges, low, high) -> weights."""
    (s_code, s_type, bits_type, mask), (code, kind, *_) = second, out
    graph = ((INT32, 1),) * 3
    arguments = (code, 1), (s_code, 1), (code, 1), *graph, (code, 1), (code, 1)
    return handler_of(update_rows, (s_type, bits_type, mask, kind), arguments, (code, 1), stamp, begin=WEIGHTS)
