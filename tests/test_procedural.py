"""Procedural projections in a network: the same spikes as stored edges, gradients, delays, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainsim as bs
from brainsim.errors import ConnectError, ParameterError
from brainsim.models import LIF, Delta, ExpConductance, ExpCurrent

RULES = (
    bs.fixed_probability(0.05, autapses=False),
    bs.fixed_indegree(12),
    bs.fixed_outdegree(15, autapses=False),
    bs.fixed_total_number(3000),
)
N_EXC, N_INH = 160, 40


def cells(net, n_exc=N_EXC, n_inh=N_INH):
    exc = net.add("exc", LIF(tau=20.0, v_rest=-60.0, v_th=-50.0, v_reset=-60.0, t_ref=5.0, R=1.0), n_exc)
    return exc, net.add("inh", exc.model, n_inh)


def procedural_net(rule, weight, delay):
    """Two populations; a projection within one, one to a slice, one from a slice."""
    net = bs.Network(seed=4)
    exc, inh = cells(net)
    send = lambda pre, post, synapse, w, name: net.connect(
        pre, post, synapse, bs.procedural(rule), weight=w, delay=delay, name=name
    )
    send(exc, exc, ExpConductance(tau=5.0, E=0.0), weight, "ee")
    send(exc, inh[5:35], ExpConductance(tau=5.0, E=0.0), 0.9, "ei")
    send(inh[10:], exc, ExpConductance(tau=10.0, E=-80.0), 8.0, "ie")
    net.init("*.v", bs.normal(-55.0, 3.0))
    return net


def stored_net(source, dt):
    """The same network with the edges of the other one stored."""
    net = bs.Network(seed=4)
    cells(net)
    for p in source.projections.values():
        edges = p.edges_at(dt)
        more = {} if edges.weight is not None else {"weight": p.weight}
        more |= {} if edges.delay is not None else {"delay": p.delay}
        rule = bs.from_edges(edges.pre, edges.post, weight=edges.weight, delay=edges.delay)
        net.connect(p.pre.name, p.post.name, p.synapse, rule, name=p.name, **more)
    net.init("*.v", bs.normal(-55.0, 3.0))
    return net


def spikes_of(net, ms=60.0):
    result = net.compile(dt=0.1, record=["*.spikes"]).run(ms, inputs={"*.I": 20.0})
    return np.concatenate([[*result.spikes[k].times, *result.spikes[k].indices] for k in ("exc", "inh")])


@pytest.mark.parametrize("rule, weight, delay", [
    (RULES[0], bs.normal(0.7, 0.1), bs.normal(1.5, 0.75, low=0.1)),
    (RULES[1], 0.7, 0.0),
    (RULES[2], 0.7, bs.uniform(0.5, 2.0)),
    (RULES[3], bs.normal(0.7, 0.1), bs.choice([1.0, 3.0], p=[0.25, 0.75])),
])  # fmt: skip
def test_spikes_are_those_of_stored_edges(rule, weight, delay):
    """Bit for bit: the same edges, added in the same order."""
    net = procedural_net(rule, weight, delay)
    ours, theirs = spikes_of(net), spikes_of(stored_net(net, 0.1))
    assert len(ours) > 200
    np.testing.assert_array_equal(ours, theirs)


def test_edges_have_the_degrees_of_the_rule():
    net = procedural_net(RULES[1], 0.7, 0.0)
    edges = net["ei"].edges
    assert set(edges.in_degree[5:35]) == {12} and edges.in_degree.sum() == net["ei"].n_edges == 360
    net = procedural_net(RULES[2], 0.7, 0.0)
    assert set(net["ie"].edges.out_degree[10:]) == {15} and net["ie"].edges.out_degree[:10].sum() == 0
    assert not np.any(net["ee"].edges.pre == net["ee"].edges.post)
    assert len(procedural_net(RULES[3], 0.7, 0.0)["ee"].edges) == 3000
    net = procedural_net(RULES[0], 0.7, 0.0)
    expected, sd = 0.05 * 160 * 159, np.sqrt(0.05 * 0.95 * 160 * 159)
    assert net["ee"].n_edges == round(expected)
    assert abs(len(net["ee"].edges) - expected) < 5 * sd and not net["ee"].edges.duplicates


def test_normal_weights_and_delays():
    net = procedural_net(RULES[2], bs.normal(0.7, 0.1), bs.normal(1.5, 0.75, low=0.1))
    edges = net["ee"].edges_at(0.1)
    n = len(edges)
    assert abs(edges.weight.mean() - 0.7) < 5 * 0.1 / np.sqrt(n) and abs(edges.weight.std() - 0.1) < 0.1 * 5 / np.sqrt(
        2 * n
    )
    drawn = bs.normal(1.5, 0.75, low=0.1).sample(np.random.default_rng(0), 100_000)
    assert edges.delay.min() >= 0.1 - 1e-9 and abs(edges.delay.mean() - drawn.mean()) < 5 * drawn.std() / np.sqrt(n)
    assert abs(edges.delay.std() - drawn.std()) < 0.05 * drawn.std()
    with pytest.raises(ConnectError, match="edges_at"):
        _ = net["ee"].edges


def smooth_sim(weight, rule=RULES[0]):
    net = bs.Network(seed=2)
    exc, inh = cells(net, 60, 20)
    net.connect(exc, [exc, inh], ExpCurrent(tau=5.0), bs.procedural(rule), weight=weight, delay=0.5)
    net.init("*.v", bs.uniform(-58.0, -50.5))
    return net.compile(dt=0.5, record=["*.v"], smooth=True)


def test_gradient_by_the_parameters_of_the_weights():
    """Against finite differences of the smooth network, in float64."""
    with jax.enable_x64(True):
        sim = smooth_sim(bs.normal(30.0, 5.0))
        assert sim.params["exc->exc.weight.mean"] == 30.0 and sim.params["exc->inh.weight.sd"] == 5.0

        def loss(params):
            result = sim.run(12.0, params=params, inputs={"*.I": 12.0})
            return jnp.mean(result.traces["inh.v"].values ** 2) + jnp.mean(result.traces["exc.v"].values)

        names = ("exc->exc.weight.mean", "exc->inh.weight.sd", "exc->inh.weight.mean")
        at = {name: jnp.asarray(sim.params[name]) for name in names}
        gradient, f, h = jax.jit(jax.grad(loss))(at), jax.jit(loss), 1e-4
        for name in names:
            up, down = (f({**at, name: at[name] + sign * h}) for sign in (1, -1))
            np.testing.assert_allclose(gradient[name], (up - down) / (2 * h), rtol=1e-4, atol=1e-9)
            assert abs(gradient[name]) > 1e-6


def test_gradient_is_that_of_stored_edges():
    """Through spikes with a surrogate, by a scalar weight and by a parameter of the cells."""
    net = procedural_net(bs.fixed_outdegree(9), 0.9, 0.5)
    found = []
    for n in (net, stored_net(net, 0.1)):
        sim = n.compile(dt=0.1, record=["exc.v"])

        def loss(params, sim=sim):
            return jnp.mean(sim.run(8.0, params=params, inputs={"*.I": 25.0}).traces["exc.v"].values)

        names = ("ee.weight", "ie.weight", "exc.tau")
        found.append(jax.jit(jax.grad(loss))({k: jnp.asarray(sim.params[k]) for k in names}))
    for name, value in found[0].items():
        assert value != 0.0
        np.testing.assert_allclose(value, found[1][name], rtol=2e-3)


def test_trials_in_a_batch_and_runs_in_parts():
    sim = procedural_net(RULES[0], bs.normal(0.7, 0.1), bs.uniform(0.5, 2.0)).compile(dt=0.1, record=["exc.v"])
    run = lambda mean: sim.run(5.0, params={"ee.weight.mean": mean}, inputs={"*.I": 20.0}).traces["exc.v"].values
    together = jax.vmap(run)(jnp.array([0.5, 0.9]))
    for mean, values in zip((0.5, 0.9), together):
        np.testing.assert_allclose(values, run(mean), rtol=1e-5)
    whole = sim.run(8.0, inputs={"*.I": 20.0})
    first = sim.run(3.0, inputs={"*.I": 20.0})
    second = sim.run(5.0, state=first.state, inputs={"*.I": 20.0})
    joined = np.concatenate([first.traces["exc.v"].values, second.traces["exc.v"].values])
    np.testing.assert_array_equal(joined, whole.traces["exc.v"].values)


def test_edges_depend_on_seed_and_name_only():
    def edges(seed, more):
        net = bs.Network(seed=seed)
        exc, inh = cells(net)
        if more:
            net.connect(inh, exc, ExpCurrent(), bs.procedural(RULES[1]), weight=1.0)
        return net.connect(exc, inh, ExpCurrent(), bs.procedural(RULES[2]), weight=1.0).edges.post

    np.testing.assert_array_equal(edges(1, False), edges(1, True))
    assert np.mean(edges(1, False) == edges(2, False)) < 0.9


def test_words_about_it():
    net = procedural_net(RULES[0], bs.normal(0.7, 0.1), 1.5)
    assert "about" in repr(net["ee"]) and "fixed_probability" in repr(net["ee"])
    text = net.compile(dt=0.1).explain()
    assert "not stored" in text and "drawn again whenever it spikes" in text and "after 1.5 ms" in text
    assert "normal(0.7, 0.1)" in net._repr_html_()


def test_a_billion_edges_need_no_memory():
    """Compiling 1e9 edges makes no array of their number; asking for them as arrays is refused."""
    net = bs.Network()
    exc, _ = cells(net, 1_000_000, 1)
    net.connect(exc, exc, ExpCurrent(), bs.procedural(bs.fixed_outdegree(1000)), weight=0.1)
    sim = net.compile(dt=0.1)
    assert net["exc->exc"].n_edges == 10**9
    assert sum(x.nbytes for x in jax.tree.leaves((sim.topology, sim.params))) < 10_000_000
    with pytest.raises(ConnectError, match="free"):
        _ = net["exc->exc"].edges


class Plastic(ExpCurrent):
    """A synapse with a state on its edges."""

    x = bs.state(1.0, on="edge", jump=True)

    def on_pre(self, w, x):
        return {"i": w * x, "x": 0.1}


class Offset(ExpCurrent):
    """An increment that is not in proportion to the weight."""

    more = bs.const(1.0, "pA")

    def on_pre(self, w):
        return {"i": w + self.more}


def connecting(rule=RULES[0], synapse=None, weight=1.0, delay=0.0, part=slice(None)):
    net = bs.Network()
    exc, inh = cells(net)
    return net.connect(
        exc[part] if part != slice(None) else exc,
        inh,
        synapse or ExpCurrent(),
        bs.procedural(rule),
        weight=weight,
        delay=delay,
    )


@pytest.mark.parametrize("error, match, make", [
    (ConnectError, "cannot be drawn again on its own", lambda: bs.procedural(bs.one_to_one())),
    (ConnectError, "cannot be drawn again on its own", lambda: bs.procedural(bs.from_edges([0], [1]))),
    (ConnectError, "pairs can repeat", lambda: bs.procedural(bs.fixed_outdegree(3, multapses=False))),
    (ConnectError, "dealt to all sources alike", lambda: bs.procedural(bs.fixed_indegree(3, autapses=False))),
    (ConnectError, "keep no values", lambda: connecting(weight=np.ones(10))),
    (ConnectError, "keep no values", lambda: connecting(weight=None)),
    (ConnectError, "keep no values", lambda: connecting(delay=lambda d: d)),
    (ConnectError, "number or normal", lambda: connecting(weight=bs.lognormal(1.0, 0.5))),
    (ConnectError, "cut by its limits", lambda: connecting(weight=bs.normal(1.0, 0.5, low=0.0))),
    (ConnectError, "give low=0", lambda: connecting(delay=bs.normal(1.0, 0.5))),
    (ConnectError, "evaluated on every edge", lambda: connecting(synapse=Plastic())),
    (ConnectError, "not in proportion to w", lambda: connecting(synapse=Offset(), weight=bs.normal(1.0, 0.1))),
    (ConnectError, "one value per target", lambda: connecting(synapse=ExpCurrent(tau=np.full(160, 5.0)))),
    (ConnectError, "has gaps", lambda: connecting(part=slice(0, 100, 2))),
    (ParameterError, "weight", lambda: connecting(synapse=ExpConductance(), weight=-1.0)),
])  # fmt: skip
def test_refusals(error, match, make):
    with pytest.raises(error, match=match):
        make()


def test_one_weight_may_enter_in_any_way():
    """Without spread of the weights, an increment need not be in proportion to them."""
    net = bs.Network()
    exc, inh = cells(net, 30, 10)
    net.connect(exc, inh, Offset(), bs.procedural(bs.fixed_indegree(3)), weight=0.5)
    net.connect(exc, inh, Delta(), bs.procedural(bs.fixed_indegree(3)), weight=0.1, name="delta")
    sim = net.compile(dt=0.1, record=["inh.v"])
    assert np.isfinite(sim.run(2.0, inputs={"exc.I": 40.0}).traces["inh.v"].values).all()
