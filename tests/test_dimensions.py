"""Dimension analysis: what it accepts, what it refuses, and what it says."""

import doctest
import importlib
import inspect
import pkgutil
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainsim as bs
from brainsim import dimensions
from brainsim.declare import Model
from brainsim.dimensions import ANY, UNKNOWN, check_units, dimension_of
from brainsim.errors import UnitError
from brainsim.units import parse_unit


class Cell(bs.Neuron):
    """A correct neuron; the tests spoil it one method at a time."""

    E = bs.param(-70.0, "mV")
    tau = bs.param(10.0, "ms", bounds=(0, None))
    R = bs.param(1.0, "GOhm")
    f = bs.param(5.0, "Hz")
    n = bs.param(2.0)
    two = bs.const(2.0)
    unit = bs.const(1.0, "mV")
    v = bs.state("E", "mV")
    x = bs.state(0.0)

    def dv(self, v, I):
        return (self.E - v + self.R * I) / self.tau

    def dx(self, x, v):
        return (bs.sigmoid((v - self.E) / self.unit) ** self.two - x) / self.tau

    def spike(self, v):
        return v - self.E

    def reset(self, v, x):
        return dict(v=self.E, x=x + 1.0)


def line_of(method, text):
    """Line at which `text` stands in a method."""
    lines, start = inspect.getsourcelines(method)
    return start + next(i for i, line in enumerate(lines) if text in line)


def spoil(**methods):
    """The cell with other methods; under this module name the class statement itself does not check."""
    return type(bs.Neuron)("Cell", (Cell,), {**methods, "__module__": "brainsim.test"})


def refused(model):
    with pytest.raises(UnitError) as error:
        check_units(model)
    return str(error.value)


def test_a_correct_model():
    assert check_units(Cell) == {"dv": "mV/ms", "dx": "1/ms", "spike": "mV", "reset.v": "mV", "reset.x": "1"}
    assert check_units(Cell()) == check_units(Cell)


def test_adding_mV_and_pA():
    def dv(self, v, I):
        return ((self.E - v) + I) / self.tau

    assert refused(spoil(dv=dv)) == (
        f"Cell.dv adds mV and pA (I) (test_dimensions.py:{line_of(dv, 'return')}: (self.E - v) + I); "
        "multiply the pA term by a resistance (GOhm) or correct a declared unit"
    )


def test_a_missing_time_constant():
    def dv(self, v, I):
        return self.E - v + self.R * I

    assert refused(spoil(dv=dv)) == (
        f"Cell.dv returns mV, must be mV/ms (test_dimensions.py:{line_of(dv, 'def dv')}); "
        "divide it by a time (ms) or correct a declared unit"
    )


def test_a_bare_number_where_a_voltage_is():
    def dv(self, v, I):
        return (v + 65.0) / self.tau

    assert "Cell.dv adds mV (v) and a plain number (test_dimensions.py:" in (text := refused(spoil(dv=dv)))
    assert text.endswith("v + 65.0); declare the number with its unit mV, by bs.const or bs.param")
    text = refused(spoil(dv=lambda self, v: (65.0 + v) / self.tau))
    assert "adds mV (v) and a plain number" in text or "adds a plain number and mV (v)" in text
    assert text.endswith("; declare the number with its unit mV, by bs.const or bs.param")
    assert "Cell.reset returns a plain number for v, must be mV" in refused(spoil(reset=lambda self: dict(v=-60.0)))


def test_the_line_inside_an_expression_of_many_lines():
    def dv(self, v, I):
        # fmt: off
        return (
            self.E / self.tau
            + self.E * jnp.exp(
                v / 10.0
            )
            / self.tau
        )
        # fmt: on

    text = refused(spoil(dv=dv))
    assert f"takes exp of mV, where only a plain number has a meaning (test_dimensions.py:{line_of(dv, 'exp')}:" in text
    assert "jnp.exp( v / 10.0 ));" in text


def test_an_error_inside_a_library_function_names_the_line_of_the_user():
    def dv(self, v, I):
        return self.E * bs.sigmoid(v) / self.tau + self.E * bs.exprel(v) / self.tau

    text = refused(spoil(dv=dv))
    assert f"(test_dimensions.py:{line_of(dv, 'return')}: bs.sigmoid(v))" in text


