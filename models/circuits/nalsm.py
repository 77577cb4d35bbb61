"""NALSM: a liquid state machine whose STDP an astrocyte holds near the edge of chaos (Ivanov & Michmizos 2021,
arXiv:2111.01760).

Numbers are those of the authors' programs (combra-lab/NALSM); a step is 1 ms. Differences from their map, of about 1
%: the leak and the astrocyte decay by exp(-dt/tau) instead of 1 - dt/tau, a current keeps the weight that its spike
delivered, and traces of STDP start anew with every sample. The readout is the same softmax regression, fitted by
L-BFGS.
"""

import math
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
import optax

import brainsim as bs
from brainsim.errors import ParameterError
from brainsim.models.neurons.astrocyte import Astrocyte
from brainsim.models.neurons.lif import LIF
from brainsim.models.plasticity.astrocyte import AstrocyteSTDP, InhibitoryAstrocyteSTDP
from brainsim.models.synapses.glia import ToAstrocyte

LEARNING = ("astrocyte", "stdp", None)
W_MAX = 3.0  # mV, largest weight, where all start
ETA = 0.15  # amplitude of potentiation; also the depression of STDP without astrocyte
# probability of a connection at distance 0, (source, target)
DENSITY = {("exc", "exc"): 0.2, ("exc", "inh"): 0.1, ("inh", "exc"): 0.3, ("inh", "inh"): 0.05}
LAMBDA = 3.0  # um, in which units of the grid count
INPUT_DENSITY = 0.15
INPUT_CURRENT = 100.0  # pA, in the steps in which a pixel is on
DT = 1.0  # ms


class LiquidNeuron(LIF):
    """`LIF` that integrates while it is refractory, and fires at the earliest three steps after its last spike."""

    refractory = bs.refractory("t_ref", holds=())


class LatestSpikeCurrent(bs.Synapse):
    """Current that remembers the latest spike of each source: w/tau exp(-s/tau), s the time since that spike.

    Equation::

        tau_k i_k' = -i_k,   tau_k r_k' = 1 - r_k,   k = 1, 2
        spike:  i_k += w r_k,  r_k = 0
        current into the target: C i_k / tau_k, k = 1 or 2 by the target

    Args:
        tau_1, tau_2: the two time constants; cells have one or the other.
        second: per target, 1 where tau_2 holds, else 0.
    """

    w = bs.weight("mV")
    tau_1 = bs.param(1.0, "ms", bounds=(0, None))
    tau_2 = bs.param(2.0, "ms", bounds=(0, None))
    second = bs.param(0.0, bounds=(0, 1), closed=True)
    C = bs.const(1.0, "pF")
    i_1, i_2 = bs.state(0.0, "mV", on="post"), bs.state(0.0, "mV", on="post")
    r_1, r_2 = bs.state(1.0, on="pre"), bs.state(1.0, on="pre")

    def di_1(self, i_1):
        return -i_1 / self.tau_1

    def di_2(self, i_2):
        return -i_2 / self.tau_2

    def dr_1(self, r_1):
        return (1 - r_1) / self.tau_1

    def dr_2(self, r_2):
        return (1 - r_2) / self.tau_2

    def on_pre(self, w, r_1, r_2):
        return dict(i_1=w * r_1, i_2=w * r_2, r_1=-r_1, r_2=-r_2)

    def current(self, i_1, i_2):
        return self.C * ((1 - self.second) * i_1 / self.tau_1 + self.second * i_2 / self.tau_2)


