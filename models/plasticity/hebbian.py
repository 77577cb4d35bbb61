"""Hebbian rules of rates: Oja, BCM, covariance, anti-Hebbian; Oja and BCM also for the rates of spike trains."""

import brainsim as bs


class Oja(bs.Plasticity):
    """Oja's rule for rate units: Hebbian growth with a decay that keeps the weights of a target at unit length.

    Equation::

        w' = eta r_post (r_pre - decay r_post w)

    The weights of a linear unit (r_post = sum of w r_pre) converge to the first principal component of the inputs, with
    length 1 / sqrt(decay). Weights may have both signs: connect with bounds=bs.unbounded().

    Args:
        eta: learning rate.
        decay: strength of the decay; 1 in the paper.

    Example:
        >>> Oja(eta=0.1).dw(r_pre=1.0, r_post=2.0, w=0.25)
        0.1

    References:
        Oja 1982, 10.1007/BF00275687.
    """

    eta = bs.param(1e-3, "1/ms")
    decay = bs.param(1.0, bounds=(0, None))

    def dw(self, r_pre, r_post, w):
        return self.eta * r_post * (r_pre - self.decay * r_post * w)


class BCM(bs.Plasticity):
    """BCM rule for rate units: activity above a sliding threshold potentiates, activity below it depresses.

    Equation::

        w' = eta r_pre r_post (r_post - theta)
        tau_theta theta' = r_post^2 / r_0 - theta

    The threshold follows the mean square of the activity and must be faster than the weights. A unit becomes selective:
    of orthogonal patterns with probability p it answers one with r_0 / p and the others with 0.

    Args:
        eta: learning rate.
        tau_theta: time constant of the threshold.
        r_0: scale of the activity.

    Example:
        >>> BCM(eta=0.1).dw(r_pre=1.0, r_post=2.0, theta=1.5)
        0.1

    References:
        Bienenstock, Cooper & Munro 1982, 10.1523/JNEUROSCI.02-01-00032.1982.
        Intrator & Cooper 1992, 10.1016/S0893-6080(05)80003-6.
    """

    eta = bs.param(1e-4, "1/ms")
    tau_theta = bs.param(1000.0, "ms", bounds=(0, None))
    r_0 = bs.param(1.0, bounds=(0, None))

    theta = bs.state(0.0, on="post")

    def dtheta(self, theta, r_post):
        return (r_post**2 / self.r_0 - theta) / self.tau_theta

    def dw(self, r_pre, r_post, theta):
        return self.eta * r_pre * r_post * (r_post - theta)


class Covariance(bs.Plasticity):
    """Covariance rule for rate units: weights follow the covariance of the activities, with running means.

    Equation::

        w' = eta (r_pre - mean_in) (r_post - mean_out)
        tau_mean mean' = r - mean     (for either cell)

    Joint activity potentiates, activity of one cell alone depresses, uncorrelated activity changes nothing on average.

    Args:
        eta: learning rate.
        tau_mean: time constant of the means.

    Example:
        >>> Covariance(eta=0.5).dw(r_pre=3.0, r_post=2.0, mean_in=1.0, mean_out=1.0)
        1.0

    References:
        Sejnowski 1977, 10.1007/BF00275079.
    """

    eta = bs.param(1e-3, "1/ms")
    tau_mean = bs.param(1000.0, "ms", bounds=(0, None))

    mean_in = bs.state(0.0, on="pre")
    mean_out = bs.state(0.0, on="post")

    def dmean_in(self, mean_in, r_pre):
        return (r_pre - mean_in) / self.tau_mean

    def dmean_out(self, mean_out, r_post):
        return (r_post - mean_out) / self.tau_mean

    def dw(self, r_pre, r_post, mean_in, mean_out):
        return self.eta * (r_pre - mean_in) * (r_post - mean_out)


class AntiHebbian(bs.Plasticity):
    """Anti-Hebbian rule of lateral inhibition: cells that are active together come to inhibit each other.

    Equation::

        w' = -eta (r_pre r_post - p^2)

    Weights settle where the cells are active together as often as independent cells of activity p. They are negative:
    connect with bounds=(None, 0.0), as in the paper.

    Args:
        eta: learning rate.
        p: activity that is aimed at.

    Example:
        >>> AntiHebbian(eta=1.0, p=0.5).dw(r_pre=1.0, r_post=1.0)
        -0.75

    References:
        Foldiak 1990, 10.1007/BF02331346.
    """

    eta = bs.param(1e-3, "1/ms")
    p = bs.param(0.1)

    def dw(self, r_pre, r_post):
        return -self.eta * (r_pre * r_post - self.p**2)


