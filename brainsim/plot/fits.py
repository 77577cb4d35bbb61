"""Pictures of fits."""

import numpy as np

from . import style


def losses(result, ax=None):
    """Loss of every start against the step, that of the best start in colour; returns the axes.

    Args:
        result: of `bs.fit`.
    """
    ax = style.new_axes(ax)
    best = result.best
    steps = np.arange(len(result.losses))
    others = [i for i in range(result.losses.shape[1]) if i != best]
    ax.plot(steps, result.losses[:, others], color=style.FAINT, linewidth=0.8)
    ax.plot(steps, result.losses[:, best], color=style.PALETTE[0], linewidth=1.6)
    finite = result.losses[np.isfinite(result.losses)]
    if finite.size and finite.min() > 0 and finite.max() > 20 * finite.min():
        ax.set_yscale("log")
    failed = sum(not s.startswith("ok") for s in result.status)
    if failed:
        style.note(ax, f"{failed} of {len(result.status)} starts set aside")
    return style.tidy(ax, "step", "loss")
