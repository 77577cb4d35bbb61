"""The nervous system of C. elegans as a graded network, touched at the tail.

Model: Kunert, Shlizerman & Kutz 2014, 10.1103/PhysRevE.89.052805; constants: Neural Interactome program, Kim, Leahy
& Shlizerman 2019, 10.3389/fncom.2019.00008; wiring of Varshney et al. 2011, 10.1371/journal.pcbi.1001066.

A constant current into the touch cells PLML and PLMR drives a two-mode cycle of the motor neurons, which begins at
a Hopf bifurcation. The threshold of every synapse is the equilibrium voltage of its source under the present constant
input: it is solved inside the program, before every run, so that gradients with respect to any parameter include it.
"""

import importlib.resources
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import brainsim as bs
from brainsim.connectome import Connectome

from ..neurons.graded import GradedNeuron
from ..synapses.gap import GapJunction
from ..synapses.graded import GradedSynapse

UNIT = 0.1  # pA: published amplitudes count 100 pS x mV
MOTOR = ("DA", "DB", "DD", "VA", "VB", "VD", "AS", "VC")  # classes of the ventral cord, 74 cells of Varshney's 279
E_GABA = -48.0  # mV
STILL = 1e-3  # mV: motor neurons that move less than this rest
REFERENCE = {  # SciPy BDF, tests/reference/worm.json: amplitude and ablation -> period s, two-mode energy, amplitude mV
    (1.0e4, None): None,
    (1.3e4, None): (2.1917, 0.99985, 1.421),
    (1.4e4, None): (2.0812, 0.99942, 2.582),
    (2.0e4, None): (1.8055, 0.99692, 7.183),
    (3.0e4, None): (1.7123, 0.99539, 13.581),
    (2.0e4, "PVC"): None,
    (2.0e4, "DVA"): None,
    (2.0e4, "AVA"): (1.8161, 0.99392, 22.696),
    (2.0e4, "AVB"): (1.7604, 0.99808, 34.941),
    (2.0e4, "LUA"): (1.8364, 0.99707, 12.605),
}


def celegans() -> Connectome:
    """The 279 cells of Varshney et al. 2011 with 2194 chemical edges (6394 contacts) and 514 gap pairs (887 junctions).

    The sign of a chemical edge is that of its source: -1 for the 26 GABA cells of Kunert et al. 2014, otherwise +1.

    >>> len(celegans())
    279
    """
    folder = importlib.resources.files("brainsim.models.data")
    with (
        importlib.resources.as_file(folder / "celegans_varshney2011_edges.csv") as edges,
        importlib.resources.as_file(folder / "celegans_neurons.csv") as neurons,
    ):
        read = Connectome.from_csv(Path(edges), Path(neurons))
    gaba = read.columns["gaba26"] == "1"
    return replace(read, chem=replace(read.chem, sign=np.where(gaba[read.chem.pre], -1, 1)))


def plm_touch(amplitude, connectome: Connectome | None = None) -> np.ndarray:
    """Constant input `neurons.I_bias` of a gentle touch at the tail: the same current into PLML and PLMR.

    Args:
        amplitude: in the published unit of 0.1 pA: 2e4 is 2 nA.
        connectome: default `celegans()`.

    Returns:
        (n,) pA.
    """
    worm = celegans() if connectome is None else connectome
    current = np.zeros(len(worm))
    current[worm.ids(["PLML", "PLMR"])] = amplitude * UNIT
    return current


def worm_network(connectome: Connectome | None = None, amplitude=0.0, seed=0) -> "bs.Network":
    """The graded network: population "neurons", projections "chemical" and "gap", threshold "chemical.v_th" derived.

    Args:
        connectome: default `celegans()`. Sources of edges with sign -1 reverse at -48 mV, all others at 0 mV.
        amplitude: touch at PLML and PLMR, see `plm_touch`.
        seed: of the initial state, normal with standard deviation 1e-4 (mV, and for the activations).
    """
    worm = celegans() if connectome is None else connectome
    reversal = np.zeros(len(worm))
    reversal[worm.chem.pre[worm.chem.sign < 0]] = E_GABA
    neuron = GradedNeuron(I_bias=plm_touch(amplitude, worm) if amplitude else np.zeros(len(worm)))
    net = worm.to_network(neuron, GradedSynapse(E=reversal), GapJunction(), seed=seed)
    net.init("neurons.v", bs.normal(0.0, 1e-4))
    net.init("chemical.s", bs.normal(0.0, 1e-4))
    net.derive("chemical.v_th", lambda p: resting_voltage(p, worm))
    return net


