"""What `import brainsim` costs, and that every public name is there."""

import json
import subprocess
import sys

import brainsim

LATE = ("numba", "flax", "optax", "h5py", "matplotlib", "scipy", "pandas", "xarray", "neo", "networkx", "rich")


def fresh(code: str, cwd):
    """What a fresh interpreter, in another folder, prints as JSON."""
    done = subprocess.run([sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_import_is_light_and_touches_no_device(tmp_path):
    code = """
import json, sys
import jax
before = set(sys.modules)
import brainsim
from jax._src import xla_bridge
late = {name.split(".")[0] for name in set(sys.modules) - before}
print(json.dumps([sorted(late), len(xla_bridge._backends), jax.config.jax_enable_x64]))
"""
    late, backends, float64 = fresh(code, tmp_path)
    assert set(LATE) & set(late) == set()
    assert backends == 0, "importing brainsim initialised a jax backend: jax.distributed could no longer start"
    assert not float64


def test_every_public_name_resolves(tmp_path):
    """In a fresh interpreter, after every submodule was imported: importing `brainsim.explain` binds that name to the
    module, and a function of the same name would be hidden behind it."""
    code = """
import importlib, json, pkgutil, types
import brainsim
for module in pkgutil.iter_modules(brainsim.__path__):
    if module.name not in ("__main__", "ops", "models", "plot"):
        importlib.import_module("brainsim." + module.name)
broken = {}
for name in brainsim.__all__:
    try:
        if isinstance(getattr(brainsim, name), types.ModuleType) and name not in brainsim._MODULES:
            broken[name] = "hidden by the module of that name"
    except Exception as error:
        broken[name] = type(error).__name__ + ": " + str(error)
print(json.dumps(broken))
"""
    assert fresh(code, tmp_path) == {}


def test_unknown_name_is_explained():
    try:
        brainsim.Netwrok  # noqa: B018
    except AttributeError as error:
        assert "did you mean 'Network'" in str(error)
    else:
        raise AssertionError("brainsim.Netwrok exists")
