"""Losses against closed forms, scipy, brute force and finite differences."""

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import signal, stats

from brainsim import statistics
from brainsim.errors import ParameterError, UnitError, UnknownNameError
from brainsim.fitting import losses as L

# jnp.asarray gives an array the dtype it had under jit before, also where float64 is off by then: so always float64 here.
pytestmark = pytest.mark.usefixtures("x64")

RNG = np.random.default_rng(0)
V, DATA = RNG.normal(-60, 5, (24, 3)), RNG.normal(-60, 5, (24, 3))
SOFT = RNG.uniform(0.05, 0.6, (24, 3))  # spikes as numbers between 0 and 1
TRAIN = (RNG.uniform(size=(24, 3)) < 0.3).astype(float)
FC, FCD = np.corrcoef(RNG.normal(size=(3, 20))), np.corrcoef(RNG.normal(size=(5, 20)))

# A function of one array, and where to differentiate it.
CASES = {
    "voltage_residual": (lambda x: L.voltage_residual(x, DATA, "2 mV", every=3), V),
    "voltage_mse": (lambda x: L.voltage_mse(x, DATA, np.array([1.0, 2.0, 3.0])), V),
    "low_pass": (lambda x: L.low_pass(x, 0.1, 1.0), V),
    "low_pass_tau": (lambda tau: L.low_pass(V, 0.1, tau), np.array([0.5, 1.0, 2.0])),
    "low_passed_residual": (lambda x: L.low_passed_residual(x, DATA, 0.1, "1 ms", 5.0, every=4), V),
    "low_passed_mse": (lambda x: L.low_passed_mse(x, DATA, 0.1, 1.0), V),
    "window_max": (lambda x: L.window_max(x, 0.1, 0.4), V),
    "window_features": (lambda x: L.window_features(x, 0.1, 0.6), V),
    "window_residual": (lambda x: L.window_residual(x, DATA, 0.1, 0.6, {"mean": 5.0, "std": "10 mV"}), V),
    "soft_dtw": (lambda x: L.soft_dtw(x, DATA[:9], 5.0), V[:7]),
    "soft_dtw_gamma": (lambda g: L.soft_dtw(V[:7], DATA[:9], g), np.array(3.0)),
    "soft_dtw_divergence": (lambda x: L.soft_dtw_divergence(x[:, 0], DATA[:9, 0], 1.0), V[:7]),
    "spike_count": (L.spike_count, SOFT),
    "firing_rate": (lambda s: L.firing_rate(s, 0.1), SOFT),
    "smoothed_rate": (lambda s: L.smoothed_rate(s, 0.1, 2.0), SOFT),
    "first_spike_time": (lambda s: L.first_spike_time(s, 0.1), SOFT),
    "isi_mean": (lambda s: L.isi_mean(s, 0.1), SOFT),
    "isi_cv": (lambda s: L.isi_cv(s), SOFT),
    "crossing_times": (lambda v: L.crossing_times(v, -60.0, 0.1, 2).times, V),
    "crossing_threshold": (lambda th: L.crossing_times(V, th, 0.1, 2).times, np.array(-60.0)),
    "rate_residual": (lambda s: L.rate_residual(s, 0.1, np.array([5.0, 9.0, 20.0]), relative=True), SOFT),
    "rate_loss": (lambda s: L.rate_loss(s, 0.1, "5 Hz", per="population"), SOFT),
    "rate_regulariser": (lambda s: L.rate_regulariser(s, 0.1, [3500.0, 1.0, 3500.0], 3600.0), SOFT),
    "van_rossum": (lambda s: L.van_rossum(s, TRAIN, 0.1, 1.0), SOFT),
    "van_rossum_tau": (lambda tau: L.van_rossum(SOFT, TRAIN, 0.1, tau), np.array([0.5, 1.0, 2.0])),
    "spike_count_cross_entropy": (lambda s: L.spike_count_cross_entropy(s, 1, 0.5), SOFT),
    "max_over_time_cross_entropy": (lambda v: L.max_over_time_cross_entropy(v, [0.2, 0.5, 0.3], 0.1), V),
    "first_spike_cross_entropy": (lambda t: L.first_spike_cross_entropy(t, 0, 5.0), np.array([5.0, 9.0, 3.0])),
    "synchrony": (L.synchrony, V),
    "psd": (lambda x: L.psd(x, 1.0, 8.0)[1], V),
    "psd_residual": (lambda x: L.psd_residual(x, DATA, 1.0, 10.0, band=(50.0, 400.0)), V),
    "psd_loss": (lambda x: L.psd_loss(x, DATA, 1.0, 8.0), V),
    "functional_connectivity": (L.functional_connectivity, V),
    "functional_connectivity_dynamics": (lambda x: L.functional_connectivity_dynamics(x, 1.0, 8.0, 4.0), V),
    "fc_loss": (lambda x: L.fc_loss(x, FC), V),
    "fc_rmse": (lambda x: L.fc_loss(x, FC, L.rmse), V),
    "fcd_loss": (lambda x: L.fcd_loss(x, FCD, 1.0, 8.0, 4.0), V),
    "wasserstein": (lambda x: L.wasserstein(x, DATA[:5]), V),
    "correlation_distance": (lambda x: L.correlation_distance(x, DATA), V),
}  # fmt: skip
NOT_DIFFERENTIATED = {"Crossings", "kolmogorov_smirnov", "spike_array", "upper_triangle", "victor_purpura", "rmse"}


