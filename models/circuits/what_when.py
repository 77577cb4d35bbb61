"""What and when: a reservoir learns from errors which of two events follows a cue, and when (after Yamada & Chao
2025, arXiv:2510.14382).

From the paper: Izhikevich cells under Dale's law, a `when` readout learnt online by three factors, a `what` readout
learnt at the end of a trial by two, prediction = what * when, blocks of 100 trials. Its methods text was not
available: the numbers, the normalisation of both rules and the slow trace that `when` subtracts are our own, and
`when` is not fed back to the reservoir. Without the slow trace the rates common to all times dominate, and 100 trials
do not suffice.
"""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

import brainsim as bs
from brainsim.errors import ParameterError
from brainsim.models.neurons.izhikevich import Izhikevich
from brainsim.models.synapses.exponential import ExpCurrent

DT = 0.5  # ms
CUE, TRIAL = 100.0, 1000.0  # ms; the cue lasts to the end of the trial
LATENCY = (300.0, 600.0)  # ms after the cue, events A and B
WIDTH = 20.0  # ms, standard deviation of the target of `when`
TAU, TAU_SLOW = 30.0, 100.0  # ms, of rate traces and of their slow means


class Readout(bs.Neuron):
    """Linear readout y of what it receives, and its error e; a step of dt by method="euler", for which both are exact.

    Equation::

        y = I,   e = gate (target - y)   at the start of a step
    """

    I = bs.input()
    target = bs.input()
    gate = bs.input()
    y = bs.state(0.0)
    e = bs.state(0.0)

    def dy(self, y, I, dt):
        return (I - y) / dt

    def de(self, e, I, target, gate, dt):
        return (gate * (target - I) - e) / dt


class FastTrace(bs.Synapse):
    """Sum of w (x - s): what a source did in the last tau beyond its mean over tau_s.

    Equation::

        tau x' = -x,  tau_s s' = -s        spike:  x += 1,  s += tau / tau_s

    Args:
        tau, tau_s: time constants of the fast and of the slow trace.
    """

    current_unit = "1"
    w = bs.weight()
    tau = bs.param(TAU, "ms", bounds=(0, None))
    tau_s = bs.param(TAU_SLOW, "ms", bounds=(0, None))
    x, s = bs.state(0.0, on="pre"), bs.state(0.0, on="pre")

    def dx(self, x):
        return -x / self.tau

    def ds(self, s):
        return -s / self.tau_s

    def on_pre(self):
        return dict(x=1.0, s=self.tau / self.tau_s)

    def output(self, x, s):
        return dict(z=x - s)

    def current(self, z):
        return z


class SquaredFastTrace(FastTrace):
    """Sum of w (x - s)^2 with the traces of `FastTrace`.

    Equation::

        tau x' = -x,  tau_s s' = -s        spike:  x += 1,  s += tau / tau_s
    """

    def output(self, x, s):
        return dict(z=(x - s) ** 2)


class MeanTrace(bs.Synapse):
    """Sum of w m, m the mean of the trace x from `start` on, complete after `span`.

    Equation::

        tau x' = -x,  x += 1 at a spike,   m' = x / span where t >= start

    Args:
        tau: time constant of the trace. start, span: ms.
    """

    current_unit = "1"
    w = bs.weight()
    tau = bs.param(TAU, "ms", bounds=(0, None))
    start = bs.param(CUE, "ms")
    span = bs.param(TRIAL - CUE, "ms", bounds=(0, None))
    x, m = bs.state(0.0, on="pre"), bs.state(0.0, on="pre")

    def dx(self, x):
        return -x / self.tau

    def dm(self, x, t):
        return jnp.where(t >= self.start, x / self.span, 0.0)

    def on_pre(self):
        return dict(x=1.0)

    def output(self, m):
        return dict(z=m)

    def current(self, z):
        return z


class SquaredMeanTrace(MeanTrace):
    """Sum of w m^2 with the mean trace of `MeanTrace`.

    Equation::

        tau x' = -x,  x += 1 at a spike,   m' = x / span where t >= start
    """

    def output(self, m):
        return dict(z=m * m)


