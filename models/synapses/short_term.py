"""Short-term plasticity of Tsodyks and Markram: depression by depletion, facilitation by residual calcium."""

import brainsim as bs


class TsodyksMarkramCurrent(bs.Synapse):
    """Current of a synapse with short-term depression and facilitation; weight (pA): response at full release.

    Equation::

        u' = -u / tau_f,  x' = (1 - x) / tau_d     (on the source)
        spike:  u += U (1 - u), then the fraction u x is released:  x -= u x,  i += w u x
        tau i' = -i
        current into the target: i

    Regular spikes at intervals D have u = U / (1 - (1 - U) e^(-D / tau_f)) and before each
    x = (1 - e^(-D / tau_d)) / (1 - (1 - u) e^(-D / tau_d)). tau_f much shorter than D is pure depression (u = U).
    u and x are exact between spikes; a source has one of each, whatever the delays. Defaults: depressing synapses of
    pyramidal cells (Tsodyks & Markram 1997); tau_f=530.0, tau_d=130.0, U=0.03 facilitates (Tsodyks et al. 1998).

    Args:
        U: release by the first spike.
        tau_f: time constant of facilitation.
        tau_d: time constant of recovery from depression.
        tau: time constant of the current.

    Example:
        >>> TsodyksMarkramCurrent(U=0.5).on_pre(w=10.0, u=0.0, x=1.0)["i"]
        5.0

    References:
        Tsodyks & Markram 1997, 10.1073/pnas.94.2.719.
        Tsodyks, Pawelzik & Markram 1998, 10.1162/089976698300017502.
    """

    w = bs.weight("pA")
    U = bs.param(0.67, bounds=(0, 1), closed=True)
    tau_f = bs.param(1.0, "ms", bounds=(0, None))
    tau_d = bs.param(800.0, "ms", bounds=(0, None))
    tau = bs.param(3.0, "ms", bounds=(0, None))

    u = bs.state(0.0, on="pre")
    x = bs.state(1.0, on="pre")
    i = bs.state(0.0, "pA", on="post")

    def du(self, u):
        return -u / self.tau_f

    def dx(self, x):
        return (1.0 - x) / self.tau_d

    def di(self, i):
        return -i / self.tau

    def on_pre(self, w, u, x):
        release = (u + self.U * (1.0 - u)) * x
        return dict(u=self.U * (1.0 - u), x=-release, i=w * release)

    def current(self, i):
        return i


class TsodyksMarkramConductance(bs.Synapse):
    """Conductance of a synapse with short-term depression and facilitation; weight (nS): response at full release.

    Equation::

        u' = -u / tau_f,  x' = (1 - x) / tau_d     (on the source)
        spike:  u += U (1 - u), then the fraction u x is released:  x -= u x,  g += w u x
        tau g' = -g
        current into the target: g (E - v_post)

    Args:
        U, tau_f, tau_d: as in `TsodyksMarkramCurrent`.
        tau: time constant of the conductance.
        E: reversal potential.

    Example:
        >>> TsodyksMarkramConductance(U=0.5).on_pre(w=10.0, u=0.0, x=1.0)["x"]
        -0.5

    References:
        Tsodyks & Markram 1997, 10.1073/pnas.94.2.719.
        Tsodyks, Pawelzik & Markram 1998, 10.1162/089976698300017502.
    """

    w = bs.weight("nS", bounds=(0, None))
    U = bs.param(0.67, bounds=(0, 1), closed=True)
    tau_f = bs.param(1.0, "ms", bounds=(0, None))
    tau_d = bs.param(800.0, "ms", bounds=(0, None))
    tau = bs.param(3.0, "ms", bounds=(0, None))
    E = bs.param(0.0, "mV")

    u = bs.state(0.0, on="pre")
    x = bs.state(1.0, on="pre")
    g = bs.state(0.0, "nS", on="post")

    def du(self, u):
        return -u / self.tau_f

    def dx(self, x):
        return (1.0 - x) / self.tau_d

    def dg(self, g):
        return -g / self.tau

    def on_pre(self, w, u, x):
        release = (u + self.U * (1.0 - u)) * x
        return dict(u=self.U * (1.0 - u), x=-release, g=w * release)

    def current(self, g, v_post):
        return g * (self.E - v_post)
