"""Native CPU forms of the four primitives: numba functions that are themselves typed XLA FFI handlers.

Imports numba, so import it only through `native.py`. No Python and no lock in the path. Large calls are split into
tasks for several threads: by batch element, or, where every row owns its results (`gather`, `outer`), by rows. A sum is
never split: the same inputs give the same bits on any number of threads.
Every handler is made by a factory that closes over plain numbers and numpy scalar types only: numba hashes them into
its cache key, so a second process loads the compiled code (`cache=True`), and `tag` retires it when a source changes.
"""

import numpy as np
from numba import cfunc, njit, types

from .call_frame import (
    ARGUMENTS,
    MAX_BATCH_AXES,
    RESULTS,
    address_of,
    answered_metadata_query,
    at,
    batch_total,
    buffer,
    dim,
    is_wrong,
    last,
    new_error,
    on_stack,
    parallel_loop,
    threads_of,
)
from .kernel_rows import (
    ACTIVE,
    CHUNK,
    DELAYS,
    INDICES,
    INDPTR,
    element,
    fill_zero,
    gather_row,
    graph_is_wrong,
    outer_row,
    ring_base,
    scatter_row,
    size_of,
)

SIGNATURE = types.intp(types.CPointer(types.int64))
RING = 7  # argument number of the ring that `deliver` updates
BLOCK = 32  # spikes tested at once
TASKS = 32  # at most this many per call: enough for an even load
PARALLEL = 10_000  # ns of work from which waking a second thread pays (2 us to wake it, 3 to 9 until it works)
# Words that the tasks of one call read; FAILED is written.
FRAME, N_BATCH, N_SLOTS, N_POST, MASK, TOTAL, N_ROWS, N_TASKS, BY_ELEMENT, ZERO, FAILED, N_WORDS = range(12)


@njit(error_model="numpy")
def graph(frame, n_batch, flat, n_slots):
    """What all row loops need: indptr, indices, delays, whether delays are separate, the current slot."""
    indptr = element(frame, ARGUMENTS, INDPTR, n_batch, flat, 1, np.int32)
    indices = element(frame, ARGUMENTS, INDICES, n_batch, flat, 1, np.int32)
    delays = element(frame, ARGUMENTS, DELAYS, n_batch, flat, 1, np.int32)
    has_delays = last(buffer(frame, ARGUMENTS, DELAYS)) > 0
    return indptr, indices, delays, has_delays, ring_base(frame, n_batch, flat, n_slots)


@njit(error_model="numpy", inline="always")
def any_set(bits, start, count, mask):
    """True where one of `count` spikes is not zero; -0.0 is zero, nan is not. Vectorises, unlike a test per spike."""
    found = bits[start] & mask
    for i in range(start + 1, start + count):
        found |= bits[i] & mask
    return found != 0


@njit(error_model="numpy")
def owns_results(frame, n_batch, total):
    """True where every batch element has results of its own: none is summed over the batch."""
    out, n_results = buffer(frame, RESULTS, 0), 1
    for axis in range(n_batch):
        n_results *= dim(out, axis)
    return n_results == total


@njit(error_model="numpy")
def plan(frame, words, shape, mask, out_type, zero, by_rows, cost):
    """Number of tasks of the call, and what they read in `words`; clears the result where `zero`, unless tasks do.

    `shape`: batch axes, slots, targets. `by_rows`: rows own their results. `cost`: rough ns of one batch element.
    """
    n_batch, n_slots, n_post = shape
    total, n_rows = batch_total(frame, n_batch), last(buffer(frame, ARGUMENTS, INDPTR)) - 1
    by_element = total > 1 and owns_results(frame, n_batch, total)
    words[FRAME], words[N_BATCH], words[N_SLOTS], words[N_POST] = address_of(frame), n_batch, n_slots, n_post
    words[MASK], words[TOTAL], words[N_ROWS], words[FAILED] = mask, total, n_rows, 0
    words[BY_ELEMENT] = np.int64(by_element)
    words[ZERO] = np.int64(zero and by_element)  # a task clears what it owns, while it is in cache
    if zero and not by_element:
        fill_zero(frame, out_type)
    tasks = 1
    if cost * total >= PARALLEL and (by_element or by_rows) and threads_of(frame) > 1:
        tasks = max(min(total if by_element else n_rows, TASKS), 1)
    words[N_TASKS] = tasks
    return tasks


