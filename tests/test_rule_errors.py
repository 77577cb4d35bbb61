"""Bad input to plasticity: every error names the rule, projection or method, says why, and what to write instead."""

import random

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainsim as bs
from brainsim import models
from brainsim.errors import (
    BrainsimError,
    ConnectError,
    DefinitionError,
    FileFormatError,
    NonFiniteError,
    ParameterError,
    RunError,
    UnknownNameError,
)
from brainsim.rule_trial import try_method


def refuse(what, error, message):
    with pytest.raises(error, match=message) as caught:
        what()
    assert isinstance(caught.value, BrainsimError)
    assert len(str(caught.value)) < 600
    return caught.value


class Pair(bs.Plasticity):
    A, tau_trace = bs.param(0.02), bs.param(20.0, "ms", bounds=(0, None))
    x, y = bs.state(0.0, on="pre"), bs.state(0.0, on="post")

    def dx(self, x):
        return -x / self.tau_trace

    def dy(self, y):
        return -y / self.tau_trace

    def on_pre(self, y):
        return dict(x=1.0, w=-self.A * y)

    def on_post(self, x):
        return dict(y=1.0, w=self.A * x)


class OtherPair(Pair):
    pass


class Voltage(bs.Plasticity):
    v_post = bs.state(0.0, on="edge", jump=True)

    def on_post(self, v_post):
        return dict(w=v_post)


def network(rule=None, synapse=None, weight=1.0, source=None, **how):
    """Three sources that fire often on two cells; projection "s" of six edges."""
    net = bs.Network()
    a = net.add("a", models.PoissonSource(rate=100.0) if source is None else source, 3)
    b = net.add("b", models.LIF(), 2)
    synapse = models.ExpCurrent() if synapse is None else synapse
    rule = Pair() if rule is None else rule
    net.connect(a, b, synapse, bs.all_to_all(), weight=weight, plasticity=rule, name="s", **how)
    return net


def compiled(*args, **how):
    return network(*args, **how).compile(dt=0.5)


ONES = np.ones(6)

# ---- weights outside of their bounds ----------------------------------------------------------------------------------

OUTSIDE = {
    "hard": (dict(bounds=(0.0, 2.0)), [1, 3, 1, -1, 1, 1], r"s\.weight: 2 of 6 edges, first edge 1 = 3 lies outside the bounds \[0, 2\] pA of the plastic weights of 's'; give weights inside, or connect with wider bounds= \(bs\.unbounded\(\)"),
    "soft": (dict(bounds=bs.soft(0.5, 2.0)), [1, 1, 1, 1, 0.4, 1], r"1 of 6 edges, first edge 4 = 0\.4 lies outside the bounds \[0\.5, 2\]"),
    "multiplicative": (dict(bounds=bs.multiplicative(0.0, 2.0)), [1, 1, 1, 1, 1, 2.1], r"first edge 5 = 2\.1 lies outside the bounds \[0, 2\]"),
    "Dale": ({}, [1, 1, -1, 1, 1, 1], r"first edge 2 = -1 lies outside the bounds \[0, inf\] pA.*no bounds= were given: a weight keeps its sign, Dale's law"),
}  # fmt: skip


@pytest.mark.parametrize("case", OUTSIDE)
def test_weights_outside_of_their_bounds(case):
    how, given, message = OUTSIDE[case]
    sim = compiled(weight=ONES, **how)
    refuse(lambda: sim.run(1.0, params={"s.weight": np.array(given, float)}), ParameterError, message)


def test_recorded_weights_are_called_w():
    refuse(
        lambda: network().compile(record=["s.weight"]), UnknownNameError, r"'s\.weight': weights of 's': write 's\.w'"
    )


def test_traced_weights_are_not_known():
    sim = compiled(weight=ONES, bounds=(0.0, 2.0))
    jax.eval_shape(lambda w: sim.run(1.0, params={"s.weight": w}), jnp.full(6, 3.0))
    message = "6 of 6 edges, first edge 0 = 3 lies outside"
    known = lambda: jax.eval_shape(lambda tau: sim.run(1.0, params={"b.tau": tau, "s.weight": 3.0 * ONES}), 10.0)
    refuse(known, ParameterError, message)


