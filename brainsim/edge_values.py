"""Weights and delays of a projection, from what a user may write for them."""

import numpy as np

from .declare import check_bounds
from .distributions import Distribution, as_values, generator, stream_key
from .drawing import Drawn, chunks, extent
from .errors import ConnectError, ParameterError


def edge_values(seed, name, kind, given, edges, spec, distance):
    """One number for all edges, or one value per edge: an array or, from a distribution, `Drawn`.

    Args:
        seed, name: of the network and the projection; they key what is drawn.
        kind: "weight" or "delay".
        given: what the user wrote, in the unit of the weight or in ms, or None.
        edges: the edges, which may carry values themselves.
        spec: declaration of the weight, or None.
        distance: function that returns the lengths of the edges in um, or None where they are not known.

    Raises:
        ConnectError: no value, or two.
        ParameterError, UnitError: a value that is not finite, out of bounds, or of the wrong length or dimension.
    """
    what, carried = f"{name}.{kind}", getattr(edges, kind)
    if carried is not None:
        if given is not None and not (kind == "delay" and np.ndim(given) == 0 and given == 0.0):
            raise ConnectError(f"{name}: the rule carries a {kind} for every edge already; leave {kind}= out")
        given = carried
    if given is None:
        raise ConnectError(
            f"{name}: no {kind}; give {kind}= as a number, an array of {len(edges)} values or a distribution"
        )
    unit = "ms" if kind == "delay" else (spec.unit if spec else None)
    if unit is None and not isinstance(given, str):
        unit = "1"
    if isinstance(given, Distribution):
        drawn = Drawn(given.in_unit(unit, what), stream_key(seed, name, kind), len(edges))
        _check_drawn(drawn, spec, what)
        return drawn
    away = distance() if callable(given) and not isinstance(given, type) else None
    values = as_values(given, len(edges), generator(seed, name, kind), unit, what, distance=away)
    if spec is not None:
        check_bounds(np.asarray(values, float), spec, what)
    if np.ndim(values) == 0:
        return float(values)
    return np.asarray(values, np.float32 if getattr(given, "dtype", None) == np.float32 else np.float64)


def _check_drawn(drawn, spec, what):
    """Bounds of the declaration: against the distribution where that suffices, else against every value."""
    low, high = drawn.distribution.support()
    least, most = (None, None) if spec is None else spec.bounds
    above = least is None or low > least or (spec.closed and low == least)
    below = most is None or high < most or (spec.closed and high == most)
    if above and below:
        return
    for lo, hi in chunks(len(drawn)):
        try:
            check_bounds(drawn.draw(lo, hi, dtype=np.float64), spec, what)
        except ParameterError:
            check_bounds(drawn.draw(0, hi, dtype=np.float64), spec, what)  # the same with the number of the edge


def check_delay(name, delay, source) -> None:
    """Delays are at least 0, and a drive has one."""
    if isinstance(delay, Drawn) and delay.distribution.support()[0] >= 0:
        least = 0.0
    else:
        least = extent(delay)[0]
    if least < 0:
        raise ParameterError(f"{name}: delay {least:g} ms is negative; a delay is at least 0 ms")
    if source is not None and np.ndim(delay):
        raise ConnectError(f"{name}: a drive takes one delay for all targets; give a number")


def lengths(edges, pre, post, periodic):
    """(n_edges,) distances in um from source to target, None where positions are not known."""
    if pre is None or pre.positions is None or post.positions is None:
        return None
    from .spatial import distances

    made = np.empty(len(edges))
    for lo, hi in chunks(len(edges)):
        ends = pre.positions[edges.pre_range(lo, hi)], post.positions[edges.post[lo:hi]]
        made[lo:hi] = distances(*ends, periodic)
    return made