def ablate(params: dict, connectome: Connectome, names=None, **where) -> dict:
    """Parameters with every edge of the cells at weight 0; the same compiled program runs them.

    Args:
        params: `sim.params` of a `worm_network`.
        names, **where: the cells, as in `Connectome.ids`: `["PVCL", "PVCR"]` or `class_="PVC"`.
    """
    left = connectome.ablate(names, **where)
    return {**params, "chemical.weight": left.chem.weight, "gap.weight": left.gap.weight}


def _matrices(p, worm):
    """Conductances [post, pre] in nS at full activation, (n, n), chemical and gap, and the resting activation (n,)."""
    n = len(worm)
    chem = p["chemical.weight"] * p["chemical.g"]
    gap = p["gap.weight"] * p["gap.g"]
    chemical = jnp.zeros((n, n), chem.dtype).at[worm.chem.post, worm.chem.pre].add(chem)
    electric = jnp.zeros((n, n), gap.dtype).at[worm.gap.post, worm.gap.pre].add(gap)
    rest = p["chemical.ar"] / (p["chemical.ar"] + 2.0 * p["chemical.ad"])
    return chemical, electric + electric.T, jnp.broadcast_to(rest, (n,))


def resting_voltage(p, connectome: Connectome) -> jax.Array:
    """Voltages at which every activation rests at ar / (ar + 2 ad) under the present constant input, (n,) mV.

    Solves ``[diag(g_L + sum_j Gg_ij + s sum_j Gs_ij) - Gg] v = g_L E_L + s Gs E + I_bias``. With it as threshold of the
    synapses (v, s) is an exact fixed point.

    Args:
        p: mapping from parameter names to arrays, such as `sim.params`.
    """
    chemical, electric, s = _matrices(p, connectome)
    n = len(connectome)
    leak, e_leak, bias, e = (
        jnp.broadcast_to(p[name], (n,)) for name in ("neurons.g_L", "neurons.E_L", "neurons.I_bias", "chemical.E")
    )
    matrix = jnp.diag(leak + electric.sum(1) + chemical @ s) - electric
    return jnp.linalg.solve(matrix, leak * e_leak + chemical @ (s * e) + bias)


def leading_eigenvalue(p, connectome: Connectome) -> jax.Array:
    """Eigenvalue with the largest real part at the fixed point, complex with imaginary part >= 0, per ms.

    Its real part crosses 0 at the Hopf bifurcation (1.24508e4 with `celegans()`). Differentiable, on the CPU only; use
    float64.
    """
    chemical, electric, s = _matrices(p, connectome)
    n, v = len(connectome), resting_voltage(p, connectome)
    leak, c, e, ar, ad, beta = (
        jnp.broadcast_to(p[name], (n,))
        for name in ("neurons.g_L", "neurons.C", "chemical.E", "chemical.ar", "chemical.ad", "chemical.beta")
    )
    dv_dv = (electric - jnp.diag(leak + electric.sum(1) + chemical @ s)) / c[:, None]
    dv_ds = chemical * (e[None, :] - v[:, None]) / c[:, None]
    ds_dv = jnp.diag(ar * beta / 4.0 * (1.0 - s))
    jacobian = jnp.block([[dv_dv, dv_ds], [ds_dv, -jnp.diag(ar / 2.0 + ad)]])
    values = jnp.linalg.eigvals(jacobian)
    first = values[jnp.argmax(values.real)]
    return jax.lax.complex(first.real, jnp.abs(first.imag))


def two_mode_energy(traces) -> float:
    """Share of the first two singular values squared of the mean-removed traces (samples, cells)."""
    centred = np.asarray(traces, float) - np.mean(traces, 0, dtype=float)
    energy = np.linalg.svd(centred, compute_uv=False) ** 2
    return float(energy[:2].sum() / energy.sum())


def oscillation_period(times, traces) -> float:
    """Period of the first singular mode of the traces, in the unit of `times`; nan with less than three cycles.

    Upward zero crossings, placed by interpolation; a crossing counts only if the mode passes from below -0.2 to above
    0.2 standard deviations, so noise around zero does not count.

    Args:
        times: (samples,); traces: (samples, cells).
    """
    times, traces = np.asarray(times, float), np.asarray(traces, float)
    u, _, _ = np.linalg.svd(traces - traces.mean(0), full_matrices=False)
    mode = u[:, 0]
    far = np.flatnonzero(abs(mode) > 0.2 * mode.std())
    rises = np.flatnonzero((mode[far[:-1]] < 0) & (mode[far[1:]] > 0))
    crossings = []
    for start, stop in zip(far[rises], far[rises + 1]):
        k = start + np.flatnonzero(mode[start + 1 : stop + 1] >= 0)[0]
        crossings.append(times[k] - mode[k] * (times[k + 1] - times[k]) / (mode[k + 1] - mode[k]))
    return float(np.polyfit(np.arange(len(crossings)), crossings, 1)[0]) if len(crossings) > 3 else float("nan")


