"""Dimension analysis of equations: adding mV and pA is found when a model is defined, not when its results look odd.

An equation is traced once on scalars and the units of its arguments are propagated through its jaxpr (`propagation`).
"""

import inspect
from functools import cache
from pathlib import Path

import jax
import numpy as np

from .errors import UnitError
from .propagation import ANY, UNKNOWN, bridge, shown, times, units_of_result
from .units import Dimension, parse_unit

__all__ = ["ANY", "UNKNOWN", "check_units", "dimension_of"]


def check_units(model) -> dict[str, str]:
    """Checks the units of every method of a model class.

    ``d<state>`` must be the unit of the state per ms, ``noise_<state>`` per ms**0.5, ``init_<state>``, ``reset`` and
    ``on_pre`` the unit of the state (``v_post`` is in mV), ``current`` pA unless the class says ``__current_unit__``.
    What ``output`` sends reaches ``current`` times the unit of the weight. States of the partner other than ``v``, and
    a weight without declaration, fit anything.

    Args:
        model: a subclass of `brainsim.Neuron` or `brainsim.Synapse`, or an instance of one.

    Returns:
        Unit of what each method returns, as text by method (``"dv"``) or method and key (``"reset.v"``).

    Raises:
        UnitError: names the method, the line and both units.
    """
    cls = model if isinstance(model, type) else type(model)
    for name, spec in cls.__states__.items():
        if isinstance(spec.initial, str):
            sentence = f"{cls.__name__}.{name} starts as {spec.initial}, which is {{}}"
            _require(sentence, _declared(cls, spec.initial), parse_unit(spec.unit), "")
    found, sums = {}, {}
    for method in sorted(cls.__methods__, key=lambda m: m != "output"):  # current needs to know what output sends
        where = f"{cls.__name__}.{method}"
        code = getattr(inspect.unwrap(getattr(cls, method)), "__code__", None)
        at = f" ({Path(code.co_filename).name}:{code.co_firstlineno})" if code else ""
        for key, dim in _method(cls, method, sums, where, code).items():
            expected = _expected(cls, method, key)
            _require(f"{where} returns {{}}{f' for {key}' if key else ''}", dim, expected, at)
            found[f"{method}.{key}" if key else method] = str(expected if dim is ANY else dim)
            if method == "output":
                sums[key] = times(dim, _weight_unit(cls))
    return found


def dimension_of(fn, arg_units, *, shapes=None, where=None):
    """Units of what a function returns, from the units of its arguments.

    Args:
        fn: function of jax arrays.
        arg_units: units by position (sequence) or by name (dict): a string, a `Dimension`, ``None`` for a plain number
            or ``UNKNOWN`` for no check.
        shapes: arrays or ShapeDtypeStructs like the arguments; the default is scalars.
        where: name of the function for messages.

    Returns:
        A pytree like the function's result, of `Dimension`, ``ANY`` (a zero) or ``UNKNOWN``.

    Example:
        >>> str(dimension_of(lambda v, g: g * v, ["mV", "nS"]))
        'pA'
    """
    by_name = isinstance(arg_units, dict)
    names = [*arg_units] if by_name else [*inspect.signature(fn).parameters, *[""] * len(arg_units)][: len(arg_units)]
    units = [_unit(u) for u in (arg_units.values() if by_name else arg_units)]
    if shapes is None:
        shapes = [_scalar(n) for n in names]
    elif by_name:
        shapes = [shapes[n] for n in names]

    def call(*values):
        return fn(**dict(zip(names, values))) if by_name else fn(*values)

    code = getattr(inspect.unwrap(fn), "__code__", None)
    return units_of_result(call, names, units, shapes, where or getattr(fn, "__name__", "function"), code)


def _unit(unit):
    return unit if unit is ANY or unit is UNKNOWN else parse_unit(unit)


@cache
def _key():
    return jax.eval_shape(lambda: jax.random.key(0))


def _scalar(name):
    return _key() if name == "key" else jax.ShapeDtypeStruct((), np.float32)


# What a class of the language says about units. All knowledge of declare.py is below this line.


def _declared(cls, name):
    """Unit of a parameter, constant, state or input."""
    for table in (cls.__states__, cls.__inputs__, cls.__params__, cls.__consts__):
        if name in table:
            return parse_unit(table[name].unit)
    return UNKNOWN


def _weight_unit(cls):
    return UNKNOWN if getattr(cls, "__weight__", None) is None else parse_unit(cls.__weight__.unit)


def _argument(cls, name, sums):
    """Unit of an argument of a method; `sums` are the outputs that reach `current`."""
    if name in cls.__states__ or name in cls.__inputs__:
        return _declared(cls, name)
    if name in sums:
        return sums[name]
    if name == "w":
        return _weight_unit(cls)
    fixed = {"t": "ms", "dt": "ms", "key": "1", "I": "pA", "v_pre": "mV", "v_post": "mV"}
    return parse_unit(fixed[name]) if name in fixed else UNKNOWN


def _expected(cls, method, key):
    """Unit that a method must return (for `key`, if it returns a dict); UNKNOWN where it is free."""
    if method.startswith("d") and method[1:] in cls.__states__:
        return _declared(cls, method[1:]) / parse_unit("ms")
    if method.startswith("noise_"):
        return _declared(cls, method.removeprefix("noise_")) / parse_unit("ms**0.5")
    if method.startswith("init_"):
        return _declared(cls, method.removeprefix("init_"))
    if method == "current":
        return parse_unit(getattr(cls, "__current_unit__", None) or "pA")
    return _argument(cls, key, {}) if key and method in ("reset", "on_pre", "on_post") else UNKNOWN


def _method(cls, method, sums, where, code):
    """Units of what a method returns, by key; the key of a bare value is ""."""
    arguments = cls.__methods__[method]
    # plain constants are bound by value: an exponent must be known to give a unit
    parameters = [*cls.__params__, *(k for k, c in cls.__consts__.items() if not parse_unit(c.unit).plain)]

    def call(*values):
        made = cls.__bind__(dict(zip(parameters, values)))
        return getattr(made, method)(**dict(zip(arguments, values[len(parameters) :])))

    units = [_declared(cls, p) for p in parameters] + [_argument(cls, a, sums) for a in arguments]
    names = [*parameters, *arguments]
    result = units_of_result(call, names, units, [_scalar(n) for n in names], where, code)
    return result if isinstance(result, dict) else {"": result}


def _require(sentence, dim, expected, at):
    if isinstance(dim, Dimension) and isinstance(expected, Dimension) and dim != expected:
        raise UnitError(f"{sentence.format(shown(dim))}, must be {expected}{at}; {bridge('it', dim, expected)}")
