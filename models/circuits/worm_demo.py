"""The demonstration: touch the worm, compare what happens with references, draw it. Run it with `brainsim demo`.

The references are those of tests/reference/worm.json: SciPy's BDF on the same equations, made without brainsim. What
Kunert, Shlizerman & Kutz 2014 (10.1103/PhysRevE.89.052805) published is the kind of motion: a cycle of two modes that
begins at a Hopf bifurcation.
"""

import csv
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from . import worm
from .worm_stability import REFERENCE as HOPF
from .worm_stability import growth, hopf_point

COUNTS = (279, 2194, 6394, 514, 887)
CURVE = (0.6e4, 0.8e4, 1.2e4, 1.7e4)  # amplitudes of the drawn growth rate, beside those that are simulated
COLUMNS = {"outcome": "outcome", "period": "period_s", "energy": "two_mode_energy", "amplitude_mV": "amplitude_mV"}


class Told:
    """Prints lines with the seconds since it was made, at once, so that nobody wonders."""

    def __init__(self):
        self.begun = time.perf_counter()

    def __call__(self, text: str):
        print(f"[{time.perf_counter() - self.begun:5.1f} s] {text}", flush=True)


def counts(connectome) -> tuple:
    """Cells, chemical edges, their synapses, gap pairs, their junctions."""
    chem, gap = connectome.chem, connectome.gap
    return len(connectome), len(chem), int(chem.weight.sum()), len(gap), int(gap.weight.sum())


def report(rows: Sequence[dict]) -> str:
    """Table of `worm.touch_experiment`, the reference in brackets."""
    lines = [f"{'amplitude':>9}  {'ablated':8}{'outcome':>19}{'period s':>17}{'two modes':>20}{'amplitude mV':>19}"]
    for row in rows:
        known = row.get("reference", ())
        outcome = row["outcome"] + ("" if known == () else " (settles)" if known is None else " (cycles)")
        line = f"{row['amplitude']:9.0f}  {row['ablated'] or '-':8}{outcome:>19}"
        for k, (name, digits, width) in enumerate((("period", 3, 17), ("energy", 5, 20), ("amplitude_mV", 3, 19))):
            beside = f" ({known[k]:.{digits}f})" if known else ""
            line += ("-" if np.isnan(row[name]) else f"{row[name]:.{digits}f}{beside}").rjust(width)
        lines.append(line)
    lines.append("in brackets: reference, SciPy BDF at rtol = atol = 1e-6; amplitude in 0.1 pA, so that 20000 is 2 nA")
    lines.append("published (Kunert et al. 2014), in kind: a cycle of two modes that begins at a Hopf bifurcation")
    return "\n".join(lines)


def report_derivatives(hopf: dict, gain: dict) -> str:
    """The Hopf point and the derivative of the motor power beside their references."""
    lines = [f"{'':42}{'found':>14}{'reference':>14}"]
    for name, words in (("amplitude", "Hopf point, amplitude"), ("omega", "angular frequency there, /s"),
                        ("slope", "slope of the growth rate, autodiff, /s/1e4")):  # fmt: skip
        lines.append(f"{words:42}{hopf[name]:14.6g}{HOPF[name]:14.6g}")
    words = "d(motor power)/d(synaptic gain), mV^2/nS"
    lines.append(f"{words:42}{gain['derivative']:14.8g}{gain['difference']:14.8g}")
    lines.append("references: SciPy root and differences of its eigenvalues; the last is the central difference")
    return "\n".join(lines)


def judge(rows: Sequence[dict], found: tuple, hopf: dict, gain: dict) -> list[tuple[bool, str]]:
    """What the worm must do: (kept, in words) of each."""
    run = {(row["amplitude"], row["ablated"]): row for row in rows}
    intact, known = run[2.0e4, None], worm.REFERENCE[2.0e4, None]
    off = {name: abs(hopf[name] / HOPF[name] - 1) for name in HOPF}
    apart = abs(gain["derivative"] / gain["difference"] - 1)
    period, energy = intact["period"], intact["energy"]
    return [
        (found == COUNTS, "the connectome has the published counts"),
        (abs(period / known[0] - 1) < 0.02, f"period at 20000 is {known[0]:.2f} s within 2 %: {period:.3f} s"),
        (energy >= 0.99, f"two modes hold at least 0.99 of the motion at 20000: {energy:.5f}"),
        (run[1.0e4, None]["outcome"] == "settles", "a touch of 10000 dies out"),
        (run[2.0e4, "PVC"]["outcome"] == "settles", "without PVC the cycle stops"),
        (run[2.0e4, "AVB"]["outcome"] == "cycles", "without AVB it goes on"),
        (off["amplitude"] < 1e-4 and off["omega"] < 1e-4, f"Hopf point within 1e-4: off by {off['amplitude']:.0e}"),
        (off["slope"] < 1e-3, f"derivative of the growth rate within 1e-3: off by {off['slope']:.0e}"),
        (apart < 1e-5, f"autodiff and differences of the motor power within 1e-5: apart by {apart:.0e}"),
    ]


