"""Time courses of the synapses against tests/reference/synapses.npz, and of LIF networks of them against NEST."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainsim as bs
from brainsim.models import (
    AMPA,
    GABAA,
    GABAB,
    LIF,
    NMDA,
    AlphaConductance,
    AlphaCurrent,
    Delta,
    DualExpConductance,
    DualExpCurrent,
    ExpConductance,
    ExpCurrent,
    SaturatingNMDA,
    SpikeSource,
)

FOLDER = Path(__file__).resolve().parent.parent / "reference"
DT = 0.1


@pytest.fixture(scope="module")
def stored():
    return np.load(FOLDER / "synapses.npz")


@pytest.fixture(scope="module")
def nest():
    return np.load(FOLDER / "neurons_nest.npz")


def away_from_spikes(stored):
    """Samples that do not lie on a spike: there the file has the value after it, a trace the value before."""
    times = stored["times"]
    return ~np.isclose(times[:, None], stored["spikes"], atol=1e-6).any(1), np.rint(times / DT).astype(int) - 1


def time_course(synapse, state, spikes, duration, weight=1.0, dt=DT):
    """A state of the synapse, driven by one source that fires at given times, sampled every dt."""
    net = bs.Network()
    source = net.add("source", SpikeSource(), 1)
    target = net.add("target", LIF(v_th=1e6), 1)
    net.connect(source, target, synapse, bs.all_to_all(), weight=weight, delay=0.0)
    inputs = {"source.spikes": bs.spike_train(spikes)}
    result = net.run(duration, dt=dt, inputs=inputs, record=[f"source->target.{state}", "target.v", "source.spikes"])
    np.testing.assert_allclose(result.spikes["source"].times, spikes, atol=1e-9)
    return result.traces[f"source->target.{state}"].values[:, 0]


@pytest.mark.parametrize("synapse, state, key, rtol", [
    (ExpCurrent(tau=5.0), "i", "exponential", 1e-11),
    (ExpConductance(tau=5.0), "g", "exponential", 1e-11),
    (AlphaCurrent(tau=5.0), "i", "alpha", 1e-10),
    (DualExpCurrent(tau_rise=2.0, tau_decay=100.0), "i", "dual_exponential", 1e-10),
])  # fmt: skip
def test_linear_time_courses_are_exact(synapse, state, key, rtol, stored, x64):
    """The weight is the peak (alpha, dual exponential) or the jump (exponential); the propagator is exact at any dt."""
    keep, rows = away_from_spikes(stored)
    found = time_course(synapse, state, stored["spikes"], 300.0)
    np.testing.assert_allclose(found[rows][keep], stored[f"{key}/g"][keep], rtol=rtol, atol=1e-13)


@pytest.mark.parametrize("synapse, key", [
    (AlphaConductance(tau=5.0), "alpha"),
    (DualExpConductance(tau_rise=2.0, tau_decay=100.0), "dual_exponential"),
])  # fmt: skip
def test_conductances_have_the_same_time_course(synapse, key, stored, x64):
    """Beside a nonlinear current the default is exponential Euler: the error is of the order of dt / tau_rise."""
    keep, rows = away_from_spikes(stored)
    exact = stored[f"{key}/g"][keep]
    coarse = time_course(synapse, "g", stored["spikes"], 300.0)[rows][keep]
    fine = time_course(synapse, "g", stored["spikes"], 300.0, dt=0.05)[1::2][rows][keep]
    assert np.abs(coarse - exact).max() < 0.04 * exact.max()
    assert np.abs(fine - exact).max() < 0.6 * np.abs(coarse - exact).max() + 1e-9


@pytest.mark.parametrize("cls, key", [(AMPA, "AMPA"), (GABAA, "GABAa"), (NMDA, "NMDA")])
def test_kinetic_receptors_are_exact(cls, key, stored, x64):
    """Between the edges of a pulse the equation of r is linear, so exponential Euler has no error."""
    keep, rows = away_from_spikes(stored)
    found = time_course(cls(), "r", stored["spikes"], 300.0)
    np.testing.assert_allclose(found[rows][keep], stored[f"{key}/r"][keep], rtol=1e-9, atol=1e-12)


def test_gabab(stored, x64):
    keep, rows = away_from_spikes(stored)
    r = time_course(GABAB(), "r", stored["spikes"], 300.0)
    s = time_course(GABAB(), "s", stored["spikes"], 300.0)
    np.testing.assert_allclose(r[rows][keep], stored["GABAb/r"][keep], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(s[rows][keep], stored["GABAb/s"][keep], rtol=0, atol=5e-3 * stored["GABAb/s"].max())
    opened = GABAB().output(jnp.asarray(stored["GABAb/s"]))["g"]
    np.testing.assert_allclose(opened, stored["GABAb/open"], rtol=1e-12, atol=1e-15)


def test_a_second_spike_prolongs_the_pulse(x64):
    """Two spikes 0.5 ms apart: 1.5 ms of transmitter, and the pulse ends for good."""
    pulse = time_course(AMPA(), "pulse", [5.0, 5.5], 20.0)
    on = pulse > 0.25 * DT
    assert on.sum() == 15 and on[49:64].all()  # the sample of 5.0 ms is the first, before 15 steps with transmitter
    np.testing.assert_allclose(pulse[80:], 0.0, atol=1e-12)


@pytest.mark.parametrize("mg", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("cls", [NMDA, SaturatingNMDA])
def test_magnesium_block(cls, mg, stored, x64):
    v = jnp.asarray(stored["magnesium/v"])
    v = v[v != 0.0]
    unblocked = cls(Mg=mg).current(1.0, v) / (0.0 - v)
    np.testing.assert_allclose(unblocked, stored[f"magnesium/{mg}"][stored["magnesium/v"] != 0.0], rtol=1e-12)


def test_no_magnesium_no_block():
    both = jax.value_and_grad(lambda mg: NMDA.__bind__({**vars(NMDA()), "Mg": mg}).current(1.0, -70.0))(0.0)
    assert float(both[0]) == 70.0 and np.isfinite(both[1])


def test_saturating_nmda_steady_state(x64):
    """At a high rate s approaches tau_decay alpha <x> / (1 + tau_decay alpha <x>), <x> = rate tau_rise."""
    train = np.round(np.arange(1.0, 1000.0, 2.0), 9)  # 500 Hz: <x> = 1
    s = time_course(SaturatingNMDA(), "s", train, 1000.0)
    assert s.max() < 1.0
    expected = 100.0 * 0.5 / (1.0 + 100.0 * 0.5)
    np.testing.assert_allclose(s[-1000:].mean(), expected, rtol=2e-3)


def test_delta_jumps_and_the_membrane_forgets(x64):
    """v = v_rest + sum of w exp(-(t - t_k) / tau) over the arrivals before t."""
    net, arrivals = bs.Network(), np.array([5.0, 7.5, 7.6, 40.0])
    cell = net.add("cell", LIF(v_th=1e6), 1)
    net.connect(bs.spike_train(arrivals), cell, Delta(), weight=3.0)
    v = net.run(100.0, dt=0.1, record=["cell.v"]).traces["cell.v"].values[:, 0]
    since = np.round(np.arange(1, 1001) * 0.1, 9)[:, None] - arrivals
    np.testing.assert_allclose(v, -65.0 + 3.0 * np.where(since > 1e-9, np.exp(-since / 20.0), 0.0).sum(1), rtol=1e-12)


def test_delta_is_dropped_while_the_target_is_refractory(x64):
    net = bs.Network()
    cell = net.add("cell", LIF(t_ref=2.0), 1)
    net.connect(bs.spike_train([1.0, 2.0, 3.0, 3.1, 3.2]), cell, Delta(), weight=20.0)
    result = net.run(10.0, dt=0.1, record=["cell.spikes", "cell.v"])
    # fires at the end of the step after 1.0; clamped in the steps that end at 1.2 ... 3.1; free again after that
    np.testing.assert_allclose(result.spikes["cell"].times, [1.1, 3.2], atol=1e-9)
    np.testing.assert_allclose(result.traces["cell.v"].values[11:31, 0], -65.0)


# ---------------------------------------------------------------- against NEST
SAME = {
    "iaf_psc_exp": ExpCurrent, "iaf_psc_exp_equal_tau": ExpCurrent,
    "iaf_psc_alpha": AlphaCurrent, "iaf_psc_alpha_equal_tau": AlphaCurrent,
}  # fmt: skip


@pytest.mark.parametrize("name", SAME)
def test_lif_equals_nest(name, nest, x64):
    """Exact integration on both sides: the same spikes and voltages to rounding."""
    case, synapse = json.loads(str(nest["meta"]))["cases"][name], SAME[name]
    p = case["params"]
    same = dict(v_rest=p["E_L"], v_th=p["V_th"], v_reset=p["V_reset"], t_ref=p["t_ref"])
    model = LIF(tau=p["tau_m"], R=p["tau_m"] / p["C_m"], **same)
    net = bs.Network()
    cell = net.add("cell", model, 1)
    for kind, tau in (("ex", p["tau_syn_ex"]), ("inh", p["tau_syn_in"])):
        train = bs.spike_train(case["arrivals_ms"][kind])
        net.connect(train, cell, synapse(tau=tau), weight=case["weights"][kind], name=kind)
    current = np.zeros(round(case["duration_ms"] / 0.1))
    for start, amplitude in case["I_e_pA"]:
        current[round(start / 0.1) :] = amplitude
    inputs = {"cell.I": bs.array(current)}
    result = net.run(case["duration_ms"], dt=0.1, inputs=inputs, record=["cell.spikes", "cell.v"])
    expected = nest[f"{name}/V_m"]
    np.testing.assert_allclose(result.spikes["cell"].times, nest[f"{name}/spikes"], atol=1e-9)
    np.testing.assert_allclose(result.traces["cell.v"].values[: len(expected), 0], expected, rtol=0, atol=1e-9)
