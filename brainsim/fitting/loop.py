"""The loop of a fit: all starts side by side, in compiled stretches of steps."""

import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from ..program import dtype
from .methods import Problem
from .objective import rows_of, words_of

MOST = 64  # steps in a call
STRIKES = 5  # times that a start may fail before it is set aside


class Loop:
    """Starts, what their method keeps, and the best of each.

    Args:
        points: (starts, size). rates: of the nudging, one per step, or None. width: starts side by side.
    """

    def __init__(self, objective, method, points, key, noise, rates, width):
        self.objective, self.method, self.key, self.noise, self.width = objective, method, key, noise, width
        self.rates = rates
        self.stochastic = objective.trials not in (None, objective.batch) or (
            noise == "fresh" and objective.is_noisy(points[0])
        )
        self.done, self.chunk, self.seconds = 0, 1, 0.0
        x = jnp.asarray(points, dtype())
        n = x.shape[0]
        self.carry = {
            "x": x,
            "method": jax.vmap(method.begin)(x),
            "best": x,
            "best_loss": jnp.full((n,), jnp.inf, dtype()),
            "strikes": jnp.zeros((n,), jnp.int32),
            "rate": jnp.full((), -1.0, dtype()),
        }
        self.losses = np.zeros((0, n))
        self._run = jax.jit(self._steps)
        self._last = jax.jit(self._final)

    # --- compiled

    def _problem(self, step, rate):
        o = self.objective
        words = words_of(self.key, 0, step if self.noise == "fresh" else 0)
        rows = rows_of(o, jax.random.fold_in(self.key, 1), step)
        value = partial(o.value, words=words, rows=rows, rate=rate)
        residuals = partial(o.residuals, words=words, rows=rows, rate=rate)
        both = jax.value_and_grad(value) if o.adjoint is None else o.adjoint.value_and_grad(value)
        return Problem(value, residuals, both, jnp.asarray(o.reach, dtype()))

    def _step(self, step, rate, carry):
        """All starts after one step, and their losses before it."""
        problem = self._problem(step, rate)

        def one(c):
            if rate is not None:  # of another objective: curvature and momentum are begun anew
                again = self.method.begin(c["x"])
                c = {**c, "method": jax.tree.map(partial(jnp.where, rate != carry["rate"]), again, c["method"])}
            x, kept, loss, ok = self.method.step(problem, c["x"], c["method"])
            better = ok & (loss < c["best_loss"])
            best = jnp.where(better, c["x"], c["best"])
            alive = c["strikes"] < STRIKES
            pick = lambda a, b: jax.tree.map(lambda p, q: jnp.where(ok & alive, p, q), a, b)
            # what went wrong is begun anew at the best point, half way back from where it went
            back = jnp.where(jnp.isfinite(c["best_loss"]), 0.5 * (c["best"] + c["x"]), c["x"])
            out = {
                "x": pick(x, jnp.where(alive, back, c["x"])),
                "method": pick(kept, self.method.begin(back)),
                "best": best,
                "best_loss": jnp.where(better, loss, c["best_loss"]),
                "strikes": c["strikes"] + (~ok & alive),
            }
            return out, jnp.where(ok, loss, jnp.nan)

        mine = {k: v for k, v in carry.items() if k != "rate"}
        if rate is not None:
            # losses of another objective do not compare
            mine["best_loss"] = jnp.where(rate != carry["rate"], jnp.inf, mine["best_loss"])
        moved, loss = self._over_starts(one, mine)
        return {**moved, "rate": carry["rate"] if rate is None else rate}, loss

    def _over_starts(self, one, tree):
        n = jax.tree.leaves(tree)[0].shape[0]
        if self.width is None or self.width >= n:
            return jax.vmap(one)(tree)
        return jax.lax.map(one, tree, batch_size=self.width)

    def _steps(self, carry, first, count, rates):
        losses = jnp.full((MOST, carry["x"].shape[0]), jnp.nan, dtype())

        def body(i, both):
            carry, losses = both
            carry, loss = self._step(first + i, None if rates is None else rates[i], carry)
            return carry, losses.at[i].set(loss)

        return jax.lax.fori_loop(0, count, body, (carry, losses))

    def _final(self, carry):
        """The best points with where the last step led to.

        Losses of different trials or of different noise do not compare: then the last point counts, by its loss over
        all trials under one noise.
        """
        value, _ = self._over_starts(lambda x: (self.objective.total(x), 0), carry["x"])
        better = (value < carry["best_loss"]) if not self.stochastic else jnp.isfinite(value)
        return {
            **carry,
            "best": jnp.where(better[:, None], carry["x"], carry["best"]),
            "best_loss": jnp.where(better, value, carry["best_loss"]),
        }

    # --- host

    def advance(self, count: int):
        begun = time.perf_counter()
        rates = None
        if self.rates is not None:
            rates = np.zeros(MOST, dtype())
            rates[:count] = self.rates[self.done : self.done + count]
        self.carry, losses = self._run(self.carry, np.int32(self.done), np.int32(count), rates)
        self.losses = np.concatenate([self.losses, np.asarray(losses)[:count]])
        self.done += count
        took = time.perf_counter() - begun
        if self.chunk > 1 or self.seconds:  # the first call compiles
            self.chunk = int(np.clip(count * 0.5 / max(took, 1e-6), 1, MOST))
        self.seconds += took

    def traced(self):
        """The program of the steps, as a jaxpr with its constants."""
        rates = None if self.rates is None else np.zeros(MOST, dtype())
        return jax.make_jaxpr(self._steps)(self.carry, np.int32(0), np.int32(1), rates)

    def finish(self):
        self.carry = self._last(self.carry)

    def finished(self, patience, tolerance) -> bool:
        if not self.done:
            return False
        if (np.asarray(self.carry["strikes"]) >= STRIKES).all():
            return True
        if annealing(self.rates, self.done):
            return False
        if tolerance is not None and np.min(self.best_losses) <= tolerance:
            return True
        return stalled(self.losses, patience)

    @property
    def points(self):
        """(starts, size) where every start is now."""
        return self.carry["x"]

    @property
    def best(self) -> np.ndarray:
        return np.asarray(self.carry["best"])

    @property
    def best_losses(self) -> np.ndarray:
        return np.asarray(self.carry["best_loss"])

    @property
    def status(self) -> list[str]:
        out = []
        for strikes, loss in zip(np.asarray(self.carry["strikes"]), self.best_losses, strict=True):
            if strikes >= STRIKES:
                out.append("set aside: not finite")
            elif not np.isfinite(loss):
                out.append("not finite")
            else:
                out.append("ok" if not strikes else f"ok, taken back {strikes} times")
        return out

    def state(self) -> dict:
        """Everything that a later process needs to go on."""
        leaves = [np.asarray(x) for x in jax.tree.leaves(self.carry)]
        return {"leaves": leaves, "losses": self.losses, "done": int(self.done), "seconds": float(self.seconds)}

    def restore(self, kept):
        if kept is None:
            return
        self.carry = jax.tree.unflatten(jax.tree.structure(self.carry), [jnp.asarray(x) for x in kept["leaves"]])
        self.losses, self.done, self.seconds = kept["losses"], kept["done"], kept["seconds"]


def annealing(rates, done) -> bool:
    """Whether the rate of the nudging has yet to reach its last value."""
    return rates is not None and done <= np.flatnonzero(rates != rates[-1]).max(initial=-1) + 1


def stalled(losses, patience) -> bool:
    """Whether the best of losses (steps, starts) is as old as `patience` steps; None: never."""
    if patience is None or len(losses) <= patience:
        return False
    least = np.fmin.accumulate(np.fmin.reduce(losses, axis=1))
    return bool(least[-1] >= least[-1 - patience])
