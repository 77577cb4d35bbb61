"""Eligibility and modulators against closed forms: piecewise constant, from spikes, from states of other populations."""

import jax
import jax.numpy as jnp
import numpy as np
import pairing
import pytest
from support import check_gradient

import brainsim as bs
from brainsim import models

DT, STEPS = 0.5, 400
END = STEPS * DT


@pytest.fixture(scope="module")
def spikes():
    rng = np.random.default_rng(1)
    return pairing.trains(rng, 2, STEPS - 4, 25), pairing.trains(rng, 2, STEPS - 4, 25)


def tags(pre, post, down, up):
    """(time, size) of every change of the eligibility: pair by pair."""
    found = []
    for now, end in pairing.events(pre, post, "pre_first"):
        partners = pairing.seen(*((post, now, False) if end == "pre" else (pre, now, True)))
        found += [(now * DT, (down if end == "pre" else up)((now - s) * DT)) for s in partners]
    return found


def decay(rate, start, stop):
    """Integral of exp(-rate (t - start)) from start to stop."""
    return (1.0 - np.exp(-rate * (stop - start))) / rate


def stdp_tags(pre, post):
    return tags(pre, post, lambda d: -0.15 * np.exp(-d / 20.0), lambda d: 0.1 * np.exp(-d / 20.0))


def test_piecewise_constant_modulator(spikes, x64):
    """Sum over pairs and pieces; one modulator for all, and one for each target."""
    pre, post = spikes
    levels = np.array([[0.0, 0.5], [2e-3, -1e-3], [-1e-3, 0.0], [5e-3, 3e-3]])
    rule = models.ModulatedSTDP(tau_c=150.0, b=4e-4)
    inputs = {"one.modulator": bs.array(levels[:, 0], every=50.0), "each.modulator": bs.array(levels, every=50.0)}
    cases = {"one": dict(plasticity=rule), "each": dict(plasticity=rule)}
    found = pairing.run(cases, pre, post, STEPS, DT, inputs=inputs)
    for name, (i, j) in [(n, ij) for n in cases for ij in np.ndindex(2, 2)]:
        w = 1.0
        for t, size in stdp_tags(pre[i], post[j]):
            for k, level in enumerate(levels[:, 0 if name == "one" else j]):
                start, stop = max(t, 50.0 * k), 50.0 * (k + 1)
                if stop > start:
                    w += size * (level - 4e-4) * np.exp(-(start - t) / 150.0) * decay(1 / 150.0, start, stop)
        assert abs(found[name][i, j] - w) < 1e-10, name


def test_dopamine_from_spikes(spikes, x64):
    """NEST's rule in closed form: pairs times dopamine spikes, minus the baseline; two cells of the population fire."""
    pre, post = spikes
    doses = [np.array([30, 171, 300]), np.array([171, 350])]
    net, a, b = pairing.network(2, 2)
    net.add("vta", models.SpikeSource(), 2)
    rule = models.DopamineSTDP(tau_c=150.0, tau_n=40.0, b=1e-3)
    net.connect(
        a, b, pairing.Nothing(), bs.all_to_all(), weight=1.0, name="p", plasticity=rule, bounds=bs.unbounded(),
        modulators={"on_modulator": "vta.spikes"},
    )  # fmt: skip
    sim = net.compile(dt=DT, record=["p.w", "p.n"])
    trains = {"a": pre, "b": post, "vta": doses}
    result = sim.advance(END, inputs={f"{k}.spikes": pairing.as_input(v, DT) for k, v in trains.items()})
    every = np.concatenate(doses) * DT
    np.testing.assert_allclose(np.ravel(result["p.n"])[-1], np.sum(np.exp(-(END - every) / 40.0)) / 40.0, rtol=1e-12)
    found = np.asarray(result["p.w"])[-1].reshape(2, 2)
    for i, j in np.ndindex(2, 2):
        w = 1.0
        for t, size in stdp_tags(pre[i], post[j]):
            w -= 1e-3 * size * decay(1 / 150.0, t, END)
            for dose in every:
                start = max(t, dose)
                both = np.exp(-(start - t) / 150.0 - (start - dose) / 40.0) / 40.0
                w += size * both * decay(1 / 150.0 + 1 / 40.0, start, END)
        assert abs(found[i, j] - w) < 1e-10


