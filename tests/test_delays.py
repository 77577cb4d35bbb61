"""When a spike acts: a spike stamped t acts in the step that begins at t + d (docs/schedule.md), whatever carries it."""

import numpy as np
import pytest
from samples import Count, Leak, Probe

import brainsim as bs
from brainsim import models
from brainsim.errors import CompileError

DT = 0.1
STEPS = np.arange(200)
SPIKES = np.array([3, 10, 11, 57])  # steps at whose ends the source fires, minus 1: stamps in dt


def arrivals(trace):
    """Steps in which a counter rose, per target."""
    rose = np.diff(trace, axis=0, prepend=0.0)
    return [np.repeat(np.flatnonzero(r), r[r > 0].astype(int)).tolist() for r in rose.T]


def source(net, n=1):
    net.add("s", models.SpikeSource(), n)
    return {"s.spikes": bs.spike_train(SPIKES * DT)}


def run(net, inputs, record, dt=DT):
    return net.compile(dt=dt, record=record).run(300 * dt, inputs=inputs)


@pytest.mark.parametrize("weights", ["scalar", "edges"])
def test_one_delay_per_edge(weights):
    net = bs.Network()
    inputs = source(net)
    net.add("t", Leak(), 200)
    w = 1.0 if weights == "scalar" else np.ones(200)
    net.connect(
        "s", "t", Count(), bs.all_to_all(), weight=w, delay=STEPS * 0.1, name="c"
    )  # 0.30000000000000004 is fine
    found = run(net, inputs, ["c.c", "s.spikes"])
    np.testing.assert_allclose(found["s"].times, SPIKES * DT)
    assert arrivals(found["c.c"]) == [(SPIKES + k).tolist() for k in STEPS]


@pytest.mark.parametrize("delays", [[0.0, 0.1, 0.5, 19.9], [0.0, 0.1, 0.2, 0.3, 0.4, 0.7, 3.0, 19.9]])
def test_one_delay_per_projection(delays):
    """Few distinct delays are read from the history of the sources, many go through a ring: no difference."""
    net = bs.Network()
    inputs = source(net)
    net.add("t", Leak(), 2)
    for d in delays:
        net.connect("s", "t", Count(), bs.all_to_all(), weight=1.0, delay=d, name=f"c{round(10 * d)}")
        net.connect("s", "t", Count(), bs.all_to_all(), weight=[1.0, 1.0], delay=d, name=f"e{round(10 * d)}")
    found = run(net, inputs, "*.c")
    for d in delays:
        expected = [(SPIKES + round(10 * d)).tolist()] * 2
        assert arrivals(found[f"c{round(10 * d)}.c"]) == arrivals(found[f"e{round(10 * d)}.c"]) == expected


@pytest.mark.parametrize("dt", [0.05, 0.25, 1.0])
def test_delays_are_in_ms(dt):
    net = bs.Network()
    net.add("s", models.SpikeSource(), 1)
    net.add("t", Leak(), 3)
    net.connect("s", "t", Count(), bs.all_to_all(), weight=1.0, delay=[1.0, 3.0, 0.0], name="c")
    net.connect("s", "t", Count(), bs.all_to_all(), weight=1.0, delay="0.002 second", name="one")
    found = run(net, {"s.spikes": bs.spike_train([5.0])}, "*.c", dt)
    at = lambda t: [round(t / dt)]
    assert arrivals(found["c.c"]) == [at(6.0), at(8.0), at(5.0)]
    assert arrivals(found["one.c"]) == [at(7.0)] * 3


class EdgeCount(bs.Synapse):
    """Counts on every edge and at the target."""

    w = bs.weight()
    e = bs.state(0.0, on="edge", jump=True)
    c = bs.state(0.0, jump=True)

    def on_pre(self, w):
        return dict(e=w, c=w)


@pytest.mark.parametrize("delay", [0.0, 0.7, "edges"])
def test_variables_on_edges(delay):
    net = bs.Network()
    inputs = source(net)
    net.add("t", Leak(), 4)
    d = np.array([0.0, 0.1, 5.0, 19.9]) if delay == "edges" else delay
    net.connect("s", "t", EdgeCount(), bs.all_to_all(), weight=1.0, delay=d, name="x")
    found = run(net, inputs, ["x.e", "x.c"])
    expected = [(SPIKES + k).tolist() for k in np.broadcast_to(np.round(np.asarray(d) * 10), 4).astype(int)]
    assert arrivals(found["x.e"]) == arrivals(found["x.c"]) == expected


class Release(bs.Synapse):
    """What arrives depends on a variable of the source: 1, 2, 3, ... for its first, second, third spike."""

    w = bs.weight()
    n = bs.state(1.0, on="pre", jump=True)
    c = bs.state(0.0, jump=True)

    def on_pre(self, w, n):
        return dict(n=1.0, c=w * n)


