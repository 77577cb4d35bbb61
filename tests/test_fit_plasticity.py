"""Fits through learning: what a rule has done to the weights tells its parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainsim as bs
from brainsim.models import ExpCurrent, SpikeSource, TripletSTDP

DT = 1.0
PAIRS = 10
FREQUENCIES = (5.0, 10.0, 20.0, 40.0, 50.0)  # Hz, of the pairings of Sjöström, Turrigiano & Nelson 2001
LAGS = (-20.0, -10.0, 10.0, 20.0)  # ms, post minus pre
DURATION = 2300.0


def protocols():
    """Spikes (protocols, steps, 1) of both cells: pairs at every frequency and lag."""
    n = round(DURATION / DT)
    pre, post = (np.zeros((len(FREQUENCIES) * len(LAGS), n, 1)) for _ in range(2))
    for k, (f, lag) in enumerate((f, lag) for f in FREQUENCIES for lag in LAGS):
        at = np.round((50.0 + np.arange(PAIRS) * 1e3 / f) / DT).astype(int)
        pre[k, at], post[k, at + round(lag / DT)] = 1.0, 1.0
    return pre, post


def paired(record=("s.w",)):
    net = bs.Network(seed=0)
    net.add("pre", SpikeSource(), 1)
    net.add("post", SpikeSource(), 1)
    net.connect(
        "pre", "post", ExpCurrent(), bs.one_to_one(), weight=1.0, name="s",
        plasticity=TripletSTDP(A2_plus=5e-3, A3_plus=6.2e-3, A2_minus=7e-3, A3_minus=2.3e-4, tau_plus=16.8, tau_minus=33.7,
                               tau_x=101.0, tau_y=125.0),
        bounds=bs.unbounded(),
    )  # fmt: skip
    return net.compile(dt=DT, record=[bs.trace(name, every=DURATION) for name in record])


TRUE = {"s.A2_plus": 3.1e-3, "s.A3_plus": 8.5e-3, "s.A2_minus": 5.3e-3, "s.tau_plus": 14.0, "s.tau_y": 90.0}
SPACE = bs.Space(
    {
        **{name: bs.bounded(1e-4, 5e-2, log=True) for name in ("s.A2_plus", "s.A3_plus", "s.A2_minus")},
        "s.tau_plus": bs.bounded(5.0, 60.0, log=True),
        "s.tau_y": bs.bounded(30.0, 300.0, log=True),
    }
)
RUN = {
    "duration": DURATION,
    "inputs": lambda data: {"pre.spikes": bs.array(data["pre"]), "post.spikes": bs.array(data["post"])},
}


def loss(result, data):
    return 100.0 * (result["s.w"][-1] - data["w"])


def final_weights(sim, params):
    pre, post = protocols()
    inputs = lambda a, b: {"pre.spikes": bs.array(a), "post.spikes": bs.array(b)}
    one = lambda a, b: sim.run(DURATION, params=params, inputs=inputs(a, b))["s.w"][-1]
    return pre, post, np.asarray(jax.jit(jax.vmap(one))(pre, post))


def test_the_parameters_of_a_triplet_rule_are_recovered_from_pairings(x64):
    sim = paired()
    pre, post, w = final_weights(sim, {k: jnp.asarray(v) for k, v in TRUE.items()})
    data = {"pre": pre, "post": post, "w": w}
    assert w.std() > 0.05  # the protocols do something
    result = bs.fit(sim, SPACE, loss, data, **RUN, batch=len(w), method="lm", starts=3, steps=40)
    for name, value in TRUE.items():
        assert result.params[name] == pytest.approx(value, rel=1e-3), name
    assert (result.best_losses < 1e-6).sum() >= 2  # of three starts

    noisy = {**data, "w": w + 0.005 * np.random.default_rng(0).normal(size=w.shape)}
    result = bs.fit(sim, SPACE, loss, noisy, **RUN, batch=len(w), method="lm", starts=2, steps=40)
    errors = result.laplace().errors
    for name, value in TRUE.items():
        assert abs(result.params[name] - value) < 5 * errors[name] < 2.5 * value, name


def test_the_gradient_of_the_pairings_is_that_of_finite_differences(x64):
    sim = paired()
    pre, post, w = final_weights(sim, {k: jnp.asarray(v) for k, v in TRUE.items()})
    problem = bs.Objective(sim, SPACE, loss, {"pre": pre, "post": post, "w": w}, **RUN, batch=len(w))
    x = jnp.asarray(problem.start())
    value, grad = jax.jit(jax.value_and_grad(problem.value))(x)
    f = jax.jit(problem.value)
    for i in range(x.size):
        step = jnp.zeros_like(x).at[i].set(1e-5)
        expected = (f(x + step) - f(x - step)) / 2e-5
        assert float(grad[i]) == pytest.approx(float(expected), rel=1e-6), problem.bound.labels[i]
    assert float(value) > 0
