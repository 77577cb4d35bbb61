"""Hodgkin-Huxley model of the squid giant axon."""

import brainsim as bs
from brainsim.functions import exp, linoid, sigmoid


class HodgkinHuxley(bs.Neuron):
    """Hodgkin-Huxley model of the squid giant axon, with the resting potential at -65 mV.

    Equation::

        C v' = I - g_Na m^3 h (v - E_Na) - g_K n^4 (v - E_K) - g_L (v - E_L)
        x' = alpha_x (1 - x) - beta_x x    for x = m, h, n
        alpha_m = 0.1 (v+40) / (1 - exp(-(v+40)/10))     beta_m = 4 exp(-(v+65)/18)
        alpha_h = 0.07 exp(-(v+65)/20)                   beta_h = 1 / (1 + exp(-(v+35)/10))
        alpha_n = 0.01 (v+55) / (1 - exp(-(v+55)/10))    beta_n = 0.125 exp(-(v+65)/80)
        spike: v rises through v_th

    Defaults: a patch of 1e4 um^2 (1 uF/cm^2 = 100 pF; 120 mS/cm^2 = 12000 nS), so 10 uA/cm^2 is 1000 pA. The gates
    start in the steady state of the initial voltage.

    Args:
        C: membrane capacitance.
        g_Na, g_K, g_L: maximal conductances of sodium, potassium and leak.
        E_Na, E_K, E_L: reversal potentials.
        v_th: voltage that a spike rises through.

    Example:
        >>> round(float(HodgkinHuxley().init_m(v=-65.0)), 4)
        0.0529

    References:
        Hodgkin & Huxley 1952, 10.1113/jphysiol.1952.sp004764.
    """

    spike_on = "crossing"

    C = bs.param(100.0, "pF", bounds=(0, None))
    g_Na = bs.param(12000.0, "nS", bounds=(0, None), closed=True)
    g_K = bs.param(3600.0, "nS", bounds=(0, None), closed=True)
    g_L = bs.param(30.0, "nS", bounds=(0, None), closed=True)
    E_Na = bs.param(50.0, "mV")
    E_K = bs.param(-77.0, "mV")
    E_L = bs.param(-54.387, "mV")
    v_th = bs.param(0.0, "mV")
    mV, ms = bs.const(1.0, "mV"), bs.const(1.0, "ms")

    v = bs.state(-65.0, "mV")
    m = bs.state(0.05)
    h = bs.state(0.6)
    n = bs.state(0.32)

    def _rates_m(self, v):
        x = v / self.mV
        return linoid((x + 40.0) / 10.0) / self.ms, 4.0 * exp(-(x + 65.0) / 18.0) / self.ms

    def _rates_h(self, v):
        x = v / self.mV
        return 0.07 * exp(-(x + 65.0) / 20.0) / self.ms, sigmoid((x + 35.0) / 10.0) / self.ms

    def _rates_n(self, v):
        x = v / self.mV
        return 0.1 * linoid((x + 55.0) / 10.0) / self.ms, 0.125 * exp(-(x + 65.0) / 80.0) / self.ms

    def init_m(self, v):
        alpha, beta = self._rates_m(v)
        return alpha / (alpha + beta)

    def init_h(self, v):
        alpha, beta = self._rates_h(v)
        return alpha / (alpha + beta)

    def init_n(self, v):
        alpha, beta = self._rates_n(v)
        return alpha / (alpha + beta)

    def dv(self, v, m, h, n, I):
        sodium = self.g_Na * m**3 * h * (v - self.E_Na)
        potassium = self.g_K * n**4 * (v - self.E_K)
        leak = self.g_L * (v - self.E_L)
        return (I - sodium - potassium - leak) / self.C

    def dm(self, v, m):
        alpha, beta = self._rates_m(v)
        return alpha * (1.0 - m) - beta * m

    def dh(self, v, h):
        alpha, beta = self._rates_h(v)
        return alpha * (1.0 - h) - beta * h

    def dn(self, v, n):
        alpha, beta = self._rates_n(v)
        return alpha * (1.0 - n) - beta * n

    def spike(self, v):
        return v - self.v_th
