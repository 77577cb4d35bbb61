"""Short-term plasticity of Tsodyks and Markram: steady state, recursion on irregular trains, together with STDP."""

import numpy as np
import pairing
import pytest

import brainsim as bs
from brainsim.models import LIF, STDP, TsodyksMarkramConductance, TsodyksMarkramCurrent

DT = 0.5
CELLS = {"depressing": (0.67, 1.0, 800.0), "facilitating": (0.03, 530.0, 130.0), "both": (0.3, 200.0, 300.0)}


def released(steps, U, tau_f, tau_d):
    """u and x of every spike (u after its jump, x before its release), from interval to interval."""
    u, x, out, last = 0.0, 1.0, [], None
    for s in steps:
        if last is not None:
            gap = (s - last) * DT
            u, x = u * np.exp(-gap / tau_f), 1.0 - (1.0 - x) * np.exp(-gap / tau_d)
        u += U * (1.0 - u)
        out.append((u, x))
        x -= u * x
        last = s
    return np.array(out)


def jumps(trace, tau):
    """Where a decaying trace jumps, and by how much: what arrives at the start of a step decays in it."""
    before = np.concatenate([[0.0], trace[:-1]]) * np.exp(-DT / tau)
    size = trace - before
    at = np.flatnonzero(size > 1e-9)
    return at, size[at] * np.exp(DT / tau)


@pytest.mark.parametrize("cls, state", [(TsodyksMarkramCurrent, "i"), (TsodyksMarkramConductance, "g")])
def test_releases_follow_the_recursion(cls, state, x64):
    """Irregular trains of two cells, with a delay: what arrives is w u x of the recursion."""
    trains = pairing.trains(np.random.default_rng(3), 2, 780, 30)
    net, a, b = pairing.network(2, 2, LIF())
    cells = CELLS if state == "i" else {"both": CELLS["both"]}
    for name, (U, tau_f, tau_d) in cells.items():
        net.connect(a, b, cls(U=U, tau_f=tau_f, tau_d=tau_d), bs.one_to_one(), weight=[2.0, 3.0], name=name, delay=1.0)
    sim = net.compile(dt=DT, record=[f"{n}.{state}" for n in cells])
    result = sim.advance(400.0, inputs={"a.spikes": pairing.as_input(trains, DT)})
    for name, how in cells.items():
        for k in range(2):
            expected = released(trains[k], *how)
            at, size = jumps(np.asarray(result[f"{name}.{state}"])[:, k], 3.0)
            assert np.ptp(at - trains[k]) == 0
            np.testing.assert_allclose(size, (2.0 + k) * expected[:, 0] * expected[:, 1], rtol=1e-10)


@pytest.mark.parametrize("interval", [10.0, 50.0])
def test_steady_state(interval, x64):
    """What a spike of a long regular train releases is the product of the closed forms of u and x."""
    spikes = 1 + np.arange(round(26 * 800.0 / interval)) * round(interval / DT)
    net, a, b = pairing.network(1, 1, LIF())
    for name, (U, tau_f, tau_d) in CELLS.items():
        rule = TsodyksMarkramCurrent(U=U, tau_f=tau_f, tau_d=tau_d)
        net.connect(a, b, rule, bs.one_to_one(), weight=5.0, name=name)
    sim = net.compile(dt=DT, record=[f"{n}.i" for n in CELLS])
    result = sim.advance(spikes[-1] * DT + 5.0, inputs={"a.spikes": pairing.as_input([spikes], DT)})
    for name, (U, tau_f, tau_d) in CELLS.items():
        u = U / (1.0 - (1.0 - U) * np.exp(-interval / tau_f))
        x = (1.0 - np.exp(-interval / tau_d)) / (1.0 - (1.0 - u) * np.exp(-interval / tau_d))
        _, size = jumps(np.asarray(result[f"{name}.i"])[-round(5 * interval / DT) :, 0], 3.0)
        np.testing.assert_allclose(size[-1], 5.0 * u * x, rtol=1e-10)


def test_short_and_long_term_together(x64):
    """STDP changes w, release multiplies it: a spike delivers w u x, with w before or after its own update."""
    rng = np.random.default_rng(5)
    pre, post = pairing.trains(rng, 1, 380, 25), pairing.trains(rng, 1, 380, 25)
    net, a, b = pairing.network(1, 1)
    how = CELLS["both"]
    for name in ("new", "old"):
        net.connect(
            a, b, TsodyksMarkramCurrent(U=how[0], tau_f=how[1], tau_d=how[2]), bs.one_to_one(), weight=1.0,
            name=name, plasticity=STDP(A_plus=0.3, A_minus=0.2), bounds=(0.0, 5.0), deliver=name,
        )  # fmt: skip
    sim = net.compile(dt=DT, record=["new.w", "new.i", "old.i"])
    result = sim.advance(200.0, inputs={"a.spikes": pairing.as_input(pre, DT), "b.spikes": pairing.as_input(post, DT)})
    w, u_x = np.asarray(result["new.w"])[:, 0], released(pre[0], *how).prod(1)
    assert np.ptp(w) > 0.5
    for name, late in (("new", 0), ("old", 1)):
        at, size = jumps(np.asarray(result[f"{name}.i"])[:, 0], 3.0)
        sent = at - 1  # the step at whose end the spike reached the synapse
        without_ties = ~np.isin(pre[0], post[0])  # at a tie the weight of the step has the later event in it, too
        np.testing.assert_allclose(size[without_ties], (w[sent - late] * u_x)[without_ties], rtol=1e-10)
