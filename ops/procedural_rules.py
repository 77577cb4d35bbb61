"""Procedural connectivity: what a rule says, and the constants from which every back end regenerates the same edges.

All arithmetic from random words to targets, delays and normal numbers is on integers, so that the bits cannot depend on
how a compiler rounds, contracts or reorders. Streams: draw j of row r takes the Threefry block with counter
(r, j) (two rows of a uniform rule share none; a uniform rule uses one word per draw, so block j // 2), and what belongs
to the edge besides its target takes block (r, 2**31 + j): first word the normal number, second word the delay.
"""

import dataclasses
import functools
import math

import numpy as np

from .arguments import refuse

KINDS = ("outdegree", "total", "probability", "indegree")
OUTDEGREE, TOTAL, PROBABILITY, INDEGREE = range(4)
EXTRA = 0x80000000  # counter of what belongs to an edge besides its target
ROUND_KEYS = 0xFFFFFFFF  # counter of the keys of a permutation
ROUNDS = 8  # of the permutation behind fixed_indegree
MIX = (0x7FEB352D, 0x846CA68B)  # integer hash of 32 bits with low bias (C. Wellons, "Prospecting for hash functions")
FRACTION = 21  # bits behind the point of a normal number: |z| < 8 is then exact in float32
SEGMENTS = 6  # 2**6 straight pieces for every halving of the tail probability
GAP_BITS = 13  # largest table of gaps: 2**13 entries, 64 KiB
MOST_TARGETS = 2**31 - 2**22  # positions may overshoot by one turn of the loop
SPEC = ("kind", "k", "n_targets", "first_target", "first_row", "own", "has_own", "gap_bits", "gap_at", "delay_low",
        "delay_count", "delay_bits", "delay_at", "left_size", "right_size", "n_stubs")  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Delays:
    """Delays of single edges, in whole steps from `low` to `high`: equally likely, or with given probabilities.

    Args:
        low, high: smallest and largest delay, at least 0.
        probabilities: one for each of low ... high, any positive total; kept to within 2**-32. None: equal ones.

    Raises:
        ValueError: the range is empty or negative, or the probabilities do not fit it.
    """

    low: int
    high: int
    probabilities: tuple[float, ...] | None = None

    def __post_init__(self):
        if not 0 <= self.low <= self.high < 2**30:
            refuse("Delays", f"low={self.low}, high={self.high}", "0 <= low <= high is needed", "give steps in order")
        if self.probabilities is not None:
            object.__setattr__(self, "probabilities", tuple(map(float, self.probabilities)))
            good = all(math.isfinite(p) and p >= 0 for p in self.probabilities) and sum(self.probabilities) > 0
            if not good or len(self.probabilities) != self.high - self.low + 1:
                need = f"{self.high - self.low + 1} numbers of at least 0 are needed, one of them above"
                refuse("Delays", f"{len(self.probabilities)} probabilities", need, "give one for each delay")


@dataclasses.dataclass(frozen=True)
class Rule:
    """A rule whose rows can be regenerated one by one; made by `fixed_outdegree` and its like. Hashable, static."""

    kind: str
    k: int = 0
    p: float = 0.0
    n_targets: int | None = None
    first_target: int = 0
    first_row: int = 0
    own: int | None = None
    delays: Delays | None = None

    def placed(self, what, n_post):
        """The rule with its number of targets, checked against an array of n_post."""
        n = n_post - self.first_target if self.n_targets is None else self.n_targets
        if not 0 <= self.first_target <= self.first_target + n <= n_post:
            given = f"targets {self.first_target} to {self.first_target + n}"
            refuse(what, given, f"there are {n_post}", "let first_target + n_targets end within n_post")
        if n > MOST_TARGETS or (self.kind == "indegree" and n * self.k >= 2**31):
            refuse(what, f"{self.kind} with {n} targets", "rows are numbered in 31 bits", "split the targets")
        return dataclasses.replace(self, n_targets=n)

    @property
    def needs_starts(self) -> bool:
        """Whether rows differ in what cannot be found from the row alone: `starts` must then be given."""
        return self.kind in ("total", "indegree")


