"""The code on the pages: tests/test_docs.py runs it, `make lint` checks its types.

Usage: python docs/snippets.py DIR   writes one script a page
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def script(page: str, tagged: bool = True) -> str:
    """A page's code, every line at its place on the page; "" if there is none.

    Args:
        page: text in Markdown.
        tagged: take the blocks marked "python run"; otherwise all python blocks.
    """
    lines = [""] * (page.count("\n") + 1)
    for block in BLOCK.finditer(page):
        kind = block[1].split()
        if kind[:1] == ["python"] and ("run" in kind or not tagged):
            start = page.count("\n", 0, block.start(2))
            code = block[2].splitlines()
            lines[start : start + len(code)] = code
    return "\n".join(lines).rstrip() + "\n" if any(lines) else ""


def scripts() -> dict[Path, str]:
    """Pages that have code that runs: all python blocks of the README, the tagged ones elsewhere."""
    found = {path: script(path.read_text(), tagged=path.name != "README.md") for path in PAGES}
    return {path: code for path, code in found.items() if code}


if __name__ == "__main__":
    for path, code in scripts().items():
        Path(sys.argv[1], f"{path.stem}.py").write_text(code)
