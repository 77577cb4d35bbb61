"""What varies: parameters by name, each within its bounds; one object for fits, sweeps and posteriors.

A `Space` is a description. Bound to a simulation it maps vectors of unbounded numbers to parameters and back.
"""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from ..distributions import generator
from ..errors import ParameterError, UnknownNameError
from ..names import match
from ..program import dtype
from .transforms import Simplex, Tied, Transform


class Space:
    """Parameters that vary.

    Args:
        varied: name or pattern -> `bs.bounded(...)`, `bs.positive(...)`, `bs.negative(...)`, `bs.fraction()`,
            `bs.free(...)`, `bs.simplex(...)` or `bs.tied(...)`. A pattern varies every name that it fits by itself. A
            tuple of names has one value of a simplex each.

    Raises:
        ParameterError: an entry of another kind.

    Example:
        >>> import brainsim as bs
        >>> bs.Space({"e.tau": bs.bounded(5.0, 50.0, log=True), "i->*.weight": bs.negative(10.0)})
        Space(e.tau, i->*.weight)
    """

    def __init__(self, varied: dict):
        if not isinstance(varied, dict):
            raise ParameterError(f"Space({varied!r:.60}): give a dict such as {{'exc.tau': bs.bounded(5.0, 50.0)}}")
        for name, how in varied.items():
            if not isinstance(how, Transform | Tied):
                raise ParameterError(
                    f"Space: {name!r} is {how!r:.60}; write how it varies, such as bs.bounded(5.0, 50.0), "
                    f"bs.positive(), bs.tied('exc.tau')"
                )
            if isinstance(name, tuple) and not isinstance(how, Simplex):
                raise ParameterError(f"Space: {name!r}: several names share bs.simplex(...) only")
        self.varied = dict(varied)

    def __repr__(self):
        return f"Space({', '.join(map(str, self.varied))})"

    def bind(self, sim, params=None) -> "Bound":
        """The space of one simulation; `params` replace some of its values, where others are relative to or masked.

        Raises:
            UnknownNameError, UnitError: a name or unit that does not fit.
            ParameterError: bounds beyond what the model allows, a mask of another shape, a name that is given twice.
        """
        base = {**sim.params, **(params or {})}
        blocks, ties, seen, at = [], [], set(), 0
        for pattern, how in self.varied.items():
            names = list(pattern) if isinstance(pattern, tuple) else _names(pattern, sim)
            for name in names:
                if isinstance(pattern, tuple):
                    _names(name, sim)
                if name in seen:
                    raise ParameterError(f"Space: {name!r} varies twice, the second time by {pattern!r}; name it once")
                seen.add(name)
            if isinstance(how, Tied):
                ties += [(name, how) for name in names]
                continue
            for group in [tuple(names)] if isinstance(pattern, tuple) else [(name,) for name in names]:
                block = _block(sim, base, group, how, at)
                blocks, at = [*blocks, block], block.stop
        for name, how in ties:
            if how.to not in sim.specs:
                _names(how.to, sim)
            _check_tie(sim, base, blocks, name, how)
            if any(how.to == other for other, _ in ties):
                raise ParameterError(f"Space: {name!r} is tied to {how.to!r}, which is tied itself; tie both to one")
        return Bound(sim, base, blocks, ties, at)


def _check_tie(sim, base, blocks, name, how):
    """A tied parameter is one of the same kind, and within its bounds wherever the other one goes."""
    spec, other = sim.specs[name][0], sim.specs[how.to][0]
    if (spec.unit or "1") != (other.unit or "1"):
        raise ParameterError(f"Space: {name!r} ({spec.unit or '1'}) cannot be tied to {how.to!r} ({other.unit or '1'})")
    block = next((b for b in blocks if how.to in b.names), None)
    value = np.asarray(base[how.to])
    ends = (value.min(), value.max()) if block is None or block.how.relative else block.how.limits()
    _check_limits(name, _allowed(sim, name, spec), sorted(how.by * e for e in ends))


def _names(pattern, sim):
    if not isinstance(pattern, str):
        raise UnknownNameError(f"Space: {pattern!r} is no name; write for example 'exc.tau' or '*.weight'")
    return match(pattern, sim.params, "parameter")


