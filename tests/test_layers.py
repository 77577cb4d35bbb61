"""The arrows models -> brainsim -> ops, names of files, and their length."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = {"ops": "brainsim.ops", "brainsim": "brainsim", "models": "brainsim.models"}
LAYER = {"brainsim.ops": 0, "brainsim": 1, "brainsim.models": 2}
FILES = sorted(path for folder in PACKAGE for path in (ROOT / folder).rglob("*.py"))
COMMAND = ROOT / "brainsim" / "cli.py"  # the command runs the library's demo: the one exception
OPS_KNOWS = {"jax", "jaxlib", "numpy", "numba", "llvmlite"}
EMPTY_NAMES = {"utils", "util", "core", "base", "common", "misc", "helpers"}
LONGEST = 400


def name_of(path: Path) -> str:
    """Package that a file belongs to, as imported: ops/csr.py -> brainsim.ops."""
    folder, *inner = path.relative_to(ROOT).parts[:-1]
    return ".".join((PACKAGE[folder], *inner))


def imports(path: Path, source: str | None = None) -> list[tuple[str, bool]]:
    """Absolute names that a file imports, and whether it does so inside a function."""
    found = []

    def visit(node, inside):
        if isinstance(node, ast.Import):
            found.extend((alias.name, inside) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = name_of(path).split(".")
            start = ".".join(parents[: len(parents) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, (start, node.module)))
            found.extend((f"{module}.{alias.name}", inside) for alias in node.names)
        for child in ast.iter_child_nodes(node):
            visit(child, inside or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda))

    visit(ast.parse(path.read_text() if source is None else source), False)
    return found


def layer(name: str) -> int | None:
    """Layer of an imported name; None for a stranger. `brainsim.ops.csr` -> 0."""
    return next(
        (
            LAYER[package]
            for package in sorted(LAYER, key=len, reverse=True)
            if name == package or name.startswith(package + ".")
        ),
        None,
    )


def upward(path: Path, source: str | None = None) -> list[str]:
    """Imports that point against the arrows."""
    own = layer(name_of(path))
    return [
        name for name, inside in imports(path, source) if (layer(name) or 0) > own and not (path == COMMAND and inside)
    ]


def test_no_import_points_upward():
    assert FILES
    assert {str(path.relative_to(ROOT)): found for path in FILES if (found := upward(path))} == {}


@pytest.mark.parametrize("file, source, found", [
    ("ops/csr.py", "from brainsim.errors import BrainsimError", ["brainsim.errors.BrainsimError"]),
    ("ops/csr.py", "import brainsim", ["brainsim"]),
    ("ops/csr.py", "from ..errors import X", ["brainsim.errors.X"]),
    ("ops/csr.py", "from .reference import X", []),
    ("brainsim/step.py", "from . import models", ["brainsim.models"]),
    ("brainsim/step.py", "def f():\n from brainsim.models.neurons import LIF", ["brainsim.models.neurons.LIF"]),
    ("brainsim/plot/raster.py", "from ..models import LIF", ["brainsim.models.LIF"]),
    ("brainsim/step.py", "from .ops import csr", []),
    ("brainsim/cli.py", "def f():\n from brainsim.models import LIF", []),
    ("brainsim/cli.py", "from brainsim.models import LIF", ["brainsim.models.LIF"]),
    ("models/neurons/lif.py", "import brainsim as bs\nfrom brainsim.models.data import x", []),
])  # fmt: skip
def test_the_check_sees(file, source, found):
    assert upward(ROOT / file, source) == found


def test_ops_knows_jax_and_numba_only():
    known = OPS_KNOWS | {"brainsim"} | set(sys.stdlib_module_names)
    strangers = {
        (str(path.relative_to(ROOT)), name)
        for path in FILES if path.is_relative_to(ROOT / "ops")
        for name, _ in imports(path) if name.split(".")[0] not in known
    }  # fmt: skip
    assert strangers == set()


def test_models_speak_the_public_language():
    """No private name of brainsim, and no operator: a model says what happens, not how."""
    private = {
        (str(path.relative_to(ROOT)), name)
        for path in FILES if path.is_relative_to(ROOT / "models")
        for name, _ in imports(path)
        if layer(name) == 0 or (layer(name) == 1 and any(part.startswith("_") for part in name.split(".")))
    }  # fmt: skip
    assert private == set()


def test_no_file_has_an_empty_name():
    named = [path.relative_to(ROOT) for folder in (*PACKAGE, "tests", "docs", "notebooks")
             for path in (ROOT / folder).rglob("*") if "_build" not in path.parts]  # fmt: skip
    assert [str(path) for path in named if set(path.stem.strip("_").split("_")) & EMPTY_NAMES] == []


def test_no_file_is_long():
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in FILES}
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST} == {}
