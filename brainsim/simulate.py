"""The compiled network: a pure `run`, a stateful `advance`, checkpoints.

`run` is a pure function of (params, inputs, state, key). With concrete values it drives compiled chunks from the host:
progress, finiteness checks, streaming, Ctrl-C. Under a transformation (grad, vmap, jacfwd, jit) it is one scan.
"""

import time
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from . import checkpoint, history, learn_events, structure, traced
from .adjoint import as_adjoint
from .beginning import initial_state
from .checks import bound_specs, check_state, mark_state, merge
from .chunk import Chunk
from .compile import MAX_STEPS, build, check_weights
from .design import Design
from .errors import NonFiniteError, RunError
from .events import has_bound
from .feeds import carried, drives_of, known_feeds, seed_words
from .finiteness import finite, which_is_not
from .grid import to_steps
from .kept import Kept
from .network import Network
from .prepare import laid_weights, prepare, with_shared_factors
from .program import Program, dtype
from .progress import Progress
from .record import Recorder, TracedResult, TracedTrace, add_to, check_memory, mean_of, resolve, zero_sum
from .result import Result
from .surrogate import Surrogate
from .threads import native_threads
from .units import to_canonical


def compile_network(
    net: Network,
    dt=0.1,
    record=(),
    method="auto",
    surrogate=None,
    smooth=False,
    strict=False,
    *,
    weights=None,
    tune=False,
    design=None,
):
    """Compile a network.

    Args:
        dt: time step in ms.
        record: names such as "exc.spikes", "*.v", or `bs.trace(...)`, `bs.mean(...)`.
        method: integrator of all populations that name none: "auto" (exact propagator where linear, else exponential
            Euler), "exact", "exp_euler", "euler", "heun", "rk4", "rosenbrock".
        surrogate: `bs.Surrogate(name, width)`, the derivative of a spike.
        smooth: replace spikes by the integral of the surrogate (for finite-difference tests).
        strict: delays off the grid are an error instead of one warning.
        weights: precision in which a host run keeps weights of event-driven projections that have one per edge: that of
            the run ("float32", "float64") or "bfloat16": half the memory and traffic, three digits; sums stay float32.
            Transformed runs round the weights and keep them wide, so that derivatives keep their precision.
        tune: True, or arguments of `Simulation.tune` as a dict: layouts are chosen by measurement.
        design: `brainsim.design.Design`, by which layouts are chosen else.

    Returns:
        Simulation.
    """
    options = {"dt": dt, "record": record, "method": method, "surrogate": surrogate, "smooth": smooth, "strict": strict}
    chosen = surrogate or Surrogate(), bool(smooth), bool(strict), check_weights(weights), design or Design()
    program, topology, params = build(net, dt, method, *chosen)
    sim = Simulation(net, program, topology, params, resolve(net, program, record))
    sim.options = {**options, "weights": weights, "design": design, "version": net._version}
    return sim.tune(**({} if tune is True else tune)) if tune else sim