def test_every_loss_is_in_the_battery():
    assert set(L.__all__) - NOT_DIFFERENTIATED <= set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_derivatives(name):
    """Forward against central differences in float64, reverse against forward, under jit and vmap."""
    f, at = CASES[name]
    at, along = jnp.asarray(at), jnp.asarray(RNG.normal(size=np.shape(at)))
    h = 1e-6

    @jax.jit
    def all_of_it(at):
        value, slope = jax.jvp(f, (at,), (along,))
        weights = jnp.cos(jnp.arange(value.size)).reshape(value.shape)
        gradient = jax.grad(lambda x: jnp.sum(weights * f(x)))(at)
        shifted = jax.vmap(f)(jnp.stack([at + h * along, at - h * along]))
        return value, slope, shifted, (jnp.sum(gradient * along), jnp.sum(weights * slope))

    value, slope, (up, down), (reverse, forward) = all_of_it(at)
    assert np.isfinite(value).all() and np.any(slope != 0)
    np.testing.assert_allclose(slope, (up - down) / (2 * h), rtol=1e-6, atol=1e-7 * np.abs(slope).max())
    assert reverse == pytest.approx(float(forward), rel=1e-10)
    # float32 stays, though data and settings come as float64
    short = jax.jit(f)(jnp.asarray(at, jnp.float32))
    if name not in ("low_pass_tau", "soft_dtw_gamma", "crossing_threshold", "van_rossum_tau"):
        assert short.dtype == jnp.float32
    np.testing.assert_allclose(short, value, rtol=2e-3, atol=2e-5 * np.abs(value).max())


def test_without_float64():
    """Fresh arrays, and a warning is an error: nothing asks for float64 where there is none."""
    rng = np.random.default_rng(1)
    v, data, train = rng.normal(size=(24, 3)), rng.normal(size=(24, 3)), rng.integers(0, 2, (24, 3))

    @jax.jit
    def losses(v, s):
        return jnp.stack([
            L.voltage_mse(v, data, "2 mV"), L.low_passed_mse(v, data, 0.1, [1.0, 2.0, 3.0]), L.soft_dtw(v, data),
            jnp.sum(L.window_residual(v, data, 0.1, 0.6, {"std": 2.0})), jnp.sum(L.isi_cv(s, 0.0)),
            jnp.sum(L.first_spike_time(s, 0.1)), jnp.nansum(L.crossing_times(v, 0.0, 0.1, 3).times),
            L.rate_loss(s, 0.1, [1.0, 2.0, 3.0]), L.van_rossum(s, train, 0.1, 2.0), L.spike_count_cross_entropy(s, 1),
            L.psd_loss(v, data, 1.0, 8.0), L.synchrony(v), L.fcd_loss(v, np.eye(3), 1.0, 8.0, 8.0),
        ])  # fmt: skip

    with jax.enable_x64(False):
        value = losses(v, train.astype(np.float32))
        assert value.dtype == jnp.float32
    np.testing.assert_allclose(value, losses(v + 0.0, train + 0.0), rtol=1e-4)


# Voltages


