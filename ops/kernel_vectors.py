"""Vector operations of a literal size for native kernels, and the sums over rows that are made of them.

Imports numba, so import it only from a `*_kernels.py`.
"""

from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from .call_frame import on_stack, widen

ir = cgutils.ir

LANES = 32  # partial sums of a dot product: enough to hide the latency of the additions


def _vector(context, builder, size, dtype, pointer, index):
    """Pointer to `size` values from `pointer[index]` on, as one vector."""
    element = context.get_value_type(dtype)
    return builder.bitcast(builder.gep(pointer, [index]), ir.VectorType(element, size).as_pointer())


def _splat(builder, size, value):
    start = builder.insert_element(ir.Constant(ir.VectorType(value.type, size), ir.Undefined), value, ir.IntType(32)(0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), size), [0] * size)
    return builder.shuffle_vector(start, ir.Constant(start.type, ir.Undefined), zeros)


def _load(context, builder, size, dtype, kind, pointer, index):
    """`size` values of `dtype` as lanes of type `kind`; uint16 holds bfloat16."""
    align = dtype.bitwidth // 8
    values = builder.load(_vector(context, builder, size, dtype, pointer, index), align=align)
    if dtype == types.uint16:
        words = ir.VectorType(ir.IntType(32), size)
        shift = ir.Constant(words, [16] * size)
        dtype = types.float32
        values = builder.bitcast(builder.shl(builder.zext(values, words), shift), ir.VectorType(ir.FloatType(), size))
    return values if dtype == kind else builder.fpext(values, ir.VectorType(context.get_value_type(kind), size))


@intrinsic(prefer_literal=True)
def add_scaled(typingctx, size, total, at, weight, x, start):
    """total[at : at + size] += weight * x[start : start + size] as vectors of a literal size; x may be narrower.

    A `total` from `on_stack` that nothing but the vector operations touches stays in registers over a loop.
    """
    count, dtype = size.literal_value, total.dtype

    def codegen(context, builder, signature, args):
        _, total, at, weight, x, start = args
        place, align = _vector(context, builder, count, dtype, total, at), dtype.bitwidth // 8
        values = _load(context, builder, count, signature.args[4].dtype, dtype, x, start)
        product = builder.fmul(_splat(builder, count, weight), values)
        builder.store(builder.fadd(builder.load(place, align=align), product), place, align=align)
        return context.get_dummy_value()

    return types.void(size, total, types.int64, dtype, x, types.int64), codegen


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


@intrinsic
def shifted(typingctx, pointer, index):
    """Pointer to pointer[index]."""

    def codegen(context, builder, signature, args):
        return builder.gep(args[0], [args[1]])

    return pointer(pointer, types.int64), codegen


@intrinsic(prefer_literal=True)
def copy_vector(typingctx, size, place, source):
    """place[:size] = source[:size], or the scalar `source` everywhere."""
    count, dtype = size.literal_value, place.dtype
    kind = types.CPointer(dtype) if isinstance(source, types.CPointer) else dtype

    def codegen(context, builder, signature, args):
        _, place, value = args
        zero, align = context.get_constant(types.int64, 0), dtype.bitwidth // 8
        if kind is not dtype:
            value = builder.load(_vector(context, builder, count, dtype, value, zero), align=align)
        else:
            value = _splat(builder, count, value)
        builder.store(value, _vector(context, builder, count, dtype, place, zero), align=align)
        return context.get_dummy_value()

    return types.void(size, place, kind), codegen


@intrinsic(prefer_literal=True)
def dot_vector(typingctx, size, used, a, x, start):
    """Sum of a[k] * x[start + k], k < used <= size (a literal power of two), added in pairs: the order is fixed.

    Lanes from `used` on are read and left out. x may be narrower than a.
    """
    count, dtype = size.literal_value, a.dtype

    def codegen(context, builder, signature, args):
        _, used, a, x, start = args
        left = _load(context, builder, count, dtype, dtype, a, context.get_constant(types.int64, 0))
        right = _load(context, builder, count, signature.args[3].dtype, dtype, x, start)
        lanes = ir.Constant(ir.VectorType(ir.IntType(64), count), list(range(count)))
        inside = builder.icmp_signed("<", lanes, _splat(builder, count, used))
        return _in_pairs(builder, builder.select(inside, builder.fmul(left, right), ir.Constant(left.type, None)))

    return dtype(size, types.int64, a, x, types.int64), codegen


