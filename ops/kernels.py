"""Native CPU forms of the four primitives of `primitives.py`, on several threads.

Imports numba, so import it only through `native.py`. No Python and no lock in the path. Large calls are split into
tasks for several threads: by batch element, or, where every row owns its results (`gather`, `outer`), by rows. A sum is
never split: the same inputs give the same bits on any number of threads.
"""

import numpy as np
from numba import njit

from .call_frame import (
    ARGUMENTS,
    RESULTS,
    address_of,
    answered_metadata_query,
    at,
    batch_total,
    buffer,
    dim,
    last,
    on_stack,
    parallel_loop,
    threads_of,
)
from .kernel_frame import any_set, clear, element, outside, refused, size_of, start_from, zero
from .kernel_rows import (
    ACTIVE,
    CHUNK,
    DELAYS,
    GRAPH,
    INDICES,
    INDPTR,
    gather_row,
    outer_row,
    ring_base,
    scatter_row,
)

RING = 7  # argument number of the ring that `deliver` updates
BLOCK = 32  # spikes tested at once
TASKS = 32  # at most this many per call: enough for an even load
CLEAR_TASKS, CLEAR_PARALLEL = 16, 1 << 17  # values from which clearing on several threads pays
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


@njit(error_model="numpy")
def owns_results(frame, n_batch, total):
    """True where every batch element has results of its own: none is summed over the batch."""
    out, n_results = buffer(frame, RESULTS, 0), 1
    for axis in range(n_batch):
        n_results *= dim(out, axis)
    return n_results == total


