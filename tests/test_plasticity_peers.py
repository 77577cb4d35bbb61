"""Plastic weights against NEST and Brian2 under the same spike trains (reference/plasticity.json); float64.

NEST: delay at the dendrite; spikes that meet do not pair, the postsynaptic one acts first. Brian2: delay at the axon, the
presynaptic spike acts first and is seen. Rules are those of the library, but for what is peculiar to a tool.
"""

import json
from pathlib import Path

import jax
import numpy as np
import pytest

import brainsim as bs
from brainsim.models import (
    STDP,
    DopamineSTDP,
    ExpCurrent,
    InhibitorySTDP,
    NearestSTDP,
    PreCentredSTDP,
    ReducedSTDP,
    SpikeSource,
    TripletSTDP,
)

REFERENCE = json.loads((Path(__file__).parent / "reference" / "plasticity.json").read_text())
DT, STEPS = REFERENCE["dt"], REFERENCE["steps"]
NEST, BRIAN2 = REFERENCE["nest"], REFERENCE["brian2"]
TAU = 5.0  # of the currents, ms
EXACT = 1e-9  # relative; what is left is the rounding of products of exponentials over 12,000 steps


class Restricted(STDP):
    """Pairs of immediate neighbours as NEST counts them: a tied postsynaptic spike is used up by the presynaptic one."""

    to_post, to_pre = bs.state(0.0, on="edge", jump=True), bs.state(0.0, on="edge", jump=True)

    def on_pre(self, K_plus, K_minus, to_post, to_pre, w):
        change = self._down(w) * K_minus * to_pre
        return dict(K_plus=1.0 - K_plus, w=change, to_post=1.0 - to_post, to_pre=-to_pre)

    def on_post(self, K_plus, K_minus, to_post, to_pre, w):
        change = self._up(w) * K_plus * to_post
        return dict(K_minus=1.0 - K_minus, w=change, to_post=-to_post, to_pre=1.0 - to_pre)


class Decrement(bs.Plasticity):
    """A constant at every presynaptic spike, clipped on its own."""

    size = bs.param(0.0)

    def on_pre(self):
        return dict(w=-self.size)


class PlainDopamine(DopamineSTDP):
    """As one would write it: n of the beginning of a step times the mean of the eligibility."""

    def dw(self, eligibility, n):
        return eligibility * (n - self.b)


def given(trains, shift=0):
    """Spikes of a population at stamps (steps)."""
    steps = np.concatenate([np.array(s) + shift for s in trains])
    return bs.spike_trains(steps * DT, np.repeat(np.arange(len(trains)), [len(s) for s in trains]))


def run(rules, delay=None, post_shift=0, modulator_shift=0, steps=STEPS, record=(), **conventions):
    """Result of one run with a projection for every rule.

    Args:
        rules: name -> (rule, bounds, initial weight) and, if wanted, a dict of its own conventions and first states.
        delay: steps, one or (n_pre, n_post), default that of the reference; shifts are in steps too.
    """
    net = bs.Network(seed=0)
    pre, post = net.add("pre", SpikeSource(), 2), net.add("post", SpikeSource(), 3)
    net.add("da", SpikeSource(), 1)
    delay = np.array(REFERENCE["delays"]) if delay is None else delay
    delay = delay * DT if np.ndim(delay) == 0 else delay.ravel() * DT
    for name, given_rule in rules.items():
        rule, bounds, w, own = given_rule if len(given_rule) == 4 else (*given_rule, {})
        own = dict(own)
        first = own.pop("first", {})
        if isinstance(rule, DopamineSTDP):
            own["modulators"] = {"on_modulator": "da.spikes"}
        own = {**conventions, **own, "plasticity": rule, "bounds": bounds}
        net.connect(pre, post, ExpCurrent(tau=TAU), bs.all_to_all(), name=name, weight=w, delay=delay, **own)
        for state, value in first.items():
            net.init(f"{name}.{state}", value)
    inputs = {"pre.spikes": given(REFERENCE["pre"]), "post.spikes": given(REFERENCE["post"], post_shift)}
    inputs["da.spikes"] = given([REFERENCE["dopamine"]], modulator_shift)
    return net.compile(dt=DT, record=[*(f"{name}.w" for name in rules), *record]).advance(steps * DT, inputs=inputs)


def weights(rules, **options):
    """{name: (steps, n_pre, n_post)} weights at the ends of steps."""
    made = run(rules, **options)
    return {name: np.asarray(made[f"{name}.w"]).reshape(-1, 2, 3) for name in rules}


