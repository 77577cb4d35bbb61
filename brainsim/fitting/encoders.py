"""Encoders: numbers and signals as spikes, arrays (steps, n) of 0 and 1 to drive a `SpikeSource` with.

    spikes = encoders.poisson(jax.random.key(0), rates, dt=1.0)
    sim.run(1000.0, inputs={"in.spikes": bs.array(spikes)})

Pure functions of arrays that work under jit and vmap. A spike in row k is sent in step k, so it has the time (k+1) dt.
What is wrong in values that are known is refused; under transformations only shapes and settings are checked.
"""

import jax
import jax.numpy as jnp
import numpy as np

from ..errors import ParameterError
from ..program import dtype
from ..units import to_canonical

SCALES = ("linear", "log")


def poisson(key, rate, dt, steps=None):
    """Poisson spike trains: a spike in a step with chance rate dt, at most one.

    Args:
        key: of `jax.random`, or the two words that the functions given to `bs.fit` get as `key`.
        rate: Hz, (steps, n) over time, or (n,) with `steps`. dt: ms. steps: number of steps of a constant rate.

    Returns:
        (steps, n) of 0 and 1; no derivative by the rate.

    Raises:
        ParameterError: a negative rate, one of more than a spike per step, another shape.
    """
    rate, dt = jnp.asarray(rate, dtype()), _positive(dt, "ms", "dt")
    if rate.ndim == 1 and steps is not None:
        rate = jnp.broadcast_to(rate, (_whole(steps, "steps", 1), rate.shape[0]))
    elif rate.ndim != 2 or (steps is not None and steps != rate.shape[0]):
        raise ParameterError(
            f"rate has shape {rate.shape} and steps is {steps}; give rates over time (steps, n), or (n,) and steps="
        )
    chance = rate * (1e-3 * dt)
    if _known(chance) and not (np.all(chance >= 0) and np.all(chance <= 1)):
        worst = float(np.asarray(rate).flat[int(np.argmax(np.abs(np.asarray(chance) - 0.5)))])
        raise ParameterError(
            f"rate = {worst:g} Hz is no chance of a spike in a step of {dt:g} ms; give 0 ... {1e3 / dt:g} Hz"
        )
    drawn = jax.random.uniform(_key(key), chance.shape, chance.dtype)
    return (drawn < jax.lax.stop_gradient(chance)).astype(dtype())


def latency(values, steps, dt, *, scale="linear", last=None, tau="20 ms", threshold=0.05):
    """One spike per value, the earlier the larger it is (Thorpe, Delorme & Van Rullen 2001,
    10.1016/S0893-6080(01)00083-1).

    "linear": at last (1 - x), for x from 0 to 1. "log": when a leaky integrator that starts at 0 and is driven by x
    reaches the threshold, t = tau ln(x / (x - threshold)); where x does not exceed the threshold there is no spike.

    Args:
        values: (n,) numbers; from 0 to 1 on the linear scale, of any size on the other. steps: rows of the result.
        dt: ms. scale: "linear" or "log". last: ms, of the value 0; default: the last step. tau: ms.
        threshold: of the integrator, in the unit of the values.

    Returns:
        (steps, n) of 0 and 1, a spike in the step in which its time lies; none where that is after the last one. No
        derivative by the values.

    Raises:
        ParameterError: values outside 0 ... 1 on the linear scale, another shape or scale.
    """
    x, dt, steps = _vector(values, "values"), _positive(dt, "ms", "dt"), _whole(steps, "steps", 1)
    if scale not in SCALES:
        raise ParameterError(f"scale = {scale!r} is unknown; write 'linear' or 'log'")
    if scale == "linear":
        if _known(x) and not (np.all(x >= 0) and np.all(x <= 1)):
            raise ParameterError(
                f"values reach from {float(x.min()):g} to {float(x.max()):g}, but latencies are those of 0 ... 1; "
                f"rescale them, or write scale='log'"
            )
        last = (steps - 1) * dt if last is None else float(to_canonical(last, "ms", "last"))
        time = last * (1.0 - x)
    else:
        tau, threshold = _positive(tau, "ms", "tau"), _positive(threshold, None, "threshold")
        reaches = x > threshold
        time = jnp.where(reaches, -tau * jnp.log1p(-threshold / jnp.where(reaches, x, 2.0 * threshold)), jnp.inf)
    # a time on the grid belongs to the step that begins there, whatever it was rounded to
    row = jnp.floor(jax.lax.stop_gradient(time) / dt + 1e-4)
    return (jnp.arange(steps)[:, None] == row[None, :]).astype(dtype())


