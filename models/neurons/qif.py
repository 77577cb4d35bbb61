"""Quadratic integrate-and-fire neuron."""

import jax.numpy as jnp

import brainsim as bs

from ..checks import require_below


class QIF(bs.Neuron):
    """Quadratic integrate-and-fire neuron, the normal form of a saddle-node on a limit cycle.

    Equation::

        C v' = k (v - v_rest) (v - v_c) + I
        v > v_peak:  v = v_reset, held for t_ref

    The equation is used up to v_peak and constant beyond, so that no stage of an integrator can run away. The
    defaults are the regular-spiking cell of `Izhikevich2007` without its recovery variable.

    Args:
        C: membrane capacitance.
        k: curvature of the current.
        v_rest: stable fixed point at I = 0; v starts there.
        v_c: unstable fixed point at I = 0: where the upswing begins.
        v_reset: voltage after a spike.
        v_peak: voltage that counts as a spike.
        t_ref: refractory time.

    Example:
        >>> float(QIF().dv(v=-60.0, I=50.0))
        0.5

    References:
        Latham et al. 2000, 10.1152/jn.2000.83.2.808.
        Ermentrout & Kopell 1986, 10.1137/0146017.
    """

    C = bs.param(100.0, "pF", bounds=(0, None))
    k = bs.param(0.7, "nS/mV", bounds=(0, None))
    v_rest = bs.param(-60.0, "mV")
    v_c = bs.param(-40.0, "mV")
    v_reset = bs.param(-50.0, "mV")
    v_peak = bs.param(35.0, "mV")
    t_ref = bs.param(2.0, "ms", bounds=(0, None), closed=True)

    v = bs.state("v_rest", "mV")
    refractory = bs.refractory("t_ref", holds=("v",))

    def dv(self, v, I):
        v = jnp.minimum(v, self.v_peak)
        return (self.k * (v - self.v_rest) * (v - self.v_c) + I) / self.C

    def spike(self, v):
        return v - self.v_peak

    def reset(self):
        return dict(v=self.v_reset)

    def validate(self):
        require_below(self, "v_reset", "v_peak")
