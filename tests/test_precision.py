"""Weights in bfloat16: what they change, what they do not, and what they save."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainsim as bs
from brainsim import models
from brainsim.design import Design
from brainsim.errors import CompileError

NARROW = jnp.bfloat16
DESIGNS = {"merged": Design(), "vectors": Design(lists=False), "in parts": Design(permuted=0, cache=64, shortest=1)}


def network(delay=None, weights=None):
    """Two populations; `weights`: values of every projection, else they are drawn."""
    net = bs.Network(seed=3)
    net.add("exc", models.LIF(t_ref=2.0), 60)
    net.add("inh", models.LIF(t_ref=1.0), 20)
    net.init("*.v", bs.uniform(-70.0, -50.0))
    for pre, mean in (("exc", 160.0), ("inh", -400.0)):
        for post in ("exc", "inh"):
            given = bs.normal(mean, 20.0) if weights is None else weights[f"{pre}->{post}.weight"]
            after = bs.uniform(0.2, 2.5) if delay is None else delay
            rule = bs.fixed_total_number(400)
            net.connect(pre, post, models.ExpCurrent(tau=3.0), rule, weight=given, delay=after)
    return net


def run(sim, duration=60.0):
    return sim.run(duration, inputs={"*.I": 480.0})


def rounded(params):
    return {k: np.asarray(v).astype(NARROW).astype(np.float32) for k, v in params.items() if k.endswith(".weight")}


@pytest.mark.parametrize(
    ("design", "delay"),
    [("merged", None), ("merged", 1.5), ("vectors", None), ("vectors", 0.0), ("in parts", None), ("in parts", 0.0)],
)
def test_a_run_is_that_of_rounded_weights(design, delay):
    record = ["*.spikes", "*.v"]
    sim = network(delay).compile(record=record, weights="bfloat16", design=DESIGNS[design])
    wide = network(delay).compile(record=record, design=DESIGNS[design])
    kept = [w["edge"].dtype for w in sim._prepared(sim.params)["weights"].values()]
    assert kept == [NARROW] * len(kept)
    found = run(sim)
    right = wide.run(60.0, params=rounded(wide.params), inputs={"*.I": 480.0})
    traced = jax.jit(lambda: run(sim))() if delay is None else found
    for name in ("exc", "inh"):
        assert len(right.spikes[name].times) > 50
        np.testing.assert_array_equal(found.spikes[name].times, right.spikes[name].times)
        np.testing.assert_array_equal(found[f"{name}.v"], right[f"{name}.v"])
        np.testing.assert_allclose(traced[f"{name}.v"], right[f"{name}.v"], rtol=1e-5)
    assert not np.array_equal(run(wide)["exc.v"], found["exc.v"])


def test_values_given_to_a_run_are_rounded_too():
    for design in DESIGNS.values():
        sim = network().compile(record=["exc.v"], weights="bfloat16", design=design)
        given = {k: 1.1 * np.asarray(v, np.float32) for k, v in sim.params.items() if k.endswith(".weight")}
        found = sim.run(20.0, given, {"*.I": 480.0})["exc.v"]
        np.testing.assert_array_equal(found, sim.run(20.0, rounded(given), {"*.I": 480.0})["exc.v"])
        np.testing.assert_array_equal(run(sim, 20.0)["exc.v"], sim.run(20.0, sim.params, {"*.I": 480.0})["exc.v"])


def test_what_arrives_is_rounded_once():
    """The increment is computed from the weight as it is, also where rows lie in parts."""

    class Weaker(models.ExpCurrent):
        def on_pre(self, w):
            return dict(i=w * 0.3)

    def made(values, synapse, **options):
        net = bs.Network(seed=1)
        net.add("cells", models.LIF(t_ref=2.0), 30)
        net.init("cells.v", bs.uniform(-70.0, -50.0))
        rule = bs.from_edges(np.arange(30), (np.arange(30) + 1) % 30)
        for name in ("one", "two"):
            net.connect("cells", "cells", synapse, rule, weight=values, delay=0.3, name=name)
        return net.compile(record=["cells.v"], design=Design(permuted=0), **options)

    weights = np.random.default_rng(0).normal(800.0, 90.0, 30).astype(np.float32)
    sim = made(weights, Weaker(tau=3.0), weights="bfloat16")
    assert all(x.dtype == np.float32 for x in sim.params.values())
    arriving = (weights * np.float32(0.3)).astype(NARROW).astype(np.float32)
    right = made(arriving, models.ExpCurrent(tau=3.0))
    found, expected = (s.run(30.0, inputs={"*.I": 480.0})["cells.v"] for s in (sim, right))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.slow
def test_rates_agree_within_the_spread_of_seeds():
    def rates(seed, weights):
        net = bs.Network(seed=seed)
        exc = net.add("exc", models.LIF(tau=20.0, v_rest=-60.0, v_th=-50.0, v_reset=-60.0, t_ref=5.0, R=1.0), 400)
        inh = net.add("inh", exc.model, 100)
        for pre, reversal, tau, mean in ((exc, 0.0, 5.0, 0.6), (inh, -80.0, 10.0, 6.7)):
            synapse, weight = models.ExpConductance(tau=tau, E=reversal), bs.uniform(0.5 * mean, 1.5 * mean)
            net.connect(pre, [exc, inh], synapse, bs.fixed_probability(0.16), weight=weight)
        net.init("*.v", bs.normal(-55.0, 2.0))
        found = net.compile(record=["exc.spikes"], weights=weights).run(300.0, inputs={"*.I": 20.0})
        return len(found.spikes["exc"].times) / 400 / 0.3

    wide = [rates(seed, "float32") for seed in range(5)]
    narrow = [rates(seed, "bfloat16") for seed in range(5)]
    assert np.mean(wide) > 5.0
    assert abs(np.mean(narrow) - np.mean(wide)) < 2.0 * np.std(wide, ddof=1)


def test_gradients_are_those_at_the_rounded_weights():
    """Straight through the rounding, in float32: not rounded on their way, however many steps add up."""
    name = "exc->inh.weight"

    def slope(sim, w):
        loss = lambda w: jnp.mean(sim.run(12.0, {name: w}, {"*.I": 480.0})["inh.v"] ** 2)
        return np.asarray(jax.grad(loss)(w))

    values = {k: np.asarray(v) for k, v in network().compile().params.items() if k.endswith(".weight")}
    net = network(weights=values | {k: v for k, v in rounded(values).items() if k != name})
    options = dict(record=["inh.v"], smooth=True)
    found = slope(net.compile(weights="bfloat16", **options), jnp.asarray(values[name]))
    right = slope(net.compile(**options), jnp.asarray(rounded(values)[name]))
    assert np.abs(right).max() > 0 and found.dtype == np.float32
    np.testing.assert_allclose(found, right, rtol=1e-5, atol=1e-7 * np.abs(right).max())
    assert not np.array_equal(found.astype(NARROW).astype(np.float32), found)


def held(sim) -> float:
    """Bytes per synapse of edges, parameters and weights in operator order; memory that is shared counts once."""
    weights = [{**w, "scale": ()} for w in sim._prepared(sim.params)["weights"].values()]
    arrays = jax.tree.leaves([list(sim.topology.values()), weights])
    arrays += [x for k, x in sim.params.items() if k.endswith(".weight")]
    spans = sorted((x.unsafe_buffer_pointer(), x.nbytes) for x in arrays)
    total = end = 0
    for start, size in spans:
        total, end = total + max(0, start + size - max(start, end)), max(end, start + size)
    return total / sum(b.n_edges for b in sim.program.bundles)


def test_memory_falls():
    """Per synapse: a word of target and delay; in parts the weights once, merged twice, with their old place."""

    def bytes_of(weights, permuted):
        net = bs.Network(seed=0)
        for name in ("a", "b"):
            net.add(name, models.LIF(), 2000)
        for name in ("a", "b"):
            net.connect(name, "a", models.ExpCurrent(), bs.fixed_indegree(550), weight=bs.normal(1.0, 0.1), delay=0.5)
        return held(net.compile(weights=weights, design=Design(permuted=permuted)))

    for permuted, wide, narrow in ((0, 8.0, 6.0), (2**24, 16.0, 14.0)):
        np.testing.assert_allclose(bytes_of("float32", permuted), wide, atol=0.05)
        np.testing.assert_allclose(bytes_of("bfloat16", permuted), narrow, atol=0.05)


def test_explained():
    net = network()
    net.connect("exc", "exc", models.ExpCurrent(tau=2.0), bs.fixed_indegree(5), weight=1.0, delay=0.5, name="same")
    net.connect(bs.poisson(5.0), "exc", models.ExpCurrent(), weight=9.0, name="outside")
    text = str(net.compile(weights="bfloat16").explain())
    assert "one weight per edge, in bfloat16" in text
    assert re.search(r"bfloat16, summed in float32: exc->exc, .*inh->inh;", text)
    assert "float32: same (a number per projection or target)" in text
    assert "float32: outside (of drives)" in text
    assert "bfloat16" not in str(net.compile().explain())


def test_what_weights_cannot_be():
    for value in ("float16", "float64", 16):
        with pytest.raises(CompileError, match="the run is float32; write weights='float32' or 'bfloat16'"):
            network().compile(weights=value)
    with jax.enable_x64(True):
        assert not network().compile(weights="float64").program.narrow
        with pytest.raises(CompileError, match="sums of rounded numbers gain nothing"):
            network().compile(weights="bfloat16")
