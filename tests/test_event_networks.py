"""Exact spike trains: against a simulation from event to event by matrix exponentials, its finite differences, and a
run of the compiled network with small steps."""

import heapq

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm
from scipy.optimize import brentq
from support import finite_difference

import brainsim as bs
from brainsim import models
from brainsim.errors import ParameterError, RunError
from brainsim.fitting.event_network import exact_spikes
from brainsim.fitting.first_spike import first_spike

N, DURATION, T_REF = 3, 8.0, 0.3


def precise(times, weights, delays, recurrent, recurrent_delays, tau_m, tau_s, t_ref, duration):
    """Spike times per cell. Between two events v and i follow matrix exponentials; crossings are found by bisection."""
    system = np.array([[-1 / tau_m, 1 / tau_m], [0, -1 / tau_s]])
    n = weights.shape[1]
    queue = [(times[j, k] + delays[j, c], c, weights[j, c]) for j, k in np.ndindex(times.shape) for c in range(n)]
    queue = [event for event in queue if event[0] < np.inf]
    heapq.heapify(queue)
    y, t, free, out = np.zeros((2, n)), 0.0, np.full(n, -np.inf), [[] for _ in range(n)]

    def after(s):
        new = expm(system * s) @ y
        new[0, held] = 0.0
        return new

    while t < duration:
        end = min([duration, *[event[0] for event in queue[:1]], *free[free > t]])
        held = free > t
        grid = np.linspace(0, end - t, 2 + int((end - t) / 0.05))
        step = expm(system * grid[1])
        now, crossing = y, None
        for k in range(1, len(grid)):
            now = step @ now
            now[0, held] = 0.0
            if (now[0] > 1).any():
                at = {
                    c: brentq(lambda s, c=c: after(s)[0, c] - 1, grid[k - 1], grid[k], xtol=1e-14)
                    for c in np.flatnonzero(now[0] > 1)
                }
                crossing = min(at, key=at.get)
                break
        wait = at[crossing] if crossing is not None else end - t
        y, t = after(wait), t + wait if crossing is not None else end
        if crossing is not None:
            y[0, crossing], free[crossing] = 0.0, t + t_ref
            out[crossing].append(t)
            for c in range(n):
                heapq.heappush(queue, (t + recurrent_delays[crossing, c], c, recurrent[crossing, c]))
        while queue and queue[0][0] <= t:
            _, c, w = heapq.heappop(queue)
            y[1, c] += w
    return out


def drawn(seed):
    rng = np.random.default_rng(seed)
    return (
        np.sort(rng.uniform(0, 6, (4, 3)), 1), rng.normal(1.4, 1.2, (4, N)), rng.uniform(0, 2, (4, N)),
        rng.normal(0.3, 1.5, (N, N)), rng.uniform(0.3, 2, (N, N)),
    )  # fmt: skip


def spikes(times, weights, delays, recurrent, recurrent_delays, tau_m=2.0, tau_s=1.0, t_ref=T_REF, most=20):
    return exact_spikes(
        times, weights, delays, recurrent=recurrent, recurrent_delays=recurrent_delays, tau_m=tau_m, tau_s=tau_s,
        t_ref=t_ref, duration=DURATION, most=most,
    )  # fmt: skip


@pytest.mark.parametrize(
    "tau_m, seed",
    [(2.0, 0), pytest.param(2.0, 1, marks=pytest.mark.slow), pytest.param(1.0, 2, marks=pytest.mark.slow), (3.0, 3)],
)
def test_all_spikes_equal_those_of_a_precise_simulation(tau_m, seed, x64):
    given = drawn(seed)
    found = np.asarray(spikes(*given, tau_m=tau_m))
    expected = precise(*given, tau_m, 1.0, T_REF, DURATION)
    assert sum(map(len, expected)) >= 8
    for cell in range(N):
        assert np.isinf(found[cell, len(expected[cell]) :]).all()
        np.testing.assert_allclose(found[cell, : len(expected[cell])], expected[cell], rtol=0, atol=1e-9)


