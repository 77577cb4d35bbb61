"""XOR by the time of the first spike, 2-4-1 cells (Mostafa 2017, 10.1109/TNNLS.2017.2726060), with learned delays.

Two sources fire early or late, a third one at a fixed time; the output fires early where one of the two is late, and
late otherwise. Weights and delays learn by gradients of exact spike times (`first_spike`), all four patterns in each
epoch. Times are in units of tau_s.
"""

import time
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

from brainsim.fitting.first_spike import first_spike
from brainsim.models.circuits.yin_yang import Layers
from brainsim.program import dtype

HIDDEN = 4
EARLY, LATE, REFERENCE = 0.15, 2.0, 0.9
EARLIER, BETWEEN, LATER = 2.5, 3.0, 3.5  # of the output: XOR, the boundary, not XOR
TAU_M, TAU_S = 2.0, 1.0
PUSH = 0.3  # rate at which weights into silent cells grow
PATTERNS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
LABELS = PATTERNS.sum(axis=1) == 1


def sources():
    """(4, 3) times of the two inputs and of the reference."""
    return np.concatenate([np.where(PATTERNS == 1, LATE, EARLY), np.full((4, 1), REFERENCE)], axis=1)


def draw(key) -> Layers:
    """Normal weights, delays uniform in 0 ... 1."""
    keys = jax.random.split(key, 4)
    weight = lambda k, mean, shape: mean + 0.8 * jax.random.normal(k, shape, dtype())
    delay = lambda k, shape: jax.random.uniform(k, shape, dtype())
    hidden, label = (3, HIDDEN), (HIDDEN, 1)
    return Layers(
        weight(keys[0], 2.0, hidden), delay(keys[1], hidden),
        weight(keys[2], 1.5, label), delay(keys[3], label),
    )  # fmt: skip


def answer(layers: Layers):
    """First spikes of the hidden cells (4, HIDDEN) and of the output (4,)."""
    fire = partial(first_spike, tau_m=TAU_M, tau_s=TAU_S)
    hidden = fire(sources(), layers.w_hidden, layers.d_hidden)
    return hidden, fire(hidden, layers.w_label, layers.d_label)[:, 0]


def right(layers: Layers):
    """How many of the four patterns are answered; a silent output is wrong."""
    made = answer(layers)[1]
    return jnp.sum(jnp.isfinite(made) & ((made < BETWEEN) == LABELS))


def _cost(layers):
    hidden, made = answer(layers)
    fires = jnp.isfinite(made)
    error = jnp.where(fires, jnp.where(fires, made, 0.0) - jnp.where(LABELS, EARLIER, LATER), 0.0)
    idle = jnp.mean(~jnp.isfinite(hidden), 0, dtype=made.dtype)
    push = jnp.sum(jnp.mean(layers.w_hidden, 0) * idle)
    push += jnp.mean(layers.w_label) * jnp.mean(~fires, dtype=made.dtype) * 3.0
    return jnp.mean(error**2) - PUSH * push


@dataclass(frozen=True, eq=False)
class Trained:
    """Attributes:
    reached: (seeds,) epochs after which 4 of 4 were right for the first time; 0: never.
    right: (epochs + 1, seeds) of 4, before each epoch and at the end. layers: at the end. seconds: of all.
    """

    reached: np.ndarray
    right: np.ndarray
    layers: Layers
    seconds: float


def train(seeds=(0,), *, epochs=100, rate=0.1) -> Trained:
    """Train one network for each seed, side by side.

    Args:
        epochs: of all four patterns. rate: of Adam; it falls to 0 as a cosine.
    """
    begun, adam = time.perf_counter(), optax.adam(optax.cosine_decay_schedule(rate, epochs))
    optimiser = optax.chain(optax.clip_by_global_norm(1.0), adam)

    def one(key):
        layers = draw(key)

        def epoch(carry, _):
            layers, kept = carry
            moves, kept = optimiser.update(jax.grad(_cost)(layers), kept, layers)
            after = optax.apply_updates(layers, moves)
            # a spike cannot arrive before it is sent: delays end at 0
            after = after._replace(d_hidden=jnp.maximum(after.d_hidden, 0.0), d_label=jnp.maximum(after.d_label, 0.0))
            return (after, kept), right(layers)

        (layers, _), found = jax.lax.scan(epoch, (layers, optimiser.init(layers)), length=epochs)
        return layers, jnp.append(found, right(layers))

    layers, found = jax.jit(jax.vmap(one))(jax.vmap(jax.random.key)(jnp.asarray(seeds)))
    found = np.asarray(found).T
    reached = np.where((found == 4).any(0), np.argmax(found == 4, axis=0), 0)
    return Trained(reached, found, layers, time.perf_counter() - begun)
