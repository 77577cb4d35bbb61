"""flax modules beside a network, and training loops that users write."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import brainsim as bs
from brainsim.models import LIF, ExpCurrent

nnx = pytest.importorskip("flax.nnx")
linen = pytest.importorskip("flax.linen")


def network():
    """Three input currents, twenty spiking cells, two leaky readouts."""
    net = bs.Network(seed=1)
    net.add("in", LIF(tau=10.0, v_rest=0.0, v_th=1.0, v_reset=0.0, t_ref=0.0), 12)
    net.add("out", LIF(tau=10.0, v_rest=0.0, v_th=1e6, v_reset=0.0), 2)
    net.connect("in", "out", ExpCurrent(tau=5.0), bs.all_to_all(), weight=bs.normal(0.0, 0.5), delay=0.5)
    return net.compile(dt=0.5, record=["out.v", "in.spikes"], surrogate=bs.Surrogate("fast_sigmoid", 0.3))


def task(n=16):
    """Which of two features is larger."""
    x = np.random.default_rng(0).uniform(0.0, 1.0, (n, 2))
    return {"x": x, "label": (x[:, 1] > x[:, 0]).astype(int)}


def cross_entropy(scores, label):
    return optax.softmax_cross_entropy_with_integer_labels(scores, label)


def test_a_linen_encoder_and_the_network_are_trained_together():
    sim, data = network(), task()
    encoder = linen.Sequential([linen.Dense(8), linen.relu, linen.Dense(12)])
    weights = encoder.init(jax.random.key(0), jnp.zeros(2))
    inputs = lambda data, extra: {"in.I": 2.0 * jax.nn.softplus(encoder.apply(extra, data["x"]))}
    loss = lambda result, data: cross_entropy(jnp.mean(result["out.v"], axis=0), data["label"])
    space = bs.Space({"in->out.weight": bs.free(1.0)})
    run = dict(duration=20.0, inputs=inputs, extra=weights, batch=16)
    result = bs.fit(sim, space, loss, data, **run, method=optax.adam(0.05), steps=40)
    assert result.loss < 0.5 * result.losses[0, 0]
    assert jax.tree.structure(result.extra) == jax.tree.structure(weights)
    moved = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), result.extra, weights)
    assert min(jax.tree.leaves(moved)) > 1e-3  # every layer learns, through the spikes
    assert np.abs(result.params["in->out.weight"] - np.asarray(sim.params["in->out.weight"])).max() > 1e-2


class Readout(nnx.Module):
    def __init__(self, rngs):
        self.norm = nnx.LayerNorm(12, rngs=rngs)
        self.out = nnx.Linear(12, 2, rngs=rngs)

    def __call__(self, x):
        return self.out(self.norm(x))


def test_an_nnx_readout_is_trained_in_a_loop_of_the_user():
    sim, data = network(), task()
    readout = Readout(nnx.Rngs(0))
    drive = nnx.Param(jax.random.uniform(jax.random.key(1), (2, 12)))

    class Whole(nnx.Module):
        def __init__(self):
            self.readout, self.drive = readout, drive

        def __call__(self, x):
            counts = sim.run(20.0, inputs={"in.I": 3.0 * x @ self.drive[...]}).spikes["in"].sum(axis=0)
            return self.readout(counts)

    model = Whole()
    optimizer = nnx.Optimizer(model, optax.adam(0.02), wrt=nnx.Param)

    @nnx.jit
    def step(model, optimizer):
        def loss(model):
            scores = nnx.vmap(lambda m, x: m(x), in_axes=(None, 0))(model, data["x"])
            return jnp.mean(cross_entropy(scores, data["label"]))

        value, gradient = nnx.value_and_grad(loss)(model)
        optimizer.update(model, gradient)
        return value

    before = np.asarray(drive[...])
    values = [float(step(model, optimizer)) for _ in range(30)]
    assert values[-1] < 0.6 * values[0] and np.abs(np.asarray(model.drive[...]) - before).max() > 1e-2


def test_a_run_is_a_function_for_any_transformation():
    """value_and_grad, vmap over parameters and scan over an optimizer, without anything of ours."""
    sim = network()
    f = lambda w: jnp.mean(sim.run(10.0, params={"in->out.weight": w}, inputs={"in.I": 3.0})["out.v"] ** 2)
    optimizer = optax.adam(0.05)

    def train(w):
        def step(carry, _):
            w, state = carry
            value, gradient = jax.value_and_grad(f)(w)
            update, state = optimizer.update(gradient, state)
            return (w + update, state), value

        return jax.lax.scan(step, (w, optimizer.init(w)), None, length=10)[1]

    w = sim.params["in->out.weight"]
    values = jax.jit(jax.vmap(train))(jnp.stack([w, 2.0 * w]))
    assert values.shape == (2, 10) and (values[:, -1] < 0.8 * values[:, 0]).all()
