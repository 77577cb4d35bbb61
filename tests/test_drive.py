"""Inputs over time: their values against formulas, their statistics, and the gradients that flow to them."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from samples import Count, Leak, Probe
from support import check_gradient

import brainsim as bs
from brainsim import models
from brainsim.errors import NonFiniteError, ParameterError, RunError, UnitError

DT = 0.1


def probe(n=3, dt=DT, **options):
    net = bs.Network(seed=1)
    net.add("p", Probe(), n, method="euler")
    return net.compile(dt=dt, record=["p.x"], **options)


@pytest.fixture(scope="module")
def sim():
    return probe()


class Picoamperes:
    """Stands for a quantity of a unit library."""

    def __init__(self, value):
        self.value = value

    def m_as(self, unit):
        if unit != "pA**(1)":
            raise ValueError("no current")
        return self.value


STEPS = np.arange(60)
T = STEPS * DT
VALUES = np.random.default_rng(0).normal(size=(60, 3))
KNOWN = {
    "number": (20, np.full(60, 20.0)),
    "text": ("0.02 nA", np.full(60, 20.0)),
    "cells": ([1.0, -2.0, 3.0], np.tile([1.0, -2.0, 3.0], (60, 1))),
    "constant": (bs.constant(-4.5), np.full(60, -4.5)),
    "step": (bs.step(2.0, start=1.0, stop=3.5), np.where((STEPS >= 10) & (STEPS < 35), 2.0, 0.0)),
    "step per cell": (bs.step(np.array([1.0, 2.0, 3.0]), 2.0), np.outer(STEPS >= 20, [1.0, 2.0, 3.0])),
    "step off the grid": (bs.step(2.0, start=0.96, stop=1.04), np.zeros(60)),
    "ramp": (bs.ramp(-1.0, 3.0, start=1.0, stop=4.0), np.interp(T, [1.0, 4.0], [-1.0, 3.0])),
    "short ramp": (bs.ramp(-1.0, 3.0, start=1.0, stop=1.01), np.where(STEPS > 10, 3.0, -1.0)),
    "sine": (bs.sine(3.0, 40.0, phase=0.5, offset=1.0), 1.0 + 3.0 * np.sin(2 * np.pi * 0.04 * T + 0.5)),
    "sine per cell": (
        bs.sine(1.0, np.array([10.0, 200.0, 4999.0])),
        np.sin(2 * np.pi * 1e-3 * np.outer(T, [10.0, 200.0, 4999.0])),
    ),
    "array": (VALUES, VALUES),
    "array in time": (bs.array(VALUES[:, 0]), VALUES[:, 0]),
    "array every": (bs.array(VALUES[:30], every=0.2), np.repeat(VALUES[:30], 2, 0)),
    "array held": (bs.array(VALUES[:7], hold=True), VALUES[np.minimum(STEPS, 6)]),
    "sum": ([3.0, bs.step(2.0, 1.0), [1.0, 2.0, 3.0]], 3.0 + np.add.outer(2.0 * (STEPS >= 10), [1.0, 2.0, 3.0])),
    "added": (bs.step(2.0, 1.0) + 1.0, 1.0 + 2.0 * (STEPS >= 10)),
    "constant text": (bs.constant("0.02 nA"), np.full(60, 20.0)),
    "constant texts": (bs.constant(["2 pA", "0.003 nA", "4e3 fA"]), np.tile([2.0, 3.0, 4.0], (60, 1))),
    "quantity": (bs.constant(Picoamperes(7.0)), np.full(60, 7.0)),
    "bare quantity": (Picoamperes(7.0), np.full(60, 7.0)),
    "step text": (bs.step("0.002 nA", 1.0), 2.0 * (STEPS >= 10)),
    "ramp text": (bs.ramp("-1e-3 nA", 3.0, start=1.0, stop=4.0), np.interp(T, [1.0, 4.0], [-1.0, 3.0])),
    "sine text": (bs.sine("3e-3 nA", 40.0, offset="1000 fA"), 1.0 + 3.0 * np.sin(2 * np.pi * 0.04 * T)),
    "array text": (bs.array(["1 pA", "0.002 nA"], every=3.0), np.repeat([1.0, 2.0], 30)),
    "noise text": (bs.ou_noise("0.02 nA", "0 fA", 5.0), np.full(60, 20.0)),
    "sum text": (["0.02 nA", bs.step("2 pA", 1.0)], 20.0 + 2.0 * (STEPS >= 10)),
    "added text": (bs.step(2.0, 1.0) + "0.001 nA", 1.0 + 2.0 * (STEPS >= 10)),
    "added from the left": (1.0 + bs.step(2.0, 1.0), 1.0 + 2.0 * (STEPS >= 10)),
}


@pytest.fixture(scope="module")
def shown():
    """One population for every drive."""
    net = bs.Network(seed=1)
    model = Probe()
    for name in KNOWN:
        net.add(name, model, 3, method="euler")
    sim = net.compile(dt=DT, record=["*.x"])
    return sim.run(6.0, inputs={f"{name}.I": given for name, (given, _) in KNOWN.items()})


class Volts(bs.Neuron):
    """Shows inputs in other units."""

    u = bs.input("mV")
    f = bs.input("Hz")
    x = bs.state(0.0, "mV")
    y = bs.state(0.0, "Hz")

    def dx(self, x, u, dt):
        return (u - x) / dt

    def dy(self, y, f, dt):
        return (f - y) / dt


def test_text_is_converted_to_the_unit_of_the_input():
    net = bs.Network()
    net.add("p", Volts(), 2, method="euler")
    sim = net.compile(dt=DT, record="p.*")
    drives = {"p.u": bs.constant("0.002 V") + bs.sine("0 uV", 5.0), "p.f": bs.step("0.3 kHz")}
    found = sim.run(1.0, inputs=drives)
    np.testing.assert_allclose(found["p.x"], 2.0, rtol=1e-6)
    np.testing.assert_allclose(found["p.y"], 300.0, rtol=1e-6)
    assert float(bs.poisson(bs.constant("0.3 kHz"), most=400.0).rate.amplitude) == 300.0
    for given, words in (
        (
            {"p.u": bs.constant("2 nA")},
            r"input p\.u: Constant amplitude needs voltage \(mV\), got current \(pA\); write .*'20 mV'",
        ),
        ({"p.u": [1.0, bs.ou_noise(1.0, "3 Hz", 5.0)]}, r"input p\.u: OUNoise sd needs voltage \(mV\), got rate"),
        ({"p.f": bs.ramp("1 Hz", "2 mV", 0.0, 1.0)}, r"input p\.f: Ramp last needs rate \(Hz\), got voltage"),
        ({"p.f": ["2 Hz", "2 ms"]}, r"input p\.f\[1\] needs rate \(Hz\), got '2 ms', a time"),
    ):
        with pytest.raises(UnitError, match=words):
            sim.run(1.0, inputs=given)
    with pytest.raises(UnitError, match=r"poisson rate: Step amplitude needs rate \(Hz\), got current"):
        bs.poisson(bs.step("2 pA"), most=1.0)
    with pytest.raises(UnitError, match=r"sine amplitude needs current \(pA\), got '20', a string without a unit"):
        bs.sine("20", 5.0)


@pytest.mark.parametrize("name", KNOWN)
def test_values(shown, name):
    expected = KNOWN[name][1]
    expected = np.broadcast_to(expected if expected.ndim == 2 else expected[:, None], (60, 3))
    np.testing.assert_allclose(shown[f"{name}.x"], expected, atol=2e-5)


def test_values_go_on_in_the_next_run(sim):
    given = {"p.I": [KNOWN[name][0] for name in ("ramp", "sine", "array every")]}
    first = sim.run(2.5, inputs=given)
    second = sim.run(3.5, inputs=given, state=first.state)
    np.testing.assert_array_equal(np.concatenate([first["p.x"], second["p.x"]]), sim.run(6.0, inputs=given)["p.x"])


def test_an_unsaid_input_has_its_default():
    class Shifted(bs.Neuron):
        I = bs.input("pA", default=7.0)
        x = bs.state(0.0, "pA")

        def dx(self, x, I, dt):
            return (I - x) / dt

    net = bs.Network()
    net.add("p", Shifted(), 2, method="euler")
    sim = net.compile(dt=DT, record="p.x")
    np.testing.assert_allclose(sim.run(0.5)["p.x"], 7.0)
    np.testing.assert_allclose(sim.run(0.5, inputs={"p.I": 2.0})["p.x"], 9.0)  # drives add to it


@pytest.mark.parametrize("frequency", [10.0, 7.3, 333.3, 4999.9])
@pytest.mark.parametrize("first", [10**9, 2 * 10**9])
def test_sine_keeps_its_phase(frequency, first):
    drive = bs.sine(1.0, frequency, phase=0.25).prepare(DT, "sine")
    run = jax.jit(lambda drive, step: drive.value(step, DT, 1, None, ())[0])
    for step in (first, first + 1, first + 777):
        turns = Fraction(frequency) * step * Fraction("0.1") / 1000 % 1
        assert float(run(drive, jnp.int32(step))) == pytest.approx(np.sin(2 * np.pi * float(turns) + 0.25), abs=2e-5)


def test_sine_keeps_its_phase_in_a_run(sim):
    state = sim.run(0.1).state
    state = {**state, "step": jnp.int32(10**9)}
    found = sim.run(2.0, inputs={"p.I": bs.sine(1.0, 50.0)}, state=state)
    turns = [float(Fraction(50) * (10**9 + k) / 10000 % 1) for k in range(20)]
    np.testing.assert_allclose(found["p.x"][:, 0], np.sin(2 * np.pi * np.array(turns)), atol=2e-5)
    assert found.traces["p.x"].times[0] == pytest.approx((10**9 + 1) * DT, abs=1e-6)


# ---- noise ----------------------------------------------------------------------------------------------------------


def test_ou_noise_is_stationary_from_the_first_step():
    sim = probe(n=4000, dt=1.0)
    x = sim.run(60.0, inputs={"p.I": bs.ou_noise(mean=5.0, sd=2.0, tau=8.0)})["p.x"]
    assert x[0].std() == pytest.approx(2.0, rel=0.05)
    assert x.mean() == pytest.approx(5.0, abs=0.06)
    assert x.std(axis=1).mean() == pytest.approx(2.0, rel=0.02)
    y = (x - 5.0) / 2.0
    for lag in (1, 4, 16):
        assert (y[lag:] * y[:-lag]).mean() == pytest.approx(np.exp(-lag / 8.0), abs=0.02)
    assert abs(np.corrcoef(y[:, 0], y[:, 1])[0, 1]) < 0.5  # cells are independent
    assert abs((y[:, ::2] * y[:, 1::2]).mean()) < 0.02


def test_ou_noise_can_be_shared(sim):
    x = sim.run(6.0, inputs={"p.I": bs.ou_noise(0.0, 1.0, 5.0, shared=True)})["p.x"]
    assert np.all(x == x[:, :1]) and x.std() > 0.1


def test_ou_noise_is_keyed(sim):
    noise = {"p.I": bs.ou_noise(0.0, 1.0, 5.0)}
    x = sim.run(3.0, inputs=noise)["p.x"]
    np.testing.assert_array_equal(x, sim.run(3.0, inputs=noise)["p.x"])
    assert np.abs(x - sim.run(3.0, inputs=noise, key=1)["p.x"]).max() > 0.1
    two = sim.run(3.0, inputs={"p.I": [bs.ou_noise(0.0, 1.0, 5.0), bs.ou_noise(0.0, 1.0, 5.0)]})["p.x"]
    assert np.abs(two - 2.0 * x).max() > 0.1  # two parts of a sum are independent


def counts(source, n=400, dt=DT, duration=100.0, params=None, key=0):
    """Number of arrivals (steps, n) of a drive in every step."""
    net = bs.Network(seed=2)
    net.add("cells", Leak(), n)
    net.connect(source, "cells", Count(), weight=1.0, name="in")
    sim = net.compile(dt=dt, record=["in.c"])
    c = sim.run(duration, params, key=key)["in.c"]
    return np.diff(c, axis=0, prepend=0.0)


@pytest.mark.parametrize("rate, n", [(50.0, 1), (8.0, 1000), (20000.0, 5)])
def test_poisson_has_the_moments(rate, n):
    c = counts(bs.poisson(rate, n=n))
    mean = rate * n * DT * 1e-3
    error = np.sqrt(mean / c.size)
    assert abs(c.mean() - mean) < 4 * error
    assert c.var() / c.mean() == pytest.approx(1.0, abs=0.05)  # Fano factor
    assert abs(np.corrcoef(c[:-1].ravel(), c[1:].ravel())[0, 1]) < 0.02
    assert np.array_equal(c, np.round(c))


def test_poisson_in_a_window_and_per_cell():
    c = counts(bs.poisson(np.linspace(0.0, 2000.0, 400), start=20.0, stop=60.0))
    assert c[:200].sum() == 0 and c[600:].sum() == 0 and c[:, 0].sum() == 0
    np.testing.assert_allclose(c[200:600].mean(0), np.linspace(0.0, 0.2, 400), atol=0.09)
    assert c[200:600].mean() == pytest.approx(0.1, rel=0.03)


def test_poisson_follows_a_rate():
    rate = bs.sine(800.0, 20.0, offset=400.0)  # negative half of the time: counts as 0
    c = counts(bs.poisson(rate, most=1200.0), n=2000)
    t = np.arange(1000) * DT
    expected = np.maximum(400.0 + 800.0 * np.sin(2 * np.pi * 0.02 * t), 0.0) * DT * 1e-3
    np.testing.assert_allclose(c.mean(1).reshape(50, 20).mean(1), expected.reshape(50, 20).mean(1), atol=0.004)
    assert c[expected == 0].sum() == 0


def test_poisson_rate_is_a_parameter():
    assert counts(bs.poisson(10.0), params={"in.rate": 9000.0}).mean() == pytest.approx(0.9, rel=0.02)
    with pytest.raises(ParameterError, match=r"in\.rate = -5 .*\[0, inf\] Hz"):
        counts(bs.poisson(10.0), params={"in.rate": -5.0})


def test_poisson_above_its_bound_is_not_silent():
    with pytest.raises(NonFiniteError, match=r"in\.c became nan"):
        counts(bs.poisson(bs.constant(900.0), most=100.0), n=5, duration=2.0)


def test_spike_trains_arrive_when_they_should():
    c = counts(bs.spike_trains([3.0, 1.0, 1.0, 2.0, 0.0], [0, 2, 2, 1, 0]), n=3, duration=4.0)
    expected = np.zeros((40, 3))
    expected[30, 0] = expected[20, 1] = expected[0, 0] = 1
    expected[10, 2] = 2
    np.testing.assert_array_equal(c, expected)
    c = counts(bs.spike_train([2.0, 0.5]), n=3, duration=4.0)
    assert np.argwhere(c).tolist() == [[5, 0], [5, 1], [5, 2], [20, 0], [20, 1], [20, 2]]


def test_an_empty_spike_train_is_silent():
    assert counts(bs.spike_train([]), n=2, duration=2.0).sum() == 0


def test_spike_times_far_out():
    """On the grid of dt stays on the grid after two days, half a step off is noticed."""
    with pytest.warns(UserWarning, match=r"1 spike times are off the grid of dt = 0\.1 ms, moved by up to 0\.05 ms"):
        bs.spike_train([0.1, 170_000_000.05]).prepare(DT, "x")
    bs.spike_train(np.round(np.arange(3) * DT + 170_000_000.0, 1)).prepare(DT, "x")  # no warning
    with pytest.raises(RunError, match=r"1e\+12 ms .*2147483646 steps"):
        bs.spike_train([1e12]).prepare(DT, "in")


# ---- gradients ------------------------------------------------------------------------------------------------------

DRIVES = {
    "constant": (lambda p: bs.constant(p["a"]), dict(a=2.0)),
    "cells": (lambda p: p["a"], dict(a=np.array([1.0, 2.0]))),
    "step": (lambda p: bs.step(p["a"], 0.5, 1.5), dict(a=2.0)),
    "ramp": (lambda p: bs.ramp(p["a"], p["b"], 0.5, 1.5), dict(a=2.0, b=-1.0)),
    "sine": (
        lambda p: bs.sine(p["a"], p["f"], p["phase"], p["b"]),
        dict(a=2.0, f=np.array([230.0, 90.0]), phase=0.3, b=1.0),
    ),
    "array": (lambda p: bs.array(p["v"], every=0.2), dict(v=np.sin(np.arange(10.0)))),
    "ou": (lambda p: bs.ou_noise(p["m"], p["sd"], p["tau"]), dict(m=1.0, sd=0.7, tau=4.0)),
    "sum": (lambda p: [bs.constant(p["a"]), bs.sine(p["b"], 50.0)], dict(a=1.0, b=2.0)),
}


def test_gradients_flow(x64):
    """Of a weighted sum of voltages to every value of every drive, one population for each."""
    net = bs.Network()
    model = Leak(tau=3.0)
    for name in DRIVES:
        net.add(name, model, 2)
    sim = net.compile(dt=DT, record="*.v")
    pull = np.cos(np.arange(40.0)).reshape(20, 2)

    @jax.jit
    def f(p):
        traces = sim.run(2.0, inputs={f"{name}.I": make(p[name]) for name, (make, _) in DRIVES.items()}).traces
        return sum(jnp.sum(trace.values * pull) for trace in traces.values())

    at = {name: jax.tree.map(jnp.asarray, values) for name, (_, values) in DRIVES.items()}
    gradient = check_gradient(f, at, rtol=1e-6, directions=5)
    assert all(np.all(np.abs(g) > 1e-6) for g in jax.tree.leaves(gradient))


def test_no_gradient_to_a_poisson_rate():
    """Numbers of spikes do not depend on the rate smoothly: the gradient is 0, not wrong."""
    net = bs.Network()
    net.add("c", Leak(), 2)
    net.connect(bs.poisson(500.0), "c", Count(), weight=1.0, name="in")
    sim = net.compile(dt=DT, record="in.c")
    g = jax.grad(lambda r: jnp.sum(sim.run(1.0, {"in.rate": r})["in.c"]))(500.0)
    assert g == 0.0


def counting(n):
    net = bs.Network(seed=0)
    return net, net.add("c", models.LIF(tau=1e12, v_rest=0.0, v_reset=-1.0, v_th=1e9), n)


def test_a_drive_of_a_part_counts_within_the_part():
    """Indices and rates belong to the listed cells, in their order; none is lost in the rest of the population."""
    net, c = counting(5)
    net.connect(bs.spike_trains([1.0, 2.0], [0, 2]), c[[4, 2, 3]], models.Delta(), weight=1.0)
    assert net.run(5.0, record="c.v")["c.v"][-1].tolist() == [0, 0, 0, 1, 1]
    net, c = counting(5)
    net.connect(bs.poisson([0.0, 400.0], n=10), c[3:], models.Delta(), weight=1.0)
    v = net.run(100.0, record="c.v")["c.v"][-1]
    assert v[:4].tolist() == [0, 0, 0, 0] and 300 < v[4] < 500
    net, c = counting(5)
    net.connect(bs.spike_trains([1.0], [3]), c[2:], models.Delta(), weight=1.0)
    with pytest.raises(RunError, match="spike 0 is of cell 3, but there are 3 cells"):
        net.run(1.0)


def test_spikes_that_a_source_cannot_pass_on_are_told():
    net = bs.Network()
    net.add("s", models.SpikeSource(), 2)
    with pytest.warns(UserWarning, match=r"input 's\.spikes': 1 of 3 spikes .* are lost; take a smaller dt"):
        result = net.run(3.0, inputs={"s.spikes": bs.spike_trains([1.0, 1.0, 1.0], [0, 1, 0])})
    assert len(result["s"]) == 2


def test_a_rate_above_its_bound_is_named():
    net, c = counting(2)
    net.connect(bs.poisson(bs.ramp(0.0, 1000.0, 0.0, 10.0), most=500.0), c, models.Delta(), weight=1.0)
    with pytest.raises(NonFiniteError, match=r"Poisson rate is above its most="):
        net.run(10.0)


@pytest.mark.parametrize("n", [3, 4])
def test_trains_are_numbered_in_the_order_of_the_cells_given(n):
    """Of a whole population in another order as of a part of one."""
    net = bs.Network()
    net.add("e", models.LIF(), n)
    net.init("e.v", -65.0)
    net.connect(bs.spike_trains([1.0, 2.0, 3.0], [0, 1, 2]), net["e"][[2, 0, 1]], models.Delta(), weight=1.0)
    v = net.compile(dt=0.1, record=["e.v"]).run(5.0)["e.v"]
    moved = [np.flatnonzero(np.abs(v[k] - v[k - 1]) > 0.5).tolist() for k in (10, 20, 30)]
    assert moved == [[2], [0], [1]]
