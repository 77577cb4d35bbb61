"""Given spikes as other values of one program: how often it is traced; when values over time begin."""

import jax
import numpy as np
import pytest

import brainsim as bs
from brainsim.errors import ParameterError, RunError
from brainsim.models import SpikeSource

DT = 0.5
VALUES = np.sin(np.arange(1.0, 25.0)).reshape(12, 2)


def trains(spikes, cells, steps):
    """Times and cells of so many spikes, at most four in a step; a cell fires once in a step."""
    rng = np.random.default_rng(spikes)
    found = [(t, c) for t in range(1, steps) for c in rng.permutation(cells)[:4]]
    chosen = rng.choice(len(found), spikes, replace=False)
    times, indices = np.array([found[k] for k in sorted(chosen)]).reshape(-1, 2).T
    return times * DT, indices


def test_other_spikes_are_other_values_of_one_program():
    """From none to 60, nothing is traced again, and all of them are there; ten times as many take a longer list."""
    net = bs.Network()
    net.add("a", SpikeSource(), 30)
    sim = net.compile(dt=DT, record="a.spikes")
    for spikes, traced in ((30, 1), (0, 1), (1, 1), (7, 1), (60, 1), (600, 2), (700, 2), (60, 2)):
        times, cells = trains(spikes, 30, 200)
        got = sim.run(100.0, inputs={"a.spikes": bs.spike_trains(times, cells)})["a"]
        order = np.lexsort((cells, times))
        np.testing.assert_allclose(got.times, times[order], rtol=1e-6)
        np.testing.assert_array_equal(got.indices, cells[order])
        assert sim.n_traces == traced


class Shows(bs.Neuron):
    x = bs.state(0.0, "pA")

    def dx(self, x, I, dt):
        return (I - x) / dt


@pytest.fixture
def probe():
    net = bs.Network()
    net.add("p", Shows(), 2, method="euler")
    return net.compile(dt=DT, record="p.x")


@pytest.mark.parametrize("every", [None, 1.0])
@pytest.mark.parametrize("start", [0.0, 0.5, 3.0, "0.003 s", 40.0])
def test_values_begin_at_start(probe, start, every):
    """0 before, then one row per interval; also in a run that goes on, whose time does."""
    repeat = 1 if every is None else 2
    first = round((3.0 if isinstance(start, str) else start) / DT)
    expected = np.zeros((50, 2))
    rows = np.arange(50) - first
    expected[rows >= 0] = VALUES[np.minimum(rows[rows >= 0] // repeat, 11)]
    inputs = {"p.I": bs.array(VALUES, every=every, hold=True, start=start)}
    whole = probe.run(25.0, inputs=inputs)
    np.testing.assert_allclose(whole["p.x"], expected, atol=1e-6)
    begun = probe.run(4.0, inputs=inputs)
    np.testing.assert_array_equal(probe.run(21.0, inputs=inputs, state=begun.state)["p.x"], whole["p.x"][8:])


def test_values_reach_the_end_or_are_held(probe):
    probe.run(9.0, inputs={"p.I": bs.array(VALUES, start=3.0)})
    with pytest.raises(RunError, match=r"the values cover 9 ms but the run ends at 9\.5 ms"):
        probe.run(9.5, inputs={"p.I": bs.array(VALUES, start=3.0)})


def test_impossible_starts(probe):
    with pytest.raises(ParameterError, match="array start = -1 is below 0"):
        bs.array(VALUES, start=-1.0)
    with pytest.raises(RunError, match=r"array\(start=1\.2\) is not a multiple of dt = 0\.5 ms; write start=1"):
        probe.run(5.0, inputs={"p.I": bs.array(VALUES, start=1.2)})


def test_gradient_of_values_that_begin_late(x64):
    net = bs.Network()
    net.add("p", Shows(), 2, method="euler")
    sim = net.compile(dt=DT, record="p.x")
    total = lambda v: sim.run(5.0, inputs={"p.I": bs.array(v, start=2.0, hold=True)}).traces["p.x"].values.sum()
    slope = jax.grad(total)(VALUES)
    expected = np.zeros_like(VALUES)
    expected[:6] = 1.0
    np.testing.assert_allclose(slope, expected, atol=1e-12)
