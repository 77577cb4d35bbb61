"""The emulator's networks against superneuromat itself, its neuron and its rule against plain loops, the digits.

`tests/reference/superneuromat.json` and `digits.npz` are made by `make_superneuromat.py`.
"""

import json
from pathlib import Path

import jax
import numpy as np
import pytest

import brainsim as bs
from brainsim.errors import ParameterError
from brainsim.models.circuits import superneuromat as snm
from brainsim.models.neurons.linear_leak_lif import LinearLeakLIF
from brainsim.models.neurons.source import SpikeSource
from brainsim.models.plasticity.windowed_stdp import WindowedSTDP, windowed_stdp
from brainsim.models.synapses.exponential import ExpCurrent

REFERENCE = Path(__file__).parents[1] / "reference"
PEER = json.loads((REFERENCE / "superneuromat.json").read_text())
CELLWISE = ("threshold", "leak", "reset", "refractory", "initial")


def side_by_side(networks):
    """The networks as one without edges between them: one program instead of many."""
    cells = [len(n["threshold"]) for n in networks]
    first = np.concatenate([[0], np.cumsum(cells)[:-1]])
    joined = {key: np.concatenate([n[key] for n in networks]) for key in (*CELLWISE, "weight", "learning")}
    for end in ("pre", "post"):
        joined[end] = np.concatenate([np.array(n[end]) + at for n, at in zip(networks, first)])
    inputs = np.concatenate([n["inputs"] for n in networks], axis=1)
    net = snm.superneuromat(sum(cells), A_plus=PEER["A_plus"], A_minus=PEER["A_minus"], **joined)
    return snm.emulate(net, inputs), first


def test_twenty_random_networks_equal_superneuromat(x64):
    assert [n["seed"] for n in PEER["networks"]] == list(range(20))
    found, first = side_by_side(PEER["networks"])
    for n, at in zip(PEER["networks"], first):
        mine = slice(at, at + len(n["threshold"]))
        assert np.array_equal(found.spikes[:, mine], np.array(n["spikes"], bool)), n["seed"]
        np.testing.assert_allclose(found.v[mine], n["final_states"], rtol=0, atol=1e-12)
        weights = found.weights[mine, mine][n["pre"], n["post"]]
        np.testing.assert_allclose(weights, n["final_weights"], rtol=0, atol=1e-12)
        moved = weights != n["weight"]
        assert np.array_equal(moved, n["learning"]), "a weight that should not learn has, or the other way round"


@pytest.mark.slow
@pytest.mark.parametrize("index", [0, 7, 19])
def test_a_network_of_its_own_equals_superneuromat(index, x64):
    found, _ = side_by_side(PEER["networks"][index : index + 1])
    assert np.array_equal(found.spikes, np.array(PEER["networks"][index]["spikes"], bool))


def test_float32_has_the_same_spikes_while_sums_are_exact():
    """Amplitudes that are powers of two."""
    n = PEER["networks"][3]
    keys = {k: n[k] for k in (*CELLWISE, "pre", "post", "weight", "learning")}
    exact = {"A_plus": (1.0, 0.5, 0.25), "A_minus": (-0.125, -0.0625, 0.0)}
    found = snm.emulate(snm.superneuromat(12, **keys, **exact), n["inputs"])
    spikes, weights = plain_network(n, **exact)
    assert np.array_equal(found.spikes, spikes)
    assert np.array_equal(found.weights, weights)


def plain_network(n, A_plus, A_minus):
    """The equations of the emulator on dense matrices."""
    threshold, leak, reset, refractory, v = (np.array(n[key], float) for key in CELLWISE)
    shape = (len(v), len(v))
    w, enabled = np.zeros(shape), np.zeros(shape)
    w[n["pre"], n["post"]], enabled[n["pre"], n["post"]] = n["weight"], n["learning"]
    spikes, left = [np.zeros(len(v))], np.zeros(len(v))
    for x in np.array(n["inputs"], float):
        v = np.where(v > reset, np.maximum(v - leak, reset), np.minimum(v + leak, reset))
        v = v + x + spikes[-1] @ w
        fired = (v > threshold) & (left == 0)
        left = np.where(fired, refractory, np.maximum(left - 1, 0))
        v = np.where(fired, reset, v)
        spikes.append(fired.astype(float))
        for k in range(min(len(A_plus), len(spikes) - 2)):
            pair = np.outer(spikes[-2 - k], spikes[-1])
            w = w + enabled * (A_plus[k] * pair + A_minus[k] * (1 - pair))
    return np.array(spikes[1:], bool), w


