"""What the JSON endpoints say, from `proxy/reports.py`."""

import ast

from docs.reference.markdown import code, plain, table
from docs.reference.source import classes, fields
from proxy import reports


def shapes() -> str:
    """A heading and a table of keys for each object."""
    return "\n\n".join(_shape(node) for node in classes(reports) if fields(node))


def _shape(node: ast.ClassDef) -> str:
    words = plain(" ".join((ast.get_docstring(node) or "").split()))
    rows = [(code(name), code(kind), plain(text)) for name, kind, text in fields(node)]
    also = [base.id for base in node.bases if isinstance(base, ast.Name) and base.id != "Struct"]
    more = f" Beside these, the keys of `{also[0]}`." if also else ""
    return f"### {node.name}\n\n{words}{more}\n\n{table(['key', 'type', 'what'], rows)}"
