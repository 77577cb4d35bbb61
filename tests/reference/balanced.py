"""The COBA and CUBA networks as plain arrays, from NumPy alone: both sides of a comparison build the identical network.

    seed -> numpy.random.Generator(numpy.random.Philox(key=[seed, stream])), one stream per draw:
    stream 0: random((n_exc, n)) < p      excitatory sources x all targets (excitatory cells first), autapses allowed
    stream 1: random((n_inh, n)) < p      inhibitory sources x all targets
    stream 2: initial voltages            COBA normal(-55, 2), CUBA uniform(-60, -50), n numbers
    streams 3, 4, ...: other initial voltages for the same edges (variant 1, 2, ...)

`fingerprint` must equal the one stored in networks.json, else NumPy drew other numbers.
"""

from __future__ import annotations

import numpy as np

N_EXC, N_INH, P, DT = 3200, 800, 0.02, 0.1
COBA = dict(
    tau=20.0,
    v_rest=-60.0,
    v_th=-50.0,
    v_reset=-60.0,
    t_ref=5.0,
    drive=20.0,
    tau_e=5.0,
    tau_i=10.0,
    E_e=0.0,
    E_i=-80.0,
    w_e=0.6,
    w_i=6.7,
)  # ms, mV; conductances in units of the leak
CUBA = dict(
    tau=20.0, v_rest=-49.0, v_th=-50.0, v_reset=-60.0, t_ref=5.0, drive=0.0, tau_e=5.0, tau_i=10.0, w_e=1.62, w_i=-9.0
)  # synaptic currents in mV


def stream(seed, k):
    return np.random.Generator(np.random.Philox(key=[seed, k]))


def edges(seed, n_exc=N_EXC, n_inh=N_INH, p=P):
    """((pre, post) of excitatory, (pre, post) of inhibitory edges); post counts over all cells, pre within its kind."""
    n = n_exc + n_inh
    return tuple(np.nonzero(stream(seed, k).random((rows, n)) < p) for k, rows in ((0, n_exc), (1, n_inh)))


def initial_v(seed, kind, n=N_EXC + N_INH, variant=0):
    rng = stream(seed, 2 + variant)
    return rng.normal(-55.0, 2.0, n) if kind == "COBA" else rng.uniform(-60.0, -50.0, n)


def fingerprint(seed, kind):
    (pre_e, post_e), (pre_i, post_i) = edges(seed)
    v = initial_v(seed, kind)
    weighted = int((pre_e * 7 + post_e).sum() + (pre_i * 7 + post_i).sum())
    return dict(
        excitatory=len(pre_e),
        inhibitory=len(pre_i),
        weighted=weighted,
        v=[round(float(x), 9) for x in (v[0], v[-1], v.mean())],
    )


def statistics(times, indices, n, start, stop):
    """Rate (Hz), and the CV of the inter-spike intervals averaged over cells with at least three spikes."""
    keep = (times >= start) & (times < stop)
    times, indices = times[keep], indices[keep]
    order = np.lexsort((times, indices))
    times, indices = times[order], indices[order]
    cvs = []
    for train in np.split(times, np.flatnonzero(np.diff(indices)) + 1):
        if len(train) >= 3:
            gaps = np.diff(train)
            cvs.append(gaps.std() / gaps.mean())
    return dict(
        rate_hz=round(len(times) / n / (stop - start) * 1000.0, 4),
        cv=round(float(np.mean(cvs)), 4) if cvs else None,
        cells_in_cv=len(cvs),
    )
