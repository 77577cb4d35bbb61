"""Homeostatic plasticity on one and on several time scales."""

import brainsim as bs


class SynapticScaling(bs.Plasticity):
    """Synaptic scaling: all weights of a cell grow or shrink in proportion until its mean rate is the target.

    Equation::

        tau_activity activity' = -activity,  post spike: activity += 1 / tau_activity
        error' = activity_goal - activity
        w' = w (gain (activity_goal - activity) + integral_gain error)

    The integral of the error removes what the proportional term leaves beside other rules, of which this is usually the
    second: ``plasticity=[STDP(), SynapticScaling()]``. Defaults: van Rossum et al., where the goal differs by cell.

    Args:
        tau_activity: time constant of the mean rate.
        activity_goal: rate that is aimed at.
        gain: of the error; beta of the paper.
        integral_gain: of its integral; gamma of the paper.

    Example:
        >>> SynapticScaling(gain=1e-3, activity_goal=5.0).dw(activity=3.0, error=0.0, w=0.5)
        0.001

    References:
        van Rossum, Bi & Turrigiano 2000, 10.1523/JNEUROSCI.20-23-08812.2000.
        Turrigiano 2008, 10.1016/j.cell.2008.10.008.
    """

    tau_activity = bs.param(100000.0, "ms", bounds=(0, None))
    activity_goal = bs.param(10.0, "Hz", bounds=(0, None))
    gain = bs.param(4e-8, "1/(Hz*ms)")
    integral_gain = bs.param(1e-13, "1/(Hz*ms**2)")
    Hz_ms = bs.const(1000.0, "Hz*ms")

    activity = bs.state(0.0, "Hz", on="post")
    error = bs.state(0.0, "Hz*ms", on="post")

    def dactivity(self, activity):
        return -activity / self.tau_activity

    def derror(self, activity):
        return self.activity_goal - activity

    def on_post(self):
        return dict(activity=self.Hz_ms / self.tau_activity)

    def dw(self, activity, error, w):
        return w * (self.gain * (self.activity_goal - activity) + self.integral_gain * error)


class HomeostaticTripletSTDP(bs.Plasticity):
    """Triplet STDP whose depression follows the rate of the target: the fast rate detector of Zenke and colleagues.

    Equation::

        z_in' = -z_in / tau_plus,    z_out' = -z_out / tau_minus,  z_slow' = -z_slow / tau_slow,  tau_nu nu' = -nu
        pre spike:   w -= A_minus z_out,         z_in += 1
        post spike:  w += A_plus z_in z_slow,    z_out += 1, z_slow += 1, nu += 1 / tau_nu
        A_minus = A_plus tau_plus tau_slow nu^2 / (tau_minus kappa)

    At nu = kappa potentiation and depression by independent spikes are equal. The network is stable only if tau_nu is
    seconds to a minute. nu starts at kappa. Amplitudes are relative to w = 1.

    Args:
        A_plus: amplitude of the triplets.
        tau_plus, tau_minus, tau_slow: time constants of the traces.
        kappa: target rate.
        tau_nu: time constant of the rate detector.

    Example:
        >>> HomeostaticTripletSTDP(A_plus=0.5).on_post(z_in=1.0, z_slow=1.0)["w"]
        0.5

    References:
        Zenke, Hennequin & Gerstner 2013, 10.1371/journal.pcbi.1003330.
        Pfister & Gerstner 2006, 10.1523/JNEUROSCI.1425-06.2006 (traces).
    """

    A_plus = bs.param(6.5e-3)
    tau_plus = bs.param(16.8, "ms", bounds=(0, None))
    tau_minus = bs.param(33.7, "ms", bounds=(0, None))
    tau_slow = bs.param(114.0, "ms", bounds=(0, None))
    kappa = bs.param(3.0, "Hz", bounds=(0, None))
    tau_nu = bs.param(10000.0, "ms", bounds=(0, None))
    Hz_ms = bs.const(1000.0, "Hz*ms")

    z_in = bs.state(0.0, on="pre")
    z_out = bs.state(0.0, on="post")
    z_slow = bs.state(0.0, on="post")
    nu = bs.state("kappa", "Hz", on="post")

    def dz_in(self, z_in):
        return -z_in / self.tau_plus

    def dz_out(self, z_out):
        return -z_out / self.tau_minus

    def dz_slow(self, z_slow):
        return -z_slow / self.tau_slow

    def dnu(self, nu):
        return -nu / self.tau_nu

    def on_pre(self, z_out, nu):
        balance = self.tau_plus * self.tau_slow / (self.tau_minus * self.Hz_ms) * nu**2 / self.kappa
        return dict(z_in=1.0, w=-self.A_plus * balance * z_out)

    def on_post(self, z_in, z_slow):
        return dict(z_out=1.0, z_slow=1.0, nu=self.Hz_ms / self.tau_nu, w=self.A_plus * z_in * z_slow)


