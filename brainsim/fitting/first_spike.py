"""Exact first spike times of LIF cells with exponential currents, and their exact derivatives."""

import jax
import jax.numpy as jnp
import numpy as np

from ..errors import ParameterError
from ..program import dtype
from .event_forms import FORMS, Form, kernel_any, slope
from .event_sort import sort_by_time
from .losses_checks import known


def first_spike(times, weights, delays=None, *, tau_m, tau_s, threshold=1.0):
    """Time of the first spike of cells at rest, from the spikes that they receive.

    Equation::

        tau_m v' = -v + i,   tau_s i' = -i,   a spike of source j at t_j: i += w_j at t_j + d_j
        T = the earliest t with v(t) = threshold

    so v(t) = sum_j w_j k(t - t_j - d_j), k(s) = tau_s / (tau_m - tau_s) (exp(-s/tau_m) - exp(-s/tau_s)). Closed form
    for tau_m = 2 tau_s (a square root) and tau_m = tau_s (Lambert W) when these are numbers that are known (Göltz et
    al. 2021, 10.1038/s42256-021-00388-x); otherwise, as where they are differentiated, a bracketed iteration to
    rounding. Derivatives are those of the implicit function v(T) = threshold, in forward and reverse mode, of any
    order, by weights, times, delays, time constants and threshold. A silent cell has T = inf and derivatives 0; so
    have inputs that come later than T. As the peak of v nears the threshold dT grows without bound; the slope v'(T)
    is taken to be at least sqrt(eps) threshold / tau_m, below which rounding makes it unknown.

    Args:
        times: (..., n_in) ms; inf for a source that does not fire.
        weights: (n_in, n_out) in units of the threshold (mV: resistance times current).
        delays: ms, one number, or any shape that broadcasts to (n_in, n_out); default 0.
        tau_m, tau_s: membrane and synaptic time constant, ms, one number or one per cell (n_out,).
        threshold: of v above rest, one number or one per cell.

    Returns:
        (..., n_out) ms.

    Raises:
        ParameterError: shapes that do not fit; a time constant, threshold or delay out of range (when known).

    Example:
        >>> import jax
        >>> float(first_spike([1.0], [[4.0]], tau_m=2.0, tau_s=1.0)[0])  # 1 + 2 ln 2
        2.386294364929199
        >>> jax.grad(lambda w: first_spike([1.0], w, tau_m=2.0, tau_s=1.0)[0])(jax.numpy.array([[5.0]])).shape
        (1, 1)
    """
    form = form_of(tau_m, tau_s)
    times, weights = jnp.asarray(times, dtype()), jnp.asarray(weights, dtype())
    if weights.ndim != 2 or times.shape[-1:] != weights.shape[:1]:
        raise ParameterError(
            f"times {times.shape} and weights {weights.shape} do not fit; give times (..., n_in) and weights "
            f"(n_in, n_out)"
        )
    n_in, n_out = weights.shape
    cells = [per_cell(x, name, n_out) for name, x in (("tau_m", tau_m), ("tau_s", tau_s), ("threshold", threshold))]
    delays = as_delays(delays, (n_in, n_out))
    arrivals = times.reshape(-1, n_in).T[:, :, None] + delays[:, None, :]
    rest = jnp.zeros((n_out,), dtype())
    return FIRST[form](arrivals, weights, rest, rest, *cells).reshape(*times.shape[:-1], n_out)


def form_of(tau_m, tau_s) -> str:
    """Which solution holds: decided by numbers, so "any" where they are not known."""
    if not (known(tau_m) and known(tau_s)):
        return "any"
    tau_m, tau_s = np.asarray(tau_m), np.asarray(tau_s)
    return "double" if np.all(tau_m == 2 * tau_s) else "equal" if np.all(tau_m == tau_s) else "any"


def per_cell(x, name, n_out, zero=False):
    """A value per cell (n_out,), positive, or at least 0."""
    x = jnp.asarray(x, dtype())
    if x.shape not in ((), (1,), (n_out,)):
        raise ParameterError(f"{name} has shape {x.shape}; give one number, or one per cell ({n_out},)")
    if known(x) and not (np.isfinite(x).all() and ((np.asarray(x) > 0) | (zero & (np.asarray(x) == 0))).all()):
        raise ParameterError(f"{name} = {np.asarray(x)} must be {'0 or ' * zero}positive; give such a number")
    return jnp.broadcast_to(x, (n_out,))


def as_delays(delays, shape):
    """Delays of all edges."""
    delays = jnp.zeros((), dtype()) if delays is None else jnp.asarray(delays, dtype())
    if delays.ndim > 2 or any(a not in (1, b) for a, b in zip(delays.shape[::-1], shape[::-1])):
        raise ParameterError(f"delays has shape {delays.shape}; give one number, or a shape that broadcasts to {shape}")
    if known(delays) and not (np.asarray(delays) >= 0).all():
        raise ParameterError(f"the smallest delay is {np.min(delays)} ms; a spike cannot arrive before it is sent")
    return jnp.broadcast_to(delays, shape)


