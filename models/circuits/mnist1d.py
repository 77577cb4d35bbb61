"""MNIST-1D by a feed-forward spiking network with a delay on every connection (data set: Greydanus & Kobak 2024,
arXiv:2011.14439; package mnist1d, Apache-2.0).

A signal of 40 samples holds one of ten digits: a curve of 7 to 10 samples, scaled, sheared and shifted at random, in
correlated noise. It runs past the network, one sample per ms. Code cells get its value and its slope as currents; two
layers of LIF cells see their spikes through delays of 0 to 9 ms, which is a temporal convolution in spikes (delays as
weights of a network: Hammouamri, Khalfaoui-Hassani & Masquelier 2023, arXiv:2306.17670); ten leaky readouts integrate
theirs, and the largest voltage of the whole run is the answer, wherever in time the digit was.

    found = train((0, 1, 2))
    found.test  # 94.0, 95.2, 94.9 %

Weights, membrane time constants and resting voltages of all cells are learned, by backpropagation through time with a
triangular pseudo-derivative. Delays are fixed as drawn, learned, or absent.
"""

import random
import time
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import brainsim as bs
from brainsim.errors import ParameterError
from brainsim.extras import load
from brainsim.models.neurons.lif import LIF
from brainsim.models.neurons.readout import LeakyReadout
from brainsim.models.synapses.delta import Delta
from brainsim.program import dtype

DT = 1.0  # ms
CLASSES = 10
SLOPE = 2.0  # weight of the slope beside the value: differences of neighbouring samples are about half as large
LEAST_TAU = 0.3  # ms
SILENT = 1e3  # mV, threshold of a cell that is dropped
ENCODER = "signal->code.weight"
WIDTHS = 0.3  # ms, that the kernels of learned delays end with
DELAYS = ("learned", "fixed", None)


@dataclass(frozen=True)
class Settings:
    """How a network is built and trained.

    Attributes:
        code: cells that encode the signal. hidden: cells of every layer.
        delays: "fixed" (one per connection, as drawn), "learned" (Gaussian kernels whose width shrinks) or None (0).
        longest: ms, of the delays. tail: ms that the last sample is held for, so that its spikes arrive.
        epochs, batch, rate: of Adam, with a rate that falls to 0 as a cosine; batch divides the training points.
        tau_rate, delay_rate: rates of time constants and delays, as multiples of that of the weights.
        drop: part of the cells that are silent in a trial of training (Srivastava et al. 2014); weights are divided by
            the rest.
        annealed: part of the training in which the width falls from half of `longest` to 0.3 ms.
        clip: largest norm of the gradient.
    """

    code: int = 64
    hidden: tuple[int, ...] = (96, 96)
    delays: str | None = "fixed"
    longest: float = 9.0
    tail: int = 6
    epochs: int = 15
    batch: int = 100
    rate: float = 5e-3
    tau_rate: float = 5.0
    delay_rate: float = 10.0
    drop: float = 0.1
    annealed: float = 0.7
    clip: float = 1.0

    def __post_init__(self):
        if self.delays not in DELAYS:
            raise ParameterError(f"delays={self.delays!r} is unknown; write 'learned', 'fixed' or None")
        if self.epochs < 1:
            raise ParameterError(f"epochs={self.epochs!r} trains nothing; give at least 1")
        if not 0 <= self.drop < 1:
            raise ParameterError(f"drop={self.drop!r} is a part of the cells; give 0 to below 1, such as 0.1")
        if not self.hidden or min(self.code, *self.hidden) < 1 or self.longest < DT or self.tail < 0:
            raise ParameterError(
                f"code={self.code}, hidden={self.hidden}, longest={self.longest}, tail={self.tail}: layers have cells, "
                f"delays have a step of {DT:g} ms to vary in and the tail is not negative; write "
                f"Settings(code=64, hidden=(96, 96), longest=9.0)"
            )


