"""The network of regions in brainsim: prints one JSON line, writes the trace of a short run.

The connectome is that of `human_tracts`; the peers get the same weights, whole steps of delay and initial values in a file.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import time

import jax
import numpy as np

RECORD = {"wilson_cowan": "e", "wong_wang": "s", "jansen_rit": "y1"}
STATES = {"wilson_cowan": ("e", "i"), "wong_wang": ("s",), "jansen_rit": ("y0", "y1", "y2", "x0", "x1", "x2")}


def export(path, node, net, tracts, speed, dt):
    """The network for the peers: weights and delays [target, source], initial values (n_states, n)."""
    n = net["regions"].n
    weights, steps = np.zeros((n, n)), np.zeros((n, n), int)
    weights[tracts.post, tracts.pre] = tracts.weight
    steps[tracts.post, tracts.pre] = np.rint(tracts.length / speed / dt)
    start = [np.broadcast_to(net.initial.get(f"regions.{s}", 0.0), n) for s in STATES[node]]
    np.savez(path, weights=weights, steps=steps, start=np.array(start, float))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--node", choices=RECORD, default="wilson_cowan")
    parser.add_argument("--method", default="heun")
    parser.add_argument("--speed", type=float, default=20.0, help="of conduction, m/s")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--check", type=float, default=200.0, help="ms of the trace that is written")
    parser.add_argument("--network", required=True, help="file for the peers")
    parser.add_argument("--trace", required=True, help="file for the trace")
    parser.add_argument("--x64", action="store_true")
    args = parser.parse_args()
    jax.config.update("jax_enable_x64", args.x64)
    from brainsim.models.circuits.regions import OPERATING_POINTS, human_tracts, regions

    dt, speed, start = 0.1, args.speed, time.perf_counter()
    tracts = human_tracts()
    net = regions(args.node, speed=speed, dt=dt)
    export(args.network, args.node, net, tracts, speed, dt)
    name = f"regions.{RECORD[args.node]}"
    sim = net.compile(dt=dt, method=args.method, record=[name])
    built = time.perf_counter() - start
    np.save(args.trace, sim.run(args.check)[name])
    times, cpu = [], []
    for repeat in range(args.repeats + 1):
        start, start_cpu = time.perf_counter(), time.process_time()
        sim.run(args.seconds * 1000.0)[name]
        if repeat:
            times.append((time.perf_counter() - start) / args.seconds)
            cpu.append((time.process_time() - start_cpu) / args.seconds)
    print(
        json.dumps(
            dict(
                simulator="brainsim",
                version=importlib.metadata.version("brainsim-jax"),
                jax=jax.__version__,
                s_per_s=times,
                cpu_s_per_s=cpu,
                build_s=built,
                levels=sim.program.levels,
                block=sim.chunk.blocks,
                dtype="float64" if args.x64 else "float32",
                parameters=OPERATING_POINTS[args.node],
            )
        )
    )


if __name__ == "__main__":
    main()
