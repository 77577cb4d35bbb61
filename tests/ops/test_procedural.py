"""The procedural operators of every back end against the dense oracle over the same edges."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brainsim.ops import procedural as proc
from brainsim.ops import random, reference

KEY = random.key_of(3, "edges")
N_PRE, N_POST, N_SLOTS = 23, 19, 6
RULES = {
    "outdegree": proc.fixed_outdegree(7),
    "outdegree, long rows": proc.fixed_outdegree(300, own=1, delays=proc.Delays(1, 5)),
    "outdegree, part": proc.fixed_outdegree(9, n_targets=5, first_target=11, first_row=100),
    "probability": proc.fixed_probability(0.2, own=0),
    "probability, high": proc.fixed_probability(0.9, n_targets=12, first_target=3, delays=proc.Delays(0, 2, (1, 5, 2))),
    "probability, all": proc.fixed_probability(1.0),
    "total": proc.fixed_total_number(150, own=-2, delays=proc.Delays(2, 2)),
    "indegree": proc.fixed_indegree(5, delays=proc.Delays(1, 5)),
    "indegree, long rows": proc.fixed_indegree(400),
}


@pytest.fixture(params=RULES)
def rule(request):
    return RULES[request.param]


@pytest.fixture(params=["xla", "native"])
def backend(request):
    return request.param


def on_both(names, quick):
    """Cases of the native form, and of the XLA form, which compiles for seconds: the first ones quickly, the others slow."""
    slow = lambda i: pytest.mark.slow if i >= quick else ()
    return [pytest.param("native", *n) for n in names] + [
        pytest.param("xla", *n, marks=slow(i)) for i, n in enumerate(names)
    ]


@pytest.fixture
def rng():
    return np.random.default_rng(1)


def starts_of(rule, n_pre=N_PRE, n_post=N_POST, key=KEY):
    return proc.row_starts(key, rule, n_pre, n_post) if rule.needs_starts else None


class Stored:
    """The same edges as compressed rows, and the operators over them by the dense oracle."""

    def __init__(self, rule, key=KEY, starts=None):
        made = proc.procedural_edges(key, rule, N_PRE, N_POST, starts=starts)
        self.indptr, self.indices = jnp.asarray(made.indptr, jnp.int32), jnp.asarray(made.indices)
        self.z = made.normal
        self.delays = jnp.zeros_like(self.indices) if made.delays is None else jnp.asarray(made.delays)

    def weights(self, w):
        return w if w.ndim == 0 else w[0] + w[1] * self.z.astype(w.dtype)

    def deliver(self, ring, s, w, step):
        return reference.ring_deliver(ring, s, self.weights(w), self.indptr, self.indices, self.delays, jnp.int32(step))

    def gather(self, x, w):
        return reference.gather_csr(x, self.weights(w), self.indptr, self.indices)


@functools.cache
def stored_of(rule):
    return Stored(rule)


def test_a_part_of_the_rows_has_the_edges_of_the_whole(rule):
    whole, starts = proc.procedural_edges(KEY, rule, N_PRE, N_POST), starts_of(rule)
    part = dataclasses.replace(rule, first_row=rule.first_row + 8)
    made = proc.procedural_edges(KEY, part, 7, N_POST, starts=None if starts is None else starts[8:16])
    lo, hi = whole.indptr[8], whole.indptr[15]
    np.testing.assert_array_equal(made.indices, whole.indices[lo:hi])
    np.testing.assert_array_equal(made.normal, whole.normal[lo:hi])


@pytest.fixture(params=["reference", "xla", "native"])
def form(request):
    return request.param


FEW = ("outdegree, long rows", "probability, high", "indegree")  # every way of drawing, with delays


@pytest.mark.parametrize("name, spikes, weights", [
    (FEW[0], "bool", [0.5, 0.1]), (FEW[1], "float32", 0.7), (FEW[2], "float32", [0.5, 0.1])
])  # fmt: skip
def test_ring_deliver(name, form, spikes, weights, rng):
    rule = RULES[name]
    stored, starts = stored_of(rule), starts_of(rule)
    s = jnp.asarray(rng.normal(size=N_PRE) * (rng.random(N_PRE) < 0.5)).astype(spikes)
    w = jnp.asarray(weights, "float32")
    ring = jnp.asarray(rng.normal(size=(N_SLOTS, N_POST)), "float32")
    deliver = jax.jit(lambda n: proc.ring_deliver_procedural(ring, s, w, KEY, rule, n, starts=starts, backend=form))
    for step in (4, -1, 2**31 - 1):
        out = deliver(np.int32(step))
        expected = stored.deliver(ring, s, w, step % N_SLOTS)
        np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-5)


MORE = {*RULES} - {"outdegree", "total", "indegree"}  # seconds of compiling each


@pytest.mark.parametrize(
    "rule", [pytest.param(r, marks=pytest.mark.slow if r in MORE else ()) for r in RULES], indirect=True
)
def test_every_form_has_the_same_edges(rule, rng):
    """Whole numbers add without rounding: rows, targets and delays of all forms agree to the last edge."""
    stored, starts = stored_of(rule), starts_of(rule)
    s = jnp.asarray(2.0 ** np.arange(N_PRE) % 1009, "float32")
    outs = [
        proc.ring_deliver_procedural(jnp.zeros((N_SLOTS, N_POST)), s, 1.0, KEY, rule, 2, starts=starts, backend=b)
        for b in ("reference", "xla", "native")
    ]
    for out in outs:
        np.testing.assert_array_equal(out, stored.deliver(jnp.zeros((N_SLOTS, N_POST)), s, jnp.float32(1.0), 2))


def test_weights_have_the_same_bits(rng):
    """One edge a row and a target: the native form adds exactly fl(mean + fl(sd z))."""
    rule = proc.fixed_outdegree(1)
    made = proc.procedural_edges(KEY, rule, N_PRE, 500)
    alone = np.bincount(made.indices, minlength=500)[made.indices] == 1
    w = np.array([0.3, 0.07], np.float32)
    out = proc.event_procedural(jnp.ones(N_PRE, bool), jnp.asarray(w), KEY, rule, n_post=500, backend="native")
    np.testing.assert_array_equal(np.asarray(out)[made.indices[alone]], (w[0] + w[1] * made.normal)[alone])


def test_event_and_gather(x64, form, rng):
    rule = RULES["probability"]
    stored, s = stored_of(rule), jnp.asarray(rng.normal(size=N_PRE))
    x, w = jnp.asarray(rng.normal(size=N_POST)), jnp.asarray([0.5, 0.2])
    out = proc.event_procedural(s, w, KEY, rule, n_post=N_POST, backend=form)
    expected = stored.deliver(jnp.zeros((1, N_POST)), s, w, 0)[0]
    assert out.dtype == "float64"
    np.testing.assert_allclose(out, expected, rtol=1e-12, atol=1e-12)
    y = proc.gather_procedural(x, w, KEY, rule, n_pre=N_PRE, backend=form)
    np.testing.assert_allclose(y, stored.gather(x, w), rtol=1e-12, atol=1e-12)


def test_silence_and_nan(form):
    rule = RULES["probability"]
    stored, s = stored_of(rule), np.zeros(N_PRE, np.float32)
    s[3] = np.nan
    out = proc.event_procedural(s, 1.0, KEY, rule, n_post=N_POST, backend=form)
    hit = np.isin(np.arange(N_POST), stored.indices[stored.indptr[3] : stored.indptr[4]])
    np.testing.assert_array_equal(np.isnan(out), hit)
    out = proc.event_procedural(
        -0.0 * np.ones(N_PRE, np.float32), np.float32(np.inf), KEY, rule, n_post=N_POST, backend=form
    )
    np.testing.assert_array_equal(out, np.zeros(N_POST))


@pytest.mark.parametrize("backend, sizes", on_both([((0, 5),), ((3, 0),), ((1, 1),), ((70, 3),)], 2))
def test_sizes(backend, sizes):
    n_pre, n_post = sizes
    for rule in (proc.fixed_outdegree(4, own=0), proc.fixed_probability(0.5), proc.fixed_indegree(3)):
        if n_pre == 0 and rule.needs_starts:
            continue
        starts = starts_of(rule, n_pre, n_post)
        out = proc.event_procedural(jnp.ones(n_pre), 1.0, KEY, rule, n_post=n_post, starts=starts, backend=backend)
        made = proc.procedural_edges(KEY, rule, n_pre, n_post)
        np.testing.assert_array_equal(out, np.bincount(made.indices, minlength=n_post).astype(np.float32))


# --- derivatives and batches


def case(rule, rng):
    stored, starts = stored_of(rule), starts_of(rule)
    s = jnp.asarray(rng.normal(size=N_PRE) * (rng.random(N_PRE) < 0.6))
    ring, w = jnp.asarray(rng.normal(size=(N_SLOTS, N_POST))), jnp.asarray([0.5, 0.2])
    fast = lambda r, s, w, b: proc.ring_deliver_procedural(r, s, w, KEY, rule, 4, starts=starts, backend=b)
    dense = lambda r, s, w: stored.deliver(r, s, w, 4)
    return fast, dense, (ring, s, w)


@pytest.mark.parametrize("backend, name", on_both([(name,) for name in reversed(FEW)], 1))
def test_vjp_and_jvp(x64, name, backend, rng):
    fast, dense, arguments = case(RULES[name], rng)
    fast = jax.jit(lambda *a, f=fast: f(*a, backend))
    tangents = tuple(jnp.asarray(rng.normal(size=a.shape)) for a in arguments)
    out, tangent = jax.jvp(fast, arguments, tangents)
    _, expected = jax.jvp(dense, arguments, tangents)
    np.testing.assert_allclose(tangent, expected, rtol=1e-10, atol=1e-10)
    ct = jnp.asarray(rng.normal(size=out.shape))
    for ours, theirs in zip(jax.vjp(fast, *arguments)[1](ct), jax.vjp(dense, *arguments)[1](ct)):
        assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-10)


def test_gradient_equals_finite_differences(x64, native, rng):
    rule = RULES["probability"]
    s, w = jnp.asarray(rng.normal(size=N_PRE)), jnp.asarray([0.5, 0.2])

    def loss(s, w):
        return jnp.sum(jnp.sin(proc.event_procedural(s, w, KEY, rule, n_post=N_POST, backend=native)))

    h = 1e-6
    by_s, by_w = jax.grad(loss, (0, 1))(s, w)
    for i in range(2):
        e = h * jnp.eye(2)[i]
        np.testing.assert_allclose(by_w[i], (loss(s, w + e) - loss(s, w - e)) / (2 * h), rtol=1e-6)
    for i in (0, 7, 22):
        e = h * jnp.eye(N_PRE)[i]
        np.testing.assert_allclose(by_s[i], (loss(s + e, w) - loss(s - e, w)) / (2 * h), rtol=1e-5, atol=1e-8)


@pytest.mark.slow
def test_second_derivatives(x64, native, rng):
    fast, dense, arguments = case(RULES["indegree"], rng)
    tangents = tuple(jnp.asarray(rng.normal(size=a.shape)) for a in arguments)

    def curvature(f):
        gradient = jax.grad(lambda *a: jnp.sum(jnp.sin(f(*a))), (0, 1, 2))
        return jax.jvp(gradient, arguments, tangents)[1]

    for ours, theirs in zip(curvature(lambda *a: fast(*a, native)), curvature(dense)):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)


def test_second_derivatives_by_weights(x64, native, rng):
    fast, dense, arguments = case(RULES["indegree"], rng)
    hessian = jax.hessian(lambda w: jnp.sum(fast(*arguments[:2], w, native) ** 3))(arguments[2])
    theirs = jax.hessian(lambda w: jnp.sum(dense(*arguments[:2], w) ** 3))(arguments[2])
    np.testing.assert_allclose(hessian, theirs, rtol=1e-9)


def test_scalar_weight_and_bool_spikes(x64, backend, rng):
    rule, stored = RULES["outdegree"], stored_of(RULES["outdegree"])
    s, c = jnp.asarray(rng.random(N_PRE) < 0.5), jnp.asarray(rng.normal(size=N_POST))
    gradient = jax.grad(lambda w: jnp.vdot(c, proc.event_procedural(s, w, KEY, rule, n_post=N_POST, backend=backend)))
    row = np.repeat(np.arange(N_PRE), np.diff(stored.indptr))
    expected = np.sum(np.asarray(s)[row] * np.asarray(c)[stored.indices])
    np.testing.assert_allclose(gradient(jnp.asarray(0.3)), expected, rtol=1e-12)


def test_active_rows_restrict_the_derivative_by_spikes(x64, backend, rng):
    rule, active = RULES["probability"], jnp.asarray(np.arange(N_PRE) % 3 == 0)
    s, w = jnp.asarray(rng.normal(size=N_PRE)), jnp.asarray([0.5, 0.2])

    def value(s, w, active=None):
        out = proc.event_procedural(s, w, KEY, rule, n_post=N_POST, active=active, backend=backend)
        return jnp.sum(jnp.sin(out))

    np.testing.assert_array_equal(value(s, w), value(s, w, active))
    (by_s, by_w), (some_s, some_w) = (jax.grad(value, (0, 1))(s, w, a) for a in (None, active))
    np.testing.assert_allclose(some_s, jnp.where(active, by_s, 0.0), rtol=1e-12)
    np.testing.assert_allclose(some_w, by_w, rtol=1e-12)
    tangent = jnp.asarray(rng.normal(size=N_PRE))
    forward = jax.jvp(lambda s: value(s, w, active), (s,), (tangent,))[1]
    np.testing.assert_allclose(forward, jnp.vdot(some_s, tangent), rtol=1e-12)


@pytest.mark.parametrize("backend, name, axes", on_both([
    ("outdegree, long rows", (None, 0, None)),
    ("probability, high", (None, None, 0)),
    ("indegree", (0, 0, 0)),
    ("probability", (0, None, 0)),
], 1))  # fmt: skip
def test_batches_and_their_gradient(x64, backend, name, axes, rng):
    fast, dense, arguments = case(RULES[name], rng)
    batched = [a if m is None else jnp.asarray(rng.normal(size=(3, *a.shape))) for a, m in zip(arguments, axes)]
    results = []
    for f in (lambda *a: fast(*a, backend), dense):
        mapped = jax.vmap(f, axes)
        gradient = jax.grad(lambda *a, g=mapped: jnp.sum(jnp.sin(g(*a))), (0, 1, 2))
        results.append((jax.jit(mapped)(*batched), *jax.jit(gradient)(*batched)))
    for ours, theirs in zip(*results):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["outdegree", "indegree"])
def test_keys_and_starts_in_batches(backend, name):
    """Networks that differ in their seed, in one call."""
    rule = proc.fixed_indegree(5) if name == "indegree" else RULES[name]
    keys, s = np.stack([random.key_of(i) for i in range(3)]), jnp.arange(N_PRE, dtype=jnp.float32)
    starts = np.stack([starts_of(rule, key=k) for k in keys]) if rule.needs_starts else None
    send = lambda k, t: proc.event_procedural(s, 1.0, k, rule, n_post=N_POST, starts=t, backend=backend)
    out = jax.vmap(send, (0, None if starts is None else 0))(keys, starts)
    for i, row in enumerate(out):
        stored = Stored(rule, keys[i], None if starts is None else starts[i])
        np.testing.assert_array_equal(row, stored.deliver(jnp.zeros((1, N_POST)), s, jnp.float32(1.0), 0)[0])


def test_ring_is_updated_in_place():
    rule = proc.fixed_outdegree(5, delays=proc.Delays(0, 3))
    step = jax.jit(
        lambda r, s: proc.ring_deliver_procedural(r, s, 1.0, KEY, rule, 0, backend="native"), donate_argnums=0
    )
    ring = jnp.zeros((4, N_POST))
    address = ring.unsafe_buffer_pointer()
    assert step(ring, jnp.ones(N_PRE)).unsafe_buffer_pointer() == address


def test_nothing_of_the_size_of_the_edges_in_the_program():
    """A row of 100 000 edges: forward and backward programs hold arrays of rows and targets only."""
    rule = proc.fixed_outdegree(100_000)
    loss = lambda s, w: jnp.sum(proc.event_procedural(s, w, KEY, rule, n_post=50, backend="native") ** 2)
    for f in (loss, jax.grad(loss, (0, 1))):
        text = jax.jit(f).lower(jnp.ones(N_PRE), jnp.ones(2)).compile().memory_analysis()
        assert text.temp_size_in_bytes + text.output_size_in_bytes < 50_000


# --- refusals


@pytest.mark.parametrize("make, match", [
    (lambda: proc.fixed_outdegree(-1), "whole number"),
    (lambda: proc.fixed_outdegree(2.5), "whole number"),
    (lambda: proc.fixed_probability(1.5), r"lies in \[0, 1\]"),
    (lambda: proc.fixed_indegree(3, own=0), "fixed_outdegree or fixed_probability"),
    (lambda: proc.Delays(3, 2), "low <= high"),
    (lambda: proc.Delays(0, 2, (1.0,)), "3 numbers"),
    (lambda: proc.row_starts(KEY, proc.fixed_outdegree(3), 4, 5), "leave starts out"),
    (lambda: proc.row_starts(KEY, proc.fixed_total_number(3, own=0), 1, 1), "no pair"),
    (lambda: proc.event_procedural(jnp.ones(4), 1.0, KEY, proc.fixed_indegree(3), n_post=5), "starts=row_starts"),
    (lambda: proc.event_procedural(jnp.ones(4), 1.0, KEY, proc.fixed_outdegree(3, n_targets=9), n_post=5), "there are 5"),
    (lambda: proc.event_procedural(jnp.ones(4), jnp.ones(3), KEY, proc.fixed_outdegree(3), n_post=5), "mean, standard deviation"),
    (lambda: proc.event_procedural(jnp.ones(4), 1.0, KEY, proc.fixed_outdegree(3, delays=proc.Delays(1, 2)), n_post=5), "ring_deliver_procedural"),
    (lambda: proc.event_procedural(jnp.ones(4), 1.0, jnp.zeros(3, "uint32"), proc.fixed_outdegree(3), n_post=5), "key_of"),
    (lambda: proc.event_procedural(jnp.ones(4), 1.0, KEY, "fixed_outdegree", n_post=5), "fixed_outdegree"),
    (lambda: proc.event_procedural(jnp.ones(4), 1.0, KEY, proc.fixed_outdegree(3), n_post=5, active=jnp.ones(3, bool)), "one bool per row"),
])  # fmt: skip
def test_refusals(make, match):
    with pytest.raises(ValueError, match=match):
        make()


def test_starts_beyond_the_edges_are_an_error_not_a_read():
    rule = proc.fixed_indegree(3)
    starts = starts_of(rule) + np.uint32(10)
    with pytest.raises((ValueError, jax.errors.JaxRuntimeError), match="outside"):
        jax.block_until_ready(
            proc.event_procedural(jnp.ones(N_PRE), 1.0, KEY, rule, n_post=N_POST, starts=starts, backend="native")
        )
