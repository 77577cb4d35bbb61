"""The plane of two states: flow, nullclines, fixed points with their stability, trajectories."""

from typing import NamedTuple

import numpy as np

from .. import extras
from ..errors import ParameterError, UnknownNameError, unknown
from . import style

MARKS = {"stable": style.INK, "unstable": "white", "saddle": style.PALETTE[4]}


class FixedPoint(NamedTuple):
    """Where both derivatives vanish: "stable", "unstable" or "saddle" by the eigenvalues (2,) in 1/ms."""

    x: float
    y: float
    kind: str
    eigenvalues: np.ndarray


class _Plane:
    """The derivatives of two states of a model with everything else held."""

    def __init__(self, model, x, y, held):
        states, methods = getattr(type(model), "__states__", {}), getattr(model, "__methods__", {})
        if isinstance(model, type) or not methods:
            raise ParameterError(f"{model!r} is no instance of a model; give for example AdEx()")
        for name in (x, y):
            if "d" + name not in methods:
                raise UnknownNameError(
                    unknown("state with a derivative", name, [m[1:] for m in methods if m[0] == "d"])
                )
        self.model, self.names, self.methods, self.states = model, (x, y), methods, states
        inputs = {k: i.default for k, i in getattr(type(model), "__inputs__", {}).items()}
        self.held = {"t": 0.0, "dt": 0.1, **inputs, **held}
        strangers = set(held) - {*inputs, *states, "t", "dt"}
        if strangers:
            raise UnknownNameError(unknown("state or input to hold", strangers.pop(), {**inputs, **states}))
        needed = {a for m in ("d" + x, "d" + y) for a in methods[m]} - {x, y, *self.held}
        if needed:
            missing = ", ".join(f"{name}=..." for name in sorted(needed))
            raise ParameterError(f"the plane ({x}, {y}) needs values for the other states: add {missing}")

    def call(self, method, x, y):
        known = {**self.held, self.names[0]: x, self.names[1]: y}
        return getattr(self.model, method)(**{a: known[a] for a in self.methods[method]})

    def flow(self, x, y):
        """Both derivatives at the points x, y of one shape."""
        return tuple(self.call("d" + name, x, y) + 0.0 * x for name in self.names)

    def initial(self, name) -> float:
        given = getattr(self.states.get(name), "initial", 0.0)
        return float(getattr(self.model, given) if isinstance(given, str) else given)

    def label(self, name) -> str:
        return style.with_unit(name, getattr(self.states.get(name), "unit", None))


def _grid(plane, xlim, ylim, n):
    x, y = np.meshgrid(np.linspace(xlim[0], xlim[1], n), np.linspace(ylim[0], ylim[1], n))
    return x, y, *(np.asarray(d) for d in plane.flow(x, y))


def fixed_points(model, x="v", y="w", *, xlim, ylim, resolution=200, **held) -> list[FixedPoint]:
    """Fixed points of two states inside a rectangle, from left to right; everything else is held.

    Args:
        model: an instance. x, y: names of states. xlim, ylim: (low, high) in their units.
        resolution: points a side of the grid that brackets them before Newton's method.
        **held: values of inputs (default: as declared) and of other states.
    """
    import jax

    with jax.enable_x64(True):
        return _fixed_points(_Plane(model, x, y, held), xlim, ylim, resolution)


def _fixed_points(plane, xlim, ylim, n):
    import jax
    import jax.numpy as jnp

    x, y, dx, dy = _grid(plane, xlim, ylim, n)
    corners = [np.s_[:-1, :-1], np.s_[:-1, 1:], np.s_[1:, :-1], np.s_[1:, 1:]]
    crossing = np.ones((n - 1, n - 1), bool)
    for d in (dx, dy):
        values = np.stack([d[c] for c in corners])
        crossing &= (values.min(0) <= 0) & (values.max(0) >= 0)
    size, found = np.array([x[0, 1] - x[0, 0], y[1, 0] - y[0, 0]]), []
    flow = jax.jit(lambda p: jnp.stack(plane.flow(p[0], p[1])))
    slope = jax.jit(jax.jacfwd(flow))
    for i, j in np.argwhere(crossing)[:400]:
        start = np.array([x[i, j], y[i, j]]) + size / 2
        point, step = start, size
        for _ in range(30):
            step = np.linalg.lstsq(np.asarray(slope(point)), np.asarray(flow(point)), rcond=None)[0]
            point = point - step
        near = np.all(np.abs(point - start) <= 1.5 * size) and np.all(np.abs(step) <= 1e-6 * size)
        if near and not any(np.all(np.abs(point - other[:2]) < 1e-3 * size) for other in found):
            values = np.linalg.eigvals(np.asarray(slope(point)))
            found.append(FixedPoint(float(point[0]), float(point[1]), _kind(values), values))
    return sorted(found, key=lambda p: p.x)


def _kind(eigenvalues) -> str:
    growing = eigenvalues.real > 0
    return "saddle" if growing.any() and not growing.all() else "unstable" if growing.any() else "stable"


