"""Make worm.json: the graded worm network solved by SciPy, independent of brainsim.

Usage (about a minute): ``python tests/reference/make_worm.py``. Reads only the embedded tables, with the csv module.

Equations (Kunert, Shlizerman, Kutz 2014, 10.1103/PhysRevE.89.052805; constants of the Neural Interactome program,
Kim, Leahy, Shlizerman 2019, 10.3389/fncom.2019.00008), in units of 100 pS, mV, s, so that current is in 0.1 pA::

    C dV_i/dt = -Gc (V_i - Ec) - sum_j Gg_ij (V_i - V_j) - sum_j Gs_ij s_j (V_i - E_j) + I_i
      ds_i/dt = ar phi_i (1 - s_i) - ad s_i,     phi_i = 1 / (1 + exp(-beta (V_i - Vth_i)))

Vth is the equilibrium with every s at ar / (ar + 2 ad). Runs: V and s normal with standard deviation 1e-4, 30 s, BDF
with rtol = atol = 1e-6; evaluated on 15 to 30 s, every 5 ms, over the ventral-cord motor neurons.
"""

import csv
import json
import sys
from pathlib import Path

import numpy as np
import scipy
import scipy.special
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

DATA = Path(__file__).resolve().parents[2] / "models" / "data"
C, GC, EC, AR, AD, BETA, E_GABA = 0.015, 0.1, -35.0, 1 / 1.5, 5 / 1.5, 0.125, -48.0
S_STAR = AR / (AR + 2 * AD)
MOTOR = {"DA", "DB", "DD", "VA", "VB", "VD", "AS", "VC"}


def table(name: str) -> list[dict]:
    """Rows of an embedded table without its comment lines."""
    with (DATA / name).open() as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))


