"""Voltage-based plasticity of Clopath, Buesing, Vasilaki and Gerstner."""

import jax.numpy as jnp

import brainsim as bs


class Clopath(bs.Plasticity):
    """Voltage-based STDP: depression where a presynaptic spike meets depolarisation, potentiation by the voltage.

    Equation::

        tau_u_minus u_minus' = v_post - u_minus,  tau_u_plus u_plus' = v_post - u_plus
        x_bar' = -x_bar / tau_x_bar,              pre spike: x_bar += 1 / tau_x_bar
        pre spike:  w -= A_LTD [u_minus - theta_minus]_+
        w' = A_LTP x_bar [v_post - theta_plus]_+ [u_plus - theta_minus]_+

    Here the averages follow the voltage at once, so they see the upswing of the very spike that potentiates;
    `ClopathNEST` has the delay of the published program and of NEST. Defaults: visual cortex (table 1 of the paper).
    A_LTD and A_LTP are in the unit of the weight.

    Args:
        A_LTD, A_LTP: amplitudes of depression and potentiation.
        theta_minus, theta_plus: thresholds of the averages and of the voltage; the averages start at theta_minus.
        tau_u_minus, tau_u_plus: time constants of the averages.
        tau_x_bar: time constant of the presynaptic trace.

    Example:
        >>> float(round(Clopath(A_LTD=0.1).on_pre(u_minus=-60.6)["w"], 6))
        -1.0

    References:
        Clopath, Buesing, Vasilaki & Gerstner 2010, 10.1038/nn.2479.
    """

    A_LTD = bs.param(14e-5, "1/mV", bounds=(0, None), closed=True)
    A_LTP = bs.param(8e-5, "1/mV**2", bounds=(0, None), closed=True)
    theta_minus = bs.param(-70.6, "mV")
    theta_plus = bs.param(-45.3, "mV")
    tau_u_minus = bs.param(10.0, "ms", bounds=(0, None))
    tau_u_plus = bs.param(7.0, "ms", bounds=(0, None))
    tau_x_bar = bs.param(15.0, "ms", bounds=(0, None))

    x_bar = bs.state(0.0, "1/ms", on="pre")
    u_minus = bs.state("theta_minus", "mV", on="post")
    u_plus = bs.state("theta_minus", "mV", on="post")

    def dx_bar(self, x_bar):
        return -x_bar / self.tau_x_bar

    def du_minus(self, u_minus, v_post):
        return (v_post - u_minus) / self.tau_u_minus

    def du_plus(self, u_plus, v_post):
        return (v_post - u_plus) / self.tau_u_plus

    def on_pre(self, u_minus):
        return dict(x_bar=1.0 / self.tau_x_bar, w=-self.A_LTD * jnp.maximum(u_minus - self.theta_minus, 0.0))

    def _potentiation(self, x_bar, u, u_plus):
        above = jnp.maximum(u - self.theta_plus, 0.0) * jnp.maximum(u_plus - self.theta_minus, 0.0)
        return self.A_LTP * x_bar * above

    def dw(self, x_bar, v_post, u_plus):
        return self._potentiation(x_bar, v_post, u_plus)


class HomeostaticClopath(Clopath):
    """Voltage-based STDP whose depression grows with the mean depolarisation of the target, which keeps it in bounds.

    Equation::

        tau_u_mean u_mean' = (u_minus - theta_minus) - u_mean
        pre spike:  w -= A_LTD (u_mean / u_ref)^2 [u_minus - theta_minus]_+

    All else is as in `Clopath`. u_mean starts at u_ref, where the rule is `Clopath`.

    Args:
        A_LTD, A_LTP, theta_minus, theta_plus, tau_u_minus, tau_u_plus, tau_x_bar: as in `Clopath`.
        tau_u_mean: time over which the depolarisation is averaged.
        u_ref: mean depolarisation at which depression has the amplitude A_LTD.

    Example:
        >>> float(HomeostaticClopath(A_LTD=0.1, u_ref=5.0).on_pre(u_minus=-60.6, u_mean=10.0)["w"].round(6))
        -4.0

    References:
        Clopath, Buesing, Vasilaki & Gerstner 2010, 10.1038/nn.2479.
    """

    tau_u_mean = bs.param(1000.0, "ms", bounds=(0, None))
    u_ref = bs.param(7.75, "mV", bounds=(0, None))

    u_mean = bs.state("u_ref", "mV", on="post")

    def du_mean(self, u_mean, u_minus):
        return (u_minus - self.theta_minus - u_mean) / self.tau_u_mean

    def on_pre(self, u_minus, u_mean):
        depression = self.A_LTD * (u_mean / self.u_ref) ** 2 * jnp.maximum(u_minus - self.theta_minus, 0.0)
        return dict(x_bar=1.0 / self.tau_x_bar, w=-depression)


class ClopathNEST(Clopath):
    """Voltage-based STDP with delayed averages, as in the authors' program and NEST's clopath_synapse.

    Equation::

        tau_u_minus u_minus' = v_post(t - d) - u_minus,  tau_u_plus u_plus' = v_post(t - d) - u_plus
        x_bar' = -x_bar / tau_x_bar,                     pre spike: x_bar += 1 / tau_x_bar
        pre spike:  w -= A_LTD [u_minus - theta_minus]_+
        w' = A_LTP x_bar [voltage - theta_plus]_+ [u_plus - theta_minus]_+

    The delay d (NEST: delay_u_bars, 4 or 5 ms) keeps a spike from potentiating by its own upswing. It is the delay of
    the connection, put on the dendrite; the voltage of this moment comes as a modulator. Connect with
    ``delay=4.0, delay_at="dendrite", modulators={"voltage": "post.v"}``. What a spike delivers takes the same delay; if
    it should not, deliver by a second projection.

    Args:
        A_LTD, A_LTP, theta_minus, theta_plus, tau_u_minus, tau_u_plus, tau_x_bar: as in `Clopath`.

    Example:
        >>> float(ClopathNEST(A_LTP=1.0).dw(x_bar=1.0, voltage=-44.3, u_plus=-60.6).round(6))
        10.0

    References:
        Clopath, Buesing, Vasilaki & Gerstner 2010, 10.1038/nn.2479.
        Clopath & Gerstner 2010, 10.3389/fnsyn.2010.00025.
    """

    voltage = bs.input("mV", -70.6)

    def dw(self, x_bar, voltage, u_plus):
        return self._potentiation(x_bar, voltage, u_plus)