def _trajectory(plane, start, duration, dt):
    """Points (n_steps + 1, 2) of a path by RK4 and where (n_steps,) it was reset."""
    import jax
    import jax.numpy as jnp

    resets = "reset" in plane.methods and "spike" in plane.methods

    def flow(p):
        return jnp.stack(plane.flow(p[0], p[1]))

    def step(p, _):
        k1 = flow(p)
        k2 = flow(p + dt / 2 * k1)
        k3 = flow(p + dt / 2 * k2)
        p = p + dt / 6 * (k1 + 2 * k2 + 2 * k3 + flow(p + dt * k3))
        fired = plane.call("spike", p[0], p[1]) > 0 if resets else jnp.array(False)
        if resets:
            new = plane.call("reset", p[0], p[1])
            p = jnp.where(fired, jnp.stack([jnp.asarray(new.get(n, p[k])) for k, n in enumerate(plane.names)]), p)
        return p, (p, fired)

    start = jnp.asarray(start, float)
    _, (path, fired) = jax.jit(lambda p: jax.lax.scan(step, p, None, length=round(duration / dt)))(start)
    return np.vstack([start, path]), np.asarray(fired)


def _limits(paths, given, axis):
    if given is not None:
        return tuple(map(float, given))
    values = np.concatenate([p[:, axis] for p, _ in paths])
    low, high = np.nanmin(values), np.nanmax(values)
    pad = 0.25 * (high - low) if high - low > 1e-3 * max(abs(high), 1e-9) else max(0.5 * abs(high), 1.0)
    return low - pad, high + pad


def phase_plane(model, x="v", y="w", ax=None, *, xlim=None, ylim=None, starts=None, duration=500.0, dt=0.02, **held):
    """Phase plane of two states: flow, nullclines, trajectories, fixed points.

    Filled circle: stable; open circle: unstable; diamond: saddle. A model with a reset jumps along dotted lines.

    Args:
        model: an instance. x, y: names of states. ax: axes; default a new figure.
        xlim, ylim: (low, high) in the units of the states; default what the trajectories visit, and some more.
        starts: points (x, y) where trajectories start; default the initial values; [] for none.
        duration, dt: of the trajectories in ms (RK4).
        **held: inputs (`I=500.0`; default as declared) and other states, held at a value.

    Returns:
        The axes.
    """
    import jax

    with jax.enable_x64(True):
        plane = _Plane(model, x, y, held)
        starts = [(plane.initial(x), plane.initial(y))] if starts is None else list(starts)
        if not starts and (xlim is None or ylim is None):
            raise ParameterError(
                "without trajectories the limits are not known; give xlim=(low, high), ylim=(low, high)"
            )
        paths = [_trajectory(plane, start, duration, dt) for start in starts]
        xlim, ylim = _limits(paths, xlim, 0), _limits(paths, ylim, 1)
        grid = _grid(plane, xlim, ylim, 200)
        points = _fixed_points(plane, xlim, ylim, 200)
    ax = style.new_axes(ax, (5.2, 4.2))
    _draw_flow(ax, plane, *grid)
    for path, fired in paths:
        _draw_path(ax, path, fired)
    for point in points:
        shape = "D" if point.kind == "saddle" else "o"
        ax.plot(point.x, point.y, shape, ms=7, mfc=MARKS[point.kind], mec=style.INK, mew=1.3, zorder=6, ls="none")
    ax.set(xlim=xlim, ylim=ylim)
    _phase_legend(ax, plane, points, paths)
    return style.tidy(ax, plane.label(x), plane.label(y))


def _draw_flow(ax, plane, x, y, dx, dy):
    every = np.s_[::4, ::4]
    u, v = dx[every] / np.ptp(x), dy[every] / np.ptp(y)
    if np.any(np.hypot(u, v) > 0):
        lines = {"color": "#C9CED6", "linewidth": 0.7, "arrowsize": 0.8, "density": 1.1, "zorder": 1}
        ax.streamplot(x[0, ::4], y[::4, 0], dx[every], dy[every], **lines)
    for d, color in ((dx, style.PALETTE[0]), (dy, style.PALETTE[1])):
        if d.min() < 0 < d.max():
            ax.contour(x, y, d, levels=[0.0], colors=[color], linewidths=1.8, zorder=3)


def _draw_path(ax, path, fired):
    points, jumps = path.copy(), np.flatnonzero(fired)
    for k in jumps:
        ax.plot(*path[k : k + 2].T, color=style.INK, linewidth=0.8, linestyle=(0, (1, 2)), zorder=4)
    points = np.insert(points, jumps + 1, np.nan, axis=0)
    ax.plot(*points.T, color=style.INK, linewidth=1.1, zorder=4)
    ax.plot(*path[0], ">", color=style.INK, markersize=5, zorder=5)


def _phase_legend(ax, plane, points, paths):
    line = extras.load("matplotlib.lines").Line2D
    handles = [
        line([], [], color=style.PALETTE[k], linewidth=1.8, label=f"d{name}/dt = 0")
        for k, name in enumerate(plane.names)
    ]
    if paths:
        handles.append(line([], [], color=style.INK, linewidth=1.1, label="trajectory"))
    for kind in dict.fromkeys(p.kind for p in points):
        shape = {"marker": "D" if kind == "saddle" else "o", "mfc": MARKS[kind], "mec": style.INK, "mew": 1.3}
        handles.append(line([], [], linestyle="none", ms=6, label=kind, **shape))
    # below the label of x, so that a title fits above; no wider than the axes, which the layout would shrink
    width, height = ax.get_window_extent().size / ax.figure.dpi
    columns = min(max(int(width / 1.15), 2), len(handles))
    place = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.4 / height), "ncols": columns}
    style.legend(ax, handles=handles, columnspacing=1.2, **place)
