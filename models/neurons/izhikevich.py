"""Izhikevich's two simple models of spiking neurons."""

from typing import ClassVar

import jax.numpy as jnp

import brainsim as bs

from ..checks import require_below
from ..presets import preset


class Izhikevich(bs.Neuron):
    """Simple model of spiking neurons in its dimensionless published form.

    Equation::

        v' = 0.04 v^2 + 5 v + 140 - u + I
        u' = a (b v - u)
        v > v_peak:  v = c, u += d

    The published numbers are kept: v in mV, u and I in mV/ms. The current I is in pA on a capacitance of 1 pF, so that
    1 pA is the paper's 1 and every synapse of the library fits. Beyond v_peak the equations are constant.

    `Izhikevich.preset("RS")` gives a published cell: RS regular spiking (the defaults), IB intrinsically bursting,
    CH chattering, FS fast spiking, LTS low-threshold spiking, TC thalamo-cortical, RZ resonator.

    Args:
        a: rate of the recovery variable u.
        b: coupling of u to v.
        c: voltage after a spike.
        d: what a spike adds to u.
        v_peak: voltage that counts as a spike.

    Example:
        >>> Izhikevich.preset("FS").a
        0.1

    References:
        Izhikevich 2003, 10.1109/TNN.2003.820440.
    """

    a = bs.param(0.02, "1/ms")
    b = bs.param(0.2, "1/ms")
    c = bs.param(-65.0, "mV")
    d = bs.param(8.0, "mV/ms")
    v_peak = bs.param(30.0, "mV")
    C = bs.const(1.0, "pF")
    mV, ms = bs.const(1.0, "mV"), bs.const(1.0, "ms")

    v = bs.state(-65.0, "mV")
    u = bs.state(-13.0, "mV/ms")

    PRESETS: ClassVar = {
        "RS": dict(a=0.02, b=0.2, c=-65.0, d=8.0),
        "IB": dict(a=0.02, b=0.2, c=-55.0, d=4.0),
        "CH": dict(a=0.02, b=0.2, c=-50.0, d=2.0),
        "FS": dict(a=0.1, b=0.2, c=-65.0, d=2.0),
        "LTS": dict(a=0.02, b=0.25, c=-65.0, d=2.0),
        "TC": dict(a=0.02, b=0.25, c=-65.0, d=0.05),
        "RZ": dict(a=0.1, b=0.26, c=-65.0, d=2.0),
    }

    @classmethod
    def preset(cls, name, **changes):
        """A published cell, for example `Izhikevich.preset("CH")`."""
        return preset(cls, cls.PRESETS, name, changes)

    def init_u(self, v):
        return self.b * v

    def dv(self, v, u, I):
        x = jnp.minimum(v, self.v_peak) / self.mV
        return (0.04 * x * x + 5.0 * x + 140.0) * self.mV / self.ms - u + I / self.C

    def du(self, v, u):
        return self.a * (self.b * jnp.minimum(v, self.v_peak) - u)

    def spike(self, v):
        return v - self.v_peak

    def reset(self, u):
        return dict(v=self.c, u=u + self.d)

    def validate(self):
        require_below(self, "c", "v_peak")


class Izhikevich2007(bs.Neuron):
    """Simple model of spiking neurons in its physical form.

    Equation::

        C v' = k (v - v_r) (v - v_t) - u + I
        u' = a (b (v - v_r) + b3 [v - v_b]_+^3 - u)
        v > v_peak:  v = c, u += d

    The cubic term (b3) is the book's recovery of fast-spiking interneurons; it is 0 elsewhere. Beyond v_peak the
    equations are constant. `Izhikevich2007.preset("RS")` gives a cell of the book: RS regular spiking (the defaults,
    figure 8.12), IB intrinsically bursting (8.19), CH chattering (8.23), FS fast spiking (8.27).

    Args:
        C: membrane capacitance.
        k: curvature of the current.
        v_r: resting potential; v starts there.
        v_t: instantaneous threshold.
        v_peak: voltage that counts as a spike.
        a: rate of the recovery current u.
        b: coupling of u to v.
        c: voltage after a spike.
        d: what a spike adds to u.
        b3: cubic coupling of u to v above v_b.
        v_b: where the cubic coupling begins.

    Example:
        >>> float(Izhikevich2007().dv(v=-60.0, u=0.0, I=100.0))
        1.0

    References:
        Izhikevich 2007, Dynamical Systems in Neuroscience, chapter 8, 10.7551/mitpress/2526.001.0001.
    """

    C = bs.param(100.0, "pF", bounds=(0, None))
    k = bs.param(0.7, "nS/mV", bounds=(0, None))
    v_r = bs.param(-60.0, "mV")
    v_t = bs.param(-40.0, "mV")
    v_peak = bs.param(35.0, "mV")
    a = bs.param(0.03, "1/ms")
    b = bs.param(-2.0, "nS")
    c = bs.param(-50.0, "mV")
    d = bs.param(100.0, "pA")
    b3 = bs.param(0.0, "nS/mV^2")
    v_b = bs.param(-55.0, "mV")

    v = bs.state("v_r", "mV")
    u = bs.state(0.0, "pA")

    PRESETS: ClassVar = {
        "RS": dict(C=100.0, k=0.7, v_r=-60.0, v_t=-40.0, v_peak=35.0, a=0.03, b=-2.0, c=-50.0, d=100.0),
        "IB": dict(C=150.0, k=1.2, v_r=-75.0, v_t=-45.0, v_peak=50.0, a=0.01, b=5.0, c=-56.0, d=130.0),
        "CH": dict(C=50.0, k=1.5, v_r=-60.0, v_t=-40.0, v_peak=25.0, a=0.03, b=1.0, c=-40.0, d=150.0),
        "FS": dict(C=20.0, k=1.0, v_r=-55.0, v_t=-40.0, v_peak=25.0, a=0.2, b=0.0, c=-45.0, d=0.0, b3=0.025),
    }

    @classmethod
    def preset(cls, name, **changes):
        """A cell of the book, for example `Izhikevich2007.preset("IB")`."""
        return preset(cls, cls.PRESETS, name, changes)

    def dv(self, v, u, I):
        v = jnp.minimum(v, self.v_peak)
        return (self.k * (v - self.v_r) * (v - self.v_t) - u + I) / self.C

    def du(self, v, u):
        v = jnp.minimum(v, self.v_peak)
        above = jnp.maximum(v - self.v_b, 0.0)
        return self.a * (self.b * (v - self.v_r) + self.b3 * above**3 - u)

    def spike(self, v):
        return v - self.v_peak

    def reset(self, u):
        return dict(v=self.c, u=u + self.d)

    def validate(self):
        require_below(self, "c", "v_peak")