def test_the_leak_ends_at_the_reset_value_and_refractory_cells_integrate_on():
    net = bs.Network()
    net.add("down", LinearLeakLIF(leak=2.0, v_th=20.0, v_reset=1.0), 1, method="euler")
    net.add("up", LinearLeakLIF(leak=2.0, v_th=20.0, v_reset=1.0), 1, method="euler")
    net.add("tired", LinearLeakLIF(leak=0.0, v_th=5.0, t_ref=2.0), 1, method="euler")
    net.init("down.v", 6.0)
    net.init("up.v", -4.0)
    result = net.run(6.0, dt=1.0, record=["down.v", "up.v", "tired.v", "tired.spikes"], inputs={"tired.I": 4.0})
    assert result["down.v"][:, 0].tolist() == [4.0, 2.0, 1.0, 1.0, 1.0, 1.0]
    assert result["up.v"][:, 0].tolist() == [-2.0, 0.0, 1.0, 1.0, 1.0, 1.0]
    assert result["tired.v"][:, 0].tolist() == [4.0, 0.0, 4.0, 8.0, 0.0, 4.0]
    assert result["tired.spikes"].times.tolist() == [2.0, 5.0]


def test_a_voltage_at_the_threshold_does_not_fire():
    net = bs.Network()
    net.add("cell", LinearLeakLIF(leak=0.0, v_th=np.array([3.0, 2.999])), 2, method="euler")
    result = net.run(1.0, dt=1.0, inputs={"cell.I": 3.0})
    assert result["cell.spikes"].indices.tolist() == [1]


@pytest.mark.parametrize(("lags", "dt"), [(1, 1.0), (5, 0.1), (22, 1.0)])
def test_windows_of_any_length_equal_a_loop_over_pairs(lags, dt, x64):
    rng, steps = np.random.default_rng(lags), 70
    a_plus, a_minus = rng.uniform(0.0, 1.0, lags), -rng.uniform(0.0, 0.2, lags)
    trains = {"a": rng.random((steps, 3)) < 0.4, "b": rng.random((steps, 2)) < 0.4}
    net = bs.Network()
    for name, spikes in trains.items():
        net.add(name, SpikeSource(), spikes.shape[1])
    net.add("c", LinearLeakLIF(), 1)
    plastic = {"plasticity": windowed_stdp(a_plus, a_minus), "bounds": bs.unbounded(), "ties": "post_first"}
    net.connect("a", "b", ExpCurrent(), bs.all_to_all(), weight=1.0, name="s", **plastic)
    inputs = {f"{name}.spikes": bs.array(spikes.astype(float)) for name, spikes in trains.items()}
    w = np.ones((3, 2))
    for n in range(steps):
        for k in range(min(lags, n)):
            pair = np.outer(trains["a"][n - 1 - k], trains["b"][n])
            w += np.where(pair, a_plus[k], a_minus[k])
    found = net.run(steps * dt, dt=dt, record=["s.w"], inputs=inputs)["s.w"][-1]
    np.testing.assert_allclose(found.reshape(3, 2), w, rtol=0, atol=1e-11)


def test_derivatives_by_amplitudes_are_numbers_of_steps():
    """How often each lag potentiates and depresses an edge, by the derivative of the last weight."""
    rng, steps = np.random.default_rng(3), 30
    trains = {"a": rng.random((steps, 3)) < 0.4, "b": rng.random((steps, 2)) < 0.4}
    net = bs.Network()
    for name, spikes in trains.items():
        net.add(name, SpikeSource(), spikes.shape[1])
    rule = windowed_stdp((1.0, 0.5), (-0.2, -0.1))
    edges = bs.all_to_all()
    net.connect(
        "a", "b", ExpCurrent(), edges, weight=1.0, name="s", plasticity=rule, bounds=bs.unbounded(), ties="post_first"
    )
    sim = net.compile(dt=1.0, record=["s.w"])
    inputs = {f"{name}.spikes": bs.array(spikes.astype(float)) for name, spikes in trains.items()}
    amplitudes = {key: x for key, x in sim.params.items() if ".A_" in key}
    slope = jax.jacrev(lambda p: sim.run(steps, p, inputs=inputs)["s.w"][-1])(amplitudes)
    for k in range(2):
        pairs = trains["a"][: steps - 1 - k].T.astype(int) @ trains["b"][k + 1 :].astype(int)
        assert np.array_equal(slope[f"s.A_plus_{k}"], pairs.ravel())
        assert np.array_equal(slope[f"s.A_minus_{k}"], steps - 1 - k - pairs.ravel())


def test_the_longest_window_is_exact_in_float32():
    net = bs.Network()
    net.add("a", SpikeSource(), 1)
    net.add("b", SpikeSource(), 1)
    rule = windowed_stdp(2.0 ** -np.arange(22.0), np.zeros(22))
    net.connect(
        "a", "b", ExpCurrent(), bs.all_to_all(), weight=0.0, name="s", plasticity=rule, bounds=bs.unbounded(),
        ties="post_first",
    )  # fmt: skip
    train = np.random.default_rng(0).random(40) < 0.5
    inputs = {"a.spikes": bs.array(train[:, None].astype(float)), "b.spikes": bs.spike_train([31.0])}
    found = net.run(40.0, dt=1.0, record=["s.w"], inputs=inputs)["s.w"][-1, 0]
    assert found == np.sum(2.0 ** -np.arange(22.0) * train[29:7:-1])


