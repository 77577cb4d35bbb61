"""Delays that are parameters: what a user writes for them, the checks, and how they return to whole steps."""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from .declare import Param
from .distributions import Distribution
from .drawing import extent
from .edge_values import check_delay
from .errors import ConnectError, ParameterError, unknown
from .grid import to_steps
from .procedural_rule import procedural
from .units import to_canonical

__all__ = ["learnable_delay", "round_delays"]

KERNELS = ("gaussian", "linear")


@dataclass(frozen=True)
class LearnableDelay:
    """What `learnable_delay` returns; times in ms."""

    initial: Any
    longest: float
    kernel: str
    width: float | None

    def __repr__(self):
        width = "" if self.width is None else f", width={self.width:g}"
        initial = (
            repr(self.initial) if isinstance(self.initial, Distribution | str) or not np.ndim(self.initial) else "..."
        )
        return f"learnable_delay({initial}, {self.longest:g}, kernel={self.kernel!r}{width})"


def learnable_delay(initial, longest, kernel="gaussian", width=None) -> LearnableDelay:
    """Delays that can be learned, for `net.connect(..., delay=bs.learnable_delay(...))`.

    `"<projection>.delay"` becomes a parameter like the weight, () or (n_edges,) in ms: it is given to
    `sim.run(params=...)`, has derivatives in both modes, and changes without compiling again.

    - "gaussian", for spikes: a spike arrives after k steps with the factor exp(-((k dt - delay) / width)^2 / 2),
      normalised over the lags 0 ... longest. The width is the parameter `"<projection>.delay_width"`; anneal it in
      training. At width 0 the spike arrives once, after the nearest number of steps. Each edge costs longest / dt + 1
      entries.
    - "linear", for continuous couplings: what the source sent is interpolated between the two nearest steps. A spike is
      split over both. Each edge costs 2 entries.

    Args:
        initial: number, array of one value per edge (edges sorted by source, then target), distribution, or function of
            distance in um; in ms.
        longest: bound of the delays, ms; a delay lies in 0 ... longest.
        kernel: "gaussian" or "linear".
        width: standard deviation of the Gaussian, ms, at least 0; half of `longest` is a usual start.

    Raises:
        ParameterError, UnitError: a longest delay or width that cannot be, a width for the linear kernel.

    References:
        Hammouamri, Khalfaoui-Hassani & Masquelier 2023, arXiv:2306.17670.

    Example:
        >>> learnable_delay(3.0, 10.0, width=5.0)
        learnable_delay(3.0, 10, kernel='gaussian', width=5)
    """
    what = "learnable_delay"
    if kernel not in KERNELS:
        raise ParameterError(f"{what}: {unknown('kernel', kernel, KERNELS)}")
    longest = _number(longest, f"{what}: longest")
    if not longest > 0:
        raise ParameterError(f"{what}: longest = {longest:g} ms leaves nothing to learn; give the bound of the delays")
    if kernel == "linear" and width is not None:
        raise ParameterError(f"{what}: width={width!r}, but the linear kernel is two steps wide; leave width= out")
    if kernel == "gaussian":
        if width is None:
            raise ParameterError(
                f"{what}: no width; the Gaussian kernel needs one in ms, for example width={longest / 2:g} at the "
                f"start of training, or kernel='linear'"
            )
        width = _number(width, f"{what}: width")
        if width < 0:
            raise ParameterError(f"{what}: width = {width:g} ms is negative; give 0 or more")
    return LearnableDelay(initial, longest, kernel, width)


def _number(value, what) -> float:
    value = to_canonical(value, "ms", what)
    if np.ndim(value) or not np.isfinite(value):
        raise ParameterError(f"{what} = {value!r} must be one finite number of ms")
    return float(value)


