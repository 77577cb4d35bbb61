"""STDP that waits for a modulator: eligibility on the edge, changed into weight by reward or dopamine."""

import brainsim as bs
from brainsim.functions import phi1


class ModulatedSTDP(bs.Plasticity):
    """STDP through an eligibility trace and a modulator: the pairs of `STDP` tag an edge, the modulator changes it.

    Equation::

        K_plus' = -K_plus / tau_plus,    pre spike:   eligibility -= A_minus K_minus,  K_plus += 1
        K_minus' = -K_minus / tau_minus, post spike:  eligibility += A_plus K_plus,    K_minus += 1
        eligibility' = -eligibility / tau_c
        w' = (modulator - b) eligibility

    The modulator is an input: one value for all edges, or one per target cell; give it as an input of the run, or as a
    state of a population with ``modulators={"modulator": "critic.r"}``. A pulse of one step weighs dt. With dopamine as
    the modulator this is the rule of Izhikevich; amplitudes and time constants are his.

    Args:
        A_plus, A_minus, tau_plus, tau_minus: window of the pairs.
        tau_c: time constant of the eligibility.
        b: modulator at which nothing changes.

    Example:
        >>> ModulatedSTDP(b=1.0).dw(eligibility=2.0, modulator=3.0)
        4.0

    References:
        Izhikevich 2007, 10.1093/cercor/bhl152.
        Fremaux & Gerstner 2016, 10.3389/fncir.2015.00085.
    """

    A_plus = bs.param(0.1)
    A_minus = bs.param(0.15)
    tau_plus = bs.param(20.0, "ms", bounds=(0, None))
    tau_minus = bs.param(20.0, "ms", bounds=(0, None))
    tau_c = bs.param(1000.0, "ms", bounds=(0, None))
    b = bs.param(0.0, "1/ms")
    modulator = bs.input("1/ms")

    K_plus = bs.state(0.0, on="pre")
    K_minus = bs.state(0.0, on="post")
    eligibility = bs.state(0.0, on="edge")

    def dK_plus(self, K_plus):
        return -K_plus / self.tau_plus

    def dK_minus(self, K_minus):
        return -K_minus / self.tau_minus

    def deligibility(self, eligibility):
        return -eligibility / self.tau_c

    def on_pre(self, K_minus):
        return dict(K_plus=1.0, eligibility=-self.A_minus * K_minus)

    def on_post(self, K_plus):
        return dict(K_minus=1.0, eligibility=self.A_plus * K_plus)

    def dw(self, eligibility, modulator):
        return eligibility * (modulator - self.b)


class RewardSTDP(ModulatedSTDP):
    """R-STDP: eligibility times the difference between the reward and its running mean (the success signal).

    Equation::

        tau_R mean_reward' = modulator - mean_reward
        w' = (modulator - mean_reward - b) eligibility

    Without the mean a reward that does not depend on what the network does would drive the weights all the same. The
    modulator is the reward; see `ModulatedSTDP` for pairs and eligibility.

    Args:
        A_plus, A_minus, tau_plus, tau_minus, tau_c, b: as in `ModulatedSTDP`.
        tau_R: time over which the reward is averaged.

    Example:
        >>> RewardSTDP().dw(eligibility=2.0, modulator=3.0, mean_reward=1.0)
        4.0

    References:
        Fremaux, Sprekeler & Gerstner 2010, 10.1523/JNEUROSCI.6249-09.2010.
        Legenstein, Pecevski & Maass 2008, 10.1371/journal.pcbi.1000180.
    """

    tau_R = bs.param(10000.0, "ms", bounds=(0, None))
    mean_reward = bs.state(0.0, "1/ms", on="post")

    def dmean_reward(self, mean_reward, modulator):
        return (modulator - mean_reward) / self.tau_R

    def dw(self, eligibility, modulator, mean_reward):
        return eligibility * (modulator - mean_reward - self.b)


