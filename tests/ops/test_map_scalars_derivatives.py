"""map_scalars: derivatives and batches of every order and order of nesting, against jax.vmap of the same function."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from brainsim import ops

WIDTHS = (1, 7, 150)  # one cell; fewer than a block; blocks and a rest
DTYPES = (np.float32, np.float64)


@jax.custom_jvp
def spike(x):
    return jnp.where(x > 0, jnp.ones_like(x), jnp.zeros_like(x))


spike.defjvp(lambda p, t: (spike(*p), t[0] / (1 + jnp.abs(p[0])) ** 2))


def cell(z, k, held, on):
    """Everything that equations use: gates, a spike, a counter, a mask, clipping, integers that enter floats."""
    a, b = z["a"], z["b"]
    rate = jnp.tanh(a * b) * jnp.exp(-k * a) + jax.nn.sigmoid(b) * k
    near = jnp.abs(b) < 0.5
    far = jnp.where(near, 1, b)
    free = a + rate * jnp.where(near, 1 + b / 2, jnp.expm1(far) / far)
    new = jnp.where(held > 0, a, free) + held.astype(a.dtype) * b**3
    fired = spike(new - k)
    left = jnp.where(lax.stop_gradient(fired) > 0.5, 3, jnp.maximum(held - 1, 0))
    b = jnp.where(on, jnp.log1p(b * b), jnp.sqrt(b * b + 1) / k) + jnp.clip(a, -1, 1) + jnp.maximum(b, a)
    return {"a": jnp.tanh(jnp.where(fired > 0.5, k, new)), "b": jnp.tanh(b)}, fired, left, on & (new > 0)


def small(z, k, held, on):
    """A cell that compiles fast, with the same operands and results."""
    x = jnp.tanh(z["a"] * k) * z["b"]
    return {"a": x + k, "b": jnp.where(on, z["b"] * z["a"], x)}, spike(x - k), held + 1, on & (x > 0)


def values(n, dtype, seed=0, batch=()):
    rng = np.random.default_rng(seed)
    z = {name: jnp.asarray(rng.normal(size=(*batch, n)), dtype) for name in "ab"}
    return z, jnp.asarray(0.7, dtype), jnp.asarray(rng.integers(0, 3, n), jnp.int32), jnp.asarray(rng.random(n) < 0.5)


def forms(n, cell=cell):
    """(native, pure jax): functions of (z, k, held, on) for n cells."""
    native = lambda *args: ops.map_scalars(cell, n, *args, donate=((0, 0), (1, 1)), backend="native")
    return native, jax.vmap(cell, in_axes=(0, None, 0, 0), axis_size=n)


def floats(results):
    return [x for x in jax.tree.leaves(results) if jnp.issubdtype(x.dtype, jnp.floating)]


def total(f):
    """A scalar that weighs every float result of every cell differently."""

    def run(*args):
        weigh = lambda x: (x.ravel() * jnp.cos(jnp.arange(x.size, dtype=x.dtype))).sum()
        return sum(weigh(x) * (i + 1) for i, x in enumerate(floats(f(*args))))

    return run


def along(f):
    """The float results as a function of (a, b, k) for fixed flags."""
    return lambda a, b, k, held, on: floats(f({"a": a, "b": b}, k, held, on))


def agree(transform, n, dtype, *args, cell=cell, slack=64):
    native, pure = forms(n, cell)
    made, wanted = jax.jit(transform(native))(*args), jax.jit(transform(pure))(*args)
    assert jax.tree.structure(made) == jax.tree.structure(wanted)
    error = slack * np.finfo(dtype).eps
    for a, b in zip(jax.tree.leaves(made), jax.tree.leaves(wanted)):
        assert a.shape == b.shape and a.dtype == b.dtype
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        assert np.all(np.isfinite(b))
        np.testing.assert_allclose(a, b, rtol=error, atol=error * np.max(np.abs(b), initial=1))


@pytest.fixture(params=DTYPES, ids=["f32", "f64"])
def dtype(request):
    with jax.enable_x64(request.param is np.float64):
        yield request.param


@pytest.fixture(params=WIDTHS)
def n(request):
    return request.param


FIRST = {
    "value": lambda f: f,
    "jvp": lambda f: (
        lambda z, k, held, on: jax.jvp(lambda z, k: floats(f(z, k, held, on)), (z, k), (z, jnp.ones_like(k)))
    ),
    "jvp_of_shared": lambda f: lambda z, k, held, on: jax.jvp(lambda k: floats(f(z, k, held, on)), (k,), (k,)),
    "grad": lambda f: jax.grad(total(f), argnums=(0, 1)),
    "grad_of_shared": lambda f: jax.grad(total(f), argnums=1),
    "vjp_of_one_result": lambda f: lambda z, *rest: jax.vjp(lambda z: f(z, *rest)[1], z)[1](jnp.ones_like(z["a"])),
    "linearize": lambda f: lambda z, *rest: jax.linearize(lambda z: floats(f(z, *rest)), z)[1](z),
}
SECOND = {
    "jacfwd": lambda f: lambda z, *rest: jax.jacfwd(along(f), argnums=(0, 2))(z["a"], z["b"], *rest),
    "jacrev": lambda f: lambda z, *rest: jax.jacrev(along(f), argnums=(0, 2))(z["a"], z["b"], *rest),
    "hessian": lambda f: jax.hessian(total(f), argnums=(0, 1)),
    "reverse_over_reverse": lambda f: jax.jacrev(jax.grad(total(f), argnums=(0, 1)), argnums=(0, 1)),
    "reverse_over_forward": lambda f: jax.jacrev(jax.jacfwd(total(f), argnums=1), argnums=(0, 1)),
    "third": lambda f: jax.grad(jax.grad(jax.grad(total(f), argnums=1), argnums=1), argnums=(0, 1)),
}


@pytest.mark.parametrize("name, n, dtype", [
    pytest.param(name, n, dtype, marks=pytest.mark.slow if (n, dtype) == (150, np.float64) else ())
    for name in FIRST for n in WIDTHS for dtype in DTYPES
], indirect=["n", "dtype"])  # fmt: skip
def test_first_derivatives(name, n, dtype):
    agree(FIRST[name], n, dtype, *values(n, dtype))


@pytest.mark.parametrize("name, dtype", [
    pytest.param(name, dtype, marks=() if dtype is np.float64 or name in ("jacfwd", "jacrev") else pytest.mark.slow)
    for name in SECOND for dtype in DTYPES
], indirect=["dtype"])  # fmt: skip
def test_derivatives_of_higher_order(name, dtype):
    agree(SECOND[name], 7, dtype, *values(7, dtype))


def test_eager_derivatives_are_those_of_compiled_ones():
    args = values(7, np.float32)
    gradient = jax.grad(total(forms(7)[0]), argnums=(0, 1))
    for a, b in zip(jax.tree.leaves(gradient(*args)), jax.tree.leaves(jax.jit(gradient)(*args))):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


# --- batches

AXES = [axes for axes in itertools.product((None, 0), repeat=4) if any(a == 0 for a in axes)]
each_axes = pytest.mark.parametrize("axes", AXES, ids=str)


def width(axes, shift):
    """Another number of cells for every other choice of axes: all of both would take long."""
    return WIDTHS[(AXES.index(axes) + AXES.index(axes) // 3 + shift) % 3]


def batched(n, dtype, axes, size=3):
    """Values with a batch in front where axes says so: of a, of b, of k, of the flags."""
    z, k, held, on = values(n, dtype)
    more = values(n, dtype, seed=1, batch=(size,))[0]
    stack = lambda x: jnp.stack([jnp.roll(x, i) for i in range(size)])
    z = {name: more[name] if axes[i] == 0 else z[name] for i, name in enumerate("ab")}
    k = k + jnp.arange(size, dtype=dtype) / 4 if axes[2] == 0 else k
    held, on = (stack(held), stack(on)) if axes[3] == 0 else (held, on)
    return (z, k, held, on), ({"a": axes[0], "b": axes[1]}, axes[2], axes[3], axes[3])


@pytest.mark.parametrize("axes, n", [
    pytest.param(axes, n, marks=() if n == width(axes, 0) else pytest.mark.slow) for axes in AXES for n in WIDTHS
], indirect=["n"])  # fmt: skip
def test_batches_of_values(axes, n):
    args, in_axes = batched(n, np.float32, axes)
    agree(lambda f: jax.vmap(f, in_axes=in_axes), n, np.float32, *args, cell=small)


@each_axes
def test_batches_of_derivatives(axes):
    n = width(axes, 0)
    args, in_axes = batched(n, np.float32, axes)
    agree(lambda f: jax.vmap(jax.grad(total(f), argnums=(0, 1)), in_axes=in_axes), n, np.float32, *args, cell=small)


@each_axes
def test_derivatives_of_batches(axes):
    n = width(axes, 1)
    args, in_axes = batched(n, np.float32, axes)
    agree(lambda f: jax.grad(total(jax.vmap(f, in_axes=in_axes)), argnums=(0, 1)), n, np.float32, *args, cell=small)


def test_nested_batches(n):
    """Trials inside of conditions inside of parameter sets: operands vary along one, two or three of the axes."""
    (z, k, held, on), _ = batched(n, np.float32, (0, None, None, None), size=2)
    k = k + jnp.arange(3, dtype=np.float32)
    b = jnp.stack([z["b"] + i for i in range(4)])

    def nested(f):
        inner = jax.vmap(lambda a, k, b: f({"a": a, "b": b}, k, held, on), in_axes=(0, None, None))
        middle = jax.vmap(inner, in_axes=(None, 0, None))
        return jax.vmap(middle, in_axes=(None, None, 0), out_axes=1)

    agree(nested, n, np.float32, z["a"], k, b, cell=small)
    agree(lambda f: jax.grad(total(nested(f)), argnums=(0, 1, 2)), n, np.float32, z["a"], k, b, cell=small)
    agree(
        lambda f: jax.vmap(jax.grad(total(nested(f)), argnums=(1, 2)), in_axes=(1, None, None)),
        n,
        np.float32,
        z["a"][:, None],
        k,
        b,
        cell=small,
    )


def test_batches_of_tangents(n):
    z, k, held, on = values(n, np.float32)
    ways = {name: jnp.stack([jnp.roll(x, i) for i in range(4)]) for name, x in z.items()}
    push = lambda f: lambda z, k, way: jax.jvp(lambda z: floats(f(z, k, held, on)), (z,), (way,))[1]
    agree(lambda f: jax.vmap(push(f), in_axes=(None, None, 0)), n, np.float32, z, k, ways, cell=small)
    pull = lambda f: lambda z, k, way: jax.vjp(lambda z, k: f(z, k, held, on)[0], z, k)[1](way)
    agree(lambda f: jax.vmap(pull(f), in_axes=(None, None, 0)), n, np.float32, z, k, ways, cell=small)


def test_batches_of_no_and_of_one_element(n):
    (z, k, held, on), in_axes = batched(n, np.float32, (0, None, 0, None), size=1)
    agree(lambda f: jax.vmap(f, in_axes=in_axes), n, np.float32, z, k, held, on, cell=small)
    empty = jax.vmap(forms(n)[0], in_axes=in_axes)({"a": z["a"][:0], "b": z["b"]}, k[:0], held, on)
    assert [x.shape for x in jax.tree.leaves(empty)] == [(0, n)] * 5


def test_batch_axes_other_than_the_first():
    (z, k, held, on), _ = batched(7, np.float32, (0, 0, None, None))
    z = {name: x.T for name, x in z.items()}
    agree(
        lambda f: jax.vmap(f, in_axes=({"a": 1, "b": 1}, None, None, None), out_axes=1),
        7,
        np.float32,
        z,
        k,
        held,
        on,
        cell=small,
    )


def test_batches_of_shared_values_are_not_copied_for_every_cell():
    """A parameter of each trial and a state that trials share enter the kernel as they are."""
    n, trials = 1000, 500
    step = lambda a, b, k: ops.map_scalars(lambda a, b, k: jnp.tanh(a * k) + b, n, a, b, k, backend="native").sum()
    run = jax.jit(jax.vmap(step, in_axes=(None, None, 0)))
    args = [jax.ShapeDtypeStruct(s, jnp.float32) for s in ((n,), (n,), (trials,))]
    memory = run.lower(*args).compile().memory_analysis()
    assert memory.temp_size_in_bytes < 1.5 * 4 * n * trials  # the results before the sum, and no operand of that size


# --- in loops


def loop(step, n_steps, checkpointed=False):
    def run(z, k, held, on):
        def body(carry, _):
            z, held = carry
            z, fired, held, _ = step(z, k, held, on)
            return (z, held), fired

        body = jax.checkpoint(body) if checkpointed else body
        (z, held), fired = lax.scan(body, (z, held), None, length=n_steps)
        return z, fired

    return run


@pytest.mark.parametrize("checkpointed", [False, True])
@pytest.mark.parametrize("n", [7, pytest.param(150, marks=pytest.mark.slow)])
def test_derivatives_of_a_loop(checkpointed, n, x64):
    dtype, slack = np.float64, 1e4  # spikes and resets let rounding errors grow from step to step
    args = values(n, dtype)
    agree(lambda f: jax.grad(total(loop(f, 5, checkpointed)), argnums=(0, 1)), n, dtype, *args, slack=slack)
    agree(lambda f: jax.jacfwd(total(loop(f, 5, checkpointed)), argnums=1), n, dtype, *args, slack=slack)


def test_derivative_of_a_batch_of_loops():
    args, in_axes = batched(7, np.float32, (0, None, 0, None))
    agree(
        lambda f: jax.grad(total(jax.vmap(loop(f, 4), in_axes=in_axes)), argnums=(0, 1)),
        7,
        np.float32,
        *args,
        cell=small,
    )
    agree(
        lambda f: jax.vmap(jax.grad(total(loop(f, 4)), argnums=(0, 1)), in_axes=in_axes),
        7,
        np.float32,
        *args,
        cell=small,
    )


def test_donation_leaves_the_operands_of_a_derivative_alone():
    z, k, held, on = values(150, np.float32)
    before = {name: np.asarray(x).copy() for name, x in z.items()}
    made, pull = jax.vjp(lambda z: forms(150)[0](z, k, held, on)[0], z)
    first = pull(made)[0]
    for name in z:
        np.testing.assert_array_equal(z[name], before[name])
        np.testing.assert_array_equal(pull(made)[0][name], first[name])


# --- what is compiled


def test_a_loop_keeps_the_operands_of_its_steps_and_no_intermediate_value():
    n, n_steps = 1000, 50
    args = values(n, np.float32)
    run = lambda z, k: total(loop(forms(n)[0], n_steps))(z, k, *args[2:])
    kept = jax.tree.leaves(jax.vjp(run, *args[:2])[1])
    stacked = sorted((x.dtype.name, x.shape) for x in kept if x.ndim == 2)
    assert stacked == [("float32", (n_steps, n))] * 2 + [("int32", (n_steps, n))]  # a, b and held at each step
    memory = lambda f: jax.jit(jax.grad(f, argnums=(0, 1))).lower(*args[:2]).compile().memory_analysis()
    pure = lambda z, k: total(loop(forms(n)[1], n_steps))(z, k, *args[2:])
    assert memory(run).temp_size_in_bytes < 6 * 4 * n * n_steps < memory(pure).temp_size_in_bytes


@pytest.mark.parametrize("transform", [lambda f: f, jax.vmap], ids=["one", "batch"])
def test_gradients_are_native(transform):
    n = 100
    z, k, held, on = values(n, np.float32)
    run = lambda z, k: total(lambda z, k: forms(n)[0](z, k, held, on))(z, k)
    args = (z, k) if transform is not jax.vmap else jax.tree.map(lambda x: jnp.stack([x, x]), (z, k))
    text = jax.jit(transform(jax.grad(run, argnums=(0, 1)))).lower(*args).as_text()
    assert "brainsim_cells" in text
    assert not [line for line in text.splitlines() if "tanh" in line or "exponential" in line or "reduce" in line]


@pytest.mark.parametrize("asked", ["xla", "reference"])
def test_forced_forms_have_no_native_derivative(asked):
    z, k, held, on = values(7, np.float32)
    run = lambda z, k: total(lambda z, k: ops.map_scalars(cell, 7, z, k, held, on, backend=asked))(z, k)
    assert "brainsim_cells" not in jax.jit(jax.hessian(run, argnums=(0, 1))).lower(z, k).as_text()


def test_functions_without_a_native_derivative():
    """The rule of a custom derivative and a shared value may use what the kernel cannot compute."""

    @jax.custom_jvp
    def gate(x):
        return jnp.tanh(x)

    gate.defjvp(lambda p, t: (gate(*p), t[0] * lax.lgamma(p[0] + 3)))
    x, k = jnp.asarray(np.linspace(-1, 1, 70), jnp.float32), jnp.float32(1.5)
    one = lambda x, k: gate(x) * lax.lgamma(k) + x * lax.digamma(k)
    native = lambda x, k: (ops.map_scalars(one, 70, x, k, backend="native") * x).sum()
    pure = lambda x, k: (jax.vmap(one, in_axes=(0, None))(x, k) * x).sum()
    assert "brainsim_cells" in jax.jit(native).lower(x, k).as_text()
    ks = jnp.asarray([1.5, 2.5])
    for transform, args in (
        (lambda f: jax.grad(f, argnums=(0, 1)), (x, k)),
        (lambda f: jax.hessian(f, argnums=1), (x, k)),
        (lambda f: jax.vmap(jax.grad(f, argnums=(0, 1)), in_axes=(None, 0)), (x, ks)),
        (lambda f: jax.grad(lambda x, k: jax.vmap(f, in_axes=(None, 0))(x, k).sum(), argnums=(0, 1)), (x, ks)),
    ):
        for a, b in zip(jax.tree.leaves(transform(native)(*args)), jax.tree.leaves(transform(pure)(*args))):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("n", [1, 40, 200])
def test_a_derivative_computes_the_bits_of_the_forward_loop_anew(n):
    """Else a spike of the forward loop could be none in its derivative."""

    @jax.custom_jvp
    def probe(x, y):
        return x * y

    probe.defjvp(lambda p, t: (probe(*p), t[0] * p[1]))

    def one(a, b, x, k):
        square, shared = a * a, k * k
        y = (square + b * b * k) * jnp.sin(a) - jnp.square(b) + jnp.where(a > 0, a * b, b * k + shared) * k
        return y, probe(x, y) + jnp.tanh(y) * a * b, square, shared  # what nothing but a sum reads in the derivative

    rng = np.random.default_rng(3)
    a, b, x = (jnp.asarray(rng.normal(size=(5, n)), jnp.float32) for _ in range(3))
    k = jnp.asarray(rng.normal(size=5), jnp.float32)
    forms = (lambda f: f, lambda f: jax.vmap(f), lambda f: jax.vmap(f, in_axes=(None, None, 0, 0)))
    step = lambda *args: ops.map_scalars(one, n, *args, backend="native")
    pull = lambda a, b, x, k: jax.grad(lambda x: step(a, b, x, k)[1].sum())(x)
    push = lambda a, b, x, k: jax.jvp(lambda x: step(a, b, x, k)[1], (x,), (jnp.ones_like(x),))[1]
    for form, args in zip(forms, ((a[0], b[0], x[0], k[0]), (a, b, x, k), (a[0], b[0], x, k))):
        forward = jax.jit(form(step))(*args)[0]
        for again in (pull, push):
            assert np.asarray(jax.jit(form(again))(*args)).tobytes() == np.asarray(forward).tobytes()


def test_other_platforms_get_the_xla_form():
    z, k, held, on = values(100, np.float32)
    run = lambda z, k: total(lambda z, k: ops.map_scalars(cell, 100, z, k, held, on))(z, k)
    batch = jax.vmap(jax.grad(run, argnums=(0, 1)), in_axes=(None, 0))
    lowered = jax.jit(batch).trace(z, jnp.stack([k, k])).lower(lowering_platforms=("cuda",))
    assert "brainsim_cells" not in lowered.as_text()