@pytest.mark.parametrize("body, problem", [
    (lambda self, v, I: self.E * self.f, "returns 0.001*mV/ms, must be mV/ms"),
    (lambda self, v, I: self.E * self.f, "a factor 0.001 apart: declare them in the same unit"),
    (lambda self, v, t: self.E * jnp.sin(self.f * t) / self.tau, "takes sin of a plain number times 0.001"),
    (lambda self, v, t: self.E * jnp.sin(self.f * t) / self.tau, "declare rates in 1/ms or kHz"),
    (lambda self, v: self.f * self.E + v / self.tau, "adds 0.001*mV/ms and mV/ms"),
    (lambda self, v: (v / self.unit) ** v, "uses an exponent of mV (v)"),
    (lambda self, v: v**self.n, "takes a variable power of mV (v)"),
    (lambda self, v: jnp.where(v > 1.0, v, 0.0), "compares mV (v) and a plain number"),
    (lambda self, v, I: jnp.where(v > 0, v, I), "chooses between pA (I) and mV (v)"),
    (lambda self, v, I: jnp.maximum(v, self.tau), "takes the larger of mV (v) and ms (tau)"),
    (lambda self, v, I: jnp.clip(v, self.E, 50.0), "takes the smaller of a plain number and mV"),
    (lambda self, v: jax.nn.relu(v - self.R), "subtracts mV (v) and GOhm (R)"),
    (lambda self, v: jax.jit(lambda y: y + self.R)(v), "adds mV (v) and GOhm"),
    (lambda self, v: jax.lax.cond(v > 0, lambda: v, lambda: v * v), "chooses between"),
    (lambda self, v: jnp.arctan2(v, self.tau), "takes the angle of mV (v) and ms (tau)"),
    (lambda self, v: jnp.hypot(v, self.tau), "takes the length of mV (v) and ms (tau)"),
    (lambda self, v: jnp.log(v), "takes log of mV (v)"), (lambda self, v: jnp.tanh(v), "takes tanh of mV (v)"),
    (lambda self, v: jnp.round(v), "takes round of mV (v)"),
    (lambda self, v: jax.scipy.special.erf(v), "takes erf of mV (v)"),
    (lambda self, v: jax.checkpoint(jnp.exp)(v), "takes exp of mV (v)"),
])  # fmt: skip
def test_what_is_refused(body, problem):
    assert f"Cell.dv {problem}" in (text := refused(spoil(dv=body))) or problem in text


@pytest.mark.parametrize("name, method, problem", [
    ("reset", lambda self, v: dict(v=self.tau), "Cell.reset returns ms for v, must be mV"),
    ("reset", lambda self, x: dict(x=x + self.E), "Cell.reset adds a plain number (x) and mV (E)"),
    ("init_v", lambda self, x: self.tau, "Cell.init_v returns ms, must be mV"),
    ("noise_v", lambda self, v: self.E / self.tau, "Cell.noise_v returns mV/ms, must be mV/ms**0.5"),
    ("dx", lambda self, x: x, "Cell.dx returns a plain number, must be 1/ms"),
    ("spike", lambda self, v: v - self.tau, "Cell.spike subtracts mV (v) and ms (tau)"),
])  # fmt: skip
def test_every_method_is_checked(name, method, problem):
    assert problem in refused(spoil(**{name: method}))


def test_noise_and_initial_values():
    fine = spoil(
        noise_v=lambda self, v: self.E / jnp.sqrt(self.tau), init_x=lambda self, v: v / self.E,
        init_v=lambda self, x: self.E * (1 + x),
    )  # fmt: skip
    assert check_units(fine)["noise_v"] == "mV/ms**0.5"
    assert check_units(fine)["init_x"] == "1"
    assert "Cell.y starts as E, which is mV, must be pA" in refused(spoil(y=bs.state("E", "pA", jump=True)))


def test_the_class_statement_refuses_at_once():
    with pytest.raises(UnitError, match=r"Bad.dv adds mV and pA \(I\)"):

        class Bad(Cell):
            def dv(self, v, I):
                return (self.E - v + I) / self.tau


def test_an_input_may_be_declared_otherwise():
    class Rate(bs.Neuron):
        I = bs.input()
        tau = bs.param(1.0, "ms", bounds=(0, None))
        r = bs.state(0.0)

        def dr(self, r, I):
            return (I - r) / self.tau

    assert check_units(Rate) == {"dr": "1/ms"}