class WhenRule(bs.Plasticity):
    """Three factors: trace of the source, error of the target, gate (part of the error); normalised least mean squares.

    Equation::

        w' = eta e_post (x - s) / power where power > 1;   traces as in `FastTrace`

    Args:
        eta: rate of learning. trace_tau, trace_tau_s: time constants of the traces.
        power (input): sum of (x - s)^2 over the sources.
    """

    eta = bs.param(0.5, "1/ms", bounds=(0, None), closed=True)
    trace_tau = bs.param(TAU, "ms", bounds=(0, None))
    trace_tau_s = bs.param(TAU_SLOW, "ms", bounds=(0, None))
    power = bs.input(default=1.0)
    fast, slow = bs.state(0.0, on="pre"), bs.state(0.0, on="pre")

    def dfast(self, fast):
        return -fast / self.trace_tau

    def dslow(self, slow):
        return -slow / self.trace_tau_s

    def on_pre(self):
        return dict(fast=1.0, slow=self.trace_tau / self.trace_tau_s)

    def dw(self, fast, slow, e_post, power):
        return jnp.where(power > 1.0, self.eta * e_post * (fast - slow) / jnp.maximum(power, 1.0), 0.0)


class WhatRule(bs.Plasticity):
    """Two factors: mean trace of the source and error of the target; normalised least mean squares.

    Equation::

        w' = eta e_post mean / power;   the mean as in `MeanTrace`

    Args:
        eta: share of the error that is corrected while the integral of the target's gate is 1 ms.
        trace_tau: time constant of the trace. begin, length: ms.
        power (input): sum of the squared means over the sources.
    """

    eta = bs.param(0.05, "1/ms", bounds=(0, None), closed=True)
    trace_tau = bs.param(TAU, "ms", bounds=(0, None))
    begin = bs.param(CUE, "ms")
    length = bs.param(TRIAL - CUE, "ms", bounds=(0, None))
    power = bs.input(default=1.0)
    fast, mean = bs.state(0.0, on="pre"), bs.state(0.0, on="pre")

    def dfast(self, fast):
        return -fast / self.trace_tau

    def dmean(self, fast, t):
        return jnp.where(t >= self.begin, fast / self.length, 0.0)

    def on_pre(self):
        return dict(fast=1.0)

    def dw(self, mean, e_post, power):
        return self.eta * e_post * mean / jnp.maximum(power, 1e-6)


def what_when(n=1000, blocks=1, g=2.0, seed=0) -> "bs.Network":
    """Populations `reservoir` (n, 80 % excitatory, first), `when` and `what` (2 cells for each block: A, B).

    Heterogeneous cells; every pair is connected with probability 0.1, weight |N(0, 1)| g / sqrt(0.1 n), 5 pA per unit,
    inhibition 4 times as strong; currents decay in 5 ms (onto excitatory) or 10 ms (onto inhibitory cells). `WhatWhen`
    drives it.

    Args:
        n: reservoir cells.
        blocks: pairs of readouts that learn side by side from one reservoir, each from its own sequence of events.
        g: recurrent strength.
        seed: of cells, connectivity.

    Raises:
        ParameterError: no cells or blocks.
    """
    if not (n >= 10 and blocks >= 1):
        raise ParameterError(f"n={n!r}, blocks={blocks!r}: give at least 10 cells and 1 block")
    net, rng = bs.Network(seed=seed), np.random.default_rng([seed, 17])
    n_exc = n * 4 // 5
    r, exc = rng.random(n), np.arange(n) < n_exc
    cells = Izhikevich(
        a=np.where(exc, 0.02, 0.02 + 0.08 * r),
        b=np.where(exc, 0.2, 0.25 - 0.05 * r),
        c=np.where(exc, -65.0 + 15.0 * r**2, -65.0),
        d=np.where(exc, 8.0 - 6.0 * r**2, 2.0),
    )
    w = 5.0 * g / np.sqrt(0.1 * n) * np.abs(rng.standard_normal((n, n))) * (rng.random((n, n)) < 0.1)
    np.fill_diagonal(w, 0.0)
    w[n_exc:] *= -4.0
    reservoir = net.add("reservoir", cells, n)
    net.connect(reservoir, reservoir, ExpCurrent(tau=np.where(exc, 5.0, 10.0)), bs.from_matrix(w), name="recurrent")
    parts = (
        ("when", FastTrace(), SquaredFastTrace(), WhenRule()),
        ("what", MeanTrace(), SquaredMeanTrace(), WhatRule()),
    )
    for name, synapse, squared, rule in parts:
        power, readout = net.add(f"{name}_power", Readout(), 1), net.add(name, Readout(), 2 * blocks)
        every = bs.all_to_all()
        net.connect(reservoir, power, squared, every, weight=1.0)
        net.connect(
            reservoir,
            readout,
            synapse,
            every,
            weight=bs.choice((0.0,)),  # one value per edge: learned weights are given back as parameters
            name=f"learn_{name}",
            plasticity=rule,
            bounds=bs.unbounded(),
            modulators={"power": f"{name}_power.y"},
        )
    return net


