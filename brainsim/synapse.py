"""The contract of a synapse: where its variables live, which methods it may have, what they may ask for."""

from dataclasses import replace
from typing import ClassVar

from .declare import LOCATIONS, RESERVED, Model, arguments, bind_arguments, public_methods, returned_keys
from .errors import DefinitionError, unknown


def synapse_contract(cls) -> dict[str, tuple[str, ...]]:
    """Check the methods of a synapse class; return their argument names.

    `d<state>`, `init_<state>`, `on_pre` (increments at arrival), `output` (what a source sends continuously),
    `current` (what the target receives).
    """
    states, where = cls.__states__, cls.__name__
    for name, spec in list(states.items()):
        if spec.on is None:
            states[name] = replace(spec, on="post")
        elif spec.on not in LOCATIONS:
            raise DefinitionError(f"{where}.{name}: on={spec.on!r}; write one of {LOCATIONS}")
    methods = {}
    found = [m for m in public_methods(cls) if m != "validate"]
    partner = {a for m in found for a in arguments(cls, m) if a.endswith(("_pre", "_post")) and a not in states}
    own, reserved = set(states), set(RESERVED) - {"key"}
    cls.__outputs__, cls.__increments__ = (), ()
    cls.__current_unit__ = cls.current_unit
    if "output" in found:
        at_source = {n for n, s in states.items() if s.on == "pre"} | {a for a in partner if a.endswith("_pre")}
        methods["output"] = bind_arguments(cls, "output", at_source | reserved)
        cls.__outputs__ = returned_keys(cls, "output")
    sums = set(cls.__outputs__)
    for method in found:
        if method == "output":
            continue
        if method in ("current", "on_pre"):
            extra = sums if method == "current" else set()
            random = {"key"} if method == "on_pre" else set()
            methods[method] = bind_arguments(cls, method, own | partner | reserved | {"w"} | extra | random)
        elif method.startswith("init_") and method[5:] in states:
            methods[method] = bind_arguments(cls, method, partner)
        elif method[0] == "d" and method[1:] in states:
            methods[method] = bind_arguments(cls, method, _seen_from(states, method[1:], partner, sums) | reserved)
        else:
            expected = ["on_pre", "output", "current", *("d" + s for s in states)]
            raise DefinitionError(
                f"{where}.{method} is no method of a synapse: {unknown('method', method, expected)}. "
                f"Helper functions start with an underscore"
            )
    if "on_pre" in methods:
        cls.__increments__ = returned_keys(cls, "on_pre")
    _check_synapse(cls, methods)
    return methods


def _seen_from(states, name, partner, sums):
    """What the derivative of a state may ask for: only what lives where the state lives (an edge sees everything)."""
    on = states[name].on
    if on == "edge":
        return {*states, *partner, "w"}
    near = {n for n, s in states.items() if s.on == on} | {a for a in partner if a.endswith("_" + on)}
    return near | sums if on == "post" else near


def _check_synapse(cls, methods):
    where, states = cls.__name__, cls.__states__
    for name, spec in states.items():
        if ("d" + name in methods) == spec.jump:
            problem = "has a derivative and jump=True" if spec.jump else f"has no method d{name}"
            raise DefinitionError(f"{where}: state {name!r} {problem}; write d{name} or declare it with jump=True")
    if "on_pre" in methods:
        for key in cls.__increments__:
            if key not in states and not key.endswith("_post"):
                raise DefinitionError(
                    f"{where}.on_pre returns {key!r}: {unknown('state', key, states)}. "
                    f"A state of the target is written <state>_post"
                )
    if not {"on_pre", "current", "output"} & set(methods):
        raise DefinitionError(f"{where} does nothing: write on_pre, or output and current")
    if "output" in methods and "current" not in methods:
        raise DefinitionError(
            f"{where} has output but no current; write current(self, {', '.join(cls.__outputs__)}, ...)"
        )


class Synapse(Model):
    """Base of synapse models; weight, delay and connectivity belong to the connection, not here."""

    ABSTRACT: ClassVar[bool] = True
    KIND: ClassVar[str] = "synapse"
    symmetric: ClassVar[bool] = False
    current_unit: ClassVar[str] = "pA"  # unit of what `current` returns; that of the input it adds to
    __outputs__: ClassVar[tuple[str, ...]] = ()
    __increments__: ClassVar[tuple[str, ...]] = ()


Synapse.CONTRACT = staticmethod(synapse_contract)
