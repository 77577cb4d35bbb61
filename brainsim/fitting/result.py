"""What a fit has found."""

from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from ..errors import ParameterError
from ..tree import load_tree, save_tree


def best_of(losses) -> int:
    """Number of the least finite loss."""
    return int(np.argmin(np.where(np.isfinite(losses), losses, np.inf)))


@dataclass(eq=False)
class FitResult:
    """Best points and histories of a fit.

    Attributes:
        params: best parameters, name -> value; those that vary only. extra: the tree trained with them, or None.
        loss: of the best start. losses: (steps, starts) before every step, nan where a start was not finite.
        best_losses: (starts,). vectors: (starts, size) best vector of every start. status: of every start.
        values: name -> (starts, ...) parameters of all starts. labels: (size,) names of the numbers of a vector.
        steps: that were made. seconds: of wall time, compilation included.
    """

    params: dict
    extra: Any
    loss: float
    losses: np.ndarray
    best_losses: np.ndarray
    vectors: np.ndarray
    status: list
    values: dict
    labels: list
    at_bounds: list
    steps: int
    seconds: float
    method: str
    objective: Any = field(default=None, repr=False)

    @classmethod
    def of(cls, objective, loop, seconds, method):
        best = best_of(loop.best_losses)
        n = objective.bound.size
        values = jax.vmap(objective.bound.params)(loop.best[:, :n]) if n else {}
        x = loop.best[best]
        return cls(
            params={k: np.asarray(v)[best] for k, v in values.items()},
            extra=jax.tree.map(np.asarray, objective.unravel(x[n:])) if objective.has_extra else None,
            loss=float(loop.best_losses[best]),
            losses=loop.losses,
            best_losses=np.array(loop.best_losses),
            vectors=np.array(loop.best),
            status=loop.status,
            values={k: np.asarray(v) for k, v in values.items()},
            labels=list(objective.bound.labels),
            at_bounds=objective.bound.at_bounds(x[:n]),
            steps=int(loop.done),
            seconds=float(seconds),
            method=method if isinstance(method, str) else type(method).__name__,
            objective=objective,
        )

    @property
    def best(self) -> int:
        """Number of the start with the least loss."""
        return best_of(self.best_losses)

    def fitted(self):
        """The objective; ParameterError where the result comes from a file."""
        if self.objective is None:
            raise ParameterError("this result was loaded from a file, without its objective; run the fit again")
        return self.objective

    def __repr__(self):
        good = sum(s.startswith("ok") for s in self.status)
        bound = f"; at their bounds: {', '.join(self.at_bounds)}" if self.at_bounds else ""
        return (
            f"FitResult(loss {self.loss:.6g} after {self.steps} steps of {self.method} in {self.seconds:.1f} s; "
            f"{good} of {len(self.status)} starts finite{bound})"
        )

    def table(self) -> str:
        """Starts by loss, with their parameters that are single numbers."""
        names = [k for k, v in self.values.items() if v.ndim == 1]
        rows = [["start", "loss", *names, "status"]]
        for i in np.argsort(self.best_losses):
            rows.append(
                [str(i), f"{self.best_losses[i]:.5g}", *(f"{self.values[k][i]:.5g}" for k in names), self.status[i]]
            )
        width = [max(len(r[j]) for r in rows) for j in range(len(rows[0]))]
        return "\n".join("  ".join(c.ljust(w) for c, w in zip(r, width, strict=True)).rstrip() for r in rows)

    def plot(self, ax=None):
        """Loss of every start against the step; returns the axes."""
        from ..plot import losses

        return losses(self, ax=ax)

    def laplace(self, start=None):
        """Covariance and sloppy directions at the best point, or at that of another start; see `Laplace`."""
        from .laplace import laplace

        return laplace(self, start)

    def profile(self, label, values, steps=20):
        """Least loss with one number held at each of the values; see `brainsim.fitting.laplace.profile`."""
        from .laplace import profile

        return profile(self, label, values, steps)

    def save(self, path) -> None:
        """Everything but the objective, in an HDF5 file that is whole or absent."""
        kept = {k: v for k, v in vars(self).items() if k not in ("objective", "extra")}
        leaves = None if self.extra is None else [np.asarray(x) for x in jax.tree.leaves(self.extra)]
        save_tree(path, {**kept, "extra": leaves}, "fit result")

    @classmethod
    def load(cls, path) -> "FitResult":
        """What `save` wrote; `extra` comes back as the list of its arrays."""
        return cls(**load_tree(path, "fit result"))
