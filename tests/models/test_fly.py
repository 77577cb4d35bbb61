"""The fly's brain: its dynamics against a loop over NumPy arrays, the reader of the tables, the stand-in."""

import numpy as np
import pandas as pd
import pytest

from brainsim.errors import FileFormatError, ParameterError
from brainsim.models.circuits.fly import CELLS, PAIRS, Wiring, fly, read_fly, synthetic_fly


def small_wiring(n=60, seed=3):
    """Dense and strong, so that activity goes on by itself; both signs."""
    rng = np.random.default_rng(seed)
    pre, post = np.nonzero(rng.random((n, n)) < 0.4)
    sign = np.where(rng.random(n) < 0.8, 1, -1)
    return Wiring(n, pre.astype(np.int32), post.astype(np.int32), sign[pre] * rng.integers(1, 80, len(pre)))


def march(wiring, v, steps, t_ref):
    """Exact steps of 0.1 ms: arrive (lost in refractory cells), integrate, fire, reset v and g; delay 18 steps."""
    n, g, left = wiring.n, np.zeros(wiring.n), np.zeros(wiring.n, int)
    dense = np.zeros((n, n))
    dense[wiring.pre, wiring.post] = wiring.synapses * 0.275
    slow, fast = np.exp(-0.1 / 20.0), np.exp(-0.1 / 5.0)
    fired, out = [], []
    for k in range(steps):
        free = left == 0
        if k >= 19:
            g = np.where(free, g + fired[k - 19] @ dense, g)
        v_new = -52.0 + (v + 52.0) * slow + g * (5.0 / 15.0) * (slow - fast)
        v, g = np.where(free, v_new, v), np.where(free, g * fast, g)
        left = np.maximum(left - 1, 0)
        spikes = free & (v > -45.0)
        v, g = np.where(spikes, -52.0, v), np.where(spikes, 0.0, g)
        left = np.where(spikes, np.rint(np.broadcast_to(t_ref, n) / 0.1).astype(int), left)
        fired.append(spikes.astype(float))
        out += [(k + 1, cell) for cell in np.flatnonzero(spikes)]
    return out


@pytest.mark.parametrize("fast_cells", [0, 10])
def test_dynamics_are_those_of_the_paper(fast_cells, x64):
    """Spikes of 100 ms, cell by cell and step by step; driven cells have no refractory time."""
    wiring = small_wiring()
    net = fly(wiring, driven=np.arange(fast_cells), rate=0.0)
    start = np.random.default_rng(1).uniform(-52.0, -40.0, wiring.n)
    net.init("cells.v", start)
    spikes = net.compile(dt=0.1, record=["cells.spikes"]).run(100.0).spikes["cells"]
    t_ref = np.where(np.arange(wiring.n) < fast_cells, 0.0, 2.2)
    expected = march(wiring, start, 1000, t_ref)
    assert len(expected) > 500
    assert list(zip(np.rint(spikes.times / 0.1).astype(int), spikes.indices)) == expected


def test_a_drive_spike_makes_its_cell_fire():
    """Without synapses 21 driven cells fire at the rate of their trains, and nobody else does."""
    wiring = Wiring(500, *(np.array([0], np.int32), np.array([499], np.int32), np.array([1], np.int32)))
    result = fly(wiring, driven=np.arange(21) * 3, rate=200.0, seed=2).compile(record=["cells.spikes"]).run(2000.0)
    counts = result.spikes["cells"].counts()
    assert counts[np.arange(21) * 3].mean() == pytest.approx(400.0, abs=5 * np.sqrt(400 / 21) + 4)
    assert counts.sum() == counts[np.arange(21) * 3].sum()


@pytest.fixture(scope="module")
def stand_in():
    return synthetic_fly(8000, seed=1)


def test_stand_in_has_the_published_statistics(stand_in):
    w, count = stand_in, np.abs(stand_in.synapses)
    assert len(w.pre) == round(PAIRS / CELLS * 8000)
    assert np.all(np.diff(w.pre.astype(np.int64) * w.n + w.post) > 0) and not np.any(w.pre == w.post)
    assert count.min() == 1 and count.mean() == pytest.approx(3.611, rel=0.01)
    assert np.mean(count >= 5) == pytest.approx(0.179, abs=0.003)
    sign = np.zeros(w.n)
    sign[w.pre] = np.sign(w.synapses)
    assert np.array_equal(sign[w.pre], np.sign(w.synapses))  # a cell excites or inhibits
    assert np.mean(sign > 0) == pytest.approx(0.65, abs=0.03)
    for ends in (w.pre, w.post):
        degree = np.bincount(ends, minlength=w.n)
        assert 0.22 < np.mean(degree > 0.9 * degree.mean()) < 0.4 and degree.max() > 10 * degree.mean()
    assert len(np.unique(w.driven)) == 21 and np.all(sign[w.driven] > 0)


