"""Random numbers of edges: which ones they are, that both forms draw them, rules and synapses that use them."""

import jax
import numpy as np
import pairing
import pytest
from scipy import stats

import brainsim as bs
from brainsim.chance import EdgeKey
from brainsim.history import keeps_lists
from brainsim.models import LIF, ExpCurrent, SpikeSource, StochasticTsodyksMarkramCurrent, TsodyksMarkramCurrent

DT = 0.5


class FewSites(StochasticTsodyksMarkramCurrent):
    most = 5


class Draws(bs.Synapse):
    """Keeps what its key stands for."""

    w = bs.weight("pA")
    tau = bs.param(5.0, "ms")
    first = bs.state(0.0, on="edge", jump=True)
    second = bs.state(0.0, on="edge", jump=True)
    count = bs.state(0.0, on="edge", jump=True)
    i = bs.state(0.0, "pA")

    def di(self, i):
        return -i / self.tau

    def on_pre(self, w, first, second, count, key):
        more = bs.fold_of(key, 1)
        new = dict(first=bs.uniform_of(key) - first, second=bs.uniform_of(more) - second)
        return dict(**new, count=bs.binomial_of(more, 9.0, 0.4, 9) - count, i=w)

    def current(self, i):
        return i


def test_keys_of_cells_and_edges():
    """Keys of cells and edges are read alike; `jax.random` takes the same 64 bits."""
    words = np.random.default_rng(0).integers(0, 2**32, (50, 2), dtype=np.uint32)
    keys = jax.random.wrap_key_data(words, impl="threefry2x32")
    edges = EdgeKey(words[:, 0], words[:, 1])
    for read in (bs.uniform_of, bs.normal_of, lambda k: bs.uniform_of(bs.fold_of(k, 3))):
        np.testing.assert_array_equal(jax.vmap(read)(edges), jax.vmap(read)(keys))
    drawn = jax.vmap(lambda k: jax.random.uniform(bs.jax_key(k)))
    np.testing.assert_array_equal(drawn(edges), jax.vmap(jax.random.uniform)(keys))
    np.testing.assert_array_equal(drawn(keys), drawn(edges))


@pytest.mark.parametrize(
    "n, p", [(0, 0.3), (1, 0.5), (5, 0.02), (5, 0.98), (20, 0.5), (20, 0.51), (150, 0.9), (7, 1.0), (7, 0.0)]
)
@pytest.mark.parametrize("wide", [False, True])
def test_binomial_numbers(n, p, wide, request):
    if wide:
        request.getfixturevalue("x64")
    keys, most = jax.random.split(jax.random.key(5), 20_000), max(20, n)
    counts = np.asarray(jax.jit(jax.vmap(lambda key: bs.binomial_of(key, n, p, most)))(keys))
    law = stats.binom(n, p)
    assert set(np.unique(counts)) <= set(range(n + 1))
    at = np.arange(n)
    expected = law.cdf(at)
    off = (counts[:, None] <= at).mean(0) - expected
    assert np.all(np.abs(off) <= 4.5 * np.sqrt(expected * (1 - expected) / len(keys)) + 1e-4)


def test_trials_are_whole_and_bounded():
    key = jax.random.key(0)
    for n in (2.5, -1.0, 21.0, np.nan):
        assert np.isnan(bs.binomial_of(key, n, 0.3, 20))


class TakesAChance(bs.Plasticity):
    """A weight goes up by 1 with probability p at a presynaptic spike, down by `down` at a postsynaptic one."""

    p, down = bs.param(0.3), bs.param(0.0)

    def on_pre(self, key):
        return dict(w=1.0 * (bs.uniform_of(key) < self.p))

    def on_post(self, key):
        return dict(w=-self.down * (bs.uniform_of(key) < self.p))


def circuit(more=False, delay=1.5, seed=4):
    """Both kinds of edges that draw: synapses, and rules, here of the same and of other projections."""
    net = bs.Network(seed=seed)
    if more:
        others = net.add("x", LIF(), 7)
        net.connect(bs.poisson(50.0), others, ExpCurrent(), weight=1.0, name="noise")
    a, b = net.add("a", SpikeSource(), 12), net.add("b", LIF(), 9)
    net.connect(a, b, Draws(), bs.fixed_probability(0.7), weight=1.0, delay=delay, name="d")
    kept = dict(plasticity=TakesAChance(down=0.25), bounds=bs.unbounded())
    net.connect(a, b, FewSites(), bs.all_to_all(), weight=300.0, delay=delay, name="s", **kept)
    return net


