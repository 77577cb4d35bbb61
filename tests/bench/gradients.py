"""What a gradient through time costs: 1000 recurrent cells beside snnTorch, a Hodgkin-Huxley cell beside Jaxley.

    python tests/bench/gradients.py recurrent [--steps 250,500,1000,2000] [--cells 1000] [--only brainsim,snntorch]
    python tests/bench/gradients.py membrane [--duration 100] [--only brainsim,jaxley]

recurrent  leaky cells, all-to-all weights, currents as input, mean square of the spikes as the loss; the gradient by all
           weights. Same equations (v <- a (v + W s) + I, reset by subtraction), same weights and input:
           the numbers of spikes are compared (2 % apart: ours also fire where the jump alone crosses). The arctan surrogate of snnTorch on both sides.
membrane   one compartment with the sodium, potassium and leak currents of Hodgkin and Huxley, 0.025 ms, mean square of
           the voltage as the loss, the gradient by three conductances (Jaxley: its HH channel, implicit solver).

Prints CPU seconds of the loss alone and of loss and gradient (median of the repeats after compilation), their ratio, and the
memory of the gradient: what XLA allocates for temporaries, for snnTorch the growth of the resident set. One core.
"""

import argparse
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np
import workers

import brainsim as bs
from brainsim.models import Delta, HodgkinHuxley

DECAY, GAIN = 0.9, 0.35


def arrays(cells, steps):
    """Weights (pre, post) and input currents (steps, cells)."""
    rng = np.random.default_rng(0)
    return rng.normal(0.0, GAIN / np.sqrt(cells), (cells, cells)), rng.uniform(0.0, 0.25, (steps, cells))


class Discrete(bs.Neuron):
    """v <- a v + input with reset by subtraction, in one step of 1 ms by the Euler method."""

    decay = bs.param(DECAY)
    v_th = bs.param(1.0, "mV")
    v = bs.state(0.0, "mV")
    drive = bs.input("mV")

    def dv(self, v, drive, dt):
        return ((self.decay - 1.0) * v + drive) / dt

    def spike(self, v):
        return v - self.v_th

    def reset(self, v):
        return dict(v=v - self.v_th)


def timed(f, repeats):
    f()
    took = []
    for _ in range(repeats):
        begun = time.process_time()
        f()
        took.append(time.process_time() - begun)
    return statistics.median(took)


def measured(loss, args, repeats):
    forward, both = jax.jit(loss), jax.jit(jax.value_and_grad(loss))
    memory = both.lower(*args).compile().memory_analysis().temp_size_in_bytes
    run = lambda f: timed(lambda: jax.block_until_ready(f(*args)), repeats)
    return dict(forward=run(forward), both=run(both), memory=memory)


def recurrent(cells, steps, repeats):
    w, currents = arrays(cells, steps)
    net = bs.Network(seed=0)
    net.add("c", Discrete(), cells)
    net.connect("c", "c", Delta(), bs.from_matrix(w), delay=0.0)
    sim = net.compile(dt=1.0, record=["c.spikes"], method="euler", surrogate=bs.Surrogate("arctan", 1.0 / np.pi))
    name = next(k for k in sim.params if k.endswith("weight"))
    drive = {"c.drive": bs.array(currents)}
    spikes = lambda w: sim.run(float(steps), params={name: w}, inputs=drive).spikes["c"]
    found = measured(lambda w: jnp.mean(spikes(w) ** 2), (sim.params[name],), repeats)
    return found | dict(spikes=int(jax.jit(spikes)(sim.params[name]).sum()))


def membrane(duration, repeats):
    net = bs.Network()
    net.add("hh", HodgkinHuxley(C=1.0, g_Na=120.0, g_K=36.0, g_L=0.3), 1)
    sim = net.compile(dt=0.025, record=["hh.v"])
    names = ("hh.g_Na", "hh.g_K", "hh.g_L")
    run = lambda g: sim.run(duration, params=dict(zip(names, g, strict=True)), inputs={"hh.I": 10.0})["hh.v"]
    start = jnp.array([120.0, 36.0, 0.3])
    found = measured(lambda g: jnp.mean(run(g) ** 2), (start,), repeats)
    v = np.asarray(jax.jit(run)(start))[:, 0]
    return found | dict(spikes=int(np.sum((v[1:] > 0) & (v[:-1] <= 0))))


def show(name, found):
    if "error" in found:
        print(f"  {name:10s} {found['error']}", flush=True)
        return
    print(
        f"  {name:10s} {found['spikes']:8d} spikes   loss {found['forward']:.3f} s   with gradient {found['both']:.3f} s "
        f"({found['both'] / found['forward']:.1f} times)   {found['memory'] / 1e6:.0f} MB",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("recurrent", "membrane"))
    parser.add_argument("--cells", type=int, default=1000)
    parser.add_argument("--steps", default="250,500,1000,2000")
    parser.add_argument("--duration", type=float, default=100.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", default="brainsim,snntorch,jaxley")
    args = parser.parse_args()
    workers.hold(1)
    workers.headline(f"gradients, jax {jax.__version__}", 1)
    only = args.only.split(",")
    if args.what == "membrane":
        if "brainsim" in only:
            show("brainsim", membrane(args.duration, args.repeats))
        if "jaxley" in only:
            show("Jaxley", workers.worker("jaxley", "peer_jaxley_gradient.py", [args.duration, args.repeats]))
        return
    for steps in map(int, args.steps.split(",")):
        print(f"{args.cells} cells, {steps} steps")
        if "brainsim" in only:
            show("brainsim", recurrent(args.cells, steps, args.repeats))
        if "snntorch" in only:
            show("snnTorch", workers.worker("snntorch", "peer_snntorch_gradient.py", [args.cells, steps, args.repeats]))


if __name__ == "__main__":
    main()
