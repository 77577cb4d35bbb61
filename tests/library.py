"""The model library as a table: every class, and plausible numbers for whatever its methods ask for."""

import jax
import jax.numpy as jnp
import numpy as np

from brainsim import models

NAMES = list(models.__all__)
RANGES = {"mV": (-68.0, -47.0), "pA": (-20.0, 20.0), "nS": (0.5, 2.0), "ms": (0.65, 0.75), "mV/ms": (-15.0, -5.0)}
PLAIN = (0.1, 0.9)  # gates, activities, numbers
# Equations of tests/reference: our class, and names of parameters there -> here.
REFERENCE = {
    "adex": ("AdEx", {}),
    "eif": ("EIF", {}),
    "qif": ("QIF", {"V_rest": "v_rest", "V_c": "v_c", "V_r": "v_reset", "V_peak": "v_peak"}),
    "izhikevich2003": ("Izhikevich", {"V_peak": "v_peak"}),
    "izhikevich2007": ("Izhikevich2007", {}),
    "gif": ("GIF", {}),
    "hh1952": ("HodgkinHuxley", {}),
    "traub_miles": ("TraubMiles", {}),
    "wang_buzsaki": ("WangBuzsaki", {}),
    "fitzhugh_nagumo": ("FitzHughNagumo", {"tau": "tau_w"}),
    "morris_lecar": ("MorrisLecar", {"V_L": "E_L", "V_Ca": "E_Ca", "V_K": "E_K"}),
    "hindmarsh_rose": ("HindmarshRose", {}),
}


def model_class(name):
    return getattr(models, name)


def unit_of(cls, argument):
    """Declared unit of what a method can ask for; None is a plain number."""
    if argument in cls.__states__:
        return cls.__states__[argument].unit
    if argument in cls.__inputs__:
        return cls.__inputs__[argument].unit
    if argument == "w":
        return None if cls.__weight__ is None else cls.__weight__.unit
    return {"v_pre": "mV", "v_post": "mV", "t": "ms", "dt": "ms"}.get(argument)


def whole(cls):
    """Names that count something: no gradient, no values between."""
    return ("sites", "full") if hasattr(cls, "most") else ()


def numbers(cls, method, rng, n=None):
    """One plausible value (or n of them) for each argument of a method, away from kinks."""
    found = {}
    for argument in cls.__methods__[method]:
        if argument == "key":
            found[argument] = jax.random.key(7) if n is None else jax.random.split(jax.random.key(7), n)
        elif argument in ("t", "dt"):
            value = {"t": 12.3, "dt": 0.1}[argument]
            found[argument] = jnp.asarray(value) if n is None else jnp.full(n, value)
        elif argument in whole(cls):
            found[argument] = jnp.asarray(rng.integers(1, 5, n))
        else:
            found[argument] = jnp.asarray(rng.uniform(*RANGES.get(unit_of(cls, argument), PLAIN), n))
    return found


def parameters(cls):
    return {name: jnp.asarray(float(spec.default)) for name, spec in cls.__params__.items()}


def evaluate(cls, method, values, params=None):
    """What a method returns, as a dict of floats; `params` replace the defaults without checks."""
    result = cls.__bind__({**parameters(cls), **(params or {})}).call(method, values)
    result = result if isinstance(result, dict) else {method: result}
    return {key: jnp.asarray(value, jnp.result_type(float)) for key, value in result.items()}


def floats(values):
    """The float arguments: those with a gradient."""
    return {k: v for k, v in values.items() if jnp.issubdtype(v.dtype, np.floating)}
