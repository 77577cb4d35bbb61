"""The GPU kernels against plain NumPy and the XLA form, interpreted on the CPU; and lowered, not run, for a GPU."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brainsim import ops
from brainsim.ops import dispatch, pallas_atomic, pallas_forms, pallas_plan, pallas_worklist, xla

EMPTY = jnp.zeros((0,), bool)


@pytest.fixture
def interpret():
    """On a GPU the same tests run the kernels themselves."""
    return jax.default_backend() == "cpu"


@pytest.fixture(params=[False, True], ids=["atomic", "deterministic"])
def kind(request, interpret):
    return {"interpret": interpret, "deterministic": request.param}


@functools.cache
def compiled(name, **static):
    return jax.jit(functools.partial(getattr(pallas_forms, name), **static))


def loops(s, w, indptr, indices, delays, step, shape):
    """The sum that `scatter` is, in plain Python."""
    out = np.zeros(shape)
    for row in np.flatnonzero(s):
        for e in range(indptr[row], indptr[row + 1]):
            out[(step + delays[e]) % shape[0], indices[e]] += float(s[row]) * float(w[e % len(w)])
    return out


@pytest.mark.parametrize("n", [1, 100, 20000])
def test_compact(n, interpret):
    """Also over more than one block, in order, empty, and with too many for the list."""
    capacity = n // 3 + 1
    mark = jax.jit(lambda mask: pallas_worklist.compact(mask, capacity, interpret=interpret))
    for fraction in (0.0, 0.25, 1.0):
        mask = np.random.default_rng(n).random(n) < fraction
        found, count, overflow = mark(mask)
        inside = np.flatnonzero(mask)[:capacity]
        np.testing.assert_array_equal(found[: len(inside)], inside)
        assert np.all(found[len(inside) :] == n)
        assert count == mask.sum() and overflow == (mask.sum() > capacity)


def test_work_list_cuts_long_rows_into_tiles(interpret):
    """Every edge of a spiking row is in exactly one entry; rows of 0, 1, and many tiles; more rows than one block."""
    rng = np.random.default_rng(0)
    fan = rng.integers(0, 3, 9000)
    fan[[5, 8999]] = 1000, 77
    indptr = np.concatenate([[0], np.cumsum(fan)]).astype(np.int32)
    spikes = rng.random(9000) < 0.2
    spikes[[5, 8999]] = True
    operands = {"s": jnp.asarray(spikes), "indptr": jnp.asarray(indptr), "indices": jnp.zeros(indptr[-1], jnp.int32)}
    plan, refs = pallas_plan.plan_of((), 1, 1, operands, interpret)
    work = jax.jit(lambda refs: pallas_worklist.work_list(refs, plan))(refs)
    count = int(work["count"][0])
    hit = np.zeros(indptr[-1], int)
    for row, start, stop in zip(*(np.asarray(work[name])[:count] for name in ("row", "start", "stop"))):
        assert indptr[row] <= start < stop <= min(indptr[row + 1], start + plan.tile)
        hit[start:stop] += 1
    np.testing.assert_array_equal(hit, np.repeat(spikes, fan))
    assert count <= work["row"].shape[0]


@pytest.mark.parametrize("dtypes", [("bool", "bfloat16", "float32"), ("float64", "float32", "float64")])
@pytest.mark.parametrize("packed", [True, False], ids=["packed", "delays"])
def test_deliver(x64, graph, kind, dtypes, packed):
    s_type, w_type, out_type = dtypes
    s, w = (
        jnp.asarray(graph.spikes(graph.n_pre)).astype(s_type),
        jnp.asarray(graph.floats(graph.n_edges)).astype(w_type),
    )
    indices, delays = jnp.asarray(graph.indices), jnp.asarray(graph.delays)
    if packed:
        indices = jnp.asarray(ops.pack_edges(graph.indices, graph.delays, graph.n_post, graph.n_slots))
        delays = jnp.zeros((0,), jnp.int32)
    ring = jnp.asarray(graph.floats(graph.n_slots, graph.n_post, dtype=out_type))
    for step in (6, -1):
        out = compiled("deliver", **kind)(s, w, graph.indptr, indices, delays, jnp.int32(step), EMPTY, ring)
        w_wide, s_wide = np.asarray(w.astype("float64")), np.asarray(s.astype("float64"))
        added = loops(s_wide, w_wide, graph.indptr, graph.indices, graph.delays, step, ring.shape)
        tight = 1e-12 if out_type == "float64" else 1e-5
        np.testing.assert_allclose(out, np.asarray(ring) + added, rtol=tight, atol=tight)


def test_long_rows_and_duplicates(kind):
    """One row of many tiles that all end at one of three targets: nothing is lost where edges meet."""
    indptr, edges = jnp.array([0, 5, 4000, 4000, 4003], jnp.int32), np.arange(4003, dtype=np.int32)
    s, w = jnp.array([2.0, 1.0, 1.0, 3.0]), jnp.ones((1,))
    out = compiled("scatter", n_slots=1, n_post=3, batch=(), dtype=jnp.float32, **kind)(
        s, w, indptr, jnp.asarray(edges % 3), jnp.zeros((0,), jnp.int32), jnp.int32(0), EMPTY
    )
    values = np.repeat(np.asarray(s), np.diff(indptr))
    np.testing.assert_array_equal(out[0], [values[edges % 3 == k].sum() for k in range(3)])


def test_outside_is_dropped_and_silence_hides(graph, kind):
    indices = np.where(np.arange(graph.n_edges) % 4 == 0, -1, graph.indices).astype(np.int32)
    indices[1::4] = graph.n_post
    s = np.ones(graph.n_pre, np.float32)
    s[[1, 3]], s[2] = -0.0, np.nan
    w = np.where(np.repeat(s, np.diff(graph.indptr)) == 0, np.inf, 1.0).astype(np.float32)
    arguments = (s, w, graph.indptr, indices, graph.delays, 1)
    expected = np.zeros((graph.n_slots, graph.n_post))
    for e in np.flatnonzero((indices >= 0) & (indices < graph.n_post) & np.isfinite(w)):
        row = np.searchsorted(graph.indptr, e, side="right") - 1
        expected[(1 + graph.delays[e]) % graph.n_slots, indices[e]] += s[row]
    ring = jnp.zeros((graph.n_slots, graph.n_post))
    out = compiled("deliver", **kind)(*(jnp.asarray(a) for a in arguments[:5]), jnp.int32(1), EMPTY, ring)
    assert np.isnan(expected).any() and np.isfinite(expected).any()
    np.testing.assert_array_equal(out, expected.astype(np.float32))


def test_gather_of_few_long_rows(interpret):
    """Rows are split over programs and their parts summed; inactive rows are zero."""
    fan = [70000, 0, 30001]
    indptr = jnp.asarray(np.concatenate([[0], np.cumsum(fan)]), jnp.int32)
    rng = np.random.default_rng(3)
    indices, x = rng.integers(0, 50, sum(fan)).astype(np.int32), rng.integers(-4, 5, (1, 50)).astype(np.float32)
    y = compiled("gather", batch=(), interpret=interpret)(
        jnp.asarray(x), jnp.full((1,), 2.0), indptr, jnp.asarray(indices), jnp.zeros((0,), jnp.int32), jnp.int32(0),
        jnp.array([True, True, False]),
    )  # fmt: skip
    np.testing.assert_array_equal(y, [2 * x[0, indices[:70000]].sum(), 0, 0])


# axes of (s or x, w or x, indptr, indices, delays, step): 1 where the operand has the batch axis
BATCHES = {
    "all shared but the first": ((3, 1), (1, 1), (1, 1), (1, 1), (1, 1), (1, 1), (3, 1)),
    "two axes, result over one": ((3, 1), (1, 2), (1, 1), (1, 1), (1, 1), (1, 1), (1, 2)),
    "all summed": ((3, 2), (1, 2), (1, 1), (1, 1), (1, 1), (3, 1), (1, 1)),
    "graphs in batches": ((1, 2), (3, 1), (3, 1), (3, 1), (1, 2), (3, 2), (3, 1)),
}


NAMES = ("scatter", "scatter deterministic", "gather", "outer", "outer scalar")
QUICK = ("graphs in batches", "scatter")  # the one case of all operators, and all cases of the one operator


@pytest.mark.parametrize("name, batches", [
    pytest.param(name, batches, marks=() if {name, batches} & {*QUICK} else pytest.mark.slow)
    for name in NAMES for batches in BATCHES
])  # fmt: skip
def test_batches(x64, graph, interpret, name, batches):
    """Every mixture of mapped, shared and summed axes against the XLA form."""
    first, second, *own, result = BATCHES[batches]
    form, *option = name.split()

    def spread(a, batch):
        return jnp.asarray(np.stack([np.roll(a, i, -1) for i in range(np.prod(batch))]).reshape(*batch, *np.shape(a)))

    other_rows = np.minimum(graph.indptr, np.int32(graph.n_edges))
    indptr = jnp.asarray(np.stack([other_rows] * np.prod(own[0])).reshape(*own[0], -1))
    if own[0] != (1, 1):
        indptr = indptr.at[1, 0, 1:-1].set(np.int32(graph.n_edges // 2))
    step = jnp.arange(np.prod(own[3]), dtype=jnp.int32).reshape(own[3])
    edges = (indptr, spread(graph.indices, own[1]), spread(graph.delays, own[2]), step)
    s, w = spread(graph.spikes(graph.n_pre), first), spread(graph.floats(graph.n_edges), second)
    x = {"gather": first, "outer": second}.get(form)
    x = None if x is None else spread(graph.floats(graph.n_slots, graph.n_post), x)
    active = jnp.zeros((1, 1, 0), bool)
    factors = {"scatter": (s, w), "gather": (x, w), "outer": (s, x)}[form]
    static = {
        "scatter": dict(n_slots=graph.n_slots, n_post=graph.n_post, dtype=jnp.dtype("float64")),
        "gather": {},
        "outer": dict(n_weights=1 if option else graph.n_edges),
    }[form] | {"batch": result}
    expected = jax.jit(functools.partial(getattr(xla, form), **static))(*factors, *edges, active)
    out = compiled(form, **static, interpret=interpret, deterministic=option == ["deterministic"])(
        *factors, *edges, active
    )
    assert out.shape == expected.shape
    np.testing.assert_allclose(out, expected, rtol=1e-12, atol=1e-12)


def test_public_operators_and_their_gradients(x64, graph_of):
    """Forward and both derivatives of a delivery, batched, through the primitives."""
    graph = graph_of(6, 5, 20)
    ring, w = jnp.asarray(graph.floats(graph.n_slots, 5)), jnp.asarray(graph.floats(20))
    s = jnp.asarray(graph.spikes(2, 6))

    def loss(s, w, backend):
        def send(s):
            return ops.ring_deliver(ring, s, w, graph.indptr, graph.indices, graph.delays, 3, backend=backend)

        return jnp.sum(jnp.sin(jax.vmap(send)(s)))

    ours, theirs = (
        jax.jit(jax.value_and_grad(functools.partial(loss, backend=b), (0, 1)))(s, w) for b in ("pallas", "xla")
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12), ours, theirs)


def test_too_many_to_address_is_refused():
    s, w = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((4, 2**29), (1, 1)))
    graph = [jax.ShapeDtypeStruct(shape, jnp.int32) for shape in ((1, 2**29 + 1), (1, 8), (1, 0), (1,))]
    send = functools.partial(pallas_forms.scatter, n_slots=1, n_post=4, batch=(4,), dtype=jnp.float32)
    with pytest.raises(ValueError, match=r"at most 2\*\*31 - 1; map over a part"):
        jax.eval_shape(send, s, w, *graph, jax.ShapeDtypeStruct((1, 0), bool))


# --- the choice


def program(platform, **options):
    edges = [jax.ShapeDtypeStruct((n,), jnp.int32) for n in (5, 8)]
    send = jax.jit(lambda s, *edges: ops.event_csr(s, 1.0, *edges, n_post=9, **options))
    return send.trace(jax.ShapeDtypeStruct((4,), jnp.float32), *edges).lower(lowering_platforms=(platform,)).as_text()


def lowers_here():
    """Newer releases of jax compile kernels while lowering, which takes their CUDA plugin."""
    from importlib.metadata import version
    from importlib.util import find_spec

    return version("jaxlib") == "0.10.1" or any(find_spec(f"jax_cuda{n}_plugin") for n in (12, 13))


needs_lowering = pytest.mark.skipif(not lowers_here(), reason="this jaxlib lowers kernels with its CUDA plugin only")


@needs_lowering
def test_gpu_gets_the_kernels_and_the_variable_forces(monkeypatch):
    monkeypatch.delenv("BRAINSIM_OPS", raising=False)
    assert program("cuda").count("xla.gpu.triton") == 2
    assert "triton" not in program("cpu", backend="pallas") + program("tpu")
    monkeypatch.setenv("BRAINSIM_OPS", "xla")
    assert "triton" not in program("cuda")
    with pytest.raises(RuntimeError, match=r"kernels are for GPUs.*BRAINSIM_OPS=xla"):
        program("tpu", backend="pallas")


def test_without_working_kernels_one_warning_and_the_xla_form(monkeypatch):
    monkeypatch.delenv("BRAINSIM_OPS", raising=False)
    monkeypatch.setattr(dispatch, "_why_not_pallas", lambda platform: "Pallas does not import")
    dispatch._warn_gpu.cache_clear()
    with pytest.warns(RuntimeWarning, match="XLA form on the GPU.*Pallas does not import"):
        assert "triton" not in program("cuda")
    assert ops.backends()["choice"]["gpu"] == "xla"
    assert "does not import" in ops.backends()["event_csr"]["pallas"]


def test_backends_say_where_kernels_run(monkeypatch):
    monkeypatch.delenv("BRAINSIM_OPS", raising=False)
    table = ops.backends()
    assert table["choice"] == {"cpu": "native", "gpu": "pallas", "other": "xla"}
    assert "interpret mode" in table["event_csr"]["pallas"]
    assert "same as xla" in table["map_scalars"]["pallas"]


# --- lowering for a GPU: catches what Triton lacks, without running


def gpu_cases():
    """name -> (form, shapes of its operands, number of launches); more rows than one block, delays, batches."""
    n, e, slots, post, b = 9000, 18000, 3, 70, 2
    graph = [((1, n + 1), "int32"), ((1, e), "int32"), ((1, e), "int32"), ((1,), "int32")]
    no, some = [((1, 0), "bool")], [((1, n), "bool")]
    cases = {}
    for s, w, x in (("bool", "bfloat16", "float32"), ("float64", "float64", "float64")):
        spikes, weights, values = ((b, n), s), ((1, e), w), ((b, slots, post), x)
        forms, one = pallas_forms, ((1, 1), w)
        ring = dict(n_slots=slots, n_post=post, batch=(1,), dtype=jnp.dtype(x))
        cases |= {
            f"deliver {x}": (forms.deliver, [spikes, weights, *graph, *no, values], 3),
            f"scatter {x}": (functools.partial(forms.scatter, **ring), [spikes, one, *graph, *no], 3),
            f"ordered {x}": (
                functools.partial(forms.deliver, deterministic=True),
                [spikes, one, *graph, *no, values],
                1,
            ),
            f"gather {x}": (functools.partial(forms.gather, batch=(1,)), [values, weights, *graph, *some], 1),
            f"outer {x}": (functools.partial(forms.outer, n_weights=e, batch=(1,)), [spikes, values, *graph, *no], 3),
            f"outer sum {x}": (
                functools.partial(forms.outer, n_weights=1, batch=(b,)),
                [spikes, values, *graph, *no],
                1,
            ),
        }
    cases["compact"] = (lambda mask: pallas_worklist.compact(mask, 100), [((20000,), "bool")], 2)
    return cases


@needs_lowering
@pytest.mark.parametrize("name", list(gpu_cases()))
def test_kernels_lower_to_triton(x64, name):
    form, shapes, launches = gpu_cases()[name]
    traced = jax.jit(form).trace(*(jax.ShapeDtypeStruct(*s) for s in shapes))
    text = traced.lower(lowering_platforms=("cuda",)).as_text()
    assert text.count("xla.gpu.triton") == launches


@needs_lowering
def test_additions_are_relaxed_and_lower_without(monkeypatch):
    """Where jax has moved its Triton lowering, additions fall back to ordered ones, slower: `pallas_atomic.py` is due."""
    assert pallas_atomic.RELAXED is not None
    form, shapes, launches = gpu_cases()["deliver float32"]
    shapes = [jax.ShapeDtypeStruct(*s) for s in shapes]
    texts = []
    for primitive in (pallas_atomic.RELAXED, None):
        monkeypatch.setattr(pallas_atomic, "RELAXED", primitive)
        traced = jax.jit(lambda *a: form(*a)).trace(*shapes)
        texts.append(traced.lower(lowering_platforms=("cuda",)).as_text())
    assert [text.count("xla.gpu.triton") for text in texts] == [launches] * 2
    assert texts[0] != texts[1]
