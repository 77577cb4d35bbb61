"""Handwritten digits by a spiking network of layers, trained in space and not in time: SLTT (Meng et al. 2023,
10.48550/arXiv.2302.14311).

In every time step a layer sees the spikes of the layer before in that step, and its cells follow

    v_t = lam (1 - s_(t-1)) v_(t-1) + W x_t,   s_t = 1 where v_t > 1,

the derivative of a spike is a rectangle of width 1 around the threshold, and the reset has none. The last layer is
linear and keeps nothing; the loss is the cross-entropy of its output in every step, divided by the number T of steps.
SLTT leaves out the derivative of v_t by v_(t-1).

Here a spike acts one step after its own, so layer l is at its time t in step t + l: a run takes T + 3 steps, and
nothing else differs. Images enter through cells that follow the grey value within a step. In the second layer weights
make v jump at the beginning of a step, where the threshold is looked at; what a step leaves is lam v. Cells of the
output are emptied in every step: what has arrived is their output.
"""

import math
import time
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax

import brainsim as bs
from brainsim.errors import ParameterError
from brainsim.models.neurons.lif import LIF
from brainsim.models.neurons.readout import LeakyReadout
from brainsim.models.synapses.delta import Delta

LAYERS = 3  # steps until the output shows the first time step
WEIGHTS = ("pixels->first.weight", "first->second.weight", "second->out.weight")


class Driven(LIF):
    """`LIF` for currents, the first hidden layer. A class of its own: nothing makes its voltage jump, so its threshold
    is looked at when a step ends."""


class Output(bs.Neuron):
    """Sum of what arrives in a step: v takes the jumps, o is v at the end of every step, which leaves v at 0."""

    v = bs.state(0.0, "mV", jump=True)
    o = bs.state(0.0, "mV", jump=True)

    def spike(self):
        return 1.0

    def reset(self, v):
        return dict(o=v, v=0.0)


class Linear(bs.Synapse):
    """Current w v of a source with the voltage v."""

    w = bs.weight("nS")

    def output(self, v_pre):
        return dict(v=v_pre)

    def current(self, v):
        return v


def network(lam=0.5, hidden=128, pixels=64, classes=10, seed=0):
    """Populations "pixels", "first", "second" and "out"; weights normal with variance 2 / sources. Take dt = 1 ms.

    Args:
        lam: what a step leaves of a voltage, above 0 and below 1.

    Raises:
        ParameterError: lam out of range.
    """
    if not 0.0 < lam < 1.0:
        raise ParameterError(f"lam = {lam!r} is what a step leaves of a voltage; give a number above 0 and below 1")
    net = bs.Network(seed=seed)
    cell = dict(tau=-1.0 / math.log(lam), v_rest=0.0, v_th=1.0, v_reset=0.0, t_ref=0.0)
    net.add("pixels", LeakyReadout(tau=0.05), pixels)  # exp(-20) of a step is left
    net.add("first", Driven(R=1.0 / (1.0 - lam), **cell), hidden)
    net.add("second", LIF(**cell), hidden)
    net.add("out", Output(), classes)
    draw = lambda n: bs.normal(0.0, math.sqrt(2.0 / n))
    net.connect("pixels", "first", Linear(), bs.all_to_all(), weight=draw(pixels))
    net.connect("first", "second", Delta(), bs.all_to_all(), weight=draw(hidden))
    net.connect("second", "out", Delta(), bs.all_to_all(), weight=draw(hidden))
    return net


def leak(lam) -> dict:
    """Parameters of a compiled network for another lam."""
    tau = -1.0 / math.log(lam)
    return {"first.tau": tau, "first.R": 1.0 / (1.0 - lam), "second.tau": tau}


def compiled(lam=0.5, record=("out.o",), **sizes):
    """The network with the rectangular derivative of its spikes."""
    return network(lam, **sizes).compile(dt=1.0, record=list(record), surrogate=bs.Surrogate("boxcar", 0.5))


def cross_entropy(result, label):
    """Loss of one image: mean over the T steps."""
    outputs = result["out.o"][LAYERS:]
    labels = jnp.broadcast_to(label, outputs.shape[:1])
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(outputs, labels))


def gradient(sim, steps, adjoint):
    """The function (params, images (n, pixels), labels (n,)) -> (mean loss, its gradient by the weights, name -> array)
    of an adjoint of `sim.run`."""

    def loss(weights, params, images, labels):
        how = {"params": {**params, **weights}, "adjoint": adjoint}
        one = lambda x, y: cross_entropy(sim.run(steps + float(LAYERS), inputs={"pixels.I": x}, **how), y)
        return jnp.mean(jax.vmap(one)(images, labels))

    slope = jax.value_and_grad(loss)
    return jax.jit(lambda params, *given: slope({k: params[k] for k in WEIGHTS}, params, *given))


def online_gradient(sim, steps):
    """The same by `SLTT` made while the network runs: its memory does not grow with the steps."""

    def step(seen, k, label):
        loss = optax.softmax_cross_entropy_with_integer_labels(seen["out.o"], label) / steps
        return jnp.where(k >= LAYERS, loss, 0.0)

    slope = bs.online.value_and_grad(sim, step, list(WEIGHTS), steps + float(LAYERS), adjoint=bs.SLTT())
    each = jax.vmap(lambda params, x, y: slope(params, y, inputs={"pixels.I": x}), in_axes=(None, 0, 0))
    return jax.jit(lambda *given: jax.tree.map(lambda x: jnp.mean(x, 0), each(*given)))


@dataclass(frozen=True)
class Trained:
    """What training found.

    Attributes:
        accuracy: share of test images whose largest mean output is right.
        params: of the trained network. losses: (steps,) of the batches. seconds: of training, with compiling.
    """

    accuracy: float
    params: dict
    losses: np.ndarray
    seconds: float


def train(train, test, lam=0.5, adjoint=None, seed=0, steps=6, epochs=30, batch=64, rate=0.05, momentum=0.9):
    """Train on (images (n, pixels) in 0 ... 1, labels (n,)) and test; as many images as whole batches hold are used.

    Args:
        adjoint: `bs.SLTT()` (default) or `bs.BPTT(...)`.
        steps: T. rate, momentum: of gradient descent.
    """
    sim, used = compiled(lam, seed=seed), len(train[1]) // batch * batch
    if not used:
        raise ParameterError(f"{len(train[1])} images do not fill a batch of {batch}; give more, or a smaller batch")
    data = {"x": np.asarray(train[0][:used], np.float32), "y": np.asarray(train[1][:used], np.int32)}
    begun = time.perf_counter()
    fit = bs.fit(
        sim, bs.Space({"*.weight": bs.free(1.0)}), lambda result, data: cross_entropy(result, data["y"]),
        data, duration=steps + float(LAYERS), inputs=lambda data: {"pixels.I": data["x"]},
        method=optax.sgd(rate, momentum), adjoint=bs.SLTT() if adjoint is None else adjoint,
        steps=used // batch * epochs, batch=batch, key=seed, check_every=64,
    )  # fmt: skip
    right = accuracy(sim, fit.params, *test, steps)
    return Trained(right, fit.params, np.asarray(fit.losses), time.perf_counter() - begun)


def accuracy(sim, params, images, labels, steps=6) -> float:
    """Share of images whose largest mean output is right."""
    duration = steps + float(LAYERS)
    run = lambda x: sim.run(duration, params=params, inputs={"pixels.I": x})["out.o"][LAYERS:].mean(0)
    return float(np.mean(np.argmax(jax.jit(jax.vmap(run))(jnp.asarray(images)), 1) == np.asarray(labels)))
