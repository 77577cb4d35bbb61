"""The operators on a GPU: their tests, then microseconds a call and bytes a second, pallas against xla.

Run on a machine with a GPU: python tests/bench/gpu.py [--sizes 4e3 4e4 4e5 4e6] [--no-tests]
80 edges a row, 1 % of the rows spike, ring of 16 slots, float32. Times are medians of five loops on the device and
include the turn of the loop and the choice of one of two spike vectors. Bytes are those that must move (spikes,
indices, weights, targets read and written), so that the rate can be held against that of a plain copy.

Without a GPU: python tests/bench/gpu.py --compile compiles every kernel to machine code for a described one, which
needs the CUDA plugin of jax (pip install "brainsim-jax[cuda12]") but neither a GPU nor its driver.
"""

import argparse
import functools
import os
import subprocess
import sys
import time
from pathlib import Path

FAN, SLOTS, ACTIVE = 80, 16, 0.01
ROOT = Path(__file__).resolve().parents[2]
BATTERY = ("test_values", "test_derivatives", "test_batching", "test_pallas", "test_random")
# An H100 as XLA needs to know it (stream_executor.GpuTargetConfigProto).
H100 = """
gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32 shared_memory_per_block: 49152 shared_memory_per_core: 233472
  threads_per_core_limit: 2048 core_count: 132 fpus_per_core: 128 block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535 block_dim_limit_z: 65535 memory_bandwidth: 3350000000000 l2_cache_size: 52428800
  clock_rate_ghz: 1.98 device_memory_size: 80000000000 shared_memory_per_block_optin: 232448
  cuda_compute_capability { major: 9 } registers_per_core_limit: 65536 registers_per_block_limit: 65536
}
platform_name: "CUDA" dnn_version_info { major: 9 minor: 10 patch: 0 } device_description_str: "H100"
"""


def network(n):
    """(indptr, indices, the same packed with delays, weights, two spike vectors); never constants of a program."""
    import jax
    import jax.numpy as jnp

    keys = jax.random.split(jax.random.key(0), 3)
    indices = jax.random.randint(keys[0], (n * FAN,), 0, n, jnp.int32)
    weights = jax.random.uniform(keys[1], (n * FAN,))
    spikes = (jax.random.uniform(keys[2], (2, n)) < ACTIVE).astype(jnp.float32)
    packed = indices + jnp.arange(n * FAN, dtype=jnp.int32) % SLOTS * n
    return jnp.arange(0, n * FAN + 1, FAN, dtype=jnp.int32), indices, packed, weights, spikes


def cases(n, backend):
    """name -> (step(carry, spikes, weights, indptr, indices, packed, i), first carry, bytes that one call must move)."""
    import jax.numpy as jnp

    from brainsim import ops

    edges, events = n * FAN, int(n * FAN * ACTIVE)

    def csr(out, s, w, indptr, indices, packed, i):
        return ops.event_csr(s, w, indptr, indices, n_post=n, backend=backend) + out[0] * 0

    def deliver(ring, s, w, indptr, indices, packed, i):
        return ops.ring_deliver(ring, s, w, indptr, packed, None, i, backend=backend)

    def gather(x, s, w, indptr, indices, packed, i):
        return ops.gather_csr(x, w, indptr, indices, backend=backend) * 0.025

    def outer(g, s, w, indptr, indices, packed, i):
        return ops.edge_outer(s + g[0] * 0, w[:n], indptr, indices, backend=backend)

    return {
        "event_csr": (csr, jnp.zeros(n), 4 * n + 4 * n + 16 * events),
        "ring_deliver, packed": (deliver, jnp.zeros((SLOTS, n)), 4 * n + 16 * events),
        "gather_csr": (gather, jnp.ones(n), 12 * edges + 8 * n),
        "edge_outer": (outer, jnp.zeros(edges), 4 * n + 4 * edges + 12 * events),
    }


def looped(step, calls):
    import jax

    def run(carry, spikes, *graph):
        return jax.lax.fori_loop(0, calls, lambda i, c: step(c, spikes[i % 2], *graph, i), carry)

    return jax.jit(run)


def median_time(run, *operands):
    """Seconds of a call; the first, which compiles, is not counted."""
    import jax

    jax.block_until_ready(run(*operands))
    times = []
    for _ in range(5):
        start = time.perf_counter()
        jax.block_until_ready(run(*operands))
        times.append(time.perf_counter() - start)
    return sorted(times)[2]


