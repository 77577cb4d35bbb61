"""Pictures of models and wiring: what the artists hold. No pixels are compared."""

from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("matplotlib")
from pictures import clean, smoke  # noqa: F401

import brainsim as bs
from brainsim import plot
from brainsim.connectome import Connectome, EdgeTable
from brainsim.errors import ParameterError, UnknownNameError
from brainsim.result import Result, Spikes

# ---- weights


def test_weights_are_drawn_from_row_to_column():
    matrix = np.zeros((3, 4))
    matrix[0, 3], matrix[2, 1] = 5.0, 2.0
    ax = plot.weights(matrix, unit="pA")
    image = ax.images[0].get_array()
    assert image.shape == (3, 4) and image[0, 3] == 5.0 and image[2, 1] == 2.0 and image.count() == 2
    assert "source" in ax.get_ylabel() and "target" in ax.get_xlabel()
    assert ax.get_ylim() == (2.5, -0.5) and ax.get_xlim() == (-0.5, 3.5)  # the first source is on top
    assert ax.figure.axes[1].get_ylabel() == "weight (pA)"
    smoke(ax)


def test_signed_weights_are_centred_on_zero():
    ax = plot.weights([[1.0, -4.0]])
    assert ax.images[0].get_clim()[0] == -ax.images[0].get_clim()[1] and ax.images[0].get_cmap().name == "RdBu_r"


def test_a_sign_that_is_absent_takes_no_colours():
    low, high = plot.weights([[-1.0, -4.0], [0.0, -2.0]]).images[0].get_clim()
    assert low < -3.9 and high == 0.0


def test_weights_of_a_projection_add_up():
    pre, post = SimpleNamespace(name="exc", n=3), SimpleNamespace(name="inh", n=2)
    edges = SimpleNamespace(pre=np.array([0, 0, 2]), post=np.array([1, 1, 0]))
    synapse = type("Synapse", (), {"__weight__": SimpleNamespace(unit="nS")})()
    ax = plot.weights(
        SimpleNamespace(edges=edges, weight=np.array([1.0, 2.0, 4.0]), pre=pre, post=post, synapse=synapse)
    )
    image = ax.images[0].get_array()
    assert image.shape == (3, 2) and image[0, 1] == 3.0 and image[2, 0] == 4.0
    assert ax.get_ylabel() == "from exc (cell)" and ax.figure.axes[1].get_ylabel() == "weight (nS)"


def wired(weight="pA"):
    net = bs.Network(seed=3)
    net.add("exc", bs.models.LIF(), 3)
    net.add("inh", bs.models.LIF(), 2)
    here, there = bs.models.ExpCurrent(), bs.models.ExpConductance()
    net.connect("exc", "inh", here, bs.from_edges([0, 2, 2], [1, 0, 0]), weight=[1.0, 2.0, 4.0])
    net.connect("inh", "inh", here if weight == "pA" else there, bs.from_edges([1], [0]), weight=8.0)
    net.connect(bs.poisson(8.0), "exc", here, weight=16.0)
    return net


def test_weights_of_a_network():
    ax = plot.weights(wired())
    image = ax.images[0].get_array()
    expected = np.zeros((5, 5))
    expected[[0, 2, 4], [4, 3, 3]] = 1.0, 6.0, 8.0
    np.testing.assert_array_equal(image.filled(0.0), expected)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["exc", "inh"] and ax.get_yticks().tolist() == [1.0, 3.5]
    assert ax.figure.axes[1].get_ylabel() == "weight (pA)"
    with pytest.raises(
        ParameterError, match=r"exc->inh in pA, inh->inh in nS, but one scale .* weights\(net\['exc->inh'\]\)"
    ):
        plot.weights(wired("nS"))
    with pytest.raises(ParameterError, match="there is no projection"):
        plot.weights(bs.Network())


