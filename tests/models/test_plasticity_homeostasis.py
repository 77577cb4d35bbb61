"""Homeostasis: targets that are reached, sums over events, and the slow variables against their equations."""

import numpy as np
import pairing
from scipy.integrate import solve_ivp

import brainsim as bs
from brainsim import models

DT, STEPS = 0.5, 600


def test_inhibition_settles_at_the_target_rate():
    """Four cells with different drive and 40 inhibitory Poisson inputs: depression / (2 tau) = 10 Hz, mean within 5 %."""
    net = bs.Network(seed=3)
    a, b = net.add("a", models.PoissonSource(rate=20.0), 40), net.add("b", models.LIF(), 4)
    rule = models.InhibitorySTDP(eta=0.05, depression=0.4)
    net.connect(a, b, models.ExpConductance(E=-80.0, tau=10.0), bs.all_to_all(), weight=0.2, plasticity=rule, name="p")
    sim = net.compile(dt=0.5, record=["b.spikes"])
    result = sim.advance(30000.0, inputs={"b.I": np.array([24.0, 26.0, 28.0, 30.0])})
    times = result.spikes["b"]
    late = np.asarray(times.times) > 15000.0
    rate = np.bincount(np.asarray(times.indices)[late], minlength=4) / 15.0
    np.testing.assert_allclose(np.mean(rate), 10.0, rtol=0.05)
    np.testing.assert_allclose(rate, 10.0, rtol=0.1)


def test_scaling_reaches_its_goal_and_keeps_proportions():
    """Rate of every cell within 2 %, from above and from below; ratios of the weights of a cell do not change."""
    net = bs.Network(seed=4)
    a, b = net.add("a", models.PoissonSource(rate=50.0), 60), net.add("b", models.LIF(), 6)
    start = np.random.default_rng(0).uniform(0.5, 1.5, (60, 6)) * np.linspace(0.5, 2.0, 6)
    rule = models.SynapticScaling(tau_activity=1000.0, activity_goal=20.0, gain=5e-5, integral_gain=1e-9)
    net.connect(a, b, models.ExpCurrent(), bs.all_to_all(), weight=start.ravel(), name="p", plasticity=rule)
    sim = net.compile(dt=0.5, record=["b.spikes", bs.trace("p.w", every=1000.0)])
    result = sim.advance(60000.0)
    counts = result.spikes["b"]
    late = np.asarray(counts.times) > 10000.0
    rate = np.bincount(np.asarray(counts.indices)[late], minlength=6) / 50.0
    np.testing.assert_allclose(rate, 20.0, rtol=0.02)
    factor = np.asarray(result["p.w"])[-1].reshape(60, 6) / start
    np.testing.assert_allclose(factor, np.broadcast_to(factor[0], factor.shape), rtol=1e-4)
    assert factor[0, 0] > 1.5 and factor[0, -1] < 0.9


def test_scaling_is_exponential_without_spikes(x64):
    """No activity: error = goal t, so log w = gain goal t + integral_gain goal t^2 / 2, beside the mean of the step."""
    net, a, b = pairing.network(1, 1)
    rule = models.SynapticScaling(tau_activity=100.0, activity_goal=10.0, gain=1e-4, integral_gain=1e-6)
    net.connect(a, b, pairing.Nothing(), bs.all_to_all(), weight=0.5, plasticity=rule, name="p", bounds=(0.0, 99.0))
    w = np.asarray(net.compile(dt=DT, record=["p.w"]).advance(200.0)["p.w"])[-1, 0]
    n = 400
    growth = 1e-4 * 10.0 * 200.0 + 1e-6 * 10.0 * DT**2 * n * (n + 1) / 2  # the error of the end of every step
    np.testing.assert_allclose(w, 0.5 * np.exp(growth), rtol=1e-10)


def test_threshold_holds_the_rate(x64):
    """theta = eta (spikes - rho t) exactly, and every cell fires at rho within 2 %, whatever its input."""
    net = bs.Network()
    net.add("b", models.HomeostaticLIF(rho=8.0, eta=0.2), 4)
    sim = net.compile(dt=0.25, record=["b.spikes", bs.trace("b.theta", every=10.0)])
    result = sim.advance(30000.0, inputs={"b.I": np.array([18.0, 25.0, 40.0, 60.0])})
    spikes = result.spikes["b"]
    theta = np.asarray(result["b.theta"])[-1]
    np.testing.assert_allclose(theta, 0.2 * (np.asarray(spikes.counts()) - 8.0 * 30.0), rtol=1e-8, atol=1e-8)
    late = np.asarray(spikes.times) > 15000.0
    rate = np.bincount(np.asarray(spikes.indices)[late], minlength=4) / 15.0
    np.testing.assert_allclose(rate, 8.0, rtol=0.02)
    assert np.ptp(theta) > 10.0


