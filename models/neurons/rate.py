"""Rate units: linear and threshold-linear."""

import jax.numpy as jnp

import brainsim as bs


class LinearRate(bs.Neuron):
    """Leaky linear rate unit, with optional noise. Activity and input are dimensionless.

    Equation::

        tau r' = -r + gain I + bias + sigma sqrt(2 tau) xi

    xi is white noise of unit intensity (per sqrt(ms)); at constant input r has the standard deviation sigma.

    Args:
        tau: time constant.
        gain: slope.
        bias: constant input.
        sigma: standard deviation of the noise in r; 0 for none.

    Example:
        >>> LinearRate().dr(r=0.0, I=5.0)
        0.5

    References:
        Seung 1996, 10.1073/pnas.93.23.13339.
    """

    tau = bs.param(10.0, "ms", bounds=(0, None))
    gain = bs.param(1.0)
    bias = bs.param(0.0)
    sigma = bs.param(0.0, bounds=(0, None), closed=True)
    I = bs.input("1")

    r = bs.state(0.0)

    def dr(self, r, I):
        return (-r + self.gain * I + self.bias) / self.tau

    def noise_r(self):
        return self.sigma * jnp.sqrt(2.0 / self.tau)


class ThresholdLinearRate(bs.Neuron):
    """Threshold-linear rate unit (ReLU), with optional noise. Activity and input are dimensionless.

    Equation::

        tau r' = -r + gain [I + bias]_+ + sigma sqrt(2 tau) xi

    xi is white noise of unit intensity (per sqrt(ms)); at constant input r has the standard deviation sigma.

    Args:
        tau: time constant.
        gain: slope.
        bias: constant input.
        sigma: standard deviation of the noise in r; 0 for none.

    Example:
        >>> round(float(ThresholdLinearRate().dr(r=1.0, I=-5.0)), 2)
        -0.1

    References:
        Salinas & Abbott 1996, 10.1073/pnas.93.21.11956.
        Hahnloser et al. 2000, 10.1038/35016072.
    """

    tau = bs.param(10.0, "ms", bounds=(0, None))
    gain = bs.param(1.0)
    bias = bs.param(0.0)
    sigma = bs.param(0.0, bounds=(0, None), closed=True)
    I = bs.input("1")

    r = bs.state(0.0)

    def dr(self, r, I):
        return (-r + self.gain * jnp.maximum(I + self.bias, 0.0)) / self.tau

    def noise_r(self):
        return self.sigma * jnp.sqrt(2.0 / self.tau)
