"""The plastic network in NEST (`stdp_synapse_hom`, additive): prints one JSON line.

NEST puts the delay at the dendrite: a synapse sees a postsynaptic spike 1.5 ms late and a presynaptic one at once. It
touches a synapse at presynaptic spikes only, so that the weight lacks the potentiation since the last one; for the
distribution of weights this part is made up for here from the recorded spikes. The parameters of the rule are kept once
for all synapses, which is NEST's smallest and fastest form.
"""

from __future__ import annotations

import json
import time

import numpy as np
import plastic_network as network

SOURCES = 200  # whose weights are read: reading a synapse in Python takes microseconds


def build(nest, args, made):
    """(excitatory cells, all cells, recorder) of one network."""
    nest.ResetKernel()
    nest.set(resolution=network.DT, local_num_threads=args.threads, rng_seed=args.seed + 1)
    cells = nest.Create(
        "iaf_psc_delta",
        made["cells"],
        params=dict(
            C_m=1.0,
            tau_m=network.TAU,
            E_L=0.0,
            V_th=network.THRESHOLD,
            V_reset=network.RESET,
            t_ref=network.REFRACTORY,
            tau_minus=network.TAU_STDP,
        ),
    )
    cells.V_m = np.random.default_rng(args.seed).uniform(0.0, network.THRESHOLD, made["cells"])
    exc, inh = cells[: made["exc"]], cells[made["exc"] :]
    rule = dict(
        alpha=network.ALPHA,
        mu_plus=0.0,
        mu_minus=0.0,
        tau_plus=network.TAU_STDP,
        Wmax=made["w_max"],
        weight=made["weight"],
    )
    nest.CopyModel("stdp_synapse_hom", "plastic", {"lambda": network.RATE, **rule})
    nest.CopyModel("static_synapse_hom_w", "static", dict(weight=made["weight"]))
    nest.CopyModel("static_synapse_hom_w", "inhibitory", dict(weight=made["inhibitory"]))
    if args.network != "without":
        kind = dict(rule="fixed_indegree", indegree=made["n_exc"])
        nest.Connect(exc, cells, kind, dict(synapse_model=args.network, delay=network.DELAY))
    kind = dict(rule="fixed_indegree", indegree=made["n_inh"])
    nest.Connect(inh, cells, kind, dict(synapse_model="inhibitory", delay=network.DELAY))
    noise = nest.Create("poisson_generator", params=dict(rate=made["external"] * made["n_exc"]))
    nest.Connect(noise, cells, "all_to_all", dict(synapse_model="static", delay=network.DT))
    recorder = nest.Create("spike_recorder")
    nest.Connect(cells, recorder)
    return exc, cells, recorder


def complete(sources, targets, w, times, senders, made):
    """Weights with the potentiation since the last presynaptic spike of each source; sorted by source."""
    w, plus = w.copy(), network.TAU_STDP
    order = np.argsort(times, kind="stable")
    times, senders = times[order], senders[order]
    stop = times[-1]
    for source in np.unique(sources):
        mine = times[senders == source]
        if not len(mine):
            continue
        last, trace = mine[-1], np.exp((mine - mine[-1]) / plus).sum()
        seen = times + network.DELAY
        since = (seen > last) & (seen <= stop)
        pairs = np.bincount(senders[since], np.exp((last - seen[since]) / plus), made["cells"] + 1)
        edges = sources == source
        w[edges] = np.minimum(w[edges] + made["A_plus"] * trace * pairs[targets[edges]], made["w_max"])
    return w


def read(nest, exc, times, senders, made):
    """Weights of the synapses of some excitatory cells."""
    step = max(1, made["exc"] // SOURCES)
    found = nest.GetConnections(source=exc[::step], synapse_model="plastic").get(["source", "target", "weight"])
    sources, targets, w = (np.asarray(found[key]) for key in ("source", "target", "weight"))
    return complete(sources, targets, w, times, senders, made)


def main() -> None:
    args = network.parser(__doc__).parse_args()
    import nest

    nest.verbosity = nest.VerbosityLevel.ERROR
    made, start = network.numbers(args.cells, args.eta), time.perf_counter()
    exc, _, recorder = build(nest, args, made)
    nest.Prepare()
    built = time.perf_counter()
    nest.Run(args.transient * 1e3)
    first, times, cpu = time.perf_counter(), [], []
    for _ in range(args.repeats):
        begin, begin_cpu = time.perf_counter(), time.process_time()
        nest.Run(args.seconds * 1e3)
        times.append((time.perf_counter() - begin) / args.seconds)
        cpu.append((time.process_time() - begin_cpu) / args.seconds)
    memory = network.resident_bytes()
    nest.Cleanup()
    stamps, senders = np.asarray(recorder.events["times"]), np.asarray(recorder.events["senders"])
    window, is_exc = (
        (args.transient * 1e3, (args.transient + args.repeats * args.seconds) * 1e3),
        senders <= made["exc"],
    )
    out = dict(
        simulator="NEST",
        version=nest.__version__,
        delay_at="dendrite",
        dtype="float64",
        build_s=built - start,
        first_run_s=first - built,
        s_per_s=times,
        cpu_s_per_s=cpu,
        resident=memory,
        exc=network.activity(stamps[is_exc], senders[is_exc] - 1, made["exc"], *window),
        inh=network.activity(stamps[~is_exc], senders[~is_exc] - 1 - made["exc"], made["inh"], *window),
    )
    if args.network == "plastic":
        out["weights"] = network.weights(read(nest, exc, stamps, senders, made), made)
    print(json.dumps(out))


if __name__ == "__main__":
    main()
