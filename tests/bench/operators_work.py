"""One side of operators_peers.py: prints one JSON line. Imports brainsim or brainevent, whichever --side says.

Both sides make the same arrays from the same seed. A call takes one of two spike vectors by the parity of the step:
otherwise the compiler could move it out of the loop. Its result is added to the carry. The weights stay, as in a simulation.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import time

import jax
import jax.numpy as jnp
import numpy as np

N, FAN, BATCH = 4000, 80, 64
FRACTIONS = (0.0, 0.001, 0.01, 0.1)


def product(side):
    """f(spikes (N,) bool, weights (N * FAN,)) -> (N,): sums at the targets."""
    rng = np.random.default_rng(0)
    indices = jnp.asarray(np.sort(rng.integers(0, N, (N, FAN)), 1).ravel(), jnp.int32)
    indptr = jnp.arange(0, N * FAN + 1, FAN, dtype=jnp.int32)
    if side == "brainsim":
        from brainsim import ops

        return lambda s, w: ops.event_csr(s, w, indptr, indices, n_post=N)
    import brainevent

    template = brainevent.CSR((jnp.ones(N * FAN, jnp.float32), indices, indptr), shape=(N, N))
    return lambda s, w: brainevent.BinaryArray(s) @ template.with_data(w)


def inputs(fraction, batch):
    """Two spike arrays (2, N) and weights (N * FAN,), with a batch axis before the last if batch > 1."""
    rng = np.random.default_rng(1)
    lead = (batch,) if batch > 1 else ()
    return rng.random((2, *lead, N)) < fraction, rng.random((*lead, N * FAN)).astype(np.float32)


def measure(f, fraction, batch, calls, repeats):
    spikes, weights = map(jnp.asarray, inputs(fraction, batch))
    one = jax.vmap(f) if batch > 1 else f

    @jax.jit
    def loop(carry, spikes, weights):
        body = lambda i, c: one(spikes[i % 2], weights) + c * 0.5
        return jax.lax.fori_loop(0, calls, body, carry)

    carry = jnp.zeros((*weights.shape[:-1], N), jnp.float32)
    value = np.asarray(one(spikes[1], weights))
    jax.block_until_ready(loop(carry, spikes, weights))
    times, cpu = [], []
    for _ in range(repeats):
        start, start_cpu = time.perf_counter(), time.process_time()
        jax.block_until_ready(loop(carry, spikes, weights))
        times.append((time.perf_counter() - start) / calls * 1e6)
        cpu.append((time.process_time() - start_cpu) / calls * 1e6)
    return value, times, cpu


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--side", choices=("brainsim", "brainevent"), required=True)
    parser.add_argument("--calls", type=int, default=5000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--values", required=True, help="npz file that receives one result of every case")
    args = parser.parse_args()
    f, values, rows = product(args.side), {}, {}
    for batch in (1, BATCH):
        for fraction in FRACTIONS:
            calls = max(20, args.calls // batch)
            values[f"{batch}/{fraction}"], times, cpu = measure(f, fraction, batch, calls, args.repeats)
            rows[f"{batch}/{fraction}"] = dict(us=times, cpu_us=cpu)
    np.savez(args.values, **values)
    package = dict(brainsim="brainsim-jax").get(args.side, args.side)
    print(
        json.dumps(
            dict(simulator=args.side, version=importlib.metadata.version(package), jax=jax.__version__, rows=rows)
        )
    )


if __name__ == "__main__":
    main()
