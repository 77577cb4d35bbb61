"""Triplet rule of Pfister and Gerstner."""

from typing import ClassVar

import brainsim as bs

from ..presets import preset


def _row(A2_plus, A3_plus, A2_minus, A3_minus, tau_x, tau_y):
    """A row of table 4 of the paper; tau_plus and tau_minus are those of all rows."""
    return dict(
        A2_plus=A2_plus, A3_plus=A3_plus, A2_minus=A2_minus, A3_minus=A3_minus,
        tau_plus=16.8, tau_minus=33.7, tau_x=tau_x, tau_y=tau_y,
    )  # fmt: skip


class TripletSTDP(bs.Plasticity):
    """Triplet STDP: potentiation by post-pre-post, depression by pre-post-pre, beside the pairs; all spikes interact.

    Equation::

        r1' = -r1 / tau_plus,   r2' = -r2 / tau_x     (presynaptic)
        o1' = -o1 / tau_minus,  o2' = -o2 / tau_y     (postsynaptic)
        pre spike:   w -= o1 (A2_minus + A3_minus r2),  r1 += 1, r2 += 1
        post spike:  w += r1 (A2_plus + A3_plus o2),    o1 += 1, o2 += 1

    A spike sees its own slow trace (r2, o2) as it was just before. Defaults: the minimal model of visual cortex, which
    has no triplet depression (so r2 does nothing). `TripletSTDP.preset(name)`: "visual", "visual_minimal",
    "hippocampus", "hippocampus_minimal" (table 4 of the paper, all-to-all). Amplitudes are changes relative to w = 1;
    scale them to other weights.

    Args:
        A2_plus, A2_minus: amplitudes of pairs.
        A3_plus, A3_minus: amplitudes of triplets.
        tau_plus, tau_minus: time constants of the fast traces.
        tau_x, tau_y: time constants of the slow traces.

    Example:
        >>> TripletSTDP(A3_plus=0.5).on_post(r1=1.0, o2=1.0)["w"]
        0.5

    References:
        Pfister & Gerstner 2006, 10.1523/JNEUROSCI.1425-06.2006.
    """

    A2_plus = bs.param(0.0)
    A3_plus = bs.param(6.5e-3)
    A2_minus = bs.param(7.1e-3)
    A3_minus = bs.param(0.0)
    tau_plus = bs.param(16.8, "ms", bounds=(0, None))
    tau_minus = bs.param(33.7, "ms", bounds=(0, None))
    tau_x = bs.param(101.0, "ms", bounds=(0, None))
    tau_y = bs.param(114.0, "ms", bounds=(0, None))

    r1 = bs.state(0.0, on="pre")
    r2 = bs.state(0.0, on="pre")
    o1 = bs.state(0.0, on="post")
    o2 = bs.state(0.0, on="post")

    PRESETS: ClassVar = {
        "visual": _row(5e-10, 6.2e-3, 7e-3, 2.3e-4, 101.0, 125.0),
        "visual_minimal": _row(0.0, 6.5e-3, 7.1e-3, 0.0, 101.0, 114.0),
        "hippocampus": _row(6.1e-3, 6.7e-3, 1.6e-3, 1.4e-3, 946.0, 27.0),
        "hippocampus_minimal": _row(5.3e-3, 8e-3, 3.5e-3, 0.0, 946.0, 40.0),
    }

    @classmethod
    def preset(cls, name, **changes):
        """A published parameter set, for example `TripletSTDP.preset("visual")`."""
        return preset(cls, cls.PRESETS, name, changes)

    def dr1(self, r1):
        return -r1 / self.tau_plus

    def dr2(self, r2):
        return -r2 / self.tau_x

    def do1(self, o1):
        return -o1 / self.tau_minus

    def do2(self, o2):
        return -o2 / self.tau_y

    def _down(self, r2, o1):
        return -o1 * (self.A2_minus + self.A3_minus * r2)

    def _up(self, r1, o2):
        return r1 * (self.A2_plus + self.A3_plus * o2)

    def on_pre(self, r2, o1):
        return dict(r1=1.0, r2=1.0, w=self._down(r2, o1))

    def on_post(self, r1, o2):
        return dict(o1=1.0, o2=1.0, w=self._up(r1, o2))


class NearestTripletSTDP(TripletSTDP):
    """Triplet STDP of nearest spikes: every trace is set to 1 by a spike instead of growing.

    Equation::

        pre spike:   w -= o1 (A2_minus + A3_minus r2),  r1 = 1, r2 = 1
        post spike:  w += r1 (A2_plus + A3_plus o2),    o1 = 1, o2 = 1

    `NearestTripletSTDP.preset(name)` has the sets of table 4 that were fitted to this scheme, with the names of
    `TripletSTDP`; default: the minimal model of visual cortex.

    Args:
        A2_plus, A2_minus, A3_plus, A3_minus, tau_plus, tau_minus, tau_x, tau_y: as in `TripletSTDP`.

    Example:
        >>> NearestTripletSTDP().on_post(r1=0.0, o1=0.25, o2=0.5)["o1"]
        0.75

    References:
        Pfister & Gerstner 2006, 10.1523/JNEUROSCI.1425-06.2006.
    """

    A3_plus = bs.param(5e-2)
    A2_minus = bs.param(8e-3)
    tau_x = bs.param(714.0, "ms", bounds=(0, None))
    tau_y = bs.param(40.0, "ms", bounds=(0, None))

    PRESETS: ClassVar = {
        "visual": _row(8.8e-11, 5.3e-2, 6.6e-3, 3.1e-3, 714.0, 40.0),
        "visual_minimal": _row(0.0, 5e-2, 8e-3, 0.0, 714.0, 40.0),
        "hippocampus": _row(4.6e-3, 9.1e-3, 3e-3, 7.5e-9, 575.0, 47.0),
        "hippocampus_minimal": _row(4.6e-3, 9.1e-3, 3e-3, 0.0, 575.0, 48.0),
    }

    def on_pre(self, r1, r2, o1):
        return dict(r1=1.0 - r1, r2=1.0 - r2, w=self._down(r2, o1))

    def on_post(self, r1, o1, o2):
        return dict(o1=1.0 - o1, o2=1.0 - o2, w=self._up(r1, o2))