def test_low_pass_is_the_exponential_filter():
    b = 1 - np.exp(-0.1 / 2.0)
    expected = signal.lfilter([b], [1, b - 1], V, axis=0)
    np.testing.assert_allclose(L.low_pass(V, 0.1, "2 ms"), expected, rtol=1e-5)
    assert L.low_passed_residual(V, DATA, 0.1, 2.0, 5.0, every=4).shape == (18,)


def test_residuals_and_their_mean_squares():
    np.testing.assert_allclose(L.voltage_residual(V, DATA, 2.0, every=4), ((V - DATA) / 2)[3::4].ravel())
    assert L.voltage_mse(V, DATA, 2.0) == pytest.approx(np.mean((V - DATA) ** 2) / 4)
    scale = np.where(np.arange(24) < 12, 1.0, np.inf)[:, None]
    assert L.voltage_mse(V, DATA, scale) == pytest.approx(np.mean((V - DATA)[:12] ** 2) / 2)
    smooth = np.asarray(L.low_pass(V, 0.1, 1.0) - L.low_pass(DATA, 0.1, 1.0))
    np.testing.assert_allclose(L.low_passed_residual(V, DATA, 0.1, 1.0, 5.0, 6), (smooth / 5)[5::6].ravel(), rtol=1e-12)


def test_windows():
    parts = V.reshape(4, 6, 3)
    expected = np.stack([parts.mean(1), parts.std(1), parts.max(1), parts.min(1)])
    np.testing.assert_allclose(L.window_features(V, 0.1, "0.6 ms"), expected, rtol=1e-4)
    np.testing.assert_allclose(L.window_max(V[:, 0], 0.1, 0.6), expected[2, :, 0], rtol=1e-6)
    flat = jax.grad(lambda x: L.window_features(x, 0.1, 0.2, "std").sum())(jnp.ones(4))
    assert flat.tolist() == [0.0] * 4


def soft_dtw_by_loops(x, y, gamma):
    """The recursion as it is written in the paper."""
    table = np.full((len(x) + 1, len(y) + 1), np.inf)
    table[0, 0] = 0.0
    for i, j in product(range(1, len(x) + 1), range(1, len(y) + 1)):
        before = np.array([table[i - 1, j], table[i, j - 1], table[i - 1, j - 1]])
        low = before.min()
        soft = low - gamma * np.log(np.exp(-(before - low) / gamma).sum()) if gamma else low
        table[i, j] = np.sum((x[i - 1] - y[j - 1]) ** 2) + soft
    return table[-1, -1]


@pytest.mark.parametrize("n, m", [(1, 1), (1, 5), (6, 1), (7, 7), (12, 5), (4, 13)])
@pytest.mark.parametrize("gamma", [1e-3, 1.0, 50.0])
def test_soft_dtw_is_the_recursion(n, m, gamma):
    assert L.soft_dtw(V[:n], DATA[:m], gamma) == pytest.approx(soft_dtw_by_loops(V[:n], DATA[:m], gamma), rel=1e-12)


def test_soft_dtw_limits():
    hard = soft_dtw_by_loops(V[:10, :1], DATA[:8, :1], 0.0)
    assert L.soft_dtw(V[:10, 0], DATA[:8, 0], 1e-6) == pytest.approx(hard, rel=1e-6)
    assert L.soft_dtw_divergence(V, V) == 0.0
    assert L.soft_dtw_divergence(V, DATA) > 0.0
    assert np.isfinite(jax.grad(L.soft_dtw)(jnp.asarray(V, jnp.float32), DATA, 1e-4)).all()


# Spikes


def test_counts_and_rates():
    np.testing.assert_array_equal(L.spike_count(TRAIN > 0), TRAIN.sum(0))
    steps, cells = np.nonzero(TRAIN)
    np.testing.assert_allclose(L.firing_rate(TRAIN, "0.1 ms"), statistics.rates(cells, 3, 2.4), rtol=1e-6)
    long = np.concatenate([TRAIN, np.zeros((2000, 3))])
    np.testing.assert_allclose(L.smoothed_rate(long, 0.1, 2.0).mean(0), L.firing_rate(long, 0.1), rtol=1e-4)
    np.testing.assert_array_equal(L.spike_array((steps + 1) * 0.1, cells, 3, 24, 0.1), TRAIN)


