"""`bs.fit`: the parameters of a space that minimise a loss."""

import time
from pathlib import Path

import jax
import numpy as np

from ..adjoint import Adjoint
from ..errors import ParameterError, RunError, UnknownNameError, unknown
from ..progress import Progress
from ..units import to_canonical
from .evolution import Evolution
from .loop import Loop
from .methods import Gradient, LevenbergMarquardt, method_of
from .objective import Objective, _by_name, words_of
from .result import FitResult, best_of
from .resume import Resume, fingerprint

ANNEALED = (1.0, 0.3, 0.1, 0.03, 0.0)
PARTS = (0.4, 0.12, 0.12, 0.12, 0.24)  # of all steps


def fit(
    sim,
    space,
    loss,
    data=None,
    *,
    duration,
    inputs=None,
    method="adam",
    adjoint=None,
    starts=1,
    steps=100,
    key: int = 0,
    extra=None,
    params=None,
    batch=None,
    per="trial",
    noise=None,
    nudge=None,
    anneal=None,
    clip=None,
    normalize=None,
    patience=None,
    tolerance=None,
    width=None,
    resume=None,
    progress=None,
    check=None,
    check_every: int = 25,
) -> FitResult:
    """Minimise a loss over the parameters of a space.

    Args:
        sim: a compiled network. space: `bs.Space`, what varies.
        loss: a function whose arguments are bound by name; it may ask for `result` (of the run), `data`, `extra`,
            `params` and `key`. Returns a number, or a vector of residuals, whose mean square is the loss.
        data: arrays, or a dict of them; what the loss compares with.
        duration: of every run, in ms.
        inputs: as in `sim.run`, or a function of `data`, `extra`, `key` that returns them.
        method: "lm" (Levenberg-Marquardt; for residuals and up to some hundred parameters), "lbfgs", "cma" (without
            derivatives), "adam", or any optax transformation such as `optax.adam(1e-2)`.
        adjoint: what the derivative of a run is: `bs.BPTT(...)` (default), `bs.Forward()`, `bs.EProp()`, ...
        starts: number of starts; the first begins at the present values, the others are drawn from the prior. Or
            "prior": one, drawn; or a list of parameter dicts; or an array (starts, size) of vectors of the space.
        steps: of the method.
        key: of the starts, the order of trials and the noise of the runs.
        extra: a tree of arrays trained with the space, for example the parameters of a flax module.
        params: values in place of those of `sim`, of parameters that do not vary too.
        batch: trials per step; all data then have a leading axis of trials, and loss and inputs see one of them.
        per: "trial", or "batch": the loss sees the results and data of all trials of a step together, with a leading
            axis of trials, for statistics over them (a mean rate, a contrast).
        noise: "fresh": another realisation in every step, "same": one for the whole fit; default: fresh for optax
            methods. With fresh noise, or a part of the trials in a step, losses do not compare: then the result is the
            last point of every start, with its loss over all trials under one noise; else it is the best point.
        nudge: state -> values over time that it is pulled to, with a rate that falls to 0 over the steps (`bs.nudge`).
        anneal: rates of the nudging in 1/ms, in equal parts of the steps, or pairs (rate, part). Default: 1 for 40 %
            of them, 0.3, 0.1 and 0.03 for 12 % each, and 0.
        clip: largest norm of the gradient. normalize: divide the gradient by this power of its norm (0.8 to 1).
        patience: stop when the best loss has not improved for so many steps. tolerance: stop when it is below this.
        width: starts that run side by side; default: all.
        resume: a file; an interrupted fit goes on from it, with the same bits as an uninterrupted one, and a finished
            one with more `steps` (with nudging their number is part of the schedule and cannot grow). A file of another
            fit (program, data, starts or settings differ) is refused.
        progress: True, False, None (when the wait is worth it), or a function of (step, steps, best loss).
        check: a function that may ask for `step`, `params` and `extra` (of the best start, where it is now), called
            after every `check_every` steps; the fit stops when it returns True: validation on other data.

    Returns:
        FitResult: the best parameters, histories, tables. Starts whose loss or gradient became nan are taken back to
        their best point, and set aside when that happens again and again; `result.status` names them.

    Raises:
        ParameterError, RunError, UnknownNameError: what was asked for cannot be, before anything runs.
        RunError: no start has a finite loss.
    """
    chosen = method_of(method, clip, normalize)
    _check(steps, starts, width, patience, noise, check_every, tolerance)
    noise = noise or ("fresh" if isinstance(chosen, Gradient) and method != "lbfgs" else "same")
    if nudge is None and anneal is not None:
        raise ParameterError("anneal= is the schedule of nudge=; give nudge={'hh.v': v_data}, or leave anneal out")
    objective = Objective(
        sim, space, loss, data, duration=duration, inputs=inputs, extra=extra, adjoint=adjoint, batch=batch,
        nudge=nudge, params=params, per=per,
    )  # fmt: skip
    residuals = objective.is_vector
    if isinstance(chosen, LevenbergMarquardt) and not residuals:
        raise ParameterError(
            f"method={method!r} needs residuals: return a vector such as result.traces['e.v'].values - data, not its "
            f"mean square; or take 'lbfgs' or an optax transformation"
        )
    if chosen == "cma" and adjoint is not None and type(adjoint).run is Adjoint.run:
        raise ParameterError(f"'cma' uses no derivatives, so that adjoint={adjoint!r} would be ignored; leave it out")
    if chosen == "cma" and (batch not in (None, objective.trials) or noise == "fresh"):
        raise ParameterError("'cma' compares losses, so it takes all trials and one noise: leave batch and noise out")
    points = _starts(objective, starts, key)
    objective.words = words_of(jax.random.key(key), 0, 0)
    rates = None if nudge is None else _rates(ANNEALED if anneal is None else anneal, steps, anneal is None)
    begun = time.perf_counter()
    args = (objective, chosen, points, jax.random.key(key), noise, rates, width)
    loop = Evolution(*args) if chosen == "cma" else Loop(*args)
    if resume is not None and not Path(resume).resolve().parent.is_dir():
        raise ParameterError(f"resume={str(resume)!r}: its folder does not exist; make it first")
    file = None if resume is None else Resume(Path(resume), fingerprint(loop, points, rates), steps)
    if file is not None:
        loop.restore(file.load())
    bar = _Bar(steps, progress)
    try:
        stop = None if check is None else _by_name(check, ("step", "params", "extra"), "check")
        while loop.done < steps and not loop.finished(patience, tolerance):
            loop.advance(min(steps - loop.done, loop.chunk, check_every - loop.done % check_every))
            if file is not None:
                file.save(loop.state(), last=loop.done >= steps)
            bar.update(loop)
            if stop is not None and loop.done % check_every == 0 and _stops(stop, objective, loop):
                break
    finally:
        bar.close()
    loop.finish()
    if not np.isfinite(loop.best_losses).any():
        raise RunError(
            f"none of {len(points)} starts has a finite loss; first start ({_described(objective, points[0])}): "
            f"{objective.failure(points[0])}. Start from values that run, or take narrower bounds"
        )
    return FitResult.of(objective, loop, time.perf_counter() - begun, method)


