"""brainsim: a differentiable brain simulator on JAX.

    import brainsim as bs

Everything public is reachable as `bs.<name>`; the names are listed in `__all__`. Modules are imported when first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .declare import const, input, param, refractory, state, weight
from .neuron import Neuron
from .plasticity import Plasticity
from .synapse import Synapse

__version__ = "0.1.0"

_HOME = {
    "network": ["Network"],
    "distributions": ["uniform", "normal", "lognormal", "exponential", "gamma", "choice"],
    "connectivity": [
        "all_to_all",
        "one_to_one",
        "fixed_probability",
        "fixed_indegree",
        "fixed_outdegree",
        "fixed_total_number",
        "distance_dependent",
        "small_world",
        "from_edges",
        "from_matrix",
    ],
    "procedural_rule": ["procedural"],
    "spatial": ["gaussian", "exponential_decay"],
    "weight_bounds": ["hard", "soft", "multiplicative", "unbounded"],
    "structure": ["rewiring"],
    "drive": ["constant", "step", "ramp", "sine"],
    "signals": ["array", "ou_noise", "nudge"],
    "events": ["poisson", "spike_train", "spike_trains"],
    "record": ["spikes", "trace", "mean"],
    "surrogate": ["Surrogate"],
    "simulate": ["Simulation"],
    "result": ["Result"],
    "storage": ["load"],
    "connectome": ["Connectome"],
    "tables": ["explain"],
    "dimensions": ["check_units"],
    "functions": ["exp", "exprel", "sigmoid"],
    "chance": ["uniform_of", "normal_of", "binomial_of", "fold_of", "jax_key"],
    "settings": ["enable_x64", "enable_cache"],
    "adjoint": ["BPTT", "Forward", "EProp", "SLTT", "DRTRL", "ESDRTRL", "Feedback"],
    "event_grad": ["EventGrad"],
    "learnable_delays": ["learnable_delay", "round_delays"],
    "fitting.space": ["Space"],
    "fitting.transforms": ["bounded", "positive", "negative", "fraction", "free", "simplex", "tied"],
    "fitting.fit": ["fit"],
    "fitting.objective": ["Objective"],
    "fitting.methods": ["LevenbergMarquardt"],
    "fitting.result": ["FitResult"],
    "fitting.posterior": ["nuts", "simulated_pairs"],
    "fitting.first_spike": ["first_spike"],
    "fitting.event_network": ["exact_spikes"],
    "about": ["info", "cite"],
}
_WHERE = {name: module for module, names in _HOME.items() for name in names}
_MODULES = {name: name for name in ("units", "plot", "ops", "models", "errors", "statistics", "surrogate", "functions")}
_MODULES |= {name: f"fitting.{name}" for name in ("losses", "online", "encoders")}

__all__ = [
    "Neuron",
    "Plasticity",
    "Synapse",
    "const",
    "input",
    "param",
    "refractory",
    "state",
    "weight",
    *_WHERE,
    *_MODULES,
]

if TYPE_CHECKING:
    from .connectivity import *  # noqa: F403
    from .network import Network as Network


def __getattr__(name) -> Any:
    if name in _WHERE:
        value = getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
        globals()[name] = value
        return value
    if name in _MODULES:
        return import_module(f"{__name__}.{_MODULES[name]}")
    from .errors import unknown

    raise AttributeError(f"brainsim: {unknown('name', name, __all__)}")


def __dir__():
    return sorted(__all__)
