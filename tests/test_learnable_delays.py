"""Delays that are parameters: against a dense loop, ordinary projections with rounded delays, and finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from samples import Count, Depressing, Fire, Kick, Leak, Probe, Pulse, Saturating
from support import finite_difference

import brainsim as bs
from brainsim import models
from brainsim.design import Design
from brainsim.errors import CompileError, ConnectError, NonFiniteError, ParameterError, UnknownNameError
from brainsim.learnable_delays import learnable_delay, round_delays

DT = 0.1
GRADED = models.GradedSynapse(v_th=0.5, beta=3.0, g=1.0, E=3.0)


SYNAPSES = [Kick(), Saturating(), *(pytest.param(s, marks=pytest.mark.slow) for s in (Pulse(), Depressing()))]


def name_of(synapse):
    return type(synapse).__name__


class Copy(bs.Synapse):
    """Current w x of the source."""

    w = bs.weight()

    def output(self, x_pre):
        return dict(y=x_pre)

    def current(self, y):
        return y


def spiking(delay, synapse, **more):
    """Five cells that fire, onto a part of four others, and back without a learnable delay."""
    net = bs.Network(seed=1)
    a, b = net.add("a", Fire(th=0.6), 5), net.add("b", Fire(), 4)
    rule = bs.fixed_probability(0.7)
    net.connect(a[1:], b, synapse, rule, weight=bs.uniform(0.5, 1.5), delay=delay, name="p", **more)
    net.connect(b, a[:3], Kick(), rule, weight=0.2, delay=bs.uniform(0.0, 1.0), name="back")
    net.init("a.v", bs.uniform(0.0, 1.0))
    return net


DRIVE = {"a.I": bs.sine(2.0, 50.0)}


def compiled(net, **more):
    return net.compile(dt=DT, record=["a.v", "b.v", "b.spikes"], **more)


# --- what arrives


@pytest.mark.parametrize("kernel", ["gaussian", "linear"])
def test_what_a_spike_brings_to_every_step(kernel, x64):
    """A counter rises by w kernel(k dt - d) in the step k dt after the spike; compared with the formula itself."""
    fired, delays, weights, longest, width = [3, 4, 11], [0.0, 0.23, 0.77, 1.0], [1.0, -2.0, 0.5, 3.0], 1.0, 0.17
    net = bs.Network()
    net.add("s", models.SpikeSource(), 1)
    net.add("t", Leak(), 4)
    more = {"width": width} if kernel == "gaussian" else {}
    net.connect(
        "s",
        "t",
        Count(),
        bs.all_to_all(),
        weight=weights,
        delay=learnable_delay(delays, longest, kernel, **more),
        name="p",
    )
    found = net.run(4.0, DT, record="p.c", inputs={"s.spikes": bs.spike_train(np.array(fired) * DT)})
    expected = np.zeros((40, 4))
    for j, (d, w) in enumerate(zip(delays, weights)):
        lags = np.arange(11) * DT
        k = (
            np.exp(-0.5 * ((lags - d) / width) ** 2)
            if kernel == "gaussian"
            else np.maximum(0, 1 - np.abs(lags - d) / DT)
        )
        for s in fired:
            expected[s : s + 11, j] += w * k / k.sum()
    np.testing.assert_allclose(found["p.c"], np.cumsum(expected, axis=0), atol=1e-12)


def test_continuous_signals_are_interpolated(x64):
    """Exact for a source that is linear in time; before the run sources were as at its start."""
    net, delays = bs.Network(), np.array([0.0, 0.034, 0.51, 1.2])
    net.add("s", Probe(), 1, method="euler")
    net.add("t", Probe(), 4, method="euler")
    net.connect(
        "s",
        "t",
        Copy(),
        bs.all_to_all(),
        weight=[1.0, 2.0, 3.0, 4.0],
        delay=learnable_delay(delays, 1.25, "linear"),
        name="p",
    )
    sim = net.compile(dt=DT, record=["s.x", "t.x"])
    ramp = {"s.I": bs.array(np.arange(60) * DT + DT, DT)}  # s.x = t
    for found in (sim.run(6.0, inputs=ramp), jax.jit(lambda p: sim.run(6.0, params=p, inputs=ramp))(sim.params)):
        seen = np.arange(60)[:, None] * DT - delays
        np.testing.assert_allclose(found["t.x"], np.maximum(seen, 0.0) * [1, 2, 3, 4], atol=1e-12)
    moved = sim.run(6.0, params={"p.delay": 0.77}, inputs=ramp)["t.x"][-1]  # one number for all edges
    np.testing.assert_allclose(moved, (5.9 - 0.77) * np.array([1, 2, 3, 4]), atol=1e-12)


@pytest.mark.parametrize("kernel", ["gaussian", "linear"])
@pytest.mark.parametrize("synapse", SYNAPSES, ids=name_of)
def test_rounded_is_an_ordinary_projection(kernel, synapse, x64):
    """Bit for bit, on the host and traced, in one run and in two."""
    more = {"width": 0.4} if kernel == "gaussian" else {}
    sim = compiled(spiking(learnable_delay(bs.uniform(0.0, 2.0), 2.0, kernel, **more), synapse))
    drawn = sim.network["p"].delay
    plain = compiled(spiking(np.rint(drawn / DT) * DT, synapse))
    params, expected = round_delays(sim), plain.run(30.0, inputs=DRIVE)["b.v"]
    assert np.abs(expected).max() > 0.5
    np.testing.assert_array_equal(sim.run(30.0, params=params, inputs=DRIVE)["b.v"], expected)
    np.testing.assert_array_equal(jax.jit(lambda p: sim.run(30.0, params=p, inputs=DRIVE)["b.v"])(params), expected)
    first = sim.run(17.0, params=params, inputs=DRIVE)
    second = sim.run(13.0, params=params, inputs=DRIVE, state=first.state)
    np.testing.assert_array_equal(np.concatenate([first["b.v"], second["b.v"]]), expected)
    wide = sim.run(30.0, inputs=DRIVE)["b.v"]
    assert np.abs(wide - expected).max() > 1e-3
    np.testing.assert_allclose(
        jax.jit(lambda p: sim.run(30.0, params=p, inputs=DRIVE)["b.v"])(sim.params), wide, atol=1e-12
    )


def test_rounded_graded_coupling_is_an_ordinary_one(x64):
    """Also beside delays that are summed in windows."""

    def make(delay):
        net = spiking(delay, GRADED)
        net.connect("a", "b", GRADED, bs.all_to_all(), weight=0.1, delay=1.5, name="far")
        return net

    drawn = np.random.default_rng(0).uniform(0.1, 2.0, len(make(1.0)["p"].edges))
    windows = Design(levels=(4, 8))
    delays = learnable_delay(drawn, 2.0, "linear"), np.rint(drawn / DT) * DT
    sim, plain = (compiled(make(d), design=windows) for d in delays)
    assert sim.program.levels == (4, 8)
    expected = plain.run(20.0, inputs=DRIVE)["b.v"]
    np.testing.assert_allclose(sim.run(20.0, params=round_delays(sim), inputs=DRIVE)["b.v"], expected, atol=1e-12)
    assert np.abs(sim.run(20.0, inputs=DRIVE)["b.v"] - expected).max() > 1e-6


def test_projections_side_by_side_add_up(x64):
    """Two kernels, an ordinary projection and a scalar delay onto one population: the sum of single networks."""
    kinds = {
        "g": learnable_delay(bs.uniform(0.0, 2.0), 2.0, width=0.3),
        "l": learnable_delay(bs.uniform(0.0, 1.0), 1.0, "linear"),
        "one": learnable_delay(0.44, 3.0, width=0.1),
        "plain": bs.uniform(0.0, 1.0),
    }

    def run(names):
        net = bs.Network(seed=3)
        net.add("s", models.PoissonSource(rate=200.0), 20)
        net.add("t", Leak(), 10)
        for name in names:
            net.connect("s", "t", Pulse(), bs.fixed_probability(0.3), weight=1.0, delay=kinds[name], name=name)
        return net.run(20.0, DT, record="t.v")["t.v"]

    np.testing.assert_allclose(run(kinds), sum(run([name]) for name in kinds), atol=1e-12)


# --- derivatives


@pytest.mark.parametrize("kernel", ["gaussian", "linear"])
@pytest.mark.parametrize("synapse", [*SYNAPSES, GRADED], ids=name_of)
def test_derivatives_are_finite_differences(kernel, synapse, x64):
    """By delay, width and weight, forward and reverse, of smooth spikes."""
    more = {"width": 0.3} if kernel == "gaussian" else {}
    net = spiking(learnable_delay(bs.uniform(0.0, 2.0), 2.0, kernel, **more), synapse)
    sim = compiled(net, smooth=True, surrogate=bs.Surrogate("sigmoid", 0.2))
    loss = jax.jit(lambda p: jnp.sum(sim.run(4.0, params=p, inputs=DRIVE)["b.v"] ** 2))
    at = {k: sim.params[k] for k in ("p.delay", "p.weight", "p.delay_width") if k in sim.params}
    reverse, forward = jax.jit(jax.grad(loss))(at), jax.jit(lambda push: jax.jvp(loss, (at,), (push,))[1])
    rng = np.random.default_rng(0)
    for key in at:
        push = {k: jnp.asarray(rng.normal(size=v.shape)) * (k == key) for k, v in at.items()}
        expected = finite_difference(loss, at, push, 1e-6)
        assert abs(expected) > 1e-6
        np.testing.assert_allclose(float(jnp.sum(reverse[key] * push[key])), expected, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(float(forward(push)), expected, rtol=1e-6, atol=1e-9)


def test_at_the_bounds_derivatives_are_one_sided(x64):
    """A delay of 0, one on the grid and the longest one: neither halved nor nan."""
    net = bs.Network()
    net.add("s", Probe(), 1, method="euler")
    net.add("t", Probe(), 3, method="euler")
    net.connect(
        "s", "t", Copy(), bs.all_to_all(), weight=1.0, delay=learnable_delay([0.0, 0.5, 1.0], 1.0, "linear"), name="p"
    )
    sim = net.compile(dt=DT, record="t.x")
    ramp = {"s.I": bs.array(np.arange(30) * DT + DT, DT)}
    last = lambda d: sim.run(3.0, params={"p.delay": d}, inputs=ramp)["t.x"][-1]
    np.testing.assert_allclose(jax.jit(jax.jacrev(last))(sim.params["p.delay"]), -np.eye(3), atol=1e-12)


@pytest.mark.parametrize("kernel", [pytest.param("gaussian", marks=pytest.mark.slow), "linear"])
def test_vmap_and_values_need_no_new_program(kernel, x64):
    more = {"width": 0.4} if kernel == "gaussian" else {}
    sim = compiled(spiking(learnable_delay(bs.uniform(0.0, 2.0), 2.0, kernel, **more), Pulse()))

    def loss(delay, width):
        params = {"p.delay": delay, **({"p.delay_width": width} if more else {})}
        return jnp.sum(sim.run(3.0, params=params, inputs=DRIVE)["b.v"] ** 2)

    scales, widths = jnp.array([[0.0], [0.5], [0.9]]), jnp.array([0.0, 0.1, 0.5])
    delays, both = scales * sim.params["p.delay"][None, :], jax.jit(jax.value_and_grad(loss))
    batched, single = jax.jit(jax.vmap(both))(delays, widths), [both(d, w) for d, w in zip(delays, widths)]
    np.testing.assert_allclose(batched[0], [v for v, _ in single], rtol=1e-12)
    np.testing.assert_allclose(batched[1], jnp.stack([g for _, g in single]), rtol=1e-9, atol=1e-12)
    assert np.isfinite(batched[1]).all()
    for d in delays:
        sim.run(3.0, params={"p.delay": d}, inputs=DRIVE)
    assert sim.n_traces == 1


# --- what is refused


@pytest.mark.parametrize(
    "given, problem",
    [
        (dict(initial=1.0, longest=0.0, width=1.0), "leaves nothing to learn"),
        (dict(initial=1.0, longest=np.inf, width=1.0), "finite"),
        (dict(initial=1.0, longest=[1.0, 2.0], width=1.0), "one finite number"),
        (dict(initial=1.0, longest=2.0), "no width"),
        (dict(initial=1.0, longest=2.0, width=-0.1), "negative"),
        (dict(initial=1.0, longest=2.0, kernel="linear", width=1.0), "leave width= out"),
        (dict(initial=1.0, longest=2.0, kernel="gauss", width=1.0), "did you mean 'gaussian'"),
    ],
)
def test_impossible_descriptions(given, problem):
    with pytest.raises(ParameterError, match=problem):
        learnable_delay(**given)


def test_impossible_connections():
    ok = learnable_delay(1.0, 2.0, width=0.5)
    for delay, error, problem in [
        (learnable_delay(2.5, 2.0, width=0.5), ParameterError, "2.5 ms is outside"),
        (learnable_delay(bs.uniform(-1.0, 1.0), 2.0, "linear"), ParameterError, "is outside 0 ... longest = 2 ms"),
        (learnable_delay([1.0, 2.0], 2.0, "linear"), ParameterError, "values|shape"),
    ]:
        with pytest.raises(error, match=problem):
            spiking(delay, Pulse())
    with pytest.raises(ConnectError, match="plasticity"):
        spiking(ok, Pulse(), plasticity=models.STDP())
    with pytest.raises(ConnectError, match="rewire"):
        spiking(ok, Pulse(), rewiring=bs.rewiring(every=10.0, fraction=0.1))
    net = spiking(ok, Pulse())
    connect = lambda pre, rule, **more: net.connect(pre, "b", Pulse(), rule, weight=1.0, delay=ok, name="x", **more)
    with pytest.raises(ConnectError, match="procedural"):
        connect("a", bs.procedural(bs.fixed_probability(0.5)))
    with pytest.raises(ConnectError, match="drive"):
        connect(bs.poisson(5.0), None)
    with pytest.raises(ConnectError, match="the rule carries a delay"):
        connect("a", bs.from_edges([0], [1], delay=[1.0]))
    net = spiking(learnable_delay(0.01, 0.05, "linear"), Pulse())
    with pytest.raises(CompileError, match=r"longest = 0.05 ms is below dt = 0.1 ms"):
        net.compile(dt=DT)


def test_impossible_parameters():
    sim = compiled(spiking(learnable_delay(1.0, 2.0, width=0.5), Pulse()))
    for params, problem in [
        ({"p.delay": 2.1}, "p.delay"),
        ({"p.delay": -0.1}, "p.delay"),
        ({"p.delay": np.nan}, "p.delay"),
        ({"p.delay": [1.0, 2.0]}, "p.delay has shape"),
        ({"p.delay_width": -1e-3}, "p.delay_width"),
        ({"p.delay_width": [1.0, 1.0]}, "p.delay_width has shape"),
    ]:
        with pytest.raises(ParameterError, match=problem):
            sim.run(1.0, params=params)
    with pytest.raises(UnknownNameError, match="learnable_delay"):
        sim.run(1.0, params={"back.delay": 1.0})
    traced = jax.jit(lambda d: sim.run(5.0, params={"p.delay": d}, inputs=DRIVE).traces["b.v"].values)
    assert np.isfinite(traced(2.0)).all() and np.isnan(traced(2.1)).any(), (
        "a traced value cannot be refused, nor clipped"
    )
    sim.network.derive("p.delay", lambda p: p["p.delay_width"] + 1.7)
    with pytest.raises(NonFiniteError):
        sim.network.run(10.0, DT, inputs=DRIVE, reset=True)


def test_explained_and_listed():
    net = spiking(learnable_delay(bs.uniform(0.0, 2.0), 2.0, width=0.5), Pulse())
    net.connect("a", "b", GRADED, bs.all_to_all(), weight=1.0, delay=learnable_delay(1.0, 3.0, "linear"), name="g")
    net.connect(
        "a", "b", Saturating(), bs.all_to_all(), weight=1.0, delay=learnable_delay(1.0, 3.0, "linear"), name="e"
    )
    sim = compiled(net)
    text = str(sim.explain())
    assert "learnable delays of 0 ... 2 ms, a Gaussian over 21 lags" in text
    assert text.count("learnable delays of 0 ... 3 ms, interpolated between two steps") == 2
    assert {"p.delay", "p.delay_width", "g.delay", "e.delay"} <= set(sim.params)
    assert "g.delay_width" not in sim.params and "back.delay" not in sim.params
    assert "learnable" in repr(net["p"]) and "learnable" not in repr(net["back"])


def test_a_planted_delay_is_recovered(x64):
    """From voltages, by gradient descent on the delays while the width shrinks: all within one step."""
    import optax

    rng, dt = np.random.default_rng(4), 1.0
    net = bs.Network(seed=4)
    net.add("s", models.SpikeSource(), 6)
    net.add("t", Leak(tau=3.0), 2)
    initial = learnable_delay(7.0, 14.0, width=4.0)
    net.connect("s", "t", Pulse(tau=2.0), bs.all_to_all(), weight=rng.uniform(0.5, 1.5, 12), delay=initial, name="p")
    sim = net.compile(dt=dt, record="t.v")
    steps, cells = np.nonzero(rng.random((300, 6)) < 0.04)
    inputs = {"s.spikes": bs.spike_trains(steps * dt, cells)}
    planted = rng.integers(0, 15, 12) * dt
    run = lambda d, w: sim.run(320.0, params={"p.delay": d, "p.delay_width": w}, inputs=inputs)["t.v"]
    data = jnp.asarray(jax.jit(run)(planted, 0.0))
    optimiser = optax.adam(0.3)

    def update(carry, width):
        d, state = carry
        slope = jax.grad(lambda d: jnp.mean((run(d, width) - data) ** 2))(d)
        change, state = optimiser.update(slope, state)
        return (jnp.clip(d + change, 0.0, 14.0), state), None

    start = jnp.full(12, 7.0)
    widths = 4.0 * (0.25 / 4.0) ** np.linspace(0, 1, 150)
    (found, _), _ = jax.jit(lambda c: jax.lax.scan(update, c, widths))((start, optimiser.init(start)))
    assert np.abs(np.asarray(found) - planted).max() <= 1.0, (found, planted)
