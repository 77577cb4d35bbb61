"""Inner loops of the native procedural operators: one row redrawn, a block of draws at a time, in numba.

Imports numba, so import it only through `native.py`. Random words of a block are computed side by side (the loops
over LANES have constant length and vectorise) into stack memory, then turned into edges one by one. A row depends on
nothing but its number. The integers are those of `procedural_draws.py`.
"""

import numpy as np
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from .procedural_rules import EXTRA, FRACTION, INDEGREE, MIX, OUTDEGREE, PROBABILITY, ROUNDS, SEGMENTS, SPEC, TOTAL

THREEFRY_ROUNDS, ROTATIONS, PARITY = 13, ((13, 15, 26, 6), (17, 29, 16, 24)), 0x1BD11BDA
LANES = 32  # Threefry blocks computed side by side
ROOM = 256  # draws in one block, a multiple of 2 * LANES
GAPS = 64  # the same where rows end at random: few are made in vain
(KIND, K, N_TARGETS, FIRST_TARGET, FIRST_ROW, OWN, HAS_OWN, GAP_BITS, GAP_AT, DELAY_LOW, DELAY_COUNT, DELAY_BITS,
 DELAY_AT, LEFT_SIZE, RIGHT_SIZE, N_STUBS) = range(len(SPEC))  # fmt: skip
SCALE = 2.0**-FRACTION
ir = cgutils.ir


