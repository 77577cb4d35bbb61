"""The network of regions in tvboptim, Heun with nearest-step delays (held over a step): prints one JSON line."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import time

import jax
import numpy as np


def network(args, data):
    import jax.numpy as jnp
    import tvboptim.experimental.network_dynamics as nd
    from tvboptim.experimental.network_dynamics.coupling import DelayedLinearCoupling, DelayedSigmoidalJansenRit
    from tvboptim.experimental.network_dynamics.dynamics.tvb import JansenRit, ReducedWongWang, WilsonCowan
    from tvboptim.experimental.network_dynamics.result import NativeSolution

    how = dict(buffer_strategy=args.buffer)
    if args.node == "wilson_cowan":
        own = dict(
            c_ee=16.0, c_ei=12.0, c_ie=15.0, c_ii=3.0, tau_e=2.5, tau_i=3.75, a_e=1.5, a_i=1.5, b_e=3.0, b_i=3.0, P=args.P,
            shift_sigmoid=0.0,
        )  # fmt: skip
        dynamics, coupling = WilsonCowan(**own), DelayedLinearCoupling(incoming_states="E", G=args.G, **how)
    elif args.node == "wong_wang":
        dynamics, coupling = ReducedWongWang(), DelayedLinearCoupling(incoming_states="S", G=args.G, **how)
    else:
        dynamics = JansenRit(v0=6.0)
        coupling = DelayedSigmoidalJansenRit(incoming_states=("y1", "y2"), G=args.G, **how)
    rows = int(data["steps"].max()) + 1
    past = NativeSolution(  # before the start: what holds at the start
        ts=jnp.arange(-rows, 1) * args.dt,
        ys=jnp.broadcast_to(jnp.asarray(data["start"]), (rows + 1, *data["start"].shape)),
        dt=args.dt,
        variable_names=dynamics.STATE_NAMES,
    )
    graph = nd.DenseDelayGraph(data["weights"], data["steps"] * args.dt)
    return nd.Network(dynamics=dynamics, coupling={"delayed": coupling}, graph=graph, history=past)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--node", choices=("wilson_cowan", "wong_wang", "jansen_rit"), default="wilson_cowan")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--check", type=float, default=200.0)
    parser.add_argument("--network", required=True)
    parser.add_argument("--trace", required=True)
    parser.add_argument("--x64", action="store_true")
    parser.add_argument("--buffer", choices=("roll", "circular", "preallocated"), default="circular")
    parser.add_argument("--G", type=float, required=True)
    parser.add_argument("--P", type=float, default=0.0)
    args = parser.parse_args()
    args.dt = 0.1
    jax.config.update("jax_enable_x64", args.x64)
    from tvboptim.experimental.network_dynamics import prepare
    from tvboptim.experimental.network_dynamics.solvers import Heun

    data = np.load(args.network)
    net, column = network(args, data), 1 if args.node == "jansen_rit" else 0

    def runner(ms):
        solve, config = prepare(net, Heun(), t0=0.0, t1=ms, dt=args.dt)
        solve = jax.jit(solve)
        return lambda: np.asarray(solve(config).ys)

    np.save(args.trace, runner(args.check)()[:, column])
    run, times, cpu = runner(args.seconds * 1000.0), [], []
    for repeat in range(args.repeats + 1):
        start, start_cpu = time.perf_counter(), time.process_time()
        run()
        if repeat:
            times.append((time.perf_counter() - start) / args.seconds)
            cpu.append((time.process_time() - start_cpu) / args.seconds)
    print(
        json.dumps(
            dict(
                simulator=f"tvboptim ({args.buffer})",
                version=importlib.metadata.version("tvboptim"),
                jax=jax.__version__,
                s_per_s=times,
                cpu_s_per_s=cpu,
                dtype="float64" if args.x64 else "float32",
            )
        )
    )


if __name__ == "__main__":
    main()
