"""The equations against those of tests/reference, written independently there, along the stored trajectories.

Equality of derivative, threshold and reset to rounding: no integrator comes between.
"""

import json
import sys
from pathlib import Path

import jax.numpy as jnp
import library
import numpy as np
import pytest

from brainsim import models

REFERENCE = Path(__file__).resolve().parent.parent / "reference"
META = json.loads(str(np.load(REFERENCE / "neurons.npz")["meta"]))["cases"]
NAMES = [name for name, case in META.items() if case["model"] in library.REFERENCE]


@pytest.fixture(scope="module")
def cases():
    """The cases as written beside the script that made the file: with their equations as functions."""
    sys.path.insert(0, str(REFERENCE))
    try:
        import continuous_models
        import reset_models
    finally:
        sys.path.remove(str(REFERENCE))
    return reset_models.all_cases() | continuous_models.all_cases()


@pytest.fixture(scope="module")
def stored():
    return np.load(REFERENCE / "neurons.npz")


def library_model(case):
    name, renamed = library.REFERENCE[case.model.name]
    return getattr(models, name)(**{renamed.get(k, k): v for k, v in case.params.items()})


@pytest.mark.parametrize("name", NAMES)
def test_same_equations(name, cases, stored, x64):
    case = cases[name]
    model, states = library_model(case), case.model.states
    start = np.asarray(case.initial if case.initial is not None else case.model.initial(case.params), float)
    columns = [stored[f"{name}/{s}"] if f"{name}/{s}" in stored else None for s in states]
    rows = len(next(c for c in columns if c is not None))
    points = np.stack([np.full(rows, x) if c is None else c for c, x in zip(columns, start)], 1)[:: max(1, rows // 20)]
    current = float(np.max([abs(i) for _, i in case.steps]))
    for y in np.concatenate([start[None], points]):
        at = {s: jnp.asarray(x) for s, x in zip(states, y)} | {"I": jnp.asarray(current), "t": 0.0, "dt": 0.1}
        expected = case.model.rhs(0.0, y, current, case.params)
        for state, value in zip(states, expected):
            found = model.call("d" + state, at)
            np.testing.assert_allclose(found, value, rtol=1e-9, atol=1e-9, err_msg=f"d{state} at {y}")
        np.testing.assert_allclose(model.call("spike", at), case.model.spike(y, case.params), rtol=1e-9, atol=1e-9)
        if case.model.reset is not None:
            after = {**at, **model.call("reset", at)}
            found = [after[s] for s in states]
            np.testing.assert_allclose(found, case.model.reset(y, case.params), rtol=1e-9, atol=1e-9, err_msg="reset")
    assert (case.model.reset is None) == (model.spike_on == "crossing")


@pytest.mark.parametrize("name", [n for n in NAMES if not n.startswith("gif_H")])
def test_same_start(name, cases, x64):
    """Initial values and those computed from them (gates at rest, u = b v), at the initial voltage of the reference."""
    case = cases[name]
    cls, states = type(library_model(case)), case.model.states
    model, start = library_model(case), dict(zip(states, map(float, case.model.initial(case.params))))
    for state in states:
        spec = cls.__states__[state]
        if f"init_{state}" in cls.__methods__:
            value = model.call(f"init_{state}", start)
        else:
            value = getattr(model, spec.initial) if isinstance(spec.initial, str) else spec.initial
        np.testing.assert_allclose(value, start[state], rtol=1e-12, err_msg=state)


def test_every_nonlinear_neuron_has_a_reference():
    """The linear ones and the sources are tested by closed forms (test_closed_forms.py), neural masses in test_regions.py."""
    closed = {"LIF", "ALIF", "CurrentALIF", "LinearRate", "ThresholdLinearRate", "PoissonSource", "SpikeSource"}
    closed |= {"HomeostaticLIF", "Astrocyte", "ClopathAdEx"}  # test_plasticity_*.py; the last against pairings of NEST
    closed |= {"LinearLeakLIF"}  # test_superneuromat.py
    closed |= {"LeakyReadout"}  # test_encoders.py
    neurons = {name for name in models.__all__ if getattr(models, name).KIND == "neuron"}
    masses = {"WilsonCowan", "JansenRit", "ReducedWongWang"}
    assert neurons - closed - masses - {"GradedNeuron"} == {name for name, _ in library.REFERENCE.values()}
