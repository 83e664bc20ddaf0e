"""Pieces of Markdown."""

import inspect
import re
from collections.abc import Iterable, Sequence

_CODE = re.compile(r"(`[^`]*`)")
_SPECIAL = re.compile(r"([*_\[\]])")
_NO_CELL = re.compile(r"(?<!\\)\|")


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; what stands in a cell is Markdown on one line."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(_cell(one) for one in line)} |" for line in lines)


def code(text: str) -> str:
    """A piece of code within a line; empty for none."""
    return f"`{text}`" if text else ""


def plain(text: str) -> str:
    """Text that has no mark-up but code: what Markdown would take for more is escaped."""
    pieces = _CODE.split(text)
    return "".join(
        piece if at % 2 else _SPECIAL.sub(r"\\\1", piece).replace("<", "&lt;")
        for at, piece in enumerate(pieces)
    )


def first_paragraph(documented: object) -> str:
    """The first paragraph of a docstring, on one line."""
    return plain(" ".join((inspect.getdoc(documented) or "").split("\n\n")[0].split()))


def _cell(text: str) -> str:
    return _NO_CELL.sub(r"\\|", " ".join(text.split()))
