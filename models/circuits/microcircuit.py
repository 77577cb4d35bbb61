"""The microcircuit under 1 mm2 of early sensory cortex (Potjans & Diesmann 2014, 10.1093/cercor/bhs358): eight
populations in layers 2/3 to 6, 77,169 cells and 298,880,968 synapses in full size.

Numbers, and what is done with draws out of range, are those of the authors' PyNEST implementation
(microcircuit-PD14-model; van Albada et al. 2018, 10.3389/fninf.2018.00291).
"""

import math
import warnings

import numpy as np

import brainsim as bs
from brainsim import statistics
from brainsim.errors import ParameterError
from brainsim.models.neurons.lif import LIF
from brainsim.models.synapses.exponential import ExpCurrent

POPULATIONS = ("L23E", "L23I", "L4E", "L4I", "L5E", "L5I", "L6E", "L6I")
CELLS = (20683, 5834, 21915, 5479, 4850, 1065, 14395, 2948)
# connection probability of a pair, target in the row, source in the column (table 5 of the paper)
PROBABILITY = np.array(
    [
        [0.1009, 0.1689, 0.0437, 0.0818, 0.0323, 0.0000, 0.0076, 0.0000],
        [0.1346, 0.1371, 0.0316, 0.0515, 0.0755, 0.0000, 0.0042, 0.0000],
        [0.0077, 0.0059, 0.0497, 0.1350, 0.0067, 0.0003, 0.0453, 0.0000],
        [0.0691, 0.0029, 0.0794, 0.1597, 0.0033, 0.0000, 0.1057, 0.0000],
        [0.1004, 0.0622, 0.0505, 0.0057, 0.0831, 0.3726, 0.0204, 0.0000],
        [0.0548, 0.0269, 0.0257, 0.0022, 0.0600, 0.3158, 0.0086, 0.0000],
        [0.0156, 0.0066, 0.0211, 0.0166, 0.0572, 0.0197, 0.0396, 0.2252],
        [0.0364, 0.0010, 0.0034, 0.0005, 0.0277, 0.0080, 0.0658, 0.1443],
    ]
)
EXTERNAL = (1600, 1500, 2100, 1900, 2000, 1900, 2900, 2100)  # inputs from outside per cell
EXTERNAL_RATE = 8.0  # Hz
# Hz, of the full network; the down-scaling takes the input they cause as the one to keep
RATES = (0.903, 2.965, 4.414, 5.876, 7.569, 8.633, 1.105, 7.829)
# mV, mean and standard deviation at the start: of the paper; those of the running network, which shorten the transient
INITIAL = {
    "original": ((-58.0,) * 8, (10.0,) * 8),
    "optimised": (
        (-68.28, -63.16, -63.33, -63.45, -63.11, -61.66, -66.72, -61.43),
        (5.36, 4.57, 4.74, 4.94, 4.94, 4.55, 5.46, 4.48),
    ),
}
C_M, TAU_M, TAU_SYN = 250.0, 10.0, 0.5  # pF, ms, ms
PSP, G, SPREAD = 0.15, -4.0, 0.1  # mV; strength of inhibition; standard deviation of weights relative to their mean
DELAY = {"E": 1.5, "I": 0.75}  # ms, with half of it as standard deviation


class BiasedLIF(LIF):
    """`LIF` with a constant current I_e (pA) into every cell.

    Equation::

        tau v' = v_rest - v + R (I + I_e)
    """

    I_e = bs.param(0.0, "pA")

    def dv(self, v, I):
        return (self.v_rest - v + self.R * (I + self.I_e)) / self.tau


def current_per_psp(c=C_M, tau_m=TAU_M, tau_syn=TAU_SYN) -> float:
    """pA of an exponential current for one mV of its potential's maximum; 585.4 for this network."""
    ratio = tau_syn / tau_m
    peak = ratio ** (ratio / (1 - ratio)) - ratio ** (1 / (1 - ratio))  # of exp(-t/tau_m) - exp(-t/tau_syn)
    return c * (tau_m - tau_syn) / (tau_m * tau_syn) / peak


