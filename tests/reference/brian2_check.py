"""The same single-neuron runs in Brian2, from equations written independently: a check of the oracle, not a reference.

RK4 at a tiny step (the reset on that grid delays each spike by up to a step, and the delays add up over a train; the
exponential models stop 9 slope factors above threshold, 1e-3 ms early); returns per case the number of spikes and the
largest difference of a spike time.
"""

from __future__ import annotations

import brian2 as b2
import numpy as np

EQS = {
    "adex": (
        """dv/dt = (g_L*(E_L - v) + g_L*D_T*exp(clip((v - V_T)/D_T, -90, 10)) - w + I)/C/ms : 1
                dw/dt = (a*(v - E_L) - w)/tau_w/ms : 1""",
        "v > V_T + 9*D_T",
        "v = V_r; w += b",
        0.002,
    ),
    "eif": (
        "dv/dt = (g_L*(E_L - v) + g_L*D_T*exp(clip((v - V_T)/D_T, -90, 10)) + I)/C/ms : 1 (unless refractory)",
        "v > V_T + 9*D_T",
        "v = V_r",
        0.002,
    ),
    "qif": ("dv/dt = (k*(v - V_rest)*(v - V_c) + I)/C/ms : 1 (unless refractory)", "v > V_peak", "v = V_r", 0.002),
    "izhikevich2003": (
        """dv/dt = (0.04*v**2 + 5*v + 140 - u + I)/ms : 1
                          du/dt = a*(b*v - u)/ms : 1""",
        "v > V_peak",
        "v = c; u += d",
        0.001,
    ),
    "izhikevich2007": (
        """dv/dt = (k*(v - v_r)*(v - v_t) - u + I)/C/ms : 1
                          du/dt = a*(b*(v - v_r) - u)/ms : 1""",
        "v > v_peak",
        "v = c; u += d",
        0.002,
    ),
    "gif": (
        """dv/dt = (I + I1 + I2 - G*(v - E_L))/C/ms : 1
               dtheta/dt = (a*(v - E_L) - b*(theta - theta_inf))/ms : 1
               dI1/dt = -k1*I1/ms : 1
               dI2/dt = -k2*I2/ms : 1""",
        "v > theta",
        "v = V_r; theta = clip(theta, theta_r, inf); I1 = R1*I1 + A1; I2 = R2*I2 + A2",
        0.002,
    ),
    "hh1952": (
        """dv/dt = (g_L*(E_L-v) + g_Na*m**3*h*(E_Na-v) + g_K*n**4*(E_K-v) + I)/C/ms : 1
                  dm/dt = (exprel(-(v+40)/10)**-1*(1-m) - 4*exp(-(v+65)/18)*m)/ms : 1
                  dh/dt = (.07*exp(-(v+65)/20)*(1-h) - h/(1+exp(-(v+35)/10)))/ms : 1
                  dn/dt = (.1*exprel(-(v+55)/10)**-1*(1-n) - .125*exp(-(v+65)/80)*n)/ms : 1""",
        "v > 0",
        None,
        0.005,
    ),
    "traub_miles": (
        """dv/dt = (g_L*(E_L-v) + g_Na*m**3*h*(E_Na-v) + g_K*n**4*(E_K-v) + I)/C/ms : 1
                       dm/dt = (.32*4/exprel((13-v+V_T)/4)*(1-m) - .28*5/exprel((v-V_T-40)/5)*m)/ms : 1
                       dh/dt = (.128*exp((17-v+V_T)/18)*(1-h) - 4/(1+exp((40-v+V_T)/5))*h)/ms : 1
                       dn/dt = (.032*5/exprel((15-v+V_T)/5)*(1-n) - .5*exp((10-v+V_T)/40)*n)/ms : 1""",
        "v > -20",
        None,
        0.005,
    ),
    "wang_buzsaki": (
        """am = exprel(-(v+35)/10)**-1 : 1
                        minf = am/(am + 4*exp(-(v+60)/18)) : 1
                        dv/dt = (g_L*(E_L-v) + g_Na*minf**3*h*(E_Na-v) + g_K*n**4*(E_K-v) + I)/C/ms : 1
                        dh/dt = phi*(.07*exp(-(v+58)/20)*(1-h) - h/(1+exp(-.1*(v+28))))/ms : 1
                        dn/dt = phi*(.1*exprel(-(v+34)/10)**-1*(1-n) - .125*exp(-(v+44)/80)*n)/ms : 1""",
        "v > 0",
        None,
        0.005,
    ),
    "fitzhugh_nagumo": (
        """dv/dt = (v - v**3/3 - w + I)/ms : 1
                           dw/dt = (v + a - b*w)/tau/ms : 1""",
        "v > 1",
        None,
        0.005,
    ),
    "morris_lecar": (
        """dv/dt = (g_L*(V_L-v) + g_Ca*.5*(1+tanh((v-V1)/V2))*(V_Ca-v) + g_K*w*(V_K-v) + I)/C/ms : 1
                        dw/dt = phi*cosh((v-V3)/(2*V4))*(.5*(1+tanh((v-V3)/V4)) - w)/ms : 1""",
        "v > 0",
        None,
        0.005,
    ),
    "hindmarsh_rose": (
        """dx/dt = (y - a*x**3 + b*x**2 - z + I)/ms : 1
                          dy/dt = (c - d*x**2 - y)/ms : 1
                          dz/dt = r*(s*(x - x_R) - z)/ms : 1""",
        "x > 1",
        None,
        0.005,
    ),
}


