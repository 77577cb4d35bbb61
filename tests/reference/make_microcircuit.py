"""Make microcircuit.json: the Potjans-Diesmann microcircuit at 10 % of its size in NEST, driven by DC and by Poisson trains.

    python tests/reference/make_microcircuit.py [--scale 0.1] [--seeds 3] [--seconds 3] [--cases poisson,dc,dc_silent]

Run it in the peers' environment (tests/bench/peers.py makes it). The parameters are written down here a second time, and
nothing is imported from brainsim: numbers of cells, synapses, weights and currents are stored to be compared as well.
Cells times scale; in-degrees times k, weights over sqrt(k), a constant current instead of the missing mean input. `poisson`
has k = scale. With DC alone and k = 0.1 the constant current of all populations but one is below rheobase and the network
falls silent (`dc_silent`, kept as a case of its own); `dc` has k = 0.3.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path

import nest
import numpy as np

NAMES = ["L23E", "L23I", "L4E", "L4I", "L5E", "L5I", "L6E", "L6I"]
N_FULL = np.array([20683, 5834, 21915, 5479, 4850, 1065, 14395, 2948])
RATES = np.array([0.903, 2.965, 4.414, 5.876, 7.569, 8.633, 1.105, 7.829])
K_EXT = np.array([1600, 1500, 2100, 1900, 2000, 1900, 2900, 2100])
V0_MEAN = [-68.28, -63.16, -63.33, -63.45, -63.11, -61.66, -66.72, -61.43]
V0_SD = [5.36, 4.57, 4.74, 4.94, 4.94, 4.55, 5.46, 4.48]
TABLE = """
0.1009 0.1689 0.0437 0.0818 0.0323 0.0000 0.0076 0.0000
0.1346 0.1371 0.0316 0.0515 0.0755 0.0000 0.0042 0.0000
0.0077 0.0059 0.0497 0.1350 0.0067 0.0003 0.0453 0.0000
0.0691 0.0029 0.0794 0.1597 0.0033 0.0000 0.1057 0.0000
0.1004 0.0622 0.0505 0.0057 0.0831 0.3726 0.0204 0.0000
0.0548 0.0269 0.0257 0.0022 0.0600 0.3158 0.0086 0.0000
0.0156 0.0066 0.0211 0.0166 0.0572 0.0197 0.0396 0.2252
0.0364 0.0010 0.0034 0.0005 0.0277 0.0080 0.0658 0.1443
"""
DT, BG_RATE, TAU_SYN, TAU_M, C_M = 0.1, 8.0, 0.5, 10.0, 250.0
START = 500.0  # ms, end of the transient


def psc(psp):
    """Current (pA) whose potential peaks at `psp` mV, by maximising the closed form on a fine grid."""
    t = np.linspace(0, 20, 2_000_001)
    v = (np.exp(-t / TAU_M) - np.exp(-t / TAU_SYN)) * TAU_M * TAU_SYN / (C_M * (TAU_M - TAU_SYN))
    return psp / v.max()


def numbers(scale, k, drive):
    p = np.array(TABLE.split(), float).reshape(8, 8)
    pairs = N_FULL[:, None] * N_FULL[None, :]
    full = np.log(1 - p) / np.log((pairs - 1.0) / pairs)
    j = psc(0.15)
    weights = np.array([[j if source.endswith("E") else -4 * j for source in NAMES] for _ in NAMES])
    weights[NAMES.index("L23E"), NAMES.index("L4E")] = 2 * j
    mean_input = (weights * full / N_FULL[:, None] * RATES).sum(1) * TAU_SYN * 1e-3
    external = j * K_EXT * BG_RATE * TAU_SYN * 1e-3
    lost = 1 - np.sqrt(k)
    current = lost * (mean_input + external) if drive == "poisson" else lost * mean_input + external
    return dict(
        cells=np.round(N_FULL * scale).astype(int),
        synapses=np.round(full * scale * k).astype(int),
        weights=weights / np.sqrt(k),
        external=j / np.sqrt(k),
        indegrees=np.round(K_EXT * k).astype(int),
        current=current,
    )


def build(made, drive, seed, threads=1):
    """The network; returns one spike recorder and the first cell of each population."""
    nest.ResetKernel()
    nest.verbosity = nest.VerbosityLevel.ERROR
    nest.set(resolution=DT, local_num_threads=threads, rng_seed=seed + 1)
    cell = dict(
        C_m=C_M, tau_m=TAU_M, E_L=-65.0, V_th=-50.0, V_reset=-65.0, t_ref=2.0, tau_syn_ex=TAU_SYN, tau_syn_in=TAU_SYN
    )
    populations = []
    for n, current, mean, sd in zip(made["cells"], made["current"], V0_MEAN, V0_SD):
        population = nest.Create("iaf_psc_exp", int(n), params=cell | dict(I_e=float(current)))
        population.V_m = nest.random.normal(mean, sd)
        populations.append(population)
    for i, target in enumerate(populations):
        for j, source in enumerate(populations):
            if made["synapses"][i, j] == 0:
                continue
            w, d = float(made["weights"][i, j]), 1.5 if NAMES[j].endswith("E") else 0.75
            bounds = dict(min=0.0, max=np.inf) if w > 0 else dict(min=-np.inf, max=0.0)
            synapse = dict(
                weight=nest.math.redraw(nest.random.normal(w, abs(w) / 10), **bounds),
                delay=nest.math.redraw(nest.random.normal(d, d / 2), min=DT / 2, max=np.inf),
            )
            rule = dict(rule="fixed_total_number", N=int(made["synapses"][i, j]))
            nest.Connect(source, target, rule, synapse)
    recorders = [nest.Create("spike_recorder") for _ in populations]
    for population, recorder in zip(populations, recorders):
        nest.Connect(population, recorder)
    if drive == "poisson":
        for population, k in zip(populations, made["indegrees"]):
            generator = nest.Create("poisson_generator", params=dict(rate=BG_RATE * int(k)))
            nest.Connect(generator, population, syn_spec=dict(weight=float(made["external"]), delay=1.5))
    return recorders, [population[0].global_id for population in populations]


def statistics(times, cells, n, stop):
    """Rate (Hz), mean CV of the intervals (cells with 3 spikes or more), mean correlation of counts in 2 ms bins of the
    first 200 cells that fire."""
    keep = times > START
    times, cells = times[keep], cells[keep]
    trains = [np.sort(times[cells == c]) for c in np.unique(cells)]
    cvs = [np.std(np.diff(t)) / np.mean(np.diff(t)) for t in trains if len(t) >= 3]
    edges = np.arange(START + DT / 2, stop + DT, 2.0)
    counts = np.array([np.histogram(t, edges)[0] for t in trains[:200]], float)
    correlation = float("nan")
    if len(counts) > 1:
        matrix = np.corrcoef(counts[counts.std(1) > 0])
        correlation = float(matrix[np.triu_indices(len(matrix), 1)].mean())
    return dict(
        rate=round(len(times) / n / (stop - START) * 1e3, 4),
        cv=round(float(np.mean(cvs)), 4) if cvs else None,
        correlation=None if np.isnan(correlation) else round(correlation, 5),
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=0.1)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="of activity after the transient of 0.5 s")
    parser.add_argument("--cases", default="poisson,dc,dc_silent")
    args = parser.parse_args()
    path, stop = Path(__file__).parent / "microcircuit.json", START + args.seconds * 1e3
    out = json.loads(path.read_text()) if path.exists() else {}
    for case in args.cases.split(","):
        drive, k = case.split("_")[0], 0.3 if case == "dc" else args.scale
        made, runs = numbers(args.scale, k, drive), []
        for seed in range(args.seeds):
            began = time.time()
            recorders, first = build(made, drive, seed)
            nest.Simulate(stop)
            rows = {}
            for name, recorder, begin, n in zip(NAMES, recorders, first, made["cells"]):
                events = recorder.events
                rows[name] = statistics(events["times"], events["senders"] - begin, int(n), stop)
            runs.append(rows)
            print(case, seed, f"{time.time() - began:.0f} s", [rows[k]["rate"] for k in NAMES], flush=True)
        out[case] = dict(
            drive=drive, scale=args.scale, indegrees=k, start_ms=START, stop_ms=stop, dt_ms=DT,
            numbers={k: np.round(v, 6).tolist() for k, v in made.items()},
            seeds=runs,
            versions=dict(nest=nest.__version__, numpy=np.__version__, python=platform.python_version()),
        )  # fmt: skip
        path.write_text(json.dumps(out, indent=None, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
