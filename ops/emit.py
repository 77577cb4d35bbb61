"""A jaxpr of scalars as a native kernel: LLVM IR of the loop over cells and of its typed XLA FFI handler, compiled.

Imports llvmlite, so import it only through `fused.py`. The kernel is one function over whole blocks of W cells; the
last, partial block runs through the same machine code on copies padded to W. So a cell gets the same bits wherever it
stands, and outputs may share memory with inputs: a block is loaded completely before it is stored. What depends on
shared scalars alone is computed once, before the loop. Words of the call frame: see `call_frame.py`.
"""

import collections
import ctypes
import functools
import hashlib
import platform
import threading

import jax
import llvmlite.binding as llvm
import llvmlite.ir as ir
import numpy as np
from jax.extend import core

from . import native, scalar_graph
from .emit_lanes import I8, I32, I64, Lanes, memory_type
from .emit_rules import EMIT

BYTES, WORDS = I8.as_pointer(), I64.as_pointer()
ARGUMENTS, RESULTS = 9, 14  # words of the call frame
MULTIPLIED, ADDED = ("mul", "square"), ("add", "add_any", "sub")


@functools.cache
def _machine():
    """(cpu, features, bytes per vector register, has fused multiply-add) of this host."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    features = llvm.get_host_cpu_features()
    if platform.machine().lower() in ("x86_64", "amd64"):
        size = 64 if features.get("avx512f") else 32 if features.get("avx") else 16
        wide = "-prefer-256-bit" if size == 64 else ""
        text = ",".join(x for x in (features.flatten(), wide) if x)
        return llvm.get_host_cpu_name(), text, size, bool(features.get("fma"))
    return llvm.get_host_cpu_name(), features.flatten(), 16, platform.machine().lower() in ("arm64", "aarch64")


class _Walk:
    """Emits the equations: on scalars before the loop where no mapped value enters, else on lanes inside it."""

    def __init__(self, before, inside):
        self.before, self.inside, self.values = before, inside, {}
        self.splats, self.products, self.uses = {}, {}, {}

    def read(self, atom):
        """(scalar or lanes, is mapped)."""
        if isinstance(atom, core.Literal):
            return self.before.const(atom.aval.dtype, atom.val), False
        return self.values[atom]

    def lanes(self, atom):
        """Lanes of a value, a shared one in every lane."""
        value, is_mapped = self.read(atom)
        if is_mapped:
            return value
        if isinstance(atom, core.Literal):
            return self.inside.const(atom.aval.dtype, atom.val)
        if atom not in self.splats:
            splat = Lanes(self.before.b, self.inside.width, self.inside.has_fma).splat
            self.splats[atom] = splat(value)
        return self.splats[atom]

    def run(self, jaxpr):
        read = [a for e in jaxpr.eqns for a in e.invars] + list(jaxpr.outvars)
        self.uses.update(collections.Counter(a for a in read if not isinstance(a, core.Literal)))
        for eqn in jaxpr.eqns:
            called = scalar_graph.inner(eqn)
            self._inline(eqn, *called) if called else self._emit(eqn)

    def _inline(self, eqn, jaxpr, consts):
        for var, const in zip(jaxpr.constvars, consts):
            self.values[var] = self.before.const(var.aval.dtype, const), False
        for var, atom in zip(jaxpr.invars, eqn.invars):
            self._bind(var, atom)
        self.run(jaxpr)
        for var, atom in zip(eqn.outvars, jaxpr.outvars):
            self._bind(var, atom)

    def _bind(self, var, atom):
        """A jaxpr may be called twice: its variables are new each time."""
        self.values[var] = self.read(atom)
        self.splats.pop(var, None)
        self.products.pop(var, None)

    def _emit(self, eqn):
        is_mapped = any(self.read(a)[1] for a in eqn.invars)
        g = self.inside if is_mapped else self.before
        values = [self.lanes(a) if is_mapped else self.read(a)[0] for a in eqn.invars]
        (out,) = eqn.outvars
        name, is_float = eqn.primitive.name, out.aval.dtype.kind == "f"
        self.splats.pop(out, None)
        self.products.pop(out, None)
        made = self._contracted(g, eqn, values) if is_mapped and is_float and name in ADDED else None
        self.values[out] = (EMIT[name](g, eqn, *values) if made is None else made), is_mapped
        if is_mapped and is_float and name in MULTIPLIED:
            self.products[out] = values[0], values[-1]

    def _contracted(self, g, eqn, values):
        """x * y + z as one fused operation where the product has no other reader; None where there is none."""
        if not g.has_fma:
            return None
        for i in (0, 1):
            atom = eqn.invars[i]
            if isinstance(atom, core.Literal) or atom not in self.products or self.uses[atom] != 1:
                continue
            (x, y), z = self.products[atom], values[1 - i]
            if eqn.primitive.name == "sub":
                x, z = (x, g.b.fneg(z)) if i == 0 else (g.b.fneg(x), z)
            return g.fma(x, y, z)
        return None


def _width(jaxpr, size):
    """Lanes per block: several registers of the widest number that occurs, so that independent chains overlap."""
    widest, stack = 4, [jaxpr]
    while stack:
        each = stack.pop()
        stack.extend(scalar_graph.inner(e)[0] for e in each.eqns if scalar_graph.inner(e))
        variables = [*each.invars, *(v for e in each.eqns for v in e.outvars)]
        widest = max([widest, *(v.aval.dtype.itemsize for v in variables)])
    return (4 if size == 64 else 2) * size // widest


def _address(b, table, i, kind):
    """Pointer of type `kind` from entry i of a table of addresses."""
    return b.inttoptr(b.load(b.gep(table, [I64(i)])), kind.as_pointer())


def _load(g, pointer, dtype):
    kind = g.type(memory_type(dtype))
    value = g.b.load(g.b.bitcast(pointer, kind.as_pointer()), align=dtype.itemsize)
    return g.b.icmp_unsigned("!=", value, ir.Constant(kind, None)) if dtype.kind == "b" else value


def _store(g, value, pointer, dtype):
    kind = g.type(memory_type(dtype))
    value = g.b.zext(value, kind) if dtype.kind == "b" else value
    g.b.store(value, g.b.bitcast(pointer, kind.as_pointer()), align=dtype.itemsize)


def _cells(module, jaxpr, mapped, width, has_fma):
    """void cells(addresses of operands, addresses of results, number of whole blocks >= 1)."""
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [WORDS, WORDS, I64]), "cells")
    function.linkage = "internal"
    function.attributes.add("noinline")
    start, loop, end = (function.append_basic_block(name) for name in ("start", "loop", "end"))
    before, inside = Lanes(ir.IRBuilder(start), 0, has_fma), Lanes(ir.IRBuilder(loop), width, has_fma)
    ins, outs, blocks = function.args
    block = inside.b.phi(I64)
    first = inside.b.mul(block, I64(width))
    walk = _Walk(before, inside)
    for k, (var, is_mapped) in enumerate(zip(jaxpr.invars, mapped)):
        pointer = _address(before.b, ins, k, memory_type(var.aval.dtype))
        g = inside if is_mapped else before
        pointer = g.b.gep(pointer, [first]) if is_mapped else pointer
        walk.values[var] = _load(g, pointer, np.dtype(var.aval.dtype)), is_mapped
    walk.run(jaxpr)
    made = [walk.lanes(atom) for atom in jaxpr.outvars]
    for k, (atom, value) in enumerate(zip(jaxpr.outvars, made)):
        pointer = _address(before.b, outs, k, memory_type(atom.aval.dtype))
        _store(inside, value, inside.b.gep(pointer, [first]), np.dtype(atom.aval.dtype))
    following = inside.b.add(block, I64(1))
    inside.b.cbranch(inside.b.icmp_signed("<", following, blocks), loop, end)
    before.b.branch(loop)
    block.add_incoming(I64(0), start)
    block.add_incoming(following, loop)
    ir.IRBuilder(end).ret_void()
    return function


def _answer_query(b, frame):
    """Write the API version and return where XLA only asks for it; the builder goes on where it does not."""
    major, minor = native.api_version()
    extension = b.load(b.gep(frame, [I64(1)]))
    with b.if_then(b.icmp_unsigned("!=", extension, I64(0)), likely=False):
        words = b.inttoptr(extension, WORDS)
        kind = b.trunc(b.load(b.gep(words, [I64(1)])), I32)
        with b.if_then(b.icmp_unsigned("==", kind, I32(1))):
            version = b.inttoptr(b.add(b.load(b.gep(words, [I64(3)])), I64(24)), I32.as_pointer())
            b.store(I32(major), version)
            b.store(I32(minor), b.gep(version, [I64(1)]))
            b.ret(I64(0))


def _handler(module, cells, operands, results, width):
    """The FFI handler; operands are (dtype, is mapped), results dtypes."""
    function = ir.Function(module, ir.FunctionType(I64, [WORDS]), "handler")
    b = ir.IRBuilder(function.append_basic_block())
    (frame,) = function.args
    ins, outs = b.alloca(I64, len(operands)), b.alloca(I64, len(results))
    room = lambda dtype: b.alloca(ir.VectorType(memory_type(dtype), width))
    spare_in = [room(dtype) if is_mapped else None for dtype, is_mapped in operands]
    spare_out = [room(dtype) for dtype in results]
    _answer_query(b, frame)
    for side, table, count in ((ARGUMENTS, ins, len(operands)), (RESULTS, outs, len(results))):
        buffers = b.inttoptr(b.load(b.gep(frame, [I64(side)])), WORDS)
        for k in range(count):
            words = b.inttoptr(b.load(b.gep(buffers, [I64(k)])), WORDS)
            b.store(b.load(b.gep(words, [I64(3)])), b.gep(table, [I64(k)]))
    n = b.load(b.inttoptr(b.load(b.gep(words, [I64(5)])), WORDS))  # of the last result
    blocks = b.sdiv(n, I64(width))
    with b.if_then(b.icmp_signed(">", blocks, I64(0))):
        b.call(cells, [ins, outs, blocks])
    done = b.mul(blocks, I64(width))
    with b.if_then(b.icmp_signed("<", done, n)):
        copies = [(ins, k, s, operands[k][0], True) for k, s in enumerate(spare_in) if s is not None]
        copies += [(outs, k, s, results[k], False) for k, s in enumerate(spare_out)]
        _last_block(b, cells, ins, outs, done, b.sub(n, done), copies)
    b.ret(I64(0))


def _last_block(b, cells, ins, outs, done, left, copies):
    """The last `left` cells, through copies padded with zeros."""
    returns = []
    copy = b.module.declare_intrinsic("llvm.memcpy", [BYTES, BYTES, I64])
    for table, k, spare, dtype, is_input in copies:
        entry = b.gep(table, [I64(k)])
        bytes_done, size = b.mul(done, I64(dtype.itemsize)), b.mul(left, I64(dtype.itemsize))
        outside = b.inttoptr(b.add(b.load(entry), bytes_done), BYTES)
        inside = b.bitcast(spare, BYTES)
        if is_input:
            b.store(ir.Constant(spare.type.pointee, None), spare)
            b.call(copy, [inside, outside, size, ir.IntType(1)(0)])
        else:
            returns.append((outside, inside, size))
        b.store(b.ptrtoint(spare, I64), entry)
    b.call(cells, [ins, outs, I64(1)])
    for outside, inside, size in returns:
        b.call(copy, [outside, inside, size, ir.IntType(1)(0)])


def text_of(jaxpr, mapped) -> str:
    """LLVM IR of the kernel of a supported jaxpr: equal jaxprs give equal text."""
    _, _, size, has_fma = _machine()
    module = ir.Module("cells")
    module.triple = llvm.get_default_triple()
    width = _width(jaxpr, size)
    cells = _cells(module, jaxpr, mapped, width, has_fma)
    operands = [(np.dtype(v.aval.dtype), m) for v, m in zip(jaxpr.invars, mapped)]
    _handler(module, cells, operands, [np.dtype(a.aval.dtype) for a in jaxpr.outvars], width)
    return str(module)


def _compile(text):
    """A finished engine that holds the machine code of `handler`."""
    cpu, features, _, _ = _machine()
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=cpu, features=features, opt=3, reloc="default", codemodel="jitdefault", jit=True
    )
    module = llvm.parse_assembly(text)
    module.verify()
    passes = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=3))
    passes.getModulePassManager().run(module, passes)
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    return engine


_LOCK = threading.Lock()
_ENGINES = {}  # target name -> engine: XLA holds bare addresses, so the code must live as long as the process


def target(text: str) -> str:
    """Name of the registered FFI target of a kernel, compiled on first use. A name means one machine code."""
    cpu, features, _, _ = _machine()
    stamp = "\n".join((text, cpu, features, str(llvm.llvm_version_info)))
    name = "brainsim_cells_" + hashlib.sha256(stamp.encode()).hexdigest()[:24]
    with _LOCK:
        if name not in _ENGINES:
            engine = _compile(text)
            new = ctypes.pythonapi.PyCapsule_New
            new.restype, new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
            capsule = new(engine.get_function_address("handler"), None, None)
            jax.ffi.register_ffi_target(name, capsule, platform="cpu", api_version=1)
            _ENGINES[name] = engine
    return name
