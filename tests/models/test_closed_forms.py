"""Neurons whose runs have a closed form."""

import numpy as np
import pytest
from scipy.linalg import expm

import brainsim as bs
from brainsim.models import (
    ALIF,
    LIF,
    CurrentALIF,
    LinearRate,
    PoissonSource,
    SpikeSource,
    ThresholdLinearRate,
)


def run(model, duration, dt=0.1, n=1, record=("p.spikes",), seed=0, **inputs):
    net = bs.Network(seed=seed)
    net.add("p", model, n)
    return net.run(duration, dt=dt, inputs={f"p.{k}": v for k, v in inputs.items()}, record=list(record))


# ---------------------------------------------------------------- LIF
LIF_250 = dict(tau=10.0, R=0.04, v_rest=0.0, v_th=15.0, v_reset=0.0, t_ref=2.0)


@pytest.mark.parametrize("dt", [0.1, 0.5, 1.0])
def test_charging_is_exact_at_every_dt(dt, x64):
    """v = R I (1 - exp(-t/tau)): 1000 pA into 250 pF after 5 ms."""
    v = run(LIF(**{**LIF_250, "v_th": 1e6}), 500.0, dt=dt, record=["p.v"], I=1000.0).traces["p.v"].values[:, 0]
    np.testing.assert_allclose(v[round(5.0 / dt) - 1], 15.738773611494663, rtol=1e-13)
    np.testing.assert_allclose(v, 40.0 * -np.expm1(-np.arange(1, len(v) + 1) * dt / 10.0), rtol=1e-9)


@pytest.mark.parametrize("current, period", [(376.0, 61.2958914), (500.0, 15.8629436), (1000.0, 6.7000363)])
def test_period_of_firing(current, period, x64):
    """T = t_ref + tau ln(R I / (R I - theta)); found on the grid, so late by at most a step."""
    spikes = run(LIF(**LIF_250), 400.0, I=current).spikes["p"].times
    late = np.diff(spikes) - period
    assert len(spikes) >= 6 and np.all(late > -1e-9) and np.all(late <= 0.1 + 1e-9)


def test_silent_below_threshold(x64):
    assert len(run(LIF(**LIF_250), 1000.0, I=300.0).spikes["p"]) == 0


# ---------------------------------------------------------------- adaptation
def stepwise(matrix, constant, z, fires, reset, hold, t_ref, duration, dt):
    """Brute force: exact propagation of z' = A z + b on the grid, threshold at the end of a step, z[hold] clamped."""
    k = len(z)

    def propagator(held):
        a, b = np.array(matrix, float), np.array(constant, float)
        if held:
            a[hold], b[hold] = 0.0, 0.0
        full = expm(np.block([[a * dt, (b * dt)[:, None]], [np.zeros((1, k + 1))]]))
        return full[:k, :k], full[:k, k]

    free, clamped = propagator(False), propagator(True)
    z, left, spikes, trace = np.array(z, float), 0, [], []
    for step in range(round(duration / dt)):
        e, p = clamped if left > 0 else free
        z = e @ z + p
        if left > 0:
            left -= 1
        elif fires(z) > 0:
            spikes.append((step + 1) * dt)
            z, left = reset(z), round(t_ref / dt)
        trace.append(z)
    return np.array(spikes), np.array(trace)


def test_adaptive_threshold(x64):
    model, current = ALIF(beta=3.0, tau_a=150.0), 30.0
    result = run(model, 500.0, record=["p.spikes", "p.v", "p.a"], I=current)
    spikes, trace = stepwise(
        [[-1 / 20.0, 0.0], [0.0, -1 / 150.0]], [(-65.0 + current) / 20.0, 0.0], [-65.0, 0.0],
        lambda z: z[0] - (-50.0 + 3.0 * z[1]), lambda z: np.array([z[0] - 15.0, z[1] + 1.0]), 0, 2.0, 500.0, 0.1,
    )  # fmt: skip
    assert 5 < len(spikes) < 60 and np.diff(spikes)[-1] > 1.5 * np.diff(spikes)[0]
    np.testing.assert_allclose(result.spikes["p"].times, spikes, atol=1e-9)
    np.testing.assert_allclose(result.traces["p.v"].values[:, 0], trace[:, 0], rtol=1e-9)
    times = np.arange(1, 5001) * 0.1
    since = times[:, None] - spikes
    sum_of_spikes = np.where(since > -1e-9, np.exp(-since / 150.0), 0.0).sum(1)
    np.testing.assert_allclose(result.traces["p.a"].values[:, 0], sum_of_spikes, rtol=1e-9, atol=1e-12)


