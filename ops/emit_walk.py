"""A jaxpr of scalars as LLVM IR: on scalars before the loop where no mapped value enters, else on lanes inside it.

A side of a `select_n` that costs something and that nothing else reads is a branch: it is computed in those blocks of
cells of which a lane takes it. So the series around a removable singularity, or the exponential of a step that is
nearly always short, costs a test. Values do not depend on it.

Imports llvmlite, so import it only through `emit.py`.
"""

from dataclasses import dataclass

import llvmlite.ir as ir
import numpy as np
from jax.extend import core

from . import scalar_graph
from .emit_lanes import Lanes
from .emit_rules import EMIT

MULTIPLIED, ADDED = ("mul", "square"), ("add", "add_any", "sub")
# Instructions of a primitive, about; 1 where not named. BRANCH: what a branch must save.
COSTS = {
    **dict.fromkeys(("exp", "exp2", "expm1", "log", "log1p", "logistic", "tanh"), 15),
    **dict.fromkeys(("pow", "sin", "cos"), 60),
    **dict.fromkeys(("div", "sqrt", "rsqrt", "rem"), 5),
    **dict.fromkeys(("copy", "copy_p", "stop_gradient", "broadcast_in_dim", "reshape", "squeeze"), 0),
}
BRANCH = 10


@dataclass(eq=False)
class Op:
    """One elementwise equation of the flattened jaxpr; `reads` are literals, constants and names of values."""

    eqn: object
    reads: tuple
    name: object  # of its value
    is_mapped: bool


@dataclass(eq=False)
class Const:
    """A constant of an inner jaxpr."""

    aval: object
    val: object


def flatten(jaxpr, mapped):
    """(ops, names of the invars, atoms of the outvars) with every called jaxpr inlined; each value has its own name."""
    ops, is_mapped = [], set()

    def inline(jaxpr, inputs, consts):
        known = dict(zip(jaxpr.invars, inputs))
        known.update((v, Const(v.aval, np.asarray(c))) for v, c in zip(jaxpr.constvars, consts))
        read = lambda a: a if isinstance(a, core.Literal) else known[a]
        for eqn in jaxpr.eqns:
            reads, called = tuple(map(read, eqn.invars)), scalar_graph.inner(eqn)
            if called:
                known.update(zip(eqn.outvars, inline(called[0], reads, called[1])))
                continue
            op = Op(eqn, reads, object(), any(r in is_mapped for r in reads if _is_value(r)))
            ops.append(op)
            known[eqn.outvars[0]] = op.name
            is_mapped.update([op.name] if op.is_mapped else [])
        return [read(a) for a in jaxpr.outvars]

    names = [object() for _ in jaxpr.invars]
    is_mapped.update(n for n, m in zip(names, mapped) if m)
    return ops, names, inline(jaxpr, names, ())


def _is_value(atom):
    return not isinstance(atom, (core.Literal, Const))