def delta(signal, threshold, *, start=None):
    """Changes of a signal: an "up" or "down" spike when it is more than the threshold away from a baseline, which then
    moves by the threshold (step-forward encoding: Petro, Kasabov & Kiss 2020, 10.1109/TNNLS.2019.2906158; as event
    cameras and silicon cochleas do).

    At most one spike per step: a signal that changes by more than the threshold in a step is followed late. Else
    start + threshold (sum of ups - sum of downs) is within the threshold of the signal.

    Args:
        signal: (steps, n). threshold: in its unit; one for all or (n,). start: baseline before the first step, (n,);
            default: the first row.

    Returns:
        (steps, 2 n) of 0 and 1: n channels of ups, then n of downs. No derivative by the signal.

    Raises:
        ParameterError: a signal of another shape, a threshold that is not positive.
    """
    signal = jax.lax.stop_gradient(jnp.asarray(signal, dtype()))
    if signal.ndim != 2 or not signal.shape[0]:
        raise ParameterError(f"signal has shape {signal.shape}; give values over time (steps, n)")
    threshold = jnp.asarray(threshold, dtype())
    if threshold.shape not in ((), signal.shape[1:]) or (_known(threshold) and not np.all(np.asarray(threshold) > 0)):
        raise ParameterError(f"threshold = {threshold} of shape {threshold.shape}; give positive values, one or (n,)")
    base = signal[0] if start is None else jnp.broadcast_to(jnp.asarray(start, dtype()), signal.shape[1:])

    def follow(base, x):
        up, down = x - base > threshold, base - x > threshold
        return base + threshold * (up.astype(dtype()) - down), jnp.concatenate([up, down])

    return jax.lax.scan(follow, base, signal)[1].astype(dtype())


def population(values, n, low, high, *, width=None):
    """Activities of n cells with Gaussian receptive fields, exp(-(x - c)^2 / (2 width^2)), whose centres c are evenly
    spaced from low to high (Bohte, Kok & La Poutre 2002, 10.1016/S0925-2312(01)00658-0).

    Make spikes of them: `poisson(key, peak * population(...), dt)`, or `latency(population(...), ...)`.

    Args:
        values: any shape. n: cells, at least 2. low, high: of the centres. width: of a field; default: the distance of
            two centres divided by 1.5, the factor of the paper.

    Returns:
        (*shape of values, n) from 0 to 1; differentiable.

    Raises:
        ParameterError: fewer than two cells, an empty interval, a width that is not positive.
    """
    n = _whole(n, "n", 2)
    if not high > low:
        raise ParameterError(f"centres from {low} to {high}: the interval is empty; give low < high")
    width = (high - low) / (n - 1) / 1.5 if width is None else _positive(width, None, "width")
    return jnp.exp(-0.5 * (_apart(values, np.linspace(low, high, n)) / width) ** 2)


def directions(angle, n, kappa=2.0):
    """Activities of n cells with von Mises tuning, exp(kappa (cos(angle - c) - 1)), whose preferred directions c are
    evenly spaced on the circle from 0 on.

    Args:
        angle: rad, any shape. n: cells. kappa: sharpness.

    Returns:
        (*shape of angle, n) from exp(-2 kappa) to 1; differentiable.

    Raises:
        ParameterError: no cell, a sharpness that is not positive.
    """
    preferred = 2.0 * np.pi * np.arange(_whole(n, "n", 1)) / n
    return jnp.exp(_positive(kappa, None, "kappa") * (jnp.cos(_apart(angle, preferred)) - 1.0))


def _key(key):
    """A typed key, of a typed or raw one or of two words."""
    if isinstance(key, jax.Array) and jax.dtypes.issubdtype(key.dtype, jax.dtypes.prng_key):
        return key
    words = jnp.asarray(key)
    if words.shape != (2,) or words.dtype != jnp.uint32:
        raise ParameterError(f"key is {key!r:.60}; give jax.random.key(0), or the `key` that bs.fit hands out")
    return jax.random.wrap_key_data(words, impl="threefry2x32")


def _apart(values, centres):
    """(*shape of values, n) differences."""
    values = jnp.asarray(values, dtype())
    return values[..., None] - jnp.asarray(centres, dtype()).reshape((1,) * values.ndim + (-1,))


def _known(x) -> bool:
    return not isinstance(x, jax.core.Tracer)


def _vector(values, what):
    x = jnp.asarray(values, dtype())
    if x.ndim != 1:
        raise ParameterError(f"{what} have shape {x.shape}; give (n,), and more by jax.vmap")
    if _known(x) and not np.isfinite(np.asarray(x)).all():
        raise ParameterError(f"{what} are not all finite; give numbers")
    return x


def _positive(value, unit, what) -> float:
    out = float(to_canonical(value, unit, what)) if unit else float(value)
    if not (np.isfinite(out) and out > 0):
        raise ParameterError(f"{what} = {value!r} is not positive; give a number above 0")
    return out


def _whole(value, what, least) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ParameterError(f"{what} = {value!r}; give a whole number of at least {least}")
    return int(value)
