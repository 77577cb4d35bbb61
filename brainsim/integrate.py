"""Integrators of the equations of one cell, written for scalars and mapped over the cells of a group.

`exact`      linear systems dz/dt = A z + b: z(t+h) = z + P dz/dt, P = integral of exp(A s) over the step (Rotter &
             Diesmann 1999, 10.1007/s004220050570); P is computed once per run.
`exp_euler`  x + f phi1(a h) h with a = df/dx by one jvp; exact for gates and leaks with frozen coefficients.
`euler`, `heun`, `rk4`  explicit; noise is that of Ito in `euler` and `rk4`, that of Stratonovich in `heun`.
`rosenbrock` ROS2 (Verwer, Spee, Blom & Hundsdorfer 1999, 10.1137/S1064827597326651), L-stable, second order.
"""

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jax.scipy.linalg import expm

from .errors import CompileError, unknown
from .functions import phi1

LOCAL = ("exact", "exp_euler")
EXPLICIT = ("euler", "heun", "rk4")
METHODS = ("auto", *LOCAL, *EXPLICIT, "rosenbrock")
ROSENBROCK_LIMIT = 3000
GROWTH = 10.0


def check_method(method: str) -> str:
    if method not in METHODS:
        raise CompileError(unknown("integrator", method, METHODS))
    return method


def exponential_euler(f, z, dt, noise, xi, skip=()):
    """One step of every state by its own linear part.

    Args:
        f: dict of states -> dict of derivatives.
        noise: dict of diffusion coefficients; xi: standard normal numbers of the same keys.
        skip: states that another method steps.
    """
    slope = f(z)
    out = dict(z)
    for name, x in z.items():
        if name not in slope or name in skip:
            continue
        value, a = jax.jvp(lambda x, name=name: f({**z, name: x})[name], (x,), (jnp.ones_like(x),))
        # a runaway upswing (a dt >> 1) crosses any threshold in this step; without the cap its gradient overflows
        growth = jnp.minimum(a * dt, GROWTH)
        out[name] = x + value * phi1(growth) * dt
        if name in noise:
            # variance of the linear equation over one step: sigma^2 (exp(2 a dt) - 1) / (2 a)
            out[name] = out[name] + noise[name] * jnp.sqrt(phi1(2.0 * growth) * dt) * xi[name]
    return out


def propagator(f, names, dt, held=()):
    """P = integral_0^h exp(A s) ds of the linear system dz/dt = A z + b; held states do not move.

    Args:
        f: derivative with every input at zero; dict of scalars -> dict.
    """
    k = len(names)
    zero = {n: jnp.zeros(()) for n in names}

    def vector(z):
        slope = f(dict(zip(names, z)))
        return jnp.stack([jnp.zeros(()) if n in held else jnp.asarray(slope[n]) for n in names])

    a = jax.jacfwd(vector)(jnp.stack([zero[n] for n in names]))
    keep = jnp.asarray([n not in held for n in names], a.dtype)
    block = jnp.zeros((2 * k, 2 * k), a.dtype).at[:k, :k].set(a * dt).at[:k, k:].set(jnp.diag(keep) * dt)
    return expm(block)[:k, k:]


def entries(matrix, names, pattern) -> dict:
    """The entries of P that can differ from zero, by "row<column"."""
    place = {n: i for i, n in enumerate(names)}
    return {f"{n}<{m}": matrix[place[n], place[m]] for n in names for m in sorted(pattern[n])}


def exact_step(z, slope, coefficients, held=None):
    """z -> z + P dz/dt, which is exp(A h) z + P b, exact; where `held`, with the propagator of the clamped system.

    The form with the derivative keeps float32 accurate: v_rest - v is formed before anything is rounded.
    """

    def apply(table):
        out = dict(z)
        for name, p in table.items():
            n, m = name.split("<")
            out[n] = out[n] + p * slope[m]
        return out

    free = apply(coefficients["free"])
    if held is None or "held" not in coefficients:
        return free
    clamped = apply(coefficients["held"])
    return {n: jnp.where(held, clamped[n], free[n]) for n in z}


def reach(direct: dict) -> dict:
    """Transitive closure of a dependency graph, every name reaching itself."""
    out = {n: {n, *(m for m in direct[n] if m in direct)} for n in direct}
    for _ in out:
        out = {n: set().union(*(out[m] for m in out[n])) for n in out}
    return out


def _axpy(a, x, y):
    return jax.tree.map(lambda x, y: y + a * x, x, y)


def staged_step(method, f, z, t, dt, noise=None):
    """One explicit or Rosenbrock step of coupled groups.

    Args:
        f: (z, t) -> derivative with every instantaneous coupling evaluated at z; same structure as z.
        noise: (z) -> diffusion times increment over the step, same structure, or None.
    """
    if method == "euler":
        out = _axpy(dt, f(z, t), z)
        return out if noise is None else _axpy(1.0, noise(z), out)
    if method == "heun":
        k1 = f(z, t)
        ahead = _axpy(dt, k1, z)
        kicked = ahead if noise is None else _axpy(1.0, noise(z), ahead)
        k2 = f(kicked, t + dt)
        out = _axpy(0.5 * dt, k2, _axpy(0.5 * dt, k1, z))
        return out if noise is None else _axpy(0.5, noise(kicked), _axpy(0.5, noise(z), out))
    if method == "rk4":
        k1 = f(z, t)
        k2 = f(_axpy(0.5 * dt, k1, z), t + 0.5 * dt)
        k3 = f(_axpy(0.5 * dt, k2, z), t + 0.5 * dt)
        k4 = f(_axpy(dt, k3, z), t + dt)
        out = jax.tree.map(lambda z, a, b, c, d: z + dt / 6.0 * (a + 2.0 * b + 2.0 * c + d), z, k1, k2, k3, k4)
        return out if noise is None else _axpy(1.0, noise(z), out)
    return rosenbrock(f, z, t, dt)


def rosenbrock(f, z, t, dt):
    """ROS2 with the L-stable gamma = 1 - 1/sqrt(2) and the full Jacobian of the coupled system."""
    flat, restore = ravel_pytree(z)
    g = lambda y, t: ravel_pytree(f(restore(y), t))[0]
    gamma = 1.0 - 2.0**-0.5
    jacobian = jax.jacfwd(g)(flat, t)
    rate = jax.jvp(lambda s: g(flat, s), (t,), (jnp.ones_like(t),))[1]
    lu = jax.scipy.linalg.lu_factor(jnp.eye(flat.size, dtype=flat.dtype) - gamma * dt * jacobian)
    k1 = jax.scipy.linalg.lu_solve(lu, g(flat, t) + gamma * dt * rate)
    k2 = jax.scipy.linalg.lu_solve(lu, g(flat + dt * k1, t + dt) - 2.0 * k1 - gamma * dt * rate)
    return restore(flat + 1.5 * dt * k1 + 0.5 * dt * k2)