class Conductance(bs.Synapse):
    """A correct synapse."""

    w = bs.weight("nS")
    tau = bs.param(5.0, "ms", bounds=(0, None))
    E = bs.param(0.0, "mV")
    g = bs.state(0.0, "nS", on="post")

    def dg(self, g):
        return -g / self.tau

    def on_pre(self, w):
        return dict(g=w)

    def current(self, g, v_post):
        return g * (self.E - v_post)


def spoil_synapse(**changes):
    return type(bs.Synapse)("Syn", (Conductance,), {**changes, "__module__": "brainsim.test"})


def test_synapses():
    assert check_units(Conductance) == {"current": "pA", "dg": "nS/ms", "on_pre.g": "nS"}
    assert "Syn.current returns nS, must be pA" in refused(spoil_synapse(current=lambda self, g: g))
    assert "Syn.on_pre returns pA for g, must be nS" in refused(spoil_synapse(w=bs.weight("pA")))
    delta = spoil_synapse(on_pre=lambda self, w: dict(v_post=w))
    assert "Syn.on_pre returns nS for v_post, must be mV" in refused(delta)
    assert check_units(spoil_synapse(current=lambda self, g: g, current_unit="nS"))["current"] == "nS"


def test_outputs_reach_current_times_the_weight():
    class Graded(bs.Synapse):
        w = bs.weight("nS")
        E = bs.param(0.0, "mV")
        s = bs.state(0.0, on="pre")
        tau = bs.param(5.0, "ms", bounds=(0, None))

        def ds(self, s, v_pre):
            return ((v_pre - self.E) / self.E - s) / self.tau

        def output(self, s):
            return dict(g=s, gE=s * self.E)

        def current(self, g, gE, v_post):
            return gE - g * v_post

    assert check_units(Graded) == {"output.g": "1", "output.gE": "mV", "current": "pA", "ds": "1/ms"}
    bad = type(bs.Synapse)("Bad", (Graded,), {"current": lambda self, g, gE: gE - g, "__module__": "brainsim.test"})
    assert "Bad.current subtracts pA (gE) and nS (g)" in refused(bad)
    free = type(bs.Synapse)("Free", (Graded,), {"w": bs.param(1.0), "__module__": "brainsim.test"})
    assert free.__weight__ is None or check_units(free)["current"] == "pA"


def test_an_undeclared_weight_and_unknown_states_of_the_partner_fit_anything():
    class Free(bs.Synapse):
        def on_pre(self, w):
            return dict(v_post=w)

        def current(self, w, ca_pre, v_post, v_pre):
            return w * (v_post - v_pre) * ca_pre

    assert check_units(Free) == {"on_pre.v_post": "unknown", "current": "unknown"}


