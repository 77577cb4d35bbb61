"""Feed-forward spiking network that learns its delays: DCLS (Hammouamri, Khalfaoui-Hassani & Masquelier 2023,
arXiv:2306.17670).

Every connection has a weight and a delay. In training a spike arrives over the lags of a Gaussian around its delay,
whose width shrinks; in use it arrives once, after the nearest step (`brainsim.learnable_delays.round_delays`).

Numbers are those of the authors' program for Spiking Heidelberg Digits (`PAPER`): steps of 10 ms, 140 inputs, two
layers of 256 cells, 25 lags. Differences: membranes decay by exp(-dt/tau), the program's by 1 - dt/tau; there is no
batch normalisation (`gain` scales the weights instead) and no dropout; widths are in ms, the program adds 0.27 steps to
its own: see `annealed_width`.
"""

import math
from dataclasses import dataclass

import brainsim as bs
from brainsim.errors import ParameterError
from brainsim.learnable_delays import learnable_delay
from brainsim.models.neurons.lif import LIF
from brainsim.models.neurons.source import SpikeSource
from brainsim.models.synapses.delta import Delta

STEP = 10.0  # ms
ADDED = 0.27  # steps that the program adds to its width
LAST_WIDTH = 0.23  # steps, at which annealing ends
ANNEALED = 0.25  # of all epochs, in which the width shrinks


@dataclass(frozen=True)
class Parameters:
    """Sizes and times.

    Attributes:
        n_inputs: channels. hidden: cells of every hidden layer. n_outputs: classes.
        lags: delays are 0 ... lags - 1 steps. step: ms.
        tau: ms, of all membranes. v_th: mV; cells rest and are reset at 0.
    """

    n_inputs: int = 140
    hidden: tuple[int, ...] = (256, 256)
    n_outputs: int = 20
    lags: int = 25
    step: float = STEP
    tau: float = 10.05
    v_th: float = 1.0


PAPER = Parameters()


class Integrator(bs.Neuron):
    """Leaky readout that never fires.

    Equation::

        tau v' = -v
    """

    tau = bs.param(10.05, "ms", bounds=(0, None))
    v = bs.state(0.0, "mV")

    def dv(self, v):
        return -v / self.tau


def annealed_width(progress, parameters=PAPER) -> float:
    """Width of the kernels in ms: it falls exponentially from half of the lags to 0.23 steps, in a quarter of training.

    Args:
        progress: epochs done, as a part of all of them, 0 ... 1.
    """
    if not 0 <= progress <= 1:
        raise ParameterError(f"progress = {progress!r} is a part of the training; give 0 ... 1")
    first, done = parameters.lags // 2, min(progress / ANNEALED, 1.0)
    return parameters.step * (first * (LAST_WIDTH / first) ** done + ADDED)


def layers(parameters=PAPER) -> list[str]:
    """Names of the populations from the input to the output."""
    return ["input", *(f"hidden{i + 1}" for i in range(len(parameters.hidden))), "output"]


def dcls(parameters=PAPER, *, delay=None, gain=1.0, seed=0) -> "bs.Network":
    """Populations "input", "hidden1", ..., "output"; each projects to the next, all to all, with learnable delays.

    Give spikes as `inputs={"input.spikes": ...}`, compile with dt = `parameters.step`; "output.v" tells the class.
    Weights are uniform within gain v_th sqrt(6 / sources), delays within all lags.

    Args:
        parameters: sizes and times.
        delay: of all projections, instead of learnable ones: ms, distribution or `bs.learnable_delay(...)`; to compare
            with fixed or no delays.
        gain: size of the initial weights.
        seed: of weights and delays.

    Raises:
        ParameterError: no hidden layer, fewer than two lags, a gain that is not positive.
    """
    p = parameters
    if not p.hidden or p.lags < 2 or not gain > 0:
        raise ParameterError(
            f"dcls: hidden={p.hidden}, lags={p.lags}, gain={gain}: there is at least one hidden layer, two lags and a "
            f"positive gain; write Parameters(hidden=(64,), lags=25)"
        )
    net, sizes, names = bs.Network(seed=seed), (p.n_inputs, *p.hidden, p.n_outputs), layers(p)
    net.add("input", SpikeSource(), p.n_inputs)
    for name, n in zip(names[1:-1], p.hidden):
        net.add(name, LIF(tau=p.tau, v_rest=0.0, v_th=p.v_th, v_reset=0.0, t_ref=0.0), n)
    net.add("output", Integrator(tau=p.tau), p.n_outputs)
    longest = (p.lags - 1) * p.step
    if delay is None:
        delay = learnable_delay(bs.uniform(0.0, longest), longest, "gaussian", width=annealed_width(0.0, p))
    for pre, post, fan_in in zip(names, names[1:], sizes):
        bound = gain * p.v_th * math.sqrt(6.0 / fan_in)
        net.connect(pre, post, Delta(), bs.all_to_all(), weight=bs.uniform(-bound, bound), delay=delay)
    return net
