"""Pulse of transmitter in the cleft, which opens the kinetic receptors.

A spike sets the state `pulse` to the duration of the pulse; it counts down to 0 and stays there. So a second spike
within the pulse prolongs it, and no spike time has to be remembered.
"""

import jax.numpy as jnp


def concentration(pulse, dt, height):
    """Transmitter (mM) during a step: `height` while the pulse lasts.

    What is left of the last step of the countdown (rounding by exponential Euler, 3/8 of a step by rk4, 1/2 by heun)
    must not add a whole step to the pulse.
    """
    return jnp.where(pulse > 0.6 * dt, height, 0.0)


def countdown(pulse, dt):
    """Derivative of the pulse: -1 (ms per ms) until it is 0, and never past it."""
    return -jnp.minimum(pulse / dt, 1.0)