@njit(error_model="numpy")
def part_of(words, i):
    """(first batch element, end, first row, end) of task i."""
    total, n_rows, tasks = words[TOTAL], words[N_ROWS], words[N_TASKS]
    if words[BY_ELEMENT] != 0:
        return total * i // tasks, total * (i + 1) // tasks, 0, n_rows
    return 0, total, n_rows * i // tasks, n_rows * (i + 1) // tasks


@njit(error_model="numpy")
def clear(out, size, like):
    for k in range(size):
        out[k] = like(0)


@njit(error_model="numpy")
def scatter_part(context, i, kinds):
    """Task of `scatter` and `deliver`: add the rows that spike to the results of its batch elements."""
    s_type, bits_type, w_type, out_type = kinds
    words = at(context, 0, np.int64)
    frame, n_batch, n_slots, n_post = at(words[FRAME], 0, np.int64), words[N_BATCH], words[N_SLOTS], words[N_POST]
    mask, places = bits_type(words[MASK]), on_stack(CHUNK, np.int32)
    n_edges = last(buffer(frame, ARGUMENTS, INDICES))
    w_step = 1 if last(buffer(frame, ARGUMENTS, 1)) == n_edges else 0
    start, end, row_start, row_end = part_of(words, i)
    for flat in range(start, end):
        s = element(frame, ARGUMENTS, 0, n_batch, flat, 1, s_type)
        bits = element(frame, ARGUMENTS, 0, n_batch, flat, 1, bits_type)
        w = element(frame, ARGUMENTS, 1, n_batch, flat, 1, w_type)
        out = element(frame, RESULTS, 0, n_batch, flat, 2, out_type)
        indptr, indices, delays, has_delays, slot = graph(frame, n_batch, flat, n_slots)
        if words[ZERO] != 0:
            clear(out, n_slots * n_post, out_type)
        for first in range(row_start, row_end, BLOCK):
            count = min(BLOCK, row_end - first)
            if not any_set(bits, first, count, mask):
                continue
            for row in range(first, first + count):
                if bits[row] & mask == 0:
                    continue
                lo, hi = np.int64(indptr[row]), np.int64(indptr[row + 1])
                value = out_type(s[row])
                if (
                    lo < 0
                    or hi > n_edges
                    or not scatter_row(
                        lo, hi, value, w, w_step, indices, delays, has_delays, slot, n_slots, n_post, out, places
                    )
                ):
                    words[FAILED] = 1
                    return


scatter_loop = parallel_loop(scatter_part)


@njit(error_model="numpy")
def outer_part(context, i, kinds):
    """Task of `outer`: spike times cotangent, added to every edge of its rows that spike."""
    s_type, bits_type, out_type = kinds
    words = at(context, 0, np.int64)
    frame, n_batch, n_slots, n_post = at(words[FRAME], 0, np.int64), words[N_BATCH], words[N_SLOTS], words[N_POST]
    mask = bits_type(words[MASK])
    n_edges, n_weights = last(buffer(frame, ARGUMENTS, INDICES)), last(buffer(frame, RESULTS, 0))
    g_step = 1 if n_weights == n_edges else 0
    start, end, row_start, row_end = part_of(words, i)
    for flat in range(start, end):
        s = element(frame, ARGUMENTS, 0, n_batch, flat, 1, s_type)
        bits = element(frame, ARGUMENTS, 0, n_batch, flat, 1, bits_type)
        x = element(frame, ARGUMENTS, 1, n_batch, flat, 2, out_type)
        g = element(frame, RESULTS, 0, n_batch, flat, 1, out_type)
        indptr, indices, delays, has_delays, slot = graph(frame, n_batch, flat, n_slots)
        if words[ZERO] != 0:
            clear(g, n_weights, out_type)
        for row in range(row_start, row_end):
            if bits[row] & mask == 0:
                continue
            lo, hi = np.int64(indptr[row]), np.int64(indptr[row + 1])
            value = out_type(s[row])
            if (
                lo < 0
                or hi > n_edges
                or not outer_row(lo, hi, value, x, g_step, indices, delays, has_delays, slot, n_slots, n_post, g)
            ):
                words[FAILED] = 1
                return


