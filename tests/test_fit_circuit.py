"""A plastic, delayed spiking circuit, recovered from its spikes: weights, time constant, delay, learning rate."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainsim as bs
from brainsim.models import LIF, STDP, ExpCurrent, SpikeSource

T, DT = 200.0, 0.25
TRUE = {"ff.weight": 24.0, "e.tau": 18.0, "inh.weight": -22.0, "inh.delay": 5.3, "ff.A_plus": 1.6}
CELL = dict(v_rest=-60.0, v_th=-50.0, v_reset=-60.0, t_ref=2.0)


class Forced(LIF):
    """A leaky cell that fires when the data say so: its voltage is a smooth function of all parameters."""

    observed = bs.input()

    def spike(self, observed):
        return observed - 0.5


def circuit(e, i):
    net = bs.Network(seed=2)
    net.add("in", SpikeSource(), 40)
    net.add("e", e, 20)
    net.add("i", i, 4)
    rule, half = STDP(A_plus=1.0, A_minus=0.5), bs.fixed_probability(0.5)
    how = dict(plasticity=rule, bounds=(0.0, 60.0), delay=1.0, name="ff")
    net.connect("in", "e", ExpCurrent(tau=5.0), half, weight=20.0, **how)
    late = bs.learnable_delay(4.0, longest=10.0, kernel="linear")
    net.connect("i", "e", ExpCurrent(tau=8.0), half, weight=-15.0, delay=late, name="inh")
    return net


def test_five_parameters_of_a_circuit_are_recovered_from_its_spikes(x64):
    whole = circuit(LIF(tau=15.0, **CELL), LIF(tau=10.0, **CELL))
    whole.connect("e", "i", ExpCurrent(tau=5.0), bs.all_to_all(), weight=10.0, delay=1.0)
    nature = whole.compile(dt=DT, record=["e.spikes", "i.spikes"])
    drive = (np.random.default_rng(0).random((round(T / DT), 40)) < 0.025 * DT).astype(float)
    inputs = {"in.spikes": bs.array(drive)}
    data = jax.jit(lambda p: nature.run(T, params=p, inputs=inputs).spikes)(
        {k: jnp.asarray(v) for k, v in TRUE.items()}
    )
    data = {k: np.asarray(v) for k, v in data.items()}
    assert data["e"].sum() > 100 and data["i"].sum() > 50

    sim = circuit(Forced(tau=15.0, **CELL), SpikeSource()).compile(dt=DT, record=["e.v"])
    inputs |= {"e.observed": bs.array(data["e"]), "i.spikes": bs.array(data["i"])}
    when, who = np.nonzero(data["e"])
    when, who = when[when > 1], who[when > 1]

    def loss(result):
        above = result["e.v"] - CELL["v_th"]
        reached = 1.5 * above[when - 1, who] - 0.5 * above[when - 2, who]
        return jnp.concatenate([reached, jnp.where(data["e"] == 0, jax.nn.relu(above), 0.0).sum(axis=0)])

    space = bs.Space(
        {
            "ff.weight": bs.bounded(5.0, 60.0),
            "e.tau": bs.bounded(5.0, 40.0),
            "inh.weight": bs.bounded(-60.0, -2.0),
            "inh.delay": bs.bounded(0.5, 9.5),
            "ff.A_plus": bs.bounded(0.2, 5.0, log=True),
        }
    )
    fit = bs.fit(sim, space, loss, duration=T, inputs=inputs, method="lm", starts=2, steps=20)
    errors = fit.laplace().errors
    for name, value in TRUE.items():
        assert float(fit.params[name]) == pytest.approx(value, rel=0.05), name
        assert abs(float(fit.params[name]) - value) < 5 * errors[name] < 0.5 * abs(value), name
