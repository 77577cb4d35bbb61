"""Units: the scale factors, what unit strings mean, and the door."""

import doctest
import math
import subprocess
import sys
from fractions import Fraction

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brainsim import units
from brainsim.errors import ParameterError, UnitError
from brainsim.units import Dimension, parse_unit, to_canonical

FACTORS = {name: value for name, value in vars(units).items() if isinstance(value, float)}
LONG = {"second": "s", "minute": "min", "hour": "h"}


@pytest.mark.parametrize("name", FACTORS)
def test_factors_are_what_the_strings_mean(name):
    assert parse_unit(name).scale == pytest.approx(FACTORS[name], rel=1e-12)
    assert parse_unit(LONG.get(name, name)).scale == pytest.approx(FACTORS[name], rel=1e-12)


def test_powers_of_ten_are_exact():
    assert {n: parse_unit(n).scale for n in FACTORS if n != "mmHg"} == {n: v for n, v in FACTORS.items() if n != "mmHg"}


def test_every_name_has_one_reading():
    allowed = {p: units._RARE.get(p, " ".join(units._PREFIXED)).split() for p in units._PREFIXES}
    names = [*units._WHOLE, *(prefix + base for prefix, bases in allowed.items() for base in bases)]
    assert len(set(names)) == len(names) > 150
    assert all(parse_unit(name).scale > 0 for name in names if name != "as")  # a keyword, and no time of neurons


@pytest.mark.parametrize("product, unit", [
    ("nS*mV", "pA"), ("pF*mV/ms", "pA"), ("GOhm*pA", "mV"), ("mV/GOhm", "pA"), ("pF/nS", "ms"), ("GOhm*pF", "ms"),
    ("um^4*Pa/(Pa*ms*um)", "um^3/ms"), ("1/ms", "kHz"), ("uF/cm^2*mV/ms", "uA/cm^2"), ("mS*mV", "uA"),
    ("mM", "mmol/L"), ("mM*um**3", "amol"), ("Pa*um^3", "mV*pA*ms"), ("J/m^3", "Pa"), ("g/m/s^2", "mPa"),
    ("N/m^2", "Pa"), ("cP", "mPa*s"), ("1", "mV/mV"), ("mV/sqrt(ms)", "mV/ms**0.5"), ("mV/ms**(1/2)", "mV/ms^0.5"),
    ("mPa s", "Pa*ms"), ("C/s", "A"), ("\u00b5S", "uS"), ("\u03bcm\u00b2", "um^2"), ("G\u03a9", "GOhm"),
    ("G\u2126", "GOhm"), ("ms\u207b\u00b9", "1/ms"), ("mV\u00b7ms", "mV*ms"), ("nL/min", "1e6*um^3/minute"),
    ("100*um", "0.1 mm"), ("mol", "1e18*amol"),
])  # fmt: skip
def test_products(product, unit):
    assert parse_unit(product) == parse_unit(unit)


def test_the_physics_of_the_bases():
    """Every symbol against SI, by way of kg, m, s, A, K, mol."""
    si = {"ms": 1e-3, "mV": 1e-3, "pA": 1e-12, "um": 1e-6, "amol": 1e-18}
    known = {"nS": 1e-9, "pF": 1e-12, "GOhm": 1e9, "nL": 1e-12, "mmHg": 133.322, "g": 1e-3, "P": 0.1, "min": 60.0}
    for name, value in {**known, **dict.fromkeys(["Pa", "mM", "Hz", "J", "W", "N", "C", "K"], 1.0)}.items():
        d = parse_unit(name)
        size = math.prod(si.get(b, 1.0) ** float(p) for b, p in zip(units.BASES, d.powers))
        assert d.scale * size == pytest.approx(value)


@pytest.mark.parametrize("different", [("mV", "ms"), ("Hz", "1/ms"), ("K", "degC"), ("nS", "pS"), ("um", "um^2")])
def test_units_that_are_not_equal(different):
    assert parse_unit(different[0]) != parse_unit(different[1])


