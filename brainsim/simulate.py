"""The compiled network: a pure `run`, a stateful `advance`, checkpoints.

`run` is a pure function of (params, inputs, state, key). With concrete values it drives compiled chunks from the host:
progress, finiteness checks, streaming, Ctrl-C. Under a transformation (grad, vmap, jacfwd, jit) it is one scan.
"""

import time
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .checks import bound_specs, check_params
from .compile import MAX_STEPS, build
from .drive import as_drive
from .errors import FileFormatError, NonFiniteError, RunError, UnknownNameError, unknown
from .names import match
from .network import Network
from .prepare import initial_state, prepare
from .program import Program, dtype
from .progress import Progress
from .record import Recorder, TracedResult, TracedTrace, resolve
from .recorded import Spikes, Trace
from .result import Result
from .step import advance, all_spikes
from .surrogate import Surrogate
from .units import to_canonical

CHUNK_BYTES = 4 * 2**20
MAX_CHUNK = 10_000


def compile_network(net: Network, dt=0.1, record=(), method="auto", surrogate=None, smooth=False, strict=False):
    """Compile a network.

    Args:
        dt: time step in ms.
        record: names such as "exc.spikes", "*.v", or `bs.trace(...)`, `bs.mean(...)`.
        method: integrator of all populations that name none: "auto" (exact propagator where linear, else exponential
            Euler), "exact", "exp_euler", "euler", "heun", "rk4", "rosenbrock".
        surrogate: `bs.Surrogate(name, width)`, the derivative of a spike.
        smooth: replace spikes by the integral of the surrogate (for finite-difference tests).
        strict: delays off the grid are an error instead of one warning.

    Returns:
        Simulation.
    """
    program, topology, params = build(net, dt, method, surrogate or Surrogate(), bool(smooth), bool(strict))
    recorders = resolve(net, program, record)
    return Simulation(net, program, topology, params, recorders)


@dataclass(frozen=True)
class Feed:
    """A drive and where it acts: static facts beside the pytree."""

    n: int
    place: Any


