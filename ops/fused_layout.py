"""Batches of `map_scalars`: the XLA form over batch axes, and the native one with as few of them as possible.

Operands have k batch axes in front, each of the common length or 1 (shared), and then the axis of cells where they are
mapped. Results have every batch axis in full, and the axis of cells unless they are summed over it. Where there is no
batch, an operand may be a longer array of which the cells are a stretch: its flag is VIEW + start.
"""

import jax
import jax.numpy as jnp

from . import scalar_graph

VIEW = 2  # flags of operands: False shared, True mapped, VIEW + start mapped to a stretch of a longer array
NARROW = 64  # cells: below, a loop over the cells of one batch element costs more than copies of shared operands


def without_views(operands, mapped, n):
    """Operands and flags with the stretches cut out."""
    cut = [jax.lax.slice_in_dim(x, m - VIEW, m - VIEW + n) if m >= VIEW else x for x, m in zip(operands, mapped)]
    return cut, [bool(m) for m in mapped]


def over_batch(function, n_axes, operands):
    """function(*operands without batch axes) over `n_axes` leading axes.

    Returns:
        A list of results; an axis has length 1 where it has in every operand.
    """
    if n_axes == 0:
        return function(*operands)
    lengths = {x.shape[0] for x in operands} - {1}
    axes = [0 if x.shape[0] in lengths else None for x in operands]
    within = [x if a == 0 else jnp.squeeze(x, 0) for x, a in zip(operands, axes)]
    one = lambda *xs: over_batch(function, n_axes - 1, xs)
    return jax.vmap(one, in_axes=axes)(*within) if lengths else [x[None] for x in one(*within)]


def xla_form(*operands, jaxpr, mapped, summed, n, batch):
    """Every result by jax.vmap over cells and batch axes."""
    operands, mapped = without_views(operands, mapped, n)
    cells = lambda *xs: scalar_graph.mapped_form(jaxpr, mapped, n, *xs)
    made = over_batch(cells, len(batch), operands)
    made = [jnp.broadcast_to(x, (*batch, *x.shape[len(batch) :])) for x in made]
    return [x.sum(len(batch)) if s else x for x, s in zip(made, summed)]


class _Layout:
    """Operands on their way to the kernel: axes are dropped, merged and moved to the cells by reshapes."""

    def __init__(self, operands, mapped, summed, n, batch):
        self.operands, self.mapped, self.n = list(operands), list(mapped), n
        self.summed = list(summed)  # over cells, by the kernel
        self.whole = [[x.shape[a] == b for a, b in enumerate(batch)] for x in operands]
        self.batch = list(batch)

    def reshape(self):
        for i, (x, whole, is_mapped) in enumerate(zip(self.operands, self.whole, self.mapped)):
            shape = [b if w else 1 for b, w in zip(self.batch, whole)]
            self.operands[i] = x.reshape(*shape, *([x.shape[-1] if is_mapped >= VIEW else self.n] if is_mapped else []))

    def drop(self, axis):
        for whole in (self.batch, *self.whole):
            del whole[axis]

    def simplify(self):
        for axis in [a for a, b in enumerate(self.batch) if b == 1][::-1]:
            self.drop(axis)
        for axis in range(len(self.batch) - 1, 0, -1):
            if all(w[axis] == w[axis - 1] for w in self.whole):
                self.batch[axis - 1] *= self.batch[axis]
                self.drop(axis)
        if self.n == 1 and self.batch:
            self.mapped = [False] * len(self.mapped)
            self.summed = [False] * len(self.summed)
        self.reshape()
        while self.batch and (self.n < NARROW or self.fits()):
            self.into_cells()

    def fits(self):
        """True where the last batch axis and the cells are one axis for every operand and result."""
        return not any(self.summed) and all(w[-1] == m for w, m in zip(self.whole, self.mapped))

    def into_cells(self):
        """Make the last batch axis part of the cells; an operand that has one of the two is copied along the other."""
        size, k = self.batch[-1], len(self.batch)
        for i, x in enumerate(self.operands):
            if self.n > 1 and self.whole[i][-1] != self.mapped[i]:
                x = x if self.mapped[i] else x[..., None]
                self.operands[i] = jnp.broadcast_to(x, (*x.shape[: k - 1], size, self.n))
                self.whole[i][-1] = True
            self.mapped[i] = self.whole[i][-1]
        self.n, self.summed = self.n * size, [False] * len(self.summed)
        self.drop(-1)
        self.reshape()


def native_form(*operands, jaxpr, mapped, summed, n, batch, aliases):
    """Every result by one call of the native kernel; traced while the program is lowered for the CPU."""
    from . import emit

    layout = _Layout(operands, mapped, summed, n, batch)
    layout.simplify()
    name = emit.target(emit.text_of(jaxpr, tuple(layout.mapped), tuple(layout.summed), layout.whole))
    shapes = [(*layout.batch, *([] if s else [layout.n])) for s in layout.summed]
    results = [jax.ShapeDtypeStruct(s, a.aval.dtype) for s, a in zip(shapes, jaxpr.outvars)]
    made = jax.ffi.ffi_call(name, results, input_output_aliases=dict(aliases))(*layout.operands)
    out = []
    for x, wanted, done in zip(made, summed, layout.summed):
        x = x.reshape(*batch, *([] if done else [n]))
        out.append(x.sum(-1) if wanted and not done else x)
    return out
