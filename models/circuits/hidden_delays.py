"""Delays of a circuit with hidden cells, recovered from the spikes of its visible cells through exact spike times
(implicit derivatives as in Wunderlich & Pehle 2021, 10.1038/s41598-021-91786-z, and Göltz et al. 2025,
10.1038/s41467-025-63120-y).

Sources project to hidden cells, these to each other and to visible cells. Every connection has a delay of its own, all
of them unknown; weights and time constants are known. Observed are the spikes of the visible cells only, in steps of
`dt`. In every trial sources fire at random times, and an electrode of each hidden cell gives it one pulse.

    circuit, trials = draw(seed=0), draw_trials(seed=0)
    observed = observe(circuit, trials)
    recovered = recover(circuit.weights, trials, observed)
    abs(recovered.delays - circuit.delays).max()

The electrodes make the question well posed. Without them a hidden cell that hears everything later by x and is heard
earlier by x sends the same spikes to visible cells: one of its delays could be any (the tests show it).
"""

import time
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from brainsim.errors import ParameterError
from brainsim.fitting.event_network import exact_spikes
from brainsim.fitting.methods import LevenbergMarquardt, Problem
from brainsim.program import dtype

MISSING = 2.0  # ms: residual of a spike that only one of model and data has
FAR = 3.0  # ms: residuals saturate there, so that a spike of another cause does not count for more
STEPS = 3  # of Levenberg-Marquardt on each part of the trials


@dataclass(frozen=True)
class Sizes:
    """Numbers of cells, and values in ms and units of the threshold.

    Attributes:
        n_sources, n_hidden, n_visible: cells.
        shortest, longest: delays are drawn between them, in steps of dt; they are sought in half of `shortest` ...
            longest + half of it.
        weights: range. pulse: weight of an electrode; 4 is just enough for a spike of a cell at rest.
        tau_m, tau_s, t_ref: ms. duration: of a trial. most: spikes of a cell in it that there is room for.
        dt: step of the observation.
    """

    n_sources: int = 4
    n_hidden: int = 4
    n_visible: int = 3
    shortest: float = 1.0
    longest: float = 6.0
    weights: tuple = (1.5, 3.0)
    pulse: float = 3.0
    tau_m: float = 10.0
    tau_s: float = 5.0
    t_ref: float = 10.0
    duration: float = 30.0
    most: int = 4
    dt: float = 0.1

    @property
    def edges(self) -> np.ndarray:
        """(n, 2) from, to: sources, hidden and visible cells are numbered through."""
        s, h, v = self.n_sources, self.n_hidden, self.n_visible
        pairs = [(i, s + j) for i in range(s) for j in range(h)]
        pairs += [(s + i, s + j) for i in range(h) for j in range(h + v) if i != j]
        return np.array(pairs)


class Circuit(NamedTuple):
    """Weights and delays (n_edges,), edges as in `Sizes.edges`."""

    weights: np.ndarray
    delays: np.ndarray


class Trials(NamedTuple):
    """Spikes of the sources (trials, n_sources) and pulses of the electrodes (trials, n_hidden), ms; inf: none."""

    sources: np.ndarray
    pulses: np.ndarray


def draw(sizes: Sizes = Sizes(), seed=0) -> Circuit:
    """A circuit with random weights, and random delays on the grid of dt."""
    rng, n = np.random.default_rng([seed, 0]), len(sizes.edges)
    low, high = round(sizes.shortest / sizes.dt), round(sizes.longest / sizes.dt)
    return Circuit(rng.uniform(*sizes.weights, n), rng.integers(low, high + 1, n) * sizes.dt)


def draw_trials(count=400, sizes: Sizes = Sizes(), seed=0) -> Trials:
    """Random times of the sources in 0 ... 12 ms and of the pulses in 0 ... 20 ms."""
    rng = np.random.default_rng([seed, 1])
    return Trials(rng.uniform(0, 12, (count, sizes.n_sources)), rng.uniform(0, 20, (count, sizes.n_hidden)))


