"""MNIST-1D: the published points, the network against dense equations, and short versions that learn."""

import random
from dataclasses import replace
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brainsim.errors import ParameterError
from brainsim.models.circuits import mnist1d as library

SMALL = library.Settings(code=16, hidden=(24,), longest=5.0, tail=4, epochs=4, batch=50, rate=1e-2)
PEAKS = library.Settings(code=9, hidden=(8, 7), longest=4.0, tail=5)


@pytest.fixture(scope="module")
def points():
    pytest.importorskip("mnist1d")
    return library.mnist1d_data()


def test_points_are_the_published_ones(points):
    """Sizes, first samples, and numbers per class of the file that the authors published."""
    assert {name: x.shape for name, (x, _) in points.items()} == {
        "train": (3600, 40), "validation": (400, 40), "test": (1000, 40),
    }  # fmt: skip
    np.testing.assert_allclose(
        points["train"][0][0, :5], [-0.33200567, -0.47191037, -0.77869708, -1.00974083, -0.88235257], atol=1e-8
    )
    counts = np.bincount(np.concatenate([points["train"][1], points["validation"][1]]))
    assert counts.tolist() == [398, 396, 411, 394, 394, 402, 401, 404, 402, 398]
    assert len(library.mnist1d_data(validation=1000)["train"][1]) == 3000


def test_the_generator_leaves_the_global_streams_alone(points):
    np.random.seed(3)  # noqa: NPY002
    random.seed(3)
    expected = np.random.random(), random.random()  # noqa: NPY002
    np.random.seed(3)  # noqa: NPY002
    random.seed(3)
    library.mnist1d_data()
    assert (np.random.random(), random.random()) == expected  # noqa: NPY002


def test_the_package_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "mnist1d.data", None)
    with pytest.raises(ImportError, match=r"brainsim-jax\[data\]"):
        library.mnist1d_data()


def kernels(params, pre, post, shape, delays, width):
    """(lags, sources, targets) weights by lag."""
    w = np.asarray(params[f"{pre}->{post}.weight"]).reshape(shape)
    lag = np.arange(5.0)[:, None, None]
    if post == "out":
        return w[None]
    d = np.reshape(delays[f"{pre}->{post}"], shape)
    part = np.exp(-0.5 * ((lag - d) / width) ** 2) if width else (lag == np.rint(d)).astype(float)
    return w * part / part.sum(0)


def dense(params, signal, delays, width):
    """Spikes of all layers and voltages of the readouts, layer by layer: convolution over lags, leak, threshold."""
    held = np.concatenate([signal, np.full(PEAKS.tail, signal[-1])])
    slope = np.diff(held, prepend=held[:1])
    current = np.stack([held, 2.0 * slope], 1) @ np.asarray(params["signal->code.weight"])
    jumps, found, names = np.zeros_like(current), {}, library.layers(PEAKS)
    for name, following in pairwise([*names, None]):
        reads = name == "out"
        tau = 3.0 if reads else np.asarray(params[f"{name}.tau"])
        rest = np.asarray(params["out.bias"] if reads else params[f"{name}.v_rest"])
        v, sent, trace = np.zeros(jumps.shape[1]) + (0.0 if reads else rest), np.zeros_like(jumps), np.zeros_like(jumps)
        for k in range(len(jumps)):
            jumped = v + jumps[k]
            goal = rest + (current[k] if name == "code" else 0.0)
            v = goal + (jumped - goal) * np.exp(-1.0 / tau)
            if not reads:
                sent[k] = np.maximum(jumped, v) > 1.0
                v = np.where(sent[k] > 0, 0.0, v)
            trace[k] = v
        found[name] = trace if reads else sent
        if following:
            kernel = kernels(params, name, following, (sent.shape[1], -1), delays, width)
            jumps = np.zeros((len(sent), kernel.shape[2]))
            for lag, w in enumerate(kernel):
                jumps[1 + lag :] += sent[: len(sent) - 1 - lag] @ w
    return found


@pytest.mark.parametrize("delays, width", [("fixed", None), ("learned", 1.3)])
def test_the_network_is_its_equations(x64, delays, width):
    settings = replace(PEAKS, delays=delays)
    sim = library.compile_for(settings, seed=5)
    params = library.draw(sim, settings, seed=5)
    rng = np.random.default_rng(1)
    params |= {"out.bias": jnp.asarray(0.3)}
    params |= {k: jnp.asarray(rng.uniform(0.0, 0.95, x.shape)) for k, x in params.items() if k.endswith("v_rest")}
    params |= {k: jnp.asarray(rng.uniform(1.0, 4.0, x.shape)) for k, x in params.items() if k == "hidden1.tau"}
    signal = np.cumsum(rng.normal(size=40)) / 3.0
    learned = {k[:-6]: np.asarray(x) for k, x in params.items() if k.endswith(".delay")}
    drawn = learned or {"code->hidden1": _drawn(5, 9 * 8, 9), "hidden1->hidden2": _drawn(5, 8 * 7, 9, 9 * 8)}
    expected = dense(params, signal, drawn, width)
    found = jax.jit(lambda p: library.run(sim, p, jnp.asarray(signal), settings, width))(params)
    for name in library.layers(settings)[:-1]:
        assert 5 < expected[name].sum() < 0.8 * expected[name].size
        np.testing.assert_array_equal(found.spikes[name], expected[name])
    np.testing.assert_allclose(found["out.v"], expected["out"], atol=1e-10)
    other = dense(params, signal, {k: 4.0 - d for k, d in drawn.items()}, width)
    assert np.abs(other["out"] - expected["out"]).max() > 0.01


