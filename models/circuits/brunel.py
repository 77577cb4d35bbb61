"""Sparsely connected network of excitatory and inhibitory cells (Brunel 2000, 10.1023/A:1008925309027), model A."""

import brainsim as bs
from brainsim.models.neurons.lif import LIF
from brainsim.models.synapses.delta import Delta

# name -> (g, eta), the four states of figure 8
REGIMES = {"AI": (5.0, 2.0), "SI_fast": (6.0, 4.0), "SI_slow": (4.5, 0.9), "SR": (3.0, 2.0)}


def brunel(g: float = 5.0, eta: float = 2.0, order: int = 2500, seed: int = 0) -> "bs.Network":
    """Delta synapses of J = 0.1 mV and -gJ, delay 1.5 ms, fixed in-degree 10 %, external Poisson input per cell.

    Every cell gets C_E = 0.4 `order` external trains of rate eta nu_thr, nu_thr = theta / (J C_E tau).

    Args:
        g: relative strength of inhibition. eta: external rate relative to the threshold rate.
        order: inhibitory cells; there are 4 `order` excitatory ones (12,500 cells by default).
        seed: of connectivity, initial values and trains.
    """
    net = bs.Network(seed=seed)
    tau, theta, c_e, c_i = 20.0, 20.0, 4 * order // 10, order // 10
    # in-degree times weight stays that of the full network
    j = 0.1 * 1000 / c_e
    exc = net.add("exc", LIF(tau=tau, v_rest=0.0, v_th=theta, v_reset=10.0, t_ref=2.0), 4 * order)
    inh = net.add("inh", exc.model, order)
    net.connect(exc, [exc, inh], Delta(), bs.fixed_indegree(c_e), weight=j, delay=1.5)
    net.connect(inh, [exc, inh], Delta(), bs.fixed_indegree(c_i), weight=-g * j, delay=1.5)
    rate = eta * theta / (j * c_e * tau) * 1e3  # Hz
    for target in (exc, inh):
        net.connect(bs.poisson(rate, n=c_e), target, Delta(), weight=j)
    return net
