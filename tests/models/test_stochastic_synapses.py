"""Release of single vesicles: moments against the binomial law, the deterministic limit, NEST."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
from scipy import stats

import brainsim as bs
from brainsim.errors import NonFiniteError, ParameterError
from brainsim.models import (
    LIF,
    STDP,
    SpikeSource,
    StochasticTsodyksMarkramConductance,
    StochasticTsodyksMarkramCurrent,
    TsodyksMarkramCurrent,
)

REFERENCE = json.loads((Path(__file__).parents[1] / "reference" / "quantal.json").read_text())
DT, TAU = 0.5, 3.0
REGULAR = 20.0 * np.arange(1, 13)
HOW = ("U", "tau_f", "tau_d")
CASES = {  # n, U, tau_f, tau_d
    "univesicular": (1, 0.5, 1.0, 800.0),
    "depressing": (5, 0.67, 5.0, 300.0),
    "facilitating": (8, 0.05, 530.0, 130.0),
    "many sites": (20, 0.3, 200.0, 300.0),
}


class FewSites(StochasticTsodyksMarkramConductance):
    most = 4


class ManySites(StochasticTsodyksMarkramCurrent):
    most = 130


def probability(times, U, tau_f, tau_d):
    """u x at every spike: the chance that a site releases."""
    u, x, out = 0.0, 1.0, []
    for k, t in enumerate(times):
        if k:
            h = t - times[k - 1]
            u, x = u * np.exp(-h / tau_f), 1.0 - (1.0 - x) * np.exp(-h / tau_d)
        u += U * (1.0 - u)
        out.append(u * x)
        x -= u * x
    return np.array(out)


def responses(synapses, times, targets=4000):
    """(spikes, targets) of every synapse: what every spike of one source adds to i or g."""
    net = bs.Network(seed=3)
    source = net.add("a", SpikeSource(), 1)
    for name, synapse in synapses.items():
        cells = net.add(f"cells {name}", LIF(), targets)
        net.connect(source, cells, synapse, bs.all_to_all(), weight=1.0, name=name)
    states = {name: next(x for x in ("i", "g") if x in type(synapse).__states__) for name, synapse in synapses.items()}
    sim = net.compile(dt=DT, record=[f"{name}.{x}" for name, x in states.items()])
    result = sim.run(times[-1] + 2 * DT, inputs={"a.spikes": bs.spike_train(times)})
    at = np.rint(np.asarray(times) / DT).astype(int)  # what arrives at the start of a step decays in it
    traces = {name: np.asarray(result[f"{name}.{x}"]) for name, x in states.items()}
    return {name: x[at] * np.exp(DT / TAU) - x[at - 1] for name, x in traces.items()}


def z_of_moments(counts, n, p):
    """Mean and variance of binomial numbers, in their standard errors; one row per p."""
    size, v = counts.shape[1], n * p * (1 - p)
    fourth = 3 * v**2 + v * (1 - 6 * p * (1 - p))
    mean = (counts.mean(1) - n * p) / np.sqrt(v / size)
    spread = np.sqrt(np.maximum((fourth - v**2) / size, 2 * v**2 / size**2))
    return mean, (((counts - (n * p)[:, None]) ** 2).mean(1) - v) / spread


# ---- the model -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [StochasticTsodyksMarkramCurrent, StochasticTsodyksMarkramConductance])
def test_released_vesicles_are_binomial(cls, x64):
    """Mean n u x and variance n u x (1 - u x) at every spike of a regular train, over thousands of edges."""
    synapses = {name: cls(sites=n, **dict(zip(HOW, how))) for name, (n, *how) in CASES.items()}
    for name, found in responses(synapses, REGULAR).items():
        n, *how = CASES[name]
        counts = np.rint(found * n)
        np.testing.assert_allclose(found * n, counts, atol=1e-9)
        assert counts.min() >= 0 and counts.max() <= n
        for z in z_of_moments(counts, n, probability(REGULAR, *how)):
            assert np.abs(z).max() < 5.0
        law = stats.binom(n, probability(REGULAR, *how)[1])
        for k in range(n + 1):  # the whole distribution, at the second spike: sites that have refilled and others
            p = law.pmf(k)
            assert abs((counts[1] == k).mean() - p) < 5 * np.sqrt(p * (1 - p) / counts.shape[1]) + 1e-9


def test_edges_and_spikes_are_independent_but_for_depletion(x64):
    refilled = StochasticTsodyksMarkramCurrent(sites=1, U=0.5, tau_d=1e-3)  # all sites: no memory
    counts = np.rint(responses({"s": refilled}, REGULAR)["s"])
    r = np.corrcoef(counts)
    assert np.abs(r - np.eye(len(r))).max() < 5 / np.sqrt(counts.shape[1])
    across = np.corrcoef(counts.reshape(12 * 500, -1), rowvar=False)
    assert np.abs(across - np.eye(len(across))).max() < 5 / np.sqrt(12 * 500)


def test_many_sites_are_the_deterministic_synapse(x64):
    """The deviation of an edge falls as 1 / sqrt(n): with 130 sites it is that of the binomial law, around u x."""
    how = dict(zip(HOW, CASES["many sites"][1:]))
    synapses = {"exact": TsodyksMarkramCurrent(**how), **{str(n): ManySites(sites=n, **how) for n in (8, 130)}}
    found = responses(synapses, REGULAR, targets=400)
    exact = found.pop("exact")[:, :1]
    np.testing.assert_allclose(exact[:, 0], probability(REGULAR, *how.values()), rtol=1e-9)
    for n, response in found.items():
        off = (response - exact) / np.sqrt(exact * (1 - exact) / int(n))
        assert np.abs(off.mean(1)).max() < 5 / np.sqrt(400)
        assert np.abs(off.std(1) - 1).max() < 5 / np.sqrt(2 * 400)
        assert np.abs(off).max() < 6.5


@pytest.mark.parametrize("train", REFERENCE["trains"])
def test_nest(train, x64):
    """Two samples of one law: means and variances of NEST's quantal_stp_synapse and ours."""
    params, times = REFERENCE["params"], REFERENCE["trains"][train]
    names = {"n": "sites", "U": "U", "tau_fac": "tau_f", "tau_rec": "tau_d"}
    ours = lambda p: {names[k]: max(x, 1e-6) for k, x in p.items()}
    found = responses({k: StochasticTsodyksMarkramCurrent(**ours(p)) for k, p in params.items()}, times)
    for name, response in found.items():
        counts, theirs = np.rint(response * params[name]["n"]), REFERENCE["released"][f"{name}/{train}"]
        v, m = counts.var(1), counts.mean(1)
        both = 1 / REFERENCE["synapses"] + 1 / counts.shape[1]
        assert np.all(np.abs(m - theirs["mean"]) < 5 * np.sqrt(v * both))
        fourth = ((counts - m[:, None]) ** 4).mean(1) - v**2
        assert np.all(np.abs(v - theirs["var"]) < 5 * np.sqrt(np.maximum(fourth, 1e-2 * v**2) * both))