def _stops(stop, objective, loop) -> bool:
    """What the user's check says of the best start, where it is now."""
    x = loop.points[best_of(loop.best_losses)]
    n = objective.bound.size
    extra = objective.unravel(x[n:]) if objective.has_extra else None
    return bool(stop(step=loop.done, params=objective.bound.params(x[:n]), extra=extra))


def _check(steps, starts, width, patience, noise, check_every, tolerance):
    for name, value in (("steps", steps), ("width", width), ("patience", patience), ("check_every", check_every)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1):
            raise ParameterError(f"{name}={value!r}; give a whole number of at least 1")
    odd = isinstance(starts, bool | float | dict) or (isinstance(starts, int | np.integer) and starts < 1)
    if odd:
        raise ParameterError(
            f"starts={starts!r}; give a whole number of at least 1, 'prior', a list of dicts of parameters, or vectors "
            f"(starts, size)"
        )
    if tolerance is not None and (isinstance(tolerance, bool) or not isinstance(tolerance, (int, float))):
        raise ParameterError(f"tolerance={tolerance!r}; give a loss, such as 1e-6")
    if noise not in (None, "fresh", "same"):
        raise ParameterError(f"noise={noise!r}; give 'fresh' or 'same'")


def _starts(objective, given, key) -> np.ndarray:
    """Vectors (starts, size), extra included."""
    bound, tail = objective.bound, objective.extra_start
    if isinstance(given, str):
        if given != "prior":
            raise ParameterError(f"starts={given!r}; give a number, 'prior', a list of parameters, or vectors")
        points = bound.draw(1, key)
    elif isinstance(given, int | np.integer):
        points = bound.draw(given, key)
        points[0] = bound.vector()
    elif isinstance(given, list | tuple) and all(isinstance(p, dict) for p in given):
        known = [n for b in bound.blocks for n in b.names]
        for name in (n for p in given for n in p if n not in known):
            raise UnknownNameError(f"starts: {unknown('parameter that varies', name, known)}")
        units = {name: bound.sim.specs[name][0].unit for name in known}
        plain = [{k: to_canonical(x, units[k], f"starts: {k}") for k, x in p.items()} for p in given]
        points = np.stack([bound.vector(p) for p in plain])
    else:
        points = np.atleast_2d(np.asarray(given, float))
        if points.shape[1] == objective.size and np.isfinite(points).all():
            return points.astype(objective.start_dtype)
        if points.shape[1] != bound.size or not np.isfinite(points).all():
            raise ParameterError(
                f"starts has shape {points.shape}; give finite vectors (starts, {bound.size}) of {bound.labels[:4]}..."
            )
    return np.concatenate([points, np.tile(tail, (len(points), 1))], axis=1).astype(objective.start_dtype)


