"""Families of jax primitives that are the derivatives of one trilinear form T(s, w, x) by each of its factors.

`scatter` = dT/dx takes (s, w), `gather` = dT/ds takes (x, w), `outer` = dT/dw takes (s, x); `deliver` is a ring (an x)
plus `scatter`, updated in place. The tangent and the cotangent of each is a call of the others, so derivatives of every
order are closed.

Every operand has k batch axes in front, each of the common length or 1 (shared); `batch` is that shape for the result,
which is summed over the axes it shares. vmap adds an axis and copies nothing. The operands behind the two factors, the
graph, have no derivative; `active` among them, where a family has it, holds the rows whose derivative by s is wanted.
"""

import functools

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from . import dispatch
from .rules import define_impl, define_lowering, is_zero, with_batch_axis

OPERANDS = {"scatter": ("s", "w"), "gather": ("x", "w"), "outer": ("s", "x")}
RESULT = {"scatter": "x", "gather": "s", "outer": "w"}
MEMBER = {role: member for member, role in RESULT.items()}


class Family:
    """The primitives `scatter`, `gather` and `outer` of one trilinear form, with all their rules; maybe `deliver`.

    Args:
        name: of the form; a primitive is called brainsim_{name}_{member}.
        ranks: {"s", "w", "x": rank of that factor without batch axes}.
        xla, reference: member -> form(first, second, *graph, shape, batch, dtype, static) -> (*batch, *shape), in jnp;
            "deliver", where the family has it -> form(s, w, *graph, ring, static) -> ring.
        native: (member, ctx, *operands, static) -> MLIR values, for the CPU; None from it: the xla form is faster here.
        active: position of `active` in the graph, None where the family has none.
        pallas: member -> the form with the arguments `interpret` and `deterministic`; None where there are none.
    """

    def __init__(self, name, ranks, xla, reference, native, active=None, pallas=None):
        self.name, self.ranks, self.active = name, ranks, active
        self.forms, self.native, self.pallas = {"xla": xla, "reference": reference}, native, pallas
        self.primitives = {member: self._primitive(member) for member in OPERANDS}
        if "deliver" in xla:
            self.deliver_p = self._define("deliver", _ring, self._deliver_jvp, self._deliver_transpose, _deliver_batch)

    def bind(self, member, first, second, *graph, shape, dtype, static=(), batch=(), backend):
        """One member: its result has shape (*batch, *shape) and this dtype. `static` is hashable, for the forms."""
        params = dict(shape=tuple(shape), batch=tuple(batch), dtype=jnp.dtype(dtype), static=static, backend=backend)
        return self.primitives[member].bind(first, second, *graph, **params)

    def deliver(self, s, w, *graph, ring, static=(), backend):
        """The ring plus `scatter`, in the memory of the ring where XLA allows."""
        return self.deliver_p.bind(s, w, *graph, ring, static=static, backend=backend)

    def _primitive(self, member):
        rules = functools.partial(self._jvp, member), functools.partial(self._transpose, member)
        return self._define(member, _shape, *rules, _batch)

    def _define(self, member, shape, jvp, transpose, batch):
        primitive = Primitive("_".join(filter(None, ("brainsim", self.name, member))))
        define_impl(primitive)
        primitive.def_abstract_eval(shape)
        ad.primitive_jvps[primitive] = jvp
        ad.primitive_transposes[primitive] = transpose
        batching.primitive_batchers[primitive] = functools.partial(batch, primitive)
        gpus = dispatch.GPUS if self.pallas else ()
        define_lowering(primitive, functools.partial(self._lower, member), "cpu", *gpus)
        return primitive

    def _silenced(self, role, value, graph):
        """A derivative by s lives on the active rows."""
        active = None if self.active is None or role != "s" else graph[self.active]
        if active is None or active.shape[-1] == 0:
            return value
        return jnp.where(active, value, jnp.zeros((), value.dtype))

    def _jvp(self, member, primals, tangents, **params):
        primitive, roles = self.primitives[member], OPERANDS[member]
        factors, graph = primals[:2], primals[2:]
        result, total = primitive.bind(*primals, **params), None
        for i, tangent in enumerate(tangents[:2]):
            if is_zero(tangent):
                continue
            moved = [self._silenced(roles[i], tangent, graph) if k == i else factors[k] for k in (0, 1)]
            part = primitive.bind(*moved, *graph, **params)
            total = part if total is None else total + part
        return result, ad.Zero(jax.typeof(result).to_tangent_aval()) if total is None else total

    def _transpose(self, member, ct, *operands, static, backend, **params):
        if type(ct) is ad.Zero:
            return [None] * len(operands)
        graph, roles = operands[2:], OPERANDS[member]
        known = {RESULT[member]: self._silenced(RESULT[member], ct, graph)}
        known |= {role: v for role, v in zip(roles, operands) if not ad.is_undefined_primal(v)}
        made = [None] * len(operands)
        for i, role in enumerate(roles):
            if ad.is_undefined_primal(operands[i]):
                made[i] = self._by(role, operands[i].aval, known, graph, static, backend)
        return made

    def _by(self, role, aval, known, graph, static, backend):
        """The derivative of T by a factor of this aval; sums have the dtype of x."""
        member, cut = MEMBER[role], aval.ndim - self.ranks[role]
        dtype = known["x"].dtype if role != "x" else aval.dtype
        first, second = (known[other] for other in OPERANDS[member])
        kind = dict(shape=aval.shape[cut:], batch=aval.shape[:cut], dtype=dtype, static=static, backend=backend)
        return self.bind(member, first, second, *graph, **kind).astype(aval.dtype)

    def _deliver_jvp(self, primals, tangents, **params):
        (s, w, *graph, ring), (ds, dw, *_, total) = primals, tangents
        moved = [] if is_zero(ds) else [(self._silenced("s", ds, graph), w)]
        moved += [] if is_zero(dw) else [(s, dw)]
        for first, second in moved:
            if is_zero(total):  # no ring of zeros to add to
                kind = dict(shape=ring.shape[-2:], batch=ring.shape[:-2], dtype=ring.dtype)
                total = self.bind("scatter", first, second, *graph, **kind, **params)
            else:
                total = self.deliver_p.bind(first, second, *graph, total, **params)
        return self.deliver_p.bind(s, w, *graph, ring, **params), total

    def _deliver_transpose(self, ct, *operands, static, backend):
        cts = self._transpose("scatter", ct, *operands[:-1], static=static, backend=backend)
        return [*cts, ct if ad.is_undefined_primal(operands[-1]) and type(ct) is not ad.Zero else None]

    def _lower(self, member, platform, ctx, *operands, backend, **params):
        chosen = dispatch.resolve(backend, platform, kernels=self.pallas is not None)
        if chosen == "native":
            made = self.native(member, ctx, *operands, static=params["static"])
            if made is not None:
                return made
            chosen = "xla"
        if chosen in dispatch.PALLAS:
            kind = dict(interpret=platform == "cpu", deterministic=chosen == "pallas_deterministic")
            form = functools.partial(self.pallas(member), **kind)
        else:
            form = self.forms[chosen][member]
        return mlir.lower_fun(functools.partial(form, **params), multiple_results=False)(ctx, *operands)


def _shape(*operands, shape, batch, dtype, static, backend):
    return jax.core.ShapedArray((*batch, *shape), dtype)


def _batch(primitive, operands, dims, *, batch, **params):
    """One more leading axis on every operand: of full length where it is mapped, of length 1 where it is shared."""
    size, moved = with_batch_axis(operands, dims)
    return primitive.bind(*moved, batch=(size, *batch), **params), 0


def _ring(*operands, static, backend):
    return jax.core.ShapedArray(operands[-1].shape, operands[-1].dtype)


def _deliver_batch(primitive, operands, dims, **params):
    """The same; every element has a ring of its own."""
    size, moved = with_batch_axis(operands, dims)
    moved[-1] = jnp.broadcast_to(moved[-1], (size, *moved[-1].shape[1:]))
    return primitive.bind(*moved, **params), 0
