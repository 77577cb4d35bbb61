"""Which integrator steps which group: the exact propagator where the jaxprs of the equations are linear."""

import numpy as np

from . import cell, integrate
from .dependence import affine, dependencies
from .errors import CompileError
from .layout import Group
from .program import Program


def choose_methods(program, method):
    """Integrator of every group; `auto` takes the exact propagator for the states that form a linear system."""
    for g in program.groups:
        asked = integrate.check_method(g.method or method)
        if asked in ("auto", "exact"):
            moving = set(moving_states(program, g))
            linear = _linear_part(program, g)
            if asked == "exact" and (linear != moving or not moving):
                bad = ", ".join(sorted(moving - linear)) or "it has no equations"
                raise CompileError(
                    f"{g.label}: the exact propagator needs linear equations without noise, which "
                    f"{g.model.__name__} has not ({bad}); use method='exp_euler'"
                )
            asked = "exact" if linear == moving and moving else "exp_euler"
        program.methods[g.index] = asked
        if asked == "rosenbrock":
            _check_rosenbrock(program, g, method)


def _check_rosenbrock(program, g, method):
    size = sum(h.n * len(cell.state_names(program, h)) for h in program.groups if (h.method or method) == "rosenbrock")
    if size > integrate.ROSENBROCK_LIMIT:
        raise CompileError(
            f"rosenbrock solves a dense system of {size} states; the limit is {integrate.ROSENBROCK_LIMIT}. "
            f"Use 'exp_euler'"
        )
    if any(m.startswith("noise_") for m in g.model.__methods__):
        raise CompileError(f"{g.label}: rosenbrock takes no noise; use 'heun' or 'exp_euler'")


def _linear_part(program, g) -> set:
    """States that form a linear system of their own: affine, without noise, and not driven by any other state.

    Currents evaluated on edges enter with a slope that changes from step to step, so their targets are not linear.
    """
    names = moving_states(program, g)
    others = environment_names(program, g)
    still = [n for n in cell.state_names(program, g) if n not in names]
    bound = example_bound(program, g)
    f = lambda v: cell.derivative(program, g, v, v, bound)
    noisy = {m[len("noise_") :] for m in g.model.__methods__ if m.startswith("noise_")}
    onto = {e.into for e in program.edge_blocks if e.group is g and e.on_edges}
    direct = dependencies(f, [*names, *others, *still]) if names else {}
    part = affine(f, names, [*others, *still]) - noisy if names else set()
    part = {n for n in part if not direct[n] & {f"in/{i}" for i in onto}}
    while any(direct[n] & set(names) - part for n in part):
        part = {n for n in part if not direct[n] & set(names) - part}
    if part:
        program.layout.patterns[g.index] = integrate.reach({n: direct[n] for n in sorted(part)})
    return part


def moving_states(program, g):
    """States of one cell that have a derivative."""
    names = [n for n in g.model.__states__ if "d" + n in g.model.__methods__]
    for place, on in (*((s, "post") for s in program.slots_of(g)), *((t, "pre") for t in program.terminals_of(g))):
        names += [f"{place.tag}/{n}" for n, spec in place.synapse.__states__.items() if spec.on == on and not spec.jump]
    return names


def environment_names(program: Program, group: Group) -> list[str]:
    names = [f"in/{n}" for n in group.model.__inputs__] + ["t", "dt"]
    for slot in program.slots_of(group):
        names += [f"{slot.tag}/sum/{k}" for k in slot.synapse.__outputs__]
    return names


def example_bound(program, g):
    """Default parameter values as constants: only the form of the equations matters."""
    values = lambda cls: {k: np.float32(np.mean(s.default)) for k, s in cls.__params__.items()}
    places = (*program.slots_of(g), *program.terminals_of(g))
    return {"cell": values(g.model), **{p.tag: values(p.synapse) for p in places}}