@intrinsic(prefer_literal=True)
def add_gathered(typingctx, size, total, w, w_start, x, indices, start):
    """total[k] += w[w_start + k] * x[indices[start + k]], k < size, where that x is not zero; w may be narrower than x.

    A choice of two values, so no branch to guess wrong.
    """
    count, dtype = size.literal_value, total.dtype

    def codegen(context, builder, signature, args):
        _, total, w, w_start, x, indices, start = args
        i32, narrow = ir.IntType(32), signature.args[2].dtype
        gathered = ir.Constant(ir.VectorType(context.get_value_type(dtype), count), ir.Undefined)
        for k in range(count):
            index = builder.load(builder.gep(indices, [builder.add(start, ir.IntType(64)(k))]))
            index = builder.sext(index, ir.IntType(64))
            gathered = builder.insert_element(gathered, builder.load(builder.gep(x, [index])), i32(k))
        weights = _load(context, builder, count, narrow, dtype, w, w_start)
        zero, align = ir.Constant(gathered.type, None), dtype.bitwidth // 8
        place = _vector(context, builder, count, dtype, total, context.get_constant(types.int64, 0))
        product = builder.select(builder.fcmp_unordered("!=", gathered, zero), builder.fmul(weights, gathered), zero)
        builder.store(builder.fadd(builder.load(place, align=align), product), place, align=align)
        return context.get_dummy_value()

    kinds = (size, total, w, types.int64, types.CPointer(dtype), indices, types.int64)
    return types.void(*kinds), codegen


@intrinsic(prefer_literal=True)
def add_product(typingctx, size, total, a, a_start, x, x_start):
    """total[k] += a[a_start + k] * x[x_start + k], k < size; x may be narrower."""
    count, dtype = size.literal_value, total.dtype

    def codegen(context, builder, signature, args):
        _, total, a, a_start, x, x_start = args
        place, align = _vector(context, builder, count, dtype, total, ir.IntType(64)(0)), dtype.bitwidth // 8
        left = _load(context, builder, count, dtype, dtype, a, a_start)
        right = _load(context, builder, count, signature.args[4].dtype, dtype, x, x_start)
        new = builder.fadd(builder.load(place, align=align), builder.fmul(left, right))
        builder.store(new, place, align=align)
        return context.get_dummy_value()

    return types.void(size, total, total, types.int64, x, types.int64), codegen


@intrinsic(prefer_literal=True)
def sum_vector(typingctx, size, a):
    """Sum of a[:size], size a literal power of two, added in pairs: the order is fixed."""
    count, dtype = size.literal_value, a.dtype

    def codegen(context, builder, signature, args):
        return _in_pairs(builder, _load(context, builder, count, dtype, dtype, args[1], ir.IntType(64)(0)))

    return dtype(size, a), codegen


def _in_pairs(builder, total):
    while total.type.count > 1:
        total = builder.fadd(*_halves(builder, total))
    return builder.extract_element(total, ir.IntType(32)(0))


def _halves(builder, value):
    half = value.type.count // 2
    index = ir.VectorType(ir.IntType(32), half)
    return [
        builder.shuffle_vector(value, ir.Constant(value.type, ir.Undefined), ir.Constant(index, list(lanes)))
        for lanes in (range(half), range(half, 2 * half))
    ]


@njit(error_model="numpy")
def add_row(count, out, at, weight, x, start):
    """out[at : at + count] += weight * x[start : start + count]."""
    i = 0
    while i + 32 <= count:
        add_scaled(32, out, at + i, weight, x, start + i)
        i += 32
    while i + 8 <= count:
        add_scaled(8, out, at + i, weight, x, start + i)
        i += 8
    while i < count:
        out[at + i] += weight * type(weight)(widen(x[start + i]))
        i += 1


@njit(error_model="numpy")
def dot_row(count, x, w, start):
    """Sum of x[k] * w[start + k], k < count, in LANES partial sums added in pairs."""
    total = on_stack(LANES, type(x[0]))
    copy_vector(LANES, total, 0.0)
    i = 0
    while i + LANES <= count:
        add_product(LANES, total, x, i, w, start + i)
        i += LANES
    rest = sum_vector(LANES, total)
    while i < count:
        rest += x[i] * type(rest)(widen(w[start + i]))
        i += 1
    return rest
