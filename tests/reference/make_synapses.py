"""Make synapses.npz: kinetic synapses under a fixed spike train, integrated exactly.

    python tests/reference/make_synapses.py        # numpy and scipy suffice

Destexhe, Mainen & Sejnowski 1994 (10.1007/BF00961734) and 1998 (Kinetic models of synaptic transmission): a spike
releases 1 mM of transmitter for 1 ms, T(t) = 1 mM while t - (last spike) < 1 ms.
AMPA, GABA_A, NMDA: r' = alpha T (1 - r) - beta r, in closed form between the edges of the pulses. NMDA current
g r B(v) (E - v), B(v) = 1/(1 + exp(-.062 v) [Mg]/3.57) (Jahr & Stevens 1990).
GABA_B: r' = K1 T (1 - r) - K2 r, s' = K3 r - K4 s, open fraction s^4/(s^4 + Kd), s in uM, DOP853 between the edges.
Further linear forms, in closed form: exponential, alpha (peak 1), difference of exponentials (peak 1).
"""

from __future__ import annotations

import itertools
import json
import platform
from pathlib import Path

import numpy as np
import scipy
from scipy.integrate import solve_ivp

HERE = Path(__file__).parent
SPIKES = [5.0, 15.0, 17.5, 20.0, 22.5, 60.0, 100.0, 101.5, 103.0, 104.5]  # ms; no two pulses overlap
DURATION, EVERY, PULSE, MM = 300.0, 0.5, 1.0, 1.0
KINETIC = {
    "AMPA": dict(alpha=1.1, beta=0.19, E=0.0),
    "GABAa": dict(alpha=5.0, beta=0.18, E=-80.0),
    "NMDA": dict(alpha=0.072, beta=0.0066, E=0.0, Mg=1.0),
}
GABAB = dict(K1=0.09, K2=0.0012, K3=0.18, K4=0.034, Kd=100.0, n=4, E=-95.0)


def pieces(spikes):
    """(start, end, concentration) of the piecewise constant transmitter."""
    edges = sorted({0.0, DURATION} | {t for t in spikes} | {t + PULSE for t in spikes})
    for a, b in itertools.pairwise(edges):
        yield a, b, MM if any(t <= a < t + PULSE for t in spikes) else 0.0


def open_fraction(spikes, alpha, beta, times):
    out, r = np.empty_like(times), 0.0
    for a, b, T in pieces(spikes):
        rate = alpha * T + beta
        target = alpha * T / rate
        inside = (times > a) & (times <= b)
        out[inside] = target + (r - target) * np.exp(-rate * (times[inside] - a))
        r = target + (r - target) * np.exp(-rate * (b - a))
    return out


def gabab(spikes, times):
    p, y = GABAB, np.zeros(2)
    out = np.empty((len(times), 2))
    for a, b, T in pieces(spikes):
        sol = solve_ivp(
            lambda t, y, T=T: (p["K1"] * T * (1 - y[0]) - p["K2"] * y[0], p["K3"] * y[0] - p["K4"] * y[1]),
            (a, b),
            y,
            method="DOP853",
            rtol=1e-12,
            atol=1e-14,
            dense_output=True,
        )
        inside = (times > a) & (times <= b)
        if inside.any():
            out[inside] = sol.sol(times[inside]).T
        y = sol.y[:, -1]
    return out


def linear_sum(kernel, spikes, times):
    since = times[:, None] - np.array(spikes)
    return np.where(since >= 0, kernel(np.maximum(since, 0.0)), 0.0).sum(1)


def main():
    times = np.round(np.arange(1, round(DURATION / EVERY) + 1) * EVERY, 9)
    arrays = {"times": times, "spikes": np.array(SPIKES)}
    cases = {}
    for name, p in KINETIC.items():
        arrays[f"{name}/r"] = open_fraction(SPIKES, p["alpha"], p["beta"], times)
        cases[name] = dict(
            params=p, units=dict(alpha="1/(mM ms)", beta="1/ms", E="mV", Mg="mM"), pulse_ms=PULSE, pulse_mM=MM
        )
    states = gabab(SPIKES, times)
    arrays["GABAb/r"], arrays["GABAb/s"] = states.T
    arrays["GABAb/open"] = states[:, 1] ** 4 / (states[:, 1] ** 4 + GABAB["Kd"])
    cases["GABAb"] = dict(
        params=GABAB,
        units=dict(K1="1/(mM ms)", K2="1/ms", K3="uM/ms", K4="1/ms", Kd="uM^4"),
        pulse_ms=PULSE,
        pulse_mM=MM,
    )
    v = np.arange(-90.0, 50.0, 10.0)
    arrays["magnesium/v"] = v
    for mg in (0.5, 1.0, 2.0):
        arrays[f"magnesium/{mg}"] = 1.0 / (1.0 + np.exp(-0.062 * v) * mg / 3.57)
    tau, rise, decay = 5.0, 2.0, 100.0
    peak = rise * decay / (decay - rise) * np.log(decay / rise)
    norm = 1.0 / (np.exp(-peak / decay) - np.exp(-peak / rise))
    arrays["exponential/g"] = linear_sum(lambda t: np.exp(-t / tau), SPIKES, times)
    arrays["alpha/g"] = linear_sum(lambda t: t / tau * np.exp(1.0 - t / tau), SPIKES, times)
    arrays["dual_exponential/g"] = linear_sum(lambda t: norm * (np.exp(-t / decay) - np.exp(-t / rise)), SPIKES, times)
    cases["exponential"] = dict(params=dict(tau=tau), note="at a spike the sample on it already holds the jump")
    cases["alpha"] = dict(params=dict(tau=tau), note="peak 1 at tau")
    cases["dual_exponential"] = dict(params=dict(tau_rise=rise, tau_decay=decay), note="peak 1")
    versions = dict(python=platform.python_version(), numpy=np.__version__, scipy=scipy.__version__)
    arrays["meta"] = np.array(
        json.dumps(dict(versions=versions, script="make_synapses.py", sample_ms=EVERY, cases=cases))
    )
    np.savez_compressed(HERE / "synapses.npz", **arrays)
    print(
        f"synapses.npz: {(HERE / 'synapses.npz').stat().st_size / 1e3:.0f} kB; peaks",
        {k: round(float(a.max()), 4) for k, a in arrays.items() if k.endswith(("/r", "/open", "/g"))},
    )


if __name__ == "__main__":
    main()
