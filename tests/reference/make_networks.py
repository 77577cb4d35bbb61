"""Make networks.json: rates, irregularity and spectra of COBA, CUBA (Brian2, NEST) and Brunel 2000 (NEST, Brian2).

    python tests/reference/make_networks.py                      # everything, ten minutes on one core
    python tests/reference/make_networks.py coba cuba            # some parts; the others stay as they are in the file
    parts: coba cuba brunel_nest brunel_brian2

Run it in the peers' environment (tests/bench/peers.py makes it). COBA and CUBA use the arrays of balanced.py, so that
any simulator can run the identical network; `own_connectivity` has Brian2's own random numbers instead.
Refractoriness: "t_ref + dt" in Brian2 clamps t_ref/dt updates, as brainsim and NEST do; "t_ref" is the usual script.
"""

from __future__ import annotations

import json
import platform
import sys
import time
from pathlib import Path

import balanced
import brian2 as b2
import brunel
import nest
import numpy as np

HERE = Path(__file__).parent
SEEDS = range(6)
DURATION, START = 1000.0, 200.0
EARLY = 30.0  # ms of spikes stored for seed 0


# ---------------------------------------------------------------- Brian2
EQUATIONS = {
    "COBA": """dv/dt = (v_rest - v + drive + ge*(E_e - v) + gi*(E_i - v))/(tau*ms) : 1 (unless refractory)
               dge/dt = -ge/(tau_e*ms) : 1
               dgi/dt = -gi/(tau_i*ms) : 1""",
    "CUBA": """dv/dt = (v_rest - v + drive + ge + gi)/(tau*ms) : 1 (unless refractory)
               dge/dt = -ge/(tau_e*ms) : 1
               dgi/dt = -gi/(tau_i*ms) : 1""",
}


def brian_run(kind, seed, method, t_ref, own=False, variant=0):
    """Spike times (end of step, ms) and indices of one second."""
    p = getattr(balanced, kind)
    n = balanced.N_EXC + balanced.N_INH
    b2.start_scope()
    b2.defaultclock.dt = balanced.DT * b2.ms
    space = {k: v for k, v in p.items() if k != "t_ref"}
    cells = b2.NeuronGroup(
        n,
        EQUATIONS[kind],
        threshold="v > v_th",
        reset="v = v_reset",
        refractory=t_ref * b2.ms,
        method=method,
        namespace=space,
    )
    exc = b2.Synapses(cells[: balanced.N_EXC], cells, on_pre="ge += w_e", namespace=space)
    inh = b2.Synapses(cells[balanced.N_EXC :], cells, on_pre="gi += w_i", namespace=space)
    if own:
        b2.seed(seed)
        exc.connect(p=balanced.P)
        inh.connect(p=balanced.P)
        cells.v = "-55 + 2*randn()" if kind == "COBA" else "-60 + 10*rand()"
    else:
        (pre_e, post_e), (pre_i, post_i) = balanced.edges(seed)
        exc.connect(i=pre_e, j=post_e)
        inh.connect(i=pre_i, j=post_i)
        cells.v = balanced.initial_v(seed, kind, variant=variant)
    monitor = b2.SpikeMonitor(cells)
    b2.Network(cells, exc, inh, monitor).run(DURATION * b2.ms, namespace={})
    return np.round(np.asarray(monitor.t / b2.ms) + balanced.DT, 6), np.asarray(monitor.i)


# ---------------------------------------------------------------- NEST
def nest_run(kind, seed):
    """The same arrays with NEST's smallest delay, 0.1 ms (one step later than Brian2's 0)."""
    p = getattr(balanced, kind)
    nest.ResetKernel()
    nest.verbosity = nest.VerbosityLevel.ERROR
    nest.set(resolution=balanced.DT, local_num_threads=1, rng_seed=seed + 1)
    shared = dict(
        C_m=20.0,
        E_L=p["v_rest"],
        V_th=p["v_th"],
        V_reset=p["v_reset"],
        t_ref=p["t_ref"],
        I_e=p["drive"],
        tau_syn_ex=p["tau_e"],
        tau_syn_in=p["tau_i"],
    )
    n = balanced.N_EXC + balanced.N_INH
    if kind == "COBA":
        cells = nest.Create("iaf_cond_exp", n, params=shared | dict(g_L=1.0, E_ex=p["E_e"], E_in=p["E_i"]))
    else:
        cells = nest.Create("iaf_psc_exp", n, params=shared | dict(tau_m=p["tau"]))
    cells.V_m = balanced.initial_v(seed, kind)
    recorder = nest.Create("spike_recorder")
    nest.Connect(cells, recorder)
    for (pre, post), weight, offset in zip(balanced.edges(seed), (p["w_e"], -abs(p["w_i"])), (0, balanced.N_EXC)):
        nest.Connect(
            pre + 1 + offset,
            post + 1,
            "one_to_one",
            dict(weight=np.full(len(pre), weight), delay=np.full(len(pre), 0.1)),
        )
    nest.Simulate(DURATION)
    return np.asarray(recorder.events["times"]), np.asarray(recorder.events["senders"]) - 1