def test_traced_weights_outside_of_their_bounds_are_nan():
    """Weights at a bound, also by rounding, are inside, and their derivative is whole."""
    sim = compiled(weight=0.2 * ONES, bounds=(0.1, 0.3))
    end = jax.jit(lambda w: sim.run(1.0, params={"s.weight": w}).state["plastic"])
    above = float(np.nextafter(np.float32(0.3), np.float32(1.0)))
    (w,) = [x["w"] for x in end(jnp.array([0.1, 0.05, 0.3, above, 0.31, 0.2])).values()]
    np.testing.assert_array_equal(np.isnan(w), [False, True, False, False, True, False])
    np.testing.assert_allclose(w[3], 0.3, rtol=1e-6)
    total = lambda w: sum(x["w"].sum() for x in end(w).values())
    np.testing.assert_array_equal(jax.grad(total)(jnp.full(6, 0.1)), np.ones(6))
    assert np.isnan(total(jnp.full(6, 0.4)))


def test_one_weight_for_all_edges():
    sim = compiled(bounds=(0.0, 2.0))
    refuse(
        lambda: sim.run(1.0, params={"s.weight": 5.0}), ParameterError, r"s\.weight: 5 lies outside the bounds \[0, 2\]"
    )
    message = r"s\.weight has shape \(6,\); give a number: 's' was connected with one weight for all edges; connect with an array"
    refuse(lambda: sim.run(1.0, params={"s.weight": ONES}), ParameterError, message)


def test_bounds_are_compared_in_the_precision_of_the_run():
    """0.1 and 0.3 are not float32 numbers; they are inside of bounds of the same value."""
    sim = compiled(weight=np.full(6, 0.1, np.float32), bounds=(0.1, 0.3))
    assert sim.run(0.0).complete
    jax.eval_shape(lambda: sim.run(1.0, params={"s.weight": np.full(6, 0.3)}))
    refuse(lambda: sim.run(1.0, params={"s.weight": np.full(6, 0.301)}), ParameterError, "6 of 6 edges")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """(state, file) after a run with weights of 20 pA."""
    sim, path = compiled(weight=20.0, bounds=(0.0, 50.0)), tmp_path_factory.mktemp("rule") / "c.h5"
    sim.advance(1.0)
    sim.checkpoint(path)
    return sim.state, path


def test_weights_that_come_from_a_state_a_checkpoint_or_a_derived_parameter(saved):
    state, path = saved
    sim = compiled(bounds=(0.0, 2.0))
    message = (
        r"s\.w: 6 of 6 edges, first edge 0 = 20.* lies outside the bounds \[0, 2\] pA of the plastic weights of 's'"
    )
    refuse(lambda: sim.run(1.0, state=state), ParameterError, "before the run, " + message)
    refuse(lambda: sim.restore(path), FileFormatError, r"c\.h5: " + message)
    assert sim.state is None
    net = network(bounds=(0.0, 2.0))
    net.derive("s.weight", lambda p: 9.0 + 0.0 * p["s.A"])
    message = r"s\.w: 6 of 6 edges, first edge 0 = 9 lies outside"
    refuse(lambda: net.compile(dt=0.5).run(1.0), ParameterError, message)


def test_a_checkpoint_of_another_rule(saved):
    state, path = saved
    how = dict(weight=20.0, bounds=(0.0, 50.0))
    message = r"has s \(ExpCurrent, learns by Pair\) where this one has s \(ExpCurrent, learns by OtherPair\)"
    refuse(lambda: compiled(OtherPair(), **how).restore(path), FileFormatError, message)
    same = compiled(**how)
    same.restore(path)
    np.testing.assert_array_equal(same.state["plastic"]["learner0"]["w"], state["plastic"]["learner0"]["w"])


# ---- parameters of rules -----------------------------------------------------------------------------------------------


