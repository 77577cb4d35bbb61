"""The contract of a neuron: which methods it may have and what they may ask for."""

from typing import ClassVar

from .declare import RESERVED, Input, Model, bind_arguments, public_methods, returned_keys
from .errors import DefinitionError, unknown


def neuron_contract(cls) -> dict[str, tuple[str, ...]]:
    """Check the methods of a neuron class; return their argument names.

    `d<state>` time derivative, `spike` signed distance (> 0 fires), `reset` dict of what changes at a spike,
    `init_<state>` initial value, `noise_<state>` diffusion coefficient (unit/sqrt(ms)).
    """
    states, where = cls.__states__, cls.__name__
    for name, spec in states.items():
        if spec.on is not None:
            raise DefinitionError(
                f"{where}.{name}: on={spec.on!r} is for synapses; a neuron's state lives on the neuron"
            )
    plain = {*states, *cls.__inputs__, *RESERVED} - {"key"}
    methods = {}
    for method in public_methods(cls):
        if method == "validate":
            continue
        prefix, _, of = method.partition("_")
        if method in ("spike", "reset"):
            # random numbers of its own: only for cells that fire at random
            methods[method] = bind_arguments(cls, method, plain | {"key"} if method == "spike" else plain)
        elif prefix in ("init", "noise") and of in states:
            allowed = plain if prefix == "noise" else {*states} - {of}
            methods[method] = bind_arguments(cls, method, allowed)
        elif method[0] == "d" and method[1:] in states:
            methods[method] = bind_arguments(cls, method, plain)
        else:
            expected = ["spike", "reset", *("d" + s for s in states), *("init_" + s for s in states)]
            raise DefinitionError(
                f"{where}.{method} is no method of a neuron: {unknown('method', method, expected)}. "
                f"Helper functions start with an underscore"
            )
    for name, spec in states.items():
        if ("d" + name in methods) == spec.jump:
            problem = "has a derivative and jump=True" if spec.jump else f"has no method d{name}"
            raise DefinitionError(f"{where}: state {name!r} {problem}; write d{name} or declare it with jump=True")
        if spec.jump and "noise_" + name in methods:
            raise DefinitionError(f"{where}: state {name!r} has noise but no derivative; write d{name}, not jump=True")
    for key in returned_keys(cls, "reset") if "reset" in methods else ():
        if key not in states:
            raise DefinitionError(f"{where}.reset returns {key!r}: {unknown('state', key, states)}")
    if "reset" in methods and "spike" not in methods:
        raise DefinitionError(f"{where} has reset but no spike; write spike(self, ...) that is > 0 when the cell fires")
    if cls.spike_on not in ("level", "crossing"):
        raise DefinitionError(f"{where}.spike_on = {cls.spike_on!r}; write 'level' or 'crossing'")
    return methods


class Neuron(Model):
    """Base of neuron models; write the equations of one cell. See docs/own_model.md."""

    ABSTRACT: ClassVar[bool] = True
    KIND: ClassVar[str] = "neuron"
    IMPLICIT_INPUTS: ClassVar[dict] = {"I": Input("pA", 0.0)}
    spike_on: ClassVar[str] = "level"
    graded: ClassVar[bool] = True  # False: spikes stay 0 or 1 in the smooth form (sources of given or random spikes)


Neuron.CONTRACT = staticmethod(neuron_contract)
