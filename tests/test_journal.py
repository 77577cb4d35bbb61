"""Streamed results: chunks survive kills, cuts and full disks."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from test_storage import CHUNK, LIMIT, assert_same, make

from brainsim.errors import FileFormatError, RunError
from brainsim.journal import is_journal
from brainsim.result import Result
from brainsim.storage import StreamWriter, load

pytest.importorskip("h5py")


def test_a_stream_becomes_the_joined_result(tmp_path):
    path, parts = tmp_path / "run.h5", [make(k) for k in range(5)]
    with StreamWriter(path, dict(dt=0.1, seed=7, meta=dict(network="test"))) as stream:
        for k, part in enumerate(parts):
            stream.append(part)
            so_far = load(path)
            assert_same(so_far, Result.join(parts[: k + 1]))
            assert not so_far.complete and so_far.meta["network"] == "test"
    assert not is_journal(path)
    whole = load(path)
    assert_same(whole, Result.join(parts))
    assert (
        whole.complete and whole.meta["wall_s"] == 1.25 and whole.meta["network"] == "test" and "dt" not in whole.meta
    )
    stream.close()
    with pytest.raises(RunError, match="closed"):
        stream.append(make(5))


def test_what_is_known_last_is_given_to_close(tmp_path):
    stream = StreamWriter(tmp_path / "run.h5", dict(meta=dict(device="cpu", wall_s=0.0)))
    stream.append(make(0))
    stream.close(meta=dict(wall_s=9.0), summaries={"exc.v.mean": np.arange(3.0)})
    result = load(tmp_path / "run.h5")
    assert (
        result.meta["wall_s"] == 9.0 and result.meta["device"] == "cpu" and result["exc.v.mean"].tolist() == [0, 1, 2]
    )


def test_a_stream_that_fails_keeps_its_chunks(tmp_path):
    path = tmp_path / "run.h5"
    with pytest.raises(KeyboardInterrupt):
        with StreamWriter(path) as stream:
            stream.append(make(0))
            raise KeyboardInterrupt
    assert_same(load(path), make(0))
    assert not load(path).complete


def test_a_stream_checks_the_order_of_its_chunks(tmp_path):
    stream = StreamWriter(tmp_path / "run.h5", dict(t_start=5.0, dt=0.2, seed=3))
    assert load(tmp_path / "run.h5").t_start == 5.0 and load(tmp_path / "run.h5").seed == 3
    stream.append(make(0))
    with pytest.raises(RunError, match="starts at 100 ms"):
        stream.append(make(2))
    stream.close(complete=False)
    assert_same(load(tmp_path / "run.h5"), make(0))


def test_a_stream_without_chunks_closes(tmp_path):
    StreamWriter(tmp_path / "run.h5", dict(dt=0.1)).close(complete=False)
    assert load(tmp_path / "run.h5").duration == 0.0 and not load(tmp_path / "run.h5").complete


def test_any_cut_of_a_journal_gives_the_chunks_before_it(tmp_path):
    path, ends = tmp_path / "run.h5", []
    stream = StreamWriter(path)
    header = path.stat().st_size
    for k in range(3):
        stream.append(make(k))
        ends.append(path.stat().st_size)
    whole, cut = path.read_bytes(), tmp_path / "cut.h5"
    expected = [Result.join([make(k) for k in range(n)]) if n else None for n in range(4)]
    for size in [
        *np.linspace(header, len(whole), 60).astype(int),
        *ends,
        *(e - 1 for e in ends),
        *(e + 1 for e in ends[:2]),
    ]:
        cut.write_bytes(whole[:size])
        n = sum(size >= end for end in ends)
        if n:
            assert_same(load(cut), expected[n])
        else:
            assert load(cut).duration == 0.0
        if any(whole[size : min((e for e in ends if e > size), default=size)]) or size in ends:
            cut.write_bytes(whole[:size] + bytes(100))  # a tail that never reached the disk
            assert load(cut).duration == n * CHUNK
    cut.write_bytes(whole[: header - 1])
    with pytest.raises(FileFormatError, match="header"):
        load(cut)
    stream.close()


def test_a_damaged_chunk_is_reported_and_never_dropped_in_silence(tmp_path):
    path = tmp_path / "run.h5"
    stream = StreamWriter(path)
    stream.append(make(0))
    at = path.stat().st_size + 200
    stream.append(make(1))
    stream.append(make(2))
    content = bytearray(path.read_bytes())
    content[at] ^= 255
    path.write_bytes(content)
    with pytest.warns(UserWarning, match="chunk 1 is damaged"):
        assert_same(load(path), make(0))
    with pytest.warns(UserWarning), pytest.raises(FileFormatError, match="3 chunks were written but only 1"):
        stream.close()
    assert is_journal(path)


STREAM = """
import sys
sys.path.insert(0, {tests!r})
from test_storage import make
from brainsim.storage import StreamWriter
stream = StreamWriter({path!r})
for k in range(10_000):
    stream.append(make(k))
    print(k, flush=True)
    if k == {last}:
        stream.close()
        print("closed", flush=True)
        break
"""


def _start(path, last=10_000, before=""):
    code = before + STREAM.format(tests=os.path.dirname(__file__), path=str(path), last=last)
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("wait", [0.0, 0.003, 0.01, 0.04])
def test_a_killed_run_keeps_every_finished_chunk(tmp_path, wait):
    path = tmp_path / "run.h5"
    process = _start(path)
    process.stdout.readline()
    time.sleep(wait)
    process.send_signal(signal.SIGKILL)
    finished = 1 + len(process.stdout.read().split())
    process.communicate()
    result = load(path)
    n = round(result.duration / CHUNK)
    assert n in (finished, finished + 1) and not result.complete
    assert_same(result, Result.join([make(k) for k in range(n)]))


@pytest.mark.parametrize("wait", [0.0, 0.002, 0.006, 0.02])
def test_a_run_killed_while_it_closes_is_whole(tmp_path, wait):
    path, last = tmp_path / "run.h5", 20
    process = _start(path, last)
    for line in process.stdout:
        if line.strip() == str(last):
            break
    time.sleep(wait)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert_same(load(path), Result.join([make(k) for k in range(last + 1)]))


@pytest.mark.skipif(sys.platform == "win32", reason="needs setrlimit")
def test_a_full_disk_is_reported_and_keeps_finished_chunks(tmp_path):
    path = tmp_path / "run.h5"
    process = _start(path, before=LIMIT.format(n=100_000))
    out, err = process.communicate()
    finished = len(out.split())
    assert process.returncode and f"cannot write {path}" in err and f"{finished} finished chunks are safe" in err
    assert finished > 3 and load(path).duration == finished * CHUNK
    assert len(list(tmp_path.iterdir())) == 1


def test_closing_can_be_tried_again(tmp_path, monkeypatch):
    path = tmp_path / "run.h5"
    stream = StreamWriter(path)
    stream.append(make(0))
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", lambda *a: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(OSError, match="No space left"):
            stream.close()
    assert_same(load(path), make(0))
    stream.close()
    assert load(path).complete and not is_journal(path)
