"""How a result presents itself: text in a terminal, a table in a notebook."""

from html import escape

import numpy as np

META_SHOWN = ("populations", "wall_s", "compile_s", "device", "dtype", "complete")


def size_in_bytes(result) -> int:
    """Bytes that spikes and traces occupy in memory."""
    arrays = [a for s in result.spikes.values() for a in (s.times, s.indices)]
    arrays += [a for t in result.traces.values() for a in (t.values, t.times)]
    return sum(a.nbytes for a in arrays)


def _size(n: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if n < 1000 or unit == "GB":
            return f"{n:.0f} {unit}" if unit == "B" else f"{n:.3g} {unit}"
        n /= 1000
    return ""


def _number(x: float, digits: int = 2) -> str:
    return f"{x:.{digits}f}" if np.isfinite(x) else "–"


def population_rows(result) -> list[tuple[str, ...]]:
    """(name, cells, spikes, mean rate in Hz, CV of the intervals) of each recorded population, as text."""
    kept = not any(s.in_file for s in result.spikes.values())  # else it is not worth reading all spikes
    rates = result.rates() if kept else {k: _mean_rate(s, result.duration) for k, s in result.spikes.items()}
    cv = {k: _number(result.cv(k)) if kept else "in the file" for k in result.spikes}
    return [(k, f"{s.n_cells:,}", f"{len(s):,}", _number(rates[k]), cv[k]) for k, s in result.spikes.items()]


def _mean_rate(spikes, duration) -> float:
    return 1e3 * len(spikes) / (spikes.n_cells * duration) if spikes.n_cells * duration else np.nan


def record_rows(result) -> list[tuple[str, str]]:
    """(name, what it holds) of each trace and summary, as text."""
    rows = []
    for name, trace in result.traces.items():
        n = len(trace.indices)
        unit = "" if trace.unit == "1" else f", {trace.unit}"
        rows.append((name, f"{len(trace):,} samples of {n:,} cell{'s' if n != 1 else ''}{unit}"))
    for name, value in result.summaries.items():
        rows.append((name, f"summary of {_contents(value)}"))
    return rows


def _contents(value) -> str:
    if isinstance(value, dict):
        return ", ".join(map(str, value))
    return f"shape {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__


def headline(result) -> str:
    """One line: how much time, which dt and seed."""
    start = f" from {result.t_start:g} ms" if result.t_start else ""
    seed = "" if result.seed is None else f", seed {result.seed}"
    return f"Result: {result.duration:g} ms{start} (dt {result.dt:g} ms{seed})"


def footer(result) -> str:
    """One line: size, wall time, device."""
    meta, parts = result.meta, [_size(size_in_bytes(result))]
    if meta.get("wall_s") is not None:
        compiled = meta.get("compile_s")
        parts.append(f"{meta['wall_s']:.3g} s" + (f" + {compiled:.3g} s compile" if compiled else ""))
    return " · ".join([*parts, *(str(meta[k]) for k in ("device", "dtype") if meta.get(k))])


def warnings(result) -> list[str]:
    """What a reader of this result must not overlook."""
    notes = []
    if not result.complete:
        notes.append(f"interrupted: this holds the first {result.duration:g} ms")
    if not result.ok:
        notes.append("a state became nan or infinite: try a smaller dt or float64, and check the weights")
    silent = [name for name, s in result.spikes.items() if not len(s)]
    if silent and len(silent) == len(result.spikes):
        notes.append(f"no spikes. {_silence_hint(result, silent)}")
    elif silent:
        notes.append(f"no spikes in {', '.join(silent)}")
    return notes


def _silence_hint(result, silent) -> str:
    if "hint" in result.meta:
        return str(result.meta["hint"])
    for name in silent:
        trace = result.traces.get(f"{name}.v")
        if trace is not None and trace.values.size and not trace.in_file:
            low, high = np.nanmin(trace.values), np.nanmax(trace.values)
            return f"{name}.v stayed between {low:.4g} and {high:.4g} {trace.unit}: compare with the threshold"
    first = silent[0]
    return f'Record "{first}.v" to see how far it is from threshold; drive it with inputs={{"{first}.I": ...}}'


def _aligned(rows) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    padded = [[c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths))] for row in rows]
    return ["  " + "  ".join(row) for row in padded]


def as_text(result) -> str:
    """The repr of a result."""
    lines = [headline(result)]
    if result.spikes:
        lines += _aligned([("population", "cells", "spikes", "rate (Hz)", "CV of ISI"), *population_rows(result)])
    lines += [f"  {name}: {what}" for name, what in record_rows(result)]
    if not result.spikes and not result.traces and not result.summaries:
        lines.append('  nothing recorded; ask for it with record=["exc.spikes", "exc.v"]')
    lines.append("  " + footer(result))
    return "\n".join(lines + [f"  ! {note}" for note in warnings(result)])


def _html_table(head, rows) -> str:
    def cells(tag, row):
        style = ['style="text-align:left;padding:2px 10px"'] + ['style="text-align:right;padding:2px 10px"'] * len(row)
        return "".join(f"<{tag} {s}>{escape(c)}</{tag}>" for s, c in zip(style, row))

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f"<table><thead><tr>{cells('th', head)}</tr></thead><tbody>{body}</tbody></table>"


def as_html(result) -> str:
    """The notebook form of a result: a table, with the provenance folded away."""
    parts = [f"<b>{escape(headline(result))}</b>"]
    if result.spikes:
        parts.append(_html_table(("population", "cells", "spikes", "rate (Hz)", "CV of ISI"), population_rows(result)))
    if record_rows(result):
        parts.append(_html_table(("record", "holds"), record_rows(result)))
    parts += [f'<div style="color:#D55E00">⚠ {escape(note)}</div>' for note in warnings(result)]
    parts.append(f'<div style="opacity:.7">{escape(footer(result))}</div>')
    extra = [(k, str(v)) for k, v in result.meta.items() if k not in META_SHOWN]
    if extra:
        parts.append(f"<details><summary>provenance</summary>{_html_table(('key', 'value'), extra)}</details>")
    return "<div>" + "".join(parts) + "</div>"
