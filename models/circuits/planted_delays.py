"""Planted delays of one layer of LIF cells, recovered from its spikes with DCLS kernels (Hammouamri,
Khalfaoui-Hassani & Masquelier 2023, arXiv:2306.17670).

Weights and time constants are known, delays are not. The model cells fire when the recorded ones did, so their voltage
is a smooth function of the delays; it has to be above the threshold in the steps with a spike, and below in all others.
The width of the kernels shrinks during the fit, and delays are rounded at its end.
"""

import time
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax

import brainsim as bs
from brainsim.models.circuits.order_task import prescribed
from brainsim.models.neurons.lif import LIF
from brainsim.models.neurons.source import SpikeSource
from brainsim.models.synapses.exponential import ExpCurrent

STEP = 1.0  # ms
CELL = dict(tau=10.0, R=1.0, v_rest=0.0, v_th=1.0, v_reset=0.0, t_ref=0.0)
CURRENT = 3.0  # ms, decay of the synaptic current
WIDTHS = (6.0, 0.3)  # steps, at the beginning and at the end
SHRINKS = 0.8  # of the fit


class Forced(LIF):
    """A cell that fires when the data say so."""

    observed = bs.input()

    def spike(self, observed):
        return observed - 0.5


def layer(cell, weights, delay) -> "bs.Network":
    """Populations "input" and "cells", all to all; weights (n_inputs, n_cells)."""
    net, (n_inputs, n_cells) = bs.Network(), np.shape(weights)
    net.add("input", SpikeSource(), n_inputs)
    net.add("cells", cell, n_cells)
    flat = np.ravel(weights)
    net.connect("input", "cells", ExpCurrent(tau=CURRENT), bs.all_to_all(), weight=flat, delay=delay, name="in")
    return net


@dataclass(frozen=True, eq=False)
class Recovered:
    """Attributes:
    delays, planted: (n_inputs, n_cells) steps, rounded. within, exact: part of them that is off by at most one step,
        by none. spikes: part of the recorded spikes that a free run with the found delays has in the same step.
    """

    delays: np.ndarray
    planted: np.ndarray
    spikes: float
    seconds: float

    @property
    def within(self) -> float:
        return float(np.mean(np.abs(self.delays - self.planted) <= 1))

    @property
    def exact(self) -> float:
        return float(np.mean(self.delays == self.planted))


def recover(n_inputs=20, n_cells=4, lags=25, *, rate=20.0, length=3000.0, steps=300, learning=0.2, seed=0) -> Recovered:
    """Plant delays, record the spikes, and find the delays by `bs.fit`.

    Args:
        lags: delays are U{0 ... lags - 1} steps. rate: of the inputs, Hz. length: of the recording, ms.
        steps, learning: of Adam; its rate falls to a tenth as a cosine.
        seed: of weights, delays and inputs.
    """
    begun, rng, longest = time.perf_counter(), np.random.default_rng(seed), (lags - 1) * STEP
    weights = rng.uniform(0.6, 2.4, (n_inputs, n_cells))
    planted = rng.integers(0, lags, weights.shape)
    drive = (rng.random((round(length / STEP), n_inputs)) < rate * STEP * 1e-3).astype(float)
    inputs = {"input.spikes": bs.array(drive, STEP)}
    nature = layer(LIF(**CELL), weights, planted.ravel() * STEP).compile(dt=STEP, record=["cells.spikes"])
    made = lambda sim, **more: np.asarray(jax.jit(lambda: sim.run(length, inputs=inputs, **more).spikes["cells"])())
    data = made(nature)

    start = bs.learnable_delay(longest / 2, longest, width=WIDTHS[0] * STEP)
    sim = layer(Forced(**CELL), weights, start).compile(dt=STEP, record=["cells.v"])
    params = {"in.delay": np.full(planted.size, longest / 2)}
    space = bs.Space({"in.delay": bs.bounded(0.0, longest), "in.delay_width": bs.positive(STEP)})
    bound = space.bind(sim, params)
    at = lambda width: bound.vector({**bound.base, "in.delay_width": width})[-1]
    done = np.minimum(np.arange(steps + 1) / (SHRINKS * steps), 1.0)
    widths = [at(STEP * WIDTHS[0] * (WIDTHS[1] / WIDTHS[0]) ** part) for part in done]
    adam = optax.adam(optax.cosine_decay_schedule(learning, steps, 0.1))
    method = prescribed(adam, bound.size - 1, widths)
    inputs_and_spikes = inputs | {"cells.observed": bs.array(data.astype(float), STEP)}
    how = dict(duration=length, inputs=inputs_and_spikes, method=method, steps=steps)
    fit = bs.fit(sim, bound, _wrong_side, data.astype(float), **how)
    found = np.rint(np.asarray(fit.params["in.delay"]) / STEP).astype(int)
    again = layer(LIF(**CELL), weights, found * STEP).compile(dt=STEP, record=["cells.spikes"])
    same = np.count_nonzero(made(again) * data) / max(1, np.count_nonzero(data))
    return Recovered(found.reshape(planted.shape), planted, same, time.perf_counter() - begun)


def _wrong_side(result, data):
    """Residuals: how far the voltage is on the wrong side of the threshold."""
    below = CELL["v_th"] - result["cells.v"]
    return jnp.where(data > 0, jax.nn.relu(below), jax.nn.relu(-below)).ravel()