def test_parameters_of_rules_are_checked_numbers():
    message = r"s: Pair\.A {}; a parameter of a rule is one number for all edges: give a number, .*on='edge'.*net\.init"
    refuse(lambda: network(Pair(A=ONES)), ParameterError, message.format(r"has shape \(6,\)"))
    refuse(lambda: network(Pair(A=bs.uniform(0.0, 1.0))), ParameterError, message.format(r"is uniform\(0\.0, 1\.0\)"))
    sim = compiled()
    run = lambda **params: lambda: sim.run(1.0, params={k.replace("__", "."): v for k, v in params.items()})
    refuse(run(s__A=ONES), ParameterError, r"s\.A has shape \(6,\); give a number: a parameter of a rule is one number")
    refuse(
        run(s__tau_trace=-10.0), ParameterError, r"s\.tau_trace = -10 lies outside \(0, inf\) ms; give a value inside"
    )
    jax.eval_shape(lambda: sim.run(1.0, params={"s.tau_trace": "0.02 s"}))
    refuse(run(s__w=ONES), UnknownNameError, r"no parameter 's\.w'; did you mean 's\.weight'\?")
    refuse(lambda: models.STDP(tau_plus=-1.0), ParameterError, r"STDP\.tau_plus = -1 lies outside \(0, inf\) ms")


# ---- a rule's own methods ----------------------------------------------------------------------------------------------


def define(**body):
    """A rule with a trace x on the source and these methods."""
    namespace = {"A": bs.param(0.02), "ms": bs.const(1.0, "ms"), "x": bs.state(0.0, on="pre")}
    namespace |= {"dx": lambda self, x: -x / self.ms, **body}
    return type(bs.Plasticity)("Mine", (bs.Plasticity,), {**namespace, "__module__": __name__})


def branches(self, w):
    if w > 0:
        return dict(w=1.0)


