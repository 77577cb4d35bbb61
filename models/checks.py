"""Checks between parameters of one model."""

import numpy as np

from brainsim.errors import ParameterError


def require_below(model, low, high):
    """Raise ParameterError unless parameter `low` is below parameter `high` everywhere.

    Values that are not known yet (distributions, traced arrays) are left alone.
    """
    below, above = getattr(model, low), getattr(model, high)
    if not all(isinstance(x, int | float | np.ndarray | np.generic) for x in (below, above)):
        return
    if np.any(np.asarray(below) >= np.asarray(above)):
        raise ParameterError(
            f"{type(model).__name__}: {low} = {np.max(below):g} is not below {high} = {np.min(above):g}, so the cell "
            f"would fire without end; give {low} < {high}"
        )
