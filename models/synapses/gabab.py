"""GABA-B receptor: slow inhibition through a G protein."""

import brainsim as bs

from .transmitter import concentration, countdown


class GABAB(bs.Synapse):
    """GABA-B receptor: the bound receptor makes G protein, four of which open a potassium channel. Weight: nS.

    Equation::

        r' = K1 [T] (1 - r) - K2 r
        s' = K3 r - K4 s
        spike:  [T] = T_max for T_dur
        current into the target: w s^4 / (s^4 + Kd) (E - v_post)

    r is the bound fraction of the receptors, s the G protein as a number of uM (so Kd = 100 is the published 100 uM^4).
    Both live on the source. One spike hardly opens the channel; a burst does.

    Args:
        K1, K2: rates of binding and unbinding.
        K3, K4: rates of production and removal of G protein.
        Kd: s^4 at which half the channels are open.
        E: reversal potential.
        T_max: concentration of the pulse of transmitter.
        T_dur: duration of the pulse.

    Example:
        >>> GABAB(Kd=1.0).output(s=1.0)
        {'g': 0.5}

    References:
        Destexhe & Sejnowski 1995, 10.1073/pnas.92.21.9515.
        Destexhe, Mainen & Sejnowski 1998, in Methods in Neuronal Modeling, MIT Press.
    """

    w = bs.weight("nS", bounds=(0, None))
    K1 = bs.param(0.09, "1/(mM*ms)", bounds=(0, None))
    K2 = bs.param(0.0012, "1/ms", bounds=(0, None))
    K3 = bs.param(0.18, "1/ms", bounds=(0, None))
    K4 = bs.param(0.034, "1/ms", bounds=(0, None))
    Kd = bs.param(100.0, bounds=(0, None))
    E = bs.param(-95.0, "mV")
    T_max = bs.param(1.0, "mM", bounds=(0, None))
    T_dur = bs.param(1.0, "ms", bounds=(0, None))

    r = bs.state(0.0, on="pre")
    s = bs.state(0.0, on="pre")
    pulse = bs.state(0.0, "ms", on="pre")

    def dr(self, r, pulse, dt):
        return self.K1 * concentration(pulse, dt, self.T_max) * (1.0 - r) - self.K2 * r

    def ds(self, r, s):
        return self.K3 * r - self.K4 * s

    def dpulse(self, pulse, dt):
        return countdown(pulse, dt)

    def on_pre(self, pulse):
        return dict(pulse=self.T_dur - pulse)

    def output(self, s):
        return dict(g=s**4 / (s**4 + self.Kd))

    def current(self, g, v_post):
        return g * (self.E - v_post)
