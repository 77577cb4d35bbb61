"""A fit that survives its process: its state in a file, beside a description of what is fitted."""

import hashlib
import time
from pathlib import Path

import jax
import numpy as np

from ..errors import ParameterError
from ..tree import load_tree, save_tree

KIND = "fit"


def fingerprint(loop, sim, data, steps, key, noise) -> dict:
    """What must be the same for a fit to go on: names, data and settings, as text and hashes."""
    from .. import __version__

    o = loop.objective
    shown = [f"{b.names} {type(b.how).__name__} {b.shape} {b.how.limits()}" for b in o.bound.blocks]
    digest = hashlib.blake2b(digest_size=16)
    for leaf in jax.tree.leaves((data, o.bound.base, o.nudge)):
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return {
        "brainsim": __version__,
        "jax": jax.__version__,
        "space": "; ".join(shown),
        "method": repr(loop.method)[:200].partition(" at 0x")[0],
        "adjoint": repr(o.adjoint),
        "data and values": digest.hexdigest(),
        "starts": int(loop.losses.shape[1]),
        "steps": int(steps),
        "key": int(key),
        "noise": str(noise),
        "duration": str(o.duration),
        "dt": float(sim.dt),
    }


class Resume:
    """The file of a fit, written at most every `every` seconds and at the end."""

    def __init__(self, path: Path, print_: dict, every: float = 5.0):
        self.path, self.print, self.every, self.written = path, print_, every, 0.0

    def load(self):
        """The state that was kept; None without a file.

        Raises:
            ParameterError: the file belongs to another fit.
            FileFormatError: it is damaged.
        """
        if not self.path.exists():
            return None
        kept = load_tree(self.path, KIND)
        other = [k for k, v in self.print.items() if kept["print"].get(k) != v]
        if other:
            k = other[0]
            raise ParameterError(
                f"{self.path} holds another fit: its {k} is {kept['print'].get(k)!r:.80}, here {self.print[k]!r:.80}; "
                f"give another file, or delete this one"
            )
        return kept["state"]

    def save(self, state: dict, last: bool):
        now = time.perf_counter()
        if last or now - self.written >= self.every:
            save_tree(self.path, {"print": self.print, "state": state}, KIND)
            self.written = time.perf_counter()