@dataclass(eq=False)
class Trained:
    """Networks after the last epoch, one per seed, with delays in whole steps.

    Attributes:
        params: per seed, name -> array. validation, test: (seeds,) parts of the points that are classified right.
        history: (epochs, seeds) validation accuracies. spikes: (seeds,) per run, of all cells.
        seconds: (seeds,), compilation included. sims: the compiled networks.
    """

    params: list
    validation: np.ndarray
    test: np.ndarray
    history: np.ndarray
    spikes: np.ndarray
    seconds: np.ndarray
    sims: Any = field(repr=False)


def mnist1d_data(validation=400) -> dict:
    """Split -> (signals (n, 40), labels (n,)): the published 4000 and 1000 points; the last of the 4000 validate.

    Raises:
        ImportError: the package mnist1d is not installed.
        ParameterError: no point is left to train on.
    """
    if not 0 < validation < 4000:
        raise ParameterError(f"validation={validation!r} of 4000 training points; give 1 to 3999")
    source = load("mnist1d.data")
    before = np.random.get_state(), random.getstate()  # noqa: NPY002 - the generator seeds the global streams
    try:
        made = source.make_dataset(source.get_dataset_args())
    finally:
        np.random.set_state(before[0])  # noqa: NPY002
        random.setstate(before[1])
    x, y, cut = made["x"], made["y"], len(made["y"]) - validation
    return {"train": (x[:cut], y[:cut]), "validation": (x[cut:], y[cut:]), "test": (made["x_test"], made["y_test"])}


def layers(settings) -> list[str]:
    """Names of the populations from the code to the readout."""
    return ["code", *(f"hidden{i + 1}" for i in range(len(settings.hidden))), "out"]


def mnist1d(settings=None, seed=0) -> "bs.Network":
    """Populations "code", "hidden1", ... (LIF, threshold 1 mV, reset to 0, no refractory time) and "out".

    Each projects to the next, all to all; those into hidden layers have delays. A spike acts one step after its own,
    or its delay later than that. Compile with `surrogate()`; the signal is given by `run_inputs`.

    Args:
        settings: `Settings`, default the usual ones. seed: of weights, delays and resting voltages.
    """
    s = settings or Settings()
    rng, net = np.random.default_rng(seed), bs.Network(seed=seed)
    each = lambda value, rest: np.full(len(rest), value)
    cell = lambda tau, rest: LIF(tau=each(tau, rest), v_rest=rest, v_th=each(1.0, rest), v_reset=0.0, t_ref=0.0)
    net.add("code", cell(1.5, rng.uniform(-0.6, 1.0, s.code)), s.code)
    names, sizes = layers(s), (s.code, *s.hidden)
    for pre, name, fan_in, n in zip(names, names[1:], sizes, s.hidden):
        net.add(name, cell(3.0, np.zeros(n)), n)
        weight = bs.normal(0.0, 2.0 / np.sqrt(fan_in))
        net.connect(pre, name, Delta(), bs.all_to_all(), weight=weight, delay=_delay(s, rng, fan_in * n))
    net.add("out", LeakyReadout(tau=3.0), CLASSES)
    net.connect(names[-2], "out", Delta(), bs.all_to_all(), weight=bs.normal(0.0, 1.0 / np.sqrt(sizes[-1])))
    return net


def _delay(settings, rng, edges):
    if settings.delays == "learned":
        return bs.learnable_delay(bs.uniform(0.0, settings.longest), settings.longest, width=settings.longest / 2)
    return DT * rng.integers(0, round(settings.longest / DT) + 1, edges) if settings.delays else 0.0


def surrogate() -> "bs.Surrogate":
    """Triangular, of the width of the threshold: cells far from it cost nothing in the backward pass."""
    return bs.Surrogate("triangular", 1.0)


