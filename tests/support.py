"""What tests share: finite differences, and counts of what jax traces and compiles."""

import threading
from contextlib import contextmanager

import jax
import numpy as np
from jax.flatten_util import ravel_pytree

TRACE = "/jax/core/compile/jaxpr_trace_duration"
COMPILE = "/jax/core/compile/backend_compile_duration"


def finite_difference(f, params, direction, step=1e-5):
    """Central difference of the scalar function `f` at the pytree `params` along the pytree `direction`."""
    flat, rebuild = ravel_pytree(params)
    along, _ = ravel_pytree(direction)
    return float((f(rebuild(flat + step * along)) - f(rebuild(flat - step * along))) / (2 * step))


def check_gradient(f, params, *, step=1e-5, rtol=1e-5, atol=1e-8, directions=3, seed=0):
    """Assert that reverse and forward mode agree with central differences; returns the gradient.

    Args:
        f: scalar function of one pytree of floats. Call it under the `x64` fixture: float32 differences are noise.
        params: where.
        step: half the width of the difference, in units of each direction's length (the directions have length 1).
        rtol, atol: tolerances of the directional derivative.
        directions: how many random directions.
        seed: of the directions.
    """
    flat, rebuild = ravel_pytree(params)
    if flat.dtype != np.float64:
        raise TypeError(f"check_gradient needs float64 parameters, these are {flat.dtype}; use the fixture x64")
    gradient = jax.grad(f)(params)
    slope, _ = ravel_pytree(gradient)
    assert np.all(np.isfinite(slope)), f"the gradient is not finite: {gradient}"
    rng = np.random.default_rng(seed)
    for _ in range(directions):
        unit = rng.normal(size=flat.shape)
        unit = rebuild(jax.numpy.asarray(unit / np.linalg.norm(unit)))
        difference = finite_difference(f, params, unit, step)
        reverse = float(slope @ ravel_pytree(unit)[0])
        forward = float(jax.jvp(f, (params,), (unit,))[1])
        np.testing.assert_allclose(reverse, difference, rtol=rtol, atol=atol, err_msg="reverse mode")
        np.testing.assert_allclose(forward, difference, rtol=rtol, atol=atol, err_msg="forward mode")
    return gradient


@contextmanager
def _heard(event):
    """Names of the functions for which jax reports `event` in this thread while the block runs."""
    names, here = [], threading.get_ident()

    def listen(name, _seconds, **what):
        if name == event and threading.get_ident() == here:
            names.append(str(what.get("fun_name")))

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield names
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


@contextmanager
def assert_traces(n, of):
    """Assert that jax traces the function named `of` n times while the block runs.

    Wrap `f` in `jax.jit` and call it twice with equal shapes: `with assert_traces(1, of="f")`.
    """
    with _heard(TRACE) as names:
        yield
    found = names.count(of)
    assert found == n, f"{of} was traced {found} times, not {n}; traced: {sorted(set(names))}"


@contextmanager
def assert_compiles(n):
    """Assert that n programs are compiled while the block runs, operations outside of jit included."""
    with _heard(COMPILE) as names:
        yield
    assert len(names) == n, f"{len(names)} programs were compiled, not {n}: {names}"
