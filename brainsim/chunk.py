"""One compiled stretch of a run: any number of steps up to the capacity of its buffers, and what it recorded as NumPy.

The number of steps is an argument, so runs of any length share one program. Spikes are kept as one bit map of all
recorded populations: it cannot overflow, and the host turns it into lists of (time, cell).
"""

import jax
import jax.numpy as jnp
import numpy as np

from .arrivals import all_spikes
from .finiteness import finite
from .program import Program, dtype
from .record import Recorder
from .recorded import Spikes, Trace
from .timestep import advance
from .windows import at, far_sums

CHUNK_BYTES = 4 * 2**20
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
        steps = int(np.clip(CHUNK_BYTES // max(self.span[1] - self.span[0] + traces, 1), 20, MAX_CHUNK))
        return max(1, steps // self.stride) * self.stride

    def buffers(self):
        """Empty buffers."""
        out = {key: jnp.zeros((len(r.ids),), dtype()) for key, r in self.keyed("mean")}
        out.update({k: jnp.zeros((self.capacity // r.every, len(r.ids)), dtype()) for k, r in self.keyed("trace")})
        width = self.span[1] - self.span[0]
        return {**out, "spikes": jnp.zeros((self.capacity, width), bool)} if width else out

    def _loop(self, topology, ready, state, drives, seed, buffers, n):
        self.n_traces += 1
        step = self.step(ready, topology, drives, seed)

        def body(i, carry, far):
            state, buffers = carry
            state, fired = step(state, far)
            out = dict(buffers)
            if "spikes" in buffers:
                hit = all_spikes(self.program, fired)[self.span[0] : self.span[1]]
                hit = hit if hit.dtype == bool else hit > 0.5
                out["spikes"] = jax.lax.dynamic_update_index_in_dim(buffers["spikes"], hit, i, 0)
            for key, r in self.keyed("mean"):
                out[key] = buffers[key] + r.read(self.program, ready, state, fired)
            for key, r in self.keyed("trace"):
                value, row = r.read(self.program, ready, state, fired), (i if r.every == 1 else i // r.every)
                out[key] = jax.lax.dynamic_update_index_in_dim(buffers[key], value, row, 0)
            return state, out

        def window(carry):
            done, state, buffers = carry
            far = far_sums(self.program, topology, ready, state)
            steps = jnp.minimum(self.program.window, n - done)
            inner = lambda k, carry: body(done + k, carry, at(far, k))
            return done + steps, *jax.lax.fori_loop(0, steps, inner, (state, buffers))

        if self.program.window == 1:
            state, buffers = jax.lax.fori_loop(0, n, lambda i, carry: body(i, carry, {}), (state, buffers))
        else:
            start = (jnp.zeros((), jnp.int32), state, buffers)
            _, state, buffers = jax.lax.while_loop(lambda carry: carry[0] < n, window, start)
        return state, buffers, finite(state)

    def collect(self, buffers, first: int, steps: int) -> tuple[dict, dict]:
        """Spikes and traces of the last call by name; copies, since the buffers are used again."""
        dt, spikes, traces = self.program.dt, {}, {}
        width = self.span[1] - self.span[0]
        if width:
            row, source = np.divmod(np.flatnonzero(np.asarray(buffers["spikes"])[:steps].reshape(-1)), width)
            times, source = (first + row + 1) * dt, source + self.span[0]
        for _, r in self.keyed("spikes"):
            mine = (source >= r.first_source) & (source < r.first_source + r.n)
            spikes[r.owner] = Spikes(times[mine], source[mine] - r.first_source, r.n)
        for key, r in self.keyed("trace"):
            rows = steps // r.every
            at = (first + np.arange(1, rows + 1) * r.every) * dt
            traces[r.name] = Trace(np.array(buffers[key][:rows]), at, r.ids, r.unit)
        return spikes, traces
