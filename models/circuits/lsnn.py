"""Recurrent network of leaky integrate-and-fire cells, some with an adaptive threshold: LSNN (Bellec et al. 2018,
arXiv:1803.09574; 2020, 10.1038/s41467-020-17236-y).

Cells are those of the e-prop paper: a spike takes the threshold from the voltage and, in adaptive cells, raises the
threshold by beta, which decays with tau_a. Weights are jumps of the voltage. Differences: a refractory cell ignores
what arrives (in the paper it integrates on), and spikes reach the readout a step later.
"""

import math

import numpy as np

import brainsim as bs
from brainsim.errors import ParameterError
from brainsim.models.neurons.alif import ALIF
from brainsim.models.neurons.readout import LeakyReadout
from brainsim.models.neurons.source import SpikeSource
from brainsim.models.synapses.delta import Delta

V_TH = 0.6  # mV
BETA = 0.0174  # mV per spike, 1.7 (1 - exp(-1/2000)) / (1 - exp(-1/20)): the authors' program, in units of the voltage


def lsnn(
    n_in, n_lif, n_alif, n_out, *, tau=20.0, v_th=V_TH, t_ref=5.0, tau_a=2000.0, beta=BETA, tau_out=20.0, delay=0.0,
    gain=1.0, seed=0,
) -> "bs.Network":  # fmt: skip
    """Populations "input" (`SpikeSource`), "rec" (LIF cells first, then adaptive ones) and "out" (`LeakyReadout`).

    Projections "input->rec", "rec->rec" (no cell to itself) and "rec->out", all to all, with weights of standard
    deviation gain / sqrt(sources). A spike acts one step after its own, or `delay` later than that. Compile with
    `eprop_surrogate()` for the pseudo-derivative of the paper.

    Args:
        n_in, n_lif, n_alif, n_out: numbers of cells. Either kind of recurrent cells may be absent.
        tau: ms, of membranes. v_th: mV; cells rest and start at 0. t_ref: ms. tau_a: ms, of the adaptation.
        beta: mV, rise of the threshold of an adaptive cell per spike. Numbers of cells are allowed as arrays (n_alif,)
            for beta and tau_a.
        tau_out: ms, of the readout. delay: ms, of recurrent spikes. gain: of the initial weights. seed: of them.

    Raises:
        ParameterError: no recurrent cell; what the cells refuse.
    """
    n_rec = n_lif + n_alif
    if min(n_in, n_lif, n_alif, n_out) < 0 or n_rec < 1:
        raise ParameterError(
            f"lsnn: {n_lif} LIF and {n_alif} adaptive cells, {n_in} inputs, {n_out} outputs; there is at least one "
            f"recurrent cell, and no number is negative"
        )
    risen = np.concatenate([np.zeros(n_lif), np.broadcast_to(beta, n_alif)])
    slow = tau_a if np.ndim(tau_a) == 0 else np.concatenate([np.full(n_lif, 1000.0), tau_a])
    net = bs.Network(seed=seed)
    net.add("input", SpikeSource(), n_in)
    cell = ALIF(tau=tau, v_rest=0.0, v_th=v_th, v_reset=0.0, t_ref=t_ref, tau_a=slow, beta=risen)
    net.add("rec", cell, n_rec)
    net.add("out", LeakyReadout(tau=tau_out), n_out)
    draw = lambda sources: bs.normal(0.0, gain / math.sqrt(sources))
    net.connect("input", "rec", Delta(), bs.all_to_all(), weight=draw(n_in))
    net.connect("rec", "rec", Delta(), bs.all_to_all(autapses=False), weight=draw(n_rec), delay=delay)
    net.connect("rec", "out", Delta(), bs.all_to_all(), weight=draw(n_rec))
    return net


def eprop_surrogate(v_th=V_TH) -> "bs.Surrogate":
    """0.3 max(0, 1 - |v - threshold| / v_th) / v_th; the adaptation learns of the spikes that raise it, the voltage of
    its resets does not."""
    return bs.Surrogate("triangular", v_th, detach_reset=("v",), gain=0.3)
