"""What and when: a reservoir learns from errors which of two events follows a cue, and when (after Yamada & Chao 2025,
arXiv:2510.14382).

The methods of the paper were not available: shapes and rules are the paper's (Izhikevich cells, Dale's law, a `when`
readout learnt online by three factors, a `what` readout learnt at the end of a trial by two, prediction = what * when), the
numbers are our own; the `when` readout is not fed back to the reservoir.
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


class WhenReadout(bs.Neuron):
    """Linear readout of the deviations of rate traces from their slow means, corrected while it learns.

    Equation::

        y = fast - slow = sum_j w_j (x_j - s_j)
        tau x_j' = -x_j,  x_j += 1        tau_s s_j' = -s_j,  s_j += tau / tau_s    at a spike of j
        e = gate (target - y) where p > 1, else 0,   p = xx - 2 xs + ss = sum_j (x_j - s_j)^2

    The sums fast, slow, xx, xs, ss decay as their traces do and jump through `WhenSynapse` and `TraceProducts`. A change of
    the weights, dw = eta e (x - s) / p per ms, moves the sums at once, so that y is the sum above also while weights learn.
    Step it by method="euler", for which the decays are exact.

    Args:
        tau, tau_s: time constants of the fast and the slow traces. eta: rate of learning, that of `WhenRule`.
    """

    tau = bs.param(TAU, "ms", bounds=(0, None))
    tau_s = bs.param(TAU_SLOW, "ms", bounds=(0, None))
    eta = bs.param(0.5, "1/ms", bounds=(0, None), closed=True)
    target = bs.input()
    gate = bs.input()
    fast, slow = bs.state(0.0), bs.state(0.0)
    xx, xs, ss = bs.state(0.0), bs.state(0.0), bs.state(0.0)
    e = bs.state(0.0)

    def _later(self, xx, xs, ss, dt):
        """The sums of products at the end of the step, as the rule sees them."""
        a, b = dt / self.tau, dt / self.tau_s
        return jnp.exp(-2.0 * a) * xx, jnp.exp(-a - b) * xs, jnp.exp(-2.0 * b) * ss

    def _error(self, fast, slow, xx, xs, ss, target, gate, dt):
        xx, xs, ss = self._later(xx, xs, ss, dt)
        return jnp.where(xx - 2.0 * xs + ss > 1.0, gate * (target - fast + slow), 0.0)

    def _change(self, fast, slow, xx, xs, ss, target, gate, dt):
        """What learning adds to the sums `fast` and `slow` per ms."""
        error = self._error(fast, slow, xx, xs, ss, target, gate, dt)
        xx, xs, ss = self._later(xx, xs, ss, dt)
        rate = self.eta * error / jnp.maximum(xx - 2.0 * xs + ss, 1.0)
        return rate * (xx - xs), rate * (xs - ss)

    def dfast(self, fast, slow, xx, xs, ss, target, gate, dt):
        change, _ = self._change(fast, slow, xx, xs, ss, target, gate, dt)
        return jnp.expm1(-dt / self.tau) / dt * fast + change

    def dslow(self, fast, slow, xx, xs, ss, target, gate, dt):
        _, change = self._change(fast, slow, xx, xs, ss, target, gate, dt)
        return jnp.expm1(-dt / self.tau_s) / dt * slow + change

    def dxx(self, xx, dt):
        return jnp.expm1(-2.0 * dt / self.tau) / dt * xx

    def dxs(self, xs, dt):
        return jnp.expm1(-dt / self.tau - dt / self.tau_s) / dt * xs

    def dss(self, ss, dt):
        return jnp.expm1(-2.0 * dt / self.tau_s) / dt * ss

    def de(self, e, fast, slow, xx, xs, ss, target, gate, dt):
        return (self._error(fast, slow, xx, xs, ss, target, gate, dt) - e) / dt


class WhenSynapse(bs.Synapse):
    """Synapse onto the readout of `WhenReadout`.

    Equation::

        spike:  fast_post += w,  slow_post += share w

    Args:
        share: tau / tau_s.
    """

    w = bs.weight()
    share = bs.param(TAU / TAU_SLOW, bounds=(0, None))

    def on_pre(self, w):
        return dict(fast_post=w, slow_post=self.share * w)


class TraceProducts(bs.Synapse):
    """Synapse onto the sums of products of traces of `WhenReadout`; weight 1.

    Equation::

        spike, with r = tau / tau_s:  xx_post += 2 x + 1,  xs_post += r x + s + r,  ss_post += 2 r s + r^2,  x += 1,  s += r
    """

    w = bs.weight()
    tau = bs.param(TAU, "ms", bounds=(0, None))
    tau_s = bs.param(TAU_SLOW, "ms", bounds=(0, None))
    x, s = bs.state(0.0, on="pre"), bs.state(0.0, on="pre")

    def dx(self, x, dt):
        return jnp.expm1(-dt / self.tau) / dt * x

    def ds(self, s, dt):
        return jnp.expm1(-dt / self.tau_s) / dt * s

    def on_pre(self, w, x, s):
        r = self.tau / self.tau_s
        sums = dict(xx_post=w * (2 * x + 1), xs_post=w * (r * x + s + r), ss_post=w * (2 * r * s + r * r))
        return dict(**sums, x=1.0, s=r)


class WhenRule(bs.Plasticity):
    """Three factors: trace of the source, error of the target, gate (part of the error); normalised by the traces.

    Equation::

        w' = eta e_post (x - s) / p_post,   p = sum_j (x_j - s_j)^2

    Args:
        eta: rate of learning. tau, tau_s: time constants of the traces x and s, to which a spike adds 1 and tau / tau_s.
    """

    eta = bs.param(0.5, "1/ms", bounds=(0, None), closed=True)
    tau = bs.param(TAU, "ms", bounds=(0, None))
    tau_s = bs.param(TAU_SLOW, "ms", bounds=(0, None))
    x, s = bs.state(0.0, on="pre"), bs.state(0.0, on="pre")

    def dx(self, x):
        return -x / self.tau

    def ds(self, s):
        return -s / self.tau_s

    def on_pre(self):
        return dict(x=1.0, s=self.tau / self.tau_s)

    def dw(self, x, s, e_post, xx_post, xs_post, ss_post):
        return self.eta * e_post * (x - s) / jnp.maximum(xx_post - 2.0 * xs_post + ss_post, 1.0)


class WhatReadout(bs.Neuron):
    """Linear readout of mean traces, q = sum_j w_j m_j with m_j' = x_j / span from `start` on; weights rest meanwhile.

    Equation::

        tau i' = -i,  i += w at a spike        q' = i / span from `start` on        e = outcome - q

    Args:
        tau: time constant of the traces. start, span: ms.
    """

    tau = bs.param(TAU, "ms", bounds=(0, None))
    start = bs.param(CUE, "ms")
    span = bs.param(TRIAL - CUE, "ms", bounds=(0, None))
    outcome = bs.input()
    i = bs.state(0.0)
    q = bs.state(0.0)
    e = bs.state(0.0)

    def di(self, i, dt):
        return jnp.expm1(-dt / self.tau) / dt * i

    def dq(self, i, t):
        return jnp.where(t >= self.start, i / self.span, 0.0)

    def de(self, e, q, outcome, dt):
        return (outcome - q - e) / dt


class WhatSynapse(bs.Synapse):
    """Synapse onto `WhatReadout`.

    Equation::

        spike:  i_post += w
    """

    w = bs.weight()

    def on_pre(self, w):
        return dict(i_post=w)


class WhatRule(bs.Plasticity):
    """Two factors: mean trace of the source, error of the target; where `teach` is not 0, at the end of a trial.

    Equation::

        tau_m x' = -x,  x += 1 at a spike        m' = x / span from `start` on
        w' = eta teach e_post m / norm

    Args:
        eta: share of the error that is corrected when `teach` has the integral 1.
        tau_m: time constant of the trace. start, span: ms.
    """

    eta = bs.param(0.05, bounds=(0, None), closed=True)
    tau_m = bs.param(TAU, "ms", bounds=(0, None))
    start = bs.param(CUE, "ms")
    span = bs.param(TRIAL - CUE, "ms", bounds=(0, None))
    teach = bs.input("1/ms")
    norm = bs.input(default=1.0)
    x = bs.state(0.0, on="pre")
    m = bs.state(0.0, on="pre")

    def dx(self, x):
        return -x / self.tau_m

    def dm(self, x, t):
        return jnp.where(t >= self.start, x / self.span, 0.0)

    def on_pre(self):
        return dict(x=1.0)

    def dw(self, m, e_post, teach, norm):
        return self.eta * teach * e_post * m / jnp.maximum(norm, 1e-6)


class Norm(bs.Neuron):
    """What its input was one step ago, as a state that rules can read; a step of dt by `method="euler"`.

    Equation::

        n = I
    """

    I = bs.input()
    n = bs.state(0.0)

    def dn(self, n, I, dt):
        return (I - n) / dt


class SquaredMeanTrace(bs.Synapse):
    """Sum over sources of the squared mean trace m of `WhatRule`.

    Equation::

        tau x' = -x,  x += 1 at a spike        m' = x / span from `start` on
        current into the target: sum of w m^2
    """

    current_unit = "1"
    w = bs.weight()
    tau = bs.param(TAU, "ms", bounds=(0, None))
    start = bs.param(CUE, "ms")
    span = bs.param(TRIAL - CUE, "ms", bounds=(0, None))
    one = bs.const(1.0)
    x = bs.state(0.0, on="pre")
    m = bs.state(0.0, on="pre")

    def dx(self, x):
        return -x / self.tau

    def dm(self, x, t):
        return jnp.where(t >= self.start, x / self.span, 0.0)

    def on_pre(self):
        return dict(x=self.one)

    def output(self, m):
        return dict(squares=m * m)

    def current(self, squares):
        return squares


def what_when(n=1000, blocks=1, g=2.0, seed=0) -> "bs.Network":
    """Populations `reservoir` (n, 80 % excitatory, first), `when` and `what` (2 cells for each block: A, B), `norm` (1).

    Heterogeneous cells; every pair is connected with probability 0.1, weight |N(0, 1)| g / sqrt(0.1 n), 5 pA per unit,
    inhibition 4 times as strong; currents decay in 5 ms (onto excitatory) or 10 ms (onto inhibitory cells). Run it through
    `WhatWhen`, which drives it.

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
    norm = net.add("norm", Norm(), 1)
    net.connect(reservoir, norm, SquaredMeanTrace(), bs.all_to_all(), weight=1.0, name="norm_of")
    learn = {"bounds": bs.unbounded(), "weight": bs.choice((0.0,))}  # one value per edge, so that params can replace them
    when = net.add("when", WhenReadout(), 2 * blocks)
    net.connect(reservoir, when, TraceProducts(), bs.all_to_all(), weight=1.0, name="products_of")
    net.connect(reservoir, when, WhenSynapse(), bs.all_to_all(), name="learn_when", plasticity=WhenRule(), **learn)
    what = net.add("what", WhatReadout(), 2 * blocks)
    source = {"norm": "norm.n"}
    rule = WhatRule()
    net.connect(
        reservoir, what, WhatSynapse(), bs.all_to_all(), name="learn_what", plasticity=rule, modulators=source, **learn
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
    """(steps, 2) Gaussians of height 1 and standard deviation 20 ms at the latencies of A and B; times since the cue, ms."""
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
        record = ["when.fast", "when.slow", bs.trace("what.q", every=TRIAL), bs.trace("learn_*.w", every=TRIAL), "reservoir.spikes"]
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
            "what.outcome": bs.constant(outcome),
            "learn_what.teach": bs.step(teach, start=TRIAL - DT),
        }
        r = self.sim.run(TRIAL, params=self.weights, inputs=inputs)
        if events is not None:
            self.weights = {f"{k}.weight": jnp.asarray(r[f"{k}.w"][-1]) for k in ("learn_when", "learn_what")}
        self.spikes = r["reservoir"]
        after = self.times > 0
        y = (r["when.fast"] - r["when.slow"]).reshape(steps, self.blocks, 2)[after]
        return Prediction(self.times[after], y, r["what.q"][-1].reshape(self.blocks, 2))

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
