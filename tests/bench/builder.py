"""Seconds and memory to draw networks: single projections, and the full-size microcircuit with weights and delays.

    python tests/bench/builder.py [--edges 1e6 1e7 1e8] [--rules ...] [--no-microcircuit]

Every case runs in a fresh interpreter. Wall and CPU seconds are those of drawing alone, without imports; the peak is what
the resident memory grew by since the imports, also per edge. The microcircuit (77,169 cells, 298,880,968 synapses, 55
projections) is drawn by `Network.connect` and then packed for delivery: one row per source over all projections, target
and delay in one int32 word, and a float32 weight beside it. NPROC sets the number of threads.
"""

import argparse
import os
import platform
import resource
import subprocess
import sys
import time

import numpy as np

import brainsim as bs
from brainsim.connectivity import fixed_indegree, fixed_probability, fixed_total_number
from brainsim.distributions import generator
from brainsim.drawing import for_chunks, values_range
from brainsim.edges import merge_rows
from brainsim.models.circuits.microcircuit import microcircuit
from brainsim.threads import cores

CELLS = {10**6: 10_000, 10**7: 31_623, 10**8: 100_000}  # on each side: about 100 to 1000 edges per cell
RULES = {
    "fixed_probability": lambda n, edges: fixed_probability(edges / n**2),
    "fixed_indegree": lambda n, edges: fixed_indegree(round(edges / n)),
    "fixed_total_number": lambda n, edges: fixed_total_number(edges),
    "fixed_indegree without multapses": lambda n, edges: fixed_indegree(round(edges / n), multapses=False),
    "fixed_total_number without multapses": lambda n, edges: fixed_total_number(edges, multapses=False),
}
DT = 0.1  # ms


def projection(rule: str, edges: int) -> int:
    n = CELLS.get(edges, max(1, round(edges**0.5 / 0.1)))
    return len(RULES[rule](n, edges).edges(n, n, generator(0, rule)))


def pack(net):
    """Row pointers, words delay * n_receive + target, and weights of all projections, sorted by source."""
    cells = [p.n for p in net.populations.values()]
    start = dict(zip(net.populations, np.cumsum([0, *cells]).tolist()))
    made = list(net.projections.values())
    n, n_edges = sum(cells), sum(p.n_edges for p in made)
    indptr, shifts = merge_rows([(p.edges, start[p.pre.name]) for p in made], n)
    words, weights = np.empty(n_edges, np.int32), np.empty(n_edges, np.float32)
    for p, shift in zip(made, shifts):
        offset = np.int32(start[p.post.name])

        def fill(lo, hi, p=p, shift=shift, offset=offset):
            at = p.edges.places(lo, hi, shift)
            words[at] = p.delay_steps_range(lo, hi, DT) * np.int32(n) + p.edges.post[lo:hi] + offset
            weights[at] = values_range(p.weight_values, lo, hi)

        for_chunks(fill, p.n_edges)
    return indptr, words, weights


def check(net, indptr, words, weights):
    """First and last row of every population against the projections."""
    cells = [p.n for p in net.populations.values()]
    start = dict(zip(net.populations, np.cumsum([0, *cells]).tolist()))
    for name, p in net.populations.items():
        for row in (0, p.n - 1):
            lo, hi = indptr[start[name] + row : start[name] + row + 2]
            expected = [np.empty((2, 0))]
            for q in (q for q in net.projections.values() if q.pre is p):
                a, b = q.edges.indptr[row : row + 2]
                word = q.delay_steps_range(a, b, DT) * sum(cells) + q.edges.post[a:b] + start[q.post.name]
                expected.append(np.stack([word, values_range(q.weight_values, a, b)]))
            np.testing.assert_array_equal([words[lo:hi], weights[lo:hi]], np.concatenate(expected, axis=1))


def peak() -> float:
    """MB of resident memory at most so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)


class Stage:
    """Prints what a part of the work took."""

    def __init__(self, name):
        self.name, self.edges = name, 0

    def __enter__(self):
        self.begun = time.perf_counter(), time.process_time(), peak()
        return self

    def __exit__(self, *_):
        wall, cpu, more = (
            now - then for now, then in zip((time.perf_counter(), time.process_time(), peak()), self.begun)
        )
        print(f"{self.name:<40}{self.edges:>13,}{wall:>9.2f}{cpu:>9.2f}{more:>10.0f}{more * 2**20 / self.edges:>8.1f}")


def case(what: str, edges: int) -> None:
    if what != "microcircuit":
        with Stage(what) as stage:
            stage.edges = projection(what, edges)
        return
    with Stage("microcircuit: all") as whole:
        with Stage("microcircuit: connect") as stage:
            net = microcircuit()
            stage.edges = whole.edges = sum(p.n_edges for p in net.projections.values())
        with Stage("microcircuit: longest delay") as stage:
            longest, stage.edges = max(p.delay_steps_extent(DT)[1] for p in net.projections.values()), whole.edges
        with Stage("microcircuit: pack") as stage:
            packed, stage.edges = pack(net), whole.edges
    check(net, *packed)
    print(f"{longest} steps of {DT} ms at most; mean weight of all {packed[2].mean(dtype=float):.3f} pA")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--edges", type=float, nargs="*", default=list(CELLS))
    parser.add_argument("--rules", nargs="*", choices=list(RULES), default=list(RULES))
    parser.add_argument("--no-microcircuit", action="store_true")
    parser.add_argument("--case", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        case(options.case[0], int(options.case[1]))
        return
    print(f"brainsim {bs.__version__}, numpy {np.__version__}, Python {platform.python_version()}")
    print(f"{platform.machine()}, {platform.system()}, {os.cpu_count()} cores, {cores()} threads")
    print(f"{'':<40}{'edges':>13}{'wall s':>9}{'CPU s':>9}{'peak MB':>10}{'B/edge':>8}", flush=True)
    cases = [(rule, int(edges)) for rule in options.rules for edges in options.edges]
    for what, edges in cases + [("microcircuit", 0)] * (not options.no_microcircuit):
        subprocess.run([sys.executable, __file__, "--case", what, str(edges)], check=True)


if __name__ == "__main__":
    main()