def nest_pair(case, by_bounds=False):
    """NEST's pair rules: lambda and alpha lambda are relative to Wmax; nearest spikes count from one at t = 0 on."""
    p, model = case["params"], case["model"]
    size = p["lambda"] * p["Wmax"]
    own = dict(A_plus=size, A_minus=p["alpha"] * size, tau_plus=p["tau_plus"], tau_minus=p["tau_minus"])
    if by_bounds:
        assert p["mu_plus"] == p["mu_minus"]
        return STDP(**own), bs.soft(0.0, p["Wmax"], p["mu_plus"]), p["weight"]
    own |= dict(mu_plus=p["mu_plus"], mu_minus=p["mu_minus"], w_max=p["Wmax"])
    cls, first = {
        "stdp_synapse": (STDP, {}),
        "stdp_nn_symm_synapse": (NearestSTDP, dict(K_plus=1.0)),
        "stdp_nn_pre_centered_synapse": (PreCentredSTDP, {}),
        "stdp_nn_restr_synapse": (Restricted, dict(K_plus=1.0, to_post=1.0)),
    }[model]
    return cls(**own), bs.hard(0.0, p["Wmax"]), p["weight"], dict(first=first)


def nest_rules():
    made = {}
    for name, case in NEST["stdp"].items():
        p = case["params"]
        bounds = bs.hard(0.0, p["Wmax"])
        if name == "triplet":
            named = dict(
                tau_plus="tau_plus", tau_x="tau_plus_triplet", tau_minus="tau_minus", tau_y="tau_minus_triplet"
            )
            named |= dict(A2_plus="Aplus", A3_plus="Aplus_triplet", A2_minus="Aminus", A3_minus="Aminus_triplet")
            made[name] = TripletSTDP(**{k: p[v] for k, v in named.items()}), bounds, p["weight"]
        elif name == "vogels":
            assert p["tau"] == p["tau_minus"]
            pairs = InhibitorySTDP(eta=p["eta"], depression=0.0, tau_z=p["tau"])
            made[name] = [pairs, Decrement(size=p["alpha"] * p["eta"])], bounds, p["weight"]  # NEST clips in between
        else:
            made[name] = nest_pair(case)
            if p["mu_plus"] > 0 and name.startswith("stdp"):
                made[f"{name}_by_bounds"] = nest_pair(case, by_bounds=True)
    return made


def nest_dopamine(cls):
    p = NEST["dopamine"]["params"]
    rule = cls(**{k: v for k, v in p.items() if k not in ("Wmin", "Wmax", "weight")})
    return rule, bs.hard(p["Wmin"], p["Wmax"]), p["weight"]


AS_NEST = dict(delay_at="dendrite", ties="neither")
AS_BRIAN2 = dict(delay_at="axon", ties="pre_first")


@pytest.fixture(scope="module")
def nest_like():
    with jax.enable_x64(True):
        dopamine = {"dopamine": nest_dopamine(DopamineSTDP), "plain": nest_dopamine(PlainDopamine)}
        return weights({**nest_rules(), **dopamine}, modulator_shift=1, **AS_NEST)


def at_presynaptic_spikes(w):
    """The recorded weights as NEST's recorder has them: {"i-j": values at the stamps of source i}."""
    return {f"{i}-{j}": w[np.array(REFERENCE["pre"][i]) - 1, i, j] for i in range(2) for j in range(3)}


def error(found, reference):
    """Largest difference relative to the largest weight."""
    assert sorted(found) == sorted(reference)
    scale = max(np.max(np.abs(w)) for w in reference.values())
    return max(np.max(np.abs(found[k] - np.array(reference[k]))) for k in reference) / scale


@pytest.mark.parametrize("name", list(nest_rules()))
def test_nest(nest_like, name):
    reference = NEST["stdp"][name.removesuffix("_by_bounds")]["weights"]
    assert error(at_presynaptic_spikes(nest_like[name]), reference) < EXACT


def test_nest_dopamine(nest_like):
    """Also NEST's own update of all edges every 1 or 1000 steps changes only the rounding."""
    for reference in NEST["dopamine"]["weights"].values():
        assert error(at_presynaptic_spikes(nest_like["dopamine"]), reference) < EXACT
        assert 1e-6 < error(at_presynaptic_spikes(nest_like["plain"]), reference) < 1e-3


def test_nest_with_one_delay(x64):
    """The same with one delay for all, where only the edges of cells that spike are visited; one edge has this delay."""
    i, j = 1, 1
    rules = {k: nest_rules()[k] for k in ("stdp_multiplicative", "nn_pre_centered", "nn_restr", "triplet", "vogels")}
    rules["dopamine"] = nest_dopamine(DopamineSTDP)
    made = weights(rules, delay=REFERENCE["delays"][i][j], modulator_shift=1, **AS_NEST)
    edge = f"{i}-{j}"
    reference = {name: case["weights"] for name, case in NEST["stdp"].items()}
    reference["dopamine"] = NEST["dopamine"]["weights"]["1"]
    for name, w in made.items():
        assert error({edge: at_presynaptic_spikes(w)[edge]}, {edge: reference[name][edge]}) < EXACT, name


