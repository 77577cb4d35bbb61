"""Leaky integrate-and-fire neuron."""

import brainsim as bs

from ..checks import require_below


class LIF(bs.Neuron):
    """Leaky integrate-and-fire neuron.

    Equation::

        tau v' = v_rest - v + R I
        v > v_th:  v = v_reset, held for t_ref

    R is 1 GOhm unless given, so a current of 1 pA moves the voltage by 1 mV.

    Args:
        tau: membrane time constant.
        R: membrane resistance.
        v_rest: resting potential; v starts there.
        v_th: threshold.
        v_reset: voltage after a spike, below v_th.
        t_ref: refractory time.

    Example:
        >>> LIF().dv(v=-65.0, I=20.0)
        1.0

    References:
        Lapicque 1907, translated in Brunel & van Rossum 2007, 10.1007/s00422-007-0190-0.
        Burkitt 2006 (review), 10.1007/s00422-006-0068-6.
    """

    tau = bs.param(20.0, "ms", bounds=(0, None))
    R = bs.param(1.0, "GOhm", bounds=(0, None))
    v_rest = bs.param(-65.0, "mV")
    v_th = bs.param(-50.0, "mV")
    v_reset = bs.param(-65.0, "mV")
    t_ref = bs.param(2.0, "ms", bounds=(0, None), closed=True)

    v = bs.state("v_rest", "mV")
    refractory = bs.refractory("t_ref", holds=("v",))

    def dv(self, v, I):
        return (self.v_rest - v + self.R * I) / self.tau

    def spike(self, v):
        return v - self.v_th

    def reset(self):
        return dict(v=self.v_reset)

    def validate(self):
        require_below(self, "v_reset", "v_th")
