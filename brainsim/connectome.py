"""Connectomes: cells, chemical synapses, gap junctions with units, signs and provenance, and the network made of them.

Edges are held in coordinate form. Chemical edges are directed, pre -> post. Gap junctions are undirected and held once.
Weights are magnitudes (contacts, sections, ...); the sign of an edge is kept apart and 0 where it is not known.
"""

import csv
import html
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from .errors import ConnectError, FileFormatError, ParameterError, UnknownNameError, unknown
from .names import match

ALIASES = {
    "pre": ("pre", "from_neuron", "origin_neuron", "source", "origin", "neuron 1", "endnodes_1"),
    "post": ("post", "to_neuron", "target_neuron", "target", "neuron 2", "endnodes_2"),
    "kind": ("kind", "type"),
    "weight": ("weight", "synapses", "number of connections", "nbr"),
    "sign": ("sign",),
    "name": ("name", "neuron", "cell", "label"),
}
KINDS = {"chem": "chem", "chemical": "chem", "gap": "gap", "electrical": "gap", "gapjunction": "gap"}
SIGNS = {"+": 1, "1": 1, "+1": 1, "-": -1, "-1": -1, "0": 0, "": 0}
AXES = ("x_um", "y_um", "z_um")


@dataclass(frozen=True, eq=False)
class EdgeTable:
    """Edges of one kind in coordinate form, brought into the order (pre, post).

    Args:
        pre, post: (n_edges,) indices of cells.
        weight: (n_edges,) magnitudes in `weight_unit`; not negative.
        weight_unit: what a weight counts: "contacts", "sections", "streamlines", "nS", ...
        sign: (n_edges,) +1, -1 or 0 for unknown; None means unknown throughout.
        provenance: source, citation, version, licence, sha256 of the source, dropped (what was left out of it).
    """

    pre: np.ndarray
    post: np.ndarray
    weight: np.ndarray
    weight_unit: str = "contacts"
    sign: np.ndarray | None = None
    provenance: dict[str, str] = field(default_factory=dict)

    def __post_init__(self):
        columns = {"pre": self.pre, "post": self.post, "weight": self.weight}
        columns["sign"] = np.zeros(len(self.pre)) if self.sign is None else self.sign
        for name, values in columns.items():
            if np.shape(values) != (len(self.pre),):
                raise ParameterError(f"{name} has shape {np.shape(values)}; give {len(self.pre)}, one value per edge")
        order = np.lexsort((self.post, self.pre))
        for (name, values), dtype in zip(columns.items(), (np.int32, np.int32, np.float64, np.int8)):
            object.__setattr__(self, name, np.array(values, dtype)[order])

    def __len__(self):
        return len(self.pre)


