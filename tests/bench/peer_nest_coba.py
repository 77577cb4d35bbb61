"""COBA or CUBA in NEST: prints one JSON line. NEST has no delay below one step, so spikes act 0.1 ms later at least.

COBA cells are solved by an adaptive Runge-Kutta method, CUBA cells exactly.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

import numpy as np

COMMON = dict(C_m=20.0, V_th=-50.0, V_reset=-60.0, t_ref=5.0, tau_syn_ex=5.0, tau_syn_in=10.0)
NETWORKS = {  # model, its parameters, weights of excitatory and inhibitory cells
    "coba": ("iaf_cond_exp", dict(g_L=1.0, E_L=-60.0, I_e=20.0, E_ex=0.0, E_in=-80.0), (0.6, -6.7)),
    "cuba": ("iaf_psc_exp", dict(tau_m=20.0, E_L=-49.0), (1.62, -9.0)),
}


def build(nest, args, seed):
    """One network; returns its spike recorder."""
    nest.ResetKernel()
    nest.set(resolution=0.1, local_num_threads=args.threads, rng_seed=seed + 1)
    n, rng = args.cells, np.random.default_rng(seed)
    model, own, weights = NETWORKS[args.network]
    cells = nest.Create(model, n, params=COMMON | own)
    cells.V_m = rng.normal(-55.0, 2.0, n) if args.network == "coba" else rng.uniform(-60.0, -50.0, n)
    rule, delay = dict(rule="pairwise_bernoulli", p=80.0 / n), max(args.delay, 0.1)
    for sources, weight in zip((cells[: n * 4 // 5], cells[n * 4 // 5 :]), weights):
        nest.Connect(sources, cells, rule, dict(weight=weight, delay=delay))
    recorder = nest.Create("spike_recorder")
    nest.Connect(cells, recorder)
    return recorder


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--network", choices=NETWORKS, default="coba")
    parser.add_argument("--delay", type=float, default=0.1, help="ms")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cells", type=int, default=4000)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    import nest

    nest.verbosity = nest.VerbosityLevel.ERROR
    steps, times, cpu, rates = round(args.seconds / 1e-4), [], [], []
    for repeat in range(args.repeats + 1):  # each draws its own network, the first is not measured
        recorder = build(nest, args, repeat)
        nest.Prepare()
        start, start_cpu = time.perf_counter(), time.process_time()
        nest.Run(args.seconds * 1000.0)
        elapsed, used = time.perf_counter() - start, time.process_time() - start_cpu
        nest.Cleanup()
        if repeat:
            times.append(elapsed / steps * 1e6)
            cpu.append(used / steps * 1e6)
            window = min(200.0, args.seconds * 500.0)
            late = (np.asarray(recorder.events["times"]) >= window).sum()
            rates.append(late / args.cells / (args.seconds * 1000.0 - window) * 1000.0)
    sys.stdout.flush()
    print(
        json.dumps(
            dict(
                simulator="NEST",
                version=nest.__version__,
                steps=steps,
                us_per_step=times,
                cpu_us_per_step=cpu,
                rate_hz=rates,
                dtype="float64",
            )
        )
    )


if __name__ == "__main__":
    main()