def describe(times, traces) -> dict:
    """What motor traces do: period in s (nan if they settle), two-mode energy, largest standard deviation in mV.

    They settle if they move less than 1e-3 mV or if the envelope shrinks by a tenth between the halves.

    Args:
        times: (samples,) ms; traces: (samples, cells) mV.
    """
    traces = np.asarray(traces, float)
    early, late = (half.std(0).max() for half in np.array_split(traces, 2))
    cycles = bool(late > STILL and late > 0.9 * early)
    return {
        "outcome": "cycles" if cycles else "settles",
        "period": oscillation_period(times, traces) / 1e3 if cycles else float("nan"),
        "energy": two_mode_energy(traces) if cycles else float("nan"),
        "amplitude_mV": float(traces.std(0).max()),
    }


def touch_simulation(connectome: Connectome | None = None, dt=1.0, seed=0) -> "bs.Simulation":
    """The compiled network; it records "neurons.v" of all cells every 5 ms."""
    return worm_network(connectome, seed=seed).compile(dt=dt, record=[bs.trace("neurons.v", every=5.0)])


def motor_traces(result, connectome: Connectome, start=0.0):
    """Times (samples,) in ms from `start` on and voltages of the motor neurons (samples, 74) in mV."""
    trace = result.traces["neurons.v"]
    late = np.asarray(trace.times) > start
    return np.asarray(trace.times)[late], trace.values[late][:, connectome.ids(class_=MOTOR)]


def touch_experiment(
    amplitudes: Sequence[float] = (1.0e4, 1.3e4, 1.4e4, 2.0e4), ablations: Sequence[str] = ("PVC", "DVA", "AVA", "AVB"),
    duration=30_000.0, dt=1.0, ablated_at=2.0e4, connectome: Connectome | None = None, seed=0,
    watch: Callable | None = None,
) -> list[dict]:  # fmt: skip
    """Touch the worm: several amplitudes, then ablations at one amplitude; one compiled program for all runs.

    Args:
        amplitudes: see `plm_touch`.
        ablations: classes whose cells are ablated.
        duration, dt: ms; the second half is evaluated.
        ablated_at: amplitude of the ablation runs.
        connectome: default `celegans()`; the reference belongs to that one.
        watch: called with the dict and the `Result` of every run as soon as it ends.

    Returns:
        One dict a run: amplitude, ablated (class or None), the entries of `describe`, and `reference`: (period s,
        two-mode energy, amplitude mV) by SciPy's BDF, None where that settles, absent where it was not computed.
    """
    worm = celegans() if connectome is None else connectome
    sim = touch_simulation(worm, dt, seed)
    rows = []
    for amplitude, lost in [*((a, None) for a in amplitudes), *((ablated_at, name) for name in ablations)]:
        params = {**sim.params, "neurons.I_bias": plm_touch(amplitude, worm)}
        if lost is not None:
            params = ablate(params, worm, class_=lost)
        result = sim.run(duration, params=params)
        times, traces = motor_traces(result, worm, duration / 2)
        row = {"amplitude": amplitude, "ablated": lost, **describe(times, traces)}
        if connectome is None and (amplitude, lost) in REFERENCE:
            row["reference"] = REFERENCE[amplitude, lost]
        rows.append(row)
        if watch is not None:
            watch(row, result)
    return rows


def motor_power(params, sim, connectome: Connectome, duration=6_000.0) -> jax.Array:
    """Mean squared deviation of the motor voltages from their mean over the second half of a run, mV^2."""
    values = sim.run(duration, params=params).traces["neurons.v"].values
    late = jnp.asarray(values)[values.shape[0] // 2 :, connectome.ids(class_=MOTOR)]
    return jnp.mean((late - jnp.mean(late, 0, keepdims=True)) ** 2)


def gain_derivative(amplitude=2.0e4, duration=6_000.0, dt=1.0, step=1e-4) -> dict:
    """Derivative of `motor_power` with respect to the synaptic gain "chemical.g", by jax.jvp and by differences.

    Returns:
        power in mV^2, derivative and difference in mV^2/nS. Computed in float64.
    """
    with jax.enable_x64(True):
        worm = celegans()
        sim = touch_simulation(worm, dt)
        params = {**sim.params, "neurons.I_bias": jnp.asarray(plm_touch(amplitude, worm))}

        def power(g):
            return motor_power({**params, "chemical.g": g}, sim, worm, duration)

        g = jnp.asarray(params["chemical.g"], jnp.float64)
        value, slope = jax.jvp(power, (g,), (jnp.ones_like(g),))
        high, low = power(g * (1 + step)), power(g * (1 - step))
        return {"power": float(value), "derivative": float(slope), "difference": float((high - low) / (2 * step * g))}