@intrinsic
def threefry2x32(typingctx, key0, key1, counter0, counter1):
    """The block function of `random.py` as straight 32-bit instructions, which LLVM vectorises."""
    word = types.uint32

    def codegen(context, builder, signature, args):
        const = ir.Constant
        key0, key1, x0, x1 = args
        i32 = key0.type
        keys = (key0, key1, builder.xor(builder.xor(key0, key1), const(i32, PARITY)))
        x0, x1 = builder.add(x0, keys[0]), builder.add(x1, keys[1])
        for i in range(THREEFRY_ROUNDS):
            turn = ROTATIONS[i // 4 % 2][i % 4]
            x0 = builder.add(x0, x1)
            x1 = builder.or_(builder.shl(x1, const(i32, turn)), builder.lshr(x1, const(i32, 32 - turn)))
            x1 = builder.xor(x1, x0)
            if i % 4 == 3:
                step = i // 4 + 1
                x0 = builder.add(x0, keys[step % 3])
                x1 = builder.add(builder.add(x1, keys[(step + 1) % 3]), const(i32, step))
        return context.make_tuple(builder, signature.return_type, (x0, x1))

    return types.UniTuple(word, 2)(word, word, word, word), codegen


@intrinsic
def leading_zeros(typingctx, word):
    """Number of leading zero bits of a uint32 that is not zero."""

    def codegen(context, builder, signature, args):
        return builder.ctlz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.uint32(types.uint32), codegen


@njit(error_model="numpy", inline="always")
def mixed(x):
    x = np.uint32((x ^ (x >> np.uint32(16))) * np.uint32(MIX[0]))
    x = np.uint32((x ^ (x >> np.uint32(15))) * np.uint32(MIX[1]))
    return np.uint32(x ^ (x >> np.uint32(16)))


@njit(error_model="numpy", inline="always")
def high_product(a, b):
    return np.uint32(np.uint64(a) * np.uint64(b) >> np.uint64(32))


@njit(error_model="numpy", inline="always")
def quotient(x, divisor, reciprocal):
    """x // divisor for x < 2**31, from floor((2**32 - 1) / divisor): no division, so that loops vectorise."""
    guess = high_product(x, reciprocal)
    return np.uint32(guess + np.uint32(np.uint32(x - guess * divisor) >= divisor))


@njit(error_model="numpy", inline="always")
def moved(half, other, key, size):
    """One round of the Feistel network: half plus a hash of the other half, modulo the size of the half."""
    half = np.uint32(half + high_product(mixed(np.uint32(other ^ key)), size))
    return np.uint32(half - size * np.uint32(half >= size))


@njit(error_model="numpy")
def permuted(x, round_keys, left_size, right_size, reciprocal):
    """One pass of the Feistel network over left_size x right_size numbers."""
    left = quotient(x, right_size, reciprocal)
    right = np.uint32(x - left * right_size)
    for i in range(0, ROUNDS, 2):
        left = moved(left, right, round_keys[i], left_size)
        right = moved(right, left, round_keys[i + 1], right_size)
    return np.uint32(left * right_size + right)


@njit(error_model="numpy", inline="always")
def from_table(tables, where, bits, index_word, threshold_word):
    """Entry of an alias table; both are loaded before the choice, which is then no branch."""
    entry = np.int64(index_word >> np.uint32(32 - bits))
    pair = np.int64(where) + 2 * entry
    threshold, other = tables[pair], np.int64(tables[pair + 1])
    return other + (entry - other) * np.int64(threshold_word < threshold)


@njit(error_model="numpy")
def draw_uniform(targets, start, count, row, key0, key1, own, available):
    """targets[i] for the draws from `start` on: uniform among all but the own cell."""
    n = np.uint64(available)
    for group in range(0, count, 2 * LANES):
        block = np.uint32((start + group) >> 1)
        for lane in range(LANES):
            x0, x1 = threefry2x32(key0, key1, row, np.uint32(block + np.uint32(lane)))
            a, b = np.int32((np.uint64(x0) * n) >> 32), np.int32((np.uint64(x1) * n) >> 32)
            targets[group + 2 * lane] = a + np.int32(a >= own)
            targets[group + 2 * lane + 1] = b + np.int32(b >= own)


@njit(error_model="numpy")
def random_words(first, second, counter, count, row, key0, key1):
    """Both words of the blocks counter ... counter + count - 1, rounded up to LANES."""
    for group in range(0, count, LANES):
        start = np.uint32(counter + np.uint32(group))
        for lane in range(LANES):
            x0, x1 = threefry2x32(key0, key1, row, np.uint32(start + np.uint32(lane)))
            first[group + lane] = x0
            second[group + lane] = x1


@njit(error_model="numpy")
def draw_gaps(targets, words, others, tables, spec, own, position):
    """(number of draws, position behind them): skips over the targets, -1 for draws that are no edge."""
    bits, where, n = spec[GAP_BITS], spec[GAP_AT], np.int64(spec[N_TARGETS])
    last = (np.int64(1) << bits) - 1
    for i in range(GAPS):
        gap = from_table(tables, where, bits, words[i], others[i])
        target = position + gap
        if target >= n:
            return i, n
        targets[i] = np.int32(-1) if gap == last or target == own else np.int32(target)
        position = target + np.int64(gap < last)
    return GAPS, position


@njit(error_model="numpy")
def deal(targets, lefts, rights, start, count, first, round_keys, spec):
    """Targets of the ends that belong to a row; False where the row reaches beyond the last end."""
    left_size, right_size = np.uint32(spec[LEFT_SIZE]), np.uint32(spec[RIGHT_SIZE])
    n, k, begin = np.uint32(spec[N_STUBS]), np.uint32(spec[K]), np.int64(first) + start
    if begin + count > np.int64(n):
        return False
    reciprocal, per_target = np.uint32(0xFFFFFFFF // right_size), np.uint32(0xFFFFFFFF // k)
    padded = (count + LANES - 1) // LANES * LANES
    for i in range(padded):  # round by round over all ends, so that each loop vectorises
        lefts[i] = quotient(np.uint32(begin + i), right_size, reciprocal)
        rights[i] = np.uint32(np.uint32(begin + i) - lefts[i] * right_size)
    for turn in range(0, ROUNDS, 2):
        for i in range(padded):
            lefts[i] = moved(lefts[i], rights[i], round_keys[turn], left_size)
            rights[i] = moved(rights[i], lefts[i], round_keys[turn + 1], right_size)
    for i in range(padded):
        lefts[i] = np.uint32(lefts[i] * right_size + rights[i])
    for i in range(count):
        while lefts[i] >= n:  # rare: the network is hardly larger than n
            lefts[i] = permuted(lefts[i], round_keys, left_size, right_size, reciprocal)
        targets[i] = np.int32(quotient(lefts[i], k, per_target))
    return True


@njit(error_model="numpy")
def normals_of(words, tables, count):
    """Normal numbers (as integers) in place of random words."""
    for i in range(count):
        word = words[i]
        u = np.uint32(word & np.uint32(0x7FFFFFFF))
        shift = np.uint32(np.uint32(31 - SEGMENTS) - leading_zeros(np.uint32(u | np.uint32(1 << SEGMENTS))))
        node = np.int64(np.uint32(shift << np.uint32(SEGMENTS)) + np.uint32(u >> shift))
        part = np.uint32(np.uint32(np.uint32(u << np.uint32(31 - shift)) << np.uint32(1)) >> np.uint32(16))
        high, low = tables[node], tables[node + 1]
        z = np.uint32(high - np.uint32(np.uint32(np.uint32(high - low) * part) >> np.uint32(16)))
        sign = np.uint32(0) - np.uint32(word >> np.uint32(31))
        words[i] = np.uint32(np.uint32(z ^ np.uint32(sign)) - np.uint32(sign))


@njit(error_model="numpy")
def delays_of(words, tables, spec, count):
    """Delays in place of random words."""
    low, n, bits, where = spec[DELAY_LOW], np.uint32(spec[DELAY_COUNT]), spec[DELAY_BITS], spec[DELAY_AT]
    if bits == 0:
        for i in range(count):
            words[i] = np.uint32(low + high_product(words[i], n))
    else:
        for i in range(count):
            second = np.uint32(words[i] << np.uint32(bits))
            words[i] = np.uint32(low + from_table(tables, where, bits, words[i], second))


@njit(error_model="numpy")
def draw_extras(with_normal, words, others, tables, spec, start, count, row, key0, key1):
    """The normal numbers (as integers, where they are wanted) and delays of a block, into `words` and `others`."""
    random_words(words, others, np.uint32(start) | np.uint32(EXTRA), count, row, key0, key1)
    if with_normal:
        normals_of(words, tables, count)
    if spec[DELAY_COUNT] > 0:
        delays_of(others, tables, spec, count)
    else:
        for i in range(count):
            others[i] = np.uint32(0)


@njit(error_model="numpy", inline="always")
def wrapped(slot, delay, n_slots):
    """(slot + delay) % n_slots; only delays beyond the ring wait for the slow modulo."""
    place = slot + np.int64(delay)
    place -= n_slots * np.int64(place >= n_slots)
    return place if place < n_slots else place % n_slots


@njit(error_model="numpy")
def draw_block(scratch, graph, row, index, start, length, own, available, position):
    """One block of draws of a row into scratch: (draws used or -1, draws made, position, whether the row has ended)."""
    targets, words, others, round_keys = scratch
    spec, tables, starts, key0, key1 = graph
    if spec[KIND] == PROBABILITY:
        random_words(words, others, np.uint32(start), GAPS, row, key0, key1)
        count, position = draw_gaps(targets, words, others, tables, spec, own, position)
        return count, GAPS, position, count < GAPS or position >= spec[N_TARGETS]
    count = min(ROOM, length - start)
    if spec[KIND] == INDEGREE:
        if not deal(targets, words, others, start, count, starts[index], round_keys, spec):
            return -1, ROOM, position, True
    else:
        draw_uniform(targets, start, count, row, key0, key1, own, available)
    return count, ROOM, position, start + ROOM >= length


@njit(error_model="numpy")
def begin_row(graph, index):
    """(number of the row, its length, the target that is its own cell or n, number of targets it may have)."""
    spec, _, starts, _, _ = graph
    row, n, length = np.int64(spec[FIRST_ROW]) + index, np.int64(spec[N_TARGETS]), np.int64(spec[K])
    own = row + spec[OWN] if spec[HAS_OWN] != 0 else n
    own = n if own < 0 or own >= n else own
    available = n - np.int64(own < n)
    if spec[KIND] == TOTAL or spec[KIND] == INDEGREE:
        length = np.int64(np.uint32(starts[index + 1] - starts[index]))
    elif spec[KIND] == PROBABILITY:
        length = n
    if available <= 0 and (spec[KIND] == TOTAL or spec[KIND] == OUTDEGREE):
        length = np.int64(0)
    return np.uint32(row), length, own, available


@njit(error_model="numpy")
def scatter_row(index, value, w0, w1, with_normal, scratch, graph, slot, n_slots, n_post, out):
    """Add what one row sends; False where `starts` does not fit."""
    targets, words, others, _ = scratch
    spec, tables, _, key0, key1 = graph
    row, length, own, available = begin_row(graph, index)
    first, start, position, ended = np.int64(spec[FIRST_TARGET]), np.int64(0), np.int64(0), length <= 0
    amount = value * w0
    while not ended:
        count, made, position, ended = draw_block(scratch, graph, row, index, start, length, own, available, position)
        if count < 0:
            return False
        if not with_normal and spec[DELAY_COUNT] == 0:
            base = slot * n_post + first
            for i in range(count):
                if targets[i] >= 0:
                    out[base + targets[i]] += amount
        else:
            draw_extras(with_normal, words, others, tables, spec, start, count, row, key0, key1)
            for i in range(count):
                if targets[i] >= 0:
                    w = w0 + w1 * (type(value)(np.int32(words[i])) * type(value)(SCALE)) if with_normal else w0
                    place = wrapped(slot, others[i], n_slots)
                    out[place * n_post + first + targets[i]] += value * w
        start += made
    return True


@njit(error_model="numpy")
def row_sums(index, zero, x, with_normal, scratch, graph, slot, n_slots, n_post):
    """(sum of x over the edges of one row, the same times their normal numbers, whether `starts` fits)."""
    targets, words, others, _ = scratch
    spec, tables, _, key0, key1 = graph
    row, length, own, available = begin_row(graph, index)
    first, start, position, ended = np.int64(spec[FIRST_TARGET]), np.int64(0), np.int64(0), length <= 0
    total, moment = zero, zero
    while not ended:
        count, made, position, ended = draw_block(scratch, graph, row, index, start, length, own, available, position)
        if count < 0:
            return total, moment, False
        if not with_normal and spec[DELAY_COUNT] == 0:
            base = slot * n_post + first
            for i in range(count):
                if targets[i] >= 0:
                    total += x[base + targets[i]]
        else:
            draw_extras(with_normal, words, others, tables, spec, start, count, row, key0, key1)
            for i in range(count):
                if targets[i] >= 0:
                    place = wrapped(slot, others[i], n_slots)
                    value = x[place * n_post + first + targets[i]]
                    total += value
                    if with_normal:
                        moment += value * (type(zero)(np.int32(words[i])) * type(zero)(SCALE))
        start += made
    return total, moment, True
