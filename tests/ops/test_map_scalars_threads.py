"""map_scalars and random numbers on several threads: every cell once, and the same bits on any number of threads."""

import concurrent.futures
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from brainsim import ops
from brainsim.ops import parallel, random, random_kernels
from brainsim.ops.fused import View

THREADS = (1, 2, 2, 3, 64)


def lif(v, g, held, p):
    moved = jnp.where(held > 0, v, v + 0.1 * (p["rest"] - v - g * v) / p["tau"])
    fired = moved > p["threshold"]
    return jnp.where(fired, p["rest"], moved), g * jnp.exp(-0.1 / p["tau"]), jnp.maximum(held - 1, 0), fired


def population(n, *batch):
    rng, shape = np.random.default_rng(n), (*batch, n)
    p = dict(rest=jnp.float32(-60), tau=jnp.float32(20), threshold=jnp.float32(-50))
    v, g = rng.uniform(-70, -45, shape).astype(np.float32), rng.uniform(0, 0.1, shape).astype(np.float32)
    return jnp.asarray(v), jnp.asarray(g), jnp.asarray(rng.integers(0, 3, shape), jnp.int32), p


@pytest.fixture
def limit():
    """Restores the number of threads."""
    before = parallel.threads()
    yield parallel.use_threads
    parallel.use_threads(before)


@pytest.fixture(scope="module")
def sizes():
    """(most cells of `lif` that stay on one thread, cells per block)."""
    from brainsim.ops import emit_handler

    found, original = [], emit_handler.Handler.emit

    def emit(handler):
        found.append(((handler.split_blocks + 1) * handler.width - 1, handler.width))
        original(handler)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(emit_handler.Handler, "emit", emit)
        jax.jit(lambda *a: ops.map_scalars(lif, 5, *a, backend="native")).lower(*population(5)).compile()
    return found[0]


def on_threads(limit, call):
    """The results of `call`, after a look at their bits on every number of threads."""
    made = []
    for n in THREADS:
        limit(n)
        made.append(jax.tree.leaves(jax.block_until_ready(call())))
    for other in made[1:]:
        assert [np.asarray(x).tobytes() for x in other] == [np.asarray(x).tobytes() for x in made[0]]
    return made[0]


def close(made, wanted, rtol=1e-6):
    wanted = jax.tree.leaves(wanted)
    assert len(made) == len(wanted) > 0
    for a, b in zip(made, wanted):
        assert a.dtype == b.dtype and a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-7)


def test_the_threshold_leaves_small_populations_alone(sizes):
    assert 10_000 < sizes[0] < 100_000


@pytest.mark.parametrize("which", ["below", "at", "over", "far over"])
def test_every_cell_is_computed_around_the_threshold(limit, sizes, which):
    most, width = sizes
    n = {"below": most, "at": most + 1, "over": most + width + 4, "far over": 7 * most + 5}[which]
    args = population(n)
    made = on_threads(limit, jax.jit(lambda: ops.map_scalars(lif, n, *args, backend="native")))
    close(made, jax.vmap(lif, (0, 0, 0, None))(*args))
    place = n // 2  # the same cells have the same bits in a small population
    few = ops.map_scalars(lif, 100, *(x[place : place + 100] for x in args[:3]), args[3], backend="native")
    for a, b in zip(made, few):
        assert np.asarray(a)[place : place + 100].tobytes() == np.asarray(b).tobytes()


def test_a_state_updated_in_place(limit, sizes):
    n = 3 * sizes[0] + 7
    v, g, held, p = population(n)
    arrived = jnp.asarray(np.random.default_rng(1).uniform(0, 0.1, n + 9), jnp.float32)

    def steps(backend):
        cell = lambda v, g, held, more, p: lif(v, g + more, held, p)
        one = lambda z: ops.map_scalars(
            cell,
            n,
            *z,
            View(arrived, 9),
            p,
            donate=((0, 0), (1, 1), (2, 2)) if backend == "native" else (),
            backend=backend,
        )
        return lax.fori_loop(0, 20, lambda i, z: one(z)[:3], (v, g, held))

    close(on_threads(limit, jax.jit(lambda: steps("native"))), jax.jit(lambda: steps("xla"))(), rtol=2e-5)


@pytest.mark.parametrize("batch", [(3,), (2, 2)])
def test_batches_of_large_populations(limit, sizes, batch):
    n = sizes[0] + 70
    *z, p = population(n, *batch)
    p["tau"] = jnp.linspace(10, 20, batch[0], dtype=jnp.float32)

    def call(backend):
        one = lambda *a: ops.map_scalars(lif, n, *a, backend=backend)
        axes = (0, 0, 0, dict(rest=None, tau=0, threshold=None))
        for _ in batch[1:]:
            one = jax.vmap(one, (0, 0, 0, None))
        return jax.vmap(one, axes)(*z, p)

    close(on_threads(limit, jax.jit(lambda: call("native"))), jax.jit(lambda: call("xla"))())


@pytest.mark.parametrize("n", [65, 1000, 5000])
def test_batches_of_small_populations(limit, sizes, n):
    """Groups of elements per task; a shared parameter that is batched keeps the elements apart."""
    size = 4 * sizes[0] // n + 3
    *z, p = population(n, size)
    p["tau"] = jnp.linspace(10, 20, size, dtype=jnp.float32)
    axes = (0, 0, 0, dict(rest=None, tau=0, threshold=None))
    call = lambda backend: jax.vmap(lambda *a: ops.map_scalars(lif, n, *a, backend=backend), axes)(*z, p)
    close(on_threads(limit, jax.jit(lambda: call("native"))), jax.jit(lambda: call("xla"))())