@jax.jit
def times_and_intervals(train):
    first = L.first_spike_time(train, 0.1), L.first_spike_time(train, 0.1, silent="9 ms")
    gradient = jax.grad(lambda s: jnp.sum(L.isi_mean(s, 0.1, 1.0) + L.isi_cv(s, 1.0)))(train)
    return (
        first,
        (L.isi_mean(train, 0.1), L.isi_mean(train, 0.1, 7.0)),
        (L.isi_cv(train), L.isi_cv(train, 0.5)),
        gradient,
    )


@pytest.mark.parametrize("seed", range(4))
def test_times_and_intervals_of_trains(seed):
    train = (np.random.default_rng(seed).uniform(size=(60, 8)) < 0.1).astype(float)
    train[:, 0] = 0.0
    times = [0.1 * (np.flatnonzero(column) + 1) for column in train.T]
    first, mean, cv, gradient = times_and_intervals(train)
    np.testing.assert_allclose(first[0], [t[0] if len(t) else 6.1 for t in times], rtol=1e-12)
    expected = [np.diff(t).mean() if len(t) > 1 else np.nan for t in times]
    np.testing.assert_allclose(mean[0], expected, rtol=1e-12)
    expected = [np.diff(t).std() / np.diff(t).mean() if len(t) > 2 else np.nan for t in times]
    np.testing.assert_allclose(cv[0], expected, rtol=1e-10, atol=1e-12)
    assert first[1][0] == 9.0 and mean[1][0] == 7.0 and cv[1][0] == 0.5
    assert np.isfinite(gradient).all() and gradient.any() and not gradient[:, 0].any()


def test_regular_trains_have_no_cv_in_float32():
    """Intervals of 1000 steps: in float32 sums of squares minus squared sums would leave 1e-3."""
    train = np.zeros((20_000, 1), np.float32)
    train[::1000] = 1.0
    assert float(L.isi_cv(train)[0]) == 0.0 and float(L.isi_mean(train, 0.1)[0]) == pytest.approx(100.0)


def test_soft_trains_are_expectations_over_independent_spikes():
    """Enumerate all trains of 7 steps, each with its probability."""
    s = SOFT[:7, 0]
    latency = total = number = square = 0.0
    for bits in product([0, 1], repeat=7):
        chance = np.prod(np.where(bits, s, 1 - s))
        times = np.flatnonzero(bits) + 1.0
        gaps = np.diff(times)
        latency += chance * (times[0] if len(times) else 8.0)
        number, total, square = number + chance * len(gaps), total + chance * gaps.sum(), square + chance * gaps @ gaps
    mean = total / number
    assert L.first_spike_time(s, 1.0) == pytest.approx(latency, rel=1e-12)
    assert L.isi_mean(s, 1.0) == pytest.approx(mean, rel=1e-12)
    assert number > 1  # else there is no CV to compare
    assert L.isi_cv(s) == pytest.approx(np.sqrt(square / number - mean**2) / mean, rel=1e-10)


def test_a_silent_step_pulls_towards_its_time():
    gradient = jax.grad(lambda s: L.first_spike_time(s, 1.0))(jnp.zeros(5))
    np.testing.assert_allclose(gradient, np.arange(1.0, 6.0) - 6.0)


def test_crossings_of_a_sine():
    t = 0.01 * np.arange(1, 2001)
    speed, level = 2 * np.pi / 5, 0.3
    exact = (np.arcsin(level) / speed) + 5.0 * np.arange(4)
    wave = np.sin(speed * t)

    @jax.jit
    def all_of_it(shift):
        found = L.crossing_times(wave + shift, level, 0.01, 6)
        moved = jax.jacfwd(lambda d: L.crossing_times(wave + d, level, 0.01, 6).times)(shift)
        total = jax.grad(lambda d: jnp.nansum(L.crossing_times(wave + d, level, 0.01, 6).times))(shift)
        return found, L.crossing_times(wave + shift, level, 0.01, 2), moved, total

    found, few, moved, total = all_of_it(0.0)
    np.testing.assert_allclose(found.times[:4], exact, atol=2e-5)
    assert found.found.tolist() == [True] * 4 + [False] * 2 and np.isnan(found.times[4:]).all() and found.count == 4
    assert few.count == 4 and few.found.all()
    at = np.flatnonzero((wave[:-1] < level) & (wave[1:] >= level))
    slopes = (wave[at + 1] - wave[at]) / 0.01
    np.testing.assert_allclose(slopes, speed * np.sqrt(1 - level**2), rtol=2e-3)
    np.testing.assert_allclose(moved[:4], -1 / slopes, rtol=1e-9)
    assert total == pytest.approx(np.sum(-1 / slopes), rel=1e-9) and not moved[4:].any()


