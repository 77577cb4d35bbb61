"""The benchmark networks against Brian2 and NEST (tests/reference/networks.json, made by make_networks.py)."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

import brainsim as bs
from brainsim.models import LIF, Delta, ExpConductance, ExpCurrent
from brainsim.models.circuits.balanced import coba, cuba
from brainsim.models.circuits.brunel import REGIMES, brunel

REFERENCE = Path(__file__).parents[1] / "reference"
PEERS = json.loads((REFERENCE / "networks.json").read_text())
DRIVE = {"COBA": {"*.I": 20.0}, "CUBA": {}}
LIMITS = {"COBA": ((19.0, 24.0), (1.4, 1.8)), "CUBA": ((5.0, 6.3), (0.45, 0.55))}


def balanced():
    """The recipe that Brian2 ran, as a module."""
    spec = importlib.util.spec_from_file_location("balanced_recipe", REFERENCE / "balanced.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def identical_network(kind, seed):
    """The network of `tests/reference/balanced.py`, edge for edge and voltage for voltage."""
    recipe = balanced()
    assert recipe.fingerprint(seed, kind) == PEERS[kind.lower()]["fingerprints"][str(seed)]
    p = recipe.COBA if kind == "COBA" else recipe.CUBA
    net = bs.Network(seed=seed)
    cells = LIF(tau=p["tau"], v_rest=p["v_rest"], v_th=p["v_th"], v_reset=p["v_reset"], t_ref=p["t_ref"], R=1.0)
    net.add("cells", cells, 4000)
    (pre_e, post_e), (pre_i, post_i) = recipe.edges(seed)
    if kind == "COBA":
        synapses = ExpConductance(tau=p["tau_e"], E=p["E_e"]), ExpConductance(tau=p["tau_i"], E=p["E_i"])
    else:
        synapses = ExpCurrent(tau=p["tau_e"]), ExpCurrent(tau=p["tau_i"])
    net.connect("cells", "cells", synapses[0], bs.from_edges(pre_e, post_e), weight=p["w_e"], name="exc")
    net.connect("cells", "cells", synapses[1], bs.from_edges(pre_i + 3200, post_i), weight=p["w_i"], name="inh")
    net.init("cells.v", recipe.initial_v(seed, kind))
    return net


def rate_and_cv(result, start, stop):
    recipe = balanced()
    times = np.concatenate([s.times for s in result.spikes.values()])
    shift = np.cumsum([0, *(s.n_cells for s in result.spikes.values())])
    cells = np.concatenate([s.indices + k for s, k in zip(result.spikes.values(), shift)])
    found = recipe.statistics(times, cells, int(shift[-1]), start, stop)
    return found["rate_hz"], found["cv"]


@pytest.mark.parametrize(("kind", "method"), [("COBA", "exp_euler"), ("CUBA", "exp_euler"), ("CUBA", "exact")])
def test_identical_network_spikes_like_brian2(kind, method, x64):
    """In float64 the first thousands of spikes are Brian2's, cell by cell and step by step."""
    name = {"exp_euler": "exponential_euler", "exact": "exact"}[method]
    peer = PEERS[kind.lower()]["identical"][f"{name}/t_ref_plus_dt"]["early_seed_0"]
    sim = identical_network(kind, 0).compile(dt=0.1, record=["cells.spikes"], method=method)
    spikes = sim.run(peer["until_ms"], inputs=DRIVE[kind]).spikes["cells"]
    # the file counts the ends of steps, which brainsim stamps; Brian2 stamps their starts
    steps = np.rint(spikes.times / 0.1).astype(int)
    found, expected = set(zip(steps, spikes.indices)), set(zip(peer["step"], peer["cell"]))
    assert len(expected) > 300
    assert found == expected


