"""COBA in brainsim, Brian2, BrainPy and NEST on this machine: microseconds per step and ratios.

    python tests/bench/peers.py                      # once: makes the peers' environments
    python tests/bench/coba.py                       # 4000 cells, all
    python tests/bench/coba.py --only brainsim,brian2 --cells 4000,40000,200000 --threads 2 --json out/coba.json

Network: Vogels & Abbott 2005 / Brette et al. 2007, conductances: 80 % excitatory LIF, dt 0.1 ms, spikes recorded. Every
cell expects 80 synapses at every size (p = 80/N, which is the published 0.02 at 4000) and the weights stay, so that the
rate does too. Every simulator runs in its own process, first once unmeasured; compiling and building are not in the times.
All processes are held on --threads cores (default 1). With one core the ratio is that of CPU times, which other jobs on the
machine disturb less; with more it is that of wall times. The rates must be those of the network or no time is printed.
"""

from __future__ import annotations

import sys

import workers

# Hz. One drawn network of 4000: 21.6 +- 1.4 (50 networks in Brian2: 18.7 to 24.2); uncoupled: 51 to 53.
BAND = (18.0, 25.0)
JOBS = {  # name: (environment or None for this interpreter, script, arguments)
    "brainsim": (None, "brainsim_coba.py", []),
    "brian2": ("simulators", "peer_brian2_coba.py", []),
    "brian2_float32": ("simulators", "peer_brian2_coba.py", ["--dtype", "float32"]),
    "brainpy": ("brainpy", "peer_brainpy_coba.py", ["--api", "classic"]),
    "brainpy_jit": ("brainpy", "peer_brainpy_coba.py", ["--api", "classic", "--comm", "jit"]),
    "brainpy_state": ("brainpy", "peer_brainpy_coba.py", ["--api", "state"]),
    "nest": ("simulators", "peer_nest_coba.py", []),
}


def run(job, cells, args, band) -> dict:
    """Result of one simulator; an error instead of times where the rate is not that of the network."""
    environment, script, extra = job
    options = ["--cells", cells, "--seconds", args.seconds, "--repeats", args.repeats, "--threads", args.threads]
    out = workers.worker(environment, script, [*extra, *options], args.threads)
    if "error" in out:
        return out
    out |= dict(
        median_us=workers.median(out["us_per_step"]),
        median_cpu_us=workers.median(out["cpu_us_per_step"]),
        median_hz=workers.median(out["rate_hz"]),
    )
    if not band[0] <= out["median_hz"] <= band[1]:
        out["error"] = f"rate {out['median_hz']:.1f} Hz is outside {band[0]:.1f}-{band[1]:.1f} Hz: not the same network"
    return out


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


def main(title="COBA", doc=__doc__, jobs=JOBS, band=BAND, cells="4000") -> None:
    parser = workers.parser(doc)
    parser.add_argument("--cells", type=workers.numbers, default=workers.numbers(cells), help="comma list of sizes")
    parser.add_argument("--seconds", type=float, default=1.0, help="biological time of one run")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="cores that every process is held on")
    parser.add_argument("--only", default=",".join(jobs), help=f"comma list of {', '.join(jobs)}")
    args = parser.parse_args()
    names, everything = args.only.split(","), {}
    unknown = [n for n in names if n not in jobs]
    if unknown:
        parser.error(f"--only does not know {', '.join(unknown)}: write names from {', '.join(jobs)}")
    for n in args.cells:
        if n % 5 or n < 500:
            parser.error(f"--cells {n}: a multiple of 5 from 500 on, so that a fifth is inhibitory")
    for n in args.cells:
        workers.headline(f"{title} {n} cells, dt 0.1 ms, {args.seconds:g} s x {args.repeats}", args.threads)
        results = everything[str(n)] = {}
        for name in names:
            r = results[name] = run(jobs[name], n, args, band)
            print(f"  {name}:", r.get("error") or f"{r['median_hz']:.2f} Hz", flush=True)
        print(table(results, args.threads), flush=True)
        workers.write_json(
            args.json, dict(machine=workers.machine(args.threads), seconds=args.seconds, band_hz=band, cells=everything)
        )
    sys.exit(any("error" in r for results in everything.values() for r in results.values()))


if __name__ == "__main__":
    main()
