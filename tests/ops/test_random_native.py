"""The native form of the random numbers has the bits of the XLA form, for every kind, length and rate."""

import os
import platform
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brainsim.ops import random

KEY = random.key_of(3, "native")
N = 203
RNG = np.random.default_rng(1)
LOW = RNG.uniform(0, 8, N).astype(np.float32)
WIDE = np.exp(RNG.uniform(np.log(1e-6), np.log(32767.0), N)).astype(np.float32)
WORDS = (RNG.integers(0, 2**32, 3000) >> RNG.integers(0, 32, 3000)).astype(np.uint32)
WIDE[:6] = 0.0, 8.0, 128.0, 2048.0, 32767.996, np.nextafter(np.float32(8), np.float32(0))

KINDS = {
    "word": lambda step, n, b: random.word(KEY, step, n, b),
    "bits": lambda step, n, b: jnp.stack(random.bits(KEY, step, n, b)),
    "uniform": lambda step, n, b: random.uniform(KEY, step, n, backend=b),
    "normal": lambda step, n, b: random.normal(KEY, step, n, backend=b),
    "bernoulli": lambda step, n, b: random.bernoulli(KEY, step, 0.2, n, backend=b),
    **{
        f"rate {rate}": lambda step, n, b, rate=rate: random.poisson(KEY, step, rate, n, backend=b)
        for rate in (0.0, 1e-6, 0.01, 1.3, 7.9, 8.0, 300.0, 1935.5, 32767.0)
    },
    "low rates": lambda step, n, b: random.poisson(KEY, step, LOW[:n], n, backend=b),
    "all rates": lambda step, n, b: random.poisson(KEY, step, WIDE[:n], n, backend=b),
}


@pytest.mark.parametrize("kind", KINDS)
def test_equal_bits(kind):
    for n, step in ((N, 0), (32, 2**32 - 1)):
        xla, native = (np.asarray(KINDS[kind](step, n, b)) for b in ("xla", "native"))
        assert xla.dtype == native.dtype
        np.testing.assert_array_equal(xla.view(np.uint8), native.view(np.uint8))


@pytest.mark.parametrize("n", [1, 127, 128, 129, 4096, 9001])
def test_equal_bits_of_many_normal_numbers(n):
    """Beyond a chunk of the native form, with numbers from all octaves but the rarest."""
    xla, native = (np.asarray(random.normal(KEY, 8, n, backend=b)) for b in ("xla", "native"))
    np.testing.assert_array_equal(xla.view(np.uint32), native.view(np.uint32))
    assert n < 4096 or np.abs(native).max() > 3.2  # the table of the near cells ends at 2.9


@pytest.mark.parametrize("name", ["least", "most"])
def test_far_numbers(name):
    """One by one, as behind a vector: the rarest words too."""
    from brainsim.ops import normal_lanes, normal_table

    words = np.array([0, 1, 2, 5, 2**23 - 1, 2**23, 2**31 - 1], np.uint32) if name == "least" else WORDS
    words = np.concatenate([words, ~words])
    table = normal_table.packed32()
    far = [normal_lanes.far_number(word, table.ctypes.data) for word in words]
    np.testing.assert_array_equal(np.array(far, np.uint32), np.asarray(normal_table.normal32(words)).view(np.uint32))


@pytest.mark.slow
@pytest.mark.parametrize("features", ["+sse2", "+sse4.2,+ssse3,+avx,+avx2,+fma,+bmi,+bmi2"])
def test_equal_bits_without_wide_registers(features, tmp_path):
    """The form for x86-64 machines without AVX-512, in a process that compiles for one."""
    if platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("features are those of x86-64")
    program = (
        "import numpy as np; from brainsim.ops import random; key = random.key_of(3, 'native')\n"
        "draws = random.normal, random.uniform, lambda *a, **b: random.poisson(*a[:2], 300.0, *a[2:], **b)\n"
        "for draw in draws: assert np.array_equal(*(draw(key, 8, 9001, backend=b) for b in ('xla', 'native')))"
    )
    wanted = dict(NUMBA_CPU_NAME="x86-64", NUMBA_CPU_FEATURES=features, NUMBA_CACHE_DIR=str(tmp_path))
    subprocess.run([sys.executable, "-c", program], env={**os.environ, **wanted, "JAX_PLATFORMS": "cpu"}, check=True)


@pytest.mark.parametrize("kind", [random.uniform, random.normal])
def test_equal_bits_in_float64(kind):
    with jax.enable_x64(True):
        for n in (1, 17, N):
            xla, native = (np.asarray(kind(KEY, 5, n, np.float64, b)) for b in ("xla", "native"))
            np.testing.assert_array_equal(xla.view(np.uint64), native.view(np.uint64))


def test_equal_bits_in_batches():
    """Keys, steps and rates of a batch, each batched alone and together."""
    keys = jnp.asarray(RNG.integers(0, 2**32, (3, 2)), jnp.uint32)
    steps, rates = jnp.arange(3), jnp.asarray(WIDE[:6].reshape(3, 2))

    def draw(backend, axes):
        return lambda key, step, rate: jax.vmap(
            lambda key, step, rate: (
                random.normal(key, step, 40, backend=backend),
                random.poisson(key, step, rate[0], 40, backend=backend),
                random.poisson(key, step, jnp.repeat(rate, 20), 40, backend=backend),
            ),
            axes,
        )(key, step, rate)

    for axes in ((0, 0, 0), (None, None, 0)):
        given = [x if a == 0 else x[0] for x, a in zip((keys, steps, rates), axes)]
        for a, b in zip(jax.jit(draw("xla", axes))(*given), jax.jit(draw("native", axes))(*given)):
            assert a.shape == (3, 40)
            np.testing.assert_array_equal(a, b)


def test_empty_and_forced(monkeypatch):
    assert random.normal(KEY, 0, 0).shape == (0,) and random.poisson(KEY, 0, 1.0, 0).shape == (0,)
    monkeypatch.setenv("BRAINSIM_OPS", "xla")
    text = jax.jit(lambda i: random.normal(KEY, i, 8)).lower(0).as_text()
    assert "brainsim_random" not in text
    monkeypatch.setenv("BRAINSIM_OPS", "native")
    assert "brainsim_random" in jax.jit(lambda i: random.normal(KEY, i, 8)).lower(0).as_text()