@pytest.mark.parametrize("kind", ["COBA", "CUBA"])
def test_identical_networks_have_the_rates_of_brian2(kind):
    """float32, one second, rates of 200 to 1000 ms: within the spread that Brian2 shows over seeds."""
    peer = PEERS[kind.lower()]["identical"]["exponential_euler/t_ref_plus_dt"]
    rates = [peer[str(k)]["rate_hz"] for k in range(6)]
    cvs = [peer[str(k)]["cv"] for k in range(6)]
    sim = identical_network(kind, 0).compile(dt=0.1, record=["cells.spikes"])
    rate, cv = rate_and_cv(sim.run(1000.0, inputs=DRIVE[kind]), 200.0, 1000.0)
    spread = 3 * np.std(rates, ddof=1)
    assert abs(rate - np.mean(rates)) < spread, (rate, rates)
    assert abs(cv - np.mean(cvs)) < max(3 * np.std(cvs, ddof=1), 0.03), (cv, cvs)


@pytest.mark.parametrize(("kind", "build"), [("COBA", coba), ("CUBA", cuba)])
@pytest.mark.parametrize("seed", [0, *(pytest.param(k, marks=pytest.mark.slow) for k in range(1, 6))])
def test_published_networks_fire_as_published(kind, build, seed):
    (low, high), (cv_low, cv_high) = LIMITS[kind]
    result = build(seed=seed).compile(dt=0.1, record=["*.spikes"]).run(1000.0, inputs=DRIVE[kind])
    rate = np.mean(np.concatenate([s.counts() for s in result.spikes.values()]))
    assert low <= rate <= high
    assert cv_low <= rate_and_cv(result, 0.0, 1000.0)[1] <= cv_high


# rates of the four states in Hz (NEST, dt 0.1 ms, of Brunel 2000 figure 8), and how regular and how synchronous they are
TABLE = {"AI": 37.3, "SI_fast": 57.7, "SI_slow": 6.1, "SR": 333.0}


@pytest.mark.slow
@pytest.mark.parametrize("regime", REGIMES)
def test_brunel_regimes(regime):
    duration = {"SI_slow": 1200.0, "SR": 500.0}.get(regime, 800.0)
    seeds = 3 if regime == "SI_slow" else 1
    results = [brunel(*REGIMES[regime], seed=k).compile(record=["*.spikes"]).run(duration) for k in range(seeds)]
    found = [rate_and_cv(r, 200.0, duration) for r in results]
    rate, cv = np.mean(found, axis=0)
    assert abs(rate / TABLE[regime] - 1.0) < 0.1
    nest = PEERS["brunel_nest"]["regimes"][regime]["seeds"].values()
    assert abs(cv - np.mean([n["cv"] for n in nest])) < 0.15
    frequency, power = population_spectrum(results[0], 200.0, duration)
    peak = frequency[np.argmax(power)]
    peaks = [n["peak_hz"] for n in nest]
    if regime == "SR":
        # cells fire in step, every second delay: a spike that a jump causes is stamped one step after NEST's, so each
        # hop takes 1.6 instead of 1.5 ms, and the peak is a harmonic of the rate
        assert abs(peak / rate - round(peak / rate)) < 0.05
    else:
        assert min(peaks) - 10.0 <= peak <= max(peaks) + 10.0
    print(f"{regime}: {rate:.2f} Hz (table {TABLE[regime]}), CV {cv:.3f}, peak {peak:.0f} Hz (NEST {peaks})")