@pytest.mark.parametrize("n", [40_000, 300_001])
def test_a_sum_over_cells_counts_every_cell_once(limit, n):
    """Whole numbers below 2^24: any order of the sum is exact."""
    x, f = jnp.asarray(np.arange(n) % 50, jnp.float32), lambda x, k: x * k + jnp.tanh(0.0 * x) * jnp.exp(k)
    total = lambda k: ops.map_scalars(f, n, x, k, backend="native").sum()
    (made,) = on_threads(limit, jax.jit(lambda: jax.grad(total)(2.0)))
    assert float(made) == float((np.arange(n) % 50).sum())


@pytest.mark.parametrize("batch", [None, 3])
def test_gradients_are_those_of_the_xla_form(limit, sizes, batch):
    n = 4 * sizes[0] + 11
    v, g, _, p = population(n)
    weight = jnp.asarray(np.random.default_rng(2).normal(size=n), jnp.float32)
    smooth = lambda v, g, p: jnp.tanh(g * v / p["tau"]) + jnp.exp(-g / p["tau"]) * p["rest"]

    def loss(v, p, backend):
        return jnp.vdot(weight, ops.map_scalars(smooth, n, v, g, p, backend=backend)) / n

    def call(backend):
        one = lambda tau: jax.grad(loss, (0, 1))(v, {**p, "tau": tau}, backend)
        return one(p["tau"]) if batch is None else jax.vmap(one)(jnp.linspace(15, 25, batch, dtype=jnp.float32))

    made, wanted = on_threads(limit, jax.jit(lambda: call("native"))), jax.tree.leaves(jax.jit(lambda: call("xla"))())
    for a, b in zip(made, wanted):
        np.testing.assert_allclose(a, b, rtol=3e-4, atol=1e-6)


def test_two_python_threads_at_once(limit, sizes):
    limit(2)
    calls = []
    for n in (5 * sizes[0], 5 * sizes[0] + 3, 2 * sizes[0]):
        args = population(n)
        run = jax.jit(lambda n=n, args=args: ops.map_scalars(lif, n, *args, backend="native"))
        calls.append((run, [np.asarray(x).tobytes() for x in run()]))

    def many(first):
        for i in range(40):
            run, wanted = calls[(first + i) % len(calls)]
            if [np.asarray(x).tobytes() for x in run()] != wanted:
                return False
        return True

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert all(pool.map(many, range(4), timeout=120))


CALL = """
import hashlib, jax, jax.numpy as jnp, numpy as np
from brainsim import ops
from brainsim.ops import parallel, random
n = 200_003
x = jnp.asarray(np.random.default_rng(0).normal(size=n), jnp.float32)
f = lambda x, k: jnp.exp(-k * x * x) * jnp.tanh(x)
total = lambda x, k: ops.map_scalars(f, n, x, k, backend="native").sum()
made = [*jax.jit(jax.value_and_grad(total, (0, 1)))(x, 0.3)[1], random.normal(random.key_of(1, "x"), 3, n)]
print(parallel.threads(), hashlib.sha256(b"".join(np.asarray(a).tobytes() for a in made)).hexdigest())
"""


def test_the_environment_limits_threads_and_changes_no_bit():
    """NPROC gives XLA's pool more threads than there may be cores, so that workers have many shares."""
    said = []
    for threads in "125":
        environment = {**os.environ, "BRAINSIM_THREADS": threads, "NPROC": "6", "JAX_PLATFORMS": "cpu"}
        done = subprocess.run(
            [sys.executable, "-c", CALL], capture_output=True, text=True, env=environment, timeout=300
        )
        assert done.returncode == 0, done.stderr
        said.append(done.stdout.split())
    assert [x[0] for x in said] == ["1", "2", "5"]
    assert len({x[1] for x in said}) == 1


SPLIT = random_kernels.SPLIT_CALL


def numbers(kind, n, backend, key=None):
    key = random.key_of(5, "threads") if key is None else key
    rates = jnp.asarray(np.random.default_rng(3).uniform(0, 30, n), jnp.float32)
    return {
        "word": lambda: random.word(key, 7, n, backend=backend),
        "bits": lambda: jnp.stack(random.bits(key, 7, n, backend=backend)),
        "normal": lambda: random.normal(key, 7, n, backend=backend),
        "one rate": lambda: random.poisson(key, 7, jnp.float32(20.5), n, backend=backend),
        "rates": lambda: random.poisson(key, 7, rates, n, backend=backend),
    }[kind]()


@pytest.mark.parametrize("n", [SPLIT - 1, SPLIT, 3 * SPLIT + 35])
@pytest.mark.parametrize("kind", ["word", "bits", "normal", "one rate", "rates"])
def test_random_numbers(limit, kind, n):
    (made,) = on_threads(limit, jax.jit(lambda: numbers(kind, n, "native")))
    np.testing.assert_array_equal(made, jax.jit(lambda: numbers(kind, n, "xla"))())


@pytest.mark.parametrize("n,batch", [(1, SPLIT + 5), (100, 700), (SPLIT + 33, 3)])
def test_batches_of_random_numbers(limit, n, batch):
    keys = jnp.asarray(np.random.default_rng(0).integers(0, 2**31, (batch, 2)), jnp.uint32)
    call = lambda backend: jax.vmap(lambda key: numbers("normal", n, backend, key))(keys)
    (made,) = on_threads(limit, jax.jit(lambda: call("native")))
    np.testing.assert_array_equal(made, jax.jit(lambda: call("xla"))())