@pytest.mark.slow
def test_derivatives_by_everything(x64):
    times, *rest = drawn(0)
    given = (jnp.asarray(times), *map(jnp.asarray, rest), jnp.asarray(2.0), jnp.asarray(1.0), jnp.asarray(T_REF))
    fires = jnp.isfinite(spikes(*given))
    mixed = jnp.asarray(np.random.default_rng(5).normal(size=fires.shape))
    total = jax.jit(lambda *a: jnp.sum(mixed * jnp.where(fires, spikes(*a), 0.0)))
    reverse = jax.jit(jax.grad(total, argnums=range(8)))(*given)
    forward = jax.jit(lambda given, moves: jax.jvp(total, given, moves)[1])

    def slow_total(times, weights, delays, recurrent, recurrent_delays, *cells):
        out = precise(
            *map(np.asarray, (times, weights, delays, recurrent, recurrent_delays)), *map(float, cells), DURATION
        )
        return sum(np.dot(mixed[c, : len(train)], train) for c, train in enumerate(out))

    rng = np.random.default_rng(6)
    for k in range(8):
        moves = [jnp.zeros_like(x) for x in given]
        moves[k] = jnp.asarray(rng.normal(size=given[k].shape))
        slow = finite_difference(lambda x: slow_total(*x), given, tuple(moves), 1e-6)
        assert abs(slow) > 1e-3
        np.testing.assert_allclose(jnp.sum(reverse[k] * moves[k]), slow, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(forward(given, tuple(moves)), slow, rtol=1e-6, atol=1e-6)


def test_first_of_all_spikes_is_first_spike(x64):
    times, weights, delays, *_ = drawn(4)
    every = exact_spikes(times[:, :1], weights, delays, tau_m=2.0, tau_s=1.0, duration=50.0, most=9)
    np.testing.assert_array_equal(every[:, 0], first_spike(times[:, 0], weights, delays, tau_m=2.0, tau_s=1.0))
    pairs = jnp.stack([times, times + 0.1])
    run = lambda t: exact_spikes(t, weights, delays, tau_m=2.0, tau_s=1.0, duration=50.0, most=20)
    np.testing.assert_allclose(jax.vmap(run)(pairs)[1], run(times + 0.1), rtol=1e-12)


def test_is_the_limit_of_a_compiled_network(x64):
    """The clock-driven network finds a spike at the end of its step: late by dt at most at first, and not early."""
    dt, tau_m, tau_s, C = 0.002, 2.0, 1.0, 10.0
    times, weights, recurrent = np.array([[0.5, 3.0]]), np.array([[8.0, 7.0]]), np.array([[0.0, 2.0], [-1.0, 0.0]])
    net = bs.Network()
    cell = models.LIF(tau=tau_m, R=tau_m / C, v_rest=0.0, v_th=1.0, v_reset=0.0, t_ref=T_REF)
    a, b = net.add("a", models.SpikeSource(), 1), net.add("b", cell, 2)
    synapse = models.ExpCurrent(tau=tau_s)
    pair = lambda w: w * C / tau_m
    net.connect(a, b, synapse, bs.all_to_all(), weight=pair(weights[0]), delay=0.4)
    net.connect(b[:1], b[1:], synapse, bs.all_to_all(), weight=pair(2.0), delay=1.0)
    net.connect(b[1:], b[:1], synapse, bs.all_to_all(), weight=pair(-1.0), delay=1.0)
    result = net.run(DURATION, dt=dt, inputs={"a.spikes": bs.spike_train(times[0])}, record=["b.spikes"])
    found = exact_spikes(
        times,
        weights,
        0.4,
        recurrent=recurrent,
        recurrent_delays=1.0,
        tau_m=tau_m,
        tau_s=tau_s,
        t_ref=T_REF,
        duration=DURATION,
        most=12,
    )
    for c in range(2):
        clocked = np.asarray(result.spikes["b"].times)[np.asarray(result.spikes["b"].indices) == c]
        exact = np.asarray(found[c])[np.isfinite(found[c])]
        assert len(clocked) == len(exact) >= 3
        assert np.abs(clocked - exact).max() < 20 * dt


def test_too_many_spikes_and_bad_input():
    run = lambda most, w=9.0: exact_spikes([[0.0]], [[w]], tau_m=2.0, tau_s=1.0, duration=10.0, most=most)
    assert np.isfinite(run(3)).all()
    with pytest.raises(RunError, match="more than most=2"):
        run(2)
    assert np.isnan(jax.jit(lambda w: run(2, w))(9.0)).all()
    for bad in (0, 2.5):
        with pytest.raises(ParameterError, match="whole number"):
            run(bad)
    with pytest.raises(ParameterError, match="recurrent has shape"):
        spikes(*drawn(0)[:3], np.ones((2, 3)), 1.0)
    with pytest.raises(ParameterError, match="without recurrent"):
        spikes(*drawn(0)[:3], None, 1.0)