def synapse_numbers() -> np.ndarray:
    """Synapses of every pair of populations in full size, (8, 8), target in the row; not rounded.

    K drawings of a pair with replacement leave a given one unconnected with probability 1 - p.
    """
    pairs = np.outer(CELLS, CELLS).astype(float)
    # rounded as in the implementation of the authors: log1p would give 298,880,970 synapses, two more than published
    return np.log(1.0 - PROBABILITY) / np.log((pairs - 1.0) / pairs)


def mean_weights() -> np.ndarray:
    """Mean weight of every pair of populations in full size in pA, (8, 8), target in the row."""
    weights = np.tile([1.0, G], (8, 4)) * PSP * current_per_psp()
    weights[0, 2] *= 2.0  # from 4E to 2/3E
    return weights


def scaled(scale: float, indegrees: float, drive: str) -> dict:
    """What is drawn at a size: cells (8,), synapses (8, 8), weights (8, 8) in pA, external weight (pA), external
    in-degree (8,), and constant current (8,) in pA.

    Cells are multiplied by `scale`, in-degrees by `indegrees`, weights divided by its root: the variance of the input
    stays, and the constant current replaces what is missing of its mean at the rates of the full network (van Albada,
    Helias & Diesmann 2015, 10.1371/journal.pcbi.1004490). With `drive="dc"` the external spikes are replaced by their
    mean altogether.
    """
    root, numbers, weights = math.sqrt(indegrees), synapse_numbers(), mean_weights()
    external = PSP * current_per_psp()
    per_charge = 1e-3 * TAU_SYN  # pA Hz of exponential currents -> mean pA
    recurrent = per_charge * (weights * numbers / np.array(CELLS)[:, None]) @ np.array(RATES)
    outside = per_charge * external * EXTERNAL_RATE * np.array(EXTERNAL)
    missing = (1 - root) * (recurrent + outside) if drive == "poisson" else (1 - root) * recurrent + outside
    return dict(
        cells=np.rint(np.array(CELLS) * scale).astype(int),
        synapses=np.rint(numbers * scale * indegrees).astype(int),
        weights=weights / root,
        external=external / root,
        indegrees=np.rint(np.array(EXTERNAL) * indegrees).astype(int),
        current=missing,
    )


def microcircuit(
    scale: float = 1.0, drive: str = "dc", seed: int = 0, indegrees=None, initial="optimised", dt=0.1
) -> "bs.Network":
    """Network with populations "L23E" to "L6I" and projections "L23E->L23E" and so on.

    Every pair of populations has exactly round(K scale indegrees) synapses between cells drawn with replacement
    (multapses and autapses). Weights are normal with a standard deviation of a tenth of the mean; a draw of the wrong
    sign is drawn again. Delays are normal with a standard deviation of half their mean; a draw below dt/2 is drawn
    again and the rest rounded to the grid, so that the shortest is one step. All currents of a cell share one state:
    excitation and inhibition have the same time constant.

    Args:
        scale: of the numbers of cells, in (0, 1].
        drive: "poisson": independent trains, together EXTERNAL * 8 Hz per cell, 1.5 ms late; "dc": the equal current.
        seed: of connectivity, initial values and trains.
        indegrees: factor of the in-degrees in (0, 1]; by default `scale`. See `scaled` for what compensates it.
        initial: "optimised" or "original", where voltages start (`INITIAL`).
        dt: ms, step the network will be compiled with; only the shortest delay depends on it.

    Raises:
        ParameterError: scale or indegrees outside of (0, 1], unknown drive or initial, dt not above 0.

    Warns:
        where constant currents alone would leave every excitatory population below threshold: such a network falls
        silent after its start. With DC at 10 % of the cells take indegrees=0.3, or Poisson trains.

    Full size has about 299 million synapses: index, weight and delay of each take some 4 GB.
    """
    indegrees = scale if indegrees is None else indegrees
    _check(scale, indegrees, drive, initial, dt)
    made, net, synapse = scaled(scale, indegrees, drive), bs.Network(seed=seed), ExpCurrent(tau=TAU_SYN)
    _warn_silent(made["current"], drive)
    for name, n, current in zip(POPULATIONS, made["cells"], made["current"]):
        cell = BiasedLIF(
            tau=TAU_M, R=TAU_M / C_M, v_rest=-65.0, v_th=-50.0, v_reset=-65.0, t_ref=2.0, I_e=float(current)
        )
        net.add(name, cell, int(n))
    for name, mean, sd in zip(POPULATIONS, *INITIAL[initial]):
        net.init(f"{name}.v", bs.normal(mean, sd))
    for j, source in enumerate(POPULATIONS):
        delay = DELAY[source[-1]]
        for i, target in enumerate(POPULATIONS):
            if made["synapses"][i, j]:
                rule = bs.fixed_total_number(int(made["synapses"][i, j]))
                delays = bs.normal(delay, delay / 2, low=dt / 2 * (1 + 1e-9))  # half a step would round to 0
                net.connect(source, target, synapse, rule, weight=_weights(made["weights"][i, j]), delay=delays)
    if drive == "poisson":
        for name, n in zip(POPULATIONS, made["indegrees"]):
            trains = bs.poisson(EXTERNAL_RATE, n=int(n))
            net.connect(trains, name, synapse, weight=float(made["external"]), delay=1.5)
    return net


