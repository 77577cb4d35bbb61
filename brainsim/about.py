"""What is installed, what it runs on, and how to cite it: `bs.info()`, `bs.cite()`."""

import os
import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import jax

from .errors import BrainsimError

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numba", "h5py", "numpy", "rich")
OPTIONAL = ("matplotlib", "pandas", "xarray", "neo", "networkx", "distributed")
PLUGINS = ("jax-cuda12-plugin", "jax-cuda13-plugin")
DRIVER_OF_CUDA13 = 580  # the oldest driver branch that runs CUDA 13; older ones need the CUDA 12 wheels


def installed(package: str) -> str | None:
    """Version of an installed distribution, or None; nothing is imported."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def gpus() -> list[str] | None:
    """NVIDIA GPUs as `name, driver, memory`, one each; [] if there are none, None without `nvidia-smi`."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return None
    query = [command, "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()] if done.returncode == 0 else []


def devices() -> tuple[list[str], str]:
    """What jax sees, for example `["gpu NVIDIA H200"]`, and the error if it sees nothing. Initialises the backend."""
    try:
        return [" ".join(dict.fromkeys((device.platform, device.device_kind))) for device in jax.devices()], ""
    except RuntimeError as error:
        return [], str(error).splitlines()[0]


def why_no_gpu(found: list[str] | None, plugins: dict[str, str], jaxlib: str, platforms: str) -> tuple[str, str]:
    """Why jax does not use a GPU, and what to type.

    Args:
        found: the machine's GPUs as `gpus()` tells them.
        plugins: installed CUDA plugins of jax, name to version.
        jaxlib: version of jaxlib.
        platforms: value of `JAX_PLATFORMS`, "" if it is not set.
    """
    if found is None:
        return "nvidia-smi is not on the path: no NVIDIA GPU, or no driver", ""
    if not found:
        return "nvidia-smi lists no GPU: the driver does not run", "nvidia-smi"
    if platforms and not {"cuda", "gpu"} & set(platforms.split(",")):
        return f"JAX_PLATFORMS={platforms} leaves the GPU out", "unset JAX_PLATFORMS"
    driver = found[0].split(",")[1].strip() if found[0].count(",") >= 2 else ""
    major = driver.split(".")[0]
    cuda = "cuda12" if major.isdigit() and int(major) < DRIVER_OF_CUDA13 else "cuda13"
    fix = f'pip install "jax[{cuda}]=={jaxlib}"'
    if not plugins:
        return f"a GPU (driver {driver or 'unknown'}) but no CUDA plugin of jax", fix
    if len(plugins) > 1:
        extra = "jax-cuda12" if cuda == "cuda13" else "jax-cuda13"
        return "two CUDA plugins of jax; they exclude each other", f"pip uninstall {extra}-plugin {extra}-pjrt"
    ((name, its),) = plugins.items()
    if its != jaxlib:
        return f"{name} {its} does not fit jaxlib {jaxlib}", fix
    return f"{name} {its} is installed but does not start; jax says why in its own messages", fix


def operators() -> list[tuple[str, str]]:
    """The back end that each platform gets, and which can run; a broken installation is told, not raised."""
    try:
        from brainsim.ops import backends

        table = backends()
    except Exception as error:
        return [("broken", f"{type(error).__name__}: {error}")]
    lines = [(f"on {platform}", name) for platform, name in table.pop("choice").items()]
    which = {}
    for operator, states in table.items():
        for name, state in states.items():
            which.setdefault((name, state), []).append(operator)
    named = lambda names: "all operators" if len(names) == len(table) else ", ".join(names)
    return lines + [(name, f"{state}: {named(names)}") for (name, state), names in which.items()]


def cache() -> str:
    """Where compiled programs are kept between processes, and how large that is."""
    folder = jax.config.jax_compilation_cache_dir
    if not folder:
        return "off; brainsim.enable_cache() turns it on"
    size = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
    return f"{folder} ({size / 1e6:.1f} MB)"


def report() -> dict[str, list[tuple[str, str]]]:
    """All that `bs.info()` prints: sections of (label, text)."""
    seen, error = devices()
    found, platforms = gpus(), os.environ.get("JAX_PLATFORMS", "")
    device = [("jax uses", ", ".join(seen) or f"nothing: {error}")]
    if found:
        device.append(("machine has", "; ".join(found)))
    if not any(name.startswith(("gpu", "cuda")) for name in seen):
        plugins = {name: text for name in PLUGINS if (text := installed(name))}
        reason, fix = why_no_gpu(found, plugins, installed("jaxlib") or "", platforms)
        device += [("no GPU", reason), ("to fix", fix)][: 2 if fix else 1]
    device += [("cores", str(os.cpu_count())), ("float64", "on" if jax.config.jax_enable_x64 else "off")]
    return {
        "versions": [
            ("brainsim", installed("brainsim-jax") or "not installed"),
            ("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
            *((name, installed(name) or "missing") for name in PACKAGES),
            *((name, installed(name) or "not installed (optional)") for name in OPTIONAL),
        ],
        "device": device,
        "operators": operators(),
        "compiled programs": [("cache", cache())],
    }


def info() -> None:
    """Print versions, devices, why there is no GPU, operator back ends and the compile cache.

    Paste the output into a bug report.
    """
    for section, lines in report().items():
        print(section)
        for label, text in lines:
            print(f"  {label:<12} {text}")


def cite(style: str = "text") -> str:
    """How to cite brainsim.

    Args:
        style: "text" or "bibtex".
    """
    number = installed("brainsim-jax") or ""
    if style == "text":
        return f"brainsim developers. brainsim: a differentiable brain simulator on JAX (version {number})."
    if style == "bibtex":
        return (
            "@software{brainsim,\n  author  = {{brainsim developers}},\n"
            "  title   = {brainsim: a differentiable brain simulator on {JAX}},\n"
            f"  version = {{{number}}},\n}}"
        )
    raise BrainsimError(f"there is no citation style {style!r}; write 'text' or 'bibtex'")
