"""Every notebook runs, and what is stored in it is fit to be shown."""

import base64
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
SLOW = {"02_neuron_zoo", "06_gradients_through_spikes"}  # notebooks that take long even in fast mode
ABSOLUTE = re.compile(r"(?<![\w.:/])/(?:home|root|Users|tmp|var|opt|mnt|usr|work|private|content)/|\b[A-Z]:\\\\")
LARGEST_PICTURE = 150_000  # bytes


def named(paths, slow=SLOW):
    return [pytest.param(p, id=p.stem, marks=[pytest.mark.slow] if p.stem in slow else []) for p in paths]


def cells(path: Path) -> list[dict]:
    return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]


def text_of(output: dict) -> str:
    """What an output shows as text: streams, plain text, HTML."""
    shown = [
        output.get("text", ""),
        *(body for kind, body in output.get("data", {}).items() if kind.startswith("text/")),
    ]
    return "\n".join("".join(body) for body in shown)


def faults(path: Path) -> list[str]:
    """Why a stored notebook is not fit to be shown."""
    found, counts = [], []
    for number, cell in enumerate(cells(path)):
        if "".join(cell["source"]).strip():
            counts.append(cell["execution_count"])
        for output in cell["outputs"]:
            where = f"code cell {number}"
            if output["output_type"] == "error":
                found.append(f"{where} stores an error: {output['ename']}")
            if hit := ABSOLUTE.search(text_of(output)):
                found.append(f"{where} shows an absolute path: {text_of(output)[hit.start() : hit.start() + 40]!r}")
            picture = output.get("data", {}).get("image/png")
            if picture and len(base64.b64decode("".join(picture))) > LARGEST_PICTURE:
                found.append(f"{where} holds a picture of more than {LARGEST_PICTURE // 1000} kB")
    if counts != list(range(1, len(counts) + 1)):
        found.append(f"cells were not executed once, in order: {counts}; run make notebooks")
    return found


@pytest.mark.parametrize("path", named(NOTEBOOKS))
def test_notebook_runs(path, tmp_path):
    """In small sizes, as `make notebooks` runs it in full."""
    command = [sys.executable, str(FOLDER / "execute.py"), "--fast", "--out", str(tmp_path), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr[-4000:]


@pytest.mark.parametrize("path", named(NOTEBOOKS, slow=set()))
def test_stored_notebook_is_fit_to_be_shown(path):
    assert faults(path) == []


@pytest.mark.parametrize("path", named(NOTEBOOKS, slow=set()))
def test_notebook_asserts_its_science(path):
    assert any(re.search(r"^\s*assert |assert_allclose", "".join(cell["source"]), re.MULTILINE) for cell in cells(path))


def code(source, count=1, outputs=()):
    return {"cell_type": "code", "source": source, "execution_count": count, "outputs": list(outputs)}


@pytest.mark.parametrize("stored, fault", [
    (code("1", outputs=[{"output_type": "error", "ename": "ValueError"}]), "stores an error: ValueError"),
    (code("1", outputs=[{"output_type": "stream", "text": ["in ", "/home/me/x"]}]), "absolute path"),
    (code("1", outputs=[{"output_type": "display_data", "data": {"text/html": "<a>/root/y</a>"}}]), "absolute path"),
    (code("1", outputs=[{"output_type": "display_data", "data": {"image/png": "A" * 280_000}}]), "150 kB"),
    (code("1", count=3), "not executed once, in order"),
    (code("1", count=None), "not executed once, in order"),
    (code("1", outputs=[{"output_type": "stream", "text": "rate 5 Hz, see https://doi.org/10.1/tmp/x"}]), None),
])  # fmt: skip
def test_the_check_sees(stored, fault, tmp_path):
    path = tmp_path / "a.ipynb"
    path.write_text(json.dumps({"cells": [stored]}))
    found = faults(path)
    assert (found == []) if fault is None else any(fault in line for line in found)


def test_execute_stores_outputs_and_stops_at_an_error(tmp_path):
    import nbformat

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("import os; os.environ['BRAINSIM_FAST']")])
    nbformat.write(notebook, tmp_path / "a.ipynb")
    command = [sys.executable, str(FOLDER / "execute.py"), "--fast", str(tmp_path / "a.ipynb")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert faults(tmp_path / "a.ipynb") == []
    assert "'1'" in text_of(cells(tmp_path / "a.ipynb")[0]["outputs"][0])
    notebook.cells[0].source = "1 / 0"
    nbformat.write(notebook, tmp_path / "a.ipynb")
    assert subprocess.run(command, capture_output=True).returncode != 0
