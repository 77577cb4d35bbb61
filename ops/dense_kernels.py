"""Native CPU forms of spikes over a dense matrix, as typed FFI handlers: only the rows that spike are read.

Imports numba, so import it only through `native.py`. Rows are added in order, several at a time, while a tile of the
result stays in registers: the same inputs give the same bits.
"""

import numpy as np
from numba import njit

from .call_frame import ARGUMENTS, RESULTS, buffer, last, on_stack
from .kernel_frame import PRED, any_set, element, handler_of
from .kernel_vectors import add_row, add_scaled, copy_vector, dot_row, shifted

ACTIVE = 2  # argument number
GROUP, TILE = 8, 32  # rows that are read side by side; targets in registers
BLOCK = 32  # spikes tested at once


@njit(error_model="numpy")
def add_rows(count, rows, values, w, n_post, out):
    """out += values[r] * w[rows[r]] over `count` rows, in their order."""
    total = on_stack(TILE, type(out[0]))
    j = 0
    while j + TILE <= n_post:
        copy_vector(TILE, total, shifted(out, j))
        for r in range(count):
            add_scaled(TILE, total, 0, values[r], w, rows[r] * n_post + j)
        copy_vector(TILE, shifted(out, j), total)
        j += TILE
    for r in range(count):
        add_row(n_post - j, out, j, values[r], w, rows[r] * n_post + j)


@njit(error_model="numpy")
def scatter_rows(frame, n_batch, flat, kinds):
    """x += s[row] * w[row] over the rows that spike, for one batch element."""
    s_type, bits_type, mask, w_type, kind = kinds
    s = element(frame, ARGUMENTS, 0, n_batch, flat, 1, s_type)
    bits = element(frame, ARGUMENTS, 0, n_batch, flat, 1, bits_type)
    w = element(frame, ARGUMENTS, 1, n_batch, flat, 2, w_type)
    out = element(frame, RESULTS, 0, n_batch, flat, 1, kind)
    n_pre, n_post = last(buffer(frame, ARGUMENTS, 0)), last(buffer(frame, RESULTS, 0))
    rows, values, count = on_stack(GROUP, np.int64), on_stack(GROUP, kind), 0
    for start in range(0, n_pre, BLOCK):
        size = min(BLOCK, n_pre - start)
        if not any_set(bits, start, size, mask):
            continue
        for row in range(start, start + size):
            if bits[row] & mask == 0:
                continue
            rows[count], values[count] = row, kind(s[row])
            count += 1
            if count == GROUP:
                add_rows(count, rows, values, w, n_post, out)
                count = 0
    add_rows(count, rows, values, w, n_post, out)
    return True


@njit(error_model="numpy")
def gather_rows(frame, n_batch, flat, kinds):
    """s[row] += w[row] . x over the active rows, for one batch element."""
    w_type, kind = kinds
    x, w = element(frame, ARGUMENTS, 0, n_batch, flat, 1, kind), element(frame, ARGUMENTS, 1, n_batch, flat, 2, w_type)
    active = element(frame, ARGUMENTS, ACTIVE, n_batch, flat, 1, np.uint8)
    masked = last(buffer(frame, ARGUMENTS, ACTIVE)) > 0
    out = element(frame, RESULTS, 0, n_batch, flat, 1, kind)
    n_post = last(buffer(frame, ARGUMENTS, 0))
    for row in range(last(buffer(frame, RESULTS, 0))):
        if not masked or active[row] != 0:
            out[row] += dot_row(n_post, x, w, row * n_post)
    return True


@njit(error_model="numpy")
def outer_rows(frame, n_batch, flat, kinds):
    """g[row] += s[row] * x over the rows that spike, for one batch element."""
    s_type, bits_type, mask, kind = kinds
    s = element(frame, ARGUMENTS, 0, n_batch, flat, 1, s_type)
    bits = element(frame, ARGUMENTS, 0, n_batch, flat, 1, bits_type)
    x = element(frame, ARGUMENTS, 1, n_batch, flat, 1, kind)
    g = element(frame, RESULTS, 0, n_batch, flat, 2, kind)
    n_post = last(buffer(frame, ARGUMENTS, 1))
    for row in range(last(buffer(frame, ARGUMENTS, 0))):
        if bits[row] & mask != 0:
            add_row(n_post, g, row * n_post, kind(s[row]), x, 0)
    return True


def dense_scatter(first, second, out, *stamp):
    """(spikes, matrix, active) -> (n_post,)."""
    (s_code, s_type, bits_type, mask), (w_code, w_type, *_), (code, kind, *_) = first, second, out
    kinds = s_type, bits_type, mask, w_type, kind
    return handler_of(scatter_rows, kinds, ((s_code, 1), (w_code, 2), (PRED, 1)), (code, 1), stamp)


def dense_gather(first, second, out, *stamp):
    """(x, matrix, active) -> (n_pre,)."""
    (w_code, w_type, *_), (code, kind, *_) = second, out
    return handler_of(gather_rows, (w_type, kind), ((code, 1), (w_code, 2), (PRED, 1)), (code, 1), stamp)


def dense_outer(first, second, out, *stamp):
    """(spikes, x, active) -> (n_pre, n_post)."""
    (s_code, s_type, bits_type, mask), (code, kind, *_) = first, out
    kinds = s_type, bits_type, mask, kind
    return handler_of(outer_rows, kinds, ((s_code, 1), (code, 1), (PRED, 1)), (code, 2), stamp)
