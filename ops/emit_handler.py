"""LLVM IR of the typed XLA FFI handler of a kernel: loops over the batch and calls the kernel for each element.

Imports llvmlite, so import it only through `emit.py`. Words of the call frame: see `call_frame.py`.
"""

from typing import NamedTuple

import llvmlite.ir as ir
import numpy as np

from . import native
from .emit_lanes import I8, I32, I64, memory_type

BYTES, WORDS = I8.as_pointer(), I64.as_pointer()
ARGUMENTS, RESULTS = 9, 14  # words of the call frame


class Side(NamedTuple):
    """One operand or result: whether it has the axis of cells, and which batch axes in full."""

    dtype: np.dtype
    has_cells: bool
    whole: tuple[bool, ...]
    start: int = 0  # first cell within a longer array
    is_view: bool = False


def _answer_query(b, frame):
    """Write the API version and return where XLA only asks for it; the builder goes on where it does not."""
    major, minor = native.api_version()
    extension = b.load(b.gep(frame, [I64(1)]))
    with b.if_then(b.icmp_unsigned("!=", extension, I64(0)), likely=False):
        words = b.inttoptr(extension, WORDS)
        kind = b.trunc(b.load(b.gep(words, [I64(1)])), I32)
        with b.if_then(b.icmp_unsigned("==", kind, I32(1))):
            version = b.inttoptr(b.add(b.load(b.gep(words, [I64(3)])), I64(24)), I32.as_pointer())
            b.store(I32(major), version)
            b.store(I32(minor), b.gep(version, [I64(1)]))
            b.ret(I64(0))


