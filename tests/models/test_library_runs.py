"""Every model of the library runs: one second, driven down, not at all and up, without a value that is not finite."""

import jax
import jax.numpy as jnp
import library
import numpy as np
import pytest

import brainsim as bs
from brainsim.models import LIF, AdEx, PoissonSource

# what drives a cell well above threshold; pA, or plain numbers for dimensionless inputs. 100 where nothing is said
STRONG = {
    "HodgkinHuxley": 1000.0, "TraubMiles": 500.0, "WangBuzsaki": 300.0, "AdEx": 1000.0, "EIF": 200.0, "QIF": 200.0,
    "Izhikevich": 15.0, "GIF": 200.0, "FitzHughNagumo": 0.8, "HindmarshRose": 3.0, "LinearRate": 1.0,
    "ThresholdLinearRate": 1.0, "GradedNeuron": 1.0, "WilsonCowan": 1.0, "JansenRit": 0.1, "ReducedWongWang": 0.1, "Astrocyte": 1.0, "ClopathAdEx": 1000.0,
    "LinearLeakLIF": 2.0,
}  # fmt: skip
MASSES = {"WilsonCowan", "JansenRit", "ReducedWongWang"}  # activities of populations: they never spike
SILENT = {
    "Astrocyte",
    "LinearRate",
    "ThresholdLinearRate",
    "GradedNeuron",
    "LeakyReadout",
    "PoissonSource",
    "SpikeSource",
    *MASSES,
}  # for this drive
NEURONS = [n for n in library.NAMES if library.model_class(n).KIND == "neuron"]
SYNAPSES = [n for n in library.NAMES if library.model_class(n).KIND == "synapse" and n != "ToAstrocyte"]


def driven_network():
    net, inputs = bs.Network(seed=1), {}
    for name in NEURONS:
        cls = library.model_class(name)
        net.add(name, cls(), 3)
        if "I" in {a for arguments in cls.__methods__.values() for a in arguments}:
            inputs[f"{name}.I"] = bs.constant(STRONG.get(name, 100.0) * np.array([-1.0, 0.0, 1.0]))
    return net, inputs


def test_neurons_run_for_a_second_and_fire_when_driven():
    net, inputs = driven_network()
    record = [f"{name}.{state}" for name in NEURONS for state in library.model_class(name).__states__]
    result = net.run(1000.0, dt=0.1, inputs=inputs, record=["*.spikes", *(bs.trace(r, every=0.5) for r in record)])
    for trace in record:
        values = result.traces[trace].values
        assert values.shape == (2000, 3) and np.isfinite(values).all(), trace
    for name in set(NEURONS) - SILENT:
        down, _, up = result.spikes[name].counts()
        assert down == 0 and 1 <= up <= 600, name


@pytest.mark.parametrize("name", SYNAPSES)
def test_synapse_runs_for_a_second(name):
    cls = library.model_class(name)
    net = bs.Network(seed=2)
    post = net.add("post", LIF(), 4)
    reads = {a for arguments in cls.__methods__.values() for a in arguments}
    pre = net.add("pre", LIF() if "v_pre" in reads else PoissonSource(rate=50.0), 4)
    net.connect(pre, post, cls(), bs.all_to_all(), weight=0.5, delay=0.0 if cls.symmetric else 1.5)
    states = [f"pre->post.{state}" for state in cls.__states__]
    result = net.run(1000.0, dt=0.1, inputs={"post.I": 10.0}, record=["post.v", *states, "post.spikes"])
    for trace in ["post.v", *states]:
        values = result.traces[trace].values
        assert np.isfinite(values).all(), trace
        assert np.ptp(values) > 0, f"{trace} never moves"


@pytest.mark.slow  # compiles every model in one program; test_battery.py has the gradient of each alone
def test_gradients_through_a_run_are_finite():
    """Of a mean over 60 ms of all states and spikes, with respect to every parameter of every neuron."""
    net, inputs = driven_network()
    states = [f"{name}.{state}" for name in NEURONS for state in library.model_class(name).__states__]
    sim = net.compile(dt=0.1, record=["*.spikes", *states])

    def total(params):
        result = sim.run(60.0, params=params, inputs=inputs)
        return sum(jnp.mean(result[name]) for name in states) + sum(jnp.mean(x) for x in result.spikes.values())

    gradients = jax.jit(jax.grad(total))(sim.params)
    for name in NEURONS:
        cls = library.model_class(name)
        for parameter in cls.__params__:
            value = np.asarray(gradients[f"{name}.{parameter}"])
            assert np.isfinite(value).all(), f"{name}.{parameter}"
            whole_steps = cls.__refractory__ is not None and parameter == cls.__refractory__.t_ref
            assert not (whole_steps and value.any()), f"{name}.{parameter} is a number of steps: no gradient"
        moved = [p for p in cls.__params__ if np.asarray(gradients[f"{name}.{p}"]).any()]
        assert moved or not cls.__params__, name


@pytest.mark.parametrize("peak", [-40.4, pytest.param(0.0, marks=pytest.mark.slow), 20.0])
@pytest.mark.parametrize("method", ["exp_euler", "euler", "heun", "rk4"])
def test_a_high_peak_of_the_upswing_is_harmless(peak, method):
    """At 20 mV the exponential is 1e15: every integrator passes it in float32, with the same spikes to a step each."""
    net = bs.Network()
    net.add("p", AdEx(V_peak=peak), 1, method=method)
    sim = net.compile(dt=0.05, record=["p.spikes", "p.v", "p.w"])
    spikes = sim.run(200.0, inputs={"p.I": 1000.0}).spikes["p"].times
    assert 5 <= len(spikes) <= 9

    def total(b):
        result = sim.run(60.0, params={"p.b": b}, inputs={"p.I": 1000.0})
        return jnp.mean(result["p.w"]) + jnp.mean(result["p.v"])

    assert np.isfinite(jax.grad(total)(jnp.asarray(80.5)))
