"""Every model of the library has the same properties; a new model is tested by being in `brainsim.models.__all__`."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import library
import numpy as np
import pytest
from support import check_gradient

import brainsim as bs
from brainsim.errors import ParameterError

EVERY = pytest.mark.parametrize("name", library.NAMES)
NO_PAPER = {"SpikeSource"}  # has no equation of its own


@EVERY
def test_defaults_are_valid(name):
    cls = library.model_class(name)
    model = cls()
    for parameter, spec in cls.__params__.items():
        assert np.isfinite(getattr(model, parameter)), parameter
        assert getattr(model, parameter) == spec.default
    assert cls.__name__ == name
    assert repr(model).startswith(name + "(")


@EVERY
def test_bounds_refuse(name):
    """Time constants and capacitances are positive, leaks are not negative, and whatever has bounds holds to them."""
    cls = library.model_class(name)
    for parameter, spec in cls.__params__.items():
        low, high = spec.bounds
        if parameter in ("C", "R") or parameter.startswith("tau"):
            assert low == 0 and not spec.closed, f"{parameter} may be 0 or negative"
        if low is not None:
            with pytest.raises(ParameterError, match=parameter):
                cls(**{parameter: low - 1.0 if spec.closed else low})
        if high is not None:
            with pytest.raises(ParameterError, match=parameter):
                cls(**{parameter: high + 1.0 if spec.closed else high})
        with pytest.raises(ParameterError):
            cls(**{parameter: float("nan")})


@EVERY
def test_docstring_says_equation_and_source(name):
    text = library.model_class(name).__doc__
    summary = text.strip().splitlines()[0]
    assert 20 < len(summary) <= 120 and summary.endswith((".", ")."))
    assert re.search(r"[=>]|``.*``", text), "no equation"
    if name not in NO_PAPER:
        assert re.search(r"\b10\.\d{4,9}/\S+", text), "no DOI"


@EVERY
def test_docstring_explains_every_parameter(name):
    cls = library.model_class(name)
    assert [p for p in cls.__params__ if not re.search(rf"(?<!\w){p}(?!\w)", cls.__doc__)] == []


@EVERY
def test_units(name):
    bs.check_units(library.model_class(name))


@EVERY
def test_jit_equals_eager(name):
    cls, rng = library.model_class(name), np.random.default_rng(1)
    for method in cls.__methods__:
        values = library.numbers(cls, method, rng)
        eager = library.evaluate(cls, method, values)
        compiled = jax.jit(partial(library.evaluate, cls, method))(values)
        for key in eager:
            np.testing.assert_allclose(compiled[key], eager[key], rtol=1e-5, atol=1e-6, err_msg=f"{method} {key}")


@EVERY
def test_float32_is_near_float64(name):
    cls = library.model_class(name)
    for method in cls.__methods__:
        if "key" in cls.__methods__[method]:
            continue  # other bits, other numbers
        single = library.evaluate(cls, method, library.numbers(cls, method, np.random.default_rng(2)))
        with jax.enable_x64(True):
            double = library.evaluate(cls, method, library.numbers(cls, method, np.random.default_rng(2)))
        for key in single:
            assert single[key].dtype == np.float32 and double[key].dtype == np.float64, f"{name}.{method} {key}"
            size = max(abs(float(double[key])), 1.0)
            np.testing.assert_allclose(single[key], double[key], rtol=0, atol=3e-4 * size, err_msg=f"{method} {key}")


@EVERY
def test_vmap_equals_loop(name):
    cls = library.model_class(name)
    for method in cls.__methods__:
        values = library.numbers(cls, method, np.random.default_rng(3), 4)
        if not values:
            continue
        together = jax.vmap(partial(library.evaluate, cls, method))(values)
        for k in range(4):
            alone = library.evaluate(cls, method, {argument: value[k] for argument, value in values.items()})
            for key, value in alone.items():
                np.testing.assert_allclose(together[key][k], value, rtol=1e-5, atol=1e-6, err_msg=f"{method} {key}")


@EVERY
def test_gradient_is_the_finite_difference(name, x64):
    """With respect to every state, input and parameter at once, each in units of its own size."""
    cls = library.model_class(name)
    for method in cls.__methods__:
        values = library.numbers(cls, method, np.random.default_rng(4))
        rest = {k: v for k, v in values.items() if k not in library.floats(values)}
        point = {"values": library.floats(values), "params": library.parameters(cls)}
        point["params"] = {k: v for k, v in point["params"].items() if k not in library.whole(cls)}
        if not jax.tree.leaves(point):
            continue
        size = jax.tree.map(lambda x: jnp.where(x == 0, 1.0, x), point)

        def total(move, method=method, point=point, size=size, rest=rest):
            at = jax.tree.map(lambda x, s, m: x + s * m, point, size, move)
            out = library.evaluate(cls, method, {**at["values"], **rest}, at["params"])
            return sum((k + 1.0) * value for k, value in enumerate(out.values()))

        scale = max(1.0, abs(float(total(jax.tree.map(jnp.zeros_like, point)))))
        check_gradient(total, jax.tree.map(jnp.zeros_like, point), step=1e-6, rtol=1e-5, atol=1e-6 * scale)


@EVERY
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_derivatives_are_finite_far_away(name, dtype):
    """Any voltage a run can pass through, the singular points of rates among them, in value and gradient."""
    cls = library.model_class(name)
    far = np.unique(np.concatenate([np.arange(-150.0, 100.0, 0.5), [-1e3, -300.0, 300.0, 1e3]])).astype(dtype)
    with jax.enable_x64(dtype == np.float64):
        for method in cls.__methods__:
            voltages = [a for a in cls.__methods__[method] if library.unit_of(cls, a) == "mV"]
            if not voltages:
                continue
            values = library.floats(library.numbers(cls, method, np.random.default_rng(5)))
            params = library.parameters(cls)

            def total(v, params, method=method, values=values, voltages=voltages):
                at = {**values, **dict.fromkeys(voltages, v)}
                return sum(library.evaluate(cls, method, at, params).values())

            both = jax.vmap(jax.value_and_grad(total, argnums=(0, 1)), in_axes=(0, None))
            value, (slope, by_parameter) = both(jnp.asarray(far), params)
            for found in (value, slope, *by_parameter.values()):
                bad = far[~np.isfinite(np.broadcast_to(found, far.shape))]
                assert bad.size == 0, f"{name}.{method} at {bad} mV"
