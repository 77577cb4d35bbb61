"""Microseconds per call of the four ways to send spikes (csr, csc, dense, blocks), and the newer operators against xla.

Run: python tests/bench/event_forms.py [--cells 4000] [--xla]
The first table is the measurement behind `brainsim.ops.density_choice`: N cells, native form, one core, bool spikes,
float32 weights, inside a `fori_loop`. Blocks are 32 x 32; the network for blocks is clustered, with that fraction of
the blocks present and full, for in a random network every block has an edge.
"""

import argparse
import time

import jax
import jax.numpy as jnp
import numpy as np

from brainsim import ops
from brainsim.ops.block_sparse import event_blocks
from brainsim.ops.csc import event_csc
from brainsim.ops.dense import event_dense
from brainsim.ops.plastic import transpose_index, update_columns, update_rows
from brainsim.ops.window import window_gather

BLOCK = 32


def microseconds(step, carry, spikes, topology, target=0.02):
    """Best of several runs, each long enough to be timed, in microseconds a step."""

    def run(calls, carry, spikes, topology):
        return jax.lax.fori_loop(0, calls, lambda i, c: step(spikes[i % 2], c, *topology), carry)

    loop, calls = jax.jit(run), 1
    jax.block_until_ready(loop(calls, carry, spikes, topology))
    best = np.inf
    for _ in range(12):
        start = time.perf_counter()
        jax.block_until_ready(loop(calls, carry, spikes, topology))
        spent = time.perf_counter() - start
        best = min(best, spent / calls)
        calls = max(1, min(5000, int(target / best)))
    return best * 1e6


def random_rows(rng, n, density):
    """(indptr, indices) of n rows with the same number of targets each."""
    fan = round(n * density)
    rows = np.sort(rng.permuted(np.tile(np.arange(n, dtype=np.int32), (n, 1)), axis=1)[:, :fan], axis=1)
    return np.arange(n + 1, dtype=np.int32) * np.int32(fan), rows.reshape(-1)


def clustered(rng, n, density):
    """Full blocks in that fraction of the places; those at the end may stick out."""
    count = -(-n // BLOCK)
    present = rng.random((count, count)) < density
    indptr = np.concatenate([[0], np.cumsum(present.sum(1))]).astype(np.int32)
    columns = np.nonzero(present)[1].astype(np.int32)
    return jnp.asarray(rng.random((len(columns), BLOCK, BLOCK)), jnp.float32), jnp.asarray(indptr), jnp.asarray(columns)


def forms(rng, n, density, backend):
    """name -> (step of a loop, its arrays)."""
    indptr, indices = random_rows(rng, n, density)
    columns, rows, _ = transpose_index(indptr, indices, n)
    weights = jnp.asarray(rng.random(len(indices)), jnp.float32)
    csr = tuple(map(jnp.asarray, (weights, indptr, indices)))
    csc = tuple(map(jnp.asarray, (weights, columns, rows)))
    kind = dict(backend=backend)
    return {
        "csr": (lambda s, c, w, p, i: ops.event_csr(s, w, p, i, n_post=n, **kind) + c[0], csr),
        "csc": (lambda s, c, w, p, i: event_csc(s, w, p, i, **kind) + c[0], csc),
        "dense": (
            lambda s, c, w: event_dense(s, w, **kind) + c[0],
            (jnp.asarray(rng.random((n, n)), jnp.float32),),
        ),
        "blocks": (
            lambda s, c, w, p, i: event_blocks(s, w, p, i, n_post=n, **kind) + c[0],
            clustered(rng, n, density),
        ),
    }


def table(n, backend, densities=(0.02, 0.2, 1.0), activities=(0.001, 0.01, 0.1)):
    print(f"{n} cells, {backend}, microseconds\n{'density':>8s} {'active':>8s}", end="")
    print("".join(f"{name:>10s}" for name in ("csr", "csc", "dense", "blocks")))
    rng = np.random.default_rng(0)
    for density in densities:
        made = forms(rng, n, density, backend)
        for activity in activities:
            spikes = jnp.asarray(rng.random((2, n)) < activity)
            times = [microseconds(step, jnp.zeros(n), spikes, given) for step, given in made.values()]
            print(f"{density:8.0%} {activity:8.1%}" + "".join(f"{t:10.1f}" for t in times), flush=True)


def plastic_and_windows(n, backend):
    rng = np.random.default_rng(1)
    indptr, indices = random_rows(rng, n, 0.02)
    index = tuple(map(jnp.asarray, transpose_index(indptr, indices, n)))
    weights, values = jnp.asarray(rng.random(len(indices)), jnp.float32), jnp.asarray(rng.random(n), jnp.float32)
    rows = (values, jnp.asarray(indptr), jnp.asarray(indices))
    bounds = dict(low=0.0, high=1.0, backend=backend)
    for activity in (0.001, 0.01, 0.1):
        spikes = jnp.asarray(rng.random((2, n)) < activity)
        by_rows = microseconds(lambda s, w, *a: update_rows(w, s, *a, **bounds), weights, spikes, rows)
        by_columns = microseconds(
            lambda s, w, x, *a: update_columns(w, s, x, *a, **bounds), weights, spikes, (values, *index)
        )
        print(f"{backend} {activity:.1%}: update_rows {by_rows:.1f} us, update_columns {by_columns:.1f} us", flush=True)
    for regions, block, longest, density in ((84, 29, 561, 1.0), (370, 23, 561, 0.385)):
        indptr, sources = random_rows(rng, regions, density)
        delays = -rng.integers(block, longest + 1, len(sources)).astype(np.int32)
        history = jnp.asarray(rng.random((regions, (longest // block + 1) * block)), jnp.float32)
        weights = jnp.asarray(rng.random(len(sources)) / len(sources), jnp.float32)
        given = (history, weights, *map(jnp.asarray, (indptr, sources, delays)))

        def window(start, carry, *given, block=block):
            return window_gather(*given, start + carry[0, 0].astype(jnp.int32), block=block, backend=backend)

        spent = microseconds(window, jnp.zeros((block, regions)), jnp.array([0, 311], jnp.int32), given)
        each = spent * 1e3 / len(sources) / block
        print(
            f"{backend} window_gather, {regions} regions: {spent:.1f} us, {each:.3f} ns per edge and step", flush=True
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=4000)
    parser.add_argument("--xla", action="store_true", help="the xla forms instead")
    given = parser.parse_args()
    backend = "xla" if given.xla else "native"
    plastic_and_windows(given.cells, backend)
    table(given.cells, backend)


if __name__ == "__main__":
    main()
