"""What a compiled network does in a step, and why: `sim.explain()`."""

import numpy as np

from . import procedural_calls
from .integrate import EXPLICIT
from .memory import in_words
from .program import Program, dtype
from .tables import Explanation
from .timestep import is_local


def explain(program: Program, topology, params) -> Explanation:
    """Text: groups and integrators, operator calls with layout and reason, couplings, memory, back ends."""
    lines = [
        f"dt {program.dt:g} ms, {np.dtype(dtype()).name}; every step: deliver, integrate, detect, reset, record",
        "",
    ]
    lines += ["cells"]
    for g in program.groups:
        method = program.methods[g.index]
        fused = "one loop over the cells" if is_local(program, g) else "stage by stage, with what the other cells send"
        fused = "one Jacobian of the coupled system" if method == "rosenbrock" else fused
        stages = {"euler": 1, "heun": 2, "rk4": 4}[method] if method in EXPLICIT else 1
        lines.append(f"  {g.label}: {g.n} {g.model.__name__}, {method}, {stages} stage{'s' * (stages > 1)}, {fused}")
    lines += ["", "spikes"] if program.bundles or program.procedural else []
    lines += procedural_calls.explained(program)
    for b in program.bundles:
        lines += _bundle(program, b)
    if program.couplings:
        lines += ["", "continuous couplings"]
        lines += [_coupling(program, topology, c) for c in program.couplings]
    if program.edge_blocks:
        lines += ["", "equations on edges"]
        lines += [f"  {e.projection}: {e.n_edges} edges, one loop over them" for e in program.edge_blocks]
    lines += ["", "memory", *_memory(program, topology, params), "", "operators", *_backends()]
    return Explanation("\n".join(lines))


def _bundle(program, b):
    names = ", ".join(dict.fromkeys(p.name for p in b.parts))
    sent = "spikes" if b.sends == "spikes" else f"values computed at the source ({b.sends})"
    if b.delay is not None:
        when = f"after {b.delay * program.dt:g} ms, read from the history of the sources" if b.delay else "at once"
    else:
        when = f"one delay per edge, a ring of {b.slots} steps, {'packed words' if b.packed else 'delays apart'}"
    rows = (
        "one row per source" if b.merged else "rows in parts, one per source and projection: weights are not permuted"
    )
    weights = "one weight per edge" if b.per_edge else "weights per projection, applied to the sums"
    return [
        f"  {names}",
        f"    sends {sent}; {when}; {_form(program, b)}",
        f"    {weights}; {rows}; {b.n_blocks} block{'s' * (b.n_blocks > 1)} of receivers",
        f"    because: {b.why}",
    ]


def _form(program, b):
    if b.listed and program.lists:
        return "delivered from the list of cells that fired"
    return "delivered from one number per source"


def _coupling(program, topology, c):
    edges = topology[c.tag]["indices"].shape[0]
    if not c.moving:
        return f"  {c.projection}: {edges} edges, summed once per run: what is sent never changes"
    if c.delay == 0:
        return f"  {c.projection}: {edges} edges, no delay, summed at every stage"
    if program.window == 1:
        return f"  {c.projection}: {edges} edges, delayed, summed in every step: delays are too short for windows"
    parts = [topology[c.tag][k]["indices"].shape[0] for k in (*(f"far{i}" for i in range(len(program.levels))), "near")]
    windows = [f"{n} once per {size} steps ({size * program.dt:g} ms)" for n, size in zip(parts, program.levels) if n]
    return f"  {c.projection}: {edges} edges, delayed, summed in nested windows: " + ", ".join(
        [*windows, f"{parts[-1]} with shorter delays in every step"]
    )


def _memory(program, topology, params):
    sizes = {
        "edges": sum(x.nbytes for rows in topology.values() for x in _leaves(rows)),
        "parameters": sum(x.nbytes for x in params.values()),
        "weights in operator order": sum(4 * b.n_edges for b in program.bundles if b.per_edge),
        "rings": sum(4 * depth * program.n_receive for depth in program.rings.values()),
        "history of spikes": program.history * program.layout.n_sources,
    }
    return [f"  {name}: {in_words(size)}" for name, size in sizes.items() if size]


def _leaves(rows):
    for x in rows.values():
        if isinstance(x, dict):
            yield from _leaves(x)
        else:
            yield x


def _backends():
    from .ops import backends

    table = backends()
    return [f"  {place}: {name}" for place, name in table["choice"].items()]