class Simulation:
    """A compiled network. `params` holds every float by name; `run` is pure, `advance` keeps the state."""

    def __init__(self, net, program: Program, topology, params, recorders: list[Recorder]):
        self.network, self.program, self.recorders = net, program, recorders
        self.topology = jax.tree.map(jnp.asarray, topology)
        self.params = {k: jnp.asarray(v, dtype()) for k, v in params.items() if k not in program.derived}
        self.specs = bound_specs(net, program, params)
        self.compiled_for = dtype()
        self.n_traces = 0
        self._step0 = 0
        self._state = None
        self._feeds: dict[str, Feed] = {}
        self._prepare = jax.jit(lambda topology, params: prepare(self.program, topology, params))
        self._start = jax.jit(lambda params, drives: initial_state(self.program, params, self._with_facts(drives)))
        self._chunk = jax.jit(self._chunk_body, donate_argnums=(5,))
        spans = [(r.group.source_start + r.start, r.group.source_start + r.start + r.n) for r in recorders if r.kind == "spikes"]
        self._span = (min(a for a, _ in spans), max(b for _, b in spans)) if spans else (0, 0)
        self._stride = int(np.lcm.reduce([r.every for r in recorders if r.kind == "trace"] or [1]))

    @property
    def dt(self) -> float:
        return self.program.dt

    def __repr__(self):
        groups = ", ".join(f"{g.label} ({g.n} {g.model.__name__}, {self.program.methods[g.index]})" for g in self.program.groups)
        return f"Simulation(dt={self.dt:g} ms; {groups}; records {[r.name for r in self.recorders]})"

    # ---- inputs -------------------------------------------------------------------------------------------------

    def _drives(self, inputs, first, steps) -> dict:
        """Drives by input name, checked against the run; connected drives carry their parameters in `params`."""
        out, feeds = {}, {}
        known = {}
        for g in self.program.groups:
            for m in g.members:
                known.update({f"{m.name}.{i}": (g, m, i, spec) for i, spec in g.model.__inputs__.items()})
        for pattern, given in (inputs or {}).items():
            for name in match(pattern, known, "input"):
                g, m, key, spec = known[name]
                if isinstance(given, str):
                    given = to_canonical(given, spec.unit, f"input {name}")
                if name in out:
                    raise RunError(f"the input {name!r} is given twice; add the drives: {{'{name}': [a, b]}}")
                drive = as_drive(given, m.n, steps, f"input {name}").prepare(self.dt, f"input {name}")
                if drive.events and (spec.unit or "1") != "1":
                    raise RunError(
                        f"input {name!r} takes {spec.unit}, but {type(drive).__name__} yields spikes; connect it through a synapse: "
                        f"net.connect(bs.poisson(...), {m.name!r}, ...)"
                    )
                if drive.events and np.any(np.asarray(getattr(drive, "steps", 1)) == 0):
                    raise RunError(f"input {name!r}: a source cannot spike at 0 ms, before the first step; start at {self.dt:g} ms")
                drive.check(m.n, self.dt, first, steps, f"input {name}")
                out[name], feeds[name] = drive, Feed(m.n, (g, m, f"in/{key}"))
        for name, port in self.program.drives.items():
            drive = port.drive.prepare(self.dt, name)
            drive.check(port.n, self.dt, first, steps, name)
            out[name], feeds[name] = drive, Feed(port.n, None)
        self._feeds = feeds
        return out

    def _with_facts(self, drives):
        return {k: (d, self._feeds[k].n, self._feeds[k].place) for k, d in drives.items()}

    def _connected(self, drives, params):
        """Put the current parameters of connected drives (rates) into them."""
        out = dict(drives)
        for name, port in self.program.drives.items():
            for key in port.drive.parameters:
                if f"{name}.{key}" in params:
                    out[name] = out[name].with_parameter(key, params[f"{name}.{key}"])
        return out

    # ---- the loop -----------------------------------------------------------------------------------------------

    def _one(self, ready, topology, drives, seed):
        return lambda state: advance(self.program, topology, ready, state, self._with_facts(drives), seed)

    def _chunk_body(self, topology, ready, state, drives, seed, buffers, n):
        self.n_traces += 1
        step = self._one(ready, topology, drives, seed)

        def body(i, carry):
            state, buffers = carry
            state, fired = step(state)
            out = dict(buffers)
            if "spikes" in buffers:
                # one buffer for all recorded populations: a write costs as much as the arithmetic of a small network
                hit = all_spikes(self.program, fired)[self._span[0] : self._span[1]] > 0.5
                out["spikes"] = jax.lax.dynamic_update_index_in_dim(buffers["spikes"], hit, i, 0)
            for key, r in self._keyed():
                if r.kind == "mean":
                    out[key] = buffers[key] + r.read(self.program, ready, state, fired)
                elif r.kind == "trace":
                    value, row = r.read(self.program, ready, state, fired), (i if r.every == 1 else i // r.every)
                    out[key] = jax.lax.dynamic_update_index_in_dim(buffers[key], value, row, 0)
            return state, out

        state, buffers = jax.lax.fori_loop(0, n, body, (state, buffers))
        return state, buffers, _finite(state)

    def _keyed(self):
        return [(f"{i}", r) for i, r in enumerate(self.recorders)]

    def _capacity(self):
        """Steps of one chunk: what the buffers hold, a multiple of every sampling interval."""
        per_step = self._span[1] - self._span[0] + sum(len(r.ids) * 4 / r.every for r in self.recorders if r.kind == "trace")
        steps = int(np.clip(CHUNK_BYTES // max(per_step, 1), 20, MAX_CHUNK))
        return max(1, steps // self._stride) * self._stride

    def _buffers(self, capacity):
        shape = lambda r: (len(r.ids),) if r.kind == "mean" else (-(-capacity // r.every), len(r.ids))
        out = {key: jnp.zeros(shape(r), dtype()) for key, r in self._keyed() if r.kind != "spikes"}
        width = self._span[1] - self._span[0]
        return {**out, "spikes": jnp.zeros((capacity, width), bool)} if width else out

    # ---- running ------------------------------------------------------------------------------------------------

    def run(self, duration, params=None, inputs=None, state=None, key=0, *, progress=False, stream=None):
        """Simulate; pure: starts from `state` and stores nothing.

        Args:
            duration: ms (a multiple of dt).
            params: dict like `sim.params`, or some of its entries; the others keep their values.
            inputs: drives by input name, wildcards allowed: `{"exc.I": 20.0, "*.I": bs.step(...)}`.
            state: where to start (`result.state`); default the initial state built from params.
            key: whole number or two uint32 words; another key is another realisation of all noise.
            progress, stream: only outside of transformations; see `Network.run`.

        Returns:
            `Result`, or under jax transformations a `TracedResult`.

        Raises:
            RunError, UnknownNameError, ParameterError: impossible arguments, before anything runs.
            NonFiniteError: a state became nan or infinite.
        """
        n = self._steps(duration)
        params = self._merged(params)
        traced = _is_traced((params, inputs, state, key))
        first = 0 if state is None or _is_traced(state["step"]) else int(state["step"])
        if first + n > MAX_STEPS:
            raise RunError(f"the run would end at step {first + n}; at most {MAX_STEPS} steps of {self.dt:g} ms")
        drives = self._connected(self._drives(inputs, first, n), params)
        seed = _seed_words(key)
        if traced:
            return self._run_traced(n, params, drives, state, seed, first)
        return self._run_host(n, params, drives, state, seed, progress, stream)

    def _steps(self, duration):
        duration = to_canonical(duration, "ms", "duration")
        if np.ndim(duration) or not duration >= 0:
            raise RunError(f"duration = {duration} ms must be a number of at least 0")
        n = int(np.rint(duration / self.dt))
        if abs(n * self.dt - duration) > 1e-6 * max(self.dt, duration):
            raise RunError(f"duration = {duration:g} ms is not a multiple of dt = {self.dt:g} ms; write {n * self.dt:g}")
        if n % self._stride:
            raise RunError(
                f"duration = {duration:g} ms is not a multiple of every recorded interval ({self._stride * self.dt:g} ms); "
                f"run {(n // self._stride + 1) * self._stride * self.dt:g} ms"
            )
        if self.compiled_for != dtype():
            raise RunError(f"compiled for {self.compiled_for}, but jax now computes in {dtype()}; compile again after enable_x64")
        return n

    def _merged(self, params):
        if params is None:
            return dict(self.params)
        for name in params:
            if name not in self.params:
                shared = self.program.layout.alias.get(name)
                if shared:
                    raise UnknownNameError(
                        f"{name!r} is shared with {shared!r} (one model object); set {shared!r}, or give the population its own model"
                    )
                if name in self.program.derived:
                    raise UnknownNameError(f"{name!r} is derived from other parameters by net.derive; set those")
                raise UnknownNameError(unknown("parameter", name, self.params))
        check_params(params, self.specs)
        return {**self.params, **{k: jnp.asarray(v, dtype()) for k, v in params.items()}}

    def _begin(self, params, drives, state):
        if state is None:
            return self._start(params, drives)
        fresh = {k: v for k, v in drives.items() if k not in state["drives"]}
        real = dtype()
        started = {k: d.begin(self._feeds[k].n, real) for k, d in fresh.items()}
        carried = {k: state["drives"][k] if k in state["drives"] else started[k] for k in drives}
        for k, d in drives.items():
            if jax.tree.structure(carried[k]) != jax.tree.structure(d.begin(self._feeds[k].n, real)):
                carried[k] = d.begin(self._feeds[k].n, real)
        return {**state, "drives": carried}

    def _run_traced(self, n, params, drives, state, seed, first):
        ready = prepare(self.program, self.topology, params)
        if state is None:
            state = initial_state(self.program, params, self._with_facts(drives))
        else:
            state = self._begin(params, drives, state)
        step = self._one(ready, self.topology, drives, seed)

        def body(carry, _):
            state, ok = carry
            state, fired = step(state)
            return (state, ok & _finite(state)), {key: r.read(self.program, ready, state, fired) for key, r in self._keyed()}

        (state, ok), ys = jax.lax.scan(body, (state, jnp.asarray(True)), None, length=n)
        out = {"spikes": {}, "traces": {}, "summaries": {}}
        for key, r in self._keyed():
            if r.kind == "spikes":
                out["spikes"][r.name.removesuffix(".spikes")] = ys[key]
            elif r.kind == "mean":
                out["summaries"][r.name] = ys[key].mean(0)
            else:
                times = (first + np.arange(1, n // r.every + 1) * r.every) * self.dt
                out["traces"][r.name] = TracedTrace(ys[key][r.every - 1 :: r.every], jnp.asarray(times, dtype()))
        return TracedResult(state=state, ok=ok, **out)

    def _run_host(self, n, params, drives, state, seed, progress, stream):
        begun = time.perf_counter()
        ready = self._prepare(self.topology, params)
        state = self._begin(params, drives, state)
        first = int(state["step"])
        if not bool(_finite(state)):
            raise NonFiniteError(f"{_which(self.program, state)} before the run: initial values must be finite")
        capacity = self._capacity()
        buffers = self._buffers(capacity)
        sums = {key: np.zeros(len(r.ids)) for key, r in self._keyed() if r.kind == "mean"}
        parts, done, compiled, complete = [], 0, None, True
        writer = self._writer(stream, first)
        bar = Progress(n * self.dt, progress, jax.default_backend())
        try:
            while done < n:
                steps = min(capacity, n - done)
                before, mark = state, time.perf_counter()
                state, buffers, ok = self._chunk(self.topology, ready, state, drives, seed, buffers, np.int32(steps))
                if not bool(ok):
                    self._blame(before, steps, ready, drives, seed)
                compiled = time.perf_counter() - mark if compiled is None else compiled
                part = self._collect(buffers, first + done, steps)
                for key in sums:
                    sums[key] += np.asarray(buffers[key], np.float64)
                    buffers[key] = jnp.zeros_like(buffers[key])
                if writer is not None:
                    writer.append(part)
                else:
                    parts.append(part)
                done += steps
                bar.update(done * self.dt)
        except KeyboardInterrupt:
            complete = False
        finally:
            bar.close()
        return self._result(parts, writer, sums, state, first, done, complete, time.perf_counter() - begun, compiled)

    def _writer(self, stream, first):
        if stream is None:
            return None
        from .storage import StreamWriter

        header = {"t_start": first * self.dt, "dt": self.dt, "seed": self.program.seed, "meta": self._meta()}
        return StreamWriter(stream, header)

    def _collect(self, buffers, first, steps) -> Result:
        """What one chunk recorded, as NumPy; the buffers are used again."""
        spikes, traces = {}, {}
        width = self._span[1] - self._span[0]
        if width:
            row, source = np.divmod(np.flatnonzero(np.asarray(buffers["spikes"])[:steps].reshape(-1)), width)
            times, source = (first + row + 1) * self.dt, source + self._span[0]
        for key, r in self._keyed():
            if r.kind == "spikes":
                low = r.group.source_start + r.start
                mine = (source >= low) & (source < low + r.n)
                spikes[r.name.removesuffix(".spikes")] = Spikes(times[mine], source[mine] - low, r.n)
            elif r.kind == "trace":
                rows = steps // r.every
                at = (first + np.arange(1, rows + 1) * r.every) * self.dt
                traces[r.name] = Trace(np.array(buffers[key][:rows]), at, r.ids, r.unit)
        return Result(
            spikes, traces, {}, duration=steps * self.dt, t_start=first * self.dt, dt=self.dt, seed=self.program.seed,
            meta=self._meta(),
        )

    def _meta(self):
        from . import __version__

        return {
            "brainsim": __version__, "jax": jax.__version__, "device": str(jax.devices()[0].platform), "dtype": str(np.dtype(dtype())),
            "populations": {m.name: m.n for g in self.program.groups for m in g.members},
        }

    def _result(self, parts, writer, sums, state, first, done, complete, wall, compiled):
        meta = {**self._meta(), "wall_s": wall, "compile_s": compiled or 0.0, "complete": complete}
        summaries = {r.name: sums[key] / max(done, 1) for key, r in self._keyed() if r.kind == "mean"}
        if writer is not None:
            writer.close(complete=complete)
            whole = Result.load(writer.path)
        elif parts:
            whole = Result.join(parts)
        else:
            whole = self._collect(self._buffers(self._stride), first, 0)
        from dataclasses import replace

        return replace(
            whole, summaries=summaries, state=state, duration=done * self.dt, t_start=first * self.dt, meta={**whole.meta, **meta}
        )

    def _blame(self, state, steps, ready, drives, seed):
        """Find the first step after which a state is not finite, by bisection, and say which."""
        scratch = lambda: self._buffers(self._capacity())
        low, high = 0, steps
        run = lambda n: self._chunk(self.topology, ready, state, drives, seed, scratch(), np.int32(n))
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if bool(run(middle)[2]) else (low, middle)
        bad = run(high)[0]
        raise NonFiniteError(
            f"{_which(self.program, bad)} at {(int(state['step']) + high) * self.dt:g} ms. Reduce dt, check weights and inputs, or "
            f"use bs.enable_x64()"
        )

    # ---- stateful -----------------------------------------------------------------------------------------------

    def advance(self, duration, *, params=None, inputs=None, reset=False, key=0, progress=None, stream=None) -> Result:
        """Run on from the last state and keep the new one. Refuses tracers; `run` is for transformations."""
        if _is_traced((params, inputs, key)):
            raise RunError("advance keeps state and cannot be traced; use sim.run(...) under grad, vmap and jit")
        state = None if reset else self._state
        result = self.run(duration, params, inputs, state, key, progress=progress, stream=stream)
        self._state = result.state
        return result

    @property
    def state(self):
        """State after the last `advance`; None before the first."""
        return self._state

    def continue_from(self, other: "Simulation"):
        """Take over the state of another simulation of the same network (new records, same dt)."""
        if other._state is None:
            return
        if other.dt != self.dt:
            raise RunError(
                f"dt changes from {other.dt:g} to {self.dt:g} ms between runs: spikes in flight and refractory counters are in steps. "
                f"Say reset=True to start anew"
            )
        mine = jax.eval_shape(lambda: initial_state(self.program, self.params, {}))
        if _shapes({**other._state, "drives": {}}) != _shapes(mine):
            raise RunError("the network changed since the last run, so its state no longer fits; say reset=True to start anew")
        self._state = other._state

    def checkpoint(self, path):
        """Save the state after the last `advance`; a run that continues from it is the same bit for bit."""
        from .storage import save_tree

        if self._state is None:
            raise RunError("there is nothing to save yet: run first, sim.advance(...)")
        leaves = {jax.tree_util.keystr(k): np.asarray(v) for k, v in jax.tree_util.tree_leaves_with_path(self._state)}
        save_tree(path, {"leaves": leaves, "dt": self.dt, "seed": self.program.seed, "inputs": sorted(self._state["drives"])}, "checkpoint")

    def restore(self, path, inputs=None):
        """Load a checkpoint of the same network; `inputs` as in the run that made it, if its drives carry state."""
        from .storage import load_tree

        tree = load_tree(path, "checkpoint")
        if tree["dt"] != self.dt or tree["seed"] != self.program.seed:
            raise FileFormatError(
                f"{path}: made with dt = {tree['dt']:g} ms and seed {tree['seed']}, this simulation has {self.dt:g} and {self.program.seed}"
            )
        missing = [n for n in tree["inputs"] if n not in (inputs or {}) and n not in self.program.drives]
        given = {n: v for n, v in (inputs or {}).items()}
        given.update({n: 0.0 for n in missing})
        steps = 0
        drives = self._connected(self._drives(given, 0, max(steps, 1)) if given else self._drives({}, 0, 1), self.params)
        template = self._start(self.params, drives)
        found = dict(tree["leaves"])
        paths = jax.tree_util.tree_flatten_with_path(template)[0]
        names = [jax.tree_util.keystr(k) for k, _ in paths]
        for name, (_, leaf) in zip(names, paths):
            if name not in found or found[name].shape != leaf.shape or found[name].dtype != leaf.dtype:
                have = f"{found[name].dtype}{found[name].shape}" if name in found else "nothing"
                raise FileFormatError(f"{path}: state{name} should be {leaf.dtype}{leaf.shape}, the file has {have}; is it the same network?")
        extra = [n for n in found if n not in names and not n.startswith("['drives']")]
        if extra:
            raise FileFormatError(f"{path}: holds {extra[0]}, which this network does not have; is it the same network?")
        self._state = jax.tree.unflatten(jax.tree.structure(template), [jnp.asarray(found[n]) for n in names])


def _finite(state):
    """Whether every float of the cells, synapses and edges is finite."""
    leaves = [x for x in jax.tree.leaves((state["z"], state["edges"])) if jnp.issubdtype(x.dtype, jnp.floating)]
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(x)) for x in leaves])) if leaves else jnp.asarray(True)


def _which(program: Program, state) -> str:
    """Names the first variable that is not finite, its value and its first cells."""
    tags = {s.tag: s for s in program.layout.slots} | {t.tag: t for t in program.layout.terminals}
    for g in program.groups:
        for key, values in state["z"][g.index].items():
            bad = np.flatnonzero(~np.isfinite(np.asarray(values)))
            if not len(bad):
                continue
            for m in g.members:
                here = bad[(bad >= m.start) & (bad < m.stop)] - m.start
                if len(here):
                    tag, _, name = key.rpartition("/")
                    owner = tags[tag].projections[0] if tag else m.name
                    value = "nan" if np.isnan(np.asarray(values)[here[0] + m.start]) else "infinite"
                    cells = ", ".join(map(str, here[:3])) + (", ..." if len(here) > 3 else "")
                    return f"{owner}.{name} became {value} in cells {cells}"
    for e in program.edge_blocks:
        for key, values in state["edges"][e.tag].items():
            bad = np.flatnonzero(~np.isfinite(np.asarray(values)))
            if len(bad):
                return f"{e.projection}.{key} became non-finite on edges {', '.join(map(str, bad[:3]))}"
    return "a state became non-finite"


def _shapes(tree):
    return {jax.tree_util.keystr(k): (v.shape, str(v.dtype)) for k, v in jax.tree_util.tree_leaves_with_path(tree)}


def _is_traced(tree) -> bool:
    return any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves(tree))


def _seed_words(key):
    """Two uint32 words of a run key."""
    if isinstance(key, bool) or isinstance(key, float):
        raise RunError(f"key is {key!r}; give a whole number such as key=0")
    if isinstance(key, int | np.integer):
        if not 0 <= int(key) < 2**64:
            raise RunError(f"key is {key}; give a whole number from 0 to 2**64 - 1")
        return np.array([int(key) & 0xFFFFFFFF, int(key) >> 32], np.uint32)
    words = jnp.asarray(key)
    if words.shape == (2,):
        return words.astype(jnp.uint32)
    if words.shape == () and jnp.issubdtype(words.dtype, jnp.integer):
        return jnp.stack([words.astype(jnp.uint32), jnp.zeros((), jnp.uint32)])
    raise RunError(f"key has shape {words.shape}; give a whole number or two uint32 words")
