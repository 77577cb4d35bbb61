"""The tables of docs/plasticity.md, event_gradients.md, adjoints.md and spiking_networks.md about published circuits that learn.

    python tests/bench/learning.py {nalsm,what_when,competition,reward,balance,digits} [--seeds 0 1] [--small]
    python tests/bench/learning.py {yin_yang,evidence,match,mnist1d,sltt} [--seeds 0 1] [--small]

Each prints its table and the CPU seconds. --small: sizes of a minute, to see that the command runs; the figures in the
documentation are those without it. Handwritten digits are those of `tests/reference/digits.npz`.

nalsm        NALSM, STDP without astrocyte, static liquids, pixels: accuracy, rate, branching factor
what_when    11 levels of probability: peaks, errors, regression on all trials; a switch of the probability
competition  Song-Abbott: shares of weak and strong inputs, rates
reward       distal reward: the rewarded synapse, the others, its place; dopamine a minute late
balance      Vogels 2011: rates while inhibition is learned, balance at the end
digits       templates by STDP with a teacher, logistic regression
yin_yang     exact spike times: learned, fixed and no delays, a frozen hidden layer; accuracies
evidence     accumulation of evidence by e-prop with random feedback: error and iterations
match        delayed match-to-sample by backpropagation: error and iterations
mnist1d      MNIST-1D: fixed, learned and no delays; accuracies, spikes, seconds a network
sltt         digits by spatial and full gradients: cosines, accuracies, memory by the number of steps
"""

import argparse
import platform
import time
from pathlib import Path

import jax
import numpy as np

DIGITS = Path(__file__).parent.parent / "reference" / "digits.npz"


def nalsm(seeds, small):
    from brainsim.models.circuits import nalsm as library

    file = np.load(DIGITS)
    images = (file["images"].reshape(-1, 8, 8) / 16.0).repeat(2, 1).repeat(2, 2).reshape(-1, 256)
    labels = file["labels"].astype(int)
    learn, test, settle, grid = (20, 20, 10, (5, 5, 5)) if small else (150, 100, 300, (10, 10, 10))
    kinds = {
        "NALSM, w_a = 0.015": {},
        "NALSM, w_a = 0.1": {"w_a": 0.1},
        "STDP without astrocyte": {"learning": "stdp"},
        "static, weight 0.7": {"learning": None, "weight": 0.7},
        "static, weight 1.4": {"learning": None, "weight": 1.4},
    }
    rows = {}
    for seed in seeds:
        chosen = np.random.default_rng(seed).permutation(len(images))[: learn + test]
        x, y = images[chosen], labels[chosen]
        first = np.random.default_rng([seed, 7]).choice(learn, settle)
        for name, options in kinds.items():
            liquid = library.Liquid(library.nalsm(x.shape[1], seed=seed, grid=grid, **options))
            if options.get("learning", "") is not None:
                liquid = liquid.settle(x[first], seed=seed)
            found = liquid.respond(x, seed=seed, branching=test)
            f = library.features(found.counts)
            share = library.softmax_accuracy(f[:learn], y[:learn], f[learn:], y[learn:])
            rows.setdefault(name, []).append((100 * share, found.rate, found.branching))
        share = library.softmax_accuracy(x[:learn], y[:learn], x[learn:], y[learn:])
        rows.setdefault("softmax regression on pixels", []).append((100 * share, np.nan, np.nan))
    for name, found in rows.items():
        mean, sd = np.mean(found, axis=0), np.std(found, axis=0, ddof=min(1, len(found) - 1))
        columns = zip(("accuracy %", "rate Hz", "branching"), mean, sd, strict=True)
        print(f"{name:30s}", "  ".join(f"{k} {m:.3f} +- {s:.3f}" for k, m, s in columns))


