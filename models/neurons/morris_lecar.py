"""Morris-Lecar model of the barnacle muscle fibre."""

from typing import ClassVar

import jax.numpy as jnp

import brainsim as bs
from brainsim.functions import exp

from ..presets import preset


class MorrisLecar(bs.Neuron):
    """Morris-Lecar model: calcium and potassium oscillations of the barnacle muscle fibre.

    Equation::

        C v' = I - g_Ca m_inf (v - E_Ca) - g_K w (v - E_K) - g_L (v - E_L)
        w' = phi cosh((v - V3) / (2 V4)) (w_inf - w)
        m_inf = (1 + tanh((v - V1) / V2)) / 2
        w_inf = (1 + tanh((v - V3) / V4)) / 2
        spike: v rises through v_th

    A patch of 100 um^2 keeps the published numbers: uF/cm^2, mS/cm^2 and uA/cm^2 read as pF, nS and pA.

    `MorrisLecar.preset(name)`: "hopf" (the defaults: class 2), "snlc" (class 1, saddle-node on a limit cycle) and
    "homoclinic", the three sets of Rinzel & Ermentrout. w starts in the steady state of the initial voltage.

    Args:
        C: membrane capacitance.
        g_Ca, g_K, g_L: maximal conductances of calcium, potassium and leak.
        E_Ca, E_K, E_L: reversal potentials.
        V1, V2: midpoint and width of the calcium activation.
        V3, V4: midpoint and width of the potassium activation w.
        phi: speed of w.
        v_th: voltage that a spike rises through.

    Example:
        >>> float(MorrisLecar().init_w(v=2.0))
        0.5

    References:
        Morris & Lecar 1981, 10.1016/S0006-3495(81)84782-0.
        Rinzel & Ermentrout 1998, in Methods in Neuronal Modeling, MIT Press.
    """

    spike_on = "crossing"

    C = bs.param(20.0, "pF", bounds=(0, None))
    g_Ca = bs.param(4.4, "nS", bounds=(0, None), closed=True)
    g_K = bs.param(8.0, "nS", bounds=(0, None), closed=True)
    g_L = bs.param(2.0, "nS", bounds=(0, None), closed=True)
    E_Ca = bs.param(120.0, "mV")
    E_K = bs.param(-84.0, "mV")
    E_L = bs.param(-60.0, "mV")
    V1 = bs.param(-1.2, "mV")
    V2 = bs.param(18.0, "mV", bounds=(0, None))
    V3 = bs.param(2.0, "mV")
    V4 = bs.param(30.0, "mV", bounds=(0, None))
    phi = bs.param(0.04, "1/ms", bounds=(0, None))
    v_th = bs.param(0.0, "mV")

    v = bs.state("E_L", "mV")
    w = bs.state(0.0)

    PRESETS: ClassVar = {
        "hopf": dict(g_Ca=4.4, V3=2.0, V4=30.0, phi=0.04),
        "snlc": dict(g_Ca=4.0, V3=12.0, V4=17.4, phi=0.0667),
        "homoclinic": dict(g_Ca=4.0, V3=12.0, V4=17.4, phi=0.23),
    }

    @classmethod
    def preset(cls, name, **changes):
        """A set of Rinzel & Ermentrout, for example `MorrisLecar.preset("snlc")`."""
        return preset(cls, cls.PRESETS, name, changes)

    def _w_inf(self, v):
        return 0.5 * (1.0 + jnp.tanh((v - self.V3) / self.V4))

    def init_w(self, v):
        return self._w_inf(v)

    def dv(self, v, w, I):
        m_inf = 0.5 * (1.0 + jnp.tanh((v - self.V1) / self.V2))
        calcium = self.g_Ca * m_inf * (v - self.E_Ca)
        potassium = self.g_K * w * (v - self.E_K)
        leak = self.g_L * (v - self.E_L)
        return (I - calcium - potassium - leak) / self.C

    def dw(self, v, w):
        half = (v - self.V3) / (2.0 * self.V4)
        speed = self.phi * 0.5 * (exp(half) + exp(-half))
        return speed * (self._w_inf(v) - w)

    def spike(self, v):
        return v - self.v_th