class Walk:
    """Emits a flattened jaxpr.

    Args:
        before, inside: `Lanes` of the two places.
        ops, results: as `flatten` returns them.
    """

    def __init__(self, before, inside, ops, results):
        self.before, self.inside, self.ops = before, inside, ops
        self.values = {}  # name -> (scalar or lanes, is mapped)
        self.splats, self.products = {}, {}  # products: name -> (factor, factor, are lanes)
        self.readers = {op.name: [] for op in ops}
        for op in ops:
            for i, atom in enumerate(op.reads):
                self._note(atom, (op, i))
        for atom in results:
            self._note(atom, None)

    def _note(self, atom, reader):
        if _is_value(atom) and atom in self.readers:
            self.readers[atom].append(reader)

    def run(self):
        self._emit_all(self.ops)

    def read(self, atom):
        """(scalar or lanes, is mapped)."""
        if not _is_value(atom):
            return self.before.const(atom.aval.dtype, atom.val), False
        return self.values[atom]

    def lanes(self, atom):
        """Lanes of a value, a shared one in every lane."""
        if not _is_value(atom):
            return self.inside.const(atom.aval.dtype, atom.val)
        value, is_mapped = self.values[atom]
        if is_mapped:
            return value
        if atom not in self.splats:
            self.splats[atom] = self._splat(value)
        return self.splats[atom]

    def _splat(self, scalar):
        return Lanes(self.before.b, self.inside.width, self.inside.has_fma).splat(scalar)

    # --- branches

    def _emit_all(self, ops):
        branches, inner = self._branches(ops)
        for op in ops:
            if op not in inner:
                self._emit(op, branches.get(op, {}))

    def _branches(self, ops):
        """({select: {side: its ops}}, all ops that belong to a side)."""
        branches, inner = {}, set()
        for at in range(len(ops) - 1, -1, -1):
            select = ops[at]
            if select.eqn.primitive.name != "select_n" or not select.is_mapped or select in inner:
                continue
            for side in range(len(select.reads) - 1):
                cone = self._cone(ops[:at], select, side + 1, inner)
                if len(select.reads) == 3 and sum(map(_cost, cone)) >= BRANCH:
                    branches.setdefault(select, {})[side] = cone
                    inner.update(cone)
        return branches, inner

    def _cone(self, ops, select, position, taken):
        """The ops that nothing but one operand of a select needs."""
        cone = set()
        for op in reversed(ops):
            if op in taken or not op.is_mapped:
                continue
            if all(r is not None and (r[0] in cone or r == (select, position)) for r in self.readers[op.name]):
                cone.add(op)
        return [op for op in ops if op in cone]

    def _branch(self, select, side, ops):
        """Lanes of one side: computed if a lane takes it, else 0."""
        b, atom = self.inside.b, select.reads[1 + side]
        word = b.bitcast(self.lanes(select.reads[0]), ir.IntType(self.inside.width))
        nobody = ir.Constant(word.type, 0 if side else -1)
        come, compute, go = b.block, b.append_basic_block("side"), b.append_basic_block("after")
        b.cbranch(b.icmp_unsigned("==", word, nobody), go, compute)
        b.position_at_end(compute)
        self._emit_all(ops)
        value = self.lanes(atom)
        last = b.block
        b.branch(go)
        b.position_at_end(go)
        either = b.phi(value.type)
        either.add_incoming(ir.Constant(value.type, None), come)
        either.add_incoming(value, last)
        self.values[atom] = either, True

    # --- single operations

    def _emit(self, op, branches):
        for side, ops in branches.items():
            self._branch(op, side, ops)
        g, eqn = self.inside if op.is_mapped else self.before, op.eqn
        values = [self.lanes(a) if op.is_mapped else self.read(a)[0] for a in op.reads]
        name, is_float = eqn.primitive.name, eqn.outvars[0].aval.dtype.kind == "f"
        made = self._contracted(g, op, values) if is_float and name in ADDED else None
        if is_float and name in MULTIPLIED:
            self.products[op.name] = values[0], values[-1], op.is_mapped
        self.values[op.name] = (EMIT[name](g, eqn, *values) if made is None else made), op.is_mapped

    def _contracted(self, g, op, values):
        """x * y + z as one fused operation; None where there is none.

        A product is fused into every sum that reads it, shared or mapped: how a value is rounded depends on its own
        equations alone, so that a derivative that computes it anew takes the branches that the forward loop took.
        """
        if not g.has_fma:
            return None
        for i in (0, 1):
            product = self.products.get(op.reads[i]) if _is_value(op.reads[i]) else None
            if product is None:
                continue
            x, y, is_wide = product
            x, y = (self._splat(v) if op.is_mapped and not is_wide else v for v in (x, y))
            z = values[1 - i]
            if op.eqn.primitive.name == "sub":
                x, z = (x, g.b.fneg(z)) if i == 0 else (g.b.fneg(x), z)
            return g.fma(x, y, z)
        return None


def _cost(op):
    return COSTS.get(op.eqn.primitive.name, 1)
