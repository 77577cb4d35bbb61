"""map_scalars: values of every primitive at special numbers, against XLA and against extended precision."""

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


WIDE = {
    "sin": (jnp.sin, np.sin),
    "cos": (jnp.cos, np.cos),
    "pow": (jnp.power, np.power),
}


@pytest.mark.parametrize("name", WIDE)
def test_functions_through_float64_are_rounded_once(name):
    """Arguments of every size, close to multiples of pi / 2 and with the special values of IEEE 754."""
    rng = np.random.default_rng(2)
    wide = rng.normal(size=3000) * 2.0 ** rng.integers(-40, 127, 3000)
    near = np.arange(-2000, 2000) * (np.pi / 2)
    x = np.concatenate([floats(np.float32), rng.uniform(-20, 20, 3000), wide, near]).astype(np.float32)
    args = (x,)
    if name == "pow":
        few = np.concatenate([SPECIAL, EDGES, [3.0, -3.0, 1e9]]).astype(np.float32)
        x = np.concatenate([np.repeat(few, len(few)), rng.uniform(0, 30, 5000), -rng.uniform(0, 30, 500)])
        y = np.concatenate([np.tile(few, len(few)), rng.uniform(-20, 20, 5000), rng.integers(-9, 9, 500)])
        args = x.astype(np.float32), y.astype(np.float32)
    mine, exact = WIDE[name]
    run = jax.jit(lambda *a: ops.map_scalars(mine, len(x), *a, backend="native"))
    assert "brainsim_cells" in run.lower(*args).as_text()
    with np.errstate(all="ignore"):
        exact = exact(*(a.astype(np.float64) for a in args))
        wanted, made = exact.astype(np.float32), np.asarray(run(*args))
        error = np.abs(made - exact) / np.spacing(np.abs(wanted)).astype(np.float64)
    small = np.abs(wanted) < np.finfo(np.float32).tiny
    special = ~np.isfinite(wanted) | (wanted == 0)
    assert np.max(error[~special & ~small]) <= 0.51
    np.testing.assert_array_equal(made[special], wanted[special])
    signed = special & ~np.isnan(wanted)
    np.testing.assert_array_equal(np.signbit(made[signed]), np.signbit(wanted[signed]))
    np.testing.assert_allclose(made[small], wanted[small], atol=np.finfo(np.float32).tiny)


def test_derivatives_of_functions_through_float64():
    x, y = (np.random.default_rng(i).uniform(0.1, 3, 100).astype(np.float32) for i in (0, 1))
    one = lambda x, y: x**y + jnp.sin(x * y) * jnp.cos(y) + x**2.5
    total = lambda form: lambda x, y: form(x, y).sum()
    native = jax.jit(jax.grad(total(lambda *a: ops.map_scalars(one, 100, *a, backend="native")), argnums=(0, 1)))
    assert "power" not in native.lower(x, y).as_text()
    for a, b in zip(native(x, y), jax.grad(total(jax.vmap(one)), argnums=(0, 1))(x, y)):
        np.testing.assert_allclose(a, b, rtol=3e-6, atol=1e-6)


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
    logic = {
        "and": lambda a, b: (a & b) | ~a,
        "xor": lambda a, b: jnp.where(a ^ b, 1.0, 2.0),
        "eq": lambda a, b: a == b,
    }
    check(logic, a, b)


def test_sums_over_cells_are_accurate_and_skip_the_padding():
    """Cotangents of shared operands: against float64, at sizes around a block; a padded cell would give nan here."""
    for n in (1, 5, 63, 64, 65, 1000, 4097):
        x = np.random.default_rng(n).uniform(0.5, 2, n).astype(np.float32)
        f = lambda k, x=x, n=n: ops.map_scalars(lambda x, k: jnp.log(x) * k / x, n, x, k, backend="native").sum()
        wanted = np.sum(np.log(x.astype(np.float64)) / x)
        np.testing.assert_allclose(jax.jit(jax.grad(f))(jnp.float32(2)), wanted, rtol=1e-6, atol=1e-6)
