"""Orders of the integrators, exact solutions of linear systems, and noise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from samples import Leak, Pulse
from scipy.linalg import expm

import brainsim as bs
from brainsim import models

# ---- order -----------------------------------------------------------------------------------------------------------


class Clocked(bs.Neuron):
    """y' = -y + cos t, in units of ms: y = (cos t + sin t)/2 + (y0 - 1/2) exp(-t)."""

    one = bs.const(1.0, "1/ms")
    y = bs.state(2.0)

    def dy(self, y, t):
        return (-y + jnp.cos(t * self.one)) * self.one


class Oscillator(bs.Neuron):
    """x' = x - x^3 / 3 - y, y' = (x + a) / tau: smooth and nonlinear, two variables."""

    one = bs.const(1.0, "1/ms")
    tau = bs.param(5.0, "ms")
    x = bs.state(1.5)
    y = bs.state(0.1)

    def dx(self, x, y):
        return (x - x**3 / 3.0 - y) * self.one

    def dy(self, x, y):
        return (x + 0.7 - 0.8 * y) / self.tau


def final(model, method, dt, record, duration=1.6):
    net = bs.Network()
    net.add("e", model, 1, method=method)
    return float(net.compile(dt=dt, record=record).run(duration)[record][-1, 0])


ORDERS = {"euler": 1, "exp_euler": 1, "heun": 2, "rk4": 4, "rosenbrock": 2}


@pytest.mark.parametrize("method", ORDERS)
def test_order_on_an_equation_with_time(method, x64):
    exact = 0.5 * (np.cos(1.6) + np.sin(1.6)) + 1.5 * np.exp(-1.6)
    errors = [abs(final(Clocked(), method, dt, "e.y") - exact) for dt in (0.1, 0.05, 0.025)]
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    assert np.all(np.abs(orders - ORDERS[method]) < (0.5 if method == "rk4" else 0.1)), orders


@pytest.mark.parametrize("method", ORDERS)
def test_order_on_a_nonlinear_system(method, x64):
    exact = final(Oscillator(), "rk4", 1.6 / 1024, "e.x")
    errors = [abs(final(Oscillator(), method, dt, "e.x") - exact) for dt in (0.1, 0.05)]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(ORDERS[method], abs=0.25)


def test_auto_chooses_what_fits():
    net = bs.Network()
    net.add("linear", models.LIF(), 1)
    net.add("nonlinear", models.AdEx(), 1)
    net.add("noisy", models.LinearRate(), 1)
    net.add("asked", models.LIF(), 1, method="heun")
    net.add("conductance", Leak(), 1)
    net.connect("linear", "conductance", models.ExpConductance(), bs.all_to_all(), weight=1.0)
    text = repr(net.compile())
    for expected in ("linear (1 LIF, exact)", "nonlinear (1 AdEx, exp_euler)", "noisy (1 LinearRate, exp_euler)",
                     "asked (1 LIF, heun)", "conductance (1 Leak, exp_euler)"):  # fmt: skip
        assert expected in text


def test_stages_see_the_couplings_of_their_stage(x64):
    """Two cells joined by a gap junction are one linear system: Runge-Kutta of order 4 also across the junction."""
    net = bs.Network()
    net.add("e", Leak(R=1.0), 2, method="rk4")
    net.connect("e", "e", models.GapJunction(g=2.0), bs.from_edges([0], [1]), weight=1.0)
    net.init("e.v", [0.0, 1.0])
    matrix = np.array([[-1.0 - 2.0, 2.0], [2.0, -1.0 - 2.0]]) / 10.0
    exact = expm(8.0 * matrix) @ [0.0, 1.0]
    errors = []
    for dt in (0.5, 0.25):
        found = net.compile(dt=dt, record="e.v").run(8.0)["e.v"][-1]
        errors.append(np.abs(found - exact).max())
    assert np.log2(errors[0] / errors[1]) == pytest.approx(4.0, abs=0.2)


# ---- exact propagators -----------------------------------------------------------------------------------------------


def cell_with_synapse(model, synapse, dt, weight=100.0, duration=40.0):
    net = bs.Network()
    net.add("s", models.SpikeSource(), 1)
    net.add("e", model, 1)
    net.connect("s", "e", synapse, bs.all_to_all(), weight=weight, delay=1.0)
    sim = net.compile(dt=dt, record="e.v")
    assert "e (1 LIF, exact)" in repr(sim)
    found = sim.run(duration, inputs={"s.spikes": bs.spike_train([4.0])})
    t = found.traces["e.v"].times - 5.0  # since the arrival
    return t, found["e.v"][:, 0]