def balanced_part(kind):
    n, t_ref = balanced.N_EXC + balanced.N_INH, getattr(balanced, kind)["t_ref"]
    methods = ["exponential_euler"] + (["exact"] if kind == "CUBA" else [])
    out = dict(
        params=getattr(balanced, kind),
        n_exc=balanced.N_EXC,
        n_inh=balanced.N_INH,
        p=balanced.P,
        dt=balanced.DT,
        window_ms=[START, DURATION],
        recipe="balanced.py",
        fingerprints={s: balanced.fingerprint(s, kind) for s in SEEDS},
        identical={},
        own_connectivity={},
        nest={},
    )
    for method in methods:
        for label, refractory in (("t_ref_plus_dt", t_ref + balanced.DT), ("t_ref", t_ref)):
            rows = out["identical"][f"{method}/{label}"] = {}
            for seed in SEEDS:
                times, cells = brian_run(kind, seed, method, refractory)
                rows[seed] = balanced.statistics(times, cells, n, START, DURATION)
                rows[seed]["rate_0_1000_hz"] = round(len(times) / n / DURATION * 1000.0, 4)
                if seed == 0:
                    early = times <= EARLY + 1e-9
                    order = np.lexsort((cells[early], times[early]))
                    step = np.round(times[early][order] / balanced.DT).astype(int)
                    edges = np.arange(0.5, DURATION / balanced.DT + 1, 10)
                    counts, _ = np.histogram(np.round(times / balanced.DT), edges)
                    rows["counts_per_ms_seed_0"] = counts.tolist()  # steps 1-10, 11-20, ...
                    rows["early_seed_0"] = dict(until_ms=EARLY, step=step.tolist(), cell=cells[early][order].tolist())
            print(kind, method, label, [(rows[s]["rate_hz"], rows[s]["cv"]) for s in SEEDS], flush=True)
    out["same_edges_seed_0"] = [
        balanced.statistics(*brian_run(kind, 0, methods[0], t_ref + balanced.DT, variant=k), n, START, DURATION)
        for k in range(1, 9)
    ]  # how much the start alone changes a rate
    print(kind, "same edges", [r["rate_hz"] for r in out["same_edges_seed_0"]], flush=True)
    for seed in SEEDS:
        own = brian_run(kind, seed, methods[-1], t_ref, own=True)
        out["own_connectivity"][seed] = balanced.statistics(*own, n, START, DURATION)
        out["nest"][seed] = balanced.statistics(*nest_run(kind, seed), n, START, DURATION)
    for part in ("own_connectivity", "nest"):
        print(kind, part, [(r["rate_hz"], r["cv"]) for r in out[part].values()], flush=True)
    return out


def main():
    parts = {
        "coba": lambda: balanced_part("COBA"),
        "cuba": lambda: balanced_part("CUBA"),
        "brunel_nest": brunel.nest_part,
        "brunel_brian2": brunel.brian_part,
    }
    path = HERE / "networks.json"
    result = json.loads(path.read_text()) if path.exists() else {}
    for name in sys.argv[1:] or parts:
        start = time.time()
        result[name] = parts[name]()
        result[name]["versions"] = dict(
            python=platform.python_version(), numpy=np.__version__, brian2=b2.__version__, nest=nest.__version__
        )
        print(f"{name}: {time.time() - start:.0f} s", flush=True)
        path.write_text(json.dumps(result, separators=(",", ":")) + "\n")
    print(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
