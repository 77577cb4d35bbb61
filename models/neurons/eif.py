"""Exponential integrate-and-fire neuron."""

import jax.numpy as jnp

import brainsim as bs
from brainsim.functions import exp

from ..checks import require_below


class EIF(bs.Neuron):
    """Exponential integrate-and-fire neuron.

    Equation::

        C v' = -g_L (v - E_L) + g_L D_T exp((v - V_T) / D_T) + I
        v > V_peak:  v = V_r, held for t_ref

    Defaults: the fit of the paper to the Wang-Buzsaki cell, per 1e4 um^2 of membrane (1 uF/cm^2 = 100 pF). V_peak is
    V_T + 5 D_T, from where the upswing lasts less than 0.1 ms; a higher one changes only the recorded peak and makes
    gradients through the upswing large. Beyond V_peak the equation is constant, so no stage of an integrator runs away.

    Args:
        C: membrane capacitance.
        g_L: leak conductance.
        E_L: reversal potential of the leak; v starts there.
        V_T: threshold of a slowly rising current.
        D_T: sharpness of the upswing.
        V_r: voltage after a spike.
        V_peak: voltage that counts as a spike.
        t_ref: refractory time.

    Example:
        >>> float(EIF(D_T=0.1).dv(v=-65.0, I=100.0))
        1.0

    References:
        Fourcaud-Trocme et al. 2003, 10.1523/JNEUROSCI.23-37-11628.2003.
    """

    C = bs.param(100.0, "pF", bounds=(0, None))
    g_L = bs.param(10.0, "nS", bounds=(0, None))
    E_L = bs.param(-65.0, "mV")
    V_T = bs.param(-59.9, "mV")
    D_T = bs.param(3.48, "mV", bounds=(0, None))
    V_r = bs.param(-68.0, "mV")
    V_peak = bs.param(-42.5, "mV")
    t_ref = bs.param(1.7, "ms", bounds=(0, None), closed=True)

    v = bs.state("E_L", "mV")
    refractory = bs.refractory("t_ref", holds=("v",))

    def dv(self, v, I):
        v = jnp.minimum(v, self.V_peak)
        upswing = self.g_L * self.D_T * exp((v - self.V_T) / self.D_T)
        return (-self.g_L * (v - self.E_L) + upswing + I) / self.C

    def spike(self, v):
        return v - self.V_peak

    def reset(self):
        return dict(v=self.V_r)

    def validate(self):
        require_below(self, "V_r", "V_peak")
