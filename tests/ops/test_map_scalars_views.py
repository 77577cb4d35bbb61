"""map_scalars on stretches of longer arrays: values, derivatives and batches are those of slices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from brainsim import ops

N, LONG = 100, 300
STARTS = (57, 200)  # the second ends with the array


def cell(a, b, c):
    return {"u": a * b + jnp.exp(c), "v": a * a}


@pytest.fixture(params=["native", "xla"])
def form(request):
    return request.param


@pytest.fixture
def arrays():
    return jnp.linspace(-1, 2, LONG), jnp.linspace(0, 1, N)


def viewed(form):
    """One array read in two places, beside an array of cells."""
    first, second = STARTS
    return lambda x, y: ops.map_scalars(cell, N, ops.View(x, first), y, ops.View(x, second), backend=form)


def sliced(x, y):
    first, second = STARTS
    return jax.vmap(cell)(x[first : first + N], y, x[second : second + N])


def total(function):
    """A scalar that depends on every result, differently."""

    def loss(x, y):
        made = function(x, y)
        return jnp.sum(made["u"] ** 2) + jnp.sum(jnp.sin(made["v"]) * jnp.linspace(0, 1, N))

    return loss


def close(got, want, rtol=1e-5):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-5), got, want)


@pytest.mark.parametrize("jit", [False, True])
def test_values(form, arrays, jit):
    run = jax.jit(viewed(form)) if jit else viewed(form)
    close(run(*arrays), sliced(*arrays))


@pytest.mark.parametrize("start", [0, 1, 7, LONG - N])
def test_every_place_of_a_stretch(form, start):
    """Exactly what lies there, also where it is not aligned and at both ends."""
    x = jnp.arange(LONG, dtype=jnp.int32)
    got = ops.map_scalars(lambda a: (a, a + 1), N, ops.View(x, start), backend=form)
    np.testing.assert_array_equal(got[0], np.arange(start, start + N))
    np.testing.assert_array_equal(got[1], np.arange(start, start + N) + 1)


def test_a_native_view_is_one_loop_without_a_slice(arrays):
    text = jax.jit(viewed("native")).lower(*arrays).compile().as_text()
    assert "brainsim_cells" in text
    assert not [line for line in text.splitlines() if " slice(" in line or "dynamic-slice(" in line]


@pytest.mark.parametrize("argument", [0, 1])
def test_gradient(form, arrays, argument):
    close(jax.grad(total(viewed(form)), argument)(*arrays), jax.grad(total(sliced), argument)(*arrays))


def test_derivatives_equal_finite_differences(x64, form):
    x, y = jnp.linspace(-1, 2, LONG), jnp.linspace(0, 1, N)
    check_grads(total(viewed(form)), (x, y), order=2, modes=("fwd", "rev"), rtol=1e-5)


def test_jvp(form, arrays):
    tangents = jnp.cos(arrays[0]), jnp.sin(arrays[1])
    close(jax.jvp(viewed(form), arrays, tangents), jax.jvp(sliced, arrays, tangents))


def test_hessian_vector_product(form, arrays):
    turned = lambda f: jax.jvp(jax.grad(total(f)), arrays, (jnp.cos(arrays[0]), jnp.sin(arrays[1])))[1]
    close(turned(viewed(form)), turned(sliced), 1e-4)


@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0)])
def test_batches_and_their_gradients(form, arrays, axes):
    scale = jnp.array([1.0, 2.0, -0.5])
    given = [a if axis is None else jnp.outer(scale, a) for a, axis in zip(arrays, axes)]
    close(jax.vmap(viewed(form), axes)(*given), jax.vmap(sliced, axes)(*given))
    summed = lambda f: lambda x, y: jnp.sum(jax.vmap(total(f), axes)(x, y))
    close(jax.grad(summed(viewed(form)), (0, 1))(*given), jax.grad(summed(sliced), (0, 1))(*given))


def test_linear_transpose_is_zero_outside_the_stretch(form, arrays):
    x, y = arrays
    twice = lambda x: ops.map_scalars(lambda a: 2 * a, N, ops.View(x, 57), backend=form)
    (back,) = jax.linear_transpose(twice, x)(y)
    np.testing.assert_array_equal(back, np.concatenate([np.zeros(57), 2 * np.asarray(y), np.zeros(LONG - N - 57)]))


def test_overlapping_views_add_their_cotangents(form, arrays):
    both = lambda x: ops.map_scalars(lambda a, b: a + 3 * b, 10, ops.View(x, 0), ops.View(x, 5), backend=form)
    (back,) = jax.vjp(both, arrays[0])[1](jnp.ones(10))
    np.testing.assert_array_equal(back[:16], [1] * 5 + [4] * 5 + [3] * 5 + [0])
    assert not np.any(back[16:])


@pytest.mark.parametrize("array, start", [
    (jnp.zeros(LONG), LONG - N + 1), (jnp.zeros(LONG), -1), (jnp.zeros(N - 1), 0), (jnp.zeros((LONG, N)), 0),
])  # fmt: skip
def test_a_stretch_that_is_not_there_is_refused(form, array, start):
    with pytest.raises(ValueError, match=r"a view of shape .*, but it has no 100 values there; view a longer array"):
        ops.map_scalars(lambda a: a, N, ops.View(array, start), backend=form)


def test_a_view_is_not_donated(form, arrays):
    x, y = arrays
    with pytest.raises(ValueError, match="they would share memory"):
        ops.map_scalars(lambda a, b: a + b, N, ops.View(x, 0), y, donate=((0, 0),), backend=form)
