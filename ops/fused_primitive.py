"""The jax primitive behind `map_scalars`, with its derivative, transpose and batching rules.

It maps a jaxpr of scalars over cells. Its class is closed: the tangents of such a map are another one, of the scalar
tangents, and so is the transpose of a map by operands in which it is linear. Both take the operands of the primal map
and compute anew what they need of it, so that reverse mode stores these operands and no intermediate value. The
cotangent of a shared operand is the sum over cells, in the kernel: a shared operand and a summed result are dual.
"""

import functools

import jax
import jax.numpy as jnp
from jax.extend.core import Literal, Primitive
from jax.interpreters import ad, batching, mlir
from jax.interpreters import partial_eval as pe

from . import dispatch, fused_layout, scalar_graph
from .rules import is_zero

# (*operands) -> results. Operands and results have the shapes of `fused_layout`; `mapped` has one flag per operand,
# `summed` one per result; `aliases` are pairs (operand, result) that may share memory.
map_scalars_p = Primitive("brainsim_map_scalars")
map_scalars_p.multiple_results = True


def call(jaxpr, operands, *, mapped, summed, n, batch, pairs, backend):
    """Results of the primitive, or of the XLA form where there is no native one or nothing is left to compute.

    Args:
        pairs: {operand: result} that may share memory.
        backend: what was asked for, never "xla" or "reference".
    """
    if not scalar_graph.supported(jaxpr):
        parts = scalar_graph.hoist(jaxpr, mapped)
        if parts is None:
            return fused_layout.xla_form(*operands, jaxpr=jaxpr, mapped=mapped, summed=summed, n=n, batch=batch)
        once, jaxpr, kept = parts
        shared = [x for x, m in zip(operands, mapped) if not m]
        made = fused_layout.over_batch(functools.partial(scalar_graph.evaluate, once), len(batch), shared)
        where = {i: k for k, i in enumerate(i for i, u in enumerate(kept) if u)}
        pairs = {where[i]: o for i, o in pairs.items() if i in where}
        operands = [*(x for x, u in zip(operands, kept) if u), *made]
        mapped = [*(m for m, u in zip(mapped, kept) if u), *[False] * len(made)]
    ready = {}
    for o, atom in enumerate(jaxpr.outvars):
        if isinstance(atom, Literal) or atom in jaxpr.invars:
            ready[o] = _ready(atom, jaxpr, operands, mapped, summed[o], n, batch)
    needed = [o not in ready for o in range(len(jaxpr.outvars))]
    made = iter(_computed(jaxpr, operands, mapped, summed, n, batch, pairs, backend, needed))
    return [next(made) if f else ready[o] for o, f in enumerate(needed)]


def _ready(atom, jaxpr, operands, mapped, is_summed, n, batch):
    """A result that is a literal or an operand: nothing to compute."""
    if isinstance(atom, Literal):
        value, is_mapped = jnp.asarray(atom.val, atom.aval.dtype), False
    else:
        position = jaxpr.invars.index(atom)
        (value,), (is_mapped,) = fused_layout.without_views([operands[position]], [mapped[position]], n)
    value = jnp.broadcast_to(value if is_mapped else value[..., None], (*batch, n))
    return value.sum(-1) if is_summed else value


def _computed(jaxpr, operands, mapped, summed, n, batch, pairs, backend, needed):
    """The results whose flag is set, of a supported jaxpr."""
    if not any(needed):
        return []
    jaxpr, used = pe.dce_jaxpr(jaxpr, needed)
    position = {i: k for k, i in enumerate(i for i, u in enumerate(used) if u)}
    result = {o: k for k, o in enumerate(o for o, f in enumerate(needed) if f)}
    aliases = tuple((position[i], result[o]) for i, o in pairs.items() if i in position and o in result)
    operands, mapped = [x for x, u in zip(operands, used) if u], tuple(m for m, u in zip(mapped, used) if u)
    # a batch axis that no operand is left to vary along is a copy of the results
    along = tuple(b if any(x.shape[a] == b for x in operands) else 1 for a, b in enumerate(batch))
    summed = tuple(s for s, f in zip(summed, needed) if f)
    form = dict(jaxpr=jaxpr, mapped=mapped, summed=summed, n=n, batch=along)
    if any(mapped):
        made = map_scalars_p.bind(*operands, **form, aliases=aliases if along == batch else (), backend=backend)
    else:
        made = fused_layout.xla_form(*operands, **form)
    return [jnp.broadcast_to(x, (*batch, *x.shape[len(batch) :])) for x in made]


def _xla(*operands, aliases, backend, **form):
    return fused_layout.xla_form(*operands, **form)


def _shapes(*operands, jaxpr, summed, n, batch, **params):
    shapes = [batch if s else (*batch, n) for s in summed]
    return [jax.core.ShapedArray(s, a.aval.dtype, weak_type=a.aval.weak_type) for s, a in zip(shapes, jaxpr.outvars)]


# --- derivatives


