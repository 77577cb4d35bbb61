"""Small models that tests of the engine share; no physiology."""

import numpy as np

import brainsim as bs


class Probe(bs.Neuron):
    """Shows its input: with method="euler" x becomes I in every step."""

    I = bs.input("pA")
    x = bs.state(0.0, "pA")

    def dx(self, x, I, dt):
        return (I - x) / dt


class Leak(bs.Neuron):
    """Linear leaky cell that never fires: tau v' = -v + R I."""

    tau = bs.param(10.0, "ms", bounds=(0, None))
    R = bs.param(1.0, "GOhm")
    v = bs.state(0.0, "mV")

    def dv(self, v, I):
        return (-v + self.R * I) / self.tau


class Fire(bs.Neuron):
    """Leaky cell that fires above th and falls to 0; without refractoriness, so that its smooth form is smooth."""

    tau = bs.param(10.0, "ms", bounds=(0, None))
    R = bs.param(1.0, "GOhm")
    th = bs.param(1.0, "mV")
    v = bs.state(0.0, "mV")

    def dv(self, v, I):
        return (-v + self.R * I) / self.tau

    def spike(self, v):
        return v - self.th

    def reset(self, v):
        return dict(v=v - self.th)


class Count(bs.Synapse):
    """Counts what arrives, w for every spike."""

    w = bs.weight()
    c = bs.state(0.0, on="post", jump=True)

    def on_pre(self, w):
        return dict(c=w)


class Pulse(bs.Synapse):
    """Current that jumps by w and decays."""

    tau = bs.param(3.0, "ms", bounds=(0, None))
    w = bs.weight("pA")
    i = bs.state(0.0, "pA")

    def di(self, i):
        return -i / self.tau

    def on_pre(self, w):
        return dict(i=w)

    def current(self, i):
        return i


class Kick(bs.Synapse):
    """Jump of the voltage."""

    w = bs.weight("mV")

    def on_pre(self, w):
        return dict(v_post=w)


class Depressing(bs.Synapse):
    """Tsodyks-Markram-like: u and x live on the source, a spike adds w u x to two target-side currents."""

    U = bs.param(0.4)
    tau_x = bs.param(30.0, "ms", bounds=(0, None))
    tau_u = bs.param(50.0, "ms", bounds=(0, None))
    tau = bs.param(3.0, "ms", bounds=(0, None))
    slow = bs.param(12.0, "ms", bounds=(0, None))
    w = bs.weight("pA")
    x = bs.state(1.0, on="pre")
    u = bs.state("U", on="pre")
    i = bs.state(0.0, "pA")
    j = bs.state(0.0, "pA")

    def dx(self, x):
        return (1.0 - x) / self.tau_x

    def du(self, u):
        return (self.U - u) / self.tau_u

    def di(self, i):
        return -i / self.tau

    def dj(self, j):
        return -j / self.slow

    def on_pre(self, w, x, u):
        return dict(x=-u * x, u=self.U * (1.0 - u), i=w * u * x, j=0.5 * w * u * x)

    def current(self, i, j):
        return i + j


class Saturating(bs.Synapse):
    """One gate on every edge that moves towards 1 at a spike; the current depends on the gate and both ends."""

    a = bs.param(0.3)
    tau = bs.param(5.0, "ms", bounds=(0, None))
    E = bs.param(3.0, "mV")
    w = bs.weight("nS")
    s = bs.state(0.0, on="edge")

    def ds(self, s):
        return -s / self.tau

    def on_pre(self, s):
        return dict(s=self.a * (1.0 - s))

    def current(self, s, w, v_post):
        return w * s * (self.E - v_post)


class Conductance(bs.Synapse):
    tau = bs.param(4.0, "ms", bounds=(0, None))
    E = bs.param(3.0, "mV")
    w = bs.weight("nS", bounds=(0, None))
    g = bs.state(0.0, "nS")

    def dg(self, g):
        return -g / self.tau

    def on_pre(self, w):
        return dict(g=w)

    def current(self, g, v_post):
        return g * (self.E - v_post)


def matrix(n_pre, n_post, p, seed=0, low=0.5, high=1.5):
    """Random weight matrix (pre, post) with about p of its entries not 0."""
    rng = np.random.default_rng(seed)
    return np.where(rng.random((n_pre, n_post)) < p, rng.uniform(low, high, (n_pre, n_post)), 0.0)
