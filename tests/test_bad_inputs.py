"""What cannot be: every error names the object, what was given, why it cannot be, and what to write instead."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from samples import Conductance, Count, Depressing, Fire, Kick, Leak, Probe, Pulse, Saturating

import brainsim as bs
from brainsim import models
from brainsim.errors import (
    BrainsimError,
    CompileError,
    ConnectError,
    DefinitionError,
    FileFormatError,
    NonFiniteError,
    ParameterError,
    RunError,
    UnitError,
    UnknownNameError,
)

NAN, INF = float("nan"), float("inf")


def net2(n=3):
    """Two populations of a model that fires and one of a model that does not."""
    net = bs.Network()
    net.add("exc", models.LIF(), n)
    net.add("inh", models.LIF(), n)
    net.add("silent", Leak(), n)
    return net


def link(net, pre="exc", post="inh", synapse=None, rule=None, **options):
    synapse = Conductance() if synapse is None else synapse
    options = {"weight": 1.0, **options}
    return net.connect(pre, post, synapse, bs.all_to_all() if rule is None else rule, **options)


def refuse(what, error, message):
    with pytest.raises(error, match=message) as caught:
        what()
    assert isinstance(caught.value, BrainsimError)
    assert len(str(caught.value)) < 600


# ---- neurons (rows 1-10 of the table of bad inputs) ------------------------------------------------------------------

NEURONS = {
    "tau 0": (lambda: models.LIF(tau=0.0), ParameterError, r"LIF\.tau = 0 lies outside \(0, inf\) ms; give a value inside"),
    "tau < 0": (lambda: models.LIF(tau=-10.0), ParameterError, r"LIF\.tau = -10 lies outside \(0, inf\) ms"),
    "tau nan": (lambda: models.LIF(tau=NAN), ParameterError, r"LIF\.tau .*nan"),
    "tau inf": (lambda: models.LIF(tau=INF), ParameterError, r"LIF\.tau .*inf"),
    "C 0": (lambda: models.AdEx(C=0.0), ParameterError, r"AdEx\.C = 0 lies outside \(0, inf\) pF"),
    "C < 0 in an array": (lambda: models.AdEx(C=[100.0, -1.0]), ParameterError, r"AdEx\.C = -1 at index 1 lies outside"),
    "v_reset": (lambda: models.LIF(v_reset=-50.0), ParameterError, r"LIF: v_reset = -50 is not below v_th = -50.*fire without end"),
    "t_ref < 0": (lambda: models.LIF(t_ref=-1.0), ParameterError, r"LIF\.t_ref = -1 lies outside \[0, inf\] ms"),
    "misspelt": (lambda: models.LIF(tau_m=10.0), UnknownNameError, r"LIF: there is no parameter 'tau_m'; did you mean 'tau'\? Known: R, t_ref, tau"),
    "replace misspelt": (lambda: models.LIF().replace(vth=1.0), UnknownNameError, r"no parameter 'vth'; did you mean 'v_th'"),
    "text": (lambda: models.LIF(tau="fast"), UnitError, r"LIF\.tau needs time \(ms\), got 'fast'.* write tau=\"20 ms\" or tau=20"),
    "other unit": (lambda: models.LIF(tau="10 mV"), UnitError, r"LIF\.tau needs time \(ms\), got '10 mV', a voltage"),
    "bare text": (lambda: models.LIF(tau="10"), UnitError, r"LIF\.tau needs time.*'10', a string without a unit"),
    "bool": (lambda: models.LIF(tau=True), ParameterError, r"LIF\.tau needs time \(ms\), got True"),
    "None": (lambda: models.LIF(tau=None), ParameterError, r"LIF\.tau needs time \(ms\), got None"),
    "abstract": (lambda: bs.Neuron(), DefinitionError, r"Neuron is abstract; write a subclass"),
    "immutable": (lambda: setattr(models.LIF(), "tau", 1.0), AttributeError, r"LIF is immutable: write model\.replace\(tau=1\.0\)"),
    "state of a model": (lambda: models.LIF().v, AttributeError, r"LIF\.v is state, not a parameter: take it as an argument"),
    "model class": (lambda: bs.Network().add("e", models.LIF, 3), ParameterError, r"net\.add\('e'\): the model is <class .*give an instance .*LIF\(\)"),
    "model name": (lambda: bs.Network().add("e", "LIF", 3), ParameterError, r"net\.add\('e'\): the model is 'LIF'"),
    "unknown model": (lambda: models.LIFF, AttributeError, r"LIFF.*did you mean 'LIF'"),
    "unknown rule": (lambda: bs.fixed_probabilty, AttributeError, r"fixed_probabilty.*did you mean 'fixed_probability'\? Known:"),
    "n 0": (lambda: bs.Network().add("e", Leak(), 0), ParameterError, r"net\.add\('e'\): n is 0; a population has at least one cell"),
    "n < 0": (lambda: bs.Network().add("e", Leak(), -3), ParameterError, r"n is -3; a population has at least one"),
    "n float": (lambda: bs.Network().add("e", Leak(), 3.0), ParameterError, r"n is 3\.0; it must be a whole number of cells"),
    "n too large": (lambda: bs.Network().add("e", Leak(), 2**31), ParameterError, r"n is 2147483648; at most 2\*\*31 - 1 .*8\.59e\+09 bytes"),
    "no name": (lambda: bs.Network().add("", Leak(), 3), UnknownNameError, r"the population needs a name, got ''"),
    "name number": (lambda: bs.Network().add(3, Leak(), 3), UnknownNameError, r"the population needs a name, got 3"),
    "name pattern": (lambda: bs.Network().add("e*", Leak(), 3), UnknownNameError, r"name 'e\*' may not contain"),
    "name dot": (lambda: bs.Network().add("e.v", Leak(), 3), UnknownNameError, r"name 'e\.v' may not contain '\.'"),
    "name taken": (lambda: net2().add("exc", Leak(), 3), UnknownNameError, r"'exc' exists already \(made at test_bad_inputs\.py:\d+\); choose another"),
    "array length": (lambda: bs.Network().add("e", Leak(tau=[1.0, 2.0]), 3), ParameterError, r"e\.tau has shape \(2,\); e has 3 cells"),
    "labels": (lambda: bs.Network().add("e", Leak(), 3, labels=["a", "b"]), ParameterError, r"e: 2 labels for 3 cells"),
    "labels twice": (lambda: bs.Network().add("e", Leak(), 2, labels=["a", "a"]), ParameterError, r"one unique label per cell"),
    "positions": (lambda: bs.Network().add("e", Leak(), 3, positions=np.zeros((2, 2))), ParameterError, r"e: positions have shape \(2, 2\); give finite values of shape \(3, 2\)"),
    "positions nan": (lambda: bs.Network().add("e", Leak(), 1, positions=[[NAN, 0.0]]), ParameterError, r"e: positions .*finite"),
    "distribution": (lambda: bs.Network().add("e", Leak(tau=bs.normal(1.0, 5.0)), 99), ParameterError, r"e\.tau = -\S+ at index \d+ lies outside \(0, inf\) ms"),
    "integrator": (lambda: net_of(method="eulr").compile(), CompileError, r"no integrator 'eulr'; did you mean 'euler'\? Known: auto, "),
    "integrator of one": (lambda: net2().add("x", Leak(), 1, method="rk5"), CompileError, r"no integrator 'rk5'; did you mean 'rk4'"),
    "seed float": (lambda: bs.Network(seed=1.0), ParameterError, r"seed is 1\.0; give a whole number"),
    "seed bool": (lambda: bs.Network(seed=True), ParameterError, r"seed is True; give a whole number"),
    "seed None": (lambda: bs.Network(seed=None), ParameterError, r"seed is None"),
}  # fmt: skip


def net_of(model=None, n=3, **options):
    net = bs.Network()
    net.add("e", Leak() if model is None else model, n, **options)
    return net


@pytest.mark.parametrize("name", NEURONS)
def test_neurons(name):
    what, error, message = NEURONS[name]
    if error is AttributeError:
        with pytest.raises(error, match=message):
            what()
    else:
        refuse(what, error, message)


@pytest.mark.parametrize("seed", [0, -7, 2**40, np.int64(3)])
def test_any_whole_seed(seed):
    net = bs.Network(seed=seed)
    net.add("e", Leak(), 2)
    net.init("e.v", bs.uniform(0.0, 1.0))
    a = net.compile(record="e.v").run(0.1, inputs={"e.I": bs.ou_noise(0.0, 1.0, 1.0)})["e.v"]
    assert np.isfinite(a).all()


def test_too_many_cells_for_the_memory(monkeypatch):
    net = bs.Network()
    net.add("e", models.AdEx(), 100_000_000)
    monkeypatch.setattr("brainsim.checks.free_memory", lambda: 1e9)
    refuse(
        net.compile,
        CompileError,
        r"100000000 cells, with e \(AdEx, .*need about 4\.8 GB; 1 GB are free; simulate fewer cells",
    )


# ---- initial values (row 3) ------------------------------------------------------------------------------------------

INITIAL = {
    "nan": ("exc.v", NAN, ParameterError, r"initial exc\.v.*nan"),
    "length": ("exc.v", [1.0, 2.0], ParameterError, r"initial exc\.v has 2 values, but 3 are needed; give one number, or an array of length 3"),
    "unit": ("exc.v", "3 pA", UnitError, r"initial exc\.v needs voltage \(mV\), got '3 pA', a current"),
    "misspelt": ("exc.V", 0.0, UnknownNameError, r"no state 'exc\.V'; did you mean 'exc\.v'"),
    "pattern": ("*.gate", 0.0, UnknownNameError, r"pattern '\*\.gate' fits no state"),
    "class": ("exc.v", bs.uniform, ParameterError, r"initial exc\.v is uniform without arguments; write bs\.uniform\(\.\.\.\)"),
}  # fmt: skip


@pytest.mark.parametrize("name", INITIAL)
def test_initial_values(name):
    pattern, value, error, message = INITIAL[name]
    refuse(lambda: net2().init(pattern, value), error, message)


# ---- delays and weights (rows 11-18), connections (rows 19-25) -------------------------------------------------------

CONNECTIONS = {
    "delay nan": (lambda n: link(n, delay=NAN), ParameterError, r"exc->inh\.delay .*nan"),
    "delay < 0": (lambda n: link(n, delay=-0.1), ParameterError, r"exc->inh: delay -0\.1 ms is negative; a delay is at least 0 ms"),
    "delays < 0": (lambda n: link(n, delay=bs.normal(0.1, 1.0)), ParameterError, r"exc->inh: delay -\S+ ms is negative"),
    "delay unit": (lambda n: link(n, delay="1 mV"), UnitError, r"exc->inh\.delay needs time \(ms\), got '1 mV', a voltage"),
    "delay length": (lambda n: link(n, delay=[1.0, 2.0]), ParameterError, r"exc->inh\.delay has 2 values, but 9 are needed"),
    "weight nan": (lambda n: link(n, weight=NAN), ParameterError, r"exc->inh\.weight .*nan"),
    "weight nan in an array": (lambda n: link(n, weight=[1.0] * 8 + [NAN]), ParameterError, r"exc->inh\.weight .*nan.*8"),
    "weight < 0": (lambda n: link(n, weight=-1.0), ParameterError, r"exc->inh\.weight = -1 lies outside \[0, inf\] nS"),
    "weights < 0": (lambda n: link(n, weight=bs.normal(0.0, 1.0)), ParameterError, r"exc->inh\.weight = -\S+ at index \d+ lies outside \[0, inf\] nS"),
    "weight length": (lambda n: link(n, weight=[1.0, 2.0]), ParameterError, r"exc->inh\.weight has 2 values, but 9 are needed"),
    "weight missing": (lambda n: link(n, weight=None), ConnectError, r"exc->inh: no weight; give weight= as a number, an array of 9 values or a distribution"),
    "weight text": (lambda n: link(n, weight="big"), UnitError, r"exc->inh\.weight needs .*nS.*'big'"),
    "weight matrix": (lambda n: link(n, weight=np.ones((3, 3))), ParameterError, r"shape \(3, 3\).*bs\.from_matrix"),
    "weight of distance": (lambda n: link(n, weight=lambda d: d), ParameterError, r"exc->inh\.weight is a function of distance: give positions= to net\.add"),
    "weight twice": (lambda n: link(n, rule=bs.from_matrix(np.ones((3, 3)))), ConnectError, r"the rule carries a weight for every edge already; leave weight= out"),
    "p > 1": (lambda n: link(n, rule=bs.fixed_probability(1.5)), ParameterError, r"fixed_probability.* between 0 and 1, got 1\.5"),
    "p < 0": (lambda n: link(n, rule=bs.fixed_probability(-0.1)), ParameterError, r"between 0 and 1, got -0\.1"),
    "p nan": (lambda n: link(n, rule=bs.fixed_probability(NAN)), ParameterError, r"fixed_probability.*nan"),
    "indegree": (lambda n: link(n, rule=bs.fixed_indegree(-1)), ParameterError, r"fixed_indegree.* whole number of at least 0, got -1"),
    "one to one": (lambda n: link(n, n["exc"][:2], "inh", rule=bs.one_to_one()), ConnectError, r"one_to_one.*2.*3"),
    "index": (lambda n: link(n, rule=bs.from_edges([0, 1], [0, 7])), ConnectError, r"row 1.*7"),
    "index < 0": (lambda n: link(n, rule=bs.from_edges([0, -1], [0, 1])), ConnectError, r"row 1.*-1"),
    "ends": (lambda n: link(n, rule=bs.from_edges([0, 1], [0])), ConnectError, r"2 .*1"),
    "too many": (lambda n: many_edges(), ConnectError, r"all_to_all.* 4e\+09 edges.*2\*\*31 - 1"),
    "receptor": (lambda n: link(n, into="J"), ConnectError, r"exc->inh: into: there is no input of LIF 'J'; did you mean 'I'\? Known: I|exc->inh: into: .*Known: I"),
    "rule": (lambda n: n.connect("exc", "inh", Pulse(), 0.1, weight=1.0), ConnectError, r"exc->inh: the rule is 0\.1; give a connectivity rule such as bs\.fixed_probability"),
    "rule class": (lambda n: n.connect("exc", "inh", Pulse(), bs.all_to_all, weight=1.0), ConnectError, r"the rule is <class"),
    "rule missing": (lambda n: n.connect("exc", "inh", Pulse(), weight=1.0), ConnectError, r"the rule is None; give a connectivity rule"),
    "synapse class": (lambda n: link(n, synapse=Pulse), ConnectError, r"the synapse is <class .*give an instance of a Synapse class"),
    "synapse": (lambda n: link(n, synapse=models.LIF()), ConnectError, r"the synapse is LIF\(.*give an instance of a Synapse"),
    "pre misspelt": (lambda n: link(n, pre="ecx"), UnknownNameError, r"connect: pre: there is no population 'ecx'; did you mean 'exc'\? Known: exc, inh, silent"),
    "post misspelt": (lambda n: link(n, post="in"), UnknownNameError, r"connect: post: there is no population 'in'; did you mean 'inh'"),
    "pre model": (lambda n: link(n, pre=models.LIF()), ConnectError, r"connect: pre is LIF\(.*; give a population, its name"),
    "other network": (lambda n: link(n, pre=net2()["exc"]), ConnectError, r"'exc' belongs to another network; add it to this one first"),
    "other size": (lambda n: link(n, pre=same_model(n)["exc"]), ConnectError, r"'exc' belongs to another network"),
    "name taken": (lambda n: [link(n), link(n)], ConnectError, r"a projection 'exc->inh' exists already \(made at test_bad_inputs\.py:\d+\); give another name="),
    "name of a population": (lambda n: link(n, name="inh"), ConnectError, r"a population 'inh' exists already .*; give another name="),
    "name dot": (lambda n: link(n, name="a.b"), UnknownNameError, r"the projection name 'a\.b' may not contain"),
    "no threshold": (lambda n: link(n, pre="silent"), ConnectError, r"silent->inh: Conductance acts on spikes, but Leak never spikes; give it a spike method or use a graded"),
    "state of the target": (lambda n: link(n, post=n.add("p", Probe(), 3)), ConnectError, r"exc->p: Conductance uses 'v_post': there is no state of Probe 'v'.* Known: x"),
    "state of the source": (lambda n: link(n, "p", n.add("p", Probe(), 3).name, models.GapJunction()), ConnectError, r"uses 'v_p\w+': there is no state of Probe 'v'"),
    "drive with rule": (lambda n: link(n, bs.poisson(5.0), rule=bs.all_to_all()), ConnectError, r"a drive gives every target its own train; leave the rule out"),
    "drive reads pre": (lambda n: n.connect(bs.poisson(5.0), "exc", models.GapJunction(), weight=1.0), ConnectError, r"reads 'v_pre', but a drive has no states"),
    "drive on pre": (lambda n: n.connect(bs.poisson(5.0), "exc", Depressing(), weight=1.0), ConnectError, r"poisson->exc: Depressing has states on sources or edges \(u, x\), but a drive has no source cells; connect .*PoissonSource"),
    "drive on edges": (lambda n: n.connect(bs.poisson(5.0), "exc", Saturating(), weight=1.0), ConnectError, r"poisson->exc: Saturating has states on sources or edges \(s\), but a drive"),
    "drive is no source": (lambda n: n.connect(bs.sine(1.0, 5.0), "exc", Pulse(), weight=1.0), ConnectError, r"Sine yields no events; give it as an input: inputs=\{'exc\.I': \.\.\.\}"),
    "delays of a drive": (lambda n: n.connect(bs.poisson(5.0), "exc", Pulse(), weight=1.0, delay=[1.0, 2.0, 3.0]), ConnectError, r"poisson->exc: a drive takes one delay for all targets"),
    "synapse distribution": (lambda n: link(n, synapse=Pulse(tau=bs.uniform(1.0, 2.0))), ParameterError, r"exc->inh\.tau is uniform.*a synapse takes a number or an array"),
    "bounds of a synapse": (lambda n: Pulse(tau=0.0), ParameterError, r"Pulse\.tau = 0 lies outside \(0, inf\) ms"),
    "unknown population": (lambda n: n["ecx"], UnknownNameError, r"no population or projection 'ecx'; did you mean 'exc'"),
    "cell": (lambda n: n["exc"][3], ConnectError, r"exc has 0\.\.2; there is no 3"),
    "cell float": (lambda n: n["exc"][0.5], ConnectError, r"exc: 0\.5 selects nothing; give whole numbers"),
    "cell twice": (lambda n: n["exc"][[1, 1]], ConnectError, r"exc: 1 is selected twice"),
    "cell label": (lambda n: n["exc"]["AVAL"], UnknownNameError, r"exc: there is no cell 'AVAL'"),
    "empty slice": (lambda n: n["exc"][5:], ConnectError, r"exc\[slice\(5, None, None\)\] selects no cell; exc has cells 0\.\.2"),
    "part of a part": (lambda n: n["exc"][:2][0], ConnectError, r"exc\[:2\] is already a part of 'exc'; index the whole"),
}  # fmt: skip


def many_edges():
    net = bs.Network()
    net.add("big", models.LIF(), 63_250)
    return net.connect("big", "big", Pulse(), bs.all_to_all(), weight=1.0)


def same_model(net):
    other = bs.Network()
    other.add("exc", net["exc"].model, 99)
    return other


@pytest.mark.parametrize("name", CONNECTIONS)
def test_connections(name):
    what, error, message = CONNECTIONS[name]
    refuse(lambda: what(net2()), error, message)


def test_duplicates_are_kept_and_counted():
    net = net2()
    made = link(net, rule=bs.from_edges([0, 0, 0], [1, 1, 2]))
    assert made.n_edges == 3 and made.edges.duplicates == 1


def test_delay_0_is_allowed():
    net = net2()
    link(net, delay=0.0)
    assert net.compile().run(1.0).complete


def test_delays_off_the_grid():
    net = net2()
    link(net, delay=0.149)
    link(net, "inh", "exc", delay=[0.1] * 4 + [0.17] * 5)
    link(net, "inh", "inh", delay=bs.uniform(0.5, 2.0))  # drawn: rounded silently
    with pytest.warns(UserWarning) as caught:
        net.compile(dt=0.1)
    assert len(caught) == 1
    assert "dt = 0.1 ms: exc->inh (1), inh->exc (5); largest shift 0.049 ms" in str(caught[0].message)
    assert caught[0].filename == __file__
    refuse(
        lambda: net.compile(dt=0.1, strict=True), CompileError, r"exc->inh \(1\), .*multiples of dt, or .*strict=False"
    )
    net.compile(dt=0.001)


@pytest.mark.parametrize(
    "delay, message",
    [
        (1e9, r"exc->inh: a delay of 1e\+09 ms is 1e\+10 steps of 0\.1 ms; at most 1073741824"),
        (1e8, r"a delay of 1e\+08 ms needs a history of spikes of 1000000001 steps x 6 cells = \d+\.\d GiB; the limit is 4 GiB"),
        ([1e8] + [1.0] * 8, r"delay of 1e\+08 ms needs a \w+ of 1000000001 steps x \d+ cells = \S+ GiB; .*Shorten the delay"),
    ],
)  # fmt: skip
def test_a_delay_too_long(delay, message):
    net = net2()
    link(net, delay=delay)
    refuse(lambda: net.compile(dt=0.1), CompileError, message)


def test_a_long_delay_between_continuous_couplings():
    net = bs.Network()
    net.add("a", Leak(), 30_000)
    net.connect("a", "a", models.GradedSynapse(), bs.one_to_one(), weight=1.0, delay=1e5)
    refuse(
        lambda: net.compile(dt=0.1), CompileError, r"a delay of 100000 ms needs a history of outputs of 1000001 steps"
    )


# ---- compiling (rows 31-33, 41) --------------------------------------------------------------------------------------

COMPILE = {
    "dt 0": (dict(dt=0.0), r"dt = 0\.0 ms must be a positive number, for example dt=0\.1"),
    "dt < 0": (dict(dt=-0.1), r"dt = -0\.1 ms must be a positive number"),
    "dt nan": (dict(dt=NAN), r"dt .*nan"),
    "dt array": (dict(dt=[0.1, 0.2]), r"dt = \[.*\] ms must be a positive number"),
    "dt unit": (dict(dt="0.1 mV"), r"dt needs time \(ms\), got '0\.1 mV'"),
    "method": (dict(method="runge"), r"no integrator 'runge'.* Known: auto, euler, exact"),
    "exact": (dict(method="exact"), r"e: the exact propagator needs linear equations without noise, which AdEx has not \(v, w\); use method='exp_euler'"),
}  # fmt: skip


@pytest.mark.parametrize("name", COMPILE)
def test_compiling(name):
    net = net_of(models.AdEx())
    options, message = COMPILE[name]
    refuse(lambda: net.compile(**options), (CompileError, UnitError, ParameterError), message)


def test_an_empty_network():
    refuse(bs.Network().compile, CompileError, r"the network is empty; add a population with net\.add")


@pytest.mark.parametrize("method, limit", [("euler", 2.0), ("heun", 2.0), ("rk4", 2.785)])
def test_dt_too_large_for_an_explicit_method(method, limit):
    net = bs.Network()
    net.add("e", Leak(tau=1.0), 2, method=method)
    net.compile(dt=0.95 * limit)
    with pytest.warns(UserWarning, match=rf"e: {method} with dt = \S+ ms is unstable .*1 ms.*exp_euler"):
        net.compile(dt=1.05 * limit)


def test_explicit_stability_sees_synapses_and_cells():
    net = bs.Network()
    net.add("e", Fire(tau=[10.0, 0.3]), 2, method="euler")
    with pytest.warns(UserWarning, match=r"e: euler with dt = 0\.7 ms is unstable"):
        net.compile(dt=0.7)
    net = bs.Network()
    net.add("e", Fire(), 2, method="euler")
    net.connect("e", "e", Pulse(tau=0.1), bs.all_to_all(), weight=1.0)
    with pytest.warns(UserWarning, match=r"e: euler with dt = 0\.5 ms is unstable"):
        net.compile(dt=0.5)


def test_a_symmetric_synapse_between_classes():
    net = net2()
    net.connect("exc", "silent", models.GapJunction(), bs.one_to_one(), weight=1.0)
    refuse(
        net.compile, CompileError, r"exc->silent: a symmetric synapse needs both ends in populations of one model class"
    )


def test_rosenbrock_is_limited():
    net = net_of(models.AdEx(), 2000, method="rosenbrock")
    refuse(
        net.compile,
        CompileError,
        r"rosenbrock solves a dense system of 4000 states; the limit is 3000\. Use 'exp_euler'",
    )


# ---- parameters of a run ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sim():
    net = net2()
    net.add("twin", net["exc"].model, 3)
    link(net, delay=0.3, weight=np.linspace(0.1, 0.9, 9))
    net.connect(bs.poisson(100.0), "exc", Pulse(), weight=1.0)
    net.derive("silent.R", lambda p: 0.1 * p["silent.tau"])
    net.init("exc.v", -60.0)
    return net.compile(record=["*.v", "exc.spikes"])


PARAMS = {
    "misspelt": ({"exc.tau_m": 1.0}, UnknownNameError, r"no parameter 'exc\.tau_m'; did you mean 'exc\.tau'"),
    "bounds": ({"exc.tau": 0.0}, ParameterError, r"exc\.tau = 0 lies outside \(0, inf\) ms"),
    "nan": ({"exc.tau": NAN}, ParameterError, r"exc\.tau must be finite, got nan"),
    "nan in an array": ({"exc.v_rest": [0.0, NAN, 0.0]}, ParameterError, r"exc\.v_rest must be finite, got nan at index 1"),
    "shape": ({"exc.tau": [1.0, 2.0]}, ParameterError, r"exc\.tau has shape \(2,\); give \(\) or \(3,\)"),
    "weights": ({"exc->inh.weight": 1.0}, ParameterError, r"exc->inh\.weight has shape \(\); give \(9,\)"),
    "weight < 0": ({"exc->inh.weight": -np.ones(9)}, ParameterError, r"exc->inh\.weight = -1 at index 0 lies outside \[0, inf\] nS"),
    "rate < 0": ({"poisson->exc.rate": -1.0}, ParameterError, r"poisson->exc\.rate = -1 lies outside \[0, inf\] Hz"),
    "shared": ({"twin.tau": 1.0}, UnknownNameError, r"'twin\.tau' is shared with 'exc\.tau' \(one model object\); set 'exc\.tau'"),
    "derived": ({"silent.R": 1.0}, UnknownNameError, r"'silent\.R' is derived from other parameters by net\.derive; set those"),
    "delay": ({"exc->inh.delay": 1.0}, UnknownNameError, r"'exc->inh\.delay'.*compiled"),
    "initial": ({"exc.v(0)": NAN}, ParameterError, r"exc\.v\(0\) must be finite, got nan"),
    "between parameters": ({"exc.v_reset": -40.0}, ParameterError, r"v_reset = -40 is not below v_th = -50"),
    "text": ({"exc.tau": "fast"}, (ParameterError, UnitError), r"exc\.tau .*'fast'"),
}  # fmt: skip


@pytest.mark.parametrize("name", PARAMS)
def test_parameters(sim, name):
    params, error, message = PARAMS[name]
    refuse(lambda: sim.run(1.0, params), error, message)


def test_parameters_with_units(sim):
    a, b = sim.run(1.0, {"exc.tau": "0.01 second"}), sim.run(1.0, {"exc.tau": 10.0})
    np.testing.assert_array_equal(a["exc.v"], b["exc.v"])


def test_params_that_are_no_dict(sim):
    refuse(lambda: sim.run(1.0, [("exc.tau", 1.0)]), ParameterError, r"params .*dict")


def test_derived_names():
    net = net2()
    net.derive("exc.tauu", lambda p: 1.0)
    refuse(net.compile, UnknownNameError, r"no parameter 'exc\.tauu'; did you mean 'exc\.tau'")
    refuse(lambda: net.derive("exc.tau", 3.0), ParameterError, r"derive\('exc\.tau'\): 3\.0 is not a function")
    net = net2()
    net.derive("exc.tau", lambda p: p["inh.taau"])
    refuse(lambda: net.compile().run(1.0), UnknownNameError, r"no parameter 'inh\.taau'; did you mean 'inh\.tau'")


# ---- inputs (rows 26-28) ---------------------------------------------------------------------------------------------

INPUTS = {
    "misspelt": ({"exc.J": 1.0}, UnknownNameError, r"no input 'exc\.J'.* Known: .*exc\.I"),
    "population": ({"ecx.I": 1.0}, UnknownNameError, r"no input 'ecx\.I'; did you mean 'exc\.I'"),
    "nan": ({"exc.I": NAN}, RunError, r"input exc\.I is not finite"),
    "length": ({"exc.I": [1.0, 2.0]}, RunError, r"input exc\.I: 2 values for 3 cells and 10 steps; give a number, 3 or 10 values"),
    "time": ({"exc.I": np.ones((10, 2))}, RunError, r"input exc\.I: values over time have shape \(10, 2\); give \(time,\) or \(time, 3\)"),
    "3 axes": ({"exc.I": np.ones((10, 3, 1))}, RunError, r"input exc\.I has shape \(10, 3, 1\)|input exc\.I: .*\(10, 3, 1\)"),
    "nan over time": ({"exc.I": np.full((10, 3), NAN)}, RunError, r"input exc\.I: value \(0, 0\) over time is not finite"),
    "short": ({"exc.I": bs.array(np.ones(4))}, RunError, r"input exc\.I: the values cover 0\.4 ms but the run ends at 1 ms; .*hold=True"),
    "empty": ({"exc.I": bs.array(np.ones(0), hold=True)}, RunError, r"input exc\.I: there are no values over time"),
    "grid": ({"exc.I": bs.array(np.ones(4), every=0.25)}, RunError, r"array\(every=0\.25\) is not a multiple of dt = 0\.1 ms"),
    "cells of a drive": ({"exc.I": bs.step([1.0, 2.0], 0.0)}, RunError, r"input exc\.I has 2 values for 3 cells"),
    "text": ({"exc.I": "strong"}, UnitError, r"input exc\.I needs current \(pA\), got 'strong'"),
    "unit": ({"exc.I": "3 mV"}, UnitError, r"input exc\.I needs current \(pA\), got '3 mV', a voltage"),
    "None": ({"exc.I": None}, (RunError, ParameterError), r"input exc\.I.* None"),
    "function": ({"exc.I": np.sin}, (RunError, ParameterError), r"input exc\.I.*ufunc"),
    "twice": ({"exc.I": 1.0, "*.I": 2.0}, RunError, r"the input 'exc\.I' is given twice; add the drives"),
    "spikes": ({"exc.I": bs.poisson(10.0)}, RunError, r"input 'exc\.I' takes pA, but Poisson yields spikes; connect it through a synapse: net\.connect"),
    "no dict": ([1.0], RunError, r"inputs .*dict|inputs .*\{"),
}  # fmt: skip


@pytest.mark.parametrize("name", INPUTS)
def test_inputs(sim, name):
    inputs, error, message = INPUTS[name]
    refuse(lambda: sim.run(1.0, inputs=inputs), error, message)


def test_as_many_cells_as_steps(sim):
    refuse(
        lambda: sim.run(0.3, inputs={"exc.I": [1.0, 2.0, 3.0]}),
        RunError,
        r"3 values could be one per cell or one per step; say bs\.constant",
    )
    assert sim.run(0.3, inputs={"exc.I": bs.constant([1.0, 2.0, 3.0])}).complete


DRIVES = {
    "rate < 0": (lambda: bs.poisson(-5.0), ParameterError, r"poisson rate = -5 is below 0; give a value of at least 0"),
    "rate nan": (lambda: bs.poisson(NAN), ParameterError, r"poisson rate .*nan"),
    "rates": (lambda: bs.poisson([1.0, -1.0]), ParameterError, r"poisson rate = -1 is below 0"),
    "trains": (lambda: bs.poisson(5.0, n=0), ParameterError, r"poisson: n = 0 trains; give a whole number of at least 1"),
    "trains float": (lambda: bs.poisson(5.0, n=2.5), ParameterError, r"poisson: n = 2\.5 trains"),
    "most": (lambda: bs.poisson(bs.sine(1.0, 1.0)), ParameterError, r"the rate changes with time; say most=, its upper bound in Hz"),
    "most low": (lambda: bs.poisson(5.0, most=2.0), ParameterError, r"the rate 5 Hz is above most = 2 Hz; leave most= out"),
    "rate of spikes": (lambda: bs.poisson(bs.spike_train([1.0]), most=1.0), ParameterError, r"the rate is SpikeTrains, which yields spikes"),
    "window": (lambda: bs.poisson(5.0, start=5.0, stop=5.0), ParameterError, r"poisson: stop = 5 ms is not after start = 5 ms"),
    "start": (lambda: bs.step(5.0, start=-1.0), ParameterError, r"step start = -1 is below 0"),
    "step nan": (lambda: bs.step(NAN, 0.0), ParameterError, r"step amplitude .*nan"),
    "ramp": (lambda: bs.ramp(0.0, 1.0, 3.0, 2.0), ParameterError, r"ramp: stop = 2 ms is not after start = 3 ms"),
    "frequency": (lambda: bs.sine(1.0, "3 mV"), UnitError, r"sine frequency needs .*Hz.*, got '3 mV'"),
    "tau": (lambda: bs.ou_noise(0.0, 1.0, 0.0), ParameterError, r"ou_noise tau = 0 ms must be positive"),
    "sd": (lambda: bs.ou_noise(0.0, -1.0, 1.0), ParameterError, r"ou_noise sd = -1 is below 0"),
    "spike nan": (lambda: bs.spike_train([1.0, NAN]), ParameterError, r"spike times .*nan"),
    "spike < 0": (lambda: bs.spike_train([1.0, -2.0]), ParameterError, r"spike times = -2 is below 0"),
    "spike text": (lambda: bs.spike_train("soon"), UnitError, r"spike times needs time \(ms\), got 'soon'"),
    "spike lengths": (lambda: bs.spike_trains([1.0, 2.0], [0]), ParameterError, r"2 times but 1 indices; give one index per time"),
    "spike cells": (lambda: bs.spike_trains([1.0], [0.5]), ParameterError, r"indices must be whole numbers of at least 0, got float64"),
    "spike cells < 0": (lambda: bs.spike_trains([1.0], [-1]), ParameterError, r"indices must be whole numbers of at least 0, got int64 from -1"),
}  # fmt: skip


@pytest.mark.parametrize("name", DRIVES)
def test_drives(name):
    refuse(*DRIVES[name])


def test_spike_trains_of_too_many_cells():
    net = bs.Network()
    net.add("e", Leak(), 2)
    net.connect(bs.spike_trains([3.0, 1.0], [5, 0]), "e", Kick(), weight=1.0)
    refuse(
        lambda: net.compile().run(1.0), RunError, r"spikes->e: spike 1 is of cell 5, but there are 2 cells \(0\.\.1\)"
    )


def test_spike_times_off_the_grid():
    net = bs.Network()
    net.add("s", models.SpikeSource(), 1)
    sim = net.compile(record="s.spikes")
    with pytest.warns(
        UserWarning, match=r"input s\.spikes: 1 spike times are off the grid of dt = 0\.1 ms, moved by up to 0\.04 ms"
    ):
        found = sim.run(1.0, inputs={"s.spikes": bs.spike_train([0.64, 0.2])})
    np.testing.assert_allclose(found["s"].times, [0.2, 0.6])
    strict = bs.spike_train([0.64], strict=True)
    refuse(
        lambda: sim.run(1.0, inputs={"s.spikes": strict}),
        RunError,
        r"off the grid.* choose a dt that fits, or say strict=False",
    )
    early = bs.spike_train([0.0])
    refuse(
        lambda: sim.run(1.0, inputs={"s.spikes": early}),
        RunError,
        r"'s\.spikes': a source cannot spike at 0 ms, .*start at 0\.1 ms",
    )


# ---- running (rows 29-30, 33-36, 45) ---------------------------------------------------------------------------------

DURATIONS = {
    "negative": (-1.0, RunError, r"duration = -1\.0 ms must be a number of at least 0"),
    "nan": (NAN, (RunError, ParameterError), r"duration .*nan"),
    "inf": (INF, (RunError, ParameterError), r"duration .*inf"),
    "array": ([1.0, 2.0], RunError, r"duration = \[.*\] ms must be a number"),
    "unit": ("1 mV", UnitError, r"duration needs time \(ms\), got '1 mV'"),
    "None": (None, ParameterError, r"duration needs time \(ms\), got None"),
    "off the grid": (1.05, RunError, r"duration = 1\.05 ms is not a multiple of dt = 0\.1 ms; write 1"),
    "off the grid after days": (1e8 + 0.05, RunError, r"is not a multiple of dt"),
    "too long": (3e8, RunError, r"3e\+08 ms is 3e\+09 steps of 0\.1 ms; at most 2147483646"),
}  # fmt: skip


@pytest.mark.parametrize("name", DURATIONS)
def test_durations(sim, name):
    duration, error, message = DURATIONS[name]
    refuse(lambda: sim.run(duration), error, message)


def test_a_traced_duration(sim):
    refuse(
        lambda: jax.jit(lambda d: sim.run(d).ok)(1.0), RunError, r"duration is traced, .* steps must be known; mark it"
    )


def test_running_for_no_time(sim):
    found = sim.run(0.0)
    assert found.duration == 0.0 and found["exc.v"].shape == (0, 3) and len(found["exc"]) == 0
    after = sim.run(5.0)
    again = sim.run(0.0, state=after.state)
    assert again.t_start == 5.0
    jax.tree.map(np.testing.assert_array_equal, dict(again.state), dict(after.state))


KEYS = {"float": (1.0, r"key is 1\.0; give a whole number"), "bool": (True, r"key is True"), "negative": (-1, r"key is -1; .* 0 to 2\*\*64 - 1"),
        "large": (2**64, r"key is 18446744073709551616"), "shape": (np.arange(3), r"key has shape \(3,\); give one whole number, two uint32 words")}  # fmt: skip


@pytest.mark.parametrize("name", KEYS)
def test_keys(sim, name):
    key, message = KEYS[name]
    refuse(lambda: sim.run(1.0, key=key), RunError, message)


def test_dt_may_not_change_between_runs():
    net = net2()
    net.run(1.0, dt=0.1)
    refuse(
        lambda: net.run(1.0, dt=0.2),
        RunError,
        r"dt changes from 0\.1 to 0\.2 ms between runs: spikes in flight .*reset=True",
    )
    assert net.run(1.0, dt=0.2, reset=True).t_start == 0.0
    assert net.run(1.0, dt=0.2).t_start == 1.0


def test_the_network_may_not_change_between_runs():
    net = net2()
    net.run(1.0)
    net.add("late", Probe(), 3)
    refuse(lambda: net.run(1.0), RunError, r"the network changed since the last run, .*reset=True")
    assert net.run(1.0, reset=True).duration == 1.0


def test_a_network_that_changes_shape_alike():
    net = bs.Network()
    net.add("a", Leak(), 2)
    net.run(1.0, record="*.v")
    net.populations.clear()
    net.add("b", Leak(), 2)
    refuse(lambda: net.run(1.0, record="*.v"), RunError, r"the network changed since the last run")


def test_a_second_precision(sim):
    with jax.enable_x64(True):
        refuse(lambda: sim.run(1.0), RunError, r"compiled for float32, but jax now computes in float64; compile again")


def test_advance_takes_no_tracers(sim):
    refuse(
        lambda: jax.grad(lambda x: jnp.sum(sim.advance(1.0, params={"exc.tau": x})["exc.v"]))(10.0),
        RunError,
        r"advance keeps state and cannot be traced; use sim\.run",
    )


def test_step_2e9():
    """Times, delays, inputs and samples near the end of the counter, and the error behind it."""
    net = bs.Network(seed=4)
    net.add("s", models.SpikeSource(), 1)
    net.add("e", Leak(), 2)
    net.connect("s", "e", Kick(), bs.from_edges([0, 0], [0, 1]), weight=1.0, delay=[0.3, 1.2])
    net.connect("s", "e", Count(), bs.all_to_all(), weight=1.0, delay=0.7, name="c")
    sim = net.compile(dt=0.1, record=["s.spikes", "e.v", bs.trace("c.c", every=0.5)])
    first = 2 * 10**9

    def run(first):
        state = {**sim.run(0.0).state, "step": jnp.int32(first)}
        at = np.round((first + np.array([3, 9])) * 0.1, 1)
        inputs = {"s.spikes": bs.spike_train(at), "e.I": bs.step(50.0, start=round((first + 10) * 0.1, 1))}
        return sim.run(2.0, inputs=inputs, state=state), at

    late, at = run(first)
    early, _ = run(0)
    np.testing.assert_allclose(late["s"].times, at, atol=1e-6)
    np.testing.assert_array_equal(late["e.v"], early["e.v"])
    np.testing.assert_array_equal(late["c.c"], early["c.c"])
    np.testing.assert_allclose(late.traces["e.v"].times, (first + 1 + np.arange(20)) * 0.1, atol=1e-6)
    assert int(late.state["step"]) == first + 20
    refuse(
        lambda: sim.run(20_000_000.0, state=late.state),
        RunError,
        r"the run would end at step 2200000020; at most 2147483646 steps",
    )


# ---- not finite (row 39) ---------------------------------------------------------------------------------------------


class Explosive(bs.Neuron):
    """x' = x^2: infinite at t = 1/x(0)."""

    rate = bs.param(1.0, "1/ms")
    x = bs.state(0.0)

    def dx(self, x):
        return self.rate * x * x


