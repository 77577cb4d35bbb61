"""CMA-ES by the `cma` package: no derivatives, the same objective (Hansen 2016, arXiv:1604.00772)."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np

from .. import extras
from ..errors import ParameterError
from ..program import dtype
from .loop import annealing, stalled
from .objective import words_of


class Evolution:
    """One search per start; candidates of a generation run side by side."""

    def __init__(self, objective, method, points, key, noise, rates, width):
        self.objective, self.method = objective, method
        self.done, self.chunk, self.rates = 0, 1, rates
        cma = extras.load("cma")
        reach = objective.reach
        outside = [label for x in points for label, v, r in zip(objective.bound.labels, x, reach) if abs(v) >= r]
        if outside:
            raise ParameterError(
                f"{outside[0]} starts within 0.03 % of a bound, where cma does not search; start further inside, "
                f"or widen the bounds"
            )
        seeds = np.asarray(jax.random.bits(jax.random.fold_in(key, 2), (len(points),), jnp.uint32)) % (2**31 - 2) + 1
        options = {"verbose": -9, "bounds": [list(-reach), list(reach)]}
        self.searches = [
            cma.CMAEvolutionStrategy(np.asarray(x, float), 1.0, {**options, "seed": int(s)})
            for x, s in zip(points, seeds, strict=True)
        ]
        self.best = np.array(points)
        self.best_losses = np.full(len(points), np.inf)
        self.losses = np.zeros((0, len(points)))
        words = words_of(key, 0, 0)

        def values(x, rate):
            one = lambda x: objective.value(x, words=words, rate=rate)
            return jax.vmap(one)(x) if width is None else jax.lax.map(one, x, batch_size=width)

        self._values = jax.jit(values)

    @property
    def points(self):
        """Best candidates: what a search has where others have a point."""
        return self.best

    def advance(self, count):
        for _ in range(count):
            rate = None if self.rates is None else jnp.asarray(self.rates[self.done], dtype())
            if rate is not None and self.done and self.rates[self.done] != self.rates[self.done - 1]:
                self.best_losses[:] = np.inf  # losses of another objective do not compare
            asked = [np.array(s.ask()) for s in self.searches]
            found = np.asarray(self._values(jnp.asarray(np.concatenate(asked), dtype()), rate), float)
            ends = np.cumsum([len(a) for a in asked])[:-1]
            now = []
            for i, (points, losses) in enumerate(zip(asked, np.split(found, ends), strict=True)):
                # a candidate that is not finite is the worst of its generation
                finite = np.isfinite(losses)
                worst = losses[finite].max() if finite.any() else 0.0
                self.searches[i].tell(list(points), list(np.where(finite, losses, worst + abs(worst) + 1.0)))
                least = int(np.argmin(np.where(finite, losses, np.inf)))
                now.append(losses[least] if finite.any() else np.nan)
                if finite.any() and losses[least] < self.best_losses[i]:
                    self.best[i], self.best_losses[i] = points[least], losses[least]
            self.losses = np.concatenate([self.losses, [now]])
            self.done += 1

    def traced(self):
        """The program of the loss, as a jaxpr with its constants."""
        rate = None if self.rates is None else jnp.zeros((), dtype())
        return jax.make_jaxpr(self._values)(jnp.asarray(self.best, dtype()), rate)

    def finish(self):
        pass

    def finished(self, patience, tolerance):
        if annealing(self.rates, self.done):
            return False
        if tolerance is not None and self.done and self.best_losses.min() <= tolerance:
            return True
        return stalled(self.losses, patience)

    @property
    def status(self):
        return ["ok" if np.isfinite(x) else "not finite" for x in self.best_losses]

    def state(self):
        searches = [np.frombuffer(pickle.dumps(s), np.uint8) for s in self.searches]
        return {
            "searches": searches, "best": self.best, "best_losses": self.best_losses, "losses": self.losses,
            "done": int(self.done),
        }  # fmt: skip

    def restore(self, kept):
        if kept is None:
            return
        self.searches = [pickle.loads(s.tobytes()) for s in kept["searches"]]
        self.best, self.best_losses, self.losses = (np.array(kept[k]) for k in ("best", "best_losses", "losses"))
        self.done = kept["done"]
