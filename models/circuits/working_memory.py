"""Working memory: delayed match-to-sample by a network of excitatory and inhibitory cells with slow currents, trained
with backpropagation through time (Wang et al., A differentiable brain simulator bridging brain simulation and
brain-inspired computing, ICLR 2024, arXiv:2311.05106).

Two directions are shown a second apart; the answer is whether they are the same. 24 inputs are tuned to directions, 80
excitatory and 20 inhibitory cells keep the sign of what they send (Dale's law). What a cell remembers lies in a current
that every spike makes more negative and that decays over 0.1 to 3 s.

    trained = train(PAPER)
    1.0 - trained.error

Equations are those of the authors' program: cells integrate a current that is filtered by 100 ms. Different: spikes
reach the readout a step later and states decay exactly. Learning differs: rates are larger and differ by kind of
parameter, batches too; the penalty on voltages counts less, for with its published weight a cell remembers no more than
two or three spikes and neighbouring directions are confused; silent cells are penalised.
"""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

import brainsim as bs
from brainsim.errors import ParameterError
from brainsim.fitting import encoders
from brainsim.models.circuits.trials import UNSEEN, Trained, error_of, train_trials
from brainsim.models.neurons.readout import LeakyReadout
from brainsim.models.neurons.source import SpikeSource
from brainsim.models.synapses.delta import Delta
from brainsim.models.synapses.exponential import ExpCurrent

DT = 1.0  # ms
V_TH = 1.0  # mV
LOW, HIGH = -2.0, 0.4  # (v - v_th) / v_th should stay between them
SCALE = 0.4  # of the initial weights
READ, HEARD, SENT = 200.0, 10.0, 0.5  # units, in initial sizes, in which weights of readouts, inputs and cells learn
HELD = 0.1  # unit in which constant currents learn
TARGET = 10.0  # Hz, that cells should fire with


@dataclass(frozen=True)
class Task:
    """Times in ms, rates in Hz.

    Attributes:
        fixation, sample, delay, test: times, one after the other.
        n_in: input cells. kappa: sharpness of their tuning. peak, background: rates of the input.
        directions: number of them. match: chance of a trial with twice the same.
    """

    fixation: float = 500.0
    sample: float = 500.0
    delay: float = 1000.0
    test: float = 500.0
    n_in: int = 24
    kappa: float = 2.0
    peak: float = 40.0
    background: float = 1.0
    directions: int = 8
    match: float = 0.5

    def __post_init__(self):
        if self.directions < 2 or not 0 < self.match < 1:
            raise ParameterError(
                f"{self.directions} directions and a chance of {self.match} of a match: nothing is to be told apart; "
                f"give at least 2 and a chance between 0 and 1"
            )

    @property
    def duration(self) -> float:
        return self.fixation + self.sample + self.delay + self.test


PAPER = Task()
SHORT = Task(fixation=20.0, sample=60.0, delay=40.0, test=80.0, directions=2, peak=150.0)


class SlowGIF(bs.Neuron):
    """Leaky integrate-and-fire cell with two currents of its own spikes.

    Equation::

        tau v' = -v + R (I + bias + I1 + I2)
        tau1 I1' = -I1,  tau2 I2' = -I2
        v > v_th:  v -= v_th, I1 = A1, I2 += A2

    Args:
        tau: of the membrane. R: resistance. v_th: threshold; a cell rests at 0.
        tau1, tau2: of the currents. A1: what I1 is after a spike. A2: what a spike adds to I2.
        bias: constant current.
    """

    tau = bs.param(20.0, "ms", bounds=(0, None))
    R = bs.param(1.0, "GOhm", bounds=(0, None))
    v_th = bs.param(V_TH, "mV", bounds=(0, None))
    tau1 = bs.param(10.0, "ms", bounds=(0, None))
    tau2 = bs.param(1000.0, "ms", bounds=(0, None))
    A1 = bs.param(0.0, "pA")
    A2 = bs.param(-0.6, "pA")
    bias = bs.param(0.0, "pA")

    v = bs.state(0.0, "mV")
    I1 = bs.state(0.0, "pA")
    I2 = bs.state(0.0, "pA")

    def dv(self, v, I1, I2, I):
        return (-v + self.R * (I + self.bias + I1 + I2)) / self.tau

    def dI1(self, I1):
        return -I1 / self.tau1

    def dI2(self, I2):
        return -I2 / self.tau2

    def spike(self, v):
        return v - self.v_th

    def reset(self, v, I2):
        return dict(v=v - self.v_th, I1=self.A1, I2=I2 + self.A2)


