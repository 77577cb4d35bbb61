"""Make the embedded worm tables from the published spreadsheet of Varshney et al. 2011.

Usage (needs xlrd; not part of brainsim at run time)::

    python models/data/make_varshney2011.py NeuronConnect.xls neurons.csv [--out models/data]

``NeuronConnect.xls`` is the supplement of Varshney, Chen, Paniagua, Hall, Chklovskii, PLoS Comput Biol 2011,
10.1371/journal.pcbi.1001066 (CC BY), columns ``Neuron 1, Neuron 2, Type, Nbr``. ``neurons.csv`` holds
``name, class, type, neurotransmitter, gaba26, x_um, y_um, z_um``, one row per cell (cell groups of Cook et al. 2019,
transmitters of Wang et al. 2024, soma positions of the PyPI package c302 0.12.1, MIT).

What the script does, and what it leaves out:

* S (send) and Sp (send, polyadic) are chemical contacts, pre -> post; a pair that has both gets their sum.
  R and Rp list the same contacts again as seen from the receiver and are dropped.
* EJ rows list every gap junction in both directions with equal counts: one row per pair is kept (alphabetical order),
  and the cells' junctions onto themselves (3 rows) are dropped.
* NMJ rows (muscle) are dropped, and with them VC6, which occurs nowhere else.
* Names lose zero padding (VA01 -> VA1) and become upper case (avfl -> AVFL).

The run fails unless it gives exactly 279 cells, 2194 chemical edges with 6394 contacts, 514 gap pairs with
887 junctions, and the orientation anchors (VB3 -> DD2 37, PDER -> DVA 35, AVAL -> VA8 9 and not the reverse).
"""

import argparse
import csv
import hashlib
import re
from collections import defaultdict
from pathlib import Path

CITATION = (
    "Varshney LR, Chen BL, Paniagua E, Hall DH, Chklovskii DB (2011) Structural properties of the "
    "Caenorhabditis elegans neuronal network. PLoS Comput Biol 7(2): e1001066. 10.1371/journal.pcbi.1001066"
)
NODE_CITATION = (
    "groups: Cook et al. 2019, 10.1038/s41586-019-1352-7; transmitters: Wang et al. 2024, 10.7554/eLife.95402; "
    "positions: c302 0.12.1 (MIT); gaba26: the 26 cells of Kunert et al. 2014, 10.1103/PhysRevE.89.052805"
)
ANCHORS = {
    ("VB3", "DD2"): 37, ("PDER", "DVA"): 35, ("AVAL", "VA8"): 9, ("VA8", "AVAL"): 0,
    ("AVAL", "PVCL"): 10, ("PVCL", "AVAL"): 2,
}  # fmt: skip


def normal_name(text: str) -> str:
    """Upper case without blanks and zero padding: ``normal_name("va01") == "VA1"``."""
    return re.sub(r"(?<=[A-Z])0+(?=\d)", "", text.strip().upper())


def natural_key(name: str) -> list:
    """Sort key that puts VA2 before VA10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def read_rows(path: Path) -> list[tuple[str, str, str, int]]:
    """Rows (cell 1, cell 2, type, count) of the spreadsheet, names normalised."""
    import xlrd

    sheet = xlrd.open_workbook(path).sheet_by_index(0)
    header = sheet.row_values(0)
    if header != ["Neuron 1", "Neuron 2", "Type", "Nbr"]:
        raise SystemExit(f"{path.name}: header {header} is not that of NeuronConnect.xls")
    rows = (sheet.row_values(r) for r in range(1, sheet.nrows))
    return [(normal_name(a), normal_name(b), kind, int(count)) for a, b, kind, count in rows]


def chemical_edges(rows) -> dict[tuple[str, str], int]:
    """Contacts by (pre, post): S plus Sp."""
    edges = defaultdict(int)
    for pre, post, kind, count in rows:
        if kind in ("S", "Sp"):
            edges[pre, post] += count
    return dict(edges)


def gap_edges(rows) -> tuple[dict[tuple[str, str], int], int]:
    """Junctions by pair (a < b), each once, and the number of self entries left out."""
    both, dropped = {}, 0
    for a, b, kind, count in rows:
        if kind == "EJ" and a == b:
            dropped += 1
        elif kind == "EJ":
            if (a, b) in both:
                raise SystemExit(f"gap junction {a}-{b} is listed twice in one direction")
            both[a, b] = count
    for (a, b), count in both.items():
        if both.get((b, a)) != count:
            raise SystemExit(f"gap junction {a}-{b} has {count} one way and {both.get((b, a))} the other")
    return {pair: count for pair, count in both.items() if pair[0] < pair[1]}, dropped


def check(cells, chem, gap) -> None:
    """Stop unless the counts and the direction of the edges are those of the paper."""
    found = (len(cells), len(chem), sum(chem.values()), len(gap), sum(gap.values()))
    if found != (279, 2194, 6394, 514, 887):
        raise SystemExit(f"counts {found} are not (279, 2194, 6394, 514, 887)")
    for pair, count in ANCHORS.items():
        if chem.get(pair, 0) != count:
            raise SystemExit(f"{pair[0]} -> {pair[1]} has {chem.get(pair, 0)} contacts, not {count}")


def comment(out, **lines) -> None:
    """Head of a table: one ``# key: text`` line each."""
    for key, text in lines.items():
        out.write(f"# {key}: {text}\n")


