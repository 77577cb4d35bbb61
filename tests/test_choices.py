"""`sim.explain()`: its sizes are those of the arrays that a run holds, and it names every drive and noise."""

import re

import jax
import numpy as np
import pytest
from samples import Depressing

import brainsim as bs
from brainsim import history, models
from brainsim.design import Design
from brainsim.feeds import drives_of
from brainsim.memory import in_words

HISTORY = "history of spikes"


def network(delay=0.5):
    net = bs.Network(seed=1)
    net.add("exc", models.LIF(t_ref=2.0), 300)
    net.add("rate", models.LinearRate(sigma=0.1), 40)
    weight = bs.normal(100.0, 5.0)
    net.connect("exc", "exc", models.ExpCurrent(), bs.fixed_indegree(9), weight=weight, delay=delay)
    net.connect("exc", "exc", models.ExpCurrent(), bs.fixed_indegree(5), weight=weight, delay=delay, name="more")
    net.connect("exc", "exc", Depressing(), bs.fixed_indegree(3), weight=1.0, delay=delay, name="depressing")
    net.connect(bs.poisson(8.0, n=70), "exc", models.ExpCurrent(), weight=90.0, delay=1.5)
    net.connect(bs.poisson(5.0), net["exc"][10:17], models.ExpCurrent(), weight=90.0, name="few")
    net.connect(bs.spike_train([1.0, 2.0, 7.0]), "exc", models.ExpCurrent(), weight=90.0, name="given")
    return net


def lines(sim) -> dict[str, str]:
    """Sizes as `explain` prints them, by name; of histories without what follows the comma."""
    block = str(sim.explain()).split("memory of a run")[1].split("\n\n")[0]
    return {m[1].split(",")[0]: m[2] for m in re.finditer(r"^  (.+): (.+)$", block, re.M)}


def held(sim) -> dict[str, int]:
    """Bytes of the arrays of a run that is about to begin; memory that is shared counts once."""
    drives = drives_of(sim.program, sim.feeds, None, sim.params, 0, 1)
    state = history.enter(sim.program, sim._begin(sim.params, drives, None, sim._start))
    ready, seen = sim._prepared(sim.params), set()

    def size(tree):
        new = {x.unsafe_buffer_pointer(): x.nbytes for x in jax.tree.leaves(tree)}
        total = sum(n for place, n in new.items() if place not in seen)
        seen.update(new)
        return total

    past = state["history"]
    out = {"edges": size(sim.topology), "parameters": size(sim.params)}
    out["weights in operator order"] = size([{**w, "scale": ()} for w in ready["weights"].values()])
    out["states"] = size([state[k] for k in ("z", "edges", "refractory", "distance", "drives")])
    out["rings"] = size(state["rings"])
    out[HISTORY] = size([past.get(k, ()) for k in ("spikes", "ids", "counts")])
    out["history of values computed at the source"] = size([v for k, v in past.items() if "->" in k or "depr" in k])
    return {name: n for name, n in out.items() if n}


LAYOUTS = {
    "plain": {},
    "vectors": dict(lists=False),
    "parts and blocks": dict(permuted=0, cache=64, shortest=1),
}


@pytest.mark.parametrize("wide", (False, True))
@pytest.mark.parametrize("layout", LAYOUTS)
def test_sizes_are_those_of_the_arrays(layout, wide):
    with jax.enable_x64(wide):
        net = network(bs.uniform(0.2, 2.0) if layout == "plain" else 0.5)
        sim = net.compile(dt=0.1, design=Design(**LAYOUTS[layout]))
        assert sim.program.lists == (layout != "vectors")
        told, right = lines(sim), held(sim)
        assert {HISTORY, "edges", "weights in operator order", "states"} <= set(right)
        number = lambda words: float(re.match(r"[\d.]+", words)[0]) * {"k": 1e3, "M": 1e6}.get(words.split()[1][0], 1)
        for name, size in right.items():
            np.testing.assert_allclose(number(told[name]), number(in_words(size)), rtol=0.01, err_msg=name)
        assert ("a list of the cells that fired" in str(sim.explain())) == (layout != "vectors")


def test_drives_and_noise_are_named():
    text = str(network().compile(dt=0.1).explain())
    for words in (
        "poisson->exc: the sum of 70 Poisson trains of a rate that is a parameter",
        "to all 300 cells, after 1.5 ms",
        "few: a Poisson train",
        "to 7 of 300 cells, at once",
        "to their states one by one",
        "given: 3 given spikes",
        "noise of rate.r",
        "Threefry-2x32",
        "exc.I (pA)",
    ):
        assert words in text, words
    net = bs.Network()
    net.add("source", models.PoissonSource(rate=8.0), 5)
    assert "spikes of source" in str(net.compile().explain())
