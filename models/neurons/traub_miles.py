"""Hodgkin-Huxley type neuron with the rates of Traub and Miles."""

import brainsim as bs
from brainsim.functions import exp, linoid, sigmoid


class TraubMiles(bs.Neuron):
    """Hippocampal pyramidal cell with the rates of Traub and Miles, the cell of the COBAHH benchmark.

    Equation, with x = v - V_T in mV::

        C v' = I - g_Na m^3 h (v - E_Na) - g_K n^4 (v - E_K) - g_L (v - E_L)
        y' = alpha_y (1 - y) - beta_y y    for y = m, h, n
        alpha_m = 0.32 (13-x) / (exp((13-x)/4) - 1)      beta_m = 0.28 (x-40) / (exp((x-40)/5) - 1)
        alpha_h = 0.128 exp((17-x)/18)                   beta_h = 4 / (1 + exp((40-x)/5))
        alpha_n = 0.032 (15-x) / (exp((15-x)/5) - 1)     beta_n = 0.5 exp((10-x)/40)
        spike: v rises through v_th

    Defaults: the benchmark's cell of 20000 um^2. The gates start in the steady state of the initial voltage.

    Args:
        C: membrane capacitance.
        g_Na, g_K, g_L: maximal conductances of sodium, potassium and leak.
        E_Na, E_K, E_L: reversal potentials.
        V_T: shift of the rates; the threshold lies a little above.
        v_th: voltage that a spike rises through.

    Example:
        >>> TraubMiles().spike(v=-10.0)
        10.0

    References:
        Traub & Miles 1991, Neuronal Networks of the Hippocampus, 10.1017/CBO9780511895401.
        Brette et al. 2007, 10.1007/s10827-007-0038-6.
    """

    spike_on = "crossing"

    C = bs.param(200.0, "pF", bounds=(0, None))
    g_Na = bs.param(20000.0, "nS", bounds=(0, None), closed=True)
    g_K = bs.param(6000.0, "nS", bounds=(0, None), closed=True)
    g_L = bs.param(10.0, "nS", bounds=(0, None), closed=True)
    E_Na = bs.param(50.0, "mV")
    E_K = bs.param(-90.0, "mV")
    E_L = bs.param(-60.0, "mV")
    V_T = bs.param(-63.0, "mV")
    v_th = bs.param(-20.0, "mV")
    mV, ms = bs.const(1.0, "mV"), bs.const(1.0, "ms")

    v = bs.state("E_L", "mV")
    m = bs.state(0.0)
    h = bs.state(1.0)
    n = bs.state(0.0)

    def _rates_m(self, v):
        x = (v - self.V_T) / self.mV
        return 1.28 * linoid((x - 13.0) / 4.0) / self.ms, 1.4 * linoid((40.0 - x) / 5.0) / self.ms

    def _rates_h(self, v):
        x = (v - self.V_T) / self.mV
        return 0.128 * exp((17.0 - x) / 18.0) / self.ms, 4.0 * sigmoid((x - 40.0) / 5.0) / self.ms

    def _rates_n(self, v):
        x = (v - self.V_T) / self.mV
        return 0.16 * linoid((x - 15.0) / 5.0) / self.ms, 0.5 * exp((10.0 - x) / 40.0) / self.ms

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
