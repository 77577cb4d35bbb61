"""Spike-timing-dependent plasticity of pairs: which pairs count, and how much."""

import jax.numpy as jnp

import brainsim as bs

from .powers import power


class STDP(bs.Plasticity):
    """Pair STDP: every presynaptic spike pairs with every postsynaptic one (all-to-all).

    Equation::

        K_plus' = -K_plus / tau_plus      pre spike:   w -= A_minus (w / w_max)^mu_minus K_minus,       K_plus += 1
        K_minus' = -K_minus / tau_minus   post spike:  w += A_plus (1 - w / w_max)^mu_plus K_plus,      K_minus += 1

    mu = 0 is additive (the default; then w_max has no effect), mu = 1 multiplicative, and between them the rule of
    Guetig et al. The bounds of the connection clip on top of it. Defaults: the windows of Song et al. for w_max = 1.
    Amplitudes are in the unit of the weight.

    Args:
        A_plus, A_minus: largest change by a pair, post after pre and pre after post.
        tau_plus, tau_minus: widths of the windows.
        mu_plus, mu_minus: exponents of the weight.
        w_max: weight at which potentiation ends if mu_plus > 0.

    Example:
        >>> STDP(A_plus=0.5).on_post(K_plus=0.5, w=0.0)["K_minus"]
        1.0

    References:
        Song, Miller & Abbott 2000, 10.1038/78829.
        Guetig, Aharonov, Rotter & Sompolinsky 2003, 10.1523/JNEUROSCI.23-09-03697.2003.
        Morrison, Diesmann & Gerstner 2008, 10.1007/s00422-008-0233-1.
    """

    A_plus = bs.param(0.005)
    A_minus = bs.param(0.00525)
    tau_plus = bs.param(20.0, "ms", bounds=(0, None))
    tau_minus = bs.param(20.0, "ms", bounds=(0, None))
    mu_plus = bs.param(0.0, bounds=(0, None), closed=True)
    mu_minus = bs.param(0.0, bounds=(0, None), closed=True)
    w_max = bs.param(1.0, bounds=(0, None))

    K_plus = bs.state(0.0, on="pre")
    K_minus = bs.state(0.0, on="post")

    def dK_plus(self, K_plus):
        return -K_plus / self.tau_plus

    def dK_minus(self, K_minus):
        return -K_minus / self.tau_minus

    def _up(self, w):
        return self.A_plus * power(1.0 - w / self.w_max, self.mu_plus)

    def _down(self, w):
        return -self.A_minus * power(w / self.w_max, self.mu_minus)

    def on_pre(self, K_minus, w):
        return dict(K_plus=1.0, w=self._down(w) * K_minus)

    def on_post(self, K_plus, w):
        return dict(K_minus=1.0, w=self._up(w) * K_plus)


class NearestSTDP(STDP):
    """Nearest-neighbour pair STDP: every spike pairs only with the last spike of the partner (symmetric scheme).

    Equation::

        pre spike:   w -= A_minus (w / w_max)^mu_minus K_minus,       K_plus = 1
        post spike:  w += A_plus (1 - w / w_max)^mu_plus K_plus,      K_minus = 1

    Args:
        A_plus, A_minus, tau_plus, tau_minus, mu_plus, mu_minus, w_max: as in `STDP`.

    Example:
        >>> NearestSTDP().on_post(K_plus=0.5, K_minus=0.25, w=0.0)["K_minus"]
        0.75

    References:
        Morrison, Diesmann & Gerstner 2008, 10.1007/s00422-008-0233-1 (figure 7A).
        Izhikevich & Desai 2003, 10.1162/089976603321891783.
    """

    def on_pre(self, K_plus, K_minus, w):
        return dict(K_plus=1.0 - K_plus, w=self._down(w) * K_minus)

    def on_post(self, K_plus, K_minus, w):
        return dict(K_minus=1.0 - K_minus, w=self._up(w) * K_plus)


class PreCentredSTDP(STDP):
    """Pair STDP in which every presynaptic spike pairs with the last postsynaptic spike and with the next one.

    Equation::

        pre spike:   w -= A_minus (w / w_max)^mu_minus K_minus,                 K_plus += 1
        post spike:  w += A_plus (1 - w / w_max)^mu_plus (K_plus - used since),  used = K_plus, since = 1, K_minus = 1

    `used since` is the part of K_plus that earlier postsynaptic spikes have paired with already; `since` decays with
    tau_plus. So an edge has nothing to compute between its spikes.

    Args:
        A_plus, A_minus, tau_plus, tau_minus, mu_plus, mu_minus, w_max: as in `STDP`.

    Example:
        >>> PreCentredSTDP(A_plus=1.0).on_post(K_plus=0.5, K_minus=1.0, used=0.5, since=1.0, w=0.5)["used"]
        0.0

    References:
        Morrison, Diesmann & Gerstner 2008, 10.1007/s00422-008-0233-1 (figure 7B).
        Izhikevich & Desai 2003, 10.1162/089976603321891783.
    """

    since = bs.state(0.0, on="post")
    used = bs.state(0.0, on="edge", jump=True)

    def dsince(self, since):
        return -since / self.tau_plus

    def on_post(self, K_plus, K_minus, used, since, w):
        fresh = self._up(w) * (K_plus - used * since)
        return dict(K_minus=1.0 - K_minus, since=1.0 - since, used=K_plus - used, w=fresh)


