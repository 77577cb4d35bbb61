"""The network of regions in neurolib: its Wilson-Cowan nodes, Euler, float64: prints one JSON line."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import logging
import time

import numpy as np


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--node", choices=("wilson_cowan",), default="wilson_cowan")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--check", type=float, default=200.0)
    parser.add_argument("--network", required=True)
    parser.add_argument("--trace", required=True)
    parser.add_argument("--G", type=float, required=True)
    parser.add_argument("--P", type=float, default=0.0)
    args = parser.parse_args()
    logging.disable(logging.INFO)
    from neurolib.models.wc import WCModel

    data = np.load(args.network)

    def run(ms):
        model = WCModel(Cmat=data["weights"], Dmat=data["steps"] * 0.1, seed=0)
        p = model.params
        p["dt"], p["duration"], p["signalV"], p["K_gl"], p["exc_ext"], p["sigma_ou"] = 0.1, ms, 1.0, args.G, args.P, 0.0
        p["exc_init"], p["inh_init"] = data["start"][0][:, None], data["start"][1][:, None]
        start, start_cpu = time.perf_counter(), time.process_time()
        model.run()
        return time.perf_counter() - start, time.process_time() - start_cpu, model.exc.T

    np.save(args.trace, run(args.check)[2])
    timed = [run(args.seconds * 1000.0)[:2] for _ in range(args.repeats + 1)][1:]
    print(
        json.dumps(
            dict(
                simulator="neurolib",
                version=importlib.metadata.version("neurolib"),
                s_per_s=[t / args.seconds for t, _ in timed],
                cpu_s_per_s=[t / args.seconds for _, t in timed],
                dtype="float64",
            )
        )
    )


if __name__ == "__main__":
    main()
