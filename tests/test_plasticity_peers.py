"""Plastic weights against NEST and Brian2 under the same spike trains (reference/plasticity.json); float64.

The rules are written here, in the form in which each tool defines them. NEST: delay at the dendrite, spikes that meet do
not pair, the postsynaptic one acts first. Brian2: delay at the axon, the presynaptic one acts first and is seen.
"""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainsim as bs
from brainsim.models import ExpCurrent, SpikeSource

REFERENCE = json.loads((Path(__file__).parent / "reference" / "plasticity.json").read_text())
DT, STEPS = REFERENCE["dt"], REFERENCE["steps"]
NEST, BRIAN2 = REFERENCE["nest"], REFERENCE["brian2"]
TAU = 5.0  # of the currents, ms
EXACT = 1e-9  # relative; what is left is the rounding of products of exponentials over 12,000 steps


class Pair(bs.Plasticity):
    """Pairs of all spikes."""

    A_plus, A_minus = bs.param(0.02), bs.param(0.02)
    tau_plus, tau_minus = bs.param(20.0, "ms"), bs.param(20.0, "ms")
    x, y = bs.state(0.0, on="pre"), bs.state(0.0, on="post")

    def dx(self, x):
        return -x / self.tau_plus

    def dy(self, y):
        return -y / self.tau_minus

    def on_pre(self, y):
        return dict(x=1.0, w=-self.A_minus * y)

    def on_post(self, x):
        return dict(y=1.0, w=self.A_plus * x)


class Nearest(Pair):
    """Every spike with the last one of the other side."""

    def on_pre(self, x, y):
        return dict(x=1.0 - x, w=-self.A_minus * y)

    def on_post(self, x, y):
        return dict(y=1.0 - y, w=self.A_plus * x)


class NearestSinceStart(Nearest):
    """As if every source had fired at t = 0."""

    x = bs.state(1.0, on="pre")


class PreCentered(Pair):
    """A presynaptic spike with its two neighbours; a postsynaptic one with all that came since the last."""

    x = bs.state(0.0, on="edge")

    def on_pre(self, y):
        return dict(x=1.0, w=-self.A_minus * y)

    def on_post(self, x, y):
        return dict(x=-x, y=1.0 - y, w=self.A_plus * x)


class RestrictedSinceStart(Pair):
    """Immediate neighbours: each spike takes part in at most one pair of each order. Sources fired at t = 0."""

    x = bs.state(1.0, on="pre")
    to_post, to_pre = bs.state(1.0, on="edge", jump=True), bs.state(0.0, on="edge", jump=True)

    def on_pre(self, x, y, to_post, to_pre):
        return dict(x=1.0 - x, w=-self.A_minus * y * to_pre, to_post=1.0 - to_post, to_pre=-to_pre)

    def on_post(self, x, y, to_post, to_pre):
        return dict(y=1.0 - y, w=self.A_plus * x * to_post, to_post=-to_post, to_pre=1.0 - to_pre)


class Triplet(bs.Plasticity):
    A2_plus, A3_plus, A2_minus, A3_minus = bs.param(0.0), bs.param(0.0), bs.param(0.0), bs.param(0.0)
    tau_plus, tau_x, tau_minus, tau_y = (bs.param(20.0, "ms") for _ in range(4))
    r1, r2 = bs.state(0.0, on="pre"), bs.state(0.0, on="pre")
    o1, o2 = bs.state(0.0, on="post"), bs.state(0.0, on="post")

    def dr1(self, r1):
        return -r1 / self.tau_plus

    def dr2(self, r2):
        return -r2 / self.tau_x

    def do1(self, o1):
        return -o1 / self.tau_minus

    def do2(self, o2):
        return -o2 / self.tau_y

    def on_pre(self, o1, r2):
        return dict(r1=1.0, r2=1.0, w=-o1 * (self.A2_minus + self.A3_minus * r2))

    def on_post(self, r1, o2):
        return dict(o1=1.0, o2=1.0, w=r1 * (self.A2_plus + self.A3_plus * o2))