RNG, KEY = np.random.default_rng(0), jax.random.key(0)
WHERE, NP = (
    r".*; if, and, or.*write jnp\.where\(condition, a, b\) instead of if",
    r".*write jnp\.exp instead of np\.exp",
)
FROZEN = r", but an equation is traced once.*the same number in every step; "
METHODS = {
    "if": (dict(on_pre=branches), rf"Mine\.on_pre \(test_rule_errors\.py:\d+: if w > 0:\): TracerBool{WHERE}"),
    "if of a parameter": (dict(dw=lambda self, w: w if self.A > 0 else -w), rf"Mine\.dw \({WHERE}"),
    "if in a trace": (dict(dx=lambda self, x: 1.0 if x > 0 else 0.0, dw=lambda self: 1.0), rf"Mine\.dx \({WHERE}"),
    "if of a modulator": (dict(d=bs.state(0.0, on="projection", jump=True), on_modulator=lambda self, d: dict(d=max(d, 1.0)), dw=lambda self, d: d), rf"Mine\.on_modulator \({WHERE}"),
    "if of a key": (dict(on_pre=lambda self, key: dict(w=1.0 if bs.uniform_of(key) < 0.5 else 0.0)), rf"Mine\.on_pre \({WHERE}"),
    "NumPy": (dict(on_post=lambda self, x: dict(w=np.exp(x))), rf"Mine\.on_post \(.*TracerArray{NP}"),
    "float": (dict(dw=lambda self, x: float(x)), r"Mine\.dw \(.*Concretization.*float\(\), int\(\), range\(\).*write jnp\.exp instead of math\.exp"),
    "key for jax.random": (dict(on_pre=lambda self, key: dict(w=jax.random.uniform(key))), r"Mine\.on_pre \(.*write bs\.jax_key\(key\)"),
    "unknown name": (dict(dw=lambda self, x: y_trace), r"Mine\.dw \(.*NameError: name 'y_trace' is not defined; correct the equation"),  # noqa: F821
    "unknown parameter": (dict(dw=lambda self, x: self.AA * x), r"Mine\.dw \(.*there is no parameter 'AA'; did you mean 'A'\? Known: A"),
    "argument": (dict(dw=lambda self, q: q), r"Mine\.dw asks for 'q', which it cannot have; available are"),
    "trace that nobody makes": (dict(on_post=lambda self, z: dict(w=z)), r"Mine\.on_post asks for 'z', which it cannot have"),
    "error of its own": (dict(on_post=lambda self, x: dict(w=1 / 0)), r"Mine\.on_post \(.*ZeroDivisionError: division by zero"),
    "complex": (dict(on_post=lambda self, x: dict(w=1j * x)), r"Mine\.on_post returns a complex number for 'w'; take its real part, \.real"),
    "complex slope": (dict(dw=lambda self, x: jnp.sqrt(x + 0j)), r"Mine\.dw returns a complex number; take its real part"),
    "shape": (dict(on_post=lambda self, x: dict(w=x * jnp.ones(2))), r"Mine\.on_post returns an array of shape \(2,\) for 'w'; an equation is that of ONE edge.*write w=\.\.\. with one number"),
    "dict for a number": (dict(dw=lambda self, x: dict(w=x)), r"Mine\.dw returns a dict; return the derivative as one number"),
    "text": (dict(on_post=lambda self, x: dict(w="a")), r"Mine\.on_post returns a str for 'w'; write w="),
    "None for a slope": (dict(dw=lambda self, x: None), r"Mine\.dw returns None \(is the return missing\?\); return the derivative"),
    "None": (dict(on_post=lambda self, x: None), r"Mine\.on_post must return a dict of names, got None \(is the return missing\?\); write return dict\(w=\.\.\.\)"),
    "np.random": (dict(on_post=lambda self, x: dict(w=np.random.rand() * x)), rf"Mine\.on_post draws from np\.random{FROZEN}ask for key and write bs\.uniform_of\(key\), as in def on_post\(self, key\)"),  # noqa: NPY002
    "random": (dict(dw=lambda self, x: random.random() * x), rf"Mine\.dw draws from Python's random{FROZEN}draw in on_pre or on_post"),
    "a choice by random": (dict(dw=lambda self, x: x if random.random() < 0.5 else -x), rf"Mine\.dw draws from Python's random{FROZEN}"),
    "a generator": (dict(dw=lambda self, x: RNG.random() * x), rf"Mine\.dw gives other constants each time it is called{FROZEN}"),
    "a generator, unscaled": (dict(dx=lambda self, x: -x, dw=lambda self: RNG.random()), rf"Mine\.dw gives other constants each time it is called{FROZEN}"),
    "a key made inside": (dict(on_post=lambda self, x: dict(w=jax.random.uniform(jax.random.key(0)) * x)), rf"Mine\.on_post draws from a key of its own{FROZEN}"),
    "a key from outside": (dict(on_post=lambda self, x: dict(w=jax.random.uniform(KEY) * x)), rf"Mine\.on_post draws from a key of its own{FROZEN}"),
    "weight as a state": (dict(w=bs.state(1.0, on="edge", jump=True), dw=lambda self: 1.0), r"Mine: 'w' belongs to the projection; choose another name"),
}  # fmt: skip


@pytest.mark.parametrize("case", METHODS)
def test_methods_are_tried_when_they_are_defined(case):
    body, message = METHODS[case]
    refuse(lambda: define(**body), DefinitionError, message)


def test_the_cause_stays_with_the_error():
    assert isinstance(
        refuse(lambda: define(on_pre=branches), DefinitionError, "on_pre").__cause__,
        jax.errors.TracerBoolConversionError,
    )


def test_what_is_right_is_not_refused():
    define(
        s=bs.state(0.0, on="edge"),
        ds=lambda self, s, x: jnp.where(x > 0, jax.nn.relu(x) - s, -s) / self.ms,
        on_pre=lambda self, key: dict(w=self.A * (bs.uniform_of(key) < 0.5), x=1),
        on_post=lambda self, x, key: dict(w=jax.random.normal(bs.jax_key(key)) * x, s=np.float64(2.0)),
        dw=lambda self, s, w: jax.lax.cond(s > 0, lambda: w, lambda: 2.0 * w),
    )
    found = [getattr(models, name) for name in dir(models)]
    for rule in (x for x in found if isinstance(x, type) and issubclass(x, bs.Plasticity)):
        for method, asked in rule.__methods__.items():
            try_method(rule, method, asked)


