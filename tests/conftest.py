"""Flags and fixtures that every test shares.

Set before jax is imported: the CPU (unless JAX_PLATFORMS says otherwise), pictures without a screen, and one thread a
worker under pytest-xdist, so that two workers do not fight over two cores (XLA sizes its thread pool by NPROC).
The persistent compilation cache stays off: its files are not written atomically, so that two workers would read half a
program; an entry made on another kind of CPU is loaded all the same; and XLA writes pages of complaints at every load.
JAX_COMPILATION_CACHE_DIR turns it on.
"""

import gc
import itertools
import os
import zlib
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "Agg")
if "PYTEST_XDIST_WORKER" in os.environ:
    for _name in ("NPROC", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ.setdefault(_name, "1")

import hypothesis
import jax
import pytest

ROOT = Path(__file__).resolve().parent.parent

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "standard")

# No deadline: the first example of every shape compiles. The same examples every time: a failure can be repeated.
hypothesis.settings.register_profile("brainsim", deadline=None, derandomize=True, max_examples=25)
hypothesis.settings.load_profile("brainsim")


def pytest_collection_modifyitems(items):
    if not {"cuda", "gpu"} & set(os.environ["JAX_PLATFORMS"].split(",")):
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="needs a GPU: make test-gpu"))


_modules = itertools.count(1)


@pytest.fixture(scope="module", autouse=True)
def _programs_do_not_pile_up():
    """Compiled programs are dropped after every few modules: of all modules they take 8 GB of each worker."""
    yield
    if next(_modules) % 8 == 0:
        jax.clear_caches()
        gc.collect()


@pytest.fixture
def x64():
    """float64 inside the test."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def key(request):
    """A random key of the test's own: the same in every run, another one in every test and for every parameter."""
    return jax.random.key(zlib.crc32(request.node.name.encode()))


@pytest.fixture(scope="session")
def data():
    """Path of a file among the published data sets; the test is skipped where there are none.

    They are too large to ship: the folder is named by BRAINSIM_DATA, or lies beside the checkout as shared/data.
    """
    folder = Path(os.environ.get("BRAINSIM_DATA") or ROOT.parent / "shared" / "data")

    def find(name: str) -> Path:
        if not folder.is_dir():
            pytest.skip(f"no folder of published data: set BRAINSIM_DATA (looked for {name})")
        if not (folder / name).exists():
            pytest.skip(f"{name} is not in the folder of published data")
        return folder / name

    return find
