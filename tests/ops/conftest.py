"""Small graphs for the operator battery. Files here test brainsim.ops alone."""

import dataclasses

import jax
import numpy as np
import pytest

from brainsim.ops import reference

FAST = (
    "xla",
    "native",
    pytest.param("pallas", marks=pytest.mark.slow),  # interpreted; test_pallas.py is the quick part
    pytest.param("pallas_deterministic", marks=pytest.mark.slow),
)


@dataclasses.dataclass(frozen=True)
class Graph:
    """Random rows with duplicates and empty rows, delays beside them, and values of the given float dtype."""

    n_pre: int
    n_post: int
    indptr: np.ndarray
    indices: np.ndarray
    delays: np.ndarray
    rng: np.random.Generator
    n_slots: int = 4

    @property
    def n_edges(self):
        return len(self.indices)

    def floats(self, *shape, dtype=np.float64):
        return self.rng.normal(size=shape).astype(dtype)

    def spikes(self, *shape, fraction=0.4, dtype=np.float64):
        """Graded spikes: negative and not binary, most of them zero."""
        return (self.floats(*shape) * (self.rng.random(shape) < fraction)).astype(dtype)


def make_graph(n_pre=13, n_post=9, n_edges=60, seed=0):
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.integers(0, max(n_pre - 3, 1), n_edges))  # the last rows stay empty
    indptr = np.searchsorted(rows, np.arange(n_pre + 1)).astype(np.int32)
    indices = rng.integers(0, n_post, n_edges).astype(np.int32)
    return Graph(n_pre, n_post, indptr, indices, rng.integers(0, 4, n_edges).astype(np.int32), rng)


@pytest.fixture
def graph():
    return make_graph()


@pytest.fixture
def graph_of():
    return make_graph


@pytest.fixture(params=FAST)
def backend(request):
    if request.param == "native" and jax.default_backend() != "cpu":
        pytest.skip("native runs on the CPU only")
    return request.param


@pytest.fixture
def native():
    """For tests of rules alone: they are the same for every back end, and this one compiles fastest."""
    return "native" if jax.default_backend() == "cpu" else "pallas_deterministic"


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


@pytest.fixture(autouse=True)
def strict_promotion():
    with jax.numpy_dtype_promotion("strict"):
        yield


@pytest.fixture
def oracle():
    return reference
