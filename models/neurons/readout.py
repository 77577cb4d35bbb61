"""Leaky readout: an integrator that never fires."""

import brainsim as bs


class LeakyReadout(bs.Neuron):
    """Leaky integrator without a threshold: the output of a spiking network, low-passed.

    Equation::

        tau v' = -v + bias + R I

    Delta synapses add their weight to v, so that v is the weighted sum of the spikes, filtered by exp(-t / tau).

    Args:
        tau: time constant.
        R: resistance.
        bias: v without input.

    Example:
        >>> LeakyReadout(tau=10.0).dv(v=0.0, I=5.0)
        0.5

    References:
        Bellec et al. 2020, 10.1038/s41467-020-17236-y.
    """

    tau = bs.param(20.0, "ms", bounds=(0, None))
    R = bs.param(1.0, "GOhm", bounds=(0, None))
    bias = bs.param(0.0, "mV")

    v = bs.state(0.0, "mV")

    def dv(self, v, I):
        return (-v + self.bias + self.R * I) / self.tau
