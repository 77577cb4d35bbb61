"""float32 normal numbers on vectors of 16 lanes, as LLVM IR (see `random_lanes.py` and `normal_table.py`).

Where there is AVX-512, the cells of all but one number in 256 come out of registers, and the others are made again one
by one. Elsewhere every lane loads its cell.

Imports numba, so import it only through `random_native.py`.
"""

import numpy as np
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from . import normal_table as nt
from .call_frame import address_of, at, float32_of_bits, on_stack
from .random_lanes import (
    F32,
    GROUP,
    I16,
    I32,
    I64,
    call,
    const,
    has,
    has_avx512,
    lanes,
    machine,
    permuted,
    place,
    word_group,
)
from .threefry import LANES

ir = cgutils.ir
SCALE, UNIT = np.float32(nt.SCALE), np.float32(2.0**-nt.POINT)
CHUNK = 32  # groups
MASKS = CHUNK * GROUP // 64
powers = njit(nt.powers)


def _doubled(b, vector):
    """16-bit numbers: the upper half of every lane in both halves."""
    order = [2 * (i // 2) + 1 for i in range(2 * LANES)]
    return b.shuffle_vector(vector, vector, ir.Constant(ir.VectorType(I32, 2 * LANES), [I32(x) for x in order]))


def _halves(b, lower, upper):
    """The lower halves of one and the upper halves of another vector of lanes of 32 bits."""
    return b.or_(b.and_(lower, const(I32, 0xFFFF)), b.and_(upper, const(I32, 0xFFFF0000)))


def _product16(b, x, y):
    """The upper 16 bits of products of signed 16-bit numbers."""
    wide = ir.VectorType(I32, 2 * LANES)
    product = b.mul(b.sext(x, wide), b.sext(y, wide))
    return b.trunc(b.lshr(product, ir.Constant(wide, [I32(16)] * 2 * LANES)), x.type)


def _dot16(context, b, x, y):
    """Sum of the products of the lower and of the upper halves of every lane, as signed 16-bit numbers."""
    name = "avx512.pmaddw.d.512" if has_avx512(context) else "avx2.pmadd.wd" if has(context, "avx2") else ""
    if not name:
        shift = const(I32, 16)
        lower = b.mul(*(b.ashr(b.shl(v, shift), shift) for v in (x, y)))
        return b.add(lower, b.mul(b.ashr(x, shift), b.ashr(y, shift)))
    n = LANES if has_avx512(context) else LANES // 2  # of a register
    short, parts = ir.VectorType(I16, 2 * n), []
    for start in range(0, LANES, n):
        order = ir.Constant(ir.VectorType(I32, n), [I32(start + i) for i in range(n)])
        halves = [b.bitcast(b.shuffle_vector(v, v, order), short) for v in (x, y)]
        parts.append(b.call(machine(b, name, ir.VectorType(I32, n), short, short), halves))
    return b.shuffle_vector(parts[0], parts[-1], ir.Constant(lanes(I32), [I32(i) for i in range(LANES)]))


def _rows(b, cells, bits):
    """The three words of the cell of every lane, from `normal_table.table32`: a load per lane, then a transposition."""
    row = ir.VectorType(I32, 4)
    mix = lambda x, y, *order: b.shuffle_vector(x, y, ir.Constant(ir.VectorType(I32, len(order)), [*map(I32, order)]))
    at = b.and_(b.lshr(bits, const(I32, nt.CELL_SHIFT)), const(I32, 0x3FF))
    at = b.shl(b.sub(at, const(I32, nt.FIRST)), const(I32, 4))
    found = []
    for i in range(0, LANES, 4):
        offsets = [b.zext(b.extract_element(at, I32(i + j)), I64) for j in range(4)]
        rows = [b.load(place(b, cells, offset, row), align=4) for offset in offsets]
        low = [mix(*rows[j : j + 2], 0, 4, 1, 5) for j in (0, 2)]
        high = [mix(*rows[j : j + 2], 2, 6, 3, 7) for j in (0, 2)]
        found.append((mix(*low, 0, 1, 4, 5), mix(*low, 2, 3, 6, 7), mix(*high, 0, 1, 4, 5)))
    pairs = [[mix(x, y, *range(8)) for x, y in zip(*found[i : i + 2])] for i in (0, 2)]
    return [mix(x, y, *range(16)) for x, y in zip(*pairs)]


def _near_rows(b, tables, bits):
    """The same where the cell is one of the last NEAR, out of registers (AVX-512)."""
    index = b.lshr(bits, const(I32, nt.CELL_SHIFT))
    return [permuted(b, low, high, index) for low, high in tables]


def normal32(context, b, word, rows):
    """As `normal_table.normal32`, and the float that tells the cell, both as integers. `rows` finds words of a cell."""
    number = b.sitofp(b.or_(word, const(I32, 1)), lanes(F32))
    bits = b.bitcast(b.fmul(number, const(F32, nt.SCALE)), word.type)
    start, c21, c43 = rows(b, bits)
    short = ir.VectorType(I16, 2 * LANES)
    t = b.xor(b.shl(bits, const(I32, 16 - nt.PLACE_SHIFT)), const(I32, nt.HALF << 16))
    t = _doubled(b, b.bitcast(t, short))
    second = _product16(b, t, t)
    first = _halves(b, *(b.bitcast(v, lanes(I32)) for v in (t, second)))
    higher = b.bitcast(_product16(b, b.bitcast(first, short), second), lanes(I32))
    total = b.add(_dot16(context, b, c21, first), _dot16(context, b, c43, higher))
    # a product by a power of two is exact: contracted or not, the sum is rounded once
    z = call(b, "fmuladd", b.sitofp(total, lanes(F32)), const(F32, 2.0**-nt.POINT), b.bitcast(start, lanes(F32)))
    return b.xor(b.bitcast(z, word.type), b.and_(word, const(I32, 0x80000000))), bits


@intrinsic
def normal_of_words(typingctx, table, out, far, n):
    """Replace n times 16 words at `out` by their normal numbers, or leave those that are not near.

    table: `normal_table.packed32`. far: address of a bit per number that says which are left.
    """

    def codegen(context, b, signature, args):
        table, out, far, n = args
        if has_avx512(context):
            column = lambda i: b.load(place(b, table, 4 * LANES * i, lanes(I32)), align=4)
            tables = [(column(2 * i), column(2 * i + 1)) for i in range(3)]
            rows = lambda b, bits: _near_rows(b, tables, bits)
        else:
            cells = b.add(table, I64(4 * 3 * nt.NEAR))
            rows = lambda b, bits: _rows(b, cells, bits)
        mask = ir.Constant(ir.IntType(LANES), 0)
        with cgutils.for_range(b, n) as loop:
            target = place(b, out, b.mul(loop.index, I64(4 * LANES)), lanes(I32))
            word = b.load(target, align=4)
            value, bits = normal32(context, b, word, rows)
            if has_avx512(context):
                is_far = b.icmp_unsigned("==", b.and_(bits, const(I32, 1 << 30)), const(I32, 0))
                value, mask = b.select(is_far, word, value), b.bitcast(is_far, mask.type)
            b.store(value, target, align=4)
            b.store(mask, place(b, far, b.mul(loop.index, I64(LANES // 8)), mask.type), align=2)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4), codegen


@intrinsic
def trailing_zeros(typingctx, number):
    """Of a uint64 that is not 0."""
    return types.int64(types.uint64), lambda context, b, signature, args: b.cttz(args[0], ir.IntType(1)(1))


@intrinsic
def bits_of(typingctx, number):
    """Of a float32, as an int32."""
    return types.int32(types.float32), lambda context, b, signature, args: b.bitcast(args[0], I32)


@njit(error_model="numpy")
def far_number(word, table):
    """`normal_table.normal32` of one word."""
    bits = np.int64(bits_of(np.float32(np.int32(word | np.uint32(1))) * SCALE))
    cell = at(table, 3 * nt.NEAR + 4 * (((bits >> nt.CELL_SHIFT) & 0x3FF) - nt.FIRST), np.uint32)
    t = ((bits >> nt.PLACE_SHIFT) & 0xFFFF) - nt.HALF
    first, second, third, fourth = powers(t)
    total = first * lower(cell[1]) + second * upper(cell[1]) + third * lower(cell[2]) + fourth * upper(cell[2])
    z = float32_of_bits(cell[0]) + np.float32(np.int32(total)) * UNIT
    return np.uint32(bits_of(z)) ^ (word & np.uint32(0x80000000))


@njit(error_model="numpy")
def lower(pair):
    """The lower half, signed."""
    return np.int64(np.int16(pair))


@njit(error_model="numpy")
def upper(pair):
    return np.int64(np.int32(pair) >> 16)


@njit(error_model="numpy")
def fill_normal(key0, key1, step, table, out, first, end):
    """float32 normal numbers of the entities 128 first ... 128 end - 1 into the array at `out`.

    In chunks: the words, their numbers in place (one loop for both would need more registers than there are), then the
    far ones, one in 256 (a branch among the others would wait for the hash).
    """
    far = on_stack(MASKS, np.uint64)
    for start in range(first, end, CHUNK):
        groups, target = min(CHUNK, end - start), out + 4 * GROUP * (start - first)
        for i in range(groups):
            word_group(key0, key1, step, start + i, target + 4 * GROUP * i)
        normal_of_words(table, target, address_of(far), GROUP // LANES * groups)
        for i in range(GROUP // 64 * groups):
            number, left = at(target, 64 * i, np.uint32), far[i]
            while left != 0:
                lane = trailing_zeros(left)
                number[lane] = far_number(number[lane], table)
                left &= left - np.uint64(1)
