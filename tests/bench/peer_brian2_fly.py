"""The brain of the fly in Brian2, C++ standalone, as in the program of Shiu et al. 2024: prints one JSON line."""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time

import brian2 as b2
import numpy as np
import workers
from brian2 import ms, mV


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--wiring", required=True)
    parser.add_argument("--rate", type=float, default=200.0)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    data, start = np.load(args.wiring), time.perf_counter()
    directory = tempfile.mkdtemp(prefix="brian2_fly_")
    b2.set_device("cpp_standalone", directory=directory, build_on_run=False)
    b2.prefs.devices.cpp_standalone.openmp_threads = args.threads if args.threads > 1 else 0
    b2.defaultclock.dt = 0.1 * ms
    cells = b2.NeuronGroup(
        int(data["n"]),
        """dv/dt = (-52*mV - v + g) / (20*ms) : volt (unless refractory)
           dg/dt = -g / (5*ms) : volt (unless refractory)
           hold : second""",
        threshold="v > -45*mV",
        reset="v = -52*mV; g = 0*mV",
        refractory="hold",
        method="exact",
    )
    cells.v, cells.g = -52 * mV, 0 * mV
    hold = np.full(int(data["n"]), 2.2)
    hold[data["driven"]] = 0.0
    cells.hold = hold * ms
    synapses = b2.Synapses(cells, cells, "w : volt", on_pre="g += w", delay=1.8 * ms)
    synapses.connect(i=data["pre"], j=data["post"])
    synapses.w = data["synapses"] * 0.275 * mV
    drives = [
        b2.PoissonInput(cells[int(i) : int(i) + 1], "v", 1, args.rate * b2.Hz, weight=68.75 * mV)
        for i in data["driven"]
    ]
    monitor = b2.SpikeMonitor(cells)
    b2.Network(cells, synapses, monitor, *drives).run(args.seconds * b2.second)
    b2.device.build(directory=directory, compile=True, run=False)
    built, times, spikes, active = time.perf_counter(), [], [], []
    for _ in range(args.repeats):
        b2.device.run(directory, with_output=False, run_args=[])
        times.append(b2.device._last_run_time / args.seconds)
        counts = np.bincount(np.asarray(monitor.i), minlength=int(data["n"]))
        spikes.append(float(counts.sum() / args.seconds))
        active.append(int((counts > 0).sum()))
    shutil.rmtree(directory, ignore_errors=True)
    print(
        json.dumps(
            dict(
                simulator="Brian2 C++ standalone",
                version=b2.__version__,
                cells=int(data["n"]),
                pairs=len(data["pre"]),
                build_s=built - start,
                s_per_s=times,
                cpu_s_per_s=times,  # without OpenMP the device measures CPU time
                peak_gb=workers.peak_gb(children=True),
                spikes_per_s=spikes,
                active=active,
            )
        )
    )


if __name__ == "__main__":
    main()