def nalsm(n_inputs, w_a=0.015, learning="astrocyte", weight=W_MAX, grid=(10, 10, 10), seed=0) -> "bs.Network":
    """Populations `input` (n_inputs), `liquid` (80 % excitatory, first), with learning="astrocyte" `astro` (1 cell).

    Liquid cells lie on a grid in random order; the probability of a connection falls with exp(-(distance/3)^2). Every
    weight starts at the same size: excitatory ones positive, inhibitory ones negative, inputs with random sign.

    Args:
        n_inputs: pixels.
        w_a: weight of a spike for the astrocyte; published 0.015 for 1000 cells, 0.0075 for 8000.
        learning: "astrocyte" (NALSM), "stdp" (LSM+STDP: depression fixed at eta), None (static liquid).
        weight: size of all weights at the start, mV, at most 3 where they learn.
        grid: cells along the three edges, 1 um apart.
        seed: of positions, connectivity, signs and time constants.

    Raises:
        ParameterError: unknown `learning`, a weight that is not positive.
    """
    if learning not in LEARNING:
        raise ParameterError(f"learning={learning!r} is no way in which the liquid learns; write one of {LEARNING}")
    if not weight > 0:
        raise ParameterError(f"weight={weight!r} is the size of all weights; give a positive number of mV")
    net, rng = bs.Network(seed=seed), np.random.default_rng([seed, 13])
    n = math.prod(grid)
    places = np.stack(np.meshgrid(*map(np.arange, grid), indexing="ij"), -1).reshape(n, 3)
    cell = LiquidNeuron(tau=64.0, R=64.0, v_rest=0.0, v_th=20.0, v_reset=0.0, t_ref=2.0)
    pixels = net.add("input", cell, n_inputs)
    liquid = net.add("liquid", cell, n, positions=rng.permutation(places).astype(float))
    if learning == "astrocyte":
        astro = net.add("astro", Astrocyte(b=ETA), 1)
        net.connect(liquid, astro, ToAstrocyte(), bs.all_to_all(), weight=w_a)
        net.connect(pixels, astro, ToAstrocyte(), bs.all_to_all(), weight=-w_a)
    synapse = LatestSpikeCurrent(second=rng.integers(0, 2, n).astype(float))
    parts = {"exc": liquid[: n * 4 // 5], "inh": liquid[n * 4 // 5 :]}
    rules = {"exc": AstrocyteSTDP(A_plus=ETA), "inh": InhibitoryAstrocyteSTDP(A_plus=ETA)}
    learn = lambda rule, low, high: _learning(learning, rule, low, high)
    for (pre, post), density in DENSITY.items():
        near = bs.distance_dependent(lambda d, c=density: c * np.exp(-((d / LAMBDA) ** 2)), autapses=False)
        size, span = (weight, (0.0, W_MAX)) if pre == "exc" else (-weight, (-W_MAX, 0.0))
        each = bs.choice((size,))  # one value per edge: learned weights are given back as parameters
        name = f"{pre}->{post}"
        net.connect(parts[pre], parts[post], synapse, near, weight=each, name=name, **learn(rules[pre], *span))
    signs = bs.choice((-weight, weight))
    some = bs.fixed_total_number(int(INPUT_DENSITY * n_inputs * n), multapses=False)
    net.connect(pixels, liquid, synapse, some, weight=signs, name="input->liquid", **learn(rules["exc"], -W_MAX, W_MAX))
    return net


def _learning(learning, rule, low, high) -> dict:
    if learning is None:
        return {}
    told = {"modulators": {"astrocyte": "astro.a"}} if learning == "astrocyte" else {}
    return {"plasticity": rule, "bounds": bs.hard(low, high), "ties": "neither", **told}


@dataclass
class Responses:
    """What a liquid answered to images.

    Attributes:
        counts: (n_images, n_liquid) spikes of each cell.
        rate: mean rate of a liquid cell in Hz, over all images.
        branching: mean over the images that were asked for, nan if none.
    """

    counts: np.ndarray
    rate: float
    branching: float


@dataclass
class Liquid:
    """A compiled liquid and its weights (`W_INI` after `settle`).

    Args:
        network: of `nalsm`.
        decay: factor per ms by which all plasticity fades within a sample.
    """

    network: "bs.Network"
    decay: float = 0.99
    weights: dict = field(default_factory=dict)

    def __post_init__(self):
        self.plastic = [p.name for p in self.network.projections.values() if p.plastic is not None]
        self.simulations = {}

    def _run(self, image, duration, rng, record, fading=1.0):
        kind = (duration, record)
        if kind not in self.simulations:
            names = ["liquid.spikes"] if record else [bs.trace(f"{p}.w", every=duration) for p in self.plastic]
            self.simulations[kind] = self.network.compile(dt=DT, record=names, method="exp_euler")
        on = rng.random((int(duration / DT), np.size(image))) < np.ravel(image)
        inputs = {"input.I": bs.array((INPUT_CURRENT * on).astype(np.float32))}
        if fading != 1.0:
            curve = bs.array(fading ** np.arange(1, len(on) + 1))
            inputs.update({f"{p}.learning": curve for p in self.plastic})
        return self.simulations[kind].run(duration, params=self.weights, inputs=inputs)

    def settle(self, images, duration=20.0, seed=0):
        """Phase 1: plasticity at full strength, one short sample after the other; only the weights go on.

        Args:
            images: (n, n_inputs) probabilities that a pixel is on in a step.
            duration: of a sample, ms.
        """
        rng = np.random.default_rng([seed, 1])
        for image in images if self.plastic else ():
            r = self._run(image, duration, rng, False)
            self.weights = {f"{p}.weight": jnp.asarray(r[f"{p}.w"][-1]) for p in self.plastic}
        return self

    def respond(self, images, duration=250.0, seed=0, branching=0) -> Responses:
        """Phase 2: every sample starts from the settled weights, and plasticity fades within it.

        Args:
            images: as in `settle`.
            branching: for how many images, from the first, the branching factor is measured.
        """
        rng, n = np.random.default_rng([seed, 2]), self.network["liquid"].n
        counts, factors = np.zeros((len(images), n)), []
        for k, image in enumerate(images):
            spikes = self._run(image, duration, rng, True, self.decay)["liquid"]
            counts[k] = np.bincount(spikes.indices, minlength=n)
            if k < branching:
                raster = np.zeros((int(duration / DT), n), bool)
                raster[np.rint(np.asarray(spikes.times) / DT).astype(int) - 1, spikes.indices] = True
                factors.append(branching_factor(raster, self._graph()))
        rate = counts.mean() / (duration * 1e-3)
        return Responses(counts, float(rate), float(np.mean(factors)) if factors else float("nan"))

    def _graph(self):
        edges = [self.network[f"{a}->{b}"].edges for a, b in DENSITY]
        graph = np.zeros((self.network["liquid"].n,) * 2, bool)
        for e in edges:
            graph[np.repeat(np.arange(e.n_pre), np.diff(e.indptr)), e.post] = True
        return graph


def branching_factor(raster, graph, window=4, margin=25) -> float:
    """Spikes of the targets in the `window` steps after a spike over those of its sources in the steps before it.

    Averaged over the spikes of a cell, then over cells; a denominator of 0 counts as 1. Activity grows above 1 and dies
    out below.

    Args:
        raster: (steps, n) bool. graph: (n, n) bool, [source, target].
        margin: steps left out at both ends.

    Returns:
        The factor, nan where no cell fires.
    """
    raster = raster[margin : len(raster) - margin].astype(float)
    total = np.concatenate([np.zeros((1, raster.shape[1])), np.cumsum(raster, 0)])
    at = np.arange(window, len(raster) - window)
    after = (total[at + window + 1] - total[at + 1]) @ graph.T.astype(float)
    before = (total[at] - total[at - window]) @ graph.astype(float)
    hit = raster[at]
    mine = hit.sum(0)
    if not mine.any():
        return float("nan")
    ratio = (hit * after / np.maximum(before, 1.0)).sum(0)
    return float(np.mean(ratio[mine > 0] / mine[mine > 0]))


def features(counts):
    """Spike counts as the published readout takes them: each sample divided by its sum, all by their maximum."""
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1.0)
    return share / max(share.max(), 1e-12)


def softmax_accuracy(train, labels, test, truth, l2=1e-3, steps=300) -> float:
    """Share of test samples that a softmax regression classifies correctly; fitted by L-BFGS (optax) from zero.

    Args:
        train, test: (n, n_features). labels, truth: (n,) whole numbers from 0.
        l2: penalty on the squared weights.
    """
    x, y = jnp.asarray(train), jnp.asarray(labels)
    start = {
        "w": jnp.zeros((x.shape[1], int(np.max(labels)) + 1), x.dtype),
        "b": jnp.zeros(int(np.max(labels)) + 1, x.dtype),
    }

    def loss(p):
        logits = x @ p["w"] + p["b"][None]
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean() + l2 * jnp.sum(p["w"] ** 2)

    solver = optax.lbfgs()
    value_and_grad = optax.value_and_grad_from_state(loss)

    def step(carry, _):
        p, state = carry
        value, grad = value_and_grad(p, state=state)
        updates, state = solver.update(grad, state, p, value=value, grad=grad, value_fn=loss)
        return (optax.apply_updates(p, updates), state), None

    (p, _), _ = jax.jit(lambda carry: jax.lax.scan(step, carry, None, length=steps))((start, solver.init(start)))
    found = np.argmax(np.asarray(test) @ np.asarray(p["w"]) + np.asarray(p["b"]), 1)
    return float(np.mean(found == np.asarray(truth)))
