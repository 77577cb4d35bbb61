"""Single neurons in NEST: what neurons_nest.npz holds.

Time stamps are NEST's own: a spike and a sample carry the END of their step, the first sample is at dt. `I_e` acts from
the step that starts at the listed time. Synaptic arrivals are physical times T (emission + delay): a current or
conductance jumps at T and V first moves in the sample at T + dt; with a delta synapse V has jumped in the sample at T.
"""

from __future__ import annotations

import nest
import numpy as np
from reset_models import EX_TIMES, IN_TIMES, IZH2003_SETS, LIF_P, LIF_STEPS, adex_cases

DELAY = 1.0


def run(model, params, steps, duration, dt, record=("V_m",), spikes=()):
    """spikes: (arrival times, weight) pairs. Returns spike stamps and traces sampled every dt."""
    nest.ResetKernel()
    nest.verbosity = nest.VerbosityLevel.ERROR
    nest.set(resolution=dt, local_num_threads=1)
    cell = nest.Create(model, params=params)
    recorder = nest.Create("spike_recorder")
    meter = nest.Create("multimeter", params=dict(record_from=list(record), interval=dt))
    nest.Connect(cell, recorder)
    nest.Connect(meter, cell)
    for arrivals, weight in spikes:
        source = nest.Create("spike_generator", params=dict(spike_times=[round(t - DELAY, 6) for t in arrivals]))
        nest.Connect(source, cell, syn_spec=dict(weight=weight, delay=DELAY))
    ends = [t for t, _ in steps[1:]] + [duration]
    for (start, value), end in zip(steps, ends):
        cell.I_e = value
        nest.Simulate(end - start)
    nest.Simulate(2.0)  # recorders lag behind the end of a run
    keep = np.round(meter.events["times"] / dt) <= round(duration / dt)
    stamps = np.sort(recorder.get("events", "times"))
    return {"spikes": np.round(stamps[stamps <= duration + 1e-9], 6), **{k: meter.events[k][keep] for k in record}}


def lif_runs():
    base = dict(C_m=250.0, E_L=-70.0, V_th=-55.0, V_reset=-70.0, t_ref=2.0, V_m=-70.0)
    current = base | dict(tau_m=10.0, tau_syn_ex=2.0, tau_syn_in=5.0)
    equal = current | dict(tau_syn_ex=10.0)
    cond = base | dict(g_L=25.0, E_ex=0.0, E_in=-85.0, tau_syn_ex=2.0, tau_syn_in=5.0)
    pairs = {
        "pA": [(EX_TIMES, 600.0), (IN_TIMES, -500.0)],
        "mV": [(EX_TIMES, 6.0), (IN_TIMES, -5.0)],
        "nS": [(EX_TIMES, 12.0), (IN_TIMES, -20.0)],
    }  # NEST: a negative weight chooses the inhibitory port
    table = {
        "iaf_psc_exp": ("iaf_psc_exp", current, "pA", ("V_m", "I_syn_ex", "I_syn_in")),
        "iaf_psc_exp_equal_tau": ("iaf_psc_exp", equal, "pA", ("V_m",)),
        "iaf_psc_exp_ps": ("iaf_psc_exp_ps", current, "pA", ("V_m",)),
        "iaf_psc_alpha": ("iaf_psc_alpha", current, "pA", ("V_m", "I_syn_ex", "I_syn_in")),
        "iaf_psc_alpha_equal_tau": ("iaf_psc_alpha", equal, "pA", ("V_m",)),
        "iaf_psc_delta": ("iaf_psc_delta", base | dict(tau_m=10.0), "mV", ("V_m",)),
        "iaf_cond_exp": ("iaf_cond_exp", cond, "nS", ("V_m", "g_ex", "g_in")),
        "iaf_cond_alpha": ("iaf_cond_alpha", cond, "nS", ("V_m", "g_ex", "g_in")),
    }
    notes = {
        "iaf_psc_exp_ps": "spike times off the grid (exact threshold crossings)",
        "iaf_cond_exp": "adaptive Runge-Kutta, tolerance 1e-3: see lif_cond_exp for the accurate solution",
        "iaf_cond_alpha": "adaptive Runge-Kutta, tolerance 1e-3; weight = peak conductance",
    }
    for name, (model, params, unit, record) in table.items():
        yield (
            f"{name}",
            run(model, params, LIF_STEPS, 70.0, 0.1, record, pairs[unit]),
            dict(
                model=model,
                params=params,
                dt_ms=0.1,
                duration_ms=70.0,
                sample_ms=0.1,
                I_e_pA=LIF_STEPS,
                arrivals_ms=dict(ex=EX_TIMES, inh=IN_TIMES),
                weight_unit=unit,
                note=notes.get(name, "exact integration"),
                weights=dict(ex=pairs[unit][0][1], inh=pairs[unit][1][1]),
            ),
        )


