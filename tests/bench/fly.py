"""The brain of the fly (138,639 cells, 15 million pairs) in brainsim and Brian2: building, memory, seconds per biological second.

    python tests/bench/peers.py simulators           # once: makes Brian2's environment
    python tests/bench/fly.py                        # the synthetic stand-in, full size
    python tests/bench/fly.py --threads 1,2 --only brainsim --json out/fly.json
    python tests/bench/fly.py --connectivity Connectivity_783.parquet --completeness Completeness_783.csv --driven ID,ID,...

Both sides run the same wiring with Poisson trains of their own, every trial from rest. Spikes per second must agree within a
quarter (they scatter by some percent from trial to trial), or no time is printed. Published for the real tables with 21
sugar neurons at 200 Hz (runs of 1 s; Brian2, NEST GPU): 16,400 to 17,200 spikes/s in 373 to 412 cells.
"""

from __future__ import annotations

import sys
import tempfile

import workers

JOBS = {"brainsim": (None, "brainsim_fly.py"), "brian2": ("simulators", "peer_brian2_fly.py")}


def check(results) -> None:
    """An error on both where the numbers of spikes differ."""
    good = {k: workers.median(r["spikes_per_s"]) for k, r in results.items() if "error" not in r}
    if len(good) > 1 and max(good.values()) > 1.25 * min(good.values()):
        for name in good:
            results[name]["error"] = f"spikes per second {good} do not agree: not the same network"


def report(results) -> str:
    rows = [
        f"{'':24s}{'threads':>8s}{'wiring s':>9s}{'build s':>9s}{'peak GB':>9s}{'s per s':>9s}{'cpu':>9s}{'load':>7s}"
        f"{'spikes/s':>10s}{'active':>8s}"
    ]
    for name, r in results.items():
        if "error" in r:
            rows.append(f"{name}: {r['error']}")
            continue
        rows.append(
            f"{r['simulator']:24s}{r['threads']:8d}{format(r['wiring_s'], '9.1f') if 'wiring_s' in r else '        -'}{r['build_s']:9.1f}"
            f"{r['peak_gb']:9.2f}{workers.median(r['s_per_s']):9.3f}{workers.median(r['cpu_s_per_s']):9.3f}"
            f"{r['load_before']:7.2f}{workers.median(r['spikes_per_s']):10.0f}{workers.median(r['active']):8.0f}"
        )
    return "\n".join([*rows, f"{'published (real tables)':84s}   16400-17200 373-412"])


def main() -> None:
    parser = workers.parser(__doc__)
    parser.add_argument("--cells", type=int, default=138_639)
    parser.add_argument("--connectivity")
    parser.add_argument("--completeness")
    parser.add_argument("--driven")
    parser.add_argument("--rate", type=float, default=200.0)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=workers.numbers, default=[1], help="comma list")
    parser.add_argument("--only", default=",".join(JOBS))
    args = parser.parse_args()
    if args.connectivity and not (args.completeness and args.driven):
        parser.error("--connectivity needs --completeness and --driven too")
    names, results = args.only.split(","), {}
    for name in set(names) - set(JOBS):
        parser.error(f"--only does not know {name}: write names from {', '.join(JOBS)}")
    if "brainsim" not in names:
        parser.error("--only without brainsim: the peers read the wiring that it writes")
    workers.headline(f"fly, {args.cells} cells, dt 0.1 ms, {args.seconds:g} s x {args.repeats}", args.threads)
    with tempfile.TemporaryDirectory(prefix="fly_") as folder:
        options = ["--rate", args.rate, "--seconds", args.seconds, "--repeats", args.repeats]
        options += ["--wiring", f"{folder}/wiring.npz"]
        own = ["--cells", args.cells]
        for name in ("connectivity", "completeness", "driven"):
            own += [f"--{name}", getattr(args, name)] if getattr(args, name) else []
        for name in sorted(names, key=list(JOBS).index):
            for threads in args.threads:
                extra = own if name == "brainsim" else []
                r = workers.worker(*JOBS[name], [*options, *extra, "--threads", threads], threads)
                results[f"{name}, {threads}"] = r | dict(threads=threads)
    check(results)
    print(report(results))
    workers.write_json(args.json, dict(machine=workers.machine(args.threads), rate_hz=args.rate, results=results))
    sys.exit(any("error" in r for r in results.values()))


if __name__ == "__main__":
    main()
