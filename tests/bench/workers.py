"""What all benchmarks share: the machine, worker processes that print one JSON line, and where results go."""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
from pathlib import Path

import peers

HERE = Path(__file__).resolve().parent
THREADS = ("NPROC", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


def cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def hold(threads: int) -> None:
    """Keep this process and the children it starts from now on on `threads` cores, the last ones that it may use."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, ALL_CORES[-threads:])


ALL_CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def machine(threads) -> dict:
    return dict(cpu=cpu_model(), cores=os.cpu_count(), threads=threads, python=platform.python_version())


def headline(title: str, threads) -> None:
    m = machine(threads)
    print(f"{title}; {m['cpu']}, {m['cores']} cores, held on {threads}; Python {m['python']}", flush=True)


def worker(environment: str | None, script: str, options, threads: int = 1, timeout=None) -> dict:
    """The JSON line of one process, with `load_before`; or {"error": ...}.

    Args:
        environment: of peers.py, or None for this interpreter.
        script: file beside this one. options: its arguments.
        threads: cores it is held on and told about.
    """
    python = sys.executable if environment is None else peers.python_of(environment)
    if not Path(python).exists():
        return dict(error=f"its environment is missing: run python tests/bench/peers.py {environment}")
    env = os.environ | dict.fromkeys(THREADS, str(threads)) | {"JAX_PLATFORMS": os.environ.get("JAX_PLATFORMS", "cpu")}
    if environment is not None:  # the peers' interpreters must not see ours
        env = {k: v for k, v in env.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    hold(threads)
    command = [str(python), str(HERE / script), *map(str, options)]
    try:
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        return dict(error=f"longer than {timeout} s")
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        return dict(error=(done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1])
    return json.loads(lines[-1]) | dict(load_before=round(load, 2))


def peak_gb(children=False) -> float:
    """Largest resident memory so far of this process, or of the largest of its children that have ended, GB."""
    size = resource.getrusage(resource.RUSAGE_CHILDREN if children else resource.RUSAGE_SELF).ru_maxrss
    return size / (1e9 if sys.platform == "darwin" else 1e6)


def median(values) -> float:
    return float(statistics.median(values))


def write_json(path: Path | None, everything: dict) -> None:
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(everything, indent=1) + "\n")


def parser(doc: str) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--json", type=Path, help="also write everything here")
    return made


def numbers(text: str) -> list[int]:
    """A comma list of whole numbers."""
    return [int(part) for part in text.split(",")]
