"""A brain of 94 regions with tract delays in brainsim, tvboptim and neurolib: seconds of one core per biological second.

    python tests/bench/peers.py tvboptim neurolib    # once: makes their environments
    python tests/bench/regions.py                    # all nodes
    python tests/bench/regions.py --nodes wilson_cowan --speeds 3 --seconds 10 --repeats 5 --json out/regions.json

Connectome of `human_tracts`, 8368 tracts. The speed of conduction decides how long the delays are, and with it what a step
costs: 3 m/s is the default of The Virtual Brain, whose users tvboptim serves (delays of 10 to 1147 steps of 0.1 ms), 20 m/s
that of neurolib (2 to 172 steps). Everybody is timed at both; the report marks the speed that users of a peer have by
default. Every simulator gets the same weights, whole steps and initial values, keeps what it sends over a step, and
returns the whole trajectory. Against tvboptim: Heun, against neurolib (Wilson-Cowan only): Euler. Before anything is timed
both run --check ms in float64 and must agree to --tolerance; then everybody is timed in the precision that it has by
default, and brainsim in float64 too. One process, held on one core (--threads: on more). Compiling is not in the times.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import workers

NODES = ("wilson_cowan", "wong_wang", "jansen_rit")
PAIRS = {  # name: (method of brainsim, environment, script, arguments)
    "tvboptim": ("heun", "tvboptim", "peer_tvboptim_regions.py", ["--buffer", "circular"]),
    "tvboptim_roll": ("heun", "tvboptim", "peer_tvboptim_regions.py", ["--buffer", "roll"]),
    "neurolib": ("euler", "neurolib", "peer_neurolib_regions.py", []),
}
USUAL = {"tvboptim": 3.0, "tvboptim_roll": 3.0, "neurolib": 20.0}  # m/s, of the tools that their users come from


def difference(folder, name) -> float:
    """Largest difference between two traces, relative to the largest value."""
    ours, theirs = np.load(folder / "brainsim.npy"), np.load(folder / f"{name}.npy")
    n = min(len(ours), len(theirs))
    return float(np.abs(ours[:n] - theirs[:n]).max() / np.abs(ours[:n]).max())


def one_pair(node, peer, speed, args, folder) -> dict:
    method, environment, script, extra = PAIRS[peer]
    files = ["--network", folder / f"{node}.npz", "--trace"]
    ours = [
        "--node",
        node,
        "--method",
        method,
        "--speed",
        speed,
        "--check",
        args.check,
        *files,
        folder / "brainsim.npy",
    ]
    short, long = ["--seconds", 0.1, "--repeats", 1], ["--seconds", args.seconds, "--repeats", args.repeats]
    first = workers.worker(None, "brainsim_regions.py", [*ours, *short, "--x64"], args.threads)
    if "error" in first:
        return dict(error=f"brainsim: {first['error']}")
    usual, strength = first["parameters"]
    theirs = ["--node", node, "--check", args.check, *files, folder / f"{peer}.npy", "--G", strength["G"], *extra]
    theirs += ["--P", usual["P"]] if "P" in usual else []
    double = [] if environment == "neurolib" else ["--x64"]
    checked = workers.worker(environment, script, [*theirs, *short, *double], args.threads)
    if "error" in checked:
        return dict(error=f"{peer}: {checked['error']}")
    out = dict(difference=difference(folder, peer), method=method, speed=speed, usual=speed == USUAL[peer])
    if not out["difference"] < args.tolerance:
        return out | dict(error=f"trajectories differ by {out['difference']:.2g}: not the same network, no times")
    timed = dict(
        brainsim=workers.worker(None, "brainsim_regions.py", [*ours, *long], args.threads),
        brainsim_x64=workers.worker(None, "brainsim_regions.py", [*ours, *long, "--x64"], args.threads),
        peer=workers.worker(environment, script, [*theirs, *long], args.threads),
    )
    failed = [r["error"] for r in timed.values() if "error" in r]
    return out | timed | (dict(error=failed[0]) if failed else {})


def report(node, peer, speed, r) -> str:
    if "error" in r:
        return f"{node} against {peer}, {speed:g} m/s: {r['error']}"
    key, usual = (
        "cpu_s_per_s",
        f"the usual speed with {peer}" if r["usual"] else f"usual with {peer}: {USUAL[peer]:g} m/s",
    )
    own = min(r["brainsim"][key])
    rows = [f"{node}, {r['method']}, {speed:g} m/s ({usual}); trajectories agree to {r['difference']:.1g}"]
    for name in ("brainsim", "brainsim_x64", "peer"):
        x = r[name]
        rows.append(
            f"  {x['simulator'] + ' ' + x['version']:28s}{x['dtype']:>9s}{workers.median(x['s_per_s']):9.4f} wall"
            f"{workers.median(x[key]):9.4f} cpu{min(x[key]):9.4f} least cpu{min(x[key]) / own:8.2f} x brainsim"
        )
    return "\n".join(rows)


def main() -> None:
    parser = workers.parser(__doc__)
    parser.add_argument("--nodes", default=",".join(NODES))
    parser.add_argument("--peers", default=",".join(PAIRS), help=f"comma list of {', '.join(PAIRS)}")
    parser.add_argument("--speeds", default="3,20", help="of conduction, m/s")
    parser.add_argument("--seconds", type=float, default=10.0, help="biological time of one run")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--check", type=float, default=100.0, help="ms that are compared")
    parser.add_argument("--tolerance", type=float, default=1e-6)
    args = parser.parse_args()
    for name, known in ((args.nodes, NODES), (args.peers, PAIRS)):
        for part in set(name.split(",")) - set(known):
            parser.error(f"{part} is not known: write names from {', '.join(known)}")
    workers.headline(f"94 regions, dt 0.1 ms, {args.seconds:g} s x {args.repeats}", args.threads)
    results = {}
    with tempfile.TemporaryDirectory(prefix="regions_") as folder:
        for node in args.nodes.split(","):
            for peer in args.peers.split(","):
                if PAIRS[peer][1] == "neurolib" and node != "wilson_cowan":
                    continue  # of these nodes it has only that one in this form
                for speed in map(float, args.speeds.split(",")):
                    r = results[f"{node}/{peer}/{speed:g}"] = one_pair(node, peer, speed, args, Path(folder))
                    print(report(node, peer, speed, r), flush=True)
                    workers.write_json(args.json, dict(machine=workers.machine(args.threads), results=results))
    sys.exit(any("error" in r for r in results.values()))


if __name__ == "__main__":
    main()