class DopamineSTDP(ModulatedSTDP):
    """Dopamine-modulated STDP whose dopamine comes from the spikes of a population.

    Equation::

        n' = -n / tau_n,  spike of a dopamine cell: n += 1 / tau_n
        w' = (n + modulator - b) eligibility

    Name the population with ``modulators={"on_modulator": "vta.spikes"}``; every spike of any of its cells counts. The
    product of the two decays is integrated exactly. See `ModulatedSTDP` for pairs and eligibility; what is given as
    `modulator` adds to the dopamine. NEST's stdp_dopamine_synapse is this rule with delay_at="dendrite".

    Args:
        A_plus, A_minus, tau_plus, tau_minus, tau_c, b: as in `ModulatedSTDP`; b is the dopamine at rest.
        tau_n: time constant of the dopamine.

    Example:
        >>> DopamineSTDP(tau_n=200.0).on_modulator()
        {'n': 0.005}

    References:
        Izhikevich 2007, 10.1093/cercor/bhl152.
        Potjans, Morrison & Diesmann 2010, 10.3389/fncom.2010.00141.
    """

    tau_n = bs.param(200.0, "ms", bounds=(0, None))
    n = bs.state(0.0, "1/ms", on="projection")

    def dn(self, n):
        return -n / self.tau_n

    def on_modulator(self):
        return dict(n=1.0 / self.tau_n)

    def dw(self, eligibility, n, modulator, dt):
        # `eligibility` is its mean over the step and n the value at its start: the mean of the product of both decays
        alone, together = -dt / self.tau_c, -dt / self.tau_c - dt / self.tau_n
        return eligibility * (n * phi1(together) / phi1(alone) + modulator - self.b)


class ThreeFactorHebbian(bs.Plasticity):
    """Three-factor Hebbian rule for rate units: correlated activity tags an edge, any modulator changes its weight.

    Equation::

        tau_e eligibility' = -eligibility + (r_pre - r_in0) (r_post - r_out0)
        w' = eta modulator eligibility

    The modulator is an input of the rule: global, one per target cell, or a state of another population (see
    `ModulatedSTDP`). Nothing changes while it is 0.

    Args:
        eta: learning rate.
        tau_e: time constant of the eligibility.
        r_in0, r_out0: activities without an effect.

    Example:
        >>> ThreeFactorHebbian(eta=0.5).dw(eligibility=2.0, modulator=3.0)
        3.0

    References:
        Fremaux & Gerstner 2016, 10.3389/fncir.2015.00085.
        Gerstner et al. 2018, 10.3389/fncir.2018.00053.
    """

    eta = bs.param(1e-3, "1/ms")
    tau_e = bs.param(1000.0, "ms", bounds=(0, None))
    r_in0 = bs.param(0.0)
    r_out0 = bs.param(0.0)
    modulator = bs.input("1", 0.0)

    eligibility = bs.state(0.0, on="edge")

    def deligibility(self, eligibility, r_pre, r_post):
        return ((r_pre - self.r_in0) * (r_post - self.r_out0) - eligibility) / self.tau_e

    def dw(self, eligibility, modulator):
        return self.eta * modulator * eligibility


class ThreeFactorSTDP(bs.Plasticity):
    """Three-factor Hebbian rule for spikes: coincidence tags an edge, any modulator changes its weight.

    Equation::

        z_in' = -z_in / tau_z,    pre spike:   eligibility += H_pre z_out,   z_in += 1
        z_out' = -z_out / tau_z,  post spike:  eligibility += H_post z_in,   z_out += 1
        eligibility' = -eligibility / tau_e
        w' = eta modulator eligibility

    H_pre = H_post > 0 is Hebbian coincidence, H_pre < 0 the order of STDP. The modulator is as in `ThreeFactorHebbian`.

    Args:
        eta: learning rate.
        tau_z: width of the coincidence.
        H_pre, H_post: tag by a pair that ends with a presynaptic and with a postsynaptic spike.
        tau_e: time constant of the eligibility.

    Example:
        >>> ThreeFactorSTDP().on_post(z_in=0.5)
        {'z_out': 1.0, 'eligibility': 0.5}

    References:
        Fremaux & Gerstner 2016, 10.3389/fncir.2015.00085.
        Gerstner et al. 2018, 10.3389/fncir.2018.00053.
    """

    eta = bs.param(1e-3, "1/ms")
    tau_z = bs.param(20.0, "ms", bounds=(0, None))
    H_pre = bs.param(1.0)
    H_post = bs.param(1.0)
    tau_e = bs.param(1000.0, "ms", bounds=(0, None))
    modulator = bs.input("1", 0.0)

    z_in = bs.state(0.0, on="pre")
    z_out = bs.state(0.0, on="post")
    eligibility = bs.state(0.0, on="edge")

    def dz_in(self, z_in):
        return -z_in / self.tau_z

    def dz_out(self, z_out):
        return -z_out / self.tau_z

    def deligibility(self, eligibility):
        return -eligibility / self.tau_e

    def on_pre(self, z_out):
        return dict(z_in=1.0, eligibility=self.H_pre * z_out)

    def on_post(self, z_in):
        return dict(z_out=1.0, eligibility=self.H_post * z_in)

    def dw(self, eligibility, modulator):
        return self.eta * modulator * eligibility