def respond(weights, delays, trials: Trials, sizes: Sizes = Sizes()):
    """(trials, n_visible, most) spikes of the visible cells, ms; inf where there are fewer, nan where they are more."""
    s, h, n = sizes.n_sources, sizes.n_hidden, sizes.n_hidden + sizes.n_visible
    pre, post = sizes.edges.T
    own = pre < s  # from sources

    def matrix(values, chosen, rows, start):
        at = (pre[chosen] - start, post[chosen] - s)
        return jnp.zeros((rows, n), dtype()).at[at].set(jnp.asarray(values, dtype())[chosen])

    w_in, d_in = (matrix(x, own, s, 0) for x in (weights, delays))
    w_back, d_back = (matrix(x, ~own, n, s) for x in (weights, delays))
    w_all = jnp.concatenate([w_in, sizes.pulse * jnp.eye(h, n, dtype=dtype())])
    d_all = jnp.concatenate([d_in, jnp.zeros((h, n), dtype())])
    d_back = jnp.where(w_back == 0, sizes.shortest, d_back)

    def one(sources, pulses):
        times = jnp.concatenate([sources, pulses])[:, None]
        return exact_spikes(
            times, w_all, d_all, recurrent=w_back, recurrent_delays=d_back, tau_m=sizes.tau_m, tau_s=sizes.tau_s,
            t_ref=sizes.t_ref, duration=sizes.duration, most=sizes.most,
        )[h:]  # fmt: skip

    return jax.vmap(one)(*(jnp.asarray(x, dtype()) for x in trials))


def observe(circuit: Circuit, trials: Trials, sizes: Sizes = Sizes()) -> np.ndarray:
    """(trials, n_visible, most) spikes of the visible cells in whole steps of dt, ms; inf where there are fewer."""
    found = np.asarray(jax.jit(lambda w, d: respond(w, d, trials, sizes))(*circuit), float)
    if np.isnan(found).any():
        raise ParameterError(f"a cell fires more than most={sizes.most} spikes in a trial; give Sizes(most=...) more")
    return np.rint(found / sizes.dt) * sizes.dt


@dataclass(frozen=True, eq=False)
class Recovered:
    """What was found.

    Attributes:
        delays: (n_edges,) ms, of the start with the smallest error. error: RMS of its spike times, ms.
        errors: of every start that ran. seconds: compilation included.
    """

    delays: np.ndarray
    error: float
    errors: np.ndarray
    seconds: float


def recover(weights, trials: Trials, observed, sizes: Sizes = Sizes(), *, starts=6, rounds=16, part=30, seed=0):
    """Delays from the observed spikes, by Levenberg-Marquardt on spike times.

    The k-th spikes of model and data are compared. Where a spike appears or disappears the error jumps, at other places
    for other trials: so each round takes another random part of the trials, and the last rounds take all.

    Args:
        weights: (n_edges,), known. trials: what was given. observed: (trials, n_visible, most), see `observe`.
        starts: at most, from random delays, until the error is what rounding to dt explains. rounds: of STEPS steps.
        part: trials of a round. seed: of starts and parts.

    Returns:
        Recovered.
    """
    rng, n, count = np.random.default_rng([seed, 2]), len(weights), len(observed)
    low, high = 0.5 * sizes.shortest, sizes.longest + 0.5 * sizes.shortest
    value = lambda u: low + (high - low) * jax.nn.sigmoid(u)
    weights, data, trials = (jax.tree.map(lambda x: jnp.asarray(x, dtype()), x) for x in (weights, observed, trials))
    method, reach, least = LevenbergMarquardt(), jnp.full(n, 8.0, dtype()), sizes.dt / np.sqrt(12.0)

    def residuals(u, rows):
        made = respond(weights, value(u), Trials(*(x[rows] for x in trials)), sizes)
        return _apart(made, data[rows]).reshape(-1)

    @jax.jit
    def improve(u, rows):
        problem = Problem(None, lambda u: residuals(u, rows), None, reach)
        step = lambda c, _: (method.step(problem, *c)[:2], None)
        return jax.lax.scan(step, (u, method.begin(u)), length=STEPS)[0][0]

    fires = jnp.sum(jnp.isfinite(data))
    rms = jax.jit(lambda u: jnp.sqrt(jnp.sum(residuals(u, jnp.arange(count)) ** 2) / fires))
    begun, tried = time.perf_counter(), []
    while len(tried) < starts and (not tried or min(tried)[0] > 1.2 * least):
        x = rng.uniform(sizes.shortest, sizes.longest, n)
        u = jnp.asarray(np.log((x - low) / (high - x)), dtype())
        for _ in range(rounds):
            u = improve(u, rng.choice(count, min(part, count), replace=False))
        for _ in range(3):
            u = improve(u, np.arange(count))
        tried.append((float(rms(u)), len(tried), np.asarray(value(u), float)))
    best, errors = min(tried), np.array([e for e, *_ in tried])
    return Recovered(best[2], best[0], errors, time.perf_counter() - begun)


def _apart(made, data):
    """Differences of the k-th spikes, ms, smoothly bounded."""
    both = jnp.isfinite(made) & jnp.isfinite(data)
    gap = jnp.where(both, jnp.where(both, made, 0.0) - jnp.where(both, data, 0.0), 0.0)
    return jnp.where(jnp.isfinite(made) != jnp.isfinite(data), MISSING, FAR * jnp.tanh(gap / FAR))
