"""What a learnable delay does in a run: every edge becomes a few entries of fixed lags, with factors computed from it.

An edge of weight w and delay d sends, for one spike, w kernel_k(d) after k steps. So it is served by the operators of
ordinary edges, as several entries side by side: their factors, and with the linear kernel their lags, are made once per
run from the parameters. Spikes stay events, the work of a step follows them, and derivatives are those of weights.

- gaussian: one entry for every lag 0 ... n - 1, kernel_k = exp(-((k dt - d) / width)^2 / 2), normalised over the lags
  (Hammouamri, Khalfaoui-Hassani & Masquelier 2023, arXiv:2306.17670); width 0 is the nearest lag alone.
- linear: two entries at the lags around d, whose factors interpolate between them.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from .delivery import MAX_DELAY, Steps
from .errors import CompileError
from .grid import to_steps
from .memory import free_memory, in_words
from .program import dtype

NARROW = 1e-6  # steps: a narrower Gaussian is the nearest lag alone
SLACK = 1e-6  # of the longest delay: what rounding may add to it


@dataclass(frozen=True, eq=False)
class Lags(Steps):
    """Learnable delays of a projection: `entries` for every edge, at lags up to `most`."""

    entries: int
    kernel: str

    def between(self, low, high) -> np.ndarray:
        """(high - low,) int32 lags of the entries low ... high - 1; with the linear kernel from the first one on."""
        return (np.arange(low, high) % self.entries).astype(np.int32)

    def all(self) -> np.ndarray:
        return self.between(0, self.projection.n_edges * self.entries)


def lags_of(projection, dt) -> Lags:
    """The entries that serve a projection with learnable delays.

    Raises:
        CompileError: the longest delay is below a step, or passes what fits.
    """
    longest, name = projection.learnable.longest, projection.name
    exact, off = to_steps(longest, dt)
    most = float(np.ceil(longest / dt) if off else exact)
    if most < 1 or (off and longest < dt):
        raise CompileError(
            f"{name}: longest = {longest:g} ms is below dt = {dt:g} ms, so that nothing can be learned; write "
            f"longest={dt:g} or more, or a smaller dt"
        )
    if most > MAX_DELAY:
        raise CompileError(f"{name}: longest = {longest:g} ms is {most:.3g} steps of {dt:g} ms; at most {MAX_DELAY}")
    kernel = projection.learnable.kernel
    entries = 2 if kernel == "linear" else int(most) + 1
    need, free = 24 * entries * projection.n_edges, free_memory()
    if need > free:
        raise CompileError(
            f"{name}: {projection.n_edges} edges x {entries} lags need about {in_words(need)}; {in_words(free)} are "
            f"free; take kernel='linear' (2 lags), a shorter longest=, or fewer edges"
        )
    return Lags(projection, dt, 0, int(most), entries, kernel)


def gaussian(x, width, n):
    """Factors of the lags 0 ... n - 1.

    Args:
        x: (m,) delays in steps, 0 ... n - 1. width: () in steps; below `NARROW` the nearest lag has factor 1.

    Returns:
        (m, n), rows have the sum 1.
    """
    lag, x = jnp.arange(n, dtype=dtype())[None, :], x[:, None]
    near = jnp.clip(jnp.rint(x), 0, n - 1)
    # relative to the nearest lag, so that one exponential is 1 however narrow the kernel is
    apart = (lag - x) ** 2 - (near - x) ** 2
    wide = width > NARROW
    made = jnp.exp(-0.5 * apart / jnp.where(wide, width, 1.0) ** 2)
    return jnp.where(wide, made / jnp.sum(made, axis=1, keepdims=True), (lag == near).astype(dtype()))


def linear(x, most):
    """(first lag, factors of it and the next one): linear interpolation.

    Args:
        x: (m,) delays in steps, 0 ... most. most: largest lag, at least 1.

    Returns:
        (m,) int32 in 0 ... most - 1, (m, 2).
    """
    near = jnp.rint(x)
    on = jnp.abs(x - near) <= 8 * jnp.finfo(dtype()).eps * jnp.maximum(1.0, jnp.abs(x))
    first = jnp.clip(jnp.where(on, near, jnp.floor(x)), 0, most - 1)
    # a delay on the grid, but for rounding, is the lag itself; its derivative stays
    part = x - first
    part = jnp.where(on, jnp.rint(part) + (part - jax.lax.stop_gradient(part)), part)
    return first.astype(jnp.int32), jnp.stack([1.0 - part, part], axis=1)


def _in_steps(lags, params):
    """Delays in steps, (n_edges,) or (1,), and whether they can be."""
    delay = jnp.atleast_1d(jnp.asarray(params[f"{lags.projection.name}.delay"], dtype()))
    longest = lags.projection.learnable.longest
    valid = (delay >= -SLACK * longest) & (delay <= (1 + SLACK) * longest)
    # not clip: its derivative at a bound is half of the true one
    inside = jnp.where(delay < 0, 0.0, jnp.where(delay > longest, longest, delay))
    return inside / lags.dt, valid


def factors(lags, params):
    """(n_edges, entries) factors of the entries of every edge.

    A delay or width that is traced or derived cannot be refused: where it is out of its bounds, the factors are nan.
    """
    x, valid = _in_steps(lags, params)
    if lags.kernel == "linear":
        made = linear(x, lags.most)[1]
    else:
        width = jnp.asarray(params[f"{lags.projection.name}.delay_width"], dtype()) / lags.dt
        made, valid = gaussian(x, width, lags.entries), valid & (width >= 0)
    made = jnp.where(valid[:, None], made, jnp.nan)
    return jnp.broadcast_to(made, (lags.projection.n_edges, lags.entries))


def spread(lags, params, weights):
    """(n_edges * entries,) weights of all entries, from () or (n_edges,) weights."""
    return (jnp.broadcast_to(weights, (lags.projection.n_edges,))[:, None] * factors(lags, params)).reshape(-1)


def first_lags(lags, params):
    """(n_edges * entries,) int32: what is added to the lags of `Lags.between`."""
    first = linear(_in_steps(lags, params)[0], lags.most)[0]
    return jnp.repeat(jnp.broadcast_to(first, (lags.projection.n_edges,)), lags.entries)


def hits(history, now, sources, lags, factors):
    """What of the spikes of the sources reaches every edge now, for equations on edges.

    Args:
        history: (depth, n_sources). sources: (n_edges,). lags: (n_edges * entries,) steps. factors: (n_edges, entries).
    """
    row = jnp.mod(now - 1 - lags.reshape(factors.shape), history.shape[0])
    sent = history.reshape(-1)[row * history.shape[1] + sources[:, None]]
    return jnp.sum(factors * sent.astype(factors.dtype), axis=1)
