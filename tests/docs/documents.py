"""The README and the pages of the documentation, as what they hold."""

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs/pages").rglob("*.md"))
DOCUMENTS = [ROOT / "README.md", *PAGES]
_BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^\1```", re.DOTALL | re.MULTILINE)


def blocks(*languages: str) -> Iterator[tuple[str, str]]:
    """Where it stands, and its text, of each block of code in those languages.

    What is included when the site is built has tests of its own.
    """
    for document in DOCUMENTS:
        for _, language, text in _BLOCK.findall(document.read_text()):
            if language in languages and not text.lstrip().startswith("--8<--"):
                yield str(document.relative_to(ROOT)), textwrap.dedent(text)


def page(name: str) -> str:
    """The text of a page, by its place below docs/pages."""
    return (ROOT / "docs/pages" / name).read_text()