class Handler:
    """Emits int64 handler(frame)."""

    def __init__(self, module, cells, operands, results, width):
        self.cells, self.operands, self.results, self.width = cells, operands, results, width
        self.function = ir.Function(module, ir.FunctionType(I64, [WORDS]), "handler")
        self.b = ir.IRBuilder(self.function.append_basic_block())

    def emit(self):
        b, (frame,) = self.b, self.function.args
        self.ins, self.outs = b.alloca(I64, len(self.operands)), b.alloca(I64, len(self.results))
        room = lambda side: b.alloca(ir.VectorType(memory_type(side.dtype), self.width))
        self.spare_in = [room(x) if x.has_cells else None for x in self.operands]
        self.spare_out = [room(x) for x in self.results]
        _answer_query(b, frame)
        buffers_in, buffers_out = self.buffers(frame, ARGUMENTS), self.buffers(frame, RESULTS)
        axes = len(self.results[0].whole)
        sizes = [self.dim(buffers_out[0], a) for a in range(axes)]
        sides = (*zip(buffers_in, self.operands), *zip(buffers_out, self.results))
        n = self.dim(next(x for x, side in sides if side.has_cells and not side.is_view), axes)
        tables = (
            (self.ins, self.operands, [self.data(x) for x in buffers_in]),
            (self.outs, self.results, [self.data(x) for x in buffers_out]),
        )
        if axes:
            self.over_batch(sizes, n, tables)
        else:
            self.element([], n, tables, [])
        b.ret(I64(0))

    def buffers(self, frame, side):
        b, count = self.b, len(self.operands if side == ARGUMENTS else self.results)
        every = b.inttoptr(b.load(b.gep(frame, [I64(side)])), WORDS)
        return [b.inttoptr(b.load(b.gep(every, [I64(k)])), WORDS) for k in range(count)]

    def data(self, buffer):
        return self.b.load(self.b.gep(buffer, [I64(3)]))

    def dim(self, buffer, axis):
        b = self.b
        return b.load(b.gep(b.inttoptr(b.load(b.gep(buffer, [I64(5)])), WORDS), [I64(axis)]))

    def over_batch(self, sizes, n, tables):
        """The kernel for each element of the batch, the last axis fastest; every size is at least 1."""
        b, total = self.b, I64(1)
        for size in sizes:
            total = b.mul(total, size)
        begin, loop, end = b.block, self.function.append_basic_block(), self.function.append_basic_block()
        b.branch(loop)
        b.position_at_end(loop)
        flat = b.phi(I64)
        flat.add_incoming(I64(0), begin)
        digits, rest = [], flat
        for size in sizes[::-1]:
            digits.insert(0, b.urem(rest, size))
            rest = b.udiv(rest, size)
        self.element(sizes, n, tables, digits)
        following = b.add(flat, I64(1))
        flat.add_incoming(following, b.block)
        b.cbranch(b.icmp_signed("<", following, total), loop, end)
        b.position_at_end(end)

    def element(self, sizes, n, tables, digits):
        """The kernel over all cells of one element of the batch."""
        b = self.b
        addresses = [
            [self.address(base, side, sizes, n, digits) for base, side in zip(bases, sides)]
            for _, sides, bases in tables
        ]
        for (table, sides, _), each in zip(tables, addresses):
            for k, (side, address) in enumerate(zip(sides, each)):
                if table is self.outs and not side.has_cells:
                    b.store(ir.Constant(self.spare_out[k].type.pointee, None), self.spare_out[k])
                    address = b.ptrtoint(self.spare_out[k], I64)
                b.store(address, b.gep(table, [I64(k)]))
        blocks = b.sdiv(n, I64(self.width))
        with b.if_then(b.icmp_signed(">", blocks, I64(0))):
            b.call(self.cells, [self.ins, self.outs, blocks, n])
        done = b.mul(blocks, I64(self.width))
        with b.if_then(b.icmp_signed("<", done, n)):
            self.last_block(done, b.sub(n, done))
        for spare, side, address in zip(self.spare_out, self.results, addresses[1]):
            if not side.has_cells:
                total = self.sum_of_lanes(b.load(spare))
                b.store(total, b.inttoptr(address, memory_type(side.dtype).as_pointer()))

    def address(self, base, side, sizes, n, digits):
        b, stride, offset = self.b, n if side.has_cells else I64(1), I64(side.start)
        for size, digit, is_whole in list(zip(sizes, digits, side.whole))[::-1]:
            if is_whole:
                offset = b.add(offset, b.mul(digit, stride))
                stride = b.mul(stride, size)
        return b.add(base, b.mul(offset, I64(side.dtype.itemsize)))

    def sum_of_lanes(self, lanes):
        """The lanes added in pairs: first with second half, until one is left."""
        b, width = self.b, self.width
        while width > 1:
            width //= 2
            nothing = ir.Constant(lanes.type, ir.Undefined)
            half = lambda start: ir.Constant(ir.VectorType(I32, width), [I32(start + i) for i in range(width)])  # noqa: B023
            lanes = b.fadd(*(b.shuffle_vector(lanes, nothing, half(start)) for start in (0, width)))
        return b.extract_element(lanes, I32(0))

    def last_block(self, done, left):
        """The last `left` cells, through copies padded with zeros."""
        b, returns = self.b, []
        copy = b.module.declare_intrinsic("llvm.memcpy", [BYTES, BYTES, I64])
        copies = [(self.ins, k, s, x.dtype) for k, (s, x) in enumerate(zip(self.spare_in, self.operands))]
        copies += [(self.outs, k, s, x.dtype) for k, (s, x) in enumerate(zip(self.spare_out, self.results))]
        has_cells = [x.has_cells for x in (*self.operands, *self.results)]
        for table, k, spare, dtype in (c for c, has in zip(copies, has_cells) if has):
            entry = b.gep(table, [I64(k)])
            bytes_done, size = b.mul(done, I64(dtype.itemsize)), b.mul(left, I64(dtype.itemsize))
            outside = b.inttoptr(b.add(b.load(entry), bytes_done), BYTES)
            inside = b.bitcast(spare, BYTES)
            if table is self.ins:
                b.store(ir.Constant(spare.type.pointee, None), spare)
                b.call(copy, [inside, outside, size, ir.IntType(1)(0)])
            else:
                returns.append((outside, inside, size))
            b.store(b.ptrtoint(spare, I64), entry)
        b.call(self.cells, [self.ins, self.outs, I64(1), left])
        for outside, inside, size in returns:
            b.call(copy, [outside, inside, size, ir.IntType(1)(0)])
