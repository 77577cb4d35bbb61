"""COBA in BrainPy, one compiled loop: prints one JSON line.

--api classic   brainpy.dyn with an event-driven CSR matrix (`--comm csr`) or just-in-time connectivity (`--comm jit`)
--api state     the README network of brainpy.state with its weights times 1000: as published it is uncoupled, since
                0.6 mS x 60 mV on 1 ohm is 0.036 mV
Each repeat goes on where the last one stopped: restarting at t = 0 leaves every cell refractory and silences the
network.
The first run compiles and is not timed; timed runs end when the spikes are in memory.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import time

import jax
import numpy as np

TAU_M, TAU_E, TAU_I, REFRACTORY = 20.0, 5.0, 10.0, 5.0


def classic(args):
    import brainpy as bp
    import brainpy.math as bm

    bm.set_dt(0.1)
    bm.random.seed(1)
    n, n_exc, p = args.cells, args.cells * 4 // 5, 80.0 / args.cells

    def coupling(size, weight):
        if args.comm == "jit":
            return bp.dnn.EventJitFPHomoLinear(size, n, prob=p, weight=weight)
        return bp.dnn.EventCSRLinear(bp.conn.FixedProb(p, pre=size, post=n, seed=size), weight)

    class Balanced(bp.DynSysGroup):
        def __init__(self):
            super().__init__()
            self.cells = bp.dyn.LifRef(
                n,
                V_rest=-60.0,
                V_th=-50.0,
                V_reset=-60.0,
                tau=TAU_M,
                tau_ref=REFRACTORY,
                V_initializer=bp.init.Normal(-55.0, 2.0),
            )
            self.exc = bp.dyn.HalfProjAlignPost(
                comm=coupling(n_exc, 0.6),
                syn=bp.dyn.Expon(n, tau=TAU_E),
                out=bp.dyn.COBA(E=0.0),
                post=self.cells,
            )
            self.inh = bp.dyn.HalfProjAlignPost(
                comm=coupling(n - n_exc, 6.7),
                syn=bp.dyn.Expon(n, tau=TAU_I),
                out=bp.dyn.COBA(E=-80.0),
                post=self.cells,
            )

        def update(self, drive):
            spikes = self.cells.spike.value
            self.exc(spikes[:n_exc])
            self.inh(spikes[n_exc:])
            self.cells(drive)
            return self.cells.spike.value

    net = Balanced()

    @bm.jit
    def run(indices):
        return bm.for_loop(lambda i: net.step_run(i, 20.0), indices)

    return lambda first, steps: run(bm.arange(first, first + steps)), f"BrainPy classic ({args.comm})"


def state(args):
    import brainpy
    import brainstate
    import braintools
    import brainunit as u

    n, n_exc = args.cells, args.cells * 4 // 5
    brainstate.random.seed(1)
    brainstate.environ.set(dt=0.1 * u.ms)

    class Balanced(brainstate.nn.Module):
        def __init__(self):
            super().__init__()
            self.cells = brainpy.state.LIFRef(
                n,
                V_rest=-60 * u.mV,
                V_th=-50 * u.mV,
                V_reset=-60 * u.mV,
                tau=TAU_M * u.ms,
                tau_ref=REFRACTORY * u.ms,
                V_initializer=braintools.init.Normal(-55.0 * u.mV, 2.0 * u.mV),
            )

            def projection(size, weight, tau, E):
                return brainpy.state.AlignPostProj(
                    comm=brainstate.nn.EventFixedProb(size, n, conn_num=80.0 / n, conn_weight=weight * 1000.0 * u.mS),
                    syn=brainpy.state.Expon.desc(n, tau=tau * u.ms),
                    out=brainpy.state.COBA.desc(E=E * u.mV),
                    post=self.cells,
                )

            self.exc = projection(n_exc, 0.6, TAU_E, 0.0)
            self.inh = projection(n - n_exc, 6.7, TAU_I, -80.0)

        def update(self, t):
            with brainstate.environ.context(t=t):
                spikes = self.cells.get_spike() != 0.0
                self.exc(spikes[:n_exc])
                self.inh(spikes[n_exc:])
                self.cells(20.0 * u.mA)
                return self.cells.get_spike()

    net = Balanced()
    brainstate.nn.init_all_states(net)

    @brainstate.transform.jit
    def run(indices):
        return brainstate.transform.for_loop(lambda i: net.update(i * 0.1 * u.ms), indices)

    return lambda first, steps: run(np.arange(first, first + steps, dtype=np.int32)), "BrainPy state, weights x1000"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cells", type=int, default=4000)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--threads", type=int, default=1, help="only held by the caller; the package has no such option"
    )
    parser.add_argument("--api", choices=("classic", "state"), default="classic")
    parser.add_argument("--comm", choices=("csr", "jit"), default="csr")
    args = parser.parse_args()
    run, name = (classic if args.api == "classic" else state)(args)
    steps = round(args.seconds / 1e-4)
    times, cpu, rates = [], [], []
    for repeat in range(args.repeats + 1):
        start, start_cpu = time.perf_counter(), time.process_time()
        raster = jax.block_until_ready(getattr(out := run(repeat * steps, steps), "value", out))
        elapsed, used = time.perf_counter() - start, time.process_time() - start_cpu
        if repeat == 0:  # compiles, and holds the transient
            compile_s = elapsed
            continue
        times.append(elapsed / steps * 1e6)
        cpu.append(used / steps * 1e6)
        rates.append(float((np.asarray(raster) != 0).sum()) / args.cells / args.seconds)
    names = ("brainpy", "brainpy_state", "brainevent", "brainstate", "jax", "jaxlib")
    packages = {p: importlib.metadata.version(p) for p in names}
    print(
        json.dumps(
            dict(
                simulator=name,
                version=packages["brainpy"],
                packages=packages,
                steps=steps,
                us_per_step=times,
                cpu_us_per_step=cpu,
                rate_hz=rates,
                dtype="float32",
                first_run_s=compile_s,
            )
        )
    )


if __name__ == "__main__":
    main()
