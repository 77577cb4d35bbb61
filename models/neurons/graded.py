"""Neurons that never spike: the voltage itself is what they send."""

import brainsim as bs


class GradedNeuron(bs.Neuron):
    """Passive isopotential cell of a graded network (Kunert, Shlizerman & Kutz 2014, 10.1103/PhysRevE.89.052805).

    ``C dv/dt = g_L (E_L - v) + I_bias + I``, after Wicks, Roehrig & Rankin 1996. Defaults are those of the Neural
    Interactome program (Kim, Leahy & Shlizerman 2019, 10.3389/fncom.2019.00008): membrane time constant 150 ms.
    """

    C = bs.param(1.5, "pF", bounds=(0, None))
    g_L = bs.param(0.01, "nS", bounds=(0, None))
    E_L = bs.param(-35.0, "mV")
    I_bias = bs.param(0.0, "pA")  # constant input; thresholds that depend on it are solved from it

    v = bs.state("E_L", "mV")

    def dv(self, v, I):
        return (self.g_L * (self.E_L - v) + self.I_bias + I) / self.C