def test_crossings_by_column_and_at_the_threshold():
    v = np.array([[-1.0, 0.0], [0.0, -1.0], [1.0, -2.0]])
    found = jax.jit(lambda v: L.crossing_times(v, 0.0, "1 ms", 2))(v)
    assert found.times.shape == (2, 2) and found.count.tolist() == [1, 0]
    assert float(found.times[0, 0]) == 2.0  # reached exactly at the second sample, whose time is 2 dt
    assert float(jax.jit(lambda v: L.crossing_times(v, 0.0, 1.0, 1, start=0.0).times[0])(v[:, 0])) == 1.0


# Trains


def test_rate_losses():
    rate = 1e4 * SOFT.mean(0)
    assert L.rate_loss(SOFT, 0.1, [1.0, 2.0, 3.0]) == pytest.approx(np.mean((rate - [1, 2, 3]) ** 2))
    assert L.rate_loss(SOFT, 0.1, "2 kHz", per="population", relative=True) == pytest.approx(
        (rate.mean() / 2e3 - 1) ** 2
    )
    assert L.rate_loss(np.zeros((4, 2)), 0.1, 0.0) == 0.0
    low, high = np.sort(rate)[1], np.sort(rate)[1] + 1
    expected = np.mean(np.maximum(low - rate, 0) ** 2 + np.maximum(rate - high, 0) ** 2)
    assert L.rate_regulariser(SOFT, 0.1, low, high) == pytest.approx(expected)
    assert L.rate_regulariser(SOFT, 0.1, upper=rate.max() + 1) == 0.0


@pytest.mark.parametrize("apart", [0, 1, 7, 40])
@pytest.mark.parametrize("tau", [0.3, 2.0, 50.0])
def test_van_rossum_of_single_spikes(apart, tau):
    """1 - exp(-|t1 - t2|/tau) and 1/2 (van Rossum 2001), wherever the record ends."""
    one, other = np.zeros((2, 60))
    one[10], other[10 + apart] = 1.0, 1.0
    assert L.van_rossum(one, other, 0.1, tau) == pytest.approx(-np.expm1(-0.1 * apart / tau), rel=1e-12, abs=1e-15)
    assert L.van_rossum(one, np.zeros(60), 0.1, tau) == pytest.approx(0.5, rel=1e-12)


def test_van_rossum_by_quadrature():
    fine = 2000
    t = (np.arange(24 * fine + 200 * fine) + 0.5) * 0.1 / fine  # tail of 20 ms = 10 tau
    f = np.zeros(len(t))
    for k, weight in enumerate(SOFT[:, 0] - TRAIN[:, 0]):
        since = t - (k + 1) * 0.1
        f += weight * np.where(since >= 0, np.exp(-np.maximum(since, 0) / 2.0), 0.0)
    expected = np.sum(f**2) * (0.1 / fine) / 2.0
    assert L.van_rossum(SOFT[:, 0], TRAIN[:, 0], 0.1, 2.0) == pytest.approx(expected, rel=1e-4)
    each = [float(L.van_rossum(SOFT[:, i], TRAIN[:, i], 0.1, 2.0)) for i in range(3)]
    assert L.van_rossum(SOFT, TRAIN, 0.1, 2.0) == pytest.approx(np.mean(each))


def test_cross_entropies():
    def entropy(logits, k):
        return float(np.log(np.exp(logits).sum()) - logits[k])

    assert L.spike_count_cross_entropy(TRAIN, 2, 0.5) == pytest.approx(entropy(0.5 * TRAIN.sum(0), 2))
    assert L.max_over_time_cross_entropy(V, 0) == pytest.approx(entropy(V.max(0), 0))
    times = np.array([[3.0, 5.0, 9.0], [1.0, 8.0, 2.0]])
    expected = (entropy(-times[0] / 2, 0) + entropy(-times[1] / 2, 2)) / 2
    assert L.first_spike_cross_entropy(times, np.array([0, 2]), "2 ms") == pytest.approx(expected)
    assert L.first_spike_cross_entropy(times, np.eye(3)[[0, 2]], "2 ms") == pytest.approx(expected)
    trials = np.stack([TRAIN, 1 - TRAIN], axis=1)
    both = [float(L.spike_count_cross_entropy(trials[:, i], k)) for i, k in enumerate((1, 0))]
    assert L.spike_count_cross_entropy(trials, [1, 0]) == pytest.approx(np.mean(both))


