"""Results: names, numbers, joining, presentation, exports."""

import numpy as np
import pytest

from brainsim.errors import ParameterError, RunError, UnknownNameError
from brainsim.result import Result, Spikes, Trace


def make(t_start=0.0, duration=100.0, seed=0, **options):
    """A result of two populations and one trace, deterministic in its arguments."""
    rng = np.random.default_rng(int(t_start) + seed)
    dt, n_steps = 0.1, round(duration / 0.1)
    spikes = {}
    for name, n_cells in (("exc", 8), ("inh", 3)):
        steps = rng.integers(0, n_steps, 20 * n_cells)
        spikes[name] = Spikes(t_start + (steps + 1) * dt, rng.integers(0, n_cells, len(steps)), n_cells)
    times = t_start + (np.arange(n_steps) + 1) * dt
    trace = Trace(rng.normal(-60, 2, (n_steps, 2)).astype(np.float32), times, [0, 5], "mV")
    meta = dict(
        populations={"exc": 8, "inh": 3}, wall_s=0.5, compile_s=0.1, device="cpu", dtype="float32", jax="0.10.1"
    )
    return Result(
        spikes, {"exc.v": trace}, {"exc.v.mean": np.arange(8.0)}, duration, t_start, dt, seed, meta=meta, **options
    )


def test_spikes_are_sorted_by_time_then_cell():
    spikes = Spikes([3.0, 1.0, 3.0, 2.0], [4, 0, 1, 2], 5)
    assert spikes.times.tolist() == [1.0, 2.0, 3.0, 3.0] and spikes.indices.tolist() == [0, 2, 1, 4]
    assert spikes.times.dtype == np.float64 and spikes.indices.dtype == np.int32
    assert len(spikes) == 4 and spikes.counts().tolist() == [1, 1, 1, 0, 1]
    assert spikes.of(3).tolist() == [] and spikes.of(4).tolist() == [3.0]
    assert spikes.between(1.0, 3.0).times.tolist() == [2.0, 3.0, 3.0]
    with pytest.raises(ValueError):
        spikes.times[0] = 0.0


def test_spikes_do_not_freeze_the_arrays_they_were_given():
    times = np.array([1.0, 2.0])
    Spikes(times, [0, 0], 1)
    times[0] = 0.5


@pytest.mark.parametrize(
    "times, indices, n_cells, message",
    [
        ([1.0], [0, 1], 2, "equal length"),
        ([np.nan], [0], 1, "finite"),
        ([1.0], [2], 2, "0 to n_cells"),
        ([1.0], [-1], 2, "-1"),
    ],
)
def test_impossible_spikes_are_refused(times, indices, n_cells, message):
    with pytest.raises(ParameterError, match=message):
        Spikes(times, indices, n_cells)


def test_traces_are_addressed_by_cell():
    trace = make().traces["exc.v"]
    assert trace.of(5).tolist() == trace.values[:, 1].tolist()
    with pytest.raises(UnknownNameError, match="recorded cell"):
        trace.of(1)
    with pytest.raises(ParameterError, match="fit"):
        Trace(np.zeros((3, 2)), [1.0, 2.0], [0, 1], "mV")
    assert Trace([1.0, 2.0], [1.0, 2.0], [0], None).unit == "1"


def test_names_give_what_was_recorded():
    result = make()
    assert result["exc"] is result.spikes["exc"] is result["exc.spikes"]
    assert result["exc.v"] is result.traces["exc.v"].values
    assert result["exc.v.mean"][3] == 3.0 and "exc" in result and "nothing" not in result
    for use in (lambda: result["exk"], lambda: result.isi("exk"), lambda: result.rates(name="exk")):
        with pytest.raises(UnknownNameError, match="did you mean 'exc'"):
            use()
    with pytest.raises(UnknownNameError, match="cell 8"):
        result["exc"].of(8)


def test_rates_are_in_hz():
    result = make()
    assert result.rates() == {"exc": pytest.approx(200.0), "inh": pytest.approx(200.0)}
    assert list(result.rates(name="in*")) == ["inh"]
    binned = result.rates(bin=10.0)
    assert binned["exc"].shape == (10,) and binned["exc"].mean() == pytest.approx(200.0)
    times, rate = result.population_rate("exc", bin=10.0)
    assert times[0] == 5.0 and np.array_equal(rate, binned["exc"])
    late = make(t_start=500.0)
    assert (
        late.population_rate("exc", 10.0).times[0] == 505.0 and late.population_rate("exc", 10.0).rate.mean() == 200.0
    )


def test_intervals_and_cv():
    regular = Result({"p": Spikes(np.arange(1, 11) * 10.0, np.zeros(10, int), 2)}, duration=100.0)
    assert regular.isi("p").tolist() == [10.0] * 9 and regular.cv("p") == pytest.approx(0.0, abs=1e-12)
    assert np.isnan(Result({"p": Spikes([], [], 2)}, duration=100.0).cv("p"))


