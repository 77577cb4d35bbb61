"""Linear equations are told from those that only look like it at points."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainsim as bs
from brainsim.linearity import is_linear
from brainsim.models import ExpCurrent, SpikeSource

LINEAR = {
    "decay": lambda p, v: -v["e"] / p["tau"],
    "product with what is shared": lambda p, v: p["k"] * v["d"] ** 2 * v["e"],
    "two states": lambda p, v: (v["e"] - 2.0 * v["f"]) / p["tau"] + 0.0,
    "switched by what is shared": lambda p, v: jnp.where(v["d"] > p["k"], v["e"], 0.0),
    "called": lambda p, v: jax.jit(lambda x: jnp.exp(p["k"]) * x)(v["e"]),
    "nothing": lambda p, v: 0.0 * v["e"],
}
OTHER = {
    "constant": lambda p, v: p["k"] * jnp.maximum(v["d"] - 5.0, 0.0),
    "constant part": lambda p, v: -v["e"] / p["tau"] + p["k"] * jnp.maximum(-v["d"], 0.0),
    "after a time": lambda p, v: jnp.where(v["d"] > 20.0, 1.0, 0.0) + v["e"],
    "sign": lambda p, v: p["k"] * jnp.sign(v["e"]),
    "rounded": lambda p, v: jnp.round(4.0 * v["e"]) / 4.0,
    "hidden square": lambda p, v: jax.lax.stop_gradient(v["e"] * v["e"]),
    "threshold": lambda p, v: jnp.where(jnp.abs(v["e"]) > 1.0, v["e"], 0.0),
    "rectified": lambda p, v: jax.nn.relu(v["e"]),
    "quotient": lambda p, v: v["d"] / v["e"],
    "through an integer": lambda p, v: v["e"].astype(int).astype(float),
}


@pytest.mark.parametrize("name", [*LINEAR, *OTHER])
def test_linear_or_not(name):
    zeros = lambda names: {n: jnp.zeros(()) for n in names}
    function = {**LINEAR, **OTHER}[name]
    assert is_linear(function, zeros(("k", "tau")), zeros(("d", "e", "f")), {"e", "f"}) == (name in LINEAR)


class Reward(bs.Plasticity):
    """Eligibility of pairs under a global modulator, which enters through a function."""

    k, tau_plus, tau_e = bs.param(0.01, "1/ms"), bs.param(20.0, "ms"), bs.param(100.0, "ms")
    th = bs.const(5.0)
    x = bs.state(0.0, on="pre")
    e = bs.state(0.0, on="edge")
    dopamine = bs.input(None, 0.0)

    def dx(self, x):
        return -x / self.tau_plus

    def de(self, e):
        return -e / self.tau_e

    def on_pre(self):
        return dict(x=1.0)

    def on_post(self, x):
        return dict(e=x)

    def dw(self, e, dopamine):
        return self.k * dopamine * e


class Signed(Reward):
    def dw(self, e, dopamine):
        return self.k * dopamine * jnp.sign(e)


class Rounded(Reward):
    def dw(self, e, dopamine):
        return self.k * dopamine * jnp.round(4.0 * e) / 4.0


class Late(Reward):
    def dw(self, dopamine):
        return self.k * jnp.maximum(dopamine - self.th, 0.0)


@pytest.mark.parametrize("rule", [Reward, Signed, Rounded, Late])
def test_host_runs_learn_what_traced_runs_learn(rule, x64):
    net = bs.Network(seed=0)
    a, b = net.add("a", SpikeSource(), 3), net.add("b", SpikeSource(), 4)
    net.connect(a, b, ExpCurrent(), bs.all_to_all(), weight=1.0, plasticity=rule(), bounds=bs.unbounded(), name="s")
    sim = net.compile(dt=0.5, record=["s.w"])
    spikes = {"a.spikes": bs.spike_trains([10.0, 20.0], [0, 1]), "b.spikes": bs.spike_trains([15.0, 12.0], [0, 1])}
    inputs = {**spikes, "s.dopamine": 7.0}
    host = sim.run(30.0, inputs=inputs)["s.w"][-1]
    traced = jax.jit(lambda p: sim.run(30.0, params=p, inputs=inputs)["s.w"][-1])(sim.params)
    np.testing.assert_allclose(host, traced, rtol=1e-10)
    assert np.abs(host - 1.0).max() > 0.01
