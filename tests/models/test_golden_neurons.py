"""Runs of the library against tests/reference/neurons.npz: integration at rtol 1e-11 with spikes located off any grid.

On a grid a spike is found at the end of its step: the first is late by 0 to dt. A reset passes this on, so the spike
times of a run converge in first order only, whatever the integrator. Before the first spike there is no grid effect and
the traces agree to the order of the integrator; without a reset they do so everywhere.
"""

import json
from pathlib import Path

import library
import numpy as np
import pytest

import brainsim as bs
from brainsim import models

REFERENCE = Path(__file__).resolve().parent.parent / "reference" / "neurons.npz"
META = json.loads(str(np.load(REFERENCE)["meta"]))["cases"]
DT = {"level": 0.02, "crossing": 0.01}  # ms; by how a cell spikes: with a reset, or without
NAMES = [name for name, case in META.items() if case["model"] in library.REFERENCE]


def staircase(steps, duration):
    """Current in every ms."""
    values = np.zeros(round(duration))
    for start, amplitude in steps:
        values[round(start) :] = amplitude
    return values


def cases_of(model):
    return [name for name in NAMES if META[name]["model"] == model]


def cell_class(case):
    return getattr(models, library.REFERENCE[case["model"]][0])


def run_all(kind):
    """One population per class, one cell per case."""
    net, inputs, record = bs.Network(), {}, ["*.spikes"]
    mine = {m: x for m, x in library.REFERENCE.items() if getattr(models, x[0]).spike_on == kind}
    longest = max(case["duration_ms"] for case in META.values() if case["model"] in mine)
    for model, (name, renamed) in mine.items():
        cases = [META[c] for c in cases_of(model)]
        params = {renamed.get(k, k): np.array([c["params"][k] for c in cases]) for k in cases[0]["params"]}
        cls = getattr(models, name)
        net.add(model, cls(**params), len(cases), method="rk4")
        for state in cls.__states__:
            net.init(f"{model}.{state}", np.array([c["initial"][state] for c in cases]))
            record.append(bs.trace(f"{model}.{state}", every=0.1))
        currents = np.stack([staircase(c["steps"], longest) for c in cases], 1)
        inputs[f"{model}.I"] = bs.array(currents, every=1.0)
    return net.run(longest, dt=DT[kind], inputs=inputs, record=record)


def late_spikes(case, spikes, expected, kind):
    """What is wrong with the spike times of a cell, in words; empty if nothing is."""
    spikes = spikes[spikes <= case["duration_ms"] + 1e-9]
    if len(spikes) != len(expected):
        return f"{len(spikes)} spikes instead of {len(expected)}"
    late = spikes - expected
    most = DT[kind] * (4.0 * np.arange(1, len(expected) + 1) if kind == "level" else np.ones(len(expected)))
    first = len(late) == 0 or -1e-4 < late[0] < 1.25 * DT[kind]
    return "" if first and np.all(np.abs(late) < most + 1e-3) else f"spikes late by {late}"


def wrong_trace(case, values, expected, spikes, kind):
    """The same for a state: up to the first spike, or everywhere without resets."""
    every = case["sample_ms"]
    stop = spikes[0] - 0.5 if len(spikes) and kind == "level" else case["duration_ms"]
    times = np.round(np.arange(1, len(expected) + 1) * every, 9)
    rows = np.rint(times[times < stop] / 0.1).astype(int) - 1
    difference = np.abs(values[rows] - expected[: len(rows)])
    largest = difference.max(initial=0.0)
    return "" if largest < 5e-4 * max(np.ptp(expected), 1e-3) else f"trace off by {largest}"


@pytest.mark.parametrize("kind", DT)
def test_runs_equal_the_reference(kind, x64):
    stored, result, wrong = np.load(REFERENCE), run_all(kind), {}
    for name in NAMES:
        case = META[name]
        if cell_class(case).spike_on != kind:
            continue
        cell, spikes = cases_of(case["model"]).index(name), stored[f"{name}/spikes"]
        found = [late_spikes(case, result.spikes[case["model"]].of(cell), spikes, kind)]
        for state in cell_class(case).__states__:
            if f"{name}/{state}" in stored:
                values = result.traces[f"{case['model']}.{state}"].values[:, cell]
                found.append(wrong_trace(case, values, stored[f"{name}/{state}"], spikes, kind))
        if any(found):
            wrong[name] = [text for text in found if text]
    assert wrong == {}


def test_the_comparison_sees():
    case, expected = {"duration_ms": 100.0, "sample_ms": 1.0}, np.array([10.0, 20.0])
    assert late_spikes(case, np.add(expected, [0.01, 0.03]), expected, "level") == ""
    assert late_spikes(case, expected + 0.005, expected, "crossing") == ""
    for spikes in (expected[:1], expected - 0.01, np.add(expected, [0.03, 0.03]), np.add(expected, [0.01, 0.2])):
        assert late_spikes(case, spikes, expected, "level")
    assert late_spikes(case, np.add(expected, [0.005, 0.03]), expected, "crossing")
    trace = np.arange(100.0)
    fine = np.repeat(trace, 10)
    assert wrong_trace(case, fine, trace, expected, "crossing") == ""
    late = np.where(np.arange(1000) > 500, fine + 1.0, fine)
    assert wrong_trace(case, late, trace, expected, "crossing")
    assert wrong_trace(case, late, trace, expected, "level") == ""  # after the first spike
