"""The words of the language: `param const state input weight refractory`, and the base of all models.

A model class declares what it has and writes its equations as methods for ONE neuron or edge. Arguments of the methods
are bound by name, as pytest binds fixtures. Everything that can be checked without running is checked when the class
is defined; values are checked when an instance is made.
"""

import inspect
import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .errors import DefinitionError, ParameterError, UnknownNameError, unknown

LOCATIONS = ("post", "pre", "edge")
RESERVED = ("t", "dt", "key")
RANDOM = {"neuron": ("spike",), "synapse": ("on_pre",), "plasticity rule": ("on_pre", "on_post")}  # may ask for `key`


class Declaration:
    """What stands in a class body. Read on the class it is the declaration, on an instance its value."""

    name: str = ""

    def __set_name__(self, owner, name):
        object.__setattr__(self, "name", name)

    def __get__(self, instance, owner=None):
        if instance is None:
            return self
        raise AttributeError(
            f"{owner.__name__}.{self.name} is {self.kind}, not a parameter: take it as an argument named {self.name!r}"
        )


@dataclass(frozen=True)
class Param(Declaration):
    default: Any
    unit: str | None = None
    bounds: tuple[float | None, float | None] = (None, None)
    closed: bool = False
    kind: ClassVar[str] = "a parameter"


@dataclass(frozen=True)
class Const(Declaration):
    value: float
    unit: str | None = None
    kind: ClassVar[str] = "a constant"


@dataclass(frozen=True)
class State(Declaration):
    initial: float | str
    unit: str | None = None
    on: str | None = None
    jump: bool = False
    kind: ClassVar[str] = "state"


@dataclass(frozen=True)
class Input(Declaration):
    unit: str | None = None
    default: float = 0.0
    kind: ClassVar[str] = "an input"


@dataclass(frozen=True)
class Weight(Declaration):
    unit: str | None = None
    bounds: tuple[float | None, float | None] = (None, None)
    closed: bool = True
    kind: ClassVar[str] = "the weight of an edge"


@dataclass(frozen=True)
class Refractory(Declaration):
    t_ref: str
    holds: tuple[str, ...] = ("v",)
    kind: ClassVar[str] = "the refractory rule"


def param(default, unit=None, bounds=(None, None), closed=False) -> Any:
    """Declare a float a user may set, fit or sweep.

    Args:
        default: value in `unit`.
        unit: unit string such as "mV" or "nS/mV"; None means dimensionless.
        bounds: (low, high), either may be None. The interval is open unless `closed`: `bounds=(0, None)` refuses 0.
        closed: whether the bounds themselves are allowed.
    """
    return Param(default, unit, _interval(bounds), closed)


def _interval(bounds) -> tuple:
    if not isinstance(bounds, tuple | list) or len(bounds) != 2:
        raise DefinitionError(f"bounds={bounds!r} are no interval; write bounds=(low, high), either may be None")
    return tuple(bounds)


def const(value, unit=None) -> Any:
    """Declare a constant that carries a unit but is never fitted (scales and offsets of published equations)."""
    return Const(float(value), unit)


def state(initial, unit=None, on=None, jump=False) -> Any:
    """Declare a variable that the simulation carries.

    Args:
        initial: a number in `unit`, or the name of a parameter; a method `init_<state>` overrides it.
        unit: unit string; None means dimensionless.
        on: for synapses, where the variable lives: "post" (one per target cell, the default), "pre" or "edge".
        jump: True for a variable without derivative that changes only at events.
    """
    return State(initial, unit, on, jump)


def input(unit=None, default=0.0) -> Any:
    """Declare an input. Drives and synapses add to `default`; in a plasticity rule, a drive replaces it."""
    return Input(unit, float(default))


def weight(unit=None, bounds=(None, None), closed=True) -> Any:
    """Declare unit and allowed range of the weight `w` of a synapse's edges (bounds inclusive)."""
    return Weight(unit, _interval(bounds), closed)


