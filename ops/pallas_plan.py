"""What the Pallas kernels share: batch axes, delayed addresses, masked loads, atomic adds, the call.

Imports Pallas, so import it only when a kernel is wanted. Every operand reaches a kernel flat, as one address in global
memory; batch axes are found by arithmetic on the number of the batch element, so that shared operands are never copied.
Kernels run on Triton (NVIDIA and AMD GPUs) or, with `interpret=True`, as XLA programs on any platform.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plt

from .pallas_atomic import atomic_add

TRAILING = {"s": 1, "w": 1, "x": 2, "indptr": 1, "indices": 1, "delays": 1, "step": 0, "active": 1}
RESIDENT = 4096  # warps that walk a work list: what 132 multiprocessors hold at once
INTERPRETED = 4  # programs in interpret mode: each copies its operands, and every one must take several turns


@dataclasses.dataclass(frozen=True)
class Plan:
    """Static facts of one call: the whole batch, that of the result, those of the operands, and sizes."""

    full: tuple
    out: tuple
    batches: dict
    n_rows: int
    n_edges: int
    n_slots: int
    n_post: int
    interpret: bool

    @property
    def elements(self):
        return math.prod(self.full)

    @property
    def n_out(self):
        return math.prod(self.out)

    @property
    def inner(self):
        """How many elements of the whole batch are summed into one of the result."""
        return self.elements // max(self.n_out, 1)

    @property
    def cells(self):
        return self.n_slots * self.n_post

    @property
    def is_empty(self):
        return 0 in (self.n_rows, self.n_edges, self.cells, self.elements)

    @property
    def tile(self):
        """Edges that one program handles at once: about one row of mean length."""
        return power_of_two(-(-self.n_edges // max(self.n_rows, 1)), 32, 1024)

    def at(self, name, element):
        """Flat position of operand `name` for an element of the whole batch."""
        return position(element, self.batches[name], self.full)


def plan_of(out, n_slots, n_post, operands, interpret):
    """(Plan, the operands flat and without empty ones) of a call; `operands` is name -> array.

    Raises:
        ValueError: an operand has more than 2**31 - 1 elements, more than the kernels can address.
    """
    batches = {name: tuple(a.shape[: a.ndim - TRAILING[name]]) for name, a in operands.items()}
    full = np.broadcast_shapes(tuple(out), *batches.values())
    n_rows, n_edges = operands["indptr"].shape[-1] - 1, operands["indices"].shape[-1]
    plan = Plan(tuple(full), tuple(out), batches, n_rows, n_edges, n_slots, n_post, interpret)
    sizes = {name: a.size for name, a in operands.items()}
    listed = n_rows + 1 + n_edges // plan.tile
    sizes |= {"the list of rows x batch": plan.elements * listed, "the result": plan.n_out * plan.cells}
    for name, size in sizes.items():
        if size >= 2**31:
            raise ValueError(
                f"brainsim.ops: {name} has {size} elements, but the pallas kernels address at most 2**31 - 1; "
                "map over a part of the batch at a time, or use BRAINSIM_OPS=xla"
            )
    return plan, {name: a.reshape(-1) for name, a in operands.items() if a.size}


def sum_shared(a, full, batch):
    """Sum over the batch axes that `batch` shares."""
    shared = tuple(i for i in range(len(batch)) if batch[i] == 1 and full[i] != 1)
    return jnp.sum(a, axis=shared, keepdims=True) if shared else a


def power_of_two(n, least, most):
    """The power of two at or above n, within [least, most]."""
    return min(max(1 << max(int(n) - 1, 0).bit_length(), least), most)


def div(x, n):
    """x // n for x >= 0: one instruction instead of the sign tests of floor division."""
    return lax.div(x, jnp.full_like(x, n))


def rem(x, n):
    return lax.rem(x, jnp.full_like(x, n))


def mod(x, n):
    """x modulo n in [0, n) for any x."""
    left = rem(x, n)
    return jnp.where(left < 0, left + n, left)