def test_reward_counts_against_its_mean(spikes, x64):
    """A reward that does not change stops to teach as its mean catches up; the mean is the exponential average."""
    pre, post = spikes
    rule = models.RewardSTDP(tau_c=100.0, tau_R=80.0)
    found, result = pairing.run(
        {"p": dict(plasticity=rule)}, pre, post, STEPS, DT, record=["p.mean_reward"], inputs={"p.modulator": 0.01}
    )
    t = DT * (1 + np.arange(STEPS))
    mean = np.asarray(result["p.mean_reward"])[:, 0]
    np.testing.assert_allclose(mean, 0.01 * (1.0 - np.exp(-t / 80.0)), rtol=1e-10)
    for i, j in np.ndindex(2, 2):
        # reward - mean = 0.01 exp(-t / 80), so every tag is an integral of two decays
        w = 1.0 + sum(
            size * 0.01 * np.exp(-at / 80.0) * decay(1 / 100.0 + 1 / 80.0, at, END)
            for at, size in stdp_tags(pre[i], post[j])
        )
        assert abs(found["p"][i, j] - w) < 4e-3 * abs(w - 1.0) + 2e-5  # the mean is held within a step


def test_three_factor_spikes(spikes, x64):
    pre, post = spikes
    rule = models.ThreeFactorSTDP(eta=2e-3, tau_z=15.0, H_pre=-0.4, H_post=0.7, tau_e=60.0)
    found = pairing.run({"p": dict(plasticity=rule)}, pre, post, STEPS, DT, inputs={"p.modulator": -1.5})["p"]
    for i, j in np.ndindex(2, 2):
        pairs = tags(pre[i], post[j], lambda d: -0.4 * np.exp(-d / 15.0), lambda d: 0.7 * np.exp(-d / 15.0))
        w = 1.0 - 1.5 * 2e-3 * sum(size * decay(1 / 60.0, at, END) for at, size in pairs)
        assert abs(found[i, j] - w) < 1e-10


def test_three_factor_rates_with_every_kind_of_modulator(x64):
    """Global, one per target, and the states of another population: the same closed form."""
    net = bs.Network()
    x, y, m = np.array([1.0, 2.0]), np.array([3.0, -1.0]), np.array([0.5, -2.0])
    a, b = net.add("a", pairing.Held(level=x), 2), net.add("b", pairing.Held(level=y), 2)
    net.add("critic", pairing.Held(level=0.25), 1)
    net.add("teachers", pairing.Held(level=m), 2)
    rule = models.ThreeFactorHebbian(eta=0.01, tau_e=50.0, r_in0=0.5, r_out0=1.0)
    sources = {"global": None, "one": "critic.r", "each": "teachers.r"}
    for name, source in sources.items():
        given = {} if source is None else {"modulators": {"modulator": source}}
        net.connect(a, b, pairing.Linear(), bs.all_to_all(), weight=0.0, name=name, plasticity=rule,
                    bounds=bs.unbounded(), **given)  # fmt: skip
    sim = net.compile(dt=DT, record=[f"{n}.w" for n in sources])
    result = sim.advance(100.0, inputs={"global.modulator": 2.0})
    tag = np.outer(x - 0.5, y - 1.0)
    area = 100.0 - 50.0 * (1.0 - np.exp(-2.0))
    for name, level in (("global", 2.0), ("one", 0.25), ("each", m)):
        found = np.asarray(result[f"{name}.w"])[-1].reshape(2, 2)
        np.testing.assert_allclose(found, 0.01 * level * tag * area, rtol=1e-10, atol=1e-12)


