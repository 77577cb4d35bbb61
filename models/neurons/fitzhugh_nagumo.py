"""FitzHugh-Nagumo oscillator."""

import brainsim as bs


class FitzHughNagumo(bs.Neuron):
    """FitzHugh-Nagumo oscillator, the two-variable caricature of a membrane; all but time is dimensionless.

    Equation::

        tau v' = v - v^3/3 - w + I
        tau_w w' = v + a - b w
        spike: v rises through v_th

    One unit of the paper's time is tau = 1 ms; its rate 0.08 is tau_w = 12.5 ms. The start is the rest state of I = 0.

    Args:
        tau: time constant of v.
        tau_w: time constant of the recovery w.
        a, b: offset and slope of the nullcline of w.
        v_th: value that a spike rises through.

    Example:
        >>> FitzHughNagumo().dv(v=0.0, w=0.0, I=0.5)
        0.5

    References:
        FitzHugh 1961, 10.1016/S0006-3495(61)86902-6.
        Nagumo, Arimoto & Yoshizawa 1962, 10.1109/JRPROC.1962.288235.
    """

    spike_on = "crossing"

    tau = bs.param(1.0, "ms", bounds=(0, None))
    tau_w = bs.param(12.5, "ms", bounds=(0, None))
    a = bs.param(0.7)
    b = bs.param(0.8)
    v_th = bs.param(1.0)
    I = bs.input("1")

    v = bs.state(-1.1994080352440348)
    w = bs.state(-0.6242600440550434)

    def dv(self, v, w, I):
        return (v - v**3 / 3.0 - w + I) / self.tau

    def dw(self, v, w):
        return (v + self.a - self.b * w) / self.tau_w

    def spike(self, v):
        return v - self.v_th