class Simulation:
    """A compiled network. `params` holds every float by name; `run` is pure, `advance` keeps the state."""

    def __init__(self, net, program: Program, topology, params, recorders: list[Recorder]):
        self.network, self.program, self.recorders = net, program, recorders
        self.topology = jax.tree.map(jax.device_put, topology)  # shares the memory of aligned arrays
        self.params = {k: _on_device(v) for k, v in params.items() if k not in program.derived}
        self._laid = laid_weights(program, self.params)
        self.specs = bound_specs(net, program, params)
        self.compiled_for = dtype()
        self.feeds = known_feeds(program)
        self.chunk = Chunk(program, self.feeds, recorders)
        self._state, self._last = None, None
        self.options, self.trials = None, ()  # of compiling and of `tune`
        self._prepare = jax.jit(
            lambda topology, params, laid=frozenset(): prepare(self.program, topology, params, laid, host=True),
            static_argnums=2,
        )
        self._start = jax.jit(lambda params, drives: self._initial(params, drives))

    @property
    def dt(self) -> float:
        """Time step in ms."""
        return self.program.dt

    @property
    def n_traces(self) -> int:
        """How often the loop was traced; a second run with the same shapes does not trace again."""
        return self.chunk.n_traces

    @property
    def state(self):
        """State after the last `advance`; None before the first."""
        return self._state

    def __repr__(self):
        groups = ", ".join(
            f"{g.label} ({g.n} {g.model.__name__}, {self.program.methods[g.index]})" for g in self.program.groups
        )
        return f"Simulation(dt={self.dt:g} ms; {groups}; records {[r.name for r in self.recorders]})"

    def explain(self):
        """What a step of the compiled network does, which layout was chosen and why, as text."""
        from .choices import explain

        return explain(self.program, self.topology, self.params, self._laid, self.trials)

    def tune(self, duration=20.0, params=None, inputs=None, state=None, key=0, *, exact=True, progress=False):
        """The same simulation with the layout that is fastest here, found by trying; `explain` shows what was tried.

        At most eight other layouts are compiled and run in turns with the best one so far, from the state after
        `duration`. Only the speed of the result depends on the machine. A second network's memory is needed meanwhile.

        Args:
            duration, params, inputs, state, key: of the runs, as in `run`; take what the simulation is meant for.
            exact: try only what changes no bit, which is checked; else also sums in another order (windows of delayed
                couplings, rows of projections that share sources and targets), where spikes are the same.
            progress: a line on stderr for everything tried.

        Returns:
            Simulation, which goes on from the same state.

        Raises:
            RunError: the network has changed since it was compiled.
        """
        from .tune import tune

        return tune(self, duration, params, inputs, state, key, exact=exact, progress=progress)

    def run(self, duration, params=None, inputs=None, state=None, key=0, *, progress=False, stream=None, adjoint=None):
        """Simulate; pure: starts from `state` and stores nothing.

        Args:
            duration: ms (a multiple of dt).
            params: dict like `sim.params`, or some of its entries; the others keep their values.
            inputs: drives by input name, wildcards allowed: `{"exc.I": 20.0, "*.I": bs.step(...)}`.
            state: where to start (`result.state`); default the initial state built from params.
            key: whole number or two uint32 words; another key is another realisation of all noise.
            progress, stream: only outside of transformations; see `Network.run`.
            adjoint: under transformations, what the derivative of the run is: `bs.BPTT()` (default), `bs.Forward()`,
                `bs.EProp()`, ... (`brainsim.adjoint`).

        Returns:
            `Result`, or under jax transformations a `TracedResult`; of `bs.EventGrad`, an `ExactResult`.

        Raises:
            RunError, UnknownNameError, ParameterError: impossible arguments, before anything runs.
            NonFiniteError: a state became nan or infinite.
        """
        n, adjoint = self._steps(duration), as_adjoint(adjoint)
        params = merge(self.network, self.program, self.specs, self.params, params)
        first = 0 if state is None or _is_traced(state["step"]) else int(state["step"])
        if first + n > MAX_STEPS:
            raise RunError(f"the run would end at step {first + n}; at most {MAX_STEPS} steps of {self.dt:g} ms")
        exact = adjoint.run(self, n, params, inputs, state, stream)
        if exact is not None:
            return exact
        drives = drives_of(self.program, self.feeds, inputs, params, first, n)
        seed = seed_words(key)
        if _is_traced((params, drives, state, seed)) or _is_traced(jax.lax.add(np.int32(0), np.int32(0))):
            # the second: inside jit or scan even a run of known values cannot be driven from the host
            return self._run_traced(n, params, drives, state, seed, first, adjoint)
        return self._run_host(n, params, drives, state, seed, progress, stream)

    def _steps(self, duration):
        if _is_traced(duration):
            raise RunError("duration is traced, but the number of steps must be known; mark it static, or leave it out")
        duration = to_canonical(duration, "ms", "duration")
        if np.ndim(duration) or not duration >= 0:
            raise RunError(f"duration = {duration} ms must be a number of at least 0")
        n, off = to_steps(duration, self.dt)
        if n > MAX_STEPS:
            raise RunError(f"duration = {duration:g} ms is {n:.4g} steps of {self.dt:g} ms; at most {MAX_STEPS}")
        n = int(n)
        if off:
            raise RunError(
                f"duration = {duration:g} ms is not a multiple of dt = {self.dt:g} ms; write {max(1, n) * self.dt:g}"
            )
        if n % self.chunk.stride:
            raise RunError(
                f"duration = {duration:g} ms is not a multiple of every recorded interval "
                f"({self.chunk.stride * self.dt:g} ms); run "
                f"{(n // self.chunk.stride + 1) * self.chunk.stride * self.dt:g} ms"
            )
        if self.compiled_for != dtype():
            raise RunError(
                f"compiled for {self.compiled_for}, but jax now computes in {dtype()}; compile again after enable_x64"
            )
        return n

    def _initial(self, params, drives):
        state = initial_state(self.program, params, {k: (d, self.feeds[k].n, None) for k, d in drives.items()})
        return structure.placed(self.program, self.topology, state)

    def _begin(self, params, drives, state, start):
        if state is None:
            return start(params, drives)
        return {**state, "drives": carried(self.feeds, drives, state["drives"])}

    def _run_traced(self, n, params, drives, state, seed, first, adjoint):
        if structure.intervals(self.program):
            raise RunError(
                "edges that rewire cannot be traced: their number stays, but who is joined is decided on the host; run "
                "outside of jit, grad and vmap, or connect without rewiring="
            )
        ready = prepare(self.program, self.topology, params)
        ready["route"] = adjoint.route(self.program, self.topology, params, self.params)
        state = history.track(mark_state(self.program, self._begin(params, drives, state, self._initial)))
        begun = state["step"] if _is_traced(state["step"]) else first
        step = self.chunk.step(ready, self.topology, drives, seed)
        keyed, means = self.chunk.keyed("spikes", "trace"), self.chunk.keyed("mean")

        def body(state, far):
            sums = state["sums"]
            state, fired = step(state, far)
            read = lambda r: r.read(self.program, ready, state, fired)
            sums = {key: add_to(sums[key], read(r)) for key, r in means}
            return {**state, "sums": sums}, {key: read(r) for key, r in keyed}

        state = {**state, "sums": {key: zero_sum(len(r.ids)) for key, r in means}}
        state, ys = traced.scan(self.program, self.topology, ready, body, state, n, adjoint)
        sums = state.pop("sums")
        state = history.untrack(state)
        out = {"spikes": {}, "traces": {}, "summaries": {r.name: mean_of(sums[key], n) for key, r in means}}
        for key, r in keyed:
            if r.kind == "spikes":
                out["spikes"][r.owner] = ys[key]
            else:
                times = (begun + np.arange(1, n // r.every + 1) * r.every) * self.dt
                out["traces"][r.name] = TracedTrace(ys[key][r.every - 1 :: r.every], jnp.asarray(times, dtype()))
        return TracedResult(state=state, ok=finite(state), dt=self.dt, **out)

    def _run_host(self, n, params, drives, state, seed, progress, stream):
        begun = time.perf_counter()
        ready = self._prepared(params)
        state = self._begin(params, drives, state, self._start)
        state = history.enter(self.program, state, history.counter(ready, state))
        if self.program.learners:
            check_state(self.program, state, "before the run, ")
            busy = learn_events.busy(self.program, self.feeds, drives) if "ids" in state["history"] else None
            state = learn_events.enter(self.program, state, busy)
        if not bool(finite(state)):
            raise NonFiniteError(f"{which_is_not(self.program, state)} before the run: initial values must be finite")
        check_memory(self.recorders, n, stream is not None)
        first, done, complete = int(state["step"]), 0, True
        kept = Kept(self._header(first), stream)
        buffers, bar = self.chunk.buffers(), Progress(n * self.dt, progress, jax.default_backend())
        sums, looped = self._sums(buffers), time.perf_counter()
        with kept, native_threads(self.program.threads):
            try:
                while done < n:
                    most = min(self.chunk.capacity, n - done, structure.due(self.program, first + done))
                    phase = done % self.chunk.stride
                    after, buffers, ok, steps = self.chunk.run(
                        self.topology, ready, state, drives, seed, buffers, np.int32(most), np.int32(phase)
                    )
                    steps = int(steps)
                    if not bool(ok):
                        self._blame(state, steps, ready, drives, seed)
                    kept.append(self._part(buffers, first, done, steps))
                    # last, so that Ctrl-C in the middle leaves the state that belongs to what was kept
                    sums, state, done = self._sums(buffers), after, done + steps
                    if structure.is_due(self.program, first + done):
                        state = learn_events.awake(self.program, self.topology, state)
                        state = structure.apply(self.program, state, first + done)
                        state = learn_events.enter(self.program, state, busy)
                    bar.update(done * self.dt)
            except KeyboardInterrupt:
                complete = False
            finally:
                bar.close()
            summaries = {r.name: mean_of(sums[key], done) for key, r in self.chunk.keyed("mean")}
            meta = {
                **self._meta(),
                "wall_s": time.perf_counter() - begun,
                "loop_s": time.perf_counter() - looped,
                "compile_s": bar.compile_s,
                "complete": complete,
            }
            whole = kept.finish(meta, summaries) or self._part(self.chunk.buffers(), first, 0, 0)
        if self.program.learners:
            state = learn_events.awake(self.program, self.topology, state)
        state = history.leave(self.program, state)
        return replace(whole, summaries=summaries, state=state, meta={**whole.meta, **meta})

    def _prepared(self, params):
        """What `prepare` makes of the parameters; kept, because laying out the weights of 1e8 edges takes seconds."""
        if any(not isinstance(x, jax.Array) for x in params.values()):
            return with_shared_factors(self._prepare(self.topology, params))  # arrays of NumPy may change in place
        if self._last is None or any(params[k] is not x for k, x in self._last[0].items()):
            self._last = None  # frees the memory first
            laid = {tag: w for tag, (w, names) in self._laid.items() if all(params[n] is x for n, x in names.items())}
            ready = self._prepare(self.topology, params, frozenset(laid))
            ready["weights"].update({tag: {"edge": w} for tag, w in laid.items()})
            self._last = dict(params), with_shared_factors(ready)
        return self._last[1]

    def _sums(self, buffers) -> dict:
        """Running sums so far, as NumPy: the next call uses the buffers again."""
        return {key: tuple(np.array(x) for x in buffers[key]) for key, _ in self.chunk.keyed("mean")}

    def _part(self, buffers, first, done, steps) -> Result:
        spikes, traces = self.chunk.collect(buffers, first, done, steps)
        header = {**self._header(first + done), "duration": steps * self.dt}
        return Result(spikes, traces, {}, **header)

    def _header(self, first):
        return {"t_start": first * self.dt, "dt": self.dt, "seed": self.program.seed, "meta": self._meta()}

    def _meta(self):
        from . import __version__

        return {
            "brainsim": __version__,
            "jax": jax.__version__,
            "device": str(jax.devices()[0].platform),
            "dtype": str(np.dtype(dtype())),
            "populations": {m.name: m.n for g in self.program.groups for m in g.members},
        }

    def _blame(self, state, steps, ready, drives, seed):
        """Find the first step after which a state is not finite, by bisection, and say which."""
        low, high = 0, steps

        def run(n):
            buffers = self.chunk.buffers()
            return self.chunk.run(self.topology, ready, state, drives, seed, buffers, np.int32(n), np.int32(0))

        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if bool(run(middle)[2]) else (low, middle)
        raise NonFiniteError(
            f"{which_is_not(self.program, run(high)[0])} at {(int(state['step']) + high) * self.dt:g} ms. Reduce "
            f"dt, check weights and inputs, or use bs.enable_x64()"
            + ("; or a changing Poisson rate is above its most=" if any(map(has_bound, drives.values())) else "")
        )

    def advance(self, duration, *, params=None, inputs=None, reset=False, key=0, progress=None, stream=None) -> Result:
        """Run on from the last state and keep the new one. Refuses tracers; `run` is for transformations."""
        if _is_traced((params, inputs, key)):
            raise RunError("advance keeps state and cannot be traced; use sim.run(...) under grad, vmap and jit")
        state = None if reset else self._state
        result = self.run(duration, params, inputs, state, key, progress=progress, stream=stream)
        self._state = result.state
        return result

    def continue_from(self, other: "Simulation"):
        """Take over the state of another simulation of the same network (new records, same dt)."""
        if other._state is None:
            return
        if other.dt != self.dt:
            raise RunError(
                f"dt changes from {other.dt:g} to {self.dt:g} ms between runs: spikes in flight and refractory "
                f"counters are in steps. Say reset=True to start anew"
            )
        mine = jax.eval_shape(lambda: self._initial(self.params, {}))
        same = checkpoint.parts(other.program) == checkpoint.parts(self.program)
        if not same or checkpoint.shapes({**other._state, "drives": {}}) != checkpoint.shapes(mine):
            raise RunError(
                "the network changed since the last run, so its state no longer fits; say reset=True to start anew"
            )
        self._state = other._state

    def checkpoint(self, path):
        """Save the state after the last `advance`; a run that continues from it is the same bit for bit."""
        if self._state is None:
            raise RunError("there is nothing to save yet: run first, sim.advance(...)")
        checkpoint.save(path, self._state, self.program)

    def restore(self, path, inputs=None):
        """Load a checkpoint of the same network; `inputs` as in the run that made it, if its drives carry state."""
        drives = drives_of(self.program, self.feeds, inputs, self.params, 0, 1)
        self._state = checkpoint.load(path, self._start(self.params, drives), self.program)


def _on_device(value):
    """A parameter as a jax array, which shares the memory of large arrays that compiling has made."""
    value = np.asarray(value, value.dtype if value.dtype == jnp.bfloat16 else dtype())
    return jax.device_put(value) if value.size > 2**20 else jnp.asarray(value)


def _is_traced(tree) -> bool:
    return any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves(tree))
