"""The `brainsim` command and what it reports."""

import signal
import subprocess
import sys

import jax
import pytest

import brainsim as bs
from brainsim import about, cli
from brainsim.errors import BrainsimError, ParameterError


def test_version(capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"brainsim {bs.__version__}\n"


@pytest.mark.parametrize("words", [[], ["fly"], ["demo", "--speed", "9"]])
def test_wrong_usage_ends_with_2(words, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(words)
    assert end.value.code == 2
    assert "usage: brainsim" in capsys.readouterr().err


def test_module_is_the_command(tmp_path):
    done = subprocess.run([sys.executable, "-m", "brainsim", "cite"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0
    assert "brainsim developers" in done.stdout


def test_info_tells_what_a_bug_report_needs(capsys):
    assert cli.main(["info"]) == 0
    out = capsys.readouterr().out
    for word in (
        "versions",
        "python",
        "jaxlib",
        "numba",
        "flax",
        "h5py",
        "device",
        "cpu",
        "no GPU",
        "operators",
        "cache",
    ):
        assert word in out
    assert "broken" not in out


def test_info_survives_broken_operators(monkeypatch, capsys):
    """It is the command that one runs when something does not work."""
    monkeypatch.setitem(sys.modules, "brainsim.ops", None)
    assert cli.main(["info"]) == 0
    assert "broken       ModuleNotFoundError" in capsys.readouterr().out


def test_info_tells_the_cache(tmp_path):
    before = jax.config.jax_compilation_cache_dir
    (tmp_path / "program").write_bytes(bytes(2_000_000))
    try:
        jax.config.update("jax_compilation_cache_dir", str(tmp_path))
        assert about.cache() == f"{tmp_path} (2.0 MB)"
        jax.config.update("jax_compilation_cache_dir", None)
        assert about.cache().startswith("off")
    finally:
        jax.config.update("jax_compilation_cache_dir", before)


H200 = ["NVIDIA H200, 570.86, 143771 MiB"]
BOTH = {"jax-cuda12-plugin": "0.10.1", "jax-cuda13-plugin": "0.10.1"}
NEWER = ["NVIDIA H200, 580.65, 143771 MiB"]


@pytest.mark.parametrize("found, plugins, platforms, reason, fix", [
    (None, {}, "", "nvidia-smi is not on the path", ""),
    ([], {}, "", "lists no GPU", "nvidia-smi"),
    (H200, {}, "cpu", "JAX_PLATFORMS=cpu leaves the GPU out", "unset JAX_PLATFORMS"),
    (H200, {}, "", "driver 570.86", 'pip install "jax[cuda12]==0.10.1"'),
    (NEWER, {}, "cuda,cpu", "no CUDA plugin", 'pip install "jax[cuda13]==0.10.1"'),
    (NEWER, {"jax-cuda13-plugin": "0.9.0"}, "", "jax-cuda13-plugin 0.9.0 does not fit jaxlib 0.10.1", "0.10.1"),
    (NEWER, BOTH, "", "exclude", "uninstall jax-cuda12-plugin"),
    (H200, BOTH, "", "exclude", "uninstall jax-cuda13-plugin"),
    (NEWER, {"jax-cuda13-plugin": "0.10.1"}, "", "does not start", "pip install"),
    (["odd line"], {}, "", "driver unknown", "cuda13"),
])  # fmt: skip
def test_why_there_is_no_gpu(found, plugins, platforms, reason, fix):
    why, what = about.why_no_gpu(found, plugins, "0.10.1", platforms)
    assert reason in why
    assert fix in what


@pytest.mark.parametrize("script, gpus", [
    ("echo 'NVIDIA H200, 570.86, 143771 MiB'; echo", H200),
    ("echo 'NVIDIA-SMI has failed' ; exit 9", []),
])  # fmt: skip
def test_gpus_are_those_that_nvidia_smi_lists(script, gpus, tmp_path, monkeypatch):
    command = tmp_path / "nvidia-smi"
    command.write_text(f"#!/bin/sh\n{script}\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert about.gpus() == gpus


def test_cite(capsys):
    assert cli.main(["cite", "--bibtex"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("@software{brainsim,") and bs.__version__ in out
    assert out.count("{") == out.count("}")
    assert bs.__version__ in bs.cite()
    with pytest.raises(BrainsimError, match="write 'text' or 'bibtex'"):
        bs.cite("apa")


@pytest.mark.parametrize("error, status, said", [
    (KeyboardInterrupt(), 130, "interrupted"),
    (ParameterError("tau is -1; write a positive number"), 1, "ParameterError: tau is -1; write a positive number"),
    (ModuleNotFoundError("No module named 'matplotlib'", name="matplotlib"), 1, "pip install matplotlib"),
    (FileExistsError(17, "File exists", "out"), 1, "out"),
])  # fmt: skip
def test_errors_are_one_line(error, status, said, monkeypatch, capsys):
    def fail(_):
        raise error

    monkeypatch.setattr(cli, "_info", fail)
    assert cli.main(["info"]) == status
    told = capsys.readouterr()
    assert said in told.err and told.err.count("\n") == 1
    assert told.out == ""


def test_a_bug_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr(cli, "_info", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cli.main(["info"])


def test_output_may_be_cut(tmp_path):
    """`brainsim info | head -1` ends without a traceback."""
    command = f"{sys.executable} -m brainsim info | head -1"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == "versions\n"
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr


def test_demo_refuses_a_file_as_folder(tmp_path, capsys):
    (tmp_path / "taken").write_text("")
    assert cli.main(["demo", "--quick", "--out", str(tmp_path / "taken")]) == 1
    assert "taken" in capsys.readouterr().err


def test_demo_draws_the_worm(tmp_path):
    """The first thing that a newcomer runs, in a folder and an interpreter of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "brainsim", "demo", "--quick", "--out", "pictures"],
        cwd=tmp_path, capture_output=True, text=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    pictures = list((tmp_path / "pictures").glob("*.png"))
    assert pictures and all(picture.stat().st_size > 5_000 for picture in pictures)


def test_interrupt_ends_with_130_and_no_traceback(tmp_path):
    # a shell that runs this in the background makes its children ignore the signal
    code = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
from brainsim import cli
cli._info = lambda _: (print("ready", flush=True), time.sleep(60))
sys.exit(cli.main(["info"]))
"""
    run = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stdout=-1, stderr=-1, text=True)
    assert run.stdout.readline() == "ready\n"
    run.send_signal(signal.SIGINT)
    _, err = run.communicate(timeout=60)
    assert run.returncode == 130
    assert err == "brainsim: interrupted\n"


def test_a_demo_that_does_not_agree_fails(monkeypatch, tmp_path):
    from brainsim.models.circuits import worm_demo

    monkeypatch.setattr(worm_demo, "main", lambda out, quick: 1)
    assert cli.main(["demo", "--out", str(tmp_path)]) == 1
