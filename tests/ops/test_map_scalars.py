"""map_scalars: values of every primitive, equal bits at every position, in place, every transformation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from brainsim import ops
from brainsim.ops import scalar_graph

SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, np.inf, -np.inf, np.nan, 1e-30, -1e-30, 3e38, 20.0, -20.0]
EDGES = [88.0, 88.7, 88.73, 89.0, 100.0, 1e6, -86.9, -87.2, -87.33, -90.0, -104.0, -1e6, 1e-8, -1e-8, 0.6931, 0.3466]
BIG = [709.0, 709.7, 709.8, 710.0, -707.0, -708.3, -746.0, 1e-17]
INTS = [0, 1, -1, 2, 3, 7, -7, 31, 32, 33, 2**31 - 1, -(2**31), 100000, -5, 12, 64]


def floats(dtype):
    rng = np.random.default_rng(0)
    wide = rng.normal(size=200) * 10.0 ** rng.integers(-6, 3, 200)
    more = BIG if dtype == np.float64 else []
    return np.concatenate([SPECIAL, EDGES, more, wide]).astype(dtype)


def ints(dtype=np.int32):
    return np.asarray(INTS, np.int64).astype(dtype)


def pairs(values):
    """Every special value against every other."""
    few = values[:40]
    return np.repeat(few, len(few)), np.tile(few, len(few))


def check(functions, *args, ulp=0):
    """Native against XLA, all functions in one kernel; `ulp` by name where XLA rounds differently."""
    n = next(len(a) for a in args if np.ndim(a))
    every = lambda *a: {name: f(*a) for name, f in functions.items()}
    jaxpr = jax.make_jaxpr(every)(*(jnp.asarray(a).ravel()[0] for a in args)).jaxpr
    assert scalar_graph.supported(jaxpr), jaxpr
    native = jax.jit(lambda *a: ops.map_scalars(every, n, *a, backend="native"))(*args)
    axes = tuple(0 if np.ndim(a) else None for a in args)
    xla = jax.jit(jax.vmap(every, in_axes=axes))(*args)
    for name in functions:
        made, wanted = np.asarray(native[name]), np.asarray(xla[name])
        assert made.dtype == wanted.dtype and made.shape == wanted.shape
        info = np.finfo(made.dtype if made.dtype.kind == "f" else np.float32)
        tolerance = dict(rtol=ulp * info.eps, atol=ulp * info.tiny)
        np.testing.assert_allclose(made, wanted, **tolerance, equal_nan=True, err_msg=name)


UNARY = {
    "neg": lambda x: -x,
    "abs": jnp.abs,
    "sign": jnp.sign,
    "floor": jnp.floor,
    "ceil": jnp.ceil,
    "round": lambda x: lax.round(x, lax.RoundingMethod.TO_NEAREST_EVEN),
    "away": lambda x: lax.round(x, lax.RoundingMethod.AWAY_FROM_ZERO),
    "sqrt": jnp.sqrt,
    "square": jnp.square,
    "is_finite": jnp.isfinite,
    "to_int": lambda x: x.astype(jnp.int32),
    "to_uint": lambda x: jnp.abs(x).astype(jnp.uint32),
    "to_bool": lambda x: x.astype(bool),
    "power": lambda x: lax.integer_pow(x, 3),
    "inverse": lambda x: lax.integer_pow(x, -2),
    "clamp": lambda x: lax.clamp(jnp.asarray(-1, x.dtype), x, jnp.asarray(2, x.dtype)),
    "relu": lambda x: jnp.maximum(x, jnp.zeros((), x.dtype)),
    "stop": lambda x: lax.stop_gradient(x) + x,
    "shape": lambda x: lax.squeeze(lax.broadcast_in_dim(lax.reshape(x, ()), (), ()), ()) * x,
    "call": lambda x: jax.checkpoint(jax.jit(jnp.abs))(x),
    "copy": lambda x: jnp.array(x, copy=True) * x,
}
MATH = {
    "exp": np.exp,
    "exp2": np.exp2,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "tanh": np.tanh,
    "logistic": lambda x: 1 / (1 + np.exp(-x)),
    "rsqrt": lambda x: 1 / np.sqrt(x),
}
BINARY = {
    "add": jnp.add,
    "sub": jnp.subtract,
    "mul": jnp.multiply,
    "div": jnp.divide,
    "max": jnp.maximum,
    "min": jnp.minimum,
    "eq": lax.eq,
    "ne": lax.ne,
    "lt": lax.lt,
    "le": lax.le,
    "gt": lax.gt,
    "ge": lax.ge,
    "select": lambda x, y: jnp.where(x > y, x, y + y),
}
INTEGER = {
    **{name: BINARY[name] for name in ("add", "sub", "mul", "max", "min", "eq", "ne", "lt", "le", "gt", "ge")},
    "div": lax.div,
    "rem": lax.rem,
    "and": jnp.bitwise_and,
    "or": jnp.bitwise_or,
    "xor": jnp.bitwise_xor,
    "not": lambda x, y: ~x + y,
    "left": lax.shift_left,
    "logical": lax.shift_right_logical,
    "arithmetic": lax.shift_right_arithmetic,
    "sign": lambda x, y: jnp.sign(x) * jnp.abs(y),
    "float": lambda x, y: x.astype(jnp.float32) - y.astype(jnp.float32),
    "signed": lambda x, y: x.astype(jnp.int32) + y.astype(jnp.uint32).astype(jnp.int32),
    "bool": lambda x, y: (x > y) & ~(y != x) ^ x.astype(bool),
    "square": lambda x, y: jnp.square(x) + lax.integer_pow(y, 3),
}
DTYPES = (np.float32, np.float64)


@pytest.fixture(params=DTYPES, ids=["f32", "f64"])
def dtype(request):
    with jax.enable_x64(request.param is np.float64):
        yield request.param


def test_every_rule_is_tested_and_written():
    from brainsim.ops.emit_rules import EMIT

    assert set(EMIT) == set(scalar_graph.RULES)


def test_unary(dtype):
    check(UNARY, floats(dtype), ulp=1)


@pytest.mark.parametrize("name", MATH)
def test_elementary_functions_are_within_2_ulp(dtype, name):
    """Against extended precision: XLA's own are off by more in places."""
    function = getattr(lax, name)
    rng = np.random.default_rng(1)
    x = np.concatenate([floats(dtype), rng.uniform(-90, 90, 3000), rng.uniform(-2, 2, 3000)]).astype(dtype)
    made = np.asarray(jax.jit(lambda x: ops.map_scalars(function, len(x), x, backend="native"))(x))
    with np.errstate(all="ignore"):
        exact = MATH[name](x.astype(np.longdouble))
        wanted = exact.astype(dtype)
        ulp = np.spacing(np.abs(wanted)).astype(np.longdouble)
        error = np.abs(made.astype(np.longdouble) - exact) / ulp
    ordinary = np.isfinite(wanted) & (np.abs(wanted) >= np.finfo(dtype).tiny) & (np.abs(x) >= np.finfo(dtype).tiny)
    limit = {"tanh": 3.5, "logistic": 2.5, "rsqrt": 1.5}.get(name, 2)
    assert np.max(error[ordinary]) <= limit, (x[ordinary][np.argmax(error[ordinary])], np.max(error[ordinary]))
    special = ~np.isfinite(wanted) | (x == 0)
    np.testing.assert_array_equal(made[special], wanted[special])


