"""Pair rules by their definition: lists of spike times and sums over pairs, no traces. Times are whole steps."""

import numpy as np

import brainsim as bs
from brainsim.models import SpikeSource

PRE_SEES_TIE = ("post_first", "both")
POST_SEES_TIE = ("pre_first", "both")


def trains(rng, cells, steps, spikes):
    """Sorted spike steps of each cell, in 1 .. steps - 1."""
    return [np.sort(rng.choice(np.arange(1, steps), spikes, replace=False)) for _ in range(cells)]


def as_input(trains, dt):
    times = np.concatenate([t * dt for t in trains])
    return bs.spike_trains(times, np.repeat(np.arange(len(trains)), [len(t) for t in trains]))


def seen(times, now, tie):
    """Spikes of the partner that a spike at `now` sees."""
    return [s for s in times if s < now or (tie and s == now)]


def all_pairs(mine, partner, now, tie):
    return seen(partner, now, tie)


def nearest(mine, partner, now, tie):
    return seen(partner, now, tie)[-1:]


def not_yet_seen(mine, partner, now, tie):
    """Spikes of the partner that no earlier spike of this cell has seen."""
    earlier = [s for s in mine if s < now]
    old = seen(partner, earlier[-1], tie) if earlier else []
    return [s for s in seen(partner, now, tie) if s not in old]


def immediate(mine, partner, now, tie):
    last = seen(partner, now, tie)[-1:]
    return last if last and last[0] in not_yet_seen(mine, partner, now, tie) else []


def events(pre, post, ties):
    """(step, end) of all spikes at the synapse in the order of their effects."""
    rank = {"post": 0, "pre": 1} if ties == "post_first" else {"pre": 0, "post": 1}
    found = [(s, "pre") for s in pre] + [(s, "post") for s in post]
    return sorted(found, key=lambda e: (e[0], rank[e[1]]))


def pair_sum(pre, post, ties, for_pre, for_post, down, up, w, apply=lambda w, change: w + change):
    """Weight after all pairs.

    Args:
        pre, post: steps of the spikes at the synapse.
        for_pre, for_post: which spikes of the partner count.
        down, up: (distance in steps, w) -> change by one pair, of a presynaptic and of a postsynaptic spike.
        apply: (w, change) -> w.
    """
    for now, end in events(pre, post, ties):
        if end == "pre":
            partners = for_pre(pre, post, now, ties in PRE_SEES_TIE)
            change = sum(down(now - s, w) for s in partners)
        else:
            partners = for_post(post, pre, now, ties in POST_SEES_TIE)
            change = sum(up(now - s, w) for s in partners)
        w = apply(w, change)
    return w


def network(n_pre, n_post, post=None):
    """Populations "a" and "b" of given spikes."""
    net = bs.Network(seed=1)
    return net, net.add("a", SpikeSource(), n_pre), net.add("b", post or SpikeSource(), n_post)


class Nothing(bs.Synapse):
    """Delivers to a counter that nothing reads."""

    w = bs.weight()
    count = bs.state(0.0, on="post", jump=True)

    def on_pre(self, w):
        return dict(count=w)


def run(cases, pre, post, steps, dt, record=(), inputs=None):
    """Final weights (n_pre, n_post) of projections with the same spikes.

    Args:
        cases: name -> keyword arguments of `connect`.
        pre, post: trains.
        record: further variables; the result is then (weights, Result).
    """
    net, a, b = network(len(pre), len(post))
    for name, how in cases.items():
        given = {"weight": 1.0, "bounds": bs.unbounded(), **how}
        net.connect(a, b, Nothing(), bs.all_to_all(), name=name, **given)
    sim = net.compile(dt=dt, record=[*(f"{n}.w" for n in cases), *record])
    result = sim.advance(
        steps * dt, inputs={"a.spikes": as_input(pre, dt), "b.spikes": as_input(post, dt), **(inputs or {})}
    )
    weights = {n: np.asarray(result[f"{n}.w"])[-1].reshape(len(pre), len(post)) for n in cases}
    return (weights, result) if record else weights


class Linear(bs.Synapse):
    """Sends the activity r of a rate unit."""

    current_unit = "1"
    w = bs.weight()

    def output(self, r_pre):
        return dict(s=r_pre)

    def current(self, s):
        return s


class Shown(bs.Neuron):
    """A rate unit that is its input: with method="euler" r becomes I in every step."""

    I = bs.input("1")
    spare = bs.input("1")
    r = bs.state(0.0)

    def dr(self, r, I, dt):
        return (I - r) / dt


class Held(bs.Neuron):
    """An activity that does not change."""

    level = bs.param(0.0)
    I = bs.input("1")
    r = bs.state("level")

    def dr(self):
        return 0.0
