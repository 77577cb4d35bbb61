"""Pictures of results: what the artists hold, labels with units. No pixels are compared."""

import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("matplotlib")
import matplotlib.pyplot as plt
from pictures import clean, colour, offsets, smoke  # noqa: F401

from brainsim import plot
from brainsim.errors import ParameterError, UnknownNameError
from brainsim.result import Result, Spikes, Trace


def make(n=(30, 10), duration=200.0, n_spikes=400, cells=(0, 3), low=-65.0, high=-50.0):
    rng, names = np.random.default_rng(0), ("exc", "inh")
    spikes = {
        name: Spikes((rng.integers(0, round(duration * 10), n_spikes) + 1) * 0.1, rng.integers(0, k, n_spikes), k)
        for name, k in zip(names, n)
    }
    times = (np.arange(round(duration * 10)) + 1) * 0.1
    values = np.tile(np.linspace(low, high, len(times), dtype=np.float32)[:, None], (1, len(cells)))
    traces = {"exc.v": Trace(values, times, cells, "mV"), "exc.x": Trace(values[:, :1], times, cells[:1], "1")}
    return Result(spikes, traces, duration=duration, meta=dict(populations=dict(zip(names, n))))


# ---- rasters


def test_raster_has_a_mark_a_spike_and_a_band_a_population():
    result = make()
    axes = plot.raster(result)
    first, second = axes["raster"].collections
    assert len(first.get_offsets()) == len(result["exc"]) and len(second.get_offsets()) == len(result["inh"])
    np.testing.assert_allclose(first.get_offsets()[:, 0], result["exc"].times)
    np.testing.assert_allclose(first.get_offsets()[:, 1], result["exc"].indices)
    assert second.get_offsets()[:, 1].min() >= 30 > first.get_offsets()[:, 1].max()
    assert first.get_rasterized() and colour(first.get_facecolor()) == plot.PALETTE[0]
    assert axes["raster"].get_xlim() == (0.0, 200.0)
    assert [t.get_text() for t in axes["raster"].get_yticklabels()] == ["exc\n30", "inh\n10"]
    assert axes["rate"].get_xlabel() == "time (ms)" and axes["rate"].get_ylabel() == "rate (Hz)"
    smoke(axes["raster"])


def test_raster_takes_axes_and_returns_them():
    figure, ax = plt.subplots()
    axes = plot.raster(make(), "inh", ax, strip=False)
    assert axes == {"raster": ax} and ax.get_xlabel() == "time (ms)" and len(figure.axes) == 1
    assert colour(ax.collections[0].get_facecolor()) == plot.PALETTE[1]  # as in every other picture
    divided = plot.raster(make(), ax=plt.subplots(2, 2)[1][0, 1])
    assert set(divided) == {"raster", "rate"}
    free = plt.figure().add_axes((0.1, 0.1, 0.8, 0.8))
    assert set(plot.raster(make(), ax=free)) == {"raster"}


def test_many_spikes_are_thinned_with_a_note():
    result = make(n=(200, 100), n_spikes=40_000)
    ax = plot.raster(result, strip=False)["raster"]
    assert 49_000 < len(offsets(ax)) <= 50_002
    assert any("50,000 of 80,000 spikes shown" in t.get_text() for t in ax.texts)
    assert len(offsets(plot.raster(result, strip=False, max_points=10**6)["raster"])) == 80_000


def test_a_window_cuts():
    result = make()
    ax = plot.raster(result, strip=False, window=(50.0, 100.0))["raster"]
    times = offsets(ax)[:, 0]
    assert times.min() > 50.0 and times.max() <= 100.0 and ax.get_xlim() == (50.0, 100.0)


