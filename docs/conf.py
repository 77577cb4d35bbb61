"""Sphinx: `make docs`."""

import shutil
from importlib.metadata import version as installed
from pathlib import Path

HERE = Path(__file__).parent

project = "brainsim"
author = "brainsim developers"
copyright = author
release = version = installed("brainsim-jax")

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax", "sphinx_copybutton"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # the stored outputs are shown; tests/test_notebooks.py executes
napoleon_use_ivar = True  # attributes are documented once
autodoc_member_order = "groupwise"
autodoc_typehints = "none"
html_theme = "furo"
html_title = "brainsim"

# Sphinx reads below docs/ only: the notebooks are copied in.
shutil.rmtree(HERE / "notebooks", ignore_errors=True)
shutil.copytree(
    HERE.parent / "notebooks", HERE / "notebooks", ignore=shutil.ignore_patterns("*.py", ".ipynb_checkpoints")
)
