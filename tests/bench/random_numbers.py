"""Nanoseconds per random number inside a compiled loop: brainsim.ops.random against jax.random (Threefry, its default).

Every draw is made anew in each iteration of a fori_loop and replaces the carry. Median and minimum of short repeats.
`python tests/bench/random_numbers.py`; for one core, prefix with `NPROC=1 taskset -c 0`.
"""

import argparse
import importlib.metadata
import platform
import statistics
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from brainsim.ops import random

KEY = random.key_of(0, "bench")


def ours(n):
    rates = np.linspace(0.5, 2.1, n).astype(np.float32)
    return {
        "uniform": lambda i: random.uniform(KEY, i, n),
        "normal": lambda i: random.normal(KEY, i, n),
        "Poisson 1.3": lambda i: random.poisson(KEY, i, 1.3, n),
        "Poisson 0.01": lambda i: random.poisson(KEY, i, 0.01, n),
        "Poisson 0.5-2.1": lambda i: random.poisson(KEY, i, rates, n),
        "Poisson 300": lambda i: random.poisson(KEY, i, 300.0, n),
    }


def theirs(n):
    key = jax.random.key(0, impl="threefry2x32")
    rates = jnp.linspace(0.5, 2.1, n)
    at = lambda i: jax.random.fold_in(key, i)
    return {
        "uniform": lambda i: jax.random.uniform(at(i), (n,)),
        "normal": lambda i: jax.random.normal(at(i), (n,)),
        "Poisson 1.3": lambda i: jax.random.poisson(at(i), 1.3, (n,)),
        "Poisson 0.01": lambda i: jax.random.poisson(at(i), 0.01, (n,)),
        "Poisson 0.5-2.1": lambda i: jax.random.poisson(at(i), rates),
        "Poisson 300": lambda i: jax.random.poisson(at(i), 300.0, (n,)),
    }


def loop(draw):
    """Compiled loop over the steps first ... first + steps - 1; the carry is the last draw."""

    def run(first, steps, start):
        return jax.lax.fori_loop(first, first + steps, lambda i, _: draw(i), start)

    return jax.jit(run)


def ns_per_number(draw, n, seconds, repeats):
    """(median, minimum) over repeats."""
    run, start = loop(draw), jnp.zeros(n, jax.eval_shape(draw, 0).dtype)
    jax.block_until_ready(run(0, 2, start))
    began = time.perf_counter()
    jax.block_until_ready(run(0, 5, start))
    steps = max(3, int(seconds / max((time.perf_counter() - began) / 5, 1e-7)))
    times = []
    for repeat in range(repeats):
        began = time.perf_counter()
        jax.block_until_ready(run(repeat * steps, steps, start))
        times.append((time.perf_counter() - began) / steps / n * 1e9)
    return statistics.median(times), min(times)


def machine():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    versions = [f"{name} {importlib.metadata.version(name)}" for name in ("brainsim-jax", "jax", "jaxlib", "numba")]
    return f"{model}; Python {platform.python_version()}; {', '.join(versions)}; {jax.default_backend()}"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=0.004, help="of one repeat: short, for a busy machine")
    parser.add_argument("--repeats", type=int, default=41)
    parser.add_argument("--n", type=int, nargs="+", default=[4000, 77_169])
    given = parser.parse_args()
    print(machine())
    print(f"{'ns per number':16s} {'n':>7s} {'brainsim':>9s} {'(best)':>8s} {'jax':>9s} {'(best)':>8s} {'ratio':>7s}")
    for n in given.n:
        own, other = ours(n), theirs(n)
        for name in own:
            a, best_a = ns_per_number(own[name], n, given.seconds, given.repeats)
            b, best_b = ns_per_number(other[name], n, given.seconds, given.repeats)
            print(f"{name:16s} {n:7d} {a:9.3f} {best_a:8.3f} {b:9.2f} {best_b:8.2f} {b / a:7.1f}", flush=True)


if __name__ == "__main__":
    main()