class ReducedSTDP(STDP):
    """Pair STDP of immediate neighbours: a pair counts if no other spike lies between (reduced symmetric scheme).

    Equation::

        pre spike:   w -= A_minus (w / w_max)^mu_minus K_minus, unless an earlier pre spike has seen it;    K_plus = 1
        post spike:  w += A_plus (1 - w / w_max)^mu_plus K_plus, unless an earlier post spike has seen it;  K_minus = 1

    Every spike remembers the trace it has seen on the edge (`seen_plus`, `seen_minus`) and the time since on its cell
    (`since_pre_spike`, `since_post_spike`, which decay as the trace of the partner); a trace above that comes from a
    newer spike. With ties="neither" both spikes of a tie can still pair with their successors.

    Args:
        A_plus, A_minus, tau_plus, tau_minus, mu_plus, mu_minus, w_max: as in `STDP`.

    Example:
        >>> ReducedSTDP()._fresh(0.5, seen=0.5, since=1.0, slack=1e-3).item()
        0.0

    References:
        Morrison, Diesmann & Gerstner 2008, 10.1007/s00422-008-0233-1 (figure 7C).
        Burkitt, Meffin & Grayden 2004, 10.1162/089976604773135041.
    """

    since_pre_spike = bs.state(0.0, on="pre")
    since_post_spike = bs.state(0.0, on="post")
    seen_plus = bs.state(0.0, on="edge", jump=True)
    seen_minus = bs.state(0.0, on="edge", jump=True)

    def dsince_pre_spike(self, since_pre_spike):
        return -since_pre_spike / self.tau_minus

    def dsince_post_spike(self, since_post_spike):
        return -since_post_spike / self.tau_plus

    def _fresh(self, trace, seen, since, slack):
        """The trace if it is newer than the one seen: by a step at least, so half a step is slack for rounding."""
        return jnp.where(trace > seen * since * (1.0 + slack), trace, 0.0)

    def on_pre(self, K_plus, K_minus, since_pre_spike, seen_minus, w, dt):
        fresh = self._fresh(K_minus, seen_minus, since_pre_spike, 0.5 * dt / self.tau_minus)
        return dict(
            K_plus=1.0 - K_plus,
            since_pre_spike=1.0 - since_pre_spike,
            seen_minus=K_minus - seen_minus,
            w=self._down(w) * fresh,
        )

    def on_post(self, K_plus, K_minus, since_post_spike, seen_plus, w, dt):
        fresh = self._fresh(K_plus, seen_plus, since_post_spike, 0.5 * dt / self.tau_plus)
        return dict(
            K_minus=1.0 - K_minus,
            since_post_spike=1.0 - since_post_spike,
            seen_plus=K_plus - seen_plus,
            w=self._up(w) * fresh,
        )


class SymmetricSTDP(bs.Plasticity):
    """Symmetric STDP: only the distance of two spikes counts, not their order; coincidence or a Mexican hat.

    Equation::

        pair of spikes at distance d:  w += A_near exp(-|d| / tau_near) - A_far exp(-|d| / tau_far)
        pre spike:  w -= A_pre

    A_far = 0, the default, is a detector of coincidence; A_far > 0 with a longer tau_far a Mexican hat, which depresses
    by pairs that are farther apart. All pairs count. A_pre is a cost of every presynaptic spike.

    Args:
        A_near, tau_near: height and width of the potentiation.
        A_far, tau_far: height and width of the depression.
        A_pre: depression by a presynaptic spike alone.

    Example:
        >>> SymmetricSTDP(A_near=1.0).on_post(near_in=0.5, far_in=0.0)["w"]
        0.5

    References:
        Woodin, Ganguly & Poo 2003, 10.1016/S0896-6273(03)00507-5.
        Abbott & Nelson 2000, 10.1038/81453 (the windows).
        Hao, Huang, Dong & Xu 2020, 10.1016/j.neunet.2019.09.007.
    """

    A_near = bs.param(0.01)
    tau_near = bs.param(20.0, "ms", bounds=(0, None))
    A_far = bs.param(0.0)
    tau_far = bs.param(40.0, "ms", bounds=(0, None))
    A_pre = bs.param(0.0)

    near_in = bs.state(0.0, on="pre")
    far_in = bs.state(0.0, on="pre")
    near_out = bs.state(0.0, on="post")
    far_out = bs.state(0.0, on="post")

    def dnear_in(self, near_in):
        return -near_in / self.tau_near

    def dfar_in(self, far_in):
        return -far_in / self.tau_far

    def dnear_out(self, near_out):
        return -near_out / self.tau_near

    def dfar_out(self, far_out):
        return -far_out / self.tau_far

    def on_pre(self, near_out, far_out):
        return dict(near_in=1.0, far_in=1.0, w=self.A_near * near_out - self.A_far * far_out - self.A_pre)

    def on_post(self, near_in, far_in):
        return dict(near_out=1.0, far_out=1.0, w=self.A_near * near_in - self.A_far * far_in)