class Vogels(Pair):
    eta, alpha = bs.param(0.01), bs.param(0.3)

    def on_pre(self, y):
        return dict(x=1.0, w=self.eta * (y - self.alpha))

    def on_post(self, x):
        return dict(y=1.0, w=self.eta * x)


class Decrement(bs.Plasticity):
    """A constant at every presynaptic spike, clipped on its own."""

    size = bs.param(0.0)

    def on_pre(self):
        return dict(w=-self.size)


class Dopamine(Pair):
    """Pairs leave an eligibility c, and dw/dt = c (n - b).

    Within a step n is that of its beginning and c is its mean: first order in dt, as `dw` of a product of two traces is.
    """

    tau_c, tau_n, b = bs.param(300.0, "ms"), bs.param(120.0, "ms"), bs.param(0.0)
    c, n = bs.state(0.0, on="edge"), bs.state(0.0, on="projection")

    def dc(self, c):
        return -c / self.tau_c

    def dn(self, n):
        return -n / self.tau_n

    def on_pre(self, y):
        return dict(x=1.0, c=-self.A_minus * y)

    def on_post(self, x):
        return dict(y=1.0, c=self.A_plus * x)

    def on_modulator(self):
        return dict(n=1.0 / self.tau_n)

    def dw(self, c, n):
        return c * (n - self.b)


class ExactDopamine(Dopamine):
    """The integral of c n over a step in closed form: n is scaled by the mean of c n over the mean of c and the first n."""

    def dw(self, c, n, dt):
        rate = 1.0 / self.tau_c + 1.0 / self.tau_n
        scale = jnp.expm1(-dt * rate) / (rate * self.tau_c * jnp.expm1(-dt / self.tau_c))
        return c * (n * scale - self.b)


def given(trains, shift=0):
    """Spikes of a population at stamps (steps)."""
    steps = np.concatenate([np.array(s) + shift for s in trains])
    return bs.spike_trains(steps * DT, np.repeat(np.arange(len(trains)), [len(s) for s in trains]))


def run(rules, delay=None, post_shift=0, modulator_shift=0, steps=STEPS, record=(), **conventions):
    """Result of one run with a projection for every rule.

    Args:
        rules: name -> (rule, bounds, initial weight) and, if not those for all, a dict of conventions.
        delay: (n_pre, n_post) steps, default that of the reference; shifts are in steps too.
    """
    net = bs.Network(seed=0)
    pre, post = net.add("pre", SpikeSource(), 2), net.add("post", SpikeSource(), 3)
    net.add("da", SpikeSource(), 1)
    delay = np.array(REFERENCE["delays"] if delay is None else delay).ravel() * DT
    for name, (rule, bounds, w, *own) in rules.items():
        own = {**conventions, **(own[0] if own else {}), "plasticity": rule, "bounds": bounds}
        if isinstance(rule, Dopamine):
            own["modulators"] = {"on_modulator": "da.spikes"}
        net.connect(pre, post, ExpCurrent(tau=TAU), bs.all_to_all(), name=name, weight=w, delay=delay, **own)
    inputs = {"pre.spikes": given(REFERENCE["pre"]), "post.spikes": given(REFERENCE["post"], post_shift)}
    inputs["da.spikes"] = given([REFERENCE["dopamine"]], modulator_shift)
    return net.compile(dt=DT, record=[*(f"{name}.w" for name in rules), *record]).advance(steps * DT, inputs=inputs)


def weights(rules, **options):
    """{name: (steps, n_pre, n_post)} weights at the ends of steps."""
    made = run(rules, **options)
    return {name: np.asarray(made[f"{name}.w"]).reshape(-1, 2, 3) for name in rules}


