"""Short-term plasticity and the Clopath rule against NEST (reference/plasticity.json); float64.

`Replay` holds the voltage traces that NEST recorded, so the rule is tested without the cell; `ClopathCell` is the whole
model with brainsim's own numerics.
"""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainsim as bs
from brainsim.models import Delta, SpikeSource, TsodyksMarkramCurrent

REFERENCE = json.loads((Path(__file__).parent / "reference" / "plasticity.json").read_text())
DT, STEPS, NEST = REFERENCE["dt"], REFERENCE["steps"], REFERENCE["nest"]
CLOPATH, CELL = NEST["clopath_params"]["synapse"], NEST["clopath_params"]["cell"]
REPLAYED = next(name for name, case in NEST["clopath"].items() if "traces" in case)
EXACT = 1e-9


def given(trains):
    """Spikes of a population at stamps (ms)."""
    return bs.spike_trains(np.concatenate(trains), np.repeat(np.arange(len(trains)), [len(s) for s in trains]))


# ---------------------------------------------------------------- short-term plasticity
class ActiveResources(TsodyksMarkramCurrent):
    """What is released stays active (y) for the time of the current and recovers only then (Tsodyks et al. 2000)."""

    y = bs.state(0.0, on="pre")

    def dx(self, x, y):
        return (1.0 - x - y) / self.tau_d

    def dy(self, y):
        return -y / self.tau

    def on_pre(self, w, u, x):
        release = (u + self.U * (1.0 - u)) * x
        return dict(u=self.U * (1.0 - u), x=-release, y=release, i=w * release)


def short_term(name):
    """The synapse of a case; NEST writes tau_fac = 0 for no facilitation: u has decayed at the next spike."""
    p = NEST["short_term"][name]["params"]
    cls = ActiveResources if "tau_psc" in p else TsodyksMarkramCurrent
    return cls(U=p["U"], tau_d=p["tau_rec"], tau_f=p["tau_fac"] or 1e-4, tau=p.get("tau_psc", 3.0)), p["weight"]


@pytest.fixture(scope="module")
def currents():
    """name -> (STEPS,) current of the first source at a delay of 0.5 ms."""
    with jax.enable_x64(True):
        net = bs.Network(seed=0)
        pre, post = net.add("pre", SpikeSource(), 1), net.add("post", SpikeSource(), 1)
        for name in NEST["short_term"]:
            synapse, weight = short_term(name)
            net.connect(pre, post, synapse, bs.all_to_all(), weight=weight, delay=0.5, name=name)
        simulation = net.compile(dt=DT, record=[f"{name}.i" for name in NEST["short_term"]])
        made = simulation.advance(STEPS * DT, inputs={"pre.spikes": given([np.array(REFERENCE["pre"][0]) * DT])})
        return {name: np.asarray(made[f"{name}.i"])[:, 0] for name in NEST["short_term"]}


@pytest.mark.parametrize("name", list(NEST["short_term"]))
def test_amplitudes(currents, name):
    """The jumps of the current are NEST's amplitudes, one delay after the stamp; the resources know the stamps only."""
    decay = np.exp(-DT / short_term(name)[0].tau)
    first = np.array(REFERENCE["pre"][0]) + 5  # the step that begins at stamp + delay
    found = currents[name][first] / decay - currents[name][first - 1]
    for target in range(3):
        np.testing.assert_allclose(found, NEST["short_term"][name]["weights"][f"0-{target}"], rtol=EXACT)


# ---------------------------------------------------------------- Clopath
class Clopath(bs.Plasticity):
    """Clopath et al. 2010, 10.1038/nn.2479, on what the target shows: u, and its delayed means up and um."""

    A_LTP, A_LTD = bs.param(CELL["A_LTP"], "1/(mV*mV)"), bs.param(CELL["A_LTD"], "1/mV")
    theta_plus, theta_minus = bs.param(CELL["theta_plus"], "mV"), bs.param(CELL["theta_minus"], "mV")
    tau_x = bs.param(CLOPATH["tau_x"], "ms")
    x = bs.state(0.0, on="pre")

    def dx(self, x):
        return -x / self.tau_x

    def dw(self, x, u_post, up_post):
        above = jnp.maximum(u_post - self.theta_plus, 0.0) * jnp.maximum(up_post - self.theta_minus, 0.0)
        return self.A_LTP * x / self.tau_x * above

    def on_pre(self, um_post):
        return dict(x=1.0, w=-self.A_LTD * jnp.maximum(um_post - self.theta_minus, 0.0))


