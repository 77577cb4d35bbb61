"""Native CPU form of the random numbers: one numba function that is a typed XLA FFI handler, for all kinds.

Imports numba, so import it only through `random_native.py`. A range [low, high) of entities is filled group by group
by one thread. Large calls are split at multiples of 128 into ranges: a number depends on its entity alone, not on its
range.

Operands: key (b, 2) uint32, step (b,) uint32, rate (b, 1 or n) float32, kind (1,) uint32, table and levels uint32; b is
the batch or 1. The result is (batch, n), for pairs (batch, n, 2).
"""

import numpy as np
from numba import njit

from . import poisson_table as pt
from .call_frame import (
    ARGUMENTS,
    RESULTS,
    address_of,
    answered_metadata_query,
    at,
    buffer,
    dim,
    last,
    new_error,
    on_stack,
    parallel_loop,
)
from .normal_lanes import fill_normal
from .random_lanes import (
    GROUP,
    normal64_block,
    pair_block,
    rates_lanes,
    row_lanes,
    threshold_group,
    uniform64_block,
    uniform_group,
    word_group,
)
from .threefry import LANES

WORD, UNIFORM, NORMAL, PAIR, UNIFORM64, NORMAL64, POISSON, POISSON_WIDE = range(8)
SPLIT, HIGHEST, TERMS, DIGITS = np.float32(pt.SPLIT), np.float32(pt.HIGHEST), pt.TERMS, pt.DIGITS
SAMPLES = pt.SAMPLES
N_LEADING, N_FOLLOWING = (len(table) for table in pt.exponentials())
FINE, LOW, MIDDLE = np.float32(2.0**pt.FINE), pt.LOW, pt.MIDDLE
STREAM0, STREAM1, STREAM2 = (np.uint32(s) for s in pt.STREAMS)
N_ROWS = 3 * 3 * pt.DIGITS
RANGE, SPLIT_CALL = 4096, 32768  # entities: of a range, and in a call that is worth several threads
FRAME, PER, RANGES_EACH, PER_TASK, N_RANGES, N_WORDS = range(6)  # words that the tasks read


@njit(error_model="numpy")
def fill_groups(kind, key0, key1, step, table, out, first, end):
    """Numbers of 32 bits of the entities 128 first ... 128 end - 1; a loop per kind keeps constants in registers."""
    if kind == WORD:
        for number in range(first, end):
            word_group(key0, key1, step, number, out + 4 * GROUP * (number - first))
    elif kind == UNIFORM:
        for number in range(first, end):
            uniform_group(key0, key1, step, number, out + 4 * GROUP * (number - first))
    else:
        fill_normal(key0, key1, step, table, out, first, end)


@njit(error_model="numpy")
def fill_blocks(kind, key0, key1, step, table, out, first, end):
    """Numbers of 64 bits of the entities 16 first ... 16 end - 1."""
    for number in range(first, end):
        target = out + 8 * LANES * (number - first)
        if kind == PAIR:
            pair_block(key0, key1, step, number, table, target)
        elif kind == UNIFORM64:
            uniform64_block(key0, key1, step, number, table, target)
        else:
            normal64_block(key0, key1, step, number, table, target)


@njit(error_model="numpy")
def copy(source, target, n_bytes):
    a, b = at(source, 0, np.uint8), at(target, 0, np.uint8)
    for i in range(n_bytes):
        b[i] = a[i]


@njit(error_model="numpy")
def fill_some(kind, key0, key1, step, table, out, first, end):
    if kind >= PAIR:
        fill_blocks(kind, key0, key1, step, table, out, first, end)
    else:
        fill_groups(kind, key0, key1, step, table, out, first, end)


@njit(error_model="numpy")
def fill(kind, key0, key1, step, table, out, low, high):
    """Numbers of the entities low ... high - 1 into the array at `out`; low is a multiple of 128."""
    per, size = (LANES, 8) if kind >= PAIR else (GROUP, 4)
    first, end = low // per, high // per
    fill_some(kind, key0, key1, step, table, out + low * size, first, end)
    if end * per < high:
        spare = address_of(on_stack(GROUP, np.uint32))
        fill_some(kind, key0, key1, step, table, spare, end, end + 1)
        copy(spare, out + end * per * size, (high - end * per) * size)


@njit(error_model="numpy")
def thresholds(rate, table, tails):
    """2**32 P(count > k) of one rate below 8 into the uint32 array at `tails`; how many are not 0."""
    leading, following = at(table, 0, np.float32), at(table, N_LEADING, np.float32)
    inverse = at(table, N_LEADING + N_FOLLOWING, np.float32)
    place = np.int64(rate * FINE)
    low = np.float32(1) - np.float32(place & (2**LOW - 1)) / FINE
    mass = leading[place >> (LOW + MIDDLE)] * following[(place >> LOW) & (2**MIDDLE - 1)] * low
    out = at(tails, 0, np.uint32)
    n = 0
    for j in range(1, TERMS):
        mass = mass * (rate * inverse[j])
        rounded = np.int64(np.rint(mass))
        out[j - 1] = np.uint32(rounded)
        n = j if rounded > 0 else n
    total = np.int64(0)
    for j in range(n, 0, -1):
        total += out[j - 1]
        out[j - 1] = np.uint32(total)
    return n