def _weights(mean):
    low, high = (0.0, None) if mean > 0 else (None, 0.0)
    return bs.normal(float(mean), abs(float(mean)) * SPREAD, low=low, high=high)


def _warn_silent(current, drive):
    rheobase = C_M * 15.0 / TAU_M  # threshold 15 mV above rest
    if drive == "dc" and np.all(current[::2] < rheobase):
        warnings.warn(
            f"microcircuit: constant currents of {np.round(current[::2])} pA leave every excitatory population below "
            f"its rheobase of {rheobase:g} pA, so that the network falls silent; take more indegrees (0.3 will do), or "
            f'drive="poisson"',
            stacklevel=3,
        )


def _check(scale, indegrees, drive, initial, dt):
    for name, value in (("scale", scale), ("indegrees", indegrees)):
        if not 0 < value <= 1:
            raise ParameterError(
                f"microcircuit: {name} = {value!r} is no part of the full size; write a number in (0, 1], such as 0.1"
            )
    if drive not in ("dc", "poisson"):
        raise ParameterError(f'microcircuit: drive = {drive!r} is none of the two drives; write "dc" or "poisson"')
    if initial not in INITIAL:
        raise ParameterError(
            f'microcircuit: initial = {initial!r} names no distribution of voltages; write "optimised" or "original"'
        )
    if not dt > 0:
        raise ParameterError(f"microcircuit: dt = {dt!r} ms is no step; write a number above 0, such as 0.1")


def activity(result, start: float = 500.0, sample: int = 200, bin: float = 2.0) -> dict[str, dict]:
    """What the publications compare, per population, of the spikes after `start` ms.

    Args:
        result: of a run that recorded spikes.
        start: ms, end of the transient.
        sample: correlations are those of the first `sample` cells that fire.
        bin: ms, width of the bins of the correlations.

    Returns:
        {population: dict(rate (Hz, mean over all cells), cv (mean over cells with three spikes or more),
        correlation (mean Pearson correlation of counts over pairs of cells))}.

    Raises:
        ParameterError: nothing is left after `start`.
    """
    stop = result.t_stop
    if not start < stop:
        raise ParameterError(f"activity: the run ends at {stop:g} ms, before start = {start:g} ms; run longer")
    out = {}
    for name, spikes in result.spikes.items():
        late = spikes.between(start, stop)
        cvs = statistics.cv(late.times, late.indices, late.n_cells)
        chosen = np.unique(late.indices)[:sample]
        row = np.full(late.n_cells, -1)
        row[chosen] = np.arange(len(chosen))
        keep = row[late.indices] >= 0
        counts = statistics.binned(late.times[keep], row[late.indices[keep]], len(chosen), bin, start, stop)
        out[name] = dict(
            rate=float(statistics.rates(late.indices, late.n_cells, stop - start).mean()),
            cv=float(np.nanmean(cvs)) if np.isfinite(cvs).any() else float("nan"),
            correlation=statistics.mean_correlation(counts) if len(chosen) > 1 else float("nan"),
        )
    return out
