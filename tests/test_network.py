"""What the user says: names, parts, shared models, initial values, derived parameters; and that it arrives."""

import numpy as np
import pytest
from samples import Conductance, Count, Depressing, Fire, Kick, Leak, Probe, Pulse, Saturating

import brainsim as bs
from brainsim import models
from brainsim.errors import ConnectError, UnknownNameError


def three():
    net = bs.Network(seed=2)
    net.add("exc", models.LIF(), 6, labels=list("abcdef"), positions=np.arange(12.0).reshape(6, 2))
    net.add("inh", models.LIF(), 3)
    net.add("probe", Probe(), 2)
    return net


# ---- names and parts -------------------------------------------------------------------------------------------------


def test_handles():
    net = three()
    assert list(net.populations) == ["exc", "inh", "probe"]
    assert net["exc"] is net.populations["exc"] and "exc" in net and "ecx" not in net
    assert len(net["exc"]) == net["exc"].size == net["exc"].n == 6 and net["exc"].line.startswith("test_network.py:")
    made = net.connect("exc", "inh", Pulse(), bs.all_to_all(), weight=1.0)
    assert net["exc->inh"] is made and made.n_edges == 18
    assert "3 populations, 11 cells, 1 projections, 18 edges" in repr(net)
    assert "exc->inh, 18 edges, Pulse(tau=3.0), delay 0 ms" in repr(made)


PARTS = {
    "slice": (slice(1, 4), [1, 2, 3], "exc[1:4]"),
    "start": (slice(None, 2), [0, 1], "exc[:2]"),
    "stride": (slice(None, None, 2), [0, 2, 4], "exc[3 cells from 0]"),
    "one": (4, [4], "exc[4]"),
    "negative": (-1, [5], "exc[5]"),
    "list": ([3, 1], [3, 1], "exc[2 cells from 3]"),
    "array": (np.array([0, 5]), [0, 5], "exc[2 cells from 0]"),
    "mask": (np.arange(6) > 3, [4, 5], "exc[4:6]"),
    "label": ("c", [2], "exc[2]"),
    "labels": (["f", "a"], [5, 0], "exc[2 cells from 5]"),
}


@pytest.mark.parametrize("name", PARTS)
def test_parts(name):
    key, ids, text = PARTS[name]
    part = three()["exc"][key]
    assert part.index.tolist() == ids and len(part) == len(ids) and str(part) == text
    assert part.n == 6 and part.name == "exc"


def test_parts_connect_the_cells_they_name():
    net = three()
    made = net.connect(net["exc"][[4, 1]], net["inh"][1:], Pulse(), bs.all_to_all(), weight=[1.0, 2.0, 3.0, 4.0])
    assert made.name == "exc[2 cells from 4]->inh[1:3]"
    assert list(zip(made.edges.pre.tolist(), made.edges.post.tolist())) == [(1, 1), (1, 2), (4, 1), (4, 2)]
    made = net.connect(net["exc"][4:], net["inh"][[2, 0]], Pulse(), bs.one_to_one(), weight=1.0)
    assert list(zip(made.edges.pre.tolist(), made.edges.post.tolist())) == [(4, 2), (5, 0)]


def test_lists_connect_every_pair():
    net = three()
    made = net.connect(["exc", "inh"], ["exc", "inh"], Pulse(), bs.fixed_probability(0.5), weight=1.0)
    assert [p.name for p in made] == ["exc->exc", "exc->inh", "inh->exc", "inh->inh"]


def test_edges_do_not_depend_on_what_else_there_is():
    a, b = three(), three()
    b.add("more", models.LIF(), 50)
    b.connect("more", "more", Pulse(), bs.fixed_probability(0.2), weight=bs.normal(1.0, 0.1))
    for net in (a, b):
        drawn = bs.uniform(0.0, 1.0)
        net.connect("exc", "inh", Pulse(), bs.fixed_probability(0.5), weight=drawn, delay=drawn)
    x, y = a["exc->inh"], b["exc->inh"]
    np.testing.assert_array_equal([x.edges.pre, x.edges.post], [y.edges.pre, y.edges.post])
    np.testing.assert_array_equal([x.weight, x.delay], [y.weight, y.delay])
    assert np.all(x.weight != x.delay)


def test_weights_and_delays_of_distance():
    net = three()
    made = net.connect("exc", "exc", Pulse(), bs.all_to_all(), weight=lambda d: d, delay=lambda d: 0.1 * d)
    distance = np.hypot(2.0, 2.0) * np.abs(made.edges.pre - made.edges.post)
    np.testing.assert_allclose(made.weight, distance)
    np.testing.assert_allclose(made.delay, 0.1 * distance)


# ---- parameters ------------------------------------------------------------------------------------------------------


