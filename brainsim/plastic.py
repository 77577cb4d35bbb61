"""What `Network.connect` keeps of a plastic projection: rules, bounds, modulators and conventions, checked."""

from dataclasses import dataclass, field

import numpy as np

from .distributions import Distribution
from .drawing import extent
from .errors import ConnectError, ParameterError, UnknownNameError, unknown
from .names import is_pattern
from .plasticity import Plasticity, is_users
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
    if isinstance(rules, list | tuple) and not rules:
        raise ConnectError(f"{name}: plasticity={rules!r} names no rule; give one such as STDP(), or leave it out")
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
        _check_numbers(name, rule)
        _check_cells(name, rule, pre, post)
    _check_names(name, rules, synapse)
    low, high = extent(weight) if np.ndim(weight) else (float(weight), float(weight))
    bounds = bounds_of(name, given.pop("bounds"), type(synapse).__weight__, low, high)
    new = None if given["rewiring"] is None else given["rewiring"].weight
    if new is not None and not bounds.low <= new <= bounds.high:
        raise ConnectError(
            f"{name}: rewiring(weight={new:g}) gives new edges a weight outside the bounds [{bounds.low:g}, "
            f"{bounds.high:g}]; write a weight= inside"
        )
    modulators = _modulators(net, name, rules, given.pop("modulators"), post)
    return Plastic(rules, bounds, modulators, **given)


def refuse_weight(pattern, projections, known):
    """Say where initial weights are set, to one who looks for them in `Network.init`; `known` are the states."""
    owner, _, last = str(pattern).rpartition(".")
    if last not in ("w", "weight") or any(name.endswith(f".{last}") for name in known):
        return
    if owner in projections or (is_pattern(owner) and projections):
        example = owner if owner in projections else next(iter(projections))
        raise UnknownNameError(
            f"init: {pattern!r} is no state that init sets; initial weights are parameters such as '{example}.weight': "
            f"write connect(..., weight=...), or sim.run(..., params={{'{example}.weight': ...}})"
        )


def _refuse_without_rule(name, given):
    default = {"bounds": None, "modulators": None, "delay_at": "axon", "ties": "pre_first", "deliver": "new"}
    default["rewiring"] = None
    for key, value in given.items():
        if value != default[key]:
            raise ConnectError(
                f"{name}: {key}={value!r} says how weights learn, but there is no rule; give plasticity="
            )


def _check_numbers(name, rule):
    """Parameters of a rule are numbers for all edges."""
    for key in type(rule).__params__:
        value = getattr(rule, key)
        if np.ndim(value) or isinstance(value, Distribution):
            given = f"has shape {np.shape(value)}" if np.ndim(value) else f"is {value!r}"
            raise ParameterError(
                f"{name}: {type(rule).__name__}.{key} {given}; a parameter of a rule is one number for all edges: "
                f"give a number, and make what differs between edges a state, bs.state(..., on='edge', jump=True), "
                f"whose values net.init sets"
            )


def _check_cells(name, rule, pre, post):
    """Both ends have what the rule reads, and the spikes that it acts on."""
    cls = type(rule)
    for end, population in (("_pre", pre), ("_post", post)):
        states, model = type(population.model).__states__, type(population.model).__name__
        both = sorted(n for n in cls.__states__ if n.endswith(end) and n[: -len(end)] in states)
        if both:
            raise ConnectError(
                f"{name}: {both[0]!r} is a state of the plasticity rule {cls.__name__}, and means the state "
                f"{both[0][: -len(end)]!r} of {model} as well; rename the state of {cls.__name__}"
            )
        for method, args in cls.__methods__.items():
            for a in (a for a in args if a.endswith(end) and a not in cls.__states__):
                if a[: -len(end)] not in states:
                    raise ConnectError(
                        f"{name}: {cls.__name__}.{method} asks for {a!r}: "
                        f"{unknown(f'state of {model}', a[: -len(end)], states)}"
                    )
    for event, population in (("on_pre", pre), ("on_post", post)):
        if event in cls.__methods__ and "spike" not in type(population.model).__methods__:
            raise ConnectError(
                f"{name}: {cls.__name__} has {event}, but {type(population.model).__name__} never spikes; take a rule "
                f"of rates, or give the model a spike method"
            )


