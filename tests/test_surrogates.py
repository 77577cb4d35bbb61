"""Pseudo-derivatives: areas, integrals, own shapes, both modes of differentiation."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate

import brainsim as bs
from brainsim.errors import ParameterError
from brainsim.surrogate import SHAPES, Shape, hard_spike

AREA = {name: 0.85 if name == "multi_gaussian" else 1.0 for name in SHAPES}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("width", [0.3, 2.0])
def test_areas_and_integrals(name, width, x64):
    s = bs.Surrogate(name, width)
    f = lambda x: float(s.derivative(jnp.asarray(x)))
    ends = [-np.inf, -width, 0.0, width, np.inf]
    area = sum(integrate.quad(f, a, b, limit=200)[0] for a, b in pairwise(ends))
    assert area == pytest.approx(AREA[name], abs=1e-6)
    for x in (-1.7, -0.4, 0.05, 0.9, 3.0):
        inside = [e for e in ends if e < x]
        expected = sum(integrate.quad(f, a, b, limit=200)[0] for a, b in pairwise([*inside, x]))
        assert float(s.integral(jnp.asarray(x))) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("name", SHAPES)
def test_spikes_pass_forward_and_reverse_mode(name, x64):
    s, x = bs.Surrogate(name, 0.5, gain=0.3), jnp.array([-0.7, -0.1, 0.0, 0.2, 1.3])
    assert np.array_equal(hard_spike(x, s), x > 0)
    forward, reverse = (f(lambda x: hard_spike(x, s))(x) for f in (jax.jacfwd, jax.jacrev))
    np.testing.assert_allclose(forward, np.diag(s.derivative(x)), atol=1e-15)
    np.testing.assert_array_equal(forward, reverse)
    assert s.derivative(jnp.float32(0.1)).dtype == jnp.float32


def test_a_shape_of_the_user(x64):
    mine = Shape(lambda x: 0.5 / jnp.cosh(x) ** 2, lambda x: 0.5 + 0.5 * jnp.tanh(x))
    from brainsim.models import LIF

    net = bs.Network(seed=0)
    net.add("c", LIF(v_rest=-60.0, v_th=-50.0, v_reset=-60.0), 2)
    sims = [
        net.compile(dt=0.1, record=["c.spikes"], surrogate=bs.Surrogate(mine, 0.5), smooth=k) for k in (False, True)
    ]
    loss = lambda sim: lambda tau: jnp.sum(sim.run(10.0, params={"c.tau": tau}, inputs={"c.I": 25.0}).spikes["c"])
    assert jax.grad(loss(sims[0]))(10.0) != 0.0
    f, step = jax.jit(loss(sims[1])), 1e-5
    expected = (f(10.0 + step) - f(10.0 - step)) / (2 * step)
    assert float(jax.grad(loss(sims[1]))(10.0)) == pytest.approx(float(expected), rel=1e-6)
    with pytest.raises(ParameterError, match=r"bs.surrogate.Shape\(psi, integral\)"):
        bs.Surrogate("mine")
