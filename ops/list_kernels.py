"""Native CPU forms of the operators on lists of spikes: numba functions that are themselves XLA FFI handlers.

Imports numba, so import it only through `native.py`; factories and caching as in `kernels.py`. A scan for spikes runs
on the calling thread, as fast as memory. Delivery is split by target blocks: a task walks the whole list for its
blocks, so every target sums in the order of parts and sources, whatever the number of blocks and threads.
"""

import llvmlite.ir as ir
import numpy as np
from numba import njit, types
from numba.extending import intrinsic

from .call_frame import (
    ARGUMENTS,
    RESULTS,
    address_of,
    answered_metadata_query,
    at,
    buffer,
    dim,
    is_wrong,
    last,
    new_error,
    on_stack,
    parallel_loop,
    prefetch,
    threads_of,
)
from .kernel_frame import INT32, PRED, any_set, size_of, start_from, wrong_buffer
from .kernel_rows import CHUNK, scatter_row
from .kernels import PARALLEL

COARSE, BLOCK = 1024, 64  # spikes tested at once, and where one is found
WIDE = 64  # bytes tested at once
PIECE = 512  # edges of a row that a task walks at least, where targets are far apart
AHEAD = 4  # rows: about the latency of memory
REUSE = 4  # events per ring value, as a divisor: 16 float32 share a line, so a line is met 4 times
# Arguments of `deliver_list`.
IDS, COUNTS, ROW, WEIGHTS, PARTS, INDPTR, INDICES, DELAYS, STEP, RING = range(10)
# Words that the tasks of one delivery read; FAILED is written.
FRAME, N_BLOCKS, N_TASKS, THREADS, FAILED, N_WORDS = range(6)


@njit(error_model="numpy")
def list_spikes(bits, n, mask, ids, capacity):
    """Write the numbers of the first `capacity` spikes in ascending order; how many there are in all."""
    found = 0
    for start in range(0, n, COARSE):
        end = min(start + COARSE, n)
        if not any_set(bits, start, end - start, mask):
            continue
        for first in range(start, end, BLOCK):
            count = min(BLOCK, end - first)
            if not any_set(bits, first, count, mask):
                continue
            for i in range(first, first + count):
                if bits[i] & mask != 0:
                    if found < capacity:
                        ids[found] = np.int32(i)
                    found += 1
    return found


@intrinsic
def byte_mask(typingctx, cells, first):
    """Bit k is set where cells[first + k] is not zero, k < 64: one or two instructions on wide registers."""

    def codegen(context, builder, signature, args):
        lanes, word = ir.VectorType(ir.IntType(8), WIDE), ir.IntType(WIDE)
        place = builder.bitcast(builder.gep(args[0], [args[1]]), lanes.as_pointer())
        return builder.bitcast(
            builder.icmp_unsigned("!=", builder.load(place, align=1), ir.Constant(lanes, None)), word
        )

    return types.uint64(cells, types.int64), codegen


@intrinsic
def lowest_bit(typingctx, word):
    """Number of the lowest bit that is set; there is one."""

    def codegen(context, builder, signature, args):
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), codegen