def compile_for(settings=None, seed=0):
    """The network compiled to record the voltages of the readouts and all spikes."""
    s = settings or Settings()
    record = ["out.v", *(f"{name}.spikes" for name in layers(s)[:-1])]
    return mnist1d(s, seed).compile(dt=DT, record=record, surrogate=surrogate())


def draw(sim, settings, seed) -> dict:
    """What is learned, at the start: name -> array. The weights of the signal (2, code) are of value and slope, pA."""
    rng = np.random.default_rng([seed, 1])
    learned = ("weight", "tau", "v_rest", "bias", *(("delay",) if settings.delays == "learned" else ()))
    params = {name: jnp.array(x) for name, x in sim.params.items() if name.rpartition(".")[2] in learned}
    return params | {ENCODER: jnp.asarray(0.7 * rng.normal(size=(2, settings.code)), dtype())}


def run_inputs(weight, signal, tail) -> dict:
    """Inputs of a run: currents (40 + tail, code) in pA of a signal (40,), its last sample held for `tail` steps."""
    held = jnp.concatenate([signal, jnp.full(tail, signal[-1], signal.dtype)])
    slope = jnp.diff(held, prepend=held[:1])
    return {"code.I": bs.array(jnp.stack([held, SLOPE * slope], axis=-1) @ weight)}


def run(sim, params, signal, settings, width=None, key=None):
    """Result of a signal (40,). params: as `draw` gives them. width: ms, of the kernels of learned delays. key: of the
    cells that are dropped, default none."""
    inside = {name: x for name, x in params.items() if name in sim.params}
    if key is not None and settings.drop:
        inside |= _dropped(inside, layers(settings)[:-1], key, settings)
    if width is not None:
        inside |= {name: width for name in sim.params if name.endswith(".delay_width")}
    duration = (len(signal) + settings.tail) * DT
    return sim.run(duration, params=inside, inputs=run_inputs(params[ENCODER], signal, settings.tail))


def _dropped(params, names, key, settings):
    """Weights divided by the part of the cells that stays; the others cannot reach their threshold."""
    sizes, keys = (settings.code, *settings.hidden), jax.random.split(key, len(names))
    stays = (jax.random.bernoulli(k, 1.0 - settings.drop, (n,)) for k, n in zip(keys, sizes))
    weights = {name: x / (1.0 - settings.drop) for name, x in params.items() if name.endswith(".weight")}
    return weights | {f"{name}.v_th": jnp.where(stay, 1.0, SILENT).astype(dtype()) for name, stay in zip(names, stays)}


def logits(v):
    """(..., classes) of the voltages (..., steps, classes) of the readouts: the largest in time."""
    return jnp.max(v, axis=-2)


def cost(params, signals, labels, sim, settings, width=None, key=None):
    """Mean cross-entropy of signals (n, 40). width, key: as in `run`; every signal has a key of its own."""
    keys = None if key is None else jax.random.split(key, len(labels))
    each = jax.vmap(
        lambda x, k: run(sim, params, x, settings, width, k)["out.v"], in_axes=(0, None if key is None else 0)
    )
    v = each(signals, keys)
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits(v), labels))


def score(params, signals, labels, sim, settings):
    """(part that is classified right, spikes per run) of signals (n, 40)."""

    def one(x):
        r = run(sim, params, x, settings)
        return jnp.argmax(logits(r["out.v"])), sum(jnp.sum(r.spikes[name]) for name in layers(settings)[:-1])

    answers, spikes = jax.lax.map(one, signals, batch_size=100)
    return jnp.mean(answers == labels), jnp.mean(spikes)


def width_at(progress, settings) -> float:
    """Width of the kernels in ms: falls exponentially from half of the longest delay to 0.3 ms, then stays."""
    first = settings.longest / 2
    return first * (WIDTHS / first) ** min(progress / settings.annealed, 1.0)


