"""One compiled stretch of a run: any number of steps up to the capacity of its buffers, and what it recorded as NumPy.

The number of steps is an argument, so runs of any length share one program. Spikes are kept as the list of the cells
that fired and their number in every step. The loop ends before the list could overflow, so nothing is ever lost or run
again.
"""

import jax
import jax.numpy as jnp
import numpy as np

from .arrivals import all_spikes
from .finiteness import finite
from .ops import append_list
from .program import Program, dtype
from .record import Recorder
from .recorded import Spikes, Trace
from .timestep import advance
from .windows import at, far_sums

CHUNK_BYTES = 4 * 2**20  # of traces
MIN_SPIKES = 2**18
MAX_CHUNK = 10_000


class Chunk:
    """Buffers and loop of one stretch; `n_traces` counts how often it was traced."""

    def __init__(self, program: Program, feeds, recorders: list[Recorder]):
        self.program, self.feeds, self.recorders = program, feeds, recorders
        spans = [(r.first_source, r.first_source + r.n) for r in recorders if r.kind == "spikes"]
        self.span = (min(a for a, _ in spans), max(b for _, b in spans)) if spans else (0, 0)
        self.stride = int(np.lcm.reduce([r.every for r in recorders if r.kind == "trace"] or [1]))
        self.n_traces = 0
        self.run = jax.jit(self._loop, donate_argnums=(5,))

    def step(self, ready, topology, drives, seed):
        """The function (state, far sums) -> (state, spikes) of one step."""
        placed = {k: (d, self.feeds[k].n, self.feeds[k].place) for k, d in drives.items()}
        return lambda state, far: advance(self.program, topology, ready, state, placed, seed, far)

    def keyed(self, *kinds):
        return [(str(i), r) for i, r in enumerate(self.recorders) if r.kind in kinds]

    @property
    def capacity(self) -> int:
        """Most steps of one call: what the buffers hold, a multiple of every sampling interval."""
        traces = sum(len(r.ids) * 4 / r.every for _, r in self.keyed("trace"))
        steps = int(np.clip(CHUNK_BYTES // max(traces, 1), 20, MAX_CHUNK))
        return max(1, steps // self.stride) * self.stride

    @property
    def room(self) -> int:
        """Entries of the list of spikes: at least what all cells may add before the loop looks again."""
        return max(MIN_SPIKES, 2 * self.program.window * (self.span[1] - self.span[0]))

    def buffers(self):
        """Empty buffers."""
        out = {key: jnp.zeros((len(r.ids),), dtype()) for key, r in self.keyed("mean")}
        rows = {k: (self.capacity // r.every + 1, len(r.ids)) for k, r in self.keyed("trace")}
        out.update({k: jnp.zeros(shape, dtype()) for k, shape in rows.items()})
        if self.span[1] > self.span[0]:
            out["ids"], out["ends"] = jnp.zeros((self.room,), jnp.int32), jnp.zeros((self.capacity,), jnp.int32)
        return out

    def _loop(self, topology, ready, state, drives, seed, buffers, n, phase):
        """At most n steps.

        Args:
            phase: steps of the run before this call, modulo every sampling interval.

        Returns:
            state, buffers, whether the state is finite, how many steps were done.
        """
        self.n_traces += 1
        step = self.step(ready, topology, drives, seed)
        width = self.span[1] - self.span[0]

        def one(carry, far):
            i, fill, state, buffers = carry
            state, fired = step(state, far)
            out = dict(buffers)
            if width:
                hit = all_spikes(self.program, fired)[self.span[0] : self.span[1]]
                out["ids"], fill = append_list(buffers["ids"], fill, hit if hit.dtype == bool else hit > 0.5)
                out["ends"] = jax.lax.dynamic_update_index_in_dim(buffers["ends"], fill, i, 0)
            for key, r in self.keyed("mean"):
                out[key] = buffers[key] + r.read(self.program, ready, state, fired)
            for key, r in self.keyed("trace"):
                row = i if r.every == 1 else (phase % r.every + i) // r.every
                value = r.read(self.program, ready, state, fired)
                out[key] = jax.lax.dynamic_update_index_in_dim(buffers[key], value, row, 0)
            return i + 1, fill, state, out

        def window(carry):
            far = far_sums(self.program, topology, ready, carry[2])
            steps = jnp.minimum(self.program.window, n - carry[0])
            return jax.lax.fori_loop(0, steps, lambda k, carry: one(carry, at(far, k)), carry)

        def goes_on(carry):
            return (carry[0] < n) & (carry[1] <= self.room - self.program.window * width)

        many = window if self.program.window > 1 else lambda carry: one(carry, {})
        start = (jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32), state, buffers)
        done, _, state, buffers = jax.lax.while_loop(goes_on, many, start)
        return state, buffers, finite(state), done

    def collect(self, buffers, first: int, done: int, steps: int) -> tuple[dict, dict]:
        """Spikes and traces of the last call by name; copies, since the buffers are used again.

        Args:
            first: step at which the run began. done: steps of the run before the call. steps: of the call.
        """
        dt, spikes, traces = self.program.dt, {}, {}
        if self.span[1] > self.span[0]:
            ends = np.asarray(buffers["ends"])[:steps]
            counts = np.diff(ends, prepend=0)
            source = np.asarray(buffers["ids"])[: ends[-1] if steps else 0] + self.span[0]
            times = np.repeat((first + done + np.arange(1, steps + 1)) * dt, counts)
        for _, r in self.keyed("spikes"):
            mine = (source >= r.first_source) & (source < r.first_source + r.n)
            spikes[r.owner] = Spikes(times[mine], source[mine] - r.first_source, r.n)
        for key, r in self.keyed("trace"):
            before, rows = done // r.every, (done + steps) // r.every - done // r.every
            times_ = (first + (before + np.arange(1, rows + 1)) * r.every) * dt
            traces[r.name] = Trace(np.array(buffers[key][:rows]), times_, r.ids, r.unit)
        return spikes, traces
