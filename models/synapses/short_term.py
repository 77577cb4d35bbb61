"""Short-term plasticity of Tsodyks and Markram: depression by depletion, facilitation by residual calcium.

Deterministic, where release is a fraction of a resource of the source, and stochastic, where it is a number of vesicles
of every edge.
"""

import jax
import jax.numpy as jnp
import numpy as np

import brainsim as bs
from brainsim.errors import ParameterError


class TsodyksMarkramCurrent(bs.Synapse):
    """Current of a synapse with short-term depression and facilitation; weight (pA): response at full release.

    Equation::

        u' = -u / tau_f,  x' = (1 - x) / tau_d     (on the source)
        spike:  u += U (1 - u), then the fraction u x is released:  x -= u x,  i += w u x
        tau i' = -i
        current into the target: i

    Regular spikes at intervals D have u = U / (1 - (1 - U) e^(-D / tau_f)) and before each
    x = (1 - e^(-D / tau_d)) / (1 - (1 - u) e^(-D / tau_d)). tau_f much shorter than D is pure depression (u = U).
    u and x are exact between spikes; a source has one of each, whatever the delays. Defaults: depressing synapses of
    pyramidal cells (Tsodyks & Markram 1997); tau_f=530.0, tau_d=130.0, U=0.03 facilitates (Tsodyks et al. 1998).

    Args:
        U: release by the first spike.
        tau_f: time constant of facilitation.
        tau_d: time constant of recovery from depression.
        tau: time constant of the current.

    Example:
        >>> TsodyksMarkramCurrent(U=0.5).on_pre(w=10.0, u=0.0, x=1.0)["i"]
        5.0

    References:
        Tsodyks & Markram 1997, 10.1073/pnas.94.2.719.
        Tsodyks, Pawelzik & Markram 1998, 10.1162/089976698300017502.
    """

    w = bs.weight("pA")
    U = bs.param(0.67, bounds=(0, 1), closed=True)
    tau_f = bs.param(1.0, "ms", bounds=(0, None))
    tau_d = bs.param(800.0, "ms", bounds=(0, None))
    tau = bs.param(3.0, "ms", bounds=(0, None))

    u = bs.state(0.0, on="pre")
    x = bs.state(1.0, on="pre")
    i = bs.state(0.0, "pA", on="post")

    def du(self, u):
        return -u / self.tau_f

    def dx(self, x):
        return (1.0 - x) / self.tau_d

    def di(self, i):
        return -i / self.tau

    def on_pre(self, w, u, x):
        release = (u + self.U * (1.0 - u)) * x
        return dict(u=self.U * (1.0 - u), x=-release, i=w * release)

    def current(self, i):
        return i


class TsodyksMarkramConductance(bs.Synapse):
    """Conductance of a synapse with short-term depression and facilitation; weight (nS): response at full release.

    Equation::

        u' = -u / tau_f,  x' = (1 - x) / tau_d     (on the source)
        spike:  u += U (1 - u), then the fraction u x is released:  x -= u x,  g += w u x
        tau g' = -g
        current into the target: g (E - v_post)

    Args:
        U, tau_f, tau_d: as in `TsodyksMarkramCurrent`.
        tau: time constant of the conductance.
        E: reversal potential.

    Example:
        >>> TsodyksMarkramConductance(U=0.5).on_pre(w=10.0, u=0.0, x=1.0)["x"]
        -0.5

    References:
        Tsodyks & Markram 1997, 10.1073/pnas.94.2.719.
        Tsodyks, Pawelzik & Markram 1998, 10.1162/089976698300017502.
    """

    w = bs.weight("nS", bounds=(0, None))
    U = bs.param(0.67, bounds=(0, 1), closed=True)
    tau_f = bs.param(1.0, "ms", bounds=(0, None))
    tau_d = bs.param(800.0, "ms", bounds=(0, None))
    tau = bs.param(3.0, "ms", bounds=(0, None))
    E = bs.param(0.0, "mV")

    u = bs.state(0.0, on="pre")
    x = bs.state(1.0, on="pre")
    g = bs.state(0.0, "nS", on="post")

    def du(self, u):
        return -u / self.tau_f

    def dx(self, x):
        return (1.0 - x) / self.tau_d

    def dg(self, g):
        return -g / self.tau

    def on_pre(self, w, u, x):
        release = (u + self.U * (1.0 - u)) * x
        return dict(u=self.U * (1.0 - u), x=-release, g=w * release)

    def current(self, g, v_post):
        return g * (self.E - v_post)


def _check_sites(synapse):
    """Numbers of release sites are whole and within what `on_pre` draws."""
    n = synapse.sites
    if isinstance(n, jax.core.Tracer):
        return  # not known here; a number that is not whole makes the run non-finite
    what = f"{type(synapse).__name__}.sites"
    if not isinstance(n, float | np.ndarray):
        raise ParameterError(f"{what} = {n!r}; a number of release sites is no distribution: give numbers")
    if np.any(np.asarray(n) != np.floor(n)):
        raise ParameterError(f"{what} = {n}; release sites are counted: give a whole number")
    if np.max(n) > synapse.most:
        raise ParameterError(
            f"{what} = {np.max(n):g}, but on_pre draws for at most {synapse.most} sites; write a subclass with "
            f"most = {np.max(n):.0f}"
        )