def write_table(path, rows: Sequence[dict]) -> None:
    """CSV with a row a run: what was found, and the reference; nan where the motor neurons rest."""
    names = list(COLUMNS.values())
    with Path(path).open("w", newline="", encoding="utf-8") as out:
        table = csv.writer(out, lineterminator="\n")
        table.writerow(["amplitude_0.1pA", "ablated", *names, *(f"reference_{name}" for name in names)])
        for row in rows:
            known = row["reference"]
            beside = ("settles", "nan", "nan", "nan") if known is None else ("cycles", *known)
            values = [row["outcome"], *(f"{row[name]:.6g}" for name in list(COLUMNS)[1:])]
            table.writerow([f"{row['amplitude']:g}", row["ablated"] or "", *values, *beside])


def touch(told, quick=False) -> dict:
    """All touches, told as they end: (amplitude, ablated class or None) -> (row, `Result`)."""
    amplitudes, lost, duration = (1.0e4, 1.3e4, 1.4e4, 2.0e4), ("PVC", "DVA", "AVA", "AVB"), 30_000.0
    if quick:
        amplitudes, lost, duration = (1.0e4, 2.0e4), ("PVC", "AVB"), 20_000.0
    runs = {}

    def watch(row, result):
        runs[row["amplitude"], row["ablated"]] = row, result
        without = f" without {row['ablated']}" if row["ablated"] else ""
        end = f"{row['outcome']}, {row['period']:.2f} s" if row["outcome"] == "cycles" else row["outcome"]
        told(f"  touch of {row['amplitude']:.0f}{without}: {end}")

    told(f"compiling the network; then {len(amplitudes) + len(lost)} touches of {duration / 1e3:.0f} s each")
    worm.touch_experiment(amplitudes, lost, duration, watch=watch)
    return runs


def stability(told, amplitudes: Sequence[float]) -> tuple[dict, dict]:
    """The Hopf point, and amplitude -> growth rate with its derivative."""
    told("eigenvalues of the fixed point (558 x 558) and their derivatives")
    measure = growth()
    hopf = hopf_point(measure)
    told(f"  Hopf point {hopf['amplitude']:.3f}, slope {hopf['slope']:.5f} per s per 1e4")
    return hopf, {amplitude: measure(amplitude) for amplitude in sorted({*CURVE, *amplitudes})}


def main(out: Path, quick=False) -> int:
    """Touch the worm; write worm.png, worm.h5 and worm_table.csv into the folder `out`; 0 if all is as it should be."""
    from . import worm_figure  # needs matplotlib: fail before the work, not after it

    out, told = Path(out), Told()
    connectome = worm.celegans()
    found = counts(connectome)
    told("C. elegans, Varshney et al. 2011: {} cells, {} chemical edges ({} synapses), {} gap pairs ({} junctions)"
         .format(*found))  # fmt: skip
    runs = touch(told, quick)
    hopf, rates = stability(told, [amplitude for amplitude, lost in runs if lost is None])
    told("derivative of the motor power with respect to the synaptic gain, in float64")
    gain = worm.gain_derivative(duration=2_000.0 if quick else 12_000.0)
    told(f"writing worm.png, worm.h5 and worm_table.csv into {out}")
    rows = [row for row, _ in runs.values()]
    out.mkdir(parents=True, exist_ok=True)
    runs[2.0e4, None][1].save(out / "worm.h5")
    write_table(out / "worm_table.csv", rows)
    worm_figure.save(worm_figure.touch_figure(connectome, runs, rates, hopf), out / "worm.png")
    print(f"\n{report(rows)}\n\n{report_derivatives(hopf, gain)}\n")
    verdict = judge(rows, found, hopf, gain)
    print("\n".join(f"{'PASS' if kept else 'FAIL'}  {words}" for kept, words in verdict))
    failed = sum(not kept for kept, _ in verdict)
    told(f"{failed} of {len(verdict)} FAILED" if failed else f"all passed; now look at {out / 'worm.png'}")
    return 1 if failed else 0
