"""map_scalars: equal bits at every position, in place, every transformation, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from brainsim import ops


def cell(z, arrived, p):
    """An update with every kind of leaf: a state, a counter, a mask, shared numbers."""
    rate = (p["rest"] - z["v"] + arrived * z["g"]) / p["tau"]
    x = rate * 0.1
    near = jnp.abs(x) < 0.5
    phi = jnp.where(near, 1 + x / 2, (jnp.exp(jnp.where(near, 1.0, x)) - 1) / jnp.where(near, 1.0, x))
    v = jnp.where(z["held"] > 0, z["v"], z["v"] + rate * phi * 0.1)
    fired = v > p["threshold"]
    held = jnp.where(fired, 5, jnp.maximum(z["held"] - 1, 0))
    return {"g": z["g"] * jnp.exp(-0.1 / p["tau"]), "held": held, "v": jnp.where(fired, p["rest"], v)}, fired


def population(n, seed=0):
    rng = np.random.default_rng(seed)
    z = {
        "g": jnp.asarray(rng.uniform(0, 1, n), jnp.float32),
        "held": jnp.asarray(rng.integers(0, 3, n), jnp.int32),
        "v": jnp.asarray(rng.uniform(-70, -45, n), jnp.float32),
    }
    shared = {"rest": jnp.float32(-60), "tau": jnp.float32(20), "threshold": jnp.float32(-50)}
    return z, jnp.asarray(rng.normal(size=n), jnp.float32), shared


@pytest.mark.parametrize("n", [1, 3, 16, 17, 64, 1000])
def test_sizes(n):
    args = population(n)
    made = jax.jit(lambda *a: ops.map_scalars(cell, n, *a, backend="native"))(*args)
    wanted = jax.jit(lambda *a: jax.vmap(cell, in_axes=(0, 0, None))(*a))(*args)
    assert jax.tree.structure(made) == jax.tree.structure(wanted)
    for a, b in zip(jax.tree.leaves(made), jax.tree.leaves(wanted)):
        assert a.dtype == b.dtype and a.shape == (n,)
        np.testing.assert_allclose(a, b, rtol=3e-7)


def test_bits_of_a_cell_do_not_depend_on_the_others():
    args = population(1000)
    step = lambda z, a, p: ops.map_scalars(cell, len(a), z, a, p, backend="native")
    whole = step(*args)
    order = np.random.default_rng(1).permutation(1000)
    for chosen in (order, order[:333], np.arange(5), np.arange(65)):
        part = step({k: x[chosen] for k, x in args[0].items()}, args[1][chosen], args[2])
        for a, b in zip(jax.tree.leaves(part), jax.tree.leaves(whole)):
            assert np.asarray(a).tobytes() == np.asarray(b)[chosen].tobytes()


def test_eager_and_compiled_calls_agree_bit_for_bit():
    args = population(100)
    run = lambda *a: ops.map_scalars(cell, 100, *a, backend="native")
    for a, b, c in zip(*(jax.tree.leaves(x) for x in (run(*args), run(*args), jax.jit(run)(*args)))):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes() == np.asarray(c).tobytes()


def test_donated_carry_is_updated_in_place():
    z, arrived, p = population(100)

    def loop(z, donate):
        step = lambda i, z: ops.map_scalars(cell, 100, z, arrived, p, donate=donate, backend="native")[0]
        return lax.fori_loop(0, 50, step, z)

    donated = jax.jit(lambda z: loop(z, ((0, 0), (1, 1), (2, 2))))
    text = donated.lower(z).compile().as_text()
    (body,) = [c for c in text.split("\n\n") if "brainsim_cells" in c]
    assert "output_to_operand_aliasing" in body
    assert not [line for line in body.splitlines() if " copy(" in line]
    before = np.asarray(z["v"]).copy()
    for a, b in zip(jax.tree.leaves(donated(z)), jax.tree.leaves(jax.jit(lambda z: loop(z, ()))(z))):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()
    np.testing.assert_array_equal(before, z["v"])


def smooth(x, y, k):
    return jnp.tanh(x * y) * jnp.exp(-k * x) + jnp.where(x > 0, x, y), x.astype(jnp.int32)


def transformed(backend):
    """Every kind of derivative and batch of `smooth`."""
    x, y = (jnp.asarray(np.random.default_rng(i).normal(size=7), jnp.float32) for i in (0, 1))
    f = lambda x, y, k: ops.map_scalars(smooth, 7, x, y, k, backend=backend)[0]
    total = lambda x, y, k: f(x, y, k).sum()
    return [
        jax.grad(total, argnums=(0, 1, 2))(x, y, 0.3),
        jax.jvp(f, (x, y, 0.3), (y, x, 1.0)),
        jax.jacfwd(f)(x, y, 0.3),
        jax.jacrev(jax.grad(total))(x, y, 0.3),
        jax.vmap(f, in_axes=(0, None, 0))(jnp.stack([x, y]), y, jnp.asarray([0.1, 0.2])),
        jax.vmap(lambda k: ops.map_scalars(lambda x: x * k, 7, x, backend=backend))(jnp.asarray([1.0, 2.0])),
    ]


def test_derivatives_and_batches_are_those_of_the_xla_form():
    for a, b in zip(jax.tree.leaves(transformed("native")), jax.tree.leaves(transformed("xla"))):
        np.testing.assert_allclose(a, b, rtol=2e-6, atol=1e-6)


def test_custom_derivative_is_kept():
    @jax.custom_jvp
    def spike(x):
        return jnp.where(x > 0, 1.0, 0.0)

    spike.defjvp(lambda primal, tangent: (spike(*primal), 3 * tangent[0]))
    x = jnp.asarray([-1.0, 1.0])
    f = lambda x: ops.map_scalars(spike, 2, x)
    np.testing.assert_array_equal(f(x), [0, 1])
    np.testing.assert_array_equal(jax.grad(lambda x: f(x).sum())(x), [3, 3])


def test_custom_vjp_keeps_its_rule():
    @jax.custom_vjp
    def twice(x):
        return jnp.tanh(x) * 2

    twice.defvjp(lambda x: (twice(x), x), lambda x, ct: (ct * (100 + x),))
    x = jnp.asarray([0.5, -1.0, 2.0])
    f = lambda x: ops.map_scalars(lambda x: twice(x) * x, 3, x, backend="native")
    np.testing.assert_allclose(jax.grad(lambda x: f(x).sum())(x), (100 + x) * x + 2 * jnp.tanh(x), rtol=1e-6)
    np.testing.assert_allclose(
        jax.vmap(jax.grad(lambda x: f(x).sum()))(jnp.stack([x, -x]))[1], (100 - x) * -x - 2 * jnp.tanh(x), rtol=1e-6
    )


def test_closed_over_values_shared_results_and_unused_leaves():
    table = jnp.asarray([1.0, 2.0])

    @jax.jit
    def run(x, k, unused):
        one = lambda a, u: {"k": k, "sum": a + k + table[1], "same": a, "shared": jnp.exp(k), "two": 2.0}
        return ops.map_scalars(one, 5, x, unused)

    x = jnp.arange(5.0)
    made = run(x, jnp.float32(3), x)
    np.testing.assert_array_equal(made["sum"], x + 5)
    np.testing.assert_array_equal(made["k"], np.full(5, 3))
    np.testing.assert_array_equal(made["two"], np.full(5, 2))
    np.testing.assert_array_equal(made["same"], x)
    np.testing.assert_allclose(made["shared"], np.full(5, np.exp(3)), rtol=1e-6)
    text = run.lower(x, jnp.float32(3), x).as_text()
    assert "brainsim_cells" in text  # table[1] and the like run once outside the loop


@pytest.mark.parametrize("function", [jnp.arctan, lambda x: jnp.stack([x, x]).sum(), lax.lgamma])
def test_other_primitives_take_the_xla_form(function):
    x = jnp.linspace(0.1, 2, 9, dtype=jnp.float32)
    run = jax.jit(lambda x: ops.map_scalars(function, 9, x, backend="native"))
    assert "brainsim_cells" not in run.lower(x).as_text()
    np.testing.assert_allclose(run(x), jax.vmap(function)(x), rtol=1e-6)


def test_no_mapped_leaf_and_no_cells():
    np.testing.assert_array_equal(ops.map_scalars(lambda x: x + 1, 3, 1.0), [2, 2, 2])
    assert ops.map_scalars(lambda x: x + 1, 0, jnp.zeros(0)).shape == (0,)


@pytest.mark.parametrize("asked", ["xla", "reference"])
def test_forced_forms(monkeypatch, asked):
    x = jnp.ones(4)
    run = lambda x: ops.map_scalars(lambda a: a + 1, 4, x)
    assert "brainsim_cells" in jax.jit(run).lower(x).as_text()
    monkeypatch.setenv("BRAINSIM_OPS", asked)
    assert "brainsim_cells" not in jax.jit(lambda x: run(x)).lower(x).as_text()
    assert "map_scalars" in ops.backends()


def test_refusals():
    x, i = jnp.ones(4), jnp.ones(4, jnp.int32)
    one = lambda x, y: (x + 1, y)
    for match, call in (
        ("has shape \\(3,\\), but a leaf is", lambda: ops.map_scalars(one, 4, x, jnp.ones(3))),
        ("has shape \\(4, 1\\), but", lambda: ops.map_scalars(one, 4, x, jnp.ones((4, 1)))),
        ("n is 2.5", lambda: ops.map_scalars(one, 2.5, x, x)),
        ("n is -1", lambda: ops.map_scalars(one, -1, x, x)),
        ("names the pair \\(0, 2\\)", lambda: ops.map_scalars(one, 4, x, x, donate=((0, 2),))),
        ("share memory", lambda: ops.map_scalars(one, 4, x, i, donate=((1, 0),))),
        ("share memory", lambda: ops.map_scalars(one, 4, x, 1.0, donate=((1, 0),))),
        ("occurs twice", lambda: ops.map_scalars(one, 4, x, x, donate=((0, 0), (1, 0)))),
        ("names no back end", lambda: ops.map_scalars(one, 4, x, x, backend="fast")),
    ):
        with pytest.raises(ValueError, match=match):
            call()
