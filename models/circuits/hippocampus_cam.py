"""Content-addressable memory of hippocampal area CA3 (Casanueva-Morato et al. 2024, 10.1016/j.neunet.2024.106474).

A memory is a cue (one cell) with its contents (some cells). Two plastic all-to-all projections tie them: cue ->
contents recalls by the cue, contents -> cue by any content. A cue that is learnt again forgets what it had: its recall
makes the old contents fire one step before the cue fires again, and such a pair depresses by the whole weight.

Verified: `FIRST_EXPERIMENT` and `STATE_MAP` give the rasters that the authors recorded from SpiNNaker, cell for cell:
12 populations in 90 and 140 steps (0 of 1080 and 0 of 1680 entries differ), in float32 and float64. The inhibition
among `cue_cont` is not tested by them: without it they are the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

import brainsim as bs
from brainsim.errors import ParameterError
from brainsim.models.neurons.lif import LIF
from brainsim.models.neurons.source import SpikeSource
from brainsim.models.plasticity.pair import STDP
from brainsim.models.synapses.exponential import ExpCurrent

STEP = 1.0  # ms; the machine's time step is part of the model
W_MAX = 6000.0  # pA; also the largest change by one pair
TAU_STDP = 3.0  # ms
TAU_SYN = 0.3  # ms
MEAN = TAU_SYN / STEP * -np.expm1(-STEP / TAU_SYN)  # of a current over the step in which it begins
POPULATIONS = (
    "in_cue", "in_cont", "cue_cue", "cont_cue", "cont_cond", "cond_int",
    "cue_cont", "cont_cont", "merge_cue", "merge_cont", "out_cue", "out_cont",
)  # fmt: skip
FAST = ("cont_cond", "cond_int", "cue_cont")
# source, target, wiring, weight in pA (a factor on the number of contents where it says so), delay on the machine: a
# spike found in step n acts in step n + delay
STATIC = (
    ("in_cue", "cue_cue", "one", 6000.0, 1),
    ("in_cont", "cont_cue", "one", 6000.0, 1),
    ("cue_cue", "cue_cont", "one", 6000.0, 2),
    ("cue_cue", "cue_cont", "others", -6000.0, 3),  # times the number of contents
    ("cue_cue", "cont_cond", "all", -6000.0, 2),
    ("cont_cue", "cont_cond", "one", 9000.0, 1),
    ("cont_cond", "cont_cont", "one", 6000.0, 1),
    ("cont_cue", "cond_int", "all", 6000.0, 1),
    ("cond_int", "cont_cond", "all", 2000.0, 1),
    ("cue_cont", "cue_cont", "others", -6000.0, 2),  # times the number of contents
    ("cue_cue", "merge_cue", "one", 6000.0, 3),
    ("cue_cont", "merge_cue", "one", 6000.0, 1),
    ("cont_cue", "merge_cont", "one", 6000.0, 3),
    ("cont_cont", "merge_cont", "one", 6000.0, 1),
    ("merge_cue", "out_cue", "one", 6000.0, 1),
    ("merge_cont", "out_cont", "one", 6000.0, 1),
)
PLASTIC = (("cue_cue", "cont_cue"), ("cont_cont", "cue_cont"))


@dataclass(frozen=True)
class Learn:
    """Present a cue with its contents for three steps from `t` (ms) on; the cue forgets what it had."""

    t: int
    cue: int
    contents: Sequence[int]


@dataclass(frozen=True)
class Recall:
    """Present cues alone, or contents alone, in the step that begins at `t` (ms)."""

    t: int
    cues: Sequence[int] = ()
    contents: Sequence[int] = ()


@dataclass(frozen=True)
class Recording:
    """Rasters of a run.

    Args:
        spikes: population -> (steps, cells) bool; row n holds the spikes found in the step that begins at n ms.
        weights: "cue_cue->cont_cue" and "cont_cont->cue_cont" -> (sources, targets) at the end, in pA.
    """

    spikes: dict[str, np.ndarray]
    weights: dict[str, np.ndarray]

    def cells(self, population: str, step: int) -> tuple[int, ...]:
        """Cells of a population that fire in a step."""
        return tuple(np.flatnonzero(self.spikes[population][step]).tolist())

    def table(self) -> list[list[tuple[int, ...]]]:
        """A row per step, a column per population, as published: the cells that fire."""
        steps = len(next(iter(self.spikes.values())))
        return [[self.cells(p, n) for p in POPULATIONS] for n in range(steps)]


# Experiment 1 of the authors, 5 cues and 10 contents, 90 ms. The text means [4, 5, 6, 8] at 20 ms; the input file that
# made the raster has [4, 5, 6].
FIRST_EXPERIMENT = (
    Learn(0, 0, (0, 1, 8, 9)),
    Learn(10, 4, (1, 5, 6)),
    Learn(20, 3, (4, 5, 6)),
    Recall(30, cues=(0,)),
    Recall(40, contents=(6,)),
    Recall(50, contents=(0, 4)),
    Learn(60, 3, (1, 3, 4, 8)),
    Recall(70, cues=(3,)),
    Recall(80, contents=(6,)),
)
# Experiment 3, 16 cues (places) and 6 contents (what is there), 140 ms.
PLACES = (0, 5, 1, 3, 0, 3, 4, 5, 0, 5, 4, 3, 2, 4, 4, 3)
STATE_MAP = (
    *(Learn(7 * place, place, (what,)) for place, what in enumerate(PLACES)),
    Recall(112, contents=(1, 2, 4)),
    Recall(118, contents=(3,)),
    Recall(124, contents=(5,)),
    Recall(130, contents=(0,)),
)


def hippocampus_cam(cues: int = 5, contents: int = 10, amplitude: float = W_MAX) -> "bs.Network":
    """The network: twelve populations of current-based cells, sixteen static projections, two plastic ones.

    Cells: tau 3 ms and 270 pF (`FAST`: 0.5 ms and 140 pF), rest and reset -60 mV, threshold -57 mV (outputs -57.5 mV),
    refractory for one step, synaptic currents of 0.3 ms. The machine holds the mean current of a step constant over
    it; so do the integrator `exp_euler` and the weights here, which carry the mean of the decay. The machine fires at
    v >= v_th, the cells here at v > v_th; the rasters do not tell these apart. Compile it with dt = `STEP`.

    Args:
        cues: cells of each of the five populations of cues, the most memories it can hold.
        contents: cells of each of the six populations of contents.
        amplitude: largest change by one pair, pA.

    Raises:
        ParameterError: fewer than one cue or content.
    """
    net = bs.Network(seed=0)
    size = {p: cues if p.endswith("_cue") else contents for p in POPULATIONS}
    size.update(cue_cue=cues, cont_cue=contents, cue_cont=cues, cont_cont=contents, cond_int=1)
    for p in POPULATIONS:
        if p.startswith("in_"):
            net.add(p, SpikeSource(), size[p])
            continue
        tau, capacity = (0.5, 140.0) if p in FAST else (3.0, 270.0)
        v_th = -57.5 if p.startswith("out_") else -57.0
        cell = LIF(tau=tau, R=tau / capacity, v_rest=-60.0, v_reset=-60.0, v_th=v_th, t_ref=STEP)
        net.add(p, cell, size[p], method="exp_euler")
    synapse = ExpCurrent(tau=TAU_SYN)
    others = np.argwhere(~np.eye(cues, dtype=bool))  # of equal number, also where the populations are two
    rules = {"one": bs.one_to_one(), "all": bs.all_to_all(), "others": bs.from_edges(*others.T)}
    for pre, post, wiring, weight, delay in STATIC:
        strength = weight * MEAN * (contents if wiring == "others" else 1)
        name = f"{pre}->{post}" + ("" if wiring != "others" else " others")
        # brainsim's delay of 0 acts in the next step, which the machine calls a delay of one
        net.connect(pre, post, synapse, rules[wiring], weight=strength, delay=(delay - 1) * STEP, name=name)
    # A postsynaptic spike reaches the machine's synapse one step after it is found, so every interval post - pre is one
    # step longer there: a factor on both amplitudes, and spikes of one step are a pair that potentiates.
    plus, minus = amplitude * MEAN * np.exp(-STEP / TAU_STDP), amplitude * MEAN * np.exp(STEP / TAU_STDP)
    rule = STDP(A_plus=plus, A_minus=minus, tau_plus=TAU_STDP, tau_minus=TAU_STDP)
    for pre, post in PLASTIC:
        net.connect(
            pre, post, synapse, rules["all"], weight=0.0, name=f"{pre}->{post}", plasticity=rule,
            bounds=(0.0, W_MAX * MEAN), ties="pre_first", deliver="new",
        )  # fmt: skip
    return net


def drives(operations: Sequence[Learn | Recall]) -> dict:
    """Inputs of a run that presents the operations: `{"in_cue.spikes": ..., "in_cont.spikes": ...}`."""
    seen = {"in_cue": [], "in_cont": []}
    for o in operations:
        learn = isinstance(o, Learn)
        for n in range(o.t, o.t + (3 if learn else 1)):
            seen["in_cue"] += [((n + 1) * STEP, cue) for cue in ((o.cue,) if learn else o.cues)]
            seen["in_cont"] += [((n + 1) * STEP, content) for content in o.contents]
    out = {}
    for name, spikes in seen.items():
        times, cells = np.array(spikes, float).reshape(-1, 2).T
        out[f"{name}.spikes"] = bs.spike_trains(times, cells.astype(int))
    return out


def run_memory(operations: Sequence[Learn | Recall], duration: int, net=None) -> Recording:
    """Present operations to a memory that knows nothing yet.

    Args:
        operations: in any order. duration: ms. net: `hippocampus_cam()` by default.

    Raises:
        ParameterError: an operation begins off the grid, before 0 or too late to end, or a recall names both cues and
            contents, or none.
        RunError: an operation names a cue or a content that is not there.
    """
    for o in operations:
        if o.t != int(o.t) or not 0 <= o.t <= duration - (3 if isinstance(o, Learn) else 1):
            raise ParameterError(
                f"{o}: t = {o.t} is not on the grid of whole ms, or the operation does not end within the {duration} "
                f"ms of the run; give a whole t of at least 0, or a longer duration"
            )
        if isinstance(o, Recall) and bool(o.cues) == bool(o.contents):
            raise ParameterError(f"{o}: recall is by cues or by contents; name one of them and leave the other out")
    net = hippocampus_cam() if net is None else net
    last = [bs.trace(f"{pre}->{post}.w", every=duration * STEP) for pre, post in PLASTIC]
    sim = net.compile(dt=STEP, record=[*(f"{p}.spikes" for p in POPULATIONS), *last])
    result = sim.advance(duration * STEP, inputs=drives(operations))
    spikes = {p: np.zeros((duration, net[p].n), bool) for p in POPULATIONS}
    for p, raster in spikes.items():
        found = result[f"{p}.spikes"]
        raster[np.rint(found.times / STEP).astype(int) - 1, found.indices] = True
    weights = {f"{a}->{b}": result[f"{a}->{b}.w"][-1].reshape(net[a].n, net[b].n) / MEAN for a, b in PLASTIC}
    return Recording(spikes, weights)
