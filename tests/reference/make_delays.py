"""Make delays.json: when a spike acts, in NEST and in Brian2, for delays on and off the grid.

    python tests/reference/make_delays.py        # in the peers' environment: tests/bench/peers.py makes it

One LIF source (tau 10 ms, R I 40 mV, threshold 15 mV above rest, t_ref 2 ms, dt 0.1 ms) fires; its first spike goes to
one target per delay. Every "first_*" is the physical time of the first STATE that differs: NEST's samples carry the
end of their step, Brian2's monitors read at the start of a step, so both label the state at that time. Spike stamps are
kept as each simulator prints them (NEST: end of the step, Brian2: start of the step).
"""

from __future__ import annotations

import json
import platform
from pathlib import Path

import brian2 as b2
import nest
import numpy as np

HERE = Path(__file__).parent
DT, T_END = 0.1, 20.0
SOURCE = dict(tau_ms=10.0, RI_mV=40.0, threshold_mV=15.0, reset_mV=0.0, t_ref_ms=2.0)
ON_GRID = [0.1, 0.5, 1.5, 3.0]
OFF_GRID = [0.14, 0.16, 1.04, 1.06]
WEIGHTS = dict(exp_current_pA=100.0, delta_mV=2.0, delta_suprathreshold_mV=20.0)


def first(times, values):
    moved = np.flatnonzero(np.abs(values) > 1e-12)
    return round(float(times[moved[0]]), 6) if len(moved) else None


# ---------------------------------------------------------------- NEST
def nest_setup():
    nest.ResetKernel()
    nest.verbosity = nest.VerbosityLevel.ERROR
    nest.set(resolution=DT, local_num_threads=1)
    lif = dict(C_m=250.0, tau_m=10.0, E_L=0.0, V_m=0.0, V_th=15.0, V_reset=0.0, t_ref=2.0)
    source = nest.Create("iaf_psc_exp", params=lif | dict(I_e=1000.0))
    recorder = nest.Create("spike_recorder")
    nest.Connect(source, recorder)
    return lif, source, recorder


def nest_stop_source(source):
    """Let the source fire once only."""
    nest.Simulate(5.0)
    source.I_e = 0.0
    nest.Simulate(T_END - 5.0)


def nest_delays(delays, per_edge):
    out = {}
    for kind, model, weight in (
        ("exp_current", "iaf_psc_exp", WEIGHTS["exp_current_pA"]),
        ("delta", "iaf_psc_delta", WEIGHTS["delta_mV"]),
        ("delta_spike", "iaf_psc_delta", WEIGHTS["delta_suprathreshold_mV"]),
    ):
        lif, source, recorder = nest_setup()
        extra = dict(tau_syn_ex=2.0) if model == "iaf_psc_exp" else {}
        targets = nest.Create(model, len(delays), params=lif | extra)
        fields = ["V_m"] + (["I_syn_ex"] if model == "iaf_psc_exp" else [])
        meters = nest.Create("multimeter", len(delays), params=dict(record_from=fields, interval=DT))
        spikes = nest.Create("spike_recorder", len(delays))
        nest.Connect(meters, targets, "one_to_one")
        nest.Connect(targets, spikes, "one_to_one")
        if per_edge:  # one call, an array of delays
            nest.Connect(source, targets, "all_to_all", dict(weight=weight, delay=np.array(delays)[:, None]))
        else:
            for target, delay in zip(targets, delays):
                nest.Connect(source, target, syn_spec=dict(weight=weight, delay=delay))
        nest_stop_source(source)
        for i, delay in enumerate(delays):
            row = out.setdefault(str(delay), {})
            if kind == "delta_spike":
                row["delta_target_spike_stamp"] = round(float(spikes[i].events["times"][0]), 6)
                continue
            events = meters[i].events
            row[f"{kind}_first_V"] = first(events["times"], events["V_m"])
            if "I_syn_ex" in fields:
                row[f"{kind}_first_I"] = first(events["times"], events["I_syn_ex"])
    return out, round(float(recorder.events["times"][0]), 6)


def nest_refractory():
    _, _, recorder = nest_setup()
    nest.Simulate(40.0)
    return [round(float(t), 6) for t in recorder.events["times"]]


# ---------------------------------------------------------------- Brian2
def brian_group(n, synaptic):
    equations = "dv/dt = (drive - v + R*I)/(10*ms) : 1 (unless refractory)\ndrive : 1\nR : 1\n"
    equations += "dI/dt = -I/(2*ms) : 1" if synaptic else "I = 0 : 1"
    return b2.NeuronGroup(n, equations, threshold="v > 15", reset="v = 0", refractory=2 * b2.ms, method="exact")