def test_one_model_object_is_one_set_of_leaves():
    net = bs.Network()
    model, synapse = Leak(), Pulse()
    net.add("a", model, 2)
    net.add("b", model, 3)
    net.add("c", Leak(), 2)
    net.add("s", Fire(), 2)
    net.connect("s", "a", synapse, bs.all_to_all(), weight=1.0)
    net.connect("s", "b", synapse, bs.all_to_all(), weight=1.0)
    net.connect("s", "c", Pulse(), bs.all_to_all(), weight=1.0)
    sim = net.compile(record=["*.v", "*.i"])
    assert {"a.tau", "c.tau", "s->a.tau", "s->c.tau"} <= set(sim.params)
    assert not {"b.tau", "s->b.tau"} & set(sim.params)
    assert {"s->a.weight", "s->b.weight"} <= set(sim.params)  # weights belong to the projection
    inputs = {"s.I": 5.0, "a.I": 1.0, "b.I": 1.0, "c.I": 1.0}
    before, after = (sim.run(20.0, params, inputs) for params in ({}, {"a.tau": 3.0, "s->a.tau": 1.0}))
    for name in ("a", "b", "c"):
        for record in (f"{name}.v", f"s->{name}.i"):
            assert np.array_equal(before[record], after[record]) == (name == "c"), record


def test_values_per_cell():
    net = bs.Network(seed=5)
    net.add("a", Leak(tau=[1.0, 2.0, 3.0]), 3)
    net.add("b", Leak(tau=bs.uniform(5.0, 9.0)), 4)
    net.add("c", Leak(), 2)
    sim = net.compile(record="*.v")
    assert sim.params["a.tau"].tolist() == [1.0, 2.0, 3.0]
    drawn = np.asarray(sim.params["b.tau"])
    assert drawn.shape == (4,) and drawn.min() > 5.0 and drawn.max() < 9.0 and len(set(drawn.tolist())) == 4
    found = sim.run(2.0, inputs={"*.I": 1.0})
    for name, tau in (("a", np.array([1.0, 2.0, 3.0])), ("b", drawn), ("c", np.full(2, 10.0))):
        np.testing.assert_allclose(found[f"{name}.v"][-1], 1.0 - np.exp(-2.0 / tau), rtol=2e-5)


@pytest.mark.parametrize("weights", ["scalar", "edges"])
@pytest.mark.parametrize("size", ["targets", "edges", "sources"])
def test_parameters_of_a_synapse_at_arrival(size, weights):
    """A parameter that `on_pre` reads may have a value per target, edge or source."""

    class Scaled(bs.Synapse):
        scale = bs.param(1.0)
        w = bs.weight()
        c = bs.state(0.0, jump=True)

        def on_pre(self, w):
            return dict(c=w * self.scale)

    net = bs.Network()
    net.add("other", Leak(), 5)
    net.add("b", Leak(), 3)
    net.add("s", models.SpikeSource(), 2)
    n = {"targets": 3, "edges": 6, "sources": 2}[size]
    scale = 1.0 + np.arange(n)
    w = 2.0 if weights == "scalar" else 1.0 + 0.1 * np.arange(6)
    net.connect("s", "b", Scaled(scale=scale), bs.all_to_all(), weight=w, delay=0.1, name="c")
    found = net.compile(record="c.c").run(0.4, inputs={"s.spikes": bs.spike_train([0.1])})["c.c"][-1]
    shape = {"targets": (1, 3), "edges": (2, 3), "sources": (2, 1)}[size]
    np.testing.assert_allclose(found, (scale.reshape(shape) * np.broadcast_to(w, 6).reshape(2, 3)).sum(0), rtol=1e-6)


def test_parameters_of_a_driven_synapse():
    """Every drive uses the parameters of its own projection, also where projections share their state variables."""

    class Scaled(bs.Synapse):
        scale = bs.param(1.0)
        w = bs.weight()
        c = bs.state(0.0, jump=True)

        def on_pre(self, w, dt):
            return dict(c=w * self.scale * dt / dt)

    net = bs.Network()
    net.add("a", Leak(), 2)
    net.add("b", Leak(), 3)
    net.connect(bs.spike_train([0.1]), "a", Scaled(scale=2.0), weight=1.0, name="on a")
    net.connect(bs.spike_train([0.1]), "b", Scaled(scale=[1.0, 5.0, 7.0]), weight=3.0, name="on b")
    net.connect(bs.spike_train([0.1]), net["b"][1:], Scaled(scale=11.0), weight=[1.0, 2.0], name="part")
    found = net.compile(record="*.c").run(0.4)
    assert found["on a.c"][-1].tolist() == [2.0, 2.0]
    assert found["on b.c"][-1].tolist() == pytest.approx([3.0, 15.0, 21.0])
    assert found["part.c"][-1].tolist() == [0.0, 11.0, 22.0]