outer_loop = parallel_loop(outer_part)


@njit(error_model="numpy")
def gather_part(context, i, kinds):
    """Task of `gather`: add the weighted sum of every row of its part (of the active ones, where a mask is given)."""
    w_type, out_type = kinds
    words = at(context, 0, np.int64)
    frame, n_batch, n_slots, n_post = at(words[FRAME], 0, np.int64), words[N_BATCH], words[N_SLOTS], words[N_POST]
    n_edges, zero = last(buffer(frame, ARGUMENTS, INDICES)), out_type(0)
    w_step = 1 if last(buffer(frame, ARGUMENTS, 1)) == n_edges else 0
    masked = last(buffer(frame, ARGUMENTS, ACTIVE)) > 0
    start, end, row_start, row_end = part_of(words, i)
    for flat in range(start, end):
        x = element(frame, ARGUMENTS, 0, n_batch, flat, 2, out_type)
        w = element(frame, ARGUMENTS, 1, n_batch, flat, 1, w_type)
        active = element(frame, ARGUMENTS, ACTIVE, n_batch, flat, 1, np.uint8)
        y = element(frame, RESULTS, 0, n_batch, flat, 1, out_type)
        indptr, indices, delays, has_delays, slot = graph(frame, n_batch, flat, n_slots)
        if words[ZERO] != 0:
            clear(y, words[N_ROWS], out_type)
        for row in range(row_start, row_end):
            if masked and active[row] == 0:
                continue
            lo, hi = np.int64(indptr[row]), np.int64(indptr[row + 1])
            total, inside = zero, lo >= 0 and hi <= n_edges
            if inside:
                total, inside = gather_row(
                    lo, hi, zero, x, w, w_step, indices, delays, has_delays, slot, n_slots, n_post
                )
            if not inside:
                words[FAILED] = 1
                return
            y[row] += total


gather_loop = parallel_loop(gather_part)


@njit(error_model="numpy")
def refused(frame, n_arguments, a_code, a_rank, b_code, b_rank, out_code, out_rank, n_batch):
    """Address of an error where the frame is not what the handler was made for, else 0."""
    if frame[ARGUMENTS - 2] != n_arguments or frame[RESULTS - 2] != 1:
        return new_error(frame[2], "brainsim.ops: wrong number of arguments or results")
    if n_batch < 0 or n_batch > MAX_BATCH_AXES:
        return new_error(frame[2], "brainsim.ops: at most 8 batch axes are supported; merge some before the call")
    wrong = (
        is_wrong(frame, ARGUMENTS, 0, a_code, n_batch + a_rank)
        or is_wrong(frame, ARGUMENTS, 1, b_code, n_batch + b_rank)
        or is_wrong(frame, RESULTS, 0, out_code, n_batch + out_rank)
        or graph_is_wrong(frame, n_batch)
    )
    if wrong:
        return new_error(
            frame[2], "brainsim.ops: a buffer has another dtype or rank than the operator was compiled for"
        )
    return 0


@njit(error_model="numpy")
def outside(frame):
    return new_error(
        frame[2], "brainsim.ops: an edge points outside: indptr must lie in [0, n_edges], indices in [0, n_targets)"
    )


@njit(error_model="numpy")
def start_from_ring(frame, ring_number, out_type):
    """Result 0 holds the ring: nothing to do where XLA gave both the same memory, a copy where it did not."""
    ring, out = buffer(frame, ARGUMENTS, ring_number), buffer(frame, RESULTS, 0)
    if ring[3] == out[3]:
        return
    source, target = at(ring[3], 0, out_type), at(out[3], 0, out_type)
    for i in range(size_of(out)):
        target[i] = source[i]


