"""Blocks of random numbers as LLVM IR on vectors, for the numba handler of `random_kernels.py`.

Imports numba, so import it only through `random_native.py`. Vectors of 16 lanes are written out, since the vectoriser
finds none in the promoted integers of numba; LLVM splits them into the registers of the machine.
"""

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from . import normal_table as nt
from . import poisson_table as pt
from .threefry import LANES, PARITY, ROTATIONS, ROUNDS

ir = cgutils.ir
I16, I32, I64, F32, F64 = ir.IntType(16), ir.IntType(32), ir.IntType(64), ir.FloatType(), ir.DoubleType()
BLOCKS = 4  # of the hash, two vectors each: a group
GROUP = 2 * LANES * BLOCKS  # entities


def lanes(element):
    return ir.VectorType(element, LANES)


def const(element, x):
    return ir.Constant(lanes(element), [ir.Constant(element, x)] * LANES)


def splat(b, scalar):
    """A scalar in every lane."""
    start = b.insert_element(ir.Constant(lanes(scalar.type), ir.Undefined), scalar, I32(0))
    return b.shuffle_vector(start, ir.Constant(start.type, ir.Undefined), ir.Constant(lanes(I32), [I32(0)] * LANES))


def place(b, address, offset, kind):
    """Pointer to a value of type `kind`, `offset` bytes behind an address."""
    return b.inttoptr(b.add(address, offset if isinstance(offset, ir.Value) else I64(offset)), kind.as_pointer())


def call(b, name, *operands):
    """An LLVM intrinsic that keeps the type of its operands."""
    kind = operands[0].type
    element = {F32: "f32", F64: "f64", I32: "i32", I64: "i64"}[kind.element]
    name = f"llvm.{name}.v{LANES}{element}"
    function = b.module.globals.get(name) or ir.Function(b.module, ir.FunctionType(kind, [kind] * len(operands)), name)
    return b.call(function, operands)