@dataclass
class Block:
    """Numbers u[start:stop] that make the values of one parameter, or of several in a simplex."""

    names: tuple[str, ...]
    how: Transform
    start: int
    stop: int
    shape: tuple[int, ...]  # of the value of each name
    where: Any = None  # which entries vary
    spread: Any = None  # entry -> number of its value, where several entries have one
    base: Any = None  # values of the entries that do not vary, or what factors multiply

    def values(self, u) -> dict:
        """Name -> value."""
        x = self.how.value(u[self.start : self.stop])
        if len(self.names) > 1:
            return {name: x[i] for i, name in enumerate(self.names)}
        x = x[self.spread] if self.spread is not None else x
        if self.how.relative:
            x = x * (self.base if self.where is None else self.base[self.where])
        if self.where is not None:
            x = self.base.at[self.where].set(x.astype(self.base.dtype))
        return {self.names[0]: x.reshape(self.shape)}

    def vector(self, values: dict):
        """The inverse: numbers u of given values."""
        if len(self.names) > 1:
            x = np.array([float(values[n]) for n in self.names])
        else:
            x = np.broadcast_to(np.asarray(values[self.names[0]], float), self.shape).reshape(-1)
            base = None if self.base is None else np.asarray(self.base, float).reshape(-1)
            if self.where is not None:
                x, base = x[self.where], None if base is None else base[self.where]
            if self.how.relative:
                x = x / base
            x = self._first_of_each(x)
        low, high = self.how.limits()
        bad = (x <= low) | (x >= high) | ~np.isfinite(x)
        if bad.any():
            raise ParameterError(
                f"{' '.join(self.names)}: the value {x[bad][0]:g} is not inside its bounds ({low:g}, {high:g}); start "
                f"from another value, or widen the bounds"
            )
        return self.how.inverse(x)

    def _first_of_each(self, x):
        if self.spread is None:
            return x
        entries, first = np.unique(self.spread, return_index=True)
        if not np.allclose(x, x[first][self.spread]):
            raise ParameterError(
                f"{self.names[0]}: its values differ, but the space has {len(entries)} for {x.size} of them; start "
                f"from values that are equal where the space says so, or leave per= out"
            )
        return x[first]

    def labels(self):
        n = self.stop - self.start
        name = "/".join(self.names)
        return [name] if n == 1 else [f"{name}[{i}]" for i in range(n)]


def _block(sim, base, names, how, at) -> Block:
    spec = sim.specs[names[0]][0]
    how = how.in_unit(spec.unit, names[0])
    allowed = _allowed(sim, names[0], spec)
    if not how.relative:
        _check_limits(names[0], allowed, how.limits())
    if len(names) > 1:
        shapes = [np.shape(base[n]) for n in names]
        if any(shapes):
            raise ParameterError(f"Space: {names} share a simplex, so each must be one number; they have {shapes}")
        return Block(names, how, at, at + how.size(len(names)), ())
    value = jnp.asarray(base[names[0]], dtype())
    shape, spread = _shape(sim, names[0], value, how)
    count = int(np.prod(shape, dtype=int))
    where = None
    if how.mask is not None:
        mask = np.asarray(how.mask)
        if mask.dtype != bool:
            raise ParameterError(f"{names[0]}: mask holds {mask.dtype}; give True for every value that varies")
        if mask.shape != shape:
            raise ParameterError(f"{names[0]}: mask has shape {mask.shape}, the parameter {shape}")
        if not mask.any():
            raise ParameterError(f"{names[0]}: mask is False everywhere, so nothing varies; leave the name out")
        where = np.flatnonzero(mask)
        spread = None if spread is None else np.unique(spread[where], return_inverse=True)[1]
        count = len(where)
    n = count if spread is None else int(spread.max()) + 1
    kept = jnp.broadcast_to(value, shape).reshape(-1) if how.relative or where is not None else None
    if how.relative:
        with np.errstate(invalid="ignore"):  # 0 times infinity: stays 0
            ends = np.nan_to_num(np.outer(how.limits(), np.asarray(kept)), posinf=np.inf, neginf=-np.inf)
        _check_limits(names[0], allowed, (ends.min(), ends.max()))
    return Block(names, how, at, at + how.size(n), shape, where, spread, kept)


def _allowed(sim, name, spec):
    """Bounds of the model, for plastic weights within those of their projection."""
    low, high = (x if x is not None else s * np.inf for x, s in zip(spec.bounds, (-1, 1), strict=True))
    for x in sim.program.learners:
        if x.weight == name:
            low, high = max(low, x.spec.bounds.low), min(high, x.spec.bounds.high)
    return low, high


