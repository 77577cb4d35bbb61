"""Plastic synapses of NEST under fixed spike trains: the weight that every presynaptic spike delivers."""

import nest
import numpy as np
from plasticity_trains import DELAYS, DT, N_POST, N_PRE, STEPS, dopamine, trains

PAIR = dict(tau_plus=17.0, tau_minus=23.0, **{"lambda": 0.02}, alpha=1.1, Wmax=2.0, weight=1.0)
CASES = {
    "stdp_additive": ("stdp_synapse", PAIR | dict(mu_plus=0.0, mu_minus=0.0)),
    "stdp_additive_clipped": ("stdp_synapse", PAIR | dict(mu_plus=0.0, mu_minus=0.0, Wmax=1.1, **{"lambda": 0.15})),
    "stdp_multiplicative": ("stdp_synapse", PAIR | dict(mu_plus=1.0, mu_minus=1.0, **{"lambda": 0.1})),
    "stdp_power": ("stdp_synapse", PAIR | dict(mu_plus=0.4, mu_minus=0.4, **{"lambda": 0.05})),
    "nn_symm": ("stdp_nn_symm_synapse", PAIR | dict(mu_plus=0.4, mu_minus=0.4, **{"lambda": 0.05})),
    "nn_pre_centered": ("stdp_nn_pre_centered_synapse", PAIR | dict(mu_plus=0.4, mu_minus=0.4, **{"lambda": 0.05})),
    "nn_restr": ("stdp_nn_restr_synapse", PAIR | dict(mu_plus=0.4, mu_minus=0.4, **{"lambda": 0.05})),
    "triplet": (
        "stdp_triplet_synapse",
        dict(
            tau_plus=16.8,
            tau_plus_triplet=101.0,
            tau_minus=33.7,
            tau_minus_triplet=125.0,
            Aplus=5e-3,
            Aminus=7e-3,
            Aplus_triplet=6.2e-3,
            Aminus_triplet=2.3e-3,
            Wmax=2.0,
            weight=1.0,
        ),
    ),
    "vogels": (
        "vogels_sprekeler_synapse",
        dict(tau=20.0, tau_minus=20.0, alpha=0.35, eta=0.01, Wmax=1.1, weight=1.0),
    ),
}
DOPAMINE = dict(
    tau_plus=17.0,
    tau_minus=23.0,
    A_plus=0.9,
    A_minus=0.6,
    tau_c=300.0,
    tau_n=120.0,
    b=0.006,
    Wmin=0.0,
    Wmax=200.0,
    weight=50.0,
)
SHORT_TERM = {
    "tsodyks2": ("tsodyks2_synapse", dict(U=0.25, tau_rec=300.0, tau_fac=150.0, weight=1.0, u=0.25, x=1.0)),
    "tsodyks2_depressing": ("tsodyks2_synapse", dict(U=0.5, tau_rec=200.0, tau_fac=0.0, weight=1.0, u=0.5, x=1.0)),
    "tsodyks": ("tsodyks_synapse", dict(U=0.25, tau_psc=3.0, tau_rec=300.0, tau_fac=150.0, weight=1.0)),
    "tsodyks_depressing": ("tsodyks_synapse", dict(U=0.5, tau_psc=3.0, tau_rec=200.0, tau_fac=0.0, weight=1.0)),
}
CELL = ("tau_minus", "tau_minus_triplet")  # belong to the target in NEST


def reset(dt=DT):
    nest.ResetKernel()
    nest.verbosity = nest.VerbosityLevel.ERROR
    nest.set(resolution=dt, local_num_threads=1)


def cells(stamps, dt=DT, **params):
    """Parrots that fire at the given stamps (steps of dt)."""
    made = nest.Create("parrot_neuron", len(stamps), params=params)
    for cell, train in zip(made, stamps, strict=True):
        times = np.round((np.array(train) - 1) * dt, 6)
        source = nest.Create("spike_generator", params=dict(spike_times=times))
        nest.Connect(source, cell, syn_spec=dict(delay=dt))
    return made


def recorded(model, params, **common):
    """Stamps (steps) and weights of every edge: {"i-j": [weights at the stamps of source i]}."""
    pre_trains, post_trains = trains()
    pre = cells(pre_trains)
    post = cells(post_trains, **{k: v for k, v in params.items() if k in CELL})
    recorder = nest.Create("weight_recorder")
    edge = {k: v for k, v in params.items() if k not in CELL}
    nest.CopyModel(model, "recorded", edge | common | dict(weight_recorder=recorder))
    for i in range(N_PRE):
        for j in range(N_POST):
            spec = dict(synapse_model="recorded", delay=round(DELAYS[i][j] * DT, 1), receptor_type=1)
            nest.Connect(pre[i], post[j], syn_spec=spec)
    spikes = nest.Create("spike_recorder")
    nest.Connect(pre + post, spikes)
    nest.Simulate(STEPS * DT)
    check(spikes, [*pre.tolist(), *post.tolist()], [*pre_trains, *post_trains])
    events, out = recorder.events, {}
    for i in range(N_PRE):
        for j in range(N_POST):
            mine = (events["senders"] == pre[i].global_id) & (events["targets"] == post[j].global_id)
            stamps = np.rint(events["times"][mine] / DT).astype(int)
            order = np.argsort(stamps)
            assert list(stamps[order]) == pre_trains[i], "one weight per presynaptic spike"
            out[f"{i}-{j}"] = [float(w) for w in events["weights"][mine][order]]
    return out