def test_sites_per_edge_and_weights(x64):
    """n is a value per edge, and a derivative reaches the weights, not the chance of release."""
    net = bs.Network(seed=1)
    a, b = net.add("a", SpikeSource(), 2), net.add("b", LIF(), 3)
    sites = np.array([1.0, 2.0, 4.0, 3.0, 2.0, 4.0])
    net.connect(a, b, FewSites(sites=sites), bs.all_to_all(), weight=0.1, name="s")
    sim = net.compile(dt=0.1, record=["b.v", "s.full"])
    inputs = {"a.spikes": bs.spike_trains([1.0, 3.0, 4.0], [0, 1, 0])}
    full = np.asarray(sim.run(6.0, inputs=inputs)["s.full"])
    np.testing.assert_array_equal(full[0], sites)
    assert np.all(full >= 0) and np.all(full <= sites) and np.all(full == np.rint(full)) and full[-1].sum() < 16
    v = lambda w, U: sim.run(6.0, {"s.weight": w, "s.U": U}, inputs).traces["b.v"].values[-1].sum()
    slope, none = jax.grad(v, (0, 1))(0.1, 0.67)
    np.testing.assert_allclose(slope, (v(0.1 + 1e-5, 0.67) - v(0.1 - 1e-5, 0.67)) / 2e-5, rtol=1e-6)
    assert none == 0.0