def microseconds(step, carry, spikes, graph):
    """Of one call, in a loop long enough for a tenth of a second."""
    once = median_time(looped(step, 4), carry, spikes, *graph) / 4
    calls = int(min(max(0.1 / once, 4), 5000))
    return median_time(looped(step, calls), carry, spikes, *graph) / calls * 1e6


def bandwidth():
    """Bytes a second of a plain elementwise pass over 1 GiB."""
    import jax
    import jax.numpy as jnp

    return 2**31 / median_time(jax.jit(lambda x: x + 1), jnp.zeros(2**28))


def measure(sizes):
    import numpy as np

    print(f"a pass over 1 GiB: {bandwidth() / 1e9:.0f} GB/s\n")
    print(f"{'operator':24s} {'N':>9s} {'pallas us':>11s} {'GB/s':>8s} {'xla us':>11s} {'xla/pallas':>11s}")
    for n in sizes:
        *edges, weights, spikes = network(n)
        graph = (weights, *edges)
        ours, theirs = cases(n, "pallas"), cases(n, "xla")
        for name, (step, carry, size) in ours.items():
            both = [looped(f, 2)(carry, spikes, *graph) for f in (step, theirs[name][0])]
            np.testing.assert_allclose(*both, rtol=1e-4, atol=1e-4)
            us = microseconds(step, carry, spikes, graph)
            other = microseconds(theirs[name][0], carry, spikes, graph)
            print(f"{name:24s} {n:9d} {us:11.1f} {size / us / 1e3:8.1f} {other:11.1f} {other / us:11.1f}", flush=True)


def compile_only(sizes):
    """Every case through XLA, Triton and ptxas for an H100; prints seconds and launches of one call."""
    import jax
    from jax.experimental import topologies
    from jax.sharding import SingleDeviceSharding

    described = topologies.get_topology_desc("", platform="cuda", topology="1x1x1", target_config=H100)
    place = SingleDeviceSharding(described.devices[0])
    with jax.default_device(jax.devices("cpu")[0]):
        for n in sizes:
            *edges, weights, spikes = jax.eval_shape(functools.partial(network, n))
            for backend in ("pallas", "pallas_deterministic"):
                for name in cases(1, backend):
                    step, carry, _ = _abstract(n, backend, name)
                    operands = (carry, jax.ShapeDtypeStruct((n,), spikes.dtype), weights, *edges)
                    operands = [jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=place) for a in operands]
                    start = time.perf_counter()
                    made = jax.jit(lambda *a, f=step: f(*a, 3), out_shardings=place).lower(*operands).compile()
                    launches = made.as_text().count("xla.gpu.triton")
                    print(f"{name:24s} {backend:20s} {n:9d} {time.perf_counter() - start:6.1f} s, {launches} kernels")


def _abstract(n, backend, name):
    """A case with shapes in place of its arrays."""
    import jax

    kept = {}

    def build():
        step, carry, size = cases(n, backend)[name]
        kept.update(step=step, size=size)
        return carry

    carry = jax.eval_shape(build)
    return kept["step"], carry, kept["size"]


def test():
    """The battery of the operators on the GPU, with its interpreted parts compiled."""
    environment = {k: v for k, v in os.environ.items() if k != "BRAINSIM_OPS"} | {"JAX_PLATFORMS": "cuda,cpu"}
    files = [str(ROOT / "tests" / "ops" / f"{name}.py") for name in BATTERY]
    # the patterns force the native form, which runs on the CPU only
    choice = ["-k", "not test_spike_patterns", "-p", "no:cacheprovider"]
    return subprocess.run([sys.executable, "-m", "pytest", "-q", *files, *choice], env=environment, cwd=ROOT).returncode


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", type=float, default=[4e3, 4e4, 4e5, 4e6])
    parser.add_argument("--no-tests", action="store_true")
    parser.add_argument("--compile", action="store_true", help="compile for a described GPU, without one")
    given = parser.parse_args()
    sizes = [int(n) for n in given.sizes]
    if given.compile:
        os.environ |= {"JAX_PLATFORMS": "cuda,cpu", "JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1"}
        return compile_only(sizes)
    import jax

    if jax.default_backend() != "gpu":
        sys.exit(
            f"This measures a GPU, but jax {jax.__version__} runs on {jax.default_backend()} here. Run it on a machine "
            'with one, with pip install "brainsim-jax[cuda12]"; --compile needs no GPU.'
        )
    device = jax.devices()[0]
    print(f"jax {jax.__version__}, {device.device_kind}, compute capability {device.compute_capability}", flush=True)
    failed = 0 if given.no_tests else test()
    measure(sizes)
    return failed


if __name__ == "__main__":
    sys.exit(main())
