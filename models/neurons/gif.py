"""Generalized leaky integrate-and-fire neuron of Mihalas and Niebur."""

from typing import ClassVar

import jax.numpy as jnp

import brainsim as bs

from ..checks import require_below
from ..presets import preset


def _row(a, A1, A2):
    """A row of table 1: a in 1/s, A1/C and A2/C in V/s, on the default capacitance of 100 pF."""
    return dict(a=a * 1e-3, A1=A1 * 100.0, A2=A2 * 100.0)


class GIF(bs.Neuron):
    """Generalized leaky integrate-and-fire neuron with a moving threshold and two spike-induced currents.

    Equation::

        C v' = I + I1 + I2 - G (v - E_L)
        theta' = a (v - E_L) - b (theta - theta_inf)
        I1' = -k1 I1,  I2' = -k2 I2
        v > theta:  v = V_r, theta = max(theta, theta_r), I1 = R1 I1 + A1, I2 = R2 I2 + A2

    The paper gives conductance and currents relative to C; here C = 100 pF, so a current of x V/s is 100 x pA.

    `GIF.preset("M")` gives a row of table 1; `NAMES` says what each does and `CURRENTS` lists the current (pA) that the
    table applies first: A tonic spiking 150, ..., T spike latency 800.

    Args:
        C: membrane capacitance.
        G: leak conductance.
        E_L: reversal potential of the leak; v starts there.
        V_r: voltage after a spike.
        theta_r: lowest threshold after a spike.
        theta_inf: threshold of a cell at rest; theta starts there.
        a: coupling of the threshold to v.
        b: rate of return of the threshold.
        k1, k2: rates of decay of I1 and I2.
        R1, R2: factors on I1 and I2 at a spike.
        A1, A2: what a spike adds to I1 and I2.

    Example:
        >>> GIF().dv(v=-70.0, I1=0.0, I2=0.0, I=150.0)
        1.5

    References:
        Mihalas & Niebur 2009, 10.1162/neco.2008.12-07-680.
    """

    C = bs.param(100.0, "pF", bounds=(0, None))
    G = bs.param(5.0, "nS", bounds=(0, None))
    E_L = bs.param(-70.0, "mV")
    V_r = bs.param(-70.0, "mV")
    theta_r = bs.param(-60.0, "mV")
    theta_inf = bs.param(-50.0, "mV")
    a = bs.param(0.0, "1/ms")
    b = bs.param(0.01, "1/ms", bounds=(0, None))
    k1 = bs.param(0.2, "1/ms", bounds=(0, None))
    k2 = bs.param(0.02, "1/ms", bounds=(0, None))
    R1 = bs.param(0.0)
    R2 = bs.param(1.0)
    A1 = bs.param(0.0, "pA")
    A2 = bs.param(0.0, "pA")

    v = bs.state("E_L", "mV")
    theta = bs.state("theta_inf", "mV")
    I1 = bs.state(0.0, "pA")
    I2 = bs.state(0.0, "pA")

    NAMES: ClassVar = {
        "A": "tonic spiking", "B": "class 1", "C": "spike frequency adaptation", "D": "phasic spiking",
        "E": "accommodation", "F": "threshold variability", "G": "rebound spike", "H": "class 2", "I": "integrator",
        "J": "input bistability", "K": "hyperpolarization-induced spiking", "L": "hyperpolarization-induced bursting",
        "M": "tonic bursting", "N": "phasic bursting", "O": "rebound burst", "P": "mixed mode", "Q": "afterpotentials",
        "R": "basal bistability", "S": "preferred frequency", "T": "spike latency",
    }  # fmt: skip
    CURRENTS: ClassVar = {
        "A": 150.0, "B": 100.0001, "C": 200.0, "D": 150.0, "E": 150.0, "F": 150.0, "G": -350.0, "H": 200.0002,
        "I": 150.0, "J": 150.0, "K": -100.0, "L": -100.0, "M": 200.0, "N": 150.0, "O": -350.0, "P": 200.0,
        "Q": 200.0, "R": 500.0, "S": 500.0, "T": 800.0,
    }  # fmt: skip
    PRESETS: ClassVar = {
        **dict.fromkeys("AB", _row(0.0, 0.0, 0.0)),
        **dict.fromkeys("CDEFGHIJ", _row(5.0, 0.0, 0.0)),
        "K": _row(30.0, 0.0, 0.0),
        "L": _row(30.0, 10.0, -0.6),
        **dict.fromkeys("MNO", _row(5.0, 10.0, -0.6)),
        **dict.fromkeys("PQ", _row(5.0, 5.0, -0.3)),
        "R": _row(0.0, 8.0, -0.1),
        "S": _row(5.0, -3.0, 0.5),
        "T": _row(-80.0, 0.0, 0.0),
    }

    @classmethod
    def preset(cls, name, **changes):
        """A row of table 1, for example `GIF.preset("M")` for tonic bursting."""
        return preset(cls, cls.PRESETS, name, changes)

    def dv(self, v, I1, I2, I):
        return (I + I1 + I2 - self.G * (v - self.E_L)) / self.C

    def dtheta(self, v, theta):
        return self.a * (v - self.E_L) - self.b * (theta - self.theta_inf)

    def dI1(self, I1):
        return -self.k1 * I1

    def dI2(self, I2):
        return -self.k2 * I2

    def spike(self, v, theta):
        return v - theta

    def reset(self, theta, I1, I2):
        return dict(
            v=self.V_r,
            theta=jnp.maximum(theta, self.theta_r),
            I1=self.R1 * I1 + self.A1,
            I2=self.R2 * I2 + self.A2,
        )

    def validate(self):
        require_below(self, "V_r", "theta_r")