def refractory(t_ref, holds=("v",)) -> Any:
    """Declare refractoriness: after a spike the states in `holds` stay clamped for round(t_ref/dt) whole steps.

    Args:
        t_ref: name of a parameter in ms.
        holds: names of the clamped states. Input that arrives meanwhile moves every other state as usual; what a
            synapse adds directly to a held state is dropped.
    """
    return Refractory(t_ref, (holds,) if isinstance(holds, str) else tuple(holds))


class _Body(dict):
    """Namespace of a class body that refuses to define one name twice."""

    def __init__(self, owner):
        super().__init__()
        self.owner = owner

    def __setitem__(self, name, value):
        if name in self and not name.startswith("__"):
            raise DefinitionError(f"{self.owner} defines {name!r} twice: the second would silently replace the first")
        super().__setitem__(name, value)


class ModelMeta(type):
    """Collects the declarations and checks the methods of a model class."""

    @classmethod
    def __prepare__(mcs, name, bases, **kwargs):
        return _Body(name)

    def __new__(mcs, name, bases, namespace, **kwargs):
        cls = super().__new__(mcs, name, bases, dict(namespace), **kwargs)
        declared: dict[str, Declaration] = {}
        for base in reversed(cls.__mro__):
            declared.update({k: v for k, v in vars(base).items() if isinstance(v, Declaration)})
        pick = lambda kind: {k: v for k, v in declared.items() if isinstance(v, kind)}
        cls.__params__, cls.__consts__, cls.__states__ = pick(Param), pick(Const), pick(State)
        cls.__inputs__ = {**cls.IMPLICIT_INPUTS, **pick(Input)} if name != "Model" else {}
        cls.__weight__ = next(iter(pick(Weight).values()), None)
        cls.__refractory__ = next(iter(pick(Refractory).values()), None)
        cls.__methods__ = {}
        if cls.CONTRACT is not None:
            _check_declarations(cls)
            cls.__methods__ = cls.CONTRACT(cls)
            _check_units(cls)
        return cls

    def __setattr__(cls, name, value):
        if isinstance(value, Declaration) and not name.startswith("__"):
            raise DefinitionError(f"{cls.__name__}.{name} cannot be declared after the class body; write a subclass")
        super().__setattr__(name, value)


def _check_units(cls):
    """Dimension analysis of user-written equations (the library's own are checked by its tests, not at import)."""
    if not cls.__module__.startswith("brainsim.") and cls.__methods__:
        try:
            from .dimensions import check_units
        except ImportError:
            return

        check_units(cls)


def _check_names(cls):
    """No declaration may take a name that means something else: of the language, of models, or of records."""
    taken = {*RESERVED, *(n for n in dir(Model) if n[0] != "_")}
    taken_by = {"neuron": {"state": {"spikes"}}, "synapse": {"state": {"w"}, "a parameter": {"weight", "delay"}}}
    for name, spec in {**cls.__params__, **cls.__consts__, **cls.__states__, **cls.__inputs__}.items():
        if name in taken | taken_by.get(cls.KIND, {}).get(spec.kind, set()):
            kind = "a state" if spec.kind == "state" else spec.kind
            raise DefinitionError(
                f"{cls.__name__}: {kind} cannot be called {name!r}, which is reserved; choose another name"
            )
    both = sorted(cls.__inputs__.keys() & {*cls.__params__, *cls.__consts__, *cls.__states__})
    if both:
        raise DefinitionError(f"{cls.__name__}: {both[0]!r} is an input already; choose another name")


