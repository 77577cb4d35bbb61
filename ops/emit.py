"""A jaxpr of scalars as a native kernel: LLVM IR of the loop over cells, compiled with its handler (`emit_handler`).

Imports llvmlite, so import it only through `fused_layout.py`. The kernel is one function over whole blocks of W cells;
the last, partial block runs through the same machine code on copies padded to W. So a cell gets the same bits wherever
it stands, and outputs may share memory with inputs: a block is loaded completely before it is stored. What depends on
shared scalars alone is computed once, before the loop.
"""

import functools
import hashlib
import platform

import llvmlite.binding as llvm
import llvmlite.ir as ir
import numpy as np

from . import native, parallel, scalar_graph
from .emit_handler import WORDS, Handler, Side
from .emit_lanes import I32, I64, Lanes, memory_type
from .emit_walk import Walk, flatten
from .fused_layout import VIEW


@functools.cache
def host():
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


def width_of(jaxpr, size):
    """Lanes per block: several registers of the widest number that occurs, so that independent chains overlap."""
    widest, stack = 4, [jaxpr]
    while stack:
        each = stack.pop()
        stack.extend(scalar_graph.inner(e)[0] for e in each.eqns if scalar_graph.inner(e))
        variables = [*each.invars, *(v for e in each.eqns for v in e.outvars)]
        widest = max([widest, *(v.aval.dtype.itemsize for v in variables)])
    return (4 if size == 64 else 2) * size // widest


def _registers(size):
    """Registers that the widest value of a block takes: see `width_of`, and `host` for the registers in use."""
    return (4 if size == 64 else 2) * size // min(size, 32)


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


def kernel_of(module, jaxpr, mapped, summed, width, has_fma):
    """void cells(addresses of operands, addresses of results, first block, end of blocks > first, number of cells).

    The address of a summed result is that of one block, to which the cells of every block are added.

    Returns:
        The function and how many instructions it has per block.
    """
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [WORDS, WORDS, I64, I64, I64]), "cells")
    function.linkage = "internal"
    function.attributes.add("noinline")
    start, loop, end = (function.append_basic_block(name) for name in ("start", "loop", "end"))
    before, inside = Lanes(ir.IRBuilder(start), 0, has_fma), Lanes(ir.IRBuilder(loop), width, has_fma)
    ins, outs, begin, blocks, n = function.args
    block = inside.b.phi(I64)
    first = inside.b.mul(block, I64(width))
    ops, names, atoms = flatten(jaxpr, mapped)
    walk = Walk(before, inside, ops, atoms)
    for k, (var, name, is_mapped) in enumerate(zip(jaxpr.invars, names, mapped)):
        pointer = _address(before.b, ins, k, memory_type(var.aval.dtype))
        g = inside if is_mapped else before
        pointer = g.b.gep(pointer, [first]) if is_mapped else pointer
        walk.values[name] = _load(g, pointer, np.dtype(var.aval.dtype)), bool(is_mapped)
    walk.run()
    made = [walk.lanes(atom) for atom in atoms]
    counted = _counted(inside, inside.b.sub(n, first)) if any(summed) else None
    for k, (atom, value, is_summed) in enumerate(zip(jaxpr.outvars, made, summed)):
        dtype = np.dtype(atom.aval.dtype)
        pointer = _address(before.b, outs, k, memory_type(dtype))
        if is_summed:
            value = inside.b.select(counted, value, inside.const(dtype, 0))
            value = inside.b.fadd(_load(inside, pointer, dtype), value)
        _store(inside, value, pointer if is_summed else inside.b.gep(pointer, [first]), dtype)
    following = inside.b.add(block, I64(1))
    inside.b.cbranch(inside.b.icmp_signed("<", following, blocks), loop, end)
    before.b.branch(loop)
    block.add_incoming(begin, start)
    block.add_incoming(following, inside.b.block)
    ir.IRBuilder(end).ret_void()
    return function, sum(len(x.instructions) for x in function.blocks if x not in (start, end))


def _counted(g, left):
    """True in the lanes below the number of cells that are left."""
    lanes = ir.VectorType(I32, g.width)
    # fewer than 2^31 fit the width, however many are left
    left = g.b.select(g.b.icmp_signed("<", left, I64(g.width)), left, I64(g.width))
    return g.b.icmp_signed("<", ir.Constant(lanes, list(map(I32, range(g.width)))), g.splat(g.b.trunc(left, I32)))


def text_of(jaxpr, mapped, summed, whole) -> str:
    """LLVM IR of the kernel of a supported jaxpr: equal jaxprs give equal text.

    Args:
        mapped: one flag per operand: it has the axis of cells, which is the last (VIEW + start: more than the cells).
        summed: one flag per result: it is the sum over cells, of floats.
        whole: per operand, one flag per batch axis: its length is that of the batch and not 1.
    """
    _, _, size, has_fma = host()
    module = ir.Module("cells")
    module.triple = llvm.get_default_triple()
    width = width_of(jaxpr, size)
    cells, instructions = kernel_of(module, jaxpr, mapped, summed, width, has_fma)
    operands = [
        Side(np.dtype(v.aval.dtype), bool(m), tuple(w), max(m - VIEW, 0), m >= VIEW)
        for v, m, w in zip(jaxpr.invars, mapped, whole)
    ]
    every = tuple(True for _ in whole[0])
    results = [Side(np.dtype(a.aval.dtype), not s, every) for a, s in zip(jaxpr.outvars, summed)]
    registers = _registers(size)
    Handler(module, cells, operands, results, width, instructions * registers).emit()
    return str(module)


def _compile(text):
    """A finished engine that holds the machine code of `handler`."""
    cpu, features, _, _ = host()
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=cpu, features=features, opt=3, reloc="default", codemodel="jitdefault", jit=True
    )
    parallel.address()  # the handler calls it by name
    module = llvm.parse_assembly(text)
    module.verify()
    passes = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=3))
    passes.getModulePassManager().run(module, passes)
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    return engine


def target(text: str) -> str:
    """Name of the registered FFI target of a kernel, compiled on first use. A name means one machine code."""
    cpu, features, _, _ = host()
    stamp = "\n".join((text, cpu, features, str(llvm.llvm_version_info)))
    name = "brainsim_cells_" + hashlib.sha256(stamp.encode()).hexdigest()[:24]

    def compiled():
        engine = _compile(text)
        return engine, engine.get_function_address("handler")

    return native.register(name, compiled)
