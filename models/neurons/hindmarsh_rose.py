"""Hindmarsh-Rose model of bursting."""

import brainsim as bs


class HindmarshRose(bs.Neuron):
    """Hindmarsh-Rose model of bursting; all but time is dimensionless.

    Equation::

        tau x' = y - a x^3 + b x^2 - z + I
        tau y' = c - d x^2 - y
        tau z' = r (s (x - x_R) - z)
        spike: x rises through x_th

    One unit of the paper's time is tau = 1 ms. y and z start where they rest at the initial x.

    Args:
        tau: unit of time.
        a, b, c, d: coefficients of the fast equations.
        r: speed of the adaptation z.
        s: strength of the adaptation.
        x_R: rest of the adaptation; x starts there.
        x_th: value that a spike rises through.

    Example:
        >>> HindmarshRose().dx(x=0.0, y=0.0, z=0.0, I=3.0)
        3.0

    References:
        Hindmarsh & Rose 1984, 10.1098/rspb.1984.0024.
    """

    spike_on = "crossing"

    tau = bs.param(1.0, "ms", bounds=(0, None))
    a = bs.param(1.0)
    b = bs.param(3.0)
    c = bs.param(1.0)
    d = bs.param(5.0)
    r = bs.param(0.006, bounds=(0, None))
    s = bs.param(4.0)
    x_R = bs.param(-1.6)
    x_th = bs.param(1.0)
    I = bs.input("1")

    x = bs.state("x_R")
    y = bs.state(0.0)
    z = bs.state(0.0)

    def init_y(self, x):
        return self.c - self.d * x**2

    def init_z(self, x):
        return self.s * (x - self.x_R)

    def dx(self, x, y, z, I):
        return (y - self.a * x**3 + self.b * x**2 - z + I) / self.tau

    def dy(self, x, y):
        return (self.c - self.d * x**2 - y) / self.tau

    def dz(self, x, z):
        return self.r * (self.s * (x - self.x_R) - z) / self.tau

    def spike(self, x):
        return x - self.x_th