def what_when(seeds, small):
    from brainsim.models.circuits import what_when as library

    trials_each = 12 if small else 100
    for seed in seeds:
        p = np.linspace(0, 1, 11)
        trials = library.WhatWhen(library.what_when(n=200 if small else 1000, blocks=11, seed=seed), seed=seed)
        events = (np.random.default_rng([seed, 99]).random((trials_each, 11)) >= p).astype(int)
        errors = {}
        for k, e in enumerate(events, 1):
            trials.trial(e)
            if k in (1, 10, 50, 100):
                errors[k] = float(np.mean(trials.trial().error(p)))
        height, at = trials.trial().peaks()
        r = [np.corrcoef(height[:, i], p)[0, 1] for i in (0, 1)]
        print(
            f"seed {seed}: correlation of the peaks with p {r[0]:.3f} {r[1]:.3f}; latencies {at[1:, 0].min():.0f} to "
            f"{at[1:, 0].max():.0f}, {at[:-1, 1].min():.0f} to {at[:-1, 1].max():.0f} ms; RMS error by trial "
            + ", ".join(f"{k}: {v:.3f}" for k, v in errors.items())
        )
        rng, before = np.random.default_rng(5), trials
        for level, count in ((0.8, trials_each), (0.2, trials_each // 2)):
            for e in (rng.random((count, 11)) >= level).astype(int):
                before.trial(e)
            height, _ = before.trial().peaks()
            larger = "A" if level > 0.5 else "B"
            print(f"  after {count} trials with p(A) = {level}: {larger} larger in "
                  f"{((height[:, 0] > height[:, 1]) == (larger == 'A')).sum()} of 11 sequences")  # fmt: skip


def competition(seeds, small):
    from brainsim.models.circuits import song_abbott as song

    seconds = 40.0 if small else 1000.0
    for seed in seeds:
        found = song.compete(seconds, song.EXAMPLE, seed=seed)
        late = found.times > seconds / 2
        print(
            f"seed {seed}: below 0.1 g_max {found.weak[late].mean():.3f}, above 0.9 {found.strong[late].mean():.3f}; "
            f"rate "
            f"{found.rates[0]:.1f} Hz in the first 10 s, {found.rates[late].mean():.1f} Hz in the second half"
        )


def reward(seeds, small):
    from brainsim.models.circuits import distal_reward as distal

    seconds = 60.0 if small else 3600.0
    for seed in seeds:
        for name, delay in (("reward", (1000.0, 3000.0)), ("a minute late", (60_000.0, 62_000.0))):
            found = distal.condition(seconds, seed, delay=delay)
            high = found.times[found.weight >= 3.9]
            print(
                f"seed {seed}, {name}: 3.9 mV after {high[0] if len(high) else '-'} s; last sixth "
                f"{found.weight[-max(1, len(found.weight) // 6) :].mean():.2f} mV; others {found.others[-1]:.2f} mV; "
                f"{len(found.rewards)} rewards; place {found.rank[-1]}"
            )


def balance(seeds, small, peer=False):
    """With --peer beside Brian2, one network of the same numbers."""
    import workers

    from brainsim.models.circuits import vogels2011 as vogels

    for seed in seeds:
        early = vogels.balance(3.0 if small else 12.0, n=2000 if small else 10_000, seed=seed)
        print(
            f"seed {seed}: Hz in each second",
            " ".join(f"{r:.1f}" for r in early.rates),
            f"; weight {early.weights[-1]:.3f} nS",
        )
        if peer:
            found = workers.worker("simulators", "peer_brian2_balance.py", [3 if small else 12, seed])
            print(
                "  Brian2:",
                found.get("error")
                or " ".join(f"{r:.1f}" for r in found["rates"]) + f"; weight {found['weight']:.3f} nS",
            )
        if not small:
            late = vogels.balance(200.0, every=10.0, seed=seed)
            print(
                f"  every 10 s: {' '.join(f'{r:.1f}' for r in late.rates)} Hz; spread over cells "
                f"{late.cells.std():.2f} Hz; "
                f"CV {late.cv:.2f}; correlation of counts {late.correlation:.4f}; currents "
                f"{late.excitation.mean():.0f} and "
                f"{late.inhibition.mean():.0f} pA, correlated {np.corrcoef(late.excitation, late.inhibition)[0, 1]:.2f}"
            )


def digits(seeds, small):
    from brainsim.models.circuits import superneuromat as snm
    from brainsim.models.circuits.nalsm import softmax_accuracy

    file = np.load(DIGITS)
    x, y = file["images"].reshape(-1, 64) / 16.0, file["labels"].astype(int)
    learn, test = (file["train"][:200], file["test"][:200]) if small else (file["train"], file["test"])
    shares = []
    for seed in seeds:
        weights = snm.teach(snm.bernoulli_trains(x[learn], seed=seed), y[learn])
        counts = snm.classify(weights, snm.bernoulli_trains(x[test], seed=1000 + seed))
        shares.append(100 * np.mean(counts.argmax(axis=1) == y[test]))
    linear = 100 * softmax_accuracy(x[learn], y[learn], x[test], y[test])
    print(f"STDP {np.mean(shares):.1f} +- {np.std(shares, ddof=min(1, len(shares) - 1)):.1f} % ({len(shares)} seeds)")
    print(f"softmax regression on the pixels {linear:.1f} %")


def yin_yang(seeds, small):
    from dataclasses import replace

    from brainsim.models.circuits.yin_yang import Settings, train

    usual = replace(Settings(), epochs=3) if small else Settings()
    short = usual if small else replace(usual, epochs=100)
    kinds = {
        "60 hidden, learned delays": usual,
        "120 hidden, learned delays": replace(short, hidden=120),
        "60 hidden, no delays": replace(short, delays=None),
        "60 hidden, delays fixed": replace(short, delays="fixed"),
        "60 hidden, frozen hidden layer": replace(short, frozen=True),
    }
    for name, settings in kinds.items():
        found = train(seeds, settings)
        spread = lambda x: f"{100 * np.mean(x):.2f} +- {100 * np.std(x, ddof=min(1, len(x) - 1)):.2f} %"
        print(
            f"{name:32s} test {spread(found.test)}, validation {spread(found.validation)}; {found.seconds:.0f} s",
            flush=True,
        )


def evidence(seeds, small):
    from brainsim.models.circuits import evidence as circuit

    _trials(circuit, seeds, dict(iterations=25, batch=16, tested=64) if small else {})


def match(seeds, small):
    from brainsim.models.circuits import working_memory as circuit

    _trials(circuit, seeds, dict(iterations=25, batch=16, tested=64) if small else {})


def mnist1d(seeds, small):
    from dataclasses import replace

    from brainsim.models.circuits.mnist1d import Settings, mnist1d_data, train

    usual = replace(Settings(), epochs=2) if small else Settings()
    kinds = {
        "a fixed delay per connection": usual,
        "no delays": replace(usual, delays=None),
        "learned delays": replace(usual, delays="learned"),
    }
    for name, settings in kinds.items():
        begun = time.process_time()
        found = train(seeds, settings, mnist1d_data())
        spread = lambda x: f"{100 * np.mean(x):.2f} +- {100 * np.std(x, ddof=min(1, len(x) - 1)):.2f} %"
        print(
            f"{name:30s} test {spread(found.test)}, validation {spread(found.validation)}; {np.mean(found.spikes):.0f} "
            f"spikes a run; {(time.process_time() - begun) / len(seeds):.0f} CPU s a network",
            flush=True,
        )


def _trials(circuit, seeds, sizes):
    for seed in seeds:
        found = circuit.train(circuit.SHORT if sizes else circuit.PAPER, seed=seed, **sizes)
        every = ", ".join(f"{n}: {e:.3f}" for n, e in found.errors)
        task = circuit.SHORT if sizes else circuit.PAPER
        tested = circuit.error_of_task(found.sim, task, 256 if sizes else 2048, seed=1)(found.params)
        print(
            f"seed {seed}: error on trials of its own {float(tested):.3f}; criterion ({found.error:.3f}) after "
            f"{found.reached} iterations; {found.seconds:.0f} s"
        )
        print(f"  errors by iteration {every}", flush=True)


def sltt(seeds, small):
    from brainsim import BPTT, SLTT
    from brainsim.models.circuits import sltt as circuit

    file = np.load(DIGITS)
    x, y = (file["images"].reshape(-1, 64) / 16.0).astype(np.float32), file["labels"].astype(np.int32)
    learn, test = (x[file["train"]], y[file["train"]]), (x[file["test"]], y[file["test"]])
    sim, kinds = circuit.compiled(), {"SLTT": SLTT(), "BPTT": BPTT()}
    slopes = [circuit.gradient(sim, 6, adjoint) for adjoint in kinds.values()]
    for lam in (0.1, 0.5, 0.9):
        a, b = (f({**sim.params, **circuit.leak(lam)}, *learn)[1] for f in slopes)
        a, b = ({**g, "all": np.concatenate([g[k] for k in circuit.WEIGHTS])} for g in (a, b))
        cosines = [float(a[k] @ b[k] / np.linalg.norm(a[k]) / np.linalg.norm(b[k])) for k in ("all", *circuit.WEIGHTS)]
        print(f"lam {lam}: cosine {cosines[0]:.3f}, layers {' '.join(f'{c:.3f}' for c in cosines[1:])}", flush=True)
        for name, adjoint in kinds.items():
            found = [circuit.train(learn, test, lam, adjoint, seed, epochs=1 if small else 30) for seed in seeds]
            share = [100 * f.accuracy for f in found]
            spread = np.std(share, ddof=min(1, len(share) - 1))
            print(f"  {name} {np.mean(share):.1f} +- {spread:.1f} %; {found[-1].seconds:.0f} s", flush=True)
    batch = learn[0][:16], learn[1][:16]
    made = {"online SLTT": circuit.online_gradient}
    made |= {f"run, {name}": lambda sim, n, a=adjoint: circuit.gradient(sim, n, a) for name, adjoint in kinds.items()}
    for name, make in made.items():
        compiled = (make(sim, n).lower(sim.params, *batch).compile() for n in (8, 64))
        sizes = [c.memory_analysis().temp_size_in_bytes / 1e6 for c in compiled]
        print(
            f"{name}: temporaries {sizes[0]:.2f} MB at T = 8, {sizes[1]:.2f} MB at 64, {sizes[1] / sizes[0]:.2f} times"
        )


COMMANDS = {
    f.__name__: f
    for f in (nalsm, what_when, competition, reward, balance, digits, yin_yang, evidence, match, mnist1d, sltt)
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=COMMANDS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--peer", action="store_true", help="balance: Brian2 beside it (tests/bench/peers.py)")
    args = parser.parse_args()
    print(f"jax {jax.__version__}, {platform.machine()}")
    begun = time.process_time()
    COMMANDS[args.what](args.seeds, args.small, **({"peer": True} if args.peer else {}))
    print(f"{time.process_time() - begun:.0f} CPU s")


if __name__ == "__main__":
    main()
