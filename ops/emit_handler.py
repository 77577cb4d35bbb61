"""LLVM IR of the typed XLA FFI handler of a kernel: loops over the batch and calls the kernel for each element.

Imports llvmlite, so import it only through `emit.py`. Words of the call frame: see `call_frame.py`.
"""

from typing import NamedTuple

import llvmlite.ir as ir
import numpy as np

from . import native, parallel
from .emit_lanes import I8, I32, I64, memory_type

BYTES, WORDS = I8.as_pointer(), I64.as_pointer()
ARGUMENTS, RESULTS = 9, 14  # words of the call frame


LINE = 64  # cells: a cache line of the narrowest type, so that no two ranges write to one
LINE_WORDS = 8  # a cache line, so that two workers do not write to one
RANGES, WORKERS = 16, 64  # ranges of a kernel with sums; the most threads of a call
# In vector operations before optimisation, of which 20 to 50 take a nanosecond. SPLIT_WORK: below it, some 10 us, a
# helper comes too late to be of use.
SPLIT_WORK, RANGE_WORK = 250_000, 40_000
HEAD = 4  # words of a call before the sizes of the batch: frame, cells, elements, elements per task


class Side(NamedTuple):
    """One operand or result: whether it has the axis of cells, and which batch axes in full."""

    dtype: np.dtype
    has_cells: bool
    whole: tuple[bool, ...]
    start: int = 0  # first cell within a longer array
    is_view: bool = False


def _internal(module, name, *kinds):
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), name)
    function.linkage = "internal"
    return function


def _smaller(b, x, y):
    return b.select(b.icmp_signed("<", x, y), x, y)


def _table(b, words, room=None):
    """Words on the stack."""
    table = (room or b.alloca)(I64, len(words))
    for i, word in enumerate(words):
        b.store(word, b.gep(table, [I64(i)]))
    return table


def _count(b, first, end, body):
    """body(i) for i in first ... end - 1, of which there is one."""
    begin, loop, after = b.block, b.append_basic_block(), b.append_basic_block()
    b.branch(loop)
    b.position_at_end(loop)
    i = b.phi(I64)
    body(i)
    following = b.add(i, I64(1))
    i.add_incoming(first, begin)
    i.add_incoming(following, b.block)
    b.cbranch(b.icmp_signed("<", following, end), loop, after)
    b.position_at_end(after)


def answer_query(b, frame):
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


def _called(b, function, *arguments):
    """Arguments of `parallel.LOOP` that stand for a function and what it reads, after the frame."""
    return [b.ptrtoint(x, I64) for x in (function, *arguments)]


