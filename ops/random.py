"""Counter-based random numbers for the inside of compiled loops: number = function of (key, step, entity).

No state and no order of calls, so restarts, chunks, devices and batch positions change nothing: `threefry.py` says
which bits an entity gets, `normal_table.py` and `poisson_table.py` what is made of them. All of it is integers and
float operations that are exact or rounded once, so every kind has the same bits on every platform and back end: the
XLA form and, on the CPU, a native one (`random_kernels.py`), chosen like those of the other operators.

Keys, steps and rates may be batched by vmap. Random numbers have no derivative by key, step or rate. Different
purposes need different keys: `key_of(seed, "noise", "exc")`, and `fold_in` for numbers known only while running (a
trial).
"""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np

from . import poisson_table, threefry
from .random_primitive import draw
from .threefry import threefry2x32 as threefry2x32


def key_of(seed: int, *names: str | int) -> np.ndarray:
    """Key of a random stream, from a seed and names; independent of the order in which keys are made.

    SHA-256 over the length-prefixed text of every part ("i" + decimal or "s" + UTF-8), first 8 bytes, little endian.

    Args:
        seed: any int.
        names: str or int parts, for instance ("noise", "exc", "v").

    Returns:
        (2,) uint32 NumPy array.

    Raises:
        ValueError: a part is neither str nor int.

    >>> key_of(0, "noise", "exc")
    array([ 855840741, 4250648023], dtype=uint32)
    """
    if isinstance(seed, str):
        raise ValueError(f"key_of: the seed is {seed!r}, but a seed is an int; write key_of(0, {seed!r})")
    digest = hashlib.sha256(b"brainsim.ops.random 1")
    for part in (seed, *names):
        if isinstance(part, bool) or not isinstance(part, (str, int, np.integer)):
            raise ValueError(
                f"key_of: {part!r} is a {type(part).__name__}, but a key is made of ints and strings; "
                "pass an int seed and names; use fold_in for traced numbers"
            )
        text = ("s" + part if isinstance(part, str) else f"i{int(part)}").encode()
        digest.update(len(text).to_bytes(8, "little") + text)
    return np.frombuffer(digest.digest()[:8], "<u4").astype(np.uint32)


def fold_in(key, number):
    """Key that also depends on an integer known only while running (a trial, a device).

    Args:
        key: (2,) uint32.
        number: () integer, taken modulo 2**32.

    Returns:
        (2,) uint32 jax array.

    >>> fold_in(key_of(0, "noise"), 1).dtype
    dtype('uint32')
    """
    # 20 rounds and the all-ones step keep new keys apart from the numbers drawn with the old one
    return jnp.stack(threefry2x32(*threefry.key_words(key), threefry.uint32(number), jnp.uint32(0xFFFFFFFF), rounds=20))


def word(key, step, of, backend: str | None = None):
    """32 random bits per entity.

    Args:
        key: (2,) uint32, from `key_of` or `fold_in`.
        step: () integer, the step counter, taken modulo 2**32.
        of: number of entities n, or their indices as an integer array (XLA form); entity i gets the same bits either
            way. Indices are taken modulo 2**32.
        backend: "native" or "xla" ("reference" and "pallas" mean xla); default: by platform or BRAINSIM_OPS.

    Returns:
        uint32 array, (n,) or the shape of the indices.

    Raises:
        ValueError: step or `of` is not an integer.

    >>> many, one = word(key_of(0), 7, 100), word(key_of(0), 7, jnp.array([42]))
    >>> bool(many[42] == one[0])
    True
    """
    return draw("word", key, step, _entities(of), backend=backend)


def bits(key, step, of, backend: str | None = None):
    """64 random bits per entity, as two words; they are not those of `word`.

    Args:
        key, step, of, backend: as in `word`.

    Returns:
        two uint32 arrays, (n,) or the shape of the indices.

    Raises:
        ValueError: as `word`.

    >>> [x.shape for x in bits(key_of(0), 0, 3)]
    [(3,), (3,)]
    """
    pair = draw("pair", key, step, _entities(of), backend=backend)
    return pair[..., 0], pair[..., 1]


def uniform(key, step, of, dtype=jnp.float32, backend: str | None = None):
    """Uniform numbers in [0, 1): multiples of 2**-24 (float32) or 2**-53 (float64), each equally likely.

    Args:
        key, step, of, backend: as in `word`.
        dtype: float32 or float64.

    Returns:
        (n,) or the shape of the indices.

    Raises:
        ValueError: another dtype.

    >>> u = uniform(key_of(0), 0, 1000)
    >>> bool(jnp.all((u >= 0) & (u < 1)))
    True
    """
    kind = "uniform" if _float(dtype) == np.float32 else "uniform64"
    return draw(kind, key, step, _entities(of), backend=backend)


