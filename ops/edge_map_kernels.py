"""Native CPU walk of `map_edges`: numba code that is compiled once and serves every function of edges.

Imports numba, so import it only through `native.py`. The function itself is a kernel over whole blocks of edges that
`edge_map_emit.py` emits; its handler calls `map_edges` below with three words: the call frame, the address of that
kernel and of the layout of its operands. The walk takes listed rows in chunks: it gathers what lies at the far cells
and, where edges are numbered by `order`, at the edges into a room in the cache, runs the kernel, and scatters what
changed. An index outside stops it and becomes an error of the call.
"""

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

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
    prefetch,
    threads_of,
)
from .edge_map_layout import (
    ACROSS,
    CHUNK,
    EDGE,
    HEAD,
    HISTORY,
    INTO,
    LEAF_WORDS,
    LENGTH,
    MAX_CHUNK,
    MAX_LEAVES,
    NEAR,
    OPERANDS,
    READ,
    RESULT,
    ROOM,
    SIZE,
    WIDTH,
)
from .kernel_frame import size_of
from .list_kernels import lower_bound

SPLIT = 8192  # edges from which waking a second thread pays: some 10 us
TASKS = 8  # per thread, so that rows of unlike length are shared out evenly
AHEAD = 4  # listed rows: about the latency of memory
# Words of one call, that its tasks read; FAILED is written. The data addresses of the leaves follow at BASES.
FRAME, KERNEL, LAYOUT, FAILED, N_TASKS, VISITS, FIRST, NUMBER, N_DELAYS, PACKED, IDS, CAPACITY, COUNTS, DEPTH, STEP = range(
    15
)
INDPTR, FAR, ORDER, HAS_ORDER, N_ENTRIES, N_EDGES, N_FAR, FAR_DEPTH, BASES = range(15, 24)
# Words of one task: addresses of the tables of the kernel, of the flat places of a chunk, and of the room of leaves.
INS, OUTS, CELLS, PLACES, ROOMS = range(5)


@intrinsic
def run_kernel(typingctx, kernel, ins, outs, blocks, count):
    """Call the kernel at an address on the first `blocks` blocks of the room."""

    def codegen(context, builder, signature, args):
        i64 = ir.IntType(64)
        words = i64.as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [words, words, i64, i64, i64]).as_pointer()
        tables = [builder.inttoptr(a, words) for a in args[1:3]]
        builder.call(builder.inttoptr(args[0], kind), [*tables, i64(0), args[3], args[4]])
        return context.get_dummy_value()

    return types.void(*(types.int64,) * 5), codegen


@intrinsic
def copy_bytes(typingctx, target, source, size):
    """memcpy between two addresses."""

    def codegen(context, builder, signature, args):
        i64, byte_p, bit = ir.IntType(64), ir.IntType(8).as_pointer(), ir.IntType(1)
        copy = builder.module.declare_intrinsic("llvm.memcpy", [byte_p, byte_p, i64])
        builder.call(copy, [*(builder.inttoptr(a, byte_p) for a in args[:2]), args[2], bit(0)])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen


# --- one chunk of edges


@njit(error_model="numpy")
def gather(size, target, source, places, count):
    """target[k] = source[places[k]], whatever an item of `size` bytes means."""
    if size == 4:
        target4, source4 = at(target, 0, np.uint32), at(source, 0, np.uint32)
        for k in range(count):
            target4[k] = source4[places[k]]
    elif size == 8:
        target8, source8 = at(target, 0, np.uint64), at(source, 0, np.uint64)
        for k in range(count):
            target8[k] = source8[places[k]]
    elif size == 1:
        target1, source1 = at(target, 0, np.uint8), at(source, 0, np.uint8)
        for k in range(count):
            target1[k] = source1[places[k]]
    else:
        target2, source2 = at(target, 0, np.uint16), at(source, 0, np.uint16)
        for k in range(count):
            target2[k] = source2[places[k]]


