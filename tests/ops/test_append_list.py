"""`append_list` against NumPy: values, what does not fit, sizes, batches, in place."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brainsim.ops import lists


@pytest.fixture(params=["native", "xla", "reference"])
def form(request):
    return request.param


@pytest.mark.parametrize("dtype", ["bool", "float32", "float64"])
def test_append_list_writes_behind_and_counts_what_is_lost(form, x64, dtype):
    """Step after step against NumPy, until the buffer is full in the middle of a step, and on from there."""
    rng, capacity, n = np.random.default_rng(1), 60, 70
    ids, fill = rng.integers(100, 200, capacity).astype(np.int32), np.int32(0)
    want, found = ids.copy(), []
    for fraction in (0.0, 0.2, 0.0, 0.3, 0.9, 0.1, 0.0):
        spikes = (rng.normal(size=n) * (rng.random(n) < fraction)).astype(dtype)
        found += np.flatnonzero(spikes).tolist()
        written = min(len(found), capacity)
        want[:written] = found[:written]
        ids, fill = lists.append_list(ids, fill, spikes, backend=form)
        np.testing.assert_array_equal(ids, want)
        assert int(fill) == len(found) and ids.dtype == fill.dtype == np.int32
    assert len(found) > capacity


@pytest.mark.parametrize("n", [0, 1, 32, 2100])
@pytest.mark.parametrize("fill", [0, 5, 9, 40])
def test_append_list_of_any_size(form, n, fill):
    """No spike and all of them, buffers with room, without room, and overfull already."""
    for spikes in (np.zeros(n, bool), np.ones(n, bool)):
        ids, end = lists.append_list(np.full(9, -7, np.int32), np.int32(fill), spikes, backend=form)
        want = np.full(9, -7, np.int32)
        free = max(9 - fill, 0)
        want[fill : fill + spikes.sum()] = np.flatnonzero(spikes)[:free]
        np.testing.assert_array_equal(ids, want)
        assert int(end) == fill + spikes.sum()


def test_append_list_takes_nan_as_a_spike_and_has_no_derivative(form):
    def f(s):
        ids, fill = lists.append_list(jnp.zeros(4, jnp.int32), jnp.int32(1), s, backend=form)
        return jnp.sum(s) + (jnp.sum(ids) + fill).astype(s.dtype), (ids, fill)

    s = jnp.array([-0.0, jnp.nan, 0.0, -1.0])
    gradient, (ids, fill) = jax.grad(f, has_aux=True)(s)
    np.testing.assert_array_equal(ids, [0, 1, 3, 0])
    assert int(fill) == 3
    np.testing.assert_array_equal(gradient, np.ones(4))


def test_append_list_maps_over_batches(form):
    spikes, fills = np.random.default_rng(0).random((3, 70)) < 0.2, np.array([0, 4, 30], np.int32)
    got, ends = jax.vmap(lambda k, s: lists.append_list(jnp.zeros(20, jnp.int32), k, s, backend=form))(fills, spikes)
    for i in range(3):
        found, want = np.flatnonzero(spikes[i]), np.zeros(20, np.int32)
        want[fills[i] :][: len(found)] = found[: max(20 - fills[i], 0)]
        np.testing.assert_array_equal(got[i], want)
        assert int(ends[i]) == fills[i] + len(found)


def test_append_list_is_in_place_inside_a_scan():
    buffer, spikes = jnp.full(113, -1, jnp.int32), jnp.array([True, False, True])

    def step(carry, _):
        return lists.append_list(*carry, spikes, backend="native"), None

    loop = jax.jit(lambda c: jax.lax.scan(step, c, None, length=50)[0])
    computations = loop.lower((buffer, jnp.int32(0))).compile().as_text().split("\n\n")
    (body,) = [c for c in computations if "brainsim_append_list" in c and "custom-call(" in c]
    assert "output_to_operand_aliasing" in body
    assert not [line for line in body.splitlines() if " copy(" in line and "s32[113]" in line]
    ids, fill = loop((buffer, jnp.int32(0)))
    assert int(fill) == 100
    np.testing.assert_array_equal(ids, [0, 2] * 50 + [-1] * 13)