# ---- names ---------------------------------------------------------------------------------------------------------------


class Clashing(bs.Plasticity):
    tau = bs.param(20.0, "ms")

    def dw(self):
        return 1.0 / self.tau


class MySynapse(bs.Synapse):
    w, A_plus = bs.weight("pA"), bs.param(1.0, "1")
    i = bs.state(0.0, "pA", jump=True)

    def on_pre(self, w):
        return dict(i=self.A_plus * w)

    def current(self, i):
        return i


NAMES = {
    "rule and synapse": (lambda: network(Clashing()), r"s: 'tau' is a parameter of the synapse ExpCurrent and a parameter of the plasticity rule Clashing, but 's\.tau' must mean one thing; rename the parameter of Clashing, for example to 'tau_rule'"),
    "the synapse is the user's": (lambda: network(models.STDP(), MySynapse()), r"'A_plus' is a parameter of the synapse MySynapse and a parameter of the plasticity rule STDP.*rename the parameter of MySynapse, for example to 'A_plus_syn'"),
    "two rules": (lambda: network([Pair(), OtherPair()]), r"'A' is a parameter of the plasticity rule Pair and a parameter of the plasticity rule OtherPair.*rename the parameter of OtherPair"),
    "one rule twice": (lambda: network([Pair(), Pair()]), r"plasticity= holds Pair twice, and 's\.A' could mean either; add up"),
    "state of a cell": (lambda: network(Voltage()), r"'v_post' is a state of the plasticity rule Voltage, and means the state 'v' of LIF as well; rename the state of Voltage"),
    "no rule": (lambda: network([]), r"plasticity=\[\] names no rule; give one such as STDP\(\)"),
}  # fmt: skip


@pytest.mark.parametrize("case", NAMES)
def test_names_that_clash(case):
    what, message = NAMES[case]
    refuse(what, ConnectError, message)


@pytest.mark.parametrize("name", ("s.w", "s.weight", "*.w"))
def test_initial_weights_are_no_states(name):
    message = r"initial weights are parameters such as 's\.weight': write connect\(\.\.\., weight=\.\.\.\), or sim\.run"
    refuse(lambda: network().init(name, 2.0), UnknownNameError, message)


def test_names_of_learning_and_records():
    net = network()
    net.connect("b", "b", models.ExpCurrent(), bs.all_to_all(), weight=1.0, name="static")
    sim = net.compile(dt=0.5)
    for name in ("static.learning", "s.lerning", "nobody.learning"):
        refuse(lambda name=name: sim.run(1.0, inputs={name: 0.0}), UnknownNameError, r"did you mean 's\.learning'\?")
    for name, says in {
        "s.weight": r"write 's\.w'",
        "t.w": r"did you mean 's\.w'",
        "static.w": "it does not learn",
    }.items():
        refuse(lambda name=name: net.compile(record=[name]), UnknownNameError, rf"'{name}'.*{says}")


# ---- bounds, modulators, rewiring ------------------------------------------------------------------------------------------

ARGUMENTS = {
    "order": (dict(bounds=(2, 0)), r"s: bounds=\(2, 0\): bounds are in the wrong order; write bounds=\(low, high\), low below high"),
    "nan": (dict(bounds=(0, float("nan"))), r"s: bounds: high is nan; write a number, or None"),
    "an array": (dict(bounds=(0, np.ones(5))), r"s: bounds: high has shape \(5,\); bounds are two numbers for all edges"),
    "three": (dict(bounds=(0, 1, 2)), r"s: bounds=\(0, 1, 2\); write \(low, high\)"),
    "outside": (dict(bounds=(0, 0.5)), r"s: initial weights lie in \[1, 1\], outside the bounds \[0, 0\.5\] of a plastic weight"),
    "drawn outside": (dict(bounds=(0, 2), weight=bs.uniform(0.0, 9.0)), r"s: initial weights lie in .*outside the bounds \[0, 2\]"),
    "no dict": (dict(rule=models.ThreeFactorSTDP(), modulators="b.v"), r"s: modulators='b\.v'; give a dict such as \{'modulator': 'population\.state'\}"),
    "no state": (dict(rule=models.ThreeFactorSTDP(), modulators={"modulator": "b"}), r"s: modulators\['modulator'\] = 'b'; write a name such as 'population\.state'"),
    "new edges outside": (dict(weight=2.0, bounds=(1, 3), rewiring=bs.rewiring(10.0, fraction=0.1)), r"s: rewiring\(weight=0\) gives new edges a weight outside the bounds \[1, 3\]; write a weight= inside"),
}  # fmt: skip