def check(recorder, ids, expected):
    """The cells fired at the stamps they were given."""
    events = recorder.events
    for cell, train in zip(ids, expected):
        stamps = sorted(np.rint(events["times"][events["senders"] == cell] / DT).astype(int))
        assert stamps == train, cell


def dopamine_weights(deliver_interval):
    """Dopamine reaches the volume transmitter one step after its stamp."""
    reset()
    modulator = cells([dopamine()])
    transmitter = nest.Create("volume_transmitter", params=dict(deliver_interval=deliver_interval))
    nest.Connect(modulator, transmitter, syn_spec=dict(delay=DT))
    return recorded("stdp_dopamine_synapse", DOPAMINE, volume_transmitter=transmitter)


# ---------------------------------------------------------------- Clopath
def protocols():
    """Six pairings of five spikes, (pre, push of the target) in ms: 10, 20 and 40 Hz, 10 ms apart in both orders."""
    made = {}
    for lag, sign in ((10.0, "pre_post"), (-10.0, "post_pre")):
        for rate in (10.0, 20.0, 40.0):
            pre = np.round(20.0 + np.arange(5) * 1000.0 / rate, 1)
            made[f"{sign}_{rate:g}_Hz"] = [float(t) for t in pre], [float(t) for t in np.round(pre + lag, 1)]
    return made


CLOPATH_CELL = dict(
    V_m=-70.6,
    E_L=-70.6,
    V_peak=33.0,
    C_m=281.0,
    g_L=30.0,
    Delta_T=2.0,
    tau_w=144.0,
    tau_z=40.0,
    tau_V_th=50.0,
    V_th_max=30.4,
    V_th_rest=-50.4,
    tau_u_bar_plus=7.0,
    tau_u_bar_minus=10.0,
    tau_u_bar_bar=500.0,
    theta_minus=-70.6,
    theta_plus=-45.3,
    A_LTD=14.0e-5,
    A_LTP=8.0e-5,
    A_LTD_const=True,
    delay_u_bars=4.0,
    a=4.0,
    b=0.0805,
    I_sp=400.0,
    V_reset=-49.6,
    V_clamp=33.0,
    t_clamp=2.0,
    t_ref=0.0,
    gsl_error_tol=1e-6,
)
CLOPATH = dict(weight=0.5, tau_x=15.0, Wmin=0.0, Wmax=100.0)
PUSH_MV, CLOPATH_DELAY, CLOPATH_STEPS = 80.0, DT, (DT, 0.02, 0.01)


def clopath(pre_ms, push_ms, dt):
    """(stamps of the target, weights at the presynaptic spikes, traces) of one protocol.

    The plastic synapse itself moves the voltage by its weight (mV), as every delta synapse.
    """
    reset(dt)
    pre = cells([[round(t / dt) for t in pre_ms]], dt)
    cell = nest.Create("aeif_psc_delta_clopath", params=CLOPATH_CELL)
    push = nest.Create("spike_generator", params=dict(spike_times=push_ms))
    nest.Connect(push, cell, syn_spec=dict(delay=dt, weight=PUSH_MV))
    recorder, spikes = nest.Create("weight_recorder"), nest.Create("spike_recorder")
    nest.CopyModel("clopath_synapse", "recorded", CLOPATH | dict(weight_recorder=recorder))
    nest.Connect(pre, cell, syn_spec=dict(synapse_model="recorded", delay=CLOPATH_DELAY))
    nest.Connect(cell, spikes)
    fields = ["V_m", "u_bar_plus", "u_bar_minus"]
    meter = nest.Create("multimeter", params=dict(record_from=fields, interval=dt))
    nest.Connect(meter, cell)
    nest.Simulate(max(pre_ms[-1], push_ms[-1]) + 10.0)
    order = np.argsort(recorder.events["times"])
    weights = [float(w) for w in recorder.events["weights"][order]]
    stamps = [round(float(t), 6) for t in spikes.events["times"]]
    assert len(weights) == len(stamps) == 5, "every push fires the cell once"
    return stamps, weights, {k: [float(x) for x in meter.events[k]] for k in fields}


def clopath_cases():
    made = {}
    for name, (pre_ms, push_ms) in protocols().items():
        runs = {dt: clopath(pre_ms, push_ms, dt) for dt in CLOPATH_STEPS}
        made[name] = dict(pre_ms=pre_ms, push_ms=push_ms, post_ms=runs[DT][0])
        made[name]["weights"] = {str(dt): run[1] for dt, run in runs.items()}
        if name == "post_pre_40_Hz":
            made[name]["traces"] = runs[DT][2]
    return made


def main():
    out = dict(stdp={}, short_term={})
    for name, (model, params) in CASES.items():
        reset()
        out["stdp"][name] = dict(model=model, params=params, weights=recorded(model, params))
    for name, (model, params) in SHORT_TERM.items():
        reset()
        out["short_term"][name] = dict(model=model, params=params, weights=recorded(model, params))
    every = {str(k): dopamine_weights(k) for k in (1, 1000)}
    out["dopamine"] = dict(model="stdp_dopamine_synapse", params=DOPAMINE, weights=every)
    out["clopath"] = clopath_cases()
    out["clopath_params"] = dict(
        synapse=CLOPATH, cell=CLOPATH_CELL, push_mV=PUSH_MV, push_after="one step", delay_ms=CLOPATH_DELAY
    )
    return out
