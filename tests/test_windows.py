"""Windows of steps: delayed couplings summed for many steps at once give what they give step by step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainsim as bs
from brainsim import chunk, windows
from brainsim import compile as compilation

N, DT = 6, 0.1


class Wave(bs.Neuron):
    """A damped oscillator, driven by what others send."""

    omega = bs.param(0.6, "1/ms")
    damping = bs.param(0.1, "1/ms")
    gain = bs.param(1e-3, "1/(ms pA)")
    x = bs.state(0.0)
    y = bs.state(0.5)

    def dx(self, x, y, I):
        return self.omega * y - self.damping * x + self.gain * I

    def dy(self, x, y):
        return -self.omega * x - self.damping * y


class Jittered(bs.Neuron):
    """A leak with noise."""

    rate = bs.param(0.2, "1/ms")
    size = bs.param(0.3, "1/sqrt(ms)")
    x = bs.state(0.1)

    def dx(self, x):
        return -self.rate * x

    def noise_x(self):
        return self.size


class Sent(bs.Synapse):
    """Weighted sum of a state of the sources."""

    w = bs.weight("pA")

    def output(self, x_pre):
        return dict(s=x_pre)

    def current(self, s):
        return s


def network(delays, weight=None, method=None):
    rng = np.random.default_rng(1)
    pre, post = np.divmod(np.arange(N * N), N)
    net = bs.Network(seed=3)
    net.add("mass", Wave(), N, method=method)
    weight = rng.normal(0.0, 20.0, N * N) if weight is None else weight
    net.connect("mass", "mass", Sent(), bs.from_edges(pre, post), weight=weight, delay=delays)
    net.init("mass.x", rng.normal(0.0, 1.0, N))
    return net


def mixed(rng):
    """Delays from one to fifty steps, a few of them short."""
    delays = rng.integers(12, 50, N * N)
    delays[:3] = 0, 1, 2
    return delays * DT


CASES = {
    "near and far": mixed(np.random.default_rng(0)),
    "far alone": np.random.default_rng(2).integers(9, 40, N * N) * DT,
    "one for all": 1.5,
}


def compiled(monkeypatch, net, levels, record=("mass.x",)):
    with monkeypatch.context() as patch:
        if levels is not None:
            patch.setattr(compilation, "choose_levels", lambda *_: levels)
        return net.compile(dt=DT, record=list(record))


def stepwise(monkeypatch, sim, *args, **kwargs):
    """A run whose steps are never one function."""
    with monkeypatch.context() as patch:
        patch.setattr(chunk, "makes_blocks", lambda *_: False)
        return sim.run(*args, **kwargs)


@pytest.mark.parametrize("case, method", [*zip(CASES, ("rk4", "exp_euler", "euler"))])
def test_windows_change_nothing(monkeypatch, case, method, x64):
    net = network(CASES[case], method=method)
    auto = compiled(monkeypatch, net, None)
    assert auto.program.window > 5
    found = auto.run(20.0)["mass.x"]
    for levels in ((), (7,), (1, 3, 12)):
        other = compiled(monkeypatch, net, levels).run(20.0)["mass.x"]
        np.testing.assert_allclose(other, found, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("levels, method", [((2, 6), "rk4"), ((4, 8), "exp_euler"), ((8,), "euler")])
def test_steps_in_one_function_have_the_bits_of_single_steps(monkeypatch, levels, method):
    """With a state and the noise of one population, recorded in every step, every third and as a mean."""
    net = network(CASES["far alone"], method=method)
    net.add("noisy", Jittered(), 5, method="euler")
    net.connect("noisy", "mass", Sent(), bs.from_edges(np.arange(5), np.arange(5)), weight=3.0, delay=0.9)
    record = ["mass.x", bs.trace("mass.y", every=0.3, of=[1, 4]), bs.mean("noisy.x"), "noisy.x"]
    sim = compiled(monkeypatch, net, levels, record)
    fast = sim.run(19.5)
    assert sim.chunk.blocks == levels[0]
    other = compiled(monkeypatch, net, levels, record)
    slow = stepwise(monkeypatch, other, 19.5)
    assert other.chunk.blocks == 0
    for name in ("mass.x", "mass.y", "noisy.x"):
        assert np.array_equal(fast[name], slow[name]), name
    assert fast["mass.y"].shape == (65, 2)
    np.testing.assert_array_equal(fast.summaries["noisy.x"], slow.summaries["noisy.x"])
    for a, b in zip(jax.tree.leaves(fast.state), jax.tree.leaves(slow.state)):
        assert np.array_equal(a, b)


def test_drives_and_near_edges_go_step_by_step(monkeypatch):
    net = network(CASES["far alone"])
    driven, whole = (compiled(monkeypatch, net, (4, 8)) for _ in range(2))
    trace = driven.run(5.0, inputs={"mass.I": bs.step(5.0, start=1.0)})["mass.x"]
    assert driven.chunk.blocks == 0
    assert np.array_equal(trace[:10], whole.run(5.0)["mass.x"][:10])
    assert whole.chunk.blocks == 4
    assert not np.array_equal(trace[10:], whole.run(5.0)["mass.x"][10:])
    near = compiled(monkeypatch, network(CASES["near and far"]), (4, 8))
    near.run(5.0)
    assert near.chunk.blocks == 0


def test_equations_without_a_native_form_go_step_by_step(monkeypatch):
    """In XLA the same equations may be rounded in another way where others surround them."""

    class Odd(Wave):
        def dy(self, x, y):
            return -self.omega * x - self.damping * y * jax.scipy.special.i0e(x * x)

    net = bs.Network()
    net.add("mass", Odd(), N)
    net.connect("mass", "mass", Sent(), bs.from_edges(np.arange(N), np.arange(N)), weight=1.0, delay=2.0)
    sim = compiled(monkeypatch, net, (4, 8))
    assert np.isfinite(sim.run(3.0)["mass.x"]).all() and sim.chunk.blocks == 0


def test_spikes_beside_masses(monkeypatch):
    """A spiking population in the same loop: its spikes, and what is summed in windows, are those of single steps."""
    from brainsim.models.neurons.lif import LIF
    from brainsim.models.synapses.delta import Delta

    net = network(CASES["near and far"])
    net.add("cells", LIF(tau=10.0), 4)
    net.connect("cells", "cells", Delta(), bs.from_edges([0, 1], [2, 3]), weight=0.5, delay=0.4)
    record = ["mass.x", "cells.spikes", "cells.v"]
    sims = [compiled(monkeypatch, net, levels, record) for levels in ((), (2, 4, 16))]
    runs = [sim.run(30.0, inputs={"cells.I": 400.0}) for sim in sims]
    assert all(sim.chunk.blocks == 0 for sim in sims)
    assert len(runs[0].spikes["cells"].times) > 4
    assert np.array_equal(runs[0].spikes["cells"].times, runs[1].spikes["cells"].times)
    assert np.array_equal(runs[0]["cells.v"], runs[1]["cells.v"])
    np.testing.assert_allclose(runs[0]["mass.x"], runs[1]["mass.x"], rtol=1e-4, atol=1e-5)


def test_against_a_plain_loop():
    """Exponential Euler written out, with a list of all past states."""
    delays = CASES["near and far"]
    net = network(delays, method="euler")
    sim = net.compile(dt=DT, record=["mass.x"])
    steps, w = np.rint(delays / DT).astype(int), np.asarray(sim.params["mass->mass.weight"])
    edges = net["mass->mass"].edges
    x, y = np.asarray(sim.params["mass.x(0)"], float), np.full(N, 0.5)
    past, out = [x], []
    for _ in range(150):
        back = np.array([past[max(len(past) - 1 - d, 0)][i] for d, i in zip(steps, edges.pre)])
        drive = np.bincount(edges.post, w * back, N)
        x, y = x + DT * (0.6 * y - 0.1 * x + 1e-3 * drive), y + DT * (-0.6 * x - 0.1 * y)
        past.append(x)
        out.append(x)
    np.testing.assert_allclose(sim.run(15.0)["mass.x"], out, rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize(
    "case, levels",
    [("near and far", (2, 4, 16)), ("far alone", (8, 40)), ("far alone", None), ("one for all", (5, 10))],
)
def test_a_run_in_parts_has_the_bits_of_the_whole(monkeypatch, case, levels):
    sim = compiled(monkeypatch, network(CASES[case]), levels)
    whole = sim.run(79.7)
    state, parts = None, []
    for length in (0.1, 3.3, 1.6, 4.7, 70.0):
        part = sim.run(length, state=state)
        state, parts = part.state, [*parts, part["mass.x"]]
    assert np.array_equal(np.concatenate(parts), whole["mass.x"])
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(whole.state)):
        assert np.array_equal(a, b)


@pytest.mark.parametrize("levels", [None, pytest.param((2, 6, 18), marks=pytest.mark.slow)])
def test_traced_runs_and_gradients(monkeypatch, levels, x64):
    net = network(CASES["near and far"])
    fast, slow = compiled(monkeypatch, net, levels), compiled(monkeypatch, net, ())
    assert fast.program.window > 1

    def loss(sim, w):
        return jnp.sum(sim.run(6.3, params={"mass->mass.weight": w})["mass.x"] ** 2)

    w = fast.params["mass->mass.weight"]
    value, slope = jax.value_and_grad(lambda w: loss(fast, w))(w)
    other, other_slope = jax.value_and_grad(lambda w: loss(slow, w))(w)
    np.testing.assert_allclose(value, other, rtol=1e-12)
    np.testing.assert_allclose(slope, other_slope, rtol=1e-9)
    np.testing.assert_allclose(fast.run(6.3)["mass.x"] ** 2 @ np.ones(N) @ np.ones(63), value, rtol=1e-12)


def test_the_choice_follows_the_delays():
    """On many edges, so that the sums count."""
    pre, post = np.divmod(np.arange(200 * 200), 200)

    def choose(delays):
        net = bs.Network()
        net.add("mass", Wave(), 200)
        delays = np.broadcast_to(delays, len(pre)) * DT
        net.connect("mass", "mass", Sent(), bs.from_edges(pre, post), weight=1.0, delay=delays)
        return net.compile(dt=DT).program.levels

    assert choose(0) == ()
    assert choose(30)[-1] in (30, 31) and choose(30)[0] <= windows.BLOCK
    assert choose(1000)[-1] == windows.LONGEST
    few_short = choose(np.where(np.arange(len(pre)) < 200, 3, 40))
    assert few_short[0] <= 4 and 20 <= few_short[-1] <= 41


def test_every_edge_is_near_or_of_the_longest_level_that_fits():
    rng = np.random.default_rng(5)
    rows = {"indptr": np.array([0, 7, 7, 40], np.int32), "delays": rng.integers(0, 40, 40).astype(np.int32)}
    rows["indices"] = np.arange(40, dtype=np.int32)
    parts = windows.split(rows, (3, 6, 24))
    assert sorted(np.concatenate([p["indices"] for p in parts.values()])) == list(range(40))
    for name, low, high in (("near", 0, 3), ("far0", 3, 6), ("far1", 6, 24), ("far2", 24, 99)):
        wait = parts[name]["delays"] + 1
        assert np.all((low <= wait) & (wait < high)), name
        assert parts[name]["indptr"][1] == parts[name]["indptr"][2] == np.sum(parts[name]["indices"] < 7)


def test_explained():
    text = str(network(CASES["near and far"]).compile(dt=DT).explain())
    assert "in nested windows" in text and "with shorter delays in every step" in text