def check_place(name, delay, synapse, rule, source, learning):
    """The initial delays and what is learnable, of what `connect` was given as a delay.

    Args:
        learning: the arguments of `connect` for plasticity.

    Returns:
        initial delays as the user wrote them, `LearnableDelay` or None.
    """
    if not isinstance(delay, LearnableDelay):
        return delay, None
    refused = [
        (source is not None, "a drive has no source cells and takes one delay; connect a population of PoissonSource"),
        (isinstance(rule, procedural), "procedural edges are not stored and have no delay of their own; store them"),
        (learning["plasticity"] is not None, "plastic weights need delays in whole steps; leave plasticity= out"),
        (learning["rewiring"] is not None, "edges that rewire need one delay in whole steps; leave rewiring= out"),
    ]
    for holds, problem in refused:
        if holds:
            raise ConnectError(f"{name}: delay={delay!r}, but {problem}, or give an ordinary delay")
    for key in ("delay", "delay_width"):
        if key in type(synapse).__params__:
            raise ConnectError(
                f"{name}: {type(synapse).__name__} has a parameter {key!r} and '{name}.{key}' must mean one thing; "
                f"rename it in a subclass of the synapse"
            )
    return delay.initial, delay


def settle(delay, name, learnable, edges, source):
    """Delays, checked; learnable ones as a number or an array, which is what their parameter starts from."""
    if learnable is None:
        check_delay(name, delay, source)
        return delay
    if edges.delay is not None:
        raise ConnectError(
            f"{name}: the rule carries a delay for every edge, and learnable_delay an initial one; give the delays of "
            f"the rule as its `initial`"
        )
    low, high = extent(delay)
    if low < 0 or high > learnable.longest:
        bad = low if low < 0 else high
        raise ParameterError(
            f"{name}: initial delay {bad:g} ms is outside 0 ... longest = {learnable.longest:g} ms; move it, or raise "
            f"longest="
        )
    return np.asarray(delay, float) if np.ndim(delay) else delay


def leaves(projection) -> dict:
    """Parameters of the delays of a projection; none where they are fixed."""
    if projection.learnable is None:
        return {}
    made = {f"{projection.name}.delay": np.asarray(projection.delay_values, float)}
    if projection.learnable.kernel == "gaussian":
        made[f"{projection.name}.delay_width"] = np.asarray(projection.learnable.width, float)
    return made


def specs(projection) -> dict:
    """Declaration and possible shapes of these parameters: name -> (spec, shapes)."""
    bounds = {"delay": (0.0, getattr(projection.learnable, "longest", None)), "delay_width": (0.0, None)}
    shapes = {"delay": {(), (projection.n_edges,)}, "delay_width": {()}}
    made = {}
    for name in leaves(projection):
        key = name.rpartition(".")[2]
        made[name] = (Param(0.0, "ms", bounds=bounds[key], closed=True), shapes[key])
    return made


def round_delays(sim, params=None) -> dict:
    """Parameters with every learnable delay at its nearest step and every width 0: the network as it is deployed.

    A run with them equals that of ordinary projections with these delays.

    Args:
        sim: compiled simulation.
        params: dict like `sim.params`, or some of its entries; the others keep their values.

    Returns:
        dict of all parameters.
    """
    params = {**sim.params, **(params or {})}
    for lags in sim.program.lags.values():
        name, longest = lags.projection.name, lags.projection.learnable.longest
        steps, off = to_steps(longest, sim.dt)
        last = np.floor(longest / sim.dt) if off else steps
        if f"{name}.delay" in params:
            nearest = jnp.rint(jnp.asarray(params[f"{name}.delay"]) / sim.dt)
            params[f"{name}.delay"] = jnp.minimum(jnp.minimum(nearest, last) * sim.dt, longest)
        if f"{name}.delay_width" in params:
            params[f"{name}.delay_width"] = jnp.zeros_like(params[f"{name}.delay_width"])
    return params


def explained(lags) -> str:
    """A phrase for `sim.explain()`."""
    how = "interpolated between two steps" if lags.kernel == "linear" else f"a Gaussian over {lags.entries} lags"
    return f"learnable delays of 0 ... {lags.projection.learnable.longest:g} ms, {how}"
