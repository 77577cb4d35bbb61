"""Names address everything: populations, states, parameters, projections. Wildcards `*` and `?` work everywhere."""

import re

from .errors import UnknownNameError, unknown


def is_pattern(name: str) -> bool:
    return "*" in name or "?" in name


def match(pattern: str, known, kind: str = "name") -> list[str]:
    """All known names that fit a pattern, in their own order.

    Raises:
        UnknownNameError: nothing fits; the message names the nearest and lists what exists.
    """
    known = list(known)
    if not is_pattern(pattern):
        if pattern not in known:
            raise UnknownNameError(unknown(kind, pattern, known))
        return [pattern]
    # only * and ? are special: names such as exc[:100] contain brackets
    parts = [".*" if c == "*" else "." if c == "?" else re.escape(c) for c in pattern]
    fits = [name for name in known if re.fullmatch("".join(parts), name)]
    if not fits:
        raise UnknownNameError(f"the pattern {pattern!r} fits no {kind}. {unknown(kind, pattern, known)}")
    return fits


def check_name(name, kind: str) -> str:
    """A name that a user gives to a population or projection: a letter first, no wildcard, no dot at the ends."""
    if not isinstance(name, str) or not name.strip():
        raise UnknownNameError(f"the {kind} needs a name, got {name!r}; write for example net.add('exc', ...)")
    if is_pattern(name) or "." in name:
        raise UnknownNameError(f"the {kind} name {name!r} may not contain '.', '*' or '?', which address its parts")
    return name
