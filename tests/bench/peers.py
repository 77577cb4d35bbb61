"""Make the other simulators' own virtual environments and print what is in them.

    python tests/bench/peers.py                  # .venv-peers/ under the repository root, or $BRAINSIM_PEERS
    python tests/bench/peers.py simulators       # some of: simulators, brainpy, tvboptim, neurolib, jaxley, snntorch

Environments of their own, because their pins disagree: `simulators` (Brian2, NEST, scipy; Brian2 2.9.0 needs numpy < 2.4,
else its import fails), `brainpy` (BrainPy, brainevent and brainstate: the last generation that installs on Python 3.11, with
the jax that brainsim uses), `tvboptim` and `jaxley` (same jax), `snntorch` and `neurolib`. Nothing here is a dependency of brainsim. About 8 GB and
four minutes. Brian2's C++ needs g++.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(os.environ.get("BRAINSIM_PEERS") or Path(__file__).resolve().parents[2] / ".venv-peers")
PINS = {
    "simulators": [
        "numpy==2.3.5",
        "scipy==1.17.1",
        "sympy==1.14.0",
        "Cython==3.3.1",
        "setuptools<80",
        "brian2==2.9.0",
        "nest-simulator==3.10.0",
    ],
    "brainpy": [
        "jax==0.10.1",
        "jaxlib==0.10.1",
        "numba==0.68.1",
        "numpy==2.4.6",
        "brainpy==2.8.2",
        "brainpy_state==0.1.0",
        "brainevent==0.2.1",
        "brainstate==0.5.4",
        "braintools==0.3.0",
        "brainunit==0.5.2",
        "saiunit==0.5.2",
    ],
    "tvboptim": [
        "jax==0.10.1",
        "jaxlib==0.10.1",
        "numpy==2.4.6",
        "diffrax==0.7.2",
        "equinox==0.13.8",
        "tvboptim==0.4.0",
    ],
    "jaxley": ["jax==0.10.1", "jaxlib==0.10.1", "numpy==2.4.6", "jaxley==0.14.0"],
    "snntorch": ["numpy==2.4.6", "torch==2.15.0", "snntorch==1.0.0"],
    "neurolib": ["numpy==2.4.6", "scipy==1.17.1", "numba==0.68.1", "neurolib==0.6.2"],
}
VERSIONS = """
import importlib.metadata as m, json, sys
print(json.dumps({n: m.version(n) for n in sys.argv[1:]} | {"python": sys.version.split()[0]}))
"""


def python_of(name: str) -> Path:
    return ROOT / name / "bin" / "python"


def ready(name: str) -> bool:
    return (
        python_of(name).exists()
        and (ROOT / name / "pins.txt").exists()
        and (ROOT / name / "pins.txt").read_text() == "\n".join(PINS[name])
    )


def make(name: str) -> None:
    """Create or update one environment; does nothing when its pins are already installed."""
    if ready(name):
        return
    if not python_of(name).exists():
        venv.create(ROOT / name, with_pip=True)
    print(f"installing {' '.join(PINS[name])}", flush=True)
    subprocess.run([python_of(name), "-m", "pip", "install", "--quiet", *PINS[name]], check=True)
    (ROOT / name / "pins.txt").write_text("\n".join(PINS[name]))


def versions(name: str) -> dict[str, str]:
    wanted = [pin.split("=")[0].split("<")[0] for pin in PINS[name]]
    out = subprocess.run([python_of(name), "-c", VERSIONS, *wanted], check=True, capture_output=True, text=True).stdout
    return json.loads(out)


def main() -> None:
    names = sys.argv[1:] or list(PINS)
    unknown = [n for n in names if n not in PINS]
    if unknown:
        sys.exit(f"no peers' environment called {', '.join(unknown)}: write one of {', '.join(PINS)}")
    for name in names:
        make(name)
        print(name, json.dumps(versions(name)), flush=True)


if __name__ == "__main__":
    main()
