"""Execute notebooks, and store their outputs.

Usage: python notebooks/execute.py [FILE ...] [--fast] [--out DIR]

Without files, all of this folder. --fast sets BRAINSIM_FAST=1 for small sizes; --out leaves the originals as they are.
"""

import argparse
import os
from pathlib import Path

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).parent
TIMEOUT = 600  # s for a cell


def execute(path: Path):
    """The notebook with its outputs; raises `CellExecutionError` if a cell fails."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=TIMEOUT,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(path.parent)}},
    )
    client.execute()
    # What differs from one machine to the next does not belong into the repository.
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return notebook


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path, default=sorted(HERE.glob("*.ipynb")))
    parser.add_argument("--fast", action="store_true", help="small sizes")
    parser.add_argument("--out", type=Path, help="write here instead of into the originals")
    args = parser.parse_args()
    os.environ.pop("MPLBACKEND", None)  # pictures go into the notebook
    if args.fast:
        os.environ["BRAINSIM_FAST"] = "1"
    for path in args.files:
        print(f"executing {path.name}", flush=True)
        nbformat.write(execute(path), path if args.out is None else args.out / path.name)


if __name__ == "__main__":
    main()