def test_dimensionless():
    for unit in (None, "", "1", "mV/mV"):
        assert parse_unit(unit).plain
    assert not parse_unit("percent").plain and not parse_unit("Hz*ms").plain
    assert parse_unit(parse_unit("mV")) == parse_unit("mV")


@pytest.mark.parametrize("unit, text", [
    ("foo", "there is no unit 'foo'"), ("mv", "did you mean 'mV'?"), ("MS", "did you mean 'ms' or 'mS'?"),
    ("Ms", "no unit 'Ms'"), ("mV/", "cannot be read"), ("mV+ms", "only names, *, / and ** are understood"),
    ("mV**ms", "an exponent is a number"), ("mV**99", "an exponent is a number"), ("0*mV", "cannot be read"),
    ("-1*mV", "cannot be read"), ("1/0", "cannot be read"), ("__import__('os')", "only names"),
    ("(" * 500, "cannot be read"), (3, "a unit is a string, got 3"), ([], "a unit is a string"),
])  # fmt: skip
def test_bad_units(unit, text):
    with pytest.raises(UnitError) as error:
        parse_unit(unit)
    assert text in str(error.value)


@pytest.mark.parametrize("unit, kind, name", [
    ("mV", "voltage", "mV"), ("V", "voltage", "V"), ("nS", "conductance", "nS"), ("Hz", "rate", "Hz"),
    ("1", "plain number", "1"), ("nS/mV", "value in nS/mV", "nS/mV"), ("pA*ms", "charge", "pA*ms"),
    ("mM", "concentration", "mM"),
])  # fmt: skip
def test_words(unit, kind, name):
    assert parse_unit(unit).kind == kind and str(parse_unit(unit)) == name


@pytest.mark.parametrize("unit, name", [
    ("pA/mV", "nS"), ("mV/ms", "mV/ms"), ("mV*ms**-0.5", "mV/ms**0.5"), ("Hz", "0.001*1/ms"), ("V", "1000*mV"),
    ("mV/ms/ms", "mV/ms**2"), ("Hz*ms", "0.001"), ("ms/ms", "1"), ("1/mV", "1/mV"), ("K*um", "um*K"),
])  # fmt: skip
def test_names_of_computed_units(unit, name):
    d = parse_unit(unit)
    assert repr(Dimension(d.scale, d.powers)) == name


def test_algebra_of_dimensions():
    mV, ms = parse_unit("mV"), parse_unit("ms")
    assert mV * ms / ms == mV and (mV**2) ** 0.5 == mV and mV**-1 * mV == parse_unit("1")
    assert (ms ** (1 / 3)).powers[0] == Fraction(1, 3)
    assert hash(mV) == hash(parse_unit("V")) and mV != "mV"


@pytest.mark.parametrize("given, unit, value", [
    ("20 ms", "ms", 20.0), ("1e-2 s", "ms", 10.0), ("-70mV", "mV", -70.0), ("\u221270 mV", "mV", -70.0),
    (" +.5 V ", "mV", 500.0), ("20\u00b5s", "ms", 0.02), ("20 \u03bcs", "ms", 0.02), ("5 G\u03a9", "GOhm", 5.0),
    ("3 mV s\u207b\u00b9", "mV/ms", 0.003), ("20 Hz", "Hz", 20.0), ("2 kHz", "Hz", 2000.0), ("20 Hz", "1/ms", 0.02),
    ("20/s", "Hz", 20.0), ("0.3 nA", "pA", 300.0), ("0.9 Hz", "1/ms", 0.0009), ("2 minute", "s", 120.0),
    ("50 percent", "1", 0.5), ("3 mV/mV", None, 3.0), ("2 mmHg", "Pa", 266.644), (20, "ms", 20.0), (20.5, "Hz", 20.5),
    (np.float32(2), "ms", 2.0), (np.int64(2), "ms", 2.0),
])  # fmt: skip
def test_door_scalars(given, unit, value):
    found = to_canonical(given, unit, "x")
    assert found == value and type(found) is np.float64


