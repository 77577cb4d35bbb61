"""What a compiled network does in a step, and why: `sim.explain()`."""

import jax
import numpy as np

from . import history, learn_events, learnable_delays, procedural_calls
from .beginning import initial_state
from .drive import Drive
from .events import Poisson, SpikeTrains
from .integrate import EXPLICIT
from .memory import in_words
from .prepare import prepare
from .program import Program, dtype
from .tables import Explanation
from .timestep import is_local


def explain(program: Program, topology, params, laid, trials=()) -> Explanation:
    """Text: groups and integrators, operator calls with layout and reason, couplings, drives, memory, back ends.

    Args:
        laid: what compiling laid out already, see `prepare.laid_weights`.
        trials: designs that `sim.tune()` compared.
    """
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
    lines += _precision(program)
    if program.couplings:
        lines += ["", "continuous couplings"]
        lines += [_coupling(program, topology, c) for c in program.couplings]
    if program.edge_blocks:
        lines += ["", "equations on edges"]
        how = {True: "those of cells that have spiked", False: "one loop over them"}
        for e in program.edge_blocks:
            lags = program.lags.get(e.projection)
            delays = "" if lags is None else f"; {learnable_delays.explained(lags)}"
            lines.append(f"  {e.projection}: {e.n_edges} edges, {how[e.rests]}{delays}")
    lines += ["", "plasticity", *map(learn_events.explained, program.learners)] if program.learners else []
    drives = [*_drives(program), *_noise(program), *_inputs(program)]
    lines += ["", "drives and noise", *drives] if drives else []
    lines += ["", "memory of a run outside of transformations", *_memory(program, topology, params, laid)]
    lines += ["", "layouts that were tried", *(f"  {t}" for t in trials)] if trials else []
    lines += ["", "operators", *_backends()]
    return Explanation("\n".join(lines))


def _bundle(program, b):
    names = ", ".join(dict.fromkeys(p.name for p in b.parts))
    sent = "spikes" if b.sends == "spikes" else f"values computed at the source ({b.sends})"
    if b.delay is not None:
        when = f"after {b.delay * program.dt:g} ms, read from the history of the sources" if b.delay else "at once"
    else:
        learnable = dict.fromkeys(learnable_delays.explained(p.steps) for p in b.parts if b.kernel)
        delays = " and ".join(learnable) or "one delay per edge"
        when = f"{delays}, a ring of {b.slots} steps, {'packed words' if b.packed else 'delays apart'}"
    rows = (
        "one row per source" if b.merged else "rows in parts, one per source and projection: weights are not permuted"
    )
    narrow = ", in bfloat16" * program.narrow
    entry = "entry" if b.kernel else "edge"
    weights = f"one weight per {entry}{narrow}" if b.per_edge else "weights per projection, applied to the sums"
    return [
        f"  {names}",
        f"    sends {sent}; {when}; {_form(program, b)}",
        f"    {weights}; {rows}; {b.n_blocks} block{'s' * (b.n_blocks > 1)} of receivers",
        f"    because: {b.why}",
    ]


def _precision(program) -> list[str]:
    """Which weights are narrow, and which cannot be and why."""
    if not program.narrow:
        return []
    wide = np.dtype(dtype()).name
    names = lambda found: ", ".join(dict.fromkeys(found))
    kept = [
        (
            names(p.name for b in program.bundles if not b.per_edge for p in b.parts),
            "a number per projection or target",
        ),
        (names(x.projection for x in program.learners), "plastic: small changes would be lost"),
        (names(x.projection.name for x in program.procedural), "drawn again, not stored"),
        (names(program.drives), "of drives"),
        (names(c.projection for c in (*program.couplings, *program.edge_blocks)), "not delivered by spikes"),
    ]
    per_edge = names(p.name for b in program.bundles if b.per_edge for p in b.parts)
    lines = ["", "precision of weights"]
    lines += [f"  bfloat16, summed in {wide}: {per_edge or 'none'}; a transformed run rounds them and keeps {wide}"]
    return lines + [f"  {wide}: {found} ({why})" for found, why in kept if found]


def _form(program, b):
    if b.listed and history.keeps_lists(program):
        return "delivered from the list of cells that fired"
    return "delivered from one number per source"


def _coupling(program, topology, c):
    edges = topology[c.tag]["indices"].shape[0]
    if not c.moving:
        return f"  {c.projection}: {edges} edges, summed once per run: what is sent never changes"
    if c.delay == 0:
        return f"  {c.projection}: {edges} edges, no delay, summed at every stage"
    if c.projection in program.lags:
        lags = program.lags[c.projection]
        about = learnable_delays.explained(lags)
        return f"  {c.projection}: {edges // lags.entries} edges, {about}; {edges} entries, summed in every step"
    if program.window == 1:
        return f"  {c.projection}: {edges} edges, delayed, summed in every step: delays are too short for windows"
    parts = [topology[c.tag][k]["indices"].shape[0] for k in (*(f"far{i}" for i in range(len(program.levels))), "near")]
    windows = [f"{n} once per {size} steps ({size * program.dt:g} ms)" for n, size in zip(parts, program.levels) if n]
    near = [f"{parts[-1]} with shorter delays in every step"] if parts[-1] else []
    return f"  {c.projection}: {edges} edges, delayed, summed in nested windows: " + ", ".join([*windows, *near])