def run_group(model_name, cases, starts):
    """All runs of one model at once, one neuron each."""
    equations, threshold, reset, dt = EQS[model_name]
    b2.start_scope()
    b2.defaultclock.dt = dt * b2.ms
    items = list(cases.items())
    first = items[0][1]
    for p in first.params:
        equations += f"\n{p} : 1 (constant)"
    duration = max(c.duration for _, c in items)
    table = np.zeros((round(duration) + 1, len(items)))
    for j, (_, c) in enumerate(items):
        for start, value in c.steps:
            table[round(start) :, j] = value
    stimulus = b2.TimedArray(table, dt=1 * b2.ms)
    equations += "\nI = stimulus(t + 0.0001*ms, i) : 1"
    refractory = first.model.refractory
    options = dict(refractory=f"{refractory}*ms") if refractory else dict(refractory=threshold) if reset is None else {}
    group = b2.NeuronGroup(
        len(items),
        equations,
        threshold=threshold,
        reset=reset,
        method="rk4",
        namespace=dict(stimulus=stimulus),
        **options,
    )
    for p in first.params:
        setattr(group, p, np.array([c.params[p] for _, c in items]))
    for index, state in enumerate(first.model.states):
        setattr(group, state, np.array([starts[name][index] for name, _ in items]))
    monitor = b2.SpikeMonitor(group)
    net = b2.Network(group, monitor)
    net.run(duration * b2.ms)
    trains = monitor.spike_trains()
    return {name: np.asarray(trains[j] / b2.ms) + dt for j, (name, _) in enumerate(items)}, dt  # end of the step


def check(cases, exact):
    """{case: dict(dt_ms, spikes, largest_difference_ms)} for every case whose model has Brian2 equations here."""
    report = {}
    for model_name in EQS:
        group = {k: c for k, c in cases.items() if c.model.name == model_name}
        if not group:
            continue
        starts = {k: (c.initial if c.initial is not None else c.model.initial(c.params)) for k, c in group.items()}
        trains, dt = run_group(model_name, group, starts)
        for name, train in trains.items():
            mine = exact[name]["spikes"]
            train = train[train <= cases[name].duration]
            n = min(len(mine), len(train))
            report[name] = dict(
                simulator=f"Brian2 {b2.__version__} rk4",
                dt_ms=dt,
                spikes=len(train),
                largest_difference_ms=float(np.abs(train[:n] - mine[:n]).max()) if n else 0.0,
            )
            flag = "" if len(train) == len(mine) and report[name]["largest_difference_ms"] < 0.1 else "   <-- look"
            print(f"  {name:40s} {len(mine):3d} {len(train):3d}  {report[name]['largest_difference_ms']:.4f} ms{flag}")
    return report
