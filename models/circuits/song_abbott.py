"""One cell whose inputs compete by STDP (Song, Miller & Abbott 2000, 10.1038/78829).

A thousand Poisson inputs of one rate: additive STDP with slightly more depression drives their weights apart, to zero
and to the maximum, until the cell fires irregularly. Of two groups the one whose rates vary together takes the weights.

`PAPER` has the parameters of the paper, with 200 fixed inhibitory inputs; `EXAMPLE` those of the example of STDP that
Brian 2 ships, without inhibition, with a faster cell and twice the learning rate.

Verified: a plain program has the same spikes and weights. In `EXAMPLE` (three seeds, 500 to 1000 s) 28 to 30 % of the
weights are below a tenth of the maximum, 24 % above nine tenths, and the rate falls from 49 to 20.5 Hz; an independent
program gives 28 %, 24 % and 49 to 21.5 Hz.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import brainsim as bs
from brainsim.drive import Drive, drive
from brainsim.errors import ParameterError
from brainsim.models.neurons.lif import LIF
from brainsim.models.neurons.source import PoissonSource
from brainsim.models.plasticity.pair import STDP
from brainsim.models.synapses.exponential import ExpConductance

DT = 0.1  # ms
N_EXC = 1000
PLASTIC = "exc->cell"


@dataclass(frozen=True)
class Parameters:
    """Numbers of the model; conductances are in units of the leak.

    Attributes:
        tau_m: ms. v_rest, v_th, v_reset, E_inh: mV; E_exc is 0.
        tau_syn: ms, of all conductances.
        g_max: largest excitatory weight.
        n_inh: inhibitory inputs. g_inh: their weight. rate_inh: Hz.
        A_plus: largest potentiation by a pair, as a share of g_max. ratio: of depression to it.
        tau_stdp: ms, both windows.
    """

    tau_m: float
    v_rest: float
    g_max: float
    A_plus: float
    v_th: float = -54.0
    v_reset: float = -60.0
    tau_syn: float = 5.0
    n_inh: int = 0
    g_inh: float = 0.05
    E_inh: float = -70.0
    rate_inh: float = 10.0
    ratio: float = 1.05
    tau_stdp: float = 20.0


PAPER = Parameters(tau_m=20.0, v_rest=-70.0, g_max=0.015, A_plus=0.005, n_inh=200)
EXAMPLE = Parameters(tau_m=10.0, v_rest=-74.0, g_max=0.01, A_plus=0.01)


class ModulatedSource(PoissonSource):
    """`PoissonSource` whose rate an input changes: `excess` is relative to the rate; below -1 no spikes come.

    Equation::

        P(spike in a step) = (1 + excess) rate dt
    """

    excess = bs.input("1")

    def spike(self, excess, key, dt):
        return (1.0 + excess) * self.rate * dt * self.per_Hz_ms - bs.uniform_of(key)


@drive
class JointRates(Drive):
    """Rates that all change at the same random times, those of a group together.

    Between changes, after exponential times of mean `tau` ms, the relative excess of a rate is s sqrt(2) x_a outside
    of the group and s (x_a + y) inside, with standard normal x_a of every input and y of the group: the variance is the
    same.

    Attributes:
        group: (n,) 1 in the group, else 0.
        size: s.
    """

    group: Any
    size: Any = 0.3
    tau: Any = 20.0

    def begin(self, n, dtype):
        return {"value": jnp.zeros((n,), dtype), "begun": jnp.zeros((), bool)}

    def value(self, step, dt, n, key, carry):
        real = carry["value"].dtype
        when, what = (bs.ops.random.fold_in(key, k) for k in range(2))
        changes = bs.ops.random.uniform(when, step, 1, real)[0] < -jnp.expm1(-dt / jnp.asarray(self.tau, real))

        def drawn(_):
            x = bs.ops.random.normal(what, step, n + 1, real)
            inside = jnp.asarray(self.group, real)
            return self.size * (inside * (x[:n] + x[n]) + (1.0 - inside) * float(np.sqrt(2.0)) * x[:n])

        value = jax.lax.cond(changes | ~carry["begun"], drawn, lambda old: old, carry["value"])
        return value, {"value": value, "begun": jnp.ones((), bool)}


def song_abbott(parameters: Parameters = PAPER, rate: float = 15.0, seed: int = 0) -> "bs.Network":
    """Populations `exc` (1000 sources), `cell` (1) and with inhibition `inh`; the projection "exc->cell" learns.

    tau_m v' = v_rest - v - g_exc v + g_inh (E_inh - v); a spike adds its weight to a conductance. Weights start uniform
    in 0..g_max and are clipped there; a spike delivers the weight before its own depression. Inputs vary with
    `inputs={"exc.excess": JointRates(group)}`.

    Args:
        parameters: `PAPER`, `EXAMPLE` or others.
        rate: Hz of the excitatory inputs.
        seed: of weights and spikes.
    """
    p, net = parameters, bs.Network(seed=seed)
    exc = net.add("exc", ModulatedSource(rate=rate), N_EXC)
    model = LIF(tau=p.tau_m, R=1.0, v_rest=p.v_rest, v_th=p.v_th, v_reset=p.v_reset, t_ref=0.0)
    cell = net.add("cell", model, 1)
    plus = p.A_plus * p.g_max
    rule = STDP(A_plus=plus, A_minus=p.ratio * plus, tau_plus=p.tau_stdp, tau_minus=p.tau_stdp)
    net.connect(
        exc, cell, ExpConductance(tau=p.tau_syn), bs.all_to_all(), weight=bs.uniform(0.0, p.g_max), name=PLASTIC,
        plasticity=rule, bounds=bs.hard(0.0, p.g_max), deliver="old",
    )  # fmt: skip
    if p.n_inh:
        inh = net.add("inh", PoissonSource(rate=p.rate_inh), p.n_inh)
        net.connect(inh, cell, ExpConductance(tau=p.tau_syn, E=p.E_inh), bs.all_to_all(), weight=p.g_inh)
    return net


@dataclass(frozen=True)
class Competition:
    """How weights and output developed.

    Attributes:
        times: (n,) s.
        weights: (n, 1000) at these times, as shares of g_max.
        rates: (n,) Hz of the cell between two times.
        cv: of the last stretch, coefficient of variation of the intervals; nan below three spikes.
    """

    times: np.ndarray
    weights: np.ndarray
    rates: np.ndarray
    cv: float

    @property
    def weak(self) -> np.ndarray:
        """(n,) share of the inputs below 0.1 g_max."""
        return np.mean(self.weights < 0.1, axis=1)

    @property
    def strong(self) -> np.ndarray:
        """(n,) share of the inputs above 0.9 g_max."""
        return np.mean(self.weights > 0.9, axis=1)


def compete(
    duration: float,
    parameters: Parameters = PAPER,
    rate: float = 15.0,
    group=None,
    seed: int = 0,
    every: float = 10.0,
    dt: float = DT,
) -> Competition:
    """Let the inputs compete.

    Args:
        duration, every: s, the first a multiple of the second.
        parameters, rate, seed: as in `song_abbott`.
        group: (1000,) true where inputs vary together; all vary then, by `JointRates`. Default: constant rates.
        dt: ms.

    Raises:
        ParameterError: the duration is not a multiple of `every`, or the group has not one value per input.
    """
    n = round(duration / every)
    if n < 1 or abs(n * every - duration) > 1e-9 * duration:
        raise ParameterError(f"duration={duration} s is not a multiple of every={every} s; write a multiple")
    if group is not None and np.shape(group) != (N_EXC,):
        raise ParameterError(f"group has shape {np.shape(group)}; give {N_EXC} values, true for inputs of the group")
    inputs = None if group is None else {"exc.excess": JointRates(np.asarray(group, np.float32))}
    record = ["cell.spikes", bs.trace(f"{PLASTIC}.w", every=every * 1e3)]
    sim = song_abbott(parameters, rate, seed).compile(dt=dt, record=record)
    weights, rates = [], []
    for _ in range(n):
        result = sim.advance(every * 1e3, inputs=inputs)
        weights.append(result[f"{PLASTIC}.w"][-1] / parameters.g_max)
        rates.append(len(result["cell"]) / every)
    return Competition(every * np.arange(1, n + 1), np.array(weights), np.array(rates), result.cv("cell"))
