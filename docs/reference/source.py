"""What only the source of a module says: the words beside a value, and the order of things."""

import ast
import inspect
from types import ModuleType


def classes(module: ModuleType) -> list[ast.ClassDef]:
    """The classes of a module, in their order."""
    tree = ast.parse(inspect.getsource(module))
    return [node for node in tree.body if isinstance(node, ast.ClassDef)]


def fields(node: ast.ClassDef) -> list[tuple[str, str, str]]:
    """Name, annotation, and the text that follows it, of each field of a class."""
    found = []
    for at, one in enumerate(node.body):
        if not isinstance(one, ast.AnnAssign) or not isinstance(one.target, ast.Name):
            continue
        found.append(
            (one.target.id, ast.unparse(one.annotation), _text(node.body[at + 1 : at + 2]))
        )
    return found


def _text(following: list[ast.stmt]) -> str:
    match following:
        case [ast.Expr(value=ast.Constant(value=str(text)))]:
            return " ".join(inspect.cleandoc(text).split())
        case _:
            return ""