def normal(key, step, of, dtype=jnp.float32, backend: str | None = None):
    """Standard normal numbers by inversion; `normal_table.py` states how close they come.

    Args:
        key, step, of, backend: as in `word`.
        dtype: float32 (32 bits, to 6.23 standard deviations) or float64 (64 bits, to 9.16).

    Returns:
        (n,) or the shape of the indices.

    Raises:
        ValueError: another dtype.

    >>> z = normal(key_of(0), 0, 100_000)
    >>> abs(float(z.mean())) < 0.01, abs(float(z.std()) - 1) < 0.01
    (True, True)
    """
    kind = "normal" if _float(dtype) == np.float32 else "normal64"
    return draw(kind, key, step, _entities(of), backend=backend)


def bernoulli(key, step, p, of, backend: str | None = None):
    """True with probability p, to within 2**-32 (2**-24 relative where p is float32 or traced).

    Args:
        key, step, of, backend: as in `word`.
        p: probability per step, () or one per entity; p <= 0 is never, p >= 1 always, nan never.

    Returns:
        bool array, (n,) or the shape of the indices.

    Raises:
        ValueError: a concrete p is outside [0, 1] or nan.

    >>> bernoulli(key_of(0), 0, np.array([0.0, 1.0]), 2)
    Array([False,  True], dtype=bool)
    """
    if isinstance(p, (int, float, np.ndarray, np.generic)):
        p = np.asarray(p, np.float64)
        if not np.all((p >= 0) & (p <= 1)):
            raise ValueError(f"bernoulli: p is {p}, but a probability lies in [0, 1]; pass a rate times dt below 1")
        threshold, always = np.floor(np.minimum(p * 2.0**32, 2.0**32 - 1)).astype(np.uint32), p >= 1
    else:
        threshold, always = _threshold(p), p >= 1
    return (word(key, step, of, backend) < threshold) | always


def poisson(key, step, rate, of, most: float | None = None, backend: str | None = None):
    """Poisson counts by inversion; `poisson_table.py` states how close they come.

    A scalar rate, an array of equal ones, a concrete and a traced rate give the same counts.

    Args:
        key, step, of, backend: as in `word`.
        rate: expected counts per step (rate in 1/ms times dt in ms), from 0 to below 32768: () or one per entity.
        most: bound of traced rates, static; a bound below 8 leaves the tables of higher rates out of the program.

    Returns:
        int32 array, (n,) or the shape of the indices. -1 where a traced rate is negative, nan or 32768 and more (8 and
        more where `most` is below 8), so that no wrong rate passes as a number of events.

    Raises:
        ValueError: a concrete rate is negative, not finite or too high, or its shape does not fit.

    >>> counts = poisson(key_of(0), 0, 1.3, 100_000)
    >>> abs(float(counts.mean()) - 1.3) < 0.02
    True
    """
    entities = _entities(of)
    shape = (entities,) if isinstance(entities, int) else entities.shape
    if np.ndim(rate) and np.shape(rate) != shape:
        raise ValueError(
            f"poisson: rate has shape {np.shape(rate)} for numbers of shape {shape}; pass a scalar or {shape}"
        )
    if not isinstance(rate, jax.core.Tracer):
        values = np.asarray(rate, np.float32)
        if not np.all((values >= 0) & (values < poisson_table.HIGHEST)):
            raise ValueError(
                "poisson: some rates are negative, not finite or 32768 and more, but an expected count per step is at "
                "least 0 and numbers come from tables up to 32767; pass rate * dt >= 0, or shorten dt"
            )
        most = float(values.max(initial=0.0))
    kind = "poisson" if most is not None and most < poisson_table.SPLIT else "poisson_wide"
    return draw(kind, key, step, entities, rate, backend)


def _entities(of):
    """A number of entities as an int, or indices as uint32."""
    return int(of) if isinstance(of, (int, np.integer)) else threefry.uint32(of)


def _threshold(p):
    """p of 2**32 as uint32; the largest float32 below 2**32 stands for 1."""
    scaled = jnp.clip(jnp.asarray(p).astype(jnp.float32), 0.0, 1.0) * np.float32(2.0**32)
    return jnp.minimum(jnp.nan_to_num(scaled), np.float32(2.0**32 - 256)).astype(jnp.uint32)


def _float(dtype):
    dtype = np.dtype(dtype)
    if dtype.name not in ("float32", "float64"):
        raise ValueError(
            f"dtype is {dtype.name}, but random numbers are drawn as float32 or float64; pass one of them "
            "and convert the result"
        )
    if dtype == np.float64 and not jax.config.jax_enable_x64:
        raise ValueError("dtype is float64, but jax has 64 bits switched off; enable jax_enable_x64 or draw float32")
    return dtype
