"""Synapse onto an astrocyte."""

import brainsim as bs


class ToAstrocyte(bs.Synapse):
    """Input of spikes to an `Astrocyte`: its state jumps by the weight divided by its time constant.

    Equation::

        spike:  a_post += w / tau_a

    In the paper the cells of the network have the weight w_a, those of the input -w_a.

    Args:
        tau_a: time constant of the astrocyte.

    Example:
        >>> ToAstrocyte(tau_a=100.0).on_pre(w=5.0)
        {'a_post': 0.05}

    References:
        Ivanov & Michmizos 2021, arXiv:2111.01760.
        De Pitta, Brunel & Volterra 2016, 10.1016/j.neuroscience.2015.04.001 (astrocytes and plasticity).
    """

    w = bs.weight("ms")
    tau_a = bs.param(100.0, "ms", bounds=(0, None))

    def on_pre(self, w):
        return dict(a_post=w / self.tau_a)
