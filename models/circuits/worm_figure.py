"""The picture of the touched worm: wiring, motor neurons over time, the cycle in two modes, ablations, growth rates."""

from collections.abc import Mapping

import numpy as np

import brainsim as bs
from brainsim.connectome import Connectome
from brainsim.plot import style

from .worm import MOTOR, motor_traces

BLUE, RED, GREEN = bs.plot.PALETTE[0], bs.plot.PALETTE[1], bs.plot.PALETTE[2]
NAMED = ["PLML", "PLMR", "PVCL", "DVA", "AVAL", "AVBL", "VB11", "DB1", "DA9", "ALML"]
CELL = "DB1"  # the forward motor neuron of the head whose voltage is drawn
SHOWN = 10_000.0  # ms of the heat map and of the voltages


def touch_figure(worm: Connectome, runs: Mapping, rates: Mapping, hopf: dict):
    """All panels in one figure.

    Args:
        worm: the connectome. runs: (amplitude, ablated class or None) -> (row of `touch_experiment`, its `Result`);
            (2e4, None) must be there. rates: amplitude -> what `growth()` returned. hopf: what `hopf_point()` returned.

    Returns:
        A matplotlib figure; save it with `figure.savefig(path)`.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12.0, 10.6), layout="constrained")
    figure.get_layout_engine().set(hspace=0.07, wspace=0.04)
    grid = figure.add_gridspec(3, 2, width_ratios=(1.65, 1.0), height_ratios=(1.05, 1.25, 1.0))
    row, result = runs[2.0e4, None]
    panels = (
        draw_body(figure.add_subplot(grid[0, :]), worm, result),
        draw_heat(figure.add_subplot(grid[1, 0]), worm, result, row),
        draw_modes(figure.add_subplot(grid[1, 1]), worm, runs),
        draw_ablations(figure.add_subplot(grid[2, 0]), worm, runs),
        draw_growth(figure.add_subplot(grid[2, 1]), runs, rates, hopf),
    )
    for letter, ax in zip("abcde", panels):
        _title(ax, f"$\\bf{{{letter}}}$   {ax.get_title(loc='left')}")
    return figure


def _title(ax, text: str):
    ax.set_title(text, loc="left", y=1.0, pad=9, fontsize=11, color=style.INK)
    return ax


def deviation(result, start: float) -> np.ndarray:
    """Standard deviation over time of every cell from `start` ms on, (n,) mV."""
    trace = result.traces["neurons.v"]
    return np.asarray(trace.values)[np.asarray(trace.times) > start].std(0)


def draw_body(ax, worm, result):
    """The wiring along the body; the area of a cell grows with how much it moves."""
    moves = deviation(result, result.t_stop / 2)
    area = 6.0 + 150.0 * np.sqrt(moves / moves.max())
    bs.plot.graph(worm, ax, layout="body", size=area, labels=[name for name in NAMED if name in worm.names])
    return _title(ax, f"{len(worm)} cells from head (left) to tail; the larger, the more they move when PLM is touched")


def motor_order(worm: Connectome) -> np.ndarray:
    """Indices into the motor neurons of `motor_traces`, by class and from head to tail."""
    ids = worm.ids(class_=MOTOR)
    rank = np.array([MOTOR.index(name) for name in worm.columns["class"][ids]])
    return np.lexsort((worm.positions[ids, 1], rank))


def draw_heat(ax, worm, result, row):
    """Motor neurons over time, each in units of its own standard deviation, which the bars at the side show."""
    _, traces = motor_traces(result, worm, result.t_stop - SHOWN)
    order, size = motor_order(worm), traces.std(0)
    shown = ((traces - traces.mean(0)) / size)[:, order].T
    extent = (0.0, SHOWN / 1e3, len(order), 0)
    image = {"aspect": "auto", "cmap": "RdBu_r", "vmin": -2, "vmax": 2, "interpolation": "nearest"}
    ax.imshow(shown, extent=extent, rasterized=True, **image)
    classes = worm.columns["class"][worm.ids(class_=MOTOR)][order]
    first = np.flatnonzero(np.r_[True, classes[1:] != classes[:-1], True])
    ax.hlines(first[1:-1], *extent[:2], color="white", linewidth=2.5)
    ax.set_yticks((first[:-1] + first[1:]) / 2, [str(classes[k]) for k in first[:-1]])
    style.tidy(ax, "time (s)").tick_params(axis="y", length=0)
    ax.spines[["left", "bottom"]].set_visible(False)
    side = ax.inset_axes((1.03, 0.0, 0.13, 1.0), sharey=ax)
    side.barh(np.arange(len(order)) + 0.5, size[order], height=0.9, color=style.GREY)
    style.tidy(side, "sd (mV)").set(xscale="log", xlim=(1e-3, 3e1), xticks=(1e-2, 1e0))
    side.tick_params(axis="y", left=False, labelleft=False)
    side.spines["left"].set_visible(False)
    key = ax.inset_axes((0.98, 1.035, 0.1, 0.028))
    key.imshow(np.linspace(-2, 2, 64)[None], cmap="RdBu_r", aspect="auto")
    key.set_axis_off()
    for x, ha, words in ((0.97, "right", "-2 sd"), (1.09, "left", "2 sd")):
        ax.text(x, 1.049, words, transform=ax.transAxes, ha=ha, va="center", fontsize=8.5, color=style.INK)
    return _title(ax, f"74 motor neurons by class, head to tail; 2 nA, period {row['period']:.2f} s")


def modes(worm: Connectome, result) -> np.ndarray:
    """The first two singular directions of the motor voltages on the cycle, (2, 74)."""
    _, traces = motor_traces(result, worm, result.t_stop / 2)
    return np.linalg.svd(traces - traces.mean(0), full_matrices=False)[2][:2]


def draw_modes(ax, worm, runs):
    """Cycles of the motor neurons, and the way into the fixed point below the Hopf point, in the modes at 2 nA."""
    row, result = runs[2.0e4, None]
    axes = modes(worm, result)
    settled = [a for (a, lost), (found, _) in runs.items() if lost is None and found["outcome"] == "settles"]
    for amplitude in settled[-1:]:
        _, traces = motor_traces(runs[amplitude, None][1], worm, 1_000.0)
        way = (traces - traces[-1]) @ axes.T
        ax.plot(*way.T, color=RED, linewidth=1.4, label=f"{amplitude * 1e-4:g} nA: to rest")
        ax.plot(0.0, 0.0, marker="o", ms=5, mfc=RED, mec="white")
    cycles = sorted(a for (a, lost), (found, _) in runs.items() if lost is None and found["outcome"] == "cycles")
    for amplitude, shade in zip(cycles, style.shades(BLUE, 2 * len(cycles) + 1)[: len(cycles) - 1 : -1]):
        late = motor_traces(runs[amplitude, None][1], worm, result.t_stop - 5_000.0)[1]
        around = (late - late.mean(0)) @ axes.T
        ax.plot(*around.T, color=shade, linewidth=2.2, label=f"{amplitude * 1e-4:g} nA: cycle")
    style.tidy(ax, "mode 1 (mV)", "mode 2 (mV)")
    ax.set_aspect("equal", "datalim")
    style.legend(ax, loc="lower center", ncols=2)
    return _title(ax, f"two modes hold {100 * row['energy']:.1f} % of the motion")


def draw_ablations(ax, worm, runs):
    """One motor neuron under 2 nA: the intact worm, and without some interneurons."""
    shown = [lost for amplitude, lost in runs if amplitude == 2.0e4]
    step = 1.15 * max(np.ptp(_voltage(worm, runs[2.0e4, lost][1])[1]) for lost in shown)
    for k, lost in enumerate(shown):
        row, result = runs[2.0e4, lost]
        times, v = _voltage(worm, result)
        cycles = row["outcome"] == "cycles"
        ax.plot(times, v - v.mean() - k * step, color=BLUE if cycles else RED, linewidth=1.4)
        found = f"{row['period']:.2f} s" if cycles else "rest"
        ax.text(1.01, -k * step, found, transform=ax.get_yaxis_transform(), va="center", fontsize=9.5, color=style.INK)
    ax.set_yticks(-step * np.arange(len(shown)), [f"without {lost}" if lost else "intact" for lost in shown])
    ax.set_xlim(0.0, SHOWN / 1e3)
    ax.plot([0.1, 0.1], [0.2 * step, 0.2 * step + 10.0], color=style.INK, linewidth=2.0)
    ax.text(0.18, 0.2 * step + 5.0, "10 mV", va="center", fontsize=8.5, color=style.INK)
    style.tidy(ax, "time (s)").tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    needed, spared = ([lost for lost in shown if lost and runs[2.0e4, lost][0]["outcome"] == outcome]
                      for outcome in ("settles", "cycles"))  # fmt: skip
    spared = f", not {' or '.join(spared)}" if spared else ""
    return _title(ax, f"voltage of {CELL}: the cycle needs {' and '.join(needed) or 'none of them'}{spared}")


def _voltage(worm, result):
    """Time in s and voltage in mV of `CELL` during the last `SHOWN` ms."""
    trace, start = result.traces["neurons.v"], result.t_stop - SHOWN
    late = np.asarray(trace.times) > start
    return (np.asarray(trace.times)[late] - start) / 1e3, np.asarray(trace.of(worm.index(CELL)))[late]


def draw_growth(ax, runs, rates, hopf):
    """Real part of the leading eigenvalue over the touch, its tangent at the Hopf point, and what simulations did."""
    amplitude = np.array(sorted(rates)) * 1e-4
    value = np.array([rates[a][0].real for a in sorted(rates)])
    at = hopf["amplitude"] * 1e-4
    ax.axhline(0.0, color=style.FAINT, linewidth=1.0, zorder=0)
    ax.plot(amplitude, value, color=style.INK, linewidth=1.6, label="leading eigenvalue")
    reach = np.array([-0.42, 0.42])
    ax.plot(at + reach, hopf["slope"] * reach, color=GREEN, linewidth=4.0, alpha=0.45, label="tangent by autodiff")
    for outcome, face in (("settles", "white"), ("cycles", BLUE)):
        done = [a for (a, lost), (row, _) in runs.items() if lost is None and row["outcome"] == outcome]
        if done:
            height = [rates[a][0].real for a in done]
            look = {"mfc": face, "mec": BLUE, "mew": 1.6, "ms": 8, "linestyle": "none", "marker": "o"}
            ax.plot(np.array(done) * 1e-4, height, label=f"simulation {outcome}", **look)
    told = f"Hopf point {at:.4f} nA\nperiod {2 * np.pi / hopf['omega']:.2f} s\nslope {hopf['slope']:.3f} /s per nA"
    ax.annotate(told, (at, 0.0), (0.97, 0.06), textcoords="axes fraction", ha="right", fontsize=9, color=style.INK,
                arrowprops={"arrowstyle": "-", "color": style.GREY, "shrinkB": 3})  # fmt: skip
    style.tidy(ax, "touch of PLML and PLMR, each (nA)", "growth rate (1/s)")
    style.legend(ax, loc="upper left")
    return _title(ax, "the cycle begins at a Hopf bifurcation")


def save(figure, path, dpi=100):
    """Write a PNG with a palette of 160 colours, a quarter of the size of one without."""
    import io

    from PIL import Image

    full = io.BytesIO()
    figure.savefig(full, dpi=dpi)
    picture = Image.open(full).convert("RGB")
    picture.quantize(160, kmeans=1, dither=Image.Dither.NONE).save(path, optimize=True)