class Replay(bs.Neuron):
    """Shows recorded traces, one sample a step."""

    at_u, at_up, at_um = bs.input("mV"), bs.input("mV"), bs.input("mV")
    u, up, um = (bs.state(CELL["E_L"], "mV", jump=True) for _ in range(3))

    def spike(self, u):
        return 0.0 * u + 1.0

    def reset(self, at_u, at_up, at_um):
        return dict(u=at_u, up=at_up, um=at_um)


def test_clopath_rule_on_recorded_traces(x64):
    """The voltage of a step acts with the presynaptic trace before the spike at its end; means are 4 ms old."""
    case = NEST["clopath"][REPLAYED]
    traces = {k: np.array(v)[:, None] for k, v in case["traces"].items()}
    late = round(CELL["delay_u_bars"] / DT)
    shown = {k: np.concatenate([np.full((late, 1), CELL["E_L"]), traces[k][:-late]]) for k in traces}
    shown["V_m"] = traces["V_m"]
    net = bs.Network(seed=0)
    pre, post = net.add("pre", SpikeSource(), 1), net.add("post", Replay(), 1)
    learns = dict(plasticity=Clopath(), bounds=bs.hard(CLOPATH["Wmin"], CLOPATH["Wmax"]), delay_at="dendrite")
    rest = dict(weight=CLOPATH["weight"], delay=NEST["clopath_params"]["delay_ms"], ties="neither", name="s")
    net.connect(pre, post, bs.models.ExpCurrent(), bs.all_to_all(), **rest, **learns)
    inputs = {
        "pre.spikes": given([case["pre_ms"]]),
        "post.at_u": bs.array(shown["V_m"]),
        "post.at_up": bs.array(shown["u_bar_plus"]),
        "post.at_um": bs.array(shown["u_bar_minus"]),
    }
    made = net.compile(dt=DT, record=["s.w"]).advance(len(shown["V_m"]) * DT, inputs=inputs)
    at = np.rint(np.array(case["pre_ms"]) / DT).astype(int) - 1
    np.testing.assert_allclose(np.asarray(made["s.w"])[at, 0], case["weights"][str(DT)], rtol=1e-12)


class ClopathCell(bs.Neuron):
    """AdEx with an afterdepolarisation z, an adaptive threshold and a spike that lasts t_clamp.

    While v is held at its reset value, the membrane that others see is at V_peak; `pulse` counts that down. The means
    follow what it was 4 ms ago, which comes as an input: a mean of a delayed voltage is the delayed mean.
    """

    C, g_L, E_L = bs.param(CELL["C_m"], "pF"), bs.param(CELL["g_L"], "nS"), bs.param(CELL["E_L"], "mV")
    D_T, V_peak, V_r = bs.param(CELL["Delta_T"], "mV"), bs.param(CELL["V_peak"], "mV"), bs.param(CELL["V_reset"], "mV")
    V_rest, V_max = bs.param(CELL["V_th_rest"], "mV"), bs.param(CELL["V_th_max"], "mV")
    a, b, I_sp = bs.param(CELL["a"], "nS"), bs.param(CELL["b"], "pA"), bs.param(CELL["I_sp"], "pA")
    tau_w, tau_z, tau_T = (bs.param(CELL[k], "ms") for k in ("tau_w", "tau_z", "tau_V_th"))
    tau_plus, tau_minus = bs.param(CELL["tau_u_bar_plus"], "ms"), bs.param(CELL["tau_u_bar_minus"], "ms")
    t_clamp = bs.param(CELL["t_clamp"], "ms")
    late = bs.input("mV")
    refractory = bs.refractory("t_clamp", holds=("v", "w"))

    v, w, z = bs.state("E_L", "mV"), bs.state(0.0, "pA"), bs.state(0.0, "pA")
    V_T, pulse = bs.state("V_rest", "mV"), bs.state(0.0, "ms")
    up, um = bs.state("E_L", "mV"), bs.state("E_L", "mV")

    def dv(self, v, w, z, V_T, I):
        v = jnp.minimum(v, self.V_peak)
        upswing = self.g_L * self.D_T * jnp.exp((v - V_T) / self.D_T)
        return (-self.g_L * (v - self.E_L) + upswing - w + z + I) / self.C

    def dw(self, v, w):
        return (self.a * (jnp.minimum(v, self.V_peak) - self.E_L) - w) / self.tau_w

    def dz(self, z):
        return -z / self.tau_z

    def dV_T(self, V_T):
        return (self.V_rest - V_T) / self.tau_T

    def dpulse(self, pulse, dt):
        return -jnp.minimum(pulse / dt, 1.0)

    def dup(self, up, late):
        return (late - up) / self.tau_plus

    def dum(self, um, late):
        return (late - um) / self.tau_minus

    def spike(self, v):
        return v - self.V_peak

    def reset(self, w, dt):
        return dict(v=self.V_r, w=w + self.b, z=self.I_sp, V_T=self.V_max, pulse=self.t_clamp + dt)


