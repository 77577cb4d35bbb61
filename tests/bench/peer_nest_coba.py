"""COBA in NEST, one thread: prints one JSON line. NEST has no delay below one step, so its spikes act 0.1 ms later."""
from __future__ import annotations

import argparse
import json
import sys
import time

import numpy as np


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cells", type=int, default=4000)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    import nest

    nest.ResetKernel()
    nest.verbosity = nest.VerbosityLevel.ERROR
    nest.set(resolution=0.1, local_num_threads=1, rng_seed=1)
    n_exc, scale = args.cells * 4 // 5, 4000.0 / args.cells
    cells = nest.Create("iaf_cond_exp", args.cells, params=dict(
        C_m=20.0, g_L=1.0, E_L=-60.0, V_th=-50.0, V_reset=-60.0, t_ref=5.0, I_e=20.0, E_ex=0.0, E_in=-80.0,
        tau_syn_ex=5.0, tau_syn_in=10.0))
    cells.V_m = np.random.default_rng(1).normal(-55.0, 2.0, args.cells)
    rule = dict(rule="pairwise_bernoulli", p=0.02)
    nest.Connect(cells[:n_exc], cells, rule, dict(weight=0.6 * scale, delay=0.1))
    nest.Connect(cells[n_exc:], cells, rule, dict(weight=-6.7 * scale, delay=0.1))
    recorder = nest.Create("spike_recorder")
    nest.Connect(cells, recorder)
    steps, times, rates = round(args.seconds / 1e-4), [], []
    nest.Prepare()
    for repeat in range(args.repeats + 1):                   # the first run holds the transient
        before = recorder.n_events
        start = time.perf_counter()
        nest.Run(args.seconds * 1000.0)
        if repeat:
            times.append((time.perf_counter() - start) / steps * 1e6)
            rates.append((recorder.n_events - before) / args.cells / args.seconds)
    nest.Cleanup()
    sys.stdout.flush()
    print(json.dumps(dict(simulator="NEST", version=nest.__version__, steps=steps, us_per_step=times, rate_hz=rates,
                          dtype="float64")))


if __name__ == "__main__":
    main()