def threefry(b, key0, key1, starts, step):
    """Both words of the counters (start + lane, step), for every start: chains side by side, which hide latencies."""
    keys = [splat(b, key0), splat(b, key1)]
    keys.append(b.xor(b.xor(*keys), const(I32, PARITY)))
    first = b.add(ir.Constant(lanes(I32), [I32(i) for i in range(LANES)]), keys[0])
    x0, x1 = [b.add(splat(b, start), first) for start in starts], [b.add(splat(b, step), keys[1])] * len(starts)
    for i in range(ROUNDS):
        distance = const(I32, ROTATIONS[i // 4 % 2][i % 4])
        x0 = [b.add(*pair) for pair in zip(x0, x1)]
        x1 = [b.xor(call(b, "fshl", y, y, distance), x) for x, y in zip(x0, x1)]
        if i % 4 == 3:
            turn = i // 4 + 1
            second = b.add(keys[(turn + 1) % 3], const(I32, turn))
            x0, x1 = [b.add(x, keys[turn % 3]) for x in x0], [b.add(x, second) for x in x1]
    return list(zip(x0, x1))


def looked_up(b, address, cell, element, size, offset=0):
    """The element at `offset` bytes in the entry of `size` bytes of every lane: loads, which beat the gather here."""
    found = ir.Constant(lanes(element), ir.Undefined)
    for i in range(LANES):
        at = b.add(b.mul(b.zext(b.extract_element(cell, I32(i)), I64), I64(size)), I64(offset))
        found = b.insert_element(found, b.load(place(b, address, at, element)), I32(i))
    return found


def machine(b, name, result, *arguments):
    """An LLVM intrinsic of x86-64, by the rest of its name."""
    name = f"llvm.x86.{name}"
    return b.module.globals.get(name) or ir.Function(b.module, ir.FunctionType(result, arguments), name)


def permuted(b, low, high, index):
    """Elements of a table of 32 integers in two registers, by the five low bits of the index (AVX-512)."""
    function = machine(b, "avx512.vpermi2var.d.512", *[low.type] * 4)
    return b.call(function, [low, index, high])


def uniform32(b, word):
    number = b.sitofp(b.lshr(word, const(I32, 8)), lanes(F32))
    return b.fmul(number, const(F32, 2.0**-24))


def uniform64(b, high, low):
    upper = b.sitofp(b.lshr(high, const(I32, 5)), lanes(F64))
    lower = b.sitofp(b.lshr(low, const(I32, 6)), lanes(F64))
    return b.fmul(b.fadd(b.fmul(upper, const(F64, 2.0**26)), lower), const(F64, 2.0**-53))


def normal64(b, high, low, table):
    """As `normal_table.normal64`."""
    kind, part = lanes(I64), const(I64, 2**32 - 1)
    word = b.or_(b.shl(b.zext(high, kind), const(I64, 32)), b.zext(low, kind))
    u = b.fadd(b.sitofp(b.and_(word, const(I64, 2**63 - 1)), lanes(F64)), const(F64, 0.5))
    bits = b.bitcast(u, kind)
    cell = b.sub(b.lshr(bits, const(I64, 52 - nt.CELL_BITS)), const(I64, nt.OFFSET64))
    cell = b.trunc(cell, lanes(I32))
    t = b.and_(b.lshr(bits, const(I64, 20 - nt.CELL_BITS)), part)
    start, first, second = (looked_up(b, table, cell, I64, 24, 8 * i) for i in range(3))
    total = b.and_(second, part)
    for c in (b.lshr(second, const(I64, 32)), b.and_(first, part), b.lshr(first, const(I64, 32))):
        total = b.sub(c, b.lshr(b.mul(total, t), const(I64, nt.TERM_SHIFT64)))
    z = b.sitofp(b.sub(start, b.lshr(b.mul(total, t), const(I64, nt.SHIFT64))), lanes(F64))
    bits = b.bitcast(b.fmul(z, const(F64, 2.0**-nt.POINT64)), kind)
    return b.bitcast(b.xor(bits, b.and_(word, const(I64, 2**63))), lanes(F64))


def has(context, *names):
    """Whether the code is for an x86-64 machine with these features."""
    return {f"+{name}" for name in names} <= set(context.codegen().magic_tuple()[2].split(","))


def has_avx512(context):
    """Whether registers hold 16 lanes and small tables."""
    return has(context, "avx512f", "avx512bw")


def words_of_group(context, b, key0, key1, step, number):
    """The words of entities 128 number ... 128 number + 127 in vectors, in batches: [(offset in bytes, word), ...]."""
    first = b.mul(b.trunc(number, I32), I32(LANES * BLOCKS))
    side = BLOCKS if has_avx512(context) else 2  # elsewhere two blocks fill the registers
    for i in range(0, BLOCKS, side):
        pairs = threefry(b, key0, key1, [b.add(first, I32(LANES * (i + j))) for j in range(side)], step)
        words = [word for pair in pairs for word in pair]
        yield [(4 * LANES * (2 * i + j), word) for j, word in enumerate(words)]


def _narrow(form):
    """Intrinsic (key0, key1, step, group, out): numbers of entities 128 group ... 128 group + 127."""

    def group(typingctx, key0, key1, step, number, out):
        def codegen(context, b, signature, args):
            key0, key1, step, number, out = args
            for batch in words_of_group(context, b, key0, key1, step, number):
                for offset, word in batch:
                    value = form(b, word)
                    b.store(value, place(b, out, offset, value.type), align=4)
            return context.get_dummy_value()

        u32 = types.uint32
        return types.void(u32, u32, u32, types.int64, types.int64), codegen

    return intrinsic(group)


def _wide(form):
    """Intrinsic (key0, key1, step, block, table, out): numbers of entities 16 block ... 16 block + 15."""

    def block(typingctx, key0, key1, step, number, table, out):
        def codegen(context, b, signature, args):
            key0, key1, step, number, table, out = args
            (pair,) = threefry(b, key0, key1, [b.mul(b.trunc(number, I32), I32(LANES))], step)
            value = form(b, *pair, table)
            b.store(value, place(b, out, 0, value.type), align=8)
            return context.get_dummy_value()

        u32 = types.uint32
        return types.void(u32, u32, u32, types.int64, types.int64, types.int64), codegen

    return intrinsic(block)


def _paired(b, high, low, table):
    """Both words of every entity, one behind the other."""
    order = ir.Constant(ir.VectorType(I32, 2 * LANES), [I32(i // 2 + LANES * (i % 2)) for i in range(2 * LANES)])
    return b.shuffle_vector(high, low, order)


word_group = _narrow(lambda b, word: word)
uniform_group = _narrow(uniform32)
pair_block = _wide(_paired)
uniform64_block = _wide(lambda b, high, low, table: uniform64(b, high, low))
normal64_block = _wide(normal64)


@intrinsic
def threshold_group(typingctx, key0, key1, step, number, tails, n_tails, out):
    """Poisson counts of 128 entities at one rate: how many of the falling thresholds are above each word."""

    def codegen(context, b, signature, args):
        key0, key1, step, number, tails, n_tails, out = args
        for batch in words_of_group(context, b, key0, key1, step, number):
            counts = [cgutils.alloca_once_value(b, ir.Constant(lanes(I32), None)) for _ in batch]
            with cgutils.for_range(b, n_tails) as loop:
                tail = splat(b, b.load(place(b, tails, b.mul(loop.index, I64(4)), I32)))
                for (_, word), count in zip(batch, counts):
                    below = b.icmp_unsigned("<", word, tail)
                    b.store(b.sub(b.load(count), b.sext(below, lanes(I32))), count)
            for (offset, _), count in zip(batch, counts):
                b.store(b.load(count), place(b, out, offset, lanes(I32)), align=4)
        return context.get_dummy_value()

    u32, i64 = types.uint32, types.int64
    return types.void(u32, u32, u32, i64, i64, i64, i64), codegen


def _start(b, rate, table):
    """exp(-rate) 2**32, as in `poisson_table`."""
    fixed = b.fptosi(b.fmul(rate, const(F32, 2.0**pt.FINE)), lanes(I32))
    low = b.sitofp(b.and_(fixed, const(I32, 2**pt.LOW - 1)), lanes(F32))
    low = b.fsub(const(F32, 1.0), b.fmul(low, const(F32, 2.0**-pt.FINE)))
    leading = looked_up(b, table, b.lshr(fixed, const(I32, pt.LOW + pt.MIDDLE)), F32, 4)
    middle = b.and_(b.lshr(fixed, const(I32, pt.LOW)), const(I32, 2**pt.MIDDLE - 1))
    following = looked_up(b, table, middle, F32, 4, 4 * len(pt.exponentials()[0]))
    return b.fmul(b.fmul(leading, following), low)


def any_lane(b, condition):
    """True where one lane is."""
    return b.icmp_unsigned("!=", b.bitcast(condition, ir.IntType(LANES)), ir.IntType(LANES)(0))


def _terms(b, rate, start, inverses, body):
    """Run body(p(j) 2**32 rounded, block to leave to) for j = 1, 2, ... until it leaves, or the table ends."""
    j, mass = cgutils.alloca_once_value(b, I64(1)), cgutils.alloca_once_value(b, start)
    loop, end = b.append_basic_block("term"), b.append_basic_block("summed")
    b.branch(loop)
    b.position_at_end(loop)
    now = b.load(j)
    ratio = b.fmul(rate, splat(b, b.load(place(b, inverses, b.mul(now, I64(4)), F32))))
    moved = b.fmul(b.load(mass), ratio)
    b.store(moved, mass)
    more = body(moved, b.fptosi(call(b, "rint", moved), lanes(I32)))
    following = b.add(now, I64(1))
    b.store(following, j)
    b.cbranch(b.and_(more, b.icmp_signed("<", following, I64(pt.TERMS))), loop, end)
    b.position_at_end(end)


@intrinsic
def rates_lanes(typingctx, words, rates, highest, table, out):
    """Poisson counts of 16 entities for what their rates leave over whole multiples of 8, as `poisson_table._small`.

    words, rates, table (`poisson_table.constants`) and out are addresses; rates outside [0, highest) count as 0.
    """

    def codegen(context, b, signature, args):
        words, rates, highest, table, out = args
        word = b.load(place(b, words, 0, lanes(I32)), align=4)
        rate = b.load(place(b, rates, 0, lanes(F32)), align=4)
        nothing = ir.Constant(lanes(F32), None)
        valid = b.and_(b.fcmp_ordered(">=", rate, nothing), b.fcmp_ordered("<", rate, splat(b, highest)))
        rate = b.select(valid, rate, nothing)
        whole = b.and_(b.fptosi(rate, lanes(I32)), const(I32, -int(pt.SPLIT)))
        rate = b.fsub(rate, b.sitofp(whole, lanes(F32)))
        inverses = b.add(table, I64(4 * sum(map(len, pt.exponentials()))))
        start = _start(b, rate, table)
        zero = ir.Constant(lanes(I32), None)
        tail, count = cgutils.alloca_once_value(b, zero), cgutils.alloca_once_value(b, zero)

        def add(mass, rounded):
            b.store(b.add(b.load(tail), rounded), tail)
            return any_lane(b, b.fcmp_ordered(">=", mass, const(F32, 0.5)))  # p(j) rises before it falls

        def compare(mass, rounded):
            below = b.icmp_unsigned("<", word, b.load(tail))
            b.store(b.sub(b.load(count), b.sext(below, lanes(I32))), count)
            b.store(b.sub(b.load(tail), rounded), tail)
            return any_lane(b, below)

        _terms(b, rate, start, inverses, add)
        _terms(b, rate, start, inverses, compare)
        b.store(b.load(count), place(b, out, 0, lanes(I32)), align=4)
        return context.get_dummy_value()

    i64 = types.int64
    return types.void(i64, i64, types.float32, i64, i64), codegen


def _sampled(b, word, samples):
    """How many of the first 31 of 32 falling numbers are above each word, out of registers (AVX-512)."""
    tables = [b.load(place(b, samples, 4 * LANES * i, lanes(I32)), align=4) for i in range(2)]
    found = ir.Constant(lanes(I32), None)
    for step in (16, 8, 4, 2, 1):
        number = permuted(b, *tables, b.add(found, const(I32, step - 1)))
        found = b.select(b.icmp_unsigned("<", word, number), b.add(found, const(I32, step)), found)
    return found


@intrinsic
def row_lanes(typingctx, words, entries, samples, length, first, out):
    """Add to 16 counts at `out` what a row of falling thresholds gives for 16 words: first + how many are above.

    A bisection: every step halves how many entries are left, and moves the lanes whose word is below the middle one.
    With AVX-512 the first five steps are among every n-th entry, at `samples`, with n = length // 32 + 1.
    """

    def codegen(context, b, signature, args):
        words, entries, samples, length, first, out = args
        word = b.load(place(b, words, 0, lanes(I32)), align=4)
        start = ir.Constant(lanes(I32), None)
        if has_avx512(context):
            stride = b.add(b.lshr(length, I32(5)), I32(1))
            start, length = b.mul(_sampled(b, word, samples), splat(b, stride)), b.sub(stride, I32(1))
        found, left = cgutils.alloca_once_value(b, start), cgutils.alloca_once_value(b, length)
        test, step, end = (b.append_basic_block(name) for name in ("test", "step", "found"))
        b.branch(test)
        b.position_at_end(test)
        b.cbranch(b.icmp_signed(">", b.load(left), I32(0)), step, end)
        b.position_at_end(step)
        half = b.lshr(b.add(b.load(left), I32(1)), I32(1))  # the last step looks at one entry
        middle = b.sub(b.add(b.load(found), splat(b, half)), const(I32, 1))
        below = b.icmp_unsigned("<", word, looked_up(b, entries, middle, I32, 4))
        moved = b.select(below, splat(b, half), ir.Constant(lanes(I32), None))
        b.store(b.add(b.load(found), moved), found)
        b.store(b.sub(b.load(left), half), left)
        b.branch(test)
        b.position_at_end(end)
        counts = place(b, out, 0, lanes(I32))
        b.store(b.add(b.load(counts, align=4), b.add(b.load(found), splat(b, first))), counts, align=4)
        return context.get_dummy_value()

    i32, i64 = types.int32, types.int64
    return types.void(i64, i64, i64, i32, i32, i64), codegen
