"""STDP in Brian2 under fixed spike trains: weights sampled at the end of steps."""

import brian2 as b2
import numpy as np
from plasticity_trains import DELAYS, DT, N_POST, N_PRE, POST_DELAYS, STEPS, trains

EVERY = 250  # steps between samples of the weights
TRACES = "dx/dt = -x/tau_plus : 1 (event-driven)\ndy/dt = -y/tau_minus : 1 (event-driven)\n"
PAIR = dict(tau_plus=17.0, tau_minus=23.0, A_plus=0.02, A_minus=0.022, w_max=1.02)
TRIPLET = dict(tau_plus=16.8, tau_x=101.0, tau_minus=33.7, tau_y=125.0)
TRIPLET |= dict(A2_plus=5e-3, A3_plus=6.2e-3, A2_minus=7e-3, A3_minus=2.3e-3)
ALL_TO_ALL = ("x += 1; w = clip(w - A_minus*y, 0, w_max)", "y += 1; w = clip(w + A_plus*x, 0, w_max)")
NEAREST = ("x = 1; w = clip(w - A_minus*y, 0, w_max)", "y = 1; w = clip(w + A_plus*x, 0, w_max)")
CASES = {  # name: (parameters, equations, on_pre, on_post, delays of the post pathway in steps)
    "pair": (PAIR, TRACES, *ALL_TO_ALL, None),
    "pair_post_delay": (PAIR, TRACES, *ALL_TO_ALL, POST_DELAYS),
    "nearest": (PAIR, TRACES, *NEAREST, None),
    "triplet": (
        TRIPLET,
        TRACES + "dx2/dt = -x2/tau_x : 1 (event-driven)\ndy2/dt = -y2/tau_y : 1 (event-driven)\n",
        "w -= y*(A2_minus + A3_minus*x2); x += 1; x2 += 1",
        "w += x*(A2_plus + A3_plus*y2); y += 1; y2 += 1",
        None,
    ),
    "vogels": (
        dict(tau_plus=20.0, tau_minus=20.0, eta=0.01, alpha=0.35, w_max=1.1),
        TRACES,
        "x += 1; w = clip(w + (y - alpha)*eta, 0, w_max)",
        "y += 1; w = clip(w + x*eta, 0, w_max)",
        None,
    ),
}


def source(stamps):
    """Cells whose spikes happen in the steps that end at the given stamps: Brian2 names them one step earlier."""
    index = np.repeat(np.arange(len(stamps)), [len(s) for s in stamps])
    times = (np.concatenate(stamps) - 1) * DT
    return b2.SpikeGeneratorGroup(len(stamps), index, times * b2.ms)


def weights(params, equations, on_pre, on_post, post_delays):
    """{"i-j": weights at the ends of steps EVERY, 2 EVERY, ...}, and the order of the two pathways."""
    b2.start_scope()
    b2.defaultclock.dt = DT * b2.ms
    pre, post = (source(s) for s in trains())
    space = {k: v * b2.ms if k.startswith("tau") else v for k, v in params.items()}
    edges = b2.Synapses(pre, post, "w : 1\n" + equations, on_pre=on_pre, on_post=on_post, namespace=space)
    edges.connect()
    edges.w = 1.0
    i, j = np.asarray(edges.i), np.asarray(edges.j)
    edges.pre.delay = np.array(DELAYS)[i, j] * DT * b2.ms
    if post_delays is not None:
        edges.post.delay = np.array(post_delays)[i, j] * DT * b2.ms
    seen = b2.SpikeMonitor(pre)
    monitor = b2.StateMonitor(edges, "w", record=True, when="end")
    net = b2.Network(pre, post, edges, seen, monitor)
    net.run(STEPS * DT * b2.ms)
    stamps = sorted(np.rint(np.asarray(seen.t / b2.ms)[np.asarray(seen.i) == 0] / DT).astype(int) + 1)
    assert stamps == trains()[0][0]
    w = np.asarray(monitor.w)[:, EVERY - 1 :: EVERY]
    made = {f"{a}-{b}": [float(x) for x in w[k]] for k, (a, b) in enumerate(zip(i, j, strict=True))}
    assert len(made) == N_PRE * N_POST
    return made, dict(pre=edges.pre.order, post=edges.post.order)


def main():
    b2.prefs.codegen.target = "numpy"
    out = {}
    for name, case in CASES.items():
        params, equations, on_pre, on_post, post_delays = case
        made, order = weights(*case)
        out[name] = dict(params=params, model=equations, on_pre=on_pre, on_post=on_post, weights=made, order=order)
        if post_delays is not None:
            out[name]["post_delays"] = post_delays
    return dict(every=EVERY, cases=out)
