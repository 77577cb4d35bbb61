"""Plastic Brunel network in brainsim, Brian2 and NEST on this machine: seconds per biological second, bytes per synapse.

    python tests/bench/peers.py simulators                # once: makes the peers' environment
    python tests/bench/plastic.py --cells 1000            # 1e5 plastic synapses, for development
    python tests/bench/plastic.py --json out/plastic.json # 10,000 cells, 1e7 plastic synapses, all
    python tests/bench/plastic.py --only brainsim,brian2_cell --eta 0.8,1,1.4,2,3

Network: Brunel 2000 with the sizes of the comparison of Zenke & Gerstner 2014, see plastic_network.py. Every excitatory
synapse, to both populations, has additive spike-timing-dependent plasticity of all pairs with hard bounds: cells^2/10
plastic synapses, and cells^2/40 static inhibitory ones. Delays 1.5 ms, dt 0.1 ms, all spikes recorded.

What is the same is checked first: rates and CV of both populations, and the mean, the deviation and the distribution of
the weights at the end. The delay is at the axon in Brian2 and at the dendrite in NEST, which makes another network of it;
brainsim runs both, and each peer is compared with its own meaning. A peer that disagrees gets an error instead of a
ratio. Then the times: one process each, held on --threads cores, medians of the stretches of one run; compiling and
building apart. On one core the ratio is that of CPU times, which other jobs on the machine disturb less.

Memory: resident bytes at the end against the same network without excitatory synapses, and with static ones, divided by
the number of plastic synapses (--memory).
"""

from __future__ import annotations

import sys

import plastic_network as network
import workers

JOBS = {  # name: (environment or None for this interpreter, script, arguments, what it must equal)
    "brainsim": (None, "brainsim_plastic.py", ["--delay-at", "axon"], None),
    "brian2_cell": ("simulators", "peer_brian2_plastic.py", ["--form", "cell"], "brainsim"),
    "brian2_synapse": ("simulators", "peer_brian2_plastic.py", ["--form", "synapse"], "brainsim"),
    "brainsim_dendrite": (None, "brainsim_plastic.py", ["--delay-at", "dendrite"], None),
    "nest": ("simulators", "peer_nest_plastic.py", [], "brainsim_dendrite"),
}
# Relative; absolute for CV, the quantiles of the weights (in initial weights) and the shares of weights below the edges
# of network.BINS and at the bounds. The network is chaotic and synchronous at its start: at 10,000 cells two seeds of
# brainsim differ by 3.5 % in rate, 0.3 % in mean weight and 4 % in its deviation after 1.2 s, the place of the delay by
# 7, 5 and 12 %. Smaller networks have fewer and larger synapses, and fluctuate as a whole.
TOLERANCE = dict(rate_hz=0.05, cv=0.03, mean=0.01, sd=0.06, quantiles=0.03, shares=0.03)
SMALL = dict(rate_hz=0.15, cv=0.2, mean=0.06, sd=0.15, quantiles=0.1, shares=0.1)
FULL = 5_000  # cells from which the tight tolerances hold
STORED = {  # bytes per plastic synapse, from what each simulator stores
    "brainsim": 20,  # weight 4; target; by target: source, edge; source of an edge (for runs that visit all edges)
    "brian2_cell": 24,  # weight 8; source, target; lists of edges by source and by target
    "brian2_synapse": 48,  # and two traces and the time of the last update, 8 each
    "brainsim_dendrite": 20,
    "nest": 56,  # 48 as NEST says (`sizeof`), and its source 8
}


def options(args, eta, kind="plastic", repeats=None):
    made = dict(cells=args.cells, eta=eta, network=kind, seconds=args.seconds, transient=args.transient)
    made |= dict(repeats=args.repeats if repeats is None else repeats, threads=args.threads, seed=args.seed)
    return [word for key, value in made.items() for word in (f"--{key}", value)]


def differences(mine: dict, other: dict, tolerance: dict) -> list[str]:
    """What is not the same, in words."""
    found = []
    for population in ("exc", "inh"):
        a, b = mine[population], other[population]
        if abs(a["rate_hz"] - b["rate_hz"]) > tolerance["rate_hz"] * b["rate_hz"]:
            found.append(f"{population} rate {a['rate_hz']:.2f} against {b['rate_hz']:.2f} Hz")
        if (a["cv"] is None) != (b["cv"] is None) or (a["cv"] and abs(a["cv"] - b["cv"]) > tolerance["cv"]):
            found.append(f"{population} CV {a['cv']} against {b['cv']}")
    a, b = mine["weights"], other["weights"]
    for key in ("mean", "sd"):
        if abs(a[key] - b[key]) > tolerance[key] * b[key]:
            found.append(f"{key} of weights {a[key]:.4f} against {b[key]:.4f}")
    for key in ("quantiles", "shares"):
        if max(abs(x - y) for x, y in zip(a[key], b[key])) > tolerance[key]:
            found.append(f"{key} of weights {a[key]} against {b[key]}")
    return found