@njit(error_model="numpy")
def search(word, levels, row):
    """Count of one word in a row of the tables of whole parts: a bisection without branches on the word."""
    head = at(levels, 3 * row, np.int32)
    entries = at(levels, N_ROWS + head[1], np.uint32)
    found, left = np.int64(0), np.int64(head[2])
    while left > 1:
        half = left >> 1
        found += half if word < entries[found + half - 1] else 0
        left -= half
    if left == 1 and word < entries[found]:
        found += 1
    return np.int32(head[0] + found)


@njit(error_model="numpy")
def add_level(level, stream, key0, key1, step, rates, levels, out, number, count):
    """Add the counts of one digit of the whole parts of the entities 128 number ... + count - 1."""
    digits = 0
    for i in range(count):
        rate = rates[GROUP * number + i]
        if rate >= SPLIT and rate < HIGHEST:
            digits |= (np.int64(rate) >> 3 >> (4 * level)) & (DIGITS - 1)
    if digits == 0:
        return
    spare = address_of(on_stack(GROUP, np.uint32))
    word_group(key0 ^ stream, key1, step, number, spare)
    words = at(spare, 0, np.uint32)
    for i in range(count):
        rate = rates[GROUP * number + i]
        if rate >= SPLIT and rate < HIGHEST:
            digit = (np.int64(rate) >> 3 >> (4 * level)) & (DIGITS - 1)
            out[GROUP * number + i] += search(words[i], levels, DIGITS * level + digit)