def _rates(anneal, steps, usual) -> np.ndarray:
    """Rate of the nudging in every step."""
    try:
        pairs = [a if isinstance(a, tuple | list) else (float(a), 1.0 / len(anneal)) for a in anneal]
        rates, parts = np.array(list(zip(ANNEALED, PARTS, strict=True)) if usual else pairs, float).T
    except (TypeError, ValueError):
        rates = parts = np.array([-1.0])
    if (rates < 0).any() or (parts <= 0).any() or rates[-1] != 0:
        raise ParameterError(
            f"anneal={anneal!r}; give rates of at least 0 in 1/ms that end with 0, such as (1.0, 0.3, 0.1, 0.03, 0.0)"
        )
    ends = np.ceil(np.cumsum(parts) / parts.sum() * steps - 1e-9).astype(int)
    return np.repeat(rates, np.diff(ends, prepend=0))[:steps]


def _described(objective, x) -> str:
    params = objective.bound.params(x[: objective.bound.size])
    shown = [f"{k} = {float(v):.4g}" for k, v in list(params.items())[:6] if np.ndim(v) == 0]
    return ", ".join(shown) or "arrays"


class _Bar:
    """Steps, best loss and the time to go."""

    def __init__(self, steps, show):
        self.steps, self.call = steps, show if callable(show) else None
        self.bar = Progress(steps, False if self.call else show, unit="steps")

    def update(self, loop):
        best = float(np.nanmin(loop.best_losses)) if np.isfinite(loop.best_losses).any() else float("nan")
        if self.call:
            self.call(loop.done, self.steps, best)
        self.bar.update(loop.done, f"loss {best:.4g}")

    def close(self):
        self.bar.close()
