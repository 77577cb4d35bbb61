"""`map_edges` as a native call: the function as a kernel over blocks of edges, and a handler that calls the walk.

Imports llvmlite, so import it only through `edge_map_primitive.py`.
"""

import jax
import llvmlite.binding as llvm
import llvmlite.ir as ir
import numpy as np

from . import edge_map_layout as layout
from . import emit, native
from .emit_handler import WORDS, answer_query
from .emit_lanes import I64

WALK = "brainsim_map_edges"  # the name of the walk to emitted code


def table(jaxpr, groups, written, histories, dtypes, width):
    """Words of the layout of one call, see `edge_map_layout.py`.

    Args:
        jaxpr: of the function: all leaves but those that are added to -> new values, then what is added.
        groups: numbers of shared, near, across, edge and added leaves.
        written: leaves of the edges that the first results become.
        histories, dtypes: of every leaf.
    """
    starts = np.cumsum(groups)
    read = {a for e in jaxpr.eqns for a in e.invars if not hasattr(a, "val")}
    read.update(a for a in jaxpr.outvars if not hasattr(a, "val"))
    result = {starts[2] + leaf: k for k, leaf in enumerate(written)}
    result.update((starts[3] + k, len(written) + k) for k in range(groups[4]))
    words = [width, layout.chunk_of(dtypes[starts[1] :]), *starts]
    for j, (history, dtype) in enumerate(zip(histories, dtypes)):
        is_read = j < len(jaxpr.invars) and jaxpr.invars[j] in read
        words += [dtype.itemsize, history, is_read, result.get(j, -1)]
    return [int(w) for w in words]


def _text(jaxpr, groups, written, histories, dtypes):
    """LLVM IR of int64 handler(frame): the kernel, the layout, and the call of the walk."""
    _, _, size, has_fma = emit.host()
    module, width = ir.Module("edges"), emit.width_of(jaxpr, size)
    module.triple = llvm.get_default_triple()
    mapped = [False] * (groups[0] + groups[1]) + [True] * (groups[2] + groups[3])
    kernel, _ = emit.kernel_of(module, jaxpr, mapped, [False] * len(jaxpr.outvars), width, has_fma)
    words = table(jaxpr, groups, written, histories, dtypes, width)
    constant = ir.GlobalVariable(module, ir.ArrayType(I64, len(words)), "layout")
    constant.linkage, constant.global_constant = "internal", True
    constant.initializer = ir.Constant(constant.value_type, words)
    walk = ir.Function(module, ir.FunctionType(I64, [WORDS]), WALK)
    handler = ir.Function(module, ir.FunctionType(I64, [WORDS]), "handler")
    b, (frame,) = ir.IRBuilder(handler.append_basic_block()), handler.args
    answer_query(b, frame)
    given = b.alloca(I64, 3)
    for k, pointer in enumerate((frame, kernel, constant)):
        b.store(b.ptrtoint(pointer, I64), b.gep(given, [I64(k)]))
    b.ret(b.call(walk, [given]))
    return str(module)


def native_form(*operands, jaxpr, groups, written, first, n_delays, packed):
    """Results by one call of the handler; traced while the program is lowered for the CPU."""
    leaves, shared = operands[layout.OPERANDS :], groups[0]
    # a history has one axis more than its kind
    histories = [k >= shared and x.ndim == 2 for k, x in enumerate(leaves)]
    native.callee(WALK, "edge_map_kernels", "map_edges")
    name = emit.target(_text(jaxpr, groups, written, histories, [x.dtype for x in leaves]))
    start = len(leaves) - groups[4]
    changed = [*(start - groups[3] + leaf for leaf in written), *range(start, len(leaves))]
    call = jax.ffi.ffi_call(
        name,
        [jax.ShapeDtypeStruct(leaves[j].shape, leaves[j].dtype) for j in changed],
        input_output_aliases={layout.OPERANDS + j: k for k, j in enumerate(changed)},
    )
    attributes = dict(first=first, n_delays=n_delays, packed=packed)
    return call(*operands, **{name: np.int64(value) for name, value in attributes.items()})