def match_task(n, task=PAPER, seed=0) -> dict:
    """Trials: {"sample": (n,), "test": (n,) numbers of directions, "match": (n,) 1 where they are the same}."""
    rng = np.random.default_rng(seed)
    sample, other = rng.integers(task.directions, size=n), rng.integers(1, task.directions, size=n)
    same = rng.random(n) < task.match
    test = np.where(same, sample, (sample + other) % task.directions)
    return {"sample": sample.astype(np.int32), "test": test.astype(np.int32), "match": same.astype(np.int32)}


def rates(sample, test, task=PAPER):
    """(steps, n_in) rates in Hz of the inputs in a trial."""
    begins = np.cumsum([task.fixation, task.sample, task.delay])
    t = np.arange(round(task.duration / DT)) * DT
    during = (t >= begins[0]) & (t < begins[1]), t >= begins[2]
    angles = 2.0 * math.pi * jnp.stack([sample, test]) / task.directions
    tuned = task.peak * encoders.directions(angles, task.n_in, task.kappa)
    return task.background + jnp.stack(during, axis=1).astype(tuned.dtype) @ tuned


def memory_network(task=PAPER, n_exc=80, n_inh=20, *, filtered=100.0, slow=(100.0, 3000.0), scale=SCALE, seed=0):
    """Populations "input", "exc", "inh" (`SlowGIF`) and "out" (no match, match).

    Weights are normal with standard deviation scale sqrt(2 / sources), of either sign from the input, of one sign
    between cells, where those of excitatory cells are n_exc / n_inh times smaller.

    Args:
        n_exc, n_inh: numbers of cells. filtered: ms, of the input current. slow: ms, range of tau2.
        scale: of the initial weights. seed: of them and of tau2.
    """
    net, n = bs.Network(seed=seed), n_exc + n_inh
    net.add("input", SpikeSource(), task.n_in)
    rng = np.random.default_rng(seed)
    for name, count, kick in (("exc", n_exc, 0.0), ("inh", n_inh, 1.0)):
        model = SlowGIF(tau2=rng.uniform(*slow, count), A1=kick, bias=np.zeros(count))
        net.add(name, model, count)
    net.add("out", LeakyReadout(tau=10.0), 2)
    current, wide = ExpCurrent(tau=filtered), scale * math.sqrt(2.0 / n)
    sizes = {"exc": n_exc, "inh": n_inh}
    for post, there in sizes.items():
        sd = scale * math.sqrt(2.0 / task.n_in)
        net.connect("input", post, current, bs.all_to_all(), weight=bs.normal(0.0, sd))
        for pre, here in sizes.items():
            size = np.abs(rng.normal(0.0, wide, here * there - (here if pre == post else 0)))
            signed = size * (n_inh / n_exc if pre == "exc" else -1.0)
            net.connect(pre, post, current, bs.all_to_all(autapses=pre != post), weight=signed)
    for pre in sizes:
        net.connect(pre, "out", Delta(), bs.all_to_all(), weight=bs.normal(0.0, wide))
    return net


def compile_for(net, gain=0.3) -> "bs.Simulation":
    """Readout, voltages and spikes recorded. The surrogate is a triangle of the width of the threshold; resets of v and
    I1 have no derivative, that of I2, which remembers, has.

    Args:
        gain: of the surrogate.
    """
    surrogate = bs.Surrogate("triangular", V_TH, detach_reset=("v", "I1"), gain=gain)
    record = ["out.v", *(f"{cells}.{x}" for cells in ("exc", "inh") for x in ("v", "spikes"))]
    return net.compile(dt=DT, record=record, surrogate=surrogate)