@njit(error_model="numpy")
def scatter(size, target, source, places, count):
    """target[places[k]] = source[k]."""
    if size == 4:
        target4, source4 = at(target, 0, np.uint32), at(source, 0, np.uint32)
        for k in range(count):
            target4[places[k]] = source4[k]
    elif size == 8:
        target8, source8 = at(target, 0, np.uint64), at(source, 0, np.uint64)
        for k in range(count):
            target8[places[k]] = source8[k]
    elif size == 1:
        target1, source1 = at(target, 0, np.uint8), at(source, 0, np.uint8)
        for k in range(count):
            target1[places[k]] = source1[k]
    else:
        target2, source2 = at(target, 0, np.uint16), at(source, 0, np.uint16)
        for k in range(count):
            target2[places[k]] = source2[k]


@njit(error_model="numpy")
def add(size, target, source, places, count):
    """target[places[k]] += source[k] in floats, in order."""
    if size == 4:
        target4, source4 = at(target, 0, np.float32), at(source, 0, np.float32)
        for k in range(count):
            target4[places[k]] += source4[k]
    else:
        target8, source8 = at(target, 0, np.float64), at(source, 0, np.float64)
        for k in range(count):
            target8[places[k]] += source8[k]


@njit(error_model="numpy")
def all_inside(places, count, n):
    """True where all places are in [0, n)."""
    odd = np.uint32(0)
    for k in range(count):
        odd |= np.uint32(np.int64(np.uint32(places[k])) >= n)
    return odd == 0


@njit(error_model="numpy")
def unpack(far, count, n_far, depth, slot, cells, places):
    """Cells and flat places in (depth, n_far) of packed edges, delay * n_far + cell; False where one is outside.

    The quotient comes from a product of float64, which is off by one at most: the loop vectorises, a division does not.
    """
    odd, scale, n = np.uint32(n_far == 0), 1.0 / max(n_far, 1), np.int32(n_far)
    for k in range(count):
        delay = np.int32(np.float64(far[k]) * scale)
        cell = np.int32(far[k] - delay * n)
        shift = np.int32(np.int32(cell >= n) - np.int32(cell < 0))
        delay, cell = np.int32(delay + shift), np.int32(cell - shift * n)
        odd |= np.uint32(far[k] < 0) | np.uint32(np.int64(delay) >= depth)
        row = np.int64(slot) - np.int64(delay)
        row += depth * np.int64(row < 0)
        cells[k], places[k] = cell, np.int32(row * n_far + np.int64(cell))
    return odd == 0


@njit(error_model="numpy")
def locate(call, task, first, count):
    """(cells, places in histories) of a chunk at the far end, and whether all are inside."""
    far = at(call[FAR], first, np.int32)
    if call[N_FAR] < 0:  # nothing at the far end is read or written
        return far, far, True
    if not call[PACKED]:
        return far, far, all_inside(far, count, call[N_FAR])
    cells, places = at(task[CELLS], 0, np.int32), at(task[PLACES], 0, np.int32)
    slot = call[STEP] % call[FAR_DEPTH]
    return cells, places, unpack(far, count, call[N_FAR], call[FAR_DEPTH], slot, cells, places)


@njit(error_model="numpy", inline="always")
def leaf(layout, j):
    """Words of leaf j."""
    return at(address_of(layout), HEAD + j * LEAF_WORDS, np.int64)


