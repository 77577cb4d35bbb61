"""Reading an XLA FFI call frame from numba: buffers, batch axes, the metadata query, errors.

Imports numba, so import it only through `native.py`. Frame, as 64-bit words (xla/ffi/api/c_api.h, major version 0):
0 size, 1 extension*, 2 api*, 3 context*, 4 stage, 5..9 arguments {size, extension, n, types*, buffers**},
10..14 results {same}, 15..20 attributes {size, extension, n, types*, names*, values*}.
Buffer: 0 size, 1 extension, 2 dtype, 3 data*, 4 rank, 5 dims*.
"""

import numpy as np
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from . import parallel

ARGUMENTS, RESULTS = 9, 14  # words of the two buffer lists
MAX_BATCH_AXES = 8
ir = cgutils.ir


@intrinsic
def at(typingctx, address, index, dtype):
    """Typed pointer to element `index` of the array of `dtype` at `address`; no bounds, no wrap-around."""
    result = types.CPointer(dtype.dtype)

    def codegen(context, builder, signature, args):
        start = builder.inttoptr(args[0], context.get_value_type(result))
        return builder.gep(start, [args[1]])

    return result(types.int64, types.int64, dtype), codegen


@intrinsic
def address_of(typingctx, pointer):
    """The address in a pointer, as an integer."""

    def codegen(context, builder, signature, args):
        return builder.ptrtoint(args[0], ir.IntType(64))

    return types.int64(pointer), codegen


@intrinsic(prefer_literal=True)
def on_stack(typingctx, size, dtype):
    """Pointer to uninitialised room for a literal number of values on the stack of the calling function."""
    result = types.CPointer(dtype.dtype)

    def codegen(context, builder, signature, args):
        room = cgutils.alloca_once(builder, ir.ArrayType(context.get_value_type(dtype.dtype), size.literal_value))
        room.align = 64  # a vector that crosses a cache line is slow to load after its parts were stored
        return builder.bitcast(room, context.get_value_type(result))

    return result(types.literal(size.literal_value), dtype), codegen


@intrinsic
def prefetch(typingctx, pointer, index):
    """Ask for the cache line of an element that will be read; any address is allowed."""

    def codegen(context, builder, signature, args):
        i32, byte_p = ir.IntType(32), ir.IntType(8).as_pointer()
        place = builder.bitcast(builder.gep(args[0], [args[1]]), byte_p)
        kind = ir.FunctionType(ir.VoidType(), [byte_p, i32, i32, i32])
        function = builder.module.declare_intrinsic("llvm.prefetch", (byte_p,), kind)
        builder.call(function, [place, i32(0), i32(3), i32(1)])
        return context.get_dummy_value()

    return types.void(pointer, types.int64), codegen


@intrinsic
def threads_of(typingctx, frame):
    """How many threads `parallel_for` has in this call, at least 1 (see `parallel.py`)."""

    def codegen(context, builder, signature, args):
        kind = ir.FunctionType(ir.IntType(64), [args[0].type])
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, parallel.THREADS), args)

    return types.int64(frame), codegen


def parallel_loop(body):
    """The loop body(context, i, kinds) for i in 0 ... n_tasks - 1 on several threads (see `parallel.py`).

    `body` is a jitted function; `context` the address of what it reads, `kinds` a tuple of numpy scalar types. A loop
    is made per body, because numba does not cache code that takes a jitted function as an argument.
    """

    @intrinsic
    def loop(typingctx, frame, context, n_tasks, kinds):
        arguments = types.int64, types.int64, kinds
        signature_of_body = typingctx.resolve_value_type(body).get_call_type(typingctx, arguments, {})

        def codegen(context, builder, signature, args):
            task = _task(context, builder, body, signature_of_body)
            i64 = ir.IntType(64)
            kind = ir.FunctionType(ir.VoidType(), [args[0].type, i64, i64, i64])
            called = cgutils.get_or_insert_function(builder.module, kind, parallel.LOOP)
            builder.call(called, [args[0], builder.ptrtoint(task, i64), args[1], args[2]])
            return context.get_dummy_value()

        return types.void(frame, types.int64, types.int64, kinds), codegen

    return loop