def fixed_outdegree(k, **place) -> Rule:
    """Every row has k edges; targets are drawn with replacement (multapses), each with probability 1 / n.

    A target is the high half of the product of a 32-bit word and n: its probability is within 2**-32 of 1 / n, a
    relative error of at most n / 2**32 (2.4e-4 for a million targets).

    Args:
        k: edges of a row.
        place: n_targets, first_target (targets are first_target ... first_target + n_targets - 1 of n_post; default
            all), first_row (row i of the operator has the edges of row first_row + i), own (row r and target r + own,
            both counted from the first, are the same cell and are not connected), delays (`Delays`).
    """
    return _rule("fixed_outdegree", "outdegree", k, place)


def fixed_total_number(n, **place) -> Rule:
    """n edges in all, every pair equally likely for each (multapses). The lengths of the rows are multinomial and must
    be given: `starts=row_starts(...)`, 4 bytes a row. Targets and `place` as in `fixed_outdegree`."""
    return _rule("fixed_total_number", "total", n, place)


def fixed_probability(p, **place) -> Rule:
    """Every pair is connected with probability p, independently; no pair twice. `place` as in `fixed_outdegree`.

    Gaps between the targets of a row are geometric, P(gap = g) = p (1 - p)**g, drawn from a table by the alias method
    with 64 bits a draw: every probability is within 2**-32 / (size of the table). So out-degrees are binomial.

    References:
        Batagelj & Brandes (2005), 10.1103/PhysRevE.71.036113 (skips); Walker (1977), 10.1145/355744.355749 (alias).
    """
    p = float(p)
    if not 0 <= p <= 1:
        refuse("fixed_probability", f"p is {p}", "a probability lies in [0, 1]", "write 0.1 for 10 percent")
    return dataclasses.replace(_rule("fixed_probability", "probability", 0, place), p=p)


def fixed_indegree(k, **place) -> Rule:
    """Every target has exactly k edges from rows drawn with replacement (multapses). `place` as in `fixed_outdegree`,
    without `own`.

    Walked from the source side: the n_targets * k ends are dealt to the rows by a permutation keyed by `key`, and each
    row owns the stretch starts[i] ... starts[i + 1] of it, with multinomial lengths (`starts=row_starts(...)`). The
    permutation is a Feistel network of 8 rounds on a x b >= n_targets * k, applied again where it leaves the range.

    References:
        Luby & Rackoff (1988), 10.1137/0217022; Black & Rogaway (2002), 10.1007/3-540-45760-7_9 (arbitrary ranges).
    """
    if place.get("own") is not None:
        why = "the ends of a target are dealt to all rows alike"
        refuse("fixed_indegree", "own was given", why, "leave it out, or use fixed_outdegree or fixed_probability")
    return _rule("fixed_indegree", "indegree", k, place)


def _rule(what, kind, k, place):
    if int(k) != k or not 0 <= k < 2**31:
        refuse(what, f"{k!r} edges", "a whole number from 0 to 2**31 - 1 is needed", "give a count")
    return Rule(kind, int(k), **place)


def row_starts(key, rule: Rule, n_pre: int, n_post: int) -> np.ndarray:
    """Where the edges of every row start, for `fixed_total_number` and `fixed_indegree`: (n_pre + 1,) uint32.

    Lengths are multinomial over the rows, by their numbers of possible targets; keyed like the edges. A part of the
    rows takes the same part of this array, with `first_row` moved.

    Raises:
        ValueError: the rule needs none, or there are edges and no pair to connect.
    """
    rule = rule.placed("row_starts", n_post)
    if not rule.needs_starts:
        refuse("row_starts", f"a rule of fixed {rule.kind}", "all its rows are alike", "leave starts out")
    total = rule.k if rule.kind == "total" else rule.k * rule.n_targets
    own = own_targets(rule, np.arange(n_pre) + rule.first_row)
    pairs = (rule.n_targets - (own < rule.n_targets)).astype(float)
    if total and not pairs.sum():
        refuse("row_starts", f"{total} edges", "there is no pair to connect", "give rows and targets, or no edges")
    words = [int(w) for w in np.asarray(key, np.uint32)]
    rng = np.random.Generator(np.random.Philox(key=words[0] | words[1] << 32))
    lengths = rng.multinomial(total, pairs / pairs.sum()) if total else np.zeros(n_pre, np.int64)
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.uint32)


