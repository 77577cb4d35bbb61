"""Training on trials until enough unseen ones are answered right: what circuits that learn a decision share."""

import time
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

import brainsim as bs

UNSEEN = 2**20  # seed of the trials on which it is decided when to stop; take another one for a final test


@dataclass(eq=False)
class Trained:
    """What training has found.

    Attributes:
        params: those with the least error on unseen trials. errors: [(iterations, error)]. reached: iterations after
            which the error was below the criterion, None: never. seconds: compilation included. fit: `FitResult`.
    """

    params: dict
    errors: list
    reached: int | None
    seconds: float
    sim: Any = field(repr=False)
    fit: Any = field(repr=False)

    @property
    def error(self) -> float:
        return min(e for _, e in self.errors)


def error_of(sim, duration, inputs, decide, trials, label, seed=UNSEEN, batch=64):
    """A compiled function of parameters: part of unseen trials that are answered wrong.

    Args:
        inputs: function of (data of a trial, key) -> inputs of its run. decide: function of the result -> answer.
        trials: dict of arrays (trials, ...). label: name of the right answers. seed: of the spikes.
    """
    count = len(trials[label])

    def wrong(params, one, key):
        words = jax.random.bits(key, (2,), jnp.uint32)
        result = sim.run(duration, params=params, inputs=inputs(data=one, key=words))
        return decide(result) != one[label]

    def error(params):
        keys = jax.random.split(jax.random.key(seed), count)
        return jnp.mean(jax.lax.map(lambda both: wrong(params, *both), (trials, keys), batch_size=min(batch, count)))

    return jax.jit(error)


def train_trials(sim, space, loss, data, *, error, criterion, every, **settings) -> Trained:
    """`bs.fit` until `error(params)`, asked after `every` iterations, is below the criterion.

    Args:
        sim, space, loss, data, settings: as in `bs.fit`.
    """
    begun, errors, best = time.perf_counter(), [], {}

    def check(step, params):
        errors.append((step, float(error(params))))
        if errors[-1][1] <= min(e for _, e in errors):
            best.update(params)
        return errors[-1][1] < criterion

    fit = bs.fit(sim, space, loss, data, check=check, check_every=every, **settings)
    reached = errors[-1][0] if errors and errors[-1][1] < criterion else None
    return Trained(best, errors, reached, time.perf_counter() - begun, sim, fit)