def _solver(form: Form):
    """Times (batch, n_out) of arrivals (n_in, batch, n_out), weights (n_in, n_out) and values (n_out,) per cell.

    Cells have the voltage v from the time `begin` on, which must be that of their earliest arrival unless v = 0.
    """

    @jax.custom_jvp
    def first(arrivals, weights, begin, v, tau_m, tau_s, threshold):
        return _search(form, arrivals, weights, v[None], tau_m[None], tau_s[None], threshold[None])

    def implicit(primals, tangents):
        found = first(*primals)
        return found, _implicit(form, found, primals, tangents)

    first.defjvp(implicit, symbolic_zeros=True)
    return first


def _search(form, arrivals, weights, v, tau_m, tau_s, threshold):
    """Arrivals in order, with v and i just before each; keeps those of the interval in which the cell fires."""
    reaches = arrivals < jnp.inf
    sends = jnp.where(reaches | jnp.isnan(arrivals), weights[:, None, :], 0.0)
    times, sends = sort_by_time(arrivals, sends)
    later = jnp.concatenate([times[1:], jnp.full_like(times[:1], jnp.inf)])
    gaps = jnp.where(jnp.isinf(later), jnp.inf, later - times)
    zero = jnp.zeros(arrivals.shape[1:], arrivals.dtype)

    def step(carry, row):
        (v, i), kept = carry
        time, gap, send = row
        i = i + send
        ended = gap == jnp.inf
        wait = jnp.where(ended, 0.0, gap)
        after = v * jnp.exp(-wait / tau_m) + i * form.kernel(wait, tau_m, tau_s)
        after, left = jnp.where(ended, 0.0, after), jnp.where(ended, 0.0, i * jnp.exp(-wait / tau_s))
        rises = (i > 0) & (v < i)
        to_peak, top = form.peak(jnp.where(rises, v, 0.0), jnp.where(rises, i, 1.0), tau_m, tau_s)
        # what arrives when v is at the threshold but for rounding comes too late: a cell's own spike without delay
        near = threshold - 8.0 * jnp.finfo(v.dtype).eps * (jnp.abs(v) + jnp.abs(i) + jnp.abs(threshold))
        there = after >= jnp.where(ended, threshold, near)
        hit = rises & (((to_peak <= gap) & (top >= threshold)) | there)
        hit |= (threshold < 0) & there  # from below such a level v comes back to 0 by itself
        now = (v, i, time, gap)
        kept = tuple(jnp.where(hit & (kept[2] == jnp.inf), a, b) for a, b in zip(now, kept))
        return ((after, left), kept), None

    kept = (zero, zero + 1.0, zero + jnp.inf, zero)
    (_, (v, i, time, gap)), _ = jax.lax.scan(step, ((zero + v, zero), kept), (times, gaps, sends))
    fires = time < jnp.inf
    wait = form.rise(v, jnp.where(fires, i, 4.0 * threshold), threshold, gap, tau_m, tau_s)
    found = jnp.where(fires, time + jnp.clip(wait, 0.0, gap), jnp.inf)
    return jnp.where(_broken(arrivals, weights), jnp.nan, found)


def _broken(arrivals, weights):
    """Where an input is nan: a comparison with it would be silently false."""
    return jnp.isnan(arrivals).any(0) | jnp.isnan(weights).any(0)[None]


def _implicit(form, found, primals, tangents):
    """dT = -(dv at fixed T) / v'(T)."""
    arrivals, weights, begin, v, *cells = primals
    begin, v = begin[None], v[None]
    tau_m, tau_s, threshold = (x[None, None] for x in cells)
    fires = found < jnp.inf
    wait = found[None] - arrivals
    acts = fires[None] & (wait > 0)
    wait = jnp.where(acts, wait, 0.0)
    kernel = form.kernel(wait, tau_m, tau_s)
    steep = jnp.where(acts, slope(kernel, wait, tau_m, tau_s), 0.0)
    sends = weights[:, None, :]
    least = jnp.sqrt(jnp.finfo(found.dtype).eps) * (jnp.abs(threshold) / tau_m)[0]
    age = jnp.where(fires & (jnp.abs(begin) < jnp.inf), found - begin, 0.0)
    left = jnp.exp(-age / tau_m[0])
    rate = jnp.maximum(jnp.sum(sends * steep, 0) - v * left / tau_m[0], least)
    zero = lambda t: isinstance(t, jax.custom_derivatives.SymbolicZero)
    d_arrivals, d_weights, d_begin, d_v, *d_cells = tangents
    moved = jnp.zeros_like(found)
    if not zero(d_v):
        moved += left * d_v[None]
    if not zero(d_begin):
        moved += jnp.where(fires, d_begin[None], 0.0) * v * left / tau_m[0]
    if not zero(d_weights):
        moved += jnp.sum(kernel * d_weights[:, None, :], 0)
    if not zero(d_arrivals):
        moved -= jnp.sum(sends * steep * jnp.where(acts, d_arrivals, 0.0), 0)
    if not zero(d_cells[2]):
        moved -= d_cells[2][None]
    if not (zero(d_cells[0]) and zero(d_cells[1])):
        given = [jnp.zeros_like(x) if zero(t) else t for x, t in zip(cells, d_cells[:2])]
        by_taus = jax.jvp(lambda m, s: kernel_any(wait, m, s), (tau_m, tau_s), tuple(t[None, None] for t in given))
        moved += jnp.sum(sends * by_taus[1], 0) + v * left * age / tau_m[0] ** 2 * given[0][None]
    return jnp.where(fires, -moved / rate, 0.0)


FIRST = {name: jax.jit(_solver(form)) for name, form in FORMS.items()}
