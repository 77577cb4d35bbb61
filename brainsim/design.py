"""What a compiled network may choose without changing its results: layouts of edges, lists, windows, threads."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Design:
    """Limits by which the layout of a network is chosen, and choices made beforehand, for example by `sim.tune()`.

    Bundles are numbered as `sim.explain()` lists them. What a network cannot have is refused or, where it makes no
    sense (blocks of a bundle that the network lacks), has no effect.

    Args:
        cache: bytes of receivers and their future that stay in the cache of a core.
        shortest: edges of a row per block, below which walking the pointers costs more than the cache saves.
        permuted: most edges with weights of their own that are permuted.
        lists: whether a host run on the CPU lists its spikes once, instead of looking for them in every delivery.
        merged: bundle -> whether its projections share rows.
        blocks: bundle -> number of blocks of receivers.
        levels: steps of the nested windows of delayed couplings, each a divisor of the next; None: by measured costs.
        threads: most threads of one operator call in a host run; None: those of the process.
    """

    cache: int = 3 * 2**18
    shortest: int = 24
    permuted: int = 2**24
    lists: bool = True
    merged: Mapping[int, bool] = field(default_factory=dict)
    blocks: Mapping[int, int] = field(default_factory=dict)
    levels: tuple[int, ...] | None = None
    threads: int | None = None
