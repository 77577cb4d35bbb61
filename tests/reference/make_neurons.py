"""Make neurons.npz (event-located integration) and neurons_nest.npz (NEST): single-neuron spike times and traces.

    python tests/reference/make_neurons.py        # in the peers' environment: tests/bench/peers.py makes it

Contents: see README.md beside this file. Takes a few minutes, most of it Brian2 compiling.
"""

from __future__ import annotations

import json
import platform
from pathlib import Path

import brian2
import brian2_check
import continuous_models
import nest
import nest_models
import numpy as np
import reset_models
import scipy
from exact import ATOL, RTOL, integrate

HERE = Path(__file__).parent
HIDDEN = {"I1", "I2", "dg_ex", "dg_in", "h"}  # states not stored


def describe(case, every, check):
    m = case.model
    return dict(
        model=m.name,
        equations=m.equations,
        citation=m.citation,
        params=case.params,
        units=m.units,
        initial=dict(zip(m.states, map(float, case.initial if case.initial is not None else m.initial(case.params)))),
        steps=case.steps,
        jumps=case.jumps,
        duration_ms=case.duration,
        sample_ms=every,
        note=case.note,
        method=f"DOP853 rtol {RTOL} atol {ATOL}, spikes by event location",
        checked=check,
    )


def main():
    cases = reset_models.all_cases() | continuous_models.all_cases()
    every = {name: round(np.ceil(c.duration / 20.0 - 1e-9) * 0.1, 6) for name, c in cases.items()}  # about 200 samples
    exact = {name: integrate(c, every[name]) for name, c in cases.items()}
    print("exact integration done; Brian2 beside it (spikes here, in Brian2, largest difference):")
    checks = brian2_check.check(cases, exact)
    arrays, meta = {}, {}
    for name, c in cases.items():
        meta[name] = describe(c, every[name], checks.get(name))
        for key, value in exact[name].items():
            if key not in HIDDEN:
                arrays[f"{name}/{key}"] = value
    nest_arrays, nest_meta = {}, {}
    for name, out, info in nest_models.all_runs():
        nest_meta[name] = info
        nest_arrays |= {f"{name}/{key}": value for key, value in out.items()}
    versions = dict(
        python=platform.python_version(),
        numpy=np.__version__,
        scipy=scipy.__version__,
        nest=nest.__version__,
        brian2=brian2.__version__,
    )
    write("neurons.npz", arrays, meta, versions)
    write("neurons_nest.npz", nest_arrays, nest_meta, versions)


def write(name, arrays, cases, versions):
    meta = dict(versions=versions, script="make_neurons.py", cases=cases)
    np.savez_compressed(HERE / name, meta=np.array(json.dumps(meta)), **arrays)
    print(f"{name}: {len(cases)} cases, {(HERE / name).stat().st_size / 1e3:.0f} kB, {versions}")


if __name__ == "__main__":
    main()
