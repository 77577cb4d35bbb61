"""Spikes over a dense matrix: rows of the silent are not read, and where many cells spike at once a matrix product.

T(s, w, x) = sum over rows i and columns j of s[i] * w[i, j] * x[j].
"""

import functools
import math

import jax
import jax.numpy as jnp
from jax.interpreters import mlir

from . import arguments, dispatch, native, xla
from .trilinear import Family

TRAILING = {"scatter": (1, 2, 1), "gather": (1, 2, 1), "outer": (1, 1, 1)}
ROWS = 32  # spiking rows per turn of the xla form
ROWS_BELOW = 8  # it takes rows where fewer than one in so many spikes
PRODUCT_FROM = 8  # trials from which a matrix product can be the faster form on the CPU
PRODUCT_ABOVE = 0.2  # fraction of all spikes of a batch above which it is


def event_dense(spikes, matrix, *, active=None, backend=None):
    """Sum the rows of a matrix whose cells spike: out[j] = sum of spikes[i] * matrix[i, j].

    Only rows with a spike are read. A silent row does not count, even where the matrix is infinite; nan is not zero
    and spreads. Linear in both factors, differentiable to any order; the derivative by the matrix is written on the
    rows that spike. In batches over trials with one matrix, the activity chooses between rows and a matrix product
    while the program runs.

    Args:
        spikes: (n_pre,) bool, float32 or float64.
        matrix: (n_pre, n_post) float32, float64 or bfloat16.
        active: (n_pre,) bool, rows whose derivative by `spikes` is wanted; elsewhere it is zero. Default: all.
        backend: "native", "xla" or "reference" for this call ("pallas": xla); default: by platform or BRAINSIM_OPS.

    Returns:
        (n_post,) in the wider dtype of spikes and matrix; bool spikes: the dtype of the matrix. A bfloat16 matrix is
        summed in float32.

    Raises:
        ValueError: a shape or dtype does not fit (while tracing).

    >>> import jax.numpy as jnp
    >>> event_dense(jnp.array([True, False, True]), jnp.arange(6.0).reshape(3, 2))
    Array([4., 6.], dtype=float32)
    """
    what = "event_dense"
    matrix = arguments.array(what, "matrix", matrix, arguments.WEIGHTS, 2)
    spikes = arguments.array(what, "spikes", spikes, ("bool", *arguments.FLOATS), 1)
    if spikes.shape[0] != matrix.shape[0]:
        arguments.refuse(
            what,
            f"spikes have length {spikes.shape[0]}",
            f"the matrix has {matrix.shape[0]} rows",
            "pass one spike per row; transpose the matrix where its rows are targets",
        )
    stated, inner = arguments.result_dtypes(spikes, matrix)
    spikes = spikes if spikes.dtype == bool else spikes.astype(inner)
    given = (spikes, matrix, arguments.active_of(what, active, spikes.shape[0]))
    asked = dispatch.requested(backend)
    return DENSE.bind("scatter", *given, shape=matrix.shape[1:], dtype=inner, backend=asked).astype(stated)


# --- products of whole batches


def _is_product(member, batches, batch):
    """True where all trials share the matrix, so that the batch is one matrix product."""
    first, second = batches
    if member == "outer":
        return math.prod(batch) == 1 and first == second and math.prod(first) > 1
    return math.prod(second) == 1 and first == tuple(batch)


def _product(member, first, second, shape, batch, dtype):
    """The batch as one matrix product; nan where a silent row meets an infinite value."""
    a = first.reshape(-1, first.shape[-1]).astype(dtype)
    b = second.reshape(second.shape[-2:] if member != "outer" else (-1, second.shape[-1])).astype(dtype)
    exact = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)
    made = exact(a, b) if member == "scatter" else exact(a, b.T) if member == "gather" else exact(a.T, b)
    return made.reshape(*batch, *shape)


def _unless_nan(made, otherwise):
    """A product, or where 0 * inf may have made it nan, the slower form that skips silent rows."""
    return jax.lax.cond(jnp.any(jnp.isnan(made)), otherwise, lambda: made)


def _batches(member, operands):
    return [tuple(a.shape[: a.ndim - t]) for a, t in zip(operands[:2], TRAILING[member])]


# --- forms


def _masked(s, products, dtype):
    return jnp.where((s != 0) if s.dtype != bool else s, products, jnp.zeros((), dtype))


def _scatter(s, w, active, shape, dtype):
    spikes = s.astype(dtype)[:, None]
    return jnp.sum(_masked(s[:, None], spikes * w.astype(dtype), dtype), axis=0)


