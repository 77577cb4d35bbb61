"""Microseconds per call of the operators inside a `fori_loop`, native against xla, and of the random numbers.

Run: python tests/bench/operators.py [--calls 5000] [--xla-calls 200]
N = 4000 neurons, 80 edges each, ring of 16 slots. The times include the turn of the loop and the choice of one of two
spike vectors, without which XLA would move work out of the loop (about 0.4 us together).
"""

import argparse
import functools
import time

import jax
import jax.numpy as jnp
import numpy as np

from brainsim import ops
from brainsim.ops import random

N, FAN, SLOTS = 4000, 80, 16


def microseconds(step, carry, calls, spikes=None):
    """Best of five runs of `calls` steps, in microseconds a step. `step(spikes, i, carry) -> carry`."""
    loop = jax.jit(
        lambda c, s: jax.lax.fori_loop(0, calls, lambda i, c: step(None if s is None else s[i % 2], i, c), c)
    )
    loop = functools.partial(loop, s=spikes)  # an argument: constants would be folded into the program
    jax.block_until_ready(loop(carry))
    best = np.inf
    for _ in range(5):
        start = time.perf_counter()
        jax.block_until_ready(loop(carry))
        best = min(best, time.perf_counter() - start)
    return best / calls * 1e6


def network(seed=0):
    rng = np.random.default_rng(seed)
    indices = jnp.asarray(rng.integers(0, N, N * FAN), jnp.int32)
    indptr = jnp.arange(0, N * FAN + 1, FAN, dtype=jnp.int32)
    weights = jnp.asarray(rng.random(N * FAN), jnp.float32)
    delays = rng.integers(1, SLOTS, N * FAN).astype(np.int32)
    return rng, indptr, indices, weights, delays


def cases(backend):
    """name -> (step of one spike vector, initial carry)."""
    _, indptr, indices, weights, delays = network()
    packed = jnp.asarray(ops.pack_edges(indices, delays, N, SLOTS))
    delays = jnp.asarray(delays)
    vector, ring = jnp.zeros(N), jnp.zeros((SLOTS, N))

    def csr(w, s, i, out):
        return ops.event_csr(s, w, indptr, indices, n_post=N, backend=backend) + out[0]

    def deliver(indices, delays, s, i, ring):
        return ops.ring_deliver(ring, s, weights, indptr, indices, delays, i, backend=backend)

    def gather(s, i, x):
        return ops.gather_csr(x, weights, indptr, indices, backend=backend) * 1e-3

    def outer(s, i, g):
        return ops.edge_outer(s, g[:N], indptr, indices, backend=backend)

    return {
        "event_csr": (functools.partial(csr, weights), vector),
        "event_csr, one weight": (functools.partial(csr, 0.5), vector),
        "ring_deliver": (functools.partial(deliver, indices, delays), ring),
        "ring_deliver, packed": (functools.partial(deliver, packed, None), ring),
        "gather_csr (dense)": (gather, vector + 1),
        "edge_outer": (outer, weights),
    }


def random_numbers(calls):
    """Microseconds for N numbers of every kind."""
    key, rate, rates = random.key_of(0, "bench"), 1.6, jnp.linspace(0.1, 3.0, N)
    draws = {
        "uniform": lambda i: random.uniform(key, i, N),
        "normal": lambda i: random.normal(key, i, N),
        "bernoulli": lambda i: random.bernoulli(key, i, 0.01, N),
        "poisson, one rate 1.6": lambda i: random.poisson(key, i, rate, N),
        "poisson, N rates to 3": lambda i: random.poisson(key, i, rates, N),
        "jax.random.normal": lambda i: jax.random.normal(jax.random.fold_in(jax.random.key(0), i), (N,)),
    }
    for name, draw in draws.items():
        time_us = microseconds(lambda _, i, total, draw=draw: total + draw(i).astype(jnp.float32), jnp.zeros(N), calls)
        print(f"{name:24s} {'':17s} {time_us:10.2f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=5000)
    parser.add_argument("--xla-calls", type=int, default=200)
    given = parser.parse_args()
    rng = np.random.default_rng(1)
    print(f"{'operator':24s} {'active':>8s} {'spikes':>8s} {'native us':>10s} {'xla us':>10s}")
    for name in cases("native"):
        for fraction in (0.0, 0.001, 0.01, 0.1):
            mask = rng.random((2, N)) < fraction
            for kind, spikes in (("bool", jnp.asarray(mask)), ("float32", jnp.asarray(mask, jnp.float32))):
                times = []
                for backend, calls in (("native", given.calls), ("xla", given.xla_calls)):
                    step, carry = cases(backend)[name]
                    calls = calls // 20 if "dense" in name else calls
                    times.append(microseconds(step, carry, calls, spikes))
                print(f"{name:24s} {fraction:8.1%} {kind:>8s} {times[0]:10.2f} {times[1]:10.1f}")
            if "dense" in name:
                break
    random_numbers(given.calls)


if __name__ == "__main__":
    main()