def brian_delays(delays, per_edge):
    out = {}
    for kind, on_pre in (
        ("exp_current", f"I_post += {WEIGHTS['exp_current_pA']}"),
        ("delta", f"v_post += {WEIGHTS['delta_mV']}"),
        ("delta_spike", f"v_post += {WEIGHTS['delta_suprathreshold_mV']}"),
    ):
        b2.start_scope()
        b2.defaultclock.dt = DT * b2.ms
        source, targets = brian_group(1, False), brian_group(len(delays), kind == "exp_current")
        source.drive, targets.R = SOURCE["RI_mV"], 0.04
        monitor = b2.StateMonitor(targets, ["v", "I"], record=True)
        fired, target_fired = b2.SpikeMonitor(source), b2.SpikeMonitor(targets)
        objects = [source, targets, monitor, fired, target_fired]
        if per_edge:
            edges = b2.Synapses(source, targets, on_pre=on_pre)
            edges.connect()
            edges.delay = np.array(delays) * b2.ms
            objects.append(edges)
        else:
            for i, delay in enumerate(delays):
                edges = b2.Synapses(source, targets, on_pre=on_pre, delay=delay * b2.ms)
                edges.connect(i=0, j=i)
                objects.append(edges)
        net = b2.Network(objects)
        net.run(5 * b2.ms)
        source.drive = 0.0
        net.run((T_END - 5.0) * b2.ms)
        times = np.asarray(monitor.t / b2.ms)
        for i, delay in enumerate(delays):
            row = out.setdefault(str(delay), {})
            if kind == "delta_spike":
                row["delta_target_spike_stamp"] = round(float(target_fired.t[target_fired.i == i][0] / b2.ms), 6)
                continue
            row[f"{kind}_first_V"] = first(times, monitor.v[i])
            if kind == "exp_current":
                row[f"{kind}_first_I"] = first(times, monitor.I[i])
    return out, round(float(fired.t[0] / b2.ms), 6)


def brian_refractory(t_ref):
    b2.start_scope()
    b2.defaultclock.dt = DT * b2.ms
    group = b2.NeuronGroup(
        1,
        "dv/dt = (40 - v)/(10*ms) : 1 (unless refractory)",
        threshold="v > 15",
        reset="v = 0",
        refractory=t_ref * b2.ms,
        method="exact",
    )
    monitor = b2.SpikeMonitor(group)
    b2.Network(group, monitor).run(40 * b2.ms)
    return [round(float(t), 6) for t in monitor.t / b2.ms]


def main():
    b2.prefs.codegen.target = "numpy"
    nest_one, nest_stamp = nest_delays(ON_GRID, per_edge=False)
    nest_many, _ = nest_delays(ON_GRID, per_edge=True)
    nest_off, _ = nest_delays(OFF_GRID, per_edge=False)
    brian_one, brian_stamp = brian_delays([0.0, *ON_GRID], per_edge=False)
    brian_many, _ = brian_delays([0.0, *ON_GRID], per_edge=True)
    brian_off, _ = brian_delays(OFF_GRID, per_edge=False)
    tau, ri, theta, ref = (SOURCE[k] for k in ("tau_ms", "RI_mV", "threshold_mV", "t_ref_ms"))
    rise = -tau * np.log(1.0 - theta / ri)
    result = dict(
        script="make_delays.py",
        units="ms",
        dt=DT,
        source=SOURCE,
        weights=WEIGHTS,
        synaptic_tau=2.0,
        versions=dict(
            python=platform.python_version(), nest=nest.__version__, brian2=b2.__version__, numpy=np.__version__
        ),
        exact_spike_times=[round(rise + k * (rise + ref), 9) for k in range(5)],
        nest=dict(
            stamps="end of step",
            source_stamp=nest_stamp,
            on_grid=nest_one,
            per_edge=nest_many,
            off_grid=nest_off,
            refractory_stamps=nest_refractory(),
        ),
        brian2=dict(
            stamps="start of step",
            source_stamp=brian_stamp,
            on_grid=brian_one,
            per_edge=brian_many,
            off_grid=brian_off,
            refractory_stamps=brian_refractory(2.0),
            refractory_stamps_with_t_ref_plus_dt=brian_refractory(2.1),
        ),
    )
    (HERE / "delays.json").write_text(json.dumps(result, indent=1) + "\n")
    for name in ("nest", "brian2"):
        print(name, json.dumps(result[name]))


if __name__ == "__main__":
    main()
