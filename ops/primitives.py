"""The jax primitives of spikes over compressed rows: a family of `trilinear.py`.

T(s, w, x) = sum over the edges e of s[row(e)] * w[e] * x[address(e)]; x has shape (n_slots, n_post),
address(e) = ((step + delay(e)) % n_slots, target(e)).

The graph: indptr (n_rows + 1), indices (n_edges), delays (n_edges, or 0 where indices hold delay * n_post + target),
step (), active (n_rows, or 0: rows whose derivative by s is wanted, all where empty). Edges and shared weights are
never broadcast over a batch, and the gradient of shared weights is summed over trials inside the operator.
"""

from . import native, reference, xla
from .trilinear import Family


def _native(member, ctx, *operands, static):
    aliases = {len(operands) - 1: 0} if member == "deliver" else None
    return native.lower("kernels", member, ctx, *operands, aliases=aliases)


def _pallas(member):
    from . import pallas_forms  # imports Pallas: only where it is used

    return _forms(pallas_forms)[member]


def _forms(module):
    """Forms that take the sizes of their results by name, as a family calls them."""

    def scatter(*operands, shape, static, **kind):
        return module.scatter(*operands, n_slots=shape[0], n_post=shape[1], **kind)

    def gather(*operands, shape, dtype, static, **kind):
        return module.gather(*operands, **kind)

    def outer(*operands, shape, dtype, static, **kind):
        return module.outer(*operands, n_weights=shape[0], **kind)

    def deliver(*operands, static, **kind):
        return module.deliver(*operands, **kind)

    return {"scatter": scatter, "gather": gather, "outer": outer, "deliver": deliver}


EDGES = Family("", {"s": 1, "w": 1, "x": 2}, _forms(xla), _forms(reference), _native, active=4, pallas=_pallas)