def train(seeds=(0,), settings=None, data=None, progress=None) -> Trained:
    """Train networks, one after the other, and classify the test points with each after its last epoch.

    Args:
        seeds: of the networks and the order of the points. settings: `Settings`, default the usual ones.
        data: split -> (signals, labels), default `mnist1d_data()`.
        progress: a function of (seed, epoch, validation accuracy).

    Raises:
        ParameterError: a batch that does not divide the training points.
        ImportError: as `mnist1d_data`.
    """
    settings = settings or Settings()
    data = {name: (jnp.asarray(x, dtype()), jnp.asarray(y)) for name, (x, y) in (data or mnist1d_data()).items()}
    points = len(data["train"][1])
    if settings.batch < 1 or points % settings.batch:
        raise ParameterError(f"batch={settings.batch!r} does not divide {points} points; take a divisor, such as 100")
    each = [_train_one(seed, settings, data, progress) for seed in seeds]
    params, validation, test, history, spikes, seconds, sims = zip(*each)
    return Trained(
        list(params), *(np.array(x) for x in (validation, test, np.transpose(history), spikes, seconds)), list(sims)
    )


def _train_one(seed, settings, data, progress):
    begun, sim = time.perf_counter(), compile_for(settings, seed)
    params = draw(sim, settings, seed)
    optimiser = _optimiser(settings, params, len(data["train"][1]) // settings.batch * settings.epochs)
    epoch = jax.jit(partial(_epoch, optimiser, sim, settings))
    measure, history = jax.jit(partial(score, sim=sim, settings=settings)), []
    carry = params, optimiser.init(params), jax.random.key(seed)
    for number in range(settings.epochs):
        carry = epoch(carry, *data["train"], width_at(number / settings.epochs, settings))
        deployed = deploy(sim, carry[0])
        history.append(float(measure(deployed, *data["validation"])[0]))
        if progress:
            progress(seed, number + 1, history[-1])
    test, spikes = measure(deployed, *data["test"])
    return deployed, history[-1], float(test), history, float(spikes), time.perf_counter() - begun, sim


def deploy(sim, params) -> dict:
    """With learned delays in whole steps, and widths of 0."""
    if not any(name.endswith(".delay") for name in params):
        return params
    return bs.round_delays(sim, {name: x for name, x in params.items() if name != ENCODER}) | {ENCODER: params[ENCODER]}


def _optimiser(settings, params, steps):
    falling = optax.cosine_decay_schedule(1.0, steps)
    adam = lambda rate: optax.adam(lambda step: rate * falling(step))
    kinds = {
        "usual": adam(settings.rate),
        "tau": adam(settings.rate * settings.tau_rate),
        "delay": adam(settings.rate * settings.delay_rate),
    }
    ending = {name: name.rpartition(".")[2] for name in params}
    names = {name: end if end in kinds else "usual" for name, end in ending.items()}
    return optax.chain(optax.clip_by_global_norm(settings.clip), optax.partition(kinds, names))


def _epoch(optimiser, sim, settings, carry, signals, labels, width):
    """All points once, in an order of this epoch."""
    params, kept, key = carry
    key, order, drops = jax.random.split(key, 3)
    rows = jax.random.permutation(order, len(labels)).reshape(-1, settings.batch)

    def step(carry, given):
        (params, kept), (row, drop) = carry, given
        slope = jax.grad(cost)(params, signals[row], labels[row], sim, settings, width, drop)
        moves, kept = optimiser.update(slope, kept, params)
        return (_within(optax.apply_updates(params, moves), settings), kept), None

    return (*jax.lax.scan(step, (params, kept), (rows, jax.random.split(drops, len(rows))))[0], key)


def _within(params, settings):
    """Each update ends at the nearest point where time constants are at least 0.3 ms and delays 0 to the longest."""
    bounds = {"tau": (LEAST_TAU, None), "delay": (0.0, settings.longest)}
    ends = {name: bounds.get(name.rpartition(".")[2]) for name in params}
    return {name: jnp.clip(x, *ends[name]) if ends[name] else x for name, x in params.items()}
