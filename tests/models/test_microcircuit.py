"""The Potjans-Diesmann microcircuit: its numbers as published, and its activity at 10 % against NEST.

`tests/reference/microcircuit.json` is made by `make_microcircuit.py`, which writes the parameters down a second time.
"""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest

from brainsim.errors import ParameterError
from brainsim.models.circuits import microcircuit as pd
from brainsim.result import Result, Spikes

NEST = json.loads((Path(__file__).parents[1] / "reference" / "microcircuit.json").read_text())


def test_full_size_as_published():
    """77,169 cells, 298,880,968 synapses, 87.8 pA; in-degrees of table 5 by row and column."""
    assert sum(pd.CELLS) == 77169
    numbers = np.rint(pd.synapse_numbers())
    assert numbers.sum() == 298_880_968
    assert pd.PSP * pd.current_per_psp() == pytest.approx(87.81, abs=0.005)
    indegree = numbers / np.array(pd.CELLS)[:, None]
    assert indegree[0, 0] == pytest.approx(-np.log(1 - 0.1009) * 20683, rel=1e-4)
    assert indegree[4, 5] == pytest.approx(-np.log(1 - 0.3726) * 1065, rel=1e-3)
    assert numbers[0, 5] == 0 and numbers[2, 5] > 0  # target in the row: 5I -> 2/3E none, 5I -> 4E a few
    weights = pd.mean_weights()
    assert weights[0, 2] == 2 * weights[0, 0] and weights[2, 0] == weights[0, 0]
    np.testing.assert_allclose(weights[:, 1::2], -4 * weights[0, 0])


@pytest.mark.parametrize("case", NEST)
def test_down_scaling_equals_that_of_nest(case):
    peer = NEST[case]
    made = pd.scaled(peer["scale"], peer["indegrees"], peer["drive"])
    for name, value in peer["numbers"].items():
        np.testing.assert_allclose(made[name], value, rtol=1e-6, err_msg=name)
    assert np.array_equal(made["synapses"], peer["numbers"]["synapses"])


def test_full_size_needs_no_compensation():
    np.testing.assert_allclose(pd.scaled(1.0, 1.0, "poisson")["current"], 0.0, atol=1e-9)
    dc = pd.scaled(1.0, 1.0, "dc")["current"]
    np.testing.assert_allclose(dc, 8e-3 * 0.5 * 87.8085 * np.array(pd.EXTERNAL), rtol=1e-5)


def test_what_is_connected():
    net = pd.microcircuit(0.02, "poisson", seed=5, dt=0.1)
    made = pd.scaled(0.02, 0.02, "poisson")
    assert {p: net[p].n for p in pd.POPULATIONS} == dict(zip(pd.POPULATIONS, made["cells"]))
    for j, source in enumerate(pd.POPULATIONS):
        for i, target in enumerate(pd.POPULATIONS):
            n = made["synapses"][i, j]
            assert (f"{source}->{target}" in net) == (n > 0)
            assert not n or net[f"{source}->{target}"].n_edges == n
    for name, mean, delay in (("L4E->L23E", made["weights"][0, 2], 1.5), ("L23I->L4I", made["weights"][3, 1], 0.75)):
        edges = net[name]
        weight, late = np.asarray(edges.weight), np.asarray(edges.delay)
        assert np.sign(weight).min() == np.sign(weight).max() == np.sign(mean)
        assert weight.mean() == pytest.approx(mean, rel=5 * 0.1 / np.sqrt(len(weight)))
        assert weight.std() == pytest.approx(abs(mean) * 0.1, rel=0.2)
        assert np.rint(late / 0.1).min() >= 1
        # normal(d, d/2) without what lies below dt/2: the mean moves up by 2.8 % at most
        assert delay * 0.9 < late.mean() < delay * 1.2 and late.std() == pytest.approx(delay * 0.47, rel=0.25)
    assert len({id(net[name].synapse) for name in net.projections}) == 1  # one current per cell