RECORD = ["d.first", "d.second", "d.count", "s.full", "s.w", "s.i"]
INPUTS = {"a.spikes": pairing.as_input(pairing.trains(np.random.default_rng(8), 12, 190, 15), DT)}
DELAYS = {"one": 1.5, "none": 0.0, "each": bs.uniform(0.5, 4.0)}


def values(result):
    return {n: np.asarray(result.traces[n].values) for n in RECORD}


@pytest.mark.parametrize("delay", DELAYS)
@pytest.mark.parametrize("wide", [False, True])
def test_both_forms_have_the_same_bits(wide, delay, request):
    """By events (edges of cells that spike) and clock-driven (every edge in every step)."""
    if wide:
        request.getfixturevalue("x64")
    sim = circuit(delay=DELAYS[delay]).compile(dt=DT, record=[*RECORD, "b.spikes"], strict=False)
    assert keeps_lists(sim.program) and all(block.rests for block in sim.program.edge_blocks)
    events = sim.run(100.0, inputs=INPUTS)
    clock = jax.jit(lambda key: sim.run(100.0, inputs=INPUTS, key=key))(np.uint32(0))
    made, other = values(events), values(clock)
    for name in RECORD[:-1]:
        np.testing.assert_array_equal(made[name], other[name])
    np.testing.assert_allclose(made["s.i"], other["s.i"], rtol=1e-12 if wide else 1e-5, atol=1e-9 if wide else 1e-3)
    assert len(events["b"]) > 20 and np.ptp(made["s.w"]) > 3.0


def test_the_key_is_that_of_projection_step_and_edge(x64):
    sim = circuit(delay=0.0).compile(dt=DT, record="d.first")
    drawn = np.asarray(sim.run(5.0, inputs={"a.spikes": bs.spike_train([2.0])})["d.first"])[-1]
    words = bs.ops.random.bits(bs.ops.random.key_of(4, "d/on_pre"), 4, len(drawn))
    np.testing.assert_array_equal(drawn, np.asarray(words[0] >> 1) / 2.0**31)


def test_nothing_else_changes_the_numbers(x64):
    """Not recorders, not other populations, not the division of a run into parts; but the seed and the key do."""
    run = lambda sim, **how: values(sim.run(60.0, inputs=INPUTS, **how))
    sim, state, parts = circuit().compile(dt=DT, record=RECORD), None, []
    whole = run(sim)
    more = circuit(more=True).compile(dt=DT, record=[*RECORD, "x.v", "b.spikes", "s.u", "s.last"])
    for name, other in run(more).items():
        np.testing.assert_array_equal(other, whole[name])
    for duration in (10.0, 0.5, 24.5, 25.0):
        result = sim.run(duration, inputs=INPUTS, state=state)
        state, parts = result.state, [*parts, values(result)]
    for name in RECORD:
        np.testing.assert_array_equal(np.concatenate([p[name] for p in parts]), whole[name])
    for name, other in run(sim, key=1).items():
        assert np.any(other[-1] != whole[name][-1])
    assert np.any(run(circuit(seed=5).compile(dt=DT, record=RECORD))["s.full"][-1] != whole["s.full"][-1])


def test_batches_are_their_runs(x64):
    sim = circuit().compile(dt=DT, record=RECORD)
    keys = np.arange(3, dtype=np.uint32)
    batch = jax.vmap(lambda key: sim.run(40.0, inputs=INPUTS, key=key).traces["s.full"].values)(keys)
    for key in keys:
        np.testing.assert_array_equal(batch[key], sim.run(40.0, inputs=INPUTS, key=int(key))["s.full"])
    assert np.any(batch[0] != batch[1])


