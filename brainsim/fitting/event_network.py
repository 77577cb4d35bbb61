"""Exact spike trains of networks of LIF cells with exponential currents, and their exact derivatives."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from ..errors import ParameterError, RunError
from ..program import dtype
from .first_spike import FIRST, as_delays, form_of, per_cell
from .losses_checks import known

UNSETTLED = (
    "spikes do not settle: cells inhibit themselves or each other without delay, so that a spike takes back its own "
    "cause; give recurrent delays above 0"
)


def exact_spikes(
    times, weights, delays=None, *, recurrent=None, recurrent_delays=None, tau_m, tau_s, threshold=1.0, t_ref=0.0,
    duration, most,
):  # fmt: skip
    """All spikes of cells that are driven by given spikes and by each other, without a grid of time.

    Equations and arguments as in `first_spike`; at a spike v = 0, and stays there for t_ref, while i goes on. The
    spikes are the fixed point of a causal map: the response of every cell to all spikes that it receives, repeated
    until no time changes, which takes at most as many rounds as the network fires spikes, and about duration /
    shortest recurrent delay. Derivatives are those of the fixed point, in forward and reverse mode; where a spike
    moves, all its effects on later times, resets and currents move with it (the jumps of Wunderlich & Pehle 2021,
    10.1038/s41598-021-91786-z, by implicit differentiation). They hold as long as no spike appears or disappears.
    Work and memory grow as (spikes of all sources) x cells x most: for circuits of up to some hundred cells.

    Args:
        times: (n_in, m) ms, spikes of every source; inf where it has fewer. For a batch: `jax.vmap`.
        weights: (n_in, n_out); delays: ms, one number or any shape that broadcasts to it.
        recurrent: (n_out, n_out) weights from cell to cell, with recurrent_delays; default none.
        tau_m, tau_s, threshold, t_ref: one number or one per cell (n_out,); ms, and mV above rest.
        duration: ms; later spikes are left out.
        most: spikes per cell that there is room for.

    Returns:
        (n_out, most) ms, in order; inf where a cell fires less.

    Raises:
        ParameterError: as `first_spike`; shapes of recurrent weights; `most` below 1.
        RunError: a cell fires more than `most` spikes. Under transformations its times are nan instead.

    Example:
        >>> found = exact_spikes([[0.0]], [[9.0]], tau_m=2.0, tau_s=1.0, duration=10.0, most=4)
        >>> [round(float(t), 2) for t in found[0]]
        [0.27, 0.66, 1.42, inf]
    """
    times, weights = jnp.asarray(times, dtype()), jnp.asarray(weights, dtype())
    if weights.ndim != 2 or times.ndim != 2 or times.shape[0] != weights.shape[0]:
        raise ParameterError(
            f"times {times.shape} and weights {weights.shape} do not fit; give times (n_in, m) and weights "
            f"(n_in, n_out)"
        )
    if isinstance(most, bool) or not isinstance(most, int | np.integer) or most < 1:
        raise ParameterError(f"most={most!r} is the number of spikes a cell has room for; give a whole number from 1")
    n = weights.shape[1]
    cells = {k: per_cell(x, k, n) for k, x in (("tau_m", tau_m), ("tau_s", tau_s), ("threshold", threshold))}
    cells["t_ref"] = per_cell(t_ref, "t_ref", n, zero=True)
    given = (times, weights, as_delays(delays, weights.shape))
    if recurrent is None:
        if recurrent_delays is not None:
            raise ParameterError("recurrent_delays without recurrent weights; give recurrent= (n_out, n_out) too")
        back = None
    else:
        recurrent = jnp.asarray(recurrent, dtype())
        if recurrent.shape != (n, n):
            raise ParameterError(f"recurrent has shape {recurrent.shape}; give weights ({n}, {n}), from row to column")
        back = (recurrent, as_delays(recurrent_delays, (n, n)))
    found, missed = trains(form_of(tau_m, tau_s), int(most), given, back, cells, jnp.asarray(duration, dtype()))
    if known(missed) and missed.any():
        raise RunError(
            f"cell {int(np.argmax(missed))} fires more than most={most} spikes; give more room, or less time"
        )
    if known(found) and jnp.isnan(found).any() and not any(jnp.isnan(x).any() for x in jax.tree.leaves((given, back))):
        raise RunError(UNSETTLED)
    return jnp.where(missed[:, None], jnp.nan, found)


@partial(jax.jit, static_argnums=(0, 1))
def trains(form, most, given, back, cells, duration):
    """Times (n_out, most), and which cells fire more.

    Args:
        form: of `event_forms.FORMS`. given: (times (n, m), weights, delays), or with the sources of the rows after
            them, see `_arrivals`. back: (weights, delays), or with sources, from cell to cell; or None.
        cells: values (n_out,): tau_m, tau_s, threshold, t_ref; above their rest, those who begin at 0 ms with another
            voltage have `begin` = 0, `v_first`, and `v_reset`.
    """
    args = (given, back, cells, duration)
    if back is None:
        found = _respond(form, most + 1, None, *args)
        return found[:, :most], found[:, most] < jnp.inf
    found = _fixed_point(form, most, *args)
    return found, _respond(form, most + 1, found, *args)[:, most] < jnp.inf


def _respond(form, room, spikes, given, back, cells, duration):
    """Response of all cells to the given spikes, and to those of each other."""
    arrivals, weights = _arrivals(*given)
    if back is not None:
        more = _arrivals(spikes, *back)
        arrivals, weights = jnp.concatenate([arrivals, more[0]]), jnp.concatenate([weights, more[1]])
    return _response(form, room, arrivals, weights, cells, duration)


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _fixed_point(form, most, *args):
    """Times (n, most); nan where they do not settle: spikes that cancel themselves without delay."""
    none = jnp.full((args[0][1].shape[1], most), jnp.inf, dtype())
    found, settled = _repeat(lambda spikes: _respond(form, most, spikes, *args), none, none.size + 2)
    return jnp.where(settled, found, jnp.nan)


@_fixed_point.defjvp
def _fixed_point_jvp(form, most, args, moves):
    """dS = J dS + b, where b moves what does not depend on other spikes.

    J leads from earlier spikes to later ones, so the repetition ends after finitely many rounds; so does its mirror.
    """
    found = _fixed_point(form, most, *args)
    _, own = jax.jvp(lambda *args: _respond(form, most, found, *args), args, moves)
    _, after = jax.linearize(lambda spikes: _respond(form, most, spikes, *args), found)
    before = jax.linear_transpose(after, found)
    moved = jax.lax.custom_linear_solve(
        lambda x: x - after(x),
        own,
        lambda _, b: _repeat(lambda x: after(x) + b, b, found.size + 2)[0],
        lambda _, b: _repeat(lambda x: before(x)[0] + b, b, found.size + 2)[0],
    )
    return found, moved


def _arrivals(times, weights, delays, sources=None):
    """Rows (n_in x m, n_out): when each spike arrives, and its weight; sources (n_in, n_out) says whose, default row j
    that of source j."""
    n, m = weights.shape[0], times.shape[1]
    sent = times[:, :, None] if sources is None else jnp.moveaxis(times[sources], 2, 1)
    arrivals = sent + delays[:, None, :]
    return arrivals.reshape(n * m, weights.shape[1]), jnp.repeat(weights, m, axis=0)


def _response(form, room, arrivals, weights, cells, duration):
    """Spikes (n_out, room) of cells that do not interact: each is a first spike, of the cell that was reset before.

    At the end r of a reset v = 0, or what `cells` say, and the current left by the past acts like one more spike at r.
    """
    tau_m, tau_s, threshold, t_ref = (cells[k] for k in ("tau_m", "tau_s", "threshold", "t_ref"))
    rest = jnp.zeros(weights.shape[1], weights.dtype)
    v_first, v_reset = (jnp.broadcast_to(cells.get(k, rest), rest.shape) for k in ("v_first", "v_reset"))

    def step(reset, v):
        live = reset < jnp.inf
        past = (arrivals <= reset[None]) & live[None]
        age = jnp.where(past, jnp.where(live, reset, 0.0)[None] - jnp.where(past, arrivals, 0.0), 0.0)
        left = jnp.sum(jnp.where(past, weights * jnp.exp(-age / tau_s[None]), 0.0), 0)
        start = jnp.where(reset > -jnp.inf, reset, jnp.inf)  # nothing precedes the first spike
        rows = jnp.concatenate([jnp.where(past, jnp.inf, arrivals), start[None]])[:, None, :]
        found = FIRST[form](rows, jnp.concatenate([weights, left[None]]), reset, v, tau_m, tau_s, threshold)[0]
        found = jnp.where(live & ~(found > duration), found, jnp.inf)
        return found + t_ref, found

    start = jnp.broadcast_to(cells.get("begin", -jnp.inf), rest.shape).astype(weights.dtype)
    voltages = jnp.concatenate([v_first[None], jnp.broadcast_to(v_reset, (room - 1, len(rest)))])
    return jax.lax.scan(step, start, voltages)[1].T


def _repeat(function, start, rounds):
    """(what a causal map leaves as it is, whether it came to that): every round makes at least one more spike final."""
    differs = lambda old, new: jnp.any((old != new) & ~(jnp.isnan(old) & jnp.isnan(new)))
    more = lambda c: (c[2] < rounds) & differs(c[0], c[1])
    old, new, _ = jax.lax.while_loop(more, lambda c: (c[1], function(c[1]), c[2] + 1), (start, function(start), 1))
    return new, ~differs(old, new)