@njit(error_model="numpy")
def add_whole(key0, key1, step, rates, levels, out, low, high):
    """Add the counts of the whole parts of rates of 8 and more."""
    for number in range(low // GROUP, (high + GROUP - 1) // GROUP):
        count = min(GROUP, high - GROUP * number)
        add_level(0, STREAM0, key0, key1, step, rates, levels, out, number, count)
        add_level(1, STREAM1, key0, key1, step, rates, levels, out, number, count)
        add_level(2, STREAM2, key0, key1, step, rates, levels, out, number, count)


@njit(error_model="numpy")
def small_part(rate):
    """What a valid rate leaves over whole multiples of 8."""
    return rate - np.float32((np.int64(rate) >> 3) << 3)


@njit(error_model="numpy")
def add_row(key0, key1, step, levels, row, out, low, high):
    """Add the counts of one row of the tables of whole parts to those of the entities low ... high - 1."""
    head = at(levels, 3 * row, np.int32)
    entries = address_of(at(levels, N_ROWS + head[1], np.uint32))
    words, spare = address_of(on_stack(GROUP, np.uint32)), address_of(on_stack(GROUP, np.uint32))
    samples = on_stack(SAMPLES, np.uint32)
    for i in range(SAMPLES):
        samples[i] = at(entries, (i + 1) * (head[2] // SAMPLES + 1) - 1, np.uint32)[0]
    for number in range(low // GROUP, (high + GROUP - 1) // GROUP):
        count = min(GROUP, high - GROUP * number)
        target = out + 4 * GROUP * number
        if count < GROUP:
            copy(target, spare, 4 * count)
        word_group(key0, key1, step, number, words)
        for part in range(0, 4 * count, 4 * LANES):
            into = (spare if count < GROUP else target) + part
            row_lanes(words + part, entries, address_of(samples), head[2], head[0], into)
        if count < GROUP:
            copy(spare, target, 4 * count)


@njit(error_model="numpy")
def add_rows(key0, key1, step, rate, levels, out, low, high):
    """Add the counts of the whole parts of one rate in [8, 32768)."""
    whole = np.int64(rate) >> 3
    for level in range(3):
        digit = (whole >> (4 * level)) & (DIGITS - 1)
        if digit > 0:
            stream = STREAM0 if level == 0 else STREAM1 if level == 1 else STREAM2
            add_row(key0 ^ stream, key1, step, levels, DIGITS * level + digit, out, low, high)


@njit(error_model="numpy")
def fill_one_rate(key0, key1, step, rate, table, out, low, high):
    """Counts at one rate in [0, 8)."""
    tails, spare = address_of(on_stack(64, np.uint32)), address_of(on_stack(GROUP, np.uint32))
    n_tails = thresholds(rate, table, tails)
    for number in range(low // GROUP, high // GROUP):
        threshold_group(key0, key1, step, number, tails, n_tails, out + 4 * GROUP * number)
    whole = high // GROUP * GROUP
    if whole < high:
        threshold_group(key0, key1, step, whole // GROUP, tails, n_tails, spare)
        copy(spare, out + 4 * whole, 4 * (high - whole))


@njit(error_model="numpy")
def fill_rates(key0, key1, step, rates, highest, table, out, low, high):
    """Counts at one rate per entity, of what is left over whole multiples of 8."""
    words, parts = address_of(on_stack(GROUP, np.uint32)), address_of(on_stack(GROUP, np.float32))
    spare = address_of(on_stack(GROUP, np.uint32))
    for number in range(low // GROUP, (high + GROUP - 1) // GROUP):
        count = min(GROUP, high - GROUP * number)
        rate, target = address_of(rates) + 4 * GROUP * number, out + 4 * GROUP * number
        if count < GROUP:
            copy(rate, parts, 4 * count)
            rate, target = parts, spare
        word_group(key0, key1, step, number, words)
        for part in range(0, 4 * count, 4 * LANES):
            rates_lanes(words + part, rate + part, highest, table, target + part)
        if count < GROUP:
            copy(spare, out + 4 * GROUP * number, 4 * count)


@njit(error_model="numpy")
def fill_poisson(kind, key0, key1, step, rates, rate_step, table, levels, out, low, high):
    """Counts of the entities low ... high - 1; -1 where the rate is not valid."""
    highest = HIGHEST if kind == POISSON_WIDE else SPLIT
    numbers = at(out, 0, np.int32)
    if rate_step == 0 and rates[0] >= 0 and rates[0] < highest:
        fill_one_rate(key0, key1, step, small_part(rates[0]), table, out, low, high)
        if rates[0] >= SPLIT:
            add_rows(key0, key1, step, rates[0], levels, out, low, high)
        return
    if rate_step == 1:
        fill_rates(key0, key1, step, rates, highest, table, out, low, high)
        if kind == POISSON_WIDE:
            add_whole(key0, key1, step, rates, levels, numbers, low, high)
    for i in range(low, high):
        rate = rates[i * rate_step]
        if not (rate >= 0 and rate < highest):
            numbers[i] = -1


@njit(error_model="numpy")
def row_of(buf, flat):
    """Which row of an operand belongs to a batch element."""
    return flat if dim(buf, 0) > 1 else 0


@njit(error_model="numpy")
def fill_ranges(context, i, kinds):
    """Task of the handler: some ranges, of one batch element after the other."""
    words = at(context, 0, np.int64)
    for number in range(i * words[PER_TASK], min((i + 1) * words[PER_TASK], words[N_RANGES])):
        fill_range(at(words[FRAME], 0, np.int64), number, words[PER], words[RANGES_EACH])


@njit(error_model="numpy")
def fill_range(frame, number, per, ranges):
    """A range of `per` entities; every batch element has `ranges`."""
    key, step, rate = buffer(frame, ARGUMENTS, 0), buffer(frame, ARGUMENTS, 1), buffer(frame, ARGUMENTS, 2)
    kind = at(buffer(frame, ARGUMENTS, 3)[3], 0, np.uint32)[0]
    table, levels = buffer(frame, ARGUMENTS, 4)[3], buffer(frame, ARGUMENTS, 5)[3]
    out, flat = buffer(frame, RESULTS, 0), number // ranges
    n, size = dim(out, 1), 8 if kind >= PAIR and kind < POISSON else 4
    low = number % ranges * per
    high = min(low + per, n)
    pair, now = at(key[3], 2 * row_of(key, flat), np.uint32), at(step[3], row_of(step, flat), np.uint32)[0]
    target = out[3] + flat * n * size
    if kind >= POISSON:
        rates, rate_step = at(rate[3], row_of(rate, flat) * last(rate), np.float32), 1 if last(rate) > 1 else 0
        fill_poisson(kind, pair[0], pair[1], now, rates, rate_step, table, levels, target, low, high)
    else:
        fill(kind, pair[0], pair[1], now, table, target, low, high)


fill_loop = parallel_loop(fill_ranges)


def random(major, minor, tag):
    """The handler."""

    def handler(frame):
        if answered_metadata_query(frame, major, minor) or tag == 0:
            return 0
        if frame[ARGUMENTS - 2] != 6 or frame[RESULTS - 2] != 1:
            return new_error(frame[2], "brainsim.ops.random: wrong number of arguments or results")
        total, n = dim(buffer(frame, RESULTS, 0), 0), dim(buffer(frame, RESULTS, 0), 1)
        is_large = total * n >= SPLIT_CALL
        per = min(n, RANGE) if is_large else n
        words, ranges = on_stack(N_WORDS, np.int64), (n + per - 1) // per
        group = RANGE // per if is_large else total
        words[FRAME], words[PER], words[RANGES_EACH] = address_of(frame), per, ranges
        words[PER_TASK], words[N_RANGES] = group, total * ranges
        if is_large:
            fill_loop(frame, address_of(words), (total * ranges + group - 1) // group, ())
        else:
            fill_ranges(address_of(words), 0, ())
        return 0

    return handler