def test_infinity_is_found_where_it_begins():
    net = bs.Network()
    net.add("calm", Explosive(), 2, method="euler")
    net.add("wild", Explosive(), 5, method="euler")
    net.init("wild.x", [0.0, 0.0, 0.5, 0.0, 0.52])
    sim = net.compile(dt=0.1, record=["wild.x"])
    x, steps = np.float32([0.5, 0.52]), 0
    with np.errstate(over="ignore"):
        while np.isfinite(x).all():
            x, steps = x + np.float32(0.1) * x * x, steps + 1
    time = f"{steps * 0.1:g}".replace(".", r"\.")
    message = (
        rf"wild\.x became infinite in cells 4 at {time} ms\. Reduce dt, check weights and inputs, or use bs\.enable_x64"
    )
    refuse(lambda: sim.run(100.0), NonFiniteError, message)
    refuse(lambda: sim.run(2000.0, {"wild.rate": 1.0}), NonFiniteError, message)
    assert sim.advance(1.0).complete  # an error leaves nothing broken


def test_nan_in_a_synapse_and_on_an_edge():
    class Log(bs.Synapse):
        w = bs.weight()
        c = bs.state(0.0, jump=True)

        def on_pre(self, w):
            return dict(c=jnp.log(w))

    class EdgeLog(bs.Synapse):
        w = bs.weight()
        c = bs.state(0.0, on="edge", jump=True)

        def on_pre(self, w):
            return dict(c=jnp.log(w))

    for synapse, message in (
        (Log(), r"s->e\.c became nan in cells 1 at 0\.5 ms"),
        (EdgeLog(), r"s->e\.c became non-finite on edges 1, 3 at 0\.5 ms"),
    ):
        net = bs.Network()
        net.add("s", models.SpikeSource(), 2)
        net.add("e", Leak(), 2)
        net.connect("s", "e", synapse, bs.all_to_all(), weight=[1.0, -1.0, 1.0, -1.0], delay=0.2)
        sim = net.compile()
        refuse(lambda sim=sim: sim.run(1.0, inputs={"s.spikes": bs.spike_train([0.2])}), NonFiniteError, message)


