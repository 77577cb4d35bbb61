"""Synapses with the time course of an alpha function."""

import jax.numpy as jnp

import brainsim as bs


class AlphaCurrent(bs.Synapse):
    """Current with the time course of an alpha function whose peak, at t = tau, is the weight (pA).

    Equation::

        tau i' = e x - i
        tau x' = -x
        spike:  x += w,   so that i(t) = w (t / tau) exp(1 - t / tau)
        current into the target: i

    Args:
        tau: time from the spike to the peak.

    Example:
        >>> AlphaCurrent().di(i=5.0, x=0.0)
        -1.0

    References:
        Rall 1967, 10.1152/jn.1967.30.5.1138.
    """

    w = bs.weight("pA")
    tau = bs.param(5.0, "ms", bounds=(0, None))
    i = bs.state(0.0, "pA", on="post")
    x = bs.state(0.0, "pA", on="post")

    def di(self, i, x):
        return (jnp.e * x - i) / self.tau

    def dx(self, x):
        return -x / self.tau

    def on_pre(self, w):
        return dict(x=w)

    def current(self, i):
        return i


class AlphaConductance(bs.Synapse):
    """Conductance with the time course of an alpha function whose peak, at t = tau, is the weight (nS, not negative).

    Equation::

        tau g' = e x - g
        tau x' = -x
        spike:  x += w,   so that g(t) = w (t / tau) exp(1 - t / tau)
        current into the target: g (E - v_post)

    Args:
        tau: time from the spike to the peak.
        E: reversal potential.

    Example:
        >>> AlphaConductance().current(g=2.0, v_post=-60.0)
        120.0

    References:
        Rall 1967, 10.1152/jn.1967.30.5.1138.
    """

    w = bs.weight("nS", bounds=(0, None))
    tau = bs.param(5.0, "ms", bounds=(0, None))
    E = bs.param(0.0, "mV")
    g = bs.state(0.0, "nS", on="post")
    x = bs.state(0.0, "nS", on="post")

    def dg(self, g, x):
        return (jnp.e * x - g) / self.tau

    def dx(self, x):
        return -x / self.tau

    def on_pre(self, w):
        return dict(x=w)

    def current(self, g, v_post):
        return g * (self.E - v_post)
