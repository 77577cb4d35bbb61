"""The choice between csr, csc, dense and blocks: limits where the answer is known."""

import math

import numpy as np
import pytest

from brainsim.ops.block_sparse import to_blocks
from brainsim.ops.density import density_choice, density_costs


@pytest.mark.parametrize("n_edges, activity, expected", [
    (80_000, 0.001, "csr"), (320_000, 0.01, "csr"),  # sparse and quiet: follow the events
    (80_000, 0.9, "csc"),  # sparse and loud: nothing scattered
    (16_000_000, 0.001, "dense"), (8_000_000, 0.5, "dense"),  # full: no index
])  # fmt: skip
def test_known_cases(n_edges, activity, expected):
    assert density_choice(4000, 4000, n_edges, activity) == expected


def test_blocks_where_the_network_is_clustered():
    """Full blocks on the diagonal: 32 times fewer entries than the matrix, none of them scattered."""
    n, size = 256, 32
    rows = np.arange(n)
    indices = (rows[:, None] // size * size + np.arange(size)[None, :]).reshape(-1)
    blocks, _, _ = to_blocks(np.arange(n + 1) * size, indices, 1.0, size, n_post=n)
    assert blocks.size == n * size
    assert density_choice(n, n, len(indices), 0.3, block_entries=blocks.size) == "blocks"
    assert "blocks" not in density_costs(n, n, len(indices), 0.3)


def test_memory_excludes_the_matrix():
    assert density_choice(100_000, 100_000, 3 * 10**9, 0.01, max_bytes=2**40) == "dense"
    assert density_choice(100_000, 100_000, 3 * 10**9, 0.01, max_bytes=30 * 10**9) == "csr"
    assert density_choice(10, 10, 100, 0.5, max_bytes=0) == "csr"


def test_costs_rise_with_activity_except_for_csc():
    quiet, loud = (density_costs(1000, 1000, 50_000, a, block_entries=200_000) for a in (0.01, 0.1))
    assert quiet["csc"] == loud["csc"]
    assert all(quiet[form] < loud[form] for form in ("csr", "dense", "blocks"))


@pytest.mark.parametrize("given", [(-1, 1, 1, 0.1), (1, 1, 1, 1.5), (1, 1, 1, math.nan)])
def test_refusals(given):
    with pytest.raises(ValueError, match="activity is a fraction"):
        density_choice(*given)
