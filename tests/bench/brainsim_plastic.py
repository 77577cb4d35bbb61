"""The plastic network in brainsim: prints one JSON line. `--delay-at axon` is Brian2's meaning, `dendrite` NEST's."""

from __future__ import annotations

import importlib.metadata
import json
import time

import jax
import numpy as np
import plastic_network as network

import brainsim as bs
from brainsim.models import LIF, STDP, Delta


def build(args, made):
    net = bs.Network(seed=args.seed)
    cells = dict(tau=network.TAU, v_rest=0.0, v_th=network.THRESHOLD, v_reset=network.RESET, t_ref=network.REFRACTORY)
    exc = net.add("exc", LIF(**cells), made["exc"])
    inh = net.add("inh", exc.model, made["inh"])
    plastic = {}
    if args.network == "plastic":
        taus = dict(tau_plus=network.TAU_STDP, tau_minus=network.TAU_STDP)
        rule = STDP(A_plus=made["A_plus"], A_minus=made["A_minus"], **taus)
        ties = "pre_first" if args.delay_at == "axon" else "neither"
        plastic = dict(plasticity=rule, bounds=bs.hard(0.0, made["w_max"]), delay_at=args.delay_at, ties=ties)
    if args.network != "without":
        rule = bs.fixed_indegree(made["n_exc"])
        net.connect(exc, [exc, inh], Delta(), rule, weight=made["weight"], delay=network.DELAY, **plastic)
    rule = bs.fixed_indegree(made["n_inh"])
    net.connect(inh, [exc, inh], Delta(), rule, weight=made["inhibitory"], delay=network.DELAY)
    for target in (exc, inh):
        net.connect(bs.poisson(made["external"], n=made["n_exc"]), target, Delta(), weight=made["weight"])
    net.init("*.v", bs.uniform(0.0, network.THRESHOLD))
    return net


def main() -> None:
    parser = network.parser(__doc__)
    parser.add_argument("--delay-at", choices=("axon", "dendrite"), default="axon")
    args = parser.parse_args()
    made, start = network.numbers(args.cells, args.eta), time.perf_counter()
    sim = build(args, made).compile(dt=network.DT, record=["*.spikes"])
    built = time.perf_counter()
    parts = [sim.advance(args.transient * 1e3)]  # also traces and compiles the loop
    first, times, cpu = time.perf_counter(), [], []
    for _ in range(args.repeats):
        begin, begin_cpu = time.perf_counter(), time.process_time()
        parts.append(sim.advance(args.seconds * 1e3))
        times.append((time.perf_counter() - begin) / args.seconds)
        cpu.append((time.process_time() - begin_cpu) / args.seconds)
    memory, spikes = network.resident_bytes(), type(parts[0]).join(parts).spikes
    stop = (args.transient + args.repeats * args.seconds) * 1e3
    out = dict(
        simulator="brainsim",
        version=importlib.metadata.version("brainsim-jax"),
        jax=jax.__version__,
        delay_at=args.delay_at,
        dtype="float32",
        build_s=built - start,
        first_run_s=first - built,
        s_per_s=times,
        cpu_s_per_s=cpu,
        resident=memory,
        exc=network.activity(*_events(spikes["exc"]), made["exc"], args.transient * 1e3, stop),
        inh=network.activity(*_events(spikes["inh"]), made["inh"], args.transient * 1e3, stop),
    )
    if args.network == "plastic":
        found = [np.asarray(v["w"]) for v in sim.state["plastic"].values()]
        out["weights"] = network.weights(np.concatenate(found), made)
    print(json.dumps(out))


def _events(recorded):
    return np.asarray(recorded.times), np.asarray(recorded.indices)


if __name__ == "__main__":
    main()
