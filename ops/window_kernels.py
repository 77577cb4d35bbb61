"""Native CPU forms of the window operators: sums over edges of contiguous slices of a history, as typed FFI handlers.

Imports numba, so import it only through `native.py`. Steps are walked in tiles of a constant size that live in
registers. A tile that would pass the end of its row of the history is read or written step by step, with wrap-around.
Edges are walked in order on the calling thread: the same inputs give the same bits.
"""

import numpy as np
from numba import literally, njit

from .call_frame import ARGUMENTS, RESULTS, buffer, dim, last, on_stack, widen
from .kernel_frame import INT32, UNSET, element, handler_of
from .kernel_vectors import add_fused, add_scaled, copy_vector, dot_vector

INDPTR, INDICES, DELAYS, STEP = 2, 3, 4, 5  # argument numbers
GRAPH = ((INT32, 1), (INT32, 1), (INT32, 1), (INT32, 0))
ROOM = 64  # steps in the largest tile


@njit(error_model="numpy", inline="always")
def column(e, delays, now, width):
    """First column that edge `e` reads, in [0, width)."""
    c = now + np.int64(delays[e])
    c += width * (np.int64(c < 0) - np.int64(c >= width))
    if c < 0 or c >= width:  # a delay beyond the history: rare, so the slow modulo waits for it
        c = c % width
    return c


@njit(error_model="numpy", inline="always")
def unrolled(used, spare, x, base, first, width):
    """Copy the `used` values that start in column `first` of a row, with wrap-around."""
    left = min(width - first, used)
    for k in range(left):
        spare[k] = x[base + first + k]
    for k in range(left, used):
        spare[k] = x[base + k - left]


@njit(error_model="numpy")
def gather_tile(tile, used, lo, hi, made, x, w, w_step, indices, delays, now, n_sources, width):
    """made[k] = sum over the edges of w[e] * x[source, column + k], k < used; False at a source outside."""
    tile = literally(tile)
    kind = type(made[0])
    total, spare = on_stack(ROOM, kind), on_stack(ROOM, kind)
    copy_vector(tile, total, 0.0)
    whole = np.uint64(max(width - tile + 1, 0))  # columns from which a tile does not wrap
    for e in range(lo, hi):
        source, weight = np.int64(indices[e]), widen(w[e * w_step])
        first = now + np.int64(delays[e])
        first += width * np.int64(first < 0)
        if (np.uint64(source) < np.uint64(n_sources)) & (np.uint64(first) < whole):
            add_fused(tile, total, weight, x, source * width + first)
            continue
        if source < 0 or source >= n_sources:
            return False
        unrolled(used, spare, x, source * width, column(e, delays, now, width), width)
        add_fused(tile, total, weight, spare, 0)
    copy_vector(tile, made, total)
    return True


@njit(error_model="numpy")
def scatter_tile(tile, used, lo, hi, s, out, w, w_step, indices, delays, now, n_sources, width):
    """out[source, column + k] += w[e] * s[k], k < used; s[k] = 0 beyond. False at a source outside."""
    tile = literally(tile)
    for e in range(lo, hi):
        source = np.int64(indices[e])
        if source < 0 or source >= n_sources:
            return False
        weight = type(s[0])(widen(w[e * w_step]))
        first = column(e, delays, now, width)
        if first + tile <= width and weight - weight == 0:  # beyond `used` a finite weight adds zeros
            add_scaled(tile, out, source * width + first, weight, s, 0)
        else:
            left = min(width - first, used)
            for k in range(left):
                out[source * width + first + k] += weight * s[k]
            for k in range(left, used):
                out[source * width + k - left] += weight * s[k]
    return True


@njit(error_model="numpy")
def outer_tile(tile, used, lo, hi, s, x, g, g_step, indices, delays, now, n_sources, width):
    """g[e] += sum of s[k] * x[source, column + k], k < used; False at a source outside."""
    tile = literally(tile)
    spare = on_stack(ROOM, type(s[0]))
    for e in range(lo, hi):
        source = np.int64(indices[e])
        if source < 0 or source >= n_sources:
            return False
        first = column(e, delays, now, width)
        if first + tile <= width:
            g[e * g_step] += dot_vector(tile, used, s, x, source * width + first)
        else:
            unrolled(used, spare, x, source * width, first, width)
            g[e * g_step] += dot_vector(tile, used, s, spare, 0)
    return True


@njit(error_model="numpy", inline="always")
def load_column(used, tile, s, start, n_rows, row, values):
    """values[k] = s[start + k, row], zero from `used` on."""
    for k in range(tile):
        values[k] = s[(start + k) * n_rows + row] if k < used else type(values[0])(0)


@njit(error_model="numpy", inline="always")
def edges(frame, n_batch, flat, width):
    """(indptr, indices, delays, column of delay 0) of one batch element."""
    now = np.int64(element(frame, ARGUMENTS, STEP, n_batch, flat, 0, np.int32)[0]) % width
    indptr = element(frame, ARGUMENTS, INDPTR, n_batch, flat, 1, np.int32)
    indices = element(frame, ARGUMENTS, INDICES, n_batch, flat, 1, np.int32)
    return indptr, indices, element(frame, ARGUMENTS, DELAYS, n_batch, flat, 1, np.int32), now


