"""What the derivative of a run is: an *adjoint*, given to `sim.run(..., adjoint=...)`.

All are frozen and hashable. `value_and_grad(f)` differentiates a scalar function f(u, *rest) of a flat vector u that
runs a simulation with this adjoint inside. `BPTT` (without a horizon) and `Forward` are exact; the others name in their
docstring what they leave out.
"""

import zlib
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp

from .errors import RunError, unknown
from .grid import to_steps
from .program import dtype
from .stretches import blocks_of, check_checkpoint, fitting, to_bytes
from .transmission import Route, feedback_weights

FEEDBACK = ("symmetric", "random", "adaptive")


@dataclass(frozen=True)
class Adjoint:
    """Base of all adjoints: reverse mode through the loop of the run."""

    def value_and_grad(self, f, has_aux=False):
        """The function (u, *rest) -> (f(u, *rest), gradient with respect to u, (n,) like u).

        Args:
            f: scalar function of a flat float vector u; with `has_aux` it returns (scalar, anything).
        """
        return jax.value_and_grad(f, has_aux=has_aux)

    def run(self, sim, n, params, inputs, state, stream):
        """The result of a run that is not made of steps; None: it is made of n steps."""
        return None

    def segment(self, n, dt):
        """Steps between two cuts of the whole carried state; n: it is never cut."""
        return n

    def blocks(self, n, segment, window, cost):
        """Lengths of nested blocks that the backward pass computes again, longest first; (): everything is kept.

        Args:
            n: steps of the run. segment: steps between cuts. window: steps of a window of delayed couplings.
            cost: () -> `traced.Cost`, what a step keeps in bytes.
        """
        return ()

    def route(self, program, topology, params, first):
        """Where derivatives pass from cell to cell (`transmission.Route`); None: everywhere.

        Args:
            first: the parameters that the simulation was compiled with.

        Raises:
            RunError: this derivative is not defined for the network.
        """
        return None

    @property
    def forgets(self) -> bool:
        """Whether the states of the cells are cut in every step."""
        return False


@dataclass(frozen=True)
class BPTT(Adjoint):
    """Backpropagation through time: the exact gradient (of the surrogate network, where spikes are hard), in reverse
    mode; with a `horizon` truncated, an approximation.

    Args:
        checkpoint: what the backward pass keeps of n steps. "auto": the states at the starts of blocks of about sqrt(n)
            steps and, one block at a time, all of its steps, which are computed again (Griewank & Walther 2000,
            10.1145/347837.347846); a whole number: blocks of that many steps; "nested": three levels, so about the cube
            root of n, for a second computation more; None: everything, without computing anything again.
        horizon: ms, a multiple of dt: the carried floats are cut every `horizon` from the start of the run on, so that
            no derivative reaches further back than to the last cut; the exact gradient for horizon >= duration. Cut are
            cells, synapses, what is on its way and what was learned, so initial values get the derivative of the first
            stretch only. Recorded means are sums and are not cut.
        memory: bytes, or words such as "500 MB", for what the backward pass keeps; chooses the blocks instead of
            `checkpoint`. The size of the carried state, of the residuals of one step that depend on it and of the
            outputs are read from the traced step; blocks of about sqrt(n) are taken where they fit, else those that
            need least, else three levels. Under `vmap` the budget is that of one trial.

    Raises:
        RunError: a horizon off the grid, an unknown checkpoint, a budget in which the run does not fit.
    """

    checkpoint: int | Literal["auto", "nested"] | None = "auto"
    horizon: float | None = None
    memory: float | str | None = None

    def __post_init__(self):
        check_checkpoint(self.checkpoint)
        if self.horizon is not None and not self.horizon > 0:
            raise RunError(
                f"horizon = {self.horizon} must be a positive time in ms; leave it out for the exact gradient"
            )
        if self.memory is not None:
            if self.checkpoint != "auto":
                raise RunError(
                    f"checkpoint = {self.checkpoint!r} and memory = {self.memory!r} both choose the blocks; give one"
                )
            to_bytes(self.memory)

    def segment(self, n, dt):
        if self.horizon is None:
            return n
        steps, off = to_steps(self.horizon, dt)
        if off or steps < 1:
            raise RunError(
                f"horizon = {self.horizon:g} ms is not a multiple of dt = {dt:g} ms; write "
                f"horizon={max(1, int(steps)) * dt:g}"
            )
        return min(n, int(steps))

    def blocks(self, n, segment, window, cost):
        if self.memory is not None:
            return fitting(n, segment, window, cost(), to_bytes(self.memory))
        return blocks_of(self.checkpoint, n, segment, window)