@pytest.mark.parametrize("fn, units, expected", [
    (lambda v, g: g * v, ["mV", "nS"], "pA"), (lambda v, g: v / g, ["mV", "nS"], "mV/nS"),
    (lambda v: v**2, ["mV"], "mV**2"), (lambda v: v**2.0, ["mV"], "mV**2"), (lambda v: v**-1, ["mV"], "1/mV"),
    (lambda v: v**0.5, ["ms"], "ms**0.5"), (lambda v: jnp.sqrt(v), ["ms"], "ms**0.5"),
    (lambda v: jax.lax.rsqrt(v), ["ms"], "1/ms**0.5"), (jnp.square, ["mV"], "mV**2"),
    (lambda v: jnp.cbrt(v) ** 3, ["mV"], "mV"), (lambda v: 2 / v, ["ms"], "1/ms"), (lambda v: -abs(v), ["mV"], "mV"),
    (lambda v: jnp.where(v > 0, v, 0.0), ["mV"], "mV"), (lambda v: jnp.where(v > 0, v, jnp.nan), ["mV"], "mV"),
    (lambda v: jnp.nan_to_num(v), ["mV"], "mV"), (lambda v: jnp.clip(v, 0, None), ["mV"], "mV"),
    (lambda v: jnp.minimum(v, jnp.inf), ["mV"], "mV"), (lambda v, u: jnp.clip(v, -u, u), ["mV", "mV"], "mV"),
    (lambda v: jnp.zeros_like(v) + v, ["mV"], "mV"), (lambda v: jax.lax.clamp(0.0, v, v), ["mV"], "mV"),
    (lambda v: jnp.sign(v), ["mV"], "1"), (lambda v: v > 0, ["mV"], "1"),
    (lambda v: jnp.isfinite(v) * 1.0, ["mV"], "1"), (lambda v, u: jnp.arctan2(v, u), ["mV", "mV"], "1"),
    (abs, ["pA"], "pA"), (lambda v, u: jnp.hypot(v, u), ["mV", "mV"], "mV"), (lambda v: jax.nn.relu(v), ["pA"], "pA"),
    (lambda: 3.0, [], "1"), (lambda v, u: v % u, ["mV", "mV"], "mV"),
    (lambda v: jax.lax.stop_gradient(v), ["mV"], "mV"), (lambda x: jnp.exp(x), [None], "1"),
    (lambda v: jax.grad(lambda y: y**3)(v), ["mV"], "mV**2"),
    (lambda v: jax.jvp(jnp.square, (v,), (v,))[1], ["mV"], "mV**2"), (lambda a, b: a + b, ["V", "V"], "V"),
    (lambda a, b: a * b, ["Hz", "ms"], "0.001"), (jnp.logaddexp, [None, None], "1"),
    (lambda v: jax.lax.cond(v > 0, lambda: v, lambda: 2 * v), ["mV"], "mV"),
    (jax.checkpoint(lambda v: 2 * v), ["mV"], "mV"), (lambda v, key: v * jax.random.normal(key), ["mV", "1"], "mV"),
    (lambda v: bs.exp(v), [None], "1"), (lambda v: jnp.stack([v, v])[1], ["mV"], "unknown"),
    (lambda v: jax.lax.fori_loop(0, 3, lambda i, c: 2 * c, v), ["mV"], "unknown"),
    (lambda v: jax.lax.fori_loop(0, 3, lambda i, c: 2 * c, v) + v, ["mV"], "mV"), (lambda v: 0.0, ["mV"], "any"),
    (lambda v: 0.0 * v, ["mV"], "any"), (lambda v: 0.0 / v, ["mV"], "any"), (lambda v: v / 0.0, ["mV"], "unknown"),
])  # fmt: skip
def test_rules(fn, units, expected):
    assert str(dimension_of(fn, units)) == expected


def test_custom_derivatives():
    @jax.custom_vjp
    def vjp(x):
        return x * 2

    @jax.custom_jvp
    def jvp(x):
        return x * 3

    vjp.defvjp(lambda x: (vjp(x), None), lambda _, g: (g,))
    jvp.defjvp(lambda x, t: (jvp(*x), t[0]))
    assert str(dimension_of(lambda v: vjp(v) + jvp(v), ["mV"])) == "mV"
    with pytest.raises(UnitError, match=r"adds mV and ms"):
        dimension_of(lambda v, t: vjp(v) + jvp(t), ["mV", "ms"])


def test_dimension_of_takes_names_shapes_and_gives_pytrees():
    result = dimension_of(lambda v, g: {"a": [v, 0.0], "b": g * v}, {"g": "nS", "v": "mV"})
    assert str(result) == "{'a': [mV, 'any'], 'b': pA}" and result["a"][1] is ANY
    arrays = {"g": np.ones(3), "v": jax.ShapeDtypeStruct((3,), float)}
    assert str(dimension_of(lambda v, g: (g * v).sum(), {"v": "mV", "g": "nS"}, shapes=arrays)) == "pA"
    assert (
        str(dimension_of(lambda g, v: jnp.dot(g, v), ["nS", parse_unit("mV")], shapes=[np.ones(3), np.ones(3)])) == "pA"
    )
    assert dimension_of(lambda v: v * 2, [UNKNOWN]) is UNKNOWN
    assert dimension_of(lambda v, u: v / u, [UNKNOWN, "mV"]) is UNKNOWN
    with pytest.raises(UnitError, match=r"^potential adds mV \(v\)"):
        dimension_of(lambda v: v + 1.0, ["mV"], where="potential")


def test_nothing_is_left_of_a_literal_after_a_sign():
    """The exponent -n must not be taken for n."""
    with pytest.raises(UnitError, match="variable power"):
        dimension_of(lambda v: jax.jit(lambda v, n: v**-n)(v, 2.0), ["mV"])
    assert str(dimension_of(lambda v: jax.jit(lambda v, n: v**n)(v, 2.0), ["mV"])) == "mV**2"