def test_adaptation_current(x64):
    model, current = CurrentALIF(a=0.02, b=3.0), 40.0
    result = run(model, 500.0, record=["p.spikes", "p.v", "p.w"], I=current)
    spikes, trace = stepwise(
        [[-1 / 20.0, -1 / 20.0], [0.02 / 100.0, -1 / 100.0]], [(-65.0 + current) / 20.0, 0.02 * 65.0 / 100.0],
        [-65.0, 0.0], lambda z: z[0] + 50.0, lambda z: np.array([-65.0, z[1] + 3.0]), 0, 2.0, 500.0, 0.1,
    )  # fmt: skip
    assert 5 < len(spikes) < 60 and np.diff(spikes)[-1] > 1.5 * np.diff(spikes)[0]
    np.testing.assert_allclose(result.spikes["p"].times, spikes, atol=1e-9)
    np.testing.assert_allclose(result.traces["p.v"].values[:, 0], trace[:, 0], rtol=1e-9)
    np.testing.assert_allclose(result.traces["p.w"].values[:, 0], trace[:, 1], rtol=1e-9, atol=1e-12)


# ---------------------------------------------------------------- rate units
def test_linear_rate_follows_its_input(x64):
    r = run(LinearRate(tau=20.0, gain=2.0, bias=0.5), 100.0, record=["p.r"], I=1.5).traces["p.r"].values[:, 0]
    np.testing.assert_allclose(r, 3.5 * -np.expm1(-np.arange(1, 1001) * 0.1 / 20.0), rtol=1e-9)


@pytest.mark.parametrize("drive, steady", [(1.5, 4.0), (-0.4, 0.2), (-2.0, 0.0)])
def test_threshold_linear_rate(drive, steady, x64):
    model = ThresholdLinearRate(tau=20.0, gain=2.0, bias=0.5)
    r = run(model, 100.0, record=["p.r"], I=drive).traces["p.r"].values[:, 0]
    np.testing.assert_allclose(r, steady * -np.expm1(-np.arange(1, 1001) * 0.1 / 20.0), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("cls", [LinearRate, ThresholdLinearRate])
def test_noise_has_the_stated_deviation(cls):
    """Variance sigma^2 and correlation exp(-t/tau), from 400 independent units over 500 tau."""
    r = run(cls(tau=2.0, sigma=0.7), 1000.0, n=400, record=[bs.trace("p.r", every=2.0)]).traces["p.r"].values[5:]
    independent = r.size / 2.0
    assert abs(r.var() / 0.49 - 1.0) < 4.0 * np.sqrt(2.0 / independent)
    assert abs((r[1:] * r[:-1]).mean() / 0.49 - np.exp(-1.0)) < 4.0 / np.sqrt(independent)
    assert abs(r.mean()) < 4.0 * 0.7 / np.sqrt(independent)


# ---------------------------------------------------------------- sources
def test_poisson_source():
    """Counts: mean rate T and Fano factor 1; intervals: coefficient of variation 1. 4 standard errors."""
    result = run(PoissonSource(rate=20.0), 10_000.0, dt=1.0, n=1000, seed=3).spikes["p"]
    counts = result.counts()
    assert abs(counts.mean() - 200.0) < 4 * 0.447
    # one spike a step at most: the variance is smaller by rate dt = 0.02
    assert abs(counts.var() / counts.mean() - 0.98) < 4 * 0.045
    gaps = np.concatenate([np.diff(result.of(k)) for k in range(200)])
    assert abs(gaps.std() / gaps.mean() - np.sqrt(0.98)) < 0.02


def test_poisson_source_is_independent_between_cells_and_seeds():
    a, b, again = (run(PoissonSource(rate=100.0), 500.0, n=50, seed=s).spikes["p"] for s in (1, 2, 1))
    assert not np.array_equal(a.times, b.times)
    np.testing.assert_array_equal(a.times, again.times)
    assert len({tuple(a.of(k)) for k in range(50)}) == 50


def test_silent_poisson_source():
    assert len(run(PoissonSource(rate=0.0), 500.0, n=50).spikes["p"]) == 0


def test_spike_source_fires_when_told():
    spikes = np.zeros((100, 3))
    spikes[[9, 40, 99], [0, 2, 2]] = 1.0
    result = run(SpikeSource(), 10.0, n=3, spikes=bs.array(spikes)).spikes["p"]
    np.testing.assert_allclose(result.times, [1.0, 4.1, 10.0], atol=1e-9)
    np.testing.assert_array_equal(result.indices, [0, 2, 2])
