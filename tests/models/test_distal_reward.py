"""Distal reward: the network against a plain program of it, the critic against brute force, the published learning."""

import numpy as np
import pytest

import brainsim as bs
from brainsim.errors import ParameterError, RunError
from brainsim.models.circuits import distal_reward as distal
from brainsim.recorded import Spikes


def plain(net, noise, pulses):
    """The experiment as loops over cells that fire: (spikes as (step, cell), weights); pulses are steps."""
    learns, fixed = net[distal.PLASTIC], net["inh->exc"]
    out = [np.arange(*p.edges.indptr[i : i + 2]) for p, i in ((learns, i) for i in range(distal.N))]
    into = [np.flatnonzero(learns.edges.post == j) for j in range(distal.N)]
    source = np.repeat(np.arange(distal.N), np.diff(learns.edges.indptr))
    exc = np.arange(distal.N) < distal.N_EXC
    a, d = np.where(exc, 0.02, 0.1), np.where(exc, 8.0, 2.0)
    w, e, n, tonic = np.array(learns.weight, float), np.zeros(learns.n_edges), 0.0, 2e-4
    v, u = np.full(distal.N, -65.0), np.full(distal.N, -13.0)
    x, arriving, spikes = np.zeros(distal.N), np.zeros(distal.N), []
    mean = lambda rate: -np.expm1(-rate) / rate  # of exp(-rate t) over a step
    for step, current in enumerate(noise + 0.0):
        current = current + arriving
        for _ in range(2):
            v = v + 0.5 * (0.04 * v * v + 5.0 * v + 140.0 - u + current)
        u = u + a * (0.2 * v - u)
        w = np.clip(w + e * (n * mean(1 / 1000 + 1 / 200) + tonic * mean(1 / 1000)), 0.0, 4.0)
        e, n, x = e * np.exp(-1 / 1000), n * np.exp(-1 / 200), x * np.exp(-1 / 20)
        n += 0.05 * np.sum(step == np.asarray(pulses))
        fired = np.flatnonzero(v > 30.0)
        before, x = x.copy(), np.where(v > 30.0, 1.0, x)
        v[fired], u[fired], arriving = -65.0, u[fired] + d[fired], np.zeros(distal.N)
        for j in fired:
            e[into[j]] += 0.1 * before[source[into[j]]]
        for i in fired:
            e[out[i]] -= 0.15 * x[learns.edges.post[out[i]]]
            np.add.at(arriving, learns.edges.post[out[i]], w[out[i]])
            start, stop = fixed.edges.indptr[i : i + 2]
            np.add.at(arriving, fixed.edges.post[start:stop], -1.0)
            spikes.append((step, i))
    return spikes, w


def test_the_network_is_the_plain_program(x64):
    """Float64, 600 ms with three rewards: every spike, and every weight to rounding."""
    net, edge = distal.distal_reward(seed=3)
    noise, pulses = distal.NOISE * np.random.default_rng(0).uniform(-1, 1, (600, distal.N)), (150, 151, 420)
    spikes, weights = plain(net, noise, pulses)
    sim = net.compile(
        dt=distal.DT, method="euler", record=["cells.spikes", bs.trace(f"{distal.PLASTIC}.w", every=600.0)]
    )
    steps = np.full(distal.PULSES, -1, np.int32)
    steps[:3] = pulses
    made = sim.run(600.0, inputs={"cells.I": bs.array(noise), "vta.spikes": distal.Pulses(steps)})
    found = made["cells"]
    assert len(spikes) > 500
    assert list(zip(np.rint(found.times).astype(int) - 1, found.indices)) == spikes
    np.testing.assert_allclose(made[f"{distal.PLASTIC}.w"][-1], weights, rtol=1e-9, atol=1e-12)
    start = net[distal.PLASTIC].weight
    assert start[edge] == 0.0 and np.sum(start == 1.0) == len(start) - 1 == 79_999
    assert np.sum(np.abs(weights - start) > 1e-3) > 5000


def test_one_program_serves_all_rewards():
    sim = distal.distal_reward()[0].compile(dt=distal.DT, method="euler", record=["cells.spikes"])
    critic = distal.Critic(0, 1)
    for second in range(3):
        critic.due = 1000.0 * second + np.arange(1.0, 2.0 + 5 * second)
        sim.advance(1000.0, inputs={"cells.I": distal.UniformNoise(6.5), "vta.spikes": critic.give(1000.0 * second)})
    assert sim.n_traces == 1 and len(critic.rewards) == 1 + 6 + 11


def test_the_critic_rewards_coincidences():
    rng, critic, given = np.random.default_rng(0), distal.Critic(3, 8, interval=10.0, seed=1), []
    times, cells = np.unique([rng.integers(1, 30_001, 2000), rng.integers(0, 12, 2000)], axis=1)
    for second in range(34):
        start = 1000.0 * second
        steps = critic.give(start).steps
        given += [s + 1.0 for s in steps if s >= 0]  # found at the end of the step
        assert all(s == -1 or start <= s < start + 1000.0 for s in steps)
        now = (times > start) & (times <= start + 1000.0)
        critic.see(Spikes(times[now].astype(float), cells[now], 12))
    pre, pairs = times[cells == 3], []
    for t in times[cells == 8]:
        past = pre[pre <= t]
        pairs += [t] if len(past) and 0 < t - past.max() <= 10 else []
    assert len(pairs) > 5 and given == [1e3 * r / 1e3 for r in critic.rewards]
    # rewards as the same random numbers give them, in the order of the coincidences
    delays = np.random.default_rng([1, 1]).integers(1001, 3001, len(pairs))
    assert given == sorted(set((np.array(pairs) + delays).tolist()))


def test_what_the_critic_cannot_do():
    with pytest.raises(ParameterError, match="no reward can come earlier"):
        distal.Critic(0, 1, delay=(500.0, 3000.0))
    critic = distal.Critic(0, 1)
    critic.due = np.arange(1.0, 100.0)
    with pytest.raises(RunError, match="room for 64"):
        critic.give(0.0)
    with pytest.raises(ParameterError, match="not a multiple"):
        distal.condition(duration=15.0, every=10)


@pytest.mark.slow
@pytest.mark.parametrize("seed", (0, 1))
def test_a_reward_after_seconds_strengthens_its_synapse(seed):
    """One hour: to the maximum; with the same dopamine a minute late it stays like the others."""
    late = distal.condition(3600.0, seed, delay=(60_000.0, 62_000.0))
    learnt = distal.condition(3600.0, seed)
    assert learnt.weight.max() > 3.9 and learnt.weight[-60:].mean() > 3.0
    assert learnt.others[-1] < 0.6 and learnt.rank[-60:].mean() < 0.02 * len(learnt.weights)
    assert late.weight[-60:].mean() < 1.5 and len(late.rewards) > 30
