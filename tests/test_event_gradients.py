"""Exact first spikes: against integration with event location, closed forms and finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm
from scipy.optimize import brentq
from support import finite_difference

from brainsim.errors import ParameterError
from brainsim.fitting.event_sort import sort_by_time
from brainsim.fitting.first_spike import first_spike

TAUS = [(2.0, 1.0), (1.0, 1.0), (3.0, 1.0), (0.7, 1.0), (1.0001, 1.0), (10.0, 0.5)]
N_IN, N_OUT = 8, 12


def brute(times, weights, delays, tau_m, tau_s, threshold):
    """First spike per cell: matrix exponentials of the two equations on a fine grid, the crossing by bisection."""
    system = np.array([[-1 / tau_m, 1 / tau_m], [0, -1 / tau_s]])
    out = np.full(weights.shape[1], np.inf)
    for cell in range(weights.shape[1]):
        arrivals = times + delays[:, cell]
        rows = [j for j in np.argsort(arrivals) if np.isfinite(arrivals[j])]
        waits = [*np.diff(arrivals[rows]), 12 * max(tau_m, tau_s)]
        y = np.zeros(2)
        for row, wait in zip(rows, waits):
            y = y + np.array([0, weights[row, cell]])
            dt = wait / 300
            step = expm(system * dt)
            steps = 0
            while steps < 300 and (step @ y)[0] <= threshold:
                y, steps = step @ y, steps + 1
            if steps == 300:
                continue
            out[cell] = arrivals[row] + steps * dt
            out[cell] += brentq(lambda s: (expm(system * s) @ y)[0] - threshold, 0, dt, xtol=1e-13)  # noqa: B023
            break
    return out


def drawn(tau_m, seed=0, silent=True):
    rng = np.random.default_rng(seed)
    times = rng.uniform(0, 4, N_IN)
    if silent:
        times[2] = np.inf
    weights = rng.normal(0.6, 1.6, (N_IN, N_OUT)) * max(1, tau_m / 2)
    return times, weights, rng.uniform(0, 2, (N_IN, N_OUT))


@pytest.mark.parametrize("tau_m, tau_s", [*TAUS[:3], *(pytest.param(*t, marks=pytest.mark.slow) for t in TAUS[3:])])
def test_equals_integration_with_event_location(tau_m, tau_s, x64):
    given = drawn(tau_m)
    exact = brute(*given, tau_m, tau_s, 1.1)
    found = first_spike(*given, tau_m=tau_m, tau_s=tau_s, threshold=1.1)
    traced = jax.jit(lambda m, s: first_spike(*given, tau_m=m, tau_s=s, threshold=1.1))(tau_m, tau_s)
    assert 3 <= np.isfinite(exact).sum() < N_OUT  # cells that fire, and silent ones
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-9)
    np.testing.assert_allclose(traced, exact, rtol=0, atol=1e-9)
    with jax.enable_x64(False):
        single = first_spike(*given, tau_m=tau_m, tau_s=tau_s, threshold=1.1)
        assert single.dtype == np.float32
    np.testing.assert_allclose(np.asarray(single, float), exact, rtol=3e-6)


@pytest.mark.parametrize("weight", [4 * (1 + 1e-9), 4.01, 6.0, 80.0])
def test_one_input_analytic(weight, x64):
    """w (x - x^2) = 1 with x = exp(-s/2); w s exp(-s) = 1."""
    spike = lambda w, tau_m: first_spike([[1.5]], w, 0.5, tau_m=tau_m, tau_s=1.0)[0, 0]
    w = jnp.array([[weight]])
    x = (1 + np.sqrt(1 - 4 / weight)) / 2
    assert np.isclose(spike(w, 2.0), 2.0 - 2 * np.log(x), rtol=0, atol=1e-12)
    slope = jax.grad(spike)(w, 2.0)[0, 0]
    assert np.isclose(slope, 2 * (x - x * x) / (weight * (x - 2 * x * x)), rtol=1e-6)
    wait = float(spike(w, 1.0)) - 2.0
    assert np.isclose(weight * wait * np.exp(-wait), 1, rtol=0, atol=1e-12) and wait < 1
    assert np.isclose(jax.grad(spike)(w, 1.0)[0, 0], -wait / (1 - wait) / weight, rtol=1e-6)


@pytest.mark.parametrize("tau_m, peak", [(2.0, 0.25), (1.0, np.exp(-1)), (3.0, 3**-1.5)])
def test_threshold_at_the_peak(tau_m, peak, x64):
    """Silent just below; just above the spike is at the peak, to the square root of what is above, with a finite slope."""
    at = {2.0: 2 * np.log(2), 1.0: 1.0, 3.0: 1.5 * np.log(3)}[tau_m]
    spike = lambda w: first_spike([0.0], w, tau_m=tau_m, tau_s=1.0)[0]
    assert spike(jnp.array([[(1 - 1e-12) / peak]])) == np.inf
    for above in (1e-15, 1e-9, 1e-6):
        w = jnp.array([[(1 + above) / peak]])
        assert 0 <= at - spike(w) < 3 * tau_m * np.sqrt(above) + 1e-7
        assert -1e9 < jax.grad(spike)(w)[0, 0] < -0.1 / np.sqrt(above + 1e-14)


@pytest.mark.parametrize(
    "tau_m, tau_s", [TAUS[1], *(pytest.param(*t, marks=pytest.mark.slow) for t in (TAUS[0], *TAUS[2:]))]
)
def test_derivatives_by_everything(tau_m, tau_s, x64):
    times, weights, delays = drawn(tau_m, silent=False)
    fires = jnp.isfinite(first_spike(times, weights, delays, tau_m=tau_m, tau_s=tau_s))
    toward = jnp.linspace(1.0, 2.0, N_OUT)

    @jax.jit
    def total(times, weights, delays, tau_m, tau_s, threshold):
        found = first_spike(times, weights, delays, tau_m=tau_m, tau_s=tau_s, threshold=threshold)
        return jnp.sum(toward * jnp.where(fires, found, 0.0))

    given = (times, weights, delays, jnp.full(N_OUT, tau_m), jnp.asarray(tau_s), jnp.full(N_OUT, 1.0))
    reverse = jax.jit(jax.grad(total, argnums=range(6)))(*given)
    forward = jax.jit(lambda given, moves: jax.jvp(total, given, moves)[1])
    rng = np.random.default_rng(1)
    for k in range(6):
        moves = [jnp.zeros_like(x) for x in given]
        moves[k] = jnp.asarray(rng.normal(size=np.shape(given[k])))
        slow = finite_difference(lambda x: total(*x), given, tuple(moves), 1e-6)
        assert abs(slow) > 1e-3
        np.testing.assert_allclose(jnp.sum(reverse[k] * moves[k]), slow, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(forward(given, tuple(moves)), slow, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("tau_m", [2.0, 1.0, 3.0])
def test_derivative_of_the_derivative(tau_m, x64):
    """By weights, in the form of time constants that are known numbers; and its first derivative is that of any form."""
    times, weights, delays = drawn(tau_m, silent=False)
    fires = jnp.isfinite(first_spike(times, weights, delays, tau_m=tau_m, tau_s=1.0))
    total = lambda w, m: jnp.sum(jnp.where(fires, first_spike(times, w, delays, tau_m=m, tau_s=1.0), 0.0))
    slope = jax.jit(jax.grad(lambda w: total(w, tau_m)))
    weights = jnp.asarray(weights)
    np.testing.assert_allclose(slope(weights), jax.jit(jax.grad(total))(weights, tau_m), rtol=1e-7, atol=1e-9)
    move = jnp.asarray(np.random.default_rng(1).normal(size=weights.shape))
    curve = jax.jit(lambda w: jax.jvp(slope, (w,), (move,))[1])(weights)
    slow = (slope(weights + 1e-6 * move) - slope(weights - 1e-6 * move)) / 2e-6
    np.testing.assert_allclose(curve, slow, rtol=1e-5, atol=1e-5 * np.abs(slow).max())


def test_silent_cells_and_late_inputs_have_no_derivative():
    times, weights = jnp.array([0.0, 5.0, jnp.inf, 1e30]), jnp.array([[8.0, 2.0], [9.0, 1.0], [9.0, 9.0], [-9.0, 0.1]])
    run = lambda *a: first_spike(a[0], a[1], a[2], tau_m=a[3], tau_s=a[4], threshold=a[5])
    given = (times, weights, jnp.full((4, 2), 0.5), 2.0, 1.0, 1.0)
    found = run(*given)
    assert found[0] < 5 and found[1] == jnp.inf
    fired = jax.jacrev(run, argnums=range(6))(*given)
    for slope in jax.tree.leaves((fired, jax.jacfwd(run, argnums=range(6))(*given))):
        assert np.isfinite(slope).all()
        assert not np.any(slope[1])
    assert np.all(np.asarray(fired[1])[0, 1:] == 0) and fired[1][0, 0, 0] < 0
    assert np.allclose(fired[0][0], [1, 0, 0, 0]) and np.allclose(fired[2][0, :, 0], [1, 0, 0, 0])


@pytest.mark.parametrize("taus", [(2.0, 1.0), (1.0, 1.0), (3.0, 1.0)])
def test_single_precision_at_late_times_and_for_strong_weights(taus):
    """Times of thousands of time constants and huge weights neither overflow nor lose the cell."""
    run = lambda times, weights: first_spike(times, weights, tau_m=taus[0], tau_s=taus[1])
    early, weights = np.array([0.0, 1.0, 2.5]), np.array([[3.0], [-2.0], [8.0]])
    shift = 4096.0
    assert np.isclose(run(early + shift, weights) - shift, run(early, weights), rtol=0, atol=1e-3)
    spread = run([0.0, 3000.0, 6000.0], [[-1e20], [0.1], [50.0]])
    assert np.isclose(spread - 6000.0, run([0.0], [[50.0]]), atol=1e-3).all()
    assert np.isclose(run([7.0, 0.0], [[1e30], [-5.0]]), 7.0).all()
    assert np.isnan(run([0.0, np.nan], [[9.0], [9.0]])).all()


def test_batches_and_vmap(x64):
    times, weights, delays = drawn(2.0)
    batch = np.random.default_rng(3).uniform(0, 3, (2, 3, N_IN))
    run = lambda t: first_spike(t, weights, delays, tau_m=2.0, tau_s=1.0)
    together = run(batch)
    assert together.shape == (2, 3, N_OUT)
    for k in np.ndindex(2, 3):
        np.testing.assert_array_equal(together[k], run(batch[k]))
    np.testing.assert_allclose(jax.vmap(jax.vmap(run))(batch), together, rtol=1e-14)
    one = first_spike(times, weights, delays[:, :1], tau_m=2.0, tau_s=1.0)
    np.testing.assert_array_equal(one, first_spike(times, weights, np.tile(delays[:, :1], N_OUT), tau_m=2.0, tau_s=1.0))


@pytest.mark.parametrize("n", [1, 2, 3, 5, 8, 33, 300])
def test_sort(n):
    rng = np.random.default_rng(n)
    times, values = rng.permuted(np.tile(np.arange(n, dtype=np.float32), (7, 1)), axis=1).T, rng.normal(size=(n, 7))
    times[times > 0.8 * n] = np.inf
    got = sort_by_time(jnp.asarray(times), jnp.asarray(values, jnp.float32))
    order = np.argsort(times, 0)
    finite = np.isfinite(np.sort(times, 0))
    np.testing.assert_array_equal(got[0], np.sort(times, 0))
    expected = np.take_along_axis(values, order, 0).astype(np.float32)
    np.testing.assert_array_equal(np.asarray(got[1])[finite], expected[finite])


BAD = {
    "shapes": dict(times=[1.0, 2.0], weights=[[1.0]]),
    "delays of sources": dict(delays=[1.0, 2.0]),
    "negative delay": dict(delays=-0.1),
    "tau_m": dict(tau_m=0.0),
    "tau_s": dict(tau_s=[1.0, 2.0]),
    "threshold": dict(threshold=-1.0),
}


@pytest.mark.parametrize("given", BAD.values(), ids=BAD)
def test_bad_input(given):
    with pytest.raises(ParameterError, match=r"give|must|cannot"):
        first_spike(**{"times": [1.0, 2.0], "weights": [[1.0] * 3] * 2, "tau_m": 2.0, "tau_s": 1.0, **given})
