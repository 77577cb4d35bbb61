"""COBA in NEST, one thread: prints one JSON line. NEST has no delay below one step, so its spikes act 0.1 ms later."""

from __future__ import annotations

import argparse
import json
import sys
import time

import numpy as np


def build(nest, n, seed):
    """One network; returns its spike recorder."""
    nest.ResetKernel()
    nest.set(resolution=0.1, local_num_threads=1, rng_seed=seed + 1)
    n_exc, scale = n * 4 // 5, 4000.0 / n
    cells = nest.Create(
        "iaf_cond_exp",
        n,
        params=dict(
            C_m=20.0,
            g_L=1.0,
            E_L=-60.0,
            V_th=-50.0,
            V_reset=-60.0,
            t_ref=5.0,
            I_e=20.0,
            E_ex=0.0,
            E_in=-80.0,
            tau_syn_ex=5.0,
            tau_syn_in=10.0,
        ),
    )
    cells.V_m = np.random.default_rng(seed).normal(-55.0, 2.0, n)
    rule = dict(rule="pairwise_bernoulli", p=0.02)
    nest.Connect(cells[:n_exc], cells, rule, dict(weight=0.6 * scale, delay=0.1))
    nest.Connect(cells[n_exc:], cells, rule, dict(weight=-6.7 * scale, delay=0.1))
    recorder = nest.Create("spike_recorder")
    nest.Connect(cells, recorder)
    return recorder


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cells", type=int, default=4000)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    import nest

    nest.verbosity = nest.VerbosityLevel.ERROR
    steps, times, cpu, rates = round(args.seconds / 1e-4), [], [], []
    for repeat in range(args.repeats + 1):  # each draws its own network, the first is not measured
        recorder = build(nest, args.cells, repeat)
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
