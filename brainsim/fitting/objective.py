"""What is minimised: a loss of simulated and given data, as a function of one vector."""

import inspect
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from ..dependence import reached
from ..errors import BrainsimError, ParameterError, RunError
from ..program import dtype
from ..signals import nudge as nudged
from .space import Bound, Space

ASKED = ("result", "data", "extra", "params", "key")


class Objective:
    """A loss as a function of a vector: the numbers of the space, then those of `extra`.

    See `bs.fit` for the arguments.
    """

    def __init__(
        self, sim, space, loss, data=None, *, duration, inputs=None, extra=None, adjoint=None, batch=None, nudge=None,
        params=None, per="trial",
    ):  # fmt: skip
        if not isinstance(space, Space | Bound):
            raise ParameterError(f"space is {space!r:.60}; write bs.Space({{'exc.tau': bs.bounded(5.0, 50.0)}})")
        if isinstance(space, Bound) and params is not None:
            raise ParameterError("params= goes into space.bind(sim, params); this space is bound already")
        self.sim, self.duration, self.words = sim, duration, jnp.zeros(2, jnp.uint32)
        self.bound = space if isinstance(space, Bound) else space.bind(sim, params)
        try:
            floats = jax.tree.map(lambda x: jnp.asarray(x, dtype()), {} if extra is None else extra)
        except (TypeError, ValueError) as error:
            raise ParameterError(
                f"extra is no tree of arrays ({error}); of a flax module give its parameters, such as module.init(...)"
            ) from error
        flat, self.unravel = ravel_pytree(floats)
        self.extra_start, self.has_extra = np.asarray(flat), extra is not None
        self.size, self.start_dtype = self.bound.size + flat.size, np.dtype(dtype())
        self.reach = np.concatenate([self.bound.reach, np.full(flat.size, np.inf)])
        if not self.size:
            raise ParameterError(
                "nothing varies: the space is empty and there is no extra=; name at least one parameter"
            )
        self.loss = _by_name(loss, ASKED, "loss")
        made = inputs if callable(inputs) else None
        self.inputs = _by_name(made, ("data", "extra", "key"), "inputs") if made else (lambda **_: inputs)
        self.data, self.batch, self.trials = data, batch, _trials(data, batch)
        if per not in ("trial", "batch") or (per == "batch" and batch is None):
            raise ParameterError(
                f"per={per!r} with batch={batch}: a loss is of each 'trial', or of a 'batch' with batch= trials in it"
            )
        self.per = per
        self.nudge, self.adjoint = nudge, adjoint
        if nudge is not None and not isinstance(nudge, dict):
            raise ParameterError(f"nudge is {nudge!r:.60}; give a dict such as {{'hh.v': v_data}}")

    def parts(self, x):
        """(parameters, extra) of a vector."""
        params = {**self.bound.base, **self.bound.params(x[: self.bound.size])}
        return params, self.unravel(x[self.bound.size :]) if self.has_extra else None

    def simulate(self, x, data=None, words=(0, 0), rate=None):
        """The run at a vector, with the data of one trial: (result, parameters, extra)."""
        params, extra = self.parts(x)
        words = jnp.asarray(words, jnp.uint32)
        inputs = self.inputs(data=data, extra=extra, key=words) or {}
        if not isinstance(inputs, dict):
            raise ParameterError(
                f"inputs is {inputs!r:.60}; give a dict such as {{'exc.I': 20.0}}, or a function of one"
            )
        inputs = dict(inputs)
        if self.nudge is not None and rate is not None:
            inputs.update({name: nudged(values, rate) for name, values in self.nudge.items()})
        how = {} if self.adjoint is None else {"adjoint": self.adjoint}
        return self.sim.run(self.duration, params=params, inputs=inputs, key=words, **how), params, extra

    def failure(self, x) -> str:
        """Why the loss is not finite at a vector: what a run of the first trial says outside of transformations."""
        data = self.data if self.trials is None else jax.tree.map(lambda d: jnp.asarray(d)[0], self.data)
        try:
            self.simulate(x, data, self.words)
        except BrainsimError as error:
            return str(error)
        return "its run is finite, so the loss itself is nan or infinite"

    def one(self, x, data, words, rate=None):
        """Loss of one trial: a number, or residuals; nan where the run is not finite."""
        result, params, extra = self.simulate(x, data, words, rate)
        return self._judged(result, data, params, extra, words, rate)

    def together(self, x, data, words, each, rate=None):
        """Loss of trials that are judged as one: results have a leading axis of trials."""
        result = jax.vmap(lambda d, w: self.simulate(x, d, w, rate)[0])(data, each)
        return self._judged(result, data, *self.parts(x), words, rate)

    def _judged(self, result, data, params, extra, words, rate):
        try:
            value = _numbers(self.loss(result=result, data=data, extra=extra, params=params, key=words))
        except (TypeError, ValueError, KeyError) as error:
            if isinstance(error, BrainsimError):
                raise
            traced = isinstance(error, jax.errors.JAXTypeError)
            hint = "it needs known numbers: write it with jax.numpy, without float(), if or numpy. " if traced else ""
            raise RunError(f"the loss fails on {_shapes(result, data)}: {hint}{error}") from error
        if value.ndim > 1:
            raise ParameterError(f"the loss has shape {value.shape}; return a number, or a vector of residuals")
        value = jnp.where(jnp.all(result.ok), value, jnp.nan)
        return value if rate is None else value * (1.0 + rate)  # what nudging shrinks

    def residuals(self, x, words, rows=None, rate=None):
        """Everything that is squared and summed, as one vector; a number per trial for losses that are numbers."""
        if self.trials is None:
            return jnp.atleast_1d(self.one(x, self.data, words, rate))
        data = self.data if rows is None else jax.tree.map(lambda d: jnp.asarray(d)[rows], self.data)
        n = self.trials if rows is None else rows.shape[0]
        each = jax.vmap(lambda i: words ^ jnp.array([0, 1], jnp.uint32) * i)(jnp.arange(n, dtype=jnp.uint32))
        if self.per == "batch":
            return self.together(x, data, words, each, rate).reshape(-1)
        return jax.vmap(lambda d, w: self.one(x, d, w, rate))(data, each).reshape(-1)

    def value(self, x, words=None, rows=None, rate=None):
        """The loss: the mean over trials of numbers, or of squares of residuals."""
        words = self.words if words is None else jnp.asarray(words, jnp.uint32)
        r = self.residuals(x, words, rows, rate)
        return jnp.mean(r**2) if self.is_vector else jnp.mean(r)

    @property
    def is_vector(self):
        """Whether the loss returns residuals; found by tracing it once."""
        if not hasattr(self, "_vector"):
            first = None if self.trials is None else slice(self.batch) if self.per == "batch" else 0
            data = self.data if first is None else jax.tree.map(lambda d: jnp.asarray(d)[first], self.data)
            x, each = jax.ShapeDtypeStruct((self.size,), dtype()), jnp.zeros((self.batch or 1, 2), jnp.uint32)
            loss = partial(self.together, each=each) if self.per == "batch" else self.one
            self._vector = bool(jax.eval_shape(lambda x: loss(x, data, self.words), x).shape)
        return self._vector

    def total(self, x):
        """The loss over all trials, batch by batch, without nudging."""
        if self.trials in (None, self.batch):
            return self.value(x)
        rows = jnp.arange(self.trials).reshape(-1, self.batch)
        return jnp.mean(jax.lax.map(lambda r: self.value(x, rows=r), rows))

    def is_noisy(self, x) -> bool:
        """Whether the loss depends on the realisation of the noise, read from its jaxpr."""
        rows = None if self.trials is None else jnp.arange(self.batch)
        return any(reached(lambda words: [self.value(jnp.asarray(x), words, rows)], self.words))

    def start(self, params=None):
        """The vector of the present values."""
        return np.concatenate([self.bound.vector(params), self.extra_start]).astype(dtype())


