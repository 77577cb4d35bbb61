"""A fit that survives its process: its state in a file, beside a description of what is fitted."""

import hashlib
import re
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from ..errors import ParameterError
from ..tree import load_tree, save_tree

KIND = "fit"


def fingerprint(loop, points, rates) -> dict:
    """What must be the same for a fit to go on: the program of its steps and all numbers in it, starts and settings.

    The program is compared as text: loss, inputs, network, space and method are in it.
    """
    from .. import __version__

    traced = loop.traced()
    text = re.sub(r"0x[0-9a-f]+|<weakref.*?>", "", str(traced.jaxpr))
    numbers = hashlib.blake2b(digest_size=16)
    for leaf in jax.tree.leaves((traced.consts, points, rates)):
        is_key = jnp.issubdtype(getattr(leaf, "dtype", np.float64), jax.dtypes.prng_key)
        numbers.update(np.ascontiguousarray(jax.random.key_data(leaf) if is_key else leaf).tobytes())
    return {
        "brainsim": __version__,
        "jax": jax.__version__,
        "space": ", ".join(loop.objective.bound.labels[:20]),
        "number of starts": len(points),
        "program (loss, inputs, network, bounds, method or noise)": hashlib.blake2b(
            text.encode(), digest_size=16
        ).hexdigest(),
        "data (or values, starts, key, or steps of the nudging)": numbers.hexdigest(),
    }


class Resume:
    """The file of a fit, written at most every `every` seconds and at the end."""

    def __init__(self, path: Path, print_: dict, steps: int, every: float = 5.0):
        self.path, self.print, self.steps, self.every, self.written = path, print_, steps, every, 0.0

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
        if kept["state"]["done"] > self.steps:
            raise ParameterError(
                f"{self.path} holds a fit that has taken {kept['state']['done']} steps, here steps={self.steps}; give "
                f"at least as many, or another file"
            )
        return kept["state"]

    def save(self, state: dict, last: bool):
        now = time.perf_counter()
        if last or now - self.written >= self.every:
            save_tree(self.path, {"print": self.print, "state": state}, KIND)
            self.written = time.perf_counter()