def _check_declarations(cls):
    where = cls.__name__
    _check_names(cls)
    for name, spec in cls.__states__.items():
        if name[0] == "d" and name[1:] in cls.__states__:
            raise DefinitionError(
                f"{where}: state {name!r} reads like the derivative of {name[1:]!r}; choose another name"
            )
        if not isinstance(spec.initial, str):
            if not np.all(np.isfinite(spec.initial)):
                raise DefinitionError(f"{where}.{name}: the initial value is {spec.initial}; it must be finite")
        elif spec.initial not in {**cls.__params__, **cls.__consts__}:
            raise DefinitionError(
                f"{where}.{name}: initial value: {unknown('parameter', spec.initial, cls.__params__)}"
            )
    for name, spec in cls.__params__.items():
        low, high = spec.bounds
        if low is not None and high is not None and not low < high:
            raise DefinitionError(f"{where}.{name}: bounds {spec.bounds} are in the wrong order; write (low, high)")
        if isinstance(spec.default, int | float):
            try:
                check_bounds(np.asarray(float(spec.default)), spec, f"{where}.{name}: the default")
            except ParameterError as error:
                raise DefinitionError(str(error)) from None
    rule = cls.__refractory__
    if rule is not None:
        if rule.t_ref not in cls.__params__:
            raise DefinitionError(f"{where}.refractory: {unknown('parameter', rule.t_ref, cls.__params__)}")
        for held in rule.holds:
            if held not in cls.__states__:
                raise DefinitionError(f"{where}.refractory holds: {unknown('state', held, cls.__states__)}")


def arguments(cls, method) -> tuple[str, ...]:
    """Names of the arguments of a method, without self; default values and *args are refused."""
    signature = inspect.signature(getattr(cls, method))
    plain = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    for argument in list(signature.parameters.values())[1:]:
        if argument.kind not in plain or argument.default is not inspect.Parameter.empty:
            raise DefinitionError(
                f"{cls.__name__}.{method}: argument {argument} must be a plain name; arguments are bound by name"
            )
    return tuple(signature.parameters)[1:]


def returned_keys(cls, method: str) -> tuple[str, ...]:
    """Keys of the dict that a method returns, by a dry call with ones: only names are needed before anything runs."""
    made, asked = cls.__bind__({k: p.default for k, p in cls.__params__.items()}), arguments(cls, method)
    if "key" in asked:
        from .chance import abstract_call

        result = abstract_call(made, method, asked)
    else:
        with np.errstate(all="ignore"):
            result = getattr(made, method)(**dict.fromkeys(asked, np.float64(1.0)))
    if not isinstance(result, dict):
        raise DefinitionError(f"{cls.__name__}.{method} must return a dict of names, got {type(result).__name__}")
    return tuple(result)


def public_methods(cls) -> list[str]:
    """Functions of the class that belong to the language: no underscore, not inherited from the base classes."""
    base = {
        name
        for c in cls.__mro__
        if c.__module__.startswith("brainsim.") and c.__dict__.get("ABSTRACT")
        for name in vars(c)
    }
    return [n for n, f in inspect.getmembers(cls, inspect.isfunction) if n[0] != "_" and n not in base]


def bind_arguments(cls, method: str, known: set[str]) -> tuple[str, ...]:
    """Check that every argument of a method is a name the method may ask for."""
    names = arguments(cls, method)
    for name in names:
        if name in cls.__params__ or name in cls.__consts__:
            raise DefinitionError(
                f"{cls.__name__}.{method} asks for {name!r}, which is a parameter: read it as self.{name}"
            )
        if name == "key" and name not in known:
            raise DefinitionError(
                f"{cls.__name__}.{method} asks for 'key', but of a {cls.KIND} only {' and '.join(RANDOM[cls.KIND])} "
                f"can draw random numbers; draw them there"
            )
        if name not in known:
            raise DefinitionError(
                f"{cls.__name__}.{method} asks for {name!r}, which it cannot have; available are {sorted(known)}"
            )
    return names