@pytest.mark.parametrize("case", ARGUMENTS)
def test_arguments_of_connect(case):
    how, message = ARGUMENTS[case]
    refuse(lambda: network(**how), BrainsimError, message)


def test_words_of_bounds():
    refuse(lambda: bs.soft(0, np.ones(6)), ConnectError, r"soft: high has shape \(6,\); bounds are two numbers")
    refuse(
        lambda: bs.hard("0 pA", 1),
        ConnectError,
        r"hard: low = '0 pA' is no number; write one in the unit of the weight",
    )
    refuse(lambda: bs.soft(0, 1, exponent="a"), ConnectError, r"soft: exponent = 'a'; it is 0 \(additive\)")
    assert network(bounds=("0 pA", "0.002 nA"))["s"].plastic.bounds.high == pytest.approx(2.0)
    refuse(lambda: network(bounds=("0 mV", "3 mV")), BrainsimError, r"s: bounds, low needs current")


def test_a_modulator_of_the_wrong_shape():
    sim = compiled(models.ThreeFactorSTDP())
    for given in (np.ones(6), np.ones(5)):
        refuse(
            lambda given=given: sim.run(5.0, inputs={"s.modulator": given}),
            RunError,
            r"s\.modulator: \d values for 2 cells",
        )


def test_a_modulator_from_two_places():
    sim = compiled(models.ThreeFactorSTDP(), modulators={"modulator": "b.v"})
    message = (
        r"input 's\.modulator' comes from 'b\.v' already \(modulators= of the connection\).*leave it out of inputs="
    )
    refuse(lambda: sim.run(1.0, inputs={"s.modulator": 1.0}), RunError, message)


# ---- states that are not finite --------------------------------------------------------------------------------------------


class Bursts(bs.Plasticity):
    """One state, by its name, becomes not a number at 5 ms."""

    which, ms = bs.param(0.0), bs.const(1.0, "ms")
    e = bs.state(1.0, on="edge")
    z_in, z_out = bs.state(1.0, on="pre"), bs.state(1.0, on="post")
    p = bs.state(1.0, on="projection")

    def _slope(self, number, x, t):
        return jnp.where((self.which == number) & (t > 4.9 * self.ms), jnp.nan, -x) / self.ms

    def dz_in(self, z_in, t):
        return self._slope(0, z_in, t)

    def dz_out(self, z_out, t):
        return self._slope(1, z_out, t)

    def de(self, e, t):
        return self._slope(2, e, t)

    def dp(self, p, t):
        return self._slope(3, p, t)

    def dw(self, w, t):
        return jnp.where((self.which == 4) & (t > 4.9 * self.ms), jnp.nan, -w) / self.ms


def test_states_of_rules_that_are_not_finite():
    sim = compiled(Bursts(), weight=ONES)
    messages = (
        r"s\.z_in, a state of the rule Bursts, became nan in source cells 0, 1, 2 at 5\.5 ms",
        r"s\.z_out, a state of the rule Bursts, became nan in target cells 0, 1 at 5\.5 ms",
        r"s\.e, a state of the rule Bursts, became nan on edges 0, 1, 2, \.\.\. at 5\.5 ms",
        r"s\.p, a state of the rule Bursts, became nan at 5\.5 ms\. Reduce dt",
    )
    for which, message in enumerate(messages):
        refuse(lambda which=which: sim.run(10.0, params={"s.which": which}), NonFiniteError, message)
    refuse(
        lambda: sim.run(10.0, params={"s.which": 4}),
        NonFiniteError,
        r"s\.w, which Bursts changes, became nan on edges 0",
    )
