"""Draw docs/images/schedule.svg: what happens within one step, and when a spike arrives.

Usage: python docs/make_schedule.py [FILE]
"""

import sys
from pathlib import Path

SUBSTEPS = [
    ("deliver", "spikes that arrive now", "act on their targets"),
    ("integrate", "all states move", "from n·dt to (n+1)·dt"),
    ("detect", "spike(...) > 0 ?", "stamp: (n+1)·dt"),
    ("reset", "reset, start or count", "the refractory time"),
    ("record", "spikes and traces,", "at (n+1)·dt"),
]
WIDE, GAP, LEFT, TOP, HIGH = 150, 14, 30, 60, 66
SPIKE, LINE, PAPER, INK = "#d55e00", "#0072b2", "#eef4f8", "#1f2933"


def text(x, y, words, size=13, colour=INK, anchor="middle", weight="normal"):
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="{colour}" text-anchor="{anchor}" font-weight="{weight}">'
        f"{words}</text>"
    )


def arrow(x1, y1, x2, y2, colour=INK):
    return (
        f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" stroke="{colour}" stroke-width="1.6" '
        f'marker-end="url(#{"spike" if colour == SPIKE else "ink"})"/>'
    )


def head(name, colour):
    return (
        f'<marker id="{name}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0 10 5 0 10z" fill="{colour}"/></marker>'
    )


def substeps(y):
    """The five boxes of step n, from left to right."""
    parts = []
    for i, (name, first, second) in enumerate(SUBSTEPS):
        x = LEFT + i * (WIDE + GAP)
        parts.append(
            f'<rect x="{x}" y="{y}" width="{WIDE}" height="{HIGH}" rx="6" '
            f'fill="{PAPER}" stroke="{LINE}" stroke-width="1.4"/>'
        )
        parts.append(text(x + WIDE / 2, y + 22, f"{i + 1} {name}", 15, LINE, weight="bold"))
        parts.append(text(x + WIDE / 2, y + 41, first, 12))
        parts.append(text(x + WIDE / 2, y + 56, second, 12))
        if i:
            parts.append(arrow(x - GAP, y + HIGH / 2, x - 1, y + HIGH / 2))
    return parts


def timeline(y, width):
    """Eight steps: a spike found at the end of step n, and its arrival for delays of 0 and of 3 dt."""
    step, start = (width - 2 * LEFT) / 8, LEFT
    parts = [arrow(start, y, width - LEFT + 14, y)]
    labels = ["n·dt", "(n+1)·dt", "", "", "(n+4)·dt"]
    for i in range(8):
        x = start + i * step
        parts.append(f'<line x1="{x:g}" y1="{y - 5}" x2="{x:g}" y2="{y + 5}" stroke="{INK}" stroke-width="1.4"/>')
        if i < len(labels) and labels[i]:
            parts.append(text(x, y + 22, labels[i], 12))
        name = "step n" if i == 0 else f"n+{i}"
        parts.append(text(x + step / 2, y - 10, name, 12, "#52606d"))
    parts.append(text(width - LEFT + 6, y + 22, "time", 12, anchor="end"))
    found, late = start + step, start + 4 * step
    parts.append(f'<line x1="{found:g}" y1="{y - 24}" x2="{found:g}" y2="{y - 52}" stroke="{SPIKE}" stroke-width="3"/>')
    parts.append(text(found, y - 60, "spike, stamped (n+1)·dt", 13, SPIKE, weight="bold"))
    parts.append(
        f'<path d="M{found:g} {y + 34} v22 H{late:g} V{y + 34}" fill="none" stroke="{SPIKE}" stroke-width="1.6" '
        f'marker-end="url(#spike)"/>'
    )
    parts.append(text((found + late) / 2, y + 50, "delay d = 3 dt", 12, SPIKE))
    below = y + 78
    parts.append(text(found, below, "d = 0: delivered in substep 1 of step n+1", 12, anchor="start"))
    parts.append(
        text(
            found, below + 18, "d: delivered in substep 1 of step n+1+d/dt, that is at (n+1)·dt + d", 12, anchor="start"
        )
    )
    return parts


def picture() -> str:
    width = 2 * LEFT + len(SUBSTEPS) * WIDE + (len(SUBSTEPS) - 1) * GAP
    height = 370
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="Helvetica, Arial, sans-serif" role="img" aria-label="The substeps of one time step">',
        f"<defs>{head('ink', INK)}{head('spike', SPIKE)}</defs>",
        f'<rect width="{width}" height="{height}" fill="white"/>',
        text(LEFT, 32, "One step, from n·dt to (n+1)·dt", 17, anchor="start", weight="bold"),
        *substeps(TOP),
        *timeline(TOP + HIGH + 118, width),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    default = Path(__file__).parent / "images" / "schedule.svg"
    Path(sys.argv[1] if len(sys.argv) > 1 else default).write_text(picture(), encoding="utf-8")
