"""Native CPU forms of edges sorted by target, where the sparse factor is behind the indices, as typed FFI handlers.

Imports numba, so import it only through `handlers.py`. No write of the forward form is scattered: a target is one sum
over its own edges, in their order, so that its bits depend on nothing else.
"""

import numpy as np
from numba import cfunc, njit

from .call_frame import (
    ARGUMENTS,
    RESULTS,
    answered_metadata_query,
    batch_total,
    buffer,
    is_wrong,
    last,
    on_stack,
    widen,
)
from .kernel_frame import (
    INT32,
    PRED,
    SIGNATURE,
    add_gathered,
    clear,
    copy_vector,
    outside,
    sum_vector,
    wrong_buffer,
    wrong_counts,
    wrong_factors,
)
from .kernel_rows import element

INDPTR, INDICES, ACTIVE = 2, 3, 4  # argument numbers
LANES = 16  # edges at once


@njit(error_model="numpy")
def graph_is_wrong(frame, n_batch):
    return (
        is_wrong(frame, ARGUMENTS, INDPTR, INT32, n_batch + 1)
        or is_wrong(frame, ARGUMENTS, INDICES, INT32, n_batch + 1)
        or is_wrong(frame, ARGUMENTS, ACTIVE, PRED, n_batch + 1)
    )


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
def scatter_rows(frame, n_batch, flat, w_type, kind):
    """x[row] += sum of s[source] * w[e]; False at a source outside."""
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
def gather_rows(frame, n_batch, flat, w_type, kind):
    """s[source] += x[row] * w[e] for the active sources; False at a source outside."""
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
def outer_rows(frame, n_batch, flat, kind):
    """g[e] += s[source] * x[row] where the source is not silent; False at a source outside."""
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


def scatter(first, second, out, major, minor, tag):
    """Handler of `scatter`: (spikes, weights, *graph) -> one sum per row."""
    (w_code, w_type, _, _), (code, kind, _, _) = second, out

    @cfunc(SIGNATURE, cache=True, error_model="numpy")
    def handler(frame):
        if answered_metadata_query(frame, major, minor) or tag == 0:
            return 0
        n_batch = buffer(frame, ARGUMENTS, 0)[4] - 1
        error = wrong_counts(frame, 5, 1, n_batch)
        if error != 0:
            return error
        if wrong_factors(frame, n_batch, code, 1, w_code, 1, code, 1) or graph_is_wrong(frame, n_batch):
            return wrong_buffer(frame)
        clear(frame, kind)
        for flat in range(batch_total(frame, n_batch)):
            if not scatter_rows(frame, n_batch, flat, w_type, kind):
                return outside(frame)
        return 0

    return handler


def gather(first, second, out, major, minor, tag):
    """Handler of `gather`: (x, weights, *graph) -> one sum per source."""
    (code, kind, _, _), (w_code, w_type, _, _) = out, second

    @cfunc(SIGNATURE, cache=True, error_model="numpy")
    def handler(frame):
        if answered_metadata_query(frame, major, minor) or tag == 0:
            return 0
        n_batch = buffer(frame, ARGUMENTS, 0)[4] - 1
        error = wrong_counts(frame, 5, 1, n_batch)
        if error != 0:
            return error
        if wrong_factors(frame, n_batch, code, 1, w_code, 1, code, 1) or graph_is_wrong(frame, n_batch):
            return wrong_buffer(frame)
        clear(frame, kind)
        for flat in range(batch_total(frame, n_batch)):
            if not gather_rows(frame, n_batch, flat, w_type, kind):
                return outside(frame)
        return 0

    return handler


def outer(first, second, out, major, minor, tag):
    """Handler of `outer`: (spikes, x, *graph) -> one value per edge, or their sum."""
    code, kind, _, _ = out

    @cfunc(SIGNATURE, cache=True, error_model="numpy")
    def handler(frame):
        if answered_metadata_query(frame, major, minor) or tag == 0:
            return 0
        n_batch = buffer(frame, ARGUMENTS, 0)[4] - 1
        error = wrong_counts(frame, 5, 1, n_batch)
        if error != 0:
            return error
        if wrong_factors(frame, n_batch, code, 1, code, 1, code, 1) or graph_is_wrong(frame, n_batch):
            return wrong_buffer(frame)
        clear(frame, kind)
        for flat in range(batch_total(frame, n_batch)):
            if not outer_rows(frame, n_batch, flat, kind):
                return outside(frame)
        return 0

    return handler
