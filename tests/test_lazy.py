"""Records that stay in their file until they are used."""

import numpy as np
import pytest

import brainsim as bs
from brainsim import lazy, models
from brainsim.errors import FileFormatError, RunError
from brainsim.lazy import FileArray

RECORD = ["*.spikes", bs.trace("exc.v", every=0.5, of=[3, 1, 4]), bs.mean("exc.v")]


@pytest.fixture(scope="module")
def sim():
    net = bs.Network(seed=2)
    net.add("exc", models.LIF(), 6)
    net.add("silent", models.LIF(), 2)
    return net.compile(dt=0.1, record=RECORD)


def run(sim, path, **options):
    return sim.run(200.0, inputs={"exc.I": np.linspace(500.0, 700.0, 6)}, stream=path, **options)


@pytest.fixture
def both(sim, tmp_path, monkeypatch):
    """A result in memory, and the same in its file."""
    plain = run(sim, tmp_path / "small.h5")
    monkeypatch.setattr(lazy, "LARGE", 1)
    return plain, run(sim, tmp_path / "large.h5"), tmp_path / "large.h5"


def test_a_small_run_is_read_back(both):
    assert not any(r.in_file for r in (*both[0].spikes.values(), *both[0].traces.values()))
    assert isinstance(both[0]["exc.v"], np.ndarray)


def test_large_runs_stay_in_their_file(both, monkeypatch):
    plain, kept, _ = both
    assert all(r.in_file for r in (*kept.spikes.values(), *kept.traces.values())) and kept.complete
    np.testing.assert_array_equal(kept.summaries["exc.v"], plain.summaries["exc.v"])
    assert kept.populations == plain.populations and len(kept["exc"]) == len(plain["exc"]) > 20
    reads = []
    inner = FileArray._from_file
    monkeypatch.setattr(FileArray, "_from_file", lambda self, take: reads.append(self.place) or inner(self, take))
    assert "in the file" in repr(kept) and "float32 (400, 3)" in repr(kept["exc.v"]) and not reads
    assert repr(kept).count(f"{plain.rates()['exc']:.2f}") == 1
    values = kept["exc.v"]
    for key in (5, -1, slice(3, 9), (slice(None), 1), (2, 1), (slice(1, 40, 7), slice(0, 2)), np.int64(3)):
        np.testing.assert_array_equal(values[key], plain["exc.v"][key])
    for key in ([3, 1], (slice(None), [2, 0]), plain["exc.v"] > -60, slice(None, None, -1), (..., 1), None):
        np.testing.assert_array_equal(values[key], plain["exc.v"][key])
    assert len(reads) == 13 and set(reads) == {"/traces/exc.v/values"}


def test_what_is_computed_from_them_is_the_same(both):
    plain, kept, path = both
    one, other = kept.traces["exc.v"], plain.traces["exc.v"]
    np.testing.assert_array_equal(one.of(4), other.of(4))
    np.testing.assert_array_equal(one.values.mean(0), other.values.mean(0))
    np.testing.assert_array_equal(2 * one.values - one.times[:, None], 2 * other.values - other.times[:, None])
    np.testing.assert_array_equal(np.sort(one.values, axis=0), np.sort(other.values, axis=0))
    np.testing.assert_array_equal(list(one.times), other.times)
    assert one.values.dtype == np.float32 and kept["exc"].indices.dtype == np.int32
    for f in (
        lambda r: r["exc"].counts(),
        lambda r: r["exc"].of(5),
        lambda r: r["exc"].between(50.0, 120.0).times,
        lambda r: r.population_rate("exc", 10.0).rate,
        lambda r: r.isi("exc"),
        lambda r: r.rates()["exc"],
        lambda r: r.cv("exc"),
        lambda r: r.to_pandas()["spikes"].to_numpy(),
    ):
        np.testing.assert_array_equal(f(kept), f(plain))
    kept.save(path.with_name("copy.h5"))
    np.testing.assert_array_equal(bs.load(path.with_name("copy.h5"))["exc.v"], plain["exc.v"])
    again = bs.load(path, lazy=True)
    assert again.traces["exc.v"].in_file and not bs.load(path).traces["exc.v"].in_file
    np.testing.assert_array_equal(again["exc"].times, plain["exc"].times)
    joined = bs.Result.join([kept])
    np.testing.assert_array_equal(joined["exc.v"], plain["exc.v"])


def test_a_file_that_is_gone_replaced_or_damaged(sim, both, monkeypatch):
    plain, kept, path = both
    moved = path.with_name("moved.h5")
    path.rename(moved)
    with pytest.raises(
        FileNotFoundError, match=r"large\.h5 is gone, but this result reads /traces/exc\.v/values .* bs\.load"
    ):
        kept["exc.v"][3]
    with pytest.raises(FileNotFoundError, match=r"reads /spikes/exc/node_ids from it; put the file back"):
        kept.rates()
    moved.rename(path)
    np.testing.assert_array_equal(kept["exc.v"][3], plain["exc.v"][3])
    data = bytearray(path.read_bytes())
    start = data.find(np.asarray(plain["exc.v"][:4]).tobytes())
    data[start + 3] ^= 0xFF
    moved.write_bytes(data)
    moved.replace(path)
    with pytest.raises(FileFormatError, match=r"large\.h5.* (is damaged|cannot be read)"):
        kept["exc.v"][3]
    run(sim, path, key=1)
    with pytest.raises(FileFormatError, match="was written again since this result was made"):
        kept["exc.v"][3]


def test_more_than_the_memory(both, monkeypatch):
    _, kept, _ = both
    monkeypatch.setattr(lazy, "free_memory", lambda: 1000.0)
    assert kept["exc.v"][:10].shape == (10, 3)
    with pytest.raises(RunError, match=r"takes 4\.8 kB, 1 kB are free; read a part of it, for example values\[:1000\]"):
        kept["exc.v"].mean(0)
    assert lazy.is_large(kept["exc.v"].path)
    with pytest.raises(AttributeError, match="'nothing'"):
        _ = kept["exc.v"].nothing