def own_targets(rule, rows):
    """The target that is the same cell as each of the (numbered) rows, n_targets where there is none."""
    if rule.own is None:
        return np.full(np.shape(rows), rule.n_targets, np.int64)
    own = np.asarray(rows, np.int64) + rule.own
    return np.where((own >= 0) & (own < rule.n_targets), own, rule.n_targets)


@functools.lru_cache(maxsize=64)
def constants(rule: Rule) -> tuple[np.ndarray, np.ndarray]:
    """(tables, spec) of a placed rule: uint32 words, and int32 in the order of SPEC."""
    parts, at, spec = [normal_table()], len(normal_table()), dict.fromkeys(SPEC, 0)
    spec.update(
        kind=KINDS.index(rule.kind), k=rule.k, n_targets=rule.n_targets, first_target=rule.first_target,
        first_row=rule.first_row, own=rule.own or 0, has_own=rule.own is not None, n_stubs=0,
    )  # fmt: skip
    if rule.kind == "probability":
        table = alias_table(gap_probabilities(rule.p))
        spec.update(gap_bits=(len(table) // 2).bit_length() - 1, gap_at=at)
        parts.append(table)
        at += len(table)
    if rule.kind == "indegree":
        ends = rule.n_targets * rule.k
        right = max(2, math.isqrt(max(ends - 1, 0)) + 1)
        spec.update(n_stubs=ends, left_size=max(2, -(-ends // right)), right_size=right)
    if rule.delays is not None:
        spec.update(delay_low=rule.delays.low, delay_count=rule.delays.high - rule.delays.low + 1)
        if rule.delays.probabilities is not None:
            table = alias_table(rule.delays.probabilities)
            spec.update(delay_bits=(len(table) // 2).bit_length() - 1, delay_at=at)
            parts.append(table)
    return np.concatenate(parts), np.array([spec[name] for name in SPEC], np.int32)


def gap_probabilities(p):
    """P(gap = g) for g < size - 1, and last that of a larger gap: the walk then goes on size - 1 targets further."""
    bits = min(GAP_BITS, max(2, math.ceil(math.log2(4 / p)))) if p > 0 else 2
    below = np.arange(2**bits - 1)
    log_q = math.log1p(-p) if p < 1 else -math.inf
    stay = np.exp(log_q * below) if p < 1 else (below == 0).astype(float)
    rest = math.exp(log_q * len(below)) if p < 1 else 0.0
    return np.concatenate([p * stay, [rest]])


def alias_table(probabilities) -> np.ndarray:
    """Alias table of 2**bits entries (bits >= 1), as pairs (threshold, other): entry i is kept below its threshold."""
    p = np.asarray(probabilities, np.float64)
    size = 2 ** max(1, math.ceil(math.log2(len(p))))
    share = np.zeros(size)
    share[: len(p)] = p / p.sum() * size
    threshold, other = np.full(size, 2**32 - 1, np.uint32), np.arange(size, dtype=np.uint32)
    small, large = [i for i in range(size) if share[i] < 1], [i for i in range(size) if share[i] >= 1]
    while small and large:
        i, j = small.pop(), large[-1]
        threshold[i], other[i] = min(round(float(share[i]) * 2**32), 2**32 - 1), j
        share[j] -= 1 - share[i]
        if share[j] < 1:
            small.append(large.pop())
    # what is left over holds 1 but for rounding, and keeps itself: its alias is its own index
    return np.stack([threshold, other], axis=1).reshape(-1)


@functools.cache
def normal_table() -> np.ndarray:
    """Upper quantiles of the standard normal at tail probabilities (u + 1/2) / 2**32, times 2**FRACTION.

    u runs over 0 ... 2**SEGMENTS - 1 and then over 2**SEGMENTS equal pieces of every octave up to 2**31; straight lines
    between the nodes are within 2e-5 of the quantile. |z| is at most 6.34.
    """
    from statistics import NormalDist  # here: importing it takes milliseconds

    per = 2**SEGMENTS
    nodes = [*range(per), *(m << shift for shift in range(32 - SEGMENTS - 1) for m in range(per, 2 * per)), 2**31]
    inverse = NormalDist().inv_cdf
    return np.array([round(-inverse((u + 0.5) / 2**32) * 2**FRACTION) for u in nodes[:-1]] + [0], np.uint32)
