"""Units: scale factors, the meaning of unit strings, and the one door through which user values come in.

Inside brainsim every number is a plain float in one coherent set: ms, mV, pA, nS, pF, GOhm, um, Pa, mM. Coherent means
that no conversion factor appears: nS*mV = pA, pF*mV/ms = pA. The factors below lead there: ``0.3*nA`` is 300.0.
"""

import ast
import math
import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import jax
import numpy as np

from brainsim.errors import ParameterError, UnitError, unknown

ms, us, second, minute, hour = 1.0, 1e-3, 1e3, 60e3, 3600e3
kHz, Hz = 1.0, 1e-3
mV, uV, V = 1.0, 1e-3, 1e3
pA, fA, nA, uA, mA = 1.0, 1e-3, 1e3, 1e6, 1e9
nS, pS, uS, mS = pF, fF, nF, uF = 1.0, 1e-3, 1e3, 1e6
GOhm, MOhm, kOhm, Ohm = 1.0, 1e-3, 1e-6, 1e-9
um, nm, mm, cm, nL, uL, mL = 1.0, 1e-3, 1e3, 1e4, 1e6, 1e9, 1e12
Pa, mPa, kPa, mmHg, mM, uM, nM = 1.0, 1e-3, 1e3, 133.322, 1.0, 1e-3, 1e-6

# Every unit is a product of powers of these. Pa needs no base of its own: mV*pA*ms/um**3 is 1 Pa. mM is amol/um**3.
BASES = ("ms", "mV", "pA", "um", "amol", "K", "degC")  # no factor leads from K to degC
# fmt: off
# name: (value of 1 in the coherent set, powers of the bases)
_PREFIXED = {
    "s": (1e3, 1), "V": (1e3, 0, 1), "A": (1e12, 0, 0, 1), "m": (1e6, 0, 0, 0, 1), "mol": (1e18, 0, 0, 0, 0, 1),
    "S": (1e9, 0, -1, 1), "F": (1e12, 1, -1, 1), "Ohm": (1e-9, 0, 1, -1), "ohm": (1e-9, 0, 1, -1), "Hz": (1e-3, -1),
    "C": (1e15, 1, 0, 1), "W": (1e15, 0, 1, 1), "J": (1e18, 1, 1, 1), "N": (1e12, 1, 1, 1, -1),
    "M": (1e3, 0, 0, 0, -3, 1), "Pa": (1.0, 1, 1, 1, -3), "P": (1e2, 2, 1, 1, -3), "g": (1e9, 3, 1, 1, -2),
    "L": (1e15, 0, 0, 0, 3),
}
_WHOLE = {
    "second": (1e3, 1), "min": (60e3, 1), "minute": (60e3, 1), "h": (3600e3, 1), "hour": (3600e3, 1),
    "day": (86400e3, 1), "mmHg": (mmHg, 1, 1, 1, -3), "K": (1.0, 0, 0, 0, 0, 0, 1), "degC": (1.0, 0, 0, 0, 0, 0, 0, 1),
    "rad": (1.0,), "deg": (math.pi / 180,), "percent": (1e-2,),
}
_PREFIXES = {"": 1.0, "a": 1e-18, "f": 1e-15, "p": 1e-12, "n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3, "c": 1e-2,
             "d": 1e-1, "M": 1e6, "G": 1e9}
_RARE = {"c": "m P", "d": "m L", "M": "Ohm ohm Hz Pa", "G": "Ohm ohm Hz Pa"}  # so "MS" and "Ms" are typing errors
_KINDS = {
    "1": "plain number", "ms": "time", "mV": "voltage", "pA": "current", "nS": "conductance", "GOhm": "resistance",
    "pF": "capacitance", "1/ms": "rate", "um": "length", "um^2": "area", "um^3": "volume", "um^3/ms": "flow",
    "um/ms": "speed", "Pa": "pressure", "Pa*ms": "viscosity", "mM": "concentration", "amol": "amount of substance",
    "pA*ms": "charge", "pA*mV": "power", "K": "temperature", "degC": "temperature in Celsius",
}
_TYPOGRAPHY = str.maketrans({"\u00b5": "u", "\u03bc": "u", "\u03a9": "Ohm", "\u2126": "Ohm", "\u00b7": "*",
                             "\u22c5": "*", "\u00d7": "*", "\u2212": "-", "\u00b0": "deg", "^": "**"})
# fmt: on
_SUPERSCRIPT = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_QUANTITY = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?(?:nan|inf)\b)\s*(.*?)\s*", re.DOTALL)
_EXAMPLES = "write for example 'mV', 'nS/mV', '1/ms' or 'mV/ms**0.5'"