def test_what_has_no_weights_or_cells():
    net = wired()
    for thing in (net["exc"], "exc->inh", None):
        with pytest.raises(ParameterError, match=r"is no matrix; give \(n_pre, n_post\), a projection"):
            plot.weights(thing)
    with pytest.raises(
        ParameterError, match=r"this is a Network, but a graph is drawn of a connectome.*weights\(net\)"
    ):
        plot.graph(net)
    with pytest.raises(ParameterError, match=r"this is a Projection, but .*; bs\.Connectome\.from_edges"):
        plot.graph(net["exc->inh"])


def test_large_matrices_are_block_means():
    rng = np.random.default_rng(0)
    matrix = rng.random((1001, 700)) * (rng.random((1001, 700)) < 0.1)
    ax = plot.weights(matrix)
    image = ax.images[0].get_array()
    assert image.shape == (250, 250) and ax.images[0].get_extent() == [-0.5, 699.5, 1000.5, -0.5]
    assert image.mean() == pytest.approx(matrix.mean(), rel=0.01)
    assert "mean weight" in ax.figure.axes[1].get_ylabel()
    with pytest.raises(ParameterError, match="no matrix"):
        plot.weights(np.zeros(3))


def test_weights_of_a_connectome():
    worm = worm_like()
    image = plot.weights(worm).images[0].get_array()
    assert (
        image[worm.index("c0"), worm.index("c1")] == -3.0 and image[worm.index("c1"), worm.index("c0")] is np.ma.masked
    )
    gap = plot.weights(worm, kind="gap").images[0].get_array()
    assert gap[0, 2] == gap[2, 0] == 2.0
    assert plot.weights(np.zeros((2, 2))).images[0].get_array().count() == 0


# ---- connectomes


def worm_like(n=12, positions=True):
    names = tuple(f"c{i}" for i in range(n))
    pre, post = np.arange(n), (np.arange(n) + 1) % n
    chem = EdgeTable(pre, post, np.full(n, 3.0), sign=np.where(pre % 3 == 0, -1, 1))
    gap = EdgeTable([0, 1], [2, 3], [2.0, 1.0])
    kinds = np.array(["sensory", "inter", "motor"])[np.arange(n) % 3]
    place = np.random.default_rng(0).normal(size=(n, 3)) * [1.0, 100.0, 1.0] if positions else None
    return Connectome(names, chem, gap, {"type": kinds}, place, "test")


@pytest.mark.parametrize("layout", [None, "body", "circular", "spring"])
def test_graph_draws_cells_edges_and_names(layout):
    if layout == "spring":
        pytest.importorskip("networkx")
    worm = worm_like()
    ax = plot.graph(worm, layout=layout)
    (cells,) = [c for c in ax.collections if type(c).__name__ == "PathCollection"]
    assert len(cells.get_offsets()) == 12 and len(np.unique(np.round(cells.get_offsets(), 6), axis=0)) == 12
    (gaps,) = [c for c in ax.collections if type(c).__name__ == "LineCollection"]
    assert len(gaps.get_segments()) == 2 and gaps.get_linestyle()[0][1] is not None  # dashed
    assert len(ax.patches) == 12  # arrows
    assert {t.get_text() for t in ax.texts} == set(worm.names)
    said = [t.get_text() for t in ax.get_legend().get_texts()]
    assert said == ["inter", "motor", "sensory", "12 chemical", "2 gap junctions"]
    smoke(ax)


def test_large_graphs_are_collections_with_few_names():
    rng, n = np.random.default_rng(0), 150
    pairs = np.unique(rng.integers(0, n, (900, 2)), axis=0)
    gap_pairs = np.unique(np.sort(rng.integers(0, n, (200, 2)), axis=1), axis=0)
    gap_pairs = gap_pairs[gap_pairs[:, 0] < gap_pairs[:, 1]]
    chem = EdgeTable(*pairs.T, rng.integers(1, 9, len(pairs)))
    gap = EdgeTable(*gap_pairs.T, np.ones(len(gap_pairs)))
    place = rng.normal(size=(n, 3)) * [1.0, 50.0, 1.0]
    place[3] = np.nan
    worm = Connectome(tuple(f"n{i}" for i in range(n)), chem, gap, {}, place)
    for layout in ("body", "circular"):
        ax = plot.graph(worm, layout=layout)
        lines = [c for c in ax.collections if type(c).__name__ == "LineCollection"]
        drawn = int(np.sum(pairs[:, 0] != pairs[:, 1]))
        assert sorted(len(c.get_segments()) for c in lines) == sorted([drawn, len(gap_pairs)])
        assert 0 < len(ax.texts) <= 10
        smoke(ax)
    strong = plot.graph(worm, min_weight=8.0, labels=["n3"])
    assert [t.get_text() for t in strong.texts] == ["n3"]