class SpikingOja(bs.Plasticity):
    """Oja's rule for spikes: the activities are rates of filtered spike trains, in units of r_0.

    Equation::

        tau_r rate' = -rate,  spike: rate += 1 / tau_r     (rate_in of the source, rate_out of the target)
        w' = eta y (x - decay y w)   with x = rate_in / r_0, y = rate_out / r_0

    Args:
        eta: learning rate.
        decay: strength of the decay; 1 in the paper.
        tau_r: time constant of the rates.
        r_0: rate that counts as activity 1.

    Example:
        >>> SpikingOja(eta=0.1).dw(rate_in=10.0, rate_out=20.0, w=0.25)
        0.1

    References:
        Oja 1982, 10.1007/BF00275687.
        Gerstner & Kistler 2002, 10.1017/CBO9780511815706 (rates of spike trains).
    """

    eta = bs.param(1e-4, "1/ms")
    decay = bs.param(1.0, bounds=(0, None))
    tau_r = bs.param(200.0, "ms", bounds=(0, None))
    r_0 = bs.param(10.0, "Hz", bounds=(0, None))
    Hz_ms = bs.const(1000.0, "Hz*ms")

    rate_in = bs.state(0.0, "Hz", on="pre")
    rate_out = bs.state(0.0, "Hz", on="post")

    def drate_in(self, rate_in):
        return -rate_in / self.tau_r

    def drate_out(self, rate_out):
        return -rate_out / self.tau_r

    def on_pre(self):
        return dict(rate_in=self.Hz_ms / self.tau_r)

    def on_post(self):
        return dict(rate_out=self.Hz_ms / self.tau_r)

    def dw(self, rate_in, rate_out, w):
        x, y = rate_in / self.r_0, rate_out / self.r_0
        return self.eta * y * (x - self.decay * y * w)


class SpikingBCM(bs.Plasticity):
    """BCM rule for spikes: the activities are rates of filtered spike trains, in units of r_0.

    Equation::

        tau_r rate' = -rate,  spike: rate += 1 / tau_r     (rate_in of the source, rate_out of the target)
        w' = eta x y (y - theta)   with x = rate_in / r_0, y = rate_out / r_0
        tau_theta theta' = y^2 - theta

    Args:
        eta: learning rate.
        tau_theta: time constant of the threshold.
        tau_r: time constant of the rates.
        r_0: rate that counts as activity 1.

    Example:
        >>> SpikingBCM(eta=0.1).dw(rate_in=10.0, rate_out=20.0, theta=1.5)
        0.1

    References:
        Bienenstock, Cooper & Munro 1982, 10.1523/JNEUROSCI.02-01-00032.1982.
        Intrator & Cooper 1992, 10.1016/S0893-6080(05)80003-6.
    """

    eta = bs.param(1e-5, "1/ms")
    tau_theta = bs.param(5000.0, "ms", bounds=(0, None))
    tau_r = bs.param(200.0, "ms", bounds=(0, None))
    r_0 = bs.param(10.0, "Hz", bounds=(0, None))
    Hz_ms = bs.const(1000.0, "Hz*ms")

    rate_in = bs.state(0.0, "Hz", on="pre")
    rate_out = bs.state(0.0, "Hz", on="post")
    theta = bs.state(0.0, on="post")

    def drate_in(self, rate_in):
        return -rate_in / self.tau_r

    def drate_out(self, rate_out):
        return -rate_out / self.tau_r

    def dtheta(self, theta, rate_out):
        return ((rate_out / self.r_0) ** 2 - theta) / self.tau_theta

    def on_pre(self):
        return dict(rate_in=self.Hz_ms / self.tau_r)

    def on_post(self):
        return dict(rate_out=self.Hz_ms / self.tau_r)

    def dw(self, rate_in, rate_out, theta):
        y = rate_out / self.r_0
        return self.eta * (rate_in / self.r_0) * y * (y - theta)