def space_of(sim) -> "bs.Space":
    """Weights and constant currents, in units by which some learn faster; weights between cells keep their sign (Dale's
    law)."""
    size = {k: float(np.std(v)) for k, v in sim.params.items() if k.endswith(".weight")}
    how = {k: bs.free(s * (READ if k.endswith("->out.weight") else HEARD)) for k, s in size.items()}
    for pre, signed in (("exc", bs.positive), ("inh", bs.negative)):
        how |= {f"{pre}->{post}.weight": signed(SENT * size[f"{pre}->{post}.weight"]) for post in ("exc", "inh")}
    return bs.Space(how | {"exc.bias": bs.free(HELD), "inh.bias": bs.free(HELD)})


def answer(result, task=PAPER):
    """(..., 2) mean readout during the test: of no match, of a match."""
    return jnp.mean(result["out.v"][..., -round(task.test / DT) :, :], axis=-2)


def loss_of(task, penalty, firing):
    """A function of a batch of trials: mean cross-entropy of the mean readout during the test; penalty times the mean
    over trials of the squared mean of [x - 0.4]_+^2 + [-2 - x]_+^2 with x = (v - v_th) / v_th; firing times the mean
    over cells of (rate / 10 Hz - 1)^2.

    In single steps the readout is mostly noise, whose cross-entropy hides how well the mean decides.
    """

    def loss(result, data):
        right = jnp.take_along_axis(jax.nn.log_softmax(answer(result, task)), data["match"][:, None], axis=1)
        x = jnp.concatenate([result["exc.v"], result["inh.v"]], axis=2) / V_TH - 1.0
        outside = jnp.maximum(x - HIGH, 0.0) ** 2 + jnp.maximum(LOW - x, 0.0) ** 2
        rate = jnp.concatenate([jnp.mean(result.spikes[c], axis=(0, 1)) for c in ("exc", "inh")]) * 1000.0 / DT
        voltage, silence = jnp.mean(jnp.mean(outside, axis=(1, 2)) ** 2), jnp.mean((rate / TARGET - 1.0) ** 2)
        return -jnp.mean(right) + penalty * voltage + firing * silence

    return loss


def drive_of(task):
    """Inputs of a trial for `bs.fit`: new spikes every time."""

    def inputs(data, key):
        return {"input.spikes": bs.array(encoders.poisson(key, rates(data["sample"], data["test"], task), DT))}

    return inputs


def error_of_task(sim, task=PAPER, tested=512, seed=UNSEEN):
    """A compiled function of parameters: part of `tested` trials that are answered wrong. seed: of trials and spikes;
    `train` stops by those of the default."""
    decide = lambda result: jnp.argmax(answer(result, task))
    return error_of(sim, task.duration, drive_of(task), decide, match_task(tested, task, seed), "match", seed)


def train(
    task=PAPER, *, adjoint=None, net=None, iterations=400, batch=160, rate=0.03, gain=0.3, clip=0.3, penalty=0.002,
    firing=0.03, criterion=0.03, every=25, tested=1024, seed=0, progress=False,
) -> Trained:  # fmt: skip
    """Train by `bs.fit` with Adam until fewer trials than `criterion` are answered wrong.

    Args:
        adjoint: default: `bs.BPTT()`. net: default: `memory_network(task, seed=seed)`.
        iterations: at most. batch: trials of each, with new spikes. rate: of Adam, in the units of `space_of`; it falls
            to 3 % as a cosine. gain: of the surrogate. clip: of the norm of the gradient.
        penalty, firing: of voltages and rates, see `loss_of`.
        criterion: on `tested` unseen trials, asked after `every` iterations. seed: of weights, trials and spikes.
        progress: as in `bs.fit`.
    """
    import optax

    sim = compile_for(memory_network(task, seed=seed) if net is None else net, gain)
    return train_trials(
        sim, space_of(sim), loss_of(task, penalty, firing), match_task(batch * 64, task, seed), per="batch",
        error=error_of_task(sim, task, tested), criterion=criterion, every=every, duration=task.duration,
        inputs=drive_of(task), batch=batch, steps=iterations,
        method=optax.adam(optax.cosine_decay_schedule(rate, iterations, 0.03)), clip=clip,
        adjoint=bs.BPTT() if adjoint is None else adjoint, key=seed, progress=progress,
    )  # fmt: skip