@pytest.mark.parametrize(
    "n, message",
    [
        (2.5, "release sites are counted: give a whole number"),
        (21, "at most 20 sites; write a subclass with most = 21"),
        (bs.normal(5.0, 1.0), "is no distribution: give numbers"),
        (0, "lies outside"),
    ],
)
def test_impossible_numbers_of_sites(n, message):
    for cls in (StochasticTsodyksMarkramCurrent, StochasticTsodyksMarkramConductance):
        with pytest.raises(ParameterError, match=message):
            cls(sites=n)


def test_plastic_weights_and_vesicles_together(x64):
    """A spike brings the weight of the step before its own update, times the vesicles."""
    net = bs.Network(seed=6)
    a, b = net.add("a", SpikeSource(), 1), net.add("b", SpikeSource(), 200)
    how = dict(plasticity=STDP(A_plus=0.3, A_minus=0.2), bounds=(0.0, 50.0))
    net.connect(a, b, StochasticTsodyksMarkramCurrent(sites=4, U=0.5), bs.all_to_all(), weight=8.0, name="s", **how)
    sim = net.compile(dt=DT, record=["s.i", "s.w", "s.full"])
    inputs = {"a.spikes": bs.spike_train([5.0, 20.0, 40.0]), "b.spikes": bs.spike_train([7.0, 18.0])}
    result = sim.run(45.0, inputs=inputs)
    i, w, full = (np.asarray(result[f"s.{x}"]) for x in ("i", "w", "full"))
    at = np.array([10, 40, 80])
    jump = i[at] * np.exp(DT / TAU) - i[at - 1]
    vesicles = jump / w[at - 1] * 4
    np.testing.assert_allclose(vesicles, np.rint(vesicles), atol=1e-9)
    np.testing.assert_array_equal(np.rint(vesicles[0]), 4 - full[at[0]])
    assert len(np.unique(w[at - 1])) > 1


# ---- errors ----------------------------------------------------------------------------------------------------------


def test_what_is_no_number_of_sites_in_a_run():
    """A traced value cannot be checked: its counts are nan."""
    net = bs.Network()
    a, b = net.add("a", SpikeSource(), 1), net.add("b", LIF(), 1)
    net.connect(a, b, StochasticTsodyksMarkramCurrent(), bs.all_to_all(), weight=1.0, name="s")
    net.derive("s.sites", lambda p: 2.5)
    with pytest.raises(NonFiniteError):
        net.compile(dt=0.1, record="s.i").run(3.0, inputs={"a.spikes": bs.spike_train([1.0])})


def test_all_parameters_may_be_traced():
    net = bs.Network(seed=0)
    a, b = net.add("a", SpikeSource(), 3), net.add("b", LIF(), 2)
    net.connect(a, b, StochasticTsodyksMarkramCurrent(sites=3), bs.all_to_all(), weight=10.0, name="s")
    sim = net.compile(dt=0.5, record=["s.i"])
    inputs = {"a.spikes": bs.spike_trains([2.0, 4.0, 9.0], [0, 1, 2])}
    host = sim.run(20.0, inputs=inputs)["s.i"]
    traced = jax.jit(lambda p: sim.run(20.0, params=p, inputs=inputs)["s.i"])(sim.params)
    np.testing.assert_allclose(host, traced, rtol=1e-5)
    assert host.max() > 0
