"""Synapses that jump and decay exponentially."""

import brainsim as bs


class ExpCurrent(bs.Synapse):
    """Current that jumps by the weight (pA) at each arriving spike and decays exponentially.

    Equation::

        tau i' = -i
        spike:  i += w
        current into the target: i

    Args:
        tau: time constant of the decay.

    Example:
        >>> ExpCurrent(tau=10.0).di(i=5.0)
        -0.5

    References:
        Vogels & Abbott 2005, 10.1523/JNEUROSCI.3508-05.2005.
    """

    w = bs.weight("pA")
    tau = bs.param(5.0, "ms", bounds=(0, None))
    i = bs.state(0.0, "pA", on="post")

    def di(self, i):
        return -i / self.tau

    def on_pre(self, w):
        return dict(i=w)

    def current(self, i):
        return i


class ExpConductance(bs.Synapse):
    """Conductance that jumps by the weight (nS, not negative) at each arriving spike and decays exponentially.

    Equation::

        tau g' = -g
        spike:  g += w
        current into the target: g (E - v_post)

    The default E = 0 mV is excitatory; write E=-80.0 for an inhibitory one.

    Args:
        tau: time constant of the decay.
        E: reversal potential.

    Example:
        >>> ExpConductance().current(g=2.0, v_post=-60.0)
        120.0

    References:
        Vogels & Abbott 2005, 10.1523/JNEUROSCI.3508-05.2005.
        Destexhe, Mainen & Sejnowski 1994, 10.1162/neco.1994.6.1.14.
    """

    w = bs.weight("nS", bounds=(0, None))
    tau = bs.param(5.0, "ms", bounds=(0, None))
    E = bs.param(0.0, "mV")
    g = bs.state(0.0, "nS", on="post")

    def dg(self, g):
        return -g / self.tau

    def on_pre(self, w):
        return dict(g=w)

    def current(self, g, v_post):
        return g * (self.E - v_post)
