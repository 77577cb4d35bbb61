"""Reduced Wong-Wang node: a cortical area by the fraction of its open NMDA channels."""

import brainsim as bs
from brainsim.functions import linoid


class ReducedWongWang(bs.Neuron):
    """Reduced Wong-Wang node: gating s of the NMDA synapses of an area, noise included.

    Equation::

        s' = -s / tau_s + gamma (1 - s) H(x) + sigma xi
        x = w J s + I_0 + J I
        H(x) = (a x - b) / (1 - exp(-d (a x - b)))

    xi is white noise of unit intensity (per sqrt(ms)). The input `I` counts open channels elsewhere: connect areas with
    a `GradedSum` of their s.

    Args:
        tau_s: time constant of the gating.
        gamma: kinetic factor.
        w: strength of the recurrence in the area.
        J: current of one open channel.
        I_0: external current.
        a, b, d: slope, offset and curvature of the rate H.
        sigma: intensity of the noise; 0 for none.

    Example:
        >>> round(float(ReducedWongWang(I_0=0.4, J=0.0).ds(s=0.0, I=0.0)), 6)
        0.004162

    References:
        Wong & Wang 2006, 10.1523/JNEUROSCI.3733-05.2006.
        Deco et al. 2013, 10.1523/JNEUROSCI.1091-13.2013.
    """

    tau_s = bs.param(100.0, "ms", bounds=(0, None))
    gamma = bs.param(0.641)
    w = bs.param(0.6)
    J = bs.param(0.2609, "nA")
    I_0 = bs.param(0.33, "nA")
    a = bs.param(0.27, "1/(nA*ms)")
    b = bs.param(0.108, "1/ms")
    d = bs.param(154.0, "ms", bounds=(0, None))
    sigma = bs.param(0.0, "1/ms**0.5", bounds=(0, None), closed=True)
    I = bs.input("1")

    s = bs.state(0.1)

    def ds(self, s, I):
        x = self.w * self.J * s + self.I_0 + self.J * I
        rate = linoid(self.d * (self.a * x - self.b)) / self.d
        return -s / self.tau_s + self.gamma * (1.0 - s) * rate

    def noise_s(self):
        return self.sigma
