"""Native CPU forms of edges sorted by target, where the sparse factor is behind the indices, as typed FFI handlers.

Imports numba, so import it only through `native.py`. No write of the forward form is scattered: a target is one sum
over its own edges, in their order, so that its bits depend on nothing else.
"""

import numpy as np
from numba import njit

from .call_frame import ARGUMENTS, RESULTS, buffer, last, on_stack, widen
from .kernel_frame import INT32, PRED, element, handler_of
from .kernel_vectors import add_gathered, copy_vector, sum_vector

INDPTR, INDICES, ACTIVE = 2, 3, 4  # argument numbers
GRAPH = ((INT32, 1), (INT32, 1), (PRED, 1))
LANES = 16  # edges at once


@njit(error_model="numpy", inline="always")
def sent(e, zero, s, w, w_step, indices):
    """What edge `e` delivers: nothing from a silent source, whatever its weight."""
    value = type(zero)(s[indices[e]])
    product = value * type(zero)(widen(w[e * w_step]))  # before the test: a choice of two values needs no branch
    return product if value != 0 else zero


@njit(error_model="numpy", inline="always")
def all_inside(lo, hi, indices, size):
    """True where every index of a row is in [0, size). One pass that vectorises."""
    bad = np.uint32(0)
    for e in range(lo, hi):
        bad |= np.uint32(np.uint32(indices[e]) >= np.uint32(size))
    return bad == 0


@njit(error_model="numpy")
def row_sum(lo, hi, s, w, w_step, same, indices):
    """Sum over one row in LANES partial sums, added in pairs: a fixed order. `same`: LANES copies of one weight."""
    zero = type(s[0])(0)
    total = on_stack(LANES, type(s[0]))
    copy_vector(LANES, total, zero)
    e = lo
    while e + LANES <= hi:
        if w_step == 1:
            add_gathered(LANES, total, w, e, s, indices, e)
        else:
            add_gathered(LANES, total, same, 0, s, indices, e)
        e += LANES
    rest = sum_vector(LANES, total)
    while e < hi:
        rest += sent(e, zero, s, w, w_step, indices)
        e += 1
    return rest


@njit(error_model="numpy")
def scatter_rows(frame, n_batch, flat, kinds):
    """x[row] += sum of s[source] * w[e]; False at a source outside."""
    w_type, kind = kinds
    s, w = element(frame, ARGUMENTS, 0, n_batch, flat, 1, kind), element(frame, ARGUMENTS, 1, n_batch, flat, 1, w_type)
    out = element(frame, RESULTS, 0, n_batch, flat, 1, kind)
    indptr = element(frame, ARGUMENTS, INDPTR, n_batch, flat, 1, np.int32)
    indices = element(frame, ARGUMENTS, INDICES, n_batch, flat, 1, np.int32)
    n_edges, n_pre = last(buffer(frame, ARGUMENTS, INDICES)), last(buffer(frame, ARGUMENTS, 0))
    w_step = 1 if last(buffer(frame, ARGUMENTS, 1)) == n_edges else 0
    same = on_stack(LANES, kind)
    if w_step == 0:
        copy_vector(LANES, same, kind(widen(w[0])))
    for row in range(last(buffer(frame, RESULTS, 0))):
        lo, hi = np.int64(indptr[row]), np.int64(indptr[row + 1])
        if lo < 0 or hi > n_edges or not all_inside(lo, hi, indices, n_pre):
            return False
        out[row] += row_sum(lo, hi, s, w, w_step, same, indices)
    return True


@njit(error_model="numpy")
def gather_rows(frame, n_batch, flat, kinds):
    """s[source] += x[row] * w[e] for the active sources; False at a source outside."""
    w_type, kind = kinds
    x, w = element(frame, ARGUMENTS, 0, n_batch, flat, 1, kind), element(frame, ARGUMENTS, 1, n_batch, flat, 1, w_type)
    out = element(frame, RESULTS, 0, n_batch, flat, 1, kind)
    indptr = element(frame, ARGUMENTS, INDPTR, n_batch, flat, 1, np.int32)
    indices = element(frame, ARGUMENTS, INDICES, n_batch, flat, 1, np.int32)
    active = element(frame, ARGUMENTS, ACTIVE, n_batch, flat, 1, np.uint8)
    masked = last(buffer(frame, ARGUMENTS, ACTIVE)) > 0
    n_edges, n_pre = last(buffer(frame, ARGUMENTS, INDICES)), last(buffer(frame, RESULTS, 0))
    w_step = 1 if last(buffer(frame, ARGUMENTS, 1)) == n_edges else 0
    for row in range(last(buffer(frame, ARGUMENTS, 0))):
        lo, hi = np.int64(indptr[row]), np.int64(indptr[row + 1])
        if lo < 0 or hi > n_edges or not all_inside(lo, hi, indices, n_pre):
            return False
        value = x[row]
        for e in range(lo, hi):
            source = indices[e]
            if not masked or active[source] != 0:
                out[source] += value * kind(widen(w[e * w_step]))
    return True


@njit(error_model="numpy")
def outer_rows(frame, n_batch, flat, kinds):
    """g[e] += s[source] * x[row] where the source is not silent; False at a source outside."""
    (kind,) = kinds
    s, x = element(frame, ARGUMENTS, 0, n_batch, flat, 1, kind), element(frame, ARGUMENTS, 1, n_batch, flat, 1, kind)
    g = element(frame, RESULTS, 0, n_batch, flat, 1, kind)
    indptr = element(frame, ARGUMENTS, INDPTR, n_batch, flat, 1, np.int32)
    indices = element(frame, ARGUMENTS, INDICES, n_batch, flat, 1, np.int32)
    n_edges, n_pre = last(buffer(frame, ARGUMENTS, INDICES)), last(buffer(frame, ARGUMENTS, 0))
    g_step = 1 if last(buffer(frame, RESULTS, 0)) == n_edges else 0
    for row in range(last(buffer(frame, ARGUMENTS, 1))):
        lo, hi = np.int64(indptr[row]), np.int64(indptr[row + 1])
        if lo < 0 or hi > n_edges or not all_inside(lo, hi, indices, n_pre):
            return False
        value = x[row]
        for e in range(lo, hi):
            spike = kind(s[indices[e]])
            g[e * g_step] += spike * value if spike != 0 else kind(0)
    return True


def csc_scatter(first, second, out, *stamp):
    """(spikes, weights, *graph) -> one sum per row."""
    (w_code, w_type, *_), (code, kind, *_) = second, out
    return handler_of(scatter_rows, (w_type, kind), ((code, 1), (w_code, 1), *GRAPH), (code, 1), stamp)


def csc_gather(first, second, out, *stamp):
    """(x, weights, *graph) -> one sum per source."""
    (w_code, w_type, *_), (code, kind, *_) = second, out
    return handler_of(gather_rows, (w_type, kind), ((code, 1), (w_code, 1), *GRAPH), (code, 1), stamp)


def csc_outer(first, second, out, *stamp):
    """(spikes, x, *graph) -> one value per edge, or their sum."""
    code, kind, *_ = out
    return handler_of(outer_rows, (kind,), ((code, 1), (code, 1), *GRAPH), (code, 1), stamp)
