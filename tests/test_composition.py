"""The pure run inside scan, jit and vmap: states, keys and known values go through."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainsim as bs
from brainsim.errors import RunError
from brainsim.models import LIF, Delta, ExpCurrent, PoissonSource


@pytest.fixture(scope="module")
def sim():
    net = bs.Network(seed=1)
    net.add("c", LIF(v_th=-50.0, t_ref=2.0), 6)
    net.connect("c", "c", ExpCurrent(), bs.all_to_all(), weight=2.0, delay=1.5)
    net.connect(bs.poisson(300.0), "c", ExpCurrent(), weight=10.0)
    return net.compile(dt=0.1, record=["c.spikes", bs.trace("c.v")])


def test_a_run_of_known_values_inside_jit(sim):
    """Nothing that goes in is traced, but the host cannot look at what comes out."""
    inside = jax.jit(lambda: sim.run(5.0).traces["c.v"].values)()
    np.testing.assert_array_equal(inside, sim.run(5.0)["c.v"])


def test_scan_hands_the_state_on(sim):
    whole = sim.run(15.0).traces["c.v"]

    def part(state, _):
        result = sim.run(5.0, state=state)
        return result.state, result.traces["c.v"]

    _, parts = jax.lax.scan(part, sim.run(5.0).state, length=2)
    np.testing.assert_array_equal(np.concatenate(parts.values), whole.values[50:])
    np.testing.assert_allclose(np.concatenate(parts.times), whole.times[50:], rtol=1e-6)


def test_typed_keys_are_keys(sim):
    keys = jax.random.split(jax.random.key(3), 2)
    many = jax.vmap(lambda key: sim.run(5.0, key=key).traces["c.v"].values)(keys)
    np.testing.assert_array_equal(many[1], sim.run(5.0, key=keys[1])["c.v"])
    assert not np.array_equal(many[0], many[1])
    with pytest.raises(RunError, match=r"key has shape \(2, 2\); give one whole number"):
        sim.run(5.0, key=keys)


@pytest.mark.parametrize("method", ["exp_euler", "euler", "heun", "rk4", "rosenbrock"])
def test_sources_do_not_mind_the_method(method):
    """They have no equations, which broke every explicit method for the whole network."""
    net = bs.Network(seed=0)
    net.add("source", PoissonSource(rate=400.0), 5)
    net.add("c", LIF(), 2)
    net.connect("source", "c", Delta(), bs.all_to_all(), weight=0.1)
    result = net.run(20.0, method=method, record=["source.spikes", "c.v"])
    assert len(result["source"]) and jnp.isfinite(result["c.v"]).all()


def test_new_initial_values_are_not_ignored():
    net = bs.Network(seed=0)
    net.add("c", LIF(), 2)
    net.run(1.0, record="c.v")
    net.init("c.v", -51.0)
    with pytest.raises(RunError, match=r"net\.init was called after the last run.*reset=True"):
        net.run(1.0, record="c.v")
    assert net.run(0.1, record="c.v", reset=True)["c.v"][0, 0] == pytest.approx(-51.0, abs=0.2)
    net.run(0.1, record="c.v")
