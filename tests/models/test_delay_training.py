"""Circuits whose delays are trained: what they learn, with which figures, and the pieces of their training."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from brainsim.errors import ParameterError
from brainsim.models.circuits import delay_motifs, motif_learning, order_task, planted_delays, spike_xor

# --- order


def test_trials_of_the_order_task():
    """One spike of each half, as far apart as the label says, and room for two delays after them."""
    task, trials = order_task.Task(), order_task.order_trials(300, seed=3)
    rasters = np.asarray(jax.vmap(order_task.order_spikes)(trials))
    assert rasters.shape == (300, task.steps, task.channels) and (rasters.sum((1, 2)) == 2).all()
    first, second = (np.nonzero(rasters[..., half].any(-1))[1] for half in (slice(0, 3), slice(3, 6)))
    np.testing.assert_array_equal(second - first, 6 + 2 * trials["label"])
    assert second.max() + 2 * (task.lags - 1) < task.steps and len(set(first)) == task.jitter
    assert set(trials["label"]) == set(range(8))


def test_one_entry_is_led_and_the_others_are_optimised():
    target, path = jnp.array([1.0, -2.0, 3.0]), np.linspace(5.0, 4.0, 11)
    led = order_task.prescribed(optax.sgd(0.1), 1, path)
    x = jnp.array([0.0, 5.0, 0.0])
    state, plain = led.init(x), np.array([0.0, 0.0])
    for k in range(13):
        moves, state = led.update(x - target, state, x)
        x, plain = optax.apply_updates(x, moves), plain + 0.1 * (np.array([1.0, 3.0]) - plain)
        assert float(x[1]) == pytest.approx(path[min(k + 1, 10)])
    np.testing.assert_allclose(x[jnp.array([0, 2])], plain, rtol=1e-5)


@pytest.mark.slow
def test_a_short_training_rounds_the_delays_and_falls():
    task = order_task.Task(channels=2, classes=2, shortest=5, apart=3, jitter=2, lags=12)
    found = order_task.train("learned", task, hidden=16, steps=150, batch=20, tested=100)
    for key in (k for k in found.params if k.endswith(".delay")):
        steps = np.asarray(found.params[key]) / 10.0
        np.testing.assert_allclose(steps, np.rint(steps), atol=1e-5)
        assert len(np.unique(np.rint(steps))) > 3
    assert all(found.params[k] == 0 for k in found.params if k.endswith("width"))
    assert found.losses.shape == (150,) and found.losses[-20:].mean() < found.losses[:20].mean() - 0.1
    assert found.accuracy > 0.75
    with pytest.raises(ParameterError, match="unknown"):
        order_task.train("no")


@pytest.mark.slow
def test_order_needs_delays_and_learns_them():
    learned, fixed, none = (order_task.train(kind, seed=0).accuracy for kind in order_task.KINDS)
    assert learned >= 0.95 and fixed <= learned - 0.1 and none < 0.125 + 0.04


# --- planted delays of a layer


@pytest.mark.slow
def test_planted_delays_of_twenty_inputs():
    found = [planted_delays.recover(seed=seed) for seed in range(2)]
    assert found[0].planted.shape == (20, 4) and found[0].planted.max() == 24
    assert np.mean([f.within for f in found]) >= 0.95


# --- motifs

SIZES = dict(n_motifs=3, n_addresses=24, spikes=8, length=1500.0, occurrences=12, duration=20.0)


def test_the_logits_are_the_sum_over_addresses_and_delays():
    rng = np.random.default_rng(0)
    kernels, bias, raster = rng.normal(size=(2, 5, 7)), np.array([-1.0, 0.5]), rng.random((40, 5)) < 0.3
    padded = np.concatenate([np.zeros((6, 5)), raster])
    expected = np.array([np.einsum("cad,da->c", kernels, padded[t : t + 7][::-1]) for t in range(40)]) + bias
    np.testing.assert_allclose(motif_learning.logits(kernels, bias, raster), expected, atol=1e-4)


def test_pruning_keeps_the_largest():
    kernels = np.array([[[3.0, -5.0], [1.0, 0.5]], [[0.1, 0.2], [-0.4, 0.3]]])
    expected = [[[3.0, -5.0], [0, 0]], [[0, 0], [-0.4, 0.3]]]
    np.testing.assert_array_equal(motif_learning.prune(kernels, 2), expected)
    with pytest.raises(ParameterError, match="4 entries"):
        motif_learning.prune(kernels, 5)


def test_f1():
    made, expected = np.array([True, True, False, False]), np.array([True, False, True, True])
    assert motif_learning.f1(made, expected) == pytest.approx(2 * 1 / (2 + 1 + 2))


def test_the_same_motifs_in_another_recording():
    motifs, first, _ = delay_motifs.planted(seed=1, **SIZES)
    again, second, shown = delay_motifs.planted(seed=2, motifs=motifs, **SIZES)
    assert again is motifs and (first != second).any()
    for motif, begin in shown:
        addresses, times = motifs[motif]
        assert second[begin + times.astype(int), addresses].all()


def test_kernels_of_few_motifs_are_learned():
    found = motif_learning.experiment(4, 2, keep=8, steps=80, decay=1e-4, **SIZES)
    assert found.f1 >= 0.95 and found.correlation >= 0.85
    assert found.pruned_f1 >= 0.95 and found.pruned_correlation >= 0.95 and found.same >= 0.95


@pytest.mark.slow
def test_kernels_of_ten_motifs_are_learned():
    found = motif_learning.experiment()
    assert min(found.f1, found.pruned_f1, found.same) >= 0.95 and found.correlation >= 0.9


def test_a_motif_without_an_end_is_refused():
    with pytest.raises(ParameterError, match="never or always"):
        motif_learning.learn(np.zeros((1, 9, 2)), np.zeros((1, 9, 1)), 3)


# --- XOR


def test_xor_is_learned_within_a_hundred_epochs():
    """Sources as published: early, late, and a reference; ten networks, of which most learn all four."""
    np.testing.assert_allclose(spike_xor.sources()[1], [0.15, 2.0, 0.9])
    found = spike_xor.train(range(10))
    assert found.right.shape == (101, 10) and (found.right[0] < 4).sum() >= 7
    assert (found.reached > 0).sum() >= 7 and (found.right[-1] == 4).sum() >= 7
    delays = np.asarray(found.layers.d_hidden)
    assert delays.min() >= 0 and delays.max() > 1.0