def trace(times, now, tau, tie=False):
    return sum(np.exp(-(now - s) * DT / tau) for s in pairing.seen(times, now, tie))


def test_homeostatic_triplets(x64):
    """Sums over spikes; the amplitude of depression follows the square of the rate."""
    rng = np.random.default_rng(8)
    pre, post = pairing.trains(rng, 2, STEPS - 4, 40), pairing.trains(rng, 2, STEPS - 4, 40)
    rule = models.HomeostaticTripletSTDP(A_plus=0.01, kappa=5.0, tau_nu=150.0)
    found = pairing.run({"p": dict(plasticity=rule)}, pre, post, STEPS, DT)["p"]
    for i, j in np.ndindex(2, 2):
        w = 1.0
        for now, end in pairing.events(pre[i], post[j], "pre_first"):
            if end == "pre":
                nu = 5.0 * np.exp(-now * DT / 150.0) + 1000.0 / 150.0 * trace(post[j], now, 150.0)
                w -= 0.01 * 16.8 * 114.0 * nu**2 / (33.7 * 5.0 * 1000.0) * trace(post[j], now, 33.7)
            else:
                w += 0.01 * trace(pre[i], now, 16.8, True) * trace(post[j], now, 114.0)
        assert abs(found[i, j] - w) < 1e-10


def test_homeostatic_triplets_balance_at_the_target(x64):
    """Independent trains at 20 Hz: potentiation and depression are equal if kappa is 20 Hz, as the detector says if not."""
    rng = np.random.default_rng(9)
    steps, t = 20000, np.linspace(0.0, 10.0, 1001)
    pre, post = pairing.trains(rng, 6, steps - 4, 200), pairing.trains(rng, 6, steps - 4, 200)
    rules = {k: models.HomeostaticTripletSTDP(A_plus=1e-3, kappa=k, tau_nu=4000.0) for k in (20.0, 10.0, 40.0)}
    found = pairing.run({f"p{k:g}": dict(plasticity=r) for k, r in rules.items()}, pre, post, steps, DT)
    potentiation = 1e-3 * 200 * (0.02 * 16.8) * (0.02 * 114.0)
    for kappa in rules:
        nu = 20.0 + (kappa - 20.0) * np.exp(-t / 4.0)
        expected = 1.0 - np.mean(nu**2) / (20.0 * kappa)
        np.testing.assert_allclose((np.mean(found[f"p{kappa:g}"]) - 1.0) / potentiation, expected, atol=0.1)


def test_orchestrated_events(x64):
    """Every term by sums over spikes, with a reference weight that stands still."""
    rng = np.random.default_rng(10)
    pre, post = pairing.trains(rng, 2, STEPS - 4, 40), pairing.trains(rng, 2, STEPS - 4, 40)
    rule = models.OrchestratedSTDP(
        A=0.01, beta_het=0.02, delta=0.003, kappa=12.0, tau_hom=150.0, tau_cons=1e15, w_ref0=0.4
    )
    found = pairing.run({"p": dict(plasticity=rule)}, pre, post, STEPS, DT)["p"]
    for i, j in np.ndindex(2, 2):
        w = 1.0
        for now, end in pairing.events(pre[i], post[j], "pre_first"):
            fast = trace(post[j], now, 20.0)
            if end == "pre":
                nu = 12.0 * np.exp(-now * DT / 150.0) + 1000.0 / 150.0 * trace(post[j], now, 150.0)
                w += 0.003 - 0.01 * (nu / 12.0) ** 2 * fast
            else:
                up = 0.01 * trace(pre[i], now, 20.0, True) * trace(post[j], now, 100.0)
                w += up - 0.02 * (w - 0.4) * fast**3
        assert abs(found[i, j] - w) < 1e-10


def test_consolidation(x64):
    """The reference weight follows its equation and ends at the nearer stable point of the double well."""
    net, a, b = pairing.network(4, 1)
    rule = models.OrchestratedSTDP(tau_cons=100.0, P=60.0)
    weights = np.array([0.05, 0.24, 0.3, 0.6])
    net.connect(a, b, pairing.Nothing(), bs.all_to_all(), weight=weights, plasticity=rule, name="p")
    sim = net.compile(dt=DT, record=["p.w_ref"])
    found = np.asarray(sim.advance(2000.0)["p.w_ref"])
    for k, w in enumerate(weights):
        slope = lambda t, s, w=w: (w - s - 60.0 * s * (0.25 - s) * (0.5 - s)) / 100.0
        exact = solve_ivp(slope, (0.0, 2000.0), [0.0], rtol=1e-9, t_eval=[300, 2000])
        np.testing.assert_allclose(found[[599, 3999], k], exact.y[0], atol=2e-3)
    assert found[-1, 0] < 0.1 < 0.45 < found[-1, 3]
