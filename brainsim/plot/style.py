"""What all pictures share: one palette, axes without clutter, labels with units. Global settings are left alone."""

import numpy as np

from .. import extras

# Okabe & Ito (2008), distinguishable with any colour vision; yellow last because it is faint on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
INK = "#262626"
GREY = "#8C8C8C"
FAINT = "#D9D9D9"
MAX_POINTS = 50_000


def new_axes(ax=None, size=(6.4, 3.2)):
    """The given axes, or those of a new figure of `size` inches."""
    if ax is not None:
        return ax
    return extras.load("matplotlib.pyplot").subplots(figsize=size, layout="constrained")[1]


def new_figure(size):
    """An empty figure of `size` inches."""
    return extras.load("matplotlib.pyplot").figure(figsize=size, layout="constrained")


def tidy(ax, x: str | None = None, y: str | None = None):
    """Open frame, quiet ticks, labels; returns the axes."""
    ax.spines[["top", "right"]].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set(color=GREY, linewidth=0.8)
    ax.tick_params(color=GREY, labelcolor=INK, labelsize=9, length=3, width=0.8)
    ax.set_axisbelow(True)
    if x is not None:
        ax.set_xlabel(x, color=INK, fontsize=10)
    if y is not None:
        ax.set_ylabel(y, color=INK, fontsize=10)
    return ax


def with_unit(name: str, unit: str | None) -> str:
    """Label of a quantity: "v (mV)", or just the name if it has no dimension."""
    return name if unit in (None, "", "1") else f"{name} ({unit})"


def colours(names) -> dict[str, str]:
    """Colour of each population; the same in every picture of a result.

    Args:
        names: a result, or population names in the order of the network.
    """
    names = list(getattr(names, "populations", names))
    return {name: PALETTE[k % len(PALETTE)] for k, name in enumerate(names)}


def colour_of(name: str, table: dict[str, str]) -> str:
    """Colour of a population or of the source of a projection ("exc->inh"); ink for strangers."""
    return table.get(name) or table.get(name.partition("->")[0], INK)


def readable(colour: str) -> str:
    """The colour as text on white: bright ones are darkened."""
    rgb = np.array(extras.load("matplotlib.colors").to_rgb(colour))
    return extras.load("matplotlib.colors").to_hex(rgb * (0.6 if rgb @ (0.3, 0.6, 0.1) > 0.7 else 1.0))


def shades(colour: str, n: int) -> list[tuple[float, float, float]]:
    """n variations of one colour, from darker to lighter."""
    rgb = np.array(extras.load("matplotlib.colors").to_rgb(colour))
    mix = np.linspace(-0.35, 0.55, n) if n > 1 else np.zeros(1)
    return [tuple(rgb + (1 - rgb) * m if m > 0 else rgb * (1 + m)) for m in mix]


def note(ax, text: str, where: str = "upper right"):
    """A quiet remark in a corner of the axes: "upper right", "lower left", ..."""
    vertical, horizontal = where.split()
    x, y = (0.995 if horizontal == "right" else 0.005), (0.985 if vertical == "upper" else 0.015)
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 1.0}
    place = {"transform": ax.transAxes, "ha": horizontal, "va": "top" if vertical == "upper" else "bottom"}
    ax.text(x, y, text, fontsize=8, color=GREY, bbox=box, zorder=10, **place)


def legend(ax, **options):
    """A legend without a frame."""
    return ax.legend(frameon=False, fontsize=8.5, labelcolor=INK, handlelength=1.4, **options)


def thin(n: int, most: int) -> np.ndarray | slice:
    """Which of n points to draw so that there are no more than `most`; the same ones every time."""
    return slice(None) if n <= most else np.sort(np.random.default_rng(0).choice(n, most, replace=False))