def test_door_arrays():
    for given in ([1, 2], (1.0, 2.0), np.array([1, 2]), np.array([1, 2], np.float32), ["1 ms", "2000 us"], ["1 ms", 2]):
        found = to_canonical(given, "ms", "x")
        assert found.dtype == np.float64 and found.tolist() == [1.0, 2.0]
    assert to_canonical(np.zeros((2, 3)), "ms", "x").shape == (2, 3)
    assert to_canonical([], "ms", "x").shape == (0,)
    mine = np.array([1.0])
    assert to_canonical(mine, "ms", "x") is not mine


TIMES = st.sampled_from(["us", "ms", "s", "minute", "hour"])


@hypothesis.given(x=st.floats(-1e6, 1e6), a=TIMES, b=TIMES)
def test_door_there_and_back(x, a, b):
    there = to_canonical(f"{x!r} {a}", b, "x")
    assert there == pytest.approx(x * parse_unit(a).scale / parse_unit(b).scale, rel=1e-15)
    assert to_canonical(f"{float(there)!r} {b}", a, "x") == pytest.approx(x, rel=1e-15)


def refused(given, unit="ms", what="tau", error=UnitError, **options):
    with pytest.raises(error) as found:
        to_canonical(given, unit, what, **options)
    return str(found.value)


def test_wrong_dimension_says_what_to_write():
    assert refused("20 mV") == """tau needs time (ms), got '20 mV', a voltage; write tau="20 ms" or tau=20.0"""
    assert refused("3 amol", "mM", "exc.ca").endswith(
        """got '3 amol', an amount of substance; write ca="3 mM" or ca=3.0"""
    )
    assert refused("2 mV", None, "U") == "U needs a plain number, got '2 mV', a voltage; write U=2.0"
    assert "needs a value in mV/ms**0.5, got '2 mV'" in refused("2 mV", "mV/ms**0.5")
    assert refused("2 mV", "ms", "weight of a->b").endswith('write "2 ms" or 2.0')
    assert "tau[1] needs time (ms), got '2 mV'" in refused(["1 ms", "2 mV"])


@pytest.mark.parametrize("given, why", [
    ("twenty", "which is not a quantity"), ("ms", "which is not a quantity"), ("", "not a quantity"),
    ("20", "without a unit"), ("20 foo", "no unit 'foo'"), ("20 mss", "did you mean 'ms'?"), ("20 ms,", "only names"),
    ("0x10 ms", "no unit 'x10'"),
])  # fmt: skip
def test_strings_that_are_no_quantities(given, why):
    message = refused(given)
    assert message.startswith(f"tau needs time (ms), got {given!r}") and why in message


def test_a_bare_string_is_refused_for_a_plain_number_too():
    assert refused("0.5", "1", "U") == "U needs a plain number, got '0.5', a string without a unit; write U=0.5"


@pytest.mark.parametrize("given, shown", [
    (True, "got True (bool)"), (None, "got None;"), (1j, "got 1j (complex128)"), ([True], "got [True] (bool)"),
    ({}, "got {} (dict)"), ([1, None], "got [1, None] (list)"), ([[1], [1, 2]], "got [[1], [1, 2]]: "),
    (np.datetime64("2020"), "(datetime64[Y])"), (jnp.array(True), "(bool)"), (jnp.array(1j), "(complex64)"),
    (object, "(type)"),
])  # fmt: skip
def test_things_that_are_no_numbers(given, shown):
    message = refused(given, error=ParameterError)
    assert message.startswith("tau needs time (ms), got ") and shown in message
    assert message.endswith('write tau="20 ms" or tau=20.0')


