"""Beyond the best point: samples from the posterior, and simulated pairs for methods that learn it."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from .. import extras
from ..errors import ParameterError
from ..program import dtype
from .objective import Objective, words_of


@dataclass
class Posterior:
    """Samples of a posterior.

    Attributes:
        values: name -> (chains, draws, ...) of every parameter. vectors: (chains, draws, size).
        accepted: mean acceptance probability of every chain, (chains,). diverged: number of divergent draws, (chains,).
        labels: names of the numbers of a vector.
    """

    values: dict
    vectors: np.ndarray
    accepted: np.ndarray
    diverged: np.ndarray
    labels: list

    def rhat(self) -> dict:
        """Split R-hat of every number of the vector (Gelman et al. 2013, Bayesian Data Analysis, 11.4).

        Near 1 where the chains agree.
        """
        half = self.vectors.shape[1] // 2
        parts = np.concatenate([self.vectors[:, :half], self.vectors[:, half : 2 * half]])
        within, means = parts.var(axis=1, ddof=1).mean(axis=0), parts.mean(axis=1)
        total = within * (half - 1) / half + means.var(axis=0, ddof=1)
        return dict(zip(self.labels, np.sqrt(total / within).tolist(), strict=True))


def log_posterior(objective: Objective, noise=None):
    """Logarithm of the posterior density as a function of a vector.

    log prior - 1/2 sum (r / noise)^2 for residuals; log prior - loss for a loss that is one number, which is then the
    negative log-likelihood.

    Args:
        noise: standard deviation of the residuals, in their unit.

    Raises:
        ParameterError: residuals without their noise, or a noise that nothing uses; `extra` has no prior.
    """
    if objective.has_extra:
        raise ParameterError("extra= has no prior; name what varies in the space")
    if objective.is_vector and (noise is None or not noise > 0):
        raise ParameterError(f"noise={noise!r}; residuals need their standard deviation, such as laplace.variance**0.5")
    if not objective.is_vector and noise is not None:
        raise ParameterError("noise= belongs to residuals; this loss is one number, the negative log-likelihood")

    def density(u):
        if objective.is_vector:
            fit = -0.5 * jnp.sum((objective.residuals(u, objective.words) / noise) ** 2)
        else:
            n = 1 if objective.trials is None else objective.trials
            fit = -n * objective.value(u)
        total = fit + objective.bound.log_prior(u)
        return jnp.where(jnp.isfinite(total), total, -jnp.inf)

    return density


def nuts(result, noise=None, *, draws=500, warmup=500, chains=4, key: int = 0) -> Posterior:
    """The No-U-Turn sampler of blackjax on the objective of a fit, from its best points (Hoffman & Gelman 2014,
    arXiv:1111.4246; `pip install 'brainsim-jax[bayes]'`).

    Args:
        result: of `bs.fit`. noise: see `log_posterior`; default: the residuals' own, by `result.laplace()`.
        draws, warmup: per chain; step size and metric are adapted in the warm-up. chains: side by side.

    Raises:
        ParameterError: see `log_posterior`.
    """
    for name, value in (("draws", draws), ("warmup", warmup), ("chains", chains)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ParameterError(f"{name}={value!r}; give a whole number of at least 1")
    blackjax = extras.load("blackjax")
    o = result.fitted()
    if noise is None and o.is_vector:
        noise = result.laplace().variance ** 0.5
    density = log_posterior(o, noise)
    start = jnp.asarray(result.vectors[result.best], dtype())

    def chain(key):
        first, second = jax.random.split(key)
        adapt = blackjax.window_adaptation(blackjax.nuts, density)
        (state, found), _ = adapt.run(first, start, num_steps=warmup)
        step = blackjax.nuts(density, **found).step

        def one(state, key):
            state, info = step(key, state)
            return state, (state.position, info.acceptance_rate, info.is_divergent)

        return jax.lax.scan(one, state, jax.random.split(second, draws))[1]

    u, rate, diverged = jax.jit(jax.vmap(chain))(jax.random.split(jax.random.key(key), chains))
    values = jax.vmap(jax.vmap(o.bound.params))(u)
    return Posterior(
        {k: np.asarray(v) for k, v in values.items()},
        np.asarray(u),
        np.asarray(rate).mean(axis=1),
        np.asarray(diverged).sum(axis=1),
        list(o.bound.labels),
    )


def simulated_pairs(sim, space, summary, n: int, *, duration, inputs=None, key: int = 0, width=None):
    """Parameters from the prior and what their runs look like, for simulation-based inference in any package.

    Args:
        summary: a function of the result of a run, such as `lambda result: result["e.v"][::100, 0]`.
        n: runs; each has its own noise. width: runs side by side; default: all.

    Returns:
        theta (n, size), the unbounded vectors (`space.bind(sim).params(u)` has the values), and x (n, ...).
    """
    o = Objective(sim, space, lambda: 0.0, duration=duration, inputs=inputs)
    theta = jnp.asarray(o.bound.draw(n, key), dtype())
    words = jax.vmap(lambda i: words_of(jax.random.key(key), i))(jnp.arange(n))
    one = lambda both: summary(o.simulate(both[0], None, both[1])[0])
    x = jax.jit(lambda t, w: jax.lax.map(one, (t, w), batch_size=width or n))(theta, words)
    return np.asarray(theta), jax.tree.map(np.asarray, x)
