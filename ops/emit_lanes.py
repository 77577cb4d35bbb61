"""LLVM IR of single operations on W lanes at once, or on one scalar: the same operations, so the same bits.

Imports llvmlite, so import it only through `emit.py`. Nothing here sets a fast-math flag: every operation rounds as
written, and a fused multiply-add is written out where it is wanted.
"""

import llvmlite.ir as ir
import numpy as np

I8, I32, I64, BIT = ir.IntType(8), ir.IntType(32), ir.IntType(64), ir.IntType(1)
FLOATS = {4: ir.FloatType(), 8: ir.DoubleType()}


def register_type(dtype):
    """Type of a value in a register: a bool is one bit."""
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return FLOATS[dtype.itemsize]
    return BIT if dtype.kind == "b" else ir.IntType(8 * dtype.itemsize)


def memory_type(dtype):
    """Type of a value in an XLA buffer: a bool is one byte, 0 or 1."""
    return I8 if np.dtype(dtype).kind == "b" else register_type(dtype)


class Lanes:
    """Builder of operations on vectors of `width` lanes; width 0: on scalars."""

    def __init__(self, builder, width, has_fma):
        self.b, self.width, self.has_fma = builder, width, has_fma

    def type(self, element):
        return ir.VectorType(element, self.width) if self.width else element

    def const(self, dtype, x):
        """A number in every lane; integers wrap as in XLA."""
        dtype = np.dtype(dtype)
        value = float(np.asarray(x, dtype)) if dtype.kind == "f" else int(np.asarray(x, dtype))
        return self.type(register_type(dtype))(value) if not self.width else self._splat(dtype, value)

    def _splat(self, dtype, value):
        element = register_type(dtype)
        return ir.Constant(self.type(element), [ir.Constant(element, value)] * self.width)

    def splat(self, scalar):
        """A scalar in every lane."""
        if not self.width:
            return scalar
        start = self.b.insert_element(ir.Constant(self.type(scalar.type), ir.Undefined), scalar, I32(0))
        lanes = ir.Constant(ir.VectorType(I32, self.width), [I32(0)] * self.width)
        return self.b.shuffle_vector(start, ir.Constant(start.type, ir.Undefined), lanes)

    def intrinsic(self, name, result, *operands):
        """Call of an LLVM intrinsic, overloaded by the listed types of its name."""
        function = self.b.module.globals.get(name)
        if function is None:
            function = ir.Function(self.b.module, ir.FunctionType(result, [x.type for x in operands]), name)
        return self.b.call(function, operands)

    def suffix(self, kind):
        element = kind.element if isinstance(kind, ir.VectorType) else kind
        name = {"float": "f32", "double": "f64"}.get(str(element), str(element))
        return f"v{self.width}{name}" if self.width else name

    def unary(self, name, x):
        """An intrinsic from a type to itself, such as llvm.sqrt."""
        return self.intrinsic(f"llvm.{name}.{self.suffix(x.type)}", x.type, x)

    def fma(self, x, y, z):
        """x * y + z, rounded once where the machine can, else twice: decided per machine, never per lane."""
        if not self.has_fma:
            return self.b.fadd(self.b.fmul(x, y), z)
        return self.intrinsic(f"llvm.fma.{self.suffix(x.type)}", x.type, x, y, z)

    def below(self, x, y):
        return self.b.fcmp_ordered("<", x, y)

    def above(self, x, y):
        return self.b.fcmp_ordered(">", x, y)

    def as_bits(self, x, dtype):
        return self.b.bitcast(x, self.type(ir.IntType(8 * dtype.itemsize)))

    def as_float(self, x, dtype):
        return self.b.bitcast(x, self.type(register_type(dtype)))

    def ints(self, dtype, x):
        """A constant integer as wide as the float `dtype`."""
        return self.const(f"int{8 * dtype.itemsize}", x)

    def is_number(self, x):
        """True for a constant that is not nan."""
        return isinstance(x, ir.Constant) and not np.isnan(x.constant[0].constant if self.width else x.constant)

    def horner(self, x, coefficients, dtype):
        """Polynomial with the highest power first."""
        total = self.const(dtype, coefficients[0])
        for c in coefficients[1:]:
            total = self.fma(total, x, self.const(dtype, c))
        return total