@njit(error_model="numpy")
def clear_part(context, i, kinds):
    """Task of `clear_large`."""
    (dtype,) = kinds
    words = at(context, 0, np.int64)
    size = words[1]
    zero(at(words[0], 0, dtype), size * i // CLEAR_TASKS, size * (i + 1) // CLEAR_TASKS, dtype)


clear_loop = parallel_loop(clear_part)


@njit(error_model="numpy")
def clear_large(frame, dtype):
    """Result 0 at zero, by several threads where it is large."""
    buf = buffer(frame, RESULTS, 0)
    if size_of(buf) < CLEAR_PARALLEL:
        clear(frame, dtype)
        return
    words = on_stack(2, np.int64)
    words[0], words[1] = buf[3], size_of(buf)
    clear_loop(frame, address_of(words), CLEAR_TASKS, (dtype,))


@njit(error_model="numpy")
def plan(frame, words, shape, mask, out_type, from_zero, by_rows, cost):
    """Number of tasks of the call, and what they read in `words`; clears the result where `from_zero`, unless tasks do.

    `shape`: batch axes, slots, targets. `by_rows`: rows own their results. `cost`: rough ns of one batch element.
    """
    n_batch, n_slots, n_post = shape
    total, n_rows = batch_total(frame, n_batch), last(buffer(frame, ARGUMENTS, INDPTR)) - 1
    by_element = total > 1 and owns_results(frame, n_batch, total)
    words[FRAME], words[N_BATCH], words[N_SLOTS], words[N_POST] = address_of(frame), n_batch, n_slots, n_post
    words[MASK], words[TOTAL], words[N_ROWS], words[FAILED] = mask, total, n_rows, 0
    words[BY_ELEMENT] = np.int64(by_element)
    words[ZERO] = np.int64(from_zero and by_element)  # a task clears what it owns, while it is in cache
    if from_zero and not by_element:
        clear_large(frame, out_type)
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
            zero(out, 0, n_slots * n_post, out_type)
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
            zero(g, 0, n_weights, out_type)
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
    n_edges = last(buffer(frame, ARGUMENTS, INDICES))
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
            zero(y, 0, words[N_ROWS], out_type)
        for row in range(row_start, row_end):
            if masked and active[row] == 0:
                continue
            lo, hi = np.int64(indptr[row]), np.int64(indptr[row + 1])
            total, inside = out_type(0), lo >= 0 and hi <= n_edges
            if inside:
                total, inside = gather_row(
                    lo, hi, out_type(0), x, w, w_step, indices, delays, has_delays, slot, n_slots, n_post
                )
            if not inside:
                words[FAILED] = 1
                return
            y[row] += total


gather_loop = parallel_loop(gather_part)


@njit(error_model="numpy")
def sizes(frame, n_batch):
    """(rows, edges) of one batch element."""
    return last(buffer(frame, ARGUMENTS, INDPTR)) - 1, last(buffer(frame, ARGUMENTS, INDICES))


def scatter(first, second, out, *stamp):
    """(spikes, weights, *graph) -> (n_slots, n_post)."""
    return _into_ring(first, second, out, (), stamp)


def deliver(first, second, out, *stamp):
    """(spikes, weights, *graph, ring) -> ring."""
    return _into_ring(first, second, out, ((out[0], 2),), stamp)


def _into_ring(first, second, out, ring, stamp):
    """Handler of `scatter` (the result starts at zero) or, with an argument more, `deliver` (it starts as the ring)."""
    (s_code, s_type, bits_type, mask), (w_code, w_type, *_), (code, kind, *_) = first, second, out
    arguments, results = ((s_code, 1), (w_code, 1), *GRAPH, *ring), ((code, 2),)
    into_ring, (major, minor, tag) = len(ring) > 0, stamp

    def handler(frame):
        if answered_metadata_query(frame, major, minor) or tag == 0:
            return 0
        out = buffer(frame, RESULTS, 0)
        n_batch = out[4] - 2
        error = refused(frame, n_batch, arguments, results)
        if error != 0:
            return error
        if into_ring:
            start_from(frame, RING, kind)
        shape = n_batch, dim(out, n_batch), dim(out, n_batch + 1)
        n_rows, n_edges = sizes(frame, n_batch)
        cost = (n_rows + n_edges // 10) // 16  # few rows spike
        words = on_stack(N_WORDS, np.int64)
        tasks = plan(frame, words, shape, mask, kind, not into_ring, False, cost)
        scatter_loop(frame, address_of(words), tasks, (s_type, bits_type, w_type, kind))
        return outside(frame) if words[FAILED] != 0 else 0

    return handler


def gather(first, second, out, *stamp):
    """(x, weights, *graph) -> (n_rows,)."""
    (w_code, w_type, *_), (code, kind, *_), (major, minor, tag) = second, out, stamp
    arguments, results = ((code, 2), (w_code, 1), *GRAPH), ((code, 1),)

    def handler(frame):
        if answered_metadata_query(frame, major, minor) or tag == 0:
            return 0
        x = buffer(frame, ARGUMENTS, 0)
        n_batch = x[4] - 2
        error = refused(frame, n_batch, arguments, results)
        if error != 0:
            return error
        shape = n_batch, dim(x, n_batch), dim(x, n_batch + 1)
        n_rows, n_edges = sizes(frame, n_batch)
        words = on_stack(N_WORDS, np.int64)
        tasks = plan(frame, words, shape, 0, kind, True, True, n_rows + n_edges * 3 // 4)
        gather_loop(frame, address_of(words), tasks, (w_type, kind))
        return outside(frame) if words[FAILED] != 0 else 0

    return handler


def outer(first, second, out, *stamp):
    """(spikes, x, *graph) -> one value per edge, or their sum where the weight is a scalar."""
    (s_code, s_type, bits_type, mask), (code, kind, *_), (major, minor, tag) = first, out, stamp
    arguments, results = ((s_code, 1), (code, 2), *GRAPH), ((code, 1),)

    def handler(frame):
        if answered_metadata_query(frame, major, minor) or tag == 0:
            return 0
        x = buffer(frame, ARGUMENTS, 1)
        n_batch = x[4] - 2
        error = refused(frame, n_batch, arguments, results)
        if error != 0:
            return error
        shape = n_batch, dim(x, n_batch), dim(x, n_batch + 1)
        n_rows, n_edges = sizes(frame, n_batch)
        per_edge = last(buffer(frame, RESULTS, 0)) == n_edges
        words = on_stack(N_WORDS, np.int64)
        tasks = plan(frame, words, shape, mask, kind, True, per_edge, (n_rows * 4 + n_edges) // 16)
        outer_loop(frame, address_of(words), tasks, (s_type, bits_type, kind))
        return outside(frame) if words[FAILED] != 0 else 0

    return handler
