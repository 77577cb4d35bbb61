"""Exceptions. Every message says what was given, why it cannot be, and what to write instead."""

import sys
import warnings
from difflib import get_close_matches
from pathlib import Path


class BrainsimError(Exception):
    """Any error raised on purpose by brainsim."""


class DefinitionError(BrainsimError, TypeError):
    """A model class breaks the contract of its kind."""


class UnitError(BrainsimError, ValueError):
    """A value has the wrong dimension or an unknown unit."""


class ParameterError(BrainsimError, ValueError):
    """A parameter, weight or delay is out of its range, of the wrong shape or not finite."""


class ConnectError(BrainsimError, ValueError):
    """A connection cannot be made as asked."""


class UnknownNameError(BrainsimError, KeyError):
    """A name addresses nothing; the message lists what exists."""

    def __str__(self):
        return str(self.args[0]) if self.args else ""


class CompileError(BrainsimError, ValueError):
    """A network cannot be compiled as asked."""


class RunError(BrainsimError, ValueError):
    """A run was asked for with impossible arguments."""


class NonFiniteError(BrainsimError, FloatingPointError):
    """A state became nan or infinite during a run."""


class FileFormatError(BrainsimError, OSError):
    """A file is truncated, of another format or version, or lacks a data set."""


def unknown(kind: str, name: str, known) -> str:
    """Message for a name that does not exist: the nearest match first, then all that exist."""
    known = sorted(known)
    near = get_close_matches(str(name), known, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    shown = ", ".join(known[:40]) + (", ..." if len(known) > 40 else "")
    return f"there is no {kind} {name!r}{hint} Known: {shown or 'none'}"


def warn(message: str, category=UserWarning) -> None:
    """A warning that points to the line of the user's call, however deep it is found."""
    frame, level, here = sys._getframe(1), 2, str(Path(__file__).parent)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(here):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
