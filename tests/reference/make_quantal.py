"""Make quantal.json: vesicles released by NEST's quantal_stp_synapse under a regular train and an irregular one.

    python tests/reference/make_quantal.py        # in the peers' environment: tests/bench/peers.py makes it

One parrot with many synapses of its own each; a weight_recorder gives the weight of every event, the number of vesicles
(an event without any is not sent). Kept are mean and variance over the synapses at every spike.
"""

from __future__ import annotations

import json
from pathlib import Path

import nest
import numpy as np

HERE = Path(__file__).parent
SYNAPSES, DT = 10_000, 0.1
TRAINS = {
    "regular": [20.0 * k for k in range(1, 13)],
    "irregular": [5.0, 9.0, 10.0, 45.0, 46.5, 120.0, 125.0, 300.0, 302.0, 900.0],
}
CASES = {
    "univesicular": dict(n=1, U=0.5, tau_fac=0.0, tau_rec=800.0),
    "depressing": dict(n=5, U=0.67, tau_fac=5.0, tau_rec=300.0),
    "facilitating": dict(n=8, U=0.05, tau_fac=530.0, tau_rec=130.0),
    "many": dict(n=20, U=0.3, tau_fac=200.0, tau_rec=300.0),
}


def released(case, times):
    """(spikes, SYNAPSES) vesicles."""
    nest.ResetKernel()
    nest.verbosity = nest.VerbosityLevel.ERROR
    nest.set(resolution=DT, local_num_threads=1, rng_seed=1234)
    source = nest.Create("spike_generator", params=dict(spike_times=np.asarray(times) - DT))
    parrot, targets = nest.Create("parrot_neuron"), nest.Create("parrot_neuron", SYNAPSES)
    recorder = nest.Create("weight_recorder")
    nest.Connect(source, parrot, syn_spec=dict(delay=DT))
    # u is 0 before the first spike, which finds U, and every site is full
    values = case | dict(a=case["n"], u=case["U"], weight=1.0, delay=DT, weight_recorder=recorder)
    nest.CopyModel("quantal_stp_synapse", "recorded", values)
    nest.Connect(parrot, targets, "all_to_all", syn_spec="recorded")
    nest.Simulate(times[-1] + 5.0)
    events = recorder.get("events")
    counts = np.zeros((len(times), SYNAPSES))
    row = np.searchsorted(np.asarray(times) + 0.5 * DT, events["times"])
    np.testing.assert_allclose(np.asarray(times)[row], events["times"], atol=1e-6)
    counts[row, events["targets"] - targets[0].global_id] = events["weights"]
    return counts


def main():
    result = dict(script="make_quantal.py", versions=dict(nest=nest.__version__), units="ms", synapses=SYNAPSES, dt=DT)
    result |= dict(trains=TRAINS, params=CASES, released={})
    for name, case in CASES.items():
        for train, times in TRAINS.items():
            counts = released(case, times)
            result["released"][f"{name}/{train}"] = dict(
                mean=counts.mean(1).tolist(), var=counts.var(1).round(6).tolist()
            )
    text = json.dumps(result, separators=(",", ":"))
    (HERE / "quantal.json").write_text(text.replace('"mean"', '\n"mean"') + "\n")
    print(f"quantal.json: {len(text) / 1e3:.1f} kB")


if __name__ == "__main__":
    main()
