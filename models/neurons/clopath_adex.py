"""Adaptive exponential neuron whose spikes have a width and an after-depolarisation, for voltage-based plasticity."""

import jax.numpy as jnp

import brainsim as bs
from brainsim.functions import exp

from ..checks import require_below


class ClopathAdEx(bs.Neuron):
    """Adaptive exponential neuron with a spike of finite width, an after-depolarisation and a threshold that jumps.

    Equation::

        C v' = -g_L (v - E_L) + g_L D_T exp((v - V_T) / D_T) - w + z + I
        tau_w w' = a (v - E_L) - w,  tau_z z' = -z,  tau_T V_T' = V_T_rest - V_T
        v > V_peak:  v = V_clamp for t_clamp, then V_r;  w += b, z = I_sp, V_T = V_T_max

    While v is clamped w stands still as well. This is the cell of `Clopath` and NEST's aeif_psc_delta_clopath, whose
    defaults these are, except V_r. Integrate it with exponential Euler (the default): stages within a step would miss
    the end of the clamp. Input that makes v jump while it is clamped is not ignored.

    Args:
        C, g_L, E_L, D_T, a, b, tau_w: as in `AdEx`.
        V_T_rest, V_T_max, tau_T: threshold at rest, after a spike, and time constant of its return.
        V_peak: voltage that counts as a spike.
        V_clamp, t_clamp: height and width of a spike.
        V_r: voltage after a spike.
        I_sp, tau_z: after-depolarising current and its time constant.

    Example:
        >>> ClopathAdEx().reset(w=0.0)["z"]
        400.0

    References:
        Clopath, Buesing, Vasilaki & Gerstner 2010, 10.1038/nn.2479.
        Badel et al. 2008, 10.1152/jn.01107.2007.
    """

    C = bs.param(281.0, "pF", bounds=(0, None))
    g_L = bs.param(30.0, "nS", bounds=(0, None))
    E_L = bs.param(-70.6, "mV")
    D_T = bs.param(2.0, "mV", bounds=(0, None))
    a = bs.param(4.0, "nS")
    b = bs.param(80.5, "pA")
    tau_w = bs.param(144.0, "ms", bounds=(0, None))
    V_T_rest = bs.param(-50.4, "mV")
    V_T_max = bs.param(30.4, "mV")
    tau_T = bs.param(50.0, "ms", bounds=(0, None))
    V_peak = bs.param(33.0, "mV")
    V_clamp = bs.param(33.0, "mV")
    t_clamp = bs.param(2.0, "ms", bounds=(0, None))
    V_r = bs.param(-49.6, "mV")
    I_sp = bs.param(400.0, "pA")
    tau_z = bs.param(40.0, "ms", bounds=(0, None))

    v = bs.state("E_L", "mV")
    w = bs.state(0.0, "pA")
    z = bs.state(0.0, "pA")
    V_T = bs.state("V_T_rest", "mV")
    clamp = bs.state(0.0, "ms")

    def dv(self, v, w, z, V_T, clamp, I, dt):
        v = jnp.minimum(v, self.V_peak)
        upswing = self.g_L * self.D_T * exp((v - V_T) / self.D_T)
        free = (-self.g_L * (v - self.E_L) + upswing - w + z + I) / self.C
        # the last step of the clamp ends at V_r; constant in v, so that exponential Euler makes exactly this jump
        last = jnp.where(clamp < 1.5 * dt, (self.V_r - self.V_clamp) / dt, 0.0)
        return jnp.where(clamp > 0.5 * dt, last, free)

    def dw(self, v, w, clamp, dt):
        return jnp.where(clamp > 0.5 * dt, 0.0, (self.a * (v - self.E_L) - w) / self.tau_w)

    def dz(self, z):
        return -z / self.tau_z

    def dV_T(self, V_T):
        return (self.V_T_rest - V_T) / self.tau_T

    def dclamp(self, clamp, dt):
        return -jnp.minimum(clamp / dt, 1.0)

    def spike(self, v, clamp, dt):
        return jnp.where(clamp > 0.5 * dt, self.V_r - self.V_peak, v - self.V_peak)

    def reset(self, w):
        return dict(v=self.V_clamp, w=w + self.b, z=self.I_sp, V_T=self.V_T_max, clamp=self.t_clamp)

    def validate(self):
        require_below(self, "V_r", "V_peak")
        require_below(self, "V_T_rest", "V_T_max")
