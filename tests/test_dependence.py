"""What a result depends on, read through loops, branches and calls."""

import jax
import jax.numpy as jnp
import pytest

from brainsim.dependence import reached


def scanned(x):
    """The second carried number follows the first, one step late; the third never sees x."""
    step = lambda c, y: ((c[0] + x, c[1] + c[0], c[2] * 2.0), (c[1], y))
    (a, b, c), (late, y) = jax.lax.scan(step, (0.0, 0.0, 1.0), jnp.arange(3.0))
    return a, b, c, late, y


def counted(x):
    """What decides how often a loop runs reaches all that it changes."""
    return jax.lax.while_loop(lambda c: c[0] < x, lambda c: (c[0] + 1.0, c[1] + 1.0), (0.0, 0.0))


def branched(x):
    return jax.lax.cond(x > 0, lambda a: (a, 1.0), lambda a: (2.0, a), 3.0)


def masked(x):
    """A random number that is drawn and not used."""
    drawn = jax.random.normal(jax.random.wrap_key_data(jnp.array([x, x], jnp.uint32)))
    run = lambda c, _: ((c[0] * 0.9, c[1] + drawn), None)
    out, _ = jax.lax.scan(run, (1.0, 0.0), None, length=4)
    return jax.jit(lambda a, b: (a, b))(*out)


@pytest.mark.parametrize(
    "function, expected",
    [
        (scanned, [True, True, False, True, False]),
        (counted, [True, True]),
        (branched, [True, True]),
        (masked, [False, True]),
        (lambda x: (1.0, x, x * 0.0), [False, True, True]),
    ],
)
def test_what_is_reached(function, expected):
    assert reached(function, 2.0) == expected
