"""What a gradient through time costs: 1000 recurrent cells beside snnTorch, a Hodgkin-Huxley cell beside Jaxley.

    python tests/bench/gradients.py recurrent [--steps 250,500,1000,2000] [--cells 1000] [--only brainsim,snntorch]
    python tests/bench/gradients.py membrane [--duration 100] [--only brainsim,jaxley]
    python tests/bench/gradients.py checkpoints
    python tests/bench/gradients.py delays

recurrent  leaky cells, all-to-all weights, currents as input, mean square of the spikes as the loss; the gradient by
           all weights. Same equations (v <- a (v + W s) + I, reset by subtraction), same weights and input:
           the numbers of spikes are compared (2 % apart: ours also fire where the jump alone crosses). The arctan
           surrogate of snnTorch on both sides.
membrane   one compartment with the sodium, potassium and leak currents of Hodgkin and Huxley, 0.025 ms, mean square of
           the voltage as the loss, the gradient by three conductances (Jaxley: its HH channel, implicit solver).
checkpoints  memory and time of a gradient by what the backward pass keeps (docs/adjoints.md)
delays     a step with learnable delays beside one with fixed ones (docs/learnable_delays.md)

Prints CPU seconds of the loss alone and of loss and gradient (median of the repeats after compilation), their ratio,
and the memory of the gradient: what XLA allocates for temporaries, for snnTorch the growth of the resident set. One
core.
"""

import argparse
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np
import workers

import brainsim as bs
from brainsim.models import LIF, Delta, ExpCurrent, HodgkinHuxley, PoissonSource

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


def checkpoints(repeats):
    """MB of temporaries and CPU seconds of a gradient through 100 recurrent cells, by steps and checkpoints."""
    net = bs.Network(seed=1)
    net.add("c", LIF(tau=10.0, v_rest=-60.0, v_th=-50.0, v_reset=-60.0), 100)
    net.connect("c", "c", ExpCurrent(), bs.fixed_probability(0.1), weight=bs.normal(0.0, 1.0), delay=1.0)
    sim = net.compile(dt=0.1, record=[bs.mean("c.v")])
    names = ("c->c.weight", "c.tau")
    for steps in (1000, 4000, 16000):
        for checkpoint in (None, "auto", "nested"):
            how = {"inputs": {"c.I": 12.0}, "adjoint": bs.BPTT(checkpoint)}
            loss = lambda p, how=how, n=steps: jnp.mean(sim.run(n * sim.dt, params=p, **how)["c.v"])
            found = measured(loss, ({k: sim.params[k] for k in names},), repeats)
            print(
                f"{steps:6d} steps, checkpoint {checkpoint!s:7s} {found['memory'] / 1e6:7.2f} MB  {found['both']:.3f} s",
                flush=True,
            )


def delays(repeats):
    """Microseconds of CPU time per step: 200 Poisson sources onto 200 cells, all to all, delays of 0 to 24 ms."""
    at = bs.uniform(0.0, 24.0)
    kinds = {
        "ordinary": at,
        "linear": bs.learnable_delay(at, 24.0, kernel="linear"),
        "gaussian": bs.learnable_delay(at, 24.0, width=6.0),
    }
    for name, delay in kinds.items():
        net = bs.Network(seed=1)
        net.add("a", PoissonSource(rate=20.0), 200)
        net.add("b", LIF(), 200)
        how = dict(weight=bs.normal(0.5, 0.1), delay=delay, name="p")
        net.connect("a", "b", ExpCurrent(), bs.all_to_all(), **how)
        sim = net.compile(dt=1.0, record=["b.spikes"], surrogate=bs.Surrogate("triangular", 0.02))
        host = timed(lambda sim=sim: sim.run(2000.0), repeats) / 2000
        free = {k: sim.params[k] for k in ("p.weight", "p.delay", "p.delay_width") if k in sim.params}
        found = measured(lambda p, sim=sim: jnp.sum(sim.run(200.0, params=p).spikes["b"]), (free,), repeats)
        print(
            f"{name:9s} host {1e6 * host:.1f}  traced {5e3 * found['forward']:.1f}  gradient {5e3 * found['both']:.0f} us",
            flush=True,
        )


def show(name, found):
    if "error" in found:
        print(f"  {name:10s} {found['error']}", flush=True)
        return
    print(
        f"  {name:10s} {found['spikes']:8d} spikes   loss {found['forward']:.3f} s   with gradient "
        f"{found['both']:.3f} s "
        f"({found['both'] / found['forward']:.1f} times)   {found['memory'] / 1e6:.0f} MB",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("recurrent", "membrane", "checkpoints", "delays"))
    parser.add_argument("--cells", type=int, default=1000)
    parser.add_argument("--steps", default="250,500,1000,2000")
    parser.add_argument("--duration", type=float, default=100.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", default="brainsim,snntorch,jaxley")
    args = parser.parse_args()
    workers.hold(1)
    workers.headline(f"gradients, jax {jax.__version__}", 1)
    only = args.only.split(",")
    if args.what in ("checkpoints", "delays"):
        {"checkpoints": checkpoints, "delays": delays}[args.what](args.repeats)
        return
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
