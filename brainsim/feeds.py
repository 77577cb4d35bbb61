"""From what the user gives as inputs to drives that a run can use: names resolved, values checked against the run."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .drive import Drive
from .errors import RunError, warn
from .events import SpikeTrains
from .names import match
from .prepare import derive
from .program import Program, dtype
from .signals import Nudge, as_drive


@dataclass(frozen=True)
class Feed:
    """Where a drive acts: n cells of `member` of `group`, under the key of the input; connected drives have none."""

    n: int
    place: Any
    spec: Any = None


def known_feeds(program: Program) -> dict[str, Feed]:
    """Every input that can be driven and every connected drive, by name."""
    out = {}
    for g in program.groups:
        for m in g.members:
            for key, spec in g.model.__inputs__.items():
                out[f"{m.name}.{key}"] = Feed(m.n, (g, m, f"in/{key}"), spec)
            for key, spec in g.model.__states__.items():
                out[f"{m.name}.{key}"] = Feed(m.n, (g, m, f"nudge/{key}"), spec)
    for x in program.learners:
        for rule in x.rules:
            for key, spec in rule.cls.__inputs__.items():
                out[f"{x.projection}.{key}"] = Feed(x.post.n, (x, x.post, f"rule/{key}"), spec)
    return {**out, **{name: Feed(port.trains, None) for name, port in program.drives.items()}}


def drives_of(program: Program, feeds, inputs, params, first: int, steps: int) -> dict[str, Drive]:
    """Drives by name, on the grid of the run and checked; connected drives take their values from `params`.

    Args:
        inputs: what the user gave, name or pattern -> value or drive.
        first, steps: the run in steps.

    Raises:
        RunError, UnknownNameError: a drive that cannot serve the run.
    """
    dt, out = program.dt, {}
    states = {k: f for k, f in feeds.items() if f.place is not None and f.place[2].startswith("nudge/")}
    inputs_only = {k: f for k, f in feeds.items() if f.place is not None and k not in states}
    if inputs is not None and not isinstance(inputs, dict):
        raise RunError(f"inputs is {inputs!r:.60}; give a dict such as {{'{next(iter(inputs_only), 'exc.I')}': 20.0}}")
    for pattern, given in (inputs or {}).items():
        known, kind = (states, "state") if isinstance(given, Nudge) else (inputs_only, "input")
        for name in match(pattern, known, kind):
            if name in out:
                raise RunError(f"the input {name!r} is given twice; add the drives: {{'{name}': [a, b]}}")
            out[name] = _drive(feeds[name], name, given, dt, first, steps)
    if any(f"{name}.{key}" in program.derived for name, p in program.drives.items() for key in p.drive.parameters):
        params = derive(program, params)
    for name, port in program.drives.items():
        drive = port.drive.prepare(dt, name)
        drive.check(port.trains, dt, first, steps, name)
        for key in port.drive.parameters:
            if f"{name}.{key}" in params:
                drive = drive.with_parameter(key, params[f"{name}.{key}"])
        out[name] = drive
    return out


def _drive(feed, name, given, dt, first, steps) -> Drive:
    if feed.place[2].startswith("rule/") and feed.place[2][5:] in feed.place[0].spec.modulators:
        source = feed.place[0].spec.modulators[feed.place[2][5:]]
        raise RunError(
            f"input {name!r} comes from {source!r} already (modulators= of the connection), which would hide what is "
            f"given here; leave it out of inputs=, or connect without it in modulators="
        )
    what, unit = f"input {name}", feed.spec.unit or "1"
    drive = as_drive(given, feed.n, steps, unit, what).prepare(dt, what)
    if drive.events and unit != "1":
        raise RunError(
            f"input {name!r} takes {unit}, but {type(drive).__name__} yields spikes; connect it through a synapse: "
            f"net.connect(bs.poisson(...), {feed.place[1].name!r}, ...)"
        )
    if drive.events and np.any(np.asarray(getattr(drive, "steps", 1)) == 0):
        raise RunError(f"input {name!r}: a source cannot spike at 0 ms, before the first step; start at {dt:g} ms")
    drive.check(feed.n, dt, first, steps, what)
    if isinstance(drive, SpikeTrains) and feed.place[2] == "in/spikes":
        _warn_of_lost_spikes(drive, name, dt)
    return drive


def _warn_of_lost_spikes(drive, name, dt):
    """A cell fires once in a step, so a source cannot pass on two spikes."""
    steps = drive.steps[: drive.n]
    cells = np.zeros_like(steps) if drive.cells is None else drive.cells[: len(steps)]
    lost = len(steps) - len(np.unique(np.stack([steps, cells]), axis=1).T)
    if lost:
        warn(
            f"input {name!r}: {lost} of {len(steps)} spikes fall into a step of {dt:g} ms in which their cell fires "
            f"already, and are lost; take a smaller dt, or connect the trains through a synapse, where each one counts"
        )


def carried(feeds, drives, before: dict) -> dict:
    """State of the drives of a run: taken over where the same drive ran before, else begun anew."""
    out = {}
    for name, drive in drives.items():
        fresh = drive.begin(feeds[name].n, dtype())
        same = name in before and jax.tree.structure(before[name]) == jax.tree.structure(fresh)
        out[name] = before[name] if same else fresh
    return out


def seed_words(key):
    """Two uint32 words of a run key: whole number, two words, a `jax.random.key`, or a traced whole number."""
    if isinstance(key, bool | float):
        raise RunError(f"key is {key!r}; give a whole number such as key=0")
    if isinstance(key, int | np.integer):
        if not 0 <= int(key) < 2**64:
            raise RunError(f"key is {key}; give a whole number from 0 to 2**64 - 1")
        return np.array([int(key) & 0xFFFFFFFF, int(key) >> 32], np.uint32)
    words = jnp.asarray(key)
    if jnp.issubdtype(words.dtype, jax.dtypes.prng_key):
        words = jax.random.key_data(words)
    if words.shape == (2,):
        return words.astype(jnp.uint32)
    if words.shape == () and jnp.issubdtype(words.dtype, jnp.integer):
        return jnp.stack([words.astype(jnp.uint32), jnp.zeros((), jnp.uint32)])
    raise RunError(f"key has shape {words.shape}; give one whole number, two uint32 words or one jax.random.key")
