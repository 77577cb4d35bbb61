"""Inhibitory plasticity balances a network (Vogels, Sprekeler, Zenke, Clopath & Gerstner 2011,
10.1126/science.1211095).

A recurrent network without inhibition of its excitatory cells fires at its limit. Plastic inhibitory synapses then
grow, on every cell by itself, until it fires near the target rate: excitation and inhibition cancel and the network is
asynchronous and irregular.

Numbers are those of the authors' program (ModelDB 143751): cells of 200 pF and 10 nS, 2 % of all pairs connected,
target rate 3 Hz. Voltages start between reset and threshold instead of at one value.

Verified: weights are those of the pairs of spikes; rates and weights of the first 20 s beside Brian 2. Cells fire
at 3.9 Hz after 200 s and do not come down to 3 Hz: the target holds where spikes of both sides are independent, but an
inhibitory spike keeps its target from firing, so that pairs with the presynaptic spike first are 0.56 times as frequent
as by chance; with that the balance is at 3.8 Hz.
"""

from dataclasses import dataclass

import numpy as np

import brainsim as bs
from brainsim.errors import ParameterError
from brainsim.models.neurons.lif import LIF
from brainsim.models.plasticity.inhibitory import InhibitorySTDP
from brainsim.models.synapses.exponential import ExpConductance

DT = 0.1  # ms
E_EXC, E_INH = 0.0, -80.0  # mV
BIAS = 200.0  # pA into every cell
ETA, TAU_STDP = 0.01, 20.0  # nS, ms
W_MAX = 100.0  # nS
PLASTIC = "inh->exc"
SAMPLED = 200  # excitatory cells whose currents are recorded


def vogels2011(n: int = 10_000, rho0: float = 3.0, seed: int = 0) -> "bs.Network":
    """Populations `exc` (80 %) and `inh`; the projection "inh->exc" starts at 0 and learns.

    Excitatory synapses have 0.3 nS (5 ms), inhibitory ones among inhibitory cells 3 nS (10 ms); plastic ones are
    clipped at 100 nS. There are no delays. Run with `inputs={"*.I": BIAS}`.

    Args:
        n: cells. About 200 synapses per cell at every size: the probability of a connection is 200 / n (0.02).
        rho0: target rate in Hz.
        seed: of connectivity and initial voltages.

    Raises:
        ParameterError: fewer than 200 cells, or a target rate that is not positive.
    """
    if n < 200:
        raise ParameterError(f"n = {n} cells cannot have 200 synapses each; give at least 200")
    if not rho0 > 0:
        raise ParameterError(f"rho0 = {rho0} Hz is no rate to aim at; give a positive one")
    net = bs.Network(seed=seed)
    n_exc = n * 4 // 5
    model = LIF(tau=20.0, R=0.1, v_rest=-60.0, v_th=-50.0, v_reset=-60.0, t_ref=5.0)
    exc, inh = net.add("exc", model, n_exc), net.add("inh", model, n - n_exc)
    wiring = bs.fixed_probability(200.0 / n)
    excite, inhibit = ExpConductance(tau=5.0, E=E_EXC), ExpConductance(tau=10.0, E=E_INH)
    net.connect(exc, [exc, inh], excite, wiring, weight=0.3)
    net.connect(inh, inh, inhibit, wiring, weight=3.0)
    rule = InhibitorySTDP(eta=ETA, depression=2e-3 * rho0 * TAU_STDP, tau_z=TAU_STDP)
    net.connect(
        inh, exc, inhibit, wiring, weight=0.0, name=PLASTIC, plasticity=rule, bounds=bs.hard(0.0, W_MAX), deliver="new"
    )
    net.init("*.v", bs.uniform(-60.0, -50.0))
    return net


@dataclass(frozen=True)
class Balance:
    """How the network found its balance; "at the end" is the last stretch of `every` seconds.

    Attributes:
        times: (n,) s.
        rates: (n,) Hz of the excitatory cells between two times. inhibitory: the same of the inhibitory ones.
        weights: (n,) nS, mean of the plastic synapses.
        cells: (n_exc,) Hz, rates of the excitatory cells at the end.
        cv: mean coefficient of variation of their intervals at the end.
        correlation: of the spike counts of two excitatory cells in 5 ms at the end, the mean over all pairs; from the
            variance of the count of all, (variance / mean - 1) / (cells - 1).
        excitation, inhibition: (200,) pA, mean currents into single cells at the end, with the constant current in the
            first; positive is inward.
    """

    times: np.ndarray
    rates: np.ndarray
    inhibitory: np.ndarray
    weights: np.ndarray
    cells: np.ndarray
    cv: float
    correlation: float
    excitation: np.ndarray
    inhibition: np.ndarray


def balance(
    duration: float = 10.0, n: int = 10_000, rho0: float = 3.0, seed: int = 0, every: float = 1.0, rest: float = 1.0
) -> Balance:
    """Run the network; plasticity begins after `rest`.

    Args:
        duration, every: s, the first a multiple of the second.
        n, rho0, seed: as in `vogels2011`.
        rest: s.

    Raises:
        ParameterError: the duration is not a multiple of `every`.
    """
    m = round(duration / every)
    if m < 1 or abs(m * every - duration) > 1e-9 * duration:
        raise ParameterError(f"duration={duration} s is not a multiple of every={every} s; write a multiple")
    net = vogels2011(n, rho0, seed)
    some = np.arange(min(SAMPLED, net["exc"].n))
    read = {name: bs.trace(name, every=1.0, of=some) for name in ("exc.v", "exc->exc.g", f"{PLASTIC}.g")}
    record = ["*.spikes", *read.values(), bs.trace(f"{PLASTIC}.w", every=every * 1e3)]
    sim = net.compile(dt=DT, record=record)
    inputs = {"*.I": BIAS, f"{PLASTIC}.learning": bs.step(1.0, start=rest * 1e3)}
    seen = []
    for _ in range(m):
        r = sim.advance(every * 1e3, inputs=inputs)
        rates = r.rates()
        seen.append((rates["exc"], rates["inh"], float(r[f"{PLASTIC}.w"].mean())))
    v, g_exc, g_inh = (r[name] for name in read)
    count = np.diff(np.searchsorted(r["exc"].times, r.t_start + np.arange(0.0, every * 1e3 + 2.5, 5.0), side="right"))
    return Balance(
        every * np.arange(1, m + 1),
        *np.array(seen).T,
        cells=r["exc"].counts() / every,
        cv=r.cv("exc"),
        correlation=float((count.var() / max(count.mean(), 1e-12) - 1) / (net["exc"].n - 1)),
        excitation=np.mean(g_exc * (E_EXC - v), axis=0) + BIAS,
        inhibition=np.mean(g_inh * (E_INH - v), axis=0),
    )