@dataclass(frozen=True, eq=False, repr=False)
class Dimension:
    """What a unit string means: its size in the coherent set and its powers of the base units.

    Args:
        scale: value of one such unit in the coherent set (``Hz`` is 1e-3 per ms).
        powers: exponents of ``BASES``.
        text: how the user wrote it; kept for messages, ignored by ``==``.
    """

    scale: float = 1.0
    powers: tuple = (Fraction(0),) * len(BASES)
    text: str = ""

    def __mul__(self, other):
        return Dimension(self.scale * other.scale, tuple(a + b for a, b in zip(self.powers, other.powers)))

    def __truediv__(self, other):
        return self * other**-1

    def __pow__(self, exponent):
        exponent = Fraction(exponent).limit_denominator(60)  # 0.5 and 1/3 are meant exactly
        return Dimension(self.scale ** float(exponent), tuple(p * exponent for p in self.powers))

    def __eq__(self, other):
        return isinstance(other, Dimension) and self.powers == other.powers and math.isclose(self.scale, other.scale)

    def __hash__(self):
        return hash(self.powers)

    @property
    def plain(self):
        """True for the number 1: no dimension and no factor."""
        return not any(self.powers) and math.isclose(self.scale, 1.0)

    @property
    def kind(self):
        """The dimension in words, such as "voltage"; "value in mV/ms" where no word exists."""
        return next((kind for unit, kind in _KINDS.items() if self.powers == _parse(unit).powers), f"value in {self}")

    def __str__(self):
        name, factor = _usual_name(self.powers), "" if math.isclose(self.scale, 1.0) else f"{self.scale:g}"
        return self.text or (factor if factor and name == "1" else f"{factor}*{name}".lstrip("*"))

    __repr__ = __str__


def _usual_name(powers):
    """A product of base units as one writes it: "nS", else a quotient such as "mV/ms", else powers of the bases."""
    names = ("1", "ms", "mV", "pA", "nS", "GOhm", "pF", "um", "Pa", "mM", "um^2", "um^3", "pA*ms", "mV*pA", "mV*ms")
    known = {_parse(n).powers: n for n in names}
    terms = [(p > 0, f"{b}**{abs(float(p)):g}".removesuffix("**1")) for b, p in zip(BASES, powers) if p]
    for divisor in ("1", "ms", "mV", "pA", "um", "um^2", "um^3", "nS", "mM", "ms**0.5")[: 10 if len(terms) > 1 else 1]:
        if name := known.get((Dimension(1.0, powers) * _parse(divisor)).powers):
            return name if divisor == "1" else f"{name}/{divisor}"
    return "/".join(["*".join(t for up, t in terms if up) or "1", *(t for up, t in terms if not up)])


def parse_unit(unit: "str | Dimension | None") -> Dimension:
    """Reads a unit string such as ``"mV"``, ``"nS/mV"``, ``"1/ms"``, ``"mV/ms**0.5"`` or ``"pF/um^2"``.

    ``None`` and ``"1"`` mean dimensionless; a `Dimension` is returned as it is.

    Example:
        >>> parse_unit("nS*mV") == parse_unit("pA"), parse_unit("Hz").scale
        (True, 0.001)
    """
    if isinstance(unit, Dimension):
        return unit
    if unit is not None and not isinstance(unit, str):
        raise UnitError(f"a unit is a string, got {unit!r}; {_EXAMPLES}, or None for a plain number")
    return _parse(unit or "1")


@lru_cache(maxsize=1024)
def _parse(unit):
    text = re.sub("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+", lambda m: "**" + m[0].translate(_SUPERSCRIPT), unit).translate(_TYPOGRAPHY)
    text = re.sub(r"(?<=[\w)])\s+(?=[A-Za-z(])", "*", text.strip())  # "mPa s" is a product
    try:
        found = _evaluate(ast.parse(text, mode="eval").body, unit)
    except (SyntaxError, ArithmeticError, RecursionError, MemoryError):
        found = Dimension(0.0)
    if not 0 < found.scale < math.inf:
        raise UnitError(f"{unit!r} is not a unit: it cannot be read; {_EXAMPLES}")
    return Dimension(found.scale, found.powers, unit.strip())


def _evaluate(node, unit):
    """A node of the syntax tree of a unit string, as a Dimension."""
    match node:
        case ast.Name(id=name):
            return _named(name, unit)
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool) and value < math.inf:
            return Dimension(float(value))
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            return _evaluate(left, unit) * _evaluate(right, unit)
        case ast.BinOp(left=left, op=ast.Div(), right=right):
            return _evaluate(left, unit) / _evaluate(right, unit)
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            exponent = _evaluate(right, unit)
            if any(exponent.powers) or abs(exponent.scale) > 12:
                raise UnitError(f"{unit!r} is not a unit: an exponent is a number up to 12, as in ms**0.5 or um**-2")
            return _evaluate(left, unit) ** exponent.scale
        case ast.UnaryOp(op=ast.USub(), operand=inner):
            return Dimension(-_evaluate(inner, unit).scale)
        case ast.Call(func=ast.Name(id="sqrt"), args=[inner], keywords=[]):
            return _evaluate(inner, unit) ** 0.5
    raise UnitError(f"{unit!r} is not a unit: only names, *, / and ** are understood; {_EXAMPLES}")