def test_join_is_the_whole_run():
    parts = [make(0.0), make(100.0), make(200.0)]
    whole = Result.join(parts)
    assert (whole.t_start, whole.duration, whole.t_stop) == (0.0, 300.0, 300.0)
    assert len(whole["exc"]) == 480 and len(whole.traces["exc.v"]) == 3000
    assert np.all(np.diff(whole["exc"].times) >= 0)
    assert whole.meta["wall_s"] == pytest.approx(1.5) and whole.complete
    again = Result.join([Result.join(parts[:2]), parts[2]])
    assert np.array_equal(again["exc"].times, whole["exc"].times) and np.array_equal(again["exc.v"], whole["exc.v"])


def test_join_refuses_what_does_not_follow():
    for parts, message in [
        ([make(0.0), make(200.0)], "ends at 100 ms"),
        ([make(100.0), make(0.0)], "consecutive"),
        ([], "nothing"),
        ([make(0.0), Result(duration=1.0, t_start=100.0)], "same spikes"),
        ([make(0.0), Result(duration=1.0, t_start=100.0, dt=0.2)], "one dt"),
    ]:
        with pytest.raises(RunError, match=message):
            Result.join(parts)


def test_interruption_and_failure_show():
    result = make(ok=np.bool_(False))
    result.meta["complete"] = False
    assert result.ok is False and not result.complete
    assert "interrupted" in repr(result) and "nan" in repr(result)


def test_text_and_html_say_what_there_is():
    text, html = repr(make()), make()._repr_html_()
    for said in (
        "100 ms",
        "exc",
        "inh",
        "200.00",
        "CV",
        "exc.v",
        "1,000 samples of 2 cells, mV",
        "cpu",
        "float32",
        "kB",
    ):
        assert said in text and said in html
    assert "0.10.1" in html and "<table" in html
    assert "nothing recorded" in repr(Result())
    assert "&lt;b&gt;" in Result({"<b>": Spikes([], [], 1)}, duration=1.0)._repr_html_()


def test_silence_comes_with_a_hint():
    silent = {"exc": Spikes([], [], 4)}
    assert 'Record "exc.v"' in repr(Result(silent, duration=10.0))
    trace = {"exc.v": Trace(np.linspace(-65, -55, 10)[:, None], np.arange(10.0), [0], "mV")}
    assert "between -65 and -55 mV" in repr(Result(silent, trace, duration=10.0))
    assert "rheobase" in repr(Result(silent, duration=10.0, meta=dict(hint="mean input 12 pA is below rheobase 15 pA")))


def test_pandas_tables():
    pytest.importorskip("pandas")
    result = make()
    tables = result.to_pandas()
    spikes = tables["spikes"]
    assert len(spikes) == 220 and spikes.time_ms.is_monotonic_increasing
    assert spikes.population.value_counts().to_dict() == {"exc": 160, "inh": 60}
    assert tables["exc.v"].columns.tolist() == [0, 5] and tables["exc.v"].attrs["unit"] == "mV"
    np.testing.assert_array_equal(tables["exc.v"][5], result.traces["exc.v"].of(5))


def test_xarray_dataset():
    pytest.importorskip("xarray")
    result = make()
    coarse = Trace(np.ones((10, 1)), np.arange(1, 11) * 10.0, [2], "pA")
    result.traces.update({"exc.w": coarse, "inh.v": Trace(np.ones((10, 3)), coarse.times, [0, 1, 2], "mV")})
    data = result.to_xarray()
    assert data["exc.v"].dims == ("exc.v_time", "exc.v_cell") and data["exc.v"].attrs["units"] == "mV"
    assert data["inh.v"].dims == ("inh.v_time", "inh_cell")
    assert data["exc.spike_time"].size == 160 and data["exc.spike_cell"].attrs["n_cells"] == 8
    assert make().to_xarray()["exc.v"].sel(exc_cell=5, time=50.0, method="nearest").size == 1


def test_neo_block():
    neo = pytest.importorskip("neo")
    result = make(t_start=100.0)
    segment = result.to_neo().segments[0]
    assert len(segment.spiketrains) == 11 and float(segment.spiketrains[0].t_start) == 100.0
    np.testing.assert_allclose(segment.spiketrains[2].magnitude, result["exc"].of(2))
    (signal,) = segment.analogsignals
    assert signal.shape == (1000, 2) and str(signal.units.dimensionality) == "mV"
    assert float(signal.sampling_period) == pytest.approx(0.1) and signal.annotations["cells"] == [0, 5]
    odd = (
        Result({}, {"a.x": Trace(np.ones((3, 1)), [1.0, 2.0, 4.0], [0], "furlong")}, duration=4.0).to_neo().segments[0]
    )
    assert isinstance(odd.irregularlysampledsignals[0], neo.IrregularlySampledSignal)


def test_missing_libraries_are_named(monkeypatch):
    from brainsim import extras

    def absent(name):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(extras, "import_module", absent)
    for use, extra in (
        (make().to_pandas, "io"),
        (make().to_neo, "io"),
        (make().to_xarray, "io"),
        (make().plot, "plot"),
    ):
        with pytest.raises(ImportError, match=rf"pip install 'brainsim-jax\[{extra}\]'"):
            use()


def test_joined_means_are_those_of_the_whole_run():
    first = Result(summaries={"c.v": np.full(2, 1.0)}, duration=10.0)
    then = Result(summaries={"c.v": np.full(2, 4.0)}, duration=20.0, t_start=10.0)
    np.testing.assert_allclose(Result.join([first, then]).summaries["c.v"], 3.0)