@pytest.mark.parametrize("dt", [0.1, 1.0])
@pytest.mark.parametrize("tau_s", [2.0, 20.0, 20.001])
def test_exponential_current(tau_s, dt):
    """Below threshold, also where the two time constants meet."""
    model = models.LIF(tau=20.0, R=0.1, v_rest=0.0, v_th=50.0, v_reset=-1.0)
    t, v = cell_with_synapse(model, models.ExpCurrent(tau=tau_s), dt)
    if tau_s == 20.0:
        exact = 10.0 * (t / 20.0) * np.exp(-t / 20.0)
    else:
        exact = 10.0 * tau_s / (20.0 - tau_s) * (np.exp(-t / 20.0) - np.exp(-t / tau_s))
    np.testing.assert_allclose(v, np.where(t > 0, exact, 0.0), atol=5e-6)  # float32


@pytest.mark.parametrize("tau_s", [2.0, 20.0])
def test_alpha_current(tau_s, x64):
    model = models.LIF(tau=20.0, R=0.1, v_rest=0.0, v_th=50.0, v_reset=-1.0)
    t, v = cell_with_synapse(model, models.AlphaCurrent(tau=tau_s), 0.5)
    matrix = np.array([[-1 / 20.0, 0.1 / 20.0, 0.0], [0.0, -1 / tau_s, np.e / tau_s], [0.0, 0.0, -1 / tau_s]])
    exact = [(expm(matrix * x) @ [0.0, 0.0, 100.0])[0] if x > 0 else 0.0 for x in t]
    np.testing.assert_allclose(v, exact, atol=1e-9)


def test_gradients_where_time_constants_meet(x64):
    net = bs.Network()
    net.add("s", models.SpikeSource(), 1)
    net.add("e", models.LIF(tau=20.0, R=0.1, v_rest=0.0, v_th=50.0, v_reset=-1.0), 1)
    net.connect("s", "e", models.ExpCurrent(tau=20.0), bs.all_to_all(), weight=100.0, name="x")
    sim = net.compile(dt=0.5, record="e.v")

    def f(tau):
        return sim.run(20.0, {"x.tau": tau}, {"s.spikes": bs.spike_train([4.0])})["e.v"][-1, 0]

    t, eps = 16.0, 0.01
    closed = lambda tau: 10.0 * tau / (20.0 - tau) * (np.exp(-t / 20.0) - np.exp(-t / tau))
    slope = (closed(20.0 + eps) - closed(20.0 - eps)) / (2 * eps)
    assert float(jax.grad(f)(20.0)) == pytest.approx(slope, rel=1e-6)


def test_a_refractory_cell_with_current():
    """While the voltage is held, the current decays on; afterwards the voltage starts from the reset value."""
    model = models.LIF(tau=20.0, R=0.1, v_rest=0.0, v_th=5.0, v_reset=-1.0, t_ref=4.0)
    t, v = cell_with_synapse(model, models.ExpCurrent(tau=8.0), 0.1, weight=300.0)
    fired = int(np.flatnonzero(np.diff(v) < -1.0)[0]) + 1
    assert np.all(v[fired : fired + 41] == -1.0) and v[fired + 41] != -1.0
    start = t[fired + 40]
    after = t[fired + 40 :] - start
    current = 30.0 * np.exp(-start / 8.0)
    exact = -np.exp(-after / 20.0) + current * 8.0 / 12.0 * (np.exp(-after / 20.0) - np.exp(-after / 8.0))
    np.testing.assert_allclose(v[fired + 40 :], exact, atol=1e-5)


def test_spike_times_of_a_constant_current():
    """Intervals of the closed form tau ln((I - 0) / (I - th)), rounded up to steps, plus t_ref."""
    net = bs.Network()
    current = np.array([16.0, 20.0, 35.0, 80.0])
    net.add("e", models.LIF(v_rest=0.0, v_reset=0.0, v_th=15.0), 4)
    found = net.compile(dt=0.1, record="e.spikes").run(500.0, inputs={"e.I": current})["e"]
    for cell, i in enumerate(current):
        interval = np.ceil(np.round(20.0 * np.log(i / (i - 15.0)) / 0.1, 6)) * 0.1
        np.testing.assert_allclose(np.diff(found.of(cell)), interval + 2.0, atol=1e-6)
        assert found.of(cell)[0] == pytest.approx(interval)


