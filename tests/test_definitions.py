"""What is refused when a model class is defined: the class body is checked before anything runs."""

import jax
import pytest

import brainsim as bs
from brainsim.errors import BrainsimError, DefinitionError, UnitError, UnknownNameError

Neuron, Synapse = bs.Neuron, bs.Synapse


def define(base, **body):
    """A class with this body, in order."""
    namespace = type(base).__prepare__("Bad", (base,))
    for name, value in body.items():
        namespace[name] = value
    namespace["__module__"] = __name__
    return type(base)("Bad", (base,), namespace)


def twice():
    class Bad(Neuron):
        v = bs.state(0.0, "mV")
        v = bs.state(1.0, "mV")


def v_state(**options):
    return dict(v=bs.state(0.0, "mV", **options))


def decay(self, v):
    return -v / self.tau


TAU = dict(tau=bs.param(10.0, "ms", bounds=(0, None)))
LEAK = {**TAU, **v_state(), "dv": decay}
G = dict(w=bs.weight("nS"), g=bs.state(0.0, "nS"), dg=lambda self, g: -g / self.tau, **TAU)

WRONG = {
    # arguments
    "unknown argument": (lambda: define(Neuron, **v_state(), dv=lambda self, v, u: v - u), r"Bad\.dv asks for 'u', which it cannot have; available are \['I', 'dt', .*'t', 'v'\]"),
    "parameter as argument": (lambda: define(Neuron, **TAU, **v_state(), dv=lambda self, v, tau: -v / tau), r"Bad\.dv asks for 'tau', which is a parameter: read it as self\.tau"),
    "default value": (lambda: define(Neuron, **TAU, **v_state(), dv=lambda self, v=0.0: -v / self.tau), r"Bad\.dv: argument v=0\.0 must be a plain name"),
    "star": (lambda: define(Neuron, **v_state(), dv=lambda self, *v: v), r"Bad\.dv: argument \*v must be a plain name"),
    "init of itself": (lambda: define(Neuron, **LEAK, init_v=lambda self, v: v), r"Bad\.init_v asks for 'v', which it cannot have"),
    "key in an equation": (lambda: define(Neuron, **TAU, **v_state(), dv=lambda self, v, key: -v / self.tau), r"Bad\.dv asks for 'key'"),
    "key in a current": (lambda: define(Synapse, **G, on_pre=lambda self, w: dict(g=w), current=lambda self, g, key: g), r"Bad\.current asks for 'key', but of a synapse only on_pre can"),
    "key of an edge for jax.random": (lambda: define(Synapse, **G, on_pre=lambda self, w, key: dict(g=w * jax.random.uniform(key))), r"Bad\.on_pre: .* write bs\.jax_key\(key\)"),
    # states
    "no derivative": (lambda: define(Neuron, **v_state()), r"Bad: state 'v' has no method dv; write dv or declare it with jump=True"),
    "derivative of a jump": (lambda: define(Neuron, **TAU, **v_state(jump=True), dv=decay), r"Bad: state 'v' has a derivative and jump=True"),
    "derivative of nothing": (lambda: define(Neuron, **LEAK, du=lambda self, v: v), r"Bad\.du is no method of a neuron: there is no method 'du'; did you mean 'dv'"),
    "misspelt method": (lambda: define(Neuron, **LEAK, spikes=lambda self, v: v), r"Bad\.spikes is no method of a neuron: .*did you mean 'spike'\?.*Helper functions start with an underscore"),
    "misspelt synapse method": (lambda: define(Synapse, **G, on_pree=lambda self, w: dict(g=w)), r"Bad\.on_pree is no method of a synapse: .*did you mean 'on_pre'"),
    "synapse state without derivative": (lambda: define(Synapse, w=bs.weight("nS"), g=bs.state(0.0, "nS"), on_pre=lambda self, w: dict(g=w)), r"Bad: state 'g' has no method dg"),
    "location on a neuron": (lambda: define(Neuron, **TAU, **v_state(on="post"), dv=decay), r"Bad\.v: on='post' is for synapses"),
    "unknown location": (lambda: define(Synapse, w=bs.weight(), g=bs.state(0.0, on="axon"), dg=lambda self, g: -g), r"Bad\.g: on='axon'; write one of \('post', 'pre', 'edge'\)"),
    "initial value": (lambda: define(Neuron, **TAU, v=bs.state("v_rest", "mV"), dv=decay), r"Bad\.v: initial value: there is no parameter 'v_rest'.* Known: tau"),
    "initial nan": (lambda: define(Neuron, **TAU, v=bs.state(float("nan"), "mV"), dv=decay), r"Bad\.v: the initial value is nan; it must be finite"),
    "twice": (twice, r"Bad defines 'v' twice: the second would silently replace the first"),
    "late": (lambda: setattr(define(Neuron, **LEAK), "u", bs.param(1.0)), r"Bad\.u cannot be declared after the class body; write a subclass"),
    # names
    "state t": (lambda: define(Neuron, t=bs.state(0.0), dt=lambda self, t: -t), r"'t', which is reserved; choose another name"),
    "parameter dt": (lambda: define(Neuron, **LEAK, dt=bs.param(1.0)), r"Bad: a parameter cannot be called 'dt', which is reserved"),
    "input key": (lambda: define(Neuron, **LEAK, key=bs.input()), r"Bad: an input cannot be called 'key', which is reserved"),
    "parameter replace": (lambda: define(Neuron, **LEAK, replace=bs.param(1.0)), r"Bad: a parameter cannot be called 'replace', which is reserved"),
    "synapse state w": (lambda: define(Synapse, w=bs.state(0.0), dw=lambda self, w: -w), r"Bad: a state cannot be called 'w', which is reserved"),
    "synapse parameter weight": (lambda: define(Synapse, **G, weight=bs.param(1.0), on_pre=lambda self, w: dict(g=w)), r"Bad: a parameter cannot be called 'weight', which is reserved"),
    "state spikes": (lambda: define(Neuron, spikes=bs.state(0.0, jump=True)), r"Bad: a state cannot be called 'spikes', which is reserved"),
    "state that reads like a derivative": (lambda: define(Neuron, **LEAK, dv2=bs.param(1.0), v2=bs.state(0.0)), r"Bad.*v2"),
    "dx beside x": (lambda: define(Neuron, x=bs.state(0.0), dx=bs.state(0.0), ddx=lambda self, x: -x), r"state 'dx' reads like the derivative of 'x'"),
    # parameters
    "bounds": (lambda: define(Neuron, **LEAK, a=bs.param(1.0, bounds=(2.0, 1.0))), r"Bad\.a: bounds \(2\.0, 1\.0\) are in the wrong order; write \(low, high\)"),
    "bounds shape": (lambda: bs.param(1.0, bounds=3.0), r"bounds=3\.0.*write bounds=\(low, high\)"),
    "default outside": (lambda: define(Neuron, **LEAK, a=bs.param(0.0, bounds=(0, None))), r"Bad\.a.*0 lies outside \(0, inf\)"),
    # firing
    "reset alone": (lambda: define(Neuron, **LEAK, reset=lambda self, v: dict(v=v)), r"Bad has reset but no spike; write spike\(self"),
    "reset of nothing": (lambda: define(Neuron, **LEAK, spike=lambda self, v: v - 1.0 * v, reset=lambda self, v: dict(u=v)), r"Bad\.reset returns 'u': there is no state 'u'.* Known: v"),
    "reset of a number": (lambda: define(Neuron, **LEAK, spike=lambda self, v: v, reset=lambda self, v: v), r"Bad\.reset must return a dict of names, got float"),
    "spike_on": (lambda: define(Neuron, **LEAK, spike=lambda self, v: v, spike_on="edge"), r"Bad\.spike_on = 'edge'; write 'level' or 'crossing'"),
    "refractory time": (lambda: define(Neuron, **LEAK, refractory=bs.refractory("t_ref")), r"Bad\.refractory: there is no parameter 't_ref'.* Known: tau"),
    "refractory state": (lambda: define(Neuron, **LEAK, refractory=bs.refractory("tau", holds=("u",))), r"Bad\.refractory holds: there is no state 'u'.* Known: v"),
    "noise of nothing": (lambda: define(Neuron, **LEAK, noise_u=lambda self: 1.0), r"Bad\.noise_u is no method of a neuron"),
    "noise of a jump": (lambda: define(Neuron, **LEAK, u=bs.state(0.0, jump=True), noise_u=lambda self: 1.0), r"Bad: state 'u' has noise but no derivative|Bad.noise_u.*jump"),
    # synapses
    "does nothing": (lambda: define(Synapse, **G), r"Bad does nothing: write on_pre, or output and current"),
    "output without current": (lambda: define(Synapse, w=bs.weight(), output=lambda self, v_pre: dict(x=v_pre)), r"Bad has output but no current; write current\(self, x, \.\.\.\)"),
    "increment of nothing": (lambda: define(Synapse, **G, on_pre=lambda self, w: dict(h=w)), r"Bad\.on_pre returns 'h': there is no state 'h'.* A state of the target is written <state>_post"),
    "increments of a number": (lambda: define(Synapse, **G, on_pre=lambda self, w: w), r"Bad\.on_pre must return a dict of names, got float"),
    "post state at the source": (lambda: define(Synapse, **G, output=lambda self, g: dict(x=g), current=lambda self, x: x), r"Bad\.output asks for 'g', which it cannot have"),
    "weight at the source": (lambda: define(Synapse, w=bs.weight(), output=lambda self, w: dict(x=w), current=lambda self, x: x), r"Bad\.output asks for 'w'"),
    "edge in a post derivative": (lambda: define(Synapse, w=bs.weight(), a=bs.state(0.0, on="edge"), da=lambda self, a: -a, b=bs.state(0.0), db=lambda self, b, a: a - b, on_pre=lambda self: dict(a=1.0)), r"Bad\.db asks for 'a', which it cannot have"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_refused(name):
    what, message = WRONG[name]
    with pytest.raises(DefinitionError, match=message) as caught:
        what()
    assert len(str(caught.value)) < 500


UNITS = {
    "sum": (lambda: define(Neuron, **TAU, **v_state(), dv=lambda self, v, I: (v + I) / self.tau), r"Bad\.dv adds mV .*pA|Bad\.dv adds .*mV"),
    "result": (lambda: define(Neuron, **TAU, **v_state(), dv=lambda self, v: -v), r"Bad\.dv .*mV/ms"),
    "exponent": (lambda: define(Neuron, **TAU, **v_state(), dv=lambda self, v: bs.exp(v) / self.tau), r"Bad\.dv .*bs\.exp\(v\)"),
    "spike": (lambda: define(Neuron, **LEAK, th=bs.param(1.0, "pA"), spike=lambda self, v: v - self.th), r"Bad\.spike"),
    "reset": (lambda: define(Neuron, **LEAK, a=bs.param(1.0, "pA"), spike=lambda self, v: v, reset=lambda self, v: dict(v=self.a)), r"Bad\.reset"),
    "noise": (lambda: define(Neuron, **LEAK, s=bs.param(1.0, "mV"), noise_v=lambda self: self.s), r"Bad\.noise_v"),
    "increment": (lambda: define(Synapse, **{**G, "w": bs.weight("pA")}, on_pre=lambda self, w: dict(g=w)), r"Bad\.on_pre"),
    "current": (lambda: define(Synapse, **G, on_pre=lambda self, w: dict(g=w), current=lambda self, g: g), r"Bad\.current"),
    "unknown unit": (lambda: define(Neuron, **{**LEAK, "tau": bs.param(10.0, "mss")}), r"'mss' is not a unit"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNITS)
def test_units_are_checked(name):
    what, message = UNITS[name]
    with pytest.raises(UnitError, match=message):
        what()


def test_equations_are_plain_functions():
    """A model can be called by hand, with numbers."""
    made = define(Neuron, **LEAK)(tau=5.0)
    assert made.dv(v=10.0) == -2.0
    with pytest.raises(UnknownNameError, match=r"Bad: there is no parameter 'tu'; did you mean 'tau'"):
        made.replace(tu=1.0)


def test_inheritance():
    base = define(Neuron, **LEAK)
    child = type(base)(
        "Child", (base,), {"__module__": __name__, "a": bs.param(2.0, "mV"), "spike": lambda self, v: v - self.a}
    )
    assert list(child.__params__) == ["tau", "a"] and set(child.__methods__) == {"dv", "spike"}
    assert issubclass(DefinitionError, BrainsimError) and issubclass(DefinitionError, TypeError)