def _check_names(name, rules, synapse):
    """Variables and parameters of rules and synapse are written projection.name: each name once."""
    owner = {}
    for model in (synapse, *rules):
        cls = type(model)
        for key, spec in {**cls.__params__, **cls.__states__, **cls.__inputs__}.items():
            if key in owner and key != "learning":
                raise ConnectError(_clash(name, key, *owner[key], cls, spec))
            owner[key] = cls, spec


def _clash(name, key, first, was, second, spec) -> str:
    """Both sides of a clash, and which of them to rename: the rule, unless only the other class is the user's."""
    if first is second:
        return (
            f"{name}: plasticity= holds {first.__name__} twice, and '{name}.{key}' could mean either; add up their "
            f"changes in one rule, or write a copy of the class with other names"
        )
    kind = lambda cls, x: f"{x.kind if x.kind != 'state' else 'a state'} of the {cls.KIND} {cls.__name__}"
    change, spec_of = (first, was) if is_users(first) and not is_users(second) else (second, spec)
    suggested = f"{key}_{'syn' if change.KIND == 'synapse' else 'rule'}"
    what = spec_of.kind.removeprefix("a ").removeprefix("an ")
    way = f"rename the {what} of {change.__name__}, for example to {suggested!r}"
    if not is_users(change):
        way = f"write a copy of {change.__name__} in which the {what} has another name, for example {suggested!r}"
    return (
        f"{name}: {key!r} is {kind(first, was)} and {kind(second, spec)}, but '{name}.{key}' must mean one thing; {way}"
    )


def _modulators(net, name, rules, given, post):
    inputs = {k for r in rules for k in type(r).__inputs__}
    listens = any("on_modulator" in type(r).__methods__ for r in rules)
    given = {} if given is None else given
    if not isinstance(given, dict):
        example = next(iter(sorted(inputs - {"learning"})), "on_modulator")
        raise ConnectError(f"{name}: modulators={given!r}; give a dict such as {{{example!r}: 'population.state'}}")
    known = inputs | ({"on_modulator"} if listens else set())
    for key, source in given.items():
        if key not in known:
            raise ConnectError(f"{name}: modulators: {unknown('input of the rule', key, known)}")
        _check_modulator(net, f"{name}: modulators[{key!r}]", key, source, post)
    if listens and "on_modulator" not in given:
        raise ConnectError(
            f"{name}: a rule has on_modulator, but no population is named; write "
            f"modulators={{'on_modulator': 'da.spikes'}}"
        )
    return dict(given)


def _check_modulator(net, what, key, source, post):
    """A modulator exists, is of the kind that is asked for, and has one value, or one per target."""
    owner, dot, variable = source.rpartition(".") if isinstance(source, str) else ("", "", "")
    if not dot:
        raise ConnectError(f"{what} = {source!r}; write a name such as 'population.state'")
    if owner not in net.populations:
        raise ConnectError(f"{what}: {unknown('population', owner, net.populations)}")
    population = net.populations[owner]
    if (variable == "spikes") != (key == "on_modulator"):
        raise ConnectError(
            f"{what} = {source!r}; an input takes a state such as '{owner}.v', spikes go to 'on_modulator'"
        )
    cls = type(population.model)
    if variable == "spikes":
        if "spike" not in cls.__methods__:
            raise ConnectError(f"{what}: {cls.__name__} never spikes; name a spiking population")
        return
    if variable not in cls.__states__:
        raise ConnectError(f"{what}: {unknown(f'state of {cls.__name__}', variable, cls.__states__)}")
    if population.n not in (1, post.n):
        raise ConnectError(
            f"{what}: {owner} has {population.n} cells; a modulator is one value for all edges (1 cell) or one per "
            f"target ({post.n} cells)"
        )
