"""Gradients through compiled networks, against finite differences of the smooth form, in every mode."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from samples import Depressing

import brainsim as bs
from brainsim.models import (
    AMPA,
    LIF,
    AdEx,
    AlphaCurrent,
    Delta,
    ExpConductance,
    ExpCurrent,
    GapJunction,
    GradedSynapse,
    HodgkinHuxley,
    Izhikevich,
)


def spiking(synapse, weight, delay, model=None):
    """Eight excitatory and four inhibitory cells, everything differentiable set away from zero."""
    net = bs.Network(seed=1)
    cells = model or LIF(tau=10.0, v_rest=-60.0, v_th=-50.0, v_reset=-60.0, t_ref=1.0)
    exc = net.add("e", cells, 8)
    inh = net.add("i", cells, 4)
    net.connect(exc, [exc, inh], synapse, bs.fixed_probability(0.5), weight=weight, delay=delay)
    net.connect(inh, [exc, inh], ExpConductance(tau=10.0, E=-80.0), bs.fixed_probability(0.5), weight=0.1, delay=0.5)
    net.init("*.v", bs.uniform(-60.0, -50.0))
    return net


def coupled():
    net = bs.Network(seed=2)
    net.add("e", LIF(tau=10.0, v_rest=-60.0, v_th=-50.0, v_reset=-60.0, t_ref=1.0), 6)
    net.connect("e", "e", GapJunction(), bs.from_edges([0, 1, 2, 3], [1, 2, 3, 4]), weight=0.2, name="gap")
    net.connect(
        "e",
        "e",
        GradedSynapse(v_th=-52.0),
        bs.fixed_probability(0.5),
        weight=bs.uniform(0.5, 1.0),
        delay=0.4,
        name="graded",
    )
    net.init("*.v", bs.uniform(-60.0, -50.0))
    return net


NETWORKS = {
    "conductances, delays per edge": lambda: spiking(
        ExpConductance(tau=5.0, E=0.0), bs.uniform(0.01, 0.1), bs.uniform(0.0, 2.0)
    ),
    "currents, one delay": lambda: spiking(ExpCurrent(tau=5.0), 2.0, 1.0),
    "alpha currents, no delay": lambda: spiking(AlphaCurrent(tau=3.0), bs.uniform(0.5, 2.0), 0.0),
    "voltage jumps": lambda: spiking(Delta(), 1.0, 0.7),
    "states on sources": lambda: spiking(AMPA(), bs.uniform(0.05, 0.2), 0.3),
    "gap junctions and graded synapses": coupled,
    "AdEx": lambda: spiking(ExpConductance(tau=5.0, E=0.0), 2.0, 0.5, AdEx(V_peak=-45.0)),
    "Izhikevich": lambda: spiking(ExpCurrent(tau=5.0), 2.0, 0.5, Izhikevich()),
    "Hodgkin-Huxley": lambda: spiking(ExpConductance(tau=5.0, E=0.0), 2.0, 0.5, HodgkinHuxley()),
}
DRIVE = {"AdEx": 900.0, "Izhikevich": 15.0, "Hodgkin-Huxley": 2000.0}


def loss_of(net, name, smooth=True):
    sim = net.compile(dt=0.1, record=["e.spikes", "e.v"], smooth=smooth, surrogate=bs.Surrogate("sigmoid", 1.0))

    def loss(params):
        result = sim.run(6.0, params=params, inputs={"*.I": DRIVE.get(name, 20.0)})
        return jnp.mean(result.traces["e.v"].values[-1]) + 10.0 * jnp.mean(result.spikes["e"])

    return sim, loss


SLOW = {"alpha currents, no delay", "AdEx", "Izhikevich"}


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in NETWORKS])
def test_gradients_equal_finite_differences_of_the_smooth_form(name, x64):
    sim, loss = loss_of(NETWORKS[name](), name)
    value = jax.jit(loss)
    reverse = jax.jit(jax.grad(loss))(sim.params)
    rng, moved = np.random.default_rng(0), 0
    push = {k: jnp.asarray(rng.normal(size=v.shape)) for k, v in sim.params.items()}
    forward = jax.jit(lambda p: jax.jvp(loss, (p,), (push,))[1])(sim.params)
    assert float(forward) == pytest.approx(sum(float(jnp.sum(reverse[k] * push[k])) for k in push), rel=1e-9)
    for key, leaf in sim.params.items():
        towards = np.ones(()) if leaf.ndim == 0 else rng.normal(size=leaf.shape)
        step = 1e-6 * (float(jnp.max(jnp.abs(leaf))) or 1.0)
        high, low = (value({**sim.params, key: leaf + sign * step * towards}) for sign in (1, -1))
        expected, found = float(high - low) / (2 * step), float(jnp.sum(reverse[key] * towards))
        assert abs(found - expected) < 1e-5 * abs(expected) + 2e-6, (key, found, expected)
        moved += abs(found) > 1e-6
    assert moved >= 5


def test_hard_spikes_have_finite_gradients_that_vmap_and_jit_keep(x64):
    sim, loss = loss_of(NETWORKS["currents, one delay"](), "", smooth=False)
    gradient = jax.grad(loss)
    taus = jnp.array([8.0, 10.0, 12.0])
    at = lambda tau: gradient({**sim.params, "e.tau": tau})["e->e.weight"]
    batched, single = jax.jit(jax.vmap(at))(taus), jnp.stack([jax.jit(at)(t) for t in taus])
    assert np.isfinite(batched).all() and np.any(batched != 0.0)
    np.testing.assert_allclose(batched, single, rtol=1e-9)


def test_jacfwd_is_grad(x64):
    sim, loss = loss_of(NETWORKS["voltage jumps"](), "")
    some = {k: sim.params[k] for k in ("e.tau", "e.v_th", "e->e.weight", "e.v(0)")}
    forward, reverse = jax.jit(jax.jacfwd(loss))(some), jax.jit(jax.grad(loss))(some)
    for key in some:
        np.testing.assert_allclose(forward[key], reverse[key], rtol=1e-9, atol=1e-12)


def test_a_traced_run_is_the_host_run(x64):
    """Under jit the same spikes and voltages, as dense floats."""
    sim, _ = loss_of(NETWORKS["conductances, delays per edge"](), "", smooth=False)
    host = sim.run(50.0, inputs={"*.I": 20.0})
    traced = jax.jit(lambda p: sim.run(50.0, params=p, inputs={"*.I": 20.0}))(sim.params)
    steps, cells = np.nonzero(np.asarray(traced.spikes["e"]))
    assert len(steps) > 10 and bool(traced.ok)
    np.testing.assert_allclose(host.spikes["e"].times, (steps + 1) * 0.1)
    np.testing.assert_array_equal(host.spikes["e"].indices, cells)
    np.testing.assert_allclose(traced.traces["e.v"].values, host["e.v"], atol=1e-9)
    assert float(traced.rates()["e"]) == pytest.approx(host.rates()["e"])


@pytest.mark.parametrize("delay", [0.1, "drawn"])
def test_what_sources_compute_has_a_derivative_away_from_threshold(delay, x64):
    """A surrogate of compact support limits the derivative by spikes, not that by the values sent at them."""
    net = bs.Network(seed=5)
    net.add("e", LIF(t_ref=2.0), 4)
    net.add("i", LIF(v_th=1e3), 3)
    delay = bs.uniform(0.1, 2.0) if delay == "drawn" else delay
    net.connect("e", "i", Depressing(), bs.fixed_probability(1.0), weight=bs.uniform(1.0, 2.0), delay=delay, name="p")
    sim = net.compile(dt=0.1, record=["i.v"], surrogate=bs.Surrogate("triangular", 0.2))

    def mean(u):
        return jnp.mean(sim.run(30.0, params={"p.U": u}, inputs={"e.I": 480.0})["i.v"])

    step = 4e-6  # spike times do not depend on U, so differences are exact without smooth spikes
    slope = (jax.jit(mean)(0.4 + step) - jax.jit(mean)(0.4 - step)) / (2 * step)
    assert abs(slope) > 0.1
    np.testing.assert_allclose([jax.grad(mean)(0.4), jax.jacfwd(mean)(0.4)], slope, rtol=1e-6)
