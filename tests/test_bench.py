"""Benchmarks: the page names all of them, and sizes that are no multiple of a block work."""

import importlib.util
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from brainsim.ops.block_sparse import event_blocks

BENCH = Path(__file__).parent / "bench"


def script(name):
    spec = importlib.util.spec_from_file_location(f"bench_{name}", BENCH / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_names_every_script():
    text = (BENCH / "README.md").read_text()
    started = ("brainsim_", "peer_")
    missing = [p.name for p in BENCH.glob("*.py") if not p.name.startswith(started) and f"`{p.name}`" not in text]
    assert not missing


@pytest.mark.parametrize("n", (20, 64, 75))
def test_clustered_networks_of_any_size(n):
    forms = script("event_forms")
    blocks, indptr, columns = forms.clustered(np.random.default_rng(0), n, 0.8)
    count = -(-n // forms.BLOCK)
    assert indptr.shape == (count + 1,) and 0 < len(columns) <= count**2
    dense = np.zeros((count * forms.BLOCK, count * forms.BLOCK))
    for row in range(count):
        for k in range(int(indptr[row]), int(indptr[row + 1])):
            place = slice(row * forms.BLOCK, (row + 1) * forms.BLOCK), int(columns[k]) * forms.BLOCK
            dense[place[0], place[1] : place[1] + forms.BLOCK] = blocks[k]
    spikes = np.random.default_rng(1).random(n) < 0.3
    found = event_blocks(jnp.asarray(spikes), blocks, indptr, columns, n_post=n)
    np.testing.assert_allclose(found, spikes @ dense[:n, :n], rtol=1e-5)
