"""Learning the kernels of motif detectors from labelled recordings (Grimaldi & Perrinet 2023,
10.1007/s00422-023-00975-8): logistic regression over (address, delay) that does not vary in time.

    learned = learn(recordings)
    sim = delay_motifs(prune(learned.kernels, 20), learned.bias).compile(dt=STEP)

The motifs are not given, only when each of them ended. Training is by Adam on the cross-entropy of every time step, for
each motif by itself, so two may end together; the sums over (address, delay) of all steps are made by fast Fourier
transforms.
"""

import time
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

import brainsim as bs
from brainsim.errors import ParameterError
from brainsim.models.circuits.delay_motifs import STEP, complementary, delay_motifs, planted
from brainsim.program import dtype


@dataclass(frozen=True, eq=False)
class Learned:
    """Attributes:
    kernels: (n_motifs, n_addresses, n_delays). bias: (n_motifs,), negative.
    losses: (steps,) before each step. seconds: compilation included.
    """

    kernels: np.ndarray
    bias: np.ndarray
    losses: np.ndarray
    seconds: float


def ends(shown, steps, n_motifs, duration=50.0) -> np.ndarray:
    """(steps, n_motifs) True in the step of 1 ms in which a motif has just ended.

    Args:
        shown: (n, 2) motif and time of its beginning, as `planted` returns them. duration: of a motif, ms.
    """
    made = np.zeros((steps, n_motifs), bool)
    made[shown[:, 1] + round(duration), shown[:, 0]] = True
    return made


def _logits(kernels, bias, waves, steps, size):
    """(recordings, n_motifs, steps) from Fourier transforms (recordings, n_addresses, frequencies) of the rasters."""
    made = jnp.einsum("raf,caf->rcf", waves, jnp.fft.rfft(kernels, size))
    return jnp.fft.irfft(made, size)[..., :steps] + bias[None, :, None]


def logits(kernels, bias, raster):
    """(steps, n_motifs) logit_c(t) = sum_(a, d) K_c(a, d) A_a(t - d) + b_c.

    Args:
        kernels: (n_motifs, n_addresses, n_delays). bias: (n_motifs,). raster: (steps, n_addresses).
    """
    steps = len(raster)
    size = _size(steps, np.shape(kernels)[2])
    waves = jnp.fft.rfft(jnp.asarray(raster, dtype()).T, size)[None]
    return _logits(jnp.asarray(kernels, dtype()), jnp.asarray(bias, dtype()), waves, steps, size)[0].T


def _size(steps, n_delays) -> int:
    """Room for a convolution that does not wrap round, with small prime factors."""
    least = steps + n_delays - 1
    return min(2**k * f for k in range(32) for f in (1, 3, 5, 9, 15) if 2**k * f >= least)


def learn(rasters, labels, n_delays=51, *, steps=120, rate=0.03, decay=1e-5, progress=None) -> Learned:
    """Kernels and biases from labelled recordings.

    Args:
        rasters: (recordings, steps, n_addresses) spikes. labels: (recordings, steps, n_motifs), see `ends`.
        n_delays: delays are 0 ... n_delays - 1 steps.
        steps: of Adam, each on all recordings. rate: of Adam; it falls to 0 as a cosine.
        decay: times the sum of the squared kernels is added to the mean cross-entropy.
        progress: a function of (step, loss).

    Raises:
        ParameterError: shapes that do not fit, a motif without an occurrence.
    """
    rasters, labels = np.asarray(rasters), np.asarray(labels)
    if rasters.ndim != 3 or labels.shape[:2] != rasters.shape[:2] or labels.ndim != 3:
        raise ParameterError(
            f"rasters {rasters.shape} and labels {labels.shape} do not fit; give (recordings, steps, n_addresses) and "
            f"(recordings, steps, n_motifs)"
        )
    share = labels.mean((0, 1))
    if not ((share > 0) & (share < 1)).all():
        raise ParameterError(f"motif {int(np.argmin(share))} never or always ends in the recordings; label some ends")
    begun, length = time.perf_counter(), rasters.shape[1]
    size = _size(length, n_delays)
    waves = jax.jit(lambda x: jnp.fft.rfft(x.astype(dtype()), size))(rasters.swapaxes(1, 2))
    target = jnp.asarray(labels.swapaxes(1, 2))
    optimiser = optax.adam(optax.cosine_decay_schedule(rate, steps))

    def loss(params):
        found = _logits(params["kernels"], params["bias"], waves, length, size)
        entropy = jnp.mean(optax.sigmoid_binary_cross_entropy(found, target.astype(found.dtype)))
        return entropy + decay * jnp.sum(params["kernels"] ** 2)

    @partial(jax.jit, donate_argnums=(0, 1))
    def step(params, kept):
        value, slope = jax.value_and_grad(loss)(params)
        moves, kept = optimiser.update(slope, kept, params)
        return optax.apply_updates(params, moves), kept, value

    shape = (labels.shape[2], rasters.shape[2], n_delays)
    params = {"kernels": jnp.zeros(shape, dtype()), "bias": jnp.asarray(np.log(share / (1 - share)), dtype())}
    kept, losses = optimiser.init(params), []
    for number in range(steps):
        params, kept, value = step(params, kept)
        losses.append(value)
        if progress:
            progress(number, float(value))
    kernels, bias = (np.asarray(params[k], float) for k in ("kernels", "bias"))
    return Learned(kernels, bias, np.asarray(losses, float), time.perf_counter() - begun)


