"""Brunel 2000 model A (10.1023/A:1008925309027): four regimes in NEST and one of them in Brian2, for networks.json.

10,000 + 2,500 LIF, delta synapses, fixed in-degree 1000 + 250 drawn with replacement (autapses, multapses allowed), one
independent Poisson train of rate C_E eta nu_thr per cell, everything 1.5 ms late, dt 0.1 ms, all cells start at V = 0.
"""

from __future__ import annotations

import balanced
import brian2 as b2
import nest
import numpy as np

N_EXC, N_INH, C_EXC, C_INH = 10000, 2500, 1000, 250
P = dict(tau=20.0, theta=20.0, v_reset=10.0, t_ref=2.0, J=0.1, delay=1.5, dt=0.1)
NU_THR = P["theta"] / (P["J"] * C_EXC * P["tau"]) * 1000.0  # Hz per external synapse: 10
REGIMES = {  # g, eta, ms measured after the first 200
    "AI": (5.0, 2.0, 600.0),
    "SI_fast": (6.0, 4.0, 600.0),
    "SI_slow": (4.5, 0.9, 1000.0),
    "SR": (3.0, 2.0, 300.0),
}
SEEDS = {"AI": (1, 2, 3), "SI_fast": (1, 2), "SI_slow": (1, 2, 3, 4, 5), "SR": (1,)}
WARM = 200.0
NOTE = (
    "input to a refractory cell is dropped, as in NEST: Brian2 does so for a variable marked (unless refractory). "
    "Brian2 adds a delta input after the threshold test, so it decays for one step (0.5 % of V, 0.1 mV at threshold) "
    "before it can cause a spike; NEST tests right after adding it. At dt 0.1 ms this lowers the rates, most where "
    "the drive is subthreshold (SI_slow)"
)


def spectrum(times, start, stop, n, window=200.0):
    """Peak frequency (10 Hz and above) of the population rate in 0.1 ms bins, mean of Hann windows of 200 ms that
    overlap by half; the peak's height over the median; the variance of the rate over its Poisson value."""
    dt = P["dt"]
    edges = np.arange(0, round((stop - start) / dt) + 1)
    counts, _ = np.histogram(np.round((times - start) / dt - 0.5), edges)  # stamp s lies in the bin that ends at s
    size = round(window / dt)
    pieces = [counts[k : k + size] for k in range(0, len(counts) - size + 1, size // 2)]
    power = np.mean([np.abs(np.fft.rfft((c - c.mean()) * np.hanning(size))) ** 2 for c in pieces], axis=0)
    f = np.fft.rfftfreq(size, dt / 1000.0)
    band = (f >= 10.0) & (f <= 1000.0)
    best = np.flatnonzero(band)[np.argmax(power[band])]
    return dict(
        peak_hz=round(float(f[best]), 2),
        resolution_hz=1000.0 / window,
        peak_over_median=round(float(power[best] / np.median(power[band])), 2),
        fano_of_0p1ms_counts=round(float(counts.var() / max(counts.mean(), 1e-12)), 3),
    )


def measure(times, indices, stop):
    n = N_EXC + N_INH
    out = balanced.statistics(times, indices, n, WARM, stop)
    return out | spectrum(times[(times > WARM) & (times <= stop)], WARM, stop, n) | dict(window_ms=[WARM, stop])


def nest_run(g, eta, stop, seed):
    nest.ResetKernel()
    nest.verbosity = nest.VerbosityLevel.ERROR
    nest.set(resolution=P["dt"], local_num_threads=1, rng_seed=seed)
    params = dict(C_m=1.0, tau_m=P["tau"], E_L=0.0, V_th=P["theta"], V_reset=P["v_reset"], t_ref=P["t_ref"], V_m=0.0)
    exc, inh = nest.Create("iaf_psc_delta", N_EXC, params=params), nest.Create("iaf_psc_delta", N_INH, params=params)
    noise = nest.Create("poisson_generator", params=dict(rate=eta * NU_THR * C_EXC))
    recorder = nest.Create("spike_recorder")
    cells = exc + inh
    nest.Connect(noise, cells, syn_spec=dict(weight=P["J"], delay=P["delay"]))
    for source, weight, degree in ((exc, P["J"], C_EXC), (inh, -g * P["J"], C_INH)):
        nest.CopyModel("static_synapse_hom_w", f"s{degree}", dict(weight=weight, delay=P["delay"]))
        nest.Connect(source, cells, dict(rule="fixed_indegree", indegree=degree), dict(synapse_model=f"s{degree}"))
    nest.Connect(cells, recorder)
    nest.Simulate(stop)
    return np.asarray(recorder.events["times"]), np.asarray(recorder.events["senders"]) - 1


def regimes(run, names, label):
    """{regime: g, eta and one row of measurements per seed}."""
    out = {}
    for name in names:
        g, eta, span = REGIMES[name]
        rows = {seed: measure(*run(g, eta, WARM + span, seed), WARM + span) for seed in SEEDS[name]}
        out[name] = dict(g=g, eta=eta, seeds=rows)
        print(f"  Brunel {label} {name}:", [(r["rate_hz"], r["cv"], r["peak_hz"]) for r in rows.values()], flush=True)
    return out


def nest_part():
    sizes = dict(C_E=C_EXC, C_I=C_INH, N_E=N_EXC, N_I=N_INH, nu_thr_hz=NU_THR)
    return dict(params=P | sizes, regimes=regimes(nest_run, REGIMES, "NEST"))


def brian_run(g, eta, stop, seed):
    """Fixed in-degree by arrays (with replacement), external input as a binomial count per cell and step."""
    b2.start_scope()
    b2.seed(seed)
    b2.defaultclock.dt = P["dt"] * b2.ms
    n = N_EXC + N_INH
    cells = b2.NeuronGroup(
        n,
        "dv/dt = -v/(20*ms) : 1 (unless refractory)",
        threshold="v > 20",
        reset="v = 10",
        refractory=(P["t_ref"] + P["dt"]) * b2.ms,
        method="exact",
    )
    objects = [cells]
    for k, (low, size, degree, weight) in enumerate(((0, N_EXC, C_EXC, P["J"]), (N_EXC, N_INH, C_INH, -g * P["J"]))):
        edges = b2.Synapses(cells[low : low + size], cells, on_pre=f"v_post += {weight}", delay=P["delay"] * b2.ms)
        edges.connect(i=balanced.stream(seed, 10 + k).integers(0, size, n * degree), j=np.repeat(np.arange(n), degree))
        objects.append(edges)
    noise = b2.PoissonInput(cells, "v", C_EXC, eta * NU_THR * b2.Hz, weight=P["J"])
    monitor = b2.SpikeMonitor(cells)
    b2.Network(*objects, noise, monitor).run(stop * b2.ms)
    return np.asarray(monitor.t / b2.ms) + P["dt"], np.asarray(monitor.i)


def brian_part():
    return dict(note=NOTE, regimes=regimes(brian_run, ("AI", "SI_slow"), "Brian2"))
