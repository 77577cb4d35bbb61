"""Neurons that regulate their own excitability."""

import brainsim as bs

from ..checks import require_below


class HomeostaticLIF(bs.Neuron):
    """Leaky integrate-and-fire neuron with intrinsic plasticity: its threshold integrates the error of its rate.

    Equation::

        tau v' = v_rest - v + R I
        theta' = -eta rho
        v > v_th + theta:  v = v_reset, theta += eta, v held for t_ref

    theta is eta times (spikes fired - spikes due), so the long-term rate is exactly rho as long as the input can make
    the cell fire at all. Threshold and offset are unbounded on both sides; keep eta small against v_th - v_rest.

    Args:
        tau, R, v_rest, v_th, v_reset, t_ref: as in `LIF`; v_th is the threshold at the start.
        rho: target rate.
        eta: rise of the threshold per spike.

    Example:
        >>> HomeostaticLIF(eta=0.5).reset(theta=1.0)
        {'v': -65.0, 'theta': 1.5}

    References:
        Lazar, Pipa & Triesch 2009, 10.3389/neuro.10.023.2009.
        Zhang & Linden 2003, 10.1038/nrn1248.
        Diehl & Cook 2015, 10.3389/fncom.2015.00099.
    """

    tau = bs.param(20.0, "ms", bounds=(0, None))
    R = bs.param(1.0, "GOhm", bounds=(0, None))
    v_rest = bs.param(-65.0, "mV")
    v_th = bs.param(-50.0, "mV")
    v_reset = bs.param(-65.0, "mV")
    t_ref = bs.param(2.0, "ms", bounds=(0, None), closed=True)
    rho = bs.param(5.0, "Hz", bounds=(0, None))
    eta = bs.param(0.1, "mV", bounds=(0, None), closed=True)
    per_Hz_ms = bs.const(1e-3, "1/(Hz*ms)")

    v = bs.state("v_rest", "mV")
    theta = bs.state(0.0, "mV")
    refractory = bs.refractory("t_ref", holds=("v",))

    def dv(self, v, I):
        return (self.v_rest - v + self.R * I) / self.tau

    def dtheta(self):
        return -self.eta * self.rho * self.per_Hz_ms

    def spike(self, v, theta):
        return v - (self.v_th + theta)

    def reset(self, theta):
        return dict(v=self.v_reset, theta=theta + self.eta)

    def validate(self):
        require_below(self, "v_reset", "v_th")
