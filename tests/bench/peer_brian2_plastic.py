"""The plastic network in Brian2, C++ standalone: prints one JSON line.

Brian2 puts the delay on the axon: a synapse sees a presynaptic spike 1.5 ms late and a postsynaptic one at once.
`--form synapse` is the form of Brian2's documentation, event-driven traces in every synapse. `--form cell` uses that all
pairs count, so that every synapse of a cell has the same trace: it lives in the cell and a synapse keeps its weight only.
A spike delivers the weight that it has changed, as in NEST. The times are those of the run loop inside the compiled program, read around every stretch: no compiling, no building of
synapses, no writing of results.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from pathlib import Path

import brian2 as b2
import numpy as np
import plastic_network as network

DECLARED = """struct timespec wall_a, wall_b, cpu_a, cpu_b;
auto seconds = [](const struct timespec& a, const struct timespec& b) {
    return (b.tv_sec - a.tv_sec) + 1e-9 * (b.tv_nsec - a.tv_nsec);
};"""
BEFORE = "clock_gettime(CLOCK_MONOTONIC, &wall_a); clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu_a);"
AFTER = """clock_gettime(CLOCK_MONOTONIC, &wall_b); clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu_b);
{
    long pages = 0, resident = 0;
    std::ifstream("/proc/self/statm") >> pages >> resident;
    std::ofstream("times.txt", std::ios::app) << seconds(wall_a, wall_b) << " " << seconds(cpu_a, cpu_b) << " "
        << resident * sysconf(_SC_PAGESIZE) << std::endl;
}"""
SYNAPSE = dict(  # traces in every synapse
    model="""w : 1
             dK_plus/dt = -K_plus/tau_stdp : 1 (event-driven)
             dK_minus/dt = -K_minus/tau_stdp : 1 (event-driven)""",
    on_pre="""w = clip(w - A_minus*K_minus, 0, w_max)
              v_post += w
              K_plus += 1""",
    on_post="""w = clip(w + A_plus*K_plus, 0, w_max)
               K_minus += 1""",
)
CELL = dict(
    model="w : 1",
    on_pre="""w = clip(w - A_minus*K_minus_post, 0, w_max)
              v_post += w""",
    on_post="w = clip(w + A_plus*K_plus_pre, 0, w_max)",
)


def build(args, made):
    """(network, excitatory synapses or None, monitor); `made` becomes the namespace of the equations."""
    space = {k: made[k] for k in ("A_plus", "A_minus", "w_max", "weight", "inhibitory", "n_exc", "n_inh", "cells")}
    space |= dict(tau=network.TAU * b2.ms, tau_stdp=network.TAU_STDP * b2.ms, v_0=network.RESET)
    # a jump comes after the test of the threshold, and has decayed for a step at the next one
    space["theta"] = network.THRESHOLD * np.exp(-network.DT / network.TAU)
    traces = args.form == "cell" and args.network == "plastic"
    more = "\ndK_plus/dt = -K_plus/tau_stdp : 1\ndK_minus/dt = -K_minus/tau_stdp : 1" if traces else ""
    cells = b2.NeuronGroup(
        made["cells"],
        "dv/dt = -v/tau : 1 (unless refractory)" + more,
        threshold="v > theta",
        reset="v = v_0" + ("\nK_minus += 1" if traces else ""),
        refractory=network.REFRACTORY * b2.ms,
        method="exact",
        namespace=space,
    )
    cells.v = f"rand()*{network.THRESHOLD}"
    exc, inh, delay = cells[: made["exc"]], cells[made["exc"] :], network.DELAY * b2.ms
    parts, plastic = [cells], None
    if args.network != "without":
        how = dict(model="w : 1", on_pre="v_post += w") if args.network == "static" else SYNAPSE
        how = CELL if traces else how
        plastic = b2.Synapses(exc, cells, **how, namespace=space, name="plastic")
        plastic.connect(i="k for k in sample(N_pre, size=n_exc)")
        plastic.w, plastic.pre.delay = made["weight"], delay
        parts.append(plastic)
        if args.network == "plastic":
            plastic.post.order = 2  # a presynaptic spike acts before a postsynaptic one of the same time, which sees it
    if traces:
        arrived = b2.Synapses(exc, exc, on_pre="K_plus_post += 1", namespace=space, name="arrived")
        arrived.connect(j="i")
        arrived.pre.delay, arrived.pre.order = delay, 1
        parts.append(arrived)
    inhibition = b2.Synapses(inh, cells, on_pre="v_post += inhibitory", namespace=space, name="inhibition")
    inhibition.connect(i="k for k in sample(N_pre, size=n_inh)")
    inhibition.pre.delay = delay
    noise = b2.PoissonInput(cells, "v", N=made["n_exc"], rate=made["external"] * b2.Hz, weight=made["weight"])
    monitor = b2.SpikeMonitor(cells)
    return b2.Network(*parts, inhibition, noise, monitor), plastic, monitor


def main() -> None:
    parser = network.parser(__doc__)
    parser.add_argument("--dtype", choices=("float64", "float32"), default="float64")
    parser.add_argument("--form", choices=("synapse", "cell"), default="cell")
    args = parser.parse_args()
    directory = tempfile.mkdtemp(prefix="brian2_plastic_")
    b2.set_device("cpp_standalone", directory=directory, build_on_run=False)
    b2.prefs.core.default_float_dtype = getattr(np, args.dtype)
    b2.prefs.devices.cpp_standalone.openmp_threads = args.threads if args.threads > 1 else 0
    b2.defaultclock.dt = network.DT * b2.ms
    b2.seed(args.seed)
    made, start = network.numbers(args.cells, args.eta), time.perf_counter()
    net, plastic, monitor = build(args, made)
    b2.device.insert_code("before_start", DECLARED)
    b2.device.insert_code("before_network_run", BEFORE)
    b2.device.insert_code("after_network_run", AFTER)
    for seconds in (args.transient, *[args.seconds] * args.repeats):
        net.run(seconds * b2.second)
    b2.device.build(directory=directory, compile=True, run=False)
    compiled = time.perf_counter()
    b2.device.run(directory, with_output=False, run_args=[])
    done = time.perf_counter()
    table = np.loadtxt(Path(directory) / "times.txt")
    window = args.transient * 1e3, (args.transient + args.repeats * args.seconds) * 1e3
    stamps, cells = np.asarray(monitor.t / b2.ms) + network.DT, np.asarray(monitor.i)
    is_exc = cells < made["exc"]
    out = dict(
        simulator=f"Brian2 C++ standalone {args.dtype}, traces in every {args.form}",
        version=b2.__version__,
        delay_at="axon",
        dtype=args.dtype,
        flags=b2.prefs.codegen.cpp.extra_compile_args_gcc,
        compile_s=compiled - start,
        build_s=done - compiled - float(table[:, 0].sum()),
        first_run_s=float(table[0, 0]),
        s_per_s=(table[1:, 0] / args.seconds).tolist(),
        cpu_s_per_s=(table[1:, 1] / args.seconds).tolist(),
        resident=int(table[-1, 2]),
        exc=network.activity(stamps[is_exc], cells[is_exc], made["exc"], *window),
        inh=network.activity(stamps[~is_exc], cells[~is_exc] - made["exc"], made["inh"], *window),
    )
    if args.network == "plastic":
        out["weights"] = network.weights(plastic.w[:], made)
    shutil.rmtree(directory, ignore_errors=True)
    print(json.dumps(out))


if __name__ == "__main__":
    main()
