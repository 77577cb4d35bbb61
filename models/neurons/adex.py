"""Adaptive exponential integrate-and-fire neuron."""

from typing import ClassVar

import jax.numpy as jnp

import brainsim as bs
from brainsim.functions import exp

from ..checks import require_below
from ..presets import preset


def _naud(C, g_L, E_L, a, tau_w, b, V_r):
    return dict(C=C, g_L=g_L, E_L=E_L, V_T=-50.0, D_T=2.0, a=a, tau_w=tau_w, b=b, V_r=V_r, V_peak=-40.0)


class AdEx(bs.Neuron):
    """Adaptive exponential integrate-and-fire neuron.

    Equation::

        C v' = -g_L (v - E_L) + g_L D_T exp((v - V_T) / D_T) - w + I
        tau_w w' = a (v - E_L) - w
        v > V_peak:  v = V_r, w += b

    Defaults: the cell of the paper. V_peak is V_T + 5 D_T, from where the upswing lasts less than 0.1 ms (the paper
    goes on to 20 mV); a higher one changes only the recorded peak and makes gradients through the upswing large.
    Beyond V_peak the equations are constant, so no stage of an integrator runs away or kicks w.

    `AdEx.preset(name)` gives the firing patterns of Naud et al. 2008; `CURRENTS` has the current (pA) that shows each.

    Args:
        C: membrane capacitance.
        g_L: leak conductance.
        E_L: reversal potential of the leak; v starts there.
        V_T: threshold of a slowly rising current.
        D_T: sharpness of the upswing.
        V_r: voltage after a spike.
        V_peak: voltage that counts as a spike.
        a: subthreshold adaptation.
        b: adaptation current added by a spike.
        tau_w: time constant of the adaptation.

    Example:
        >>> AdEx.preset("tonic").reset(w=1.0)
        {'v': -58.0, 'w': 1.0}

    References:
        Brette & Gerstner 2005, 10.1152/jn.00686.2005.
        Naud et al. 2008, 10.1007/s00422-008-0264-7.
    """

    C = bs.param(281.0, "pF", bounds=(0, None))
    g_L = bs.param(30.0, "nS", bounds=(0, None))
    E_L = bs.param(-70.6, "mV")
    V_T = bs.param(-50.4, "mV")
    D_T = bs.param(2.0, "mV", bounds=(0, None))
    V_r = bs.param(-70.6, "mV")
    V_peak = bs.param(-40.4, "mV")
    a = bs.param(4.0, "nS")
    b = bs.param(80.5, "pA")
    tau_w = bs.param(144.0, "ms", bounds=(0, None))

    v = bs.state("E_L", "mV")
    w = bs.state(0.0, "pA")

    PRESETS: ClassVar = {
        "tonic": _naud(200.0, 10.0, -70.0, 2.0, 30.0, 0.0, -58.0),
        "adapting": _naud(200.0, 12.0, -70.0, 2.0, 300.0, 60.0, -58.0),
        "initial_burst": _naud(130.0, 18.0, -58.0, 4.0, 150.0, 120.0, -50.0),
        "regular_bursting": _naud(200.0, 10.0, -58.0, 2.0, 120.0, 100.0, -46.0),
        "delayed_accelerating": _naud(200.0, 12.0, -70.0, -10.0, 300.0, 0.0, -58.0),
        "delayed_regular_bursting": _naud(100.0, 10.0, -65.0, -10.0, 90.0, 30.0, -47.0),
        "transient": _naud(100.0, 10.0, -65.0, 10.0, 90.0, 100.0, -47.0),
    }
    CURRENTS: ClassVar = {
        "tonic": 500.0, "adapting": 500.0, "initial_burst": 400.0, "regular_bursting": 210.0,
        "delayed_accelerating": 300.0, "delayed_regular_bursting": 110.0, "transient": 180.0,
    }  # fmt: skip

    @classmethod
    def preset(cls, name, **changes):
        """The cell with a published firing pattern, for example `AdEx.preset("regular_bursting")`."""
        return preset(cls, cls.PRESETS, name, changes)

    def dv(self, v, w, I):
        v = jnp.minimum(v, self.V_peak)
        upswing = self.g_L * self.D_T * exp((v - self.V_T) / self.D_T)
        return (-self.g_L * (v - self.E_L) + upswing - w + I) / self.C

    def dw(self, v, w):
        v = jnp.minimum(v, self.V_peak)
        return (self.a * (v - self.E_L) - w) / self.tau_w

    def spike(self, v):
        return v - self.V_peak

    def reset(self, w):
        return dict(v=self.V_r, w=w + self.b)

    def validate(self):
        require_below(self, "V_r", "V_peak")
