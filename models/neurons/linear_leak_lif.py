"""Integrate-and-fire neuron with a leak of constant speed, as digital hardware has it."""

import jax.numpy as jnp
import numpy as np

import brainsim as bs
from brainsim.errors import ParameterError


class LinearLeakLIF(bs.Neuron):
    """Integrate-and-fire neuron whose leak moves the voltage to v_reset by a constant amount per time, not beyond.

    Equation::

        v' = -leak sign(v - v_reset) + I / C        leak: the last step to v_reset ends there
        v > v_th:  v = v_reset, and no spike for t_ref

    The voltage is not held in the refractory time: it integrates on, and a cell that is above threshold when the time
    is over fires then. Take `method="euler"` and a step of 1 ms for the steps of the hardware, where C = 1 pF makes the
    increment of 1 pA in one step 1 mV.

    Args:
        leak: speed of the leak, at least 0.
        C: capacity.
        v_th: threshold, which v must exceed; at least v_reset.
        v_reset: voltage after a spike, and the one to which the leak leads; v starts there.
        t_ref: refractory time.

    Example:
        >>> float(LinearLeakLIF(leak=2.0).dv(v=5.0, I=1.0, dt=1.0))
        -1.0

    References:
        Date, Gunaratne, Kulkarni, Patton, Coletti & Potok 2023 (SuperNeuro), 10.1145/3589737.3606000.
        Gautam, Date, Kulkarni, Patton & Potok 2025 (NeuroCoreX), arXiv:2506.14138.
    """

    leak = bs.param(1.0, "mV/ms", bounds=(0, None), closed=True)
    C = bs.param(1.0, "pF", bounds=(0, None))
    v_th = bs.param(10.0, "mV")
    v_reset = bs.param(0.0, "mV")
    t_ref = bs.param(0.0, "ms", bounds=(0, None), closed=True)

    v = bs.state("v_reset", "mV")
    refractory = bs.refractory("t_ref", holds=())

    def dv(self, v, I, dt):
        return jnp.clip((self.v_reset - v) / dt, -self.leak, self.leak) + I / self.C

    def spike(self, v):
        return v - self.v_th

    def reset(self):
        return dict(v=self.v_reset)

    def validate(self):
        known = all(isinstance(x, int | float | np.ndarray) for x in (self.v_reset, self.v_th))
        if known and np.any(np.asarray(self.v_reset) > np.asarray(self.v_th)):
            raise ParameterError(
                f"LinearLeakLIF: v_reset = {np.max(self.v_reset):g} is above v_th = {np.min(self.v_th):g} somewhere, "
                f"so the cell would fire without end; give v_reset <= v_th (a voltage at the threshold does not fire)"
            )
