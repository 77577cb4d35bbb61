"""The native form of the random numbers has the bits of the XLA form, for every kind, length and rate."""

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
WIDE[:6] = 0.0, 8.0, 128.0, 2048.0, 32767.996, np.nextafter(np.float32(8), np.float32(0))

KINDS = {
    "word": lambda step, n, b: random.word(KEY, step, n, b),
    "bits": lambda step, n, b: jnp.stack(random.bits(KEY, step, n, b)),
    "uniform": lambda step, n, b: random.uniform(KEY, step, n, backend=b),
    "normal": lambda step, n, b: random.normal(KEY, step, n, backend=b),
    "bernoulli": lambda step, n, b: random.bernoulli(KEY, step, 0.2, n, backend=b),
    **{
        f"rate {rate}": lambda step, n, b, rate=rate: random.poisson(KEY, step, rate, n, backend=b)
        for rate in (0.0, 1e-6, 0.01, 1.3, 7.9, 8.0, 300.0, 32767.0)
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
