"""Run the tasks of `eprop_tasks.py` in NEST (3.10) and keep the loss of every iteration and the weights after the last.

python tests/reference/eprop_nest.py        # writes eprop_nest.json; needs nest-simulator
"""

import json
from pathlib import Path

import eprop_tasks
import nest
import numpy as np

DELAYS = 3  # steps: generator to input cell and on, to the readout, its normalisation
FIRST = 1 + DELAYS  # first step of a sequence in the readout


def cells(model, n, adaptive=False):
    return nest.Create("eprop_iaf_adapt_bsshslm_2020" if adaptive else "eprop_iaf_bsshslm_2020", n, model)


def recurrent(task, threshold, tau, t_ref, arrival):
    return {
        "C_m": 1.0, "E_L": 0.0, "I_e": 0.0, "V_m": 0.0, "V_th": threshold, "tau_m": tau, "t_ref": t_ref,
        "c_reg": 300.0, "f_target": 10.0, "regular_spike_arrival": arrival,
        "flush_event_send_interval": float(task.steps),
        "surrogate_gradient_function": "piecewise_linear",
        "surrogate_gradient_height": 0.3 / threshold, "surrogate_gradient_width": threshold,
    }  # fmt: skip


def run(task, make_cells, tau_out, loss, optimizer, average):
    """Simulate all iterations; (readout signal (n_iter, steps, n_out), its cells and connections)."""
    n_iter, steps, n_in = task.spikes.shape
    nest.ResetKernel()
    nest.set(
        resolution=1.0, total_num_virtual_procs=1, eprop_learning_window=float(task.window),
        eprop_update_interval=float(steps), eprop_reset_neurons_on_update=True,
    )  # fmt: skip
    n_out = len(task.w_out)
    generators, inputs = nest.Create("spike_generator", n_in), nest.Create("parrot_neuron", n_in)
    rec = make_cells(task)
    readout = {"C_m": 1.0, "E_L": 0.0, "I_e": 0.0, "V_m": 0.0, "tau_m": tau_out, "loss": loss}
    out = nest.Create("eprop_readout_bsshslm_2020", n_out, {**readout, "regular_spike_arrival": False})
    rates = nest.Create("step_rate_generator", n_out)
    meter = nest.Create(
        "multimeter",
        params={"interval": 1.0, "record_from": ["readout_signal"], "start": FIRST, "stop": FIRST + n_iter * steps},
    )
    nest.SetDefaults("eprop_synapse_bsshslm_2020", {"optimizer": optimizer, "average_gradient": average})
    synapse = {"synapse_model": "eprop_synapse_bsshslm_2020", "delay": 1.0, "tau_m_readout": tau_out}
    static, all_to_all = (
        {"synapse_model": "static_synapse", "delay": 1.0},
        {"rule": "all_to_all", "allow_autapses": False},
    )
    nest.Connect(generators, inputs, "one_to_one", static)
    nest.Connect(inputs, rec, all_to_all, {**synapse, "weight": task.w_in})
    nest.Connect(rec, rec, all_to_all, {**synapse, "weight": task.w_rec})
    nest.Connect(rec, out, all_to_all, {**synapse, "weight": task.w_out})
    back = {"synapse_model": "eprop_learning_signal_connection_bsshslm_2020", "delay": 1.0, "weight": task.feedback}
    nest.Connect(out, rec, all_to_all, back)
    rate = {"synapse_model": "rate_connection_delayed", "delay": 1.0}
    nest.Connect(rates, out, "one_to_one", {**rate, "receptor_type": 2})
    if loss == "cross_entropy":
        nest.Connect(out, out, all_to_all, {**rate, "receptor_type": 1, "weight": 1.0})
    nest.Connect(meter, out, "all_to_all", static)
    times = np.arange(n_iter * steps) + 1.0
    flat, goal = task.spikes.reshape(-1, n_in), task.target.reshape(-1, n_out)
    generators.set([{"spike_times": times[flat[:, i]]} for i in range(n_in)])
    rates.set([{"amplitude_times": times + DELAYS, "amplitude_values": goal[:, k]} for k in range(n_out)])
    nest.Simulate(n_iter * steps + FIRST + 1.0)
    events = meter.get("events")
    signal = np.array([events["readout_signal"][events["senders"] == i] for i in out.tolist()])
    return np.moveaxis(signal.reshape(n_out, n_iter, steps), 0, -1)


def losses(task, signal, entropy):
    signal, target = signal[:, -task.window :], task.target[:, -task.window :]
    if entropy:
        return -np.mean(np.sum(target * np.log(signal), axis=-1), axis=1)
    return 0.5 * np.sum((signal - target) ** 2, axis=(1, 2))


def main():
    task = eprop_tasks.regression()
    make = lambda task: cells(recurrent(task, 0.03, 30.0, 0.0, False), 100)
    descent = {"type": "gradient_descent", "batch_size": 1, "eta": 1e-4, "Wmin": -100.0, "Wmax": 100.0}
    signal = run(task, make, 30.0, "mean_squared_error", descent, False)
    made = {"regression": losses(task, signal, False).tolist()}

    task = eprop_tasks.accumulation()
    plain = recurrent(task, 0.6, 20.0, 5.0, True)
    beta = 1.7 * (1 - np.exp(-1 / 2000.0)) / (1 - np.exp(-1 / 20.0))
    adaptive = {**plain, "adapt_tau": 2000.0, "adaptation": 0.0, "adapt_beta": beta}
    make = lambda task: cells(plain, 50) + cells(adaptive, 50, True)
    adam = {"type": "adam", "batch_size": 1, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8, "eta": 5e-3}
    signal = run(task, make, 20.0, "cross_entropy", {**adam, "Wmin": -100.0, "Wmax": 100.0}, True)
    made["accumulation"] = losses(task, signal, True).tolist()
    Path(__file__).with_name("eprop_nest.json").write_text(json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    main()
