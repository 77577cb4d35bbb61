"""The mechanism of plasticity: pairs against a sum over pairs, events against every step, gradients, conventions."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainsim as bs
from brainsim import learn_events
from brainsim.errors import CompileError, ConnectError, DefinitionError
from brainsim.models import LIF, ExpCurrent, PoissonSource, SpikeSource

DT, DURATION = 0.5, 400.0


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


class Pair(bs.Plasticity):
    """All pairs."""

    A_plus, A_minus = bs.param(0.02), bs.param(0.021)
    tau_plus, tau_minus = bs.param(20.0, "ms"), bs.param(25.0, "ms")
    x, y = bs.state(0.0, on="pre"), bs.state(0.0, on="post")

    def dx(self, x):
        return -x / self.tau_plus

    def dy(self, y):
        return -y / self.tau_minus

    def on_pre(self, y):
        return dict(x=1.0, w=-self.A_minus * y)

    def on_post(self, x):
        return dict(y=1.0, w=self.A_plus * x)


class Reward(bs.Plasticity):
    """Pairs write an eligibility; a global modulator with dynamics of its own turns it into weight."""

    A_plus, A_minus = bs.param(0.5), bs.param(0.6)
    tau_pair, tau_e, tau_d = bs.param(20.0, "ms"), bs.param(100.0, "ms"), bs.param(50.0, "ms")
    k = bs.const(1.0, "1/ms")
    x, y = bs.state(0.0, on="pre"), bs.state(0.0, on="post")
    e, d = bs.state(0.0, on="edge"), bs.state(0.1, on="projection")
    dopamine = bs.input("1/ms", 0.002)

    def dx(self, x):
        return -x / self.tau_pair

    def dy(self, y):
        return -y / self.tau_pair

    def de(self, e):
        return -e / self.tau_e

    def dd(self, d, dopamine):
        return -d / self.tau_d + dopamine

    def dw(self, e, d):
        return self.k * d * e

    def on_pre(self, y):
        return dict(x=1.0, e=-self.A_minus * y)

    def on_post(self, x):
        return dict(y=1.0, e=self.A_plus * x)


def trains(seed, n, rate=40.0):
    """Random spike times on the grid, with ties between cells."""
    rng, steps = np.random.default_rng(seed), np.arange(1, int(DURATION / DT) - 10)
    chosen = [rng.choice(steps, int(rate * DURATION * 1e-3), replace=False) for _ in range(n)]
    return np.concatenate(chosen) * DT, np.repeat(np.arange(n), [len(c) for c in chosen])


def pairs(pre, post, delay, ties, rule):
    """Change of one weight: the sum over all pairs of spikes."""
    total = 0.0
    for a, b in itertools.product(pre, post):
        lag = round((b - a - delay) / DT)
        if lag > 0 or (lag == 0 and ties in ("pre_first", "both")):
            total += rule.A_plus * np.exp(-lag * DT / rule.tau_plus)
        if lag < 0 or (lag == 0 and ties in ("post_first", "both")):
            total -= rule.A_minus * np.exp(lag * DT / rule.tau_minus)
    return total


@pytest.mark.parametrize("ties", ("pre_first", "post_first", "both", "neither"))
@pytest.mark.parametrize("delay_at", ("axon", "dendrite"))
@pytest.mark.parametrize("delay", (0.0, 1.5, "edge"))
def test_weights_are_sums_over_pairs(delay, delay_at, ties):
    rule, (n, m) = Pair(), (4, 3)
    delays = np.tile([0.0, 0.5, 1.5], n) if delay == "edge" else np.full(n * m, delay)
    net = bs.Network(seed=1)
    a, b = net.add("a", SpikeSource(), n), net.add("b", SpikeSource(), m)
    how = dict(bounds=bs.unbounded(), ties=ties, delay_at=delay_at)
    given = delays if delay == "edge" else delay
    net.connect(a, b, ExpCurrent(), bs.all_to_all(), weight=1.0, delay=given, plasticity=rule, name="s", **how)
    (ta, ia), (tb, ib) = trains(0, n), trains(1, m)
    drives = {"a.spikes": bs.spike_trains(ta, ia), "b.spikes": bs.spike_trains(tb, ib)}
    made = net.compile(dt=DT, record=["s.w"]).run(DURATION, inputs=drives)["s.w"][-1]
    sign = 1.0 if delay_at == "axon" else -1.0  # in the dendrite, the postsynaptic spike comes later
    wanted = [
        1.0 + pairs(ta[ia == i], tb[ib == j], sign * delays[i * m + j], ties, rule) for i in range(n) for j in range(m)
    ]
    np.testing.assert_allclose(made, wanted, rtol=1e-10)


def plastic_network(rule, delay, **how):
    """Sources onto a part of a group, and recurrent plastic edges."""
    net = bs.Network(seed=1)
    a, _, b = net.add("a", PoissonSource(rate=50.0), 30), net.add("other", LIF(), 7), net.add("b", LIF(), 10)
    rule_ = bs.fixed_probability(0.7)
    net.connect(a, b, ExpCurrent(tau=5.0), rule_, weight=100.0, delay=delay, plasticity=rule, name="s", **how)
    net.connect(b, b, ExpCurrent(tau=5.0), rule_, weight=10.0, delay=delay, plasticity=rule, name="r", **how)
    return net


def differences(a, b):
    return max(jax.tree.leaves(jax.tree.map(lambda x, y: float(jnp.max(jnp.abs(x - y))), a, b)))


CASES = [
    dict(delay=0.0),
    dict(delay=1.5, deliver="old"),
    dict(delay=1.5, ties="post_first", bounds=bs.soft(0.0, 500.0)),
    dict(delay=1.5, delay_at="dendrite", ties="both"),
    dict(delay=bs.uniform(0.5, 2.0), ties="neither"),
]


@pytest.mark.parametrize("rule", (Pair, Reward))
@pytest.mark.parametrize("case", CASES)
def test_events_are_every_step(rule, case, monkeypatch):
    """A host run visits the edges of cells that spike, a traced run all edges in every step."""
    visits, edges = [], learn_events.edges
    monkeypatch.setattr(learn_events, "edges", lambda *args: visits.append(1) or edges(*args))
    sim = plastic_network(rule(), **case).compile(dt=DT, record=["b.spikes"])
    events = sim.run(250.0)
    resting = rule is Reward and ("bounds" in case or not isinstance(case["delay"], float))  # visited in every step
    assert len(visits) == (0 if resting else 2)  # both projections, in the one trace of the loop
    steps = jax.jit(lambda p: sim.run(250.0, params=p))(sim.params)
    assert len(events.spikes["b"]) == int(steps.spikes["b"].sum()) > 100
    assert differences(events.state["plastic"], steps.state["plastic"]) < 1e-10


def test_parts_checkpoints_and_recorders_change_no_bit(tmp_path):
    record = ["b.spikes"]
    whole = plastic_network(Reward(), 1.5).compile(dt=DT, record=record).advance(200.0)
    sim = plastic_network(Reward(), 1.5).compile(dt=DT, record=[*record, bs.trace("s.w", every=10.0), "r.e"])
    first = sim.advance(100.0)
    sim.checkpoint(tmp_path / "half.h5")
    later = plastic_network(Reward(), 1.5).compile(dt=DT, record=record)
    later.restore(tmp_path / "half.h5")
    second = later.advance(100.0)
    assert len(first.spikes["b"]) + len(second.spikes["b"]) == len(whole.spikes["b"]) > 100
    # resting edges are woken at the end of a run: one more rounding
    assert differences(whole.state["plastic"], second.state["plastic"]) < 1e-10
    assert first["s.w"].shape == (10, sim.program.learners[0].n_edges)
    np.testing.assert_array_equal(first["s.w"][-1], first.state["plastic"]["learner0"]["w"])


def test_learning_is_switched_at_run_time():
    sim = plastic_network(Pair(), 1.5).compile(dt=DT, record=[bs.trace("s.w", every=DT), bs.trace("r.w", every=DT)])
    off = sim.run(100.0, inputs={"s.learning": 0.0})
    assert np.ptp(off["s.w"], axis=0).max() == 0.0 and np.ptp(off["r.w"], axis=0).max() > 0.1
    half = sim.run(100.0, inputs={"s.learning": bs.step(1.0, stop=50.0)})
    moved = np.ptp(half["s.w"], axis=1) if half["s.w"].ndim == 1 else np.abs(np.diff(half["s.w"], axis=0)).max(1)
    steps = int(50.0 / DT)
    assert moved[: steps - 1].max() > 0.01 and moved[steps + 1 :].max() == 0.0


@pytest.mark.parametrize("bounds", (bs.hard(0.0, 102.0), bs.soft(0.0, 102.0), bs.multiplicative(0.0, 102.0)))
def test_bounds_hold(bounds):
    rule = Pair(A_plus=2.0, A_minus=1.0)
    made = plastic_network(rule, 0.5, bounds=bounds).compile(dt=DT, record=["s.w"]).run(200.0)["s.w"]
    assert made.max() <= 102.0 and made.min() >= 0.0
    assert (made.max() == 102.0) == (bounds.kind != "soft")


def test_soft_bounds_scale_changes():
    w, up, down = 30.0, 4.0, -4.0
    soft, one_sided = bs.soft(0.0, 100.0, exponent=0.5), bs.multiplicative(0.0, 100.0)
    assert float(soft.apply(w, up)) == pytest.approx(w + up * 0.7**0.5)
    assert float(soft.apply(w, down)) == pytest.approx(w + down * 0.3**0.5)
    assert float(one_sided.apply(w, up)) == w + up
    assert float(one_sided.apply(w, down)) == pytest.approx(w + down * 0.3)


class Volume(Reward):
    """Dopamine released by the spikes of a population."""

    def on_modulator(self):
        return dict(d=1.0)


def test_modulators_come_from_populations():
    net = plastic_network(Pair(), 1.5)
    da, critic = net.add("da", SpikeSource(), 3), net.add("critic", LIF(), 1)
    how = dict(weight=1.0, bounds=bs.unbounded())
    a, b = net["a"], net["b"]
    spikes = {"on_modulator": "da.spikes"}
    net.connect(a, b, ExpCurrent(), bs.all_to_all(), plasticity=Volume(), name="volume", modulators=spikes, **how)

    class Scaled(Reward):
        def dd(self, d, dopamine):
            return -d / self.tau_d + dopamine * 0.0

    state = {"dopamine": "critic.v"}
    net.connect(a, b, ExpCurrent(), bs.all_to_all(), plasticity=Scaled(), name="state", modulators=state, **how)
    assert len(da) == 3 and len(critic) == 1
    sim = net.compile(dt=DT, record=["volume.d", "state.d"])
    made = sim.run(50.0, inputs={"da.spikes": bs.spike_trains([10.0, 10.0, 20.0], [0, 1, 2])})
    t = np.arange(1, 101) * DT
    free = lambda d0, t: d0 * np.exp(-t / 50.0) + 0.002 * 50.0 * (1 - np.exp(-t / 50.0))
    wanted = free(0.1, t) + sum(n * np.exp(-(t - s) / 50.0) * (t >= s) for s, n in ((10.0, 2), (20.0, 1)))
    np.testing.assert_allclose(made["volume.d"][:, 0], wanted, rtol=1e-10)


def test_gradients_through_learning():
    """Reverse mode against finite differences: the sources fire whatever the weights are."""
    net = bs.Network(seed=3)
    a, b = net.add("a", SpikeSource(), 5), net.add("b", SpikeSource(), 4)
    net.connect(a, b, ExpCurrent(), bs.all_to_all(), weight=1.0, delay=1.0, plasticity=Reward(), bounds=bs.unbounded())
    (ta, ia), (tb, ib) = trains(0, 5), trains(1, 4)
    sim = net.compile(dt=DT, record=[])
    drives = {"a.spikes": bs.spike_trains(ta, ia), "b.spikes": bs.spike_trains(tb, ib)}
    loss = lambda p: jnp.sum(sim.run(DURATION, params=p, inputs=drives).state["plastic"]["learner0"]["w"] ** 2)
    loss = jax.jit(loss)
    gradient = jax.grad(loss)(sim.params)
    for name in ("a->b.A_plus", "a->b.tau_pair", "a->b.tau_e", "a->b.tau_d", "a->b.weight"):
        h, p = 1e-4, sim.params
        both = [float(loss({**p, name: p[name] + s * h})) for s in (1, -1)]
        assert float(gradient[name]) == pytest.approx((both[0] - both[1]) / (2 * h), rel=1e-6), name


BAD_CALLS = [
    (dict(plasticity=Pair), "give an instance of a rule"),
    (dict(plasticity=Pair(), bounds=(5.0, 1.0)), "wrong order"),
    (dict(plasticity=Pair(), bounds=(2.0, 3.0)), "outside the bounds"),
    (dict(plasticity=Pair(), ties="never"), "ties"),
    (dict(plasticity=Pair(), delay_at="soma"), "delay_at"),
    (dict(bounds=(0.0, 3.0)), "no rule"),
    (dict(plasticity=Reward(), modulators={"serotonin": "a.spikes"}), "serotonin"),
    (dict(plasticity=Reward(), modulators={"dopamine": "b.v"}), "1 cell"),
    (dict(plasticity=Reward(), modulators={"dopamine": "nobody.v"}), "nobody"),
    (dict(plasticity=Volume()), "on_modulator"),
    (dict(plasticity=[Pair(), Pair()]), "Pair twice"),
]


@pytest.mark.parametrize(("given", "says"), BAD_CALLS, ids=[says for _, says in BAD_CALLS])
def test_bad_connections_say_what_to_write(given, says):
    net = bs.Network()
    a, b = net.add("a", PoissonSource(), 3), net.add("b", LIF(), 4)
    net.add("c", LIF(), 2)
    with pytest.raises(ConnectError, match=says):
        if given.get("modulators") == {"dopamine": "b.v"}:
            given = {**given, "modulators": {"dopamine": "c.v"}}
        net.connect(a, b, ExpCurrent(), bs.all_to_all(), weight=1.0, **given)


def test_bad_rules_are_refused_when_defined():
    with pytest.raises(DefinitionError, match="where a variable lives"):

        class Nowhere(bs.Plasticity):
            x = bs.state(0.0)

    with pytest.raises(DefinitionError, match="cannot have"):

        class Asks(bs.Plasticity):
            def on_pre(self, trace):
                return dict(w=trace)

    with pytest.raises(DefinitionError, match="may change only"):

        class Moves(bs.Plasticity):
            y = bs.state(0.0, on="post", jump=True)

            def on_pre(self):
                return dict(y=1.0)

    with pytest.raises(DefinitionError, match="changes no weight"):

        class Idle(bs.Plasticity):
            x = bs.state(0.0, on="pre", jump=True)

    class Mixes(bs.Plasticity):
        x, y = bs.state(0.0, on="pre", jump=True), bs.state(0.0, on="post", jump=True)

        def on_pre(self, y):
            return dict(x=y, w=1.0)

    net = bs.Network()
    a, b = net.add("a", PoissonSource(), 3), net.add("b", LIF(), 4)
    net.connect(a, b, ExpCurrent(), bs.all_to_all(), weight=1.0, plasticity=Mixes())
    with pytest.raises(CompileError, match="not known there"):
        net.compile(dt=DT)


def rewired_network(**how):
    net = plastic_network(Reward(A_plus=5.0, A_minus=6.0), 1.0)
    b = net["b"]
    few = dict(weight=bs.uniform(0.0, 2.0), plasticity=Pair(), bounds=(0.0, 3.0))
    net.connect(b, b, ExpCurrent(), bs.fixed_probability(0.4), name="grow", rewiring=bs.rewiring(20.0, **how), **few)
    return net


@pytest.mark.parametrize("keep", ("projection", "source", "target"))
def test_rewiring_keeps_its_budget(keep, tmp_path):
    sim = rewired_network(fraction=0.25, weight=0.5, keep=keep).compile(dt=DT, record=[bs.trace("grow.w", every=10.0)])
    edges = lambda state: np.stack([state["plastic"]["learner2"]["rows"][end] for end in ("pre", "post")])
    before = edges(sim.run(10.0).state)
    after = edges(sim.advance(100.0).state)
    assert before.shape == after.shape and not np.array_equal(before, after)
    assert len(np.unique(after, axis=1).T) == after.shape[1]
    for end, name in enumerate(("source", "target")):
        counts = [np.bincount(x[end], minlength=10) for x in (before, after)]
        assert np.array_equal(*counts) == (keep == name)
    sim.checkpoint(tmp_path / "half.h5")
    later = rewired_network(fraction=0.25, weight=0.5, keep=keep).compile(dt=DT, record=[])
    later.restore(tmp_path / "half.h5")
    whole = rewired_network(fraction=0.25, weight=0.5, keep=keep).compile(dt=DT, record=[]).run(200.0).state["plastic"]
    assert differences(whole, later.advance(100.0).state["plastic"]) < 1e-10


def test_rewired_edges_are_the_weak_ones():
    sim = rewired_network(below=0.5, weight=1.0).compile(dt=DT, record=[])
    made = sim.run(20.0).state["plastic"]["learner2"]
    assert float(made["w"].min()) > 0.5 and np.sum(np.asarray(made["w"]) == 1.0) > 0
    with pytest.raises(bs.errors.RunError, match="cannot be traced"):
        jax.jit(lambda p: sim.run(20.0, params=p))(sim.params)


class Exhausted(bs.Synapse):
    """A spike sends what the last ones have left."""

    tau_used = bs.param(50.0, "ms")
    g, used = bs.state(0.0, "pA", on="post"), bs.state(0.0, on="pre")
    tau_g = bs.param(5.0, "ms")

    def dg(self, g):
        return -g / self.tau_g

    def dused(self, used):
        return -used / self.tau_used

    def on_pre(self, w, used):
        return dict(g=w * (1.0 - used), used=0.5 * (1.0 - used))

    def current(self, g):
        return g


def test_short_term_and_long_term_plasticity_on_one_synapse():
    """Weights that do not change are those of a plain projection, whatever the source makes of its spikes."""

    def run(**how):
        net = bs.Network(seed=2)
        a, b = net.add("a", PoissonSource(rate=60.0), 8), net.add("b", LIF(), 5)
        net.connect(a, b, Exhausted(), bs.all_to_all(), weight=bs.uniform(1.0, 2.0), delay=1.0, name="s", **how)
        return net.compile(dt=DT, record=["s.g"]).run(100.0)["s.g"]

    plain, plastic = run(), run(plasticity=Pair(A_plus=0.0, A_minus=0.0))
    assert plain.max() > 3.0
    np.testing.assert_allclose(plastic, plain, rtol=1e-12)
