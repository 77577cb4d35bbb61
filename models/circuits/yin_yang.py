"""Yin-Yang: a figure of three classes, learned through exact spike times (Kriener, Göltz & Petrovici 2022,
10.1145/3517343.3517380).

A point of the figure becomes spikes of five sources: its two coordinates, their mirror images, and a fixed time. One
hidden layer of LIF cells and three label cells each fire at most once; the label cell that fires first is the answer.
Weights and the delay of every connection are learned by gradients of the spike times (`first_spike`; Göltz et al. 2021,
10.1038/s42256-021-00388-x; Göltz et al. 2025, 10.1038/s41467-025-63120-y for delays). Times are in units of tau_s.
"""

import time
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from brainsim.errors import ParameterError
from brainsim.fitting.first_spike import first_spike
from brainsim.program import dtype

CLASSES = ("yin", "yang", "dot")
SPLITS = {"train": (5000, 42), "validation": (1000, 41), "test": (1000, 40)}  # size, seed; as published
TAU_M, TAU_S, THRESHOLD = 2.0, 1.0, 1.0
EARLY, LATE, BIAS = 0.15, 2.0, 0.9  # tau_s: input times of coordinates 0 and 1, and of the fifth source


def yin_yang_data(size=5000, seed=42, r_small=0.1, r_big=0.5):
    """Points of the figure, classes in equal shares: the published rule and its draws, so the published numbers.

    A class is drawn, then points of the square until one lies in the figure and belongs to it.

    Args:
        size: points. seed: of numpy's RandomState; published 42 for training, 41 validation, 40 test.
        r_small, r_big: radius of the dots and of the figure.

    Returns:
        (points, labels): (size, 4) with x, y, 1 - x, 1 - y, and (size,) with 0 yin, 1 yang, 2 dot.
    """
    if not 0 < r_small <= r_big / 2:
        raise ParameterError(f"r_small={r_small!r}, r_big={r_big!r}: dots must fit; give 0 < r_small <= r_big / 2")
    draw = np.random.RandomState(seed)  # the published stream
    points, labels = np.empty((size, 4)), np.empty(size, int)
    for k in range(size):
        wanted = draw.randint(3)
        while True:
            x, y = draw.rand(2) * 2.0 * r_big
            if np.hypot(x - r_big, y - r_big) <= r_big and _label(x, y, r_small, r_big) == wanted:
                break
        points[k], labels[k] = (x, y, 1.0 - x, 1.0 - y), wanted
    return points, labels


def _label(x, y, r_small, r_big) -> int:
    right, left = np.hypot(x - 1.5 * r_big, y - r_big), np.hypot(x - 0.5 * r_big, y - r_big)
    if right < r_small or left < r_small:
        return 2
    return int(right <= r_small or r_small < left <= 0.5 * r_big or (y > r_big and right > 0.5 * r_big))


def input_times(points):
    """(n, 5) spike times of points (n, 4)."""
    times = EARLY + (LATE - EARLY) * np.asarray(points, float)
    return np.concatenate([times, np.full((len(times), 1), BIAS)], 1)


@dataclass(frozen=True)
class Settings:
    """How a network is built and trained.

    Attributes:
        hidden: cells of the hidden layer.
        delays: "learned", "fixed" (as drawn) or None (0).
        frozen: the hidden layer stays as drawn.
        epochs, batch, rate: of Adam, with a rate that falls to 0 as a cosine; batch divides the 5000 points.
        right, wrong: target times of the label cells.
        scale: of the squared distance to them.
        push_hidden, push_label: rates at which weights into silent cells grow. silent: the share of points at which a
            hidden cell may be silent.
        delay_rate: rate of the delays as a multiple of that of the weights.
    """

    hidden: int = 60
    delays: str | None = "learned"
    frozen: bool = False
    epochs: int = 150
    batch: int = 125
    rate: float = 1e-2
    right: float = 1.5
    wrong: float = 2.5
    scale: float = 5.0
    push_hidden: float = 0.3
    push_label: float = 3.0
    silent: float = 0.3
    delay_rate: float = 1.0
    clip: float = 1.0
    w_hidden: tuple = (1.5, 0.8)
    w_label: tuple = (0.5, 0.8)
    delay_drawn: float = 1.0