def run(name, args, eta) -> dict:
    environment, script, extra, _ = JOBS[name]
    out = workers.worker(environment, script, [*extra, *options(args, eta)], args.threads)
    if "error" not in out:
        out |= dict(median_s=workers.median(out["s_per_s"]), median_cpu_s=workers.median(out["cpu_s_per_s"]))
    return out


def check(results: dict[str, dict], cells: int) -> None:
    """Give an error to every peer that has not computed what brainsim has."""
    tolerance = TOLERANCE if cells >= FULL else SMALL
    for name, r in results.items():
        own = results.get(JOBS[name][3])
        if "error" in r or own is None or "error" in own:
            continue
        if wrong := differences(r, own, tolerance):
            r["error"] = "not the same network: " + "; ".join(wrong)


def bytes_per_synapse(name, args, plastic: dict) -> dict:
    """Resident bytes of a plastic synapse: against the network without it, and against static ones."""
    environment, script, extra, _ = JOBS[name]
    out, synapses = dict(stored=STORED[name]), network.numbers(args.cells, 1.0)["synapses"]
    for kind in ("without", "static"):
        r = workers.worker(environment, script, [*extra, *options(args, args.eta[0], kind, 1)], args.threads)
        if "error" in r:
            return dict(error=r["error"])
        out[kind] = (plastic["resident"] - r["resident"]) / synapses
        out[f"{kind}_cpu_s"] = workers.median(r["cpu_s_per_s"])
    return out


def table(results: dict[str, dict], threads: int) -> str:
    key = "median_cpu_s" if threads == 1 else "median_s"
    head = "{:52s}{:>9s}{:>8s}{:>7s}{:>8s}{:>7s}{:>9s}{:>9s}{:>10s}{:>9s}{:>7s}".format(
        "simulator", "delay at", "Hz", "CV", "weight", "sd", "wall s/s", "cpu s/s", "least cpu", "ratio", "load"
    )
    rows = [head]
    for name, r in results.items():
        if "error" in r:
            rows.append(f"{name}: {r['error']}")
            continue
        own, cv = results.get(JOBS[name][3], {}).get(key), r["exc"]["cv"]
        rows.append(
            f"{r['simulator'] + ' ' + r['version']:52s}{r['delay_at']:>9s}{r['exc']['rate_hz']:8.2f}"
            f"{'-' if cv is None else format(cv, '.3f'):>7s}{r['weights']['mean']:8.4f}{r['weights']['sd']:7.4f}"
            f"{r['median_s']:9.3f}{r['median_cpu_s']:9.3f}{min(r['cpu_s_per_s']):10.3f}"
            f"{'-' if own is None else format(r[key] / own, '.2f'):>9s}{r['load_before']:7.2f}"
        )
    return "\n".join(rows)


def arguments():
    parser = workers.parser(__doc__)
    parser.add_argument("--cells", type=int, default=10_000)
    parser.add_argument("--eta", default=[2.0], type=lambda text: [float(part) for part in text.split(",")])
    parser.add_argument("--transient", type=float, default=0.2, help="s that are not measured")
    parser.add_argument("--seconds", type=float, default=0.5, help="of one measured stretch")
    parser.add_argument("--repeats", type=int, default=5, help="stretches of one run")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="cores that every process is held on")
    parser.add_argument("--memory", action="store_true", help="two more runs each: without and with static synapses")
    parser.add_argument("--only", default=",".join(JOBS), help=f"comma list of {', '.join(JOBS)}")
    args = parser.parse_args()
    if args.cells % 40 or args.cells < 400:
        parser.error(f"--cells {args.cells}: a multiple of 40 from 400 on, so that the in-degrees are whole")
    args.names = args.only.split(",")
    if unknown := [n for n in args.names if n not in JOBS]:
        parser.error(f"--only does not know {', '.join(unknown)}: write names from {', '.join(JOBS)}")
    return args


def main() -> None:
    args = arguments()
    made = network.numbers(args.cells, args.eta[0])
    title = f"plastic Brunel network, {args.cells} cells, {made['synapses']:.3g} plastic synapses, dt {network.DT} ms"
    workers.headline(f"{title}, {args.seconds:g} s x {args.repeats}", args.threads)
    everything, failed = {}, False
    for eta in args.eta:
        results = everything[f"{eta:g}"] = {}
        print(f"external drive {eta:g} times that of threshold", flush=True)
        for name in args.names:
            r = results[name] = run(name, args, eta)
            print(f"  {name}:", r.get("error") or f"{r['exc']['rate_hz']:.2f} Hz", flush=True)
        check(results, args.cells)
        if args.memory and eta == args.eta[0]:
            for name, r in results.items():
                if "resident" in r:
                    r["bytes_per_synapse"] = bytes_per_synapse(name, args, r)
                    print(f"  {name}, bytes per plastic synapse:", r["bytes_per_synapse"], flush=True)
        print(table(results, args.threads), flush=True)
        failed |= any("error" in r for r in results.values())
        tolerance = TOLERANCE if args.cells >= FULL else SMALL
        workers.write_json(
            args.json, dict(machine=workers.machine(args.threads), tolerance=tolerance, network=made, eta=everything)
        )
    sys.exit(failed)


if __name__ == "__main__":
    main()
