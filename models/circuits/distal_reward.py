"""Learning by a reward that comes seconds later (Izhikevich 2007, 10.1093/cercor/bhl152, figure 1).

One synapse of a spontaneously active network is rewarded: whenever its two cells fire in the right order within 10 ms,
all synapses get a pulse of dopamine 1 to 3 s later. STDP leaves a slow trace on every synapse (1 s), dopamine turns
traces into weights; only the rewarded synapse has one at every reward.

Numbers are those of the author's program (ModelDB 84167): one step is 1 ms, v takes two Euler steps of half of that,
and all axons conduct in one step. Different from it: weights and traces change in every step instead of every tenth,
time constants are exactly 20 ms, 200 ms and 1 s, and a coincidence is within 10 ms as in the paper (20 ms in the
program, `interval=20.0`).

Verified: a plain NumPy program has the same spikes and weights. In an hour the synapse rises from 0 to the maximum of
4 mV in 4 of 5 networks (to 2.0 mV in the fifth), the mean of the others falls from 1 to 0.4 mV; with the same dopamine
a minute late (3 networks) it is below 1 mV. It is not the strongest: about 1 % of the others are as strong, in an
independent program after the author's as well.
"""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

import brainsim as bs
from brainsim.drive import Drive, drive
from brainsim.errors import ParameterError, RunError
from brainsim.models.neurons.izhikevich import Izhikevich
from brainsim.models.neurons.source import SpikeSource
from brainsim.models.plasticity.reward import DopamineSTDP

DT = 1.0  # ms; part of the model
N, N_EXC, N_OUT = 1000, 800, 100  # cells, excitatory cells, synapses of each
W_MAX = 4.0  # mV
NOISE = 6.5  # mV/ms, half the range of the thalamic input
CHUNK = 1000.0  # ms, the shortest delay of a reward: what happens in a chunk is rewarded after it
PULSES = 64  # most rewards in a chunk
PLASTIC = "exc->cells"


class HalfStepIzhikevich(Izhikevich):
    """`Izhikevich` as its author steps it: v by two Euler steps of dt/2, then u by one with the new v.

    The equations are not cut at v_peak, so that the overshoot of a spike enters u as it does in his programs. Needs the
    integrator "euler".

    References:
        Izhikevich 2003, 10.1109/TNN.2003.820440.
    """

    def _moved(self, v, u, I, dt):
        for _ in range(2):
            x = v / self.mV
            v = v + 0.5 * dt * ((0.04 * x * x + 5.0 * x + 140.0) * self.mV / self.ms - u + I / self.C)
        return v

    def dv(self, v, u, I, dt):
        return (self._moved(v, u, I, dt) - v) / dt

    def du(self, v, u, I, dt):
        return self.a * (self.b * self._moved(v, u, I, dt) - u)


class StepCurrent(bs.Synapse):
    """Current that lasts for the one step in which a spike acts; needs the integrator "euler".

    Equation::

        spike:  i += w
        current into the target: i, then i = 0
    """

    w = bs.weight("pA")
    i = bs.state(0.0, "pA", on="post")

    def di(self, i, dt):
        return -i / dt

    def on_pre(self, w):
        return dict(i=w)

    def current(self, i):
        return i


class NearestDopamineSTDP(DopamineSTDP):
    """`DopamineSTDP` in which only the last spike of the partner counts, and a pulse of dopamine has a size of its own.

    Args:
        A_plus, A_minus, tau_plus, tau_minus, tau_c, b, tau_n: as in `DopamineSTDP`.
        release: what a spike of a dopamine cell adds to n.
    """

    release = bs.param(0.05, "1/ms")

    def on_modulator(self):
        return dict(n=self.release)

    def on_pre(self, K_plus, K_minus):
        return dict(K_plus=1.0 - K_plus, eligibility=-self.A_minus * K_minus)

    def on_post(self, K_plus, K_minus):
        return dict(K_minus=1.0 - K_minus, eligibility=self.A_plus * K_plus)


