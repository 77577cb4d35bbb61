"""The table of docs/learnable_delays.md about delays that are trained.

    python tests/bench/learning_delays.py {order,planted,motifs,hidden,xor} [--seeds 0 1 2] [--small]

Each prints its table, mean +- standard deviation over seeds, and the CPU seconds. --small: sizes of a minute, to see
that the command runs.

order    lag between two spikes, DCLS network: learned, fixed random and no delays, delays rounded
planted  delays of one LIF layer of 20 inputs, recovered from its spikes
motifs   kernels of 10 motifs in 128 noisy addresses, learned from labelled recordings, pruned into a spiking detector
hidden   delays of circuits with unobserved cells, from the spikes of visible cells
xor      XOR with exact spike times: epochs until 4 of 4 are right
"""

import argparse
import platform
import time

import jax
import numpy as np


def spread(values, form=".1f") -> str:
    values = np.asarray(values, float)
    return f"{values.mean():{form}} +- {values.std(ddof=min(1, len(values) - 1)):{form}}"


def order(seeds, small):
    from brainsim.models.circuits.order_task import KINDS, train

    more = dict(steps=40, tested=100) if small else {}
    for kind in KINDS:
        found = []
        for seed in seeds:
            found.append(train(kind, seed=seed, **more))
            print(f"  {kind} seed {seed}: {100 * found[-1].accuracy:.1f} %, {found[-1].seconds:.0f} s", flush=True)
        print(f"{kind:8s} {spread([100 * f.accuracy for f in found])} %, {spread([f.seconds for f in found])} s")


def planted(seeds, small):
    from brainsim.models.circuits.planted_delays import recover

    found = [recover(seed=seed, **(dict(steps=20, length=200.0) if small else {})) for seed in seeds]
    print(f"within 1 step {spread([100 * f.within for f in found])} %, exact {spread([100 * f.exact for f in found])} %, "
          f"spikes reproduced {spread([100 * f.spikes for f in found])} %, {spread([f.seconds for f in found])} s")  # fmt: skip


def motifs(seeds, small):
    from brainsim.models.circuits import motif_learning as library

    more = dict(recordings=3, steps=30) if small else {}
    found = [library.experiment(seed=seed, **more) for seed in seeds]
    for name in ("f1", "correlation", "pruned_f1", "pruned_correlation", "same"):
        print(f"{name:20s} {spread([getattr(f, name) for f in found], '.3f')}")
    print(f"{'seconds':20s} {spread([f.learned.seconds for f in found])}")


def hidden(seeds, small):
    from brainsim.models.circuits import hidden_delays as library

    within = 0
    for seed in seeds:
        circuit, trials = library.draw(seed=seed), library.draw_trials(20 if small else 400, seed=seed)
        observed = library.observe(circuit, trials)
        found = library.recover(circuit.weights, trials, observed, seed=seed, **(dict(starts=1) if small else {}))
        worst = np.abs(found.delays - circuit.delays)
        within += worst.max() <= library.Sizes().dt
        print(
            f"circuit {seed}: {len(worst)} delays, {np.isfinite(observed).sum()} visible spikes; largest error "
            f"{worst.max():.3f} ms, mean {worst.mean():.3f} ms; {len(found.errors)} starts, {found.seconds:.0f} s",
            flush=True,
        )
    print(f"all delays within a step of {library.Sizes().dt} ms: {within} of {len(seeds)} circuits")


def xor(seeds, small):
    from brainsim.models.circuits.spike_xor import train

    found = train(seeds, epochs=20 if small else 100)
    reached = found.reached > 0
    print(f"4 of 4 at any of {len(found.right)} epochs: {reached.sum()} of {len(seeds)} seeds, first after "
          f"{spread(found.reached[reached]) if reached.any() else '-'} epochs; at the end: "
          f"{(found.right[-1] == 4).sum()}; {found.seconds:.0f} s")  # fmt: skip


COMMANDS = {f.__name__: f for f in (order, planted, motifs, hidden, xor)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=COMMANDS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--small", action="store_true")
    args = parser.parse_args()
    print(f"jax {jax.__version__}, {platform.machine()}")
    begun = time.process_time()
    COMMANDS[args.what](args.seeds, args.small)
    print(f"{time.process_time() - begun:.0f} CPU s")


if __name__ == "__main__":
    main()
