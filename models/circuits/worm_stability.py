"""Where the touched worm starts to cycle: growth rates of the fixed point and the Hopf point, by automatic derivatives.

>>> from brainsim.models.circuits.worm_stability import hopf_point
>>> round(hopf_point()["amplitude"], 3)
12450.803
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from brainsim.connectome import Connectome

from .worm import celegans, leading_eigenvalue, plm_touch, touch_simulation

REFERENCE = {"amplitude": 12450.803, "omega": 2.77688, "slope": 3.03514}  # tests/reference/worm.json


def growth(connectome: Connectome | None = None) -> Callable:
    """Function of an amplitude: `leading_eigenvalue` in 1/s and its derivative in 1/s per 1e4; jax.jvp, float64."""
    with jax.enable_x64(True):
        worm = celegans() if connectome is None else connectome
        params = {name: np.asarray(value) for name, value in touch_simulation(worm).params.items()}
        touch = jnp.asarray(plm_touch(1.0, worm))

    @jax.jit
    def slope(amplitude):
        along = lambda a: leading_eigenvalue({**params, "neurons.I_bias": a * touch}, worm)
        return jax.jvp(along, (amplitude,), (jnp.ones_like(amplitude),))

    def measure(amplitude) -> tuple[complex, complex]:
        with jax.enable_x64(True), jax.default_device(jax.devices("cpu")[0]):
            value, derivative = slope(jnp.asarray(amplitude, jnp.float64))
        return 1e3 * complex(value), 1e7 * complex(derivative)

    return measure


def hopf_point(measure: Callable | None = None, start=1.2e4, steps=3) -> dict:
    """Where the fixed point loses its stability, by Newton's method: amplitude, omega in rad/s, slope in 1/s per 1e4.

    Args:
        measure: default `growth()`.
        start, steps: first amplitude; the error is squared by every step.
    """
    measure, amplitude = measure or growth(), start
    for _ in range(steps):
        value, slope = measure(amplitude)
        amplitude -= 1e4 * value.real / slope.real
    value, slope = measure(amplitude)
    return {"amplitude": amplitude, "omega": value.imag, "slope": slope.real}