def _check_limits(name, allowed, limits):
    (low, high), (least, most) = limits, allowed
    if low < least or high > most:
        raise ParameterError(
            f"{name} varies within ({low:g}, {high:g}), but the model allows ({least:g}, {most:g}); give bounds "
            f"within these"
        )


def _shape(sim, name, value, how):
    """Shape of the parameter in the space, and which number every entry takes."""
    allowed, have = sim.specs[name][1], tuple(value.shape)
    if how.per is None:
        return have, None
    if how.per == "all":
        return have, np.zeros(int(np.prod(have, dtype=int)), int) if have else None
    sizes = _sizes(sim, name)
    if how.per not in sizes:
        raise ParameterError(f"{name}: per={how.per!r} does not fit; give per='all' or one of {sorted(sizes)}")
    n = sizes[how.per]
    if (n,) in allowed and (have == () or have == (n,)):
        return (n,), None
    if how.per in ("pre", "post") and have == (sizes["edge"],):
        return have, _ends(sim.network[name.rpartition(".")[0]], how.per)
    raise ParameterError(
        f"{name} is one number, shared by all in the compiled network; connect with an array of {n} values to vary each"
    )


def _sizes(sim, name):
    owner = sim.network[name.rpartition(".")[0]]
    if owner.name in sim.network.populations:
        return {"neuron": owner.n}
    return {"edge": owner.n_edges, "post": owner.post.n, **({"pre": owner.pre.n} if owner.pre else {})}


def _ends(projection, end):
    edges = projection.edges
    if end == "post":
        cells = np.asarray(edges.post)
    else:
        cells = np.repeat(np.arange(edges.n_pre), np.diff(edges.indptr))
    return np.unique(cells, return_inverse=True)[1]


class Bound:
    """A space on a simulation: vectors u (size,) and parameters.

    Attributes:
        size: numbers that vary. labels: a name for each of them. reach: (size,) largest |u| that makes sense.
    """

    def __init__(self, sim, base, blocks, ties, size):
        self.sim, self.base, self.blocks, self.ties, self.size = sim, base, blocks, ties, size
        self.labels = [label for b in blocks for label in b.labels()]
        self.reach = np.concatenate([np.full(b.stop - b.start, b.how.reach) for b in blocks]) if blocks else np.zeros(0)

    @property
    def names(self) -> list[str]:
        """Parameters that vary, tied ones included."""
        return [n for b in self.blocks for n in b.names] + [n for n, _ in self.ties]

    def params(self, u) -> dict:
        """Values of the parameters that vary, for `sim.run(params=...)`; u may be traced."""
        out = {}
        for b in self.blocks:
            out.update(b.values(u))
        for name, how in self.ties:
            value = how.by * jnp.asarray(out.get(how.to, self.base[how.to]))
            shapes = self.sim.specs[name][1]
            out[name] = value if tuple(value.shape) in shapes else jnp.broadcast_to(value, np.shape(self.base[name]))
        return {k: x.astype(dtype()) for k, x in out.items()}

    def vector(self, params=None) -> np.ndarray:
        """The vector of given values; those that are left out keep the values of the simulation.

        Raises:
            ParameterError: a value outside of its bounds, or values that differ where the space has one.
        """
        values = {**self.base, **(params or {})}
        return np.concatenate([b.vector(values) for b in self.blocks]) if self.blocks else np.zeros(0)

    def draw(self, n: int, key: int = 0) -> np.ndarray:
        """n vectors from the prior, (n, size); those of one parameter do not depend on what else varies."""
        return (
            np.concatenate(
                [
                    b.how.draw(generator(key, "space", *b.names), n * (b.stop - b.start)).reshape(n, -1)
                    for b in self.blocks
                    if b.stop > b.start
                ],
                axis=1,
            )
            if self.size
            else np.zeros((n, 0))
        )

    def log_prior(self, u):
        """Logarithm of the prior density of the vector, up to a constant; differentiable."""
        return sum((b.how.log_density(u[b.start : b.stop]) for b in self.blocks), jnp.zeros(()))

    def at_bounds(self, u, near=0.005) -> list[str]:
        """Labels of bounded values within a part `near` of their range from a bound."""
        edge = np.log(near / (1 - near))
        return [
            x for x, v, r in zip(self.labels, np.asarray(u), self.reach, strict=True) if r < np.inf and abs(v) > -edge
        ]