class Model(metaclass=ModelMeta):
    """Base of all models. Instances hold checked parameter values and are immutable."""

    ABSTRACT: ClassVar[bool] = True
    KIND: ClassVar[str] = "model"
    CONTRACT: ClassVar[Any] = None
    IMPLICIT_INPUTS: ClassVar[dict] = {}

    def __init__(self, **values):
        cls = type(self)
        if cls.__dict__.get("ABSTRACT"):
            raise DefinitionError(f"{cls.__name__} is abstract; write a subclass with equations")
        for name in values:
            if name not in cls.__params__:
                raise UnknownNameError(f"{cls.__name__}: {unknown('parameter', name, cls.__params__)}")
        self.__dict__.update({k: c.value for k, c in cls.__consts__.items()})
        for name, spec in cls.__params__.items():
            value = values.get(name, spec.default)
            self.__dict__[name] = check_value(value, spec, f"{cls.__name__}.{name}")
        self.validate()

    def validate(self):
        """Checks between parameters; subclasses raise ParameterError."""

    def check_step(self, dt, values):
        """Checks against the time step at compile time; subclasses raise or warn.

        Args:
            dt: ms. values: parameters by name, as drawn for the cells of a population.
        """

    def __setattr__(self, name, value):
        raise AttributeError(f"{type(self).__name__} is immutable: write model.replace({name}={value!r})")

    def replace(self, **values):
        """A copy with some parameters changed."""
        return type(self)(**{**{k: self.__dict__[k] for k in self.__params__}, **values})

    def __repr__(self):
        shown = ", ".join(f"{k}={_short(self.__dict__[k])}" for k in self.__params__)
        return f"{type(self).__name__}({shown})"

    def _repr_html_(self):
        from .tables import model_html

        return model_html(self)

    @classmethod
    def __bind__(cls, values):
        """An instance whose attributes are `values` (arrays or tracers), unchecked; constants are filled in."""
        made = object.__new__(cls)
        made.__dict__.update({k: c.value for k, c in cls.__consts__.items()})
        made.__dict__.update(values)
        return made

    def call(self, method, available):
        """Call a method with its arguments taken by name from the mapping `available`."""
        return getattr(self, method)(**{name: available[name] for name in self.__methods__[method]})


def _short(value):
    return f"array{np.shape(value)}" if np.ndim(value) else f"{value}"


def check_value(value, spec, what):
    """Bring a parameter value to its declared unit and check that it is finite and inside its bounds."""
    from .distributions import Distribution
    from .units import to_canonical

    if isinstance(value, Distribution):
        return value.in_unit(spec.unit, what)
    value = to_canonical(value, spec.unit, what)
    if isinstance(value, np.ndarray | float | int | np.generic):
        check_bounds(np.asarray(value, float), spec, what)
        if np.ndim(value) == 0:
            return float(value)
    return value


def check_bounds(values: np.ndarray, spec, what: str):
    """Raise ParameterError unless every value is finite and within the bounds of its declaration."""
    bad = ~np.isfinite(values)
    if bad.any():
        at = f" at index {int(np.flatnonzero(bad.ravel())[0])}" if values.ndim else ""
        raise ParameterError(f"{what} is {values.ravel()[np.flatnonzero(bad.ravel())[0]]}{at}; it must be finite")
    low, high = (
        (-math.inf if spec.bounds[0] is None else spec.bounds[0]),
        (math.inf if spec.bounds[1] is None else spec.bounds[1]),
    )
    outside = (values < low) | (values > high) if spec.closed else (values <= low) | (values >= high)
    if spec.bounds != (None, None) and outside.any():
        k = int(np.flatnonzero(outside.ravel())[0])
        shown = "[" if spec.closed else "("
        close = "]" if spec.closed else ")"
        at = f" at index {k}" if values.ndim else ""
        raise ParameterError(
            f"{what} = {values.ravel()[k]:g}{at} lies outside {shown}{low:g}, {high:g}{close}"
            f"{' ' + spec.unit if spec.unit else ''}; give a value inside"
        )
