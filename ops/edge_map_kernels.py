"""Native CPU walk of `map_edges`: numba code that is compiled once and serves every function of edges.

Imports numba, so import it only through `edge_map_emit.py`. The function itself is a kernel over whole blocks of edges
that is emitted; its handler calls `map_edges` below with three words: the call frame, the address of that kernel and of
the layout of its operands. The walk takes listed rows in chunks (`edge_map_chunk.py`); an index outside stops it and
becomes an error of the call.
"""

import numpy as np
from numba import njit

from .call_frame import (
    ARGUMENTS,
    RESULTS,
    address_of,
    at,
    buffer,
    dim,
    last,
    new_error,
    on_stack,
    parallel_loop,
    threads_of,
)
from .edge_map_chunk import (
    BASES,
    CAPACITY,
    CELLS,
    COUNTS,
    DEPTH,
    FAILED,
    FAR,
    FAR_DEPTH,
    FIRST,
    FRAME,
    HAS_ORDER,
    IDS,
    INDPTR,
    INS,
    KERNEL,
    LAYOUT,
    N_DELAYS,
    N_EDGES,
    N_ENTRIES,
    N_FAR,
    N_TASKS,
    NUMBER,
    ORDER,
    OUTS,
    PACKED,
    PLACES,
    ROOMS,
    STEP,
    VISITS,
    copy_bytes,
    fetch_lines,
    leaf,
    run_chunk,
)
from .edge_map_layout import (
    ACROSS,
    CHUNK,
    EDGE,
    HISTORY,
    INTO,
    LENGTH,
    MAX_CHUNK,
    MAX_LEAVES,
    NEAR,
    OPERANDS,
    RESULT,
    ROOM,
    SIZE,
)
from .list_kernels import lower_bound

SPLIT = 8192  # edges from which waking a second thread pays: some 10 us
TASKS = 8  # per thread, so that rows of unlike length are shared out evenly
AHEAD, FEW = 4, 64  # listed rows: about the latency of memory; edges that are asked for then
CALL_WORDS, TASK_WORDS, ROOM_WORDS = BASES + MAX_LEAVES, 5, ROOM // 8 + 8


# --- the walk


@njit(error_model="numpy")
def listed(call, b):
    """(ids, first, end): where the cells stand whose pieces b are visited."""
    row = (call[STEP] - b) % call[DEPTH]
    ids, count = at(call[IDS], row * call[CAPACITY], np.int32), np.int64(at(call[COUNTS], row, np.int32)[0])
    start, end = call[FIRST], call[FIRST] + call[NUMBER]
    return ids, lower_bound(ids, count, start), lower_bound(ids, count, end)


@njit(error_model="numpy")
def piece(call, ids, k, b):
    """(near cell of listed id k, its first edge, end of its edges); end -1 where one of them is outside."""
    cell = np.int64(ids[k]) - call[FIRST]
    if cell < 0 or cell >= call[NUMBER]:
        return cell, 0, -1
    indptr = at(call[INDPTR], cell * call[N_DELAYS] + b, np.int32)
    first, end = np.int64(indptr[0]), np.int64(indptr[1])
    return cell, first, -1 if first < 0 or end > call[N_ENTRIES] else end


@njit(error_model="numpy")
def fetch(call, layout, ids, k, b):
    """Ask for the first lines of a row to come: short rows follow each other faster than memory answers."""
    _, first, _ = piece(call, ids, k, b)
    fetch_lines(call[FAR] + 4 * first, 4 * FEW)
    if call[HAS_ORDER]:
        fetch_lines(call[ORDER] + 4 * first, 4 * FEW)
        return
    for j in range(layout[EDGE], layout[INTO]):
        size = leaf(layout, j)[SIZE]
        fetch_lines(call[BASES + j] + first * size, FEW * size)


