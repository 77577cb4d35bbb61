"""Pictures. Every function takes axes and returns them, labels carry units, nothing is shown or saved on its own.

    axes = bs.plot.raster(result)
    axes["raster"].figure.savefig("raster.pdf")

Needs matplotlib: pip install 'brainsim-jax[plot]'.
"""

from .activity import psd, raster, rate
from .curves import fi_curve
from .fits import losses
from .matrix import weights
from .overview import plot_result
from .phase import fixed_points, phase_plane
from .style import PALETTE, colours
from .traces import trace
from .wiring import graph

__all__ = [
    "PALETTE",
    "colours",
    "fi_curve",
    "fixed_points",
    "graph",
    "losses",
    "phase_plane",
    "plot_result",
    "psd",
    "raster",
    "rate",
    "trace",
    "weights",
]
