"""The `brainsim` command: info, demo, cite.

The one file of this folder that reaches for `brainsim.models`, and only while the demo runs.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from .errors import BrainsimError

FAILED, INTERRUPTED = 1, 130  # argparse itself ends with 2


def _info(_) -> None:
    from .about import info

    info()


def _demo(args) -> int:
    args.out.mkdir(parents=True, exist_ok=True)
    from brainsim.models.circuits.worm_demo import main as touch_the_worm

    return touch_the_worm(out=args.out, quick=args.quick)


def _cite(args) -> None:
    from .about import cite

    print(cite("bibtex" if args.bibtex else "text"))
    print("Please cite the papers of the models you used as well: bs.explain(Model) names them.", file=sys.stderr)


def parser() -> argparse.ArgumentParser:
    from . import __version__

    top = argparse.ArgumentParser(prog="brainsim", description="A differentiable brain simulator on JAX.")
    top.add_argument("--version", action="version", version=f"brainsim {__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)

    info = commands.add_parser("info", help="versions, devices, why there is no GPU; paste it into a bug report")
    info.set_defaults(run=_info)

    demo = commands.add_parser("demo", help="touch the worm: simulate C. elegans and draw what happens")
    demo.add_argument("--out", type=Path, default=Path("brainsim-demo"), metavar="DIR", help="folder for the pictures")
    demo.add_argument("--quick", action="store_true", help="a shorter run")
    demo.set_defaults(run=_demo)

    cite = commands.add_parser("cite", help="how to cite brainsim")
    cite.add_argument("--bibtex", action="store_true", help="as a BibTeX entry")
    cite.set_defaults(run=_cite)
    return top


def _explained(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError) and not (error.name or "").startswith("brainsim"):
        return f"the Python package {error.name!r} is missing; install it with: pip install {error.name}"
    return f"{type(error).__name__}: {error}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    args = parser().parse_args(argv)
    try:
        status = args.run(args)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("brainsim: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader, for example `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (BrainsimError, ImportError, OSError) as error:
        print(f"brainsim: {_explained(error)}", file=sys.stderr)
        return FAILED
    return status or 0