@njit(error_model="numpy")
def walk_row(call, layout, task, ids, k, stop, b):
    """All edges of the piece of listed id k, of those below `stop`; False where one points outside."""
    cell, first, end = piece(call, ids, k, b)
    if end < 0:
        return False
    if k + AHEAD < stop:
        fetch(call, layout, ids, k + AHEAD, b)
    ins, most = at(task[INS], 0, np.int64), layout[CHUNK]
    for j in range(layout[NEAR], layout[ACROSS]):
        words = leaf(layout, j)
        row = (call[STEP] - b) % call[DEPTH] if words[HISTORY] else 0
        ins[j] = call[BASES + j] + (row * call[NUMBER] + cell) * words[SIZE]
    for start in range(first, end, most):
        then, then_end = start + most, end
        if then >= end and k + 1 < stop:
            _, then, then_end = piece(call, ids, k + 1, b)
        count, ahead = min(most, end - start), min(most, then_end - then)
        if not run_chunk(call, layout, task, start, count, then, ahead):
            return False
    return True


@njit(error_model="numpy")
def begin_task(call, layout, task, room):
    """Fill the tables of the kernel as far as they are the same for all rows, and share out the room."""
    ins, outs, rooms = at(task[INS], 0, np.int64), at(task[OUTS], 0, np.int64), at(task[ROOMS], 0, np.int64)
    place = (address_of(room) + 63) // 64 * 64
    for j in range(layout[NEAR]):
        ins[j] = call[BASES + j]
    for j in range(layout[ACROSS], layout[LENGTH]):
        words = leaf(layout, j)
        rooms[j] = place
        if j < layout[INTO]:
            ins[j] = place
        if words[RESULT] >= 0:
            outs[words[RESULT]] = place
        place += layout[CHUNK] * words[SIZE]


@njit(error_model="numpy")
def visit(context, i, kinds):
    """Task of a call: its share of the listed rows."""
    call, task = at(context, 0, np.int64), on_stack(TASK_WORDS, np.int64)
    layout = at(call[LAYOUT], 0, np.int64)
    task[INS], task[OUTS] = address_of(on_stack(MAX_LEAVES, np.int64)), address_of(on_stack(MAX_LEAVES, np.int64))
    task[CELLS], task[PLACES] = address_of(on_stack(MAX_CHUNK, np.int32)), address_of(on_stack(MAX_CHUNK, np.int32))
    task[ROOMS] = address_of(on_stack(MAX_LEAVES, np.int64))
    begin_task(call, layout, task, on_stack(ROOM_WORDS, np.int64))
    begin, end = call[VISITS] * i // call[N_TASKS], call[VISITS] * (i + 1) // call[N_TASKS]
    for b in range(call[N_DELAYS]):
        ids, start, stop = listed(call, b)
        number = stop - start
        stop = min(stop, start + end)
        for k in range(start + max(begin, 0), stop):
            if not walk_row(call, layout, task, ids, k, stop, b):
                call[FAILED] = 1
                return
        begin, end = begin - number, end - number


visit_loop = parallel_loop(visit)


# --- the call


@njit(error_model="numpy")
def attribute(frame, i):
    """Value of the i-th attribute, an int64."""
    return at(at(at(frame[20], 0, np.int64)[i], 0, np.int64)[1], 0, np.int64)[0]


@njit(error_model="numpy")
def data(frame, i):
    return buffer(frame, ARGUMENTS, i)[3]