def test_cells_can_be_ordered_by_rate():
    spikes = Spikes([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [2, 2, 2, 0, 0, 1], 3)
    ax = plot.raster(Result({"p": spikes}, duration=10.0), order="rate", strip=False)["raster"]
    assert offsets(ax)[:, 1].tolist() == [0, 0, 0, 1, 1, 2]
    with pytest.raises(UnknownNameError, match="order"):
        plot.raster(make(), order="size")


def test_silence_is_said():
    result = Result({"exc": Spikes([], [], 4)}, duration=10.0)
    assert plot.raster(result, strip=False)["raster"].texts[0].get_text() == "no spikes"
    plot.raster(result)
    plot.psd(result)


def test_unknown_populations_are_named():
    with pytest.raises(UnknownNameError, match="did you mean 'exc'"):
        plot.raster(make(), "exk")


# ---- rates and spectra


def test_rate_is_that_of_the_result():
    result = make()
    ax = plot.rate(result, bin=10.0)
    for line, name in zip(ax.lines, ("exc", "inh")):
        np.testing.assert_allclose(line.get_ydata(), result.population_rate(name, 10.0).rate)
        assert line.get_label() == name
    assert any("10 ms bins" in t.get_text() for t in ax.texts)
    smoothed = plot.rate(result, "exc", bin=10.0, smooth=20.0).lines[0].get_ydata()
    assert np.std(smoothed) < np.std(result.population_rate("exc", 10.0).rate)
    smoke(ax)


def test_default_bins_lie_on_the_grid():
    for duration in (1.0, 30.0, 200.0):
        result = make(duration=duration)
        bin = plot.activity.default_bin(result, (0.0, duration))
        assert bin >= result.dt and (bin / result.dt) == pytest.approx(round(bin / result.dt))
        assert plot.rate(result).lines


def test_psd_peaks_where_the_rate_oscillates():
    times = np.sort(np.concatenate([np.arange(12.5, 4000.0, 25.0) + s for s in np.linspace(-2, 2, 9)]))
    result = Result({"p": Spikes(times, np.zeros(len(times), int), 5)}, duration=4000.0)
    ax = plot.psd(result, segment=1000.0, f_max=60.0)
    frequency, power = ax.lines[0].get_data()
    assert frequency[np.argmax(power)] == pytest.approx(40.0) and frequency.max() <= 60.0
    assert ax.get_xlabel() == "frequency (Hz)" and "Hz²/Hz" in ax.get_ylabel() and ax.get_yscale() == "log"
    smoke(ax)


# ---- traces


def test_trace_has_units_and_paints_spikes():
    result = make()
    ax = plot.trace(result, "exc.v", cells=[3])
    assert ax.get_xlabel() == "time (ms)" and ax.get_ylabel() == "exc[3].v (mV)"
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), result.traces["exc.v"].of(3))
    assert len(ax.collections[0].get_segments()) == len(result["exc"].of(3))
    assert colour(ax.lines[0].get_color()) == plot.PALETTE[0]
    assert colour(plot.trace(result, "exc.v", cells=[3], color=plot.PALETTE[1]).lines[0].get_color()) == plot.PALETTE[1]
    assert not plot.trace(result, "exc.v", cells=[3], spikes=False).collections
    assert not plot.trace(make(high=20.0), "exc.v", cells=[3]).collections  # the action potential is in the voltage
    smoke(ax)


def test_traces_stack_with_a_scale_bar():
    ax = plot.trace(make(), "exc.v")
    assert [t.get_text() for t in ax.get_yticklabels()] == ["cell 0", "cell 3"]
    assert ax.get_ylabel() == "exc.v (mV)" and any(t.get_text().endswith(" mV") for t in ax.texts)
    assert ax.lines[0].get_ydata().min() > ax.lines[1].get_ydata().min()
    overlaid = plot.trace(make(), "exc.v", stack=False)
    assert np.array_equal(overlaid.lines[0].get_ydata(), overlaid.lines[1].get_ydata())
    assert overlaid.get_legend() is not None


def test_many_traces_become_a_crowd_with_its_mean():
    result = make(cells=tuple(range(20)))
    ax = plot.trace(result, "exc.v")
    assert len(ax.lines) == 21 and any("20 cells" in t.get_text() for t in ax.texts)
    assert plot.trace(result, "exc.x").get_ylabel() == "exc[0].x"  # no unit, no brackets


def test_long_lines_keep_their_extremes():
    t, v = np.arange(1e6), np.random.default_rng(0).normal(size=10**6)
    times, values = plot.traces.extremes(t, v)
    assert len(times) <= 20_000 and values.max() == v.max() and values.min() == v.min() and np.all(np.diff(times) >= 0)


def test_unknown_traces_are_named():
    with pytest.raises(UnknownNameError, match=r"exc\.v"):
        plot.trace(make(), "exc.w")
    with pytest.raises(UnknownNameError, match="recorded cell"):
        plot.trace(make(), "exc.v", cells=[7])


# ---- everything


def test_the_result_plots_itself():
    axes = make().plot()
    assert list(axes) == ["raster", "rate", "exc.v", "exc.x"]
    assert len({ax.figure for ax in axes.values()}) == 1
    assert axes["exc.x"].get_xlabel() == "time (ms)" and axes["raster"].get_xlabel() == ""
    assert axes["exc.v"].get_shared_x_axes().joined(axes["exc.v"], axes["raster"])
    smoke(axes["raster"])
    assert list(make().plot(traces=["exc.x"], window=(0.0, 50.0))) == ["raster", "rate", "exc.x"]
    assert list(Result({}, make().traces, duration=200.0).plot(max_traces=1)) == ["exc.v"]
    with pytest.raises(ParameterError, match="nothing was recorded"):
        Result().plot()


# ---- house keeping


def test_importing_plot_imports_no_matplotlib():
    code = "import sys, brainsim.plot; print(sorted({'matplotlib', 'networkx', 'h5py'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
