"""Masked atomic addition in a Triton kernel, with relaxed memory order.

The atomic add of Pallas orders all memory around every addition (acquire and release), which costs a fence and the
first-level cache each time. Sums need no order: the end of the kernel makes them visible. Pallas offers no such choice,
so this is a primitive of its own on top of jax's Triton lowering; where a jax release has moved those parts, the
ordered addition of Pallas is used: the same sums, slower.
"""

from jax.experimental.pallas import triton as plt
from jax.extend.core import Primitive


def _relaxed():
    """The primitive, or None where this jax does not hold what it needs."""
    try:
        from jax._src import state
        from jax._src.lib.triton import dialect
        from jax._src.pallas.triton import lowering
        from jax._src.state import indexing
    except ImportError:
        return None
    needed = ("_atomic_rmw", "_compute_pointers_from_indices", "_ensure_ir_value", "register_lowering")
    if not all(hasattr(lowering, name) for name in needed):
        return None
    primitive = Primitive("brainsim_atomic_add")

    def effects(ref, index, value, mask):
        return value, {state.WriteEffect(0), state.ReadEffect(0)}

    def rule(ctx, pointer, index, value, mask):
        (where, *_), (ref_aval, index_aval, value_aval, mask_aval) = ctx.block_infos, ctx.avals_in
        indexer = indexing.NDIndexer((index,), ref_aval.shape, index_aval.shape)
        pointers = lowering._compute_pointers_from_indices(pointer, where, indexer)
        return lowering._atomic_rmw(
            dialect.RMWOp.FADD,
            pointers,
            lowering._ensure_ir_value(value, value_aval),
            mask=lowering._ensure_ir_value(mask, mask_aval),
            semantic=dialect.MemSemantic.RELAXED,
        )

    primitive.def_effectful_abstract_eval(effects)
    lowering.register_lowering(primitive)(rule)
    return primitive


RELAXED = _relaxed()


def atomic_add(ref, index, value, mask):
    """ref[index] += value for float vectors where the mask is set; duplicate indices add up. In Triton kernels only."""
    if RELAXED is None:
        plt.atomic_add(ref, (index,), value, mask=mask)
    else:
        RELAXED.bind(ref, index, value, mask)
