"""Pair rules and triplets against sums over lists of spike times, with ties, delays and bounds."""

import numpy as np
import pairing
import pytest

import brainsim as bs
from brainsim import models

DT, STEPS = 0.5, 400
SCHEMES = {  # which spikes of the partner count for a presynaptic and for a postsynaptic spike
    "STDP": (pairing.all_pairs, pairing.all_pairs),
    "NearestSTDP": (pairing.nearest, pairing.nearest),
    "PreCentredSTDP": (pairing.nearest, pairing.not_yet_seen),
    "ReducedSTDP": (pairing.immediate, pairing.immediate),
}
PER_EDGE = np.array([0.5, 1.0, 2.0, 0.0, 1.5, 3.0])


@pytest.fixture(scope="module")
def spikes():
    """Dense trains: with 400 steps and 60 spikes about every seventh spike is one of a tie."""
    rng = np.random.default_rng(0)
    return pairing.trains(rng, 3, STEPS - 8, 60), pairing.trains(rng, 2, STEPS - 8, 60)


def window(amplitude, tau):
    return lambda distance, w: amplitude * np.exp(-distance * DT / tau)


@pytest.mark.parametrize("name", SCHEMES)
def test_pairs_are_those_of_the_definition(name, spikes, x64):
    pre, post = spikes
    rule = getattr(models, name)(A_plus=0.02, A_minus=0.021, tau_plus=17.0, tau_minus=34.0)
    cases = {
        "both": dict(delay=1.0, ties="both"),
        "dendrite": dict(delay=1.5, delay_at="dendrite", ties="post_first"),
        "edges": dict(delay=PER_EDGE, ties="neither"),
    }
    found = pairing.run({n: dict(plasticity=rule, **how) for n, how in cases.items()}, pre, post, STEPS, DT)
    for case, how in cases.items():
        late = np.round(np.broadcast_to(how["delay"], 6) / DT).astype(int).reshape(3, 2)
        for i, j in np.ndindex(3, 2):
            a, b = (pre[i], post[j] + late[i, j]) if case == "dendrite" else (pre[i] + late[i, j], post[j])
            expected = pairing.pair_sum(
                a, b, how["ties"], *SCHEMES[name], window(-0.021, 34.0), window(0.02, 17.0), 1.0
            )
            assert abs(found[case][i, j] - expected) < 1e-10, (case, i, j)
            assert abs(expected - 1.0) > 1e-3


@pytest.mark.parametrize("name", SCHEMES)
def test_change_depends_on_the_weight(name, spikes, x64):
    """Exponents of Guetig et al., for every scheme, with the hard bounds beside them."""
    pre, post = spikes
    rule = getattr(models, name)(
        A_plus=0.05, A_minus=0.06, tau_plus=17.0, tau_minus=34.0, mu_plus=0.4, mu_minus=0.7, w_max=2.0
    )
    found = pairing.run({"p": dict(plasticity=rule, bounds=(0.0, 2.0))}, pre, post, STEPS, DT)["p"]
    down = lambda d, w: -0.06 * (w / 2.0) ** 0.7 * np.exp(-d * DT / 34.0)
    up = lambda d, w: 0.05 * (1.0 - w / 2.0) ** 0.4 * np.exp(-d * DT / 17.0)
    for i, j in np.ndindex(3, 2):
        expected = pairing.pair_sum(
            pre[i], post[j], "pre_first", *SCHEMES[name], down, up, 1.0, lambda w, c: min(max(w + c, 0.0), 2.0)
        )
        assert abs(found[i, j] - expected) < 1e-10


def test_bounds(spikes, x64):
    """Hard, soft and multiplicative, each against its formula, on trains that reach the bounds."""
    pre, post = spikes
    rule = models.STDP(A_plus=0.2, A_minus=0.15)
    share = lambda w: (w - 0.2) / 1.3
    scaled = {
        "hard": (bs.hard(0.2, 1.5), lambda w, c: c),
        "soft": (bs.soft(0.2, 1.5), lambda w, c: c * (1 - share(w) if c > 0 else share(w))),
        "power": (bs.soft(0.2, 1.5, 0.5), lambda w, c: c * (1 - share(w) if c > 0 else share(w)) ** 0.5),
        "multiplicative": (bs.multiplicative(0.2, 1.5), lambda w, c: c * (1.0 if c > 0 else share(w))),
    }
    found = pairing.run({n: dict(plasticity=rule, bounds=b) for n, (b, _) in scaled.items()}, pre, post, STEPS, DT)
    for name, (_, scale) in scaled.items():
        apply = lambda w, c, scale=scale: min(max(w + scale(w, c), 0.2), 1.5)
        for i, j in np.ndindex(3, 2):
            expected = pairing.pair_sum(
                pre[i], post[j], "pre_first", *SCHEMES["STDP"], window(-0.15, 20.0), window(0.2, 20.0), 1.0, apply
            )
            assert abs(found[name][i, j] - expected) < 1e-10, name


