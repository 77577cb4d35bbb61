"""Spatio-temporal order: which of several lags lies between two spikes, learned by the DCLS network (Hammouamri,
Khalfaoui-Hassani & Masquelier 2023, arXiv:2306.17670).

In a trial one channel of the first half fires, and some steps later one of the second half; the label is the lag,
whichever the channels and whenever the first spike. Lags are longer than what membranes remember: only delays that let
both spikes meet tell them apart. Weights and delays learn while the width of the kernels shrinks; then delays are
rounded, and the weights learn on with them.

    train("learned").accuracy, train("fixed").accuracy, train("none").accuracy
"""

import time
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import brainsim as bs
from brainsim.errors import ParameterError
from brainsim.models.circuits import dcls
from brainsim.program import dtype

KINDS = ("learned", "fixed", "none")
UNSEEN = 2**20  # added to the seed of tested trials
FIRST_WIDTH = 2.0  # steps: two single spikes cannot fill wider kernels
LAST_WIDTH = dcls.LAST_WIDTH + dcls.ADDED  # steps
SHRINKS = 0.8  # of the steps before rounding, in which the width does


@dataclass(frozen=True)
class Task:
    """Times in steps.

    Attributes:
        channels: half of them fire first. classes: number of lags. shortest, apart: the lags are shortest + k apart.
        jitter: the first spike is in 0 ... jitter - 1. lags: delays are 0 ... lags - 1.
    """

    channels: int = 6
    classes: int = 8
    shortest: int = 6
    apart: int = 2
    jitter: int = 6
    lags: int = 21

    @property
    def steps(self) -> int:
        """Until what two layers of delays let arrive has arrived."""
        return self.jitter + self.shortest + self.classes * self.apart + 2 * self.lags


def order_trials(n, task: Task = Task(), seed=0) -> dict:
    """Trials: "first", "second": channels; "begin": step of the first spike; "label": number of the lag; each (n,)."""
    rng, half = np.random.default_rng(seed), task.channels // 2
    highs = {"first": (0, half), "second": (half, task.channels), "begin": (0, task.jitter), "label": (0, task.classes)}
    return {k: rng.integers(*ends, n).astype(np.int32) for k, ends in highs.items()}


def order_spikes(data, task: Task = Task()):
    """(steps, channels) spikes of one trial."""
    late = data["begin"] + task.shortest + task.apart * data["label"]
    none = jnp.zeros((task.steps, task.channels), dtype())
    return none.at[data["begin"], data["first"]].set(1.0).at[late, data["second"]].set(1.0)


@dataclass(eq=False)
class Trained:
    """What training has found.

    Attributes:
        accuracy: on unseen trials, delays rounded. params: of the network. losses: (steps,). seconds: of all.
    """

    accuracy: float
    params: dict
    losses: np.ndarray
    seconds: float
    sim: Any = field(repr=False)


def prescribed(optimiser, place, path):
    """An optax transformation that moves one entry of a vector along a path, and the others by an optimiser.

    Args:
        place: of the entry. path: (steps + 1,) its values, from the one at the start.
    """
    path = jnp.asarray(path, dtype())

    def update(grads, state, x):
        count, kept = state
        moves, kept = optimiser.update(grads.at[place].set(0.0), kept, x)
        return moves.at[place].set(path[jnp.minimum(count + 1, len(path) - 1)] - x[place]), (count + 1, kept)

    return optax.GradientTransformation(lambda x: (jnp.zeros((), jnp.int32), optimiser.init(x)), update)


def _shares(result):
    """(classes,) shares of the output, summed over time."""
    return jnp.sum(jax.nn.softmax(result["output.v"], axis=1), axis=0)


