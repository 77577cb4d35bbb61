"""The balanced networks COBA and CUBA (Vogels & Abbott 2005, 10.1523/JNEUROSCI.3508-05.2005, as benchmarks 1 and 2 of
Brette et al. 2007, 10.1007/s10827-007-0038-6)."""

import brainsim as bs
from brainsim.models.neurons.lif import LIF
from brainsim.models.synapses.exponential import ExpConductance, ExpCurrent


def coba(n: int = 4000, seed: int = 0, delay=0.0) -> "bs.Network":
    """Conductance-based network: LIF cells, 80 % excitatory, exponential conductances in units of the leak.

    v' = (v_rest - v + g_e (0 - v) + g_i (-80 - v) + 20 mV) / 20 ms. The drive of 20 mV is the input `I` (R = 1): run
    with `inputs={"*.I": 20.0}`. About 80 synapses per cell at every size (connection probability 80/n, 0.02 at 4000).

    Args:
        n: cells. seed: of connectivity and initial values. delay: ms.
    """
    net = bs.Network(seed=seed)
    n_exc = n * 4 // 5
    exc = net.add("exc", LIF(tau=20.0, v_rest=-60.0, v_th=-50.0, v_reset=-60.0, t_ref=5.0, R=1.0), n_exc)
    inh = net.add("inh", exc.model, n - n_exc)
    rule = bs.fixed_probability(80.0 / n)
    net.connect(exc, [exc, inh], ExpConductance(tau=5.0, E=0.0), rule, weight=0.6, delay=delay)
    net.connect(inh, [exc, inh], ExpConductance(tau=10.0, E=-80.0), rule, weight=6.7, delay=delay)
    net.init("*.v", bs.normal(-55.0, 2.0))
    return net


def cuba(n: int = 4000, seed: int = 0, delay=0.0) -> "bs.Network":
    """Current-based network: the same cells at rest -49 mV, just above threshold; synaptic currents in mV.

    v' = (v_rest - v + i_e + i_i) / 20 ms.

    Args:
        n: cells. seed: of connectivity and initial values. delay: ms.
    """
    net = bs.Network(seed=seed)
    n_exc = n * 4 // 5
    exc = net.add("exc", LIF(tau=20.0, v_rest=-49.0, v_th=-50.0, v_reset=-60.0, t_ref=5.0, R=1.0), n_exc)
    inh = net.add("inh", exc.model, n - n_exc)
    rule = bs.fixed_probability(80.0 / n)
    net.connect(exc, [exc, inh], ExpCurrent(tau=5.0), rule, weight=1.62, delay=delay)
    net.connect(inh, [exc, inh], ExpCurrent(tau=10.0), rule, weight=-9.0, delay=delay)
    net.init("*.v", bs.uniform(-60.0, -50.0))
    return net