def test_symmetric_window(spikes, x64):
    pre, post = spikes
    rule = models.SymmetricSTDP(A_near=0.05, tau_near=8.0, A_far=0.03, tau_far=25.0, A_pre=0.004)
    ties = ("neither", "pre_first")
    found = pairing.run({t: dict(plasticity=rule, ties=t) for t in ties}, pre, post, STEPS, DT)
    hat = lambda d, w: 0.05 * np.exp(-d * DT / 8.0) - 0.03 * np.exp(-d * DT / 25.0)
    for tie, (i, j) in [(t, ij) for t in ties for ij in np.ndindex(3, 2)]:
        pairs = pairing.pair_sum(pre[i], post[j], tie, *SCHEMES["STDP"], hat, hat, 1.0)
        assert abs(found[tie][i, j] - (pairs - 0.004 * len(pre[i]))) < 1e-10


def test_learning_is_switched_off_and_on(spikes, x64):
    """Off for half of the run: the pairs completed in the other half count, those with spikes from before included."""
    pre, post = spikes
    rule, half = models.STDP(A_plus=0.02, A_minus=0.021), STEPS // 2
    found = pairing.run(
        {"p": dict(plasticity=rule), "q": dict(plasticity=rule)},
        pre, post, STEPS, DT, inputs={"p.learning": bs.step(1.0, start=half * DT), "q.learning": 0.0},
    )  # fmt: skip
    assert np.all(found["q"] == 1.0)
    late = lambda f: lambda mine, partner, now, tie: f(mine, partner, now, tie) if now > half else []
    for i, j in np.ndindex(3, 2):
        expected = pairing.pair_sum(
            pre[i], post[j], "pre_first", late(pairing.all_pairs), late(pairing.all_pairs),
            window(-0.021, 20.0), window(0.02, 20.0), 1.0,
        )  # fmt: skip
        assert abs(found["p"][i, j] - expected) < 1e-10


def triplet_sum(pre, post, p, near):
    """The rule written as sums over triplets of spike times; traces of nearest spikes see the last one only."""
    take = (lambda s: s[-1:]) if near else (lambda s: s)
    total = lambda times, now, tau, tie: sum(
        np.exp(-(now - s) * DT / tau) for s in take([s for s in times if s < now or (tie and s == now)])
    )
    w = 1.0
    for now, end in pairing.events(pre, post, "pre_first"):
        if end == "pre":
            w -= total(post, now, p.tau_minus, False) * (p.A2_minus + p.A3_minus * total(pre, now, p.tau_x, False))
        else:
            w += total(pre, now, p.tau_plus, True) * (p.A2_plus + p.A3_plus * total(post, now, p.tau_y, False))
    return w


@pytest.mark.parametrize("name", ["TripletSTDP", "NearestTripletSTDP"])
def test_triplets_are_those_of_the_definition(name, spikes, x64):
    pre, post = spikes
    cls = getattr(models, name)
    rules = {n: cls.preset(n) for n in cls.PRESETS}
    found = pairing.run({n: dict(plasticity=r, delay=1.0) for n, r in rules.items()}, pre, post, STEPS, DT)
    for n, rule in rules.items():
        for i, j in np.ndindex(3, 2):
            assert abs(found[n][i, j] - triplet_sum(pre[i] + 2, post[j], rule, "Nearest" in name)) < 1e-10
        assert cls.preset(n, tau_y=1.0).tau_y == 1.0


def pairing_protocol(rate, distance, pairs=60, dt=DT):
    """Weight change by pairs at a rate (Hz), the postsynaptic spike `distance` ms after the presynaptic one."""
    period = round(1000.0 / rate / dt)
    first = period * np.arange(pairs) + 100
    return first, first + round(distance / dt)


def test_frequency_dependence_of_visual_cortex(x64):
    """60 pairs 10 ms apart at 10 to 50 Hz: within the standard errors of the data that the minimal model was fitted to.

    Mean square of (model - measured) / standard error, over the eight points of Sjoestroem et al. 2001,
    10.1016/S0896-6273(01)00542-6; the largest is that of post before pre at 40 Hz, 0.17 for 0.56 +- 0.32.
    """
    rates = (10.0, 20.0, 40.0, 50.0)
    measured = {10.0: (0.14, 0.29, 0.53, 0.56), -10.0: (-0.41, -0.34, 0.56, 0.75)}
    error = {10.0: (0.10, 0.14, 0.11, 0.26), -10.0: (0.11, 0.10, 0.32, 0.19)}
    rule = models.TripletSTDP.preset("visual_minimal")
    deviations = []
    for distance in (10.0, -10.0):
        pre, post = zip(*(pairing_protocol(r, distance) for r in rates))
        steps = max(p[-1] for p in (*pre, *post)) + 2
        found = np.diagonal(pairing.run({"p": dict(plasticity=rule)}, pre, post, steps, DT)["p"]) - 1.0
        for k in range(len(rates)):
            assert abs(found[k] + 1.0 - triplet_sum(pre[k], post[k], rule, False)) < 1e-10
        deviations += list((found - measured[distance]) / error[distance])
    assert np.mean(np.square(deviations)) < 0.5


def test_rules_and_synapses_can_be_combined():
    """Their names are written projection.name, so no parameter, state or input of a rule may be one of a synapse."""
    classes = [getattr(models, n) for n in models.__all__]
    own = lambda cls: {*cls.__params__, *cls.__states__, *cls.__inputs__}
    rules = [c for c in classes if c.KIND == "plasticity rule"]
    synapses = [c for c in classes if c.KIND == "synapse"]
    assert len(rules) >= 27
    assert {(r.__name__, s.__name__): k for r in rules for s in synapses if (k := own(r) & own(s))} == {}
