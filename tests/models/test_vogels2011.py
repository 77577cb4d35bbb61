"""Inhibitory plasticity: weights against sums over pairs of spikes, the way to the balance, the published state."""

import numpy as np
import pytest

import brainsim as bs
from brainsim.errors import ParameterError
from brainsim.models.circuits import vogels2011 as vogels


def test_weights_follow_the_pairs_of_spikes(x64):
    """Float64: every change of every weight, from the spikes alone."""
    net = vogels.vogels2011(n=400, rho0=5.0)
    record = ["*.spikes", bs.trace(f"{vogels.PLASTIC}.w", every=200.0)]
    made = net.compile(dt=vogels.DT, record=record).run(200.0, inputs={"*.I": vogels.BIAS})
    edges, alpha = net[vogels.PLASTIC].edges, 2 * 5e-3 * 20.0
    pre, post = made["inh"], made["exc"]
    source = np.repeat(np.arange(edges.n_pre), np.diff(edges.indptr))
    some, clipped = np.arange(0, len(source), 97), 0
    for k in some:
        a, b = np.rint(pre.of(source[k]) / vogels.DT), np.rint(post.of(edges.post[k]) / vogels.DT)
        events = sorted([(t, 0) for t in a] + [(t, 1) for t in b])  # of a tie the presynaptic spike comes first
        w = 0.0
        for t, is_post in events:
            seen = np.sum(np.exp(-(t - a[(a <= t) if is_post else (a < 0)]) / 200.0))
            seen += 0.0 if is_post else np.sum(np.exp(-(t - b[b < t]) / 200.0)) - alpha
            clipped += w + vogels.ETA * seen < 0.0
            w = max(w + vogels.ETA * seen, 0.0)
        assert made[f"{vogels.PLASTIC}.w"][-1, k] == pytest.approx(w, rel=1e-9, abs=1e-12)
    assert clipped > 10 and made[f"{vogels.PLASTIC}.w"].max() > 0.1


def test_inhibition_grows_until_it_balances():
    found = vogels.balance(3.0, n=1000, rest=1.0)
    assert found.rates[0] > 100.0 and found.weights[0] == 0.0
    assert found.rates[2] < 0.3 * found.rates[0] and found.weights[2] > 0.5
    assert found.excitation.mean() > 0 > found.inhibition.mean()


def test_what_cannot_be_built():
    with pytest.raises(ParameterError, match="200 synapses"):
        vogels.vogels2011(n=100)
    with pytest.raises(ParameterError, match="positive"):
        vogels.vogels2011(rho0=0.0)
    with pytest.raises(ParameterError, match="not a multiple"):
        vogels.balance(1.5)


@pytest.mark.slow
def test_the_whole_network_becomes_balanced():
    """Rates beside Brian 2 on the way (12 s), and the state after 100 s."""
    early = vogels.balance(12.0)
    # Brian 2.9, one network of the same numbers
    peer = [166.6, 71.8, 18.0, 13.4, 12.6, 11.0, 9.9, 10.0, 9.0, 8.5, 8.7, 8.2]
    np.testing.assert_allclose(early.rates, peer, rtol=0.12)
    assert early.weights[-1] == pytest.approx(1.518, rel=0.02)
    late = vogels.balance(100.0, every=10.0)
    assert 3.0 < late.rates[-1] < 5.0 and late.cells.std() < 0.3 * late.rates[-1]
    assert late.cv == pytest.approx(1.0, abs=0.1)
    assert abs(late.correlation) < 0.01
    # an inward current of 10 mV / R = 100 pA would hold a cell at threshold
    assert abs(late.excitation.mean() + late.inhibition.mean()) < 100.0 < late.excitation.mean()