def _drawn(seed, edges, code, before=0):
    """The delays that a seed draws, after the resting voltages of the code and the delays of earlier projections."""
    rng = np.random.default_rng(seed)
    rng.uniform(-0.6, 1.0, code)
    if before:
        rng.integers(0, 5, before)
    return rng.integers(0, 5, edges).astype(float)


@pytest.fixture(scope="module")
def small():
    sim = library.compile_for(SMALL, seed=2)
    return sim, library.draw(sim, SMALL, seed=2)


def test_cost_is_the_cross_entropy_of_the_largest_voltage(points, small):
    sim, params = small
    x, y = points["train"][0][:6], points["train"][1][:6]
    each = jax.jit(lambda s: library.run(sim, params, s, SMALL)["out.v"])
    v = np.stack([each(jnp.asarray(s, jnp.float32)) for s in x])
    assert v.shape == (6, 44, 10)
    best = v.max(axis=1)
    expected = np.mean(np.log(np.exp(best).sum(1)) - best[np.arange(6), y])
    x, y = jnp.asarray(x, jnp.float32), jnp.asarray(y)
    np.testing.assert_allclose(library.cost(params, x, y, sim, SMALL), expected, rtol=1e-5)
    right, spikes = library.score(params, x, y, sim, SMALL)
    np.testing.assert_allclose(right, np.mean(best.argmax(1) == np.asarray(y)))
    assert spikes > 1


def test_dropped_cells_are_silent_and_the_others_weigh_more(points, small):
    """Like a run whose weights from silent cells are 0, and the others divided by the part that stays."""
    sim, params = small
    settings = replace(SMALL, drop=0.4)
    signal = jnp.asarray(points["train"][0][0], jnp.float32)
    some = jax.jit(lambda key: library.run(sim, params, signal, settings, key=key))(jax.random.key(3))
    run = jax.jit(lambda p: library.run(sim, p, signal, settings))
    code, usual = np.asarray(some.spikes["code"]), np.asarray(run(params).spikes["code"])
    fired = usual.any(0)
    dropped = fired & ~code.any(0)
    assert dropped.any() and (fired & ~dropped).any()
    np.testing.assert_array_equal(code, np.where(dropped, 0.0, usual))
    by_hand = dict(params)
    for pre, name in (("code", "code->hidden1.weight"), ("hidden1", "hidden1->out.weight")):
        stays = np.asarray(some.spikes[pre]).any(0)[:, None] / 0.6
        by_hand[name] = jnp.ravel(jnp.reshape(params[name], (len(stays), -1)) * stays)
    np.testing.assert_allclose(some["out.v"], run(by_hand)["out.v"], atol=1e-5)


@pytest.mark.parametrize(
    "delays, margin",
    [
        ("fixed", 0.25),
        pytest.param("learned", 0.2, marks=pytest.mark.slow),
        pytest.param(None, 0.15, marks=pytest.mark.slow),
    ],
)
def test_short_training_learns(points, delays, margin):
    """1000 points, 4 epochs: better than chance, 0.1, by the margin on points that were not seen."""
    few = {"train": [a[:1000] for a in points["train"]], "validation": points["validation"], "test": points["test"]}
    found = library.train((0,), replace(SMALL, delays=delays), few)
    assert found.history.shape == (4, 1) and found.validation[0] == found.history[-1, 0]
    assert found.test[0] > 0.1 + margin and found.validation[0] > 0.1 + margin
    (params,) = found.params
    ends = {name: x for name, x in params.items() if name.endswith(".delay")}
    assert bool(ends) == (delays == "learned")
    for x in ends.values():
        np.testing.assert_array_equal(x, np.rint(x))
        assert np.min(x) >= 0 and np.max(x) <= SMALL.longest
    assert all(np.min(x) >= library.LEAST_TAU - 1e-6 for name, x in params.items() if name.endswith(".tau"))


def test_width_falls_exponentially():
    s = replace(SMALL, longest=10.0, annealed=0.5)
    assert library.width_at(0.0, s) == 5.0
    assert library.width_at(0.25, s) == pytest.approx(np.sqrt(5.0 * 0.3))
    assert library.width_at(0.5, s) == library.width_at(1.0, s) == pytest.approx(0.3)


def test_bad_settings(points):
    with pytest.raises(ParameterError, match="write 'learned'"):
        library.Settings(delays="none")
    with pytest.raises(ParameterError, match="layers have cells"):
        library.Settings(hidden=())
    with pytest.raises(ParameterError, match="at least 1"):
        library.Settings(epochs=0)
    with pytest.raises(ParameterError, match="0 to below 1"):
        library.Settings(drop=1.0)
    with pytest.raises(ParameterError, match="does not divide 3600"):
        library.train((0,), replace(SMALL, batch=7), points)
    with pytest.raises(ParameterError, match="1 to 3999"):
        library.mnist1d_data(4000)


@pytest.mark.slow
def test_published_size_beats_the_gru(points):
    """91 %: the recurrent network of the publication."""
    assert library.train((0,), data=points).test[0] > 0.91
