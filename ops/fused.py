"""`map_scalars`: a function of scalars over n cells as one native loop.

XLA:CPU splits the update of a population into a dozen kernels, each reading and writing whole arrays; one loop reads
every state once and writes it once. Derivatives and batches are those of the pure XLA form.
"""

import functools

import jax
import jax.numpy as jnp
from jax.extend.core import Literal, Primitive
from jax.interpreters import ad, batching, mlir
from jax.interpreters import partial_eval as pe

from . import arguments, dispatch, scalar_graph

WHAT = "map_scalars"
map_scalars_p = Primitive("brainsim_map_scalars")  # (*operands) -> results, each (n,)
map_scalars_p.multiple_results = True


def map_scalars(function, n, *args, donate=(), backend=None):
    """Evaluate a function of scalars for each of n cells: jax.vmap, on the CPU as one native loop.

    Every transformation works: `jvp`, `grad` and `vmap` use the pure XLA form. The native loop needs elementwise
    primitives of float32, float64, integers and bools (`scalar_graph.RULES`); a function with others, or with values
    that are not scalars, gets the XLA form, without a message. A cell has the same bits at any n and any position;
    against the XLA form, results differ by rounding.

    Args:
        function: takes pytrees of scalars, returns a pytree of scalars; it may close over (traced) arrays.
        n: number of cells, static.
        *args: pytrees; leaves of shape () are shared by all cells, leaves of shape (n,) are mapped.
        donate: pairs (leaf of args, leaf of the result), both numbered in flattening order, that may use the same
            memory: the old and the new value of a state. Both have shape (n,) and one dtype. In the carry of a loop
            they are updated in place; the caller's array never changes.
        backend: "native", "xla" or "reference" (the same as "xla" here); default: by platform or BRAINSIM_OPS.

    Returns:
        The pytree of results, leaves of shape (n,).

    Raises:
        ValueError: a shape or a pair of `donate` does not fit (while tracing).

    >>> import jax.numpy as jnp
    >>> map_scalars(lambda v, tau: v - v / tau, 2, jnp.array([1.0, 2.0]), 2.0)
    Array([0.5, 1. ], dtype=float32)
    """
    n = _count(n)
    leaves, tree = jax.tree.flatten(args)
    leaves = [jnp.asarray(x) for x in leaves]
    mapped = [_is_mapped(i, x, n) for i, x in enumerate(leaves)]
    asked = dispatch.requested(backend)
    jaxpr, consts, out_tree = _trace(function, tree, leaves)
    pairs = _pairs(donate, leaves, mapped, [v.aval for v in jaxpr.outvars])
    operands, mapped = [*consts, *leaves], [*[False] * len(consts), *mapped]
    pairs = {len(consts) + i: o for i, o in pairs.items()}
    return jax.tree.unflatten(out_tree, _dispatch(jaxpr, operands, mapped, n, pairs, asked))


def _count(n):
    try:
        n = int(n.__index__())
    except (AttributeError, TypeError, jax.errors.TracerIntegerConversionError):
        arguments.refuse(WHAT, f"n is {n!r}", "shapes are static", "pass a Python int")
    if n < 0:
        arguments.refuse(WHAT, f"n is {n}", "a number of cells is not negative", "pass 0 or more")
    return n


def _is_mapped(i, x, n):
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
        if not mapped[i] or leaves[i].dtype != results[o].dtype:
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
        return scalar_graph.mapped_form(jaxpr, mapped, n, *operands)
    if not scalar_graph.supported(jaxpr):
        parts = scalar_graph.hoist(jaxpr, mapped)
        if parts is None:
            return scalar_graph.mapped_form(jaxpr, mapped, n, *operands)
        once, jaxpr, kept = parts
        made = scalar_graph.evaluate(once, *(x for x, m in zip(operands, mapped) if not m))
        where = {i: k for k, i in enumerate(i for i, u in enumerate(kept) if u)}
        pairs = {where[i]: o for i, o in pairs.items() if i in where}
        operands = [*(x for x, u in zip(operands, kept) if u), *made]
        mapped = [*(m for m, u in zip(mapped, kept) if u), *[False] * len(made)]
    ready = {o: _ready(a, jaxpr, operands, n) for o, a in enumerate(jaxpr.outvars) if _is_given(a, jaxpr)}
    needed = [o not in ready for o in range(len(jaxpr.outvars))]
    jaxpr, used = pe.dce_jaxpr(jaxpr, needed)
    position = {i: k for k, i in enumerate(i for i, u in enumerate(used) if u)}
    result = {o: k for k, o in enumerate(o for o, f in enumerate(needed) if f)}
    aliases = tuple((position[i], result[o]) for i, o in pairs.items() if i in position and o in result)
    operands, mapped = [x for x, u in zip(operands, used) if u], tuple(m for m, u in zip(mapped, used) if u)
    if not any(mapped):
        made = scalar_graph.mapped_form(jaxpr, mapped, n, *operands)
    else:
        made = map_scalars_p.bind(*operands, jaxpr=jaxpr, mapped=mapped, n=n, aliases=aliases, backend=asked)
    return [ready[o] if o in ready else made[result[o]] for o in range(len(needed))]


