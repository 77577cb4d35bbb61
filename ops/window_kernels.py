"""Native CPU forms of the window operators: sums over edges of contiguous slices of a history, as typed FFI handlers.

Imports numba, so import it only through `handlers.py`. Steps are walked in tiles of a constant size that live in
registers. A tile that would pass the end of its row of the history is read or written step by step, with wrap-around.
Edges are walked in order on the calling thread: the same inputs give the same bits.
"""

import numpy as np
from numba import cfunc, literally, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from .call_frame import (
    ARGUMENTS,
    RESULTS,
    answered_metadata_query,
    batch_total,
    buffer,
    dim,
    is_wrong,
    last,
    on_stack,
    widen,
)
from .kernel_frame import (
    INT32,
    SIGNATURE,
    _load,
    _splat,
    _vector,
    add_scaled,
    clear,
    copy_vector,
    dot_vector,
    outside,
    wrong_buffer,
    wrong_counts,
    wrong_factors,
)
from .kernel_rows import element

ir = cgutils.ir

INDPTR, INDICES, DELAYS, STEP = 2, 3, 4, 5  # argument numbers
ROOM = 64  # steps in the largest tile


@njit(error_model="numpy")
def graph_is_wrong(frame, n_batch):
    return (
        is_wrong(frame, ARGUMENTS, INDPTR, INT32, n_batch + 1)
        or is_wrong(frame, ARGUMENTS, INDICES, INT32, n_batch + 1)
        or is_wrong(frame, ARGUMENTS, DELAYS, INT32, n_batch + 1)
        or is_wrong(frame, ARGUMENTS, STEP, INT32, n_batch)
    )


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


@intrinsic(prefer_literal=True)
def add_fused(typingctx, size, total, weight, x, start):
    """total[:size] += weight * x[start : start + size], with one rounding where the machine has such an operation."""
    count, dtype = size.literal_value, total.dtype

    def codegen(context, builder, signature, args):
        _, total, weight, x, start = args
        place, align = _vector(context, builder, count, dtype, total, ir.IntType(64)(0)), dtype.bitwidth // 8
        values = _load(context, builder, count, signature.args[3].dtype, dtype, x, start)
        name, kind = f"llvm.fmuladd.v{count}f{dtype.bitwidth}", ir.FunctionType(values.type, [values.type] * 3)
        fused = cgutils.get_or_insert_function(builder.module, kind, name)
        new = builder.call(fused, [_splat(builder, count, weight), values, builder.load(place, align=align)])
        builder.store(new, place, align=align)
        return context.get_dummy_value()

    return types.void(size, total, dtype, x, types.int64), codegen


@njit(error_model="numpy")
def gather_tile(tile, used, lo, hi, made, x, w, w_step, indices, delays, now, n_sources, width):
    """made[k] = sum over the edges of w[e] * x[source, column + k], k < used; False at a source outside."""
    tile = literally(tile)
    kind = type(made[0])
    total, spare = on_stack(ROOM, kind), on_stack(ROOM, kind)
    copy_vector(tile, total, 0.0)
    for e in range(lo, hi):
        source, weight = np.int64(indices[e]), widen(w[e * w_step])
        first = now + np.int64(delays[e])
        first += width * np.int64(first < 0)
        if (np.uint64(source) < np.uint64(n_sources)) & (np.uint64(first) + np.uint64(tile) <= np.uint64(width)):
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
def gather_rows(frame, n_batch, flat, tile, w_type, kind):
    """Result of one batch element; False at a row or source outside."""
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


def gather(first, second, out, tile, major, minor, tag):
    """Handler of `gather`: (history, weights, *graph) -> (block, n_rows)."""
    (code, kind, _, _), (w_code, w_type, _, _) = out, second

    @cfunc(SIGNATURE, cache=True, error_model="numpy")
    def handler(frame):
        if answered_metadata_query(frame, major, minor) or tag == 0:
            return 0
        n_batch = buffer(frame, ARGUMENTS, 0)[4] - 2
        error = wrong_counts(frame, 6, 1, n_batch)
        if error != 0:
            return error
        if wrong_factors(frame, n_batch, code, 2, w_code, 1, code, 2) or graph_is_wrong(frame, n_batch):
            return wrong_buffer(frame)
        for flat in range(batch_total(frame, n_batch)):
            if not gather_rows(frame, n_batch, flat, tile, w_type, kind):
                return outside(frame)
        return 0

    return handler


def scatter(first, second, out, tile, major, minor, tag):
    """Handler of `scatter`: (cotangent (block, n_rows), weights, *graph) -> history."""
    (code, kind, _, _), (w_code, w_type, _, _) = out, second

    @cfunc(SIGNATURE, cache=True, error_model="numpy")
    def handler(frame):
        if answered_metadata_query(frame, major, minor) or tag == 0:
            return 0
        n_batch = buffer(frame, ARGUMENTS, 0)[4] - 2
        error = wrong_counts(frame, 6, 1, n_batch)
        if error != 0:
            return error
        if wrong_factors(frame, n_batch, code, 2, w_code, 1, code, 2) or graph_is_wrong(frame, n_batch):
            return wrong_buffer(frame)
        clear(frame, kind)
        for flat in range(batch_total(frame, n_batch)):
            if not cotangent_rows(frame, n_batch, flat, tile, w_type, kind, False):
                return outside(frame)
        return 0

    return handler


def outer(first, second, out, tile, major, minor, tag):
    """Handler of `outer`: (cotangent (block, n_rows), history, *graph) -> one value per edge, or their sum."""
    code, kind, _, _ = out

    @cfunc(SIGNATURE, cache=True, error_model="numpy")
    def handler(frame):
        if answered_metadata_query(frame, major, minor) or tag == 0:
            return 0
        n_batch = buffer(frame, ARGUMENTS, 0)[4] - 2
        error = wrong_counts(frame, 6, 1, n_batch)
        if error != 0:
            return error
        if wrong_factors(frame, n_batch, code, 2, code, 2, code, 1) or graph_is_wrong(frame, n_batch):
            return wrong_buffer(frame)
        clear(frame, kind)
        for flat in range(batch_total(frame, n_batch)):
            if not cotangent_rows(frame, n_batch, flat, tile, kind, kind, True):
                return outside(frame)
        return 0

    return handler
