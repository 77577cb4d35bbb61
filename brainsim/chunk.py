"""One compiled stretch of a run: any number of steps up to the capacity of its buffers, and what it recorded as NumPy.

The number of steps is an argument, so runs of any length share one program. Spikes are kept as the list of the cells
that fired and their number in every step. The loop ends before the list could overflow, so nothing is ever lost or run
again.
"""

import jax
import jax.numpy as jnp
import numpy as np

from .arrivals import all_spikes
from .block import advance_block, makes_blocks
from .finiteness import finite
from .learn_events import awake
from .ops import append_list
from .program import Program, dtype
from .record import Recorder, add_to, zero_sum
from .recorded import Spikes, Trace
from .timestep import advance
from .windows import loop

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
        self.blocks = 0  # steps that are one function; 0: every step is made alone
        self.run = jax.jit(self._loop, donate_argnums=(5,))

    def step(self, ready, topology, drives, seed):
        """The function (state, far sums, column in the histories) -> (state, spikes) of one step."""
        placed = {k: (d, self.feeds[k].n, self.feeds[k].place) for k, d in drives.items()}
        return lambda state, far, place=None: advance(self.program, topology, ready, state, placed, seed, far, place)

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
        out = {key: zero_sum(len(r.ids)) for key, r in self.keyed("mean")}
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

        def one(carry, far, place):
            i, fill, state, buffers = carry
            state, fired = step(state, far, place)
            out = dict(buffers)
            if width:
                hit = all_spikes(self.program, fired)[self.span[0] : self.span[1]]
                out["ids"], fill = append_list(buffers["ids"], fill, hit if hit.dtype == bool else hit > 0.5)
                out["ends"] = jax.lax.dynamic_update_index_in_dim(buffers["ends"], fill, i, 0)
            seen = lambda r: awake(self.program, topology, state) if r.path[:1] == ("plastic",) else state
            self._note(out, lambda r: [r.read(self.program, ready, seen(r), fired)], i, phase)
            return i + 1, fill, state, out

        def block(carry, far, place):
            i, fill, state, buffers = carry
            state, seen = advance_block(self.program, topology, ready, state, seed, far, place, self._paths())
            out = dict(buffers)
            self._note(out, lambda r: [r.read(self.program, ready, {"z": z}, {}) for z in seen], i, phase)
            return i + len(seen), fill, state, out

        room = lambda carry: carry[1] <= self.room - self.program.window * width if width else True
        together = makes_blocks(self.program, topology, ready, state, seed, self.recorders, drives)
        self.blocks = self.program.levels[0] if together else 0
        start = (jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32), state, buffers)
        done, _, state, buffers = loop(self.program, topology, ready, one, block if together else None, start, n, room)
        return state, buffers, finite(state), done

    def _note(self, out, values, i, phase):
        """Put values (recorder -> those of successive steps from i on) into the buffers."""
        for key, r in self.keyed("mean"):
            for value in values(r):
                out[key] = add_to(out[key], value)
        for key, r in self.keyed("trace"):
            if r.every == 1:
                out[key] = jax.lax.dynamic_update_slice_in_dim(out[key], jnp.stack(values(r)), i, 0)
                continue
            if r.path[:1] == ("plastic",):  # many values, made for this: only when they are due
                count = phase % r.every + i + 1
                write = lambda x, r=r, row=count // r.every - 1: x.at[row].set(values(r)[0])
                out[key] = jax.lax.cond(count % r.every == 0, write, lambda x: x, out[key])
                continue
            for k, value in enumerate(values(r)):
                row = (phase % r.every + i + k) // r.every
                out[key] = jax.lax.dynamic_update_index_in_dim(out[key], value, row, 0)

    def _paths(self):
        """Recorded states by group."""
        read = [r for r in self.recorders if r.path[:1] == ("z",)]
        return {r.group.index: {x.path[1] for x in read if x.group is r.group} for r in read}

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