def _drives(program):
    """Drives that are connected through synapses: what they yield, and where it is added."""
    out = []
    for name, port in program.drives.items():
        when = f"after {port.delay * program.dt:g} ms" if port.delay else "at once"
        few = any(place.cells is not None for place in port.receivers.values())
        cells = f"{port.trains} of {port.n} cells" if few else f"all {port.n} cells"
        where = "to their states one by one" if few else "to what spikes bring them, in one vector of all receivers"
        out += [f"  {name}: {_numbers(port.drive)}; to {cells}, {when}", f"    added, times the weight, {where}"]
    return out


def _numbers(drive):
    """What a drive yields in a step."""
    if isinstance(drive, SpikeTrains):
        return f"{len(drive.times)} given spikes, sorted by step and looked up in every step"
    if not isinstance(drive, Poisson):
        return type(drive).__name__
    rate = "a rate that changes with time" if isinstance(drive.rate, Drive) else "a rate that is a parameter"
    trains = f"the sum of {drive.n} Poisson trains" if drive.n > 1 else "a Poisson train"
    return f"{trains} of {rate} for each cell: a count drawn in every step, by inversion"


def _noise(program):
    """Noise in equations, thresholds that draw, and where random numbers come from."""
    out = []
    for g in program.groups:
        for state in (m[len("noise_") :] for m in g.model.__methods__ if m.startswith("noise_")):
            names = ", ".join(f"{m.name}.{state}" for m in g.members)
            out.append(f"  noise of {names}: a normal number for each cell and step, added by the integrator")
        if "key" in g.model.__methods__.get("spike", ()):
            names = ", ".join(m.name for m in g.members)
            out.append(f"  spikes of {names}: 64 random bits for each cell and step, compared in the threshold")
    if out or any(isinstance(port.drive, Poisson) for port in program.drives.values()):
        out.append("  random numbers: Threefry-2x32 of seed, name, key= of the run, step and cell; none is stored")
    return out


def _inputs(program):
    """What `inputs=` of a run can drive."""
    names = [
        f"{m.name}.{key} ({spec.unit or '1'})"
        for g in program.groups
        for m in g.members
        for key, spec in g.model.__inputs__.items()
    ]
    shown = ", ".join(names[:8]) + f", ... ({len(names)} in all)" * (len(names) > 8)
    return [f"  inputs= of a run drives {shown}: added to what synapses give to that input"] if names else []


def _memory(program, topology, params, laid):
    """Sizes of the arrays that a run holds, from their shapes and types; recorders and `inputs=` come on top."""
    begin = lambda params: history.enter(program, initial_state(program, params, {}))
    state = jax.eval_shape(begin, dict(params))
    past = {k: _size(x) for k, x in state["history"].items()}
    spikes = sum(past.pop(k, 0) for k in ("spikes", "ids", "counts"))
    binary = "spikes" in state["history"] and state["history"]["spikes"].dtype == bool
    form = "a byte per source" if binary else "a number per source"
    form = "a list of the cells that fired" if "ids" in state["history"] else form
    weights, rest = _prepared(program, topology, dict(params), laid)
    drives = [port.drive.begin(port.trains, dtype()) for port in program.drives.values()]
    sizes = {
        "edges": _size(topology),
        "parameters": _size(dict(params)),
        "weights in operator order": weights,
        "other values computed from the parameters": rest,
        "states": _size([state[k] for k in ("z", "edges", "refractory", "distance")] + drives),
        "rings": _size(state["rings"]),
        f"history of spikes, {program.history} step{'s' * (program.history > 1)}, in each {form}": spikes,
        "history of values computed at the source": sum(past.values()),
        "history of continuous couplings": _size(state["sent"]),
    }
    return [f"  {name}: {in_words(size)}" for name, size in sizes.items() if size]


def _prepared(program, topology, params, laid) -> tuple[int, int]:
    """Bytes of the weights and of the rest that `prepare` makes; parameters that it hands on as they are take none."""
    function = lambda topology, params: prepare(program, topology, params, frozenset(laid), host=True)
    traced, shape = jax.make_jaxpr(function, return_shape=True)(topology, params)
    seen, sizes = set(map(id, traced.jaxpr.invars)), []
    for variable, x in zip(traced.jaxpr.outvars, jax.tree.leaves(shape)):
        sizes.append(0 if id(variable) in seen else _size(x))
        seen.add(id(variable))
    made = jax.tree.unflatten(jax.tree.structure(shape), sizes)
    weights = sum(jax.tree.leaves([{**w, "scale": 0} for w in made["weights"].values()]))
    own = sum(_unshared(w, [params[n] for n in names]) for w, names in laid.values())
    return weights + own, sum(sizes) - weights


def _unshared(whole, parts) -> int:
    """Bytes of an array that are not those of its parts, which may be views of it."""
    start = whole.unsafe_buffer_pointer()
    return whole.nbytes - sum(p.nbytes for p in parts if 0 <= p.unsafe_buffer_pointer() - start < whole.nbytes)


def _size(tree) -> int:
    """Bytes of all arrays of a tree."""
    return sum(int(np.prod(x.shape)) * np.dtype(x.dtype).itemsize for x in jax.tree.leaves(tree))


def _backends():
    from .ops import backends

    table = backends()
    return [f"  {place}: {name}" for place, name in table["choice"].items()]
