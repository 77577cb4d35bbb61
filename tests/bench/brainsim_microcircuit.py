"""The microcircuit in brainsim: prints one JSON line."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import time
import warnings

import jax
import workers


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--scale", type=float, default=0.1)
    parser.add_argument("--indegrees", type=float, default=0.1)
    parser.add_argument("--drive", choices=("dc", "poisson"), default="poisson")
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--transient", type=float, default=0.5)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="NPROC in the environment does it")
    args = parser.parse_args()
    from brainsim.models.circuits.microcircuit import activity, microcircuit

    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        net = microcircuit(args.scale, args.drive, indegrees=args.indegrees)
    drawn = time.perf_counter()
    sim = net.compile(dt=0.1, record=["*.spikes"])
    compiled = time.perf_counter()
    sim.advance(args.transient * 1e3)  # also traces and compiles the loop
    first, times, cpu, results = time.perf_counter(), [], [], []
    for _ in range(args.repeats):
        begin, begin_cpu = time.perf_counter(), time.process_time()
        results.append(sim.advance(args.seconds * 1e3))
        times.append((time.perf_counter() - begin) / args.seconds)
        cpu.append((time.process_time() - begin_cpu) / args.seconds)
    late = activity(type(results[0]).join(results), start=args.transient * 1e3)
    print(
        json.dumps(
            dict(
                simulator="brainsim",
                version=importlib.metadata.version("brainsim-jax"),
                jax=jax.__version__,
                device=jax.devices()[0].platform,
                cells=sum(p.n for p in net.populations.values()),
                synapses=sum(p.n_edges for p in net.projections.values() if p.pre is not None),
                build_s=drawn - start,
                compile_s=compiled - drawn,
                first_run_s=first - compiled,
                s_per_s=times,
                cpu_s_per_s=cpu,
                peak_gb=workers.peak_gb(),
                activity=late,
            )
        )
    )


if __name__ == "__main__":
    main()
