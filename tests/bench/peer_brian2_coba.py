"""COBA in Brian2, C++ standalone, OpenMP with more than one thread: prints one JSON line.

The time is that of the run loop inside the compiled program: no compiling, no building of synapses, no reading of
results. `device._last_run_time` is CPU time without OpenMP (`std::clock`), so a wall clock is read beside it. One
compile, then one run of the program per repeat; each run draws its own network.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path

import brian2 as b2
import numpy as np

WALL_BEFORE = "struct timespec wall_a, wall_b; clock_gettime(CLOCK_MONOTONIC, &wall_a);"
WALL_AFTER = """clock_gettime(CLOCK_MONOTONIC, &wall_b);
std::ofstream("wall.txt") << (wall_b.tv_sec - wall_a.tv_sec) + 1e-9 * (wall_b.tv_nsec - wall_a.tv_nsec);"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cells", type=int, default=4000)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", choices=("float64", "float32"), default="float64")
    args = parser.parse_args()
    directory = tempfile.mkdtemp(prefix="brian2_coba_")
    b2.set_device("cpp_standalone", directory=directory, build_on_run=False)
    b2.prefs.core.default_float_dtype = getattr(np, args.dtype)
    b2.prefs.devices.cpp_standalone.openmp_threads = args.threads if args.threads > 1 else 0
    b2.defaultclock.dt = 0.1 * b2.ms
    n_exc = args.cells * 4 // 5
    cells = b2.NeuronGroup(
        args.cells,
        """dv/dt = (-60 - v + 20 + ge*(0 - v) + gi*(-80 - v))/(20*ms) : 1 (unless refractory)
           dge/dt = -ge/(5*ms) : 1
           dgi/dt = -gi/(10*ms) : 1""",
        threshold="v > -50",
        reset="v = -60",
        refractory=5 * b2.ms,
        method="exponential_euler",
    )
    exc = b2.Synapses(cells[:n_exc], cells, on_pre="ge += 0.6")
    inh = b2.Synapses(cells[n_exc:], cells, on_pre="gi += 6.7")
    exc.connect(p=80 / args.cells)
    inh.connect(p=80 / args.cells)
    cells.v = "-55 + 2*randn()"
    monitor = b2.SpikeMonitor(cells)
    b2.device.insert_code("before_network_run", WALL_BEFORE)
    b2.device.insert_code("after_network_run", WALL_AFTER)
    b2.run(args.seconds * b2.second)
    b2.device.build(directory=directory, compile=True, run=False)
    steps, times, cpu, rates = round(args.seconds / 1e-4), [], [], []
    for repeat in range(args.repeats + 1):  # the first run only warms the machine up
        b2.device.run(directory, with_output=False, run_args=[])
        if repeat == 0:
            continue
        times.append(float((Path(directory) / "wall.txt").read_text()) / steps * 1e6)
        cpu.append(b2.device._last_run_time / steps * 1e6)
        late = np.asarray(monitor.t / b2.ms) >= min(200.0, args.seconds * 500.0)
        rates.append(late.sum() / args.cells / (args.seconds - min(0.2, args.seconds / 2)))
    flags = b2.prefs.codegen.cpp.extra_compile_args_gcc
    shutil.rmtree(directory, ignore_errors=True)
    print(
        json.dumps(
            dict(
                simulator=f"Brian2 C++ standalone {args.dtype}",
                version=b2.__version__,
                steps=steps,
                us_per_step=times,
                cpu_us_per_step=cpu,
                rate_hz=rates,
                dtype=args.dtype,
                flags=flags,
            )
        )
    )


if __name__ == "__main__":
    main()
