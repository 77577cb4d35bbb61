"""Which form of spike delivery is fastest for a network: a cost model with measured numbers."""

import math

from . import arguments

# Nanoseconds on one core (AMD EPYC with AVX-512, float32, bool spikes; tests/bench/event_forms.py, 4000 cells).
CALL = 1000.0  # a call, with one turn of the loop around it
SCAN = 0.1  # looking at one spike
CSR_EDGE = 1.5  # an edge of a row that spikes: a scattered addition; 1.0 in cache, 2.3 from memory
CSC_EDGE = 0.7  # any edge: one gathered read; 0.4 in cache, 0.8 to 2 from memory
DENSE_ENTRY = 0.08  # an entry of a row that spikes: contiguous; 0.05 in cache, 0.15 from memory
BLOCK_ENTRY = 0.3  # the same inside a block of 32 x 32; 0.25 in cache, 0.6 from memory
BYTES = {"csr": 8, "csc": 8, "dense": 4, "blocks": 4}  # per edge (weight and index) or entry


def density_costs(n_pre, n_post, n_edges, activity, *, block_entries=None):
    """Expected microseconds of one delivery of spikes by `event_csr`, `event_csc`, `event_dense` and `event_blocks`.

    Args:
        n_pre, n_post: numbers of cells.
        n_edges: number of edges.
        activity: expected fraction of cells that spike in one step, 0 ... 1.
        block_entries: entries of all blocks that `to_blocks` makes of the network (`blocks.size`); None: no blocks.

    Returns:
        dict of floats with the keys "csr", "csc", "dense" and, where asked for, "blocks". One core, native form: the
        order is meant, not the last 30 %.

    Raises:
        ValueError: a number is negative, or activity outside [0, 1].

    >>> {form: round(us) for form, us in density_costs(4000, 4000, 320_000, 0.001).items()}
    {'csr': 2, 'csc': 225, 'dense': 3}
    """
    sizes = (n_pre, n_post, n_edges, 0 if block_entries is None else block_entries)
    if min(sizes) < 0 or not 0 <= activity <= 1 or math.isnan(activity):
        arguments.refuse(
            "density_costs",
            f"sizes {sizes} and activity {activity}",
            "sizes are not negative and activity is a fraction of cells per step",
            "pass rate * dt as activity, with the rate in spikes per ms and dt in ms",
        )
    scan = CALL + SCAN * n_pre
    costs = {
        "csr": scan + CSR_EDGE * activity * n_edges,
        "csc": CALL + CSC_EDGE * n_edges,
        "dense": scan + DENSE_ENTRY * activity * n_pre * n_post,
    }
    if block_entries is not None:
        costs["blocks"] = scan + BLOCK_ENTRY * activity * block_entries
    return {form: cost / 1e3 for form, cost in costs.items()}


def density_choice(n_pre, n_post, n_edges, activity, *, block_entries=None, max_bytes=2**30):
    """The fastest form that fits: "csr", "csc", "dense" or "blocks" (see `density_costs`).

    Args:
        n_pre, n_post, n_edges, activity, block_entries: as in `density_costs`.
        max_bytes: largest memory for float32 weights and indices. "csr" needs the least for a sparse network and is
            returned where nothing fits.

    Returns:
        one name.

    Raises:
        ValueError: as `density_costs`.

    >>> density_choice(4000, 4000, 320_000, 0.001), density_choice(4000, 4000, 16_000_000, 0.01)
    ('csr', 'dense')
    """
    costs = density_costs(n_pre, n_post, n_edges, activity, block_entries=block_entries)
    entries = {"csr": n_edges, "csc": n_edges, "dense": n_pre * n_post, "blocks": block_entries}
    fitting = {form: cost for form, cost in costs.items() if entries[form] * BYTES[form] <= max_bytes}
    return min(fitting, key=fitting.get) if fitting else "csr"
