"""The Potjans-Diesmann microcircuit in brainsim and NEST: building, memory, seconds per biological second, rates.

    python tests/bench/peers.py simulators           # once: makes NEST's environment
    python tests/bench/microcircuit.py               # 10 % of the cells and in-degrees, Poisson trains
    python tests/bench/microcircuit.py --scale 1 --drive dc --only brainsim --threads 1,2 --json out/microcircuit.json

--indegrees is the factor of the in-degrees, by default --scale (with DC below 0.3 the network falls silent). Every process
draws one network, runs the transient unmeasured and then --repeats pieces of --seconds. Full size: rates must lie within
20 % of the published ones, else within 15 % of NEST's or, without NEST, 30 % of the published ones (Hz, mean over all
cells), or no time is printed.
"""

from __future__ import annotations

import sys

import numpy as np
import workers

JOBS = {
    "brainsim": (None, "brainsim_microcircuit.py"),
    "nest": ("simulators", "peer_nest_microcircuit.py"),
}
PUBLISHED = dict(
    L23E=0.903, L23I=2.965, L4E=4.414, L4I=5.876, L5E=7.569, L5I=8.633, L6E=1.105, L6I=7.829
)  # Hz, full size: Potjans & Diesmann 2014, implementation of the authors
CELLS = (20683, 5834, 21915, 5479, 4850, 1065, 14395, 2948)


def mean_rate(rates) -> float:
    return float(np.average([rates[k] for k in PUBLISHED], weights=CELLS))


def check(results, full) -> None:
    """Put an error on every result whose rates are not those of the network."""
    peers = [r for k, r in results.items() if k.startswith("nest") and "error" not in r]
    for name, r in results.items():
        if "error" in r:
            continue
        found = {k: v["rate"] for k, v in r["activity"].items()}
        r["mean_rate_hz"] = mean_rate(found)
        if full:
            off = {k: found[k] for k in PUBLISHED if abs(found[k] / PUBLISHED[k] - 1) > 0.2}
            if off:
                r["error"] = f"rates {off} Hz are not the published ones: not the same network"
            continue
        compared = peers and not name.startswith("nest")
        wanted = (
            mean_rate({k: v["rate"] for k, v in peers[0]["activity"].items()}) if compared else mean_rate(PUBLISHED)
        )
        if abs(r["mean_rate_hz"] / wanted - 1) > (0.15 if compared else 0.3):
            r["error"] = f"mean rate {r['mean_rate_hz']:.2f} Hz, expected {wanted:.2f}: not the same network"


def report(results) -> str:
    rows = [f"{'':12s}{'threads':>8s}{'build s':>9s}{'peak GB':>9s}{'s per s':>9s}{'cpu':>9s}{'load':>7s}  rates Hz"]
    for name, r in results.items():
        if "error" in r:
            rows.append(f"{name}: {r['error']}")
            continue
        rates = " ".join(f"{r['activity'][k]['rate']:.2f}" for k in PUBLISHED)
        rows.append(
            f"{r['simulator']:12s}{r['threads']:8d}{r['build_s'] + r.get('compile_s', 0.0):9.1f}{r['peak_gb']:9.2f}"
            f"{workers.median(r['s_per_s']):9.3f}{workers.median(r['cpu_s_per_s']):9.3f}{r['load_before']:7.2f}  {rates}"
        )
    return "\n".join([*rows, f"{'published':63s}  " + " ".join(f"{v:.2f}" for v in PUBLISHED.values())])


def main() -> None:
    parser = workers.parser(__doc__)
    parser.add_argument("--scale", type=float, default=0.1)
    parser.add_argument("--indegrees", type=float)
    parser.add_argument("--drive", choices=("dc", "poisson"), default="poisson")
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--transient", type=float, default=0.5)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=workers.numbers, default=[1], help="comma list")
    parser.add_argument("--only", default=",".join(JOBS))
    args = parser.parse_args()
    k = args.scale if args.indegrees is None else args.indegrees
    options = ["--scale", args.scale, "--indegrees", k, "--drive", args.drive, "--seconds", args.seconds]
    options += ["--transient", args.transient, "--repeats", args.repeats]
    workers.headline(f"microcircuit, scale {args.scale:g}, in-degrees {k:g}, {args.drive}, dt 0.1 ms", args.threads)
    results = {}
    for name in args.only.split(","):
        if name not in JOBS:
            parser.error(f"--only does not know {name}: write names from {', '.join(JOBS)}")
        for threads in args.threads:
            r = workers.worker(*JOBS[name], [*options, "--threads", threads], threads)
            results[f"{name}, {threads}"] = r | dict(threads=threads)
    check(results, args.scale == 1.0 == k)
    print(report(results))
    workers.write_json(
        args.json, dict(machine=workers.machine(args.threads), options=vars(args) | dict(json=None), results=results)
    )
    sys.exit(any("error" in r for r in results.values()))


if __name__ == "__main__":
    main()