def test_a_constant_is_a_known_exponent():
    assert check_units(spoil(dv=lambda self, v: v**self.two / self.unit / self.tau))["dv"] == "mV/ms"


def test_the_line_is_not_that_of_an_earlier_trace():
    """jax keeps the traces of its own functions: inside jnp.where the line of the first caller is remembered."""

    def first(v, u):
        return jnp.where(v > 0, v, u)

    def second(v, u):
        return jnp.where(v > 0, v, u)

    assert str(dimension_of(first, ["mV", "mV"])) == "mV"
    with pytest.raises(UnitError, match=rf"chooses between .*test_dimensions.py:{line_of(second, 'where')}: jnp.where"):
        dimension_of(second, ["mV", "ms"])


MODELS = sorted({
    model
    for folder in ("neurons", "synapses")
    for info in pkgutil.iter_modules(importlib.import_module(f"brainsim.models.{folder}").__path__)
    for model in vars(importlib.import_module(f"brainsim.models.{folder}.{info.name}")).values()
    if inspect.isclass(model) and issubclass(model, Model) and model.__methods__
}, key=lambda m: m.__name__)  # fmt: skip


@pytest.mark.parametrize("model", MODELS, ids=lambda m: m.__name__)
def test_analysis_agrees_with_scaling(model):
    """Another way to the same answer: measured in other units, every method returns the same thing in other units."""
    found = check_units(model)
    factors = np.exp(np.random.default_rng(0).uniform(-0.7, 0.7, (3, 7)))
    factors[0] = 1.0  # the first of three cells is measured in the usual units
    for method in model.__methods__:
        if "key" in model.__methods__[method]:
            continue
        for key, result in evaluate(model, method, factors).items():
            unit = found[f"{method}.{key}" if key else method]
            if unit != "unknown":
                np.testing.assert_allclose(result, result[0] * size(unit, factors), rtol=2e-4, atol=1e-30)


def size(unit, factors):
    return np.prod(factors ** np.array([float(p) for p in parse_unit(unit).powers]), axis=1)


def evaluate(model, method, factors):
    """Results of a method by key, shape (3,), with all values measured in units that are `factors` times smaller."""
    sums = {k: f"({model.__weight__.unit or '1'})*({u})" for k, u in outputs(model).items()}
    known = {**{p: s.default for p, s in model.__params__.items()}, **{c: s.value for c, s in model.__consts__.items()}}
    units = {p: s.unit for p, s in {**model.__params__, **model.__consts__}.items()}
    values = {k: jnp.asarray(x * size(units[k], factors), jnp.float32) for k, x in known.items()}
    arguments = {}
    for i, name in enumerate(model.__methods__[method]):
        spec = model.__states__.get(name) or model.__inputs__.get(name)
        unit = spec.unit if spec else sums.get(name) or {"w": getattr(model.__weight__, "unit", "1")}.get(name)
        unit = unit or ("mV" if name in ("v_pre", "v_post") else "ms" if name in ("t", "dt") else "1")
        value = {"mV": -51.3 - i, "1": 0.37 + 0.1 * i}.get(unit, 0.8 + 0.1 * i)
        arguments[name] = jnp.asarray(value * size(unit, factors), jnp.float32)
    result = getattr(model.__bind__(values), method)(**arguments)
    result = result if isinstance(result, dict) else {"": result}
    return {k: np.broadcast_to(np.asarray(x, np.float64), 3) for k, x in result.items()}


def outputs(model):
    return {k[7:]: u for k, u in check_units(model).items() if k.startswith("output.")}


def test_doctests():
    assert doctest.testmod(dimensions).failed == 0 < doctest.testmod(dimensions).attempted


def test_messages_have_three_parts():
    """What was given, why it is wrong, what to write instead."""
    text = refused(spoil(dv=lambda self, v: v + 1.0))
    given, why, write = re.fullmatch(r"Cell\.dv (.*) \((test_dimensions\.py:\d+: .*)\); (.*)", text).groups()
    assert given == "adds mV (v) and a plain number" and why.endswith(": v + 1.0") and write.startswith("declare ")