def victor_purpura_by_matching(a, b, q):
    """Least cost over all ordered matchings of spikes, enumerated."""
    if not a or not b:
        return len(a) + len(b)
    return min(
        1 + victor_purpura_by_matching(a[1:], b, q),
        1 + victor_purpura_by_matching(a, b[1:], q),
        q * abs(a[0] - b[0]) + victor_purpura_by_matching(a[1:], b[1:], q),
    )


def test_victor_purpura():
    a, b = [10.0, 30.0, 55.0], [12.0, 31.0]
    assert L.victor_purpura(a, b, 0) == 1
    assert L.victor_purpura(a, b, 1e6) == 5
    assert L.victor_purpura(a, [10.0, 31.0], 1e6) == 3  # 10.0 coincides
    assert L.victor_purpura(a, b, 0.1) == pytest.approx(0.2 + 0.1 + 1)
    assert L.victor_purpura(a, b, "100 Hz") == pytest.approx(1.3)
    assert L.victor_purpura([10.0], [31.0], 0.1) == 2  # 2.1 to shift: cheaper removed and added
    assert L.victor_purpura([], b, 1.0) == 2 and L.victor_purpura([], [], 1.0) == 0
    assert L.victor_purpura(b[::-1], a, 0.1) == pytest.approx(1.3)


@pytest.mark.parametrize("seed", range(5))
def test_victor_purpura_is_the_least_cost_and_a_metric(seed):
    rng = np.random.default_rng(seed)
    a, b, c = (np.sort(rng.uniform(0, 20, rng.integers(0, 6))).tolist() for _ in range(3))
    for q in (0.03, 0.3, 3.0):
        ab, bc, ac = L.victor_purpura(a, b, q), L.victor_purpura(b, c, q), L.victor_purpura(a, c, q)
        assert ab == pytest.approx(victor_purpura_by_matching(a, b, q))
        assert (
            ac <= ab + bc + 1e-12 and L.victor_purpura(b, a, q) == pytest.approx(ab) and L.victor_purpura(a, a, q) == 0
        )


# Networks


@pytest.mark.parametrize("segment, steps", [(8, 24), (9, 24), (24, 24), (100, 1000), (None, 700), (None, 300)])
def test_psd_is_welch(segment, steps):
    x = RNG.normal(size=(steps, 2))
    length = segment or min(steps, 512)
    frequencies, power = L.psd(x, 2.0, segment and 2.0 * segment)
    expected = signal.welch(x, 500.0, "hann", length, detrend="constant", axis=0)
    np.testing.assert_allclose(frequencies, expected[0])
    np.testing.assert_allclose(power, expected[1], rtol=1e-11, atol=1e-18)
    np.testing.assert_allclose(
        power[:, 0], statistics.psd(x[:, 0], 2.0, segment and 2.0 * segment)[1], rtol=1e-11, atol=1e-18
    )


def test_psd_loss():
    x, data = RNG.normal(size=(400, 2)), RNG.normal(size=(300, 2))
    at, ours = signal.welch(x, 1000.0, "hann", 100, axis=0)
    _, theirs = signal.welch(data, 1000.0, "hann", 100, axis=0)
    band = (at >= 20) & (at <= 200)
    expected = np.mean((np.log10(ours[band]) - np.log10(theirs[band])) ** 2)
    assert L.psd_loss(x, data, 1.0, "100 ms", band=(20.0, "0.2 kHz"), floor=1e-12) == pytest.approx(expected)
    assert L.psd_loss(3 * x, x, 1.0, 100.0) == pytest.approx(np.log10(9.0) ** 2, rel=1e-6)


def test_synchrony():
    wave = np.sin(np.arange(100))[:, None]
    assert L.synchrony(np.tile(wave, 5)) == pytest.approx(1.0)
    noise = RNG.normal(size=(20_000, 25))
    assert L.synchrony(noise) == pytest.approx(0.2, rel=0.05)
    assert L.synchrony(np.hstack([wave, -wave])) == pytest.approx(0.0, abs=1e-12)
    assert np.isnan(L.synchrony(np.ones((5, 2))))


