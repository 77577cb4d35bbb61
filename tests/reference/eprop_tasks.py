"""The two tasks of the e-prop reference losses (Bellec et al. 2020, 10.1038/s41467-020-17236-y; NEST's e-prop tests).

Weights, input spikes and targets follow from NumPy's legacy generator with seed 1, whose streams never change; the
order of the draws is part of the task.
"""

from types import SimpleNamespace

import numpy as np


def single(values):
    """Rounded to float32, as the references were computed."""
    return np.asarray(values, np.float32).astype(float)


def recurrent_weights(rng, n_in, n_rec):
    """(n_rec, n_in) and (n_rec, n_rec) weights, target first; no cell reaches itself."""
    w_in = single(rng.randn(n_in, n_rec).T / np.sqrt(n_in))
    w_rec = single(rng.randn(n_rec, n_rec).T / np.sqrt(n_rec))
    np.fill_diagonal(w_rec, 0.0)
    return w_in, w_rec


def regression(n_iter=5) -> SimpleNamespace:
    """100 LIF cells learn a sum of four sines from frozen noise: weights, spikes (n_iter, steps, n_in), target (n_iter,
    steps, n_out), feedback (n_rec, n_out)."""
    rng, n, steps = np.random.RandomState(1), 100, 1000
    w_in, w_rec = recurrent_weights(rng, n, n)
    w_out = single(rng.randn(n, 1).T / np.sqrt(n))
    feedback = single(rng.randn(n, 1) / np.sqrt(n))
    spikes = rng.rand(steps, n) < 0.05
    spikes[0] = False
    periods = np.array([1000, 500, 333, 200])
    amplitude, phase = rng.uniform(0.5, 2.0, 4), rng.uniform(0.0, 2 * np.pi, 4)
    sines = [
        a * np.sin(np.linspace(p, p + 2 * np.pi * (steps // k), steps)) for a, p, k in zip(amplitude, phase, periods)
    ]
    target = sum(sines)
    target = target - target[0]
    target = (target / np.abs(target).max())[:, None]
    return SimpleNamespace(
        w_in=w_in,
        w_rec=w_rec,
        w_out=w_out,
        feedback=feedback,
        spikes=np.stack([spikes] * n_iter),
        target=np.stack([target] * n_iter),
        steps=steps,
        window=steps,
        losses=[101.964363098144, 103.466735839843, 103.340606689453, 103.680244445800, 104.412780761718],
    )


def accumulation(n_iter=5) -> SimpleNamespace:
    """50 LIF and 50 ALIF cells say which of two cues came more often; the last 150 of 2250 steps count."""
    rng, n_in, n_rec, n_out = np.random.RandomState(1), 40, 100, 2
    w_in, w_rec = recurrent_weights(rng, n_in, n_rec)
    limit = np.sqrt(3.0 / ((n_rec + n_out) / 2.0))
    w_out = single(rng.uniform(-limit, limit, (n_rec, n_out)).T)
    feedback = single(rng.randn(n_rec, n_out))
    cue, gap, recall, n_cues = 100, 50, 150, 7
    steps, each = n_cues * (cue + gap) + 1050 + recall, n_in // 4
    spikes, sides = [], []
    for _ in range(n_iter):
        favoured = rng.choice([0, 1], 1)
        share = np.array([0.3, 0.7], np.float32)[[favoured[0], 1 - favoured[0]]]
        cues = rng.choice([0, 1], n_cues, p=share)
        chance = np.zeros((steps, n_in))
        for k, side in enumerate(cues):
            first = k * (cue + gap) + gap
            chance[first : first + cue, side * each : (side + 1) * each] = 0.04
        chance[-recall:, 2 * each : 3 * each] = 0.04
        chance[:, 3 * each :] = 0.01
        spikes.append(chance > rng.rand(chance.size).reshape(chance.shape))
        spikes[-1][0] = False
        sides.append(int(cues.sum() > n_cues // 2))
    target = np.repeat(np.eye(n_out)[sides][:, None], steps, axis=1)
    return SimpleNamespace(
        w_in=w_in,
        w_rec=w_rec,
        w_out=w_out,
        feedback=feedback,
        spikes=np.stack(spikes),
        target=target,
        steps=steps,
        window=recall,
        losses=[0.741152524948, 0.740388214588, 0.665785133838, 0.663644134998, 0.729429066181],
    )
