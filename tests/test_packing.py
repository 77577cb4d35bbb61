"""Layouts of the edges: merged rows or parts, blocks, lists of spikes or vectors; none may change a bit of the result."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainsim as bs
from brainsim import models
from brainsim.delivery import Steps
from brainsim.design import Design

DT = 0.1


def network(weights="drawn", delays="drawn", seed=0):
    net = bs.Network(seed=seed)
    net.add("exc", models.LIF(t_ref=2.0), 60)
    net.add("inh", models.LIF(t_ref=1.0), 20)
    net.init("*.v", bs.uniform(-70.0, -50.0))
    delay = bs.uniform(0.2, 2.5) if delays == "drawn" else delays
    for pre, mean in (("exc", 160.0), ("inh", -400.0)):
        weight = bs.normal(mean, 20.0) if weights == "drawn" else mean
        for post in ("exc", "inh"):
            rule = bs.fixed_total_number(400)
            net.connect(pre, post, models.ExpCurrent(tau=3.0), rule, weight=weight, delay=delay)
    return net


LAYOUTS = {
    "vectors": dict(lists=False),
    "blocks": dict(cache=64, shortest=1),
    "parts": dict(permuted=0),
    "parts and blocks": dict(permuted=0, cache=64, shortest=1),
}
KINDS = [("drawn", "drawn"), ("drawn", 0.0), ("drawn", 1.5), ("one", "drawn"), ("one", 0.0)]


def compiled(layout, weights, delays, **options):
    design = Design(**LAYOUTS.get(layout, {}))
    return network(weights, delays).compile(dt=DT, record=["*.spikes", "*.v"], design=design, **options)


def run(sim, duration=60.0):
    return sim.run(duration, inputs={"*.I": 480.0})


@pytest.mark.parametrize(("weights", "delays"), KINDS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_give_the_same_run(layout, weights, delays):
    plain = run(compiled(None, weights, delays))
    sim = compiled(layout, weights, delays)
    bundles = sim.program.bundles
    if "blocks" in layout:
        assert max(b.n_blocks for b in bundles) > 1
    if "parts" in layout and weights == "drawn":
        assert not any(b.merged for b in bundles)
    if layout == "lists":
        assert sim.program.lists and all(b.listed for b in bundles)
    found = run(sim)
    for name in ("exc", "inh"):
        assert len(plain.spikes[name].times) > 50
        np.testing.assert_array_equal(found.spikes[name].times, plain.spikes[name].times)
        np.testing.assert_array_equal(found.spikes[name].indices, plain.spikes[name].indices)
        np.testing.assert_array_equal(found[f"{name}.v"], plain[f"{name}.v"])


@pytest.mark.parametrize("layout", [None, *LAYOUTS])
def test_a_run_in_parts_and_a_traced_run(layout):
    """The state between runs has one form, whatever the layout: it may go into any run."""
    sim = compiled(layout, "drawn", "drawn")
    whole = run(sim)
    first = run(sim, 23.4)
    second = sim.run(36.6, inputs={"*.I": 480.0}, state=first.state)
    assert sum(len(r.spikes["exc"].times) for r in (first, second)) == len(whole.spikes["exc"].times)
    assert jax.tree.structure(first.state) == jax.tree.structure(whole.state)
    for a, b in zip(jax.tree.leaves(second.state), jax.tree.leaves(whole.state)):
        assert a.dtype == b.dtype and np.array_equal(a, b)
    traced = jax.jit(lambda: sim.run(36.6, inputs={"*.I": 480.0}, state=first.state))()
    assert int(traced.spikes["exc"].sum()) == len(second.spikes["exc"].times)


def test_gradients_through_every_layout(x64):
    slopes = []
    for layout in (None, "parts and blocks"):
        sim = compiled(layout, "drawn", "drawn", smooth=True)

        def loss(w, sim=sim):
            out = sim.run(8.0, params={"exc->inh.weight": w}, inputs={"*.I": 480.0})
            return jnp.mean(out["inh.v"] ** 2)

        slopes.append(jax.grad(loss)(sim.params["exc->inh.weight"]))
    assert np.abs(slopes[0]).max() > 0
    np.testing.assert_allclose(*slopes, rtol=1e-9, atol=1e-12)


def test_the_words_hold_every_edge():
    """Rows, blocks, delays and weights of the packed arrays are those of the projections."""
    sim = compiled("parts and blocks", "drawn", "drawn")
    (bundle,) = sim.program.bundles
    rows = {k: np.asarray(v) for k, v in sim.topology[bundle.tag].items()}
    n, size = sim.program.n_receive, -(-sim.program.n_receive // bundle.n_blocks)
    receiver, steps = rows["indices"] % n, rows["indices"] // n
    row_and_block = np.repeat(np.arange(len(rows["indptr"]) - 1), np.diff(rows["indptr"]))
    assert np.array_equal(receiver // size, row_and_block % bundle.n_blocks)
    first = 0
    for part, (source, count, row) in zip(bundle.parts, rows["parts"]):
        edges, here = part.projection.edges, slice(first, first + part.n_edges)
        assert (source, count) == (part.source, edges.n_pre)
        assert np.array_equal(row_and_block[here] // bundle.n_blocks - row, edges.pre)
        assert np.array_equal(receiver[here] - part.start, edges.post)
        assert isinstance(part.steps, Steps) and np.array_equal(steps[here], part.steps.all())
        first += part.n_edges
    assert first == len(rows["indices"])


def test_explained():
    text = str(compiled("parts and blocks", "drawn", "drawn").explain())
    for words in (
        "blocks of receivers",
        "rows in parts",
        "one delay per edge",
        "1600 edges",
        "one loop over the cells",
    ):
        assert words in text


def test_sizes_count_the_bytes_of_the_run():
    """Receivers are twice as wide under x64: half as many fit the cache."""

    def chosen(wide):
        with jax.enable_x64(wide):
            return network().compile(dt=DT, design=Design(cache=4160, shortest=1)).program.bundles[0]

    narrow, wide = chosen(False), chosen(True)
    assert narrow.slots == 26 and (narrow.n_blocks, wide.n_blocks) == (4, 8)  # 160 receivers
    assert "take 0.016 MiB" in narrow.why and "take 0.032 MiB" in wide.why


def test_only_sources_with_two_ways_to_a_receiver_need_rows_in_parts():
    """Sources of their own onto the same receivers leave merged rows sorted."""
    net = bs.Network(seed=0)
    for name in ("a", "b"):
        net.add(name, models.LIF(), 50)
    synapse = models.ExpCurrent()
    connect = lambda pre, name: net.connect(
        pre, "a", synapse, bs.fixed_indegree(9), weight=bs.normal(1.0, 0.1), delay=0.5, name=name
    )
    connect("a", "one")
    connect("b", "two")
    design = Design(cache=64, shortest=1)
    (bundle,) = net.compile(dt=DT, design=design).program.bundles
    assert bundle.merged and bundle.n_blocks > 1
    connect("b", "three")
    (bundle,) = net.compile(dt=DT, design=design).program.bundles
    assert not bundle.merged
