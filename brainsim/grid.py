"""Times on the grid of dt."""

import numpy as np


def to_steps(times, dt):
    """Nearest whole steps of times in ms, and which of them lie off the grid.

    A time is on the grid within a millionth of itself, but at least a millionth and at most a thousandth of a step, so
    that the rounding of floats is forgiven and half a step is seen after days of biological time too.

    Returns:
        float64 whole numbers and bools, in the shape of `times`.
    """
    exact = np.asarray(times, float) / dt
    steps = np.rint(exact)
    return steps, np.abs(exact - steps) > np.clip(1e-6 * np.abs(steps), 1e-6, 1e-3)