def test_a_rule_that_takes_a_chance(x64):
    """Each edge changes at each spike with probability p, independently of the others and of earlier spikes."""
    net, p, spikes = bs.Network(seed=2), 0.3, 25
    a, b = net.add("a", SpikeSource(), 60), net.add("b", SpikeSource(), 50)
    learns = dict(plasticity=TakesAChance(p=p, down=1e3), bounds=bs.unbounded())
    net.connect(a, b, TsodyksMarkramCurrent(), bs.all_to_all(), weight=0.0, name="r", **learns)
    sim = net.compile(dt=DT, record=bs.trace("r.w", every=2.0))
    inputs = {"a.spikes": bs.spike_train(2.0 * np.arange(1, 26) - 0.5), "b.spikes": bs.spike_train([45.0])}
    w = np.asarray(sim.run(50.0, inputs=inputs)["r.w"])
    ups = np.diff(np.concatenate([np.zeros((1, 3000)), w]), axis=0)
    down = ups[22] < -1.5
    ups[22] += 1e3 * down
    assert set(np.unique(ups)) == {0.0, 1.0} and ups.shape == (spikes, 3000)
    assert abs(ups.mean() - p) < 5 * np.sqrt(p * (1 - p) / ups.size)
    assert abs(down.mean() - p) < 5 * np.sqrt(p * (1 - p) / 3000)
    totals = ups.sum(0)  # binomial only if the spikes of an edge are independent, and the sums over edges if those are
    assert abs(totals.var() / (spikes * p * (1 - p)) - 1) < 5 * np.sqrt(2 / 3000)
    between = np.corrcoef(np.concatenate([ups, down[None]]))
    assert np.abs(between - np.eye(len(between))).max() < 5 / np.sqrt(3000)
    neighbours = np.corrcoef(ups[:, :-1].ravel(), ups[:, 1:].ravel())[0, 1]
    assert abs(neighbours) < 5 / np.sqrt(ups.size)


class ChanceTag(bs.Plasticity):
    """An eligibility that a presynaptic spike sets by chance, decays, and moves the weight under a modulator."""

    tau_tag = bs.param(30.0, "ms")
    modulator = bs.input("1/ms")
    tag = bs.state(0.0, on="edge")

    def dtag(self, tag):
        return -tag / self.tau_tag

    def dw(self, tag, modulator):
        return modulator * tag

    def on_pre(self, key, tag):
        return dict(tag=(1.0 - tag) * (bs.uniform_of(key) < 0.4))


def test_edges_that_rest_draw_the_same(x64):
    """By propagators since the last spike, or in every step."""
    net = bs.Network(seed=9)
    a, b = net.add("a", SpikeSource(), 12), net.add("b", LIF(), 9)
    learns = dict(plasticity=ChanceTag(), bounds=bs.unbounded())
    net.connect(a, b, ExpCurrent(), bs.all_to_all(), weight=100.0, name="r", delay=1.0, **learns)
    sim = net.compile(dt=DT, record=["r.w", "r.tag"])
    inputs = {**INPUTS, "r.modulator": 0.2}
    events, clock = sim.run(90.0, inputs=inputs), jax.jit(lambda: sim.run(90.0, inputs=inputs))()
    assert np.ptp(np.asarray(events["r.w"])[-1]) > 1.0
    for name in ("r.w", "r.tag"):
        np.testing.assert_allclose(events[name], clock.traces[name].values, rtol=1e-10, atol=1e-12)


def test_edges_that_rewire_draw(x64):
    """An edge that has moved draws with the key of its new place; parts of a run equal the whole."""
    net = bs.Network(seed=9)
    a, b = net.add("a", SpikeSource(), 12), net.add("b", LIF(), 9)
    learns = dict(plasticity=TakesAChance(), bounds=bs.unbounded(), rewiring=bs.rewiring(every=20.0, fraction=0.2))
    net.connect(a, b, ExpCurrent(), bs.fixed_probability(0.5), weight=1.0, name="r", **learns)
    sim = net.compile(dt=DT, record="r.w")
    whole = np.asarray(sim.run(90.0, inputs=INPUTS)["r.w"])
    first = sim.run(50.0, inputs=INPUTS)
    np.testing.assert_array_equal(sim.run(40.0, inputs=INPUTS, state=first.state)["r.w"], whole[100:])
    assert np.ptp(whole[-1]) > 2.0 and np.all(whole[-1] == np.rint(whole[-1]))
