"""Detectors of motifs: known answers, the logistic regression written out, planted motifs in noise."""

import numpy as np
import pytest

import brainsim as bs
from brainsim.errors import ParameterError
from brainsim.learnable_delays import round_delays
from brainsim.models.circuits import delay_motifs as library

MOTIFS = [
    ([0, 1, 2, 3], [0.0, 4.0, 9.0, 2.0]),
    ([0, 1, 2, 3], [9.0, 5.0, 0.0, 7.0]),
]  # the second is the first reversed


def run(net, raster, params=None):
    """(steps, detectors) spikes: row t, where a detector fired when the spikes of row t had arrived."""
    steps, cells = np.nonzero(raster)
    sim = net.compile(dt=library.STEP, record=["detector.spikes"])
    params = None if params is None else params(sim)
    found = sim.run(len(raster) + 2.0, params=params, inputs={"input.spikes": bs.spike_trains(steps + 1.0, cells)})
    made = np.zeros((len(raster) + 2, len(net["detector"])), bool)
    made[np.rint(found["detector"].times).astype(int) - 1, found["detector"].indices] = True
    return made[1 : len(raster) + 1]  # a spike acts in the step after the one in which it was found


def raster_of(addresses, times, begin, length=60, n=4):
    raster = np.zeros((length, n), bool)
    raster[begin + np.asarray(times, int), addresses] = True
    return raster


CASES = [  # spikes, and [end of the motif, detector] of every answer
    (raster_of(*MOTIFS[0], begin=5), [[14, 0]]),
    (raster_of(*MOTIFS[1], begin=20), [[29, 1]]),
    (raster_of([0, 1, 2, 3], [0, 0, 0, 0], begin=20), []),
    (raster_of([0, 1, 2], [0, 4, 9], begin=5), []),
    (raster_of([0, 1, 2, 3], [0, 4, 8, 2], begin=5), []),
    (raster_of(*MOTIFS[0], begin=5) | raster_of(*MOTIFS[0], begin=6), [[14, 0], [15, 0]]),
]


@pytest.mark.parametrize("learnable", [False, True])
def test_a_cell_fires_at_its_motif_only(learnable):
    """At its end; not at its reverse, its spikes together, three of them, or one of them a step too early."""
    kernels = library.complementary(MOTIFS, 4)
    assert kernels.shape == (2, 4, 10) and kernels[0, 3, 7] == 0.25
    net = library.delay_motifs(kernels, -0.8, **(dict(longest=12.0, width=3.0) if learnable else {}))
    made = run(net, np.concatenate([raster for raster, _ in CASES]), round_delays if learnable else None)
    for k, (raster, answer) in enumerate(CASES):
        assert np.argwhere(made[k * len(raster) : (k + 1) * len(raster)]).tolist() == answer


def test_detectors_are_a_logistic_regression():
    """Where sum K_c(a, d) A_a(t - d) + b_c > 0, for kernels of any sign."""
    rng = np.random.default_rng(2)
    kernels = rng.normal(size=(3, 6, 8)) * (rng.random((3, 6, 8)) < 0.6)
    bias, raster = np.array([-0.7, -1.5, -2.5]), rng.random((200, 6)) < 0.2
    padded = np.concatenate([np.zeros((7, 6)), raster])
    logit = np.array([np.einsum("cad,da->c", kernels, padded[t : t + 8][::-1]) for t in range(200)]) + bias
    assert np.abs(logit).min() > 1e-4 and 20 < (logit > 0).sum() < 400
    np.testing.assert_array_equal(run(library.delay_motifs(kernels, bias), raster), logit > 0)


def test_planted_motifs_are_found_in_noise():
    motifs, raster, shown = library.planted()
    assert raster.mean() == pytest.approx(0.01, rel=0.3) and len(shown) == 50
    made = run(library.delay_motifs(library.complementary(motifs, 128, 50.0), -0.7), raster)
    expected = np.zeros_like(made)
    expected[shown[:, 1] + 50, shown[:, 0]] = True
    both = (made & expected).sum()
    assert 2 * both / (made.sum() + expected.sum()) >= 0.95


@pytest.mark.parametrize(
    "make, problem",
    [
        (lambda: library.complementary([([0, 9], [0.0, 1.0])], 4), "outside"),
        (lambda: library.complementary([([0, 1], [0.0, 1.0, 2.0])], 4), "one address and one time for each"),
        (lambda: library.complementary([([0, 1], [0.0, 1.5]), ([0], [2.0])], 4), "off the grid"),
        (lambda: library.delay_motifs(np.zeros((2, 3, 4)), -1.0), "entries"),
        (lambda: library.delay_motifs(np.ones((2, 3, 4)), 0.0), "negative"),
        (lambda: library.planted(length=100.0), "longer recording"),
    ],
)
def test_impossible_motifs(make, problem):
    with pytest.raises(ParameterError, match=problem):
        make()
