"""STDP under the control of an astrocyte."""

import brainsim as bs


class AstrocyteSTDP(bs.Plasticity):
    """Pair STDP whose depression is set by an astrocyte: activity of the network beyond its input makes it forget.

    Equation::

        K_plus' = -K_plus / tau_K,    pre spike:   w -= astrocyte K_minus,  K_plus += K_step
        K_minus' = -K_minus / tau_K,  post spike:  w += A_plus K_plus,      K_minus += K_step

    `astrocyte` is an input: the state of an `Astrocyte`, ``modulators={"astrocyte": "glia.a"}``. Where it equals A_plus
    potentiation and depression balance. For excitatory synapses; `InhibitoryAstrocyteSTDP` is for negative weights.

    Args:
        A_plus: amplitude of potentiation.
        tau_K: time constant of the traces.
        K_step: what a spike adds to its trace.

    Example:
        >>> AstrocyteSTDP().on_pre(K_minus=2.0, astrocyte=0.25)["w"]
        -0.5

    References:
        Ivanov & Michmizos 2021, arXiv:2111.01760.
        Song, Miller & Abbott 2000, 10.1038/78829 (pair STDP).
    """

    A_plus = bs.param(0.15)
    tau_K = bs.param(10.0, "ms", bounds=(0, None))
    K_step = bs.param(0.1)
    astrocyte = bs.input("1", 0.15)

    K_plus = bs.state(0.0, on="pre")
    K_minus = bs.state(0.0, on="post")

    def dK_plus(self, K_plus):
        return -K_plus / self.tau_K

    def dK_minus(self, K_minus):
        return -K_minus / self.tau_K

    def on_pre(self, K_minus, astrocyte):
        return dict(K_plus=self.K_step, w=-astrocyte * K_minus)

    def on_post(self, K_plus):
        return dict(K_minus=self.K_step, w=self.A_plus * K_plus)


class InhibitoryAstrocyteSTDP(AstrocyteSTDP):
    """Pair STDP of inhibitory synapses (w < 0) under an astrocyte, which here sets the growth of inhibition.

    Equation::

        pre spike:   w += A_plus K_minus,     K_plus += K_step
        post spike:  w -= astrocyte K_plus,   K_minus += K_step

    Args:
        A_plus, tau_K, K_step: as in `AstrocyteSTDP`.

    Example:
        >>> InhibitoryAstrocyteSTDP().on_post(K_plus=2.0, astrocyte=0.25)["w"]
        -0.5

    References:
        Ivanov & Michmizos 2021, arXiv:2111.01760.
        Song, Miller & Abbott 2000, 10.1038/78829 (pair STDP).
    """

    def on_pre(self, K_minus):
        return dict(K_plus=self.K_step, w=self.A_plus * K_minus)

    def on_post(self, K_plus, astrocyte):
        return dict(K_minus=self.K_step, w=-astrocyte * K_plus)
