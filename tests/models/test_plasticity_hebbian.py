"""Rules of rates: what they converge to, and closed forms; the rules of spike trains against their equations."""

import numpy as np
import pairing
import pytest
from scipy.integrate import solve_ivp

import brainsim as bs
from brainsim import models


def layer(rule, patterns, start, every, repeats, bounds=None):
    """Weights and outputs of linear units that are shown patterns (k, n_in), one after the other, every `every` ms.

    Returns:
        (weights (n_in, n_out), outputs (repeats, k, n_out) at the end of every pattern).
    """
    n_in, n_out = np.shape(start)
    net = bs.Network()
    a = net.add("a", pairing.Shown(), n_in, method="euler")
    b = net.add("b", pairing.Shown(), n_out, method="euler")
    net.connect(a, b, pairing.Linear(), bs.all_to_all(), weight=np.ravel(start), name="p", plasticity=rule,
                bounds=bounds or bs.unbounded())  # fmt: skip
    sim = net.compile(dt=1.0, record=[bs.trace("p.w", every=every), bs.trace("b.r", every=every)])
    shown = np.tile(patterns, (repeats, 1))
    result = sim.advance(len(shown) * every, inputs={"a.I": bs.array(shown, every=every)})
    outputs = np.asarray(result["b.r"]).reshape(repeats, len(patterns), n_out)
    return np.asarray(result["p.w"])[-1].reshape(n_in, n_out), outputs


def test_oja_finds_the_principal_component(x64):
    """Length 1 and direction of the first eigenvector of the inputs; the decay scales the length."""
    rng = np.random.default_rng(2)
    patterns = rng.normal(size=(6, 4)) @ (rng.normal(size=(4, 4)) * [2.5, 1.0, 0.7, 0.4]).T
    first = np.linalg.eigh(patterns.T @ patterns)[1][:, -1]
    start = rng.normal(size=(4, 2)) * 0.3
    for decay, length in ((1.0, 1.0), (4.0, 0.5)):
        # units answer one step late: 1 of 200 here
        w, _ = layer(models.Oja(eta=1e-5, decay=decay), patterns, start, 200.0, 40)
        np.testing.assert_allclose(np.linalg.norm(w, axis=0), length, rtol=0.01)
        assert np.all(np.abs(first @ w) / np.linalg.norm(w, axis=0) > 0.999)


def test_bcm_becomes_selective(x64):
    """Two orthogonal patterns with p = 1/2: responses (2, 0) or (0, 2), by the larger weight at the start."""
    patterns = np.array([[0.8, 0.6], [-0.6, 0.8]])
    start = np.linalg.solve(patterns, np.array([[0.9, 0.4], [0.5, 0.8]]))
    rule = models.BCM(eta=4e-4, tau_theta=1000.0)
    _, outputs = layer(rule, patterns, start, 20.0, 2500)
    np.testing.assert_allclose(outputs[-1], [[2.0, 0.0], [0.0, 2.0]], atol=0.06)
    _, outputs = layer(rule.replace(r_0=1.5, eta=2e-4), patterns, start, 20.0, 2500)
    np.testing.assert_allclose(outputs[-1], [[3.0, 0.0], [0.0, 3.0]], atol=0.09)


def test_covariance(x64):
    """Weights grow with the covariance of the activities: of given activities, by a sum over time."""
    rng = np.random.default_rng(4)
    x, y = rng.normal(1.0, 1.0, (400, 3)), rng.normal(2.0, 1.0, (400, 2))
    y[:, 0] += x[:, 1]
    net = bs.Network()
    a, b = net.add("a", pairing.Shown(), 3, method="euler"), net.add("b", pairing.Shown(), 2, method="euler")
    rule = models.Covariance(eta=1e-3, tau_mean=40.0)
    # the activities are given: what the weights send goes to an input that nothing reads
    net.connect(a, b, pairing.Linear(), bs.all_to_all(), weight=0.0, name="p", plasticity=rule, bounds=bs.unbounded(),
                into="spare")  # fmt: skip
    sim = net.compile(dt=1.0, record=["p.w"])
    found = np.asarray(sim.advance(400.0, inputs={"a.I": bs.array(x), "b.I": bs.array(y)})["p.w"])[-1].reshape(3, 2)
    mean_x, mean_y, w = np.zeros(3), np.zeros(2), np.zeros((3, 2))
    keep = np.exp(-1.0 / 40.0)
    for row_x, row_y in zip(x, y):
        mean_x, mean_y = row_x + (mean_x - row_x) * keep, row_y + (mean_y - row_y) * keep
        w += 1e-3 * np.outer(row_x - mean_x, row_y - mean_y)
    np.testing.assert_allclose(found, w, rtol=1e-9)
    assert w[1, 0] > 5 * np.abs(np.delete(w.ravel(), 2)).max()


def test_anti_hebbian(x64):
    """Closed form at constant activity, down to the bound; no change where the product is p^2."""
    net = bs.Network()
    x, y = np.array([0.2, 0.5]), np.array([0.2, 0.4])
    a, b = net.add("a", pairing.Held(level=x), 2), net.add("b", pairing.Held(level=y), 2)
    rule = models.AntiHebbian(eta=0.01, p=0.2)
    net.connect(a, b, pairing.Linear(), bs.all_to_all(), weight=-0.1, name="p", plasticity=rule, bounds=(-0.2, 0.0))
    w = np.asarray(net.compile(dt=1.0, record=["p.w"]).advance(100.0)["p.w"])[-1].reshape(2, 2)
    np.testing.assert_allclose(w, np.clip(-0.1 - (np.outer(x, y) - 0.04), -0.2, 0.0), rtol=1e-10)
    assert w[0, 0] == -0.1 and w[1, 1] == -0.2


def rates(times, tau, t):
    return sum(1000.0 / tau * np.where(t > s, np.exp(-(t - s) / tau), 0.0) for s in times)


@pytest.mark.parametrize("name", ["SpikingOja", "SpikingBCM"])
def test_rules_of_spike_trains(name, x64):
    """Irregular trains: the weight is the solution of the rule's equation for the filtered trains."""
    rng, dt, end = np.random.default_rng(6), 0.05, 300.0
    pre, post = pairing.trains(rng, 1, round(end / dt), 9), pairing.trains(rng, 1, round(end / dt), 11)
    rule = getattr(models, name)(eta=1e-3, tau_r=60.0, r_0=25.0, **({"tau_theta": 90.0} if "BCM" in name else {}))
    w = pairing.run({"p": dict(plasticity=rule)}, pre, post, round(end / dt), dt)["p"][0, 0]

    def slope(t, z):
        x, y = rates(pre[0] * dt, 60.0, t) / 25.0, rates(post[0] * dt, 60.0, t) / 25.0
        dw = y * (x - y * z[0]) if name == "SpikingOja" else x * y * (y - z[1])
        return [1e-3 * dw, (y**2 - z[1]) / 90.0]

    exact = solve_ivp(slope, (0.0, end), [1.0, 0.0], max_step=0.25, rtol=1e-8).y[0, -1]
    assert abs(exact - 1.0) > 0.05
    np.testing.assert_allclose(w - 1.0, exact - 1.0, rtol=0.01)
