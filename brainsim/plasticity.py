"""The contract of a plasticity rule: where its variables live, which methods it may have, what they may ask for."""

from typing import ClassVar

from .declare import RANDOM, RESERVED, Input, Model, arguments, bind_arguments, public_methods, returned_keys
from .errors import DefinitionError, unknown

PLACES = ("pre", "post", "edge", "projection")
EVENTS = ("on_pre", "on_post", "on_modulator")
MOVES = {  # the variables that an event may change
    "on_pre": ("pre", "edge"),
    "on_post": ("post", "edge"),
    "on_modulator": ("projection",),
}


def plasticity_contract(cls) -> dict[str, tuple[str, ...]]:
    """Check the methods of a rule; return their argument names."""
    states, where = cls.__states__, cls.__name__
    for name, spec in states.items():
        if spec.on not in PLACES:
            raise DefinitionError(f"{where}.{name}: on={spec.on!r}; a rule says where a variable lives: {PLACES}")
    found = [m for m in public_methods(cls) if m not in ("validate", "check_step")]
    partner = {a for m in found for a in arguments(cls, m) if a.endswith(("_pre", "_post")) and a not in states}
    methods = {}
    for method in found:
        known = _available(cls, method, partner)
        if known is None:
            expected = [*EVENTS, "dw", *("d" + s for s in states)]
            raise DefinitionError(
                f"{where}.{method} is no method of a plasticity rule: {unknown('method', method, expected)}. "
                f"Helper functions start with an underscore"
            )
        methods[method] = bind_arguments(cls, method, known)
        if is_users(cls):  # the library's own are tried by its tests, not at import
            from .rule_trial import try_method

            try_method(cls, method, methods[method])
    _check_states(cls, methods)
    cls.__increments__ = {}
    for event in (e for e in EVENTS if e in methods):
        keys = returned_keys(cls, event)
        cls.__increments__[event] = keys
        allowed = [n for n, s in states.items() if s.on in MOVES[event]] + ["w"] * (event != "on_modulator")
        for key in keys:
            if key not in allowed:
                raise DefinitionError(f"{where}.{event} returns {key!r}, but may change only {allowed}")
    if not {"on_pre", "on_post", "dw"} & set(methods):
        raise DefinitionError(f"{where} changes no weight: write on_pre, on_post or dw")
    return methods


def is_users(cls) -> bool:
    """Whether a class is the user's. One made by `types.new_class` has no module of its own, and is."""
    return not cls.__module__.startswith("brainsim.") or cls.__module__ == "brainsim.declare"


def _available(cls, method, partner):
    """Names that a method may ask for; None for an unknown method."""
    states, inputs = cls.__states__, set(cls.__inputs__)
    shared = {n for n, s in states.items() if s.on == "projection"} | inputs | {*RESERVED} - {"key"}
    if method in ("on_pre", "on_post", "dw"):
        return {*states, *partner, "w"} | shared | ({"key"} if method in RANDOM[cls.KIND] else set())
    if method == "on_modulator":
        return shared
    if method[0] == "d" and method[1:] in states:
        on = states[method[1:]].on
        if on == "edge":
            return {*states, *partner, "w"} | shared
        return {n for n, s in states.items() if s.on == on} | {a for a in partner if a.endswith("_" + on)} | shared
    return None


def _check_states(cls, methods):
    clash = sorted({"w", "weight", "delay", "learning"} & {*cls.__states__, *cls.__params__})
    if clash:
        raise DefinitionError(f"{cls.__name__}: {clash[0]!r} belongs to the projection; choose another name")
    for name, spec in cls.__states__.items():
        if ("d" + name in methods) == spec.jump:
            problem = "has a derivative and jump=True" if spec.jump else f"has no method d{name}"
            raise DefinitionError(
                f"{cls.__name__}: state {name!r} {problem}; write d{name} or declare it with jump=True"
            )


class Plasticity(Model):
    """Base of plasticity rules: traces, eligibility, modulator and update as equations for ONE edge.

    Variables live on the source (`on="pre"`), the target (`"post"`), the edge (`"edge"`) or once for the whole
    projection (`"projection"`). `d<state>` is a time derivative; `dw` that of the weight. `on_pre` gives the
    increments at the arrival of a presynaptic spike, `on_post` those at a postsynaptic one, as dicts; all are computed
    from the values before the event. Inputs are modulators: one value for all edges or one per target. `<state>_pre`
    and `<state>_post` are states of the cells; `key` is a random key of the edge in this step, for `on_pre` and
    `on_post` (`bs.uniform_of`). The input `learning` (1) multiplies every change of a weight.
    """

    ABSTRACT: ClassVar[bool] = True
    KIND: ClassVar[str] = "plasticity rule"
    IMPLICIT_INPUTS: ClassVar[dict] = {"learning": Input(None, 1.0)}
    __increments__: ClassVar[dict[str, tuple[str, ...]]] = {}


Plasticity.CONTRACT = staticmethod(plasticity_contract)
