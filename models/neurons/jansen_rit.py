"""Jansen-Rit cortical column: pyramidal cells with an excitatory and an inhibitory loop."""

import brainsim as bs
from brainsim.functions import sigmoid


class JansenRit(bs.Neuron):
    """Jansen-Rit column: mean potentials of pyramidal cells and of their two loops.

    Equation::

        y0'' = A a S(y1 - y2) - 2 a y0' - a^2 y0
        y1'' = A a (p + I + C2 S(C1 y0)) - 2 a y1' - a^2 y1
        y2'' = B b C4 S(C3 y0) - 2 b y2' - b^2 y2
        S(v) = 2 e0 / (1 + exp(r (v0 - v)))
        C1 = C, C2 = 0.8 C, C3 = C4 = 0.25 C

    y0 is what pyramidal cells send to both loops, y1 and y2 their excitatory and inhibitory potential; an EEG shows
    y1 - y2. The input `I`, like p, is a rate in 1/ms that arrives at the excitatory loop. The
    velocities x0, x1, x2 are the derivatives of y0, y1, y2.

    Args:
        A, B: largest excitatory and inhibitory postsynaptic potential.
        a, b: rates of the excitatory and inhibitory synapses.
        C: number of synapses.
        e0: half of the largest firing rate.
        v0: potential of half the largest rate.
        r: slope.
        p: rate of the external input; the paper draws it between 0.12 and 0.32 per ms.

    Example:
        >>> float(JansenRit().dy0(x0=2.0))
        2.0

    References:
        Jansen & Rit 1995, 10.1007/BF00199471.
    """

    A = bs.param(3.25, "mV", bounds=(0, None))
    B = bs.param(22.0, "mV", bounds=(0, None))
    a = bs.param(0.1, "1/ms", bounds=(0, None))
    b = bs.param(0.05, "1/ms", bounds=(0, None))
    C = bs.param(135.0, bounds=(0, None))
    e0 = bs.param(0.0025, "1/ms", bounds=(0, None))
    v0 = bs.param(6.0, "mV")
    r = bs.param(0.56, "1/mV", bounds=(0, None))
    p = bs.param(0.22, "1/ms")
    I = bs.input("1/ms")

    y0 = bs.state(0.0, "mV")
    y1 = bs.state(0.0, "mV")
    y2 = bs.state(0.0, "mV")
    x0 = bs.state(0.0, "mV/ms")
    x1 = bs.state(0.0, "mV/ms")
    x2 = bs.state(0.0, "mV/ms")

    def _rate(self, v):
        return 2.0 * self.e0 * sigmoid(self.r * (v - self.v0))

    def dy0(self, x0):
        return x0

    def dy1(self, x1):
        return x1

    def dy2(self, x2):
        return x2

    def dx0(self, y0, y1, y2, x0):
        return self.A * self.a * self._rate(y1 - y2) - 2.0 * self.a * x0 - self.a**2 * y0

    def dx1(self, y0, y1, x1, I):
        loop = 0.8 * self.C * self._rate(self.C * y0)
        return self.A * self.a * (self.p + I + loop) - 2.0 * self.a * x1 - self.a**2 * y1

    def dx2(self, y0, y2, x2):
        loop = 0.25 * self.C * self._rate(0.25 * self.C * y0)
        return self.B * self.b * loop - 2.0 * self.b * x2 - self.b**2 * y2
