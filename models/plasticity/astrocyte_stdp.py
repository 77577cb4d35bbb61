"""STDP whose depression an astrocyte sets (NALSM), and the astrocyte."""

import brainsim as bs


class AstrocyteSTDP(bs.Plasticity):
    """Pair-based STDP of an excitatory synapse; the state A of an astrocyte is the amplitude of depression.

    Equation::

        tau x' = -x,  x += a at a presynaptic spike        tau y' = -y,  y += a at a postsynaptic one
        postsynaptic spike:  w += eta x
        presynaptic spike:   w -= A y

    With A = eta (the default, no astrocyte) areas of potentiation and depression are equal. Give the astrocyte by
    `modulators={"astrocyte": "astro.a"}`, a cell of `Astrocyte`. The published rule lets two spikes of one step not see each
    other (`ties="neither"`) and clips weights (`bounds=(0.0, 3.0)`).

    Args:
        eta: amplitude of potentiation, in units of the weight.
        tau: time constant of both traces.
        a: what a spike adds to a trace.

    Example:
        >>> round(AstrocyteSTDP().on_pre(y=0.1, astrocyte=0.2)["w"], 3)
        -0.02

    References:
        Ivanov & Michmizos 2021, Increasing liquid state machine performance with edge-of-chaos dynamics organized by
        astrocyte-modulated plasticity, NeurIPS 34.
    """

    eta = bs.param(0.15)
    tau = bs.param(10.0, "ms", bounds=(0, None))
    a = bs.param(0.1)
    astrocyte = bs.input(default=0.15)

    x = bs.state(0.0, on="pre")
    y = bs.state(0.0, on="post")

    def dx(self, x):
        return -x / self.tau

    def dy(self, y):
        return -y / self.tau

    def on_pre(self, y, astrocyte):
        return dict(x=self.a, w=-astrocyte * y)

    def on_post(self, x):
        return dict(y=self.a, w=self.eta * x)


class InhibitoryAstrocyteSTDP(AstrocyteSTDP):
    """The same rule for an inhibitory synapse, whose weight is negative.

    Equation::

        postsynaptic spike:  w -= A x
        presynaptic spike:   w += eta y

    A presynaptic spike before a postsynaptic one strengthens inhibition, in proportion to A.

    Example:
        >>> round(InhibitoryAstrocyteSTDP().on_post(x=0.1, astrocyte=0.2)["w"], 3)
        -0.02

    References:
        Ivanov & Michmizos 2021, as above.
    """

    def on_pre(self, y):
        return dict(x=self.a, w=self.eta * y)

    def on_post(self, x, astrocyte):
        return dict(y=self.a, w=-astrocyte * x)


class Astrocyte(bs.Neuron):
    """Astrocyte that integrates how much more a network fires than its input.

    Equation::

        tau a' = b - a
        spike of the network:  a += w_a / tau        spike of an input:  a -= w_a / tau

    Spikes come through `Gliotransmission` with these weights. `a` starts at b and may become negative.

    Args:
        tau: time constant.
        b: resting value.

    Example:
        >>> Astrocyte(tau=50.0).da(a=1.15)
        -0.02

    References:
        Ivanov & Michmizos 2021, as above.
    """

    tau = bs.param(100.0, "ms", bounds=(0, None))
    b = bs.param(0.15)
    a = bs.state("b")

    def da(self, a):
        return (self.b - a) / self.tau


class Gliotransmission(bs.Synapse):
    """Synapse by which spikes reach an astrocyte: its state jumps by the weight.

    Equation::

        spike:  a_post += w

    Example:
        >>> Gliotransmission().on_pre(w=0.5)
        {'a_post': 0.5}

    References:
        Ivanov & Michmizos 2021, as above.
    """

    w = bs.weight()

    def on_pre(self, w):
        return dict(a_post=w)
