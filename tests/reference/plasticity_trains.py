"""Spike trains and delays shared by the plasticity references; whole steps of 0.1 ms, stamps are ends of steps.

Every edge sees pairs of every order, and exact ties under both places of the delay: t_post + d = t_pre (NEST, dendritic)
and t_pre + d = t_post (Brian2, axonal).
"""

import itertools

import numpy as np

DT, STEPS = 0.1, 12_000
N_PRE, N_POST = 2, 3
DELAYS = [[1, 5, 10], [15, 30, 50]]  # steps, one per edge (source, target)
POST_DELAYS = [[3, 1, 20], [0, 10, 4]]  # steps; Brian2 only
RANDOM = dict(pre=42, post=24, ties_of_each_kind=4)


def trains(seed=7):
    """(pre, post): lists of sorted stamps in steps, one list per cell."""
    rng = np.random.Generator(np.random.Philox(seed))
    some = lambda n: {int(s) for s in rng.choice(np.arange(100, STEPS - 100), n, replace=False)}
    pre = [some(RANDOM["pre"]) for _ in range(N_PRE)]
    post = [some(RANDOM["post"]) for _ in range(N_POST)]
    for i, j in itertools.product(range(N_PRE), range(N_POST)):
        chosen = rng.choice(sorted(pre[i]), 2 * RANDOM["ties_of_each_kind"], replace=False)
        for k, stamp in enumerate(chosen):
            post[j].add(int(stamp) + (DELAYS[i][j] if k % 2 else -DELAYS[i][j]))
    return [sorted(s) for s in pre], [sorted(s) for s in post]


def dopamine(seed=8, n=30):
    """Sorted stamps in steps of the modulating cell."""
    rng = np.random.Generator(np.random.Philox(seed))
    return sorted(int(s) for s in rng.choice(np.arange(200, STEPS - 100), n, replace=False))
