"""What losses check at the door: shapes, finite data, numbers with a unit, intervals on the grid of dt."""

import jax
import jax.numpy as jnp
import numpy as np

from ..errors import ParameterError
from ..grid import to_steps
from ..units import to_canonical


def known(x) -> bool:
    """Whether the numbers are there to be looked at: not inside a jax transformation."""
    return not isinstance(x, jax.core.Tracer)


def series(x, what: str, least: int = 1, data: bool = False):
    """An array with time as its first axis, as floats; of data that are known, finite ones.

    Raises:
        ParameterError: as `floats`, or fewer than `least` steps.
    """
    x = floats(x, what, data)
    if x.ndim < 1 or x.shape[0] < least:
        raise ParameterError(
            f"{what} has shape {x.shape}, but needs at least {least} step{'s' * (least > 1)} along its first axis: "
            f"give an array (steps,) or (steps, cells)"
        )
    return x


def floats(x, what: str, data: bool = False):
    """An array of real numbers; integers and booleans become the default float.

    Raises:
        ParameterError: not real numbers, or, of `data` that are known, nan or infinite ones.
    """
    x = _array(x, what)
    if not any(jnp.issubdtype(x.dtype, kind) for kind in (jnp.floating, jnp.integer, jnp.bool_)):
        raise ParameterError(f"{what} has the type {x.dtype}, but losses take real numbers; give an array of floats")
    if data:
        finite(x, what)
    x = jnp.asarray(x)
    return x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(jnp.result_type(float))


def _array(x, what):
    """As an array that is not yet part of a jax transformation if it need not be: its numbers can be checked."""
    if isinstance(x, (np.ndarray, jax.Array)):
        return x
    advice = None
    if isinstance(x, dict):
        advice = "take one entry"
    elif hasattr(x, "values"):
        advice = "give its .values"
    elif hasattr(x, "times"):
        advice = "make one with bs.losses.spike_array(times, indices, n, steps, dt)"
    if advice:
        raise ParameterError(f"{what} is a {type(x).__name__}, not an array (steps, cells); {advice}")
    try:
        return np.asarray(x) if all(map(known, jax.tree.leaves(x))) else jnp.asarray(x)
    except (TypeError, ValueError) as error:
        raise ParameterError(f"{what} is no array: {error}; give one of shape (steps, cells)") from None


def alike(x, data, names=("v", "data")):
    """Two arrays of one shape, time first; the second gets the dtype of the first.

    Raises:
        ParameterError: another length, another number of cells, or data that are known and not finite.
    """
    x, data = series(x, names[0]), series(data, names[1], data=True)
    if x.shape != data.shape:
        given = f"{names[0]} has {_said(x.shape)}, {names[1]} has {_said(data.shape)}"
        raise ParameterError(f"{given}: {_advice(x.shape, data.shape, names)}")
    return x, data.astype(x.dtype)


def _said(shape):
    cells = "" if len(shape) == 1 else f" of {shape[1]} cells" if len(shape) == 2 else f" of shape {shape[1:]}"
    return f"{shape[0]} steps{cells}"


def _advice(shape, other, names):
    if len(shape) != len(other):
        return (
            f"they differ in their number of axes, {len(shape)} and {len(other)}; "
            f"give both as (steps, cells), for example data[:, None]"
        )
    if shape[1:] != other[1:]:
        return "they differ in their cells; select the cells that both have, for example x[:, :n]"
    for many, few, name in ((shape[0], other[0], names[0]), (other[0], shape[0], names[1])):
        if few and many > few and many % few == 0:
            k = many // few
            return (
                f"{name} is {k} times as long, as if sampled at another rate; if so, take every {k}-th sample: "
                f"{name}[{k - 1}::{k}], or record with every="
            )
    return "they must cover the same time at the same rate; resample the data to dt, or cut both to one length"


def finite(data, what: str) -> None:
    """Refuses nan and infinite numbers, where they can be looked at."""
    if known(data) and not (good := np.isfinite(np.asarray(data))).all():
        at = ", ".join(map(str, np.argwhere(~good)[0]))
        raise ParameterError(
            f"{what} has {int((~good).sum())} values that are nan or infinite, the first at [{at}], so that the loss "
            f"would be nan; cut them off, or fill them in and, where there is a scale, give scale=inf there"
        )


def number(x, unit, what: str, *, above: float | None = 0.0, least: float | None = None, infinite: bool = False):
    """A number or array that may come as text, in `unit`; where it is known, greater than `above`.

    With `least` it is at least that instead; with above=None anything.

    Returns:
        A float, an array where an array was given, or the tracer.
    """
    value = to_canonical(x, unit, what, finite=not infinite)
    limit = above if least is None else least
    if not known(value):
        return value
    array = np.asarray(value)
    if limit is not None and np.any(array <= limit if least is None else array < limit):
        wanted = f"{'greater than' if least is None else 'at least'} {limit:g}"
        said = "" if unit in (None, "1") else f" {unit}"
        example = f"write such a number, for example {limit + 10:g}"
        raise ParameterError(f"{what} = {_short(x)} cannot be: it must be {wanted}{said}; {example}")
    return value if isinstance(value, jax.Array) else float(value) if np.ndim(value) == 0 else value


def _short(x):
    return repr(x) if isinstance(x, (int, float, str)) or np.ndim(x) == 0 else f"array of shape {np.shape(x)}"


def per_cell(value, shape: tuple, dtype, what: str):
    """A number, or one for each cell, as an array that broadcasts against `shape` without promotion of ranks."""
    if np.ndim(value) == 0:
        return jnp.asarray(value, dtype)
    try:
        return jnp.broadcast_to(jnp.asarray(value, dtype), shape)
    except ValueError:
        raise ParameterError(
            f"{what} has shape {np.shape(value)}, which does not fit {shape}; give one number, or one for each of "
            f"{shape}"
        ) from None


def whole(x, what: str, least: int = 1, most: int | None = None) -> int:
    """A whole number within its limits."""
    good = isinstance(x, (int, np.integer)) and not isinstance(x, bool)
    if not good or x < least or (most is not None and x > most):
        limits = f"of at least {least}" + ("" if most is None else f" and at most {most}")
        raise ParameterError(f"{what} = {x!r} cannot be: it must be a whole number {limits}; write {what}={least}")
    return int(x)


def plain(x, unit, what: str) -> float:
    """A positive number that is known, because it sets the shape of the result."""
    value = number(x, unit, what)
    if not known(value) or np.ndim(value):
        raise ParameterError(
            f"{what} sets the shape of the result, so it cannot be traced by jax or be an array; give a plain number"
        )
    return float(value)


def steps_of(interval, dt, what: str) -> int:
    """Steps of an interval in ms, which must be a multiple of dt."""
    interval, dt = plain(interval, "ms", what), plain(dt, "ms", "dt")
    count, off = to_steps(interval, dt)
    if off or count < 1:
        near = max(float(count), 1.0) * dt
        raise ParameterError(f"{what} = {interval:g} ms is not a multiple of dt = {dt:g} ms; write {what}={near:g}")
    return int(count)
