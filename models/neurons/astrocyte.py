"""Astrocyte that integrates the activity of a network."""

import brainsim as bs


class Astrocyte(bs.Neuron):
    """Leaky astrocyte, whose state sets the depression of `AstrocyteSTDP`: activity of a network minus its input.

    Equation::

        tau_a a' = b - a + I

    Spikes reach it by `ToAstrocyte`. It never spikes.

    Args:
        tau_a: time constant.
        b: state without activity; a starts there.

    Example:
        >>> Astrocyte(b=0.25).da(a=0.25, I=5.0)
        0.05

    References:
        Ivanov & Michmizos 2021, arXiv:2111.01760.
        De Pitta, Brunel & Volterra 2016, 10.1016/j.neuroscience.2015.04.001 (astrocytes and plasticity).
    """

    tau_a = bs.param(100.0, "ms", bounds=(0, None))
    b = bs.param(0.15)
    I = bs.input("1")

    a = bs.state("b")

    def da(self, a, I):
        return (self.b - a + I) / self.tau_a
