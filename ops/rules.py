"""What the rules of all primitives share: zero tangents, one more batch axis, the call outside of `jit`, lowering."""

import functools

import jax
import jax.numpy as jnp
from jax.interpreters import ad, mlir


def is_zero(tangent):
    """True for a tangent that is known to be zero, and for that of an integer or bool."""
    return type(tangent) is ad.Zero or tangent.dtype == jax.dtypes.float0


def with_batch_axis(operands, dims):
    """(size, operands with one more leading axis): of full length where they are mapped, of length 1 where shared."""
    size = next(a.shape[d] for a, d in zip(operands, dims) if d is not None)
    return size, [jnp.expand_dims(a, 0) if d is None else jnp.moveaxis(a, d, 0) for a, d in zip(operands, dims)]


def define_impl(primitive):
    """Let calls outside of `jit` run a program that is compiled once for every set of parameters."""
    compiled = functools.cache(lambda items: jax.jit(functools.partial(primitive.bind, **dict(items))))
    primitive.def_impl(lambda *operands, **params: compiled(tuple(params.items()))(*operands))


def define_lowering(primitive, lower, *platforms):
    """Lower by lower(platform, ctx, *operands, **params): by name on these platforms, as "other" elsewhere."""
    mlir.register_lowering(primitive, functools.partial(lower, "other"))
    for platform in platforms:
        mlir.register_lowering(primitive, functools.partial(lower, platform), platform=platform)
