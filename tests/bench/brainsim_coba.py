"""COBA or CUBA in brainsim: prints one JSON line. Each repeat is one whole `sim.run`, from initial state to spike lists."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import time

import jax

from brainsim.models.circuits.balanced import coba, cuba


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--network", choices=("coba", "cuba"), default="coba")
    parser.add_argument("--delay", type=float, default=0.0, help="ms")
    parser.add_argument("--cells", type=int, default=4000)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="NPROC in the environment does it")
    args = parser.parse_args()
    duration, start = args.seconds * 1000.0, time.perf_counter()
    network, inputs = dict(coba=(coba, {"*.I": 20.0}), cuba=(cuba, {}))[args.network]
    sim = network(args.cells, delay=args.delay).compile(dt=0.1, record=["*.spikes"])
    built = time.perf_counter() - start
    steps, times, cpu, rates = round(duration / 0.1), [], [], []
    for repeat in range(args.repeats + 1):
        start, start_cpu = time.perf_counter(), time.process_time()
        result = sim.run(duration, inputs=inputs)
        spikes = [result.spikes[name].times for name in ("exc", "inh")]  # the lists are on the host from here on
        elapsed, used = time.perf_counter() - start, time.process_time() - start_cpu
        if repeat == 0:
            first = elapsed
            continue
        times.append(elapsed / steps * 1e6)
        cpu.append(used / steps * 1e6)
        window = min(200.0, duration / 2)
        rates.append(float(sum((t >= window).sum() for t in spikes)) / args.cells / (duration - window) * 1000.0)
    packages = {"jax": jax.__version__, "brainsim": importlib.metadata.version("brainsim-jax")}
    print(
        json.dumps(
            dict(
                simulator="brainsim",
                version=packages["brainsim"],
                packages=packages,
                steps=steps,
                us_per_step=times,
                cpu_us_per_step=cpu,
                rate_hz=rates,
                dtype="float32",
                build_s=built,
                first_run_s=first,
            )
        )
    )


if __name__ == "__main__":
    main()
