"""The brain of the fly as leaky integrate-and-fire cells (Shiu et al. 2024, 10.1038/s41586-024-07763-9): 138,639 cells
in version 783 of the connectome (127,400 in version 630, the paper's).

`read_fly` reads the published tables, which brainsim does not ship (FlyWire, CC BY-NC 4.0); `synthetic_fly` draws a
stand-in of the same size. `fly` makes the network of either.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

import brainsim as bs
from brainsim.distributions import generator
from brainsim.errors import FileFormatError, ParameterError
from brainsim.extras import load
from brainsim.models.synapses.delta import Delta

CELLS, PAIRS, SYNAPSES = 138_639, 15_091_983, 54_492_922  # of version 783: completeness table, connectivity table
SYNAPSE_MV, DELAY, DRIVEN, DRIVE_FACTOR = 0.275, 1.8, 21, 250.0  # mV, ms; sugar neurons, in synapses per drive spike
COLUMNS = ("Presynaptic_Index", "Postsynaptic_Index", "Excitatory x Connectivity")


class FlyLIF(bs.Neuron):
    """Leaky integrate-and-fire cell of the fly's brain; synapses jump g, in mV, which decays by itself.

    Equation::

        tau v' = v_rest - v + g
        tau_g g' = -g
        v > v_th:  v = v_reset, g = 0, both held for t_ref

    What arrives during t_ref is lost, as in the program of the paper.

    Args:
        tau: membrane time constant.
        tau_g: time constant of the synapses.
        v_rest: resting potential; v starts there.
        v_th: threshold.
        v_reset: voltage after a spike.
        t_ref: refractory time; 0 for cells that a drive makes fire.

    References:
        Shiu et al. 2024, 10.1038/s41586-024-07763-9.
        Kakaria & de Bivort 2017, 10.3389/fnbeh.2017.00008.
    """

    tau = bs.param(20.0, "ms", bounds=(0, None))
    tau_g = bs.param(5.0, "ms", bounds=(0, None))
    v_rest = bs.param(-52.0, "mV")
    v_th = bs.param(-45.0, "mV")
    v_reset = bs.param(-52.0, "mV")
    t_ref = bs.param(2.2, "ms", bounds=(0, None), closed=True)

    v = bs.state("v_rest", "mV")
    g = bs.state(0.0, "mV")
    refractory = bs.refractory("t_ref", holds=("v", "g"))

    def dv(self, v, g):
        return (self.v_rest - v + g) / self.tau

    def dg(self, g):
        return -g / self.tau_g

    def spike(self, v):
        return v - self.v_th

    def reset(self):
        return dict(v=self.v_reset, g=0.0)


class FlySynapse(bs.Synapse):
    """Synapses of a pair of cells: g of the target jumps by the weight (mV); negative weights inhibit."""

    w = bs.weight("mV")

    def on_pre(self, w):
        return dict(g_post=w)


class Wiring(NamedTuple):
    """Pairs of connected cells, sorted by source and then target.

    n: cells. pre, post: (n_pairs,) int32. synapses: (n_pairs,) int32 numbers, negative where the source inhibits.
    ids: (n,) int64 FlyWire root ids, or None. driven: (k,) cells that `fly` drives unless told otherwise, or None.
    """

    n: int
    pre: np.ndarray
    post: np.ndarray
    synapses: np.ndarray
    ids: np.ndarray | None = None
    driven: np.ndarray | None = None

    def cells(self, ids) -> np.ndarray:
        """Cells (k,) with these root ids."""
        if self.ids is None:
            raise ParameterError("this wiring is synthetic and has no root ids; give numbers of cells instead")
        place = {int(name): i for i, name in enumerate(self.ids)}
        unknown = [i for i in ids if int(i) not in place]
        if unknown:
            raise ParameterError(
                f"root id {unknown[0]} is not in this version of the connectome ({self.n} cells); write ids of the "
                f"version of your tables"
            )
        return np.array([place[int(i)] for i in ids], np.int32)


def read_fly(connectivity, completeness) -> Wiring:
    """Read the published tables. Needs pandas and pyarrow.

    Args:
        connectivity: parquet file with columns "Presynaptic_Index", "Postsynaptic_Index" and
            "Excitatory x Connectivity" (`Connectivity_783.parquet`); rows of one pair are added.
        completeness: csv file, one cell a row: root id, "Completed" (`Completeness_783.csv`). Indices count its rows.

    Raises:
        FileFormatError: a file that is missing, truncated, without a column, or that does not belong to the other.
        ImportError: pandas or pyarrow is not installed.
    """
    ids = _completeness(_existing(completeness))
    n = len(ids)
    table = _connectivity(_existing(connectivity))
    pre, post, count = (_whole(table[name], name, connectivity) for name in COLUMNS)
    for name, index in zip(COLUMNS, (pre, post)):
        if len(index) and not (index.min() >= 0 and index.max() < n):
            raise FileFormatError(
                f"{connectivity}: {name} goes from {index.min()} to {index.max()}, but {completeness} lists {n} cells; "
                f"take two files of one version"
            )
    for name, index in (("Presynaptic_ID", pre), ("Postsynaptic_ID", post)):
        if name in table and np.any(table[name].to_numpy() != ids[index]):
            raise FileFormatError(
                f"{connectivity}: {name} is not the root id that {completeness} has at the index beside it; take two "
                f"files of one version"
            )
    key, where = np.unique(pre * n + post, return_inverse=True)
    return Wiring(n, *(x.astype(np.int32) for x in (*divmod(key, n), np.bincount(where, count, len(key)))), ids=ids)


def _existing(path) -> Path:
    path = Path(path)
    if not path.is_file():
        raise FileFormatError(
            f"{path}: there is no such file; the tables of the fly are not shipped with brainsim: take "
            f"Connectivity_783.parquet and Completeness_783.csv of the publication, or use synthetic_fly()"
        )
    return path


def _completeness(path) -> np.ndarray:
    """Root ids (n,)."""
    pandas = load("pandas")
    try:
        table = pandas.read_csv(path, index_col=0)
    except (pandas.errors.ParserError, pandas.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise FileFormatError(f"{path}: not a csv table ({error}); copy the file again") from error
    if "Completed" not in table:
        raise FileFormatError(f'{path}: no column "Completed", only {list(table.columns)}; give the completeness table')
    if table["Completed"].isna().any() or not pandas.api.types.is_integer_dtype(table.index):
        row = int(np.argmax(table["Completed"].isna())) if table["Completed"].isna().any() else 0
        raise FileFormatError(f"{path}: row {row + 1} is not a root id and a flag; the file is cut off: copy it again")
    if not table.index.is_unique:
        twice = table.index[table.index.duplicated()][0]
        raise FileFormatError(f"{path}: root id {twice} occurs twice; give the completeness table as published")
    return table.index.to_numpy(np.int64)


def _connectivity(path):
    pandas, arrow, parquet = load("pandas"), load("pyarrow"), load("pyarrow.parquet")
    try:
        found = parquet.read_schema(path).names
        wanted = [name for name in (*COLUMNS, "Presynaptic_ID", "Postsynaptic_ID") if name in found]
        table = pandas.read_parquet(path, columns=wanted)
    except (arrow.ArrowInvalid, OSError) as error:
        raise FileFormatError(f"{path}: not a whole parquet file ({error}); copy it again") from error
    for name in COLUMNS:
        if name not in table:
            raise FileFormatError(f'{path}: no column "{name}", only {found}; give the connectivity table')
    return table


def _whole(column, name, path) -> np.ndarray:
    values = column.to_numpy()
    if values.dtype.kind not in "iuf" or not np.all(np.isfinite(values)) or np.any(values != np.rint(values)):
        raise FileFormatError(f"{path}: {name} holds something else than whole numbers; give the table as published")
    return values.astype(np.int64)


# What the stand-in is drawn from.
# Numbers of synapses of a pair: exp of a normal, rounded up. Mean 3.61, which is SYNAPSES / PAIRS; 17.9 % of the pairs
# have five or more, as 2,701,601 do in version 783 (Lin et al. 2024, 10.1038/s41586-024-07968-y).
COUNT = (0.03, 1.47)
# Spread of the logarithms of in- and out-degrees, and their correlation. Assumed: 1.2 puts three cells in ten above 0.9
# times the mean, as many as Lin et al. count to the rich club; the correlation is a guess.
SPREAD, ALIKE = 1.2, 0.5
EXCITATORY = 0.65  # of the cells; assumed. The published tables have a sign per pair, from predicted transmitters
# Cells form groups, a part of their pairs stays inside, and the driven cells are excitatory ones of one group, those
# with the RANK-th most pairs and the following. Not measured: chosen so that at 200 Hz they cause about the
# published activity (16,400 to 17,200 spikes/s in 373 to 412 cells, runs of 1 s in Brian2 and NEST GPU, repository
# eonsystemspbc/fly-brain), which stays around the group. Seeds 0 and 1: 14,500 spikes/s in 442 cells, 19,500 in 597.
GROUP, INSIDE, RANK = 500, 0.7, 10


def synthetic_fly(n: int = CELLS, seed: int = 0) -> Wiring:
    """A stand-in for the published wiring: its numbers of cells, pairs and synapses, its spread of degrees and counts.

    Degrees are log-normal, numbers of synapses log-normal and rounded up, signs belong to the source. Cells form groups
    (see the constants above this function for what is published and what is assumed); their order is random, so that
    cells of a group do not lie side by side.

    Args:
        n: cells, at least 2000; the mean degrees stay those of the full size.
        seed: whole number.

    Raises:
        ParameterError: n is too small for the groups.
    """
    if n < 4 * GROUP:
        raise ParameterError(
            f"synthetic_fly: n = {n} cells are too few for groups of {GROUP}; write at least {4 * GROUP}"
        )
    rng = generator(seed, "synthetic fly", "pairs")
    sent, got = _degrees(n, rng)
    source = np.cumsum(sent)
    share = np.minimum(INSIDE, 0.5 * GROUP / (sent * PAIRS / CELLS * n))  # at most half of a group
    target = np.concatenate([[0.0], np.cumsum(got)])
    keys, wanted = np.empty(0, np.int64), round(PAIRS / CELLS * n)
    while len(keys) < wanted:  # what was drawn twice is drawn again
        missing = wanted - len(keys)
        pre = np.searchsorted(source, rng.random(missing), side="right").clip(max=n - 1)
        first = pre // GROUP * GROUP
        inside = rng.random(missing) < share[pre]
        low = np.where(inside, target[first], 0.0)
        high = np.where(inside, target[np.minimum(first + GROUP, n)], target[-1])
        post = np.searchsorted(target, low + (high - low) * rng.random(missing), side="right").clip(1, n) - 1
        new = np.unique((pre * n + post)[pre != post])
        at = np.searchsorted(keys, new)
        known = (keys[at.clip(max=len(keys) - 1)] == new) if len(keys) else np.zeros(len(new), bool)
        keys = np.sort(np.concatenate([keys, new[~known]]), kind="stable")  # two sorted runs: merged in one pass
    return _finished(n, keys, generator(seed, "synthetic fly", "cells"))


def _degrees(n, rng):
    """Relative out- and in-degrees, (n,) each, which sum to 1."""
    shared, one, other = rng.standard_normal((3, n))
    mix = lambda own: np.exp(SPREAD * (np.sqrt(ALIKE) * shared + np.sqrt(1 - ALIKE) * own))
    return tuple(x / x.sum() for x in (mix(one), mix(other)))


def _finished(n, keys, rng):
    """Signs, counts and a random order of the cells."""
    mean, sd = COUNT
    pre, post = np.divmod(keys, n)
    excites = rng.random(n) < EXCITATORY
    count = np.ceil(np.exp(mean + sd * rng.standard_normal(len(keys)))).astype(np.int32)
    count[~excites[pre]] *= -1
    pairs = np.bincount(pre[: np.searchsorted(pre, GROUP)], minlength=GROUP)
    driven = np.argsort(np.where(excites[:GROUP], -pairs, 1), kind="stable")[RANK : RANK + DRIVEN]
    place = rng.permutation(n)
    order = np.argsort(place[pre] * n + place[post])
    pre, post = place[pre[order]].astype(np.int32), place[post[order]].astype(np.int32)
    return Wiring(n, pre, post, count[order], driven=np.sort(place[driven]))


def fly(wiring: Wiring | None = None, driven=None, rate: float = 200.0, seed: int = 0) -> "bs.Network":
    """Network with population "cells" and projections "synapses" and, if any cell is driven, "drive".

    Every driven cell gets a Poisson train of its own whose spikes raise v by 250 synapses, 68.75 mV, so that it fires
    at each of them; driven cells have no refractory time. The published activity belongs to 21 sugar neurons at 200 Hz.

    Args:
        wiring: of `read_fly` or `synthetic_fly`; by default the latter in full size.
        driven: numbers of cells (see `Wiring.cells` for root ids); by default those of the wiring, else none.
        rate: of the trains, Hz.
        seed: of the trains.

    Raises:
        ParameterError: driven cells that do not exist or occur twice.
    """
    wiring = synthetic_fly() if wiring is None else wiring
    driven = wiring.driven if driven is None else driven
    driven = np.asarray([] if driven is None else driven, np.int64)
    if len(driven) and not (0 <= driven.min() and driven.max() < wiring.n and len(np.unique(driven)) == len(driven)):
        raise ParameterError(
            f"fly: driven cells {driven} are not different numbers from 0 to {wiring.n - 1}; for root ids write "
            f"wiring.cells(ids)"
        )
    net, t_ref = bs.Network(seed=seed), np.full(wiring.n, 2.2)
    t_ref[driven] = 0.0
    cells = net.add("cells", FlyLIF(t_ref=t_ref), wiring.n)
    edges = bs.from_edges(wiring.pre, wiring.post, weight=wiring.synapses * SYNAPSE_MV)
    net.connect(cells, cells, FlySynapse(), edges, delay=DELAY, name="synapses")
    if len(driven):
        weight = SYNAPSE_MV * DRIVE_FACTOR
        net.connect(bs.poisson(rate), cells[driven], Delta(), weight=weight, name="drive")
    return net
