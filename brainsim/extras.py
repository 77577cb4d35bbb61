"""Optional libraries: imported when first used, with an error that says what to install."""

from importlib import import_module
from types import ModuleType

EXTRA_OF = {
    "matplotlib": "plot",
    **dict.fromkeys(("pandas", "xarray", "neo", "quantities", "networkx"), "io"),
    "cma": "fit",
    "blackjax": "bayes",
    "mnist1d": "data",
}


def load(module: str) -> ModuleType:
    """Import an optional library, for example `load("matplotlib.pyplot")`.

    Raises:
        ImportError: it is not installed; the message names the extra of brainsim that brings it.
    """
    try:
        return import_module(module)
    except ImportError as error:
        top = module.partition(".")[0]
        wanted = f"brainsim-jax[{EXTRA_OF[top]}]" if top in EXTRA_OF else top
        raise ImportError(f"this needs {top} ({error}); run: pip install '{wanted}'") from error
