"""Counter-based random numbers for the inside of compiled loops: number = function of (key, step, entity).

Threefry-2x32 (Salmon et al. 2011, 10.1145/2063384.2063405) in plain jnp on uint32: no state, no order of calls, so
restarts, chunks, devices and batch positions change nothing. 13 rounds by default, the smallest count that its authors
found to pass BigCrush; 20 rounds give the published test vectors.

`bits`, `uniform`, `bernoulli` and table-driven `poisson` are equal bit for bit on all platforms; `normal` (and
`poisson` with traced or per-entity rates) go through log and exp, which platforms round differently in the last place.

The counter is (entity, step), both taken modulo 2**32; different purposes need different keys: `key_of(seed, "noise",
"exc")`, and `fold_in` for numbers known only while running (a trial).
"""

import hashlib
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

ROUNDS = 13
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA
_SECOND_BLOCK = 0x9E3779B9  # key tweak for draws that need more than 64 bits
_TAIL = 2.0**-33  # tables end where the probability of a larger count is below this


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
    """
    # 20 rounds and the all-ones step keep new keys apart from the numbers drawn with the old one
    return jnp.stack(threefry2x32(*_words(key), _uint32(number), jnp.uint32(0xFFFFFFFF), rounds=20))


def threefry2x32(key0, key1, counter0, counter1, rounds: int = ROUNDS):
    """The Threefry-2x32 block function.

    Args:
        key0, key1, counter0, counter1: uint32 arrays that broadcast together.
        rounds: 1 ... 20, static.

    Returns:
        two uint32 arrays.

    Raises:
        ValueError: rounds out of range.
    """
    if not 1 <= rounds <= 20:
        raise ValueError(
            f"threefry2x32: rounds is {rounds}, but the function is defined for 1 to 20; leave it out for {ROUNDS}"
        )
    key0, key1, counter0, counter1 = (jnp.asarray(word) for word in (key0, key1, counter0, counter1))
    keys = (key0, key1, key0 ^ key1 ^ jnp.uint32(_PARITY))
    x0, x1 = counter0 + keys[0], counter1 + keys[1]
    for i in range(rounds):
        distance = _ROTATIONS[i // 4 % 2][i % 4]
        x0 = x0 + x1
        x1 = ((x1 << jnp.uint32(distance)) | (x1 >> jnp.uint32(32 - distance))) ^ x0
        if i % 4 == 3:
            turn = i // 4 + 1
            x0 = x0 + keys[turn % 3]
            x1 = x1 + keys[(turn + 1) % 3] + jnp.uint32(turn)
    return x0, x1


def bits(key, step, of, rounds: int = ROUNDS):
    """64 random bits per entity, as two words.

    Args:
        key: (2,) uint32, from `key_of` or `fold_in`.
        step: () integer, the step counter (up to 2**32 - 1).
        of: number of entities n, or their indices as an integer array; entity i gets the same bits either way.
        rounds: 1 ... 20, static.

    Returns:
        two uint32 arrays, (n,) or the shape of the indices.
    """
    entity = jnp.arange(of, dtype=jnp.uint32) if isinstance(of, (int, np.integer)) else _uint32(of)
    return threefry2x32(*_words(key), entity, _uint32(step), rounds)


def uniform(key, step, of, dtype=jnp.float32):
    """Uniform numbers in [0, 1): multiples of 2**-24 (float32) or 2**-53 (float64), each equally likely.

    Args:
        key, step, of: as in `bits`.
        dtype: float32 or float64.

    Returns:
        (n,) or the shape of the indices.

    Raises:
        ValueError: another dtype.
    """
    high, low = bits(key, step, of)
    if _float(dtype) == np.float32:
        return (high >> jnp.uint32(8)).astype(jnp.int32).astype(jnp.float32) * np.float32(2.0**-24)
    wide = (high >> jnp.uint32(5)).astype(jnp.float64) * np.float64(2.0**26)
    return (wide + (low >> jnp.uint32(6)).astype(jnp.float64)) * np.float64(2.0**-53)


def normal(key, step, of, dtype=jnp.float32):
    """Standard normal numbers by the Box-Muller transform, z = sqrt(-2 ln u) cos(2 pi v).

    u has 31 bits (float32; |z| reaches 6.6, a normal passes it once in 3e10) or 62 (float64; 9.3). The cosine is a
    polynomial, within 2e-7 (4e-16) of the true one: the cosine of XLA costs ten times as much on a CPU.

    Args:
        key, step, of: as in `bits`.
        dtype: float32 or float64.

    Returns:
        (n,) or the shape of the indices.

    Raises:
        ValueError: another dtype.
    """
    high, low = bits(key, step, of)
    dtype = _float(dtype)
    if dtype == np.float32:
        u, angle = _open_unit(high, dtype), _signed(low).astype(dtype) * dtype.type(2.0**-32)
    else:
        first, second = _words(key)
        more_high, more_low = bits((first ^ jnp.uint32(_SECOND_BLOCK), second), step, of)
        u = (
            ((high >> jnp.uint32(1)).astype(dtype) * dtype.type(2.0**31) + (more_high >> jnp.uint32(1)).astype(dtype))
            + dtype.type(0.5)
        ) * dtype.type(2.0**-62)
        angle = (_signed(low).astype(dtype) + more_low.astype(dtype) * dtype.type(2.0**-32)) * dtype.type(2.0**-32)
    return jnp.sqrt(dtype.type(-2.0) * jnp.log(u)) * _cosine_of_turns(angle)


def bernoulli(key, step, p, of):
    """True with probability p, to within 2**-32 (2**-24 relative where p is float32 or traced).

    Args:
        key, step, of: as in `bits`.
        p: probability per step, () or one per entity; p <= 0 is never, p >= 1 always, nan never.

    Returns:
        bool array, (n,) or the shape of the indices.

    Raises:
        ValueError: a concrete p is outside [0, 1] or nan.
    """
    if isinstance(p, (int, float, np.ndarray, np.generic)):
        p = np.asarray(p, np.float64)
        if not np.all((p >= 0) & (p <= 1)):
            raise ValueError(f"bernoulli: p is {p}, but a probability lies in [0, 1]; pass a rate times dt below 1")
        threshold, always = np.floor(np.minimum(p * 2.0**32, 2.0**32 - 1)).astype(np.uint32), p >= 1
    else:
        threshold, always = _threshold(p), p >= 1
    return (bits(key, step, of)[0] < threshold) | always


def poisson_table(rate, size: int | None = None):
    """Thresholds for `poisson` at one rate: make them once, outside the loop.

    Entry k is floor(2**32 * P(count > k)); a count is the number of entries above the random word.

    Args:
        rate: () expected count per step (rate in 1/ms times dt in ms); concrete or traced.
        size: largest count, static; needed where rate is traced. Default: where the tail falls below 2**-33.

    Returns:
        (size,) uint32. From a concrete rate: NumPy, every probability within 2**-32; from a traced one: jax, computed
        in float32, every tail probability within a relative error of about 1e-5.

    Raises:
        ValueError: rate is negative, not finite, or traced without size.
    """
    if isinstance(rate, jax.core.Tracer):
        if size is None:
            raise ValueError(
                "poisson_table: rate is traced and size is not given, but the shape of the table must be "
                "known while tracing; pass size, the largest count to allow"
            )
        return jnp.stack([_threshold(s) for s in _survival(jnp.asarray(rate), size)])
    rate = float(rate)
    if not (math.isfinite(rate) and rate >= 0):
        raise ValueError(
            f"poisson_table: rate is {rate}, but an expected count is finite and not negative; pass rate * dt >= 0"
        )
    counts = np.arange(int(rate + 12 * math.sqrt(rate) + 40) if size is None else size + 60, dtype=np.float64)
    log_factorial = np.array([math.lgamma(k + 1) for k in counts])
    mass = np.exp(counts * math.log(rate) - rate - log_factorial) if rate > 0 else (counts == 0).astype(float)
    survival = (np.cumsum(mass[::-1])[::-1] - mass).clip(0, 1)  # summed from the small end
    size = max(1, int(np.count_nonzero(survival > _TAIL))) if size is None else size
    return np.floor(np.minimum(survival[:size] * 2.0**32, 2.0**32 - 1)).astype(np.uint32)


def poisson(key, step, rate, of, size: int | None = None):
    """Poisson counts by inversion.

    Args:
        key, step, of: as in `bits`.
        rate: a table from `poisson_table` (uint32, (size,)); or () or one per entity, expected counts per step. A
            concrete scalar makes its table while tracing; per-entity and traced rates take `size` terms of the
            recursion p(k) = p(k - 1) rate / k in float32 every step: keep them below about 80 (exp(-rate) > 0).
        size: largest count for per-entity or traced rates, static. Default: from the largest rate where it is concrete.

    Returns:
        int32 array, (n,) or the shape of the indices.

    Raises:
        ValueError: a concrete rate is negative or not finite; rates are traced and size is not given.
    """
    word = bits(key, step, of)[0]
    if getattr(rate, "dtype", None) == np.uint32:
        return _count_below(word, rate)
    concrete = not isinstance(rate, jax.core.Tracer)
    if concrete and np.ndim(rate) == 0:
        return _count_below(word, poisson_table(rate, size))
    if concrete and size is None:
        values = np.asarray(rate, np.float64)
        if not np.all(np.isfinite(values) & (values >= 0)):
            raise ValueError(
                "poisson: some rates are negative or not finite, but an expected count cannot be; pass rate * dt >= 0"
            )
        size = poisson_table(values.max(initial=0.0)).shape[0]
    if size is None:
        raise ValueError(
            "poisson: rates are traced and size is not given, but the number of terms must be known while "
            "tracing; pass size, the largest count to allow"
        )
    u = _open_unit(word, np.dtype(np.float32))
    count = jnp.zeros(word.shape, jnp.int32)
    for tail in _survival(jnp.asarray(rate), size):
        count = count + (u < tail).astype(jnp.int32)
    return count


def _survival(rate, size):
    """P(count > k) for k = 0 ... size - 1 in float32, each summed from its small end."""
    rate = rate.astype(jnp.float32)
    mass = [jnp.exp(-rate)]
    for k in range(1, size + 1):
        mass.append(mass[-1] * (rate * np.float32(1.0 / k)))
    tails = [mass[-1]]
    for k in range(size - 1, 0, -1):
        tails.append(tails[-1] + mass[k])
    return tails[::-1]


def _count_below(word, table):
    """How many entries of a falling table are above every word."""
    if table.shape[0] > 64:  # comparisons of all with all vectorise, but grow with the rate
        rising = jnp.asarray(table)[::-1]
        return jnp.int32(table.shape[0]) - jnp.searchsorted(rising, word, side="right").astype(jnp.int32)
    count = jnp.zeros(word.shape, jnp.int32)
    for k in range(table.shape[0]):
        count = count + (word < table[k]).astype(jnp.int32)
    return count


def _cosine_of_turns(v):
    """cos(2 pi v) for v in [-1/2, 1/2], as the Taylor series of -sin(2 pi (|v| - 1/4))."""
    t = jnp.abs(v) - v.dtype.type(0.25)
    square, terms = t * t, 6 if v.dtype == np.float32 else 11
    coefficients = [-((-1) ** k) * (2 * math.pi) ** (2 * k + 1) / math.factorial(2 * k + 1) for k in range(terms)]
    total = v.dtype.type(coefficients[-1])
    for c in coefficients[-2::-1]:
        total = total * square + v.dtype.type(c)
    return total * t


def _threshold(p):
    """p of 2**32 as uint32; the largest float32 below 2**32 stands for 1."""
    scaled = jnp.clip(jnp.asarray(p).astype(jnp.float32), 0.0, 1.0) * np.float32(2.0**32)
    return jnp.minimum(jnp.nan_to_num(scaled), np.float32(2.0**32 - 256)).astype(jnp.uint32)


def _open_unit(word, dtype):
    """(0, 1] from 31 bits; the smallest value 2**-32 keeps the tail."""
    return ((word >> jnp.uint32(1)).astype(jnp.int32).astype(dtype) + dtype.type(0.5)) * dtype.type(2.0**-31)


def _signed(word):
    return lax.bitcast_convert_type(word, jnp.int32)


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


def _words(key):
    return (jnp.asarray(key[0]).astype(jnp.uint32), jnp.asarray(key[1]).astype(jnp.uint32))


def _uint32(number):
    if isinstance(number, (int, np.integer)):
        return jnp.uint32(int(number) % 2**32)
    if getattr(number, "dtype", np.dtype(float)).kind not in "iu":
        raise ValueError(
            f"a step, entity or number of a random stream is {number!r}, but it must be an integer or an "
            "integer array; convert it with .astype('int32')"
        )
    return number.astype(jnp.uint32)
