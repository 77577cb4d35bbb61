"""COBA in brainsim: prints one JSON line. Each repeat is one whole `sim.run`, from initial state to spike lists."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import time

import jax

import brainsim as bs
from brainsim.models import LIF, ExpConductance


def network(cells: int):
    n_exc, scale = cells * 4 // 5, 4000.0 / cells
    net = bs.Network(seed=0)
    exc = net.add("exc", LIF(tau=20.0, v_rest=-60.0, v_th=-50.0, v_reset=-60.0, t_ref=5.0, R=1.0), n_exc)
    inh = net.add("inh", exc.model, cells - n_exc)
    net.connect(exc, [exc, inh], ExpConductance(tau=5.0, E=0.0), bs.fixed_probability(0.02), weight=0.6 * scale)
    net.connect(inh, [exc, inh], ExpConductance(tau=10.0, E=-80.0), bs.fixed_probability(0.02), weight=6.7 * scale)
    net.init("*.v", bs.normal(-55.0, 2.0))
    return net


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cells", type=int, default=4000)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    duration, start = args.seconds * 1000.0, time.perf_counter()
    sim = network(args.cells).compile(dt=0.1, record=["*.spikes"])
    built = time.perf_counter() - start
    steps, times, cpu, rates = round(duration / 0.1), [], [], []
    for repeat in range(args.repeats + 1):
        start, start_cpu = time.perf_counter(), time.process_time()
        result = sim.run(duration, inputs={"exc.I": 20.0, "inh.I": 20.0})
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