class DuringStep(bs.Synapse):
    """The membrane of the step that ends now; a spike lasts t_clamp and the step in which it rises."""

    current_unit = "mV"
    peak = bs.const(CELL["V_clamp"], "mV")

    def output(self, v_pre, pulse_pre, dt):
        return dict(u=jnp.where(pulse_pre > dt / 2, self.peak, v_pre))

    def current(self, u):
        return u


class ClopathOfCell(Clopath):
    peak = bs.const(CELL["V_clamp"], "mV")

    def dw(self, x, v_post, pulse_post, up_post, dt):
        return Clopath.dw(self, x, jnp.where(pulse_post > 1.5 * dt, self.peak, v_post), up_post)


def final_weights(dt):
    """(protocols,) weights at the last presynaptic spike, where NEST updates them, with brainsim's own cells."""
    cases = list(NEST["clopath"].values())
    n, params = len(cases), NEST["clopath_params"]
    net = bs.Network(seed=0)
    pre, push = net.add("pre", SpikeSource(), n), net.add("push", SpikeSource(), n)
    cell = net.add("cell", ClopathCell(), n)
    late = CELL["delay_u_bars"] - dt  # what a coupling brings at the end of a step acts in the next one
    net.connect(cell, cell, DuringStep(), bs.one_to_one(), weight=1.0, delay=late, into="late", name="late")
    net.connect(push, cell, Delta(), bs.one_to_one(), weight=params["push_mV"], delay=dt, name="push->cell")
    learns = dict(plasticity=ClopathOfCell(), bounds=bs.hard(0.0, 100.0), delay_at="dendrite", ties="neither", name="s")
    net.connect(pre, cell, Delta(), bs.one_to_one(), weight=CLOPATH["weight"], delay=params["delay_ms"], **learns)
    inputs = {f"{k}.spikes": given([c[f"{k}_ms"] for c in cases]) for k in ("pre", "push")}
    duration = max(c["pre_ms"][-1] for c in cases) + 20.0
    made = net.compile(dt=dt, record=["s.w", "cell.spikes"], method="rk4").advance(duration, inputs=inputs)
    if dt == DT:
        for k, case in enumerate(cases):
            np.testing.assert_allclose(made["cell.spikes"].of(k), case["post_ms"], atol=1e-9)
    last = [round(c["pre_ms"][-1] / dt) - 1 for c in cases]
    return np.asarray(made["s.w"])[last, np.arange(n)]


@pytest.mark.slow
def test_clopath_protocols(x64):
    """Pairings at three rates in both orders: both converge in first order of dt, to the same weights.

    The step in which the upswing lies is the difference: NEST counts the voltage of the arrival as an entry of its own.
    """
    nest = {dt: np.array([c["weights"][str(dt)][-1] for c in NEST["clopath"].values()]) for dt in (DT, 0.02, 0.01)}
    ours = {dt: final_weights(dt) for dt in (DT, 0.02)}
    limits = [2 * nest[0.01] - nest[0.02], (5 * ours[0.02] - ours[DT]) / 4]
    moved = np.max(np.abs(limits[0] - CLOPATH["weight"]))
    assert np.max(np.abs(limits[1] - limits[0])) < 1e-3 * moved
    assert np.max(np.abs(ours[DT] - nest[DT])) < 0.1 * moved