def _numbers(value):
    """What a loss returned, as one array of floats."""
    instead = "return a number, or a vector of residuals"
    if value is None or isinstance(value, tuple | list | dict):
        raise ParameterError(
            f"the loss returns {type(value).__name__}; {instead} (jnp.concatenate makes one of several)"
        )
    kind = jnp.result_type(value)
    if not (jnp.issubdtype(kind, jnp.floating) or jnp.issubdtype(kind, jnp.integer)):
        raise ParameterError(f"the loss returns values of type {kind}; {instead}")
    return jnp.asarray(value, dtype())


def _shapes(result, data):
    """What a loss was given, in words."""
    have = {**{k: v.values for k, v in result.traces.items()}, **{f"{k}.spikes": v for k, v in result.spikes.items()}}
    kept = ", ".join(f"{k} {tuple(np.shape(v))}" for k, v in {**have, **result.summaries}.items())
    return f"results {kept or 'without records'} and data of shape {jax.tree.map(np.shape, data)}"


def _by_name(function, known, what):
    """Call a user's function with the arguments that it asks for."""
    if not callable(function):
        raise ParameterError(f"{what} is {function!r:.60}; give a function of {', '.join(known)}")
    kinds = inspect.Parameter
    asked = [p for p in inspect.signature(function).parameters.values() if p.kind is not kinds.VAR_KEYWORD]
    odd = [
        p.name for p in asked if p.name not in known and (p.default is kinds.empty or p.kind is kinds.VAR_POSITIONAL)
    ]
    if odd:
        raise ParameterError(
            f"{what} asks for {odd[0]!r}; its arguments are bound by name, it can ask for {', '.join(known)}"
        )
    names = [p.name for p in asked if p.name in known]
    return lambda **given: function(**{k: given[k] for k in names})


def _trials(data, batch):
    """Number of trials; None where all data are one."""
    if batch is None:
        return None
    lengths = {np.shape(x)[:1] for x in jax.tree.leaves(data)}
    if len(lengths) != 1 or lengths == {()}:
        raise RunError(f"batch={batch}: all data need one leading axis of trials; their lengths are {sorted(lengths)}")
    n = lengths.pop()[0]
    if isinstance(batch, bool) or not isinstance(batch, int) or not 0 < batch <= n or n % batch:
        near = [b for b in range(1, n + 1) if n % b == 0]
        raise RunError(
            f"batch={batch!r} does not divide {n} trials; take {min(near, key=lambda b: abs(b - batch))}, so that "
            f"none is "
            f"left out"
        )
    return n


def words_of(key, *counters):
    """Two random words of a key and counters, which may be traced."""
    made = key
    for c in counters:
        made = jax.random.fold_in(made, c)
    return jax.random.bits(made, (2,), jnp.uint32)


def rows_of(objective: Objective, key, step) -> Any:
    """Trials of a step: every epoch is a permutation of all."""
    n, size = objective.trials, objective.batch
    if n is None or size == n:
        return None
    epoch, place = step // (n // size), step % (n // size)
    return jax.lax.dynamic_slice(jax.random.permutation(jax.random.fold_in(key, epoch), n), (place * size,), (size,))
