"""The membrane of gradients.py in Jaxley: prints one JSON line.

peer_jaxley_gradient.py DURATION REPEATS
"""

import json
import statistics
import sys
import time
from importlib.metadata import version

import jax
import jax.numpy as jnp
import jaxley as jx
import numpy as np
from jaxley.channels import HH


def main():
    duration, repeats = float(sys.argv[1]), int(sys.argv[2])
    dt = 0.025
    comp = jx.Compartment()
    comp.insert(HH())
    # 1 cm2 of membrane would need 10 mA: take its own area and the current that is 10 uA/cm2
    area = 2.0 * np.pi * float(comp.nodes["radius"].iloc[0]) * float(comp.nodes["length"].iloc[0]) * 1e-8
    comp.stimulate(jx.step_current(0.0, duration, 10.0 * area * 1e3, dt, duration))
    comp.record("v")
    for name in ("HH_gNa", "HH_gK", "HH_gLeak"):
        comp.make_trainable(name)
    for name, value in (("HH_eNa", 50.0), ("HH_eK", -77.0), ("HH_eLeak", -54.387), ("capacitance", 1.0), ("v", -65.0)):
        comp.set(name, value)
    comp.init_states()

    def voltage(g):
        params = [{"HH_gNa": g[0:1]}, {"HH_gK": g[1:2]}, {"HH_gLeak": g[2:3]}]
        return jx.integrate(comp, params=params, delta_t=dt)[0]

    loss = lambda g: jnp.mean(voltage(g) ** 2)
    g = jnp.array([0.12, 0.036, 0.0003])
    forward, both = jax.jit(loss), jax.jit(jax.value_and_grad(loss))
    memory = both.lower(g).compile().memory_analysis().temp_size_in_bytes

    def timed(f):
        jax.block_until_ready(f(g))
        took = []
        for _ in range(repeats):
            begun = time.process_time()
            jax.block_until_ready(f(g))
            took.append(time.process_time() - begun)
        return statistics.median(took)

    v = np.asarray(jax.jit(voltage)(g))
    spikes = int(np.sum((v[1:] > 0) & (v[:-1] <= 0)))
    print(
        json.dumps(
            dict(forward=timed(forward), both=timed(both), memory=memory, spikes=spikes, version=version("jaxley"))
        )
    )


if __name__ == "__main__":
    main()