@pytest.mark.parametrize("delay", [0.0, 0.7, "edges"])
def test_values_of_the_source(delay):
    """The value is that at the time of the spike, also if the source spikes again before it arrives."""
    net = bs.Network()
    inputs = source(net)
    net.add("t", Leak(), 4)
    d = np.array([0.0, 0.1, 5.0, 19.9]) if delay == "edges" else delay
    net.connect("s", "t", Release(), bs.all_to_all(), weight=1.0, delay=d, name="x")
    found = run(net, inputs, ["x.c", "x.n"])
    rose = np.diff(found["x.c"], axis=0, prepend=0.0)
    for j, k in enumerate(np.broadcast_to(np.round(np.asarray(d) * 10), 4).astype(int)):
        rows = np.flatnonzero(rose[:, j])
        assert rows.tolist() == (SPIKES + k).tolist() and rose[rows, j].tolist() == [1.0, 2.0, 3.0, 4.0]
    assert np.flatnonzero(np.diff(found["x.n"][:, 0])).tolist() == (SPIKES - 2).tolist()


@pytest.mark.parametrize("delay", [0.0, 0.3])
def test_connected_drives(delay):
    net = bs.Network()
    net.add("t", Leak(), 2)
    net.connect(bs.spike_train(np.append(SPIKES, 0) * DT), "t", Count(), weight=1.0, delay=delay, name="c")
    found = run(net, None, "c.c")
    assert arrivals(found["c.c"]) == [(np.append(0, SPIKES) + round(10 * delay)).tolist()] * 2


@pytest.mark.parametrize("delay", [0.0, 0.1, 0.5, [0.0, 0.1, 0.5]])
def test_graded_couplings(delay):
    """What a target receives at t is what its sources were at t - d; before the run, what they are at its start."""

    class Copy(bs.Synapse):
        w = bs.weight()

        def output(self, x_pre):
            return dict(y=x_pre)

        def current(self, y):
            return y

    class Target(Probe):
        """Of another class, so that the groups differ."""

    net = bs.Network()
    net.add("s", Probe(), 1, method="euler")
    net.add("t", Target(), 3, method="euler")
    net.add("u", Probe(), 3, method="euler")
    net.connect("s", "t", Copy(), bs.all_to_all(), weight=2.0, delay=delay)
    net.connect("s", "u", Copy(), bs.all_to_all(), weight=[1.0, 2.0, 3.0], delay=delay)
    net.init("s.x", 5.0)
    found = run(net, {"s.I": bs.sine(1.0, 33.0)}, "*.x")
    x = np.append(5.0, found["s.x"][:, 0])  # at k dt
    for j, k in enumerate(np.broadcast_to(np.round(np.asarray(delay) * 10), 3).astype(int)):
        expected = x[np.maximum(np.arange(300) - k, 0)]  # at the beginnings of the steps
        np.testing.assert_allclose(found["t.x"][:, j], 2.0 * expected, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(found["u.x"][:, j], (j + 1.0) * expected, rtol=1e-5, atol=1e-5)


def test_a_jump_fires_in_the_step_in_which_it_arrives():
    """The target of a delta synapse fires at the end of that step, although part of the jump has decayed by then."""
    net = bs.Network()
    inputs = source(net)
    net.add("t", models.LIF(tau=0.5, t_ref=0.0), 3)
    net.connect("s", "t", models.Delta(), bs.all_to_all(), weight=15.001, delay=[0.0, 0.4, 2.0])
    found = run(net, inputs, "t.spikes")
    for j, k in enumerate((0, 4, 20)):
        np.testing.assert_allclose(found["t"].of(j), (SPIKES + k + 1) * DT)


def test_refractory_steps():
    """round(t_ref/dt) whole steps at the reset value after a spike; jumps in between are lost, currents decay on."""
    net = bs.Network()
    net.add("s", models.SpikeSource(), 1)
    net.add("t", models.LIF(t_ref=[0.0, 0.1, 1.0, 1.04]), 4)
    net.connect("s", "t", models.Delta(), bs.all_to_all(), weight=4.0, name="jump")
    net.init("t.v", -49.0)
    times = np.round(np.arange(2, 20) * DT, 1)
    found = run(net, {"s.spikes": bs.spike_train(times)}, ["t.v", "t.spikes"])
    assert found["t"].counts().min() >= 1 and np.allclose(found["t"].times[:4], DT)
    for j, held in enumerate((0, 1, 10, 10)):
        v = found["t.v"][:, j]
        assert v[0] == -65.0 and np.all(v[1 : held + 1] == -65.0)
        first = max(held + 1, 2)  # the step of the first jump that counts
        np.testing.assert_allclose(v[first], -65.0 + 4.0 * np.exp(-DT / 20.0), rtol=1e-5)


class Diffusive(bs.Synapse):
    """Current by the difference of two voltages, evaluated on the edge."""

    w = bs.weight("nS")

    def current(self, w, v_pre, v_post):
        return w * (v_pre - v_post)


def test_a_delay_that_equations_on_edges_cannot_have_is_refused():
    net = bs.Network()
    net.add("c", models.LIF(), 2)
    net.connect("c", "c", Diffusive(), bs.all_to_all(), weight=1.0, delay=2.0)
    with pytest.raises(CompileError, match=r"Diffusive reads v_pre on every edge, without a delay.*output"):
        net.compile()