class Layers(NamedTuple):
    """Weights (n_in, n_out) and delays (n_in, n_out) of the hidden layer and of the label layer."""

    w_hidden: jax.Array
    d_hidden: jax.Array
    w_label: jax.Array
    d_label: jax.Array


def draw_layers(key, settings: Settings) -> Layers:
    a, b, c, d = jax.random.split(key, 4)
    h = settings.hidden
    most = settings.delay_drawn if settings.delays else 0.0
    weights = lambda key, shape, given: given[0] + given[1] * jax.random.normal(key, shape, dtype())
    delays = lambda key, shape: most * jax.random.uniform(key, shape, dtype())
    label = tuple(x * 60.0 / h for x in settings.w_label)
    return Layers(
        weights(a, (5, h), settings.w_hidden), delays(b, (5, h)), weights(c, (h, 3), label), delays(d, (h, 3))
    )


def spike_times(layers: Layers, times):
    """First spikes of the hidden cells (n, hidden) and of the label cells (n, 3); inf where silent."""
    fire = partial(first_spike, tau_m=TAU_M, tau_s=TAU_S, threshold=THRESHOLD)
    hidden = fire(times, layers.w_hidden, layers.d_hidden)
    return hidden, fire(hidden, layers.w_label, layers.d_label)


def cost(layers: Layers, times, labels, settings: Settings):
    """Squared distance of label spikes to their targets, and what makes silent cells fire: minus their mean weight."""
    hidden, label = spike_times(layers, times)
    target = jnp.where(jax.nn.one_hot(labels, 3, dtype=bool), settings.right, settings.wrong)
    fires = jnp.isfinite(label)
    error = jnp.where(fires, jnp.where(fires, label, 0.0) - target, 0.0)
    missed = jnp.mean(~fires, 0, dtype=label.dtype)
    idle = jnp.mean(~jnp.isfinite(hidden), 0, dtype=label.dtype) > settings.silent
    push = settings.push_label * jnp.sum(missed * jnp.mean(layers.w_label, 0))
    push += settings.push_hidden * jnp.sum(jnp.where(idle, jnp.mean(layers.w_hidden, 0), 0.0))
    return settings.scale * jnp.mean(jnp.sum(error**2, 1)) - push


def accuracy(layers: Layers, times, labels):
    """Share of points whose label cell fires first; no label spike is wrong."""
    label = spike_times(layers, times)[1]
    right = (jnp.argmin(label, 1) == labels) & jnp.isfinite(jnp.min(label, 1))
    return jnp.mean(right, dtype=dtype())


@dataclass(frozen=True)
class Trained:
    """Networks of several seeds, each at the epoch with the best validation accuracy (then the lowest cost).

    Attributes:
        layers: arrays with a leading axis of seeds.
        epoch: (seeds,) the chosen epoch, from 1.
        validation, test: (seeds,) accuracies there; the test points played no part in the choice.
        history: (epochs, seeds) validation accuracy.
        seconds: of training and compiling, all seeds together.
    """

    layers: Layers
    epoch: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    history: np.ndarray
    seconds: float


