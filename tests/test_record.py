"""Recorders: what they keep, and that they only read."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from samples import Conductance, Count, Fire, Leak, Probe, Pulse, Saturating, matrix

import brainsim as bs
from brainsim import models
from brainsim.errors import CompileError, RunError, UnknownNameError
from brainsim.record import add_to, mean_of, zero_sum

DT = 0.1


def network():
    net = bs.Network(seed=3)
    net.add("a", Fire(), 4, labels=["k", "l", "m", "n"])
    net.add("b", Leak(), 3)
    net.connect("a", "b", Pulse(), bs.from_matrix(matrix(4, 3, 0.8)), delay=0.5)
    net.connect("a", "b", Saturating(), bs.from_matrix(matrix(4, 3, 0.8, seed=1)), delay=0.2, name="edges")
    net.connect("a", "b", Conductance(), bs.all_to_all(), weight=0.1, delay=0.3, name="g")
    net.init("a.v", [0.0, 0.2, 0.4, 0.6])
    return net


INPUT = {"a.I": 3.0, "b.I": bs.sine(1.0, 50.0)}
EVERYTHING = ["*.spikes", "*.v", "a->b.i", "a->b.current", "edges.s", "g.g", "g.current"]


@pytest.fixture(scope="module")
def net():
    return network()


@pytest.fixture(scope="module")
def full(net):
    return net.compile(dt=DT, record=EVERYTHING).run(20.0, inputs=INPUT)


def test_names_times_and_units(full, net):
    assert set(full.spikes) == {"a"}
    assert set(full.traces) == {"a.v", "b.v", "a->b.i", "a->b.current", "edges.s", "g.g", "g.current"}
    np.testing.assert_allclose(full.traces["a.v"].times, (np.arange(200) + 1) * DT)
    units = {name: trace.unit for name, trace in full.traces.items()}
    assert units == {
        "a.v": "mV", "b.v": "mV", "a->b.i": "pA", "a->b.current": "pA", "edges.s": "1", "g.g": "nS", "g.current": "pA",
    }  # fmt: skip
    assert full["a.v"].shape == (200, 4) and full["edges.s"].shape == (200, net["edges"].n_edges)
    assert len(full["a"]) > 10 and full["a"].n_cells == 4


def test_values_belong_together(full):
    """What synapses carry, and the current they make of it, at the same time."""
    np.testing.assert_array_equal(full["a->b.current"], full["a->b.i"])
    np.testing.assert_allclose(full["g.current"], full["g.g"] * (3.0 - full["b.v"]), rtol=1e-5, atol=1e-5)
    assert full["edges.s"].max() > 0.2 and full["edges.s"].min() == 0.0


def test_a_spike_carries_the_time_of_the_reset_sample(full):
    """The sample at the time of a spike is taken after the reset."""
    v, spikes = full["a.v"], full["a"]
    row = np.round(spikes.times / DT).astype(int) - 1
    assert np.all(v[row, spikes.indices] < v[row - 1, spikes.indices])
    row_of_fall, cell_of_fall = np.nonzero(np.diff(v, axis=0) < -0.5)
    np.testing.assert_array_equal(row_of_fall + 1, row)
    np.testing.assert_array_equal(cell_of_fall, spikes.indices)


def test_samples_are_the_ends_of_intervals(net, full):
    some = net.compile(dt=DT, record=[bs.trace("*.v", every=0.5), bs.trace("edges.s", every=2.0)])
    found = some.run(20.0, inputs=INPUT)
    for name, every in (("a.v", 5), ("b.v", 5), ("edges.s", 20)):
        np.testing.assert_array_equal(found[name], full[name][every - 1 :: every])
        np.testing.assert_allclose(found.traces[name].times, np.arange(1, 200 // every + 1) * every * DT)
    with pytest.raises(RunError, match=r"20\.5 ms is not a multiple of every recorded interval \(2 ms\); run 22"):
        some.run(20.5, inputs=INPUT)


SELECTIONS = {
    "list": ([2, 0], [2, 0]),
    "array": (np.array([1, 3]), [1, 3]),
    "one": (1, [1]),
    "negative": (-1, [3]),
    "slice": (slice(1, 4, 2), [1, 3]),
    "mask": ([True, False, False, True], [0, 3]),
    "label": ("m", [2]),
    "labels": (["n", "k"], [3, 0]),
}


def test_selected_cells(net, full):
    for name, (of, ids) in SELECTIONS.items():
        sim = net.compile(dt=DT, record=bs.trace("a.v", of=of))
        assert sim.recorders[0].ids.tolist() == ids, name
    record = [bs.trace("a.v", of=net["a"][2:]), bs.trace("edges.s", of=[4, 1]), bs.trace("b.v", of=2)]
    sim = net.compile(dt=DT, record=record)
    found = sim.run(20.0, inputs=INPUT)
    np.testing.assert_array_equal(found["a.v"], full["a.v"][:, 2:])
    np.testing.assert_array_equal(found["edges.s"], full["edges.s"][:, [4, 1]])
    np.testing.assert_array_equal(found["b.v"], full["b.v"][:, [2]])
    assert found.traces["a.v"].indices.tolist() == [2, 3] and found.traces["edges.s"].indices.tolist() == [4, 1]
    np.testing.assert_array_equal(found.traces["a.v"].of(3), full["a.v"][:, 3])


def test_means(net, full):
    sim = net.compile(dt=DT, record=[bs.mean("*.v"), bs.mean("edges.s"), "a.v"])
    found = sim.run(20.0, inputs=INPUT)
    assert set(found.summaries) == {"a.v", "b.v", "edges.s"}
    for name, values in found.summaries.items():
        np.testing.assert_allclose(values, full[name].mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found["a.v"], full["a.v"])  # a trace of the same name wins


@pytest.mark.parametrize("traced", (False, True))
def test_means_of_long_runs(traced):
    """Sums in float32 alone would be wrong by 1e-4 here."""
    net = bs.Network()
    net.add("b", Leak(), 3)
    sim = net.compile(dt=DT, record=[bs.mean("b.v"), "b.v"])
    run = lambda drive: sim.run(2000.0, inputs={"b.I": drive})
    drive = bs.constant(np.array([3.1, -0.07, 1e3]))
    found = jax.jit(run)(drive) if traced else run(drive)
    values = found.traces["b.v"].values
    right = np.asarray(values, np.float64).mean(0)
    assert len(values) == 20_000 and np.abs(right[2]) > 100
    assert np.max(np.abs(np.asarray(found.summaries["b.v"]) / right - 1)) < 1e-6
    naive = np.cumsum(np.asarray(values, np.float32), axis=0, dtype=np.float32)[-1] / len(values)
    assert np.max(np.abs(naive / right - 1)) > 1e-5


def test_means_do_not_depend_on_how_a_run_is_divided():
    net = bs.Network(seed=3)
    net.add("b", Leak(), 3)
    alone = net.compile(dt=DT, record=[bs.mean("b.v")])
    beside = net.compile(dt=DT, record=[bs.mean("b.v"), bs.trace("b.v", every=0.7)])
    beside.chunk.__class__ = type("Short", (type(beside.chunk),), {"capacity": property(lambda self: 21)})
    drive = {"b.I": bs.sine(1.0, 50.0, offset=[0.1, 3.0, -7.0])}
    whole, cut = alone.run(140.0, inputs=drive), beside.run(140.0, inputs=drive)
    assert len(cut["b.v"]) == 200 and np.ptp(cut["b.v"]) > 1.0
    np.testing.assert_array_equal(whole["b.v"], cut.summaries["b.v"])
    parts = [alone.advance(d, inputs=drive) for d in (30.0, 70.7, 39.3)]
    np.testing.assert_allclose(bs.Result.join(parts).summaries["b.v"], whole["b.v"], rtol=1e-13)


def test_the_gradient_of_a_mean():
    net = bs.Network()
    net.add("b", Leak(), 3)
    sim = net.compile(dt=DT, record=[bs.mean("b.v"), "b.v"])

    @jax.jit
    def both(amplitude, change):
        def totals(amplitude):
            found = sim.run(20.0, inputs={"b.I": bs.sine(amplitude, 50.0)})
            return [jnp.sum(x**2) for x in (found.summaries["b.v"], found.traces["b.v"].values.mean(0))]

        _, back = jax.vjp(totals, amplitude)
        return [back([w, 1.0 - w])[0] for w in (1.0, 0.0)], jax.jvp(totals, (amplitude,), (change,))[1]

    for of_mean, of_trace in both(1.0, 1.0):
        assert abs(of_trace) > 1e-3
        np.testing.assert_allclose(of_mean, of_trace, rtol=1e-4)


def test_the_running_sum_over_a_million_steps():
    """Also of values that cancel, and of its derivative."""
    n = 10**6

    @jax.jit
    def mean(scale):
        def body(i, total):
            x = i.astype(jnp.float32)
            small = jnp.stack([1e-3 * jnp.cos(x), jnp.where(i % 2 == 0, 1e4, -1e4) + 0.1, 70.0 + jnp.sin(0.1 * x)])
            return add_to(total, scale * small)

        return mean_of(jax.lax.fori_loop(0, n, body, zero_sum(3)), n)

    value, slope = jax.jvp(mean, (jnp.float32(1.0),), (jnp.float32(1.0),))
    steps = np.arange(n).astype(np.float32)
    cosine = np.asarray(1e-3 * jnp.cos(steps), np.float64)
    even = np.float32(1e4) + np.float32(0.1), np.float32(-1e4) + np.float32(0.1)
    sine = np.asarray(70.0 + jnp.sin(0.1 * steps), np.float64)
    right = [cosine.mean(), np.mean(even, dtype=np.float64), sine.mean()]
    magnitude = [np.abs(cosine).mean(), 1e4, 70.0]
    for found in (value, slope):
        assert np.all(np.abs(found - np.array(right)) < 2e-7 * np.array(magnitude))


def test_a_recorder_only_reads(net, full):
    bare = net.compile(dt=DT, record="a.spikes").run(20.0, inputs=INPUT)
    np.testing.assert_array_equal(bare["a"].times, full["a"].times)
    np.testing.assert_array_equal(bare["a"].indices, full["a"].indices)
    nothing = net.compile(dt=DT).run(20.0, inputs=INPUT)
    assert not nothing.spikes and not nothing.traces and nothing.duration == 20.0
    for key, values in nothing.state["z"][0].items():
        np.testing.assert_array_equal(values, bare.state["z"][0][key])


def test_spikes_only_of_the_asked_populations():
    net = bs.Network()
    model = Fire()
    for name in ("a", "b", "c"):
        net.add(name, model, 2)
    inputs = {"b.I": 2.0, "c.I": 5.0}
    found = net.compile(dt=DT, record=["b.spikes", bs.spikes("c")]).run(30.0, inputs=inputs)
    every = net.compile(dt=DT, record="*.spikes").run(30.0, inputs=inputs)
    assert set(found.spikes) == {"b", "c"} and len(every["a"]) == 0
    for name in ("b", "c"):
        np.testing.assert_array_equal(found[name].times, every[name].times)
        assert found[name].counts().tolist() == every[name].counts().tolist() != [0, 0]


def test_long_runs_are_kept_in_pieces():
    """More steps than one buffer holds."""
    net = bs.Network()
    net.add("p", Probe(), 1, method="euler")
    sim = net.compile(dt=DT, record=[bs.trace("p.x", every=0.3)])
    done = []
    ramp = bs.ramp(0.0, 2400.0, start=0.0, stop=2400.0)
    found = sim.run(2400.0, inputs={"p.I": ramp}, progress=lambda a, b: done.append((a, b)))
    assert len(done) == 3 and done[-1] == (2400.0, 2400.0)
    np.testing.assert_allclose(found["p.x"][:, 0], found.traces["p.x"].times - DT, rtol=1e-5)


def test_shared_synapses_are_recorded_as_their_sum():
    net = bs.Network()
    net.add("b", Leak(), 1)
    synapse = Count()
    net.connect(bs.spike_train([0.5]), "b", synapse, weight=1.0, name="one")
    net.connect(bs.spike_train([0.5]), "b", synapse, weight=10.0, name="two")
    net.connect(bs.spike_train([0.5]), "b", Count(), weight=100.0, name="own")
    found = net.compile(dt=DT, record="*.c").run(1.0)
    assert found["one.c"][-1] == found["two.c"][-1] == 11.0 and found["own.c"][-1] == 100.0


def test_the_current_sees_the_time():
    class Clocked(Pulse):
        slope = bs.const(1000.0, "pA/ms")

        def current(self, i, t):
            return i + self.slope * t

    net = bs.Network()
    net.add("b", Leak(), 1)
    net.connect(bs.spike_train([0.5]), "b", Clocked(), weight=1.0, name="c")
    found = net.compile(dt=DT, record=["c.current", "c.i"]).run(1.0)
    times = found.traces["c.i"].times[:, None]
    np.testing.assert_allclose(found["c.current"] - found["c.i"], 1000.0 * times, rtol=1e-4)


# ---- what cannot be recorded ----------------------------------------------------------------------------------------

WRONG = {
    "misspelt": ("a.vv", UnknownNameError, r"no record 'a\.vv'; did you mean 'a\.v'\? Known: .*edges\.s"),
    "population": ("a", UnknownNameError, r"no record 'a'"),
    "weights that stay": ("g.w", UnknownNameError, r"'g\.w': weights of 'g': it does not learn, .* sim\.params\['g\.weight'\]"),
    "pattern": ("*.w", UnknownNameError, r"pattern '\*\.w' fits no record"),
    "silent cells": ("b.spikes", UnknownNameError, r"no record 'b\.spikes'; did you mean 'a\.spikes'"),
    "number": (3, CompileError, r"record: 3 is no name; write for example 'exc\.spikes'"),
    "every off grid": (bs.trace("a.v", every=0.25), CompileError, r"not a multiple of dt = 0\.1 ms; write every=0\.2"),
    "every small": (bs.trace("a.v", every=0.01), CompileError, r"not a multiple .* write every=0\.1"),
    "every negative": (bs.trace("a.v", every=-1.0), CompileError, r"write every=0\.1"),
    "of far": (bs.trace("a.v", of=[0, 7]), CompileError, r"trace\('a\.v', of=\(0, 7\)\): a has 0\.\.3; there is no 7"),
    "of text": (bs.trace("a.v", of="q"), UnknownNameError, r"a: there is no cell 'q'.* Known: k, l, m, n"),
    "of float": (bs.trace("a.v", of=[0.5]), CompileError, r"give whole numbers, a slice, a mask or labels"),
    "of mask": (bs.trace("a.v", of=[True, False]), CompileError, r"a mask needs 4 entries, got \(2,\)"),
    "of mask of edges": (bs.trace("edges.s", of=[True, False]), CompileError, r"a mask needs \d+ entries"),
    "of edges": (bs.trace("edges.s", of=[99]), CompileError, r"edges has 0\.\.\d+; there is no 99"),
    "of twice": (bs.trace("a.v", of=[1, 1]), CompileError, r"1 is selected twice"),
    "spikes every": (bs.trace("a.spikes", every=1.0), CompileError, r"one by one, of all cells; write bs\.spikes\('a'\)"),
    "spikes of": (bs.trace("a.spikes", of=[1]), CompileError, r"spikes are kept one by one"),
    "mean of spikes": (bs.mean("a.spikes"), CompileError, r"mean\('a\.spikes'\): spikes are kept one by one"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_recorded(net, name):
    record, error, message = WRONG[name]
    with pytest.raises(error, match=message):
        net.compile(dt=DT, record=[record])


def test_a_part_of_another_population(net):
    with pytest.raises(CompileError, match=r"the part belongs to 'a'; take cells of 'b'"):
        net.compile(dt=DT, record=[bs.trace("b.v", of=net["a"][:2])])


@pytest.mark.parametrize("of", [[], [[1, 2]]])
def test_selections_without_shape(of):
    with pytest.raises(CompileError, match=r"trace\('a\.v'\): of has shape .*; give a list of cells"):
        bs.trace("a.v", of=of)


def test_patterns_of_variables_leave_spikes_out(net):
    names = lambda record: [r.name for r in net.compile(dt=DT, record=record).recorders]
    assert names(["a.*"]) == ["a.spikes", "a.v"]
    assert names([bs.trace("a.*", every=1.0)]) == names([bs.mean("a.*")]) == ["a.v"]


def test_too_large_a_recording(net, monkeypatch):
    sim = net.compile(dt=DT, record=["edges.s", bs.trace("a.v", every=1.0)])
    monkeypatch.setattr("brainsim.record.free_memory", lambda: 2.5e9)
    with pytest.raises(RunError, match=r"need \S+ GB \('edges\.s' \S+ GB\), 2\.5 GB are free; record fewer .*stream="):
        sim.run(20_000_000.0, inputs=INPUT)


def test_equal_records_are_one_program():
    """Network.run compiles anew only when what is recorded changes, also where cells are given as an array."""
    net = network()
    for record in (lambda: [bs.trace("a.v", of=np.arange(2))], lambda: bs.trace("a.v", of=net["a"][:2])):
        net.run(1.0, DT, record=record(), inputs=INPUT)
        first = net._simulation[1]
        net.run(1.0, DT, record=record(), inputs=INPUT)
        assert net._simulation[1] is first
    assert set(net.run(1.0, DT, record="b.v", inputs=INPUT).traces) == {"b.v"}


def test_a_name_is_recorded_once(net):
    """A second trace of the same name used to replace the first without a word."""
    assert len(net.compile(record=["*.v", "a.v", bs.trace("b.v")]).recorders) == 2
    for record in (
        [bs.trace("a.v", of=[0]), bs.trace("a.v", of=[3])],
        ["*.v", bs.trace("a.v", every=1.0)],
    ):
        with pytest.raises(CompileError, match=r"'a\.v' is asked for twice.*list all cells in one bs\.trace"):
            net.compile(record=record)


def test_rates_of_cells_are_counted_without_storing_spikes():
    net = bs.Network()
    net.add("p", models.PoissonSource(rate=50.0), 20)
    found = net.compile(dt=1.0, record=["p.rate", "p.spikes"]).run(2000.0)
    np.testing.assert_allclose(found.summaries["p.rate"], found.spikes["p"].counts() / 2.0, rtol=1e-6)


def test_a_source_that_cannot_keep_its_rate_says_so():
    net = bs.Network()
    net.add("p", models.PoissonSource(rate=20_000.0), 2)
    with pytest.warns(UserWarning, match=r"20000 Hz are 2 spikes in a step of 0\.1 ms.*at most one"):
        net.compile(dt=0.1)
