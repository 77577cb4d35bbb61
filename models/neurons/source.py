"""Cells that only send spikes: Poisson trains and given spike trains."""

import warnings

import numpy as np

import brainsim as bs


class PoissonSource(bs.Neuron):
    """Independent Poisson spike trains, one per cell.

    Equation::

        P(spike in a step) = rate dt

    At most one spike per step and cell: keep rate dt well below 1. A superposition of n trains is one train of rate n
    times as high only as long as that holds.

    Args:
        rate: spikes per second.

    Example:
        >>> PoissonSource(rate=40.0).rate
        40.0

    References:
        Perkel, Gerstein & Moore 1967, 10.1016/S0006-3495(67)86596-2.
    """

    graded = False
    rate = bs.param(10.0, "Hz", bounds=(0, None), closed=True)
    per_Hz_ms = bs.const(1e-3, "1/(Hz*ms)")

    def check_step(self, dt, values):
        expected = float(np.max(values["rate"])) * dt * self.per_Hz_ms
        if expected > 0.1:
            warnings.warn(
                f"PoissonSource: {np.max(values['rate']):g} Hz are {expected:.3g} spikes in a step of {dt:g} ms, but a "
                f"cell sends at most one; take a smaller dt, more cells, or "
                f"connect bs.poisson(...), which has no such limit",
                stacklevel=6,
            )

    def spike(self, key, dt):
        return self.rate * dt * self.per_Hz_ms - bs.uniform_of(key)


class SpikeSource(bs.Neuron):
    """Cells that fire when they are told to: their spikes are an input.

    Equation::

        spike where `spikes` > 1/2

    Give the trains as the input "<name>.spikes" of a run.

    Example:
        >>> SpikeSource().spike(spikes=1.0)
        0.5
    """

    graded = False
    spikes = bs.input("1")

    def spike(self, spikes):
        return spikes - 0.5