def train(seeds=(0,), settings: Settings = Settings(), data=None, progress=None) -> Trained:
    """Train one network per seed, side by side in one program.

    Args:
        seeds: whole numbers; of the initial values and of the order of the points.
        settings: see `Settings`.
        data: split -> (points, labels), default the published data.
        progress: a function of (epoch, validation accuracies).

    Raises:
        ParameterError: a batch that does not divide the training points; unknown `delays`.
    """
    data = data or {name: yin_yang_data(*given) for name, given in SPLITS.items()}
    _check(settings, len(data["train"][1]))
    sets = {name: (jnp.asarray(input_times(p), dtype()), jnp.asarray(labels)) for name, (p, labels) in data.items()}
    steps = len(data["train"][1]) // settings.batch * settings.epochs
    optimiser = _optimiser(settings, steps)
    each = lambda function: jax.jit(jax.vmap(function, in_axes=(0, None)))
    epoch = jax.jit(jax.vmap(partial(_epoch, optimiser, settings), in_axes=(0, None)), donate_argnums=0)
    score = each(lambda layers, given: (accuracy(layers, *given), cost(layers, *given, settings)))
    begun = time.perf_counter()
    keys = jax.vmap(jax.random.key)(jnp.asarray(seeds))
    layers = jax.vmap(partial(draw_layers, settings=settings))(keys)
    carry = (layers, jax.vmap(optimiser.init)(layers), jax.vmap(lambda k: jax.random.fold_in(k, 1))(keys))
    best, chosen, kept, history = None, np.zeros(len(seeds), int), np.full((2, len(seeds)), -np.inf), []
    for number in range(1, settings.epochs + 1):
        carry = epoch(carry, sets["train"])
        right, value = (np.asarray(x, float) for x in score(carry[0], sets["validation"]))
        better = (right > kept[0]) | ((right == kept[0]) & (-value > kept[1]))
        kept, chosen = np.where(better, [right, -value], kept), np.where(better, number, chosen)
        now = jax.tree.map(np.array, carry[0])
        best = now if best is None else jax.tree.map(partial(_where, better), now, best)
        history.append(right)
        if progress:
            progress(number, right)
    seconds = time.perf_counter() - begun
    test = np.asarray(score(best, sets["test"])[0], float)
    return Trained(best, chosen, kept[0], test, np.array(history), seconds)


def _where(seeds, a, b):
    return np.where(seeds.reshape(-1, 1, 1), a, b)


def _check(settings, points):
    if settings.delays not in ("learned", "fixed", None):
        raise ParameterError(f"delays={settings.delays!r} is unknown; write 'learned', 'fixed' or None")
    if settings.batch < 1 or points % settings.batch:
        raise ParameterError(f"batch={settings.batch!r} does not divide {points} points; take a divisor, such as 125")


def _optimiser(settings, steps):
    """Adam; what does not learn is not moved."""
    rate = optax.cosine_decay_schedule(settings.rate, steps)
    adam = optax.chain(optax.scale_by_adam(), optax.scale_by_learning_rate(rate))
    kinds = {
        "weights": adam,
        "delays": optax.chain(adam, optax.scale(settings.delay_rate)),
        "none": optax.set_to_zero(),
    }
    delays = "delays" if settings.delays == "learned" else "none"
    names = Layers("weights", delays, "weights", delays)
    if settings.frozen:
        names = names._replace(w_hidden="none", d_hidden="none")
    return optax.chain(optax.clip_by_global_norm(settings.clip), optax.partition(kinds, names))


def _epoch(optimiser, settings, carry, train):
    """All points once, in an order of this epoch."""
    times, labels = train
    layers, kept, key = carry
    key, order = jax.random.split(key)
    rows = jax.random.permutation(order, len(labels)).reshape(-1, settings.batch)

    def step(carry, row):
        layers, kept = carry
        slope = jax.grad(cost)(layers, times[row], labels[row], settings)
        moves, kept = optimiser.update(slope, kept, layers)
        layers = optax.apply_updates(layers, moves)
        # a spike cannot arrive before it is sent: delays end at 0
        layers = layers._replace(d_hidden=jnp.maximum(layers.d_hidden, 0.0), d_label=jnp.maximum(layers.d_label, 0.0))
        return (layers, kept), None

    return (*jax.lax.scan(step, (layers, kept), rows)[0], key)