def _jvp(primals, tangents, **params):
    params["mapped"], primals, tangents = _cut(params, primals, tangents)
    jaxpr, mapped, summed, batch = (params[k] for k in ("jaxpr", "mapped", "summed", "batch"))
    moving = [i for i, t in enumerate(tangents) if not is_zero(t)]
    if scalar_graph.calls(jaxpr, "custom_vjp_call"):
        return _jvp_of_xla(primals, tangents, moving, params)
    outs = map_scalars_p.bind(*primals, **params)
    moved = [ad.Zero(jax.typeof(x).to_tangent_aval()) for x in outs]
    graph, consts, kept = scalar_graph.tangents(jaxpr, moving)
    shift = len(consts) + len(primals)
    made = call(
        graph,
        [*_shared(consts, batch), *primals, *(tangents[i] for i in moving)],
        mapped=[*[False] * len(consts), *mapped, *(mapped[i] for i in moving)],
        summed=[summed[o] for o in kept],
        pairs={shift + moving.index(i): kept.index(o) for i, o in params["aliases"] if i in moving and o in kept},
        **{k: params[k] for k in ("n", "batch", "backend")},
    )
    for o, tangent in zip(kept, made):
        moved[o] = tangent
    return outs, moved


def _cut(params, primals, tangents):
    """Flags, primals and tangents with the stretches of longer arrays cut out."""
    mapped, n = params["mapped"], params["n"]
    moved = [t if is_zero(t) else fused_layout.without_views([t], [m], n)[0][0] for t, m in zip(tangents, mapped)]
    primals, flags = fused_layout.without_views(primals, mapped, n)
    return tuple(flags), primals, moved


def _jvp_of_xla(primals, tangents, moving, params):
    """A custom_vjp has no tangents: its rule is met when the XLA form is transposed."""

    def along(*values):
        changed = dict(zip(moving, values))
        return _xla(*(changed.get(i, x) for i, x in enumerate(primals)), **params)

    outs, moved = jax.jvp(along, [primals[i] for i in moving], [tangents[i] for i in moving])
    return outs, [ad.Zero(jax.typeof(x).to_tangent_aval()) if is_zero(t) else t for x, t in zip(outs, moved)]


def _shared(consts, batch):
    return [c.reshape(*[1] * len(batch), *c.shape) for c in consts]


def _transpose(cts, *operands, jaxpr, mapped, summed, n, batch, aliases, backend):
    linear = [i for i, x in enumerate(operands) if ad.is_undefined_primal(x)]
    if any(m >= fused_layout.VIEW for m in mapped):
        form = dict(jaxpr=jaxpr, mapped=mapped, summed=summed, n=n, batch=batch, aliases=aliases, backend=backend)
        return _transpose_cut(cts, operands, linear, form)
    given = [o for o, ct in enumerate(cts) if type(ct) is not ad.Zero]
    out = [ad.Zero(x.aval) if ad.is_undefined_primal(x) else None for x in operands]
    if not given:
        return out
    graph, consts, kept = scalar_graph.cotangents(jaxpr, linear, given)
    known = [i for i in range(len(operands)) if i not in linear]
    shift = len(consts) + len(known)
    made = call(
        graph,
        [*_shared(consts, batch), *(operands[i] for i in known), *(cts[o] for o in given)],
        mapped=[*[False] * len(consts), *(mapped[i] for i in known), *(not summed[o] for o in given)],
        summed=[not mapped[i] for i in kept],
        pairs={shift + given.index(o): kept.index(i) for i, o in aliases if i in kept and o in given},
        n=n,
        batch=batch,
        backend=backend,
    )
    for i, ct in zip(kept, made):
        shape = operands[i].aval.shape
        over = [a for a, b in enumerate(batch) if shape[a] != b]
        out[i] = ct.sum(over, keepdims=True) if over else ct
    return out


def _transpose_cut(cts, operands, linear, form):
    """Through the same map with the stretches of longer arrays cut out first."""

    def along(*values):
        changed = dict(zip(linear, values))
        return _bind_cut([changed.get(i, x) for i, x in enumerate(operands)], **form)

    whole = [ad.instantiate_zeros(ct) for ct in cts]
    made = iter(jax.linear_transpose(along, *(operands[i].aval for i in linear))(whole))
    return [next(made) if i in linear else None for i in range(len(operands))]


# --- batches


def _batch(operands, dims, *, batch, aliases, **params):
    """One more leading axis on every operand: of full length where it is mapped, of length 1 where it is shared."""
    if any(m >= fused_layout.VIEW for m in params["mapped"]):
        cut = lambda *xs: _bind_cut(xs, batch=batch, aliases=aliases, **params)
        return jax.vmap(cut, in_axes=tuple(dims))(*operands), [0] * len(params["summed"])
    size = next(x.shape[d] for x, d in zip(operands, dims) if d is not None)
    moved = [x[None] if d is None else jnp.moveaxis(x, d, 0) for x, d in zip(operands, dims)]
    aliases = tuple((i, o) for i, o in aliases if moved[i].shape[0] == size)
    made = map_scalars_p.bind(*moved, batch=(size, *batch), aliases=aliases, **params)
    return made, [0] * len(made)


def _bind_cut(operands, *, mapped, n, **params):
    operands, mapped = fused_layout.without_views(operands, mapped, n)
    return map_scalars_p.bind(*operands, mapped=tuple(mapped), n=n, **params)


# --- lowering


def _lower(platform, ctx, *operands, aliases, backend, **form):
    chosen = dispatch.resolve(backend, platform)
    if chosen == "native" and 0 not in form["batch"]:
        function = functools.partial(fused_layout.native_form, aliases=aliases, **form)
    else:
        function = functools.partial(fused_layout.xla_form, **form)
    return mlir.lower_fun(function, multiple_results=True)(ctx, *operands)


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
ad.primitive_transposes[map_scalars_p] = _transpose
batching.primitive_batchers[map_scalars_p] = _batch
mlir.register_lowering(map_scalars_p, functools.partial(_lower, "other"))
mlir.register_lowering(map_scalars_p, functools.partial(_lower, "cpu"), platform="cpu")