def _named(name, unit):
    if name in _WHOLE:
        scale, *powers = _WHOLE[name]
    else:
        split = [(name.removesuffix(base), base) for base in _PREFIXED if name.endswith(base)]
        split = [(p, b) for p, b in split if p in _PREFIXES and (p not in _RARE or b in _RARE[p].split())]
        if not split:
            usual = [k for k, v in globals().items() if isinstance(v, float)] + ["s", "rad", "deg", "degC", "K"]
            alike = " or ".join(repr(u) for u in usual if u.lower() == name.lower())
            why = f"there is no unit {name!r}; did you mean {alike}?" if alike else unknown("unit", name, usual)
            raise UnitError(f"{unit!r} is not a unit: {why}")
        ((prefix, base),) = split  # a test makes sure that there is one reading
        scale, *powers = _PREFIXED[base]
        scale = _tidy(scale * _PREFIXES[prefix])
    return Dimension(scale, tuple(Fraction(p) for p in (*powers, *[0] * (len(BASES) - len(powers)))))


def _tidy(x):
    """The power of ten nearest to x if x is one up to rounding: 1e-12 * 1e12 must be 1 exactly."""
    power = float(f"1e{round(math.log10(x))}")
    return power if math.isclose(x, power, rel_tol=1e-12) else x


def to_canonical(x, unit: "str | Dimension | None", what: str, *, finite: bool = True):
    """Brings a value a user gave into the declared unit. The only place where units are converted.

    Args:
        x: a number or array (taken as already in ``unit``), a string such as ``"20 ms"``, a quantity of pint, astropy,
            unxt, unyt, quantities, saiunit or Brian2, or a list of these; no bool, None or complex number.
        unit: the declared unit, a string or `Dimension`. A value declared in ``"Hz"`` comes out in Hz, not in 1/ms.
        what: name of the value for messages, such as ``"exc.tau"``.
        finite: refuse nan and inf (the default).

    Returns:
        numpy.float64, or a float64 array of the same shape. JAX arrays and tracers are returned untouched.

    Example:
        >>> float(to_canonical("1e-2 s", "ms", "tau"))
        10.0
    """
    target = parse_unit(unit)
    if isinstance(x, jax.core.Tracer):
        return x
    if isinstance(x, (list, tuple)) and any(isinstance(e, str) or _converter(e) for e in x):
        return np.array([to_canonical(e, target, f"{what}[{i}]", finite=finite) for i, e in enumerate(x)])
    read = _from_string if isinstance(x, str) else _from_quantity if _converter(x) else _numbers
    value = read(x, target, what)
    if finite and not np.all(np.isfinite(value)):
        bad = tuple(int(i) for i in np.argwhere(~np.isfinite(value))[0])
        at = f" at index {', '.join(map(str, bad))}" if bad else ""
        raise ParameterError(f"{what} must be finite, got {value[bad]}{at}; write a number")
    return x if isinstance(x, jax.Array) else value


def has_unit(x) -> bool:
    """Whether a value says its unit: text, a quantity of a unit library, or a list with one of them."""
    return isinstance(x, str) or bool(_converter(x)) or (isinstance(x, (list, tuple)) and any(map(has_unit, x)))


def measured(x, what: str):
    """A value with a unit, where the unit that is wanted is known later only.

    Returns:
        The value in the coherent set, and its `Dimension` there; a value without a unit as `to_canonical` takes a plain
        number, and None.
    """
    if not has_unit(x):
        return to_canonical(x, None, what), None
    given = next(filter(has_unit, x)) if isinstance(x, (list, tuple)) else x
    dimension = Dimension(1.0, _powers(given, what))
    return to_canonical(x, dimension, what), dimension


def _powers(x, what):
    """Powers of the base units of one text or quantity; where they cannot be read, the error of a current."""
    if isinstance(x, str):
        match = _QUANTITY.fullmatch(x.replace("\u2212", "-"))
        if not match or not match[2]:
            to_canonical(x, "pA", what)
        return parse_unit(re.sub("^/", "1/", match[2])).powers
    for unit in _KINDS:
        try:
            to_canonical(x, unit, what, finite=False)
        except UnitError:
            continue
        return parse_unit(unit).powers
    return to_canonical(x, "pA", what)


