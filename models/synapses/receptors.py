"""Fast receptors with two-state kinetics: AMPA and GABA-A."""

import brainsim as bs

from .transmitter import concentration, countdown


class AMPA(bs.Synapse):
    """AMPA receptor with two-state kinetics, opened by a pulse of transmitter. Weight: maximal conductance (nS).

    Equation::

        r' = alpha [T] (1 - r) - beta r
        spike:  [T] = T_max for T_dur
        current into the target: w r (E - v_post)

    r lives on the source: receptors of one source open together, so the work per step does not grow with the edges.

    Args:
        alpha: rate of binding.
        beta: rate of unbinding.
        E: reversal potential.
        T_max: concentration of the pulse of transmitter.
        T_dur: duration of the pulse.

    Example:
        >>> AMPA().current(g=2.0, v_post=-60.0)
        120.0

    References:
        Destexhe, Mainen & Sejnowski 1994, 10.1007/BF00961734.
        Destexhe, Mainen & Sejnowski 1998, in Methods in Neuronal Modeling, MIT Press.
    """

    w = bs.weight("nS", bounds=(0, None))
    alpha = bs.param(1.1, "1/(mM*ms)", bounds=(0, None))
    beta = bs.param(0.19, "1/ms", bounds=(0, None))
    E = bs.param(0.0, "mV")
    T_max = bs.param(1.0, "mM", bounds=(0, None))
    T_dur = bs.param(1.0, "ms", bounds=(0, None))

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
        return g * (self.E - v_post)


class GABAA(bs.Synapse):
    """GABA-A receptor with two-state kinetics, opened by a pulse of transmitter. Weight: maximal conductance (nS).

    Equation::

        r' = alpha [T] (1 - r) - beta r
        spike:  [T] = T_max for T_dur
        current into the target: w r (E - v_post)

    r lives on the source: receptors of one source open together, so the work per step does not grow with the edges.

    Args:
        alpha: rate of binding.
        beta: rate of unbinding.
        E: reversal potential.
        T_max: concentration of the pulse of transmitter.
        T_dur: duration of the pulse.

    Example:
        >>> GABAA().current(g=2.0, v_post=-60.0)
        -40.0

    References:
        Destexhe, Mainen & Sejnowski 1994, 10.1007/BF00961734.
        Destexhe, Mainen & Sejnowski 1998, in Methods in Neuronal Modeling, MIT Press.
    """

    w = bs.weight("nS", bounds=(0, None))
    alpha = bs.param(5.0, "1/(mM*ms)", bounds=(0, None))
    beta = bs.param(0.18, "1/ms", bounds=(0, None))
    E = bs.param(-80.0, "mV")
    T_max = bs.param(1.0, "mM", bounds=(0, None))
    T_dur = bs.param(1.0, "ms", bounds=(0, None))

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
        return g * (self.E - v_post)