@njit(error_model="numpy")
def describe(frame, layout, call):
    """Fill the words of a call, as far as its spikes do not matter."""
    ids, indptr, far = buffer(frame, ARGUMENTS, 0), buffer(frame, ARGUMENTS, 3), buffer(frame, ARGUMENTS, 4)
    order = buffer(frame, ARGUMENTS, 5)
    call[FIRST], call[N_DELAYS], call[PACKED] = attribute(frame, 0), attribute(frame, 1), attribute(frame, 2)
    call[IDS], call[DEPTH], call[CAPACITY], call[COUNTS] = ids[3], dim(ids, 0), dim(ids, 1), data(frame, 1)
    call[STEP], call[INDPTR] = np.int64(at(data(frame, 2), 0, np.int32)[0]), indptr[3]
    call[NUMBER], call[FAR], call[N_ENTRIES] = (last(indptr) - 1) // call[N_DELAYS], far[3], last(far)
    call[ORDER], call[HAS_ORDER] = order[3], np.int64(last(order) > 0 and layout[EDGE] < layout[INTO])
    call[N_EDGES], call[N_FAR], call[FAR_DEPTH] = 0, -1, 2**31
    for j in range(layout[LENGTH]):
        words, buf = leaf(layout, j), buffer(frame, ARGUMENTS, OPERANDS + j)
        call[BASES + j] = buf[3]
        if j >= layout[EDGE] and j < layout[INTO]:
            call[N_EDGES] = last(buf)
        elif j >= layout[ACROSS]:
            call[N_FAR] = last(buf)
            if words[HISTORY]:
                call[FAR_DEPTH] = dim(buf, 0)


@njit(error_model="numpy")
def begin_results(frame, layout, call):
    """Results hold what their arguments held: a copy where XLA did not give both the same memory."""
    for j in range(layout[EDGE], layout[LENGTH]):
        words = leaf(layout, j)
        if words[RESULT] >= 0:
            out = buffer(frame, RESULTS, words[RESULT])[3]
            if out != call[BASES + j]:
                copy_bytes(out, call[BASES + j], last(buffer(frame, RESULTS, words[RESULT])) * words[SIZE])
            call[BASES + j] = out


@njit(error_model="numpy")
def count_visits(frame, call):
    """Address of an error where a list is not what `push_list` makes, else 0; counts the listed near cells."""
    call[VISITS] = 0
    for b in range(call[N_DELAYS]):
        row = (call[STEP] - b) % call[DEPTH]
        count = np.int64(at(call[COUNTS], row, np.int32)[0])
        if count < 0 or count > call[CAPACITY]:
            return new_error(
                frame[2],
                "brainsim.ops: the list of spikes has overflowed: its count is larger than its capacity, so spikes are "
                "missing; give it a larger capacity",
            )
        ids, falls = at(call[IDS], row * call[CAPACITY], np.int32), False
        for k in range(1, count):
            falls |= ids[k] <= ids[k - 1]
        if falls:
            return new_error(
                frame[2],
                "brainsim.ops: a list of spikes has ids that do not ascend, but each cell is named once; pass lists "
                "that push_list or compact wrote",
            )
        _, start, stop = listed(call, b)
        call[VISITS] += stop - start
    return 0


@njit(error_model="numpy")
def tasks_for(frame, layout, call):
    """How many tasks share the listed rows: one where sums need an order or there is too little to do."""
    if layout[INTO] < layout[LENGTH]:
        return 1
    edges = call[VISITS] * (call[N_ENTRIES] // max(call[NUMBER] * call[N_DELAYS], 1))
    return min(call[VISITS], TASKS * threads_of(frame)) if edges >= SPLIT and threads_of(frame) > 1 else 1


def map_edges(major, minor, tag):
    """The walk as a function of three words, see above."""

    def walk(given):
        frame, layout = at(given[FRAME], 0, np.int64), at(given[LAYOUT], 0, np.int64)
        call = on_stack(CALL_WORDS, np.int64)
        call[FRAME], call[KERNEL], call[LAYOUT] = given[FRAME], given[KERNEL], given[LAYOUT]
        describe(frame, layout, call)
        begin_results(frame, layout, call)
        error = count_visits(frame, call)
        if error != 0 or call[VISITS] == 0 or tag == 0:
            return error
        call[FAILED], call[N_TASKS] = 0, tasks_for(frame, layout, call)
        visit_loop(frame, address_of(call), call[N_TASKS], (np.int64, np.int64))
        if call[FAILED] != 0:
            return new_error(
                frame[2],
                "brainsim.ops: an edge of map_edges points outside, but indptr must lie in [0, len(far)], far in "
                "[0, n_far) (packed: the delay below the depth of the histories), order in [0, n_edges); pass the "
                "arrays of this graph",
            )
        return 0

    return walk
