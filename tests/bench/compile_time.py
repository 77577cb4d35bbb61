"""Compile time and program size against the number of edges.

    python tests/bench/compile_time.py [--edges 10000 10000000] [--repeats 5]

The edges are arguments of the program, so the compiled text must be the same up to the shapes. Prints for each number of
edges the characters of the lowered and of the compiled program, whether they are equal up to shapes, the seconds to trace
and to compile (median of the repeats, caches cleared between them), and their ratio to the first.
"""

import argparse
import platform
import re
import statistics
import time

import jax
import numpy as np

import brainsim as bs
from brainsim.feeds import drives_of
from brainsim.models import LIF, ExpCurrent

CELLS = 9_973  # no number of edges looks like it


def simulation(n_edges, per_edge_delays=True):
    """A network of LIF cells with so many edges; weights and delays one per edge."""
    rng = np.random.default_rng(0)
    net = bs.Network(seed=0)
    net.add("cells", LIF(), CELLS)
    pre, post = rng.integers(0, CELLS, n_edges), rng.integers(0, CELLS, n_edges)
    delay = rng.integers(1, 15, n_edges) * 0.1 if per_edge_delays else 1.5
    edges = bs.from_edges(pre, post)
    net.connect("cells", "cells", ExpCurrent(), edges, weight=rng.normal(1.0, 0.1, n_edges), delay=delay)
    return net.compile(dt=0.1, record=["cells.spikes"])


def arguments(sim):
    ready = sim._prepare(sim.topology, sim.params)
    drives = drives_of(sim.program, sim.feeds, {}, sim.params, 0, 1)
    state = sim._start(sim.params, drives)
    return sim.topology, ready, state, drives, np.zeros(2, np.uint32), sim.chunk.buffers(), np.int32(1), np.int32(0)


def without_shapes(text, n_edges):
    """Program text with the number of edges replaced; nothing else may differ."""
    return re.sub(rf"(?<!\d){n_edges}(?!\d)", "EDGES", text)


def measure(n_edges, repeats):
    sim = simulation(n_edges)
    args = arguments(sim)
    traced, compiled = [], []
    for _ in range(repeats):
        jax.clear_caches()
        begun = time.perf_counter()
        lowered = sim.chunk.run.lower(*args)
        traced.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        program = lowered.compile()
        compiled.append(time.perf_counter() - begun)
    text = without_shapes(lowered.as_text(), n_edges), without_shapes(program.as_text(), n_edges)
    return text, statistics.median(traced), statistics.median(compiled)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--edges", type=int, nargs="+", default=[10_000, 10_000_000])
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    print(f"jax {jax.__version__}, {platform.machine()}, {CELLS} cells, weights and delays per edge")
    first = None
    for n in options.edges:
        text, traced, compiled = measure(n, options.repeats)
        first = first or (text, traced + compiled)
        equal = "equal up to shapes" if text[0] == first[0][0] else "DIFFERENT"
        optimised = "equal up to shapes" if text[1] == first[0][1] else "differs in layout details"
        print(
            f"{n:>10} edges: lowered {len(text[0])} characters ({equal}), compiled {len(text[1])} ({optimised}), "
            f"trace {traced:.2f} s, compile {compiled:.2f} s, ratio {(traced + compiled) / first[1]:.2f}"
        )


if __name__ == "__main__":
    main()
