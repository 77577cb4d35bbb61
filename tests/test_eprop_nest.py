"""E-prop against the reference losses of the authors' program and of NEST: two tasks, five updates each.

The cells of the reference are written in its conventions: a spike takes the threshold from the voltage one step later,
so after the decay (here it is taken at once, enlarged by the decay); a refractory cell integrates on, without a
pseudo-derivative; a spike adds its weight without decay, or times 1 - exp(-dt / tau).
"""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import eprop_tasks

import brainsim as bs
from brainsim.adjoint import EProp, Feedback
from brainsim.models import SpikeSource

NEST = json.loads((Path(__file__).parent / "reference" / "eprop_nest.json").read_text())
RATE, STRENGTH = 0.01, 300.0  # spikes per ms that cells should fire with, and how strongly


class Lif(bs.Neuron):
    tau = bs.param(30.0, "ms")
    th = bs.param(0.03, "mV")
    t_ref = bs.param(0.0, "ms")
    R = bs.const(1.0, "GOhm")
    v = bs.state(0.0, "mV")
    refractory = bs.refractory("t_ref", holds=())

    def dv(self, v, I):
        return (-v + self.R * I) / self.tau

    def spike(self, v):
        return v - self.th

    def reset(self, v, dt):
        return dict(v=v - self.th * jnp.exp(dt / self.tau))


class Alif(Lif):
    tau_a = bs.param(2000.0, "ms")
    beta = bs.param(0.0, "mV")
    a = bs.state(0.0)

    def da(self, a):
        return -a / self.tau_a

    def spike(self, v, a):
        return v - (self.th + self.beta * a)

    def reset(self, v, a, dt):
        return dict(v=v - self.th * jnp.exp(dt / self.tau), a=a + jnp.exp(dt / self.tau_a))


class Readout(bs.Neuron):
    tau = bs.param(30.0, "ms")
    R = bs.const(1.0, "GOhm")
    y = bs.state(0.0, "mV")

    def dy(self, y, I):
        return (-y + self.R * I) / self.tau


class Pulse(bs.Synapse):
    """A current that is gone after one step and moves its target by `gain` times the weight."""

    tau = bs.param(1e-3, "ms")
    gain = bs.param(1.0)
    w = bs.weight("pA")
    c = bs.state(0.0, "pA", on="post")

    def dc(self, c):
        return -c / self.tau

    def on_pre(self, w):
        return dict(c=self.gain * w)

    def current(self, c):
        return c


def pulse(tau, whole):
    """Moves a cell of time constant tau by its weight, or by (1 - exp(-dt / tau)) times it."""
    decay, short = np.exp(-1.0 / tau), 1e-3
    return Pulse(gain=(tau / short - 1.0) / decay * (1.0 if whole else 1.0 - decay))


def network(task, rec, tau, whole, tau_out):
    """Input, recurrent cells (one population per model) and readout; the places of their weights in the matrices."""
    net, places, first = bs.Network(), {}, 0
    net.add("in", SpikeSource(), task.spikes.shape[-1])
    for name, (model, n) in rec.items():
        net.add(name, model, n)
    net.add("out", Readout(tau=tau_out), len(task.w_out))

    def connect(pre, post, matrix, rows, columns, synapse):
        p = net.connect(pre, post, synapse, bs.from_matrix(matrix[columns, rows].T), name=f"{pre}->{post}")
        places[f"{pre}->{post}"] = (
            np.arange(matrix.shape[0])[columns][p.edges.post],
            np.arange(matrix.shape[1])[rows][p.edges.pre],
        )

    spans, every = {}, slice(None)
    for name, (_, n) in rec.items():
        spans[name], first = slice(first, first + n), first + n
    for post, there in spans.items():
        connect("in", post, task.w_in, every, there, pulse(tau, whole))
        for pre, here in spans.items():
            connect(pre, post, task.w_rec, here, there, pulse(tau, whole))
    for pre, here in spans.items():
        connect(pre, "out", task.w_out, here, every, pulse(tau_out, False))
    return net, places