class Worm:
    """Matrices ``Gs[post, pre]`` and ``Gg`` of shape (279, 279), reversal potentials, drive into PLML and PLMR."""

    def __init__(self, ablated=()):
        cells = table("celegans_neurons.csv")
        self.names = [row["name"] for row in cells]
        at = {name: i for i, name in enumerate(self.names)}
        n = len(cells)
        self.Gs, self.Gg = np.zeros((n, n)), np.zeros((n, n))
        for row in table("celegans_varshney2011_edges.csv"):
            i, j, weight = at[row["pre"]], at[row["post"]], float(row["weight"])
            if row["kind"] == "chem":
                self.Gs[j, i] = weight
            else:
                self.Gg[i, j] = self.Gg[j, i] = weight
        for name in ablated:
            for matrix in (self.Gs, self.Gg):
                matrix[at[name]] = 0
                matrix[:, at[name]] = 0
        self.E = np.array([E_GABA if row["gaba26"] == "1" else 0.0 for row in cells])
        self.motor = [i for i, row in enumerate(cells) if row["class"] in MOTOR]
        self.plm = [at["PLML"], at["PLMR"]]

    def drive(self, amplitude: float) -> np.ndarray:
        """Constant input (n,), in 0.1 pA."""
        current = np.zeros(len(self.names))
        current[self.plm] = amplitude
        return current

    def voltage_matrix(self, s: np.ndarray) -> np.ndarray:
        """``A`` of ``C V' = -A V + b`` at frozen synapses s, shape (n, n)."""
        return np.diag(GC + self.Gg.sum(1) + self.Gs @ s) - self.Gg

    def threshold(self, amplitude: float) -> np.ndarray:
        """Vth (n,) in mV."""
        s = np.full(len(self.names), S_STAR)
        return np.linalg.solve(self.voltage_matrix(s), GC * EC + self.Gs @ (s * self.E) + self.drive(amplitude))

    def jacobian(self, v: np.ndarray, s: np.ndarray, phi: np.ndarray) -> np.ndarray:
        """Derivative of (V', s') with respect to (V, s), shape (2n, 2n), per second."""
        dv_ds = self.Gs * (self.E[None, :] - v[:, None]) / C
        ds_dv = np.diag(AR * BETA * phi * (1 - phi) * (1 - s))
        return np.block([[-self.voltage_matrix(s) / C, dv_ds], [ds_dv, np.diag(-AR * phi - AD)]])

    def leading(self, amplitude: float) -> complex:
        """Eigenvalue with the largest real part at the fixed point (Vth, S_STAR), per second."""
        v, n = self.threshold(amplitude), len(self.names)
        values = np.linalg.eigvals(self.jacobian(v, np.full(n, S_STAR), np.full(n, 0.5)))
        values = values[values.imag >= 0]
        return complex(values[np.argmax(values.real)])

    def run(self, amplitude: float, seconds: float = 30.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Times (m,) in s and motor voltages (m, 74) in mV over the second half of a run."""
        n, v_th, current = len(self.names), self.threshold(amplitude), self.drive(amplitude)

        def phi(v):
            return scipy.special.expit(BETA * (v - v_th))

        def slope(_, y):
            v, s = y[:n], y[n:]
            gated = self.Gs @ s
            gap = self.Gg.sum(1) * v - self.Gg @ v
            dv = (-GC * (v - EC) - gap - gated * v + self.Gs @ (s * self.E) + current) / C
            return np.concatenate([dv, AR * phi(v) * (1 - s) - AD * s])

        def jac(_, y):
            return self.jacobian(y[:n], y[n:], phi(y[:n]))

        start = np.random.default_rng(seed).normal(0, 1e-4, 2 * n)
        times = np.arange(seconds / 2, seconds, 0.005)
        out = solve_ivp(slope, (0, seconds), start, method="BDF", t_eval=times, rtol=1e-6, atol=1e-6, jac=jac)
        return times, out.y[self.motor].T


def summary(times: np.ndarray, traces: np.ndarray) -> dict:
    """Largest standard deviation, two-mode energy, period from the zero crossings of the first mode."""
    centred = traces - traces.mean(0)
    u, size, _ = np.linalg.svd(centred, full_matrices=False)
    wave = u[:, 0]
    up = np.flatnonzero((wave[:-1] < 0) & (wave[1:] >= 0))
    crossings = times[up] - wave[up] * (times[up + 1] - times[up]) / (wave[up + 1] - wave[up])
    half = len(traces) // 2
    return {
        "amplitude_mV": float(centred.std(0).max()),
        "two_mode_energy": float((size[:2] ** 2).sum() / (size**2).sum()),
        "period_s": float(np.polyfit(np.arange(len(crossings)), crossings, 1)[0]) if len(crossings) > 3 else None,
        "late_over_early": float(traces[half:].std(0).max() / traces[:half].std(0).max()),
    }


def stability(worm: Worm) -> dict:
    """Thresholds, Hopf point and the slope of the leading real part there, eigenvalues along the way."""
    rest = worm.threshold(0.0)
    hopf = brentq(lambda a: worm.leading(a).real, 1.0e4, 1.5e4, xtol=1e-6)
    step = 10.0
    slope = (worm.leading(hopf + step).real - worm.leading(hopf - step).real) / (2 * step) * 1e4
    block = np.linalg.eigvals(-worm.voltage_matrix(np.full(len(rest), S_STAR)) / C).real
    return {
        "vth_rest_mV": {"min": rest.min(), "max": rest.max(), "mean": rest.mean()},
        "voltage_block_per_s": [block.min(), block.max()],
        "hopf": {"amplitude": hopf, "omega_per_s": worm.leading(hopf).imag, "slope_per_s_per_1e4": slope},
        "leading": {f"{a:.4g}": [worm.leading(a).real, worm.leading(a).imag]
                    for a in (0.5e4, 1.0e4, 1.1e4, 1.2e4, 1.3e4, 1.4e4, 2.0e4, 3.0e4)},
    }  # fmt: skip


def main() -> None:
    """Compute everything and write worm.json beside this file."""
    worm = Worm()
    report = {"made_by": "tests/reference/make_worm.py", "python": sys.version.split()[0], "numpy": np.__version__,
              "scipy": scipy.__version__, **stability(worm), "runs": [], "ablations_at_2e4": {}}  # fmt: skip
    for amplitude in (1.0e4, 1.3e4, 1.4e4, 2.0e4, 3.0e4):
        report["runs"].append({"amplitude": amplitude, **summary(*worm.run(amplitude))})
        print(report["runs"][-1], flush=True)
    for label, cells in {"PVC": ("PVCL", "PVCR"), "DVA": ("DVA",), "AVA": ("AVAL", "AVAR"), "AVB": ("AVBL", "AVBR"),
                         "LUA": ("LUAL", "LUAR")}.items():  # fmt: skip
        report["ablations_at_2e4"][label] = summary(*Worm(cells).run(2.0e4))
        print(label, report["ablations_at_2e4"][label], flush=True)
    (Path(__file__).parent / "worm.json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
