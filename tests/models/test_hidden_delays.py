"""Delays of circuits with hidden cells: the spikes they explain, what cannot be known, and recovery."""

from dataclasses import replace

import numpy as np
import pytest

from brainsim.errors import ParameterError
from brainsim.models.circuits import hidden_delays as library

SMALL = library.Sizes(n_sources=2, n_hidden=2, n_visible=2, weights=(2.5, 4.0), duration=25.0)


def first_crossing(arrivals, weights, tau_m, tau_s):
    """First time that the summed responses reach 1, on a grid of 0.1 us steps around the first 10 us step."""
    kernel = lambda s: np.where(s > 0, tau_s / (tau_m - tau_s) * (np.exp(-s / tau_m) - np.exp(-s / tau_s)), 0.0)
    t = np.arange(0.0, 25.0, 0.01)
    v = (weights[:, None] * kernel(t[None] - arrivals[:, None])).sum(0)
    at = np.flatnonzero(v >= 1.0)
    if not len(at):
        return np.inf
    fine = np.linspace(t[at[0] - 1], t[at[0]], 101)
    v = (weights[:, None] * kernel(fine[None] - arrivals[:, None])).sum(0)
    return fine[np.argmax(v >= 1.0)]


def test_visible_cells_hear_hidden_cells_which_hear_sources(x64):
    """A chain of one cell each, its first spikes against voltages written out."""
    sizes = replace(SMALL, n_sources=1, n_hidden=1, n_visible=1)
    assert sizes.edges.tolist() == [[0, 1], [1, 2]]
    trials = library.Trials(np.array([[1.0], [4.0]]), np.array([[3.0], [0.5]]))
    found = np.asarray(library.respond([3.5, 6.0], [2.0, 1.3], trials, replace(sizes, t_ref=30.0)))
    assert found.shape == (2, 1, 4)
    for k in range(2):
        arrivals = np.array([trials.sources[k, 0] + 2.0, trials.pulses[k, 0]])
        hidden = first_crossing(arrivals, np.array([3.5, sizes.pulse]), 10.0, 5.0)
        visible = first_crossing(np.array([hidden + 1.3]), np.array([6.0]), 10.0, 5.0)
        assert np.isfinite(visible) and found[k, 0, 0] == pytest.approx(visible, abs=1e-3)


def test_without_electrodes_a_hidden_cell_can_be_early_or_late(x64):
    """It hears later by x and is heard earlier by x: nobody else sees a difference; with pulses they do."""
    sizes, cell = SMALL, 2  # the first hidden cell
    circuit, trials = library.draw(sizes, seed=1), library.draw_trials(10, sizes, seed=1)
    pre, post = sizes.edges.T
    moved = circuit.delays + 0.4 * (post == cell) - 0.4 * (pre == cell)
    silent = library.Trials(trials.sources, np.full_like(trials.pulses, np.inf))
    for given, same in ((silent, True), (trials, False)):
        a, b = (np.asarray(library.respond(circuit.weights, d, given, sizes)) for d in (circuit.delays, moved))
        assert np.isfinite(a).sum() > 10
        assert np.allclose(a, b, atol=1e-8) == same


def recovers(sizes, trials, seed, within, **how):
    circuit, given = library.draw(sizes, seed=seed), library.draw_trials(trials, sizes, seed=seed)
    observed = library.observe(circuit, given, sizes)
    found = library.recover(circuit.weights, given, observed, sizes, seed=seed, **how)
    assert np.abs(found.delays - circuit.delays).max() <= within
    assert found.error < 1.5 * sizes.dt / np.sqrt(12.0)


def test_delays_of_a_small_hidden_circuit_are_recovered(x64):
    """Pulses seldom decide in so small a circuit: rounding to 0.1 ms would leave errors of 0.2 ms."""
    recovers(replace(SMALL, duration=20.0, most=2, dt=0.02), 60, 0, 0.1, rounds=10, part=20, starts=3)


@pytest.mark.slow
def test_delays_of_a_hidden_circuit_are_recovered_within_a_step():
    recovers(library.Sizes(), 400, 0, 0.1)


def test_too_many_spikes():
    sizes = replace(SMALL, most=1, t_ref=0.0, weights=(20.0, 30.0))
    with pytest.raises(ParameterError, match="more than most=1"):
        library.observe(library.draw(sizes), library.draw_trials(2, sizes), sizes)
