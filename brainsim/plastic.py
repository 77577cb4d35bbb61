"""What `Network.connect` keeps of a plastic projection: rules, bounds, modulators and conventions, checked."""

from dataclasses import dataclass, field

import numpy as np

from .drawing import extent
from .errors import ConnectError, unknown
from .plasticity import Plasticity
from .structure import Rewiring
from .weight_bounds import Bounds, bounds_of

TIES = ("pre_first", "post_first", "both", "neither")
ENDS = ("axon", "dendrite")
SENDS = ("new", "old")


@dataclass(frozen=True)
class Plastic:
    """How the weights of a projection learn."""

    rules: tuple[Plasticity, ...]
    bounds: Bounds
    modulators: dict[str, str] = field(default_factory=dict)  # input, or "on_modulator" -> "population.variable"
    delay_at: str = "axon"
    ties: str = "pre_first"
    deliver: str = "new"
    rewiring: Rewiring | None = None


def plastic_of(net, name, synapse, pre, post, weight, given) -> Plastic | None:
    """Check what `connect` was given.

    Args:
        given: dict of the arguments plasticity, bounds, modulators, delay_at, ties, deliver, rewiring.
    """
    rules = given.pop("plasticity")
    if rules is None and given["rewiring"] is None:
        _refuse_without_rule(name, given)
        return None
    rules = () if rules is None else tuple(rules) if isinstance(rules, list | tuple) else (rules,)
    if given["rewiring"] is not None and not isinstance(given["rewiring"], Rewiring):
        raise ConnectError(f"{name}: rewiring={given['rewiring']!r}; write bs.rewiring(every=100.0, below=0.1)")
    for rule in rules:
        if isinstance(rule, type) or not isinstance(rule, Plasticity):
            raise ConnectError(f"{name}: plasticity={rule!r}; give an instance of a rule, for example STDP()")
    if pre is None:
        raise ConnectError(
            f"{name}: a drive has no source cells whose spikes a rule could see; connect a population of PoissonSource"
        )
    for key, choices in (("delay_at", ENDS), ("ties", TIES), ("deliver", SENDS)):
        if given[key] not in choices:
            raise ConnectError(f"{name}: {key}: {unknown('convention', given[key], choices)}")
    for rule in rules:
        _check_cells(name, rule, pre, post)
    _check_names(name, rules, synapse)
    low, high = extent(weight) if np.ndim(weight) else (float(weight), float(weight))
    bounds = bounds_of(name, given.pop("bounds"), type(synapse).__weight__, low, high)
    modulators = _modulators(net, name, rules, given.pop("modulators") or {}, post)
    return Plastic(rules, bounds, modulators, **given)


def _refuse_without_rule(name, given):
    default = {"bounds": None, "modulators": None, "delay_at": "axon", "ties": "pre_first", "deliver": "new"}
    default["rewiring"] = None
    for key, value in given.items():
        if value != default[key]:
            raise ConnectError(
                f"{name}: {key}={value!r} says how weights learn, but there is no rule; give plasticity="
            )


def _check_cells(name, rule, pre, post):
    """Both ends have what the rule reads, and the spikes that it acts on."""
    cls = type(rule)
    for method, args in cls.__methods__.items():
        for end, population in (("_pre", pre), ("_post", post)):
            states = type(population.model).__states__
            for a in (a for a in args if a.endswith(end) and a not in cls.__states__):
                if a[: -len(end)] not in states:
                    raise ConnectError(
                        f"{name}: {cls.__name__}.{method} asks for {a!r}: "
                        f"{unknown(f'state of {type(population.model).__name__}', a[: -len(end)], states)}"
                    )
    for event, population in (("on_pre", pre), ("on_post", post)):
        if event in cls.__methods__ and "spike" not in type(population.model).__methods__:
            raise ConnectError(
                f"{name}: {cls.__name__} has {event}, but {type(population.model).__name__} never spikes; take a rule "
                f"of rates, or give the model a spike method"
            )


def _check_names(name, rules, synapse):
    """Variables and parameters of rules and synapse are written projection.name: each name once."""
    taken = {**type(synapse).__params__, **type(synapse).__states__, **type(synapse).__inputs__}
    owner = dict.fromkeys(taken, type(synapse).__name__)
    for rule in rules:
        for key in (*type(rule).__params__, *type(rule).__states__, *type(rule).__inputs__):
            if key in owner and key != "learning":
                raise ConnectError(
                    f"{name}: {type(rule).__name__} and {owner[key]} both have {key!r}, and '{name}.{key}' must mean "
                    f"one thing; rename it in a subclass of the rule"
                )
            owner[key] = type(rule).__name__


def _modulators(net, name, rules, given, post):
    inputs = {k for r in rules for k in type(r).__inputs__}
    listens = any("on_modulator" in type(r).__methods__ for r in rules)
    known = inputs | ({"on_modulator"} if listens else set())
    for key, source in given.items():
        if key not in known:
            raise ConnectError(f"{name}: modulators: {unknown('input of the rule', key, known)}")
        owner, _, variable = str(source).rpartition(".")
        if owner not in net.populations:
            raise ConnectError(f"{name}: modulators[{key!r}]: {unknown('population', owner, net.populations)}")
        population = net.populations[owner]
        if (variable == "spikes") != (key == "on_modulator"):
            raise ConnectError(
                f"{name}: modulators[{key!r}] = {source!r}; an input takes a state such as '{owner}.v', spikes go to "
                f"'on_modulator'"
            )
        cls = type(population.model)
        if variable == "spikes" and "spike" not in cls.__methods__:
            raise ConnectError(f"{name}: modulators[{key!r}]: {cls.__name__} never spikes; name a spiking population")
        if variable != "spikes":
            if variable not in cls.__states__:
                problem = unknown(f"state of {cls.__name__}", variable, cls.__states__)
                raise ConnectError(f"{name}: modulators[{key!r}]: {problem}")
            if population.n not in (1, post.n):
                raise ConnectError(
                    f"{name}: modulators[{key!r}]: {owner} has {population.n} cells; a modulator is one value for all "
                    f"edges (1 cell) or one per target ({post.n} cells)"
                )
    if listens and "on_modulator" not in given:
        raise ConnectError(
            f"{name}: a rule has on_modulator, but no population is named; write "
            f"modulators={{'on_modulator': 'da.spikes'}}"
        )
    return dict(given)