@dataclass(frozen=True, eq=False)
class Connectome:
    """Cells and their typed edges, checked when made.

    Args:
        names: one unique name per cell.
        chem: directed edges; a cell may contact itself.
        gap: undirected edges, each pair once and in either order; no cell is coupled to itself.
        columns: columns of the node table by name, each (n,): "class", "type", "transmitter" and any other.
        positions: (n, 3) in µm, nan where unknown; None if there are none.
        frame: name of the frame of the positions. Frames of different atlases do not match.
        provenance: of the node table, as in `EdgeTable`.

    >>> worm = Connectome.from_edges(["AVAL", "VA8"], chem=[("AVAL", "VA8", 9)])
    >>> float(worm.matrix("chem")[worm.index("VA8"), worm.index("AVAL")])
    9.0
    """

    names: tuple[str, ...]
    chem: EdgeTable
    gap: EdgeTable
    columns: dict[str, np.ndarray] = field(default_factory=dict)
    positions: np.ndarray | None = None
    frame: str = ""
    provenance: dict[str, str] = field(default_factory=dict)

    def __post_init__(self):
        names = tuple(self.names)
        if len(set(names)) < len(names):
            twice = next(name for k, name in enumerate(names) if name in names[:k])
            raise ParameterError(f"two cells are called {twice!r}; every cell needs a name of its own")
        positions = {} if self.positions is None else {"positions": self.positions}
        for key, values in {**self.columns, **positions}.items():
            needed = (len(names), 3) if key == "positions" else (len(names),)
            if np.shape(values) != needed:
                raise ParameterError(f"{key} has shape {np.shape(values)} for {len(names)} cells; give {needed}")
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "positions", np.array(self.positions, float) if positions else None)
        object.__setattr__(self, "columns", {key: np.array(values) for key, values in self.columns.items()})
        for kind in ("chem", "gap"):
            _check_edges(getattr(self, kind), kind, names)

    def __len__(self):
        return len(self.names)

    @classmethod
    def from_edges(cls, names, chem=(), gap=(), *, weight_unit="contacts", **node_fields) -> "Connectome":
        """Make a connectome of edges that name their cells.

        Args:
            names: the cells, in the order of the indices.
            chem, gap: rows (pre, post, weight) or (pre, post, weight, sign); a gap junction is given once.
            weight_unit: what the weights count.
            **node_fields: columns, positions, frame, provenance of `Connectome`.
        """
        names, tables = tuple(names), []
        at = {name: i for i, name in enumerate(names)}
        for kind, rows in (("chem", list(chem)), ("gap", list(gap))):
            for edge, name in ((row, name) for row in rows for name in row[:2] if name not in at):
                raise UnknownNameError(f"{kind} edge {edge[0]} -> {edge[1]}: {unknown('cell', name, at)}")
            pre, post = ([at[row[k]] for row in rows] for k in (0, 1))
            sign = [row[3] if len(row) > 3 else 0 for row in rows]
            tables.append(EdgeTable(pre, post, [row[2] for row in rows], weight_unit, sign))
        return cls(names, *tables, **node_fields)

    @classmethod
    def from_csv(cls, edges, nodes=None, *, gap="once", rename=str.strip) -> "Connectome":
        """Read an edge table and, if given, a node table; commas or tabs, `# key: text` lines on top as provenance.

        Gap junctions of a cell with itself are left out; `provenance["dropped"]` tells their number.

        Args:
            edges: table with columns for pre, post, weight and optionally kind (chemical or gap; chemical if absent)
                and sign. The usual headers are understood (`ALIASES`). A line `# weight_unit:` names the unit.
            nodes: table with a column `name`; `x_um, y_um, z_um` become positions, a line `# frame:` names their frame,
                other columns are kept. None makes the cells from the edges, sorted.
            gap: how the file lists gap junctions: "once", or "both" ways (checked for equal weights, held once).
            rename: applied to every cell name, e.g. `str.upper`.
        """
        match(gap, ("once", "both"), "way to list gap junctions")
        meta, rows = _read_table(edges)
        edges = [_parse_edge(row, where, rename) for where, row in rows]
        found = {kind: [edge[1:] for edge in edges if edge[0] == kind] for kind in ("chem", "gap")}
        loops = sum(edge[0] == edge[1] for edge in found["gap"])
        found["gap"] = [edge for edge in found["gap"] if edge[0] != edge[1]]
        found["gap"] = _once(found["gap"]) if gap == "both" else found["gap"]
        found_cells = {"names": sorted({name for edge in edges for name in edge[1:3]})}
        cells = found_cells if nodes is None else _read_nodes(nodes, rename)
        made = cls.from_edges(**found, weight_unit=meta.pop("weight_unit", "contacts"), **cells)
        meta["dropped"] = "; ".join(filter(None, [meta.get("dropped"), f"{loops} self gaps" * bool(loops)]))
        return replace(made, chem=replace(made.chem, provenance=meta), gap=replace(made.gap, provenance=meta))

    def index(self, name: str) -> int:
        """Index of one cell."""
        if name not in self.names:
            raise UnknownNameError(unknown("cell", name, self.names))
        return self.names.index(name)

    def ids(self, names=None, **where) -> np.ndarray:
        """Indices of cells, (k,) int32, each once.

        Args:
            names: a name, a wildcard ("VA*") or a list of them, kept in this order; None for all cells.
            **where: columns the cells must match: a value, a wildcard or a list (`type="motor"`, `class_=["VA", "VB"]`;
                a trailing underscore is dropped).
        """
        wanted = self.names if names is None else _find(names, self.names, "cell")
        at = {name: i for i, name in enumerate(self.names)}
        chosen = np.array([at[name] for name in wanted], np.int32)
        for key, given in where.items():
            (key,) = match(key.rstrip("_"), self.columns, "column of the node table")
            values = self.columns[key].astype(str)
            chosen = chosen[np.isin(values[chosen], _find(given, values.tolist(), f"cell with {key}"))]
        return chosen

    def select(self, names=None, **where) -> "Connectome":
        """The cells that `ids(names, **where)` finds, in the order of this connectome, with the edges among them."""
        keep = np.sort(self.ids(names, **where))
        new = np.full(len(self), -1, np.int32)
        new[keep] = np.arange(len(keep))
        tables = {}
        for kind in ("chem", "gap"):
            t = getattr(self, kind)
            inside = (new[t.pre] >= 0) & (new[t.post] >= 0)
            ends = {"pre": new[t.pre][inside], "post": new[t.post][inside]}
            tables[kind] = replace(t, **ends, weight=t.weight[inside], sign=t.sign[inside])
        columns = {key: values[keep] for key, values in self.columns.items()}
        positions = None if self.positions is None else self.positions[keep]
        return replace(self, names=[self.names[i] for i in keep], columns=columns, positions=positions, **tables)

    def ablate(self, names=None, **where) -> "Connectome":
        """All edges of the cells get weight 0; cells and edges stay, so every index and shape keeps its meaning."""
        gone = np.zeros(len(self), bool)
        gone[self.ids(names, **where)] = True
        left = [np.where(gone[t.pre] | gone[t.post], 0.0, t.weight) for t in (self.chem, self.gap)]
        return replace(self, chem=replace(self.chem, weight=left[0]), gap=replace(self.gap, weight=left[1]))

    def matrix(self, kind="chem", signed=False) -> np.ndarray:
        """Dense weights [post, pre], (n, n); symmetric for "gap". `signed` multiplies by the sign."""
        table = getattr(self, match(kind, ("chem", "gap"), "kind of edge")[0])
        dense, weight = np.zeros((len(self), len(self))), table.weight * (table.sign if signed else 1)
        dense[table.post, table.pre] = weight
        if kind == "gap":
            dense[table.pre, table.post] = weight
        return dense

    def degree(self, weighted=False) -> dict[str, np.ndarray]:
        """Partners, or summed weights, of every cell: "out" and "in" over chemical edges, and "gap"; each (n,)."""
        chem, gap = ((t, t.weight if weighted else t.weight > 0) for t in (self.chem, self.gap))
        ends = ((chem[0].pre, chem[1]), (chem[0].post, chem[1]), (gap[0].pre, gap[1]), (gap[0].post, gap[1]))
        sent, got, one, other = (np.bincount(at, values, len(self)) for at, values in ends)
        return {"out": sent, "in": got, "gap": one + other}

    def to_csv(self, edges, nodes) -> None:
        """Write the two tables that `from_csv(edges, nodes)` reads back, with unit, frame and provenance on top."""
        rows = [["pre", "post", "kind", "weight", "sign"]]
        for kind, t in (("chem", self.chem), ("gap", self.gap)):
            ends = ([self.names[i] for i in side] for side in (t.pre, t.post))
            rows += zip(*ends, [kind] * len(t), t.weight, t.sign)
        _write_table(edges, {**self.chem.provenance, "weight_unit": self.chem.weight_unit}, rows)
        xyz = {} if self.positions is None else dict(zip(AXES, self.positions.T))
        columns = {"name": self.names, **self.columns, **xyz}
        _write_table(nodes, {**self.provenance, "frame": self.frame}, [columns, *zip(*columns.values())])

    def to_network(self, neuron, chemical, gap=None, seed=0, signed=False):
        """A `Network` with population "neurons" and projections "chemical" and "gap" (weights: those of the tables).

        Args:
            neuron, chemical, gap: models of the cells and synapses; a synapse model None leaves its projection out.
            signed: multiply chemical weights by their sign, for synapses whose weight carries it.
        """
        from .connectivity import from_edges
        from .network import Network

        if signed and not self.chem.sign.all():
            raise ParameterError(
                f"{(self.chem.sign == 0).sum()} chemical edges have no sign; give chem.sign or signed=False"
            )
        known = self.positions is not None and np.isfinite(self.positions).all()
        net = Network(seed=seed)
        net.add("neurons", neuron, len(self), labels=self.names, positions=self.positions if known else None)
        for name, model, table in (("chemical", chemical, self.chem), ("gap", gap, self.gap)):
            if model is not None:
                weight = table.weight * table.sign if signed and name == "chemical" else table.weight
                net.connect("neurons", "neurons", model, from_edges(table.pre, table.post), weight=weight, name=name)
        return net

    def __repr__(self):
        chem, gap = (f"{len(t)} {{}} ({t.weight.sum():g} {t.weight_unit})" for t in (self.chem, self.gap))
        return f"Connectome({len(self)} cells, {chem.format('chemical edges')}, {gap.format('gap pairs')})"

    def _repr_html_(self):
        rows = {"cells": ", ".join(self.names[:6]) + ", ...", "columns": ", ".join(self.columns)}
        rows["positions"] = "none" if self.positions is None else f"µm, frame: {self.frame or 'not named'}"
        rows.update((key, text) for key, text in self.chem.provenance.items() if text)
        cells = (f"<tr><th style='text-align:left'>{k}</th><td>{html.escape(v)}</td></tr>" for k, v in rows.items())
        return f"<b>{html.escape(repr(self))}</b><table>{''.join(cells)}</table>"


