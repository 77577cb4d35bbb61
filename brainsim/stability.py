"""Whether an explicit integrator can be stable: eigenvalues of the equations of every cell at its initial state."""

import jax
import jax.numpy as jnp
import numpy as np

from . import cell
from .beginning import initial_state
from .errors import warn
from .prepare import derive
from .program import Program, dtype, expand_group, expand_slot, expand_terminal, map_cells

# growth of one step of x' = a x, as coefficients of powers of a dt
GROWTH = {"euler": (1.0, 1.0), "heun": (1.0, 1.0, 1 / 2), "rk4": (1.0, 1.0, 1 / 2, 1 / 6, 1 / 24)}
REAL_LIMIT = {"euler": 2.0, "heun": 2.0, "rk4": 2.785}
MOST_CELLS = 10_000


def warn_if_unstable(program: Program, params: dict) -> None:
    """Warn where a state that should decay grows from step to step; exponential and implicit methods are stable."""
    groups = [g for g in program.groups if program.methods[g.index] in GROWTH]
    if not groups:
        return
    matrices = jax.jit(lambda params: _jacobians(program, groups, params))(params)
    for g in groups:
        if g.index not in matrices:  # cells without states, such as sources
            continue
        method, a = program.methods[g.index], np.linalg.eigvals(np.asarray(matrices[g.index], np.float64)).ravel()
        growth = np.abs(np.polyval(GROWTH[method][::-1], a * program.dt))
        bad = a[np.isfinite(a) & (a.real < 0) & (growth > 1.0001) & (np.abs(a) * program.dt > 0.1)]
        if bad.size:
            rate = np.abs(bad).max()
            warn(
                f"{g.label}: {method} with dt = {program.dt:g} ms is unstable for a state that changes within "
                f"{1.0 / rate:.3g} ms; take dt below {REAL_LIMIT[method] / rate:.3g} ms, or method='exp_euler'"
            )


def _jacobians(program, groups, params):
    """(cells, states, states) of every group, synapses at the cells included, without input."""
    values = derive(program, params)
    z = initial_state(program, params, {})["z"]
    return {g.index: _of_group(program, g, values, z[g.index]) for g in groups if z[g.index]}


def _of_group(program, g, values, z):
    bound = {"cell": expand_group(g, values)}
    bound.update({s.tag: expand_slot(s, values) for s in program.slots_of(g)})
    bound.update({t.tag: expand_terminal(t, values) for t in program.terminals_of(g)})
    env = {"t": jnp.zeros((), dtype()), "dt": jnp.asarray(program.dt, dtype())}
    env.update({f"in/{n}": jnp.asarray(i.default, dtype()) for n, i in g.model.__inputs__.items()})
    for slot in program.slots_of(g):
        env.update({f"{slot.tag}/sum/{k}": jnp.zeros((), dtype()) for k in slot.synapse.__outputs__})
    chosen = np.unique(np.linspace(0, g.n - 1, min(g.n, MOST_CELLS)).astype(int))
    z, bound = jax.tree.map(lambda x: x if x.ndim == 0 else x[chosen], (z, bound))

    def one(z, bound):
        moving = sorted(cell.derivative(program, g, z, env, bound))

        def slope(x):
            moved = cell.derivative(program, g, {**z, **dict(zip(moving, x))}, env, bound)
            return jnp.stack([jnp.asarray(moved[n], dtype()) for n in moving])

        return jax.jacfwd(slope)(jnp.stack([z[n] for n in moving]))

    sample = jax.eval_shape(lambda z, b: cell.derivative(program, g, z, env, b), *_first(z, bound))
    return map_cells(one, len(chosen), z, bound) if sample else jnp.zeros((0, 0, 0), dtype())


def _first(*trees):
    """One cell of trees of arrays."""
    return jax.tree.map(lambda x: x if x.ndim == 0 else x[0], trees)
