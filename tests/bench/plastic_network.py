"""The network of plastic.py in numbers that all simulators read, and what is compared; needs numpy only.

Brunel's network (2000, 10.1023/A:1008925309027) with plastic excitatory synapses in the sizes of the comparison of Zenke &
Gerstner (2014, 10.3389/fninf.2014.00076): four fifths of the cells are excitatory, every cell gets cells/10 excitatory and
cells/40 inhibitory synapses of delta type and as many external Poisson trains as excitatory synapses.
"""

from __future__ import annotations

import argparse

import numpy as np

DT = 0.1  # ms
TAU, THRESHOLD, RESET, REFRACTORY, DELAY = 20.0, 20.0, 0.0, 2.0, 1.5  # ms, mV
INHIBITION = 5.0  # times the excitatory weight
W_MAX = 3.0  # times the initial weight
RATE, ALPHA, TAU_STDP = 0.02, 1.05, 20.0  # A+ = RATE w_max, A- = ALPHA A+, ms
BINS = 0.5, 1.0, 1.5  # of the distribution of weights, in initial weights


def parser(doc: str) -> argparse.ArgumentParser:
    """What every worker can be told."""
    made = argparse.ArgumentParser(description=doc)
    made.add_argument("--cells", type=int, default=10_000)
    made.add_argument("--eta", type=float, default=2.0, help="external rate over the one that reaches threshold alone")
    made.add_argument(
        "--network", choices=("plastic", "static", "without"), default="plastic", help="excitatory synapses"
    )
    made.add_argument("--transient", type=float, default=0.2, help="s, not measured")
    made.add_argument("--seconds", type=float, default=0.5, help="of one measured stretch")
    made.add_argument("--repeats", type=int, default=3, help="stretches, one after the other")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--threads", type=int, default=1)
    return made


def numbers(cells: int, eta: float) -> dict:
    """Sizes, weights (mV) and the rate of one external train (Hz) of a network of this size."""
    exc, n_exc, n_inh = cells * 4 // 5, cells // 10, cells // 40
    weight = 100.0 / n_exc  # 0.1 mV at 10,000 cells: in-degree times weight stays
    w_max = W_MAX * weight
    return dict(
        cells=cells,
        exc=exc,
        inh=cells - exc,
        n_exc=n_exc,
        n_inh=n_inh,
        synapses=cells * n_exc,
        weight=weight,
        inhibitory=-INHIBITION * weight,
        w_max=w_max,
        A_plus=RATE * w_max,
        A_minus=ALPHA * RATE * w_max,
        external=eta * THRESHOLD / (weight * n_exc * TAU) * 1e3,
    )


def activity(times, cells, n: int, start: float, stop: float) -> dict:
    """Rate (Hz) and mean CV of the intervals of cells with at least 5 spikes; times in ms."""
    times, cells = np.asarray(times, float), np.asarray(cells)
    late = (times >= start) & (times < stop)
    order = np.lexsort((times[late], cells[late]))
    times, cells = times[late][order], cells[late][order]
    gaps, same = np.diff(times), np.diff(cells) == 0
    owner, gaps = cells[1:][same], gaps[same]
    count = np.bincount(owner, minlength=n)
    mean = np.bincount(owner, gaps, n) / np.maximum(count, 1)
    var = np.bincount(owner, (gaps - mean[owner]) ** 2, n) / np.maximum(count, 1)
    enough = count >= 4
    cv = float((np.sqrt(var[enough]) / mean[enough]).mean()) if enough.any() else None
    return dict(rate_hz=len(times) / n / (stop - start) * 1e3, cv=cv)


def weights(values, made: dict) -> dict:
    """Mean, deviation and distribution of plastic weights, in initial weights."""
    w = np.asarray(values, float) / made["weight"]
    edges = np.array([1e-6, *BINS, W_MAX - 1e-6])
    return dict(
        mean=float(w.mean()),
        sd=float(w.std()),
        quantiles=[float(q) for q in np.quantile(w, (0.05, 0.25, 0.5, 0.75, 0.95))],
        shares=[float((w <= edge).mean()) for edge in edges],
        n=int(w.size),
    )


def resident_bytes() -> int:
    """Resident memory of this process now; 0 where the system does not say."""
    try:
        with open("/proc/self/status") as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))
    except (OSError, StopIteration):
        return 0