@njit(error_model="numpy")
def run_chunk(call, layout, task, first, count):
    """The function on `count` edges from place `first` of the walk; False where one points outside."""
    cells, places, inside = locate(call, task, first, count)
    order = at(call[ORDER], first, np.int32)
    if not inside or (call[HAS_ORDER] and not all_inside(order, count, call[N_EDGES])):
        return False
    ins, outs, rooms = at(task[INS], 0, np.int64), at(task[OUTS], 0, np.int64), at(task[ROOMS], 0, np.int64)
    width = layout[WIDTH]
    direct = not call[HAS_ORDER] and count % width == 0
    for j in range(layout[ACROSS], layout[EDGE]):
        words = leaf(layout, j)
        gather(words[SIZE], rooms[j], call[BASES + j], places if words[HISTORY] else cells, count)
    for j in range(layout[EDGE], layout[INTO]):
        words = leaf(layout, j)
        size, result = words[SIZE], words[RESULT]
        mine = call[BASES + j] + first * size
        ins[j] = mine if direct else rooms[j]
        if result >= 0:
            outs[result] = ins[j]
        if words[READ] and not direct:
            if call[HAS_ORDER]:
                gather(size, rooms[j], call[BASES + j], order, count)
            else:
                copy_bytes(rooms[j], mine, count * size)
    run_kernel(call[KERNEL], task[INS], task[OUTS], (count + width - 1) // width, count)
    for j in range(layout[EDGE], layout[INTO]):
        words = leaf(layout, j)
        size = words[SIZE]
        if words[RESULT] >= 0 and not direct:
            if call[HAS_ORDER]:
                scatter(size, call[BASES + j], rooms[j], order, count)
            else:
                copy_bytes(call[BASES + j] + first * size, rooms[j], count * size)
    for j in range(layout[INTO], layout[LENGTH]):
        add(leaf(layout, j)[SIZE], call[BASES + j], rooms[j], cells, count)
    return True


# --- the walk


@njit(error_model="numpy")
def listed(call, b):
    """(ids, first, end): where the cells stand whose pieces b are visited."""
    row = (call[STEP] - b) % call[DEPTH]
    ids, count = at(call[IDS], row * call[CAPACITY], np.int32), np.int64(at(call[COUNTS], row, np.int32)[0])
    return ids, lower_bound(ids, count, call[FIRST]), lower_bound(ids, count, call[FIRST] + call[NUMBER])


@njit(error_model="numpy")
def fetch(call, layout, ids, k, b):
    """Ask for the first edges of a row to come: the processor foresees lines within a row, not where the next starts."""
    cell = np.int64(ids[k]) - call[FIRST]
    if cell < 0 or cell >= call[NUMBER]:
        return
    first = np.int64(at(call[INDPTR], cell * call[N_DELAYS] + b, np.int32)[0])
    for line in range(4):
        prefetch(at(call[FAR], 0, np.int32), first + 16 * line)
    if call[HAS_ORDER]:
        for line in range(4):
            prefetch(at(call[ORDER], 0, np.int32), first + 16 * line)
        return
    for j in range(layout[EDGE], layout[INTO]):
        start = at(call[BASES + j] + first * leaf(layout, j)[SIZE], 0, np.uint8)
        for line in range(4):
            prefetch(start, 64 * line)


@njit(error_model="numpy")
def walk_row(call, layout, task, cell, b):
    """All edges of piece b of a near cell; False where one points outside."""
    if cell < 0 or cell >= call[NUMBER]:
        return False
    indptr, ins = at(call[INDPTR], cell * call[N_DELAYS] + b, np.int32), at(task[INS], 0, np.int64)
    first, end = np.int64(indptr[0]), np.int64(indptr[1])
    if first < 0 or end > call[N_ENTRIES]:
        return False
    for j in range(layout[NEAR], layout[ACROSS]):
        words = leaf(layout, j)
        place = cell
        if words[HISTORY]:
            place += (call[STEP] - b) % call[DEPTH] * call[NUMBER]
        ins[j] = call[BASES + j] + place * words[SIZE]
    for start in range(first, end, layout[CHUNK]):
        if not run_chunk(call, layout, task, start, min(layout[CHUNK], end - start)):
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
    call, task = at(context, 0, np.int64), on_stack(8, np.int64)
    layout = at(call[LAYOUT], 0, np.int64)
    task[INS], task[OUTS] = address_of(on_stack(MAX_LEAVES, np.int64)), address_of(on_stack(MAX_LEAVES, np.int64))
    task[CELLS], task[PLACES] = address_of(on_stack(MAX_CHUNK, np.int32)), address_of(on_stack(MAX_CHUNK, np.int32))
    task[ROOMS] = address_of(on_stack(MAX_LEAVES, np.int64))
    begin_task(call, layout, task, on_stack(ROOM // 8 + 8, np.int64))
    begin, end = call[VISITS] * i // call[N_TASKS], call[VISITS] * (i + 1) // call[N_TASKS]
    for b in range(call[N_DELAYS]):
        ids, start, stop = listed(call, b)
        number = stop - start
        stop = min(stop, start + end)
        for k in range(start + max(begin, 0), stop):
            if k + AHEAD < stop:
                fetch(call, layout, ids, k + AHEAD, b)
            if not walk_row(call, layout, task, np.int64(ids[k]) - call[FIRST], b):
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
    call[ORDER], call[HAS_ORDER] = order[3], np.int64(last(order) > 0)
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
        call = on_stack(BASES + MAX_LEAVES, np.int64)
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
