"""Accumulation of evidence by a spiking network that learns with e-prop (Bellec et al. 2020,
10.1038/s41467-020-17236-y; the task of Morcos & Harvey 2016, 10.1038/nn.4403).

A mouse runs along a track, sees 7 cues on its left or right side, and more than a second after the last one has to turn
to the side with more of them. Cues last 100 ms with 50 ms before each, at a rate of 40 Hz in the 10 input cells of the
side; 10 others fire at 40 Hz when the answer is due, and 10 at 10 Hz always. The network is an LSNN with 50 LIF and 50
adaptive cells, thresholds that remember for 2 s; only the last 150 of 2250 ms count.

    trained = train(PAPER, adjoint=bs.EProp(feedback="random"))
    trained.errors, trained.reached

The authors' program stops when 7 % of the trials are wrong. Different from it: see `lsnn`.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

import brainsim as bs
from brainsim.errors import ParameterError
from brainsim.fitting import encoders
from brainsim.models.circuits.lsnn import eprop_surrogate, lsnn
from brainsim.models.circuits.trials import UNSEEN, Trained, error_of, train_trials

DT = 1.0  # ms
CRITERION = 0.07  # error at which the authors' program stops
TARGET = 10.0  # Hz, that cells should fire with


@dataclass(frozen=True)
class Task:
    """Times in ms, rates in Hz.

    Attributes:
        cues: odd number of cues. cue, gap: of each, and before it. delay: after the last one. recall: at the end.
        n_in: input cells, in four groups: left, right, recall, noise. rate: of a group that is on.
        background: of the noise.
        bias: chance of a cue on the side that is favoured in a trial.
    """

    cues: int = 7
    cue: float = 100.0
    gap: float = 50.0
    delay: float = 1050.0
    recall: float = 150.0
    n_in: int = 40
    rate: float = 40.0
    background: float = 10.0
    bias: float = 0.7

    def __post_init__(self):
        if self.cues < 1 or self.cues % 2 == 0 or self.n_in < 4 or self.n_in % 4:
            raise ParameterError(
                f"{self.cues} cues and {self.n_in} inputs: an even number of cues has no majority, and inputs are four "
                f"groups of one size; give an odd number and a multiple of 4"
            )

    @property
    def duration(self) -> float:
        return self.cues * (self.cue + self.gap) + self.delay + self.recall


PAPER = Task()
SHORT = Task(cues=3, cue=50.0, gap=10.0, delay=50.0, recall=50.0, n_in=40, rate=100.0)


def evidence_task(n, task=PAPER, seed=0) -> dict:
    """Trials: {"cues": (n, cues) 0 left or 1 right, "side": (n,) the majority}."""
    rng = np.random.default_rng(seed)
    right = np.where(rng.random(n) < 0.5, task.bias, 1.0 - task.bias)
    cues = (rng.random((n, task.cues)) < right[:, None]).astype(np.int32)
    return {"cues": cues, "side": (cues.sum(1) > task.cues // 2).astype(np.int32)}


def rates(cues, task=PAPER):
    """(steps, n_in) rates in Hz of the inputs in a trial, of its cues (cues,)."""
    steps, each = round(task.duration / DT), task.n_in // 4
    first, length = np.arange(task.cues) * (task.cue + task.gap) + task.gap, task.cue
    t = np.arange(steps) * DT
    during = jnp.asarray((t[:, None] >= first) & (t[:, None] < first + length), bool)  # (steps, cues)
    side = jnp.stack([jnp.any(during & (cues == s)[None], axis=1) for s in (0, 1)], axis=1)
    late = jnp.asarray(t >= task.duration - task.recall)[:, None]
    on = jnp.concatenate([side, late], axis=1) * task.rate
    groups = jnp.concatenate([on, jnp.full((steps, 1), task.background)], axis=1)
    return jnp.repeat(groups, each, axis=1)


def evidence_network(task=PAPER, n_lif=50, n_alif=50, seed=0, **settings) -> "bs.Network":
    """The `lsnn` of the task: two readouts, whose larger one is the answer."""
    return lsnn(task.n_in, n_lif, n_alif, 2, seed=seed, **settings)


def compile_for(net) -> "bs.Simulation":
    """Readout and spikes recorded, with the surrogate of the paper."""
    return net.compile(dt=DT, record=["out.v", "rec.spikes"], surrogate=eprop_surrogate())


def answer(readout, task=PAPER):
    """(2,) mean readout while the answer is due, of (steps, 2)."""
    return jnp.mean(readout[-round(task.recall / DT) :], axis=0)


def loss_of(task, firing):
    """Cross-entropy of the readout in every step of the recall, and firing / 2 times the sum over cells of
    (rate - 10 Hz)^2 with the mean rates of a batch of trials, per ms."""

    def loss(result, data):
        late = jax.nn.log_softmax(result["out.v"][:, -round(task.recall / DT) :], axis=-1)
        right = jnp.take_along_axis(late, data["side"][:, None, None], axis=2)
        rate = jnp.mean(result.spikes["rec"], axis=(0, 1)) / DT
        return -jnp.mean(right) + 0.5 * firing * jnp.sum((rate - 1e-3 * TARGET) ** 2)

    return loss


def drive_of(task):
    """Inputs of a trial for `bs.fit`: new spikes every time."""
    return lambda data, key: {"input.spikes": bs.array(encoders.poisson(key, rates(data["cues"], task), DT))}


def error_of_task(sim, task=PAPER, tested=512, seed=UNSEEN):
    """A compiled function of parameters: part of `tested` trials that are answered wrong. seed: of trials and spikes;
    `train` stops by those of the default."""
    decide = lambda result: jnp.argmax(answer(result["out.v"], task))
    return error_of(sim, task.duration, drive_of(task), decide, evidence_task(tested, task, seed), "side", seed)


def train(
    task=PAPER, *, adjoint=None, net=None, iterations=500, batch=64, rate=1e-2, firing=30.0, criterion=CRITERION,
    every=25, tested=1024, seed=0, progress=False,
) -> Trained:  # fmt: skip
    """Train by `bs.fit` with Adam until fewer trials than `criterion` are answered wrong.

    Args:
        adjoint: default: e-prop with random feedback. net: default: `evidence_network(task, seed=seed)`.
        iterations: at most. batch: trials of each, with new spikes. rate: of Adam; it falls to a twentieth as a cosine.
        firing: of the rates, see `loss_of`.
        criterion: on `tested` unseen trials, asked after `every` iterations. seed: of weights, cues and spikes.
        progress: as in `bs.fit`.
    """
    import optax

    sim = compile_for(evidence_network(task, seed=seed) if net is None else net)
    return train_trials(
        sim, bs.Space({"*.weight": bs.free()}), loss_of(task, firing), evidence_task(batch * 64, task, seed),
        error=error_of_task(sim, task, tested), criterion=criterion, every=every, duration=task.duration,
        inputs=drive_of(task), batch=batch, per="batch", steps=iterations,
        method=optax.adam(optax.cosine_decay_schedule(rate, iterations, 0.05)), key=seed, progress=progress,
        adjoint=bs.EProp(feedback="random", seed=seed) if adjoint is None else adjoint,
    )  # fmt: skip
