"""The order in which modules import each other, from `pyproject.toml`."""

import ast
import tomllib
from pathlib import Path

from docs.reference.markdown import code, plain, table

ROOT = Path(__file__).parents[2]


def modules() -> str:
    """A table: each row may import what stands in the rows above it."""
    return table(
        ["module", "what it is"],
        [
            (code(name.removeprefix("proxy.")), _sentence(name))
            for layer in reversed(layers())
            for name in layer
        ],
    )


def layers() -> list[list[str]]:
    """From the top, which imports all others, to the bottom."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (contract,) = (
        one for one in settings["tool"]["importlinter"]["contracts"] if one["type"] == "layers"
    )
    return [[name.strip() for name in layer.split(":")] for layer in contract["layers"]]


def _sentence(module: str) -> str:
    """The first line of its docstring."""
    path = ROOT / module.replace(".", "/")
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    words = ast.get_docstring(ast.parse(file.read_text())) or ""
    return plain(" ".join(words.split("\n\n")[0].split()))