def _is_given(atom, jaxpr):
    return isinstance(atom, Literal) or atom in jaxpr.invars


def _ready(atom, jaxpr, operands, n):
    """A result that is a literal or an operand: nothing to compute."""
    value = jnp.asarray(atom.val, atom.aval.dtype) if isinstance(atom, Literal) else operands[jaxpr.invars.index(atom)]
    return value if value.ndim == 1 else jnp.broadcast_to(value, (n,))


# --- rules of the primitive


def _xla(*operands, jaxpr, mapped, n, aliases, backend):
    return scalar_graph.mapped_form(jaxpr, mapped, n, *operands)


def _shapes(*operands, jaxpr, n, **params):
    return [jax.core.ShapedArray((n,), a.aval.dtype, weak_type=a.aval.weak_type) for a in jaxpr.outvars]


def _jvp(primals, tangents, **params):
    moving = [i for i, t in enumerate(tangents) if type(t) is not ad.Zero and t.dtype != jax.dtypes.float0]

    def along(*values):
        operands = list(primals)
        for i, value in zip(moving, values):
            operands[i] = value
        return _xla(*operands, **params)

    outs, moved = jax.jvp(along, [primals[i] for i in moving], [tangents[i] for i in moving])
    return outs, [_tangent(t) for t in moved]


def _tangent(tangent):
    """jax.jvp gives arrays of float0 where a result is not a float; rules give symbolic zeros."""
    if tangent.dtype == jax.dtypes.float0:
        return ad.Zero(jax.core.ShapedArray(tangent.shape, jax.dtypes.float0))
    return tangent


def _batch(operands, dims, **params):
    made = jax.vmap(functools.partial(_xla, **params), in_axes=tuple(dims))(*operands)
    return made, [0] * len(made)


def _lower_cpu(ctx, *operands, **params):
    if dispatch.resolve(params["backend"], "cpu") != "native":
        return mlir.lower_fun(functools.partial(_xla, **params), multiple_results=True)(ctx, *operands)
    from . import emit

    name = emit.target(emit.text_of(params["jaxpr"], params["mapped"]))
    return jax.ffi.ffi_lowering(name, operand_output_aliases=dict(params["aliases"]))(ctx, *operands)


def _lower_other(ctx, *operands, **params):
    dispatch.resolve(params["backend"], "other")
    return mlir.lower_fun(functools.partial(_xla, **params), multiple_results=True)(ctx, *operands)


_COMPILED = {}  # what a call outside `jit` needs again: every call traces a new but equal jaxpr


def _run(*operands, **params):
    kept = tuple((k, v) for k, v in params.items() if k != "jaxpr")
    key = (str(params["jaxpr"]), kept, jax.config.jax_enable_x64)
    if key not in _COMPILED:
        _COMPILED[key] = jax.jit(functools.partial(map_scalars_p.bind, **params))
    return _COMPILED[key](*operands)


map_scalars_p.def_impl(_run)
map_scalars_p.def_abstract_eval(_shapes)
ad.primitive_jvps[map_scalars_p] = _jvp
batching.primitive_batchers[map_scalars_p] = _batch
mlir.register_lowering(map_scalars_p, _lower_other)
mlir.register_lowering(map_scalars_p, _lower_cpu, platform="cpu")