def population_spectrum(result, start, stop):
    """Power of the population rate in bins of 0.5 ms, in segments of 200 ms: frequency (Hz) above 5, power."""
    spikes = np.concatenate([s.times for s in result.spikes.values()])
    counts = np.histogram(spikes, bins=np.arange(start, stop + 0.25, 0.5))[0]
    segments = counts[: len(counts) // 400 * 400].reshape(-1, 400)
    power = np.mean(np.abs(np.fft.rfft(segments - segments.mean(), axis=1)) ** 2, axis=0)
    frequency = np.fft.rfftfreq(400, 0.5e-3)
    return frequency[frequency > 5.0], power[frequency > 5.0]


def test_small_brunel_network_is_irregular():
    """A fifth of the size with the same mean input: fast check of the asynchronous irregular state."""
    result = brunel(*REGIMES["AI"], order=500).compile(record=["*.spikes"]).run(400.0)
    rate, _ = rate_and_cv(result, 200.0, 400.0)
    assert 25.0 < rate < 55.0


DELAYS = json.loads((REFERENCE / "delays.json").read_text())


def arrival_network(delays, per_edge):
    """One source cell and one target per delay and kind of synapse."""
    p, w = DELAYS["source"], DELAYS["weights"]
    net = bs.Network()
    net.add(
        "source", LIF(tau=p["tau_ms"], v_rest=0.0, v_th=p["threshold_mV"], v_reset=0.0, t_ref=p["t_ref_ms"], R=1.0), 1
    )
    quiet = LIF(tau=p["tau_ms"], v_rest=0.0, v_th=p["threshold_mV"], v_reset=0.0, t_ref=p["t_ref_ms"], R=1.0)
    kinds = {
        "current": (ExpCurrent(tau=DELAYS["synaptic_tau"]), w["exp_current_pA"] * 1e-3),
        "delta": (Delta(), w["delta_mV"]),
        "strong": (Delta(), w["delta_suprathreshold_mV"]),
    }
    for kind, (synapse, weight) in kinds.items():
        if per_edge:
            net.add(kind, quiet, len(delays))
            net.connect("source", kind, synapse, bs.all_to_all(), weight=weight, delay=np.asarray(delays))
        else:
            for i, d in enumerate(delays):
                net.add(f"{kind}{i}", quiet, 1)
                net.connect("source", f"{kind}{i}", synapse, bs.all_to_all(), weight=weight, delay=d)
    return net


@pytest.mark.parametrize("per_edge", [False, True])
@pytest.mark.parametrize("peer", ["nest", "brian2"])
def test_arrival_times_against_nest_and_brian2(peer, per_edge, x64):
    """With the documented shift: brainsim and NEST stamp ends of steps, Brian2 starts (spikes) and starts (samples)."""
    table = DELAYS[peer]["per_edge" if per_edge else "on_grid"]
    delays = [float(d) for d in table if float(d) > 0.0]
    net = arrival_network(delays, per_edge)
    sim = net.compile(dt=0.1, record=["*.spikes", "*.v"])
    result = sim.run(20.0, inputs={"source.I": 40.0})
    stamp = result.spikes["source"].times[0]
    peer_shift = 0.1 if peer == "brian2" else 0.0
    assert stamp == pytest.approx(DELAYS[peer]["source_stamp"] + peer_shift)
    for i, d in enumerate(delays):
        name = lambda kind, i=i: (kind, i) if per_edge else (f"{kind}{i}", 0)
        moved = {}
        for kind in ("current", "delta"):
            population, cell = name(kind)
            trace = result.traces[f"{population}.v"]
            moved[kind] = trace.times[np.flatnonzero(trace.values[:, cell])[0]]
        population, cell = name("strong")
        fired = result.spikes[population].of(cell)[0]
        row = table[next(k for k in table if float(k) == d)]
        # a current that jumps at stamp + d moves v one step later, in all three
        assert moved["current"] == pytest.approx(stamp + d + 0.1)
        assert moved["current"] == pytest.approx(row["exp_current_first_V"])
        # a voltage that jumps at stamp + d is first seen at the end of that step: one step after NEST's stamp
        assert moved["delta"] == pytest.approx(stamp + d + 0.1)
        if peer == "nest":
            assert moved["delta"] == pytest.approx(row["delta_first_V"] + 0.1)
            assert fired == pytest.approx(row["delta_target_spike_stamp"] + 0.1)
        else:
            assert fired == pytest.approx(row["delta_target_spike_stamp"] + peer_shift)