@pytest.mark.parametrize(
    ("plus", "minus", "words"),
    [
        ((1.0, 0.5), (-0.1,), "two lists of one length"),
        ((), (), "from 1 to 22"),
        (np.ones(23), np.zeros(23), "from 1 to 22"),
        ((-1.0,), (0.0,), "A_plus_0"),
        ((1.0,), (0.1,), "A_minus_0"),
    ],
)
def test_windows_that_cannot_be(plus, minus, words):
    with pytest.raises(ParameterError, match=words):
        windowed_stdp(plus, minus)


def test_what_else_cannot_be():
    with pytest.raises(ParameterError, match=r"windowed_stdp\(A_plus, A_minus\)"):
        WindowedSTDP()
    with pytest.raises(ParameterError, match="fire without end"):
        LinearLeakLIF(v_reset=1.0, v_th=0.5)
    with pytest.raises(ParameterError, match="2 edges lead from cell 0 to 1"):
        snm.superneuromat(2, [0, 0], [1, 1], [1.0, 2.0])
    with pytest.raises(ParameterError, match="two lists"):
        snm.superneuromat(2, [0], [1], [1.0], [True])


# --- digits


@pytest.fixture(scope="module")
def digits():
    """(train images, labels, test images, labels): the split of the tutorial, pixels in [0, 1]."""
    z = np.load(REFERENCE / "digits.npz")
    images, labels = z["images"] / 16.0, z["labels"].astype(int)
    assert (len(z["train"]), len(z["test"])) == (1203, 594)
    return images[z["train"]], labels[z["train"]], images[z["test"]], labels[z["test"]]


def accuracy(digits, seed, a_minus, threshold):
    images, labels, others, answers = digits
    weights = snm.teach(snm.bernoulli_trains(images, seed=seed), labels, A_minus=a_minus)
    counts = snm.classify(weights, snm.bernoulli_trains(others, seed=1000 + seed), threshold)
    return np.mean(counts.argmax(axis=1) == answers)


def linear_classifier(images, labels):
    """Multinomial logistic regression on the pixels: a function of images that gives labels."""
    from scipy.optimize import minimize

    widened = lambda images: np.hstack([images, np.ones((len(images), 1))])
    x, y = widened(images), np.eye(10)[labels]

    def loss(w):
        w = w.reshape(-1, 10)
        z = x @ w
        z -= z.max(axis=1, keepdims=True)
        total = np.exp(z).sum(axis=1, keepdims=True)
        slope = x.T @ (np.exp(z) / total - y) + 0.3 * w
        return -np.sum(y * (z - np.log(total))) + 0.15 * np.sum(w**2), slope.ravel()

    found = minimize(loss, np.zeros(x.shape[1] * 10), jac=True, method="L-BFGS-B", options={"maxiter": 30})
    return lambda images: (widened(images) @ found.x.reshape(-1, 10)).argmax(axis=1)


def test_teaching_counts_pairs():
    """With a teacher the weights are numbers of pairs, whatever the labels' cells have been made to do before."""
    rng = np.random.default_rng(0)
    trains, labels = rng.random((12, 8, 5)) < 0.4, np.arange(12) % 3
    weights = snm.teach(trains, labels, classes=3, A_plus=1.0, A_minus=-0.25)
    pairs = np.stack([trains[labels == j, :-1].sum(axis=(0, 1)) for j in range(3)], axis=1)
    expected = pairs - 0.25 * (4 * 7 - pairs)
    np.testing.assert_allclose(weights, expected / np.abs(expected).max(), rtol=1e-5, atol=1e-6)


def test_classifying_counts_spikes():
    rng = np.random.default_rng(1)
    weights, trains = rng.integers(-2, 4, (5, 3)) / 4.0, rng.random((6, 20, 5)) < 0.4
    counts, v = np.zeros((6, 3), int), np.zeros((6, 3))
    for n in range(1, 20):
        v += trains[:, n - 1] @ weights
        counts += v > 1.0
        v[v > 1.0] = 0.0
    assert counts.max() > 3
    assert np.array_equal(snm.classify(weights, trains, threshold=1.0), counts)


def test_digits_beside_a_linear_classifier(digits):
    """65.99 % is what NeuroCoreX reports for a network that is not public; 75 % is asked of this one from scratch."""
    images, labels, others, answers = digits
    assert 0.81 < accuracy(digits, 0, -0.4, 0.2) < 0.87  # ten seeds: 0.823 .. 0.847
    linear = np.mean(linear_classifier(images, labels)(others) == answers)
    assert 0.95 < linear < 0.98


@pytest.mark.slow
@pytest.mark.parametrize(("a_minus", "threshold", "mean"), [(-0.4, 0.2, 0.835), (-0.3, 1.0, 0.807)])
def test_digits_over_seeds(digits, a_minus, threshold, mean):
    found = [accuracy(digits, seed, a_minus, threshold) for seed in range(10)]
    assert min(found) >= 0.75
    assert abs(np.mean(found) - mean) < 0.006 and np.std(found, ddof=1) < 0.02


def test_trains_have_the_rates_of_their_pixels():
    images = np.array([[0.0, 0.5, 1.0]])
    trains = snm.bernoulli_trains(images, steps=20_000, seed=3)
    np.testing.assert_allclose(trains.mean(axis=(0, 1)), [0.0, 0.25, 0.5], atol=0.02)
