"""STDP over a window of time steps, with a value for every lag, as digital hardware has it."""

import types
from collections.abc import Sequence
from functools import lru_cache
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

import brainsim as bs
from brainsim.errors import ParameterError

LONGEST = 22  # the window is a binary number of one digit more, exact in float32


class WindowedSTDP(bs.Plasticity):
    """Pairs of a postsynaptic spike and a presynaptic one of the last steps potentiate; every other step depresses.

    Equation, at the end of step n, for k = 0 .. K - 1 while n > k::

        pre spiked in step n - 1 - k and post in step n:  w += A_plus_k
        else:                                             w += A_minus_k

    So A_minus_k, which is not positive, also depresses an edge whose cells are silent. `windowed_stdp` makes a rule
    with a window of any length K up to 22; connect it with `ties="post_first"`, `deliver="new"` and
    `bounds=bs.unbounded()`.

    The spikes of a source in the last K steps are the digits of the number `x`. What holds in every step is part of
    `dw`; a postsynaptic spike adds the difference, for the lags where there was a pair.

    References:
        Date, Gunaratne, Kulkarni, Patton, Coletti & Potok 2023 (SuperNeuro), 10.1145/3589737.3606000.
        Gautam, Date, Kulkarni, Patton & Potok 2025 (NeuroCoreX), arXiv:2506.14138.
    """

    window: ClassVar[int] = 0

    x = bs.state(0.0, on="pre")

    def validate(self):
        if not self.window:
            raise ParameterError("WindowedSTDP has no window; write windowed_stdp(A_plus, A_minus), a value per lag")

    def dx(self, x, dt):
        # to the next number in exactly one step; the derivative is hidden, else the step would be an exponential one
        return (jnp.floor((x + 0.5) / 2) - jax.lax.stop_gradient(x)) / dt

    def on_pre(self):
        return dict(x=2.0**self.window)

    def dw(self, t, dt):
        # as many lags as there are steps before this one
        return sum(jnp.where(t > (k + 0.5) * dt, getattr(self, f"A_minus_{k}"), 0.0) for k in range(self.window)) / dt

    def on_post(self, x):
        digit = lambda k: jnp.mod(jnp.floor((x + 0.5) / 2.0 ** (self.window - 1 - k)), 2.0)
        gain = lambda k: getattr(self, f"A_plus_{k}") - getattr(self, f"A_minus_{k}")
        return dict(w=sum(gain(k) * digit(k) for k in range(self.window)))


@lru_cache
def _of_window(k: int) -> type:
    """The rule with the parameters of k lags."""

    def body(names):
        names.update(window=k, __doc__=WindowedSTDP.__doc__, __module__=__name__)
        for lag in range(k):
            names[f"A_plus_{lag}"] = bs.param(0.0, bounds=(0, None), closed=True)
            names[f"A_minus_{lag}"] = bs.param(0.0, bounds=(None, 0), closed=True)

    return types.new_class(f"WindowedSTDP{k}", (WindowedSTDP,), exec_body=body)


def windowed_stdp(A_plus: Sequence[float], A_minus: Sequence[float]) -> WindowedSTDP:
    """STDP over the last K steps.

    Args:
        A_plus: (K,) what a pair adds, in pA, by the steps between its spikes less one; at least 0.
        A_minus: (K,) what a step without that pair adds; at most 0.

    Raises:
        ParameterError: lists of different length, empty ones, a window above 22 steps, a value of the wrong sign.

    Example:
        >>> windowed_stdp((1.0, 0.5), (-0.1, 0.0)).A_plus_1
        0.5
    """
    k = len(A_plus)
    if k != len(A_minus) or not 1 <= k <= LONGEST:
        raise ParameterError(
            f"windowed_stdp: {k} values of A_plus and {len(A_minus)} of A_minus; give two lists of one length from 1 "
            f"to {LONGEST}, 0.0 where a lag changes nothing"
        )
    values = {f"A_plus_{i}": float(a) for i, a in enumerate(np.asarray(A_plus, float))}
    values.update({f"A_minus_{i}": float(a) for i, a in enumerate(np.asarray(A_minus, float))})
    return _of_window(k)(**values)