# ---- initial values --------------------------------------------------------------------------------------------------


class Started(bs.Neuron):
    """Initial values that depend on each other."""

    a = bs.param(2.0)
    x = bs.state("a")
    y = bs.state(0.0)
    z = bs.state(0.0)

    def dx(self, x, dt):
        return 0.0 * x / dt

    def dy(self, y, dt):
        return 0.0 * y / dt

    def dz(self, z, dt):
        return 0.0 * z / dt

    def init_y(self, z):
        return z + self.a

    def init_z(self, x):
        return 10.0 * x


def test_initial_values():
    net = bs.Network(seed=1)
    net.add("plain", Started(), 2)
    net.add("own", Started(a=[1.0, 3.0]), 2)
    net.add("set", Started(), 3)
    net.init("set.x", [1.0, 2.0, 3.0])
    net.init("s*.y", 7.0)
    sim = net.compile(record=["*.x", "*.y", "*.z"])
    first = {name: values[0].tolist() for name, values in ((n, t.values) for n, t in sim.run(0.1).traces.items())}
    assert first["plain.x"] == [2.0, 2.0] and first["plain.y"] == [22.0, 22.0] and first["plain.z"] == [20.0, 20.0]
    assert first["own.x"] == [1.0, 3.0] and first["own.y"] == [11.0, 33.0] and first["own.z"] == [10.0, 30.0]
    assert first["set.x"] == [1.0, 2.0, 3.0] and first["set.y"] == [7.0] * 3 and first["set.z"] == [10.0, 20.0, 30.0]
    assert {"set.x(0)", "set.y(0)"} <= set(sim.params)
    assert sim.run(0.1, {"set.x(0)": 5.0})["set.z"][0].tolist() == [50.0] * 3
    assert sim.run(0.1, {"own.a": 1.0})["own.y"][0].tolist() == [11.0] * 2


def test_initial_values_are_drawn_by_name():
    def drawn(more):
        net = bs.Network(seed=1)
        if more:
            net.add("before", Leak(), 9)
        net.add("a", Leak(), 3)
        net.init("*.v", bs.uniform(0.0, 1.0))
        return np.asarray(net.compile().params["a.v(0)"])

    np.testing.assert_array_equal(drawn(False), drawn(True))


def test_initial_values_of_synapses():
    net = bs.Network()
    net.add("s", Fire(), 2)
    net.add("b", Leak(), 3)
    shared = Conductance()
    net.connect("s", "b", shared, bs.all_to_all(), weight=1.0, name="one")
    net.connect("s", "b", shared, bs.all_to_all(), weight=1.0, name="two")  # one state with "one"
    net.connect("s", "b", Conductance(), bs.all_to_all(), weight=1.0, name="own")
    net.connect("s", "b", Depressing(), bs.all_to_all(), weight=1.0, name="pre")
    net.connect("s", "b", Saturating(), bs.all_to_all(), weight=1.0, name="edge")
    net.init("two.g", [1.0, 2.0, 3.0])
    net.init("own.g", 5.0)
    net.init("pre.x", [0.25, 0.5])
    net.init("edge.s", np.linspace(0.0, 0.5, 6))
    z = net.compile(dt=1e-3, record=["*.g", "pre.x", "edge.s"]).run(1e-3)
    np.testing.assert_allclose(z["one.g"][0], [1.0, 2.0, 3.0], rtol=1e-3)
    np.testing.assert_allclose(z["two.g"][0], [1.0, 2.0, 3.0], rtol=1e-3)
    np.testing.assert_allclose(z["own.g"][0], 5.0, rtol=1e-3)
    np.testing.assert_allclose(z["pre.x"][0], [0.25, 0.5], rtol=1e-3)
    np.testing.assert_allclose(z["edge.s"][0], np.linspace(0.0, 0.5, 6), atol=1e-3)


def test_initial_values_in_a_circle():
    class Circle(bs.Neuron):
        x = bs.state(0.0)
        y = bs.state(0.0)

        def dx(self, x, dt):
            return -x / dt

        def dy(self, y, dt):
            return -y / dt

        def init_x(self, y):
            return y

        def init_y(self, x):
            return x

    net = bs.Network()
    net.add("e", Circle(), 1)
    with pytest.raises(bs.errors.CompileError, match=r"Circle: init methods of \['x', 'y'\] wait for each other"):
        net.compile().run(0.1)


# ---- derived parameters ----------------------------------------------------------------------------------------------


