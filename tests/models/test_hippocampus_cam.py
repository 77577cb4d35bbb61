"""The CA3 memory: the authors' rasters cell for cell, and a plain simulator of the machine on operations drawn at random.

Of the rasters that the authors recorded only digests are kept here: SHA-256 of the table as JSON without spaces, a row a
step, a column a population, in each the sorted cells that fire. Source: results/*/spikes.xlsx of their public repository.
"""

import functools
import hashlib
import json

import numpy as np
import pytest

from brainsim.errors import ParameterError, RunError
from brainsim.models.circuits import hippocampus_cam as ca3
from brainsim.models.circuits.hippocampus_cam import Learn, Recall

FIRST = (ca3.FIRST_EXPERIMENT, 90, 5, 10)
MAP = (ca3.STATE_MAP, 140, 16, 6)
PUBLISHED = {
    FIRST: "1602969cb8f65ecf8ee753cf88f21a7331a09e3390fa9fbe091502e64426f73d",
    MAP: "9d4ad5fd37ab9d1da0fbff8125f946b18470b210671dbd832277eff14888ac01",
}


def run(operations, duration, cues, contents, **changes):
    return ca3.run_memory(operations, duration, ca3.hippocampus_cam(cues, contents, **changes))


@functools.cache
def recorded(case):
    """The run of an experiment in float32."""
    return run(*case)


def digest(recording):
    return hashlib.sha256(json.dumps(recording.table(), separators=(",", ":")).encode()).hexdigest()


class Machine:
    """The plain simulator: exponential LIF cells of a machine, STDP with dendritic delay that waits for a pre spike."""

    def __init__(self, cues, contents):
        size = {p: cues if p.endswith("_cue") else contents for p in ca3.POPULATIONS}
        self.size = size | {
            "cue_cue": cues,
            "cont_cue": contents,
            "cue_cont": cues,
            "cont_cont": contents,
            "cond_int": 1,
        }
        self.cells = [p for p in ca3.POPULATIONS if not p.startswith("in_")]
        self.fixed = []
        for pre, post, wiring, weight, delay in ca3.STATIC:
            n, m = self.size[pre], self.size[post]
            matrix = {"one": np.eye(n, m), "all": np.ones((n, m)), "others": (1 - np.eye(n, m)) * contents}[wiring]
            self.fixed.append((pre, post, matrix * weight / 1e3, delay))  # nA
        self.w = {pair: np.zeros((self.size[pair[0]], self.size[pair[1]])) for pair in ca3.PLASTIC}
        self.fired = {p: [] for p in ca3.POPULATIONS}  # (steps, cells)

    def run(self, operations, duration):
        v = {p: np.full(self.size[p], -60.0) for p in self.cells}
        current = {p: np.zeros(self.size[p]) for p in self.cells}
        rest = {p: np.zeros(self.size[p], bool) for p in self.cells}
        arriving = {p: np.zeros((duration + 4, self.size[p])) for p in self.cells}
        for n in range(duration):
            for p in self.cells:
                tau, cm = (0.5, 0.14) if p in ca3.FAST else (3.0, 0.27)
                current[p] += arriving[p][n] * 0.3 * (1 - np.exp(-1 / 0.3))
                level = current[p] * tau / cm - 60.0
                moved = level - (level - v[p]) * np.exp(-1 / tau)
                v[p] = np.where(rest[p], v[p], moved)
                spikes = ~rest[p] & (v[p] >= (-57.5 if p.startswith("out_") else -57.0))
                v[p][spikes] = -60.0
                rest[p], current[p] = spikes, current[p] * np.exp(-1 / 0.3)
                self.fired[p].append(spikes)
            self.present(operations, n)
            for pre, post, matrix, delay in self.fixed:
                arriving[post][n + delay] += self.fired[pre][n] @ matrix
            for pre, post in ca3.PLASTIC:
                for i in np.flatnonzero(self.fired[pre][n]):
                    self.catch_up(pre, post, i, n)
                    arriving[post][n + 1] += self.w[pre, post][i]

    def present(self, operations, n):
        for p in ("in_cue", "in_cont"):
            self.fired[p].append(np.zeros(self.size[p], bool))
        for o in operations:
            learn = isinstance(o, Learn)
            if o.t <= n < o.t + (3 if learn else 1):
                self.fired["in_cue"][n][[o.cue] if learn else list(o.cues)] = True
                self.fired["in_cont"][n][list(o.contents)] = True

    def catch_up(self, pre, post, i, n, last=False):
        """All pairs of the posts that reached the synapse since the last pre spike, then of the pre spike of step n."""
        before = [m for m in range(min(n, len(self.fired[pre]))) if self.fired[pre][m][i]]
        for j in range(self.size[post]):
            posts = [m + 1 for m in range(min(n, len(self.fired[post]))) if self.fired[post][m][j]]
            w = self.w[pre, post][i, j]
            for b in posts:
                if (before[-1] if before else -1) < b <= n:
                    w = min(w + sum(6 * np.exp(-(b - a) / 3) for a in before if b > a), 6.0)
            if not last:
                w = max(w - sum(6 * np.exp(-(n - b) / 3) for b in posts if b <= n), 0.0)
            self.w[pre, post][i, j] = w


