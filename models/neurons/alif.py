"""Leaky integrate-and-fire neurons with adaptation: of the threshold, or by a current."""

import brainsim as bs

from ..checks import require_below


class ALIF(bs.Neuron):
    """Leaky integrate-and-fire neuron whose threshold rises with every spike (the cell of LSNN and e-prop networks).

    Equation::

        tau v' = v_rest - v + R I
        tau_a a' = -a
        v > v_th + beta a:  v -= v_th - v_reset (the overshoot is kept), a += 1, v held for t_ref

    The paper chooses beta and tau_a (200 to 2000 ms) for each task; the defaults here are its form on a voltage scale.

    Args:
        tau, R, v_rest, v_th, v_reset, t_ref: as in `LIF`; v_th is the threshold of a cell at rest.
        tau_a: time constant of the adaptation.
        beta: rise of the threshold per spike.

    Example:
        >>> ALIF().spike(v=-47.0, a=1.0)
        1.0

    References:
        Bellec et al. 2020, 10.1038/s41467-020-17236-y.
        Bellec et al. 2018, arXiv:1803.09574.
    """

    tau = bs.param(20.0, "ms", bounds=(0, None))
    R = bs.param(1.0, "GOhm", bounds=(0, None))
    v_rest = bs.param(-65.0, "mV")
    v_th = bs.param(-50.0, "mV")
    v_reset = bs.param(-65.0, "mV")
    t_ref = bs.param(2.0, "ms", bounds=(0, None), closed=True)
    tau_a = bs.param(200.0, "ms", bounds=(0, None))
    beta = bs.param(2.0, "mV")

    v = bs.state("v_rest", "mV")
    a = bs.state(0.0)
    refractory = bs.refractory("t_ref", holds=("v",))

    def dv(self, v, I):
        return (self.v_rest - v + self.R * I) / self.tau

    def da(self, a):
        return -a / self.tau_a

    def spike(self, v, a):
        return v - (self.v_th + self.beta * a)

    def reset(self, v, a):
        return dict(v=v - (self.v_th - self.v_reset), a=a + 1.0)

    def validate(self):
        require_below(self, "v_reset", "v_th")


class CurrentALIF(bs.Neuron):
    """Leaky integrate-and-fire neuron with a spike-triggered adaptation current.

    Equation::

        tau v' = v_rest - v + R (I - w)
        tau_w w' = a (v - v_rest) - w
        v > v_th:  v = v_reset, w += b, v held for t_ref

    Args:
        tau, R, v_rest, v_th, v_reset, t_ref: as in `LIF`.
        tau_w: time constant of the adaptation.
        a: subthreshold adaptation.
        b: adaptation current added by a spike.

    Example:
        >>> CurrentALIF().reset(w=1.0)
        {'v': -65.0, 'w': 3.0}

    References:
        Benda & Herz 2003, 10.1162/089976603322385063.
        Treves 1993, 10.1088/0954-898X_4_3_002.
    """

    tau = bs.param(20.0, "ms", bounds=(0, None))
    R = bs.param(1.0, "GOhm", bounds=(0, None))
    v_rest = bs.param(-65.0, "mV")
    v_th = bs.param(-50.0, "mV")
    v_reset = bs.param(-65.0, "mV")
    t_ref = bs.param(2.0, "ms", bounds=(0, None), closed=True)
    tau_w = bs.param(100.0, "ms", bounds=(0, None))
    a = bs.param(0.0, "nS")
    b = bs.param(2.0, "pA")

    v = bs.state("v_rest", "mV")
    w = bs.state(0.0, "pA")
    refractory = bs.refractory("t_ref", holds=("v",))

    def dv(self, v, w, I):
        return (self.v_rest - v + self.R * (I - w)) / self.tau

    def dw(self, v, w):
        return (self.a * (v - self.v_rest) - w) / self.tau_w

    def spike(self, v):
        return v - self.v_th

    def reset(self, w):
        return dict(v=self.v_reset, w=w + self.b)

    def validate(self):
        require_below(self, "v_reset", "v_th")