def _find(patterns, known, kind):
    """Known names that fit a name, a wildcard or a list of them, each once, in the order asked for."""
    patterns = [patterns] if np.ndim(patterns) == 0 else patterns
    return list(dict.fromkeys(name for p in patterns for name in match(str(p), dict.fromkeys(known), kind)))


def _check_edges(t: EdgeTable, kind: str, names) -> None:
    """Raise unless indices, weights and signs are possible and no edge occurs twice."""
    n, ends = len(names), np.array([t.pre, t.post], np.int64)
    if ends.size and not 0 <= ends.min() <= ends.max() < n:
        raise ConnectError(f"{kind} edges hold indices {ends.min()} to {ends.max()}; {n} cells have 0 to {n - 1}")
    show = lambda k: f"{kind} edge {names[t.pre[k]]} -> {names[t.post[k]]}"
    for bad, values, problem in (
        (~np.isfinite(t.weight), t.weight, "is not finite; leave out an edge that is not there"),
        (t.weight < 0, t.weight, "is negative; a weight is a magnitude, its sign goes into `sign`"),
        (abs(t.sign) > 1, t.sign, "is no sign; write 1, -1 or 0"),
    ):
        if bad.any():
            k = int(np.argmax(bad))
            raise ParameterError(f"{show(k)}: {values[k]:g} {problem}")
    loop = t.pre == t.post
    if kind == "gap" and loop.any():
        raise ConnectError(f"{show(np.argmax(loop))}: a gap junction of a cell with itself does nothing; leave it out")
    low, high = np.sort(ends, 0) if kind == "gap" else ends
    _, first, count = np.unique(low * n + high, return_index=True, return_counts=True)
    if (count > 1).any():
        hint = "give a pair once, in either order (from_csv: gap='both')" if kind == "gap" else "add up its weights"
        raise ConnectError(f"{show(first[np.argmax(count > 1)])} occurs {count[count > 1][0]} times; {hint}")


