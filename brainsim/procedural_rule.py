"""Procedural projections: edges that are never stored, but drawn again from the rule whenever their source spikes.

    net.connect(exc, inh, ExpCurrent(tau=5.0), bs.procedural(bs.fixed_probability(0.001)), weight=0.6, delay=1.5)

Memory follows the cells, not the edges. `ops/procedural.py` draws; here is what a user may say, and the place of such a
projection in a program. Parameters: "a->b.weight" for one weight, "a->b.weight.mean" and "a->b.weight.sd" for normal
ones; gradients go through them. Delays are one number, or drawn per edge in whole steps of dt.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import connectivity
from .declare import Param, check_bounds
from .distributions import Distribution, choice, normal, uniform
from .edges import Edges
from .errors import CompileError, ConnectError
from .memory import free_memory, in_words
from .population import Projection
from .units import to_canonical

EDGE_BYTES = 60  # of memory per edge while edges are made into arrays
FARTHEST = 6.34  # no normal number of an edge is farther from the mean, in standard deviations
MOST_STEPS = 4096  # different delays of one projection
SMALLEST = 1e-12  # probability of a delay that is left out


@dataclass(frozen=True)
class procedural:
    """Draw the edges of a rule whenever they are needed instead of storing them.

    Args:
        rule: `fixed_outdegree`, `fixed_indegree` or `fixed_total_number` with multapses, or `fixed_probability`.
            Autapses may be excluded, except from `fixed_indegree`.

    Raises:
        ConnectError: another rule, or options that cannot be drawn row by row.

    References:
        Knight & Nowotny (2021), 10.1038/s43588-020-00022-7.
    """

    rule: Any

    def __post_init__(self):
        rule = self.rule
        kinds = ("fixed_outdegree", "fixed_indegree", "fixed_total_number", "fixed_probability")
        if not isinstance(rule, tuple(getattr(connectivity, k) for k in kinds)):
            raise ConnectError(
                f"procedural({rule!r}): the row of a source cannot be drawn again on its own; give "
                f"{', '.join(kinds)}, or store the edges by leaving bs.procedural out"
            )
        if not getattr(rule, "multapses", True):
            raise ConnectError(
                f"procedural({rule!r}): targets of a row are drawn independently, so pairs can repeat; leave "
                f"multapses=False out, use fixed_probability, where no pair repeats, or store the edges"
            )
        if isinstance(rule, connectivity.fixed_indegree) and not rule.autapses:
            raise ConnectError(
                f"procedural({rule!r}): edges are dealt to all sources alike, so a cell cannot be left out; leave "
                f"autapses=False out, use fixed_outdegree or fixed_probability, or store the edges"
            )


class ProceduralProjection(Projection):
    """A projection without stored edges. `n_edges` is their number, for `fixed_probability` the expected one."""

    def __init__(self, name, pre, post, synapse, rule, seed, weight, delay, into, line, values):
        given = dict(name=name, pre=pre, post=post, synapse=synapse, rule=rule, weight_values=weight, line=line)
        for key, value in given.items():
            object.__setattr__(self, key, value)
        for key, value in dict(delay_values=delay, into=into, source=None, values=values, seed=seed).items():
            object.__setattr__(self, key, value)

    @property
    def key(self):
        """Two words that the edges are a function of."""
        from .ops.random import key_of

        return key_of(self.seed, "procedural", self.name)

    @property
    def pairs(self) -> int:
        """Number of pairs of cells that the rule may connect."""
        both = len(self.pre) * len(self.post)
        if self.rule.autapses or self.pre.name != self.post.name:
            return both
        return both - len(np.intersect1d(self.pre.index, self.post.index))

    @property
    def n_edges(self) -> int:
        rule = self.rule
        if isinstance(rule, connectivity.fixed_probability):
            return round(rule.p * self.pairs)
        cells = {"fixed_outdegree": len(self.pre), "fixed_indegree": len(self.post)}.get(type(rule).__name__, 1)
        return cells * (rule.n if isinstance(rule, connectivity.fixed_total_number) else rule.k)

    @property
    def weight(self):
        """The weight, or the `bs.normal` it is drawn from."""
        return self.weight_values

    @property
    def delay(self):
        """The delay in ms, or the distribution it is drawn from."""
        return self.delay_values

    @property
    def delay_drawn(self) -> bool:
        return isinstance(self.delay_values, Distribution)

    @property
    def edges(self) -> Edges:
        """The edges that a run uses, made into arrays now, with normal weights; drawn delays need `edges_at(dt)`.

        Raises:
            ConnectError: more edges than fit the free memory; drawn delays.
        """
        if self.delay_drawn:
            raise ConnectError(f"{self.name}: delays are drawn in whole steps of dt; write edges_at(dt)")
        return self.edges_at(1.0)

    def edges_at(self, dt: float) -> Edges:
        """The edges that a run with this dt uses, as arrays: with normal weights, and with drawn delays in ms.

        Raises:
            ConnectError: more edges than fit the free memory.
        """
        from .ops.procedural import procedural_edges

        need, free = EDGE_BYTES * self.n_edges, free_memory()
        if need > free:
            raise ConnectError(
                f"{self.name}: about {self.n_edges:.3g} edges need {in_words(need)} as arrays, {in_words(free)} are "
                f"free; look at a part, such as procedural_edges of brainsim.ops with first_row"
            )
        rule = operator_rule(self, dt)
        made = procedural_edges(self.key, rule, len(self.pre), len(self.post))
        pre = np.repeat(self.pre.index, np.diff(made.indptr))
        weight = None
        if isinstance(self.weight_values, normal):
            mean, sd = np.float32(self.weight_values.mean), np.float32(self.weight_values.sd)
            weight = mean + sd * made.normal  # the operations of the operator, so that the bits are the same
        delay = None if made.delays is None else made.delays * dt
        return Edges(pre, self.post.index[made.indices], self.pre.n, self.post.n, weight, delay)

    def __repr__(self):
        delay = f"{self.delay!r} ms" if self.delay_drawn else f"{self.delay:g} ms"
        about = "about " * isinstance(self.rule, connectivity.fixed_probability)
        edges = f"{about}{self.n_edges} edges drawn by {self.rule!r}"
        return f"Projection({self.name}, {edges}, {self.synapse!r}, delay {delay})"


def project(name, pre, post, synapse, rule, seed, weight, delay, into, line, values) -> ProceduralProjection:
    """What `net.connect` makes of a procedural rule.

    Raises:
        ConnectError: a synapse, weights or delays that need a value per edge; parts of populations with gaps.
    """
    from .wiring import needs_edges

    cls = type(synapse)
    if "on_pre" not in cls.__methods__ or "output" in cls.__methods__:
        raise ConnectError(
            f"{name}: {cls.__name__} does not act by spikes alone; store the edges: leave procedural out"
        )
    if needs_edges(cls):
        raise ConnectError(
            f"{name}: {cls.__name__} is evaluated on every edge (states on edges, plasticity, or reads of the target), "
            f"but procedural edges keep nothing; leave bs.procedural out"
        )
    for key in cls.__params__:
        shape = np.shape(getattr(synapse, key))
        if shape not in ((), (post.n,)):
            raise ConnectError(
                f"{name}.{key} has shape {shape}, but procedural edges have no values of their own; give a number or "
                f"one value per target"
            )
    for side in (pre, post):
        if side.ids is not None and not np.array_equal(side.ids, np.arange(side.ids[0], side.ids[0] + len(side.ids))):
            raise ConnectError(f"{name}: {side} has gaps; procedural edges connect whole populations or slices a:b")
    weight = _value(f"{name}.weight", weight, cls.__weight__.unit if cls.__weight__ else "1", (normal,))
    _check_weight(name, weight, cls)
    delay = _value(f"{name}.delay", delay, "ms", (normal, uniform, choice))
    made = ProceduralProjection(name, pre, post, synapse, rule.rule, seed, weight, delay, into, line, values)
    least = _extent(delay)[0]
    if least < 0:
        raise ConnectError(f"{name}: delays reach {least:g} ms; give low=0 or more, so that none is negative")
    if made.n_edges and not made.pairs:
        raise ConnectError(f"{name}: {rule!r} makes {made.n_edges} edges, but there is no pair of cells to connect")
    return made


def _value(what, given, unit, distributions):
    """A number, or a distribution of an allowed kind, in the unit."""
    if isinstance(given, Distribution):
        if not isinstance(given, distributions):
            kinds = ", ".join(d.__name__ for d in distributions)
            raise ConnectError(f"{what}: {given!r} cannot be drawn again edge by edge; give a number or {kinds}")
        return given.in_unit(unit, what)
    if given is None or callable(given) or np.ndim(given):
        kind = "nothing" if given is None else "a function" if callable(given) else f"shape {np.shape(given)}"
        raise ConnectError(f"{what}: got {kind}, but procedural edges keep no values; give a number or a distribution")
    return float(to_canonical(given, unit, what))


def _check_weight(name, weight, cls):
    """Bounds of the declaration; limits of a normal distribution that would cut it."""
    spec = cls.__weight__
    if isinstance(weight, normal):
        low, high = weight.mean - FARTHEST * weight.sd, weight.mean + FARTHEST * weight.sd
        if (weight.low is not None and weight.low > low) or (weight.high is not None and weight.high < high):
            raise ConnectError(
                f"{name}.weight: {weight!r} is cut by its limits, and what is cut depends on mean and sd, so that "
                f"gradients would be wrong; values end {FARTHEST} sd from the mean: keep the limits outside"
            )
        _check_proportional(name, cls)
    for value in (low, high) if isinstance(weight, normal) else (weight,):
        if spec is not None:
            check_bounds(np.asarray(value, float), spec, f"{name}.weight")


def _check_proportional(name, cls):
    """Sums of w arrive, so an increment must be a multiple of w."""
    bound = cls.__bind__({k: np.float32(np.mean(s.default)) for k, s in cls.__params__.items()})
    asked = cls.__methods__["on_pre"]
    at = lambda w: cls.call(bound, "on_pre", {**dict.fromkeys(asked, 0.37), "w": w})
    zero, one, two = at(0.0), at(1.0), at(2.0)
    for key in cls.__increments__:
        if key in one and (
            float(zero[key]) != 0.0 or abs(float(two[key]) - 2 * float(one[key])) > 1e-5 * abs(float(one[key]))
        ):
            raise ConnectError(
                f"{name}: {cls.__name__}.on_pre: {key!r} is not in proportion to w, but procedural edges with normal "
                f"weights add up w; give one weight, or store the edges"
            )


# --- delays


def _extent(delay):
    """Least and largest delay in ms."""
    if isinstance(delay, uniform):
        return delay.low, delay.high
    if isinstance(delay, choice):
        return min(delay.values), max(delay.values)
    if isinstance(delay, normal):
        low, high = delay.mean - FARTHEST * delay.sd, delay.mean + FARTHEST * delay.sd
        return (
            low if delay.low is None else max(low, delay.low),
            high if delay.high is None else min(high, delay.high),
        )
    return delay, delay


def _delays(name, delay, dt):
    """`Delays` of the operator: the distribution, rounded to the nearest step."""
    from .ops.procedural import Delays

    if not isinstance(delay, Distribution):
        return None
    ends = np.rint(np.asarray(_extent(delay)) / dt).astype(np.int64)
    if ends[1] - ends[0] >= MOST_STEPS:
        span = ends[1] - ends[0] + 1
        raise CompileError(f"{name}: delays span {span} steps of {dt:g} ms, at most {MOST_STEPS}; enlarge dt")
    steps = np.arange(ends[0], ends[1] + 1)
    if isinstance(delay, choice):
        weights = np.zeros(len(steps))
        share = np.full(len(delay.values), 1.0) if delay.p is None else np.asarray(delay.p)
        np.add.at(weights, np.rint(np.asarray(delay.values) / dt).astype(np.int64) - ends[0], share)
    else:
        low, high = _extent(delay)
        edge = np.clip((np.append(steps, steps[-1] + 1) - 0.5) * dt, low, high)
        weights = np.diff([_cumulative(delay, x) for x in edge]) if low < high else np.ones(1)
    kept = np.flatnonzero(weights > SMALLEST * weights.sum())
    steps, weights = steps[kept[0] : kept[-1] + 1], weights[kept[0] : kept[-1] + 1]
    return Delays(int(steps[0]), int(steps[-1]), None if len(set(weights)) == 1 else tuple(weights))


def _cumulative(delay, x):
    if isinstance(delay, uniform):
        return (x - delay.low) / (delay.high - delay.low)
    return 0.5 * math.erfc((delay.mean - x) / (delay.sd * math.sqrt(2)))


def operator_rule(p: ProceduralProjection, dt):
    """The rule of the operator, with targets counted from the first cell of the target side."""
    from .ops import procedural as op

    rule, place = p.rule, {"n_targets": len(p.post), "delays": _delays(p.name, p.delay_values, dt)}
    if not rule.autapses and p.pre.name == p.post.name:
        place["own"] = int(p.pre.index[0]) - int(p.post.index[0])
    if isinstance(rule, connectivity.fixed_probability):
        return op.fixed_probability(rule.p, **place)
    if isinstance(rule, connectivity.fixed_total_number):
        return op.fixed_total_number(rule.n, **place)
    make = op.fixed_outdegree if isinstance(rule, connectivity.fixed_outdegree) else op.fixed_indegree
    return make(rule.k, **place)


def is_procedural(projection) -> bool:
    return isinstance(projection, ProceduralProjection)


def leaves(p: ProceduralProjection) -> dict:
    """Parameters of the weights by name."""
    if not isinstance(p.weight_values, normal):
        return {f"{p.name}.weight": np.asarray(p.weight_values, float)}
    both = {"mean": p.weight_values.mean, "sd": p.weight_values.sd}
    return {f"{p.name}.weight.{k}": np.asarray(v, float) for k, v in both.items()}


def specs(p: ProceduralProjection) -> dict:
    """Declaration and shapes of these parameters."""
    spec = type(p.synapse).__weight__ or Param(0.0)
    spread = Param(0.0, spec.unit, bounds=(0.0, None), closed=True)
    return {name: (spread if name.endswith(".weight.sd") else spec, {()}) for name in leaves(p)}