def test_derived_parameters():
    net = bs.Network()
    model = Leak()
    net.add("a", model, 2)
    net.add("b", model, 2)
    net.add("c", Leak(), 2)
    net.add("s", Fire(), 2)
    net.connect("s", "c", Pulse(), bs.all_to_all(), weight=[1.0, 2.0, 3.0, 4.0])
    net.derive("c.tau", lambda p: 2.0 * p["b.tau"])  # an alias
    net.derive("c.R", lambda p: p["c.tau"] / p["a.tau"])  # of a derived one
    net.derive("s->c.weight", lambda p: p["a.R"] * np.arange(4.0))
    sim = net.compile(record="c.v")
    assert not {"c.tau", "c.R", "s->c.weight"} & set(sim.params)
    plain = bs.Network()
    plain.add("c", Leak(tau=10.0, R=2.0), 2)
    plain.add("s", Fire(), 2)
    plain.connect("s", "c", Pulse(), bs.all_to_all(), weight=3.0 * np.arange(4.0))
    inputs = {"c.I": 1.0, "s.I": 3.0}
    expected = plain.compile(record="c.v").run(20.0, inputs=inputs)["c.v"]
    found = sim.run(20.0, {"a.tau": 5.0, "a.R": 3.0}, inputs)["c.v"]
    np.testing.assert_allclose(found, expected, rtol=2e-5)


def test_derived_rate_of_a_drive():
    net = bs.Network()
    net.add("a", Leak(), 50)
    net.connect(bs.poisson(1.0), "a", Count(), weight=1.0, name="in")
    net.derive("in.rate", lambda p: 500.0 * p["a.R"])
    c = net.compile(record="in.c").run(100.0)["in.c"]
    assert c[-1].mean() == pytest.approx(50.0, rel=0.1)


# ---- running through the network -------------------------------------------------------------------------------------


def test_run_goes_on():
    net = bs.Network()
    net.add("a", Fire(), 2)
    net.add("b", Leak(), 1)
    inputs = {"a.I": 4.0}
    first, second = net.run(10.0, inputs=inputs), net.run(15.0, inputs=inputs, record=["a.spikes", "a.v"])
    assert (first.t_start, second.t_start, second.t_stop) == (0.0, 10.0, 25.0)
    assert set(first.spikes) == {"a"} and not first.traces and set(second.traces) == {"a.v"}
    whole = net.compile(record=["a.spikes", "a.v"]).run(25.0, inputs=inputs)
    np.testing.assert_allclose(np.concatenate([first["a"].times, second["a"].times]), whole["a"].times)
    np.testing.assert_array_equal(second["a.v"], whole["a.v"][100:])
    again = net.run(10.0, inputs=inputs, reset=True)
    np.testing.assert_array_equal(again["a"].times, first["a"].times)


def test_a_network_without_spikes_runs():
    net = bs.Network()
    net.add("b", Leak(), 1)
    assert net.run(1.0).duration == 1.0


def test_a_jump_without_equations():
    """A population whose cells have no equations at all."""
    net = bs.Network()
    net.add("s", models.SpikeSource(), 2)
    net.add("b", Leak(), 2)
    net.connect("s", "b", Kick(), bs.one_to_one(), weight=2.0)
    found = net.compile(record=["b.v", "s.spikes"]).run(1.0, inputs={"s.spikes": bs.spike_trains([0.3, 0.6], [1, 0])})
    assert found["s"].indices.tolist() == [1, 0]
    np.testing.assert_allclose(found["b.v"][5], [0.0, 2.0 * np.exp(-0.3 / 10.0)], rtol=1e-5)


def test_explain_and_html():
    net = three()
    net.connect("exc", "inh", Pulse(), bs.all_to_all(), weight=1.0)
    for thing in (net, net["exc"], net["exc"][:2], models.LIF()):
        assert "exc" in thing._repr_html_() or "LIF" in thing._repr_html_()
    with pytest.raises(UnknownNameError):
        net["nothing"]


def test_values_beside_edges_in_another_order_are_refused():
    """Edges are kept sorted, so the values would land on other edges than the user meant."""
    for given in ({"weight": [30.0, 0.1, 20.0]}, {"weight": 1.0, "delay": [3.0, 1.0, 2.0]}):
        net = bs.Network()
        net.add("c", models.LIF(), 5)
        kind = next(k for k, v in given.items() if isinstance(v, list))
        with pytest.raises(ConnectError, match=rf"from_edges\(pre, post, {kind}=\.\.\.\)"):
            net.connect("c", "c", models.ExpCurrent(), bs.from_edges([3, 0, 2], [1, 1, 0]), **given)
        assert net.connect("c", "c", models.ExpCurrent(), bs.from_edges([0, 2, 3], [1, 0, 1]), **given).n_edges == 3
