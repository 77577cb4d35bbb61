"""`map_scalars`: a function of scalars over n cells as one native loop.

XLA:CPU splits the update of a population into a dozen kernels, each reading and writing whole arrays; one loop reads
every state once and writes it once. Derivatives and batches are loops of the same kind (`fused_primitive`,
`fused_layout`).
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from . import arguments, dispatch, fused_primitive, scalar_graph
from .fused_layout import VIEW, without_views

WHAT = "map_scalars"


@dataclass(frozen=True, eq=False)
class View:
    """A stretch of a longer array as an argument of `map_scalars`, read where it lies: array[start : start + n]."""

    array: jax.Array
    start: int
    ndim = 1

    @property
    def dtype(self):
        return self.array.dtype


def map_scalars(function, n, *args, donate=(), backend=None):
    """Evaluate a function of scalars for each of n cells: jax.vmap, on the CPU as one native loop.

    Every transformation works and is native too: `jvp`, `grad` and `vmap`, nested and of any order. Reverse mode keeps
    the arguments of the function and computes anew what it needs of it: no intermediate value is stored. The native
    loop needs elementwise primitives of float32, float64, integers and bools (`scalar_graph.RULES`); a function or a
    derivative with others, or with values that are not scalars, gets the XLA form, without a message. A cell has the
    same bits at any n and any position; against the XLA form, results differ by rounding.

    Args:
        function: takes pytrees of scalars, returns a pytree of scalars; it may close over (traced) arrays.
        n: number of cells, static.
        *args: pytrees; leaves of shape () are shared by all cells, leaves of shape (n,) are mapped, and so is the part
            of a longer array given as `View(array, start)`, without a copy.
        donate: pairs (leaf of args, leaf of the result), both numbered in flattening order, that may use the same
            memory: the old and the new value of a state. Both have shape (n,) and one dtype. In the carry of a loop
            they are updated in place; the caller's array never changes.
        backend: "native" or "xla" ("reference" and "pallas" mean xla); default: by platform or BRAINSIM_OPS.

    Returns:
        The pytree of results, leaves of shape (n,).

    Raises:
        ValueError: a shape or a pair of `donate` does not fit (while tracing).

    >>> import jax.numpy as jnp
    >>> map_scalars(lambda v, tau: v - v / tau, 2, jnp.array([1.0, 2.0]), 2.0)
    Array([0.5, 1. ], dtype=float32)
    """
    n = arguments.size(WHAT, n, "n")
    leaves, tree = jax.tree.flatten(args)
    mapped = [_how_mapped(i, x, n) for i, x in enumerate(leaves)]
    leaves = [jnp.asarray(x.array if isinstance(x, View) else x) for x in leaves]
    asked = dispatch.requested(backend)
    jaxpr, consts, out_tree = _trace(function, tree, leaves)
    pairs = _pairs(donate, leaves, mapped, [v.aval for v in jaxpr.outvars])
    operands, mapped = [*consts, *leaves], [*[False] * len(consts), *mapped]
    pairs = {len(consts) + i: o for i, o in pairs.items()}
    return jax.tree.unflatten(out_tree, _dispatch(jaxpr, operands, mapped, n, pairs, asked))


def _how_mapped(i, x, n):
    if isinstance(x, View):
        if jnp.ndim(x.array) != 1 or not 0 <= x.start <= x.array.shape[0] - n:
            given = f"leaf {i} of the arguments is a view of shape {jnp.shape(x.array)} from {x.start}"
            arguments.refuse(WHAT, given, f"it has no {n} values there", "view a longer array, or start earlier")
        return VIEW + x.start
    x = jnp.asarray(x)
    if x.shape not in ((), (n,)):
        arguments.refuse(
            WHAT,
            f"leaf {i} of the arguments has shape {x.shape}",
            f"a leaf is () for all cells or ({n},), one value per cell",
            "reshape it, or close over it in the function",
        )
    return x.ndim == 1


def _pairs(donate, leaves, mapped, results):
    """{input leaf: output leaf}, checked."""
    for pair in donate:
        i, o = pair
        if not (0 <= i < len(leaves) and 0 <= o < len(results)):
            why = f"there are {len(leaves)} leaves of arguments and {len(results)} of results"
            arguments.refuse(WHAT, f"donate names the pair {tuple(pair)}", why, "number both from 0, flattened")
        if mapped[i] is not True or leaves[i].dtype != results[o].dtype:
            given = f"donate pairs argument {leaves[i].dtype.name}{leaves[i].shape} with result {results[o].dtype.name}"
            arguments.refuse(
                WHAT, given, "they would share memory", f"pair a {results[o].dtype.name} leaf of shape (n,)"
            )
    pairs = dict(donate)
    if len(pairs) != len(tuple(donate)) or len(set(pairs.values())) != len(pairs):
        arguments.refuse(WHAT, f"donate is {tuple(donate)}", "a leaf occurs twice", "pair each leaf at most once")
    return pairs


def _trace(function, tree, leaves):
    """(jaxpr with what the function closes over as first invars, those values, tree of the results)."""
    scalars = [jax.ShapeDtypeStruct((), x.dtype, weak_type=getattr(jax.typeof(x), "weak_type", False)) for x in leaves]
    closed, shape = jax.make_jaxpr(lambda *xs: function(*jax.tree.unflatten(tree, xs)), return_shape=True)(*scalars)
    return scalar_graph.without_consts(closed.jaxpr), closed.consts, jax.tree.structure(shape)


def _dispatch(jaxpr, operands, mapped, n, pairs, asked):
    """Results of the native primitive where it can do all, else of the XLA form."""
    if asked in ("xla", "reference") or n == 0:
        operands, mapped = without_views(operands, mapped, n)
        return scalar_graph.mapped_form(jaxpr, mapped, n, *operands)
    summed = [False] * len(jaxpr.outvars)
    return fused_primitive.call(
        jaxpr, operands, mapped=mapped, summed=summed, n=n, batch=(), pairs=pairs, backend=asked
    )