@dataclass
class Prediction:
    """What the network expected in one trial.

    Attributes:
        times: (steps,) ms since the cue. when: (steps, blocks, 2) readouts of A and B. what: (blocks, 2).
    """

    times: np.ndarray
    when: np.ndarray
    what: np.ndarray

    @property
    def output(self):
        """(steps, blocks, 2): when * what, what clipped to [0, 1]."""
        return self.when * np.clip(self.what, 0.0, 1.0)

    def peaks(self):
        """Largest output of A and B (blocks, 2), and its time since the cue in ms (blocks, 2)."""
        at = np.argmax(self.output, 0)
        return np.max(self.output, 0), self.times[at]

    def error(self, p, latency=LATENCY):
        """Root mean square over time and channels of output - probability * target; p: (blocks,) probability of A."""
        p = np.broadcast_to(p, self.what.shape[:1])
        wanted = targets(self.times, latency)[:, None] * np.stack([p, 1 - p], -1)
        return np.sqrt(np.mean((self.output - wanted) ** 2, (0, 2)))


def targets(times, latency=LATENCY):
    """(steps, 2) Gaussians of height 1 and standard deviation 20 ms at the latencies; times since the cue, ms."""
    return np.exp(-0.5 * ((times[:, None] - np.asarray(latency)) / WIDTH) ** 2)


class WhatWhen:
    """Trials with the network of `what_when`. Every trial starts from the same state; only the learned weights go on.

    Args:
        network: of `what_when`. seed: of bias and cue currents.
    """

    def __init__(self, network, seed=0):
        rng, n = np.random.default_rng([seed, 18]), network["reservoir"].n
        self.network, self.blocks = network, network["when"].n // 2
        self.bias = rng.uniform(0.0, 3.0, n)
        self.cue = np.where(rng.permutation(n) < n // 2, rng.uniform(3.0, 12.0, n), 0.0)
        record = ["when.y", bs.trace("what.y", every=TRIAL), bs.trace("learn_*.w", every=TRIAL), "reservoir.spikes"]
        self.sim = network.compile(dt=DT, method="euler", record=record)
        self.times = (np.arange(round(TRIAL / DT)) + 1) * DT - CUE
        self.weights, self.spikes = {}, None

    def trial(self, events=None, latency=LATENCY) -> Prediction:
        """One trial.

        Args:
            events: (blocks,) 0 where A follows the cue, 1 where B does; None: a test, nothing is learnt.
            latency: of A and B after the cue, ms.
        """
        steps, cells = len(self.times), 2 * self.blocks
        gate, outcome, teach = np.zeros((steps, cells)), np.zeros(cells), 0.0
        if events is not None:
            here = np.arange(self.blocks) * 2 + np.broadcast_to(events, self.blocks)
            gate[np.ix_(self.times > 0, here)], outcome[here], teach = 1.0, 1.0, 1.0 / DT
        inputs = {
            "reservoir.I": bs.constant(self.bias) + bs.step(self.cue, start=CUE),
            "when.target": bs.array(np.tile(targets(self.times, latency), self.blocks)),
            "when.gate": bs.array(gate),
            "what.target": bs.constant(outcome),
            "what.gate": bs.step(teach, start=TRIAL - DT),
        }
        r = self.sim.run(TRIAL, params=self.weights, inputs=inputs)
        if events is not None:
            self.weights = {f"{k}.weight": jnp.asarray(r[f"{k}.w"][-1]) for k in ("learn_when", "learn_what")}
        self.spikes = r["reservoir"]
        after = self.times > 0
        y = r["when.y"].reshape(steps, self.blocks, 2)[after]
        return Prediction(self.times[after], y, r["what.y"][-1].reshape(self.blocks, 2))

    def traces(self):
        """(steps, n) rate traces of the reservoir in the last trial, from the cue on."""
        n, steps = self.network["reservoir"].n, len(self.times)
        x = np.zeros((steps, n))
        at = np.rint(np.asarray(self.spikes.times) / DT).astype(int) - 1
        np.add.at(x, (at, np.asarray(self.spikes.indices)), 1.0)
        for k in range(1, steps):
            x[k] += x[k - 1] * np.exp(-DT / TAU)
        return x[self.times > 0]


def least_squares(traces, times, frequency, latency=LATENCY, ridge=1e-3):
    """Baseline: the prediction (steps, 2) of a readout fitted to all trials at once by ridge regression.

    Args:
        traces: (steps, n). times: (steps,) ms since the cue. frequency: share of the trials with A.
        ridge: penalty relative to the mean squared trace.
    """
    wanted = targets(times, latency) * np.array([frequency, 1 - frequency])
    gram = traces.T @ traces
    w = np.linalg.solve(gram + ridge * np.trace(gram) / len(gram) * np.eye(len(gram)), traces.T @ wanted)
    return traces @ w
