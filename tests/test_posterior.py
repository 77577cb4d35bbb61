"""Posteriors of a model whose posterior is known, profiles, and pairs for simulation-based inference."""

import numpy as np
import pytest

import brainsim as bs
from brainsim.errors import ParameterError, UnknownNameError
from brainsim.models import LIF

RUN = {"duration": 20.0, "inputs": {"c.I": bs.step(10.0, 2.0, 15.0)}}


def passive():
    """v - v_rest is linear in R."""
    net = bs.Network(seed=0)
    net.add("c", LIF(tau=12.0, v_rest=-60.0, v_th=1000.0, v_reset=-60.0), 1)
    return net.compile(dt=0.2, record=["c.v"])


def fitted(noise=1.0, extra=()):
    sim = passive()
    clean = np.asarray(sim.run(**RUN, params={"c.R": 1.5})["c.v"])
    data = clean + noise * np.random.default_rng(0).normal(size=clean.shape)
    space = bs.Space({"c.R": bs.bounded(0.2, 5.0, prior=bs.normal(1.0, 0.2, low=0.2, high=5.0)), **dict(extra)})
    loss = lambda result, data: (result["c.v"] - data)[:, 0]
    return sim, bs.fit(sim, space, loss, data, **RUN, method="lm", steps=20), (clean[:, 0] + 60.0) / 1.5, data[:, 0]


def test_samples_are_those_of_the_closed_form(x64):
    pytest.importorskip("blackjax")
    _, fit, x, data = fitted()
    found = bs.nuts(fit, noise=1.0, draws=600, warmup=300, chains=4)
    precision = x @ x + 1 / 0.2**2
    mean, sd = (x @ (data + 60.0) + 1.0 / 0.2**2) / precision, precision**-0.5
    values = found.values["c.R"]
    assert values.shape == (4, 600) and not found.diverged.any() and (found.accepted > 0.6).all()
    assert abs(values.mean() - mean) < 0.15 * sd and values.std() == pytest.approx(sd, rel=0.1)
    assert abs(found.rhat()["c.R"] - 1.0) < 0.05
    with pytest.raises(ParameterError, match="need their standard deviation"):
        bs.nuts(fit, noise=0.0)


def test_a_profile_is_the_parabola_of_a_linear_model_and_flat_where_nothing_is_known(x64):
    _, fit, x, data = fitted(extra={"c.t_ref": bs.bounded(0.1, 5.0)}.items())
    values = np.array([1.2, 1.4, 1.6])
    expected = [np.mean((x * v - 60.0 - data) ** 2) for v in values]
    np.testing.assert_allclose(fit.profile("c.R", values), expected, rtol=1e-6)
    flat = fit.profile("c.t_ref", [1.0, 2.0, 3.0])
    assert np.ptp(flat) < 1e-9
    with pytest.raises(UnknownNameError, match="did you mean"):
        fit.profile("c.r", values)


def test_pairs_are_draws_from_the_prior_and_their_runs():
    sim = passive()
    space = bs.Space({"c.R": bs.bounded(0.2, 5.0)})
    theta, x = bs.simulated_pairs(sim, space, lambda result: result["c.v"][::10, 0], 5, **RUN, width=2)
    assert theta.shape == (5, 1) and x.shape == (5, 10)
    for u, found in zip(theta, x, strict=True):
        params = space.bind(sim).params(u)
        np.testing.assert_allclose(found, np.asarray(sim.run(**RUN, params=params)["c.v"])[::10, 0], rtol=1e-5)
    noisy = {"duration": 20.0, "inputs": {"c.I": bs.ou_noise(0.0, 5.0, 5.0)}}
    _, x = bs.simulated_pairs(sim, bs.Space({"c.t_ref": bs.fraction()}), lambda result: result["c.v"][-1], 4, **noisy)
    assert len(np.unique(x)) == 4