@njit(error_model="numpy")
def sizes(frame, n_batch):
    """(rows, edges) of one batch element."""
    return last(buffer(frame, ARGUMENTS, INDPTR)) - 1, last(buffer(frame, ARGUMENTS, INDICES))


def scatter_handler(codes, s_type, bits_type, mask, w_type, out_type, into_ring, major, minor, tag):
    """Handler of `scatter` (result starts at zero) or `deliver` (result starts as the ring)."""
    s_code, w_code, out_code = codes
    n_arguments = 8 if into_ring else 7

    @cfunc(SIGNATURE, cache=True, error_model="numpy")
    def handler(frame):
        if answered_metadata_query(frame, major, minor) or tag == 0:
            return 0
        out = buffer(frame, RESULTS, 0)
        n_batch = out[4] - 2
        error = refused(frame, n_arguments, s_code, 1, w_code, 1, out_code, 2, n_batch)
        if error != 0:
            return error
        if into_ring:
            if is_wrong(frame, ARGUMENTS, RING, out_code, n_batch + 2):
                return new_error(frame[2], "brainsim.ops: the ring has another dtype or rank than its result")
            start_from_ring(frame, RING, out_type)
        shape = n_batch, dim(out, n_batch), dim(out, n_batch + 1)
        n_rows, n_edges = sizes(frame, n_batch)
        cost = (n_rows + n_edges // 10) // 16  # few rows spike
        words = on_stack(N_WORDS, np.int64)
        tasks = plan(frame, words, shape, mask, out_type, not into_ring, False, cost)
        scatter_loop(frame, address_of(words), tasks, (s_type, bits_type, w_type, out_type))
        return outside(frame) if words[FAILED] != 0 else 0

    return handler


def gather_handler(codes, w_type, out_type, major, minor, tag):
    """Handler of `gather`: weighted sums of dense values over the rows."""
    out_code, w_code = codes

    @cfunc(SIGNATURE, cache=True, error_model="numpy")
    def handler(frame):
        if answered_metadata_query(frame, major, minor) or tag == 0:
            return 0
        x = buffer(frame, ARGUMENTS, 0)
        n_batch = x[4] - 2
        error = refused(frame, 7, out_code, 2, w_code, 1, out_code, 1, n_batch)
        if error != 0:
            return error
        shape = n_batch, dim(x, n_batch), dim(x, n_batch + 1)
        n_rows, n_edges = sizes(frame, n_batch)
        words = on_stack(N_WORDS, np.int64)
        tasks = plan(frame, words, shape, 0, out_type, True, True, n_rows + n_edges * 3 // 4)
        gather_loop(frame, address_of(words), tasks, (w_type, out_type))
        return outside(frame) if words[FAILED] != 0 else 0

    return handler


def outer_handler(codes, s_type, bits_type, mask, out_type, major, minor, tag):
    """Handler of `outer`: spike times cotangent per edge, or summed where the weight is a scalar."""
    s_code, out_code = codes

    @cfunc(SIGNATURE, cache=True, error_model="numpy")
    def handler(frame):
        if answered_metadata_query(frame, major, minor) or tag == 0:
            return 0
        x = buffer(frame, ARGUMENTS, 1)
        n_batch = x[4] - 2
        error = refused(frame, 7, s_code, 1, out_code, 2, out_code, 1, n_batch)
        if error != 0:
            return error
        shape = n_batch, dim(x, n_batch), dim(x, n_batch + 1)
        n_rows, n_edges = sizes(frame, n_batch)
        per_edge = last(buffer(frame, RESULTS, 0)) == n_edges
        words = on_stack(N_WORDS, np.int64)
        tasks = plan(frame, words, shape, mask, out_type, True, per_edge, (n_rows * 4 + n_edges) // 16)
        outer_loop(frame, address_of(words), tasks, (s_type, bits_type, out_type))
        return outside(frame) if words[FAILED] != 0 else 0

    return handler
