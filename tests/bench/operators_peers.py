"""Spikes times a sparse matrix inside a `fori_loop`: brainsim's event_csr against brainevent's binary CSR product.

    python tests/bench/peers.py brainpy              # once: makes the environment of brainevent
    python tests/bench/operators_peers.py [--calls 5000] [--repeats 5] [--json out/operators.json]

4000 cells with 80 edges each, float32 weights, bool spikes: none, 0.1 %, 1 % and 10 %; and 64 of them at once, each with
weights of its own (vmap over both). The results of both sides must be equal (rtol 1e-5; sums in another order) or no time is
printed. Microseconds a call, medians; ratios are of CPU times on one core.
"""

from __future__ import annotations

import sys
import tempfile

import numpy as np
import workers
from operators_work import BATCH, FAN, FRACTIONS, N, inputs

SIDES = {"brainsim": (None, "operators_work.py"), "brainevent": ("brainpy", "operators_work.py")}


def reference(batch, fraction):
    """The result in float64 by a dense loop over edges, from the same arrays."""
    rng = np.random.default_rng(0)
    indices = np.sort(rng.integers(0, N, (N, FAN)), 1).ravel()
    spikes, weights = inputs(fraction, batch)
    spikes, weights = spikes[1].reshape(batch, N), weights.reshape(batch, N * FAN)
    sent = np.repeat(spikes, FAN, 1) * weights.astype(float)
    out = np.stack([np.bincount(indices, row, N) for row in sent])
    return out if batch > 1 else out[0]


def main() -> None:
    parser = workers.parser(__doc__)
    parser.add_argument("--calls", type=int, default=5000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    workers.headline(f"{N} cells x {FAN} edges, {args.calls} calls x {args.repeats}", args.threads)
    results, wrong = {}, []
    with tempfile.TemporaryDirectory(prefix="operators_") as folder:
        for side, job in SIDES.items():
            options = [
                "--side",
                side,
                "--calls",
                args.calls,
                "--repeats",
                args.repeats,
                "--values",
                f"{folder}/{side}.npz",
            ]
            r = results[side] = workers.worker(*job, options, args.threads)
            if "error" in r:
                sys.exit(f"{side}: {r['error']}")
            print(f"{side} {r['version']}, jax {r['jax']}")
        found = {side: np.load(f"{folder}/{side}.npz") for side in SIDES}
        print(
            f"{'batch':>6s}{'active':>8s}"
            + "".join(f"{side + ' us':>16s}{'cpu':>10s}" for side in SIDES)
            + f"{'ratio':>8s}"
        )
        for batch in (1, BATCH):
            for fraction in FRACTIONS:
                case = f"{batch}/{fraction}"
                expected = reference(batch, fraction)
                off = [s for s in SIDES if not np.allclose(found[s][case], expected, rtol=1e-5, atol=1e-5)]
                if off:
                    wrong.append(case)
                    print(f"{batch:6d}{fraction:8.1%}  {', '.join(off)}: not the sums over the edges, no time given")
                    continue
                rows = [results[side]["rows"][case] for side in SIDES]
                cells = "".join(f"{workers.median(r['us']):16.2f}{workers.median(r['cpu_us']):10.2f}" for r in rows)
                ratio = workers.median(rows[1]["cpu_us"]) / workers.median(rows[0]["cpu_us"])
                print(f"{batch:6d}{fraction:8.1%}{cells}{ratio:8.2f}", flush=True)
    workers.write_json(args.json, dict(machine=workers.machine(args.threads), wrong=wrong, results=results))
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
