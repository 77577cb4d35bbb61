"""Populations and projections: the records behind the handles that `Network.add` and `Network.connect` return."""

import operator
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np

from .connectivity import Edges
from .drawing import CHUNK, Drawn, extent, values_range
from .errors import ConnectError, ParameterError, UnknownNameError, unknown
from .grid import to_steps
from .neuron import Neuron
from .synapse import Synapse


def creation_line() -> str:
    """File and line of the user's call, for errors that are found later."""
    frame = sys._getframe(1)
    here = str(Path(__file__).parent)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(here):
        frame = frame.f_back
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"


def check_count(n, what: str) -> int:
    """A whole number of at least 1."""
    try:
        count = operator.index(n)
    except TypeError:
        raise ParameterError(f"{what} is {n!r}; it must be a whole number of cells, for example 100") from None
    if count < 1:
        raise ParameterError(f"{what} is {count}; a population has at least one cell")
    if count > 2**31 - 1:
        raise ParameterError(
            f"{what} is {count}; at most 2**31 - 1 cells fit one population ({count * 4:.3g} bytes a state)"
        )
    return count


def select(key, n: int, name: str) -> np.ndarray:
    """Positions 0 .. n-1 from one index, several, or a mask; negative ones count from the end."""
    ids = np.atleast_1d(np.asarray(key))
    if ids.dtype == bool:
        if ids.shape != (n,):
            raise ConnectError(f"{name}: a mask needs {n} entries, got {ids.shape}")
        return np.flatnonzero(ids)
    if ids.ndim != 1 or (ids.size and ids.dtype.kind not in "iu"):
        raise ConnectError(f"{name}: {key!r} selects nothing; give whole numbers, a slice, a mask or labels")
    outside = (ids < -n) | (ids >= n)
    if outside.any():
        raise ConnectError(f"{name} has 0..{n - 1}; there is no {ids[outside][0]}")
    ids = np.where(ids < 0, ids + n, ids).astype(np.int64)
    order = np.sort(ids)
    if np.any(order[1:] == order[:-1]):
        raise ConnectError(f"{name}: {order[:-1][order[1:] == order[:-1]][0]} is selected twice; give every cell once")
    return ids


@dataclass(frozen=True, eq=False)
class Population:
    """A named group of cells, or a part of one (`exc[:100]`); `ids` are positions in the whole population."""

    name: str
    model: Neuron
    n: int
    ids: np.ndarray | None = None
    positions: np.ndarray | None = None
    labels: tuple[str, ...] | None = None
    method: str | None = None
    line: str = ""
    values: dict = field(default_factory=dict)

    @property
    def index(self) -> np.ndarray:
        return np.arange(self.n, dtype=np.int32) if self.ids is None else self.ids

    @property
    def size(self) -> int:
        return len(self)

    def __len__(self):
        return self.n if self.ids is None else len(self.ids)

    def __getitem__(self, key) -> "Population":
        if self.ids is not None:
            raise ConnectError(f"{self} is already a part of {self.name!r}; index the whole population")
        if isinstance(key, str) or (isinstance(key, list | tuple) and key and isinstance(key[0], str)):
            names = [key] if isinstance(key, str) else list(key)
            known = list(self.labels or ())
            for label in names:
                if label not in known:
                    raise UnknownNameError(f"{self.name}: {unknown('cell', label, known)}")
            ids = [known.index(label) for label in names]
        elif isinstance(key, slice):
            ids = np.arange(self.n)[key]
        else:
            ids = select(key, self.n, self.name)
        if len(ids) == 0:
            raise ConnectError(f"{self.name}[{key}] selects no cell; {self.name} has cells 0..{self.n - 1}")
        part = dict(vars(self), ids=np.asarray(ids, np.int32))
        return Population(**part)

    def __str__(self):
        if self.ids is None:
            return self.name
        first, last = int(self.ids[0]), int(self.ids[-1])
        if len(self.ids) == 1:
            return f"{self.name}[{first}]"
        if np.array_equal(self.ids, np.arange(first, last + 1)):
            return f"{self.name}[{first or ''}:{last + 1}]"
        return f"{self.name}[{len(self.ids)} cells from {first}]"

    def __repr__(self):
        return f"Population({self}, {len(self)} x {self.model!r})"

    def _repr_html_(self):
        return f"<b>{self}</b>: {len(self)} cells<br>" + self.model._repr_html_()


@dataclass(frozen=True, eq=False)
class Projection:
    """A named set of edges between two populations with a synapse model; for drives `source` instead of `pre`.

    `weight_values` and `delay_values` are a number, an array of one value per edge, or `Drawn`: values of a
    distribution, which are not kept but drawn where they are needed.
    """

    name: str
    pre: Population | None
    post: Population
    synapse: Synapse
    edges: Edges
    weight_values: Any
    delay_values: Any
    into: str
    source: Any = None
    line: str = ""
    values: dict = field(default_factory=dict)
    plastic: Any = None  # `Plastic`, where the weights learn
    learnable: Any = None  # `LearnableDelay`, where the delays are parameters

    @property
    def n_edges(self) -> int:
        return len(self.edges)

    @property
    def weight(self):
        """Number, or (n_edges,) array, in the unit of the synapse; drawn weights in the precision of the simulation."""
        if not isinstance(self.weight_values, Drawn):
            return self.weight_values
        return self.weight_values.array(np.float64 if jax.config.jax_enable_x64 else np.float32)

    @property
    def delay(self):
        """Number, or (n_edges,) float64, in ms, as given or drawn; the simulation rounds it to whole steps."""
        return self.delay_values.array() if isinstance(self.delay_values, Drawn) else self.delay_values

    @property
    def delay_drawn(self) -> bool:
        return isinstance(self.delay_values, Drawn)

    def delay_steps_range(self, lo: int, hi: int, dt: float) -> np.ndarray:
        """(hi - lo,) int32 delays of the edges lo .. hi-1 in whole steps, to the nearest."""
        made = np.empty(hi - lo, np.int32)
        for a in range(lo - lo % CHUNK, hi, CHUNK):  # in the cache
            start, stop = max(a, lo), min(a + CHUNK, hi)
            delay = values_range(self.delay_values, start, stop, np.float64)
            made[start - lo : stop - lo] = np.rint(np.divide(delay, dt, out=delay), out=delay)
        return made

    def delay_steps_extent(self, dt: float) -> tuple[int, int]:
        """Smallest and largest delay in whole steps; 0 and 0 if there are no edges."""
        least, most = to_steps(np.nan_to_num(extent(self.delay_values)), dt)[0]
        return int(least), int(most)

    def __repr__(self):
        if self.delay_drawn:
            delay = f"{self.delay_values.distribution!r} ms"
        else:
            delay = "{:g}..{:g} ms".format(*extent(self.delay)) if np.ndim(self.delay) else f"{self.delay:g} ms"
        learnable = " learnable" * (self.learnable is not None)
        return f"Projection({self.name}, {self.n_edges} edges, {self.synapse!r},{learnable} delay {delay})"
