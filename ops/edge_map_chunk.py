"""One chunk of edges of `map_edges` on the CPU: gathered, computed by the emitted kernel, scattered.

Imports numba, so import it only through `edge_map_kernels.py`. Values move by the size of their items, whatever they
mean; sums are added in order.
"""

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from .call_frame import address_of, at, prefetch
from .edge_map_layout import ACROSS, EDGE, HEAD, HISTORY, INTO, LEAF_WORDS, LENGTH, READ, RESULT, SIZE, WIDTH

# Words of one call, that its tasks read; FAILED is written. The data addresses of the leaves follow at BASES.
FRAME, KERNEL, LAYOUT, FAILED, N_TASKS, VISITS, FIRST, NUMBER, N_DELAYS, PACKED = range(10)
IDS, CAPACITY, COUNTS, DEPTH, STEP, INDPTR, FAR, ORDER, HAS_ORDER, N_ENTRIES = range(10, 20)
N_EDGES, N_FAR, FAR_DEPTH, BASES = range(20, 24)
# Words of one task: addresses of the tables of the kernel, of the places of a chunk, and of the rooms of the leaves.
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
    odd, scale, n = np.uint32(0), 1.0 / n_far, np.int32(n_far)
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
def fetch_lines(address, size):
    """Ask for the cache lines of `size` bytes in a row."""
    start = at(address, 0, np.uint8)
    for line in range(0, size, 64):
        prefetch(start, line)


@njit(error_model="numpy")
def fetch_chunk(call, layout, first, count):
    """Ask for the edges of the chunk to come: the processor foresees lines within a page, but not the next row.

    Edges in an order of their own lie anywhere; then these requests are most of the time of a call.
    """
    order = at(call[ORDER], first, np.int32)
    fetch_lines(call[FAR] + 4 * first, 4 * count)
    for j in range(layout[EDGE], layout[INTO]):
        size = leaf(layout, j)[SIZE]
        if call[HAS_ORDER]:
            values = at(call[BASES + j], 0, np.uint8)
            for k in range(count):
                prefetch(values, np.int64(order[k]) * size)
        else:
            fetch_lines(call[BASES + j] + first * size, count * size)


@njit(error_model="numpy")
def run_chunk(call, layout, task, first, count, next_first, next_count):
    """The function on `count` edges from place `first` of the walk; False where one points outside."""
    cells, places, inside = locate(call, task, first, count)
    order = at(call[ORDER], first, np.int32)
    if not inside or (call[HAS_ORDER] and not all_inside(order, count, call[N_EDGES])):
        return False
    ins, outs, rooms = at(task[INS], 0, np.int64), at(task[OUTS], 0, np.int64), at(task[ROOMS], 0, np.int64)
    width = layout[WIDTH]
    direct = not call[HAS_ORDER] and count % width == 0
    fetch_chunk(call, layout, next_first, next_count)
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
