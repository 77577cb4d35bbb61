"""The choice of a back end, and refusals of wrong arguments."""

import doctest

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brainsim import ops
from brainsim.ops import dispatch, native, operators, random


def program(graph, **options):
    send = jax.jit(lambda s: ops.event_csr(s, 1.0, graph.indptr, graph.indices, n_post=graph.n_post, **options))
    return send.lower(jnp.ones(graph.n_pre)).as_text()


def test_cpu_gets_native_and_the_variable_forces(graph, monkeypatch):
    monkeypatch.delenv("BRAINSIM_OPS", raising=False)
    assert "brainsim_scatter" in program(graph)
    monkeypatch.setenv("BRAINSIM_OPS", "xla")
    assert "brainsim_scatter" not in program(graph)
    assert "while" in program(graph)
    assert "brainsim_scatter" in program(graph, backend="native")
    monkeypatch.setenv("BRAINSIM_OPS", "reference")
    assert "while" not in program(graph)


def test_other_platforms_get_the_xla_form(graph, monkeypatch):
    monkeypatch.delenv("BRAINSIM_OPS", raising=False)
    send = jax.jit(lambda s: ops.event_csr(s, 1.0, graph.indptr, graph.indices, n_post=graph.n_post))
    traced = send.trace(jax.ShapeDtypeStruct((graph.n_pre,), jnp.float32))
    assert "brainsim_scatter" not in traced.lower(lowering_platforms=("cuda",)).as_text()
    with pytest.raises(RuntimeError, match="cpu only"):
        dispatch.resolve("native", "other")


@pytest.mark.parametrize("name", ["numba", "Native", "gpu"])
def test_unknown_names_are_refused(graph, monkeypatch, name):
    with pytest.raises(ValueError, match="names no back end"):
        program(graph, backend=name)
    monkeypatch.setenv("BRAINSIM_OPS", name)
    with pytest.raises(ValueError, match="BRAINSIM_OPS is"):
        program(graph)


def test_without_numba_one_warning_and_the_xla_form(graph, monkeypatch):
    monkeypatch.delenv("BRAINSIM_OPS", raising=False)
    monkeypatch.setattr(native, "why_not", lambda: "numba does not import; install it: pip install 'numba>=0.61'")
    dispatch._warn_slow.cache_clear()
    with pytest.warns(RuntimeWarning, match=r"slower.*pip install") as warned:
        assert "brainsim_scatter" not in program(graph)
        assert "while" in program(graph)
    assert len([w for w in warned if w.category is RuntimeWarning]) == 1
    assert ops.backends()["choice"] == {"cpu": "xla", "gpu": "pallas", "other": "xla"}
    with pytest.raises(RuntimeError, match="pip install"):
        program(graph, backend="native")


def test_backends_lists_every_operator():
    table = ops.backends()
    assert set(table) == {*dispatch.OPERATORS, "choice"}
    assert all(hasattr(ops, name) and set(table[name]) == set(dispatch.BACKENDS) for name in dispatch.OPERATORS)
    assert "numba" in table["event_csr"]["native"]


@pytest.mark.parametrize("module", [operators, random])
def test_examples_in_docstrings(module):
    done = doctest.testmod(module)
    assert done.attempted and not done.failed


def test_wrong_arguments_of_event_csr(graph):
    good = {
        "spikes": np.ones(graph.n_pre, bool),
        "weights": np.ones(graph.n_edges, np.float32),
        "indptr": graph.indptr,
        "indices": graph.indices,
        "n_post": graph.n_post,
    }
    wrong = [
        ({"spikes": np.ones(graph.n_pre + 1, bool)}, r"length 14, but indptr describes 13 rows"),
        ({"spikes": np.ones((2, graph.n_pre), bool)}, r"one axis; use jax.vmap"),
        ({"spikes": np.ones(graph.n_pre, np.int32)}, r"spikes has dtype int32"),
        ({"weights": np.ones(3, np.float32)}, r"there are 60 edges; pass a scalar of shape \(\)"),
        ({"weights": np.ones(1, np.float32)}, r"weights have shape \(1,\)"),
        ({"weights": np.ones(graph.n_edges, np.int32)}, r"weights have dtype int32"),
        ({"weights": np.ones(graph.n_edges, np.float16)}, r"bfloat16"),
        ({"weights": "heavy"}, r"weights have dtype"),
        ({"indptr": graph.indptr.astype(np.int64)}, r"indptr has dtype int64.*astype\('int32'\)"),
        ({"indptr": graph.indptr[:0]}, r"indptr is empty"),
        ({"indices": graph.indices.astype(np.uint32)}, r"indices has dtype uint32"),
        ({"n_post": -1}, r"n_post is -1"),
        ({"n_post": 2.5}, r"shapes are static"),
        ({"active": np.ones(3, bool)}, r"active has length 3"),
        ({"active": np.ones(graph.n_pre)}, r"active has dtype float64"),
    ]
    for change, message in wrong:
        with pytest.raises(ValueError, match=message):
            ops.event_csr(**{**good, **change})


def test_wrong_arguments_of_the_others(graph):
    ring, spikes = np.zeros((4, graph.n_post), np.float32), np.ones(graph.n_pre, np.float32)
    edges = (graph.indptr, graph.indices)
    good = {"ring": ring, "spikes": spikes, "weights": 1.0, "delays": graph.delays, "step": 0}
    good |= {"indptr": graph.indptr, "indices": graph.indices}
    wrong = [
        ({"ring": ring[0]}, "two axes"),
        ({"ring": ring[:0]}, "it needs a slot"),
        ({"ring": ring.astype(np.float16)}, "ring has dtype float16"),
        ({"spikes": spikes.astype(np.float64)}, "spikes has dtype|spikes are"),
        ({"delays": graph.delays[:-1]}, "delays have length 59"),
        ({"delays": graph.delays.astype(np.float32)}, "delays has dtype float32"),
        ({"step": 1.5}, "step has dtype"),
        ({"step": 2**31}, "it must fit int32"),
        ({"step": np.zeros(2, np.int32)}, "must have a scalar"),
    ]
    with jax.enable_x64(True):
        for change, message in wrong:
            with pytest.raises(ValueError, match=message):
                ops.ring_deliver(**{**good, **change})
        with pytest.raises(ValueError, match="weights are float64, but the values they meet are float32"):
            ops.gather_csr(ring[0], np.ones(graph.n_edges), *edges)
    with pytest.raises(ValueError, match=r"delays\[0\] = 9, but it is outside \[0, 4\)"):
        ops.pack_edges([0], [9], n_post=3, n_slots=4)
    with pytest.raises(ValueError, match="one delay belongs to each edge"):
        ops.pack_edges([0, 1], [0], n_post=3, n_slots=4)
    with pytest.raises(ValueError, match="passes int32"):
        ops.pack_edges([0], [0], n_post=2**20, n_slots=2**12)