def test_not_finite():
    assert refused(math.nan, error=ParameterError) == "tau must be finite, got nan; write a number"
    assert "got inf at index 1" in refused([1.0, np.inf, np.nan], error=ParameterError)
    assert "got nan at index 1, 0" in refused(np.array([[1.0], [np.nan]]), error=ParameterError)
    assert "got nan" in refused("nan ms", error=ParameterError)
    assert "got inf" in refused(jnp.array([jnp.inf]), error=ParameterError)
    assert to_canonical(np.inf, "ms", "x", finite=False) == np.inf
    assert np.isnan(to_canonical(["1 ms", "nan ms"], "ms", "x", finite=False)[1])


def test_jax_values_pass_untouched():
    array = jnp.arange(3.0)
    assert to_canonical(array, "ms", "x") is array
    assert jax.jit(lambda x: to_canonical(x, "ms", "x") * 2)(3.0) == 6.0
    assert jax.grad(lambda x: to_canonical(x, "ms", "x") ** 2)(3.0) == 6.0
    half = jnp.ones(2, jnp.bfloat16)
    assert to_canonical(half, "ms", "x") is half


class Pint:
    """Speaks as pint does; the unit it is asked for is checked by the test."""

    def __init__(self, asked):
        self.asked = asked

    def m_as(self, unit):
        self.asked.append(unit)
        if unit == "mV**(1)":
            raise ValueError("cannot convert s to mV")
        return np.array([1.0, 2.0])


class Quantities(float):
    def rescale(self, unit):
        return type("Rescaled", (), {"magnitude": {"ms**(1)": 5.0}[unit]})()


class Brian(np.ndarray):
    dim = type("D", (), {"_dims": (2, 1, -3, -1, 0, 0, 0)})()  # volt


def test_quantities_by_their_methods():
    asked = []
    assert to_canonical(Pint(asked), "s", "x").tolist() == [0.001, 0.002] and asked == ["ms**(1)"]
    to_canonical(Pint(asked), "nS/um^2", "x")
    assert asked[-1] == "mV**(-1)*pA**(1)*um**(-2)"
    to_canonical(Pint(asked), "degC", "x")
    assert asked[-1] == "degC**(1)"
    assert "Pint object" in (text := refused(Pint([]), "mV")) and ": cannot convert s to mV; write tau=" in text
    assert to_canonical(Quantities(), "ms", "x") == 5.0
    assert to_canonical(np.full(2, 0.07).view(Brian), "mV", "x") == pytest.approx([70.0, 70.0])
    assert "it is a voltage" in refused(np.zeros(1).view(Brian))


@pytest.mark.parametrize("library, make", [
    ("pint", lambda m, x, u: m.UnitRegistry().Quantity(x, u)), ("quantities", lambda m, x, u: m.Quantity(x, u)),
    ("astropy.units", lambda m, x, u: m.Quantity(x, u)), ("unyt", lambda m, x, u: m.unyt_array(x, u)),
    ("unxt", lambda m, x, u: m.Quantity(x, u)), ("saiunit", lambda m, x, u: x * getattr(m, u)),
    ("brian2", lambda m, x, u: x * getattr(m, u)),
])  # fmt: skip
def test_real_libraries(library, make):
    module = pytest.importorskip(library)
    assert to_canonical(make(module, 2.0, "second"), "ms", "x") == pytest.approx(2000.0, rel=1e-6)
    assert to_canonical(make(module, np.array([1.0, 2.0]), "mV"), "V", "x") == pytest.approx([1e-3, 2e-3], rel=1e-6)
    assert "got " in refused(make(module, 2.0, "mV"))
    assert to_canonical([make(module, 2.0, "mV"), 3.0], "mV", "x") == pytest.approx([2.0, 3.0], rel=1e-6)


def test_importing_the_doors_starts_nothing():
    code = """
import sys
from jax._src import xla_bridge
import brainsim.units, brainsim.dimensions, brainsim.distributions, brainsim.connectivity
brainsim.dimensions.dimension_of(lambda v, key: v, ["mV", "1"])
assert not xla_bridge.backends_are_initialized(), "backend"
heavy = {"scipy", "matplotlib", "pandas", "numba", "flax"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_doctests():
    assert doctest.testmod(units).failed == 0 < doctest.testmod(units).attempted
