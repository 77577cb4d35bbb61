"""Windows of steps: delayed couplings summed for many steps at once give what they give step by step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainsim as bs
from brainsim import compile as compilation
from brainsim import windows

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


def compiled(monkeypatch, net, window):
    if window is not None:
        monkeypatch.setattr(compilation, "choose_window", lambda *_: window)
    return net.compile(dt=DT, record=["mass.x"])


@pytest.mark.parametrize("method", ["rk4", "exp_euler"])
@pytest.mark.parametrize("case", CASES)
def test_windows_change_nothing(monkeypatch, case, method, x64):
    net = network(CASES[case], method=method)
    auto = compiled(monkeypatch, net, None)
    assert auto.program.window > 5
    found = auto.run(20.0)["mass.x"]
    for window in (1, 2, 7):
        np.testing.assert_allclose(compiled(monkeypatch, net, window).run(20.0)["mass.x"], found, rtol=1e-10)


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


def test_a_run_in_parts_has_the_bits_of_the_whole():
    sim = network(CASES["near and far"]).compile(dt=DT, record=["mass.x"])
    whole = sim.run(9.7)
    state, parts = None, []
    for length in (0.1, 3.3, 1.6, 4.7):
        part = sim.run(length, state=state)
        state, parts = part.state, [*parts, part["mass.x"]]
    assert np.array_equal(np.concatenate(parts), whole["mass.x"])
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(whole.state)):
        assert np.array_equal(a, b)


def test_traced_runs_and_gradients(monkeypatch, x64):
    net = network(CASES["near and far"])
    fast, slow = compiled(monkeypatch, net, None), compiled(monkeypatch, net, 1)
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
    choose = lambda delays: network(np.broadcast_to(delays, N * N) * DT).compile(dt=DT).program.window
    assert choose(0) == 1
    assert choose(30) == 31
    assert choose(1000) == windows.LONGEST
    few_short = np.where(np.arange(N * N) == 0, 1, 20)
    assert choose(few_short) == 21


def test_explained():
    text = str(network(CASES["near and far"]).compile(dt=DT).explain())
    assert "33 summed once per window" in text and "3 with shorter delays in every step" in text
