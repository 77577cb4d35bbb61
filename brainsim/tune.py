"""The fastest of several designs, by measurement: `sim.tune()`.

The cost model of `packing.py` and `windows.py` has constants of one machine and knows nothing of how active a network
is. Here its choice is compared with its neighbours on the machine, with the inputs and in the state that count.
"""

import copy
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace

import jax
import numpy as np

from .block import may_be_blocks
from .compile import delays_in_steps
from .design import Design
from .errors import RunError
from .packing import overlap
from .procedural_rule import is_procedural
from .windows import rank_levels

MOST = 8  # designs compiled
FASTER = 0.97  # of the time so far: less is noise
REPEATS, LEAST_S, MOST_REPEATS = 7, 0.5, 50  # runs of each of two designs, in turns
SMALL = 2**15  # bytes of receivers and their future that fit any cache: blocks cannot help
FEW_EDGES = 2**13  # of a bundle, below which its layout does not matter
THIN = 4  # edges of a row and block at least


@dataclass(frozen=True)
class Trial:
    """One design: in words, seconds of a step (the least of several runs), and what came of it."""

    what: str
    step_s: float
    outcome: str

    def __str__(self):
        return f"{self.what}: {1e6 * self.step_s:.4g} us a step, {self.outcome}"


def tune(sim, duration=20.0, params=None, inputs=None, state=None, key=0, *, exact=True, progress=False):
    """See `Simulation.tune`."""
    if sim.options is None or sim.options["version"] != sim.network._version:
        raise RunError(
            "tune compiles the network again, but it has changed since it was compiled: call net.compile(...) anew"
        )
    warm = sim.run(duration, params, inputs, state, key)
    search = _Search(sim, lambda s: s.run(duration, params, inputs, warm.state, key), sim._steps(duration), progress)
    for kind in (_lists, _rows, _blocks, _levels, _threads):
        search.climb(kind, exact)
    return search.finish()


class _Search:
    """The best simulation so far, and what was tried."""

    def __init__(self, sim, run, n_steps, progress):
        self.sim, self.best, self.run, self.n_steps, self.progress = sim, sim, run, max(n_steps, 1), progress
        self.design = sim.options["design"] or Design()
        self.trials, self.reference = [], run(sim)
        self.tried = [self.design]

    def climb(self, kind, exact):
        """Try the designs that `kind` proposes; it is told after each whether that is the best now."""
        proposals, better = kind(self.best.program, self.design, self.sim, exact), None
        while len(self.tried) <= MOST:
            try:
                what, design = proposals.send(better)
            except StopIteration:
                return
            better = design not in self.tried and self.attempt(what, design, exact)

    def attempt(self, what, design, exact) -> bool:
        """Compile a design and run it against the best so far; whether it is faster."""
        self.tried.append(design)
        options = {k: v for k, v in self.sim.options.items() if k != "version"}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what compiling has to say was said the first time
            other = self.sim.network.compile(**{**options, "design": design})
        other.params = {**other.params, **_set_by_user(self.sim.params, other.params)}
        if not self.agrees(what, self.run(other), exact):
            return self.note(what, np.nan, "other spikes by rounding, not taken")
        times = self.compare(other)
        least = times.min(axis=0)
        if not self.trials:
            self.note("as compiled", least[0], "by the model of costs")
        # an interruption spoils one run: both the least times and most pairs of neighbours have to agree
        if least[1] > FASTER * least[0] or np.median(times[:, 1] / times[:, 0]) > FASTER:
            return self.note(what, least[1], f"not faster than {1e6 * least[0]:.4g} us")
        self.best, self.design = other, design
        return self.note(what, least[1], f"taken instead of {1e6 * least[0]:.4g} us")

    def agrees(self, what, found, exact) -> bool:
        """Whether a run has the bits of the first; where rounding may differ, its spikes."""
        pairs = zip(_arrays(found, exact), _arrays(self.reference, exact), strict=True)
        same = all(_equal(a, b) for a, b in pairs)
        if not same and exact:
            raise RunError(
                f"tune: with {what} a run has other bits, though layouts must not change any; this is a fault of "
                f"brainsim: keep the simulation as it was compiled, and report it"
            )
        return same

    def compare(self, other) -> np.ndarray:
        """(repeats, 2) seconds of a step of the best so far and of the other, in turns: both meet the same load."""
        times, begun = [], time.perf_counter()
        while len(times) < REPEATS or (len(times) < MOST_REPEATS and time.perf_counter() - begun < LEAST_S):
            times.append([self.run(sim).meta["loop_s"] / self.n_steps for sim in (self.best, other)])
        return np.array(times)

    def note(self, what, step_s, outcome) -> bool:
        self.trials.append(Trial(what, step_s, outcome))
        if self.progress:
            print(f"tune: {self.trials[-1]}", file=sys.stderr, flush=True)
        return outcome.startswith("taken")

    def finish(self):
        found = copy.copy(self.best)
        found.trials, found._state = tuple(self.trials), self.sim._state
        return found


