"""Losses of membrane voltages, or of any other continuous trace.

Arrays have time as their first axis: (steps,) or (steps, cells). Residuals are flat vectors for least squares; the loss
of the same name is the mean of their squares.
"""

import jax
import jax.numpy as jnp
import numpy as np

from ..errors import ParameterError, UnknownNameError, unknown
from .losses_checks import alike, number, per_cell, series, whole
from .losses_signal import low_pass, root, windows


def voltage_residual(v, data, scale=1.0, every: int = 1):
    """Scaled difference of two voltage traces, as a vector for least squares.

    Args:
        v: simulated, (steps, ...) mV. data: measured, same shape.
        scale: mV (text such as "2 mV" too), one number or an array that broadcasts against v: the size of an error that
            counts as 1. `inf` gives a sample no weight.
        every: keep one step of so many, the last of them, as `every=` of a recorder does.

    Returns:
        (n_kept,) (v - data) / scale, dimensionless; all cells of a step lie together.

    Raises:
        ParameterError: v and data differ in shape, data are not finite, or scale is not positive.

    Example:
        >>> voltage_residual([-60.0, -50.0], [-62.0, -50.0], scale="2 mV").tolist()
        [1.0, 0.0]
    """
    v, data = alike(v, data)
    return _scaled(v - data, scale, every)


def voltage_mse(v, data, scale=1.0, every: int = 1):
    """Mean squared error of a voltage trace: mean of `voltage_residual` squared. Arguments as there."""
    return jnp.mean(voltage_residual(v, data, scale, every) ** 2)


def low_passed_residual(v, data, dt, tau, scale=1.0, every: int = 1):
    """Difference of two voltage traces after an exponential filter, as a vector for least squares.

    Filtering both traces blurs their spikes, so that a spike a little early or late costs a little only: the minimum is
    wider than that of the plain error (compare `van_rossum`, which does this with spike trains).

    Args:
        v, data: (steps, ...) mV. dt: ms. tau: time constant of the filter, ms; see `low_pass`.
        scale, every: as in `voltage_residual`, applied after the filter.

    Returns:
        (n_kept,), dimensionless.

    Raises:
        ParameterError: as in `voltage_residual`; dt or tau is not positive.
    """
    v, data = alike(v, data)
    return _scaled(low_pass(v - data, dt, tau), scale, every)


def low_passed_mse(v, data, dt, tau, scale=1.0, every: int = 1):
    """Mean of `low_passed_residual` squared. Arguments as there."""
    return jnp.mean(low_passed_residual(v, data, dt, tau, scale, every) ** 2)


def _scaled(difference, scale, every):
    every = whole(every, "every", 1, difference.shape[0])
    scale = number(scale, "mV", "scale", infinite=True)
    scaled = difference / per_cell(scale, difference.shape, difference.dtype, "scale")
    return scaled[every - 1 :: every].ravel()


def window_max(v, dt, window):
    """Maximum in consecutive windows: a short trace that keeps the spikes, for `soft_dtw`.

    Args:
        v: (steps, ...). dt: ms. window: ms, a multiple of dt; a whole number of windows fills the trace.

    Returns:
        (windows, ...), in the unit of v. The derivative is that of the largest sample (equal ones share it).

    Raises:
        ParameterError: window is no multiple of dt, or some steps would be left over.

    Example:
        >>> window_max([1.0, 5.0, 2.0, 3.0], dt=0.1, window="0.2 ms").tolist()
        [5.0, 3.0]
    """
    return jnp.max(windows(v, dt, window), axis=1)


FEATURES = {
    "mean": lambda w: jnp.mean(w, axis=1),
    "std": lambda w: root(jnp.mean((w - jnp.mean(w, axis=1, keepdims=True)) ** 2, axis=1)),
    "max": lambda w: jnp.max(w, axis=1),
    "min": lambda w: jnp.min(w, axis=1),
}


def window_features(v, dt, window, features=("mean", "std", "max", "min")):
    """Mean, standard deviation, maximum and minimum in consecutive windows.

    Args:
        v: (steps, ...) mV. dt: ms. window: ms, as in `window_max`. features: which, in the order of the result.

    Returns:
        (features, windows, ...) mV. The standard deviation is that of the sample, divided by its size; its derivative
        is set to 0 in a window where v is constant.

    Raises:
        UnknownNameError: a feature that does not exist. ParameterError: as in `window_max`.
    """
    parts, features = windows(v, dt, window), (features,) if isinstance(features, str) else tuple(features)
    if not features:
        raise ParameterError(f"features is empty, so there is nothing to compute; choose from {', '.join(FEATURES)}")
    for name in features:
        if name not in FEATURES:
            raise UnknownNameError(unknown("window feature", name, FEATURES))
    return jnp.stack([FEATURES[name](parts) for name in features])


