"""Statistics of spike trains against closed forms."""

import numpy as np
import pytest

from brainsim import statistics as stats
from brainsim.errors import ParameterError


def poisson(rate, n_cells, duration, seed=0):
    """Homogeneous Poisson trains: times (n,) ms and cells (n,)."""
    rng = np.random.default_rng(seed)
    cells = np.repeat(np.arange(n_cells), rng.poisson(rate * duration / 1000.0, n_cells))
    return rng.uniform(0, duration, len(cells)), cells


def clock(period, n_cells, duration):
    times = np.tile(np.arange(period, duration + 1e-9, period), n_cells)
    return times, np.repeat(np.arange(n_cells), len(times) // n_cells)


def test_a_clock_has_no_variability():
    times, cells = clock(10.0, 3, 1000.0)
    np.testing.assert_allclose(stats.cv(times, cells, 3), 0.0, atol=1e-12)
    np.testing.assert_allclose(stats.cv2(times, cells, 3), 0.0, atol=1e-12)
    np.testing.assert_allclose(stats.fano(times, cells, 3, 100.0, 0.0, 1000.0), 0.0, atol=1e-12)
    np.testing.assert_allclose(stats.rates(cells, 3, 1000.0), 100.0)


def test_poisson_trains_have_unit_cv_cv2_and_fano():
    times, cells = poisson(50.0, 200, 20_000.0)
    # 200 cells x 1000 intervals: standard errors 0.002 (CV), 0.002 (CV2); 200 cells x 200 windows: 0.007 (Fano)
    assert np.mean(stats.cv(times, cells, 200)) == pytest.approx(1.0, abs=0.01)
    assert np.mean(stats.cv2(times, cells, 200)) == pytest.approx(1.0, abs=0.01)
    assert np.mean(stats.fano(times, cells, 200, 100.0, 0.0, 20_000.0)) == pytest.approx(1.0, abs=0.03)


def test_cv_and_cv2_of_alternating_intervals():
    intervals = np.tile([5.0, 15.0], 50)  # mean 10, sd 5; neighbours differ by 10 and sum to 20
    times = np.cumsum(intervals)
    cells = np.zeros(100, int)
    assert stats.cv(times, cells, 1)[0] == pytest.approx(np.std(intervals[1:]) / np.mean(intervals[1:]))
    assert stats.cv2(times, cells, 1)[0] == pytest.approx(1.0)


def test_gamma_trains_have_cv_one_over_sqrt_shape():
    rng = np.random.default_rng(1)
    times = np.cumsum(rng.gamma(4.0, 5.0, (50, 2000)), axis=1)
    cells = np.repeat(np.arange(50), 2000)
    assert np.mean(stats.cv(times.ravel(), cells, 50)) == pytest.approx(0.5, abs=0.01)


def test_few_spikes_give_nan():
    times, cells = np.array([1.0, 2.0, 3.0, 4.0, 8.0]), np.array([0, 1, 1, 2, 2])
    assert np.isnan(stats.cv(times, cells, 4)).all()
    times, cells = np.append(times, 9.0), np.append(cells, 2)
    assert np.isfinite(stats.cv(times, cells, 4)).tolist() == [False, False, True, False]
    assert np.isnan(stats.cv(times, cells, 4, min_spikes=4)).all()
    assert np.isfinite(stats.cv2(times, cells, 4)).tolist() == [False, False, True, False]


def test_intervals_do_not_cross_cells():
    intervals, cells = stats.isi([1.0, 2.0, 4.0, 8.0], [0, 1, 0, 1])
    assert intervals.tolist() == [3.0, 6.0] and cells.tolist() == [0, 1]
    assert len(stats.isi([], [])[0]) == 0


def test_bins_hold_what_ends_in_them():
    times = np.array([0.0, 0.1, 1.0, 1.1, 2.0, 2.5])  # 1.0 belongs to (0, 1], 2.5 to no whole bin
    centres, rate = stats.population_rate(times, 1, 1.0, 0.0, 2.5)
    assert centres.tolist() == [0.5, 1.5]
    assert rate.tolist() == [3000.0, 2000.0]


def test_bins_survive_rounding_of_the_grid():
    steps = np.arange(100_000)
    times = (steps + 1) * 0.1 + 1e6  # one spike a step
    counts = stats.binned(times, np.zeros(len(times), int), 1, 1.0, 1e6, 1e6 + 10_000.0)
    assert (counts == 10).all()


@pytest.mark.parametrize("bin", [0.0, -1.0, np.nan, 20.0])
def test_impossible_bins_are_refused(bin):
    with pytest.raises(ParameterError, match="bin"):
        stats.population_rate([1.0], 1, bin, 0.0, 10.0)


def test_psd_of_a_sine_peaks_at_its_frequency_with_its_power():
    t = np.arange(4096) * 1.0
    f, power = stats.psd(3.0 * np.sin(2 * np.pi * 0.04 * t), 1.0, segment=1000.0)
    assert f[np.argmax(power)] == pytest.approx(40.0)
    assert np.sum(power) * (f[1] - f[0]) == pytest.approx(4.5, rel=1e-3)  # variance of the sine


def test_psd_of_poisson_is_flat_at_twice_the_rate_over_n():
    times, _ = poisson(20.0, 100, 100_000.0)
    _, rate = stats.population_rate(times, 100, 1.0, 0.0, 100_000.0)
    _, power = stats.psd(rate, 1.0)
    assert np.mean(power[2:-2]) == pytest.approx(2 * 20.0 / 100, rel=0.02)


@pytest.mark.parametrize("length", [256, 255])
def test_psd_equals_scipy_welch(length):
    signal = pytest.importorskip("scipy.signal")
    x = np.random.default_rng(2).normal(size=3000)
    f, power = stats.psd(x, 2.0, segment=2.0 * length)
    theirs_f, theirs = signal.welch(x, fs=500.0, window="hann", nperseg=length, noverlap=length // 2)
    np.testing.assert_allclose(f, theirs_f)
    np.testing.assert_allclose(power, theirs, rtol=1e-10)


def test_correlations_of_copies_opposites_and_the_silent():
    rng = np.random.default_rng(3)
    a, b = rng.poisson(5.0, 5000), rng.poisson(5.0, 5000)
    matrix = stats.correlations([a, a, 20 - a, b, np.zeros(5000)])
    assert matrix[0, 1] == pytest.approx(1.0) and matrix[0, 2] == pytest.approx(-1.0)
    assert matrix[0, 3] == pytest.approx(0.0, abs=0.05)
    assert np.isnan(matrix[4]).all()
    np.testing.assert_allclose(matrix[:4, :4], np.corrcoef([a, a, 20 - a, b]), atol=1e-12)


def test_common_input_correlates_by_its_share():
    rng = np.random.default_rng(4)
    common = rng.poisson(3.0, 20_000)
    counts = common + rng.poisson(9.0, (20, 20_000))  # share 3 / 12
    assert stats.mean_correlation(counts) == pytest.approx(0.25, abs=0.01)
    assert np.isnan(stats.mean_correlation(np.zeros((3, 10))))


def test_psth_finds_a_response():
    events = np.arange(100.0, 1000.0, 100.0)
    times = np.concatenate([events + 7.0, events - 30.0])
    centres, rate = stats.psth(times, events, n_cells=2, before=50.0, after=50.0, bin=5.0)
    assert len(centres) == 20 and centres[0] == -47.5
    expected = 1000.0 / (5.0 * 2)  # one spike of two cells in one bin at every event
    assert rate[centres == 7.5] == pytest.approx(expected) and rate[centres == -32.5] == pytest.approx(expected)
    assert rate.sum() == pytest.approx(2 * expected)
    with pytest.raises(ParameterError, match="event"):
        stats.psth(times, [], 2, 50.0, 50.0, 5.0)


def test_smoothing_keeps_constants_and_the_sum():
    np.testing.assert_allclose(stats.smooth(np.full(50, 3.0), 4.0), 3.0)
    pulse = np.zeros(101)
    pulse[50] = 1.0
    smoothed = stats.smooth(pulse, 3.0)
    assert smoothed.sum() == pytest.approx(1.0) and smoothed[50] == pytest.approx(
        1 / (3 * np.sqrt(2 * np.pi)), rel=1e-3
    )
    assert len(stats.smooth(np.ones(3), 10.0)) == 3 and len(stats.smooth([], 1.0)) == 0