def write_edges(path: Path, chem, gap, dropped: int, digest: str) -> None:
    """Table ``pre, post, kind, weight``."""
    with path.open("w", newline="") as out:
        comment(
            out, source="NeuronConnect.xls, supplement of Varshney et al. 2011, as shipped in PyPI cect 0.3.5",
            citation=CITATION, version="2011", licence="CC BY", sha256=digest, weight_unit="contacts",
            dropped=f"R and Rp rows (the same contacts listed by receiver), NMJ rows, {dropped} self gap junctions",
            made_by="make_varshney2011.py",
        )  # fmt: skip
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["pre", "post", "kind", "weight"])
        for kind, edges in (("chem", chem), ("gap", gap)):
            for pre, post in sorted(edges, key=lambda pair: [natural_key(pair[0]), natural_key(pair[1])]):
                writer.writerow([pre, post, kind, edges[pre, post]])


def write_neurons(path: Path, cells, table: Path) -> None:
    """Table ``name, class, type, gaba26, transmitter, x_um, y_um, z_um`` of the cells that have a synapse."""
    with table.open(newline="") as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    missing = [name for name in cells if name not in rows]
    if missing:
        raise SystemExit(f"{table.name} lacks {missing}")
    with path.open("w", newline="") as out:
        comment(
            out, source="cell groups of Cook et al. 2019, transmitters of Wang et al. 2024, somata of c302 0.12.1",
            citation=NODE_CITATION, version="2026-11", licence="CC BY (transmitters), MIT (positions)",
            sha256=hashlib.sha256(table.read_bytes()).hexdigest(), frame="c302 (um; y from head -312 to tail 410)",
            made_by="make_varshney2011.py",
        )  # fmt: skip
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["name", "class", "type", "gaba26", "transmitter", "x_um", "y_um", "z_um"])
        for name in cells:
            row = rows[name]
            xyz = [f"{float(row[axis]):.6g}" for axis in ("x_um", "y_um", "z_um")]
            writer.writerow([name, row["class"], row["type"], row["gaba26"], row["neurotransmitter"], *xyz])


def main() -> None:
    """Read the two sources, check, write the two tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("spreadsheet", type=Path, help="NeuronConnect.xls")
    parser.add_argument("neurons", type=Path, help="table of cells with class, type, transmitter and position")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    args = parser.parse_args()
    rows = read_rows(args.spreadsheet)
    chem = chemical_edges(rows)
    gap, dropped = gap_edges(rows)
    cells = sorted({name for pair in [*chem, *gap] for name in pair}, key=natural_key)
    check(cells, chem, gap)
    digest = hashlib.sha256(args.spreadsheet.read_bytes()).hexdigest()
    write_edges(args.out / "celegans_varshney2011_edges.csv", chem, gap, dropped, digest)
    write_neurons(args.out / "celegans_neurons.csv", cells, args.neurons)
    print(f"{len(cells)} cells, {len(chem)} / {sum(chem.values())} chemical, {len(gap)} / {sum(gap.values())} gap")


if __name__ == "__main__":
    main()