def test_nest_delivers_the_new_weight(x64):
    """NEST's recorder shows what arrives: currents jump by it one delay later."""
    name = "stdp_multiplicative"
    rules = {how: (*nest_rules()[name][:3], dict(deliver=how)) for how in ("new", "old")}
    made = run(rules, record=["new.i", "old.i"], **AS_NEST)
    expected = np.zeros((STEPS, 3))
    for edge, sent in NEST["stdp"][name]["weights"].items():
        i, j = map(int, edge.split("-"))
        for stamp, w in zip(REFERENCE["pre"][i], sent, strict=True):
            first = stamp + REFERENCE["delays"][i][j]  # the step that begins at the arrival
            expected[first:, j] += w * np.exp(-DT / TAU * np.arange(1, STEPS - first + 1))
    np.testing.assert_allclose(np.asarray(made["new.i"]), expected, atol=EXACT)
    assert np.max(np.abs(np.asarray(made["old.i"]) - expected)) > 1e-2


def variants(conventions):
    """Every other choice of one convention."""
    other = dict(delay_at=("axon", "dendrite"), ties=("pre_first", "post_first", "both", "neither"))
    made = [{**conventions, key: value} for key, values in other.items() for value in values]
    return {f"v{k}": change for k, change in enumerate(made) if change != conventions}


def test_nest_needs_its_conventions(x64):
    """The trains tell the conventions apart, and what is peculiar to NEST: neighbours before the first spike, and used up."""
    rules = nest_rules()
    multiplicative, (rule, *rest, _) = rules["stdp_multiplicative"], rules["nn_symm"]
    made = {name: (*multiplicative[:3], change) for name, change in variants(AS_NEST).items()}
    params = {k: getattr(rule, k) for k in type(rule).__params__}
    made |= {"nn_symm": (rule, *rest), "nn_restr": (ReducedSTDP(**params), *rest, dict(first=dict(K_plus=1.0)))}
    for name, w in weights(made, **AS_NEST).items():
        reference = NEST["stdp"][name if name in NEST["stdp"] else "stdp_multiplicative"]["weights"]
        assert error(at_presynaptic_spikes(w), reference) > 1e-3, name


# ---------------------------------------------------------------- Brian2
def brian2_rules():
    made = {}
    for name, case in BRIAN2["cases"].items():
        p = dict(case["params"])
        bounds = bs.hard(0.0, p.pop("w_max")) if "w_max" in p else bs.unbounded()
        if name == "vogels":
            assert p["tau_plus"] == p["tau_minus"]
            p = dict(eta=p["eta"], depression=p["alpha"], tau_z=p["tau_plus"])
        cls = {"nearest": NearestSTDP, "triplet": TripletSTDP, "vogels": InhibitorySTDP}.get(name, STDP)
        made[name] = cls(**p), bounds, 1.0
    return made


@pytest.fixture(scope="module")
def brian2_like():
    rules = brian2_rules()
    del rules["pair_post_delay"]
    with jax.enable_x64(True):
        return weights(rules, **AS_BRIAN2)


def sampled(w, later=0):
    """Samples as Brian2's monitor took them at the ends of steps; `later` (n_pre, n_post): so many steps after."""
    at = np.arange(BRIAN2["every"] - 1, STEPS, BRIAN2["every"])
    later = np.broadcast_to(later, (2, 3))
    return {f"{i}-{j}": w[at + later[i, j], i, j] for i in range(2) for j in range(3)}


@pytest.mark.parametrize("name", [name for name in BRIAN2["cases"] if name != "pair_post_delay"])
def test_brian2(brian2_like, name):
    assert error(sampled(brian2_like[name]), BRIAN2["cases"][name]["weights"]) < EXACT


def test_brian2_delays_of_both_pathways(x64):
    """Only the difference of the delays decides what pairs: the rest moves the change of the weight in time."""
    case = BRIAN2["cases"]["pair_post_delay"]
    post_delays = np.array(case["post_delays"])
    shift = int(post_delays.max())
    rule = {"pair": brian2_rules()["pair_post_delay"]}
    delay = np.array(REFERENCE["delays"]) - post_delays + shift
    w = weights(rule, delay=delay, post_shift=shift, steps=STEPS + shift, **AS_BRIAN2)
    assert error(sampled(w["pair"], later=shift - post_delays), case["weights"]) < EXACT


def test_brian2_needs_its_conventions(x64):
    pair = brian2_rules()["pair"]
    made = weights({name: (*pair, change) for name, change in variants(AS_BRIAN2).items()})
    for name, w in made.items():
        assert error(sampled(w), BRIAN2["cases"]["pair"]["weights"]) > 1e-3, name