def iteration(task, sim, places, rec, loss_of):
    """Compiled (weights by projection, spikes, target) -> (loss, gradient)."""
    back = {k: task.feedback[pre, post] for k, (post, pre) in places.items() if k.endswith("->out")}
    adjoint = EProp(feedback=Feedback(back))

    def objective(weights, spikes, target):
        params = {f"{k}.weight": w for k, w in weights.items()}
        late = jnp.pad(spikes, ((0, 2), (0, 0)))  # a step on the way to the cells, one to the readout
        result = sim.run(task.steps + 2.0, params=params, inputs={"in.spikes": bs.array(late)}, adjoint=adjoint)
        y = result["out.y"][2:][-task.window :]
        loss, part = loss_of(y, target[-task.window :])
        rates = jnp.concatenate([jnp.mean(result.spikes[n][1:-1], axis=0) for n in rec])
        return part * (loss + 0.5 * STRENGTH * jnp.sum((rates - RATE) ** 2)), loss

    return jax.jit(jax.value_and_grad(objective, has_aux=True))


def train(task, rec, tau, whole, tau_out, loss_of, update):
    surrogate = bs.Surrogate("triangular", rec["lif"][0].th, detach_reset=("v",), gain=0.3)
    net, places = network(task, rec, tau, whole, tau_out)
    record = ["out.y", *(f"{n}.spikes" for n in rec)]
    sim = net.compile(dt=1.0, record=record, surrogate=surrogate)
    step = iteration(task, sim, places, rec, loss_of)
    weights, memory, losses = {k: sim.params[f"{k}.weight"] for k in places}, {}, []
    for k, (spikes, target) in enumerate(zip(task.spikes, task.target)):
        (_, loss), slope = step(weights, jnp.asarray(spikes, float), jnp.asarray(target))
        losses.append(float(loss))
        weights = {n: update(w, slope[n], memory.setdefault(n, {}), k) for n, w in weights.items()}
    return losses


def squares(y, target):
    return 0.5 * jnp.sum((y - target) ** 2), 1.0


def cross_entropy(y, target):
    """Mean over the steps that count; the references divide the gradient of the rates by their number, too."""
    loss = -jnp.sum(target * jax.nn.log_softmax(y, axis=-1))
    return loss, 1.0 / len(y)


def descent(w, slope, memory, k):
    return w - 1e-4 * slope


def adam(w, slope, memory, k):
    """With epsilon added to the root that is not corrected, as TensorFlow has it."""
    memory["m"] = 0.9 * memory.get("m", 0.0) + 0.1 * slope
    memory["v"] = 0.999 * memory.get("v", 0.0) + 0.001 * slope**2
    rate = 5e-3 * np.sqrt(1 - 0.999 ** (k + 1)) / (1 - 0.9 ** (k + 1))
    return w - rate * memory["m"] / (jnp.sqrt(memory["v"]) + 1e-8)


def test_regression_gives_the_reference_losses(x64):
    task = eprop_tasks.regression()
    losses = train(task, {"lif": (Lif(), 100)}, 30.0, False, 30.0, squares, descent)
    np.testing.assert_allclose(losses, task.losses, rtol=1e-6)
    np.testing.assert_allclose(losses, NEST["regression"], rtol=1e-8)


@pytest.mark.slow
def test_evidence_accumulation_gives_the_reference_losses(x64):
    task = eprop_tasks.accumulation()
    lif = Lif(tau=20.0, th=0.6, t_ref=4.0)  # NEST counts the step of the spike
    beta = 1.7 * (1 - np.exp(-1 / 2000.0)) / (1 - np.exp(-1 / 20.0))
    alif = Alif(tau=20.0, th=0.6, t_ref=4.0, beta=beta)
    losses = train(task, {"lif": (lif, 50), "alif": (alif, 50)}, 20.0, True, 20.0, cross_entropy, adam)
    losses = [x / task.window for x in losses]
    np.testing.assert_allclose(losses, task.losses, rtol=1e-6)
    np.testing.assert_allclose(losses, NEST["accumulation"], rtol=1e-8)
