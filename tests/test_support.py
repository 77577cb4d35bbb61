"""The test helpers themselves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import assert_compiles, assert_traces, check_gradient, finite_difference


def cubic(p):
    return jnp.sum(p["a"] ** 3) + jnp.sin(p["b"])


def params():
    return {"a": jnp.array([1.0, -2.0]), "b": jnp.array(0.5)}


def test_finite_difference_of_a_known_function(x64):
    along_b = {"a": jnp.zeros(2), "b": jnp.array(1.0)}
    assert finite_difference(cubic, params(), along_b) == pytest.approx(np.cos(0.5), rel=1e-8)


def test_check_gradient_accepts_a_right_gradient(x64):
    gradient = check_gradient(cubic, params())
    np.testing.assert_allclose(gradient["a"], [3.0, 12.0])


def test_check_gradient_refuses_a_wrong_gradient(x64):
    wrong = jax.custom_jvp(cubic)
    wrong.defjvp(lambda primals, tangents: (cubic(*primals), 1.01 * jax.jvp(cubic, primals, tangents)[1]))
    with pytest.raises(AssertionError, match="reverse mode"):
        check_gradient(wrong, params())


def test_check_gradient_refuses_nan(x64):
    with pytest.raises(AssertionError, match="not finite"):
        check_gradient(lambda p: jnp.sqrt(p["b"]), {"b": jnp.array(0.0)})


def test_check_gradient_refuses_float32():
    with pytest.raises(TypeError, match="float64"):
        check_gradient(cubic, params())


def named():
    @jax.jit
    def counted(x):
        return 2 * x

    return counted


def test_assert_traces_counts_shapes():
    f, short, long = named(), np.ones(3, np.float32), np.ones(4, np.float32)
    with assert_traces(1, of="counted"):
        f(short), f(short)
    with assert_traces(1, of="counted"):
        f(short), f(long)
    with pytest.raises(AssertionError, match="traced 0 times, not 1"), assert_traces(1, of="counted"):
        f(short)


def test_assert_compiles_counts_programs():
    f, x = named(), np.ones(5, np.float32)
    with assert_compiles(1):
        f(x)
    with assert_compiles(0):
        f(x)
    with pytest.raises(AssertionError, match="1 programs were compiled, not 0"), assert_compiles(0):
        f(np.ones(6, np.float32))


def test_an_error_in_the_block_comes_through():
    with pytest.raises(ZeroDivisionError), assert_compiles(3):
        raise ZeroDivisionError


def test_key_differs_from_test_to_test(key, request):
    assert int(jax.random.bits(key)) != int(jax.random.bits(jax.random.key(0)))
    assert request.getfixturevalue("key") is key


def test_x64_is_left_behind():
    assert jnp.ones(1).dtype == jnp.float32
