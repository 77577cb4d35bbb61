"""The wheel holds everything, and works from another folder."""

import json
import shutil
import subprocess
import sys
import tomllib
import zipfile
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SETUPTOOLS = PROJECT["tool"]["setuptools"]
FOLDERS = SETUPTOOLS["package-dir"]
SKIPPED = shutil.ignore_patterns("__pycache__", "*.nbi", "*.nbc", "*.egg-info")


def folder_of(package: str) -> Path:
    """brainsim.models.data -> models/data."""
    home = max((name for name in FOLDERS if f"{package}.".startswith(f"{name}.")), key=len)
    return Path(FOLDERS[home], *package.removeprefix(home).split(".")[1:])


def test_every_package_folder_is_listed():
    found = {
        ".".join((name, *init.parent.relative_to(ROOT / folder).parts))
        for name, folder in FOLDERS.items()
        for init in (ROOT / folder).rglob("__init__.py")
    }
    assert found == set(SETUPTOOLS["packages"])


def test_every_folder_with_code_is_a_package():
    bare = {
        str(path.parent.relative_to(ROOT))
        for folder in FOLDERS.values()
        for path in (ROOT / folder).rglob("*.py")
        if not (path.parent / "__init__.py").exists()
    }
    assert bare == set()


def test_every_data_file_is_listed():
    patterns, forgotten = SETUPTOOLS["package-data"], []
    for package in SETUPTOOLS["packages"]:
        for path in (ROOT / folder_of(package)).iterdir():
            known = path.is_dir() or path.suffix in (".py", ".pyc", ".nbi", ".nbc")
            if not known and not any(fnmatch(path.name, pattern) for pattern in patterns.get(package, [])):
                forgotten.append(str(path.relative_to(ROOT)))
    assert forgotten == []


@pytest.mark.parametrize("name", ["ops", "models"])
def test_mapped_folder_refuses_its_bare_name(name):
    """Without the guard, `import ops` in the checkout would be a second copy of brainsim.ops."""
    done = subprocess.run([sys.executable, "-c", f"import {name}"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert f"this folder is the package brainsim.{name}" in done.stderr


def test_versions_agree():
    version = PROJECT["project"]["version"]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert f'__version__ = "{version}"' in (ROOT / "brainsim" / "__init__.py").read_text()
    assert "\n## Unreleased\n" in (ROOT / "CHANGELOG.md").read_text()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel built from the source archive, and the copy of the sources that it was built from.

    A copy, because a stale build/ beside the sources would end up in the wheel.
    """
    place = tmp_path_factory.mktemp("build")
    source = place / "source"
    source.mkdir()
    for folder in FOLDERS.values():
        shutil.copytree(ROOT / folder, source / folder, ignore=SKIPPED)
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, source)
    build = "import sys; from setuptools import build_meta as b; print(b.{}(sys.argv[1]))"
    run(build.format("build_sdist"), place, cwd=source)
    (archive,) = place.glob("*.tar.gz")
    shutil.unpack_archive(archive, place / "unpacked", filter="data")
    (unpacked,) = (place / "unpacked").iterdir()
    run(build.format("build_wheel"), place, cwd=unpacked)
    (built,) = place.glob("*.whl")
    return built, source


def run(code: str, *args, cwd: Path) -> str:
    """Run Python code in a fresh interpreter, in the folder `cwd`; returns what it prints."""
    done = subprocess.run([sys.executable, "-c", code, *map(str, args)], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_wheel_holds_every_file_and_nothing_else(wheel):
    built, source = wheel
    names = {name for name in zipfile.ZipFile(built).namelist() if ".dist-info/" not in name}
    assert names == {
        "/".join((*package.split("."), path.name))
        for package in SETUPTOOLS["packages"]
        for path in (source / folder_of(package)).iterdir()
        if path.is_file()
    }


def test_wheel_tells_what_it_is(wheel):
    archive = zipfile.ZipFile(wheel[0])
    metadata = archive.read(next(n for n in archive.namelist() if n.endswith("/METADATA"))).decode()
    assert "Name: brainsim-jax\n" in metadata
    assert "License-Expression: Apache-2.0\n" in metadata
    assert "jax!=0.10.2" in metadata
    assert any(name.endswith("/licenses/LICENSE") for name in archive.namelist())
    scripts = archive.read(next(n for n in archive.namelist() if n.endswith("/entry_points.txt"))).decode()
    assert "brainsim = brainsim.cli:main" in scripts


def test_wheel_works_from_another_folder(wheel, tmp_path):
    target = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target", str(target)]
    subprocess.run([*pip, str(wheel[0])], cwd=tmp_path, check=True, capture_output=True)
    listed = [name for name in SETUPTOOLS["packages"] if name != "brainsim.plot"]
    code = """
import importlib, json, sys
from importlib.resources import files
sys.path.insert(0, sys.argv[1])
homes = {name: importlib.import_module(name).__file__ for name in json.loads(sys.argv[2])}
tables = sorted(file.name for file in files("brainsim.models.data").iterdir() if file.name.endswith(".csv"))
print(json.dumps([homes, tables]))
"""
    homes, tables = json.loads(run(code, target, json.dumps(listed), cwd=tmp_path))
    assert {name for name, home in homes.items() if not Path(home).is_relative_to(target)} == set()
    assert tables and tables == sorted(path.name for path in (wheel[1] / "models" / "data").glob("*.csv"))
