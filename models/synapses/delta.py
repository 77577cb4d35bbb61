"""Synapse that makes the voltage jump."""

import brainsim as bs


class Delta(bs.Synapse):
    """Synapse that makes the voltage of its target jump by the weight (mV) at each arriving spike.

    Equation::

        spike:  v_post += w

    What arrives while the target is refractory is dropped.

    Example:
        >>> Delta().on_pre(w=0.5)
        {'v_post': 0.5}

    References:
        Brunel 2000, 10.1023/A:1008925309027.
    """

    w = bs.weight("mV")

    def on_pre(self, w):
        return dict(v_post=w)
