"""Event-located integration of a single neuron: the oracle behind neurons.npz and synapses.npz.

scipy's DOP853 at rtol 1e-11 between breakpoints (changes of the stimulus, synaptic jumps, ends of refractoriness); a
spike is the root of `spike(state)` found by scipy's event location, so spike times do not sit on any grid.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.integrate import solve_ivp

RTOL, ATOL = 1e-11, 1e-12


@dataclass(frozen=True)
class Model:
    """One neuron type. Numbers in ms, mV, pA, nS, pF (or dimensionless); `units` names them."""

    name: str
    equations: str
    citation: str
    states: tuple[str, ...]
    units: dict[str, str]  # of parameters, states and I
    rhs: Callable[..., Sequence[float]]  # (t, states, I, p) -> derivatives
    spike: Callable[[np.ndarray, dict], float]  # > 0 after a spike; the root is the spike time
    reset: Callable[[np.ndarray, dict], Sequence[float]] | None = None  # None: upward crossings only
    initial: Callable[[dict], Sequence[float]] = None
    refractory: str | None = None  # parameter in ms; holds the first state


@dataclass
class Case:
    """One run: a model, its parameters and what drives it."""

    model: Model
    params: dict[str, float]
    steps: list[tuple[float, float]]  # (from this time on, I has this value)
    duration: float
    jumps: list[tuple[float, str, float]] = field(default_factory=list)  # (time, state, increment)
    initial: list[float] | None = None
    note: str = ""


def _solve(model, p, current, held, y, t0, t1, samples):
    """From t0 to t1, or to the first spike of a model with reset: (spike times, stop, last state, sampled states)."""

    def rhs(t, y):
        dy = np.asarray(model.rhs(t, y, current, p), float)
        if held:
            dy[0] = 0.0
        return dy

    def event(t, y):
        return model.spike(y, p)

    event.terminal, event.direction = model.reset is not None, 1.0
    sol = solve_ivp(
        rhs,
        (t0, t1),
        y,
        method="DOP853",
        rtol=RTOL,
        atol=ATOL,
        dense_output=True,
        events=None if held else event,
        max_step=1.0,
    )
    if not sol.success:
        raise RuntimeError(f"{model.name}: {sol.message}")
    fired = [] if held else list(sol.t_events[0])
    ended = bool(fired) and model.reset is not None
    stop, end = (fired[0], sol.y_events[0][0]) if ended else (t1, sol.y[:, -1])
    inside = samples[(samples > t0 + 1e-12) & (samples <= stop + 1e-12)]
    values = sol.sol(np.minimum(inside, stop)).T if len(inside) else np.empty((0, len(y)))
    return fired, stop, end, values


def integrate(case: Case, every: float) -> dict[str, np.ndarray]:
    """Spike times and the states at every, 2*every, ... up to the duration."""
    model, p = case.model, case.params
    samples = np.round(np.arange(1, int(case.duration / every + 1e-9) + 1) * every, 9)
    y = np.asarray(case.initial if case.initial is not None else model.initial(p), float)
    jumps = sorted(case.jumps)
    breaks = sorted({case.duration} | {t for t, _ in case.steps} | {t for t, _, _ in jumps})
    spikes, rows, free_from, t = [], [], 0.0, 0.0
    while t < case.duration - 1e-12:
        while jumps and jumps[0][0] <= t + 1e-12:
            _, state, amount = jumps.pop(0)
            y[model.states.index(state)] += amount
        current = [value for start, value in case.steps if start <= t + 1e-12][-1]
        held = t < free_from - 1e-12
        stop = min([b for b in breaks if b > t + 1e-12] + ([free_from] if held else []))
        if model.reset is not None and not held and model.spike(y, p) > 0:  # a jump crossed the threshold
            fired = [t]
        else:
            fired, t, y, values = _solve(model, p, current, held, y, t, stop, samples)
            rows.append(values)
        spikes += fired
        if fired and model.reset is not None:
            y = np.asarray(model.reset(y, p), float)
            free_from = t + (p[model.refractory] if model.refractory else 0.0)
    traces = np.concatenate(rows)
    if len(traces) != len(samples):
        raise RuntimeError(f"{model.name}: {len(traces)} samples instead of {len(samples)}")
    return {"spikes": np.array(spikes), **{s: traces[:, i] for i, s in enumerate(model.states)}}
