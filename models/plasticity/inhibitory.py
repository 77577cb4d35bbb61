"""Plasticity of inhibitory synapses."""

import brainsim as bs


class InhibitorySTDP(bs.Plasticity):
    """Inhibitory STDP that balances excitation: coincidence strengthens inhibition, a presynaptic spike weakens it.

    Equation::

        z_in' = -z_in / tau_z,    pre spike:   w += eta (z_out - depression),  z_in += 1
        z_out' = -z_out / tau_z,  post spike:  w += eta z_in,                  z_out += 1

    The target settles at the rate depression / (2 tau_z): 3 Hz with the defaults. The weight is positive, so the
    synapse is one with an inhibitory reversal potential (for negative weights give eta < 0). eta is in the unit of the
    weight; the paper takes 0.01 of its unit, the leak conductance.

    Args:
        eta: learning rate.
        depression: by a presynaptic spike alone, relative to eta; alpha of the paper.
        tau_z: width of the coincidence.

    Example:
        >>> InhibitorySTDP(eta=1.0, depression=0.5).on_pre(z_out=1.0)["w"]
        0.5

    References:
        Vogels, Sprekeler, Zenke, Clopath & Gerstner 2011, 10.1126/science.1211095.
    """

    eta = bs.param(0.01)
    depression = bs.param(0.12)
    tau_z = bs.param(20.0, "ms", bounds=(0, None))

    z_in = bs.state(0.0, on="pre")
    z_out = bs.state(0.0, on="post")

    def dz_in(self, z_in):
        return -z_in / self.tau_z

    def dz_out(self, z_out):
        return -z_out / self.tau_z

    def on_pre(self, z_out):
        return dict(z_in=1.0, w=self.eta * (z_out - self.depression))

    def on_post(self, z_in):
        return dict(z_out=1.0, w=self.eta * z_in)