def _once(rows):
    """Gap rows listed both ways -> each pair once; their weights must agree."""
    both = {row[:2]: row for row in rows}
    for (a, b), row in both.items():
        if (b, a) not in both or both[b, a][2] != row[2]:
            raise ConnectError(f"gap='both', but {a} -> {b} {row[2]:g} has no equal row {b} -> {a}; is it gap='once'?")
    if len(both) < len(rows):
        raise ConnectError("gap='both', but a gap junction is listed twice in one direction; remove one row")
    return [row for (a, b), row in both.items() if a < b]


def _read_table(path):
    """Lines `# key: text` as a dict, and (place, row with lower-case keys) of a comma or tab separated table."""
    lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    head = next((k for k, line in enumerate(lines) if line.strip() and line[0] != "#"), len(lines))
    meta = {key.strip(): text.strip() for key, _, text in (line[1:].partition(":") for line in lines[:head])}
    table = csv.reader(lines[head:], delimiter="\t" if "\t" in "".join(lines[head : head + 1]) else ",")
    keys, rows = [key.strip().lower() for key in next(table, [])], []
    for line, values in enumerate(table, head + 2):
        where = f"{Path(path).name}, line {line}"
        if values and len(values) != len(keys):
            raise FileFormatError(f"{where}: {len(values)} fields under {len(keys)} headers {keys}; is the file cut?")
        rows += [(where, dict(zip(keys, map(str.strip, values))))] if values else []
    return meta, rows


def _pick(row, what, where, default=None):
    """The field of a row that means `what`, under any of its usual headers."""
    key = next((alias for alias in ALIASES[what] if alias in row), None)
    if key is None and default is None:
        raise FileFormatError(f"{where}: no column for {what} among {list(row)}; call it one of {ALIASES[what]}")
    return default if key is None else row[key]


def _parse_edge(row, where, rename):
    """(kind, pre, post, weight, sign) of one row."""
    pair = rename(_pick(row, "pre", where)), rename(_pick(row, "post", where))
    kind, sign, weight = _pick(row, "kind", where, "chem"), _pick(row, "sign", where, "0"), _pick(row, "weight", where)
    try:
        return KINDS[kind.lower()], *pair, float(weight), SIGNS[sign]
    except (KeyError, ValueError):
        allowed = f"kind one of {list(KINDS)}, weight a number, sign one of {list(SIGNS)}"
        raise FileFormatError(f"{where}: kind {kind!r}, weight {weight!r}, sign {sign!r}; write {allowed}") from None


def _read_nodes(path, rename):
    """Arguments `names, columns, positions, frame, provenance` of a Connectome from a node table."""
    meta, rows = _read_table(path)
    made = {"names": [rename(_pick(row, "name", where)) for where, row in rows], "frame": meta.pop("frame", "")}
    table = {key: [row[key] for _, row in rows] for key in (rows[0][1] if rows else ()) if key not in ALIASES["name"]}
    if set(AXES) <= set(table):
        made["positions"] = np.array([[float(x or "nan") for x in table.pop(axis)] for axis in AXES]).T
    return {**made, "columns": table, "provenance": meta}


def _write_table(path, meta, rows):
    with Path(path).open("w", newline="", encoding="utf-8") as out:
        out.writelines(f"# {key}: {text}\n" for key, text in meta.items() if text)
        csv.writer(out, lineterminator="\n").writerows(rows)