@drive
class UniformNoise(Drive):
    """Independent uniform numbers in [-amplitude, amplitude), one per cell and step."""

    amplitude: Any

    def value(self, step, dt, n, key, carry):
        return self.amplitude * (2.0 * bs.ops.random.uniform(key, step, n, jnp.result_type(float)) - 1.0), carry


@drive
class Pulses(Drive):
    """1 in the given steps, else 0. Their number is fixed (-1 where there is none), so that one program serves all."""

    steps: Any

    def value(self, step, dt, n, key, carry):
        return jnp.any(jnp.asarray(self.steps) == step).astype(jnp.result_type(float)), carry


def distal_reward(seed: int = 0, tonic: float = 2e-4) -> tuple["bs.Network", int]:
    """The network, and the number of the rewarded edge in the projection "exc->cells".

    Populations: `cells` (800 regular spiking, then 200 fast spiking) and `vta` (1 cell, whose spikes are pulses of
    dopamine).
    Every cell has 100 random targets, inhibitory ones only excitatory. Excitatory weights start at 1 mV, learn and
    stay in 0..4 mV; the rewarded one starts at 0. Inhibitory weights are -1 mV. A weight is what a spike adds to v in
    1 ms, as a current. Dopamine decays with 200 ms; a pulse adds 0.05 / ms to the tonic level. Of spikes
    that are found in the same step the presynaptic one comes second: it depresses.

    Compile with `dt=1.0, method="euler"` and run with `inputs={"cells.I": UniformNoise(6.5)}`.

    Args:
        seed: of connectivity and noise.
        tonic: dopamine at rest, 1/ms.
    """
    net, rng = bs.Network(seed=seed), np.random.default_rng([seed, 84167])
    inhibitory = np.arange(N) >= N_EXC
    model = HalfStepIzhikevich(a=np.where(inhibitory, 0.1, 0.02), d=np.where(inhibitory, 2.0, 8.0))
    cells = net.add("cells", model, N)
    net.add("vta", SpikeSource(), 1)
    pre = np.repeat(np.arange(N), N_OUT)
    post = np.where(pre < N_EXC, rng.integers(0, N, N * N_OUT), rng.integers(0, N_EXC, N * N_OUT))
    order = np.lexsort((post, pre))
    pre, post = pre[order], post[order]
    edge, learns = rewarded_edge(post), pre < N_EXC
    weight = np.where(np.arange(learns.sum()) == edge, 0.0, 1.0)
    net.connect(
        cells, cells, StepCurrent(), bs.from_edges(pre[learns], post[learns]), weight=weight, name=PLASTIC,
        plasticity=NearestDopamineSTDP(b=-tonic), bounds=bs.hard(0.0, W_MAX), ties="post_first",
        modulators={"on_modulator": "vta.spikes"},
    )  # fmt: skip
    fixed = bs.from_edges(pre[~learns], post[~learns])
    net.connect(cells, cells, StepCurrent(), fixed, weight=-1.0, name="inh->exc")
    return net, edge


def rewarded_edge(post) -> int:
    """The first edge of cell 0 to another excitatory cell that it reaches only once; `post` sorted by source."""
    mine = post[:N_OUT]
    once = (mine > 0) & (mine < N_EXC) & (np.bincount(mine, minlength=N)[mine] == 1)
    return int(np.flatnonzero(once)[0])