def test_a_state_that_is_not_finite_from_the_start():
    class Bad(bs.Neuron):
        a = bs.param(1.0)
        x = bs.state(0.0)

        def dx(self, x, dt):
            return -x / dt

        def init_x(self):
            return jnp.log(self.a)

    net = bs.Network()
    net.add("e", Bad(a=[1.0, -1.0]), 2)
    refuse(
        lambda: net.compile().run(1.0),
        NonFiniteError,
        r"e\.x became nan in cells 1 before the run: initial values must be finite",
    )


def test_traced_runs_say_it_in_the_result():
    net = bs.Network()
    net.add("wild", Explosive(), 1, method="euler")
    net.init("wild.x", 0.5)
    sim = net.compile(record="wild.x")
    ok = jax.jit(jax.vmap(lambda rate: sim.run(30.0, {"wild.rate": rate}).ok))(jnp.array([0.01, 1.0]))
    assert ok.tolist() == [True, False]


# ---- checkpoints (rows 33, 43) ---------------------------------------------------------------------------------------


def test_checkpoints_of_other_networks(tmp_path):
    def made(name="e", n=2, model=None, seed=0, dt=0.1, synapse=None, delay=0.5, noise=False):
        net = bs.Network(seed=seed)
        net.add(name, Fire() if model is None else model, n)
        net.connect(name, name, Pulse() if synapse is None else synapse, bs.all_to_all(), weight=1.0, delay=delay)
        return net.compile(dt=dt)

    sim, path = made(), tmp_path / "a.h5"
    refuse(lambda: sim.checkpoint(path), RunError, r"there is nothing to save yet: run first, sim\.advance")
    noise = {"e.I": bs.ou_noise(1.0, 1.0, 5.0)}
    sim.advance(1.0, inputs=noise)
    sim.checkpoint(path)
    name = r"a\.h5.*: "
    refuse(
        lambda: made(seed=1).restore(path),
        FileFormatError,
        name + r"made with dt = 0\.1 ms and seed 0, .* has 0\.1 and 1",
    )
    refuse(lambda: made(dt=0.5).restore(path), FileFormatError, name + r"made with dt = 0\.1 ms")
    refuse(lambda: made(n=3).restore(path, noise), FileFormatError, name + r".*e \(2 Fire\).*e \(3 Fire\)")
    refuse(
        lambda: made(name="f").restore(path, {"f.I": noise["e.I"]}),
        FileFormatError,
        name + r".*e \(2 Fire\).*f \(2 Fire\)",
    )
    refuse(lambda: made(model=models.LIF()).restore(path, noise), FileFormatError, name + r".*Fire.*LIF")
    refuse(lambda: made(synapse=Conductance()).restore(path, noise), FileFormatError, name + r".*Pulse.*Conductance")
    refuse(
        lambda: made(delay=0.7).restore(path, noise),
        FileFormatError,
        name + r"state.* is the same network\?|" + name + r".*is it the same network",
    )
    refuse(
        lambda: made().restore(path), FileFormatError, name + r".*\['e\.I'\].*give restore\(\) the inputs of the run"
    )
    with jax.enable_x64(True):
        other = made()
        refuse(lambda: other.restore(path, noise), FileFormatError, name + r".*float32.*float64")
    sim.restore(path, noise)

    whole = path.read_bytes()
    cut = tmp_path / "cut.h5"
    cut.write_bytes(whole[: len(whole) // 2])
    refuse(lambda: sim.restore(cut, noise), FileFormatError, r"cut\.h5")
    cut.write_bytes(b"hello")
    refuse(lambda: sim.restore(cut, noise), FileFormatError, r"cut\.h5")
    with pytest.raises(FileNotFoundError, match=r"none\.h5"):
        sim.restore(tmp_path / "none.h5", noise)


# ---- what is not differentiable (row 42) -----------------------------------------------------------------------------


def test_no_gradient_through_whole_steps():
    """Delays are compiled in; the refractory time acts in whole steps and has the gradient 0."""
    net = bs.Network()
    net.add("e", models.LIF(), 2)
    net.connect("e", "e", Pulse(), bs.all_to_all(), weight=5.0, delay=1.0)
    sim = net.compile(record="e.v")
    assert not [name for name in sim.params if "delay" in name]
    gradient = jax.grad(lambda p: jnp.mean(sim.run(20.0, p, {"e.I": 30.0})["e.v"]))(sim.params)
    assert gradient["e.t_ref"] == 0.0 and gradient["e.tau"] != 0.0 and gradient["e->e.weight"] != 0.0


def test_surrogates():
    refuse(
        lambda: bs.Surrogate("sigmoidal"),
        ParameterError,
        r"no surrogate 'sigmoidal'; did you mean 'sigmoid'\? Known: arctan",
    )
    refuse(lambda: bs.Surrogate(width=0.0), ParameterError, r"surrogate width 0\.0 must be positive")
    refuse(lambda: bs.Surrogate(width=NAN), ParameterError, r"surrogate width nan must be positive")