# ---- noise -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["auto", "euler", "heun"])
def test_noise_of_a_leaky_cell(method):
    """tau r' = -r + sigma sqrt(2 tau) xi has the standard deviation sigma and the correlation time tau."""
    net = bs.Network()
    net.add("e", models.LinearRate(tau=5.0, sigma=2.0), 3000, method=None if method == "auto" else method)
    sim = net.compile(dt=0.25, record=bs.trace("e.r", every=2.5))
    r = sim.run(50.0)["e.r"][8:]
    wide = {"auto": 1.0, "euler": 1.0 / np.sqrt(1.0 - 0.25 / 10.0), "heun": 1.0}[method]
    assert r.std() == pytest.approx(2.0 * wide, rel=0.015) and abs(r.mean()) < 0.04
    assert (r[1:] * r[:-1]).mean() / r.var() == pytest.approx(np.exp(-0.5), abs=0.02)
    assert abs(np.corrcoef(r[:, ::2].ravel(), r[:, 1::2].ravel())[0, 1]) < 0.02


def test_noise_of_a_leaky_cell_in_large_steps():
    """The exponential Euler scheme is exact in distribution for a linear equation, whatever the step."""
    net = bs.Network()
    net.add("e", models.LinearRate(tau=5.0, sigma=2.0), 5000)
    r = net.compile(dt=10.0, record="e.r").run(200.0)["e.r"]
    assert r[0].std() == pytest.approx(2.0 * np.sqrt(1.0 - np.exp(-4.0)), rel=0.04)
    assert r[5:].std() == pytest.approx(2.0, rel=0.01)


class Geometric(bs.Neuron):
    """dx = a x dt + s x dW."""

    a = bs.param(0.2, "1/ms")
    s = bs.param(0.6, "1/ms**0.5")
    x = bs.state(1.0)

    def dx(self, x):
        return self.a * x

    def noise_x(self, x):
        return self.s * x


@pytest.mark.parametrize("method", ["euler", "heun"])
def test_ito_and_stratonovich(method):
    """Euler integrates in the sense of Ito, mean exp(a t); Heun in that of Stratonovich, mean exp((a + s^2/2) t)."""
    net = bs.Network()
    net.add("e", Geometric(), 40_000, method=method)
    x = net.compile(dt=0.02, record=bs.trace("e.x", every=1.0)).run(1.0)["e.x"][-1].astype(float)
    drift = 0.2 if method == "euler" else 0.2 + 0.18
    error = np.exp(drift) * np.sqrt(np.expm1(0.36) / 40_000)
    assert abs(x.mean() - np.exp(drift)) < 4 * error + 0.003
    assert np.log(x).mean() == pytest.approx(drift - 0.18, abs=0.02)


def test_noise_goes_with_its_name_and_key():
    net = bs.Network(seed=1)
    net.add("a", models.LinearRate(sigma=1.0), 4)
    net.add("b", models.LinearRate(sigma=1.0), 4)
    sim = net.compile(record="*.r")
    found = sim.run(2.0)
    assert not np.any(found["a.r"] == found["b.r"])
    np.testing.assert_array_equal(sim.run(2.0)["a.r"], found["a.r"])
    assert not np.any(sim.run(2.0, key=1)["a.r"] == found["a.r"])


def test_gradient_through_noise(x64):
    """The realisation is fixed by the key, so the gradient with respect to its size is that of the path."""
    net = bs.Network()
    net.add("e", models.LinearRate(sigma=1.0), 6)
    sim = net.compile(dt=0.5, record="e.r")
    r = lambda sigma: sim.run(5.0, {"e.sigma": sigma})["e.r"]
    slope = jax.jacfwd(r)(1.5)
    np.testing.assert_allclose(slope, r(2.0) - r(1.0), rtol=1e-9, atol=1e-12)


def test_rosenbrock_takes_stiff_steps():
    net = bs.Network()
    net.add("s", models.SpikeSource(), 1)
    net.add("e", Leak(tau=0.01), 1, method="rosenbrock")
    net.connect("s", "e", Pulse(tau=0.02), bs.all_to_all(), weight=1.0)
    v = net.compile(dt=1.0, record="e.v").run(20.0, inputs={"e.I": 1.0, "s.spikes": bs.spike_train([10.0])})["e.v"]
    assert v[8, 0] == pytest.approx(1.0, abs=1e-3) and np.abs(v).max() < 3.0


@pytest.mark.parametrize("method", ["exp_euler", "euler", "heun", "rk4"])
def test_no_method_drops_the_noise(method):
    """Standard deviation of an Ornstein-Uhlenbeck unit."""
    net = bs.Network(seed=0)
    net.add("n", models.LinearRate(tau=5.0, sigma=2.0), 1000)
    r = net.run(60.0, dt=0.1, method=method, record=bs.trace("n.r", every=10.0))["n.r"][2:]
    assert abs(r.std() - 2.0) < 0.1 and abs(r.mean()) < 0.1
