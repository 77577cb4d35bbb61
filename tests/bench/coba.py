"""COBA 4000 in brainsim, Brian2, BrainPy and NEST on this machine: microseconds per step and ratios.

    python tests/bench/peers.py                      # once: makes the peers' environments
    python tests/bench/coba.py                       # all
    python tests/bench/coba.py --only brainsim,brian2 --cells 4000 --seconds 1 --repeats 5 --json out/coba.json

Network: Vogels & Abbott 2005 / Brette et al. 2007, conductances: 80 % excitatory LIF, p = 0.02, dt 0.1 ms, spikes
recorded.
With other --cells the weights are scaled by 4000/cells (p stays). Every simulator runs in its own process, first once
unmeasured; compiling and building are not in the times. All processes are held on --threads cores (default 1). With one
core the ratio is that of CPU times, which other jobs on the machine disturb less; with more it is that of wall times.
The rates must agree (4000 cells: median within 18-25 Hz, what one drawn network can have; else within a third of the
median of all) or no time is printed for that simulator.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

import peers

HERE = Path(__file__).resolve().parent
# Hz. One drawn network: 21.6 +- 1.4 (50 networks in Brian2: 18.7 to 24.2); uncoupled: 51 to 53.
LOW, HIGH = 18.0, 25.0
JOBS = {  # name: (environment or None for this interpreter, script and arguments)
    "brainsim": (None, ["brainsim_coba.py"]),
    "brian2": ("simulators", ["peer_brian2_coba.py"]),
    "brian2_float32": ("simulators", ["peer_brian2_coba.py", "--dtype", "float32"]),
    "brainpy": ("brainpy", ["peer_brainpy_coba.py", "--api", "classic"]),
    "brainpy_jit": ("brainpy", ["peer_brainpy_coba.py", "--api", "classic", "--comm", "jit"]),
    "brainpy_state": ("brainpy", ["peer_brainpy_coba.py", "--api", "state"]),
    "nest": ("simulators", ["peer_nest_coba.py"]),
}


def cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def run(name: str, args) -> dict:
    """The JSON line of one simulator, or {"error": ...}."""
    environment, command = JOBS[name]
    python = sys.executable if environment is None else peers.python_of(environment)
    if not Path(python).exists():
        return dict(error="its environment is missing: run python tests/bench/peers.py")
    options = ["--cells", args.cells, "--seconds", args.seconds, "--repeats", args.repeats]
    env = os.environ | {k: str(args.threads) for k in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")}
    if environment is not None:  # the peers' interpreters must not see ours
        env = {k: v for k, v in env.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    done = subprocess.run(
        [str(python), str(HERE / command[0]), *command[1:], *map(str, options)], env=env, capture_output=True, text=True
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        return dict(error=(done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1])
    out = json.loads(lines[-1])
    rate = statistics.median(out["rate_hz"])
    out |= dict(
        load_before=round(load, 2),
        median_us=statistics.median(out["us_per_step"]),
        median_cpu_us=statistics.median(out["cpu_us_per_step"]),
        median_hz=rate,
    )
    return out


def check_rates(results: dict[str, dict], cells: int) -> None:
    """Put an error on every result whose rate is not that of the network: the known band for 4000 cells, else within a
    third of the median of all simulators."""
    rates = [r["median_hz"] for r in results.values() if "error" not in r]
    if not rates:
        return
    middle = statistics.median(rates)
    low, high = (LOW, HIGH) if cells == 4000 else (middle * 2 / 3, middle * 4 / 3)
    for r in results.values():
        if "error" not in r and not low <= r["median_hz"] <= high:
            r["error"] = (
                f"rate {r['median_hz']:.1f} Hz is outside {low:.1f}-{high:.1f} Hz: not the same network, no time given"
            )


def table(results: dict[str, dict], threads: int) -> str:
    timed = {k: r for k, r in results.items() if "error" not in r}
    key = "median_cpu_us" if threads == 1 else "median_us"
    own = timed.get("brainsim", {}).get(key)
    rows = [
        "{:34s}{:>9s}{:>9s}{:>10s}{:>10s}{:>10s}{:>12s}{:>7s}".format(
            "simulator", "version", "rate Hz", "wall us", "cpu us", "least cpu", "x brainsim", "load"
        )
    ]
    for r in sorted(timed.values(), key=lambda r: r[key]):
        ratio = f"{r[key] / own:.2f}" if own else "-"
        rows.append(
            f"{r['simulator']:34s}{r['version']:>9s}{r['median_hz']:9.2f}{r['median_us']:10.1f}{r['median_cpu_us']:10.1f}"
            f"{min(r['cpu_us_per_step']):10.1f}{ratio:>12s}{r['load_before']:7.2f}"
        )
    rows += [f"{name}: {r['error']}" for name, r in results.items() if "error" in r]
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=4000)
    parser.add_argument("--seconds", type=float, default=1.0, help="biological time of one run")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="cores that every process is held on")
    parser.add_argument("--only", default=",".join(JOBS), help=f"comma list of {', '.join(JOBS)}")
    parser.add_argument("--json", type=Path, help="also write everything here")
    args = parser.parse_args()
    names = args.only.split(",")
    unknown = [n for n in names if n not in JOBS]
    if unknown:
        parser.error(f"--only does not know {', '.join(unknown)}: write names from {', '.join(JOBS)}")
    if args.cells % 5 or args.cells < 500:
        parser.error(f"--cells {args.cells}: a multiple of 5 from 500 on, so that a fifth is inhibitory")
    if hasattr(os, "sched_setaffinity"):  # children inherit it
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-args.threads :])
    machine = dict(cpu=cpu_model(), cores=os.cpu_count(), threads=args.threads, python=platform.python_version())
    print(
        f"COBA {args.cells} cells, dt 0.1 ms, {args.seconds:g} s x {args.repeats}; {machine['cpu']}, "
        f"{machine['cores']} cores, held on {args.threads}",
        flush=True,
    )
    results = {}
    for name in names:
        results[name] = run(name, args)
        r = results[name]
        print(f"  {name}:", r.get("error") or f"{r['median_hz']:.2f} Hz", flush=True)
    check_rates(results, args.cells)
    print(table(results, args.threads))
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        everything = dict(machine=machine, cells=args.cells, seconds=args.seconds, results=results)
        args.json.write_text(json.dumps(everything, indent=1) + "\n")
    sys.exit(any("error" in r for r in results.values()))


if __name__ == "__main__":
    main()
