"""Connectomes: the embedded worm, what is refused, files, and the fixed point of the graded worm network."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brainsim.connectome import Connectome, EdgeTable
from brainsim.errors import ConnectError, FileFormatError, ParameterError, UnknownNameError
from brainsim.models import GapJunction, GradedNeuron, GradedSynapse
from brainsim.models.circuits import worm

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def celegans():
    return worm.celegans()


@pytest.fixture(scope="module")
def reference():
    return json.loads((ROOT / "tests" / "reference" / "worm.json").read_text())


def test_counts_of_varshney(celegans):
    chem, gap = celegans.chem, celegans.gap
    assert (len(celegans), len(chem), chem.weight.sum(), len(gap), gap.weight.sum()) == (279, 2194, 6394, 514, 887)
    assert (chem.weight_unit, gap.weight_unit) == ("contacts", "contacts")
    assert celegans.positions.shape == (279, 3) and np.isfinite(celegans.positions).all()
    assert "c302" in celegans.frame


@pytest.mark.parametrize("pre, post, contacts", [
    ("VB3", "DD2", 37), ("PDER", "DVA", 35), ("AVAL", "VA8", 9), ("VA8", "AVAL", 0), ("AVAL", "PVCL", 10),
    ("PVCL", "AVAL", 2),
])  # fmt: skip
def test_edges_point_from_pre_to_post(celegans, pre, post, contacts):
    assert celegans.matrix("chem")[celegans.index(post), celegans.index(pre)] == contacts


def test_largest_edge_and_degrees(celegans):
    matrix = celegans.matrix("chem")
    post, pre = np.unravel_index(matrix.argmax(), matrix.shape)
    assert (celegans.names[pre], celegans.names[post]) == ("VB3", "DD2")
    ava = celegans.index("AVAL")
    partners, contacts = celegans.degree(), celegans.degree(weighted=True)
    assert [partners[kind][ava] for kind in ("out", "in", "gap")] == [37, 53, 40]
    assert [contacts[kind][ava] for kind in ("out", "in", "gap")] == [143, 237, 113]
    plm = celegans.index("PLML")
    assert (partners["out"][plm], partners["gap"][plm]) == (1, 3)


def test_gap_junctions_are_held_once_and_act_both_ways(celegans):
    gap = celegans.matrix("gap")
    assert (gap == gap.T).all() and not gap.diagonal().any()
    assert gap.sum() == 2 * 887


def test_gaba_cells_and_motor_classes(celegans):
    inhibitory = set(celegans.chem.pre[celegans.chem.sign < 0])
    gaba = celegans.ids(["AVL", "DVB", "RIS", "RME*", "DD*", "VD*"])
    assert len(gaba) == 26 and inhibitory <= set(gaba)
    assert (celegans.chem.sign != 0).all()
    assert len(celegans.ids(class_=worm.MOTOR)) == 74
    signed = celegans.matrix("chem", signed=True)
    assert signed[celegans.index("DD2"), celegans.index("VB3")] == 37 and (signed[:, gaba] <= 0).all()


def test_provenance_is_told(celegans):
    for provenance in (celegans.chem.provenance, celegans.gap.provenance):
        assert "10.1371/journal.pcbi.1001066" in provenance["citation"]
        assert provenance["licence"] == "CC BY" and len(provenance["sha256"]) == 64
        assert "R and Rp" in provenance["dropped"]
    shown = celegans._repr_html_()
    assert "2194" in shown and "CC BY" in shown and "2194" in repr(celegans)


def test_embedded_tables_come_from_the_source(data, tmp_path):
    pytest.importorskip("xlrd")
    sources = data("celegans_pypi/NeuronConnect.xls"), data("derived/celegans_neurons.csv")
    script = ROOT / "models" / "data" / "make_varshney2011.py"
    subprocess.run([sys.executable, script, *sources, "--out", tmp_path], check=True, capture_output=True)
    for made in tmp_path.glob("*.csv"):
        assert made.read_bytes() == (script.parent / made.name).read_bytes()
    assert len(list(tmp_path.glob("*.csv"))) == 2


def test_select_keeps_the_order_and_the_edges_inside(celegans):
    part = celegans.select(["VB3", "DD2", "AVA*"])
    assert part.names == ("AVAL", "AVAR", "DD2", "VB3")
    assert part.matrix("chem")[part.index("DD2"), part.index("VB3")] == 37
    assert (part.matrix("gap") == celegans.matrix("gap")[np.ix_(*[celegans.ids(part.names)] * 2)]).all()
    assert list(part.columns["type"]) == ["inter", "inter", "motor", "motor"]
    assert part.positions[2] == pytest.approx(celegans.positions[celegans.index("DD2")])
    motor = celegans.select(type="motor")
    assert set(motor.columns["type"]) == {"motor"} and len(motor) == 115
    assert len(celegans.select("V*", class_=["VA", "VB"])) == 23


def test_ids_keep_the_order_asked_for(celegans):
    assert celegans.ids(["PLMR", "PLML", "PLM*"]).tolist() == [celegans.index("PLMR"), celegans.index("PLML")]


def test_ablation_keeps_every_index(celegans):
    left = celegans.ablate(class_="PVC")
    gone = celegans.ids(["PVCL", "PVCR"])
    assert left.names == celegans.names and len(left.chem) == 2194 and len(left.gap) == 514
    for kind in ("chem", "gap"):
        matrix = celegans.matrix(kind)
        matrix[gone] = matrix[:, gone] = 0
        assert (left.matrix(kind) == matrix).all()
    assert celegans.chem.weight.sum() == 6394


CASES = {
    "weight that is no number": (dict(chem=[("A", "B", float("nan"))]), ParameterError, ["A -> B", "finite"]),
    "negative weight": (dict(chem=[("A", "B", -2)]), ParameterError, ["A -> B", "-2", "sign"]),
    "sign": (dict(chem=[("A", "B", 2, 3)]), ParameterError, ["3 is no sign"]),
    "twice": (dict(chem=[("A", "B", 1), ("A", "B", 2)]), ConnectError, ["A -> B occurs 2 times"]),
    "gap both ways": (dict(gap=[("A", "B", 1), ("B", "A", 1)]), ConnectError, ["A -> B occurs 2 times", "once"]),
    "self gap": (dict(gap=[("A", "A", 1)]), ConnectError, ["A -> A", "itself"]),
    "unknown cell": (dict(chem=[("A", "VA01", 1)]), UnknownNameError, ["A -> VA01", "did you mean 'VA1'"]),
    "column": (dict(columns={"type": ["motor"]}), ParameterError, ["type has shape (1,)", "3 cells"]),
    "positions": (dict(positions=[[0, 0]] * 3), ParameterError, ["positions has shape (3, 2)", "(3, 3)"]),
}


@pytest.mark.parametrize("case", CASES)
def test_refused(case):
    given, error, said = CASES[case]
    with pytest.raises(error) as caught:
        Connectome.from_edges(["A", "B", "VA1"], **given)
    assert all(part in str(caught.value) for part in said), str(caught.value)


def test_refused_names_and_indices(celegans):
    with pytest.raises(ParameterError, match="two cells are called 'A'"):
        Connectome.from_edges(["A", "B", "A"])
    with pytest.raises(ConnectError, match="2 cells have 0 to 1"):
        Connectome(["A", "B"], EdgeTable([0], [2], [1.0]), EdgeTable([], [], []))
    with pytest.raises(ParameterError, match="one value per edge"):
        EdgeTable([0, 1], [1, 0], [1.0])
    for ask, said in (
        (lambda: celegans.index("VA01"), "did you mean 'VA1'"),
        (lambda: celegans.ids("XX*"), r"'XX\*'"),
        (lambda: celegans.select(type="moter"), "did you mean 'motor'"),
        (lambda: celegans.select(tpye="motor"), "did you mean 'type'"),
        (lambda: celegans.matrix("chemical"), "did you mean 'chem'"),
    ):
        with pytest.raises(UnknownNameError, match=said):
            ask()


def test_a_cell_may_contact_itself():
    made = Connectome.from_edges(["A", "B"], chem=[("A", "A", 2), ("B", "A", 1)])
    assert made.matrix("chem").tolist() == [[2, 1], [0, 0]]


def test_edges_come_in_one_order():
    made = Connectome.from_edges(["A", "B"], chem=[("B", "A", 1, -1), ("A", "B", 2, 1), ("A", "A", 3)])
    assert (made.chem.weight.tolist(), made.chem.sign.tolist()) == ([3, 2, 1], [0, 1, -1])


def test_files_round_trip(celegans, tmp_path):
    edges, nodes = tmp_path / "edges.csv", tmp_path / "nodes.csv"
    celegans.to_csv(edges, nodes)
    again = Connectome.from_csv(edges, nodes)
    assert again.names == celegans.names and again.frame == celegans.frame
    assert list(again.columns) == ["class", "type", "gaba26", "transmitter"]
    assert all((again.columns[key] == celegans.columns[key]).all() for key in again.columns)
    assert (again.positions == celegans.positions).all() and again.provenance == celegans.provenance
    for a, b in ((again.chem, celegans.chem), (again.gap, celegans.gap)):
        assert all((getattr(a, key) == getattr(b, key)).all() for key in ("pre", "post", "weight", "sign"))
        assert (a.weight_unit, a.provenance["sha256"]) == (b.weight_unit, b.provenance["sha256"])


def write(path, text):
    path.write_text(text)
    return path


def test_tabs_other_headers_and_junctions_listed_both_ways(tmp_path):
    text = "# weight_unit: sections\nSource\tTarget\tType\tSynapses\na1\ta2\tchemical\t3\n"
    file = write(tmp_path / "e.tsv", text + "a1\ta2\telectrical\t5\na2\ta1\telectrical\t5\na1\ta1\tgap\t7\n")
    made = Connectome.from_csv(file, gap="both", rename=str.upper)
    assert made.names == ("A1", "A2") and made.chem.weight_unit == "sections"
    assert (len(made.chem), len(made.gap), made.gap.weight.sum()) == (1, 1, 5)
    assert "1 self gaps" in made.gap.provenance["dropped"]
    with pytest.raises(ConnectError, match="gap='both'"):
        Connectome.from_csv(file)


@pytest.mark.parametrize("text, said", [
    ("pre,post,weight\nA,B\n", "line 2: 2 fields under 3 headers"),
    ("pre,post,weight\nA,B,many\n", "weight 'many'"),
    ("pre,post,kind,weight\nA,B,muscle,1\n", "kind 'muscle'"),
    ("pre,to,weight\nA,B,1\n", "no column for post"),
])  # fmt: skip
def test_broken_files(tmp_path, text, said):
    with pytest.raises(FileFormatError, match=said):
        Connectome.from_csv(write(tmp_path / "e.csv", text))


def test_junctions_that_differ_by_direction_are_refused(tmp_path):
    file = write(tmp_path / "e.csv", "pre,post,kind,weight\nA,B,gap,1\nB,A,gap,2\n")
    with pytest.raises(ConnectError, match="A -> B 1 has no equal row B -> A"):
        Connectome.from_csv(file, gap="both")


def test_white_1986_is_read(data):
    """Tab separated, muscles among the cells, six junctions of cells with themselves."""
    white = Connectome.from_csv(data("celegans_pypi/aconnectome_white_1986_whole.csv"))
    table = data("derived/celegans_neurons.csv").read_text().splitlines()[1:]
    neurons = white.select([name for name in (row.split(",")[0] for row in table) if name in white.names])
    assert (len(neurons.chem), neurons.chem.weight.sum(), len(neurons.gap)) == (2266, 6509, 563)
    assert "6 self gaps" in white.gap.provenance["dropped"]


@pytest.fixture(scope="module")
def network(celegans):
    """The graded network and its parameters in float64."""
    with jax.enable_x64(True):
        return worm.touch_simulation(celegans)


def touched(network, celegans, amplitude):
    return {**network.params, "neurons.I_bias": amplitude * jnp.asarray(worm.plm_touch(1.0, celegans))}


def test_network_of_a_connectome(celegans):
    net = celegans.select(class_=["AVA", "PVC"]).to_network(GradedNeuron(), GradedSynapse(), GapJunction(), seed=1)
    assert net["neurons"].labels == ("AVAL", "AVAR", "PVCL", "PVCR") and net["neurons"].positions.shape == (4, 3)
    edges = net["chemical"].edges
    assert net["chemical"].weight[(edges.pre == 0) & (edges.post == 2)] == [10]
    with pytest.raises(ParameterError, match="chemical edges have no sign"):
        Connectome.from_edges(["A", "B"], [("A", "B", 1)]).to_network(GradedNeuron(), GradedSynapse(), signed=True)


def test_thresholds_at_rest(network, celegans, reference, x64):
    rest = worm.resting_voltage(touched(network, celegans, 0.0), celegans)
    known = reference["vth_rest_mV"]
    assert [rest.min(), rest.max(), rest.mean()] == pytest.approx([known[k] for k in ("min", "max", "mean")], abs=1e-9)


def test_hopf_point_and_its_slope(network, celegans, reference, x64):
    """1.24508e4 in units of 0.1 pA, where the leading pair crosses with 3.0351 per s per 1e4."""
    known = reference["hopf"]
    leading = lambda a: worm.leading_eigenvalue(touched(network, celegans, a), celegans)
    value, slope = jax.jvp(leading, (known["amplitude"],), (1.0,))
    assert abs(value.real) < 1e-9 and 1e3 * value.imag == pytest.approx(known["omega_per_s"], rel=1e-6)
    assert 1e7 * slope.real == pytest.approx(known["slope_per_s_per_1e4"], rel=1e-5)
    back = jax.grad(lambda a: leading(a).real)(known["amplitude"])
    assert float(back) == pytest.approx(float(slope.real), rel=1e-9)


@pytest.mark.parametrize("amplitude, lost", [(1.4e4, None), (1.0e4, None), (2.0e4, "PVC")])
def test_touch(celegans, amplitude, lost):
    """Cycle, no cycle below the Hopf point, no cycle without PVC; exponential Euler at 1 ms is 0.6 % slow."""
    (row,) = worm.touch_experiment([amplitude] * (lost is None), [lost] * (lost is not None), dt=1.0)
    known = row["reference"]
    assert row["outcome"] == ("settles" if known is None else "cycles")
    if known is None:
        assert row["amplitude_mV"] < worm.STILL
    else:
        assert row["period"] == pytest.approx(known[0], rel=0.01)
        assert row["energy"] == pytest.approx(known[1], abs=1e-3)
        assert row["amplitude_mV"] == pytest.approx(known[2], rel=0.03)


@pytest.mark.filterwarnings("ignore:Reading `.npy`")
def test_interactome_variant(celegans, data, x64):
    """The matrices of the Neural Interactome program: another Hopf point, in their own order of cells."""
    folder = data("celegans_interactome/Gs.npy").parent
    names = ast.literal_eval((folder / "neuron_names.txt").read_text())
    names = [re.sub(r"(?<=[A-Z])0+(?=\d)", "", name) for name in names]
    chemical, gap = np.load(folder / "Gs.npy"), np.triu(np.load(folder / "Gg.npy"))
    sign = np.where(np.load(folder / "emask.npy").ravel() == 1, -1, 1)
    made = Connectome.from_edges(
        names,
        [(names[j], names[i], chemical[i, j], sign[j]) for i, j in np.argwhere(chemical)],
        [(names[i], names[j], gap[i, j]) for i, j in np.argwhere(gap)],
    )
    assert sorted(names) == sorted(celegans.names) and (len(made.chem), len(made.gap)) == (2305, 561)
    sim = worm.touch_simulation(made)
    leading = lambda a: worm.leading_eigenvalue(touched(sim, made, a), made)
    value, slope = jax.jvp(leading, (1.25899e4,), (1.0,))
    assert abs(value.real) < 1e-6 and 1e3 * value.imag == pytest.approx(2.5939, rel=1e-4)
    assert 1e7 * slope.real == pytest.approx(2.9894, rel=1e-4)


def test_gain_derivative():
    found = worm.gain_derivative(duration=2_000.0)
    assert found["derivative"] == pytest.approx(found["difference"], rel=1e-5)


def test_period_ignores_noise_at_the_crossings():
    times = np.arange(0.0, 20.0, 0.01)
    phase = 2 * np.pi * times / 1.7
    noise = np.random.default_rng(0).normal(0, 0.02, (len(times), 3))
    traces = np.sin(phase)[:, None] * [1.0, 2.0, -1.0] + 0.3 * np.cos(phase)[:, None] + noise
    assert worm.oscillation_period(times, traces) == pytest.approx(1.7, rel=1e-3)
    assert worm.two_mode_energy(traces) > 0.999
    assert np.isnan(worm.oscillation_period(times[:300], traces[:300]))


def test_published_table_is_the_reference_file(reference):
    runs = {(run["amplitude"], None): run for run in reference["runs"]}
    runs |= {(2.0e4, name): run for name, run in reference["ablations_at_2e4"].items()}
    assert set(runs) == set(worm.REFERENCE)
    for key, known in worm.REFERENCE.items():
        found = [runs[key][name] for name in ("period_s", "two_mode_energy", "amplitude_mV")]
        assert found[2] < worm.STILL if known is None else found == pytest.approx(known, rel=5e-4)
