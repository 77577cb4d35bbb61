"""The brain of the fly in brainsim: prints one JSON line; writes its wiring for the peers."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import time

import jax
import numpy as np
import workers


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cells", type=int, default=138_639)
    parser.add_argument("--connectivity", help="published parquet file; by default the synthetic stand-in")
    parser.add_argument("--completeness", help="published csv file")
    parser.add_argument("--driven", help="comma list of root ids, with the published tables")
    parser.add_argument("--rate", type=float, default=200.0)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--wiring", help="npz file for the peers")
    parser.add_argument("--threads", type=int, default=1, help="NPROC in the environment does it")
    args = parser.parse_args()
    from brainsim.models.circuits.fly import fly, read_fly, synthetic_fly

    start = time.perf_counter()
    if args.connectivity:
        wiring = read_fly(args.connectivity, args.completeness)
        wiring = wiring._replace(driven=wiring.cells([int(i) for i in args.driven.split(",")]))
    else:
        wiring = synthetic_fly(args.cells)
    if args.wiring:
        np.savez(
            args.wiring, n=wiring.n, pre=wiring.pre, post=wiring.post, synapses=wiring.synapses, driven=wiring.driven
        )
    drawn = time.perf_counter()
    sim = fly(wiring, rate=args.rate).compile(dt=0.1, record=["cells.spikes"])
    compiled = time.perf_counter()
    sim.run(10.0)  # traces and compiles the loop
    first, times, cpu, spikes, active = time.perf_counter(), [], [], [], []
    for repeat in range(args.repeats):  # every trial from rest, with trains of its own
        begin, begin_cpu = time.perf_counter(), time.process_time()
        counts = sim.run(args.seconds * 1e3, key=repeat).spikes["cells"].counts()
        times.append((time.perf_counter() - begin) / args.seconds)
        cpu.append((time.process_time() - begin_cpu) / args.seconds)
        spikes.append(float(counts.sum() / args.seconds))
        active.append(int((counts > 0).sum()))
    print(
        json.dumps(
            dict(
                simulator="brainsim",
                version=importlib.metadata.version("brainsim-jax"),
                jax=jax.__version__,
                device=jax.devices()[0].platform,
                cells=wiring.n,
                pairs=len(wiring.pre),
                wiring_s=drawn - start,
                build_s=compiled - drawn,
                first_run_s=first - compiled,
                s_per_s=times,
                cpu_s_per_s=cpu,
                peak_gb=workers.peak_gb(),
                spikes_per_s=spikes,
                active=active,
            )
        )
    )


if __name__ == "__main__":
    main()
