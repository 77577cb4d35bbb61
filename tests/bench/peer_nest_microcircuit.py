"""The microcircuit in NEST, the network of tests/reference/make_microcircuit.py: prints one JSON line."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import workers

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "reference"))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--scale", type=float, default=0.1)
    parser.add_argument("--indegrees", type=float, default=0.1)
    parser.add_argument("--drive", choices=("dc", "poisson"), default="poisson")
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--transient", type=float, default=0.5)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    import make_microcircuit as reference
    import nest

    start = time.perf_counter()
    made = reference.numbers(args.scale, args.indegrees, args.drive)
    recorders, first = reference.build(made, args.drive, 0, args.threads)
    nest.Prepare()
    built = time.perf_counter()
    nest.Run(args.transient * 1e3)
    times, cpu = [], []
    for _ in range(args.repeats):
        begin, begin_cpu = time.perf_counter(), time.process_time()
        nest.Run(args.seconds * 1e3)
        times.append((time.perf_counter() - begin) / args.seconds)
        cpu.append((time.process_time() - begin_cpu) / args.seconds)
    nest.Cleanup()
    reference.START, rows = args.transient * 1e3, {}
    stop = reference.START + args.repeats * args.seconds * 1e3
    for name, recorder, begin, n in zip(reference.NAMES, recorders, first, made["cells"]):
        events = recorder.events
        rows[name] = reference.statistics(events["times"], events["senders"] - begin, int(n), stop)
    print(
        json.dumps(
            dict(
                simulator="NEST",
                version=nest.__version__,
                cells=int(made["cells"].sum()),
                synapses=int(made["synapses"].sum()),
                build_s=built - start,
                s_per_s=times,
                cpu_s_per_s=cpu,
                peak_gb=workers.peak_gb(),
                activity=rows,
            )
        )
    )


if __name__ == "__main__":
    main()