def window_residual(v, data, dt, window, scale):
    """Differences of the window features of two traces, as a vector for least squares.

    Args:
        v, data: (steps, ...) mV. dt: ms. window: ms.
        scale: dict of feature -> mV, such as {"mean": 5.0, "std": "10 mV"}: which features, and the size of an error
            that counts as 1.

    Returns:
        (features x windows x cells,), dimensionless.

    Raises:
        ParameterError: v and data differ in shape, a scale is not positive, or as in `window_max`.
    """
    v, data = alike(v, data)
    if not isinstance(scale, dict):
        raise ParameterError(f"scale = {scale!r} does not say which features; write scale={{'mean': 5.0, 'std': 10.0}}")
    apart = window_features(v, dt, window, scale) - window_features(data, dt, window, scale)
    scales = [number(value, "mV", f"scale[{name!r}]") for name, value in scale.items()]
    return jnp.concatenate([(part / value).ravel() for part, value in zip(apart, scales)])


def soft_dtw(x, y, gamma=1.0):
    """Soft dynamic time warping: the soft minimum, over all alignments, of the summed squared distances.

    R_ij = |x_i - y_j|^2 + softmin(R_(i-1)j, R_i(j-1), R_(i-1)(j-1)), softmin(a) = -gamma log sum exp(-a/gamma); the
    value is the last R (Cuturi & Blondel 2017, arXiv:1703.01541, https://doi.org/10.48550/arXiv.1703.01541). It tends
    to dynamic time warping as gamma falls to 0, and may be negative.

    Args:
        x: (n,) or (n, d). y: (m,) or (m, d); another length is allowed.
        gamma: smoothing, in the squared unit of x; positive.

    Returns:
        A number in the squared unit of x. It takes n + m - 1 steps, one per anti-diagonal; the reverse mode
        keeps O((n + m) n) numbers, so thin long traces with `window_max` first.

    Raises:
        ParameterError: x and y differ in their number of axes or dimensions, or gamma is not positive.

    Example:
        >>> abs(round(float(soft_dtw([0.0, 3.0, 1.0], [0.0, 0.0, 3.0, 1.0], gamma=0.01)), 3))  # early by a step
        0.0
    """
    x, y = series(x, "x"), series(y, "y", data=True)
    gamma = number(gamma, None, "gamma")
    if x.ndim != y.ndim or x.ndim > 2 or x.shape[1:] != y.shape[1:]:
        raise ParameterError(
            f"soft_dtw compares two series of points of one dimension, given are shapes {x.shape} and {y.shape}; give "
            f"(n,) and (m,), or (n, d) and (m, d)"
        )
    return _soft_dtw(x.reshape(len(x), -1), y.astype(x.dtype).reshape(len(y), -1), jnp.asarray(gamma, x.dtype))


def soft_dtw_divergence(x, y, gamma=1.0):
    """Soft-DTW made a divergence: s(x, y) - (s(x, x) + s(y, y)) / 2, which is 0 for x = y and never negative.

    Blondel, Mensch & Vert (2021), https://doi.org/10.48550/arXiv.2010.08354. Arguments and errors as in `soft_dtw`.
    """
    y = series(y, "y", data=True).astype(series(x, "x").dtype)
    return soft_dtw(x, y, gamma) - 0.5 * (soft_dtw(x, x, gamma) + soft_dtw(y, y, gamma))


def _soft_dtw(x, y, gamma):
    """Diagonal k holds R_i(k-i) at place i, for all i; places outside of the matrix hold a large number.

    Large, not infinite: inf - inf would make derivatives nan. Its root keeps the quotient with gamma finite.
    """
    n, m = len(x), len(y)
    large = jnp.asarray(np.sqrt(jnp.finfo(x.dtype).max), x.dtype)
    backwards = jnp.pad(y, ((n - 1, n - 1), (0, 0)))[::-1]
    rows = jnp.arange(n)

    def softmin(*values):
        least = jax.lax.stop_gradient(jnp.minimum(jnp.minimum(values[0], values[1]), values[2]))
        return least - gamma * jnp.log(sum(jnp.exp((least - value) / gamma) for value in values))

    def down(diagonal):
        return jnp.concatenate([large[None], diagonal[:-1]])

    def step(carry, k):
        before, corner = carry  # diagonal k - 1, and diagonal k - 2 moved down
        facing = jax.lax.dynamic_slice_in_dim(backwards, m + n - 2 - k, n)  # y_(k-i) at place i
        now = jnp.sum((x - facing) ** 2, axis=1) + softmin(down(before), before, corner)
        now = jnp.where((rows <= k) & (k - rows < m), now, large)
        return (now, down(before)), None

    start = jnp.full(n, large), jnp.full(n, large).at[0].set(0.0)
    return jax.lax.scan(step, start, jnp.arange(n + m - 1))[0][0][-1]