def nest_rules():
    """The rules of NEST's synapses with its parameters: lambda and alpha scale with Wmax."""
    made = {}
    for name, case in NEST["stdp"].items():
        p, model = case["params"], case["model"]
        high = p["Wmax"]
        bounds = bs.hard(0.0, high)
        if model == "stdp_triplet_synapse":
            rule = Triplet(
                A2_plus=p["Aplus"],
                A3_plus=p["Aplus_triplet"],
                A2_minus=p["Aminus"],
                A3_minus=p["Aminus_triplet"],
                tau_plus=p["tau_plus"],
                tau_x=p["tau_plus_triplet"],
                tau_minus=p["tau_minus"],
                tau_y=p["tau_minus_triplet"],
            )
        elif model == "vogels_sprekeler_synapse":
            rule = Vogels(eta=p["eta"], alpha=0.0, tau_plus=p["tau"], tau_minus=p["tau_minus"])
            rule = [rule, Decrement(size=p["alpha"] * p["eta"])]  # NEST clips between the two
        else:
            kind = {"symm": NearestSinceStart, "pre_centered": PreCentered, "restr": RestrictedSinceStart}
            cls = next((c for key, c in kind.items() if key in model), Pair)
            size = p["lambda"] * high
            rule = cls(A_plus=size, A_minus=p["alpha"] * size, tau_plus=p["tau_plus"], tau_minus=p["tau_minus"])
            assert p["mu_plus"] == p["mu_minus"]
            bounds = bs.soft(0.0, high, p["mu_plus"])
        made[name] = rule, bounds, p["weight"]
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
        dopamine = {"exact": nest_dopamine(ExactDopamine), "plain": nest_dopamine(Dopamine)}
        return weights({**nest_rules(), **dopamine}, modulator_shift=1, **AS_NEST)


def at_presynaptic_spikes(w):
    """The recorded weights as NEST's recorder has them: {"i-j": values at the stamps of source i}."""
    return {f"{i}-{j}": w[np.array(REFERENCE["pre"][i]) - 1, i, j] for i in range(2) for j in range(3)}


def error(found, reference):
    """Largest difference relative to the largest weight."""
    assert sorted(found) == sorted(reference)
    scale = max(np.max(np.abs(w)) for w in reference.values())
    return max(np.max(np.abs(found[k] - np.array(reference[k]))) for k in reference) / scale


@pytest.mark.parametrize("name", list(NEST["stdp"]))
def test_nest(nest_like, name):
    assert error(at_presynaptic_spikes(nest_like[name]), NEST["stdp"][name]["weights"]) < EXACT


def test_nest_dopamine(nest_like):
    """Also NEST's own update of all edges every 1 or 1000 steps changes only the rounding."""
    for reference in NEST["dopamine"]["weights"].values():
        assert error(at_presynaptic_spikes(nest_like["exact"]), reference) < EXACT
        assert 1e-6 < error(at_presynaptic_spikes(nest_like["plain"]), reference) < 1e-3


def test_nest_delivers_the_new_weight(x64):
    """NEST's recorder shows what arrives: currents jump by it one delay later."""
    name = "stdp_multiplicative"
    rules = {how: (*nest_rules()[name], dict(deliver=how)) for how in ("new", "old")}
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
    """The trains tell the conventions apart; nearest-neighbour rules also pair with a presynaptic spike at t = 0."""
    multiplicative, (nearest, *rest) = nest_rules()["stdp_multiplicative"], nest_rules()["nn_symm"]
    rules = {name: (*multiplicative, change) for name, change in variants(AS_NEST).items()}
    plain = Nearest(**{k: getattr(nearest, k) for k in ("A_plus", "A_minus", "tau_plus", "tau_minus")})
    made = weights({**rules, "plain": (plain, *rest)}, **AS_NEST)
    assert error(at_presynaptic_spikes(made.pop("plain")), NEST["stdp"]["nn_symm"]["weights"]) > 1e-3
    for name, w in made.items():
        assert error(at_presynaptic_spikes(w), NEST["stdp"]["stdp_multiplicative"]["weights"]) > 1e-3, name


# ---------------------------------------------------------------- Brian2
def brian2_rules():
    made = {}
    for name, case in BRIAN2["cases"].items():
        p = dict(case["params"])
        bounds = bs.hard(0.0, p.pop("w_max")) if "w_max" in p else bs.unbounded()
        cls = {"nearest": Nearest, "triplet": Triplet, "vogels": Vogels}.get(name, Pair)
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
