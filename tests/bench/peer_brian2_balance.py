"""The network of Vogels et al. 2011 in Brian2: prints one JSON line with the rates of every second.

    peer_brian2_balance.py SECONDS SEED

The equations and numbers are those of `models/circuits/vogels2011.py`; plasticity begins after one second.
"""

import json
import sys

import brian2 as b2
import numpy as np

N_EXC, N_INH, P = 8000, 2000, 0.02
CELLS = """dv/dt = (10*nS*(-60*mV - v) + g_exc*(0*mV - v) + g_inh*(-80*mV - v) + 200*pA)/(200*pF) : volt (unless refractory)
dg_exc/dt = -g_exc/(5*ms) : siemens
dg_inh/dt = -g_inh/(10*ms) : siemens"""
EDGES = """w : 1
dx/dt = -x/(20*ms) : 1 (event-driven)
dy/dt = -y/(20*ms) : 1 (event-driven)"""
ON_PRE = "x += 1; w = clip(w + learning*(y - 0.12)*0.01, 0, 100); g_inh += w*nS"
ON_POST = "y += 1; w = clip(w + learning*x*0.01, 0, 100)"


def main():
    seconds, seed = int(sys.argv[1]), int(sys.argv[2])
    b2.prefs.codegen.target = "cython"
    b2.seed(seed)
    space = {name: getattr(b2, name) for name in ("nS", "mV", "pA", "pF", "ms")}
    cells = b2.NeuronGroup(
        N_EXC + N_INH, CELLS, threshold="v > -50*mV", reset="v = -60*mV", refractory=5 * b2.ms, method="euler",
        namespace=space,
    )  # fmt: skip
    cells.v = "(-60 + 10*rand())*mV"
    exc, inh = cells[:N_EXC], cells[N_EXC:]
    learning = {"learning": 0, **space}
    parts = [
        b2.Synapses(exc, cells, on_pre="g_exc += 0.3*nS", namespace=space),
        b2.Synapses(inh, inh, on_pre="g_inh += 3*nS", namespace=space),
        b2.Synapses(inh, exc, EDGES, on_pre=ON_PRE, on_post=ON_POST, namespace=learning),
    ]
    for part in parts:
        part.connect(p=P)
    monitor = b2.SpikeMonitor(exc, record=False)
    net = b2.Network(cells, *parts, monitor)
    rates, before = [], 0
    for second in range(seconds):
        parts[2].namespace["learning"] = int(second > 0)
        net.run(1 * b2.second)
        rates.append((int(monitor.num_spikes) - before) / N_EXC)
        before = int(monitor.num_spikes)
    print(json.dumps(dict(rates=rates, weight=float(np.mean(parts[2].w)))))


if __name__ == "__main__":
    main()