class Critic:
    """Watches the two cells of a synapse and says when to give dopamine.

    A coincidence is a postsynaptic spike at most `interval` after the last presynaptic one, and not in the same step.

    Args:
        pre, post: the cells.
        interval: ms.
        delay: (shortest, longest) ms from a coincidence to its reward, drawn from whole steps above the shortest.
        seed: of the delays.

    Raises:
        ParameterError: a delay shorter than a chunk, or an empty range.
    """

    def __init__(self, pre: int, post: int, interval: float = 10.0, delay=(1000.0, 3000.0), seed: int = 0):
        if not CHUNK <= delay[0] < delay[1]:
            raise ParameterError(
                f"delay={delay}: what happens in {CHUNK:g} ms is seen at their end, so no reward can come earlier; "
                f"write delay=(shortest, longest) with {CHUNK:g} <= shortest < longest"
            )
        self.pre, self.post, self.interval, self.delay = pre, post, interval, delay
        self.rng, self.last = np.random.default_rng([seed, 1]), -np.inf
        self.due = np.zeros(0)  # ms, in any order
        self.rewards = []

    def see(self, spikes) -> None:
        """Take in the spikes of the next chunk, a `Spikes`."""
        pre = np.append(self.last, spikes.of(self.pre))
        post = spikes.of(self.post)
        since = post - pre[np.searchsorted(pre, post, side="right") - 1]
        found = post[(since > 0) & (since <= self.interval)]
        low, high = (round(d / DT) for d in self.delay)
        self.due = np.append(self.due, found + DT * self.rng.integers(low + 1, high + 1, len(found)))
        self.last = pre[-1]

    def give(self, start: float) -> "Pulses":
        """Dopamine of the chunk that begins at `start` ms."""
        now = self.due < start + CHUNK
        times, self.due = np.unique(self.due[now]), self.due[~now]
        if len(times) > PULSES:
            raise RunError(
                f"{len(times)} rewards within {CHUNK:g} ms from {start:g} ms on, but there is room for {PULSES}; "
                f"take a shorter interval=, or more PULSES"
            )
        self.rewards.extend(times.tolist())
        steps = np.full(PULSES, -1, np.int32)
        # a spike of step n is found at its end, at (n + 1) dt
        steps[: len(times)] = np.rint(times / DT).astype(int) - 1
        return Pulses(steps)


@dataclass(frozen=True)
class Conditioning:
    """What the network has learnt.

    Attributes:
        times: (n,) s, when the weights were looked at.
        weight: (n,) mV of the rewarded synapse.
        others: (n,) mV, mean of all other plastic synapses.
        rank: (n,) of the rewarded synapse among the plastic ones; 1 is the strongest, ties count against it.
        rate: (n,) Hz, mean over all cells of the second before.
        rewards: (k,) s, when dopamine was given.
        weights: (80000,) mV at the end.
        edge: number of the rewarded synapse.
    """

    times: np.ndarray
    weight: np.ndarray
    others: np.ndarray
    rank: np.ndarray
    rate: np.ndarray
    rewards: np.ndarray
    weights: np.ndarray
    edge: int


def condition(
    duration: float = 3600.0,
    seed: int = 0,
    every: int = 10,
    interval: float = 10.0,
    delay=(1000.0, 3000.0),
    tonic: float = 2e-4,
) -> Conditioning:
    """Run the experiment: one second at a time, because a reward comes at least one second after what it is for.

    Args:
        duration: s, whole.
        seed: of connectivity, noise and the delays of rewards.
        every: s between two looks at the weights.
        interval: ms, longest time of a coincidence.
        delay: (shortest, longest) ms from a coincidence to its reward; a minute instead of seconds is a control, in
            which as much dopamine comes when no trace is left.
        tonic: dopamine at rest, 1/ms.

    Raises:
        ParameterError: the duration is not a multiple of `every`.
    """
    if duration <= 0 or duration % every:
        raise ParameterError(f"duration={duration} s is not a multiple of every={every} s; write a multiple")
    net, edge = distal_reward(seed, tonic)
    sim = net.compile(dt=DT, method="euler", record=["cells.spikes", bs.trace(f"{PLASTIC}.w", every=CHUNK)])
    critic = Critic(0, int(net[PLASTIC].edges.post[edge]), interval, delay, seed)
    looks = []
    for second in range(int(duration)):
        inputs = {"cells.I": UniformNoise(NOISE), "vta.spikes": critic.give(second * CHUNK)}
        result = sim.advance(CHUNK, inputs=inputs)
        critic.see(result["cells"])
        if (second + 1) % every == 0:
            w = result[f"{PLASTIC}.w"][-1]
            others, rank = (w.sum() - w[edge]) / (len(w) - 1), 1 + np.sum(np.delete(w, edge) >= w[edge])
            looks.append((second + 1, w[edge], others, rank, len(result["cells"]) / N))
    times, weight, others, rank, rate = map(np.array, zip(*looks))
    return Conditioning(times, weight, others, rank, rate, np.array(critic.rewards) * 1e-3, w, edge)