def test_binary(dtype):
    x, y = pairs(floats(dtype))
    check(BINARY, x, y)
    check(BINARY, x, dtype(1.25), ulp=1)  # XLA divides by a constant through its inverse
    check(BINARY, dtype(-0.75), x)


@pytest.mark.parametrize("kind", [np.int32, np.uint32])
def test_integers(kind):
    check(INTEGER, *pairs(ints(kind)))


def test_conversions_between_widths(x64):
    x = floats(np.float64)
    narrow = {
        "f32": lambda x: x.astype(jnp.float32).astype(jnp.float64),
        "i32": lambda x: x.astype(jnp.int32).astype(jnp.int64) * 3,
        "bool": lambda x: (x > 0).astype(jnp.int32).astype(jnp.float64) + (x < 1).astype(jnp.float64),
    }
    check(narrow, x)
    for kind in (np.int32, np.uint32):
        check({"wide": lambda x: x.astype(jnp.int64) + 1}, ints(kind))


def test_bools():
    a = np.asarray([True, False, True, False] * 5)
    b = np.asarray([True, True, False, False] * 5)
    logic = {"and": lambda a, b: (a & b) | ~a, "xor": lambda a, b: jnp.where(a ^ b, 1.0, 2.0), "eq": lambda a, b: a == b}
    check(logic, a, b)


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


def xla(function, n, *args, **options):
    return ops.map_scalars(function, n, *args, backend="xla", **{k: v for k, v in options.items() if k != "backend"})


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
        part = step(jax.tree.map(lambda x: x[chosen], args[0]), args[1][chosen], args[2])
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


def test_derivatives_and_batches_are_those_of_the_xla_form():
    x, y = (jnp.asarray(np.random.default_rng(i).normal(size=7), jnp.float32) for i in (0, 1))
    for make in (ops.map_scalars, xla):
        f = lambda x, y, k, make=make: make(smooth, 7, x, y, k)[0]
        made = [
            jax.grad(lambda *a: f(*a).sum(), argnums=(0, 1, 2))(x, y, 0.3),  # noqa: B023
            jax.jvp(f, (x, y, 0.3), (y, x, 1.0)),
            jax.jacfwd(f)(x, y, 0.3),
            jax.jacrev(jax.grad(lambda *a: f(*a).sum()))(x, y, 0.3),  # noqa: B023
            jax.vmap(f, in_axes=(0, None, 0))(jnp.stack([x, y]), y, jnp.asarray([0.1, 0.2])),
            jax.vmap(lambda k: ops.map_scalars(lambda x: x * k, 7, x))(jnp.asarray([1.0, 2.0])),
        ]
        wanted = made if make is ops.map_scalars else wanted  # noqa: F821
    for a, b in zip(jax.tree.leaves(made), jax.tree.leaves(wanted)):
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


@pytest.mark.parametrize("function", [jnp.sin, lambda x: jnp.stack([x, x]).sum(), lambda x: x**2.5])
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
