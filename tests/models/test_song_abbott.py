"""Competition by STDP: a run against a plain program, the inputs that vary together, published shares of weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainsim as bs
from brainsim.errors import ParameterError
from brainsim.models.circuits import song_abbott as song

P = song.EXAMPLE


def plain(spikes, weights, steps):
    """The cell and its synapses as a loop over steps: (steps of its spikes, weights)."""
    arriving = [[] for _ in range(steps + 1)]
    for t, i in zip(spikes.times, spikes.indices):
        arriving[round(t / song.DT) - 1].append(i)
    w, x, y, v, g, out = weights.copy(), np.zeros(len(weights)), 0.0, P.v_rest, 0.0, []
    trace, plus = np.exp(-song.DT / P.tau_stdp), P.A_plus * P.g_max
    sent = 0.0
    for step in range(steps):
        g += sent
        rate = (1.0 + g) / P.tau_m
        v += (P.v_rest - v - g * v) / P.tau_m * -np.expm1(-rate * song.DT) / rate
        g *= np.exp(-song.DT / P.tau_syn)
        x, y = x * trace, y * trace
        now, fires = arriving[step], v > P.v_th
        sent = w[now].sum()
        w[now] = np.clip(w[now] - P.ratio * plus * y, 0.0, P.g_max)
        x[now] += 1.0
        if fires:
            w = np.clip(w + plus * x, 0.0, P.g_max)
            y, v = y + 1.0, P.v_reset
            out.append(step + 1)
    return out, w


def test_the_model_is_the_plain_program(x64):
    net = song.song_abbott(P, seed=2)
    record = ["*.spikes", bs.trace(f"{song.PLASTIC}.w", every=1000.0)]
    made = net.compile(dt=song.DT, record=record).run(1000.0)
    fired, weights = plain(made["exc"], np.array(net[song.PLASTIC].weight, float), 10_000)
    assert len(fired) > 30
    assert np.rint(made["cell"].times / song.DT).astype(int).tolist() == fired
    np.testing.assert_allclose(made[f"{song.PLASTIC}.w"][-1], weights, rtol=1e-9, atol=1e-15)


def test_rates_of_a_group_vary_together():
    n, steps, dt = 8, 200_000, 1.0
    drive = song.JointRates(np.array([1.0] * 4 + [0.0] * 4, np.float32))

    def body(carry, step):
        value, carry = drive.value(step, dt, n, jnp.array([1, 2], jnp.uint32), carry)
        return carry, value

    _, rates = jax.lax.scan(body, drive.begin(n, jnp.float32), jnp.arange(steps))
    rates = np.asarray(rates, float)
    held = np.diff(np.flatnonzero(np.any(np.diff(rates, axis=0) != 0, axis=1)))
    assert held.mean() == pytest.approx(20.5, rel=0.05) and held.std() == pytest.approx(20.0, rel=0.08)
    assert np.all(np.any(np.diff(rates, axis=0) != 0, axis=1) == np.all(np.diff(rates, axis=0) != 0, axis=1))
    np.testing.assert_allclose(rates.mean(0), 0.0, atol=0.03)
    np.testing.assert_allclose(rates.std(0), 0.3 * np.sqrt(2), rtol=0.05)
    together = np.corrcoef(rates.T)
    np.testing.assert_allclose(together[:4, :4][~np.eye(4, dtype=bool)], 0.5, atol=0.05)
    np.testing.assert_allclose(together[4:][:, :][~np.eye(8, dtype=bool)[4:]], 0.0, atol=0.07)


def test_the_group_drives_the_sources():
    """Counts of inputs in 20 ms covary inside the group only."""
    sim = song.song_abbott(song.PAPER, rate=100.0).compile(dt=1.0, record=["exc.spikes"])
    group = song.JointRates((np.arange(1000) < 500).astype(np.float32))
    made = sim.run(20_000.0, inputs={"exc.excess": group})
    spikes, bins = made["exc"], np.arange(0.0, 20_001.0, 20.0)
    counts = [np.histogram(spikes.times[(spikes.indices < 500) == inside], bins)[0] for inside in (True, False)]
    fano = [c.var() / c.mean() for c in counts]
    assert spikes.counts().mean() == pytest.approx(2000.0, rel=0.02)
    assert fano[0] > 10 * fano[1] and fano[1] == pytest.approx(1.0, abs=0.3)


def test_what_cannot_be_run():
    with pytest.raises(ParameterError, match="not a multiple"):
        song.compete(15.0, every=10.0)
    with pytest.raises(ParameterError, match="1000 values"):
        song.compete(10.0, group=np.ones(3))


@pytest.mark.slow
@pytest.mark.parametrize("seed", (0, 1))
def test_weights_drift_apart(seed):
    """1000 s of the example: shares of weak and strong inputs and the rate, as an independent program gives them."""
    found = song.compete(1000.0, song.EXAMPLE, seed=seed)
    late = found.times > 500.0
    assert found.rates[0] == pytest.approx(49.0, rel=0.25)  # of 10 s, which depends on the weights drawn: 41 to 49
    assert found.weak[late].mean() == pytest.approx(0.28, abs=0.03)
    assert found.strong[late].mean() == pytest.approx(0.24, abs=0.03)
    assert found.rates[late].mean() == pytest.approx(21.5, rel=0.1)


@pytest.mark.slow
def test_the_group_that_varies_together_wins():
    group = np.arange(1000) < 500
    found = song.compete(1000.0, song.PAPER, rate=10.0, group=group, every=50.0)
    inside, outside = found.weights[-1, group].mean(), found.weights[-1, ~group].mean()
    assert inside > 0.75 and outside < 0.45 and inside > 2 * outside