def test_graph_options():
    worm = worm_like(positions=False)
    by_sign = plot.graph(worm, edges="sign", color=None, size=50.0)
    said = [t.get_text() for t in by_sign.get_legend().get_texts()]
    assert said == ["8 excitatory", "4 inhibitory", "2 gap junctions"]
    assert plot.graph(worm, layout=np.random.default_rng(1).normal(size=(12, 2)))
    for bad, error in (
        ({"layout": "body"}, ParameterError),
        ({"layout": "tree"}, UnknownNameError),
        ({"layout": np.zeros((3, 2))}, ParameterError),
        ({"color": "class"}, UnknownNameError),
        ({"edges": "weight"}, UnknownNameError),
        ({"labels": ["c99"]}, UnknownNameError),
    ):
        with pytest.raises(error):
            plot.graph(worm, **bad)


def test_types_keep_their_colour_in_every_selection():
    whole, part = plot.graph(worm_like()), plot.graph(worm_like().select(type=["sensory", "motor"]))
    of = lambda ax: {h.get_label(): h.get_markerfacecolor() for h in ax.get_legend().legend_handles}
    assert of(part)["motor"] == of(whole)["motor"] and of(part)["sensory"] == of(whole)["sensory"]


# ---- phase planes


class Spiral(bs.Neuron):
    """x' = a x - y, y' = x + a y: eigenvalues a +- i."""

    a = bs.param(-0.1, "1/ms")
    rate = bs.const(1.0, "1/ms")
    x = bs.state(1.0)
    y = bs.state(0.0)

    def dx(self, x, y):
        return self.a * x - self.rate * y

    def dy(self, x, y):
        return self.rate * x + self.a * y


class DoubleWell(bs.Neuron):
    """x' = x - x^3 + s, y' = -y: stable at +-1, a saddle at 0; `s` is held."""

    tau = bs.param(1.0, "ms")
    s = bs.state(0.0)
    x = bs.state(0.5)
    y = bs.state(1.0)

    def dx(self, x, s):
        return (x - x**3 + s) / self.tau

    def dy(self, y):
        return -y / self.tau

    def ds(self, s):
        return -s / self.tau


@pytest.mark.parametrize("a, kind", [(-0.1, "stable"), (0.1, "unstable")])
def test_fixed_point_of_a_spiral(a, kind):
    (point,) = plot.fixed_points(Spiral(a=a), "x", "y", xlim=(-1.0, 1.3), ylim=(-1.2, 1.0))
    assert point.kind == kind and (point.x, point.y) == (pytest.approx(0.0, abs=1e-9), pytest.approx(0.0, abs=1e-9))
    np.testing.assert_allclose(sorted(point.eigenvalues.imag), [-1.0, 1.0], atol=1e-6)
    np.testing.assert_allclose(point.eigenvalues.real, a, atol=1e-6)


def test_fixed_points_of_a_double_well():
    points = plot.fixed_points(DoubleWell(), "x", "y", xlim=(-2.0, 2.1), ylim=(-1.0, 1.1), s=0.0)
    assert [p.kind for p in points] == ["stable", "saddle", "stable"]
    np.testing.assert_allclose([p.x for p in points], [-1.0, 0.0, 1.0], atol=1e-8)
    shifted = plot.fixed_points(DoubleWell(), "x", "y", xlim=(-2.0, 2.1), ylim=(-1.0, 1.1), s=1.0)
    assert len(shifted) == 1 and shifted[0].x ** 3 - shifted[0].x == pytest.approx(1.0)