def test_connectivity():
    x = RNG.normal(size=(30, 4))
    fc = np.corrcoef(x.T)
    np.testing.assert_allclose(jax.jit(L.functional_connectivity)(x), fc, rtol=1e-12)
    rows, columns = np.triu_indices(4, 1)
    flat = [np.corrcoef(x[s : s + 10].T)[rows, columns] for s in (0, 6, 12, 18)]
    dynamics = jax.jit(lambda x: L.functional_connectivity_dynamics(x, "2 s", "20 s", "12 s"))(x)
    np.testing.assert_allclose(dynamics, np.corrcoef(flat), rtol=1e-12)
    target = np.corrcoef(RNG.normal(size=(4, 50)))
    both = fc[rows, columns], target[rows, columns]
    assert L.fc_loss(x, target) == pytest.approx(1 - stats.pearsonr(*both)[0])
    assert L.fc_loss(x, target, L.rmse) == pytest.approx(np.sqrt(np.mean((both[0] - both[1]) ** 2)))
    other = np.corrcoef(RNG.normal(size=(7, 50)))
    ours, theirs = np.asarray(dynamics)[np.triu_indices(4, 1)], other[np.triu_indices(7, 1)]
    distance = jax.jit(lambda x: L.fcd_loss(x, other, 2000.0, 20e3, 12e3))(x)
    assert distance == pytest.approx(stats.wasserstein_distance(ours, theirs))
    distance = jax.jit(lambda x: L.fcd_loss(x, other, 2000.0, 20e3, 12e3, L.kolmogorov_smirnov))(x)
    assert distance == pytest.approx(stats.ks_2samp(ours, theirs).statistic)


@pytest.mark.parametrize("n, m", [(1, 1), (7, 7), (12, 5), (1, 30)])
def test_distributions_are_scipys(n, m):
    a, b = RNG.normal(size=n).round(1), RNG.normal(0.5, 2, size=m).round(1)  # with ties
    assert L.wasserstein(a, b) == pytest.approx(stats.wasserstein_distance(a, b), abs=1e-15)
    assert jax.jit(L.kolmogorov_smirnov)(a, b) == pytest.approx(stats.ks_2samp(a, b).statistic)


def test_equal_signals_have_no_loss_and_a_finite_gradient():
    for f in (L.rmse, L.wasserstein, L.voltage_mse, lambda x, y: L.van_rossum(x, y, 0.1, 1.0)):
        value, gradient = jax.value_and_grad(f)(jnp.asarray(V), jnp.asarray(V))
        assert value == 0.0 and np.isfinite(gradient).all()


# What is refused


def refused(match, f, *args, error=ParameterError, **kwargs):
    with pytest.raises(error, match=match):
        f(*args, **kwargs)


def test_wrong_shapes_are_refused_with_advice():
    v, data = np.zeros((1000, 2)), np.zeros((900, 2))
    for f in (L.voltage_mse, L.voltage_residual, jax.jit(L.voltage_residual)):
        refused(r"v has 1000 steps of 2 cells, data has 900 steps .* resample", f, v, data)
    refused(r"v is 10 times as long, .* every 10-th sample: v\[9::10\]", L.voltage_mse, v, v[::10])
    refused(r"data is 2 times as long", L.low_passed_mse, v[::2], v, 0.1, 5.0)
    refused("differ in their cells", L.van_rossum, v, v[:, :1], 0.1, 5.0)
    refused(r"number of axes.* data\[:, None\]", L.voltage_mse, v, v[:, 0])
    refused("soft_dtw compares", L.soft_dtw, v, v[:, :1])
    refused("rates of shape", L.rate_loss, v, 0.1, [1.0, 2.0, 3.0])
    refused("target has 5; select", L.fc_loss, V, FCD)
    refused("data have other cells, or windows of another length", L.psd_loss, V, DATA[:10], 1.0)
    refused("must have one shape", L.rmse, v, data)
    refused("square", L.upper_triangle, v)
    refused(r"does not fit \(24, 3\)", L.voltage_mse, V, DATA, np.ones(2))


