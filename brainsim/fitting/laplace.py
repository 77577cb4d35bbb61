"""After a fit: how well the data determine the parameters.

Near the best point the sum of squares is quadratic, with the matrix J'J of the Jacobian of the residuals. With
residuals of variance s^2 the covariance of the vector is s^2 (J'J)^-1 (Laplace approximation); eigenvectors of small
eigenvalue are sloppy directions: combinations of parameters that the data hardly see (Gutenkunst et al. 2007,
10.1371/journal.pcbi.0030189).
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from ..errors import ParameterError, UnknownNameError, unknown
from ..program import dtype
from .methods import LevenbergMarquardt, Problem


@dataclass
class Laplace:
    """Uncertainty at the best point of a fit.

    Attributes:
        labels: names of the n numbers. mean: (n,) the vector. covariance: (n, n) of the vector.
        errors: label -> standard error of the value, in the unit of the parameter; of the factor where it is relative.
        eigenvalues: (n,) of J'J / s^2, largest first. directions: (n, n), a column for each; unit vectors of the
            vector.
        variance: s^2, of the residuals.
    """

    labels: list
    mean: np.ndarray
    covariance: np.ndarray
    errors: dict
    eigenvalues: np.ndarray
    directions: np.ndarray
    variance: float

    def sloppy(self, ratio=1e-6) -> list[str]:
        """Directions whose eigenvalue is below `ratio` of the largest one, in words."""
        out = []
        for value, v in zip(self.eigenvalues, self.directions.T, strict=True):
            if value < ratio * self.eigenvalues[0]:
                parts = np.argsort(-np.abs(v))[:4]
                out.append(" ".join(f"{v[i]:+.2f} {self.labels[i]}" for i in parts if abs(v[i]) > 0.05))
        return out

    def table(self) -> str:
        """Values of the vector's entries with their errors, and the spectrum."""
        rows = [f"{label}: +- {self.errors[label]:.3g}" for label in self.labels]
        return "\n".join([*rows, "eigenvalues: " + " ".join(f"{x:.3g}" for x in self.eigenvalues)])

    def __repr__(self):
        spread = self.eigenvalues[0] / max(self.eigenvalues[-1], 1e-300)
        noise = self.variance**0.5
        return f"Laplace({len(self.labels)} numbers, s = {noise:.3g}, eigenvalues over a range of {spread:.2g})"

    def sample(self, n: int, key: int = 0) -> np.ndarray:
        """n vectors from the normal approximation, (n, size)."""
        return np.random.default_rng(key).multivariate_normal(self.mean, self.covariance, n, method="svd")


def laplace(result, start=None) -> Laplace:
    """Laplace approximation of a fit of residuals.

    Args:
        result: of `bs.fit`, in the process that made it. start: number of the start; default: the best.

    Raises:
        ParameterError: the loss returns no residuals, or fewer of them than numbers that vary.
    """
    o = result.fitted()
    if not o.is_vector:
        raise ParameterError("the loss is one number, so its noise is unknown; return a vector of residuals")
    if start is not None and not 0 <= int(start) < len(result.vectors):
        raise ParameterError(f"start={start}; give one from 0 to {len(result.vectors) - 1}")
    at = result.best if start is None else int(start)
    x = jnp.asarray(result.vectors[at], dtype())
    f = lambda x: o.residuals(x, o.words)
    r, jacobian = (np.asarray(a, float) for a in jax.jit(lambda x: LevenbergMarquardt().jacobian(f, x))(x))
    m, n = jacobian.shape
    if m <= n:
        raise ParameterError(f"{m} residuals for {n} numbers that vary: their noise is unknown; give more data")
    # a fit without noise has residuals of rounding; the spectrum is then that of J'J alone
    variance = float(np.sum(r**2) / (m - n)) or 1.0
    _, scale, rows = np.linalg.svd(jacobian, full_matrices=False)
    scale = np.maximum(scale, scale[0] * 1e-12)
    covariance = variance * (rows.T / scale**2) @ rows
    labels = [*o.bound.labels, *(f"extra[{i}]" for i in range(n - o.bound.size))]
    return Laplace(
        labels, np.asarray(x), covariance, _errors(o, x, covariance, labels), scale**2 / variance, rows.T, variance
    )


def _errors(o, x, covariance, labels):
    """Standard errors of the values behind every number of the vector."""
    deviation = np.sqrt(np.diag(covariance))
    out = {}
    for b in o.bound.blocks:
        slope = np.asarray(jax.jacfwd(b.how.value)(x[b.start : b.stop]))
        part = np.sqrt(np.diag(slope @ covariance[b.start : b.stop, b.start : b.stop] @ slope.T))
        out.update(zip(b.labels(), part[: b.stop - b.start].tolist(), strict=True))
    out.update(zip(labels[o.bound.size :], deviation[o.bound.size :].tolist(), strict=True))
    return out


def profile(result, label: str, values, steps: int = 20) -> np.ndarray:
    """Profile of the loss: the least loss with one number held at each of the values, all others fitted again.

    A profile that stays flat says that the data do not determine the number (Raue et al. 2009,
    10.1093/bioinformatics/btp358).

    Args:
        result: of a fit of residuals. label: one of `result.labels`. values: (n,) values of the parameter.
        steps: of Levenberg-Marquardt, from the best point.

    Returns:
        (n,) losses.
    """
    o = result.fitted()
    if not o.is_vector:
        raise ParameterError("a profile needs residuals and the objective of the fit; return a vector from the loss")
    if label not in o.bound.labels:
        raise UnknownNameError(unknown("number", label, o.bound.labels))
    at = o.bound.labels.index(label)
    block = next(b for b in o.bound.blocks if b.start <= at < b.stop)
    if block.how.relative or len(block.names) > 1 or block.stop - block.start > 1:
        raise ParameterError(f"{label} is one of several numbers of {block.names}; profiles are of single numbers")
    held = np.array([block.vector({block.names[0]: np.full(block.shape, v)})[0] for v in values])
    best = jnp.asarray(result.vectors[result.best], dtype())
    others = np.delete(np.arange(o.size), at)
    method, reach = LevenbergMarquardt(), jnp.asarray(o.reach[others])

    def least(u):
        f = lambda x: o.residuals(best.at[others].set(x).at[at].set(u), o.words)
        problem = Problem(None, f, None, reach)
        move = lambda _, both: method.step(problem, *both)[:2]
        x, _ = jax.lax.fori_loop(0, steps, move, (best[others], method.begin(best[others])))
        return jnp.mean(f(x) ** 2)

    return np.asarray(jax.jit(jax.vmap(least))(jnp.asarray(held, dtype())))
