"""Files: round trips bit for bit, damage that is named, a full disk that harms nothing."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from brainsim.errors import FileFormatError, ParameterError
from brainsim.result import Result, Spikes, Trace
from brainsim.storage import load, load_result, load_tree, save_tree

h5py = pytest.importorskip("h5py")
CHUNK = 50.0  # ms


def make(k=0, n_steps=500):
    """Chunk k of a run: deterministic."""
    rng, t_start = np.random.default_rng(k), k * CHUNK
    spikes = {}
    for name, n_cells in (("L2/3E", 6), ("inh", 4)):
        steps = rng.integers(0, n_steps, 30)
        spikes[name] = Spikes(t_start + (steps + 1) * 0.1, rng.integers(0, n_cells, 30), n_cells)
    trace = Trace(
        rng.normal(size=(n_steps, 2)).astype(np.float32), t_start + (np.arange(n_steps) + 1) * 0.1, [0, 3], "mV"
    )
    summaries = {"mean": {"v": rng.normal(size=4), "n": np.int64(k + 1)}, "label": "x", "pair": (1, [2.5, None])}
    meta = dict(populations={"L2/3E": 6, "inh": 4}, wall_s=0.25, device="cpu", nested={"a": [1, 2]})
    return Result(spikes, {"L2/3E.v": trace}, summaries, CHUNK, t_start, 0.1, 7, meta=meta)


def assert_same(a, b):
    """Two results hold the same bits."""
    assert list(a.spikes) == list(b.spikes) and list(a.traces) == list(b.traces)
    for name in a.spikes:
        assert a.spikes[name].n_cells == b.spikes[name].n_cells
        for part in ("times", "indices"):
            x, y = getattr(a.spikes[name], part), getattr(b.spikes[name], part)
            assert x.dtype == y.dtype and np.array_equal(x, y)
    for name in a.traces:
        assert a.traces[name].unit == b.traces[name].unit
        for part in ("values", "times", "indices"):
            x, y = getattr(a.traces[name], part), getattr(b.traces[name], part)
            assert x.dtype == y.dtype and np.array_equal(x, y)
    for fact in ("duration", "t_start", "dt", "seed", "ok"):
        assert getattr(a, fact) == getattr(b, fact)
    np.testing.assert_equal(a.summaries, b.summaries)


def test_a_result_comes_back_bit_for_bit(tmp_path):
    result, path = make(3), tmp_path / "run.h5"
    result.save(path)
    for again in (Result.load(path), load(path), load(str(path))):
        assert_same(again, result)
        assert again.meta == result.meta and again.complete
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run.h5"]


@pytest.mark.parametrize(
    "result", [Result(), Result({"a": Spikes([], [], 3)}, {"a.v": Trace(np.zeros((0, 2)), [], [0, 1])})]
)
def test_empty_results_come_back(tmp_path, result):
    result.save(tmp_path / "empty.h5")
    assert_same(load(tmp_path / "empty.h5"), result)


def test_spikes_are_in_sonata_layout(tmp_path):
    make().save(tmp_path / "run.h5")
    with h5py.File(tmp_path / "run.h5") as file:
        assert file.attrs["magic"] == 0x0A7A and file.attrs["version"].tolist() == [0, 1]
        group = file["/spikes/inh"]
        assert group["timestamps"].attrs["units"] == "ms" and group["node_ids"].dtype == np.uint64
        assert h5py.check_enum_dtype(group.attrs.get_id("sorting").dtype) == {"none": 0, "by_id": 1, "by_time": 2}
        assert file["/traces/L2%2F3E.v"].attrs["unit"] == "mV"
        assert json.loads(file.attrs["meta"])["dt"] == 0.1


def test_libsonata_reads_our_spikes(tmp_path):
    libsonata = pytest.importorskip("libsonata")
    result = make()
    result.save(tmp_path / "run.h5")
    reader = libsonata.SpikeReader(str(tmp_path / "run.h5"))
    assert sorted(reader.get_population_names()) == ["L2%2F3E", "inh"]
    population = reader["inh"]
    assert population.sorting == "by_time"
    cells, times = zip(*population.get())
    assert list(times) == result["inh"].times.tolist() and list(cells) == result["inh"].indices.tolist()


def test_long_provenance_fits(tmp_path):
    result = replace(make(), meta={"parameters": {f"pop{i}.tau": float(i) for i in range(10_000)}})
    result.save(tmp_path / "run.h5")
    assert load(tmp_path / "run.h5").meta == result.meta


def test_any_cut_of_a_file_is_reported(tmp_path):
    make().save(tmp_path / "run.h5")
    whole, path = (tmp_path / "run.h5").read_bytes(), tmp_path / "cut.h5"
    for size in np.linspace(0, len(whole) - 1, 40).astype(int):
        path.write_bytes(whole[:size])
        with pytest.raises(FileFormatError, match=r"cut\.h5"):
            load(path)


def test_flipped_bits_are_reported(tmp_path):
    result = make()
    result.save(tmp_path / "run.h5")
    whole = (tmp_path / "run.h5").read_bytes()
    at = whole.index(result.traces["L2/3E.v"].values.tobytes()[:64])
    (tmp_path / "run.h5").write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    with pytest.raises(FileFormatError, match=r"/traces/L2%2F3E\.v/values cannot be read"):
        load(tmp_path / "run.h5")


def _damage(path, change):
    make().save(path)
    with h5py.File(path, "r+") as file:
        change(file)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda f: f.attrs.__delitem__("magic"), "'magic' is None"),
        (lambda f: f.attrs.__setitem__("magic", 1), "not 0x0A7A"),
        (lambda f: f.attrs.__setitem__("version", [9, 0]), r"'version' is \(9, 0\)"),
        (lambda f: f.attrs.__setitem__("brainsim_schema", 2), "newer brainsim"),
        (lambda f: f.attrs.__delitem__("meta"), "'meta'"),
        (lambda f: f.__delitem__("spikes/inh/node_ids"), "/spikes/inh/node_ids is missing"),
        (lambda f: f.__delitem__("traces/L2%2F3E.v/times"), "/traces/L2%2F3E.v/times is missing"),
        (lambda f: f.__delitem__("traces"), "/traces is missing"),
        (lambda f: f.__delitem__("summaries/mean/v"), None),
        (lambda f: f["spikes/inh"].attrs.__setitem__("n_cells", 1), "/spikes/inh: spikes of cells"),
        (lambda f: f["spikes/inh/timestamps"].attrs.__setitem__("units", "s"), "/spikes/inh/timestamps is in 's'"),
    ],
)
def test_damage_is_named_with_its_path(tmp_path, change, message):
    _damage(tmp_path / "run.h5", change)
    if message is None:
        assert "v" not in load(tmp_path / "run.h5").summaries["mean"]
        return
    with pytest.raises(FileFormatError, match=message):
        load(tmp_path / "run.h5")


def test_other_files_are_refused_by_name(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file .*absent\.h5"):
        load(tmp_path / "absent.h5")
    with pytest.raises(FileNotFoundError, match="no folder"):
        make().save(tmp_path / "nowhere" / "run.h5")
    (tmp_path / "text.h5").write_text("hello")
    with pytest.raises(FileFormatError, match=r"text\.h5"):
        load(tmp_path / "text.h5")
    save_tree(tmp_path / "tree.h5", {"a": 1}, "checkpoint")
    with pytest.raises(FileFormatError, match="'checkpoint', not a 'result'"):
        load_result(tmp_path / "tree.h5")


def test_trees_come_back_bit_for_bit(tmp_path):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    nan_with_payload = np.array([0x7FC12345, 0xFFC00001], np.uint32).view(np.float32)
    tree = {
        "rings": {"exc->inh": np.arange(12, dtype=np.float32).reshape(3, 4), "L2/3": np.array([[True], [False]])},
        "keys": np.array([1, 2**32 - 1], np.uint32), "step": np.int64(2**60), "zero_d": np.array(1.5),
        "nan": nan_with_payload,
        "half": np.array([1, 2], ml_dtypes.bfloat16), "empty": np.zeros((0, 3), np.int8), "c": np.array([1 + 2j]),
        "names": np.array(["AVAL", "µ", "a-long-name"]), "scalar": np.float32(0.1), "flag": np.bool_(True),
        "plain": {"int": 2**70, "float": 0.1, "nan": float("inf"), "text": "dt = 0.1 ms\n", "none": None, "yes": True},
        "list": [np.ones(2), (1, "a", {})], "%2F": {}, ".": 1, "big": np.array([1.0], ">f8"),
    }  # fmt: skip
    save_tree(tmp_path / "t.h5", tree, "checkpoint")
    for again in (load_tree(tmp_path / "t.h5", "checkpoint"), load(tmp_path / "t.h5")):
        _assert_equal_trees(again, tree)


def _assert_equal_trees(a, b):
    assert type(a) is type(b)
    if isinstance(b, dict):
        assert list(a) == list(b)
        for key in b:
            _assert_equal_trees(a[key], b[key])
    elif isinstance(b, list | tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b):
            _assert_equal_trees(x, y)
    elif isinstance(b, np.ndarray | np.generic):
        assert a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    else:
        assert a == b


@pytest.mark.parametrize("tree", [{"a": object()}, {1: 2}, {"": 1}, {"a": {"b": np.array([object()])}}, 3])
def test_what_cannot_be_saved_is_refused_and_harms_nothing(tmp_path, tree):
    save_tree(tmp_path / "t.h5", {"old": 1}, "checkpoint")
    with pytest.raises(ParameterError):
        save_tree(tmp_path / "t.h5", tree, "checkpoint")
    assert load(tmp_path / "t.h5") == {"old": 1} and len(list(tmp_path.iterdir())) == 1


LIMIT = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({n}, {n}))\n"


@pytest.mark.skipif(sys.platform == "win32", reason="needs setrlimit")
def test_a_full_disk_leaves_the_old_file(tmp_path):
    path = tmp_path / "t.h5"
    save_tree(path, {"old": 1}, "checkpoint")
    code = "import numpy as np\nfrom brainsim.storage import save_tree\n"
    code += LIMIT.format(n=100_000) + f"save_tree({str(path)!r}, {{'new': np.ones(10**6)}}, 'checkpoint')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and f"cannot write {path}" in done.stderr and "untouched" in done.stderr
    assert load(path) == {"old": 1} and len(list(tmp_path.iterdir())) == 1


def test_importing_storage_imports_no_h5py():
    code = "import sys, brainsim.storage, brainsim.export; print(sorted({'h5py', 'pandas', 'neo'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
