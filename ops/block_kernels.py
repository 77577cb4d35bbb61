"""Native CPU forms of spikes over a matrix of dense blocks, as typed FFI handlers.

Imports numba, so import it only through `native.py`. Of every block only the rows that spike are read; blocks and
rows are walked in order on the calling thread: the same inputs give the same bits. Blocks at the rims may stick out of
the matrix: what lies outside is not read.
"""

import numpy as np
from numba import njit

from .call_frame import ARGUMENTS, RESULTS, buffer, dim, last, on_stack
from .kernel_frame import INT32, PRED, any_set, element, handler_of
from .kernel_vectors import add_row, dot_row, shifted

INDPTR, INDICES, ACTIVE = 2, 3, 4  # argument numbers
GRAPH = ((INT32, 1), (INT32, 1), (PRED, 1))
ROWS = 64  # rows of a block whose spikes are collected at once


@njit(error_model="numpy")
def graph(frame, n_batch, flat):
    """(block_indptr, block_indices, number of blocks, number of rows of blocks) of one batch element."""
    indptr = element(frame, ARGUMENTS, INDPTR, n_batch, flat, 1, np.int32)
    indices = element(frame, ARGUMENTS, INDICES, n_batch, flat, 1, np.int32)
    return indptr, indices, last(buffer(frame, ARGUMENTS, INDICES)), last(buffer(frame, ARGUMENTS, INDPTR)) - 1


@njit(error_model="numpy", inline="always")
def columns(block, indices, b_post, n_post):
    """(first target, number of targets) of a block; -1 where it lies outside."""
    first = np.int64(indices[block]) * b_post
    if first < 0 or first >= n_post:
        return np.int64(-1), np.int64(0)
    return first, min(b_post, n_post - first)


@njit(error_model="numpy")
def scatter_blocks(frame, n_batch, flat, kinds):
    """x[targets of the block] += s[row] * block[row] for the rows that spike; False at a block outside."""
    s_type, bits_type, mask, w_type, kind = kinds
    s = element(frame, ARGUMENTS, 0, n_batch, flat, 1, s_type)
    bits = element(frame, ARGUMENTS, 0, n_batch, flat, 1, bits_type)
    w = element(frame, ARGUMENTS, 1, n_batch, flat, 3, w_type)
    out = element(frame, RESULTS, 0, n_batch, flat, 1, kind)
    shape, n_pre = buffer(frame, ARGUMENTS, 1), last(buffer(frame, ARGUMENTS, 0))
    b_pre, b_post, n_post = dim(shape, n_batch + 1), dim(shape, n_batch + 2), last(buffer(frame, RESULTS, 0))
    indptr, indices, n_blocks, n_rows = graph(frame, n_batch, flat)
    spiking, values = on_stack(ROWS, np.int64), on_stack(ROWS, kind)
    for i in range(n_rows):
        for start in range(i * b_pre, min((i + 1) * b_pre, n_pre), ROWS):
            count = min(ROWS, (i + 1) * b_pre - start, n_pre - start)
            if not any_set(bits, start, count, mask):
                continue
            lo, hi, found = np.int64(indptr[i]), np.int64(indptr[i + 1]), 0
            if lo < 0 or hi > n_blocks:
                return False
            for row in range(start, start + count):
                spiking[found], values[found] = row - i * b_pre, kind(s[row])
                found += np.int64(bits[row] & mask != 0)  # counts without a branch
            for block in range(lo, hi):
                first, size = columns(block, indices, b_post, n_post)
                if first < 0:
                    return False
                for r in range(found):
                    add_row(size, out, first, values[r], w, (block * b_pre + spiking[r]) * b_post)
    return True


