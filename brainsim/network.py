"""What the user says: populations, projections, initial values, derived parameters."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from .connectivity import Edges, from_edges
from .declare import check_bounds
from .distributions import Distribution, as_values, generator
from .drive import Drive
from .edge_values import edge_values, lengths
from .errors import ConnectError, ParameterError, RunError, UnknownNameError, unknown
from .integrate import check_method
from .learnable_delays import check_place, settle
from .names import check_name, match
from .neuron import Neuron
from .plastic import plastic_of, refuse_weight
from .population import Population, Projection, check_count, creation_line
from .procedural_rule import procedural, project
from .rule import Rule
from .synapse import Synapse
from .units import to_canonical


class Network:
    """A graph of named populations and projections; nothing exists that was not added by name.

    Args:
        seed: whole number; connectivity, initial values and noise are keyed by it and by names, so that adding a
            recorder or a population changes no other number.
    """

    def __init__(self, seed: int = 0):
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
            raise ParameterError(f"seed is {seed!r}; give a whole number such as seed=0")
        self.seed = int(seed)
        self.populations: dict[str, Population] = {}
        self.projections: dict[str, Projection] = {}
        self.initial: dict[str, Any] = {}
        self.derived: dict[str, Callable] = {}
        self._version = 0
        self._simulation = None
        self._initial_changed = False

    def add(self, name, model, n, *, positions=None, labels=None, method=None) -> Population:
        """Add a population.

        Args:
            name: unique name; addresses the population everywhere.
            model: instance of a Neuron class. Populations that share one instance share its parameters.
            n: number of cells.
            positions: (n, d) positions in um, for distance-dependent rules and plots.
            labels: n cell names, for `net["worm"]["AVAL"]`.
            method: integrator of this population ("exact", "exp_euler", "euler", "heun", "rk4", "rosenbrock").

        Raises:
            ParameterError, UnknownNameError: impossible count, values of the wrong length, name taken.
        """
        check_name(name, "population")
        if name in self:
            kind = "population" if name in self.populations else "projection"
            raise UnknownNameError(f"a {kind} {name!r} exists already (made at {self[name].line}); choose another name")
        if isinstance(model, type) or not isinstance(model, Neuron):
            raise ParameterError(
                f"net.add({name!r}): the model is {model!r}; give an instance of a Neuron class, for example LIF()"
            )
        n = check_count(n, f"net.add({name!r}): n")
        if method is not None:
            check_method(method)
        if positions is not None:
            positions = np.asarray(positions, float)
            if positions.ndim != 2 or len(positions) != n or not np.isfinite(positions).all():
                raise ParameterError(
                    f"{name}: positions have shape {positions.shape}; give finite values of shape ({n}, 2) or ({n}, 3)"
                )
        if labels is not None and (len(labels) != n or len(set(labels)) != n):
            raise ParameterError(f"{name}: {len(labels)} labels for {n} cells; give one unique label per cell")
        values = self._values(model, name, n)
        made = Population(
            name,
            model,
            n,
            None,
            positions,
            tuple(labels) if labels is not None else None,
            method,
            creation_line(),
            values,
        )
        self.populations[name] = made
        self._changed()
        return made

    def _values(self, model, name, n) -> dict:
        """Parameters that are not shared scalars: drawn per cell, or given as arrays whose length is checked."""
        own = {}
        for key, spec in type(model).__params__.items():
            value = getattr(model, key)
            if isinstance(value, Distribution) and n is None:
                raise ParameterError(
                    f"{name}.{key} is {value!r}; a synapse takes a number or an array, one value "
                    f"per source, target or edge"
                )
            if isinstance(value, Distribution):
                own[key] = value.sample(generator(self.seed, name, key), n)
                check_bounds(own[key], spec, f"{name}.{key}")
            elif n is not None and np.ndim(value) and np.shape(value) != (n,):
                raise ParameterError(
                    f"{name}.{key} has shape {np.shape(value)}; {name} has {n} cells, so give a number or shape ({n},)"
                )
        return own

    def connect(
        self,
        pre,
        post,
        synapse,
        rule=None,
        *,
        weight=None,
        delay=0.0,
        name=None,
        into="I",
        plasticity=None,
        bounds=None,
        modulators=None,
        delay_at="axon",
        ties="pre_first",
        deliver="new",
        rewiring=None,
    ):
        """Connect populations (or lists of them) by a rule.

        Args:
            pre: source population, part, name, or list of them; or a drive such as `bs.poisson(8.0)`, which gives every
                target cell an independent train.
            post: target population, part, name, or list.
            synapse: instance of a Synapse class.
            rule: connectivity rule such as `bs.fixed_probability(0.1)`; not needed for drives.
            weight: number, array of one value per edge (edges sorted by source, then target), distribution, or function
                of distance in um; unit as the synapse declares.
            delay: the same, in ms, at least 0; axonal (docs/schedule.md); or `bs.learnable_delay(...)`: a parameter.
            name: default "pre->post".
            into: input of the target that the synaptic current adds to.
            plasticity: instance of a Plasticity class, or a list of them that act on the same weights one after the
                other; docs/plasticity.md has the conventions named below.
            bounds: of plastic weights: (low, high), `bs.hard`, `bs.soft`, `bs.multiplicative` or `bs.unbounded()`.
                Default: those of the synapse class, else the sign of the weights is kept.
            modulators: where inputs of the rules come from, `{"dopamine": "critic.r"}` (a state of one cell, or of one
                cell per target); `{"on_modulator": "vta.spikes"}` names the population whose spikes a rule acts on.
            delay_at: "axon": rules see presynaptic spikes on arrival; "dendrite": when they are fired, and
                postsynaptic ones after the delay.
            ties: what a presynaptic and a postsynaptic spike at one time see of each other: the second one the first
                ("pre_first", "post_first"), "both" or "neither".
            deliver: "new": a spike delivers the weight after its own update, "old": before.
            rewiring: `bs.rewiring(every, ...)`: edges are given up and grown at a fixed budget.

        Returns:
            Projection, or a list of them if lists were given.
        """
        many = isinstance(pre, list | tuple) or isinstance(post, list | tuple)
        learning = {"plasticity": plasticity, "bounds": bounds, "modulators": modulators}
        learning |= {"delay_at": delay_at, "ties": ties, "deliver": deliver, "rewiring": rewiring}
        made = [
            self._connect_one(a, b, synapse, rule, weight, delay, name, into, dict(learning))
            for a in (pre if isinstance(pre, list | tuple) else [pre])
            for b in (post if isinstance(post, list | tuple) else [post])
        ]
        return made if many else made[0]

    def _population(self, given, side) -> Population:
        if isinstance(given, str):
            if given not in self.populations:
                raise UnknownNameError(f"connect: {side}: {unknown('population', given, self.populations)}")
            return self.populations[given]
        if not isinstance(given, Population):
            raise ConnectError(f"connect: {side} is {given!r}; give a population, its name, or a list of them")
        mine = self.populations.get(given.name)
        if mine is None or mine.model is not given.model or mine.n != given.n:
            raise ConnectError(f"connect: {side} {given.name!r} belongs to another network; add it to this one first")
        return given

    def _connect_one(self, pre, post, synapse, rule, weight, delay, name, into, learning):
        if isinstance(synapse, type) or not isinstance(synapse, Synapse):
            raise ConnectError(
                f"connect: the synapse is {synapse!r}; give an instance of a Synapse class, for example ExpCurrent()"
            )
        source = pre if isinstance(pre, Drive) else None
        pre = None if source is not None else self._population(pre, "pre")
        post = self._population(post, "post")
        name = f"{source.label if pre is None else pre}->{post}" if name is None else check_name(name, "projection")
        if name in self:
            kind = "projection" if name in self.projections else "population"
            raise ConnectError(f"a {kind} {name!r} exists already (made at {self[name].line}); give another name=")
        self._check_ends(name, synapse, pre, post, into)
        delay, learnable = check_place(name, delay, synapse, rule, source, learning)
        if isinstance(rule, procedural) and source is None:
            if learning["plasticity"] is not None or learning["rewiring"] is not None:
                raise ConnectError(f"{name}: procedural edges are not stored, so they cannot learn; store them")
            own = self._values(synapse, name, None)
            given = (name, pre, post, synapse, rule, self.seed, weight, delay, into, creation_line(), own)
            self.projections[name] = project(*given)
            self._changed()
            return self.projections[name]
        edges = self._edges(name, rule, pre, post, source)
        self._check_order(name, rule, pre, post, weight, delay)
        away = functools.cache(lambda: lengths(edges, pre, post, getattr(rule, "periodic", None)))
        weight = edge_values(self.seed, name, "weight", weight, edges, type(synapse).__weight__, away)
        delay = settle(edge_values(self.seed, name, "delay", delay, edges, None, away), name, learnable, edges, source)
        carried = [x if k is not None else None for x, k in ((weight, edges.weight), (delay, edges.delay))]
        edges = Edges.from_rows(edges.indptr, edges.post, edges.n_pre, edges.n_post, *carried)  # one copy of the values
        plastic = plastic_of(self, name, synapse, pre, post, weight, learning)
        more = (creation_line(), self._values(synapse, name, None), plastic, learnable)
        self.projections[name] = made = Projection(name, pre, post, synapse, edges, weight, delay, into, source, *more)
        self._changed()
        return made

    def _check_ends(self, name, synapse, pre, post, into):
        """The target has the input, both ends have the states that the synapse reads, spiking sources a threshold."""
        target, methods = type(post.model), synapse.__methods__
        if "current" in methods and into not in target.__inputs__:
            raise ConnectError(f"{name}: into: {unknown(f'input of {target.__name__}', into, target.__inputs__)}")
        needed = {a for args in methods.values() for a in args if a not in synapse.__states__}
        needed |= {k for k in synapse.__increments__ if k.endswith("_post")}
        for end, population in (("_pre", pre), ("_post", post)):
            for argument in sorted(a for a in needed if a.endswith(end)):
                if population is None:
                    raise ConnectError(
                        f"{name}: {type(synapse).__name__} reads {argument!r}, but a drive has no states"
                    )
                states = type(population.model).__states__
                if argument[: -len(end)] not in states:
                    raise ConnectError(
                        f"{name}: {type(synapse).__name__} uses {argument!r}: "
                        f"{unknown(f'state of {type(population.model).__name__}', argument[: -len(end)], states)}"
                    )
        if pre is None:
            self._check_driven(name, synapse)
        if "on_pre" in methods and pre is not None and "spike" not in type(pre.model).__methods__:
            raise ConnectError(
                f"{name}: {type(synapse).__name__} acts on spikes, but {type(pre.model).__name__} never spikes; "
                f"give it a spike method or use a graded synapse"
            )

    def _check_driven(self, name, synapse):
        """A drive has no source cells: everything that a spike does must be known at the target."""
        away = sorted(n for n, s in synapse.__states__.items() if s.on != "post")
        asked = sorted({*synapse.__methods__.get("on_pre", ())} - {"w", "dt"})
        why = "does not act on spikes" if "on_pre" not in synapse.__methods__ else None
        why = f"asks for {', '.join(asked)} when a spike arrives" if asked else why
        why = f"has states on sources or edges ({', '.join(away)})" if away else why
        if why:
            raise ConnectError(
                f"{name}: {type(synapse).__name__} {why}, but a drive has no source cells; connect a population of "
                f"PoissonSource or SpikeSource instead"
            )

    def _edges(self, name, rule, pre, post, source) -> Edges:
        """Edges with indices into the whole populations, sorted by (pre, post)."""
        if source is not None:
            if not source.events:
                raise ConnectError(
                    f"{name}: {type(source).__name__} yields no events; give it as an input: "
                    f"inputs={{'{post.name}.I': ...}}"
                )
            if rule is not None:
                raise ConnectError(f"{name}: a drive gives every target its own train; leave the rule out")
            return Edges(post.index, post.index, n_pre=post.n, n_post=post.n)
        if not isinstance(rule, Rule):
            raise ConnectError(
                f"{name}: the rule is {rule!r}; give a connectivity rule such as bs.fixed_probability(0.1)"
            )
        part = lambda p: None if p.positions is None else p.positions[p.index]
        drawn = rule.edges(
            len(pre),
            len(post),
            generator(self.seed, name, "edges"),
            pre_ids=pre.index,
            post_ids=post.index,
            same=pre.name == post.name,
            pre_positions=part(pre),
            post_positions=part(post),
        )
        if pre.ids is None and post.ids is None:
            return drawn
        return drawn.within(pre.index, post.index, pre.n, post.n)

    def _check_order(self, name, rule, pre, post, weight, delay):
        """Edges are kept sorted; values beside a list in another order would go to the wrong edges."""
        arrays = [k for k, v in (("weight", weight), ("delay", delay)) if isinstance(v, list | tuple) or np.ndim(v)]
        if arrays and isinstance(rule, from_edges) and len(rule.pre):
            key = pre.index[rule.pre].astype(np.int64) * post.n + post.index[rule.post]
            if np.any(np.diff(key) < 0):
                raise ConnectError(
                    f"{name}: {arrays[0]} has one value per edge, and edges are kept sorted by source and target, but "
                    f"from_edges lists them in another order; write bs.from_edges(pre, post, {arrays[0]}=...)"
                )

    def init(self, pattern: str, value) -> None:
        """Set initial values: `net.init("*.v", bs.uniform(-60.0, -50.0))`.

        Args:
            pattern: "<population>.<state>" or "<projection>.<state>", wildcards allowed.
            value: number, array of one value per cell (or edge), or distribution, in the unit of the state.
        """
        known = {}
        for p in self.populations.values():
            known.update({f"{p.name}.{s}": (spec, p.n) for s, spec in type(p.model).__states__.items()})
        for p in self.projections.values():
            size = {"edge": p.n_edges, "post": p.post.n, "pre": p.pre.n if p.pre else 0}
            known.update({f"{p.name}.{s}": (spec, size[spec.on]) for s, spec in type(p.synapse).__states__.items()})
            for rule in () if p.plastic is None else p.plastic.rules:
                at = {**size, "projection": 1}
                known.update({f"{p.name}.{s}": (spec, at[spec.on]) for s, spec in type(rule).__states__.items()})
        refuse_weight(pattern, self.projections, known)
        for name in match(pattern, known, "state"):
            spec, n = known[name]
            random = generator(self.seed, name, "initial")
            self.initial[name] = as_values(value, n, random, spec.unit, f"initial {name}")
        self._initial_changed = True
        self._changed()

    def derive(self, name: str, function: Callable) -> None:
        """Compute a parameter inside the program from others, before every run; gradients flow through it.

        Args:
            name: the parameter that is computed, for example "chemical.v_th".
            function: takes a mapping from parameter names to arrays, returns the value.
        """
        if not callable(function):
            raise ParameterError(f"derive({name!r}): {function!r} is not a function of the parameters")
        self.derived[name] = function
        self._changed()

    def compile(self, dt=0.1, record=(), method="auto", **options):
        """Compile to one XLA program; see `Simulation` for the arguments."""
        from .simulate import compile_network

        return compile_network(self, dt=dt, record=record, method=method, **options)

    def run(
        self, duration, dt=0.1, *, record=None, inputs=None, reset=False, method="auto", progress=None, stream=None
    ):
        """Compile if needed, run on from the last state, return a Result.

        Args:
            duration: biological time in ms (`5*bs.units.second`, "5 s").
            dt: time step in ms.
            record: what to record; default all spikes.
            inputs: drives by name, `{"exc.I": 20.0}`.
            reset: start from the initial state instead of the last one.
            method: integrator.
            progress: True, False, a function of (done_ms, total_ms), or None for automatic.
            stream: path of an HDF5 file that receives every finished chunk. A result above 1 GiB reads its spikes and
                traces from that file when they are used: keep it where it is.
        """
        from .record import Spec

        if record is None:
            record = [f"{p.name}.spikes" for p in self.populations.values() if "spike" in type(p.model).__methods__]
        record = (record,) if isinstance(record, str | Spec) else tuple(record)
        key = (self._version, float(to_canonical(dt, "ms", "dt")), record, method)
        if self._initial_changed and self._simulation is not None and not reset:
            raise RunError(
                "net.init was called after the last run; a run that goes on from there would ignore the new initial "
                "values: say reset=True to start from them"
            )
        if self._simulation is None or self._simulation[0] != key:
            carried = None if self._simulation is None else self._simulation[1]
            simulation = self.compile(dt=dt, record=record, method=method)
            if carried is not None and not reset:
                simulation.continue_from(carried)
            self._simulation, self._initial_changed = (key, simulation), False
        return self._simulation[1].advance(duration, inputs=inputs, reset=reset, progress=progress, stream=stream)

    def __getitem__(self, name):
        known = {**self.populations, **self.projections}
        if name not in known:
            raise UnknownNameError(unknown("population or projection", name, known))
        return known[name]

    def __contains__(self, name):
        return name in self.populations or name in self.projections

    def _changed(self):
        self._version += 1

    def __repr__(self):
        cells, edges = sum(p.n for p in self.populations.values()), sum(p.n_edges for p in self.projections.values())
        return (
            f"Network(seed={self.seed}: {len(self.populations)} populations, {cells} cells, "
            f"{len(self.projections)} projections, {edges} edges)"
        )

    def _repr_html_(self):
        from .tables import network_html

        return network_html(self)
