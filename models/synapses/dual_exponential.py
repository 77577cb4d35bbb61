"""Synapses that rise and decay exponentially, with two time constants.

The response to one spike is c (exp(-t/tau_decay) - exp(-t/tau_rise)). It is written as a cascade of two filters, and
its peak is brought to 1 by exp(linoid(log(tau_decay/tau_rise))), which is e where the time constants are equal: the
alpha function is the smooth limit, and neither value nor gradient has a singular point. Swapping the two time
constants gives the same response.
"""

import jax.numpy as jnp

import brainsim as bs
from brainsim.functions import exp, linoid


def unit_peak(tau_rise, tau_decay):
    """Gain of the cascade x -> y for which a jump of x by 1 makes y peak at 1."""
    return exp(linoid(jnp.log(tau_decay / tau_rise)))


class DualExpCurrent(bs.Synapse):
    """Current that rises with tau_rise and decays with tau_decay; its peak is the weight (pA).

    Equation::

        tau_decay i' = p x - i
        tau_rise x' = -x
        spike:  x += w,   so that i(t) is proportional to exp(-t/tau_decay) - exp(-t/tau_rise)
        current into the target: i

    p makes the peak of i equal to w; it is finite, and i an alpha function, where tau_rise = tau_decay.

    Args:
        tau_rise: time constant of the rise.
        tau_decay: time constant of the decay.

    Example:
        >>> round(float(DualExpCurrent(tau_rise=5.0, tau_decay=5.0).di(i=0.0, x=5.0)), 4)
        2.7183

    References:
        Roth & van Rossum 2009, 10.7551/mitpress/9780262013277.003.0007.
    """

    w = bs.weight("pA")
    tau_rise = bs.param(1.0, "ms", bounds=(0, None))
    tau_decay = bs.param(5.0, "ms", bounds=(0, None))
    i = bs.state(0.0, "pA", on="post")
    x = bs.state(0.0, "pA", on="post")

    def di(self, i, x):
        return (unit_peak(self.tau_rise, self.tau_decay) * x - i) / self.tau_decay

    def dx(self, x):
        return -x / self.tau_rise

    def on_pre(self, w):
        return dict(x=w)

    def current(self, i):
        return i


class DualExpConductance(bs.Synapse):
    """Conductance that rises with tau_rise and decays with tau_decay; its peak is the weight (nS, not negative).

    Equation::

        tau_decay g' = p x - g
        tau_rise x' = -x
        spike:  x += w,   so that g(t) is proportional to exp(-t/tau_decay) - exp(-t/tau_rise)
        current into the target: g (E - v_post)

    p makes the peak of g equal to w; it is finite, and g an alpha function, where tau_rise = tau_decay.

    Args:
        tau_rise: time constant of the rise.
        tau_decay: time constant of the decay.
        E: reversal potential.

    Example:
        >>> DualExpConductance().current(g=2.0, v_post=-60.0)
        120.0

    References:
        Roth & van Rossum 2009, 10.7551/mitpress/9780262013277.003.0007.
    """

    w = bs.weight("nS", bounds=(0, None))
    tau_rise = bs.param(1.0, "ms", bounds=(0, None))
    tau_decay = bs.param(5.0, "ms", bounds=(0, None))
    E = bs.param(0.0, "mV")
    g = bs.state(0.0, "nS", on="post")
    x = bs.state(0.0, "nS", on="post")

    def dg(self, g, x):
        return (unit_peak(self.tau_rise, self.tau_decay) * x - g) / self.tau_decay

    def dx(self, x):
        return -x / self.tau_rise

    def on_pre(self, w):
        return dict(x=w)

    def current(self, g, v_post):
        return g * (self.E - v_post)
