"""Cost of a gradient: COBA with 4000 cells, value and gradient by all weights of a loss on the mean rate.

    python tests/bench/training.py                       # 1000 steps, one core
    python tests/bench/training.py --steps 300 --json out/training.json

Compared with the forward run of the same network, recorded spikes included, and with the forward run in floats that the
gradient starts from. The triangular surrogate has a derivative only within `width` of threshold; the table shows how the
cost of the backward pass follows the fraction of cells there. The network is chaotic: over hundreds of steps its
gradient overflows, which changes nothing in what is measured here, the cost. CPU time, minimum of repeats; compiling is
not in the times.
"""

import time

import jax
import jax.numpy as jnp
import numpy as np
import workers

import brainsim as bs
from brainsim.models.circuits.balanced import coba

SURROGATES = (("triangular", 0.05), ("triangular", 0.25), ("triangular", 1.0), ("triangular", 4.0), ("sigmoid", 1.0))
WEIGHTS = ("exc->exc.weight", "inh->exc.weight", "exc->inh.weight", "inh->inh.weight")


def fastest(function, repeats):
    """Least CPU seconds of a call; the first one compiles."""
    function()
    spent = []
    for _ in range(repeats):
        begun = time.process_time()
        jax.block_until_ready(function())
        spent.append(time.process_time() - begun)
    return min(spent)


def active_fraction(sim, state, width):
    """Fraction of cells within `width` mV of threshold, over 100 steps."""
    v = sim.run(10.0, state=state)
    traces = np.concatenate([v[f"{name}.v"] for name in ("exc", "inh")], axis=1)
    return float(np.mean(np.abs(traces + 50.0) < width))


def gradient(net, surrogate, state, steps, repeats):
    """Microseconds per step of the float forward run and of value and gradient, and MB of temporary memory."""
    sim = net.compile(dt=0.1, record=["exc.spikes"], surrogate=surrogate)
    weights = {name: sim.params[name] for name in WEIGHTS}

    def loss(weights):
        spikes = sim.run(steps * 0.1, params={**sim.params, **weights}, state=state).spikes["exc"]
        return (jnp.mean(spikes) * 1e4 - 10.0) ** 2

    forward, both = jax.jit(loss), jax.jit(jax.value_and_grad(loss))
    memory = both.lower(weights).compile().memory_analysis().temp_size_in_bytes / 1e6
    times = [fastest(lambda f=f: f(weights), repeats) / steps * 1e6 for f in (forward, both)]
    return *times, memory


def main():
    parser = workers.parser(__doc__)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    workers.hold(1)
    workers.headline(f"gradient of COBA 4000 over {options.steps} steps", 1)
    net = coba(4000)
    sim = net.compile(dt=0.1, record=["*.spikes"])
    state = sim.advance(200.0).state
    native = fastest(lambda: sim.advance(options.steps * 0.1).state, options.repeats) / options.steps * 1e6
    watch = net.compile(dt=0.1, record=["exc.v", "inh.v"])
    print(f"native forward run: {native:.2f} us per step")
    print(f"{'surrogate':>20} {'active':>8} {'float forward':>14} {'gradient':>9} {'native runs':>12} {'MB':>6}")
    rows = []
    for name, width in SURROGATES:
        active = active_fraction(watch, state, width) if name == "triangular" else 1.0
        forward, both, memory = gradient(net, bs.Surrogate(name, width), state, options.steps, options.repeats)
        rows.append(dict(surrogate=name, width=width, active=active, forward=forward, gradient=both, mb=memory))
        print(
            f"{name:>12} {width:4.2f} mV {active:8.2%} {forward:14.2f} {both:9.1f} {both / native:12.1f} {memory:6.0f}"
        )
    workers.write_json(options.json, dict(machine=workers.machine(1), native_us=native, rows=rows))


if __name__ == "__main__":
    main()