class OrchestratedSTDP(bs.Plasticity):
    """Plasticity on many time scales: triplet, heterosynaptic, transmitter-induced, homeostatic, and consolidation.

    Equation::

        z_in' = -z_in / tau_plus,    z_out' = -z_out / tau_minus,  z_slow' = -z_slow / tau_slow,  tau_hom nu' = -nu
        pre spike:   w += delta - A (nu / kappa)^2 z_out
        post spike:  w += A z_in z_slow - beta_het (w - w_ref) z_out^3
        tau_cons w_ref' = w - w_ref - P w_ref (w_P / 2 - w_ref) (w_P - w_ref)

    A spike adds 1 to its traces and 1 / tau_hom to nu, after it has acted. The reference weight w_ref consolidates
    slowly to 0 or near w_P; heterosynaptic plasticity in bursts pulls w towards it. Weights are in units of the leak
    conductance (the paper bounds them to 0 and 5); nu starts at kappa, w_ref at w_ref0. The amplitude of depression
    slides as in the authors' program with homeostasis.

    Args:
        A: amplitude of triplet potentiation and of depression.
        beta_het: heterosynaptic plasticity.
        delta: transmitter-induced potentiation.
        tau_plus, tau_minus, tau_slow: time constants of the traces.
        kappa: rate at which depression has the amplitude A.
        tau_hom: time constant of the sliding threshold.
        tau_cons: time constant of consolidation.
        P, w_P: strength and upper fixed point of the consolidation.
        w_ref0: reference weight at the start.

    Example:
        >>> OrchestratedSTDP(A=0.0, beta_het=0.5).on_post(z_in=0.0, z_out=1.0, z_slow=0.0, w_ref=1.0, w=2.0)["w"]
        -0.5

    References:
        Zenke, Agnes & Gerstner 2015, 10.1038/ncomms7922.
    """

    A = bs.param(1e-3)
    beta_het = bs.param(0.05)
    delta = bs.param(2e-5)
    tau_plus = bs.param(20.0, "ms", bounds=(0, None))
    tau_minus = bs.param(20.0, "ms", bounds=(0, None))
    tau_slow = bs.param(100.0, "ms", bounds=(0, None))
    kappa = bs.param(10.0, "Hz", bounds=(0, None))
    tau_hom = bs.param(1.2e6, "ms", bounds=(0, None))
    tau_cons = bs.param(1.2e6, "ms", bounds=(0, None))
    P = bs.param(20.0)
    w_P = bs.param(0.5)
    w_ref0 = bs.param(0.0)
    Hz_ms = bs.const(1000.0, "Hz*ms")

    z_in = bs.state(0.0, on="pre")
    z_out = bs.state(0.0, on="post")
    z_slow = bs.state(0.0, on="post")
    nu = bs.state("kappa", "Hz", on="post")
    w_ref = bs.state("w_ref0", on="edge")

    def dz_in(self, z_in):
        return -z_in / self.tau_plus

    def dz_out(self, z_out):
        return -z_out / self.tau_minus

    def dz_slow(self, z_slow):
        return -z_slow / self.tau_slow

    def dnu(self, nu):
        return -nu / self.tau_hom

    def dw_ref(self, w_ref, w):
        well = self.P * w_ref * (0.5 * self.w_P - w_ref) * (self.w_P - w_ref)
        return (w - w_ref - well) / self.tau_cons

    def on_pre(self, z_out, nu):
        return dict(z_in=1.0, w=self.delta - self.A * (nu / self.kappa) ** 2 * z_out)

    def on_post(self, z_in, z_out, z_slow, w_ref, w):
        change = self.A * z_in * z_slow - self.beta_het * (w - w_ref) * z_out**3
        return dict(z_out=1.0, z_slow=1.0, nu=self.Hz_ms / self.tau_hom, w=change)
