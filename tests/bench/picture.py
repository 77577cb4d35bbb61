"""The picture of docs/benchmarks.md from docs/benchmarks.json: how many times faster than each peer.

python tests/bench/picture.py
"""

import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

DOCS = Path(__file__).resolve().parents[2] / "docs"


def draw(rows, path):
    """One bar per comparison, by network; the line marks equal speed."""
    figure, axes = plt.subplots(figsize=(7.5, 0.27 * len(rows) + 1.0), layout="constrained")
    colours = {}
    for k, row in enumerate(rows):
        colour = colours.setdefault(row["peer"].split(" ")[0], f"C{len(colours)}")
        axes.barh(k, row["ratio"], color=colour, height=0.7)
        axes.text(row["ratio"] * 1.04, k, f"{row['ratio']:.3g}", va="center", fontsize=8)
    axes.set_yticks(range(len(rows)), [f"{row['network']}: {row['peer']}" for row in rows], fontsize=8)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.axvline(1.0, color="0.3", linewidth=0.8)
    axes.set_xlim(0.8, 2.0 * max(row["ratio"] for row in rows))
    axes.set_xlabel("time of the peer / time of brainsim, one core")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    draw(json.loads((DOCS / "benchmarks.json").read_text())["ratios"], DOCS / "images" / "benchmarks.png")