def converted(value, given: Dimension, unit, what: str):
    """A value of `measured` in the declared unit; UnitError where that has another dimension."""
    target = parse_unit(unit)
    if given.powers != target.powers:
        write = "a number" if target.plain else f"a number, or text such as '20 {target}'"
        raise UnitError(f"{what} needs {_wanted(target)}, got {_wanted(given)}; write {write}")
    return _rescale(value, given.scale / target.scale)


def _numbers(x, target, what):
    """A bare number or array, as float64. Booleans, None, complex numbers and objects are refused."""
    try:
        array = np.asarray(x)
    except (TypeError, ValueError) as err:
        raise _refusal(what, target, f"{x!r:.60}: {err}", error=ParameterError) from None
    if array.dtype.kind not in "iuf" and array.dtype.name != "bfloat16":
        kind = type(x).__name__ if array.dtype == object else array.dtype
        raise _refusal(what, target, f"{x!r:.60} ({kind})".removesuffix(" (NoneType)"), error=ParameterError)
    return array.astype(np.float64)[()]


def _from_string(text, target, what):
    """Reads "20 ms" and gives the number in the target unit."""
    match = _QUANTITY.fullmatch(text.replace("\u2212", "-"))
    if not match:
        raise _refusal(what, target, f"{text!r}, which is not a quantity")
    if not match[2]:
        raise _refusal(what, target, f"{text!r}, a string without a unit", float(match[1]))
    try:
        given = parse_unit(re.sub("^/", "1/", match[2]))
    except UnitError as err:
        raise UnitError(f"{what} needs {_wanted(target)}, got {text!r}: {err}") from None
    if given.powers != target.powers:
        article = "an" if given.kind[0] == "a" else "a"
        raise _refusal(what, target, f"{text!r}, {article} {given.kind}", float(match[1]))
    return _rescale(np.float64(match[1]), given.scale / target.scale)


def _converter(x):
    """The method by which a quantity of a unit library converts itself, found without an import; None for the rest."""
    if hasattr(getattr(x, "dim", None), "_dims"):
        return "dim"  # Brian2, saiunit
    return next((m for m in ("m_as", "to_value", "rescale") if callable(getattr(x, m, None))), None)


def _from_quantity(x, target, what):
    """A quantity of a unit library -> float64 in the target unit."""
    method = _converter(x)
    try:
        if method == "dim":
            return _from_si(x, target)
        bases = ("ms", "mV", "pA", "um", "amol", "K", "degC" if method == "m_as" else "deg_C")
        text = "*".join(f"{b}**({p})" for b, p in zip(bases, target.powers) if p) or "dimensionless"
        value = getattr(x, method)("" if method == "to_value" and text == "dimensionless" else text)
    except Exception as err:  # every library has an exception of its own for a wrong dimension
        raise _refusal(what, target, f"{x!r:.60}: {err}") from None
    return _rescale(np.asarray(getattr(value, "magnitude", value), np.float64)[()], 1 / target.scale)


def _from_si(x, target):
    """Brian2 and saiunit know the powers of m, kg, s, A, K, mol, cd; their numbers are read in SI."""
    m, kg, s, A, K, mol, _ = (Fraction(float(d)).limit_denominator(60) for d in x.dim._dims)
    powers = (s + 3 * kg, kg, A + kg, m - 2 * kg, mol, K, Fraction(0))  # kg is V*A*s**3/m**2
    if powers != target.powers:
        raise ValueError(f"it is a {Dimension(1.0, powers).kind}")
    number, size = (x.mantissa, x.unit.magnitude) if hasattr(x, "mantissa") else (np.asarray(x), 1.0)
    scale = size * math.prod(s ** float(p) for s, p in zip((1e3, 1e3, 1e12, 1e6, 1e18, 1.0), powers))
    return _rescale(np.asarray(number, np.float64)[()], scale / target.scale)


def _rescale(value, factor):
    """value * factor, by a division where that is exact: 0.7/1000 rounds once, 0.7*0.001 twice."""
    return value * _tidy(factor) if factor >= 1 else value / _tidy(1 / factor)


def _wanted(target):
    """What was declared, in words: "time (ms)", "a plain number", "a value in mV/ms**0.5"."""
    return f"a {target.kind}" if target.plain or "value" in target.kind else f"{target.kind} ({target})"


def _refusal(what, target, given, number=20.0, error=UnitError):
    """An error that ends with what to write instead: the user's own name, and number where one was given."""
    name = f"{last}=" if (last := what.rsplit(".", 1)[-1]).isidentifier() else ""
    write = f"{name}{number!r}" if target.plain else f'{name}"{number:g} {target}" or {name}{number!r}'
    return error(f"{what} needs {_wanted(target)}, got {given}; write {write}")