@njit(error_model="numpy")
def list_bools(address, n, ids, capacity):
    """The same for one byte per cell."""
    found, cells = 0, at(address, 0, np.uint8)
    for first in range(0, n - WIDE + 1, WIDE):
        word = byte_mask(cells, first)
        while word != 0:
            if found < capacity:
                ids[found] = np.int32(first + lowest_bit(word))
            found += 1
            word &= word - np.uint64(1)
    for i in range(n // WIDE * WIDE, n):
        if cells[i] != 0:
            if found < capacity:
                ids[found] = np.int32(i)
            found += 1
    return found


@njit(error_model="numpy")
def list_any(address, n, code, bits_type, mask, ids, capacity):
    if code == PRED:
        return list_bools(address, n, ids, capacity)
    return list_spikes(at(address, 0, bits_type), n, mask, ids, capacity)


def compact(first, major, minor, tag):
    """Handler of `compact`: spikes -> ids, count, overflow, total."""
    code, _, bits_type, mask = first

    def handler(frame):
        if answered_metadata_query(frame, major, minor) or tag == 0:
            return 0
        if frame[ARGUMENTS - 2] != 1 or frame[RESULTS - 2] != 4 or is_wrong(frame, ARGUMENTS, 0, code, 1):
            return wrong_buffer(frame)
        for i, kind, rank in ((0, INT32, 1), (1, INT32, 0), (2, PRED, 0), (3, INT32, 0)):
            if is_wrong(frame, RESULTS, i, kind, rank):
                return wrong_buffer(frame)
        spikes, out = buffer(frame, ARGUMENTS, 0), buffer(frame, RESULTS, 0)
        ids, capacity = at(out[3], 0, np.int32), last(out)
        total = list_any(spikes[3], last(spikes), code, bits_type, mask, ids, capacity)
        for i in range(total, capacity):
            ids[i] = np.int32(-1)
        at(buffer(frame, RESULTS, 1)[3], 0, np.int32)[0] = np.int32(min(total, capacity))
        at(buffer(frame, RESULTS, 2)[3], 0, np.uint8)[0] = np.uint8(total > capacity)
        at(buffer(frame, RESULTS, 3)[3], 0, np.int32)[0] = np.int32(total)
        return 0

    return handler


@njit(error_model="numpy")
def keep(frame, side_number):
    """Result holds what its argument holds: a copy where XLA did not give both the same memory."""
    source, target = buffer(frame, ARGUMENTS, side_number), buffer(frame, RESULTS, side_number)
    if source[3] != target[3]:
        old, new = at(source[3], 0, np.int32), at(target[3], 0, np.int32)
        for i in range(size_of(target)):
            new[i] = old[i]


def push_list(first, major, minor, tag):
    """Handler of `push_list`: history of ids, counts, spikes, step -> history, counts."""
    code, _, bits_type, mask = first

    def handler(frame):
        if answered_metadata_query(frame, major, minor) or tag == 0:
            return 0
        if frame[ARGUMENTS - 2] != 4 or frame[RESULTS - 2] != 2 or is_wrong(frame, ARGUMENTS, 2, code, 1):
            return wrong_buffer(frame)
        if is_wrong(frame, ARGUMENTS, 3, INT32, 0):
            return wrong_buffer(frame)
        for i in range(2):
            if is_wrong(frame, ARGUMENTS, i, INT32, 2 - i) or is_wrong(frame, RESULTS, i, INT32, 2 - i):
                return wrong_buffer(frame)
            keep(frame, i)
        history, spikes = buffer(frame, RESULTS, 0), buffer(frame, ARGUMENTS, 2)
        capacity = last(history)
        row = np.int64(at(buffer(frame, ARGUMENTS, 3)[3], 0, np.int32)[0]) % dim(history, 0)
        ids = at(history[3], row * capacity, np.int32)
        total = list_any(spikes[3], last(spikes), code, bits_type, mask, ids, capacity)
        at(buffer(frame, RESULTS, 1)[3], 0, np.int32)[row] = np.int32(total)
        return 0

    return handler


def append_list(first, major, minor, tag):
    """Handler of `append_list`: ids, fill, spikes -> ids, fill."""
    code, _, bits_type, mask = first

    def handler(frame):
        if answered_metadata_query(frame, major, minor) or tag == 0:
            return 0
        if frame[ARGUMENTS - 2] != 3 or frame[RESULTS - 2] != 2 or is_wrong(frame, ARGUMENTS, 2, code, 1):
            return wrong_buffer(frame)
        for i in range(2):
            if is_wrong(frame, ARGUMENTS, i, INT32, 1 - i) or is_wrong(frame, RESULTS, i, INT32, 1 - i):
                return wrong_buffer(frame)
        keep(frame, 0)
        listed, spikes = buffer(frame, RESULTS, 0), buffer(frame, ARGUMENTS, 2)
        fill, capacity = np.int64(at(buffer(frame, ARGUMENTS, 1)[3], 0, np.int32)[0]), last(listed)
        ids = at(listed[3], min(max(fill, 0), capacity), np.int32)
        total = list_any(spikes[3], last(spikes), code, bits_type, mask, ids, capacity - min(fill, capacity))
        at(buffer(frame, RESULTS, 1)[3], 0, np.int32)[0] = np.int32(fill + total)
        return 0

    return handler


@njit(error_model="numpy")
def lower_bound(ids, count, value):
    """How many of the ascending ids are below `value`."""
    start, end = 0, count
    while start < end:
        middle = (start + end) // 2
        if ids[middle] < value:
            start = middle + 1
        else:
            end = middle
    return start


@njit(error_model="numpy")
def the_list(frame):
    """(ids, count, capacity) of the row of the history that is delivered."""
    history = buffer(frame, ARGUMENTS, IDS)
    capacity = last(history)
    row = np.int64(at(buffer(frame, ARGUMENTS, ROW)[3], 0, np.int32)[0]) % dim(history, 0)
    count = np.int64(at(buffer(frame, ARGUMENTS, COUNTS)[3], 0, np.int32)[row])
    return at(history[3], row * capacity, np.int32), count, capacity


@njit(error_model="numpy")
def spread(i, n_tasks, threads):
    """Which part of the blocks is walked i-th: those that run at the same time lie far apart.

    Neighbours share the cache lines at their border, and two cores that write one line wait for each other: that made
    two threads slower than one.
    """
    group, whole, rest = i % threads, n_tasks // threads, n_tasks % threads
    return group * whole + min(group, rest) + i // threads


@njit(error_model="numpy")
def deliver_part(context, i, kinds):
    """Task of `deliver_list`: all spikes of the list, into the targets of its blocks."""
    w_type, out_type = kinds
    words = at(context, 0, np.int64)
    frame, n_blocks, n_tasks = at(words[FRAME], 0, np.int64), words[N_BLOCKS], words[N_TASKS]
    places = on_stack(CHUNK, np.int32)
    ids, count, _ = the_list(frame)
    parts_buffer, ring = buffer(frame, ARGUMENTS, PARTS), buffer(frame, RESULTS, 0)
    parts = at(parts_buffer[3], 0, np.int32)
    indptr = at(buffer(frame, ARGUMENTS, INDPTR)[3], 0, np.int32)
    indices = at(buffer(frame, ARGUMENTS, INDICES)[3], 0, np.int32)
    delays = at(buffer(frame, ARGUMENTS, DELAYS)[3], 0, np.int32)
    w, out = at(buffer(frame, ARGUMENTS, WEIGHTS)[3], 0, w_type), at(ring[3], 0, out_type)
    n_edges, has_delays = last(buffer(frame, ARGUMENTS, INDICES)), last(buffer(frame, ARGUMENTS, DELAYS)) > 0
    w_step = 1 if last(buffer(frame, ARGUMENTS, WEIGHTS)) == n_edges else 0
    n_rows = (last(buffer(frame, ARGUMENTS, INDPTR)) - 1) // n_blocks
    n_slots, n_post = dim(ring, 0), dim(ring, 1)
    slot = np.int64(at(buffer(frame, ARGUMENTS, STEP)[3], 0, np.int32)[0]) % n_slots
    place = spread(i, n_tasks, words[THREADS])
    start, end = n_blocks * place // n_tasks, n_blocks * (place + 1) // n_tasks
    for part in range(dim(parts_buffer, 0)):
        first, number = np.int64(parts[3 * part]), np.int64(parts[3 * part + 1])
        shift = np.int64(parts[3 * part + 2]) - first
        k_end = lower_bound(ids, count, first + number)
        for k in range(lower_bound(ids, count, first), k_end):
            row = np.int64(ids[k]) + shift
            if row < 0 or row >= n_rows:
                words[FAILED] = 1
                return
            if k + AHEAD < k_end:
                fetch(ids, k + AHEAD, shift, n_rows, n_blocks, start, n_edges, indptr, indices, w, w_step)
            lo, hi = np.int64(indptr[row * n_blocks + start]), np.int64(indptr[row * n_blocks + end])
            if (
                lo < 0
                or hi > n_edges
                or not scatter_row(
                    lo, hi, out_type(1), w, w_step, indices, delays, has_delays, slot, n_slots, n_post, out, places
                )
            ):
                words[FAILED] = 1
                return


@njit(error_model="numpy")
def fetch(ids, k, shift, n_rows, n_blocks, start, n_edges, indptr, indices, w, w_step):
    """Ask for the first edges of a row to come: the processor foresees lines within a row, not where a row starts."""
    row = np.int64(ids[k]) + shift
    if row < 0 or row >= n_rows:
        return
    edge = np.int64(indptr[row * n_blocks + start])
    for line in range(6):
        prefetch(indices, edge + 16 * line)
        prefetch(w, (edge + 16 * line) * w_step)


deliver_loop = parallel_loop(deliver_part)


@njit(error_model="numpy")
def tasks_for(frame, n_blocks):
    """How many tasks share the blocks.

    Where a target line is met several times, a task per block keeps its part of the ring in the cache of a core, on one
    thread too. Else the cost is memory latency, and long pieces of rows read better: few tasks.
    """
    ids, count, _ = the_list(frame)
    parts_buffer, ring = buffer(frame, ARGUMENTS, PARTS), buffer(frame, RESULTS, 0)
    parts, visits = at(parts_buffer[3], 0, np.int32), 0
    for part in range(dim(parts_buffer, 0)):
        first, number = np.int64(parts[3 * part]), np.int64(parts[3 * part + 1])
        visits += lower_bound(ids, count, first + number) - lower_bound(ids, count, first)
    n_rows = (last(buffer(frame, ARGUMENTS, INDPTR)) - 1) // n_blocks
    fan = last(buffer(frame, ARGUMENTS, INDICES)) // max(n_rows, 1)
    if visits * fan >= dim(ring, 0) * dim(ring, 1) // REUSE:
        return n_blocks
    threads = threads_of(frame) if visits * fan >= PARALLEL else 1
    return min(n_blocks, max(2 * threads, fan // PIECE)) if threads > 1 else 1


@njit(error_model="numpy")
def refused_list(frame, w_code, out_code):
    """Address of an error where the frame or the list is not what the handler was made for, else 0."""
    if frame[ARGUMENTS - 2] != 10 or frame[RESULTS - 2] != 1 or frame[17] != 1:
        return wrong_buffer(frame)
    wrong = is_wrong(frame, ARGUMENTS, WEIGHTS, w_code, 1) or is_wrong(frame, ARGUMENTS, RING, out_code, 2)
    for i, rank in ((IDS, 2), (COUNTS, 1), (ROW, 0), (PARTS, 2), (INDPTR, 1), (INDICES, 1), (DELAYS, 1), (STEP, 0)):
        wrong = wrong or is_wrong(frame, ARGUMENTS, i, INT32, rank)
    if wrong or is_wrong(frame, RESULTS, 0, out_code, 2):
        return wrong_buffer(frame)
    ids, count, capacity = the_list(frame)
    if count < 0 or count > capacity:
        return new_error(
            frame[2],
            "brainsim.ops: the list of spikes has overflowed: its count is larger than its capacity, so spikes are "
            "missing; give it a larger capacity",
        )
    falls = False
    for k in range(1, count):
        falls |= ids[k] <= ids[k - 1]
    if falls:
        return new_error(frame[2], "brainsim.ops: the ids of a list of spikes must ascend, each named once")
    return 0


def deliver_list(first, out, major, minor, tag):
    """Handler of `deliver_list`; its attribute is the number of blocks."""
    (w_code, w_type, *_), (out_code, out_type, *_) = first, out

    def handler(frame):
        if answered_metadata_query(frame, major, minor) or tag == 0:
            return 0
        error = refused_list(frame, w_code, out_code)
        if error != 0:
            return error
        start_from(frame, RING, out_type)
        n_blocks = at(at(at(frame[20], 0, np.int64)[0], 0, np.int64)[1], 0, np.int64)[0]
        words = on_stack(N_WORDS, np.int64)
        tasks = tasks_for(frame, n_blocks) if n_blocks > 1 else 1
        words[FRAME], words[N_BLOCKS], words[N_TASKS], words[FAILED] = address_of(frame), n_blocks, tasks, 0
        words[THREADS] = min(threads_of(frame), tasks) if tasks > 1 else 1
        deliver_loop(frame, address_of(words), tasks, (w_type, out_type))
        if words[FAILED] != 0:
            return new_error(
                frame[2],
                "brainsim.ops: an edge points outside: parts must name rows of indptr, indptr must lie in "
                "[0, n_edges], indices in [0, n_targets)",
            )
        return 0

    return handler