def test_multapses_and_autapses_occur():
    net = pd.microcircuit(0.05, "poisson", indegrees=0.5)
    edges = net["L5I->L5I"].edges
    key = edges.pre.astype(np.int64) * 53 + edges.post
    assert len(np.unique(key)) < len(key) and np.any(edges.pre == edges.post)


def test_initial_voltages():
    first = pd.microcircuit(0.05, "poisson").initial["L6I.v"]
    assert np.mean(first) == pytest.approx(-61.43, abs=1.5) and np.std(first) == pytest.approx(4.48, rel=0.25)
    original = pd.microcircuit(0.05, "poisson", initial="original").initial["L4E.v"]
    assert np.mean(original) == pytest.approx(-58.0, abs=1.5) and np.std(original) == pytest.approx(10.0, rel=0.1)


def test_warns_where_dc_leaves_all_below_threshold():
    with pytest.warns(UserWarning, match="rheobase of 375"):
        pd.microcircuit(0.02, "dc")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pd.microcircuit(0.02, "dc", indegrees=0.3)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (dict(scale=0.0), "scale = 0.0"),
        (dict(scale=2), "scale = 2"),
        (dict(scale=0.1, indegrees=1.5), "indegrees = 1.5"),
        (dict(drive="none"), "poisson"),
        (dict(initial="random"), "optimised"),
        (dict(dt=0.0), "dt = 0.0"),
    ],
)
def test_bad_arguments(wrong, says):
    with pytest.raises(ParameterError, match=says):
        pd.microcircuit(**wrong)


def test_activity_of_known_trains():
    """A clock at 10 Hz and a copy of it; the transient is left out."""
    times = np.arange(100.0, 2001.0, 100.0)
    spikes = Spikes(np.concatenate([times, times]), np.repeat([0, 1], 20), n_cells=4)
    found = pd.activity(Result({"x": spikes}, duration=2000.0), start=500.0)["x"]
    assert found["rate"] == pytest.approx(10.0 * 2 / 4) and found["cv"] == pytest.approx(0.0, abs=1e-9)
    assert found["correlation"] == pytest.approx(1.0)
    with pytest.raises(ParameterError, match="run longer"):
        pd.activity(Result({"x": spikes}, duration=400.0))


def test_small_network_runs():
    """2 % of the cells at 30 % of the in-degrees fire at about the rates of the full network."""
    result = pd.microcircuit(0.02, "poisson", indegrees=0.3).compile(record=["*.spikes"]).run(700.0)
    rates = [v["rate"] for v in pd.activity(result, 200.0).values()]
    assert 2.0 < np.average(rates, weights=pd.CELLS) < 5.0


@pytest.mark.slow
@pytest.mark.parametrize("case", NEST)
def test_activity_is_that_of_nest(case):
    """Three networks of other random numbers against three of NEST: means agree within the spread of networks."""
    peer, runs = NEST[case], []
    for seed in range(3):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # dc_silent is meant to be silent
            net = pd.microcircuit(peer["scale"], peer["drive"], seed=seed, indegrees=peer["indegrees"])
        runs.append(pd.activity(net.compile(record=["*.spikes"]).run(peer["stop_ms"]), peer["start_ms"]))
    for name in pd.POPULATIONS:
        ours, theirs = (
            {k: [r[name][k] for r in rows] for k in ("rate", "cv", "correlation")} for rows in (runs, peer["seeds"])
        )
        # difference of two means of three networks, pooled spread; 5 % because three give a poor estimate of it
        spread = np.sqrt((np.var(ours["rate"], ddof=1) + np.var(theirs["rate"], ddof=1)) / 3)
        assert abs(np.mean(ours["rate"]) - np.mean(theirs["rate"])) <= 3 * spread + 0.05 * np.mean(theirs["rate"]), name
        if theirs["cv"][0] is not None:
            assert abs(np.mean(ours["cv"]) - np.mean(theirs["cv"])) < 0.05, name
            assert abs(np.mean(ours["correlation"]) - np.mean(theirs["correlation"])) < 0.004, name
