"""NMDA receptors: slow excitation that needs a depolarised target."""

import brainsim as bs
from brainsim.functions import exp

from .transmitter import concentration, countdown


class NMDA(bs.Synapse):
    """NMDA receptor with two-state kinetics and voltage-dependent magnesium block. Weight: maximal conductance (nS).

    Equation::

        r' = alpha [T] (1 - r) - beta r
        spike:  [T] = T_max for T_dur
        current into the target: w r B(v_post) (E - v_post)
        B(v) = 1 / (1 + Mg / 3.57 mM exp(-0.062 v / mV))

    r lives on the source: receptors of one source open together, so the work per step does not grow with the edges.

    Args:
        alpha: rate of binding.
        beta: rate of unbinding.
        E: reversal potential.
        Mg: magnesium outside the cell.
        T_max: concentration of the pulse of transmitter.
        T_dur: duration of the pulse.

    Example:
        >>> round(float(NMDA().current(g=1.0, v_post=-60.0)), 2)
        4.78

    References:
        Destexhe, Mainen & Sejnowski 1994, 10.1007/BF00961734.
        Jahr & Stevens 1990 (magnesium block), 10.1523/JNEUROSCI.10-09-03178.1990.
    """

    w = bs.weight("nS", bounds=(0, None))
    alpha = bs.param(0.072, "1/(mM*ms)", bounds=(0, None))
    beta = bs.param(0.0066, "1/ms", bounds=(0, None))
    E = bs.param(0.0, "mV")
    Mg = bs.param(1.0, "mM", bounds=(0, None), closed=True)
    T_max = bs.param(1.0, "mM", bounds=(0, None))
    T_dur = bs.param(1.0, "ms", bounds=(0, None))
    K_Mg = bs.const(3.57, "mM")
    slope = bs.const(0.062, "1/mV")

    r = bs.state(0.0, on="pre")
    pulse = bs.state(0.0, "ms", on="pre")

    def dr(self, r, pulse, dt):
        return self.alpha * concentration(pulse, dt, self.T_max) * (1.0 - r) - self.beta * r

    def dpulse(self, pulse, dt):
        return countdown(pulse, dt)

    def on_pre(self, pulse):
        return dict(pulse=self.T_dur - pulse)

    def output(self, r):
        return dict(g=r)

    def current(self, g, v_post):
        unblocked = 1.0 / (1.0 + self.Mg / self.K_Mg * exp(-self.slope * v_post))
        return g * unblocked * (self.E - v_post)


class SaturatingNMDA(bs.Synapse):
    """NMDA receptor whose gating saturates below 1, with magnesium block. Weight: conductance at s = 1 (nS).

    Equation::

        tau_rise x' = -x
        s' = -s / tau_decay + alpha x (1 - s)
        spike:  x += 1
        current into the target: w s B(v_post) (E - v_post)
        B(v) = 1 / (1 + Mg / 3.57 mM exp(-0.062 v / mV))

    x and s live on the source, as in the all-to-all networks of the papers: the target sees the weighted sum of s.

    Args:
        tau_rise: time constant of the rise.
        tau_decay: time constant of the decay.
        alpha: rate at which x opens the receptors.
        E: reversal potential.
        Mg: magnesium outside the cell.

    Example:
        >>> round(float(SaturatingNMDA(Mg=0.0).current(g=1.0, v_post=-60.0)), 2)
        60.0

    References:
        Wang 2002, 10.1016/S0896-6273(02)01092-9.
        Brunel & Wang 2001, 10.1023/A:1011204814320.
    """

    w = bs.weight("nS", bounds=(0, None))
    tau_rise = bs.param(2.0, "ms", bounds=(0, None))
    tau_decay = bs.param(100.0, "ms", bounds=(0, None))
    alpha = bs.param(0.5, "1/ms", bounds=(0, None))
    E = bs.param(0.0, "mV")
    Mg = bs.param(1.0, "mM", bounds=(0, None), closed=True)
    K_Mg = bs.const(3.57, "mM")
    slope = bs.const(0.062, "1/mV")

    x = bs.state(0.0, on="pre")
    s = bs.state(0.0, on="pre")

    def dx(self, x):
        return -x / self.tau_rise

    def ds(self, x, s):
        return self.alpha * x * (1.0 - s) - s / self.tau_decay

    def on_pre(self):
        return dict(x=1.0)

    def output(self, s):
        return dict(g=s)

    def current(self, g, v_post):
        unblocked = 1.0 / (1.0 + self.Mg / self.K_Mg * exp(-self.slope * v_post))
        return g * unblocked * (self.E - v_post)
