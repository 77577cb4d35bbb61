"""NALSM against a dense map written here in NumPy; what the astrocyte does to a liquid on digits."""

import gzip
from pathlib import Path

import numpy as np
import pytest

import brainsim as bs
from brainsim.errors import ParameterError
from brainsim.models import LIF, SpikeSource
from brainsim.models.circuits import nalsm as library

REFERENCE = Path(__file__).parents[1] / "reference"

STEPS = 120


def dense(net):
    """(sources, targets) arrays of weights between [input, liquid] cells, and which are connected, by projection."""
    n_in, n = net["input"].n, net["liquid"].n
    w, there, inhibitory = np.zeros((n_in + n,) * 2), np.zeros((n_in + n,) * 2, bool), np.zeros(n_in + n, bool)
    for name in ("exc->exc", "exc->inh", "inh->exc", "inh->inh", "input->liquid"):
        p = net[name]
        pre = np.repeat(np.arange(p.edges.n_pre), np.diff(p.edges.indptr)) + (0 if name[:3] == "inp" else n_in)
        w[pre, p.edges.post + n_in] = np.asarray(p.weight_values)
        there[pre, p.edges.post + n_in] = True
    inhibitory[n_in + n * 4 // 5 :] = True
    return w, there, inhibitory


def march(net, current, w_a, fading, steps):
    """The published step for all cells and edges at once; decays are exponentials. Returns spikes, weights, astrocyte."""
    w, there, inhibitory = dense(net)
    n_in, n = net["input"].n, len(w)
    second = np.concatenate([np.zeros(n_in), net["exc->exc"].synapse.second]) > 0
    tau = np.where(second, 2.0, 1.0)
    low = np.where(inhibitory, -3.0, 0.0)[:, None] * np.ones(n)
    high = np.where(inhibitory, 0.0, 3.0)[:, None] * np.ones(n)
    low[:n_in], high[:n_in] = -3.0, 3.0
    v, held, a, leak = np.zeros(n), np.zeros(n, int), 0.15, np.exp(-1 / 64)
    flow, since = np.zeros((n, n)), np.full((n, 1), np.inf)  # what every edge delivers now; age of the latest spike
    x, fired, out, glia = np.zeros(n), np.zeros(n, bool), [], []
    for k in range(steps):
        # up to w, of which exp(-since / tau) is there already: with the weight of the spike before
        flow[fired] += (w * (1 - np.exp(-since / tau)))[fired]
        since[fired] = 0.0
        a = 0.15 + (a - 0.15 + w_a / 100 * (fired[n_in:].sum() - float(fired[:n_in].sum()))) * np.exp(-0.01)
        drive = np.concatenate([current[k], np.zeros(n - n_in)])
        drive = drive + np.where(there, flow, 0.0).sum(0) / tau
        v = v * leak + (1 - leak) * 64.0 * drive
        flow, since = flow * np.exp(-1 / tau), since + 1
        fired = (v > 20.0) & (held == 0)
        held = np.where(fired, 2, np.maximum(held - 1, 0))
        v = np.where(fired, 0.0, v)
        x = x * np.exp(-0.1)
        rate = fading ** (k + 1)
        pre = np.where(inhibitory[:, None], 0.15, -a) * x[None, :]
        post = np.where(inhibitory[:, None], -a, 0.15) * x[:, None]
        w = np.where(there & fired[:, None], np.clip(w + rate * pre, low, high), w)
        w = np.where(there & fired[None, :], np.clip(w + rate * post, low, high), w)
        x = x + 0.1 * fired
        out.append(fired.copy())
        glia.append(a)
    return np.array(out), w, np.array(glia)


@pytest.mark.parametrize("fading", [1.0, 0.97])
def test_network_is_the_published_map(x64, fading):
    """Spikes of every cell, all weights and the astrocyte of a small liquid."""
    net = library.nalsm(60, w_a=0.3, grid=(4, 3, 3), seed=2)
    rng = np.random.default_rng(5)
    current = 100.0 * (rng.random((STEPS, 60)) < 0.7 * rng.random(60))
    names = ["exc->exc", "exc->inh", "inh->exc", "inh->inh", "input->liquid"]
    sim = net.compile(dt=1.0, method="exp_euler", record=["*.spikes", "astro.a", *(f"{n}.w" for n in names)])
    curve = {f"{n}.learning": bs.array(fading ** np.arange(1, STEPS + 1)) for n in names}
    r = sim.run(float(STEPS), inputs={"input.I": bs.array(current), **curve})
    spikes, w, glia = march(net, current, 0.3, fading, STEPS)
    found = np.zeros_like(spikes)
    for name, first in (("input", 0), ("liquid", 60)):
        found[np.rint(np.asarray(r[name].times)).astype(int) - 1, first + np.asarray(r[name].indices)] = True
    assert spikes[:, 60:].sum() > 150, "the liquid must be active for this to be a test"
    np.testing.assert_array_equal(found, spikes)
    np.testing.assert_allclose(r["astro.a"][:, 0], glia, rtol=1e-9)
    assert np.ptp(glia) > 0.05
    for n in names:
        p = net[n]
        pre = np.repeat(np.arange(p.edges.n_pre), np.diff(p.edges.indptr)) + (0 if n[:3] == "inp" else 60)
        np.testing.assert_allclose(r[f"{n}.w"][-1], w[pre, p.edges.post + 60], atol=1e-9)
    assert np.abs(w - dense(net)[0]).max() > 0.05, "weights must learn for this to be a test"


def test_current_remembers_the_latest_spike(x64):
    """Against w/tau exp(-s/tau) summed over sources; a second spike replaces the first."""
    net = bs.Network()
    s = net.add("s", SpikeSource(), 2)
    a = net.add("a", LIF(tau=64.0, R=64.0, v_rest=0.0, v_th=1e9, v_reset=0.0), 2)
    synapse = library.LatestSpikeCurrent(second=np.array([0.0, 1.0]))
    net.connect(s, a, synapse, bs.all_to_all(), weight=2.0, name="p")
    sim = net.compile(dt=1.0, method="exp_euler", record=["p.i_1", "p.i_2"])
    train = {0: [3, 4, 9], 1: [5, 9]}
    t = [float(x) for i in train for x in train[i]]
    i = [i for i in train for _ in train[i]]
    r = sim.run(20.0, inputs={"s.spikes": bs.spike_trains(np.array(t), np.array(i))})
    for tau, name in ((1.0, "p.i_1"), (2.0, "p.i_2")):
        expected = []
        for now in range(1, 21):  # the value at the end of a step; a spike acts from the step after it
            ages = [now - max(u for u in train[k] if u < now) for k in train if min(train[k]) < now]
            expected.append(sum(2.0 * np.exp(-age / tau) for age in ages))
        np.testing.assert_allclose(r[name][:, 0], expected, atol=1e-12)


def test_astrocyte_holds_back_a_liquid():
    """A small liquid: STDP alone runs away, with an astrocyte it does not; weights go on, states do not."""
    image = np.random.default_rng(1).random((12, 64)) * 0.4
    rates = {}
    for learning in ("astrocyte", "stdp"):
        net = library.nalsm(64, w_a=0.3, learning=learning, grid=(6, 6, 6), seed=1)
        liquid = library.Liquid(net).settle(image)
        assert set(liquid.weights) == {f"{p}.weight" for p in liquid.plastic} and len(liquid.plastic) == 5
        answer = liquid.respond(image[:2], duration=100.0, branching=2)
        again = liquid.respond(image[:2], duration=100.0)
        np.testing.assert_array_equal(answer.counts, again.counts)
        assert np.isfinite(answer.branching)
        rates[learning] = answer.rate
    assert rates["astrocyte"] < 0.5 * rates["stdp"]


def test_branching_factor():
    """By hand: 0 -> 1, 0 -> 2; each spike of 0 is followed by one of 1 and of 2, each of 1 and 2 by none."""
    graph = np.zeros((3, 3), bool)
    graph[0, 1:] = True
    raster = np.zeros((40, 3), bool)
    raster[20, 0], raster[22, 1], raster[24, 2] = True, True, True
    assert library.branching_factor(raster, graph, margin=5) == pytest.approx((2.0 + 0.0 + 0.0) / 3)
    raster[25, 2] = True  # five steps after the source: outside the window
    assert library.branching_factor(raster, graph, margin=5) == pytest.approx((2.0 + 0.0 + 0.0) / 3)
    assert np.isnan(library.branching_factor(np.zeros((40, 3), bool), graph, margin=5))


def test_readout_and_features():
    rng = np.random.default_rng(0)
    labels = np.arange(90) % 3
    counts = rng.poisson(5.0, (90, 12)) + 15 * (np.arange(12)[None] // 4 == labels[:, None])
    x = library.features(counts)
    np.testing.assert_allclose(x.sum(1) / x[0].sum(), 1.0)
    assert x.max() == 1.0
    assert library.softmax_accuracy(x[:60], labels[:60], x[60:], labels[60:]) > 0.9
    shuffled = library.softmax_accuracy(x[:60], rng.permutation(labels[:60]), x[60:], labels[60:])
    assert shuffled < 0.7


def test_refused():
    with pytest.raises(ParameterError, match="astrocyte"):
        library.nalsm(4, learning="glia")
    with pytest.raises(ParameterError, match="positive number of mV"):
        library.nalsm(4, weight=0.0)


def compared(x, y, n, seed, conditions, settle, branching=8):
    """Accuracy on pixels, and (accuracy, Responses) of every condition: the first n samples train, the others test."""
    out = {"pixels": library.softmax_accuracy(x[:n], y[:n], x[n:], y[n:])}
    first = np.random.default_rng([seed, 7]).choice(n, settle)
    for name, options in conditions.items():
        liquid = library.Liquid(library.nalsm(x.shape[1], seed=seed, **options)).settle(x[first], seed=seed)
        answer = liquid.respond(x, seed=seed, branching=branching)
        f = library.features(answer.counts)
        out[name] = library.softmax_accuracy(f[:n], y[:n], f[n:], y[n:]), answer
    return out


@pytest.mark.slow
def test_digits():
    """150 digits to learn, 100 to test, 16 x 16 pixels: the mean of four seeds; one split has an error of 3 points."""
    file = np.load(REFERENCE / "digits.npz")
    images, target = (file["images"].reshape(-1, 8, 8) / 16.0).repeat(2, 1).repeat(2, 2), file["labels"].astype(int)
    images = images.reshape(-1, 256)
    conditions = {"nalsm": {}, "strong": {"w_a": 0.1}, "stdp": {"learning": "stdp"}}
    gain = []
    for seed in range(4):
        chosen = np.random.default_rng(seed).permutation(len(images))[:250]
        found = compared(images[chosen], target[chosen], 150, seed, conditions, 300)
        (nalsm, a), (_, strong), (stdp, b) = (found[k] for k in conditions)
        assert a.rate <= b.rate / 3
        assert strong.branching < a.branching < b.branching
        gain.append(nalsm - stdp)
    assert np.mean(gain) >= 0.05, gain


@pytest.mark.slow
def test_fashion_mnist(data):
    """Fashion-MNIST, 5000 to learn and 1000 to test; IDX files, folder `fashion-mnist` of the published data."""
    read = lambda name, offset: np.frombuffer(gzip.open(data(f"fashion-mnist/{name}")).read(), np.uint8, offset=offset)
    images = [
        read(f"{k}-images-idx3-ubyte.gz", 16).reshape(-1, 784)[:n] / 255.0 for k, n in (("train", 5000), ("t10k", 1000))
    ]
    labels = [read(f"{k}-labels-idx1-ubyte.gz", 8)[:n].astype(int) for k, n in (("train", 5000), ("t10k", 1000))]
    conditions = {"nalsm": {}, "stdp": {"learning": "stdp"}}
    found = compared(np.concatenate(images), np.concatenate(labels), 5000, 0, conditions, 1000, branching=20)
    assert found["nalsm"][0] >= found["stdp"][0] + 0.02
    assert 1.15 <= found["nalsm"][1].branching <= 1.30