def prune(kernels, keep) -> np.ndarray:
    """Kernels with the `keep` largest entries, by magnitude, of each motif; the others are 0.

    Raises:
        ParameterError: fewer than one entry, or more than there are.
    """
    kernels = np.asarray(kernels, float)
    flat = np.abs(kernels).reshape(len(kernels), -1)
    if not 1 <= keep <= flat.shape[1]:
        raise ParameterError(f"keep={keep!r}: a kernel has {flat.shape[1]} entries; give 1 ... {flat.shape[1]}")
    kept = np.zeros(flat.shape, bool)
    np.put_along_axis(kept, np.argsort(-flat, axis=1, kind="stable")[:, :keep], True, axis=1)
    return np.where(kept.reshape(kernels.shape), kernels, 0.0)


def f1(made, expected) -> float:
    """2 TP / (2 TP + FP + FN) of detections in exactly the right step, all motifs together."""
    both = np.count_nonzero(made & expected)
    return 2.0 * both / max(1, np.count_nonzero(made) + np.count_nonzero(expected))


def detected(kernels, bias, raster) -> np.ndarray:
    """(steps, n_motifs) where cells of `delay_motifs` fire, by the step of the last spike that they heard."""
    steps, cells = np.nonzero(raster)
    sim = delay_motifs(kernels, bias).compile(dt=STEP, record=["detector.spikes"])
    found = sim.run(len(raster) + 2.0, inputs={"input.spikes": bs.spike_trains(steps + 1.0, cells)})
    made = np.zeros((len(raster) + 2, len(kernels)), bool)
    made[np.rint(found["detector"].times).astype(int) - 1, found["detector"].indices] = True
    return made[1 : len(raster) + 1]  # a spike acts in the step after the one in which it was found


@dataclass(frozen=True, eq=False)
class Experiment:
    """What was learned, on new recordings.

    Attributes:
        f1: of detections in exactly the right step. correlation: of the kernels with those that complement the motifs.
        pruned_f1, pruned_correlation: of spiking cells with `keep` synapses for each motif.
        same: part of the steps with an answer of either in which the spiking cells answer as the whole kernels do.
    """

    f1: float
    correlation: float
    pruned_f1: float
    pruned_correlation: float
    same: float
    learned: Learned


def experiment(
    recordings=10, tested=5, keep=20, *, steps=120, decay=1e-5, seed=0, duration=50.0, **sizes
) -> Experiment:
    """Learn the motifs of `planted` from recordings, prune, and test on other recordings.

    Args:
        recordings, tested: numbers of recordings. keep: synapses left for each motif. steps, decay: see `learn`.
        seed: of motifs and recordings. sizes: of `planted`.
    """
    motifs, *_ = planted(seed=seed, duration=duration, **sizes)

    def record(numbers):
        more = {**sizes, "duration": duration, "motifs": motifs}
        made = [planted(seed=[seed, 1 + k], **more) for k in numbers]
        rasters = np.stack([raster for _, raster, _ in made])
        return rasters, np.stack([ends(shown, rasters.shape[1], len(motifs), duration) for *_, shown in made])

    rasters, labels = record(range(recordings))
    new, expected = record(range(recordings, recordings + tested))
    truth = complementary(motifs, rasters.shape[2], duration)
    learned = learn(rasters, labels, truth.shape[2], steps=steps, decay=decay)
    pruned = prune(learned.kernels, keep)
    whole = np.stack([np.asarray(logits(learned.kernels, learned.bias, r)) > 0 for r in new])
    spikes = np.stack([detected(pruned, learned.bias, r) for r in new])
    like = lambda k: float(np.corrcoef(k.ravel(), truth.ravel())[0, 1])
    either = np.count_nonzero(whole | spikes)
    same = np.count_nonzero(whole & spikes) / either if either else 1.0
    return Experiment(f1(whole, expected), like(learned.kernels), f1(spikes, expected), like(pruned), same, learned)
