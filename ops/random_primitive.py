"""The jax primitive behind the random numbers: batching, derivatives (none), and the choice of the form."""

import functools

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from . import dispatch, normal_table, poisson_table, random_native, threefry
from .rules import define_impl

random_p = Primitive("brainsim_random")  # (key (b, 2), step (b,)[, rate (b, 1 or n)]) -> (batch, n); b: batch or 1

DTYPES = dict(
    word=jnp.uint32,
    pair=jnp.uint32,
    uniform=jnp.float32,
    normal=jnp.float32,
    uniform64=jnp.float64,
    normal64=jnp.float64,
    poisson=jnp.int32,
    poisson_wide=jnp.int32,
)


def form(kind, key0, key1, step, of, rate=None):
    """The pure XLA form: numbers of `of` entities, or of an array of indices."""
    if kind.startswith("poisson"):
        return poisson_table.counts(key0, key1, step, rate, of, kind == "poisson_wide")
    if kind in ("word", "uniform", "normal"):
        word = threefry.words(key0, key1, step, of)
        if kind == "word":
            return word
        return _uniform32(word) if kind == "uniform" else normal_table.normal32(word)
    high, low = threefry.word_pairs(key0, key1, step, of)
    if kind == "pair":
        return jnp.stack([high, low], -1)
    return _uniform64(high, low) if kind == "uniform64" else normal_table.normal64(high, low)


def _uniform32(word):
    return (word >> jnp.uint32(8)).astype(jnp.int32).astype(jnp.float32) * jnp.float32(2.0**-24)


def _uniform64(high, low):
    wide = (high >> jnp.uint32(5)).astype(jnp.float64) * jnp.float64(2.0**26)
    return (wide + (low >> jnp.uint32(6)).astype(jnp.float64)) * jnp.float64(2.0**-53)  # exact sum


def draw(kind, key, step, of, rate=None, backend=None):
    """Numbers of one kind; on the CPU by the native form where `of` is a number of entities."""
    asked = dispatch.requested(backend)
    key0, key1 = threefry.key_words(key)
    step = threefry.uint32(step)
    if not isinstance(of, int) or of == 0:
        return form(kind, key0, key1, step, of, rate)
    operands = [jnp.stack([key0, key1])[None], jnp.reshape(step, (1,))]
    if rate is not None:
        operands.append(jax.lax.stop_gradient(jnp.reshape(jnp.asarray(rate, jnp.float32), (1, -1))))
    return random_p.bind(*operands, kind=kind, n=of, batch=1, backend=asked)[0]


def _shape(*operands, kind, n, batch, backend):
    shape = (batch, n, 2) if kind == "pair" else (batch, n)
    return jax.core.ShapedArray(shape, jnp.dtype(DTYPES[kind]))


def _xla(*operands, kind, n, batch, backend):
    whole = [jnp.broadcast_to(x, (batch, *x.shape[1:])) for x in operands]
    return jax.vmap(lambda key, step, *rate: form(kind, key[0], key[1], step, n, *rate))(*whole)


def _batch(operands, dims, *, kind, n, batch, backend):
    """Both batch axes as one: (new, old) flattened."""
    size = next(x.shape[d] for x, d in zip(operands, dims) if d is not None)
    flat = []
    for x, d in zip(operands, dims):
        x = x[None] if d is None else jnp.moveaxis(x, d, 0)
        if x.shape[0] * x.shape[1] > 1:
            x = jnp.broadcast_to(x, (size, batch, *x.shape[2:]))
        flat.append(x.reshape(-1, *x.shape[2:]))
    made = random_p.bind(*flat, kind=kind, n=n, batch=size * batch, backend=backend)
    return made.reshape(size, batch, *made.shape[1:]), 0


def _jvp(primals, tangents, **params):
    """Random numbers do not change with the key or the step, and a count has no derivative by its rate."""
    made = random_p.bind(*primals, **params)
    return made, ad.Zero(jax.typeof(made).to_tangent_aval())


def _lower(platform, ctx, *operands, **params):
    if dispatch.resolve(params["backend"], platform) == "native":
        return random_native.lower(ctx, *operands, kind=params["kind"])
    return mlir.lower_fun(functools.partial(_xla, **params), multiple_results=False)(ctx, *operands)


random_p.def_abstract_eval(_shape)
define_impl(random_p)
ad.primitive_jvps[random_p] = _jvp
batching.primitive_batchers[random_p] = _batch
mlir.register_lowering(random_p, functools.partial(_lower, "other"))
mlir.register_lowering(random_p, functools.partial(_lower, "cpu"), platform="cpu")
