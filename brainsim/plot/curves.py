"""Curves of single cells: firing rate against input."""

import numpy as np

from ..errors import ParameterError
from . import style


def fi_rates(model, currents, *, duration=1000.0, settle=200.0, dt=0.1, input="I") -> np.ndarray:
    """Firing rates (n,) in Hz of one model under n constant inputs, in one run of n uncoupled cells.

    Args:
        model: a neuron. currents: (n,) in the unit of the input. input: its name.
        duration: of the run in ms. settle: time at its start that is not counted. dt: step in ms.

    The rate is 1 / mean interval after `settle`; a cell with one spike there counts as 1 / (duration - settle).
    """
    from ..drive import constant
    from ..network import Network

    currents = np.atleast_1d(np.asarray(currents, float))
    if currents.ndim != 1 or not np.isfinite(currents).all():
        raise ParameterError(f"currents of shape {currents.shape}: give a flat array of finite numbers")
    if not 0 <= settle < duration:
        raise ParameterError(f"settle = {settle:g} ms leaves nothing of duration = {duration:g} ms to count")
    net = Network(seed=0)
    net.add("cells", model, len(currents))
    drive = {f"cells.{input}": constant(currents)}
    result = net.run(duration, dt=dt, record=["cells.spikes"], inputs=drive, progress=False)
    late = result.spikes["cells"].between(settle, np.inf)
    count = late.counts()
    first, last = np.full(len(currents), np.inf), np.full(len(currents), -np.inf)
    np.minimum.at(first, late.indices, late.times)
    np.maximum.at(last, late.indices, late.times)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(count > 1, 1000.0 * (count - 1) / (last - first), 1000.0 * count / (duration - settle))


def fi_curve(model, currents, ax=None, *, label=None, color=None, input="I", **run):
    """Firing rate against constant input.

    Args:
        model: a neuron. currents: (n,) in the unit of the input. ax: axes; default a new figure.
        label: for the legend. color: of the line; default the next of the palette.
        input: name of the driven input. run: duration, settle, dt of `fi_rates`.

    Returns:
        The axes; the numbers are `ax.lines[-1].get_data()`.
    """
    rates = fi_rates(model, currents, input=input, **run)
    ax = style.new_axes(ax, (4.4, 3.2))
    color = color or style.PALETTE[len(ax.lines) % len(style.PALETTE)]
    marks = {"marker": "o", "markersize": 3.5, "markeredgewidth": 0} if np.size(currents) <= 60 else {}
    label = label or type(model).__name__
    ax.plot(np.atleast_1d(currents), rates, color=color, linewidth=1.5, label=label, clip_on=False, zorder=3, **marks)
    ax.set_ylim(bottom=0)
    ax.grid(True, color=style.FAINT, linewidth=0.5, alpha=0.6)
    if len(ax.lines) > 1:
        style.legend(ax, loc="upper left")
    declared = getattr(type(model), "__inputs__", {}).get(input)
    return style.tidy(ax, style.with_unit(f"input {input}", getattr(declared, "unit", None)), "firing rate (Hz)")