def _released(synapse, u, full, h, key):
    """(increments of u and full at a spike h after the last one, number of vesicles)."""
    u_now = synapse.U + u * (1.0 - synapse.U) * jnp.exp(-h / synapse.tau_f)
    refilled = bs.binomial_of(key, synapse.sites - full, -jnp.expm1(-h / synapse.tau_d), synapse.most)
    released = bs.binomial_of(bs.fold_of(key, 0), full + refilled, u_now, synapse.most)
    return dict(u=u_now - u, full=refilled - released), released


class StochasticTsodyksMarkramCurrent(bs.Synapse):
    """Current of a synapse whose n sites release vesicles at random; weight (pA): response at full release.

    Every edge has n release sites of its own, each with at most one vesicle. At a spike, h after the last one::

        u = U + u (1 - U) e^(-h / tau_f)                      (as in `TsodyksMarkramCurrent`)
        every empty site refills with probability 1 - e^(-h / tau_d)
        every full site releases with probability u:  i += w / n, and the site is empty
        tau i' = -i
        current into the target: i

    The number of vesicles is binomial, with mean n u x and variance n u x (1 - u x), where x, the chance of a site to
    be full, is that of `TsodyksMarkramCurrent`: so are the means. n = 1 is all or nothing. Random numbers depend on the
    seed, the name of the projection, the step and the place of the edge only. `full` is the number of full sites,
    `last` the time of the last spike. No gradient reaches the number of sites, U, tau_f and tau_d. Defaults: U and time
    constants of `TsodyksMarkramCurrent`.

    Args:
        U, tau_f, tau_d, tau: as in `TsodyksMarkramCurrent`.
        sites: number n of release sites, a whole number up to the class attribute `most` (20), to which the work at a
            spike is proportional; a subclass may raise it.

    Raises:
        ParameterError: `sites` is no whole number, or above `most`. A run in which a set value is none ends as
            non-finite.

    Example:
        >>> StochasticTsodyksMarkramCurrent(sites=3, U=0.5).sites
        3.0

    References:
        Fuhrmann, Segev, Markram & Tsodyks 2002, 10.1152/jn.00258.2001.
    """

    most = 20

    w = bs.weight("pA")
    sites = bs.param(5.0, bounds=(1, None), closed=True)
    U = bs.param(0.67, bounds=(0, 1), closed=True)
    tau_f = bs.param(1.0, "ms", bounds=(0, None))
    tau_d = bs.param(800.0, "ms", bounds=(0, None))
    tau = bs.param(3.0, "ms", bounds=(0, None))

    u = bs.state(0.0, on="edge", jump=True)
    full = bs.state("sites", on="edge", jump=True)
    last = bs.state(0.0, "ms", on="edge", jump=True)
    i = bs.state(0.0, "pA", on="post")

    def validate(self):
        _check_sites(self)

    def di(self, i):
        return -i / self.tau

    def on_pre(self, w, u, full, last, t, key):
        change, released = _released(self, u, full, t - last, key)
        return dict(**change, last=t - last, i=w * (released / self.sites))

    def current(self, i):
        return i


class StochasticTsodyksMarkramConductance(bs.Synapse):
    """Conductance of a synapse whose n sites release vesicles at random; weight (nS): response at full release.

    Equation::

        release as in `StochasticTsodyksMarkramCurrent`:  g += w / n for every vesicle
        tau g' = -g
        current into the target: g (E - v_post)

    Args:
        U, tau_f, tau_d, sites: as in `StochasticTsodyksMarkramCurrent`.
        tau: time constant of the conductance.
        E: reversal potential.

    Raises:
        ParameterError: as `StochasticTsodyksMarkramCurrent`.

    Example:
        >>> StochasticTsodyksMarkramConductance(sites=3).E
        0.0

    References:
        Fuhrmann, Segev, Markram & Tsodyks 2002, 10.1152/jn.00258.2001.
    """

    most = 20

    w = bs.weight("nS", bounds=(0, None))
    sites = bs.param(5.0, bounds=(1, None), closed=True)
    U = bs.param(0.67, bounds=(0, 1), closed=True)
    tau_f = bs.param(1.0, "ms", bounds=(0, None))
    tau_d = bs.param(800.0, "ms", bounds=(0, None))
    tau = bs.param(3.0, "ms", bounds=(0, None))
    E = bs.param(0.0, "mV")

    u = bs.state(0.0, on="edge", jump=True)
    full = bs.state("sites", on="edge", jump=True)
    last = bs.state(0.0, "ms", on="edge", jump=True)
    g = bs.state(0.0, "nS", on="post")

    def validate(self):
        _check_sites(self)

    def dg(self, g):
        return -g / self.tau

    def on_pre(self, w, u, full, last, t, key):
        change, released = _released(self, u, full, t - last, key)
        return dict(**change, last=t - last, g=w * (released / self.sites))

    def current(self, g, v_post):
        return g * (self.E - v_post)