def test_stand_in_depends_on_the_seed_alone(stand_in):
    again, other = synthetic_fly(8000, seed=1), synthetic_fly(8000, seed=2)
    assert np.array_equal(again.post, stand_in.post) and np.array_equal(again.synapses, stand_in.synapses)
    assert not np.array_equal(other.post, stand_in.post)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_activity_of_the_full_stand_in(seed):
    """About 17,000 spikes/s in 400 cells are published; the stand-in is of that order, steady, and does not run away."""
    wiring = synthetic_fly(seed=seed)
    spikes = fly(wiring, seed=seed).compile(record=["cells.spikes"]).run(1000.0).spikes["cells"]
    late = 2 * np.sum(spikes.times > 500.0)
    assert 10_000 < len(spikes) < 25_000 and 250 < np.sum(spikes.counts() > 0) < 700
    assert late < 1.2 * len(spikes)
    assert spikes.counts()[wiring.driven].mean() == pytest.approx(200.0, abs=15.0)


IDS = np.array([720575940596125868, 720575940597856265, 720575940598267657])


def tables(folder, ids=IDS, index=((0, 1), (2, 0)), count=(5, -3), names=True):
    """Files in the published form; needs pyarrow."""
    pytest.importorskip("pyarrow")
    pd.DataFrame({"Completed": True}, index=ids).to_csv(folder / "cells.csv")
    pre, post = np.array(index).T
    table = {"Presynaptic_Index": pre, "Postsynaptic_Index": post, "Excitatory x Connectivity": count}
    if names:
        table = {"Presynaptic_ID": IDS[pre % 3], "Postsynaptic_ID": IDS[post % 3], **table}
    pd.DataFrame(table).to_parquet(folder / "pairs.parquet")
    return folder / "pairs.parquet", folder / "cells.csv"


def test_reads_the_tables(tmp_path):
    wiring = read_fly(*tables(tmp_path, index=((2, 0), (0, 1), (2, 0)), count=(-3, 5, -1)))
    assert wiring.n == 3 and wiring.pre.tolist() == [0, 2] and wiring.post.tolist() == [1, 0]
    assert wiring.synapses.tolist() == [5, -4]  # rows of one pair are added
    assert wiring.cells([IDS[2], IDS[0]]).tolist() == [2, 0]
    with pytest.raises(ParameterError, match="root id 17"):
        wiring.cells([17])
    net = fly(wiring, driven=wiring.cells([IDS[2]]))
    np.testing.assert_allclose(net["synapses"].weight, [5 * 0.275, -4 * 0.275])


def test_missing_files_are_named(tmp_path):
    (tmp_path / "cells.csv").write_text(",Completed\n1,True\n")
    with pytest.raises(FileFormatError, match=r"pairs.parquet: there is no such file.*synthetic_fly"):
        read_fly(tmp_path / "pairs.parquet", tmp_path / "cells.csv")
    with pytest.raises(FileFormatError, match=r"none.csv: there is no such file"):
        read_fly(tmp_path / "pairs.parquet", tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not a csv table"),
        (",Finished\n1,True\n", 'no column "Completed"'),
        (",Completed\n1,True\n72057", "cut off"),
        (",Completed\n1,True\n1,True\n", "occurs twice"),
        (",Completed\nroot,True\n", "root id"),
    ],
)
def test_bad_completeness(tmp_path, text, says):
    (tmp_path / "cells.csv").write_text(text)
    with pytest.raises(FileFormatError, match=says):
        read_fly(tmp_path / "pairs.parquet", tmp_path / "cells.csv")


def test_bad_connectivity(tmp_path):
    pairs, cells = tables(tmp_path)
    whole = pairs.read_bytes()
    pairs.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FileFormatError, match="not a whole parquet file"):
        read_fly(pairs, cells)
    pd.DataFrame({"Presynaptic_Index": [0]}).to_parquet(pairs)
    with pytest.raises(FileFormatError, match='no column "Postsynaptic_Index"'):
        read_fly(pairs, cells)
    with pytest.raises(FileFormatError, match="one version"):
        read_fly(*tables(tmp_path, index=((0, 1), (3, 0)), names=False))
    with pytest.raises(FileFormatError, match="Presynaptic_ID is not the root id"):
        read_fly(*tables(tmp_path, ids=IDS[::-1]))
    with pytest.raises(FileFormatError, match="whole numbers"):
        read_fly(*tables(tmp_path, count=(0.5, 1.0)))


def test_bad_arguments():
    with pytest.raises(ParameterError, match="at least 2000"):
        synthetic_fly(100)
    with pytest.raises(ParameterError, match="for root ids write"):
        fly(small_wiring(), driven=[3, 3])
    with pytest.raises(ParameterError, match="for root ids write"):
        fly(small_wiring(), driven=[int(IDS[0])])
    with pytest.raises(ParameterError, match="synthetic"):
        small_wiring().cells([1])