def drawn(seed, cues=4, contents=7, count=14):
    """Operations that do not wait for each other to end."""
    rng, t, out = np.random.default_rng(seed), 0, []
    for _ in range(count):
        some = lambda n: tuple(int(i) for i in rng.choice(n, rng.integers(1, 4), replace=False))
        choice = rng.integers(3)
        if choice == 0:
            out.append(Learn(t, int(rng.integers(cues)), some(contents)))
        else:
            out.append(Recall(t, cues=some(cues)) if choice == 1 else Recall(t, contents=some(contents)))
        t += int(rng.integers(3, 12))
    return tuple(out), t + 12, cues, contents


@pytest.mark.parametrize("case", [FIRST, MAP], ids=["first", "map"])
def test_the_published_raster_cell_for_cell(case):
    assert digest(recorded(case)) == PUBLISHED[case]


@pytest.mark.slow
@pytest.mark.parametrize("case", [FIRST, MAP], ids=["first", "map"])
def test_the_published_raster_in_float64(case, x64):
    assert digest(run(*case)) == PUBLISHED[case]


@pytest.mark.slow
@pytest.mark.parametrize(("case", "differ"), [(FIRST, 13), (MAP, 12)], ids=["first", "map"])
def test_an_amplitude_relative_to_the_largest_weight_breaks_the_raster(case, differ):
    """The authors give A = 6: an amplitude in nA, not a multiple of the largest weight of 6 nA."""
    right, wrong = recorded(case).table(), run(*case, amplitude=36e3).table()
    assert sum(a != b for row, other in zip(right, wrong) for a, b in zip(row, other)) == differ


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)])
def test_operations_at_random_equal_the_plain_simulator(seed):
    operations, duration, cues, contents = drawn(seed)
    machine, found = Machine(cues, contents), run(operations, duration, cues, contents)
    machine.run(operations, duration)
    assert found.spikes["out_cont"].any() and found.spikes["out_cue"].any()
    for p in ca3.POPULATIONS:
        assert np.array_equal(found.spikes[p], machine.fired[p]), p
    for pre, post in ca3.PLASTIC:
        for i in range(machine.size[pre]):  # what waits for a pre spike that never comes
            machine.catch_up(pre, post, i, duration, last=True)
        expected = 1e3 * machine.w[pre, post]
        assert 0.0 < expected.max()
        np.testing.assert_allclose(found.weights[f"{pre}->{post}"], expected, rtol=1e-5, atol=0.02)


def test_the_plain_simulator_makes_the_published_rasters():
    for case, published in PUBLISHED.items():
        operations, duration, cues, contents = case
        machine = Machine(cues, contents)
        machine.run(operations, duration)
        assert digest(ca3.Recording({p: np.array(machine.fired[p]) for p in ca3.POPULATIONS}, {})) == published


def test_recall_by_any_fragment_and_forgetting():
    found = recorded(FIRST)
    recalled = {36: (0, 1, 8, 9), 76: (1, 3, 4, 8)}  # by cues 0 and 3
    assert {n: found.cells("out_cont", n) for n in recalled} == recalled
    # by content 6, by contents 0 and 4, by content 6 again after cue 3 has learnt something else
    recalled = {46: (3, 4), 56: (0, 3), 86: (4,)}
    assert {n: found.cells("out_cue", n) for n in recalled} == recalled


def test_one_cue_needs_no_inhibition_of_others():
    operations = (Learn(0, 0, (1,)), Recall(12, cues=(0,)), Recall(22, contents=(1,)))
    found = run(operations, 30, 1, 2)
    assert found.cells("out_cont", 18) == (1,) and found.cells("out_cue", 28) == (0,)


@pytest.mark.parametrize(
    ("operation", "error", "words"),
    [
        (Recall(3), ParameterError, "name one of them"),
        (Recall(3, cues=(0,), contents=(1,)), ParameterError, "name one of them"),
        (Recall(2.5, cues=(0,)), ParameterError, "whole ms"),
        (Learn(28, 0, (1,)), ParameterError, "does not end within the 30 ms"),
        (Recall(3, cues=(5,)), RunError, "there are 5 cells"),
    ],
)
def test_operations_that_cannot_be(operation, error, words):
    with pytest.raises(error, match=words):
        ca3.run_memory([operation], 30)
