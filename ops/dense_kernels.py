"""Native CPU forms of spikes over a dense matrix, as typed FFI handlers: only the rows that spike are read.

Imports numba, so import it only through `handlers.py`. Rows are added in order, several at a time, while a tile of the
result stays in registers: the same inputs give the same bits.
"""

import numpy as np
from numba import cfunc, njit

from .call_frame import ARGUMENTS, RESULTS, answered_metadata_query, batch_total, buffer, is_wrong, last, on_stack
from .kernel_frame import (
    PRED,
    SIGNATURE,
    add_row,
    add_scaled,
    any_set,
    clear,
    copy_vector,
    dot_row,
    shifted,
    wrong_buffer,
    wrong_counts,
    wrong_factors,
)
from .kernel_rows import element

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
def scatter_rows(frame, n_batch, flat, s_type, bits_type, mask, w_type, kind):
    """x += s[row] * w[row] over the rows that spike, for one batch element."""
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


@njit(error_model="numpy")
def gather_rows(frame, n_batch, flat, w_type, kind):
    """s[row] += w[row] . x over the active rows, for one batch element."""
    x, w = element(frame, ARGUMENTS, 0, n_batch, flat, 1, kind), element(frame, ARGUMENTS, 1, n_batch, flat, 2, w_type)
    active = element(frame, ARGUMENTS, ACTIVE, n_batch, flat, 1, np.uint8)
    masked = last(buffer(frame, ARGUMENTS, ACTIVE)) > 0
    out = element(frame, RESULTS, 0, n_batch, flat, 1, kind)
    n_post = last(buffer(frame, ARGUMENTS, 0))
    for row in range(last(buffer(frame, RESULTS, 0))):
        if not masked or active[row] != 0:
            out[row] += dot_row(n_post, x, w, row * n_post)


@njit(error_model="numpy")
def outer_rows(frame, n_batch, flat, s_type, bits_type, mask, kind):
    """g[row] += s[row] * x over the rows that spike, for one batch element."""
    s = element(frame, ARGUMENTS, 0, n_batch, flat, 1, s_type)
    bits = element(frame, ARGUMENTS, 0, n_batch, flat, 1, bits_type)
    x = element(frame, ARGUMENTS, 1, n_batch, flat, 1, kind)
    g = element(frame, RESULTS, 0, n_batch, flat, 2, kind)
    n_post = last(buffer(frame, ARGUMENTS, 1))
    for row in range(last(buffer(frame, ARGUMENTS, 0))):
        if bits[row] & mask != 0:
            add_row(n_post, g, row * n_post, kind(s[row]), x, 0)


def scatter(first, second, out, major, minor, tag):
    """Handler of `scatter`: (spikes, matrix, active) -> (n_post,)."""
    (s_code, s_type, bits_type, mask), (w_code, w_type, _, _), (code, kind, _, _) = first, second, out

    @cfunc(SIGNATURE, cache=True, error_model="numpy")
    def handler(frame):
        if answered_metadata_query(frame, major, minor) or tag == 0:
            return 0
        n_batch = buffer(frame, ARGUMENTS, 0)[4] - 1
        error = wrong_counts(frame, 3, 1, n_batch)
        if error != 0:
            return error
        wrong = wrong_factors(frame, n_batch, s_code, 1, w_code, 2, code, 1)
        if wrong or is_wrong(frame, ARGUMENTS, ACTIVE, PRED, n_batch + 1):
            return wrong_buffer(frame)
        clear(frame, kind)
        for flat in range(batch_total(frame, n_batch)):
            scatter_rows(frame, n_batch, flat, s_type, bits_type, mask, w_type, kind)
        return 0

    return handler


def gather(first, second, out, major, minor, tag):
    """Handler of `gather`: (x, matrix, active) -> (n_pre,)."""
    (w_code, w_type, _, _), (code, kind, _, _) = second, out

    @cfunc(SIGNATURE, cache=True, error_model="numpy")
    def handler(frame):
        if answered_metadata_query(frame, major, minor) or tag == 0:
            return 0
        n_batch = buffer(frame, ARGUMENTS, 0)[4] - 1
        error = wrong_counts(frame, 3, 1, n_batch)
        if error != 0:
            return error
        wrong = wrong_factors(frame, n_batch, code, 1, w_code, 2, code, 1)
        if wrong or is_wrong(frame, ARGUMENTS, ACTIVE, PRED, n_batch + 1):
            return wrong_buffer(frame)
        clear(frame, kind)
        for flat in range(batch_total(frame, n_batch)):
            gather_rows(frame, n_batch, flat, w_type, kind)
        return 0

    return handler


def outer(first, second, out, major, minor, tag):
    """Handler of `outer`: (spikes, x, active) -> (n_pre, n_post)."""
    (s_code, s_type, bits_type, mask), (code, kind, _, _) = first, out

    @cfunc(SIGNATURE, cache=True, error_model="numpy")
    def handler(frame):
        if answered_metadata_query(frame, major, minor) or tag == 0:
            return 0
        n_batch = buffer(frame, ARGUMENTS, 0)[4] - 1
        error = wrong_counts(frame, 3, 1, n_batch)
        if error != 0:
            return error
        wrong = wrong_factors(frame, n_batch, s_code, 1, code, 1, code, 2)
        if wrong or is_wrong(frame, ARGUMENTS, ACTIVE, PRED, n_batch + 1):
            return wrong_buffer(frame)
        clear(frame, kind)
        for flat in range(batch_total(frame, n_batch)):
            outer_rows(frame, n_batch, flat, s_type, bits_type, mask, kind)
        return 0

    return handler