def test_wrong_data_are_refused_also_under_jit():
    bad = DATA.copy()
    bad[4, 1] = np.nan
    refused(r"1 values that are nan .* first at \[4, 1\]", L.voltage_mse, V, bad)
    refused("nan or infinite", jax.jit(lambda v: L.voltage_mse(v, bad)), V)
    refused("nan or infinite", jax.jit(lambda v: L.van_rossum(v, bad, 0.1, 1.0)), V)
    refused("no class: they go from 0 to 2", jax.jit(lambda s: L.spike_count_cross_entropy(s, 3)), TRAIN)
    refused("must sum to 1", L.spike_count_cross_entropy, TRAIN, [1.0, 1.0, 0.0])
    refused("does not fit classes", L.spike_count_cross_entropy, TRAIN, 1.0)
    refused("2 or more", L.spike_count_cross_entropy, TRAIN[:, :1], 0)
    refused("nan or infinite", L.first_spike_cross_entropy, [1.0, np.nan], 0, 5.0)
    refused("complex", L.voltage_mse, V * 1j, DATA)
    refused("no array|no real numbers|real numbers", L.voltage_mse, [[1.0], [2.0, 3.0]], DATA)


def test_wrong_numbers_are_refused():
    refused("tau = -1.0 cannot be: it must be greater than 0 ms", L.low_pass, V, 0.1, -1.0)
    refused("tau", L.van_rossum, TRAIN, TRAIN, 0.1, np.array([1.0, 0.0, 2.0]))
    refused("dt", L.firing_rate, TRAIN, 0.0)
    refused("mV", L.low_pass, V, 0.1, "20 mV", error=UnitError)
    refused("scale", L.voltage_mse, V, DATA, 0.0)
    refused("every = 0", L.voltage_mse, V, DATA, 1.0, 0)
    refused("every = 25", L.voltage_mse, V, DATA, 1.0, 25)
    refused("gamma", L.soft_dtw, V, DATA, 0.0)
    refused("window = 0.25 ms is not a multiple of dt", L.window_max, V, 0.1, 0.25)
    refused(r"no whole number of windows of 5 steps.*v\[:20\]", L.window_max, V, 0.1, 0.5)
    refused("median", L.window_features, V, 0.1, 0.4, ["median"], error=UnknownNameError)
    refused("does not say which features", L.window_residual, V, DATA, 0.1, 0.4, 5.0)
    refused("target = -1.0 .* at least 0 Hz", L.rate_loss, TRAIN, 0.1, -1.0)
    refused("greater than 0 Hz", L.rate_loss, TRAIN, 0.1, 0.0, relative=True)
    refused("per='cell'", L.rate_loss, TRAIN, 0.1, 1.0, per="neuron")
    refused("neither limit", L.rate_regulariser, TRAIN, 0.1)
    refused("exceeds", L.rate_regulariser, TRAIN, 0.1, 5.0, 1.0)
    refused("windows", L.functional_connectivity_dynamics, V, 1.0, 24.0, 1.0)
    refused("needs 2 to 24", L.psd, V, 1.0, 30.0)
    refused("holds none of the", L.psd_loss, V, DATA, 1.0, None, (1.0, 2.0))
    refused("q = -1", L.victor_purpura, [1.0], [2.0], -1)
    refused("outside of 3 cells", L.spike_array, [0.1, 9.0], [0, 1], 3, 24, 0.1)
    refused("most", L.crossing_times, V, 0.0, 0.1, 0)
    refused("cannot be traced", jax.jit(lambda w: L.window_max(V, 0.1, w)), 0.4)


def test_metrics_refuse_derivatives():
    refused("use wasserstein", jax.grad(lambda x: L.kolmogorov_smirnov(x, DATA)), jnp.asarray(V))
    refused("van_rossum in a loss", jax.jit(lambda t: L.victor_purpura(t, [1.0], 0.1)), jnp.ones(3))


def test_objects_of_a_run_are_refused_with_advice():
    from brainsim.recorded import Spikes, Trace

    refused("Spikes, not an array.*spike_array", L.spike_count, Spikes([1.0], [0], 3))
    refused(r"Trace, .*give its \.values", L.voltage_mse, Trace(V, np.arange(24.0), np.arange(3)), DATA)
    refused("take one entry", L.spike_count, {"e": TRAIN})
