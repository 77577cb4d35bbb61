"""Numbers from the key of one cell: distribution, independence, resolution near 0, and keys in a run."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import brainsim as bs

ALARM = 1e-4  # p-value of a failure; seeds are fixed


def keys_of(words):
    return jax.random.wrap_key_data(jnp.asarray(words, jnp.uint32), impl="threefry2x32")


def test_distributions():
    keys = jax.random.split(jax.random.key(3), 100_000)
    u, z = (np.asarray(jax.vmap(f)(keys)) for f in (bs.uniform_of, bs.normal_of))
    assert stats.kstest(u, "uniform").pvalue > ALARM and stats.kstest(z, "norm").pvalue > ALARM
    assert abs(np.corrcoef(u, z)[0, 1]) < 4.5 / np.sqrt(len(u))


def test_ends():
    """Fine steps near 0, never 1."""
    u = [float(bs.uniform_of(keys_of([word, 0]))) for word in (0, 2, 2**32 - 1)]
    assert u == [0.0, 2.0**-31, 1 - 2.0**-24]


@pytest.mark.parametrize("rate", [5.0, 200.0])
def test_cells_that_fire_at_random(rate):
    """Counts per cell are Poisson, and neither time nor neighbours are correlated."""

    class Source(bs.Neuron):
        graded = False
        rate = bs.param(10.0, "Hz", bounds=(0, None), closed=True)
        per = bs.const(1e-3, "1/(Hz*ms)")

        def spike(self, key, dt):
            return self.rate * dt * self.per - bs.uniform_of(key)

    net = bs.Network(seed=4)
    net.add("a", Source(rate=rate), 300)
    train = net.compile(dt=0.1, record="a.spikes").run(400.0).spikes["a"]
    steps, cells = np.rint(np.asarray(train.times) / 0.1).astype(int), np.asarray(train.indices)
    expected = 300 * 400.0 * rate * 1e-3
    assert abs(len(steps) - expected) < 4.5 * np.sqrt(expected)
    counts = np.bincount(cells, minlength=300)
    assert abs(counts.var() / counts.mean() - 1) < 4.5 * np.sqrt(2 / 300)
    per_step = np.bincount(steps, minlength=4001)
    assert abs(per_step.var() / per_step.mean() - 1) < 4.5 * np.sqrt(2 / 4001 + 1 / per_step.mean() / 4001)