@dataclass(frozen=True)
class Forward(Adjoint):
    """Forward mode: the exact gradient as one directional derivative per entry of u, in memory that does not grow with
    the number of steps. Takes less time than reverse mode for up to about 30 parameters.

    Args:
        chunk: entries of u whose derivatives are computed together, as one batch; None: all of them.
    """

    chunk: int | None = None

    def __post_init__(self):
        if self.chunk is not None and not (isinstance(self.chunk, int) and self.chunk >= 1):
            raise RunError(f"chunk = {self.chunk!r} must be a whole number of at least 1, or None for all at once")

    def value_and_grad(self, f, has_aux=False):
        def both(u, *rest):
            if jnp.ndim(u) != 1 or not u.shape[0]:
                raise RunError(f"u has shape {jnp.shape(u)}; forward mode needs a flat vector of at least one entry")
            out, slopes = directional(lambda u: f(u, *rest) if has_aux else (f(u, *rest), None), u, self.chunk)
            if slopes.ndim > 1:
                raise RunError("f must return a scalar; take jax.jacfwd for vectors")
            return (out if has_aux else out[0]), slopes

        return both


def directional(f, u, chunk=None):
    """(f(u), derivatives by every entry of u, (n, ...)), by forward mode.

    Args:
        f: vector (n,) -> (values, anything else). chunk: entries whose derivatives are computed as one batch.
    """
    n = u.shape[0]
    chunk = min(chunk or n, n)
    count = -(-n // chunk)
    basis = jnp.eye(count * chunk, n, dtype=u.dtype).reshape(count, chunk, n)

    def along(tangent):
        value, slope, aux = jax.jvp(f, (u,), (tangent,), has_aux=True)
        return (value, aux), slope

    some = jax.vmap(along, out_axes=(None, 0))
    if count == 1:
        return some(basis[0])
    out, slopes = jax.lax.map(some, basis)
    return jax.tree.map(lambda x: x[0], out), slopes.reshape(count * chunk, *slopes.shape[2:])[:n]


@dataclass(frozen=True)
class _Reverse(Adjoint):
    """Reverse mode in blocks; `checkpoint` and `memory` as in `BPTT`."""

    checkpoint: int | Literal["auto", "nested"] | None = "auto"
    memory: float | str | None = None

    def __post_init__(self):
        BPTT(self.checkpoint, memory=self.memory)

    def blocks(self, n, segment, window, cost):
        return BPTT(self.checkpoint, memory=self.memory).blocks(n, segment, window, cost)

    def route(self, program, topology, params, first):
        if program.learners:
            raise RunError(
                f"{type(self).__name__} is not defined where {program.learners[0].projection!r} learns: its weights "
                f"depend on spikes of both sides; take bs.BPTT() or bs.Forward(), or connect without plasticity="
            )
        return None


@dataclass(frozen=True)
class SLTT(_Reverse):
    """Spatial learning through time (Meng et al. 2023, 10.48550/arXiv.2302.14311): an approximation. In every step the
    states of cells and synapses are cut from those of the step before, so that the derivative of a membrane by its own
    past is left out; spikes keep their derivative on the way to other cells, which they reach with their delays (at
    least one step here, none between layers in the paper).

    The method needs no memory that grows with the run where the loss is a sum over steps: so does
    `fitting.online.value_and_grad`. As adjoint of `sim.run`, where the loss may be anything, it is reverse mode in
    blocks: memory grows with the square root of the number of steps, as `BPTT`.

    Args:
        checkpoint, memory: as in `BPTT`.
        reach: for the online form, ms over which spikes on their way pass derivatives; None: the longest chain of
            delays, which exists where no population reaches itself.
    """

    reach: float | None = None

    @property
    def forgets(self):
        return True


class Feedback(dict):
    """Feedback weights of one's own for `EProp`: projection into a readout -> (n_edges,). Equal to itself only, so that
    compiled programs are not taken for those of other weights."""

    __hash__ = object.__hash__
    __eq__ = object.__eq__
    __ne__ = object.__ne__


@dataclass(frozen=True)
class EProp(_Reverse):
    """E-prop (Bellec et al. 2020, 10.1038/s41467-020-17236-y): sum over t of L_j(t) e_ji(t), eligibilities e of the
    states of a cell and its synapses times learning signals L: an approximation of the gradient, exact where no spiking
    cell reaches another one.

    What cells of spiking populations receive from other cells, spikes or values, has no derivative by them; readouts,
    populations without `spike`, keep theirs. That is the same sum taken in reverse mode, with the memory of `BPTT`; the
    form that goes forward with the run is `DRTRL`.

    Args:
        checkpoint, memory: as in `BPTT`.
        feedback: the weights by which learning signals return from readouts: "symmetric", their own; "random", normal
            numbers, for projections of spikes with one weight per edge; "adaptive", random ones that follow what was
            added to the weights since compiling; or `Feedback({projection: weights})`. Other than symmetric is a second
            approximation.
        seed: of the random weights, drawn for each projection by its name.
        scale: standard deviation of random weights, in the unit of the weights.

    Raises:
        RunError: unknown feedback; a network that learns while it runs; random feedback where edges share one weight.
    """

    feedback: str | Feedback = "symmetric"
    seed: int = 0
    scale: float = 1.0

    def __post_init__(self):
        super().__post_init__()
        if not isinstance(self.feedback, Feedback) and self.feedback not in FEEDBACK:
            raise RunError(
                f"{unknown('feedback', str(self.feedback), FEEDBACK)}; or give Feedback({{projection: weights}})"
            )

    def route(self, program, topology, params, first):
        super().route(program, topology, params, first)
        if program.procedural:
            raise RunError(
                f"{type(self).__name__} needs stored edges, but those of {program.procedural[0].projection.name!r} are "
                f"regenerated; connect with a rule that is not bs.procedural(...)"
            )
        if self.feedback == "symmetric":
            return Route()
        return Route(feedback_weights(program, topology, params, first, self))

    def given_feedback(self, names):
        """One's own weights by projection; None: they are drawn."""
        if not isinstance(self.feedback, Feedback):
            return None
        for name in self.feedback:
            if name not in names:
                raise RunError(unknown("projection of spikes into a readout", name, names))
        for name in names:
            if name not in self.feedback:
                raise RunError(f"feedback lacks the projection {name!r}; add its weights, one per edge")
        return self.feedback

    def drawn(self, name, n):
        """Random feedback weights of a projection."""
        key = jax.random.fold_in(jax.random.key(self.seed), zlib.crc32(name.encode()))
        return self.scale * jax.random.normal(key, (n,), dtype())


@dataclass(frozen=True)
class DRTRL(_Reverse):
    """Real-time recurrent learning with the diagonal blocks of the Jacobian (Wang et al. 2024,
    10.1101/2024.09.24.614728): eligibilities of every edge and parameter go forward with the run, eps <- D eps + D_f x,
    D the derivative of the states of a cell by its own ones, D_f that by what arrives.
    `fitting.online.value_and_grad` does this, for losses that are sums over steps, in memory that does not grow with
    the run.

    What cells of spiking populations send to such cells has no derivative, so that the gradient is that of
    `EProp("symmetric")`: exact where no spiking cell reaches another one, else an approximation. As adjoint of
    `sim.run`, where the loss may be anything, it is taken in reverse mode, with the memory of `BPTT`.

    Args:
        checkpoint, memory: as in `BPTT`, for `sim.run`.
    """

    def route(self, program, topology, params, first):
        return EProp().route(program, topology, params, first)


@dataclass(frozen=True)
class ESDRTRL(Adjoint):
    """`DRTRL` with eligibilities of edges of rank one (Wang et al. 2024, 10.1101/2024.09.24.614728): a trace of what a
    source sent, a <- decay a + x, times a vector of the target, f <- decay D f + (1 - decay) D_f. One number per source
    and few per target, instead of some per edge; an approximation also without recurrence. Parameters of cells keep the
    eligibilities of `DRTRL`. It exists online only, in `fitting.online.value_and_grad`.

    Args:
        decay: of the traces in one step, at least 0 and below 1.
    """

    decay: float = 0.9

    def __post_init__(self):
        if not 0.0 <= self.decay < 1.0:
            raise RunError(f"decay = {self.decay!r} must be at least 0 and below 1, such as 0.9")

    def route(self, program, topology, params, first):
        raise RunError(
            "ESDRTRL is computed while the network runs; call brainsim.fitting.online.value_and_grad(..., "
            "adjoint=ESDRTRL()), or take adjoint=DRTRL() in sim.run"
        )

    def value_and_grad(self, f, has_aux=False):
        self.route(None, None, None, None)


def as_adjoint(adjoint) -> Adjoint:
    """The adjoint of a run; None: the default."""
    if adjoint is None:
        return BPTT()
    if not isinstance(adjoint, Adjoint):
        raise RunError(f"adjoint = {adjoint!r} is no adjoint; write adjoint=bs.BPTT(), bs.Forward() or bs.EProp()")
    return adjoint
