"""Procedural connectivity at scale: a million cells and a billion synapses, none of them stored.

    python tests/bench/procedural.py                          # all three parts
    python tests/bench/procedural.py --parts degrees,small    # some of them
    python tests/bench/procedural.py --cells 1000000 --inputs 1000 --ms 50

big: the COBA network (Vogels & Abbott 2005; Brette et al. 2007) with --cells cells, --inputs synapses each and weights
scaled to keep the mean input, in a process of its own: peak memory of the process (limit 2 GB), seconds per biological
second, mean rate. degrees: chi-square tests of the targets and lengths of sampled rows of that network. small: 4000
cells, procedural beside the same edges stored: equal spikes, and the time of a step of both.
One core; times are without compiling; those of the small network are the minimum over four chunks.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time

LIMIT = 2e9  # bytes
MEAN_INPUTS = 80  # of the network with 4000 cells and p = 0.02, whose weights are scaled


def network(cells: int, inputs: int, stored=None):
    import brainsim as bs
    from brainsim.models import LIF, ExpConductance

    scale, net = MEAN_INPUTS / inputs, bs.Network(seed=0)
    exc = net.add("exc", LIF(tau=20.0, v_rest=-60.0, v_th=-50.0, v_reset=-60.0, t_ref=5.0, R=1.0), cells * 4 // 5)
    inh = net.add("inh", exc.model, cells - exc.n)
    for source, synapse, weight in (
        (exc, ExpConductance(tau=5.0, E=0.0), 0.6),
        (inh, ExpConductance(tau=10.0, E=-80.0), 6.7),
    ):
        for target in (exc, inh):
            rule = bs.procedural(bs.fixed_probability(inputs / cells))
            if stored is not None:
                edges = stored[f"{source.name}->{target.name}"].edges
                rule = bs.from_edges(edges.pre, edges.post)
            net.connect(source, target, synapse, rule, weight=weight * scale)
    net.init("*.v", bs.normal(-55.0, 2.0))
    return net


def timed(sim, ms: float, chunks: int):
    """(seconds, spikes per cell) of every chunk of a run."""
    drive = {"exc.I": 20.0, "inh.I": 20.0}
    sim.advance(0.1, inputs=drive)  # compiles
    found = []
    for _ in range(chunks):
        start = time.perf_counter()
        result = sim.advance(ms / chunks, inputs=drive)
        spikes = sum(len(s) for s in result.spikes.values()) / sum(s.n_cells for s in result.spikes.values())
        found.append((time.perf_counter() - start, spikes))
    return found


def big(args) -> dict:
    start = time.perf_counter()
    net = network(args.cells, args.inputs)
    sim = net.compile(dt=0.1, record=["*.spikes"])
    built = time.perf_counter() - start
    chunks = timed(sim, args.ms, args.chunks)
    seconds, spikes = map(sum, zip(*chunks))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    synapses = sum(p.n_edges for p in net.projections.values())
    return dict(
        cells=args.cells,
        synapses=synapses,
        build_s=round(built, 2),
        seconds_per_biological_second=round(seconds / args.ms * 1000.0, 1),
        rate_hz=round(spikes / args.ms * 1000.0, 2),
        ns_per_synaptic_event_all_in=round(seconds / max(spikes * synapses, 1) * 1e9, 2),
        chunks_s_and_hz=[(round(s, 2), round(n / args.ms * args.chunks * 1000.0, 1)) for s, n in chunks],
        peak_gb=round(peak / 1e9, 3),
        ok=peak < LIMIT and spikes > 0,
    )


def degrees(args) -> dict:
    """Targets of 2000 sampled rows: counts per target against Poisson, lengths against the binomial distribution."""
    import numpy as np
    from scipy import stats

    from brainsim.ops import procedural
    from brainsim.ops.random import key_of

    rows, p = 2000, args.inputs / args.cells
    sampled = procedural.fixed_probability(p, first_row=args.cells // 2)
    made = procedural.procedural_edges(key_of(0, "degrees"), sampled, rows, args.cells)
    out, into = np.diff(made.indptr), np.bincount(made.indices, minlength=args.cells)
    highest = int(into.max())
    observed = np.bincount(into, minlength=highest + 1)
    expected = args.cells * stats.binom.pmf(np.arange(highest + 1), rows, p)
    keep = expected >= 5
    o, e = (
        np.append(observed[keep], observed[~keep].sum()),
        np.append(expected[keep], args.cells - expected[keep].sum()),
    )
    in_p = stats.chi2.sf(((o - e) ** 2 / np.maximum(e, 1e-9))[e > 1].sum(), (e > 1).sum() - 1)
    spread = ((out - args.cells * p) ** 2).sum() / (args.cells * p * (1 - p))
    out_p = 2 * min(stats.chi2.cdf(spread, rows), stats.chi2.sf(spread, rows))
    where = np.histogram(made.indices, 1000, (0, args.cells))[0]
    where_p = stats.chisquare(where).pvalue
    found = dict(in_degree_p=float(in_p), out_degree_p=float(out_p), position_p=float(where_p), sampled=int(out.sum()))
    return found | dict(ok=min(in_p, out_p, where_p) > 1e-4)


def small(args) -> dict:
    import numpy as np

    net = network(4000, MEAN_INPUTS)
    made = {"procedural": net, "stored": network(4000, MEAN_INPUTS, net.projections)}
    out, spikes = {}, []
    for name, n in made.items():
        sim = n.compile(dt=0.1, record=["*.spikes"])
        out[f"{name}_us_per_step"] = round(min(s for s, _ in timed(sim, 200.0, 4)) / 500 * 1e6, 1)
        result = n.compile(dt=0.1, record=["*.spikes"]).run(100.0, inputs={"exc.I": 20.0, "inh.I": 20.0})
        spikes.append([(result.spikes[k].times, result.spikes[k].indices) for k in ("exc", "inh")])
    same = all(np.array_equal(a, b) for x, y in zip(*spikes) for a, b in zip(x, y))
    return out | dict(equal_spikes=same, spikes=sum(len(t) for t, _ in spikes[0]), ok=same)


PARTS = {"big": big, "degrees": degrees, "small": small}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--cells", type=int, default=1_000_000)
    parser.add_argument("--inputs", type=int, default=1000)
    parser.add_argument("--ms", type=float, default=50.0)
    parser.add_argument("--chunks", type=int, default=5)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.inside:
        print(json.dumps(PARTS[args.parts](args), default=bool))
        return
    if hasattr(os, "sched_setaffinity"):  # children inherit it
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-1:])
    good = True
    for part in args.parts.split(","):
        options = [
            "--inside",
            "--parts",
            part,
            *(f"--{k}={getattr(args, k)}" for k in ("cells", "inputs", "ms", "chunks")),
        ]
        done = subprocess.run([sys.executable, __file__, *options], capture_output=True, text=True)
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        found = json.loads(lines[-1]) if lines else dict(ok=False, error=done.stderr.strip().splitlines()[-1:])
        good = good and found["ok"]
        print(part, json.dumps(found, indent=1), flush=True)
    sys.exit(not good)


if __name__ == "__main__":
    main()
