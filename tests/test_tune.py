"""Layouts chosen by measurement: the same results, and what was tried is told."""

import numpy as np
import pytest

import brainsim as bs
from brainsim import models, tune
from brainsim.design import Design
from brainsim.errors import RunError

CURRENT = {"*.I": 480.0}


def network(n=300, degree=60, drive=False, delay=None):
    net = bs.Network(seed=2)
    net.add("exc", models.LIF(t_ref=2.0), n)
    net.add("inh", models.LIF(t_ref=1.0), n // 3)
    net.init("*.v", bs.uniform(-70.0, -50.0))
    for pre, mean in (("exc", 30.0), ("inh", -80.0)):
        for post in ("inh", "exc"):
            rule = bs.fixed_indegree(degree)
            weight, after = bs.normal(mean, 0.1 * abs(mean)), bs.uniform(0.2, 2.5) if delay is None else delay
            net.connect(pre, post, models.ExpCurrent(tau=3.0), rule, weight=weight, delay=after)
    if drive:
        net.connect(bs.poisson(100.0), "exc", models.ExpCurrent(), weight=5.0)
    return net


@pytest.fixture
def paces(monkeypatch):
    """Times by what a simulation is, instead of by a clock."""

    def set_to(pace):
        monkeypatch.setattr(
            tune._Search, "compare", lambda self, other: np.array([[pace(self.best.program), pace(other.program)]])
        )

    return set_to


def test_the_fastest_is_kept_and_told(paces):
    paces(lambda p: 1e-6 * (10.0 + abs(p.bundles[0].n_blocks - 4) - 3.0 * (not p.bundles[0].merged) - p.lists))
    sim = network().compile(record=["*.spikes", "*.v"])
    before = str(sim.explain())
    found = sim.tune(5.0, inputs=CURRENT)
    (bundle,) = found.program.bundles
    assert (bundle.merged, bundle.n_blocks, found.program.lists) == (False, 4, True)
    assert str(sim.explain()) == before and sim.trials == ()
    outcomes = {t.what: t.outcome for t in found.trials}
    assert outcomes["bundle 0 in parts"].startswith("taken instead of")
    assert outcomes["bundle 0 with 4 blocks"].startswith("taken instead of")
    assert outcomes["spikes as bytes"].startswith("not faster")
    text = str(found.explain())
    assert all(str(t) in text for t in found.trials) and "layouts that were tried" in text
    one, other = (s.run(20.0, inputs=CURRENT) for s in (sim, found))
    assert len(one.spikes["exc"].times) > 100
    np.testing.assert_array_equal(one["exc.v"], other["exc.v"])


def test_without_gain_the_layout_stays(paces, capsys):
    paces(lambda p: 1e-5)
    sim = network().compile()
    sim.advance(3.0, inputs=CURRENT)
    found = sim.tune(2.0, inputs=CURRENT, progress=True)
    assert found.program is sim.program and found is not sim
    assert found.state is sim.state
    assert 2 <= len(found.trials) <= 1 + tune.MOST
    assert capsys.readouterr().err.count("tune: ") == len(found.trials)


@pytest.mark.slow
def test_values_set_by_the_user_are_kept(paces):
    paces(lambda p: 1e-5 / p.bundles[0].n_blocks)
    sim = network().compile(record=["exc.v"])
    sim.params["exc->inh.weight"] = sim.params["exc->inh.weight"] * 1.5
    found = sim.tune(5.0, inputs=CURRENT)
    assert found.program.bundles[0].n_blocks > 1
    np.testing.assert_array_equal(found.params["exc->inh.weight"], sim.params["exc->inh.weight"])


def test_other_bits_are_an_error(paces, monkeypatch):
    paces(lambda p: 1e-5)
    sim = network().compile()
    plain, runs = tune._arrays, []
    monkeypatch.setattr(tune, "_arrays", lambda *a: runs.append(a) or [x * (1 + len(runs) % 2) for x in plain(*a)])
    with pytest.raises(RunError, match=r"has other bits.*keep the simulation"):
        sim.tune(2.0, inputs=CURRENT)


def test_only_designs_with_the_same_sums_are_tried():
    """A drive that is added before or after the edges; a source with two ways to one target."""
    proposed = lambda kind, net, exact: [*_all(kind, net.compile(), exact)]
    assert proposed(tune._lists, network(), True) == ["spikes as bytes"]
    driven = network(drive=True, delay=0.5)
    assert len(proposed(tune._lists, driven, False)) == 1
    assert proposed(tune._lists, driven, True) == []
    assert proposed(tune._rows, network(), True) == ["bundle 0 in parts"]
    twice = bs.Network(seed=0)
    twice.add("exc", models.LIF(), 200)
    synapse = models.ExpCurrent()
    for name in ("one", "two"):
        weight, delay = bs.normal(1.0, 0.1), bs.uniform(0.5, 1.0)
        twice.connect("exc", "exc", synapse, bs.fixed_indegree(50), weight=weight, delay=delay, name=name)
    assert proposed(tune._rows, twice, True) == [] and len(proposed(tune._rows, twice, False)) == 1


def _all(kind, sim, exact):
    proposals, better = kind(sim.program, Design(), sim, exact), None
    while True:
        try:
            yield proposals.send(better)[0]
        except StopIteration:
            return
        better = False


class Sent(bs.Synapse):
    """Weighted sum of the rates of the sources."""

    w = bs.weight("1")

    def output(self, r_pre):
        return dict(s=r_pre)

    def current(self, s):
        return s


def test_windows_are_tried_where_rounding_may_differ(paces):
    net = bs.Network(seed=0)
    net.add("mass", models.LinearRate(), 30)
    net.init("mass.r", bs.uniform(0.0, 1.0))
    net.connect("mass", "mass", Sent(), bs.fixed_indegree(29), weight=0.01, delay=bs.uniform(2.0, 6.0))
    sim = net.compile(record=["mass.r"])
    paces(lambda p: 1e-6 * (len(p.levels) or 9))
    assert len(sim.program.levels) != 1
    found = sim.tune(5.0, exact=False)
    assert len(found.program.levels) == 1
    assert sim.tune(5.0).program.levels == sim.program.levels
    np.testing.assert_allclose(found.run(20.0)["mass.r"], sim.run(20.0)["mass.r"], rtol=1e-4, atol=1e-6)


def test_one_option_of_compiling(paces):
    paces(lambda p: 1e-5)
    sim = network().compile(tune=dict(duration=2.0, inputs=CURRENT))
    assert sim.trials and sim.trials[0].what == "as compiled"


def test_threads_are_limited_during_a_run_only():
    from brainsim.ops.parallel import threads

    before = threads()
    sim = network().compile(design=Design(threads=1))
    assert sim.program.threads == 1
    sim.run(1.0, inputs=CURRENT)
    assert threads() == before


def test_a_network_that_has_changed_is_refused():
    net = network()
    sim = net.compile()
    net.add("more", models.LIF(), 3)
    with pytest.raises(RunError, match="has changed since it was compiled"):
        sim.tune()
