"""Detection of spatio-temporal motifs by heterogeneous delays (Grimaldi & Perrinet 2023, 10.1007/s00422-023-00975-8).

A motif is a set of spikes of some addresses at some times. A cell whose synapses delay each of them by what is left of
the motif gets all of them at once; other orders of the same spikes arrive scattered. With a weight for every address
and delay this is a logistic regression that does not vary in time,

    logit_c(t) = sum_(a, d) K_c(a, d) A_a(t - d) + b_c,

and a cell that forgets within a step and fires where its logit is positive. `delay_motifs` builds it with ordinary
delays from the kernels K; `complementary` makes the kernels of known motifs. With `longest` the delays are learnable.
"""

import numpy as np

import brainsim as bs
from brainsim.errors import ParameterError
from brainsim.learnable_delays import learnable_delay
from brainsim.models.neurons.lif import LIF
from brainsim.models.neurons.source import SpikeSource
from brainsim.models.synapses.delta import Delta

STEP = 1.0  # ms
MEMORY = 0.05  # time constant of a detector, in steps: what a spike leaves for the next step is exp(-20)


def complementary(motifs, n_addresses, duration=None, dt=STEP) -> np.ndarray:
    """Kernels of detectors that get all spikes of their motif together, each with the weight 1 / (spikes of the motif).

    Args:
        motifs: for every detector (addresses, times in ms), arrays of one length; times are at least 0.
        n_addresses: of the input.
        duration: of all motifs, ms; default: until the last spike of any. A detector is reached `duration` after the
            beginning of its motif.

    Returns:
        (n_motifs, n_addresses, n_delays); delays are multiples of dt.

    Raises:
        ParameterError: addresses or times outside, or times off the grid of dt.
    """
    motifs = [(np.asarray(a, int), np.asarray(t, float)) for a, t in motifs]
    latest = max((float(t.max()) for _, t in motifs if t.size), default=0.0)
    duration = latest if duration is None else float(duration)
    steps = round(duration / dt)
    kernels = np.zeros((len(motifs), n_addresses, steps + 1))
    for kernel, (addresses, times) in zip(kernels, motifs):
        late = np.rint((duration - times) / dt)
        outside = np.count_nonzero((addresses < 0) | (addresses >= n_addresses))
        outside += np.count_nonzero((late < 0) | (late > steps))
        if addresses.shape != times.shape or addresses.ndim != 1 or not addresses.size or outside:
            raise ParameterError(
                f"a motif has addresses of shape {addresses.shape} and times of shape {times.shape}, {outside} of them "
                f"outside 0 ... {n_addresses - 1} or 0 ... {duration:g} ms; give one address and one time for each "
                f"spike"
            )
        if np.abs(late * dt - (duration - times)).max() > 1e-6 * dt:
            raise ParameterError(f"a motif has times off the grid of dt = {dt:g} ms; round them")
        np.add.at(kernel, (addresses, late.astype(int)), 1.0 / len(addresses))
    return kernels


def delay_motifs(kernels, bias, *, dt=STEP, longest=None, width=None, kernel="gaussian") -> "bs.Network":
    """Populations "input" (addresses) and "detector" (motifs), one synapse for every entry of a kernel that is not 0.

    Give spikes as `inputs={"input.spikes": ...}`, compile with this dt; a detector fires in the step in which its logit
    is positive. Where all its spikes have arrived, its motif has just ended.

    Args:
        kernels: (n_motifs, n_addresses, n_delays) K in units of the logit; delays are 0, dt, 2 dt, ...
        bias: b, number or (n_motifs,); negative: a detector is silent without input.
        dt: ms.
        longest: ms; delays become learnable within 0 ... longest.
        width, kernel: of learnable delays, see `bs.learnable_delay`.

    Raises:
        ParameterError: kernels of another rank or without entries, a bias that is not negative.
    """
    kernels, bias = np.asarray(kernels, float), np.asarray(bias, float)
    if kernels.ndim != 3 or not np.any(kernels) or not np.isfinite(kernels).all():
        raise ParameterError(
            f"kernels of shape {kernels.shape} with {np.count_nonzero(kernels)} entries; give finite values of shape "
            f"(n_motifs, n_addresses, n_delays)"
        )
    if bias.shape not in ((), (len(kernels),)) or not np.all(bias < 0):
        raise ParameterError(f"bias = {bias}: a detector fires without input unless it is negative; give b < 0")
    motif, address, delay = np.nonzero(kernels)
    order = np.lexsort((motif, address))  # as edges are kept: by source, then target
    motif, address, delay = motif[order], address[order], delay[order]
    net, late = bs.Network(), delay * dt
    net.add("input", SpikeSource(), kernels.shape[1])
    cell = LIF(tau=MEMORY * dt, v_rest=0.0, v_reset=0.0, v_th=-bias, t_ref=0.0)
    net.add("detector", cell, len(kernels))
    delays = late if longest is None else learnable_delay(late, longest, kernel, width)
    edges, weight = bs.from_edges(address, motif), kernels[motif, address, delay]
    net.connect("input", "detector", Delta(), edges, weight=weight, delay=delays, name="dendrite")
    return net


def planted(
    n_motifs=10, n_addresses=128, spikes=20, duration=50.0, *, occurrences=5, rate=10.0, length=4000.0, seed=0,
    motifs=None,
):  # fmt: skip
    """Motifs hidden in Poisson spikes.

    Args:
        n_motifs, n_addresses: counts. spikes: of a motif, of different addresses at random times within `duration` ms.
        occurrences: of each motif in the recording, not overlapping with others.
        rate: of the background, Hz. length: of the recording, ms.
        seed: of everything.
        motifs: those of another recording, as they were returned; instead of drawing n_motifs with these spikes.

    Returns:
        motifs [(addresses, times)], raster (steps, n_addresses) bool with steps of 1 ms, and occurrences
        (n_motifs * occurrences, 2): motif and time of its beginning.

    Raises:
        ParameterError: more spikes than addresses, or more occurrences than the recording holds.
    """
    rng, span = np.random.default_rng(seed), round(duration) + 1
    n_motifs = n_motifs if motifs is None else len(motifs)
    places, n = round(length) // span, n_motifs * occurrences
    if spikes > n_addresses or n > places:
        raise ParameterError(
            f"{spikes} spikes of {n_addresses} addresses, {n} occurrences in room for {places}: a motif takes each "
            f"address once, and occurrences do not overlap; take fewer, or a longer recording"
        )
    draw = lambda: (rng.choice(n_addresses, spikes, replace=False), rng.integers(0, span, spikes).astype(float))
    motifs = [draw() for _ in range(n_motifs)] if motifs is None else motifs
    raster = rng.random((round(length), n_addresses)) < rate * 1e-3
    begins = np.sort(rng.choice(places, n, replace=False)) * span
    shown = np.stack([rng.permutation(np.repeat(np.arange(n_motifs), occurrences)), begins], axis=1)
    for motif, begin in shown:
        addresses, times = motifs[motif]
        raster[begin + times.astype(int), addresses] = True
    return motifs, raster, shown
