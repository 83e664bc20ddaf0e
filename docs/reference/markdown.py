"""Pieces of Markdown."""

import inspect
import re
from collections.abc import Iterable, Sequence

_NO_CELL = re.compile(r"(?<!\\)\|")


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; what stands in a cell is Markdown on one line."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(_cell(one) for one in line)} |" for line in lines)


def code(text: str) -> str:
    """A piece of code within a line; empty for none."""
    return f"`{text}`" if text else ""


def first_paragraph(documented: object) -> str:
    """The first paragraph of a docstring, on one line."""
    return " ".join((inspect.getdoc(documented) or "").split("\n\n")[0].split())


def _cell(text: str) -> str:
    return _NO_CELL.sub(r"\\|", " ".join(text.split()))
