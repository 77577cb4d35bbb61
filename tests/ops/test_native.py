"""What only the native form promises: in place, loud, equal bits, compiled once, imported late."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brainsim import ops
from brainsim.ops import native


def run(code, **environment):
    """Standard output of a fresh interpreter."""
    import os

    done = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_ring_is_updated_in_place_inside_a_scan(graph):
    """The compiled loop holds no copy of the ring, and its input and output are one buffer."""
    ring = jnp.zeros((graph.n_slots, graph.n_post))

    def step(ring, n):
        edges = (graph.indptr, graph.indices, graph.delays)
        return ops.ring_deliver(ring, spikes, 1.0, *edges, n, backend="native"), None

    spikes, steps = jnp.ones(graph.n_pre, bool), jnp.arange(50, dtype=jnp.int32)
    loop = jax.jit(lambda ring: jax.lax.scan(step, ring, steps)[0])
    computations = loop.lower(ring).compile().as_text().split("\n\n")
    (body,) = [c for c in computations if "brainsim_deliver" in c and "custom-call(" in c]
    assert "output_to_operand_aliasing" in body and "ENTRY" not in body
    shape = f"f32[{graph.n_slots},{graph.n_post}]"
    assert shape in body
    assert not [line for line in body.splitlines() if " copy(" in line and shape in line]
    assert float(loop(ring).sum()) == 50 * graph.n_edges
    assert float(ring.sum()) == 0  # the caller's array was not donated, so it must not change


def test_donated_ring_keeps_its_memory(graph):
    deliver = jax.jit(
        lambda ring, s: ops.ring_deliver(ring, s, 1.0, graph.indptr, graph.indices, graph.delays, 0, backend="native"),
        donate_argnums=0,
    )
    ring = jnp.zeros((graph.n_slots, graph.n_post))
    address = ring.unsafe_buffer_pointer()
    assert deliver(ring, jnp.ones(graph.n_pre)).unsafe_buffer_pointer() == address


@pytest.mark.parametrize("backend", ["native", "xla"])
def test_same_inputs_same_bits_and_one_trace(graph, backend):
    traces = []

    @jax.jit
    def send(spikes, weights):
        traces.append(1)
        return ops.event_csr(spikes, weights, graph.indptr, graph.indices, n_post=graph.n_post, backend=backend)

    spikes, weights = graph.spikes(graph.n_pre, dtype=np.float32), graph.floats(graph.n_edges, dtype=np.float32)
    first, second = np.asarray(send(spikes, weights)), np.asarray(send(spikes, weights))
    assert first.tobytes() == second.tobytes()
    assert len(traces) == 1


@pytest.mark.parametrize("bad", ["index", "negative", "row"])
def test_edges_outside_are_an_error_not_a_write(graph, bad):
    indptr, indices = graph.indptr.copy(), graph.indices.copy()
    if bad == "row":
        indptr[-1] = graph.n_edges + 1
    else:
        indices[5] = graph.n_post if bad == "index" else -1
    spikes, x = np.ones(graph.n_pre, bool), np.ones(graph.n_post, np.float32)
    ring, delays = np.zeros((2, graph.n_post), np.float32), np.zeros_like(indices)
    calls = (
        lambda: ops.event_csr(spikes, 1.0, indptr, indices, n_post=graph.n_post, backend="native"),
        lambda: ops.ring_deliver(ring, spikes, 1.0, indptr, indices, delays, 0, backend="native"),
        lambda: ops.gather_csr(x, 1.0, indptr, indices, backend="native"),
        lambda: ops.edge_outer(spikes, x, indptr, indices, backend="native"),
    )
    for call in calls:
        with pytest.raises((ValueError, jax.errors.JaxRuntimeError), match="an edge points outside"):
            jax.block_until_ready(call())


def test_too_many_batch_axes_are_refused(graph):
    def f(s):
        return ops.event_csr(s, 1.0, graph.indptr, graph.indices, n_post=graph.n_post, backend="native")

    for _ in range(9):
        f = jax.vmap(f)
    with pytest.raises((ValueError, jax.errors.JaxRuntimeError), match="at most 8 batch axes"):
        jax.block_until_ready(f(jnp.ones((1,) * 9 + (graph.n_pre,))))


def test_denormals_are_flushed(graph):
    """A product below the smallest normal float32 is zero: the sum of decayed values never slows down."""
    x = jnp.full(graph.n_post, 1e-30, jnp.float32)
    y = jax.jit(lambda x: ops.gather_csr(x, np.float32(1e-10), graph.indptr, graph.indices, backend="native"))(x)
    assert not np.any(np.asarray(y).view(np.uint32))


def test_import_is_light():
    """No numba, no backend, before the first native call."""
    code = (
        "import sys, brainsim.ops\n"
        "from jax._src import xla_bridge\n"
        "print('numba' in sys.modules, bool(xla_bridge._backends))"
    )
    assert run(code) == "False False"


def test_second_process_loads_the_compiled_handler(tmp_path):
    code = (
        "from brainsim.ops import native\n"
        "native.target('kernels', 'scatter', ('bool', 'float32', 'float32'))\n"
        "print(list(native._HANDLERS.values())[0].cache_hits)"
    )
    assert [run(code, NUMBA_CACHE_DIR=str(tmp_path)) for _ in range(2)] == ["0", "1"]


def test_every_file_of_a_handler_retires_its_compiled_code():
    """numba's own stamp sees the file of the handler alone."""
    made_of = {"window_kernels", "kernel_frame", "kernel_vectors", "call_frame", "parallel"}
    assert native._sources("window_kernels") == made_of
    assert native._sources("random_kernels") >= {"random_lanes", "normal_table", "poisson_table", "threefry"}