def test_phase_plane_draws_what_it_says():
    ax = plot.phase_plane(Spiral(), "x", "y", duration=20.0)
    path = max((line.get_data() for line in ax.lines), key=lambda d: len(d[0]))
    radius = np.hypot(*np.array(path))
    t = np.arange(len(radius)) * 0.02
    np.testing.assert_allclose(radius, np.exp(-0.1 * t), rtol=1e-6)  # RK4 against the closed form
    said = [t.get_text() for t in ax.get_legend().get_texts()]
    assert said == ["dx/dt = 0", "dy/dt = 0", "trajectory", "stable"]
    smoke(ax)


def test_the_legend_of_a_phase_plane_leaves_the_axes_their_width():
    plt = pytest.importorskip("matplotlib.pyplot")
    figure, axes = plt.subplots(1, 3, figsize=(9, 3), layout="constrained")
    for ax in axes:
        plot.phase_plane(Spiral(), "x", "y", ax, duration=20.0)
    figure.draw_without_rendering()
    assert min(ax.get_window_extent().width for ax in axes) > 0.22 * figure.bbox.width


def test_phase_plane_of_a_bursting_cell():
    from brainsim.models import AdEx

    ax = plot.phase_plane(AdEx.preset("regular_bursting"), I=210.0)
    assert ax.get_xlabel() == "v (mV)" and ax.get_ylabel() == "w (pA)"
    path = max((line.get_data() for line in ax.lines), key=lambda d: len(d[0]))
    assert np.isnan(path[0]).sum() > 3 and np.nanmax(path[0]) < -35.0  # broken at every reset
    smoke(ax)


def test_impossible_phase_planes_say_what_is_missing():
    for use, error, message in (
        (lambda: plot.phase_plane(DoubleWell, "x", "y"), ParameterError, "instance"),
        (lambda: plot.phase_plane(DoubleWell(), "x", "z"), UnknownNameError, "state with a derivative 'z'"),
        (lambda: plot.phase_plane(DoubleWell(), "x", "y"), ParameterError, r"add s=\.\.\."),
        (lambda: plot.phase_plane(DoubleWell(), "x", "y", q=1.0), UnknownNameError, "'q'"),
        (lambda: plot.phase_plane(DoubleWell(), "x", "y", s=0.0, starts=[]), ParameterError, "xlim"),
    ):
        with pytest.raises(error, match=message):
            use()


# ---- f-I curves


@dataclass
class FakeNetwork:
    """Stands for `bs.Network`: a cell under current I fires at I Hz from 1000/I ms on."""

    seed: int
    asked: dict = field(default_factory=dict)

    def add(self, name, model, n):
        self.asked.update(name=name, model=model, n=n)

    def run(self, duration, *, dt, record, inputs, progress):
        assert record == ["cells.spikes"] and progress is False
        currents = np.asarray(inputs["cells.I"].amplitude)
        trains = [np.arange(1000.0 / i, duration, 1000.0 / i) if i > 0 else np.empty(0) for i in currents]
        cells = np.repeat(np.arange(self.asked["n"]), [len(t) for t in trains])
        return Result({"cells": Spikes(np.concatenate(trains), cells, self.asked["n"])}, duration=duration, dt=dt)


def test_fi_curve_is_one_over_the_interval(monkeypatch):
    monkeypatch.setattr("brainsim.network.Network", FakeNetwork)
    currents = np.array([-5.0, 0.0, 7.0, 30.0, 77.0])
    ax = plot.fi_curve(Spiral(), currents)
    x, y = ax.lines[0].get_data()
    np.testing.assert_allclose(x, currents)
    np.testing.assert_allclose(y, np.maximum(currents, 0.0))
    assert ax.get_xlabel() == "input I (pA)" and ax.get_ylabel() == "firing rate (Hz)"
    plot.fi_curve(Spiral(), currents, ax, label="again")
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["Spiral", "again"]
    smoke(ax)
    for bad in ({"settle": 2000.0}, {"currents": [np.nan]}):
        with pytest.raises(ParameterError):
            plot.fi_curve(Spiral(), **{"currents": currents, **bad})