def test_astrocyte(spikes, x64):
    """NALSM: the state of the astrocyte in closed form, and depression of either sign of synapse by that state."""
    pre, post = spikes
    net, a, b = pairing.network(2, 2)
    glia = net.add("glia", models.Astrocyte(), 1)
    net.connect(b, glia, models.ToAstrocyte(), bs.all_to_all(), weight=5.0)
    net.connect(a, glia, models.ToAstrocyte(), bs.all_to_all(), weight=-3.0)
    for name, rule in (("e", models.AstrocyteSTDP()), ("i", models.InhibitoryAstrocyteSTDP())):
        net.connect(a, b, pairing.Nothing(), bs.all_to_all(), weight=1.0, name=name, plasticity=rule,
                    bounds=bs.unbounded(), modulators={"astrocyte": "glia.a"})  # fmt: skip
    sim = net.compile(dt=DT, record=["e.w", "i.w", "glia.a"])
    result = sim.advance(END, inputs={"a.spikes": pairing.as_input(pre, DT), "b.spikes": pairing.as_input(post, DT)})
    state, t = np.asarray(result["glia.a"])[:, 0], DT * (1 + np.arange(STEPS))
    expected = 0.15 + sum(
        w / 100.0 * np.where(t > s * DT, np.exp(-(t - s * DT) / 100.0), 0.0)
        for w, trains in ((5.0, post), (-3.0, pre))
        for s in np.concatenate(trains)
    )
    np.testing.assert_allclose(state, expected, rtol=1e-10)
    a_at = lambda step: state[step - 1]
    trace = lambda times, now, tie: sum(0.1 * np.exp(-(now - s) * DT / 10.0) for s in pairing.seen(times, now, tie))
    for i, j in np.ndindex(2, 2):
        e = u = 1.0
        for now, end in pairing.events(pre[i], post[j], "pre_first"):
            if end == "pre":
                e -= a_at(now) * trace(post[j], now, False)
                u += 0.15 * trace(post[j], now, False)
            else:
                e += 0.15 * trace(pre[i], now, True)
                u -= a_at(now) * trace(pre[i], now, True)
        for name, w in (("e", e), ("i", u)):
            assert abs(np.asarray(result[f"{name}.w"])[-1].reshape(2, 2)[i, j] - w) < 1e-10, name


@pytest.mark.slow
def test_gradients_flow_through_learning(spikes, x64):
    """Final weights by every parameter of three rules, against finite differences."""
    pre, post = spikes
    net, a, b = pairing.network(2, 2)
    rules = {
        "pair": models.STDP(mu_plus=0.3, mu_minus=0.6, w_max=2.0),
        "triplet": models.TripletSTDP.preset("hippocampus"),
        "tagged": models.ModulatedSTDP(tau_c=150.0, b=1e-3),
    }
    for name, rule in rules.items():
        net.connect(
            a, b, pairing.Nothing(), bs.all_to_all(), weight=1.0, name=name, plasticity=rule, bounds=(-9.0, 9.0)
        )
    sim = net.compile(dt=DT, record=[f"{n}.w" for n in rules])
    inputs = {"a.spikes": pairing.as_input(pre, DT), "b.spikes": pairing.as_input(post, DT), "tagged.modulator": 3e-3}
    size = {f"{n}.{p}": jnp.asarray(abs(getattr(r, p)) or 1e-3) for n, r in rules.items() for p in type(r).__params__}
    start = {f"{n}.{p}": jnp.asarray(getattr(r, p)) for n, r in rules.items() for p in type(r).__params__}

    def total(moved):
        params = {k: start[k] + size[k] * moved[k] for k in start}
        result = sim.run(100.0, params=params, inputs=inputs)
        return sum((k + 1) * jnp.sum(result[f"{n}.w"][-1] * jnp.arange(1.0, 5.0)) for k, n in enumerate(rules))

    slopes = check_gradient(jax.jit(total), {k: jnp.zeros(()) for k in start}, step=1e-4, rtol=1e-4, directions=2)
    assert sum(float(s) != 0.0 for s in slopes.values()) >= len(start) - 1
