"""The code in the README and on the pages of docs/ runs, and their links lead somewhere."""

import doctest
import importlib
import os
import pkgutil
import re
import subprocess
import sys

import pytest
from snippets import PAGES, ROOT, script, scripts

LINK = re.compile(r"\]\(([^)\s]+)\)")
MACHINE = re.compile(r"(?<![\w.])/(?:home|root|Users|tmp|opt|work)/")


def runnable() -> list:
    return [pytest.param(path, code, id=path.stem) for path, code in scripts().items()]


@pytest.mark.parametrize("path, code", runnable())
def test_page_runs(path, code, tmp_path):
    """From top to bottom in one fresh interpreter, in an empty folder; a warning is an error."""
    (tmp_path / path.name).write_text(code)
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-W", "error::RuntimeWarning", path.name],
        cwd=tmp_path, capture_output=True, text=True, stdin=subprocess.DEVNULL,
        env={**os.environ, "BRAINSIM_FAST": "1", "MPLBACKEND": "Agg"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    if path.stem in ("README", "tutorial"):  # the pages that print gradients
        assert not re.search(r"\bnan\b", done.stdout), done.stdout


def test_script_keeps_lines_in_place():
    page = "# A\n```python run\nx = 1\n\ny = 2\n```\n```sh\nls\n```\n```python\nz = 3\n```\n"
    assert script(page) == "\n\nx = 1\n\ny = 2\n"
    assert script(page, tagged=False).splitlines()[10] == "z = 3"
    assert script("no code\n") == ""


def test_the_tutorial_and_the_readme_have_code():
    assert {"README", "tutorial", "units", "own_model"} <= {page.id for page in runnable()}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_links_lead_somewhere(path):
    targets = [link.partition("#")[0] for link in LINK.findall(path.read_text()) if not link.startswith(("http", "#"))]
    assert [target for target in targets if not (path.parent / target).exists()] == []


def test_every_page_is_in_the_contents():
    contents = (ROOT / "docs" / "index.md").read_text()
    assert [path.stem for path in PAGES if path.parent.name == "docs" and path.stem != "index"
            and not re.search(rf"^{path.stem}$", contents, re.MULTILINE)] == []  # fmt: skip


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_no_page_names_a_machine(path):
    assert MACHINE.findall(path.read_text()) == []


def test_schedule_picture_is_what_its_script_draws(tmp_path):
    drawn = tmp_path / "schedule.svg"
    subprocess.run([sys.executable, str(ROOT / "docs" / "make_schedule.py"), str(drawn)], check=True)
    assert drawn.read_text() == (ROOT / "docs" / "images" / "schedule.svg").read_text()


def modules() -> list[str]:
    """Names of all modules; ops and models are mapped folders, which a walk from brainsim does not see."""
    found = {"brainsim"}
    for package in ("brainsim", "brainsim.ops", "brainsim.models"):
        path = importlib.import_module(package).__path__
        found |= {module.name for module in pkgutil.walk_packages(path, f"{package}.", onerror=lambda _: None)}
    return sorted(found - {"brainsim.__main__"})


@pytest.mark.parametrize("name", modules())
def test_examples_in_docstrings(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    assert doctest.testmod(importlib.import_module(name), optionflags=options).failed == 0
