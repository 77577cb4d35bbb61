"""Checks of parameters at the door of a run: shape, finiteness, bounds."""

import jax
import numpy as np

from .declare import Param, check_bounds
from .errors import ParameterError
from .program import Program


def bound_specs(net, program: Program, params) -> dict:
    """Declaration and default shape of every parameter that has one: name -> (spec, shape)."""
    out = {}
    for p in net.populations.values():
        for key, spec in type(p.model).__params__.items():
            out[f"{p.name}.{key}"] = (spec, {(), (p.n,)})
    for p in net.projections.values():
        shapes = {(), (p.n_edges,), (p.post.n,)} | ({(p.pre.n,)} if p.pre else set())
        for key, spec in type(p.synapse).__params__.items():
            out[f"{p.name}.{key}"] = (spec, shapes)
        weight = type(p.synapse).__weight__
        out[f"{p.name}.weight"] = (weight or Param(0.0), {np.shape(p.weight)})
        for key, spec in p.source.parameters.items() if p.source is not None else ():
            out[f"{p.name}.{key}"] = (spec, {(), (p.post.n,)})
    for name, value in params.items():
        out.setdefault(name, (Param(0.0), {(), np.shape(value)}))
    return out


def check_params(given, specs):
    """Concrete values must be finite, inside the declared bounds and of a shape the network can use."""
    for name, value in given.items():
        spec, shapes = specs[name]
        if tuple(np.shape(value)) not in shapes:
            wanted = " or ".join(str(s) for s in sorted(shapes))
            raise ParameterError(f"{name} has shape {np.shape(value)}; give {wanted}")
        if not isinstance(value, jax.core.Tracer):
            check_bounds(np.asarray(value, float), spec, name)