@njit(error_model="numpy")
def gather_rows(frame, n_batch, flat, kinds, tile):
    """Result of one batch element; False at a row or source outside."""
    w_type, kind = kinds
    tile = literally(tile)
    history, result = buffer(frame, ARGUMENTS, 0), buffer(frame, RESULTS, 0)
    n_sources, width, block = dim(history, n_batch), dim(history, n_batch + 1), dim(result, n_batch)
    n_rows, n_edges = dim(result, n_batch + 1), last(buffer(frame, ARGUMENTS, INDICES))
    x, w = element(frame, ARGUMENTS, 0, n_batch, flat, 2, kind), element(frame, ARGUMENTS, 1, n_batch, flat, 1, w_type)
    out = element(frame, RESULTS, 0, n_batch, flat, 2, kind)
    w_step = 1 if last(buffer(frame, ARGUMENTS, 1)) == n_edges else 0
    indptr, indices, delays, now = edges(frame, n_batch, flat, width)
    made = on_stack(ROOM, kind)
    for start in range(0, block, tile):
        first, used = (now + start) % width, min(tile, block - start)
        for row in range(n_rows):
            lo, hi = np.int64(indptr[row]), np.int64(indptr[row + 1])
            if lo < 0 or hi > n_edges:
                return False
            if not gather_tile(tile, used, lo, hi, made, x, w, w_step, indices, delays, first, n_sources, width):
                return False
            for k in range(used):
                out[(start + k) * n_rows + row] = made[k]
    return True


@njit(error_model="numpy")
def cotangent_rows(frame, n_batch, flat, tile, w_type, kind, by_weights):
    """`scatter` or, by weights, `outer` of one batch element; False at a row or source outside."""
    tile = literally(tile)
    cotangent = buffer(frame, ARGUMENTS, 0)
    history = buffer(frame, ARGUMENTS, 1) if by_weights else buffer(frame, RESULTS, 0)
    n_sources, width, block = dim(history, n_batch), dim(history, n_batch + 1), dim(cotangent, n_batch)
    n_rows, n_edges = dim(cotangent, n_batch + 1), last(buffer(frame, ARGUMENTS, INDICES))
    s = element(frame, ARGUMENTS, 0, n_batch, flat, 2, kind)
    x = element(frame, ARGUMENTS, 1, n_batch, flat, 2, kind)
    w = element(frame, ARGUMENTS, 1, n_batch, flat, 1, w_type)
    out = element(frame, RESULTS, 0, n_batch, flat, 1 if by_weights else 2, kind)
    step = 1 if last(buffer(frame, RESULTS if by_weights else ARGUMENTS, 0 if by_weights else 1)) == n_edges else 0
    indptr, indices, delays, now = edges(frame, n_batch, flat, width)
    values = on_stack(ROOM, kind)
    for start in range(0, block, tile):
        first, used = (now + start) % width, min(tile, block - start)
        for row in range(n_rows):
            lo, hi = np.int64(indptr[row]), np.int64(indptr[row + 1])
            if lo < 0 or hi > n_edges:
                return False
            load_column(used, tile, s, start, n_rows, row, values)
            if by_weights:
                inside = outer_tile(tile, used, lo, hi, values, x, out, step, indices, delays, first, n_sources, width)
            else:
                inside = scatter_tile(
                    tile, used, lo, hi, values, out, w, step, indices, delays, first, n_sources, width
                )
            if not inside:
                return False
    return True


@njit(error_model="numpy")
def scatter_rows(frame, n_batch, flat, kinds, tile):
    w_type, kind = kinds
    return cotangent_rows(frame, n_batch, flat, tile, w_type, kind, False)


@njit(error_model="numpy")
def outer_rows(frame, n_batch, flat, kinds, tile):
    (kind,) = kinds
    return cotangent_rows(frame, n_batch, flat, tile, kind, kind, True)


def window_gather(first, second, out, tile, *stamp):
    """(history, weights, *graph) -> (block, n_rows)."""
    (w_code, w_type, *_), (code, kind, *_) = second, out
    arguments = (code, 2), (w_code, 1), *GRAPH
    return handler_of(gather_rows, (w_type, kind), arguments, (code, 2), stamp, begin=UNSET, constant=tile)


def window_scatter(first, second, out, tile, *stamp):
    """(cotangent (block, n_rows), weights, *graph) -> history."""
    (w_code, w_type, *_), (code, kind, *_) = second, out
    return handler_of(scatter_rows, (w_type, kind), ((code, 2), (w_code, 1), *GRAPH), (code, 2), stamp, constant=tile)


def window_outer(first, second, out, tile, *stamp):
    """(cotangent (block, n_rows), history, *graph) -> one value per edge, or their sum."""
    code, kind, *_ = out
    return handler_of(outer_rows, (kind,), ((code, 2), (code, 2), *GRAPH), (code, 1), stamp, constant=tile)