def _task(context, builder, body, signature):
    """A C function void (context, i) around a jitted one. Tasks do not raise, so its status is not looked at."""
    i64 = ir.IntType(64)
    name = builder.module.get_unique_name("brainsim_task")
    task = ir.Function(builder.module, ir.FunctionType(ir.VoidType(), [i64, i64]), name)
    task.linkage = "internal"
    inside = ir.IRBuilder(task.append_basic_block("entry"))
    compiled = body.get_compile_result(signature)
    context.add_linking_libs([compiled.library])
    kinds = ir.Constant(context.get_value_type(signature.args[2]), ir.Undefined)
    context.call_internal_no_propagate(inside, compiled.fndesc, signature, [*task.args, kinds])
    inside.ret_void()
    return task


@intrinsic
def float32_of_bits(typingctx, bits):
    """The float32 whose bit pattern is `bits` (uint32)."""

    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], ir.FloatType())

    return types.float32(types.uint32), codegen


@intrinsic(prefer_literal=True)
def new_error(typingctx, api, text):
    """Address of a new XLA_FFI_Error (INVALID_ARGUMENT) with the literal `text`, through the runtime's api table."""
    message = text.literal_value

    def codegen(context, builder, signature, args):
        i64, i32, byte_p = ir.IntType(64), ir.IntType(32), ir.IntType(8).as_pointer()
        request_type = ir.LiteralStructType([i64, byte_p, byte_p, i32])
        request = cgutils.alloca_once(builder, request_type)
        values = [i64(28), byte_p(None), context.insert_const_string(builder.module, message), i32(3)]
        for field, value in enumerate(values):
            builder.store(value, cgutils.gep_inbounds(builder, request, 0, field))
        create_type = ir.FunctionType(byte_p, [request_type.as_pointer()]).as_pointer()
        slot = builder.inttoptr(builder.add(args[0], i64(48)), create_type.as_pointer())  # XLA_FFI_Error_Create
        return builder.ptrtoint(builder.call(builder.load(slot), [request]), i64)

    return types.int64(types.int64, text), codegen


def widen(x):
    """A stored weight as a number: bfloat16 travels as uint16."""


@overload(widen, inline="always")
def _widen(x):
    if x == types.uint16:
        return lambda x: float32_of_bits(np.uint32(np.uint32(x) << np.uint32(16)))
    return lambda x: x


@njit(error_model="numpy")
def answered_metadata_query(frame, major, minor):
    """True where XLA only asks for the API version of the handler; writes it."""
    if frame[1] == 0:
        return False
    extension = at(frame[1], 0, np.int64)
    if extension[1] & 0xFFFFFFFF != 1:
        return False
    version = at(extension[3] + 24, 0, np.int32)
    version[0] = major
    version[1] = minor
    return True


@njit(error_model="numpy")
def buffer(frame, side, i):
    """Words of buffer `i` of the arguments or the results."""
    return at(at(frame[side], 0, np.int64)[i], 0, np.int64)


@njit(error_model="numpy")
def dim(buf, i):
    return at(buf[5], 0, np.int64)[i]


@njit(error_model="numpy")
def last(buf):
    return dim(buf, buf[4] - 1)


@njit(error_model="numpy")
def is_wrong(frame, side, i, dtype, rank):
    """True unless buffer `i` has this dtype code and rank."""
    buf = buffer(frame, side, i)
    return (buf[2] & 0xFFFFFFFF) != dtype or buf[4] != rank


@njit(error_model="numpy")
def batch_size(frame, axis, n_batch):
    """Length of one batch axis: every buffer has it or 1."""
    size = 1
    for side in (ARGUMENTS, RESULTS):
        for i in range(frame[side - 2]):
            size = max(size, dim(buffer(frame, side, i), axis))
    return size if n_batch > axis else 1


@njit(error_model="numpy")
def batch_total(frame, n_batch):
    total = 1
    for axis in range(n_batch):
        total *= batch_size(frame, axis, n_batch)
    return total


@njit(error_model="numpy")
def batch_index(frame, buf, n_batch, flat):
    """Which batch element of `buf` belongs to element `flat` of the whole batch (axes of length 1 are shared)."""
    index, stride, rest = 0, 1, flat
    for axis in range(n_batch - 1, -1, -1):
        size = batch_size(frame, axis, n_batch)
        digit = rest % size
        rest //= size
        mine = dim(buf, axis)
        if mine > 1:
            index += digit * stride
        stride *= mine
    return index