@njit(error_model="numpy")
def gather_blocks(frame, n_batch, flat, kinds):
    """s[row] += block[row] . x[targets of the block] for the active rows; False at a block outside."""
    w_type, kind = kinds
    x, w = element(frame, ARGUMENTS, 0, n_batch, flat, 1, kind), element(frame, ARGUMENTS, 1, n_batch, flat, 3, w_type)
    out = element(frame, RESULTS, 0, n_batch, flat, 1, kind)
    active = element(frame, ARGUMENTS, ACTIVE, n_batch, flat, 1, np.uint8)
    masked = last(buffer(frame, ARGUMENTS, ACTIVE)) > 0
    shape, n_pre = buffer(frame, ARGUMENTS, 1), last(buffer(frame, RESULTS, 0))
    b_pre, b_post, n_post = dim(shape, n_batch + 1), dim(shape, n_batch + 2), last(buffer(frame, ARGUMENTS, 0))
    indptr, indices, n_blocks, n_rows = graph(frame, n_batch, flat)
    for i in range(n_rows):
        lo, hi = np.int64(indptr[i]), np.int64(indptr[i + 1])
        if lo < 0 or hi > n_blocks:
            return False
        for block in range(lo, hi):
            first, size = columns(block, indices, b_post, n_post)
            if first < 0:
                return False
            for row in range(i * b_pre, min((i + 1) * b_pre, n_pre)):
                if not masked or active[row] != 0:
                    place = (block * b_pre + row - i * b_pre) * b_post
                    out[row] += dot_row(size, shifted(x, first), w, place)
    return True


@njit(error_model="numpy")
def outer_blocks(frame, n_batch, flat, kinds):
    """block[row] += s[row] * x[targets of the block] for the rows that spike; False at a block outside."""
    s_type, bits_type, mask, kind = kinds
    s = element(frame, ARGUMENTS, 0, n_batch, flat, 1, s_type)
    bits = element(frame, ARGUMENTS, 0, n_batch, flat, 1, bits_type)
    x, g = element(frame, ARGUMENTS, 1, n_batch, flat, 1, kind), element(frame, RESULTS, 0, n_batch, flat, 3, kind)
    shape, n_pre = buffer(frame, RESULTS, 0), last(buffer(frame, ARGUMENTS, 0))
    b_pre, b_post, n_post = dim(shape, n_batch + 1), dim(shape, n_batch + 2), last(buffer(frame, ARGUMENTS, 1))
    indptr, indices, n_blocks, n_rows = graph(frame, n_batch, flat)
    for i in range(n_rows):
        count = min(b_pre, n_pre - i * b_pre)
        if count <= 0 or not any_set(bits, i * b_pre, count, mask):
            continue
        lo, hi = np.int64(indptr[i]), np.int64(indptr[i + 1])
        if lo < 0 or hi > n_blocks:
            return False
        for block in range(lo, hi):
            first, size = columns(block, indices, b_post, n_post)
            if first < 0:
                return False
            for r in range(count):
                if bits[i * b_pre + r] & mask != 0:
                    add_row(size, g, (block * b_pre + r) * b_post, kind(s[i * b_pre + r]), x, first)
    return True


def blocks_scatter(first, second, out, *stamp):
    """(spikes, blocks, *graph) -> (n_post,)."""
    (s_code, s_type, bits_type, mask), (w_code, w_type, *_), (code, kind, *_) = first, second, out
    kinds = s_type, bits_type, mask, w_type, kind
    return handler_of(scatter_blocks, kinds, ((s_code, 1), (w_code, 3), *GRAPH), (code, 1), stamp)


def blocks_gather(first, second, out, *stamp):
    """(x, blocks, *graph) -> (n_pre,)."""
    (w_code, w_type, *_), (code, kind, *_) = second, out
    return handler_of(gather_blocks, (w_type, kind), ((code, 1), (w_code, 3), *GRAPH), (code, 1), stamp)


def blocks_outer(first, second, out, *stamp):
    """(spikes, x, *graph) -> blocks."""
    (s_code, s_type, bits_type, mask), (code, kind, *_) = first, out
    kinds = s_type, bits_type, mask, kind
    return handler_of(outer_blocks, kinds, ((s_code, 1), (code, 1), *GRAPH), (code, 3), stamp)