def train(
    kind="learned", task: Task = Task(), *, hidden=32, steps=1300, rounded=0.4, batch=50, rate=0.1, gain=(2.0, 1.0),
    tested=1000, seed=0,
) -> Trained:  # fmt: skip
    """Train a network by `bs.fit`.

    Args:
        kind: "learned", "fixed" (random delays) or "none" (delays of 0).
        hidden: cells of the hidden layer. steps: of Adam. rounded: part of them after delays are rounded.
        batch: trials in a step. rate: of Adam, for weights in units of the largest initial one, for delays in logits of
            their part of the longest. gain: of the initial weights of the two layers, see `dcls`.
        tested: unseen trials. seed: of everything.

    Raises:
        ParameterError: an unknown kind.
    """
    if kind not in KINDS:
        raise ParameterError(f"kind={kind!r} is unknown; write one of {KINDS}")
    begun = time.perf_counter()
    sizes = dcls.Parameters(task.channels, (hidden,), task.classes, lags=task.lags)
    longest = (task.lags - 1) * sizes.step
    delay = {"learned": None, "fixed": bs.uniform(0.0, longest), "none": 0.0}[kind]
    net = dcls.dcls(sizes, delay=delay, gain=1.0, seed=seed)
    sim = net.compile(dt=sizes.step, record=["output.v"], surrogate=bs.Surrogate("triangular", sizes.v_th))
    names = [k.removesuffix(".weight") for k in sim.params if k.endswith(".weight")]
    params = {**sim.params, **{f"{n}.weight": g * sim.params[f"{n}.weight"] for n, g in zip(names, gain, strict=True)}}
    weights = {f"{n}.weight": bs.free(float(np.abs(params[f"{n}.weight"]).max())) for n in names}
    inputs = lambda data: {"input.spikes": bs.array(order_spikes(data, task), sizes.step)}
    settings = dict(
        data=order_trials(200 * batch, task, seed), duration=task.steps * sizes.step, inputs=inputs, batch=batch,
        key=seed,
    )  # fmt: skip
    loss = lambda result, data: -jax.nn.log_softmax(_shares(result))[data["label"]]
    losses, late = [], round(rounded * steps)
    if kind == "learned":
        space = _with_delays(names, weights, longest, sizes.step)
        first = steps - late
        adam = optax.adam(optax.cosine_decay_schedule(rate, first, 0.3))
        method = prescribed(adam, *_widths(space, sim, params, names, first, sizes.step))
        fit = bs.fit(sim, space, loss, params=params, method=method, steps=first, **settings)
        params = bs.round_delays(sim, {**params, **fit.params})
        losses.append(fit.losses)
    left = late if kind == "learned" else steps
    adam = optax.adam(optax.cosine_decay_schedule(rate, left))
    fit = bs.fit(sim, bs.Space(weights), loss, params=params, method=adam, steps=left, **settings)
    params = {**params, **fit.params}
    share = _accuracy(sim, params, order_trials(tested, task, UNSEEN + seed), inputs, settings["duration"])
    losses = np.concatenate([*losses, fit.losses])[:, 0]
    return Trained(share, params, losses, time.perf_counter() - begun, sim)


def _with_delays(names, weights, longest, step):
    """Weights, delays, and one width, which does not learn but is led."""
    first, *others = (f"{n}.delay_width" for n in names)
    varied = weights | {f"{n}.delay": bs.bounded(0.0, longest) for n in names} | {first: bs.positive(step)}
    return bs.Space(varied | {other: bs.tied(first) for other in others})


def _widths(space, sim, params, names, steps, step):
    """Where the width is in the vector of the space, and its values there over the steps."""
    bound = space.bind(sim, params)
    at = lambda width: bound.vector({**params, **{f"{n}.delay_width": width for n in names}})
    place = int(np.flatnonzero(at(1.0) != at(2.0))[0])
    done = np.minimum(np.arange(steps + 1) / (SHRINKS * steps), 1.0)
    return place, [at(step * FIRST_WIDTH * (LAST_WIDTH / FIRST_WIDTH) ** part)[place] for part in done]


def _accuracy(sim, params, trials, inputs, duration) -> float:
    """Part of the trials whose class has the largest share."""

    def right(data):
        return jnp.argmax(_shares(sim.run(duration, params=params, inputs=inputs(data)))) == data["label"]

    found = jax.jit(lambda trials: jax.lax.map(right, trials, batch_size=min(50, len(trials["label"]))))(trials)
    return float(np.mean(found))