def _gather(x, w, active, shape, dtype):
    y = jnp.sum(x[None, :] * w.astype(dtype), axis=1)
    return jnp.where(active, y, jnp.zeros((), dtype)) if active.shape[0] else y


def _outer(s, x, active, shape, dtype):
    return _masked(s[:, None], s.astype(dtype)[:, None] * x[None, :], dtype)


SINGLE = {"scatter": _scatter, "gather": _gather, "outer": _outer}


def _rows(s, w, active, shape, dtype):
    """`_scatter` of one network in turns of ROWS spiking rows: the number of turns follows the spikes."""
    sends = (s != 0) if s.dtype != bool else s
    count = jnp.sum(sends, dtype=jnp.int32)
    order = jnp.nonzero(sends, size=s.shape[0], fill_value=0)[0].astype(jnp.int32)

    def turn(carry):
        done, out = carry
        place = done + jnp.arange(ROWS, dtype=jnp.int32)
        rows = order.at[place].get(mode="fill", fill_value=0)
        values = (place < count)[:, None]
        part = jnp.where(values, s[rows].astype(dtype)[:, None] * w[rows].astype(dtype), jnp.zeros((), dtype))
        return done + jnp.int32(ROWS), out + jnp.sum(part, axis=0)

    return jax.lax.while_loop(lambda c: c[0] < count, turn, (jnp.int32(0), jnp.zeros(shape, dtype)))[1]


def _reference(member, *operands, shape, batch, dtype, static):
    one = functools.partial(SINGLE[member], shape=shape, dtype=dtype)
    return xla._batched(one, batch, len(shape), *operands, trailing=TRAILING[member])


def _xla(member, *operands, shape, batch, dtype, static):
    """A matrix product where all trials share the matrix; rows of it where one network has few spikes; else sums."""
    kind = dict(shape=shape, batch=batch, dtype=dtype)
    masked = lambda: _reference(member, *operands, static=static, **kind)
    if not _is_product(member, _batches(member, operands), batch) or 0 in (*shape, operands[0].shape[-1]):
        return masked()
    product = lambda: _product(member, *operands[:2], **kind)
    if member == "gather":
        active, made = operands[2], product()
        return jnp.where(active, made, jnp.zeros((), dtype)) if active.shape[-1] else made
    if member == "outer" or math.prod(batch) != 1:
        return _unless_nan(product(), masked)
    s, w, active = operands[0].reshape(-1), operands[1], operands[2]
    few = jnp.count_nonzero(s) * ROWS_BELOW < s.shape[0]
    rows = lambda: _rows(s, w.reshape(w.shape[-2:]), active, shape, dtype).reshape(*batch, *shape)
    return jax.lax.cond(few, rows, lambda: _unless_nan(product(), masked))


def _native(member, ctx, *operands, static):
    """The handler, and beside it a matrix product where a large batch shares one matrix."""
    (out,), given = ctx.avals_out, ctx.avals_in
    rank = 2 if member == "outer" else 1
    shape, batch = out.shape[out.ndim - rank :], out.shape[: out.ndim - rank]
    batches = _batches(member, given)
    trials = math.prod(max(batches, key=math.prod))
    masked = given[2].shape[-1] > 0
    if not _is_product(member, batches, batch) or trials < PRODUCT_FROM or (member == "gather" and masked):
        return native.lower("dense_kernels", f"dense_{member}", ctx, *operands)
    dtypes = given[0].dtype.name, given[1].dtype.name, out.dtype.name
    name = native.target("dense_kernels", f"dense_{member}", dtypes)

    def form(*operands):
        rows = lambda: jax.ffi.ffi_call(name, jax.ShapeDtypeStruct(out.shape, out.dtype))(*operands)
        product = lambda: _product(member, *operands[:2], shape=shape, batch=batch, dtype=out.dtype)
        if member == "gather":
            return product()
        spikes = operands[0]
        often = jnp.count_nonzero(spikes) > int(PRODUCT_ABOVE * spikes.size)
        return jax.lax.cond(often, lambda: _unless_nan(product(), rows), rows)

    return mlir.lower_fun(form, multiple_results=False)(ctx, *operands)


DENSE = Family(
    "dense",
    {"s": 1, "w": 2, "x": 1},
    {member: functools.partial(_xla, member) for member in SINGLE},
    {member: functools.partial(_reference, member) for member in SINGLE},
    _native,
    active=0,
)
