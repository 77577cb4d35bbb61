"""Methods of one start: what they keep from step to step, and a step.

Each is `begin(x)` -> state and `step(problem, x, state)` -> (x, state, loss at the old x, whether all was finite),
written for one start and mapped over all.
"""

from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax

from ..adjoint import directional
from ..errors import ParameterError, unknown
from ..program import dtype


@dataclass(frozen=True)
class Problem:
    """What a step sees of the objective: its batch, noise and nudging are chosen."""

    value: Any  # x -> loss
    residuals: Any  # x -> vector
    value_and_grad: Any
    reach: Any


@dataclass(frozen=True)
class Gradient:
    """Any optax transformation; the gradient is first scaled by its norm to the power -normalize, then clipped."""

    optimizer: Any
    clip: float | None = None
    normalize: float | None = None

    def begin(self, x):
        return self.optimizer.init(x)

    def step(self, problem, x, state):
        value, grad = problem.value_and_grad(x)
        norm = jnp.linalg.norm(grad)
        if self.normalize is not None:
            grad = grad / jnp.maximum(norm, jnp.finfo(grad.dtype).tiny) ** self.normalize
        if self.clip is not None:
            grad = grad * jnp.minimum(1.0, self.clip / jnp.maximum(jnp.linalg.norm(grad), 1e-30))
        more = {"value": value, "grad": grad, "value_fn": problem.value}
        update, after = optax.with_extra_args_support(self.optimizer).update(grad, state, x, **more)
        ok = jnp.isfinite(value) & jnp.isfinite(norm) & jnp.all(jnp.isfinite(update))
        return optax.apply_updates(x, update), after, value, ok


@dataclass(frozen=True)
class LevenbergMarquardt:
    """Damped Gauss-Newton steps on residuals, with the Jacobian by forward mode (Marquardt 1963, 10.1137/0111030):

        (J'J + l diag(J'J + 1e-6)) d = -J'r;   accepted where the sum of squares falls: l / 3, else 2 l.

    Args:
        damping: l at the start, and after every change of the nudging.
        step_limit: largest change of a number in one step.
        chunk: tangents of the Jacobian that run side by side; None: all.
    """

    damping: float = 1.0
    step_limit: float = 1.0
    chunk: int | None = None
    least: float = field(default=1e-12, repr=False)

    def begin(self, x):
        return {"damping": jnp.asarray(self.damping, dtype())}

    def step(self, problem, x, state):
        damping = state["damping"]
        r, jacobian = self.jacobian(problem.residuals, x)
        square = jacobian.T @ jacobian
        matrix = square + damping * jnp.diag(jnp.diag(square) + 1e-6)
        move = -jnp.linalg.solve(matrix, jacobian.T @ r)
        there = jnp.clip(x + jnp.clip(move, -self.step_limit, self.step_limit), -problem.reach, problem.reach)
        before, after = jnp.sum(r**2), jnp.sum(problem.residuals(there) ** 2)
        better = after < before
        ok = jnp.isfinite(before) & jnp.all(jnp.isfinite(move))
        damping = jnp.where(better, jnp.maximum(damping / 3.0, self.least), jnp.minimum(damping * 2.0, 1e12))
        return jnp.where(better, there, x), {"damping": damping}, before / r.shape[0], ok

    def jacobian(self, residuals, x):
        """(residuals, Jacobian (m, n))."""
        (r, _), rows = directional(lambda x: (residuals(x), None), x, self.chunk)
        return r, rows.T


NAMED = {
    "adam": lambda: optax.adam(0.05),
    "lm": LevenbergMarquardt,
    "lbfgs": lambda: optax.lbfgs(),
}


def method_of(given, clip=None, normalize=None):
    """A method from a name, an optax transformation or a method."""
    if isinstance(given, str):
        if given not in (*NAMED, "cma"):
            raise ParameterError(unknown("method", given, (*NAMED, "cma")) + "; or give an optax transformation")
        if given == "cma":
            if clip is not None or normalize is not None:
                raise ParameterError("clip and normalize act on gradients; 'cma' has none, so leave them out")
            return "cma"
        given = NAMED[given]()
    for name, value, most in (("clip", clip, np.inf), ("normalize", normalize, 1.0)):
        if value is not None and (isinstance(value, bool | str) or not 0 < value <= most):
            raise ParameterError(f"{name}={value!r}; give a positive number" + (" up to 1" if most == 1.0 else ""))
    if isinstance(given, optax.GradientTransformation):
        return Gradient(given, clip, normalize)
    if not hasattr(given, "step"):
        raise ParameterError(
            f"method is {given!r:.60}; give 'lm', 'adam', 'lbfgs', 'cma', or an optax transformation such as "
            f"optax.adam(1e-2)"
        )
    if clip is not None or normalize is not None:
        raise ParameterError("clip and normalize act on gradients; this method has none, so leave them out")
    return given