def adex_runs():
    for name, case in adex_cases().items():
        p = case.params
        params = dict(
            C_m=p["C"],
            g_L=p["g_L"],
            E_L=p["E_L"],
            V_th=p["V_T"],
            Delta_T=p["D_T"],
            a=p["a"],
            tau_w=p["tau_w"],
            b=p["b"],
            V_reset=p["V_r"],
            V_peak=p["V_peak"],
            t_ref=0.0,
            V_m=p["E_L"],
            w=0.0,
        )
        out = run("aeif_cond_exp", params, case.steps, case.duration, 0.1)
        yield (
            f"{name}",
            {"spikes": out["spikes"]},
            dict(
                model="aeif_cond_exp",
                params=params,
                dt_ms=0.1,
                duration_ms=case.duration,
                I_e_pA=case.steps,
                note="adaptive Runge-Kutta, reset inside the step, stamped at its end",
            ),
        )


def izhikevich_runs():
    for label, (a, b, c, d) in IZH2003_SETS.items():
        for tag, consistent, dt in (("euler_0p1", True, 0.1), ("euler_1", True, 1.0), ("paper_1", False, 1.0)):
            params = dict(a=a, b=b, c=c, d=d, V_th=30.0, V_m=-65.0, U_m=b * -65.0, consistent_integration=consistent)
            out = run("izhikevich", params, [(0.0, 0.0), (20.0, 10.0)], 200.0, dt, ("V_m", "U_m"))
            yield (
                f"izhikevich_{label}_{tag}",
                {"spikes": out["spikes"]} | ({"V_m": out["V_m"]} if dt == 1.0 else {}),
                dict(
                    model="izhikevich",
                    params=params,
                    dt_ms=dt,
                    duration_ms=200.0,
                    sample_ms=dt,
                    I_e=[(0.0, 0.0), (20.0, 10.0)],
                    note="forward Euler, u from the old v"
                    if consistent
                    else "scheme of the 2003 paper: two half steps of v with the old u, then u from the new v",
                ),
            )


def refractory_reference():
    """The intervals of a current-driven LIF: closed form beside NEST's grid."""
    params = dict(C_m=250.0, tau_m=10.0, E_L=-70.0, V_th=-55.0, V_reset=-70.0, t_ref=2.0, V_m=-70.0)
    yield (
        "iaf_psc_exp_f_I",
        {
            str(int(i)): run("iaf_psc_exp", params, [(0.0, i)], 200.0, 0.1)["spikes"]
            for i in (300.0, 376.0, 500.0, 1000.0)
        },
        dict(model="iaf_psc_exp", params=params, dt_ms=0.1, duration_ms=200.0, note="keys are I_e in pA"),
    )


def all_runs():
    assert LIF_P["C"] == 250.0
    yield from lif_runs()
    yield from adex_runs()
    yield from izhikevich_runs()
    yield from refractory_reference()