def position(element, batch, full):
    """Flat position in `batch` of an element of `full`; axes of length 1 in `batch` are shared."""
    if batch == full:
        return element
    index, own, stride = 0, 1, 1
    for size, mine in zip(reversed(full), reversed(batch)):
        if mine > 1:
            index = index + rem(div(element, stride), size) * own
            own *= mine
        stride *= size
    return index


def compose(out, inner, batch, full):
    """Element of `full` that lies at `out` along the axes of `batch` and at `inner` along the others."""
    if batch == full:
        return out
    index, stride = 0, 1
    for size, mine in zip(reversed(full), reversed(batch)):
        if size == 1:
            continue
        if mine == size:
            digit, out = rem(out, size), div(out, size)
        else:
            digit, inner = rem(inner, size), div(inner, size)
        index = index + digit * stride
        stride *= size
    return index


def span(start, size):
    """start, start + 1, ... as an int32 vector."""
    return start + lax.iota(jnp.int32, size)


def load(ref, index, mask):
    """ref[index] where the mask is set, zero elsewhere; nothing is read there."""
    return plt.load(ref.at[index], mask=mask, other=jnp.zeros(mask.shape, ref.dtype))


def store(ref, index, value, mask):
    """Write where the mask is set; elsewhere the index is moved outside, where every platform drops it."""
    plt.store(ref.at[jnp.where(mask, index, np.int32(ref.shape[0]))], value, mask=mask)


def add(plan, ref, index, value, mask):
    """ref[index] += value where the mask is set; duplicate indices add up."""
    if plan.interpret:  # the interpreter's own rule for an atomic add keeps one of several duplicates
        value = jnp.where(mask, value, jnp.zeros((), value.dtype))
        ref[...] = ref[...].at[index].add(value, mode="drop")
    else:
        atomic_add(ref, index, value, mask)


def loop(turns, act, start=0):
    """carry = act(i, carry) for i = 0 ... turns - 1."""
    return lax.fori_loop(np.int32(0), turns, act, start)


def addresses(refs, plan, element, edge, inside):
    """(flat target in (n_slots, n_post) of every edge, whether it lies inside) for one batch element."""
    n_slots, n_post, cells = plan.n_slots, plan.n_post, plan.cells
    index = load(refs["indices"], plan.at("indices", element) * plan.n_edges + edge, inside)
    slot = mod(refs["step"][plan.at("step", element)], n_slots)
    if "delays" in refs:
        inside &= (index >= 0) & (index < n_post)
        delay = load(refs["delays"], plan.at("delays", element) * plan.n_edges + edge, inside)
        when = slot + mod(delay, n_slots)
        return jnp.where(when >= n_slots, when - n_slots, when) * n_post + index, inside
    inside &= (index >= 0) & (index < cells)
    if n_slots == 1:
        return index, inside
    beyond = index - (cells - slot * n_post)
    return jnp.where(beyond >= 0, beyond, index + slot * n_post), inside


def weights(refs, plan, element, edge, inside, dtype):
    """Weights of the edges as numbers of `dtype`; a scalar is read once, and one where there are none."""
    if "w" not in refs:
        return jnp.ones(edge.shape, dtype)
    w, own = refs["w"], plan.at("w", element)
    if w.shape[0] == math.prod(plan.batches["w"]):
        return jnp.broadcast_to(w[own].astype(dtype), edge.shape)
    return load(w, own * plan.n_edges + edge, inside).astype(dtype)


def call(kernel, programs, results, *operands, plan, warps=4, aliases=None):
    """One launch of `programs` copies of a kernel over whole arrays; `aliases` gives operand i the memory of result j.

    Args:
        kernel: (refs of operands ..., refs of results ...) -> None.
        programs: int, length of the grid.
        results: list of (size, dtype).
        operands: flat arrays or dicts of them.
        plan: Plan.
        warps: per program.
        aliases: number of the flat operand -> number of the result.
    """
    return pl.pallas_call(
        kernel,
        grid=(programs,),
        out_shape=[jax.ShapeDtypeStruct((size,), dtype) for size, dtype in results],
        input_output_aliases=aliases or {},
        interpret=plan.interpret,
        compiler_params=plt.CompilerParams(num_warps=warps),
    )(*operands)
