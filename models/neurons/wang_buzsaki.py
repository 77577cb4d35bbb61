"""Fast-spiking interneuron of Wang and Buzsaki."""

import brainsim as bs
from brainsim.functions import exp, linoid, sigmoid


class WangBuzsaki(bs.Neuron):
    """Fast-spiking hippocampal interneuron with instantaneous sodium activation.

    Equation::

        C v' = I - g_Na m_inf^3 h (v - E_Na) - g_K n^4 (v - E_K) - g_L (v - E_L)
        h' = phi (alpha_h (1 - h) - beta_h h),  n' = phi (alpha_n (1 - n) - beta_n n)
        m_inf = alpha_m / (alpha_m + beta_m)
        alpha_m = 0.1 (v+35) / (1 - exp(-0.1 (v+35)))     beta_m = 4 exp(-(v+60)/18)
        alpha_h = 0.07 exp(-(v+58)/20)                    beta_h = 1 / (1 + exp(-0.1 (v+28)))
        alpha_n = 0.01 (v+34) / (1 - exp(-0.1 (v+34)))    beta_n = 0.125 exp(-(v+44)/80)
        spike: v rises through v_th

    Defaults: a patch of 1e4 um^2 (1 uF/cm^2 = 100 pF), so 1 uA/cm^2 is 100 pA. The gates start in the steady state of
    the initial voltage.

    Args:
        C: membrane capacitance.
        g_Na, g_K, g_L: maximal conductances of sodium, potassium and leak.
        E_Na, E_K, E_L: reversal potentials.
        phi: speed of h and n.
        v_th: voltage that a spike rises through.

    Example:
        >>> WangBuzsaki().spike(v=-10.0)
        -10.0

    References:
        Wang & Buzsaki 1996, 10.1523/JNEUROSCI.16-20-06402.1996.
    """

    spike_on = "crossing"

    C = bs.param(100.0, "pF", bounds=(0, None))
    g_Na = bs.param(3500.0, "nS", bounds=(0, None), closed=True)
    g_K = bs.param(900.0, "nS", bounds=(0, None), closed=True)
    g_L = bs.param(10.0, "nS", bounds=(0, None), closed=True)
    E_Na = bs.param(55.0, "mV")
    E_K = bs.param(-90.0, "mV")
    E_L = bs.param(-65.0, "mV")
    phi = bs.param(5.0, bounds=(0, None))
    v_th = bs.param(0.0, "mV")
    mV, ms = bs.const(1.0, "mV"), bs.const(1.0, "ms")

    v = bs.state("E_L", "mV")
    h = bs.state(0.8)
    n = bs.state(0.1)

    def _m_inf(self, v):
        x = v / self.mV
        alpha, beta = linoid((x + 35.0) / 10.0), 4.0 * exp(-(x + 60.0) / 18.0)
        return alpha / (alpha + beta)

    def _rates_h(self, v):
        x = v / self.mV
        return 0.07 * exp(-(x + 58.0) / 20.0) / self.ms, sigmoid((x + 28.0) / 10.0) / self.ms

    def _rates_n(self, v):
        x = v / self.mV
        return 0.1 * linoid((x + 34.0) / 10.0) / self.ms, 0.125 * exp(-(x + 44.0) / 80.0) / self.ms

    def init_h(self, v):
        alpha, beta = self._rates_h(v)
        return alpha / (alpha + beta)

    def init_n(self, v):
        alpha, beta = self._rates_n(v)
        return alpha / (alpha + beta)

    def dv(self, v, h, n, I):
        sodium = self.g_Na * self._m_inf(v) ** 3 * h * (v - self.E_Na)
        potassium = self.g_K * n**4 * (v - self.E_K)
        leak = self.g_L * (v - self.E_L)
        return (I - sodium - potassium - leak) / self.C

    def dh(self, v, h):
        alpha, beta = self._rates_h(v)
        return self.phi * (alpha * (1.0 - h) - beta * h)

    def dn(self, v, n):
        alpha, beta = self._rates_n(v)
        return self.phi * (alpha * (1.0 - n) - beta * n)

    def spike(self, v):
        return v - self.v_th