class Handler:
    """Emits int64 handler(frame).

    Large calls run on several threads (`parallel.py`): the whole blocks of an element in ranges, or, where an element
    is small, groups of elements. Sums over cells are added per range, then range by range. Ranges depend on the number
    of cells and the kernel alone, hence so do the bits.

    Args:
        cells: the kernel of `emit.py`.
        operands, results: one `Side` each.
        width: cells per block.
        work: vector operations per block, about.
    """

    def __init__(self, module, cells, operands, results, width, work):
        self.module, self.cells, self.operands, self.results, self.width = module, cells, operands, results, width
        self.axes = len(results[0].whole)
        self.is_summing = not all(x.has_cells for x in results)
        line = max(1, LINE // width)
        self.range_blocks = -(-RANGE_WORK // (work * line)) * line
        self.split_blocks = max(-(-SPLIT_WORK // work), 2 * self.range_blocks)
        kind = ir.FunctionType(ir.VoidType(), [WORDS, I64, I64, I64])
        self.loop = ir.Function(module, kind, parallel.LOOP)
        self.threads = ir.Function(module, ir.FunctionType(I64, [WORDS]), parallel.THREADS)

    def emit(self):
        self.range = self.range_function()
        self.worker = self.worker_function()
        self.element = self.element_function()
        function = ir.Function(self.module, ir.FunctionType(I64, [WORDS]), "handler")
        b, (frame,) = ir.IRBuilder(function.append_basic_block()), function.args
        answer_query(b, frame)
        buffers_in, buffers_out = self.buffers(b, frame, ARGUMENTS), self.buffers(b, frame, RESULTS)
        sizes = [self.dim(b, buffers_out[0], a) for a in range(self.axes)]
        sides = (*zip(buffers_in, self.operands), *zip(buffers_out, self.results))
        n = self.dim(b, next(x for x, side in sides if side.has_cells and not side.is_view), self.axes)
        total = I64(1)
        for size in sizes:
            total = b.mul(total, size)
        data = [b.load(b.gep(x, [I64(3)])) for x in (*buffers_in, *buffers_out)]
        blocks = b.udiv(b.add(n, I64(self.width - 1)), I64(self.width))
        group = b.add(b.udiv(I64(self.range_blocks), blocks), I64(1))
        call = _table(b, [b.ptrtoint(frame, I64), n, total, group, *sizes, *data])
        if self.axes:
            self.over_batch(b, frame, call, blocks, total, group)
        else:
            b.call(self.element, [call, I64(0)])
        b.ret(I64(0))

    def buffers(self, b, frame, side):
        count = len(self.operands if side == ARGUMENTS else self.results)
        every = b.inttoptr(b.load(b.gep(frame, [I64(side)])), WORDS)
        return [b.inttoptr(b.load(b.gep(every, [I64(k)])), WORDS) for k in range(count)]

    def dim(self, b, buffer, axis):
        return b.load(b.gep(b.inttoptr(b.load(b.gep(buffer, [I64(5)])), WORDS), [I64(axis)]))

    def over_batch(self, b, frame, call, blocks, total, group):
        """Every element of the batch, the last axis fastest; every size is at least 1."""
        function = _internal(self.module, "elements", I64, I64)
        inside = ir.IRBuilder(function.append_basic_block())
        mine, (_, _, of, per) = inside.inttoptr(function.args[0], WORDS), self.head(inside, function.args[0])
        first = inside.mul(function.args[1], per)
        _count(
            inside, first, _smaller(inside, inside.add(first, per), of), lambda i: inside.call(self.element, [mine, i])
        )
        inside.ret_void()
        # an element that is large enough uses the threads itself
        large = b.icmp_signed(">=", b.mul(blocks, total), I64(self.split_blocks))
        small = b.icmp_signed("<=", blocks, I64(self.split_blocks))
        with b.if_else(b.and_(large, small)) as (then, otherwise):
            with then:
                tasks = b.udiv(b.add(total, b.sub(group, I64(1))), group)
                b.call(self.loop, [frame, *_called(b, function, call), tasks])
            with otherwise:
                _count(b, I64(0), total, lambda i: b.call(self.element, [call, i]))

    def head(self, b, address):
        """frame, number of cells, of elements, of elements per task."""
        return [b.load(b.gep(b.inttoptr(address, WORDS), [I64(i)])) for i in range(HEAD)]

    def element_function(self):
        """void element(call, flat): the kernel over all cells of one element of the batch."""
        function = _internal(self.module, "element", WORDS, I64)
        b, (call, flat) = ir.IRBuilder(function.append_basic_block()), function.args
        self.b, self.ins, self.outs = b, b.alloca(I64, len(self.operands)), b.alloca(I64, len(self.results))
        room = lambda side: b.alloca(ir.VectorType(memory_type(side.dtype), self.width))
        self.spare_in = [room(x) if x.has_cells else None for x in self.operands]
        self.spare_out = [room(x) for x in self.results]
        words = [
            b.load(b.gep(call, [I64(i)])) for i in range(HEAD + self.axes + len(self.operands) + len(self.results))
        ]
        frame, n = b.inttoptr(words[0], WORDS), words[1]
        sizes, bases = words[HEAD : HEAD + self.axes], words[HEAD + self.axes :]
        digits, rest = [], flat
        for size in sizes[::-1]:
            digits.insert(0, b.urem(rest, size))
            rest = b.udiv(rest, size)
        sides = (*self.operands, *self.results)
        addresses = [self.address(base, side, sizes, n, digits) for base, side in zip(bases, sides)]
        results = addresses[len(self.operands) :]
        self.fill_tables(addresses[: len(self.operands)], results)
        blocks = b.sdiv(n, I64(self.width))
        self.whole_blocks(frame, blocks, n)
        done = b.mul(blocks, I64(self.width))
        with b.if_then(b.icmp_signed("<", done, n)):
            self.last_block(done, b.sub(n, done))
        for spare, side, address in zip(self.spare_out, self.results, results):
            if not side.has_cells:
                total = self.sum_of_lanes(b.load(spare))
                b.store(total, b.inttoptr(address, memory_type(side.dtype).as_pointer()))
        b.ret_void()
        return function

    def fill_tables(self, operands, results):
        """Addresses for the kernel; a sum over cells starts at 0."""
        b = self.b
        for k, address in enumerate(operands):
            b.store(address, b.gep(self.ins, [I64(k)]))
        for k, (side, spare, address) in enumerate(zip(self.results, self.spare_out, results)):
            if not side.has_cells:
                b.store(ir.Constant(spare.type.pointee, None), spare)
                address = b.ptrtoint(spare, I64)
            b.store(address, b.gep(self.outs, [I64(k)]))

    def whole_blocks(self, frame, blocks, n):
        b = self.b
        with b.if_else(b.icmp_signed(">", blocks, I64(self.split_blocks)), likely=False) as (then, otherwise):
            with then:
                self.split(frame, blocks, n)
            with otherwise, b.if_then(b.icmp_signed(">", blocks, I64(0))):
                b.call(self.cells, [self.ins, self.outs, I64(0), blocks, n])

    def split(self, frame, blocks, n):
        """The whole blocks in ranges, by workers; then the sums of the ranges, one after the other."""
        b, per = self.b, I64(self.range_blocks)
        if self.is_summing:  # as many ranges as there is room for sums
            per = b.udiv(b.add(blocks, I64(RANGES - 1)), I64(RANGES))
        ranges = b.udiv(b.add(blocks, b.sub(per, I64(1))), per)
        workers = _smaller(b, _smaller(b, b.call(self.threads, [frame]), ranges), I64(WORKERS))
        claimed = self.at_entry(I64, WORKERS * LINE_WORDS)
        _count(b, I64(0), workers, lambda w: b.store(I64(0), b.gep(claimed, [b.mul(w, I64(LINE_WORDS))])))
        sums = [(spare, self.at_entry(spare.type.pointee, RANGES)) for spare in self.sums(self.spare_out)]
        addresses = [b.ptrtoint(x, I64) for x in (self.ins, self.outs, claimed)]
        rooms = [b.ptrtoint(part, I64) for _, part in sums]
        call = _table(b, [*addresses, blocks, n, per, ranges, workers, *rooms], self.at_entry)
        b.call(self.loop, [frame, *_called(b, self.worker, call), workers])
        for spare, part in sums:
            add = lambda i, spare=spare, part=part: b.fadd(b.load(spare), b.load(b.gep(part, [i])))
            _count(b, I64(0), ranges, lambda i, spare=spare, add=add: b.store(add(i), spare))

    def sums(self, spare):
        return [room for side, room in zip(self.results, spare) if not side.has_cells]

    def at_entry(self, kind, size):
        with self.b.goto_entry_block():  # elsewhere the stack would grow at run time
            return self.b.alloca(kind, size)

    def worker_function(self):
        """void worker(call, w): the ranges of its own share, then what is left of the shares of the others.

        So a worker meets the same cells in every step, and finds them in the cache of its core.
        """
        function = _internal(self.module, "worker", I64, I64)
        b, (call, worker) = ir.IRBuilder(function.append_basic_block()), function.args
        words = b.inttoptr(call, WORDS)
        claimed, ranges, workers = (b.load(b.gep(words, [I64(k)])) for k in (2, 6, 7))
        claimed = b.inttoptr(claimed, WORDS)
        share = lambda w: b.udiv(b.mul(ranges, w), workers)

        def serve(turn):
            owner = b.urem(b.add(worker, turn), workers)
            first, end = share(owner), share(b.add(owner, I64(1)))
            counter = b.gep(claimed, [b.mul(owner, I64(LINE_WORDS))])
            claim, run, left = (b.append_basic_block(name) for name in ("claim", "run", "left"))
            b.branch(claim)
            b.position_at_end(claim)
            i = b.add(first, b.atomic_rmw("add", counter, I64(1), "monotonic"))
            b.cbranch(b.icmp_signed("<", i, end), run, left)
            b.position_at_end(run)
            b.call(self.range, [words, i])
            b.branch(claim)
            b.position_at_end(left)

        _count(b, I64(0), workers, serve)
        b.ret_void()
        return function

    def range_function(self):
        """void range(call, i): the kernel over the blocks of one range, with sums of its own."""
        function = _internal(self.module, "range", WORDS, I64)
        b, (words, i) = ir.IRBuilder(function.append_basic_block()), function.args
        kinds = [ir.VectorType(memory_type(x.dtype), self.width) for x in self.results]
        ins, outs, _, blocks, n, per, *_ = (b.load(b.gep(words, [I64(k)])) for k in range(8))
        ins, outs, returns = b.inttoptr(ins, WORDS), b.inttoptr(outs, WORDS), []
        if self.is_summing:
            table = [b.load(b.gep(outs, [I64(k)])) for k in range(len(kinds))]
            for room, k in enumerate(self.sums(range(len(kinds)))):
                own = b.alloca(kinds[k])  # not side by side with that of another thread
                b.store(ir.Constant(kinds[k], None), own)
                table[k] = b.ptrtoint(own, I64)
                rooms = b.inttoptr(b.load(b.gep(words, [I64(8 + room)])), kinds[k].as_pointer())
                returns.append((own, b.gep(rooms, [i])))
            outs = _table(b, table)
        first = b.mul(i, per)
        b.call(self.cells, [ins, outs, first, _smaller(b, b.add(first, per), blocks), n])
        for own, room in returns:
            b.store(b.load(own), room)
        b.ret_void()
        return function

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
        b.call(self.cells, [self.ins, self.outs, I64(0), I64(1), left])
        for outside, inside, size in returns:
            b.call(copy, [outside, inside, size, ir.IntType(1)(0)])