# --- what may be tried: generators of (words, design), which are sent whether the last one is the best now


def _lists(program, design, sim, exact) -> Iterator:
    """Lists of spikes or one byte per cell."""
    native = program.lists or not design.lists
    summed_first = any(b.per_edge and b.delay is not None for b in program.bundles) and _others_arrive(program)
    if native and program.bundles and not program.learners and not (exact and summed_first):
        yield f"spikes as {'bytes' if design.lists else 'lists'}", replace(design, lists=not design.lists)


def _rows(program, design, sim, exact) -> Iterator:
    """Merged rows or rows in parts."""
    for b in _large(program):
        if b.per_edge and len(b.parts) > 1 and not (overlap(b) and (exact or b.n_blocks > 1)):
            words = f"bundle {b.index} {'in parts' if b.merged else 'merged'}"
            flipped = replace(design, merged={**design.merged, b.index: not b.merged})
            better = yield words, flipped
            design = flipped if better else design


def _blocks(program, design, sim, exact) -> Iterator:
    """Twice as many blocks of receivers as long as that helps, or half as many."""
    from .ops.parallel import threads

    size = np.dtype(sim.compiled_for).itemsize
    for b in _large(program)[:2]:
        alone = threads() == 1 or design.threads == 1
        if not b.listed or (b.merged and overlap(b)) or (alone and size * b.slots * program.n_receive <= SMALL):
            continue
        for factor in (2.0, 0.5):
            n, better = int(b.n_blocks * factor), True
            while better and 1 <= n <= max(1, b.n_edges // (THIN * program.layout.n_sources)):
                design_n = replace(design, blocks={**design.blocks, b.index: n})
                better = yield f"bundle {b.index} with {n} block{'s' * (n > 1)}", design_n
                design, n = (design_n if better else design), int(n * factor)
            if design.blocks.get(b.index, b.n_blocks) != b.n_blocks:
                break


def _levels(program, design, sim, exact) -> Iterator:
    """The best windows of each number of levels; their sums have another order."""
    if exact or not program.levels:
        return
    projections = {p.name: p for p in sim.network.projections.values() if p.source is None and not is_procedural(p)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        steps = delays_in_steps(sim.network, program.dt, strict=False)
    ranked = rank_levels(program.couplings, projections, steps, may_be_blocks(program))
    for number in range(4):
        levels = next(found for found in ranked if len(found) == number)
        if levels != program.levels:
            yield f"windows of {levels or 'no'} steps", replace(design, levels=levels)


def _threads(program, design, sim, exact) -> Iterator:
    """One thread for every operator call."""
    from .ops.parallel import threads

    if threads() > 1 and design.threads is None:
        yield "one thread", replace(design, threads=1)


def _large(program):
    """Bundles whose layout matters, the largest first."""
    return sorted((b for b in program.bundles if b.n_edges >= FEW_EDGES), key=lambda b: -b.n_edges)


def _others_arrive(program) -> bool:
    """Whether something else than stored edges brings spikes to all receivers; it is added before or after them."""
    ports = [place for port in program.drives.values() for place in port.receivers.values()]
    return bool(program.procedural or program.edge_blocks) or any(place.cells is None for place in ports)


def _set_by_user(params, compiled) -> dict:
    """Parameters that differ from those just compiled, which may lie in the memory of the operators."""
    narrow = lambda x, like: (
        np.asarray(x).astype(like.dtype) if like.dtype.itemsize < x.dtype.itemsize else np.asarray(x)
    )
    return {k: x for k, x in params.items() if not _equal(narrow(x, compiled[k]), narrow(compiled[k], x))}


def _arrays(result, exact) -> list:
    """What two runs are compared by."""
    spikes = [x for s in result.spikes.values() for x in (s.times, s.indices)]
    if not exact:
        return spikes
    return [*spikes, *(t.values for t in result.traces.values()), *jax.tree.leaves((result.summaries, result.state))]


def _equal(a, b) -> bool:
    a, b = np.asarray(a), np.asarray(b)
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
